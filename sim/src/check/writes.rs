//! Checks of what clients wrote and read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Arg, ArgKind, Check, Finding, Judge, Needs, Section, WRITERS, holders};
use crate::history::{Content, History, Operation, Outcome, What, Write, system_store};
use crate::units::{Micros, show_moment};
use crate::workload::bank::TOTAL;
use crate::workload::counter;
use crate::workload::ddl::{CREATE_DATABASE, DROP, DROP_DATABASE, database_name};

pub const DURABILITY: Check = Check {
    name: "durability",
    about: "Acknowledged writes are there at the end. graceful, local: all of them; replicated: those that the surviving server acknowledged, to a client or to its primary, and no newer history replaced. What was taken away by an acknowledged drop does not come back either.",
    needs: WRITERS,
    section: Section::End,
    arg: ArgKind::OneOf(&["graceful", "local", "replicated"]),
    arg_optional: false,
    judge: Judge::Whole(durability),
};

/// The database that workloads write to.
pub const WORKLOAD_DATABASE: &str = "postgres";

fn durability(history: &History, arg: &Arg) -> Finding {
    let Some(survivor) = &history.end.primary else {
        return Some((None, "no server could be asked at the end".to_owned()));
    };
    let Some(content) = history.end.content.get(survivor) else {
        return Some((None, format!("{survivor} could not be read at the end")));
    };
    let operations = history.operations();
    let acknowledged = operations
        .iter()
        .filter_map(|op| op.acknowledged_at().map(|at| (op, at)));
    let owed: Box<dyn Fn(&Operation<'_>) -> bool> = match arg {
        Arg::Word("replicated") => {
            let of =
                |database: &str| -> BTreeSet<u64> { holders::owed(history, survivor, database).into_iter().collect() };
            let (rows, databases) = (of(WORKLOAD_DATABASE), of(&system_store()));
            let came = came(history, survivor);
            Box::new(move |op| match op.invoke.action {
                // Its name may have come and it itself not: a standby that is promoted then forgets it.
                CREATE_DATABASE => {
                    let has_come = |entry: &Write| came.contains(&database_name(entry));
                    databases.contains(&op.invoke.op) && op.invoke.asked.iter().all(has_come)
                }
                DROP_DATABASE => databases.contains(&op.invoke.op),
                _ => rows.contains(&op.invoke.op),
            })
        }
        _ => Box::new(|_| true),
    };
    let dropped = dropped(&operations);
    for (op, at) in acknowledged.filter(|(op, _)| owed(op)) {
        let told = |write: &Write, what: &str, how: &str| {
            let Write { table, key, value } = write;
            let (at, by) = (show_moment(at), &op.invoke.server);
            format!("{table}, key {key}, value {value} {what} at {at} by {by} is {how} on {survivor}")
        };
        let mut writes = made(op).iter().filter(|write| !dropped.contains(write));
        if let Some(write) = writes.find(|write| !holds(content, write)) {
            return Some((Some(at), told(write, "acknowledged", "absent")));
        }
        if is_drop(op)
            && let Some(line) = op.invoke.asked.iter().find(|line| holds(content, line))
        {
            return Some((Some(at), told(line, "dropped", "still there")));
        }
    }
    None
}

/// The databases of which a server has had a root.
fn came(history: &History, server: &str) -> BTreeSet<String> {
    let of_server = history.events.iter().filter(|event| event.node == server);
    let roots = of_server.filter_map(|event| match &event.what {
        What::Root(root) => Some(root.database.clone()),
        _ => None,
    });
    roots.collect()
}

/// What was or may have been taken away again.
fn dropped<'a>(operations: &[Operation<'a>]) -> BTreeSet<&'a Write> {
    let drops = operations.iter().filter(|op| is_drop(op) && !op.failed());
    drops.flat_map(|op| &op.invoke.asked).collect()
}

/// What there is if it succeeds.
fn made<'a>(op: &Operation<'a>) -> &'a [Write] {
    match op.invoke.action {
        CREATE_DATABASE => &op.invoke.asked,
        _ => &op.invoke.writes,
    }
}

fn is_drop(op: &Operation<'_>) -> bool {
    [DROP, DROP_DATABASE].contains(&op.invoke.action)
}

fn holds(content: &Content, write: &Write) -> bool {
    content
        .get(&write.table)
        .and_then(|keys| keys.get(&write.key))
        .is_some_and(|values| values.contains(&write.value))
}

pub const NO_ABORTED_READ: Check = Check {
    name: "no_aborted_read",
    about: "What a transaction wrote that certainly failed is never seen, and no value is there twice.",
    needs: WRITERS,
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| no_aborted_read(history)),
};

fn no_aborted_read(history: &History) -> Finding {
    let operations = history.operations();
    let mut aborted: BTreeMap<(&str, i64, i64), Micros> = BTreeMap::new();
    for op in operations.iter().filter(|op| op.failed()) {
        for write in made(op) {
            aborted.insert((&write.table, write.key, write.value), op.invoked_at);
        }
    }
    let judge = |table: &str, key: i64, values: &[i64], whom: String| -> Option<String> {
        let mut seen = BTreeSet::new();
        // Values identify writes only in tables that hold lists of them; a balance may well be 7 twice.
        let listed = values.len() > 1 && !table.ends_with(TOTAL);
        values.iter().find_map(|value| {
            if listed && !seen.insert(value) {
                return Some(format!("{whom} saw {table}, key {key}, value {value} twice"));
            }
            aborted
                .contains_key(&(table, key, *value))
                .then(|| format!("{whom} saw {table}, key {key}, value {value}, whose transaction failed"))
        })
    };
    for op in &operations {
        let Some((at, Outcome::Ok { reads })) = op.returned else {
            continue;
        };
        for read in reads {
            if let Some(what) = judge(&read.table, read.key, &read.values, op.client.to_owned()) {
                return Some((Some(at), what));
            }
        }
    }
    for (server, content) in &history.end.content {
        for (table, keys) in content {
            for (key, values) in keys {
                if let Some(what) = judge(table, *key, values, format!("{server} at the end")) {
                    return Some((None, what));
                }
            }
        }
    }
    None
}

pub const COUNTER_TOTAL: Check = Check {
    name: "counter_total",
    about: "The counters add up to at least the acknowledged increments and at most those plus the unknown ones.",
    needs: Needs::Workload(&[counter::KIND.name]),
    section: Section::End,
    arg: ArgKind::None,
    arg_optional: false,
    judge: Judge::Whole(|history, _| counter_total(history)),
};

fn counter_total(history: &History) -> Finding {
    let survivor = history.end.primary.as_ref()?;
    let content = history.end.content.get(survivor)?;
    let mut tally: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for op in history.operations().iter().filter(|op| op.invoke.action == "increment") {
        let (sure, unknown) = tally
            .entry(crate::workload::append::table_name(&op.invoke.workload))
            .or_default();
        match op.returned {
            Some((_, Outcome::Ok { .. })) => *sure += 1,
            Some((_, Outcome::Failed { .. })) => {}
            Some((_, Outcome::Unknown { .. })) | None => *unknown += 1,
        }
    }
    for (table, (sure, unknown)) in tally {
        let found: i64 = content.get(&table).map_or(0, |keys| keys.values().flatten().sum());
        if found < sure || found > sure + unknown {
            let what = format!(
                "{table} on {survivor} adds up to {found}; {sure} increments were acknowledged and {unknown} are unknown"
            );
            return Some((None, what));
        }
    }
    None
}
