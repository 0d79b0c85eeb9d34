//! Arithmetic and comparison of values, with PostgreSQL's result types, overflow checks and NULLs.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::result::PgType;
use crate::sql::types::{is_float, is_number};
use crate::version::Value;

/// The operators of arithmetic that the point evaluator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How many bytes an integer type has; None for other types.
fn integer_width(pg_type: &PgType) -> Option<u8> {
    match *pg_type {
        PgType::INT2 => Some(2),
        PgType::INT4 => Some(4),
        PgType::INT8 => Some(8),
        _ => None,
    }
}

/// The type of `left op right`, both numbers; None when the evaluator leaves it to a plan.
pub fn arithmetic_type(operator: Arithmetic, left: &PgType, right: &PgType) -> Option<PgType> {
    if let (Some(a), Some(b)) = (integer_width(left), integer_width(right)) {
        return Some(match a.max(b) {
            2 => PgType::INT2,
            4 => PgType::INT4,
            _ => PgType::INT8,
        });
    }
    if !is_number(left) || !is_number(right) {
        return None;
    }
    if is_float(left) || is_float(right) {
        let both_short = *left == PgType::FLOAT4 && *right == PgType::FLOAT4;
        return (operator != Arithmetic::Remainder).then_some(if both_short { PgType::FLOAT4 } else { PgType::FLOAT8 });
    }
    // How many digits a quotient has is PostgreSQL's own rule, kept in one place: the plan's.
    (operator != Arithmetic::Divide).then_some(PgType::NUMERIC)
}

fn as_i64(value: &Value) -> Option<i64> {
    match value {
        Value::Int2(value) => Some(i64::from(*value)),
        Value::Int4(value) => Some(i64::from(*value)),
        Value::Int8(value) => Some(*value),
        _ => None,
    }
}

fn as_decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Numeric(value) => Some(*value),
        other => as_i64(other).map(Decimal::from),
    }
}

fn as_f64(value: &Value) -> Option<f64> {
    match value {
        Value::Float4(value) => Some(f64::from(*value)),
        Value::Float8(value) => Some(*value),
        Value::Numeric(value) => value.to_f64(),
        #[expect(
            clippy::cast_precision_loss,
            reason = "comparison with a float is done in double precision"
        )]
        other => as_i64(other).map(|value| value as f64),
    }
}

fn overflow(result: &PgType) -> SqlError {
    let name = match *result {
        PgType::INT2 => "smallint",
        PgType::INT4 => "integer",
        PgType::INT8 => "bigint",
        PgType::NUMERIC => return SqlError::new(SqlErrorKind::NumericOutOfRange, "value overflows numeric format"),
        _ => return SqlError::new(SqlErrorKind::NumericOutOfRange, "value out of range: overflow"),
    };
    SqlError::new(SqlErrorKind::NumericOutOfRange, format!("{name} out of range"))
}

fn by_zero() -> SqlError {
    SqlError::new(SqlErrorKind::DivisionByZero, "division by zero")
}

