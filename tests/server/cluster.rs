//! A cluster of two: replication, an orderly failover, the loss of a primary and its return.

use crate::harness::{Server, cell, eventually, failure, free_port, rows};

/// Two servers that list each other, as in the replication guide's example.
pub struct Pair {
    pub a: Server,
    pub b: Server,
}

fn config(sql: u16, own: u16, peer: u16, role: &str, epoch: u64) -> String {
    format!(
        "listener:
  host: 127.0.0.1
  port: {sql}
cluster:
  standby_remotes:
    - name: standby
      remote_url_template: http://127.0.0.1:{peer}/{{database}}
  bootstrap_role: {role}
  bootstrap_epoch: {epoch}
  remotesapi:
    address: 127.0.0.1
    port: {own}
"
    )
}

impl Pair {
    pub fn prepare(role_a: &str, epoch_a: u64, role_b: &str, epoch_b: u64) -> Pair {
        let (a, b) = (free_port(), free_port());
        Pair {
            a: Server::prepare(Some(&config(0, a, b, role_a, epoch_a))),
            b: Server::prepare(Some(&config(0, b, a, role_b, epoch_b))),
        }
    }

    pub fn start() -> Pair {
        let mut pair = Pair::prepare("primary", 1, "standby", 1);
        pair.a.boot();
        pair.b.boot();
        pair
    }
}

/// Waits until the query on this server gives that one cell. The database may not be there yet.
pub async fn until(server: &Server, database: &str, sql: &str, expected: &str) {
    eventually(&format!("{sql} = {expected}\n{}", server.log()), || async {
        let client = server.try_connect(database).await.ok()?;
        let rows = rows(&client, sql).await.ok()?;
        (rows.len() == 1 && rows[0][0].as_deref() == Some(expected)).then_some(())
    })
    .await;
}

/// A client of the primary, whose table `t` has one row that has reached the standby.
pub async fn one_row(pair: &Pair) -> tokio_postgres::Client {
    let a = pair.a.connect("postgres").await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "1").await;
    a
}

pub async fn role(server: &Server) -> (String, String) {
    let client = server.connect("dolt_cluster").await;
    (
        cell(&client, "SHOW dolt_cluster_role").await,
        cell(&client, "SHOW dolt_cluster_role_epoch").await,
    )
}

async fn until_role(server: &Server, expected: &str, epoch: u64) {
    until(server, "dolt_cluster", "SHOW dolt_cluster_role", expected).await;
    until(
        server,
        "dolt_cluster",
        "SHOW dolt_cluster_role_epoch",
        &epoch.to_string(),
    )
    .await;
}

#[tokio::test]
async fn c_120_rows_reach_the_standby_and_the_status_says_so() {
    let pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3), (4), (5)")
        .await
        .unwrap();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "5").await;
    until(
        &pair.a,
        "postgres",
        "SELECT replication_lag_millis FROM dolt_cluster.dolt_cluster_status WHERE \"database\" = 'postgres'",
        "0",
    )
    .await;
    let status = rows(&a, "SELECT * FROM dolt_cluster.dolt_cluster_status")
        .await
        .unwrap();
    assert_eq!(status.len(), 1, "{status:?}");
    let text: Vec<Option<&str>> = status[0].iter().map(Option::as_deref).collect();
    assert_eq!(
        text[..5],
        [Some("postgres"), Some("standby"), Some("primary"), Some("1"), Some("0")]
    );
    assert!(text[5].is_some() && text[6].is_none(), "{text:?}");
    assert_eq!(role(&pair.a).await, ("primary".into(), "1".into()));
    assert_eq!(role(&pair.b).await, ("standby".into(), "1".into()));
}

