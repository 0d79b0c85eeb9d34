//! Chunks as they were read, within a bound.
//!
//! Chunks never change, so nothing is ever invalidated: entries leave only to make room. Several stores share one
//! cache; each sees only its own entries, or a chunk that one store lost would seem to be there because another has it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Hash;
use crate::runtime::{LookupMap, queue};

/// A cache of chunks with a bound in bytes. Clones share it.
#[derive(Clone)]
pub struct ChunkCache(Arc<Inner>);

struct Inner {
    bytes_max: usize,
    next_store: AtomicU32,
    shards: Vec<Mutex<Shard>>,
}

/// Apart, so that readers on different threads seldom meet.
const SHARDS: usize = 16;

/// What an entry costs beside its bytes: its slots in map and ring.
const ENTRY_OVERHEAD: usize = 96;

type Key = (u32, Hash);

/// Second chance: a ring of entries and a hand; what was used since the hand last passed is spared once.
#[derive(Default)]
struct Shard {
    slots: LookupMap<Key, usize>,
    ring: Vec<Slot>,
    hand: usize,
    bytes: usize,
}

struct Slot {
    key: Key,
    chunk: Bytes,
    used: bool,
}

impl ChunkCache {
    pub fn new(bytes_max: usize) -> ChunkCache {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        ChunkCache(Arc::new(Inner {
            bytes_max,
            next_store: AtomicU32::new(0),
            shards,
        }))
    }

    /// The part of the cache that belongs to one store.
    pub(super) fn for_store(&self) -> StoreCache {
        StoreCache {
            store: self.0.next_store.fetch_add(1, Ordering::Relaxed),
            cache: self.clone(),
        }
    }

    /// Bytes held, the overhead counted in.
    pub fn bytes(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().bytes).sum()
    }
}

impl fmt::Debug for ChunkCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkCache({} of {} bytes)", self.bytes(), self.0.bytes_max)
    }
}

/// One store's view of the cache.
pub(super) struct StoreCache {
    store: u32,
    cache: ChunkCache,
}

impl StoreCache {
    fn shard(&self, hash: &Hash) -> &Mutex<Shard> {
        &self.cache.0.shards[usize::from(hash.as_bytes()[19]) % SHARDS]
    }

    pub fn get(&self, hash: &Hash) -> Option<Bytes> {
        let mut shard = self.shard(hash).lock();
        let slot = *shard.slots.get(&(self.store, *hash))?;
        let slot = &mut shard.ring[slot];
        slot.used = true;
        Some(slot.chunk.clone())
    }

    /// Forgets a chunk that the store has given up.
    pub fn remove(&self, hash: &Hash) {
        self.shard(hash).lock().remove(&(self.store, *hash));
    }

    /// Forgets all chunks of the store but those that `keep` names.
    pub fn retain(&self, keep: impl Fn(&Hash) -> bool) {
        for shard in &self.cache.0.shards {
            let mut shard = shard.lock();
            let ours = shard.ring.iter().map(|slot| slot.key);
            let gone = ours.filter(|(store, hash)| *store == self.store && !keep(hash));
            for key in gone.collect::<Vec<_>>() {
                shard.remove(&key);
            }
        }
    }

    /// Keeps a chunk that owns just its bytes, or little more.
    pub fn put(&self, hash: Hash, chunk: Bytes) {
        self.put_with(hash, chunk.len(), || chunk);
    }

    /// Keeps a copy: the chunk may be a slice, and would keep all of the buffer alive that it is cut from.
    pub fn put_copy(&self, hash: Hash, chunk: &[u8]) {
        self.put_with(hash, chunk.len(), || Bytes::copy_from_slice(chunk));
    }

