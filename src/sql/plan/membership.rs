//! `IN` and `NOT IN` of a subquery in conditions, so that NULLs on either side mean what they mean in SQL.
//!
//! DataFusion makes joins of them. A semi join is right wherever all that matters is whether `IN` is true, and an anti join
//! that minds NULLs exists for `NOT IN`, but for one column beside rows that do not depend on it. Everywhere else the join
//! takes "unknown" for "false". There the question is put as several that have no third answer: whether a row equals the
//! value, whether a row is NULL, and, for a value that is NULL, whether there are rows.
//!
//! Invariant: what neither side can make unknown stays one join.
//!
//! Must not know: where the plan comes from. Select lists have been put in other words before ([`super::subquery`]).

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::{Case, Exists, InSubquery};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};

use super::error::external;
use crate::sql::SqlError;

const ITEM: &str = "\u{1}item";

/// What of a condition's answer matters where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether it is true; it is one of the conditions of a filter that must all hold.
    Whole,
    /// Whether it is true.
    Truth,
    /// Whether it is true, false or unknown.
    Exactly,
}

/// The plan with every `IN` of a filter, its subqueries' too, in words that the joins it becomes answer right.
pub fn minding_nulls(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) if has_membership(&filter.predicate)? => {
            let schema = Arc::clone(filter.input.schema());
            let predicate = rewritten(filter.predicate, Asked::Whole, &schema)?;
            let filter = Filter::try_new(predicate, filter.input)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Join(mut join) => match join.filter.take() {
            Some(condition) if has_membership(&condition)? => {
                let schema = join.left.schema().join(join.right.schema())?;
                join.filter = Some(rewritten(condition, Asked::Whole, &schema)?);
                Ok(Transformed::yes(LogicalPlan::Join(join)))
            }
            condition => {
                join.filter = condition;
                Ok(Transformed::no(LogicalPlan::Join(join)))
            }
        },
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn has_membership(expr: &Expr) -> PlanResult<bool> {
    expr.exists(|part| Ok(matches!(part, Expr::InSubquery(_))))
}

fn rewritten(expr: Expr, asked: Asked, schema: &DFSchema) -> PlanResult<Expr> {
    let part = |expr: Box<Expr>, asked| rewritten(*expr, asked, schema).map(Box::new);
    match expr {
        Expr::InSubquery(membership) => question(membership, asked, schema),
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(membership) => question(
                InSubquery {
                    negated: !membership.negated,
                    ..membership
                },
                asked,
                schema,
            ),
            inner => Ok(Expr::Not(part(Box::new(inner), Asked::Exactly)?)),
        },
        Expr::BinaryExpr(parts) if parts.op == Operator::And => links(parts, asked, schema),
        Expr::BinaryExpr(parts) if parts.op == Operator::Or => match asked {
            Asked::Whole | Asked::Truth => links(parts, Asked::Truth, schema),
            Asked::Exactly => links(parts, Asked::Exactly, schema),
        },
        Expr::IsTrue(inner) => Ok(Expr::IsTrue(part(inner, Asked::Truth)?)),
        Expr::IsNotTrue(inner) => Ok(Expr::IsNotTrue(part(inner, Asked::Truth)?)),
        Expr::Case(Case {
            expr: None,
            when_then_expr,
            else_expr,
        }) => {
            let result = match asked {
                Asked::Whole | Asked::Truth => Asked::Truth,
                Asked::Exactly => Asked::Exactly,
            };
            let branches = when_then_expr
                .into_iter()
                .map(|(when, then)| Ok((part(when, Asked::Truth)?, part(then, result)?)))
                .collect::<PlanResult<Vec<_>>>()?;
            let otherwise = else_expr.map(|otherwise| part(otherwise, result)).transpose()?;
            Ok(Expr::Case(Case::new(None, branches, otherwise)))
        }
        other => other
            .map_children(|inner| rewritten(inner, Asked::Exactly, schema).map(Transformed::yes))
            .data(),
    }
}

/// A chain of one operator, which may have thousands of links: not by recursion.
fn links(parts: BinaryExpr, asked: Asked, schema: &DFSchema) -> PlanResult<Expr> {
    let BinaryExpr { left, op, right } = parts;
    let mut links = vec![*right];
    let mut first = *left;
    while let Expr::BinaryExpr(parts) = first {
        if parts.op != op {
            first = Expr::BinaryExpr(parts);
            break;
        }
        links.push(*parts.right);
        first = *parts.left;
    }
    let first = rewritten(first, asked, schema)?;
    links.into_iter().rev().try_fold(first, |chain, link| {
        let link = rewritten(link, asked, schema)?;
        Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(chain), op, Box::new(link))))
    })
}

