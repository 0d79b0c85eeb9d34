//! Intervals as PostgreSQL reads them: `1 year 2 mons 3 days 04:05:06`, `-1.5 hours`, `P1DT2H`, `2 weeks ago`.

use crate::sql::{SqlError, SqlErrorKind};

const MICROS_PER_SECOND: f64 = 1_000_000.0;

/// Months, days, and microseconds.
pub fn parse_interval(text: &str) -> Result<(i32, i32, i64), SqlError> {
    let wrong = || {
        SqlError::new(
            SqlErrorKind::InvalidDatetime,
            format!("invalid input syntax for type interval: \"{text}\""),
        )
    };
    let lower = text.trim().to_ascii_lowercase();
    let mut total = Sum::default();
    if let Some(iso) = lower.strip_prefix('p') {
        iso_parts(iso, &mut total).ok_or_else(wrong)?;
        return total.finish().ok_or_else(wrong);
    }
    let mut number: Option<f64> = None;
    let mut seen = false;
    let (body, sign) = match lower.strip_suffix("ago") {
        Some(body) => (body.trim(), -1.0),
        None => (lower.as_str(), 1.0),
    };
    for word in split_units(body) {
        if word.contains(':') {
            // A number before a clock is days.
            if let Some(days) = number.take() {
                total.add(days * sign, "day").ok_or_else(wrong)?;
            }
            total.micros += clock(word).ok_or_else(wrong)? * sign;
            seen = true;
        } else if let Ok(value) = word.parse::<f64>() {
            if number.replace(value).is_some() {
                return Err(wrong());
            }
        } else {
            total
                .add(number.take().ok_or_else(wrong)? * sign, word)
                .ok_or_else(wrong)?;
            seen = true;
        }
    }
    // A number alone is seconds.
    if let Some(seconds) = number {
        total.micros += seconds * MICROS_PER_SECOND * sign;
        seen = true;
    }
    if seen {
        total.finish().ok_or_else(wrong)
    } else {
        Err(wrong())
    }
}

#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    micros: f64,
}

impl Sum {
    /// Fractions of a unit spill into the next smaller ones: half a month is 15 days, half a day 12 hours.
    fn add(&mut self, amount: f64, unit: &str) -> Option<()> {
        let (months, days, micros) = match unit {
            "century" | "centuries" | "c" => (1200.0, 0.0, 0.0),
            "decade" | "decades" => (120.0, 0.0, 0.0),
            "year" | "years" | "y" | "yr" | "yrs" => (12.0, 0.0, 0.0),
            "month" | "months" | "mon" | "mons" => (1.0, 0.0, 0.0),
            "week" | "weeks" | "w" => (0.0, 7.0, 0.0),
            "day" | "days" | "d" => (0.0, 1.0, 0.0),
            "hour" | "hours" | "h" | "hr" | "hrs" => (0.0, 0.0, 3600.0 * MICROS_PER_SECOND),
            "minute" | "minutes" | "m" | "min" | "mins" => (0.0, 0.0, 60.0 * MICROS_PER_SECOND),
            "second" | "seconds" | "s" | "sec" | "secs" => (0.0, 0.0, MICROS_PER_SECOND),
            "millisecond" | "milliseconds" | "ms" => (0.0, 0.0, 1_000.0),
            "microsecond" | "microseconds" | "us" => (0.0, 0.0, 1.0),
            _ => return None,
        };
        let whole_months = (amount * months).trunc();
        let more_days = (amount * months - whole_months) * 30.0 + amount * days;
        let whole_days = more_days.trunc();
        self.months += whole_months;
        self.days += whole_days;
        self.micros += (more_days - whole_days) * 86_400.0 * MICROS_PER_SECOND + amount * micros;
        Some(())
    }

    fn finish(self) -> Option<(i32, i32, i64)> {
        let fits = |value: f64| value.abs() <= f64::from(i32::MAX);
        let micros = self.micros.round();
        (fits(self.months) && fits(self.days) && micros.abs() < 9.2e18).then_some((
            self.months as i32,
            self.days as i32,
            micros as i64,
        ))
    }
}

/// Words, with numbers and the units stuck to them (`2h`) apart.
fn split_units(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text
        .split(|c: char| c.is_ascii_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
    {
        let unit = word.find(|c: char| c.is_ascii_alphabetic());
        match unit {
            Some(at) if at > 0 => words.extend([&word[..at], &word[at..]]),
            _ => words.push(word),
        }
    }
    words
}

/// `[-]HH:MM[:SS[.ffffff]]` in microseconds.
fn clock(word: &str) -> Option<f64> {
    let (sign, body) = match word.strip_prefix('-') {
        Some(body) => (-1.0, body),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    let mut total = 0.0;
    let mut unit = 3600.0;
    let mut count = 0;
    for field in body.split(':') {
        let value: f64 = field.parse().ok().filter(|value: &f64| *value >= 0.0)?;
        if count > 0 && value >= 61.0 {
            return None;
        }
        total += value * unit;
        unit /= 60.0;
        count += 1;
    }
    (count == 2 || count == 3).then_some(sign * total * MICROS_PER_SECOND)
}

/// ISO 8601 after the `P`: `1Y2M3DT4H5M6S`.
fn iso_parts(text: &str, total: &mut Sum) -> Option<()> {
    let (mut in_time, mut number) = (false, String::new());
    for c in text.chars() {
        match c {
            't' if number.is_empty() => in_time = true,
            '0'..='9' | '.' | '-' | '+' => number.push(c),
            _ => {
                let unit = match (c, in_time) {
                    ('y', false) => "year",
                    ('m', false) => "month",
                    ('w', false) => "week",
                    ('d', false) => "day",
                    ('h', true) => "hour",
                    ('m', true) => "minute",
                    ('s', true) => "second",
                    _ => return None,
                };
                total.add(std::mem::take(&mut number).parse().ok()?, unit)?;
            }
        }
    }
    number.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::text::datetime::write_interval;

    /// As PostgreSQL 15 prints `'input'::interval`.
    #[test]
    fn intervals_are_read_as_postgres_reads_them() {
        for (input, expected) in [
            ("1 year 2 mons 3 days 04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("1 day", "1 day"),
            ("1.5 days", "1 day 12:00:00"),
            ("-2 hours", "-02:00:00"),
            ("2h 30m", "02:30:00"),
            ("1 week ago", "-7 days"),
            ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
            ("-01:30", "-01:30:00"),
            ("90", "00:01:30"),
            ("0.5 months", "15 days"),
            ("1 12:34:56", "1 day 12:34:56"),
        ] {
            let (months, days, micros) = parse_interval(input).unwrap();
            let mut out = String::new();
            write_interval(&mut out, months, days, micros).unwrap();
            assert_eq!(out, expected, "{input}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["", "abc", "1 fortnight", "1 2 days", "1:2:3:4", "P1X"] {
            assert_eq!(
                parse_interval(text).unwrap_err().kind,
                SqlErrorKind::InvalidDatetime,
                "{text}"
            );
        }
    }
}
