//! What a plan does to its world. One arm per action; the words are read in `scenario/step.rs` and `scenario/fault.rs`.
//!
//! Cuts and slow links can overlap: each has a number, a way is cut as long as one of them says so, and `heal` ends all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use understudy::runtime;

use super::{Stage, mending, middlebox, operator, settings};
use crate::draw;
use crate::history::{VANISHED, WIPED, What};
use crate::plan::Link;
use crate::scenario::disk;
use crate::scenario::fault::{Fault, Lasts, LinkChange};
use crate::scenario::sides::{Sides, ring_ways, ways};
use crate::scenario::step::{Action, Direction, Restart};
use crate::units::Micros;

/// A link that flaps changes within these times.
const FLAP_MIN: Micros = 10_000;
const FLAP_MAX: Micros = 2_000_000;
/// A server that is stalled gets its share of each such time.
const STALL_PERIOD: Micros = 100_000;
/// Clients that vanished without a word come back after this.
const CLIENT_RETURNS: Duration = Duration::from_secs(3);
/// Reached when quiet is declared, under a name that no scenario can use.
pub const QUIET: &str = "quiet/declared";

type Way = (String, String);

/// What is wrong at the moment and can be undone.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    cuts: BTreeMap<u64, Vec<Way>>,
    slow: BTreeMap<u64, (Vec<Way>, LinkChange)>,
    /// Servers before which a middlebox stands.
    duplicated: BTreeSet<String>,
    /// Servers that were stopped for good, whatever a stall does.
    paused: BTreeSet<String>,
    /// Servers that are stalled, and until when that counts.
    stalled: BTreeMap<String, u64>,
    /// Servers whose clocks are not what the plan says.
    clocks: BTreeSet<String>,
    /// Operations of the operator that are under way.
    operating: u32,
}

impl Faults {
    pub fn operator_begins(&self) {
        self.0.lock().operating += 1;
    }

    pub fn operator_ends(&self) {
        self.0.lock().operating -= 1;
    }

