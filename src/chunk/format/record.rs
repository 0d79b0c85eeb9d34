//! Records: the chunks and roots in a segment.

use bytes::Bytes;

use super::segment::Seed;
use super::{CHUNK_BYTES_MAX, Fields, FormatError, Position, damaged};
use crate::chunk::{HASH_BYTES, Hash};
use crate::runtime::WallTime;

/// One state of the store: the root as of `sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootRecord {
    /// Counts the roots of this store from 1; 0 is the store without a root.
    pub sequence: u64,
    pub root: Hash,
    /// The root before it, [`Hash::NONE`] for the first.
    pub previous: Hash,
    /// The epoch of the server that appended it.
    pub epoch: u64,
    pub time: WallTime,
}

impl RootRecord {
    /// The state of a store without a root.
    pub const NONE: RootRecord = RootRecord {
        sequence: 0,
        root: Hash::NONE,
        previous: Hash::NONE,
        epoch: 0,
        time: WallTime::from_micros(0),
    };

    /// Whether both say the same of the store, whatever came before.
    pub(in crate::chunk) fn is_state_of(&self, other: &RootRecord) -> bool {
        let state = |record: &RootRecord| (record.sequence, record.root, record.epoch, record.time);
        state(self) == state(other)
    }
}

const KIND_CHUNK: u8 = 1;
const KIND_ROOT: u8 = 2;

/// How a chunk's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chunk) enum Codec {
    Plain = 0,
    /// The number of bytes of the chunk (4), then an LZ4 block.
    Lz4 = 1,
}

/// Chunks below this are stored as they are: there is little to gain, and objects of this size are read often.
const COMPRESSED_FROM_BYTES: usize = 128;

/// The fixed part of every record: payload length, kind, codec, two zeros, checksum.
pub(in crate::chunk) const RECORD_HEAD_BYTES: usize = 12;
const ROOT_PAYLOAD_BYTES: usize = 80;

/// Bytes of a whole root record.
pub(in crate::chunk) const ROOT_RECORD_BYTES: usize = RECORD_HEAD_BYTES + ROOT_PAYLOAD_BYTES;

/// What every root record begins with; no other record does.
pub(in crate::chunk) const ROOT_MARK: [u8; 8] =
    [ROOT_PAYLOAD_BYTES as u8, 0, 0, 0, KIND_ROOT, Codec::Plain as u8, 0, 0];

/// A chunk as a record holds it: encoded once, and copied as it is from one segment to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chunk) struct StoredChunk {
    pub hash: Hash,
    pub codec: Codec,
    pub bytes: Bytes,
}

impl StoredChunk {
    /// Compressed where that saves an eighth.
    pub fn encode(hash: Hash, chunk: &Bytes) -> StoredChunk {
        if chunk.len() >= COMPRESSED_FROM_BYTES {
            let packed = lz4_flex::block::compress_prepend_size(chunk);
            if packed.len() + chunk.len() / 8 <= chunk.len() {
                return StoredChunk {
                    hash,
                    codec: Codec::Lz4,
                    bytes: packed.into(),
                };
            }
        }
        StoredChunk {
            hash,
            codec: Codec::Plain,
            bytes: chunk.clone(),
        }
    }

    /// Bytes of the record that holds it.
    pub fn record_bytes(&self) -> u64 {
        (RECORD_HEAD_BYTES + HASH_BYTES + self.bytes.len()) as u64
    }
}

/// The bytes of a chunk from those stored. Not verified against a hash.
pub(in crate::chunk) fn decode_stored(codec: Codec, stored: Bytes) -> Result<Bytes, FormatError> {
    match codec {
        Codec::Plain => Ok(stored),
        Codec::Lz4 => {
            let Some((size, block)) = stored.split_first_chunk::<4>() else {
                return damaged("a compressed chunk lacks its length");
            };
            let size = u32::from_le_bytes(*size) as usize;
            // A block expands at most 255 times; a length beyond that must not take memory.
            if size > CHUNK_BYTES_MAX || size / 255 > block.len() {
                return damaged("a compressed chunk has an impossible length");
            }
            match lz4_flex::block::decompress(block, size) {
                Ok(chunk) if chunk.len() == size => Ok(chunk.into()),
                _ => damaged("a compressed chunk cannot be expanded"),
            }
        }
    }
}

