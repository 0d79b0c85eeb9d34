//! Statements and what PostgreSQL 15 answers to them, run through a whole session.
//!
//! `testdata/*.txt` hold the statements, each followed by `----` and the answer: column names, then rows, `|` between
//! fields and `∅` for NULL; or the kind and words of the error. A line that starts with `#` says why an answer differs from
//! PostgreSQL's.

use async_trait::async_trait;

use crate::chunk::{ChunkCache, StoreOptions};
use crate::engine::{Engine, EngineOptions, Superuser};
use crate::runtime::disk::simulated::SimDisk;
use crate::sql::plan::QueryMemory;
use crate::sql::text::{self, Cell, Style};
use crate::sql::{
    FieldInfo, Notice, PgType, ResultSink, RowBatch, ServerSettings, Session, SessionStart, SqlError, SqlErrorKind,
};

/// A server of one database, without network.
struct Fixture {
    session: Session,
}

/// Collects results as text.
#[derive(Default)]
struct Lines {
    fields: Vec<FieldInfo>,
    lines: Vec<String>,
}

#[async_trait]
impl ResultSink for Lines {
    async fn row_description(&mut self, fields: &[FieldInfo]) -> Result<(), SqlError> {
        self.fields = fields.to_vec();
        self.lines.push(
            fields
                .iter()
                .map(|field| field.name.as_str())
                .collect::<Vec<_>>()
                .join("|"),
        );
        Ok(())
    }

    async fn rows(&mut self, fields: &[FieldInfo], batch: RowBatch, style: &Style) -> Result<(), SqlError> {
        for row in 0..batch.rows() {
            let mut line = Vec::new();
            for (at, field) in fields.iter().enumerate() {
                let cell = match &batch {
                    RowBatch::Values(rows) => Cell::of_value(&rows[row][at]),
                    RowBatch::Arrow(batch) => Cell::of_array(batch.column(at), row)?,
                };
                let mut text = String::new();
                text::write_cell(&mut text, &cell, &field.pg_type, style).unwrap();
                line.push(if cell == Cell::Null { "∅".to_string() } else { text });
            }
            self.lines.push(line.join("|"));
        }
        Ok(())
    }

    async fn complete(&mut self, _: String) -> Result<(), SqlError> {
        Ok(())
    }

    async fn empty(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    async fn notice(&mut self, _: Notice) -> Result<(), SqlError> {
        Ok(())
    }

    async fn parameter_status(&mut self, _: &str, _: &str) -> Result<(), SqlError> {
        Ok(())
    }
}

impl Fixture {
    async fn new() -> Fixture {
        Fixture::with_memory(64 << 20).await
    }

    async fn with_memory(bytes: u64) -> Fixture {
        let options = EngineOptions {
            superuser: Superuser {
                name: "postgres".into(),
                password: "password".into(),
            },
            read_only: None,
            store: StoreOptions {
                segment_bytes_max: 1 << 24,
                backlog_bytes_max: 1 << 24,
                cache: ChunkCache::new(1 << 22),
            },
            auto_collect: None,
        };
        let engine = Engine::open(SimDisk::new(1).disk(), options).await.unwrap();
        engine.create_database("planref").await.unwrap();
        let server = ServerSettings {
            host: "localhost".into(),
            port: 5432,
            data_directory: "/data".into(),
            max_connections: 10,
            query_memory: QueryMemory::new(bytes),
        };
        let start = SessionStart {
            user: "postgres".into(),
            database: "planref".into(),
            parameters: Vec::new(),
            handle: engine.sessions().register("postgres", "planref"),
            client_address: None,
        };
        Fixture {
            session: Session::new(engine, server, start).unwrap(),
        }
    }

    async fn with_tables() -> Fixture {
        let mut fixture = Fixture::new().await;
        for statement in include_str!("testdata/tables.sql").lines() {
            let answer = fixture.answer(statement).await;
            assert_eq!(answer, "", "{statement}");
        }
        fixture
    }

