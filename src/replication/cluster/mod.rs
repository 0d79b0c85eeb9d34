//! Direct replication from a primary to its standbys.

mod identity;
mod role;

pub use identity::{AcceptedPrimary, Epoch, Role, ServerId};

/// The messages of `proto/replication.proto`.
#[allow(clippy::all, reason = "generated")]
mod wire {
    tonic::include_proto!("understudy.replication");
}
