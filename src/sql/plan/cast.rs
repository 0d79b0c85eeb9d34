//! Casts as PostgreSQL makes them: what is rounded, what overflows, what is refused, and in which words.
//!
//! [`convert`] is the whole truth about one value; [`CastFunction`] applies it to columns inside plans. Widening integers
//! and floats goes through Arrow's kernels, which agree with it and are faster.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, IntervalMonthDayNanoArray, new_null_array};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNanoType};
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use postgres_types::Kind;
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::arrow;
use super::error::external;
use crate::sql::catalog::Catalog;
use crate::sql::text::{self, Cell, Style, datetime};
use crate::sql::{PgType, SqlError, SqlErrorKind};
use crate::version::Value;

/// Longest `name`.
const NAME_BYTES: usize = 63;

/// One value as another type. `from` is the type the value has now.
pub fn convert(value: Value, from: &PgType, to: &PgType, typmod: i32, style: &Style) -> Result<Value, SqlError> {
    let value = match (value, to) {
        (Value::Null, _) => return Ok(Value::Null),
        (value, _) if from == to && !matches!(*to, PgType::NUMERIC | PgType::VARCHAR | PgType::BPCHAR) => value,
        (Value::Text(text), _) if is_text(from) && !is_text(to) => text::parse_as(&text, to, style)?,
        (Value::Text(text), &PgType::JSONB) => text::parse_as(&text, to, style)?,
        // Trailing spaces of char(n) are lost as soon as it becomes another text.
        (Value::Text(text), _) if *from == PgType::BPCHAR && *to != PgType::BPCHAR => {
            Value::Text(text.trim_end_matches(' ').to_string())
        }
        (Value::Text(text), _) => Value::Text(text),
        (Value::Bool(value), _) if is_text(to) => Value::Text(if value { "true" } else { "false" }.to_string()),
        (value, _) if is_text(to) => Value::Text(text::to_text(&value, from, style).unwrap_or_default()),
        (Value::Bool(value), &PgType::INT4) => Value::Int4(i32::from(value)),
        (value, &PgType::BOOL) if *from == PgType::INT4 => Value::Bool(integer_of(&value).is_some_and(|n| n != 0)),
        (Value::Float4(value), &PgType::FLOAT8) => Value::Float8(f64::from(value)),
        (Value::Float8(value), &PgType::FLOAT4) => single(value)?,
        (Value::Float4(value), _) if is_number(to) => number_from_float(f64::from(value), 6, to)?,
        (Value::Float8(value), _) if is_number(to) => number_from_float(value, 15, to)?,
        (Value::Numeric(value), _) if is_number(to) => number_from_decimal(value, to)?,
        (value @ (Value::Int2(_) | Value::Int4(_) | Value::Int8(_)), _) if is_number(to) => {
            number_from_integer(integer_of(&value).unwrap_or_default(), to)?
        }
        (value @ (Value::Int2(_) | Value::Int4(_) | Value::Int8(_)), _) if is_oid(to) => {
            Value::Int8(integer_of(&value).unwrap_or_default() & 0xffff_ffff)
        }
        (Value::Date(days), &PgType::TIMESTAMP) => Value::Timestamp(midnight(days, 0)?),
        (Value::Date(days), &PgType::TIMESTAMPTZ) => Value::Timestamp(midnight(days, style.utc_offset)?),
        (Value::Timestamp(micros), &PgType::DATE) => Value::Date(day_of(local(micros, from, style))),
        (Value::Timestamp(micros), &PgType::TIME) => {
            Value::Time(local(micros, from, style).rem_euclid(datetime::MICROS_PER_DAY))
        }
        (Value::Timestamp(micros), &PgType::TIMESTAMP) => Value::Timestamp(local(micros, from, style)),
        (Value::Timestamp(micros), &PgType::TIMESTAMPTZ) => Value::Timestamp(shifted(micros, -style.utc_offset)),
        _ => return Err(cannot_cast(from, to)),
    };
    with_modifier(value, to, typmod)
}

pub fn cannot_cast(from: &PgType, to: &PgType) -> SqlError {
    SqlError::new(
        SqlErrorKind::CannotCoerce,
        format!("cannot cast type {} to {}", arrow::words_of(from), arrow::words_of(to)),
    )
}

