//! Planted violations for the checks of a storage engine on its own.

use understudy::runtime::disk::simulated::{Fault, FaultKind};

use super::{Story, breaks, holds};
use crate::check::storage::{self, sometimes};
use crate::check::{Arg, Check};
use crate::history::What;
use crate::storage::event::{Cell, Edit, JOURNAL, LogEnd, Refusal, Start, StorageEvent, Tables};

const FOLDER: &str = "databases/shop-1";
const LOG: &str = "databases/shop-1/log-00000001.seg";

/// Commits lie one after the other in the log, a hundred bytes each.
fn end_of(commit: u64) -> u64 {
    1_000 + commit * 100
}

fn log(end: u64) -> Option<LogEnd> {
    Some(LogEnd {
        folder: FOLDER.to_owned(),
        segment: 1,
        offset: end,
    })
}

fn cell(value: i64) -> Cell {
    Cell { value, bytes: 3 }
}

/// A commit puts its number under key 0 of `t`, and its line into the journal.
fn edits(number: u64) -> Vec<Edit> {
    let put = |table: &str, key: u64, value: u64| Edit::Put {
        table: table.to_owned(),
        key: key as i64,
        cell: cell(value as i64),
    };
    vec![put("t", 0, number), put(JOURNAL, number, 0)]
}

/// What a reader finds that finds these commits whole.
fn tables(commits: &[u64]) -> Tables {
    let mut tables = Tables::new();
    for number in commits {
        tables
            .entry("t".to_owned())
            .or_default()
            .insert(0, cell(*number as i64));
        let journal = tables.entry(JOURNAL.to_owned()).or_default();
        journal.insert(*number as i64, cell(0));
    }
    tables
}

impl Story {
    fn storage(self, event: StorageEvent) -> Story {
        self.event("store", What::Storage(event))
    }

    fn asks(self, number: u64) -> Story {
        self.storage(StorageEvent::Commit {
            number,
            versioned: false,
            edits: edits(number),
            log: log(end_of(number - 1)),
        })
    }

    fn committed(self, number: u64) -> Story {
        let (sequence, log) = (number, log(end_of(number)));
        self.storage(StorageEvent::Committed { number, sequence, log })
    }

    fn commits(self, number: u64) -> Story {
        self.asks(number).committed(number)
    }

    fn unknown(self, number: u64) -> Story {
        let error = "lost".to_owned();
        self.asks(number).storage(StorageEvent::Unknown { number, error })
    }

    fn refused(self, number: u64, refusal: Refusal, error: &str) -> Story {
        self.asks(number).storage(StorageEvent::Refused {
            number,
            refusal,
            error: error.to_owned(),
            injected: Vec::new(),
        })
    }

    fn starts(self, found: &[u64]) -> Story {
        self.starts_as(Start::Found, found)
    }

    fn starts_as(self, start: Start, found: &[u64]) -> Story {
        let told = self.0.events.iter().filter_map(|event| match &event.what {
            What::Storage(StorageEvent::Fault { kind, path, offset }) => Some(Fault {
                kind: *kind,
                path: path.clone(),
                offset: *offset,
                bytes: 1,
            }),
            _ => None,
        });
        let injected = told.collect();
        let log = log(end_of(found.iter().copied().max().unwrap_or(0)));
        self.storage(StorageEvent::Ended { how: "killed" })
            .storage(StorageEvent::Opened { start, log, injected })
            .finds(found)
    }

    fn finds(self, found: &[u64]) -> Story {
        self.found_by(0, tables(found), &[])
    }

    fn found_by(self, reader: u64, tables: Tables, versions: &[u64]) -> Story {
        self.storage(StorageEvent::Found {
            reader,
            tables,
            versions: versions.to_vec(),
        })
    }

    fn fault(self, kind: FaultKind) -> Story {
        self.fault_in(kind, LOG, end_of(0))
    }

    fn fault_in(self, kind: FaultKind, path: &str, offset: u64) -> Story {
        let path = path.to_owned();
        self.storage(StorageEvent::Fault { kind, path, offset })
    }
}

fn story() -> Story {
    Story::default().starts(&[])
}

