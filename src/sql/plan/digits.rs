//! How many digits behind the point a numeric shows.
//!
//! A column of a plan has one scale, PostgreSQL's numerics have one each: 1.5 and 1.50 are equal and shown differently.
//! Numerics without declared digits are therefore padded to a common scale while a query runs, and here their own digits
//! are followed beside them: from the table, through joins, conditions, groups and arithmetic, to the columns the client
//! sees. What cannot be followed (DISTINCT, UNION, functions not named here) shows no zeros at its end.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Decimal256Type, Int32Type};
use datafusion::common::Column;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as PlanResult;
use datafusion::functions::core::expr_fn::greatest;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Case, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, SubqueryAlias, TableScan, Volatility, lit,
};

use super::aggregate::SUM_ARGUMENT;
use super::cast::cast_target;
use super::scan::UserTable;
use super::udf::by_rows;
use crate::sql::PgType;
use crate::sql::text::{UNCONSTRAINED_SCALE, number, without_padding};

/// What the names of columns of digits begin with; the column whose digits they are follows.
const PREFIX: &str = "\u{1}digits:";

pub fn column_name(column: &str) -> String {
    format!("{PREFIX}{column}")
}

/// The plan with its padded numerics as the texts to be shown, where their digits are known.
pub fn shown(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let columns = plan.schema().columns();
    let mut current = plan;
    let mut known = Vec::with_capacity(columns.len());
    for column in &columns {
        let followed = follow(&current, column)?;
        known.push(followed.map(|(plan, digits)| {
            current = plan;
            digits
        }));
    }
    if known.iter().all(Option::is_none) {
        return Ok(current);
    }
    let function = Arc::new(ScalarUDF::new_from_impl(ShowDigits::new()));
    let exprs = columns.into_iter().zip(known).map(|(column, digits)| {
        let (relation, name) = (column.relation.clone(), column.name.clone());
        match digits {
            None => Expr::Column(column),
            Some(digits) => function
                .call(vec![Expr::Column(column), Expr::Column(digits)])
                .alias_qualified(relation, name),
        }
    });
    LogicalPlanBuilder::from(current)
        .project(exprs.collect::<Vec<_>>())?
        .build()
}

fn is_padded(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal256(_, scale) if *scale >= UNCONSTRAINED_SCALE)
}

