//! What lies in the log: the records of each segment, and where they stop being right.

use std::collections::VecDeque;

use super::{Found, RootAt};
use crate::chunk::ROOTS_KEPT;
use crate::chunk::error::ChunkError;
use crate::chunk::format::{IndexedChunk, Manifest, Position, Record, RootRecord, SegmentHeader, SyncedTo};
use crate::chunk::reader::{Segment, SegmentReader, Step};
use crate::chunk::seal::{Contents, read_index_file};
use crate::chunk::synced::ends_early;
use crate::chunk::write::offset_in_segment;
use crate::runtime::disk::Disk;
use crate::runtime::sometimes;

/// What one segment holds, by its index file or from reading it.
pub(super) struct Scanned {
    pub contents: Contents,
    pub was_indexed: bool,
    pub read_bytes: u64,
}

impl Scanned {
    fn of_index(contents: Contents) -> Scanned {
        Scanned {
            contents,
            was_indexed: true,
            read_bytes: 0,
        }
    }

    fn empty() -> Scanned {
        Scanned {
            contents: Contents::default(),
            was_indexed: false,
            read_bytes: 0,
        }
    }
}

/// The log as it is, up to the first bad place or its end.
pub(super) struct Scan {
    /// One for each segment up to where the scan stopped; those after it count for nothing.
    pub segments: Vec<Scanned>,
    pub root: RootRecord,
    pub roots: VecDeque<RootAt>,
    /// Where the last root record ends.
    pub root_end: Position,
    /// Everything before this was on the disk once.
    pub proven: Position,
    /// Why the scan stopped where it did.
    pub detail: String,
}

impl Scan {
    /// `synced` is where the log is known to have been synced to, whatever its own records say.
    pub fn of(disk: &Disk, found: &Found, manifest: &Manifest, synced: Option<Position>) -> Result<Scan, ChunkError> {
        let first = &found.segments[0].header;
        let header_bytes = SegmentHeader::BYTES as u64;
        let last_named = *manifest.segments.last().expect("a manifest names at least one segment");
        let mut scan = Scan {
            segments: Vec::new(),
            root: first.base,
            roots: VecDeque::new(),
            root_end: Position {
                segment: first.number,
                offset: header_bytes,
            },
            proven: synced.into_iter().fold(
                Position {
                    segment: last_named,
                    offset: header_bytes,
                },
                Position::max,
            ),
            detail: "chunks without a root".to_owned(),
        };
        for (i, segment) in found.segments.iter().enumerate() {
            let header = &segment.header;
            if i > 0 && !header.base.is_state_of(&scan.root) {
                let detail = "the segment does not continue the one before it";
                return scan.stopped(found, i, 0, detail);
            }
            // What a file has beyond the length that its successor tells is the rest of a write that failed.
            let told = found.segments.get(i + 1).map(|next| next.header.previous_bytes);
            let end = told.map_or(found.lengths[i], |told| told.min(found.lengths[i]));
            // Only of segments that the manifest proves whole: the tail is decided by what is on the disk.
            if header.number < last_named
                && told == Some(end)
                && let Some(contents) = read_index_file(disk, header, end)
                && scan.take_index(header.number, &contents)
            {
                scan.segments.push(Scanned::of_index(contents));
                continue;
            }
            if let Some((offset, detail)) = scan.read(segment, end)? {
                return scan.stopped(found, i, offset, detail);
            }
            if told.is_some_and(|told| told > end) {
                return scan.stopped(found, i, end, "the file is shorter than the segment after it tells");
            }
        }
        if let Some(synced) = synced
            && scan.root_end < synced
        {
            sometimes!("chunk.damage_refused");
            // The rest may be in a segment that is there and whose header cannot be read.
            if let Some((name, _)) = found.useless.first() {
                return Err(ChunkError::Corrupt {
                    file: disk.describe(name),
                    offset: 0,
                    detail: "the header cannot be read, though what follows it was synced".to_owned(),
                });
            }
            let last = found.segments.last().expect("a store has a segment");
            return Err(last.corrupt(found.lengths[found.lengths.len() - 1], ends_early(synced)));
        }
        Ok(scan)
    }

