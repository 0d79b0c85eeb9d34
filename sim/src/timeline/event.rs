//! One line of a trace, taken apart.
//!
//! Must not know: how it is drawn.

use understudy::runtime::disk::simulated::FaultKind;

use crate::units::Micros;

/// `12.301482s b deliver connection=5 side=0 bytes=54 62a09fa107ab`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub at: Micros,
    pub node: &'a str,
    pub kind: &'a str,
    pub details: &'a str,
}

/// Kinds of two words, besides the faults of disks.
const TWO_WORDS: [&str; 5] = ["sync dir", "power off", "stop requested", "not opened", "read failed"];

impl<'a> Line<'a> {
    /// None: not an event.
    pub fn parse(line: &'a str) -> Option<Line<'a>> {
        let mut parts = line.splitn(3, ' ');
        let (moment, node, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let (seconds, micros) = moment.strip_suffix('s')?.split_once('.')?;
        if micros.len() != 6 {
            return None;
        }
        let at = seconds
            .parse::<Micros>()
            .ok()?
            .checked_mul(1_000_000)?
            .checked_add(micros.parse().ok()?)?;
        let faults = FaultKind::ALL.map(FaultKind::word);
        let long = TWO_WORDS.iter().chain(&faults).find(|kind| {
            rest.strip_prefix(**kind)
                .is_some_and(|after| after.is_empty() || after.starts_with(' '))
        });
        let kind = match long {
            Some(kind) => &rest[..kind.len()],
            None => rest.split(' ').next().unwrap_or_default(),
        };
        Some(Line {
            at,
            node,
            kind,
            details: rest[kind.len()..].trim(),
        })
    }

    /// The value of `key=` among the details.
    pub fn field(&self, key: &str) -> Option<&'a str> {
        self.details
            .split(' ')
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        self.field(key)?.parse().ok()
    }

    /// Whether a disk did something wrong here.
    pub fn is_disk_fault(&self) -> bool {
        FaultKind::from_word(self.kind).is_some()
    }

    /// What a reader can switch on and off.
    pub fn group(&self) -> Group {
        match self.kind {
            "step" | "done" | "ordered" | "calls" | "quiet" => Group::Steps,
            "role" | "ready" | "start" | "restart" | "down" | "kill" | "power off" | "pause" | "resume" | "clock"
            | "stop requested" | "opened" | "not opened" | "ended" | "replaced" | "calm" => Group::Life,
            "root" | "acknowledged" => Group::Roots,
            "invoke" | "ok" | "failed" | "unknown" | "commit" | "committed" | "refused" | "found" | "read failed" => {
                Group::Statements
            }
            "log" | "panic" => Group::Log,
            "said" | "buggify" | "sometimes" => Group::Said,
            "disconnected" | "unconnected" => Group::Sessions,
            "connected" if self.field("connection").is_none() => Group::Sessions,
            "sync" | "sync dir" => Group::Syncs,
            "fault" | "misled" => Group::DiskFaults,
            _ if self.is_disk_fault() => Group::DiskFaults,
            _ => Group::Network,
        }
    }
}

/// Kinds of events, as the page lets a reader choose among them. The order is that of the page's own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Steps,
    Life,
    Statements,
    Roots,
    Log,
    DiskFaults,
    Sessions,
    Network,
    Syncs,
    Said,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let line = Line::parse("12.301482s b deliver connection=5 side=0 bytes=54 62a09fa107ab").unwrap();
        assert_eq!((line.at, line.node, line.kind), (12_301_482, "b", "deliver"));
        assert_eq!(
            (line.number("connection"), line.field("bytes"), line.number("on")),
            (Some(5), Some("54"), None)
        );
        let line = Line::parse("0.001000s a sync dir path=.understudy bytes=0 ").unwrap();
        assert_eq!((line.kind, line.field("path")), ("sync dir", Some(".understudy")));
        let line = Line::parse("0.006000s store lost write path=x number=15 ").unwrap();
        assert_eq!((line.kind, line.group()), ("lost write", Group::DiskFaults));
        // Before a task has a name, the node is empty.
        let line = Line::parse("0.000000s  said hello").unwrap();
        assert_eq!((line.node, line.kind, line.details), ("", "said", "hello"));
        let line = Line::parse("49.306243s operator quiet").unwrap();
        assert_eq!((line.kind, line.details, line.group()), ("quiet", "", Group::Steps));
        for text in [
            "",
            "# checkpoint 1024 x",
            "plan: x",
            "1.5s a b c",
            "xs a b c",
            "99999999999999999999.000000s a b",
        ] {
            assert_eq!(Line::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_session_is_not_a_connection() {
        let group = |text| Line::parse(text).unwrap().group();
        assert_eq!(group("0.068579s b connected connection=5 "), Group::Network);
        assert_eq!(group("0.068579s others.1 connected b"), Group::Sessions);
    }
}
