//! What of a server a seed may make small: its segments, caches and queues, and how soon it collects.

use std::collections::BTreeMap;
use std::fmt;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::units::{self, show_bytes};
use crate::yaml::{Complaint, Node};

pub struct Knob {
    pub name: &'static str,
    pub about: &'static str,
    /// Between these a swarm draws.
    pub small: (u64, u64),
    min: u64,
}

pub const KNOBS: &[Knob] = &[
    Knob {
        name: "segment",
        about: "bytes after which a store begins another segment",
        small: (4 << 10, 256 << 10),
        min: 1_000,
    },
    Knob {
        name: "cache",
        about: "bytes of chunks a server keeps in memory",
        small: (1, 1 << 20),
        min: 0,
    },
    Knob {
        name: "backlog",
        about: "bytes that may wait for a sync before writers are held back",
        small: (4 << 10, 1 << 20),
        min: 500,
    },
    Knob {
        name: "collect",
        about: "bytes of log from which on garbage is collected",
        small: (8 << 10, 400 << 10),
        min: 1,
    },
];

/// Knob to value. What is not said is as in production, and collection early.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnobSpec(BTreeMap<&'static str, Draw<u64>>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u64>")]
pub struct Knobs(BTreeMap<&'static str, u64>);

impl KnobSpec {
    pub fn parse(node: &Node) -> Result<KnobSpec, Complaint> {
        let allowed: Vec<&str> = KNOBS.iter().map(|knob| knob.name).collect();
        let fields = node.fields("knobs", &allowed)?;
        let mut spec = KnobSpec::default();
        for knob in KNOBS {
            let Some(node) = fields.get(knob.name) else { continue };
            let draw = Draw::parse(knob.name, node, units::parse_bytes)?;
            if draw.ends().iter().any(|bytes| *bytes < knob.min) {
                return Err(node.complain(format!("{}: at least {} is due", knob.name, show_bytes(knob.min))));
            }
            spec.0.insert(knob.name, draw);
        }
        Ok(spec)
    }

    pub fn draw(&self, stream: impl Fn(&str) -> ChaCha8Rng) -> Knobs {
        let drawn = self.0.iter().map(|(knob, draw)| (*knob, draw.draw(&mut stream(knob))));
        Knobs(drawn.collect())
    }
}

impl Knobs {
    pub fn get(&self, knob: &str) -> Option<u64> {
        self.0.get(knob).copied()
    }

    /// Says what was not said.
    pub fn or(&mut self, knob: &'static str, value: u64) {
        self.0.entry(knob).or_insert(value);
    }

    /// Those that are said.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }

    /// Says no more of `knob`.
    pub fn forget(&mut self, knob: &str) {
        self.0.remove(knob);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl TryFrom<BTreeMap<String, u64>> for Knobs {
    type Error = String;

    fn try_from(said: BTreeMap<String, u64>) -> Result<Knobs, String> {
        let known = |(name, value): (String, u64)| {
            let knob = KNOBS.iter().find(|knob| knob.name == name);
            knob.map(|knob| (knob.name, value))
                .ok_or_else(|| format!("knobs: {name:?} is no word of this build's"))
        };
        said.into_iter().map(known).collect::<Result<_, _>>().map(Knobs)
    }
}

/// As it stands in a scenario file.
impl fmt::Display for Knobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said: Vec<String> = self.0.iter().map(|(knob, value)| format!("{knob}: {value}")).collect();
        write!(f, "{{ {} }}", said.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    fn parse(text: &str) -> Result<KnobSpec, Complaint> {
        KnobSpec::parse(&Node::parse("f.yaml", text).unwrap())
    }

    #[test]
    fn knobs_are_drawn_printed_and_read_back() {
        let spec = parse("{ segment: 4KiB..8KiB, cache: 0 }").unwrap();
        let knobs = spec.draw(|knob| draw::stream(3, knob));
        assert!((4096..=8192).contains(&knobs.get("segment").unwrap()));
        assert_eq!(knobs.get("backlog"), None);
        let again = parse(&knobs.to_string()).unwrap().draw(|knob| draw::stream(4, knob));
        assert_eq!(again, knobs);
        let json = serde_json::to_string(&knobs).unwrap();
        assert_eq!(serde_json::from_str::<Knobs>(&json).unwrap(), knobs);
        assert!(serde_json::from_str::<Knobs>("{\"pages\": 1}").is_err());
    }

    #[test]
    fn mistakes_name_the_words() {
        for (text, part) in [
            (
                "{ pages: 1 }",
                "unknown word \"pages\"; allowed here: segment, cache, backlog, collect",
            ),
            ("{ segment: 10 }", "at least 1000B is due"),
            ("{ cache: lots }", "is not a size"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.what.contains(part), "{text}: {error}");
        }
    }
}
