//! Numbers as PostgreSQL prints and reads them.

use std::fmt::{self, Write};

use rust_decimal::Decimal;

use crate::sql::error::{SqlError, SqlErrorKind};

/// Shortest digits that read back as the same double: exponents from 15 on and below -4 are written `1e+15`.
pub fn write_float8(out: &mut impl Write, value: f64) -> fmt::Result {
    write_float(
        out,
        value.is_nan(),
        value.is_infinite(),
        value.is_sign_negative(),
        format!("{value:e}"),
        15,
    )
}

/// As [`write_float8`], for single precision, which turns to exponents from 6 on.
pub fn write_float4(out: &mut impl Write, value: f32) -> fmt::Result {
    write_float(
        out,
        value.is_nan(),
        value.is_infinite(),
        value.is_sign_negative(),
        format!("{value:e}"),
        6,
    )
}

fn write_float(
    out: &mut impl Write,
    nan: bool,
    infinite: bool,
    negative: bool,
    scientific: String,
    exponent_from: i32,
) -> fmt::Result {
    if nan {
        return out.write_str("NaN");
    }
    if infinite {
        return out.write_str(if negative { "-Infinity" } else { "Infinity" });
    }
    let unsigned = scientific.trim_start_matches('-');
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if negative {
        out.write_char('-')?;
    }
    if digits == "0" {
        return out.write_char('0');
    }
    if exponent < -4 || exponent >= exponent_from {
        out.write_str(mantissa)?;
        return write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    if exponent < 0 {
        write!(out, "0.{}{digits}", "0".repeat((-exponent - 1) as usize))
    } else if digits.len() as i32 > exponent + 1 {
        let (whole, fraction) = digits.split_at((exponent + 1) as usize);
        write!(out, "{whole}.{fraction}")
    } else {
        write!(out, "{digits}{}", "0".repeat((exponent + 1) as usize - digits.len()))
    }
}

/// A decimal given as its digits without a point (maybe with `-`) and the number of digits behind the point.
pub fn write_decimal(out: &mut impl Write, unscaled: &str, scale: i32) -> fmt::Result {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    let zero = digits.bytes().all(|b| b == b'0');
    out.write_str(if zero { "" } else { sign })?;
    if scale <= 0 {
        return write!(
            out,
            "{digits}{}",
            "0".repeat(if zero { 0 } else { scale.unsigned_abs() as usize })
        );
    }
    let scale = scale as usize;
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        write!(out, "{whole}.{fraction}")
    } else {
        write!(out, "0.{}{digits}", "0".repeat(scale - digits.len()))
    }
}

fn malformed(type_name: &str, text: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::InvalidText,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

/// An integer between `min` and `max`, with the name of the type for the error.
pub fn parse_integer(text: &str, type_name: &str, min: i64, max: i64) -> Result<i64, SqlError> {
    let trimmed = text.trim_ascii();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed(type_name, text));
    }
    match trimmed.parse::<i64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            format!("value \"{text}\" is out of range for type {type_name}"),
        )),
    }
}

pub fn parse_float8(text: &str) -> Result<f64, SqlError> {
    parse_float(text, "double precision", |value: f64| {
        (value.is_infinite(), value == 0.0)
    })
}

pub fn parse_float4(text: &str) -> Result<f32, SqlError> {
    parse_float(text, "real", |value: f32| (value.is_infinite(), value == 0.0))
}

/// `extreme` says whether a value is infinite and whether it is zero: what the digits of a number must not become.
fn parse_float<F: Copy + std::str::FromStr>(
    text: &str,
    type_name: &str,
    extreme: impl Fn(F) -> (bool, bool),
) -> Result<F, SqlError> {
    let trimmed = checked_float_text(text, type_name)?;
    let value: F = trimmed.parse().map_err(|_| malformed(type_name, text))?;
    let (infinite, zero) = extreme(value);
    if (infinite && !names_infinity(trimmed)) || (zero && has_nonzero_digit(trimmed)) {
        return Err(float_out_of_range(text, type_name));
    }
    Ok(value)
}

fn float_out_of_range(text: &str, type_name: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::NumericOutOfRange,
        format!("\"{text}\" is out of range for type {type_name}"),
    )
}

/// Rust reads what PostgreSQL reads: `inf`, `infinity`, `nan` in any case, and decimal notation.
fn checked_float_text<'a>(text: &'a str, type_name: &str) -> Result<&'a str, SqlError> {
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        Err(malformed(type_name, text))
    } else {
        Ok(trimmed)
    }
}

