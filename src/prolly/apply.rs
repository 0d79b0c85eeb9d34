//! Applies edits by rewriting the nodes they touch.
//!
//! The nodes of one level are, seen from above, a sorted map from last key to child. So edits of the entries of one
//! level become edits of the entries of the next: remove the children that were rewritten, put those that replace
//! them. Level by level the same step is taken, until it reaches the old root.
//!
//! Within a level, rewriting starts where the old node of the first edit started, which is a boundary in the new tree
//! too because nothing before it changed. It goes on until an old node's end is an end of the new node as well, or the
//! level ends. From there on the old nodes are what a new build would give.

use std::iter::Peekable;

use bytes::Bytes;

use super::build::TreeBuilder;
use super::node::{Child, ChildRef, Item, Node, NodeBuilder};
use super::{Map, ProllyError};
use crate::chunk::{ChunkBatch, Hash, ReadChunks};

/// What becomes of one key of a level.
pub(super) struct Edit {
    pub key: Bytes,
    pub item: Option<OwnedItem>,
}

/// An [`Item`] that owns its value.
pub(super) enum OwnedItem {
    Value(Bytes),
    Child(Child),
}

impl OwnedItem {
    fn borrow(&self) -> Item<'_> {
        match self {
            OwnedItem::Value(value) => Item::Value(value),
            OwnedItem::Child(child) => Item::Child(*child),
        }
    }
}

pub(super) fn apply(
    map: &Map,
    batch: &mut ChunkBatch<'_>,
    edits: impl Iterator<Item = Edit>,
) -> Result<Map, ProllyError> {
    let root = Node::load(batch, &map.root())?;
    let mut edits = rewrite_level(batch, &root, map.root(), 0, Ascending::new(edits))?;
    for level in 1..=root.level() {
        edits = rewrite_level(batch, &root, map.root(), level, edits.into_iter().map(Ok))?;
    }
    if edits.is_empty() {
        return Ok(*map);
    }

    // Above the old root there was one entry, the root itself, unless the map was empty.
    let mut tops: Vec<ChildRef> = Vec::new();
    if let Some(last_key) = root.last_key()
        && !edits.iter().any(|edit| edit.key == last_key)
    {
        tops.push(ChildRef {
            last_key: Bytes::copy_from_slice(last_key),
            child: Child {
                hash: map.root(),
                total: root.total(),
                attached: root.has_attached(),
            },
        });
    }
    for edit in edits {
        if let Some(OwnedItem::Child(child)) = edit.item {
            tops.push(ChildRef {
                last_key: edit.key,
                child,
            });
        }
    }
    tops.sort_by(|a, b| a.last_key.cmp(&b.last_key));
    match tops.as_slice() {
        [] => Ok(Map::from_root(
            batch.put(NodeBuilder::encode_empty(root.values_are_hashes())),
        )),
        [only] => lowest_root(batch, only.child.hash),
        _ => {
            let mut builder = TreeBuilder::new(root.level() + 1, root.values_are_hashes());
            for top in &tops {
                builder.push(batch, &top.last_key, Item::Child(top.child))?;
            }
            builder.finish(batch)
        }
    }
}

/// A root with a single child is not the root a build would give: that child is, or one below it.
fn lowest_root(batch: &ChunkBatch<'_>, top: Hash) -> Result<Map, ProllyError> {
    let mut hash = top;
    let mut node = Node::load(batch, &hash)?;
    while !node.is_leaf() && node.len() == 1 {
        hash = node.child_hash(0);
        node = Node::load_child(batch, &node, 0)?;
    }
    Ok(Map::from_root(hash))
}

/// Applies the edits of one level's entries and gives those of the next level's.
fn rewrite_level(
    batch: &mut ChunkBatch<'_>,
    root: &Node,
    root_hash: Hash,
    level: u8,
    edits: impl Iterator<Item = Result<Edit, ProllyError>>,
) -> Result<Vec<Edit>, ProllyError> {
    let mut edits = edits.peekable();
    let mut above = Vec::new();
    let mut builder = NodeBuilder::new(level, root.values_are_hashes());
    while let Some(first) = peek(&mut edits)? {
        let mut walk = LevelWalk::seek(batch, root, root_hash, level, &first.key)?;
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        loop {
            let is_last = walk.is_last();
            let old = &walk.node;
            merge(&mut builder, old, is_last, &mut edits, &mut added)?;
            removed.extend(
                old.last_key()
                    .map(|last_key| (Bytes::copy_from_slice(last_key), walk.hash)),
            );
            if is_last {
                added.extend(builder.finish());
            }
            if builder.is_empty() {
                break;
            }
            walk.advance(batch)?;
        }
        replace(batch, removed, added, &mut above);
    }
    Ok(above)
}

fn peek<I: Iterator<Item = Result<Edit, ProllyError>>>(edits: &mut Peekable<I>) -> Result<Option<&Edit>, ProllyError> {
    match edits.peek() {
        None => Ok(None),
        Some(Ok(edit)) => Ok(Some(edit)),
        Some(Err(error)) => Err(error.clone()),
    }
}

