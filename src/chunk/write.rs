//! The writing end of the log: batches are written at its tail, segments are begun and sealed.

use std::collections::VecDeque;
use std::sync::Arc;

use super::error::ChunkError;
use super::format::{
    CHUNK_BYTES_MAX, IndexedChunk, Position, ROOT_RECORD_BYTES, RootRecord, SegmentHeader, StoredChunk, encode_chunk,
    encode_root,
};
use super::index::Location;
use super::reader::Segment;
use super::recovery::RootAt;
use super::seal::{Contents, Sealed};
use super::store::Inner;
use super::{Hash, ROOTS_KEPT};
use crate::runtime::disk::{Disk, OpenMode};
use crate::runtime::{buggify, queue};

/// Writers that never ask for room are refused at this many times the bound.
const BACKLOG_REFUSED_AT: u64 = 8;

/// A batch is written in one piece up to this size; beyond it the copy in memory would cost more than a second write.
const WRITE_BYTES_MAX: usize = 32 << 20;

/// The state of the log's end, under one short lock.
pub(super) struct Log {
    pub active: Segment,
    /// What the active segment holds.
    pub contents: Contents,
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
    /// Segments that take no more records and have no index file yet.
    pub sealed: Vec<Sealed>,
    /// Bytes written since the last sync.
    pub backlog_bytes: u64,
    /// A segment was begun that the manifest does not name.
    pub manifest_is_behind: bool,
    /// The number of the segment that was begun for the last collection, unless that one succeeded.
    pub begun_to_collect: Option<u64>,
    pub closed: Option<Arc<str>>,
    pub sync: super::sync::SyncState,
}

