//! What functions of plans have in common, whatever they compute.

use datafusion::arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

/// Computes for one row when all arguments are constants.
pub fn by_rows(
    args: &ScalarFunctionArgs,
    compute: impl FnOnce(usize) -> PlanResult<ArrayRef>,
) -> PlanResult<ColumnarValue> {
    let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let result = compute(if scalar { 1 } else { args.number_rows })?;
    Ok(if scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
    } else {
        ColumnarValue::Array(result)
    })
}
