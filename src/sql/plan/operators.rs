//! PostgreSQL's operators: which types they take, what an untyped literal becomes beside a typed operand, and arithmetic
//! that overflows with an error instead of wrapping round.
//!
//! All decisions fall while SQL becomes a logical plan, where both operands' types are known; DataFusion's own coercion
//! finds nothing left to guess.

use std::sync::Arc;

use datafusion::arrow::array::Decimal128Array;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use postgres_types::Kind;

use super::arithmetic::{arithmetic_expr, chained_expr, chained_type};
use super::arrow;
use super::cast::cast_expr;
use super::concatenation::{concatenated_type, concatenation};
use super::error::external;
use super::interrupt::Interrupt;
use super::moment::{Moment, moment_expr};
use super::special::Substring;
use super::strings::{Bounded, StringBound};
use super::udf::by_rows;
use super::zoned::{InZone, moved};
use crate::sql::text::zone::Zone;
use crate::sql::text::{Cell, Style, datetime};
use crate::sql::types::{is_float, is_integer, is_number, is_oid, is_text, words_of};
use crate::sql::{PgType, SqlError, SqlErrorKind};

/// Plans operators and aggregates as PostgreSQL types them.
#[derive(Debug)]
pub struct PgExprPlanner {
    pub style: Style,
    pub interrupt: Interrupt,
    pub bound: StringBound,
}

impl ExprPlanner for PgExprPlanner {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> PlanResult<PlannerResult<RawBinaryExpr>> {
        self.interrupt.check()?;
        self.binary(raw, schema)
    }

    fn plan_substring(&self, args: Vec<Expr>) -> PlanResult<PlannerResult<Vec<Expr>>> {
        let function = ScalarUDF::new_from_impl(Substring::new(datafusion::functions::unicode::substr()));
        Ok(PlannerResult::Planned(function.call(args)))
    }

    /// EXTRACT.
    fn plan_extract(&self, args: Vec<Expr>) -> PlanResult<PlannerResult<Vec<Expr>>> {
        let function = InZone::extract(datafusion::functions::datetime::date_part(), self.style.zone);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(ScalarUDF::new_from_impl(function)),
            args,
        ))))
    }

    fn plan_aggregate(&self, raw: RawAggregateExpr) -> PlanResult<PlannerResult<RawAggregateExpr>> {
        Ok(PlannerResult::Original(raw))
    }
}

/// A quoted literal, NULL or parameter whose type nobody has said yet.
pub fn is_unknown(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, None) => true,
        Expr::Placeholder(placeholder) => placeholder.field.is_none(),
        _ => false,
    }
}

/// The PostgreSQL type of an expression; None for what [`is_unknown`].
pub fn type_of(expr: &Expr, schema: &DFSchema) -> PlanResult<Option<PgType>> {
    if is_unknown(expr) {
        return Ok(None);
    }
    // A field has a name, which is as long as the expression is deep; these need none.
    let data_type = match (expr, chained_type(expr).or_else(|| concatenated_type(expr))) {
        (_, Some(data_type)) => data_type.clone(),
        (Expr::BinaryExpr(_), None) => expr.get_type(schema)?,
        _ => return Ok(Some(arrow::pg_type_of(&expr.to_field(schema)?.1).0)),
    };
    Ok(Some(arrow::pg_type_of(&Field::new("", data_type, true)).0))
}

