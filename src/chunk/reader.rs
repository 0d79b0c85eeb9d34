//! Reads records off a segment, in order, through one bounded buffer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::error::ChunkError;
use super::format::{
    FORMAT_VERSION, FormatError, PACK_NUMBER_BASE, Position, RECORD_HEAD_BYTES, ROOT_MARK, ROOT_RECORD_BYTES, Record,
    RecordHead, RootRecord, Seed, SegmentHeader, SyncedTo, decode_stored, parse_record,
};
use crate::runtime::disk::File;

/// How much is read at once; a record larger than this is read alone.
const READ_BYTES: usize = 256 << 10;

/// How much is given up with a sector that cannot be read: what the system reads at least.
pub(super) const READ_AROUND_BYTES: u64 = 4096;

/// An open segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub header: SegmentHeader,
    pub file: File,
    /// How the file is called in messages.
    pub name: Arc<str>,
}

impl Segment {
    /// `log-00000001.seg` for a segment of the log, `pack-00000001.seg` for what a collection kept.
    pub fn file_name(number: u64) -> String {
        format!("{}.seg", Segment::stem(number))
    }

    /// The name of the file that says what a segment of the log holds.
    pub fn index_name(number: u64) -> String {
        format!("{}.idx", Segment::stem(number))
    }

    /// The name of the file that says what is alive in a pack.
    pub fn pack_index_name(number: u64, generation: u64) -> String {
        format!("{}.{generation}.idx", Segment::stem(number))
    }

    fn stem(number: u64) -> String {
        match number.checked_sub(PACK_NUMBER_BASE) {
            Some(pack) => format!("pack-{pack:08}"),
            None => format!("log-{number:08}"),
        }
    }

    /// The number of a segment with this file name, of the log or a pack.
    pub fn number(file_name: &str) -> Option<u64> {
        let stem = file_name.strip_suffix(".seg")?;
        let number = match (stem.strip_prefix("log-"), stem.strip_prefix("pack-")) {
            (Some(number), _) => number.parse().ok()?,
            (_, Some(number)) => PACK_NUMBER_BASE.checked_add(number.parse().ok()?)?,
            (None, None) => return None,
        };
        (Segment::file_name(number) == file_name).then_some(number)
    }

    pub fn io(&self, op: &'static str) -> impl FnOnce(std::io::Error) -> ChunkError + use<> {
        ChunkError::io(op, self.name.to_string())
    }

    pub fn corrupt(&self, offset: u64, detail: impl Into<String>) -> ChunkError {
        ChunkError::Corrupt {
            file: self.name.to_string(),
            offset,
            detail: detail.into(),
        }
    }
}

/// Turns what the bytes of a file are not into an error about that file.
pub(super) fn format_error(file: &str, offset: u64, error: &FormatError) -> ChunkError {
    match error {
        FormatError::Newer { found } => ChunkError::NewerFormat {
            file: file.to_owned(),
            found: *found,
            supported: FORMAT_VERSION,
        },
        FormatError::Older { found } => ChunkError::OlderFormat {
            file: file.to_owned(),
            found: *found,
            supported: FORMAT_VERSION,
        },
        FormatError::Damaged { detail } => ChunkError::Corrupt {
            file: file.to_owned(),
            offset,
            detail: (*detail).to_owned(),
        },
    }
}

/// What came of reading on.
#[derive(Debug)]
pub(super) enum Step {
    Record {
        offset: u64,
        record: Record,
    },
    /// The end of the segment, between records.
    End,
    /// No whole record is at `offset`.
    Bad {
        offset: u64,
        detail: &'static str,
    },
}

/// A place in a segment, and what was read ahead of it.
pub(super) struct SegmentReader {
    segment: Segment,
    seed: Seed,
    /// Reads nothing from here on.
    end: u64,
    offset: u64,
    buffer: BytesMut,
    /// For a reader that goes on: where blocks begin that could not be read, and why. They read as zeros.
    unreadable: Option<BTreeMap<u64, String>>,
}

impl SegmentReader {
    pub fn new(segment: Segment, from: u64, end: u64) -> SegmentReader {
        let seed = segment.header.seed();
        SegmentReader {
            segment,
            seed,
            end,
            offset: from,
            buffer: BytesMut::new(),
            unreadable: None,
        }
    }

