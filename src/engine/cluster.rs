//! What SQL may ask about and of the cluster, as a narrow trait that replication implements.

use std::fmt;

use async_trait::async_trait;

use super::SessionId;
use crate::runtime::WallTime;

/// What a server is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Primary,
    Standby,
    /// Two primaries were seen at one epoch: nobody writes until an operator chooses.
    DetectedBrokenConfig,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Primary, Role::Standby, Role::DetectedBrokenConfig];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Standby => "standby",
            Role::DetectedBrokenConfig => "detected_broken_config",
        }
    }

    /// Case-sensitive, as the words are everywhere (spec/cluster.md 2.4).
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of `dolt_cluster.dolt_cluster_status`: a database and a standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatusRow {
    pub database: String,
    pub standby_remote: String,
    pub role: Role,
    pub epoch: u64,
    pub replication_lag_millis: Option<i64>,
    pub last_update: Option<WallTime>,
    pub current_error: Option<String>,
}

/// The cluster this server belongs to.
#[async_trait]
pub trait ClusterControl: Send + Sync {
    fn role(&self) -> Role;

    fn epoch(&self) -> u64;

    /// Sorted by database, then standby.
    fn status(&self) -> Vec<ClusterStatusRow>;

    /// Changes role and epoch on behalf of an operator. `caller` is the one session that is not ended; when the role
    /// changed it is tainted ([`SessionHandle::is_tainted`](super::SessionHandle::is_tainted)) and may do nothing more.
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
}

impl ClusterError {
    pub fn new(kind: ClusterErrorKind, message: impl Into<String>) -> ClusterError {
        ClusterError {
            kind,
            message: message.into(),
            detail: None,
        }
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> ClusterError {
        self.detail = Some(detail.into());
        self
    }
}
