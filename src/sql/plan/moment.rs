//! Arithmetic of times and intervals that the planner does not know: times of day move round the clock, intervals are
//! multiplied as PostgreSQL does it, with fractions of a month becoming days and fractions of a day time.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::compute::kernels::arity::try_binary;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit,
};
use datafusion::arrow::error::ArrowError;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::error::{division_by_zero, external};
use super::names::brief_call;
use super::udf::by_rows;
use crate::sql::text::datetime::MICROS_PER_DAY;
use crate::sql::{SqlError, SqlErrorKind};

/// What may be computed, by operator and types of the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// `time + interval`
    Later,
    /// `time - interval`
    Earlier,
    /// `time - time`
    Between,
    /// `interval * double precision`
    Times,
    /// `interval / double precision`
    Parts,
}

pub fn moment_expr(moment: Moment, left: Expr, right: Expr) -> Expr {
    let function = MomentFunction {
        moment,
        signature: Signature::any(2, Volatility::Immutable),
    };
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        vec![left, right],
    ))
}

impl Moment {
    fn operator(self) -> Operator {
        match self {
            Moment::Later => Operator::Plus,
            Moment::Earlier | Moment::Between => Operator::Minus,
            Moment::Times => Operator::Multiply,
            Moment::Parts => Operator::Divide,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MomentFunction {
    moment: Moment,
    signature: Signature,
}

impl ScalarUDFImpl for MomentFunction {
    fn name(&self) -> &str {
        match self.moment {
            Moment::Later => "\u{1}later",
            Moment::Earlier => "\u{1}earlier",
            Moment::Between => "\u{1}between",
            Moment::Times => "\u{1}times",
            Moment::Parts => "\u{1}parts",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        brief_call(self.name(), args)
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(match self.moment {
            Moment::Later | Moment::Earlier => DataType::Time64(TimeUnit::Microsecond),
            Moment::Between | Moment::Times | Moment::Parts => DataType::Interval(IntervalUnit::MonthDayNano),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        by_rows(&args, |rows| {
            let (left, right) = (args.args[0].to_array(rows)?, args.args[1].to_array(rows)?);
            let result = match self.moment {
                Moment::Later | Moment::Earlier => each::<
                    Time64MicrosecondType,
                    IntervalMonthDayNanoType,
                    Time64MicrosecondType,
                >(&left, &right, |time, interval| {
                    let micros = interval.nanoseconds / 1_000 % MICROS_PER_DAY;
                    let moved = match self.moment.operator() {
                        Operator::Plus => time + micros,
                        _ => time - micros,
                    };
                    Ok(moved.rem_euclid(MICROS_PER_DAY))
                }),
                Moment::Between => each::<Time64MicrosecondType, Time64MicrosecondType, IntervalMonthDayNanoType>(
                    &left,
                    &right,
                    |to, from| Ok(IntervalMonthDayNano::new(0, 0, (to - from) * 1_000)),
                ),
                Moment::Times => each::<IntervalMonthDayNanoType, Float64Type, IntervalMonthDayNanoType>(
                    &left,
                    &right,
                    |interval, by| scaled(interval, |part| part * by),
                ),
                Moment::Parts => each::<IntervalMonthDayNanoType, Float64Type, IntervalMonthDayNanoType>(
                    &left,
                    &right,
                    |interval, by| {
                        if by == 0.0 {
                            return Err(division_by_zero());
                        }
                        scaled(interval, |part| part / by)
                    },
                ),
            };
            result
                .map_err(|error| super::error::from_datafusion(error.into()))
                .map_err(external)
        })
    }
}

fn each<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: &ArrayRef,
    right: &ArrayRef,
    compute: impl Fn(L::Native, R::Native) -> Result<O::Native, SqlError>,
) -> Result<ArrayRef, ArrowError> {
    let result: PrimitiveArray<O> = try_binary(left.as_primitive::<L>(), right.as_primitive::<R>(), |a, b| {
        compute(a, b).map_err(|error| ArrowError::ExternalError(Box::new(error)))
    })?;
    Ok(Arc::new(result))
}

const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// Every part multiplied; what is left of a month are days, what is left of a day is time, to the microsecond.
fn scaled(interval: IntervalMonthDayNano, multiply: impl Fn(f64) -> f64) -> Result<IntervalMonthDayNano, SqlError> {
    let out_of_range = || SqlError::new(SqlErrorKind::DatetimeOverflow, "interval out of range");
    let whole = |part: f64| {
        let fits = part.is_finite() && part.abs() <= f64::from(i32::MAX);
        fits.then_some(part as i32).ok_or_else(out_of_range)
    };
    let to_micros = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
    let (exact_months, exact_days) = (multiply(interval.months.into()), multiply(interval.days.into()));
    let (months, mut days) = (whole(exact_months)?, whole(exact_days)?);
    let more_days = to_micros((exact_months - f64::from(months)) * DAYS_PER_MONTH);
    let mut seconds = to_micros((exact_days - f64::from(days) + more_days - more_days.trunc()) * SECONDS_PER_DAY);
    if seconds.abs() >= SECONDS_PER_DAY {
        let carried = (seconds / SECONDS_PER_DAY).trunc();
        days = days.checked_add(carried as i32).ok_or_else(out_of_range)?;
        seconds -= carried * SECONDS_PER_DAY;
    }
    days = days.checked_add(whole(more_days)?).ok_or_else(out_of_range)?;
    let micros = (multiply((interval.nanoseconds / 1_000) as f64) + seconds * 1e6).round_ties_even();
    if !micros.is_finite() || micros.abs() >= (i64::MAX / 1_000) as f64 {
        return Err(out_of_range());
    }
    Ok(IntervalMonthDayNano::new(months, days, micros as i64 * 1_000))
}
