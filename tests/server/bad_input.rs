//! Bad input: one clear line and a non-zero exit at start-up; a running server is never harmed.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::harness::{LIMIT, Server, cell, free_port, run};

fn cluster(change: &str, to: &str) -> String {
    let port = free_port();
    let config = format!(
        "cluster:
  standby_remotes:
    - name: standby
      remote_url_template: http://127.0.0.1:1/{{database}}
  bootstrap_role: primary
  bootstrap_epoch: 1
  remotesapi:
    address: 127.0.0.1
    port: {port}
"
    );
    let port = format!("port: {port}");
    let change = if change == "port" { port.as_str() } else { change };
    assert!(config.contains(change), "{change} is not in the configuration");
    config.replace(change, to)
}

#[test]
fn a_bad_configuration_is_refused_with_file_key_and_value() {
    for (config, expected) in [
        ("nonsense: 1\n".to_owned(), &["nonsense", "server.yaml"][..]),
        ("listener:\n  prot: 5432\n".to_owned(), &["listener.prot", "port"]),
        ("listener:\n  port: many\n".to_owned(), &["listener.port", "many"]),
        (
            "listener:\n  port: 70000\n".to_owned(),
            &["listener.port", "70000", "65535"],
        ),
        ("log_level: loud\n".to_owned(), &["log_level", "loud", "info"]),
        ("listener: [\n".to_owned(), &["server.yaml"]),
        (
            "listener: {port: 0}\nsystem_variables:\n  statement_timeout: soon\n".to_owned(),
            &["system_variables.statement_timeout", "soon"],
        ),
        (
            cluster("bootstrap_role: primary", "boostrap_role: primary"),
            &["boostrap_role", "bootstrap_role"],
        ),
        (
            cluster("bootstrap_role: primary", "bootstrap_role: backup"),
            &["bootstrap_role", "backup"],
        ),
        (
            cluster("bootstrap_epoch: 1", "bootstrap_epoch: -1"),
            &["bootstrap_epoch", "-1"],
        ),
        (cluster("name: standby", "name: ''"), &["standby_remotes[0]: name"]),
        (
            cluster("{database}", "{database"),
            &["standby_remotes[0]: remote_url_template", "{database"],
        ),
        (
            cluster("http://127.0.0.1:1/", "ftp://127.0.0.1:1/"),
            &["standby_remotes[0]: remote_url_template", "ftp"],
        ),
        (
            cluster("http://127.0.0.1:1/", "http://127.0.0.1/"),
            &["standby_remotes[0]: remote_url_template"],
        ),
        (cluster("port", "port: 0"), &["remotesapi: port"]),
        (cluster("port", "port: 65536"), &["remotesapi: port", "65536"]),
        (
            "cluster:\n  standby_remotes: []\n  remotesapi:\n    port: 50051\n".to_owned(),
            &["standby_remotes"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.yaml"), &config).unwrap();
        let output = run(folder.path(), &["--config", "server.yaml", "--data-dir", "data"], &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{config}\n{errors}");
        for part in expected {
            assert!(errors.contains(part), "{part} is missing for\n{config}\n{errors}");
        }
        assert!(!errors.contains("panicked"), "{errors}");
        assert!(
            !folder.path().join("data").exists(),
            "nothing is created by a refused start"
        );
    }
}

#[test]
fn s_002_a_missing_configuration_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--config", "absent.yaml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent.yaml"));
    let output = run(folder.path(), &["--config", "."], &[]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_unknown_flag_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--no-such-flag"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--no-such-flag"));
}

#[test]
fn s_005_a_data_folder_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let output = run(folder.path(), &["--data-dir", "file", "--port", "0"], &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("file"), "{errors}");
}

#[test]
fn s_015_a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        folder.path(),
        &["--host", "127.0.0.1", "--port", &port, "--data-dir", "data"],
        &[],
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&port) && errors.contains("in use"), "{errors}");
    assert!(!folder.path().join("data").exists(), "a refused start leaves a folder");
}

