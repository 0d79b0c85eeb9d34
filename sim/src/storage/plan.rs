//! A plan for a store: every operation of every life, before anything runs.
//!
//! Each life draws from a stream of its own. Which kinds of operation a seed knows at all is drawn too: leaving some out
//! at random finds more than always doing everything (swarm testing).
//!
//! Must not know: the engine.

use std::fmt;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::event::{Cell, Edit};
use super::spec::{Ending, StorageSpec};
use crate::draw;
use crate::scenario::disk::DiskSettings;
use crate::units::{Micros, show_micros};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoragePlan {
    pub segment_bytes: u64,
    pub cache_bytes: u64,
    pub backlog_bytes: u64,
    pub lives: Vec<Life>,
    /// The commit of the last life, in which nothing goes wrong any more.
    pub last: PlannedCommit,
}

/// From opening the engine to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Life {
    pub disk: DiskSettings,
    pub operations: Vec<Operation>,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Close,
    Kill,
    PowerOff,
    /// So long after these commits have begun together.
    PowerOffDuring {
        commits: Vec<PlannedCommit>,
        after: Micros,
    },
    /// After this many syncs of this life, in the middle of the next one.
    PowerOffAtSync(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// One commit after another, or several at a time; those change different rows.
    Commit(Vec<PlannedCommit>),
    /// Two commits that want the same row: at most one gets it.
    Clash(PlannedCommit, PlannedCommit),
    /// Edits that are never committed.
    Abandon(PlannedCommit),
    /// A reader reads everything.
    Read,
    /// A reader reads everything and keeps its transaction.
    Hold,
    /// All readers that were kept read everything again.
    Look,
    Pause(Micros),
    /// The disk has space again.
    Free,
    /// A bit flips at rest.
    Rot,
    Upkeep(Upkeep),
}

/// What a store is asked to do for its own good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upkeep {
    CollectGarbage,
    Fsck,
    Backup,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCommit {
    /// Unique in the plan.
    pub number: u64,
    pub versioned: bool,
    pub edits: Vec<Edit>,
}

/// How often a kind of operation comes, in those seeds that know it.
const WEIGHTS: [(Kind, u32); KINDS] = [
    (Kind::Commit, 10),
    (Kind::Together, 6),
    (Kind::Clash, 2),
    (Kind::Abandon, 1),
    (Kind::Read, 2),
    (Kind::Hold, 1),
    (Kind::Look, 1),
    (Kind::Pause, 1),
    (Kind::Upkeep(Upkeep::CollectGarbage), 2),
    (Kind::Upkeep(Upkeep::Fsck), 1),
    (Kind::Upkeep(Upkeep::Backup), 1),
];

const KINDS: usize = 11;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Commit,
    Together,
    Clash,
    Abandon,
    Read,
    Hold,
    Look,
    Pause,
    Upkeep(Upkeep),
}

impl StoragePlan {
    pub fn new(spec: &StorageSpec, seed: u64) -> StoragePlan {
        let one = |name: &str| {
            spec.number(name)
                .draw(&mut draw::stream(seed, &format!("plan/storage/{name}")))
        };
        let mut swarm = draw::stream(seed, "plan/storage/swarm");
        let known = WEIGHTS.map(|(kind, weight)| {
            let is_known = kind == Kind::Commit || swarm.random_bool(0.6);
            (kind, if is_known { weight } else { 0 })
        });
        let mut maker = Maker {
            spec,
            known,
            tables: one("tables"),
            keys: one("keys"),
            versions: [0.0, 0.15, 0.5][draw::pick(3, &mut swarm)],
            definitions: [0.0, 0.1][draw::pick(2, &mut swarm)],
            next: 0,
        };
        let lives = (0..one("lives")).map(|life| maker.life(seed, life)).collect();
        StoragePlan {
            segment_bytes: one("segment"),
            cache_bytes: one("cache"),
            backlog_bytes: one("backlog"),
            last: maker.commit(&mut draw::stream(seed, "plan/storage/last"), 0, 1),
            lives,
        }
    }
}

struct Maker<'a> {
    spec: &'a StorageSpec,
    known: [(Kind, u32); KINDS],
    tables: u64,
    keys: u64,
    /// Share of commits that are version commits, and of those that create or drop tables.
    versions: f64,
    definitions: f64,
    /// Commits so far.
    next: u64,
}

