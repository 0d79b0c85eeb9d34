//! Pieces of syntax trees, made by hand: what the rewriter says in other words.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Query, Statement, TableAlias,
};
use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

use super::cast::cast_name;
use super::constant::number_constant;
use crate::sql::PgType;
use crate::sql::depth::joined;
use crate::sql::names::folded;

pub fn last_name(name: &ObjectName) -> String {
    name.0
        .last()
        .and_then(ObjectNamePart::as_ident)
        .map(folded)
        .unwrap_or_default()
}

pub fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

pub fn no_arguments() -> FunctionArgumentList {
    FunctionArgumentList {
        duplicate_treatment: None,
        args: Vec::new(),
        clauses: Vec::new(),
    }
}

/// A call of a function by its exact name.
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { args, ..no_arguments() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub fn typed(inner: Expr, pg_type: &PgType, typmod: i32) -> Expr {
    call(&cast_name(pg_type, typmod), vec![inner])
}

pub fn table_alias(name: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: Ident::with_quote('"', name),
        columns: Vec::new(),
        at: None,
    }
}

pub fn parsed_query(sql: &str) -> Query {
    match Parser::parse_sql(&PostgreSqlDialect {}, sql).map(|mut statements| statements.pop()) {
        Ok(Some(Statement::Query(query))) => *query,
        _ => unreachable!("the text of our own query parses: {sql}"),
    }
}

/// `(a, b) = (c, d)` column by column.
pub fn compared_rows(left: Box<Expr>, op: BinaryOperator, right: Box<Expr>) -> Expr {
    let join = match op {
        BinaryOperator::Eq => BinaryOperator::And,
        BinaryOperator::NotEq => BinaryOperator::Or,
        _ => return Expr::BinaryOp { left, op, right },
    };
    match (*left, *right) {
        (Expr::Tuple(a), Expr::Tuple(b)) if a.len() == b.len() && !a.is_empty() => {
            let pairs = a.into_iter().zip(b).map(|(a, b)| binary(a, op.clone(), b));
            let all = pairs.reduce(|all, next| binary(all, join.clone(), next));
            Expr::Nested(Box::new(all.unwrap_or_else(|| number_constant("0"))))
        }
        (left, right) => binary(left, op, right),
    }
}

/// `(a, b) IN ((1, 2), (3, 4))`.
pub fn row_in_list(row: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    let (op, join) = if negated {
        (BinaryOperator::NotEq, BinaryOperator::And)
    } else {
        (BinaryOperator::Eq, BinaryOperator::Or)
    };
    let equal = list
        .into_iter()
        .map(|item| compared_rows(Box::new(row.clone()), op.clone(), Box::new(item)));
    Expr::Nested(Box::new(joined(equal.collect(), &join)))
}
