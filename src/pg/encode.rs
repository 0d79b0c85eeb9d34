//! Values on the wire: cells of results to bytes, bytes of parameters to values, in the text and the binary format.
//!
//! The only place that knows PostgreSQL's binary formats; the text forms are `sql::text`'s. It must not know messages or
//! sockets: the caller puts what this gives into DataRow and takes what it needs out of Bind.
//!
//! Invariant: what is encoded for a type decodes to the same value with the same type and format.

use bytes::{BufMut, BytesMut};
use rust_decimal::Decimal;

use crate::sql::text::{self, Cell, Style, datetime};
use crate::sql::types::is_oid;
use crate::sql::{FieldInfo, PgType, RowBatch, SqlError, SqlErrorKind};
use crate::version::Value;

/// How a column or a parameter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

impl Format {
    /// From the code of Bind and RowDescription.
    pub fn from_code(code: i16) -> Result<Format, SqlError> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            _ => Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                format!("unsupported format code: {code}"),
            )),
        }
    }

    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// Appends the body of one DataRow (length and bytes of every field, without the field count) for row `row` of a batch.
/// `formats` has one entry per field.
pub fn encode_row(
    out: &mut BytesMut,
    fields: &[FieldInfo],
    formats: &[Format],
    batch: &RowBatch,
    row: usize,
    style: &Style,
) -> Result<(), SqlError> {
    assert_eq!(fields.len(), formats.len(), "every field has a format");
    for (at, (field, format)) in fields.iter().zip(formats).enumerate() {
        let cell = match batch {
            RowBatch::Values(rows) => Cell::of_value(&rows[row][at]),
            RowBatch::Arrow(batch) => Cell::of_array(batch.column(at), row)?,
        };
        encode_field(out, &cell, &field.pg_type, *format, style)?;
    }
    Ok(())
}

/// Appends the length (-1 for NULL) and the bytes of one field.
pub fn encode_field(
    out: &mut BytesMut,
    cell: &Cell<'_>,
    pg_type: &PgType,
    format: Format,
    style: &Style,
) -> Result<(), SqlError> {
    if *cell == Cell::Null {
        out.put_i32(-1);
        return Ok(());
    }
    let length_at = out.len();
    out.put_i32(0);
    match format {
        Format::Text => {
            text::write_cell(out, cell, pg_type, style)
                .map_err(|_| SqlError::new(SqlErrorKind::OutOfMemory, "a result row is too large"))?;
        }
        Format::Binary => write_binary(out, cell, pg_type, style)?,
    }
    let length = i32::try_from(out.len() - length_at - 4)
        .map_err(|_| SqlError::new(SqlErrorKind::LimitExceeded, "a field of the result is larger than 2 GB"))?;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn write_binary(out: &mut BytesMut, cell: &Cell<'_>, pg_type: &PgType, style: &Style) -> Result<(), SqlError> {
    let out_of_range = || {
        SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            format!("value is out of range for type {pg_type}"),
        )
    };
    match (cell, pg_type) {
        (Cell::Null, _) => {}
        (Cell::Bool(value), _) => out.put_u8(u8::from(*value)),
        (Cell::Int(value), &PgType::INT2) => out.put_i16(i16::try_from(*value).map_err(|_| out_of_range())?),
        (Cell::Int(value), &PgType::INT4) => out.put_i32(i32::try_from(*value).map_err(|_| out_of_range())?),
        (Cell::Int(value), &PgType::INT8) => out.put_i64(*value),
        (Cell::Int(value), &PgType::NUMERIC) => write_numeric(out, &value.to_string(), 0),
        (Cell::Int(value), pg_type) if is_oid(pg_type) => {
            out.put_u32(u32::try_from(*value).map_err(|_| out_of_range())?);
        }
        (Cell::Float4(value), &PgType::FLOAT8) => out.put_f64(f64::from(*value)),
        (Cell::Float4(value), _) => out.put_f32(*value),
        (Cell::Float8(value), &PgType::FLOAT4) => out.put_f32(*value as f32),
        (Cell::Float8(value), _) => out.put_f64(*value),
        (Cell::Numeric { unscaled, scale }, _) => write_numeric(out, &unscaled.to_string(), *scale),
        (Cell::Text(text), &PgType::JSONB) => {
            out.put_u8(1);
            out.put_slice(text.as_bytes());
        }
        // A query's numeric with the digits it is shown with.
        (Cell::Text(text), &PgType::NUMERIC) => {
            let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            write_numeric(out, &text.replace('.', ""), scale as i32);
        }
        (Cell::Text(text), &PgType::CHAR) => out.put_u8(text.bytes().next().unwrap_or(0)),
        (Cell::Text(text), &PgType::UUID) => match text::parse_as(text, pg_type, style)? {
            Value::Uuid(bytes) => out.put_slice(&bytes),
            _ => return Err(out_of_range()),
        },
        (Cell::Text(text), _) => out.put_slice(text.as_bytes()),
        (Cell::Bytes(bytes), _) => out.put_slice(bytes),
        (Cell::Date(days), _) => out.put_i32(match *days {
            datetime::DATE_INFINITY | datetime::DATE_MINUS_INFINITY => *days,
            _ => days.checked_sub(EPOCH_DAYS).ok_or_else(out_of_range)?,
        }),
        (Cell::Time(micros), _) => out.put_i64(*micros),
        (Cell::Timestamp(micros), _) => out.put_i64(match *micros {
            datetime::TIMESTAMP_INFINITY | datetime::TIMESTAMP_MINUS_INFINITY => *micros,
            _ => micros.checked_sub(EPOCH_MICROS).ok_or_else(out_of_range)?,
        }),
        (Cell::Uuid(bytes), _) => out.put_slice(bytes),
        (Cell::Interval { months, days, micros }, _) => {
            out.put_i64(*micros);
            out.put_i32(*days);
            out.put_i32(*months);
        }
        (Cell::List(items), _) => {
            let element = text::element_type(pg_type);
            let (element, lower_bound) = match *pg_type {
                PgType::INT2_VECTOR => (&PgType::INT2, 0),
                PgType::OID_VECTOR => (&PgType::OID, 0),
                _ => (element, 1),
            };
            write_binary_array(out, items, element, lower_bound, style)?;
        }
        (Cell::Int(_), _) => {
            text::write_cell(out, cell, pg_type, style).map_err(|_| out_of_range())?;
        }
    }
    Ok(())
}

