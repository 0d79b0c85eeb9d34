//! Databases, transactions, and the one commit path.
//!
//! An [`Engine`] is everything in one data folder: the hidden system database, which lists databases, roles and
//! settings, and the databases themselves. A [`Transaction`] reads one immutable root and collects edits;
//! [`Database::commit`] is the only way in which edits become a root, and [`Database::apply_replicated`] the only way
//! in which a root of the primary becomes one here.
//!
//! Invariants
//! - Nothing is acknowledged before it is synced, and nothing is visible before that either.
//! - A transaction sees one root, fixed when it begins, and its own edits.
//! - Two transactions that changed the same row never both commit: the second gets [`EngineError::Conflict`] and
//!   nothing of it remains.
//! - Whoever passed the [`WriteGate`] is counted until its root is published: closed and drained means that no commit
//!   can finish later.
//! - In every store a chunk is preceded by everything it refers to; so whoever holds a chunk can read all below it.
//!
//! Must not know: SQL text, the wire protocols, where standbys are.

mod backup;
mod check;
mod cluster;
mod collection;
mod commit;
mod copy;
mod database;
mod edits;
mod error;
mod folder;
mod gate;
mod instance;
mod keyless;
mod names;
mod rebase;
mod reconcile;
mod repair;
mod replicated;
mod scan;
mod scram;
mod sessions;
mod snapshot;
mod system;
mod transaction;
mod versioning;

pub use backup::{CopyTo, FolderCopied, copy_folder, has_databases};
pub use check::{CheckedStore, FolderCheck, FolderProgress, Missing, Remark, check_folder, check_one_store};
pub use cluster::{ClusterControl, ClusterError, ClusterErrorKind, ClusterStatusRow, Role};
pub use collection::AutoCollect;
pub use commit::CommitOutcome;
pub use copy::Copied;
pub use database::{Database, DatabaseId, RootHold, SYSTEM_DATABASE, TURN_LIMIT, Turn};
pub use error::EngineError;
pub use folder::{CONTROL_FOLDER, FORMAT_VERSION, ROLE_FILE};
pub use gate::{GateTicket, ReadOnlyReason, WriteGate};
pub use instance::{DatabaseListing, DatabaseState, Engine, EngineOptions, Superuser};
pub use names::{CLUSTER_DATABASE, NAME_BYTES_MAX, database_name_problem, primary_key_name};
pub use repair::{Answer, AskForChunks, FetchError, RepairFailed, RepairStep, repair_from_others, repair_store};
pub use replicated::{Backfill, ReplicatedBatch};
pub use scan::{RowScan, TupleScan};
pub use scram::ScramVerifier;
pub use sessions::{SessionHandle, SessionId, SessionInfo, SessionRegistry, StatementGuard};
pub use system::{RoleRecord, System};
pub use transaction::{Savepoint, Transaction};
pub use versioning::{CommitSpec, Revision, StatusRow, TableStatus};

#[cfg(all(test, not(madsim)))]
mod tests;