#[test]
fn commits_survive() {
    let check = &storage::COMMITS_SURVIVE;
    let two = || story().commits(1).commits(2);
    holds(check, Arg::None, &two().starts(&[1, 2]).finds(&[1, 2]));
    breaks(
        check,
        Arg::None,
        &two().starts(&[1]),
        "[2] are gone after a start, and the disk had done nothing wrong to the log behind 1100 of segment 1",
    );
    breaks(
        check,
        Arg::None,
        &two().finds(&[1]),
        "lacks the acknowledged commits [2]",
    );
    // A disk that lied takes the newest, and only those that were asked for before it lied.
    let lied = || story().commits(1).asks(2);
    let lied = || lied().fault_in(FaultKind::LostWrite, LOG, end_of(1)).committed(2);
    holds(check, Arg::None, &lied().starts(&[1]).finds(&[1]));
    breaks(check, Arg::None, &lied().starts(&[2]), "[1] are gone");
    breaks(
        check,
        Arg::None,
        &lied().fault(FaultKind::BitRot).starts(&[]).commits(3).starts(&[]),
        "[3] are gone",
    );
    let early = story().fault(FaultKind::LostWrite).commits(1);
    breaks(check, Arg::None, &early.starts(&[]), "[1] are gone");
    let hole = two().fault(FaultKind::BitRot).starts(&[2]);
    breaks(check, Arg::None, &hole, "a hole");
    // A failed sync or a full disk excuses nothing.
    breaks(
        check,
        Arg::None,
        &two().fault(FaultKind::FailedSync).starts(&[1]),
        "[2] are gone",
    );
    // Nobody knows; then it is settled.
    let unknown = || story().commits(1).unknown(2);
    holds(check, Arg::None, &unknown().starts(&[1, 2]).starts(&[1, 2]));
    holds(check, Arg::None, &unknown().starts(&[1]).starts(&[1]));
    breaks(
        check,
        Arg::None,
        &unknown().finds(&[1, 2]),
        "sees [2], which nobody acknowledged",
    );
    breaks(
        check,
        Arg::None,
        &unknown().starts(&[1, 2]).starts(&[1]),
        "[2] are gone",
    );
    breaks(
        check,
        Arg::None,
        &unknown().starts(&[1]).starts(&[1, 2]),
        "commit 2 is there after a start, and was refused",
    );
    let refused = story().refused(1, Refusal::Full, "full");
    breaks(
        check,
        Arg::None,
        &refused.starts(&[1]),
        "was refused or never asked for",
    );
    holds(check, Arg::None, &two().storage(StorageEvent::Replaced).starts(&[]));
}

/// If this fails, a store may throw away what was acknowledged whenever its disk does anything wrong anywhere.
#[test]
fn damage_elsewhere_or_before_is_no_excuse_for_commits_that_are_gone() {
    let check = &storage::COMMITS_SURVIVE;
    let three = || story().commits(1).commits(2).commits(3);
    let rot = |story: Story, path: &str, offset: u64| story.fault_in(FaultKind::BitRot, path, offset);
    // One bit of the newest commit: nothing proves that it was synced. One of a commit before it: that one's root does.
    holds(check, Arg::None, &rot(three(), LOG, end_of(2) + 7).starts(&[1, 2]));
    breaks(
        check,
        Arg::None,
        &rot(three(), LOG, end_of(1) + 7).starts(&[1]),
        "3, which was asked for when others of them were acknowledged, is whole in the log",
    );
    // Unless it was hurt, too, or the head of its segment.
    let twice = rot(rot(three(), LOG, end_of(1) + 7), LOG, end_of(2));
    holds(check, Arg::None, &twice.starts(&[1]));
    let headless = rot(rot(three(), LOG, end_of(1) + 7), LOG, 3);
    holds(check, Arg::None, &headless.starts(&[1]));
    // Two that were under way together prove nothing of each other.
    let together = || story().commits(1).asks(2).asks(3).committed(2).committed(3);
    holds(check, Arg::None, &rot(together(), LOG, end_of(1) + 7).starts(&[1]));

    let nothing = "had done nothing wrong to the log";
    for path in [
        "databases/shop-1/MANIFEST",
        "databases/shop-2/log-00000001.seg",
        ".understudy/system/log-00000001.seg",
    ] {
        breaks(
            check,
            Arg::None,
            &rot(three(), path, end_of(2) + 7).starts(&[1, 2]),
            nothing,
        );
    }
    // Before the root that was kept, and before the commit was asked for.
    breaks(
        check,
        Arg::None,
        &rot(three(), LOG, end_of(1) + 7).starts(&[1, 2]),
        nothing,
    );
    let early = rot(story().commits(1).commits(2), LOG, end_of(3));
    breaks(check, Arg::None, &early.commits(3).starts(&[1, 2]), nothing);
    // The medium is right, however a reader was misled.
    let misled = three().fault_in(FaultKind::Misread, LOG, end_of(2) + 7);
    breaks(check, Arg::None, &misled.starts(&[1, 2]), nothing);
}

