//! What must happen in some seed of a suite, or the suite tests less than it says.

use std::collections::BTreeMap;

use super::{ArgKind, Check, Judge, Needs, Section, WRITERS};
use crate::history::{History, Outcome, VANISHED, What};
use crate::scenario::cluster::Role;

pub(super) const fn sometimes(
    name: &'static str,
    needs: Needs,
    about: &'static str,
    happened: fn(&History) -> bool,
) -> Check {
    Check {
        name,
        about,
        needs,
        section: Section::Sometimes,
        arg: ArgKind::None,
        arg_optional: false,
        judge: Judge::Happened(happened),
    }
}

pub const COMMIT_IN_FLIGHT_AT_DEMOTE: Check = sometimes(
    "commit_in_flight_at_demote",
    WRITERS,
    "A client had an operation open on a server when the operator's call to make it a standby began.",
    |history| {
        let operations = history.operations();
        history.events.iter().any(|event| match &event.what {
            What::RoleCall {
                role: Some(Role::Standby),
            } => operations.iter().any(|op| {
                op.invoked_at < event.at
                    && op.returned.is_none_or(|(at, _)| at > event.at)
                    && !op.invoke.writes.is_empty()
            }),
            _ => false,
        })
    },
);

pub const CLIENT_GOT_57P01_AND_RECONNECTED: Check = sometimes(
    "client_got_57P01_and_reconnected",
    Needs::Servers,
    "A client was told 57P01 and had a session again later.",
    |history| {
        let told = |what: &What| match what {
            What::Return {
                outcome: Outcome::Failed { sqlstate: code } | Outcome::Unknown { why: code },
                ..
            } => code == "57P01",
            What::Disconnected { why, .. } => why.starts_with("57P01"),
            _ => false,
        };
        let mut waiting: BTreeMap<&str, ()> = BTreeMap::new();
        history.events.iter().any(|event| {
            if told(&event.what) {
                waiting.insert(&event.node, ());
            }
            matches!(event.what, What::Connected { .. }) && waiting.contains_key(event.node.as_str())
        })
    },
);

pub const UNKNOWN_OUTCOME: Check = sometimes(
    "unknown_outcome",
    WRITERS,
    "A client never learned whether its write was committed.",
    |history| {
        history
            .operations()
            .iter()
            .any(|op| matches!(op.returned, Some((_, Outcome::Unknown { .. }))) && !op.invoke.writes.is_empty())
    },
);

pub const CLIENT_VANISHED_IN_OPERATION: Check = sometimes(
    "client_vanished_in_operation",
    Needs::Servers,
    "A client vanished while an operation of its was under way.",
    |history| {
        let mut open: BTreeMap<&str, u64> = BTreeMap::new();
        history.events.iter().any(|event| {
            match &event.what {
                What::Invoke(invoke) => drop(open.insert(&event.node, invoke.op)),
                What::Return { .. } => drop(open.remove(event.node.as_str())),
                _ => {}
            }
            let vanished = matches!(&event.what, What::Disconnected { why, .. } if why == VANISHED);
            vanished && open.contains_key(event.node.as_str())
        })
    },
);

pub const CONFLICT_40001: Check = sometimes(
    "conflict_40001",
    Needs::Servers,
    "Two transactions wanted one row, and the second was told 40001.",
    |history| {
        let conflict = |what: &What| matches!(what, What::Return { outcome: Outcome::Failed { sqlstate }, .. } if sqlstate == "40001");
        history.events.iter().any(|event| conflict(&event.what))
    },
);

/// Whether a client was told this code.
fn refused_with(history: &History, code: &str) -> bool {
    let refused =
        |what: &What| matches!(what, What::Return { outcome: Outcome::Failed { sqlstate }, .. } if sqlstate == code);
    history.events.iter().any(|event| refused(&event.what))
}

pub const REFUSED_53100: Check = sometimes(
    "refused_53100",
    Needs::Servers,
    "A client was told that the disk is full.",
    |history| refused_with(history, "53100"),
);

pub const REFUSED_58030: Check = sometimes(
    "refused_58030",
    Needs::Servers,
    "A client was told that the server takes no writes because its disk has failed.",
    |history| refused_with(history, "58030"),
);

pub const STALE_PRIMARY_ACKNOWLEDGED_AFTER_PROMOTE: Check = sometimes(
    "stale_primary_acknowledged_after_promote",
    Needs::Servers,
    "A cut-off primary acknowledged a write after another server had become primary at a higher epoch.",
    |history| {
        let mut highest = 0;
        let mut epochs: BTreeMap<&str, (Role, u64)> = BTreeMap::new();
        history.events.iter().any(|event| {
            if let What::Role { role, epoch }
            | What::Ready {
                role: Some((role, epoch)),
            } = &event.what
            {
                epochs.insert(&event.node, (*role, *epoch));
                if *role == Role::Primary {
                    highest = highest.max(*epoch);
                }
            }
            matches!(&event.what, What::Root(root) if root.is_own())
                && epochs
                    .get(event.node.as_str())
                    .is_some_and(|(role, epoch)| *role == Role::Primary && *epoch < highest)
        })
    },
);

pub const RESTART_WHILE_BROKEN: Check = sometimes(
    "restart_while_broken",
    Needs::Servers,
    "A server was started again while its role was detected_broken_config.",
    |history| {
        let mut roles: BTreeMap<&str, Role> = BTreeMap::new();
        history.events.iter().any(|event| {
            if let What::Role { role, .. } = &event.what {
                roles.insert(&event.node, *role);
            }
            matches!(event.what, What::Start) && roles.get(event.node.as_str()) == Some(&Role::DetectedBrokenConfig)
        })
    },
);

pub const BACKLOG_CAUGHT_UP: Check = sometimes(
    "backlog_caught_up",
    Needs::Servers,
    "A server came back while the primary had at least ten commits that it lacked, and received the newest of them.",
    |history| {
        let mut commits: u64 = 0;
        let mut missed: BTreeMap<&str, u64> = BTreeMap::new();
        let mut behind: BTreeMap<&str, u64> = BTreeMap::new();
        history.events.iter().any(|event| {
            match &event.what {
                What::Root(root) if root.is_own() => commits += 1,
                What::Down { .. } => {
                    missed.insert(&event.node, commits);
                }
                What::Start => {
                    if let Some(then) = missed.get(event.node.as_str()) {
                        behind.insert(&event.node, commits - then);
                    }
                }
                _ => {}
            }
            matches!(&event.what, What::Root(root) if !root.is_own())
                && behind.get(event.node.as_str()).is_some_and(|count| *count >= 10)
        })
    },
);
