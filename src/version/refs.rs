//! The store root: every reference of a database in one map.

use bytes::Bytes;

use super::{VersionError, WorkingSet};
use crate::chunk::{ChunkBatch, Hash, ReadChunks};
use crate::prolly::Map;

/// The branch every database starts with.
pub const MAIN_BRANCH: &str = "main";

/// The map of references: `refs/heads/<branch>` to a commit, `workingsets/refs/heads/<branch>` to a working set.
///
/// Its root hash is the root hash of the store: one atomic change of it moves any number of references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refs {
    map: Map,
}

impl Refs {
    pub fn empty(batch: &mut ChunkBatch<'_>) -> Refs {
        Refs {
            map: Map::empty_of_references(batch),
        }
    }

    /// The references of the store root `hash`.
    pub fn from_root(hash: Hash) -> Refs {
        Refs {
            map: Map::from_root(hash),
        }
    }

    /// The root hash of the store when it holds these references.
    pub fn root(&self) -> Hash {
        self.map.root()
    }

    /// The head commit of a branch.
    pub fn head(&self, chunks: &dyn ReadChunks, branch: &str) -> Result<Option<Hash>, VersionError> {
        self.reference(chunks, &head_key(branch))
    }

    /// The working set object of a branch.
    pub fn working_set(&self, chunks: &dyn ReadChunks, branch: &str) -> Result<Option<WorkingSet>, VersionError> {
        match self.reference(chunks, &working_set_key(branch))? {
            Some(hash) => Ok(Some(WorkingSet::load(chunks, &hash)?)),
            None => Ok(None),
        }
    }

    /// Moves a branch: its head, its working set, or both in one step.
    pub fn with_branch(
        &self,
        batch: &mut ChunkBatch<'_>,
        branch: &str,
        head: Hash,
        working_set: &WorkingSet,
    ) -> Result<Refs, VersionError> {
        let working_set = working_set.store(batch);
        let value = |hash: Hash| Some(Bytes::copy_from_slice(hash.as_bytes()));
        // "refs" sorts before "workingsets": edits are strictly ascending.
        let edits = [
            (head_key(branch), value(head)),
            (working_set_key(branch), value(working_set)),
        ];
        Ok(Refs {
            map: self.map.apply(batch, edits)?,
        })
    }

    /// Branch names, sorted, with their head commits.
    pub fn branches(&self, chunks: &dyn ReadChunks) -> Result<Vec<(String, Hash)>, VersionError> {
        let from = HEADS.as_bytes().to_vec();
        let to = super::prefix_end(&from).expect("the prefix is not made of ff alone");
        let bounds = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(to));
        let mut branches = Vec::new();
        for entry in self.map.range(chunks, bounds)? {
            let (key, value) = entry?;
            let name = std::str::from_utf8(&key[HEADS.len()..])
                .map_err(|_| VersionError::malformed("refs", "a branch name that is not UTF-8"))?;
            branches.push((name.to_owned(), reference(&value)?));
        }
        Ok(branches)
    }

    fn reference(&self, chunks: &dyn ReadChunks, key: &[u8]) -> Result<Option<Hash>, VersionError> {
        self.map.get(chunks, key)?.map(|value| reference(&value)).transpose()
    }
}

const HEADS: &str = "refs/heads/";

fn head_key(branch: &str) -> Vec<u8> {
    format!("{HEADS}{branch}").into_bytes()
}

fn working_set_key(branch: &str) -> Vec<u8> {
    format!("workingsets/{HEADS}{branch}").into_bytes()
}

fn reference(value: &[u8]) -> Result<Hash, VersionError> {
    Hash::from_slice(value).ok_or_else(|| VersionError::malformed("refs", "a value that is not a hash"))
}
