//! The runner: carries a plan out in a simulated world, and comes back with a report.
//!
//! One world per process. The operator, who carries out the steps, is the world's own node; every server and every
//! client is a node with an address of its own, so that a partition can put each of them on either side.
//!
//! Order of a run: links, servers, tables, clients and steps, the end of the steps, the end of the clients, quiet, then
//! the questions whose answers the checks want: does it write again, are the roots equal, what does everybody hold.
//!
//! Must not know: what checks do with it; what workloads say.

mod end;
mod faults;
mod marks;
mod mending;
mod middlebox;
mod observer;
mod operator;
mod servers;
mod steps;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use understudy::prolly::NODE_SCALE_BITS;
use understudy::runtime;
use understudy::runtime::disk::simulated::FaultKind;
use understudy::runtime::simulated::{LinkSettings, NetworkSettings, OVERFLOW, SiteCounts, World};

use crate::check::{self, Violation};
use crate::history::{FinalState, What};
use crate::plan::{Link, Plan};
use crate::process::{Stopwatch, remember};
use crate::record::Recorder;
use crate::report::Report;
use crate::scenario::disk::is_lasting;
use crate::trace::Trace;
use crate::units::{Micros, micros_of};
use crate::workload::client::{Client, Directory};
use crate::workload::{Moment, Workload};
use faults::Faults;
use marks::Marks;
use observer::NodeNames;
use servers::Servers;

/// How long clients wait for their tables before they are let loose without; the tables are tried for on.
const SETUP_LIMIT: Duration = Duration::from_secs(10);
const SETUP_PAUSE: Duration = Duration::from_millis(100);
/// An operation that is on its way when its workload ends has this long to return.
const LAST_OPERATION: Duration = Duration::from_secs(40);

/// What the world calls a `sometimes!` of the server.
const SOMETIMES: &str = "sometimes";

/// What everything in a run works with.
#[derive(Clone)]
pub struct Stage {
    pub plan: Arc<Plan>,
    pub world: World,
    pub recorder: Recorder,
    pub names: NodeNames,
    pub servers: Servers,
    pub directory: Arc<Directory>,
    pub marks: Marks,
    pub faults: Faults,
}

/// Why the plan did not get to its end.
pub enum Trouble {
    /// A step's statement answered otherwise than the plan says, or a condition came too late.
    Broken(Violation),
    Stuck(String),
    /// Its simulated time is over; what it was waiting for.
    TimeIsUp(String),
}

/// Carries out `plan`. An error is a refusal to run at all. `begin_thread` does what no run may, to show that it ends it.
pub fn run(plan: &Plan, trace: Trace, begin_thread: bool) -> Result<Report, String> {
    let watch = Stopwatch::start();
    let names = NodeNames::default();
    let recorder = Recorder::new(
        virtual_time,
        trace,
        check::monitors(&plan.always, plan.slowest_sync()),
        remember,
    );
    observer::install(names.clone(), recorder.clone())?;
    observer::record_panics(names.clone(), recorder.clone());
    // The parser asks how much stack is left, which makes libc look for it by a call that the executor forbids; the
    // answer is remembered per thread, so it is asked for before there is a world.
    let _ = stacker::remaining_stack();
    let plan = Arc::new(plan.clone());
    let outcome = {
        let (plan, recorder) = (Arc::clone(&plan), recorder.clone());
        catch_unwind(AssertUnwindSafe(|| {
            World::run(plan.seed, |world| async move {
                world.arm_sites(&plan.buggify);
                world.set_mutant(plan.mutant.clone());
                if let Some(bytes) = plan.nodes {
                    world.set_constant(&NODE_SCALE_BITS, bytes.ilog2());
                }
                listen(&world, &recorder);
                if begin_thread {
                    #[expect(clippy::disallowed_methods, reason = "shows that it is refused")]
                    drop(std::thread::spawn(|| {}));
                }
                let ended = if plan.storage.is_some() {
                    storage::play(plan, world.clone(), recorder, names).await
                } else {
                    play(plan, world.clone(), recorder, names).await
                };
                (ended, world.site_counts())
            })
        }))
    };
    let ((mut end, trouble), counts) = match outcome {
        Ok(outcome) => outcome,
        // The panic itself is an event.
        Err(_) => (
            (FinalState::default(), Some(panicked(&recorder))),
            SiteCounts::default(),
        ),
    };
    end.memory_peak = crate::process::memory_peak();
    let (history, mut trace, broken) = recorder.finish(end);
    trace.finish().map_err(|error| format!("writing the trace: {error}"))?;
    let time_is_up = broken.is_none() && matches!(trouble, Some(Trouble::TimeIsUp(_)));
    let (broken, stuck) = match (broken, trouble) {
        (Some(violation), _) | (None, Some(Trouble::Broken(violation))) => (Some(violation), None),
        (None, Some(Trouble::Stuck(why))) => (None, Some(why)),
        (None, Some(Trouble::TimeIsUp(waiting))) => (None, Some(format!("the time limit has passed; {waiting}"))),
        (None, None) => (None, None),
    };
    let by_name = |counts: BTreeMap<&str, u64>| {
        counts
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    };
    Ok(Report {
        time_is_up,
        fired: by_name(counts.fired),
        facts: by_name(counts.happened),
        longest: counts
            .longest
            .into_iter()
            .map(|(queue, measure)| (queue.to_owned(), measure))
            .collect(),
        ..Report::new(&plan, &history, &trace, broken, stuck, micros_of(watch.elapsed()))
    })
}

