//! Turns of clients: the numbers by which single operations are told apart.
//!
//! What a client draws in a turn depends on the turn's number, not on which turns came before: a workload that is left
//! only some of its turns draws in them what it drew in all of them.
//!
//! Must not know: what is done in a turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::draw::parse_number;

/// Turns of a workload's clients, by the number of the client. Written as `1/3`, and those in a row as `1/3..9`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Turns(BTreeMap<u32, BTreeSet<u64>>);

/// Turns that one entry may name, so that a typing error is no list without end.
const TURNS_OF_AN_ENTRY_MAX: u64 = 1_000_000;

impl Turns {
    pub fn insert(&mut self, client: u32, turn: u64) {
        self.0.entry(client).or_default().insert(turn);
    }

    pub fn of(&self, client: u32) -> BTreeSet<u64> {
        self.0.get(&client).cloned().unwrap_or_default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.0
            .iter()
            .flat_map(|(client, turns)| turns.iter().map(|turn| (*client, *turn)))
    }

    /// The highest number of a client.
    pub fn clients(&self) -> u32 {
        self.0.keys().next_back().copied().unwrap_or(0)
    }

    /// Adds one entry: `1/3`, or `1/3..9` with both ends. Err: what is wrong with it.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
        let wrong = || format!("{entry:?} is not the number of a client and of its turns, such as 1/3 or 1/3..9");
        let (client, turns) = entry.split_once('/').ok_or_else(wrong)?;
        let (first, last) = turns.split_once("..").unwrap_or((turns, turns));
        let client = parse_number::<u32>(client).map_err(|_| wrong())?;
        let first = parse_number::<u64>(first).map_err(|_| wrong())?;
        let last = parse_number::<u64>(last).map_err(|_| wrong())?;
        if client == 0 || first == 0 || last < first || last - first >= TURNS_OF_AN_ENTRY_MAX {
            return Err(wrong());
        }
        self.0.entry(client).or_default().extend(first..=last);
        Ok(())
    }

    fn entries(&self) -> Vec<String> {
        let mut entries = Vec::new();
        for (client, turns) in &self.0 {
            let mut rows: Vec<(u64, u64)> = Vec::new();
            for turn in turns {
                match rows.last_mut() {
                    Some((_, last)) if *last + 1 == *turn => *last = *turn,
                    _ => rows.push((*turn, *turn)),
                }
            }
            entries.extend(rows.into_iter().map(|(first, last)| match first == last {
                true => format!("{client}/{first}"),
                false => format!("{client}/{first}..{last}"),
            }));
        }
        entries
    }
}

impl FromIterator<(u32, u64)> for Turns {
    fn from_iter<I: IntoIterator<Item = (u32, u64)>>(all: I) -> Turns {
        let mut turns = Turns::default();
        for (client, turn) in all {
            turns.insert(client, turn);
        }
        turns
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entries().join(", "))
    }
}

impl From<Turns> for Vec<String> {
    fn from(turns: Turns) -> Vec<String> {
        turns.entries()
    }
}

impl TryFrom<Vec<String>> for Turns {
    type Error = String;

    fn try_from(entries: Vec<String>) -> Result<Turns, String> {
        let mut turns = Turns::default();
        for entry in &entries {
            turns.add(entry)?;
        }
        Ok(turns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let turns: Turns = [(2, 7), (1, 3), (1, 5), (1, 4), (1, 9)].into_iter().collect();
        assert_eq!(turns.to_string(), "1/3..5, 1/9, 2/7");
        assert_eq!((turns.count(), turns.clients()), (5, 2));
        let text = serde_json::to_string(&turns).unwrap();
        assert_eq!(serde_json::from_str::<Turns>(&text).unwrap(), turns);
        assert_eq!(serde_json::from_str::<Turns>("[]").unwrap(), Turns::default());
        assert_eq!(turns.iter().collect::<Turns>(), turns);
    }

    #[test]
    fn what_names_no_turn_is_refused() {
        for entry in [
            "",
            "3",
            "1/",
            "/3",
            "1/x",
            "1/5..4",
            "0/1",
            "1/0",
            "1/0..3",
            "1/1..2000000",
            "-1/2",
        ] {
            let error = Turns::default().add(entry).unwrap_err();
            assert!(error.contains("such as 1/3"), "{entry}: {error}");
        }
    }
}
