//! Expressions of a write: by the point evaluator where it knows them, through a plan where it does not.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, SelectItem, Statement, Value as Literal, visit_expressions_mut,
};

use super::Target;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::parse;
use crate::sql::plan;
use crate::sql::point::expression::{Compiled, Compiler, Declined, ParameterTypes, Relation, folded};
use crate::sql::point::projection::{self, output_name};
use crate::sql::result::{FieldInfo, PgType};
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
                let bound = bind_columns(expression, relations, row)?;
                let mut values = self
                    .evaluate_constants(std::slice::from_ref(&bound), parameters, running)
                    .await?;
                values
                    .pop()
                    .ok_or_else(|| SqlError::internal("a plan gave no value for an expression"))
            }
        }
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
        // Types of what a plan computes, known before there is a row.
        let described = self.describe_returning(items, target, parameters.types).await?;
        for (field, described) in fields.iter_mut().zip(described) {
            if field.pg_type == PgType::UNKNOWN {
                *field = FieldInfo {
                    name: std::mem::take(&mut field.name),
                    ..described
                };
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

/// The expression with every column of the relations replaced by its value.
fn bind_columns(expression: &Expr, relations: &[Relation<'_>], row: &[Value]) -> Result<Expr, SqlError> {
    let mut bound = expression.clone();
    let flow = visit_expressions_mut(&mut bound, |inner| {
        let (relation, name) = match inner {
            Expr::Identifier(name) => (None, folded(name)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => (Some(folded(relation)), folded(name)),
                _ => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        let mut found = relations
            .iter()
            .filter(|candidate| relation.as_ref().is_none_or(|relation| relation == candidate.name))
            .filter_map(|candidate| Some((candidate, candidate.schema.position(&name)?)));
        let Some((candidate, position)) = found.next() else {
            return ControlFlow::Continue(());
        };
        if found.next().is_some() {
            return ControlFlow::Break(SqlError::ambiguous_column(name));
        }
        let pg_type = pg_type(candidate.schema.columns[position].column_type);
        match literal_of(&row[candidate.offset + position], &pg_type) {
            Ok(literal) => *inner = literal,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    });
    match flow {
        ControlFlow::Continue(()) => Ok(bound),
        ControlFlow::Break(error) => Err(error),
    }
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
