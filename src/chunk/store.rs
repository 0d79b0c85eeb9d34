//! The store: what readers and writers hold.
//!
//! Writing is in two steps. [`ChunkStore::append`] writes a batch at the tail of the log, under a short lock;
//! [`ChunkStore::wait_published`] waits until a sync has covered it (`sync.rs`). Between the two the batch can be read,
//! because the next committer builds on it, but no reader is shown its root.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rand::RngCore;
use tokio::sync::watch;

use super::batch::ReadChunks;
use super::cache::{ChunkCache, StoreCache};
use super::error::ChunkError;
use super::format::{
    Manifest, PACK_NUMBER_BASE, PackEntry, Position, RECORD_HEAD_BYTES, Record, RecordHead, RootRecord, SegmentHeader,
    StoredChunk, decode_stored,
};
use super::index::{Index, Location};
use super::reader::{LogReader, Segment, SegmentReader, Step, detail};
use super::recovery::{Cut, MANIFEST, Recovered, Recovery, look, recover, write_manifest};
use super::seal::read_index_file;
use super::synced::TellSynced;
use super::write::{Log, begin_segment};
use super::{HASH_BYTES, Hash};
use crate::runtime::disk::Disk;
use crate::runtime::{self, WallTime, sometimes};

/// What may be set per store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// A segment takes no further batch once it would grow beyond this. A batch larger than it gets as many as it needs.
    pub segment_bytes_max: u64,
    /// How much may wait for a sync before [`ChunkStore::room`] holds writers back.
    pub backlog_bytes_max: u64,
    /// Chunks as they were read; clones share one bound, so one cache can serve all stores of a server.
    pub cache: ChunkCache,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            segment_bytes_max: 256 << 20,
            backlog_bytes_max: 64 << 20,
            cache: ChunkCache::new(64 << 20),
        }
    }
}

/// Offsets in the index are 32 bits.
const SEGMENT_BYTES_LIMIT: u64 = 2 << 30;

/// A store that cannot be read for so many times, with some time between, is not being collected but damaged.
const READ_ONLY_ATTEMPTS: u32 = 5;

/// A store of chunks with a sequence of roots. Clones are handles to the same store.
#[derive(Clone)]
pub struct ChunkStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub disk: Disk,
    pub tell_synced: TellSynced,
    pub store: [u8; 16],
    pub segment_bytes_max: u64,
    pub backlog_bytes_max: u64,
    pub cache: StoreCache,
    pub index: Index,
    pub segments: RwLock<Segments>,
    pub log: Mutex<Log>,
    /// The newest published root, for those who follow it.
    pub published: watch::Sender<RootRecord>,
    /// Counts the rounds of syncing, and collections that end; whoever waits for one looks again when it changes.
    pub rounds: watch::Sender<u64>,
    /// Who replaces the manifest holds this.
    pub manifest_turn: tokio::sync::Mutex<()>,
    pub collecting: AtomicBool,
}

/// The files that hold records, ascending by number.
#[derive(Debug, Clone)]
pub(super) struct Segments {
    pub packs: Vec<Pack>,
    pub next_pack: u64,
    pub log: Vec<Segment>,
}

/// What a collection kept.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub segment: Segment,
    pub bytes: u64,
    /// Of its index file.
    pub generation: u64,
}

impl Pack {
    pub fn number(&self) -> u64 {
        self.segment.header.number
    }

    pub fn index_name(&self) -> String {
        Segment::pack_index_name(self.number(), self.generation)
    }
}

impl Segments {
    fn get(&self, number: u32) -> Option<&Segment> {
        let number = u64::from(number);
        if number >= PACK_NUMBER_BASE {
            let at = self.packs.binary_search_by_key(&number, Pack::number);
            at.ok().map(|at| &self.packs[at].segment)
        } else {
            let at = self.log.binary_search_by_key(&number, |segment| segment.header.number);
            at.ok().map(|at| &self.log[at])
        }
    }

