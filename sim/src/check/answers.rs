//! What clients are told, and how soon.
//!
//! A refusal has a reason that the history knows: a role that moved, a disk that failed, another client. One without is a
//! bug of the server, however harmless the code looks.

use std::collections::{BTreeMap, BTreeSet};

use super::writes::WORKLOAD_DATABASE;
use super::{Arg, ArgKind, Check, Judge, Needs, Section, Watch};
use crate::history::{CALM_AFTER, Event, Invoke, LOST, NOT_NEEDED, Origin, Outcome, Read, WIPED, What};
use crate::scenario::cluster::Role;
use crate::units::{Micros, show_micros};
use crate::workload::ddl::{DROP, DROP_DATABASE};
use crate::workload::strangers::INTRUDE;

/// An operation as it returned: the number, and the code if it is one that a server gave.
fn refused(event: &Event) -> Option<(u64, &str)> {
    let What::Return { op, outcome } = &event.what else {
        return None;
    };
    match outcome {
        Outcome::Ok { .. } => None,
        Outcome::Failed { sqlstate } => (sqlstate != LOST).then_some((*op, sqlstate)),
        // What is no code the client says itself: the connection is gone, no answer came in time.
        Outcome::Unknown { why } => is_code(why).then_some((*op, why)),
    }
}

/// Why no server answered, if none did.
fn lost(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Ok { .. } => None,
        Outcome::Failed { sqlstate } => (sqlstate == LOST).then_some(LOST),
        Outcome::Unknown { why } => (!is_code(why)).then_some(why),
    }
}

/// The code that a message of a server begins with.
fn code_of(why: &str) -> Option<&str> {
    why.split(' ').next().filter(|code| is_code(code))
}