/// The plan with one more column, the digits of this one; None: they are not known, or it needs none.
fn follow(plan: &LogicalPlan, column: &Column) -> PlanResult<Option<(LogicalPlan, Column)>> {
    let schema = plan.schema();
    let Some(index) = schema.maybe_index_of_column(column) else {
        return Ok(None);
    };
    if !is_padded(schema.field(index).data_type()) {
        return Ok(None);
    }
    let name = column_name(&column.flat_name());
    match plan {
        LogicalPlan::TableScan(scan) => follow_scan(scan, index),
        LogicalPlan::Projection(projection) => {
            if schema.has_column_with_unqualified_name(&name) {
                return Ok(Some((plan.clone(), Column::new_unqualified(name))));
            }
            let Some((digits, input)) = digits_of(&projection.expr[index], projection.input.as_ref().clone())? else {
                return Ok(None);
            };
            let mut exprs = projection.expr.clone();
            exprs.push(digits.alias(&name));
            let extended = Projection::try_new(exprs, Arc::new(input))?;
            Ok(Some((LogicalPlan::Projection(extended), Column::new_unqualified(name))))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = Column::from(alias.input.schema().qualified_field(index));
            let Some((input, digits)) = follow(&alias.input, &inner)? else {
                return Ok(None);
            };
            let same_name = input
                .schema()
                .fields()
                .iter()
                .filter(|field| *field.name() == digits.name);
            if same_name.count() > 1 {
                return Ok(None);
            }
            let extended = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            let digits = Column::new(Some(alias.alias.clone()), digits.name);
            Ok(Some((LogicalPlan::SubqueryAlias(extended), digits)))
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Join(_) => {
            let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
            for input in &mut inputs {
                if let Some((extended, digits)) = follow(input, column)? {
                    *input = extended;
                    let extended = plan.with_new_exprs(plan.expressions(), inputs)?;
                    return Ok(Some((extended, digits)));
                }
            }
            Ok(None)
        }
        LogicalPlan::Aggregate(aggregate) => follow_aggregate(aggregate, index),
        _ => Ok(None),
    }
}

fn follow_scan(scan: &TableScan, index: usize) -> PlanResult<Option<(LogicalPlan, Column)>> {
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = provider.downcast_ref::<UserTable>() else {
        return Ok(None);
    };
    if scan.projection.is_some() {
        return Ok(None);
    }
    let name = column_name(scan.projected_schema.field(index).name());
    let digits = Column::new(Some(scan.table_name.clone()), name);
    if scan.projected_schema.has_column(&digits) {
        return Ok(Some((LogicalPlan::TableScan(scan.clone()), digits)));
    }
    let source = provider_as_source(Arc::new(table.with_digits(index)));
    let extended = TableScanBuilder::new(scan.table_name.clone(), source)
        .with_filters(scan.filters.clone())
        .with_fetch(scan.fetch)
        .build()?;
    Ok(Some((LogicalPlan::TableScan(extended), digits)))
}

/// A group's column shows the most digits of its members, a sum those of its terms, the least and the greatest their own.
fn follow_aggregate(aggregate: &Aggregate, index: usize) -> PlanResult<Option<(LogicalPlan, Column)>> {
    if aggregate
        .group_expr
        .iter()
        .any(|expr| matches!(expr, Expr::GroupingSet(_)))
    {
        return Ok(None);
    }
    let input = aggregate.input.as_ref().clone();
    let groups = aggregate.group_expr.len();
    let most = |digits: Expr, filter| AggregateFunction::new_udf(max_udaf(), vec![digits], false, filter, vec![], None);
    let (gathered, input) = match aggregate.group_expr.get(index) {
        Some(group) => match digits_of(group, input)? {
            Some((digits, input)) => (most(digits, None), input),
            None => return Ok(None),
        },
        None => {
            let Some(Expr::AggregateFunction(function)) = aggregate.aggr_expr.get(index - groups) else {
                return Ok(None);
            };
            let [argument] = function.params.args.as_slice() else {
                return Ok(None);
            };
            let filter = function.params.filter.clone();
            let (argument, ascending) = match (function.func.name(), argument) {
                ("sum", Expr::ScalarFunction(wrapped)) if wrapped.name() == SUM_ARGUMENT => (&wrapped.args[0], None),
                ("min", argument) => (argument, Some(true)),
                ("max", argument) => (argument, Some(false)),
                _ => return Ok(None),
            };
            let Some((digits, input)) = digits_of(argument, input)? else {
                return Ok(None);
            };
            let gathered = match ascending {
                None => most(digits, filter),
                Some(ascending) => {
                    let order = vec![Sort::new(argument.clone(), ascending, false)];
                    AggregateFunction::new_udf(first_value_udaf(), vec![digits], false, filter, order, None)
                }
            };
            (gathered, input)
        }
    };
    let gathered = Expr::AggregateFunction(gathered);
    let name = Column::new_unqualified(gathered.schema_name().to_string());
    let mut exprs = aggregate.aggr_expr.clone();
    if !exprs.contains(&gathered) {
        exprs.push(gathered);
    }
    let extended = Aggregate::try_new(Arc::new(input), aggregate.group_expr.clone(), exprs)?;
    Ok(Some((LogicalPlan::Aggregate(extended), name)))
}

/// The digits of an expression over a plan, and the plan with the columns they are made of; None: they are not known.
fn digits_of(expr: &Expr, input: LogicalPlan) -> PlanResult<Option<(Expr, LogicalPlan)>> {
    match expr.get_type(input.schema())? {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => return Ok(Some((lit(0i32), input))),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if scale < UNCONSTRAINED_SCALE => {
            return Ok(Some((lit(i32::from(scale)), input)));
        }
        DataType::Decimal256(..) => {}
        _ => return Ok(None),
    }
    match expr {
        Expr::Column(column) => {
            let followed = follow(&input, column)?;
            Ok(followed.map(|(input, digits)| (Expr::Column(digits), input)))
        }
        Expr::Alias(alias) => digits_of(&alias.expr, input),
        Expr::Negative(inner) => digits_of(inner, input),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let Some((a, input)) = digits_of(left, input)? else {
                return Ok(None);
            };
            let Some((b, input)) = digits_of(right, input)? else {
                return Ok(None);
            };
            let digits = match op {
                Operator::Plus | Operator::Minus | Operator::Modulo => greatest(vec![a, b]),
                Operator::Multiply => a + b,
                _ => return Ok(None),
            };
            Ok(Some((digits, input)))
        }
        Expr::ScalarFunction(function) => match function.name() {
            "abs" => digits_of(&function.args[0], input),
            "coalesce" => {
                let mut input = input;
                let mut cases = Vec::new();
                for argument in &function.args {
                    let Some((digits, extended)) = digits_of(argument, input)? else {
                        return Ok(None);
                    };
                    cases.push((Box::new(argument.clone().is_not_null()), Box::new(digits)));
                    input = extended;
                }
                Ok(Some((Expr::Case(Case::new(None, cases, None)), input)))
            }
            name if cast_target(name) == Some((PgType::NUMERIC, -1)) => digits_of(&function.args[0], input),
            _ => Ok(None),
        },
        Expr::Case(case) if case.expr.is_none() => {
            let mut input = input;
            let mut cases = Vec::new();
            for (when, then) in &case.when_then_expr {
                let Some((digits, extended)) = digits_of(then, input)? else {
                    return Ok(None);
                };
                cases.push((when.clone(), Box::new(digits)));
                input = extended;
            }
            let otherwise = match &case.else_expr {
                None => None,
                Some(otherwise) => match digits_of(otherwise, input)? {
                    Some((digits, extended)) => {
                        input = extended;
                        Some(Box::new(digits))
                    }
                    None => return Ok(None),
                },
            };
            Ok(Some((Expr::Case(Case::new(None, cases, otherwise)), input)))
        }
        _ => Ok(None),
    }
}

/// A padded numeric and its digits as the text to be shown.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ShowDigits {
    signature: Signature,
}

impl ShowDigits {
    fn new() -> ShowDigits {
        ShowDigits {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ShowDigits {
    fn name(&self) -> &str {
        "\u{1}show_digits"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        by_rows(&args, |rows| {
            let (values, digits) = (args.args[0].to_array(rows)?, args.args[1].to_array(rows)?);
            let DataType::Decimal256(_, scale) = *values.data_type() else {
                return datafusion::common::internal_err!(
                    "digits are shown of numerics, not of {}",
                    values.data_type()
                );
            };
            let (values, digits) = (
                values.as_primitive::<Decimal256Type>(),
                digits.as_primitive::<Int32Type>(),
            );
            let texts = (0..rows).map(|row| {
                values.is_valid(row).then(|| {
                    let least = if digits.is_valid(row) { digits.value(row) } else { 0 };
                    let (unscaled, scale) = without_padding(values.value(row), i32::from(scale), least);
                    let mut text = String::new();
                    number::write_decimal(&mut text, &unscaled.to_string(), scale)
                        .expect("writing to a String does not fail");
                    text
                })
            });
            Ok(Arc::new(texts.collect::<StringArray>()))
        })
    }
}
