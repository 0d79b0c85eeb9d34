//! The bytes of a store's files; `docs/storage-format.md` draws them.
//!
//! Integers are little endian. Every checksum is CRC-32C. A record's checksum also covers the store's id, the segment's
//! number and the record's own offset, so that a record found where it was not written (a misdirected write, a file
//! copied over another, bytes of a record kept as data) is not taken for one.
//!
//! Must not know: files, disks; these are plain functions over bytes.

use bytes::Bytes;

use super::{HASH_BYTES, Hash};
use crate::runtime::WallTime;

/// Version of every file's layout. A store is refused by servers that know only smaller ones.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Largest chunk that a record can hold.
pub(super) const CHUNK_BYTES_MAX: usize = (1 << 30) + (1 << 20);

/// A place in the log: everything before it is in lower segments, or before `offset` in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub segment: u64,
    pub offset: u64,
}

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
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FormatError {
    Newer { found: u32 },
    Damaged { detail: &'static str },
}

fn damaged<T>(detail: &'static str) -> Result<T, FormatError> {
    Err(FormatError::Damaged { detail })
}

/// Reads fields off the front of a slice whose length was checked.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk::<N>().expect("the caller checked the length");
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn hash(&mut self) -> Hash {
        Hash::from_bytes(self.take())
    }
}

/// Checks magic, version and checksum, which all files have alike: magic 8 bytes, version 4, ..., checksum 4.
fn check_envelope<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Fields<'a>, FormatError> {
    if bytes.len() < 16 || &bytes[..8] != magic {
        return damaged("it does not begin as such a file does");
    }
    let mut fields = Fields(&bytes[8..]);
    let version = fields.u32();
    if version > FORMAT_VERSION {
        return Err(FormatError::Newer { found: version });
    }
    let (body, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32c::crc32c(body).to_le_bytes() != checksum {
        return damaged("the checksum of its header does not match");
    }
    if version != FORMAT_VERSION {
        return damaged("no version 0 of the format exists");
    }
    Ok(fields)
}

/// Names the segments that make up the store. Replaced as a whole, only ever after what it names is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub store: [u8; 16],
    /// In log order. The last one is where records go, and all before it are complete and synced.
    pub segments: Vec<u64>,
}

impl Manifest {
    const MAGIC: &'static [u8; 8] = b"USTSTORE";

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40 + 8 * self.segments.len());
        out.extend_from_slice(Self::MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.segments.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.store);
        for segment in &self.segments {
            out.extend_from_slice(&segment.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    pub fn parse(bytes: &[u8]) -> Result<Manifest, FormatError> {
        let mut fields = check_envelope(bytes, Self::MAGIC)?;
        let count = fields.u32() as usize;
        if bytes.len() != 36 + 8 * count {
            return damaged("its length is not what its header says");
        }
        let store = fields.take();
        let segments: Vec<u64> = (0..count).map(|_| fields.u64()).collect();
        if segments.is_empty() || segments[0] == 0 || !segments.is_sorted_by(|a, b| a < b) {
            return damaged("its segments are not in order");
        }
        Ok(Manifest { store, segments })
    }
}

/// The first bytes of a segment: whose it is, and what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub store: [u8; 16],
    pub number: u64,
    /// The newest root record before this segment.
    pub base_sequence: u64,
    pub base_root: Hash,
    /// Bytes of the segment before it, 0 for the first.
    pub previous_bytes: u64,
}

impl SegmentHeader {
    const MAGIC: &'static [u8; 8] = b"USTLOGSG";
    pub const BYTES: usize = 80;

    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(Self::MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.store);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.base_sequence.to_le_bytes());
        out.extend_from_slice(self.base_root.as_bytes());
        out.extend_from_slice(&self.previous_bytes.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.try_into().expect("the fields add up to the length")
    }

    pub fn parse(bytes: &[u8; Self::BYTES]) -> Result<SegmentHeader, FormatError> {
        let mut fields = check_envelope(bytes, Self::MAGIC)?;
        Ok(SegmentHeader {
            store: fields.take(),
            number: fields.u64(),
            base_sequence: fields.u64(),
            base_root: fields.hash(),
            previous_bytes: fields.u64(),
        })
    }

    /// What every checksum in the segment starts from.
    pub fn seed(&self) -> Seed {
        Seed(crc32c::crc32c_append(
            crc32c::crc32c(&self.store),
            &self.number.to_le_bytes(),
        ))
    }
}

/// Ties checksums to a segment of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    fn checksum(self, offset: u64, head: &[u8], payload: &[u8]) -> u32 {
        let checksum = crc32c::crc32c_append(self.0, &offset.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(checksum, head), payload)
    }
}

const KIND_CHUNK: u8 = 1;
const KIND_ROOT: u8 = 2;

/// How a chunk's bytes are stored. Compression takes the next numbers.
const CODEC_PLAIN: u8 = 0;

/// The fixed part of every record: payload length, kind, codec, two zeros, checksum.
pub(super) const RECORD_HEAD_BYTES: usize = 12;
const ROOT_PAYLOAD_BYTES: usize = 80;

