//! Collections: what is alive stays, the rest goes, at any moment and whatever fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::runtime::disk::OpenMode;

/// A chunk that refers to others: how many, their hashes, and some content.
pub(super) fn node(below: &[Hash], content: u64) -> (Hash, Bytes) {
    let mut bytes = vec![below.len() as u8];
    bytes.extend(below.iter().flat_map(|hash| *hash.as_bytes()));
    bytes.extend((0..3).flat_map(|i| *Hash::of(&(content * 10 + i).to_le_bytes()).as_bytes()));
    let bytes = Bytes::from(bytes);
    (Hash::of(&bytes), bytes)
}

pub(super) fn references(chunk: &Bytes) -> Result<Vec<Link>, ChunkError> {
    let below = chunk[1..].chunks_exact(20).take(usize::from(chunk[0]));
    Ok(below
        .map(|hash| Link {
            hash: Hash::from_slice(hash).unwrap(),
            leads_on: true,
        })
        .collect())
}

/// A store whose roots are nodes over a few leaves; each commit replaces some of the leaves.
pub(super) struct Grown {
    pub(super) store: ChunkStore,
    leaves: Vec<(Hash, Bytes)>,
    next: u64,
    /// The chunks of each root, by root.
    pub(super) content: BTreeMap<Hash, Vec<(Hash, Bytes)>>,
}

impl Grown {
    pub(super) async fn new(disk: &Disk) -> Result<Grown, ChunkError> {
        let store = create(disk).await?;
        Ok(Grown {
            store,
            leaves: (0..20).map(|i| node(&[], i)).collect(),
            next: 100,
            content: BTreeMap::new(),
        })
    }

    /// What the next commit would append: new leaves, all of them the first time, and the root.
    fn next_commit(&mut self) -> Vec<(Hash, Bytes)> {
        let first = self.content.is_empty();
        self.next += 1;
        let place = (self.next % 20) as usize;
        self.leaves[place] = node(&[], self.next);
        let hashes: Vec<Hash> = self.leaves.iter().map(|(hash, _)| *hash).collect();
        let root = node(&hashes, self.next);
        self.content
            .insert(root.0, self.leaves.iter().cloned().chain([root.clone()]).collect());
        let new = if first {
            self.leaves.clone()
        } else {
            vec![self.leaves[place].clone()]
        };
        new.into_iter().chain([root]).collect()
    }

    pub(super) async fn commit(&mut self) -> Result<RootRecord, ChunkError> {
        let chunks = self.next_commit();
        let root = chunks.last().unwrap().0;
        let record = self.store.append(chunks, root, 1, WallTime::from_micros(0))?;
        self.store.wait_published(record.sequence).await?;
        Ok(record)
    }

    pub(super) fn assert_complete(&self, store: &ChunkStore, root: Hash, what: &str) {
        for (hash, bytes) in &self.content[&root] {
            assert_eq!(store.get(hash).as_ref().ok(), Some(bytes), "{what}: a chunk of {root}");
            assert!(store.contains(hash), "{what}");
        }
    }
}

pub(super) async fn collect(
    store: &ChunkStore,
    roots: impl IntoIterator<Item = Hash>,
) -> Result<Collected, ChunkError> {
    let mut collection = store.begin_collection()?;
    let roots: Vec<Hash> = roots.into_iter().chain([store.pending().root]).collect();
    collection.mark(roots, references).await?;
    collection.catch_up(references).await?;
    collection.copy().await?;
    collection.finish(references).await
}

fn file_bytes(disk: &Disk) -> u64 {
    disk.list("db/main").unwrap().iter().map(|entry| entry.len).sum()
}

