//! What changed between two maps.
//!
//! Two positions move through both trees in step. While both stand before the same subtree it is skipped unread;
//! otherwise the higher of the two is opened, until entries can be compared.

use std::cmp::Ordering;

use bytes::Bytes;

use super::ProllyError;
use super::node::Node;
use crate::chunk::{Hash, ReadChunks};

/// One key whose value is not the same in both maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub key: Bytes,
    pub before: Option<Bytes>,
    pub after: Option<Bytes>,
}

/// The differences of two maps, ascending by key. After an error it yields nothing more.
pub struct DiffIter<R> {
    chunks: R,
    before: Position,
    after: Position,
}

/// A place between the entries of a tree: nodes from the root down, each with the index of what comes next in it.
struct Position {
    path: Vec<(Node, usize)>,
}

/// What comes next at a position.
enum Next<'a> {
    Nothing,
    Subtree { level: u8, hash: Hash },
    Entry { leaf: &'a Node, index: usize },
}

impl Position {
    fn next(&self) -> Next<'_> {
        match self.path.last() {
            None => Next::Nothing,
            Some((node, index)) if node.is_leaf() => Next::Entry {
                leaf: node,
                index: *index,
            },
            Some((node, index)) => Next::Subtree {
                level: node.level() - 1,
                hash: node.child_hash(*index),
            },
        }
    }

    fn enter(&mut self, node: Node) {
        if node.len() > 0 {
            self.path.push((node, 0));
        }
    }

    fn open<R: ReadChunks>(&mut self, chunks: &R) -> Result<(), ProllyError> {
        let (node, index) = self.path.last().expect("there is a subtree next");
        let child = Node::load_child(chunks, node, *index)?;
        self.enter(child);
        Ok(())
    }

    fn skip(&mut self) {
        while let Some((node, index)) = self.path.last_mut() {
            *index += 1;
            if *index < node.len() {
                break;
            }
            self.path.pop();
        }
    }
}

impl<R: ReadChunks> DiffIter<R> {
    pub(super) fn new(chunks: R, before: &Hash, after: &Hash) -> Result<DiffIter<R>, ProllyError> {
        let (mut from, mut to) = (Position { path: Vec::new() }, Position { path: Vec::new() });
        if before != after {
            from.enter(Node::load(&chunks, before)?);
            to.enter(Node::load(&chunks, after)?);
        }
        Ok(DiffIter {
            chunks,
            before: from,
            after: to,
        })
    }

    fn step(&mut self) -> Result<Option<Difference>, ProllyError> {
        loop {
            match (self.before.next(), self.after.next()) {
                (Next::Nothing, Next::Nothing) => return Ok(None),
                (Next::Subtree { hash: before, .. }, Next::Subtree { hash: after, .. }) if before == after => {
                    self.before.skip();
                    self.after.skip();
                }
                (Next::Subtree { level: before, .. }, Next::Subtree { level: after, .. }) => {
                    if before >= after {
                        self.before.open(&self.chunks)?;
                    }
                    if after >= before {
                        self.after.open(&self.chunks)?;
                    }
                }
                (Next::Subtree { .. }, _) => self.before.open(&self.chunks)?,
                (_, Next::Subtree { .. }) => self.after.open(&self.chunks)?,
                (Next::Entry { leaf, index }, Next::Nothing) => {
                    let removed = one_sided(leaf, index, Side::Before);
                    self.before.skip();
                    return Ok(Some(removed));
                }
                (Next::Nothing, Next::Entry { leaf, index }) => {
                    let added = one_sided(leaf, index, Side::After);
                    self.after.skip();
                    return Ok(Some(added));
                }
                (Next::Entry { leaf: from, index: i }, Next::Entry { leaf: to, index: j }) => {
                    let difference = match from.key(i).cmp(to.key(j)) {
                        Ordering::Less => Some(one_sided(from, i, Side::Before)),
                        Ordering::Greater => Some(one_sided(to, j, Side::After)),
                        Ordering::Equal if from.value(i) == to.value(j) => None,
                        Ordering::Equal => Some(Difference {
                            key: to.key_bytes(j),
                            before: Some(from.value_bytes(i)),
                            after: Some(to.value_bytes(j)),
                        }),
                    };
                    let (has_before, has_after) = difference
                        .as_ref()
                        .map_or((true, true), |d| (d.before.is_some(), d.after.is_some()));
                    if has_before {
                        self.before.skip();
                    }
                    if has_after {
                        self.after.skip();
                    }
                    if difference.is_some() {
                        return Ok(difference);
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

fn one_sided(leaf: &Node, index: usize, side: Side) -> Difference {
    let value = leaf.value_bytes(index);
    let (before, after) = match side {
        Side::Before => (Some(value), None),
        Side::After => (None, Some(value)),
    };
    Difference {
        key: leaf.key_bytes(index),
        before,
        after,
    }
}

impl<R: ReadChunks> Iterator for DiffIter<R> {
    type Item = Result<Difference, ProllyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.before.path.clear();
            self.after.path.clear();
        }
        step.transpose()
    }
}
