//! What SQL shows of a cluster, and what it refuses there.

use tokio_postgres::types::Type;

use crate::cluster::{Pair, one_row, role, until};
use crate::harness::{Server, cell, failure, rows};

const STATUS: &str = "dolt_cluster.dolt_cluster_status";

#[tokio::test]
async fn c_001_a_server_without_cluster_has_none_of_its_names() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    let databases = "SELECT count(*) FROM pg_database WHERE datname = 'dolt_cluster'";
    assert_eq!(cell(&client, databases).await, "0");
    for sql in ["SHOW dolt_cluster_role", "SHOW dolt_cluster_role_epoch"] {
        assert_eq!(failure(&client, sql).await.0, "42704", "{sql}");
    }
    for call in [
        "SELECT dolt_assume_cluster_role('primary', 2)",
        "SELECT dolt_cluster_transition_to_standby(2, 1)",
    ] {
        let (code, message) = failure(&client, call).await;
        assert_eq!(code, "42883", "{call}: {message}");
        assert!(message.contains("not found"), "{call}: {message}");
    }
    let unknown = server.try_connect("dolt_cluster").await.err().unwrap();
    assert_eq!(unknown.code().map(|code| code.code()), Some("3D000"), "{unknown:?}");
}

#[tokio::test]
async fn c_031_c_033_c_042_a_standby_refuses_every_kind_of_write_and_takes_settings() {
    let pair = Pair::start();
    let a = one_row(&pair).await;
    a.batch_execute("CREATE ROLE app").await.unwrap();
    let b = pair.b.connect("postgres").await;
    for sql in [
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET id = 3",
        "DELETE FROM t",
        "TRUNCATE t",
        "COPY t FROM STDIN",
    ] {
        let (code, message) = failure(&b, sql).await;
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("25006", "postgres is read-only"),
            "{sql}"
        );
    }
    for sql in [
        "CREATE ROLE other",
        "ALTER ROLE app PASSWORD 'x'",
        "GRANT SELECT ON t TO app",
        "REVOKE SELECT ON t FROM app",
    ] {
        let (code, message) = failure(&b, sql).await;
        assert_eq!(code, "25006", "{sql}: {message}");
        assert_eq!(message, "database server is set to read only mode", "{sql}");
    }
    for client in [&a, &b] {
        client
            .batch_execute("SET application_name = 'x'; SET TimeZone = 'UTC'; SET statement_timeout = '10s'")
            .await
            .unwrap();
        assert_eq!(cell(client, "SHOW statement_timeout").await, "10s");
    }
    assert_eq!(cell(&b, "SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn c_036_c_041_savepoints_on_a_primary_replicate_what_was_kept() {
    let pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    a.batch_execute(
        "CREATE TABLE t (id int PRIMARY KEY);
         BEGIN;
         INSERT INTO t VALUES (1);
         SAVEPOINT s;
         INSERT INTO t VALUES (2);
         ROLLBACK TO SAVEPOINT s;
         INSERT INTO t VALUES (3);
         COMMIT",
    )
    .await
    .unwrap();
    let kept = "SELECT string_agg(id::text, ',' ORDER BY id) FROM t";
    assert_eq!(cell(&a, kept).await, "1,3");
    until(&pair.b, "postgres", kept, "1,3").await;
}

#[tokio::test]
async fn c_040_a_standby_that_has_received_nothing_serves_its_cluster_database_only() {
    let mut pair = Pair::prepare("primary", 1, "standby", 1);
    pair.b.boot();
    let b = pair.b.connect("dolt_cluster").await;
    assert_eq!(cell(&b, "SHOW dolt_cluster_role").await, "standby");
    let missing = pair.b.try_connect("postgres").await.err().unwrap();
    assert_eq!(missing.code().map(|code| code.code()), Some("3D000"), "{missing:?}");
    pair.a.boot();
    until(&pair.b, "postgres", "SELECT 1", "1").await;
}

#[tokio::test]
async fn c_057_the_call_names_its_column_and_takes_a_quoted_epoch() {
    let pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    let call = a
        .prepare("SELECT dolt_assume_cluster_role('primary', '2')")
        .await
        .unwrap();
    let column = &call.columns()[0];
    assert_eq!(
        (column.name(), column.type_()),
        ("dolt_assume_cluster_role", &Type::INT8)
    );
    let row = a.query_one(&call, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
    assert_eq!(role(&pair.a).await, ("primary".into(), "2".into()));
}

#[tokio::test]
async fn c_200_the_status_has_its_seven_columns_in_text_and_binary() {
    let pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    let lag = format!("SELECT replication_lag_millis FROM {STATUS}");
    until(&pair.a, "postgres", &lag, "0").await;
    let select = a.prepare(&format!("SELECT * FROM {STATUS}")).await.unwrap();
    let columns: Vec<(&str, &Type)> = select.columns().iter().map(|c| (c.name(), c.type_())).collect();
    assert_eq!(
        columns,
        [
            ("database", &Type::TEXT),
            ("standby_remote", &Type::TEXT),
            ("role", &Type::TEXT),
            ("epoch", &Type::INT8),
            ("replication_lag_millis", &Type::INT8),
            ("last_update", &Type::TIMESTAMP),
            ("current_error", &Type::TEXT),
        ]
    );
    let row = a.query_one(&select, &[]).await.unwrap();
    assert_eq!(
        (row.get(0), row.get(1), row.get(2), row.get(3)),
        ("postgres", "standby", "primary", 1i64)
    );
    assert_eq!(row.get::<_, Option<i64>>(4), Some(0));
    let binary: chrono::NaiveDateTime = row.get(5);
    assert_eq!(row.get::<_, Option<&str>>(6), None);
    let text = rows(&a, &format!("SELECT * FROM {STATUS}")).await.unwrap();
    let text: Vec<Option<&str>> = text[0].iter().map(Option::as_deref).collect();
    assert_eq!(
        text[..5],
        [Some("postgres"), Some("standby"), Some("primary"), Some("1"), Some("0")]
    );
    assert!(
        text[5].unwrap().parse::<chrono::DateTime<chrono::Utc>>().is_err(),
        "a timestamp has no zone"
    );
    assert!(
        text[5].unwrap().starts_with(&binary.format("%Y-%m-%d ").to_string()),
        "{text:?}"
    );
    assert_eq!(text[6], None);

    // On a standby: when the primary was last heard of, and no lag.
    let b = pair.b.connect("dolt_cluster").await;
    let heard = "SELECT count(last_update) FROM dolt_cluster_status";
    until(&pair.b, "dolt_cluster", heard, "1").await;
    let row = b.query_one("SELECT * FROM dolt_cluster_status", &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(2)), ("postgres", "standby"));
    assert_eq!(row.get::<_, Option<i64>>(4), None);
    assert_eq!(row.get::<_, Option<&str>>(6), None);
}

#[tokio::test]
async fn c_207_c_208_c_209_the_cluster_is_seen_from_everywhere_and_written_from_nowhere() {
    let pair = Pair::start();
    let a = pair.a.connect("postgres").await;
    a.batch_execute("CREATE DATABASE shop").await.unwrap();
    until(&pair.b, "shop", "SELECT 1", "1").await;
    let inside = pair.a.connect("dolt_cluster").await;
    let shown = "SELECT \"database\", standby_remote, role, epoch FROM";
    let expected = rows(&a, &format!("{shown} {STATUS} ORDER BY 1, 2")).await.unwrap();
    let databases: Vec<_> = expected.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(databases, ["postgres", "shop"]);
    let shop = pair.a.connect("shop").await;
    for (client, name) in [(&shop, STATUS), (&inside, "dolt_cluster_status"), (&inside, STATUS)] {
        let found = rows(client, &format!("{shown} {name} ORDER BY database, 2"))
            .await
            .unwrap();
        assert_eq!(found, expected, "{name}");
    }

    for sql in ["SET dolt_cluster_role = 'standby'", "SET dolt_cluster_role_epoch = 9"] {
        assert_eq!(failure(&a, sql).await.0, "55P02", "{sql}");
    }
    assert_eq!(role(&pair.a).await, ("primary".into(), "1".into()));

    for sql in [
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO dolt_cluster_status (database) VALUES ('x')",
        "UPDATE dolt_cluster_status SET epoch = 9",
        "DELETE FROM dolt_cluster_status",
        "DROP TABLE dolt_cluster_status",
        "TRUNCATE dolt_cluster_status",
    ] {
        let (code, message) = failure(&inside, sql).await;
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("25006", "dolt_cluster is read-only"),
            "{sql}"
        );
    }
    for sql in [
        format!("INSERT INTO {STATUS} (database) VALUES ('x')"),
        format!("UPDATE {STATUS} SET epoch = 9"),
        format!("DELETE FROM {STATUS}"),
        format!("DROP TABLE {STATUS}"),
        "DROP DATABASE dolt_cluster".to_owned(),
        "CREATE DATABASE dolt_cluster".to_owned(),
    ] {
        failure(&a, &sql).await;
    }
    let found = rows(&inside, &format!("{shown} dolt_cluster_status ORDER BY 1, 2"))
        .await
        .unwrap();
    assert_eq!(found, expected);
}
