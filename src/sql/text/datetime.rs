//! Dates and times as PostgreSQL prints and reads them (DateStyle `ISO, MDY`).
//!
//! Days count from 1970-01-01 and microseconds from 1970-01-01 00:00 UTC, in the proleptic Gregorian calendar; the year
//! before 1 is 1 BC. The extreme integers are the infinities, as in PostgreSQL.

use std::fmt::{self, Write};

use super::zone::Zone;
use crate::sql::error::{SqlError, SqlErrorKind};

pub const DATE_INFINITY: i32 = i32::MAX;
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
pub const TIMESTAMP_MINUS_INFINITY: i64 = i64::MIN;

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// PostgreSQL's range: 4713 BC to 294276 AD for timestamps, 5874897 AD for dates.
const FIRST_YEAR: i64 = -4712;
const LAST_TIMESTAMP_YEAR: i64 = 294_276;
const LAST_DATE_YEAR: i64 = 5_874_897;

/// Year (astronomical: 0 is 1 BC), month, day of a day count.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Day count of a date that exists (see [`days_in_month`]).
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A timestamp that many months later: the same time of the same day, or of the month's last day where that comes first.
pub fn add_months(micros: i64, months: i32) -> Option<i64> {
    let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
    let sum = year * 12 + i64::from(month) - 1 + i64::from(months);
    let (year, month) = (sum.div_euclid(12), sum.rem_euclid(12) as u32 + 1);
    let day = day.min(days_in_month(year, month));
    days_from_civil(year, month, day)
        .checked_mul(MICROS_PER_DAY)?
        .checked_add(micros.rem_euclid(MICROS_PER_DAY))
}

pub fn write_date(out: &mut impl Write, days: i32) -> fmt::Result {
    match days {
        DATE_INFINITY => out.write_str("infinity"),
        DATE_MINUS_INFINITY => out.write_str("-infinity"),
        _ => {
            let before_christ = write_day(out, i64::from(days))?;
            out.write_str(if before_christ { " BC" } else { "" })
        }
    }
}

/// `YYYY-MM-DD` without the era; true before Christ.
fn write_day(out: &mut impl Write, days: i64) -> Result<bool, fmt::Error> {
    let (year, month, day) = civil_from_days(days);
    let (shown, before_christ) = if year <= 0 { (1 - year, true) } else { (year, false) };
    write!(out, "{shown:04}-{month:02}-{day:02}")?;
    Ok(before_christ)
}

pub fn write_time(out: &mut impl Write, micros: i64) -> fmt::Result {
    let seconds = micros / MICROS_PER_SECOND;
    write!(
        out,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )?;
    write_fraction(out, micros % MICROS_PER_SECOND)
}

/// `.25` for 250000 microseconds, nothing for none.
fn write_fraction(out: &mut impl Write, micros: i64) -> fmt::Result {
    if micros == 0 {
        return Ok(());
    }
    let digits = format!("{micros:06}");
    write!(out, ".{}", digits.trim_end_matches('0'))
}

/// With an offset (seconds east of UTC) it is a `timestamptz` shown in that zone, without a plain `timestamp`.
pub fn write_timestamp(out: &mut impl Write, micros: i64, offset: Option<i32>) -> fmt::Result {
    match micros {
        TIMESTAMP_INFINITY => return out.write_str("infinity"),
        TIMESTAMP_MINUS_INFINITY => return out.write_str("-infinity"),
        _ => {}
    }
    let shown = micros.saturating_add(i64::from(offset.unwrap_or(0)) * MICROS_PER_SECOND);
    let before_christ = write_day(out, shown.div_euclid(MICROS_PER_DAY))?;
    out.write_char(' ')?;
    write_time(out, shown.rem_euclid(MICROS_PER_DAY))?;
    if let Some(offset) = offset {
        write_offset(out, offset)?;
    }
    out.write_str(if before_christ { " BC" } else { "" })
}

fn write_offset(out: &mut impl Write, offset: i32) -> fmt::Result {
    let (sign, size) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    write!(out, "{sign}{:02}", size / 3600)?;
    if size % 3600 != 0 {
        write!(out, ":{:02}", size / 60 % 60)?;
    }
    if size % 60 != 0 {
        write!(out, ":{:02}", size % 60)?;
    }
    Ok(())
}

