//! Order-preserving keys: comparing two encoded keys byte by byte is comparing their rows as SQL orders them.
//!
//! ```text
//! key      = value *
//! value    = 01 payload | 02                       02 is NULL: after everything else
//! boolean  = 00 | 01
//! integers = 8 bytes big-endian, sign bit flipped; all widths alike, so that an int8 finds an int2
//! floats   = 8 bytes big-endian of the double, negative ones complemented, others with the sign bit flipped;
//!            -0 is 0, every NaN is one NaN, and it comes last
//! numeric  = 01 zero | 02 exponent digits 00 | 00 and the complement of what follows 02
//!            exponent + 128 in one byte, two decimal digits a byte as 1 + pair; 1.0 and 1.00 are one key
//! text     = bytes with 00 written as 00 ff, then 00 01; the order of the C collation. char(n) without its padding
//! bytea    = like text
//! uuid     = 16 bytes
//! dates    = like integers
//! ```
//!
//! Invariants: for values of one type, `a < b` in SQL exactly when `encode(a) < encode(b)`; no encoding is a prefix of
//! another; decoding gives back an equal value. Foreign bytes give an error, never a panic.

use rust_decimal::Decimal;

use super::{ColumnType, TableSchema, Value, VersionError};

const PRESENT: u8 = 1;
const NULL: u8 = 2;

const NUMERIC_NEGATIVE: u8 = 0;
const NUMERIC_ZERO: u8 = 1;
const NUMERIC_POSITIVE: u8 = 2;

/// Length of the content hash that begins the key of a keyless row; eight bytes of ordinal follow.
pub const KEYLESS_HASH_BYTES: usize = crate::chunk::HASH_BYTES;

/// The key of a row in a table with a primary key. `row` holds every column.
///
/// # Panics
/// If the schema is keyless (its keys depend on what else is in the table, see [`keyless_key`]) or the row is shorter
/// than the schema.
pub fn encode_key(schema: &TableSchema, row: &[Value]) -> Vec<u8> {
    assert!(!schema.is_keyless(), "a keyless table has no key columns to encode");
    let mut key = Vec::with_capacity(schema.primary_key.len() * 9);
    for position in &schema.primary_key {
        encode_value(&mut key, schema.columns[*position].column_type, &row[*position]);
    }
    key
}

/// The key, or the beginning of a key, made of these values of the key columns, in key order.
///
/// All keys that begin with these values lie from this key (included) to [`prefix_end`] of it (excluded).
pub fn encode_key_values(types: &[ColumnType], values: &[Value]) -> Vec<u8> {
    assert!(
        values.len() <= types.len(),
        "{} values for {} key columns",
        values.len(),
        types.len()
    );
    let mut key = Vec::with_capacity(values.len() * 9);
    for (column_type, value) in types.iter().zip(values) {
        encode_value(&mut key, *column_type, value);
    }
    key
}

/// The smallest key that is larger than every key beginning with `prefix`; `None` when there is no such key.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The key of the `ordinal`-th (from 0) row with this content in a keyless table.
pub fn keyless_key(tuple: &[u8], ordinal: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEYLESS_HASH_BYTES + 8);
    key.extend_from_slice(crate::chunk::Hash::of(tuple).as_bytes());
    key.extend_from_slice(&ordinal.to_be_bytes());
    key
}

/// The values of the key columns, in key order. Numerics come without trailing zeros, `char(n)` without padding.
pub fn decode_key(types: &[ColumnType], key: &[u8]) -> Result<Vec<Value>, VersionError> {
    let mut rest = key;
    let values = types
        .iter()
        .map(|column_type| decode_value(*column_type, &mut rest))
        .collect::<Result<Vec<_>, _>>()?;
    if rest.is_empty() {
        Ok(values)
    } else {
        Err(malformed("bytes after the last key column"))
    }
}

fn encode_value(out: &mut Vec<u8>, column_type: ColumnType, value: &Value) {
    if value.is_null() {
        return out.push(NULL);
    }
    out.push(PRESENT);
    match value {
        Value::Null => unreachable!("NULL was handled above"),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int2(value) => encode_integer(out, i64::from(*value)),
        Value::Int4(value) => encode_integer(out, i64::from(*value)),
        Value::Int8(value) => encode_integer(out, *value),
        Value::Float4(value) => encode_float(out, f64::from(*value)),
        Value::Float8(value) => encode_float(out, *value),
        Value::Numeric(value) => encode_numeric(out, value),
        Value::Text(value) if matches!(column_type, ColumnType::Char(_)) => {
            encode_bytes(out, value.trim_end_matches(' ').as_bytes());
        }
        Value::Text(value) => encode_bytes(out, value.as_bytes()),
        Value::Bytea(value) => encode_bytes(out, value),
        Value::Date(value) => encode_integer(out, i64::from(*value)),
        Value::Time(value) | Value::Timestamp(value) => encode_integer(out, *value),
        Value::Uuid(value) => out.extend_from_slice(value),
    }
}