#[tokio::test]
async fn c_030_a_standby_refuses_writes_and_serves_reads() {
    let pair = Pair::start();
    one_row(&pair).await;
    let b = pair.b.connect("postgres").await;
    for sql in [
        "CREATE TABLE u (id int)",
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET id = 3",
        "DELETE FROM t",
        "DROP TABLE t",
    ] {
        let (code, message) = failure(&b, sql).await;
        assert_eq!(code, "25006", "{sql}: {message}");
        assert!(message.contains("is read-only"), "{sql}: {message}");
    }
    for sql in ["CREATE DATABASE d", "DROP DATABASE postgres"] {
        let (code, message) = failure(&b, sql).await;
        assert_eq!(code, "25006", "{sql}: {message}");
        assert!(
            message.contains("database server is set to read only mode"),
            "{sql}: {message}"
        );
    }
    assert_eq!(cell(&b, "SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn c_071_orderly_failover_there_and_back_loses_nothing() {
    let pair = Pair::start();
    let a = one_row(&pair).await;
    a.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    let bystander = pair.a.connect("postgres").await;

    assert_eq!(cell(&a, "SELECT dolt_assume_cluster_role('standby', 2)").await, "0");
    let (code, message) = failure(&a, "SELECT 1").await;
    assert_eq!(code, "57P01");
    assert!(message.contains("this connection can no longer be used"), "{message}");
    assert!(
        bystander.simple_query("SELECT 1").await.is_err(),
        "other connections are closed"
    );
    assert_eq!(role(&pair.a).await, ("standby".into(), "2".into()));
    assert_eq!(
        failure(&pair.a.connect("postgres").await, "INSERT INTO t VALUES (9)")
            .await
            .0,
        "25006"
    );

    let b = pair.b.connect("postgres").await;
    assert_eq!(cell(&b, "SELECT dolt_assume_cluster_role('primary', 2)").await, "0");
    assert_eq!(role(&pair.b).await, ("primary".into(), "2".into()));
    let b = pair.b.connect("postgres").await;
    assert_eq!(cell(&b, "SELECT count(*) FROM t").await, "2");
    b.batch_execute("INSERT INTO t VALUES (3)").await.unwrap();
    until(&pair.a, "postgres", "SELECT count(*) FROM t", "3").await;

    assert_eq!(cell(&b, "SELECT dolt_assume_cluster_role('standby', 3)").await, "0");
    let a = pair.a.connect("postgres").await;
    assert_eq!(cell(&a, "SELECT dolt_assume_cluster_role('primary', 3)").await, "0");
    let a = pair.a.connect("postgres").await;
    a.batch_execute("INSERT INTO t VALUES (4)").await.unwrap();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "4").await;
}

#[tokio::test]
async fn c_059_demotion_without_a_reachable_standby_fails_and_writes_go_on() {
    let mut pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "0").await;
    pair.b.kill();
    let bystander = pair.a.connect("postgres").await;
    let (code, message) = failure(&a, "SELECT dolt_assume_cluster_role('standby', 2)").await;
    assert_eq!(code, "55000", "{message}");
    assert!(
        message.contains("failed to transition from primary to standby gracefully"),
        "{message}"
    );
    a.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    bystander.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(role(&pair.a).await, ("primary".into(), "1".into()));
}

#[tokio::test]
async fn c_092_a_killed_primary_returns_stale_and_becomes_a_standby() {
    let mut pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY, who text); INSERT INTO t VALUES (1, 'a')")
        .await
        .unwrap();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "1").await;
    pair.b.kill();
    a.batch_execute("INSERT INTO t VALUES (2, 'a alone')").await.unwrap();
    pair.a.kill();
    pair.b.boot();
    let b = pair.b.connect("postgres").await;
    assert_eq!(cell(&b, "SELECT dolt_assume_cluster_role('primary', 2)").await, "0");
    let b = pair.b.connect("postgres").await;
    b.batch_execute("INSERT INTO t VALUES (3, 'b')").await.unwrap();
    pair.a.boot();
    until_role(&pair.a, "standby", 2).await;
    until(
        &pair.a,
        "postgres",
        "SELECT string_agg(who, ',' ORDER BY id) FROM t",
        "a,b",
    )
    .await;
    assert_eq!(role(&pair.b).await, ("primary".into(), "2".into()));
    let log = pair.a.log();
    assert!(
        log.contains("replacing a root the primary does not know database=\"postgres\""),
        "{log}"
    );
}

