//! Conversions between types, one value at a time: what is rounded, what overflows, what is refused, and in which words.
//!
//! [`convert`] is the whole truth for every way a statement can take: what an assignment does by itself and what an
//! explicit cast does beyond that. Plans apply it to columns (`plan::cast`), point operations to the values of a row.

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::error::{SqlError, SqlErrorKind};
use super::result::PgType;
use super::text::{self, Style, datetime};
use super::types::{is_number, is_oid, is_text, numeric_typmod, pg_type, typmod, words_of};
use crate::engine::NAME_BYTES_MAX;
use crate::version::{Column, ColumnType, Value};

/// Who asks for a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// INSERT and UPDATE: no conversion that PostgreSQL wants written out; too long text is an error.
    Assignment,
    /// `CAST(x AS t)`, `x::t`: text is read, too long text is cut.
    Explicit,
}

/// Converts a value for a column, or says in PostgreSQL's words why it cannot go there.
pub fn assign(value: Value, from: &PgType, column: &Column, style: &Style) -> Result<Value, SqlError> {
    let (to, modifier) = (pg_type(column.column_type), typmod(column.column_type));
    // What an application does all day: the value already is what the column wants.
    if value.fits(column.column_type) && modifier < 0 && *from == to {
        return Ok(value);
    }
    convert(value, from, &to, modifier, Cast::Assignment, style)?.ok_or_else(|| {
        SqlError::new(
            SqlErrorKind::DatatypeMismatch,
            format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name,
                words_of(&to),
                words_of(from)
            ),
        )
        .hint("You will need to rewrite or cast the expression.")
    })
}

/// An explicit cast to a column's type.
pub fn cast(value: Value, from: &PgType, to: ColumnType, style: &Style) -> Result<Value, SqlError> {
    explicit(value, from, &pg_type(to), typmod(to), style)
}

/// An explicit cast to any type.
pub fn explicit(value: Value, from: &PgType, to: &PgType, modifier: i32, style: &Style) -> Result<Value, SqlError> {
    convert(value, from, to, modifier, Cast::Explicit, style)?.ok_or_else(|| cannot_cast(from, to))
}

/// 42846.
pub fn cannot_cast(from: &PgType, to: &PgType) -> SqlError {
    SqlError::new(
        SqlErrorKind::CannotCoerce,
        format!("cannot cast type {} to {}", words_of(from), words_of(to)),
    )
}

/// One value as another type. `from` is the type the value has now; None: there is no such conversion.
fn convert(
    value: Value,
    from: &PgType,
    to: &PgType,
    modifier: i32,
    how: Cast,
    style: &Style,
) -> Result<Option<Value>, SqlError> {
    let explicit = how == Cast::Explicit;
    let converted = match (value, to) {
        (Value::Null, _) => return Ok(Some(Value::Null)),
        (value, _) if from == to => value,
        // A literal without a type is read as whatever is wanted; other text only when asked to.
        (Value::Text(text), _) if is_text(from) && !is_text(to) => {
            if *from != PgType::UNKNOWN && !explicit {
                return Ok(None);
            }
            text::parse_as(&text, to, style)?
        }
        (Value::Text(text), &PgType::JSON | &PgType::JSONB) if matches!(*from, PgType::JSON | PgType::JSONB) => {
            text::parse_as(&text, to, style)?
        }
        // Padding is no part of a character value once it leaves its column.
        (Value::Text(text), _) if *from == PgType::BPCHAR => Value::Text(text.trim_end_matches(' ').to_string()),
        (Value::Text(text), _) if is_text(to) => Value::Text(text),
        (Value::Bool(value), _) if is_text(to) => Value::Text(if value { "true" } else { "false" }.to_string()),
        (value, _) if is_text(to) => Value::Text(text::to_text(&value, from, style).unwrap_or_default()),
        (Value::Bool(value), &PgType::INT4) if explicit => Value::Int4(i32::from(value)),
        (Value::Int4(value), &PgType::BOOL) if explicit => Value::Bool(value != 0),
        // An oid, whatever its face, is a number to those who ask for one.
        (value, _) if is_number(to) && (is_number(from) || is_oid(from)) => number(&value, to)?,
        (value @ (Value::Int2(_) | Value::Int4(_) | Value::Int8(_)), _) if is_oid(to) => {
            Value::Int8(integer_of(&value).unwrap_or_default() & 0xffff_ffff)
        }
        (Value::Date(days), &PgType::TIMESTAMP) => Value::Timestamp(midnight(days)?),
        (Value::Date(days), &PgType::TIMESTAMPTZ) => Value::Timestamp(moment(midnight(days)?, style)?),
        (Value::Timestamp(micros), &PgType::DATE) => Value::Date(day_of(local(micros, from, style)?)),
        // No clock shows infinity.
        (Value::Timestamp(datetime::TIMESTAMP_INFINITY | datetime::TIMESTAMP_MINUS_INFINITY), &PgType::TIME) => {
            Value::Null
        }
        (Value::Timestamp(micros), &PgType::TIME) => {
            Value::Time(local(micros, from, style)?.rem_euclid(datetime::MICROS_PER_DAY))
        }
        (Value::Timestamp(micros), &PgType::TIMESTAMP) => Value::Timestamp(local(micros, from, style)?),
        (Value::Timestamp(micros), &PgType::TIMESTAMPTZ) => Value::Timestamp(moment(micros, style)?),
        _ => return Ok(None),
    };
    with_modifier(converted, to, modifier, how).map(Some)
}

fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Int2(value) => Some(i64::from(*value)),
        Value::Int4(value) => Some(i64::from(*value)),
        Value::Int8(value) => Some(*value),
        _ => None,
    }
}

fn out_of_range(to: &PgType) -> SqlError {
    SqlError::new(
        SqlErrorKind::NumericOutOfRange,
        format!("{} out of range", words_of(to)),
    )
}

/// Between number types: integers round half away from zero from numeric, half to even from floats, as PostgreSQL does.
fn number(value: &Value, to: &PgType) -> Result<Value, SqlError> {
    match value {
        Value::Float4(value) => match *to {
            PgType::FLOAT8 => Ok(Value::Float8(f64::from(*value))),
            _ => from_float(f64::from(*value), 6, to),
        },
        Value::Float8(value) => match *to {
            PgType::FLOAT4 => single(*value),
            _ => from_float(*value, 15, to),
        },
        Value::Numeric(value) => from_decimal(*value, to),
        other => from_integer(integer_of(other).ok_or_else(|| out_of_range(to))?, to),
    }
}

#[expect(clippy::cast_precision_loss, reason = "that is what a cast to a float is")]
fn from_integer(value: i64, to: &PgType) -> Result<Value, SqlError> {
    Ok(match *to {
        PgType::INT2 => Value::Int2(i16::try_from(value).map_err(|_| out_of_range(to))?),
        PgType::INT4 => Value::Int4(i32::try_from(value).map_err(|_| out_of_range(to))?),
        PgType::INT8 => Value::Int8(value),
        PgType::FLOAT4 => Value::Float4(value as f32),
        PgType::FLOAT8 => Value::Float8(value as f64),
        _ => Value::Numeric(Decimal::from(value)),
    })
}

/// Integers take the nearest, halves to even; numeric takes the digits that the float really has: 0.1::real is 0.1.
fn from_float(value: f64, digits: usize, to: &PgType) -> Result<Value, SqlError> {
    if *to == PgType::NUMERIC {
        let text = format!("{value:.*e}", digits - 1);
        return Ok(Value::Numeric(text::number::parse_numeric(&text)?.normalize()));
    }
    from_integer(whole_float(value).ok_or_else(|| out_of_range(to))?, to)
}

fn whole_float(value: f64) -> Option<i64> {
    let rounded = value.round_ties_even();
    // 2^63 is exact as a double; i64::MAX is not.
    #[expect(clippy::cast_possible_truncation, reason = "checked to lie within i64")]
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&rounded)
        .then_some(rounded as i64)
}

fn single(value: f64) -> Result<Value, SqlError> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to single precision; overflow is checked"
    )]
    let narrow = value as f32;
    let lost = |how: &str| SqlError::new(SqlErrorKind::NumericOutOfRange, format!("value out of range: {how}"));
    if narrow.is_infinite() && value.is_finite() {
        return Err(lost("overflow"));
    }
    if narrow == 0.0 && value != 0.0 {
        return Err(lost("underflow"));
    }
    Ok(Value::Float4(narrow))
}

