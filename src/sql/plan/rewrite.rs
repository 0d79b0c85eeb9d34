//! From PostgreSQL's syntax to what DataFusion's planner takes, statement by statement, before any name is resolved.
//!
//! Everything here is decided by the text alone. Casts become calls of functions whose names say the type
//! ([`cast_name`]), number constants get PostgreSQL's types the same way, columns get PostgreSQL's names, parameters become
//! constants of their types, and a few constructs are said in other words that mean the same.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CaseWhen, CastKind, DataType, Distinct, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, JoinOperator, LimitClause,
    ObjectName, ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableAlias,
    TableAliasColumnDef, TableFactor, TableFunctionArgs, UnaryOperator, Value as Constant, ValueWithSpan, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

use super::arrow;
use super::cast::{cast_name, cast_target};
use super::error::undefined_function;
use super::names::{self, first_argument};
use super::operators::{AVG_ARGUMENT, SUM_ARGUMENT};
use crate::sql::text::{self, Style};
use crate::sql::{PgType, SqlError, SqlErrorKind, types};
use crate::version::Value;

/// Aggregate that gives the only value of its input and fails on a second one.
pub const SINGLE_VALUE: &str = "\u{1}single";
/// Turns the NULL that `array_agg` gives for no rows into the empty array of `ARRAY(SELECT ...)`.
pub const ARRAY_OR_EMPTY: &str = "\u{1}array";

/// What the rewriter must know beside the text.
pub struct Rewriter<'a> {
    /// Types of the parameters as far as anybody said; a cast of a parameter says its type here.
    pub param_types: Vec<Option<PgType>>,
    /// Their values; None while a statement is only described.
    pub params: Option<&'a [Value]>,
    pub style: Style,
    /// Whether a function of this name exists.
    pub known_function: &'a dyn Fn(&str) -> bool,
    /// Whether a table function of this name exists.
    pub known_table_function: &'a dyn Fn(&str) -> bool,
    /// Whether a relation, by schema and name, never has rows.
    pub always_empty: &'a dyn Fn(Option<&str>, &str) -> bool,
}

