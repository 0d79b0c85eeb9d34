//! Transactions as the history has them, the order of the values of each list, and the dependencies that follow.

use std::collections::BTreeMap;
use std::fmt;

use super::{At, End, Finding, Place, Seen};
use crate::history::{History, Outcome, Read, Write};
use crate::workload::append::{APPEND, READ};
use crate::workload::watch::WATCH;

/// What those do whose tables hold lists, and who reads them.
const ACTIONS: [&str; 3] = [APPEND, READ, WATCH];

pub struct Transaction<'a> {
    pub op: u64,
    pub client: &'a str,
    pub server: &'a str,
    pub at: At,
    pub failed: bool,
    pub writes: &'a [Write],
    pub reads: &'a [Read],
}

/// Everything that was asked of lists.
pub fn transactions(history: &History) -> Vec<Transaction<'_>> {
    let operations = history.operations();
    let appends = operations.into_iter().filter(|op| ACTIONS.contains(&op.invoke.action));
    appends
        .map(|op| {
            let reads: &[Read] = match op.returned {
                Some((_, Outcome::Ok { reads })) => reads,
                _ => &[],
            };
            Transaction {
                op: op.invoke.op,
                client: op.client,
                server: &op.invoke.server,
                at: op.returned.map_or(op.invoked_at, |(at, _)| at),
                failed: op.failed(),
                writes: &op.invoke.writes,
                reads,
            }
        })
        .collect()
}

/// The lists of the server that survived.
pub fn at_the_end(history: &History) -> End {
    let content = history
        .end
        .primary
        .as_ref()
        .and_then(|name| history.end.content.get(name));
    let lists = content.into_iter().flatten();
    let keys = lists.flat_map(|(table, keys)| {
        keys.iter()
            .map(move |(key, values)| ((table.clone(), *key), values.clone()))
    });
    keys.collect()
}

impl Transaction<'_> {
    /// Whether all it wrote is there at the end; of one that wrote nothing, whether all it read is, in whatever order.
    pub fn survived(&self, end: &End) -> bool {
        let list = |table: &str, key: i64| end.get(&(table.to_owned(), key)).map(Vec::as_slice).unwrap_or_default();
        let written = |write: &Write| list(&write.table, write.key).contains(&write.value);
        let read = |read: &Read| {
            let there = list(&read.table, read.key);
            read.values.iter().all(|value| there.contains(value))
        };
        // One that was kept and saw the values of the survivors in another way is what the check is for.
        if self.writes.is_empty() {
            self.reads.iter().all(read)
        } else {
            self.writes.iter().all(written)
        }
    }
}

impl fmt::Display for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} ({} on {}:", self.op, self.client, self.server)?;
        for read in self.reads {
            // The end of a list is what an edge hangs on.
            let shown = read.values.len().min(3);
            let dots = if shown < read.values.len() { ".., " } else { "" };
            let values: Vec<String> = read.values[read.values.len() - shown..]
                .iter()
                .map(i64::to_string)
                .collect();
            write!(f, " read {}[{}]=[{dots}{}]", read.table, read.key, values.join(", "))?;
        }
        for write in self.writes {
            write!(f, " appended {}[{}]+={}", write.table, write.key, write.value)?;
        }
        write!(f, ")")
    }
}

/// The longest known list of each key, and who wrote each value.
pub struct Lists<'a> {
    order: BTreeMap<Place<'a>, &'a [i64]>,
    writer: BTreeMap<(&'a str, i64, i64), usize>,
}