/// If this fails, a whole database may vanish after one bit that somebody read wrong.
#[test]
fn a_database_vanishes_only_when_the_list_of_databases_was_damaged_since_it_was_made() {
    let check = &storage::COMMITS_SURVIVE;
    const LIST: &str = ".understudy/system/log-00000001.seg";
    let made = || Story::default().starts_as(Start::Unlisted, &[]).commits(1);
    let gone = |story: Story| story.starts_as(Start::Unlisted, &[]);
    let why = "the database is not listed any more";
    holds(
        check,
        Arg::None,
        &gone(made().fault_in(FaultKind::LostWrite, LIST, 100)),
    );
    breaks(check, Arg::None, &gone(made()), why);
    breaks(
        check,
        Arg::None,
        &gone(made().fault_in(FaultKind::Misread, LIST, 100)),
        why,
    );
    breaks(
        check,
        Arg::None,
        &gone(made().fault_in(FaultKind::BitRot, LOG, 100)),
        why,
    );
    // The write of the list was lost in the life in which the database was made.
    let as_it_was_made = Story::default().fault_in(FaultKind::LostWrite, LIST, 100);
    let as_it_was_made = as_it_was_made.storage(StorageEvent::Opened {
        start: Start::Unlisted,
        log: None,
        injected: Vec::new(),
    });
    holds(check, Arg::None, &gone(as_it_was_made.finds(&[]).commits(1)));
    let before = Story::default().fault_in(FaultKind::LostWrite, LIST, 100);
    let before = before.starts_as(Start::Unlisted, &[]).commits(1);
    breaks(check, Arg::None, &gone(before), why);
    // A log without a root is its own list's damage, and the log's.
    let empty = |story: Story| story.starts_as(Start::Empty, &[]);
    holds(
        check,
        Arg::None,
        &empty(made().fault_in(FaultKind::LostWrite, LOG, end_of(0))),
    );
    breaks(check, Arg::None, &empty(made()), "nothing wrong to the log behind 0");
}

#[test]
fn commits_are_whole() {
    let check = &storage::COMMITS_ARE_WHOLE;
    let two = || story().commits(1).commits(2);
    holds(check, Arg::None, &two().finds(&[1, 2]).finds(&[1]));
    let with = |table: &str, key: i64, row: Option<Cell>, part: &str| {
        let mut found = tables(&[1, 2]);
        let rows = found.entry(table.to_owned()).or_default();
        match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
        breaks(check, Arg::None, &two().found_by(0, found, &[]), part);
    };
    with(
        "t",
        0,
        Some(cell(1)),
        "t, key 0: found Some(Cell { value: 1, bytes: 3 })",
    );
    with("t", 0, Some(Cell { value: 2, bytes: 4 }), "t, key 0");
    with("t", 0, None, "t, key 0: found None");
    with("t", 9, Some(cell(1)), "t, key 9");
    with("u", 0, None, "the table u is there");
    let mut fewer = tables(&[1, 2]);
    fewer.remove("t");
    breaks(
        check,
        Arg::None,
        &two().found_by(0, fewer, &[]),
        "the table t is missing",
    );
    breaks(
        check,
        Arg::None,
        &story().finds(&[1]),
        "commit 1, which nobody asked for",
    );
    breaks(
        check,
        Arg::None,
        &two().found_by(0, tables(&[1, 2]), &[2]),
        "version commits [2], [] are due",
    );
    // A reader that keeps its transaction sees what it saw, whatever is committed.
    let kept = || story().commits(1).found_by(1, tables(&[1]), &[]).commits(2);
    holds(check, Arg::None, &kept().found_by(1, tables(&[1]), &[]));
    breaks(
        check,
        Arg::None,
        &kept().found_by(1, tables(&[1, 2]), &[]),
        "found something else",
    );
}

