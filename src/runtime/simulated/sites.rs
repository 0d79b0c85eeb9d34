//! Which sites fire in this run, and which facts it has brought about.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use bytes::Bytes;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::network::{HostId, Trace};
use super::world::{self, WorldSim};
use crate::runtime::sites::{FACTS, Measure, QUEUES, SITES};

/// The part of a world's state that belongs to sites.
#[derive(Default)]
pub(super) struct Sites {
    /// A stream for each site on each host.
    streams: BTreeMap<(HostId, usize), ChaCha8Rng>,
    fired: BTreeMap<usize, u64>,
    happened: BTreeMap<usize, u64>,
    /// How long each queue was at most.
    longest: BTreeMap<usize, Measure>,
    overflowed: BTreeSet<(HostId, usize)>,
    /// Told once for each host: a fact that is no longer rare would fill the trace.
    told: BTreeSet<(HostId, usize)>,
    mutant: Option<String>,
}

thread_local! {
    /// The sites of the world of this thread; the next world clears it.
    static ARMED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn clear() {
    ARMED.with_borrow_mut(Vec::clear);
}

/// How often each site fired, and each fact happened, and how long each queue was, by name; those that never did are left
/// out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteCounts {
    pub fired: BTreeMap<&'static str, u64>,
    pub happened: BTreeMap<&'static str, u64>,
    pub longest: BTreeMap<&'static str, Measure>,
}

impl Sites {
    pub fn arm(&mut self, names: &[String]) {
        let armed = SITES
            .iter()
            .enumerate()
            .filter(|(_, site)| names.iter().any(|name| name == site.name));
        let armed = armed.map(|(at, _)| at).collect();
        ARMED.with_borrow_mut(|known| *known = armed);
    }

    pub fn set_mutant(&mut self, name: Option<String>) {
        self.mutant = name;
    }

    pub fn counts(&self) -> SiteCounts {
        SiteCounts {
            fired: self.fired.iter().map(|(at, count)| (SITES[*at].name, *count)).collect(),
            happened: self
                .happened
                .iter()
                .map(|(at, count)| (FACTS[*at].name, *count))
                .collect(),
            longest: self
                .longest
                .iter()
                .map(|(at, measure)| (QUEUES[*at].name, *measure))
                .collect(),
        }
    }
}

/// The world and the host of the running code, if it runs in a world at all.
fn here() -> Option<(std::sync::Arc<WorldSim>, HostId)> {
    world::in_task().then(|| (world::current(), world::current_host()))
}

pub(crate) fn fires(at: usize) -> bool {
    draw(at, |_| ()).is_some()
}

pub(crate) fn drawn(at: usize, range: RangeInclusive<u64>) -> Option<u64> {
    draw(at, |stream| stream.random_range(range))
}

fn draw<T>(at: usize, value: impl FnOnce(&mut ChaCha8Rng) -> T) -> Option<T> {
    // Most sites rest in most runs, and some are passed for every chunk.
    if !ARMED.with_borrow(|armed| armed.contains(&at)) {
        return None;
    }
    let (world, host) = here()?;
    let value = world.sites(|sites| {
        let stream = sites
            .streams
            .entry((host, at))
            .or_insert_with(|| world.site_stream(host, SITES[at].name));
        if !stream.random_ratio(SITES[at].percent, 100) {
            return None;
        }
        let value = value(stream);
        *sites.fired.entry(at).or_default() += 1;
        Some(value)
    })?;
    tell(&world, host, "buggify", SITES[at].name);
    Some(value)
}

pub(crate) fn happened(at: usize) {
    let Some((world, host)) = here() else { return };
    let is_news = world.sites(|sites| {
        *sites.happened.entry(at).or_default() += 1;
        sites.told.insert((host, at))
    });
    if is_news {
        tell(&world, host, "sometimes", FACTS[at].name);
    }
}

pub(crate) fn measured(at: usize, length: u64, limit: u64) {
    let Some((world, host)) = here() else { return };
    let measure = Measure { length, limit };
    let is_news = world.sites(|sites| {
        let longest = sites.longest.entry(at).or_insert(measure);
        if measure.filled() > longest.filled() {
            *longest = measure;
        }
        length > limit && sites.overflowed.insert((host, at))
    });
    if is_news {
        let detail = format!("{} {length} of {limit}", QUEUES[at].name);
        tell(&world, host, OVERFLOW, detail);
    }
}

/// Whether this run has the bug of that name: asked only by the patches of `sim/mutants`.
pub fn mutant(name: &str) -> bool {
    here().is_some_and(|(world, _)| world.sites(|sites| sites.mutant.as_deref() == Some(name)))
}

/// What is told of a queue that became longer than it may.
pub const OVERFLOW: &str = "overflow";

fn tell(world: &WorldSim, host: HostId, kind: &'static str, detail: impl Into<String>) {
    world.tell(&Trace {
        time: world.elapsed(),
        node: world.node_name(host).as_str().into(),
        kind,
        detail: detail.into(),
        payload: Bytes::new(),
    });
}
