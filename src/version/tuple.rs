//! Rows as bytes: one tagged value after the other, key columns included.
//!
//! ```text
//! tuple  = value *                                  one for each column of the schema, in its order
//! value  = tag payload
//! tags   = 0 NULL | 1 false | 2 true | 3 integer | 4 real | 5 double | 6 numeric | 7 text | 8 bytea | 9 uuid
//!          | 10 large value
//! integer (and dates and times) = zigzag varint;  real, double = bits, little-endian
//! numeric = scale in one byte, sign and magnitude as zigzag varint of up to 97 bits
//! text, bytea = length varint, bytes;  uuid = 16 bytes
//! large value = length varint: a text or bytea of more than 2 KiB, which lies in chunks of its own
//! ```
//! A tuple with large values is the body of a map's value that has their chunks [attached](Attached), in the order of the
//! columns: to the leading ones belong those of more than one piece, to the ends the others. Whether a value is large is
//! told by its own length and not by the row's, so that changing one column never moves another.
//!
//! Invariants: one row has one encoding, equal rows have equal bytes (a numeric keeps its scale: 1.0 and 1.00 are
//! shown differently, hence stored differently). Foreign bytes give an error, never a panic.

use bytes::Bytes;
use rust_decimal::Decimal;

use super::large::{self, LargeValue, VALUE_BYTES_MAX};
use super::{Column, ColumnType, Row, TableSchema, Value, VersionError};
use crate::chunk::{ChunkError, HASH_BYTES, Hash, Link, ReadChunks};
use crate::prolly::Attached;

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
const TAG_LARGE: u8 = 10;

/// Longest text or bytea within a row. Half a node: beyond that a leaf would hold hardly a row, and every change of a
/// row would write its large columns again.
const INLINE_BYTES_MAX: usize = 2 << 10;

/// A row as stored, with the large values that may not be in the store yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedTuple {
    pub bytes: Bytes,
    pub large: Vec<LargeValue>,
}

impl EncodedTuple {
    /// A row that is in the store, and so are its large values.
    pub fn stored(bytes: Bytes) -> EncodedTuple {
        EncodedTuple {
            bytes,
            large: Vec::new(),
        }
    }

    /// What stands for the large values of a stored row.
    pub fn attached(bytes: &[u8]) -> Result<Vec<Link>, VersionError> {
        let attached = Attached::parse(bytes).map_err(malformed)?;
        Ok(attached.map_or_else(Vec::new, |attached| attached.links().collect()))
    }

    /// Its own large values, over `chunks`.
    pub fn over<'a>(&'a self, chunks: &'a dyn ReadChunks) -> impl ReadChunks + 'a {
        Overlay { tuple: self, chunks }
    }
}

struct Overlay<'a> {
    tuple: &'a EncodedTuple,
    chunks: &'a dyn ReadChunks,
}

impl Overlay<'_> {
    fn own(&self, hash: &Hash) -> Option<&Bytes> {
        self.tuple.large.iter().find_map(|value| value.get(hash))
    }
}

impl ReadChunks for Overlay<'_> {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        match self.own(hash) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.chunks.get(hash),
        }
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.own(hash).is_some() || self.chunks.contains(hash)
    }
}

/// The row as stored.
///
/// # Panics
/// If a value is longer than [`VALUE_BYTES_MAX`].
pub fn encode_tuple(row: &[Value]) -> EncodedTuple {
    let mut body = Vec::with_capacity(row.len() * 8);
    let mut large = Vec::new();
    let (mut leading, mut ends) = (Vec::new(), Vec::new());
    for value in row {
        let bytes = match value {
            Value::Text(text) => text.as_bytes(),
            Value::Bytea(bytes) => bytes,
            _ => &[],
        };
        if bytes.len() <= INLINE_BYTES_MAX {
            encode_value(&mut body, value);
            continue;
        }
        body.push(TAG_LARGE);
        encode_varint(&mut body, bytes.len() as u128);
        let value = LargeValue::new(bytes);
        match large::is_one_piece(bytes.len()) {
            true => ends.push(value.hash()),
            false => leading.push(value.hash()),
        }
        large.push(value);
    }
    let bytes = match large.is_empty() {
        true => body.into(),
        false => Attached::encode(&body, &leading, &ends),
    };
    EncodedTuple { bytes, large }
}

/// The row back, checked against the schema's types. Reads its large values from `chunks`.
pub fn decode_tuple(schema: &TableSchema, bytes: &[u8], chunks: &dyn ReadChunks) -> Result<Row, VersionError> {
    let mut reader = TupleReader::new(bytes, chunks)?;
    let row = schema
        .columns
        .iter()
        .map(|column| reader.next(column))
        .collect::<Result<Row, _>>()?;
    reader.finish()?;
    Ok(row)
}