#[tokio::test]
async fn what_is_alive_stays_and_the_rest_gives_its_space_back() {
    let disk = SimDisk::new(1).disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    let mut roots = Vec::new();
    for _ in 0..200 {
        roots.push(grown.commit().await.unwrap());
    }
    let (used, chunks) = (file_bytes(&disk), grown.store.chunk_count());
    let held = roots[50].root;
    let collected = collect(&grown.store, [held]).await.unwrap();
    grown.assert_complete(&grown.store, held, "held");
    grown.assert_complete(&grown.store, roots[199].root, "newest");
    assert!(!grown.store.contains(&roots[100].root), "nobody held it");
    assert!(matches!(
        grown.store.get(&roots[100].root),
        Err(ChunkError::Missing { .. })
    ));
    assert_eq!(
        grown.store.chunk_count(),
        2 + 20 + 20,
        "two roots, and the leaves of both"
    );
    assert_eq!((collected.before.chunks, collected.after), (chunks, grown.store.size()));
    assert!(
        file_bytes(&disk) * 5 < used,
        "{} of {used} bytes are left",
        file_bytes(&disk)
    );
    assert_eq!(grown.store.published(), roots[199]);

    // And it goes on, and is found again.
    let next = grown.commit().await.unwrap();
    assert_eq!((next.sequence, next.previous), (201, roots[199].root));
    let (store, recovery) = open(&disk).await.unwrap();
    assert_eq!((recovery.root, recovery.cut), (next, None));
    grown.assert_complete(&store, held, "held, opened again");
    grown.assert_complete(&store, next.root, "newest, opened again");
    assert_eq!(store.chunk_count(), grown.store.chunk_count());
    assert_eq!(log_roots(&store, roots[199].root), Some(vec![201]));
    assert_eq!(
        log_roots(&store, roots[198].root),
        None,
        "the log begins behind the collection"
    );
}

#[tokio::test]
async fn a_store_that_was_only_collected_opens_at_the_same_root() {
    let disk = SimDisk::new(1).disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    for _ in 0..30 {
        grown.commit().await.unwrap();
    }
    let newest = grown.store.published();
    collect(&grown.store, []).await.unwrap();
    let (store, recovery) = open(&disk).await.unwrap();
    assert!(
        recovery.root.is_state_of(&newest),
        "{:?} is not {newest:?}",
        recovery.root
    );
    grown.assert_complete(&store, newest.root, "opened again");
    // Twice more, with nothing new: packs stay as they are.
    let files = file_bytes(&disk);
    for _ in 0..2 {
        collect(&store, []).await.unwrap();
    }
    assert_eq!(file_bytes(&disk), files);
    grown.assert_complete(&store, newest.root, "collected again");
}

#[tokio::test]
async fn an_empty_store_is_collected() {
    let disk = SimDisk::new(1).disk();
    let store = create(&disk).await.unwrap();
    let mut collection = store.begin_collection().unwrap();
    collection.mark([], references).await.unwrap();
    collection.copy().await.unwrap();
    collection.finish(references).await.unwrap();
    assert_eq!(open(&disk).await.unwrap().1.root, RootRecord::NONE);
}

#[tokio::test]
async fn writers_and_readers_go_on_during_a_collection() {
    let disk = SimDisk::new(1).disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    for _ in 0..50 {
        grown.commit().await.unwrap();
    }
    let start = grown.store.pending().root;
    let old_reader = grown.store.read_log_after(Hash::NONE).unwrap().unwrap();
    let mut collection = grown.store.begin_collection().unwrap();
    assert!(matches!(grown.store.begin_collection(), Err(ChunkError::Collecting)));
    collection.mark([start], references).await.unwrap();
    for _ in 0..25 {
        grown.commit().await.unwrap();
    }
    // A chunk without a root that refers to what nobody else does: it must stay complete.
    let lost = grown.content.keys().copied().find(|root| *root != start).unwrap();
    let staged = node(&[lost], 9_999);
    grown.store.append_chunks(vec![staged.clone()]).unwrap();
    collection.copy().await.unwrap();
    assert!(collection.behind() > 0);
    collection.catch_up(references).await.unwrap();
    grown.assert_complete(&grown.store, start, "before the switch");
    let newest = grown.commit().await.unwrap();
    collection.finish(references).await.unwrap();
    grown.assert_complete(&grown.store, newest.root, "after the switch");
    grown.assert_complete(&grown.store, lost, "what a staged chunk refers to");
    assert!(grown.store.contains(&staged.0));
    let entries = old_reader
        .filter(|entry| matches!(entry, Ok(LogEntry::Root(_))))
        .count();
    assert_eq!(entries, 50, "who reads the old log reads it to its end");
    let (store, _) = open(&disk).await.unwrap();
    grown.assert_complete(&store, newest.root, "opened again");
}

