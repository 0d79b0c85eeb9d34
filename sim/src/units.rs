//! The units scenario files are written in: durations, rates, shares, sizes, and how they are printed.
//!
//! Everything is an integer (microseconds, parts per million, bytes per second), because a plan that was printed must
//! read back as the same plan, and because nothing that decides may be a float.
//!
//! Must not know: where a value stands in a file.

use std::fmt;
use std::time::Duration;

/// Microseconds of virtual time, or a length of it.
pub type Micros = u64;

const UNITS: [(&str, i128); 5] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// `1500us`, `200ms`, `1.5s`, `2m`, `1h`, with a sign if `signed`.
pub fn parse_signed_micros(text: &str) -> Result<i64, String> {
    let expected = || format!("{text:?} is not a length of time; write 500us, 20ms, 1.5s, 2m or 1h");
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1, body),
        None => (1, text),
    };
    if body == "0" {
        return Ok(0);
    }
    let digits = body
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(expected)?;
    let (number, unit) = body.split_at(digits);
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or_else(expected)?;
    let micros = fixed_point(number, scale).ok_or_else(expected)?;
    i64::try_from(sign * micros).map_err(|_| expected())
}

/// A length of time that cannot be negative.
pub fn parse_micros(text: &str) -> Result<Micros, String> {
    u64::try_from(parse_signed_micros(text)?)
        .map_err(|_| format!("{text:?} is negative; a length of time from 0 on is due"))
}

/// A share of one, as `0.01` or `1%`, in parts per million.
pub fn parse_share_ppm(text: &str) -> Result<u32, String> {
    let expected = || format!("{text:?} is not a share; write a number from 0 to 1, or a percentage");
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 10_000),
        None => (text, 1_000_000),
    };
    let ppm = fixed_point(number, scale).ok_or_else(expected)?;
    u32::try_from(ppm)
        .ok()
        .filter(|ppm| *ppm <= 1_000_000)
        .ok_or_else(expected)
}

/// `20/s` as the pause between two operations.
pub fn parse_rate(text: &str) -> Result<Micros, String> {
    let expected = || format!("{text:?} is not a rate; write operations per second, as in 20/s or 0.5/s");
    let number = text.strip_suffix("/s").ok_or_else(expected)?;
    let micro_hertz = fixed_point(number, 1_000_000)
        .filter(|rate| *rate > 0)
        .ok_or_else(expected)?;
    u64::try_from(1_000_000_000_000 / micro_hertz)
        .ok()
        .filter(|pause| *pause > 0)
        .ok_or_else(expected)
}

/// `10MB/s` in bytes per second.
pub fn parse_bandwidth(text: &str) -> Result<u64, String> {
    let expected = || format!("{text:?} is not a bandwidth; write 100kB/s, 10MB/s or 1GB/s");
    let number = text.strip_suffix("B/s").ok_or_else(expected)?;
    let (number, scale) = match number.chars().last() {
        Some('k') => (&number[..number.len() - 1], 1_000),
        Some('M') => (&number[..number.len() - 1], 1_000_000),
        Some('G') => (&number[..number.len() - 1], 1_000_000_000),
        _ => (number, 1),
    };
    let bytes = fixed_point(number, scale).ok_or_else(expected)?;
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(expected)
}

/// `4096`, `64KiB`, `10MB`, `1GB` in bytes.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const SUFFIXES: [(&str, i128); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let expected = || format!("{text:?} is not a size; write 4096, 64KiB, 10MB or 1GB");
    let suffix = SUFFIXES
        .iter()
        .find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale)));
    let (number, scale) = suffix.unwrap_or((text, 1));
    let bytes = fixed_point(number, scale).ok_or_else(expected)?;
    u64::try_from(bytes).map_err(|_| expected())
}

/// The shortest exact form: `64KiB`, `1500B`.
pub fn show_bytes(bytes: u64) -> String {
    let exact = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = exact
        .iter()
        .find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
    let (name, scale) = unit.copied().unwrap_or(("B", 1));
    format!("{}{name}", bytes / scale)
}

/// `number * scale` without a float; at most nine digits before and after the point.
fn fixed_point(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let denominator = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some(whole * scale + fraction * scale / denominator)
}

/// The shortest exact form: `1.5s`, `20ms`, `7us`.
pub fn show_micros(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let magnitude = micros.unsigned_abs();
    if magnitude == 0 {
        return "0s".to_owned();
    }
    let (unit, scale) = if !magnitude.is_multiple_of(1_000) && magnitude < 1_000_000 {
        ("us", 1)
    } else if magnitude < 1_000_000 {
        ("ms", 1_000)
    } else {
        ("s", 1_000_000)
    };
    let whole = magnitude / scale;
    let rest = magnitude % scale;
    if rest == 0 {
        return format!("{sign}{whole}{unit}");
    }
    let fraction = format!("{rest:06}");
    let fraction = if scale == 1_000_000 {
        fraction.as_str()
    } else {
        &fraction[3..]
    };
    format!("{sign}{whole}.{}{unit}", fraction.trim_end_matches('0'))
}

/// A moment of virtual time, as every line of a trace starts: `12.301482s`.
pub fn show_moment(micros: Micros) -> String {
    Moment(micros).to_string()
}

/// A moment as it is shown.
pub struct Moment(pub Micros);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

pub fn micros_of(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).expect("virtual time stays below half a million years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_and_print() {
        for (text, micros, shown) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("1500us", 1_500, "1.5ms"),
            ("20ms", 20_000, "20ms"),
            ("1.5s", 1_500_000, "1.5s"),
            ("-2s", -2_000_000, "-2s"),
            ("2m", 120_000_000, "120s"),
            ("1.000001s", 1_000_001, "1.000001s"),
            ("7us", 7, "7us"),
        ] {
            assert_eq!(parse_signed_micros(text), Ok(micros), "{text}");
            let printed = show_micros(micros);
            assert!(
                printed == shown || parse_signed_micros(&printed) == Ok(micros),
                "{text}: {printed}"
            );
            assert_eq!(parse_signed_micros(&printed), Ok(micros), "{text}: {printed}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "1.s",
            ".5s",
            "5d",
            "1e3s",
            "--5s",
            "9999999999999s",
            "1.2.3s",
        ] {
            assert!(parse_signed_micros(text).is_err(), "{text:?} was taken");
        }
        assert!(parse_micros("-1s").is_err());
    }

    #[test]
    fn shares_rates_and_bandwidths() {
        assert_eq!(parse_share_ppm("0.05"), Ok(50_000));
        assert_eq!(parse_share_ppm("5%"), Ok(50_000));
        assert_eq!(parse_share_ppm("1"), Ok(1_000_000));
        assert!(parse_share_ppm("1.01").is_err() && parse_share_ppm("-0.1").is_err() && parse_share_ppm("x").is_err());
        assert_eq!(parse_rate("20/s"), Ok(50_000));
        assert_eq!(parse_rate("0.5/s"), Ok(2_000_000));
        assert!(parse_rate("0/s").is_err() && parse_rate("20").is_err());
        assert_eq!(parse_bandwidth("10MB/s"), Ok(10_000_000));
        assert!(parse_bandwidth("10M").is_err() && parse_bandwidth("0B/s").is_err());
    }
}
