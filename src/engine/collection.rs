//! Garbage collection of a database: which roots must live, and when it is time.
//!
//! Every commit leaves the nodes behind that it replaced. What must stay is the newest root with everything it refers to
//! (all branches, tags and their history), every root that a transaction still reads, and what replication holds.
//!
//! Invariants
//! - Sessions neither wait nor fail: readers keep their snapshots, and writers are held up only while the files are
//!   exchanged, which is a few syncs.
//! - Nothing is collected that a living transaction or [`RootHold`](super::RootHold) can reach.
//!
//! Must not know: how the store moves chunks.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Database, DatabaseId, Engine, EngineError};
use crate::chunk::{ChunkError, Collected, Collection, Hash, Link, StoreSize};
use crate::runtime::{self, Instant, buggify, sometimes};
use crate::version::{VersionError, links};

/// When a database is collected without being asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AutoCollect {
    /// How often every database is looked at.
    pub every: Duration,
    /// A log shorter than this is left alone.
    pub log_bytes_min: u64,
    /// Due when the log has this share of what was alive after the last collection. A collection copies about as much
    /// as is alive of the log, so a smaller share saves space and costs writes.
    pub growth: f64,
}

impl Default for AutoCollect {
    fn default() -> AutoCollect {
        AutoCollect {
            every: Duration::from_secs(10),
            log_bytes_min: 128 << 20,
            growth: 0.5,
        }
    }
}

impl AutoCollect {
    pub fn is_due(&self, size: StoreSize) -> bool {
        let share = (size.pack_bytes as f64 * self.growth) as u64;
        size.log_bytes >= self.log_bytes_min.max(share)
    }
}

/// More rounds of catching up than this do not help: writers append faster than the collection reads.
const CATCH_UP_ROUNDS: u32 = 8;

/// So little of the log is read while writers wait.
const CATCH_UP_BYTES: u64 = 256 << 10;

impl Database {
    /// Gives up what nobody can reach, and returns its space.
    ///
    /// Stopping to wait for it gives it up.
    ///
    /// # Errors
    /// `CollectionRuns` when another one is on its way. `Store` and `Object`, with nothing given up, when the store is
    /// damaged or full; `NoSuchDatabase` when the database was dropped.
    pub async fn collect_garbage(&self) -> Result<Collected, EngineError> {
        self.refuse_when_dropped()?;
        let store = self.store();
        let collection = store.begin_collection().map_err(|error| match error {
            ChunkError::Collecting => EngineError::CollectionRuns {
                database: self.name().to_owned(),
            },
            error => error.into(),
        })?;
        // After the collection has begun, so that every root is either among these or in the newer part of the log.
        let mut roots = self.snapshots().roots_read();
        let newest = [store.published().root, store.pending().root];
        sometimes!(roots.iter().any(|root| !newest.contains(root)), "engine.old_root_kept");
        roots.extend(newest.into_iter().filter(|root| !root.is_none()));
        let collection = collect_store(collection, roots).await;
        // The store of what was dropped is closed, which ends the collection.
        self.refuse_when_dropped()?;
        let collection = collection?;
        let _turn = self.inner.turn.lock().await;
        self.refuse_when_dropped()?;
        let collected = collection.finish_alone().await?;
        tracing::info!(
            database = self.name(),
            bytes_before = collected.before.log_bytes + collected.before.pack_bytes,
            bytes_after = collected.after.log_bytes + collected.after.pack_bytes,
            chunks_before = collected.before.chunks,
            chunks_after = collected.after.chunks,
            copied_bytes = collected.copied_bytes,
            "garbage collected"
        );
        Ok(collected)
    }
}

/// A collection that only has to be finished, by who keeps writers away.
pub(super) struct Ready(Collection);

impl Ready {
    /// # Errors
    /// As [`Collection::finish`].
    pub async fn finish_alone(self) -> Result<Collected, EngineError> {
        self.0.finish(below).await
    }
}

/// Marks what `roots` reach and copies it, as far as that goes beside writers.
pub(super) async fn collect_store(mut collection: Collection, roots: Vec<Hash>) -> Result<Ready, EngineError> {
    collection.mark(roots, below).await?;
    collection.catch_up(below).await?;
    collection.copy().await?;
    for _ in 0..CATCH_UP_ROUNDS {
        if collection.behind() <= CATCH_UP_BYTES {
            break;
        }
        collection.catch_up(below).await?;
    }
    Ok(Ready(collection))
}

/// A collection that failed is tried again after a longer pause each time, up to this: what it takes to fail, reading
/// the log and filling up the disk, is felt by others.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Databases whose last collection failed: the pause that follows, and when it ends.
#[derive(Default)]
struct Pauses(BTreeMap<DatabaseId, (Duration, Instant)>);

impl Pauses {
    fn is_over(&self, id: DatabaseId, now: Instant) -> bool {
        self.0.get(&id).is_none_or(|(_, end)| *end <= now)
    }

    fn failed(&mut self, id: DatabaseId, first: Duration, now: Instant) -> Duration {
        let pause = self.0.get(&id).map_or(first, |(last, _)| last.saturating_mul(2));
        let pause = pause.min(PAUSE_MAX.max(first));
        self.0.insert(id, (pause, now + pause));
        pause
    }

    fn succeeded(&mut self, id: DatabaseId) {
        self.0.remove(&id);
    }
}

fn below(chunk: &Bytes) -> Result<Vec<Link>, EngineError> {
    links(chunk).map_err(|error: VersionError| EngineError::Object(error))
}

impl Engine {
    /// Collects garbage whenever it is due, for as long as the engine lives.
    pub(super) fn collect_when_due(&self, when: AutoCollect) {
        let engine = std::sync::Arc::downgrade(&self.inner);
        let mut end = self.watch_end();
        let work = async move {
            let mut pauses = Pauses::default();
            loop {
                runtime::sleep(when.every).await;
                let Some(inner) = engine.upgrade() else { return };
                let databases = Engine { inner }.all_stores();
                pauses
                    .0
                    .retain(|id, _| databases.iter().any(|database| database.id() == *id));
                for database in databases {
                    if !pauses.is_over(database.id(), runtime::now()) {
                        continue;
                    }
                    if !when.is_due(database.store().size()) && !buggify!("engine.collect_now") {
                        continue;
                    }
                    let collected = tokio::select! {
                        biased;
                        // Given up with the engine: its folder may be another's by now.
                        _ = end.changed() => return,
                        collected = database.collect_garbage() => collected,
                    };
                    match collected {
                        Ok(_) => pauses.succeeded(database.id()),
                        Err(EngineError::CollectionRuns { .. } | EngineError::NoSuchDatabase { .. }) => {}
                        // Its files went away beside the collection.
                        Err(_) if database.is_dropped() => {}
                        Err(error) => {
                            let pause = pauses.failed(database.id(), when.every.saturating_mul(2), runtime::now());
                            tracing::warn!(
                                database = database.name(),
                                %error,
                                again_in_seconds = pause.as_secs(),
                                "garbage was not collected"
                            );
                        }
                    }
                }
            }
        };
        runtime::spawn("collect garbage", work).detach();
    }
}
