//! What a disk is like: the words of `disk:`, the same for servers, steps and the storage engine on its own.
//!
//! Every value is a number (microseconds, parts per million, bytes), so that a word is one line of [`WORDS`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use understudy::runtime::disk::simulated::{DiskFaults, FaultKind, SimDisk};

use crate::draw::{Draw, parse_number};
use crate::units::{self, Micros, show_bytes, show_micros};
use crate::yaml::{Complaint, Node};

/// One word of a `disk:`.
pub struct Word {
    pub name: &'static str,
    pub about: &'static str,
    parse: fn(&str) -> Result<u64, String>,
    show: fn(u64) -> String,
    /// Sets it; the last number is how many bytes the disk holds now.
    set: fn(&mut DiskFaults, u64, u64),
}

/// The words of faults after which a disk no longer holds what it should. A read that goes wrong, of a medium that is
/// right, is none of them, so it may befall all servers.
pub const DAMAGING: [&str; 3] = ["lost", "misdirected", "corrupt"];

/// Whether a disk no longer holds what it should after a fault of this kind: those of [`DAMAGING`], and rot.
pub fn is_lasting(kind: FaultKind) -> bool {
    kind.is_damage() && kind != FaultKind::Misread
}

/// Stands for the word `none`.
pub const NONE: u64 = u64::MAX;

/// How long a stuck sync takes if nobody says: longer than clients wait.
const STUCK_FOR_DEFAULT: Duration = Duration::from_secs(30);

pub const WORDS: &[Word] = &[
    Word {
        name: "latency",
        about: "how long a sync takes",
        parse: units::parse_micros,
        show: show_time,
        set: |faults, micros, _| {
            let latency = Duration::from_micros(micros);
            faults.sync_latency = Some(latency..=latency);
        },
    },
    Word {
        name: "torn",
        about: "share of the writes lost with the power that leave some of their sectors",
        parse: parse_share,
        show: show_share,
        set: |faults, share, _| faults.torn = Some(ppm(share)),
    },
    Word {
        name: "lost",
        about: "share of synced writes that never reach the medium",
        parse: parse_share,
        show: show_share,
        set: |faults, share, _| faults.lost = ppm(share),
    },
    Word {
        name: "misdirected",
        about: "share of synced writes that land in another place of their file",
        parse: parse_share,
        show: show_share,
        set: |faults, share, _| faults.misdirected = ppm(share),
    },
    Word {
        name: "corrupt",
        about: "share of synced writes of which a bit or a sector becomes something else",
        parse: parse_share,
        show: show_share,
        set: |faults, share, _| faults.corrupt = ppm(share),
    },
    Word {
        name: "misread",
        about: "share of reads that see a flipped bit, once",
        parse: parse_share,
        show: show_share,
        set: |faults, share, _| faults.misread = ppm(share),
    },
    Word {
        name: "sync_fails",
        about: "share of syncs that fail, and lose what they should have saved",
        parse: parse_share,
        show: show_share,
        set: |faults, share, _| faults.sync_fails = ppm(share),
    },
    Word {
        name: "sync_fails_after",
        about: "how many more syncs of files succeed before one fails, or none",
        parse: |text| or_none(text, parse_number),
        show: |count| show_or_none(count, |count| count.to_string()),
        set: |faults, count, _| faults.fail_sync_after = (count != NONE).then_some(count),
    },
    Word {
        name: "stuck",
        about: "share of syncs that take as long as stuck_for says",
        parse: parse_share,
        show: show_share,
        set: |faults, share, _| {
            faults.stuck = ppm(share);
            if faults.stuck_for.is_zero() {
                faults.stuck_for = STUCK_FOR_DEFAULT;
            }
        },
    },
    Word {
        name: "stuck_for",
        about: "how long a stuck sync takes, 30s if not said",
        parse: units::parse_micros,
        show: show_time,
        set: |faults, micros, _| faults.stuck_for = Duration::from_micros(micros),
    },
    Word {
        name: "full_at",
        about: "bytes in all files at which the disk is full, or none",
        parse: |text| or_none(text, units::parse_bytes),
        show: |bytes| show_or_none(bytes, show_bytes),
        set: |faults, bytes, _| faults.full_at = (bytes != NONE).then_some(bytes),
    },
    Word {
        name: "full_after",
        about: "how many bytes more than now still fit, or none",
        parse: |text| or_none(text, units::parse_bytes),
        show: |bytes| show_or_none(bytes, show_bytes),
        set: |faults, bytes, used| faults.full_at = (bytes != NONE).then(|| used.saturating_add(bytes)),
    },
];

/// What a scenario says of a disk: word to value. What is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskSpec(BTreeMap<&'static str, Draw<u64>>);