#[test]
fn version_commits_come_with_their_commit() {
    let check = &storage::COMMITS_ARE_WHOLE;
    let versioned = |number| StorageEvent::Commit {
        number,
        versioned: true,
        edits: edits(number),
        log: None,
    };
    let story = || story().storage(versioned(1)).storage(versioned(2));
    holds(check, Arg::None, &story().found_by(0, tables(&[1, 2]), &[2, 1]));
    breaks(
        check,
        Arg::None,
        &story().found_by(0, tables(&[1, 2]), &[1]),
        "[1, 2] are due",
    );
}

fn not_opened(error: &str, kind: FaultKind, path: &str, offset: u64) -> StorageEvent {
    let fault = Fault {
        kind,
        path: path.to_owned(),
        offset,
        bytes: 10,
    };
    StorageEvent::NotOpened {
        error: error.to_owned(),
        injected: vec![fault],
    }
}

#[test]
fn refusals_are_explained() {
    let check = &storage::REFUSALS_ARE_EXPLAINED;
    let damaged = format!("store:/{LOG} is damaged at offset 90: bad");
    let told = |error: &str, kind, path: &str, offset| story().storage(not_opened(error, kind, path, offset));
    holds(check, Arg::None, &told(&damaged, FaultKind::LostWrite, LOG, 100));
    holds(check, Arg::None, &told(&damaged, FaultKind::BitRot, LOG, 81));
    // A log whose last write is lost ends right behind it; and nowhere else.
    let ends = format!("store:/{LOG} is damaged at offset 90: the log ends here, though it was synced further");
    holds(check, Arg::None, &told(&ends, FaultKind::LostWrite, LOG, 80));
    breaks(
        check,
        Arg::None,
        &told(&ends, FaultKind::LostWrite, LOG, 79),
        "where nothing was injected",
    );
    breaks(
        check,
        Arg::None,
        &told(&damaged, FaultKind::LostWrite, LOG, 80),
        "where nothing was injected",
    );
    breaks(
        check,
        Arg::None,
        &told(&damaged, FaultKind::LostWrite, "databases/shop-1/log2", 100),
        "where nothing was injected",
    );
    breaks(
        check,
        Arg::None,
        &told(&damaged, FaultKind::FailedSync, LOG, 100),
        "where nothing was injected",
    );
    breaks(
        check,
        Arg::None,
        &told("a chunk is missing", FaultKind::LostWrite, LOG, 100),
        "names no file and offset",
    );
    let no_offset = format!("cannot read store:/{LOG}: bad");
    breaks(
        check,
        Arg::None,
        &told(&no_offset, FaultKind::LostWrite, LOG, 100),
        "names no file and offset",
    );
    let whole_store = "store:/databases/shop-1 is damaged at offset 0: bad";
    holds(check, Arg::None, &told(whole_store, FaultKind::LostWrite, LOG, 100));
    let read = StorageEvent::ReadFailed {
        error: damaged.clone(),
        injected: Vec::new(),
    };
    breaks(
        check,
        Arg::None,
        &story().storage(read),
        "a reader was refused over databases/shop-1/log-00000001.seg at 90",
    );

    let full = "cannot write store:/x: No space left on device (os error 28)";
    let sync = "cannot sync store:/x: Input/output error (os error 5)";
    for (error, kind, refusal) in [
        (full, FaultKind::DiskFull, Refusal::Full),
        (sync, FaultKind::FailedSync, Refusal::Closed),
    ] {
        let other = told(error, FaultKind::LostWrite, "y", 0);
        breaks(check, Arg::None, &other, "names no file and offset");
        let opening = story().fault(kind).storage(not_opened(error, kind, "x", 0));
        holds(check, Arg::None, &opening);
        holds(check, Arg::None, &story().fault(kind).refused(1, refusal, error));
        breaks(
            check,
            Arg::None,
            &story().refused(1, refusal, error),
            "for no good reason",
        );
        // What went wrong in an earlier life excuses nothing in this one.
        let later = story().fault(kind).starts(&[]).refused(1, refusal, error);
        breaks(check, Arg::None, &later, "for no good reason");
    }
    for refusal in [Refusal::Conflict, Refusal::Dead] {
        holds(check, Arg::None, &story().refused(1, refusal, "so it goes"));
    }
    breaks(
        check,
        Arg::None,
        &story().refused(1, Refusal::Other, "no idea"),
        "for no good reason: no idea",
    );
    breaks(
        check,
        Arg::None,
        &story().refused(1, Refusal::Damage, &damaged),
        "a commit was refused over",
    );
}

