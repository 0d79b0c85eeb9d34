//! Arithmetic that fails where PostgreSQL's fails: integers that overflow, divisions by zero, dates out of range; and the
//! digits of numerics' quotients. Which operands meet is decided before, by [`super::operators`].

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::compute::kernels::arity::try_binary;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Field, FieldRef,
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
    TimestampMicrosecondType, i256,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::error::{division_by_zero, external};
use super::names::{brief, brief_call};
use crate::sql::text::datetime;
use crate::sql::{SqlError, SqlErrorKind};

/// `left op right` by [`Arithmetic`].
pub fn arithmetic_expr(op: Operator, left: Expr, right: Expr) -> Expr {
    call(Arithmetic::new(vec![op], None), vec![left, right])
}

/// `left op right` where both are of one of the types that arithmetic does not leave: integers and floats. A chain
/// `a + b - c` becomes one call with three arguments: planning asks every level of an expression for its name and type
/// again and again, so what is flat is planned in time that grows with its length.
pub fn chained_expr(op: Operator, left: Expr, right: Expr, both: &DataType) -> Expr {
    let continued = chain_of(&left).filter(|(_, chained)| *chained == both);
    let mut ops = continued.map_or(Vec::new(), |(ops, _)| ops.to_vec());
    let mut args = match left {
        Expr::ScalarFunction(function) if !ops.is_empty() => function.args,
        left => vec![left],
    };
    ops.push(op);
    args.push(right);
    call(Arithmetic::new(ops, Some(both.clone())), args)
}

/// The type of a chain of arithmetic, without a look at its terms.
pub fn chained_type(expr: &Expr) -> Option<&DataType> {
    chain_of(expr).map(|(_, chained)| chained)
}

fn chain_of(expr: &Expr) -> Option<(&[Operator], &DataType)> {
    let Expr::ScalarFunction(function) = expr else {
        return None;
    };
    let arithmetic = function.func.inner().downcast_ref::<Arithmetic>()?;
    Some((&arithmetic.ops, arithmetic.chained.as_ref()?))
}

fn call(function: Arithmetic, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        args,
    ))
}

/// Digits behind the point of a quotient of numerics. PostgreSQL chooses so that there are at least 16 significant ones;
/// a column of a plan has one scale, so it is the one that PostgreSQL takes for quotients from 1 to 9999.
pub const QUOTIENT_SCALE: i8 = 16;

/// Arithmetic that fails instead of wrapping: integers, floats, dates and days, and quotients of numerics. Its arguments
/// are one more than its operators, and are taken from left to right.
#[derive(Debug)]
struct Arithmetic {
    ops: Vec<Operator>,
    /// The type of all arguments and of the result, for chains.
    chained: Option<DataType>,
    name: String,
    signature: Signature,
}

impl Arithmetic {
    fn new(ops: Vec<Operator>, chained: Option<DataType>) -> Arithmetic {
        let mut name = String::from("\u{1}");
        for op in &ops {
            name.push_str(&op.to_string());
        }
        Arithmetic {
            signature: Signature::any(ops.len() + 1, Volatility::Immutable),
            name: brief(name),
            ops,
            chained,
        }
    }

