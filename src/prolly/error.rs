//! What can go wrong in a map.

use super::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::chunk::{ChunkError, Hash};

/// Why a map could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProllyError {
    /// The chunks below could not be read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),

    /// A chunk has the right hash, but is no node of a map: whoever wrote it was wrong.
    #[error("chunk {hash} is not a valid map node: {detail}")]
    Corrupt { hash: Hash, detail: &'static str },

    /// Entries or edits were not in strictly ascending order of keys.
    #[error("keys of a map must be given in strictly ascending order")]
    Unsorted,

    #[error("a key of {bytes} bytes is longer than the limit of {KEY_BYTES_MAX} bytes")]
    KeyTooLong { bytes: usize },

    #[error("a value of {bytes} bytes is larger than the limit of {VALUE_BYTES_MAX} bytes")]
    ValueTooLarge { bytes: usize },

    /// A value begins with the mark of [`Attached`](super::Attached) but has nothing attached as it should.
    #[error("a value cannot be stored: {detail}")]
    BadValue { detail: &'static str },

    /// A map of references was given a value that is no hash.
    #[error("a map of references holds hashes of 20 bytes, not values of {bytes} bytes")]
    NotAReference { bytes: usize },
}
