//! Values, PostgreSQL types and Arrow: how each is told by the others.
//!
//! | PostgreSQL | Arrow while a query runs |
//! |---|---|
//! | smallint, integer, bigint | Int16, Int32, Int64 |
//! | oid, regclass and its kin | Int64 |
//! | real, double precision | Float32, Float64 |
//! | numeric(p,s) | Decimal128(p, s) |
//! | numeric | Decimal256(76, 28): holds every stored numeric exactly; which zeros are printed is told by `digits` |
//! | text, varchar, char, name, json, jsonb, uuid | Utf8 (uuid in its canonical form, which sorts as its bytes do) |
//! | bytea | Binary |
//! | date, time, timestamp, timestamptz | Date32, Time64(us), Timestamp(us), Timestamp(us, UTC) |
//! | interval | Interval(MonthDayNano) |
//!
//! What Arrow cannot tell apart is told by two metadata keys of the field, which travel with columns through plans. They
//! are believed only while they fit the field's Arrow type, so an expression that changed the type cannot lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, ListArray, NullArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit, i256};
use postgres_types::Kind;
use rust_decimal::Decimal;

use crate::sql::text::{self, Cell, Digits, Style, UNCONSTRAINED_SCALE};
use crate::sql::types::{is_oid, numeric_typmod, words_of};
use crate::sql::{FieldInfo, PgType, SqlError, SqlErrorKind};
use crate::version::Value;

const TYPE_KEY: &str = "pg.type";
const TYPMOD_KEY: &str = "pg.typmod";

/// Most digits of Arrow's widest decimal.
const WIDE_DIGITS: u8 = 76;

/// The Arrow type that carries values of a PostgreSQL type.
pub fn arrow_type(pg_type: &PgType, typmod: i32) -> DataType {
    match *pg_type {
        PgType::BOOL => DataType::Boolean,
        PgType::INT2 => DataType::Int16,
        PgType::INT4 => DataType::Int32,
        PgType::INT8 => DataType::Int64,
        _ if is_oid(pg_type) => DataType::Int64,
        PgType::FLOAT4 => DataType::Float32,
        PgType::FLOAT8 => DataType::Float64,
        PgType::NUMERIC => match numeric_typmod(typmod) {
            Some((precision, scale)) => DataType::Decimal128(precision, scale),
            None => DataType::Decimal256(WIDE_DIGITS, UNCONSTRAINED_SCALE),
        },
        PgType::BYTEA => DataType::Binary,
        PgType::DATE => DataType::Date32,
        PgType::TIME => DataType::Time64(TimeUnit::Microsecond),
        PgType::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        PgType::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        PgType::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        PgType::INT2_VECTOR => list_of(&PgType::INT2),
        PgType::OID_VECTOR => list_of(&PgType::OID),
        _ => match pg_type.kind() {
            Kind::Array(element) => list_of(element),
            _ => DataType::Utf8,
        },
    }
}

fn list_of(element: &PgType) -> DataType {
    DataType::List(Arc::new(Field::new("item", arrow_type(element, -1), true)))
}

/// A field of a PostgreSQL type, marked so that [`pg_type_of`] gives the type back.
pub fn field(name: &str, pg_type: &PgType, typmod: i32, nullable: bool) -> Field {
    let data_type = arrow_type(pg_type, typmod);
    if typmod < 0 && natural_type(&data_type) == *pg_type {
        return Field::new(name, data_type, nullable);
    }
    let metadata = BTreeMap::from([
        (TYPE_KEY.to_string(), pg_type.oid().to_string()),
        (TYPMOD_KEY.to_string(), typmod.to_string()),
    ]);
    Field::new(name, data_type, nullable).with_metadata(metadata.into_iter().collect())
}

pub fn field_ref(name: &str, pg_type: &PgType, typmod: i32) -> FieldRef {
    Arc::new(field(name, pg_type, typmod, true))
}

