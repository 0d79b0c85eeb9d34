//! Conversions between types: what an assignment does by itself, and what an explicit cast does beyond that.

use rust_decimal::prelude::{FromPrimitive, ToPrimitive};
use rust_decimal::{Decimal, RoundingStrategy};

use super::error::{SqlError, SqlErrorKind};
use super::result::PgType;
use super::text::{self, Style};
use super::types::{pg_type, type_name};
use crate::version::{Column, ColumnType, Value};

const MICROS_PER_DAY: i64 = 86_400_000_000;

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
    // What an application does all day: the value already is what the column wants.
    if value.fits(column.column_type) && !has_modifier(column.column_type) && *from == pg_type(column.column_type) {
        return Ok(value);
    }
    match convert(value, from, column.column_type, Cast::Assignment, style)? {
        Some(value) => Ok(value),
        None => Err(SqlError::new(
            SqlErrorKind::DatatypeMismatch,
            format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name,
                type_name(column.column_type),
                pg_type_name(from)
            ),
        )
        .hint("You will need to rewrite or cast the expression.")),
    }
}

/// An explicit cast.
pub fn cast(value: Value, from: &PgType, to: ColumnType, style: &Style) -> Result<Value, SqlError> {
    convert(value, from, to, Cast::Explicit, style)?.ok_or_else(|| no_cast(from, to))
}

/// 42846.
pub fn no_cast(from: &PgType, to: ColumnType) -> SqlError {
    SqlError::new(
        SqlErrorKind::CannotCoerce,
        format!("cannot cast type {} to {}", pg_type_name(from), type_name(to)),
    )
}

/// The catalog type as messages word it.
pub fn pg_type_name(pg_type: &PgType) -> String {
    match super::types::column_type_of(pg_type) {
        _ if *pg_type == PgType::UNKNOWN => "unknown".to_string(),
        Some(ColumnType::Varchar(_)) if *pg_type == PgType::BPCHAR => "character".to_string(),
        Some(column_type) => type_name(column_type),
        None => pg_type.name().to_string(),
    }
}

fn has_modifier(column_type: ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::Varchar(Some(_)) | ColumnType::Char(_) | ColumnType::Numeric { precision: Some(_) }
    )
}

fn is_string(pg_type: &PgType) -> bool {
    matches!(*pg_type, PgType::TEXT | PgType::VARCHAR | PgType::BPCHAR | PgType::NAME)
}

/// None: there is no such conversion.
fn convert(value: Value, from: &PgType, to: ColumnType, how: Cast, style: &Style) -> Result<Option<Value>, SqlError> {
    if value.is_null() {
        return Ok(Some(Value::Null));
    }
    let target = pg_type(to);
    // A literal without a type is read as whatever is wanted; other text only when asked to.
    if let Value::Text(text) = &value
        && (*from == PgType::UNKNOWN || (is_string(from) && how == Cast::Explicit))
        && !is_string(&target)
    {
        let read = text::parse_as(text, &target, style)?;
        return apply_modifier(read, to, how).map(Some);
    }
    let converted = match (value, to) {
        (Value::Text(text), ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Char(_)) => {
            // Padding is no part of a character value once it leaves its column.
            let text = if *from == PgType::BPCHAR {
                text.trim_end_matches(' ').to_string()
            } else {
                text
            };
            Value::Text(text)
        }
        (Value::Text(text), ColumnType::Json | ColumnType::Jsonb) if matches!(*from, PgType::JSON | PgType::JSONB) => {
            if *from == target {
                Value::Text(text)
            } else {
                text::parse_as(&text, &target, style)?
            }
        }
        (Value::Bool(value), ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Char(_)) => {
            Value::Text(if value { "true" } else { "false" }.to_string())
        }
        (value, ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Char(_)) => {
            Value::Text(text::to_text(&value, from, style).unwrap_or_default())
        }
        (Value::Bool(value), ColumnType::Int4) if how == Cast::Explicit => Value::Int4(i32::from(value)),
        (Value::Int4(value), ColumnType::Bool) if how == Cast::Explicit => Value::Bool(value != 0),
        (
            value @ (Value::Int2(_)
            | Value::Int4(_)
            | Value::Int8(_)
            | Value::Float4(_)
            | Value::Float8(_)
            | Value::Numeric(_)),
            ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Float4
            | ColumnType::Float8
            | ColumnType::Numeric { .. },
        ) => number(&value, to)?,
        (Value::Date(days), ColumnType::Timestamp) => Value::Timestamp(i64::from(days) * MICROS_PER_DAY),
        (Value::Date(days), ColumnType::TimestampTz) => {
            Value::Timestamp(i64::from(days) * MICROS_PER_DAY - zone_micros(style))
        }
        (
            Value::Timestamp(micros),
            ColumnType::Timestamp | ColumnType::TimestampTz | ColumnType::Date | ColumnType::Time,
        ) => {
            let local = if *from == PgType::TIMESTAMPTZ {
                micros + zone_micros(style)
            } else {
                micros
            };
            match to {
                ColumnType::Timestamp => Value::Timestamp(local),
                ColumnType::TimestampTz if *from == PgType::TIMESTAMPTZ => Value::Timestamp(micros),
                ColumnType::TimestampTz => Value::Timestamp(micros - zone_micros(style)),
                ColumnType::Date => Value::Date(
                    i32::try_from(local.div_euclid(MICROS_PER_DAY))
                        .map_err(|_| SqlError::new(SqlErrorKind::DatetimeOverflow, "date out of range"))?,
                ),
                _ => Value::Time(local.rem_euclid(MICROS_PER_DAY)),
            }
        }
        (value, to) if value.fits(to) && *from == target => value,
        _ => return Ok(None),
    };
    apply_modifier(converted, to, how).map(Some)
}

