//! Fields and beginnings of moments: `date_part`, EXTRACT and `date_trunc`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::arrow;
use super::super::error::{external, undefined_function};
use super::super::names::brief_call;
use super::super::udf::by_rows;
use super::{clocks, is_moment, moments, spoken, to_local, to_utc};
use crate::sql::SqlError;
use crate::sql::text::zone::Zone;
use crate::sql::types::words_of;

/// A function of DataFusion that is given what the clock on the wall shows instead of a moment.
#[derive(Debug)]
pub struct InZone {
    inner: Arc<ScalarUDF>,
    which: Which,
    zone: Zone,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// A double precision of `date_part`, a numeric of EXTRACT.
    Field(Told),
    Beginning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Double,
    Numeric,
}

/// Digits enough for every field.
const FIELD_DIGITS: u8 = 20;

/// How many digits behind the point a field has: parts of a second are told with it.
fn scale_of(unit: Option<&str>) -> i8 {
    match unit.map(str::trim) {
        Some("second" | "seconds" | "sec" | "secs" | "s" | "epoch") => 6,
        Some("millisecond" | "milliseconds" | "msec" | "msecs" | "ms") => 3,
        _ => 0,
    }
}

impl InZone {
    pub fn date_part(inner: Arc<ScalarUDF>, zone: Zone) -> InZone {
        InZone::field(inner, zone, Told::Double)
    }

    /// EXTRACT, by DataFusion's `date_part`.
    pub fn extract(inner: Arc<ScalarUDF>, zone: Zone) -> InZone {
        InZone::field(inner, zone, Told::Numeric)
    }

    fn field(inner: Arc<ScalarUDF>, zone: Zone, told: Told) -> InZone {
        InZone {
            signature: inner.signature().clone(),
            inner,
            which: Which::Field(told),
            zone,
        }
    }

    /// A field as whole numbers or, of the epoch, as double precisions.
    fn part(&self, args: &ScalarFunctionArgs, rows: usize) -> PlanResult<ArrayRef> {
        let unit = word(&args.args[0]);
        let unit = unit.as_deref();
        let value = &args.args[1];
        let is_epoch = unit == Some("epoch");
        if is_moment(&value.data_type()) {
            match unit {
                Some("timezone") => return self.offset_part(value, rows, |offset| offset),
                Some("timezone_hour") => return self.offset_part(value, rows, |offset| offset / 3600),
                Some("timezone_minute") => return self.offset_part(value, rows, |offset| offset / 60 % 60),
                _ => {}
            }
        }
        if scale_of(unit) > 0 && !is_epoch && value.data_type() == DataType::Interval(IntervalUnit::MonthDayNano) {
            return microseconds_of_minute(value, rows);
        }
        let value = match is_moment(&value.data_type()) && !is_epoch {
            true => mapped(value, &clocks(), |micros| to_local(&self.zone, micros))?,
            // The epoch is the same everywhere.
            false => value.clone(),
        };
        let result = if is_epoch { DataType::Float64 } else { DataType::Int32 };
        // Whole microseconds, of which the wanted ones are made.
        let unit = match scale_of(unit) > 0 && !is_epoch {
            true => ColumnarValue::Scalar(ScalarValue::from("microsecond")),
            false => args.args[0].clone(),
        };
        let args = ScalarFunctionArgs {
            args: vec![unit, value.clone()],
            ..args.clone()
        };
        self.ask(&args, value, Arc::new(Field::new("", result, true)))?
            .to_array(rows)
    }

