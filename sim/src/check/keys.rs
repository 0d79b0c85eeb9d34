//! Keys and what is under them: unique inserts, whole values, catalogs that agree with what was committed beside them,
//! and writes that come back from the dead.

use std::collections::{BTreeMap, BTreeSet};

use super::{ArgKind, Check, Finding, Judge, Needs, Section, WRITERS};
use crate::history::{Content, History, Outcome, What};
use crate::scenario::cluster::Role;
use crate::units::{Micros, show_moment};
use crate::workload::ddl::{self, CATALOG};
use crate::workload::large::{self, WHOLE};
use crate::workload::unique::{self, INSERT};

pub const UNIQUE_KEYS: Check = Check {
    name: "unique_keys",
    about: "Of several inserts under one primary key at most one is acknowledged, and it is the one that is there at the end.",
    needs: Needs::Workload(&[unique::KIND.name]),
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| unique_keys(history)),
};

fn unique_keys(history: &History) -> Finding {
    let mut winners: BTreeMap<(&str, i64), (Micros, &str, i64)> = BTreeMap::new();
    let operations = history.operations();
    for op in operations.iter().filter(|op| op.invoke.action == INSERT) {
        let Some(at) = op.acknowledged_at() else { continue };
        for write in &op.invoke.writes {
            let here = (at, op.client, write.value);
            if let Some((before, whose, _)) = winners.insert((&write.table, write.key), here) {
                let what = format!(
                    "{}, key {}: the insert of {} was acknowledged, and that of {whose} at {}",
                    write.table,
                    write.key,
                    op.client,
                    show_moment(before)
                );
                return Some((Some(at), what));
            }
        }
    }
    let survivor = history.end.primary.as_ref()?;
    let content = history.end.content.get(survivor)?;
    winners.into_iter().find_map(|((table, key), (at, client, value))| {
        let there = content.get(table).and_then(|keys| keys.get(&key));
        (there != Some(&vec![value])).then(|| {
            let what =
                format!("{table}, key {key}: {client} inserted {value}, and {survivor} holds {there:?} at the end");
            (Some(at), what)
        })
    })
}

pub const WHOLE_VALUES: Check = Check {
    name: "whole_values",
    about: "A large value is read as it was written, to the last byte.",
    needs: Needs::Workload(&[large::KIND.name]),
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| {
        reads(history).find_map(|(at, client, server, read)| {
            let broken = read.table.ends_with(&format!("_{WHOLE}")) && read.values == [0];
            broken.then(|| {
                let what = format!(
                    "{client} read the value under {} on {server}, and it was another",
                    read.key
                );
                (Some(at), what)
            })
        })
    }),
};

/// Everything that was read: when, by whom, where, what.
fn reads(history: &History) -> impl Iterator<Item = (Micros, String, String, crate::history::Read)> + '_ {
    history.operations().into_iter().flat_map(|op| {
        let (at, reads) = match op.returned {
            Some((at, Outcome::Ok { reads })) => (at, reads.clone()),
            _ => (0, Vec::new()),
        };
        let (client, server) = (op.client.to_owned(), op.invoke.server.clone());
        reads
            .into_iter()
            .map(move |read| (at, client.clone(), server.clone(), read))
    })
}

pub const CATALOG_MATCHES: Check = Check {
    name: "catalog_matches",
    about: "The tables that the catalog has are those of the journal that was committed with them, for every reader and at the end on every server.",
    needs: Needs::Workload(&[ddl::KIND.name]),
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| catalog_matches(history)),
};

fn catalog_matches(history: &History) -> Finding {
    let suffix = format!("_{CATALOG}");
    for op in history.operations() {
        let Some((at, Outcome::Ok { reads })) = op.returned else {
            continue;
        };
        for catalog in reads.iter().filter(|read| read.table.ends_with(&suffix)) {
            let journal = catalog.table.strip_suffix(&suffix).expect("it ends so");
            let journal = reads.iter().find(|read| read.table == journal);
            if journal.is_some_and(|journal| journal.values != catalog.values) {
                let what = format!(
                    "{} on {} saw the tables {:?} and the journal {:?} in one transaction",
                    op.client,
                    op.invoke.server,
                    catalog.values,
                    journal.map(|journal| &journal.values)
                );
                return Some((Some(at), what));
            }
        }
    }
    let keys = |content: &Content, table: &str| -> BTreeSet<i64> {
        content
            .get(table)
            .into_iter()
            .flat_map(|keys| keys.keys().copied())
            .collect()
    };
    history.end.content.iter().find_map(|(server, content)| {
        content.keys().find_map(|table| {
            let journal = table.strip_suffix(&suffix)?;
            let (tables, journal) = (keys(content, table), keys(content, journal));
            (tables != journal).then(|| {
                let odd: Vec<i64> = tables.symmetric_difference(&journal).copied().collect();
                (
                    None,
                    format!("{server} at the end: tables and journal differ in {odd:?}"),
                )
            })
        })
    })
}