/// The PostgreSQL type and type modifier of an Arrow field.
pub fn pg_type_of(field: &Field) -> (PgType, i32) {
    let number = |key: &str| field.metadata().get(key).and_then(|text| text.parse::<i64>().ok());
    if let (Some(oid), Some(typmod)) = (number(TYPE_KEY), number(TYPMOD_KEY)) {
        let pg_type = u32::try_from(oid).ok().and_then(PgType::from_oid);
        if let (Some(pg_type), Ok(typmod)) = (pg_type, i32::try_from(typmod))
            && arrow_type(&pg_type, typmod) == *field.data_type()
        {
            return (pg_type, typmod);
        }
    }
    (natural_type(field.data_type()), -1)
}

/// What a computed value of an Arrow type is called in PostgreSQL.
fn natural_type(data_type: &DataType) -> PgType {
    match data_type {
        DataType::Boolean => PgType::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => PgType::INT2,
        DataType::Int32 | DataType::UInt16 => PgType::INT4,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => PgType::INT8,
        DataType::Float16 | DataType::Float32 => PgType::FLOAT4,
        DataType::Float64 => PgType::FLOAT8,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            PgType::NUMERIC
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => PgType::BYTEA,
        DataType::Date32 | DataType::Date64 => PgType::DATE,
        DataType::Time32(_) | DataType::Time64(_) => PgType::TIME,
        DataType::Timestamp(_, None) => PgType::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => PgType::TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => PgType::INTERVAL,
        DataType::Dictionary(_, value) => natural_type(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            array_of(&pg_type_of(item).0)
        }
        _ => PgType::TEXT,
    }
}

/// The array type over an element type.
pub fn array_of(element: &PgType) -> PgType {
    match *element {
        PgType::BOOL => PgType::BOOL_ARRAY,
        PgType::INT2 => PgType::INT2_ARRAY,
        PgType::INT4 => PgType::INT4_ARRAY,
        PgType::INT8 => PgType::INT8_ARRAY,
        PgType::OID => PgType::OID_ARRAY,
        PgType::FLOAT4 => PgType::FLOAT4_ARRAY,
        PgType::FLOAT8 => PgType::FLOAT8_ARRAY,
        PgType::NUMERIC => PgType::NUMERIC_ARRAY,
        PgType::BYTEA => PgType::BYTEA_ARRAY,
        PgType::DATE => PgType::DATE_ARRAY,
        PgType::TIME => PgType::TIME_ARRAY,
        PgType::TIMESTAMP => PgType::TIMESTAMP_ARRAY,
        PgType::TIMESTAMPTZ => PgType::TIMESTAMPTZ_ARRAY,
        PgType::INTERVAL => PgType::INTERVAL_ARRAY,
        PgType::UUID => PgType::UUID_ARRAY,
        PgType::NAME => PgType::NAME_ARRAY,
        PgType::CHAR => PgType::CHAR_ARRAY,
        PgType::VARCHAR => PgType::VARCHAR_ARRAY,
        PgType::JSON => PgType::JSON_ARRAY,
        PgType::JSONB => PgType::JSONB_ARRAY,
        _ => PgType::TEXT_ARRAY,
    }
}

pub fn field_info(field: &Field) -> FieldInfo {
    let (pg_type, typmod) = pg_type_of(field);
    FieldInfo {
        name: field.name().clone(),
        pg_type,
        typmod,
    }
}

