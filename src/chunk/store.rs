//! The store: what readers and writers hold.
//!
//! Writing is in two steps. [`ChunkStore::append`] writes a batch at the tail of the log, under a short lock;
//! [`ChunkStore::wait_published`] waits until a sync has covered it (`sync.rs`). Between the two the batch can be read,
//! because the next committer builds on it, but no reader is shown its root.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rand::RngCore;
use tokio::sync::watch;

use super::batch::ReadChunks;
use super::cache::{ChunkCache, StoreCache};
use super::error::ChunkError;
use super::format::{
    CHUNK_BYTES_MAX, Manifest, Position, RECORD_HEAD_BYTES, ROOT_RECORD_BYTES, RootRecord, SegmentHeader,
    chunk_record_bytes, encode_chunk, encode_root,
};
use super::index::{Index, Location};
use super::reader::{LogReader, Segment, SegmentReader, Step};
use super::recovery::{MANIFEST, Recovery, RootAt, location, recover, write_manifest};
use super::{HASH_BYTES, Hash, ROOTS_KEPT};
use crate::runtime::disk::{Disk, OpenMode};
use crate::runtime::{self, WallTime};

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

/// Writers that never ask for room are refused at this many times the bound.
const BACKLOG_REFUSED_AT: u64 = 8;

/// A batch is written in one piece up to this size; beyond it the copy in memory would cost more than a second write.
const WRITE_BYTES_MAX: usize = 32 << 20;

/// A store of chunks with a sequence of roots. Clones are handles to the same store.
#[derive(Clone)]
pub struct ChunkStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub disk: Disk,
    store: [u8; 16],
    segment_bytes_max: u64,
    pub backlog_bytes_max: u64,
    cache: StoreCache,
    index: RwLock<Index>,
    /// Ascending by number.
    segments: RwLock<Vec<Segment>>,
    pub log: Mutex<Log>,
    /// The newest published root, for those who follow it.
    pub published: watch::Sender<RootRecord>,
    /// Counts the rounds of syncing; whoever waits for one looks again when it changes.
    pub rounds: watch::Sender<u64>,
}

/// The writing end of the log.
pub(super) struct Log {
    pub active: Segment,
    pub tail: Position,
    /// Everything before this is on the disk.
    pub synced: Position,
    pub pending: RootRecord,
    pub published: RootRecord,
    /// Where the published root's record ends.
    pub published_end: Position,
    /// Where the pending root's record ends; what lies behind was staged for a root to come.
    pub pending_end: Position,
    /// The newest roots with their places, as far as the pending one; at least all that are not published.
    pub roots: VecDeque<RootAt>,
    /// Segments written to since the last sync, each once.
    pub dirty: Vec<Segment>,
    /// Bytes written since the last sync.
    pub backlog_bytes: u64,
    /// A segment was begun that the manifest does not name.
    pub manifest_is_behind: bool,
    pub closed: Option<Arc<str>>,
    pub sync: super::sync::SyncState,
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
            base_sequence: 0,
            base_root: Hash::NONE,
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
            segments: found.segments.len(),
            chunks: found.index.len(),
            cut: found.cut,
        };
        let root_end = found.roots.back().map_or(found.end, |root| root.end);
        let log = Log {
            active: found.segments.last().expect("a store has a segment").clone(),
            tail: found.end,
            synced: found.end,
            pending: found.root,
            published: found.root,
            published_end: root_end,
            pending_end: root_end,
            roots: found.roots,
            dirty: Vec::new(),
            backlog_bytes: 0,
            manifest_is_behind: false,
            closed: None,
            sync: super::sync::SyncState::default(),
        };
        let inner = Inner {
            disk: home,
            store: found.store,
            segment_bytes_max: options.segment_bytes_max.min(SEGMENT_BYTES_LIMIT),
            backlog_bytes_max: options.backlog_bytes_max,
            cache: options.cache.for_store(),
            index: RwLock::new(found.index),
            segments: RwLock::new(found.segments),
            log: Mutex::new(log),
            published: watch::Sender::new(found.root),
            rounds: watch::Sender::new(0),
        };
        Ok((ChunkStore { inner: Arc::new(inner) }, recovery))
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
    pub fn chunk_count(&self) -> u64 {
        self.inner.index.read().len()
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
        let mut log = self.inner.log.lock();
        let record = RootRecord {
            sequence: log.pending.sequence + 1,
            root,
            previous: log.pending.root,
            epoch,
            time,
        };
        self.inner.write(&mut log, &chunks, Some(&record))?;
        self.inner.hold_backlog(&mut log);
        drop(log);
        for (hash, chunk) in chunks {
            self.inner.cache.put(hash, chunk);
        }
        Ok(record)
    }

    /// Appends chunks that a later root will refer to. If none does before a power cut, they are cut off.
    ///
    /// # Errors
    /// As [`ChunkStore::append`]; some of the chunks may have been appended.
    pub fn append_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), ChunkError> {
        let mut log = self.inner.log.lock();
        self.inner.write(&mut log, &chunks, None)?;
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
    pub fn recent_roots(&self, limit: usize) -> Vec<RootRecord> {
        let log = self.inner.log.lock();
        let published = log.published.sequence;
        let newest_first = log.roots.iter().rev().map(|root| root.record);
        newest_first
            .filter(|record| record.sequence <= published)
            .take(limit)
            .collect()
    }
}