    /// A manifest that names the log up to the segment `last`.
    pub fn manifest(&self, store: [u8; 16], last: u64) -> Manifest {
        let packs = self.packs.iter().map(|pack| PackEntry {
            number: pack.number(),
            bytes: pack.bytes,
            generation: pack.generation,
        });
        let numbers = self.log.iter().map(|segment| segment.header.number);
        Manifest {
            store,
            next_pack: self.next_pack,
            packs: packs.collect(),
            segments: numbers.filter(|number| *number <= last).collect(),
        }
    }
}

/// What a store takes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSize {
    pub chunks: u64,
    /// Bytes of the log: everything since the last collection, garbage and all.
    pub log_bytes: u64,
    /// Bytes of what earlier collections kept.
    pub pack_bytes: u64,
}

impl ChunkStore {
    /// Makes an empty store in the folder `dir` of `disk`; it is durable when this returns.
    ///
    /// # Errors
    /// `AlreadyExists` when the folder holds a store or part of one, `Io`.
    pub async fn create(disk: &Disk, dir: &str, options: &StoreOptions) -> Result<ChunkStore, ChunkError> {
        let folder = disk.describe(dir);
        disk.create_dir_all(dir)
            .map_err(ChunkError::io("create", folder.clone()))?;
        let home = disk.sub(dir);
        let listing = home.list("").map_err(ChunkError::io("list", folder.clone()))?;
        // A header alone is what a creation leaves that a power cut has interrupted.
        let in_use = |name: &str, length| {
            name == MANIFEST || (Segment::number(name).is_some() && length > SegmentHeader::BYTES as u64)
        };
        if listing.iter().any(|entry| in_use(&entry.name, entry.len)) {
            return Err(ChunkError::AlreadyExists { path: folder });
        }
        let mut store = [0; 16];
        runtime::rng("store id").fill_bytes(&mut store);
        let header = SegmentHeader {
            store,
            number: 1,
            base: RootRecord::NONE,
            previous_bytes: 0,
        };
        let first = begin_segment(&home, header)?;
        first.file.sync().await.map_err(first.io("sync"))?;
        home.sync_dir("")
            .await
            .map_err(ChunkError::io("sync", folder.clone()))?;
        write_manifest(
            &home,
            &Manifest {
                store,
                next_pack: PACK_NUMBER_BASE,
                packs: Vec::new(),
                segments: vec![1],
            },
        )
        .await?;
        disk.sync_dirs_to_root(dir)
            .await
            .map_err(ChunkError::io("sync", folder))?;
        Ok(ChunkStore::open(disk, dir, options).await?.0)
    }

    /// Opens the store in the folder `dir` of `disk`, after whatever befell it.
    ///
    /// # Errors
    /// `NotAStore`, `NewerFormat`, `Corrupt` when something that was synced is damaged, `Io`. Nothing was changed then.
    pub async fn open(disk: &Disk, dir: &str, options: &StoreOptions) -> Result<(ChunkStore, Recovery), ChunkError> {
        let home = disk.sub(dir);
        let found = recover(&home).await?;
        let recovery = Recovery {
            root: found.root,
            segments: found.segments.log.len() + found.segments.packs.len(),
            chunks: found.index.len(),
            read_bytes: found.read_bytes,
            cut: found.cut.clone(),
        };
        if let Some(Cut {
            file,
            offset,
            bytes,
            detail,
        }) = &found.cut
        {
            tracing::warn!(
                file,
                offset,
                bytes,
                detail,
                "the end of the log is cut off: a write that was under way when the last process ended, or, if it ended in order, \
                 damage to the newest commits"
            );
        }
        let tell_synced = TellSynced::open(&home, found.store);
        Ok((ChunkStore::assemble(home, found, options, tell_synced), recovery))
    }

