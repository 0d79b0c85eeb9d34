//! The two zeros of floats, which are one number for PostgreSQL and two for the kernels that order bit patterns.
//!
//! DataFusion compares, joins and groups by one zero. Here the same is done where it does not: to sort, in windows, in long
//! lists, and for aggregates of distinct or ordered values. What is shown keeps the sign of its zero, except in groups, where
//! one number stands for all that are equal.
//!
//! Must not know: where floats come from.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::{InList, Sort};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::udf::by_rows;

/// An optimised plan in which no float is told from another by the sign of its zero.
pub fn with_one_zero(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| node(plan).map(Transformed::yes))
        .data()
}

fn node(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            let schema = Arc::clone(sort.input.schema());
            for by in &mut sort.expr {
                by.expr = compared(within(std::mem::take(&mut by.expr), &schema)?, &schema)?;
            }
            Ok(LogicalPlan::Sort(sort))
        }
        LogicalPlan::Join(mut join) => {
            if let Some(condition) = join.filter.take() {
                let has_list = condition.exists(|part| Ok(matches!(part, Expr::InList(_))))?;
                join.filter = Some(if has_list {
                    within(condition, &join.left.schema().join(join.right.schema())?)?
                } else {
                    condition
                });
            }
            Ok(LogicalPlan::Join(join))
        }
        // Of a scan, the conditions say which keys are read: their bytes know one zero.
        other => {
            let schema = match other.inputs().as_slice() {
                [input] => Arc::clone(input.schema()),
                _ => return Ok(other),
            };
            let names = NamePreserver::new(&other);
            let renewed = other.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(Transformed::yes(name.restore(within(expr, &schema)?)))
            });
            renewed.data()
        }
    }
}

/// The expression with everything in it that DataFusion would compare bit by bit made one zero.
fn within(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    let all =
        |exprs: Vec<Expr>| -> PlanResult<Vec<Expr>> { exprs.into_iter().map(|expr| compared(expr, schema)).collect() };
    let sorted = |order: Vec<Sort>| -> PlanResult<Vec<Sort>> {
        order
            .into_iter()
            .map(|by| Ok(Sort::new(compared(by.expr, schema)?, by.asc, by.nulls_first)))
            .collect()
    };
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::InList(InList { expr, list, negated }) if !list.iter().all(is_usual) => {
                let wanted = Box::new(compared(*expr, schema)?);
                Transformed::yes(Expr::InList(InList::new(wanted, all(list)?, negated)))
            }
            Expr::WindowFunction(mut function) => {
                let params = &mut function.params;
                params.partition_by = all(std::mem::take(&mut params.partition_by))?;
                params.order_by = sorted(std::mem::take(&mut params.order_by))?;
                Transformed::yes(Expr::WindowFunction(function))
            }
            Expr::AggregateFunction(mut function) => {
                let params = &mut function.params;
                params.order_by = sorted(std::mem::take(&mut params.order_by))?;
                if params.distinct {
                    params.args = all(std::mem::take(&mut params.args))?;
                }
                Transformed::yes(Expr::AggregateFunction(function))
            }
            other => Transformed::no(other),
        })
    })
    .data()
}

/// A constant beside which the sign of a zero makes no difference.
fn is_usual(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => *value != 0.0,
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => *value != 0.0,
        Expr::Literal(..) => true,
        _ => false,
    }
}

/// What to compare by: of a float, the number.
fn compared(expr: Expr, schema: &DFSchema) -> PlanResult<Expr> {
    Ok(match expr.get_type(schema)? {
        DataType::Float32 | DataType::Float64 => {
            let function = ScalarUDF::new_from_impl(OneZero {
                signature: Signature::any(1, Volatility::Immutable),
            });
            function.call(vec![expr])
        }
        _ => expr,
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OneZero {
    signature: Signature,
}

impl ScalarUDFImpl for OneZero {
    fn name(&self) -> &str {
        "\u{1}one_zero"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        by_rows(&args, |rows| {
            let array = args.args[0].to_array(rows)?;
            Ok(match array.data_type() {
                DataType::Float32 => {
                    let one = |value: f32| value + 0.0;
                    Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(one)) as ArrayRef
                }
                DataType::Float64 => {
                    let one = |value: f64| value + 0.0;
                    Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
                }
                other => return datafusion::common::internal_err!("{other} has no zero with a sign"),
            })
        })
    }
}