fn is_code(why: &str) -> bool {
    why.len() == 5
        && why
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

pub const NO_INTERNAL_ERROR: Check = Check {
    name: "no_internal_error",
    about: "No client is told of an internal error, XX000.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::new(NoInternalError)),
};

const INTERNAL: &str = "XX000";

struct NoInternalError;

impl Watch for NoInternalError {
    fn observe(&mut self, event: &Event) -> Option<String> {
        let (op, code) = refused(event)?;
        (code == INTERNAL).then(|| format!("#{op} of {} was refused with {INTERNAL}", event.node))
    }
}

/// The SQLSTATE of damaged data.
pub const DAMAGED: &str = "XX001";

/// The SQLSTATE of a server that takes no writes.
const READ_ONLY: &str = "25006";

/// Whose disk is damaged, and was not mended; and who was misled by a read of one that is right.
#[derive(Default)]
pub struct Damaged {
    disks: BTreeSet<String>,
    /// Servers that have begun to start and do not serve yet.
    starting: BTreeSet<String>,
    /// Those that were misled while they started: what they could not open then they do without until the next start.
    misled_at_start: BTreeSet<String>,
    misled: BTreeMap<String, Micros>,
}

/// So long before a statement a read may have gone wrong of which that statement is told: it may have waited for it.
const MISREAD_LASTS: Micros = 10_000_000;

impl Damaged {
    pub fn observe(&mut self, event: &Event) {
        let server = &event.node;
        match &event.what {
            What::Damaged => drop(self.disks.insert(server.clone())),
            What::Mended => drop(self.disks.remove(server)),
            What::Start => {
                self.misled_at_start.remove(server);
                self.starting.insert(server.clone());
            }
            What::Ready { .. } => drop(self.starting.remove(server)),
            What::Misread => {
                self.misled.insert(server.clone(), event.at);
                if self.starting.contains(server) {
                    self.misled_at_start.insert(server.clone());
                }
            }
            _ => {}
        }
    }

    pub fn is(&self, server: &str) -> bool {
        self.disks.contains(server)
    }

    /// Whether what was asked for then, or later, may have been refused for damaged data.
    pub fn explains(&self, server: &str, asked_at: Micros) -> bool {
        let just_now = |at: &Micros| at + MISREAD_LASTS >= asked_at;
        self.is(server) || self.misled_at_start.contains(server) || self.misled.get(server).is_some_and(just_now)
    }
}

pub const REFUSALS_HAVE_REASONS: Check = Check {
    name: "refusals_have_reasons",
    about: "A client is refused only with codes that a program has to expect, each only where it has a reason: damaged data of a damaged disk, a full disk that is full, a table that is not there where it has not been, nothing but writes on a server that is no primary.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|_| Box::<RefusalsHaveReasons>::default()),
};

/// So long after an operator's order a server may still be between two roles.
const ORDER_LASTS: Micros = 60_000_000;
/// A server that is no primary any more says so within this time; its clients are refused first.
const ROLE_TOLD_WITHIN: Micros = 10_000_000;

#[derive(Default)]
struct RefusalsHaveReasons {
    asked: BTreeMap<u64, (Micros, Invoke)>,
    damaged: Damaged,
    /// Servers whose disk was full once, or failed a sync.
    failing: BTreeSet<String>,
    /// Since when each server has the role it has; None: it is in no cluster.
    roles: BTreeMap<String, (Micros, Option<Role>)>,
    /// When the operator last had a server change its role.
    ordered: Option<Micros>,
    /// (server, workload) whose tables were seen, in the history that the server has.
    seen: BTreeSet<(String, String)>,
    /// Servers whose newest root is their own, which a primary's history may replace.
    own_way: BTreeSet<String>,
    /// Refusals by primaries, of which the reason may still come: when, by whom, and what to say if it does not.
    unexplained: Vec<(Micros, String, String)>,
}

impl RefusalsHaveReasons {
    /// What would explain it, and is not there.
    fn lacks(&self, code: &str, asked_at: Micros, invoke: &Invoke) -> Option<&'static str> {
        let server = invoke.server.as_str();
        let action = invoke.action;
        let (has_reason, reason) = match code {
            // Another transaction came first, or nobody knows; the session was ended for a change of role.
            "40001" | "40003" | "57P01" => return None,
            READ_ONLY => (!self.was_primary(server, asked_at), "it was primary all the time"),
            "53100" | "58030" => (
                self.failing.contains(server) || self.damaged.is(server),
                "its disk neither was full nor failed",
            ),
            DAMAGED => (self.damaged.explains(server, asked_at), "its disk is right"),
            "23505" => (action == "insert", "nobody else wants its keys"),
            "55000" => (action == "version", "there is always something to do for it"),
            "42P01" => (
                action == DROP || !self.seen.contains(&(invoke.server.clone(), invoke.workload.clone())),
                "the table was there",
            ),
            "3D000" => (action == DROP_DATABASE, "its database is always there"),
            _ => (false, "no program expects that"),
        };
        (!has_reason).then_some(reason)
    }

    /// Whether nothing kept the server from taking writes since then.
    fn was_primary(&self, server: &str, asked_at: Micros) -> bool {
        let is_ordered = self.ordered.is_some_and(|at| at + ORDER_LASTS >= asked_at);
        match self.roles.get(server) {
            Some((since, Some(Role::Primary))) => *since <= asked_at && !is_ordered,
            Some((since, None)) => *since <= asked_at,
            _ => false,
        }
    }

    fn forget_tables(&mut self, server: &str) {
        self.seen.retain(|(name, _)| name != server);
    }
}

impl Watch for RefusalsHaveReasons {
    fn observe(&mut self, event: &Event) -> Option<String> {
        self.damaged.observe(event);
        let late = |(at, ..): &&(Micros, String, String)| event.at >= at + ROLE_TOLD_WITHIN;
        if let Some((.., what)) = self.unexplained.iter().find(late) {
            return Some(what.clone());
        }
        if let What::Role { .. } | What::Down { .. } | What::Start = &event.what {
            self.unexplained.retain(|(_, server, _)| *server != event.node);
        }
        match &event.what {
            What::Invoke(invoke) => {
                self.asked.insert(invoke.op, (event.at, invoke.clone()));
            }
            What::Return { op, outcome } => {
                let (asked_at, invoke) = self.asked.remove(op)?;
                // What reads nothing may have found no table, which is for other checks to judge.
                let found = |reads: &[Read]| reads.iter().any(|read| !read.values.is_empty());
                if matches!(outcome, Outcome::Ok { reads } if found(reads) || !invoke.writes.is_empty()) {
                    self.seen.insert((invoke.server.clone(), invoke.workload.clone()));
                }
                let (_, code) = refused(event)?;
                let why = self.lacks(code, asked_at, &invoke)?;
                let server = invoke.server;
                let what = format!("#{op} of {} was refused with {code} by {server}: {why}", event.node);
                if code != READ_ONLY {
                    return Some(what);
                }
                self.unexplained.push((event.at, server, what));
            }
            What::Root(root) if root.database == WORKLOAD_DATABASE => match root.origin {
                Origin::Received if self.own_way.remove(&event.node) => self.forget_tables(&event.node),
                Origin::Received => {}
                Origin::Committed | Origin::First => drop(self.own_way.insert(event.node.clone())),
            },
            What::DiskFailed { .. } => drop(self.failing.insert(event.node.clone())),
            What::Role { role, .. } => {
                let before = self.roles.insert(event.node.clone(), (event.at, Some(*role)));
                // It may have to take another history than its own.
                if before.is_none_or(|(_, before)| before != Some(*role)) {
                    self.forget_tables(&event.node);
                }
            }
            What::Ready { role: None } => drop(self.roles.insert(event.node.clone(), (event.at, None))),
            What::Start => drop(self.roles.remove(&event.node)),
            What::Down { how } if how == WIPED => self.forget_tables(&event.node),
            What::Damaged | What::Mended => self.forget_tables(&event.node),
            What::Ordered { .. } => self.ordered = Some(event.at),
            What::RoleCall { .. } => self.ordered = Some(event.at),
            _ => {}
        }
        None
    }
}

