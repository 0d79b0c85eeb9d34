//! The map itself: a root, and what can be asked of it.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use super::ProllyError;
use super::apply::{Edit, OwnedItem, apply};
use super::build::TreeBuilder;
use super::cursor::{Cursor, Direction};
use super::diff::{DiffIter, Difference};
use super::merge::{self, MergeConflict, Merged, Resolution};
use super::node::{Item, Node, NodeBuilder};
use crate::chunk::{ChunkBatch, Hash, ReadChunks};

/// An immutable ordered map from byte strings to byte strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    root: Hash,
}

impl Map {
    /// The map without entries; like every map, it is a chunk.
    pub fn empty(batch: &mut ChunkBatch<'_>) -> Map {
        Map {
            root: batch.put(NodeBuilder::encode_empty(false)),
        }
    }

    /// The empty map whose values will be hashes of chunks, which then count as reachable from it.
    pub fn empty_of_references(batch: &mut ChunkBatch<'_>) -> Map {
        Map {
            root: batch.put(NodeBuilder::encode_empty(true)),
        }
    }

    /// The map with this root. Nothing is read until something is asked.
    pub fn from_root(root: Hash) -> Map {
        Map { root }
    }

    pub fn root(&self) -> Hash {
        self.root
    }

    /// The value of `key`, a slice of its node's chunk.
    pub fn get<R: ReadChunks + ?Sized>(&self, chunks: &R, key: &[u8]) -> Result<Option<Bytes>, ProllyError> {
        let mut node = Node::load(chunks, &self.root)?;
        loop {
            let index = node.lower_bound(key);
            if index == node.len() {
                return Ok(None);
            }
            if node.is_leaf() {
                return Ok((node.key(index) == key).then(|| node.value_bytes(index)));
            }
            node = Node::load_child(chunks, &node, index)?;
        }
    }

    /// The entries within `bounds`, ascending. Hand in a [`ChunkStore`](crate::chunk::ChunkStore) by value for a cursor
    /// that owns what it reads.
    pub fn range<R: ReadChunks>(&self, chunks: R, bounds: impl RangeBounds<Vec<u8>>) -> Result<Cursor<R>, ProllyError> {
        Cursor::new(chunks, &self.root, owned(bounds), Direction::Ascending)
    }

    /// The entries within `bounds`, descending. A part of the structure that no statement asks for yet.
    pub fn range_reverse<R: ReadChunks>(
        &self,
        chunks: R,
        bounds: impl RangeBounds<Vec<u8>>,
    ) -> Result<Cursor<R>, ProllyError> {
        Cursor::new(chunks, &self.root, owned(bounds), Direction::Descending)
    }

    /// How many entries there are; reads one node.
    pub fn count<R: ReadChunks + ?Sized>(&self, chunks: &R) -> Result<u64, ProllyError> {
        Ok(Node::load(chunks, &self.root)?.total())
    }

    /// How many keys are below `key`; reads one path.
    pub fn rank<R: ReadChunks + ?Sized>(&self, chunks: &R, key: &[u8]) -> Result<u64, ProllyError> {
        let mut node = Node::load(chunks, &self.root)?;
        let mut rank = 0u64;
        loop {
            let index = node.lower_bound(key);
            if node.is_leaf() {
                return Ok(rank.saturating_add(index as u64));
            }
            rank = (0..index).fold(rank, |sum, i| sum.saturating_add(node.child_total(i)));
            if index == node.len() {
                return Ok(rank);
            }
            node = Node::load_child(chunks, &node, index)?;
        }
    }

    /// The entry that has `rank` keys below it; reads one path.
    pub fn nth<R: ReadChunks + ?Sized>(&self, chunks: &R, rank: u64) -> Result<Option<(Bytes, Bytes)>, ProllyError> {
        let mut node = Node::load(chunks, &self.root)?;
        let mut rest = rank;
        'down: loop {
            if node.is_leaf() {
                let index = usize::try_from(rest).unwrap_or(usize::MAX);
                return Ok((index < node.len()).then(|| (node.key_bytes(index), node.value_bytes(index))));
            }
            for index in 0..node.len() {
                match rest.checked_sub(node.child_total(index)) {
                    Some(beyond) => rest = beyond,
                    None => {
                        node = Node::load_child(chunks, &node, index)?;
                        continue 'down;
                    }
                }
            }
            return Ok(None);
        }
    }

    /// The map after `edits`, strictly ascending by key: a value is put, `None` removes. New nodes go to `batch`.
    ///
    /// The result is what [`Map::build`] of the resulting content gives. Edits that change nothing give the same root.
    ///
    /// # Errors
    /// `Unsorted`, `KeyTooLong`, `ValueTooLarge`, `NotAReference`; what reading the old nodes answers.
    pub fn apply(
        &self,
        batch: &mut ChunkBatch<'_>,
        edits: impl IntoIterator<Item = (Vec<u8>, Option<Bytes>)>,
    ) -> Result<Map, ProllyError> {
        let edits = edits.into_iter().map(|(key, value)| Edit {
            key: key.into(),
            item: value.map(OwnedItem::Value),
        });
        apply(self, batch, edits)
    }

    /// A map of `entries`, strictly ascending by key. Needs memory for one node per level, and for what `batch` holds.
    ///
    /// # Errors
    /// `Unsorted`, `KeyTooLong`, `ValueTooLarge`.
    pub fn build<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        batch: &mut ChunkBatch<'_>,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Map, ProllyError> {
        let mut builder = TreeBuilder::new(0, false);
        for (key, value) in entries {
            builder.push(batch, key.as_ref(), Item::Value(value.as_ref()))?;
        }
        builder.finish(batch)
    }

    /// What changed from this map to `other`, ascending by key. Subtrees that both share are not read.
    pub fn diff<R: ReadChunks>(&self, other: &Map, chunks: R) -> Result<DiffIter<R>, ProllyError> {
        DiffIter::new(chunks, &self.root, &other.root)
    }

    /// What becomes of `base` when both what led to `left` and what led to `right` is done to it.
    ///
    /// `resolve` is asked about each key that both sides changed, differently, in ascending order; the same change on
    /// both sides is one change. Without unresolved conflicts, and if `resolve` does not mind which side is which, the
    /// sides may be swapped. Costs what the side with fewer changes costs, whatever the size of the maps.
    ///
    /// # Errors
    /// The first that `resolve` answers; what reading the old nodes answers.
    pub fn merge<E: From<ProllyError>>(
        batch: &mut ChunkBatch<'_>,
        base: &Map,
        left: &Map,
        right: &Map,
        resolve: impl FnMut(&MergeConflict) -> Result<Resolution, E>,
    ) -> Result<Merged, E> {
        merge::merge(batch, base, left, right, resolve)
    }

    /// This map with `changes`, strictly ascending by key, which were made over another version of it.
    ///
    /// `resolve` is asked about each key whose value here (`left`) is not what it was before the change, even when it is
    /// already what the change (`right`) makes of it. Costs O(changes x log n).
    ///
    /// # Errors
    /// The first that `resolve` answers; those of [`Map::apply`].
    pub fn rebase<E: From<ProllyError>>(
        &self,
        batch: &mut ChunkBatch<'_>,
        changes: impl IntoIterator<Item = Difference>,
        resolve: impl FnMut(&MergeConflict) -> Result<Resolution, E>,
    ) -> Result<Merged, E> {
        merge::rebase(self, batch, changes, resolve)
    }
}

fn owned(bounds: impl RangeBounds<Vec<u8>>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (bounds.start_bound().cloned(), bounds.end_bound().cloned())
}
