//! The transaction a session is in: none, one that ends with the statement (or the message), or a block.

use std::sync::Arc;

use crate::engine::{Savepoint, Transaction};
use crate::runtime::WallTime;
use crate::sql::engine_error;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::settings::SettingsMark;
use crate::version::Value;

use super::Prepared;

/// See the module.
pub(super) enum Block {
    Idle,
    Open(Box<OpenTransaction>),
}

/// Who ends the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the statement, of the simple query's text, or of the extended protocol's Sync.
    Implicit,
    /// COMMIT or ROLLBACK.
    Explicit,
}

pub(super) struct OpenTransaction {
    pub kind: Kind,
    /// A statement failed: nothing but the way out is allowed.
    pub failed: bool,
    /// None in the virtual database `dolt_cluster`. Shared with the plans that read from it.
    pub transaction: Option<Arc<Transaction>>,
    pub began: WallTime,
    /// What the settings go back to if it fails.
    pub mark: SettingsMark,
    pub savepoints: Vec<NamedSavepoint>,
    /// Statements of an implicit transaction of the extended protocol, to be run again if its commit loses a conflict.
    pub executed: Vec<Executed>,
}

pub(super) struct NamedSavepoint {
    pub name: String,
    pub point: Option<Savepoint>,
    pub mark: SettingsMark,
}

/// A statement whose result the client has been told.
pub(super) struct Executed {
    pub prepared: Arc<Prepared>,
    pub params: Vec<Value>,
    /// The words of its completion; None when rows or copied data were sent, which a second run could not take back.
    pub told: Option<String>,
}

impl OpenTransaction {
    /// The transaction, to edit: copied first when a plan still reads from it.
    pub fn edit(&mut self) -> Result<&mut Transaction, SqlError> {
        let transaction = self.transaction.as_mut().map(Arc::make_mut);
        transaction.ok_or_else(engine_error::cluster_database_is_read_only)
    }

    pub fn has_changes(&self) -> bool {
        self.transaction
            .as_ref()
            .is_some_and(|transaction| transaction.has_changes())
    }

    /// Index of the newest savepoint of that name.
    pub fn savepoint(&self, name: &str) -> Result<usize, SqlError> {
        self.savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
            .ok_or_else(|| {
                SqlError::new(
                    SqlErrorKind::UndefinedSavepoint,
                    format!("savepoint \"{name}\" does not exist"),
                )
            })
    }
}
