//! What a chunk refers to, told from its bytes alone.

use super::object::{KIND_COMMIT, KIND_ROOT_VALUE, KIND_TABLE, KIND_WORKING_SET};
use super::{Commit, RootValue, Table, VersionError, WorkingSet};
use crate::chunk::Hash;
use crate::prolly;

/// Every hash this chunk refers to, in the order they stand in it.
///
/// Replication walks these to find what a peer lacks, and garbage collection to find what is alive. Rows are opaque:
/// a map's values count only in maps marked as maps of references.
pub fn references(chunk: &[u8]) -> Result<Vec<Hash>, VersionError> {
    let Some((kind, body)) = chunk.split_first() else {
        return Err(VersionError::malformed("chunk", "it is empty"));
    };
    match *kind {
        prolly::KIND_LEAF | prolly::KIND_INTERIOR => Ok(prolly::references(chunk)?),
        KIND_COMMIT => {
            let commit = Commit::decode(body)?;
            Ok([vec![commit.root], commit.parents].concat())
        }
        KIND_WORKING_SET => {
            let set = WorkingSet::decode(body)?;
            Ok(vec![set.working, set.staged])
        }
        KIND_ROOT_VALUE => Ok(vec![RootValue::decode(body)?.catalog().root()]),
        KIND_TABLE => Ok(vec![Table::decode(body)?.rows.root()]),
        kind => Err(VersionError::malformed("chunk", format!("the unknown kind {kind}"))),
    }
}
