//! What the operator does by the roles he has seen: promotions right and wrong, and the repair after them.

use std::time::Duration;

use understudy::runtime;

use super::Stage;
use crate::history::What;
use crate::scenario::cluster::Role;
use crate::scenario::fault::Operation;
use crate::workload::session::Failure;

/// How long a repair goes on, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(500);
/// A cluster that has been settled for so long stays so: no call of the operator's is under way any more.
const STEADY: Duration = Duration::from_secs(3);
/// How long the cluster has to settle by itself before the operator steps in again.
const SETTLES: Duration = Duration::from_secs(12);

/// Runs the statements of an operation. Whatever they answer: an operator who is wrong is told so.
pub async fn operate(stage: &Stage, label: &str, operation: &Operation) {
    stage.faults.operator_begins();
    operate_now(stage, label, operation).await;
    stage.faults.operator_ends();
}

async fn operate_now(stage: &Stage, label: &str, operation: &Operation) {
    let next = highest_epoch(stage) + 1;
    match operation {
        Operation::Promote(server) => assume(stage, label, server, Role::Primary, next).await,
        Operation::HandOver(from, to) => {
            assume(stage, label, from, Role::Standby, next).await;
            assume(stage, label, to, Role::Primary, next).await;
        }
        Operation::Twice(server) => {
            assume(stage, label, server, Role::Primary, next).await;
            assume(stage, label, server, Role::Primary, next + 1).await;
        }
        Operation::Both(first, second) => {
            assume(stage, label, first, Role::Primary, next).await;
            assume(stage, label, second, Role::Primary, next).await;
        }
        Operation::OldEpoch(server) => {
            let old = next.saturating_sub(2);
            assume(stage, label, server, Role::Primary, old).await;
            assume(stage, label, server, Role::Standby, old).await;
        }
    }
}

/// Tells a server its role because the plan says so.
async fn assume(stage: &Stage, label: &str, server: &str, role: Role, epoch: u64) {
    order(stage, label, server, role, epoch, false).await;
}

async fn order(stage: &Stage, label: &str, server: &str, role: Role, epoch: u64, rescue: bool) {
    // Wrong as he may be, he sees who has never received anything; what the others have would be given up for nothing.
    if role == Role::Primary && !stage.servers.has_databases(server) {
        stage.recorder.detail(
            "operator",
            "declined",
            format_args!("{label}: {server} has nothing yet"),
        );
        return;
    }
    stage.recorder.record(
        "operator",
        What::Ordered {
            server: server.to_owned(),
            role,
            epoch,
            rescue,
        },
    );
    let answer = match stage.directory.open_patiently(server, "operator").await {
        Ok(session) => session.assume_role(role, epoch).await,
        Err(failure) => Err(failure),
    };
    if answer.as_ref().is_err_and(changed_nothing) {
        let server = server.to_owned();
        stage
            .recorder
            .record("operator", What::Declined { server, role, epoch });
    }
    let answer = answer.unwrap_or_else(|failure| failure.to_string());
    stage
        .recorder
        .detail("operator", "answered", format_args!("{server}: {answer}"));
}

/// Whether the server has said no. Of a lost connection nobody knows, so that who could not be reached counts as asked.
fn changed_nothing(failure: &Failure) -> bool {
    let Failure::Refused { sqlstate, .. } = failure else {
        return false;
    };
    ["55000", "22023", "25006"].contains(&sqlstate.as_str())
}

/// The highest epoch that any server has said.
fn highest_epoch(stage: &Stage) -> u64 {
    stage.recorder.look(|history| {
        let epochs = history.events.iter().filter_map(|event| match &event.what {
            What::Role { epoch, .. } | What::Ready { role: Some((_, epoch)) } => Some(*epoch),
            _ => None,
        });
        epochs.max().unwrap_or(0)
    })
}

/// Waits for one primary of the highest epoch and nobody who does not follow it. When that does not come by itself,
/// promotes whoever committed last among those of the highest epoch that has something.
pub async fn repair(stage: &Stage, label: &str) {
    let members: Vec<&str> = stage
        .plan
        .servers
        .iter()
        .filter(|server| server.member.is_some())
        .map(|server| server.name.as_str())
        .collect();
    if members.is_empty() {
        return;
    }
    let repaired = async {
        while stage.faults.is_operating() {
            runtime::sleep(LOOK).await;
        }
        loop {
            if runtime::timeout(SETTLES, settled(stage, &members)).await.is_ok() {
                return;
            }
            let known = members
                .iter()
                .filter(|name| stage.servers.has_databases(name))
                .filter_map(|name| Some((stage.servers.role(name)?.1, last_commit(stage, name), *name)));
            // The first of those that are equal: a later name is not better.
            let best = known.fold(None, |best: Option<(u64, usize, &str)>, one| match best {
                Some(best) if (best.0, best.1) >= (one.0, one.1) => Some(best),
                _ => Some(one),
            });
            if let Some((_, _, name)) = best {
                order(stage, label, name, Role::Primary, highest_epoch(stage) + 1, true).await;
            }
        }
    };
    // Whether it came to that is for `liveness` and `roots_equal` to say.
    let _ = runtime::timeout(PATIENCE, repaired).await;
}

async fn settled(stage: &Stage, members: &[&str]) {
    let mut steady = Duration::ZERO;
    loop {
        let roles: Vec<Option<(Role, u64)>> = members.iter().map(|name| stage.servers.role(name)).collect();
        let highest = roles.iter().flatten().map(|(_, epoch)| *epoch).max();
        let of_highest = |role: Role| {
            roles
                .iter()
                .filter(|known| **known == highest.map(|epoch| (role, epoch)))
                .count()
        };
        if of_highest(Role::Primary) == 1 && of_highest(Role::Standby) == members.len() - 1 {
            if steady >= STEADY {
                return;
            }
            steady += LOOK;
        } else {
            steady = Duration::ZERO;
        }
        runtime::sleep(LOOK).await;
    }
}

/// The place in the history of a server's newest commit of its own.
fn last_commit(stage: &Stage, server: &str) -> usize {
    stage.recorder.look(|history| {
        let own = history
            .events
            .iter()
            .rposition(|event| event.node == server && matches!(&event.what, What::Root(root) if root.is_own()));
        own.map_or(0, |place| place + 1)
    })
}
