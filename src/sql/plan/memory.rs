//! How much memory the queries of a server may hold together.

use std::sync::Arc;

use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

/// Longest value that PostgreSQL makes, and a little less than an array of texts can hold.
const VALUE_BYTES_MAX: u64 = (1 << 30) - 1;

/// A bound that all sessions of a server share: what sorts, groups and joins hold at one time. Cheap to clone.
#[derive(Clone)]
pub struct QueryMemory {
    pool: Arc<dyn MemoryPool>,
    bytes: u64,
}

impl QueryMemory {
    pub fn new(bytes: u64) -> QueryMemory {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        QueryMemory {
            pool: Arc::new(GreedyMemoryPool::new(size)),
            bytes,
        }
    }

    pub(super) fn pool(&self) -> Arc<dyn MemoryPool> {
        Arc::clone(&self.pool)
    }

    /// The most that an expression may make: one value, or all values of one batch. A query holds a few such at a time.
    pub(super) fn value_bytes_max(&self) -> u64 {
        (self.bytes / 4).min(VALUE_BYTES_MAX)
    }
}

impl std::fmt::Debug for QueryMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QueryMemory({} of {} bytes)", self.pool.reserved(), self.bytes)
    }
}
