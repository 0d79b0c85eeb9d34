//! Garbage collection: what is alive of the log's beginning is copied into packs, and the rest is given up.
//!
//! The caller knows what is alive and drives the steps; readers and writers go on all the while:
//!
//! 1. [`ChunkStore::begin_collection`] seals the active segment: everything before is old, but what waits for a root.
//! 2. [`Collection::mark`] walks from the roots that must live and marks what they reach in the old part.
//! 3. [`Collection::copy`] copies what is marked into packs. Packs that are mostly alive stay as they are.
//! 4. [`Collection::catch_up`] marks, and copies, what the log's newer part refers to. Every chunk in it counts, with a
//!    root or not: so a chunk that is here keeps all that it refers to. One that no root covers keeps its older copy,
//!    too: what follows the last root is cut off when the store is opened.
//! 5. [`Collection::finish`], while the caller keeps writers away: the last step of 4, then everything is synced, a new
//!    manifest names packs and the rest of the log, and the old files go.
//!
//! A power cut leaves the old files in force before the new manifest, and the new ones after it; files that the one in
//! force does not name are removed when the store is opened.
//!
//! Must not know: what chunks refer to, which roots must live.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::error::ChunkError;
use super::format::{
    IndexedChunk, PACK_NUMBER_BASE, Position, RECORD_HEAD_BYTES, Record, RecordHead, SegmentHeader, StoredChunk,
    decode_stored, parse_record,
};
use super::index::{Index, Location};
use super::pack::Packer;
use super::reader::{Segment, SegmentReader, Step, detail};
use super::recovery::write_manifest;
use super::seal::write_pack_index;
use super::store::{ChunkStore, Inner, Pack};
use super::write::offset_in_segment;
use super::{HASH_BYTES, Hash, Link, StoreSize};
use crate::runtime::sites::pause;
use crate::runtime::{self, buggify, sometimes};

/// After how many chunks others get their turn: some hundreds of microseconds.
const CHUNKS_A_TURN: u32 = 64;

/// A segment that was begun for a collection that failed is ended for the next once this part of it is full.
const SEALED_AGAIN_AT: u64 = 64;

/// What a collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    pub before: StoreSize,
    pub after: StoreSize,
    /// How much was copied into packs.
    pub copied_bytes: u64,
}

/// A collection on its way. Dropped before its end, it leaves everything as it was.
pub struct Collection {
    store: ChunkStore,
    before: StoreSize,
    /// The segment with which the log will begin.
    horizon: Segment,
    /// Everything before the horizon, by number.
    old: BTreeMap<u64, Old>,
    packer: Packer,
    /// Where copied chunks went.
    moved: Index,
    /// References of the log up to here are marked.
    caught_up: Position,
    /// Marked after their segment had been copied.
    late: Vec<Location>,
    copied: bool,
    steps: u32,
}

/// A segment before the horizon, and what is alive in it.
struct Old {
    segment: Segment,
    bytes: u64,
    /// Of an index file, in a pack.
    generation: Option<u64>,
    marks: Marks,
    live_bytes: u64,
    /// A pack that stays.
    kept: bool,
}

/// One bit for every 32 bytes: no record is shorter, so no two begin in the same.
struct Marks(Vec<u64>);

const MARK_BYTES: u64 = (RECORD_HEAD_BYTES + HASH_BYTES) as u64;

impl Marks {
    fn new(bytes: u64) -> Marks {
        Marks(vec![0; bytes.div_ceil(MARK_BYTES * 64) as usize])
    }

    fn bit(offset: u32) -> (usize, u64) {
        let cell = u64::from(offset) / MARK_BYTES;
        ((cell / 64) as usize, 1 << (cell % 64))
    }

    fn contains(&self, offset: u32) -> bool {
        let (word, bit) = Marks::bit(offset);
        self.0[word] & bit != 0
    }

    /// False when it was marked already.
    fn insert(&mut self, offset: u32) -> bool {
        let (word, bit) = Marks::bit(offset);
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }
}

