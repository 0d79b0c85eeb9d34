//! `string_agg` and `array_agg`, which give more than they are given where they are asked again and again: over a window
//! every row has all that came before it. What they gave is therefore counted against the memory of queries, but for the
//! first time, whose value is as large as what they hold and counted with it.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as PlanResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::strings::StringBound;

#[derive(Debug)]
pub struct Gathered {
    function: Arc<AggregateUDF>,
    bound: StringBound,
}

impl Gathered {
    pub fn wrapped(function: Arc<AggregateUDF>, bound: &StringBound) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::new_from_impl(Gathered {
            function,
            bound: bound.clone(),
        }))
    }

    fn counting(&self, values: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(Counting {
            values,
            given: MemoryConsumer::new("values of a window").register(&self.bound.memory.pool()),
            asked: false,
        })
    }
}

impl PartialEq for Gathered {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}
impl Eq for Gathered {}
impl std::hash::Hash for Gathered {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl AggregateUDFImpl for Gathered {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.function.inner().return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> PlanResult<FieldRef> {
        self.function.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.function.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        Ok(self.counting(self.function.accumulator(args)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        Ok(self.counting(self.function.create_sliding_accumulator(args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> PlanResult<Vec<FieldRef>> {
        self.function.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.function.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> PlanResult<Box<dyn GroupsAccumulator>> {
        self.function.create_groups_accumulator(args)
    }

    fn with_beneficial_ordering(self: Arc<Self>, beneficial: bool) -> PlanResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let function = self.function.as_ref().clone().with_beneficial_ordering(beneficial)?;
        Ok(function.map(|function| {
            Arc::new(Gathered {
                function: Arc::new(function),
                bound: self.bound.clone(),
            }) as Arc<dyn AggregateUDFImpl>
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.function.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.function.reverse_udf()
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.function.supports_null_handling_clause()
    }

    fn default_value(&self, data_type: &DataType) -> PlanResult<ScalarValue> {
        self.function.default_value(data_type)
    }
}

#[derive(Debug)]
struct Counting {
    values: Box<dyn Accumulator>,
    given: MemoryReservation,
    asked: bool,
}

impl Accumulator for Counting {
    fn update_batch(&mut self, values: &[ArrayRef]) -> PlanResult<()> {
        self.values.update_batch(values)
    }

    fn evaluate(&mut self) -> PlanResult<ScalarValue> {
        if self.asked {
            self.given.try_grow(self.values.size())?;
        }
        self.asked = true;
        self.values.evaluate()
    }

    fn size(&self) -> usize {
        self.values.size()
    }

    fn state(&mut self) -> PlanResult<Vec<ScalarValue>> {
        self.values.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> PlanResult<()> {
        self.values.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> PlanResult<()> {
        self.values.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.values.supports_retract_batch()
    }
}