    pub fn is_operating(&self) -> bool {
        self.0.lock().operating > 0
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Carries out an action that is a fault or the end of one. SQL is the operator's, in `steps.rs`. `label` names the
/// random stream of what goes on by itself.
pub async fn carry_out(stage: &Stage, label: &str, action: &Action) {
    let world = &stage.world;
    match action {
        Action::Nothing | Action::Sql { .. } => {}
        Action::Partition {
            sides,
            direction,
            lasts,
        } => {
            let ways = ways_of(stage, sides, direction);
            if *direction == Direction::Flapping {
                flap(stage, label, ways, lasts);
            } else {
                cut(stage, ways, lasts);
            }
        }
        Action::Heal => heal(stage),
        Action::Kill(name) => down(stage, name, "killed", |name| world.kill(name)),
        Action::PowerOff(name) => power_off(stage, name),
        Action::Pause(name) => {
            stage.faults.0.lock().paused.insert(name.clone());
            world.pause(name);
        }
        Action::Resume(name) => {
            stage.faults.0.lock().paused.remove(name);
            world.resume(name);
        }
        Action::Restart(Restart::Server(name)) => restart(stage, name),
        Action::Restart(Restart::Down) => restart_all_down(stage),
        Action::Disk { server, settings, .. } => settings.apply(&world.disk(server)),
        // The disk tells where, as it tells of every fault.
        Action::Rot(name) => drop(world.disk(name).rot()),
        Action::Fault(fault) => strike(stage, label, fault).await,
        Action::Quiet => quiet(stage),
    }
}

async fn strike(stage: &Stage, label: &str, fault: &Fault) {
    let world = &stage.world;
    match fault {
        Fault::Ring { lasts } => {
            let servers: Vec<String> = stage.plan.servers.iter().map(|server| server.name.clone()).collect();
            cut(stage, ring_ways(&servers), lasts);
        }
        Fault::Swizzle { cut: order, heal, each } => swizzle(stage, order, heal, each.settled()),
        Fault::Slow {
            sides,
            direction,
            change,
            lasts,
        } => slow(stage, ways_of(stage, sides, direction), change, lasts),
        Fault::Clog {
            sides,
            direction,
            lasts,
        } => {
            for (from, to) in ways_of(stage, sides, direction) {
                world.clog(&from, &to, Duration::from_micros(lasts.settled()));
            }
        }
        Fault::DropConnections { between, noticed } => {
            world.drop_connections(&between.0, &between.1, noticed.sides());
        }
        Fault::DropClients { workloads, silent } => drop_clients(stage, workloads, *silent),
        Fault::Duplicate { server, lasts } => {
            stage.faults.0.lock().duplicated.insert(server.clone());
            middlebox::put_before(stage, server);
            // Whoever is connected connects again, through it.
            for other in stage.plan.servers.iter().filter(|other| other.name != *server) {
                world.drop_connections(&other.name, server, [true, true]);
            }
            let server = server.clone();
            later(stage, lasts, move |stage| {
                if stage.faults.0.lock().duplicated.remove(&server) {
                    middlebox::remove(stage, &server);
                }
            });
        }
        Fault::Move { server, lag } => world.move_address(server, Duration::from_micros(lag.settled())),
        Fault::Stall { server, share, lasts } => stall(stage, server, share.settled(), lasts.settled()),
        Fault::Reconfigure { server, standbys } => {
            stage.servers.reconfigure(server, standbys.clone());
            take_configuration(stage, server);
        }
        Fault::Wipe(name) => wipe(stage, name),
        Fault::Clock {
            server,
            offset,
            jump,
            drift,
        } => {
            stage.faults.0.lock().clocks.insert(server.clone());
            if let Some(drift) = drift {
                world.set_drift(server, drift.settled());
            }
            if let Some(offset) = offset {
                let ppm = drift
                    .as_ref()
                    .map_or_else(|| drift_of(stage, server), draw::Draw::settled);
                world.set_clock(server, offset.settled(), ppm);
            }
            if let Some(jump) = jump {
                world.jump_clock(server, jump.settled());
            }
        }
        Fault::Operator(operation) => operator::operate(stage, label, operation).await,
        Fault::Repair => operator::repair(stage, label).await,
        Fault::Mend => mending::mend_all(stage).await,
    }
}

fn drift_of(stage: &Stage, server: &str) -> i64 {
    let planned = stage.plan.servers.iter().find(|planned| planned.name == server);
    planned.map_or(0, |planned| planned.clock_drift_ppm)
}

fn ways_of(stage: &Stage, sides: &Sides, direction: &Direction) -> Vec<Way> {
    let direction = match direction {
        // Sides name workloads; a direction names servers, which are nodes as they are.
        Direction::OneWay { from, to } => Direction::OneWay {
            from: from.clone(),
            to: to.clone(),
        },
        other => other.clone(),
    };
    ways(sides, &direction, |side| stage.plan.nodes_of(side))
}

fn record_down(stage: &Stage, name: &str, how: &str) {
    stage.recorder.record(name, What::Down { how: how.to_owned() });
}

fn down(stage: &Stage, name: &str, how: &str, strike: impl FnOnce(&str)) {
    if stage.world.is_running(name) {
        stage.servers.forget(name);
        strike(name);
        record_down(stage, name, how);
    }
}

pub fn power_off(stage: &Stage, name: &str) {
    down(stage, name, "without power", |name| stage.world.power_off(name));
}

pub fn wipe(stage: &Stage, name: &str) {
    stage.servers.forget(name);
    stage.world.wipe(name);
    record_down(stage, name, WIPED);
}

pub fn restart(stage: &Stage, name: &str) {
    down(stage, name, "killed", |name| stage.world.kill(name));
    stage.world.restart(name);
}

fn restart_all_down(stage: &Stage) {
    for server in &stage.plan.servers {
        if !stage.world.is_running(&server.name) {
            stage.world.restart(&server.name);
        }
    }
}

/// A configuration is read at a start.
fn take_configuration(stage: &Stage, server: &str) {
    if stage.world.is_running(server) {
        down(stage, server, "killed, for another configuration", |name| {
            stage.world.kill(name)
        });
        restart(stage, server);
    }
}

/// Ends every fault, and what the server does at its sites: some are slow, and what follows is about time. Whoever takes no
/// writes since a sync failed, or could not open a database of a disk that is right, is restarted, as its log asks for.
pub fn quiet(stage: &Stage) {
    stage.world.arm_sites(&[]);
    let clocks = {
        let mut state = stage.faults.0.lock();
        state.paused.clear();
        state.stalled.clear();
        let jumping = stage.plan.servers.iter().filter(|server| server.clock_jump.is_some());
        state.clocks.extend(jumping.map(|server| server.name.clone()));
        std::mem::take(&mut state.clocks)
    };
    for server in &stage.plan.servers {
        stage.world.resume(&server.name);
        let disk = stage.world.disk(&server.name);
        disk::calm(&disk);
        server.disk.apply_latency(&disk);
        if clocks.contains(&server.name) {
            stage
                .world
                .set_clock(&server.name, server.clock_offset, server.clock_drift_ppm);
        }
    }
    heal(stage);
    for server in stage.servers.configure_as_planned(&stage.plan) {
        take_configuration(stage, &server);
    }
    restart_all_down(stage);
    for server in &stage.plan.servers {
        let lost_a_sync = stage.servers.lost_a_sync(&server.name, &stage.world.disk(&server.name));
        // What was misread at the start is right when it is read again; damage stays until it is mended.
        let misread = stage.servers.lacks_a_database(&server.name) && !mending::is_damaged(stage, &server.name);
        if lost_a_sync || misread {
            restart(stage, &server.name);
        }
    }
    for client in stage.plan.workload.iter().flat_map(|workload| workload.client_names()) {
        return_client(stage, &client);
    }
    stage.recorder.record("operator", What::Quiet);
    stage.marks.reach(QUIET);
}

/// Links are whole and as the plan says.
fn heal(stage: &Stage) {
    let (slowed, duplicated) = {
        let mut state = stage.faults.0.lock();
        state.cuts.clear();
        (std::mem::take(&mut state.slow), std::mem::take(&mut state.duplicated))
    };
    stage.world.heal_all();
    stage.world.unclog_all();
    let slowed: BTreeSet<Way> = slowed.into_values().flat_map(|(ways, _)| ways).collect();
    for way in &slowed {
        set_link(stage, way);
    }
    for server in duplicated {
        middlebox::remove(stage, &server);
    }
}

/// Runs `end` when its time has come.
fn later(stage: &Stage, lasts: &Lasts, end: impl FnOnce(&Stage) + Send + 'static) {
    let Some(lasts) = lasts else { return };
    let (stage, lasts) = (stage.clone(), Duration::from_micros(lasts.settled()));
    // Detached on purpose: it ends with its deed done, or with the world.
    drop(runtime::spawn("end of a fault", async move {
        runtime::sleep(lasts).await;
        end(&stage);
    }));
}

fn cut(stage: &Stage, ways: Vec<Way>, lasts: &Lasts) -> u64 {
    for (from, to) in &ways {
        stage.world.cut(from, to);
    }
    let number = {
        let mut state = stage.faults.0.lock();
        let number = state.number();
        state.cuts.insert(number, ways);
        number
    };
    later(stage, lasts, move |stage| mend(stage, number));
    number
}

/// Ends one cut; ways that another still cuts stay so.
fn mend(stage: &Stage, number: u64) {
    let open: Vec<Way> = {
        let mut state = stage.faults.0.lock();
        let ways = state.cuts.remove(&number).unwrap_or_default();
        let still: BTreeSet<&Way> = state.cuts.values().flatten().collect();
        ways.into_iter().filter(|way| !still.contains(way)).collect()
    };
    for (from, to) in open {
        stage.world.heal(&from, &to);
    }
}

/// Cuts and mends again and again, until healed or its time is over.
fn flap(stage: &Stage, label: &str, ways: Vec<Way>, lasts: &Lasts) {
    let mut rng = draw::stream(stage.plan.seed, &format!("flap/{label}"));
    let mut number = cut(stage, ways.clone(), &None);
    let end = lasts
        .as_ref()
        .map(|lasts| stage.world.elapsed() + Duration::from_micros(lasts.settled()));
    let stage = stage.clone();
    drop(runtime::spawn("flapping link", async move {
        loop {
            runtime::sleep(Duration::from_micros(rng.random_range(FLAP_MIN..FLAP_MAX))).await;
            // Healed by somebody else.
            if !stage.faults.0.lock().cuts.contains_key(&number) {
                return;
            }
            mend(&stage, number);
            if end.is_some_and(|end| stage.world.elapsed() >= end) {
                return;
            }
            // An empty cut stands for the time in between, so that healing ends it as well.
            number = cut(&stage, Vec::new(), &None);
            runtime::sleep(Duration::from_micros(rng.random_range(FLAP_MIN..FLAP_MAX))).await;
            if stage.faults.0.lock().cuts.remove(&number).is_none() {
                return;
            }
            number = cut(&stage, ways.clone(), &None);
        }
    }));
}

fn swizzle(stage: &Stage, order: &[String], back: &[String], each: Micros) {
    let (stage, order, back) = (stage.clone(), order.to_vec(), back.to_vec());
    let pause = Duration::from_micros(each);
    drop(runtime::spawn("swizzle", async move {
        let clients = stage.plan.workload.iter().flat_map(|workload| workload.client_names());
        let servers = stage.plan.servers.iter().map(|server| server.name.clone());
        let everybody: Vec<String> = servers.chain(clients).collect();
        let mut numbers = BTreeMap::new();
        for server in order {
            // Healed by somebody else, or over.
            let healed = numbers
                .values()
                .any(|number| !stage.faults.0.lock().cuts.contains_key(number));
            if healed || stage.marks.is_reached(QUIET) {
                return;
            }
            let others: Vec<String> = everybody.iter().filter(|name| **name != server).cloned().collect();
            let sides = vec![vec![server.clone()], others];
            let number = cut(&stage, ways(&sides, &Direction::Both, <[String]>::to_vec), &None);
            numbers.insert(server, number);
            runtime::sleep(pause).await;
        }
        for server in back {
            if let Some(number) = numbers.get(&server) {
                mend(&stage, *number);
            }
            runtime::sleep(pause).await;
        }
    }));
}

fn slow(stage: &Stage, ways: Vec<Way>, change: &LinkChange, lasts: &Lasts) {
    let number = {
        let mut state = stage.faults.0.lock();
        let number = state.number();
        state.slow.insert(number, (ways.clone(), change.clone()));
        number
    };
    ways.iter().for_each(|way| set_link(stage, way));
    later(stage, lasts, move |stage| {
        let ended = stage.faults.0.lock().slow.remove(&number);
        let ways = ended.map(|(ways, _)| ways).unwrap_or_default();
        ways.iter().for_each(|way| set_link(stage, way));
    });
}

/// A link as the plan has it, changed by all that slows it, the newest last.
fn set_link(stage: &Stage, way: &Way) {
    let mut link: Link = stage.plan.links.get(way).copied().unwrap_or(stage.plan.client_link);
    for (ways, change) in stage.faults.0.lock().slow.values() {
        if ways.contains(way) {
            change.apply(&mut link);
        }
    }
    stage.world.set_link(&way.0, &way.1, settings(&link));
}

impl LinkChange {
    fn apply(&self, link: &mut Link) {
        if let Some(latency) = &self.latency {
            link.latency = latency.settled();
        }
        if let Some(jitter) = &self.jitter {
            link.jitter = jitter.settled();
        }
        if let Some(loss) = &self.loss_ppm {
            link.loss_ppm = loss.settled();
        }
        if let Some(bandwidth) = &self.bandwidth {
            link.bandwidth = Some(bandwidth.settled());
        }
    }
}

fn stall(stage: &Stage, server: &str, share: u32, lasts: Micros) {
    let number = {
        let mut state = stage.faults.0.lock();
        let number = state.number();
        state.stalled.insert(server.to_owned(), number);
        number
    };
    let stopped = STALL_PERIOD * u64::from(share) / 1_000_000;
    let end = stage.world.elapsed() + Duration::from_micros(lasts);
    let (stage, server) = (stage.clone(), server.to_owned());
    drop(runtime::spawn("stall", async move {
        let mine = |stage: &Stage| stage.faults.0.lock().stalled.get(&server) == Some(&number);
        while mine(&stage) && stage.world.elapsed() < end {
            stage.world.pause(&server);
            runtime::sleep(Duration::from_micros(stopped)).await;
            if !stage.faults.0.lock().paused.contains(&server) {
                stage.world.resume(&server);
            }
            runtime::sleep(Duration::from_micros(STALL_PERIOD - stopped)).await;
        }
    }));
}

fn drop_clients(stage: &Stage, workloads: &[String], silent: bool) {
    let meant = stage
        .plan
        .workload
        .iter()
        .filter(|workload| workloads.contains(&workload.spec.name));
    for client in meant.flat_map(|workload| workload.client_names()) {
        if !stage.world.is_running(&client) {
            continue;
        }
        if silent {
            stage.world.power_off(&client);
        } else {
            stage.world.kill(&client);
        }
        stage.recorder.record(
            &client,
            What::Disconnected {
                server: "everybody".to_owned(),
                why: VANISHED.to_owned(),
            },
        );
        if silent {
            let stage = stage.clone();
            drop(runtime::spawn("client returns", async move {
                runtime::sleep(CLIENT_RETURNS).await;
                return_client(&stage, &client);
            }));
        } else {
            return_client(stage, &client);
        }
    }
}

/// Starts a client that is gone before its time.
fn return_client(stage: &Stage, client: &str) {
    if !stage.world.is_running(client) && !stage.marks.is_reached(&format!("client/{client}")) {
        stage.world.restart(client);
    }
}
