//! From a condition to the keys it can hold for: equality on the first key columns, then a range of the next.

use std::ops::Bound;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

use super::expression::{Comparison, Compiled, Compiler, Declined, Parameters};
use crate::sql::cast;
use crate::sql::error::SqlError;
use crate::sql::result::PgType;
use crate::sql::types::{is_integer, pg_type};
use crate::version::{ColumnType, TableSchema, Value, encode_key_values, prefix_end};

/// The keys for which a condition can be true. The condition itself still has to be asked of every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// None: a key column was compared with NULL, or two constants contradict each other.
    Nothing,
    /// Exactly one.
    One(Vec<u8>),
    Range(Bound<Vec<u8>>, Bound<Vec<u8>>),
}

impl Keys {
    pub const ALL: Keys = Keys::Range(Bound::Unbounded, Bound::Unbounded);
}

/// One `column op constant` of the condition.
struct Restriction {
    column: usize,
    comparison: Comparison,
    value: Value,
}

/// Keys of rows for which `condition` can hold. `relation` must be the compiler's only one, at offset 0.
pub fn keys(
    condition: &Expr,
    schema: &TableSchema,
    compiler: &mut Compiler<'_>,
    parameters: Parameters<'_>,
) -> Result<Keys, SqlError> {
    let mut restrictions = Vec::new();
    collect(condition, schema, compiler, parameters, &mut restrictions)?;
    Ok(combine(&restrictions, schema))
}

fn collect(
    condition: &Expr,
    schema: &TableSchema,
    compiler: &mut Compiler<'_>,
    parameters: Parameters<'_>,
    out: &mut Vec<Restriction>,
) -> Result<(), SqlError> {
    match condition {
        Expr::Nested(inner) => collect(inner, schema, compiler, parameters, out),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            collect(left, schema, compiler, parameters, out)?;
            collect(right, schema, compiler, parameters, out)
        }
        Expr::BinaryOp { left, op, right } => {
            if let Some(comparison) = Comparison::of(op) {
                restrict(left, comparison, right, schema, compiler, parameters, out)?;
            }
            Ok(())
        }
        Expr::Between {
            expr,
            negated: false,
            low,
            high,
        } => {
            restrict(expr, Comparison::GreaterOrEqual, low, schema, compiler, parameters, out)?;
            restrict(expr, Comparison::LessOrEqual, high, schema, compiler, parameters, out)
        }
        _ => Ok(()),
    }
}

fn restrict(
    left: &Expr,
    comparison: Comparison,
    right: &Expr,
    schema: &TableSchema,
    compiler: &mut Compiler<'_>,
    parameters: Parameters<'_>,
    out: &mut Vec<Restriction>,
) -> Result<(), SqlError> {
    let (left, right) = (peek(left, None, compiler)?, peek(right, None, compiler)?);
    let (Some(left), Some(right)) = (left, right) else {
        return Ok(());
    };
    let (column, constant, comparison) = match (left.as_column(), right.as_column()) {
        (Some(column), None) if right.is_constant() => (column, right, comparison),
        (None, Some(column)) if left.is_constant() => (column, left, comparison.mirrored()),
        _ => return Ok(()),
    };
    if comparison == Comparison::NotEqual || !schema.primary_key.contains(&column) {
        return Ok(());
    }
    let value = constant.evaluate(&[], parameters)?;
    if let Some(value) = exactly(value, &constant.pg_type, schema.columns[column].column_type, compiler)? {
        out.push(Restriction {
            column,
            comparison,
            value,
        });
    }
    Ok(())
}

/// Compiles if the evaluator knows it; what is wrong with it is said when the whole condition is compiled.
fn peek(expression: &Expr, wanted: Option<&PgType>, compiler: &mut Compiler<'_>) -> Result<Option<Compiled>, SqlError> {
    match compiler.compile(expression, wanted) {
        Ok(compiled) => Ok(Some(compiled)),
        Err(Declined::NeedsPlan) => Ok(None),
        Err(Declined::Wrong(error)) => Err(error),
    }
}

