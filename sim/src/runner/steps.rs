//! The steps of a plan: each is a task that waits for its trigger, acts, and reaches its mark.

use std::time::Duration;

use tokio::sync::mpsc;
use understudy::runtime;

use super::{Stage, Trouble, faults, sleep_until};
use crate::check::{STEP, Violation};
use crate::history::What;
use crate::plan::PlannedStep;
use crate::scenario::step::{Action, Condition, Expect, Trigger, role_call};
use crate::workload::session::Failure;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Done marks of steps live beside the scenario's own, under names no scenario can use.
fn done(index: usize) -> String {
    format!("done/{index}")
}

/// Runs all steps. None: all are done.
pub async fn carry_out(stage: &Stage) -> Option<Trouble> {
    let (troubles, mut trouble) = mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for (index, step) in stage.plan.steps.iter().enumerate() {
        let (stage, step, troubles) = (stage.clone(), step.clone(), troubles.clone());
        tasks.push(
            runtime::spawn("step", async move {
                match carry_out_one(&stage, index, &step).await {
                    Ok(()) => {
                        if let Some(mark) = &step.mark {
                            stage.marks.reach(mark);
                        }
                        stage.marks.reach(&done(index));
                    }
                    // Nobody listens once another step is in trouble.
                    Err(trouble) => drop(troubles.send(trouble)),
                }
            })
            .abort_on_drop(),
        );
    }
    drop(troubles);
    trouble.recv().await
}

/// The steps that are not done, for the report of a run that is stuck.
pub fn pending(stage: &Stage) -> String {
    let steps = stage
        .plan
        .steps
        .iter()
        .enumerate()
        .filter(|(index, _)| !stage.marks.is_reached(&done(*index)));
    let steps: Vec<String> = steps.map(|(_, step)| step.label.clone()).collect();
    format!("{}; {}", steps.join(", "), roles(stage))
}

fn roles(stage: &Stage) -> String {
    let role = |name: &str| match stage.servers.role(name) {
        Some((role, epoch)) => format!("{name} is {}@{epoch}", role.word()),
        None if stage.servers.is_ready(name) => format!("{name} is up"),
        None => format!("{name} is down"),
    };
    stage
        .plan
        .servers
        .iter()
        .map(|server| role(&server.name))
        .collect::<Vec<_>>()
        .join(", ")
}

async fn carry_out_one(stage: &Stage, index: usize, step: &PlannedStep) -> Result<(), Trouble> {
    match &step.trigger {
        // A fault whose moment has not come when all is quiet does not happen.
        Trigger::At(at) if step.action.is_fault() => tokio::select! {
            biased;
            () = stage.marks.wait(faults::QUIET) => return Ok(()),
            () = sleep_until(&stage.world, *at) => {}
        },
        Trigger::At(at) => sleep_until(&stage.world, *at).await,
        Trigger::After { mark, delay } => {
            stage.marks.wait(mark).await;
            runtime::sleep(Duration::from_micros(*delay)).await;
        }
        Trigger::Every { period, until } => {
            while !stage.marks.is_reached(until) {
                act(stage, step).await?;
                runtime::sleep(Duration::from_micros(*period)).await;
            }
            return Ok(());
        }
        Trigger::When { condition, within } => {
            if index > 0 {
                stage.marks.wait(&done(index - 1)).await;
            }
            let hold = async {
                while !holds(stage, condition).await {
                    runtime::sleep(LOOK).await;
                }
            };
            if runtime::timeout(Duration::from_micros(*within), hold).await.is_err() {
                return Err(Trouble::Stuck(format!(
                    "{}: {}; {}",
                    step.label,
                    step.trigger,
                    roles(stage)
                )));
            }
        }
    }
    act(stage, step).await
}

async fn act(stage: &Stage, step: &PlannedStep) -> Result<(), Trouble> {
    if step.action.is_fault() && stage.marks.is_reached(faults::QUIET) {
        return Ok(());
    }
    let shown = format!("{}: {}", step.label, step.action);
    stage
        .recorder
        .record("operator", What::StepBegins { step: shown.clone() });
    if let Action::Sql { servers, run, expect } = &step.action {
        if let Some(role) = role_call(run) {
            stage.recorder.record("operator", What::RoleCall { role });
        }
        for server in servers {
            let answer = ask(stage, server, run).await;
            if !met(expect, &answer) {
                let answer = match answer {
                    Ok(rows) => format!("{rows:?}"),
                    Err(failure) => failure.to_string(),
                };
                let what = format!("{}: {server} answered {answer} to {run}, expected {expect}", step.label);
                return Err(Trouble::Broken(Violation {
                    check: STEP,
                    at: None,
                    what,
                }));
            }
        }
    } else {
        faults::carry_out(stage, &step.label, &step.action).await;
    }
    stage.recorder.record("operator", What::StepDone { step: shown });
    Ok(())
}

type Answer = Result<Vec<Vec<Option<String>>>, Failure>;

async fn ask(stage: &Stage, server: &str, sql: &str) -> Answer {
    let session = stage.directory.open_patiently(server, "operator").await?;
    session.simple(sql).await
}

fn met(expect: &Expect, answer: &Answer) -> bool {
    match (expect, answer) {
        (Expect::Any, _) | (Expect::Ok, Ok(_)) => true,
        (Expect::SqlState(code), Err(Failure::Refused { sqlstate, .. })) => code == sqlstate,
        (Expect::Rows(rows), Ok(found)) => same_rows(rows, found),
        _ => false,
    }
}

fn same_rows(wanted: &[Vec<String>], found: &[Vec<Option<String>>]) -> bool {
    let text = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
    let found: Vec<Vec<String>> = found.iter().map(|row| row.iter().map(text).collect()).collect();
    wanted == found
}

async fn holds(stage: &Stage, condition: &Condition) -> bool {
    match condition {
        Condition::Role(wanted) => wanted
            .iter()
            .all(|(name, role, epoch)| stage.servers.role(name) == Some((*role, *epoch))),
        Condition::Sql { server, run, rows } => {
            ask(stage, server, run).await.is_ok_and(|found| same_rows(rows, &found))
        }
        Condition::All(parts) => {
            for part in parts {
                if !Box::pin(holds(stage, part)).await {
                    return false;
                }
            }
            true
        }
        Condition::Any(parts) => {
            for part in parts {
                if Box::pin(holds(stage, part)).await {
                    return true;
                }
            }
            false
        }
    }
}
