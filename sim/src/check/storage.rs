//! Checks of a storage engine on its own: a model of what was committed, and excuses for exactly what was injected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use understudy::engine::CONTROL_FOLDER;
use understudy::runtime::disk::simulated::{Fault, FaultKind};

use super::{Arg, ArgKind, Check, Finding, Judge, Needs, Section, Watch};
use crate::history::{Event, History, What};
use crate::scenario::disk::is_lasting;
use crate::storage::drive::{DATABASES, NODE, segment_number};
use crate::storage::event::{Edit, JOURNAL, LogEnd, Refusal, Start, StorageEvent, Tables};

const fn running(name: &'static str, about: &'static str, make: fn(&Arg) -> Box<dyn Watch>) -> Check {
    Check {
        name,
        about,
        needs: Needs::Storage,
        section: Section::Promise,
        arg: ArgKind::None,
        arg_optional: false,
        judge: Judge::Running(make),
    }
}

pub const COMMITS_SURVIVE: Check = running(
    "commits_survive",
    "After every start all acknowledged commits are there; only the newest may be lost, and only if the disk has since damaged the log where they were, and all that proves them synced. Nothing is there that was refused.",
    |_| Box::new(Survival::default()),
);

#[derive(Default)]
struct Survival {
    /// Certainly there; and what may be.
    settled: BTreeMap<u64, Settled>,
    unknown: BTreeSet<u64>,
    asked: BTreeMap<u64, Asked>,
    events: u64,
    /// How many faults of the disk are on record; how many were when this life began, and when the life began in which
    /// the database was made.
    faults: usize,
    life_began: usize,
    created: usize,
    /// The next reader is the first of its life, and this is what the start found.
    opened: Option<Opened>,
}

/// What is known of a commit from when it was asked for. Its records are written later, and lie behind that end of the log.
#[derive(Clone)]
struct Asked {
    event: u64,
    faults: usize,
    log: Option<LogEnd>,
}

/// And from when it was acknowledged: its records lie before that end of the log.
#[derive(Default)]
struct Settled {
    /// 0: nobody has told.
    sequence: u64,
    event: u64,
    log: Option<LogEnd>,
}

struct Opened {
    start: Start,
    log: Option<LogEnd>,
    injected: Vec<Fault>,
}

/// A place in a log: the number of its segment, and where in it.
type Position = (u64, u64);

fn position(end: Option<&LogEnd>) -> Option<Position> {
    end.map(|end| (end.segment, end.offset))
}

/// Damage there hides a whole segment, and with it what the segment proves.
const HEADER_BYTES_MAX: u64 = 512;

impl Survival {
    fn found(&mut self, found: BTreeSet<u64>) -> Option<String> {
        let settled: BTreeSet<u64> = self.settled.keys().copied().collect();
        let Some(opened) = self.opened.take() else {
            return (found != settled).then(|| {
                let lost: Vec<_> = settled.difference(&found).collect();
                let extra: Vec<_> = found.difference(&settled).collect();
                format!(
                    "a reader lacks the acknowledged commits {lost:?}, and sees {extra:?}, which nobody acknowledged"
                )
            });
        };
        if let Some(extra) = found
            .iter()
            .find(|number| !settled.contains(number) && !self.unknown.contains(number))
        {
            return Some(format!(
                "commit {extra} is there after a start, and was refused or never asked for"
            ));
        }
        let lost: Vec<u64> = settled.difference(&found).copied().collect();
        if !lost.is_empty() {
            let sequence = |number: &u64| self.settled.get(number).map(|settled| settled.sequence);
            let newest_kept = found.iter().filter_map(sequence).max();
            let oldest_lost = lost.iter().filter_map(sequence).min();
            if newest_kept > oldest_lost {
                return Some(format!(
                    "the acknowledged commits {lost:?} are gone after a start, and newer ones are there: a hole"
                ));
            }
        }
        if let Some(why) = self.no_excuse(&lost, &opened) {
            return Some(format!(
                "the acknowledged commits {lost:?} are gone after a start, and {why}"
            ));
        }
        let kept = found
            .into_iter()
            .map(|number| (number, self.settled.remove(&number).unwrap_or_default()));
        self.settled = kept.collect();
        self.unknown.clear();
        None
    }