    fn result(&self, left: &DataType, right: &DataType) -> DataType {
        match (left, right) {
            (DataType::Date32, DataType::Date32) => DataType::Int32,
            (DataType::Timestamp(..), DataType::Timestamp(..)) => DataType::Interval(IntervalUnit::MonthDayNano),
            (DataType::Decimal128(..) | DataType::Decimal256(..), _)
            | (_, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                let scale = |side: &DataType| match side {
                    DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
                    _ => 0,
                };
                // One digit less than an unconstrained column has, so that zeros at the end are shown.
                DataType::Decimal256(76, scale(left).max(scale(right)).clamp(QUOTIENT_SCALE, 27))
            }
            _ => left.clone(),
        }
    }
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.ops == other.ops && self.chained == other.chained
    }
}
impl Eq for Arithmetic {}
impl Hash for Arithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        brief_call(&self.name, args)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(self.result(&types[0], &types[1]))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let result = self.result(args.arg_fields[0].data_type(), args.arg_fields[1].data_type());
        // Nullable although it may not be: `1 / 0 IS NULL` is only computed, and fails, if it could be NULL.
        Ok(Arc::new(Field::new(self.name(), result, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let mut result = args.args[0].to_array(rows)?;
        for (op, right) in self.ops.iter().zip(&args.args[1..]) {
            result = compute(*op, &result, &right.to_array(rows)?, args.return_field.data_type())?;
        }
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

fn compute(op: Operator, left: &ArrayRef, right: &ArrayRef, result: &DataType) -> PlanResult<ArrayRef> {
    Ok(match (left.data_type(), right.data_type()) {
        (DataType::Int16, DataType::Int16) => integers::<Int16Type>(
            op,
            left,
            right,
            "smallint",
            i16::checked_add,
            i16::checked_sub,
            i16::checked_mul,
            i16::checked_div,
            i16::checked_rem,
        )?,
        (DataType::Int32, DataType::Int32) => integers::<Int32Type>(
            op,
            left,
            right,
            "integer",
            i32::checked_add,
            i32::checked_sub,
            i32::checked_mul,
            i32::checked_div,
            i32::checked_rem,
        )?,
        (DataType::Int64, DataType::Int64) => integers::<Int64Type>(
            op,
            left,
            right,
            "bigint",
            i64::checked_add,
            i64::checked_sub,
            i64::checked_mul,
            i64::checked_div,
            i64::checked_rem,
        )?,
        (DataType::Float32, DataType::Float32) => {
            each::<Float32Type, Float32Type, Float32Type>(left, right, |a, b| {
                Ok(float(op, a.into(), b.into(), |value| (value as f32).is_infinite())? as f32)
            })?
        }
        (DataType::Float64, DataType::Float64) => {
            each::<Float64Type, Float64Type, Float64Type>(left, right, |a, b| float(op, a, b, f64::is_infinite))?
        }
        (DataType::Date32, DataType::Int32) => each::<Date32Type, Int32Type, Date32Type>(left, right, |date, days| {
            let moved = if op == Operator::Plus {
                date.checked_add(days)
            } else {
                date.checked_sub(days)
            };
            moved.ok_or_else(|| SqlError::new(SqlErrorKind::DatetimeOverflow, "date out of range"))
        })?,
        (DataType::Date32, DataType::Date32) => each::<Date32Type, Date32Type, Int32Type>(left, right, |a, b| {
            a.checked_sub(b)
                .ok_or_else(|| SqlError::new(SqlErrorKind::NumericOutOfRange, "integer out of range"))
        })?,
        (DataType::Timestamp(..), DataType::Timestamp(..)) => each::<
            TimestampMicrosecondType,
            TimestampMicrosecondType,
            IntervalMonthDayNanoType,
        >(left, right, |a, b| {
            let infinite = |micros| {
                matches!(
                    micros,
                    datetime::TIMESTAMP_INFINITY | datetime::TIMESTAMP_MINUS_INFINITY
                )
            };
            if infinite(a) || infinite(b) {
                return Err(SqlError::new(
                    SqlErrorKind::DatetimeOverflow,
                    "cannot subtract infinite timestamps",
                ));
            }
            let overflow = || SqlError::new(SqlErrorKind::DatetimeOverflow, "interval out of range");
            let micros = a.checked_sub(b).ok_or_else(overflow)?;
            let days = i32::try_from(micros / datetime::MICROS_PER_DAY).map_err(|_| overflow())?;
            Ok(IntervalMonthDayNanoType::make_value(
                0,
                days,
                micros % datetime::MICROS_PER_DAY * 1_000,
            ))
        })?,
        (_, _) if matches!(result, DataType::Decimal256(..)) => quotient(left, right, result)?,
        (a, b) => {
            return Err(external(SqlError::internal(format!(
                "arithmetic between {a} and {b} was not planned"
            ))));
        }
    })
}

fn each<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: &ArrayRef,
    right: &ArrayRef,
    compute: impl Fn(L::Native, R::Native) -> Result<O::Native, SqlError>,
) -> PlanResult<ArrayRef> {
    let result: PrimitiveArray<O> = try_binary(left.as_primitive::<L>(), right.as_primitive::<R>(), |a, b| {
        compute(a, b).map_err(|error| ArrowError::ExternalError(Box::new(error)))
    })?;
    Ok(Arc::new(result))
}

type Checked<T> = fn(T, T) -> Option<T>;

#[expect(clippy::too_many_arguments, reason = "one checked function per operator")]
fn integers<T: ArrowPrimitiveType>(
    op: Operator,
    left: &ArrayRef,
    right: &ArrayRef,
    type_name: &'static str,
    add: Checked<T::Native>,
    sub: Checked<T::Native>,
    mul: Checked<T::Native>,
    div: Checked<T::Native>,
    rem: Checked<T::Native>,
) -> PlanResult<ArrayRef>
where
    T::Native: Default + PartialEq,
{
    let zero = T::Native::default();
    each::<T, T, T>(left, right, |a, b| {
        let result = match op {
            Operator::Plus => add(a, b),
            Operator::Minus => sub(a, b),
            Operator::Multiply => mul(a, b),
            _ if b == zero => return Err(division_by_zero()),
            Operator::Divide => div(a, b),
            // The smallest integer modulo -1 has no overflow in it: nothing remains.
            _ => Some(rem(a, b).unwrap_or(zero)),
        };
        result.ok_or_else(|| SqlError::new(SqlErrorKind::NumericOutOfRange, format!("{type_name} out of range")))
    })
}

fn float(op: Operator, a: f64, b: f64, overflows: impl Fn(f64) -> bool) -> Result<f64, SqlError> {
    let result = match op {
        Operator::Plus => a + b,
        Operator::Minus => a - b,
        Operator::Multiply => a * b,
        _ if b == 0.0 && !a.is_nan() => return Err(division_by_zero()),
        _ => a / b,
    };
    if overflows(result) && a.is_finite() && b.is_finite() {
        return Err(SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            "value out of range: overflow",
        ));
    }
    if result == 0.0 && matches!(op, Operator::Multiply | Operator::Divide) && a != 0.0 && b != 0.0 && b.is_finite() {
        return Err(SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            "value out of range: underflow",
        ));
    }
    Ok(result)
}

