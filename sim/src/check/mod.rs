//! Checks: what must hold, judged from the one history of a run.
//!
//! A check is one entry in [`CHECKS`]: a name, a sentence, what it takes as an argument, and a function over the
//! history. Those that make sense while a run goes on have a running form too, so that `always` fails at the event
//! that broke the promise. `sometimes` entries are not promises: they must happen in some seed of a suite. Some are read
//! from the history; the others, with a dot in their name, the server says itself (`understudy::runtime::sites`).
//!
//! Invariants
//! - A check never reads anything but the history and its argument, so each is tested with planted violations.
//!
//! Must not know: the simulator's runtime.

pub mod answers;
pub mod bank;
pub mod cluster;
pub mod ends;
pub mod holders;
pub mod isolation;
pub mod keys;
pub mod lineage;
pub mod linear;
pub mod liveness;
pub mod logs;
pub mod needs;
pub mod sometimes;
pub mod storage;
#[cfg(test)]
mod tests;
mod text;
pub mod writes;

use std::fmt;

use serde::{Deserialize, Serialize};
use understudy::runtime::sites::FACTS;

use crate::history::{Event, History, What};
use crate::scenario::cluster::Role;
use crate::units::{Micros, show_moment};
use crate::yaml::{Complaint, Node, Value, unknown};
use needs::{Needs, Subject, WRITERS};

/// What a check found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub check: &'static str,
    pub at: Option<Micros>,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)?;
        match self.at {
            Some(at) => write!(f, " (at {})", show_moment(at)),
            None => Ok(()),
        }
    }
}

/// What a check found: nothing, or a sentence with a moment.
pub type Finding = Option<(Option<Micros>, String)>;

/// What a check may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgKind {
    None,
    OneOf(&'static [&'static str]),
    Texts,
    Time,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    None,
    Word(&'static str),
    Texts(Vec<String>),
    Time(Micros),
}

pub struct Check {
    pub name: &'static str,
    pub about: &'static str,
    /// Without this it has nothing to judge.
    pub needs: Needs,
    pub section: Section,
    pub arg: ArgKind,
    /// The argument may be left out.
    pub arg_optional: bool,
    pub judge: Judge,
}

/// Where a check may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Under `always` or `finally`.
    Promise,
    /// Only under `finally`: it needs the settled end.
    End,
    Sometimes,
}

/// How a check judges.
#[derive(Clone, Copy)]
pub enum Judge {
    /// Event by event; makes a fresh state.
    Running(fn(&Arg) -> Box<dyn Watch>),
    /// The whole history.
    Whole(fn(&History, &Arg) -> Finding),
    /// Whether it happened.
    Happened(fn(&History) -> bool),
}

/// The state of a running check.
pub trait Watch: Send {
    fn observe(&mut self, event: &Event) -> Option<String>;
}

/// Every check, in the order of the documentation.
pub const CHECKS: &[Check] = &[
    cluster::ONE_WRITABLE_PRIMARY_PER_EPOCH,
    cluster::EPOCH_MONOTONE,
    cluster::NO_ACKNOWLEDGED_WRITE_IN_ROLE,
    cluster::ROLE_SURVIVES_RESTART,
    cluster::PRIMARIES_FOLLOW_NOBODY,
    lineage::STANDBY_IS_PREFIX,
    lineage::LOSSLESS_FAILOVER,
    writes::DURABILITY,
    writes::NO_ABORTED_READ,
    bank::BANK_TOTAL,
    writes::COUNTER_TOTAL,
    isolation::SNAPSHOT_ISOLATION,
    linear::LINEARIZABLE,
    keys::UNIQUE_KEYS,
    keys::WHOLE_VALUES,
    keys::CATALOG_MATCHES,
    keys::NO_RESURRECTION,
    liveness::ROOTS_EQUAL,
    liveness::LIVENESS,
    liveness::SETTLES_BY_ITSELF,
    ends::FSCK,
    ends::DAMAGE_IS_NAMED,
    ends::BOUNDED,
    logs::CLEAN_LOGS,
    storage::COMMITS_SURVIVE,
    storage::COMMITS_ARE_WHOLE,
    storage::REFUSALS_ARE_EXPLAINED,
    storage::NO_COMMIT_AFTER_FAILED_SYNC,
    storage::STORE_GOES_ON,
    sometimes::COMMIT_IN_FLIGHT_AT_DEMOTE,
    sometimes::CLIENT_GOT_57P01_AND_RECONNECTED,
    sometimes::UNKNOWN_OUTCOME,
    sometimes::CLIENT_VANISHED_IN_OPERATION,
    sometimes::CONFLICT_40001,
    sometimes::REFUSED_53100,
    sometimes::REFUSED_58030,
    sometimes::STALE_PRIMARY_ACKNOWLEDGED_AFTER_PROMOTE,
    sometimes::RESTART_WHILE_BROKEN,
    sometimes::BACKLOG_CAUGHT_UP,
    storage::sometimes::UNKNOWN_COMMIT_SURVIVED,
    storage::sometimes::UNKNOWN_COMMIT_VANISHED,
    storage::sometimes::WROTE_AGAIN_AFTER_FULL,
    storage::sometimes::REFUSED_AFTER_FAILED_SYNC,
    storage::sometimes::DAMAGE_WAS_NAMED,
    storage::sometimes::DAMAGE_TOOK_THE_NEWEST,
    storage::sometimes::POWER_LOST_WHILE_OPENING,
];

