//! Plans with something taken away, such that what remains can still be carried out.
//!
//! A name that goes (a step's mark, a workload, a server) goes from everything that refers to it: whoever waited for the
//! mark waits for the moment at which it was reached when the plan last failed, or for the mark before it.

use std::ops::Range;

use serde_json::{Number, Value};

use super::Failed;
use crate::check::CheckUse;
use crate::check::needs::Subject;
use crate::plan::{Plan, PlannedStep, PlannedWorkload};
use crate::scenario::step::{Action, Condition, Trigger};
use crate::storage::plan::{End, Life, Operation, PlannedCommit};
use crate::units::Micros;
use crate::workload::turns::Turns;
use crate::workload::{Moment, Target, WorkloadSpec};

/// Without the steps `range`.
pub fn without_steps(plan: &Plan, failed: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    let gone: Vec<PlannedStep> = plan.steps.drain(range).collect();
    // The last first: what it hands on to its predecessor is replaced with that one.
    for step in gone.iter().rev() {
        let Some(mark) = &step.mark else { continue };
        let at = failed.reached.get(&step.label).copied().unwrap_or(failed.end);
        for other in &mut plan.steps {
            forget_mark(other, mark, step, at)?;
        }
        for workload in &mut plan.workload {
            for moment in [&mut workload.spec.from, &mut workload.spec.until] {
                if matches!(moment, Moment::Mark(waited, _) if waited == mark) {
                    *moment = Moment::At(at);
                }
            }
        }
    }
    // A step that now waits for one that is gone too was taken care of, unless it repeats until then.
    Some(plan)
}

fn forget_mark(other: &mut PlannedStep, mark: &str, step: &PlannedStep, at: Micros) -> Option<()> {
    match &other.trigger {
        Trigger::After { mark: waited, delay } if waited == mark => {
            other.trigger = match &step.trigger {
                Trigger::At(start) => Trigger::At(start + delay),
                Trigger::After { mark, delay: earlier } => Trigger::After {
                    mark: mark.clone(),
                    delay: earlier + delay,
                },
                Trigger::When { .. } | Trigger::Every { .. } => Trigger::At(at + delay),
            };
            Some(())
        }
        Trigger::Every { until, .. } if until == mark => None,
        _ => Some(()),
    }
}

/// Without the sites `range`, which then never fire.
pub fn without_sites(plan: &Plan, _: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    plan.buggify.drain(range);
    Some(plan)
}

/// Without the workloads `range`, those that read what one of them writes, and the checks that judge none that is left.
pub fn without_workloads(plan: &Plan, _: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    let mut gone: Vec<String> = plan.workload.drain(range).map(|workload| workload.spec.name).collect();
    let left: Vec<WorkloadSpec> = plan.workload.iter().map(|workload| workload.spec.clone()).collect();
    for reader in left.iter().filter(|spec| spec.misses(left.iter()).is_some()) {
        plan.workload.retain(|workload| workload.spec.name != reader.name);
        gone.push(reader.name.clone());
    }
    for name in gone {
        forget_name(&mut plan, &name);
    }
    let subject = Subject::of(&plan);
    let (always, finally, sometimes) = [&plan.always, &plan.finally, &plan.sometimes]
        .map(|checks| with_something_to_judge(checks, &subject))
        .into();
    (plan.always, plan.finally, plan.sometimes) = (always, finally, sometimes);
    // A scenario must name one that can fail.
    (!plan.always.is_empty() || !plan.finally.is_empty()).then_some(plan)
}

fn with_something_to_judge(checks: &[CheckUse], subject: &Subject<'_>) -> Vec<CheckUse> {
    let judging = checks.iter().filter(|check| check.lacks(subject).is_none());
    judging.cloned().collect()
}

