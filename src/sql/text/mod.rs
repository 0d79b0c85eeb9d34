//! The text form of values: what PostgreSQL prints for a value of a type, and what it accepts for one.
//!
//! Casts, COPY, defaults, error messages and the wire's text format all use these two functions, [`write_cell`] and
//! [`parse_as`], so they cannot disagree. Pure functions: no catalog, no clock; the session's settings come as [`Style`].

mod cell;
pub mod datetime;
pub mod json;
pub mod number;
pub mod zone;

use std::fmt::{self, Write};

use postgres_types::Kind;

use super::error::{SqlError, SqlErrorKind};
use super::result::PgType;
use super::types;
use crate::version::{ColumnType, Value};
use zone::Zone;

pub use cell::{Cell, Digits};
pub(crate) use cell::{UNCONSTRAINED_SCALE, without_padding};

/// The settings that change how values are printed and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// TimeZone.
    pub zone: Zone,
    /// bytea_output: `\x6162` or `ab\000`.
    pub bytea_hex: bool,
}

impl Style {
    /// What a session has that set nothing.
    pub const DEFAULT: Style = Style {
        zone: Zone::UTC,
        bytea_hex: true,
    };
}

/// Appends the text form of a cell that is shown as `pg_type`. NULL has none and appends nothing.
pub fn write_cell(out: &mut impl Write, cell: &Cell<'_>, pg_type: &PgType, style: &Style) -> fmt::Result {
    match cell {
        Cell::Null => Ok(()),
        Cell::Bool(value) => out.write_str(if *value { "t" } else { "f" }),
        Cell::Int(value) => write!(out, "{value}"),
        Cell::Float4(value) => number::write_float4(out, *value),
        Cell::Float8(value) => number::write_float8(out, *value),
        Cell::Numeric { unscaled, scale } => number::write_decimal(out, &unscaled.to_string(), *scale),
        Cell::Text(text) => out.write_str(text),
        Cell::Bytes(bytes) => write_bytea(out, bytes, style.bytea_hex),
        Cell::Date(days) => datetime::write_date(out, *days),
        Cell::Time(micros) => datetime::write_time(out, *micros),
        Cell::Timestamp(micros) => datetime::write_timestamp(
            out,
            *micros,
            (*pg_type == PgType::TIMESTAMPTZ).then(|| style.zone.offset_at(*micros)),
        ),
        Cell::Uuid(bytes) => write!(out, "{}", uuid::Uuid::from_bytes(*bytes).hyphenated()),
        Cell::Interval { months, days, micros } => datetime::write_interval(out, *months, *days, *micros),
        Cell::List(items) => match *pg_type {
            PgType::INT2_VECTOR | PgType::OID_VECTOR => write_vector(out, items, style),
            _ => write_array(out, items, element_type(pg_type), style),
        },
    }
}

/// The element type of an array type; text for what is no array.
pub fn element_type(pg_type: &PgType) -> &PgType {
    match pg_type.kind() {
        Kind::Array(element) => element,
        _ => &PgType::TEXT,
    }
}

/// Text form of one value, for messages and casts.
pub fn to_text(value: &Value, pg_type: &PgType, style: &Style) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let mut out = String::new();
    write_cell(&mut out, &Cell::of_value(value), pg_type, style).expect("writing to a String does not fail");
    Some(out)
}

fn write_vector(out: &mut impl Write, items: &[Cell<'_>], style: &Style) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        out.write_str(if at == 0 { "" } else { " " })?;
        write_cell(out, item, &PgType::INT2, style)?;
    }
    Ok(())
}

fn write_array(out: &mut impl Write, items: &[Cell<'_>], element: &PgType, style: &Style) -> fmt::Result {
    out.write_char('{')?;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.write_char(',')?;
        }
        match item {
            Cell::Null => out.write_str("NULL")?,
            Cell::List(inner) => write_array(out, inner, element, style)?,
            _ => {
                let mut text = String::new();
                write_cell(&mut text, item, element, style)?;
                write_array_element(out, &text)?;
            }
        }
    }
    out.write_char('}')
}

