//! The servers of a run: the shipped server, started on its node's disk with a configuration file like an operator's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use understudy::config::{self, Config, Source};
use understudy::engine::{DatabaseState, Engine, EngineOptions};
use understudy::runtime;
use understudy::runtime::disk::simulated::{FaultKind, SimDisk};
use understudy::runtime::simulated::NodeStart;
use understudy::server::{Replica, Server, StartError};

use super::Stage;
use super::mending::Repairs;
use crate::history::{Level, NOT_STARTED, What, printable};
use crate::plan::{Plan, PlannedServer};
use crate::record::Recorder;
use crate::scenario::cluster::Role;
use crate::scenario::knobs::Knobs;
pub use crate::workload::CLUSTER_PORT;
use crate::workload::client::Directory;
use crate::workload::direct::Switchboard;
use crate::workload::session::Login;

pub const SQL_PORT: u16 = 5432;

/// The engines of the servers that run, to see which roots they have published.
#[derive(Clone, Default)]
pub struct Servers {
    engines: Arc<Mutex<BTreeMap<String, Engine>>>,
    /// Standbys of those whose configuration is no longer the plan's.
    standbys: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    /// Into those that run without SQL.
    lines: Switchboard,
    /// Faults of the disk that were there when the server was started last.
    faults_before: Arc<Mutex<BTreeMap<String, usize>>>,
    repairs: Repairs,
}

impl Servers {
    /// Must be called before a server is made to die: what is left of a dead process belongs to nobody.
    pub fn forget(&self, name: &str) {
        self.lines.disconnect(name);
        let engine = self.engines.lock().remove(name);
        drop(engine);
    }

    pub fn is_ready(&self, name: &str) -> bool {
        self.engines.lock().contains_key(name)
    }

    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// Whether a sync has failed since the server was started, so that it takes no writes.
    pub fn lost_a_sync(&self, name: &str, disk: &SimDisk) -> bool {
        let before = self.faults_before.lock().get(name).copied().unwrap_or(0);
        let since = disk.injected().into_iter().skip(before);
        since.into_iter().any(|fault| fault.kind == FaultKind::FailedSync)
    }

    /// Whether it could not open a database when it was started, and does without.
    pub fn lacks_a_database(&self, name: &str) -> bool {
        let engine = self.engines.lock().get(name).cloned();
        let listing = engine.map(|engine| engine.listing()).unwrap_or_default();
        let mut states = listing.iter().map(|listed| &listed.state);
        states.any(|state| matches!(state, DatabaseState::Unavailable { .. }))
    }

    /// From its next start on the server has these standbys.
    pub fn reconfigure(&self, name: &str, standbys: Vec<String>) {
        self.standbys.lock().insert(name.to_owned(), standbys);
    }

    /// From their next start on all servers have the standbys of the plan. Gives those that had others.
    pub fn configure_as_planned(&self, plan: &Plan) -> Vec<String> {
        let changed = std::mem::take(&mut *self.standbys.lock());
        let is_other = |(name, standbys): &(String, Vec<String>)| {
            let server = plan.servers.iter().find(|server| server.name == *name);
            let member = server.and_then(|server| server.member.as_ref());
            member.is_none_or(|member| member.standbys != *standbys)
        };
        changed.into_iter().filter(is_other).map(|(name, _)| name).collect()
    }

    /// (server, database) -> published root, of all servers that run.
    pub fn roots(&self) -> BTreeMap<(String, String), String> {
        let mut roots = BTreeMap::new();
        for (name, engine) in self.engines.lock().iter() {
            for database in engine.all_stores() {
                let shown = printable(database.name());
                roots.insert((name.clone(), shown), database.store().published().root.to_string());
            }
        }
        roots
    }

    /// Sessions of clients, on all servers that run.
    pub fn sessions(&self) -> BTreeMap<String, usize> {
        let engines = self.engines.lock();
        let counts = engines
            .iter()
            .map(|(name, engine)| (name.clone(), engine.sessions().count()));
        counts.collect()
    }

    /// What clients know.
    pub fn directory(&self, plan: &Plan, recorder: &Recorder) -> Directory {
        let servers = plan
            .servers
            .iter()
            .map(|server| (server.name.clone(), format!("{}:{SQL_PORT}", server.name)));
        Directory {
            servers: servers.collect(),
            login: Login {
                user: "postgres".to_owned(),
                password: "password".to_owned(),
                database: "postgres".to_owned(),
            },
            lists: plan
                .workload
                .iter()
                .filter_map(|workload| workload.spec.make().lists())
                .collect(),
            lines: (!plan.sql).then(|| self.lines.clone()),
            recorder: recorder.clone(),
        }
    }

    /// Whether the server has a database of users; of one that is down that it has.
    pub fn has_databases(&self, name: &str) -> bool {
        let engines = self.engines.lock();
        engines
            .get(name)
            .is_none_or(|engine| engine.databases().iter().any(|database| database.has_root()))
    }

    /// What a running server says its role is.
    pub fn role(&self, name: &str) -> Option<(Role, u64)> {
        let cluster = self.engines.lock().get(name)?.cluster()?;
        Some((Role::from_word(cluster.role().as_str())?, cluster.epoch()))
    }
}