impl Maker<'_> {
    fn life(&mut self, seed: u64, number: u64) -> Life {
        let name = format!("plan/storage/life/{number}");
        let disk = self
            .spec
            .disk
            .draw(|word| draw::stream(seed, &format!("{name}/disk/{word}")));
        let mut rng = draw::stream(seed, &name);
        let count = self.spec.number("operations").draw(&mut rng);
        let mut operations: Vec<Operation> = (0..count).map(|_| self.operation(&mut rng)).collect();
        let rot = u32::try_from(self.spec.number("rot").draw(&mut rng)).expect("a share of a million");
        if rng.random_ratio(rot, 1_000_000) {
            operations.insert(rng.random_range(0..=operations.len()), Operation::Rot);
        }
        if disk.fills() {
            operations.insert(rng.random_range(0..=operations.len()), Operation::Free);
        }
        let end = match self.spec.ends[draw::pick(self.spec.ends.len(), &mut rng)] {
            Ending::Close => End::Close,
            Ending::Kill => End::Kill,
            Ending::PowerOff => End::PowerOff,
            Ending::PowerOffDuring => End::PowerOffDuring {
                commits: self.together(&mut rng),
                after: rng.random_range(0..4_000),
            },
            // A commit is a sync or two, and opening is a few.
            Ending::PowerOffAtSync => End::PowerOffAtSync(rng.random_range(0..4 + 2 * count)),
        };
        Life { disk, operations, end }
    }

    fn operation(&mut self, rng: &mut ChaCha8Rng) -> Operation {
        let mut at = rng.random_range(0..self.known.iter().map(|(_, weight)| weight).sum());
        let kind = self.known.iter().find(|(_, weight)| match at.checked_sub(*weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        match kind.expect("the number drawn lies below the sum").0 {
            Kind::Commit => Operation::Commit(vec![self.commit(rng, 0, 1)]),
            Kind::Together => Operation::Commit(self.together(rng)),
            Kind::Clash => {
                let (mut first, mut second) = (self.commit(rng, 0, 2), self.commit(rng, 1, 2));
                let put = |number: u64| Edit::Put {
                    table: "t0".to_owned(),
                    key: 0,
                    cell: cell(number, 0, 0),
                };
                first.edits.push(put(first.number));
                second.edits.push(put(second.number));
                Operation::Clash(first, second)
            }
            Kind::Abandon => Operation::Abandon(self.commit(rng, 0, 1)),
            Kind::Read => Operation::Read,
            Kind::Hold => Operation::Hold,
            Kind::Look => Operation::Look,
            Kind::Pause => Operation::Pause(rng.random_range(0..20_000)),
            Kind::Upkeep(upkeep) => Operation::Upkeep(upkeep),
        }
    }

    /// Commits of different rows.
    fn together(&mut self, rng: &mut ChaCha8Rng) -> Vec<PlannedCommit> {
        let writers = self.spec.number("writers").draw(rng);
        (0..writers).map(|writer| self.commit(rng, writer, writers)).collect()
    }

    /// A commit of one of several writers: its keys are those that leave `writer` when divided by `writers`.
    fn commit(&mut self, rng: &mut ChaCha8Rng, writer: u64, writers: u64) -> PlannedCommit {
        self.next += 1;
        let number = self.next;
        let alone = writers == 1;
        let mut edits: Vec<Edit> = Vec::new();
        for index in 0..self.spec.number("edits").draw(rng) {
            let table = format!("t{}", rng.random_range(0..self.tables));
            let key = rng.random_range(0..self.keys);
            let key = i64::try_from(key - key % writers + writer).expect("keys are few");
            if rng.random_bool(0.2) {
                edits.push(Edit::Delete { table, key });
            } else {
                let bytes = self.spec.number("value").draw(rng);
                let cell = cell(number, index, bytes);
                edits.push(Edit::Put { table, key, cell });
            }
        }
        if alone && rng.random_bool(self.definitions) {
            let table = format!("t{}", rng.random_range(0..self.tables));
            edits.push(Edit::Drop { table });
        }
        PlannedCommit {
            number,
            // Two version commits at a time conflict by nature.
            versioned: writer == 0 && rng.random_bool(self.versions),
            edits,
        }
    }
}

fn cell(number: u64, index: u64, bytes: u64) -> Cell {
    Cell {
        value: i64::try_from(number * 1_000 + index).expect("commits are few"),
        bytes: u32::try_from(bytes).expect("the size of a value has a bound"),
    }
}

fn show(micros: Micros) -> String {
    show_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

impl Operation {
    /// How much there is to take away: the operation itself, and its edits.
    pub fn weight(&self) -> usize {
        1 + match self {
            Operation::Commit(commits) => commits.iter().map(|commit| commit.edits.len()).sum(),
            Operation::Clash(first, second) => first.edits.len() + second.edits.len(),
            Operation::Abandon(commit) => commit.edits.len(),
            _ => 0,
        }
    }
}

impl fmt::Display for PlannedCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {{", self.number, if self.versioned { "v" } else { "" })?;
        self.edits.iter().try_for_each(|edit| write!(f, " {edit}"))?;
        f.write_str(" }")
    }
}

fn join(commits: &[PlannedCommit]) -> String {
    commits.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Commit(commits) => write!(f, "commit {}", join(commits)),
            Operation::Clash(first, second) => write!(f, "clash {first} | {second}"),
            Operation::Abandon(commit) => write!(f, "abandon {commit}"),
            Operation::Read => f.write_str("read"),
            Operation::Hold => f.write_str("hold"),
            Operation::Look => f.write_str("look"),
            Operation::Pause(micros) => write!(f, "pause {}", show(*micros)),
            Operation::Free => f.write_str("free"),
            Operation::Rot => f.write_str("rot"),
            Operation::Upkeep(upkeep) => write!(f, "{upkeep:?}"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Close => f.write_str("close"),
            End::Kill => f.write_str("kill"),
            End::PowerOff => f.write_str("power_off"),
            End::PowerOffDuring { commits, after } => {
                write!(f, "power_off {} into {}", show(*after), join(commits))
            }
            End::PowerOffAtSync(syncs) => write!(f, "power_off within sync {}", syncs + 1),
        }
    }
}

impl fmt::Display for StoragePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  store: segments of {} bytes, a cache of {}, a backlog of {}",
            self.segment_bytes, self.cache_bytes, self.backlog_bytes
        )?;
        for (number, life) in (1..).zip(&self.lives) {
            writeln!(f, "  life {number}: disk {}", life.disk)?;
            for operation in &life.operations {
                writeln!(f, "    {operation}")?;
            }
            writeln!(f, "    {}", life.end)?;
        }
        writeln!(f, "  last life: commit {}", self.last)
    }
}
