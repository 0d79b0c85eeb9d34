//! Where each chunk lies: 32 bytes a chunk and a little slack, in memory.
//!
//! Hashes are uniform, so a sorted array is searched by guessing where a hash must be, in three or four looks, without
//! the empty room of a hash table. Entries are dealt to shards by their first byte; each shard is a large sorted run
//! and a small one that takes insertions and is merged into the large one now and then.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::Hash;
use super::format::{IndexedChunk, PACK_NUMBER_BASE, Position};

/// The place of a chunk's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub segment: u32,
    pub offset: u32,
    /// Bytes stored behind the hash.
    pub bytes: u32,
}

impl Location {
    pub fn of(segment: u64, chunk: &IndexedChunk) -> Location {
        Location {
            segment: u32::try_from(segment).expect("numbers of segments fit 32 bits"),
            offset: chunk.offset,
            bytes: chunk.bytes,
        }
    }

    pub fn position(&self) -> Position {
        Position {
            segment: u64::from(self.segment),
            offset: u64::from(self.offset),
        }
    }

    pub fn is_in_pack(&self) -> bool {
        u64::from(self.segment) >= PACK_NUMBER_BASE
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: Hash,
    location: Location,
}

const _: () = assert!(size_of::<Entry>() == 32, "an entry is 32 bytes");

const SHARDS: usize = 256;

/// Each shard has a lock of its own, so that readers seldom meet a writer, and a collection can move everything
/// shard by shard.
pub(super) struct Index {
    shards: Vec<RwLock<Shard>>,
    len: AtomicU64,
}

#[derive(Default)]
struct Shard {
    settled: Vec<Entry>,
    recent: Vec<Entry>,
}

impl Index {
    pub fn new() -> Index {
        Index {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            len: AtomicU64::new(0),
        }
    }

    /// An index of many entries at once; of several with one hash the last one counts.
    pub fn of(entries: impl IntoIterator<Item = (Hash, Location)>) -> Index {
        let mut index = Index::new();
        for (hash, location) in entries {
            let shard = index.shards[usize::from(hash.as_bytes()[0])].get_mut();
            shard.settled.push(Entry { hash, location });
        }
        let mut len = 0;
        for shard in &mut index.shards {
            let shard = shard.get_mut();
            sort(&mut shard.settled);
            shard.settled.dedup_by(|later, kept| {
                let same = later.hash == kept.hash;
                if same {
                    kept.location = later.location;
                }
                same
            });
            shard.settled.shrink_to_fit();
            len += shard.settled.len() as u64;
        }
        index.len = AtomicU64::new(len);
        index
    }

    fn shard(&self, hash: &Hash) -> &RwLock<Shard> {
        &self.shards[usize::from(hash.as_bytes()[0])]
    }

    pub fn get(&self, hash: &Hash) -> Option<Location> {
        self.shard(hash).read().get(hash)
    }

