//! INSERT: rows from VALUES or a query, conflicts as the statement wishes.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Expr, Insert, OnConflict, OnConflictAction, OnInsert, Query, SetExpr,
    Statement, TableObject,
};
use futures::StreamExt;

use super::evaluation::{Evaluation, Returning};
use super::{Target, is_default};
use crate::engine::primary_key_name;
use crate::sql::cast;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names;
use crate::sql::names::folded;
use crate::sql::plan;
use crate::sql::point::expression::{Compiler, ParameterTypes, Relation};
use crate::sql::result::{CommandTag, PgType, QueryResult, RowStream};
use crate::sql::session::{Parameters, Running, Session};
use crate::sql::types::pg_type;
use crate::version::{Row, Value, encode_key};

/// How many rows are made between two pauses, in which others run and the statement learns whether it is to stop.
const ROWS_BETWEEN_CHECKS: usize = 256;

/// What to do with a row whose key exists.
enum OnExisting {
    Fail,
    Skip,
    Update {
        assignments: Vec<(usize, Evaluation)>,
        selection: Option<Evaluation>,
    },
}

impl Session {
    pub(in crate::sql) async fn insert(
        &mut self,
        insert: &Insert,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        refuse_unknown_clauses(insert)?;
        let target = self.insert_target(insert)?;
        let columns = insert_columns(insert, &target)?;
        let on_existing = self.on_existing(insert.on.as_ref(), &target, parameters)?;
        let returning = self.returning(insert.returning.as_deref(), &target, parameters).await?;
        let rows = match insert.source.as_deref() {
            None => vec![self.row_of_defaults(&target, running).await?],
            Some(query) => match plain_values(query) {
                Some(rows) => {
                    self.rows_of_values(&target, &columns, insert, &rows, parameters, running)
                        .await?
                }
                None => {
                    self.rows_of_query(&target, &columns, insert, query, parameters, running)
                        .await?
                }
            },
        };
        self.insert_rows(&target, rows, &on_existing, returning, parameters, running)
            .await
    }

