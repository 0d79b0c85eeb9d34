//! Reading a user table inside a plan: rows of the transaction, decoded to Arrow batch by batch.
//!
//! The leaf tells the planner how many rows it has, which the tree knows without being read (so that `count(*)` reads
//! nothing), and begins behind rows that an OFFSET skips.
//!
//! Must not know: conditions, SQL.

use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};

use super::arrow;
use super::error::external;
use crate::engine::Transaction;
use crate::sql::SqlError;
use crate::version::{TableName, Value};

/// Rows decoded at a time.
pub const BATCH_ROWS: usize = 8192;

/// A transaction with more edits than this of a table does not count its rows for the planner.
const EDITS_COUNTED: usize = 1_000;

/// Keys between two bounds, as encoded.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A column that is no column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    RowKey,
    /// How many digits behind the point the numeric of this column has.
    Digits(usize),
}

/// The rows of some key ranges, ready to be read.
#[derive(Clone)]
pub struct TableRows {
    pub transaction: Arc<Transaction>,
    pub name: TableName,
    pub schema: SchemaRef,
    pub sources: Vec<Source>,
    pub ranges: Vec<KeyRange>,
    /// How many rows are passed over, by the counts in the tree.
    pub skip: usize,
    /// How many rows are read behind them.
    pub limit: Option<usize>,
}

/// Where a column of the output comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    Column(usize),
    Extra(Extra),
}

impl Source {
    /// The table's column that it needs.
    fn column(self) -> Option<usize> {
        match self {
            Source::Column(position) | Source::Extra(Extra::Digits(position)) => Some(position),
            Source::Extra(Extra::RowKey) => None,
        }
    }
}

impl Extra {
    fn of(self, key: &[u8], row: &[Value]) -> Value {
        match self {
            Extra::RowKey => Value::Bytea(key.to_vec()),
            Extra::Digits(position) => match row.get(position) {
                Some(Value::Numeric(value)) => Value::Int4(value.scale() as i32),
                _ => Value::Null,
            },
        }
    }
}

impl TableRows {
    fn stream(&self, batch_rows: usize) -> SendableRecordBatchStream {
        let transaction = Arc::clone(&self.transaction);
        let name = self.name.clone();
        let ranges = self.ranges.clone().into_iter();
        let wanted: Vec<usize> = self.sources.iter().filter_map(|source| source.column()).collect();
        let mut skip = self.skip as u64;
        let rows = ranges.flat_map(move |range| -> Box<dyn Iterator<Item = Result<_, SqlError>> + Send> {
            let scan = transaction.scan_columns(&name, range, &wanted).and_then(|mut scan| {
                if skip > 0 {
                    skip -= scan.advance(skip)?;
                }
                Ok(scan)
            });
            match scan {
                Ok(scan) => Box::new(scan.map(|row| row.map_err(SqlError::from))),
                Err(error) => Box::new(std::iter::once(Err(SqlError::from(error)))),
            }
        });
        let mut rows = rows.take(self.limit.unwrap_or(usize::MAX)).fuse();
        let (schema, sources) = (Arc::clone(&self.schema), self.sources.clone());
        let batches = std::iter::from_fn(move || {
            let mut decoded: Vec<Vec<Value>> = sources.iter().map(|_| Vec::new()).collect();
            let mut count = 0;
            for row in rows.by_ref().take(batch_rows) {
                let (key, mut row) = match row {
                    Ok(row) => row,
                    Err(error) => return Some(Err(external(error))),
                };
                for (column, source) in decoded.iter_mut().zip(&sources) {
                    if let Source::Extra(extra) = source {
                        column.push(extra.of(&key, &row));
                    }
                }
                // Moved out, once nobody looks at the row any more.
                for (column, source) in decoded.iter_mut().zip(&sources) {
                    if let Source::Column(position) = source {
                        let value = row.get_mut(*position);
                        debug_assert!(value.is_some(), "a row has a value for each column of its table");
                        column.push(value.map_or(Value::Null, |value| std::mem::replace(value, Value::Null)));
                    }
                }
                count += 1;
            }
            (count > 0).then(|| batch(&schema, &decoded, count).map_err(external))
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(batches),
        ))
    }

    /// How many rows there are, where the tree tells it without being read.
    fn count(&self) -> Option<usize> {
        if self.skip > 0 || self.limit.is_some() || self.ranges != [(Bound::Unbounded, Bound::Unbounded)] {
            return None;
        }
        // Every row the transaction has touched is looked up.
        if self.transaction.edited_rows(&self.name) > EDITS_COUNTED {
            return None;
        }
        let count = self.transaction.count(&self.name).ok()?;
        usize::try_from(count).ok()
    }
}

