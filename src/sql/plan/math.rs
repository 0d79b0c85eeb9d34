//! Functions of numbers that fail where PostgreSQL's fail: logarithms, roots and powers outside what they are defined for,
//! results out of range, and `trunc` with a number of digits.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Field, FieldRef, Float64Type, Int16Type, Int32Type,
    Int64Type, i256,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arrow;
use super::error::{division_by_zero, external, undefined_function};
use super::udf::by_rows;
use crate::sql::types::words_of;
use crate::sql::{SqlError, SqlErrorKind};

/// The functions of double precisions, by name; None for others.
pub fn math_function(name: &str) -> Option<Arc<ScalarUDF>> {
    let (name, one, two): (_, Option<One>, Option<Two>) = match name {
        "ln" => ("ln", Some(ln), None),
        "log" => ("log", Some(log10), Some(log)),
        "log10" => ("log10", Some(log10), None),
        "exp" => ("exp", Some(exp), None),
        "sqrt" => ("sqrt", Some(sqrt), None),
        "power" => ("power", None, Some(power)),
        _ => return None,
    };
    Some(Arc::new(ScalarUDF::new_from_impl(MathFunction {
        name,
        one,
        two,
        signature: Signature::user_defined(Volatility::Immutable),
    })))
}

type One = fn(f64) -> Result<f64, SqlError>;
type Two = fn(f64, f64) -> Result<f64, SqlError>;

fn ln(x: f64) -> Result<f64, SqlError> {
    positive(x).map(f64::ln)
}

fn log10(x: f64) -> Result<f64, SqlError> {
    positive(x).map(f64::log10)
}

fn log(base: f64, x: f64) -> Result<f64, SqlError> {
    let (base, x) = (positive(base)?, positive(x)?);
    if base == 1.0 {
        return Err(division_by_zero());
    }
    // The bases that a float can be exact for.
    Ok(if base == 10.0 {
        x.log10()
    } else if base == 2.0 {
        x.log2()
    } else {
        x.log(base)
    })
}

fn positive(x: f64) -> Result<f64, SqlError> {
    let wrong = |words: &str| Err(SqlError::new(SqlErrorKind::InvalidLogarithm, words));
    if x == 0.0 {
        wrong("cannot take logarithm of zero")
    } else if x < 0.0 {
        wrong("cannot take logarithm of a negative number")
    } else {
        Ok(x)
    }
}

fn sqrt(x: f64) -> Result<f64, SqlError> {
    if x < 0.0 {
        return Err(SqlError::new(
            SqlErrorKind::InvalidPower,
            "cannot take square root of a negative number",
        ));
    }
    Ok(x.sqrt())
}

fn exp(x: f64) -> Result<f64, SqlError> {
    in_range(x.exp(), x.is_infinite())
}

fn power(x: f64, y: f64) -> Result<f64, SqlError> {
    let wrong = |words: &str| Err(SqlError::new(SqlErrorKind::InvalidPower, words));
    if x == 0.0 && y < 0.0 {
        return wrong("zero raised to a negative power is undefined");
    }
    if x < 0.0 && y.is_finite() && y.fract() != 0.0 {
        return wrong("a negative number raised to a non-integer power yields a complex result");
    }
    in_range(x.powf(y), x.is_infinite() || y.is_infinite() || x == 0.0)
}

/// Infinity and zero are results only where an argument is one.
fn in_range(result: f64, exact: bool) -> Result<f64, SqlError> {
    let wrong = |which: &str| {
        Err(SqlError::new(
            SqlErrorKind::NumericOutOfRange,
            format!("value out of range: {which}"),
        ))
    };
    match result {
        _ if exact => Ok(result),
        r if r.is_infinite() => wrong("overflow"),
        0.0 => wrong("underflow"),
        r => Ok(r),
    }
}

#[derive(Debug)]
struct MathFunction {
    name: &'static str,
    one: Option<One>,
    two: Option<Two>,
    signature: Signature,
}

