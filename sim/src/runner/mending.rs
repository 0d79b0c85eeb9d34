//! The operator who makes damaged disks whole: stops the server, checks every byte of its folder, has what is wrong made
//! again from a peer that runs, as `understudy fsck --repair-from` does, and starts it. What no peer has cannot be made
//! again; a server that was set up as a standby then gets an empty disk, and its primary fills it.
//!
//! The process of the server does the repair, before it serves: it works on that disk, from that address.
//!
//! Must not know: what damaged the disk, how.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use understudy::config::Config;
use understudy::engine::{CheckedStore, repair_from_others};
use understudy::replication::cluster::RepairPeer;
use understudy::runtime;
use understudy::runtime::disk::Disk;
use understudy::server::check_data_folder;

use super::servers::CLUSTER_PORT;
use super::{Stage, faults};
use crate::history::{Level, What};
use crate::scenario::cluster::Role;
use crate::scenario::disk;

/// How long a server may take to be repaired and started.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// Between a repair and what comes next, another peer or the start of the server: the operator's hands.
const NEXT_COMMAND: Duration = Duration::from_secs(1);

/// What is to be done to folders before their servers start, and what came of it.
#[derive(Clone, Default)]
pub struct Repairs(Arc<Mutex<BTreeMap<String, Repair>>>);

enum Repair {
    /// Peers to ask, in this order.
    Wanted(Vec<String>),
    Done(Result<(), String>),
    /// So many faults of the disk are over: those of a disk that is whole.
    Over(usize),
}

impl Repairs {
    /// Does what is wanted of a server that is about to start.
    pub async fn carry_out(&self, name: &str, config: &Config, disk: &Disk) {
        let peers = match self.0.lock().get(name) {
            Some(Repair::Wanted(peers)) => peers.clone(),
            _ => return,
        };
        let done = repair_folder(config, disk, &peers).await;
        self.set(name, Repair::Done(done));
        runtime::sleep(NEXT_COMMAND).await;
    }

    fn set(&self, name: &str, repair: Repair) {
        self.0.lock().insert(name.to_owned(), repair);
    }

    fn outcome(&self, name: &str) -> Option<Result<(), String>> {
        match self.0.lock().get(name) {
            Some(Repair::Done(outcome)) => Some(outcome.clone()),
            _ => None,
        }
    }

    fn over(&self, name: &str) -> usize {
        match self.0.lock().get(name) {
            Some(Repair::Over(faults)) => *faults,
            _ => 0,
        }
    }
}

/// Whether a disk was damaged and is not known to be whole again.
pub fn is_damaged(stage: &Stage, server: &str) -> bool {
    let over = stage.servers.repairs().over(server);
    let injected = stage.world.disk(server).injected();
    injected
        .into_iter()
        .skip(over)
        .any(|fault| disk::is_lasting(fault.kind))
}

/// Mends all disks that are damaged, one after the other.
pub async fn mend_all(stage: &Stage) {
    for server in &stage.plan.servers {
        let (name, Some(member)) = (&server.name, &server.member) else {
            continue;
        };
        if !is_damaged(stage, name) {
            continue;
        }
        stage
            .servers
            .repairs()
            .set(name, Repair::Wanted(member.standbys.clone()));
        faults::restart(stage, name);
        let outcome = runtime::timeout(PATIENCE, async {
            loop {
                match stage.servers.repairs().outcome(name) {
                    Some(outcome) => return outcome,
                    None => runtime::sleep(LOOK).await,
                }
            }
        });
        let outcome = outcome.await.unwrap_or_else(|_| Err("takes too long".to_owned()));
        let story = match &outcome {
            Ok(()) => "made whole".to_owned(),
            Err(error) => format!("not repaired: {error}"),
        };
        stage
            .recorder
            .detail("operator", "mended", format_args!("{name}: {story}"));
        if outcome.is_err() {
            if member.role != Role::Standby {
                let level = Level::Error;
                let message = "a damaged disk was not repaired".to_owned();
                stage.recorder.record(
                    name,
                    What::Log {
                        level,
                        message,
                        fields: story,
                    },
                );
                continue;
            }
            faults::wipe(stage, name);
            faults::restart(stage, name);
        }
        let faults = stage.world.disk(name).injected().len();
        stage.servers.repairs().set(name, Repair::Over(faults));
        stage.recorder.record(name, What::Mended);
    }
}

async fn repair_folder(config: &Config, disk: &Disk, peers: &[String]) -> Result<(), String> {
    let mut told = Vec::new();
    for peer in peers {
        let checked = check_data_folder(disk, &mut |_, _, _| {}).map_err(|error| error.to_string())?;
        if let Some(problem) = checked.problems.first() {
            return Err(format!("{}: {}", problem.place, problem.detail));
        }
        if checked.is_sound() {
            return Ok(());
        }
        let damaged = checked.stores.iter().filter(|store| !store.is_sound());
        if let Err(error) = repair_from(config, disk, damaged, peer).await {
            told.push(format!("{peer}: {error}"));
        }
        runtime::sleep(NEXT_COMMAND).await;
    }
    let checked = check_data_folder(disk, &mut |_, _, _| {}).map_err(|error| error.to_string())?;
    match checked.is_sound() {
        true => Ok(()),
        false => Err(told.join("; ")),
    }
}

async fn repair_from(
    config: &Config,
    disk: &Disk,
    damaged: impl Iterator<Item = &CheckedStore>,
    peer: &str,
) -> Result<(), String> {
    let Some(cluster) = &config.cluster else {
        return Err("there are no peers".to_owned());
    };
    let url = format!("http://{peer}:{CLUSTER_PORT}");
    let mut peer = RepairPeer::open(cluster, disk, &url)
        .await
        .map_err(|error| error.to_string())?;
    let mut told = Vec::new();
    for store in damaged {
        if let Err(error) = repair_from_others(disk, store, &mut peer, &mut |_| {}).await {
            told.push(format!("{}: {error}", store.path));
        }
    }
    match told.is_empty() {
        true => Ok(()),
        false => Err(told.join("; ")),
    }
}
