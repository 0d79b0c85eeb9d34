//! PostgreSQL's operators: which types they take, what an untyped literal becomes beside a typed operand, and arithmetic
//! that overflows with an error instead of wrapping round.
//!
//! All decisions fall while SQL becomes a logical plan, where both operands' types are known; DataFusion's own coercion
//! finds nothing left to guess.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use datafusion::arrow::compute::kernels::arity::try_binary;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Field, FieldRef,
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
    TimestampMicrosecondType, i256,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use postgres_types::Kind;

use super::arrow;
use super::cast::{cast_expr, is_integer, is_number, is_oid, is_text};
use super::error::{division_by_zero, external};
use crate::sql::text::{Cell, Style, datetime};
use crate::sql::{PgType, SqlError, SqlErrorKind};

/// Plans operators and aggregates as PostgreSQL types them.
#[derive(Debug)]
pub struct PgExprPlanner {
    pub style: Style,
}

impl ExprPlanner for PgExprPlanner {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> PlanResult<PlannerResult<RawBinaryExpr>> {
        self.binary(raw, schema)
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
    Ok(Some(arrow::pg_type_of(&expr.to_field(schema)?.1).0))
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
                let left = if left_type.is_none() {
                    cast_expr(left, &PgType::BOOL, -1, self.style)?
                } else {
                    left
                };
                let right = if right_type.is_none() {
                    cast_expr(right, &PgType::BOOL, -1, self.style)?
                } else {
                    right
                };
                for side in [left_type, right_type].into_iter().flatten() {
                    if side != PgType::BOOL {
                        return Err(external(SqlError::new(
                            SqlErrorKind::DatatypeMismatch,
                            format!(
                                "argument of {op} must be type boolean, not type {}",
                                arrow::words_of(&side)
                            ),
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
                let left = if left_type.is_none() {
                    cast_expr(left, &PgType::TEXT, -1, self.style)?
                } else {
                    left
                };
                let right = if right_type.is_none() {
                    cast_expr(right, &PgType::TEXT, -1, self.style)?
                } else {
                    right
                };
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
        if matches!(left_type, PgType::JSON | PgType::JSONB) && left_type == PgType::JSON {
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
        let (left, right) = match (&left_type, &right_type) {
            (&PgType::DATE, &PgType::TIMESTAMP | &PgType::TIMESTAMPTZ) => {
                (cast_expr(left, &right_type, -1, self.style)?, right)
            }
            (&PgType::TIMESTAMP | &PgType::TIMESTAMPTZ, &PgType::DATE) => {
                let right = cast_expr(right, &left_type, -1, self.style)?;
                (left, right)
            }
            (&PgType::TIMESTAMP, &PgType::TIMESTAMPTZ) => (cast_expr(left, &right_type, -1, self.style)?, right),
            (&PgType::TIMESTAMPTZ, &PgType::TIMESTAMP) => {
                let right = cast_expr(right, &left_type, -1, self.style)?;
                (left, right)
            }
            (a, &PgType::FLOAT4 | &PgType::FLOAT8) if *a == PgType::NUMERIC => (
                cast_expr(left, &PgType::FLOAT8, -1, self.style)?,
                cast_expr(right, &PgType::FLOAT8, -1, self.style)?,
            ),
            (&PgType::FLOAT4 | &PgType::FLOAT8, b) if *b == PgType::NUMERIC => (
                cast_expr(left, &PgType::FLOAT8, -1, self.style)?,
                cast_expr(right, &PgType::FLOAT8, -1, self.style)?,
            ),
            _ => (left, right),
        };
        Ok(binary_expr(left, op, right))
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
        // Beside a date an untyped literal is a date or, to be added, a number of days.
        let (left, right, a, b) = match (&left_type, &right_type) {
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
        let numeric = |op| arithmetic_expr(op, &left, &right);
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
                arithmetic_expr(op, &left, &right)
            }
            (&PgType::FLOAT4, _, &PgType::FLOAT4) => numeric(op),
            (a, _, b) if is_number(a) && is_number(b) && (is_float(a) || is_float(b)) => {
                if op == Operator::Modulo {
                    return Err(no_operator("%", &Some(a.clone()), &Some(b.clone())));
                }
                let left = self.as_type(left, a, &PgType::FLOAT8)?;
                let right = self.as_type(right, b, &PgType::FLOAT8)?;
                arithmetic_expr(op, &left, &right)
            }
            (a, Operator::Divide, b) if is_number(a) && is_number(b) => {
                let left = decimal_operand(left, a);
                let right = decimal_operand(right, b);
                arithmetic_expr(op, &left, &right)
            }
            (a, _, b) if is_number(a) && is_number(b) => {
                binary_expr(decimal_operand(left, a), op, decimal_operand(right, b))
            }
            (&PgType::DATE, Operator::Plus | Operator::Minus, b) if is_integer(b) => {
                let right = self.as_type(right, b, &PgType::INT4)?;
                arithmetic_expr(op, &left, &right)
            }
            (a, Operator::Plus, &PgType::DATE) if is_integer(a) => {
                let left = self.as_type(left, a, &PgType::INT4)?;
                arithmetic_expr(op, &right, &left)
            }
            (&PgType::DATE, Operator::Minus, &PgType::DATE) => numeric(op),
            (&PgType::DATE, Operator::Plus | Operator::Minus, &PgType::INTERVAL) => {
                binary_expr(cast_expr(left, &PgType::TIMESTAMP, -1, self.style)?, op, right)
            }
            (&PgType::INTERVAL, Operator::Plus, &PgType::DATE) => {
                binary_expr(cast_expr(right, &PgType::TIMESTAMP, -1, self.style)?, op, left)
            }
            (&PgType::TIMESTAMP | &PgType::TIMESTAMPTZ, Operator::Plus | Operator::Minus, &PgType::INTERVAL)
            | (&PgType::INTERVAL, Operator::Plus | Operator::Minus, &PgType::INTERVAL) => binary_expr(left, op, right),
            (&PgType::INTERVAL, Operator::Plus, &PgType::TIMESTAMP | &PgType::TIMESTAMPTZ) => {
                binary_expr(right, op, left)
            }
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
                arithmetic_expr(op, &left, &right)
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
        if is_array(&left_type) || is_array(&right_type) {
            return Ok(None);
        }
        if let (Some(PgType::BYTEA), Some(PgType::BYTEA)) = (&left_type, &right_type) {
            return Err(external(SqlError::unsupported("concatenation of bytea")));
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
        Ok(Some(binary_expr(
            as_text(left, &left_type)?,
            Operator::StringConcat,
            as_text(right, &right_type)?,
        )))
    }
}

fn is_float(pg_type: &PgType) -> bool {
    matches!(*pg_type, PgType::FLOAT4 | PgType::FLOAT8)
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
    let words = |side: &Option<PgType>| side.as_ref().map_or_else(|| "unknown".to_string(), arrow::words_of);
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
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(if scalar { 1 } else { args.number_rows })?;
        let spans = (0..array.len()).map(|row| match Cell::of_array(&array, row)? {
            Cell::Interval { months, days, micros } => {
                let days = i128::from(months) * 30 + i128::from(days);
                Ok(Some(days * i128::from(datetime::MICROS_PER_DAY) + i128::from(micros)))
            }
            _ => Ok(None),
        });
        let spans = spans.collect::<Result<Decimal128Array, SqlError>>().map_err(external)?;
        let spans: ArrayRef = Arc::new(spans.with_precision_and_scale(38, 0)?);
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&spans, 0)?)
        } else {
            ColumnarValue::Array(spans)
        })
    }
}

/// `left op right` by [`Arithmetic`].
fn arithmetic_expr(op: Operator, left: &Expr, right: &Expr) -> Expr {
    let function = Arc::new(ScalarUDF::new_from_impl(Arithmetic::new(op)));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![left.clone(), right.clone()]))
}

