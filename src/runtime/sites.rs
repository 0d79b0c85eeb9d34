//! Sites: places where the simulator may choose what is legal and rare, and facts that its suites must bring about.
//!
//! `buggify!("area.point")` is where the server would go either way: a segment that ends early, a sync that takes long, a
//! stream that breaks between two messages. It never breaks a promise. In production it is the constant false. In the
//! simulator a plan arms some sites for a run; those fire now and then, from a stream of their own on each server, so
//! that a new site changes no other draw. `sometimes!("area.fact")` says that rare code has run. In production it is
//! nothing; in the simulator it is counted, and a suite that never brings it about tests less than it says.
//! `queue!("area.queue", length, limit)` says how long something has become that others can fill, and how long it may.
//! In production it is nothing; in the simulator a queue beyond its limit fails the run.
//!
//! All are listed here and nowhere else: a name that is not listed does not compile, and a test finds what is listed
//! and used nowhere. So every build knows all of them, the ordinary one too, whose code holds none.
//!
//! Invariants
//! - All state belongs to the world of one run: what is armed ends with the next world at the latest, and a server that is
//!   started again goes on with its streams.
//!
//! Must not know: what a site is for; the words here are for people.

use serde::{Deserialize, Serialize};

/// A place where the simulator may choose.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    pub name: &'static str,
    /// What happens when it fires.
    pub about: &'static str,
    /// How often it fires in a run in which it is armed, in percent.
    pub percent: u32,
}

/// Rare code that some run must have come to.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    pub name: &'static str,
    /// What has happened.
    pub about: &'static str,
    /// A suite may miss it.
    pub rare: bool,
}

/// What others can fill.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    pub name: &'static str,
    /// What it holds, and in what it is measured.
    pub about: &'static str,
}

/// The length of a queue when it was nearest to its limit, and that limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    pub length: u64,
    pub limit: u64,
}

impl Measure {
    /// How much of the limit, in thousandths.
    pub fn filled(self) -> u64 {
        self.length.saturating_mul(1_000) / self.limit.max(1)
    }
}

const fn point(name: &'static str, percent: u32, about: &'static str) -> Site {
    Site { name, about, percent }
}

const fn fact(name: &'static str, about: &'static str) -> Fact {
    Fact {
        name,
        about,
        rare: false,
    }
}

const fn rare(name: &'static str, about: &'static str) -> Fact {
    Fact {
        name,
        about,
        rare: true,
    }
}

/// Every `buggify!`, sorted by name.
pub const SITES: &[Site] = &[
    point(
        "chunk.collect_slowly",
        20,
        "a collection lets others run for a while between two chunks",
    ),
    point(
        "chunk.index_file_lost",
        30,
        "the index file of a full segment is not written",
    ),
    point(
        "chunk.manifest_late",
        30,
        "a new segment is not named by this sync, but by the next",
    ),
    point(
        "chunk.manifest_slow",
        50,
        "a new segment is named some time after it was synced",
    ),
    point("chunk.pack_full", 10, "a pack ends long before it is full"),
    point("chunk.segment_full", 10, "a segment ends long before it is full"),
    point(
        "chunk.switch_slow",
        50,
        "a collection takes its time before it exchanges the files",
    ),
    point("chunk.sync_slow", 10, "a sync takes long"),
    point(
        "engine.acknowledge_late",
        5,
        "a commit is told some time after it was published",
    ),
    point(
        "engine.collect_now",
        50,
        "a database is collected although it is not due",
    ),
    point(
        "engine.conflict",
        3,
        "a commit is told that it lost a conflict that there was not",
    ),
    point(
        "engine.kill_late",
        50,
        "sessions that a change of role ends go on for a while before they are told",
    ),
    point(
        "replication.acknowledge_late",
        10,
        "a standby acknowledges some time after it has synced",
    ),
    point(
        "replication.apply_late",
        10,
        "a standby applies some time after it has received",
    ),
    point(
        "replication.ask_to_walk",
        5,
        "a standby asks to walk although it has all that a root refers to",
    ),
    point(
        "replication.every_root",
        30,
        "a root is sent although another follows at once",
    ),
    point("replication.reconnect", 2, "a stream ends between two messages of data"),
    point("replication.role_stored_late", 50, "storing a role takes long"),
    point(
        "replication.small_messages",
        100,
        "a message carries hardly more than one chunk",
    ),
    point(
        "replication.walk",
        10,
        "a standby is offered a walk although the log knows its root",
    ),
    point(
        "replication.want_few",
        50,
        "a standby that walks asks for a few chunks at a time",
    ),
];