/// One column of values as the Arrow array of a type that [`arrow_type`] gives.
///
/// # Errors
/// A numeric that the declared digits do not hold (22003); a value of another type is an error of ours.
pub fn array<'a>(data_type: &DataType, values: impl Iterator<Item = &'a Value>) -> Result<ArrayRef, SqlError> {
    let values = Column(values.collect());
    let wrong = |value: &Value| SqlError::internal(format!("a {} in a column of Arrow type {data_type}", value.kind()));
    macro_rules! column {
        ($array:ty, $($pattern:pat => $value:expr),+) => {
            Arc::new(values.map(|value| match value { $($pattern => Ok($value),)+ other => Err(wrong(other)) })?.collect::<$array>())
        };
    }
    Ok(match data_type {
        DataType::Null => Arc::new(NullArray::new(values.0.len())),
        DataType::Boolean => column!(BooleanArray, Value::Bool(value) => Some(*value)),
        DataType::Int16 => column!(Int16Array, Value::Int2(value) => Some(*value)),
        DataType::Int32 => {
            column!(Int32Array, Value::Int4(value) => Some(*value), Value::Int2(value) => Some(i32::from(*value)))
        }
        DataType::Int64 => {
            column!(Int64Array, Value::Int8(value) => Some(*value), Value::Int4(value) => Some(i64::from(*value)), Value::Int2(value) => Some(i64::from(*value)))
        }
        DataType::Float32 => column!(Float32Array, Value::Float4(value) => Some(*value)),
        DataType::Float64 => column!(Float64Array, Value::Float8(value) => Some(*value)),
        DataType::Decimal128(precision, scale) => {
            let digits = values.map(|value| match value {
                Value::Numeric(value) => rescaled(*value, *scale)
                    .filter(|digits| digits.unsigned_abs() < 10u128.pow(u32::from(*precision).min(38)))
                    .map(Some)
                    .ok_or_else(numeric_overflow),
                other => Err(wrong(other)),
            })?;
            let array = digits
                .collect::<Decimal128Array>()
                .with_precision_and_scale(*precision, *scale);
            Arc::new(array.map_err(|_| numeric_overflow())?)
        }
        DataType::Decimal256(precision, scale) => {
            let digits = values.map(|value| match value {
                Value::Numeric(value) => {
                    let missing =
                        u32::try_from(i32::from(*scale) - value.scale() as i32).map_err(|_| numeric_overflow())?;
                    let factor = i256::from_i128(10).checked_pow(missing).ok_or_else(numeric_overflow)?;
                    i256::from_i128(value.mantissa())
                        .checked_mul(factor)
                        .map(Some)
                        .ok_or_else(numeric_overflow)
                }
                other => Err(wrong(other)),
            })?;
            let array = digits
                .collect::<Decimal256Array>()
                .with_precision_and_scale(*precision, *scale);
            Arc::new(array.map_err(|_| numeric_overflow())?)
        }
        DataType::Utf8 => {
            let texts = values.0.iter().map(|value| match value {
                Value::Null => Ok(None),
                Value::Text(text) => Ok(Some(std::borrow::Cow::Borrowed(text.as_str()))),
                Value::Uuid(_) => Ok(text::to_text(value, &PgType::UUID, &Style::DEFAULT).map(Into::into)),
                other => Err(wrong(other)),
            });
            Arc::new(texts.collect::<Result<StringArray, SqlError>>()?)
        }
        DataType::Binary => {
            let bytes = values.0.iter().map(|value| match value {
                Value::Null => Ok(None),
                Value::Bytea(bytes) => Ok(Some(bytes.as_slice())),
                other => Err(wrong(other)),
            });
            Arc::new(
                bytes
                    .collect::<Result<Vec<_>, SqlError>>()?
                    .into_iter()
                    .collect::<BinaryArray>(),
            )
        }
        DataType::Date32 => column!(Date32Array, Value::Date(days) => Some(*days)),
        DataType::Time64(_) => column!(Time64MicrosecondArray, Value::Time(micros) => Some(*micros)),
        DataType::Timestamp(_, zone) => {
            let micros = values.map(|value| match value {
                Value::Timestamp(micros) => Ok(Some(*micros)),
                other => Err(wrong(other)),
            })?;
            Arc::new(
                micros
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone_opt(zone.clone()),
            )
        }
        _ if values.0.iter().all(|value| value.is_null()) => new_null_array(data_type, values.0.len()),
        other => return Err(SqlError::unsupported(format_args!("a value of Arrow type {other}"))),
    })
}

/// The values of a column, with NULL taken care of.
struct Column<'a>(Vec<&'a Value>);

