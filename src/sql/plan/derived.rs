//! Subqueries in FROM that look at the query around them, `EXISTS (SELECT ... FROM (SELECT ... WHERE inner = outer) s)`.
//!
//! What such a subquery compares with the outside becomes a condition of a join, for which its columns must still be there
//! under the subquery's alias. DataFusion takes that for granted; where they are not, it fails in its own words or panics.
//!
//! Must not know: what the plan is for.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{LogicalPlan, SubqueryAlias};

use super::error::external;
use crate::sql::SqlError;

/// 0A000 where a subquery in FROM hides a column that its own condition compares with the query around it.
pub fn check(plan: &LogicalPlan) -> PlanResult<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::SubqueryAlias(alias) = node
            && hides_compared_columns(alias)?
        {
            return Err(external(SqlError::unsupported(
                "a subquery in FROM that compares with the query around it what it does not select",
            )));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(|_| ())
}

fn hides_compared_columns(alias: &SubqueryAlias) -> PlanResult<bool> {
    let shown = alias.input.schema();
    let mut hides = false;
    alias.input.apply(|node| {
        match node {
            // LATERAL, which is taken apart by itself.
            LogicalPlan::Subquery(_) => return Ok(TreeNodeRecursion::Jump),
            LogicalPlan::Filter(filter) => {
                hides |= split_conjunction(&filter.predicate)
                    .into_iter()
                    .filter(|condition| condition.contains_outer())
                    .flat_map(|condition| condition.column_refs())
                    .any(|column| !shown.has_column(column));
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(hides)
}