fn binary_expr(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

impl PgExprPlanner {
    fn binary(&self, raw: RawBinaryExpr, schema: &DFSchema) -> PlanResult<PlannerResult<RawBinaryExpr>> {
        let Some(op) = operator(&raw.op) else {
            return Err(external(SqlError::unsupported(format_args!("operator {}", raw.op))));
        };
        let (left_type, right_type) = (type_of(&raw.left, schema)?, type_of(&raw.right, schema)?);
        let RawBinaryExpr { left, right, .. } = raw;
        let planned = match op {
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                self.comparison(left, op, right, left_type, right_type)?
            }
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                self.arithmetic(left, op, right, left_type, right_type)?
            }
            Operator::StringConcat => {
                if let Some(planned) = self.concatenation(&left, &right, left_type, right_type)? {
                    planned
                } else {
                    return Ok(PlannerResult::Original(RawBinaryExpr {
                        op: raw.op,
                        left,
                        right,
                    }));
                }
            }
            Operator::And | Operator::Or => {
                let left = self.typed(left, &left_type, &PgType::BOOL)?;
                let right = self.typed(right, &right_type, &PgType::BOOL)?;
                for side in [left_type, right_type].into_iter().flatten() {
                    if side != PgType::BOOL {
                        return Err(external(SqlError::new(
                            SqlErrorKind::DatatypeMismatch,
                            format!("argument of {op} must be type boolean, not type {}", words_of(&side)),
                        )));
                    }
                }
                binary_expr(left, op, right)
            }
            Operator::RegexMatch
            | Operator::RegexIMatch
            | Operator::RegexNotMatch
            | Operator::RegexNotIMatch
            | Operator::LikeMatch
            | Operator::ILikeMatch
            | Operator::NotLikeMatch
            | Operator::NotILikeMatch => {
                for side in [&left_type, &right_type].into_iter().flatten() {
                    if !is_text(side) {
                        return Err(no_operator(&raw.op.to_string(), &left_type, &right_type));
                    }
                }
                let left = self.typed(left, &left_type, &PgType::TEXT)?;
                let right = self.typed(right, &right_type, &PgType::TEXT)?;
                binary_expr(left, op, right)
            }
            Operator::BitwiseAnd
            | Operator::BitwiseOr
            | Operator::BitwiseXor
            | Operator::BitwiseShiftLeft
            | Operator::BitwiseShiftRight => {
                for side in [&left_type, &right_type].into_iter().flatten() {
                    if !is_integer(side) {
                        return Err(no_operator(&raw.op.to_string(), &left_type, &right_type));
                    }
                }
                binary_expr(left, op, right)
            }
            _ => return Err(external(SqlError::unsupported(format_args!("operator {}", raw.op)))),
        };
        Ok(PlannerResult::Planned(planned))
    }

    fn comparison(
        &self,
        left: Expr,
        op: Operator,
        right: Expr,
        left_type: Option<PgType>,
        right_type: Option<PgType>,
    ) -> PlanResult<Expr> {
        let (left, right, left_type, right_type) = self.unify(left, right, left_type, right_type, &PgType::TEXT)?;
        if !comparable(&left_type, &right_type) {
            return Err(no_operator(&op.to_string(), &Some(left_type), &Some(right_type)));
        }
        if left_type == PgType::JSON {
            return Err(no_operator(&op.to_string(), &Some(left_type), &Some(right_type)));
        }
        if left_type == PgType::INTERVAL && right_type == PgType::INTERVAL {
            return Ok(binary_expr(span(left), op, span(right)));
        }
        // Trailing spaces of char(n) do not count.
        if left_type == PgType::BPCHAR || right_type == PgType::BPCHAR {
            return Ok(binary_expr(
                self.trimmed(left, &left_type)?,
                op,
                self.trimmed(right, &right_type)?,
            ));
        }
        let Some(common) = compared_as(&left_type, &right_type) else {
            return Ok(binary_expr(left, op, right));
        };
        Ok(binary_expr(
            self.as_type(left, &left_type, &common)?,
            op,
            self.as_type(right, &right_type, &common)?,
        ))
    }

    /// An operand whose type nobody has said is of the type its operator takes.
    fn typed(&self, expr: Expr, known: &Option<PgType>, otherwise: &PgType) -> PlanResult<Expr> {
        match known {
            Some(_) => Ok(expr),
            None => cast_expr(expr, otherwise, -1, self.style),
        }
    }

    fn trimmed(&self, expr: Expr, pg_type: &PgType) -> PlanResult<Expr> {
        if *pg_type != PgType::BPCHAR {
            return Ok(expr);
        }
        Ok(datafusion::functions::string::expr_fn::rtrim(vec![cast_expr(
            expr,
            &PgType::TEXT,
            -1,
            self.style,
        )?]))
    }

    /// Gives an untyped operand the type of the other, or of `otherwise` when both have none.
    fn unify(
        &self,
        left: Expr,
        right: Expr,
        left_type: Option<PgType>,
        right_type: Option<PgType>,
        otherwise: &PgType,
    ) -> PlanResult<(Expr, Expr, PgType, PgType)> {
        let beside = |known: &PgType| if is_oid(known) { PgType::OID } else { known.clone() };
        Ok(match (left_type, right_type) {
            (Some(left_type), Some(right_type)) => (left, right, left_type, right_type),
            (Some(left_type), None) => {
                let wanted = beside(&left_type);
                (left, cast_expr(right, &wanted, -1, self.style)?, left_type, wanted)
            }
            (None, Some(right_type)) => {
                let wanted = beside(&right_type);
                (cast_expr(left, &wanted, -1, self.style)?, right, wanted, right_type)
            }
            (None, None) => (
                cast_expr(left, otherwise, -1, self.style)?,
                cast_expr(right, otherwise, -1, self.style)?,
                otherwise.clone(),
                otherwise.clone(),
            ),
        })
    }

    fn arithmetic(
        &self,
        left: Expr,
        op: Operator,
        right: Expr,
        left_type: Option<PgType>,
        right_type: Option<PgType>,
    ) -> PlanResult<Expr> {
        if left_type.is_none()
            && right_type.is_none()
            && !matches!((&left, &right), (Expr::Placeholder(_), _) | (_, Expr::Placeholder(_)))
        {
            return Err(external(
                SqlError::new(
                    SqlErrorKind::UndefinedFunction,
                    format!("operator is not unique: unknown {op} unknown"),
                )
                .hint("Could not choose a best candidate operator. You might need to add explicit type casts."),
            ));
        }
        // Beside a date an untyped literal is a date or, to be added, a number of days; beside `interval *` it is a number.
        let (left, right, a, b) = match (&left_type, &right_type) {
            (Some(PgType::INTERVAL), None) if matches!(op, Operator::Multiply | Operator::Divide) => {
                let right = cast_expr(right, &PgType::FLOAT8, -1, self.style)?;
                (left, right, PgType::INTERVAL, PgType::FLOAT8)
            }
            (None, Some(PgType::INTERVAL)) if op == Operator::Multiply => {
                let left = cast_expr(left, &PgType::FLOAT8, -1, self.style)?;
                (left, right, PgType::FLOAT8, PgType::INTERVAL)
            }
            (Some(PgType::TIME), None) if op == Operator::Plus => {
                let right = cast_expr(right, &PgType::INTERVAL, -1, self.style)?;
                (left, right, PgType::TIME, PgType::INTERVAL)
            }
            (Some(PgType::DATE | PgType::TIMESTAMP | PgType::TIMESTAMPTZ), None) if op == Operator::Plus => {
                let wanted = if left_type == Some(PgType::DATE) {
                    PgType::INT4
                } else {
                    PgType::INTERVAL
                };
                let right = cast_expr(right, &wanted, -1, self.style)?;
                (left, right, left_type.unwrap_or(PgType::DATE), wanted)
            }
            _ => self.unify(left, right, left_type, right_type, &PgType::INT4)?,
        };
        Ok(match (&a, op, &b) {
            (a, _, b) if is_integer(a) && is_integer(b) => {
                let wide = [PgType::INT8, PgType::INT4, PgType::INT2];
                let result = wide
                    .iter()
                    .find(|wide| *wide == a || *wide == b)
                    .unwrap_or(&PgType::INT8)
                    .clone();
                let left = self.as_type(left, a, &result)?;
                let right = self.as_type(right, b, &result)?;
                chained_expr(op, left, right, &arrow::arrow_type(&result, -1))
            }
            (
                &PgType::FLOAT4,
                Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide,
                &PgType::FLOAT4,
            ) => chained_expr(op, left, right, &DataType::Float32),
            (a, _, b) if is_number(a) && is_number(b) && (is_float(a) || is_float(b)) => {
                if op == Operator::Modulo {
                    return Err(no_operator("%", &Some(a.clone()), &Some(b.clone())));
                }
                let left = self.as_type(left, a, &PgType::FLOAT8)?;
                let right = self.as_type(right, b, &PgType::FLOAT8)?;
                chained_expr(op, left, right, &DataType::Float64)
            }
            (a, Operator::Divide, b) if is_number(a) && is_number(b) => {
                let left = decimal_operand(left, a);
                let right = decimal_operand(right, b);
                arithmetic_expr(op, left, right)
            }
            (a, _, b) if is_number(a) && is_number(b) => {
                binary_expr(decimal_operand(left, a), op, decimal_operand(right, b))
            }
            (&PgType::DATE, Operator::Plus | Operator::Minus, b) if is_integer(b) => {
                let right = self.as_type(right, b, &PgType::INT4)?;
                arithmetic_expr(op, left, right)
            }
            (a, Operator::Plus, &PgType::DATE) if is_integer(a) => {
                let left = self.as_type(left, a, &PgType::INT4)?;
                arithmetic_expr(op, right, left)
            }
            (&PgType::DATE, Operator::Minus, &PgType::DATE) => arithmetic_expr(op, left, right),
            (&PgType::DATE, Operator::Plus | Operator::Minus, &PgType::INTERVAL) => {
                let midnight = cast_expr(left, &PgType::TIMESTAMP, -1, self.style)?;
                moved(midnight, right, op == Operator::Minus, Zone::UTC)
            }
            (&PgType::INTERVAL, Operator::Plus, &PgType::DATE) => moved(
                cast_expr(right, &PgType::TIMESTAMP, -1, self.style)?,
                left,
                false,
                Zone::UTC,
            ),
            (&PgType::TIMESTAMPTZ, Operator::Plus | Operator::Minus, &PgType::INTERVAL) => {
                moved(left, right, op == Operator::Minus, self.style.zone)
            }
            (&PgType::INTERVAL, Operator::Plus, &PgType::TIMESTAMPTZ) => moved(right, left, false, self.style.zone),
            (&PgType::TIMESTAMP, Operator::Plus | Operator::Minus, &PgType::INTERVAL) => {
                moved(left, right, op == Operator::Minus, Zone::UTC)
            }
            (&PgType::INTERVAL, Operator::Plus, &PgType::TIMESTAMP) => moved(right, left, false, Zone::UTC),
            (&PgType::INTERVAL, Operator::Plus | Operator::Minus, &PgType::INTERVAL) => binary_expr(left, op, right),
            (
                &PgType::TIMESTAMP | &PgType::TIMESTAMPTZ | &PgType::DATE,
                Operator::Minus,
                &PgType::TIMESTAMP | &PgType::TIMESTAMPTZ | &PgType::DATE,
            ) => {
                let wanted = if a == PgType::TIMESTAMPTZ || b == PgType::TIMESTAMPTZ {
                    PgType::TIMESTAMPTZ
                } else {
                    PgType::TIMESTAMP
                };
                let left = self.as_type(left, &a, &wanted)?;
                let right = self.as_type(right, &b, &wanted)?;
                arithmetic_expr(op, left, right)
            }
            (&PgType::TIME, Operator::Plus, &PgType::INTERVAL) => moment_expr(Moment::Later, left, right),
            (&PgType::INTERVAL, Operator::Plus, &PgType::TIME) => moment_expr(Moment::Later, right, left),
            (&PgType::TIME, Operator::Minus, &PgType::INTERVAL) => moment_expr(Moment::Earlier, left, right),
            (&PgType::TIME, Operator::Minus, &PgType::TIME) => moment_expr(Moment::Between, left, right),
            (&PgType::INTERVAL, Operator::Multiply | Operator::Divide, b) if is_number(b) => {
                let right = self.as_type(right, b, &PgType::FLOAT8)?;
                let moment = if op == Operator::Multiply {
                    Moment::Times
                } else {
                    Moment::Parts
                };
                moment_expr(moment, left, right)
            }
            (a, Operator::Multiply, &PgType::INTERVAL) if is_number(a) => {
                let left = self.as_type(left, a, &PgType::FLOAT8)?;
                moment_expr(Moment::Times, right, left)
            }
            _ => return Err(no_operator(&op.to_string(), &Some(a), &Some(b))),
        })
    }

    fn as_type(&self, expr: Expr, from: &PgType, to: &PgType) -> PlanResult<Expr> {
        if from == to {
            Ok(expr)
        } else {
            cast_expr(expr, to, -1, self.style)
        }
    }

    /// None leaves arrays to DataFusion.
    fn concatenation(
        &self,
        left: &Expr,
        right: &Expr,
        left_type: Option<PgType>,
        right_type: Option<PgType>,
    ) -> PlanResult<Option<Expr>> {
        let is_array = |side: &Option<PgType>| side.as_ref().is_some_and(|side| matches!(side.kind(), Kind::Array(_)));
        if is_array(&left_type) && is_array(&right_type) {
            let function = datafusion::functions_nested::concat::array_concat_udf();
            let function = Bounded::wrapped(function, &self.bound);
            return Ok(Some(function.call(vec![left.clone(), right.clone()])));
        }
        if is_array(&left_type) || is_array(&right_type) {
            return Ok(None);
        }
        let is_bytea = |side: &Option<PgType>| side.as_ref().is_none_or(|side| *side == PgType::BYTEA);
        if is_bytea(&left_type) && is_bytea(&right_type) && (left_type.is_some() || right_type.is_some()) {
            let left = self.typed(left.clone(), &left_type, &PgType::BYTEA)?;
            let right = self.typed(right.clone(), &right_type, &PgType::BYTEA)?;
            return Ok(Some(concatenation(left, right, true, &self.bound)));
        }
        let known: Vec<&PgType> = [&left_type, &right_type].into_iter().flatten().collect();
        if known.len() == 2 && !known.iter().any(|side| is_text(side)) {
            return Err(no_operator("||", &left_type, &right_type));
        }
        let as_text = |side: &Expr, pg_type: &Option<PgType>| match pg_type {
            Some(PgType::TEXT | PgType::VARCHAR | PgType::NAME) => Ok(side.clone()),
            // Trailing spaces of char(n) are lost as soon as it becomes text.
            Some(PgType::BPCHAR) => self.trimmed(side.clone(), &PgType::BPCHAR),
            _ => cast_expr(side.clone(), &PgType::TEXT, -1, self.style),
        };
        Ok(Some(concatenation(
            as_text(left, &left_type)?,
            as_text(right, &right_type)?,
            false,
            &self.bound,
        )))
    }
}