    /// A reader to which a block that the disk does not give is zeros, in which no record is.
    pub fn that_goes_on(segment: Segment, from: u64, end: u64) -> SegmentReader {
        SegmentReader {
            unreadable: Some(BTreeMap::new()),
            ..SegmentReader::new(segment, from, end)
        }
    }

    /// The blocks of [`READ_AROUND_BYTES`] that the disk did not give, by their offsets, and why not.
    pub fn into_unreadable(self) -> BTreeMap<u64, String> {
        self.unreadable.unwrap_or_default()
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Has at least `bytes` in the buffer, or all there is before the end.
    fn fill(&mut self, bytes: usize) -> Result<bool, ChunkError> {
        if self.buffer.len() >= bytes {
            return Ok(true);
        }
        let rest = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        if rest < bytes {
            return Ok(false);
        }
        // A fresh buffer each time: slices of the old one may be alive as chunks.
        let mut next = BytesMut::zeroed(bytes.max(READ_BYTES.min(rest)));
        let have = self.buffer.len();
        next[..have].copy_from_slice(&self.buffer);
        let from = self.offset + have as u64;
        let read = match (self.segment.file.read_at(&mut next[have..], from), &mut self.unreadable) {
            (Err(_), Some(unreadable)) => read_around(&self.segment.file, &mut next[have..], from, unreadable),
            (read, _) => read.map_err(self.segment.io("read"))?,
        };
        next.truncate(have + read);
        self.buffer = next;
        Ok(self.buffer.len() >= bytes)
    }

    pub fn next(&mut self) -> Result<Step, ChunkError> {
        let offset = self.offset;
        if offset == self.end {
            return Ok(Step::End);
        }
        let bad = |detail| Ok(Step::Bad { offset, detail });
        if !self.fill(RECORD_HEAD_BYTES)? {
            return bad("the file ends within a record");
        }
        let head = self
            .buffer
            .first_chunk::<RECORD_HEAD_BYTES>()
            .expect("the buffer was filled");
        let head = match RecordHead::parse(*head) {
            Ok(head) => head,
            Err(error) => return bad(detail(&error)),
        };
        let length = RECORD_HEAD_BYTES + head.payload_bytes();
        if !self.fill(length)? {
            return bad("the file ends within a record");
        }
        let payload = Bytes::copy_from_slice(&self.buffer[RECORD_HEAD_BYTES..length]);
        match parse_record(self.seed, offset, head, payload) {
            Ok(record) => {
                let _ = self.buffer.split_to(length);
                self.offset += length as u64;
                Ok(Step::Record { offset, record })
            }
            Err(error) => bad(detail(&error)),
        }
    }

    /// Goes on to the next place at which a record begins whose checksum is right, and gives it.
    pub fn skip_to_record(&mut self) -> Result<Option<u64>, ChunkError> {
        while self.fill(RECORD_HEAD_BYTES)? {
            let head = self.buffer.first_chunk().map(|head| RecordHead::parse(*head));
            if let Some(Ok(head)) = head {
                let length = RECORD_HEAD_BYTES + head.payload_bytes();
                if self.fill(length)? {
                    let payload = Bytes::copy_from_slice(&self.buffer[RECORD_HEAD_BYTES..length]);
                    if parse_record(self.seed, self.offset, head, payload).is_ok() {
                        return Ok(Some(self.offset));
                    }
                }
            }
            let _ = self.buffer.split_to(1);
            self.offset += 1;
        }
        Ok(None)
    }

    /// Goes on to the next valid root record that begins anywhere behind the current place, whatever lies between.
    ///
    /// Gives its offset, and up to where it says that the log was synced.
    pub fn next_root_anywhere(&mut self) -> Result<Option<(u64, SyncedTo)>, ChunkError> {
        while self.fill(ROOT_RECORD_BYTES)? {
            let last_start = self.buffer.len() - ROOT_RECORD_BYTES;
            let found = (0..=last_start).find(|at| self.buffer[*at..].starts_with(&ROOT_MARK));
            let skip = found.unwrap_or(last_start + 1);
            let _ = self.buffer.split_to(skip);
            self.offset += skip as u64;
            if found.is_none() {
                continue;
            }
            let offset = self.offset;
            let record = self
                .buffer
                .first_chunk::<RECORD_HEAD_BYTES>()
                .map(|head| RecordHead::parse(*head));
            let payload = Bytes::copy_from_slice(&self.buffer[RECORD_HEAD_BYTES..ROOT_RECORD_BYTES]);
            let _ = self.buffer.split_to(1);
            self.offset += 1;
            if let Some(Ok(head)) = record
                && let Ok(Record::Root(_, synced)) = parse_record(self.seed, offset, head, payload)
            {
                return Ok(Some((offset, synced)));
            }
        }
        Ok(None)
    }
}

pub(super) fn detail(error: &FormatError) -> &'static str {
    match error {
        FormatError::Newer { .. } | FormatError::Older { .. } => "there is no record here",
        FormatError::Damaged { detail } => detail,
    }
}