fn from_decimal(value: Decimal, to: &PgType) -> Result<Value, SqlError> {
    match *to {
        PgType::NUMERIC => Ok(Value::Numeric(value)),
        // Through text: the nearest float of the decimal digits, which `to_f64` does not promise.
        PgType::FLOAT8 => Ok(Value::Float8(text::number::parse_float8(&value.to_string())?)),
        PgType::FLOAT4 => Ok(Value::Float4(text::number::parse_float4(&value.to_string())?)),
        _ => {
            let rounded = value.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
            from_integer(rounded.to_i64().ok_or_else(|| out_of_range(to))?, to)
        }
    }
}

fn midnight(days: i32) -> Result<i64, SqlError> {
    Ok(match days {
        datetime::DATE_INFINITY => datetime::TIMESTAMP_INFINITY,
        datetime::DATE_MINUS_INFINITY => datetime::TIMESTAMP_MINUS_INFINITY,
        _ => i64::from(days)
            .checked_mul(datetime::MICROS_PER_DAY)
            .ok_or_else(|| SqlError::new(SqlErrorKind::DatetimeOverflow, "date out of range for timestamp"))?,
    })
}

fn day_of(micros: i64) -> i32 {
    match micros {
        datetime::TIMESTAMP_INFINITY => datetime::DATE_INFINITY,
        datetime::TIMESTAMP_MINUS_INFINITY => datetime::DATE_MINUS_INFINITY,
        _ => micros.div_euclid(datetime::MICROS_PER_DAY) as i32,
    }
}

/// What a clock on the wall of the session's zone shows.
fn local(micros: i64, from: &PgType, style: &Style) -> Result<i64, SqlError> {
    if *from == PgType::TIMESTAMPTZ {
        style.zone.to_local(micros).ok_or_else(timestamp_out_of_range)
    } else {
        Ok(micros)
    }
}

/// When a clock on the wall of the session's zone showed this.
fn moment(local: i64, style: &Style) -> Result<i64, SqlError> {
    style.zone.to_utc(local).ok_or_else(timestamp_out_of_range)
}

/// 22008.
pub fn timestamp_out_of_range() -> SqlError {
    SqlError::new(SqlErrorKind::DatetimeOverflow, "timestamp out of range")
}

/// Lengths of character types, digits of numerics.
fn with_modifier(value: Value, to: &PgType, modifier: i32, how: Cast) -> Result<Value, SqlError> {
    let length = usize::try_from(modifier - 4).ok();
    Ok(match (value, to, length) {
        (Value::Text(mut text), &PgType::NAME, _) => {
            text.truncate(text.floor_char_boundary(NAME_BYTES_MAX));
            Value::Text(text)
        }
        (Value::Text(text), &PgType::CHAR, _) => Value::Text(text.chars().take(1).collect()),
        (Value::Text(text), &PgType::VARCHAR, Some(length)) => Value::Text(fit_text(text, to, length, how)?),
        (Value::Text(text), &PgType::BPCHAR, Some(length)) => {
            let text = fit_text(text, to, length, how)?;
            Value::Text(format!("{text:<length$}"))
        }
        (Value::Numeric(value), &PgType::NUMERIC, _) => match numeric_typmod(modifier) {
            None => Value::Numeric(value),
            Some((precision, scale)) => Value::Numeric(fit_numeric(value, precision, scale)?),
        },
        (value, ..) => value,
    })
}

fn fit_text(mut text: String, to: &PgType, length: usize, how: Cast) -> Result<String, SqlError> {
    let Some((cut, _)) = text.char_indices().nth(length) else {
        return Ok(text);
    };
    if how == Cast::Assignment && text[cut..].chars().any(|c| c != ' ') {
        return Err(SqlError::new(
            SqlErrorKind::StringTooLong,
            format!("value too long for type {}({length})", words_of(to)),
        ));
    }
    text.truncate(cut);
    Ok(text)
}

