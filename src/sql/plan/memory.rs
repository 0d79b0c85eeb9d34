//! How much memory the queries of a server may hold together.

use std::sync::Arc;

use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

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
}

impl std::fmt::Debug for QueryMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QueryMemory({} of {} bytes)", self.pool.reserved(), self.bytes)
    }
}
