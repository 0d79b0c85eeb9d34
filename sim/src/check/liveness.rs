//! Safety is half: when faults are over, the cluster must work again.

use super::{Arg, ArgKind, Check, Finding, Judge, Needs, Section};
use crate::history::{History, What};
use crate::units::{Micros, show_micros};

/// How long a cluster may take to be whole again if the scenario does not say.
const SETTLE_DEFAULT: Micros = 30_000_000;

pub const ROOTS_EQUAL: Check = Check {
    name: "roots_equal",
    about: "Within a time after quiet and the end of the clients (30s if not said) all servers publish the same root of every database, and can be read.",
    needs: Needs::Servers,
    section: Section::End,
    arg: ArgKind::Time,
    arg_optional: true,
    judge: Judge::Whole(|history, arg| {
        if let Some((server, error)) = history.end.unreadable.first_key_value() {
            return Some((None, format!("{server} cannot be read at the end: {error}")));
        }
        let late = judge_time(
            history.end.equal_after,
            arg,
            "the roots became equal",
            "quiet and the end of the clients",
        )?;
        let roots = history
            .end
            .roots
            .iter()
            .map(|((server, database), root)| format!("{server}/{database} {root}"));
        Some((None, format!("{late}: {}", roots.collect::<Vec<_>>().join(", "))))
    }),
};

pub const LIVENESS: Check = Check {
    name: "liveness",
    about: "Within a time after quiet (30s if not said) a write succeeds again; every workload that writes got a write done, and each gets something done when all is quiet, those on standbys if they did before.",
    needs: Needs::Servers,
    section: Section::End,
    arg: ArgKind::Time,
    arg_optional: true,
    judge: Judge::Whole(liveness),
};

/// Fewer than these say nothing: their clients may have been killed each time.
const TRIES_MIN: u64 = 5;

fn liveness(history: &History, arg: &Arg) -> Finding {
    if let Some(what) = judge_time(history.end.writes_again_after, arg, "a write succeeded", "quiet") {
        return Some((None, what));
    }
    if let Some(workload) = history.end.stuck.first() {
        return Some((
            None,
            format!("the workload {workload} gets nothing done when all is quiet"),
        ));
    }
    let mut done: std::collections::BTreeMap<&str, (u64, u64)> = std::collections::BTreeMap::new();
    // Who only reads may read a standby that was cut off all the time.
    for op in history.operations().iter().filter(|op| !op.invoke.only_reads) {
        let (tries, acknowledged) = done.entry(op.invoke.workload.as_str()).or_default();
        *tries += 1;
        *acknowledged += u64::from(op.acknowledged_at().is_some());
    }
    let idle = done
        .into_iter()
        .find(|(_, (tries, acknowledged))| *tries >= TRIES_MIN && *acknowledged == 0);
    idle.map(|(workload, (tries, _))| {
        (
            None,
            format!("the workload {workload} tried {tries} times and never got a write through"),
        )
    })
}

fn judge_time(after: Option<Micros>, arg: &Arg, what: &str, since: &str) -> Option<String> {
    let limit = match arg {
        Arg::Time(limit) => *limit,
        _ => SETTLE_DEFAULT,
    };
    let show = |micros: Micros| show_micros(i64::try_from(micros).unwrap_or(i64::MAX));
    match after {
        Some(after) if after <= limit => None,
        Some(after) => Some(format!(
            "{what} only {} after {since}, {} is allowed",
            show(after),
            show(limit)
        )),
        None => Some(format!("not {what} after {since}")),
    }
}

pub const SETTLES_BY_ITSELF: Check = Check {
    name: "settles_by_itself",
    about: "Nobody has to promote a server for the cluster to be whole again, unless roles were moved before on purpose.",
    needs: Needs::Servers,
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| settles_by_itself(history)),
};

fn settles_by_itself(history: &History) -> Finding {
    let mut when = "";
    for event in &history.events {
        match &event.what {
            What::Ordered { rescue: false, .. } => return None,
            // The operator moves a role by hand.
            What::RoleCall { .. } => return None,
            What::Quiet => when = " after quiet",
            What::Ordered { server, epoch, .. } => {
                let what =
                    format!("the cluster did not settle by itself{when}: {server} had to be promoted at epoch {epoch}");
                return Some((Some(event.at), what));
            }
            _ => {}
        }
    }
    None
}
