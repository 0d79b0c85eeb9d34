//! POSIX's form of a zone: an offset, and days of the year on which the clock is put forward and back.

use super::super::datetime::{civil_from_days, days_from_civil};

/// What the United States do, which holds where a form has two offsets and says no days.
const DEFAULT_DAYS: &str = ",M3.2.0,M11.1.0";
const SECONDS_PER_DAY: i64 = 86_400;

/// A change of a zone's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Seconds since 1970.
    pub at: i64,
    /// Seconds east of UTC from then on.
    pub offset: i32,
}

/// Offsets are seconds east of UTC, though POSIX counts them to the west.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    standard: i32,
    summer: Option<Summer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Summer {
    offset: i32,
    start: Change,
    end: Change,
}

/// A day of each year, and the second of it by the clock that is put forward or back then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    second: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// From 1; the 29th of February is not counted.
    InCommonYear(u16),
    /// From 0, all days counted.
    OfYear(u16),
    /// The weekday (0 is Sunday) of a month's week; week 5 is the last.
    OfWeek { month: u8, week: u8, weekday: u8 },
}

impl Rule {
    pub const fn fixed(offset: i32) -> Rule {
        Rule {
            standard: offset,
            summer: None,
        }
    }

    /// `CET-1CEST,M3.5.0,M10.5.0/3`. Whether the first name may be left out: people may say `+02:00`, the database must
    /// not.
    pub fn parse(text: &str, nameless: bool) -> Option<Rule> {
        let (name, rest) = name(text)?;
        if name.is_empty() && !nameless {
            return None;
        }
        let (west, rest) = time(rest)?;
        let standard = -west;
        if rest.is_empty() {
            return Some(Rule::fixed(standard));
        }
        let (name, rest) = self::name(rest)?;
        if name.is_empty() {
            return None;
        }
        let (offset, rest) = match rest.as_bytes().first() {
            None | Some(b',') => (standard + 3600, rest),
            Some(_) => time(rest).map(|(west, rest)| (-west, rest))?,
        };
        let days = if rest.is_empty() { DEFAULT_DAYS } else { rest };
        let (start, rest) = Change::parse(days.strip_prefix(',')?)?;
        let (end, rest) = Change::parse(rest.strip_prefix(',')?)?;
        rest.is_empty().then_some(Rule {
            standard,
            summer: Some(Summer { offset, start, end }),
        })
    }

    /// Seconds east of UTC at a moment, which is seconds since 1970.
    pub fn offset_at(&self, second: i64) -> i32 {
        let Some(summer) = &self.summer else {
            return self.standard;
        };
        self.around(summer, second)
            .iter()
            .rfind(|change| change.at <= second)
            .map_or(self.standard, |change| change.offset)
    }

    /// The first change behind a moment.
    pub fn change_after(&self, second: i64) -> Option<Boundary> {
        let summer = self.summer.as_ref()?;
        self.around(summer, second)
            .into_iter()
            .find(|change| change.at > second)
    }

    /// The changes of the year around a moment, of the one before and of the one after, in their order.
    fn around(&self, summer: &Summer, second: i64) -> [Boundary; 6] {
        let (year, ..) = civil_from_days(second.div_euclid(SECONDS_PER_DAY));
        let mut changes = [Boundary {
            at: 0,
            offset: self.standard,
        }; 6];
        for (pair, year) in changes.chunks_exact_mut(2).zip(year - 1..) {
            pair[0] = Boundary {
                at: summer.start.second_of(year) - i64::from(self.standard),
                offset: summer.offset,
            };
            pair[1] = Boundary {
                at: summer.end.second_of(year) - i64::from(summer.offset),
                offset: self.standard,
            };
        }
        changes.sort_by_key(|change| change.at);
        changes
    }
}

impl Change {
    fn parse(text: &str) -> Option<(Change, &str)> {
        let (day, rest) = Day::parse(text)?;
        let (second, rest) = match rest.strip_prefix('/') {
            Some(rest) => time(rest)?,
            None => (2 * 3600, rest),
        };
        Some((Change { day, second }, rest))
    }

    /// Seconds from 1970 to the change in a year, by the clock on the wall.
    fn second_of(&self, year: i64) -> i64 {
        self.day.of(year) * SECONDS_PER_DAY + i64::from(self.second)
    }
}