impl<'a> Lists<'a> {
    /// An error is a finding: lists that contradict each other, or that hold a value twice.
    pub fn of(transactions: &[&'a Transaction<'a>], end: &'a End) -> Result<Lists<'a>, (Option<At>, String)> {
        let mut lists = Lists {
            order: BTreeMap::new(),
            writer: BTreeMap::new(),
        };
        for (index, transaction) in transactions.iter().enumerate() {
            for write in transaction.writes {
                lists.writer.insert((&write.table, write.key, write.value), index);
            }
        }
        let tables: std::collections::BTreeSet<&str> = transactions
            .iter()
            .flat_map(|transaction| transaction.writes)
            .map(|write| write.table.as_str())
            .collect();
        for ((table, key), values) in end.iter().filter(|((table, _), _)| tables.contains(table.as_str())) {
            lists.add(table, *key, values, None, "the list at the end")?;
        }
        for transaction in transactions {
            for read in transaction.reads {
                let whom = transaction.to_string();
                lists.add(&read.table, read.key, &read.values, Some(transaction.at), &whom)?;
            }
        }
        Ok(lists)
    }

    fn add(
        &mut self,
        table: &'a str,
        key: i64,
        values: &'a [i64],
        at: Option<At>,
        whom: &str,
    ) -> Result<(), (Option<At>, String)> {
        let mut seen = Seen::new();
        if let Some(twice) = values.iter().find(|value| !seen.insert(**value)) {
            return Err((at, format!("{whom}: {table}[{key}] holds {twice} twice")));
        }
        let known = self.order.entry((table, key)).or_default();
        if values.len() > known.len() {
            if !values.starts_with(known) {
                return Err((at, contradiction(table, key, values, known, whom)));
            }
            *known = values;
        } else if !known.starts_with(values) {
            return Err((at, contradiction(table, key, values, known, whom)));
        }
        Ok(())
    }
}

fn contradiction(table: &str, key: i64, values: &[i64], known: &[i64], whom: &str) -> String {
    let same = values.iter().zip(known).take_while(|(one, other)| one == other).count();
    let next = |list: &[i64]| list.get(same).map_or("nothing".to_owned(), i64::to_string);
    format!(
        "lost update: {whom}: {table}[{key}] goes on with {} after {same} values, elsewhere with {}",
        next(values),
        next(known)
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    WriteWrite,
    WriteRead,
    ReadWrite,
    /// The one was acknowledged before the other began, to one client on one connection.
    Session,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dependency::WriteWrite => "ww",
            Dependency::WriteRead => "wr",
            Dependency::ReadWrite => "rw",
            Dependency::Session => "session",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub kind: Dependency,
    /// The list that it hangs on, if it is one.
    pub list: Option<(String, i64)>,
}

/// `ww[append[3]]`, `session`.
impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.list {
            Some((table, key)) => write!(f, "{}[{table}[{key}]]", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

/// Who depends on whom.
pub struct Graph {
    pub edges: Vec<Vec<Edge>>,
}

impl Graph {
    /// `sessions` are the pairs of which the second must see what the first wrote and read.
    pub fn new(transactions: &[&Transaction<'_>], lists: &Lists<'_>, sessions: &[(usize, usize)]) -> Graph {
        let mut graph = Graph {
            edges: vec![Vec::new(); transactions.len()],
        };
        for ((table, key), order) in &lists.order {
            let writer = |value: &i64| lists.writer.get(&(*table, *key, *value)).copied();
            for pair in order.windows(2) {
                if let (Some(from), Some(to)) = (writer(&pair[0]), writer(&pair[1])) {
                    graph.add(from, to, Dependency::WriteWrite, Some((table, *key)));
                }
            }
        }
        for (reader, transaction) in transactions.iter().enumerate() {
            for read in transaction.reads {
                let writer = |value: &i64| lists.writer.get(&(read.table.as_str(), read.key, *value)).copied();
                if let Some(from) = read.values.last().and_then(writer) {
                    graph.add(from, reader, Dependency::WriteRead, Some((&read.table, read.key)));
                }
                let order = lists
                    .order
                    .get(&(read.table.as_str(), read.key))
                    .copied()
                    .unwrap_or_default();
                if let Some(to) = order.get(read.values.len()).and_then(writer) {
                    graph.add(reader, to, Dependency::ReadWrite, Some((&read.table, read.key)));
                }
            }
        }
        for (from, to) in sessions {
            graph.add(*from, *to, Dependency::Session, None);
        }
        graph
    }

    fn add(&mut self, from: usize, to: usize, kind: Dependency, list: Option<Place<'_>>) {
        let known = self.edges[from].iter().any(|edge| edge.to == to && edge.kind == kind);
        if from != to && !known {
            self.edges[from].push(Edge {
                from,
                to,
                kind,
                list: list.map(|(table, key)| (table.to_owned(), key)),
            });
        }
    }
}

/// What [`Lists::of`] finds is a finding of the check.
const _: fn((Option<At>, String)) -> Finding = Some;
