//! Sessions over an engine on a simulated disk, without any wire.

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::chunk::StoreOptions;
use crate::engine::{EngineOptions, ReadOnlyReason, Superuser};
use crate::runtime::disk::simulated::SimDisk;
use crate::sql::result::{CopyInput, RowBatch};
use crate::sql::text::{self, Style};

struct World {
    engine: Engine,
}

/// What a client would have seen of a simple query, one line a message.
#[derive(Default)]
struct Transcript {
    lines: Vec<String>,
    /// What the client copies in.
    input: Vec<CopyInput>,
}

#[async_trait]
impl ResultSink for Transcript {
    async fn row_description(&mut self, fields: &[FieldInfo]) -> Result<(), SqlError> {
        let names: Vec<String> = fields
            .iter()
            .map(|field| format!("{}:{}", field.name, field.pg_type))
            .collect();
        self.lines.push(format!("[{}]", names.join(" ")));
        Ok(())
    }

    async fn rows(&mut self, fields: &[FieldInfo], batch: RowBatch, _: &Style) -> Result<(), SqlError> {
        for row in values_of(fields, batch)? {
            self.lines.push(shown(&row, fields));
        }
        Ok(())
    }

    async fn complete(&mut self, tag: String) -> Result<(), SqlError> {
        self.lines.push(tag);
        Ok(())
    }

    async fn empty(&mut self) -> Result<(), SqlError> {
        self.lines.push("(empty)".to_string());
        Ok(())
    }

    async fn notice(&mut self, notice: Notice) -> Result<(), SqlError> {
        self.lines.push(format!("{:?}: {}", notice.severity, notice.message));
        Ok(())
    }

    async fn parameter_status(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        self.lines.push(format!("{name} = {value}"));
        Ok(())
    }

    async fn copy_in_start(&mut self, columns: usize) -> Result<(), SqlError> {
        self.lines.push(format!("copy in {columns}"));
        Ok(())
    }

    async fn copy_in_next(&mut self) -> Result<CopyInput, SqlError> {
        if self.input.is_empty() {
            Ok(CopyInput::Done)
        } else {
            Ok(self.input.remove(0))
        }
    }

    async fn copy_out_start(&mut self, columns: usize) -> Result<(), SqlError> {
        self.lines.push(format!("copy out {columns}"));
        Ok(())
    }

    async fn copy_out_data(&mut self, data: Bytes) -> Result<(), SqlError> {
        self.lines.push(String::from_utf8_lossy(&data).into_owned());
        Ok(())
    }
}

fn values_of(fields: &[FieldInfo], batch: RowBatch) -> Result<Vec<Vec<Value>>, SqlError> {
    match batch {
        RowBatch::Values(rows) => Ok(rows),
        arrow => crate::sql::plan::values_of(fields, arrow),
    }
}

fn shown(row: &[Value], fields: &[FieldInfo]) -> String {
    let values: Vec<String> = row
        .iter()
        .zip(fields)
        .map(|(value, field)| {
            text::to_text(value, &field.pg_type, &text::Style::DEFAULT).unwrap_or_else(|| "NULL".to_string())
        })
        .collect();
    values.join("|")
}

impl World {
    async fn new() -> World {
        let options = EngineOptions {
            superuser: Superuser {
                name: "postgres".to_string(),
                password: "password".to_string(),
            },
            read_only: None,
            store: StoreOptions::default(),
        };
        let engine = Engine::open(SimDisk::new(1).disk(), options).await.unwrap();
        engine.create_database("shop").await.unwrap();
        World { engine }
    }

    fn start(&self, user: &str, database: &str) -> Result<Session, SqlError> {
        let server = ServerSettings {
            host: "localhost".to_string(),
            port: 5432,
            data_directory: "/data".to_string(),
            max_connections: 100,
        };
        let start = SessionStart {
            user: user.to_string(),
            database: database.to_string(),
            parameters: Vec::new(),
            handle: self.engine.sessions().register(user, database),
            client_address: Some("10.0.0.7".to_string()),
        };
        Session::new(self.engine.clone(), server, start)
    }

