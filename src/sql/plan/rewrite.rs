//! From PostgreSQL's syntax to what DataFusion's planner takes, statement by statement, before any name is resolved.
//!
//! Everything here is decided by the text alone. Casts become calls of functions whose names say the type
//! ([`super::cast`]), number constants get PostgreSQL's types the same way, columns get PostgreSQL's names, parameters become
//! constants of their types, and a few constructs are said in other words that mean the same.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CaseWhen, CastKind, DataType, Distinct, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Interval, LimitClause, ObjectName, ObjectNamePart,
    OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableAliasColumnDef, TableFactor, TableFunctionArgs,
    UnaryOperator, Value as Constant, ValueWithSpan, VisitMut, VisitorMut,
};

use super::aggregate::{AVG_ARGUMENT, SUM_ARGUMENT};
use super::arrow;
use super::constant::{
    constant_text, digits_of, digits_typmod, negated, number, number_constant, plain_number, quoted,
};
use super::error::undefined_function;
use super::frame;
use super::names;
use super::similar;
use super::subquery;
use super::syntax::{
    binary, call, compared_rows, last_name, no_arguments, parsed_query, row_in_list, table_alias, typed,
};
use crate::sql::names::folded;
use crate::sql::text::{self, Style};
use crate::sql::{PgType, SqlError, SqlErrorKind, types};
use crate::version::Value;

/// Aggregate that gives the only value of its input and fails on a second one.
pub const SINGLE_VALUE: &str = "\u{1}single";
/// Takes the zeros behind the point off a whole numeric.
pub const WHOLE_NUMBER: &str = "\u{1}whole";
/// `trunc` with a number of digits.
pub const TRUNCATE: &str = "\u{1}trunc";
/// Turns the NULL that `array_agg` gives for no rows into the empty array of `ARRAY(SELECT ...)`.
pub const ARRAY_OR_EMPTY: &str = "\u{1}array";

