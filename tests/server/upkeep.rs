//! Garbage, backups, checks and repairs with the real binary.

use std::path::Path;
use std::process::Output;

use crate::cluster::{Pair, until};
use crate::harness::{Server, binary, cell};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    binary()
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn said(output: &Output) -> String {
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{error}")
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => bytes_below(&entry.path()),
        false => entry.metadata().map_or(0, |found| found.len()),
    });
    sizes.sum()
}

/// The largest file of a database's folder whose name ends so.
fn largest(data: &Path, suffix: &str) -> std::path::PathBuf {
    let database = std::fs::read_dir(data.join("databases"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let files = std::fs::read_dir(database.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.to_str().unwrap().ends_with(suffix));
    files.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

async fn filled(server: &Server) -> tokio_postgres::Client {
    let client = server.connect("postgres").await;
    let sql = "CREATE TABLE t (id int PRIMARY KEY, note text);
               INSERT INTO t SELECT n, repeat('x', 40) || n FROM generate_series(1, 3000) AS g(n)";
    client.batch_execute(sql).await.unwrap();
    client
}

#[tokio::test]
async fn v_107_sessions_stay_open_across_a_collection_and_space_comes_back() {
    let server = Server::start();
    let client = filled(&server).await;
    let reader = server.connect("postgres").await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM t").await.unwrap();
    for turn in 0..150 {
        let update = format!("UPDATE t SET note = 'y{turn}' WHERE id = {}", 1 + turn * 17 % 3000);
        client.batch_execute(&update).await.unwrap();
    }
    let data = server.folder().join("data/databases");
    let grown = bytes_below(&data);
    assert_eq!(cell(&client, "SELECT dolt_gc()").await, "0");
    assert_eq!(
        cell(&reader, "SELECT count(*) FROM t WHERE note LIKE 'y%'").await,
        "0",
        "its snapshot is older"
    );
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        cell(&client, "SELECT count(*) FROM t WHERE note LIKE 'y%'").await,
        "150"
    );
    assert_eq!(cell(&client, "SELECT dolt_gc('--full')").await, "0");
    let left = bytes_below(&data);
    assert!(left * 3 < grown, "{left} of {grown} bytes are left");
    let refused = client
        .batch_execute("SELECT dolt_gc('--archive-level', '1')")
        .await
        .unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "0A000");
    client
        .batch_execute("CREATE USER guest PASSWORD 'guest'")
        .await
        .unwrap();
    let mut login = server.config("postgres");
    login.user("guest").password("guest");
    let (guest, connection) = login.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for sql in ["SELECT dolt_gc()", "SELECT dolt_backup('sync-url', 'file:///tmp/x')"] {
        let refused = guest.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
    }
}

#[tokio::test]
async fn a_database_is_backed_up_and_restored_from_sql() {
    let server = Server::start();
    let client = filled(&server).await;
    let place = server.folder().join("backup");
    let url = format!("file://{}", place.display());
    assert_eq!(
        cell(&client, &format!("SELECT dolt_backup('sync-url', '{url}')")).await,
        "0"
    );
    client.batch_execute("DELETE FROM t WHERE id > 10").await.unwrap();
    assert_eq!(
        cell(&client, &format!("SELECT dolt_backup('restore', '{url}', 'before')")).await,
        "0"
    );
    let before = server.connect("before").await;
    assert_eq!(cell(&before, "SELECT count(*) FROM t").await, "3000");
    assert_eq!(cell(&client, "SELECT count(*) FROM t").await, "10");
    for (sql, code) in [
        (format!("SELECT dolt_backup('restore', '{url}', 'before')"), "42P04"),
        ("SELECT dolt_backup('sync-url', 's3://bucket/x')".to_owned(), "0A000"),
        ("SELECT dolt_backup('bogus')".to_owned(), "22023"),
        (
            "SELECT dolt_backup('restore', 'file:///nonexistent-folder-of-a-test', 'x')".to_owned(),
            "22023",
        ),
    ] {
        let refused = client.batch_execute(&sql).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), code, "{sql}: {refused}");
    }
    let _ = std::fs::remove_dir("/nonexistent-folder-of-a-test");
}

