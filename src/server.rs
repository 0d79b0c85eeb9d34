//! A whole server assembled from the layers above.
//!
//! Opening and closing follow spec/cluster.md 2.8: what could serve a client exists only after the role is known and
//! the gate for writers stands accordingly, and the way down is the way up backwards.
//!
//! Invariants
//! - No port is open before everything behind it works; a failed start leaves none open.
//! - Two servers in one process share nothing.
//!
//! Must not know: arguments, the environment, the process. `main`, the playground and the simulator call the same
//! [`Server::start`]; the simulator also runs a [`Replica`] alone.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

use crate::config::{Config, join_host_port};
use crate::engine::{
    AutoCollect, Engine, EngineError, EngineOptions, FolderCheck, FolderProgress, ReadOnlyReason, Remark, Superuser,
    check_folder,
};
use crate::pg::{self, SqlListener, SqlServer};
use crate::replication::cluster::{Cluster, ClusterStartError, Role, check_stored_role, stored_role};
use crate::runtime::disk::Disk;
use crate::runtime::net::TcpListener;
use crate::sql::plan::QueryMemory;
use crate::sql::settings;
use crate::sql::{ServerSettings, SqlError};

/// How long statements may go on after the server was asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// In the system database once the first database was made: dropping it later is the users' decision, not a reason to
/// make it again at the next start.
const FIRST_DATABASE_MADE: &str = "first_database_made";

/// A running server.
pub struct Server {
    replica: Replica,
    sql: SqlServer,
}

/// A server without its SQL port: it stores and replicates, and nobody can log in. The simulator runs such when it looks
/// for what replication does wrong, since most of the time goes into SQL.
pub struct Replica {
    engine: Engine,
    cluster: Option<Cluster>,
    first_start: bool,
}

/// Checks all that a server keeps in its data folder, or a backup of one: the engine's stores, and its role in a cluster.
///
/// # Errors
/// As of [`check_folder`].
pub fn check_data_folder(disk: &Disk, progress: FolderProgress<'_>) -> Result<FolderCheck, EngineError> {
    let mut check = check_folder(disk, progress)?;
    if let Err(error) = check_stored_role(disk) {
        check.problems.push(Remark {
            place: "its role in the cluster".to_owned(),
            detail: error.to_string(),
        });
    }
    Ok(check)
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Cluster(#[from] ClusterStartError),
    #[error(
        "Port {port} already in use at {host} (listener.port): stop the other program, or choose another port; 0 takes \
         a free one"
    )]
    PortInUse { host: String, port: u16 },
    #[error("cannot listen for SQL at {address} (listener.host, listener.port): {source}")]
    SqlPort { address: String, source: io::Error },
    #[error("cannot use file {path} as the data directory (--data-dir, data_dir): {source}")]
    DataDirectory { path: String, source: io::Error },
    #[error("system_variables.{name}: `{value}` is refused: {source}")]
    Variable {
        name: String,
        value: String,
        source: Box<SqlError>,
    },
}