/// Integers beside numerics become decimals without digits behind the point, just wide enough.
fn decimal_operand(expr: Expr, pg_type: &PgType) -> Expr {
    let digits = match *pg_type {
        PgType::INT2 => 5,
        PgType::INT4 => 10,
        PgType::INT8 => 19,
        _ => return expr,
    };
    datafusion::logical_expr::cast(expr, DataType::Decimal128(digits, 0))
}

/// The type as which two comparable types meet, where DataFusion would choose another than PostgreSQL.
fn compared_as(left: &PgType, right: &PgType) -> Option<PgType> {
    let times = [PgType::DATE, PgType::TIMESTAMP, PgType::TIMESTAMPTZ];
    let rank = |pg_type: &PgType| times.iter().position(|time| time == pg_type);
    if let (Some(a), Some(b)) = (rank(left), rank(right)) {
        return (a != b).then(|| times[a.max(b)].clone());
    }
    let mixed = |a: &PgType, b: &PgType| *a == PgType::NUMERIC && is_float(b);
    (mixed(left, right) || mixed(right, left)).then_some(PgType::FLOAT8)
}

fn comparable(left: &PgType, right: &PgType) -> bool {
    let category = |pg_type: &PgType| match pg_type {
        t if is_number(t) => 1,
        t if is_oid(t) => 2,
        t if is_text(t) => 3,
        &PgType::DATE | &PgType::TIMESTAMP | &PgType::TIMESTAMPTZ => 4,
        t => 1000 + t.oid(),
    };
    let (a, b) = (category(left), category(right));
    let arrays = matches!(left.kind(), Kind::Array(_)) && matches!(right.kind(), Kind::Array(_));
    a == b || arrays || (a.min(b) == 1 && a.max(b) == 2 && (is_integer(left) || is_integer(right)))
}