    /// Why nothing that the disk did explains that these commits are gone without an error.
    fn no_excuse(&self, lost: &[u64], opened: &Opened) -> Option<String> {
        let first = self.asked.get(lost.first()?)?;
        let lasting = |since: usize| {
            let faults = opened.injected.iter().skip(since);
            faults.filter(|fault| is_lasting(fault.kind))
        };
        if opened.start == Start::Unlisted {
            // Without its entry a database is gone, whatever its own files hold.
            let system = Path::new(CONTROL_FOLDER).join("system");
            let of_system = |fault: &Fault| Path::new(&fault.path).starts_with(&system);
            return (!lasting(self.created).any(of_system)).then(|| {
                "the database is not listed any more, though nothing was damaged where it was listed".to_owned()
            });
        }
        let folder = first.log.as_ref().map(|log| log.folder.as_str());
        let in_log = |fault: &Fault| -> Option<(u64, u64, u64)> {
            let (of, file) = fault.path.rsplit_once('/')?;
            let segment = segment_number(file).filter(|_| folder.is_none_or(|folder| folder == of))?;
            Some((segment, fault.offset, fault.offset + fault.bytes))
        };
        // Nothing is kept of a log that has no root.
        let (kept, since) = match opened.start {
            Start::Found => (position(opened.log.as_ref()).unwrap_or_default(), first.faults),
            _ => (Position::default(), self.created),
        };
        let behind = |fault: &Fault| in_log(fault).is_some_and(|(segment, _, end)| (segment, end) > kept);
        if !lasting(since).any(behind) {
            return Some(format!(
                "the disk had done nothing wrong to the log behind {} of segment {}, where it ends now, since they were asked for",
                kept.1, kept.0
            ));
        }
        // A root that was written after another was acknowledged tells that that one was synced.
        let acknowledged = |number: &u64| self.settled.get(number).map(|settled| settled.event);
        let first_told = lost.iter().filter_map(acknowledged).min()?;
        let proves = |number: &&u64| {
            self.asked.get(number).is_some_and(|asked| {
                let until = self
                    .settled
                    .get(number)
                    .and_then(|settled| position(settled.log.as_ref()));
                let (from, until) = (
                    position(asked.log.as_ref()).unwrap_or_default(),
                    until.unwrap_or((u64::MAX, 0)),
                );
                let hurt = |fault: &Fault| {
                    in_log(fault).is_some_and(|(segment, begin, end)| {
                        let inside = (segment, end) > from && (segment, begin) < until;
                        let hides = begin < HEADER_BYTES_MAX && (kept.0..=until.0).contains(&segment);
                        inside || hides
                    })
                };
                asked.event > first_told && !lasting(asked.faults.min(since)).any(hurt)
            })
        };
        let proof = lost.iter().find(proves)?;
        Some(format!(
            "{proof}, which was asked for when others of them were acknowledged, is whole in the log and proves those synced"
        ))
    }
}

impl Watch for Survival {
    fn observe(&mut self, event: &Event) -> Option<String> {
        let What::Storage(event) = &event.what else { return None };
        self.events += 1;
        match event {
            StorageEvent::Commit { number, log, .. } => {
                let asked = Asked {
                    event: self.events,
                    faults: self.faults,
                    log: log.clone(),
                };
                self.asked.insert(*number, asked);
                self.unknown.insert(*number);
            }
            StorageEvent::Committed { number, sequence, log } => {
                self.unknown.remove(number);
                let settled = Settled {
                    sequence: *sequence,
                    event: self.events,
                    log: log.clone(),
                };
                self.settled.insert(*number, settled);
            }
            StorageEvent::Refused { number, .. } => {
                self.unknown.remove(number);
            }
            StorageEvent::Fault { .. } => self.faults += 1,
            StorageEvent::Ended { .. } => self.life_began = self.faults,
            StorageEvent::Opened { start, log, injected } => {
                let opened = Opened {
                    start: *start,
                    log: log.clone(),
                    injected: injected.clone(),
                };
                // A power cut may come before anybody has read: what the start before it found is what counts.
                if self.opened.as_ref().is_none_or(|before| !before.start.created()) {
                    self.opened = Some(opened);
                }
            }
            StorageEvent::Replaced => *self = Survival::default(),
            StorageEvent::Found { reader: 0, tables, .. } => {
                let created = self.opened.as_ref().is_some_and(|opened| opened.start.created());
                let wrong = self.found(commits_in(tables));
                if created {
                    self.created = self.life_began;
                }
                return wrong;
            }
            _ => {}
        }
        None
    }
}

/// The numbers of the commits that a reader found.
fn commits_in(tables: &Tables) -> BTreeSet<u64> {
    let journal = tables.get(JOURNAL).into_iter().flat_map(|rows| rows.keys());
    // A key below zero is none that a commit wrote; it comes out as one that nobody asked for.
    journal.map(|key| u64::try_from(*key).unwrap_or(u64::MAX)).collect()
}

