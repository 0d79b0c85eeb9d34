//! How large the values may become that functions make.
//!
//! `repeat('x', 1000000000)` is a short text and a long value. Before such a function runs, the sizes of its results are
//! predicted from its arguments: one value beyond [`QueryMemory::value_bytes_max`] is refused (54000), and so is a batch
//! of values that together exceed it (53200); what is left is counted against the memory of queries while it is made. The
//! same holds while a statement is planned, when calls whose arguments are constants are computed.
//!
//! Must not know: what the functions compute.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, FieldRef, Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::error::{external, out_of_memory};
use super::interrupt::Interrupt;
use super::memory::QueryMemory;
use super::table_scan::BATCH_ROWS;
use crate::runtime;
use crate::sql::text::datetime::MICROS_PER_DAY;
use crate::sql::{SqlError, SqlErrorKind};

/// Rows of a batch when any of them may be large.
const MULTIPLIED_ROWS: usize = 64;

/// Less is made without being counted.
const COUNTED_BYTES: u64 = 1 << 20;

/// The bound on behalf of one statement. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StringBound {
    pub memory: QueryMemory,
    pub interrupt: Interrupt,
}

impl StringBound {
    /// Room for values of these sizes, held until the guard goes.
    pub fn reserve(&self, sizes: impl Iterator<Item = u64>) -> PlanResult<Room> {
        let value_max = self.memory.value_bytes_max();
        let mut total: u64 = 0;
        for size in sizes {
            if size > value_max {
                return Err(external(too_long()));
            }
            total = total.saturating_add(size);
        }
        // Values of one column lie in one piece.
        if total > value_max {
            return Err(external(out_of_memory()));
        }
        if total < COUNTED_BYTES {
            return Ok(Room { reservation: None });
        }
        self.interrupt.check()?;
        let reservation = MemoryConsumer::new("values of functions").register(&self.memory.pool());
        reservation.try_grow(usize::try_from(total).unwrap_or(usize::MAX))?;
        Ok(Room {
            reservation: Some(reservation),
        })
    }
}

/// Memory that is counted while values are made.
pub struct Room {
    reservation: Option<MemoryReservation>,
}

impl Room {
    /// Runs what makes the values; out of the way of others when they are large.
    pub fn fill<R>(&self, make: impl FnOnce() -> R) -> R {
        if self.reservation.is_some() {
            runtime::busy(make)
        } else {
            make()
        }
    }
}

pub fn too_long() -> SqlError {
    SqlError::new(SqlErrorKind::LimitExceeded, "requested length too large")
        .detail("A value that an expression makes may have a quarter of performance.query_memory_bytes, at most 1 GiB.")
}

/// Whether the results of a function are as long as a number says: its name alone tells that rows may be large.
fn multiplies(function: &str) -> bool {
    matches!(function, "repeat" | "lpad" | "rpad" | "generate_series")
}