/// Without the servers `range`.
pub fn without_servers(plan: &Plan, failed: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    let gone: Vec<String> = plan.servers[range].iter().map(|server| server.name.clone()).collect();
    if gone.len() == plan.servers.len() {
        return None;
    }
    for name in &gone {
        plan.forget_server(name);
        let is_there = |workload: &PlannedWorkload| workload.spec.on == Target::Server(name.clone());
        while let Some(index) = plan.workload.iter().position(is_there) {
            plan = without_workloads(&plan, failed, index..index + 1)?;
        }
        // Backwards, so that places stay what they were.
        for index in (0..plan.steps.len()).rev() {
            let Trigger::When { condition, .. } = &mut plan.steps[index].trigger else {
                continue;
            };
            if !forget_server(condition, name) {
                plan = without_steps(&plan, failed, index..index + 1)?;
            }
        }
        forget_name(&mut plan, name);
    }
    Some(plan)
}

/// Whether the condition still says something.
fn forget_server(condition: &mut Condition, name: &str) -> bool {
    match condition {
        Condition::Role(wanted) => {
            wanted.retain(|(server, ..)| server != name);
            !wanted.is_empty()
        }
        Condition::Sql { server, .. } => server != name,
        Condition::All(parts) | Condition::Any(parts) => {
            parts.retain_mut(|part| forget_server(part, name));
            !parts.is_empty()
        }
    }
}

/// Takes a server or a workload from all actions. One that was about nobody else does nothing any more, and its step
/// only waits.
fn forget_name(plan: &mut Plan, name: &str) {
    for step in &mut plan.steps {
        step.action = without_name(&step.action, name);
    }
}

/// Works on the written form, so that it holds for actions that are yet to be thought of: from a list of names, the name
/// is taken; where the name stands on its own, or a list has become empty, the action is about somebody who is gone.
fn without_name(action: &Action, name: &str) -> Action {
    let mut value = serde_json::to_value(action).expect("an action is plain data");
    if !forget(&mut value, name) {
        return Action::Nothing;
    }
    serde_json::from_value(value).unwrap_or(Action::Nothing)
}

/// How many numbers an action has: lengths of time, shares, distances.
pub fn numbers(action: &Action) -> usize {
    let mut value = serde_json::to_value(action).expect("an action is plain data");
    let mut count = 0;
    for_each_number(&mut value, &mut |_| count += 1);
    count
}

/// The action with a smaller number in that place, the smallest first.
pub fn smaller_numbers(action: &Action, place: usize) -> Vec<Action> {
    let whole = serde_json::to_value(action).expect("an action is plain data");
    let with = |change: &dyn Fn(&Number) -> Option<Number>| {
        let (mut value, mut number) = (whole.clone(), 0);
        for_each_number(&mut value, &mut |found| {
            if number == place
                && let Some(smaller) = change(found)
            {
                *found = smaller;
            }
            number += 1;
        });
        serde_json::from_value::<Action>(value).ok()
    };
    // To none at all is another fault, or none.
    const TRIES: u32 = 4;
    let tries = (0..TRIES).rev().filter_map(|quarterings| {
        with(&|number| {
            let (size, sign) = match number.as_i64() {
                Some(signed) => (signed.unsigned_abs(), signed.signum()),
                None => (number.as_u64()?, 1),
            };
            let smaller = round_down(size >> (2 * quarterings));
            let signed = i64::try_from(smaller).ok()? * sign;
            (smaller > 0 && smaller < size).then(|| signed.into())
        })
    });
    tries.collect()
}

/// To one digit.
fn round_down(number: u64) -> u64 {
    let unit = 10_u64.pow(number.checked_ilog10().unwrap_or(0));
    number / unit * unit
}