/// Rounds to the scale; 22003 when the digits before the point have no room.
fn fit_numeric(value: Decimal, precision: u8, scale: i8) -> Result<Decimal, SqlError> {
    let scale = u32::try_from(scale).unwrap_or(0);
    let mut rounded = value.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero);
    let whole_digits = u32::from(precision).saturating_sub(scale);
    let limit = 10i128.checked_pow(whole_digits).unwrap_or(i128::MAX);
    if rounded.trunc().mantissa().abs() >= limit {
        return Err(SqlError::new(SqlErrorKind::NumericOutOfRange, "numeric field overflow").detail(format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{whole_digits}."
        )));
    }
    // 1.5 in a numeric(5,2) is shown as 1.50.
    rounded.rescale(scale);
    Ok(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(column_type: ColumnType) -> Column {
        Column {
            name: "c".to_string(),
            column_type,
            not_null: false,
            default: None,
        }
    }

    fn assigned(value: Value, from: PgType, to: ColumnType) -> Result<Value, SqlErrorKind> {
        assign(value, &from, &column(to), &Style::DEFAULT).map_err(|error| error.kind)
    }

    fn words(text: &str) -> Value {
        Value::Text(text.to_string())
    }

    #[test]
    fn assignments_convert_what_postgres_converts() {
        assert_eq!(
            assigned(Value::Int4(7), PgType::INT4, ColumnType::Int2),
            Ok(Value::Int2(7))
        );
        assert_eq!(
            assigned(Value::Int4(70_000), PgType::INT4, ColumnType::Int2),
            Err(SqlErrorKind::NumericOutOfRange)
        );
        assert_eq!(
            assigned(
                Value::Numeric("2.5".parse().unwrap()),
                PgType::NUMERIC,
                ColumnType::Int4
            ),
            Ok(Value::Int4(3))
        );
        assert_eq!(
            assigned(Value::Float8(2.5), PgType::FLOAT8, ColumnType::Int4),
            Ok(Value::Int4(2))
        );
        assert_eq!(
            assigned(words("12"), PgType::UNKNOWN, ColumnType::Int4),
            Ok(Value::Int4(12))
        );
        assert_eq!(
            assigned(words("12"), PgType::TEXT, ColumnType::Int4),
            Err(SqlErrorKind::DatatypeMismatch)
        );
        assert_eq!(
            assigned(words("x"), PgType::UNKNOWN, ColumnType::Int4),
            Err(SqlErrorKind::InvalidText)
        );
        assert_eq!(
            assigned(Value::Int4(12), PgType::INT4, ColumnType::Text),
            Ok(words("12"))
        );
        assert_eq!(
            assigned(Value::Bool(true), PgType::BOOL, ColumnType::Text),
            Ok(words("true"))
        );
        assert_eq!(
            assigned(Value::Bool(true), PgType::BOOL, ColumnType::Int4),
            Err(SqlErrorKind::DatatypeMismatch)
        );
        assert_eq!(
            assigned(Value::Date(1), PgType::DATE, ColumnType::Timestamp),
            Ok(Value::Timestamp(datetime::MICROS_PER_DAY))
        );
    }

    #[test]
    fn lengths_and_digits_are_enforced() {
        assert_eq!(
            assigned(words("ab   "), PgType::TEXT, ColumnType::Varchar(Some(3))),
            Ok(words("ab "))
        );
        assert_eq!(
            assigned(words("abcd"), PgType::TEXT, ColumnType::Varchar(Some(3))),
            Err(SqlErrorKind::StringTooLong)
        );
        assert_eq!(
            assigned(words("äöü"), PgType::TEXT, ColumnType::Varchar(Some(3))),
            Ok(words("äöü"))
        );
        assert_eq!(
            assigned(words("ab"), PgType::UNKNOWN, ColumnType::Char(4)),
            Ok(words("ab  "))
        );
        let money = ColumnType::Numeric {
            precision: Some((5, 2)),
        };
        assert_eq!(
            assigned(Value::Int4(7), PgType::INT4, money).map(|v| format!("{v:?}")),
            Ok("Numeric(7.00)".to_string())
        );
        assert_eq!(
            assigned(words("999.995"), PgType::UNKNOWN, money),
            Err(SqlErrorKind::NumericOutOfRange)
        );
        assert_eq!(
            cast(
                words("abcd"),
                &PgType::TEXT,
                ColumnType::Varchar(Some(3)),
                &Style::DEFAULT
            ),
            Ok(words("abc")),
            "an explicit cast cuts"
        );
    }

    #[test]
    fn explicit_casts_read_text() {
        assert_eq!(
            cast(words("12"), &PgType::TEXT, ColumnType::Int4, &Style::DEFAULT),
            Ok(Value::Int4(12))
        );
        assert_eq!(
            cast(Value::Bool(true), &PgType::BOOL, ColumnType::Int4, &Style::DEFAULT),
            Ok(Value::Int4(1))
        );
        assert_eq!(
            cast(Value::Bool(true), &PgType::BOOL, ColumnType::Date, &Style::DEFAULT)
                .unwrap_err()
                .kind,
            SqlErrorKind::CannotCoerce
        );
    }

    fn cast_text(text: &str, from: PgType, to: PgType, typmod: i32) -> Result<String, SqlError> {
        let value = text::parse_as(text, &from, &Style::DEFAULT)?;
        let value = explicit(value, &from, &to, typmod, &Style::DEFAULT)?;
        Ok(text::to_text(&value, &to, &Style::DEFAULT).unwrap_or_default())
    }

    /// As PostgreSQL 15 answers `SELECT 'text'::from::to`.
    #[test]
    fn casts_agree_with_postgres() {
        let varchar3 = 7;
        let numeric_5_2 = (5 << 16 | 2) + 4;
        for (text, from, to, typmod, expected) in [
            ("2.5", PgType::FLOAT8, PgType::INT4, -1, "2"),
            ("3.5", PgType::FLOAT8, PgType::INT4, -1, "4"),
            ("2.5", PgType::NUMERIC, PgType::INT4, -1, "3"),
            ("-2.5", PgType::NUMERIC, PgType::INT8, -1, "-3"),
            ("0.1", PgType::FLOAT4, PgType::NUMERIC, -1, "0.1"),
            ("1e20", PgType::FLOAT8, PgType::NUMERIC, -1, "100000000000000000000"),
            ("abcdef", PgType::TEXT, PgType::VARCHAR, varchar3, "abc"),
            ("a", PgType::TEXT, PgType::BPCHAR, varchar3, "a  "),
            ("1.005", PgType::NUMERIC, PgType::NUMERIC, numeric_5_2, "1.01"),
            ("t", PgType::BOOL, PgType::TEXT, -1, "true"),
            ("t", PgType::BOOL, PgType::INT4, -1, "1"),
            (
                "2024-03-01 23:59:59.5",
                PgType::TIMESTAMP,
                PgType::DATE,
                -1,
                "2024-03-01",
            ),
            ("infinity", PgType::DATE, PgType::TIMESTAMP, -1, "infinity"),
            ("12", PgType::TEXT, PgType::INT4, -1, "12"),
        ] {
            assert_eq!(
                cast_text(text, from.clone(), to.clone(), typmod).unwrap(),
                expected,
                "{text}: {from} to {to}"
            );
        }
    }

    #[test]
    fn casts_that_fail_say_why() {
        let numeric_5_2 = (5 << 16 | 2) + 4;
        for (text, from, to, typmod, kind, message) in [
            (
                "40000",
                PgType::INT4,
                PgType::INT2,
                -1,
                SqlErrorKind::NumericOutOfRange,
                "smallint out of range",
            ),
            (
                "1e10",
                PgType::FLOAT8,
                PgType::INT4,
                -1,
                SqlErrorKind::NumericOutOfRange,
                "integer out of range",
            ),
            (
                "NaN",
                PgType::FLOAT8,
                PgType::INT4,
                -1,
                SqlErrorKind::NumericOutOfRange,
                "integer out of range",
            ),
            (
                "1000",
                PgType::NUMERIC,
                PgType::NUMERIC,
                numeric_5_2,
                SqlErrorKind::NumericOutOfRange,
                "numeric field overflow",
            ),
            (
                "x",
                PgType::TEXT,
                PgType::INT4,
                -1,
                SqlErrorKind::InvalidText,
                "invalid input syntax for type integer: \"x\"",
            ),
            (
                "1",
                PgType::INT4,
                PgType::DATE,
                -1,
                SqlErrorKind::CannotCoerce,
                "cannot cast type integer to date",
            ),
        ] {
            let error = cast_text(text, from, to, typmod).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (kind, message));
        }
    }
}