/// How many rows a batch of this plan may have, so that what one holds stays within bounds: constants are repeated for
/// every row, and functions that take a number for a length may make much of little.
pub fn batch_rows(plan: &LogicalPlan, memory: &QueryMemory) -> PlanResult<usize> {
    let (mut constants, mut multiplied) = (0_u64, false);
    plan.apply_with_subqueries(|node| {
        // Each of its rows has constants of its own.
        if matches!(node, LogicalPlan::Values(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                match part {
                    Expr::Literal(value, _) => constants = constants.saturating_add(value.size() as u64),
                    Expr::ScalarFunction(function) => multiplied |= multiplies(function.name()),
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let fitting = memory.value_bytes_max() / constants.max(1);
    let most = if multiplied { MULTIPLIED_ROWS } else { BATCH_ROWS };
    Ok(usize::try_from(fitting).unwrap_or(most).clamp(1, most))
}

type SizeOf = fn(&[Argument], usize) -> u64;

/// How the sizes of a function's results are predicted; None: they are about as large as its arguments.
fn size_of(function: &str) -> Option<SizeOf> {
    Some(match function {
        "repeat" => |args, row| args[0].bytes(row).saturating_mul(args[1].count(row)),
        "lpad" | "rpad" => |args, row| {
            let narrow = args[0].is_ascii(row) && args.get(2).is_none_or(|fill| fill.is_ascii(row));
            args[1].count(row).saturating_mul(if narrow { 1 } else { 4 })
        },
        "replace" => |args, row| {
            let Some(((text, from), to)) = args[0].text(row).zip(args[1].text(row)).zip(args[2].text(row)) else {
                return 0;
            };
            if from.is_empty() || to.len() <= from.len() {
                return text.len() as u64;
            }
            let found = text.matches(from).count() as u64;
            text.len() as u64 + found.saturating_mul((to.len() - from.len()) as u64)
        },
        "translate" => |args, row| {
            let widest = if args[2].is_ascii(row) { 1 } else { 4 };
            args[0].bytes(row).saturating_mul(widest)
        },
        // A match between any two characters, and each replacement may take up what was matched.
        "regexp_replace" => |args, row| {
            let (text, by) = (args[0].bytes(row), args[2].text(row).unwrap_or_default());
            let references = by.matches('\\').count() as u64;
            let matches = match args.get(3).and_then(|flags| flags.text(row)) {
                Some(flags) if flags.contains('g') => text.saturating_add(1),
                _ => 1,
            };
            let copied = text.saturating_mul(references.saturating_add(1));
            copied.saturating_add(matches.saturating_mul(by.len() as u64))
        },
        "encode" => |args, row| args[0].bytes(row).saturating_mul(4),
        "concat" | "overlay" | "array_cat" | "array_concat" | "array_append" | "array_prepend" => {
            |args, row| args.iter().map(|arg| arg.bytes(row)).sum()
        }
        "concat_ws" => |args, row| {
            let between = args[0].bytes(row).saturating_mul(args.len() as u64);
            let parts: u64 = args[1..].iter().map(|arg| arg.bytes(row)).sum();
            parts.saturating_add(between)
        },
        "array_to_string" => |args, row| {
            let between = args[0].items(row).saturating_mul(args[1].bytes(row).saturating_add(24));
            args[0].bytes(row).saturating_add(between)
        },
        "generate_series" => |args, row| series_length(args, row).saturating_mul(8),
        _ => return None,
    })
}

/// How many values `generate_series(start, stop, step)` has, or somewhat more.
fn series_length(args: &[Argument], row: usize) -> u64 {
    let (Some(start), Some(stop)) = (args[0].number(row), args.get(1).and_then(|stop| stop.number(row))) else {
        return 0;
    };
    let step = args.get(2).map_or(Some(1), |step| step.number(row)).unwrap_or(1);
    if step == 0 {
        return 0;
    }
    let span = (stop - start) / step;
    u64::try_from(span.saturating_add(1).max(0)).unwrap_or(u64::MAX)
}

/// An argument of a call, row by row.
struct Argument {
    array: ArrayRef,
    scalar: bool,
}

impl Argument {
    fn of(value: &ColumnarValue) -> PlanResult<Argument> {
        Ok(Argument {
            array: value.to_array(1)?,
            scalar: matches!(value, ColumnarValue::Scalar(_)),
        })
    }

    /// The row of its array that belongs to a row of the batch; None for NULL.
    fn at(&self, row: usize) -> Option<usize> {
        let at = if self.scalar { 0 } else { row };
        self.array.is_valid(at).then_some(at)
    }

    fn text(&self, row: usize) -> Option<&str> {
        text_at(&self.array, self.at(row)?)
    }

    fn is_ascii(&self, row: usize) -> bool {
        self.text(row).is_none_or(str::is_ascii)
    }

    /// Bytes of a text, of a bytea, or of all items of an array; of anything else as many as it is ever shown with.
    fn bytes(&self, row: usize) -> u64 {
        let Some(at) = self.at(row) else { return 0 };
        let bytes = match self.array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text_at(&self.array, at).map_or(0, str::len),
            DataType::Binary => self.array.as_binary::<i32>().value(at).len(),
            DataType::LargeBinary => self.array.as_binary::<i64>().value(at).len(),
            DataType::List(_) => {
                let items = self.array.as_list::<i32>().value(at);
                items.to_data().get_slice_memory_size().unwrap_or(0)
            }
            _ => 64,
        };
        bytes as u64
    }

    fn items(&self, row: usize) -> u64 {
        match self.array.data_type() {
            DataType::List(_) => self
                .at(row)
                .map_or(0, |at| self.array.as_list::<i32>().value_length(at) as u64),
            _ => 1,
        }
    }

    /// A number of times; nothing for less than once.
    fn count(&self, row: usize) -> u64 {
        u64::try_from(self.number(row).unwrap_or(0)).unwrap_or(0)
    }

    /// An integer, or a time in microseconds; a month is as short as months are.
    fn number(&self, row: usize) -> Option<i128> {
        let at = self.at(row)?;
        let day = i128::from(MICROS_PER_DAY);
        Some(match self.array.data_type() {
            DataType::Int32 => self.array.as_primitive::<Int32Type>().value(at).into(),
            DataType::Int64 => self.array.as_primitive::<Int64Type>().value(at).into(),
            DataType::Date32 => i128::from(self.array.as_primitive::<Date32Type>().value(at)) * day,
            DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, _) => {
                self.array.as_primitive::<TimestampMicrosecondType>().value(at).into()
            }
            DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Nanosecond, _) => {
                let nanos = self
                    .array
                    .as_primitive::<datafusion::arrow::datatypes::TimestampNanosecondType>()
                    .value(at);
                i128::from(nanos / 1_000)
            }
            DataType::Interval(_) => {
                let (months, days, nanos) =
                    IntervalMonthDayNanoType::to_parts(self.array.as_primitive::<IntervalMonthDayNanoType>().value(at));
                (i128::from(months) * 28 + i128::from(days)) * day + i128::from(nanos / 1_000)
            }
            _ => return None,
        })
    }
}

/// A text of an array of texts; None for other arrays and for NULL.
pub fn text_at(array: &ArrayRef, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row),
        DataType::Utf8View => array.as_string_view().value(row),
        _ => return None,
    })
}

