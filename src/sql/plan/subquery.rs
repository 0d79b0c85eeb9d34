//! Subqueries in the forms DataFusion can take apart: one value, an array, existence, and blocks that have no rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    GroupByExpr, Ident, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator,
    Visit, VisitMut, Visitor, VisitorMut,
};

use super::names;
use super::rewrite::{ARRAY_OR_EMPTY, SINGLE_VALUE};
use super::syntax::{binary, call, last_name, parsed_query};
use crate::sql::SqlError;
use crate::sql::names::folded;
use crate::sql::scope::Scope;

/// `ARRAY(SELECT ...)`.
pub fn array(mut query: Query) -> Result<Expr, SqlError> {
    if gather(&mut query) {
        return Ok(call(ARRAY_OR_EMPTY, vec![Expr::Subquery(Box::new(query))]));
    }
    let mut outer = parsed_query("SELECT array_agg(x) FROM (SELECT 1) AS a(x)");
    let SetExpr::Select(select) = outer.body.as_mut() else {
        return Err(SqlError::internal("the text of our own query is a select"));
    };
    if let TableFactor::Derived { subquery, .. } = &mut select.from[0].relation {
        **subquery = query;
    }
    Ok(call(ARRAY_OR_EMPTY, vec![Expr::Subquery(Box::new(outer))]))
}

/// Makes a plain query of one column give the array of its values itself; false: it stays as it is. What it takes from
/// the query around it is then one level away, not two, which DataFusion can take apart.
fn gather(query: &mut Query) -> bool {
    if query.limit_clause.is_some() || query.fetch.is_some() || query.with.is_some() {
        return false;
    }
    let SetExpr::Select(select) = query.body.as_mut() else {
        return false;
    };
    let (column, alias) = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(column)] => (column.clone(), None),
        [SelectItem::ExprWithAlias { expr, alias }] => (expr.clone(), Some(alias.clone())),
        _ => return false,
    };
    if !is_plain(select) || has_aggregate(&column) {
        return false;
    }
    let mut order = Vec::new();
    match &query.order_by {
        None => {}
        Some(order_by) => match &order_by.kind {
            OrderByKind::Expressions(exprs) => order.clone_from(exprs),
            OrderByKind::All(_) => return false,
        },
    }
    for by in &mut order {
        let is_column = match &by.expr {
            Expr::Identifier(name) => alias.as_ref().is_some_and(|alias| folded(alias) == folded(name)),
            // `ORDER BY 1`: there is one column.
            Expr::Value(_) => true,
            _ => false,
        };
        if is_column {
            by.expr = column.clone();
        }
    }
    let mut gathered = call("array_agg", vec![column]);
    if let Expr::Function(function) = &mut gathered
        && let FunctionArguments::List(list) = &mut function.args
        && !order.is_empty()
    {
        list.clauses = vec![FunctionArgumentClause::OrderBy(order)];
    }
    query.order_by = None;
    select.projection = vec![SelectItem::UnnamedExpr(gathered)];
    true
}

/// A subquery used as a value: more than one row is an error (21000), not a choice.
pub fn scalar(mut query: Box<Query>) -> Expr {
    if query.limit_clause.is_some() || query.fetch.is_some() || query.with.is_some() {
        return Expr::Subquery(query);
    }
    let mut condition = None;
    if let SetExpr::Select(select) = query.body.as_mut()
        && is_plain(select)
        && let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_mut_slice()
        && !has_aggregate(expr)
    {
        let inner = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *expr = call(SINGLE_VALUE, vec![inner]);
        query.order_by = None;
        condition = simplify_correlation(select);
    }
    match condition {
        None => Expr::Subquery(query),
        // Without rows the value is NULL, and so it is when what does not depend on them is not true.
        Some(condition) => {
            let mut value = parsed_query("SELECT CASE WHEN true THEN 1 END");
            let SetExpr::Select(select) = value.body.as_mut() else {
                return Expr::Subquery(query);
            };
            let Some(SelectItem::UnnamedExpr(mut case)) = select.projection.pop() else {
                return Expr::Subquery(query);
            };
            if let Expr::Case { conditions, .. } = &mut case {
                conditions[0].condition = condition;
                conditions[0].result = Expr::Subquery(query);
            }
            case
        }
    }
}