/// The configuration file of a server, with other standbys if it was given some.
fn config_text(server: &PlannedServer, other_standbys: Option<&Vec<String>>) -> String {
    // Who vanishes without a word keeps a session until it is found to be silent, which takes two minutes.
    let collect = server.knobs.get("collect").unwrap_or(100_000);
    let mut text = format!(
        "log_level: debug\ndata_dir: data\nbehavior:\n  auto_gc_behavior:\n    log_bytes_min: {collect}\nlistener:\n  host: 0.0.0.0\n  port: {SQL_PORT}\n  max_connections: 1000\nuser:\n  name: postgres\n  password: password\n"
    );
    if let Some(cache) = server.knobs.get("cache") {
        // Nothing at all means the default there.
        let _ = write!(text, "performance:\n  cache_bytes: {}\n", cache.max(1));
    }
    if let Some(member) = &server.member {
        text.push_str("cluster:\n  standby_remotes:\n");
        for standby in other_standbys.unwrap_or(&member.standbys) {
            let _ = write!(
                text,
                "    - name: {standby}\n      remote_url_template: http://{standby}:{CLUSTER_PORT}/{{database}}\n"
            );
        }
        let _ = write!(
            text,
            "  bootstrap_role: {}\n  bootstrap_epoch: {}\n  remotesapi:\n    address: 0.0.0.0\n    port: {CLUSTER_PORT}\n",
            member.role.word(),
            member.epoch
        );
    }
    text
}

/// Makes the node and starts its server.
pub fn create(stage: &Stage, server: &PlannedServer) {
    let process = {
        let (stage, server) = (stage.clone(), server.clone());
        move |start: NodeStart| {
            let text = config_text(&server, stage.servers.standbys.lock().get(&server.name));
            serve(stage.clone(), text, server.knobs.clone(), start)
        }
    };
    stage.world.create_node(&server.name, process);
    stage
        .world
        .set_clock(&server.name, server.clock_offset, server.clock_drift_ppm);
    server.disk.apply(&stage.world.disk(&server.name));
    if let Some((every, by)) = server.clock_jump {
        let (stage, name) = (stage.clone(), server.name.clone());
        drop(runtime::spawn("clock jumps", async move {
            loop {
                runtime::sleep(Duration::from_micros(every)).await;
                if stage.marks.is_reached(super::faults::QUIET) {
                    return;
                }
                stage.world.jump_clock(&name, by);
            }
        }));
    }
}

async fn serve(stage: Stage, text: String, knobs: Knobs, start: NodeStart) {
    let name = start.name.as_str();
    stage.names.enter(name);
    stage.recorder.record(name, What::Start);
    let faults_before = stage.world.disk(name).injected().len();
    stage
        .servers
        .faults_before
        .lock()
        .insert(name.to_owned(), faults_before);
    let source = Source {
        file: Some(("server.yaml", &text)),
        ..Source::default()
    };
    let config =
        config::load(&source).unwrap_or_else(|errors| panic!("the generated configuration is refused: {errors}"));
    stage.servers.repairs.carry_out(name, &config, &start.disk).await;
    let tune = move |options: &mut EngineOptions| {
        if let Some(segment) = knobs.get("segment") {
            options.store.segment_bytes_max = segment;
        }
        if let Some(backlog) = knobs.get("backlog") {
            options.store.backlog_bytes_max = backlog;
        }
    };
    let served = match stage.plan.sql {
        true => serve_sql(&stage, name, config, &start, tune).await,
        false => serve_directly(&stage, name, &config, &start, tune).await,
    };
    let how = match served {
        Ok(()) => "stopped",
        Err(error) => {
            stage.recorder.record(
                name,
                What::Log {
                    level: Level::Error,
                    message: NOT_STARTED.to_owned(),
                    fields: error.to_string(),
                },
            );
            "did not start"
        }
    };
    stage.recorder.record(name, What::Down { how: how.to_owned() });
}

async fn serve_sql(
    stage: &Stage,
    name: &str,
    config: Config,
    start: &NodeStart,
    tune: impl FnOnce(&mut EngineOptions),
) -> Result<(), StartError> {
    let server = Server::start_tuned(config, start.disk.clone(), tune).await?;
    ready(stage, name, server.engine());
    server.run_until(runtime::shutdown_signal()).await;
    stage.servers.forget(name);
    Ok(())
}

/// All of the server but SQL: what clients want is done in the engine.
async fn serve_directly(
    stage: &Stage,
    name: &str,
    config: &Config,
    start: &NodeStart,
    tune: impl FnOnce(&mut EngineOptions),
) -> Result<(), StartError> {
    let replica = Replica::start_tuned(config, &start.disk, tune).await?;
    let jobs = stage.servers.lines.connect(name);
    ready(stage, name, replica.engine());
    tokio::select! {
        biased;
        () = runtime::shutdown_signal() => {}
        () = jobs.serve(replica.engine()) => {}
    }
    stage.servers.forget(name);
    replica.stop().await;
    Ok(())
}

fn ready(stage: &Stage, name: &str, engine: &Engine) {
    let engines = &stage.servers.engines;
    engines.lock().insert(name.to_owned(), engine.clone());
    let role = stage.servers.role(name);
    stage.recorder.record(name, What::Ready { role });
}
