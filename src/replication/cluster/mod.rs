//! Direct replication from a primary to its standbys.
//!
//! [`role`] decides, [`controller`] carries out; a [`shipper`] sends one database to one standby, a [`receiver`] takes
//! it in there; [`service`] is the port between them, [`keyring`] and [`token`] say who may use it. Over the same port a
//! [`giver`] answers a member whose stores are damaged, in whose name [`repair`] asks.
//!
//! Invariants
//! - A standby's root is a root that its primary had, proved by its hash.
//! - Role and epoch are stored before anybody can see them, and never go back.
//! - Who is not configured here, or cannot prove it, changes nothing.
//!
//! Must not know: SQL.

mod control;
mod controller;
mod core;
mod giver;
mod identity;
mod keyring;
mod link;
mod message;
mod outgoing;
mod peer;
mod receiver;
mod repair;
mod role;
mod role_store;
mod service;
mod shipper;
mod start;
mod streams;
mod token;
mod visitors;

#[cfg(all(test, not(madsim)))]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::runtime::AbortOnDrop;

pub use identity::{AcceptedPrimary, Epoch, Role, ServerId};
pub use repair::{RepairError, RepairPeer};
pub use role_store::{RoleStoreError, check_stored_role};
pub use start::{ClusterStartError, stored_role};

/// A running member of a cluster. Clones are the same; [`Cluster::shutdown`] ends it, and so does dropping the last.
#[derive(Clone)]
pub struct Cluster {
    core: Arc<core::Core>,
    tasks: Arc<Mutex<Vec<AbortOnDrop<()>>>>,
    local_address: SocketAddr,
}

/// The messages of `proto/replication.proto`.
#[allow(clippy::all, clippy::disallowed_types, reason = "generated")]
mod wire {
    tonic::include_proto!("understudy.replication");
}
