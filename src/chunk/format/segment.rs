//! The first bytes of a segment, of the log or a pack.

use super::record::RootRecord;
use super::{FORMAT_VERSION, FormatError, check_envelope, damaged};
use crate::runtime::WallTime;

/// Segments with this number and above are packs: what a collection kept, chunks without roots. Numbers fit 32 bits.
pub(in crate::chunk) const PACK_NUMBER_BASE: u64 = 1 << 31;

/// Whose a segment is, and what came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chunk) struct SegmentHeader {
    pub store: [u8; 16],
    pub number: u64,
    /// The newest root record before this segment; [`RootRecord::NONE`] in a pack. Its `previous` is not kept.
    pub base: RootRecord,
    /// Bytes of the segment before it, 0 for the first and in a pack.
    pub previous_bytes: u64,
}

impl SegmentHeader {
    const MAGIC: &'static [u8; 8] = b"USTLOGSG";
    pub const BYTES: usize = 96;

    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend_from_slice(Self::MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.store);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.base.sequence.to_le_bytes());
        out.extend_from_slice(self.base.root.as_bytes());
        out.extend_from_slice(&self.base.epoch.to_le_bytes());
        out.extend_from_slice(&self.base.time.micros().to_le_bytes());
        out.extend_from_slice(&self.previous_bytes.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.try_into().expect("the fields add up to the length")
    }

    pub fn parse(bytes: &[u8; Self::BYTES]) -> Result<SegmentHeader, FormatError> {
        let mut fields = check_envelope(bytes, Self::MAGIC)?;
        let header = SegmentHeader {
            store: fields.take(),
            number: fields.u64(),
            base: RootRecord {
                sequence: fields.u64(),
                root: fields.hash(),
                epoch: fields.u64(),
                time: WallTime::from_micros(i64::from_le_bytes(fields.take())),
                ..RootRecord::NONE
            },
            previous_bytes: fields.u64(),
        };
        if fields.u32() != 0 {
            return damaged("its header has bytes that mean nothing");
        }
        Ok(header)
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
pub(in crate::chunk) struct Seed(u32);

impl Seed {
    pub(super) fn checksum(self, offset: u64, head: &[u8], payload: &[&[u8]]) -> u32 {
        let checksum = crc32c::crc32c_append(self.0, &offset.to_le_bytes());
        let checksum = crc32c::crc32c_append(checksum, head);
        payload
            .iter()
            .fold(checksum, |checksum, part| crc32c::crc32c_append(checksum, part))
    }
}