    /// Enters a chunk; the newest place of a hash counts.
    pub fn insert(&self, hash: Hash, location: Location) {
        if self.shard(&hash).write().insert(Entry { hash, location }) {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Enters a chunk unless there is a place for it already; true when it was entered.
    pub fn insert_absent(&self, hash: Hash, location: Location) -> bool {
        let mut shard = self.shard(&hash).write();
        let is_new = shard.get(&hash).is_none();
        if is_new {
            shard.insert(Entry { hash, location });
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    /// Moves each entry to where `place` says, or drops it. Shard by shard: others see some moved and some not.
    pub fn rearrange(&self, mut place: impl FnMut(&Hash, Location) -> Option<Location>) {
        for shard in &self.shards {
            let mut shard = shard.write();
            let before = shard.settled.len() + shard.recent.len();
            let mut keep = |entry: &mut Entry| match place(&entry.hash, entry.location) {
                Some(location) => {
                    entry.location = location;
                    true
                }
                None => false,
            };
            shard.settled.retain_mut(&mut keep);
            shard.recent.retain_mut(&mut keep);
            let gone = before - shard.settled.len() - shard.recent.len();
            if gone > before / 4 {
                shard.settled.shrink_to_fit();
            }
            self.len.fetch_sub(gone as u64, Ordering::Relaxed);
        }
    }

    /// How many chunks it knows.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    fn memory_bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.read());
        let entries: usize = shards
            .map(|shard| shard.settled.capacity() + shard.recent.capacity())
            .sum();
        entries * size_of::<Entry>()
    }
}

impl Shard {
    fn get(&self, hash: &Hash) -> Option<Location> {
        if let Ok(at) = self.recent.binary_search_by(|entry| entry.hash.cmp(hash)) {
            return Some(self.recent[at].location);
        }
        search(&self.settled, hash).map(|at| self.settled[at].location)
    }

    /// True when the hash is new.
    fn insert(&mut self, entry: Entry) -> bool {
        if let Some(at) = search(&self.settled, &entry.hash) {
            self.settled[at] = entry;
            return false;
        }
        match self.recent.binary_search_by(|probe| probe.hash.cmp(&entry.hash)) {
            Ok(at) => {
                self.recent[at] = entry;
                false
            }
            Err(at) => {
                self.recent.insert(at, entry);
                if self.recent.len() >= 16.max(self.settled.len() / 16) {
                    self.merge();
                }
                true
            }
        }
    }

    fn merge(&mut self) {
        let mut merged = Vec::with_capacity(self.settled.len() + self.recent.len());
        let mut recent = std::mem::take(&mut self.recent).into_iter().peekable();
        for entry in self.settled.drain(..) {
            while let Some(before) = recent.next_if(|before| before.hash < entry.hash) {
                merged.push(before);
            }
            merged.push(entry);
        }
        merged.extend(recent);
        self.settled = merged;
    }
}

/// Sorts the entries of one shard by hash; equal ones keep their order, so that the newest stays last.
///
/// The first byte is the shard's. Entries are dealt by the second one, and the small heaps that this makes are sorted: hashes
/// are uniform, so that takes two passes over the memory where merging the runs of a hundred files takes seven.
fn sort(entries: &mut Vec<Entry>) {
    let heap = |entry: &Entry| usize::from(entry.hash.as_bytes()[1]);
    let Some(any) = entries.first().copied() else {
        return;
    };
    let mut ends = [0; 256];
    for entry in entries.iter() {
        ends[heap(entry)] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total - *end;
    }
    // Each is the start of its heap now, and becomes its end as the heap fills.
    let mut dealt = vec![any; entries.len()];
    for entry in entries.iter() {
        let end = &mut ends[heap(entry)];
        dealt[*end] = *entry;
        *end += 1;
    }
    let mut start = 0;
    for end in ends {
        dealt[start..end].sort_by_key(|entry| entry.hash);
        start = end;
    }
    *entries = dealt;
}

/// Finds a hash by guessing its place from its value, and narrowing the guess from both sides.
fn search(entries: &[Entry], hash: &Hash) -> Option<usize> {
    // The first byte is the shard's; the eight behind it are what differs.
    let weight = |hash: &Hash| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_bytes()[1..9]);
        u64::from_be_bytes(bytes)
    };
    let wanted = weight(hash);
    let (mut low, mut high) = (0, entries.len());
    let (mut floor, mut ceiling) = (0u64, u64::MAX);
    let mut guesses = 0;
    while low < high {
        let middle = if guesses < 8 {
            let share = u128::from(wanted - floor) * (high - low) as u128 / (u128::from(ceiling - floor) + 1);
            low + share as usize
        } else {
            // Chunks may be made so that their hashes crowd; then halving is safer than guessing.
            low + (high - low) / 2
        };
        guesses += 1;
        match entries[middle].hash.cmp(hash) {
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Less => {
                low = middle + 1;
                floor = weight(&entries[middle].hash);
            }
            std::cmp::Ordering::Greater => {
                high = middle;
                ceiling = weight(&entries[middle].hash);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn location(n: u32) -> Location {
        Location {
            segment: n,
            offset: n,
            bytes: n,
        }
    }

    /// Hashes that crowd and coincide, as no real ones do.
    fn crowded() -> impl Strategy<Value = Hash> {
        prop::collection::vec(0u8..3, 20).prop_map(|mut bytes| {
            bytes[2..17].fill(0);
            Hash::from_slice(&bytes).unwrap()
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_btree_map(
            bulk in prop::collection::vec(crowded(), 0..200),
            more in prop::collection::vec(crowded(), 0..200),
            last in prop::collection::vec(crowded(), 0..50),
        ) {
            let mut model = BTreeMap::new();
            let numbered: Vec<_> = bulk.iter().enumerate().map(|(n, hash)| (*hash, location(n as u32))).collect();
            model.extend(numbered.iter().copied());
            let index = Index::of(numbered);
            for (n, hash) in more.iter().enumerate() {
                model.insert(*hash, location(n as u32 + 1000));
                index.insert(*hash, location(n as u32 + 1000));
            }
            for (n, hash) in last.iter().enumerate() {
                let at = location(n as u32 + 2000);
                prop_assert_eq!(index.insert_absent(*hash, at), !model.contains_key(hash));
                model.entry(*hash).or_insert(at);
            }
            prop_assert_eq!(index.len(), model.len() as u64);
            for (hash, location) in &model {
                prop_assert_eq!(index.get(hash), Some(*location));
            }
            prop_assert_eq!(index.get(&Hash::of(b"absent")), None);

            let place = |_: &Hash, at: Location| (!at.segment.is_multiple_of(3)).then(|| location(at.segment + 1));
            index.rearrange(place);
            model.retain(|hash, at| place(hash, *at).map(|moved| *at = moved).is_some());
            prop_assert_eq!(index.len(), model.len() as u64);
            for hash in bulk.iter().chain(&more) {
                prop_assert_eq!(index.get(hash), model.get(hash).copied());
            }
        }
    }

    #[test]
    fn forty_bytes_a_chunk_are_enough() {
        // Would fail if the index grew by doubling.
        let index = Index::new();
        let hash = |n: u32| Hash::of(&n.to_le_bytes());
        for n in 0..300_000 {
            index.insert(hash(n), location(n));
            if n % 50_000 == 49_999 {
                assert!(
                    index.memory_bytes() <= 40 * (n as usize + 1),
                    "{} bytes for {n}",
                    index.memory_bytes()
                );
            }
        }
        assert!((0..300_000).all(|n| index.get(&hash(n)) == Some(location(n))));
    }
}
