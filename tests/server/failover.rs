//! psql and psycopg at the two servers of a cluster, before, during and after a change of roles.

use std::io::Write;

use crate::cluster::{Pair, until};
use crate::harness::{Server, eventually, psycopg};

/// The statements fail; gives what psql says about it.
fn psql_fails(server: &Server, sql: &str) -> String {
    let options = ["-At", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"];
    let output = server.psql_output("postgres", &options, sql);
    assert!(!output.status.success(), "{sql} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn c_071_psql_carries_out_an_orderly_failover() {
    let pair = Pair::start();
    pair.a.psql(
        "postgres",
        "CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t VALUES (1, 'from a')",
    );
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "1").await;
    let described = pair.b.psql("postgres", "\\d t");
    assert!(
        described.contains("id|integer") && described.contains("note|text"),
        "{described}"
    );
    assert!(pair.b.psql("postgres", "\\l").contains("postgres|"));
    let refused = psql_fails(&pair.b, "INSERT INTO t VALUES (2, 'from b')");
    assert!(
        refused.contains("25006") && refused.contains("is read-only"),
        "{refused}"
    );

    let mut bystander = pair.a.psql_process("postgres", &["-At"]);
    let mut statements = bystander.stdin.take().unwrap();
    statements
        .write_all(b"BEGIN; INSERT INTO t VALUES (9, 'never committed');\n")
        .unwrap();
    eventually("the bystander is there", || async {
        let sessions = pair.a.psql(
            "dolt_cluster",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres'",
        );
        (sessions == "1").then_some(())
    })
    .await;
    let demoted = psql_fails(
        &pair.a,
        "INSERT INTO t VALUES (2, 'the last of a'); SELECT dolt_assume_cluster_role('standby', 2); SELECT 1",
    );
    assert!(
        demoted.contains("57P01") && demoted.contains("can no longer be used"),
        "the caller has to connect again: {demoted}"
    );
    statements.write_all(b"COMMIT;\n").unwrap();
    drop(statements);
    let bystander = bystander.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&bystander.stderr);
    assert!(
        !bystander.status.success() && told.contains("because the server's cluster role changes"),
        "{told}"
    );

    assert_eq!(
        pair.b.psql("postgres", "SELECT dolt_assume_cluster_role('primary', 2)"),
        "0"
    );
    assert_eq!(
        pair.b
            .psql("dolt_cluster", "SHOW dolt_cluster_role; SHOW dolt_cluster_role_epoch"),
        "primary\n2"
    );
    assert_eq!(
        pair.b.psql(
            "postgres",
            "INSERT INTO t VALUES (3, 'from b'); SELECT id, note FROM t ORDER BY id"
        ),
        "INSERT 0 1\n1|from a\n2|the last of a\n3|from b"
    );
    until(&pair.a, "postgres", "SELECT count(*) FROM t", "3").await;
    assert!(psql_fails(&pair.a, "DELETE FROM t").contains("25006"));
}

#[tokio::test]
async fn c_071_psql_promotes_the_standby_of_a_primary_that_was_killed() {
    let mut pair = Pair::start();
    pair.a.psql(
        "postgres",
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)",
    );
    until(&pair.b, "postgres", "SELECT count(*) FROM t", "2").await;
    pair.a.kill();
    assert_eq!(
        pair.b.psql("postgres", "SELECT dolt_assume_cluster_role('primary', 2)"),
        "0"
    );
    assert_eq!(
        pair.b
            .psql("postgres", "INSERT INTO t VALUES (3); SELECT count(*) FROM t"),
        "INSERT 0 1\n3"
    );
    pair.a.boot();
    until(&pair.a, "postgres", "SELECT count(*) FROM t", "3").await;
    assert_eq!(pair.a.psql("dolt_cluster", "SHOW dolt_cluster_role"), "standby");
    assert!(psql_fails(&pair.a, "INSERT INTO t VALUES (4)").contains("25006"));
}

#[test]
fn c_071_psycopg_lives_through_an_orderly_failover() {
    let pair = Pair::start();
    psycopg(include_str!("psycopg_failover.py"), &[&pair.a, &pair.b]);
}