impl Server {
    /// What of a configuration only the layers above it can judge.
    ///
    /// # Errors
    /// `Variable`.
    pub fn check_config(config: &Config) -> Result<(), StartError> {
        // They are what every session starts with; a name or value that no session would take is an error now.
        for (name, value) in &config.system_variables {
            let checked = settings::checked_value(name, value, config.cluster.is_some());
            checked.map_err(|source| StartError::Variable {
                name: name.clone(),
                value: value.clone(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    /// As [`Server::start`], making the data folder only once it is known that the configuration is good and the ports
    /// are free: a start that is refused for either leaves nothing behind.
    ///
    /// # Errors
    /// Nothing is left running or listening.
    pub async fn start_in(config: Config, open: impl FnOnce() -> io::Result<Disk>) -> Result<Server, StartError> {
        Server::check_config(&config)?;
        // Each is let go again: none may be open before everything behind it works.
        drop(bind_sql(&config).await?);
        if let Some(cluster) = &config.cluster {
            let address = cluster.remotesapi.bind_address();
            match TcpListener::bind(&address).await {
                Ok(free) => drop(free),
                Err(source) => return Err(ClusterStartError::Bind { address, source }.into()),
            }
        }
        let disk = open().map_err(|source| StartError::DataDirectory {
            path: config.data_dir.display().to_string(),
            source,
        })?;
        Server::start(config, disk).await
    }

    /// Opens the data folder at the root of `disk`, finds the role, and serves.
    ///
    /// # Errors
    /// Nothing is left running or listening.
    pub async fn start(config: Config, disk: Disk) -> Result<Server, StartError> {
        Server::start_tuned(config, disk, |_| {}).await
    }

    /// As [`Server::start`], with options of the engine that no configuration file can say: tiny segments and queues, for
    /// whoever looks for what happens at their ends.
    ///
    /// # Errors
    /// Nothing is left running or listening.
    pub async fn start_tuned(
        config: Config,
        disk: Disk,
        tune: impl FnOnce(&mut EngineOptions),
    ) -> Result<Server, StartError> {
        Server::check_config(&config)?;
        let replica = Replica::start_tuned(&config, &disk, tune).await?;
        match Self::open_sql(&config, replica.engine(), &disk).await {
            Ok(sql) => Ok(Server { replica, sql }),
            Err(error) => {
                replica.stop().await;
                Err(error)
            }
        }
    }

    async fn open_sql(config: &Config, engine: &Engine, disk: &Disk) -> Result<SqlServer, StartError> {
        let bound = bind_sql(config).await?;
        let port = bound.local_addr().port();
        let sql = bound.serve(engine.clone(), server_settings(config, disk, port), options(config));
        info!(host = %config.listener.host, port, "ready");
        Ok(sql)
    }

    /// Where SQL is served.
    pub fn sql_addr(&self) -> SocketAddr {
        self.sql.local_addr()
    }

    /// Where peers replicate to; `None` without a cluster.
    pub fn cluster_addr(&self) -> Option<SocketAddr> {
        self.replica.cluster.as_ref().map(Cluster::local_addr)
    }

    /// Whether this start made the first database.
    pub fn is_first_start(&self) -> bool {
        self.replica.first_start
    }

    pub fn engine(&self) -> &Engine {
        self.replica.engine()
    }

    /// Serves until `shutdown` completes, then stops.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.stop().await;
    }

    /// Stops accepting, lets running statements finish for ten seconds, gives the standbys a last chance to catch up,
    /// and closes the data folder.
    pub async fn stop(self) {
        info!("stopping");
        self.sql.stop(STOP_GRACE).await;
        self.replica.stop().await;
        info!("stopped");
    }
}

impl Replica {
    /// Opens the data folder at the root of `disk`, finds the role, and replicates. `tune` as in
    /// [`Server::start_tuned`].
    ///
    /// # Errors
    /// Nothing is left running or listening.
    pub async fn start_tuned(
        config: &Config,
        disk: &Disk,
        tune: impl FnOnce(&mut EngineOptions),
    ) -> Result<Replica, StartError> {
        for warning in &config.warnings {
            warn!("{warning}");
        }
        let mut engine_options = engine_options(config);
        tune(&mut engine_options);
        let engine = Engine::open(disk.clone(), engine_options).await?;
        // Before any peer can be met: two servers configured as primaries find out within milliseconds, and each must
        // still have a database that its operator can connect to.
        let is_primary = match &config.cluster {
            Some(cluster) => stored_role(cluster, disk).await? == Role::Primary,
            None => true,
        };
        let first_start = is_primary && make_first_database(config, &engine).await?;
        let cluster = match &config.cluster {
            Some(cluster) => Some(Cluster::start(engine.clone(), cluster, disk).await?),
            None => None,
        };
        engine.log_unavailable();
        Ok(Replica {
            engine,
            cluster,
            first_start,
        })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Gives the standbys a last chance to catch up, and closes the data folder.
    pub async fn stop(self) {
        if let Some(cluster) = self.cluster {
            cluster.shutdown().await;
        }
        drop(self.engine);
    }
}

async fn bind_sql(config: &Config) -> Result<SqlListener, StartError> {
    let listener = &config.listener;
    SqlListener::bind(&listener.host, listener.port)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse {
                host: listener.host.clone(),
                port: listener.port,
            },
            _ => StartError::SqlPort {
                address: join_host_port(&listener.host, listener.port),
                source,
            },
        })
}

fn engine_options(config: &Config) -> EngineOptions {
    let superuser = Superuser {
        name: config.user.name.clone(),
        password: config.user.password.reveal().to_owned(),
    };
    let auto_collect = config.behavior.auto_gc.map(|auto_gc| AutoCollect {
        log_bytes_min: auto_gc.log_bytes_min,
        growth: auto_gc.growth_percent as f64 / 100.0,
        ..AutoCollect::default()
    });
    let cache_bytes = config
        .cache_bytes
        .unwrap_or_else(|| (crate::runtime::memory_bytes() / 4).min(CACHE_BYTES_MAX));
    EngineOptions {
        read_only: config.behavior.read_only.then_some(ReadOnlyReason::Configured),
        auto_collect,
        ..EngineOptions::new(superuser).with_cache_bytes(cache_bytes)
    }
}

/// Without a setting, chunks take a quarter of the memory and no more than this.
const CACHE_BYTES_MAX: u64 = 4 << 30;

fn server_settings(config: &Config, disk: &Disk, port: u16) -> ServerSettings {
    ServerSettings {
        host: config.listener.host.clone(),
        port,
        data_directory: disk.describe(""),
        max_connections: config.listener.max_connections,
        query_memory: QueryMemory::new(config.query_memory_bytes),
    }
}

fn options(config: &Config) -> pg::Options {
    let timeout = |millis| (millis > 0).then(|| Duration::from_millis(millis));
    pg::Options {
        max_connections: config.listener.max_connections,
        read_timeout: timeout(config.listener.read_timeout_millis),
        write_timeout: timeout(config.listener.write_timeout_millis),
        query_log_bytes_max: usize::try_from(config.max_query_len_in_logs).unwrap_or(usize::MAX),
        session_defaults: config
            .system_variables
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        ..pg::Options::default()
    }
}

/// In an empty data folder, unless nothing may be written here: a standby gets its databases from its primary.
async fn make_first_database(config: &Config, engine: &Engine) -> Result<bool, StartError> {
    if engine.gate().reason().is_some() || engine.system().setting(FIRST_DATABASE_MADE)?.is_some() {
        return Ok(false);
    }
    let made = async {
        match engine.create_database(&config.first_database).await {
            // It exists when the last start ended between the two steps.
            Ok(_) | Err(EngineError::DuplicateDatabase { .. }) => {}
            Err(error) => return Err(error),
        }
        engine
            .system()
            .set_setting(FIRST_DATABASE_MADE, Some(&config.first_database))
            .await
    };
    Ok(made.await.map(|()| true)?)
}
