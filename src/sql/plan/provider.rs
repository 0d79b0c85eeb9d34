//! What names mean to one statement: tables, functions and types, for DataFusion's SQL planner.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;

use super::aggregate::{AVG_ARGUMENT, AggregateArgument, SUM_ARGUMENT};
use super::arrow;
use super::cast::{CastFunction, cast_target};
use super::error::external;
use super::functions::{FUNCTIONS, REGCLASS_CAST, REGNAMESPACE_CAST, REGROLE_CAST, REGTYPE_CAST};
use super::gathered::Gathered;
use super::math::{Absolute, Truncate, math_function};
use super::operators::PgExprPlanner;
use super::rewrite::{ARRAY_OR_EMPTY, TRUNCATE, WHOLE_NUMBER};
use super::row_function::BoundFunction;
use super::scan::UserTable;
use super::special::{ArrayOrEmpty, CurrentSchemas, Round, Substring, TypeOf, Undefined, WholeNumber};
use super::strings::{Bounded, StringBound};
use super::sum::FloatSum;
use super::zoned::{AtTimeZone, InZone, Series};
use crate::engine::CLUSTER_DATABASE;
use crate::sql::catalog::{Catalog, Datum, SystemTable, system_table};
use crate::sql::{PgType, SqlError, SqlErrorKind};
use crate::version::{TableName, Value};

/// Functions of DataFusion that mean something else than PostgreSQL's of the same name, or that PostgreSQL lacks and that
/// would break determinism.
const HIDDEN: &[&str] = &[
    "to_char",
    "to_date",
    "to_timestamp",
    "to_time",
    "uuid",
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "random",
    "version",
    "arrow_cast",
    "arrow_typeof",
    "from_unixtime",
    "to_local_time",
    "date_format",
    "today",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "range",
];

/// Names for one statement.
pub struct Names<'a> {
    catalog: Arc<Catalog>,
    state: &'a SessionState,
    planners: Vec<Arc<dyn ExprPlanner>>,
    bound: StringBound,
}

