//! Sessions over an engine on a simulated disk, without any wire.

mod depth;
mod plans;
mod server;
mod transactions;
mod unsupported;
mod versions;
mod writes;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::chunk::StoreOptions;
use crate::engine::{EngineOptions, ReadOnlyReason, Superuser};
use crate::runtime::disk::simulated::SimDisk;
use crate::sql::error::ErrorObject;
use crate::sql::plan::QueryMemory;
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
        World::on(&SimDisk::new(1), StoreOptions::default()).await
    }

    async fn on(disk: &SimDisk, store: StoreOptions) -> World {
        let options = EngineOptions {
            superuser: Superuser {
                name: "postgres".to_string(),
                password: "password".to_string(),
            },
            read_only: None,
            store,
            auto_collect: None,
        };
        let engine = Engine::open(disk.disk(), options).await.unwrap();
        engine.create_database("shop").await.unwrap();
        World { engine }
    }

    fn start(&self, user: &str, database: &str) -> Result<Session, SqlError> {
        let server = ServerSettings {
            host: "localhost".to_string(),
            port: 5432,
            data_directory: "/data".to_string(),
            max_connections: 100,
            query_memory: QueryMemory::new(64 << 20),
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
    let input = input
        .iter()
        .map(|part| CopyInput::Data(Bytes::copy_from_slice(part.as_bytes())));
    let mut out = Transcript {
        input: input.collect(),
        ..Transcript::default()
    };
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
async fn a_name_that_is_wrong_is_pointed_at_in_whichever_way_the_statement_goes() {
    let (_world, mut session) = world_with_table().await;
    for (sql, at) in [
        ("SELECT 1;\nSELECT nope FROM t", "nope"),
        ("SELECT id FROM nope WHERE id = 1", "nope"),
        ("SELECT count(*) FROM t JOIN nope ON true", "nope"),
        ("SELECT t.nope FROM t", "t.nope"),
        ("SELECT x.id FROM t", "x.id"),
        ("SELECT name FROM t AS a CROSS JOIN t AS b", "name"),
        ("SELECT nope(id) FROM t", "nope(id)"),
        ("INSERT INTO nope VALUES (1)", "nope"),
        ("INSERT INTO t (id, nope) VALUES (1, 2)", "nope"),
        ("UPDATE t SET nope = 1", "nope"),
        ("UPDATE t SET price = nope", "nope"),
        ("DELETE FROM t WHERE nope = 1", "nope"),
        ("COPY t (id, nope) FROM STDIN", "nope"),
    ] {
        let refused = error(&mut session, sql).await;
        let position = refused.position.unwrap_or_else(|| panic!("{sql}: {refused:?}")) as usize;
        assert!(sql[position - 1..].starts_with(at), "{sql}: {position}");
        let last = sql.split_inclusive('\n').next_back().unwrap();
        let offset = sql.len() - last.len();
        if !sql.starts_with("COPY") {
            let position = session.prepare(last, &[]).await.expect_err(sql).position.expect(sql);
            assert_eq!(position as usize + offset, sql.find(at).unwrap() + 1, "{sql}, prepared");
        }
    }
}

#[tokio::test]
async fn rules_that_are_broken_are_named_in_fields() {
    let (_world, mut session) = world_with_table().await;
    let object = |column: Option<&str>, constraint: Option<&str>| {
        Some(Box::new(ErrorObject {
            schema: Some("public".to_string()),
            table: Some("t".to_string()),
            column: column.map(str::to_string),
            constraint: constraint.map(str::to_string),
        }))
    };
    run(&mut session, "INSERT INTO t (id) VALUES (1)").await;
    let again = error(&mut session, "INSERT INTO t (id) VALUES (1)").await;
    assert_eq!(again.object, object(None, Some("t_pkey")));
    let empty = error(&mut session, "UPDATE t SET name = NULL").await;
    assert_eq!(empty.object, object(Some("name"), None));
    assert_eq!((again.position, empty.context), (None, None));
}

/// A driver that finds the constraint of an error in the catalog must find it there, however long the table's name.
#[tokio::test]
async fn a_primary_key_has_one_name_everywhere() {
    let (_world, mut session) = world_with_table().await;
    let table = format!("{}xxx", "ü".repeat(30));
    let key = format!("{}_pkey", "ü".repeat(29));
    assert_eq!(table.len(), 63);
    run(&mut session, &format!("CREATE TABLE {table} (id int PRIMARY KEY)")).await;
    let listed = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname LIKE 'ü%'";
    assert_eq!(rows(&mut session, listed).await, [key.as_str()]);
    run(&mut session, &format!("INSERT INTO {table} VALUES (1)")).await;
    let again = error(&mut session, &format!("INSERT INTO {table} VALUES (1)")).await;
    assert_eq!(again.object.unwrap().constraint, Some(key.clone()));
    for name in [key.clone(), format!("\"{key}\"")] {
        let sql = format!("INSERT INTO {table} VALUES (1) ON CONFLICT ON CONSTRAINT {name} DO NOTHING");
        assert_eq!(run(&mut session, &sql).await, ["INSERT 0 0"]);
    }
    let sql = "INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT T_Pkey DO NOTHING";
    assert_eq!(run(&mut session, sql).await, ["INSERT 0 1"], "folded as every name");
}