/// Whether values of the type are texts that any type can be read from and written to.
pub fn is_text(pg_type: &PgType) -> bool {
    matches!(
        *pg_type,
        PgType::TEXT
            | PgType::VARCHAR
            | PgType::BPCHAR
            | PgType::NAME
            | PgType::CHAR
            | PgType::UNKNOWN
            | PgType::CSTRING
    )
}

pub fn is_integer(pg_type: &PgType) -> bool {
    matches!(*pg_type, PgType::INT2 | PgType::INT4 | PgType::INT8)
}

pub fn is_number(pg_type: &PgType) -> bool {
    is_integer(pg_type) || matches!(*pg_type, PgType::FLOAT4 | PgType::FLOAT8 | PgType::NUMERIC)
}

/// oid and the types that are oids with another face.
pub fn is_oid(pg_type: &PgType) -> bool {
    matches!(
        *pg_type,
        PgType::OID
            | PgType::XID
            | PgType::CID
            | PgType::REGCLASS
            | PgType::REGTYPE
            | PgType::REGPROC
            | PgType::REGNAMESPACE
            | PgType::REGROLE
    )
}

fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Int2(value) => Some(i64::from(*value)),
        Value::Int4(value) => Some(i64::from(*value)),
        Value::Int8(value) => Some(*value),
        _ => None,
    }
}

fn out_of_range(to: &PgType) -> SqlError {
    SqlError::new(
        SqlErrorKind::NumericOutOfRange,
        format!("{} out of range", arrow::words_of(to)),
    )
}

fn number_from_integer(value: i64, to: &PgType) -> Result<Value, SqlError> {
    Ok(match *to {
        PgType::INT2 => Value::Int2(i16::try_from(value).map_err(|_| out_of_range(to))?),
        PgType::INT4 => Value::Int4(i32::try_from(value).map_err(|_| out_of_range(to))?),
        PgType::INT8 => Value::Int8(value),
        PgType::FLOAT4 => Value::Float4(value as f32),
        PgType::FLOAT8 => Value::Float8(value as f64),
        _ => Value::Numeric(Decimal::from(value)),
    })
}

/// Integers take the nearest, halves to even; numeric takes the digits a float really has.
fn number_from_float(value: f64, digits: usize, to: &PgType) -> Result<Value, SqlError> {
    if *to == PgType::NUMERIC {
        let text = format!("{value:.*e}", digits - 1);
        let decimal = text::number::parse_numeric(&text)?;
        return Ok(Value::Numeric(decimal.normalize()));
    }
    let rounded = value.round_ties_even();
    if !rounded.is_finite() || !(-9.3e18..9.3e18).contains(&rounded) || (rounded >= 9_223_372_036_854_775_808.0) {
        return Err(out_of_range(to));
    }
    number_from_integer(rounded as i64, to)
}

fn single(value: f64) -> Result<Value, SqlError> {
    let narrow = value as f32;
    if (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0) {
        return Err(out_of_range(&PgType::FLOAT4));
    }
    Ok(Value::Float4(narrow))
}

fn number_from_decimal(value: Decimal, to: &PgType) -> Result<Value, SqlError> {
    match *to {
        PgType::NUMERIC => Ok(Value::Numeric(value)),
        PgType::FLOAT8 => Ok(Value::Float8(text::number::parse_float8(&value.to_string())?)),
        PgType::FLOAT4 => Ok(Value::Float4(text::number::parse_float4(&value.to_string())?)),
        _ => {
            let rounded = value.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
            number_from_integer(rounded.to_i64().ok_or_else(|| out_of_range(to))?, to)
        }
    }
}

fn midnight(days: i32, offset: i32) -> Result<i64, SqlError> {
    Ok(match days {
        datetime::DATE_INFINITY => datetime::TIMESTAMP_INFINITY,
        datetime::DATE_MINUS_INFINITY => datetime::TIMESTAMP_MINUS_INFINITY,
        _ => i64::from(days)
            .checked_mul(datetime::MICROS_PER_DAY)
            .map(|micros| shifted(micros, -offset))
            .ok_or_else(|| SqlError::new(SqlErrorKind::DatetimeOverflow, "date out of range for timestamp"))?,
    })
}