/// Computes `left op right` as `result`, which [`arithmetic_type`] gave.
pub fn arithmetic(operator: Arithmetic, left: &Value, right: &Value, result: &PgType) -> Result<Value, SqlError> {
    if left.is_null() || right.is_null() {
        return Ok(Value::Null);
    }
    let mismatch = || SqlError::internal("arithmetic on values that are no numbers");
    if integer_width(result).is_some() {
        let (a, b) = (as_i64(left).ok_or_else(mismatch)?, as_i64(right).ok_or_else(mismatch)?);
        let value = match operator {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err(by_zero()),
            Arithmetic::Divide => a.checked_div(b),
            // i64::MIN % -1 overflows in hardware and is 0 in mathematics.
            Arithmetic::Remainder => Some(a.checked_rem(b).unwrap_or(0)),
        };
        let value = value.ok_or_else(|| overflow(result))?;
        return match *result {
            PgType::INT2 => i16::try_from(value).map(Value::Int2).map_err(|_| overflow(result)),
            PgType::INT4 => i32::try_from(value).map(Value::Int4).map_err(|_| overflow(result)),
            _ => Ok(Value::Int8(value)),
        };
    }
    if *result == PgType::NUMERIC {
        let (a, b) = (
            as_decimal(left).ok_or_else(mismatch)?,
            as_decimal(right).ok_or_else(mismatch)?,
        );
        if b.is_zero() && matches!(operator, Arithmetic::Divide | Arithmetic::Remainder) {
            return Err(by_zero());
        }
        return exact(operator, a, b)
            .map(Value::Numeric)
            .ok_or_else(|| overflow(result));
    }
    let (a, b) = (as_f64(left).ok_or_else(mismatch)?, as_f64(right).ok_or_else(mismatch)?);
    if operator == Arithmetic::Divide && b == 0.0 {
        return Err(by_zero());
    }
    let value = match operator {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    };
    if value.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(overflow(result));
    }
    if *result == PgType::FLOAT4 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "single precision was asked for; overflow is checked"
        )]
        let short = value as f32;
        return if short.is_infinite() && value.is_finite() {
            Err(overflow(result))
        } else {
            Ok(Value::Float4(short))
        };
    }
    Ok(Value::Float8(value))
}

/// The result with all its digits, and as many behind the point as PostgreSQL shows; None where there is no room for them.
/// The operators of [`Decimal`] would round there.
fn exact(operator: Arithmetic, a: Decimal, b: Decimal) -> Option<Decimal> {
    let at_scale = |number: Decimal, scale: u32| {
        let missing = scale - number.scale();
        number.mantissa().checked_mul(10i128.checked_pow(missing)?)
    };
    let common = a.scale().max(b.scale());
    let (digits, scale) = match operator {
        Arithmetic::Multiply => (a.mantissa().checked_mul(b.mantissa())?, a.scale() + b.scale()),
        Arithmetic::Add => (at_scale(a, common)?.checked_add(at_scale(b, common)?)?, common),
        Arithmetic::Subtract => (at_scale(a, common)?.checked_sub(at_scale(b, common)?)?, common),
        Arithmetic::Remainder => (at_scale(a, common)?.checked_rem(at_scale(b, common)?)?, common),
        // Left to the plan: see [`arithmetic_type`].
        Arithmetic::Divide => return None,
    };
    Decimal::try_from_i128_with_scale(digits, scale).ok()
}

/// Minus a number.
pub fn negate(value: &Value, pg_type: &PgType) -> Result<Value, SqlError> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::Float4(value) => Ok(Value::Float4(-value)),
        Value::Float8(value) => Ok(Value::Float8(-value)),
        Value::Numeric(value) => Ok(Value::Numeric(-value)),
        other => arithmetic(Arithmetic::Subtract, &Value::Int2(0), other, pg_type),
    }
}

/// Whether two types can be compared without a cast that would have to be written out.
pub fn comparable(left: &PgType, right: &PgType) -> bool {
    let string = |pg_type: &PgType| {
        matches!(
            *pg_type,
            PgType::TEXT | PgType::VARCHAR | PgType::NAME | PgType::UNKNOWN
        )
    };
    if is_number(left) && is_number(right) || string(left) && string(right) {
        return true;
    }
    // json has no equality in PostgreSQL; blank-padded text has an order of its own, left to the plan.
    left == right && !matches!(*left, PgType::JSON | PgType::JSONB | PgType::BPCHAR)
}

