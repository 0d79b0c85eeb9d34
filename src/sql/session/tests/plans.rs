//! Statements that go through a plan, and that they agree with those that do not.

use super::*;
use crate::chunk::ChunkCache;

#[tokio::test]
async fn writes_that_need_a_plan_find_their_rows_by_it() {
    let (_world, mut session) = world_with_table().await;
    let filled = run(
        &mut session,
        "INSERT INTO t SELECT g, 'n' || g, g * 1.5 FROM (VALUES (1), (2), (3), (4), (5)) AS s(g)",
    )
    .await;
    assert_eq!(filled, ["INSERT 0 5"]);
    assert_eq!(
        rows(&mut session, "SELECT count(*), sum(price) FROM t").await,
        ["5|22.50"]
    );
    assert_eq!(
        run(
            &mut session,
            "UPDATE t SET name = upper(name), price = 0 WHERE abs(id) > 3 RETURNING id, lower(name) AS l"
        )
        .await,
        ["[id:int4 l:text]", "4|n4", "5|n5", "UPDATE 2"]
    );
    assert_eq!(
        run(
            &mut session,
            "UPDATE t SET name = u.name FROM (SELECT 1 AS id, 'from' AS name) u WHERE u.id = t.id"
        )
        .await,
        ["UPDATE 1"]
    );
    assert_eq!(rows(&mut session, "SELECT name FROM t WHERE id = 1").await, ["from"]);
    assert_eq!(
        run(
            &mut session,
            "DELETE FROM t WHERE id IN (SELECT id FROM t WHERE price = 0)"
        )
        .await,
        ["DELETE 2"]
    );
    assert_eq!(
        run(
            &mut session,
            "DELETE FROM t USING (VALUES (1), (2)) AS v(n) WHERE v.n = t.id"
        )
        .await,
        ["DELETE 2"]
    );
    assert_eq!(rows(&mut session, "SELECT id FROM t ORDER BY id").await, ["3"]);
    assert_eq!(
        rows(
            &mut session,
            "INSERT INTO t VALUES (abs(-9), initcap('ann')) RETURNING *"
        )
        .await,
        ["9|Ann|NULL"]
    );
    assert_eq!(
        error(&mut session, "UPDATE t SET price = nope + 1").await.kind,
        SqlErrorKind::UndefinedColumn
    );
    assert_eq!(
        error(&mut session, "DELETE FROM t WHERE nope = 1").await.kind,
        SqlErrorKind::UndefinedColumn
    );
}

#[tokio::test]
async fn tables_without_a_key_hold_equal_rows() {
    let world = World::new().await;
    let mut session = world.session();
    run(
        &mut session,
        "CREATE TABLE log (line text, at timestamptz DEFAULT now(), id uuid DEFAULT gen_random_uuid())",
    )
    .await;
    run(
        &mut session,
        "INSERT INTO log VALUES ('a', NULL, NULL), ('a', NULL, NULL); INSERT INTO log VALUES ('b')",
    )
    .await;
    assert_eq!(
        rows(
            &mut session,
            "SELECT line, at IS NULL, id IS NULL FROM log ORDER BY line"
        )
        .await,
        ["a|t|t", "a|t|t", "b|f|f"]
    );
    assert_eq!(
        run(&mut session, "UPDATE log SET line = line || '!' WHERE length(line) = 1").await,
        ["UPDATE 3"]
    );
    assert_eq!(
        run(&mut session, "DELETE FROM log WHERE line = 'a!'").await,
        ["DELETE 2"]
    );
    assert_eq!(rows(&mut session, "SELECT line FROM log").await, ["b!"]);
    assert_eq!(run(&mut session, "TRUNCATE log").await, ["TRUNCATE TABLE"]);
    assert_eq!(rows(&mut session, "SELECT count(*) FROM log").await, ["0"]);
}