/// Reads block by block; those that fail are zeros, and noted.
fn read_around(file: &File, buf: &mut [u8], offset: u64, unreadable: &mut BTreeMap<u64, String>) -> usize {
    let mut done = 0;
    while done < buf.len() {
        let at = offset + done as u64;
        let in_block = at % READ_AROUND_BYTES;
        let rest = buf.len() - done;
        let length = usize::try_from(READ_AROUND_BYTES - in_block).map_or(rest, |block| block.min(rest));
        let block = &mut buf[done..done + length];
        match file.read_at(block, at) {
            Ok(read) if read < length => return done + read,
            Ok(_) => {}
            Err(error) => {
                block.fill(0);
                unreadable.insert(at - in_block, error.to_string());
            }
        }
        done += length;
    }
    done
}

/// What the log holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    Chunk(super::Hash, Bytes),
    Root(RootRecord),
}

/// Streams a part of the log that is synced. Holds no lock and one buffer; the store may go on meanwhile.
///
/// Chunks are as they were written, checked by the log's checksums; who does not trust this store checks their hashes.
/// After an error it yields nothing more.
pub struct LogReader {
    current: Option<SegmentReader>,
    /// What comes after the current segment, last first.
    following: Vec<Segment>,
    end: Position,
}

impl LogReader {
    /// Reads `segments`, the first of which holds `from` and the last `end`.
    pub(super) fn new(mut segments: Vec<Segment>, from: Position, end: Position) -> Result<LogReader, ChunkError> {
        segments.reverse();
        let mut reader = LogReader {
            current: None,
            following: segments,
            end,
        };
        reader.open_next(Some(from.offset))?;
        Ok(reader)
    }

    fn open_next(&mut self, offset: Option<u64>) -> Result<(), ChunkError> {
        self.current = match self.following.pop() {
            None => None,
            Some(segment) => {
                let end = match segment.header.number == self.end.segment {
                    true => self.end.offset,
                    // The next header says how long this one is; what a file has beyond is not of the log.
                    false => match self.following.last() {
                        Some(next) => next.header.previous_bytes,
                        None => segment.file.len().map_err(segment.io("read the length of"))?,
                    },
                };
                Some(SegmentReader::new(
                    segment,
                    offset.unwrap_or(SegmentHeader::BYTES as u64),
                    end,
                ))
            }
        };
        Ok(())
    }

    fn step(&mut self) -> Result<Option<LogEntry>, ChunkError> {
        loop {
            let Some(reader) = &mut self.current else {
                return Ok(None);
            };
            match reader.next()? {
                Step::Record {
                    offset,
                    record: Record::Chunk(stored),
                } => {
                    let hash = stored.hash;
                    let chunk = decode_stored(stored.codec, stored.bytes)
                        .map_err(|error| reader.segment().corrupt(offset, detail(&error)))?;
                    return Ok(Some(LogEntry::Chunk(hash, chunk)));
                }
                Step::Record {
                    record: Record::Root(root, _),
                    ..
                } => return Ok(Some(LogEntry::Root(root))),
                Step::End => self.open_next(None)?,
                Step::Bad { offset, detail } => return Err(reader.segment().corrupt(offset, detail)),
            }
        }
    }
}

impl Iterator for LogReader {
    type Item = Result<LogEntry, ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            (self.current, self.following) = (None, Vec::new());
        }
        step.transpose()
    }
}