fn write_array_element(out: &mut impl Write, text: &str) -> fmt::Result {
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace();
    if !text.is_empty() && !text.contains(special) && !text.eq_ignore_ascii_case("null") {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.write_char('\\')?;
        }
        out.write_char(c)?;
    }
    out.write_char('"')
}

fn write_bytea(out: &mut impl Write, bytes: &[u8], hex: bool) -> fmt::Result {
    if hex {
        out.write_str("\\x")?;
        return bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"));
    }
    bytes.iter().try_for_each(|byte| match byte {
        b'\\' => out.write_str("\\\\"),
        0x20..=0x7e => out.write_char(char::from(*byte)),
        _ => write!(out, "\\{byte:03o}"),
    })
}

/// As [`parse_as`] for a column's type, with the default settings.
pub fn parse(column_type: ColumnType, text: &str) -> Result<Value, SqlError> {
    parse_as(text, &types::pg_type(column_type), &Style::DEFAULT)
}

/// Reads the text form of a type. Lengths and precisions are the business of whoever knows the column.
pub fn parse_as(text: &str, pg_type: &PgType, style: &Style) -> Result<Value, SqlError> {
    if text.contains('\0') {
        return Err(SqlError::new(
            SqlErrorKind::InvalidEncoding,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(match *pg_type {
        PgType::BOOL => Value::Bool(parse_bool(text)?),
        PgType::INT2 => Value::Int2(number::parse_integer(text, "smallint", i16::MIN.into(), i16::MAX.into())? as i16),
        PgType::INT4 => Value::Int4(number::parse_integer(text, "integer", i32::MIN.into(), i32::MAX.into())? as i32),
        PgType::INT8 => Value::Int8(number::parse_integer(text, "bigint", i64::MIN, i64::MAX)?),
        PgType::OID | PgType::XID | PgType::REGCLASS | PgType::REGTYPE | PgType::REGPROC | PgType::REGNAMESPACE => {
            Value::Int8(number::parse_integer(text, "oid", i64::from(i32::MIN), u32::MAX.into())? & 0xffff_ffff)
        }
        PgType::FLOAT4 => Value::Float4(number::parse_float4(text)?),
        PgType::FLOAT8 => Value::Float8(number::parse_float8(text)?),
        PgType::NUMERIC => Value::Numeric(number::parse_numeric(text)?),
        PgType::BYTEA => Value::Bytea(parse_bytea(text)?),
        PgType::DATE => Value::Date(datetime::parse_date(text)?),
        PgType::TIME => Value::Time(datetime::parse_time(text)?),
        PgType::TIMESTAMP => Value::Timestamp(datetime::parse_timestamp(text)?),
        PgType::TIMESTAMPTZ => Value::Timestamp(datetime::parse_timestamptz(text, &style.zone)?),
        PgType::UUID => Value::Uuid(parse_uuid(text)?),
        PgType::JSON => {
            json::check_json(text)?;
            Value::Text(text.to_string())
        }
        PgType::JSONB => Value::Text(json::normalize_jsonb(text)?),
        _ => Value::Text(text.to_string()),
    })
}

/// `true`, `yes`, `on`, `1`, their opposites, and their beginnings as far as they are unambiguous.
pub fn parse_bool(text: &str) -> Result<bool, SqlError> {
    let word = text.trim_ascii().to_ascii_lowercase();
    let begins = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1" {
        return Ok(true);
    }
    if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        return Ok(false);
    }
    Err(malformed("boolean", text))
}

fn malformed(type_name: &str, text: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::InvalidText,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

fn parse_uuid(text: &str) -> Result<[u8; 16], SqlError> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(text);
    let mut bytes = [0; 16];
    let mut digits = 0;
    let mut dash_allowed = false;
    for c in inner.bytes() {
        match char::from(c).to_digit(16) {
            Some(digit) if digits < 32 => {
                bytes[digits / 2] |= (digit as u8) << (4 * (1 - digits % 2));
                digits += 1;
                dash_allowed = digits % 4 == 0;
            }
            None if c == b'-' && dash_allowed => dash_allowed = false,
            _ => return Err(malformed("uuid", text)),
        }
    }
    if digits == 32 {
        Ok(bytes)
    } else {
        Err(malformed("uuid", text))
    }
}

/// Both forms of bytea: `\x6162` and `ab\000\\`.
fn parse_bytea(text: &str) -> Result<Vec<u8>, SqlError> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return parse_hex(hex);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                rest = tail;
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            (b'\\', _) => {
                return Err(SqlError::new(
                    SqlErrorKind::InvalidText,
                    "invalid input syntax for type bytea",
                ));
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Ok(bytes)
}

fn parse_hex(hex: &str) -> Result<Vec<u8>, SqlError> {
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut high = None;
    for c in hex.chars() {
        if c.is_ascii_whitespace() && high.is_none() {
            continue;
        }
        let digit = c.to_digit(16).ok_or_else(|| {
            SqlError::new(
                SqlErrorKind::InvalidParameter,
                format!("invalid hexadecimal digit: \"{c}\""),
            )
        })? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(first) => bytes.push(first << 4 | digit),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err(SqlError::new(
            SqlErrorKind::InvalidParameter,
            "invalid hexadecimal data: odd number of digits",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str, pg_type: PgType) -> String {
        to_text(
            &parse_as(text, &pg_type, &Style::DEFAULT).unwrap(),
            &pg_type,
            &Style::DEFAULT,
        )
        .unwrap()
    }

    /// Input and output as PostgreSQL 15 shows them for `SELECT 'input'::type`.
    #[test]
    fn values_print_as_postgres_prints_them() {
        for (pg_type, input, expected) in [
            (PgType::BOOL, "yes", "t"),
            (PgType::BOOL, " OFF ", "f"),
            (PgType::INT4, " 42", "42"),
            (PgType::NUMERIC, "12.300", "12.300"),
            (PgType::BYTEA, "ab\\000c\\\\", "\\x616200635c"),
            (PgType::BYTEA, "\\x", "\\x"),
            (
                PgType::UUID,
                "{A0EEBC99-9C0B4EF8-BB6D6BB9BD380A11}",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            ),
            (PgType::TIMESTAMPTZ, "2024-01-01 00:00-05", "2024-01-01 05:00:00+00"),
            (PgType::TIMESTAMP, "2024-01-01 00:00-05", "2024-01-01 00:00:00"),
            (PgType::JSON, "{ \"a\" : 1}", "{ \"a\" : 1}"),
            (PgType::TIME, "04:05:06.7", "04:05:06.7"),
        ] {
            assert_eq!(printed(input, pg_type.clone()), expected, "{input} as {pg_type}");
        }
    }

    #[test]
    fn arrays_quote_what_needs_it() {
        let items = ["", " ", "NULL", "a,b", "{x}", "nu\"ll", "plain"].map(Cell::Text);
        let mut out = String::new();
        write_cell(
            &mut out,
            &Cell::List(items.to_vec()),
            &PgType::TEXT_ARRAY,
            &Style::DEFAULT,
        )
        .unwrap();
        assert_eq!(out, r#"{""," ","NULL","a,b","{x}","nu\"ll",plain}"#);
    }

    #[test]
    fn wrong_texts_name_the_type_and_the_text() {
        for (pg_type, text, kind, message) in [
            (
                PgType::BOOL,
                "maybe",
                SqlErrorKind::InvalidText,
                "invalid input syntax for type boolean: \"maybe\"",
            ),
            (
                PgType::UUID,
                "x",
                SqlErrorKind::InvalidText,
                "invalid input syntax for type uuid: \"x\"",
            ),
            (
                PgType::BYTEA,
                "\\xZZ",
                SqlErrorKind::InvalidParameter,
                "invalid hexadecimal digit: \"Z\"",
            ),
            (
                PgType::INT2,
                "40000",
                SqlErrorKind::NumericOutOfRange,
                "value \"40000\" is out of range for type smallint",
            ),
            (
                PgType::DATE,
                "x",
                SqlErrorKind::InvalidDatetime,
                "invalid input syntax for type date: \"x\"",
            ),
        ] {
            let error = parse_as(text, &pg_type, &Style::DEFAULT).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (kind, message));
        }
    }
}
