//! Everything that needs a plan: queries through DataFusion over a transaction's snapshot.
//!
//! A statement goes through five steps. Its text is put into words DataFusion knows ([`rewrite`], [`names`]); names are
//! resolved and operators typed as PostgreSQL does ([`provider`], [`operators`]); DataFusion optimises the logical plan and
//! makes a physical one over our scans ([`scan`]); the plan runs inside `runtime::compute`, one batch at a time; errors
//! become PostgreSQL's ([`error`]).
//!
//! Invariants
//! - One partition, no spilling, no state between statements, and a bound on memory ([`QueryMemory`]): the same snapshot and text give the same rows in the same
//!   order.
//! - What a user can do wrong never surfaces as an internal error, and never in DataFusion's words.
//!
//! Must not know: the wire, how sessions and transactions are kept.

mod aggregate;
mod arithmetic;
pub(in crate::sql) mod arrow;
mod cast;
mod concatenation;
mod constant;
mod derived;
mod digits;
mod error;
mod frame;
mod functions;
mod gathered;
mod interrupt;
pub(in crate::sql) mod interval;
mod math;
mod membership;
mod memory;
mod moment;
mod names;
mod operators;
mod optimize;
mod provider;
mod refuse;
mod rewrite;
pub(in crate::sql) mod row_function;
mod scan;
mod similar;
mod special;
mod strings;
mod subquery;
mod sum;
mod syntax;
mod table_scan;
mod udf;
mod yielding;
mod zero;
mod zoned;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::TableReference;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::{AggregateUDF, Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement};
use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
use futures::StreamExt;

use super::catalog::{Catalog, is_always_empty};
use super::error::{SqlError, SqlErrorKind};
use super::result::{FieldInfo, PgType, RowBatch, RowStream};
use super::settings::Settings;
use super::text::Cell;
use super::types;
use crate::engine::{Engine, Transaction};
use crate::runtime::{self, WallTime};
use crate::version::Value;
use error::from_datafusion;
use provider::Names;
use rewrite::Rewriter;

pub use interrupt::Interrupt;
pub use memory::QueryMemory;
pub use rewrite::{refuse_waiting, resolve_type};

/// Name of the extra last column (bytea) that every user table of a query shows when [`PlanContext::expose_row_key`] is
/// set: the row's key in its table, by which UPDATE and DELETE find the row again.
pub const ROW_KEY_COLUMN: &str = "\u{1}row_key";

/// What a query may look at. Cheap to clone; everything in it is fixed for the statement.
#[derive(Clone)]
pub struct PlanContext {
    pub engine: Engine,
    /// The snapshot with the session's own edits, shared with the session, which copies it before it edits again. None in
    /// the virtual database `dolt_cluster`.
    pub transaction: Option<Arc<Transaction>>,
    pub settings: Arc<Settings>,
    pub planner: Planner,
    pub database: String,
    pub user: String,
    /// What `pg_backend_pid()` says.
    pub pid: i32,
    pub client_address: Option<String>,
    /// `now()`: when the transaction began.
    pub transaction_time: WallTime,
    /// `statement_timestamp()`.
    pub statement_time: WallTime,
    /// What stops the statement while it is planned; a running query is dropped.
    pub interrupt: Interrupt,
    /// User tables have the extra column [`ROW_KEY_COLUMN`], last, not part of `*`'s promise to users.
    pub expose_row_key: bool,
}

/// What planning needs and no statement changes: DataFusion's functions, rules and options. Made on first use, because many
/// sessions never plan anything; cheap to clone.
#[derive(Clone)]
pub struct Planner {
    memory: QueryMemory,
    prepared: Arc<OnceLock<Prepared>>,
}

/// DataFusion's state, and what running plans take from it: copying that takes longer than many a plan.
struct Prepared {
    state: SessionState,
    task: Arc<TaskContext>,
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Planner")
    }
}

impl Planner {
    pub fn new(memory: QueryMemory) -> Planner {
        Planner {
            memory,
            prepared: Arc::default(),
        }
    }

    fn prepared(&self) -> Result<&Prepared, SqlError> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let state = session_state(&self.memory)?;
        let task = state.task_ctx();
        Ok(self.prepared.get_or_init(|| Prepared { state, task }))
    }

    fn state(&self) -> Result<&SessionState, SqlError> {
        Ok(&self.prepared()?.state)
    }
}

