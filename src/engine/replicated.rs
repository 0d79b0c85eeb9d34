//! Roots that come from the primary, on a standby.
//!
//! Invariants
//! - A chunk is stored only when everything it refers to is stored, or comes in the same write. So a chunk that is here
//!   is complete, and finding what a root lacks never descends into what is here.
//! - A root is applied only over the root it follows on the primary, or over the one the caller found to be ours.
//! - The right to apply is checked after the write gate counted us: who revokes it and then drains the gate knows that
//!   nothing is applied any more.
//!
//! Must not know: where the chunks come from.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;

use super::snapshot::Snapshot;
use super::{Database, EngineError};
use crate::chunk::{ChunkError, Hash, ReadChunks, RootRecord};
use crate::runtime::sometimes;
use crate::version::{VersionError, references};

/// What is kept of a search that was cut off.
const UNFINISHED_BYTES_MAX: usize = 64 << 20;

/// What takes a standby from one root of the primary to a later one.
///
/// Several roots in a row may be applied as one: all their chunks, the last root, and what the first one follows.
#[derive(Debug, Clone)]
pub struct ReplicatedBatch {
    pub chunks: Vec<(Hash, Bytes)>,
    /// The primary's record. Root, epoch and time become ours; sequence and previous are those of our own log.
    pub root: RootRecord,
    /// The root that must be our newest.
    pub expect_previous: Hash,
}

impl Database {
    /// Makes a root of the primary durable and visible here; gives our record of it.
    ///
    /// `permit` is asked inside the commit turn, after the gate counted us: it says whether this server may still be
    /// replicated into, or why not.
    ///
    /// # Errors
    /// `ReplicationRefused`, `NotNextRoot`, `Incomplete` (then a [`Backfill`] finds what is missing), `WrongHash`,
    /// `Object` for chunks that are not understood: nothing was changed. `OutcomeUnknown` as for a commit.
    pub async fn apply_replicated(
        &self,
        batch: ReplicatedBatch,
        permit: impl FnOnce() -> Result<(), String> + Send,
    ) -> Result<RootRecord, EngineError> {
        self.room().await?;
        let (record, ticket, first) = {
            let _turn = self.inner.turn.lock().await;
            let ticket = self.inner.shared.gate.enter_replicated();
            self.refuse_when_dropped()?;
            permit().map_err(|reason| EngineError::ReplicationRefused {
                database: self.name().to_owned(),
                reason,
            })?;
            let (record, first) = self.append_replicated(batch)?;
            (record, ticket, first)
        };
        self.finish(record, ticket, first).await?;
        Ok(record)
    }