/// Like [`decode_tuple`], with NULL in place of every column that is not `wanted`, which is not read.
pub fn decode_columns(
    schema: &TableSchema,
    bytes: &[u8],
    chunks: &dyn ReadChunks,
    wanted: &[bool],
) -> Result<Row, VersionError> {
    let mut row = vec![Value::Null; schema.columns.len()];
    let mut reader = TupleReader::new(bytes, chunks)?;
    let used = wanted.iter().rposition(|wanted| *wanted).map_or(0, |last| last + 1);
    for ((column, wanted), value) in schema.columns.iter().zip(wanted).zip(&mut row).take(used) {
        match wanted {
            true => *value = reader.next(column)?,
            false => reader.pass()?,
        }
    }
    Ok(row)
}

/// The values of a tuple, one after the other.
struct TupleReader<'a> {
    rest: &'a [u8],
    /// Of the large values ahead: those of more than one piece, and the others.
    leading: &'a [[u8; HASH_BYTES]],
    ends: &'a [[u8; HASH_BYTES]],
    chunks: &'a dyn ReadChunks,
}

impl<'a> TupleReader<'a> {
    fn new(bytes: &'a [u8], chunks: &'a dyn ReadChunks) -> Result<TupleReader<'a>, VersionError> {
        let attached = Attached::parse(bytes).map_err(malformed)?.unwrap_or(Attached {
            body: bytes,
            leading: &[],
            ends: &[],
        });
        Ok(TupleReader {
            rest: attached.body,
            leading: attached.leading,
            ends: attached.ends,
            chunks,
        })
    }

    fn next(&mut self, column: &Column) -> Result<Value, VersionError> {
        use ColumnType as T;
        if self.rest.first() != Some(&TAG_LARGE) {
            return decode_value(column, &mut self.rest);
        }
        take(&mut self.rest, 1)?;
        let (length, hash) = self.next_large()?;
        match column.column_type {
            T::Text | T::Varchar(_) | T::Char(_) | T::Json | T::Jsonb => {
                let text = String::from_utf8(large::read(self.chunks, &hash, length)?);
                Ok(Value::Text(text.map_err(|_| malformed("text is not UTF-8"))?))
            }
            T::Bytea => Ok(Value::Bytea(large::read(self.chunks, &hash, length)?)),
            _ => Err(wrong_tag(TAG_LARGE, column)),
        }
    }

    /// Length and name of the large value whose tag was read.
    fn next_large(&mut self) -> Result<(usize, Hash), VersionError> {
        let length = usize::try_from(decode_varint(&mut self.rest)?)
            .ok()
            .filter(|length| (INLINE_BYTES_MAX + 1..=VALUE_BYTES_MAX).contains(length))
            .ok_or_else(|| malformed("a large value of a length that none has"))?;
        let hashes = match large::is_one_piece(length) {
            true => &mut self.ends,
            false => &mut self.leading,
        };
        let (hash, others) = hashes
            .split_first()
            .ok_or_else(|| malformed("a large value whose chunks are not attached"))?;
        *hashes = others;
        Ok((length, Hash::from_bytes(*hash)))
    }

    /// Goes past a value without looking into it.
    fn pass(&mut self) -> Result<(), VersionError> {
        let rest = &mut self.rest;
        match take(rest, 1)?[0] {
            TAG_NULL | TAG_FALSE | TAG_TRUE => {}
            TAG_INTEGER => {
                decode_varint(rest)?;
            }
            TAG_REAL => {
                take(rest, 4)?;
            }
            TAG_DOUBLE => {
                take(rest, 8)?;
            }
            TAG_NUMERIC => {
                take(rest, 1)?;
                decode_varint(rest)?;
            }
            TAG_TEXT | TAG_BYTEA => {
                decode_bytes(rest)?;
            }
            TAG_UUID => {
                take(rest, 16)?;
            }
            TAG_LARGE => {
                self.next_large()?;
            }
            tag => return Err(malformed(&format!("the unknown tag {tag}"))),
        }
        Ok(())
    }

    /// Nothing may be left.
    fn finish(self) -> Result<(), VersionError> {
        match (self.rest, self.leading, self.ends) {
            ([], [], []) => Ok(()),
            ([], ..) => Err(malformed("chunks are attached that no column has")),
            _ => Err(malformed("bytes after the last column")),
        }
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
        _ => return Err(wrong_tag(tag, column)),
    })
}

fn wrong_tag(tag: u8, column: &Column) -> VersionError {
    let column_type = column.column_type;
    malformed(&format!(
        "tag {tag} in column \"{}\" of type {column_type:?}",
        column.name
    ))
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
    match usize::try_from(decode_varint(rest)?) {
        Ok(length) if length <= INLINE_BYTES_MAX => take(rest, length),
        _ => Err(malformed("a text or bytea too long to lie within its row")),
    }
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