impl ChunkStore {
    /// Begins to collect garbage.
    ///
    /// # Errors
    /// `Collecting` when a collection is on its way, `Closed`, `Io` (no space for another segment).
    pub fn begin_collection(&self) -> Result<Collection, ChunkError> {
        let inner = &self.inner;
        if inner.collecting.swap(true, Ordering::AcqRel) {
            return Err(ChunkError::Collecting);
        }
        let begun = self.horizon();
        if begun.is_err() {
            inner.end_collecting();
        }
        let (horizon, before) = begun?;
        let number = horizon.header.number;
        let segments = inner.segments.read();
        let mut old = BTreeMap::new();
        for pack in &segments.packs {
            old.insert(
                pack.number(),
                Old::new(pack.segment.clone(), pack.bytes, Some(pack.generation)),
            );
        }
        let log = segments.log.iter().zip(segments.log.iter().skip(1));
        for (segment, next) in log.take_while(|(segment, _)| segment.header.number < number) {
            let bytes = next.header.previous_bytes;
            old.insert(segment.header.number, Old::new(segment.clone(), bytes, None));
        }
        let packer = Packer::new(self.clone(), segments.next_pack);
        drop(segments);
        Ok(Collection {
            store: self.clone(),
            before,
            caught_up: start_of(&horizon),
            horizon,
            old,
            packer,
            moved: Index::new(),
            late: Vec::new(),
            copied: false,
            steps: 0,
        })
    }

    /// The segment that follows everything old.
    ///
    /// What waits for a root is not old: it would not be known for what it is once it lay in a pack. Neither is the
    /// little that was written since a collection failed, or each that fails would leave a segment, and a file open.
    fn horizon(&self) -> Result<(Segment, StoreSize), ChunkError> {
        let before = self.size();
        let mut log = self.inner.log.lock();
        log.refuse_when_closed()?;
        let active = &log.active.header;
        let is_empty = log.tail.offset == SegmentHeader::BYTES as u64;
        // The newest root ends the segment before this one, in which there is nothing yet.
        let ends_before =
            is_empty && (log.pending_end.segment + 1, log.pending_end.offset) == (active.number, active.previous_bytes);
        if log.pending_end == log.tail || ends_before {
            let is_begun = log.begun_to_collect == Some(active.number) || ends_before;
            if !is_begun || log.tail.offset > self.inner.segment_bytes_max / SEALED_AGAIN_AT {
                self.inner.seal_active(&mut log)?;
                log.begun_to_collect = Some(log.active.header.number);
            }
            return Ok((log.active.clone(), before));
        }
        let segments = self.inner.segments.read();
        let waits_in = log.pending_end.segment;
        let horizon = segments.log.iter().find(|segment| segment.header.number == waits_in);
        Ok((horizon.expect("the newest root is in the log").clone(), before))
    }
}

fn start_of(segment: &Segment) -> Position {
    Position {
        segment: segment.header.number,
        offset: SegmentHeader::BYTES as u64,
    }
}

impl Old {
    fn new(segment: Segment, bytes: u64, generation: Option<u64>) -> Old {
        Old {
            segment,
            bytes,
            generation,
            marks: Marks::new(bytes),
            live_bytes: 0,
            kept: false,
        }
    }
}

impl Collection {
    /// Marks everything that `roots` reach. `references` tells what a chunk refers to.
    ///
    /// # Errors
    /// What `references` answers; `Missing` when the store lacks something that is referred to; `Corrupt`, `Io`;
    /// `Closed` when the store was closed meanwhile.
    pub async fn mark<E: From<ChunkError>>(
        &mut self,
        roots: impl IntoIterator<Item = Hash>,
        references: impl Fn(&Bytes) -> Result<Vec<Link>, E>,
    ) -> Result<(), E> {
        let mut open: Vec<Link> = roots.into_iter().map(|hash| Link { hash, leads_on: true }).collect();
        self.walk(&mut open, &references).await
    }

    async fn walk<E: From<ChunkError>>(
        &mut self,
        open: &mut Vec<Link>,
        references: &impl Fn(&Bytes) -> Result<Vec<Link>, E>,
    ) -> Result<(), E> {
        while let Some(Link { hash, leads_on }) = open.pop() {
            if self.claim(&hash)? && leads_on {
                let inner = &self.store.inner;
                let chunk = match inner.cache.get(&hash) {
                    Some(chunk) => chunk,
                    None => inner.read(&hash)?,
                };
                open.extend(references(&chunk)?);
            }
            self.give_way().await?;
        }
        Ok(())
    }

