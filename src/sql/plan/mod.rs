//! Everything that needs a plan: queries through DataFusion over a transaction's snapshot.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Expr, Statement};

use super::error::SqlError;
use super::result::{FieldInfo, PgType, RowBatch, RowStream};
use super::settings::Settings;
use crate::engine::{Engine, Transaction};
use crate::runtime::WallTime;
use crate::version::Value;

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
    pub database: String,
    pub user: String,
    pub superuser: bool,
    /// What `pg_backend_pid()` says.
    pub pid: i32,
    pub client_address: Option<String>,
    /// `now()`: when the transaction began.
    pub transaction_time: WallTime,
    /// `statement_timestamp()`.
    pub statement_time: WallTime,
    /// User tables have the extra column [`ROW_KEY_COLUMN`], last, not part of `*`'s promise to users.
    pub expose_row_key: bool,
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
    let _ = (context, statement, params, param_types);
    todo!()
}

/// Types of a query's parameters and columns. `known[i]` is what the client said of parameter `i + 1`.
pub async fn describe(
    context: &PlanContext,
    statement: &Statement,
    known: &[Option<PgType>],
) -> Result<Description, SqlError> {
    let _ = (context, statement, known);
    todo!()
}

/// Values and types of expressions without columns: defaults, arguments, what the point evaluator does not know.
pub async fn evaluate(
    context: &PlanContext,
    expressions: &[Expr],
    params: &[Value],
    param_types: &[PgType],
) -> Result<Vec<(Value, PgType)>, SqlError> {
    let _ = (context, expressions, params, param_types);
    todo!()
}

/// The rows of a batch as values, each of the type its field says.
pub fn values_of(fields: &[FieldInfo], batch: RowBatch) -> Result<Vec<Vec<Value>>, SqlError> {
    let _ = (fields, batch);
    todo!()
}