/// PostgreSQL's `interval` in IntervalStyle `postgres`: `1 year 2 mons 3 days 04:05:06.7`.
pub fn write_interval(out: &mut impl Write, months: i32, days: i32, micros: i64) -> fmt::Result {
    let mut first = true;
    let mut negative_before = false;
    for (amount, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if amount == 0 {
            continue;
        }
        let space = if first { "" } else { " " };
        let plus = if negative_before && amount > 0 { "+" } else { "" };
        write!(
            out,
            "{space}{plus}{amount} {unit}{}",
            if amount == 1 { "" } else { "s" }
        )?;
        first = false;
        negative_before = amount < 0;
    }
    if micros != 0 || first {
        let space = if first { "" } else { " " };
        let sign = if micros < 0 {
            "-"
        } else if negative_before {
            "+"
        } else {
            ""
        };
        write!(out, "{space}{sign}")?;
        write_time(out, micros.saturating_abs())?;
    }
    Ok(())
}

/// What a date or time text says. Missing parts are None; the caller knows which it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parts {
    days: Option<i64>,
    /// Microseconds since midnight; may be 24:00:00.
    time: Option<i64>,
    zone: Option<Zone>,
    /// -1 and 1 for the infinities.
    infinity: i8,
}

pub fn parse_date(text: &str) -> Result<i32, SqlError> {
    let parts = parse_parts(text, "date")?;
    match parts.infinity {
        1 => return Ok(DATE_INFINITY),
        -1 => return Ok(DATE_MINUS_INFINITY),
        _ => {}
    }
    let days = parts.days.ok_or_else(|| malformed("date", text))?;
    let (year, ..) = civil_from_days(days);
    if !(FIRST_YEAR..=LAST_DATE_YEAR).contains(&year) {
        return Err(SqlError::new(
            SqlErrorKind::DatetimeOverflow,
            format!("date out of range: \"{text}\""),
        ));
    }
    i32::try_from(days).map_err(|_| malformed("date", text))
}

pub fn parse_time(text: &str) -> Result<i64, SqlError> {
    let parts = parse_parts(text, "time")?;
    if parts.infinity != 0 {
        return Err(malformed("time", text));
    }
    parts.time.ok_or_else(|| malformed("time", text))
}

/// A `timestamp`: a zone in the text is read and ignored, as PostgreSQL does.
pub fn parse_timestamp(text: &str) -> Result<i64, SqlError> {
    timestamp_of(text, parse_parts(text, "timestamp")?, "timestamp", &Zone::UTC)
}

/// A `timestamptz`; `zone` is the session's, for texts that say none.
pub fn parse_timestamptz(text: &str, zone: &Zone) -> Result<i64, SqlError> {
    let parts = parse_parts(text, "timestamp with time zone")?;
    let zone = parts.zone.as_ref().unwrap_or(zone);
    timestamp_of(text, parts, "timestamp with time zone", zone)
}

fn timestamp_of(text: &str, parts: Parts, type_name: &str, zone: &Zone) -> Result<i64, SqlError> {
    match parts.infinity {
        1 => return Ok(TIMESTAMP_INFINITY),
        -1 => return Ok(TIMESTAMP_MINUS_INFINITY),
        _ => {}
    }
    let days = parts.days.ok_or_else(|| malformed(type_name, text))?;
    let overflow = || {
        SqlError::new(
            SqlErrorKind::DatetimeOverflow,
            format!("timestamp out of range: \"{text}\""),
        )
    };
    let (year, ..) = civil_from_days(days);
    if !(FIRST_YEAR..=LAST_TIMESTAMP_YEAR).contains(&year) {
        return Err(overflow());
    }
    days.checked_mul(MICROS_PER_DAY)
        .and_then(|micros| micros.checked_add(parts.time.unwrap_or(0)))
        .and_then(|local| zone.to_utc(local))
        .ok_or_else(overflow)
}

fn malformed(type_name: &str, text: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::InvalidDatetime,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

fn out_of_range(text: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::DatetimeOverflow,
        format!("date/time field value out of range: \"{text}\""),
    )
}