fn day_of(micros: i64) -> i32 {
    match micros {
        datetime::TIMESTAMP_INFINITY => datetime::DATE_INFINITY,
        datetime::TIMESTAMP_MINUS_INFINITY => datetime::DATE_MINUS_INFINITY,
        _ => micros.div_euclid(datetime::MICROS_PER_DAY) as i32,
    }
}

/// What a clock on the wall of the session's zone shows.
fn local(micros: i64, from: &PgType, style: &Style) -> i64 {
    if *from == PgType::TIMESTAMPTZ {
        shifted(micros, style.utc_offset)
    } else {
        micros
    }
}

fn shifted(micros: i64, seconds: i32) -> i64 {
    match micros {
        datetime::TIMESTAMP_INFINITY | datetime::TIMESTAMP_MINUS_INFINITY => micros,
        _ => micros.saturating_add(i64::from(seconds) * 1_000_000),
    }
}

/// Lengths and digits as an explicit cast applies them: texts are cut, numerics rounded.
fn with_modifier(value: Value, to: &PgType, typmod: i32) -> Result<Value, SqlError> {
    let length = usize::try_from(typmod - 4).ok();
    Ok(match (value, to, length) {
        (Value::Text(text), &PgType::NAME, _) if text.len() > NAME_BYTES => {
            let cut = (0..=NAME_BYTES)
                .rev()
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            Value::Text(text[..cut].to_string())
        }
        (Value::Text(text), &PgType::CHAR, _) => Value::Text(text.chars().take(1).collect()),
        (Value::Text(text), &PgType::VARCHAR, Some(length)) => Value::Text(text.chars().take(length).collect()),
        (Value::Text(text), &PgType::BPCHAR, Some(length)) => {
            let cut: String = text.chars().take(length).collect();
            Value::Text(format!("{cut:<length$}"))
        }
        (Value::Numeric(value), &PgType::NUMERIC, _) => match arrow::numeric_typmod(typmod) {
            None => Value::Numeric(value),
            Some((precision, scale)) => Value::Numeric(fit_numeric(value, precision, scale)?),
        },
        (value, ..) => value,
    })
}

/// Rounds to the scale; 22003 when the digits before the point have no room.
pub fn fit_numeric(value: Decimal, precision: u8, scale: i8) -> Result<Decimal, SqlError> {
    let scale = u32::try_from(scale).unwrap_or(0);
    let mut rounded = value.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero);
    let whole_digits = u32::from(precision) - scale.min(u32::from(precision));
    let limit = 10i128.checked_pow(whole_digits).unwrap_or(i128::MAX);
    if rounded.trunc().mantissa().abs() / 10i128.pow(rounded.trunc().scale()) >= limit {
        return Err(SqlError::new(SqlErrorKind::NumericOutOfRange, "numeric field overflow").detail(format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{whole_digits}."
        )));
    }
    rounded.rescale(scale);
    Ok(rounded)
}

/// A whole column as another type.
pub fn convert_array(source: &ArrayRef, from: &PgType, to: &FieldRef, style: &Style) -> Result<ArrayRef, SqlError> {
    let (to_type, typmod) = arrow::pg_type_of(to);
    let data_type = to.data_type();
    if *source.data_type() == DataType::Null {
        return Ok(new_null_array(data_type, source.len()));
    }
    let same = from == &to_type && source.data_type() == data_type;
    if same && (typmod < 0 || to_type == PgType::NUMERIC)
        || (is_text(from)
            && *from != PgType::BPCHAR
            && to_type == PgType::TEXT
            && *source.data_type() == DataType::Utf8)
    {
        return Ok(Arc::clone(source));
    }
    if widens(source.data_type(), data_type) {
        return compute::cast(source, data_type).map_err(|error| super::error::from_datafusion(error.into()));
    }
    if to_type == PgType::INTERVAL && is_text(from) {
        return intervals(source);
    }
    if let (DataType::List(_), Kind::Array(element)) = (data_type, to_type.kind()) {
        return convert_list(source, from, element, style);
    }
    let mut converted = Vec::with_capacity(source.len());
    for row in 0..source.len() {
        let cell = Cell::of_array(source, row)?;
        let value = match &cell {
            Cell::List(_) | Cell::Interval { .. } if is_text(&to_type) => {
                let mut out = String::new();
                text::write_cell(&mut out, &cell, from, style).expect("writing to a String does not fail");
                Value::Text(out)
            }
            Cell::List(_) | Cell::Interval { .. } => return Err(cannot_cast(from, &to_type)),
            Cell::Numeric { unscaled, scale } if is_text(&to_type) => {
                let mut out = String::new();
                text::number::write_decimal(&mut out, &unscaled.to_string(), *scale)
                    .expect("writing to a String does not fail");
                Value::Text(out)
            }
            _ => convert(arrow::value_of_cell(&cell, from)?, from, &to_type, typmod, style)?,
        };
        converted.push(value);
    }
    if data_type == &DataType::Utf8 {
        // A uuid is carried as text inside plans.
        return arrow::array(data_type, converted.iter());
    }
    arrow::array(data_type, converted.iter())
}