    fn session(&self) -> Session {
        self.start("postgres", "shop").unwrap()
    }
}

/// Runs a text; the error, if any, is the last line.
async fn run(session: &mut Session, sql: &str) -> Vec<String> {
    run_with(session, sql, &[]).await
}

async fn run_with(session: &mut Session, sql: &str, input: &[&str]) -> Vec<String> {
    let mut out = Transcript::default();
    out.input = input
        .iter()
        .map(|part| CopyInput::Data(Bytes::copy_from_slice(part.as_bytes())))
        .collect();
    if let Err(error) = session.simple_query(sql, &mut out).await {
        let detail = error.detail.map_or_else(String::new, |detail| format!(" -- {detail}"));
        out.lines.push(format!("{:?}: {}{detail}", error.kind, error.message));
    }
    out.lines
}

/// Runs a text that must succeed; its rows only.
async fn rows(session: &mut Session, sql: &str) -> Vec<String> {
    let lines = run(session, sql).await;
    let (last, rest) = lines.split_last().unwrap();
    assert!(
        last.starts_with("SELECT")
            || last.starts_with("INSERT")
            || last.starts_with("UPDATE")
            || last.starts_with("DELETE")
            || last.starts_with("SHOW"),
        "{lines:?}"
    );
    rest.iter().filter(|line| !line.starts_with('[')).cloned().collect()
}

async fn error(session: &mut Session, sql: &str) -> SqlError {
    session
        .simple_query(sql, &mut Transcript::default())
        .await
        .expect_err(sql)
}

async fn world_with_table() -> (World, Session) {
    let world = World::new().await;
    let mut session = world.session();
    let made = run(
        &mut session,
        "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL DEFAULT 'nobody', price numeric(6,2))",
    )
    .await;
    assert_eq!(made, ["CREATE TABLE"]);
    (world, session)
}

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
async fn a_text_of_several_statements_is_one_transaction() {
    let (_world, mut session) = world_with_table().await;
    let lines = run(
        &mut session,
        "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
    )
    .await;
    assert_eq!(lines[0], "INSERT 0 1");
    assert!(lines[1].starts_with("Unique"), "{lines:?}");
    assert_eq!(lines.len(), 2);
    assert_eq!(
        rows(&mut session, "SELECT id FROM t WHERE id = 1").await,
        Vec::<String>::new()
    );
    assert_eq!(run(&mut session, " ; ").await, ["(empty)"]);
}

#[tokio::test]
async fn blocks_commit_roll_back_and_fail() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    assert_eq!(
        run(&mut session, "BEGIN; INSERT INTO t VALUES (1)").await,
        ["BEGIN", "INSERT 0 1"]
    );
    assert_eq!(session.transaction_status(), TransactionStatus::InTransaction);
    assert_eq!(
        rows(&mut other, "SELECT id FROM t WHERE id = 1").await,
        Vec::<String>::new()
    );
    assert_eq!(
        run(&mut session, "BEGIN").await,
        ["Warning: there is already a transaction in progress", "BEGIN"]
    );
    assert_eq!(run(&mut session, "COMMIT").await, ["COMMIT"]);
    assert_eq!(rows(&mut other, "SELECT id FROM t WHERE id = 1").await, ["1"]);

    run(&mut session, "BEGIN; DELETE FROM t").await;
    assert_eq!(
        error(&mut session, "INSERT INTO nope VALUES (1)").await.kind,
        SqlErrorKind::UndefinedTable
    );
    assert_eq!(session.transaction_status(), TransactionStatus::Failed);
    assert_eq!(
        error(&mut session, "SELECT id FROM t WHERE id = 1").await.kind,
        SqlErrorKind::FailedTransaction
    );
    assert_eq!(
        error(&mut session, "SHOW search_path").await.kind,
        SqlErrorKind::FailedTransaction
    );
    assert_eq!(run(&mut session, "COMMIT").await, ["ROLLBACK"]);
    assert_eq!(
        rows(&mut session, "SELECT id FROM t WHERE id = 1").await,
        ["1"],
        "the block left nothing"
    );
    assert_eq!(
        run(&mut session, "ROLLBACK").await,
        ["Warning: there is no transaction in progress", "ROLLBACK"]
    );
}

