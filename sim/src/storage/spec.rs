//! The `storage:` section of a scenario.
//!
//! Must not know: seeds.

use crate::draw::{Draw, parse_number};
use crate::scenario::disk::DiskSpec;
use crate::units;
use crate::yaml::{Complaint, Node};

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// In order.
    Close,
    /// SIGKILL.
    Kill,
    /// The power goes between two operations.
    PowerOff,
    /// The power goes while commits are under way.
    PowerOffDuring,
    /// The power goes in the middle of some sync, wherever that may be: while opening, too.
    PowerOffAtSync,
}

impl Ending {
    pub const ALL: [Ending; 5] = [
        Ending::Close,
        Ending::Kill,
        Ending::PowerOff,
        Ending::PowerOffDuring,
        Ending::PowerOffAtSync,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Ending::Close => "close",
            Ending::Kill => "kill",
            Ending::PowerOff => "power_off",
            Ending::PowerOffDuring => "power_off_during",
            Ending::PowerOffAtSync => "power_off_at_sync",
        }
    }
}

/// Word, what it is, the default, what is allowed, and how its value is read.
pub struct Number {
    pub name: &'static str,
    pub about: &'static str,
    default: (u64, u64),
    allowed: (u64, u64),
    parse: fn(&str) -> Result<u64, String>,
}

const fn count(name: &'static str, about: &'static str, default: (u64, u64), allowed: (u64, u64)) -> Number {
    Number {
        name,
        about,
        default,
        allowed,
        parse: parse_number,
    }
}

const fn size(name: &'static str, about: &'static str, default: (u64, u64), allowed: (u64, u64)) -> Number {
    Number {
        name,
        about,
        default,
        allowed,
        parse: units::parse_bytes,
    }
}

pub const NUMBERS: &[Number] = &[
    count("lives", "how often the store is opened on one disk", (3, 8), (1, 100)),
    count("operations", "how many operations a life has", (5, 30), (0, 1_000)),
    count("writers", "how many commits are under way at a time", (1, 4), (1, 16)),
    count("tables", "how many tables there are", (1, 3), (1, 8)),
    count("keys", "how many keys a table has", (4, 40), (2, 10_000)),
    count("edits", "how many rows one commit changes", (1, 6), (1, 64)),
    size("value", "bytes of padding in a row", (0, 600), (0, 1 << 20)),
    size(
        "segment",
        "the size at which a segment of the log is full",
        (2_000, 32_768),
        (1_024, 1 << 30),
    ),
    size("cache", "the size of the cache of chunks", (0, 16_384), (0, 1 << 30)),
    Number {
        name: "rot",
        about: "share of lives in which a bit of some file flips at rest",
        default: (0, 0),
        allowed: (0, 1_000_000),
        parse: |text| units::parse_share_ppm(text).map(u64::from),
    },
    size(
        "backlog",
        "how much may wait for a sync before writers wait",
        (1_024, 1 << 20),
        (1, 1 << 30),
    ),
];

#[derive(Debug, Clone)]
pub struct StorageSpec {
    /// In the order of [`NUMBERS`].
    numbers: Vec<Draw<u64>>,
    pub ends: Vec<Ending>,
    /// Drawn anew for every life.
    pub disk: DiskSpec,
}

impl StorageSpec {
    pub fn parse(node: &Node) -> Result<StorageSpec, Complaint> {
        let mut allowed: Vec<&str> = NUMBERS.iter().map(|number| number.name).collect();
        allowed.extend(["ends", "disk"]);
        let fields = node.fields("storage", &allowed)?;
        let mut numbers = Vec::new();
        for number in NUMBERS {
            let (low, high) = number.default;
            let Some(node) = fields.get(number.name) else {
                numbers.push(Draw::Range(low, high));
                continue;
            };
            let draw = Draw::parse(number.name, node, number.parse)?;
            let (least, most) = number.allowed;
            if let Some(bad) = draw.ends().into_iter().find(|end| !(least..=most).contains(end)) {
                return Err(node.complain(format!(
                    "{}: {bad} is out of range, {least} to {most} are allowed",
                    number.name
                )));
            }
            numbers.push(draw);
        }
        let words: Vec<&str> = Ending::ALL.iter().map(|ending| ending.word()).collect();
        let mut ends = Vec::new();
        if let Some(node) = fields.get("ends") {
            for entry in node.list() {
                let word = entry.word("ends", &words)?;
                ends.extend(Ending::ALL.into_iter().find(|ending| ending.word() == word));
            }
        }
        if ends.is_empty() {
            ends.extend(Ending::ALL);
        }
        let disk = fields.get("disk").map(DiskSpec::parse).transpose()?.unwrap_or_default();
        Ok(StorageSpec { numbers, ends, disk })
    }

    /// What is said of one of [`NUMBERS`].
    pub fn number(&self, name: &str) -> &Draw<u64> {
        let index = NUMBERS.iter().position(|number| number.name == name);
        &self.numbers[index.expect("the code asks for words it lists")]
    }
}