/// What the rewriter must know beside the text.
pub struct Rewriter<'a> {
    /// Types of the parameters as far as anybody said; a cast of a parameter says its type here.
    pub param_types: Vec<Option<PgType>>,
    /// Their values; None while a statement is only described.
    pub params: Option<&'a [Value]>,
    pub style: Style,
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
                value: Constant::UnicodeStringLiteral(text),
                ..
            }) => quoted(&text),
            Expr::Value(ValueWithSpan {
                value: Constant::HexStringLiteral(digits),
                ..
            }) => return Err(SqlError::unsupported(format_args!("the bit string x'{digits}'"))),
            Expr::Value(ValueWithSpan {
                value: Constant::SingleQuotedByteStringLiteral(digits),
                ..
            }) => return Err(SqlError::unsupported(format_args!("the bit string b'{digits}'"))),
            Expr::SimilarTo {
                negated,
                expr: inner,
                pattern,
                escape_char,
            } => similar_to(*inner, &pattern, escape_char, negated)?,
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
            // All bits the other way round.
            Expr::UnaryOp {
                op: UnaryOperator::BitwiseNot,
                expr: inner,
            } => binary(*inner, BinaryOperator::PGBitwiseXor, number(number_constant("-1"))),
            Expr::BinaryOp { left, op, right } => compared_rows(left, op, right),
            Expr::InList {
                expr: inner,
                list,
                negated,
            } if matches!(*inner, Expr::Tuple(_)) => row_in_list(*inner, list, negated),
            Expr::Interval(interval) => self.interval(interval)?,
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
            Expr::Ceil { .. } | Expr::Floor { .. } => call(WHOLE_NUMBER, vec![taken]),
            Expr::Function(function) => self.function(function)?,
            Expr::Subquery(query) => subquery::scalar(query),
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
        let typmod = match value {
            Value::Numeric(value) => digits_typmod(*value),
            _ => -1,
        };
        let literal = match text::to_text(value, &pg_type, &self.style) {
            None => Expr::Value(Constant::Null.into()),
            Some(text) => quoted(&text),
        };
        Ok(typed(literal, &pg_type, typmod))
    }

    fn cast(&mut self, inner: Expr, data_type: &DataType) -> Result<Expr, SqlError> {
        let (pg_type, typmod) = resolve_type(data_type)?;
        self.say_type(&inner, &pg_type);
        Ok(match constant_text(&inner) {
            // A constant numeric keeps its digits, which the type of unconstrained columns would pad.
            Some(text) if pg_type == PgType::NUMERIC && typmod < 0 => match text::number::parse_numeric(text) {
                Ok(value) => typed(inner, &pg_type, digits_typmod(value)),
                Err(_) => typed(quoted(text), &pg_type, typmod),
            },
            // A float is read from its own digits, not by way of a numeric.
            Some(text) if matches!(pg_type, PgType::FLOAT4 | PgType::FLOAT8) => typed(quoted(text), &pg_type, typmod),
            _ => typed(inner, &pg_type, typmod),
        })
    }

    /// `INTERVAL '1' day` and `INTERVAL '1 day 2 hours'`.
    fn interval(&self, interval: Interval) -> Result<Expr, SqlError> {
        let text = match interval.value.as_ref() {
            Expr::Value(ValueWithSpan {
                value: Constant::SingleQuotedString(text),
                ..
            }) => text.clone(),
            other => match digits_of(other) {
                Some(digits) => digits.clone(),
                None => return Err(SqlError::unsupported("INTERVAL of an expression")),
            },
        };
        if interval.last_field.is_some() || interval.leading_precision.is_some() {
            return Err(SqlError::unsupported("INTERVAL with a range of fields"));
        }
        let text = match interval.leading_field {
            Some(field) => format!("{text} {field}"),
            None => text,
        };
        Ok(typed(quoted(&text), &PgType::INTERVAL, -1))
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
            return subquery::array(*query);
        }
        if matches!(function.args, FunctionArguments::None) {
            function.args = FunctionArguments::List(no_arguments());
        }
        let name = match name.as_str() {
            "array_upper" | "cardinality" => "array_length",
            "user" | "current_role" => "current_user",
            "pow" => "power",
            "sign" => "signum",
            "every" => "bool_and",
            other => other,
        }
        .to_string();
        if name.starts_with('\u{1}') {
            return Err(undefined_function(&function.name.to_string()));
        }
        if let (Some(op), FunctionArguments::List(list)) = (operator_function(&name), &mut function.args)
            && let [
                FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
            ] = list.args.as_slice()
        {
            return Ok(Expr::Nested(Box::new(binary(left.clone(), op, right.clone()))));
        }
        // In a select list it is as many rows as it has numbers.
        if name == "generate_series" {
            function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
            return Ok(call("unnest", vec![Expr::Function(function)]));
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
        let whole = matches!(name.as_str(), "ceil" | "ceiling" | "floor")
            || (name == "trunc" && matches!(&function.args, FunctionArguments::List(list) if list.args.len() == 1));
        let name = match name.as_str() {
            "ceiling" => "ceil".to_string(),
            "trunc" if !whole => TRUNCATE.to_string(),
            _ => name,
        };
        frame::of_call(&mut function)?;
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
        let call_of = Expr::Function(function);
        Ok(if whole {
            call(WHOLE_NUMBER, vec![call_of])
        } else {
            call_of
        })
    }

    /// Parameters of LIMIT and OFFSET are bigint.
    fn count_parameters(&mut self, query: &Query) {
        let mut counts: Vec<&Expr> = Vec::new();
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                counts.extend(limit);
                counts.extend(offset.as_ref().map(|offset| &offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => counts.extend([offset, limit]),
            None => {}
        }
        counts.extend(query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref()));
        for count in counts {
            self.say_type(count, &PgType::INT8);
        }
    }

    /// An expression that is a parameter of unknown type has this one.
    fn say_type(&mut self, expr: &Expr, pg_type: &PgType) {
        if let Expr::Value(ValueWithSpan {
            value: Constant::Placeholder(name),
            ..
        }) = expr
            && let Ok(number) = name.trim_start_matches('$').parse::<usize>()
            && number > 0
        {
            if self.param_types.len() < number {
                self.param_types.resize(number, None);
            }
            self.param_types[number - 1].get_or_insert_with(|| pg_type.clone());
        }
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
        let mut named = alias.take().unwrap_or_else(|| table_alias(&function));
        let one_column = !function.starts_with("dolt_") && !function.starts_with("pg_");
        if named.columns.is_empty() && (one_column || !is_set) {
            named.columns = vec![TableAliasColumnDef {
                name: named.name.clone(),
                data_type: None,
            }];
        }
        let args = std::mem::take(args);
        for arg in &args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg {
                self.say_type(expr, &PgType::INT8);
            }
        }
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
}

