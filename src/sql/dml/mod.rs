//! INSERT, UPDATE, DELETE, TRUNCATE and COPY: rows from expressions or plans, writes into the transaction's edits.

mod copy;
mod copy_format;
mod describe;
mod evaluation;
mod insert;
mod rows;

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableWithJoins,
};

use super::error::{Mention, SqlError, SqlErrorKind};
use super::names;
use super::parse;
use super::point::expression::Relation;
use super::session::Session;
use crate::engine::Transaction;
use crate::sql::names::folded;
use crate::version::{TableName, TableSchema};

/// The table that a statement writes to.
#[derive(Clone, Debug)]
pub(in crate::sql) struct Target {
    pub name: TableName,
    pub schema: Arc<TableSchema>,
    /// What its columns are qualified with.
    pub alias: String,
}

impl Target {
    fn relation(&self) -> Relation<'_> {
        Relation {
            name: &self.alias,
            schema: &self.schema,
            offset: 0,
        }
    }

    /// The position of a column by name; 42703 in PostgreSQL's words for writes.
    fn position(&self, column: &Ident) -> Result<usize, SqlError> {
        let column = folded(column);
        self.schema.position(&column).ok_or_else(|| {
            SqlError::new(
                SqlErrorKind::UndefinedColumn,
                format!("column \"{column}\" of relation \"{}\" does not exist", self.name.name),
            )
            .mention(Mention::Column {
                relation: None,
                name: column.clone(),
            })
        })
    }
}

impl Session {
    fn target(&self, transaction: &Transaction, name: &ObjectName, alias: Option<String>) -> Result<Target, SqlError> {
        let (name, schema) = names::require(transaction, &self.settings, &self.database_name, name)?;
        let alias = alias.unwrap_or_else(|| name.name.clone());
        Ok(Target { name, schema, alias })
    }
}

/// `DEFAULT`, which the parser takes for a column's name.
fn is_default(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// A query with these outputs: `SELECT items FROM tables WHERE selection`.
fn query_of(items: Vec<SelectItem>, from: Vec<TableWithJoins>, selection: Option<Expr>) -> Result<Statement, SqlError> {
    let mut statement = parse::parse("SELECT 1")?.pop();
    if let Some(Statement::Query(query)) = &mut statement
        && let Some(select) = select_of(query)
    {
        select.projection = items;
        select.from = from;
        select.selection = selection;
    }
    statement.ok_or_else(|| SqlError::internal("a query could not be built"))
}

fn select_of(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}