/// Quotient of two decimals, rounded half away from zero to the result's scale.
fn quotient(left: &ArrayRef, right: &ArrayRef, result: &DataType) -> PlanResult<ArrayRef> {
    let DataType::Decimal256(precision, scale) = *result else {
        return Err(external(SqlError::internal("a quotient of numerics is a wide decimal")));
    };
    let (left, left_scale) = wide(left)?;
    let (right, right_scale) = wide(right)?;
    let (left, right) = (
        left.as_primitive::<Decimal256Type>(),
        right.as_primitive::<Decimal256Type>(),
    );
    // left / 10^ls / (right / 10^rs) * 10^scale
    let shift = u32::try_from(i32::from(scale) + i32::from(right_scale) - i32::from(left_scale)).unwrap_or(0);
    let overflow = || SqlError::new(SqlErrorKind::NumericOutOfRange, "value overflows numeric format");
    let factor = i256::from_i128(10)
        .checked_pow(shift)
        .ok_or_else(|| external(overflow()))?;
    let quotients: PrimitiveArray<Decimal256Type> = try_binary(left, right, |a, b| {
        let divide = || {
            if b == i256::ZERO {
                return Err(division_by_zero());
            }
            let scaled = a.checked_mul(factor).ok_or_else(overflow)?;
            let whole = scaled.checked_div(b).ok_or_else(overflow)?;
            let rest = scaled.checked_rem(b).ok_or_else(overflow)?.wrapping_abs();
            let away = if (a < i256::ZERO) == (b < i256::ZERO) {
                i256::ONE
            } else {
                i256::MINUS_ONE
            };
            let half = b.wrapping_abs().wrapping_sub(rest);
            if rest >= half {
                whole.checked_add(away).ok_or_else(overflow)
            } else {
                Ok(whole)
            }
        };
        divide().map_err(|error| ArrowError::ExternalError(Box::new(error)))
    })?;
    Ok(Arc::new(quotients.with_precision_and_scale(precision, scale)?))
}

fn wide(array: &ArrayRef) -> PlanResult<(ArrayRef, i8)> {
    match array.data_type() {
        DataType::Decimal256(_, scale) => Ok((Arc::clone(array), *scale)),
        DataType::Decimal128(_, scale) => {
            let narrow = array.as_primitive::<Decimal128Type>();
            let digits: PrimitiveArray<Decimal256Type> = narrow.unary(i256::from_i128);
            let digits = digits.with_precision_and_scale(Decimal256Type::MAX_PRECISION, *scale)?;
            Ok((Arc::new(digits), *scale))
        }
        other => Err(external(SqlError::internal(format!("{other} is no decimal")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::PgType;
    use crate::sql::plan::arrow;
    use crate::sql::text::Style;

    #[test]
    fn quotients_of_numerics_are_rounded_half_away_from_zero() {
        for (a, b, expected) in [
            ("10.0", "3", "3.3333333333333333"),
            ("-2", "3", "-0.6666666666666667"),
            ("1", "8", "0.1250000000000000"),
        ] {
            let side = |text: &str| {
                let value = crate::version::Value::Numeric(text.parse().unwrap());
                arrow::array(&DataType::Decimal128(20, 1), std::iter::once(&value)).unwrap()
            };
            let result = quotient(&side(a), &side(b), &DataType::Decimal256(76, QUOTIENT_SCALE)).unwrap();
            let cell = crate::sql::text::Cell::of_array(&result, 0).unwrap();
            let mut out = String::new();
            crate::sql::text::write_cell(&mut out, &cell, &PgType::NUMERIC, &Style::DEFAULT).unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn floats_fail_where_postgres_fails() {
        assert_eq!(
            float(Operator::Divide, 1.0, 0.0, f64::is_infinite).unwrap_err().kind,
            SqlErrorKind::DivisionByZero
        );
        assert_eq!(
            float(Operator::Multiply, 1e300, 1e300, f64::is_infinite)
                .unwrap_err()
                .kind,
            SqlErrorKind::NumericOutOfRange
        );
        assert_eq!(
            float(Operator::Plus, f64::INFINITY, 1.0, f64::is_infinite).unwrap(),
            f64::INFINITY
        );
    }
}