#[tokio::test]
async fn chunks_that_wait_for_a_root_are_not_garbage() {
    // Would fail if a standby lost what it had received when a collection came before the root.
    let disk = SimDisk::new(1).disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    for _ in 0..10 {
        grown.commit().await.unwrap();
    }
    let old = *grown
        .content
        .keys()
        .find(|root| **root != grown.store.pending().root)
        .unwrap();
    let below: Vec<_> = (0..100).map(|i| node(&[], 50_000 + i)).collect();
    let top = node(&[below[7].0, old], 60_000);
    grown.store.append_chunks(below.clone()).unwrap();
    grown.store.append_chunks(vec![top.clone()]).unwrap();
    for _ in 0..2 {
        collect(&grown.store, []).await.unwrap();
        for (hash, bytes) in below.iter().chain([&top]) {
            assert_eq!(grown.store.get(hash).as_ref().ok(), Some(bytes));
        }
        grown.assert_complete(&grown.store, old, "what a waiting chunk refers to");
    }
    let record = grown
        .store
        .append(Vec::new(), top.0, 1, WallTime::from_micros(0))
        .unwrap();
    grown.store.wait_published(record.sequence).await.unwrap();
    let (store, _) = open(&disk).await.unwrap();
    assert_eq!(store.get(&top.0).unwrap(), top.1);
    grown.assert_complete(&store, old, "opened again");
}

#[tokio::test]
async fn a_cached_chunk_does_not_outlive_its_collection() {
    let disk = SimDisk::new(1).disk();
    let options = StoreOptions {
        cache: ChunkCache::new(1 << 20),
        ..options()
    };
    let mut grown = Grown::new(&disk).await.unwrap();
    grown.store = ChunkStore::open(&disk, "db/main", &options).await.unwrap().0;
    let first = grown.commit().await.unwrap();
    for _ in 0..10 {
        grown.commit().await.unwrap();
    }
    grown.store.get(&first.root).unwrap();
    collect(&grown.store, []).await.unwrap();
    assert!(matches!(grown.store.get(&first.root), Err(ChunkError::Missing { .. })));
}

#[tokio::test]
async fn a_collection_that_is_given_up_leaves_everything() {
    let disk = SimDisk::new(1).disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    for _ in 0..50 {
        grown.commit().await.unwrap();
    }
    let names = |disk: &Disk| {
        let listing = disk.list("db/main").unwrap().into_iter().map(|entry| entry.name);
        listing.filter(|name| name.starts_with("pack-")).count()
    };
    let mut collection = grown.store.begin_collection().unwrap();
    collection.mark([grown.store.pending().root], references).await.unwrap();
    collection.copy().await.unwrap();
    assert!(names(&disk) > 0);
    drop(collection);
    assert_eq!(names(&disk), 0);
    for root in grown.content.keys() {
        grown.assert_complete(&grown.store, *root, "given up");
    }
    collect(&grown.store, []).await.unwrap();
}

#[tokio::test]
async fn a_reference_to_nothing_stops_the_collection_and_loses_nothing() {
    let disk = SimDisk::new(1).disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    grown.commit().await.unwrap();
    let dangling = node(&[Hash::of(b"nowhere")], 1);
    let root = dangling.0;
    let record = grown
        .store
        .append(vec![dangling], root, 1, WallTime::from_micros(0))
        .unwrap();
    grown.store.wait_published(record.sequence).await.unwrap();
    let refused = collect(&grown.store, []).await;
    assert!(matches!(refused, Err(ChunkError::Missing { .. })), "{refused:?}");
    let first = *grown.content.keys().next().unwrap();
    grown.assert_complete(&grown.store, first, "refused");
}

