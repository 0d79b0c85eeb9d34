//! What PostgreSQL calls a result column that has no alias, and columns that share a name.

use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::Expr as PlanExpr;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SelectItem,
    SetExpr, TrimWhereField,
};

use crate::chunk::Hash;
use crate::sql::names::folded;
use crate::sql::types;

/// Stands between a column's name and a number that tells it from others of the same name: a plan's columns must have
/// different names, a client's need not.
const MARK: char = '\u{1}';

const NAMELESS: &str = "?column?";

/// The name as the client sees it.
pub fn shown(name: &str) -> &str {
    match name.find(MARK) {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}

/// Longest name of a call inside a plan. Every level of an expression contains the names of all levels below it, and
/// plans ask for them at every level: nested calls with their whole texts for names would take a time that grows with
/// the fourth power of their depth.
const LONGEST: usize = 96;

/// The name itself, or a digest of it when it is long. Equal names stay equal, different ones different.
pub fn brief(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let digest = Hash::of(name.as_bytes());
    format!("{MARK}{digest}")
}

/// What a call is called in a plan.
pub fn brief_call(function: &str, args: &[PlanExpr]) -> PlanResult<String> {
    let mut name = format!("{function}(");
    for arg in args {
        name.push_str(&arg.schema_name().to_string());
        name.push(',');
    }
    name.push(')');
    Ok(brief(name))
}

/// Gives every nameless column of a select list its name, and different names to columns that would share one.
pub fn name_columns(projection: &mut [SelectItem]) {
    let has_wildcard = projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut seen: Vec<String> = Vec::new();
    for (at, item) in projection.iter_mut().enumerate() {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
            _ => continue,
        };
        let plain_column = alias.is_none() && matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let name = match &alias {
            Some(alias) if alias.quote_style.is_none() => alias.value.to_lowercase(),
            Some(alias) => alias.value.clone(),
            None => column_name(expr),
        };
        let taken = seen.contains(&name) || (has_wildcard && plain_column);
        let unique = if taken {
            format!("{name}{MARK}{at}")
        } else {
            name.clone()
        };
        seen.push(name);
        if plain_column && !taken {
            continue;
        }
        let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *item = SelectItem::ExprWithAlias {
            expr,
            alias: Ident::with_quote('"', unique),
        };
    }
}

/// PostgreSQL's `FigureColname`: columns and functions by their names, casts by what is cast or else by the type.
pub fn column_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| NAMELESS.to_string(), |(name, _)| name)
}

/// How sure a name is: that of a cast or a CASE gives way to a better one around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Weak,
    Strong,
}

fn figure(expr: &Expr) -> Option<(String, Strength)> {
    let strong = |name: &str| Some((name.to_string(), Strength::Strong));
    match expr {
        Expr::Identifier(ident) => strong(&folded(ident)),
        Expr::CompoundIdentifier(idents) => strong(&folded(idents.last()?)),
        Expr::CompoundFieldAccess { root, .. } => figure(root),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Function(function) => strong(&folded(function.name.0.last()?.as_ident()?)),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            _ => Some((type_name(data_type), Strength::Weak)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), Strength::Weak)),
        Expr::Interval(_) => Some(("interval".to_string(), Strength::Weak)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, Strength::Strong)) => Some((name, Strength::Strong)),
            _ => Some(("case".to_string(), Strength::Weak)),
        },
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => figure(expr),
                SelectItem::ExprWithAlias { alias, .. } => strong(&folded(alias)),
                _ => None,
            },
            SetExpr::Values(_) => strong("column1"),
            _ => None,
        },
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        _ => None,
    }
}

pub fn first_argument(function: &Function) -> Option<&Expr> {
    match &function.args {
        FunctionArguments::List(list) => match list.args.first()? {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        },
        _ => None,
    }
}

/// The catalog's name of a type (`int4`), which is what a cast of a constant is called.
fn type_name(data_type: &DataType) -> String {
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) = data_type {
        return type_name(element);
    }
    match types::column_type(data_type) {
        Ok(column_type) => types::pg_type(column_type).name().to_string(),
        Err(_) => data_type
            .to_string()
            .to_lowercase()
            .trim_start_matches("pg_catalog.")
            .trim_matches('"')
            .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    /// Names as PostgreSQL 15 gives them.
    #[test]
    fn columns_are_named_as_postgres_names_them() {
        for (sql, expected) in [
            ("1", "?column?"),
            ("'a'", "?column?"),
            ("true", "?column?"),
            ("NULL", "?column?"),
            ("1::int", "int4"),
            ("'a'::text", "text"),
            ("a::text", "a"),
            ("A", "a"),
            ("\"A\"", "A"),
            ("t.a", "a"),
            ("a + 1", "?column?"),
            ("count(*)", "count"),
            ("pg_catalog.upper('x')", "upper"),
            ("coalesce(1, 2)", "coalesce"),
            ("case when true then 1 else a end", "a"),
            ("case when true then 1 end", "case"),
            ("exists(select 1)", "exists"),
            ("(select a from t)", "a"),
            ("(select 5)", "?column?"),
            ("array[1]", "array"),
            ("(array[1,2])[1]", "array"),
            ("extract(year from x)", "extract"),
            ("substring('abc' from 1)", "substring"),
            ("trim('a')", "btrim"),
            ("date '2024-01-01'", "date"),
            ("interval '1 day'", "interval"),
            ("1::int::text", "text"),
            ("a::int::text", "a"),
            ("case when true then 1 else 1::int end", "case"),
            ("'{1}'::int[]", "int4"),
            ("-a", "?column?"),
            ("(a)", "a"),
            ("a is null", "?column?"),
            ("current_user", "current_user"),
        ] {
            let expr = Parser::new(&PostgreSqlDialect {})
                .try_with_sql(sql)
                .unwrap()
                .parse_expr()
                .unwrap();
            assert_eq!(column_name(&expr), expected, "{sql}");
        }
    }

    #[test]
    fn shared_names_are_told_apart_inside_and_shown_alike() {
        let sql = "SELECT a, a, b AS a, count(*), count(x)";
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        let datafusion::sql::sqlparser::ast::Statement::Query(mut query) = statement else {
            panic!("a query")
        };
        let SetExpr::Select(select) = query.body.as_mut() else {
            panic!("a select")
        };
        name_columns(&mut select.projection);
        let names: Vec<String> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                SelectItem::UnnamedExpr(expr) => column_name(expr),
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(
            names.iter().map(|name| shown(name)).collect::<Vec<_>>(),
            ["a", "a", "a", "count", "count"]
        );
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
    }
}
