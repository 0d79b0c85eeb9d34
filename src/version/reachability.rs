//! What a chunk refers to, told from its bytes alone.

use super::object::{KIND_COMMIT, KIND_LARGE_VALUE, KIND_PIECE, KIND_ROOT_VALUE, KIND_TABLE, KIND_WORKING_SET};
use super::{Commit, RootValue, Table, VersionError, WorkingSet, large};
use crate::chunk::{Hash, Link};
use crate::prolly;

/// Every hash this chunk refers to, in the order they stand in it.
///
/// Replication walks these to find what a peer lacks, and garbage collection to find what is alive. Rows are opaque:
/// of a map's values counts what they have attached, and the values themselves in maps of references.
pub fn references(chunk: &[u8]) -> Result<Vec<Hash>, VersionError> {
    Ok(links(chunk)?.into_iter().map(|link| link.hash).collect())
}

/// Like [`references`], and tells which of them may refer to others: a walk over everything need not read the rest,
/// which is nearly all of a database.
pub fn links(chunk: &[u8]) -> Result<Vec<Link>, VersionError> {
    let Some((kind, body)) = chunk.split_first() else {
        return Err(VersionError::malformed("chunk", "it is empty"));
    };
    let hashes = match *kind {
        prolly::KIND_LEAF | prolly::KIND_INTERIOR => return Ok(prolly::links(chunk)?),
        KIND_LARGE_VALUE => return large::index_links(body),
        KIND_PIECE => {
            large::check_piece(body)?;
            Vec::new()
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
    Ok(hashes.into_iter().map(|hash| Link { hash, leads_on: true }).collect())
}