/// The constant as a value of the column's type, if comparing with it means the same.
fn exactly(value: Value, from: &PgType, to: ColumnType, compiler: &Compiler<'_>) -> Result<Option<Value>, SqlError> {
    if value.is_null() {
        return Ok(Some(Value::Null));
    }
    let style = &compiler.surroundings.style;
    let plain = match to {
        // The comparison is of text, whatever the column's limit.
        ColumnType::Varchar(_) => ColumnType::Text,
        ColumnType::Numeric { .. } => ColumnType::Numeric { precision: None },
        // Padding and json's lack of an order are the plan's business.
        ColumnType::Char(_) | ColumnType::Json | ColumnType::Jsonb => return Ok(None),
        other => other,
    };
    if *from == PgType::UNKNOWN {
        return cast::cast(value, from, plain, style).map(Some);
    }
    let string = |pg_type: &PgType| matches!(*pg_type, PgType::TEXT | PgType::VARCHAR);
    let target = pg_type(plain);
    let same_order = *from == target
        || is_integer(from) && (is_integer(&target) || target == PgType::NUMERIC)
        || string(from) && string(&target);
    if !same_order {
        return Ok(None);
    }
    // An integer out of the column's range is no key; the condition says for which rows it holds.
    Ok(cast::cast(value, from, plain, style).ok())
}

fn combine(restrictions: &[Restriction], schema: &TableSchema) -> Keys {
    if restrictions.iter().any(|restriction| restriction.value.is_null()) {
        return Keys::Nothing;
    }
    let types = schema.primary_key_types();
    let mut prefix: Vec<Value> = Vec::new();
    for column in &schema.primary_key {
        let equal =
            |restriction: &&Restriction| restriction.column == *column && restriction.comparison == Comparison::Equal;
        match restrictions.iter().find(equal) {
            Some(restriction) => prefix.push(restriction.value.clone()),
            None => break,
        }
    }
    if schema.primary_key.is_empty() {
        return Keys::ALL;
    }
    let start = encode_key_values(&types, &prefix);
    if prefix.len() == types.len() {
        return Keys::One(start);
    }
    let mut lower = if prefix.is_empty() {
        Bound::Unbounded
    } else {
        Bound::Included(start.clone())
    };
    let mut upper = match (prefix.is_empty(), prefix_end(&start)) {
        (false, Some(end)) => Bound::Excluded(end),
        _ => Bound::Unbounded,
    };
    let next = schema.primary_key[prefix.len()];
    for restriction in restrictions.iter().filter(|restriction| restriction.column == next) {
        let mut values = prefix.clone();
        values.push(restriction.value.clone());
        let at = encode_key_values(&types, &values);
        let after = prefix_end(&at).map_or(Bound::Unbounded, Bound::Excluded);
        match restriction.comparison {
            Comparison::Greater => lower = higher(lower, prefix_end(&at).map_or(Bound::Unbounded, Bound::Included)),
            Comparison::GreaterOrEqual => lower = higher(lower, Bound::Included(at)),
            Comparison::Less => upper = lower_of(upper, Bound::Excluded(at)),
            Comparison::LessOrEqual => upper = lower_of(upper, after),
            Comparison::Equal | Comparison::NotEqual => {}
        }
    }
    match (&lower, &upper) {
        (Bound::Included(from), Bound::Excluded(to)) if from >= to => Keys::Nothing,
        _ => Keys::Range(lower, upper),
    }
}

/// Lower bounds are inclusive or open here.
fn higher(a: Bound<Vec<u8>>, b: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match (a, b) {
        (Bound::Included(a), Bound::Included(b)) => Bound::Included(a.max(b)),
        (Bound::Unbounded, other) | (other, _) => other,
    }
}

/// Upper bounds are exclusive or open here.
fn lower_of(a: Bound<Vec<u8>>, b: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match (a, b) {
        (Bound::Excluded(a), Bound::Excluded(b)) => Bound::Excluded(a.min(b)),
        (Bound::Unbounded, other) | (other, _) => other,
    }
}