/// What every run is judged by, whatever its plan lists. No scenario can name them, and none can leave them out.
pub const ALWAYS_ON: &[Check] = &[
    logs::NO_PANIC,
    logs::NO_OVERFLOW,
    answers::NO_INTERNAL_ERROR,
    answers::REFUSALS_HAVE_REASONS,
    answers::ANSWERS_COME_SOON,
];

/// What a broken expectation of a step is called in reports: it is judged where the step is carried out.
pub const STEP: &str = "step";

/// All that runs along with a plan that has these under `always`: those first, which say more than the names of all runs.
/// A sync takes up to `slowest_sync`.
pub fn monitors(always: &[CheckUse], slowest_sync: Micros) -> Vec<Monitor> {
    let listed = always.iter().filter_map(CheckUse::monitor);
    let rest = ALWAYS_ON.iter().filter_map(|check| match check.judge {
        Judge::Running(make) => Some(Monitor {
            check: check.name,
            watch: make(&Arg::Time(slowest_sync)),
        }),
        _ => None,
    });
    listed.chain(rest).collect()
}

/// The name of what the server itself says to have happened, if this is one: see `understudy::runtime::sites`.
fn server_fact(name: &str) -> Option<&'static str> {
    FACTS.iter().map(|fact| fact.name).find(|fact| *fact == name)
}

/// A word of ours. (Serde takes a reference that it can see for one into what is read.)
type Word = &'static str;

/// A check as a scenario names it; that form is also how a plan that is kept says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CheckUse {
    pub name: Word,
    pub arg: Arg,
}

impl CheckUse {
    fn check(&self) -> &'static Check {
        CHECKS
            .iter()
            .find(|check| check.name == self.name)
            .expect("the parser took only known checks")
    }

    /// What is not there and this judges: without it, it would always pass.
    pub fn lacks(&self, subject: &Subject<'_>) -> Option<String> {
        match server_fact(self.name) {
            Some(_) => None,
            None => subject.lacks(self.check().needs),
        }
    }

    /// Judges a complete history. For `sometimes`, a finding means that it did not happen.
    pub fn judge(&self, history: &History) -> Option<Violation> {
        if let Some(fact) = server_fact(self.name) {
            let happened = |event: &Event| matches!(&event.what, What::Sometimes { fact: name } if name == fact);
            return (!history.events.iter().any(happened)).then(|| Violation {
                check: self.name,
                at: None,
                what: "did not happen".to_owned(),
            });
        }
        let (at, what) = match self.check().judge {
            Judge::Running(make) => {
                let mut watch = make(&self.arg);
                history
                    .events
                    .iter()
                    .find_map(|event| watch.observe(event).map(|what| (Some(event.at), what)))?
            }
            Judge::Whole(judge) => judge(history, &self.arg)?,
            Judge::Happened(happened) if happened(history) => return None,
            Judge::Happened(_) => (None, "did not happen".to_owned()),
        };
        Some(Violation {
            check: self.name,
            at,
            what,
        })
    }

    /// The running form, if it has one.
    fn monitor(&self) -> Option<Monitor> {
        match self.check().judge {
            Judge::Running(make) => Some(Monitor {
                check: self.name,
                watch: make(&self.arg),
            }),
            _ => None,
        }
    }
}

