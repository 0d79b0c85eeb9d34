//! What a chunk refers to, told from its bytes alone.

use super::object::{KIND_COMMIT, KIND_ROOT_VALUE, KIND_TABLE, KIND_WORKING_SET};
use super::{Commit, RootValue, Table, VersionError, WorkingSet};
use crate::chunk::{Hash, Reference};
use crate::prolly;

/// Everything this chunk refers to, in the order it stands in it, and whether that must be read to go on.
///
/// Garbage collection and checks walk these to find what is alive; most chunks are leaves of maps, which they need not
/// read. Rows are opaque: a map's values count only in maps marked as maps of references, and by what they have
/// attached.
pub fn links(chunk: &[u8]) -> Result<Vec<Reference>, VersionError> {
    let Some((kind, body)) = chunk.split_first() else {
        return Err(VersionError::malformed("chunk", "it is empty"));
    };
    let hashes = match *kind {
        prolly::KIND_LEAF | prolly::KIND_INTERIOR => {
            let links = prolly::links(chunk)?.into_iter();
            let reference = |link: prolly::Link| Reference {
                hash: link.hash,
                is_leaf: !link.leads_on,
            };
            return Ok(links.map(reference).collect());
        }
        KIND_COMMIT => {
            let commit = Commit::decode(body)?;
            [vec![commit.root], commit.parents].concat()
        }
        KIND_WORKING_SET => {
            let set = WorkingSet::decode(body)?;
            vec![set.working, set.staged]
        }
        KIND_ROOT_VALUE => vec![RootValue::decode(body)?.catalog().root()],
        KIND_TABLE => vec![Table::decode(body)?.rows.root()],
        kind => return Err(VersionError::malformed("chunk", format!("the unknown kind {kind}"))),
    };
    let reference = |hash| Reference { hash, is_leaf: false };
    Ok(hashes.into_iter().map(reference).collect())
}

/// The hashes of [`links`]: replication walks these to find what a peer lacks.
pub fn references(chunk: &[u8]) -> Result<Vec<Hash>, VersionError> {
    Ok(links(chunk)?.into_iter().map(|link| link.hash).collect())
}