    fn assemble(home: Disk, found: Recovered, options: &StoreOptions, tell_synced: TellSynced) -> ChunkStore {
        let root_end = found.roots.back().map_or(found.end, |root| root.end);
        // A log without a root has no end of one; its chunks are cut at the next start, and nobody may miss them.
        if !found.roots.is_empty() {
            tell_synced.tell(root_end);
        }
        let log = Log {
            active: found.segments.log.last().expect("a store has a segment").clone(),
            contents: found.contents,
            tail: found.end,
            synced: found.end,
            pending: found.root,
            published: found.root,
            published_end: root_end,
            pending_end: root_end,
            roots: found.roots,
            dirty: Vec::new(),
            sealed: Vec::new(),
            backlog_bytes: 0,
            manifest_is_behind: false,
            begun_to_collect: None,
            closed: None,
            sync: super::sync::SyncState::default(),
        };
        let inner = Inner {
            disk: home,
            tell_synced,
            store: found.store,
            segment_bytes_max: options.segment_bytes_max.min(SEGMENT_BYTES_LIMIT),
            backlog_bytes_max: options.backlog_bytes_max,
            cache: options.cache.for_store(),
            index: found.index,
            segments: RwLock::new(found.segments),
            log: Mutex::new(log),
            published: watch::Sender::new(found.root),
            rounds: watch::Sender::new(0),
            manifest_turn: tokio::sync::Mutex::default(),
            collecting: AtomicBool::new(false),
        };
        ChunkStore { inner: Arc::new(inner) }
    }