/// The fixed part of a record, not yet trusted: its checksum covers the payload too.
#[derive(Debug, Clone, Copy)]
pub(in crate::chunk) struct RecordHead([u8; RECORD_HEAD_BYTES]);

impl RecordHead {
    pub fn parse(bytes: [u8; RECORD_HEAD_BYTES]) -> Result<RecordHead, FormatError> {
        let head = RecordHead(bytes);
        let length = head.payload_bytes();
        let plausible = match (bytes[4], bytes[5]) {
            (KIND_CHUNK, 0 | 1) => (HASH_BYTES..=HASH_BYTES + CHUNK_BYTES_MAX).contains(&length),
            (KIND_ROOT, 0) => length == ROOT_PAYLOAD_BYTES,
            (KIND_CHUNK | KIND_ROOT, _) => false,
            _ => return damaged("there is no record here"),
        };
        if !plausible || bytes[6..8] != [0, 0] {
            return damaged("the head of this record is damaged");
        }
        Ok(head)
    }

    pub fn payload_bytes(&self) -> usize {
        u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]) as usize
    }

    pub fn is_chunk(&self) -> bool {
        self.0[4] == KIND_CHUNK
    }

    pub fn codec(&self) -> Codec {
        if self.0[5] == 0 { Codec::Plain } else { Codec::Lz4 }
    }
}

/// A record whose checksum was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chunk) enum Record {
    Chunk(StoredChunk),
    Root(RootRecord, SyncedTo),
}

/// Up to where the log was synced when a root record was written. What is damaged before it was damaged after it had
/// reached the disk; what is damaged behind it may never have got there.
pub(in crate::chunk) type SyncedTo = Position;

/// Checks a record of which head and payload were read at `offset`.
pub(in crate::chunk) fn parse_record(
    seed: Seed,
    offset: u64,
    head: RecordHead,
    payload: Bytes,
) -> Result<Record, FormatError> {
    assert_eq!(
        payload.len(),
        head.payload_bytes(),
        "the payload was read as the head says"
    );
    let checksum = [head.0[8], head.0[9], head.0[10], head.0[11]];
    if seed.checksum(offset, &head.0[..8], &[&payload]).to_le_bytes() != checksum {
        return damaged("the checksum of this record does not match");
    }
    let mut fields = Fields(&payload);
    if head.is_chunk() {
        return Ok(Record::Chunk(StoredChunk {
            hash: fields.hash(),
            codec: head.codec(),
            bytes: payload.slice(HASH_BYTES..),
        }));
    }
    let root = fields.root();
    let synced = Position {
        segment: fields.u64(),
        offset: fields.u64(),
    };
    Ok(Record::Root(root, synced))
}

/// Appends a chunk record to `out`, which will be written at `start`.
pub(in crate::chunk) fn encode_chunk(out: &mut Vec<u8>, seed: Seed, start: u64, chunk: &StoredChunk) {
    let payload = [chunk.hash.as_bytes().as_slice(), &chunk.bytes];
    encode_record(out, seed, start, KIND_CHUNK, chunk.codec, &payload);
}

/// Appends a root record to `out`, which will be written at `start`.
pub(in crate::chunk) fn encode_root(out: &mut Vec<u8>, seed: Seed, start: u64, record: &RootRecord, synced: SyncedTo) {
    let payload: [&[u8]; 7] = [
        &record.sequence.to_le_bytes(),
        record.root.as_bytes(),
        record.previous.as_bytes(),
        &record.epoch.to_le_bytes(),
        &record.time.micros().to_le_bytes(),
        &synced.segment.to_le_bytes(),
        &synced.offset.to_le_bytes(),
    ];
    encode_record(out, seed, start, KIND_ROOT, Codec::Plain, &payload);
}

fn encode_record(out: &mut Vec<u8>, seed: Seed, start: u64, kind: u8, codec: Codec, payload: &[&[u8]]) {
    let offset = start + out.len() as u64;
    let payload_bytes: usize = payload.iter().map(|part| part.len()).sum();
    let mut head = [0; RECORD_HEAD_BYTES];
    head[..4].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
    head[4..6].copy_from_slice(&[kind, codec as u8]);
    let checksum = seed.checksum(offset, &head[..8], payload);
    head[8..].copy_from_slice(&checksum.to_le_bytes());
    out.reserve(RECORD_HEAD_BYTES + payload_bytes);
    out.extend_from_slice(&head);
    for part in payload {
        out.extend_from_slice(part);
    }
}