pub const COMMITS_ARE_WHOLE: Check = running(
    "commits_are_whole",
    "Every reader finds exactly the rows and version commits of the commits it finds, and finds the same again whenever it looks.",
    |_| Box::new(Wholeness::default()),
);

#[derive(Default)]
struct Wholeness {
    commits: BTreeMap<u64, (bool, Vec<Edit>)>,
    /// What readers that kept their transaction have found.
    held: BTreeMap<u64, (Tables, Vec<u64>)>,
}

impl Wholeness {
    fn found(&mut self, reader: u64, tables: &Tables, versions: &[u64]) -> Option<String> {
        if let Some((before, versions_before)) = self.held.get(&reader) {
            let same = before == tables && versions_before == versions;
            return (!same)
                .then(|| format!("reader {reader} looked again in one transaction and found something else"));
        }
        if reader > 0 {
            self.held.insert(reader, (tables.clone(), versions.to_vec()));
        }
        let (mut expected, mut expected_versions) = (Tables::new(), Vec::new());
        for number in commits_in(tables) {
            let Some((versioned, edits)) = self.commits.get(&number) else {
                return Some(format!("the journal has commit {number}, which nobody asked for"));
            };
            edits.iter().for_each(|edit| replay(&mut expected, edit));
            if *versioned {
                expected_versions.push(number);
            }
        }
        // Of those that were under way together, any may have come first.
        let mut sorted = versions.to_vec();
        sorted.sort_unstable();
        if sorted != expected_versions {
            return Some(format!(
                "the log has the version commits {sorted:?}, {expected_versions:?} are due"
            ));
        }
        difference(&expected, tables)
    }
}

fn replay(tables: &mut Tables, edit: &Edit) {
    match edit {
        Edit::Create { table } => {
            tables.entry(table.clone()).or_default();
        }
        Edit::Drop { table } => {
            tables.remove(table);
        }
        Edit::Put { table, key, cell } => {
            tables.entry(table.clone()).or_default().insert(*key, *cell);
        }
        Edit::Delete { table, key } => {
            tables.entry(table.clone()).or_default().remove(key);
        }
    }
}

/// The first place where a reader found something else than is due.
fn difference(expected: &Tables, found: &Tables) -> Option<String> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let (due, there) = match (expected.get(name), found.get(name)) {
            (Some(due), Some(there)) => (due, there),
            (None, _) => return Some(format!("the table {name} is there, and should not be")),
            (_, None) => return Some(format!("the table {name} is missing")),
        };
        let keys: BTreeSet<i64> = due.keys().chain(there.keys()).copied().collect();
        for key in keys {
            let (due, there) = (due.get(&key), there.get(&key));
            if due != there {
                return Some(format!("{name}, key {key}: found {there:?}, {due:?} is due"));
            }
        }
    }
    None
}

impl Watch for Wholeness {
    fn observe(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Storage(StorageEvent::Commit {
                number,
                versioned,
                edits,
                ..
            }) => {
                self.commits.insert(*number, (*versioned, edits.clone()));
                None
            }
            What::Storage(StorageEvent::Found {
                reader,
                tables,
                versions,
            }) => self.found(*reader, tables, versions),
            _ => None,
        }
    }
}

pub const REFUSALS_ARE_EXPLAINED: Check = running(
    "refusals_are_explained",
    "Whatever is refused has its reason on record: a conflict, a full disk, a failed sync, a death; or the error names the file and the offset of damage that was injected.",
    |_| Box::new(Explanations::default()),
);

#[derive(Default)]
struct Explanations {
    /// What has gone wrong in this life.
    faults: BTreeSet<FaultKind>,
}

impl Watch for Explanations {
    fn observe(&mut self, event: &Event) -> Option<String> {
        let What::Storage(event) = &event.what else { return None };
        match event {
            StorageEvent::Fault { kind, .. } => {
                self.faults.insert(*kind);
                None
            }
            StorageEvent::Ended { .. } | StorageEvent::Replaced => {
                self.faults.clear();
                None
            }
            StorageEvent::Refused {
                number,
                refusal,
                error,
                injected,
            } => {
                let closes = [FaultKind::FailedSync, FaultKind::DiskFull];
                let fine = match refusal {
                    Refusal::Conflict | Refusal::Dead => true,
                    Refusal::Full => self.faults.contains(&FaultKind::DiskFull),
                    Refusal::Closed => closes.iter().any(|kind| self.faults.contains(kind)),
                    Refusal::Damage => return self.explain("a commit", error, injected),
                    Refusal::Other => false,
                };
                (!fine).then(|| format!("commit {number} was refused for no good reason: {error}"))
            }
            StorageEvent::NotOpened { error, injected } => self.explain("a start", error, injected),
            StorageEvent::ReadFailed { error, injected } => self.explain("a reader", error, injected),
            _ => None,
        }
    }
}