    /// Opens the store to read what its newest root refers to, and changes nothing: another process may have it open
    /// and go on writing.
    ///
    /// The newest root is the newest that is whole, synced or not. Nothing can be appended.
    ///
    /// # Errors
    /// As [`ChunkStore::open`].
    pub async fn open_read_only(disk: &Disk, dir: &str, options: &StoreOptions) -> Result<ChunkStore, ChunkError> {
        let mut attempts = 0;
        loop {
            match ChunkStore::open_unchanging(disk, dir, options) {
                Ok(store) => return Ok(store),
                // A collection may exchange files between our reading the manifest and opening them.
                Err(error) if attempts == READ_ONLY_ATTEMPTS => return Err(error),
                Err(_) => attempts += 1,
            }
            runtime::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same of a store that nobody writes.
    ///
    /// # Errors
    /// As [`ChunkStore::open`].
    pub fn open_unchanging(disk: &Disk, dir: &str, options: &StoreOptions) -> Result<ChunkStore, ChunkError> {
        let home = disk.sub(dir);
        let found = look(&home)?;
        let nobody = TellSynced::none(found.store);
        let store = ChunkStore::assemble(home, found, options, nobody);
        store.inner.log.lock().closed = Some("it was opened for reading only".into());
        Ok(store)
    }

    /// The newest root that is on the disk; [`RootRecord::NONE`] in a new store.
    pub fn published(&self) -> RootRecord {
        self.inner.log.lock().published
    }

    /// The newest root that was appended: what the next committer builds on.
    pub fn pending(&self) -> RootRecord {
        self.inner.log.lock().pending
    }

    /// Follows [`ChunkStore::published`].
    pub fn watch_published(&self) -> watch::Receiver<RootRecord> {
        self.inner.published.subscribe()
    }

    /// How many chunks the store holds.
    #[cfg(all(test, not(madsim)))]
    pub(crate) fn chunk_count(&self) -> u64 {
        self.inner.index.len()
    }

    /// How much the store takes on the disk.
    pub fn size(&self) -> StoreSize {
        let tail = self.inner.log.lock().tail;
        let segments = self.inner.segments.read();
        // A segment's successor tells its length; the last one ends at the tail.
        let sealed = segments.log.iter().skip(1).map(|segment| segment.header.previous_bytes);
        StoreSize {
            chunks: self.inner.index.len(),
            log_bytes: sealed.sum::<u64>() + tail.offset,
            pack_bytes: segments.packs.iter().map(|pack| pack.bytes).sum(),
        }
    }

    /// Appends new chunks and a root that may refer to them, in one write. The root is not durable and not visible
    /// until [`ChunkStore::wait_published`] says so.
    ///
    /// # Errors
    /// `Closed` after a failed sync, `Busy`, `TooLarge`, `Io` (no space left, say): the root was not appended.
    pub fn append(
        &self,
        chunks: Vec<(Hash, Bytes)>,
        root: Hash,
        epoch: u64,
        time: WallTime,
    ) -> Result<RootRecord, ChunkError> {
        let stored = stored(&chunks);
        let mut log = self.inner.log.lock();
        let record = RootRecord {
            sequence: log.pending.sequence + 1,
            root,
            previous: log.pending.root,
            epoch,
            time,
        };
        self.inner.write(&mut log, &stored, Some(&record))?;
        self.inner.hold_backlog(&mut log);
        drop(log);
        for (hash, chunk) in &chunks {
            self.inner.cache.put_copy(*hash, chunk);
        }
        Ok(record)
    }

    /// Appends chunks that a later root will refer to. If none does before a power cut, they are cut off.
    ///
    /// # Errors
    /// As [`ChunkStore::append`]; some of the chunks may have been appended.
    pub fn append_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), ChunkError> {
        let stored = stored(&chunks);
        let mut log = self.inner.log.lock();
        self.inner.write(&mut log, &stored, None)?;
        self.inner.hold_backlog(&mut log);
        Ok(())
    }

    /// Streams the log behind the newest root record that names `after`, as far as it is published; behind
    /// [`Hash::NONE`], all of it. `None` when this log knows no such root.
    ///
    /// # Errors
    /// What reading the log answers.
    pub fn read_log_after(&self, after: Hash) -> Result<Option<LogReader>, ChunkError> {
        self.inner.read_log_after(after)
    }

    /// The newest published roots, newest first: at most `limit`, and at most as many as are kept in memory.
    #[cfg(all(test, not(madsim)))]
    pub(crate) fn recent_roots(&self, limit: usize) -> Vec<RootRecord> {
        let log = self.inner.log.lock();
        let published = log.published.sequence;
        let newest_first = log.roots.iter().rev().map(|root| root.record);
        newest_first
            .filter(|record| record.sequence <= published)
            .take(limit)
            .collect()
    }
}

/// Encoded before the log's lock is taken: compression takes longer than the write.
fn stored(chunks: &[(Hash, Bytes)]) -> Vec<StoredChunk> {
    let encode = |(hash, chunk): &(Hash, Bytes)| {
        debug_assert_eq!(*hash, Hash::of(chunk), "a chunk is named by its hash");
        StoredChunk::encode(*hash, chunk)
    };
    chunks.iter().map(encode).collect()
}

impl ReadChunks for ChunkStore {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        let inner = &*self.inner;
        if let Some(chunk) = inner.cache.get(hash) {
            return Ok(chunk);
        }
        let chunk = inner.read(hash)?;
        inner.cache.put(*hash, chunk.clone());
        // A collection may have dropped it meanwhile, and does not look at what is cached behind its back.
        if inner.index.get(hash).is_none() {
            inner.cache.remove(hash);
        }
        Ok(chunk)
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.inner.index.get(hash).is_some()
    }
}

impl fmt::Debug for ChunkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.inner.log.lock();
        write!(
            f,
            "ChunkStore({}, root {} {})",
            self.inner.disk.describe(""),
            log.published.sequence,
            log.published.root
        )
    }
}

impl Inner {
    /// Reads a chunk from its file.
    pub(super) fn read(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        loop {
            let location = self.index.get(hash).ok_or(ChunkError::Missing { hash: *hash })?;
            let segment = self.segments.read().get(location.segment).cloned();
            // A collection moves chunks before it gives up the file in which they were: look again.
            if let Some(segment) = segment {
                return read_chunk(&segment, hash, location);
            }
            sometimes!("chunk.read_again");
        }
    }

