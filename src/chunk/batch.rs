//! Reading chunks, and collecting new ones over what is there.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;

use super::{ChunkError, Hash};

/// Anything that gives a chunk for its name.
pub trait ReadChunks: Send + Sync {
    /// The bytes named by `hash`, verified.
    ///
    /// # Errors
    /// `Missing` when it is not here, `Corrupt` when the disk gave other bytes, `Io`.
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError>;

    /// Whether `get` would find it; the bytes are not looked at.
    fn contains(&self, hash: &Hash) -> bool;
}

impl<T: ReadChunks + ?Sized> ReadChunks for &T {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        (**self).get(hash)
    }

    fn contains(&self, hash: &Hash) -> bool {
        (**self).contains(hash)
    }
}

impl<T: ReadChunks + ?Sized> ReadChunks for Arc<T> {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        (**self).get(hash)
    }

    fn contains(&self, hash: &Hash) -> bool {
        (**self).contains(hash)
    }
}

/// A base without any chunk, for building something from nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoChunks;

impl ReadChunks for NoChunks {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        Err(ChunkError::Missing { hash: *hash })
    }

    fn contains(&self, _: &Hash) -> bool {
        false
    }
}

/// New chunks over a base, readable together, in the order in which they were put.
///
/// A chunk that the base already holds is kept all the same: the log's suffix after a root must hold everything that
/// the next root adds to it, or a standby that was seeded with that root alone could not follow.
pub struct ChunkBatch<'a> {
    base: &'a dyn ReadChunks,
    new: IndexMap<Hash, Bytes>,
}

impl<'a> ChunkBatch<'a> {
    pub fn new(base: &'a dyn ReadChunks) -> ChunkBatch<'a> {
        ChunkBatch {
            base,
            new: IndexMap::new(),
        }
    }

    /// Adds a chunk and gives its name.
    pub fn put(&mut self, bytes: Bytes) -> Hash {
        let hash = Hash::of(&bytes);
        self.new.entry(hash).or_insert(bytes);
        hash
    }

    /// Adds a chunk whose name the caller has computed already.
    pub fn put_named(&mut self, hash: Hash, bytes: Bytes) {
        debug_assert_eq!(hash, Hash::of(&bytes), "a chunk is named by its hash");
        self.new.entry(hash).or_insert(bytes);
    }

    /// How many chunks were put.
    pub fn len(&self) -> usize {
        self.new.len()
    }

    pub fn is_empty(&self) -> bool {
        self.new.is_empty()
    }

    /// Their size in bytes.
    pub fn bytes(&self) -> usize {
        self.new.values().map(Bytes::len).sum()
    }

    /// Drops what cannot be reached from `roots`: what an earlier step put and a later one replaced.
    ///
    /// `references` tells what a chunk refers to. Chunks of the base are not followed: they cannot refer to new ones.
    ///
    /// # Errors
    /// What `references` answers.
    pub fn retain_reachable<E>(
        &mut self,
        roots: &[Hash],
        references: impl Fn(&Bytes) -> Result<Vec<Hash>, E>,
    ) -> Result<(), E> {
        let mut reached = vec![false; self.new.len()];
        let mut open = roots.to_vec();
        while let Some(hash) = open.pop() {
            let Some((index, _, bytes)) = self.new.get_full(&hash) else {
                continue;
            };
            if !std::mem::replace(&mut reached[index], true) {
                open.extend(references(bytes)?);
            }
        }
        let mut index = 0;
        self.new.retain(|_, _| {
            index += 1;
            reached[index - 1]
        });
        Ok(())
    }

    /// The new chunks, ready for [`ChunkStore::append`](super::ChunkStore::append).
    pub fn into_chunks(self) -> Vec<(Hash, Bytes)> {
        self.new.into_iter().collect()
    }
}

impl ReadChunks for ChunkBatch<'_> {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        match self.new.get(hash) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.base.get(hash),
        }
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.new.contains_key(hash) || self.base.contains(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_what_it_was_given_and_what_lies_below() {
        let mut below = ChunkBatch::new(&NoChunks);
        let old = below.put(Bytes::from_static(b"old"));
        let mut batch = ChunkBatch::new(&below);
        let new = batch.put(Bytes::from_static(b"new"));
        assert_eq!(batch.get(&old).unwrap(), "old");
        assert_eq!(batch.get(&new).unwrap(), "new");
        assert!(matches!(batch.get(&Hash::of(b"else")), Err(ChunkError::Missing { .. })));
        assert_eq!(batch.into_chunks(), vec![(new, Bytes::from_static(b"new"))]);
    }

    #[test]
    fn only_reachable_chunks_are_retained_in_order() {
        // A chunk here refers to the chunk whose name it holds, if it holds one.
        let references = |bytes: &Bytes| Ok::<_, ()>(Hash::from_slice(bytes).into_iter().collect::<Vec<_>>());
        let mut batch = ChunkBatch::new(&NoChunks);
        let leaf = batch.put(Bytes::from_static(b"leaf"));
        let dropped = batch.put(Bytes::from_static(b"dropped"));
        let root = batch.put(Bytes::copy_from_slice(leaf.as_bytes()));
        batch.retain_reachable(&[root], references).unwrap();
        assert!(!batch.contains(&dropped));
        assert_eq!(
            batch
                .into_chunks()
                .into_iter()
                .map(|(hash, _)| hash)
                .collect::<Vec<_>>(),
            [leaf, root]
        );
    }
}
