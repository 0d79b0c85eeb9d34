//! The world of one run: its nodes, their processes, clocks, disks and streams, and the driver of the network.
//!
//! A node is a machine with a name, an address, a clock, a disk and at most one process, the future that its `init`
//! makes at each boot. Node 0 is the scenario itself: it has an address and a perfect clock, and cannot die.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use madsim::plugin::Simulator;
use madsim::runtime::Handle;
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use parking_lot::Mutex;
use rand::RngCore as _;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

use super::entropy::Streams;
use super::network::{Effects, Ending, HostId, Network, Trace};
use super::sites::Sites;
use super::timer::Sleep;
use crate::runtime::disk::Disk;
use crate::runtime::disk::simulated::{DiskEvent, SimDisk};

/// What the process of a node is given when it starts.
#[derive(Clone, Debug)]
pub struct NodeStart {
    /// The node's name, which is also its host name.
    pub name: String,
    /// Its disk, as this process may use it.
    pub disk: Disk,
    /// How often the node has been started before.
    pub restarts: u64,
}

pub(in crate::runtime) struct WorldSim {
    time: TimeHandle,
    network: Mutex<Network>,
    nodes: Mutex<BTreeMap<HostId, Node>>,
    /// The executor's numbers of our nodes.
    ids: Mutex<BTreeMap<NodeId, HostId>>,
    names: Mutex<BTreeMap<String, HostId>>,
    streams: Mutex<Streams>,
    driver: Mutex<Driver>,
    hook: Mutex<Option<Hook>>,
    sites: Mutex<Sites>,
}

pub(super) type Hook = Box<dyn FnMut(&Trace) + Send>;

#[derive(Default)]
struct Driver {
    waker: Option<Waker>,
    /// When the driver will look at the network again.
    armed: Option<Duration>,
}

