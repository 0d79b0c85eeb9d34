//! Ordinary drivers: tokio-postgres with binary parameters and results, psycopg with its own types.

use tokio_postgres::NoTls;

use crate::harness::{Server, cell, psycopg};

#[tokio::test]
async fn tokio_postgres_prepares_binds_and_reads_binary() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, big bigint, small int2, real float4, double float8, flag bool,
               name text, code varchar(8), bytes bytea, doc jsonb, at timestamp, seen timestamptz, day date, clock time,
               u uuid)",
        )
        .await
        .unwrap();
    let day = chrono::NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
    let clock = chrono::NaiveTime::from_hms_micro_opt(1, 2, 3, 4).unwrap();
    let at = day.and_time(clock);
    let seen = at.and_utc();
    let doc = serde_json::json!({"a": [1, "x", null]});
    let id = uuid::Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    let inserted = client
        .execute(
            "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            &[
                &1i32,
                &i64::MIN,
                &i16::MAX,
                &1.25f32,
                &f64::MIN_POSITIVE,
                &true,
                &"naïve",
                &"eight",
                &&b"\x00\xff"[..],
                &doc,
                &at,
                &seen,
                &day,
                &clock,
                &id,
            ],
        )
        .await
        .unwrap();
    assert_eq!(inserted, 1);
    let row = client
        .query_one("SELECT * FROM t WHERE id = $1", &[&1i32])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>("id"), 1);
    assert_eq!(row.get::<_, i64>("big"), i64::MIN);
    assert_eq!(row.get::<_, i16>("small"), i16::MAX);
    assert_eq!(row.get::<_, f32>("real"), 1.25);
    assert_eq!(row.get::<_, f64>("double"), f64::MIN_POSITIVE);
    assert!(row.get::<_, bool>("flag"));
    assert_eq!(row.get::<_, &str>("name"), "naïve");
    assert_eq!(row.get::<_, &str>("code"), "eight");
    assert_eq!(row.get::<_, &[u8]>("bytes"), b"\x00\xff");
    assert_eq!(row.get::<_, serde_json::Value>("doc"), doc);
    assert_eq!(row.get::<_, chrono::NaiveDateTime>("at"), at);
    assert_eq!(row.get::<_, chrono::DateTime<chrono::Utc>>("seen"), seen);
    assert_eq!(row.get::<_, chrono::NaiveDate>("day"), day);
    assert_eq!(row.get::<_, chrono::NaiveTime>("clock"), clock);
    assert_eq!(row.get::<_, uuid::Uuid>("u"), id);
    let sum = client
        .query_one("SELECT count(*), max(big) FROM t WHERE name = $1", &[&"naïve"])
        .await
        .unwrap();
    assert_eq!((sum.get::<_, i64>(0), sum.get::<_, i64>(1)), (1, i64::MIN));
    let updated = client
        .execute("UPDATE t SET big = big + $2 WHERE id = $1", &[&1i32, &1i64])
        .await
        .unwrap();
    assert_eq!(updated, 1);
    let nothing = client
        .query_opt("SELECT big FROM t WHERE id = $1", &[&2i32])
        .await
        .unwrap();
    assert!(nothing.is_none());
}

#[tokio::test]
async fn a_failed_statement_in_a_pipeline_leaves_the_connection_usable() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    let (bad, good) = tokio::join!(client.query("SELECT nope", &[]), client.query_one("SELECT 41 + 1", &[]));
    assert_eq!(bad.unwrap_err().code().unwrap().code(), "42703");
    assert_eq!(good.unwrap().get::<_, i32>(0), 42);
}

#[tokio::test]
async fn a_cancel_request_ends_the_statement_and_not_the_session() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    let cancel = client.cancel_token();
    let endless = client.query(
        "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c",
        &[],
    );
    // Asks again until the statement has ended: a cancel request that comes too early hits nothing.
    tokio::pin!(endless);
    let mut asked = 0;
    let result = loop {
        asked += 1;
        cancel.cancel_query(NoTls).await.unwrap();
        if let Ok(result) = tokio::time::timeout(std::time::Duration::from_millis(100), &mut endless).await {
            break result;
        }
    };
    assert_eq!(result.unwrap_err().code().unwrap().code(), "57014");
    // The same session goes on. A request that is late may hit what comes next, but each hits one statement at most.
    let mut hit = 1;
    while let Err(error) = client.simple_query("SELECT 1").await {
        hit += 1;
        assert_eq!(error.code().unwrap().code(), "57014");
        assert!(hit <= asked, "{hit} statements were cancelled by {asked} requests");
    }
    client
        .batch_execute("BEGIN; CREATE TABLE after (a int PRIMARY KEY); COMMIT")
        .await
        .unwrap();
    assert_eq!(cell(&client, "SELECT count(*) FROM after").await, "0");
}

#[test]
fn psycopg_reads_and_writes_with_its_own_types() {
    let server = Server::start();
    psycopg(include_str!("psycopg_story.py"), &[&server]);
}

#[tokio::test]
async fn errors_have_the_fields_that_drivers_read() {
    use tokio_postgres::error::ErrorPosition;

    let server = Server::start();
    let client = server.connect("postgres").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL); INSERT INTO t VALUES (1, 'one')")
        .await
        .unwrap();
    let failed = async |sql: &str| {
        client
            .batch_execute(sql)
            .await
            .unwrap_err()
            .as_db_error()
            .unwrap()
            .clone()
    };
    let unique = failed("INSERT INTO t VALUES (1, 'again')").await;
    assert_eq!(
        (unique.schema(), unique.table(), unique.constraint()),
        (Some("public"), Some("t"), Some("t_pkey"))
    );
    let null = failed("INSERT INTO t (id) VALUES (2)").await;
    assert_eq!((null.table(), null.column()), (Some("t"), Some("name")));
    let unknown = failed("SELECT nope FROM t").await;
    assert_eq!(unknown.position(), Some(&ErrorPosition::Original(8)));
}
