//! Copies what a root refers to from one store to another: the work of backups, restores and repairs.
//!
//! Invariants
//! - A chunk is written after everything it refers to, so a copy that was interrupted goes on where it stopped, and a
//!   copy into a store that has most of it costs only what is new.
//! - The root is appended last. Until then the target stays at the root it had.
//!
//! Must not know: where the chunks come from.

use bytes::Bytes;

use super::EngineError;
use crate::chunk::{ChunkStore, Hash, Link, ReadChunks, RootRecord};
use crate::runtime;
use crate::version::links;

/// So much is read before it is written.
const BATCH_BYTES: usize = 4 << 20;

/// What a copy has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    pub chunks: u64,
    pub bytes: u64,
}

/// Makes `record` the newest root of `target`, with everything it refers to; epoch and time are kept.
///
/// # Errors
/// `Store` when either side cannot be read or written, `Object` for a chunk that is not understood. What was copied
/// stays, the target's root does not change.
pub async fn copy_root(
    source: &dyn ReadChunks,
    record: &RootRecord,
    target: &ChunkStore,
    progress: &mut (dyn FnMut(Copied) + Send),
) -> Result<Copied, EngineError> {
    let mut copied = Copied::default();
    let mut batch: Vec<(Hash, Bytes)> = Vec::new();
    let mut batched = 0;
    // Chunks on the way down, and those whose references were all written.
    let mut open = vec![Step::Enter(Link {
        hash: record.root,
        leads_on: true,
    })];
    let mut on_the_way = std::collections::BTreeSet::new();
    while let Some(step) = open.pop() {
        let (hash, chunk) = match step {
            Step::Enter(link) if target.contains(&link.hash) || !on_the_way.insert(link.hash) => continue,
            Step::Enter(link) => {
                let chunk = source.get(&link.hash)?;
                if link.leads_on {
                    let below = links(&chunk)?;
                    open.push(Step::Leave(link.hash, chunk));
                    open.extend(below.into_iter().rev().map(Step::Enter));
                    continue;
                }
                (link.hash, chunk)
            }
            Step::Leave(hash, chunk) => (hash, chunk),
        };
        copied.chunks += 1;
        copied.bytes += chunk.len() as u64;
        batched += chunk.len();
        batch.push((hash, chunk));
        if batched >= BATCH_BYTES {
            target.room().await?;
            for (hash, _) in &batch {
                on_the_way.remove(hash);
            }
            target.append_chunks(std::mem::take(&mut batch))?;
            batched = 0;
            progress(copied);
            runtime::yield_now().await;
        }
    }
    if target.published().root != record.root {
        let appended = target.append(batch, record.root, record.epoch, record.time)?;
        target.wait_published(appended.sequence).await?;
    }
    progress(copied);
    Ok(copied)
}

enum Step {
    Enter(Link),
    Leave(Hash, Bytes),
}