fn panicked(recorder: &Recorder) -> Trouble {
    let (node, message) = recorder.look(|history| {
        let panic = history.events.iter().rev().find_map(|event| match &event.what {
            What::Panic { message } => Some((event.node.clone(), message.clone())),
            _ => None,
        });
        panic.unwrap_or_default()
    });
    Trouble::Broken(Violation {
        check: check::logs::NO_PANIC.name,
        at: None,
        what: format!("{node} panicked: {message}"),
    })
}

/// The one clock that events are stamped with.
fn virtual_time() -> Micros {
    match madsim::runtime::Handle::try_current() {
        Ok(_) => micros_of(World::current().elapsed()),
        Err(_) => 0,
    }
}

/// Everything that the world tells goes into the trace, and what servers say of themselves into the history.
fn listen(world: &World, recorder: &Recorder) {
    let recorder = recorder.clone();
    let mut troubled = BTreeSet::new();
    world.on_event(move |event| {
        if event.kind == SOMETIMES {
            let fact = event.detail.clone();
            recorder.record(&event.node, What::Sometimes { fact });
            return;
        }
        if event.kind == OVERFLOW {
            let queue = event.detail.clone();
            recorder.record(&event.node, What::Overflow { queue });
            return;
        }
        let at = micros_of(event.time);
        let digest = DigestOf(&event.payload);
        recorder.detail_at(at, &event.node, event.kind, format_args!("{} {digest}", event.detail));
        match FaultKind::from_word(event.kind) {
            Some(kind) if is_lasting(kind) => recorder.record(&event.node, What::Damaged),
            Some(FaultKind::Misread) => recorder.record(&event.node, What::Misread),
            Some(FaultKind::DiskFull | FaultKind::FailedSync) => {
                // Once is enough to expect what comes of it, and a full disk refuses each write.
                if troubled.insert((event.node.clone(), event.kind)) {
                    let fault = event.kind.to_owned();
                    recorder.record(&event.node, What::DiskFailed { fault });
                }
            }
            _ => {}
        }
    });
}

async fn play(plan: Arc<Plan>, world: World, recorder: Recorder, names: NodeNames) -> (FinalState, Option<Trouble>) {
    names.enter("operator");
    let servers = Servers::default();
    let stage = Stage {
        directory: Arc::new(servers.directory(&plan, &recorder)),
        servers,
        marks: Marks::default(),
        faults: Faults::default(),
        plan,
        world,
        recorder,
        names,
    };
    lay_out(&stage);
    let trouble = tokio::select! {
        biased;
        () = stage.recorder.violated() => return (FinalState::default(), None),
        trouble = steps::carry_out(&stage) => trouble,
        () = runtime::sleep(Duration::from_micros(stage.plan.ends_at())) => {
            Some(Trouble::TimeIsUp(format!("still waiting: {}", steps::pending(&stage))))
        }
    };
    if trouble.is_some() {
        return (FinalState::default(), trouble);
    }
    let settle = async {
        wait_for_clients(&stage).await;
        end::settle(&stage).await
    };
    tokio::select! {
        biased;
        () = stage.recorder.violated() => (FinalState::default(), None),
        end = settle => (end, None),
    }
}

