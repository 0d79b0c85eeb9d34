//! Parameters and columns of writes, before they are executed: types of parameters come from the columns they go to.

use datafusion::sql::sqlparser::ast::{
    Delete, Expr, Insert, OnConflictAction, OnInsert, SelectItem, SetExpr, Statement, TableWithJoins, Update,
    UpdateTableFromKind, Value as Literal,
};

use super::insert::{assigned_columns, insert_columns, plain_values};
use super::rows::delete_table;
use super::{Target, is_default, query_of};
use crate::sql::error::SqlError;
use crate::sql::names::quoted;
use crate::sql::plan;
use crate::sql::point::expression::{Compiler, Declined, ParameterTypes, Relation, parameter_index};
use crate::sql::point::projection;
use crate::sql::result::{FieldInfo, PgType};
use crate::sql::session::{Running, Session};
use crate::sql::types::{field_of, pg_type};

/// What is known of a write before it runs.
pub(in crate::sql) struct Described {
    pub params: Vec<PgType>,
    pub columns: Option<Vec<FieldInfo>>,
}

impl Session {
    pub(in crate::sql) async fn describe_insert(
        &mut self,
        insert: &Insert,
        known: &[Option<PgType>],
        running: &Running,
    ) -> Result<Described, SqlError> {
        let target = self.insert_target(insert)?;
        let columns = insert_columns(insert, &target)?;
        let surroundings = self.surroundings();
        let mut types = ParameterTypes::new(known.iter().cloned());
        if let Some(query) = insert.source.as_deref() {
            match plain_values(query) {
                Some(rows) => {
                    let mut planned = Vec::new();
                    let mut compiler = Compiler::new(&[], &surroundings, types);
                    for row in rows {
                        for (position, expression) in columns.iter().zip(row) {
                            let wanted = pg_type(target.schema.columns[*position].column_type);
                            infer(expression, Some(&wanted), &mut compiler, &mut planned)?;
                        }
                    }
                    types = compiler.parameters;
                    types = self.infer_by_plan(planned, Vec::new(), None, types, running).await?;
                }
                None => {
                    let mut said = types.known().to_vec();
                    if let SetExpr::Select(select) = query.body.as_ref() {
                        hint_outputs(&select.projection, &columns, &target, &mut said)?;
                    }
                    let statement = Statement::Query(Box::new(query.clone()));
                    let context = self.plan_context(self.glance());
                    let described = running
                        .interruptible(plan::describe(&context, &statement, &said))
                        .await?;
                    types = ParameterTypes::new(described.params.into_iter().map(Some));
                }
            }
        }
        if let Some(OnInsert::OnConflict(conflict)) = &insert.on
            && let OnConflictAction::DoUpdate(update) = &conflict.action
        {
            let width = target.schema.columns.len();
            let relations = [
                target.relation(),
                Relation {
                    name: "excluded",
                    schema: &target.schema,
                    offset: width,
                },
            ];
            let mut compiler = Compiler::new(&relations, &surroundings, types);
            let mut planned = Vec::new();
            for (position, expression) in assigned_columns(&update.assignments, &target)? {
                let wanted = pg_type(target.schema.columns[position].column_type);
                infer(expression, Some(&wanted), &mut compiler, &mut planned)?;
            }
            if let Some(condition) = &update.selection {
                infer(condition, Some(&PgType::BOOL), &mut compiler, &mut planned)?;
            }
            types = compiler.parameters;
        }
        self.described(insert.returning.as_deref(), &target, types).await
    }

    pub(in crate::sql) async fn describe_update(
        &mut self,
        update: &Update,
        known: &[Option<PgType>],
        running: &Running,
    ) -> Result<Described, SqlError> {
        let target = self.row_target(&update.table)?;
        let assigned = self.assignments_of(update, &target)?;
        let more = match &update.from {
            Some(UpdateTableFromKind::AfterSet(tables) | UpdateTableFromKind::BeforeSet(tables)) => tables.clone(),
            None => Vec::new(),
        };
        let table = &update.table;
        let types = self
            .describe_change(
                &target,
                table,
                &assigned,
                more,
                update.selection.as_ref(),
                known,
                running,
            )
            .await?;
        self.described(update.returning.as_deref(), &target, types).await
    }