impl Explanations {
    /// Whether an error is due to what was injected, and says where.
    fn explain(&self, who: &str, error: &str, injected: &[Fault]) -> Option<String> {
        let told = [
            ("No space left", FaultKind::DiskFull),
            ("Input/output error", FaultKind::FailedSync),
        ];
        if told
            .iter()
            .any(|(text, kind)| error.contains(text) && self.faults.contains(kind))
        {
            return None;
        }
        let Some((file, offset)) = place(error) else {
            return Some(format!("{who} got an error that names no file and offset: {error}"));
        };
        // What is wrong with a record shows where the record begins; what a whole store lacks is nowhere in it; and a log of
        // which the last write is lost ends behind that.
        let is_behind = error.contains("the log ends here");
        let due = |fault: &Fault| match fault.path.strip_prefix(file) {
            Some("") => offset < fault.offset + fault.bytes + u64::from(is_behind),
            Some(below) => below.starts_with('/'),
            None => false,
        };
        if injected.iter().any(|fault| fault.kind.is_damage() && due(fault)) {
            return None;
        }
        let faults: Vec<String> = injected.iter().map(ToString::to_string).collect();
        Some(format!(
            "{who} was refused over {file} at {offset}, where nothing was injected: {error} (injected: {})",
            faults.join("; ")
        ))
    }
}

/// The file and the offset that an error names.
fn place(error: &str) -> Option<(&str, u64)> {
    let (_, rest) = error.split_once(&format!("{NODE}:/"))?;
    let end = rest.find([' ', ',', ';', ':', ')']).unwrap_or(rest.len());
    let file = &rest[..end];
    let Some((_, number)) = error.split_once("offset ") else {
        // A file of one line has no place worth naming; and a version that rots is taken for another version.
        let begins = file.ends_with("/format") || error.contains("has format version");
        return begins.then_some((file, 0));
    };
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    Some((file, number[..digits].parse().ok()?))
}

pub const NO_COMMIT_AFTER_FAILED_SYNC: Check = running(
    "no_commit_after_failed_sync",
    "Once a sync of a store has failed, nothing that is asked for later is acknowledged until it has been opened again.",
    |_| Box::new(AfterFailedSync::default()),
);

#[derive(Default)]
struct AfterFailedSync {
    /// The file whose sync failed.
    failed: Option<String>,
    /// What was asked for since. A commit that was under way may have been covered by an earlier sync.
    asked: BTreeSet<u64>,
}

impl Watch for AfterFailedSync {
    fn observe(&mut self, event: &Event) -> Option<String> {
        let What::Storage(event) = &event.what else { return None };
        match event {
            StorageEvent::Fault {
                kind: FaultKind::FailedSync,
                path,
                ..
            } if Path::new(path).starts_with(DATABASES) => {
                self.failed = Some(path.clone());
            }
            StorageEvent::Opened { .. } | StorageEvent::Replaced => *self = AfterFailedSync::default(),
            StorageEvent::Commit { number, .. } if self.failed.is_some() => {
                self.asked.insert(*number);
            }
            StorageEvent::Committed { number, .. } if self.asked.contains(number) => {
                let path = self.failed.as_deref().unwrap_or_default();
                return Some(format!(
                    "commit {number} was acknowledged after a sync of {path} had failed"
                ));
            }
            _ => {}
        }
        None
    }
}

pub const STORE_GOES_ON: Check = Check {
    name: "store_goes_on",
    about: "When nothing goes wrong any more, the store opens, and a commit is acknowledged and found.",
    needs: Needs::Storage,
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| goes_on(history)),
};

fn goes_on(history: &History) -> Finding {
    let calm = history
        .events
        .iter()
        .rposition(|event| matches!(event.what, What::Storage(StorageEvent::Calm)));
    let Some(calm) = calm else {
        return Some((None, "the plan never came to its last life".to_owned()));
    };
    let mut committed = None;
    for event in &history.events[calm..] {
        match &event.what {
            What::Storage(StorageEvent::Committed { number, .. }) => committed = Some(*number),
            What::Storage(StorageEvent::Found { reader: 0, tables, .. })
                if committed.is_some_and(|number| commits_in(tables).contains(&number)) =>
            {
                return None;
            }
            _ => {}
        }
    }
    let what = match committed {
        Some(number) => format!("commit {number} was acknowledged in the last life and not found"),
        None => "no commit was acknowledged in the last life, in which nothing went wrong".to_owned(),
    };
    Some((None, what))
}