    pub(super) fn insert_target(&mut self, insert: &Insert) -> Result<Target, SqlError> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT INTO a function"));
        };
        let alias = insert.table_alias.as_ref().map(|alias| folded(&alias.alias));
        let transaction = self.glance().ok_or_else(|| SqlError::undefined_table(name))?;
        self.target(&transaction, name, alias)
    }

    /// Rows of VALUES, each expression assigned to its column.
    async fn rows_of_values(
        &mut self,
        target: &Target,
        columns: &[usize],
        insert: &Insert,
        rows: &[&[Expr]],
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<Row>, SqlError> {
        let surroundings = self.surroundings();
        let types = ParameterTypes::new(parameters.types.iter().cloned().map(Some));
        let mut compiler = Compiler::new(&[], &surroundings, types);
        let width = rows.first().map_or(0, |row| row.len());
        if rows.iter().any(|row| row.len() != width) {
            return Err(SqlError::new(
                SqlErrorKind::Syntax,
                "VALUES lists must all be the same length",
            ));
        }
        check_width(width, columns, insert)?;
        let columns = &columns[..width];
        let defaults = self.defaults(target, columns, &mut compiler)?;
        let style = surroundings.style;
        let mut made: Vec<Row> = Vec::with_capacity(rows.len());
        // What only a plan can compute is asked for all at once.
        let mut planned: Vec<(usize, usize, Expr)> = Vec::new();
        for (index, expressions) in rows.iter().enumerate() {
            if index % ROWS_BETWEEN_CHECKS == 0 {
                running.pause().await?;
            }
            let mut row = vec![Value::Null; target.schema.columns.len()];
            for (position, default) in &defaults {
                place(
                    default,
                    *position,
                    index,
                    &mut row,
                    target,
                    parameters,
                    &style,
                    &mut planned,
                )?;
            }
            for (position, expression) in columns.iter().zip(*expressions) {
                let column = &target.schema.columns[*position];
                let evaluation = if is_default(expression) {
                    match self.default_of(target, *position)? {
                        None => continue,
                        Some(default) => Evaluation::new(&default, None, &mut compiler)?,
                    }
                } else {
                    Evaluation::new(expression, Some(&pg_type(column.column_type)), &mut compiler)?
                };
                place(
                    &evaluation,
                    *position,
                    index,
                    &mut row,
                    target,
                    parameters,
                    &style,
                    &mut planned,
                )?;
            }
            made.push(row);
        }
        let expressions: Vec<Expr> = planned.iter().map(|(_, _, expression)| expression.clone()).collect();
        let values = self.evaluate_constants(&expressions, parameters, running).await?;
        for (done, ((index, position, _), (value, pg_type))) in planned.into_iter().zip(values).enumerate() {
            if done % ROWS_BETWEEN_CHECKS == 0 {
                running.pause().await?;
            }
            made[index][position] = cast::assign(value, &pg_type, &target.schema.columns[position], &style)?;
        }
        Ok(made)
    }

    /// Defaults of the columns that the statement does not name.
    fn defaults(
        &self,
        target: &Target,
        columns: &[usize],
        compiler: &mut Compiler<'_>,
    ) -> Result<Vec<(usize, Evaluation)>, SqlError> {
        let mut defaults = Vec::new();
        for position in 0..target.schema.columns.len() {
            if !columns.contains(&position)
                && let Some(default) = self.default_of(target, position)?
            {
                defaults.push((position, Evaluation::new(&default, None, compiler)?));
            }
        }
        Ok(defaults)
    }

    /// INSERT ... DEFAULT VALUES.
    async fn row_of_defaults(&mut self, target: &Target, running: &Running) -> Result<Row, SqlError> {
        let mut rows = self.fill_defaults(target, &[], vec![Vec::new()], running).await?;
        rows.pop()
            .ok_or_else(|| SqlError::internal("no row of defaults was made"))
    }

    /// Whole rows from the values of some columns, already of their types, and defaults for the others.
    pub(super) async fn fill_defaults(
        &mut self,
        target: &Target,
        columns: &[usize],
        partial: Vec<Vec<Value>>,
        running: &Running,
    ) -> Result<Vec<Row>, SqlError> {
        let surroundings = self.surroundings();
        let mut compiler = Compiler::new(&[], &surroundings, ParameterTypes::default());
        let defaults = self.defaults(target, columns, &mut compiler)?;
        let mut planned = Vec::new();
        let mut made = Vec::with_capacity(partial.len());
        for (index, values) in partial.into_iter().enumerate() {
            if index % ROWS_BETWEEN_CHECKS == 0 {
                running.pause().await?;
            }
            let mut row = vec![Value::Null; target.schema.columns.len()];
            for (position, default) in &defaults {
                let none = Parameters::NONE;
                place(
                    default,
                    *position,
                    index,
                    &mut row,
                    target,
                    none,
                    &surroundings.style,
                    &mut planned,
                )?;
            }
            for (position, value) in columns.iter().zip(values) {
                row[*position] = value;
            }
            made.push(row);
        }
        let expressions: Vec<Expr> = planned.iter().map(|(_, _, expression)| expression.clone()).collect();
        let values = self.evaluate_constants(&expressions, Parameters::NONE, running).await?;
        for ((index, position, _), (value, pg_type)) in planned.into_iter().zip(values) {
            let column = &target.schema.columns[position];
            made[index][position] = cast::assign(value, &pg_type, column, &surroundings.style)?;
        }
        Ok(made)
    }

    /// INSERT ... SELECT: all rows are read before the first is written, so that the query does not see them.
    async fn rows_of_query(
        &mut self,
        target: &Target,
        columns: &[usize],
        insert: &Insert,
        query: &Query,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<Row>, SqlError> {
        let transaction = self.read();
        let context = self.plan_context(transaction);
        let statement = Statement::Query(Box::new(query.clone()));
        let work = plan::query(&context, &statement, parameters.values, parameters.types);
        let RowStream { fields, mut batches } = running.interruptible(work).await?;
        check_width(fields.len(), columns, insert)?;
        let style = self.settings.style();
        let mut partial = Vec::new();
        while let Some(batch) = running.interruptible(async { Ok(batches.next().await) }).await? {
            for values in plan::values_of(&fields, batch?)? {
                let assigned: Result<Vec<Value>, SqlError> = columns
                    .iter()
                    .zip(values)
                    .zip(fields.iter())
                    .map(|((position, value), field)| {
                        cast::assign(value, &field.pg_type, &target.schema.columns[*position], &style)
                    })
                    .collect();
                partial.push(assigned?);
            }
        }
        drop((batches, context));
        let named = &columns[..fields.len()];
        self.fill_defaults(target, named, partial, running).await
    }

    fn on_existing(
        &mut self,
        on: Option<&OnInsert>,
        target: &Target,
        parameters: Parameters<'_>,
    ) -> Result<OnExisting, SqlError> {
        let conflict = match on {
            None => return Ok(OnExisting::Fail),
            Some(OnInsert::OnConflict(conflict)) => conflict,
            Some(other) => return Err(SqlError::unsupported(format_args!("{other}"))),
        };
        check_conflict_target(conflict, target)?;
        let update = match &conflict.action {
            OnConflictAction::DoNothing => return Ok(OnExisting::Skip),
            OnConflictAction::DoUpdate(update) => update,
        };
        let surroundings = self.surroundings();
        let relations = conflict_relations(target);
        let types = ParameterTypes::new(parameters.types.iter().cloned().map(Some));
        let mut compiler = Compiler::new(&relations, &surroundings, types);
        let mut assignments = Vec::new();
        for (position, expression) in assigned_columns(&update.assignments, target)? {
            let column = &target.schema.columns[position];
            let evaluation = match self.assigned_expression(target, position, expression)? {
                Some(expression) => Evaluation::new(&expression, Some(&pg_type(column.column_type)), &mut compiler)?,
                None => Evaluation::new(
                    &Expr::value(datafusion::sql::sqlparser::ast::Value::Null),
                    None,
                    &mut compiler,
                )?,
            };
            assignments.push((position, evaluation));
        }
        let selection = match &update.selection {
            None => None,
            Some(condition) => Some(Evaluation::new(condition, Some(&PgType::BOOL), &mut compiler)?),
        };
        Ok(OnExisting::Update { assignments, selection })
    }

    /// The expression itself, or the column's default where DEFAULT was written; None is NULL.
    pub(super) fn assigned_expression(
        &self,
        target: &Target,
        position: usize,
        expression: &Expr,
    ) -> Result<Option<Expr>, SqlError> {
        if is_default(expression) {
            self.default_of(target, position)
        } else {
            Ok(Some(expression.clone()))
        }
    }

    async fn insert_rows(
        &mut self,
        target: &Target,
        rows: Vec<Row>,
        on_existing: &OnExisting,
        returning: Option<Returning>,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        let mut returned = Vec::new();
        let mut affected = 0;
        let mut written: BTreeSet<Vec<u8>> = BTreeSet::new();
        for (index, row) in rows.into_iter().enumerate() {
            if index % ROWS_BETWEEN_CHECKS == 0 {
                running.pause().await?;
            }
            let existing = match on_existing {
                OnExisting::Fail => None,
                _ if target.schema.is_keyless() => None,
                _ => {
                    let key = encode_key(&target.schema, &row);
                    self.edit()?.get(&target.name, &key)?.map(|existing| (key, existing))
                }
            };
            let kept = match (existing, on_existing) {
                (None, OnExisting::Fail) if returning.is_none() => {
                    self.edit()?.insert(&target.name, row)?;
                    affected += 1;
                    continue;
                }
                (None, OnExisting::Fail | OnExisting::Skip | OnExisting::Update { .. }) => {
                    if matches!(on_existing, OnExisting::Update { .. }) && !target.schema.is_keyless() {
                        written.insert(encode_key(&target.schema, &row));
                    }
                    self.edit()?.insert(&target.name, row.clone())?;
                    Some(row)
                }
                (Some((key, existing)), OnExisting::Update { assignments, selection }) => {
                    if !written.insert(key.clone()) {
                        return Err(SqlError::new(
                            SqlErrorKind::Cardinality,
                            "ON CONFLICT DO UPDATE command cannot affect row a second time",
                        )
                        .hint(
                            "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
                        ));
                    }
                    let both: Row = existing.iter().cloned().chain(row).collect();
                    let relations = conflict_relations(target);
                    let wanted = match selection {
                        None => true,
                        Some(selection) => {
                            let value = self
                                .evaluate_for(selection, &relations, &both, parameters, running)
                                .await?
                                .0;
                            value == Value::Bool(true)
                        }
                    };
                    if wanted {
                        let mut changed = existing;
                        let style = self.settings.style();
                        for (position, evaluation) in assignments {
                            let (value, from) = self
                                .evaluate_for(evaluation, &relations, &both, parameters, running)
                                .await?;
                            let column = &target.schema.columns[*position];
                            changed[*position] = cast::assign(value, &from, column, &style)?;
                        }
                        self.edit()?.update(&target.name, &key, changed.clone())?;
                        Some(changed)
                    } else {
                        None
                    }
                }
                (Some(_), _) => None,
            };
            let Some(kept) = kept else { continue };
            affected += 1;
            if let Some(returning) = &returning {
                returned.push(self.returned_row(returning, target, &kept, parameters, running).await?);
            }
        }
        Ok(match returning {
            None => QueryResult::Command {
                tag: CommandTag::Insert,
                affected,
            },
            Some(returning) => QueryResult::Rows {
                rows: RowStream::of_values(returning.fields, returned),
                tag: CommandTag::Insert,
            },
        })
    }
}

/// Puts a value into a row now, or notes the expression for the plan.
#[expect(clippy::too_many_arguments, reason = "one step of a loop, called from three places")]
fn place(
    evaluation: &Evaluation,
    position: usize,
    index: usize,
    row: &mut [Value],
    target: &Target,
    parameters: Parameters<'_>,
    style: &crate::sql::text::Style,
    planned: &mut Vec<(usize, usize, Expr)>,
) -> Result<(), SqlError> {
    match evaluation {
        Evaluation::Compiled(compiled) => {
            let value = compiled.evaluate(&[], parameters.values)?;
            row[position] = cast::assign(value, &compiled.pg_type, &target.schema.columns[position], style)?;
        }
        Evaluation::Planned(expression) => planned.push((index, position, (**expression).clone())),
    }
    Ok(())
}

/// The existing row and, beside it, the one that was proposed.
fn conflict_relations(target: &Target) -> [Relation<'_>; 2] {
    let width = target.schema.columns.len();
    [
        target.relation(),
        Relation {
            name: "excluded",
            schema: &target.schema,
            offset: width,
        },
    ]
}

/// The columns a statement gives values for, by position; all of them when it names none.
pub(super) fn insert_columns(insert: &Insert, target: &Target) -> Result<Vec<usize>, SqlError> {
    if insert.columns.is_empty() {
        return Ok((0..target.schema.columns.len()).collect());
    }
    let mut positions = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        let [part] = name.0.as_slice() else {
            return Err(SqlError::unsupported(format_args!("the column name {name}")));
        };
        let ident = part
            .as_ident()
            .ok_or_else(|| SqlError::unsupported(format_args!("the column name {name}")))?;
        let position = target.position(ident)?;
        if positions.contains(&position) {
            return Err(SqlError::new(
                SqlErrorKind::DuplicateColumn,
                format!("column \"{}\" specified more than once", folded(ident)),
            ));
        }
        positions.push(position);
    }
    Ok(positions)
}

