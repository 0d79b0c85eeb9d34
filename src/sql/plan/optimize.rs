//! A logical plan as DataFusion's rules leave it.
//!
//! Invariant: how often the rules are gone through changes how long planning takes, never what a plan means.
//!
//! Must not know: where the plan comes from, what runs it.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::alias::AliasGenerator;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::OptimizerConfig;

use super::derived;
use super::interrupt::Interrupt;
use super::membership::minding_nulls;
use super::zero::with_one_zero;
use super::zoned::in_zone;
use crate::sql::text::Style;

/// The plan as the session's analyser and optimiser leave it.
pub fn optimized(
    state: &SessionState,
    plan: LogicalPlan,
    style: &Style,
    interrupt: &Interrupt,
) -> PlanResult<LogicalPlan> {
    let mut options = options(state, interrupt);
    if is_flat(&plan)? {
        options.optimizer.max_passes = 1;
    }
    let options = Arc::new(options);
    interrupt.check()?;
    derived::check(&plan)?;
    let plan = minding_nulls(plan)?;
    let analyzed = state.analyzer().execute_and_check(plan, &options, |_, _| {})?;
    let analyzed = in_zone(analyzed, style)?;
    interrupt.check()?;
    let statement = Statement { state, options };
    let optimized = state.optimizer().optimize(analyzed, &statement, |_, _| {})?;
    with_one_zero(optimized)
}

/// A plan with the columns of this one that says their types: those of CASE, UNION and calls are settled by the analyser.
/// Not to be run.
pub fn typed<'a>(
    state: &SessionState,
    plan: &'a LogicalPlan,
    interrupt: &Interrupt,
) -> PlanResult<Cow<'a, LogicalPlan>> {
    if !is_settled_late(plan)? {
        return Ok(Cow::Borrowed(plan));
    }
    interrupt.check()?;
    let options = Arc::new(options(state, interrupt));
    let analyzed = state.analyzer().execute_and_check(plan.clone(), &options, |_, _| {})?;
    Ok(Cow::Owned(analyzed))
}

