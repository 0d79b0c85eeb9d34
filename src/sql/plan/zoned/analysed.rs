//! What DataFusion would compute in UTC by itself: found once a plan is analysed, and done in the zone or refused.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::{Case, Cast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Union,
};

use super::super::arrow;
use super::super::cast::cast_expr;
use super::super::error::external;
use super::is_moment;
use crate::sql::text::Style;
use crate::sql::text::zone::Zone;
use crate::sql::{PgType, SqlError};

/// An analysed plan in which nothing is computed in UTC that the session's zone decides: casts that DataFusion put in, to
/// bring operands together, become ours.
pub fn in_zone(plan: LogicalPlan, style: &Style) -> PlanResult<LogicalPlan> {
    if style.zone == Zone::UTC {
        return Ok(plan);
    }
    let changed = plan.transform_up_with_subqueries(|plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            let source = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
            schema.merge(&source);
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| expr_in_zone(expr, &schema, style))?;
            Ok(if changed.transformed {
                changed.update_data(|expr| name.restore(expr))
            } else {
                changed
            })
        })?
        .map_data(|plan| plan.recompute_schema())
    })?;
    Ok(changed.data)
}

fn expr_in_zone(expr: Expr, schema: &DFSchema, style: &Style) -> PlanResult<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            let wanted = field.data_type().clone();
            let told_by_zone = |data_type: &DataType| {
                matches!(
                    data_type,
                    DataType::Timestamp(_, None)
                        | DataType::Date32
                        | DataType::Time64(_)
                        | DataType::Utf8
                        | DataType::LargeUtf8
                        | DataType::Utf8View
                )
            };
            let crosses = (is_moment(&wanted) || told_by_zone(&wanted)) && {
                let given = inner.get_type(schema)?;
                is_moment(&given) != is_moment(&wanted) && (is_moment(&given) || told_by_zone(&given))
            };
            if !crosses {
                return Ok(Transformed::no(Expr::Cast(Cast { expr: inner, field })));
            }
            let (pg_type, typmod) = arrow::pg_type_of(&field);
            let converted = cast_expr(*inner, &pg_type, typmod, *style)?;
            // Units finer or coarser than ours, and views, are DataFusion's own business.
            let converted = converted.cast_to(&wanted, schema)?;
            Ok(Transformed::yes(converted))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// An interval whose length depends on the calendar; also one that is not told.
fn is_calendar(size: &ScalarValue) -> bool {
    match size {
        ScalarValue::IntervalMonthDayNano(Some(size)) => size.months != 0 || size.days != 0,
        size => !size.is_null(),
    }
}

/// A plan in which the branches of a CASE and of a UNION that give moments, dates and what a clock shows all give moments,
/// as in PostgreSQL; DataFusion would settle on what a clock shows in UTC.
pub fn with_common_types(plan: LogicalPlan, style: &Style) -> PlanResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|plan| {
        if let LogicalPlan::Union(union) = plan {
            return union_of_moments(union, style);
        }
        let names = NamePreserver::new(&plan);
        let schema = merge_schema(&plan.inputs());
        let changed = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| match expr {
                Expr::Case(case) => case_of_moments(case, &schema, style),
                other => Ok(Transformed::no(other)),
            })?;
            Ok(if changed.transformed {
                changed.update_data(|expr| name.restore(expr))
            } else {
                changed
            })
        })?;
        // Also where nothing changed but what stands below.
        changed.map_data(|plan| plan.recompute_schema())
    })?;
    Ok(changed.data)
}

fn becomes_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, None) | DataType::Date32)
}

fn case_of_moments(mut case: Case, schema: &DFSchema, style: &Style) -> PlanResult<Transformed<Expr>> {
    let results = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
    let mut results: Vec<&mut Expr> = results.chain(case.else_expr.as_deref_mut()).collect();
    // What has no type here is for the analyser to complain of.
    let types = results
        .iter()
        .map(|result| result.get_type(schema).unwrap_or(DataType::Null));
    let types: Vec<DataType> = types.collect();
    let mixed = types.iter().any(is_moment) && types.iter().any(becomes_moment);
    if mixed {
        for (result, data_type) in results.iter_mut().zip(&types) {
            if becomes_moment(data_type) {
                let taken = std::mem::replace(*result, Expr::Literal(ScalarValue::Null, None));
                **result = cast_expr(taken, &PgType::TIMESTAMPTZ, -1, *style)?;
            }
        }
    }
    let case = Expr::Case(case);
    Ok(if mixed {
        Transformed::yes(case)
    } else {
        Transformed::no(case)
    })
}

fn union_of_moments(mut union: Union, style: &Style) -> PlanResult<Transformed<LogicalPlan>> {
    let inputs = union.inputs.clone();
    let type_of =
        |input: &LogicalPlan, column: usize| input.schema().fields().get(column).map(|f| f.data_type().clone());
    let mixed: Vec<usize> = (0..union.schema.fields().len())
        .filter(|column| {
            let types: Vec<DataType> = inputs.iter().filter_map(|input| type_of(input, *column)).collect();
            types.iter().any(is_moment) && types.iter().any(becomes_moment)
        })
        .collect();
    if mixed.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    for input in &mut union.inputs {
        let columns = input.schema().columns().into_iter().enumerate().map(|(at, column)| {
            let convert = mixed.contains(&at) && type_of(input, at).as_ref().is_some_and(becomes_moment);
            let (relation, name) = (column.relation.clone(), column.name.clone());
            let expr = Expr::Column(column);
            Ok(if convert {
                cast_expr(expr, &PgType::TIMESTAMPTZ, -1, *style)?.alias_qualified(relation, name)
            } else {
                expr
            })
        });
        let columns = columns.collect::<PlanResult<Vec<Expr>>>()?;
        *input = Arc::new(
            LogicalPlanBuilder::from(input.as_ref().clone())
                .project(columns)?
                .build()?,
        );
    }
    let union = Union::try_new_with_loose_types(union.inputs)?;
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

/// `generate_series` as an expression.
#[derive(Debug)]
pub struct Series {
    inner: Arc<ScalarUDF>,
    zone: Zone,
}

impl Series {
    pub fn new(inner: Arc<ScalarUDF>, zone: Zone) -> Series {
        Series { inner, zone }
    }
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone
    }
}
impl Eq for Series {}
impl Hash for Series {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let constant = |at: usize| match args.args.get(at) {
            Some(ColumnarValue::Scalar(value)) => Some(value.clone()),
            _ => None,
        };
        let by_calendar = constant(2).is_none_or(|step| is_calendar(&step));
        if is_moment(&args.args[0].data_type()) && self.zone != Zone::UTC && by_calendar {
            let what = "generate_series of timestamp with time zone by days or months";
            return Err(external(
                SqlError::unsupported(format_args!("{what} in a session whose time zone is not UTC"))
                    .hint("SET timezone = 'UTC' computes it in UTC."),
            ));
        }
        self.inner.invoke_with_args(args)
    }
}
