//! Builds whole levels from entries in order, holding one unfinished node per level.

use super::node::{ChildRef, Item, NodeBuilder};
use super::{Map, ProllyError};
use crate::chunk::ChunkBatch;

/// The unfinished right edge of a tree.
pub(super) struct TreeBuilder {
    values_are_hashes: bool,
    /// Level of `edge[0]`.
    base: u8,
    edge: Vec<Level>,
}

struct Level {
    node: NodeBuilder,
    /// How many entries this level was given, and the last of them when it refers to a node.
    pushed: u64,
    last: Option<ChildRef>,
}

impl TreeBuilder {
    /// Starts at the leaves with `base` 0, or above finished nodes.
    pub fn new(base: u8, values_are_hashes: bool) -> TreeBuilder {
        TreeBuilder {
            values_are_hashes,
            base,
            edge: Vec::new(),
        }
    }

    fn level(&mut self, index: usize) -> &mut Level {
        if index == self.edge.len() {
            let level =
                self.base + u8::try_from(index).expect("each level has at most half the nodes of the one below");
            self.edge.push(Level {
                node: NodeBuilder::new(level, self.values_are_hashes),
                pushed: 0,
                last: None,
            });
        }
        &mut self.edge[index]
    }

    pub fn push(&mut self, batch: &mut ChunkBatch<'_>, key: &[u8], item: Item<'_>) -> Result<(), ProllyError> {
        let level = self.level(0);
        level.pushed += 1;
        if level.node.push(key, item)? {
            self.finish_node(batch, 0)?;
        }
        Ok(())
    }

    fn finish_node(&mut self, batch: &mut ChunkBatch<'_>, index: usize) -> Result<(), ProllyError> {
        let mut index = index;
        while let Some((child, bytes)) = self.edge[index].node.finish() {
            batch.put_named(child.child.hash, bytes);
            index += 1;
            let level = self.level(index);
            level.pushed += 1;
            let ended = level.node.push(&child.last_key, Item::Child(child.child))?;
            level.last = Some(child);
            if !ended {
                break;
            }
        }
        Ok(())
    }

    /// The root is the one node of the lowest level that has only one.
    pub fn finish(mut self, batch: &mut ChunkBatch<'_>) -> Result<Map, ProllyError> {
        let mut index = 0;
        while index < self.edge.len() {
            self.finish_node(batch, index)?;
            if let Some(Level {
                pushed: 1,
                last: Some(only),
                ..
            }) = self.edge.get(index + 1)
            {
                return Ok(Map::from_root(only.child.hash));
            }
            index += 1;
        }
        assert!(
            self.edge.is_empty(),
            "the level above the last finished one holds exactly one node"
        );
        Ok(Map::from_root(
            batch.put(NodeBuilder::encode_empty(self.values_are_hashes)),
        ))
    }
}