fn no_operator(op: &str, left: &Option<PgType>, right: &Option<PgType>) -> datafusion::error::DataFusionError {
    let words = |side: &Option<PgType>| side.as_ref().map_or_else(|| "unknown".to_string(), words_of);
    let op = if op == "!=" { "<>" } else { op };
    external(
        SqlError::new(
            SqlErrorKind::UndefinedFunction,
            format!("operator does not exist: {} {op} {}", words(left), words(right)),
        )
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts."),
    )
}

/// The operators this server knows, also as `OPERATOR(pg_catalog.~)`.
fn operator(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        BinaryOperator::And => Operator::And,
        BinaryOperator::Or => Operator::Or,
        BinaryOperator::StringConcat => Operator::StringConcat,
        BinaryOperator::PGRegexMatch => Operator::RegexMatch,
        BinaryOperator::PGRegexIMatch => Operator::RegexIMatch,
        BinaryOperator::PGRegexNotMatch => Operator::RegexNotMatch,
        BinaryOperator::PGRegexNotIMatch => Operator::RegexNotIMatch,
        BinaryOperator::PGLikeMatch => Operator::LikeMatch,
        BinaryOperator::PGILikeMatch => Operator::ILikeMatch,
        BinaryOperator::PGNotLikeMatch => Operator::NotLikeMatch,
        BinaryOperator::PGNotILikeMatch => Operator::NotILikeMatch,
        BinaryOperator::BitwiseAnd => Operator::BitwiseAnd,
        BinaryOperator::BitwiseOr => Operator::BitwiseOr,
        BinaryOperator::PGBitwiseXor => Operator::BitwiseXor,
        BinaryOperator::PGBitwiseShiftLeft => Operator::BitwiseShiftLeft,
        BinaryOperator::PGBitwiseShiftRight => Operator::BitwiseShiftRight,
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.last()?.as_str() {
            "~" => Operator::RegexMatch,
            "~*" => Operator::RegexIMatch,
            "!~" => Operator::RegexNotMatch,
            "!~*" => Operator::RegexNotIMatch,
            "~~" => Operator::LikeMatch,
            "=" => Operator::Eq,
            "<>" => Operator::NotEq,
            "<" => Operator::Lt,
            ">" => Operator::Gt,
            "+" => Operator::Plus,
            "-" => Operator::Minus,
            "||" => Operator::StringConcat,
            _ => return None,
        },
        _ => return None,
    })
}

/// An interval as one number to compare by: PostgreSQL takes a month for 30 days and a day for 24 hours.
fn span(interval: Expr) -> Expr {
    let function = Arc::new(ScalarUDF::new_from_impl(Span {
        signature: Signature::any(1, Volatility::Immutable),
    }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![interval]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Span {
    signature: Signature,
}

impl ScalarUDFImpl for Span {
    fn name(&self) -> &str {
        "\u{1}span"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        by_rows(&args, |rows| {
            let array = args.args[0].to_array(rows)?;
            let spans = (0..rows).map(|row| match Cell::of_array(&array, row)? {
                Cell::Interval { months, days, micros } => {
                    let days = i128::from(months) * 30 + i128::from(days);
                    Ok(Some(days * i128::from(datetime::MICROS_PER_DAY) + i128::from(micros)))
                }
                _ => Ok(None),
            });
            let spans = spans.collect::<Result<Decimal128Array, SqlError>>().map_err(external)?;
            Ok(Arc::new(spans.with_precision_and_scale(38, 0)?))
        })
    }
}
