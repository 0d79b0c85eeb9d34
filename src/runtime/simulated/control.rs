//! What a scenario does to its world: starts and kills, cuts and heals, sets clocks.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use madsim::runtime::{Handle, Runtime};
use tokio::sync::watch;

use super::network::{Ending, HostId, LinkSettings, NetworkSettings, Trace};
use super::world::{self, Clock, NodeStart, Process, WorldSim};
use super::{SiteCounts, constants, sites};
use crate::runtime::disk::simulated::SimDisk;
use crate::runtime::task::Task;
use crate::runtime::{Constant, Rng, sleep};

/// The handle of a scenario on its world. Clones are the same world. Nodes are called by name, and a name that is not
/// there is a mistake of the scenario: a panic.
#[derive(Clone)]
pub struct World {
    sim: Arc<WorldSim>,
    handle: Handle,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World(seed {})", self.seed())
    }
}

impl World {
    /// Runs a scenario in a new world, in virtual time, and gives its output. Whatever the scenario leaves running is
    /// killed at its end.
    pub fn run<F: Future>(seed: u64, scenario: impl FnOnce(World) -> F) -> F::Output {
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.add_simulator::<WorldSim>();
        runtime.block_on(async move {
            let sim = world::current();
            sim.begin(seed);
            constants::clear();
            sites::clear();
            madsim::task::spawn(sim.clone().drive());
            let world = World {
                sim,
                handle: Handle::current(),
            };
            let output = scenario(world.clone()).await;
            // What is dropped by dying tasks still finds the world it belongs to.
            world.sim.set_hook(None);
            for name in world.node_names() {
                world.resume(&name);
                world.kill(&name);
            }
            sleep(Duration::from_millis(1)).await;
            output
        })
    }

    /// The world of the running task.
    pub fn current() -> World {
        World {
            sim: world::current(),
            handle: Handle::current(),
        }
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.sim.streams().seed()
    }

    /// Virtual time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// A stream of the seed for the scenario itself: its plan, its workload, each client of it. The same name gives the
    /// same stream.
    pub fn stream(&self, name: &str) -> Rng {
        Rng::from_key(self.sim.streams().key("", name, 0))
    }

    /// From now on tells everything that happens to `hook`, in order.
    pub fn on_event(&self, hook: impl FnMut(&Trace) + Send + 'static) {
        self.sim.set_hook(Some(Box::new(hook)));
    }

    /// Adds something to what is told: of a client, of a server's role.
    pub fn event(&self, node: &str, kind: &'static str, detail: impl Into<String>, payload: Bytes) {
        self.sim.tell(&Trace {
            time: self.elapsed(),
            node: node.into(),
            kind,
            detail: detail.into(),
            payload,
        });
    }

    /// Gives this world another value of a constant. Before anything is stored.
    pub fn set_constant(&self, constant: &Constant, value: u32) {
        constants::set(constant, value);
    }

    // Sites: see [`crate::runtime::sites`].

    /// Lets these sites fire from now on, and no others. Names that stand for nothing are ignored.
    pub fn arm_sites(&self, names: &[String]) {
        self.sim.sites(|sites| sites.arm(names));
    }

    /// Gives this run the bug of that name, in a build that has bugs: see `sim/mutants`.
    pub fn set_mutant(&self, name: Option<String>) {
        self.sim.sites(|sites| sites.set_mutant(name));
    }

    /// How often each site has fired, and each fact has happened.
    pub fn site_counts(&self) -> SiteCounts {
        self.sim.sites(|sites| sites.counts())
    }

    // Nodes.

    /// Makes a node and starts it. `process` is called at each start, and what it gives is the process: when that
    /// ends, the process has exited. Everything it spawns belongs to the node.
    pub fn create_node<F>(&self, name: &str, process: impl Fn(NodeStart) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let host = self.sim.add_node(name);
        let (sim, process) = (Arc::downgrade(&self.sim), Arc::new(process));
        let builder = self.handle.create_node().name(name).init(move || {
            let (sim, process) = (sim.upgrade(), process.clone());
            async move {
                let Some(sim) = sim else { return };
                process(sim.start(host)).await;
                sim.end_process(host, Ending::Exit);
            }
        });
        self.sim.adopt(host, builder.build().id());
        self.tell(name, "start", "");
    }