/// Pushes the entries of `old` with the edits that belong to it; nodes that end on the way go to `added`.
///
/// To a node belong the edits up to its last key, and to the last node of the level also those beyond.
fn merge<I: Iterator<Item = Result<Edit, ProllyError>>>(
    builder: &mut NodeBuilder,
    old: &Node,
    is_last: bool,
    edits: &mut Peekable<I>,
    added: &mut Vec<(ChildRef, Bytes)>,
) -> Result<(), ProllyError> {
    let mut push = |builder: &mut NodeBuilder, key: &[u8], item: Item<'_>| {
        if builder.push(key, item)? {
            added.extend(builder.finish());
        }
        Ok::<_, ProllyError>(())
    };
    let mut index = 0;
    loop {
        let old_key = (index < old.len()).then(|| old.key(index));
        let edit = match (peek(edits)?, old_key) {
            (Some(edit), Some(old_key)) if edit.key <= old_key => Some(edit),
            (Some(edit), None) if is_last => Some(edit),
            _ => None,
        };
        match (edit, old_key) {
            (Some(edit), _) => {
                if old_key.is_some_and(|old_key| edit.key == old_key) {
                    index += 1;
                }
                if let Some(item) = &edit.item {
                    push(builder, &edit.key, item.borrow())?;
                }
                edits.next();
            }
            (None, Some(old_key)) => {
                push(builder, old_key, old.item(index))?;
                index += 1;
            }
            (None, None) => return Ok(()),
        }
    }
}

/// Puts the nodes that are new and says what changes in the level above.
fn replace(
    batch: &mut ChunkBatch<'_>,
    removed: Vec<(Bytes, Hash)>,
    added: Vec<(ChildRef, Bytes)>,
    above: &mut Vec<Edit>,
) {
    let mut removed = removed.into_iter().peekable();
    for (new, bytes) in added {
        while let Some((key, _)) = removed.next_if(|(last_key, _)| *last_key < new.last_key) {
            above.push(Edit { key, item: None });
        }
        if let Some((_, hash)) = removed.next_if(|(last_key, _)| *last_key == new.last_key)
            && hash == new.child.hash
        {
            continue;
        }
        batch.put_named(new.child.hash, bytes);
        above.push(Edit {
            key: new.last_key,
            item: Some(OwnedItem::Child(new.child)),
        });
    }
    above.extend(removed.map(|(key, _)| Edit { key, item: None }));
}

/// The nodes of one level of the old tree, from some key on.
struct LevelWalk {
    /// From the root down to the level above, with the child taken.
    path: Vec<(Node, usize)>,
    node: Node,
    hash: Hash,
    level: u8,
}

impl LevelWalk {
    /// Stands on the node that holds or would hold `key`.
    fn seek<R: ReadChunks + ?Sized>(
        chunks: &R,
        root: &Node,
        root_hash: Hash,
        level: u8,
        key: &[u8],
    ) -> Result<LevelWalk, ProllyError> {
        let mut walk = LevelWalk {
            path: Vec::new(),
            node: root.clone(),
            hash: root_hash,
            level,
        };
        walk.descend(chunks, |node| node.lower_bound(key).min(node.len() - 1))?;
        Ok(walk)
    }

    fn descend<R: ReadChunks + ?Sized>(
        &mut self,
        chunks: &R,
        choose: impl Fn(&Node) -> usize,
    ) -> Result<(), ProllyError> {
        while self.node.level() > self.level {
            let index = choose(&self.node);
            let child = Node::load_child(chunks, &self.node, index)?;
            self.hash = self.node.child_hash(index);
            self.path.push((std::mem::replace(&mut self.node, child), index));
        }
        Ok(())
    }

    fn is_last(&self) -> bool {
        self.path.iter().all(|(node, index)| index + 1 == node.len())
    }

    /// Goes to the next node of the level, which exists.
    fn advance<R: ReadChunks + ?Sized>(&mut self, chunks: &R) -> Result<(), ProllyError> {
        while let Some((node, index)) = self.path.pop() {
            if index + 1 < node.len() {
                self.node = Node::load_child(chunks, &node, index + 1)?;
                self.hash = node.child_hash(index + 1);
                self.path.push((node, index + 1));
                return self.descend(chunks, |_| 0);
            }
        }
        unreachable!("the last node of a level ends the rewriting")
    }
}

/// Passes edits on while their keys ascend.
struct Ascending<I> {
    edits: I,
    last: Option<Bytes>,
}

impl<I: Iterator<Item = Edit>> Ascending<I> {
    fn new(edits: I) -> Ascending<I> {
        Ascending { edits, last: None }
    }
}

impl<I: Iterator<Item = Edit>> Iterator for Ascending<I> {
    type Item = Result<Edit, ProllyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let edit = self.edits.next()?;
        if self.last.as_ref().is_some_and(|last| *last >= edit.key) {
            return Some(Err(ProllyError::Unsorted));
        }
        self.last = Some(edit.key.clone());
        Some(Ok(edit))
    }
}