pub(super) struct Node {
    name: String,
    id: Option<NodeId>,
    pub clock: Clock,
    pub disk: SimDisk,
    pub process: Process,
    pub stop: watch::Sender<bool>,
    pub restarts: u64,
    /// How many streams of each purpose have been handed out.
    drawn: BTreeMap<&'static str, u64>,
    /// What the kernel answers when a library asks it for entropy.
    system: ChaCha8Rng,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Process {
    Running,
    Paused,
    /// Has ended, by itself or by force; the machine is on.
    Ended,
    /// The machine is off.
    Off,
}

/// A clock that may be wrong.
#[derive(Clone, Copy, Default)]
pub(super) struct Clock {
    pub offset_micros: i64,
    pub drift_ppm: i64,
    pub drifts_since: Duration,
}

impl Clock {
    pub fn error_micros(&self, elapsed: Duration) -> i64 {
        let drifting = elapsed.saturating_sub(self.drifts_since).as_micros() as i64;
        self.offset_micros + (drifting as i128 * self.drift_ppm as i128 / 1_000_000) as i64
    }
}

impl Simulator for WorldSim {
    fn new(_rand: &madsim::rand::GlobalRng, time: &TimeHandle, _config: &madsim::Config) -> Self {
        let streams = Streams::new(0);
        WorldSim {
            time: time.clone(),
            network: Mutex::new(Network::new(streams)),
            nodes: Mutex::default(),
            ids: Mutex::default(),
            names: Mutex::default(),
            streams: Mutex::new(streams),
            driver: Mutex::default(),
            hook: Mutex::default(),
            sites: Mutex::default(),
        }
    }
}

/// Whether this code runs in a task of a world, rather than in an ordinary test.
pub(super) fn in_task() -> bool {
    Handle::try_current().is_ok()
}

/// The world this task lives in.
pub(super) fn current() -> Arc<WorldSim> {
    madsim::plugin::simulator::<WorldSim>()
}

/// The host this task runs on.
pub(super) fn current_host() -> HostId {
    current().ids.lock().get(&madsim::plugin::node()).copied().unwrap_or(0)
}

impl WorldSim {
    /// Works on the network, then carries out what came of it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Network) -> T) -> T {
        let (result, effects, due) = {
            let mut network = self.network.lock();
            network.now = self.time.elapsed();
            let result = work(&mut network);
            let tracing = network.effects.tracing;
            let effects = std::mem::replace(
                &mut network.effects,
                Effects {
                    tracing,
                    ..Effects::default()
                },
            );
            (result, effects, network.next_due())
        };
        for event in &effects.trace {
            self.tell(event);
        }
        for waker in effects.wake {
            waker.wake();
        }
        drop(effects.retired);
        let driver = {
            let mut driver = self.driver.lock();
            let sooner = due.is_some_and(|due| driver.armed.is_none_or(|armed| due < armed));
            if sooner { driver.waker.take() } else { None }
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    pub(super) fn tell(&self, event: &Trace) {
        // The hook is out while it runs, so that what it does itself is not told to it.
        let hook = self.hook.lock().take();
        if let Some(mut hook) = hook {
            hook(event);
            self.hook.lock().get_or_insert(hook);
        }
    }

    /// Runs the network's agenda for ever.
    pub(super) async fn drive(self: Arc<Self>) {
        let mut sleep: Option<(Duration, Sleep)> = None;
        poll_fn(|cx: &mut Context<'_>| -> Poll<()> {
            loop {
                *self.driver.lock() = Driver {
                    waker: None,
                    armed: Some(Duration::ZERO),
                };
                let due = self.with(|network| {
                    network.run_due();
                    network.next_due()
                });
                *self.driver.lock() = Driver {
                    waker: Some(cx.waker().clone()),
                    armed: due,
                };
                let Some(due) = due else {
                    sleep = None;
                    return Poll::Pending;
                };
                if sleep.as_ref().is_none_or(|(at, _)| *at != due) {
                    let in_future = due.saturating_sub(self.time.elapsed());
                    sleep = Some((due, Sleep::until(self.time.now_instant() + in_future)));
                }
                let Some((_, timer)) = &mut sleep else { continue };
                match std::pin::Pin::new(timer).poll(cx) {
                    Poll::Ready(()) => sleep = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }

    pub(super) fn wall_micros(&self, host: HostId) -> i64 {
        let since_epoch = self
            .time
            .now_time()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let error = self
            .nodes
            .lock()
            .get(&host)
            .map_or(0, |node| node.clock.error_micros(self.time.elapsed()));
        since_epoch.as_micros() as i64 + error
    }

    pub(super) fn entropy(&self, host: HostId, purpose: &'static str) -> [u8; 32] {
        let streams = *self.streams.lock();
        let mut nodes = self.nodes.lock();
        let node = nodes.get_mut(&host).expect("every task has a node");
        let nth = node.drawn.entry(purpose).or_default();
        *nth += 1;
        streams.key(&node.name, purpose, *nth)
    }

    /// Entropy for libraries that ask the kernel.
    pub(super) fn fill_entropy(&self, bytes: &mut [u8]) {
        let host = running_host(self);
        if let Some(node) = self.nodes.lock().get_mut(&host) {
            node.system.fill_bytes(bytes);
        }
    }

    pub(super) async fn stop_requested(&self, host: HostId) {
        let mut stop = self
            .nodes
            .lock()
            .get(&host)
            .expect("every task has a node")
            .stop
            .subscribe();
        if stop.wait_for(|stop| *stop).await.is_err() {
            // The node was started anew: this task is about to be dropped.
            std::future::pending::<()>().await;
        }
    }

    // What a scenario asks for.

    /// Names the run, before anything happens in it.
    pub(super) fn begin(self: &Arc<Self>, seed: u64) {
        let streams = Streams::new(seed);
        *self.streams.lock() = streams;
        *self.network.lock() = Network::new(streams);
        self.add_node("scenario");
    }

    pub(super) fn streams(&self) -> Streams {
        *self.streams.lock()
    }

    pub(super) fn sites<T>(&self, work: impl FnOnce(&mut Sites) -> T) -> T {
        work(&mut self.sites.lock())
    }

    /// What a site on a host draws from.
    pub(super) fn site_stream(&self, host: HostId, site: &str) -> ChaCha8Rng {
        self.streams()
            .generator(&self.node_name(host), &format!("buggify/{site}"), 0)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.time.elapsed()
    }

    pub(super) fn set_hook(&self, hook: Option<Hook>) {
        self.network.lock().effects.tracing = hook.is_some();
        *self.hook.lock() = hook;
    }

    pub(super) fn add_node(self: &Arc<Self>, name: &str) -> HostId {
        let streams = *self.streams.lock();
        let disk = SimDisk::labelled(name, streams.key(name, "disk", 0));
        let (sim, owner) = (Arc::downgrade(self), Arc::<str>::from(name));
        disk.observe(Box::new(move |event| {
            if let Some(sim) = sim.upgrade() {
                let DiskEvent {
                    kind,
                    path,
                    number,
                    digest,
                } = event;
                let mut detail = format!("path={path} bytes={number}");
                if let Some(digest) = digest {
                    let _ = write!(detail, " {digest:016x}");
                }
                let payload = bytes::Bytes::new();
                sim.tell(&Trace {
                    time: sim.elapsed(),
                    node: owner.clone(),
                    kind,
                    detail,
                    payload,
                });
            }
        }));
        let node = Node {
            name: name.to_owned(),
            id: None,
            clock: Clock::default(),
            disk,
            process: Process::Running,
            stop: watch::channel(false).0,
            restarts: 0,
            drawn: BTreeMap::new(),
            system: streams.generator(name, "operating system", 0),
        };
        let host = self.nodes.lock().len() as HostId;
        self.nodes.lock().insert(host, node);
        let before = self.names.lock().insert(name.to_owned(), host);
        assert!(before.is_none(), "two nodes named {name:?}");
        self.with(|network| network.add_host(host, name));
        host
    }

    /// Notes the executor's number of a node.
    pub(super) fn adopt(&self, host: HostId, id: NodeId) {
        self.ids.lock().insert(id, host);
        self.with_node(host, |node| node.id = Some(id));
    }

    pub(super) fn executor_id(&self, host: HostId) -> NodeId {
        self.with_node(host, |node| node.id)
            .expect("the scenario itself cannot be killed, paused or restarted")
    }

    pub(super) fn host(&self, name: &str) -> Option<HostId> {
        self.names.lock().get(name).copied()
    }

    pub(super) fn node_names(&self) -> Vec<String> {
        self.nodes
            .lock()
            .values()
            .skip(1)
            .map(|node| node.name.clone())
            .collect()
    }

    pub(super) fn node_name(&self, host: HostId) -> String {
        self.nodes
            .lock()
            .get(&host)
            .map(|node| node.name.clone())
            .unwrap_or_default()
    }

    pub(super) fn with_node<T>(&self, host: HostId, work: impl FnOnce(&mut Node) -> T) -> T {
        work(self.nodes.lock().get_mut(&host).expect("nodes are never removed"))
    }

    /// What a process that starts now is given.
    pub(super) fn start(&self, host: HostId) -> NodeStart {
        self.with_node(host, |node| NodeStart {
            name: node.name.clone(),
            disk: node.disk.disk(),
            restarts: node.restarts,
        })
    }

    /// A process is over: its disk handles die before anything of it is dropped.
    pub(super) fn end_process(&self, host: HostId, how: Ending) {
        let (disk, was) = self.with_node(host, |node| {
            let process = if how == Ending::PowerOff {
                Process::Off
            } else {
                Process::Ended
            };
            let was = node.process;
            node.process = if was == Process::Off { Process::Off } else { process };
            (node.disk.clone(), was)
        });
        match (how, was) {
            (_, Process::Off) | (Ending::Kill | Ending::Exit, Process::Ended) => return,
            (Ending::PowerOff, _) => disk.power_off(),
            (Ending::Kill | Ending::Exit, _) => disk.kill(),
        }
        self.with(|network| network.end_process(host, how));
    }
}

/// The host of the running code, or the scenario's when no task runs (while a world is being made).
fn running_host(sim: &WorldSim) -> HostId {
    let id = std::panic::catch_unwind(madsim::plugin::node);
    id.ok().and_then(|id| sim.ids.lock().get(&id).copied()).unwrap_or(0)
}
