//! Two changed versions of a map brought together.
//!
//! Only the changes of one side are applied, to the map of the other: a key that one side left alone is what the other
//! made of it. So it is enough to know the changes of the side that has fewer, and to look each of them up on the other.
//! Which side that is shows when the differences of both are read in step: one of them ends first.

use bytes::Bytes;

use super::diff::{DiffIter, Difference};
use super::{Map, ProllyError};
use crate::chunk::{ChunkBatch, ReadChunks};

/// A key that both sides changed, with what it was and what they made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeConflict {
    pub key: Bytes,
    pub base: Option<Bytes>,
    pub left: Option<Bytes>,
    pub right: Option<Bytes>,
}

/// What is to become of a key that both sides changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    Left,
    Right,
    Put(Bytes),
    Delete,
    /// It stays as on the left, and is among the conflicts of the result.
    Unresolved,
}

/// What a merge gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    pub map: Map,
    /// What was left unresolved, ascending by key.
    pub conflicts: Vec<MergeConflict>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

pub(super) fn merge<E: From<ProllyError>>(
    batch: &mut ChunkBatch<'_>,
    base: &Map,
    left: &Map,
    right: &Map,
    mut resolve: impl FnMut(&MergeConflict) -> Result<Resolution, E>,
) -> Result<Merged, E> {
    let (changed, changes) = fewer_changes(&*batch, base, left, right)?;
    let other = match changed {
        Side::Left => right,
        Side::Right => left,
    };
    bring_over(other, changed, batch, changes, |conflict| {
        if conflict.left == conflict.right {
            return Ok(Resolution::Left);
        }
        resolve(conflict)
    })
}

pub(super) fn rebase<E: From<ProllyError>>(
    map: &Map,
    batch: &mut ChunkBatch<'_>,
    changes: impl IntoIterator<Item = Difference>,
    resolve: impl FnMut(&MergeConflict) -> Result<Resolution, E>,
) -> Result<Merged, E> {
    bring_over(map, Side::Right, batch, changes, resolve)
}

/// The side with fewer changes, and these.
fn fewer_changes(
    chunks: &dyn ReadChunks,
    base: &Map,
    left: &Map,
    right: &Map,
) -> Result<(Side, Vec<Difference>), ProllyError> {
    let mut sides = [
        (Side::Left, base.diff(left, chunks)?, Vec::new()),
        (Side::Right, base.diff(right, chunks)?, Vec::new()),
    ];
    loop {
        for (side, differences, seen) in &mut sides {
            match DiffIter::next(differences) {
                Some(difference) => seen.push(difference?),
                None => return Ok((*side, std::mem::take(seen))),
            }
        }
    }
}

/// Applies `changes` of one side to the map of the other.
fn bring_over<E: From<ProllyError>>(
    other: &Map,
    changed: Side,
    batch: &mut ChunkBatch<'_>,
    changes: impl IntoIterator<Item = Difference>,
    mut resolve: impl FnMut(&MergeConflict) -> Result<Resolution, E>,
) -> Result<Merged, E> {
    let mut edits = Vec::new();
    let mut conflicts = Vec::new();
    for Difference { key, before, after } in changes {
        if before == after {
            continue;
        }
        let now = other.get(&*batch, &key)?;
        if now == before {
            edits.push((key.to_vec(), after));
            continue;
        }
        let (left, right) = match changed {
            Side::Left => (after, now.clone()),
            Side::Right => (now.clone(), after),
        };
        let conflict = MergeConflict {
            key,
            base: before,
            left,
            right,
        };
        let resolution = resolve(&conflict)?;
        let is_resolved = resolution != Resolution::Unresolved;
        let merged = match resolution {
            Resolution::Left | Resolution::Unresolved => conflict.left.clone(),
            Resolution::Right => conflict.right.clone(),
            Resolution::Put(value) => Some(value),
            Resolution::Delete => None,
        };
        if merged != now {
            edits.push((conflict.key.to_vec(), merged));
        }
        if !is_resolved {
            conflicts.push(conflict);
        }
    }
    let map = other.apply(batch, edits)?;
    Ok(Merged { map, conflicts })
}