/// Texts as intervals.
fn intervals(source: &ArrayRef) -> Result<ArrayRef, SqlError> {
    let mut found = Vec::with_capacity(source.len());
    for row in 0..source.len() {
        found.push(match Cell::of_array(source, row)? {
            Cell::Text(text) => {
                let (months, days, micros) = super::interval::parse_interval(text)?;
                let nanos = micros.checked_mul(1_000).ok_or_else(|| {
                    SqlError::new(
                        SqlErrorKind::DatetimeOverflow,
                        format!("interval field value out of range: \"{text}\""),
                    )
                })?;
                Some(IntervalMonthDayNanoType::make_value(months, days, nanos))
            }
            _ => None,
        });
    }
    Ok(Arc::new(found.into_iter().collect::<IntervalMonthDayNanoArray>()))
}

fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float32, Float64, Int16, Int32, Int64, UInt8, UInt16, UInt32};
    matches!(
        (from, to),
        (Int16, Int32 | Int64 | Float32 | Float64)
            | (Int32, Int64 | Float64 | Float32)
            | (Int64, Float64 | Float32)
            | (Float32, Float64)
            | (UInt8, Int16 | Int32 | Int64)
            | (UInt16, Int32 | Int64)
            | (UInt32, Int64)
    )
}

/// `'{1,2}'::int[]` and `int2[]::int4[]`.
fn convert_list(source: &ArrayRef, from: &PgType, element: &PgType, style: &Style) -> Result<ArrayRef, SqlError> {
    let mut rows = Vec::with_capacity(source.len());
    for row in 0..source.len() {
        rows.push(match Cell::of_array(source, row)? {
            Cell::Null => None,
            Cell::Text(text) => {
                let items = split_array(text)?;
                let parsed = items.into_iter().map(|item| match item {
                    None => Ok(Value::Null),
                    Some(item) => text::parse_as(&item, element, style),
                });
                Some(parsed.collect::<Result<Vec<_>, _>>()?)
            }
            Cell::List(items) => {
                let from_element = text::element_type(from);
                let converted = items.iter().map(|item| {
                    convert(
                        arrow::value_of_cell(item, from_element)?,
                        from_element,
                        element,
                        -1,
                        style,
                    )
                });
                Some(converted.collect::<Result<Vec<_>, _>>()?)
            }
            _ => return Err(cannot_cast(from, &arrow::array_of(element))),
        });
    }
    arrow::list_array(element, &rows)
}

