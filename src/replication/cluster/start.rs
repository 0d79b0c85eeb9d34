//! Putting the cluster together, and taking it apart.
//!
//! Source: spec/cluster.md 2.8.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::control::ClusterHandle;
use super::controller::Controller;
use super::core::Core;
use super::identity::{Epoch, Role};
use super::keyring::KeyRing;
use super::link::{LinkKey, LinkTable};
use super::peer::Peer;
use super::role_store::{Bootstrap, RoleStore, RoleStoreError};
use super::streams::Streams;
use super::token::TokenSigner;
use super::{Cluster, service, shipper};
use crate::config::{BootstrapRole, ClusterConfig};
use crate::engine::Engine;
use crate::runtime::disk::Disk;
use crate::runtime::net::TcpListener;
use crate::runtime::{self, AbortOnDrop};

/// How long an orderly demotion waits for the standbys, twice: to answer, and to catch up.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long the tasks of a cluster may take to notice that it was closed.
const LAST_TASK_LIMIT: Duration = Duration::from_secs(5);
/// How long a stopping primary waits for them.
const LAST_PUSH_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ClusterStartError {
    #[error(transparent)]
    RoleStore(#[from] RoleStoreError),
    #[error("cluster.bootstrap_epoch: {0} is above the highest epoch, {max}", max = Epoch::MAX)]
    EpochTooHigh(u64),
    #[error("cannot listen for replication at {address} (cluster.remotesapi): {source}")]
    Bind { address: String, source: io::Error },
    #[error("the databases of this standby could not be made those its primary listed: {0}")]
    Reconcile(#[source] crate::engine::EngineError),
}

/// The role that this server starts in: the stored one, or the configured one, which is stored then.
///
/// Asked once the data folder is locked and before any database is made, because an empty standby makes none of its own.
pub async fn stored_role(config: &ClusterConfig, disk: &Disk) -> Result<Role, ClusterStartError> {
    let (_, standing) = RoleStore::open(disk, bootstrap(config)?).await?;
    Ok(standing.role)
}

fn bootstrap(config: &ClusterConfig) -> Result<Bootstrap, ClusterStartError> {
    let role = match config.bootstrap_role {
        BootstrapRole::Primary => Role::Primary,
        BootstrapRole::Standby => Role::Standby,
    };
    let epoch = Epoch::new(config.bootstrap_epoch).ok_or(ClusterStartError::EpochTooHigh(config.bootstrap_epoch))?;
    Ok(Bootstrap { role, epoch })
}

impl Cluster {
    /// Loads the role, closes the gate unless it is primary, starts shipping and listens. From here on the engine knows
    /// its cluster.
    pub async fn start(engine: Engine, config: &ClusterConfig, disk: &Disk) -> Result<Cluster, ClusterStartError> {
        Cluster::start_with(engine, config, disk, DRAIN_LIMIT).await
    }

    pub(super) async fn start_with(
        engine: Engine,
        config: &ClusterConfig,
        disk: &Disk,
        drain_limit: Duration,
    ) -> Result<Cluster, ClusterStartError> {
        let (store, standing) = RoleStore::open(disk, bootstrap(config)?).await?;
        let address = config.remotesapi.bind_address();
        let listener = TcpListener::bind(&address).await;
        let bind_error = |source| ClusterStartError::Bind {
            address: address.clone(),
            source,
        };
        let listener = listener.map_err(bind_error)?;
        let local_address = listener.local_addr().map_err(bind_error)?;

        let closing = CancellationToken::new();
        let controller = Controller::new(engine.clone(), store, standing, closing.clone());
        if standing.role != Role::Primary {
            engine
                .reconcile_databases()
                .await
                .map_err(ClusterStartError::Reconcile)?;
        }
        let peers: Vec<Arc<Peer>> = config
            .standby_remotes
            .iter()
            .map(|remote| Arc::new(Peer::new(remote)))
            .collect();
        let keys = KeyRing::new(peers.len());
        let core = Arc::new(Core {
            signer: TokenSigner::generate(standing.server),
            keys: keys.clone(),
            links: LinkTable::new(engine.clone(), peers.clone()),
            streams: Streams::default(),
            controller,
            drain_limit,
            closing,
            tasks: TaskTracker::new(),
            engine: engine.clone(),
        });
        let mut tasks = keys.start_fetching(&peers);
        let serve = core.tasks.track_future(service::serve(core.clone(), listener));
        tasks.push(runtime::spawn("cluster listener", serve).abort_on_drop());
        let supervise = core.tasks.track_future(supervise(core.clone()));
        tasks.push(runtime::spawn("replication links", supervise).abort_on_drop());
        engine.set_cluster(Arc::new(ClusterHandle::new(&core)));
        info!(
            role = %standing.role, epoch = standing.epoch.get(), server_id = %standing.server, address = %local_address,
            "cluster started"
        );
        Ok(Cluster {
            core,
            tasks: Arc::new(Mutex::new(tasks)),
            local_address,
        })
    }

    /// Where the cluster port listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_address
    }

    #[cfg(all(test, not(madsim)))]
    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// Ends everything without a word to anybody, as the end of the process would.
    #[cfg(all(test, not(madsim)))]
    pub(super) async fn abandon(&self) {
        self.end().await;
    }

    /// Gives the standbys a last chance to catch up, then ends everything. The SQL listener is closed by then.
    pub async fn shutdown(&self) {
        if self.core.controller.standing().role == Role::Primary
            && let Err(behind) = self.core.links.drain_all(LAST_PUSH_LIMIT).await
        {
            warn!(?behind, "stopping although standbys are behind");
        }
        self.end().await;
    }

    async fn end(&self) {
        self.core.closing.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        drop(tasks);
        self.core.tasks.close();
        if runtime::timeout(LAST_TASK_LIMIT, self.core.tasks.wait()).await.is_err() {
            warn!(
                tasks = self.core.tasks.len(),
                "stopping although replication has not let go of the data folder"
            );
        }
    }
}

/// Keeps one shipper for each link while this server is primary, and the links themselves in every role.
async fn supervise(core: Arc<Core>) {
    let mut role = core.controller.watch();
    let mut databases = core.engine.watch_databases();
    let mut generation = role.borrow_and_update().generation;
    let mut shippers: Vec<(LinkKey, AbortOnDrop<()>)> = Vec::new();
    let mut forget = true;
    loop {
        databases.borrow_and_update();
        let published = *role.borrow_and_update();
        if published.generation != generation {
            generation = published.generation;
            shippers.clear();
            core.links.reset();
            forget = true;
        }
        if std::mem::take(&mut forget)
            && published.standing.role == Role::Primary
            && let Err(error) = core.engine.forget_awaited().await
        {
            warn!(%error, "databases whose content never came stay listed until this server becomes primary again");
        }
        let (keys, new) = core.links.reconcile();
        shippers.retain(|(key, _)| keys.contains(key));
        if published.standing.role == Role::Primary {
            for link in new {
                let key = link.key;
                let ship = core.tasks.track_future(shipper::ship(core.clone(), link));
                shippers.push((key, runtime::spawn("replication shipper", ship).abort_on_drop()));
            }
        }
        if !changed(&mut role, &mut databases).await {
            return;
        }
    }
}

async fn changed(
    role: &mut watch::Receiver<super::controller::Published>,
    databases: &mut watch::Receiver<u64>,
) -> bool {
    tokio::select! {
        biased;
        changed = role.changed() => changed.is_ok(),
        changed = databases.changed() => changed.is_ok(),
    }
}