    /// Goes over the roots of a segment that is not read; false, and nothing done, when they do not follow.
    fn take_index(&mut self, number: u64, contents: &Contents) -> bool {
        let mut newest = self.root;
        for (root, _) in &contents.roots {
            if root.previous != newest.root || root.sequence != newest.sequence + 1 {
                return false;
            }
            newest = *root;
        }
        for (root, end) in &contents.roots {
            let end = Position {
                segment: number,
                offset: *end,
            };
            self.take_root(*root, end);
        }
        true
    }

    fn take_root(&mut self, record: RootRecord, end: Position) {
        self.root = record;
        self.root_end = end;
        self.roots.push_back(RootAt { record, end });
        if self.roots.len() > ROOTS_KEPT {
            self.roots.pop_front();
        }
    }

    /// Reads a segment; gives the bad place at which it stopped.
    fn read(&mut self, segment: &Segment, end: u64) -> Result<Option<(u64, &'static str)>, ChunkError> {
        let number = segment.header.number;
        let mut reader = SegmentReader::new(segment.clone(), SegmentHeader::BYTES as u64, end);
        self.segments.push(Scanned::empty());
        let mut doubted = None;
        loop {
            let at = self.segments.len() - 1;
            match reader.next()? {
                Step::Record {
                    offset,
                    record: Record::Chunk(chunk),
                } => self.segments[at].contents.chunks.push(IndexedChunk {
                    hash: chunk.hash,
                    offset: offset_in_segment(offset),
                    bytes: chunk.bytes.len() as u32,
                }),
                Step::Record {
                    offset,
                    record: Record::Root(record, synced),
                } => {
                    self.check_root(segment, offset, &record, synced)?;
                    self.proven = self.proven.max(synced);
                    self.segments[at].contents.roots.push((record, reader.offset()));
                    let end = Position {
                        segment: number,
                        offset: reader.offset(),
                    };
                    self.take_root(record, end);
                }
                Step::End => {
                    self.segments[at].read_bytes = end;
                    return Ok(None);
                }
                // What is cut is gone, and a disk that misreads once has it all the same: it is asked again.
                Step::Bad { offset, .. } if doubted != Some(offset) => {
                    doubted = Some(offset);
                    reader = SegmentReader::new(segment.clone(), offset, end);
                }
                Step::Bad { offset, detail } => {
                    self.segments[at].read_bytes = end;
                    return Ok(Some((offset, detail)));
                }
            }
        }
    }

    fn check_root(
        &self,
        segment: &Segment,
        offset: u64,
        record: &RootRecord,
        synced: SyncedTo,
    ) -> Result<(), ChunkError> {
        if record.previous != self.root.root || record.sequence != self.root.sequence + 1 {
            let detail = format!(
                "root {} after {} does not follow root {} {}",
                record.sequence, record.previous, self.root.sequence, self.root.root
            );
            return Err(segment.corrupt(offset, detail));
        }
        let here = Position {
            segment: segment.header.number,
            offset,
        };
        if synced > here {
            return Err(segment.corrupt(offset, "a root record claims a sync of what follows it"));
        }
        Ok(())
    }

    /// Decides about a bad place, having looked at everything behind it.
    fn stopped(mut self, found: &Found, index: usize, offset: u64, detail: &str) -> Result<Scan, ChunkError> {
        for (i, segment) in found.segments.iter().enumerate().skip(index) {
            let from = if i == index {
                offset + 1
            } else {
                SegmentHeader::BYTES as u64
            };
            let mut reader = SegmentReader::new(segment.clone(), from, found.lengths[i]);
            while let Some((at, synced)) = reader.next_root_anywhere()? {
                let here = Position {
                    segment: segment.header.number,
                    offset: at,
                };
                if synced <= here {
                    self.proven = self.proven.max(synced);
                }
            }
        }
        let segment = &found.segments[index];
        let here = Position {
            segment: segment.header.number,
            offset,
        };
        if here < self.proven {
            sometimes!("chunk.damage_refused");
            let detail = format!("{detail}, though it was synced");
            return Err(segment.corrupt(offset, detail));
        }
        self.detail = detail.to_owned();
        Ok(self)
    }
}