fn session_state(memory: &QueryMemory) -> Result<SessionState, SqlError> {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(table_scan::BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some("UTC".to_string());
    options.execution.collect_statistics = false;
    // Not as many as the machine has processors: plans are made alike everywhere.
    options.execution.planning_concurrency = 1;
    let no_spilling = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_disk_manager_builder(no_spilling)
        .with_memory_pool(memory.pool())
        .build_arc()
        .map_err(from_datafusion)?;
    let mut state = SessionStateBuilder::new()
        // Without one, a random one would be drawn.
        .with_session_id("planner".to_string())
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rules(interrupt::interruptible(&Optimizer::new().rules))
        .build();
    let single = Arc::new(AggregateUDF::new_from_impl(special::SingleValue::new()));
    datafusion::execution::FunctionRegistry::register_udaf(&mut state, single).map_err(from_datafusion)?;
    Ok(state)
}

/// What is known of a statement before its parameters are.
#[derive(Clone, Debug)]
pub struct Description {
    pub params: Vec<PgType>,
    pub fields: Vec<FieldInfo>,
}

/// Runs a query (SELECT, VALUES, WITH, EXPLAIN) and gives its rows. `params[i]` has the type `param_types[i]`.
pub async fn query(
    context: &PlanContext,
    statement: &Statement,
    params: &[Value],
    param_types: &[PgType],
) -> Result<RowStream, SqlError> {
    let catalog = Catalog::new(context.clone());
    let prepared = context.planner.prepared()?;
    let state = &prepared.state;
    if let Statement::Explain { statement, analyze, .. } = statement {
        if *analyze {
            return Err(SqlError::unsupported("EXPLAIN ANALYZE"));
        }
        return explain(&catalog, state, statement, params, param_types).await;
    }
    let known = param_types.iter().cloned().map(Some).collect();
    let (plan, _) = logical_plan(&catalog, state, statement, known, Some(params))?;
    let fields = fields_of(state, &plan, context)?;
    let plan = with_shown_names(&catalog, plan)?;
    let plan = digits::shown(plan).map_err(from_datafusion)?;
    let stream = runtime::compute(start(context, prepared, plan)).await?;
    let batches = futures::stream::unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        match runtime::compute(stream.next()).await? {
            Ok(batch) => Some((Ok(RowBatch::Arrow(batch)), Some(stream))),
            Err(error) => Some((Err(from_datafusion(error)), None)),
        }
    });
    Ok(RowStream {
        fields: fields.into(),
        batches: Box::pin(batches),
    })
}

async fn start(
    context: &PlanContext,
    prepared: &Prepared,
    plan: LogicalPlan,
) -> Result<SendableRecordBatchStream, SqlError> {
    let state = &prepared.state;
    let plan =
        optimize::optimized(state, plan, &context.settings.style(), &context.interrupt).map_err(from_datafusion)?;
    let smaller = with_smaller_batches(state, &plan, &context.planner.memory)?;
    let much_work = smaller.is_some();
    let (state, task) = match smaller.as_deref() {
        Some(smaller) => (smaller, smaller.task_ctx()),
        None => (state, Arc::clone(&prepared.task)),
    };
    let physical = physical_plan(state, &plan).await?;
    let physical = yielding::yielding(physical, much_work).map_err(from_datafusion)?;
    execute_stream(physical, task).map_err(from_datafusion)
}

/// The session's state for a plan whose batches must not have as many rows as others. Apart from the future that runs the
/// plan, which would be the larger for it.
fn with_smaller_batches(
    state: &SessionState,
    plan: &LogicalPlan,
    memory: &QueryMemory,
) -> Result<Option<Box<SessionState>>, SqlError> {
    let rows = strings::batch_rows(plan, memory).map_err(from_datafusion)?;
    Ok((rows < state.config().batch_size()).then(|| {
        let mut smaller = Box::new(state.clone());
        *smaller.config_mut() = state.config().clone().with_batch_size(rows);
        smaller
    }))
}

/// Of a plan that is optimised already.
async fn physical_plan(state: &SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
    let physical = state.query_planner().create_physical_plan(plan, state).await;
    physical
        .and_then(table_scan::skipping_by_count)
        .map_err(from_datafusion)
}