#[tokio::test]
async fn damage_stops_the_collection_and_is_named() {
    let disk = SimDisk::new(1).disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    for _ in 0..20 {
        grown.commit().await.unwrap();
    }
    let file = disk.open("db/main/log-00000001.seg", OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 400).unwrap();
    file.write_all_at(&[!byte[0]], 400).unwrap();
    let refused = collect(&grown.store, grown.content.keys().copied().collect::<Vec<_>>()).await;
    assert!(matches!(refused, Err(ChunkError::Corrupt { .. })), "{refused:?}");
    assert_eq!(grown.commit().await.unwrap().sequence, 21, "writers are not disturbed");
}

#[tokio::test]
async fn a_full_disk_at_any_byte_stops_the_collection_and_loses_nothing() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    for _ in 0..30 {
        grown.commit().await.unwrap();
    }
    let newest = grown.store.published();
    let (mut refused, mut spare) = (0, 0);
    loop {
        sim.full_at(Some(file_bytes(&disk) + spare));
        match collect(&grown.store, []).await {
            Ok(_) => break,
            Err(ChunkError::Io { .. }) => refused += 1,
            Err(error) => panic!("with {spare} bytes left: {error}"),
        }
        grown.assert_complete(&grown.store, newest.root, "refused");
        spare += 37;
    }
    assert!(refused > 10, "the disk was full {refused} times");
    sim.full_at(None);
    let (store, _) = open(&disk).await.unwrap();
    grown.assert_complete(&store, newest.root, "opened again");
}

/// Would fail if the segment that the failed one began were taken for something that waits for a root.
#[tokio::test]
async fn the_collection_after_one_that_failed_gives_space_back_though_nothing_was_written() {
    let sim = SimDisk::new(1);
    let mut grown = Grown::new(&sim.disk()).await.unwrap();
    for _ in 0..50 {
        grown.commit().await.unwrap();
    }
    sim.full_at(Some(sim.used() + 300));
    collect(&grown.store, []).await.unwrap_err();
    sim.full_at(None);
    collect(&grown.store, []).await.unwrap();
    assert_eq!(grown.store.chunk_count(), 21, "the root and its leaves");
    grown.assert_complete(&grown.store, grown.store.published().root, "collected");
}

#[tokio::test]
async fn collections_that_fail_leave_no_segment_each() {
    // Would fail if a log that does not fit into the free space grew by an open file with every attempt.
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    let store_options = StoreOptions {
        segment_bytes_max: 1 << 20,
        ..options()
    };
    let mut grown = Grown::new(&disk).await.unwrap();
    grown.store = ChunkStore::open(&disk, "db/main", &store_options).await.unwrap().0;
    let segments = |store: &ChunkStore| store.inner.segments.read().log.len();
    for _ in 0..50 {
        grown.commit().await.unwrap();
        // A segment can be begun, and no pack be written.
        sim.full_at(Some(sim.used() + 300));
        let refused = collect(&grown.store, []).await;
        assert!(refused.unwrap_err().is_out_of_space());
        sim.full_at(None);
    }
    let (count, bytes) = (segments(&grown.store), grown.store.size().log_bytes);
    assert!(count <= 6, "{count} segments of {bytes} bytes in all");
    let newest = grown.store.published();
    // The first that succeeds leaves alone the little that was written since the last attempt.
    for _ in 0..2 {
        collect(&grown.store, []).await.unwrap();
    }
    assert_eq!(segments(&grown.store), 1);
    assert_eq!(grown.store.chunk_count(), 21, "the root and its leaves");
    sim.kill();
    let (store, recovery) = open(&sim.disk()).await.unwrap();
    assert!(recovery.root.is_state_of(&newest));
    grown.assert_complete(&store, newest.root, "opened again");
}