impl Rewriter<'_> {
    pub fn rewrite(&mut self, statement: &Statement) -> Result<Statement, SqlError> {
        let mut rewritten = statement.clone();
        match VisitMut::visit(&mut rewritten, self) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(rewritten),
        }
    }

    fn rewrite_expr(&mut self, expr: &mut Expr) -> Result<(), SqlError> {
        let taken = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *expr = match taken {
            Expr::Value(ValueWithSpan {
                value: Constant::Number(digits, long),
                span,
            }) => number(Expr::Value(ValueWithSpan {
                value: Constant::Number(digits, long),
                span,
            })),
            Expr::Value(ValueWithSpan {
                value: Constant::Placeholder(name),
                span,
            }) => self.parameter(
                Expr::Value(ValueWithSpan {
                    value: Constant::Placeholder(name.clone()),
                    span,
                }),
                &name,
            )?,
            Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: inner,
            } => negated(inner),
            Expr::UnaryOp {
                op: UnaryOperator::Plus,
                expr: inner,
            } => *inner,
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr: inner,
                data_type,
                array: false,
                format: None,
            } => self.cast(*inner, &data_type)?,
            Expr::Cast { .. } => return Err(SqlError::unsupported("TRY_CAST")),
            Expr::TypedString(typed) => {
                let text = typed.value.into_string().unwrap_or_default();
                let literal = Expr::Value(Constant::SingleQuotedString(text).into());
                self.cast(literal, &typed.data_type)?
            }
            Expr::Collate { expr: inner, collation } => {
                let name = last_name(&collation);
                if !matches!(
                    name.to_ascii_lowercase().as_str(),
                    "c" | "posix" | "default" | "ucs_basic"
                ) {
                    return Err(SqlError::new(
                        SqlErrorKind::UndefinedObject,
                        format!("collation \"{name}\" for encoding \"UTF8\" does not exist"),
                    ));
                }
                *inner
            }
            Expr::Between {
                expr: inner,
                negated,
                low,
                high,
            } => {
                let (below, above, join) = if negated {
                    (BinaryOperator::Lt, BinaryOperator::Gt, BinaryOperator::Or)
                } else {
                    (BinaryOperator::GtEq, BinaryOperator::LtEq, BinaryOperator::And)
                };
                let low = binary((*inner).clone(), below, *low);
                let high = binary(*inner, above, *high);
                Expr::Nested(Box::new(binary(low, join, high)))
            }
            Expr::Case {
                case_token,
                end_token,
                operand: Some(operand),
                conditions,
                else_result,
            } => {
                let searched = |when: CaseWhen| CaseWhen {
                    condition: binary((*operand).clone(), BinaryOperator::Eq, when.condition),
                    result: when.result,
                };
                let conditions = conditions.into_iter().map(searched).collect();
                Expr::Case {
                    case_token,
                    end_token,
                    operand: None,
                    conditions,
                    else_result,
                }
            }
            Expr::Identifier(ident) if ident.quote_style.is_none() && is_bare_function(&ident.value) => {
                call(&ident.value.to_lowercase(), Vec::new())
            }
            Expr::Function(function) => self.function(function)?,
            Expr::Subquery(query) => Expr::Subquery(single_valued(query)),
            Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![*time_zone, *timestamp]),
            other => other,
        };
        Ok(())
    }

    fn parameter(&self, placeholder: Expr, name: &str) -> Result<Expr, SqlError> {
        let number: usize = name.trim_start_matches('$').parse().unwrap_or(0);
        let known = self.param_types.get(number.wrapping_sub(1)).cloned().flatten();
        let Some(params) = self.params else {
            // Its type goes to the planner beside the text.
            return Ok(placeholder);
        };
        let (Some(value), Some(pg_type)) = (params.get(number.wrapping_sub(1)), known) else {
            return Err(SqlError::new(
                SqlErrorKind::UndefinedParameter,
                format!("there is no parameter {name}"),
            ));
        };
        let literal = match text::to_text(value, &pg_type, &self.style) {
            None => Constant::Null,
            Some(text) => Constant::SingleQuotedString(text),
        };
        Ok(typed(Expr::Value(literal.into()), &pg_type, -1))
    }

    fn cast(&mut self, inner: Expr, data_type: &DataType) -> Result<Expr, SqlError> {
        let (pg_type, typmod) = resolve_type(data_type)?;
        if let Expr::Value(ValueWithSpan {
            value: Constant::Placeholder(name),
            ..
        }) = &inner
            && let Ok(number) = name.trim_start_matches('$').parse::<usize>()
            && number > 0
        {
            if self.param_types.len() < number {
                self.param_types.resize(number, None);
            }
            self.param_types[number - 1].get_or_insert_with(|| pg_type.clone());
        }
        Ok(typed(inner, &pg_type, typmod))
    }

    fn function(&mut self, mut function: Function) -> Result<Expr, SqlError> {
        let name = match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => folded(name),
            [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(name)]
                if matches!(
                    folded(schema).as_str(),
                    "pg_catalog" | "information_schema" | "dolt" | "public"
                ) =>
            {
                folded(name)
            }
            _ => return Err(undefined_function(&function.name.to_string())),
        };
        if let FunctionArguments::Subquery(query) = function.args {
            if name != "array" {
                return Err(SqlError::unsupported(format_args!("a subquery as argument of {name}")));
            }
            return array_of_subquery(*query);
        }
        if matches!(function.args, FunctionArguments::None) {
            function.args = FunctionArguments::List(no_arguments());
        }
        let name = match name.as_str() {
            "array_upper" | "cardinality" => "array_length",
            "user" | "current_role" => "current_user",
            "pow" => "power",
            "every" => "bool_and",
            other => other,
        }
        .to_string();
        if name.starts_with('\u{1}') || !(self.known_function)(&name) {
            return Err(undefined_function(&format!("{name}()")));
        }
        let wrapper = match name.as_str() {
            "sum" => Some(SUM_ARGUMENT),
            "avg" => Some(AVG_ARGUMENT),
            _ => None,
        };
        if let (Some(wrapper), FunctionArguments::List(list)) = (wrapper, &mut function.args)
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_mut_slice()
        {
            let inner = std::mem::replace(argument, Expr::Identifier(Ident::new("")));
            *argument = call(wrapper, vec![inner]);
        }
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
        Ok(Expr::Function(function))
    }

    /// A function in FROM has columns named after it, and one that gives a single value is a table of one row.
    fn table_function(&mut self, factor: &mut TableFactor) -> Result<(), SqlError> {
        let (name, args, alias) = match factor {
            TableFactor::Table {
                name,
                args: Some(TableFunctionArgs { args, .. }),
                alias,
                ..
            } => (name, args, alias),
            TableFactor::Function { name, args, alias, .. } => (name, args, alias),
            _ => return Ok(()),
        };
        let function = last_name(name).to_lowercase();
        let is_set = (self.known_table_function)(&function);
        if !is_set && !(self.known_function)(&function) {
            return Err(undefined_function(&format!("{function}()")));
        }
        let mut named = alias.take().unwrap_or_else(|| table_alias(&function));
        let one_column = !function.starts_with("dolt_") && !function.starts_with("pg_");
        if named.columns.is_empty() && (one_column || !is_set) {
            named.columns = vec![TableAliasColumnDef {
                name: named.name.clone(),
                data_type: None,
            }];
        }
        let args = std::mem::take(args);
        *factor = if is_set {
            TableFactor::Table {
                name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', function))]),
                alias: Some(named),
                args: Some(TableFunctionArgs { args, settings: None }),
                with_hints: Vec::new(),
                version: None,
                with_ordinality: false,
                partitions: Vec::new(),
                json_path: None,
                sample: None,
                index_hints: Vec::new(),
            }
        } else {
            let arguments = args.into_iter().filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            });
            let mut query = parsed_query("SELECT 1");
            if let SetExpr::Select(select) = query.body.as_mut() {
                select.projection = vec![SelectItem::ExprWithAlias {
                    expr: call(&function, arguments.collect()),
                    alias: named.name.clone(),
                }];
            }
            TableFactor::Derived {
                lateral: false,
                subquery: Box::new(query),
                alias: Some(named),
                sample: None,
            }
        };
        Ok(())
    }

    /// A block that joins a relation without rows has no rows, so its expressions, whatever they are, are never computed.
    fn prune(&self, body: &mut SetExpr) -> bool {
        match body {
            SetExpr::Select(select) if self.is_empty(select) => {
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
                self.prune(left);
                self.prune(right);
                false
            }
            _ => false,
        }
    }

    fn is_empty(&self, select: &Select) -> bool {
        let is_empty = |factor: &TableFactor| match factor {
            TableFactor::Table { name, args: None, .. } => {
                let schema = (name.0.len() == 2).then(|| name.0[0].as_ident().map(folded)).flatten();
                (self.always_empty)(schema.as_deref(), &last_name(name))
            }
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
}

impl VisitorMut for Rewriter<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        query.locks.clear();
        if self.prune(&mut query.body) {
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(exprs) = &mut order_by.kind
        {
            exprs.iter_mut().for_each(|order| plain_number(&mut order.expr));
        }
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.iter_mut().for_each(plain_number);
                offset.iter_mut().for_each(|offset| plain_number(&mut offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                plain_number(offset);
                plain_number(limit);
            }
            None => {}
        }
        if let Some(fetch) = query.fetch.as_mut() {
            fetch.quantity.iter_mut().for_each(plain_number);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        names::name_columns(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(plain_number);
        }
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            exprs.iter_mut().for_each(plain_number);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        match self.table_function(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.rewrite_expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

fn last_name(name: &ObjectName) -> String {
    name.0
        .last()
        .and_then(ObjectNamePart::as_ident)
        .map(folded)
        .unwrap_or_default()
}

fn is_bare_function(name: &str) -> bool {
    [
        "current_schema",
        "current_role",
        "current_catalog",
        "current_user",
        "session_user",
        "user",
        "localtime",
        "localtimestamp",
        "current_date",
        "current_time",
        "current_timestamp",
    ]
    .iter()
    .any(|bare| name.eq_ignore_ascii_case(bare))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

fn no_arguments() -> FunctionArgumentList {
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

fn typed(inner: Expr, pg_type: &PgType, typmod: i32) -> Expr {
    call(&cast_name(pg_type, typmod), vec![inner])
}

fn table_alias(name: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: Ident::with_quote('"', name),
        columns: Vec::new(),
        at: None,
    }
}

fn parsed_query(sql: &str) -> Query {
    match Parser::parse_sql(&PostgreSqlDialect {}, sql).map(|mut statements| statements.pop()) {
        Ok(Some(Statement::Query(query))) => *query,
        _ => unreachable!("the text of our own query parses: {sql}"),
    }
}

/// Integers that fit are integer, others bigint or numeric: the planner makes the latter two of plain constants.
fn number(constant: Expr) -> Expr {
    match &constant {
        Expr::Value(ValueWithSpan {
            value: Constant::Number(digits, _),
            ..
        }) if digits.parse::<i32>().is_ok() => typed(constant, &PgType::INT4, -1),
        _ => constant,
    }
}

fn is_integer_cast(function: &Function) -> bool {
    function
        .name
        .0
        .last()
        .and_then(ObjectNamePart::as_ident)
        .and_then(|name| cast_target(&name.value))
        .is_some_and(|(pg_type, _)| pg_type == PgType::INT4)
}

/// The digits of a number constant, wrapped or not.
fn digits_of(expr: &Expr) -> Option<&String> {
    match expr {
        Expr::Value(ValueWithSpan {
            value: Constant::Number(digits, _),
            ..
        }) => Some(digits),
        Expr::Function(function) if is_integer_cast(function) => match first_argument(function)? {
            Expr::Value(ValueWithSpan {
                value: Constant::Number(digits, _),
                ..
            }) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

/// A minus before a constant belongs to the constant, so that the smallest integer can be written.
fn negated(inner: Box<Expr>) -> Expr {
    match digits_of(&inner) {
        Some(digits) if !digits.starts_with('-') && digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() < 20 => {
            number(Expr::Value(Constant::Number(format!("-{digits}"), false).into()))
        }
        _ => Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: inner,
        },
    }
}

/// Where a number means a position or a count, it stays a plain one.
fn plain_number(expr: &mut Expr) {
    if let Some(digits) = digits_of(expr) {
        *expr = Expr::Value(Constant::Number(digits.clone(), false).into());
        return;
    }
    // A parameter's value in LIMIT and OFFSET.
    if let Expr::Function(function) = expr
        && function
            .name
            .0
            .last()
            .and_then(ObjectNamePart::as_ident)
            .is_some_and(|name| cast_target(&name.value).is_some())
        && let Some(Expr::Value(ValueWithSpan {
            value: Constant::SingleQuotedString(text),
            ..
        })) = first_argument(function)
        && text.parse::<i64>().is_ok()
    {
        *expr = Expr::Value(Constant::Number(text.clone(), false).into());
    }
}

fn array_of_subquery(query: Query) -> Result<Expr, SqlError> {
    let mut outer = parsed_query("SELECT array_agg(x) FROM (SELECT 1) AS a(x)");
    let SetExpr::Select(select) = outer.body.as_mut() else {
        return Err(SqlError::internal("the text of our own query is a select"));
    };
    if let TableFactor::Derived { subquery, .. } = &mut select.from[0].relation {
        **subquery = query;
    }
    Ok(call(ARRAY_OR_EMPTY, vec![Expr::Subquery(Box::new(outer))]))
}

/// A subquery used as a value: more than one row is an error (21000), not a choice.
fn single_valued(mut query: Box<Query>) -> Box<Query> {
    if query.limit_clause.is_some() || query.fetch.is_some() || query.with.is_some() {
        return query;
    }
    if let SetExpr::Select(select) = query.body.as_mut()
        && select.distinct.is_none()
        && select.having.is_none()
        && !select.from.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
        && let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_mut_slice()
        && !has_aggregate(expr)
    {
        let inner = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *expr = call(SINGLE_VALUE, vec![inner]);
        query.order_by = None;
    }
    query
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

/// The type that SQL text names, also those only expressions can have.
pub fn resolve_type(data_type: &DataType) -> Result<(PgType, i32), SqlError> {
    match data_type {
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            return Ok((arrow::array_of(&resolve_type(element)?.0), -1));
        }
        DataType::Interval { .. } => return Ok((PgType::INTERVAL, -1)),
        DataType::Regclass => return Ok((PgType::REGCLASS, -1)),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let pg_type = match last_name(name).as_str() {
                "name" => Some(PgType::NAME),
                "oid" => Some(PgType::OID),
                "xid" => Some(PgType::XID),
                "regclass" => Some(PgType::REGCLASS),
                "regtype" => Some(PgType::REGTYPE),
                "regproc" | "regprocedure" => Some(PgType::REGPROC),
                "regnamespace" => Some(PgType::REGNAMESPACE),
                "regrole" => Some(PgType::REGROLE),
                "char" => Some(PgType::CHAR),
                "unknown" | "cstring" => Some(PgType::TEXT),
                "interval" => Some(PgType::INTERVAL),
                "int2vector" => Some(PgType::INT2_VECTOR),
                "oidvector" => Some(PgType::OID_VECTOR),
                "timestamp" => Some(PgType::TIMESTAMP),
                "time" => Some(PgType::TIME),
                "integer" => Some(PgType::INT4),
                _ => None,
            };
            if let Some(pg_type) = pg_type {
                return Ok((pg_type, -1));
            }
        }
        _ => {}
    }
    let column_type = types::column_type(data_type)?;
    Ok((types::pg_type(column_type), types::typmod(column_type)))
}
