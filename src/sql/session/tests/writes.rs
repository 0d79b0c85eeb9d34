//! INSERT, UPDATE, DELETE and COPY by keys and scans.

use super::*;

#[tokio::test]
async fn rows_are_written_and_read_by_key() {
    let (_world, mut session) = world_with_table().await;
    assert_eq!(
        run(
            &mut session,
            "INSERT INTO t VALUES (1, 'ann', 1.5), (2, DEFAULT, NULL); INSERT INTO t (id) VALUES (3)"
        )
        .await,
        ["INSERT 0 2", "INSERT 0 1"]
    );
    assert_eq!(
        run(&mut session, "SELECT *, name AS n FROM t WHERE id = 1").await,
        ["[id:int4 name:text price:numeric n:text]", "1|ann|1.50|ann", "SELECT 1"]
    );
    assert_eq!(
        rows(&mut session, "SELECT name FROM t x WHERE '3' = x.id").await,
        ["nobody"]
    );
    assert_eq!(
        rows(&mut session, "SELECT name FROM t WHERE id = 1 AND price > 2").await,
        Vec::<String>::new()
    );
    assert_eq!(
        rows(&mut session, "SELECT name FROM t WHERE id = NULL").await,
        Vec::<String>::new()
    );
    assert_eq!(
        run(
            &mut session,
            "UPDATE t SET price = price * 2, name = name || '!' WHERE id = 1 RETURNING *"
        )
        .await,
        ["[id:int4 name:text price:numeric]", "1|ann!|3.00", "UPDATE 1"]
    );
    assert_eq!(
        run(&mut session, "DELETE FROM t WHERE id BETWEEN 2 AND 9").await,
        ["DELETE 2"]
    );
    assert_eq!(run(&mut session, "DELETE FROM t").await, ["DELETE 1"]);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_in_postgres_words() {
    let (_world, mut session) = world_with_table().await;
    run(&mut session, "INSERT INTO t VALUES (1, 'ann', 1)").await;
    for (sql, kind, message) in [
        (
            "INSERT INTO t VALUES (1, 'b')",
            SqlErrorKind::Unique,
            "duplicate key value violates unique constraint \"t_pkey\"",
        ),
        (
            "INSERT INTO t VALUES (2, NULL)",
            SqlErrorKind::NotNull,
            "null value in column \"name\" of relation \"t\" violates not-null constraint",
        ),
        (
            "INSERT INTO t VALUES (99999999999)",
            SqlErrorKind::NumericOutOfRange,
            "integer out of range",
        ),
        (
            "INSERT INTO t VALUES ('x')",
            SqlErrorKind::InvalidText,
            "invalid input syntax for type integer: \"x\"",
        ),
        (
            "INSERT INTO t VALUES (true)",
            SqlErrorKind::DatatypeMismatch,
            "column \"id\" is of type integer but expression is of type boolean",
        ),
        (
            "INSERT INTO t VALUES (2, 'x', 123456)",
            SqlErrorKind::NumericOutOfRange,
            "numeric field overflow",
        ),
        (
            "INSERT INTO t (id, nope) VALUES (2, 3)",
            SqlErrorKind::UndefinedColumn,
            "column \"nope\" of relation \"t\" does not exist",
        ),
        (
            "INSERT INTO t (id, id) VALUES (2, 3)",
            SqlErrorKind::DuplicateColumn,
            "column \"id\" specified more than once",
        ),
        (
            "INSERT INTO t VALUES (2, 'x', 1, 1)",
            SqlErrorKind::Syntax,
            "INSERT has more expressions than target columns",
        ),
        (
            "INSERT INTO nope VALUES (1)",
            SqlErrorKind::UndefinedTable,
            "relation \"nope\" does not exist",
        ),
        (
            "UPDATE t SET id = id / 0",
            SqlErrorKind::DivisionByZero,
            "division by zero",
        ),
        (
            "UPDATE t SET nope = 1",
            SqlErrorKind::UndefinedColumn,
            "column \"nope\" of relation \"t\" does not exist",
        ),
        (
            "CREATE TABLE t (a int)",
            SqlErrorKind::DuplicateTable,
            "relation \"t\" already exists",
        ),
        (
            "CREATE TABLE u (a int, a int)",
            SqlErrorKind::DuplicateColumn,
            "column \"a\" specified more than once",
        ),
        (
            "CREATE TABLE u (a int UNIQUE)",
            SqlErrorKind::Unsupported,
            "UNIQUE is not supported",
        ),
        (
            "CREATE TABLE u (a serial)",
            SqlErrorKind::Unsupported,
            "type serial is not supported",
        ),
        (
            "CREATE TABLE u (a nope)",
            SqlErrorKind::UndefinedObject,
            "type \"nope\" does not exist",
        ),
        (
            "CREATE TABLE u (a int DEFAULT 'x')",
            SqlErrorKind::InvalidText,
            "invalid input syntax for type integer: \"x\"",
        ),
        (
            "CREATE TABLE nope.u (a int)",
            SqlErrorKind::UndefinedSchema,
            "schema \"nope\" does not exist",
        ),
        (
            "DROP TABLE nope",
            SqlErrorKind::UndefinedTable,
            "table \"nope\" does not exist",
        ),
        (
            "CREATE VIEW v AS SELECT 1",
            SqlErrorKind::Unsupported,
            "CREATE VIEW is not supported",
        ),
        ("SELEC 1", SqlErrorKind::Syntax, "syntax error at or near \"SELEC\""),
    ] {
        let error = error(&mut session, sql).await;
        assert_eq!((error.kind, error.message.as_str()), (kind, message), "{sql}");
        assert_eq!(session.transaction_status(), TransactionStatus::Idle, "{sql}");
    }
    let duplicate = error(&mut session, "INSERT INTO t VALUES (1, 'b')").await;
    assert_eq!(duplicate.detail.as_deref(), Some("Key (id)=(1) already exists."));
    assert_eq!(
        rows(&mut session, "SELECT name FROM t WHERE id = 1").await,
        ["ann"],
        "nothing has changed"
    );
}

#[tokio::test]
async fn conflicts_on_insert_do_what_the_statement_says() {
    let (_world, mut session) = world_with_table().await;
    run(&mut session, "INSERT INTO t VALUES (1, 'ann', 1)").await;
    assert_eq!(
        run(
            &mut session,
            "INSERT INTO t VALUES (1, 'x'), (2, 'bob') ON CONFLICT DO NOTHING RETURNING id"
        )
        .await,
        ["[id:int4]", "2", "INSERT 0 1"]
    );
    assert_eq!(
        rows(
            &mut session,
            "INSERT INTO t VALUES (1, 'x', 5) ON CONFLICT (id) DO UPDATE SET price = t.price + excluded.price RETURNING *"
        )
        .await,
        ["1|ann|6.00"]
    );
    assert_eq!(
        run(
            &mut session,
            "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'no' WHERE t.price < 0"
        )
        .await,
        ["INSERT 0 0"]
    );
    let twice = "INSERT INTO t VALUES (7), (7) ON CONFLICT (id) DO UPDATE SET name = 'x'";
    assert_eq!(error(&mut session, twice).await.kind, SqlErrorKind::Cardinality);
    let wrong = "INSERT INTO t VALUES (7) ON CONFLICT (name) DO NOTHING";
    assert_eq!(
        error(&mut session, wrong).await.kind,
        SqlErrorKind::InvalidColumnReference
    );
}

#[tokio::test]
async fn keys_can_be_shifted_over_each_other() {
    let (_world, mut session) = world_with_table().await;
    run(&mut session, "INSERT INTO t (id) VALUES (1), (2), (3)").await;
    assert_eq!(run(&mut session, "UPDATE t SET id = id + 1").await, ["UPDATE 3"]);
    assert_eq!(rows(&mut session, "SELECT id FROM t WHERE id = 4").await, ["4"]);
    assert_eq!(
        error(&mut session, "UPDATE t SET id = 9").await.kind,
        SqlErrorKind::Unique
    );
}

#[tokio::test]
async fn rows_are_copied_in_and_out() {
    let (_world, mut session) = world_with_table().await;
    assert_eq!(
        run_with(&mut session, "COPY t (id, name) FROM STDIN", &["1\tan", "n\n2\t\\N\n"]).await[1..],
        [
            "NotNull: null value in column \"name\" of relation \"t\" violates not-null constraint -- Failing row contains (2, null, null)."
        ]
    );
    assert_eq!(
        run_with(&mut session, "COPY t FROM STDIN", &["1\tan", "n\t1\n2\tb\\tc\t\\N"]).await,
        ["copy in 3", "COPY 2"]
    );
    assert_eq!(
        run(&mut session, "COPY t TO STDOUT WITH (FORMAT csv, HEADER)").await,
        ["copy out 3", "id,name,price\n1,ann,1.00\n2,b\tc,\n", "COPY 2"]
    );
    let bad = run_with(&mut session, "COPY t FROM STDIN", &["3\tx\n"]).await;
    assert!(
        bad[1].starts_with("BadCopyFormat: missing data for column \"price\""),
        "{bad:?}"
    );
    let mut gives_up = Transcript {
        input: vec![CopyInput::Failed("no".to_string())],
        ..Transcript::default()
    };
    let failed = session
        .simple_query("COPY t FROM STDIN", &mut gives_up)
        .await
        .unwrap_err();
    assert_eq!(
        (failed.kind, failed.message.as_str()),
        (SqlErrorKind::Cancelled, "COPY from stdin failed: no")
    );
}

#[tokio::test]
async fn a_long_statement_lets_others_run() {
    let (_world, mut session) = world_with_table().await;
    let turns = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = turns.clone();
    let _other = runtime::spawn("other", async move {
        loop {
            counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            runtime::yield_now().await;
        }
    })
    .abort_on_drop();
    let values: Vec<String> = (0..5_000).map(|number| format!("({number}, 'x')")).collect();
    let lines: String = (5_000..10_000).map(|number| format!("{number}\ty\n")).collect();
    assert_eq!(run(&mut session, "BEGIN").await, ["BEGIN"]);
    for (sql, tag) in [
        (
            format!("INSERT INTO t (id, name) VALUES {}", values.join(", ")),
            "INSERT 0 5000",
        ),
        ("COPY t (id, name) FROM STDIN".to_string(), "COPY 5000"),
        ("UPDATE t SET name = 'z'".to_string(), "UPDATE 10000"),
        ("UPDATE t SET id = id + 10000".to_string(), "UPDATE 10000"),
        (
            "INSERT INTO t SELECT id + 20000, name FROM t".to_string(),
            "INSERT 0 10000",
        ),
        (
            "SELECT sum(length(repeat(name, 50000 + id % 2))) AS n FROM t WHERE id >= 0".to_string(),
            "SELECT 1",
        ),
        ("DELETE FROM t WHERE id < 15000".to_string(), "DELETE 5000"),
        ("TRUNCATE t".to_string(), "TRUNCATE TABLE"),
    ] {
        let before = turns.load(std::sync::atomic::Ordering::Relaxed);
        let done = run_with(&mut session, &sql, &[&lines]).await;
        assert_eq!(done.last().unwrap(), tag);
        let turns = turns.load(std::sync::atomic::Ordering::Relaxed) - before;
        assert!(turns >= 15, "{tag}: {turns}");
    }
}
