//! Values too large to lie in their row: cut into pieces, each a chunk of its own.
//!
//! ```text
//! piece = 21, up to 256 KiB of the value
//! index = 20, length of the value as u64, hashes of the pieces      only for values of more than one piece
//! ```
//! A value of one piece is named by that piece, which saves a chunk and a read. All pieces but the last are full, so a
//! value has one form, and versions of it share the pieces before the first change.
//!
//! Must not know: which row or column a value is of.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::VersionError;
use super::object::{KIND_LARGE_VALUE, KIND_PIECE};
use crate::chunk::{ChunkBatch, HASH_BYTES, Hash, Link, ReadChunks};

/// Longest value of a column.
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// Bytes of a value in a full piece: a few milliseconds of a slow disk or link, and small beside any cache.
const PIECE_BYTES: usize = 256 << 10;

/// What comes before the hashes of an index.
const INDEX_HEAD_BYTES: usize = 9;

/// A large value as chunks that may not be in any store yet. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeValue {
    hash: Hash,
    /// Each after what it refers to.
    chunks: Arc<[(Hash, Bytes)]>,
}

impl LargeValue {
    /// # Panics
    /// If the value is empty or longer than [`VALUE_BYTES_MAX`].
    pub fn new(value: &[u8]) -> LargeValue {
        assert!(
            (1..=VALUE_BYTES_MAX).contains(&value.len()),
            "a value of {} bytes was not refused",
            value.len()
        );
        let pieces = value.chunks(PIECE_BYTES).map(|piece| {
            let mut bytes = Vec::with_capacity(1 + piece.len());
            bytes.push(KIND_PIECE);
            bytes.extend_from_slice(piece);
            named(bytes.into())
        });
        let mut chunks: Vec<(Hash, Bytes)> = pieces.collect();
        if !is_one_piece(value.len()) {
            let mut index = Vec::with_capacity(INDEX_HEAD_BYTES + chunks.len() * HASH_BYTES);
            index.push(KIND_LARGE_VALUE);
            index.extend_from_slice(&(value.len() as u64).to_le_bytes());
            for (hash, _) in &chunks {
                index.extend_from_slice(hash.as_bytes());
            }
            chunks.push(named(index.into()));
        }
        let (hash, _) = chunks.last().expect("a value that is not empty has a piece");
        LargeValue {
            hash: *hash,
            chunks: chunks.into(),
        }
    }

    /// The chunk that stands for the value.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Puts its chunks but those that are `known`.
    pub fn put(&self, batch: &mut ChunkBatch<'_>, known: &BTreeSet<Hash>) {
        if !known.contains(&self.hash) {
            for (hash, bytes) in self.chunks.iter().filter(|(hash, _)| !known.contains(hash)) {
                batch.put_named(*hash, bytes.clone());
            }
        }
    }

    /// One of its chunks.
    pub(super) fn get(&self, hash: &Hash) -> Option<&Bytes> {
        self.chunks
            .iter()
            .find(|(name, _)| name == hash)
            .map(|(_, bytes)| bytes)
    }
}

fn named(bytes: Bytes) -> (Hash, Bytes) {
    (Hash::of(&bytes), bytes)
}

/// Whether a value of this length has no index.
pub(super) fn is_one_piece(length: usize) -> bool {
    length <= PIECE_BYTES
}

/// Reads the value of `length` bytes that `hash` stands for.
pub(super) fn read(chunks: &dyn ReadChunks, hash: &Hash, length: usize) -> Result<Vec<u8>, VersionError> {
    if is_one_piece(length) {
        let mut value = Vec::with_capacity(length);
        read_piece(chunks, hash, length, &mut value)?;
        return Ok(value);
    }
    let bytes = chunks.get(hash)?;
    let Some((&KIND_LARGE_VALUE, body)) = bytes.split_first() else {
        return Err(wrong_kind(hash, "large value", &bytes));
    };
    // What the index says is checked before so much memory is asked for.
    let (total, pieces) = parse_index(body)?;
    if total != length {
        return Err(malformed("its row knows it by another length"));
    }
    let mut value = Vec::with_capacity(length);
    for piece in pieces {
        let bytes = PIECE_BYTES.min(length - value.len());
        read_piece(chunks, &Hash::from_bytes(*piece), bytes, &mut value)?;
    }
    Ok(value)
}

fn read_piece(chunks: &dyn ReadChunks, hash: &Hash, length: usize, value: &mut Vec<u8>) -> Result<(), VersionError> {
    let bytes = chunks.get(hash)?;
    match bytes.split_first() {
        Some((&KIND_PIECE, piece)) if piece.len() == length => value.extend_from_slice(piece),
        Some((&KIND_PIECE, _)) => return Err(malformed("a piece of it has the wrong length")),
        _ => return Err(wrong_kind(hash, "piece of a large value", &bytes)),
    }
    Ok(())
}

/// Length and pieces of the value whose index has this body.
fn parse_index(body: &[u8]) -> Result<(usize, &[[u8; HASH_BYTES]]), VersionError> {
    let (length, hashes) = body
        .split_first_chunk()
        .ok_or_else(|| malformed("its index has no length"))?;
    let length = usize::try_from(u64::from_le_bytes(*length))
        .ok()
        .filter(|length| !is_one_piece(*length) && *length <= VALUE_BYTES_MAX)
        .ok_or_else(|| malformed("its index has a length that no such value has"))?;
    match hashes.as_chunks() {
        (pieces, []) if pieces.len() == length.div_ceil(PIECE_BYTES) => Ok((length, pieces)),
        _ => Err(malformed("its index has too few or too many pieces")),
    }
}

/// What the index with this body refers to.
pub(super) fn index_links(body: &[u8]) -> Result<Vec<Link>, VersionError> {
    let (_, pieces) = parse_index(body)?;
    let pieces = pieces.iter().map(|piece| Link {
        hash: Hash::from_bytes(*piece),
        leads_on: false,
    });
    Ok(pieces.collect())
}

/// Checks what can be told from a piece alone.
pub(super) fn check_piece(body: &[u8]) -> Result<(), VersionError> {
    match body.len() {
        1..=PIECE_BYTES => Ok(()),
        _ => Err(malformed("a piece of it has a length that none has")),
    }
}

fn wrong_kind(hash: &Hash, expected: &'static str, found: &Bytes) -> VersionError {
    match found.first() {
        Some(found) => VersionError::WrongKind {
            hash: *hash,
            expected,
            found: *found,
        },
        None => VersionError::malformed(expected, "an empty chunk"),
    }
}

fn malformed(detail: &str) -> VersionError {
    VersionError::malformed("large value", detail)
}

#[cfg(test)]
#[path = "large_tests.rs"]
mod tests;