impl ReadChunks for ChunkStore {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        let inner = &*self.inner;
        if let Some(chunk) = inner.cache.get(hash) {
            return Ok(chunk);
        }
        let location = inner
            .index
            .read()
            .get(hash)
            .ok_or(ChunkError::Missing { hash: *hash })?;
        let chunk = inner.read(hash, location)?;
        inner.cache.put(*hash, chunk.clone());
        Ok(chunk)
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.inner.index.read().get(hash).is_some()
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
    fn read(&self, hash: &Hash, location: Location) -> Result<Bytes, ChunkError> {
        let segment = {
            let segments = self.segments.read();
            let at = segments.binary_search_by_key(&u64::from(location.segment), |segment| segment.header.number);
            segments[at.expect("the index names segments of this store")].clone()
        };
        let offset = u64::from(location.offset) + (RECORD_HEAD_BYTES + HASH_BYTES) as u64;
        let mut bytes = vec![0; location.bytes as usize];
        let read = segment.file.read_at(&mut bytes, offset).map_err(segment.io("read"))?;
        if read < bytes.len() {
            return Err(segment.corrupt(u64::from(location.offset), format!("the file ends within chunk {hash}")));
        }
        if Hash::of(&bytes) != *hash {
            let detail = format!("the bytes of chunk {hash} do not have its hash");
            return Err(segment.corrupt(u64::from(location.offset), detail));
        }
        Ok(bytes.into())
    }

    /// Writes a batch at the tail: in one piece unless it is larger than a segment or than memory should hold.
    fn write(&self, log: &mut Log, chunks: &[(Hash, Bytes)], root: Option<&RootRecord>) -> Result<(), ChunkError> {
        if let Some(reason) = &log.closed {
            return Err(ChunkError::Closed { reason: reason.clone() });
        }
        let limit = self.backlog_bytes_max.saturating_mul(BACKLOG_REFUSED_AT);
        if log.backlog_bytes >= limit {
            return Err(ChunkError::Busy {
                backlog: log.backlog_bytes,
                limit,
            });
        }
        if let Some((_, large)) = chunks.iter().find(|(_, chunk)| chunk.len() > CHUNK_BYTES_MAX) {
            return Err(ChunkError::TooLarge {
                bytes: large.len() as u64,
                limit: CHUNK_BYTES_MAX as u64,
            });
        }
        let chunks: Vec<_> = chunks.iter().filter(|(hash, _)| !self.is_staged(log, hash)).collect();
        let root_bytes = root.map_or(0, |_| ROOT_RECORD_BYTES as u64);
        let total = chunks.iter().map(|(_, chunk)| chunk_record_bytes(chunk)).sum::<u64>() + root_bytes;
        self.make_room(log, total)?;

        let mut piece = Piece::default();
        for (hash, chunk) in chunks {
            debug_assert_eq!(*hash, Hash::of(chunk), "a chunk is named by its hash");
            let bytes = chunk_record_bytes(chunk);
            let segment_is_full = log.tail.offset + piece.bytes.len() as u64 + bytes > self.segment_bytes_max;
            if segment_is_full || piece.bytes.len() >= WRITE_BYTES_MAX {
                self.write_piece(log, std::mem::take(&mut piece))?;
                self.make_room(log, bytes)?;
            }
            let offset = log.tail.offset + piece.bytes.len() as u64;
            encode_chunk(&mut piece.bytes, log.active.header.seed(), log.tail.offset, hash, chunk);
            piece
                .chunks
                .push((*hash, location(log.active.header.number, offset, chunk.len())));
        }
        if let Some(record) = root {
            let end = log.tail.offset + piece.bytes.len() as u64 + root_bytes;
            if end > self.segment_bytes_max && !piece.bytes.is_empty() {
                self.write_piece(log, std::mem::take(&mut piece))?;
                self.make_room(log, root_bytes)?;
            }
            encode_root(
                &mut piece.bytes,
                log.active.header.seed(),
                log.tail.offset,
                record,
                log.synced,
            );
        }
        self.write_piece(log, piece)?;
        if let Some(record) = root {
            log.pending = *record;
            log.pending_end = log.tail;
            log.roots.push_back(RootAt {
                record: *record,
                end: log.tail,
            });
            while log.roots.len() > ROOTS_KEPT && log.roots[0].record.sequence < log.published.sequence {
                log.roots.pop_front();
            }
        }
        Ok(())
    }

