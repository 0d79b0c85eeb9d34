//! Starting: where the configuration and the first user come from, what is printed, and the playground.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::harness::{LIMIT, Server, binary, cell, free_port, run};

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn s_003_config_yaml_of_the_working_directory_is_used_unless_another_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let checked = |args: &[&str]| said(&run(folder.path(), args, &[]));
    assert!(checked(&["--check-config"]).contains("\"5432\"  (default)"));
    std::fs::write(folder.path().join("config.yaml"), "listener:\n  port: 1111\n").unwrap();
    std::fs::write(folder.path().join("other.yaml"), "listener:\n  port: 2222\n").unwrap();
    assert!(checked(&["--check-config"]).contains("\"1111\"  (config.yaml:2)"));
    assert!(checked(&["--check-config", "--config", "other.yaml"]).contains("\"2222\"  (other.yaml:2)"));
    assert!(checked(&["--check-config", "--port", "3333"]).contains("\"3333\"  (--port)"));
}

/// Rows, and the verifiers of passwords, are nobody's business but the server's.
#[tokio::test]
async fn other_users_of_the_machine_can_read_nothing_of_a_data_folder() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::start();
    server
        .connect("postgres")
        .await
        .batch_execute("CREATE DATABASE shop")
        .await
        .unwrap();
    let mut left = vec![server.data_dir()];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        seen += 1;
        if metadata.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 8, "{seen} files and folders");
}

