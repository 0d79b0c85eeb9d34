//! What a branch holds beyond its head commit.

use bytes::Bytes;

use super::VersionError;
use super::object::{self, KIND_WORKING_SET};
use crate::chunk::{ChunkBatch, Hash, ReadChunks};

/// The uncommitted state of one branch: what transactions see, and what the next version commit takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkingSet {
    /// The [`RootValue`](super::RootValue) that transactions read and write.
    pub working: Hash,
    /// The root value that the next version commit records.
    pub staged: Hash,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WorkingSetMessage {
    #[prost(bytes = "vec", tag = "1")]
    working: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    staged: Vec<u8>,
}

impl WorkingSet {
    pub fn load(chunks: &dyn ReadChunks, hash: &Hash) -> Result<WorkingSet, VersionError> {
        WorkingSet::from_message(&object::load(chunks, hash, KIND_WORKING_SET)?)
    }

    pub fn store(&self, batch: &mut ChunkBatch<'_>) -> Hash {
        batch.put(self.encode())
    }

    pub fn encode(&self) -> Bytes {
        object::encode(
            KIND_WORKING_SET,
            &WorkingSetMessage {
                working: object::hash_bytes(&self.working),
                staged: object::hash_bytes(&self.staged),
            },
        )
    }

    /// Decodes what follows the kind byte.
    pub(super) fn decode(body: &[u8]) -> Result<WorkingSet, VersionError> {
        WorkingSet::from_message(&object::decode(KIND_WORKING_SET, body)?)
    }

    fn from_message(message: &WorkingSetMessage) -> Result<WorkingSet, VersionError> {
        Ok(WorkingSet {
            working: object::hash_field(KIND_WORKING_SET, "working", &message.working)?,
            staged: object::hash_field(KIND_WORKING_SET, "staged", &message.staged)?,
        })
    }
}