fn parse_parts(text: &str, type_name: &str) -> Result<Parts, SqlError> {
    let wrong = || malformed(type_name, text);
    let lower = text.trim().to_ascii_lowercase();
    match lower.as_str() {
        "infinity" | "+infinity" => {
            return Ok(Parts {
                infinity: 1,
                ..Parts::default()
            });
        }
        "-infinity" => {
            return Ok(Parts {
                infinity: -1,
                ..Parts::default()
            });
        }
        "epoch" => {
            return Ok(Parts {
                days: Some(0),
                time: Some(0),
                zone: Some(Zone::UTC),
                infinity: 0,
            });
        }
        _ => {}
    }
    let mut parts = Parts::default();
    let mut before_christ = false;
    let mut civil: Option<(i64, u32, u32)> = None;
    let mut month_name: Option<u32> = None;
    let mut loose_numbers: Vec<i64> = Vec::new();
    for word in words(&lower) {
        let first = word.as_bytes()[0];
        if word == "bc" {
            before_christ = true;
        } else if word == "ad" || word == "t" {
        } else if word == "am" || word == "pm" {
            let time = parts.time.ok_or_else(wrong)?;
            let hour = time / (3600 * MICROS_PER_SECOND);
            if hour > 12 {
                return Err(out_of_range(text));
            }
            let base = time - hour * 3600 * MICROS_PER_SECOND;
            let hour = hour % 12 + if word == "pm" { 12 } else { 0 };
            parts.time = Some(base + hour * 3600 * MICROS_PER_SECOND);
        } else if word.contains(':') && first.is_ascii_digit() {
            if parts.time.is_some() {
                return Err(wrong());
            }
            parts.time = Some(parse_clock(word).ok_or_else(wrong)?.ok_or_else(|| out_of_range(text))?);
        } else if (first == b'+' || first == b'-') && parts.time.is_some() {
            set_zone(&mut parts, Zone::fixed(parse_offset(word).ok_or_else(wrong)?)).ok_or_else(wrong)?;
        } else if first.is_ascii_digit() && word.contains(['-', '/', '.']) {
            if civil.is_some() {
                return Err(wrong());
            }
            civil = Some(parse_day(word).ok_or_else(wrong)?);
        } else if first.is_ascii_digit() {
            match word.len() {
                8 if civil.is_none() && word.bytes().all(|b| b.is_ascii_digit()) => {
                    let number: i64 = word.parse().map_err(|_| wrong())?;
                    civil = Some((number / 10_000, (number / 100 % 100) as u32, (number % 100) as u32));
                }
                6 if civil.is_some() && parts.time.is_none() => {
                    let number: i64 = word.parse().map_err(|_| wrong())?;
                    let seconds = number / 10_000 * 3600 + number / 100 % 100 * 60 + number % 100;
                    parts.time = Some(seconds * MICROS_PER_SECOND);
                }
                _ => loose_numbers.push(
                    word.trim_end_matches(|c: char| c.is_ascii_alphabetic())
                        .parse()
                        .map_err(|_| wrong())?,
                ),
            }
        } else if let Some(month) = month_of(word) {
            month_name = Some(month);
        } else if day_name(word) {
        } else {
            match Zone::spoken(word) {
                Some(zone) => set_zone(&mut parts, zone).ok_or_else(wrong)?,
                // What looks like the name of a place is called one.
                None if first.is_ascii_alphabetic() && word.contains(['/', '_', '+']) => {
                    return Err(unknown_zone(word));
                }
                None => return Err(wrong()),
            }
        }
    }
    match (month_name, loose_numbers.as_slice()) {
        (None, []) => {}
        // `January 8, 1999`, `8 January 1999`, `1999 Jan 8`: the number that cannot be a day is the year.
        (Some(month), &[a, b]) if civil.is_none() => {
            civil = Some(if a > 31 {
                (a, month, b as u32)
            } else {
                (b, month, u32::try_from(a).map_err(|_| wrong())?)
            });
        }
        _ => return Err(wrong()),
    }
    if let Some((year, month, day)) = civil {
        let year = if before_christ { 1 - year } else { year };
        if (year == 0 && !before_christ)
            || !(1..=12).contains(&month)
            || year.abs() > 10_000_000
            || !(1..=days_in_month(year, month)).contains(&day)
        {
            return Err(out_of_range(text));
        }
        parts.days = Some(days_from_civil(year, month, day));
    } else if before_christ {
        return Err(wrong());
    }
    if parts == Parts::default() {
        return Err(wrong());
    }
    Ok(parts)
}

/// A text names one zone at most.
fn set_zone(parts: &mut Parts, zone: Zone) -> Option<()> {
    parts.zone.replace(zone).is_none().then_some(())
}

pub fn unknown_zone(name: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::InvalidParameter,
        format!("time zone \"{name}\" not recognized"),
    )
}