fn zone_micros(style: &Style) -> i64 {
    i64::from(style.utc_offset) * 1_000_000
}

fn out_of_range(to: ColumnType) -> SqlError {
    let name = match to {
        ColumnType::Numeric { .. } => "numeric".to_string(),
        other => type_name(other),
    };
    SqlError::new(SqlErrorKind::NumericOutOfRange, format!("{name} out of range"))
}

/// Between number types: integers round half away from zero from numeric, half to even from floats, as PostgreSQL does.
fn number(value: &Value, to: ColumnType) -> Result<Value, SqlError> {
    let range = || out_of_range(to);
    match to {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
            let whole: i64 = match value {
                Value::Int2(value) => i64::from(*value),
                Value::Int4(value) => i64::from(*value),
                Value::Int8(value) => *value,
                Value::Numeric(value) => value
                    .round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
                    .to_i64()
                    .ok_or_else(range)?,
                Value::Float4(value) => whole_float(f64::from(*value)).ok_or_else(range)?,
                Value::Float8(value) => whole_float(*value).ok_or_else(range)?,
                _ => return Err(range()),
            };
            Ok(match to {
                ColumnType::Int2 => Value::Int2(i16::try_from(whole).map_err(|_| range())?),
                ColumnType::Int4 => Value::Int4(i32::try_from(whole).map_err(|_| range())?),
                _ => Value::Int8(whole),
            })
        }
        ColumnType::Float4 | ColumnType::Float8 => {
            let float = match value {
                Value::Int2(value) => f64::from(*value),
                Value::Int4(value) => f64::from(*value),
                #[expect(clippy::cast_precision_loss, reason = "that is what a cast to double precision is")]
                Value::Int8(value) => *value as f64,
                // Through text: the nearest double of the decimal digits, which `to_f64` does not promise.
                Value::Numeric(value) => value.to_string().parse().map_err(|_| range())?,
                Value::Float4(value) => f64::from(*value),
                Value::Float8(value) => *value,
                _ => return Err(range()),
            };
            if to == ColumnType::Float8 {
                return Ok(Value::Float8(float));
            }
            if let Value::Float4(value) = value {
                return Ok(Value::Float4(*value));
            }
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounding to single precision; overflow is checked"
            )]
            let short = float as f32;
            if short.is_infinite() && float.is_finite() {
                Err(range())
            } else {
                Ok(Value::Float4(short))
            }
        }
        ColumnType::Numeric { .. } => Ok(Value::Numeric(match value {
            Value::Int2(value) => Decimal::from(*value),
            Value::Int4(value) => Decimal::from(*value),
            Value::Int8(value) => Decimal::from(*value),
            Value::Numeric(value) => *value,
            // From the digits that are shown: 0.1::real is 0.1, not 0.100000001.
            Value::Float4(value) => Decimal::from_f32(*value).map(|d| d.normalize()).ok_or_else(range)?,
            Value::Float8(value) => Decimal::from_f64(*value).map(|d| d.normalize()).ok_or_else(range)?,
            _ => return Err(range()),
        })),
        _ => Err(range()),
    }
}

fn whole_float(value: f64) -> Option<i64> {
    let rounded = value.round_ties_even();
    // 2^63 is exact as a double; i64::MAX is not.
    #[expect(clippy::cast_possible_truncation, reason = "checked to lie within i64")]
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&rounded)
        .then_some(rounded as i64)
}