/// The leaf of a plan: rows of one table, in one partition.
pub struct TableScanExec {
    rows: TableRows,
    properties: Arc<PlanProperties>,
    statistics: OnceLock<Arc<Statistics>>,
}

impl TableScanExec {
    /// `ordering` is what the order of the rows is in the columns of the output.
    pub fn new(rows: TableRows, ordering: Option<LexOrdering>) -> TableScanExec {
        let equivalences = EquivalenceProperties::new_with_orderings(Arc::clone(&rows.schema), ordering);
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        TableScanExec {
            rows,
            properties: Arc::new(properties),
            statistics: OnceLock::new(),
        }
    }

    /// The scan without its first `skip` rows.
    fn skipping(&self, skip: usize) -> TableScanExec {
        let mut rows = self.rows.clone();
        rows.skip += skip;
        rows.limit = rows.limit.map(|limit| limit.saturating_sub(skip));
        TableScanExec {
            rows,
            properties: Arc::clone(&self.properties),
            statistics: OnceLock::new(),
        }
    }
}

impl fmt::Debug for TableScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableScanExec({})", self.rows.name)
    }
}

impl DisplayAs for TableScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self
            .rows
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        write!(
            f,
            "TableScanExec: table={}, columns=[{}]",
            self.rows.name,
            columns.join(", ")
        )?;
        if self.rows.ranges != [(Bound::Unbounded, Bound::Unbounded)] {
            write!(f, ", key ranges={}", self.rows.ranges.len())?;
        }
        if self.rows.skip > 0 {
            write!(f, ", skip={}", self.rows.skip)?;
        }
        match self.rows.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TableScanExec {
    fn name(&self) -> &'static str {
        "TableScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            Ok(self)
        } else {
            datafusion::common::internal_err!("a table's scan has no children")
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        Ok(self.rows.stream(context.session_config().batch_size()))
    }

    fn partition_statistics(&self, _: Option<usize>) -> PlanResult<Arc<Statistics>> {
        let statistics = self.statistics.get_or_init(|| {
            let mut statistics = Statistics::new_unknown(&self.rows.schema);
            if let Some(count) = self.rows.count() {
                statistics.num_rows = Precision::Exact(count);
            }
            Arc::new(statistics)
        });
        Ok(Arc::clone(statistics))
    }
}

/// OFFSET by the counts in the tree: where nothing between a limit and a table's rows drops or reorders them, the scan
/// begins behind what is skipped instead of reading it.
pub fn skipping_by_count(plan: Arc<dyn ExecutionPlan>) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let transformed = plan.transform_down(|node| {
        let Some(limit) = node.downcast_ref::<GlobalLimitExec>().filter(|limit| limit.skip() > 0) else {
            return Ok(Transformed::no(node));
        };
        let Some(input) = without_first(limit.input(), limit.skip())? else {
            return Ok(Transformed::no(node));
        };
        let mut rest = GlobalLimitExec::new(input, 0, limit.fetch());
        rest.set_required_ordering(limit.required_ordering().clone());
        Ok(Transformed::yes(Arc::new(rest) as Arc<dyn ExecutionPlan>))
    });
    transformed.map(|transformed| transformed.data)
}

/// None: its rows must be read to be counted.
fn without_first(plan: &Arc<dyn ExecutionPlan>, skip: usize) -> PlanResult<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = plan.downcast_ref::<TableScanExec>() {
        return Ok(Some(Arc::new(scan.skipping(skip))));
    }
    let row_by_row =
        plan.downcast_ref::<ProjectionExec>().is_some() || plan.downcast_ref::<CooperativeExec>().is_some();
    let children = plan.children();
    let (true, [input]) = (row_by_row, children.as_slice()) else {
        return Ok(None);
    };
    let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    match without_first(input, skip)? {
        Some(input) => Arc::clone(plan).replace_children(vec![input], recompute).map(Some),
        None => Ok(None),
    }
}

/// Columns of values as one batch.
pub fn batch(schema: &SchemaRef, columns: &[Vec<Value>], rows: usize) -> Result<RecordBatch, SqlError> {
    let arrays = columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| arrow::array(field.data_type(), column.iter()));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|error| SqlError::internal(format!("a table's rows do not fit its schema: {error}")))
}