/// SQL's order of two values of [`comparable`] types; None when one is NULL.
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    if left.is_null() || right.is_null() {
        return None;
    }
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bytea(a), Value::Bytea(b)) => Some(a.cmp(b)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Uuid(a), Value::Uuid(b)) => Some(a.cmp(b)),
        _ => {
            if let (Some(a), Some(b)) = (as_i64(left), as_i64(right)) {
                return Some(a.cmp(&b));
            }
            if let (Some(a), Some(b)) = (as_decimal(left), as_decimal(right)) {
                return Some(a.cmp(&b));
            }
            let (a, b) = (as_f64(left)?, as_f64(right)?);
            // PostgreSQL: NaN equals itself and is greater than every other number.
            Some(a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_overflow_with_an_error_and_divide_towards_zero() {
        let error = arithmetic(Arithmetic::Add, &Value::Int4(i32::MAX), &Value::Int4(1), &PgType::INT4).unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (SqlErrorKind::NumericOutOfRange, "integer out of range")
        );
        let quotient = arithmetic(Arithmetic::Divide, &Value::Int4(-7), &Value::Int4(2), &PgType::INT4);
        assert_eq!(quotient, Ok(Value::Int4(-3)));
        let error = arithmetic(Arithmetic::Remainder, &Value::Int8(1), &Value::Int8(0), &PgType::INT8).unwrap_err();
        assert_eq!(error.kind, SqlErrorKind::DivisionByZero);
        let least = arithmetic(
            Arithmetic::Remainder,
            &Value::Int8(i64::MIN),
            &Value::Int8(-1),
            &PgType::INT8,
        );
        assert_eq!(least, Ok(Value::Int8(0)));
    }

    #[test]
    fn numerics_are_computed_exactly_or_not_at_all() {
        let numeric = |text: &str| Value::Numeric(text.parse().unwrap());
        let computed = |a: &str, operator, b: &str| {
            let value = arithmetic(operator, &numeric(a), &numeric(b), &PgType::NUMERIC);
            value.map(|value| match value {
                Value::Numeric(value) => value.to_string(),
                other => panic!("{other:?} is no numeric"),
            })
        };
        use Arithmetic::{Add, Multiply, Remainder, Subtract};
        for (a, operator, b, expected) in [
            ("0.00", Multiply, "5", "0.00"),
            ("0.00", Multiply, "0.0", "0.000"),
            ("1.50", Multiply, "-2.0", "-3.000"),
            (
                "0.00000000000001",
                Multiply,
                "0.00000000000001",
                "0.0000000000000000000000000001",
            ),
            ("1.5", Subtract, "1.50", "0.00"),
            ("-1.5", Add, "0.25", "-1.25"),
            ("-7.50", Remainder, "2", "-1.50"),
            (
                "79228162514264337593543950334",
                Add,
                "1",
                "79228162514264337593543950335",
            ),
        ] {
            assert_eq!(
                computed(a, operator, b).as_deref(),
                Ok(expected),
                "{a} {operator:?} {b}"
            );
        }
        for (a, operator, b) in [
            ("0.000000000000001", Multiply, "0.000000000000001"),
            ("12345678901234.567890", Multiply, "12345678901234.567890"),
            ("79228162514264337593543950335", Add, "1"),
            ("79228162514264337593543950335", Add, "0.1"),
            (
                "10000000000000000000000000000",
                Subtract,
                "0.0000000000000000000000000001",
            ),
        ] {
            let error = computed(a, operator, b).unwrap_err();
            assert_eq!(error.kind, SqlErrorKind::NumericOutOfRange, "{a} {operator:?} {b}");
        }
    }

    #[test]
    fn numbers_of_different_types_compare_by_value() {
        assert_eq!(
            compare(&Value::Int2(2), &Value::Numeric("2.0".parse().unwrap())),
            Some(Ordering::Equal)
        );
        assert_eq!(
            compare(&Value::Float8(f64::NAN), &Value::Int4(1)),
            Some(Ordering::Greater)
        );
        assert_eq!(compare(&Value::Null, &Value::Int4(1)), None);
        assert_eq!(
            compare(&Value::Text("B".into()), &Value::Text("a".into())),
            Some(Ordering::Less)
        );
    }
}
