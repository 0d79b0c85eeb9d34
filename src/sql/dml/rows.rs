//! UPDATE, DELETE and TRUNCATE: which rows, found by keys where the condition names them, else by a scan or a plan.

use datafusion::sql::sqlparser::ast::{
    Delete, Expr, FromTable, Ident, ObjectName, SelectItem, TableWithJoins, Update, UpdateTableFromKind,
};

use futures::StreamExt;

use super::evaluation::Returning;
use super::insert::assigned_columns;
use super::{Target, query_of};
use crate::sql::cast;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::plan::{self, ROW_KEY_COLUMN};
use crate::sql::point::expression::{Compiled, Compiler, Declined, ParameterTypes};
use crate::sql::point::keys::{Keys, keys};
use crate::sql::point::select::plain_table;
use crate::sql::result::{CommandTag, QueryResult, RowStream};
use crate::sql::session::{Parameters, Running, Session};
use crate::sql::types::pg_type;
use crate::version::{Row, Value};

const ROWS_BETWEEN_CHECKS: usize = 256;

/// A row to change: its key, what it was, and what it becomes (the same again for DELETE).
struct Change {
    key: Vec<u8>,
    old: Row,
    new: Row,
}

/// A statement as the point evaluator runs it.
struct Direct {
    keys: Keys,
    condition: Option<Compiled>,
    assignments: Vec<(usize, Compiled)>,
}

impl Session {
    pub(in crate::sql) async fn update(
        &mut self,
        update: &Update,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        refuse_update_clauses(update)?;
        let target = self.row_target(&update.table)?;
        let assigned = self.assignments_of(update, &target)?;
        let returning = self.returning(update.returning.as_deref(), &target, parameters).await?;
        let direct = match &update.from {
            None => self.direct(&target, &assigned, update.selection.as_ref(), parameters)?,
            Some(_) => None,
        };
        let changes = match direct {
            Some(direct) => self.changes_by_scan(&target, direct, parameters, running).await?,
            None => {
                let more = match &update.from {
                    Some(UpdateTableFromKind::AfterSet(tables) | UpdateTableFromKind::BeforeSet(tables)) => {
                        tables.as_slice()
                    }
                    None => &[],
                };
                let selection = update.selection.as_ref();
                self.changes_by_plan(&target, &update.table, &assigned, more, selection, parameters, running)
                    .await?
            }
        };
        let key_changes = assigned
            .iter()
            .any(|(position, _)| target.schema.primary_key.contains(position));
        self.apply_updates(&target, &changes, key_changes, running).await?;
        let rows: Vec<Row> = changes.into_iter().map(|change| change.new).collect();
        self.changed(CommandTag::Update, &target, rows, returning, parameters, running)
            .await
    }

    pub(in crate::sql) async fn delete(
        &mut self,
        delete: &Delete,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        let table = delete_table(delete)?;
        let target = self.row_target(table)?;
        let returning = self.returning(delete.returning.as_deref(), &target, parameters).await?;
        let direct = match &delete.using {
            None => self.direct(&target, &[], delete.selection.as_ref(), parameters)?,
            Some(_) => None,
        };
        let changes = match direct {
            Some(direct) => self.changes_by_scan(&target, direct, parameters, running).await?,
            None => {
                let more = delete.using.as_deref().unwrap_or(&[]);
                let selection = delete.selection.as_ref();
                self.changes_by_plan(&target, table, &[], more, selection, parameters, running)
                    .await?
            }
        };
        for (index, change) in changes.iter().enumerate() {
            if index % ROWS_BETWEEN_CHECKS == 0 {
                running.pause().await?;
            }
            self.edit()?.delete(&target.name, &change.key)?;
        }
        let rows: Vec<Row> = changes.into_iter().map(|change| change.old).collect();
        self.changed(CommandTag::Delete, &target, rows, returning, parameters, running)
            .await
    }

    /// TRUNCATE: every row of the tables goes.
    pub(in crate::sql) async fn truncate(
        &mut self,
        names: &[&ObjectName],
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        let mut targets = Vec::new();
        for name in names {
            let transaction = self.glance().ok_or_else(|| SqlError::undefined_table(name))?;
            targets.push(self.target(&transaction, name, None)?);
        }
        for target in targets {
            let everything = Direct {
                keys: Keys::ALL,
                condition: None,
                assignments: Vec::new(),
            };
            let changes = self
                .changes_by_scan(&target, everything, Parameters::NONE, running)
                .await?;
            for (index, change) in changes.into_iter().enumerate() {
                if index % ROWS_BETWEEN_CHECKS == 0 {
                    running.pause().await?;
                }
                self.edit()?.delete(&target.name, &change.key)?;
            }
        }
        Ok(QueryResult::Command {
            tag: CommandTag::Plain("TRUNCATE TABLE"),
            affected: 0,
        })
    }

