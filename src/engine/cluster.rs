//! What SQL may ask about and of the cluster, as a narrow trait that replication implements.

use async_trait::async_trait;

use super::SessionId;
use crate::runtime::WallTime;

/// One row of `dolt_cluster.dolt_cluster_status`: a database and a standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatusRow {
    pub database: String,
    pub standby_remote: String,
    pub role: String,
    pub epoch: u64,
    pub replication_lag_millis: Option<i64>,
    pub last_update: Option<WallTime>,
    pub current_error: Option<String>,
}

/// The cluster this server belongs to.
#[async_trait]
pub trait ClusterControl: Send + Sync {
    /// `primary`, `standby` or `detected_broken_config`.
    fn role(&self) -> String;

    fn epoch(&self) -> u64;

    /// Sorted by database, then standby.
    fn status(&self) -> Vec<ClusterStatusRow>;

    /// Changes role and epoch on behalf of an operator. `caller` is the one session that is not ended; it may do
    /// nothing more afterwards.
    async fn assume_role(&self, role: &str, epoch: i64, caller: SessionId) -> Result<(), ClusterError>;
}

/// What kind of refusal a [`ClusterError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClusterErrorKind {
    /// 22023: the role is neither `primary` nor `standby`, or the epoch is no epoch.
    InvalidArgument,
    /// 55000: below the current epoch, or at it with another role.
    WrongState,
    /// 55006: another change of role is under way.
    InProgress,
    /// 55000: a standby did not get the newest root in time; the server stays what it was.
    NotReplicated,
    /// 58030: the role could not be made durable; nothing changed.
    NotStored,
    /// XX000.
    Internal,
}

/// A refused change of role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClusterError {
    pub kind: ClusterErrorKind,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl ClusterError {
    pub fn new(kind: ClusterErrorKind, message: impl Into<String>) -> ClusterError {
        ClusterError {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> ClusterError {
        self.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> ClusterError {
        self.hint = Some(hint.into());
        self
    }
}