/// Splits at white space and commas, at the `T` between date and time, and before the zone after a time.
fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for word in text
        .split(|c: char| c.is_ascii_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
    {
        let bytes = word.as_bytes();
        if !bytes[0].is_ascii_digit() {
            found.push(word);
            continue;
        }
        let (date, rest) = match word.find('t') {
            Some(at) if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => (Some(&word[..at]), &word[at + 1..]),
            _ => (None, word),
        };
        found.extend(date);
        match rest.find(':') {
            Some(colon) => {
                let zone = rest[colon..].find(|c: char| matches!(c, '+' | '-') || c.is_ascii_alphabetic());
                match zone {
                    Some(at) => found.extend([&rest[..colon + at], &rest[colon + at..]]),
                    None => found.push(rest),
                }
            }
            None => found.push(rest),
        }
    }
    found
}

/// `HH:MM[:SS[.ffffff]]`: None is not a clock, Some(None) is out of range.
fn parse_clock(word: &str) -> Option<Option<i64>> {
    let mut fields = word.split(':');
    let hours: i64 = number(fields.next()?)?;
    let minutes: i64 = number(fields.next()?)?;
    let (seconds, micros) = match fields.next() {
        None => (0, 0),
        Some(field) => {
            let (whole, fraction) = field.split_once('.').unwrap_or((field, ""));
            (number(whole)?, parse_fraction(fraction)?)
        }
    };
    if fields.next().is_some() {
        return None;
    }
    let total = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + micros;
    let valid = minutes < 60 && seconds <= 60 && total <= MICROS_PER_DAY;
    Some(valid.then_some(total))
}

fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Microseconds of the digits after the point, rounded.
fn parse_fraction(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + i64::from(digits.as_bytes().get(place).map_or(0, |b| b - b'0'));
    }
    Some(micros + i64::from(digits.as_bytes().get(6).is_some_and(|b| *b >= b'5')))
}

/// `+HH`, `+HHMM`, `+HH:MM`, `+HH:MM:SS` as seconds east of UTC.
pub fn parse_offset(word: &str) -> Option<i32> {
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let body = &word[1..];
    let seconds = if body.contains(':') {
        let mut total = 0;
        let mut unit = 3600;
        for field in body.split(':') {
            total += number(field)? * unit;
            unit /= 60;
        }
        total
    } else {
        match body.len() {
            1 | 2 => number(body)? * 3600,
            3 | 4 => number(body)? / 100 * 3600 + number(body)? % 100 * 60,
            _ => return None,
        }
    };
    (seconds <= 16 * 3600).then_some(sign * seconds as i32)
}

/// `YYYY-MM-DD`, `YYYY/MM/DD`, `MM/DD/YYYY`, `YYYY-Mon-DD`, `DD-Mon-YYYY`.
fn parse_day(word: &str) -> Option<(i64, u32, u32)> {
    let fields: Vec<&str> = word.split(['-', '/', '.']).collect();
    let &[first, second, third] = fields.as_slice() else {
        return None;
    };
    let month_first = |month: &str| number(month).map(|month| month as u32);
    if let Some(month) = month_of(second) {
        return if first.len() > 2 {
            Some((number(first)?, month, number(third)? as u32))
        } else {
            Some((full_year(third)?, month, number(first)? as u32))
        };
    }
    if first.len() > 2 {
        return Some((number(first)?, month_first(second)?, number(third)? as u32));
    }
    Some((full_year(third)?, month_first(first)?, number(second)? as u32))
}

/// Two-digit years lie between 1970 and 2069.
fn full_year(text: &str) -> Option<i64> {
    let year = number(text)?;
    Some(match (text.len(), year) {
        (1 | 2, 0..=69) => 2000 + year,
        (1 | 2, _) => 1900 + year,
        _ => year,
    })
}

fn month_of(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.trim_end_matches('.');
    let at = MONTHS
        .iter()
        .position(|month| word == *month || word == &month[..3] || (word == "sept" && *month == "september"))?;
    Some(at as u32 + 1)
}

