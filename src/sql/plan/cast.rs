//! Casts of columns inside plans: Arrow arrays taken apart, given to `sql::cast` value by value, and put together again.
//!
//! Only widening integers and floats goes through Arrow's kernels, which agree with it and are faster; intervals and
//! arrays, which no column can store, are converted here.

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

use super::arrow;
use super::error::external;
use super::names::brief_call;
use crate::sql::cast::{cannot_cast, explicit};
use crate::sql::catalog::Catalog;
use crate::sql::text::{self, Cell, Style};
use crate::sql::types::{is_oid, is_text};
use crate::sql::{PgType, SqlError, SqlErrorKind};
use crate::version::Value;

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
            _ => explicit(arrow::value_of_cell(&cell, from)?, from, &to_type, typmod, style)?,
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
                    explicit(
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

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        brief_call(&self.name, args)
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(self.target.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        // An infinite timestamp has no time of day.
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable())
            || matches!(self.target.data_type(), DataType::Time64(_));
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
