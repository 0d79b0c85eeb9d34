//! What is not supported is named; what is accepted and gives less than it asks for is told.

use super::*;

#[tokio::test]
async fn what_is_not_supported_is_named_as_it_is_called() {
    let (_world, mut session) = world_with_table().await;
    for (sql, message) in [
        ("CREATE INDEX ON t (name)", "CREATE INDEX is not supported"),
        (
            "CREATE UNIQUE INDEX i ON t (name)",
            "CREATE UNIQUE INDEX is not supported",
        ),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE VIEW is not supported"),
        (
            "CREATE UNLOGGED TABLE u (a int)",
            "CREATE UNLOGGED TABLE is not supported",
        ),
        ("CREATE TABLE u (a int) TABLESPACE fast", "TABLESPACE is not supported"),
        (
            "CREATE TABLE u (a int) WITH (fillfactor = 70)",
            "storage parameters of a table is not supported",
        ),
        (
            "CREATE DATABASE d TEMPLATE t",
            "CREATE DATABASE ... TEMPLATE is not supported",
        ),
        (
            "INSERT INTO t (id) OVERRIDING SYSTEM VALUE VALUES (1)",
            "OVERRIDING SYSTEM VALUE is not supported",
        ),
        (
            "SELECT id FROM t FOR UPDATE SKIP LOCKED",
            "SKIP LOCKED is not supported",
        ),
        (
            "UPDATE t SET price = 1 WHERE id = (SELECT id FROM t LIMIT 1 FOR UPDATE NOWAIT)",
            "NOWAIT is not supported",
        ),
    ] {
        let error = error(&mut session, sql).await;
        assert_eq!(
            (error.kind, error.message.as_str()),
            (SqlErrorKind::Unsupported, message),
            "{sql}"
        );
    }
    assert_eq!(run(&mut session, "INSERT INTO t (id) VALUES (1)").await, ["INSERT 0 1"]);
    assert_eq!(rows(&mut session, "SELECT id FROM ONLY t").await, ["1"]);
    assert_eq!(run(&mut session, "UPDATE ONLY t SET price = 2").await, ["UPDATE 1"]);
}

#[tokio::test]
async fn who_asks_for_locks_or_more_than_snapshots_is_warned() {
    let (_world, mut session) = world_with_table().await;
    let mut warned = async |sql: &str| {
        let lines = run(&mut session, sql).await;
        assert!(!lines.iter().any(|line| line.contains("Error")), "{lines:?}");
        lines.iter().any(|line| line.starts_with("Warning: "))
    };
    for sql in [
        "SELECT id FROM t WHERE id = 1 FOR UPDATE",
        "SELECT count(*) FROM (SELECT id FROM t) x FOR SHARE",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; COMMIT",
        "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; COMMIT",
        "SET default_transaction_isolation = 'serializable'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ] {
        assert!(warned(sql).await, "{sql}");
    }
    assert!(!warned("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT id FROM t; COMMIT").await);
}