impl PartialEq for MathFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for MathFunction {}
impl std::hash::Hash for MathFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for MathFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        let known = (types.len() == 1 && self.one.is_some()) || (types.len() == 2 && self.two.is_some());
        if known && types.iter().all(|given| given.is_numeric() || given.is_null()) {
            return Ok(vec![DataType::Float64; types.len()]);
        }
        // Refused with their names, once the result's type is asked for.
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        if args
            .arg_fields
            .iter()
            .any(|field| *field.data_type() != DataType::Float64)
            || args.arg_fields.is_empty()
        {
            return Err(undefined(self.name, args.arg_fields));
        }
        let known = match args.arg_fields.len() {
            1 => self.one.is_some(),
            2 => self.two.is_some(),
            _ => false,
        };
        if !known {
            return Err(undefined(self.name, args.arg_fields));
        }
        Ok(Arc::new(Field::new(self.name, DataType::Float64, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        by_rows(&args, |rows| {
            let first = args.args[0].to_array(rows)?;
            let first = first.as_primitive::<Float64Type>();
            let result: PrimitiveArray<Float64Type> = match (self.one, self.two, args.args.get(1)) {
                (Some(one), _, None) => first.try_unary(|x| one(x).map_err(through_arrow))?,
                (_, Some(two), Some(second)) => {
                    let second = second.to_array(rows)?;
                    let second = second.as_primitive::<Float64Type>();
                    datafusion::arrow::compute::kernels::arity::try_binary(first, second, |x, y| {
                        two(x, y).map_err(through_arrow)
                    })?
                }
                _ => return Err(undefined(self.name, &args.arg_fields)),
            };
            Ok(Arc::new(result))
        })
    }
}

fn through_arrow(error: SqlError) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

fn undefined(name: &str, fields: &[FieldRef]) -> datafusion::error::DataFusionError {
    let types: Vec<String> = fields
        .iter()
        .map(|field| words_of(&arrow::pg_type_of(field).0))
        .collect();
    external(undefined_function(&format!("{name}({})", types.join(", "))))
}

/// `abs`: the smallest integer has no absolute value of its type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Absolute {
    others: Arc<ScalarUDF>,
}

impl Absolute {
    pub fn new(others: Arc<ScalarUDF>) -> Absolute {
        Absolute { others }
    }
}

impl ScalarUDFImpl for Absolute {
    fn name(&self) -> &str {
        "abs"
    }

    fn signature(&self) -> &Signature {
        self.others.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        self.others.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.others.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        self.others.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let out_of_range = |words: &'static str| {
            move || {
                through_arrow(SqlError::new(
                    SqlErrorKind::NumericOutOfRange,
                    format!("{words} out of range"),
                ))
            }
        };
        match args.args[0].data_type() {
            DataType::Int16 => by_rows(&args, |rows| {
                let array = args.args[0].to_array(rows)?;
                let result: PrimitiveArray<Int16Type> = array
                    .as_primitive::<Int16Type>()
                    .try_unary(|x| x.checked_abs().ok_or_else(out_of_range("smallint")))?;
                Ok(Arc::new(result))
            }),
            DataType::Int32 => by_rows(&args, |rows| {
                let array = args.args[0].to_array(rows)?;
                let result: PrimitiveArray<Int32Type> = array
                    .as_primitive::<Int32Type>()
                    .try_unary(|x| x.checked_abs().ok_or_else(out_of_range("integer")))?;
                Ok(Arc::new(result))
            }),
            DataType::Int64 => by_rows(&args, |rows| {
                let array = args.args[0].to_array(rows)?;
                let result: PrimitiveArray<Int64Type> = array
                    .as_primitive::<Int64Type>()
                    .try_unary(|x| x.checked_abs().ok_or_else(out_of_range("bigint")))?;
                Ok(Arc::new(result))
            }),
            _ => self.others.invoke_with_args(args),
        }
    }
}

/// `trunc(numeric, integer)`: digits behind that place are dropped; a constant place is the scale of the result.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Truncate {
    signature: Signature,
}