/// Lengths of character types, digits of numerics.
fn apply_modifier(value: Value, to: ColumnType, how: Cast) -> Result<Value, SqlError> {
    match (value, to) {
        (Value::Text(text), ColumnType::Varchar(Some(length))) => fit_text(text, to, length, how).map(Value::Text),
        (Value::Text(text), ColumnType::Char(length)) => {
            let mut text = fit_text(text, to, length, how)?;
            let present = text.chars().count();
            text.extend(std::iter::repeat_n(' ', (length as usize).saturating_sub(present)));
            Ok(Value::Text(text))
        }
        (
            Value::Numeric(number),
            ColumnType::Numeric {
                precision: Some((digits, scale)),
            },
        ) => {
            let places = u32::from(scale.unsigned_abs());
            let mut rounded = number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
            let whole_digits = u32::from(digits).saturating_sub(places);
            // At most 28 digits: the limit fits.
            let limit = Decimal::from(10u128.pow(whole_digits.min(28)));
            if rounded.abs() >= limit {
                return Err(SqlError::new(SqlErrorKind::NumericOutOfRange, "numeric field overflow").detail(format!(
                    "A field with precision {digits}, scale {scale} must round to an absolute value less than 10^{whole_digits}."
                )));
            }
            // 1.5 in a numeric(5,2) is shown as 1.50.
            rounded.rescale(places);
            Ok(Value::Numeric(rounded))
        }
        (value, _) => Ok(value),
    }
}

fn fit_text(mut text: String, to: ColumnType, length: u32, how: Cast) -> Result<String, SqlError> {
    let Some((cut, _)) = text.char_indices().nth(length as usize) else {
        return Ok(text);
    };
    if how == Cast::Assignment && text[cut..].chars().any(|c| c != ' ') {
        return Err(SqlError::new(
            SqlErrorKind::StringTooLong,
            format!("value too long for type {}", type_name(to)),
        ));
    }
    text.truncate(cut);
    Ok(text)
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

    fn text(text: &str) -> Value {
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
            assigned(text("12"), PgType::UNKNOWN, ColumnType::Int4),
            Ok(Value::Int4(12))
        );
        assert_eq!(
            assigned(text("12"), PgType::TEXT, ColumnType::Int4),
            Err(SqlErrorKind::DatatypeMismatch)
        );
        assert_eq!(
            assigned(text("x"), PgType::UNKNOWN, ColumnType::Int4),
            Err(SqlErrorKind::InvalidText)
        );
        assert_eq!(
            assigned(Value::Int4(12), PgType::INT4, ColumnType::Text),
            Ok(text("12"))
        );
        assert_eq!(
            assigned(Value::Bool(true), PgType::BOOL, ColumnType::Text),
            Ok(text("true"))
        );
        assert_eq!(
            assigned(Value::Bool(true), PgType::BOOL, ColumnType::Int4),
            Err(SqlErrorKind::DatatypeMismatch)
        );
        assert_eq!(
            assigned(Value::Date(1), PgType::DATE, ColumnType::Timestamp),
            Ok(Value::Timestamp(MICROS_PER_DAY))
        );
    }

    #[test]
    fn lengths_and_digits_are_enforced() {
        assert_eq!(
            assigned(text("ab   "), PgType::TEXT, ColumnType::Varchar(Some(3))),
            Ok(text("ab "))
        );
        assert_eq!(
            assigned(text("abcd"), PgType::TEXT, ColumnType::Varchar(Some(3))),
            Err(SqlErrorKind::StringTooLong)
        );
        assert_eq!(
            assigned(text("äöü"), PgType::TEXT, ColumnType::Varchar(Some(3))),
            Ok(text("äöü"))
        );
        assert_eq!(
            assigned(text("ab"), PgType::UNKNOWN, ColumnType::Char(4)),
            Ok(text("ab  "))
        );
        let money = ColumnType::Numeric {
            precision: Some((5, 2)),
        };
        assert_eq!(
            assigned(Value::Int4(7), PgType::INT4, money).map(|v| format!("{v:?}")),
            Ok("Numeric(7.00)".to_string())
        );
        assert_eq!(
            assigned(text("999.995"), PgType::UNKNOWN, money),
            Err(SqlErrorKind::NumericOutOfRange)
        );
        assert_eq!(
            cast(
                text("abcd"),
                &PgType::TEXT,
                ColumnType::Varchar(Some(3)),
                &Style::DEFAULT
            ),
            Ok(text("abc")),
            "an explicit cast cuts"
        );
    }

    #[test]
    fn explicit_casts_read_text() {
        assert_eq!(
            cast(text("12"), &PgType::TEXT, ColumnType::Int4, &Style::DEFAULT),
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
}
