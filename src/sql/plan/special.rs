//! Functions whose types follow their arguments: what the rewriter puts in, and `pg_typeof`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, Volatility,
};

use super::arrow;
use super::error::{external, more_than_one_row, undefined_function};
use super::rewrite::{ARRAY_OR_EMPTY, SINGLE_VALUE, WHOLE_NUMBER};
use super::udf::by_rows;
use crate::sql::types::words_of;
use crate::sql::{PgType, SqlError, SqlErrorKind};
use crate::version::Value;

/// `ARRAY(SELECT ...)` without rows is an empty array, not NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ArrayOrEmpty {
    signature: Signature,
}

impl ArrayOrEmpty {
    pub fn new() -> ArrayOrEmpty {
        ArrayOrEmpty {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ArrayOrEmpty {
    fn name(&self) -> &str {
        ARRAY_OR_EMPTY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        Ok(Arc::new(args.arg_fields[0].as_ref().clone().with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        by_rows(&args, |rows| {
            let array = args.args[0].to_array(rows)?;
            let DataType::List(item) = array.data_type() else {
                return Ok(array);
            };
            // A NULL of a list array may still span items, so the offsets are made anew.
            let list = array.as_list::<i32>();
            let lengths = (0..rows).map(|row| match list.is_null(row) {
                true => 0,
                false => list.value_length(row) as usize,
            });
            let offsets = OffsetBuffer::from_lengths(lengths);
            let parts: Vec<ArrayRef> = (0..rows)
                .filter(|row| list.is_valid(*row))
                .map(|row| list.value(row))
                .collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            let items = if parts.is_empty() {
                datafusion::arrow::array::new_empty_array(item.data_type())
            } else {
                datafusion::arrow::compute::concat(&parts)?
            };
            Ok(Arc::new(ListArray::new(Arc::clone(item), offsets, items, None)))
        })
    }
}

/// The result of `ceil`, `floor` and `trunc`: a numeric has no digits behind the point then.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WholeNumber {
    signature: Signature,
}

impl WholeNumber {
    pub fn new() -> WholeNumber {
        WholeNumber {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for WholeNumber {
    fn name(&self) -> &str {
        WHOLE_NUMBER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(match &types[0] {
            DataType::Decimal128(precision, _) => DataType::Decimal128(*precision, 0),
            DataType::Decimal256(precision, _) => DataType::Decimal256(*precision, 0),
            other => other.clone(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        args.args[0].cast_to(args.return_field.data_type(), None)
    }
}

/// `round`: a double precision goes to the nearest whole number, halves to the even one; a numeric's halves go away from
/// zero, which is DataFusion's rule too.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Round {
    decimals: Arc<ScalarUDF>,
    signature: Signature,
}

impl Round {
    pub fn new(decimals: Arc<ScalarUDF>) -> Round {
        Round {
            decimals,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        "round"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        use DataType::{Decimal128, Decimal256, Float64, Int32};
        let decimal = |data_type: &DataType| matches!(data_type, Decimal128(..) | Decimal256(..));
        match types {
            [one] if decimal(one) => Ok(vec![one.clone()]),
            [one] if one.is_numeric() || one.is_null() => Ok(vec![Float64]),
            [one, places] if decimal(one) && places.is_integer() => Ok(vec![one.clone(), Int32]),
            [one, places] if one.is_integer() && places.is_integer() => Ok(vec![Decimal128(19, 0), Int32]),
            // Refused with their names, once the result's type is asked for.
            other => Ok(other.to_vec()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        use DataType::{Decimal128, Decimal256, Float64, Int32};
        let types: Vec<&DataType> = args.arg_fields.iter().map(|field| field.data_type()).collect();
        match types.as_slice() {
            [Float64] => Ok(Arc::new(Field::new("round", Float64, true))),
            [Decimal128(..) | Decimal256(..)] | [Decimal128(..) | Decimal256(..), Int32] => {
                self.decimals.return_field_from_args(args)
            }
            _ => {
                let types: Vec<String> = args
                    .arg_fields
                    .iter()
                    .map(|field| words_of(&arrow::pg_type_of(field).0))
                    .collect();
                Err(external(undefined_function(&format!("round({})", types.join(", ")))))
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        match &args.args[0] {
            ColumnarValue::Scalar(ScalarValue::Float64(value)) => {
                let rounded = value.map(f64::round_ties_even);
                Ok(ColumnarValue::Scalar(ScalarValue::Float64(rounded)))
            }
            ColumnarValue::Array(array) if *array.data_type() == DataType::Float64 => {
                let rounded: Float64Array = array.as_primitive::<Float64Type>().unary(f64::round_ties_even);
                Ok(ColumnarValue::Array(Arc::new(rounded)))
            }
            _ => self.decimals.invoke_with_args(args),
        }
    }
}

/// `substr` and `substring`: of a text by its characters, of a bytea by its bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Substring {
    texts: Arc<ScalarUDF>,
    signature: Signature,
}

impl Substring {
    pub fn new(texts: Arc<ScalarUDF>) -> Substring {
        Substring {
            texts,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Substring {
    fn name(&self) -> &str {
        "substr"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        let whole = |given: &DataType| given.is_integer() || given.is_null();
        match types {
            [first, counts @ ..] if matches!(counts.len(), 1 | 2) && counts.iter().all(whole) => {
                let first = if first.is_null() { &DataType::Utf8 } else { first };
                let counts = counts.iter().map(|_| DataType::Int64);
                Ok(std::iter::once(first.clone()).chain(counts).collect())
            }
            // Refused with their names, once the result's type is asked for.
            other => Ok(other.to_vec()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let types: Vec<&DataType> = args.arg_fields.iter().map(|field| field.data_type()).collect();
        match types.as_slice() {
            [
                first @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary),
                counts @ ..,
            ] if matches!(counts.len(), 1 | 2) && counts.iter().all(|count| **count == DataType::Int64) => {
                Ok(Arc::new(Field::new("substr", (*first).clone(), true)))
            }
            _ => {
                let words = args
                    .arg_fields
                    .iter()
                    .map(|field| words_of(&arrow::pg_type_of(field).0))
                    .collect::<Vec<_>>();
                let call = format!("substring({})", words.join(", "));
                Err(external(undefined_function(&call)))
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        if args.arg_fields[0].data_type() != &DataType::Binary {
            return self.texts.invoke_with_args(args);
        }
        by_rows(&args, |rows| {
            let arrays = args
                .args
                .iter()
                .map(|arg| arg.to_array(rows))
                .collect::<PlanResult<Vec<_>>>()?;
            let count = |at: usize, row: usize| arrays[at].as_primitive::<Int64Type>().value(row);
            let mut parts = BinaryBuilder::new();
            for row in 0..rows {
                if arrays.iter().any(|array| array.is_null(row)) {
                    parts.append_null();
                    continue;
                }
                let bytes = arrays[0].as_binary::<i32>().value(row);
                let from = count(1, row).saturating_sub(1);
                let to = if arrays.len() > 2 {
                    let length = count(2, row);
                    if length < 0 {
                        let error = SqlError::new(SqlErrorKind::Data, "negative substring length not allowed");
                        return Err(external(error));
                    }
                    from.saturating_add(length)
                } else {
                    i64::MAX
                };
                let within = |at: i64| usize::try_from(at.max(0)).unwrap_or(usize::MAX).min(bytes.len());
                parts.append_value(&bytes[within(from)..within(to).max(within(from))]);
            }
            Ok(Arc::new(parts.finish()))
        })
    }
}

/// A function nobody defined: planning its call fails, with the types of the arguments in the message.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Undefined {
    name: String,
    signature: Signature,
}

impl Undefined {
    pub fn new(name: &str) -> Undefined {
        let any = TypeSignature::OneOf(vec![TypeSignature::VariadicAny, TypeSignature::Nullary]);
        Undefined {
            name: name.to_string(),
            signature: Signature::new(any, Volatility::Volatile),
        }
    }

    fn fail<T>(&self, types: &[String]) -> PlanResult<T> {
        Err(external(undefined_function(&format!(
            "{}({})",
            self.name,
            types.join(", ")
        ))))
    }
}

impl ScalarUDFImpl for Undefined {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        self.fail(&[])
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let types: Vec<String> = args
            .arg_fields
            .iter()
            .map(|field| words_of(&arrow::pg_type_of(field).0))
            .collect();
        self.fail(&types)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        self.fail(&[])
    }
}

/// `pg_typeof(x)`: decided while planning, the same for every row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TypeOf {
    signature: Signature,
}

impl TypeOf {
    pub fn new() -> TypeOf {
        TypeOf {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Int64)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> PlanResult<FieldRef> {
        Ok(arrow::field_ref("pg_typeof", &PgType::REGTYPE, -1))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let (pg_type, _) = arrow::pg_type_of(&args.arg_fields[0]);
        Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(i64::from(
            pg_type.oid(),
        )))))
    }
}

/// `current_schemas(include_implicit)` as an array of names.
#[derive(Debug)]
pub struct CurrentSchemas {
    catalog: Arc<crate::sql::catalog::Catalog>,
    signature: Signature,
}

impl CurrentSchemas {
    pub fn new(catalog: Arc<crate::sql::catalog::Catalog>) -> CurrentSchemas {
        CurrentSchemas {
            catalog,
            signature: Signature::exact(vec![DataType::Boolean], Volatility::Immutable),
        }
    }
}

impl PartialEq for CurrentSchemas {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for CurrentSchemas {}
impl std::hash::Hash for CurrentSchemas {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        "current_schemas".hash(state);
    }
}

impl ScalarUDFImpl for CurrentSchemas {
    fn name(&self) -> &str {
        "current_schemas"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(arrow::arrow_type(&PgType::NAME_ARRAY, -1))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> PlanResult<FieldRef> {
        Ok(arrow::field_ref("current_schemas", &PgType::NAME_ARRAY, -1))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let implicit = matches!(args.args[0], ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))));
        let mut schemas: Vec<Value> = if implicit {
            vec![Value::Text("pg_catalog".to_string())]
        } else {
            Vec::new()
        };
        schemas.extend(
            self.catalog
                .visible_schemas()
                .map_err(external)?
                .into_iter()
                .map(Value::Text),
        );
        let list = arrow::list_array(&PgType::NAME, &[Some(schemas)]).map_err(external)?;
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&list, 0)?))
    }
}

/// Gives the one value of a subquery used as an expression; a second row is an error (21000).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SingleValue {
    signature: Signature,
}

impl SingleValue {
    pub fn new() -> SingleValue {
        SingleValue {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        SINGLE_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field(&self, fields: &[FieldRef]) -> PlanResult<FieldRef> {
        Ok(Arc::new(
            fields[0].as_ref().clone().with_name(SINGLE_VALUE).with_nullable(true),
        ))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        Ok(Box::new(Single {
            value: ScalarValue::try_from(args.return_field.data_type())?,
            seen: false,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> PlanResult<Vec<FieldRef>> {
        let seen = datafusion::arrow::datatypes::Field::new("seen", DataType::Boolean, false);
        Ok(vec![
            Arc::new(args.return_field.as_ref().clone().with_name("value")),
            Arc::new(seen),
        ])
    }
}

#[derive(Debug)]
struct Single {
    value: ScalarValue,
    seen: bool,
}

impl Single {
    fn take(&mut self, array: &ArrayRef, row: usize) -> PlanResult<()> {
        if self.seen {
            return Err(external(more_than_one_row()));
        }
        self.value = ScalarValue::try_from_array(array, row)?;
        self.seen = true;
        Ok(())
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> PlanResult<()> {
        (0..values[0].len()).try_for_each(|row| self.take(&values[0], row))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> PlanResult<()> {
        let seen = states[1].as_boolean();
        (0..seen.len())
            .filter(|row| seen.value(*row))
            .try_for_each(|row| self.take(&states[0], row))
    }

    fn evaluate(&mut self) -> PlanResult<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> PlanResult<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Boolean(Some(self.seen))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }
}