/// Digits behind the point of a quotient of numerics. PostgreSQL chooses so that there are at least 16 significant ones;
/// a column of a plan has one scale, so it is the one that PostgreSQL takes for quotients from 1 to 9999.
const QUOTIENT_SCALE: i8 = 16;

/// Arithmetic that fails instead of wrapping: integers, floats, dates and days, and quotients of numerics.
#[derive(Debug)]
struct Arithmetic {
    op: Operator,
    name: String,
    signature: Signature,
}

impl Arithmetic {
    fn new(op: Operator) -> Arithmetic {
        Arithmetic {
            op,
            name: format!("\u{1}{op}"),
            signature: Signature::any(2, Volatility::Immutable),
        }
    }

    fn result(&self, left: &DataType, right: &DataType) -> DataType {
        match (left, right) {
            (DataType::Date32, DataType::Date32) => DataType::Int32,
            (DataType::Timestamp(..), DataType::Timestamp(..)) => DataType::Interval(IntervalUnit::MonthDayNano),
            (DataType::Decimal128(..) | DataType::Decimal256(..), _)
            | (_, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                let scale = |side: &DataType| match side {
                    DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
                    _ => 0,
                };
                // One digit less than an unconstrained column has, so that zeros at the end are shown.
                DataType::Decimal256(76, scale(left).max(scale(right)).clamp(QUOTIENT_SCALE, 27))
            }
            _ => left.clone(),
        }
    }
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op
    }
}
impl Eq for Arithmetic {}
impl Hash for Arithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(self.result(&types[0], &types[1]))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let result = self.result(args.arg_fields[0].data_type(), args.arg_fields[1].data_type());
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), result, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let left = args.args[0].to_array(rows)?;
        let right = args.args[1].to_array(rows)?;
        let result = compute(self.op, &left, &right, args.return_field.data_type())?;
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