#[tokio::test]
async fn a_power_cut_at_any_sync_of_a_collection_loses_nothing() {
    // Would fail if a file went before the manifest that no longer names it was safe.
    for syncs in 0.. {
        let mut finished = false;
        for seed in 0..6 {
            let what = format!("power cut after {syncs} syncs, seed {seed}");
            let sim = SimDisk::new(seed * 1000 + syncs);
            let mut grown = Grown::new(&sim.disk()).await.unwrap();
            let mut held = None;
            for i in 0..24 {
                let record = grown.commit().await.unwrap();
                if i == 7 {
                    held = Some(record.root);
                }
            }
            let held = held.unwrap();
            collect(&grown.store, [held]).await.unwrap();
            for _ in 0..12 {
                grown.commit().await.unwrap();
            }
            let acknowledged = grown.store.published();
            sim.power_off_after_syncs(syncs);
            finished |= collect(&grown.store, [held]).await.is_ok();
            sim.power_off();
            let (store, recovery) = open(&sim.disk())
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(recovery.root.is_state_of(&acknowledged), "{what}: {:?}", recovery.root);
            grown.assert_complete(&store, held, &what);
            grown.assert_complete(&store, acknowledged.root, &what);
            // No file is left that nothing names.
            let listing = sim.disk().list("db/main").unwrap();
            let segments = listing.iter().filter(|entry| entry.name.ends_with(".seg")).count();
            assert_eq!(segments, recovery.segments, "{what}: {listing:?}");
            grown.store = store;
            let next = grown.commit().await.unwrap();
            collect(&grown.store, []).await.unwrap();
            let (store, _) = open(&sim.disk()).await.unwrap();
            grown.assert_complete(&store, next.root, &what);
        }
        if finished {
            assert!(syncs > 3, "a collection needs several syncs");
            return;
        }
    }
}

#[tokio::test]
async fn damaged_or_missing_files_of_a_pack_are_refused() {
    let sim = SimDisk::new(1);
    let mut grown = Grown::new(&sim.disk()).await.unwrap();
    for _ in 0..24 {
        grown.commit().await.unwrap();
    }
    collect(&grown.store, []).await.unwrap();
    let names: Vec<String> = sim
        .disk()
        .list("db/main")
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let packs: Vec<&String> = names.iter().filter(|name| name.starts_with("pack-")).collect();
    assert!(packs.len() >= 2, "{names:?}");
    for name in packs {
        let path = format!("db/main/{name}");
        let bytes = sim.disk().read(&path).unwrap();
        sim.disk().remove_file(&path).unwrap();
        let error = open(&sim.disk()).await.expect_err("a missing file");
        assert!(error.to_string().contains(name.as_str()), "{error}");
        let file = sim.disk().open(&path, OpenMode::Create).unwrap();
        file.write_all_at(&bytes[..bytes.len() - 1], 0).unwrap();
        let error = open(&sim.disk()).await.expect_err("a shortened file");
        assert!(error.to_string().contains(name.as_str()), "{error}");
        file.write_all_at(&bytes, 0).unwrap();
        open(&sim.disk()).await.unwrap();
    }
}