/// EXISTS outside WHERE, where it cannot become a join: whether the rows are more than none.
pub fn exists_as_value(expr: &mut Expr) {
    struct Replacer;
    impl VisitorMut for Replacer {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Exists { subquery, negated } = expr
                && let SetExpr::Select(select) = subquery.body.as_mut()
                && is_plain(select)
                && subquery.limit_clause.is_none()
                && !select.from.is_empty()
                && !select.projection.iter().any(|item| {
                    matches!(item, SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if has_aggregate(expr))
                })
            {
                let mut count = parsed_query("SELECT count(*)");
                if let SetExpr::Select(counting) = count.body.as_mut() {
                    select.projection = std::mem::take(&mut counting.projection);
                }
                subquery.order_by = None;
                let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
                let none = Expr::Value(datafusion::sql::sqlparser::ast::Value::Number("0".to_string(), false).into());
                *expr = Expr::Nested(Box::new(binary(Expr::Subquery(subquery.clone()), op, none)));
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(expr, &mut Replacer);
}

/// `x = ANY (SELECT ...)` is `x IN (SELECT ...)`, and `x <> ALL (SELECT ...)` is `x NOT IN (SELECT ...)`. The rows of other
/// comparisons are put into a FROM, so that nobody takes them for a single value.
pub fn compared_with_rows(expr: &mut Expr) {
    let (left, op, right, all) = match expr {
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => (left, compare_op, right, false),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => (left, compare_op, right, true),
        _ => return,
    };
    let Expr::Subquery(subquery) = right.as_mut() else {
        return;
    };
    if matches!((op, all), (BinaryOperator::Eq, false) | (BinaryOperator::NotEq, true)) {
        *expr = Expr::InSubquery {
            expr: left.clone(),
            subquery: subquery.clone(),
            negated: all,
        };
        return;
    }
    let mut rows = parsed_query("SELECT * FROM (SELECT 1) AS \"\u{1}rows\"");
    if let SetExpr::Select(select) = rows.body.as_mut()
        && let Some(table) = select.from.first_mut()
        && let TableFactor::Derived { subquery: inner, .. } = &mut table.relation
    {
        std::mem::swap(inner, subquery);
        **subquery = rows;
    }
}

/// `x IN (SELECT ...)` outside WHERE, where it cannot become a join: true when a row equals `x`; otherwise NULL when there
/// are rows and `x` is NULL, or one of them is; otherwise false.
pub fn in_as_value(expr: &mut Expr) {
    struct Replacer;
    impl VisitorMut for Replacer {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::InSubquery {
                expr: inner,
                subquery,
                negated,
            } = expr
                && !matches!(**inner, Expr::Tuple(_))
                && let Some(value) = in_rows(inner, subquery)
            {
                *expr = if *negated {
                    Expr::UnaryOp {
                        op: UnaryOperator::Not,
                        expr: Box::new(value),
                    }
                } else {
                    value
                };
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(expr, &mut Replacer);
}

fn in_rows(wanted: &Expr, rows: &Query) -> Option<Expr> {
    let item = Expr::Identifier(Ident::with_quote('"', "\u{1}item"));
    let none = || Expr::Value(datafusion::sql::sqlparser::ast::Value::Number("0".to_string(), false).into());
    let some_rows = |condition: Option<Expr>| {
        let mut count = parsed_query("SELECT count(*) FROM (SELECT 1) AS \"\u{1}rows\"(\"\u{1}item\")");
        let SetExpr::Select(select) = count.body.as_mut() else {
            return None;
        };
        let TableFactor::Derived { subquery, .. } = &mut select.from.first_mut()?.relation else {
            return None;
        };
        **subquery = rows.clone();
        select.selection = condition;
        Some(binary(Expr::Subquery(Box::new(count)), BinaryOperator::Gt, none()))
    };
    let equal = some_rows(Some(binary(item.clone(), BinaryOperator::Eq, wanted.clone())))?;
    let unknown = some_rows(Some(Expr::IsNull(Box::new(item))))?;
    let no_wanted = binary(
        Expr::IsNull(Box::new(wanted.clone())),
        BinaryOperator::And,
        some_rows(None)?,
    );
    let mut value =
        parsed_query("SELECT CASE WHEN true THEN true WHEN true THEN NULL WHEN true THEN NULL ELSE false END");
    let SetExpr::Select(select) = value.body.as_mut() else {
        return None;
    };
    let Some(SelectItem::UnnamedExpr(mut case)) = select.projection.pop() else {
        return None;
    };
    if let Expr::Case { conditions, .. } = &mut case {
        for (when, condition) in conditions.iter_mut().zip([equal, no_wanted, unknown]) {
            when.condition = condition;
        }
    }
    Some(case)
}

/// Neither grouped nor narrowed after the fact.
fn is_plain(select: &Select) -> bool {
    !matches!(select.distinct, Some(Distinct::On(_) | Distinct::Distinct))
        && select.having.is_none()
        && !select.from.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
}

/// Makes the outer query's columns appear only in equalities, which can become a join: conditions on outer columns alone
/// are taken out and given back, and where `inner = outer` holds, other conditions can as well speak of `inner`.
fn simplify_correlation(select: &mut Select) -> Option<Expr> {
    let own = own_aliases(select)?;
    let mut conjuncts = Vec::new();
    split_and(select.selection.take()?, &mut conjuncts);
    let is_own = |expr: &Expr| qualifier(expr).map(|name| own.contains(&name));
    let equal: Vec<(Expr, Expr)> = conjuncts
        .iter()
        .filter_map(|conjunct| match conjunct {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } => match (is_own(left), is_own(right)) {
                (Some(true), Some(false)) => Some(((**right).clone(), (**left).clone())),
                (Some(false), Some(true)) => Some(((**left).clone(), (**right).clone())),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let (mut kept, mut taken) = (Vec::new(), Vec::new());
    for mut conjunct in conjuncts {
        let is_equality = matches!(&conjunct, Expr::BinaryOp { left, op: BinaryOperator::Eq, right }
            if is_own(left).zip(is_own(right)).is_some_and(|(a, b)| a != b));
        if is_equality {
            kept.push(conjunct);
            continue;
        }
        let columns = columns_of(&conjunct);
        if !columns.is_empty() && columns.iter().all(|column| is_own(column) == Some(false)) {
            taken.push(conjunct);
            continue;
        }
        replace_columns(&mut conjunct, &equal);
        kept.push(conjunct);
    }
    let all = |conjuncts: Vec<Expr>| {
        conjuncts
            .into_iter()
            .reduce(|all, next| binary(all, BinaryOperator::And, next))
    };
    select.selection = all(kept);
    all(taken)
}

/// The names by which a block's own tables are known. None when one has no plain name.
fn own_aliases(select: &Select) -> Option<Vec<String>> {
    let factors = select
        .from
        .iter()
        .flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)));
    factors
        .map(|factor| match factor {
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                Some(folded(&alias.name))
            }
            TableFactor::Table { name, .. } => Some(last_name(name)),
            _ => None,
        })
        .collect()
}

fn split_and(expr: Expr, conjuncts: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            split_and(*left, conjuncts);
            split_and(*right, conjuncts);
        }
        other => conjuncts.push(other),
    }
}