fn compute(op: Operator, left: &ArrayRef, right: &ArrayRef, result: &DataType) -> PlanResult<ArrayRef> {
    Ok(match (left.data_type(), right.data_type()) {
        (DataType::Int16, DataType::Int16) => integers::<Int16Type>(
            op,
            left,
            right,
            "smallint",
            i16::checked_add,
            i16::checked_sub,
            i16::checked_mul,
            i16::checked_div,
            i16::checked_rem,
        )?,
        (DataType::Int32, DataType::Int32) => integers::<Int32Type>(
            op,
            left,
            right,
            "integer",
            i32::checked_add,
            i32::checked_sub,
            i32::checked_mul,
            i32::checked_div,
            i32::checked_rem,
        )?,
        (DataType::Int64, DataType::Int64) => integers::<Int64Type>(
            op,
            left,
            right,
            "bigint",
            i64::checked_add,
            i64::checked_sub,
            i64::checked_mul,
            i64::checked_div,
            i64::checked_rem,
        )?,
        (DataType::Float32, DataType::Float32) => {
            each::<Float32Type, Float32Type, Float32Type>(left, right, |a, b| {
                Ok(float(op, a.into(), b.into(), |value| (value as f32).is_infinite())? as f32)
            })?
        }
        (DataType::Float64, DataType::Float64) => {
            each::<Float64Type, Float64Type, Float64Type>(left, right, |a, b| float(op, a, b, f64::is_infinite))?
        }
        (DataType::Date32, DataType::Int32) => each::<Date32Type, Int32Type, Date32Type>(left, right, |date, days| {
            let moved = if op == Operator::Plus {
                date.checked_add(days)
            } else {
                date.checked_sub(days)
            };
            moved.ok_or_else(|| SqlError::new(SqlErrorKind::DatetimeOverflow, "date out of range"))
        })?,
        (DataType::Date32, DataType::Date32) => each::<Date32Type, Date32Type, Int32Type>(left, right, |a, b| {
            a.checked_sub(b)
                .ok_or_else(|| SqlError::new(SqlErrorKind::NumericOutOfRange, "integer out of range"))
        })?,
        (DataType::Timestamp(..), DataType::Timestamp(..)) => each::<
            TimestampMicrosecondType,
            TimestampMicrosecondType,
            IntervalMonthDayNanoType,
        >(left, right, |a, b| {
            let infinite = |micros| {
                matches!(
                    micros,
                    datetime::TIMESTAMP_INFINITY | datetime::TIMESTAMP_MINUS_INFINITY
                )
            };
            if infinite(a) || infinite(b) {
                return Err(SqlError::new(
                    SqlErrorKind::DatetimeOverflow,
                    "cannot subtract infinite timestamps",
                ));
            }
            let overflow = || SqlError::new(SqlErrorKind::DatetimeOverflow, "interval out of range");
            let micros = a.checked_sub(b).ok_or_else(overflow)?;
            let days = i32::try_from(micros / datetime::MICROS_PER_DAY).map_err(|_| overflow())?;
            Ok(IntervalMonthDayNanoType::make_value(
                0,
                days,
                micros % datetime::MICROS_PER_DAY * 1_000,
            ))
        })?,
        (_, _) if matches!(result, DataType::Decimal256(..)) => quotient(left, right, result)?,
        (a, b) => {
            return Err(external(SqlError::internal(format!(
                "arithmetic between {a} and {b} was not planned"
            ))));
        }
    })
}

