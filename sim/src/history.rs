//! What happened in a run: the one list that all checks read.
//!
//! Clients record that they asked and what they learned; servers report role, roots and log lines; the runner reports
//! what it did to them. Events are in the order of virtual time, and in the order they happened at equal times.
//!
//! Invariants
//! - An operation is invoked before it returns, and returns at most once. One that never returned is unknown.
//! - "Unknown" is an outcome: a lost connection and 40003 may have committed.
//!
//! Must not know: the simulator's runtime, how a check judges.

use std::collections::BTreeMap;
use std::fmt;

use understudy::engine::SYSTEM_DATABASE;

use crate::scenario::cluster::Role;
use crate::storage::event::StorageEvent;
use crate::units::{Micros, show_moment};

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    pub at: Micros,
    /// A server, a client (`bank.1`), or `operator`.
    pub node: String,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A client sends an operation to a server.
    Invoke(Invoke),
    /// What it learned. `op` is that of the invoke.
    Return {
        op: u64,
        outcome: Outcome,
    },
    /// A client has a session on a server.
    Connected {
        server: String,
    },
    /// A client lost its session, or found that it needs another server.
    Disconnected {
        server: String,
        why: String,
    },
    /// A client got no session from a server.
    NotConnected {
        server: String,
        why: String,
    },
    /// A server's role and epoch, when it starts and after every change.
    Role {
        role: Role,
        epoch: u64,
    },
    /// A server appended a root to a database's log.
    Root(Root),
    /// A standby told a primary (the event's node) that it holds a root.
    Acknowledged(Acknowledged),
    /// A server was started by the runner; `Ready` follows when it serves.
    Start,
    Ready {
        role: Option<(Role, u64)>,
    },
    /// A server is gone: stopped, killed, powered off; or could not start.
    Down {
        how: String,
    },
    /// Bytes on the server's disk are no longer what was promised. What it holds may be less than it acknowledged.
    Damaged,
    /// A read of the server's got other bytes than those on its disk, which are right.
    Misread,
    /// The operator has checked the server's disk, and what was wrong is right again.
    Mended,
    /// The server's disk was full, or failed a sync, for the first time.
    DiskFailed {
        fault: String,
    },
    /// A statement of a step's will tell a server to take a role, if it says which.
    RoleCall {
        role: Option<Role>,
    },
    /// A step of the plan begins, or is done.
    StepBegins {
        step: String,
    },
    StepDone {
        step: String,
    },
    /// The operator tells a server to take a role. A rescue is what he does when a cluster does not settle by itself.
    Ordered {
        server: String,
        role: Role,
        epoch: u64,
        rescue: bool,
    },
    /// The order has certainly changed nothing: the server said no, or was not there.
    Declined {
        server: String,
        role: Role,
        epoch: u64,
    },
    /// A line of a server's log at warn or above, and every line a check asks for by message.
    Log {
        level: Level,
        message: String,
        fields: String,
    },
    /// A task of a server panicked.
    Panic {
        message: String,
    },
    /// Faults are over, everybody runs, links are whole.
    Quiet,
    /// A server says for the first time that something rare has happened.
    Sometimes {
        fact: String,
    },
    /// A queue of a server is longer than it may be: its name, its length and the limit.
    Overflow {
        queue: String,
    },
    /// Of a storage engine on its own.
    Storage(StorageEvent),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub database: String,
    pub sequence: u64,
    pub root: String,
    pub previous: String,
    pub epoch: u64,
    pub origin: Origin,
}

/// What a standby has acknowledged to its primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    pub by: String,
    pub database: String,
    /// In the primary's log.
    pub sequence: u64,
    pub root: String,
}

/// How a root came to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A commit of this server.
    Committed,
    /// The empty content that a store starts with.
    First,
    /// From a primary.
    Received,
}

impl Origin {
    pub fn word(self) -> &'static str {
        match self {
            Origin::Committed => "committed",
            Origin::First => "first",
            Origin::Received => "received",
        }
    }

    pub fn from_word(word: &str) -> Option<Origin> {
        [Origin::Committed, Origin::First, Origin::Received]
            .into_iter()
            .find(|origin| origin.word() == word)
    }
}

impl Root {
    /// A commit of the server itself.
    pub fn is_own(&self) -> bool {
        self.origin == Origin::Committed
    }
}

/// What a client is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoke {
    pub op: u64,
    /// The client's turn in which it does so.
    pub turn: u64,
    pub workload: String,
    pub server: String,
    /// A word for people: `transfer`, `append`, `total`.
    pub action: &'static str,
    /// What must be found at the end if this is acknowledged.
    pub writes: Vec<Write>,
    /// What it wants beside that, for the check that knows the action: the value of a register, say.
    pub asked: Vec<Write>,
    /// It changes nothing.
    pub only_reads: bool,
}

/// `value` becomes one of those under `key` of `table`. Values are never written twice under one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    pub table: String,
    pub key: i64,
    pub value: i64,
}