/// The longest that an operation of a few statements may take then, and how many syncs beside: a commit that begins a
/// segment has a dozen.
const ANSWER_MAX: Micros = 5_000_000;
const SYNCS_MAX: Micros = 20;

pub const ANSWERS_COME_SOON: Check = Check {
    name: "answers_come_soon",
    about: "Ten seconds after quiet, and after the last start, stop or step, every operation but those of strangers returns within five seconds and twenty syncs, no session is lost, and every server that is ready takes a connection.",
    needs: Needs::Nothing,
    section: Section::Promise,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Running(|arg| {
        let slowest_sync = match arg {
            Arg::Time(slowest_sync) => *slowest_sync,
            _ => 0,
        };
        Box::new(AnswersComeSoon {
            answer_max: ANSWER_MAX + SYNCS_MAX * slowest_sync,
            ..AnswersComeSoon::default()
        })
    }),
};

#[derive(Default)]
struct AnswersComeSoon {
    answer_max: Micros,
    is_quiet: bool,
    /// Since when nothing has disturbed anybody.
    calm_since: Micros,
    asked: BTreeMap<u64, Micros>,
    /// The servers that have said so and were not stopped since.
    ready: BTreeSet<String>,
    /// Clients whose session had an answer when all was calm. Others may find out now that theirs ended long ago.
    answered: BTreeSet<String>,
}

impl AnswersComeSoon {
    fn is_calm(&self, at: Micros) -> bool {
        self.is_quiet && at >= self.calm_since + CALM_AFTER
    }
}

impl Watch for AnswersComeSoon {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Ready { .. } => drop(self.ready.insert(event.node.clone())),
            What::Start | What::Down { .. } => drop(self.ready.remove(&event.node)),
            _ => {}
        }
        if event.what.disturbs() {
            self.is_quiet |= matches!(event.what, What::Quiet);
            self.calm_since = event.at;
            self.asked.clear();
            self.answered.clear();
            return None;
        }
        match &event.what {
            What::Invoke(invoke) => {
                if self.is_calm(event.at) && invoke.action != INTRUDE {
                    self.asked.insert(invoke.op, event.at);
                }
                None
            }
            // What a server says in a session is for other checks.
            What::Disconnected { server, why } => {
                let is_lost = why != NOT_NEEDED && code_of(why).is_none();
                let was_there = self.answered.remove(&event.node);
                (is_lost && was_there)
                    .then(|| format!("{} lost its session on {server} when all was calm: {why}", event.node))
            }
            // And damage is not over then.
            What::NotConnected { server, why }
                if self.is_calm(event.at) && self.ready.contains(server) && code_of(why) != Some(DAMAGED) =>
            {
                Some(format!(
                    "{} could not connect to {server} when all was calm: {why}",
                    event.node
                ))
            }
            What::Return { op, outcome } => {
                let took = event.at - self.asked.remove(op)?;
                self.answered.insert(event.node.clone());
                let show = |micros: Micros| show_micros(i64::try_from(micros).unwrap_or(i64::MAX));
                if took > self.answer_max {
                    return Some(format!("#{op} of {} took {} when all was calm", event.node, show(took)));
                }
                lost(outcome).map(|why| format!("#{op} of {} got no answer when all was calm: {why}", event.node))
            }
            _ => None,
        }
    }
}
