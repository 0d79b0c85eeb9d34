//! `sum` and `avg` of double precisions, which fail where a sum leaves the range instead of becoming infinite.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::error::external;
use crate::sql::{SqlError, SqlErrorKind};

/// DataFusion's aggregate, but for double precisions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FloatSum {
    others: Arc<AggregateUDF>,
    average: bool,
}

impl FloatSum {
    /// `others` is `sum` or `avg`.
    pub fn new(others: Arc<AggregateUDF>) -> FloatSum {
        FloatSum {
            average: others.name() == "avg",
            others,
        }
    }

    fn is_ours(args: &AccumulatorArgs) -> bool {
        !args.is_distinct
            && args
                .expr_fields
                .first()
                .is_some_and(|field| *field.data_type() == DataType::Float64)
    }

    fn running(&self) -> Box<Running> {
        Box::new(Running {
            sum: 0.0,
            count: 0,
            average: self.average,
        })
    }
}

impl AggregateUDFImpl for FloatSum {
    fn name(&self) -> &str {
        self.others.name()
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

    fn accumulator(&self, args: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        if Self::is_ours(&args) {
            Ok(self.running())
        } else {
            self.others.accumulator(args)
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> PlanResult<Vec<FieldRef>> {
        let float = args
            .input_fields
            .first()
            .is_some_and(|field| *field.data_type() == DataType::Float64);
        if !float || args.is_distinct {
            return self.others.state_fields(args);
        }
        Ok(vec![
            Arc::new(Field::new(format!("{}[sum]", args.name), DataType::Float64, true)),
            Arc::new(Field::new(format!("{}[count]", args.name), DataType::Int64, true)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !Self::is_ours(&args) && self.others.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> PlanResult<Box<dyn GroupsAccumulator>> {
        self.others.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        if Self::is_ours(&args) {
            Ok(self.running())
        } else {
            self.others.create_sliding_accumulator(args)
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct Running {
    sum: f64,
    count: i64,
    average: bool,
}

impl Running {
    fn add(&mut self, value: f64) -> PlanResult<()> {
        let sum = self.sum + value;
        if sum.is_infinite() && self.sum.is_finite() && value.is_finite() {
            return Err(external(SqlError::new(
                SqlErrorKind::NumericOutOfRange,
                "value out of range: overflow",
            )));
        }
        self.sum = sum;
        Ok(())
    }
}

impl Accumulator for Running {
    fn update_batch(&mut self, values: &[ArrayRef]) -> PlanResult<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.add(value)?;
            self.count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> PlanResult<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.sum -= value;
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> PlanResult<()> {
        for sum in states[0].as_primitive::<Float64Type>().iter().flatten() {
            self.add(sum)?;
        }
        self.count += states[1].as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }

    fn evaluate(&mut self) -> PlanResult<ScalarValue> {
        let result = if self.average {
            self.sum / self.count as f64
        } else {
            self.sum
        };
        Ok(ScalarValue::Float64((self.count > 0).then_some(result)))
    }

    fn state(&mut self) -> PlanResult<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Float64((self.count > 0).then_some(self.sum)),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
