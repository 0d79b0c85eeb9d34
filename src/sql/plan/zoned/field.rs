//! Fields and beginnings of moments: `date_part`, EXTRACT and `date_trunc`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int32Type, TimeUnit, TimestampMicrosecondType};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::arrow;
use super::super::error::{external, undefined_function};
use super::super::names::brief_call;
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
    Field,
    Beginning,
}

impl InZone {
    /// `date_part`, also as EXTRACT.
    pub fn date_part(inner: Arc<ScalarUDF>, zone: Zone) -> InZone {
        InZone {
            signature: inner.signature().clone(),
            inner,
            which: Which::Field,
            zone,
        }
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
    fn offset_part(&self, value: &ColumnarValue, rows: usize, unit: fn(i32) -> i32) -> PlanResult<ColumnarValue> {
        let scalar = matches!(value, ColumnarValue::Scalar(_));
        let array = value.to_array(if scalar { 1 } else { rows })?;
        let array = compute::cast(&array, &moments())?;
        let moments = array.as_primitive::<TimestampMicrosecondType>();
        let parts: ArrayRef = Arc::new(moments.unary::<_, Int32Type>(|micros| unit(self.zone.offset_at(micros))));
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&parts, 0)?)
        } else {
            ColumnarValue::Array(parts)
        })
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
            (Which::Field, _) => true,
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
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        if !is_moment(&args.args[1].data_type()) {
            return self.inner.invoke_with_args(args);
        }
        if self.which == Which::Beginning {
            return self.beginning(&args);
        }
        match word(&args.args[0]).as_deref() {
            // The same everywhere.
            Some("epoch") => self.inner.invoke_with_args(args),
            Some("timezone") => self.offset_part(&args.args[1], args.number_rows, |offset| offset),
            Some("timezone_hour") => self.offset_part(&args.args[1], args.number_rows, |offset| offset / 3600),
            Some("timezone_minute") => self.offset_part(&args.args[1], args.number_rows, |offset| offset / 60 % 60),
            _ => {
                let local = mapped(&args.args[1], &clocks(), |micros| to_local(&self.zone, micros))?;
                self.ask(&args, local, Arc::clone(&args.return_field))
            }
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

/// The constant text of an argument, in lower case.
fn word(value: &ColumnarValue) -> Option<String> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Some(text.to_lowercase()),
        _ => None,
    }
}
