//! The value of a compiled expression for one row.

use rand::RngCore;

use super::super::operators;
use super::{Compiled, Node, Parameters};
use crate::runtime;
use crate::sql::cast;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::version::Value;

/// Longest text that an expression makes, as in PostgreSQL.
const TEXT_BYTES_MAX: usize = (1 << 30) - 1;

impl Compiled {
    /// The position of the row's value that this is, if it is a bare column.
    pub fn as_column(&self) -> Option<usize> {
        match self.node {
            Node::Column(position) => Some(position),
            _ => None,
        }
    }

    /// Whether the value is the same for every row.
    pub fn is_constant(&self) -> bool {
        matches!(self.node, Node::Constant(_) | Node::Parameter(_))
    }

    pub fn evaluate(&self, row: &[Value], parameters: Parameters<'_>) -> Result<Value, SqlError> {
        self.node.evaluate(row, parameters)
    }

    /// For conditions: whether the row is wanted. NULL is no.
    pub fn holds(&self, row: &[Value], parameters: Parameters<'_>) -> Result<bool, SqlError> {
        Ok(self.node.evaluate(row, parameters)? == Value::Bool(true))
    }
}

impl Node {
    fn evaluate(&self, row: &[Value], parameters: Parameters<'_>) -> Result<Value, SqlError> {
        Ok(match self {
            Node::Constant(value) => value.clone(),
            Node::Column(position) => row[*position].clone(),
            Node::Parameter(index) => parameters.get(*index).cloned().ok_or_else(|| {
                SqlError::new(
                    SqlErrorKind::UndefinedParameter,
                    format!("there is no parameter ${}", index + 1),
                )
            })?,
            Node::Arithmetic(operator, left, right, result) => {
                let (left, right) = (left.evaluate(row, parameters)?, right.evaluate(row, parameters)?);
                operators::arithmetic(*operator, &left, &right, result)?
            }
            Node::Negate(inner, pg_type) => operators::negate(&inner.evaluate(row, parameters)?, pg_type)?,
            Node::Compare(comparison, left, right) => {
                let (left, right) = (left.evaluate(row, parameters)?, right.evaluate(row, parameters)?);
                match operators::compare(&left, &right) {
                    None => Value::Null,
                    Some(order) => Value::Bool(comparison.holds(order)),
                }
            }
            Node::Distinct(left, right, distinct) => {
                let (left, right) = (left.evaluate(row, parameters)?, right.evaluate(row, parameters)?);
                let equal = match operators::compare(&left, &right) {
                    None => left.is_null() && right.is_null(),
                    Some(order) => order.is_eq(),
                };
                Value::Bool(equal != *distinct)
            }
            Node::And(left, right) => match left.evaluate(row, parameters)? {
                Value::Bool(false) => Value::Bool(false),
                left => match (left, right.evaluate(row, parameters)?) {
                    (_, Value::Bool(false)) => Value::Bool(false),
                    (Value::Bool(true), Value::Bool(true)) => Value::Bool(true),
                    _ => Value::Null,
                },
            },
            Node::Or(left, right) => match left.evaluate(row, parameters)? {
                Value::Bool(true) => Value::Bool(true),
                left => match (left, right.evaluate(row, parameters)?) {
                    (_, Value::Bool(true)) => Value::Bool(true),
                    (Value::Bool(false), Value::Bool(false)) => Value::Bool(false),
                    _ => Value::Null,
                },
            },
            Node::Not(inner) => match inner.evaluate(row, parameters)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Node::IsNull(inner, null) => Value::Bool(inner.evaluate(row, parameters)?.is_null() == *null),
            Node::IsTruth(inner, truth, negated) => {
                Value::Bool((inner.evaluate(row, parameters)? == Value::Bool(*truth)) != *negated)
            }
            Node::Concat(left, right) => match (left.evaluate(row, parameters)?, right.evaluate(row, parameters)?) {
                (Value::Text(left), Value::Text(right)) if left.len() + right.len() > TEXT_BYTES_MAX => {
                    return Err(SqlError::new(SqlErrorKind::LimitExceeded, "requested length too large"));
                }
                (Value::Text(left), Value::Text(right)) => Value::Text(left + &right),
                _ => Value::Null,
            },
            Node::Cast(inner, from, to, style) => cast::cast(inner.evaluate(row, parameters)?, from, *to, style)?,
            Node::Coalesce(nodes) => {
                for node in nodes {
                    let value = node.evaluate(row, parameters)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Value::Null
            }
            Node::Uuid => {
                let mut bytes = [0; 16];
                runtime::rng("gen_random_uuid").fill_bytes(&mut bytes);
                Value::Uuid(uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes())
            }
        })
    }
}