/// What must happen in some seed of a suite.
pub mod sometimes {
    use super::super::sometimes::sometimes;
    use super::Needs;
    use super::*;

    fn storage(history: &History) -> impl Iterator<Item = &StorageEvent> {
        history.events.iter().filter_map(|event| match &event.what {
            What::Storage(event) => Some(event),
            _ => None,
        })
    }

    /// Whether the commits whose outcome nobody learned are there after the next start, or not.
    fn unknown_found(history: &History, there: bool) -> bool {
        let (mut unknown, mut opened) = (BTreeSet::new(), false);
        storage(history).any(|event| {
            match event {
                StorageEvent::Unknown { number, .. } => {
                    unknown.insert(*number);
                }
                StorageEvent::Opened { .. } => opened = true,
                StorageEvent::Found { reader: 0, tables, .. } if std::mem::take(&mut opened) => {
                    let found = commits_in(tables);
                    return std::mem::take(&mut unknown)
                        .iter()
                        .any(|number| found.contains(number) == there);
                }
                _ => {}
            }
            false
        })
    }

    pub const UNKNOWN_COMMIT_SURVIVED: Check = sometimes(
        "unknown_commit_survived",
        Needs::Storage,
        "A commit whose outcome nobody learned was there after the next start.",
        |history| unknown_found(history, true),
    );

    pub const UNKNOWN_COMMIT_VANISHED: Check = sometimes(
        "unknown_commit_vanished",
        Needs::Storage,
        "A commit whose outcome nobody learned was not there after the next start.",
        |history| unknown_found(history, false),
    );

    pub const WROTE_AGAIN_AFTER_FULL: Check = sometimes(
        "wrote_again_after_full",
        Needs::Storage,
        "A commit was refused because the disk was full, and one of the same life was acknowledged later.",
        |history| {
            let mut refused = false;
            storage(history).any(|event| {
                match event {
                    StorageEvent::Refused {
                        refusal: Refusal::Full, ..
                    } => refused = true,
                    StorageEvent::Opened { .. } => refused = false,
                    _ => {}
                }
                refused && matches!(event, StorageEvent::Committed { .. })
            })
        },
    );

    pub const REFUSED_AFTER_FAILED_SYNC: Check = sometimes(
        "refused_after_failed_sync",
        Needs::Storage,
        "A commit was refused because a sync had failed.",
        |history| {
            let mut failed = false;
            storage(history).any(|event| {
                failed |= matches!(
                    event,
                    StorageEvent::Fault {
                        kind: FaultKind::FailedSync,
                        ..
                    }
                );
                failed
                    && matches!(
                        event,
                        StorageEvent::Refused {
                            refusal: Refusal::Closed,
                            ..
                        }
                    )
            })
        },
    );

    pub const DAMAGE_WAS_NAMED: Check = sometimes(
        "damage_was_named",
        Needs::Storage,
        "A start or a reader was refused with the place of the damage.",
        |history| {
            storage(history).any(|event| match event {
                StorageEvent::NotOpened { error, .. } | StorageEvent::ReadFailed { error, .. } => {
                    place(error).is_some()
                }
                _ => false,
            })
        },
    );

    pub const DAMAGE_TOOK_THE_NEWEST: Check = sometimes(
        "damage_took_the_newest",
        Needs::Storage,
        "An acknowledged commit was gone after a start, because the disk had lied about it.",
        |history| {
            let (mut settled, mut opened) = (BTreeSet::new(), false);
            storage(history).any(|event| {
                match event {
                    StorageEvent::Committed { number, .. } => {
                        settled.insert(*number);
                    }
                    StorageEvent::Opened { .. } => opened = true,
                    StorageEvent::Replaced => settled.clear(),
                    StorageEvent::Found { reader: 0, tables, .. } if std::mem::take(&mut opened) => {
                        let found = commits_in(tables);
                        let lost = !settled.is_subset(&found);
                        settled = found;
                        return lost;
                    }
                    _ => {}
                }
                false
            })
        },
    );

    pub const POWER_LOST_WHILE_OPENING: Check = sometimes(
        "power_lost_while_opening",
        Needs::Storage,
        "The power went while the engine was being opened.",
        |history| {
            let mut ended = false;
            storage(history).any(|event| {
                let again = ended && matches!(event, StorageEvent::Ended { .. });
                ended = match event {
                    StorageEvent::Ended { .. } => true,
                    StorageEvent::Fault { .. } => ended,
                    _ => false,
                };
                again
            })
        },
    );
}
