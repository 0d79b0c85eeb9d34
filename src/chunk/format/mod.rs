//! The bytes of a store's files; `docs/storage-format.md` draws them.
//!
//! Integers are little endian. Every checksum is CRC-32C. A record's checksum also covers the store's id, the segment's
//! number and the record's own offset, so that a record found where it was not written (a misdirected write, a file
//! copied over another, bytes of a record kept as data) is not taken for one.
//!
//! Must not know: files, disks; these are plain functions over bytes.

mod index_file;
mod manifest;
mod record;
mod segment;
mod synced;

pub(super) use index_file::{IndexFile, IndexedChunk};
pub(super) use manifest::{Manifest, PackEntry};
pub use record::RootRecord;
pub(super) use record::{
    RECORD_HEAD_BYTES, ROOT_MARK, ROOT_RECORD_BYTES, Record, RecordHead, StoredChunk, SyncedTo, decode_stored,
    encode_chunk, encode_root, parse_record,
};
pub(super) use segment::{PACK_NUMBER_BASE, Seed, SegmentHeader};
pub(super) use synced::Synced;

use super::Hash;
use crate::runtime::WallTime;

/// Version of every file's layout. A store is refused by servers that know only smaller ones.
pub(super) const FORMAT_VERSION: u32 = 2;

/// Versions before this were never part of a release and are not read.
const FORMAT_VERSION_MIN: u32 = 2;

/// Largest chunk that a record can hold.
pub(super) const CHUNK_BYTES_MAX: usize = (1 << 30) + (1 << 20);

/// A place in the log: everything before it is in lower segments, or before `offset` in this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub segment: u64,
    pub offset: u64,
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FormatError {
    Newer { found: u32 },
    Older { found: u32 },
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

    /// As root records and index files have it.
    fn root(&mut self) -> RootRecord {
        RootRecord {
            sequence: self.u64(),
            root: self.hash(),
            previous: self.hash(),
            epoch: self.u64(),
            time: WallTime::from_micros(i64::from_le_bytes(self.take())),
        }
    }
}

/// Checks magic, checksum and version, which all files have alike: magic 8 bytes, version 4, ..., checksum 4. The
/// checksum comes first: a version that it does not confirm is a flipped bit, not a newer release.
fn check_envelope<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Fields<'a>, FormatError> {
    if bytes.len() < 16 || &bytes[..8] != magic {
        return damaged("it does not begin as such a file does");
    }
    let mut fields = Fields(&bytes[8..]);
    let version = fields.u32();
    let (body, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32c::crc32c(body).to_le_bytes() != checksum {
        return damaged("the checksum of its header does not match");
    }
    match version {
        FORMAT_VERSION_MIN..=FORMAT_VERSION => Ok(fields),
        found if found > FORMAT_VERSION => Err(FormatError::Newer { found }),
        found => Err(FormatError::Older { found }),
    }
}

/// Closes a file that [`check_envelope`] opens.
fn seal_envelope(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests;