#[test]
fn no_commit_after_failed_sync() {
    let check = &storage::NO_COMMIT_AFTER_FAILED_SYNC;
    let failed = || story().commits(1).asks(2).fault(FaultKind::FailedSync);
    let under_way = failed().storage(StorageEvent::Committed {
        number: 2,
        sequence: 2,
        log: None,
    });
    holds(check, Arg::None, &under_way.starts(&[1, 2]).commits(3));
    breaks(
        check,
        Arg::None,
        &failed().commits(3),
        "commit 3 was acknowledged after a sync of databases/shop-1/log-00000001.seg had failed",
    );
    holds(check, Arg::None, &story().fault(FaultKind::StuckSync).commits(1));
}

#[test]
fn store_goes_on() {
    let check = &storage::STORE_GOES_ON;
    let calm = || story().commits(1).storage(StorageEvent::Calm);
    holds(check, Arg::None, &calm().starts(&[1]).commits(2).finds(&[1, 2]));
    breaks(
        check,
        Arg::None,
        &calm().starts(&[1]).commits(2),
        "commit 2 was acknowledged in the last life and not found",
    );
    breaks(check, Arg::None, &calm().starts(&[1]), "no commit was acknowledged");
    let conflict = StorageEvent::Refused {
        number: 2,
        refusal: Refusal::Conflict,
        error: "a conflict".to_owned(),
        injected: Vec::new(),
    };
    breaks(
        check,
        Arg::None,
        &calm().starts(&[1]).storage(conflict).finds(&[1]),
        "no commit was acknowledged",
    );
    breaks(
        check,
        Arg::None,
        &story().commits(1).finds(&[1]),
        "never came to its last life",
    );
}

#[test]
fn sometimes_are_seen_when_they_happen_and_only_then() {
    let place = |error: &str| story().storage(not_opened(error, FaultKind::LostWrite, LOG, 1));
    let cases: Vec<(&'static Check, Story, Story)> = vec![
        (
            &sometimes::UNKNOWN_COMMIT_SURVIVED,
            story().unknown(1).starts(&[1]),
            story().unknown(1).starts(&[]).starts(&[1]),
        ),
        (
            &sometimes::UNKNOWN_COMMIT_VANISHED,
            story().unknown(1).starts(&[]),
            story().unknown(1).starts(&[1]).starts(&[]),
        ),
        (
            &sometimes::WROTE_AGAIN_AFTER_FULL,
            story().refused(1, Refusal::Full, "full").commits(2),
            story().refused(1, Refusal::Full, "full").starts(&[]).commits(2),
        ),
        (
            &sometimes::REFUSED_AFTER_FAILED_SYNC,
            story()
                .fault(FaultKind::FailedSync)
                .refused(1, Refusal::Closed, "closed"),
            story()
                .fault(FaultKind::FailedSync)
                .refused(1, Refusal::Conflict, "busy"),
        ),
        (
            &sometimes::DAMAGE_WAS_NAMED,
            place("store:/x is damaged at offset 3: bad"),
            place("cannot open store:/x: bad"),
        ),
        (
            &sometimes::DAMAGE_TOOK_THE_NEWEST,
            story().commits(1).starts(&[]),
            story().commits(1).storage(StorageEvent::Replaced).starts(&[]),
        ),
        (
            &sometimes::POWER_LOST_WHILE_OPENING,
            story()
                .starts(&[])
                .storage(StorageEvent::Ended { how: "x" })
                .storage(StorageEvent::Ended { how: "x" }),
            story().starts(&[]).starts(&[]),
        ),
    ];
    for (check, happened, not) in &cases {
        holds(check, Arg::None, happened);
        breaks(check, Arg::None, not, "did not happen");
    }
}