/// A check that runs along.
pub struct Monitor {
    check: &'static str,
    watch: Box<dyn Watch>,
}

impl Monitor {
    pub fn observe(&mut self, event: &Event) -> Option<Violation> {
        let what = self.watch.observe(event)?;
        Some(Violation {
            check: self.check,
            at: Some(event.at),
            what,
        })
    }
}

/// The list under `always`, `finally` or `sometimes`, of a scenario that has `subject`; without one, whatever they judge.
pub fn parse(section: &str, node: &Node, subject: Option<&Subject<'_>>) -> Result<Vec<CheckUse>, Complaint> {
    let fits = |check: &&Check| match check.section {
        Section::Promise => section != "sometimes",
        Section::End => section == "finally",
        Section::Sometimes => section == "sometimes",
    };
    let allowed: Vec<&Check> = CHECKS.iter().filter(fits).collect();
    let facts = if section == "sometimes" { FACTS } else { &[] };
    let names = allowed.iter().map(|check| check.name);
    let words: Vec<&str> = names.chain(facts.iter().map(|fact| fact.name)).collect();
    let mut uses: Vec<CheckUse> = Vec::new();
    for entry in node.strict_list(section)? {
        let (word, arg_node) = match &entry.value {
            Value::Map(entries) => match &entries[..] {
                [(word, node)] => (word.as_str(), Some(node)),
                _ => {
                    return Err(entry.complain(format!(
                        "{section}: one check per entry, as in {{ durability: graceful }}"
                    )));
                }
            },
            _ => (entry.text(section)?, None),
        };
        if uses.iter().any(|known| known.name == word) {
            return Err(entry.complain(format!("{section}: {word:?} is named twice")));
        }
        if let Some(fact) = facts.iter().find(|fact| fact.name == word) {
            if arg_node.is_some() {
                return Err(entry.complain(format!("{word} takes no argument")));
            }
            uses.push(CheckUse {
                name: fact.name,
                arg: Arg::None,
            });
            continue;
        }
        if ALWAYS_ON.iter().any(|check| check.name == word) {
            return Err(entry.complain(format!("{section}: {word} is judged in every run; leave it out")));
        }
        let Some(check) = allowed.iter().find(|check| check.name == word) else {
            return Err(entry.complain(unknown(section, word, &words)));
        };
        let arg = parse_arg(check, arg_node, entry)?;
        if let Some(subject) = subject
            && let Some(missing) = subject.lacks(check.needs)
        {
            let judges = |check: &&&Check| subject.lacks(check.needs).is_none();
            let words: Vec<&str> = allowed.iter().filter(judges).map(|check| check.name).collect();
            return Err(entry.complain(format!(
                "{section}: {word} judges {missing}, and there is none, so that it could not fail; allowed here: {}",
                words.join(", ")
            )));
        }
        uses.push(CheckUse { name: check.name, arg });
    }
    Ok(uses)
}

fn parse_arg(check: &Check, arg: Option<&Node>, entry: &Node) -> Result<Arg, Complaint> {
    let name = check.name;
    let Some(node) = arg else {
        return match check.arg {
            ArgKind::None => Ok(Arg::None),
            _ if check.arg_optional => Ok(Arg::None),
            ArgKind::OneOf(words) => {
                Err(entry.complain(format!("{name}: say which, as in {{ {name}: {} }}", words[0])))
            }
            ArgKind::Texts | ArgKind::Time => Err(entry.complain(format!("{name}: an argument is due"))),
        };
    };
    match check.arg {
        ArgKind::None => Err(node.complain(format!("{name} takes no argument"))),
        ArgKind::OneOf(words) => Ok(Arg::Word(node.word(name, words)?)),
        ArgKind::Time => {
            let text = node.text(name)?;
            crate::units::parse_micros(text)
                .map(Arg::Time)
                .map_err(|error| node.complain(format!("{name}: {error}")))
        }
        ArgKind::Texts => {
            let texts: Result<Vec<String>, Complaint> = node
                .list()
                .into_iter()
                .map(|node| node.text(name).map(str::to_owned))
                .collect();
            Ok(Arg::Texts(texts?))
        }
    }
}

/// The role an argument names.
fn role_of(arg: &Arg) -> Role {
    match arg {
        Arg::Word(word) => Role::from_word(word).expect("the parser took only roles"),
        _ => unreachable!("the parser demands a role"),
    }
}