#[tokio::test]
async fn savepoints_bring_back_rows_and_settings() {
    let (_world, mut session) = world_with_table().await;
    run(
        &mut session,
        "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; SET my.x = 'in'; INSERT INTO t VALUES (2)",
    )
    .await;
    assert_eq!(
        error(&mut session, "INSERT INTO t VALUES (2)").await.kind,
        SqlErrorKind::Unique
    );
    assert_eq!(run(&mut session, "ROLLBACK TO a").await, ["ROLLBACK"]);
    assert_eq!(session.transaction_status(), TransactionStatus::InTransaction);
    assert_eq!(
        error(&mut session, "SHOW my.x").await.kind,
        SqlErrorKind::UndefinedObject
    );
    run(&mut session, "ROLLBACK TO a; RELEASE a").await;
    assert_eq!(
        error(&mut session, "ROLLBACK TO a").await.kind,
        SqlErrorKind::UndefinedSavepoint
    );
    run(&mut session, "ROLLBACK").await;
    assert_eq!(
        error(&mut session, "SAVEPOINT a").await.kind,
        SqlErrorKind::NoActiveTransaction
    );
}

/// Lost without it: two clients that increment a counter would each have to retry by hand.
#[tokio::test]
async fn v_045_a_block_that_loses_gets_40001_and_a_single_statement_runs_again() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    run(&mut session, "INSERT INTO t VALUES (1, 'n', 0)").await;
    run(&mut session, "BEGIN; UPDATE t SET price = price + 1 WHERE id = 1").await;
    assert_eq!(
        run(&mut other, "UPDATE t SET price = price + 10 WHERE id = 1").await,
        ["UPDATE 1"]
    );
    let lost = error(&mut session, "COMMIT").await;
    assert_eq!(lost.kind, SqlErrorKind::Conflict);
    assert!(
        lost.message
            .contains("this transaction conflicts with a committed transaction from another client")
    );
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(rows(&mut session, "SELECT price FROM t WHERE id = 1").await, ["10.00"]);

    // Both sessions at once, without blocks: every increment arrives.
    let increments = |mut session: Session| async move {
        for _ in 0..20 {
            assert_eq!(
                run(&mut session, "UPDATE t SET price = price + 1 WHERE id = 1").await,
                ["UPDATE 1"]
            );
        }
        session
    };
    let (mut session, _) = tokio::join!(increments(session), increments(other));
    assert_eq!(rows(&mut session, "SELECT price FROM t WHERE id = 1").await, ["50.00"]);
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
async fn settings_are_set_shown_and_undone() {
    let world = World::new().await;
    let mut session = world.session();
    assert_eq!(
        run(&mut session, "SET application_name = 'app'").await,
        ["application_name = app", "SET"]
    );
    assert_eq!(
        run(&mut session, "SHOW DateStyle").await,
        ["[DateStyle:text]", "ISO, MDY", "SHOW"]
    );
    assert_eq!(
        run(&mut session, "SHOW TIME ZONE").await,
        ["[TimeZone:text]", "UTC", "SHOW"]
    );
    run(
        &mut session,
        "BEGIN; SET application_name = 'gone'; SET LOCAL statement_timeout = '5s'",
    )
    .await;
    assert_eq!(rows(&mut session, "SHOW statement_timeout").await, ["5s"]);
    assert_eq!(
        run(&mut session, "ROLLBACK").await,
        ["application_name = app", "ROLLBACK"]
    );
    assert_eq!(rows(&mut session, "SHOW statement_timeout").await, ["0"]);
    assert_eq!(
        run(&mut session, "SELECT set_config('my.thing', 'x', false)").await,
        ["[set_config:text]", "x", "SELECT 1"]
    );
    assert_eq!(rows(&mut session, "SHOW my.thing").await, ["x"]);
    run(&mut session, "DISCARD ALL").await;
    for (sql, kind) in [
        ("SHOW my.thing", SqlErrorKind::UndefinedObject),
        ("SHOW dolt_cluster_role", SqlErrorKind::UndefinedObject),
        ("SET dolt_cluster_role = 'primary'", SqlErrorKind::UndefinedObject),
        ("SET server_version = '1'", SqlErrorKind::CannotChangeSetting),
        ("SET nope = 1", SqlErrorKind::UndefinedObject),
        ("SET client_encoding = 'latin1'", SqlErrorKind::InvalidParameter),
    ] {
        assert_eq!(error(&mut session, sql).await.kind, kind, "{sql}");
    }
}

