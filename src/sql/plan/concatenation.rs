//! `||` of texts and of bytea: NULL beside anything is NULL, and what comes out has a bound.
//!
//! A chain `a || b || c` is one call with three arguments: planning asks every level of an expression for its name and
//! type again and again, so what is flat is planned in time that grows with its length.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::names::brief_call;
use super::strings::{StringBound, text_at};
use super::udf::by_rows;

/// `left || right`, both texts or both bytea.
pub fn concatenation(left: Expr, right: Expr, bytea: bool, bound: &StringBound) -> Expr {
    let continued = matches!(concatenation_of(&left), Some(chain) if chain.bytea == bytea);
    let mut args = match left {
        Expr::ScalarFunction(function) if continued => function.args,
        left => vec![left],
    };
    args.push(right);
    let function = Concatenation {
        bytea,
        bound: bound.clone(),
        signature: Signature::any(args.len(), Volatility::Immutable),
    };
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        args,
    ))
}

/// The type of a chain of concatenations, without a look at its parts.
pub fn concatenated_type(expr: &Expr) -> Option<&'static DataType> {
    concatenation_of(expr).map(Concatenation::result)
}

fn concatenation_of(expr: &Expr) -> Option<&Concatenation> {
    let Expr::ScalarFunction(function) = expr else {
        return None;
    };
    function.func.inner().downcast_ref::<Concatenation>()
}

#[derive(Debug)]
struct Concatenation {
    bytea: bool,
    bound: StringBound,
    signature: Signature,
}

impl Concatenation {
    fn result(&self) -> &'static DataType {
        if self.bytea { &DataType::Binary } else { &DataType::Utf8 }
    }
}

impl PartialEq for Concatenation {
    fn eq(&self, other: &Self) -> bool {
        self.bytea == other.bytea && self.signature == other.signature
    }
}
impl Eq for Concatenation {}
impl std::hash::Hash for Concatenation {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.bytea, &self.signature).hash(state);
    }
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &str {
        "\u{1}||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        brief_call(self.name(), args)
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(self.result().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> PlanResult<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.result().clone(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let is_scalar = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(_));
        by_rows(&args, |rows| {
            let parts = args
                .args
                .iter()
                .map(|arg| Ok((arg.to_array(1)?, is_scalar(arg))))
                .collect::<PlanResult<Vec<(ArrayRef, bool)>>>()?;
            let bytes = |row: usize| {
                let mut whole = Vec::with_capacity(parts.len());
                for (array, scalar) in &parts {
                    whole.push(bytes_at(array, if *scalar { 0 } else { row })?);
                }
                Some(whole)
            };
            let sizes =
                (0..rows).map(|row| bytes(row).map_or(0, |parts| parts.iter().map(|part| part.len() as u64).sum()));
            let room = self.bound.reserve(sizes)?;
            Ok(room.fill(|| self.join(rows, bytes)))
        })
    }
}

impl Concatenation {
    fn join<'a>(&self, rows: usize, parts: impl Fn(usize) -> Option<Vec<&'a [u8]>>) -> ArrayRef {
        if self.bytea {
            let mut builder = BinaryBuilder::new();
            for row in 0..rows {
                builder.append_option(parts(row).map(|parts| parts.concat()));
            }
            return Arc::new(builder.finish());
        }
        let mut builder = StringBuilder::new();
        for row in 0..rows {
            let text = parts(row).map(|parts| String::from_utf8(parts.concat()).unwrap_or_default());
            builder.append_option(text);
        }
        Arc::new(builder.finish())
    }
}

fn bytes_at(array: &ArrayRef, row: usize) -> Option<&[u8]> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        _ => text_at(array, row)?.as_bytes(),
    })
}