/// The table a qualified column belongs to.
fn qualifier(expr: &Expr) -> Option<String> {
    match expr {
        Expr::CompoundIdentifier(idents) if idents.len() == 2 => Some(folded(&idents[0])),
        _ => None,
    }
}

/// Columns of an expression, qualified or not, and anything that hides some.
fn columns_of(expr: &Expr) -> Vec<Expr> {
    #[derive(Default)]
    struct Finder(Vec<Expr>);
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if matches!(
                expr,
                Expr::Identifier(_)
                    | Expr::CompoundIdentifier(_)
                    | Expr::Subquery(_)
                    | Expr::Exists { .. }
                    | Expr::InSubquery { .. }
            ) {
                self.0.push(expr.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut finder = Finder::default();
    let _ = expr.visit(&mut finder);
    finder.0
}

/// Not in subqueries that have relations of the same names, where a column may be one of theirs.
fn replace_columns(expr: &mut Expr, equal: &[(Expr, Expr)]) {
    struct Replacer<'a> {
        equal: &'a [(Expr, Expr)],
        /// Of the subqueries around the expression at hand.
        scopes: Vec<Scope>,
    }
    impl VisitorMut for Replacer<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            self.scopes.push(Scope::of(query));
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.scopes.pop();
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if qualifier(expr).is_none() {
                return ControlFlow::Continue(());
            }
            let is_hidden = |column: &Expr| {
                qualifier(column)
                    .is_none_or(|relation| self.scopes.iter().any(|scope| scope.relations.contains(&relation)))
            };
            let text = expr.to_string();
            let replacement = self.equal.iter().find(|(outer, _)| outer.to_string() == text);
            if let Some((outer, inner)) = replacement
                && !is_hidden(outer)
                && !is_hidden(inner)
            {
                *expr = inner.clone();
            }
            ControlFlow::Continue(())
        }
    }
    let mut replacer = Replacer {
        equal,
        scopes: Vec::new(),
    };
    let _ = VisitMut::visit(expr, &mut replacer);
}