/// The same with every value drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u64>")]
pub struct DiskSettings(BTreeMap<&'static str, u64>);

impl DiskSpec {
    /// Whether a disk that is like this may come to hold something else than it should.
    pub fn may_damage(&self) -> bool {
        let mut said = DAMAGING.iter().filter_map(|word| self.0.get(word));
        said.any(|share| *share != Draw::One(0))
    }

    pub fn parse(node: &Node) -> Result<DiskSpec, Complaint> {
        DiskSpec::of(node, &[])
    }

    /// Reads a mapping in which `others` may stand too.
    pub fn of(node: &Node, others: &[&str]) -> Result<DiskSpec, Complaint> {
        let mut allowed = others.to_vec();
        allowed.extend(WORDS.iter().map(|word| word.name));
        let fields = node.fields("disk", &allowed)?;
        let mut spec = DiskSpec::default();
        for word in WORDS {
            if let Some(node) = fields.get(word.name) {
                spec.0.insert(word.name, Draw::parse(word.name, node, word.parse)?);
            }
        }
        if let (Some(_), Some(node)) = (fields.get("full_at"), fields.get("full_after")) {
            return Err(
                node.complain("disk: full_at and full_after say the same thing in two ways; one of them is due")
            );
        }
        Ok(spec)
    }

    /// Says something that was not said.
    pub fn or(mut self, word: &'static str, value: u64) -> DiskSpec {
        self.0.entry(word).or_insert(Draw::One(value));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Draws every value, each from a stream of its own.
    pub fn draw(&self, mut stream: impl FnMut(&str) -> ChaCha8Rng) -> DiskSettings {
        let values = self.0.iter().map(|(word, draw)| (*word, draw.draw(&mut stream(word))));
        DiskSettings(values.collect())
    }
}

impl DiskSettings {
    /// Whether the disk will be full at some point.
    pub fn fills(&self) -> bool {
        ["full_at", "full_after"]
            .iter()
            .any(|word| self.0.get(word).is_some_and(|bytes| *bytes != NONE))
    }

    /// What this disk will do wrong.
    pub fn faults(&self) -> impl Iterator<Item = &'static str> + '_ {
        let said = self.0.iter().filter(|(_, value)| **value != 0 && **value != NONE);
        let how_long = ["latency", "stuck_for"];
        said.map(|(word, _)| *word).filter(move |word| !how_long.contains(word))
    }

    /// The words that are said here.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }

    /// How long a sync takes.
    pub fn latency(&self) -> Micros {
        self.0.get("latency").copied().unwrap_or(0)
    }

    /// Says something that was not said.
    pub fn or(&mut self, word: &'static str, value: u64) {
        assert!(WORDS.iter().any(|known| known.name == word), "a word of disks");
        self.0.entry(word).or_insert(value);
    }

    /// Says no more of `word`.
    pub fn forget(&mut self, word: &str) {
        self.0.remove(word);
    }

    /// As it stands in a scenario file: `{ latency: 200us, lost: 0.01 }`.
    pub fn written(&self) -> String {
        let said = WORDS.iter().filter_map(|word| {
            let value = *self.0.get(word.name)?;
            Some(format!("{}: {}", word.name, written(word, value)))
        });
        format!("{{ {} }}", said.collect::<Vec<_>>().join(", "))
    }

    /// Changes what is said here and nothing else.
    pub fn apply(&self, disk: &SimDisk) {
        let (mut faults, used) = (disk.faults(), disk.used());
        // In the order of the table: `stuck_for` comes after what it belongs to.
        for word in WORDS {
            if let Some(value) = self.0.get(word.name) {
                (word.set)(&mut faults, *value, used);
            }
        }
        disk.set_faults(faults);
    }
}

/// A plan that was kept names words; those of this build are taken.
impl TryFrom<BTreeMap<String, u64>> for DiskSettings {
    type Error = String;

    fn try_from(said: BTreeMap<String, u64>) -> Result<DiskSettings, String> {
        let known = |(name, value): (String, u64)| {
            let word = WORDS.iter().find(|word| word.name == name);
            word.map(|word| (word.name, value))
                .ok_or_else(|| format!("disk: {name:?} is no word of this build's"))
        };
        said.into_iter().map(known).collect::<Result<_, _>>().map(DiskSettings)
    }
}

impl DiskSettings {
    /// One word.
    pub fn of(word: &'static str, value: u64) -> DiskSettings {
        let mut settings = DiskSettings::default();
        settings.or(word, value);
        settings
    }

    /// As [`DiskSpec::may_damage`].
    pub fn may_damage(&self) -> bool {
        DAMAGING
            .iter()
            .any(|word| self.get(word).is_some_and(|share| share > 0))
    }

    pub fn get(&self, word: &str) -> Option<u64> {
        self.0.get(word).copied()
    }

    /// Syncs take as long as is said here again.
    pub fn apply_latency(&self, disk: &SimDisk) {
        let latency = self.0.get_key_value("latency").map(|(word, value)| (*word, *value));
        DiskSettings(latency.into_iter().collect()).apply(disk);
    }
}

/// From now on nothing goes wrong by fault. What was damaged stays damaged, and a sync takes its time.
pub fn calm(disk: &SimDisk) {
    disk.set_faults(DiskFaults {
        sync_latency: disk.faults().sync_latency,
        ..DiskFaults::default()
    });
}

impl fmt::Display for DiskSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("as it is");
        }
        let said = WORDS.iter().filter_map(|word| {
            let value = self.0.get(word.name)?;
            Some(format!("{} {}", word.name, (word.show)(*value)))
        });
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}