    fn told(&self, args: &ScalarFunctionArgs, told: Told) -> PlanResult<ColumnarValue> {
        let scale = scale_of(word(&args.args[0]).as_deref());
        let factor = 10f64.powi(scale.into());
        by_rows(args, |rows| {
            let part = self.part(args, rows)?;
            let of_epoch = part.as_primitive_opt::<Float64Type>();
            let whole = part.as_primitive_opt::<Int32Type>();
            let digits = match (of_epoch, whole, told) {
                (Some(seconds), _, Told::Double) => return Ok(Arc::new(seconds.clone())),
                (None, Some(whole), Told::Double) => {
                    return Ok(Arc::new(
                        whole.unary::<_, Float64Type>(|number| f64::from(number) / factor),
                    ));
                }
                (Some(seconds), _, Told::Numeric) => {
                    seconds.unary::<_, Decimal128Type>(|seconds| (seconds * factor).round() as i128)
                }
                (None, Some(whole), Told::Numeric) => whole.unary::<_, Decimal128Type>(i128::from),
                (None, None, _) => {
                    let message = format!("a field of a moment is no {}", part.data_type());
                    return Err(external(SqlError::internal(message)));
                }
            };
            Ok(Arc::new(digits.with_precision_and_scale(FIELD_DIGITS, scale)?))
        })
    }

    pub fn date_trunc(inner: Arc<ScalarUDF>, zone: Zone) -> InZone {
        InZone {
            signature: Signature::user_defined(Volatility::Immutable),
            inner,
            which: Which::Beginning,
            zone,
        }
    }

    /// The inner function's answer for other values of the second argument.
    fn ask(&self, args: &ScalarFunctionArgs, value: ColumnarValue, result: FieldRef) -> PlanResult<ColumnarValue> {
        let field = Field::new("", value.data_type(), true);
        self.inner.invoke_with_args(ScalarFunctionArgs {
            args: vec![args.args[0].clone(), value],
            arg_fields: vec![Arc::clone(&args.arg_fields[0]), Arc::new(field)],
            number_rows: args.number_rows,
            return_field: result,
            config_options: Arc::clone(&args.config_options),
        })
    }

    /// The offset itself, as seconds or as one of its parts.
    fn offset_part(&self, value: &ColumnarValue, rows: usize, unit: fn(i32) -> i32) -> PlanResult<ArrayRef> {
        let array = compute::cast(&value.to_array(rows)?, &moments())?;
        let moments = array.as_primitive::<TimestampMicrosecondType>();
        Ok(Arc::new(
            moments.unary::<_, Int32Type>(|micros| unit(self.zone.offset_at(micros))),
        ))
    }

    fn beginning(&self, args: &ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let mut zone = self.zone;
        if let Some(name) = args.args.get(2) {
            let ColumnarValue::Scalar(ScalarValue::Utf8(name)) = name else {
                return Err(external(SqlError::unsupported(
                    "date_trunc with a zone that is not a constant",
                )));
            };
            match name {
                Some(name) => zone = spoken(name).map_err(external)?,
                None => return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&moments())?)),
            }
        }
        let small = word(&args.args[0]).is_some_and(|unit| {
            ["hour", "minute", "second", "milli", "micro"]
                .iter()
                .any(|small| unit.trim().starts_with(small))
        });
        let field = Arc::new(Field::new("", clocks(), true));
        if small {
            // An hour is cut by the offset it has, also when the clock shows it twice. Cutting takes the same away from
            // every moment of one offset, so it is enough to cut what the clock shows.
            let array = args.args[1].to_array(args.number_rows)?;
            let moments_array = compute::cast(&array, &moments())?;
            let local = mapped(&ColumnarValue::Array(Arc::clone(&moments_array)), &clocks(), |micros| {
                to_local(&zone, micros)
            })?;
            let local_array = local.to_array(array.len())?;
            let cut = self.ask(args, local, field)?.to_array(array.len())?;
            let columns =
                [&moments_array, &local_array, &cut].map(|array| array.as_primitive::<TimestampMicrosecondType>());
            let rows = (0..array.len()).map(|row| {
                let [moment, local, cut] = columns.map(|column| column.value(row));
                array.is_valid(row).then(|| moment - local.wrapping_sub(cut))
            });
            let result = rows.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
            return Ok(match &args.args[1] {
                ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
                ColumnarValue::Array(_) => ColumnarValue::Array(Arc::new(result)),
            });
        }
        let local = mapped(&args.args[1], &clocks(), |micros| to_local(&zone, micros))?;
        mapped(&self.ask(args, local, field)?, &moments(), |local| to_utc(&zone, local))
    }
}

