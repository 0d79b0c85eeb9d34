//! One borrowed cell, of a stored row or of an Arrow array: what encoders and casts look at.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

use crate::sql::error::{SqlError, SqlErrorKind};
use crate::version::Value;

/// Unconstrained `numeric` columns are Decimal256 of this scale while a query runs; their trailing zeros say nothing.
pub(crate) const UNCONSTRAINED_SCALE: i8 = 28;

/// See the module. `Text` also carries json, names and everything else that is shown as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Null,
    Bool(bool),
    /// int2, int4, int8, oid.
    Int(i64),
    Float4(f32),
    Float8(f64),
    Numeric {
        unscaled: Digits,
        scale: i32,
    },
    Text(&'a str),
    Bytes(&'a [u8]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Uuid([u8; 16]),
    Interval {
        months: i32,
        days: i32,
        micros: i64,
    },
    List(Vec<Cell<'a>>),
}

/// The integer of a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    Narrow(i128),
    Wide(i256),
}

impl std::fmt::Display for Digits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Digits::Narrow(digits) => write!(f, "{digits}"),
            Digits::Wide(digits) => write!(f, "{digits}"),
        }
    }
}

impl<'a> Cell<'a> {
    pub fn of_value(value: &'a Value) -> Cell<'a> {
        match value {
            Value::Null => Cell::Null,
            Value::Bool(value) => Cell::Bool(*value),
            Value::Int2(value) => Cell::Int(i64::from(*value)),
            Value::Int4(value) => Cell::Int(i64::from(*value)),
            Value::Int8(value) => Cell::Int(*value),
            Value::Float4(value) => Cell::Float4(*value),
            Value::Float8(value) => Cell::Float8(*value),
            Value::Numeric(value) => Cell::Numeric {
                unscaled: Digits::Narrow(value.mantissa()),
                scale: value.scale() as i32,
            },
            Value::Text(text) => Cell::Text(text),
            Value::Bytea(bytes) => Cell::Bytes(bytes),
            Value::Date(days) => Cell::Date(*days),
            Value::Time(micros) => Cell::Time(*micros),
            Value::Timestamp(micros) => Cell::Timestamp(*micros),
            Value::Uuid(bytes) => Cell::Uuid(*bytes),
        }
    }

    /// The cell at `row`. Arrow types that no expression of ours has are an internal error, not a panic.
    pub fn of_array(array: &'a dyn Array, row: usize) -> Result<Cell<'a>, SqlError> {
        if array.is_null(row) {
            return Ok(Cell::Null);
        }
        macro_rules! at {
            ($type:ty) => {
                array.as_primitive::<$type>().value(row)
            };
        }
        Ok(match array.data_type() {
            DataType::Null => Cell::Null,
            DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
            DataType::Int8 => Cell::Int(at!(Int8Type).into()),
            DataType::Int16 => Cell::Int(at!(Int16Type).into()),
            DataType::Int32 => Cell::Int(at!(Int32Type).into()),
            DataType::Int64 => Cell::Int(at!(Int64Type)),
            DataType::UInt8 => Cell::Int(at!(UInt8Type).into()),
            DataType::UInt16 => Cell::Int(at!(UInt16Type).into()),
            DataType::UInt32 => Cell::Int(at!(UInt32Type).into()),
            DataType::UInt64 => Cell::Int(
                i64::try_from(at!(UInt64Type))
                    .map_err(|_| SqlError::new(SqlErrorKind::NumericOutOfRange, "bigint out of range"))?,
            ),
            DataType::Float32 => Cell::Float4(at!(Float32Type)),
            DataType::Float64 => Cell::Float8(at!(Float64Type)),
            DataType::Decimal32(_, scale) => narrow(at!(Decimal32Type).into(), *scale),
            DataType::Decimal64(_, scale) => narrow(at!(Decimal64Type).into(), *scale),
            DataType::Decimal128(_, scale) => narrow(at!(Decimal128Type), *scale),
            DataType::Decimal256(_, scale) => wide(at!(Decimal256Type), *scale),
            DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row)),
            DataType::Utf8View => Cell::Text(array.as_string_view().value(row)),
            DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row)),
            DataType::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row)),
            DataType::BinaryView => Cell::Bytes(array.as_binary_view().value(row)),
            DataType::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(row)),
            DataType::Date32 => Cell::Date(at!(Date32Type)),
            DataType::Date64 => Cell::Date((at!(Date64Type).div_euclid(86_400_000)) as i32),
            DataType::Time32(TimeUnit::Second) => Cell::Time(i64::from(at!(Time32SecondType)) * 1_000_000),
            DataType::Time32(_) => Cell::Time(i64::from(at!(Time32MillisecondType)) * 1_000),
            DataType::Time64(TimeUnit::Nanosecond) => Cell::Time(at!(Time64NanosecondType) / 1_000),
            DataType::Time64(_) => Cell::Time(at!(Time64MicrosecondType)),
            DataType::Timestamp(unit, _) => Cell::Timestamp(match unit {
                TimeUnit::Second => at!(TimestampSecondType).saturating_mul(1_000_000),
                TimeUnit::Millisecond => at!(TimestampMillisecondType).saturating_mul(1_000),
                TimeUnit::Microsecond => at!(TimestampMicrosecondType),
                TimeUnit::Nanosecond => at!(TimestampNanosecondType).div_euclid(1_000),
            }),
            DataType::Interval(IntervalUnit::YearMonth) => Cell::Interval {
                months: at!(IntervalYearMonthType),
                days: 0,
                micros: 0,
            },
            DataType::Interval(IntervalUnit::DayTime) => {
                let value = at!(IntervalDayTimeType);
                Cell::Interval {
                    months: 0,
                    days: value.days,
                    micros: i64::from(value.milliseconds) * 1_000,
                }
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let value = at!(IntervalMonthDayNanoType);
                Cell::Interval {
                    months: value.months,
                    days: value.days,
                    micros: value.nanoseconds / 1_000,
                }
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                let micros = at!(DurationMicrosecondType);
                let day = 86_400_000_000;
                Cell::Interval {
                    months: 0,
                    days: (micros / day) as i32,
                    micros: micros % day,
                }
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets();
                let items = offsets[row] as usize..offsets[row + 1] as usize;
                Cell::List(
                    items
                        .map(|item| Cell::of_array(list.values(), item))
                        .collect::<Result<_, _>>()?,
                )
            }
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                return Cell::of_array(dictionary.values(), dictionary.normalized_keys()[row]);
            }
            other => return Err(SqlError::unsupported(format!("a result column of type {other}"))),
        })
    }
}

