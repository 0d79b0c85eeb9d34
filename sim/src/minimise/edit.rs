//! Plans with something taken away, such that what remains can still be carried out.
//!
//! A name that goes (a step's mark, a workload, a server) goes from everything that refers to it: whoever waited for the
//! mark waits for the moment at which it was reached when the plan last failed, or for the mark before it.

use std::ops::Range;

use serde_json::Value;

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
    let gone: Vec<String> = plan.servers.drain(range).map(|server| server.name).collect();
    if plan.servers.is_empty() {
        return None;
    }
    for name in &gone {
        for server in &mut plan.servers {
            if let Some(member) = &mut server.member {
                member.standbys.retain(|standby| standby != name);
                if member.standbys.is_empty() {
                    server.member = None;
                }
            }
        }
        plan.links.retain(|(from, to), _| from != name && to != name);
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
        Value::Object(fields) => fields
            .iter_mut()
            .all(|(key, value)| matches!(key.as_str(), "run" | "expect") || forget(value, name)),
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
