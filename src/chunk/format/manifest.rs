//! `MANIFEST`: which files make up the store.

use super::segment::PACK_NUMBER_BASE;
use super::{FORMAT_VERSION, FormatError, check_envelope, damaged, seal_envelope};

/// Names the packs and the segments of the log. Replaced as a whole, only ever after what it names is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chunk) struct Manifest {
    pub store: [u8; 16],
    /// The number that the next pack gets; no file of a higher one was ever named.
    pub next_pack: u64,
    /// What earlier collections kept of the log before its first segment, ascending.
    pub packs: Vec<PackEntry>,
    /// In log order. The last one is where records go, and all before it are complete and synced.
    pub segments: Vec<u64>,
}

/// A pack never changes, so its length is known. Which of its chunks are alive is what its index file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chunk) struct PackEntry {
    pub number: u64,
    pub bytes: u64,
    /// Of its index file, which is replaced when a collection finds dead chunks in the pack and leaves it.
    pub generation: u64,
}

impl Manifest {
    const MAGIC: &'static [u8; 8] = b"USTSTORE";
    const FIXED_BYTES: usize = 52;

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::FIXED_BYTES + 24 * self.packs.len() + 8 * self.segments.len());
        out.extend_from_slice(Self::MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.store);
        out.extend_from_slice(&self.next_pack.to_le_bytes());
        out.extend_from_slice(&(self.packs.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.segments.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for pack in &self.packs {
            out.extend_from_slice(&pack.number.to_le_bytes());
            out.extend_from_slice(&pack.bytes.to_le_bytes());
            out.extend_from_slice(&pack.generation.to_le_bytes());
        }
        for segment in &self.segments {
            out.extend_from_slice(&segment.to_le_bytes());
        }
        seal_envelope(out)
    }

    pub fn parse(bytes: &[u8]) -> Result<Manifest, FormatError> {
        let mut fields = check_envelope(bytes, Self::MAGIC)?;
        if bytes.len() < Self::FIXED_BYTES {
            return damaged("it is shorter than its header");
        }
        let store = fields.take();
        let next_pack = fields.u64();
        let (packs, segments) = (fields.u32() as usize, fields.u32() as usize);
        let zero = fields.u32();
        if bytes.len() != Self::FIXED_BYTES + 24 * packs + 8 * segments || zero != 0 {
            return damaged("its length is not what its header says");
        }
        let entry = |_| PackEntry {
            number: fields.u64(),
            bytes: fields.u64(),
            generation: fields.u64(),
        };
        let packs: Vec<PackEntry> = (0..packs).map(entry).collect();
        let segments: Vec<u64> = (0..segments).map(|_| fields.u64()).collect();
        let packs_ascend = packs.is_sorted_by(|a, b| a.number < b.number)
            && packs
                .iter()
                .all(|pack| (PACK_NUMBER_BASE..next_pack).contains(&pack.number))
            && (PACK_NUMBER_BASE..2 * PACK_NUMBER_BASE).contains(&next_pack);
        let segments_ascend = segments.is_sorted_by(|a, b| a < b)
            && segments.first().is_some_and(|first| *first > 0)
            && segments.last().is_some_and(|last| *last < PACK_NUMBER_BASE);
        if !packs_ascend || !segments_ascend {
            return damaged("its segments are not in order");
        }
        Ok(Manifest {
            store,
            next_pack,
            packs,
            segments,
        })
    }
}
