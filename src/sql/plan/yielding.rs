//! Plans that let go of their thread now and then.
//!
//! DataFusion's leaves count against tokio's budget and yield when it is used up. What makes many rows of one does not:
//! a cross join gives a hundred thousand batches for one batch of a leaf, and an aggregate above it takes them all in
//! one go. Such a statement could not be cancelled and would hold up every other connection of its thread.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// How often a leaf counts each of its batches where a batch is much work: the budget is 128, so it pauses every 8 batches.
const COUNTS_OF_MUCH_WORK: usize = 15;

/// The plan with everything that multiplies rows made to count its batches against the budget too. `much_work`: each batch
/// may be, so the leaves pause more often.
pub(super) fn yielding(
    plan: Arc<dyn ExecutionPlan>,
    much_work: bool,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    plan.transform_up(|node| {
        if much_work && node.children().is_empty() {
            let counting = (0..COUNTS_OF_MUCH_WORK).fold(node, |node, _| Arc::new(CooperativeExec::new(node)) as _);
            Ok(Transformed::yes(counting))
        } else if multiplies(node.as_ref()) {
            Ok(Transformed::yes(
                Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>
            ))
        } else {
            Ok(Transformed::no(node))
        }
    })
    .map(|transformed| transformed.data)
}

/// Joins of every kind have two inputs; the others go by name.
fn multiplies(node: &dyn ExecutionPlan) -> bool {
    node.children().len() > 1 || matches!(node.name(), "UnnestExec" | "RecursiveQueryExec")
}