impl<'a> Column<'a> {
    fn map<T>(
        &self,
        convert: impl Fn(&'a Value) -> Result<Option<T>, SqlError>,
    ) -> Result<std::vec::IntoIter<Option<T>>, SqlError> {
        let converted: Result<Vec<Option<T>>, SqlError> = self
            .0
            .iter()
            .map(|value| if value.is_null() { Ok(None) } else { convert(value) })
            .collect();
        Ok(converted?.into_iter())
    }
}

/// An array column: each row a list of values or NULL.
pub fn list_array(element: &PgType, rows: &[Option<Vec<Value>>]) -> Result<ArrayRef, SqlError> {
    let data_type = arrow_type(element, -1);
    let items = array(&data_type, rows.iter().flatten().flatten())?;
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect::<Vec<bool>>().into();
    let item = Arc::new(Field::new("item", data_type, true));
    Ok(Arc::new(ListArray::new(
        item,
        OffsetBuffer::from_lengths(lengths),
        items,
        Some(nulls),
    )))
}

fn numeric_overflow() -> SqlError {
    SqlError::new(SqlErrorKind::NumericOutOfRange, "numeric field overflow")
}

/// The digits of a decimal at a scale; None when digits would be lost or there is no room.
fn rescaled(value: Decimal, scale: i8) -> Option<i128> {
    let missing = i32::from(scale) - value.scale() as i32;
    if missing >= 0 {
        return value.mantissa().checked_mul(10i128.checked_pow(missing as u32)?);
    }
    let factor = 10i128.checked_pow(missing.unsigned_abs())?;
    (value.mantissa() % factor == 0).then(|| value.mantissa() / factor)
}

/// A cell as a value of a type.
pub fn value_of_cell(cell: &Cell<'_>, pg_type: &PgType) -> Result<Value, SqlError> {
    let out_of_range = || {
        SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            format!("{} out of range", words_of(pg_type)),
        )
    };
    Ok(match cell {
        Cell::Null => Value::Null,
        Cell::Bool(value) => Value::Bool(*value),
        Cell::Int(value) => match *pg_type {
            PgType::INT2 => Value::Int2(i16::try_from(*value).map_err(|_| out_of_range())?),
            PgType::INT4 => Value::Int4(i32::try_from(*value).map_err(|_| out_of_range())?),
            _ => Value::Int8(*value),
        },
        Cell::Float4(value) => Value::Float4(*value),
        Cell::Float8(value) => Value::Float8(*value),
        Cell::Numeric { unscaled, scale } => Value::Numeric(decimal(*unscaled, *scale).ok_or_else(out_of_range)?),
        Cell::Text(text) if matches!(*pg_type, PgType::UUID | PgType::NUMERIC) => {
            text::parse_as(text, pg_type, &Style::DEFAULT)?
        }
        Cell::Text(text) => Value::Text((*text).to_string()),
        Cell::Bytes(bytes) => Value::Bytea(bytes.to_vec()),
        Cell::Date(days) => Value::Date(*days),
        Cell::Time(micros) => Value::Time(*micros),
        Cell::Timestamp(micros) => Value::Timestamp(*micros),
        Cell::Uuid(bytes) => Value::Uuid(*bytes),
        Cell::Interval { .. } | Cell::List(_) => {
            let mut out = String::new();
            text::write_cell(&mut out, cell, pg_type, &Style::DEFAULT).expect("writing to a String does not fail");
            Value::Text(out)
        }
    })
}

/// Fewest digits, behind the point and altogether, that a number keeps when it is rounded to what can be stored: as many
/// as PostgreSQL computes of a quotient, of which plans compute more.
const KEPT_DIGITS: u32 = 16;

