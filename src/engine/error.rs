//! What the engine refuses, and what the caller can do about it.

use super::ReadOnlyReason;
use crate::chunk::{ChunkError, Hash};
use crate::prolly::ProllyError;
use crate::version::{Row, TableName, VersionError};

/// Why the engine did not do what it was asked. Which SQLSTATE a client gets for it is not decided here.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("database \"{name}\" does not exist")]
    NoSuchDatabase { name: String },

    #[error("database \"{name}\" already exists")]
    DuplicateDatabase { name: String },

    #[error("\"{name}\" cannot be the name of a database: {detail}")]
    InvalidDatabaseName { name: String, detail: &'static str },

    /// The database is listed, but its files cannot be used.
    #[error("database \"{name}\" is unavailable: {reason}")]
    DatabaseUnavailable {
        name: String,
        reason: String,
        damaged: bool,
    },

    #[error("database \"{name}\" is being accessed by other users ({sessions} sessions)")]
    DatabaseInUse { name: String, sessions: usize },

    #[error("relation \"{name}\" does not exist")]
    NoSuchTable { name: TableName },

    #[error("relation \"{name}\" already exists")]
    DuplicateTable { name: TableName },

    #[error("schema \"{schema}\" does not exist")]
    NoSuchSchema { schema: String },

    /// No table can have this definition.
    #[error("table \"{name}\" cannot be defined like this: {detail}")]
    InvalidTable { name: TableName, detail: String },

    #[error("role \"{name}\" already exists")]
    DuplicateRole { name: String },

    #[error("role \"{name}\" does not exist")]
    NoSuchRole { name: String },

    /// `key` holds the values of `columns`.
    #[error("duplicate key value violates unique constraint \"{constraint}\"")]
    DuplicateKey {
        table: TableName,
        constraint: String,
        columns: Vec<String>,
        key: Row,
    },

    /// `row` is the row that was refused.
    #[error("null value in column \"{column}\" of relation \"{}\" violates not-null constraint", table.name)]
    NotNull { table: TableName, column: String, row: Row },

    /// The row does not have the table's shape. The caller should have cast the values.
    #[error("a value for column \"{column}\" of relation \"{}\" has the wrong type: {detail}", table.name)]
    TypeMismatch {
        table: TableName,
        column: String,
        detail: String,
    },

    /// The value of a column, which cannot be stored.
    #[error(
        "a value of {bytes} bytes for column \"{column}\" of relation \"{}\" is too large: the limit is {limit} bytes",
        table.name
    )]
    ValueTooLarge {
        table: TableName,
        column: String,
        bytes: usize,
        limit: usize,
    },

    /// The values of a primary key are too long together.
    #[error(
        "a primary key of {bytes} bytes is too long for relation \"{}\": the limit is {limit} bytes",
        table.name
    )]
    KeyTooLong {
        table: TableName,
        bytes: usize,
        limit: usize,
    },

    /// Somebody else committed a change of the same row, or of the table's definition. `key` names the row when
    /// the table has a primary key.
    #[error("this transaction conflicts with a committed transaction from another client, try restarting transaction")]
    Conflict { table: TableName, key: Option<Row> },

    /// The same for what a version commit records: branch heads and staged tables.
    #[error(
        "this version commit conflicts with a committed transaction from another client, try restarting transaction"
    )]
    VersionConflict { detail: String },

    #[error("{}", read_only_message(database, *reason))]
    ReadOnly { database: String, reason: ReadOnlyReason },

    /// The transaction already holds a version commit and takes no more edits.
    #[error("the transaction already holds a version commit: commit it first")]
    AlreadyVersioned,

    #[error("nothing to commit")]
    NothingToCommit,

    /// A backup is asked of, or into, a folder with something else in it.
    #[error("{folder} is not a backup: {detail}")]
    NotABackup { folder: String, detail: String },

    /// One collection at a time.
    #[error("garbage of database \"{database}\" is being collected already")]
    CollectionRuns { database: String },

    /// The commit was written, but whether it reached the disk is unknown.
    #[error("the commit may or may not have become durable: {source}")]
    OutcomeUnknown { source: ChunkError },

    /// A replicated root does not follow ours; nothing was changed. The caller looks for a common root.
    #[error("the root to apply follows {expected}, but the newest root of \"{database}\" is {found}")]
    NotNextRoot {
        database: String,
        expected: Hash,
        found: Hash,
    },

    /// A replicated root, or a staged chunk, refers to chunks that are not here; nothing was changed.
    #[error("{} chunks are missing below what was sent for \"{database}\", first of all {}", missing.len(), missing[0])]
    Incomplete { database: String, missing: Vec<Hash> },

    /// A chunk does not have the hash it was sent under.
    #[error("a chunk sent as {claimed} has the hash {found}")]
    WrongHash { claimed: Hash, found: Hash },

    /// The caller lost its right to replicate into this server between receiving and applying.
    #[error("replication into \"{database}\" is not permitted: {reason}")]
    ReplicationRefused { database: String, reason: String },

    /// Another process works in this data folder.
    #[error("{folder} is in use by {holder}: stop it, or choose another data folder")]
    FolderLocked { folder: String, holder: String },

    /// The folder is something else's: nothing was made there.
    #[error("{folder} is {what}, not a data folder of this server: choose another one")]
    ForeignFolder { folder: String, what: &'static str },

    /// Written by a newer release.
    #[error("{file} has format version {found}, this server reads up to version {supported}: use a newer server")]
    NewerFormat { file: String, found: u32, supported: u32 },

    /// A file of the control folder is not what this program writes.
    #[error("{file} is damaged: {detail}")]
    DamagedFolder { file: String, detail: String },

    #[error("cannot {op} {file}: {source}")]
    Io {
        op: &'static str,
        file: String,
        source: std::io::Error,
    },

    /// A task of the engine died: an invariant of ours broke.
    #[error("the task \"{task}\" ended before its work was done")]
    TaskLost { task: &'static str },

    #[error(transparent)]
    Store(#[from] ChunkError),

    #[error(transparent)]
    Object(#[from] VersionError),
}

impl From<ProllyError> for EngineError {
    fn from(error: ProllyError) -> EngineError {
        EngineError::Object(VersionError::from(error))
    }
}

impl EngineError {
    /// Whether running the same transaction again, on a new snapshot, may succeed.
    pub fn is_conflict(&self) -> bool {
        matches!(self, EngineError::Conflict { .. } | EngineError::VersionConflict { .. })
    }

    /// Whether what is on the disk is not what was written.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            EngineError::Store(error) | EngineError::Object(VersionError::Chunk(error)) => error.is_damage(),
            EngineError::Object(_) | EngineError::DamagedFolder { .. } => true,
            _ => false,
        }
    }

    pub(super) fn io(op: &'static str, file: String) -> impl FnOnce(std::io::Error) -> EngineError {
        move |source| EngineError::Io { op, file, source }
    }
}

/// What is server-wide says so; a write to one database names it. Source: spec/cluster.md 2.2.
fn read_only_message(database: &str, reason: ReadOnlyReason) -> String {
    let why = match reason {
        ReadOnlyReason::Standby => "it is a standby",
        ReadOnlyReason::BrokenConfig => "two primaries were seen at the same epoch",
        ReadOnlyReason::Demoting => "it is about to become a standby",
        ReadOnlyReason::Configured => "behavior.read_only is set",
    };
    if database == super::SYSTEM_DATABASE {
        format!("database server is set to read only mode ({why})")
    } else {
        format!("{database} is read-only: {why}")
    }
}