#[tokio::test]
async fn packs_are_few_however_often_it_is_collected() {
    let disk = SimDisk::new(1).disk();
    let store_options = StoreOptions {
        segment_bytes_max: 20_000,
        ..options()
    };
    let mut grown = Grown::new(&disk).await.unwrap();
    grown.store = ChunkStore::open(&disk, "db/main", &store_options).await.unwrap().0;
    // All roots stay, so nothing ever dies: what is alive grows with each round.
    let mut copied = 0;
    for _ in 0..40 {
        for _ in 0..10 {
            grown.commit().await.unwrap();
        }
        let roots: Vec<Hash> = grown.content.keys().copied().collect();
        copied += collect(&grown.store, roots).await.unwrap().copied_bytes;
    }
    let packs = grown.store.inner.segments.read().packs.len() as u64;
    let size = grown.store.size();
    assert!(
        packs <= 3 + 2 * size.pack_bytes / 20_000,
        "{packs} packs of {} bytes",
        size.pack_bytes
    );
    assert!(
        copied < 8 * size.pack_bytes,
        "{copied} bytes were copied to keep {}",
        size.pack_bytes
    );
    for root in grown.content.keys() {
        grown.assert_complete(&grown.store, *root, "kept");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit(u8),
    Hold(u8),
    Release,
    Collect,
    Reopen,
    PowerOff,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..20).prop_map(Step::Commit),
        1 => any::<u8>().prop_map(Step::Hold),
        1 => Just(Step::Release),
        2 => Just(Step::Collect),
        1 => Just(Step::Reopen),
        1 => Just(Step::PowerOff),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is done in whatever order: what is held and what was acknowledged is there and complete.
    #[test]
    fn any_order_of_steps_keeps_what_is_held(seed in 0u64..1000, steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let sim = SimDisk::new(seed);
            let mut grown = Grown::new(&sim.disk()).await.unwrap();
            let mut held = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Commit(count) => for _ in 0..count {
                        grown.commit().await.unwrap();
                    },
                    Step::Hold(which) => {
                        let alive: Vec<Hash> = grown.content.keys().copied().filter(|root| grown.store.contains(root)).collect();
                        held.extend(alive.get(usize::from(which) % alive.len().max(1)));
                    }
                    Step::Release => {
                        held.pop_first();
                    }
                    Step::Collect if grown.store.pending().sequence > 0 => {
                        collect(&grown.store, held.iter().copied()).await.unwrap();
                    }
                    Step::Collect => {}
                    Step::Reopen => grown.store = open(&sim.disk()).await.unwrap().0,
                    Step::PowerOff => {
                        let acknowledged = grown.store.published();
                        sim.power_off();
                        let (store, recovery) = open(&sim.disk()).await.unwrap();
                        prop_assert!(recovery.root.is_state_of(&acknowledged));
                        grown.store = store;
                    }
                }
                let newest = grown.store.published().root;
                for root in held.iter().chain((!newest.is_none()).then_some(&newest)) {
                    grown.assert_complete(&grown.store, *root, "after a step");
                }
            }
            Ok(())
        })?;
    }
}

/// Enough for one to come between a reader's look-up and its read, every time this was tried.
const COLLECTIONS_BESIDE_READERS: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_on_other_threads_find_a_chunk_that_moves() {
    // Would fail if a reader did not look again for a chunk whose file a collection gave up after it was looked up.
    let disk = SimDisk::new(1).disk();
    let store = create(&disk).await.unwrap();
    let held = node(&[], 0);
    store.append_chunks(vec![held.clone()]).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = || {
        let (store, held, done) = (store.clone(), held.clone(), done.clone());
        runtime::spawn("reader", async move {
            let mut reads = 0u64;
            while !done.load(Ordering::Relaxed) {
                for _ in 0..100 {
                    assert_eq!(store.get(&held.0).as_ref().ok(), Some(&held.1), "after {reads} reads");
                    reads += 1;
                }
                runtime::yield_now().await;
            }
            reads
        })
    };
    let readers = [reader(), reader()];
    for i in 1..=COLLECTIONS_BESIDE_READERS {
        // The root before is garbage, and the larger part of its pack: so the held chunk is copied each time.
        let below = vec![held.0; 10];
        let root = node(&below, i);
        let hash = root.0;
        let record = store.append(vec![root], hash, 1, WallTime::from_micros(0)).unwrap();
        store.wait_published(record.sequence).await.unwrap();
        let collected = collect(&store, []).await.unwrap();
        assert!(collected.copied_bytes > 0);
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}