impl<'a> Names<'a> {
    pub fn new(catalog: Arc<Catalog>, state: &'a SessionState) -> Names<'a> {
        let context = catalog.context();
        let bound = StringBound {
            memory: context.planner.memory.clone(),
            interrupt: context.interrupt.clone(),
        };
        let ours: Arc<dyn ExprPlanner> = Arc::new(PgExprPlanner {
            style: catalog.style(),
            interrupt: context.interrupt.clone(),
            bound: bound.clone(),
        });
        let planners = std::iter::once(ours)
            .chain(state.expr_planners().iter().cloned())
            .collect();
        Names {
            catalog,
            state,
            planners,
            bound,
        }
    }

    pub fn knows_table_function(name: &str) -> bool {
        matches!(name, "generate_series")
    }

    fn relation(&self, name: &TableReference) -> Result<Option<Arc<dyn TableProvider>>, SqlError> {
        if let Some(catalog) = name.catalog()
            && catalog != self.catalog.context().database
        {
            return Err(SqlError::unsupported(format_args!(
                "cross-database reference \"{name}\""
            )));
        }
        if let Some(schema) = name.schema() {
            return self.relation_in(schema, name.table());
        }
        let mut path = vec!["pg_catalog".to_string()];
        path.extend(self.catalog.visible_schemas()?);
        for schema in path {
            if let Some(found) = self.relation_in(&schema, name.table())? {
                return Ok(Some(found));
            }
        }
        // `dolt_log` from any search path.
        if name.table().starts_with("dolt_") {
            return self.relation_in("public", name.table());
        }
        Ok(None)
    }

    fn relation_in(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>, SqlError> {
        if let Some(transaction) = self.catalog.transaction() {
            let table = TableName::new(schema, name);
            if let Some(definition) = transaction.table_schema(&table)? {
                let row_key = self.catalog.context().expose_row_key;
                return Ok(Some(Arc::new(UserTable::new(
                    Arc::clone(transaction),
                    table,
                    definition,
                    row_key,
                ))));
            }
        }
        if schema == CLUSTER_DATABASE && self.catalog.context().engine.cluster().is_none() {
            return Ok(None);
        }
        let system = system_table(schema, name);
        Ok(system
            .map(|table| Arc::new(SystemRelation::new(Arc::clone(&self.catalog), table)) as Arc<dyn TableProvider>))
    }
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        match self.relation(&name).map_err(external)? {
            Some(table) => Ok(provider_as_source(table)),
            None => Err(external(SqlError::undefined_table(name.to_string().replace('"', "")))),
        }
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> PlanResult<Arc<dyn TableSource>> {
        let function = self
            .state
            .table_functions()
            .get(name.trim_matches('"'))
            .ok_or_else(|| external(super::error::undefined_function(&format!("{name}()"))))?;
        let args = args
            .into_iter()
            .map(|arg| constant(self.state, arg))
            .collect::<PlanResult<Vec<_>>>()?;
        let args_of = datafusion::catalog::TableFunctionArgs::new(&args, self.state);
        Ok(provider_as_source(function.create_table_provider_with_args(args_of)?))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> PlanResult<Arc<dyn TableSource>> {
        let table = datafusion::datasource::cte_worktable::CteWorkTable::new(name, schema);
        Ok(provider_as_source(Arc::new(table)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some((pg_type, typmod)) = cast_target(name) {
            let named = match pg_type {
                PgType::REGCLASS => Some(&REGCLASS_CAST),
                PgType::REGTYPE => Some(&REGTYPE_CAST),
                PgType::REGNAMESPACE => Some(&REGNAMESPACE_CAST),
                PgType::REGROLE => Some(&REGROLE_CAST),
                _ => None,
            };
            return Some(match named {
                Some(declared) => BoundFunction::udf(name, declared, &self.catalog),
                None => {
                    let function = CastFunction::new(&pg_type, typmod, self.catalog.style());
                    Arc::new(ScalarUDF::new_from_impl(
                        function.with_catalog(Arc::clone(&self.catalog)),
                    ))
                }
            });
        }
        let mut declared = FUNCTIONS.iter().chain(crate::sql::functions::scalar::FUNCTIONS);
        if let Some(declared) = declared.find(|function| function.name == name) {
            return Some(BoundFunction::udf(name, declared, &self.catalog));
        }
        match name {
            SUM_ARGUMENT => return Some(Arc::new(ScalarUDF::new_from_impl(AggregateArgument::new(SUM_ARGUMENT)))),
            AVG_ARGUMENT => return Some(Arc::new(ScalarUDF::new_from_impl(AggregateArgument::new(AVG_ARGUMENT)))),
            WHOLE_NUMBER => return Some(Arc::new(ScalarUDF::new_from_impl(WholeNumber::new()))),
            ARRAY_OR_EMPTY => return Some(Arc::new(ScalarUDF::new_from_impl(ArrayOrEmpty::new()))),
            "round" => {
                let decimals = self.state.scalar_functions().get(name).cloned();
                return decimals.map(|decimals| Arc::new(ScalarUDF::new_from_impl(Round::new(decimals))));
            }
            "abs" => {
                let others = self.state.scalar_functions().get(name).cloned();
                return others.map(|others| Arc::new(ScalarUDF::new_from_impl(Absolute::new(others))));
            }
            TRUNCATE => return Some(Arc::new(ScalarUDF::new_from_impl(Truncate::new()))),
            "substr" | "substring" => {
                let texts = self.state.scalar_functions().get(name).cloned();
                return texts.map(|texts| Arc::new(ScalarUDF::new_from_impl(Substring::new(texts))));
            }
            "date_part" | "date_trunc" | "generate_series" => {
                let zone = self.catalog.style().zone;
                let inner = self.state.scalar_functions().get(name).cloned()?;
                let function = Arc::new(match name {
                    "date_part" => ScalarUDF::new_from_impl(InZone::date_part(inner, zone)),
                    "date_trunc" => ScalarUDF::new_from_impl(InZone::date_trunc(inner, zone)),
                    _ => ScalarUDF::new_from_impl(Series::new(inner, zone)),
                });
                return Some(Bounded::wrapped(function, &self.bound));
            }
            "timezone" => {
                return Some(Arc::new(ScalarUDF::new_from_impl(AtTimeZone::new(
                    self.catalog.style(),
                ))));
            }
            "pg_typeof" => return Some(Arc::new(ScalarUDF::new_from_impl(TypeOf::new()))),
            "current_schemas" => {
                return Some(Arc::new(ScalarUDF::new_from_impl(CurrentSchemas::new(Arc::clone(
                    &self.catalog,
                )))));
            }
            _ => {}
        }
        if let Some(function) = math_function(name) {
            return Some(function);
        }
        if HIDDEN.contains(&name) {
            return Some(Arc::new(ScalarUDF::new_from_impl(Undefined::new(name))));
        }
        let found = self.state.scalar_functions().get(name).cloned();
        let is_other = found.is_some()
            || self.state.aggregate_functions().contains_key(name)
            || self.state.window_functions().contains_key(name)
            || name == "unnest";
        if is_other {
            found.map(|function| Bounded::wrapped(function, &self.bound))
        } else {
            Some(Arc::new(ScalarUDF::new_from_impl(Undefined::new(name))))
        }
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let found = self.state.aggregate_functions().get(name).cloned()?;
        Some(match name {
            "string_agg" | "array_agg" => Gathered::wrapped(found, &self.bound),
            "sum" | "avg" => Arc::new(AggregateUDF::new_from_impl(FloatSum::new(found))),
            _ => found,
        })
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    // Only asked to suggest a name that was perhaps meant.
    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// An argument of a function in FROM as the literal that such functions want, integers as bigint.
fn constant(state: &SessionState, expr: Expr) -> PlanResult<Expr> {
    use datafusion::common::DFSchema;
    use datafusion::common::tree_node::TreeNode;
    use datafusion::logical_expr::simplify::SimplifyContext;
    use datafusion::optimizer::simplify_expressions::ExprSimplifier;
    // While a statement is only described, any value will do: the columns are the same.
    let has_parameter = expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_))))?;
    if has_parameter {
        return Ok(Expr::Literal(ScalarValue::Int64(Some(1)), None));
    }
    let context = SimplifyContext::builder()
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let literal = simplifier
        .coerce(expr, &DFSchema::empty())
        .and_then(|expr| simplifier.simplify(expr))?;
    Ok(match literal {
        Expr::Literal(ScalarValue::Int16(Some(value)), _) => {
            Expr::Literal(ScalarValue::Int64(Some(value.into())), None)
        }
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => {
            Expr::Literal(ScalarValue::Int64(Some(value.into())), None)
        }
        Expr::Literal(value, _) => Expr::Literal(value, None),
        _ => {
            return Err(external(SqlError::unsupported(
                "a function in FROM whose arguments are not constants",
            )));
        }
    })
}

/// A system table of one statement, filled when it is read.
#[derive(Debug)]
struct SystemRelation {
    catalog: Arc<Catalog>,
    table: Definition,
    schema: SchemaRef,
}

struct Definition(&'static SystemTable);

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.schema, self.0.name)
    }
}

impl SystemRelation {
    fn new(catalog: Arc<Catalog>, table: &'static SystemTable) -> SystemRelation {
        let fields = table
            .columns
            .iter()
            .map(|(name, pg_type)| arrow::field(name, pg_type, -1, true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        SystemRelation {
            catalog,
            table: Definition(table),
            schema,
        }
    }

    fn batch(&self) -> Result<RecordBatch, SqlError> {
        let rows = match self.table.0.rows {
            Some(rows) => rows(&self.catalog)?,
            None => Vec::new(),
        };
        let mut arrays = Vec::with_capacity(self.table.0.columns.len());
        for (at, (name, pg_type)) in self.table.0.columns.iter().enumerate() {
            arrays.push(system_column(pg_type, &rows, at).map_err(|error| SqlError {
                detail: Some(format!("column {name} of {:?}", self.table)),
                ..error
            })?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| SqlError::internal(format!("rows of {:?} do not fit its columns: {error}", self.table)))
    }
}

fn system_column(pg_type: &PgType, rows: &[Vec<Datum>], at: usize) -> Result<ArrayRef, SqlError> {
    let data_type = arrow::arrow_type(pg_type, -1);
    if let DataType::List(_) = data_type {
        let element = match *pg_type {
            PgType::INT2_VECTOR => PgType::INT2,
            PgType::OID_VECTOR => PgType::OID,
            _ => crate::sql::text::element_type(pg_type).clone(),
        };
        let lists: Vec<Option<Vec<Value>>> = rows
            .iter()
            .map(|row| match row.get(at) {
                Some(Datum::Array(items)) => items.clone(),
                _ => None,
            })
            .collect();
        return arrow::list_array(&element, &lists);
    }
    let values = rows.iter().map(|row| match row.get(at) {
        Some(Datum::Value(value)) => Ok(value),
        _ => Err(SqlError::new(
            SqlErrorKind::Internal,
            "a system table's row has the wrong shape",
        )),
    });
    arrow::array(&data_type, values.collect::<Result<Vec<&Value>, _>>()?.into_iter())
}

#[async_trait]
impl TableProvider for SystemRelation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let batch = self
            .batch()
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let source = MemorySourceConfig::try_new_exec(&[vec![batch]], Arc::clone(&self.schema), projection.cloned())?;
        Ok(source)
    }
}
