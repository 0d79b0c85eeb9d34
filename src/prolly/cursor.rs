//! Walks the entries of a range, in either direction.

use std::ops::{Bound, Range};

use bytes::Bytes;

use super::ProllyError;
use super::node::Node;
use crate::chunk::{Hash, ReadChunks};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// The entries of a range: keys and values are slices of the chunks they lie in, nothing is copied.
///
/// After an error it yields nothing more.
pub struct Cursor<R> {
    chunks: R,
    direction: Direction,
    bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// From the root down to the level above the leaf, with the child taken.
    path: Vec<(Node, usize)>,
    leaf: Option<LeafSpan>,
}

/// The part of one leaf that lies in a cursor's range.
#[derive(Debug, Clone)]
pub struct LeafSpan {
    hash: Hash,
    node: Node,
    rest: Range<usize>,
}

impl LeafSpan {
    /// Name of the leaf's chunk: what was derived from the whole leaf can be kept under it.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Which of the leaf's entries are in the range.
    pub fn span(&self) -> Range<usize> {
        self.rest.clone()
    }

    /// How many entries the whole leaf has.
    pub fn leaf_len(&self) -> usize {
        self.node.len()
    }

    /// Key and value of any entry of the leaf, in the range or not.
    pub fn entry(&self, index: usize) -> (&[u8], &[u8]) {
        (self.node.key(index), self.node.value(index))
    }
}

impl<R: ReadChunks> Cursor<R> {
    pub(super) fn new(
        chunks: R,
        root: &Hash,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Cursor<R>, ProllyError> {
        let root_node = Node::load(&chunks, root)?;
        let mut cursor = Cursor {
            chunks,
            direction,
            bounds,
            path: Vec::new(),
            leaf: None,
        };
        cursor.enter(root_node, *root, true)?;
        Ok(cursor)
    }

    /// Goes down from `node` to the leaf at this end of the range (`seek`), or of the subtree.
    fn enter(&mut self, node: Node, hash: Hash, seek: bool) -> Result<(), ProllyError> {
        let (mut node, mut hash) = (node, hash);
        while !node.is_leaf() {
            let last = node.len() - 1;
            let index = match (self.direction, &self.bounds) {
                (Direction::Ascending, (Bound::Included(key) | Bound::Excluded(key), _)) if seek => {
                    node.lower_bound(key).min(last)
                }
                (Direction::Ascending, _) => 0,
                (Direction::Descending, (_, Bound::Included(key) | Bound::Excluded(key))) if seek => {
                    node.lower_bound(key).min(last)
                }
                (Direction::Descending, _) => last,
            };
            let child = Node::load_child(&self.chunks, &node, index)?;
            hash = node.child(index);
            self.path.push((std::mem::replace(&mut node, child), index));
        }
        let rest = self.within(&node);
        self.leaf = Some(LeafSpan { hash, node, rest });
        Ok(())
    }

    /// Which entries of a leaf are in the range.
    fn within(&self, leaf: &Node) -> Range<usize> {
        let start = match &self.bounds.0 {
            Bound::Unbounded => 0,
            Bound::Included(start) => leaf.lower_bound(start),
            Bound::Excluded(start) => leaf.partition(|key| key <= start.as_slice()),
        };
        let end = match &self.bounds.1 {
            Bound::Unbounded => leaf.len(),
            Bound::Included(end) => leaf.partition(|key| key <= end.as_slice()),
            Bound::Excluded(end) => leaf.lower_bound(end),
        };
        start..end.max(start)
    }

    /// Goes to the next leaf that may hold something of the range; `leaf` is `None` afterwards when there is none.
    fn next_neighbour(&mut self) -> Result<(), ProllyError> {
        let Some(leaf) = self.leaf.take() else { return Ok(()) };
        // A leaf that is not used up to its edge has an end of the range within it.
        let range_ends_here = match self.direction {
            Direction::Ascending => match (&self.bounds.1, leaf.node.last_key()) {
                (Bound::Included(end) | Bound::Excluded(end), Some(last)) => last >= end.as_slice(),
                _ => false,
            },
            Direction::Descending => match (&self.bounds.0, leaf.node.len()) {
                (Bound::Included(start) | Bound::Excluded(start), 1..) => leaf.node.key(0) <= start.as_slice(),
                _ => false,
            },
        };
        if range_ends_here {
            return Ok(());
        }
        while let Some((node, index)) = self.path.pop() {
            let next = match self.direction {
                Direction::Ascending => Some(index + 1).filter(|next| *next < node.len()),
                Direction::Descending => index.checked_sub(1),
            };
            if let Some(next) = next {
                let child = Node::load_child(&self.chunks, &node, next)?;
                let hash = node.child(next);
                self.path.push((node, next));
                return self.enter(child, hash, false);
            }
        }
        Ok(())
    }

    /// The rest of the range in the current leaf, all at once; `None` at the end of the range.
    ///
    /// For scans that decode a leaf as a whole. May be mixed with `next`.
    pub fn next_leaf(&mut self) -> Option<Result<LeafSpan, ProllyError>> {
        loop {
            let leaf = self.leaf.as_mut()?;
            if !leaf.rest.is_empty() {
                let span = leaf.clone();
                leaf.rest = leaf.rest.end..leaf.rest.end;
                return Some(Ok(span));
            }
            if let Err(error) = self.next_neighbour() {
                self.leaf = None;
                return Some(Err(error));
            }
        }
    }
}

impl<R: ReadChunks> Iterator for Cursor<R> {
    type Item = Result<(Bytes, Bytes), ProllyError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let leaf = self.leaf.as_mut()?;
            let index = match self.direction {
                Direction::Ascending => leaf.rest.next(),
                Direction::Descending => leaf.rest.next_back(),
            };
            if let Some(index) = index {
                return Some(Ok((leaf.node.key_bytes(index), leaf.node.value_bytes(index))));
            }
            if let Err(error) = self.next_neighbour() {
                self.leaf = None;
                return Some(Err(error));
            }
        }
    }
}