/// One `IN` or `NOT IN` as it is right where it stands.
fn question(membership: InSubquery, asked: Asked, schema: &DFSchema) -> PlanResult<Expr> {
    let InSubquery {
        expr: wanted,
        subquery,
        negated,
    } = membership;
    let rows = subquery.subquery.as_ref();
    let fields = rows.schema().fields().len();
    let (item_nullable, wanted_nullable) = match fields {
        1 => (rows.schema().field(0).is_nullable(), wanted.nullable(schema)?),
        // Refused when types are checked.
        _ => (false, false),
    };
    let independent = subquery.outer_ref_columns.is_empty();
    let join_will_do = !item_nullable && !wanted_nullable
        || !negated && asked != Asked::Exactly
        || negated && asked == Asked::Whole && independent && matches!(*wanted, Expr::Column(_));
    if join_will_do {
        return Ok(Expr::InSubquery(InSubquery {
            subquery: if rows.head_output_expr()?.is_none() && fields == 1 {
                let (relation, field) = rows.schema().qualified_field(0);
                let item = Expr::Column(Column::from((relation, field)));
                let named = LogicalPlanBuilder::from(rows.clone()).project(vec![item.alias(ITEM)])?;
                subquery.with_plan(Arc::new(named.build()?))
            } else {
                subquery
            },
            expr: wanted,
            negated,
        }));
    }
    let among = Among::new(&subquery, &wanted, schema)?;
    let equal = among.exists(Some(Among::item().eq(among.wanted.clone())))?;
    let mut unknown = Vec::new();
    if item_nullable {
        unknown.push(among.exists(Some(Among::item().is_null()))?);
    }
    if wanted_nullable {
        unknown.push(wanted.clone().is_null().and(among.exists(None)?));
    }
    if asked == Asked::Exactly {
        let null = Expr::Literal(ScalarValue::Boolean(None), None);
        let branches = std::iter::once((equal, lit(!negated)))
            .chain(unknown.into_iter().map(|unknown| (unknown, null.clone())))
            .map(|(when, then)| (Box::new(when), Box::new(then)))
            .collect();
        return Ok(Expr::Case(Case::new(None, branches, Some(Box::new(lit(negated))))));
    }
    // NOT IN is true where nothing is equal and nothing unknown. Apart from each other, each is a join of its own.
    let not = |expr: Expr| match expr {
        Expr::Exists(exists) => Expr::Exists(Exists {
            negated: !exists.negated,
            ..exists
        }),
        other => Expr::Not(Box::new(other)),
    };
    Ok(unknown
        .into_iter()
        .fold(not(equal), |all, unknown| all.and(not(unknown))))
}

/// The rows of a subquery under a name of their own, and the value that is looked for, as it is called inside it.
struct Among {
    rows: LogicalPlan,
    independent: bool,
    wanted: Expr,
}

impl Among {
    fn new(subquery: &Subquery, wanted: &Expr, schema: &DFSchema) -> PlanResult<Among> {
        let is_farther = |part: &Expr| {
            Ok(matches!(
                part,
                Expr::OuterReferenceColumn(..)
                    | Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
            ))
        };
        if wanted.exists(is_farther)? {
            return Err(external(SqlError::unsupported(
                "IN (SELECT ...) of a value that comes from a subquery or a query further out",
            )));
        }
        let from_outside = |part: Expr| match part {
            Expr::Column(column) => {
                let field = Arc::clone(schema.field_from_column(&column)?);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        };
        let inner = subquery.subquery.as_ref();
        let (relation, field) = inner.schema().qualified_field(0);
        let item = Expr::Column(Column::from((relation, field)));
        Ok(Among {
            rows: LogicalPlanBuilder::from(inner.clone())
                .project(vec![item.alias(ITEM)])?
                .build()?,
            independent: subquery.outer_ref_columns.is_empty(),
            wanted: wanted.clone().transform(from_outside).data()?,
        })
    }

    fn item() -> Expr {
        Expr::Column(Column::new_unqualified(ITEM))
    }

    /// Whether there is a row for which the condition holds.
    fn exists(&self, condition: Option<Expr>) -> PlanResult<Expr> {
        let depends = condition.as_ref().is_some_and(Expr::contains_outer);
        let mut rows = LogicalPlanBuilder::from(self.rows.clone());
        if let Some(condition) = condition {
            rows = rows.filter(condition)?;
        }
        // One is enough, and makes the join a small one.
        if self.independent && !depends {
            rows = rows.limit(0, Some(1))?;
        }
        let rows = rows.build()?;
        Ok(Expr::Exists(Exists {
            subquery: Subquery {
                outer_ref_columns: rows.all_out_ref_exprs(),
                subquery: Arc::new(rows),
                spans: Default::default(),
            },
            negated: false,
        }))
    }
}