    pub(super) fn row_target(&mut self, table: &TableWithJoins) -> Result<Target, SqlError> {
        if !table.joins.is_empty() {
            return Err(SqlError::unsupported("a join as the target of UPDATE or DELETE"));
        }
        let Some((name, alias)) = plain_table(&table.relation) else {
            return Err(SqlError::unsupported(format_args!(
                "{} as the target of UPDATE or DELETE",
                table.relation
            )));
        };
        let transaction = self.glance().ok_or_else(|| SqlError::undefined_table(name))?;
        self.target(&transaction, name, alias)
    }

    /// SET's columns and expressions, DEFAULT replaced by the column's default.
    pub(super) fn assignments_of(&self, update: &Update, target: &Target) -> Result<Vec<(usize, Expr)>, SqlError> {
        let null = || Expr::value(datafusion::sql::sqlparser::ast::Value::Null);
        assigned_columns(&update.assignments, target)?
            .into_iter()
            .map(|(position, expression)| {
                Ok((
                    position,
                    self.assigned_expression(target, position, expression)?
                        .unwrap_or_else(null),
                ))
            })
            .collect()
    }

    /// The statement without a plan, when the evaluator knows all of its expressions.
    fn direct(
        &self,
        target: &Target,
        assigned: &[(usize, Expr)],
        selection: Option<&Expr>,
        parameters: Parameters<'_>,
    ) -> Result<Option<Direct>, SqlError> {
        let surroundings = self.surroundings();
        let relations = [target.relation()];
        let types = ParameterTypes::new(parameters.types.iter().cloned().map(Some));
        let mut compiler = Compiler::new(&relations, &surroundings, types);
        let keys = match selection {
            Some(selection) => keys(selection, &target.schema, &mut compiler, parameters.values)?,
            None => Keys::ALL,
        };
        let compiled = (|| {
            let condition = selection.map(|selection| compiler.condition(selection)).transpose()?;
            let mut assignments = Vec::with_capacity(assigned.len());
            for (position, expression) in assigned {
                let wanted = pg_type(target.schema.columns[*position].column_type);
                assignments.push((*position, compiler.compile(expression, Some(&wanted))?));
            }
            Ok(Direct {
                keys,
                condition,
                assignments,
            })
        })();
        match compiled {
            Ok(direct) => Ok(Some(direct)),
            Err(Declined::NeedsPlan) => Ok(None),
            Err(Declined::Wrong(error)) => Err(error),
        }
    }