fn each<L: ArrowPrimitiveType, R: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    left: &ArrayRef,
    right: &ArrayRef,
    compute: impl Fn(L::Native, R::Native) -> Result<O::Native, SqlError>,
) -> PlanResult<ArrayRef> {
    let result: PrimitiveArray<O> = try_binary(left.as_primitive::<L>(), right.as_primitive::<R>(), |a, b| {
        compute(a, b).map_err(|error| ArrowError::ExternalError(Box::new(error)))
    })?;
    Ok(Arc::new(result))
}

type Checked<T> = fn(T, T) -> Option<T>;

#[expect(clippy::too_many_arguments, reason = "one checked function per operator")]
fn integers<T: ArrowPrimitiveType>(
    op: Operator,
    left: &ArrayRef,
    right: &ArrayRef,
    type_name: &'static str,
    add: Checked<T::Native>,
    sub: Checked<T::Native>,
    mul: Checked<T::Native>,
    div: Checked<T::Native>,
    rem: Checked<T::Native>,
) -> PlanResult<ArrayRef>
where
    T::Native: Default + PartialEq,
{
    let zero = T::Native::default();
    each::<T, T, T>(left, right, |a, b| {
        let result = match op {
            Operator::Plus => add(a, b),
            Operator::Minus => sub(a, b),
            Operator::Multiply => mul(a, b),
            _ if b == zero => return Err(division_by_zero()),
            Operator::Divide => div(a, b),
            // The smallest integer modulo -1 has no overflow in it: nothing remains.
            _ => Some(rem(a, b).unwrap_or(zero)),
        };
        result.ok_or_else(|| SqlError::new(SqlErrorKind::NumericOutOfRange, format!("{type_name} out of range")))
    })
}

fn float(op: Operator, a: f64, b: f64, overflows: impl Fn(f64) -> bool) -> Result<f64, SqlError> {
    let result = match op {
        Operator::Plus => a + b,
        Operator::Minus => a - b,
        Operator::Multiply => a * b,
        _ if b == 0.0 && !a.is_nan() => return Err(division_by_zero()),
        _ => a / b,
    };
    if overflows(result) && a.is_finite() && b.is_finite() {
        return Err(SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            "value out of range: overflow",
        ));
    }
    if result == 0.0 && matches!(op, Operator::Multiply | Operator::Divide) && a != 0.0 && b != 0.0 && b.is_finite() {
        return Err(SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            "value out of range: underflow",
        ));
    }
    Ok(result)
}

/// Quotient of two decimals, rounded half away from zero to the result's scale.
fn quotient(left: &ArrayRef, right: &ArrayRef, result: &DataType) -> PlanResult<ArrayRef> {
    let DataType::Decimal256(precision, scale) = *result else {
        return Err(external(SqlError::internal("a quotient of numerics is a wide decimal")));
    };
    let (left, left_scale) = wide(left)?;
    let (right, right_scale) = wide(right)?;
    let (left, right) = (
        left.as_primitive::<Decimal256Type>(),
        right.as_primitive::<Decimal256Type>(),
    );
    // left / 10^ls / (right / 10^rs) * 10^scale
    let shift = u32::try_from(i32::from(scale) + i32::from(right_scale) - i32::from(left_scale)).unwrap_or(0);
    let overflow = || SqlError::new(SqlErrorKind::NumericOutOfRange, "value overflows numeric format");
    let factor = i256::from_i128(10)
        .checked_pow(shift)
        .ok_or_else(|| external(overflow()))?;
    let quotients: PrimitiveArray<Decimal256Type> = try_binary(left, right, |a, b| {
        let divide = || {
            if b == i256::ZERO {
                return Err(division_by_zero());
            }
            let scaled = a.checked_mul(factor).ok_or_else(overflow)?;
            let whole = scaled.checked_div(b).ok_or_else(overflow)?;
            let rest = scaled.checked_rem(b).ok_or_else(overflow)?.wrapping_abs();
            let away = if (a < i256::ZERO) == (b < i256::ZERO) {
                i256::ONE
            } else {
                i256::MINUS_ONE
            };
            let half = b.wrapping_abs().wrapping_sub(rest);
            if rest >= half {
                whole.checked_add(away).ok_or_else(overflow)
            } else {
                Ok(whole)
            }
        };
        divide().map_err(|error| ArrowError::ExternalError(Box::new(error)))
    })?;
    Ok(Arc::new(quotients.with_precision_and_scale(precision, scale)?))
}