/// A plan's decimal as a stored one. Quotients, and what is computed with them, may lose digits at their end; what would
/// lose more does not fit.
pub fn decimal(unscaled: Digits, scale: i32) -> Option<Decimal> {
    let (mut digits, mut scale) = match unscaled {
        Digits::Narrow(digits) => (i256::from_i128(digits), scale),
        Digits::Wide(digits) => (digits, scale),
    };
    let ten = i256::from_i128(10);
    while scale < 0 {
        digits = digits.checked_mul(ten)?;
        scale += 1;
    }
    let mut dropped = 0;
    let mut exact = true;
    loop {
        let narrow = digits.to_i128().filter(|_| scale <= 28).and_then(|digits| {
            let rounded = if dropped >= 5 {
                digits + digits.signum().max(-1)
            } else {
                digits
            };
            Decimal::try_from_i128_with_scale(rounded, scale as u32).ok()
        });
        if let Some(decimal) = narrow {
            let kept = decimal
                .mantissa()
                .unsigned_abs()
                .checked_ilog10()
                .map_or(0, |digits| digits + 1);
            return (exact || decimal.scale() >= KEPT_DIGITS && kept >= KEPT_DIGITS).then_some(decimal);
        }
        if scale == 0 {
            return None;
        }
        dropped = digits.wrapping_rem(ten).wrapping_abs().to_i128()?;
        exact &= dropped == 0;
        digits = digits.wrapping_div(ten);
        scale -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_survive_the_way_through_arrow() {
        for pg_type in [
            PgType::BOOL,
            PgType::INT2,
            PgType::INT4,
            PgType::INT8,
            PgType::OID,
            PgType::FLOAT4,
            PgType::FLOAT8,
            PgType::NUMERIC,
            PgType::TEXT,
            PgType::VARCHAR,
            PgType::BPCHAR,
            PgType::NAME,
            PgType::CHAR,
            PgType::BYTEA,
            PgType::DATE,
            PgType::TIME,
            PgType::TIMESTAMP,
            PgType::TIMESTAMPTZ,
            PgType::UUID,
            PgType::JSON,
            PgType::JSONB,
            PgType::TEXT_ARRAY,
            PgType::INT2_VECTOR,
            PgType::REGCLASS,
            PgType::INTERVAL,
        ] {
            assert_eq!(pg_type_of(&field("c", &pg_type, -1, true)), (pg_type, -1));
        }
        let varchar = field("c", &PgType::VARCHAR, 9, true);
        assert_eq!(pg_type_of(&varchar), (PgType::VARCHAR, 9));
        assert_eq!(
            pg_type_of(&varchar.with_data_type(DataType::Int64)),
            (PgType::INT8, -1),
            "metadata must not outlive its type"
        );
    }

    #[test]
    fn unconstrained_numerics_are_exact_and_print_without_padding() {
        for text in [
            "0",
            "1.5",
            "-79228162514264337593543950335",
            "0.0000000000000000000000000001",
            "100",
        ] {
            let value = Value::Numeric(text.parse().unwrap());
            let column = array(&arrow_type(&PgType::NUMERIC, -1), std::iter::once(&value)).unwrap();
            let cell = Cell::of_array(&column, 0).unwrap();
            let mut out = String::new();
            text::write_cell(&mut out, &cell, &PgType::NUMERIC, &Style::DEFAULT).unwrap();
            assert_eq!(out, text);
            assert_eq!(value_of_cell(&cell, &PgType::NUMERIC).unwrap(), value);
        }
    }

    #[test]
    fn values_survive_the_way_through_arrow() {
        for (pg_type, value) in [
            (PgType::BOOL, Value::Bool(true)),
            (PgType::INT2, Value::Int2(-3)),
            (PgType::FLOAT4, Value::Float4(1.5)),
            (PgType::BYTEA, Value::Bytea(vec![0, 255])),
            (PgType::UUID, Value::Uuid([7; 16])),
            (PgType::TIMESTAMPTZ, Value::Timestamp(-1)),
            (PgType::JSONB, Value::Text("{}".into())),
            (PgType::DATE, Value::Null),
        ] {
            let column = array(&arrow_type(&pg_type, -1), std::iter::once(&value)).unwrap();
            assert_eq!(
                value_of_cell(&Cell::of_array(&column, 0).unwrap(), &pg_type).unwrap(),
                value
            );
        }
    }

    #[test]
    fn only_what_has_many_digits_is_rounded_to_what_can_be_stored() {
        let stored = |digits: i128, scale| decimal(Digits::Narrow(digits), scale).map(|value| value.to_string());
        let third = "3".repeat(31).parse().unwrap();
        assert_eq!(stored(third, 28), Some(format!("333.{}", "3".repeat(26))));
        assert_eq!(
            stored(5 * 10i128.pow(30), 31),
            Some("0.5000000000000000000000000000".to_string())
        );
        assert_eq!(stored(1, 30), None);
        assert_eq!(stored(15_241_578_753_237_434_552_659_675_521_905_152_100, 12), None);
        assert_eq!(stored(10i128.pow(29), 0), None);
    }

    #[test]
    fn too_many_digits_are_refused() {
        let typmod = (4 << 16 | 2) + 4;
        let value = Value::Numeric("123.45".parse().unwrap());
        let error = array(&arrow_type(&PgType::NUMERIC, typmod), std::iter::once(&value)).unwrap_err();
        assert_eq!(error.kind, SqlErrorKind::NumericOutOfRange);
    }
}