#[tokio::test]
async fn c_030_c_032_a_server_that_takes_no_writes_says_so_at_once() {
    let (world, mut session) = world_with_table().await;
    world.engine.gate().close(ReadOnlyReason::Standby);
    for sql in [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET id = 1",
        "DELETE FROM t",
        "TRUNCATE t",
        "CREATE TABLE u (a int)",
        "DROP TABLE t",
        "COPY t FROM STDIN",
    ] {
        let refused = error(&mut session, sql).await;
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (SqlErrorKind::ReadOnly, "shop is read-only"),
            "{sql}"
        );
    }
    for sql in [
        "CREATE DATABASE x",
        "DROP DATABASE x",
        "CREATE ROLE r",
        "SELECT dolt_commit('-m', 'x')",
    ] {
        let refused = error(&mut session, sql).await;
        assert_eq!(refused.kind, SqlErrorKind::ReadOnly, "{sql}");
        assert_eq!(refused.message, "database server is set to read only mode", "{sql}");
    }
    assert_eq!(rows(&mut session, "SHOW read_only").await, ["1"]);
    assert_eq!(
        rows(&mut session, "SELECT id FROM t WHERE id = 1").await,
        Vec::<String>::new()
    );
    world.engine.gate().open();
    run(&mut session, "BEGIN READ ONLY").await;
    let refused = error(&mut session, "INSERT INTO t VALUES (1)").await;
    assert_eq!(refused.message, "cannot execute INSERT in a read-only transaction");
}

#[tokio::test]
async fn databases_come_and_go() {
    let world = World::new().await;
    let mut session = world.session();
    assert_eq!(run(&mut session, "CREATE DATABASE other").await, ["CREATE DATABASE"]);
    assert_eq!(
        error(&mut session, "CREATE DATABASE other").await.kind,
        SqlErrorKind::DuplicateDatabase
    );
    let guest = world.start("postgres", "other").unwrap();
    assert_eq!(
        error(&mut session, "DROP DATABASE other").await.kind,
        SqlErrorKind::ObjectInUse
    );
    assert_eq!(
        error(&mut session, "DROP DATABASE shop").await.kind,
        SqlErrorKind::ObjectInUse
    );
    drop(guest);
    assert_eq!(
        error(&mut session, "BEGIN; DROP DATABASE other").await.kind,
        SqlErrorKind::ActiveTransaction
    );
    run(&mut session, "ROLLBACK").await;
    assert_eq!(run(&mut session, "DROP DATABASE other").await, ["DROP DATABASE"]);
    assert_eq!(
        run(&mut session, "DROP DATABASE IF EXISTS other").await,
        ["Notice: database \"other\" does not exist, skipping", "DROP DATABASE"]
    );
    assert_eq!(
        world.start("postgres", "other").err().unwrap().kind,
        SqlErrorKind::UndefinedDatabase
    );
    assert_eq!(
        world.start("nobody", "shop").err().unwrap().kind,
        SqlErrorKind::InvalidAuthorization
    );
}