/// What stands in place of a value that does not read as one: nobody writes it.
pub const GARBLED: i64 = i64::MIN;

/// What was found under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub table: String,
    pub key: i64,
    pub values: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Ok {
        reads: Vec<Read>,
    },
    /// It did certainly not happen.
    Failed {
        sqlstate: String,
    },
    /// Nobody knows.
    Unknown {
        why: String,
    },
}

/// table -> key -> values, read after the end from one server.
pub type Content = BTreeMap<String, BTreeMap<i64, Vec<i64>>>;

/// A name without what cannot be printed, as events have it.
pub fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

/// The store that says which databases there are, as events call it.
pub fn system_store() -> String {
    printable(SYSTEM_DATABASE)
}

/// What a client calls it when its connection was lost before it sent COMMIT: no server says that.
pub const LOST: &str = "lost";
/// Why a client's session is gone that has vanished itself.
pub const VANISHED: &str = "the client vanished";
/// What is logged of a server that did not start, with its error.
pub const NOT_STARTED: &str = "the server did not start";
/// How a server is down that has lost its disk.
pub const WIPED: &str = "wiped";

/// What was found when everything had settled.
#[derive(Debug, Clone, Default)]
pub struct FinalState {
    /// What each server holds. A server that could not be read is absent.
    pub content: BTreeMap<String, Content>,
    /// Servers that run and could not be read, and why.
    pub unreadable: BTreeMap<String, String>,
    /// Servers that do not run, and what the last start of each said.
    pub not_started: BTreeMap<String, String>,
    /// (server, database) -> published root.
    pub roots: BTreeMap<(String, String), String>,
    /// The server that is primary at the highest epoch, or the only one.
    pub primary: Option<String>,
    /// How long after `quiet` a write of the primary's succeeded, or after the last loss of power if that took longer; None
    /// if it never did after one of them.
    pub writes_again_after: Option<Micros>,
    /// The same until all roots were equal.
    pub equal_after: Option<Micros>,
    /// Workloads that had got something done, and got nothing done when all was quiet.
    pub stuck: Vec<String>,
    /// Server -> what a check of every byte of its disk found, after it had stopped; absent if nobody asked.
    pub fsck: BTreeMap<String, Vec<String>>,
    /// Server -> ends of connections that its process held when all clients were gone.
    pub connections: BTreeMap<String, usize>,
    /// Server -> sessions that it still had some time after that.
    pub sessions: BTreeMap<String, usize>,
    /// The most memory that the process of the run has used, in bytes. Not the same in every run of a seed.
    pub memory_peak: Option<u64>,
}

impl FinalState {
    /// Everybody began once more, and it took so long until a write succeeded and until all roots were equal; None: they
    /// never did. What is promised is promised of each beginning.
    pub fn began_again(&mut self, writes_after: Option<Micros>, equal_after: Option<Micros>) {
        let later = |before: Option<Micros>, after: Option<Micros>| Some(before?.max(after?));
        self.writes_again_after = later(self.writes_again_after, writes_after);
        self.equal_after = later(self.equal_after, equal_after);
    }
}

/// A run, complete.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub events: Vec<Event>,
    pub end: FinalState,
}

/// An operation with its outcome, as checks like to see it.
#[derive(Debug, Clone)]
pub struct Operation<'a> {
    pub client: &'a str,
    pub invoked_at: Micros,
    pub invoke: &'a Invoke,
    /// None: the run ended first.
    pub returned: Option<(Micros, &'a Outcome)>,
}

impl Operation<'_> {
    /// When it was acknowledged, if it was.
    pub fn acknowledged_at(&self) -> Option<Micros> {
        match self.returned {
            Some((at, Outcome::Ok { .. })) => Some(at),
            _ => None,
        }
    }

    pub fn failed(&self) -> bool {
        matches!(self.returned, Some((_, Outcome::Failed { .. })))
    }
}

impl History {
    /// Whether the operator has told a server to take a role: what its predecessor had alone may be given up with that.
    pub fn has_orders(&self) -> bool {
        let mut events = self.events.iter();
        events.any(|event| matches!(event.what, What::Ordered { .. } | What::RoleCall { .. }))
    }

    /// All operations in the order they were invoked.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let mut operations = Vec::new();
        let mut position = BTreeMap::new();
        for event in &self.events {
            match &event.what {
                What::Invoke(invoke) => {
                    position.insert(invoke.op, operations.len());
                    operations.push(Operation {
                        client: &event.node,
                        invoked_at: event.at,
                        invoke,
                        returned: None,
                    });
                }
                What::Return { op, outcome } => {
                    let index = position
                        .get(op)
                        .copied()
                        .expect("an operation returns after it was invoked");
                    let operation: &mut Operation<'_> = &mut operations[index];
                    assert!(operation.returned.is_none(), "operation {op} returned twice");
                    operation.returned = Some((event.at, outcome));
                }
                _ => {}
            }
        }
        operations
    }
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
        }
    }
}