impl VisitorMut for Rewriter<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Err(error) = refuse_waiting(query) {
            return ControlFlow::Break(error);
        }
        query.locks.clear();
        if subquery::prune(&mut query.body, self.always_empty) {
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
        self.count_parameters(query);
        if let Err(error) = fetch_as_limit(query) {
            return ControlFlow::Break(error);
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
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        names::name_columns(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                subquery::exists_as_value(expr);
                subquery::in_as_value(expr);
            }
        }
        if let Err(error) = frame::of_named(&mut select.named_window) {
            return ControlFlow::Break(error);
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(plain_number);
        }
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            exprs.iter_mut().for_each(plain_number);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        if let TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } = factor {
            return ControlFlow::Break(SqlError::unsupported("TABLESAMPLE"));
        }
        if let TableFactor::Table {
            with_ordinality: true, ..
        }
        | TableFactor::UNNEST {
            with_ordinality: true, ..
        } = factor
        {
            return ControlFlow::Break(SqlError::unsupported("WITH ORDINALITY"));
        }
        match self.table_function(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        subquery::compared_with_rows(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.rewrite_expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
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

/// `FOR UPDATE SKIP LOCKED` and `NOWAIT` mean nothing where nothing is locked.
pub fn refuse_waiting(query: &Query) -> Result<(), SqlError> {
    match query.locks.iter().find_map(|lock| lock.nonblock.as_ref()) {
        Some(nonblock) => Err(SqlError::unsupported(nonblock)
            .hint("Rows are not locked: change the row and try again when the transaction gets 40001.")),
        None => Ok(()),
    }
}

/// `FETCH FIRST 2 ROWS ONLY` is `LIMIT 2`; without a number it is one row.
fn fetch_as_limit(query: &mut Query) -> Result<(), SqlError> {
    let Some(fetch) = query.fetch.take() else {
        return Ok(());
    };
    if fetch.with_ties {
        return Err(SqlError::unsupported("FETCH FIRST ... WITH TIES"));
    }
    if fetch.percent {
        return Err(SqlError::unsupported("FETCH FIRST ... PERCENT"));
    }
    let count = fetch.quantity.unwrap_or_else(|| number_constant("1"));
    match &mut query.limit_clause {
        None => {
            query.limit_clause = Some(LimitClause::LimitOffset {
                limit: Some(count),
                offset: None,
                limit_by: Vec::new(),
            });
        }
        Some(LimitClause::LimitOffset { limit, .. }) if limit.is_none() => *limit = Some(count),
        Some(_) => {
            return Err(SqlError::new(
                SqlErrorKind::Syntax,
                "multiple LIMIT clauses not allowed",
            ));
        }
    }
    Ok(())
}

/// `x SIMILAR TO 'pattern'` as a regular expression. Both are rewritten already.
fn similar_to(text: Expr, pattern: &Expr, escape: Option<ValueWithSpan>, negated: bool) -> Result<Expr, SqlError> {
    let escape = match escape.map(|escape| escape.value) {
        None => Some('\\'),
        Some(Constant::SingleQuotedString(escape)) if escape.chars().count() <= 1 => escape.chars().next(),
        Some(Constant::SingleQuotedString(_)) => {
            return Err(SqlError::new(SqlErrorKind::InvalidEscape, "invalid escape string")
                .hint("Escape string must be empty or one character."));
        }
        Some(_) => return Err(SqlError::unsupported("ESCAPE of an expression")),
    };
    let Some(pattern) = constant_string(pattern) else {
        return Err(SqlError::unsupported("SIMILAR TO a pattern that is not a constant"));
    };
    let regex = match pattern {
        Constant::SingleQuotedString(pattern) => quoted(&similar::regular_expression(pattern, escape)?),
        other => Expr::Value(other.clone().into()),
    };
    let op = if negated {
        BinaryOperator::PGRegexNotMatch
    } else {
        BinaryOperator::PGRegexMatch
    };
    Ok(Expr::Nested(Box::new(binary(text, op, regex))))
}

/// A quoted text or NULL, cast to text or not.
fn constant_string(expr: &Expr) -> Option<&Constant> {
    match expr {
        Expr::Nested(inner) => constant_string(inner),
        Expr::Value(ValueWithSpan {
            value: value @ (Constant::SingleQuotedString(_) | Constant::Null),
            ..
        }) => Some(value),
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(ObjectNamePart::as_ident)?;
            let (pg_type, _) = super::cast::cast_target(&name.value)?;
            types::is_text(&pg_type).then_some(())?;
            constant_string(names::first_argument(function)?)
        }
        _ => None,
    }
}

/// Functions that are another way to write an operator.
fn operator_function(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "mod" => BinaryOperator::Modulo,
        "int4pl" | "int8pl" => BinaryOperator::Plus,
        "texteq" | "int4eq" | "int8eq" => BinaryOperator::Eq,
        _ => return None,
    })
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