fn wide(array: &ArrayRef) -> PlanResult<(ArrayRef, i8)> {
    match array.data_type() {
        DataType::Decimal256(_, scale) => Ok((Arc::clone(array), *scale)),
        DataType::Decimal128(_, scale) => {
            let narrow = array.as_primitive::<Decimal128Type>();
            let digits: PrimitiveArray<Decimal256Type> = narrow.unary(i256::from_i128);
            let digits = digits.with_precision_and_scale(Decimal256Type::MAX_PRECISION, *scale)?;
            Ok((Arc::new(digits), *scale))
        }
        other => Err(external(SqlError::internal(format!("{other} is no decimal")))),
    }
}

/// Wraps the argument of `sum` and `avg` so that the aggregate's result is what PostgreSQL's is: sums of integers do not
/// wrap round (smallint and integer give bigint, bigint gives numeric), averages of integers and numerics are numeric.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct AggregateArgument {
    name: &'static str,
    signature: Signature,
}

pub const SUM_ARGUMENT: &str = "\u{1}sum";
pub const AVG_ARGUMENT: &str = "\u{1}avg";

impl AggregateArgument {
    pub fn new(name: &'static str) -> AggregateArgument {
        AggregateArgument {
            name,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    fn result(&self, argument: &DataType) -> PlanResult<DataType> {
        use DataType::{
            Decimal128, Decimal256, Duration, Float32, Float64, Int8, Int16, Int32, Int64, Interval, Null, UInt64,
        };
        Ok(match (self.name, argument) {
            (_, Null) => Int64,
            (SUM_ARGUMENT, Int8 | Int16 | Int32) => Int64,
            (SUM_ARGUMENT, Int64 | UInt64) => Decimal256(40, 0),
            (SUM_ARGUMENT, Decimal128(_, scale) | Decimal256(_, scale)) => Decimal256(66, *scale),
            (AVG_ARGUMENT, Int8 | Int16 | Int32 | Int64 | UInt64) => Decimal256(72, QUOTIENT_SCALE - 4),
            // An average has four more digits behind the point than its argument.
            (AVG_ARGUMENT, Decimal128(_, scale) | Decimal256(_, scale)) => {
                Decimal256(72, (*scale).clamp(QUOTIENT_SCALE - 4, 23))
            }
            (_, Float32 | Float64) => Float64,
            (_, Interval(_) | Duration(_)) => argument.clone(),
            (name, _) => {
                let words = arrow::words_of(&arrow::pg_type_of(&Field::new("argument", argument.clone(), true)).0);
                return Err(external(super::error::undefined_function(&format!(
                    "{}({words})",
                    &name[1..]
                ))));
            }
        })
    }
}

impl ScalarUDFImpl for AggregateArgument {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.result(&types[0])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        args.args[0].cast_to(args.return_field.data_type(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_of_numerics_are_rounded_half_away_from_zero() {
        for (a, b, expected) in [
            ("10.0", "3", "3.3333333333333333"),
            ("-2", "3", "-0.6666666666666667"),
            ("1", "8", "0.1250000000000000"),
        ] {
            let side = |text: &str| {
                let value = crate::version::Value::Numeric(text.parse().unwrap());
                arrow::array(&DataType::Decimal128(20, 1), std::iter::once(&value)).unwrap()
            };
            let result = quotient(&side(a), &side(b), &DataType::Decimal256(76, QUOTIENT_SCALE)).unwrap();
            let cell = crate::sql::text::Cell::of_array(&result, 0).unwrap();
            let mut out = String::new();
            crate::sql::text::write_cell(&mut out, &cell, &PgType::NUMERIC, &Style::DEFAULT).unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn floats_fail_where_postgres_fails() {
        assert_eq!(
            float(Operator::Divide, 1.0, 0.0, f64::is_infinite).unwrap_err().kind,
            SqlErrorKind::DivisionByZero
        );
        assert_eq!(
            float(Operator::Multiply, 1e300, 1e300, f64::is_infinite)
                .unwrap_err()
                .kind,
            SqlErrorKind::NumericOutOfRange
        );
        assert_eq!(
            float(Operator::Plus, f64::INFINITY, 1.0, f64::is_infinite).unwrap(),
            f64::INFINITY
        );
    }
}
