//! Expressions of a write: by the point evaluator where it knows them, through a plan where it does not.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, ObjectName, Query, SelectItem, Statement, TableFactor, Value as Literal, VisitMut,
    VisitorMut,
};

use super::Target;
use crate::engine::{CLUSTER_DATABASE, Transaction};
use crate::sql::catalog::system_table;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names;
use crate::sql::names::{folded, quoted};
use crate::sql::parse;
use crate::sql::plan;
use crate::sql::point::expression::{Compiled, Compiler, Declined, ParameterTypes, Relation};
use crate::sql::point::projection::{self, output_name};
use crate::sql::result::{FieldInfo, PgType};
use crate::sql::scope::Scope;
use crate::sql::session::{Parameters, Running, Session};
use crate::sql::text;
use crate::sql::types::{column_type_of, field_of, pg_type};
use crate::version::Value;

/// An expression that will be evaluated for rows.
#[derive(Clone, Debug)]
pub(super) enum Evaluation {
    Compiled(Compiled),
    /// Columns are replaced by the row's values, and a plan computes the rest.
    Planned(Box<Expr>),
}

/// What RETURNING gives back.
pub(super) struct Returning {
    pub fields: Vec<FieldInfo>,
    outputs: Vec<Evaluation>,
}

impl Evaluation {
    /// Compiles, or leaves it to a plan.
    pub fn new(
        expression: &Expr,
        wanted: Option<&PgType>,
        compiler: &mut Compiler<'_>,
    ) -> Result<Evaluation, SqlError> {
        match compiler.compile(expression, wanted) {
            Ok(compiled) => Ok(Evaluation::Compiled(compiled)),
            Err(Declined::NeedsPlan) => Ok(Evaluation::Planned(Box::new(expression.clone()))),
            Err(Declined::Wrong(error)) => Err(error),
        }
    }
}