#[tokio::test]
async fn roles_are_made_changed_and_dropped_by_superusers() {
    let world = World::new().await;
    let mut session = world.session();
    assert_eq!(
        run(&mut session, "CREATE USER app PASSWORD 'one'").await,
        ["CREATE ROLE"]
    );
    assert_eq!(run(&mut session, "ALTER ROLE app PASSWORD 'two'").await, ["ALTER ROLE"]);
    let role = world.engine.system().role("app").unwrap().unwrap();
    assert!(role.login && !role.superuser && role.verifier.unwrap().verifies("two"));
    let mut app = world.start("app", "shop").unwrap();
    for sql in [
        "CREATE ROLE x",
        "ALTER ROLE app SUPERUSER",
        "DROP ROLE postgres",
        "CREATE DATABASE x",
    ] {
        assert_eq!(
            error(&mut app, sql).await.kind,
            SqlErrorKind::InsufficientPrivilege,
            "{sql}"
        );
    }
    assert_eq!(run(&mut app, "ALTER ROLE app PASSWORD 'three'").await, ["ALTER ROLE"]);
    assert_eq!(run(&mut session, "DROP ROLE app").await, ["DROP ROLE"]);
    assert_eq!(
        error(&mut session, "DROP USER app").await.kind,
        SqlErrorKind::UndefinedObject
    );
}

