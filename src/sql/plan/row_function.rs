//! Scalar functions written for one row: most of PostgreSQL's small functions that DataFusion lacks or words otherwise.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::arrow;
use super::error::{external, undefined_function};
use super::names::brief_call;
use crate::sql::cast::explicit;
use crate::sql::catalog::Catalog;
use crate::sql::text::{Cell, Style};
use crate::sql::types::{is_text, words_of};
use crate::sql::{PgType, SqlError};
use crate::version::Value;

/// What a function is given: who asks, and values of the declared types (never NULL for a strict function).
pub type Body = fn(&Catalog, &[Value]) -> Result<Value, SqlError>;

/// A function's declaration.
pub struct RowFunction {
    pub name: &'static str,
    /// Types of the parameters; arguments are cast to them. [`PgType::ANY`] takes what comes.
    pub parameters: &'static [PgType],
    /// How many arguments must be given.
    pub required: usize,
    pub result: PgType,
    /// NULL in, NULL out, without asking the body.
    pub strict: bool,
    pub volatile: bool,
    pub body: Body,
}

/// A declared function on behalf of one statement.
pub struct BoundFunction {
    name: String,
    declared: &'static RowFunction,
    catalog: Arc<Catalog>,
    result: FieldRef,
    signature: Signature,
}

impl BoundFunction {
    pub fn udf(name: &str, declared: &'static RowFunction, catalog: &Arc<Catalog>) -> Arc<ScalarUDF> {
        let volatility = if declared.volatile {
            Volatility::Volatile
        } else {
            Volatility::Immutable
        };
        let signature = Signature::new(
            TypeSignature::OneOf(vec![TypeSignature::VariadicAny, TypeSignature::Nullary]),
            volatility,
        );
        Arc::new(ScalarUDF::new_from_impl(BoundFunction {
            name: name.to_string(),
            declared,
            catalog: Arc::clone(catalog),
            result: arrow::field_ref(name, &declared.result, -1),
            signature,
        }))
    }

    fn call(&self, arguments: &[ArrayRef], types: &[PgType], row: usize, style: &Style) -> Result<Value, SqlError> {
        let mut values = Vec::with_capacity(arguments.len());
        for ((argument, from), wanted) in arguments.iter().zip(types).zip(self.declared.parameters) {
            let value = arrow::value_of_cell(&Cell::of_array(argument, row)?, from)?;
            if value.is_null() && self.declared.strict {
                return Ok(Value::Null);
            }
            // Trailing spaces of char(n) are lost on the way into a function.
            let value = match value {
                Value::Text(text) if *from == PgType::BPCHAR => Value::Text(text.trim_end_matches(' ').to_string()),
                value => value,
            };
            let same_family = *wanted == PgType::ANY || (is_text(wanted) && is_text(from));
            values.push(if same_family {
                value
            } else {
                explicit(value, from, wanted, -1, style)?
            });
        }
        (self.declared.body)(&self.catalog, &values)
    }
}

impl std::fmt::Debug for BoundFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for BoundFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for BoundFunction {}
impl Hash for BoundFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for BoundFunction {
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
        Ok(self.result.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        let given = args.arg_fields.len();
        if given < self.declared.required || given > self.declared.parameters.len() {
            let types: Vec<String> = args
                .arg_fields
                .iter()
                .map(|field| words_of(&arrow::pg_type_of(field).0))
                .collect();
            return Err(external(undefined_function(&format!(
                "{}({})",
                self.name,
                types.join(", ")
            ))));
        }
        Ok(Arc::clone(&self.result))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let types: Vec<PgType> = args.arg_fields.iter().map(|field| arrow::pg_type_of(field).0).collect();
        let constant = !self.declared.volatile && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arguments = args
            .args
            .iter()
            .map(|arg| arg.to_array(rows))
            .collect::<PlanResult<Vec<_>>>()?;
        let style = self.catalog.style();
        let values = (0..rows)
            .map(|row| self.call(&arguments, &types, row, &style))
            .collect::<Result<Vec<_>, _>>();
        let array = arrow::array(self.result.data_type(), values.map_err(external)?.iter()).map_err(external)?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}
