//! Rows as bytes: one tagged value after the other, key columns included.
//!
//! ```text
//! tuple  = value *                                  one for each column of the schema, in its order
//! value  = tag payload
//! tags   = 0 NULL | 1 false | 2 true | 3 integer | 4 real | 5 double | 6 numeric | 7 text | 8 bytea | 9 uuid
//! integer (and dates and times) = zigzag varint;  real, double = bits, little-endian
//! numeric = scale in one byte, sign and magnitude as zigzag varint of up to 97 bits
//! text, bytea = length varint, bytes;  uuid = 16 bytes
//! ```
//!
//! Invariants: one row has one encoding, equal rows have equal bytes (a numeric keeps its scale: 1.0 and 1.00 are
//! shown differently, hence stored differently). Foreign bytes give an error, never a panic.

use bytes::Bytes;
use rust_decimal::Decimal;

use super::{Column, ColumnType, Row, TableSchema, Value, VersionError};

const TAG_NULL: u8 = 0;
const TAG_FALSE: u8 = 1;
const TAG_TRUE: u8 = 2;
const TAG_INTEGER: u8 = 3;
const TAG_REAL: u8 = 4;
const TAG_DOUBLE: u8 = 5;
const TAG_NUMERIC: u8 = 6;
const TAG_TEXT: u8 = 7;
const TAG_BYTEA: u8 = 8;
const TAG_UUID: u8 = 9;

/// The row as stored.
pub fn encode_tuple(row: &[Value]) -> Bytes {
    let mut out = Vec::with_capacity(row.len() * 8);
    for value in row {
        encode_value(&mut out, value);
    }
    out.into()
}

/// The row back, checked against the schema's types.
pub fn decode_tuple(schema: &TableSchema, bytes: &[u8]) -> Result<Row, VersionError> {
    let mut rest = bytes;
    let row = schema
        .columns
        .iter()
        .map(|column| decode_value(column, &mut rest))
        .collect::<Result<Row, _>>()?;
    if rest.is_empty() {
        Ok(row)
    } else {
        Err(malformed("bytes after the last column"))
    }
}

fn encode_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(TAG_NULL),
        Value::Bool(false) => out.push(TAG_FALSE),
        Value::Bool(true) => out.push(TAG_TRUE),
        Value::Int2(value) => encode_integer(out, i64::from(*value)),
        Value::Int4(value) => encode_integer(out, i64::from(*value)),
        Value::Int8(value) => encode_integer(out, *value),
        Value::Float4(value) => {
            out.push(TAG_REAL);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Float8(value) => {
            out.push(TAG_DOUBLE);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Numeric(value) => {
            out.push(TAG_NUMERIC);
            out.push(value.scale() as u8);
            encode_varint(out, zigzag(value.mantissa()));
        }
        Value::Text(value) => encode_bytes(out, TAG_TEXT, value.as_bytes()),
        Value::Bytea(value) => encode_bytes(out, TAG_BYTEA, value),
        Value::Date(value) => encode_integer(out, i64::from(*value)),
        Value::Time(value) | Value::Timestamp(value) => encode_integer(out, *value),
        Value::Uuid(value) => {
            out.push(TAG_UUID);
            out.extend_from_slice(value);
        }
    }
}

fn decode_value(column: &Column, rest: &mut &[u8]) -> Result<Value, VersionError> {
    use ColumnType as T;
    let tag = take(rest, 1)?[0];
    let column_type = column.column_type;
    let wrong = || {
        malformed(&format!(
            "tag {tag} in column \"{}\" of type {column_type:?}",
            column.name
        ))
    };
    let narrow = |_| malformed(&format!("an integer out of range in column \"{}\"", column.name));
    Ok(match (tag, column_type) {
        (TAG_NULL, _) => Value::Null,
        (TAG_FALSE, T::Bool) => Value::Bool(false),
        (TAG_TRUE, T::Bool) => Value::Bool(true),
        (TAG_INTEGER, T::Int2) => Value::Int2(decode_integer(rest)?.try_into().map_err(narrow)?),
        (TAG_INTEGER, T::Int4) => Value::Int4(decode_integer(rest)?.try_into().map_err(narrow)?),
        (TAG_INTEGER, T::Int8) => Value::Int8(decode_integer(rest)?),
        (TAG_INTEGER, T::Date) => Value::Date(decode_integer(rest)?.try_into().map_err(narrow)?),
        (TAG_INTEGER, T::Time) => Value::Time(decode_integer(rest)?),
        (TAG_INTEGER, T::Timestamp | T::TimestampTz) => Value::Timestamp(decode_integer(rest)?),
        (TAG_REAL, T::Float4) => Value::Float4(f32::from_bits(u32::from_le_bytes(
            take(rest, 4)?.try_into().expect("4 bytes were taken"),
        ))),
        (TAG_DOUBLE, T::Float8) => Value::Float8(f64::from_bits(u64::from_le_bytes(
            take(rest, 8)?.try_into().expect("8 bytes were taken"),
        ))),
        (TAG_NUMERIC, T::Numeric { .. }) => {
            let scale = u32::from(take(rest, 1)?[0]);
            let mantissa = unzigzag(decode_varint(rest)?);
            Value::Numeric(
                Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| malformed("a numeric out of range"))?,
            )
        }
        (TAG_TEXT, T::Text | T::Varchar(_) | T::Char(_) | T::Json | T::Jsonb) => {
            let bytes = decode_bytes(rest)?;
            Value::Text(
                std::str::from_utf8(bytes)
                    .map_err(|_| malformed("text is not UTF-8"))?
                    .to_owned(),
            )
        }
        (TAG_BYTEA, T::Bytea) => Value::Bytea(decode_bytes(rest)?.to_vec()),
        (TAG_UUID, T::Uuid) => Value::Uuid(take(rest, 16)?.try_into().expect("16 bytes were taken")),
        _ => return Err(wrong()),
    })
}

fn encode_integer(out: &mut Vec<u8>, value: i64) {
    out.push(TAG_INTEGER);
    encode_varint(out, zigzag(i128::from(value)));
}

fn decode_integer(rest: &mut &[u8]) -> Result<i64, VersionError> {
    unzigzag(decode_varint(rest)?)
        .try_into()
        .map_err(|_| malformed("an integer of more than 64 bits"))
}

fn encode_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    encode_varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

fn decode_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], VersionError> {
    let length = decode_varint(rest)?
        .try_into()
        .map_err(|_| malformed("a length out of range"))?;
    take(rest, length)
}

fn zigzag(value: i128) -> u128 {
    (value << 1 ^ value >> 127) as u128
}

fn unzigzag(value: u128) -> i128 {
    (value >> 1) as i128 ^ -((value & 1) as i128)
}

fn encode_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn decode_varint(rest: &mut &[u8]) -> Result<u128, VersionError> {
    let mut value = 0u128;
    for shift in (0..126).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            // The last byte of a longer encoding is not zero: one row, one encoding.
            return if byte == 0 && shift > 0 {
                Err(malformed("a padded integer"))
            } else {
                Ok(value)
            };
        }
    }
    Err(malformed("an integer of too many bytes"))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], VersionError> {
    let (taken, left) = rest
        .split_at_checked(count)
        .ok_or_else(|| malformed("the row ends in the middle of a value"))?;
    *rest = left;
    Ok(taken)
}

fn malformed(detail: &str) -> VersionError {
    VersionError::malformed("row", detail)
}

#[cfg(test)]
#[path = "tuple_tests.rs"]
mod tests;