fn day_name(word: &str) -> bool {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    DAYS.iter().any(|day| word == *day || word == &day[..3])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(micros: i64, offset: Option<i32>) -> String {
        let mut out = String::new();
        write_timestamp(&mut out, micros, offset).unwrap();
        out
    }

    fn date(days: i32) -> String {
        let mut out = String::new();
        write_date(&mut out, days).unwrap();
        out
    }

    /// Every text here was printed by PostgreSQL 15 for the input on its left (`SELECT 'input'::timestamp`).
    #[test]
    fn timestamps_print_as_postgres_prints_them() {
        for (input, expected) in [
            ("2024-02-29 12:34:56.789", "2024-02-29 12:34:56.789"),
            ("2024-02-29T12:34:56Z", "2024-02-29 12:34:56"),
            ("2000-01-01", "2000-01-01 00:00:00"),
            ("0044-03-15 10:00 BC", "0044-03-15 10:00:00 BC"),
            ("4713-01-01 BC", "4713-01-01 00:00:00 BC"),
            ("12345-06-07 08:09:10.000001", "12345-06-07 08:09:10.000001"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("epoch", "1970-01-01 00:00:00"),
            ("1999-12-31 24:00", "2000-01-01 00:00:00"),
            ("20240102 030405", "2024-01-02 03:04:05"),
            ("January 8, 1999 04:05 PM", "1999-01-08 16:05:00"),
            ("8-Jan-1999", "1999-01-08 00:00:00"),
            ("1/8/1999", "1999-01-08 00:00:00"),
        ] {
            assert_eq!(timestamp(parse_timestamp(input).unwrap(), None), expected, "{input}");
        }
    }

    #[test]
    fn zones_shift_and_print() {
        let micros = parse_timestamptz("2024-06-01 12:00:00+02", &Zone::UTC).unwrap();
        assert_eq!(timestamp(micros, Some(0)), "2024-06-01 10:00:00+00");
        assert_eq!(timestamp(micros, Some(19_800)), "2024-06-01 15:30:00+05:30");
        assert_eq!(timestamp(micros, Some(-3600)), "2024-06-01 09:00:00-01");
        assert_eq!(
            parse_timestamptz("2024-06-01 12:00", &Zone::fixed(7200)).unwrap(),
            micros
        );
        for text in [
            "2024-06-01 12:00 europe/berlin",
            "2024-06-01T12:00CEST",
            "2024-06-01 19:00:00 Asia/Tokyo",
            "10:00 2024-06-01 z",
            "2024-06-01 13:00 UTC-3",
        ] {
            assert_eq!(parse_timestamptz(text, &Zone::fixed(-3600)).unwrap(), micros, "{text}");
        }
    }

    #[test]
    fn unknown_zones_are_named() {
        for (text, kind, message) in [
            (
                "2024-06-01 12:00 Foo/Bar",
                SqlErrorKind::InvalidParameter,
                "time zone \"foo/bar\" not recognized",
            ),
            (
                "2024-06-01 12:00 foo",
                SqlErrorKind::InvalidDatetime,
                "invalid input syntax for type timestamp: \"2024-06-01 12:00 foo\"",
            ),
            (
                "2024-06-01 12:00 UTC CET",
                SqlErrorKind::InvalidDatetime,
                "invalid input syntax for type timestamp: \"2024-06-01 12:00 UTC CET\"",
            ),
        ] {
            let error = parse_timestamp(text).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (kind, message));
        }
    }

    #[test]
    fn dates_round_trip_over_the_whole_range() {
        for days in (-2_440_000..40_000_000).step_by(9_973) {
            assert_eq!(parse_date(&date(days)).unwrap(), days);
        }
        assert_eq!(date(DATE_INFINITY), "infinity");
    }

    #[test]
    fn impossible_dates_and_garbage_are_told_apart() {
        for text in ["2023-02-29", "2024-13-01", "0000-01-01", "2024-01-01 25:00"] {
            assert_eq!(
                parse_timestamp(text).unwrap_err().kind,
                SqlErrorKind::DatetimeOverflow,
                "{text}"
            );
        }
        for text in [
            "",
            "abc",
            "12",
            "2024-01",
            "2024-01-01 12:00:00:00",
            "2024-01-01 2024-01-02",
        ] {
            let error = parse_timestamp(text).unwrap_err();
            assert_eq!(error.kind, SqlErrorKind::InvalidDatetime, "{text}");
            assert_eq!(
                error.message,
                format!("invalid input syntax for type timestamp: \"{text}\"")
            );
        }
    }

    #[test]
    fn intervals_print_in_the_postgres_style() {
        for (months, days, micros, expected) in [
            (14, 3, 4 * 3_600_000_000 + 500_000, "1 year 2 mons 3 days 04:00:00.5"),
            (0, 0, 0, "00:00:00"),
            (0, 1, 0, "1 day"),
            (-1, 2, -1_000_000, "-1 mons +2 days -00:00:01"),
        ] {
            let mut out = String::new();
            write_interval(&mut out, months, days, micros).unwrap();
            assert_eq!(out, expected);
        }
    }
}