    /// Marks a chunk; true when it is old and was not marked before. Of the newer part nothing needs a mark.
    fn claim(&mut self, hash: &Hash) -> Result<bool, ChunkError> {
        let location = self.store.inner.index.get(hash);
        let location = location.ok_or(ChunkError::Missing { hash: *hash })?;
        let Some(old) = self.old.get_mut(&u64::from(location.segment)) else {
            return Ok(false);
        };
        if !old.marks.insert(location.offset) {
            return Ok(false);
        }
        old.live_bytes += MARK_BYTES + u64::from(location.bytes);
        if self.copied && !old.kept {
            self.late.push(location);
        }
        Ok(true)
    }

    /// Lets others run now and then. Who closes the store waits for the collection, so it ends here.
    async fn give_way(&mut self) -> Result<(), ChunkError> {
        self.steps += 1;
        if self.steps.is_multiple_of(CHUNKS_A_TURN) {
            runtime::yield_now().await;
            self.store.inner.log.lock().refuse_when_closed()?;
        }
        pause(buggify!("chunk.collect_slowly", 1..=20)).await;
        Ok(())
    }

    /// Copies what is marked into packs.
    ///
    /// # Errors
    /// `Corrupt`, `Io` (no space left, say), `Closed`.
    pub async fn copy(&mut self) -> Result<(), ChunkError> {
        self.choose_packs_to_keep();
        let numbers: Vec<u64> = self.old.keys().copied().collect();
        // Packs first: they are older than the log, and their numbers are higher.
        let in_packs = numbers.partition_point(|number| *number < PACK_NUMBER_BASE);
        for number in numbers[in_packs..].iter().chain(&numbers[..in_packs]) {
            let old = &self.old[number];
            if old.kept || old.live_bytes == 0 {
                continue;
            }
            let mut reader = SegmentReader::new(old.segment.clone(), SegmentHeader::BYTES as u64, old.bytes);
            loop {
                match reader.next()? {
                    Step::Record {
                        offset,
                        record: Record::Chunk(chunk),
                    } if self.old[number].marks.contains(offset_in_segment(offset)) => {
                        let hash = chunk.hash;
                        let location = self.packer.push(chunk).await?;
                        self.moved.insert(hash, location);
                    }
                    Step::Record { .. } => {}
                    Step::End => break,
                    Step::Bad { offset, detail } => return Err(reader.segment().corrupt(offset, detail)),
                }
                self.give_way().await?;
            }
        }
        self.copied = true;
        Ok(())
    }

    /// A pack stays when two thirds of it are alive, unless it is smaller than twice what is copied anyway: so packs
    /// grow geometrically, and there are few of them.
    fn choose_packs_to_keep(&mut self) {
        let in_log = self.old.values().filter(|old| old.generation.is_none());
        let mut copied: u64 = in_log.map(|old| old.live_bytes).sum();
        let full = self.store.inner.segment_bytes_max / 2;
        for old in self.old.values_mut().rev().filter(|old| old.generation.is_some()) {
            let alive = old.live_bytes.saturating_mul(3) >= old.bytes.saturating_mul(2);
            old.kept = alive && old.bytes > copied.saturating_mul(2).min(full);
            sometimes!(old.kept, "chunk.pack_kept");
            sometimes!(!old.kept && old.live_bytes > 0, "chunk.pack_replaced");
            if !old.kept {
                copied += old.live_bytes;
            }
        }
    }

    /// How much of the log has not been looked at by [`catch_up`](Self::catch_up), in bytes or more.
    pub fn behind(&self) -> u64 {
        let tail = self.store.inner.log.lock().tail;
        let segments = tail.segment - self.caught_up.segment;
        (segments * self.store.inner.segment_bytes_max + tail.offset).saturating_sub(self.caught_up.offset)
    }

