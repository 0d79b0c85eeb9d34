//! AT TIME ZONE.

use std::hash::{Hash, Hasher};

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::super::arrow;
use super::super::error::{external, undefined_function};
use super::super::names::brief_call;
use super::{clocks, moments, spoken, to_local, to_utc};
use crate::sql::cast::{explicit, timestamp_out_of_range};
use crate::sql::text::datetime::{MICROS_PER_SECOND, write_interval};
use crate::sql::text::zone::Zone;
use crate::sql::text::{Cell, Style};
use crate::sql::types::words_of;
use crate::sql::{PgType, SqlError, SqlErrorKind};
use crate::version::Value;

/// `timezone(zone, time)`, also as AT TIME ZONE: what the clock there shows at a moment, or the moment when it showed
/// that.
#[derive(Debug)]
pub struct AtTimeZone {
    style: Style,
    signature: Signature,
}

impl AtTimeZone {
    pub fn new(style: Style) -> AtTimeZone {
        AtTimeZone {
            style,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }

    /// One value.
    fn convert(&self, zone: &Cell<'_>, time: &Cell<'_>, from: &PgType) -> Result<Value, SqlError> {
        let zone = match zone {
            Cell::Null => return Ok(Value::Null),
            Cell::Text(name) => spoken(name)?,
            Cell::Interval {
                months: 0,
                days: 0,
                micros,
            } => {
                let seconds = i32::try_from(micros / MICROS_PER_SECOND).map_err(|_| timestamp_out_of_range())?;
                Zone::fixed(seconds)
            }
            Cell::Interval { months, days, micros } => {
                let mut words = String::new();
                write_interval(&mut words, *months, *days, *micros).expect("writing to a String does not fail");
                return Err(SqlError::new(
                    SqlErrorKind::InvalidParameter,
                    format!("interval time zone \"{words}\" must not include months or days"),
                ));
            }
            _ => return Err(SqlError::internal("a zone is a text or an interval")),
        };
        let time = arrow::value_of_cell(time, from)?;
        if *from == PgType::TIMESTAMP {
            return Ok(match time {
                Value::Timestamp(local) => Value::Timestamp(to_utc(&zone, local)?),
                _ => Value::Null,
            });
        }
        // A date, or a text whose type nobody has said, is a moment of the session's zone first.
        Ok(match explicit(time, from, &PgType::TIMESTAMPTZ, -1, &self.style)? {
            Value::Timestamp(moment) => Value::Timestamp(to_local(&zone, moment)?),
            _ => Value::Null,
        })
    }
}

impl PartialEq for AtTimeZone {
    fn eq(&self, other: &Self) -> bool {
        self.style == other.style
    }
}
impl Eq for AtTimeZone {}
impl Hash for AtTimeZone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &'static str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        brief_call(self.name(), args)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        match &types[1] {
            DataType::Timestamp(_, None) => Ok(moments()),
            DataType::Timestamp(_, Some(_)) | DataType::Date32 | DataType::Utf8 | DataType::Null => Ok(clocks()),
            DataType::Time64(_) => Err(external(SqlError::unsupported("AT TIME ZONE of a time"))),
            _ => {
                let types = types.iter().map(|data_type| {
                    let field = Field::new("", data_type.clone(), true);
                    words_of(&arrow::pg_type_of(&field).0)
                });
                let types: Vec<String> = types.collect();
                Err(external(undefined_function(&format!("timezone({})", types.join(", ")))))
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let (zones, times) = (args.args[0].to_array(rows)?, args.args[1].to_array(rows)?);
        let (from, _) = arrow::pg_type_of(&args.arg_fields[1]);
        let converted = (0..rows).map(|row| {
            let (zone, time) = (Cell::of_array(&zones, row)?, Cell::of_array(&times, row)?);
            self.convert(&zone, &time, &from)
        });
        let converted = converted.collect::<Result<Vec<_>, SqlError>>().map_err(external)?;
        let array = arrow::array(args.return_field.data_type(), converted.iter()).map_err(external)?;
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}