#[tokio::test]
async fn v_012_v_013_versions_are_committed_from_sql() {
    let (_world, mut session) = world_with_table().await;
    assert_eq!(
        error(&mut session, "SELECT dolt_commit('-m', 'x')").await.message,
        "nothing to commit"
    );
    assert_eq!(
        error(&mut session, "SELECT dolt_commit()").await.message,
        "Must provide commit message"
    );
    assert_eq!(
        error(&mut session, "SELECT dolt_commit('--nope')").await.kind,
        SqlErrorKind::InvalidParameter
    );
    assert_eq!(
        error(&mut session, "SELECT dolt_commit('-am', 'x')").await.message,
        "nothing to commit",
        "t is new"
    );
    let lines = run(&mut session, "SELECT dolt_commit('-Am', 'first')").await;
    assert_eq!(
        (lines[0].as_str(), lines[1].len(), lines[2].as_str()),
        ("[dolt_commit:text]", 32, "SELECT 1")
    );
    run(&mut session, "INSERT INTO t VALUES (1)").await;
    let lines = run(
        &mut session,
        "CALL dolt_commit('-am', 'second', '--author', 'Ann <ann@x.org>')",
    )
    .await;
    assert_eq!(lines[0], "[dolt_commit:text]", "{lines:?}");
    let log = session.glance().unwrap().dolt_log().unwrap();
    assert_eq!(log[0].0.to_string(), lines[1]);
    assert_eq!(
        (log[0].1.message.as_str(), log[0].1.author.name.as_str()),
        ("second", "Ann")
    );
    assert_eq!(log[0].1.committer.email, "postgres@10.0.0.7");
    assert_eq!(
        rows(&mut session, "SELECT dolt_commit('--skip-empty', '-m', 'x')").await,
        ["NULL"]
    );
    assert_eq!(
        rows(&mut session, "SELECT * FROM dolt_commit('--allow-empty', '-m', 'x')")
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn v_018_a_version_commit_ends_the_block() {
    let (_world, mut session) = world_with_table().await;
    run(
        &mut session,
        "BEGIN; INSERT INTO t VALUES (1); SELECT dolt_add('.'); SELECT dolt_commit('-m', 'x')",
    )
    .await;
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(
        run(&mut session, "ROLLBACK").await.len(),
        2,
        "a warning: there is no block"
    );
    assert_eq!(rows(&mut session, "SELECT id FROM t WHERE id = 1").await, ["1"]);
}

#[tokio::test]
async fn without_a_cluster_there_is_no_role_to_assume() {
    let world = World::new().await;
    let mut session = world.session();
    let missing = error(&mut session, "SELECT dolt_assume_cluster_role('primary', 2)").await;
    assert_eq!(missing.kind, SqlErrorKind::UndefinedFunction);
    assert!(missing.message.contains("dolt_assume_cluster_role") && missing.message.contains("not found"));
    assert_eq!(
        error(&mut session, "SELECT dolt_merge('x')").await.kind,
        SqlErrorKind::Unsupported
    );
}

#[tokio::test]
async fn rows_are_copied_in_and_out() {
    let (_world, mut session) = world_with_table().await;
    assert_eq!(
        run_with(&mut session, "COPY t (id, name) FROM STDIN", &["1\tan", "n\n2\t\\N\n"]).await[1..],
        [
            "NotNull: null value in column \"name\" of relation \"t\" violates not-null constraint -- Failing row contains (2, null, null). (COPY t, up to line 2)"
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

async fn execute(session: &mut Session, sql: &str, params: Vec<Value>) -> Result<Vec<String>, SqlError> {
    let prepared = session.prepare(sql, &[]).await?;
    let result = session.execute(&prepared, params).await?;
    let mut lines = Vec::new();
    match result {
        QueryResult::Empty => lines.push("(empty)".to_string()),
        QueryResult::Command { tag, affected } => lines.push(tag.complete(affected)),
        QueryResult::Rows {
            rows: RowStream { fields, mut batches },
            ..
        } => {
            while let Some(batch) = batches.next().await {
                for row in values_of(&fields, batch?)? {
                    lines.push(shown(&row, &fields));
                }
            }
        }
    }
    session.sync().await?;
    Ok(lines)
}

#[tokio::test]
async fn prepared_statements_know_their_parameters_from_the_columns() {
    let (_world, mut session) = world_with_table().await;
    let insert = session
        .prepare("INSERT INTO t (name, id, price) VALUES ($2, $1, $3) RETURNING id", &[])
        .await
        .unwrap();
    assert_eq!(insert.params, [PgType::INT4, PgType::TEXT, PgType::NUMERIC]);
    assert_eq!(insert.columns.unwrap().len(), 1);
    let update = session
        .prepare("UPDATE t SET name = $1 WHERE id = $2 AND price > $3::int8", &[])
        .await
        .unwrap();
    assert_eq!(
        (update.params, update.columns),
        (vec![PgType::TEXT, PgType::INT4, PgType::INT8], None)
    );
    let delete = session
        .prepare("DELETE FROM t WHERE id = $1", &[Some(PgType::INT8)])
        .await
        .unwrap();
    assert_eq!(delete.params, [PgType::INT8]);

    let one = vec![Value::Int4(1), Value::Text("ann".to_string())];
    assert_eq!(
        execute(&mut session, "INSERT INTO t (id, name) VALUES ($1, $2)", one.clone())
            .await
            .unwrap(),
        ["INSERT 0 1"]
    );
    assert_eq!(
        execute(&mut session, "INSERT INTO t (id, name) VALUES ($1, $2)", one)
            .await
            .unwrap_err()
            .kind,
        SqlErrorKind::Unique
    );
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(rows(&mut session, "SELECT name FROM t WHERE id = 1").await, ["ann"]);
    assert_eq!(
        session.prepare("SELECT 1; SELECT 2", &[]).await.unwrap_err().kind,
        SqlErrorKind::Syntax
    );
    let empty = session.prepare("", &[]).await.unwrap();
    assert!(matches!(
        session.execute(&empty, Vec::new()).await.unwrap(),
        QueryResult::Empty
    ));
}

/// Lost without it: an update by a driver would fail with 40001 although no block was ever begun.
#[tokio::test]
async fn an_implicit_transaction_that_loses_runs_again_at_sync() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    run(&mut session, "INSERT INTO t VALUES (1, 'n', 0)").await;
    let prepared = session
        .prepare("UPDATE t SET price = price + $1 WHERE id = 1", &[])
        .await
        .unwrap();
    let one = Value::Numeric("1".parse().unwrap());
    session.execute(&prepared, vec![one.clone()]).await.unwrap();
    run(&mut other, "UPDATE t SET price = price + 10 WHERE id = 1").await;
    session.sync().await.unwrap();
    assert_eq!(rows(&mut session, "SELECT price FROM t WHERE id = 1").await, ["11.00"]);

    // The row is gone when it runs again: the client was told otherwise, so it gets the conflict.
    session.execute(&prepared, vec![one]).await.unwrap();
    run(&mut other, "DELETE FROM t").await;
    assert_eq!(session.sync().await.unwrap_err().kind, SqlErrorKind::Conflict);
}

#[tokio::test]
async fn statements_stop_when_they_are_told_to() {
    let (world, mut session) = world_with_table().await;
    let running = session.begin_statement();
    world
        .engine
        .sessions()
        .cancel_statement(session.handle.pid(), session.handle.secret());
    assert_eq!(running.check().unwrap_err().kind, SqlErrorKind::Cancelled);
    let stopped = running
        .interruptible(std::future::pending::<Result<(), SqlError>>())
        .await
        .unwrap_err();
    assert_eq!(stopped.message, "canceling statement due to user request");
    drop(running);
    run(&mut session, "SET statement_timeout = 1").await;
    let running = session.begin_statement();
    let stopped = running
        .interruptible(std::future::pending::<Result<(), SqlError>>())
        .await
        .unwrap_err();
    assert_eq!(stopped.message, "canceling statement due to statement timeout");
    drop(running);
    world.engine.sessions().taint(session.handle.id());
    for sql in ["SELECT 1", "ROLLBACK", "not even sql"] {
        let tainted = error(&mut session, sql).await;
        assert_eq!(tainted.kind, SqlErrorKind::ConnectionTainted, "{sql}");
        assert!(tainted.message.contains("this connection can no longer be used") && tainted.hint.is_some());
    }
    world.engine.sessions().terminate(session.handle.pid(), "because");
    let ended = error(&mut session, "SELECT 1").await;
    assert_eq!(
        (ended.kind, ended.message.as_str()),
        (SqlErrorKind::Terminated, "because")
    );
}

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
        let result = session.execute(&prepared, vec![Value::Int8(id)]).await.unwrap();
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

#[tokio::test]
async fn v_001_a_new_database_has_two_versions_and_a_clean_status() {
    let (_world, mut session) = {
        let world = World::new().await;
        let session = world.session();
        (world, session)
    };
    assert_eq!(rows(&mut session, "SELECT count(*) FROM dolt.log").await, ["2"]);
    assert_eq!(
        rows(&mut session, "SELECT * FROM dolt.status").await,
        Vec::<String>::new()
    );
    run(&mut session, "CREATE TABLE t (id int PRIMARY KEY)").await;
    assert_eq!(
        rows(&mut session, "SELECT table_name, staged, status FROM dolt_status").await,
        ["public.t|f|new table"]
    );
    run(&mut session, "SELECT dolt_add('t')").await;
    assert_eq!(
        rows(&mut session, "SELECT table_name, staged, status FROM dolt.status").await,
        ["public.t|t|new table"]
    );
    run(&mut session, "SELECT dolt_commit('-m', 'third')").await;
    assert_eq!(
        rows(&mut session, "SELECT message FROM dolt.log LIMIT 1").await,
        ["third"]
    );
    assert_eq!(
        rows(
            &mut session,
            "SELECT hashof('HEAD') = (SELECT commit_hash FROM dolt.log LIMIT 1), active_branch()"
        )
        .await,
        ["t|main"]
    );
    assert_eq!(
        rows(
            &mut session,
            "SELECT message FROM dolt.log WHERE commit_hash = hashof('HEAD~2')"
        )
        .await,
        ["Initialize data repository"]
    );
    assert_eq!(
        error(&mut session, "SELECT hashof('nope')").await.kind,
        SqlErrorKind::InvalidParameter
    );
    assert_eq!(
        rows(&mut session, "SELECT dolt_hashof_db() = dolt_hashof_db('HEAD')").await,
        ["t"]
    );
    run(&mut session, "INSERT INTO t VALUES (1)").await;
    assert_eq!(
        rows(&mut session, "SELECT dolt_hashof_db() = dolt_hashof_db('HEAD')").await,
        ["f"]
    );
    run(&mut session, "DELETE FROM t").await;
    assert_eq!(
        rows(&mut session, "SELECT dolt_hashof_db() = dolt_hashof_db('HEAD')").await,
        ["t"],
        "V-004"
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