    /// Marks and copies what was referred to since the horizon.
    ///
    /// # Errors
    /// As [`mark`](Self::mark) and [`copy`](Self::copy).
    pub async fn catch_up<E: From<ChunkError>>(
        &mut self,
        references: impl Fn(&Bytes) -> Result<Vec<Link>, E>,
    ) -> Result<(), E> {
        let tail = self.store.inner.log.lock().tail;
        let segments = self.store.inner.segments.read().log.clone();
        let from = segments.partition_point(|segment| segment.header.number < self.caught_up.segment);
        for (at, segment) in segments.iter().enumerate().skip(from) {
            let number = segment.header.number;
            if number > tail.segment {
                break;
            }
            let start = if number == self.caught_up.segment {
                self.caught_up.offset
            } else {
                SegmentHeader::BYTES as u64
            };
            let end = match segments.get(at + 1) {
                Some(next) if number < tail.segment => next.header.previous_bytes,
                _ => tail.offset,
            };
            let mut reader = SegmentReader::new(segment.clone(), start, end);
            loop {
                match reader.next()? {
                    Step::Record {
                        offset,
                        record: Record::Chunk(chunk),
                    } => {
                        self.claim(&chunk.hash)?;
                        let chunk = decode_stored(chunk.codec, chunk.bytes)
                            .map_err(|error| segment.corrupt(offset, detail(&error)))?;
                        let mut open = references(&chunk)?;
                        self.walk(&mut open, &references).await?;
                        self.give_way().await?;
                    }
                    Step::Record { .. } => {}
                    Step::End => break,
                    Step::Bad { offset, detail } => return Err(segment.corrupt(offset, detail).into()),
                }
            }
        }
        self.caught_up = tail;
        for location in std::mem::take(&mut self.late) {
            let chunk = read_record(&self.old[&u64::from(location.segment)].segment, location)?;
            let hash = chunk.hash;
            let location = self.packer.push(chunk).await?;
            self.moved.insert(hash, location);
            self.give_way().await?;
        }
        Ok(())
    }

    /// Puts the packs in the place of the old segments.
    ///
    /// The caller keeps everybody from appending until this returns. Readers go on.
    ///
    /// # Errors
    /// As the steps before; nothing was given up then.
    pub async fn finish<E: From<ChunkError>>(
        mut self,
        references: impl Fn(&Bytes) -> Result<Vec<Link>, E>,
    ) -> Result<Collected, E> {
        assert!(self.copied, "what is marked is copied before the rest is given up");
        self.catch_up(references).await?;
        sometimes!(
            self.caught_up > start_of(&self.horizon),
            "chunk.collected_beside_commits"
        );
        pause(buggify!("chunk.switch_slow", 1..=300)).await;
        Ok(self.switch().await?)
    }

    async fn switch(mut self) -> Result<Collected, ChunkError> {
        let store = self.store.clone();
        let inner = &*store.inner;
        store.sync_log().await?;
        self.packer.close().await?;
        let mut packs = self.keep_packs().await?;
        packs.extend(self.packer.done.iter().cloned());
        let synced = inner.disk.sync_dir("").await;
        let synced = synced.map_err(ChunkError::io("sync", inner.disk.describe("")));
        inner.heed(synced)?;

        let horizon = start_of(&self.horizon);
        let turn = inner.manifest_turn.lock().await;
        let mut next = inner.segments.read().clone();
        next.packs = packs;
        next.next_pack = self.packer.next_number;
        next.log.retain(|segment| segment.header.number >= horizon.segment);
        let last = next
            .log
            .last()
            .expect("the log goes on behind the horizon")
            .header
            .number;
        // From here on the new files may be in force, whatever this returns: they must not be removed or overwritten.
        self.packer.keep_files = true;
        inner.segments.write().next_pack = self.packer.next_number;
        let written = write_manifest(&inner.disk, &next.manifest(inner.store, last)).await;
        if let Err(error) = written {
            // Without a descriptor it may have its name, and not yet for good: neither the old files are safe then
            // nor the new ones.
            if !error.is_out_of_space() {
                inner.distrust(&error);
            }
            return Err(error);
        }

        // Readers find the new place before the old one goes.
        inner.segments.write().packs.extend(self.packer.done.iter().cloned());
        inner
            .index
            .rearrange(|hash, location| match self.old.get(&u64::from(location.segment)) {
                None => Some(location),
                Some(old) if !old.marks.contains(location.offset) => None,
                Some(old) if old.kept => Some(location),
                Some(_) => {
                    let moved = self.moved.get(hash);
                    assert!(moved.is_some(), "what is alive was copied");
                    moved
                }
            });
        {
            let mut log = inner.log.lock();
            let mut segments = inner.segments.write();
            *segments = next;
            while log.roots.pop_front_if(|root| root.end < horizon).is_some() {}
            log.sealed
                .retain(|sealed| sealed.segment.header.number >= horizon.segment);
            log.dirty.retain(|segment| segment.header.number >= horizon.segment);
            log.begun_to_collect = None;
            log.published_end = log.published_end.max(horizon);
            log.pending_end = log.pending_end.max(horizon);
        }
        drop(turn);
        inner.cache.retain(|hash| inner.index.get(hash).is_some());
        self.remove_old_files().await;
        Ok(Collected {
            before: self.before,
            after: store.size(),
            copied_bytes: self.packer.done.iter().map(|pack| pack.bytes).sum(),
        })
    }

