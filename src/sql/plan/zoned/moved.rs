//! Intervals added to moments.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::error::external;
use super::super::names::brief_call;
use super::{clocks, is_moment, moments, to_local, to_utc};
use crate::sql::SqlError;
use crate::sql::cast::timestamp_out_of_range;
use crate::sql::text::datetime::{MICROS_PER_DAY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, add_months};
use crate::sql::text::zone::Zone;

/// `time + interval` and `time - interval`, where the time is a moment or, in UTC, what a clock shows.
pub fn moved(time: Expr, interval: Expr, backwards: bool, zone: Zone) -> Expr {
    let function = Moved {
        backwards,
        zone,
        signature: Signature::any(2, Volatility::Immutable),
    };
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        vec![time, interval],
    ))
}

#[derive(Debug)]
struct Moved {
    backwards: bool,
    zone: Zone,
    signature: Signature,
}

impl PartialEq for Moved {
    fn eq(&self, other: &Self) -> bool {
        self.backwards == other.backwards && self.zone == other.zone
    }
}
impl Eq for Moved {}
impl Hash for Moved {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for Moved {
    fn name(&self) -> &str {
        if self.backwards { "\u{1}earlier" } else { "\u{1}later" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        brief_call(self.name(), args)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(if is_moment(&types[0]) { moments() } else { clocks() })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let result = args.return_field.data_type();
        let times = compute::cast(&args.args[0].to_array(rows)?, result)?;
        let intervals = compute::cast(
            &args.args[1].to_array(rows)?,
            &DataType::Interval(IntervalUnit::MonthDayNano),
        )?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let sums = times.iter().zip(intervals.iter()).map(|pair| {
            let (Some(time), Some(interval)) = pair else {
                return Ok(None);
            };
            let (mut months, mut days, mut micros) = (interval.months, interval.days, interval.nanoseconds / 1_000);
            if self.backwards {
                let negated = months.checked_neg().zip(days.checked_neg());
                (months, days) = negated.ok_or_else(timestamp_out_of_range)?;
                micros = -micros;
            }
            add_interval(&self.zone, time, months, days, micros).map(Some)
        });
        let sums = sums.collect::<Result<TimestampMicrosecondArray, SqlError>>();
        let zone: Option<Arc<str>> = is_moment(result).then(|| "UTC".into());
        let sums: ArrayRef = Arc::new(sums.map_err(external)?.with_timezone_opt(zone));
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&sums, 0)?)
        } else {
            ColumnarValue::Array(sums)
        })
    }
}

/// A moment with an interval added as PostgreSQL adds it: months and days by the calendar and the clock on the wall, the
/// rest as time that passes.
fn add_interval(zone: &Zone, moment: i64, months: i32, days: i32, micros: i64) -> Result<i64, SqlError> {
    if matches!(moment, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) {
        return Ok(moment);
    }
    let mut moment = moment;
    if months != 0 {
        let local = add_months(to_local(zone, moment)?, months).ok_or_else(timestamp_out_of_range)?;
        moment = to_utc(zone, local)?;
    }
    if days != 0 {
        let local = i64::from(days)
            .checked_mul(MICROS_PER_DAY)
            .and_then(|days| to_local(zone, moment).ok()?.checked_add(days))
            .ok_or_else(timestamp_out_of_range)?;
        moment = to_utc(zone, local)?;
    }
    moment.checked_add(micros).ok_or_else(timestamp_out_of_range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::text::datetime::parse_timestamptz;

    /// As PostgreSQL 15 adds them.
    #[test]
    fn intervals_move_moments_by_the_clock_on_the_wall() {
        let zone = Zone::named("Europe/Berlin").unwrap().1;
        for (from, months, days, hours, to) in [
            ("2024-03-30 02:30", 0, 1, 0, "2024-03-31 03:30"),
            ("2024-03-30 12:00", 0, 1, 0, "2024-03-31 12:00"),
            ("2024-03-30 12:00", 0, 0, 24, "2024-03-31 13:00"),
            ("2024-01-31 12:00", 1, 0, 0, "2024-02-29 12:00"),
            ("2024-10-26 02:30", 0, 1, 0, "2024-10-27 02:30+01"),
            ("2024-10-28 02:30", 0, -1, 0, "2024-10-27 02:30+01"),
            ("2024-05-31 00:30", -3, 1, -1, "2024-02-29 23:30"),
            ("infinity", 1, 1, 1, "infinity"),
        ] {
            let read = |text: &str| parse_timestamptz(text, &zone).unwrap();
            let moved = add_interval(&zone, read(from), months, days, hours * 3_600_000_000).unwrap();
            assert_eq!(moved, read(to), "{from} {months} {days} {hours}");
        }
        assert!(add_interval(&zone, i64::MAX - 1, 0, 1, 0).is_err());
        assert!(add_interval(&zone, 0, i32::MAX, 0, 0).is_err());
    }
}
