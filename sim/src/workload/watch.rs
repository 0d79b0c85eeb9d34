//! Watchers: readers, as a rule of standbys, of the lists of the workload `append`. What they see must be a state that the
//! primary was in. The lists are made with their table, so one that does not come was skipped, and counts as empty.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::append::{self, parse_list, table_name};
use super::client::Client;
use super::session::Failure;
use super::{Kind, Workload};
use crate::history::{GARBLED, Read};

pub const KIND: Kind = Kind {
    name: "watch",
    about: "readers of all lists of the workload called append, in one statement",
    params: &[],
    looks_at: Some(append::KIND.name),
    make: |_| Box::new(Watch),
};

/// What it does.
pub const WATCH: &str = "watch";

struct Watch;

#[async_trait]
impl Workload for Watch {
    fn setup(&self) -> Vec<String> {
        Vec::new()
    }

    async fn operate(&mut self, client: &mut Client) -> Result<(), Failure> {
        let table = table_name(append::KIND.name);
        client.invoke_reading(WATCH, Vec::new());
        match client.session().simple(&format!("SELECT k, list FROM {table}")).await {
            Ok(rows) => {
                let count = client.lists_in(&table);
                client.ok(reads(&table, count, &rows));
                Ok(())
            }
            Err(failure) => Err(client.fail(failure, false)),
        }
    }

    fn contents(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// What was found of all `count` lists of a table.
fn reads(table: &str, count: u64, rows: &[Vec<Option<String>>]) -> Vec<Read> {
    let known = 0..i64::try_from(count).unwrap_or(i64::MAX);
    let mut found: BTreeMap<i64, Vec<i64>> = known.map(|key| (key, Vec::new())).collect();
    for row in rows {
        let key = row.first().cloned().flatten().and_then(|key| key.parse().ok());
        let list = row.get(1).cloned().flatten().unwrap_or_default();
        // A key that is none, or comes twice, shows as a value that nobody wrote, or one that is there twice.
        found
            .entry(key.unwrap_or(GARBLED))
            .or_default()
            .extend(parse_list(&list));
    }
    let read = |(key, values)| Read {
        table: table.to_owned(),
        key,
        values,
    };
    found.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, a standby whose scan skips rows is taken for one that has all of them.
    #[test]
    fn a_list_that_does_not_come_was_found_empty() {
        let row = |key: &str, list: &str| vec![Some(key.to_owned()), Some(list.to_owned())];
        let found = |rows: &[Vec<Option<String>>]| -> Vec<(i64, Vec<i64>)> {
            let reads = reads("append", 3, rows).into_iter();
            reads.map(|read| (read.key, read.values)).collect()
        };
        assert_eq!(
            found(&[row("2", "7,8"), row("0", "")]),
            [(0, vec![]), (1, vec![]), (2, vec![7, 8])]
        );
        assert_eq!(found(&[row("1", "7"), row("1", "7")])[1], (1, vec![7, 7]));
        assert_eq!(found(&[])[2], (2, vec![]));
    }
}
