//! What the role machine asks for, and the reasons it gives.

use super::Standing;
use crate::replication::cluster::identity::{Epoch, Role, ServerId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask every link for a confirmation, then report [`Event::PreflightEnded`].
    Preflight,
    CloseWriters,
    OpenWriters,
    /// End sessions and wait until they have ended, or until it is plain that one does not.
    KillSessions {
        spare: Spare,
    },
    /// Wait until no commit that was let in is unfinished, and no replicated root either.
    AwaitWriters,
    /// Wait until every link is caught up, then report [`Event::DrainEnded`].
    Drain,
    /// On the disk; variables, headers and links show the machine afterwards from when this succeeded.
    Store {
        standing: Standing,
        on_failure: OnStoreFailure,
    },
    /// Refusals give this role's reason from here on, unless it is a primary, whose writers come in last; the log says it.
    Enter {
        role: Role,
        epoch: Epoch,
    },
    /// Every stream ends and every link starts anew.
    ResetLinks,
    TaintCaller,
    Log(Note),
    Succeed,
    Fail(AssumeError),
    Serve,
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    Caller,
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// Nothing changes: the caller or the peer hears of it, and what was stored before is stored again, as for
    /// [`OnStoreFailure::StayClosed`] until it works.
    Abandon,
    /// Writers stay out: report [`Event::StoreFailed`], and [`Event::RetryStore`] until it works.
    StayClosed,
}

/// What belongs into the log, with its severity (spec/cluster.md 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// error: another primary at our own epoch.
    TwoPrimaries { peer: ServerId, epoch: Epoch },
    /// error: a standby was offered a second primary for one epoch.
    SecondPrimary {
        accepted: ServerId,
        peer: ServerId,
        epoch: Epoch,
    },
    /// error: a peer is in broken configuration and takes us along.
    PeerBroken { peer: ServerId, epoch: Epoch },
    /// warn.
    ForcedToStandby { from: Epoch, to: Epoch, peer: ServerId },
    /// warn.
    ResponseWithoutRole,
    /// error.
    ResponseBadEpoch,
}

/// Why a request of a peer was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this server is a primary and is not currently accepting replication: its epoch is {epoch}")]
    IsPrimary { epoch: Epoch },
    #[error(
        "this server is in detected_broken_config and is not currently accepting replication: its epoch is {epoch}"
    )]
    IsBroken { epoch: Epoch },
    #[error(
        "this server is a standby at epoch {mine} and does not accept a primary at epoch {theirs}; assume the role of primary there at epoch {mine} or higher"
    )]
    StalePrimary { mine: Epoch, theirs: Epoch },
    #[error("only a primary may replicate to this server, a standby at epoch {epoch}")]
    PeerNotPrimary { epoch: Epoch },
    #[error("the epoch in x-dolt-cluster-role-epoch must be an integer from 0 to {max}", max = Epoch::MAX)]
    BadEpoch,
    #[error(
        "this request carries this server's own id {server}: a standby remote points at the server itself, or two servers run on copies of one data folder"
    )]
    OwnId { server: ServerId },
    #[error("this server is giving up its role but cannot store that; see its log")]
    NotStored,
}

/// Why an operator's call had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssumeError {
    /// Error L.
    #[error("error assuming role '{role}' at epoch {epoch}: this server is already at epoch {current}")]
    StaleEpoch { role: String, epoch: i64, current: Epoch },
    /// Error D.
    #[error("error assuming role '{role}' at epoch {epoch}: this server already is '{current}' at that epoch")]
    OtherRoleAtEpoch { role: String, epoch: i64, current: Role },
    /// Error U.
    #[error("error assuming role '{role}': the role must be 'primary' or 'standby'")]
    UnknownRole { role: String },
    /// Error B.
    #[error("cannot set role to detected_broken_config")]
    BrokenNotAssignable,
    #[error("error assuming role '{role}' at epoch {epoch}: the highest epoch is {max}", max = Epoch::MAX)]
    EpochTooHigh { role: String, epoch: i64 },
    #[error("failed to transition from primary to standby gracefully; this server is still primary at epoch {current}")]
    NotCaughtUp { current: Epoch },
    #[error("failed to transition from primary to standby gracefully: another such call is in progress")]
    AnotherInProgress,
    #[error(
        "error assuming role 'standby' at epoch {epoch}: role or epoch changed meanwhile; look at them and try again"
    )]
    Superseded { epoch: Epoch },
    #[error("error assuming role: this server could not store its role and epoch, and accepts no writes until it can")]
    NotStored,
}
