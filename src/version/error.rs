//! What can go wrong below the engine.

use crate::chunk::{ChunkError, Hash};
use crate::prolly::ProllyError;

/// An object could not be read or understood.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// Bytes that no release of this program writes: a damaged disk, or a peer that is not what it claims to be.
    #[error("malformed {what}: {detail}")]
    Malformed { what: &'static str, detail: String },

    /// A chunk is of another kind than the place it is referred from allows.
    #[error("chunk {hash} should be a {expected} but is of kind {found}")]
    WrongKind {
        hash: Hash,
        expected: &'static str,
        found: u8,
    },

    #[error(transparent)]
    Chunk(#[from] ChunkError),

    #[error(transparent)]
    Prolly(#[from] ProllyError),
}

impl VersionError {
    pub(crate) fn malformed(what: &'static str, detail: impl Into<String>) -> VersionError {
        VersionError::Malformed {
            what,
            detail: detail.into(),
        }
    }
}
