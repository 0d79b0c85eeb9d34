//! `*.idx`: what a segment that takes no more records holds, so that opening a store need not read it.
//!
//! The index file of a segment of the log can be lost or damaged without harm: it is made again from its segment. That
//! of a pack says which of the pack's chunks are alive, which nothing else does.

use super::record::RootRecord;
use super::{FORMAT_VERSION, FormatError, check_envelope, damaged, seal_envelope};
use crate::chunk::Hash;

/// Where a chunk lies in the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chunk) struct IndexedChunk {
    pub hash: Hash,
    pub offset: u32,
    /// Bytes stored behind the hash.
    pub bytes: u32,
}

/// The content of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chunk) struct IndexFile {
    pub store: [u8; 16],
    pub segment: u64,
    /// How long the segment is.
    pub segment_bytes: u64,
    /// Sorted by hash, each once.
    pub chunks: Vec<IndexedChunk>,
    /// With the offset at which each record ends, in order.
    pub roots: Vec<(RootRecord, u64)>,
}

impl IndexFile {
    const MAGIC: &'static [u8; 8] = b"USTINDEX";
    const FIXED_BYTES: usize = 64;
    const CHUNK_BYTES: usize = 28;
    const ROOT_BYTES: usize = 72;

    pub fn encode(&self) -> Vec<u8> {
        let variable = Self::CHUNK_BYTES * self.chunks.len() + Self::ROOT_BYTES * self.roots.len();
        let mut out = Vec::with_capacity(Self::FIXED_BYTES + variable);
        out.extend_from_slice(Self::MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.store);
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.segment_bytes.to_le_bytes());
        out.extend_from_slice(&(self.chunks.len() as u64).to_le_bytes());
        out.extend_from_slice(&(self.roots.len() as u64).to_le_bytes());
        for chunk in &self.chunks {
            out.extend_from_slice(chunk.hash.as_bytes());
            out.extend_from_slice(&chunk.offset.to_le_bytes());
            out.extend_from_slice(&chunk.bytes.to_le_bytes());
        }
        for (root, end) in &self.roots {
            out.extend_from_slice(&root.sequence.to_le_bytes());
            out.extend_from_slice(root.root.as_bytes());
            out.extend_from_slice(root.previous.as_bytes());
            out.extend_from_slice(&root.epoch.to_le_bytes());
            out.extend_from_slice(&root.time.micros().to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
        seal_envelope(out)
    }

    pub fn parse(bytes: &[u8]) -> Result<IndexFile, FormatError> {
        let mut fields = check_envelope(bytes, Self::MAGIC)?;
        if bytes.len() < Self::FIXED_BYTES {
            return damaged("it is shorter than its header");
        }
        let (store, segment, segment_bytes) = (fields.take(), fields.u64(), fields.u64());
        let (chunks, roots) = (fields.u64(), fields.u64());
        let variable = chunks
            .checked_mul(Self::CHUNK_BYTES as u64)
            .zip(roots.checked_mul(Self::ROOT_BYTES as u64))
            .and_then(|(chunks, roots)| chunks.checked_add(roots));
        if variable != Some((bytes.len() - Self::FIXED_BYTES) as u64) {
            return damaged("its length is not what its header says");
        }
        let chunks = (0..chunks).map(|_| IndexedChunk {
            hash: fields.hash(),
            offset: fields.u32(),
            bytes: fields.u32(),
        });
        let chunks = chunks.collect();
        let roots = (0..roots).map(|_| {
            let root = fields.root();
            (root, fields.u64())
        });
        Ok(IndexFile {
            store,
            segment,
            segment_bytes,
            chunks,
            roots: roots.collect(),
        })
    }
}