/// A plan and a point query answer the same question: a client must not see which one it was.
#[tokio::test]
async fn point_queries_and_plans_agree() {
    let world = World::new().await;
    let mut session = world.session();
    run(
        &mut session,
        "CREATE TABLE all_types (id int8 PRIMARY KEY, b boolean, i2 int2, i4 int4, f4 float4, f8 float8, n numeric(10,3), \
         n2 numeric, t text, v varchar(5), c char(4), bin bytea, d date, tm time, ts timestamp, tz timestamptz, u uuid, \
         j json, jb jsonb)",
    )
    .await;
    let inserted = run(
        &mut session,
        "INSERT INTO all_types VALUES (1, true, -2, 4, 1.5, -0.1, 12.3456, 1.1, 'text', 'abc', 'ab', '\\x00ff', '2024-02-29', \
         '12:34:56.7', '2024-01-01 00:00:01', '2024-01-01 00:00:01+02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', \
         '{\"b\": 1,\"a\":2}', '{\"b\": 1,\"a\":2}'), (2)",
    )
    .await;
    assert!(
        inserted[0].starts_with("Syntax"),
        "rows of different lengths: {inserted:?}"
    );
    run(
        &mut session,
        "INSERT INTO all_types VALUES (1, true, -2, 4, 1.5, -0.1, 12.3456, 1.1, 'text', 'abc', 'ab', '\\x00ff', '2024-02-29', \
         '12:34:56.7', '2024-01-01 00:00:01', '2024-01-01 00:00:01+02', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', \
         '{\"b\": 1,\"a\":2}', '{\"b\": 1,\"a\":2}'); INSERT INTO all_types VALUES (2)",
    )
    .await;
    for id in [1, 2] {
        let point = run(
            &mut session,
            &format!("SELECT *, i4 + 1 AS more FROM all_types WHERE id = {id}"),
        )
        .await;
        let planned = run(
            &mut session,
            &format!("SELECT *, i4 + 1 AS more FROM all_types WHERE id = {id} ORDER BY id LIMIT 5"),
        )
        .await;
        assert_eq!(point, planned);
        let prepared = session
            .prepare("SELECT *, i4 + 1 AS more FROM all_types WHERE id = $1", &[])
            .await
            .unwrap();
        assert_eq!(prepared.params, [PgType::INT8]);
        let result = session
            .execute(&prepared, vec![Value::Int8(id)], &mut Transcript::default())
            .await
            .unwrap();
        let QueryResult::Rows { rows: stream, .. } = result else {
            panic!("{result:?}")
        };
        assert_eq!(stream.fields.to_vec(), prepared.columns.unwrap());
        drop(stream);
        session.sync().await.unwrap();
    }
    assert_eq!(
        run(&mut session, "SELECT * FROM all_types WHERE id = 1").await[1],
        "1|t|-2|4|1.5|-0.1|12.346|1.1|text|abc|ab  |\\x00ff|2024-02-29|12:34:56.7|2024-01-01 00:00:01|2023-12-31 22:00:01+00|\
         a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{\"b\": 1,\"a\":2}|{\"a\": 2, \"b\": 1}"
    );
}

/// Lost without it: a product that there is no room for is rounded, and what is stored is another number.
#[tokio::test]
async fn products_of_numerics_are_exact_or_refused_whichever_way_they_go() {
    let world = World::new().await;
    let mut session = world.session();
    run(&mut session, "CREATE TABLE x (id int PRIMARY KEY, n numeric)").await;
    run(
        &mut session,
        "INSERT INTO x VALUES (1, 0.000000000000001), (2, 12345678901234.567890), (3, 0.00), (4, 1.50)",
    )
    .await;
    for condition in ["id", "abs(id)"] {
        for id in [1, 2] {
            let sql = format!("UPDATE x SET n = n * n WHERE {condition} = {id}");
            let refused = error(&mut session, &sql).await;
            assert_eq!(refused.kind, SqlErrorKind::NumericOutOfRange, "{sql}");
        }
        for (id, expected) in [(3, "0.0000"), (4, "2.2500")] {
            let sql = format!("BEGIN; UPDATE x SET n = n * n WHERE {condition} = {id}");
            assert_eq!(run(&mut session, &sql).await, ["BEGIN", "UPDATE 1"]);
            let stored = rows(&mut session, &format!("SELECT n FROM x WHERE id = {id}")).await;
            assert_eq!(stored, [expected], "{sql}");
            run(&mut session, "ROLLBACK").await;
        }
        for (id, shown, expected) in [
            // A plan has room for it, and what reads values back has not.
            (1, "(n * n)::text", "0.000000000000000000000000000001"),
            (3, "n * n", "0.0000"),
            (4, "n * n", "2.2500"),
        ] {
            let sql = format!("SELECT {shown} FROM x WHERE {condition} = {id}");
            assert_eq!(run(&mut session, &sql).await[1..], [expected, "SELECT 1"], "{sql}");
        }
    }
    assert_eq!(
        rows(&mut session, "SELECT n FROM x ORDER BY id").await,
        ["0.000000000000001", "12345678901234.567890", "0.00", "1.50"]
    );
}