/// Types of a query's parameters and columns. `known[i]` is what the client said of parameter `i + 1`.
pub async fn describe(
    context: &PlanContext,
    statement: &Statement,
    known: &[Option<PgType>],
) -> Result<Description, SqlError> {
    let catalog = Catalog::new(context.clone());
    let state = context.planner.state()?;
    if let Statement::Explain { statement, .. } = statement {
        let (_, params) = logical_plan(&catalog, state, statement, known.to_vec(), None)?;
        return Ok(Description {
            params,
            fields: vec![FieldInfo::new("QUERY PLAN", PgType::TEXT)],
        });
    }
    let (mut plan, params) = logical_plan(&catalog, state, statement, known.to_vec(), None)?;
    if !params.is_empty() {
        // Once more, now that the type of each parameter is known.
        let known = params.iter().cloned().map(Some).collect();
        (plan, _) = logical_plan(&catalog, state, statement, known, None)?;
    }
    Ok(Description {
        params,
        fields: fields_of(state, &plan, context)?,
    })
}

/// Values and types of expressions without columns: defaults, arguments, what the point evaluator does not know.
pub async fn evaluate(
    context: &PlanContext,
    expressions: &[Expr],
    params: &[Value],
    param_types: &[PgType],
) -> Result<Vec<(Value, PgType)>, SqlError> {
    if expressions.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, "SELECT 1")
        .ok()
        .and_then(|mut statements| statements.pop())
        .ok_or_else(|| SqlError::internal("the text of our own query parses"))?;
    if let Statement::Query(query) = &mut statement
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        select.projection = expressions.iter().cloned().map(SelectItem::UnnamedExpr).collect();
    }
    one_row(context, &statement, params, param_types).await
}

/// Values and types of the only row of a query.
pub async fn one_row(
    context: &PlanContext,
    statement: &Statement,
    params: &[Value],
    param_types: &[PgType],
) -> Result<Vec<(Value, PgType)>, SqlError> {
    let mut rows = self::query(context, statement, params, param_types).await?;
    let mut found = Vec::new();
    while let Some(batch) = rows.batches.next().await {
        found.extend(values_of(&rows.fields, batch?)?);
    }
    let row = found
        .pop()
        .ok_or_else(|| SqlError::internal("a query of one row gives one row"))?;
    Ok(row
        .into_iter()
        .zip(rows.fields.iter().map(|field| field.pg_type.clone()))
        .collect())
}

/// The rows of a batch as values, each of the type its field says.
pub fn values_of(fields: &[FieldInfo], batch: RowBatch) -> Result<Vec<Vec<Value>>, SqlError> {
    let batch = match batch {
        RowBatch::Values(rows) => return Ok(rows),
        RowBatch::Arrow(batch) => batch,
    };
    (0..batch.num_rows())
        .map(|row| {
            let cells = fields.iter().zip(batch.columns());
            cells
                .map(|(field, column)| arrow::value_of_cell(&Cell::of_array(column, row)?, &field.pg_type))
                .collect()
        })
        .collect()
}

/// The statement as a logical plan, and the types of its parameters: `known`, or what the statement says of them.
fn logical_plan(
    catalog: &Arc<Catalog>,
    state: &SessionState,
    statement: &Statement,
    known: Vec<Option<PgType>>,
    params: Option<&[Value]>,
) -> Result<(LogicalPlan, Vec<PgType>), SqlError> {
    refuse::what_would_be_answered_otherwise(statement)?;
    let names = Names::new(Arc::clone(catalog), state);
    let mut rewriter = Rewriter {
        param_types: known,
        params,
        style: catalog.style(),
        known_table_function: &Names::knows_table_function,
        always_empty: &is_always_empty,
    };
    let statement = rewriter.rewrite(statement)?;
    let mut param_types = rewriter.param_types;
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_map_string_types_to_utf8view(false);
    let planner = SqlToRel::new_with_options(&names, options);
    let fields = param_types
        .iter()
        .map(|known| known.as_ref().map(|known| arrow::field_ref("parameter", known, -1)));
    let mut planner_context = PlannerContext::new().with_prepare_param_data_types(fields.collect());
    let plan = planner
        .sql_statement_to_plan_with_context(statement, &mut planner_context)
        .and_then(|plan| zoned::with_common_types(plan, &catalog.style()))
        .map_err(from_datafusion)?;
    if params.is_none() {
        let fields = plan.get_parameter_fields().map_err(from_datafusion)?;
        for (name, field) in BTreeMap::from_iter(fields) {
            let number: usize = name.trim_start_matches('$').parse().unwrap_or(0);
            if number == 0 {
                return Err(SqlError::new(
                    SqlErrorKind::UndefinedParameter,
                    format!("there is no parameter {name}"),
                ));
            }
            if param_types.len() < number {
                param_types.resize(number, None);
            }
            if let Some(field) = field {
                param_types[number - 1].get_or_insert_with(|| arrow::pg_type_of(&field).0);
            }
        }
    }
    // What nobody says the type of is text, as an untyped literal would be.
    let param_types = param_types
        .into_iter()
        .map(|known| known.unwrap_or(PgType::TEXT))
        .collect();
    Ok((plan, param_types))
}

