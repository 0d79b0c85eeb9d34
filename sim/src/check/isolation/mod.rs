//! Snapshot isolation, judged from lists: no value of a transaction that failed, no half of one, no cycle of
//! dependencies that a snapshot could not have had.
//!
//! Every value is appended once, so a list that somebody read says in which order its values were written. From that
//! order follow the dependencies between transactions (Adya's, found as Elle finds them): T -ww-> U wrote the next value,
//! T -wr-> U read T's value last, T -rw-> U wrote the value after those that T read. Under snapshot isolation a cycle
//! has two rw edges in a row; every other cycle is a violation:
//!
//! | name | what |
//! | --- | --- |
//! | G0 | a cycle of ww |
//! | G1a | a value was read whose transaction failed |
//! | G1b | a value was read, and a later one of the same transaction was not |
//! | G1c | a cycle of ww and wr |
//! | G-single | a cycle with one rw: a lost update, a read that is torn |
//! | G-nonadjacent | a cycle with several rw, no two of them in a row |
//!
//! Lists that contradict each other (neither begins with the other) are a lost update, too.
//!
//! Sessions are strong: what a client was acknowledged on a connection comes before what it begins there later, whether
//! it wrote or read. T -session-> U counts as wr does, and a cycle that needs one ends in `-session`: a write of its own
//! that a client does not see, a list that shrinks, anything that was there and is not any more.
//!
//! Without an argument all servers are judged as one. After a forced failover that is too much to ask: what the old
//! primary took alone is gone. `survivors` leaves out the transactions of which nothing is left in the lists of the
//! server that survived; the others must form one history.

mod cycle;
mod lists;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::{Arg, ArgKind, Check, Finding, Judge, Needs, Section};
use crate::history::{History, Operation, Outcome};
use crate::units::Micros;
use crate::workload::append::{self, APPEND};
use cycle::smallest;
use lists::{Graph, Lists, Transaction};

pub const SNAPSHOT_ISOLATION: Check = Check {
    name: "snapshot_isolation",
    about: "Transactions that read and append to lists have no anomaly that snapshots exclude, and see all that was acknowledged before in their session; with survivors, only those of which something is left.",
    needs: Needs::Workload(&[append::KIND.name]),
    section: Section::End,
    arg: ArgKind::OneOf(&["all", "survivors"]),
    arg_optional: true,
    judge: Judge::Whole(judge),
};

fn judge(history: &History, arg: &Arg) -> Finding {
    let survivors = matches!(arg, Arg::Word("survivors"));
    let transactions = lists::transactions(history);
    let end = lists::at_the_end(history);
    if survivors && end.is_empty() {
        // Nobody could be asked: `durability` says so.
        return None;
    }
    if let Some(found) = invented(history) {
        return Some(found);
    }
    if let Some(found) = aborted(&transactions) {
        return Some(found);
    }
    if let Some(found) = half(&transactions, &end) {
        return Some(found);
    }
    let kept: Vec<&Transaction<'_>> = transactions
        .iter()
        .filter(|transaction| !transaction.failed)
        .filter(|transaction| !survivors || transaction.survived(&end))
        .collect();
    let lists = match Lists::of(&kept, &end) {
        Ok(lists) => lists,
        Err(found) => return Some(found),
    };
    if let Some(found) = intermediate(&kept) {
        return Some(found);
    }
    let graph = Graph::new(&kept, &lists, &sessions::edges(history, &kept));
    let (name, cycle) = smallest(&graph)?;
    let at = cycle.iter().map(|edge| kept[edge.from].at).max();
    Some((at, format!("{name}: {}", told(&kept, &cycle))))
}

/// The cycle, statement by statement.
fn told(transactions: &[&Transaction<'_>], cycle: &[lists::Edge]) -> String {
    let mut text = String::new();
    for edge in cycle {
        text.push_str(&format!("{} -{edge}-> ", transactions[edge.from]));
    }
    text + &format!("#{}", transactions[cycle[0].from].op)
}

fn aborted(transactions: &[Transaction<'_>]) -> Finding {
    let failed = transactions.iter().filter(|transaction| transaction.failed);
    let failed: BTreeMap<(&str, i64, i64), &Transaction<'_>> = failed
        .flat_map(|transaction| {
            let writes = transaction.writes.iter();
            writes.map(move |write| ((write.table.as_str(), write.key, write.value), transaction))
        })
        .collect();
    transactions.iter().find_map(|reader| {
        reader.reads.iter().find_map(|read| {
            let source = |value: &i64| failed.get(&(read.table.as_str(), read.key, *value));
            let source = read.values.iter().find_map(source)?;
            Some((
                Some(reader.at),
                format!("G1a: {reader} read a value of {source}, which failed"),
            ))
        })
    })
}

/// A transaction of which the end holds some and not all.
fn half(transactions: &[Transaction<'_>], end: &End) -> Finding {
    transactions.iter().find_map(|transaction| {
        let there = |write: &&crate::history::Write| {
            let list = end.get(&(write.table.clone(), write.key));
            list.is_some_and(|values| values.contains(&write.value))
        };
        let count = transaction.writes.iter().filter(there).count();
        (count != 0 && count != transaction.writes.len()).then(|| {
            let what = format!("half a transaction: of {transaction}, {count} values are there at the end");
            (Some(transaction.at), what)
        })
    })
}

fn intermediate(transactions: &[&Transaction<'_>]) -> Finding {
    // (table, key) -> value -> the next value of the same transaction under that key.
    let mut later: BTreeMap<(&str, i64, i64), (i64, &Transaction<'_>)> = BTreeMap::new();
    for transaction in transactions {
        for (place, write) in transaction.writes.iter().enumerate() {
            let next = transaction.writes[place + 1..]
                .iter()
                .find(|next| next.table == write.table && next.key == write.key);
            if let Some(next) = next {
                later.insert((&write.table, write.key, write.value), (next.value, *transaction));
            }
        }
    }
    transactions.iter().find_map(|reader| {
        reader.reads.iter().find_map(|read| {
            let last = read.values.last()?;
            let (next, source) = later.get(&(read.table.as_str(), read.key, *last))?;
            (source.op != reader.op).then(|| {
                let what = format!("G1b: {reader} read {last} of {source} without {next}");
                (Some(reader.at), what)
            })
        })
    })
}

/// A value that nobody asked to write, or text that is no value.
fn invented(history: &History) -> Finding {
    let mut asked: BTreeMap<&str, BTreeMap<i64, Seen>> = BTreeMap::new();
    let operations = history.operations();
    let appends = |op: &&Operation<'_>| op.invoke.action == APPEND;
    for write in operations.iter().filter(appends).flat_map(|op| &op.invoke.writes) {
        let keys = asked.entry(write.table.as_str()).or_default();
        keys.entry(write.key).or_default().insert(write.value);
    }
    let none = Seen::new();
    operations.iter().find_map(|op| {
        let (at, Outcome::Ok { reads }) = op.returned? else {
            return None;
        };
        reads.iter().find_map(|read| {
            let known = asked.get(read.table.as_str())?.get(&read.key).unwrap_or(&none);
            let odd = read.values.iter().find(|value| !known.contains(value))?;
            let what = format!(
                "{} read {odd} in {}[{}], which nobody wrote",
                op.client, read.table, read.key
            );
            Some((Some(at), what))
        })
    })
}

/// Kept for `lists`: which values a key holds.
type Place<'a> = (&'a str, i64);
type End = BTreeMap<(String, i64), Vec<i64>>;
type Seen = BTreeSet<i64>;
type At = Micros;