    /// Stores chunks ahead of the root that will refer to them. Not yet durable: the root's sync covers them.
    ///
    /// # Errors
    /// `WrongHash`; `Incomplete` when a chunk refers to something that is neither here nor among `chunks`.
    pub async fn stage_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), EngineError> {
        // What is found here now must be here when the chunks are: a collection switches in a turn of its own.
        let _turn = self.inner.turn.lock().await;
        let chunks = self.closed(chunks)?;
        Ok(self.inner.store.append_chunks(chunks.into_iter().collect())?)
    }

    /// Begins to find what `root` lacks here, with what the last such search had received and could not store yet.
    ///
    /// # Errors
    /// As [`Backfill::receive`].
    pub fn begin_backfill(&self, root: Hash) -> Result<Backfill, EngineError> {
        let mut backfill = Backfill::new(root, self.store());
        backfill.known = std::mem::take(&mut *self.inner.unfinished.lock());
        backfill.found_again.extend(backfill.wanted(1));
        backfill.use_known(self.store())?;
        Ok(backfill)
    }

    /// Keeps what a search has received that was cut off, in memory and up to a bound: a long history is a chain of
    /// chunks none of which is complete before the last.
    pub fn keep_backfill(&self, backfill: Backfill) {
        let kept = backfill.into_unfinished();
        let bytes: usize = kept.values().map(Bytes::len).sum();
        if bytes <= UNFINISHED_BYTES_MAX {
            *self.inner.unfinished.lock() = kept;
        }
    }

    fn append_replicated(&self, batch: ReplicatedBatch) -> Result<(RootRecord, bool), EngineError> {
        let store = &self.inner.store;
        let newest = store.pending().root;
        if batch.expect_previous != newest {
            return Err(EngineError::NotNextRoot {
                database: self.name().to_owned(),
                expected: batch.expect_previous,
                found: newest,
            });
        }
        let chunks = self.closed(batch.chunks)?;
        let root = batch.root.root;
        if !chunks.contains_key(&root) && !store.contains(&root) {
            return Err(EngineError::Incomplete {
                database: self.name().to_owned(),
                missing: vec![root],
            });
        }
        // Decoded before it is appended: a root that is not understood must not become ours.
        let snapshot = Snapshot::load(&Overlay { new: &chunks, store }, root)?;
        let record = store.append(chunks.into_iter().collect(), root, batch.root.epoch, batch.root.time)?;
        self.snapshots().appended(record, Arc::new(snapshot));
        self.tell_root(&record, "received");
        Ok((record, newest.is_none()))
    }

    /// The chunks that are not here, checked: each has its hash, and what it refers to is here or among them.
    fn closed(&self, chunks: Vec<(Hash, Bytes)>) -> Result<IndexMap<Hash, Bytes>, EngineError> {
        for (claimed, bytes) in &chunks {
            check_hash(*claimed, bytes)?;
        }
        let chunks: IndexMap<Hash, Bytes> = chunks.into_iter().collect();
        let mut missing = BTreeSet::new();
        for bytes in chunks.values() {
            for reference in references(bytes)? {
                if !chunks.contains_key(&reference) && !self.inner.store.contains(&reference) {
                    missing.insert(reference);
                }
            }
        }
        if missing.is_empty() {
            Ok(chunks)
        } else {
            Err(EngineError::Incomplete {
                database: self.name().to_owned(),
                missing: missing.into_iter().collect(),
            })
        }
    }
}

/// Whether these are the bytes that the hash names: whoever gave both may be mistaken.
pub(super) fn check_hash(claimed: Hash, bytes: &Bytes) -> Result<(), EngineError> {
    let found = Hash::of(bytes);
    if found == claimed {
        Ok(())
    } else {
        Err(EngineError::WrongHash { claimed, found })
    }
}

/// Chunks about to be appended, over those that are.
struct Overlay<'a, R> {
    new: &'a IndexMap<Hash, Bytes>,
    store: &'a R,
}

impl<R: ReadChunks> ReadChunks for Overlay<'_, R> {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        match self.new.get(hash) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.store.get(hash),
        }
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.new.contains_key(hash) || self.store.contains(hash)
    }
}

/// Finds what a root needs that is not here, depth first, so that what is complete can be stored as it comes.
///
/// ```text
/// let mut backfill = database.begin_backfill(root)?;
/// while let wanted = backfill.wanted(1000) and wanted is not empty:
///     for (hash, bytes) in the primary's answer:  backfill.receive(hash, bytes, database.store())
///     database.stage_chunks(backfill.take_closed())
/// database.apply_replicated(ReplicatedBatch { chunks: backfill.finish(), .. })
/// if it is cut off: database.keep_backfill(backfill)
/// ```
///
/// A chunk is handed out for staging as soon as everything below it is here; until then it is held. What is deepest is
/// asked for first, so that what is held stays small (the nodes above what was last asked for), and a transfer that is
/// cut off again and again goes on each time with what is still missing.
///
/// What was handed out is staged before more is received.
#[derive(Debug)]
pub struct Backfill {
    /// Not here, and not received: what is deepest first, and of that what was found first.
    wanted: BTreeMap<(Reverse<u32>, u64), Hash>,
    places: BTreeMap<Hash, (Reverse<u32>, u64)>,
    found: u64,
    /// Received; something below is missing.
    held: BTreeMap<Hash, Held>,
    /// What is missing, with the held chunks that refer to it.
    waiting: BTreeMap<Hash, Vec<Hash>>,
    /// Received, with everything below them here or before them.
    closed: IndexMap<Hash, Bytes>,
    /// Received by an earlier search, and not needed so far.
    known: BTreeMap<Hash, Bytes>,
    /// Wanted, and among those.
    found_again: Vec<Hash>,
}

#[derive(Debug)]
struct Held {
    bytes: Bytes,
    missing: usize,
}