/// Bytes of a whole root record.
pub(super) const ROOT_RECORD_BYTES: usize = RECORD_HEAD_BYTES + ROOT_PAYLOAD_BYTES;

/// What every root record begins with; no other record does.
pub(super) const ROOT_MARK: [u8; 8] = [ROOT_PAYLOAD_BYTES as u8, 0, 0, 0, KIND_ROOT, CODEC_PLAIN, 0, 0];

/// How many bytes of the log a chunk takes.
pub(super) fn chunk_record_bytes(chunk: &[u8]) -> u64 {
    (RECORD_HEAD_BYTES + HASH_BYTES + chunk.len()) as u64
}

/// The fixed part of a record, not yet trusted: its checksum covers the payload too.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordHead([u8; RECORD_HEAD_BYTES]);

impl RecordHead {
    pub fn parse(bytes: [u8; RECORD_HEAD_BYTES]) -> Result<RecordHead, FormatError> {
        let head = RecordHead(bytes);
        let length = head.payload_bytes();
        let plausible = match bytes[4] {
            KIND_CHUNK => (HASH_BYTES..=HASH_BYTES + CHUNK_BYTES_MAX).contains(&length),
            KIND_ROOT => length == ROOT_PAYLOAD_BYTES,
            _ => return damaged("there is no record here"),
        };
        if !plausible || bytes[5] != CODEC_PLAIN || bytes[6..8] != [0, 0] {
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
}

/// A record whose checksum was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Chunk(Hash, Bytes),
    Root(RootRecord, SyncedTo),
}

/// Up to where the log was synced when a root record was written. What is damaged before it was damaged after it had
/// reached the disk; what is damaged behind it may never have got there.
pub(super) type SyncedTo = Position;

/// Checks a record of which head and payload were read at `offset`.
pub(super) fn parse_record(seed: Seed, offset: u64, head: RecordHead, payload: Bytes) -> Result<Record, FormatError> {
    assert_eq!(
        payload.len(),
        head.payload_bytes(),
        "the payload was read as the head says"
    );
    let checksum = [head.0[8], head.0[9], head.0[10], head.0[11]];
    if seed.checksum(offset, &head.0[..8], &payload).to_le_bytes() != checksum {
        return damaged("the checksum of this record does not match");
    }
    let mut fields = Fields(&payload);
    if head.is_chunk() {
        return Ok(Record::Chunk(fields.hash(), payload.slice(HASH_BYTES..)));
    }
    let root = RootRecord {
        sequence: fields.u64(),
        root: fields.hash(),
        previous: fields.hash(),
        epoch: fields.u64(),
        time: WallTime::from_micros(i64::from_le_bytes(fields.take())),
    };
    Ok(Record::Root(
        root,
        Position {
            segment: fields.u64(),
            offset: fields.u64(),
        },
    ))
}

/// Appends a chunk record to `out`, which will be written at `start`.
pub(super) fn encode_chunk(out: &mut Vec<u8>, seed: Seed, start: u64, hash: &Hash, chunk: &[u8]) {
    let mark = begin_record(out, KIND_CHUNK, HASH_BYTES + chunk.len());
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(chunk);
    end_record(out, seed, start, mark);
}

/// Appends a root record to `out`, which will be written at `start`.
pub(super) fn encode_root(out: &mut Vec<u8>, seed: Seed, start: u64, record: &RootRecord, synced: SyncedTo) {
    let mark = begin_record(out, KIND_ROOT, ROOT_PAYLOAD_BYTES);
    out.extend_from_slice(&record.sequence.to_le_bytes());
    out.extend_from_slice(record.root.as_bytes());
    out.extend_from_slice(record.previous.as_bytes());
    out.extend_from_slice(&record.epoch.to_le_bytes());
    out.extend_from_slice(&record.time.micros().to_le_bytes());
    out.extend_from_slice(&synced.segment.to_le_bytes());
    out.extend_from_slice(&synced.offset.to_le_bytes());
    end_record(out, seed, start, mark);
}

fn begin_record(out: &mut Vec<u8>, kind: u8, payload_bytes: usize) -> usize {
    let mark = out.len();
    out.extend_from_slice(&(payload_bytes as u32).to_le_bytes());
    out.extend_from_slice(&[kind, CODEC_PLAIN, 0, 0, 0, 0, 0, 0]);
    mark
}

fn end_record(out: &mut [u8], seed: Seed, start: u64, mark: usize) {
    let (head, payload) = out[mark..].split_at(RECORD_HEAD_BYTES);
    let checksum = seed.checksum(start + mark as u64, &head[..8], payload);
    out[mark + 8..mark + RECORD_HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn header() -> SegmentHeader {
        SegmentHeader {
            store: *b"0123456789abcdef",
            number: 2,
            base_sequence: 7,
            base_root: Hash::of(b"base"),
            previous_bytes: 4096,
        }
    }

    fn root() -> RootRecord {
        RootRecord {
            sequence: 8,
            root: Hash::of(b"root"),
            previous: Hash::of(b"base"),
            epoch: 3,
            time: WallTime::from_micros(1_700_000_000_000_000),
        }
    }

    fn parse(seed: Seed, offset: u64, bytes: &[u8]) -> Result<Record, FormatError> {
        let head = RecordHead::parse(bytes[..RECORD_HEAD_BYTES].try_into().unwrap())?;
        if bytes.len() != RECORD_HEAD_BYTES + head.payload_bytes() {
            return damaged("length");
        }
        parse_record(seed, offset, head, Bytes::copy_from_slice(&bytes[RECORD_HEAD_BYTES..]))
    }

    #[test]
    fn files_are_golden() {
        // Would fail if the layout changed without a new format version.
        let manifest = Manifest {
            store: *b"0123456789abcdef",
            segments: vec![1, 2],
        };
        assert_eq!(
            hex(&manifest.encode()),
            concat!(
                "55535453544f524501000000020000003031323334353637383961626364656601000000000000000200000000000000",
                "7e72f73a",
            )
        );
        assert_eq!(
            hex(&header().encode()),
            concat!(
                "5553544c4f475347010000003031323334353637383961626364656602000000000000000700000000000000de8f3fcf",
                "327eb911b2c368e011e0ffdee22fed45001000000000000000000000d6bad2d6",
            )
        );
        let mut chunk = Vec::new();
        encode_chunk(&mut chunk, header().seed(), 80, &Hash::of(b"chunk"), b"chunk");
        assert_eq!(
            hex(&chunk),
            "190000000100000022c785ea6b1d440ada61d0f4e4416c73bcbab3694f96875a6368756e6b"
        );
        let mut bytes = Vec::new();
        encode_root(
            &mut bytes,
            header().seed(),
            117,
            &root(),
            Position {
                segment: 1,
                offset: 4096,
            },
        );
        assert_eq!(
            hex(&bytes),
            concat!(
                "500000000200000046541773080000000000000092a2b787a06d7272df43eaf87acc3b9c1d315d79de8f3fcf327eb911",
                "b2c368e011e0ffdee22fed45030000000000000000401e18240a060001000000000000000010000000000000",
            )
        );
        assert_eq!(bytes.len(), ROOT_RECORD_BYTES);
        assert_eq!(bytes[..8], ROOT_MARK);
    }

    #[test]
    fn what_is_written_is_read() {
        let manifest = Manifest {
            store: *b"0123456789abcdef",
            segments: vec![3, 4, 9],
        };
        assert_eq!(Manifest::parse(&manifest.encode()), Ok(manifest));
        assert_eq!(SegmentHeader::parse(&header().encode()), Ok(header()));
        let (mut bytes, seed) = (Vec::new(), header().seed());
        encode_chunk(&mut bytes, seed, 80, &Hash::of(b"chunk"), b"chunk");
        assert_eq!(
            parse(seed, 80, &bytes),
            Ok(Record::Chunk(Hash::of(b"chunk"), Bytes::from_static(b"chunk")))
        );
        bytes.clear();
        let synced = Position {
            segment: 1,
            offset: 4096,
        };
        encode_root(&mut bytes, seed, 80, &root(), synced);
        assert_eq!(parse(seed, 80, &bytes), Ok(Record::Root(root(), synced)));
    }

    #[test]
    fn a_record_elsewhere_is_no_record() {
        // Would fail if a misdirected write or a copied file could pass for the log.
        let (mut bytes, seed) = (Vec::new(), header().seed());
        encode_root(&mut bytes, seed, 80, &root(), Position { segment: 1, offset: 80 });
        assert!(parse(seed, 81, &bytes).is_err());
        assert!(parse(SegmentHeader { number: 3, ..header() }.seed(), 80, &bytes).is_err());
        assert!(
            parse(
                SegmentHeader {
                    store: [0; 16],
                    ..header()
                }
                .seed(),
                80,
                &bytes
            )
            .is_err()
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let manifest = Manifest {
            store: [9; 16],
            segments: vec![1, 2],
        }
        .encode();
        let (mut chunk, mut root_record, seed) = (Vec::new(), Vec::new(), header().seed());
        encode_chunk(&mut chunk, seed, 80, &Hash::of(b"chunk"), b"chunk");
        encode_root(&mut root_record, seed, 80, &root(), Position { segment: 1, offset: 80 });
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..manifest.len() * 8 {
            assert!(
                Manifest::parse(&flipped(&manifest, bit)).is_err(),
                "bit {bit} of the manifest"
            );
        }
        for bit in 0..SegmentHeader::BYTES * 8 {
            let bytes = flipped(&header().encode(), bit).try_into().unwrap();
            assert!(SegmentHeader::parse(&bytes).is_err(), "bit {bit} of the header");
        }
        for bit in 0..chunk.len() * 8 {
            assert!(
                parse(seed, 80, &flipped(&chunk, bit)).is_err(),
                "bit {bit} of a chunk record"
            );
        }
        for bit in 0..root_record.len() * 8 {
            assert!(
                parse(seed, 80, &flipped(&root_record, bit)).is_err(),
                "bit {bit} of a root record"
            );
        }
    }

    #[test]
    fn newer_files_say_so() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        assert_eq!(SegmentHeader::parse(&bytes), Err(FormatError::Newer { found: 2 }));
    }
}