fn narrow<'a>(unscaled: i128, scale: i8) -> Cell<'a> {
    Cell::Numeric {
        unscaled: Digits::Narrow(unscaled),
        scale: i32::from(scale),
    }
}

/// A padded decimal without the zeros at its end, but with this many digits behind the point at least.
pub(crate) fn without_padding(mut unscaled: i256, mut scale: i32, least: i32) -> (i256, i32) {
    let ten = i256::from_i128(10);
    while scale > least.max(0) && unscaled.checked_rem(ten) == Some(i256::ZERO) {
        unscaled = unscaled.wrapping_div(ten);
        scale -= 1;
    }
    (unscaled, scale)
}

/// Values of unconstrained columns are padded to a common scale; what was padded is taken off.
fn wide<'a>(unscaled: i256, scale: i8) -> Cell<'a> {
    let (unscaled, scale) = if scale >= UNCONSTRAINED_SCALE {
        without_padding(unscaled, i32::from(scale), 0)
    } else {
        (unscaled, i32::from(scale))
    };
    match unscaled.to_i128() {
        Some(narrow) => Cell::Numeric {
            unscaled: Digits::Narrow(narrow),
            scale,
        },
        None => Cell::Numeric {
            unscaled: Digits::Wide(unscaled),
            scale,
        },
    }
}
