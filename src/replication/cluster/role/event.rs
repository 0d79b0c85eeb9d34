//! What the role machine is told.

use super::Standing;
use crate::replication::cluster::identity::{AcceptedPrimary, Epoch, Role, ServerId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `dolt_assume_cluster_role(role, epoch)`.
    Assume { role: String, epoch: i64 },
    /// Every link was (or was not) confirmed since the call began.
    PreflightEnded { confirmed: bool },
    /// Every link was (or was not) caught up under the write barrier.
    DrainEnded { caught_up: bool },
    /// An authenticated request of a peer; also each message of a stream. `epoch` is None where it is not a number in
    /// range, `role` None where it is no role.
    Request {
        peer: ServerId,
        role: Option<Role>,
        epoch: Option<Epoch>,
    },
    /// What a peer said of itself in an answer.
    Response(Response),
    /// [`Effect::Store`] failed for a demotion.
    StoreFailed { wanted: Standing },
    /// Time to try that again.
    RetryStore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// One of the headers is missing or its role is no role.
    WithoutRole,
    /// The epoch is not a number, or out of range.
    BadEpoch,
    Member {
        peer: ServerId,
        role: Role,
        epoch: Epoch,
        accepted: Option<AcceptedPrimary>,
    },
}