    async fn changes_by_scan(
        &mut self,
        target: &Target,
        direct: Direct,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<Change>, SqlError> {
        let style = self.settings.style();
        let transaction = self.edit()?;
        let mut changes = Vec::new();
        let mut consider = |key: Vec<u8>, old: Row| -> Result<(), SqlError> {
            if let Some(condition) = &direct.condition
                && !condition.holds(&old, parameters.values)?
            {
                return Ok(());
            }
            let mut new = old.clone();
            for (position, compiled) in &direct.assignments {
                let value = compiled.evaluate(&old, parameters.values)?;
                new[*position] = cast::assign(value, &compiled.pg_type, &target.schema.columns[*position], &style)?;
            }
            changes.push(Change { key, old, new });
            Ok(())
        };
        match direct.keys.clone() {
            Keys::Nothing => {}
            Keys::One(key) => {
                if let Some(row) = transaction.get(&target.name, &key)? {
                    consider(key, row)?;
                }
            }
            Keys::Range(from, to) => {
                for (index, entry) in transaction.scan(&target.name, (from, to))?.enumerate() {
                    if index % ROWS_BETWEEN_CHECKS == 0 {
                        running.pause().await?;
                    }
                    let (key, row) = entry?;
                    consider(key, row)?;
                }
            }
        }
        Ok(changes)
    }

    /// Lets a plan find the rows and compute the new values; what it gives are keys into the target.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of UPDATE ... SET ... FROM ... WHERE"
    )]
    async fn changes_by_plan(
        &mut self,
        target: &Target,
        table: &TableWithJoins,
        assigned: &[(usize, Expr)],
        more: &[TableWithJoins],
        selection: Option<&Expr>,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<Change>, SqlError> {
        let key = Expr::CompoundIdentifier(vec![
            Ident::with_quote('"', target.alias.clone()),
            Ident::with_quote('"', ROW_KEY_COLUMN),
        ]);
        let alias = |index: usize| Ident::new(format!("value_{index}"));
        let mut items = vec![SelectItem::ExprWithAlias {
            expr: key,
            alias: Ident::new("row_key"),
        }];
        for (index, (_, expression)) in assigned.iter().enumerate() {
            items.push(SelectItem::ExprWithAlias {
                expr: expression.clone(),
                alias: alias(index),
            });
        }
        let from = std::iter::once(table).chain(more).cloned().collect();
        let statement = query_of(items, from, selection.cloned())?;
        let transaction = self.read();
        let mut context = self.plan_context(transaction);
        context.expose_row_key = true;
        let work = plan::query(&context, &statement, parameters.values, parameters.types);
        let RowStream { fields, mut batches } = running.interruptible(work).await?;
        let mut found: std::collections::BTreeMap<Vec<u8>, Vec<Value>> = std::collections::BTreeMap::new();
        while let Some(batch) = running.interruptible(async { Ok(batches.next().await) }).await? {
            for mut values in plan::values_of(&fields, batch?)? {
                if values.is_empty() {
                    continue;
                }
                if let Value::Bytea(key) = values.remove(0) {
                    // A row that several rows of the other tables match is changed once, as in PostgreSQL.
                    found.entry(key).or_insert(values);
                }
            }
        }
        drop((batches, context));
        let style = self.settings.style();
        let transaction = self.edit()?;
        let mut changes = Vec::with_capacity(found.len());
        for (index, (key, values)) in found.into_iter().enumerate() {
            if index % ROWS_BETWEEN_CHECKS == 0 {
                running.pause().await?;
            }
            let Some(old) = transaction.get(&target.name, &key)? else {
                continue;
            };
            let mut new = old.clone();
            for (((position, _), value), field) in assigned.iter().zip(values).zip(fields.iter().skip(1)) {
                new[*position] = cast::assign(value, &field.pg_type, &target.schema.columns[*position], &style)?;
            }
            changes.push(Change { key, old, new });
        }
        Ok(changes)
    }

    /// Writes new rows. When keys change, all old rows go first, so that `SET id = id + 1` does not meet itself.
    async fn apply_updates(
        &mut self,
        target: &Target,
        changes: &[Change],
        key_changes: bool,
        running: &Running,
    ) -> Result<(), SqlError> {
        let transaction = self.edit()?;
        let name = &target.name;
        if key_changes {
            for (index, change) in changes.iter().enumerate() {
                if index % ROWS_BETWEEN_CHECKS == 0 {
                    running.pause().await?;
                }
                transaction.delete(name, &change.key)?;
            }
        }
        for (index, change) in changes.iter().enumerate() {
            if index % ROWS_BETWEEN_CHECKS == 0 {
                running.pause().await?;
            }
            if key_changes {
                transaction.insert(name, change.new.clone())?;
            } else {
                transaction.update(name, &change.key, change.new.clone())?;
            }
        }
        Ok(())
    }

    async fn changed(
        &mut self,
        tag: CommandTag,
        target: &Target,
        rows: Vec<Row>,
        returning: Option<Returning>,
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<QueryResult, SqlError> {
        let Some(returning) = returning else {
            return Ok(QueryResult::Command {
                tag,
                affected: rows.len() as u64,
            });
        };
        let mut returned = Vec::with_capacity(rows.len());
        for row in &rows {
            returned.push(self.returned_row(&returning, target, row, parameters, running).await?);
        }
        Ok(QueryResult::Rows {
            rows: RowStream::of_values(returning.fields, returned),
            tag,
        })
    }
}

/// The one table of DELETE FROM.
pub(super) fn delete_table(delete: &Delete) -> Result<&TableWithJoins, SqlError> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() || delete.output.is_some() {
        return Err(SqlError::unsupported(
            "DELETE with ORDER BY, LIMIT, OUTPUT or several targets",
        ));
    }
    match tables.as_slice() {
        [table] => Ok(table),
        _ => Err(SqlError::unsupported("DELETE from several tables")),
    }
}

fn refuse_update_clauses(update: &Update) -> Result<(), SqlError> {
    if update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() || update.output.is_some() {
        return Err(SqlError::unsupported("UPDATE with OR, ORDER BY, LIMIT or OUTPUT"));
    }
    if update.assignments.is_empty() {
        return Err(SqlError::new(SqlErrorKind::Syntax, "UPDATE without SET"));
    }
    Ok(())
}