impl Day {
    fn parse(text: &str) -> Option<(Day, &str)> {
        if let Some(rest) = text.strip_prefix('J') {
            let (day, rest) = number(rest, 1, 365)?;
            return Some((Day::InCommonYear(day), rest));
        }
        let Some(rest) = text.strip_prefix('M') else {
            let (day, rest) = number(text, 0, 365)?;
            return Some((Day::OfYear(day), rest));
        };
        let (month, rest) = number(rest, 1, 12)?;
        let (week, rest) = number(rest.strip_prefix('.')?, 1, 5)?;
        let (weekday, rest) = number(rest.strip_prefix('.')?, 0, 6)?;
        let small = |number: u16| u8::try_from(number).ok();
        let day = Day::OfWeek {
            month: small(month)?,
            week: small(week)?,
            weekday: small(weekday)?,
        };
        Some((day, rest))
    }

    /// Days from 1970.
    fn of(self, year: i64) -> i64 {
        let first = days_from_civil(year, 1, 1);
        match self {
            Day::InCommonYear(day) => {
                let february = i64::from(day > 59 && days_from_civil(year, 3, 1) - first == 60);
                first + i64::from(day) - 1 + february
            }
            Day::OfYear(day) => first + i64::from(day),
            Day::OfWeek { month, week, weekday } => {
                let first = days_from_civil(year, u32::from(month), 1);
                let next = if month == 12 {
                    days_from_civil(year + 1, 1, 1)
                } else {
                    days_from_civil(year, u32::from(month) + 1, 1)
                };
                // 1970 began on a Thursday.
                let ahead = (i64::from(weekday) - (first + 4)).rem_euclid(7);
                let day = first + ahead + (i64::from(week) - 1) * 7;
                if day < next { day } else { day - 7 }
            }
        }
    }
}

/// Letters, or anything between `<` and `>`; and what follows.
fn name(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>'),
        None => {
            let end = text
                .find(|c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | '+'))
                .unwrap_or(text.len());
            Some(text.split_at(end))
        }
    }
}

/// `[+-]h[:m[:s]]` in seconds, up to a week; and what follows.
fn time(text: &str) -> Option<(i32, &str)> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (hours, mut rest) = number(rest, 0, 167)?;
    let mut seconds = i32::from(hours) * 3600;
    for (unit, most) in [(60, 59), (1, 60)] {
        let Some(after) = rest.strip_prefix(':') else { break };
        let (value, after) = number(after, 0, most)?;
        seconds += i32::from(value) * unit;
        rest = after;
    }
    Some((sign * seconds, rest))
}

/// A number without sign within bounds; and what follows.
fn number(text: &str, least: u16, most: u16) -> Option<(u16, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let number = digits.parse().ok()?;
    (least..=most).contains(&number).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str, year: i64) -> (i64, u32, u32) {
        let (day, rest) = Day::parse(text).unwrap();
        assert_eq!(rest, "");
        civil_from_days(day.of(year))
    }

    #[test]
    fn days_of_the_year_are_found() {
        assert_eq!(day("M3.5.0", 2024), (2024, 3, 31));
        assert_eq!(day("M10.5.0", 2024), (2024, 10, 27));
        assert_eq!(day("M2.5.4", 2024), (2024, 2, 29));
        assert_eq!(day("M12.5.0", 2023), (2023, 12, 31));
        assert_eq!(day("M11.1.0", 2026), (2026, 11, 1));
        assert_eq!(day("J60", 2024), (2024, 3, 1));
        assert_eq!(day("J59", 2024), (2024, 2, 28));
        assert_eq!(day("59", 2024), (2024, 2, 29));
    }

    #[test]
    fn the_southern_summer_spans_the_turn_of_the_year() {
        let rule = Rule::parse("<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45", false).unwrap();
        // 2024-01-01, 2024-07-01, 2024-12-31
        for (second, offset) in [
            (1_704_067_200, 49_500),
            (1_719_792_000, 45_900),
            (1_735_603_200, 49_500),
        ] {
            assert_eq!(rule.offset_at(second), offset);
        }
    }

    #[test]
    fn malformed_rules_are_refused() {
        for text in [
            "",
            "ABC",
            "+",
            "ABC1,M3.1.0",
            "ABC1DEF,M3.1.0",
            "ABC1DEF,M3.1.0,M13.1.0",
            "ABC200",
            "ABC1:60",
            "<ABC1",
        ] {
            assert_eq!(Rule::parse(text, true), None, "{text}");
        }
        assert_eq!(Rule::parse("é1é", true).map(|rule| rule.standard), Some(-3600));
        assert_eq!(Rule::parse("-2", true), Some(Rule::fixed(7200)));
        assert_eq!(Rule::parse("-2", false), None);
    }
}