    fn read_log_after(&self, after: Hash) -> Result<Option<LogReader>, ChunkError> {
        let (segments, end, known, oldest_known) = {
            let log = self.log.lock();
            let segments = self.segments.read().log.clone();
            let published = log.published.sequence;
            let mut roots = log.roots.iter().rev().filter(|root| root.record.sequence <= published);
            let known = roots.find(|root| root.record.root == after).map(|root| root.end);
            (
                segments,
                log.published_end,
                known,
                log.roots.front().map(|root| root.record.sequence),
            )
        };
        let first = &segments[0].header;
        let start = Position {
            segment: first.number,
            offset: SegmentHeader::BYTES as u64,
        };
        let from = match known {
            Some(from) => from,
            None if oldest_known.is_some_and(|oldest| oldest > first.base.sequence + 1) => {
                match find_root(&self.disk, &segments, after, end)? {
                    Some(from) => from,
                    None if first.base.root == after => start,
                    None => return Ok(None),
                }
            }
            None if first.base.root == after => start,
            None => return Ok(None),
        };
        let range = from.segment..=end.segment;
        let segments = segments
            .into_iter()
            .filter(|segment| range.contains(&segment.header.number))
            .collect();
        LogReader::new(segments, from, end).map(Some)
    }
}

/// Reads a chunk where the index says that it lies, and verifies it.
pub(super) fn read_chunk(segment: &Segment, hash: &Hash, location: Location) -> Result<Bytes, ChunkError> {
    let offset = u64::from(location.offset);
    let corrupt = |detail: String| segment.corrupt(offset, detail);
    let mut bytes = vec![0; RECORD_HEAD_BYTES + HASH_BYTES + location.bytes as usize];
    let read = segment.file.read_at(&mut bytes, offset).map_err(segment.io("read"))?;
    if read < bytes.len() {
        return Err(corrupt(format!("the file ends within chunk {hash}")));
    }
    let head = bytes.first_chunk().expect("the buffer holds a head");
    let codec = match RecordHead::parse(*head) {
        Ok(head) if head.is_chunk() && head.payload_bytes() == HASH_BYTES + location.bytes as usize => head.codec(),
        _ => return Err(corrupt(format!("there is no record of chunk {hash} here"))),
    };
    let stored = Bytes::from(bytes).slice(RECORD_HEAD_BYTES + HASH_BYTES..);
    let chunk = decode_stored(codec, stored).map_err(|error| corrupt(format!("chunk {hash}: {}", detail(&error))))?;
    if Hash::of(&chunk) != *hash {
        return Err(corrupt(format!("the bytes of chunk {hash} do not have its hash")));
    }
    Ok(chunk)
}

/// Looks for a root that is too old to be kept in memory: through the segments, newest first. What their index files say
/// is believed; only a segment without one is read.
fn find_root(disk: &Disk, segments: &[Segment], root: Hash, end: Position) -> Result<Option<Position>, ChunkError> {
    for (i, segment) in segments.iter().enumerate().rev() {
        let number = segment.header.number;
        if number > end.segment {
            continue;
        }
        let until = match segments.get(i + 1) {
            _ if number == end.segment => end.offset,
            Some(next) => next.header.previous_bytes,
            None => end.offset,
        };
        if number < end.segment
            && let Some(contents) = read_index_file(disk, &segment.header, until)
        {
            let newest = contents.roots.iter().rev().find(|(record, _)| record.root == root);
            if let Some((_, offset)) = newest {
                return Ok(Some(Position {
                    segment: number,
                    offset: *offset,
                }));
            }
            continue;
        }
        let mut reader = SegmentReader::new(segment.clone(), SegmentHeader::BYTES as u64, until);
        let mut found = None;
        loop {
            match reader.next()? {
                Step::Record {
                    record: Record::Root(record, _),
                    ..
                } if record.root == root => {
                    found = Some(Position {
                        segment: number,
                        offset: reader.offset(),
                    });
                }
                Step::Record { .. } => {}
                Step::End => break,
                Step::Bad { offset, detail } => return Err(segment.corrupt(offset, detail)),
            }
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