#[tokio::test]
async fn c_094_two_primaries_of_one_epoch_find_out_and_heal() {
    let mut pair = Pair::prepare("primary", 10, "primary", 10);
    pair.a.boot();
    pair.b.boot();
    until_role(&pair.a, "detected_broken_config", 10).await;
    until_role(&pair.b, "detected_broken_config", 10).await;
    let a = pair.a.connect("postgres").await;
    assert_eq!(failure(&a, "CREATE TABLE t (id int PRIMARY KEY)").await.0, "25006");
    assert_eq!(cell(&a, "SELECT 1").await, "1");
    let error = rows(&a, "SELECT current_error FROM dolt_cluster.dolt_cluster_status")
        .await
        .unwrap();
    let error = error[0][0].clone().expect("the broken role is explained");
    assert!(
        error.contains("more than one server was configured as primary in the same epoch"),
        "{error}"
    );
    // C-095: a promotion at a higher epoch heals both.
    assert_eq!(cell(&a, "SELECT dolt_assume_cluster_role('primary', 11)").await, "0");
    until_role(&pair.b, "standby", 11).await;
    one_row(&pair).await;
}

#[tokio::test]
async fn c_022_role_and_epoch_survive_a_restart_and_win_over_the_configuration() {
    let mut pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    assert_eq!(cell(&a, "SELECT dolt_assume_cluster_role('primary', 13)").await, "0");
    pair.a.kill();
    pair.a.boot();
    assert_eq!(role(&pair.a).await, ("primary".into(), "13".into()));
    until_role(&pair.b, "standby", 13).await;
    pair.b.kill();
    pair.b.boot();
    assert_eq!(role(&pair.b).await, ("standby".into(), "13".into()));
}

#[tokio::test]
async fn c_121_a_standby_that_was_down_catches_up() {
    let mut pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    a.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "0").await;
    pair.b.kill();
    for id in 0..50 {
        a.execute("INSERT INTO t VALUES ($1)", &[&id]).await.unwrap();
    }
    pair.b.boot();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "50").await;
}

#[tokio::test]
async fn c_125_c_127_databases_created_and_dropped_on_the_primary_follow_on_the_standby() {
    let pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    a.batch_execute("CREATE DATABASE shop").await.unwrap();
    pair.a
        .connect("shop")
        .await
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    until(&pair.b, "shop", "SELECT count(*) FROM t", "0").await;
    eventually("the database can be dropped", || async {
        a.batch_execute("DROP DATABASE shop").await.ok()
    })
    .await;
    until(
        &pair.b,
        "dolt_cluster",
        "SELECT count(*) FROM pg_database WHERE datname = 'shop'",
        "0",
    )
    .await;
}

#[tokio::test]
async fn c_150_a_standby_whose_data_was_replaced_is_sent_everything() {
    let mut pair = Pair::start();
    one_row(&pair).await;
    pair.b.kill();
    std::fs::remove_dir_all(pair.b.data_dir()).unwrap();
    pair.b.boot();
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "1").await;
}

#[tokio::test]
async fn c_050_c_054_calls_at_the_wrong_epoch_change_nothing() {
    let pair = Pair::start();
    let b = pair.b.connect("dolt_cluster").await;
    for (call, state) in [
        ("SELECT dolt_assume_cluster_role('standby', 0)", "55000"),
        ("SELECT dolt_assume_cluster_role('primary', 1)", "55000"),
        ("SELECT dolt_assume_cluster_role('backup', 2)", "22023"),
        ("SELECT dolt_assume_cluster_role('Primary', 2)", "22023"),
        ("SELECT dolt_assume_cluster_role('detected_broken_config', 2)", "22023"),
        ("SELECT dolt_assume_cluster_role(NULL, 2)", "22004"),
        (
            "SELECT dolt_assume_cluster_role('primary', 9223372036854775807)",
            "22023",
        ),
        ("SET dolt_cluster_role = 'primary'", "55P02"),
    ] {
        let (code, message) = failure(&b, call).await;
        assert_eq!(code, state, "{call}: {message}");
    }
    assert_eq!(cell(&b, "SELECT dolt_assume_cluster_role('standby', 1)").await, "0");
    assert_eq!(cell(&b, "SELECT 1").await, "1");
    assert_eq!(role(&pair.b).await, ("standby".into(), "1".into()));
    let a = pair.a.connect("postgres").await;
    a.batch_execute("BEGIN").await.unwrap();
    assert_eq!(
        failure(&a, "SELECT dolt_assume_cluster_role('standby', 2)").await.0,
        "25001"
    );
    a.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(role(&pair.a).await, ("primary".into(), "1".into()));
}
