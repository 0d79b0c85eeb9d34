//! Scalar expressions that need no plan: literals, parameters, columns of one row, arithmetic, comparison, casts.
//!
//! [`Compiler`] resolves names and types once and gives a tree that is evaluated for many rows. What it does not know it
//! declines ([`Declined`]), and the statement goes through a plan instead: so this evaluator may be small, but what it does
//! know it must compute exactly as PostgreSQL does.

mod evaluate;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::operators::{Arithmetic, arithmetic_type, comparable};
use crate::runtime::{self, WallTime};
use crate::sql::cast;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names::folded;
use crate::sql::result::PgType;
use crate::sql::text::{self, Style};
use crate::sql::types::{column_type, column_type_of, is_number, pg_type};
use crate::version::{ColumnType, TableSchema, Value};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, UnaryOperator,
    Value as Literal,
};

/// Why there is no tree.
#[derive(Debug)]
pub enum Declined {
    /// The expression needs a plan.
    NeedsPlan,
    /// The expression is wrong, and a plan would say so too.
    Wrong(SqlError),
}

impl From<SqlError> for Declined {
    fn from(error: SqlError) -> Declined {
        Declined::Wrong(error)
    }
}

/// A relation whose columns an expression may name. Its values are a part of the row that is evaluated.
#[derive(Clone, Copy)]
pub struct Relation<'a> {
    /// The alias, or the table's name: what qualifies a column.
    pub name: &'a str,
    pub schema: &'a TableSchema,
    /// Where its columns begin in the row.
    pub offset: usize,
}

/// What a statement's expressions may refer to besides columns and parameters.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub style: Style,
    pub transaction_time: WallTime,
    pub statement_time: WallTime,
    pub user: String,
    pub database: String,
}

/// Types of the parameters: what the client said, and what is found out on the way.
#[derive(Clone, Debug, Default)]
pub struct ParameterTypes {
    types: Vec<Option<PgType>>,
}

impl ParameterTypes {
    /// `unknown` says as little as nothing at all.
    pub fn new(said: impl IntoIterator<Item = Option<PgType>>) -> ParameterTypes {
        let types = said
            .into_iter()
            .map(|said| said.filter(|said| *said != PgType::UNKNOWN))
            .collect();
        ParameterTypes { types }
    }

    /// All types; parameters that nothing was found out about are text, as an untyped literal ends up.
    pub fn finish(self) -> Vec<PgType> {
        self.types
            .into_iter()
            .map(|known| known.unwrap_or(PgType::TEXT))
            .collect()
    }

    pub fn known(&self) -> &[Option<PgType>] {
        &self.types
    }

    /// Makes room for `$number`, so that a parameter that was seen is counted although its type is unknown.
    fn see(&mut self, index: usize) {
        if self.types.len() <= index {
            self.types.resize(index + 1, None);
        }
    }
}

/// The values that belong to [`ParameterTypes`] when a tree is evaluated.
pub type Parameters<'a> = &'a [Value];

/// A compiled expression with the type of its value. `unknown` is the type of a bare string literal or NULL.
#[derive(Clone, Debug)]
pub struct Compiled {
    node: Node,
    pub pg_type: PgType,
}

#[derive(Clone, Debug)]
enum Node {
    Constant(Value),
    Column(usize),
    Parameter(usize),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>, PgType),
    Negate(Box<Node>, PgType),
    Compare(Comparison, Box<Node>, Box<Node>),
    Distinct(Box<Node>, Box<Node>, bool),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    IsNull(Box<Node>, bool),
    /// IS [NOT] TRUE / FALSE: the wanted truth, and whether it is negated.
    IsTruth(Box<Node>, bool, bool),
    Concat(Box<Node>, Box<Node>),
    Cast(Box<Node>, PgType, ColumnType, Style),
    Coalesce(Vec<Node>),
    Uuid,
}