#[tokio::test]
async fn a_folder_is_backed_up_beside_its_server_checked_damaged_and_repaired() {
    let mut server = Server::start();
    let client = filled(&server).await;
    let folder = server.folder().to_path_buf();
    let output = run(&folder, &["backup", "data", "kept"]);
    assert!(output.status.success(), "{}", said(&output));
    // Newer than the backup.
    client
        .batch_execute("UPDATE t SET note = 'new' WHERE id = 1")
        .await
        .unwrap();
    let output = run(&folder, &["fsck", "data"]);
    assert!(
        !output.status.success() && said(&output).contains("process"),
        "a server runs: {}",
        said(&output)
    );
    let database = std::fs::read_dir(folder.join("data/databases"))
        .unwrap()
        .next()
        .unwrap();
    let database = database.unwrap().path();
    let one = ["fsck", database.to_str().unwrap()];
    let output = run(&folder, &one);
    assert!(
        !output.status.success() && said(&output).contains("process"),
        "it is one of the server's: {}",
        said(&output)
    );
    drop(client);
    assert!(server.terminate().success());

    let output = run(&folder, &one);
    assert!(output.status.success(), "{}", said(&output));
    let output = run(&folder, &["backup", "kept", "data"]);
    assert!(
        !output.status.success() && said(&output).contains("which no backup made"),
        "swapped: {}",
        said(&output)
    );
    let output = run(&folder, &["fsck", "data"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("2 of 2 stores are sound"), "{}", said(&output));
    let file = largest(&folder.join("data"), ".seg");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, &bytes).unwrap();
    let output = run(&folder, &["fsck", "data"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(
        said(&output).contains(name) && said(&output).contains("offset "),
        "{}",
        said(&output)
    );
    let output = run(&folder, &["fsck", "data", "--repair-from", "http://127.0.0.1:1/x"]);
    assert_eq!(output.status.code(), Some(1));
    let url = format!("file://{}", folder.join("kept").display());
    let output = run(&folder, &["fsck", "data", "--repair-from", &url]);
    assert!(output.status.success(), "{}", said(&output));
    let output = run(&folder, &["fsck", "data"]);
    assert!(output.status.success(), "{}", said(&output));
    server.boot();
    let client = server.connect("postgres").await;
    assert_eq!(cell(&client, "SELECT count(*) FROM t").await, "3000");
    assert_eq!(
        cell(&client, "SELECT note FROM t WHERE id = 1").await,
        "new",
        "what only the damaged one had"
    );

    let output = run(&folder, &["restore", "kept", "again"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = run(&folder, &["restore", "kept", "again"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("holds databases already"), "{}", said(&output));
    let output = run(&folder, &["fsck", "nowhere"]);
    assert!(
        said(&output).contains("there is no folder nowhere"),
        "{}",
        said(&output)
    );
    let output = run(&folder, &["fsck", "again"]);
    assert!(output.status.success(), "{}", said(&output));
    // As in `understudy fsck again | head -1`: the work is done all the same.
    let (reader, nobody_reads) = std::io::pipe().unwrap();
    drop(reader);
    let mut backup = binary();
    backup.current_dir(&folder).args(["restore", "kept", "once more"]);
    let output = backup.stdout(nobody_reads).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(run(&folder, &["fsck", "once more"]).status.success());
}

/// The cluster port that this server's configuration gives for its peer.
fn peer_url(server: &Server) -> String {
    let config = std::fs::read_to_string(server.folder().join("server.yaml")).unwrap();
    let (_, template) = config.split_once("remote_url_template: ").unwrap();
    let (url, _) = template.split_once("/{database}").unwrap();
    url.to_owned()
}

fn fsck_from(server: &Server, url: &str) -> Output {
    let arguments = ["fsck", "data", "--repair-from", url, "--config", "server.yaml"];
    run(server.folder(), &arguments)
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0xff;
    std::fs::write(file, &bytes).unwrap();
}

#[test]
fn fsck_reads_the_role_of_a_server_in_its_cluster() {
    let mut pair = Pair::start();
    pair.b.kill();
    let file = pair.b.data_dir().join(".understudy/cluster_role");
    let epoch = std::fs::read_to_string(&file).unwrap().find("role_epoch: ").unwrap();
    assert!(run(pair.b.folder(), &["fsck", "data"]).status.success());
    // Another epoch, and as valid as the one that was written.
    let digit = epoch + "role_epoch: ".len();
    let mut text = std::fs::read(&file).unwrap();
    text[digit] = if text[digit] == b'7' { b'8' } else { b'7' };
    std::fs::write(&file, text).unwrap();
    let output = run(pair.b.folder(), &["fsck", "data"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("its role in the cluster: DAMAGED"),
        "{}",
        said(&output)
    );
}

#[tokio::test]
async fn a_damaged_standby_is_repaired_from_its_running_primary() {
    let mut pair = Pair::start();
    let a = filled(&pair.a).await;
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "3000").await;
    pair.b.kill();
    let file = largest(&pair.b.data_dir(), ".seg");
    flip(&file, usize::try_from(file.metadata().unwrap().len()).unwrap() / 2);
    let output = run(pair.b.folder(), &["fsck", "data"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("referred to by"), "{}", said(&output));

    let url = peer_url(&pair.b);
    for (arguments, told) in [
        (vec!["fsck", "data", "--repair-from", &url], "no cluster section"),
        (
            vec![
                "--config",
                "server.yaml",
                "fsck",
                "data",
                "--repair-from",
                "http://127.0.0.1:1",
            ],
            url.as_str(),
        ),
        (vec!["fsck", "data", "--repair-from", "s3://bucket"], "file:///FOLDER"),
    ] {
        let output = run(pair.b.folder(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(told), "{}", said(&output));
    }
    let output = fsck_from(&pair.b, &url);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains(&format!("came from {url}")), "{}", said(&output));
    let kept = pair.b.data_dir().join(".understudy/damaged");
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 1, "{}", said(&output));
    let output = run(pair.b.folder(), &["fsck", "data"]);
    assert!(output.status.success(), "{}", said(&output));

    pair.b.boot();
    let b = pair.b.connect("postgres").await;
    assert_eq!(cell(&b, "SELECT count(*) FROM t").await, "3000");
    assert_eq!(cell(&a, "SHOW dolt_cluster_role").await, "primary");
    a.batch_execute("INSERT INTO t VALUES (3001, 'later')").await.unwrap();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "3001").await;
}

/// If this fails, the operator looks for a standby that is slow, and not for one whose disk is damaged.
#[tokio::test]
async fn a_standby_that_cannot_open_a_database_tells_its_primary_why() {
    let mut pair = Pair::start();
    filled(&pair.a).await;
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "3000").await;
    pair.b.kill();
    flip(&largest(&pair.b.data_dir(), "MANIFEST"), 3);
    pair.b.boot();
    let sql = "SELECT current_error LIKE '%database \"postgres\" is unavailable here: %MANIFEST is damaged at offset 0%' \
               FROM dolt_cluster.dolt_cluster_status WHERE database = 'postgres'";
    until(&pair.a, "dolt_cluster", sql, "t").await;
}

#[tokio::test]
async fn what_a_peer_does_not_have_either_is_named() {
    let mut pair = Pair::start();
    let a = filled(&pair.a).await;
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "3000").await;
    pair.b.kill();
    let file = largest(&pair.a.data_dir(), ".seg");
    let length = |file: &Path| usize::try_from(file.metadata().unwrap().len()).unwrap();
    let before = length(&file);
    // Only the primary has this.
    a.batch_execute("UPDATE t SET note = 'new' WHERE id = 7").await.unwrap();
    drop(a);
    pair.a.kill();
    flip(&file, before + (length(&file) - before) / 2);
    pair.b.boot();

    let output = fsck_from(&pair.a, &peer_url(&pair.a));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    let lost = text
        .lines()
        .find_map(|line| line.strip_prefix("  chunk ")?.split_once(", referred to by"));
    let (hash, _) = lost.expect("the check names the chunk");
    assert!(text.contains("does not have 1 of the chunks it lacks"), "{text}");
    assert!(text.contains(&format!("  chunk {hash}\n")), "{text}");
    assert!(text.contains("repair from another peer or from a backup"), "{text}");
    let control = pair.a.data_dir().join(".understudy");
    assert!(!control.join("damaged").exists() && !control.join("fetched").exists());
    let output = run(pair.a.folder(), &["fsck", "data"]);
    assert_eq!(output.status.code(), Some(1), "it is as it was: {}", said(&output));
}