    /// The names of all nodes, in order of creation, without the scenario's own.
    pub fn node_names(&self) -> Vec<String> {
        self.sim.node_names()
    }

    /// Runs something on a node, beside its process and dying with it.
    pub fn spawn_on<F>(&self, name: &str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let node = self
            .handle
            .get_node(self.sim.executor_id(self.host(name)))
            .expect("nodes are never removed");
        Task::of("on node", node.spawn(future))
    }

    /// Kills the process as SIGKILL does: its disk handles are dead first, then its connections are reset, then its
    /// tasks are dropped. Nothing that was written is lost.
    pub fn kill(&self, name: &str) {
        self.stop_by_force(name, "kill", Ending::Kill);
    }

    /// Takes the power away: as a kill, but what was not synced is at the mercy of the disk, and peers learn nothing.
    pub fn power_off(&self, name: &str) {
        self.stop_by_force(name, "power off", Ending::PowerOff);
    }

    /// The machine loses power and its disk with all that was on it; the next process finds an empty one.
    pub fn wipe(&self, name: &str) {
        self.power_off(name);
        self.tell(name, "wipe", "");
        self.disk(name).wipe();
    }

    fn stop_by_force(&self, name: &str, kind: &'static str, how: Ending) {
        let host = self.host(name);
        let running = self
            .sim
            .with_node(host, |node| matches!(node.process, Process::Running | Process::Paused));
        self.tell(name, kind, "");
        self.sim.end_process(host, how);
        if running {
            self.handle.kill(self.sim.executor_id(host));
        }
    }

    /// Switches the machine on, if it was off, and starts the process anew on the same disk. A process that runs is
    /// killed first.
    pub fn restart(&self, name: &str) {
        if self.is_running(name) {
            self.kill(name);
        }
        let host = self.host(name);
        self.tell(name, "restart", "");
        self.sim.with_node(host, |node| {
            node.process = Process::Running;
            node.restarts += 1;
            node.stop = watch::channel(false).0;
        });
        self.sim.with(|network| network.power_on(host));
        self.handle.restart(self.sim.executor_id(host));
    }

    /// Whether the node has a process, be it paused.
    pub fn is_running(&self, name: &str) -> bool {
        self.sim.with_node(self.host(name), |node| {
            matches!(node.process, Process::Running | Process::Paused)
        })
    }

    /// Stops the process in its tracks, as SIGSTOP does. Its kernel goes on: connections are accepted and bytes queue.
    pub fn pause(&self, name: &str) {
        let host = self.host(name);
        if self.sim.with_node(host, |node| node.process == Process::Running) {
            self.tell(name, "pause", "");
            self.sim.with_node(host, |node| node.process = Process::Paused);
            self.handle.pause(self.sim.executor_id(host));
        }
    }

    /// Lets a paused process go on.
    pub fn resume(&self, name: &str) {
        let host = self.host(name);
        if self.sim.with_node(host, |node| node.process == Process::Paused) {
            self.tell(name, "resume", "");
            self.sim.with_node(host, |node| node.process = Process::Running);
            self.handle.resume(self.sim.executor_id(host));
        }
    }

    /// Asks the process to stop: [`crate::runtime::shutdown_signal`] completes.
    pub fn request_stop(&self, name: &str) {
        self.tell(name, "stop requested", "");
        self.sim.with_node(self.host(name), |node| node.stop.send_replace(true));
    }

    /// The disk of a node, to hurt it or to look at it.
    pub fn disk(&self, name: &str) -> SimDisk {
        self.sim.with_node(self.host(name), |node| node.disk.clone())
    }

    // Clocks.

    /// Sets how far the wall clock of a node is ahead of the world's, and by how many parts in a million it runs fast.
    pub fn set_clock(&self, name: &str, ahead_micros: i64, drift_ppm: i64) {
        self.tell(name, "clock", &format!("ahead={ahead_micros}us drift={drift_ppm}ppm"));
        let clock = Clock {
            offset_micros: ahead_micros,
            drift_ppm,
            drifts_since: self.elapsed(),
        };
        self.sim.with_node(self.host(name), |node| node.clock = clock);
    }

