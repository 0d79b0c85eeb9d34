//! Makes a failing plan small while the same check goes on failing.
//!
//! Passes take things away: steps, workloads, servers, a store's lives, operations and edits (delta debugging: halves,
//! quarters, single ones), then clients, how often they act, what they do in single turns, noise of network, disks and clocks, and what numbers can
//! be rounder. They are gone through again until a whole round finds nothing. What a plan does is only known by running
//! it, which is [`Trials`]' part; everything here is a function of plans.
//!
//! Invariants
//! - The best plan so far has failed, in the same way as the first.
//! - No plan is tried twice.
//!
//! Must not know: how a plan is run, processes, time.

mod edit;
mod passes;
#[cfg(test)]
mod tests;
pub mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::ops::Range;

use crate::plan::{Plan, PlannedStep};
use crate::scenario::quiet;
use crate::storage::plan::Operation;
use crate::units::Micros;
use crate::workload::turns::Turns;

/// What a plan that failed tells about the run.
#[derive(Debug, Clone, Default)]
pub struct Failed {
    /// When each step was done, by its label. Those that are absent had not been done when the run ended.
    pub reached: BTreeMap<String, Micros>,
    /// When it ended.
    pub end: Micros,
    /// The turns in which clients did something, by workload. None: nobody lived to tell.
    pub turns: Option<BTreeMap<String, Turns>>,
}

/// Runs plans.
pub trait Trials {
    /// The first of `candidates` that fails as it should, and what it told. None: none of them, or time is up.
    fn first_failing(&mut self, candidates: &[Plan]) -> Result<Option<(usize, Failed)>, String>;

    /// Whether no more will be run.
    fn is_over(&self) -> bool;

    /// Is told of each plan that is smaller than the best before.
    fn smaller(&mut self, plan: &Plan);
}

/// The smallest plan that was found. `first` has failed, and `failed` is what it told; `check` is the check that did,
/// if it was one of the plan's.
pub fn minimise(first: &Plan, failed: Failed, check: Option<&str>, trials: &mut dyn Trials) -> Result<Plan, String> {
    let mut shrinker = Shrinker {
        best: Plan {
            // What the swarm chose is a plan like any from here on.
            swarm: Vec::new(),
            ..first.clone()
        },
        failed,
        check: check.map(str::to_owned),
        trials,
        tried: BTreeSet::new(),
        progress: false,
    };
    loop {
        shrinker.progress = false;
        for pass in passes::ALL {
            pass(&mut shrinker)?;
        }
        if !shrinker.progress || shrinker.trials.is_over() {
            return Ok(shrinker.best);
        }
    }
}

struct Shrinker<'a> {
    best: Plan,
    failed: Failed,
    check: Option<String>,
    trials: &'a mut dyn Trials,
    /// Digests of their words.
    tried: BTreeSet<u64>,
    progress: bool,
}

impl Shrinker<'_> {
    /// Takes the first candidate that fails, and says which of them it was.
    fn attempt<K>(&mut self, candidates: Vec<(K, Plan)>) -> Result<Option<K>, String> {
        if self.trials.is_over() {
            return Ok(None);
        }
        let (mut keys, mut plans) = (Vec::new(), Vec::new());
        let best = digest(&self.best);
        let too_late = |plan: &Plan| quiet::first_too_late(plan.steps.iter().map(PlannedStep::brief)).is_some();
        let may_be_late = too_late(&self.best);
        for (key, plan) in candidates {
            let digest = digest(&plan);
            // A fault that has come to stand after quiet makes a scenario that is refused.
            let readable = may_be_late || !too_late(&plan);
            if digest != best && readable && self.tried.insert(digest) {
                keys.push(key);
                plans.push(plan);
            }
        }
        if plans.is_empty() {
            return Ok(None);
        }
        let Some((index, failed)) = self.trials.first_failing(&plans)? else {
            return Ok(None);
        };
        // Those after it were not needed, and may be of use from where we are now.
        for plan in &plans[index + 1..] {
            self.tried.remove(&digest(plan));
        }
        (self.best, self.failed, self.progress) = (plans.swap_remove(index), failed, true);
        self.trials.smaller(&self.best);
        Ok(Some(keys.swap_remove(index)))
    }

    /// Takes the first of `plans` that fails. Most drastic first.
    fn attempt_any(&mut self, plans: impl IntoIterator<Item = Plan>) -> Result<bool, String> {
        let candidates = plans.into_iter().map(|plan| ((), plan)).collect();
        Ok(self.attempt(candidates)?.is_some())
    }

    /// Takes away as many entries of a list as can be: all of them, halves, quarters, and so on to single ones.
    fn shrink_list(
        &mut self,
        count: fn(&Plan, &Failed) -> usize,
        without: fn(&Plan, &Failed, Range<usize>) -> Option<Plan>,
    ) -> Result<(), String> {
        let mut size = count(&self.best, &self.failed);
        while size > 0 {
            let mut start = 0;
            loop {
                let length = count(&self.best, &self.failed);
                if start >= length || self.trials.is_over() {
                    break;
                }
                // Some at a time: a list may be long, and each candidate is a whole plan.
                let starts = (start..length).step_by(size).take(TOGETHER);
                let next = start + size * TOGETHER;
                let candidates = starts.filter_map(|start| {
                    let range = start..length.min(start + size);
                    Some((start, without(&self.best, &self.failed, range)?))
                });
                let candidates: Vec<(usize, Plan)> = candidates.collect();
                start = self.attempt(candidates)?.unwrap_or(next);
            }
            size /= 2;
        }
        Ok(())
    }
}

/// How many candidates of a list are made at a time: more than run at a time.
const TOGETHER: usize = 16;

/// What tells two plans apart.
fn digest(plan: &Plan) -> u64 {
    let mut hasher = DefaultHasher::new();
    let words = serde_json::to_vec(plan).expect("a plan is plain data");
    hasher.write(&words);
    hasher.finish()
}

/// How big a plan is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub steps: usize,
    pub servers: usize,
    pub workloads: usize,
    pub clients: u32,
    /// Of clients that are left some of their turns.
    pub turns: Option<usize>,
    /// Of a store on its own.
    pub lives: usize,
    pub operations: usize,
}

impl Size {
    pub fn of(plan: &Plan) -> Size {
        let lives = plan.storage.iter().flat_map(|storage| &storage.lives);
        Size {
            steps: plan.steps.len(),
            servers: plan.servers.len(),
            workloads: plan.workload.len(),
            clients: plan.workload.iter().map(|workload| workload.clients).sum(),
            turns: plan
                .workload
                .iter()
                .filter_map(|workload| Some(workload.spec.only.as_ref()?.count()))
                .reduce(|some, more| some + more),
            lives: lives.clone().count(),
            operations: lives
                .map(|life| life.operations.iter().map(Operation::weight).sum::<usize>())
                .sum(),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.servers == 0 {
            return write!(f, "lives {}, operations and edits {}", self.lives, self.operations);
        }
        write!(
            f,
            "steps {}, servers {}, workloads {}, clients {}",
            self.steps, self.servers, self.workloads, self.clients
        )?;
        match self.turns {
            Some(turns) => write!(f, ", turns {turns}"),
            None => Ok(()),
        }
    }
}