/// A block that joins a relation without rows has no rows, so its expressions, whatever they are, are never computed.
pub fn prune(body: &mut SetExpr, always_empty: &dyn Fn(Option<&str>, &str) -> bool) -> bool {
    match body {
        SetExpr::Select(select) if is_empty(select, always_empty) => {
            names::name_columns(&mut select.projection);
            let empty = parsed_query("SELECT NULL::text WHERE false");
            let SetExpr::Select(mut replacement) = *empty.body else {
                return false;
            };
            let null = match replacement.projection.pop() {
                Some(SelectItem::UnnamedExpr(null)) => null,
                _ => return false,
            };
            replacement.projection = select
                .projection
                .iter()
                .map(|item| {
                    let alias = match item {
                        SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
                        SelectItem::UnnamedExpr(expr) => Ident::with_quote('"', names::column_name(expr)),
                        _ => Ident::with_quote('"', "?column?"),
                    };
                    SelectItem::ExprWithAlias {
                        expr: null.clone(),
                        alias,
                    }
                })
                .collect();
            *select = replacement;
            true
        }
        SetExpr::SetOperation { left, right, .. } => {
            prune(left, always_empty);
            prune(right, always_empty);
            false
        }
        _ => false,
    }
}

fn is_empty(select: &Select, always_empty: &dyn Fn(Option<&str>, &str) -> bool) -> bool {
    let is_empty = |factor: &TableFactor| match factor {
        TableFactor::Table { name, args: None, .. } => {
            let schema = (name.0.len() == 2).then(|| name.0[0].as_ident().map(folded)).flatten();
            always_empty(schema.as_deref(), &last_name(name))
        }
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.iter().any(is_always_null),
        TableFactor::Table {
            name, args: Some(args), ..
        } if last_name(name) == "unnest" => args
            .args
            .iter()
            .any(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if is_always_null(expr))),
        _ => false,
    };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let plain = select.projection.iter().all(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => !has_aggregate(expr),
        _ => false,
    });
    if !ungrouped || !plain || select.having.is_some() || select.into.is_some() {
        return false;
    }
    select.from.iter().any(|table| {
        let keeps_left = |op: &JoinOperator| {
            matches!(
                op,
                JoinOperator::Join(_)
                    | JoinOperator::Inner(_)
                    | JoinOperator::CrossJoin(_)
                    | JoinOperator::Left(_)
                    | JoinOperator::LeftOuter(_)
            )
        };
        let inner = |op: &JoinOperator| {
            matches!(
                op,
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
            )
        };
        table.joins.iter().all(|join| keeps_left(&join.join_operator))
            && (is_empty(&table.relation)
                || table
                    .joins
                    .iter()
                    .any(|join| inner(&join.join_operator) && is_empty(&join.relation)))
    })
}

/// Columns of the system catalog that are NULL on every row here, whatever table of it they belong to.
fn is_always_null(expr: &Expr) -> bool {
    match expr {
        Expr::CompoundIdentifier(idents) => idents
            .last()
            .is_some_and(|name| matches!(name.value.as_str(), "reloptions" | "relacl" | "datacl" | "nspacl")),
        _ => false,
    }
}

/// Whether an expression aggregates at its own level (window functions do not).
fn has_aggregate(expr: &Expr) -> bool {
    struct Finder {
        depth: usize,
    }
    impl datafusion::sql::sqlparser::ast::Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function)
                    if self.depth == 0 && function.over.is_none() && is_aggregate(&last_name(&function.name)) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    datafusion::sql::sqlparser::ast::Visit::visit(expr, &mut Finder { depth: 0 }).is_break()
}

fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "array_agg"
            | "string_agg"
            | "bool_and"
            | "bool_or"
            | "every"
            | "bit_and"
            | "bit_or"
            | "bit_xor"
            | "stddev"
            | "stddev_pop"
            | "stddev_samp"
            | "variance"
            | "var_pop"
            | "var_samp"
            | "corr"
            | "covar_pop"
            | "covar_samp"
            | "first_value"
            | "last_value"
            | "median"
            | SINGLE_VALUE
    )
}