    /// Moves the wall clock of a node.
    pub fn jump_clock(&self, name: &str, by_micros: i64) {
        self.tell(name, "clock", &format!("jump={by_micros}us"));
        self.sim
            .with_node(self.host(name), |node| node.clock.offset_micros += by_micros);
    }

    /// How fast the wall clock of a node runs from now on; what it shows now it shows on.
    pub fn set_drift(&self, name: &str, drift_ppm: i64) {
        let now = self.elapsed();
        let ahead = self.sim.with_node(self.host(name), |node| node.clock.error_micros(now));
        self.set_clock(name, ahead, drift_ppm);
    }

    // Network.

    /// What all hosts have in common, from now on.
    pub fn set_network(&self, settings: NetworkSettings) {
        self.sim.with(|network| network.configure(settings));
    }

    /// How every link behaves from now on, those between a host and itself aside.
    pub fn set_links(&self, settings: LinkSettings) {
        self.sim.with(|network| network.set_default_link(settings));
    }

    /// How the way from one node to another behaves from now on.
    pub fn set_link(&self, from: &str, to: &str, settings: LinkSettings) {
        let (from, to) = (self.host(from), self.host(to));
        self.sim.with(|network| network.set_link(from, to, settings));
    }

    /// Nothing passes from one node to another, until healed. What is on the way is lost.
    pub fn cut(&self, from: &str, to: &str) {
        self.set_cut(from, to, true);
    }

    /// Undoes a cut. Kernels go on by themselves, at their next retry.
    pub fn heal(&self, from: &str, to: &str) {
        self.set_cut(from, to, false);
    }

    fn set_cut(&self, from: &str, to: &str, cut: bool) {
        let (from, to) = (self.host(from), self.host(to));
        assert_ne!(from, to, "a host always reaches itself");
        self.sim.with(|network| network.set_cut(from, to, cut));
    }

    /// Whether the way from one node to another is cut.
    pub fn is_cut(&self, from: &str, to: &str) -> bool {
        let (from, to) = (self.host(from), self.host(to));
        self.sim.with(|network| network.is_cut(from, to))
    }

    /// Undoes all cuts.
    pub fn heal_all(&self) {
        self.sim.with(|network| network.heal_all());
    }

    /// Nothing leaves from one node to another for so long; it waits, and comes all at once.
    pub fn clog(&self, from: &str, to: &str, lasts: Duration) {
        let (from, to, until) = (self.host(from), self.host(to), self.elapsed() + lasts);
        self.sim.with(|network| network.clog(from, to, until));
    }

    /// Ends all clogs for what is yet to be sent.
    pub fn unclog_all(&self) {
        self.sim.with(|network| network.unclog_all());
    }

    /// Ends every connection between two nodes. `noticed`: whether the first and the second learn of it at once; who does
    /// not is told when it next sends something, and when neither does, what they send vanishes.
    pub fn drop_connections(&self, first: &str, second: &str, noticed: [bool; 2]) {
        let (first, second) = (self.host(first), self.host(second));
        self.sim
            .with(|network| network.drop_connections(first, second, noticed));
    }

    /// Gives a node another address: what was connected hangs, and for `lag` its name leads nowhere.
    pub fn move_address(&self, name: &str, lag: Duration) {
        let host = self.host(name);
        self.sim.with(|network| network.move_host(host, lag));
    }

    /// How many ends of connections the process of a node holds whose other end is still there.
    pub fn connections(&self, name: &str) -> usize {
        let host = self.host(name);
        self.sim.with(|network| network.held_by(host))
    }

    /// Another name for a node, in place of what had that name.
    pub fn alias(&self, alias: &str, node: &str) {
        let host = self.host(node);
        self.sim.with(|network| network.alias(alias, host));
    }

    /// The address of a node.
    pub fn address(&self, name: &str) -> IpAddr {
        let host = self.host(name);
        self.sim.with(|network| network.address(host))
    }

    fn host(&self, name: &str) -> HostId {
        self.sim
            .host(name)
            .unwrap_or_else(|| panic!("there is no node {name:?}: {:?}", self.node_names()))
    }

    fn tell(&self, node: &str, kind: &'static str, detail: &str) {
        self.event(node, kind, detail, Bytes::new());
    }
}