fn for_each_number(value: &mut Value, see: &mut dyn FnMut(&mut Number)) {
    match value {
        Value::Number(number) => see(number),
        Value::Array(entries) => entries.iter_mut().for_each(|entry| for_each_number(entry, see)),
        Value::Object(fields) => fields.values_mut().for_each(|field| for_each_number(field, see)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Whether anything is left.
fn forget(value: &mut Value, name: &str) -> bool {
    match value {
        Value::String(text) => text != name,
        Value::Array(entries) => {
            let was_empty = entries.is_empty();
            entries.retain_mut(|entry| forget(entry, name));
            was_empty || !entries.is_empty()
        }
        // What a statement says, or answers, is no name.
        Value::Object(fields) => fields.iter_mut().all(|(key, value)| match key.as_str() {
            "run" | "expect" => true,
            // One side alone is parted from nobody.
            "sides" => forget(value, name) && value.as_array().is_some_and(|sides| sides.len() > 1),
            _ => forget(value, name),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// How many turns of clients there are to take.
pub fn turns(plan: &Plan, failed: &Failed) -> usize {
    let all = plan.workload.iter().map(|workload| turns_of(plan, workload, failed));
    all.map(|turns| turns.count()).sum()
}

/// Turns are counted through all workloads.
pub fn without_turns(plan: &Plan, failed: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut number = 0..;
    let mut left = |turns: &Turns| -> Turns {
        turns
            .iter()
            .filter(|_| !range.contains(&number.next().expect("numbers do not end")))
            .collect()
    };
    let mut smaller = plan.clone();
    for workload in &mut smaller.workload {
        workload.spec.only = Some(left(&turns_of(plan, workload, failed)));
    }
    Some(smaller)
}

/// The turns in which clients did something when the plan failed. If nobody lived to tell, all there can have been.
fn turns_of(plan: &Plan, workload: &PlannedWorkload, failed: &Failed) -> Turns {
    if let Some(turns) = &failed.turns {
        return turns.get(&workload.spec.name).cloned().unwrap_or_default();
    }
    if let Some(turns) = &workload.spec.only {
        return turns.clone();
    }
    let until = match workload.spec.until {
        Moment::At(until) => until,
        Moment::Mark(..) => plan.time_limit,
    };
    let shortest = (workload.pause / 2).max(1);
    let each = (until / shortest).min(TURNS_MAX);
    let clients = 1..=workload.clients;
    clients
        .flat_map(|client| (1..=each).map(move |turn| (client, turn)))
        .collect()
}

/// Of a client of whom nobody knows how many it had: as many as can be tried.
const TURNS_MAX: u64 = 4_096;

/// Takes the turns of clients that are gone.
pub fn forget_clients(workload: &mut PlannedWorkload) {
    let clients = workload.clients;
    if let Some(turns) = &mut workload.spec.only {
        *turns = turns.iter().filter(|(client, _)| *client <= clients).collect();
    }
}

pub fn lives(plan: &Plan) -> usize {
    plan.storage.as_ref().map_or(0, |storage| storage.lives.len())
}

pub fn without_lives(plan: &Plan, _: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    plan.storage.as_mut()?.lives.drain(range);
    Some(plan)
}

pub fn operations(plan: &Plan) -> usize {
    let lives = plan.storage.iter().flat_map(|storage| &storage.lives);
    lives.map(|life| life.operations.len()).sum()
}

/// Operations are counted through all lives.
pub fn without_operations(plan: &Plan, _: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    let mut number = 0..;
    for life in &mut plan.storage.as_mut()?.lives {
        life.operations
            .retain(|_| !range.contains(&number.next().expect("numbers do not end")));
    }
    Some(plan)
}

/// Edits are counted through all commits of all lives. A commit keeps its number, and so does one without an edit: it
/// still writes its row of the journal.
pub fn without_edits(plan: &Plan, _: &Failed, range: Range<usize>) -> Option<Plan> {
    let mut plan = plan.clone();
    let mut number = 0;
    for_each_commit(&mut plan, |commit| {
        commit.edits.retain(|_| {
            number += 1;
            !range.contains(&(number - 1))
        });
    });
    Some(plan)
}

pub fn edits(plan: &Plan) -> usize {
    let mut count = 0;
    for_each_commit(&mut plan.clone(), |commit| count += commit.edits.len());
    count
}

pub fn for_each_commit(plan: &mut Plan, mut change: impl FnMut(&mut PlannedCommit)) {
    for Life { operations, end, .. } in plan.storage.iter_mut().flat_map(|storage| &mut storage.lives) {
        for operation in operations {
            match operation {
                Operation::Commit(commits) => commits.iter_mut().for_each(&mut change),
                Operation::Clash(first, second) => [first, second].into_iter().for_each(&mut change),
                Operation::Abandon(commit) => change(commit),
                _ => {}
            }
        }
        if let End::PowerOffDuring { commits, .. } = end {
            commits.iter_mut().for_each(&mut change);
        }
    }
}