impl Backfill {
    pub fn new(root: Hash, store: &dyn ReadChunks) -> Backfill {
        let mut backfill = Backfill {
            wanted: BTreeMap::new(),
            places: BTreeMap::new(),
            found: 0,
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            closed: IndexMap::new(),
            known: BTreeMap::new(),
            found_again: Vec::new(),
        };
        if !store.contains(&root) {
            backfill.want(root, 0);
        }
        backfill
    }

    /// Up to `limit` hashes to ask for. Empty when everything is here or handed out.
    pub fn wanted(&self, limit: usize) -> Vec<Hash> {
        self.wanted.values().take(limit).copied().collect()
    }

    /// Takes a chunk that was asked for.
    ///
    /// # Errors
    /// `WrongHash`, or `Object` when its bytes are not understood. A chunk nobody asked for is ignored.
    pub fn receive(&mut self, hash: Hash, bytes: Bytes, store: &dyn ReadChunks) -> Result<(), EngineError> {
        self.receive_one(hash, bytes, store)?;
        self.use_known(store)
    }

    fn use_known(&mut self, store: &dyn ReadChunks) -> Result<(), EngineError> {
        while let Some(hash) = self.found_again.pop() {
            if let Some(bytes) = self.known.remove(&hash) {
                sometimes!("engine.backfill_resumed");
                self.receive_one(hash, bytes, store)?;
            }
        }
        Ok(())
    }

    fn receive_one(&mut self, hash: Hash, bytes: Bytes, store: &dyn ReadChunks) -> Result<(), EngineError> {
        check_hash(hash, &bytes)?;
        let Some((Reverse(depth), _)) = self.places.get(&hash).copied() else {
            return Ok(());
        };
        let below: BTreeSet<Hash> = references(&bytes)
            .map_err(|error: VersionError| EngineError::Object(error))?
            .into_iter()
            .filter(|reference| !self.closed.contains_key(reference) && !store.contains(reference))
            .collect();
        let place = self.places.remove(&hash).expect("it was found above");
        self.wanted.remove(&place);
        if below.is_empty() {
            self.close(hash, bytes);
            return Ok(());
        }
        let missing = below.len();
        for reference in below {
            self.waiting.entry(reference).or_default().push(hash);
            if !self.held.contains_key(&reference) {
                self.want(reference, depth + 1);
            }
        }
        self.held.insert(hash, Held { bytes, missing });
        Ok(())
    }

    /// Chunks that may be staged now, each after those it refers to.
    pub fn take_closed(&mut self) -> Vec<(Hash, Bytes)> {
        std::mem::take(&mut self.closed).into_iter().collect()
    }

    /// What goes into the same write as the root.
    ///
    /// # Panics
    /// If something is still wanted.
    pub fn finish(self) -> Vec<(Hash, Bytes)> {
        assert!(
            self.wanted.is_empty() && self.held.is_empty(),
            "a backfill ends when nothing is wanted any more"
        );
        self.closed.into_iter().collect()
    }

    /// Everything received and not handed out.
    fn into_unfinished(self) -> BTreeMap<Hash, Bytes> {
        let held = self.held.into_iter().map(|(hash, held)| (hash, held.bytes));
        self.known.into_iter().chain(held).chain(self.closed).collect()
    }

    /// One place for each hash, the deepest it was found at.
    fn want(&mut self, hash: Hash, depth: u32) {
        let place = (Reverse(depth), self.found);
        match self.places.get(&hash) {
            Some(before) if *before <= place => return,
            Some(before) => _ = self.wanted.remove(before),
            None => {}
        }
        self.found += 1;
        if self.known.contains_key(&hash) {
            self.found_again.push(hash);
        }
        self.places.insert(hash, place);
        self.wanted.insert(place, hash);
    }

    /// Everything below `hash` is here; that may have been the last thing that others waited for.
    fn close(&mut self, hash: Hash, bytes: Bytes) {
        let mut complete = vec![(hash, bytes)];
        while let Some((hash, bytes)) = complete.pop() {
            self.closed.insert(hash, bytes);
            for above in self.waiting.remove(&hash).unwrap_or_default() {
                let held = self.held.get_mut(&above).expect("who waits is held");
                held.missing -= 1;
                if held.missing == 0 {
                    let held = self.held.remove(&above).expect("it was there a moment ago");
                    complete.push((above, held.bytes));
                }
            }
        }
    }
}
