//! What the parts of the cluster share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::controller::Controller;
use super::keyring::KeyRing;
use super::link::LinkTable;
use super::streams::Streams;
use super::token::TokenSigner;
use crate::engine::Engine;

/// The limit of one message in either direction: what a single large value may need.
pub const MESSAGE_BYTES_MAX: usize = 128 << 20;

pub struct Core {
    pub engine: Engine,
    pub controller: Arc<Controller>,
    pub links: LinkTable,
    /// Those that other servers replicate to this one over.
    pub streams: Streams,
    pub signer: TokenSigner,
    pub keys: KeyRing,
    /// How long a demotion waits for the standbys to answer, and again for them to catch up.
    pub drain_limit: Duration,
    /// Cancelled when the cluster shuts down: streams and connections end.
    pub closing: CancellationToken,
    /// Every task that holds this core, so that the end can wait for them.
    pub tasks: TaskTracker,
}