/// Days and microseconds from 1970-01-01 to 2000-01-01, where the binary formats count from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * datetime::MICROS_PER_DAY;

/// One-dimensional arrays; what this server makes has no more dimensions.
fn write_binary_array(
    out: &mut BytesMut,
    items: &[Cell<'_>],
    element: &PgType,
    lower_bound: i32,
    style: &Style,
) -> Result<(), SqlError> {
    if items.iter().any(|item| matches!(item, Cell::List(_))) {
        return Err(SqlError::unsupported("a multidimensional array in the binary format"));
    }
    let count = i32::try_from(items.len()).map_err(|_| {
        SqlError::new(
            SqlErrorKind::LimitExceeded,
            "an array of the result has too many elements",
        )
    })?;
    out.put_i32(i32::from(count > 0));
    out.put_i32(i32::from(items.contains(&Cell::Null)));
    out.put_u32(element.oid());
    if count > 0 {
        out.put_i32(count);
        out.put_i32(lower_bound);
    }
    items
        .iter()
        .try_for_each(|item| encode_field(out, item, element, Format::Binary, style))
}

const NUMERIC_POSITIVE: u16 = 0x0000;
const NUMERIC_NEGATIVE: u16 = 0x4000;

/// PostgreSQL's numeric: groups of four decimal digits, the weight of the first, sign, and digits behind the point.
fn write_numeric(out: &mut BytesMut, unscaled: &str, scale: i32) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => (NUMERIC_NEGATIVE, digits),
        None => (NUMERIC_POSITIVE, unscaled),
    };
    let mut digits: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    let display_scale = scale.max(0);
    digits.extend(std::iter::repeat_n(0, (-scale).max(0) as usize));
    digits.extend(std::iter::repeat_n(0, ((4 - display_scale % 4) % 4) as usize));
    let fraction_groups = (display_scale + 3) / 4;
    let lead = (4 - digits.len() % 4) % 4;
    let mut padded = vec![0; lead];
    padded.extend(digits);
    let mut groups: Vec<u16> = padded
        .chunks(4)
        .map(|group| group.iter().fold(0, |sum, digit| sum * 10 + u16::from(*digit)))
        .collect();
    let mut weight = groups.len() as i32 - fraction_groups - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let zero = groups.is_empty();
    out.put_u16(groups.len() as u16);
    out.put_i16(if zero { 0 } else { weight as i16 });
    out.put_u16(if zero { NUMERIC_POSITIVE } else { sign });
    out.put_u16(display_scale as u16);
    groups.iter().for_each(|group| out.put_u16(*group));
}

