//! What happened to a store, for the history.
//!
//! Must not know: how it is judged.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use understudy::runtime::disk::simulated::{Fault, FaultKind};

/// What a row holds: a number that is written once, and how many bytes of padding follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    pub value: i64,
    pub bytes: u32,
}

/// table -> key -> row.
pub type Tables = BTreeMap<String, BTreeMap<i64, Cell>>;

/// The table that holds one row for every commit, under its number.
pub const JOURNAL: &str = "journal";

/// One change that a commit makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    Create { table: String },
    Drop { table: String },
    Put { table: String, key: i64, cell: Cell },
    Delete { table: String, key: i64 },
}

/// Why a commit was refused: certainly nothing of it remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else changed the same row.
    Conflict,
    /// No space left.
    Full,
    /// The store accepts no writes since a sync failed.
    Closed,
    /// A byte on disk is not what was written.
    Damage,
    /// The process had died before anything was written.
    Dead,
    Other,
}

/// Where the files of a database's log ended at some moment: what is written later lies there or behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    pub folder: String,
    pub segment: u64,
    pub offset: u64,
}

/// What a start found of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Found,
    /// It is listed and has no root; another was made.
    Empty,
    /// It is not listed; another was made.
    Unlisted,
}

impl Start {
    pub fn created(self) -> bool {
        self != Start::Found
    }
}

#[derive(Debug, Clone)]
pub enum StorageEvent {
    /// A commit is asked for.
    Commit {
        number: u64,
        /// Also a version commit.
        versioned: bool,
        edits: Vec<Edit>,
        log: Option<LogEnd>,
    },
    /// It is acknowledged, as this root of the log.
    Committed {
        number: u64,
        sequence: u64,
        log: Option<LogEnd>,
    },
    Refused {
        number: u64,
        refusal: Refusal,
        error: String,
        injected: Vec<Fault>,
    },
    /// It may be there after the next start, or not.
    Unknown {
        number: u64,
        error: String,
    },
    /// The engine works.
    Opened {
        start: Start,
        /// The log ends with the newest root that was found.
        log: Option<LogEnd>,
        /// Of this disk, in the order of the events that told of them.
        injected: Vec<Fault>,
    },
    NotOpened {
        error: String,
        injected: Vec<Fault>,
    },
    /// Everything a reader found. A reader other than 0 keeps its transaction: it must find the same again.
    Found {
        reader: u64,
        tables: Tables,
        /// The numbers of the version commits, newest first.
        versions: Vec<u64>,
    },
    /// A reader was told that it cannot have what it asked for.
    ReadFailed {
        error: String,
        injected: Vec<Fault>,
    },
    /// The disk did something wrong, now.
    Fault {
        kind: FaultKind,
        path: String,
        offset: u64,
    },
    /// The life is over.
    Ended {
        how: &'static str,
    },
    /// What is on the disk is beyond repair; the next life begins on a new one.
    Replaced,
    /// From here on nothing goes wrong.
    Calm,
    /// The plan is done.
    Done,
}

impl StorageEvent {
    pub fn kind(&self) -> &'static str {
        match self {
            StorageEvent::Commit { .. } => "commit",
            StorageEvent::Committed { .. } => "committed",
            StorageEvent::Refused { .. } => "refused",
            StorageEvent::Unknown { .. } => "unknown",
            StorageEvent::Opened { .. } => "opened",
            StorageEvent::NotOpened { .. } => "not opened",
            StorageEvent::Found { .. } => "found",
            StorageEvent::ReadFailed { .. } => "read failed",
            StorageEvent::Fault { .. } => "fault",
            StorageEvent::Ended { .. } => "ended",
            StorageEvent::Replaced => "replaced",
            StorageEvent::Calm => "calm",
            StorageEvent::Done => "done",
        }
    }
}

/// What follows the kind in a line of a trace.
impl fmt::Display for StorageEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageEvent::Commit {
                number,
                versioned,
                edits,
                ..
            } => {
                write!(f, " {number}{}", if *versioned { " with a version:" } else { ":" })?;
                edits.iter().try_for_each(|edit| write!(f, " {edit}"))
            }
            StorageEvent::Committed { number, sequence, .. } => write!(f, " {number} as root {sequence}"),
            StorageEvent::Refused {
                number, refusal, error, ..
            } => write!(f, " {number} {refusal:?}: {error}"),
            StorageEvent::Unknown { number, error } => write!(f, " {number}: {error}"),
            StorageEvent::Opened { start, .. } => f.write_str(if start.created() { " and created" } else { "" }),
            StorageEvent::NotOpened { error, .. } | StorageEvent::ReadFailed { error, .. } => write!(f, " {error}"),
            StorageEvent::Found {
                reader,
                tables,
                versions,
            } => {
                write!(f, " by {reader}:")?;
                for (table, rows) in tables {
                    let sum = rows.values().fold(0i64, |sum, cell| sum.wrapping_add(cell.value));
                    write!(f, " {table} {} rows sum {sum},", rows.len())?;
                }
                write!(f, " versions {versions:?}")
            }
            StorageEvent::Fault { kind, path, offset } => write!(f, " {} {path} {offset}", kind.word()),
            StorageEvent::Ended { how } => write!(f, " {how}"),
            StorageEvent::Replaced | StorageEvent::Calm | StorageEvent::Done => Ok(()),
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::Create { table } => write!(f, "+{table}"),
            Edit::Drop { table } => write!(f, "-{table}"),
            Edit::Put { table, key, cell } => write!(f, "{table}[{key}]={}/{}", cell.value, cell.bytes),
            Edit::Delete { table, key } => write!(f, "{table}[{key}]-"),
        }
    }
}