/// The operators of comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub fn of(operator: &BinaryOperator) -> Option<Comparison> {
        Some(match operator {
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::NotEq => Comparison::NotEqual,
            BinaryOperator::Lt => Comparison::Less,
            BinaryOperator::LtEq => Comparison::LessOrEqual,
            BinaryOperator::Gt => Comparison::Greater,
            BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The same comparison with its sides exchanged.
    pub fn mirrored(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Turns expressions into trees against some relations.
pub struct Compiler<'a> {
    pub relations: &'a [Relation<'a>],
    pub surroundings: &'a Surroundings,
    pub parameters: ParameterTypes,
    /// The positions of a row that what was compiled so far may read.
    used: BTreeSet<usize>,
}

impl<'a> Compiler<'a> {
    pub fn new(relations: &'a [Relation<'a>], surroundings: &'a Surroundings, parameters: ParameterTypes) -> Self {
        Compiler {
            relations,
            surroundings,
            parameters,
            used: BTreeSet::new(),
        }
    }

    /// Whether something that was compiled may read this position of a row.
    pub fn uses(&self, position: usize) -> bool {
        self.used.contains(&position)
    }

    /// The value at a position.
    pub fn at(&mut self, position: usize, pg_type: PgType) -> Compiled {
        self.used.insert(position);
        Compiled {
            node: Node::Column(position),
            pg_type,
        }
    }

    /// `wanted` is the type the context would like, for parameters nobody said the type of.
    pub fn compile(&mut self, expression: &Expr, wanted: Option<&PgType>) -> Result<Compiled, Declined> {
        match expression {
            Expr::Nested(inner) => self.compile(inner, wanted),
            Expr::Value(value) => self.literal(&value.value, wanted),
            Expr::Identifier(name) => self.column(None, name),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => self.column(Some(relation), name),
                _ => Err(Declined::NeedsPlan),
            },
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, wanted),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, wanted),
            Expr::IsNull(inner) => self.is_null(inner, true),
            Expr::IsNotNull(inner) => self.is_null(inner, false),
            Expr::IsTrue(inner) => self.is_truth(inner, true, false),
            Expr::IsNotTrue(inner) => self.is_truth(inner, true, true),
            Expr::IsFalse(inner) => self.is_truth(inner, false, false),
            Expr::IsNotFalse(inner) => self.is_truth(inner, false, true),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, true),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, false),
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let (from, value) = self.pair(low, expr)?;
                let (value_again, to) = self.pair(expr, high)?;
                let least = Node::Compare(Comparison::LessOrEqual, Box::new(from), Box::new(value));
                let most = Node::Compare(Comparison::LessOrEqual, Box::new(value_again), Box::new(to));
                let both = Node::And(Box::new(least), Box::new(most));
                Ok(boolean(if *negated { Node::Not(Box::new(both)) } else { both }))
            }
            Expr::InList { expr, list, negated } => {
                let mut any: Option<Node> = None;
                for item in list {
                    let (left, right) = self.pair(expr, item)?;
                    let equal = Node::Compare(Comparison::Equal, Box::new(left), Box::new(right));
                    any = Some(match any {
                        None => equal,
                        Some(sofar) => Node::Or(Box::new(sofar), Box::new(equal)),
                    });
                }
                let any = any.ok_or(Declined::NeedsPlan)?;
                Ok(boolean(if *negated { Node::Not(Box::new(any)) } else { any }))
            }
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => {
                let to = column_type(data_type).map_err(|_| Declined::NeedsPlan)?;
                let inner = self.compile(expr, Some(&pg_type(to)))?;
                self.cast_to(inner, to)
            }
            Expr::TypedString(typed) => {
                let to = column_type(&typed.data_type).map_err(|_| Declined::NeedsPlan)?;
                let inner = self.literal(&typed.value.value, None)?;
                self.cast_to(inner, to)
            }
            Expr::Function(function) => self.function(function, wanted),
            _ => Err(Declined::NeedsPlan),
        }
    }

    fn literal(&mut self, literal: &Literal, wanted: Option<&PgType>) -> Result<Compiled, Declined> {
        let constant = |value, pg_type| {
            Ok(Compiled {
                node: Node::Constant(value),
                pg_type,
            })
        };
        match literal {
            Literal::Null => constant(Value::Null, PgType::UNKNOWN),
            Literal::Boolean(value) => constant(Value::Bool(*value), PgType::BOOL),
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => {
                constant(Value::Text(text.clone()), PgType::UNKNOWN)
            }
            Literal::DollarQuotedString(text) => constant(Value::Text(text.value.clone()), PgType::UNKNOWN),
            Literal::Number(digits, false) => {
                if let Ok(value) = digits.parse::<i32>() {
                    return constant(Value::Int4(value), PgType::INT4);
                }
                if let Ok(value) = digits.parse::<i64>() {
                    return constant(Value::Int8(value), PgType::INT8);
                }
                match text::parse_as(digits, &PgType::NUMERIC, &self.surroundings.style) {
                    Ok(value) => constant(value, PgType::NUMERIC),
                    // A power of ten beyond what a numeric holds here, like 1e300, is a double precision.
                    Err(_) if digits.contains(['e', 'E']) => {
                        let value = digits.parse::<f64>().ok().filter(|value| value.is_finite());
                        constant(Value::Float8(value.ok_or(Declined::NeedsPlan)?), PgType::FLOAT8)
                    }
                    // More digits than a numeric holds here: the plan has its own idea of such a literal.
                    Err(_) => Err(Declined::NeedsPlan),
                }
            }
            Literal::Placeholder(name) => {
                let index = parameter_index(name)?;
                self.parameters.see(index);
                let slot = &mut self.parameters.types[index];
                if slot.is_none() {
                    *slot = wanted.filter(|wanted| **wanted != PgType::UNKNOWN).cloned();
                }
                let pg_type = slot.clone().unwrap_or(PgType::UNKNOWN);
                Ok(Compiled {
                    node: Node::Parameter(index),
                    pg_type,
                })
            }
            _ => Err(Declined::NeedsPlan),
        }
    }

    fn column(&mut self, relation: Option<&Ident>, name: &Ident) -> Result<Compiled, Declined> {
        let column = folded(name);
        let mut found = None;
        for candidate in self.relations {
            if relation.is_some_and(|relation| folded(relation) != candidate.name) {
                continue;
            }
            if let Some(position) = candidate.schema.position(&column) {
                if found.is_some() {
                    return Err(SqlError::ambiguous_column(column).into());
                }
                let pg_type = pg_type(candidate.schema.columns[position].column_type);
                found = Some((candidate.offset + position, pg_type));
            }
        }
        // Unknown names go to the plan: it may know them (whole-row references), or words the error.
        let (position, pg_type) = found.ok_or(Declined::NeedsPlan)?;
        Ok(self.at(position, pg_type))
    }

    fn unary(&mut self, operator: UnaryOperator, inner: &Expr, wanted: Option<&PgType>) -> Result<Compiled, Declined> {
        match operator {
            UnaryOperator::Not => {
                let inner = self.condition(inner)?;
                Ok(boolean(Node::Not(Box::new(inner.node))))
            }
            UnaryOperator::Minus => {
                // -2147483648 is an integer although 2147483648 is not.
                if let Expr::Value(value) = inner
                    && let Literal::Number(digits, false) = &value.value
                {
                    let negative = Literal::Number(format!("-{digits}"), false);
                    return self.literal(&negative, wanted);
                }
                let inner = self.compile(inner, wanted)?;
                if !is_number(&inner.pg_type) {
                    return Err(Declined::NeedsPlan);
                }
                Ok(Compiled {
                    node: Node::Negate(Box::new(inner.node), inner.pg_type.clone()),
                    pg_type: inner.pg_type,
                })
            }
            UnaryOperator::Plus => {
                let inner = self.compile(inner, wanted)?;
                if is_number(&inner.pg_type) {
                    Ok(inner)
                } else {
                    Err(Declined::NeedsPlan)
                }
            }
            _ => Err(Declined::NeedsPlan),
        }
    }

    fn binary(
        &mut self,
        left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
        wanted: Option<&PgType>,
    ) -> Result<Compiled, Declined> {
        if let Some(comparison) = Comparison::of(operator) {
            let (left, right) = self.pair(left, right)?;
            return Ok(boolean(Node::Compare(comparison, Box::new(left), Box::new(right))));
        }
        let arithmetic = match operator {
            BinaryOperator::And | BinaryOperator::Or => {
                let (left, right) = (self.condition(left)?, self.condition(right)?);
                let (left, right) = (Box::new(left.node), Box::new(right.node));
                let and = *operator == BinaryOperator::And;
                return Ok(boolean(if and {
                    Node::And(left, right)
                } else {
                    Node::Or(left, right)
                }));
            }
            BinaryOperator::StringConcat => return self.concat(left, right),
            BinaryOperator::Plus => Arithmetic::Add,
            BinaryOperator::Minus => Arithmetic::Subtract,
            BinaryOperator::Multiply => Arithmetic::Multiply,
            BinaryOperator::Divide => Arithmetic::Divide,
            BinaryOperator::Modulo => Arithmetic::Remainder,
            _ => return Err(Declined::NeedsPlan),
        };
        let (left, right) = self.both(left, right, wanted)?;
        // A bare literal beside a number is read as that number's type.
        let (left, right) = (self.read_as_number(left, &right)?, right);
        let (left, right) = {
            let read = self.read_as_number(right, &left)?;
            (left, read)
        };
        let pg_type = arithmetic_type(arithmetic, &left.pg_type, &right.pg_type).ok_or(Declined::NeedsPlan)?;
        Ok(Compiled {
            node: Node::Arithmetic(arithmetic, Box::new(left.node), Box::new(right.node), pg_type.clone()),
            pg_type,
        })
    }

    fn read_as_number(&self, side: Compiled, other: &Compiled) -> Result<Compiled, Declined> {
        if side.pg_type == PgType::UNKNOWN && is_number(&other.pg_type) {
            self.read_literal(side, &other.pg_type)
        } else {
            Ok(side)
        }
    }

    /// `||` on text; other types have operators of their own.
    fn concat(&mut self, left: &Expr, right: &Expr) -> Result<Compiled, Declined> {
        let text = PgType::TEXT;
        let (left, right) = (self.compile(left, Some(&text))?, self.compile(right, Some(&text))?);
        let stringy = |side: &Compiled| matches!(side.pg_type, PgType::TEXT | PgType::VARCHAR | PgType::UNKNOWN);
        if !stringy(&left) || !stringy(&right) {
            return Err(Declined::NeedsPlan);
        }
        Ok(Compiled {
            node: Node::Concat(Box::new(left.node), Box::new(right.node)),
            pg_type: PgType::TEXT,
        })
    }

    /// Compiles both sides, each telling the other what an untyped parameter there should be.
    fn both(&mut self, left: &Expr, right: &Expr, wanted: Option<&PgType>) -> Result<(Compiled, Compiled), Declined> {
        if is_bare_parameter(left) && !is_bare_parameter(right) {
            let right = self.compile(right, wanted)?;
            let hint = if right.pg_type == PgType::UNKNOWN {
                wanted.cloned()
            } else {
                Some(right.pg_type.clone())
            };
            return Ok((self.compile(left, hint.as_ref())?, right));
        }
        let left = self.compile(left, wanted)?;
        let hint = if left.pg_type == PgType::UNKNOWN {
            wanted.cloned()
        } else {
            Some(left.pg_type.clone())
        };
        let right = self.compile(right, hint.as_ref())?;
        Ok((left, right))
    }

    /// Both sides of a comparison, literals read as the other side's type.
    fn pair(&mut self, left: &Expr, right: &Expr) -> Result<(Node, Node), Declined> {
        let (left, right) = self.both(left, right, None)?;
        let (left, right) = match (left.pg_type == PgType::UNKNOWN, right.pg_type == PgType::UNKNOWN) {
            (true, false) => {
                let pg_type = right.pg_type.clone();
                (self.read_literal(left, &pg_type)?, right)
            }
            (false, true) => {
                let pg_type = left.pg_type.clone();
                (left, self.read_literal(right, &pg_type)?)
            }
            _ => (left, right),
        };
        if !comparable(&left.pg_type, &right.pg_type) {
            return Err(Declined::NeedsPlan);
        }
        Ok((left.node, right.node))
    }

    fn read_literal(&self, literal: Compiled, as_type: &PgType) -> Result<Compiled, Declined> {
        let node = match literal.node {
            Node::Constant(Value::Text(text)) => {
                Node::Constant(text::parse_as(&text, as_type, &self.surroundings.style)?)
            }
            Node::Constant(Value::Null) => Node::Constant(Value::Null),
            // A parameter that was not given a type is text when it comes: the plan will convert it.
            _ => return Err(Declined::NeedsPlan),
        };
        Ok(Compiled {
            node,
            pg_type: as_type.clone(),
        })
    }

    fn distinct(&mut self, left: &Expr, right: &Expr, distinct: bool) -> Result<Compiled, Declined> {
        let (left, right) = self.pair(left, right)?;
        Ok(boolean(Node::Distinct(Box::new(left), Box::new(right), distinct)))
    }

    /// A boolean, or a literal that reads as one.
    pub fn condition(&mut self, expression: &Expr) -> Result<Compiled, Declined> {
        let compiled = self.compile(expression, Some(&PgType::BOOL))?;
        match compiled.pg_type {
            PgType::BOOL => Ok(compiled),
            PgType::UNKNOWN => self.read_literal(compiled, &PgType::BOOL),
            _ => Err(Declined::NeedsPlan),
        }
    }

    fn is_null(&mut self, inner: &Expr, null: bool) -> Result<Compiled, Declined> {
        let inner = self.compile(inner, None)?;
        Ok(boolean(Node::IsNull(Box::new(inner.node), null)))
    }

    fn is_truth(&mut self, inner: &Expr, truth: bool, negated: bool) -> Result<Compiled, Declined> {
        let inner = self.condition(inner)?;
        Ok(boolean(Node::IsTruth(Box::new(inner.node), truth, negated)))
    }

    fn cast_to(&self, inner: Compiled, to: ColumnType) -> Result<Compiled, Declined> {
        if matches!(to, ColumnType::Char(_)) {
            return Err(Declined::NeedsPlan);
        }
        let style = self.surroundings.style;
        let target = pg_type(to);
        let node = match inner.node {
            // Read once, not for each row.
            Node::Constant(value) => Node::Constant(cast::cast(value, &inner.pg_type, to, &style)?),
            node => Node::Cast(Box::new(node), inner.pg_type, to, style),
        };
        Ok(Compiled { node, pg_type: target })
    }

    fn function(&mut self, function: &Function, wanted: Option<&PgType>) -> Result<Compiled, Declined> {
        let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
        let name = function.name.to_string().to_ascii_lowercase();
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
        if !plain {
            return Err(Declined::NeedsPlan);
        }
        let time = |at: WallTime| Compiled {
            node: Node::Constant(Value::Timestamp(at.micros())),
            pg_type: PgType::TIMESTAMPTZ,
        };
        let text = |value: &str| Compiled {
            node: Node::Constant(Value::Text(value.to_string())),
            pg_type: PgType::TEXT,
        };
        let arguments = plain_arguments(function).ok_or(Declined::NeedsPlan)?;
        if name == "coalesce" {
            return self.coalesce(&arguments, wanted);
        }
        if !arguments.is_empty() {
            return Err(Declined::NeedsPlan);
        }
        Ok(match name {
            "now" | "transaction_timestamp" | "current_timestamp" => time(self.surroundings.transaction_time),
            "statement_timestamp" => time(self.surroundings.statement_time),
            "clock_timestamp" => time(runtime::wall_clock()),
            "current_date" => self.cast_to(time(self.surroundings.transaction_time), ColumnType::Date)?,
            "localtimestamp" => self.cast_to(time(self.surroundings.transaction_time), ColumnType::Timestamp)?,
            "gen_random_uuid" => Compiled {
                node: Node::Uuid,
                pg_type: PgType::UUID,
            },
            "current_user" | "session_user" | "user" => text(&self.surroundings.user),
            "current_database" => text(&self.surroundings.database),
            _ => return Err(Declined::NeedsPlan),
        })
    }

    fn coalesce(&mut self, arguments: &[&Expr], wanted: Option<&PgType>) -> Result<Compiled, Declined> {
        let mut compiled = Vec::with_capacity(arguments.len());
        for argument in arguments {
            compiled.push(self.compile(argument, wanted)?);
        }
        let typed = compiled
            .iter()
            .find(|one| one.pg_type != PgType::UNKNOWN)
            .map(|one| one.pg_type.clone());
        let pg_type = typed.ok_or(Declined::NeedsPlan)?;
        let mut nodes = Vec::with_capacity(compiled.len());
        for one in compiled {
            let one = if one.pg_type == PgType::UNKNOWN {
                self.read_literal(one, &pg_type)?
            } else {
                one
            };
            if one.pg_type != pg_type {
                return Err(Declined::NeedsPlan);
            }
            nodes.push(one.node);
        }
        Ok(Compiled {
            node: Node::Coalesce(nodes),
            pg_type,
        })
    }
}

fn boolean(node: Node) -> Compiled {
    Compiled {
        node,
        pg_type: PgType::BOOL,
    }
}

/// `$1` is parameter 0.
pub fn parameter_index(name: &str) -> Result<usize, SqlError> {
    name.strip_prefix('$')
        .and_then(|digits| digits.parse::<usize>().ok())
        .and_then(|number| number.checked_sub(1))
        .filter(|index| *index < usize::from(u16::MAX))
        .ok_or_else(|| {
            SqlError::new(
                SqlErrorKind::UndefinedParameter,
                format!("there is no parameter {name}"),
            )
        })
}

fn is_bare_parameter(expression: &Expr) -> bool {
    match expression {
        Expr::Nested(inner) => is_bare_parameter(inner),
        Expr::Value(value) => matches!(value.value, Literal::Placeholder(_)),
        _ => false,
    }
}

/// The arguments of a call that has nothing but arguments.
pub fn plain_arguments(function: &Function) -> Option<Vec<&Expr>> {
    match &function.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// The column type that holds values of an expression, for keys and casts; text for what no column holds.
pub fn storage_type(pg_type: &PgType) -> ColumnType {
    column_type_of(pg_type).unwrap_or(ColumnType::Text)
}