/// Every `sometimes!` of the server, sorted by name.
pub const FACTS: &[Fact] = &[
    fact(
        "chunk.backlog_held_back",
        "A writer waited because much had not been synced yet.",
    ),
    fact(
        "chunk.collected_beside_commits",
        "Something was appended while a collection was under way.",
    ),
    fact(
        "chunk.damage_refused",
        "A bad place was before something that was synced, and the store was not opened.",
    ),
    fact(
        "chunk.index_file_made_again",
        "A full segment had no index file, was read, and got one.",
    ),
    fact(
        "chunk.index_file_used",
        "A segment was not read because its index file told what it holds.",
    ),
    fact("chunk.pack_kept", "A collection left a pack as it was."),
    fact("chunk.pack_replaced", "A collection copied what was alive in a pack."),
    rare(
        "chunk.read_again",
        "A reader looked for a chunk again because a collection had moved it.",
    ),
    fact(
        "chunk.segment_behind_manifest",
        "A segment was found that the manifest did not name yet.",
    ),
    fact("chunk.sync_failed", "A sync failed, and the store closed."),
    fact("chunk.sync_shared", "One sync made several roots durable."),
    fact("chunk.tail_cut", "The log had a torn tail, and it was cut."),
    fact(
        "chunk.tail_written_again",
        "What nothing proved synced was written again before it was trusted.",
    ),
    rare(
        "engine.awaited_forgotten",
        "A new primary gave up a database whose content had never come.",
    ),
    fact(
        "engine.backfill_resumed",
        "A walk used what an earlier one, which was cut off, had received.",
    ),
    rare(
        "engine.commit_after_closing",
        "A transaction from before a closing of the gate was refused after it had opened again.",
    ),
    rare("engine.commit_refused", "A commit found the gate closed."),
    fact("engine.conflict", "A commit lost a conflict."),
    fact(
        "engine.old_root_kept",
        "A collection kept a root that only a transaction still read.",
    ),
    fact(
        "engine.rebased",
        "A commit was put upon a root that was not there when its transaction began.",
    ),
    fact("engine.sessions_killed", "A change of role ended sessions."),
    fact(
        "replication.broken_by_request",
        "A request showed a server that there are two primaries of one epoch.",
    ),
    fact(
        "replication.broken_by_response",
        "An answer showed a server that there are two primaries of one epoch.",
    ),
    fact(
        "replication.caught_up_by_log",
        "A standby was sent the log after the root that it had.",
    ),
    fact(
        "replication.caught_up_by_walk",
        "A standby was offered a root and asked for what it lacked.",
    ),
    rare(
        "replication.demotion_given_up",
        "A standby did not catch up, and the primary let its writers in again.",
    ),
    fact("replication.drain_waited", "A demotion had to wait for a standby."),
    fact(
        "replication.fenced_by_request",
        "A request of a higher epoch made a primary a standby.",
    ),
    fact(
        "replication.fenced_by_response",
        "An answer of a higher epoch made a primary a standby.",
    ),
    rare(
        "replication.incomplete",
        "A standby lacked something that a root refers to.",
    ),
    fact(
        "replication.newer_primary_accepted",
        "A standby accepted a primary of an epoch above its own.",
    ),
    rare(
        "replication.offer_of_another_stream",
        "A standby refused an offer that a middlebox had sent again.",
    ),
    fact(
        "replication.root_replaced",
        "A standby replaced a root that its primary does not know.",
    ),
    fact(
        "replication.settled_first",
        "A standby synced what a broken stream had left before it said what it has.",
    ),
    fact(
        "replication.stale_primary_refused",
        "A standby refused a primary of an epoch below its own.",
    ),
    fact(
        "replication.stopped_at_change",
        "A root was not applied because the role was changing or had changed.",
    ),
    rare(
        "replication.stranger_displaced",
        "A stranger had to leave because all places of strangers were taken.",
    ),
    fact(
        "replication.stranger_refused",
        "Somebody without a valid token asked for replication.",
    ),
    fact(
        "replication.stream_superseded",
        "A new stream of a primary came while an older one was still taken in.",
    ),
    fact(
        "replication.walks_after_cut",
        "A stream that was cut off in the middle of a root was followed by a walk, which keeps what had arrived.",
    ),
];

/// Every `queue!`, sorted by name.
pub const QUEUES: &[Queue] = &[
    Queue {
        name: "chunk.backlog",
        about: "bytes of a log that wait for a sync",
    },
    Queue {
        name: "chunk.cache",
        about: "bytes of chunks kept in a part of the cache",
    },
    Queue {
        name: "pg.connections",
        about: "connections of clients that are open",
    },
    Queue {
        name: "pg.strangers",
        about: "connections that have not proved who they are",
    },
    Queue {
        name: "replication.run",
        about: "bytes that a standby holds until their root comes",
    },
];

