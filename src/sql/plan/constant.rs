//! Constants in the text of a statement: which type PostgreSQL gives them, and how they are recognised again once they are
//! wrapped in a cast.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, ObjectNamePart, UnaryOperator, Value as Constant, ValueWithSpan,
};

use super::cast::cast_target;
use super::names::first_argument;
use super::syntax::typed;
use crate::sql::PgType;

pub fn quoted(text: &str) -> Expr {
    Expr::Value(Constant::SingleQuotedString(text.to_string()).into())
}

pub fn number_constant(digits: &str) -> Expr {
    Expr::Value(Constant::Number(digits.to_string(), false).into())
}

/// The text of a constant, quoted or a number.
pub fn constant_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Constant::SingleQuotedString(text),
            ..
        }) => Some(text),
        other => digits_of(other).map(String::as_str),
    }
}

/// The digits of a number constant, wrapped or not.
pub fn digits_of(expr: &Expr) -> Option<&String> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Constant::Number(digits, _),
            ..
        }) => Some(digits),
        Expr::Function(function) if is_integer_cast(function) => match first_argument(function)? {
            Expr::Value(ValueWithSpan {
                value: Constant::Number(digits, _),
                ..
            }) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

fn is_integer_cast(function: &Function) -> bool {
    function
        .name
        .0
        .last()
        .and_then(ObjectNamePart::as_ident)
        .and_then(|name| cast_target(&name.value))
        .is_some_and(|(pg_type, _)| pg_type == PgType::INT4)
}

/// Constants with a larger power of ten than this cannot be the planner's decimals.
const NUMERIC_POWER_MAX: i32 = 28;

/// Integers that fit are integer, others bigint or numeric: the planner makes the latter two of plain constants.
pub fn number(constant: Expr) -> Expr {
    match &constant {
        Expr::Value(ValueWithSpan {
            value: Constant::Number(digits, _),
            ..
        }) if digits.parse::<i32>().is_ok() => typed(constant, &PgType::INT4, -1),
        // A power of ten beyond what a numeric holds, like 1e300, is a double precision.
        Expr::Value(ValueWithSpan {
            value: Constant::Number(digits, _),
            ..
        }) if power_of_ten(digits).is_some_and(|power| power.abs() > NUMERIC_POWER_MAX) => {
            let text = Expr::Value(Constant::SingleQuotedString(digits.clone()).into());
            typed(text, &PgType::FLOAT8, -1)
        }
        _ => constant,
    }
}

/// What stands behind the `e` of a number constant; as much as fits when it is absurd.
fn power_of_ten(digits: &str) -> Option<i32> {
    let (_, power) = digits.split_once(['e', 'E'])?;
    let bound = if power.starts_with('-') { i32::MIN + 1 } else { i32::MAX };
    Some(power.parse().unwrap_or(bound))
}

/// A minus before a constant belongs to the constant, so that the smallest integer can be written.
pub fn negated(inner: Box<Expr>) -> Expr {
    match digits_of(&inner) {
        Some(digits) if !digits.starts_with('-') && digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() < 20 => {
            number(Expr::Value(Constant::Number(format!("-{digits}"), false).into()))
        }
        _ => Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: inner,
        },
    }
}

/// Where a number means a position or a count, it stays a plain one.
pub fn plain_number(expr: &mut Expr) {
    if let Some(digits) = digits_of(expr) {
        *expr = Expr::Value(Constant::Number(digits.clone(), false).into());
        return;
    }
    // A parameter's value in LIMIT and OFFSET.
    if let Expr::Function(function) = expr
        && function
            .name
            .0
            .last()
            .and_then(ObjectNamePart::as_ident)
            .is_some_and(|name| cast_target(&name.value).is_some())
        && let Some(Expr::Value(ValueWithSpan {
            value: Constant::SingleQuotedString(text),
            ..
        })) = first_argument(function)
        && text.parse::<i64>().is_ok()
    {
        *expr = Expr::Value(Constant::Number(text.clone(), false).into());
    }
}

/// The type modifier that says just the digits of a value.
pub fn digits_typmod(value: rust_decimal::Decimal) -> i32 {
    let scale = value.scale() as i32;
    let digits = value
        .mantissa()
        .unsigned_abs()
        .checked_ilog10()
        .map_or(1, |log| log as i32 + 1);
    ((digits.max(scale + 1) << 16) | scale) + 4
}