fn check_width(expressions: usize, columns: &[usize], insert: &Insert) -> Result<(), SqlError> {
    if expressions > columns.len() {
        return Err(SqlError::new(
            SqlErrorKind::Syntax,
            "INSERT has more expressions than target columns",
        ));
    }
    // Without a list of columns, those at the end may be left to their defaults.
    if expressions < columns.len() && !insert.columns.is_empty() {
        return Err(SqlError::new(
            SqlErrorKind::Syntax,
            "INSERT has more target columns than expressions",
        ));
    }
    Ok(())
}

/// The rows of a bare VALUES.
pub(super) fn plain_values(query: &Query) -> Option<Vec<&[Expr]>> {
    let bare =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    match query.body.as_ref() {
        SetExpr::Values(values) if bare => Some(values.rows.iter().map(|row| row.content.as_slice()).collect()),
        _ => None,
    }
}

/// Columns and expressions of SET.
pub(super) fn assigned_columns<'a>(
    assignments: &'a [Assignment],
    target: &Target,
) -> Result<Vec<(usize, &'a Expr)>, SqlError> {
    let mut assigned: Vec<(usize, &Expr)> = Vec::new();
    let mut assign = |name: &datafusion::sql::sqlparser::ast::ObjectName, value| {
        let [part] = name.0.as_slice() else {
            return Err(SqlError::unsupported(format_args!("assigning to {name}")));
        };
        let ident = part
            .as_ident()
            .ok_or_else(|| SqlError::unsupported(format_args!("assigning to {name}")))?;
        let position = target.position(ident)?;
        if assigned.iter().any(|(other, _)| *other == position) {
            return Err(SqlError::new(
                SqlErrorKind::Syntax,
                format!("multiple assignments to same column \"{}\"", folded(ident)),
            ));
        }
        assigned.push((position, value));
        Ok(())
    };
    for assignment in assignments {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => assign(name, value)?,
            (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                for (name, value) in names.iter().zip(values) {
                    assign(name, value)?;
                }
            }
            (AssignmentTarget::Tuple(_), Expr::Tuple(_)) => {
                return Err(SqlError::new(
                    SqlErrorKind::Syntax,
                    "number of columns does not match number of values",
                ));
            }
            (AssignmentTarget::Tuple(_), _) => {
                return Err(SqlError::unsupported("assigning a subquery to several columns"));
            }
        }
    }
    Ok(assigned)
}