/// The items of a one-dimensional array's text, None for NULL.
fn split_array(text: &str) -> Result<Vec<Option<String>>, SqlError> {
    let malformed = || {
        SqlError::new(
            SqlErrorKind::InvalidText,
            format!("malformed array literal: \"{text}\""),
        )
    };
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(malformed)?;
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut items = Vec::new();
    let (mut item, mut quoted, mut in_quotes, mut escaped) = (String::new(), false, false, false);
    for c in inner.chars().chain([',']) {
        match c {
            _ if escaped => {
                item.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => (quoted, in_quotes) = (true, !in_quotes),
            _ if in_quotes => item.push(c),
            '{' | '}' => return Err(malformed()),
            ',' => {
                let whole = std::mem::take(&mut item);
                let whole = if quoted { whole } else { whole.trim_end().to_string() };
                if !quoted && whole.is_empty() {
                    return Err(malformed());
                }
                items.push((quoted || !whole.eq_ignore_ascii_case("null")).then_some(whole));
                quoted = false;
            }
            // White space around an item does not belong to it.
            _ if c.is_ascii_whitespace() && (item.is_empty() || quoted) => {}
            _ => item.push(c),
        }
    }
    if in_quotes || escaped {
        Err(malformed())
    } else {
        Ok(items)
    }
}

/// `CAST(x AS type)` inside a plan.
#[derive(Debug)]
pub struct CastFunction {
    name: String,
    target: FieldRef,
    style: Style,
    /// Knows the names of objects that oids stand for; without it `regclass` is a number.
    catalog: Option<Arc<Catalog>>,
    signature: Signature,
}

/// What the names of cast functions begin with: followed by the type's oid and type modifier, `\u{1}cast:23:-1`.
const CAST_PREFIX: &str = "\u{1}cast:";

pub fn cast_name(pg_type: &PgType, typmod: i32) -> String {
    format!("{CAST_PREFIX}{}:{typmod}", pg_type.oid())
}

/// The type a cast function's name says.
pub fn cast_target(name: &str) -> Option<(PgType, i32)> {
    let (oid, typmod) = name.strip_prefix(CAST_PREFIX)?.split_once(':')?;
    Some((PgType::from_oid(oid.parse().ok()?)?, typmod.parse().ok()?))
}

impl CastFunction {
    pub fn new(pg_type: &PgType, typmod: i32, style: Style) -> CastFunction {
        CastFunction {
            name: cast_name(pg_type, typmod),
            target: arrow::field_ref("cast", pg_type, typmod),
            style,
            catalog: None,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    pub fn with_catalog(self, catalog: Arc<Catalog>) -> CastFunction {
        CastFunction {
            catalog: Some(catalog),
            ..self
        }
    }

    fn convert_array(&self, source: &ArrayRef, from: &PgType) -> Result<ArrayRef, SqlError> {
        let (to, _) = arrow::pg_type_of(&self.target);
        if let Some(catalog) = &self.catalog
            && is_oid(from)
            && *from != PgType::OID
            && is_text(&to)
        {
            let names = (0..source.len()).map(|row| match Cell::of_array(source, row)? {
                Cell::Int(oid) => Ok(Value::Text(catalog.object_name(from, oid)?)),
                _ => Ok(Value::Null),
            });
            let names = names.collect::<Result<Vec<Value>, SqlError>>()?;
            return arrow::array(&DataType::Utf8, names.iter());
        }
        convert_array(source, from, &self.target, &self.style)
    }
}

impl PartialEq for CastFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.style == other.style
    }
}
impl Eq for CastFunction {}
impl Hash for CastFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CastFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(self.target.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(self.target.as_ref().clone().with_nullable(nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let (from, _) = arrow::pg_type_of(&args.arg_fields[0]);
        match &args.args[0] {
            ColumnarValue::Scalar(value) => {
                let array = self.convert_array(&value.to_array()?, &from).map_err(external)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(
                self.convert_array(array, &from).map_err(external)?,
            )),
        }
    }
}

/// An expression as another type; literals are converted on the spot, so that errors come while planning and literals
/// stay literals.
pub fn cast_expr(expr: Expr, pg_type: &PgType, typmod: i32, style: Style) -> PlanResult<Expr> {
    let function = CastFunction::new(pg_type, typmod, style);
    if let Expr::Literal(value, metadata) = &expr {
        let mut field = datafusion::arrow::datatypes::Field::new("literal", value.data_type(), true);
        if let Some(metadata) = metadata {
            field = metadata.add_to_field(field);
        }
        let (from, _) = arrow::pg_type_of(&field);
        let array = convert_array(&value.to_array()?, &from, &function.target, &style).map_err(external)?;
        return Ok(literal(ScalarValue::try_from_array(&array, 0)?, &function.target));
    }
    if let Expr::Placeholder(placeholder) = &expr
        && placeholder.field.is_none()
    {
        return Ok(Expr::Placeholder(
            datafusion::logical_expr::expr::Placeholder::new_with_field(
                placeholder.id.clone(),
                Some(Arc::clone(&function.target)),
            ),
        ));
    }
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        vec![expr],
    )))
}