/// A function whose results' sizes are looked at before it computes them.
#[derive(Debug)]
pub struct Bounded {
    function: Arc<ScalarUDF>,
    bound: StringBound,
}

impl Bounded {
    /// The function with a bound, where it needs one.
    pub fn wrapped(function: Arc<ScalarUDF>, bound: &StringBound) -> Arc<ScalarUDF> {
        if size_of(function.name()).is_none() {
            return function;
        }
        Arc::new(ScalarUDF::new_from_impl(Bounded {
            function,
            bound: bound.clone(),
        }))
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}
impl Eq for Bounded {}
impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn schema_name(&self, args: &[Expr]) -> PlanResult<String> {
        super::names::brief_call(self.function.name(), args)
    }

    fn coerce_types(&self, types: &[DataType]) -> PlanResult<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> PlanResult<DataType> {
        self.function.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> PlanResult<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        let Some(size_of) = size_of(self.function.name()) else {
            return self.function.invoke_with_args(args);
        };
        let given = args.args.iter().map(Argument::of).collect::<PlanResult<Vec<_>>>()?;
        let rows = if given.iter().all(|arg| arg.scalar) {
            1
        } else {
            args.number_rows
        };
        let room = self.bound.reserve((0..rows).map(|row| size_of(&given, row)))?;
        room.fill(|| self.function.invoke_with_args(args))
    }
}