#[test]
fn s_031_check_config_masks_secrets_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        folder.path(),
        &["--check-config"],
        &[("UNDERSTUDY_PASSWORD", "hunter2")],
    );
    assert_eq!(output.status.code(), Some(0));
    assert!(
        said(&output).contains("user.password") && !said(&output).contains("hunter2"),
        "{}",
        said(&output)
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn help_version_and_the_sample_are_printed_with_status_0() {
    let folder = tempfile::tempdir().unwrap();
    for (flag, expected) in [
        ("--config-help", "bootstrap_role"),
        ("--version", "understudy "),
        ("--help", "--data-dir"),
    ] {
        let output = run(folder.path(), &[flag], &[]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(said(&output).contains(expected), "{flag}: {}", said(&output));
    }
}

#[tokio::test]
async fn s_032_s_033_the_seeds_command_starts_in_an_empty_directory() {
    let config = "listener:\n  port: 0\n";
    let args = ["sql-server", "-config", "server.yaml", "-data-dir", "."];
    let mut server = Server::prepare(Some(config)).with_args(&args);
    server.boot();
    assert_eq!(
        cell(&server.connect("postgres").await, "SELECT current_database()").await,
        "postgres"
    );
    assert!(
        server.log().contains("user=postgres password=password"),
        "{}",
        server.log()
    );
}

#[test]
fn a_log_that_goes_to_a_file_has_no_colours() {
    let mut server = Server::prepare(None);
    server.set_environment(&[("RUST_LOG", "debug")]);
    server.boot();
    let log = server.log();
    assert!(log.contains("ready host") && !log.contains('\u{1b}'), "{log:?}");
}

#[tokio::test]
async fn passwords_do_not_reach_the_log() {
    let mut server = Server::prepare(None);
    server.set_environment(&[("RUST_LOG", "debug")]);
    server.boot();
    let client = server.connect("postgres").await;
    for (sql, works) in [
        ("CREATE USER ann PASSWORD 'hunter2'", true),
        ("SELECT 1; ALTER ROLE ann PASSWORD 'hunter2'", true),
        ("PREPARE p AS ALTER ROLE ann PASSWORD 'hunter2'", true),
        ("ALTER ROLE ann 'hunter2'", false),
        ("CREATE USER bob PASWORD 'hunter2'", false),
        ("SELECT 'plain'", true),
    ] {
        assert_eq!(client.simple_query(sql).await.is_ok(), works, "{sql}");
    }
    client.execute("ALTER ROLE ann PASSWORD 'hunter2'", &[]).await.unwrap();
    assert!(server.terminate().success());
    let log = server.log();
    assert!(!log.contains("hunter2"), "{log}");
    assert!(
        log.contains("sql=\"ALTER ROLE\"") && log.contains("SELECT 'plain'"),
        "{log}"
    );
}

#[tokio::test]
async fn s_020_the_first_user_comes_from_the_environment_and_stays() {
    let mut server = Server::prepare(None);
    server.set_environment(&[
        ("DOLTGRES_USER", "ann"),
        ("DOLTGRES_PASSWORD", "first"),
        ("DOLTGRES_DB", "own"),
    ]);
    (server.user, server.password) = ("ann".into(), "first".into());
    server.boot();
    server.connect("own").await;
    assert!(
        !server.log().contains("first"),
        "a password was printed: {}",
        server.log()
    );
    assert!(server.terminate().success());
    server.set_environment(&[("DOLTGRES_USER", "ann"), ("DOLTGRES_PASSWORD", "second")]);
    server.boot();
    server.connect("own").await;
    server.password = "second".into();
    let error = server
        .try_connect("own")
        .await
        .expect_err("the password did not change");
    assert_eq!(error.code().unwrap().code(), "28P01");
}

#[tokio::test]
async fn s_019_a_read_only_server_serves_reads_and_refuses_writes() {
    let mut server = Server::start();
    server
        .connect("postgres")
        .await
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    assert!(server.terminate().success());
    std::fs::write(server.folder().join("config.yaml"), "behavior:\n  read_only: true\n").unwrap();
    server.boot();
    let client = server.connect("postgres").await;
    assert_eq!(cell(&client, "SELECT count(*) FROM t").await, "0");
    let error = client.batch_execute("INSERT INTO t VALUES (1)").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25006");
    let error = client.batch_execute("CREATE DATABASE d").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25006");
}

#[test]
fn s_011_an_unknown_system_variable_is_refused_with_name_and_value() {
    let folder = tempfile::tempdir().unwrap();
    for (variable, value) in [
        ("no_such_setting", "1"),
        ("statement_timeout", "soon"),
        ("server_version", "9"),
        ("dolt_cluster_role", "primary"),
    ] {
        let config = format!("system_variables:\n  {variable}: {value}\n");
        std::fs::write(folder.path().join("server.yaml"), config).unwrap();
        let start = ["--config", "server.yaml", "--data-dir", "d", "--port", "0"];
        for check in [&[][..], &["--check-config"]] {
            let output = run(folder.path(), &[&start, check].concat(), &[]);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{errors}");
            assert!(
                errors.contains(&format!("system_variables.{variable}: `{value}`")),
                "{errors}"
            );
            assert!(!folder.path().join("d").exists(), "a refused start leaves a folder");
        }
    }
}

#[test]
fn c_017_a_cluster_port_in_use_is_named_and_no_sql_port_is_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, sql) = (taken.local_addr().unwrap().port(), free_port());
    let config = format!(
        "listener: {{host: 127.0.0.1, port: {sql}}}\ncluster:\n  standby_remotes:\n    - name: standby\n      \
         remote_url_template: http://127.0.0.1:1/{{database}}\n  remotesapi: {{address: 127.0.0.1, port: {port}}}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("server.yaml"), config).unwrap();
    let output = run(folder.path(), &["--config", "server.yaml", "--data-dir", "d"], &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains(&format!("127.0.0.1:{port}")) && errors.contains("remotesapi"),
        "{errors}"
    );
    assert!(!said(&output).contains("ready"));
    assert!(!folder.path().join("d").exists(), "a refused start leaves a folder");
}

#[tokio::test]
async fn the_playground_starts_a_pair_and_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = binary()
        .arg("playground")
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| send.send(line))
    });
    let mut ports = Vec::new();
    loop {
        let line = lines.recv_timeout(LIMIT).expect("the playground prints its guide");
        if let Some((_, rest)) = line.split_once("psql \"host=127.0.0.1 port=") {
            ports.push(rest.split(' ').next().unwrap().parse::<u16>().unwrap());
        }
        if line.contains("Ctrl-C") {
            break;
        }
    }
    let mut roles = Vec::new();
    for port in &ports {
        let mut config = tokio_postgres::Config::new();
        // A standby has no `postgres` before its primary has sent it; this database is always there.
        config
            .host("127.0.0.1")
            .port(*port)
            .user("postgres")
            .password("password")
            .dbname("dolt_cluster");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        roles.push(cell(&client, "SHOW dolt_cluster_role").await);
    }
    assert_eq!(roles, ["primary", "standby"]);
    assert!(
        Command::new("kill")
            .arg("-INT")
            .arg(child.id().to_string())
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "the folder is removed"
    );
}
