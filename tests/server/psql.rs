//! What a person at psql sees.

use std::io::Write;

use crate::harness::{Server, cell, failure, rows};

#[test]
fn a_new_user_creates_a_table_and_reads_it_back() {
    let server = Server::start();
    let out = server.psql(
        "postgres",
        "CREATE TABLE fruit (id int PRIMARY KEY, name text NOT NULL, price numeric(8,2) DEFAULT 1.50);
         INSERT INTO fruit (id, name) VALUES (1, 'apple'), (2, 'pear');
         UPDATE fruit SET price = 2.25 WHERE id = 2;
         SELECT id, name, price FROM fruit ORDER BY id;
         DELETE FROM fruit WHERE id = 1;
         SELECT count(*) FROM fruit;",
    );
    assert_eq!(
        out,
        "CREATE TABLE\nINSERT 0 2\nUPDATE 1\n1|apple|1.50\n2|pear|2.25\nDELETE 1\n1"
    );
}

#[test]
fn every_type_of_the_list_survives_a_round_trip_as_text() {
    let server = Server::start();
    server.psql(
        "postgres",
        "CREATE TABLE everything (k int2 PRIMARY KEY, b boolean, i4 int4, i8 int8, f4 float4, f8 float8,
            n numeric(10,3), t text, v varchar(5), c char(3), y bytea, d date, tm time, ts timestamp, tz timestamptz,
            u uuid, j json, jb jsonb);
         INSERT INTO everything VALUES (1, true, -2147483648, 9223372036854775807, 1.5, 1e300, -1234567.125, 'naïve',
            'abcde', 'xy', '\\xdeadbeef', '2024-02-29', '23:59:59.123456', '1999-12-31 23:59:59.5',
            '2024-01-01 12:00:00+02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": [1, 2]}', '{\"b\": null}');
         INSERT INTO everything (k) VALUES (2);",
    );
    assert_eq!(
        server.psql("postgres", "SET TimeZone = 'UTC'; SELECT * FROM everything ORDER BY k"),
        "SET\n1|t|-2147483648|9223372036854775807|1.5|1e+300|-1234567.125|naïve|abcde|xy |\\xdeadbeef|2024-02-29|\
         23:59:59.123456|1999-12-31 23:59:59.5|2024-01-01 10:00:00+00|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|\
         {\"a\": [1, 2]}|{\"b\": null}\n2|||||||||||||||||"
    );
}

#[test]
fn times_are_shown_and_read_in_the_sessions_zone() {
    let server = Server::start();
    let in_zone = |zone: &str, sql: &str| {
        let options = ["-At", "-v", "ON_ERROR_STOP=1"];
        let mut child = server.psql_process_with("postgres", &options, &[("PGTZ", zone)]);
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap().trim_end().to_owned()
    };
    let berlin = in_zone(
        "europe/berlin",
        "SHOW TimeZone;
         CREATE TABLE calls (id int PRIMARY KEY, at timestamptz DEFAULT '2024-07-01 12:00');
         INSERT INTO calls VALUES (1, '2024-03-31 02:30'), (2, '2024-10-27 02:30'), (3, '2024-07-01 12:00 Asia/Tokyo');
         INSERT INTO calls (id) VALUES (4);
         COPY calls FROM STDIN;\n5\t2024-12-24 18:00\n\\.\n
         COPY calls TO STDOUT;",
    );
    assert_eq!(
        berlin,
        "Europe/Berlin\nCREATE TABLE\nINSERT 0 3\nINSERT 0 1\nCOPY 1\n\
         1\t2024-03-31 03:30:00+02\n2\t2024-10-27 02:30:00+01\n3\t2024-07-01 05:00:00+02\n\
         4\t2024-07-01 12:00:00+02\n5\t2024-12-24 18:00:00+01"
    );
    assert_eq!(
        in_zone(
            "Asia/Kolkata",
            "INSERT INTO calls (id) VALUES (6);
             SELECT id, at FROM calls WHERE at >= '2024-07-01 15:30' ORDER BY id;
             SET TIME ZONE -3.5; SHOW timezone; SELECT at FROM calls WHERE id = 4;
             BEGIN; SET LOCAL timezone = 'Pacific/Chatham'; SELECT at::date, at::time FROM calls WHERE id = 5; COMMIT;
             RESET timezone; COPY (SELECT at FROM calls WHERE id = 2) TO STDOUT WITH (FORMAT csv);",
        ),
        "INSERT 0 1\n2|2024-10-27 07:00:00+05:30\n4|2024-07-01 15:30:00+05:30\n5|2024-12-24 22:30:00+05:30\n\
         6|2024-07-01 15:30:00+05:30\nSET\n<-03:30>+03:30\n2024-07-01 06:30:00-03:30\nBEGIN\nSET\n\
         2024-12-25|06:45:00\nCOMMIT\nRESET\n2024-10-27 07:00:00+05:30"
    );
    let refused = in_zone("Mars/Olympus", "SELECT 1");
    assert!(
        refused.contains("FATAL:  invalid value for parameter \"TimeZone\": \"Mars/Olympus\""),
        "{refused}"
    );
}

