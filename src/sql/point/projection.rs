//! What a statement gives back of a row: select lists of point queries and RETURNING.

use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions};

use super::expression::{Compiled, Compiler, Declined};
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names::folded;
use crate::sql::result::{FieldInfo, PgType};
use crate::sql::types::{column_type, field_of, pg_type};

/// One column of a result and how to compute it.
#[derive(Clone, Debug)]
pub struct Output {
    pub field: FieldInfo,
    pub compiled: Compiled,
}

/// Compiles a select list. `*` stands for the columns of the first relation only: what RETURNING shows of a row.
pub fn compile(items: &[SelectItem], compiler: &mut Compiler<'_>) -> Result<Vec<Output>, Declined> {
    let mut outputs = Vec::with_capacity(items.len());
    for item in items {
        match item {
            SelectItem::UnnamedExpr(expression) => {
                outputs.push(output(expression, output_name(expression), compiler)?);
            }
            SelectItem::ExprWithAlias { expr, alias } => outputs.push(output(expr, folded(alias), compiler)?),
            SelectItem::Wildcard(options) if is_plain(options) => all_columns(compiler, None, &mut outputs)?,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if is_plain(options) =>
            {
                let [part] = name.0.as_slice() else {
                    return Err(Declined::NeedsPlan);
                };
                let name = part.as_ident().map(folded).ok_or(Declined::NeedsPlan)?;
                all_columns(compiler, Some(&name), &mut outputs)?;
            }
            _ => return Err(Declined::NeedsPlan),
        }
    }
    Ok(outputs)
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn output(expression: &Expr, name: String, compiler: &mut Compiler<'_>) -> Result<Output, Declined> {
    let compiled = compiler.compile(expression, None)?;
    let mut field = match compiled.as_column() {
        Some(position) => field_of(column_at(compiler, position)?),
        None => FieldInfo::new("", compiled.pg_type.clone()),
    };
    if field.pg_type == PgType::UNKNOWN {
        // A literal nobody asked a type of is text in the end.
        field.pg_type = PgType::TEXT;
    }
    field.name = name;
    Ok(Output { field, compiled })
}

fn column_at<'a>(compiler: &Compiler<'a>, position: usize) -> Result<&'a crate::version::Column, Declined> {
    compiler
        .relations
        .iter()
        .find_map(|relation| relation.schema.columns.get(position.checked_sub(relation.offset)?))
        .ok_or(Declined::NeedsPlan)
}

fn all_columns(compiler: &mut Compiler<'_>, name: Option<&str>, outputs: &mut Vec<Output>) -> Result<(), Declined> {
    let relations = compiler.relations;
    let found = relations
        .iter()
        .find(|relation| name.is_none_or(|name| relation.name == name));
    let Some(relation) = found else {
        return Err(match name {
            Some(name) => SqlError::new(
                SqlErrorKind::UndefinedTable,
                format!("missing FROM-clause entry for table \"{name}\""),
            )
            .into(),
            None => Declined::NeedsPlan,
        });
    };
    for (position, column) in relation.schema.columns.iter().enumerate() {
        let compiled = compiler.at(relation.offset + position, pg_type(column.column_type));
        outputs.push(Output {
            field: field_of(column),
            compiled,
        });
    }
    Ok(())
}

/// The name PostgreSQL gives a column of a result without an alias.
pub fn output_name(expression: &Expr) -> String {
    named(expression).unwrap_or_else(|| "?column?".to_string())
}

fn named(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        Expr::Nested(inner) => named(inner),
        Expr::Cast { expr, data_type, .. } => {
            named(expr).or_else(|| column_type(data_type).ok().map(|to| pg_type(to).name().to_string()))
        }
        Expr::TypedString(typed) => column_type(&typed.data_type)
            .ok()
            .map(|to| pg_type(to).name().to_string()),
        Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).map(folded),
        Expr::Case { .. } => Some("case".to_string()),
        Expr::Exists { .. } => Some("exists".to_string()),
        _ => None,
    }
}