    /// The packs that stay, each with an index file that names only what is alive.
    async fn keep_packs(&mut self) -> Result<Vec<Pack>, ChunkError> {
        let inner = self.store.inner.clone();
        let mut kept = Vec::new();
        let packs = inner.segments.read().packs.clone();
        for mut pack in packs {
            let old = &self.old[&pack.number()];
            if !old.kept {
                continue;
            }
            let contents = super::seal::read_pack_index(&inner.disk, &pack)?;
            let all = contents.chunks.len();
            let alive = |chunk: &IndexedChunk| old.marks.contains(chunk.offset);
            let chunks: Vec<IndexedChunk> = contents.chunks.into_iter().filter(alive).collect();
            if chunks.len() < all {
                pack.generation += 1;
                inner.heed(write_pack_index(&inner.disk, &pack, chunks).await)?;
            }
            kept.push(pack);
        }
        Ok(kept)
    }

    /// The store does not name them any more; whoever still reads one holds it open.
    async fn remove_old_files(&self) {
        let disk = &self.store.inner.disk;
        let named = self.store.inner.segments.read().clone();
        let mut names = Vec::new();
        for (number, old) in &self.old {
            let pack = named.packs.iter().find(|pack| pack.number() == *number);
            if pack.is_none() {
                names.push(Segment::file_name(*number));
            }
            match old.generation {
                None => names.push(Segment::index_name(*number)),
                Some(generation) if pack.is_none_or(|pack| pack.generation != generation) => {
                    names.push(Segment::pack_index_name(*number, generation));
                }
                Some(_) => {}
            }
        }
        for name in names {
            if let Err(error) = disk.remove_file(&name)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(file = disk.describe(&name), %error, "a file that is no longer used is left");
            }
        }
        // They may come back with a power cut, and go at the next start.
        let synced = disk.sync_dir("").await;
        let _ = self
            .store
            .inner
            .heed(synced.map_err(ChunkError::io("sync", disk.describe(""))));
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.packer.remove_files();
        self.store.inner.end_collecting();
    }
}

impl Inner {
    /// Another collection may begin, and who closes the store goes on.
    fn end_collecting(&self) {
        self.collecting.store(false, Ordering::Release);
        self.rounds.send_modify(|round| *round += 1);
    }

    /// A disk that fails to make files durable is not to be trusted with the log either.
    pub(super) fn heed(&self, outcome: Result<(), ChunkError>) -> Result<(), ChunkError> {
        if let Err(error) = &outcome
            && !error.is_out_of_space()
            && !error.is_out_of_descriptors()
        {
            self.distrust(error);
        }
        outcome
    }

    fn distrust(&self, error: &ChunkError) {
        tracing::error!(%error, "store closed");
        self.log.lock().closed = Some(error.why_closed().into());
        self.rounds.send_modify(|round| *round += 1);
    }
}

/// Reads the record of a chunk as it is stored.
fn read_record(segment: &Segment, location: Location) -> Result<StoredChunk, ChunkError> {
    let offset = u64::from(location.offset);
    let mut bytes = vec![0; RECORD_HEAD_BYTES + HASH_BYTES + location.bytes as usize];
    let read = segment.file.read_at(&mut bytes, offset).map_err(segment.io("read"))?;
    let head = bytes.first_chunk().expect("the buffer holds a head");
    let head = RecordHead::parse(*head).map_err(|error| segment.corrupt(offset, detail(&error)))?;
    if read < bytes.len() || RECORD_HEAD_BYTES + head.payload_bytes() != bytes.len() {
        return Err(segment.corrupt(offset, "the record is not as long as the index says"));
    }
    let payload = Bytes::from(bytes).slice(RECORD_HEAD_BYTES..);
    match parse_record(segment.header.seed(), offset, head, payload) {
        Ok(Record::Chunk(chunk)) => Ok(chunk),
        Ok(Record::Root(..)) => Err(segment.corrupt(offset, "a root record where a chunk should be")),
        Err(error) => Err(segment.corrupt(offset, detail(&error))),
    }
}
