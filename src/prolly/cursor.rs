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
    leaf: Option<Leaf>,
}

/// The part of one leaf that lies in a cursor's range.
#[derive(Debug)]
struct Leaf {
    node: Node,
    rest: Range<usize>,
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
        cursor.enter(root_node, true)?;
        Ok(cursor)
    }

    /// Goes down from `node` to the leaf at this end of the range (`seek`), or of the subtree.
    fn enter(&mut self, mut node: Node, seek: bool) -> Result<(), ProllyError> {
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
            self.path.push((std::mem::replace(&mut node, child), index));
        }
        let rest = self.within(&node);
        self.leaf = Some(Leaf { node, rest });
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

    /// Whether nothing of the range lies behind `leaf`: one that is not used up to its edge has an end of the range in it.
    fn range_ends_in(&self, leaf: &Node) -> bool {
        match self.direction {
            Direction::Ascending => match (&self.bounds.1, leaf.last_key()) {
                (Bound::Included(end) | Bound::Excluded(end), Some(last)) => last >= end.as_slice(),
                _ => false,
            },
            Direction::Descending => match (&self.bounds.0, leaf.len()) {
                (Bound::Included(start) | Bound::Excluded(start), 1..) => leaf.key(0) <= start.as_slice(),
                _ => false,
            },
        }
    }

    /// The child that comes after child `index`, or first of all.
    fn next_child(&self, node: &Node, index: Option<usize>) -> Option<usize> {
        match self.direction {
            Direction::Ascending => Some(index.map_or(0, |index| index + 1)).filter(|next| *next < node.len()),
            Direction::Descending => index.unwrap_or(node.len()).checked_sub(1),
        }
    }

    /// Goes to the next leaf that may hold something of the range; `leaf` is `None` afterwards when there is none.
    fn next_neighbour(&mut self) -> Result<(), ProllyError> {
        let Some(leaf) = self.leaf.take() else { return Ok(()) };
        if self.range_ends_in(&leaf.node) {
            return Ok(());
        }
        while let Some((node, index)) = self.path.pop() {
            if let Some(next) = self.next_child(&node, Some(index)) {
                let child = Node::load_child(&self.chunks, &node, next)?;
                self.path.push((node, next));
                return self.enter(child, false);
            }
        }
        Ok(())
    }

    /// Passes over the next `count` entries of the range, or all there are, and gives how many they were.
    ///
    /// Costs two paths through the tree, however many entries they are. After an error the cursor yields nothing more.
    pub fn advance(&mut self, count: u64) -> Result<u64, ProllyError> {
        let mut rest = count;
        while let Some(leaf) = &mut self.leaf {
            let here = leaf.rest.len();
            if rest < here as u64 {
                match self.direction {
                    Direction::Ascending => leaf.rest.start += rest as usize,
                    Direction::Descending => leaf.rest.end -= rest as usize,
                }
                return Ok(count);
            }
            rest -= here as u64;
            leaf.rest = leaf.rest.end..leaf.rest.end;
            if rest == 0 {
                break;
            }
            self.pass_subtrees(&mut rest)?;
        }
        Ok(count - rest)
    }

    /// Goes on to the leaf that holds the entry after the next `rest` ones, or an end of the range, and takes from `rest`
    /// what was passed on the way.
    fn pass_subtrees(&mut self, rest: &mut u64) -> Result<(), ProllyError> {
        let Some(leaf) = self.leaf.take() else { return Ok(()) };
        if self.range_ends_in(&leaf.node) {
            return Ok(());
        }
        while let Some((mut node, index)) = self.path.pop() {
            let mut index = Some(index);
            while let Some(next) = self.next_child(&node, index) {
                let total = node.child_total(next);
                if total <= *rest && self.is_within(&node, next) {
                    *rest -= total;
                    index = Some(next);
                    continue;
                }
                let child = Node::load_child(&self.chunks, &node, next)?;
                if child.is_leaf() {
                    let rest = self.within(&child);
                    self.path.push((node, next));
                    self.leaf = Some(Leaf { node: child, rest });
                    return Ok(());
                }
                self.path.push((std::mem::replace(&mut node, child), next));
                index = None;
            }
        }
        Ok(())
    }

    /// Whether everything below this child, which lies ahead, is in the range.
    fn is_within(&self, node: &Node, index: usize) -> bool {
        match self.direction {
            Direction::Ascending => match &self.bounds.1 {
                Bound::Unbounded => true,
                Bound::Included(end) => node.key(index) <= end.as_slice(),
                Bound::Excluded(end) => node.key(index) < end.as_slice(),
            },
            // The lowest key below a child is not known, but it is above the highest one before.
            Direction::Descending => match &self.bounds.0 {
                Bound::Unbounded => true,
                Bound::Included(start) | Bound::Excluded(start) => index > 0 && node.key(index - 1) >= start.as_slice(),
            },
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

    /// Cheap, see [`advance`](Cursor::advance); and so is `skip`.
    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        match self.advance(n as u64) {
            Ok(_) => self.next(),
            Err(error) => Some(Err(error)),
        }
    }
}
