//! A way into a server that has no SQL: what a client wants is done in the engine, by a task of the server's own process,
//! which dies with it. There is no connection that a network could cut.
//!
//! Must not know: the simulator's runtime, replication.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use understudy::engine::{Engine, EngineError, SessionId, Transaction};
use understudy::pg::sqlstate::sqlstate;
use understudy::runtime;
use understudy::sql::SqlError;
use understudy::version::{ColumnType, Row, TableName, TableSchema, Value, encode_key};

use super::append::parse_list;
use super::session::Failure;
use crate::history::{Read, Write};
use crate::tables::keyed_by_the_first;

/// The database that workloads use; servers make it at their first start.
const DATABASE: &str = "postgres";

type Job = Box<dyn FnOnce(Engine) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The lines into the servers that run.
#[derive(Clone, Default)]
pub struct Switchboard(Arc<Mutex<BTreeMap<String, Line>>>);

/// A line into one process of a server.
#[derive(Clone)]
pub struct Line(mpsc::UnboundedSender<Job>);

/// The server's end of a line.
pub struct Jobs(mpsc::UnboundedReceiver<Job>);

impl Switchboard {
    /// A new line into the server of this name; what becomes of an older one is over.
    pub fn connect(&self, server: &str) -> Jobs {
        let (sender, jobs) = mpsc::unbounded_channel();
        self.0.lock().insert(server.to_owned(), Line(sender));
        Jobs(jobs)
    }

    pub fn disconnect(&self, server: &str) {
        self.0.lock().remove(server);
    }

    pub fn line(&self, server: &str) -> Option<Line> {
        self.0.lock().get(server).cloned()
    }
}

impl Jobs {
    /// Does what comes in, each in a task of its own. Never returns while the line is up.
    pub async fn serve(mut self, engine: &Engine) {
        while let Some(job) = self.0.recv().await {
            drop(runtime::spawn("direct", job(engine.clone())));
        }
    }
}

impl Line {
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// What `work` makes of the server's engine. The answer of a process that ended meanwhile is lost.
    async fn ask<T, F>(&self, work: impl FnOnce(Engine) -> F + Send + 'static) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            Box::pin(async move {
                // Whoever asked may have gone.
                let _ = answer.send(work(engine).await);
            })
        });
        let gone = || Failure::Lost("the server is gone".to_owned());
        self.0.send(job).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// None on a server of its own.
    pub async fn role(&self) -> Result<Option<String>, Failure> {
        self.ask(|engine| async move { Ok(engine.cluster().map(|cluster| cluster.role().as_str().to_owned())) })
            .await
    }

    pub async fn assume(&self, role: &'static str, epoch: i64) -> Result<(), Failure> {
        self.ask(move |engine| async move {
            let cluster = engine.cluster().expect("operators change roles of members");
            // An operator without a session; none is spared.
            let caller = SessionId(u64::MAX);
            cluster.assume_role(role, epoch, caller).await.map_err(refused)
        })
        .await
    }

    /// A table of `keys` empty lists.
    pub async fn make_lists(&self, table: String, keys: u64) -> Result<(), Failure> {
        self.ask(move |engine| async move {
            let database = engine.database(DATABASE).map_err(refused)?;
            let mut transaction = database.begin();
            let name = TableName::public(&table);
            transaction.create_table(&name, lists_schema()).map_err(refused)?;
            for key in 0..keys {
                let key = i64::try_from(key).expect("keys are few");
                transaction.insert(&name, row(key, String::new())).map_err(refused)?;
            }
            database.commit(transaction).await.map(drop).map_err(refused)
        })
        .await
    }

    /// All lists of a table, by key.
    pub async fn lists(&self, table: String) -> Result<Vec<(i64, Vec<i64>)>, Failure> {
        self.ask(move |engine| async move {
            let transaction = engine.database(DATABASE).map_err(refused)?.begin();
            let everything = (Bound::Unbounded, Bound::Unbounded);
            let rows = transaction
                .scan(&TableName::public(&table), everything)
                .map_err(refused)?;
            rows.map(|entry| entry.map(|(_, row)| list_of(&row)).map_err(refused))
                .collect()
        })
        .await
    }

    /// Reads the lists of `keys` and appends to those that `writes` names, as one transaction.
    pub async fn append(&self, table: String, keys: Vec<i64>, writes: Vec<Write>) -> Result<Vec<Read>, Failure> {
        self.ask(move |engine| async move {
            let database = engine.database(DATABASE).map_err(refused)?;
            let mut transaction = database.begin();
            let mut reads = Vec::new();
            for key in keys {
                let value = writes.iter().find(|write| write.key == key).map(|write| write.value);
                let values = append_one(&mut transaction, &table, key, value).map_err(refused)?;
                let table = table.clone();
                reads.push(Read { table, key, values });
            }
            // So that others' transactions begin before this one commits.
            runtime::yield_now().await;
            database.commit(transaction).await.map_err(refused)?;
            Ok(reads)
        })
        .await
    }
}

/// The list as it was; with `value` behind it from now on.
fn append_one(
    transaction: &mut Transaction,
    table: &str,
    key: i64,
    value: Option<i64>,
) -> Result<Vec<i64>, EngineError> {
    let name = TableName::public(table);
    let found = transaction.get(&name, &encode_key(&lists_schema(), &row(key, String::new())))?;
    let values = found.map(|row| list_of(&row).1).unwrap_or_default();
    if let Some(value) = value {
        let list: Vec<String> = values.iter().chain([&value]).map(i64::to_string).collect();
        transaction.upsert(&name, row(key, list.join(",")))?;
    }
    Ok(values)
}

/// As the workload makes them by SQL.
fn lists_schema() -> TableSchema {
    keyed_by_the_first(&[("k", ColumnType::Int8), ("list", ColumnType::Text)])
}

fn row(key: i64, list: String) -> Row {
    vec![Value::Int8(key), Value::Text(list)]
}

fn list_of(row: &Row) -> (i64, Vec<i64>) {
    match &row[..] {
        [Value::Int8(key), Value::Text(list)] => (*key, parse_list(list)),
        other => panic!("a row of lists is a key and a text, not {other:?}"),
    }
}

/// With the code that SQL has for it.
fn refused(error: impl Into<SqlError>) -> Failure {
    let error = error.into();
    let (code, _) = sqlstate(error.kind);
    Failure::Refused {
        sqlstate: code.as_str().to_owned(),
        message: error.message,
    }
}
