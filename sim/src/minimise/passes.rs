//! What is tried, in the order in which it pays.

use std::ops::Range;

use super::edit::{self, without_servers, without_steps, without_workloads};
use super::{Failed, Shrinker};
use crate::check::CheckUse;
use crate::check::needs::Subject;
use crate::draw::Draw;
use crate::plan::{Link, Plan};
use crate::scenario::step::{Action, Trigger};
use crate::storage::event::Edit;
use crate::storage::plan::{End, Operation};
use crate::units::Micros;

type Pass = fn(&mut Shrinker<'_>) -> Result<(), String>;

pub const ALL: &[Pass] = &[
    tail, checks, lives, operations, steps, workloads, servers, sites, calm, noise, clients, params, times, pace,
    extents, turns, edits, store,
];

const SECOND: Micros = 1_000_000;

/// What had not begun when it failed. Half of the rest of most plans.
fn tail(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    let done = |index: &usize| shrinker.failed.reached.contains_key(&shrinker.best.steps[*index].label);
    let last = (0..shrinker.best.steps.len()).rev().find(done);
    let first = last.map_or(0, |last| last + 1);
    let range = first..shrinker.best.steps.len();
    if range.is_empty() {
        return Ok(());
    }
    let shorter = without_steps(&shrinker.best, &shrinker.failed, range);
    shrinker.attempt_any(shorter).map(drop)
}

/// Only the check that fails matters, and nothing that had better happened.
fn checks(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    let mut plan = shrinker.best.clone();
    let failing = shrinker.check.clone();
    let is_failing = |name: &str| failing.as_deref() == Some(name);
    plan.sometimes.clear();
    plan.always.retain(|check| is_failing(check.name));
    plan.finally.retain(|check| is_failing(check.name));
    if plan.always.is_empty() && plan.finally.is_empty() {
        // A scenario must name one; better one that every smaller plan has, too.
        let alone = Subject::default();
        let mut all: Vec<&CheckUse> = shrinker.best.always.iter().chain(&shrinker.best.finally).collect();
        all.sort_by_key(|check| check.lacks(&alone).is_some());
        plan.finally.extend(all.first().map(|check| (*check).clone()));
    }
    shrinker.attempt_any([plan]).map(drop)
}

fn steps(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(|plan, _| plan.steps.len(), without_steps)
}

fn workloads(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(|plan, _| plan.workload.len(), without_workloads)
}

fn servers(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(|plan, _| plan.servers.len(), without_servers)
}

/// Sites of the server that may fire.
fn sites(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(|plan, _| plan.buggify.len(), edit::without_sites)
}

fn lives(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(|plan, _| edit::lives(plan), edit::without_lives)
}

fn operations(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(|plan, _| edit::operations(plan), edit::without_operations)
}

fn edits(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(|plan, _| edit::edits(plan), edit::without_edits)
}

/// All noise at once.
fn calm(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    let mut plan = shrinker.best.clone();
    for server in &mut plan.servers {
        (server.clock_offset, server.clock_drift_ppm, server.clock_jump) = (0, 0, None);
        server.knobs.clear();
        for word in server
            .disk
            .words()
            .filter(|word| *word != "latency")
            .collect::<Vec<_>>()
        {
            server.disk.forget(word);
        }
    }
    for link in plan.links.values_mut().chain([&mut plan.client_link]) {
        *link = CALM;
    }
    (plan.window, plan.nodes) = (None, None);
    for life in plan.storage.iter_mut().flat_map(|storage| &mut storage.lives) {
        for word in life.disk.words().filter(|word| *word != "latency").collect::<Vec<_>>() {
            life.disk.forget(word);
        }
    }
    shrinker.attempt_any([plan]).map(drop)
}

const CALM: Link = Link {
    latency: 1_000,
    jitter: 0,
    loss_ppm: 0,
    bandwidth: None,
};

/// One kind of noise at a time, and for disks and clocks one server at a time.
fn noise(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    let changes: [fn(&mut Link); 4] = [
        |link| link.loss_ppm = 0,
        |link| link.jitter = 0,
        |link| link.bandwidth = None,
        |link| link.latency = CALM.latency,
    ];
    for change in changes {
        let mut plan = shrinker.best.clone();
        plan.links.values_mut().chain([&mut plan.client_link]).for_each(change);
        shrinker.attempt_any([plan])?;
    }
    // All links alike are one line.
    let mut plan = shrinker.best.clone();
    let like_clients = plan.client_link;
    plan.links.values_mut().for_each(|link| *link = like_clients);
    shrinker.attempt_any([plan])?;
    for index in 0..shrinker.best.servers.len() {
        let mut plan = shrinker.best.clone();
        let server = &mut plan.servers[index];
        (server.clock_offset, server.clock_drift_ppm, server.clock_jump) = (0, 0, None);
        shrinker.attempt_any([plan])?;
        let mut plan = shrinker.best.clone();
        plan.servers[index].knobs.clear();
        shrinker.attempt_any([plan])?;
        for knob in shrinker.best.servers[index].knobs.words().collect::<Vec<_>>() {
            let mut plan = shrinker.best.clone();
            plan.servers[index].knobs.forget(knob);
            shrinker.attempt_any([plan])?;
        }
        for word in shrinker.best.servers[index].disk.words().collect::<Vec<_>>() {
            if word != "latency" {
                let mut plan = shrinker.best.clone();
                plan.servers[index].disk.forget(word);
                shrinker.attempt_any([plan])?;
            }
        }
    }
    for index in 0..shrinker.best.steps.len() {
        let Action::Disk { settings, .. } = &shrinker.best.steps[index].action else {
            continue;
        };
        for word in settings.words().collect::<Vec<_>>() {
            let mut plan = shrinker.best.clone();
            if let Action::Disk { settings, .. } = &mut plan.steps[index].action {
                settings.forget(word);
                // A step that says nothing of its disk is none.
                if settings.words().count() == 0 {
                    continue;
                }
            }
            shrinker.attempt_any([plan])?;
        }
    }
    for index in 0..edit::lives(&shrinker.best) {
        let words = |plan: &Plan| -> Vec<&'static str> {
            let storage = plan.storage.as_ref().expect("a plan with lives is one of storage");
            storage.lives[index].disk.words().collect()
        };
        for word in words(&shrinker.best) {
            let mut plan = shrinker.best.clone();
            let storage = plan.storage.as_mut().expect("a plan with lives is one of storage");
            storage.lives[index].disk.forget(word);
            shrinker.attempt_any([plan])?;
        }
    }
    Ok(())
}