/// Makes the function that finds the place of a name in a table.
macro_rules! place_in {
    ($(#[$about:meta])* $find:ident, $table:ident) => {
        $(#[$about])*
        ///
        /// # Panics
        /// For a name that is not listed; in a constant, where the macros ask, that is an error of the compiler.
        pub const fn $find(name: &str) -> usize {
            let mut at = 0;
            while at < $table.len() {
                if same($table[at].name, name) {
                    return at;
                }
                at += 1;
            }
            panic!(concat!("every name is listed in ", stringify!($table)))
        }
    };
}

place_in! {
    /// The place of a site in [`SITES`].
    site, SITES
}
place_in! {
    /// The place of a fact in [`FACTS`].
    fact_of, FACTS
}
place_in! {
    /// The place of a queue in [`QUEUES`].
    queue_of, QUEUES
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// `buggify!("area.point")` is whether the site fires, `buggify!("area.point", 1..=500)` a number of the range if it does.
macro_rules! buggify {
    ($name:literal) => {{
        const SITE: usize = $crate::runtime::sites::site($name);
        $crate::runtime::sites::fires(SITE)
    }};
    ($name:literal, $range:expr) => {{
        const SITE: usize = $crate::runtime::sites::site($name);
        $crate::runtime::sites::drawn(SITE, $range)
    }};
}

/// `sometimes!("area.fact")` says that this code has run, `sometimes!(condition, "area.fact")` that it has so.
macro_rules! sometimes {
    ($name:literal) => {{
        const FACT: usize = $crate::runtime::sites::fact_of($name);
        $crate::runtime::sites::happened(FACT);
    }};
    ($condition:expr, $name:literal) => {{
        const FACT: usize = $crate::runtime::sites::fact_of($name);
        // Not even looked at in production.
        if cfg!(madsim) && $condition {
            $crate::runtime::sites::happened(FACT);
        }
    }};
}

/// `queue!("area.queue", length, limit)` says how long a queue is now, and how long it may become.
macro_rules! queue {
    ($name:literal, $length:expr, $limit:expr) => {{
        const QUEUE: usize = $crate::runtime::sites::queue_of($name);
        // Not even counted in production.
        if cfg!(madsim) {
            $crate::runtime::sites::measured(QUEUE, $length as u64, $limit as u64);
        }
    }};
}

pub(crate) use {buggify, queue, sometimes};

/// Waits for so many milliseconds of [`buggify!`]'s second form, if it fired.
pub(crate) async fn pause(millis: Option<u64>) {
    if let Some(millis) = millis {
        super::sleep(std::time::Duration::from_millis(millis)).await;
    }
}

#[cfg(not(madsim))]
mod choice {
    use std::ops::RangeInclusive;

    #[inline(always)]
    pub(crate) const fn fires(_: usize) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn drawn(_: usize, _: RangeInclusive<u64>) -> Option<u64> {
        None
    }

    #[inline(always)]
    pub(crate) const fn happened(_: usize) {}

    #[inline(always)]
    pub(crate) const fn measured(_: usize, _: u64, _: u64) {}
}

#[cfg(madsim)]
use super::platform::sites as choice;

pub(crate) use choice::{drawn, fires, happened, measured};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The names in calls of the macro, in all sources but this file.
    #[expect(clippy::disallowed_methods, reason = "reads the sources it is built from")]
    fn used(folder: &Path, call: &str, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                used(&path, call, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("runtime/sites.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                for after in text.split(call).skip(1) {
                    // The name is the first text behind the call, whatever condition stands before it.
                    names.extend(after.split('"').nth(1).map(str::to_owned));
                }
            }
        }
    }

    #[test]
    fn what_is_listed_is_used_and_sorted() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for (call, listed) in [
            ("buggify!(", SITES.iter().map(|site| site.name).collect::<Vec<_>>()),
            ("sometimes!(", FACTS.iter().map(|fact| fact.name).collect()),
            (" queue!(", QUEUES.iter().map(|queue| queue.name).collect()),
        ] {
            let mut names = BTreeSet::new();
            used(&sources, call, &mut names);
            let used: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(used, listed, "{call}");
        }
    }

    #[cfg(not(madsim))]
    #[test]
    fn nothing_fires_outside_the_simulator() {
        for (at, site) in SITES.iter().enumerate() {
            assert!(!fires(at) && drawn(at, 1..=2).is_none(), "{}", site.name);
        }
    }
}