    pub(in crate::sql) async fn describe_delete(
        &mut self,
        delete: &Delete,
        known: &[Option<PgType>],
        running: &Running,
    ) -> Result<Described, SqlError> {
        let table = delete_table(delete)?;
        let target = self.row_target(table)?;
        let more = delete.using.clone().unwrap_or_default();
        let types = self
            .describe_change(&target, table, &[], more, delete.selection.as_ref(), known, running)
            .await?;
        self.described(delete.returning.as_deref(), &target, types).await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of UPDATE ... SET ... FROM ... WHERE"
    )]
    async fn describe_change(
        &mut self,
        target: &Target,
        table: &TableWithJoins,
        assigned: &[(usize, Expr)],
        more: Vec<TableWithJoins>,
        selection: Option<&Expr>,
        known: &[Option<PgType>],
        running: &Running,
    ) -> Result<ParameterTypes, SqlError> {
        let surroundings = self.surroundings();
        let relations = [target.relation()];
        let mut compiler = Compiler::new(&relations, &surroundings, ParameterTypes::new(known.iter().cloned()));
        let mut planned = Vec::new();
        for (position, expression) in assigned {
            let wanted = pg_type(target.schema.columns[*position].column_type);
            infer(expression, Some(&wanted), &mut compiler, &mut planned)?;
        }
        let mut condition = None;
        if let Some(selection) = selection {
            let mut declined = Vec::new();
            infer(selection, Some(&PgType::BOOL), &mut compiler, &mut declined)?;
            condition = declined.pop();
        }
        let types = compiler.parameters;
        if more.is_empty() && planned.is_empty() && condition.is_none() {
            return Ok(types);
        }
        let from = std::iter::once(table.clone()).chain(more).collect();
        self.infer_by_plan(planned, from, selection.cloned(), types, running)
            .await
    }

    /// Asks a plan about the parameters of expressions that the evaluator declined.
    async fn infer_by_plan(
        &mut self,
        expressions: Vec<Expr>,
        from: Vec<TableWithJoins>,
        selection: Option<Expr>,
        types: ParameterTypes,
        running: &Running,
    ) -> Result<ParameterTypes, SqlError> {
        if expressions.is_empty() && selection.is_none() {
            return Ok(types);
        }
        let mut items: Vec<SelectItem> = expressions.into_iter().map(SelectItem::UnnamedExpr).collect();
        if items.is_empty() {
            items.push(SelectItem::UnnamedExpr(Expr::value(Literal::Null)));
        }
        let statement = query_of(items, from, selection)?;
        let context = self.plan_context(self.glance());
        let described = running
            .interruptible(plan::describe(&context, &statement, types.known()))
            .await?;
        let found = described.params;
        let mut merged: Vec<Option<PgType>> = types.known().to_vec();
        if merged.len() < found.len() {
            merged.resize(found.len(), None);
        }
        for (slot, found) in merged.iter_mut().zip(found) {
            slot.get_or_insert(found);
        }
        Ok(ParameterTypes::new(merged))
    }

    async fn described(
        &mut self,
        returning: Option<&[SelectItem]>,
        target: &Target,
        types: ParameterTypes,
    ) -> Result<Described, SqlError> {
        let columns = match returning {
            None => None,
            Some(items) => {
                let surroundings = self.surroundings();
                let relations = [target.relation()];
                let mut compiler = Compiler::new(&relations, &surroundings, types.clone());
                match projection::compile(items, &mut compiler) {
                    Ok(outputs) => Some(outputs.into_iter().map(|output| output.field).collect()),
                    Err(Declined::Wrong(error)) => return Err(error),
                    Err(Declined::NeedsPlan) => {
                        Some(self.describe_returning(items, target, &types.clone().finish()).await?)
                    }
                }
            }
        };
        Ok(Described {
            params: types.finish(),
            columns,
        })
    }

    /// Fields of a RETURNING list that a plan has to look at.
    pub(super) async fn describe_returning(
        &mut self,
        items: &[SelectItem],
        target: &Target,
        types: &[PgType],
    ) -> Result<Vec<FieldInfo>, SqlError> {
        // The table under its own name and, if it has one, its alias: the parser knows how to write that.
        let text = format!(
            "SELECT 1 FROM {}.{} AS {}",
            quoted(&target.name.schema),
            quoted(&target.name.name),
            quoted(&target.alias)
        );
        let Some(Statement::Query(mut query)) = crate::sql::parse::parse(&text)?.pop() else {
            return Err(SqlError::internal("a query could not be built"));
        };
        if let Some(select) = super::select_of(&mut query) {
            select.projection = items.to_vec();
        }
        let known: Vec<Option<PgType>> = types.iter().cloned().map(Some).collect();
        let context = self.plan_context(self.glance());
        let described = plan::describe(&context, &Statement::Query(query), &known).await?;
        Ok(described.fields)
    }
}

/// Lets the evaluator find parameters; what it declines is kept for a plan.
fn infer(
    expression: &Expr,
    wanted: Option<&PgType>,
    compiler: &mut Compiler<'_>,
    planned: &mut Vec<Expr>,
) -> Result<(), SqlError> {
    if is_default(expression) {
        return Ok(());
    }
    match compiler.compile(expression, wanted) {
        Ok(_) => Ok(()),
        Err(Declined::NeedsPlan) => {
            planned.push(expression.clone());
            Ok(())
        }
        Err(Declined::Wrong(error)) => Err(error),
    }
}

/// `INSERT INTO t SELECT $1, ...`: a bare parameter has the type of the column it goes to.
fn hint_outputs(
    items: &[SelectItem],
    columns: &[usize],
    target: &Target,
    said: &mut Vec<Option<PgType>>,
) -> Result<(), SqlError> {
    for (item, position) in items.iter().zip(columns) {
        if let SelectItem::UnnamedExpr(Expr::Value(value))
        | SelectItem::ExprWithAlias {
            expr: Expr::Value(value),
            ..
        } = item
            && let Literal::Placeholder(name) = &value.value
        {
            let index = parameter_index(name)?;
            if said.len() <= index {
                said.resize(index + 1, None);
            }
            said[index].get_or_insert(field_of(&target.schema.columns[*position]).pg_type);
        }
    }
    Ok(())
}