    fn put_with(&self, hash: Hash, bytes: usize, chunk: impl FnOnce() -> Bytes) {
        let bytes_max = self.cache.0.bytes_max / SHARDS;
        let mut shard = self.shard(&hash).lock();
        if shard.make_room((self.store, hash), bytes, bytes_max) {
            shard.insert((self.store, hash), chunk());
            queue!("chunk.cache", shard.bytes, bytes_max);
        }
    }
}

impl Shard {
    /// Makes room for a chunk of so many bytes; false when it is here already or is not to be kept.
    fn make_room(&mut self, key: Key, bytes: usize, bytes_max: usize) -> bool {
        let cost = bytes + ENTRY_OVERHEAD;
        // One chunk must not sweep out a large part of the rest.
        if cost > bytes_max / 4 || self.slots.contains_key(&key) {
            return false;
        }
        while self.bytes + cost > bytes_max {
            self.evict();
        }
        true
    }

    fn insert(&mut self, key: Key, chunk: Bytes) {
        self.bytes += chunk.len() + ENTRY_OVERHEAD;
        self.slots.insert(key, self.ring.len());
        self.ring.push(Slot {
            key,
            chunk,
            used: false,
        });
    }

    fn evict(&mut self) {
        loop {
            self.hand = if self.hand < self.ring.len() { self.hand } else { 0 };
            let slot = &mut self.ring[self.hand];
            if std::mem::take(&mut slot.used) {
                self.hand += 1;
                continue;
            }
            let key = slot.key;
            self.remove(&key);
            self.hand += 1;
            return;
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(at) = self.slots.remove(key) else { return };
        let gone = self.ring.swap_remove(at);
        if let Some(moved) = self.ring.get(at) {
            self.slots.insert(moved.key, at);
        }
        self.bytes -= gone.chunk.len() + ENTRY_OVERHEAD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(i: u32) -> (Hash, Bytes) {
        let bytes = Bytes::from(i.to_le_bytes().repeat(100));
        (Hash::of(&bytes), bytes)
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let cache = ChunkCache::new(400_000);
        let store = cache.for_store();
        let (hot, bytes) = chunk(u32::MAX);
        store.put(hot, bytes.clone());
        for i in 0..10_000 {
            let (hash, bytes) = chunk(i);
            store.put(hash, bytes);
            assert!(store.get(&hot).is_some(), "the chunk in use was evicted after {i}");
        }
        assert!(cache.bytes() <= 400_000);
        assert!(cache.bytes() > 350_000, "room is used");
        assert_eq!(store.get(&chunk(9_999).0), Some(chunk(9_999).1));
        assert_eq!(store.get(&chunk(0).0), None);
    }

    #[test]
    fn stores_do_not_see_each_other() {
        let cache = ChunkCache::new(1 << 20);
        let (one, other) = (cache.for_store(), cache.for_store());
        let (hash, bytes) = chunk(1);
        one.put(hash, bytes);
        assert_eq!(other.get(&hash), None);
    }

    #[test]
    fn what_a_store_gives_up_is_forgotten() {
        let cache = ChunkCache::new(1 << 20);
        let (one, other) = (cache.for_store(), cache.for_store());
        for i in 0..100 {
            one.put(chunk(i).0, chunk(i).1);
            other.put(chunk(i).0, chunk(i).1);
        }
        let kept: Vec<Hash> = (0..50).map(|i| chunk(i).0).collect();
        one.retain(|hash| kept.contains(hash));
        one.remove(&chunk(0).0);
        for i in 0..100 {
            assert_eq!(one.get(&chunk(i).0).is_some(), (1..50).contains(&i), "chunk {i}");
            assert!(other.get(&chunk(i).0).is_some(), "another store keeps its own");
        }
    }

    #[test]
    fn chunks_too_large_for_it_are_not_kept() {
        let cache = ChunkCache::new(16 * 1024);
        let store = cache.for_store();
        let bytes = Bytes::from(vec![1; 4096]);
        store.put(Hash::of(&bytes), bytes.clone());
        assert_eq!(cache.bytes(), 0);
    }
}