impl Truncate {
    pub fn new() -> Truncate {
        Truncate {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// The most places that make a difference: beyond them a numeric has no digits.
const PLACES_MAX: i32 = 76;

/// Up to so many places, zeros are added to a numeric that has fewer.
const PLACES_ADDED: i8 = 16;

impl ScalarUDFImpl for Truncate {
    fn name(&self) -> &str {
        "trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        Ok(match types {
            [DataType::Decimal256(precision, scale), places] if places.is_integer() => {
                vec![DataType::Decimal256(*precision, *scale), DataType::Int32]
            }
            [DataType::Decimal128(precision, scale), places] if places.is_integer() => {
                vec![DataType::Decimal128(*precision, *scale), DataType::Int32]
            }
            [one, places] if one.is_integer() && places.is_integer() => {
                vec![DataType::Decimal128(19, 0), DataType::Int32]
            }
            other => other.to_vec(),
        })
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let places = match args.scalar_arguments.get(1) {
            Some(Some(ScalarValue::Int32(Some(places)))) => i8::try_from((*places).clamp(0, PLACES_MAX)).ok(),
            _ => None,
        };
        let shown = |precision: u8, scale: i8, most: u8| {
            let places = places.map_or(scale, |places| places.min(scale.max(PLACES_ADDED)));
            match u8::try_from(places - scale).map(|added| precision.saturating_add(added)) {
                Err(_) => (precision, places),
                Ok(wider) if wider <= most => (wider, places),
                Ok(_) => (precision, scale),
            }
        };
        let types: Vec<&DataType> = args.arg_fields.iter().map(|field| field.data_type()).collect();
        let result = match types.as_slice() {
            [DataType::Decimal128(precision, scale), DataType::Int32] => {
                let (precision, scale) = shown(*precision, *scale, Decimal128Type::MAX_PRECISION);
                DataType::Decimal128(precision, scale)
            }
            [DataType::Decimal256(precision, scale), DataType::Int32] => {
                let (precision, scale) = shown(*precision, *scale, Decimal256Type::MAX_PRECISION);
                DataType::Decimal256(precision, scale)
            }
            _ => return Err(undefined("trunc", args.arg_fields)),
        };
        Ok(Arc::new(Field::new("trunc", result, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        by_rows(&args, |rows| {
            let (values, places) = (args.args[0].to_array(rows)?, args.args[1].to_array(rows)?);
            let places = places.as_primitive::<Int32Type>();
            match (values.data_type(), args.return_field.data_type()) {
                (DataType::Decimal128(_, scale), DataType::Decimal128(precision, to)) => {
                    let result: PrimitiveArray<Decimal128Type> =
                        datafusion::arrow::compute::kernels::arity::try_binary(
                            values.as_primitive::<Decimal128Type>(),
                            places,
                            |value, places| {
                                let cut = truncated(i256::from_i128(value), *scale, places, *to);
                                cut.to_i128()
                                    .ok_or_else(|| ArrowError::ArithmeticOverflow(String::new()))
                            },
                        )?;
                    Ok(Arc::new(result.with_precision_and_scale(*precision, *to)?) as ArrayRef)
                }
                (DataType::Decimal256(_, scale), DataType::Decimal256(precision, to)) => {
                    let result: PrimitiveArray<Decimal256Type> =
                        datafusion::arrow::compute::kernels::arity::try_binary(
                            values.as_primitive::<Decimal256Type>(),
                            places,
                            |value, places| Ok::<_, ArrowError>(truncated(value, *scale, places, *to)),
                        )?;
                    Ok(Arc::new(result.with_precision_and_scale(*precision, *to)?) as ArrayRef)
                }
                _ => Err(undefined("trunc", &args.arg_fields)),
            }
        })
    }
}

/// Digits of a decimal of `scale`, cut behind `places`, as digits of one of scale `to`.
fn truncated(value: i256, scale: i8, places: i32, to: i8) -> i256 {
    let scale = i32::from(scale);
    let cut = scale.saturating_sub(places);
    let dropped = match ten_to(cut.max(0)) {
        Some(power) => value.checked_div(power).unwrap_or(i256::ZERO),
        None => i256::ZERO,
    };
    // Back to where the digits stood, then to the result's scale, whose digits are all that is left.
    let shown = cut.max(0) - (scale - i32::from(to));
    match ten_to(shown.abs()) {
        Some(power) if shown >= 0 => dropped.checked_mul(power).unwrap_or(i256::ZERO),
        Some(power) => dropped.checked_div(power).unwrap_or(i256::ZERO),
        None => i256::ZERO,
    }
}

fn ten_to(power: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(power).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_cut_towards_zero() {
        let cut = |value: i128, scale, places, to| truncated(i256::from_i128(value), scale, places, to).to_i128();
        assert_eq!(cut(1_999, 3, 2, 2), Some(199));
        assert_eq!(cut(-1_999, 3, 1, 1), Some(-19));
        assert_eq!(cut(125, 0, -1, 0), Some(120));
        assert_eq!(cut(125, 0, -3, 0), Some(0));
        assert_eq!(cut(1_999, 3, 2, 3), Some(1_990));
        assert_eq!(cut(1_999, 3, 5, 3), Some(1_999));
        assert_eq!(cut(1_999, 3, 5, 5), Some(199_900));
        assert_eq!(cut(1_999, 3, i32::MIN, 3), Some(0));
    }
}