impl PartialEq for InZone {
    fn eq(&self, other: &Self) -> bool {
        self.which == other.which && self.zone == other.zone
    }
}
impl Eq for InZone {}
impl Hash for InZone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        brief_call(self.name(), args)
    }

    /// Of `date_trunc` alone: a date, and what nobody has said the type of, becomes a moment.
    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        let mut types = types.to_vec();
        if let Some(second) = types.get_mut(1)
            && matches!(second, DataType::Date32 | DataType::Utf8 | DataType::Null)
        {
            *second = moments();
        }
        Ok(types)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let types: Vec<&DataType> = args.arg_fields.iter().map(|field| field.data_type()).collect();
        let fits = match (self.which, types.as_slice()) {
            (Which::Field(_), _) => true,
            (Which::Beginning, [DataType::Utf8, DataType::Timestamp(..) | DataType::Time64(_)]) => true,
            (Which::Beginning, [DataType::Utf8, second, DataType::Utf8]) => is_moment(second),
            _ => false,
        };
        if !fits {
            let types: Vec<String> = args
                .arg_fields
                .iter()
                .map(|field| words_of(&arrow::pg_type_of(field).0))
                .collect();
            let call = format!("{}({})", self.name(), types.join(", "));
            return Err(external(undefined_function(&call)));
        }
        let Which::Field(told) = self.which else {
            return self.inner.return_field_from_args(args);
        };
        let unit = args.scalar_arguments.first().copied().flatten();
        let unit = unit.and_then(|unit| unit.try_as_str().flatten()).map(str::to_lowercase);
        // Whether it is a constant is the inner function's business.
        let inner = self.inner.return_field_from_args(args)?;
        let data_type = match told {
            Told::Double => DataType::Float64,
            Told::Numeric => DataType::Decimal128(FIELD_DIGITS, scale_of(unit.as_deref())),
        };
        Ok(Arc::new(Field::new(inner.name(), data_type, inner.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        match self.which {
            Which::Field(told) => self.told(&args, told),
            Which::Beginning if is_moment(&args.args[1].data_type()) => self.beginning(&args),
            Which::Beginning => self.inner.invoke_with_args(args),
        }
    }
}

/// A column of timestamps of one kind as one of the other kind.
fn mapped(
    value: &ColumnarValue,
    to: &DataType,
    convert: impl Fn(i64) -> Result<i64, SqlError>,
) -> PlanResult<ColumnarValue> {
    let array = |array: &ArrayRef| -> PlanResult<ArrayRef> {
        let DataType::Timestamp(_, from_zone) = array.data_type() else {
            return Err(external(SqlError::internal(format!(
                "{} is no timestamp",
                array.data_type()
            ))));
        };
        let array = compute::cast(array, &DataType::Timestamp(TimeUnit::Microsecond, from_zone.clone()))?;
        let DataType::Timestamp(_, to_zone) = to else {
            return Err(external(SqlError::internal(format!("{to} is no timestamp"))));
        };
        let mapped: TimestampMicrosecondArray = array
            .as_primitive::<TimestampMicrosecondType>()
            .try_unary(|micros| convert(micros).map_err(|error| ArrowError::ExternalError(Box::new(error))))?;
        Ok(Arc::new(mapped.with_timezone_opt(to_zone.clone())))
    };
    Ok(match value {
        ColumnarValue::Scalar(scalar) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array(&scalar.to_array()?)?, 0)?)
        }
        ColumnarValue::Array(column) => ColumnarValue::Array(array(column)?),
    })
}

/// What an interval has beyond whole minutes.
fn microseconds_of_minute(value: &ColumnarValue, rows: usize) -> PlanResult<ArrayRef> {
    let array = value.to_array(rows)?;
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    let of_minute = |interval: IntervalMonthDayNano| (interval.nanoseconds / 1_000 % 60_000_000) as i32;
    Ok(Arc::new(intervals.unary::<_, Int32Type>(of_minute)))
}

/// The constant text of an argument, in lower case.
fn word(value: &ColumnarValue) -> Option<String> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Some(text.to_lowercase()),
        _ => None,
    }
}