fn is_settled_late(plan: &LogicalPlan) -> PlanResult<bool> {
    plan.exists(|node| {
        let mut late = matches!(
            node,
            LogicalPlan::Union(_) | LogicalPlan::RecursiveQuery(_) | LogicalPlan::Values(_)
        );
        node.apply_expressions(|expr| {
            late |= expr.exists(|expr| {
                Ok(matches!(
                    expr,
                    Expr::Case(_) | Expr::ScalarFunction(_) | Expr::ScalarSubquery(_)
                ))
            })?;
            Ok(if late {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        })?;
        Ok(late)
    })
}

fn options(state: &SessionState, interrupt: &Interrupt) -> ConfigOptions {
    let mut options = state.config_options().as_ref().clone();
    options.extensions.insert(interrupt.clone());
    options
}

/// Whether the plan is a query of one relation, for which the rules have nothing left to do after one pass: what needs
/// another are joins, subqueries that became joins, and aggregates of distinct values, which become two.
fn is_flat(plan: &LogicalPlan) -> PlanResult<bool> {
    let mut flat = true;
    plan.apply(|node| {
        flat &= matches!(
            node,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::Limit(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::TableScan(_)
                | LogicalPlan::Values(_)
                | LogicalPlan::EmptyRelation(_)
        ) || matches!(node, LogicalPlan::Aggregate(aggregate) if !aggregate.aggr_expr.iter().any(is_of_distinct));
        node.apply_subqueries(|_| {
            flat = false;
            Ok(TreeNodeRecursion::Stop)
        })?;
        Ok(if flat {
            TreeNodeRecursion::Continue
        } else {
            TreeNodeRecursion::Stop
        })
    })?;
    Ok(flat)
}

fn is_of_distinct(expr: &Expr) -> bool {
    let of_distinct = |expr: &Expr| Ok(matches!(expr, Expr::AggregateFunction(function) if function.params.distinct));
    expr.exists(of_distinct).unwrap_or(true)
}

/// The session's configuration with the statement's own options.
struct Statement<'a> {
    state: &'a SessionState,
    options: Arc<ConfigOptions>,
}

impl OptimizerConfig for Statement<'_> {
    fn query_execution_start_time(&self) -> Option<DateTime<Utc>> {
        self.state.query_execution_start_time()
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        self.state.alias_generator()
    }

    fn options(&self) -> Arc<ConfigOptions> {
        Arc::clone(&self.options)
    }

    fn function_registry(&self) -> Option<&dyn FunctionRegistry> {
        self.state.function_registry()
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use async_trait::async_trait;
    use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::catalog::{Session, TableProvider};
    use datafusion::datasource::TableType;
    use datafusion::logical_expr::TableProviderFilterPushDown;
    use datafusion::physical_plan::ExecutionPlan;
    use datafusion::prelude::SessionContext;

    use super::super::{QueryMemory, session_state};
    use super::*;

    /// A table that wants to be told conditions, as ours does, and holds nothing.
    #[derive(Debug)]
    struct Narrowed(SchemaRef);

    #[async_trait]
    impl TableProvider for Narrowed {
        fn schema(&self) -> SchemaRef {
            Arc::clone(&self.0)
        }

        fn table_type(&self) -> TableType {
            TableType::Base
        }

        fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
            Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
        }

        async fn scan(
            &self,
            _: &dyn Session,
            _: Option<&Vec<usize>>,
            _: &[Expr],
            _: Option<usize>,
        ) -> PlanResult<Arc<dyn ExecutionPlan>> {
            datafusion::common::internal_err!("nobody runs these plans")
        }
    }

    /// Queries of one relation and, at the end, others.
    const QUERIES: &[(&str, bool)] = &[
        ("SELECT count(*), sum(balance) FROM t", true),
        ("SELECT * FROM t WHERE id = 3 AND 1 = 1", true),
        (
            "SELECT id + 1, upper(name) FROM t WHERE balance > 2 * 3 OR false ORDER BY 2, 1 LIMIT 5 OFFSET 2",
            true,
        ),
        (
            "SELECT name, avg(balance) AS a FROM t WHERE name LIKE 'a%' GROUP BY name HAVING count(*) > 1 ORDER BY a",
            true,
        ),
        (
            "SELECT x.id FROM (SELECT id, balance AS b FROM t WHERE id > 1) x WHERE x.b BETWEEN 1 AND 3 LIMIT 0",
            true,
        ),
        (
            "SELECT count(*) FROM (SELECT name, sum(id + id) AS s FROM t GROUP BY name) x WHERE name = 'a' AND s > 1",
            true,
        ),
        (
            "SELECT coalesce(name, 'none'), id + id AS a, id + id AS b FROM t WHERE NOT (id IS NULL OR balance <> 1)",
            true,
        ),
        (
            "SELECT * FROM (SELECT * FROM (SELECT id AS k, name FROM t) x WHERE k > 1) y WHERE k < 5 AND name = 'a'",
            true,
        ),
        ("SELECT 1 + 1 FROM t WHERE 1 = 2", true),
        ("VALUES (1, 2), (3, 4)", true),
        (
            "SELECT count(DISTINCT name) FROM t WHERE id > 3 AND id < 9 HAVING count(DISTINCT name) > 1",
            false,
        ),
        ("SELECT DISTINCT name FROM t", false),
        ("SELECT * FROM t a JOIN t b ON a.id = b.balance", false),
        ("SELECT * FROM t WHERE id IN (SELECT balance FROM t)", false),
        ("SELECT (SELECT max(id) FROM t), id FROM t", false),
        ("SELECT id FROM t UNION SELECT balance FROM t", false),
    ];

    /// If this fails, a query of one table reads all of it though its condition names a key.
    #[tokio::test]
    async fn one_pass_leaves_nothing_to_do_for_a_query_of_one_relation() {
        let state = session_state(&QueryMemory::new(1 << 20)).unwrap();
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("balance", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]));
        let table: Arc<dyn TableProvider> = Arc::new(Narrowed(schema));
        let passes = |plan: &LogicalPlan, passes: usize| {
            let mut options = state.config_options().as_ref().clone();
            options.optimizer.max_passes = passes;
            let options = Arc::new(options);
            let plan = state
                .analyzer()
                .execute_and_check(plan.clone(), &options, |_, _| {})
                .unwrap();
            let config = Statement { state: &state, options };
            state.optimizer().optimize(plan, &config, |_, _| {}).unwrap()
        };
        // Names that the optimiser makes are numbered through all plans.
        let shown = |plan: LogicalPlan| {
            let text = plan.display_indent().to_string();
            text.replace(|c: char| c.is_ascii_digit(), "")
        };
        for (sql, flat) in QUERIES {
            let plan = planned(&table, sql).await;
            assert_eq!(is_flat(&plan).unwrap(), *flat, "{sql}");
            if *flat {
                assert_eq!(shown(passes(&plan, 1)), shown(passes(&plan, 8)), "{sql}");
            }
        }
        let narrowed = planned(&table, "SELECT name FROM t WHERE id = 3").await;
        let narrowed = shown(passes(&narrowed, 1));
        assert!(narrowed.contains("partial_filters=[t.id = Int()]"), "{narrowed}");
    }

    /// As DataFusion reads it.
    async fn planned(table: &Arc<dyn TableProvider>, sql: &str) -> LogicalPlan {
        let context = SessionContext::new();
        context.register_table("t", Arc::clone(table)).unwrap();
        context.state().create_logical_plan(sql).await.unwrap()
    }
}
