//! What a statement gives back, in a shape that the wire can send without knowing SQL.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::record_batch::RecordBatch;
use futures::Stream;

use super::error::{SqlError, SqlErrorKind};
use super::text::Style;
use crate::version::Value;

/// A PostgreSQL type as its catalog knows it: oid, name, array element.
pub type PgType = postgres_types::Type;

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    pub name: String,
    pub pg_type: PgType,
    /// PostgreSQL's type modifier (`varchar(5)` is 9, `numeric(10,2)` is 655366), -1 without.
    pub typmod: i32,
}

impl FieldInfo {
    pub fn new(name: impl Into<String>, pg_type: PgType) -> FieldInfo {
        FieldInfo {
            name: name.into(),
            pg_type,
            typmod: -1,
        }
    }
}

/// Some rows of a result: point operations give values, plans give Arrow.
#[derive(Clone, Debug)]
pub enum RowBatch {
    /// Each row has one value per field; the field says which PostgreSQL type it is shown as.
    Values(Vec<Vec<Value>>),
    Arrow(RecordBatch),
}

impl RowBatch {
    pub fn rows(&self) -> usize {
        match self {
            RowBatch::Values(rows) => rows.len(),
            RowBatch::Arrow(batch) => batch.num_rows(),
        }
    }
}

/// Rows that are still being computed. They come from the snapshot the statement started with, so the stream may be read
/// after the session has gone on.
pub struct RowStream {
    pub fields: Arc<[FieldInfo]>,
    pub batches: Pin<Box<dyn Stream<Item = Result<RowBatch, SqlError>> + Send>>,
}

impl RowStream {
    /// A result that is already complete.
    pub fn of_values(fields: impl Into<Arc<[FieldInfo]>>, rows: Vec<Vec<Value>>) -> RowStream {
        RowStream {
            fields: fields.into(),
            batches: Box::pin(futures::stream::iter([Ok(RowBatch::Values(rows))])),
        }
    }
}

impl fmt::Debug for RowStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream")
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// The words of CommandComplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandTag {
    /// `BEGIN`, `CREATE TABLE`: words without a count.
    Plain(&'static str),
    Select,
    Insert,
    Update,
    Delete,
    Copy,
}

impl CommandTag {
    /// What CommandComplete says when `rows` rows were returned or changed.
    pub fn complete(&self, rows: u64) -> String {
        match self {
            CommandTag::Plain(words) => (*words).to_string(),
            CommandTag::Select => format!("SELECT {rows}"),
            CommandTag::Insert => format!("INSERT 0 {rows}"),
            CommandTag::Update => format!("UPDATE {rows}"),
            CommandTag::Delete => format!("DELETE {rows}"),
            CommandTag::Copy => format!("COPY {rows}"),
        }
    }
}

/// What executing one prepared statement gives.
#[derive(Debug)]
pub enum QueryResult {
    /// `tag.complete(number of rows sent)` ends it, also for `INSERT ... RETURNING`.
    Rows { rows: RowStream, tag: CommandTag },
    /// `tag.complete(affected)`.
    Command { tag: CommandTag, affected: u64 },
    /// The statement was empty (EmptyQueryResponse).
    Empty,
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeSeverity {
    Notice,
    Warning,
}

/// NoticeResponse: something the client should see although nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub severity: NoticeSeverity,
    pub kind: NoticeKind,
    pub message: String,
    pub detail: Option<String>,
}

/// What a notice is about; like an error's kind it has one SQLSTATE, in `pg/sqlstate.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// 25001: BEGIN inside a block.
    ActiveTransaction,
    /// 25P01: COMMIT or ROLLBACK outside a block.
    NoActiveTransaction,
    /// 42P07: IF NOT EXISTS found one.
    DuplicateTable,
    /// 42P04: CREATE DATABASE IF NOT EXISTS found one.
    DuplicateDatabase,
    /// 00000: IF EXISTS found none.
    Skipped,
    /// 0A000: less is done than was asked for.
    NotProvided,
    /// 01000
    Warning,
}

/// What ReadyForQuery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    InTransaction,
    /// `E`
    Failed,
}

/// What comes from the client during COPY FROM STDIN.
#[derive(Clone, Debug)]
pub enum CopyInput {
    Data(Bytes),
    Done,
    /// CopyFail with the client's reason.
    Failed(String),
}

/// Where a simple query's results go, in the order of the protocol's messages. An error from the sink means that the
/// client is gone: the statement is given up and rolled back.
#[async_trait]
pub trait ResultSink: Send {
    /// The text parsed, and this is what a log may say of it. Comes before everything else.
    fn parsed(&mut self, _loggable: &str) {}
    async fn row_description(&mut self, fields: &[FieldInfo]) -> Result<(), SqlError>;
    /// `style` is what the session's settings are now: a SET earlier in the same text counts.
    async fn rows(&mut self, fields: &[FieldInfo], batch: RowBatch, style: &Style) -> Result<(), SqlError>;
    /// CommandComplete with these words.
    async fn complete(&mut self, tag: String) -> Result<(), SqlError>;
    /// EmptyQueryResponse.
    async fn empty(&mut self) -> Result<(), SqlError>;
    async fn notice(&mut self, notice: Notice) -> Result<(), SqlError>;
    /// ParameterStatus: a reported setting has another value.
    async fn parameter_status(&mut self, name: &str, value: &str) -> Result<(), SqlError>;

    /// CopyInResponse (text), flushed.
    async fn copy_in_start(&mut self, _columns: usize) -> Result<(), SqlError> {
        Err(SqlError::new(
            SqlErrorKind::Unsupported,
            "COPY FROM STDIN is not supported on this connection",
        ))
    }
    /// The next message of the copy.
    async fn copy_in_next(&mut self) -> Result<CopyInput, SqlError> {
        Ok(CopyInput::Failed(
            "COPY FROM STDIN is not supported on this connection".to_string(),
        ))
    }
    /// CopyOutResponse (text).
    async fn copy_out_start(&mut self, _columns: usize) -> Result<(), SqlError> {
        Err(SqlError::new(
            SqlErrorKind::Unsupported,
            "COPY TO STDOUT is not supported on this connection",
        ))
    }
    async fn copy_out_data(&mut self, _data: Bytes) -> Result<(), SqlError> {
        Ok(())
    }
    async fn copy_out_done(&mut self) -> Result<(), SqlError> {
        Ok(())
    }
}