impl Log {
    pub fn refuse_when_closed(&self) -> Result<(), ChunkError> {
        match &self.closed {
            Some(reason) => Err(ChunkError::Closed { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

/// What is to be written at once, and where its chunks will be.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    chunks: Vec<IndexedChunk>,
}

impl Inner {
    /// Writes a batch at the tail: in one piece unless it is larger than a segment or than memory should hold.
    pub(super) fn write(
        &self,
        log: &mut Log,
        chunks: &[StoredChunk],
        root: Option<&RootRecord>,
    ) -> Result<(), ChunkError> {
        log.refuse_when_closed()?;
        let limit = self.backlog_bytes_max.saturating_mul(BACKLOG_REFUSED_AT);
        if log.backlog_bytes >= limit {
            return Err(ChunkError::Busy {
                backlog: log.backlog_bytes,
                limit,
            });
        }
        if let Some(large) = chunks.iter().find(|chunk| chunk.bytes.len() > CHUNK_BYTES_MAX) {
            return Err(ChunkError::TooLarge {
                bytes: large.bytes.len() as u64,
                limit: CHUNK_BYTES_MAX as u64,
            });
        }
        let chunks: Vec<_> = chunks
            .iter()
            .filter(|chunk| !self.is_staged(log, &chunk.hash))
            .collect();
        let root_bytes = root.map_or(0, |_| ROOT_RECORD_BYTES as u64);
        let total = chunks.iter().map(|chunk| chunk.record_bytes()).sum::<u64>() + root_bytes;
        self.make_room(log, total)?;

        let mut piece = Piece::default();
        let mut shadowed = Vec::new();
        for chunk in chunks {
            let bytes = chunk.record_bytes();
            let segment_is_full = log.tail.offset + piece.bytes.len() as u64 + bytes > self.segment_bytes_max;
            if segment_is_full || piece.bytes.len() >= WRITE_BYTES_MAX {
                self.write_piece(log, std::mem::take(&mut piece), &mut shadowed)?;
                self.make_room(log, bytes)?;
            }
            piece.chunks.push(IndexedChunk {
                hash: chunk.hash,
                offset: offset_in_segment(log.tail.offset + piece.bytes.len() as u64),
                bytes: u32::try_from(chunk.bytes.len()).expect("a chunk fits a record"),
            });
            encode_chunk(&mut piece.bytes, log.active.header.seed(), log.tail.offset, chunk);
        }
        if let Some(record) = root {
            let end = log.tail.offset + piece.bytes.len() as u64 + root_bytes;
            if end > self.segment_bytes_max && !piece.bytes.is_empty() {
                self.write_piece(log, std::mem::take(&mut piece), &mut shadowed)?;
                self.make_room(log, root_bytes)?;
            }
            let (seed, start) = (log.active.header.seed(), log.tail.offset);
            encode_root(&mut piece.bytes, seed, start, record, log.synced);
        }
        self.write_piece(log, piece, &mut shadowed)?;
        queue!("chunk.backlog", log.backlog_bytes, limit + total);
        if let Some(record) = root {
            for (hash, location) in shadowed {
                self.index.insert(hash, location);
            }
            log.pending = *record;
            log.pending_end = log.tail;
            log.contents.roots.push((*record, log.tail.offset));
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
        let behind = |at: Location| log.pending_end <= at.position() && !at.is_in_pack();
        self.index.get(hash).is_some_and(behind)
    }

    /// Begins a new segment when `bytes` more do not fit the active one.
    fn make_room(&self, log: &mut Log, bytes: u64) -> Result<(), ChunkError> {
        let fits = log.tail.offset.saturating_add(bytes) <= self.segment_bytes_max;
        if fits && !buggify!("chunk.segment_full") {
            return Ok(());
        }
        self.seal_active(log)
    }

    /// Begins a new segment, unless the active one is empty.
    pub(super) fn seal_active(&self, log: &mut Log) -> Result<(), ChunkError> {
        if log.tail.offset == SegmentHeader::BYTES as u64 {
            return Ok(());
        }
        let header = SegmentHeader {
            store: self.store,
            number: log.active.header.number + 1,
            base: RootRecord {
                previous: Hash::NONE,
                ..log.pending
            },
            previous_bytes: log.tail.offset,
        };
        let segment = begin_segment(&self.disk, header)?;
        self.segments.write().log.push(segment.clone());
        log.sealed.push(Sealed {
            segment: std::mem::replace(&mut log.active, segment.clone()),
            bytes: log.tail.offset,
            contents: std::mem::take(&mut log.contents),
        });
        log.tail = Position {
            segment: header.number,
            offset: SegmentHeader::BYTES as u64,
        };
        log.dirty.push(segment);
        log.manifest_is_behind = true;
        Ok(())
    }

    /// Writes a piece and enters its chunks, but for those of which there is a copy already: they go to `shadowed`.
    ///
    /// The older copy counts until a root covers the new one. A root that is published may need it, and if no root
    /// follows, because another piece cannot be written, the next start cuts off the new one.
    fn write_piece(&self, log: &mut Log, piece: Piece, shadowed: &mut Vec<(Hash, Location)>) -> Result<(), ChunkError> {
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
        let number = segment.header.number;
        if log.dirty.last().is_none_or(|last| last.header.number != number) {
            log.dirty.push(segment.clone());
        }
        for chunk in &piece.chunks {
            let location = Location::of(number, chunk);
            if !self.index.insert_absent(chunk.hash, location) {
                shadowed.push((chunk.hash, location));
            }
        }
        log.contents.chunks.extend(piece.chunks);
        Ok(())
    }
}

pub(super) fn offset_in_segment(offset: u64) -> u32 {
    u32::try_from(offset).expect("no record begins beyond the largest size of a segment")
}

/// Creates the file of a segment. One of this name that is there is the rest of an earlier attempt: nothing names it.
pub(super) fn begin_segment(disk: &Disk, header: SegmentHeader) -> Result<Segment, ChunkError> {
    let file_name = Segment::file_name(header.number);
    let name: Arc<str> = disk.describe(&file_name).into();
    let io = |op| ChunkError::io(op, name.to_string());
    let file = disk.open(&file_name, OpenMode::CreateOrOpen).map_err(io("create"))?;
    file.set_len(0).map_err(io("truncate"))?;
    file.write_all_at(&header.encode(), 0).map_err(io("write"))?;
    Ok(Segment { header, file, name })
}