#[tokio::test]
async fn plans_see_the_sessions_edits_and_its_settings() {
    let (_world, mut session) = world_with_table().await;
    run(&mut session, "BEGIN; INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    assert_eq!(rows(&mut session, "SELECT count(*) FROM t").await, ["2"]);
    run(&mut session, "SET my.x = 'y'").await;
    assert_eq!(
        rows(
            &mut session,
            "SELECT current_setting('my.x'), current_user, current_database(), pg_is_in_recovery()"
        )
        .await,
        ["y|postgres|shop|f"]
    );
    run(&mut session, "ROLLBACK").await;
    assert_eq!(rows(&mut session, "SELECT count(*) FROM t").await, ["0"]);
    run(&mut session, "PREPARE p (int) AS SELECT $1 + 1").await;
    assert_eq!(rows(&mut session, "EXECUTE p(41)").await, ["42"]);
    run(&mut session, "DEALLOCATE p").await;
    assert_eq!(
        error(&mut session, "EXECUTE p(1)").await.kind,
        SqlErrorKind::UndefinedPrepared
    );
    let copied = run(&mut session, "COPY (SELECT 1 AS a, NULL AS b) TO STDOUT").await;
    assert_eq!(copied, ["copy out 2", "1\t\\N\n", "COPY 1"]);
}

#[tokio::test]
async fn an_offset_is_skipped_and_rows_are_counted_by_the_tree() {
    let (_world, mut session) = world_with_table().await;
    run(
        &mut session,
        "CREATE TABLE n (a int PRIMARY KEY, b int); INSERT INTO n SELECT g, g % 7 FROM generate_series(1, 20000) AS s(g)",
    )
    .await;
    let plan = |lines: Vec<String>| lines.join("\n");
    let page = "SELECT a, b + 1 FROM n ORDER BY a LIMIT 3 OFFSET 15000";
    let count = "SELECT count(*) FROM n";
    let shown = plan(run(&mut session, &format!("EXPLAIN {page}")).await);
    assert!(shown.contains("skip=15000"), "{shown}");
    let shown = plan(run(&mut session, &format!("EXPLAIN {count}")).await);
    assert!(!shown.contains("TableScanExec"), "{shown}");
    let shown = plan(run(&mut session, "EXPLAIN SELECT a FROM n WHERE b = 1 ORDER BY a OFFSET 10").await);
    assert!(!shown.contains("columns=[a, b], skip"), "{shown}");

    assert_eq!(
        rows(&mut session, page).await,
        ["15001|1", "15002|2", "15003|3"].map(|row| {
            let a: i32 = row.split('|').next().unwrap().parse().unwrap();
            format!("{a}|{}", a % 7 + 1)
        })
    );
    // Rows that only this transaction has, changed or removed, count as it sees them.
    run(&mut session, "BEGIN").await;
    run(
        &mut session,
        "DELETE FROM n WHERE a <= 10; INSERT INTO n VALUES (0, 0), (-5, 1); UPDATE n SET b = 100 WHERE a = 15009",
    )
    .await;
    assert_eq!(rows(&mut session, count).await, ["19992"]);
    assert_eq!(
        rows(&mut session, page).await,
        ["15009|101", "15010|3", "15011|4"].map(|row| {
            let a: i32 = row.split('|').next().unwrap().parse().unwrap();
            format!("{a}|{}", if a == 15009 { 101 } else { a % 7 + 1 })
        })
    );
    assert_eq!(
        rows(&mut session, "SELECT a FROM n ORDER BY a OFFSET 19990").await,
        ["19999", "20000"]
    );
    assert_eq!(
        rows(
            &mut session,
            "SELECT a FROM n WHERE a > 100 ORDER BY a LIMIT 2 OFFSET 1000"
        )
        .await,
        ["1101", "1102"]
    );
    assert_eq!(
        rows(
            &mut session,
            "SELECT a FROM n WHERE a IN (50, 60, 70, 80) ORDER BY a OFFSET 2"
        )
        .await,
        ["70", "80"]
    );
    assert_eq!(
        rows(&mut session, "SELECT a FROM n ORDER BY a OFFSET 30000").await,
        Vec::<String>::new()
    );
    run(&mut session, "ROLLBACK").await;
    assert_eq!(rows(&mut session, count).await, ["20000"]);
}

/// A damaged value hurts only whoever asks for it.
#[tokio::test]
async fn a_query_reads_no_large_value_that_it_does_not_show() {
    let disk = SimDisk::new(1);
    let store = StoreOptions {
        cache: ChunkCache::new(0),
        ..StoreOptions::default()
    };
    let world = World::on(&disk, store).await;
    let mut session = world.session();
    // Hex digits of a hash: nothing that compression would find to pay.
    let body: String = (0..400u32)
        .map(|n| blake3::hash(&n.to_le_bytes()).to_hex().to_string())
        .collect();
    run(
        &mut session,
        "CREATE TABLE d (id int PRIMARY KEY, title text, body text)",
    )
    .await;
    run(&mut session, &format!("INSERT INTO d VALUES (1, 'short', '{body}')")).await;
    let process = disk.disk();
    let folder = format!("databases/{}", process.list("databases").unwrap()[0].name);
    let mut flipped = 0;
    for file in process.list(&folder).unwrap() {
        let path = format!("{folder}/{}", file.name);
        let bytes = process.read(&path).unwrap_or_default();
        let needle = &body.as_bytes()[..64];
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            disk.flip_bit(&path, at as u64, 0).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "the value lies in the log as it is");
    for query in [
        "SELECT id, title FROM d WHERE id = 1",
        "SELECT d.title, 1 + id FROM d WHERE id = 1 AND title > 'a'",
        "SELECT title FROM d WHERE title LIKE 's%'",
    ] {
        let answer = run(&mut session, query).await;
        assert_eq!(answer.last().unwrap(), "SELECT 1", "{query}: {answer:?}");
    }
    for query in [
        "SELECT * FROM d WHERE id = 1",
        "SELECT id FROM d WHERE id = 1 AND body > 'a'",
        "SELECT length(body) FROM d",
    ] {
        let answer = run(&mut session, query).await;
        assert!(
            answer.last().unwrap().contains("is damaged at offset"),
            "{query}: {answer:?}"
        );
    }
}