fn clients(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    for index in 0..shrinker.best.workload.len() {
        let clients = shrinker.best.workload[index].clients;
        let fewer = [1, clients / 2, clients.saturating_sub(1)].into_iter();
        let plans = fewer.filter(|fewer| (1..clients).contains(fewer)).map(|fewer| {
            let mut plan = shrinker.best.clone();
            plan.workload[index].clients = fewer;
            edit::forget_clients(&mut plan.workload[index]);
            plan
        });
        shrinker.attempt_any(plans.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Longer pauses are fewer operations.
fn pace(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    for index in 0..shrinker.best.workload.len() {
        let pause = shrinker.best.workload[index].pause;
        let longer = [10 * SECOND, SECOND, SECOND / 10, pause * 2].into_iter();
        let plans = longer
            .filter(|longer| *longer > pause && *longer <= 10 * SECOND)
            .map(|longer| {
                let mut plan = shrinker.best.clone();
                plan.workload[index].pause = longer;
                plan
            });
        shrinker.attempt_any(plans.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Single operations of clients.
fn turns(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    shrinker.shrink_list(edit::turns, edit::without_turns)
}

/// Small numbers instead of big ones, one number instead of a range.
fn params(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    for index in 0..shrinker.best.workload.len() {
        let params = shrinker.best.workload[index].spec.params.clone();
        for (name, draw) in params {
            let least = draw.ends().into_iter().min().unwrap_or(0);
            let smaller = [1, 2, least, least / 2]
                .into_iter()
                .filter(|value| (1..=least).contains(value));
            let plans = smaller.map(|value| {
                let mut plan = shrinker.best.clone();
                plan.workload[index].spec.params.insert(name, Draw::One(value));
                plan
            });
            shrinker.attempt_any(plans.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// No delay, or a round one.
fn times(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    for index in 0..shrinker.best.steps.len() {
        let time = match &shrinker.best.steps[index].trigger {
            Trigger::At(time) | Trigger::After { delay: time, .. } => *time,
            Trigger::Every { .. } | Trigger::When { .. } => continue,
        };
        let plans = rounder(time).into_iter().map(|rounder| {
            let mut plan = shrinker.best.clone();
            if let Trigger::At(time) | Trigger::After { delay: time, .. } = &mut plan.steps[index].trigger {
                *time = rounder;
            }
            plan
        });
        shrinker.attempt_any(plans.collect::<Vec<_>>())?;
    }
    for index in 0..shrinker.best.workload.len() {
        use crate::workload::Moment;
        let Moment::At(time) = shrinker.best.workload[index].spec.until else {
            continue;
        };
        let plans = rounder(time).into_iter().map(|rounder| {
            let mut plan = shrinker.best.clone();
            plan.workload[index].spec.until = Moment::At(rounder);
            plan
        });
        shrinker.attempt_any(plans.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// How long faults last, how far clocks jump, how often a disk fails: less, or rounder.
fn extents(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    for index in 0..shrinker.best.steps.len() {
        for place in 0..edit::numbers(&shrinker.best.steps[index].action) {
            let smaller = edit::smaller_numbers(&shrinker.best.steps[index].action, place);
            let plans = smaller.into_iter().map(|action| {
                let mut plan = shrinker.best.clone();
                plan.steps[index].action = action;
                plan
            });
            shrinker.attempt_any(plans.collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// Shorter lengths of time that are easier to read, the shortest first, and the next round ones if none of them will do.
fn rounder(time: Micros) -> Vec<Micros> {
    let down = |unit: Micros| time / unit * unit;
    let mut times = vec![
        0,
        down(10 * SECOND),
        time / 2 / SECOND * SECOND,
        down(SECOND),
        down(SECOND / 10),
    ];
    times.retain(|rounder| *rounder < time);
    times.sort_unstable();
    times.dedup();
    // Up is allowed if it is round and this is not; it cannot be done again and again.
    if !time.is_multiple_of(SECOND / 10) {
        times.push(down(SECOND) + SECOND);
    }
    times
}

/// What is left of a store's plan: whole commits among several, padding, other ends, the shape of its files.
fn store(shrinker: &mut Shrinker<'_>) -> Result<(), String> {
    if shrinker.best.storage.is_none() {
        return Ok(());
    }
    shrinker.shrink_list(|plan, _| commits_together(plan), without_commit)?;
    let mut plan = shrinker.best.clone();
    edit::for_each_commit(&mut plan, |commit| {
        commit.versioned = false;
        for edit in &mut commit.edits {
            if let Edit::Put { cell, .. } = edit {
                cell.bytes = 0;
            }
        }
    });
    shrinker.attempt_any([plan])?;
    for index in 0..edit::lives(&shrinker.best) {
        let plans = [End::Close, End::Kill, End::PowerOff].into_iter().map(|end| {
            let mut plan = shrinker.best.clone();
            plan.storage.as_mut().expect("asked for above").lives[index].end = end;
            plan
        });
        let simpler: Vec<Plan> = match &shrinker.best.storage.as_ref().expect("asked for above").lives[index].end {
            End::Close => Vec::new(),
            End::Kill => plans.take(1).collect(),
            End::PowerOff => plans.take(2).collect(),
            End::PowerOffDuring { .. } | End::PowerOffAtSync(_) => plans.collect(),
        };
        shrinker.attempt_any(simpler)?;
    }
    Ok(())
}

/// Commits of operations that make several at a time.
fn commits_together(plan: &Plan) -> usize {
    let lives = plan.storage.iter().flat_map(|storage| &storage.lives);
    let together = lives
        .flat_map(|life| &life.operations)
        .map(|operation| match operation {
            Operation::Commit(commits) if commits.len() > 1 => commits.len(),
            _ => 0,
        });
    together.sum()
}

fn without_commit(plan: &Plan, _: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    let mut number = 0..;
    for life in &mut plan.storage.as_mut()?.lives {
        for operation in &mut life.operations {
            if let Operation::Commit(commits) = operation
                && commits.len() > 1
            {
                commits.retain(|_| !range.contains(&number.next().expect("numbers do not end")));
                if commits.is_empty() {
                    return None;
                }
            }
        }
    }
    Some(plan)
}