fn names_infinity(text: &str) -> bool {
    text.trim_start_matches(['+', '-']).starts_with(['i', 'I'])
}

fn has_nonzero_digit(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b))
}

/// Exact, with the scale that was written. More than 28 digits are out of this server's range (22003), never rounded.
pub fn parse_numeric(text: &str) -> Result<Decimal, SqlError> {
    let trimmed = text.trim_ascii();
    if matches!(
        trimmed.to_ascii_lowercase().as_str(),
        "nan" | "infinity" | "-infinity" | "+infinity" | "inf" | "-inf"
    ) {
        return Err(SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            format!("numeric value \"{text}\" is not supported: only finite numbers are"),
        ));
    }
    let (mantissa, exponent) = match trimmed.find(['e', 'E']) {
        Some(at) => (&trimmed[..at], Some(&trimmed[at + 1..])),
        None => (trimmed, None),
    };
    let unsigned = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits_only = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits_only(whole) || !digits_only(fraction) {
        return Err(malformed("numeric", text));
    }
    let too_large = || {
        SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            format!("numeric value \"{text}\" has more than 28 digits"),
        )
    };
    let exponent: i32 = match exponent {
        None => 0,
        Some(digits) => digits.parse().map_err(|_| malformed("numeric", text))?,
    };
    let mut unscaled: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let next = unscaled
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(digit - b'0')));
        unscaled = next.ok_or_else(too_large)?;
    }
    let mut scale = fraction.len() as i64 - i64::from(exponent);
    if unscaled == 0 {
        scale = scale.clamp(0, 28);
    }
    while scale < 0 {
        unscaled = unscaled.checked_mul(10).ok_or_else(too_large)?;
        scale += 1;
    }
    while scale > 28 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    if mantissa.starts_with('-') {
        unscaled = -unscaled;
    }
    u32::try_from(scale)
        .ok()
        .and_then(|scale| Decimal::try_from_i128_with_scale(unscaled, scale).ok())
        .ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float8(value: f64) -> String {
        let mut out = String::new();
        write_float8(&mut out, value).unwrap();
        out
    }

    /// Each expected text is what PostgreSQL 15 prints for the value.
    #[test]
    fn doubles_print_as_postgres_prints_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1e20, "1e+20"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (-2.5, "-2.5"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float8(value), expected);
        }
    }

    #[test]
    fn singles_print_as_postgres_prints_them() {
        for (value, expected) in [
            (1e5f32, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.1, "0.1"),
        ] {
            let mut out = String::new();
            write_float4(&mut out, value).unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn every_double_reads_back() {
        proptest::proptest!(|(bits: u64)| {
            let value = f64::from_bits(bits);
            let back = parse_float8(&float8(value)).unwrap();
            proptest::prop_assert!(back.to_bits() == value.to_bits() || value.is_nan());
        });
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (unscaled, scale, expected) in [
            ("0", 2, "0.00"),
            ("-5", 3, "-0.005"),
            ("12345", 2, "123.45"),
            ("7", 0, "7"),
            ("7", -2, "700"),
            ("-0", 1, "0.0"),
        ] {
            let mut out = String::new();
            write_decimal(&mut out, unscaled, scale).unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn numerics_are_read_exactly_or_refused() {
        for (text, expected) in [
            ("1.10", "1.10"),
            (" -12.5 ", "-12.5"),
            ("1e5", "100000"),
            ("1.5e-3", "0.0015"),
            (".5", "0.5"),
            ("5.", "5"),
        ] {
            assert_eq!(parse_numeric(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "x", "1.2.3", "1_0", "--1", "1e", "."] {
            assert_eq!(
                parse_numeric(text).unwrap_err().kind,
                SqlErrorKind::InvalidText,
                "{text}"
            );
        }
        for text in ["1e29", "123456789012345678901234567890", "1e-29", "NaN", "1e1000000000"] {
            assert_eq!(
                parse_numeric(text).unwrap_err().kind,
                SqlErrorKind::NumericOutOfRange,
                "{text}"
            );
        }
    }

    #[test]
    fn integers_are_told_from_garbage_and_from_too_large() {
        assert_eq!(parse_integer(" -7 ", "integer", -100, 100).unwrap(), -7);
        let error = parse_integer("101", "integer", -100, 100).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (
                SqlErrorKind::NumericOutOfRange,
                "value \"101\" is out of range for type integer"
            )
        );
        let error = parse_integer("1.5", "integer", -100, 100).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (
                SqlErrorKind::InvalidText,
                "invalid input syntax for type integer: \"1.5\""
            )
        );
    }
}
