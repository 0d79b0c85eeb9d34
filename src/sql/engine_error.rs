//! The engine's errors in PostgreSQL's words.

use super::error::{ErrorObject, SqlError, SqlErrorKind};
use super::text::{self, Style};
use super::types::pg_type_of_value;
use crate::chunk::ChunkError;
use crate::engine::{CLUSTER_DATABASE, ClusterError, ClusterErrorKind, EngineError, ReadOnlyReason, SYSTEM_DATABASE};
use crate::version::{TableName, Value, VersionError};

impl From<EngineError> for SqlError {
    fn from(error: EngineError) -> SqlError {
        let message = error.to_string();
        let plain = |kind| SqlError::new(kind, message.clone());
        match &error {
            EngineError::NoSuchDatabase { .. } => plain(SqlErrorKind::UndefinedDatabase),
            EngineError::DuplicateDatabase { .. } => plain(SqlErrorKind::DuplicateDatabase),
            EngineError::InvalidDatabaseName { .. } => plain(SqlErrorKind::InvalidObjectDefinition),
            EngineError::DatabaseUnavailable { damaged: true, .. } => plain(SqlErrorKind::Corrupt),
            EngineError::DatabaseUnavailable { damaged: false, .. } => plain(SqlErrorKind::Io),
            EngineError::DatabaseInUse { name, sessions } => SqlError::new(
                SqlErrorKind::ObjectInUse,
                format!("database \"{name}\" is being accessed by other users"),
            )
            .detail(match sessions {
                1 => "There is 1 other session using the database.".to_string(),
                more => format!("There are {more} other sessions using the database."),
            }),
            EngineError::NoSuchTable { name } => SqlError::undefined_table(&name.name),
            EngineError::DuplicateTable { name } => SqlError::new(
                SqlErrorKind::DuplicateTable,
                format!("relation \"{}\" already exists", name.name),
            ),
            EngineError::NoSuchSchema { .. } => plain(SqlErrorKind::UndefinedSchema),
            EngineError::InvalidTable { .. } => plain(SqlErrorKind::InvalidTableDefinition),
            EngineError::DuplicateRole { .. } => plain(SqlErrorKind::DuplicateObject),
            EngineError::NoSuchRole { .. } => plain(SqlErrorKind::UndefinedObject),
            EngineError::DuplicateKey {
                table,
                constraint,
                columns,
                key,
            } => plain(SqlErrorKind::Unique)
                .detail(format!(
                    "Key ({})=({}) already exists.",
                    columns.join(", "),
                    shown(key, "null").join(", ")
                ))
                .object(ErrorObject {
                    constraint: Some(constraint.clone()),
                    ..of_table(table)
                }),
            EngineError::NotNull { table, column, row } => plain(SqlErrorKind::NotNull)
                .detail(format!("Failing row contains ({}).", shown(row, "null").join(", ")))
                .object(ErrorObject {
                    column: Some(column.clone()),
                    ..of_table(table)
                }),
            EngineError::TypeMismatch { .. } => plain(SqlErrorKind::DatatypeMismatch),
            EngineError::ValueTooLarge { .. } | EngineError::KeyTooLong { .. } => plain(SqlErrorKind::LimitExceeded),
            EngineError::Conflict { .. } => SqlError::new(
                SqlErrorKind::Conflict,
                "this transaction conflicts with a committed transaction from another client",
            )
            .hint("Roll back and run the transaction again."),
            EngineError::VersionConflict { detail } => SqlError::new(
                SqlErrorKind::Conflict,
                "this transaction conflicts with a committed transaction from another client",
            )
            .detail(detail.clone())
            .hint("Roll back and run the transaction again."),
            EngineError::ReadOnly { database, reason } => {
                read_only((database != SYSTEM_DATABASE).then_some(database.as_str()), *reason)
            }
            EngineError::AlreadyVersioned => plain(SqlErrorKind::Unsupported),
            EngineError::NothingToCommit => plain(SqlErrorKind::NotInState),
            EngineError::NotABackup { .. } => {
                plain(SqlErrorKind::InvalidParameter).hint("Name an empty folder, or one that holds a backup.")
            }
            EngineError::CollectionRuns { .. } => {
                plain(SqlErrorKind::ObjectInUse).hint("Wait until it has ended; sessions are not disturbed by it.")
            }
            EngineError::OutcomeUnknown { .. } => plain(SqlErrorKind::CompletionUnknown)
                .hint("Reconnect and read whether the change is there before you repeat it."),
            EngineError::Store(store) => SqlError::new(chunk_kind(store), message),
            EngineError::Object(object) => SqlError::new(version_kind(object), message),
            EngineError::Io { source, .. } => plain(io_kind(source)),
            EngineError::NewerFormat { .. } | EngineError::DamagedFolder { .. } => plain(SqlErrorKind::Corrupt),
            EngineError::FolderLocked { .. } | EngineError::ForeignFolder { .. } => plain(SqlErrorKind::ObjectInUse),
            EngineError::NotNextRoot { .. }
            | EngineError::Incomplete { .. }
            | EngineError::WrongHash { .. }
            | EngineError::ReplicationRefused { .. }
            | EngineError::TaskLost { .. } => plain(SqlErrorKind::Internal),
        }
    }
}