    /// Names and rows, or the error.
    async fn answer(&mut self, sql: &str) -> String {
        let mut lines = Lines::default();
        match self.session.simple_query(sql, &mut lines).await {
            Ok(()) => lines.lines.join("\n"),
            Err(error) => format!("ERROR {:?}: {}", error.kind, error.message),
        }
    }

    /// Runs a file of statements and reports every answer that differs.
    async fn check(&mut self, file: &str) {
        let mut wrong = Vec::new();
        for case in file.split("\n\n") {
            let lines: Vec<&str> = case.lines().filter(|line| !line.starts_with('#')).collect();
            let Some(split) = lines.iter().position(|line| *line == "----") else {
                continue;
            };
            let (sql, expected) = (lines[..split].join("\n"), lines[split + 1..].join("\n"));
            let answer = self.answer(&sql).await;
            if answer != expected {
                wrong.push(format!("{sql}\n  expected\n{expected}\n  found\n{answer}\n"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} answers differ:\n\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

#[tokio::test]
async fn queries_answer_as_postgres_does() {
    Fixture::with_tables()
        .await
        .check(include_str!("testdata/queries.txt"))
        .await;
}

#[tokio::test]
async fn whether_a_value_is_among_rows_minds_nulls_wherever_it_is_asked() {
    Fixture::new()
        .await
        .check(include_str!("testdata/membership.txt"))
        .await;
}

#[tokio::test]
async fn names_in_subqueries_are_those_of_the_innermost_query_that_has_them() {
    Fixture::new().await.check(include_str!("testdata/scopes.txt")).await;
}

#[tokio::test]
async fn the_two_zeros_are_one_number() {
    Fixture::new().await.check(include_str!("testdata/zeros.txt")).await;
}

#[tokio::test]
async fn time_zones_are_minded_as_postgres_minds_them() {
    Fixture::new().await.check(include_str!("testdata/zones.txt")).await;
}

#[tokio::test]
async fn what_psql_asks_is_answered_as_postgres_does() {
    Fixture::with_tables()
        .await
        .check(include_str!("testdata/psql.txt"))
        .await;
}

#[tokio::test]
async fn a_query_that_holds_too_much_is_53200_and_the_next_one_runs() {
    let mut fixture = Fixture::with_memory(4 << 20).await;
    for greedy in [
        "SELECT count(*) FROM (SELECT DISTINCT x % 500000 FROM generate_series(1, 1000000) AS g(x)) AS d",
        "SELECT x FROM generate_series(1, 1000000) AS g(x) ORDER BY x DESC",
        "SELECT count(*) FROM generate_series(1, 1000000) AS a(x) JOIN generate_series(1, 1000000) AS b(y) ON x = y",
    ] {
        let mut lines = Lines::default();
        let error = fixture
            .session
            .simple_query(greedy, &mut lines)
            .await
            .expect_err(greedy);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (SqlErrorKind::OutOfMemory, "out of memory"),
            "{greedy}"
        );
        assert!(error.hint.is_some_and(|hint| hint.contains("limit")), "{greedy}");
        let modest = "SELECT count(*) FROM (SELECT DISTINCT x FROM generate_series(1, 1000) AS g(x)) AS d";
        assert_eq!(fixture.answer(modest).await, "count\n1000", "after {greedy}");
    }
}

/// What functions make is bounded before it is made: one value, all values of a batch, and what aggregates gather.
#[tokio::test]
async fn values_that_functions_make_have_a_bound() {
    let too_long = (SqlErrorKind::LimitExceeded, "requested length too large");
    let too_much = (SqlErrorKind::OutOfMemory, "out of memory");
    // One value may have a mebibyte then.
    let mut fixture = Fixture::with_memory(4 << 20).await;
    for (greedy, expected) in [
        ("SELECT length(repeat('x', 1000000000))", too_long),
        ("SELECT repeat('x', 9223372036854775807) IS NULL", too_long),
        ("SELECT length(lpad('x', 1000000000))", too_long),
        ("SELECT length(rpad('x', 300000, 'ä'))", too_long),
        (
            "SELECT length(replace(repeat('a', 10000), 'a', repeat('b', 1000)))",
            too_long,
        ),
        (
            "SELECT length(regexp_replace(repeat('a', 10000), 'a', repeat('b', 1000), 'g'))",
            too_long,
        ),
        ("SELECT length(translate(repeat('a', 500000), 'a', 'ä'))", too_long),
        (
            "SELECT length(concat(a, a, a)) FROM (SELECT repeat('x', 400000) AS a) s",
            too_long,
        ),
        (
            "SELECT length(a || a || a) FROM (SELECT repeat('x', 400000) AS a) s",
            too_long,
        ),
        (
            "SELECT length(a || a) FROM (SELECT convert_from_text || convert_from_text AS a \
             FROM (SELECT repeat('x', 300000) AS convert_from_text) r) s",
            too_long,
        ),
        ("SELECT generate_series(1, 1000000000)", too_long),
        (
            "SELECT sum(length(repeat('x', 100000 + x::int))) FROM generate_series(1, 1000) AS g(x)",
            too_much,
        ),
        (
            "SELECT length(string_agg(repeat('x', 10000 + x::int % 2), '')) FROM generate_series(1, 1000) AS g(x)",
            too_much,
        ),
        (
            "SELECT x % 2, length(string_agg(repeat('x', 10000 + x::int % 2), '')) \
             FROM generate_series(1, 1000) AS g(x) GROUP BY 1",
            too_much,
        ),
        (
            "SELECT string_agg(repeat('x', 1000), '') OVER (ORDER BY x) FROM generate_series(1, 1000) AS g(x)",
            too_much,
        ),
        (
            "SELECT array_length(array_agg(x) OVER (ORDER BY x), 1) FROM generate_series(1, 4000) AS g(x)",
            too_much,
        ),
        (
            "SELECT array_length(array_agg(repeat('x', 10000 + x::int % 2)), 1) FROM generate_series(1, 1000) AS g(x)",
            too_much,
        ),
    ] {
        let mut lines = Lines::default();
        let error = fixture
            .session
            .simple_query(greedy, &mut lines)
            .await
            .expect_err(greedy);
        assert_eq!((error.kind, error.message.as_str()), expected, "{greedy}");
        assert_eq!(fixture.answer("SELECT 1 AS n").await, "n\n1", "after {greedy}");
    }
    for (modest, expected) in [
        ("SELECT length(repeat('x', 1000000)) AS n", "n\n1000000"),
        ("SELECT length(lpad('x', 1000000)) AS n", "n\n1000000"),
        // Constants are repeated for every row.
        (
            "SELECT sum(length(c)) AS n FROM (SELECT repeat('x', 100000) AS c FROM generate_series(1, 1000)) s",
            "n\n100000000",
        ),
        (
            "SELECT sum(length(repeat('x', 10000 + x::int))) AS n FROM generate_series(1, 1000) AS g(x)",
            "n\n10500500",
        ),
        (
            "SELECT length(string_agg(repeat('x', 1000), '-')) AS n FROM generate_series(1, 100)",
            "n\n100099",
        ),
    ] {
        assert_eq!(fixture.answer(modest).await, expected, "{modest}");
    }
}

#[tokio::test]
async fn a_row_may_have_no_columns() {
    let mut fixture = Fixture::with_tables().await;
    assert_eq!(fixture.answer("SELECT").await, "\n");
    assert_eq!(fixture.answer("SELECT;").await, "\n");
    assert_eq!(fixture.answer("SELECT FROM u").await, "\n\n\n");
}

/// Results carry PostgreSQL's types, also those that Arrow does not know.
#[tokio::test]
async fn columns_keep_their_postgres_types() {
    let mut fixture = Fixture::with_tables().await;
    let mut lines = Lines::default();
    let sql = "SELECT code, price, anynum, uid, ts, count(*) AS n, '{}'::jsonb AS j FROM t WHERE id > 0 GROUP BY 1, 2, 3, 4, 5";
    fixture.session.simple_query(sql, &mut lines).await.unwrap();
    let types: Vec<(PgType, i32)> = lines
        .fields
        .iter()
        .map(|field| (field.pg_type.clone(), field.typmod))
        .collect();
    assert_eq!(
        types,
        [
            (PgType::BPCHAR, 8),
            (PgType::NUMERIC, (10 << 16 | 2) + 4),
            (PgType::NUMERIC, -1),
            (PgType::UUID, -1),
            (PgType::TIMESTAMP, -1),
            (PgType::INT8, -1),
            (PgType::JSONB, -1),
        ]
    );
}

/// A client that reads binary would take one type's bytes for another's.
#[tokio::test]
async fn columns_of_mixed_types_are_told_as_the_type_they_have() {
    let mut fixture = Fixture::with_tables().await;
    for (sql, expected) in [
        (
            "SELECT CASE WHEN id = 1 THEN 1 ELSE 2.5 END FROM t ORDER BY id",
            PgType::NUMERIC,
        ),
        ("SELECT 1 UNION ALL SELECT 2.5", PgType::NUMERIC),
        ("SELECT 1 UNION ALL SELECT 2.5::float8", PgType::FLOAT8),
        ("SELECT 1 UNION ALL SELECT 3000000000", PgType::INT8),
        (
            "SELECT date '2020-01-01' UNION ALL SELECT timestamp '2020-01-02 10:00'",
            PgType::TIMESTAMP,
        ),
        ("SELECT NULL UNION ALL SELECT 1", PgType::INT4),
        ("SELECT coalesce(1, 2.5)", PgType::NUMERIC),
        ("SELECT * FROM (VALUES (1), (2.5)) v", PgType::NUMERIC),
        ("SELECT x FROM (SELECT 1 AS x UNION SELECT 3000000000) s", PgType::INT8),
        (
            "SELECT sum(CASE WHEN id = 1 THEN 1 ELSE 0.5 END) FROM t",
            PgType::NUMERIC,
        ),
    ] {
        let mut lines = Lines::default();
        fixture.session.simple_query(sql, &mut lines).await.unwrap();
        assert_eq!(lines.fields[0].pg_type, expected, "{sql}");
        let described = fixture.session.prepare(sql, &[]).await.unwrap().columns.unwrap();
        assert_eq!(described[0].pg_type, expected, "{sql}, described");
    }
    let prepared = fixture
        .session
        .prepare("SELECT 1 UNION ALL SELECT $1::numeric", &[])
        .await;
    assert_eq!(prepared.unwrap().columns.unwrap()[0].pg_type, PgType::NUMERIC);
}

/// Parameters take their types from what stands beside them.
#[tokio::test]
async fn parameters_are_typed_by_their_surroundings() {
    let mut fixture = Fixture::with_tables().await;
    for (sql, expected) in [
        ("SELECT count(*) FROM t WHERE price > $1", vec![PgType::NUMERIC]),
        ("SELECT $1::int + 1", vec![PgType::INT4]),
        ("SELECT $1", vec![PgType::TEXT]),
        (
            "SELECT upper($1), count(*) FROM t WHERE day = $2 AND name = $3 GROUP BY 1",
            vec![PgType::TEXT, PgType::DATE, PgType::TEXT],
        ),
        (
            "SELECT max(id) FROM t WHERE id IN ($1, $2)",
            vec![PgType::INT4, PgType::INT4],
        ),
        ("SELECT name FROM t GROUP BY name LIMIT $1", vec![PgType::INT8]),
        ("SELECT max(id) FROM t WHERE uid = $1", vec![PgType::UUID]),
    ] {
        let prepared = fixture.session.prepare(sql, &[]).await.unwrap();
        assert_eq!(prepared.params, expected, "{sql}");
    }
}