fn fields_of(state: &SessionState, plan: &LogicalPlan, context: &PlanContext) -> Result<Vec<FieldInfo>, SqlError> {
    let typed = optimize::typed(state, plan, &context.interrupt).map_err(from_datafusion)?;
    let shown = |(named, typed): (&FieldRef, &FieldRef)| {
        let info = arrow::field_info(typed);
        // Clients get the names themselves: as `regclass` a binary result would have to be a number.
        let pg_type = if names_an_object(&info.pg_type) {
            PgType::TEXT
        } else {
            info.pg_type
        };
        FieldInfo {
            name: names::shown(named.name()).to_string(),
            pg_type,
            ..info
        }
    };
    let fields = plan.schema().fields().iter().zip(typed.schema().fields().iter());
    Ok(fields.map(shown).collect())
}

/// `regclass` and its kin: oids that are shown as names.
fn names_an_object(pg_type: &PgType) -> bool {
    types::is_oid(pg_type) && !matches!(*pg_type, PgType::OID | PgType::XID | PgType::CID)
}

/// Columns of the types that name objects (`regclass`) are numbers inside plans and names for clients.
fn with_shown_names(catalog: &Arc<Catalog>, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let types: Vec<PgType> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| arrow::pg_type_of(field).0)
        .collect();
    if !types.iter().any(names_an_object) {
        return Ok(plan);
    }
    let function = cast::CastFunction::new(&PgType::TEXT, -1, catalog.style()).with_catalog(Arc::clone(catalog));
    let function = Arc::new(datafusion::logical_expr::ScalarUDF::new_from_impl(function));
    let columns = plan.schema().columns();
    let exprs: Vec<PlanExpr> = columns
        .into_iter()
        .zip(types)
        .map(|(column, pg_type)| {
            let name = column.name.clone();
            let relation: Option<TableReference> = column.relation.clone();
            let expr = PlanExpr::Column(column);
            if names_an_object(&pg_type) {
                function.call(vec![expr]).alias_qualified(relation, name)
            } else {
                expr
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// The physical plan as lines of text.
async fn explain(
    catalog: &Arc<Catalog>,
    state: &SessionState,
    statement: &Statement,
    params: &[Value],
    param_types: &[PgType],
) -> Result<RowStream, SqlError> {
    if !matches!(statement, Statement::Query(_)) {
        return Err(SqlError::unsupported("EXPLAIN of a statement that is not a query"));
    }
    let known = param_types.iter().cloned().map(Some).collect();
    let (plan, _) = logical_plan(catalog, state, statement, known, Some(params))?;
    let interrupt = &catalog.context().interrupt;
    let style = catalog.style();
    let physical = runtime::compute(async {
        let plan = optimize::optimized(state, plan, &style, interrupt).map_err(from_datafusion)?;
        physical_plan(state, &plan).await
    })
    .await?;
    let text = displayable(physical.as_ref())
        .indent(false)
        .to_string()
        .replace('\u{1}', "");
    let rows = text.lines().map(|line| vec![Value::Text(line.to_string())]).collect();
    Ok(RowStream::of_values(
        vec![FieldInfo::new("QUERY PLAN", PgType::TEXT)],
        rows,
    ))
}

#[cfg(all(test, not(madsim)))]
mod tests;