/// Why a client gives up a session that it has no more use for.
pub const NOT_NEEDED: &str = "the workload is over";

/// So long after the last disturbance nothing is an excuse any more.
pub const CALM_AFTER: Micros = 10_000_000;

impl What {
    /// Whether an answer may be late for it.
    pub fn disturbs(&self) -> bool {
        matches!(
            self,
            What::Quiet
                | What::Start
                | What::Ready { .. }
                | What::Down { .. }
                | What::Damaged
                | What::Mended
                | What::StepBegins { .. }
                | What::StepDone { .. }
                | What::Ordered { .. }
                | What::Role { .. }
        )
    }

    /// A word per kind, for the trace and its summary.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Invoke(_) => "invoke",
            What::Return {
                outcome: Outcome::Ok { .. },
                ..
            } => "ok",
            What::Return {
                outcome: Outcome::Failed { .. },
                ..
            } => "failed",
            What::Return {
                outcome: Outcome::Unknown { .. },
                ..
            } => "unknown",
            What::Connected { .. } => "connected",
            What::Disconnected { .. } => "disconnected",
            What::NotConnected { .. } => "unconnected",
            What::Role { .. } => "role",
            What::Root(_) => "root",
            What::Acknowledged(_) => "acknowledged",
            What::Start => "start",
            What::Ready { .. } => "ready",
            What::Down { .. } => "down",
            What::Damaged => "damaged",
            What::Misread => "misled",
            What::Mended => "mended",
            What::DiskFailed { .. } => "failing",
            What::RoleCall { .. } => "calls",
            What::StepBegins { .. } => "step",
            What::StepDone { .. } => "done",
            What::Ordered { .. } => "ordered",
            What::Declined { .. } => "declined",
            What::Log { .. } => "log",
            What::Panic { .. } => "panic",
            What::Quiet => "quiet",
            What::Sometimes { .. } => "sometimes",
            What::Overflow { .. } => "overflow",
            What::Storage(event) => event.kind(),
        }
    }
}

/// The event as a line of a trace.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", show_moment(self.at), self.node, self.what.kind())?;
        match &self.what {
            What::Invoke(invoke) => {
                write!(
                    f,
                    " #{} {}.{} on {} turn={}",
                    invoke.op, invoke.workload, invoke.action, invoke.server, invoke.turn
                )?;
                for write in &invoke.writes {
                    write!(f, " {}[{}]+={}", write.table, write.key, write.value)?;
                }
                for asked in &invoke.asked {
                    write!(f, " {}[{}]:={}", asked.table, asked.key, asked.value)?;
                }
                Ok(())
            }
            What::Return { op, outcome } => {
                write!(f, " #{op}")?;
                match outcome {
                    Outcome::Ok { reads } => {
                        for read in reads {
                            write!(f, " {}[{}]={:?}", read.table, read.key, read.values)?;
                        }
                        Ok(())
                    }
                    Outcome::Failed { sqlstate } => write!(f, " {sqlstate}"),
                    Outcome::Unknown { why } => write!(f, " {why}"),
                }
            }
            What::Connected { server } => write!(f, " {server}"),
            What::Disconnected { server, why } | What::NotConnected { server, why } => write!(f, " {server}: {why}"),
            What::Role { role, epoch } => write!(f, " {}@{epoch}", role.word()),
            What::Root(root) => {
                let how = root.origin.word();
                write!(
                    f,
                    " {} {how} {} {} after {} epoch {}",
                    root.database, root.sequence, root.root, root.previous, root.epoch
                )
            }
            What::Acknowledged(Acknowledged {
                by,
                database,
                sequence,
                root,
            }) => write!(f, " {database} {sequence} {root} by {by}"),
            What::Start | What::Damaged | What::Misread | What::Mended | What::Quiet => Ok(()),
            What::Ready {
                role: Some((role, epoch)),
            } => write!(f, " {}@{epoch}", role.word()),
            What::Ready { role: None } => Ok(()),
            What::Down { how } => write!(f, " {how}"),
            What::RoleCall { role } => write!(f, " {}", role.map_or("for some role", Role::word)),
            What::StepBegins { step } | What::StepDone { step } => write!(f, " {step}"),
            What::Ordered {
                server,
                role,
                epoch,
                rescue,
            } => {
                let why = if *rescue { ", as a rescue" } else { "" };
                write!(f, " {server}: assume {} at {epoch}{why}", role.word())
            }
            What::Declined { server, role, epoch } => write!(f, " {server}: assume {} at {epoch}", role.word()),
            What::DiskFailed { fault } => write!(f, " {fault}"),
            What::Log { level, message, fields } => write!(f, " {} {message} {fields}", level.word()),
            What::Panic { message } => write!(f, " {message}"),
            What::Sometimes { fact } => write!(f, " {fact}"),
            What::Overflow { queue } => write!(f, " {queue}"),
            What::Storage(event) => write!(f, "{event}"),
        }
    }
}