/// The form of `value` that `word` reads back as the same value.
fn written(word: &Word, value: u64) -> String {
    let share = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
    let forms = ["none".to_owned(), show_time(value), share, value.to_string()];
    let exact = forms.iter().find(|form| (word.parse)(form) == Ok(value));
    exact.unwrap_or(&forms[3]).clone()
}

fn ppm(share: u64) -> u32 {
    u32::try_from(share).unwrap_or(u32::MAX)
}

fn parse_share(text: &str) -> Result<u64, String> {
    units::parse_share_ppm(text).map(u64::from)
}

fn show_share(share: u64) -> String {
    format!("{share} per million")
}

fn show_time(micros: u64) -> String {
    show_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

fn or_none(text: &str, parse: fn(&str) -> Result<u64, String>) -> Result<u64, String> {
    if text == "none" {
        return Ok(NONE);
    }
    parse(text).map_err(|error| format!("{error}, or none"))
}

fn show_or_none(value: u64, show: fn(u64) -> String) -> String {
    if value == NONE { "none".to_owned() } else { show(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    fn parse(text: &str) -> Result<DiskSpec, Complaint> {
        DiskSpec::parse(&Node::parse("f.yaml", text).unwrap())
    }

    fn settings(text: &str) -> DiskSettings {
        parse(text).unwrap().draw(|word| draw::stream(1, word))
    }

    #[test]
    fn every_word_changes_the_disk_and_only_what_it_says() {
        let values = [
            ("latency", "2ms"),
            ("torn", "10%"),
            ("lost", "1%"),
            ("misdirected", "2%"),
            ("corrupt", "3%"),
            ("misread", "4%"),
            ("sync_fails", "5%"),
            ("sync_fails_after", "7"),
            ("stuck", "6%"),
            ("stuck_for", "9s"),
            ("full_at", "64KiB"),
            ("full_after", "1MB"),
        ];
        assert_eq!(
            values.map(|(word, _)| word),
            WORDS.iter().map(|word| word.name).collect::<Vec<_>>()[..]
        );
        let calm = DiskFaults::default();
        let mut seen = vec![calm.clone()];
        for (word, value) in values {
            let disk = SimDisk::new(1);
            settings(&format!("{{ {word}: {value} }}")).apply(&disk);
            let faults = disk.faults();
            assert!(!seen.contains(&faults), "{word}: {faults:?}");
            seen.push(faults);
        }
        let all: Vec<String> = values[..11]
            .iter()
            .map(|(word, value)| format!("{word}: {value}"))
            .collect();
        let disk = SimDisk::new(1);
        settings(&format!("{{ {} }}", all.join(", "))).apply(&disk);
        let faults = disk.faults();
        assert_eq!(
            (faults.lost, faults.misread, faults.fail_sync_after),
            (10_000, 40_000, Some(7))
        );
        assert_eq!(
            (faults.full_at, faults.stuck_for),
            (Some(65_536), Duration::from_secs(9))
        );
        settings("{ full_at: none, sync_fails_after: none }").apply(&disk);
        let faults = disk.faults();
        assert_eq!(
            (faults.full_at, faults.fail_sync_after, faults.lost),
            (None, None, 10_000)
        );
        super::calm(&disk);
        assert_eq!(
            disk.faults(),
            DiskFaults {
                sync_latency: faults.sync_latency,
                ..calm
            }
        );
    }

    #[test]
    fn full_after_counts_from_what_is_there() {
        let disk = SimDisk::new(1);
        let file = disk
            .disk()
            .open("f", understudy::runtime::disk::OpenMode::Create)
            .unwrap();
        file.write_all_at(&[1; 500], 0).unwrap();
        settings("{ full_after: 1kB }").apply(&disk);
        assert_eq!(disk.faults().full_at, Some(1_500));
    }

    #[test]
    fn what_is_drawn_stays_in_range_and_is_printed() {
        let spec = parse("{ lost: [0, 1%..2%], full_after: [none, 4KiB..8KiB], latency: 1ms }").unwrap();
        let mut shown = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let settings = spec.draw(|word| draw::stream(seed, word));
            let lost = settings.0["lost"];
            assert!(lost == 0 || (10_000..=20_000).contains(&lost));
            let full = settings.0["full_after"];
            assert!(full == NONE || (4_096..=8_192).contains(&full));
            shown.insert(settings.to_string());
        }
        assert!(shown.len() > 10);
        assert!(
            shown.contains("latency 1ms, lost 0 per million, full_after none"),
            "{shown:?}"
        );
    }

    #[test]
    fn mistakes_name_the_words() {
        for (text, part) in [
            (
                "{ losst: 1% }",
                "unknown word \"losst\"; allowed here: latency, torn, lost",
            ),
            ("{ lost: 3 }", "is not a share"),
            (
                "{ full_at: much }",
                "is not a size; write 4096, 64KiB, 10MB or 1GB, or none",
            ),
            ("{ full_at: 1kB, full_after: 1kB }", "one of them is due"),
            ("{ sync_fails_after: -1 }", "or none"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.what.contains(part), "{text}: {error}");
        }
    }
}