fn decode_value(column_type: ColumnType, rest: &mut &[u8]) -> Result<Value, VersionError> {
    match take(rest, 1)?[0] {
        PRESENT => {}
        NULL => return Ok(Value::Null),
        _ => return Err(malformed("a key value begins with neither 01 nor 02")),
    }
    let narrow = |_| malformed("an integer is out of its column's range");
    Ok(match column_type {
        ColumnType::Bool => Value::Bool(match take(rest, 1)?[0] {
            0 => false,
            1 => true,
            _ => return Err(malformed("a boolean is neither 00 nor 01")),
        }),
        ColumnType::Int2 => Value::Int2(decode_integer(rest)?.try_into().map_err(narrow)?),
        ColumnType::Int4 => Value::Int4(decode_integer(rest)?.try_into().map_err(narrow)?),
        ColumnType::Int8 => Value::Int8(decode_integer(rest)?),
        // Widening is exact, so narrowing gives back what was widened.
        ColumnType::Float4 => Value::Float4(decode_float(rest)? as f32),
        ColumnType::Float8 => Value::Float8(decode_float(rest)?),
        ColumnType::Numeric { .. } => Value::Numeric(decode_numeric(rest)?),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Char(_) | ColumnType::Json | ColumnType::Jsonb => {
            Value::Text(String::from_utf8(decode_bytes(rest)?).map_err(|_| malformed("text is not UTF-8"))?)
        }
        ColumnType::Bytea => Value::Bytea(decode_bytes(rest)?),
        ColumnType::Date => Value::Date(decode_integer(rest)?.try_into().map_err(narrow)?),
        ColumnType::Time => Value::Time(decode_integer(rest)?),
        ColumnType::Timestamp | ColumnType::TimestampTz => Value::Timestamp(decode_integer(rest)?),
        ColumnType::Uuid => Value::Uuid(take(rest, 16)?.try_into().expect("16 bytes were taken")),
    })
}

fn encode_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&(value as u64 ^ 1 << 63).to_be_bytes());
}

fn decode_integer(rest: &mut &[u8]) -> Result<i64, VersionError> {
    Ok((decode_u64(rest)? ^ 1 << 63) as i64)
}

fn encode_float(out: &mut Vec<u8>, value: f64) {
    let canonical = if value.is_nan() {
        f64::NAN.copysign(1.0)
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = canonical.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits ^ 1 << 63 };
    out.extend_from_slice(&ordered.to_be_bytes());
}

fn decode_float(rest: &mut &[u8]) -> Result<f64, VersionError> {
    let ordered = decode_u64(rest)?;
    Ok(f64::from_bits(if ordered >> 63 == 1 {
        ordered ^ 1 << 63
    } else {
        !ordered
    }))
}

fn encode_numeric(out: &mut Vec<u8>, value: &Decimal) {
    if value.is_zero() {
        return out.push(NUMERIC_ZERO);
    }
    let value = value.normalize();
    // value = 0.d1d2..dn * 10^exponent with d1 > 0 and dn > 0: then comparing exponents, then digits, is comparing.
    let mut digits = value.mantissa().unsigned_abs().to_string().into_bytes();
    let exponent = digits.len() as i32 - value.scale() as i32;
    // Trailing zeros before the point survive `normalize`, as in 100.
    digits.truncate(
        digits
            .iter()
            .rposition(|digit| *digit != b'0')
            .expect("a number that is not zero has a digit")
            + 1,
    );

    let mut encoded = vec![u8::try_from(exponent + 128).expect("a Decimal's exponent is between -28 and 29")];
    for pair in digits.chunks(2) {
        let tens = pair[0] - b'0';
        let ones = pair.get(1).map_or(0, |digit| digit - b'0');
        encoded.push(1 + tens * 10 + ones);
    }
    encoded.push(0);
    if value.is_sign_negative() {
        out.push(NUMERIC_NEGATIVE);
        out.extend(encoded.iter().map(|byte| !byte));
    } else {
        out.push(NUMERIC_POSITIVE);
        out.extend(encoded);
    }
}

fn decode_numeric(rest: &mut &[u8]) -> Result<Decimal, VersionError> {
    let flip = match take(rest, 1)?[0] {
        NUMERIC_ZERO => return Ok(Decimal::ZERO),
        NUMERIC_POSITIVE => 0,
        NUMERIC_NEGATIVE => u8::MAX,
        _ => return Err(malformed("a numeric begins with neither 00, 01 nor 02")),
    };
    let exponent = i32::from(take(rest, 1)?[0] ^ flip) - 128;
    let (mut mantissa, mut digits) = (0i128, 0i32);
    loop {
        let byte = take(rest, 1)?[0] ^ flip;
        match byte {
            0 => break,
            1..=100 if digits < 30 => {
                mantissa = mantissa * 100 + i128::from(byte - 1);
                digits += 2;
            }
            _ => return Err(malformed("a numeric has digits out of range")),
        }
    }
    let mut scale = digits - exponent;
    while scale > 0 && mantissa % 10 == 0 && mantissa != 0 {
        mantissa /= 10;
        scale -= 1;
    }
    if scale < 0 {
        let factor = 10i128.checked_pow(scale.unsigned_abs());
        mantissa = factor
            .and_then(|factor| mantissa.checked_mul(factor))
            .ok_or_else(|| malformed("a numeric is too large"))?;
        scale = 0;
    }
    let signed = if flip == 0 { mantissa } else { -mantissa };
    Decimal::try_from_i128_with_scale(signed, scale as u32).map_err(|_| malformed("a numeric is out of range"))
}

fn encode_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

fn decode_bytes(rest: &mut &[u8]) -> Result<Vec<u8>, VersionError> {
    let mut bytes = Vec::new();
    loop {
        match take(rest, 1)?[0] {
            0 => match take(rest, 1)?[0] {
                0xff => bytes.push(0),
                1 => return Ok(bytes),
                _ => return Err(malformed("a zero byte is followed by neither ff nor 01")),
            },
            byte => bytes.push(byte),
        }
    }
}

fn decode_u64(rest: &mut &[u8]) -> Result<u64, VersionError> {
    Ok(u64::from_be_bytes(
        take(rest, 8)?.try_into().expect("8 bytes were taken"),
    ))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], VersionError> {
    let (taken, left) = rest
        .split_at_checked(count)
        .ok_or_else(|| malformed("the key ends in the middle of a value"))?;
    *rest = left;
    Ok(taken)
}

fn malformed(detail: &str) -> VersionError {
    VersionError::malformed("key", detail)
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
