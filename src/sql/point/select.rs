//! SELECT of one row by its whole primary key, straight from the transaction.

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Query, Select, SetExpr, TableFactor};

use super::expression::{Compiler, Declined, ParameterTypes, Relation, Surroundings};
use super::keys::{Keys, keys};
use super::projection::{self, Output};
use crate::engine::Transaction;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names;
use crate::sql::names::folded;
use crate::sql::result::{CommandTag, QueryResult, RowStream};
use crate::sql::session::Parameters;
use crate::sql::settings::Settings;

/// The parts of a query that may be a point query: one table, a condition, a list of outputs, nothing else.
struct Shape<'a> {
    table: &'a TableFactor,
    selection: &'a Expr,
    select: &'a Select,
}

fn shape(query: &Query) -> Option<Shape<'_>> {
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.for_clause.is_none()
        && query.settings.is_none()
        && query.format_clause.is_none()
        && query.pipe_operators.is_empty();
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
    let plain = select.distinct.is_none()
        && select.select_modifiers.is_none()
        && select.top.is_none()
        && select.exclude.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && ungrouped
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.having.is_none()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.value_table_mode.is_none();
    let [from] = select.from.as_slice() else { return None };
    let selection = select.selection.as_ref()?;
    (bare && plain && from.joins.is_empty()).then_some(Shape {
        table: &from.relation,
        selection,
        select,
    })
}

/// The row a point query asks for; None when the query is not one, and needs a plan.
pub(in crate::sql) fn select(
    query: &Query,
    transaction: &Transaction,
    settings: &Settings,
    surroundings: &Surroundings,
    parameters: Parameters<'_>,
) -> Result<Option<QueryResult>, SqlError> {
    match row_of(query, transaction, settings, surroundings, parameters) {
        // A plan has room for more digits than can be stored, and says the same where it has not.
        Err(error) if error.kind == SqlErrorKind::NumericOutOfRange => Ok(None),
        result => result,
    }
}

fn row_of(
    query: &Query,
    transaction: &Transaction,
    settings: &Settings,
    surroundings: &Surroundings,
    parameters: Parameters<'_>,
) -> Result<Option<QueryResult>, SqlError> {
    let types = ParameterTypes::new(parameters.types.iter().cloned().map(Some));
    let Some((outputs, row)) = look_up(query, transaction, settings, surroundings, types, parameters)? else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    if let Some(row) = row {
        let values: Result<Vec<_>, _> = outputs
            .iter()
            .map(|output| output.compiled.evaluate(&row, parameters.values))
            .collect();
        rows.push(values?);
    }
    let fields: Vec<_> = outputs.into_iter().map(|output| output.field).collect();
    Ok(Some(QueryResult::Rows {
        rows: RowStream::of_values(fields, rows),
        tag: CommandTag::Select,
    }))
}

type Found = Option<(Vec<Output>, Option<Vec<crate::version::Value>>)>;

fn look_up(
    query: &Query,
    transaction: &Transaction,
    settings: &Settings,
    surroundings: &Surroundings,
    types: ParameterTypes,
    parameters: Parameters<'_>,
) -> Result<Found, SqlError> {
    let Some(shape) = shape(query) else { return Ok(None) };
    let Some((name, alias)) = plain_table(shape.table) else {
        return Ok(None);
    };
    let Some((table, schema)) = names::find(transaction, settings, &surroundings.database, name)? else {
        return Ok(None);
    };
    if schema.is_keyless() {
        return Ok(None);
    }
    let alias = alias.unwrap_or_else(|| table.name.clone());
    let relations = [Relation {
        name: &alias,
        schema: &schema,
        offset: 0,
    }];
    let mut compiler = Compiler::new(&relations, surroundings, types);
    let found = keys(shape.selection, &schema, &mut compiler, parameters.values)?;
    if matches!(found, Keys::Range(..)) {
        return Ok(None);
    }
    let compiled = (|| {
        let condition = compiler.condition(shape.selection)?;
        Ok((condition, projection::compile(&shape.select.projection, &mut compiler)?))
    })();
    let (condition, outputs) = match compiled {
        Ok(compiled) => compiled,
        Err(Declined::NeedsPlan) => return Ok(None),
        Err(Declined::Wrong(error)) => return Err(error),
    };
    let row = match found {
        Keys::One(key) => {
            let used: Vec<bool> = (0..schema.columns.len())
                .map(|position| compiler.uses(position))
                .collect();
            transaction.get_columns(&table, &key, &used)?
        }
        Keys::Nothing | Keys::Range(..) => None,
    };
    match row {
        Some(row) if condition.holds(&row, parameters.values)? => Ok(Some((outputs, Some(row)))),
        _ => Ok(Some((outputs, None))),
    }
}

/// The name and alias of a table that is nothing but a name.
pub(in crate::sql) fn plain_table(
    table: &TableFactor,
) -> Option<(&datafusion::sql::sqlparser::ast::ObjectName, Option<String>)> {
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = table
    else {
        return None;
    };
    if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
        return None;
    }
    match alias {
        None => Some((name, None)),
        Some(alias) if alias.columns.is_empty() => Some((name, Some(folded(&alias.name)))),
        Some(_) => None,
    }
}