#[test]
fn names_that_cannot_be_made_are_refused_before_anything_is() {
    for (variable, value) in [("UNDERSTUDY_DB", "a/b"), ("UNDERSTUDY_USER", "pg_me")] {
        let folder = tempfile::tempdir().unwrap();
        let output = run(
            folder.path(),
            &["--data-dir", "data", "--port", "0"],
            &[(variable, value)],
        );
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(variable) && errors.contains(value), "{errors}");
        assert!(!folder.path().join("data").exists(), "a refused start leaves a folder");
    }
}

#[tokio::test]
async fn s_026_a_second_server_on_the_folder_is_refused_and_the_first_is_unharmed() {
    let server = Server::start();
    let data = server.data_dir();
    let output = run(
        server.folder(),
        &["--data-dir", data.to_str().unwrap(), "--port", "0"],
        &[],
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("data") && !errors.contains("panicked"), "{errors}");
    assert_eq!(cell(&server.connect("postgres").await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn s_021_a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let server = Server::start();
    for (user, password) in [("postgres", "wrong"), ("nobody", "password")] {
        let mut config = server.config("postgres");
        config.user(user).password(password);
        let error = config
            .connect(tokio_postgres::NoTls)
            .await
            .map(drop)
            .expect_err("the password is wrong");
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "28P01");
        assert_eq!(
            error.message(),
            format!("password authentication failed for user \"{user}\"")
        );
    }
    let error = server.try_connect("missing").await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "3D000");
}

/// Sends `garbage` to `port` and waits until the server hangs up, which it may do at any moment: a reset, or a connection
/// that is gone before everything was sent, is as good as an end.
fn throw_at(port: u16, garbage: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let sent = stream
        .write_all(garbage)
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let end = sent.and_then(|()| stream.read_to_end(&mut Vec::new()));
    if let Err(error) = end {
        assert!(
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected
            ),
            "{garbage:?}: {error}"
        );
    }
}

#[tokio::test]
async fn garbage_on_the_sql_port_is_answered_or_closed_and_harms_nobody() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &[0, 0, 0, 8, 0, 9, 0, 0],
        &[0x16, 3, 1, 0, 0xa5, 1],
    ] {
        throw_at(server.port, garbage);
    }
    assert_eq!(cell(&client, "SELECT 1").await, "1");
    assert_eq!(cell(&server.connect("postgres").await, "SELECT 1").await, "1");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn c_105_strangers_on_the_cluster_port_are_refused_and_change_nothing() {
    let (own, peer) = (free_port(), free_port());
    let mut server = Server::prepare(Some(&format!(
        "listener: {{host: 127.0.0.1, port: 0}}\ncluster:\n  standby_remotes:\n    - name: standby\n      \
         remote_url_template: http://127.0.0.1:{peer}/{{database}}\n  bootstrap_role: primary\n  bootstrap_epoch: 1\n  \
         remotesapi:\n    address: 127.0.0.1\n    port: {own}\n"
    )));
    server.boot();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 64],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00",
    ] {
        throw_at(own, garbage);
    }
    // C-180: the public key is the one thing a stranger may read.
    let mut stream = TcpStream::connect(("127.0.0.1", own)).unwrap();
    stream
        .write_all(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("Ed25519"),
        "{answer}"
    );
    let client = server.connect("postgres").await;
    assert_eq!(cell(&client, "SHOW dolt_cluster_role").await, "primary");
    assert_eq!(cell(&client, "SHOW dolt_cluster_role_epoch").await, "1");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_data_folder_of_a_newer_format_is_refused_and_left_alone() {
    let mut server = Server::start();
    assert!(server.terminate().success());
    let format = server.data_dir().join(".understudy").join("format");
    let written = std::fs::read_to_string(&format).expect("the data folder says which format it has");
    std::fs::write(&format, written.replace('1', "999")).unwrap();
    let output = run(server.folder(), &["--data-dir", "data", "--port", "0"], &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("newer") && errors.contains("999"), "{errors}");
    std::fs::write(&format, written).unwrap();
    server.boot();
    assert!(server.is_running());
}