#[test]
fn backslash_commands_describe_what_is_there() {
    let server = Server::start();
    server.psql(
        "postgres",
        "CREATE DATABASE shop; CREATE TABLE t (id int PRIMARY KEY, note varchar(20) DEFAULT 'none')",
    );
    let list = server.psql("postgres", "\\l");
    assert!(
        list.contains("postgres|") && list.contains("shop|"),
        "\\l printed {list}"
    );
    let tables = server.psql("postgres", "\\dt");
    assert_eq!(tables, "public|t|table|postgres");
    let relations = server.psql("postgres", "\\d");
    assert_eq!(relations, "public|t|table|postgres");
    assert_eq!(server.psql("postgres", "\\dp"), "public|t|table|||");
    let output = server.psql_output("postgres", &["-v", "ON_ERROR_STOP=1"], "\\d t");
    let described = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "\\d t said {errors}");
    for part in [
        "Table \"public.t\"",
        "id     | integer",
        "not null",
        "note   | character varying(20)",
        "'none'::character varying",
        "Indexes:",
        "\"t_pkey\" PRIMARY KEY, btree (id)",
    ] {
        assert!(described.contains(part), "{part} is missing in\n{described}");
    }
}

#[tokio::test]
async fn joins_aggregates_ctes_and_windows_give_postgresqls_answers() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    client
        .batch_execute(
            "CREATE TABLE item (id int PRIMARY KEY, kind text, price int);
             CREATE TABLE sale (item int, day date, n int, PRIMARY KEY (item, day));
             INSERT INTO item VALUES (1, 'fruit', 3), (2, 'fruit', 5), (3, 'tool', 40);
             INSERT INTO sale VALUES (1, '2024-05-01', 10), (1, '2024-05-02', 4), (3, '2024-05-02', 1)",
        )
        .await
        .unwrap();
    for (sql, expected) in [
        (
            "SELECT kind, sum(price * n) FROM item JOIN sale ON item.id = sale.item GROUP BY kind ORDER BY kind",
            "fruit|42 tool|40",
        ),
        (
            "SELECT i.id FROM item i LEFT JOIN sale s ON s.item = i.id WHERE s.item IS NULL",
            "2",
        ),
        (
            "WITH dear AS (SELECT * FROM item WHERE price > 4) SELECT count(*) FROM dear",
            "2",
        ),
        (
            "SELECT id, rank() OVER (PARTITION BY kind ORDER BY price DESC) FROM item ORDER BY id",
            "1|2 2|1 3|1",
        ),
        (
            "SELECT kind, count(*) FROM item GROUP BY kind HAVING count(*) > 1",
            "fruit|2",
        ),
        (
            "SELECT 7 / 2, 7.0 / 2, -7 % 3, 'a' || 'b'",
            "3|3.5000000000000000|-1|ab",
        ),
        ("SELECT max(day) FROM sale WHERE item = 1", "2024-05-02"),
        (
            "SELECT id FROM item WHERE kind IN (SELECT kind FROM item WHERE price = 3) ORDER BY id DESC LIMIT 1",
            "2",
        ),
        (
            "SELECT coalesce(NULL, 'x'), nullif(1, 1) IS NULL, CASE WHEN 1 < 2 THEN 'y' END",
            "x|t|y",
        ),
    ] {
        let answer = rows(&client, sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let answer: Vec<String> = answer
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(Option::unwrap_or_default)
                    .collect::<Vec<_>>()
                    .join("|")
            })
            .collect();
        assert_eq!(answer.join(" "), expected, "{sql}");
    }
}