/// A literal that remembers its PostgreSQL type.
pub fn literal(value: ScalarValue, field: &FieldRef) -> Expr {
    let metadata = datafusion::common::metadata::FieldMetadata::new_from_field(field);
    Expr::Literal(value, Some(metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(text: &str, from: PgType, to: PgType, typmod: i32) -> Result<String, SqlError> {
        let value = text::parse_as(text, &from, &Style::DEFAULT)?;
        let value = convert(value, &from, &to, typmod, &Style::DEFAULT)?;
        Ok(text::to_text(&value, &to, &Style::DEFAULT).unwrap_or_default())
    }

    /// As PostgreSQL 15 answers `SELECT 'text'::from::to`.
    #[test]
    fn casts_agree_with_postgres() {
        let varchar3 = 7;
        let numeric_5_2 = (5 << 16 | 2) + 4;
        for (text, from, to, typmod, expected) in [
            ("2.5", PgType::FLOAT8, PgType::INT4, -1, "2"),
            ("3.5", PgType::FLOAT8, PgType::INT4, -1, "4"),
            ("2.5", PgType::NUMERIC, PgType::INT4, -1, "3"),
            ("-2.5", PgType::NUMERIC, PgType::INT8, -1, "-3"),
            ("0.1", PgType::FLOAT4, PgType::NUMERIC, -1, "0.1"),
            ("1e20", PgType::FLOAT8, PgType::NUMERIC, -1, "100000000000000000000"),
            ("abcdef", PgType::TEXT, PgType::VARCHAR, varchar3, "abc"),
            ("a", PgType::TEXT, PgType::BPCHAR, varchar3, "a  "),
            ("1.005", PgType::NUMERIC, PgType::NUMERIC, numeric_5_2, "1.01"),
            ("t", PgType::BOOL, PgType::TEXT, -1, "true"),
            ("t", PgType::BOOL, PgType::INT4, -1, "1"),
            (
                "2024-03-01 23:59:59.5",
                PgType::TIMESTAMP,
                PgType::DATE,
                -1,
                "2024-03-01",
            ),
            ("infinity", PgType::DATE, PgType::TIMESTAMP, -1, "infinity"),
            ("12", PgType::TEXT, PgType::INT4, -1, "12"),
        ] {
            assert_eq!(
                cast(text, from.clone(), to.clone(), typmod).unwrap(),
                expected,
                "{text}: {from} to {to}"
            );
        }
    }

    #[test]
    fn casts_that_fail_say_why() {
        let numeric_5_2 = (5 << 16 | 2) + 4;
        for (text, from, to, typmod, kind, message) in [
            (
                "40000",
                PgType::INT4,
                PgType::INT2,
                -1,
                SqlErrorKind::NumericOutOfRange,
                "smallint out of range",
            ),
            (
                "1e10",
                PgType::FLOAT8,
                PgType::INT4,
                -1,
                SqlErrorKind::NumericOutOfRange,
                "integer out of range",
            ),
            (
                "NaN",
                PgType::FLOAT8,
                PgType::INT4,
                -1,
                SqlErrorKind::NumericOutOfRange,
                "integer out of range",
            ),
            (
                "1000",
                PgType::NUMERIC,
                PgType::NUMERIC,
                numeric_5_2,
                SqlErrorKind::NumericOutOfRange,
                "numeric field overflow",
            ),
            (
                "x",
                PgType::TEXT,
                PgType::INT4,
                -1,
                SqlErrorKind::InvalidText,
                "invalid input syntax for type integer: \"x\"",
            ),
            (
                "1",
                PgType::INT4,
                PgType::DATE,
                -1,
                SqlErrorKind::CannotCoerce,
                "cannot cast type integer to date",
            ),
        ] {
            let error = cast(text, from, to, typmod).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (kind, message));
        }
    }

    #[test]
    fn array_texts_are_split() {
        assert_eq!(split_array("{}").unwrap(), vec![]);
        assert_eq!(
            split_array(r#"{a, "b,c" ,NULL,"NULL","\""}"#).unwrap(),
            [Some("a"), Some("b,c"), None, Some("NULL"), Some("\"")].map(|item| item.map(str::to_string))
        );
        assert!(split_array("{a").is_err() && split_array("{a,}").is_err());
    }
}