fn check_conflict_target(conflict: &OnConflict, target: &Target) -> Result<(), SqlError> {
    let matches = match &conflict.conflict_target {
        None => {
            if matches!(conflict.action, OnConflictAction::DoUpdate(_)) {
                return Err(SqlError::new(
                    SqlErrorKind::Syntax,
                    "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                )
                .hint("For example, ON CONFLICT (column_name)."));
            }
            return Ok(());
        }
        Some(ConflictTarget::Columns(columns)) => {
            let named: Result<BTreeSet<usize>, SqlError> = columns.iter().map(|name| target.position(name)).collect();
            !target.schema.is_keyless() && named? == target.schema.primary_key.iter().copied().collect()
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let is_meant = names::parts(name)? == [primary_key_name(&target.name.name)];
            if target.schema.is_keyless() || !is_meant {
                return Err(SqlError::new(
                    SqlErrorKind::UndefinedObject,
                    format!(
                        "constraint \"{name}\" for table \"{}\" does not exist",
                        target.name.name
                    ),
                ));
            }
            true
        }
    };
    if matches {
        Ok(())
    } else {
        Err(SqlError::new(
            SqlErrorKind::InvalidColumnReference,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ))
    }
}

fn refuse_unknown_clauses(insert: &Insert) -> Result<(), SqlError> {
    let unknown = [
        (insert.or.is_some(), "INSERT OR"),
        (insert.ignore, "INSERT IGNORE"),
        (insert.overwrite, "INSERT OVERWRITE"),
        (!insert.assignments.is_empty(), "INSERT ... SET"),
        (insert.partitioned.is_some(), "PARTITION"),
        (!insert.after_columns.is_empty(), "PARTITION"),
        (insert.replace_into, "REPLACE INTO"),
        (insert.priority.is_some(), "INSERT priorities"),
        (insert.insert_alias.is_some(), "INSERT ... AS after VALUES"),
        (insert.output.is_some(), "OUTPUT"),
        (insert.settings.is_some(), "SETTINGS"),
        (insert.format_clause.is_some(), "FORMAT"),
        (insert.multi_table_insert_type.is_some(), "INSERT into several tables"),
    ];
    match unknown.iter().find(|(present, _)| *present) {
        Some((_, construct)) => Err(SqlError::unsupported(construct)),
        None => Ok(()),
    }
}