/// A parameter's bytes as a value. `None` is NULL.
pub fn decode_parameter(
    bytes: Option<&[u8]>,
    pg_type: &PgType,
    format: Format,
    style: &Style,
) -> Result<Value, SqlError> {
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    match format {
        Format::Text => text::parse_as(utf8(bytes)?, pg_type, style),
        Format::Binary => decode_binary(bytes, pg_type),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, SqlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        SqlError::new(
            SqlErrorKind::InvalidEncoding,
            format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"),
        )
    })?;
    if text.contains('\0') {
        return Err(SqlError::new(
            SqlErrorKind::InvalidEncoding,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(text)
}

fn decode_binary(bytes: &[u8], pg_type: &PgType) -> Result<Value, SqlError> {
    let wrong = || {
        SqlError::new(
            SqlErrorKind::InvalidBinary,
            format!(
                "incorrect binary data format of {} bytes for a parameter of type {pg_type}",
                bytes.len()
            ),
        )
    };
    macro_rules! int {
        ($type:ty) => {
            <$type>::from_be_bytes(bytes.try_into().map_err(|_| wrong())?)
        };
    }
    Ok(match *pg_type {
        PgType::BOOL => match bytes {
            [byte] => Value::Bool(*byte != 0),
            _ => return Err(wrong()),
        },
        PgType::INT2 => Value::Int2(int!(i16)),
        PgType::INT4 => Value::Int4(int!(i32)),
        PgType::INT8 => Value::Int8(int!(i64)),
        _ if is_oid(pg_type) => Value::Int8(int!(u32).into()),
        PgType::FLOAT4 => Value::Float4(int!(f32)),
        PgType::FLOAT8 => Value::Float8(int!(f64)),
        PgType::NUMERIC => Value::Numeric(decode_numeric(bytes).ok_or_else(wrong)??),
        PgType::BYTEA => Value::Bytea(bytes.to_vec()),
        PgType::DATE => Value::Date(match int!(i32) {
            infinity @ (datetime::DATE_INFINITY | datetime::DATE_MINUS_INFINITY) => infinity,
            days => days.checked_add(EPOCH_DAYS).ok_or_else(wrong)?,
        }),
        PgType::TIME => Value::Time(match int!(i64) {
            micros @ 0..=datetime::MICROS_PER_DAY => micros,
            _ => return Err(SqlError::new(SqlErrorKind::DatetimeOverflow, "time out of range")),
        }),
        PgType::TIMESTAMP | PgType::TIMESTAMPTZ => Value::Timestamp(match int!(i64) {
            infinity @ (datetime::TIMESTAMP_INFINITY | datetime::TIMESTAMP_MINUS_INFINITY) => infinity,
            micros => micros
                .checked_add(EPOCH_MICROS)
                .ok_or_else(|| SqlError::new(SqlErrorKind::DatetimeOverflow, "timestamp out of range"))?,
        }),
        PgType::UUID => Value::Uuid(bytes.try_into().map_err(|_| wrong())?),
        PgType::JSONB => match bytes {
            [1, text @ ..] => text::parse_as(utf8(text)?, pg_type, &Style::DEFAULT)?,
            _ => return Err(wrong()),
        },
        PgType::JSON
        | PgType::TEXT
        | PgType::VARCHAR
        | PgType::BPCHAR
        | PgType::NAME
        | PgType::CHAR
        | PgType::UNKNOWN => text::parse_as(utf8(bytes)?, pg_type, &Style::DEFAULT)?,
        _ => {
            return Err(SqlError::unsupported(format!(
                "a parameter of type {pg_type} in the binary format"
            )));
        }
    })
}

/// None is malformed; an error is a number this server does not hold.
fn decode_numeric(bytes: &[u8]) -> Option<Result<Decimal, SqlError>> {
    let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()? as i16, words.next()?, words.next()?);
    if bytes.len() != 8 + 2 * usize::from(count) || scale > 0x3fff {
        return None;
    }
    let too_large = || {
        SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            "numeric parameter has more than 28 digits",
        )
    };
    let negative = match sign {
        NUMERIC_POSITIVE => false,
        NUMERIC_NEGATIVE => true,
        0xC000 | 0xD000 | 0xF000 => {
            return Some(Err(SqlError::new(
                SqlErrorKind::NumericOutOfRange,
                "numeric NaN and infinity are not supported: only finite numbers are",
            )));
        }
        _ => return None,
    };
    let mut text = String::from(if negative { "-0" } else { "0" });
    if weight >= 16 || scale > 28 + 4 {
        return Some(Err(too_large()));
    }
    let mut fraction = String::new();
    for position in (0..=weight.max(-1)).rev().chain((-9..0).rev()) {
        let at = i32::from(weight) - i32::from(position);
        let group = if at < 0 {
            0
        } else {
            bytes
                .get(8 + 2 * at as usize..10 + 2 * at as usize)
                .map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
        };
        if group > 9_999 {
            return None;
        }
        if position >= 0 {
            text += &format!("{group:04}")
        } else {
            fraction += &format!("{group:04}")
        }
    }
    fraction.truncate(usize::from(scale));
    if !fraction.is_empty() {
        text = format!("{text}.{fraction}");
    }
    Some(text::number::parse_numeric(&text).map_err(|_| too_large()))
}

#[cfg(test)]
mod tests;