#[tokio::test]
async fn errors_carry_postgresqls_sqlstates() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int2 NOT NULL, s varchar(3))")
        .await
        .unwrap();
    client.batch_execute("INSERT INTO t VALUES (1, 1, 'a')").await.unwrap();
    for (sql, state) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM missing", "42P01"),
        ("INSERT INTO missing VALUES (1)", "42P01"),
        ("SELECT missing FROM t", "42703"),
        ("INSERT INTO t (nope) VALUES (1)", "42703"),
        ("SELECT missing(1)", "42883"),
        ("SELECT 1 / 0", "22012"),
        ("INSERT INTO t VALUES (1, 1, 'b')", "23505"),
        ("INSERT INTO t (id) VALUES (2)", "23502"),
        ("INSERT INTO t VALUES (2, 40000, 'b')", "22003"),
        ("INSERT INTO t VALUES (2, 1, 'long')", "22001"),
        ("INSERT INTO t VALUES ('x', 1, 'b')", "22P02"),
        ("CREATE TABLE t (id int)", "42P07"),
        ("DROP TABLE missing", "42P01"),
        ("CREATE DATABASE postgres", "42P04"),
        ("DROP DATABASE missing", "3D000"),
        ("CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()", "0A000"),
        ("LISTEN channel", "0A000"),
        ("SHOW nonsense", "42704"),
        ("SHOW dolt_cluster_role", "42704"),
    ] {
        let (code, message) = failure(&client, sql).await;
        assert_eq!(code, state, "{sql}: {message}");
        assert!(
            !message.contains("DataFusion") && !message.contains("Schema error"),
            "{sql}: {message}"
        );
    }
    assert_eq!(cell(&client, "SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn transactions_are_snapshots_and_conflicts_are_40001() {
    let server = Server::start();
    let (one, two) = (server.connect("postgres").await, server.connect("postgres").await);
    one.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)")
        .await
        .unwrap();
    one.batch_execute("BEGIN").await.unwrap();
    two.batch_execute("BEGIN").await.unwrap();
    assert_eq!(cell(&two, "SELECT n FROM t WHERE id = 1").await, "0");
    one.batch_execute("UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
    assert_eq!(cell(&one, "SELECT n FROM t WHERE id = 1").await, "1");
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        cell(&two, "SELECT n FROM t WHERE id = 1").await,
        "0",
        "a snapshot does not move"
    );
    two.batch_execute("UPDATE t SET n = 5 WHERE id = 1").await.unwrap();
    let (code, _) = failure(&two, "COMMIT").await;
    assert_eq!(code, "40001");
    assert_eq!(cell(&two, "SELECT n FROM t WHERE id = 1").await, "1");
    // Different rows do not conflict.
    one.batch_execute("BEGIN; UPDATE t SET n = 10 WHERE id = 1")
        .await
        .unwrap();
    two.batch_execute("BEGIN; UPDATE t SET n = 20 WHERE id = 2")
        .await
        .unwrap();
    one.batch_execute("COMMIT").await.unwrap();
    two.batch_execute("COMMIT").await.unwrap();
    assert_eq!(cell(&one, "SELECT sum(n) FROM t").await, "30");
    // An aborted block says so until it is rolled back.
    one.batch_execute("BEGIN").await.unwrap();
    assert_eq!(failure(&one, "SELECT 1/0").await.0, "22012");
    assert_eq!(failure(&one, "SELECT 1").await.0, "25P02");
    one.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(cell(&one, "SELECT 1").await, "1");
}

#[tokio::test]
async fn versions_are_committed_and_listed() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    assert_eq!(cell(&client, "SELECT count(*) FROM dolt.log").await, "2");
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    assert_ne!(cell(&client, "SELECT count(*) FROM dolt.status").await, "0");
    let hash = cell(&client, "SELECT dolt_commit('-Am', 'first rows')").await;
    assert_eq!(hash.len(), 32, "{hash}");
    assert_eq!(cell(&client, "SELECT count(*) FROM dolt.status").await, "0");
    let log = rows(&client, "SELECT commit_hash, message FROM dolt.log LIMIT 1")
        .await
        .unwrap();
    assert_eq!(log, [[Some(hash), Some("first rows".to_owned())]]);
    assert_eq!(
        failure(&client, "SELECT dolt_commit('-Am', 'again')").await.1,
        "nothing to commit"
    );
}
