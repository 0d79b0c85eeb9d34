//! What `sum` and `avg` are given, so that their results have PostgreSQL's types.

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::arithmetic::QUOTIENT_SCALE;
use super::arrow;
use super::error::external;
use crate::sql::types::words_of;

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
                let words = words_of(&arrow::pg_type_of(&Field::new("argument", argument.clone(), true)).0);
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