pub const NO_RESURRECTION: Check = Check {
    name: "no_resurrection",
    about: "A write that a reader of the newest primary did not find after it had been acknowledged does not come back in that epoch.",
    needs: WRITERS,
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| no_resurrection(history)),
};

fn no_resurrection(history: &History) -> Finding {
    // (table, key) -> value -> when it was acknowledged.
    let mut known: BTreeMap<(String, i64), BTreeMap<i64, Micros>> = BTreeMap::new();
    for op in history.operations() {
        if let Some(at) = op.acknowledged_at() {
            for write in &op.invoke.writes {
                known
                    .entry((write.table.clone(), write.key))
                    .or_default()
                    .insert(write.value, at);
            }
        }
    }
    let newest = readers_of_the_newest(history);
    // Place, epoch, server -> when a reader missed it. The operator may well make somebody primary at the next epoch who
    // was never told that it was gone, and two at the same one.
    let mut missed: BTreeMap<(Place, u64, &str), Micros> = BTreeMap::new();
    let operations = history.operations();
    for op in &operations {
        let (Some((at, Outcome::Ok { reads })), Some(epoch)) = (op.returned, newest.get(&op.invoke.op).copied()) else {
            continue;
        };
        for read in reads {
            let Some(values) = known.get(&(read.table.clone(), read.key)) else {
                continue;
            };
            for (value, acknowledged) in values {
                let place = (read.table.clone(), read.key, *value);
                let server = op.invoke.server.as_str();
                if read.values.contains(value) {
                    let gone = missed.get(&(place.clone(), epoch, server));
                    if let Some(then) = gone.filter(|then| **then < op.invoked_at) {
                        return Some((Some(at), back(&place, *acknowledged, *then, op.client)));
                    }
                } else if *acknowledged < op.invoked_at {
                    missed.entry((place, epoch, server)).or_insert(at);
                }
            }
        }
    }
    let survivor = history.end.primary.as_ref()?;
    let content = history.end.content.get(survivor)?;
    let last = last_epoch(history);
    let missed = missed
        .into_iter()
        .filter(|((_, epoch, server), _)| *epoch == last && server == survivor);
    missed.into_iter().find_map(|((place, ..), then)| {
        let (table, key, value) = &place;
        let there = content.get(table).and_then(|keys| keys.get(key));
        let acknowledged = known.get(&(table.clone(), *key)).and_then(|values| values.get(value));
        there
            .is_some_and(|values| values.contains(value))
            .then(|| (None, back(&place, *acknowledged.unwrap_or(&0), then, survivor)))
    })
}

/// Table, key, value.
type Place = (String, i64, i64);

fn back(place: &Place, acknowledged: Micros, missed: Micros, whom: &str) -> String {
    let (table, key, value) = place;
    format!(
        "{table}, key {key}, value {value} was acknowledged at {}, gone at {} and seen again by {whom}",
        show_moment(acknowledged),
        show_moment(missed)
    )
}

fn last_epoch(history: &History) -> u64 {
    let epochs = history.events.iter().filter_map(|event| match &event.what {
        What::Role { epoch, .. } | What::Ready { role: Some((_, epoch)) } => Some(*epoch),
        _ => None,
    });
    epochs.max().unwrap_or(0)
}

/// The operations that ran, from call to answer, on a server that was primary of the highest epoch so far, with that
/// epoch; without a cluster all of them.
fn readers_of_the_newest(history: &History) -> BTreeMap<u64, u64> {
    let mut roles: BTreeMap<&str, (Role, u64)> = BTreeMap::new();
    let (mut highest, mut clustered) = (0, false);
    let mut open: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for event in &history.events {
        match &event.what {
            What::Role { role, epoch }
            | What::Ready {
                role: Some((role, epoch)),
            } => {
                clustered = true;
                highest = highest.max(*epoch);
                roles.insert(&event.node, (*role, *epoch));
            }
            What::Down { .. } => drop(roles.remove(event.node.as_str())),
            What::Invoke(invoke) => drop(open.insert(invoke.op, (&invoke.server, highest))),
            What::Return { op, .. } => {
                if let Some((server, epoch)) = open.remove(op)
                    && (!clustered || epoch == highest && roles.get(server) == Some(&(Role::Primary, highest)))
                {
                    found.insert(*op, epoch);
                }
            }
            _ => {}
        }
    }
    found
}