impl Session {
    /// The value of an expression for a row, with its type.
    pub(super) async fn evaluate_for(
        &mut self,
        evaluation: &Evaluation,
        relations: &[Relation<'_>],
        row: &[Value],
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<(Value, PgType), SqlError> {
        match evaluation {
            Evaluation::Compiled(compiled) => {
                Ok((compiled.evaluate(row, parameters.values)?, compiled.pg_type.clone()))
            }
            Evaluation::Planned(expression) => {
                let transaction = self.read();
                let columns_of = |name: &ObjectName| self.columns_of(transaction.as_deref()?, name);
                let (bound, left) = bind_columns(expression, relations, row, &columns_of)?;
                let mut values = if left {
                    let statement = over_rows(bound, relations, row)?;
                    let context = self.plan_context(transaction);
                    let work = plan::one_row(&context, &statement, parameters.values, parameters.types);
                    running.interruptible(work).await?
                } else {
                    self.evaluate_constants(std::slice::from_ref(&bound), parameters, running)
                        .await?
                };
                values
                    .pop()
                    .ok_or_else(|| SqlError::internal("a plan gave no value for an expression"))
            }
        }
    }

    /// Names of the columns that a relation in FROM may have; None for what is no table. Of a name that is a table's and a
    /// catalog's, those of both.
    fn columns_of(&self, transaction: &Transaction, name: &ObjectName) -> Option<Vec<String>> {
        let target = self.target(transaction, name, None).ok();
        let columns = target.iter().flat_map(|target| &target.schema.columns);
        let mut columns: Vec<String> = columns.map(|column| column.name.clone()).collect();
        let parts = names::parts(name).ok()?;
        let (table, schema) = parts.split_last()?;
        let schemas = match schema.last() {
            Some(schema) => vec![schema.as_str()],
            None => vec!["pg_catalog", "public", "information_schema", "dolt", CLUSTER_DATABASE],
        };
        let catalogs = schemas.into_iter().filter_map(|schema| system_table(schema, table));
        for catalog in catalogs {
            columns.extend(catalog.columns.iter().map(|(name, _)| name.to_string()));
        }
        (!columns.is_empty()).then_some(columns)
    }

    /// Values of expressions without columns, through one plan.
    pub(in crate::sql) async fn evaluate_constants(
        &mut self,
        expressions: &[Expr],
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<(Value, PgType)>, SqlError> {
        if expressions.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = self.read();
        let context = self.plan_context(transaction);
        let values = running
            .interruptible(plan::evaluate(
                &context,
                expressions,
                parameters.values,
                parameters.types,
            ))
            .await?;
        if values.len() == expressions.len() {
            Ok(values)
        } else {
            Err(SqlError::internal(
                "a plan gave another number of values than there are expressions",
            ))
        }
    }

    /// Prepares a RETURNING list over the target's rows.
    pub(super) async fn returning(
        &mut self,
        items: Option<&[SelectItem]>,
        target: &Target,
        parameters: Parameters<'_>,
    ) -> Result<Option<Returning>, SqlError> {
        let Some(items) = items else { return Ok(None) };
        let surroundings = self.surroundings();
        let relations = [target.relation()];
        let types = ParameterTypes::new(parameters.types.iter().cloned().map(Some));
        let mut compiler = Compiler::new(&relations, &surroundings, types);
        match projection::compile(items, &mut compiler) {
            Ok(outputs) => {
                let (fields, outputs) = outputs
                    .into_iter()
                    .map(|output| (output.field, Evaluation::Compiled(output.compiled)))
                    .unzip();
                return Ok(Some(Returning { fields, outputs }));
            }
            Err(Declined::Wrong(error)) => return Err(error),
            Err(Declined::NeedsPlan) => {}
        }
        let mut fields = Vec::new();
        let mut outputs = Vec::new();
        for item in items {
            let (expression, name) = match item {
                SelectItem::UnnamedExpr(expression) => (expression, output_name(expression)),
                SelectItem::ExprWithAlias { expr, alias } => (expr, folded(alias)),
                SelectItem::Wildcard(_) => {
                    for (position, column) in target.schema.columns.iter().enumerate() {
                        fields.push(field_of(column));
                        let compiled = compiler.at(position, pg_type(column.column_type));
                        outputs.push(Evaluation::Compiled(compiled));
                    }
                    continue;
                }
                other => return Err(SqlError::unsupported(format_args!("{other} in RETURNING"))),
            };
            fields.push(FieldInfo::new(name, PgType::UNKNOWN));
            outputs.push(Evaluation::new(expression, None, &mut compiler)?);
        }
        // What a plan computes, known before there is a row.
        let described = self.describe_returning(items, target, parameters.types).await?;
        for (field, described) in fields.iter_mut().zip(described) {
            if field.pg_type == PgType::UNKNOWN {
                *field = described;
            }
        }
        Ok(Some(Returning { fields, outputs }))
    }

    /// One row of RETURNING.
    pub(super) async fn returned_row(
        &mut self,
        returning: &Returning,
        target: &Target,
        row: &[Value],
        parameters: Parameters<'_>,
        running: &Running,
    ) -> Result<Vec<Value>, SqlError> {
        let relations = [target.relation()];
        let mut values = Vec::with_capacity(returning.outputs.len());
        for output in &returning.outputs {
            values.push(self.evaluate_for(output, &relations, row, parameters, running).await?.0);
        }
        Ok(values)
    }

    /// The expression of a column's default; None when it has none, which is NULL.
    pub(super) fn default_of(&self, target: &Target, position: usize) -> Result<Option<Expr>, SqlError> {
        match &target.schema.columns[position].default {
            Some(text) => parse_expression(text).map(Some),
            None => Ok(None),
        }
    }
}

/// The expression a text holds.
pub(in crate::sql) fn parse_expression(text: &str) -> Result<Expr, SqlError> {
    let statements = parse::parse(&format!("SELECT {text}"))?;
    if let [Statement::Query(query)] = statements.as_slice()
        && let datafusion::sql::sqlparser::ast::SetExpr::Select(select) = query.body.as_ref()
        && let [SelectItem::UnnamedExpr(expression)] = select.projection.as_slice()
    {
        return Ok(expression.clone());
    }
    Err(SqlError::new(
        SqlErrorKind::Syntax,
        format!("\"{text}\" is not an expression"),
    ))
}

/// The expression with the columns of the relations replaced by their values. A column in a subquery is replaced where
/// nothing of the subquery can have its name; else it is left to who plans the expression, and true is given.
fn bind_columns(
    expression: &Expr,
    relations: &[Relation<'_>],
    row: &[Value],
    columns_of: &dyn Fn(&ObjectName) -> Option<Vec<String>>,
) -> Result<(Expr, bool), SqlError> {
    let mut bound = expression.clone();
    let mut binder = Binder {
        relations,
        row,
        columns_of,
        depth: 0,
        scope: Scope::default(),
        hiding: None,
        left: false,
    };
    match VisitMut::visit(&mut bound, &mut binder) {
        ControlFlow::Continue(()) => Ok((bound, binder.left)),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Binder<'a> {
    relations: &'a [Relation<'a>],
    row: &'a [Value],
    /// A table's columns; None for what is no table of the database.
    columns_of: &'a dyn Fn(&ObjectName) -> Option<Vec<String>>,
    /// How many subqueries are around the expression at hand.
    depth: usize,
    /// Of the outermost of them.
    scope: Scope,
    /// Names without a relation that are the subquery's; None where that cannot be told.
    hiding: Option<BTreeSet<String>>,
    left: bool,
}

impl Binder<'_> {
    fn enter(&mut self, query: &Query) {
        self.scope = Scope::of(query);
        self.hiding = None;
        if self.scope.only_tables {
            let columns: Option<Vec<Vec<String>>> = self.scope.tables.iter().map(self.columns_of).collect();
            let columns = columns.map(|columns| columns.into_iter().flatten());
            self.hiding = columns.map(|columns| columns.chain(self.scope.given.iter().cloned()).collect());
        }
    }

    /// Whether a column of this name may be one of the subquery around it.
    fn may_be_hidden(&self, relation: Option<&String>, name: &String) -> bool {
        self.depth > 0
            && match relation {
                Some(relation) => self.scope.relations.contains(relation),
                None => self.hiding.as_ref().is_none_or(|hiding| hiding.contains(name)),
            }
    }

    fn replace(&mut self, expression: &mut Expr) -> Result<(), SqlError> {
        let (relation, name) = match expression {
            Expr::Identifier(name) => (None, folded(name)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => (Some(folded(relation)), folded(name)),
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        let mut found = self
            .relations
            .iter()
            .filter(|candidate| relation.as_ref().is_none_or(|relation| relation == candidate.name))
            .filter_map(|candidate| Some((candidate, candidate.schema.position(&name)?)));
        let Some((candidate, position)) = found.next() else {
            return Ok(());
        };
        if self.may_be_hidden(relation.as_ref(), &name) {
            self.left = true;
            return Ok(());
        }
        if found.next().is_some() {
            return Err(SqlError::ambiguous_column(name));
        }
        let pg_type = pg_type(candidate.schema.columns[position].column_type);
        *expression = literal_of(&self.row[candidate.offset + position], &pg_type)?;
        Ok(())
    }
}

impl VisitorMut for Binder<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if self.depth == 0 {
            self.enter(query);
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<SqlError> {
        match self.replace(expression) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// `SELECT expression FROM` the relations, each of one row, for what only a plan can tell whose column it is.
fn over_rows(expression: Expr, relations: &[Relation<'_>], row: &[Value]) -> Result<Statement, SqlError> {
    let from: Vec<String> = relations
        .iter()
        .map(|relation| {
            let columns = relation.schema.columns.iter();
            let columns: Vec<String> = columns
                .map(|column| format!("NULL AS {}", quoted(&column.name)))
                .collect();
            format!("(SELECT {}) AS {}", columns.join(", "), quoted(relation.name))
        })
        .collect();
    let mut statement = parse::parse(&format!("SELECT NULL FROM {}", from.join(", ")))?.pop();
    if let Some(Statement::Query(query)) = &mut statement
        && let Some(select) = super::select_of(query)
    {
        select.projection = vec![SelectItem::UnnamedExpr(expression)];
        for (relation, table) in relations.iter().zip(&mut select.from) {
            let TableFactor::Derived { subquery, .. } = &mut table.relation else {
                continue;
            };
            let items = super::select_of(subquery).map(|select| select.projection.iter_mut());
            let columns = relation.schema.columns.iter().zip(&row[relation.offset..]);
            for (item, (column, value)) in items.into_iter().flatten().zip(columns) {
                if let SelectItem::ExprWithAlias { expr, .. } = item {
                    *expr = literal_of(value, &pg_type(column.column_type))?;
                }
            }
        }
    }
    statement.ok_or_else(|| SqlError::internal("a query could not be built"))
}

/// A value as an expression: its text, cast to its type.
fn literal_of(value: &Value, pg_type: &PgType) -> Result<Expr, SqlError> {
    let literal = match text::to_text(value, pg_type, &text::Style::DEFAULT) {
        Some(text) => Literal::SingleQuotedString(text),
        None => Literal::Null,
    };
    let column_type = column_type_of(pg_type).unwrap_or(crate::version::ColumnType::Text);
    Ok(Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(Expr::value(literal)),
        data_type: data_type_of(&super::super::types::type_name(column_type))?,
        array: false,
        format: None,
    })
}

fn data_type_of(name: &str) -> Result<DataType, SqlError> {
    match parse_expression(&format!("NULL::{name}"))? {
        Expr::Cast { data_type, .. } => Ok(data_type),
        _ => Err(SqlError::internal("a type's name was not read as one")),
    }
}