    /// Whether a chunk was already written behind the last root. Older copies do not count: see [`super::ChunkBatch`].
    fn is_staged(&self, log: &Log, hash: &Hash) -> bool {
        if log.pending_end == log.tail {
            return false;
        }
        self.index.read().get(hash).is_some_and(|at| {
            log.pending_end
                <= Position {
                    segment: u64::from(at.segment),
                    offset: u64::from(at.offset),
                }
        })
    }

    /// Begins a new segment when `bytes` more do not fit the active one.
    fn make_room(&self, log: &mut Log, bytes: u64) -> Result<(), ChunkError> {
        let fits = log.tail.offset.saturating_add(bytes) <= self.segment_bytes_max;
        if fits || log.tail.offset == SegmentHeader::BYTES as u64 {
            return Ok(());
        }
        let header = SegmentHeader {
            store: self.store,
            number: log.active.header.number + 1,
            base_sequence: log.pending.sequence,
            base_root: log.pending.root,
            previous_bytes: log.tail.offset,
        };
        let segment = begin_segment(&self.disk, header)?;
        self.segments.write().push(segment.clone());
        log.tail = Position {
            segment: header.number,
            offset: SegmentHeader::BYTES as u64,
        };
        log.active = segment.clone();
        log.dirty.push(segment);
        log.manifest_is_behind = true;
        Ok(())
    }

    fn write_piece(&self, log: &mut Log, piece: Piece) -> Result<(), ChunkError> {
        if piece.bytes.is_empty() {
            return Ok(());
        }
        let segment = &log.active;
        if let Err(error) = segment.file.write_all_at(&piece.bytes, log.tail.offset) {
            // What it did write must not stay behind the tail, where a shorter batch would not cover it.
            if let Err(error) = segment.file.set_len(log.tail.offset) {
                log.closed =
                    Some(format!("{}: after a failed write it cannot be truncated: {error}", segment.name).into());
                self.rounds.send_modify(|round| *round += 1);
            }
            return Err(segment.io("write")(error));
        }
        log.tail.offset += piece.bytes.len() as u64;
        log.backlog_bytes += piece.bytes.len() as u64;
        if log
            .dirty
            .last()
            .is_none_or(|last| last.header.number != segment.header.number)
        {
            log.dirty.push(segment.clone());
        }
        let mut index = self.index.write();
        for (hash, location) in piece.chunks {
            index.insert(hash, location);
        }
        Ok(())
    }

    pub(super) fn manifest(&self) -> Manifest {
        let segments = self
            .segments
            .read()
            .iter()
            .map(|segment| segment.header.number)
            .collect();
        Manifest {
            store: self.store,
            segments,
        }
    }

    fn read_log_after(&self, after: Hash) -> Result<Option<LogReader>, ChunkError> {
        let (segments, end, known, oldest_known) = {
            let log = self.log.lock();
            let segments = self.segments.read().clone();
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
            None if oldest_known.is_some_and(|oldest| oldest > first.base_sequence + 1) => {
                match find_root(&segments, after, end)? {
                    Some(from) => from,
                    None if first.base_root == after => start,
                    None => return Ok(None),
                }
            }
            None if first.base_root == after => start,
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

/// What is to be written at once, and where its chunks will be.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    chunks: Vec<(Hash, Location)>,
}

/// Creates the file of a segment. One of this name that is there is the rest of an earlier attempt: nothing names it.
fn begin_segment(disk: &Disk, header: SegmentHeader) -> Result<Segment, ChunkError> {
    let file_name = Segment::file_name(header.number);
    let name: Arc<str> = disk.describe(&file_name).into();
    let io = |op| ChunkError::io(op, name.to_string());
    let file = disk.open(&file_name, OpenMode::CreateOrOpen).map_err(io("create"))?;
    file.set_len(0).map_err(io("truncate"))?;
    file.write_all_at(&header.encode(), 0).map_err(io("write"))?;
    Ok(Segment { header, file, name })
}

/// Looks for a root that is too old to be kept in memory: through the segments, newest first.
fn find_root(segments: &[Segment], root: Hash, end: Position) -> Result<Option<Position>, ChunkError> {
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
        let mut reader = SegmentReader::new(segment.clone(), SegmentHeader::BYTES as u64, until);
        let mut found = None;
        loop {
            match reader.next()? {
                Step::Record {
                    record: super::format::Record::Root(record, _),
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