/// Links, servers, clients.
fn lay_out(stage: &Stage) {
    let Stage { plan, world, .. } = stage;
    if let Some(window) = plan.window {
        world.set_network(NetworkSettings {
            window_bytes: usize::try_from(window).unwrap_or(usize::MAX),
            ..NetworkSettings::default()
        });
    }
    world.set_links(settings(&plan.client_link));
    for server in &plan.servers {
        servers::create(stage, server);
    }
    for ((from, to), link) in &plan.links {
        world.set_link(from, to, settings(link));
    }
    for workload in &plan.workload {
        let setup = stage.clone();
        let spec = workload.spec.clone();
        // Detached on purpose: it ends with the tables made, or with the world.
        drop(runtime::spawn("set up", async move {
            let mark = format!("setup/{}", spec.name);
            let mut made = std::pin::pin!(set_up(&setup, spec.make()));
            if runtime::timeout(SETUP_LIMIT, &mut made).await.is_err() {
                setup.marks.reach(&mark);
                made.await;
            }
            setup.marks.reach(&mark);
        }));
        for (number, name) in (1..).zip(workload.client_names()) {
            let client_stage = stage.clone();
            let workload = workload.clone();
            let client_name = name.clone();
            world.create_node(&name, move |start| {
                let (stage, workload, name) = (client_stage.clone(), workload.clone(), client_name.clone());
                async move {
                    stage.names.enter(&name);
                    let spec = &workload.spec;
                    stage.marks.wait(&format!("setup/{}", spec.name)).await;
                    match &spec.from {
                        Moment::At(at) => sleep_until(&stage.world, *at).await,
                        Moment::Mark(mark, _) => stage.marks.wait(mark).await,
                    }
                    let client = Client::new(
                        number,
                        name.clone(),
                        spec.clone(),
                        Arc::clone(&stage.directory),
                        stage.plan.seed,
                        start.restarts,
                    );
                    let over = || match &spec.until {
                        Moment::At(at) => micros_of(stage.world.elapsed()) >= *at,
                        Moment::Mark(mark, _) => stage.marks.is_reached(mark),
                    };
                    client.run(spec.make().as_mut(), workload.pause, over).await;
                    stage.marks.reach(&format!("client/{name}"));
                }
            });
        }
    }
}

/// Makes a workload's tables on every server that takes writes.
async fn set_up(stage: &Stage, workload: Box<dyn Workload>) {
    let (statements, lists) = (workload.setup(), workload.lists());
    if statements.is_empty() {
        return;
    }
    let mut made = false;
    while !made {
        for (server, _) in &stage.directory.servers {
            let Ok(session) = stage.directory.open(server, "setup").await else {
                continue;
            };
            if !matches!(
                session.role().await.as_ref().map(Option::as_deref),
                Ok(None | Some("primary"))
            ) {
                continue;
            }
            made |= match (session.line(), &lists) {
                (Some(line), Some((table, keys))) => session.over(line.make_lists(table.clone(), *keys)).await.is_ok(),
                _ => {
                    let statements = format!("BEGIN; {}; COMMIT", statements.join("; "));
                    session.simple(&statements).await.is_ok()
                }
            };
        }
        runtime::sleep(SETUP_PAUSE).await;
    }
}

async fn wait_for_clients(stage: &Stage) {
    for workload in &stage.plan.workload {
        for name in workload.client_names() {
            // A client that does not come back would be a bug of ours; its open operation then counts as unknown.
            let _ = runtime::timeout(LAST_OPERATION, stage.marks.wait(&format!("client/{name}"))).await;
        }
    }
}

async fn sleep_until(world: &World, at: Micros) {
    let now = micros_of(world.elapsed());
    if at > now {
        runtime::sleep(Duration::from_micros(at - now)).await;
    }
}

#[expect(clippy::cast_lossless, reason = "a share of a million is exact enough as a float")]
fn settings(link: &Link) -> LinkSettings {
    let latency = Duration::from_micros(link.latency.max(1));
    LinkSettings {
        latency: latency..=latency,
        jitter: Duration::from_micros(link.jitter),
        loss: link.loss_ppm as f64 / 1e6,
        bandwidth: link.bandwidth,
    }
}

/// Nothing of nothing.
struct DigestOf<'a>(&'a [u8]);

impl fmt::Display for DigestOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        // Runs of one seed are to be alike, and nobody tries to make them look so.
        let mut hasher = DefaultHasher::new();
        hasher.write(self.0);
        write!(f, "{:016x}", hasher.finish())
    }
}