/// A write that this server does not take now, into a database or into what all databases share: the same whether it is
/// refused before anything is done or at its commit. Each reason says what to do. Source: spec/cluster.md 2.2.
pub(super) fn read_only(database: Option<&str>, reason: ReadOnlyReason) -> SqlError {
    let message = match database {
        Some(database) => format!("{database} is read-only"),
        None => "database server is set to read only mode".to_string(),
    };
    let error = SqlError::new(SqlErrorKind::ReadOnly, message);
    match reason {
        ReadOnlyReason::Standby => error
            .detail("This server is a standby.")
            .hint("Send writes to the primary of the cluster."),
        ReadOnlyReason::BrokenConfig => error
            .detail("This server has met another primary at its own epoch (detected_broken_config).")
            .hint(
                "Decide which server's data is to win, and call dolt_assume_cluster_role('primary', epoch + 1) there.",
            ),
        ReadOnlyReason::Demoting => error
            .detail("This server is changing from primary to standby.")
            .hint("Send writes to the new primary of the cluster."),
        ReadOnlyReason::Configured => error.detail("The server's configuration says behavior.read_only."),
    }
}

/// A write into the database that shows the cluster, which holds no tables of users on any server.
pub(super) fn cluster_database_is_read_only() -> SqlError {
    SqlError::new(SqlErrorKind::ReadOnly, format!("{CLUSTER_DATABASE} is read-only"))
        .hint("Connect to another database to store data.")
}

fn of_table(table: &TableName) -> ErrorObject {
    ErrorObject {
        schema: Some(table.schema.clone()),
        table: Some(table.name.clone()),
        ..ErrorObject::default()
    }
}

fn shown(values: &[Value], null: &str) -> Vec<String> {
    values
        .iter()
        .map(|value| {
            text::to_text(value, &pg_type_of_value(value), &Style::DEFAULT).unwrap_or_else(|| null.to_string())
        })
        .collect()
}

fn chunk_kind(error: &ChunkError) -> SqlErrorKind {
    match error {
        error if error.is_damage() => SqlErrorKind::Corrupt,
        ChunkError::Io { source, .. } => io_kind(source),
        _ => SqlErrorKind::Io,
    }
}

fn io_kind(error: &std::io::Error) -> SqlErrorKind {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => SqlErrorKind::DiskFull,
        _ => SqlErrorKind::Io,
    }
}

fn version_kind(error: &VersionError) -> SqlErrorKind {
    match error {
        VersionError::Chunk(chunk) => chunk_kind(chunk),
        _ => SqlErrorKind::Corrupt,
    }
}

impl From<ClusterError> for SqlError {
    fn from(error: ClusterError) -> SqlError {
        let kind = match error.kind {
            ClusterErrorKind::InvalidArgument => SqlErrorKind::InvalidParameter,
            ClusterErrorKind::WrongState | ClusterErrorKind::NotReplicated => SqlErrorKind::NotInState,
            ClusterErrorKind::InProgress => SqlErrorKind::ObjectInUse,
            ClusterErrorKind::NotStored => SqlErrorKind::Io,
            ClusterErrorKind::Internal => SqlErrorKind::Internal,
        };
        SqlError {
            detail: error.detail,
            ..SqlError::new(kind, error.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    /// A client that is told 53100 knows that the same statement will work once there is space.
    #[test]
    fn a_full_disk_is_told_apart_from_a_broken_one() {
        let kinds = |code: i32| {
            let (op, file) = ("write", "x".to_owned());
            let source = || io::Error::from_raw_os_error(code);
            let chunk = ChunkError::Io {
                op,
                file: file.clone(),
                source: Arc::new(source()),
            };
            let engine = EngineError::Io {
                op,
                file,
                source: source(),
            };
            [engine, EngineError::Store(chunk)].map(|error| SqlError::from(error).kind)
        };
        assert_eq!(kinds(libc::ENOSPC), [SqlErrorKind::DiskFull; 2]);
        assert_eq!(kinds(libc::EDQUOT), [SqlErrorKind::DiskFull; 2]);
        assert_eq!(kinds(libc::EIO), [SqlErrorKind::Io; 2]);
    }
}
