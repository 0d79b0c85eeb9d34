//! The store on a disk that loses power, lies and fills up.

mod collect;
mod damage;
mod index_files;
mod power;
mod unfinished;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::runtime::disk::Disk;
use crate::runtime::disk::simulated::{DiskFaults, SimDisk};
use crate::runtime::{self, WallTime};

/// Small segments, and no cache, so that every read asks the disk.
fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes_max: 2000,
        backlog_bytes_max: 1 << 20,
        cache: ChunkCache::new(0),
    }
}

fn chunk(i: u64) -> (Hash, Bytes) {
    let bytes = Bytes::from(i.to_le_bytes().repeat(10 + i as usize % 20));
    (Hash::of(&bytes), bytes)
}

/// The chunks that the `i`th commit of a test brings, its root first.
fn commit(i: u64) -> Vec<(Hash, Bytes)> {
    (0..1 + i % 3).map(|n| chunk(1000 * i + n)).collect()
}

fn append(store: &ChunkStore, i: u64) -> Result<RootRecord, ChunkError> {
    let chunks = commit(i);
    let root = chunks[0].0;
    store.append(chunks, root, 1, WallTime::from_micros(i as i64))
}

async fn publish(store: &ChunkStore, i: u64) -> Result<RootRecord, ChunkError> {
    let record = append(store, i)?;
    store.wait_published(record.sequence).await?;
    Ok(record)
}

async fn create(disk: &Disk) -> Result<ChunkStore, ChunkError> {
    ChunkStore::create(disk, "db/main", &options()).await
}

async fn open(disk: &Disk) -> Result<(ChunkStore, Recovery), ChunkError> {
    ChunkStore::open(disk, "db/main", &options()).await
}

fn assert_holds(store: &ChunkStore, commits: impl IntoIterator<Item = u64>) {
    for i in commits {
        for (hash, bytes) in commit(i) {
            assert_eq!(store.get(&hash).unwrap(), bytes, "a chunk of commit {i}");
        }
    }
}

fn log_roots(store: &ChunkStore, after: Hash) -> Option<Vec<u64>> {
    let reader = store.read_log_after(after).unwrap()?;
    Some(
        reader
            .filter_map(|entry| {
                if let LogEntry::Root(root) = entry.unwrap() {
                    Some(root.sequence)
                } else {
                    None
                }
            })
            .collect(),
    )
}

async fn store_with_commits(count: u64) -> Disk {
    let disk = SimDisk::new(1).disk();
    let store = create(&disk).await.unwrap();
    for i in 1..=count {
        publish(&store, i).await.unwrap();
    }
    disk
}

#[tokio::test]
async fn what_is_published_is_there_after_opening_again() {
    let disk = SimDisk::new(1).disk();
    let store = create(&disk).await.unwrap();
    assert_eq!(store.published(), RootRecord::NONE);
    let mut previous = RootRecord::NONE;
    for i in 1..=40 {
        let record = publish(&store, i).await.unwrap();
        assert_eq!((record.sequence, record.previous), (i, previous.root));
        assert_eq!(store.published(), record);
        previous = record;
    }
    assert_holds(&store, 1..=40);
    let (store, recovery) = open(&disk).await.unwrap();
    assert_eq!((store.published(), store.pending()), (previous, previous));
    assert_eq!((recovery.root, recovery.cut), (previous, None));
    assert!(recovery.segments > 3, "the test is about several segments");
    assert_eq!(recovery.chunks, store.chunk_count());
    assert_holds(&store, 1..=40);
    assert!(!store.contains(&Hash::of(b"absent")));
    assert!(matches!(
        store.get(&Hash::of(b"absent")),
        Err(ChunkError::Missing { .. })
    ));
}

#[tokio::test]
async fn appended_chunks_are_readable_and_their_root_is_not_published() {
    let disk = SimDisk::new(1).disk();
    let store = create(&disk).await.unwrap();
    let follower = store.watch_published();
    let record = append(&store, 1).unwrap();
    assert_eq!(store.pending(), record);
    assert_eq!(store.published(), RootRecord::NONE);
    assert_eq!(*follower.borrow(), RootRecord::NONE);
    assert_holds(&store, [1]);
    store.wait_published(1).await.unwrap();
    assert_eq!(*follower.borrow(), record);
    let early = store.wait_published(2).await;
    assert!(matches!(early, Err(ChunkError::NotAppended { sequence: 2, newest: 1 })));
}

#[tokio::test]
async fn sixteen_writers_share_syncs() {
    // Would fail if each commit had a sync of its own.
    let sim = SimDisk::new(1);
    let options = StoreOptions {
        segment_bytes_max: 1 << 20,
        ..options()
    };
    let store = ChunkStore::create(&sim.disk(), "db/main", &options).await.unwrap();
    sim.set_sync_latency(Duration::from_millis(1)..=Duration::from_millis(3));
    let before = sim.syncs();
    let writers: Vec<_> = (0..16u64)
        .map(|writer| {
            let store = store.clone();
            runtime::spawn("writer", async move {
                for i in 0..50 {
                    let record = append(&store, 1 + writer * 50 + i).unwrap();
                    store.wait_published(record.sequence).await.unwrap();
                    assert!(store.published().sequence >= record.sequence);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let syncs = sim.syncs() - before;
    assert_eq!(store.published().sequence, 800);
    assert!(syncs * 4 < 800, "{syncs} syncs for 800 commits");
}

#[tokio::test]
async fn a_waiter_that_gives_up_does_not_stop_the_sync() {
    let sim = SimDisk::new(1);
    let store = create(&sim.disk()).await.unwrap();
    sim.set_sync_latency(Duration::from_millis(10)..=Duration::from_millis(10));
    append(&store, 1).unwrap();
    let gave_up = runtime::timeout(Duration::from_millis(1), store.wait_published(1)).await;
    assert!(gave_up.is_err());
    let mut follower = store.watch_published();
    runtime::timeout(Duration::from_secs(20), follower.changed())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.published().sequence, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_writers_on_several_threads_agree() {
    // Would fail if a reader could see a root before its chunks, or a chunk in a half-entered state.
    let sim = SimDisk::new(1);
    let options = StoreOptions {
        cache: ChunkCache::new(64 << 10),
        ..options()
    };
    let store = ChunkStore::create(&sim.disk(), "db/main", &options).await.unwrap();
    let writers = (0..4u64).map(|writer| {
        let store = store.clone();
        runtime::spawn("writer", async move {
            for i in 0..100 {
                let record = append(&store, 1 + writer * 100 + i).unwrap();
                store.wait_published(record.sequence).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let readers = (0..2).map(|_| {
        let store = store.clone();
        runtime::spawn("reader", async move {
            let mut follower = store.watch_published();
            let mut seen = 0;
            while seen < 400 {
                let root = *follower.borrow_and_update();
                assert!(root.sequence >= seen, "published roots go forwards");
                if root.sequence > 0 {
                    store.get(&root.root).unwrap();
                    assert!(store.published().sequence >= root.sequence);
                }
                seen = root.sequence;
                if seen < 400 {
                    follower.changed().await.unwrap();
                }
            }
        })
    });
    for task in writers.into_iter().chain(readers.collect::<Vec<_>>()) {
        runtime::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
    }
    assert_holds(&store, 1..=400);
    assert_eq!(log_roots(&store, Hash::NONE), Some((1..=400).collect()));
}

#[tokio::test]
async fn the_log_is_read_from_any_root_on() {
    let disk = store_with_commits(40).await;
    let (store, _) = open(&disk).await.unwrap();
    append(&store, 41).unwrap();
    let roots: Vec<RootRecord> = store.recent_roots(100);
    assert_eq!(roots.len(), 40, "what is not published is not shown");
    assert_eq!(log_roots(&store, Hash::NONE), Some((1..=40).collect()));
    for root in &roots {
        assert_eq!(log_roots(&store, root.root), Some((root.sequence + 1..=40).collect()));
    }
    assert_eq!(log_roots(&store, Hash::of(b"unknown")), None);
    assert_eq!(
        log_roots(&store, store.pending().root),
        None,
        "a pending root is nobody's yet"
    );

    let mut chunks: Vec<_> = (36..=40).flat_map(commit).collect();
    for entry in store.read_log_after(roots[5].root).unwrap().unwrap() {
        if let LogEntry::Chunk(hash, bytes) = entry.unwrap() {
            let at = chunks
                .iter()
                .position(|chunk| *chunk == (hash, bytes.clone()))
                .expect("a chunk of the suffix");
            chunks.remove(at);
        }
    }
    assert!(chunks.is_empty(), "the suffix lacks chunks");

    // Roots too old to be kept in memory are found by the index files, and in the log where one is missing.
    store.inner.log.lock().roots.drain(..30);
    let indexes = |home: &Disk| -> Vec<String> {
        let names = home.list("").unwrap().into_iter().map(|entry| entry.name);
        names.filter(|name| name.ends_with(".idx")).collect()
    };
    let home = &store.inner.disk;
    let all = indexes(home);
    assert!(all.len() > 4, "{all:?}");
    for gone in [0, all.len() / 2, all.len()] {
        all[..gone].iter().for_each(|name| drop(home.remove_file(name)));
        for root in &roots {
            assert_eq!(log_roots(&store, root.root), Some((root.sequence + 1..=40).collect()));
        }
    }
    assert_eq!(log_roots(&store, Hash::NONE), Some((1..=40).collect()));
    assert_eq!(log_roots(&store, Hash::of(b"unknown")), None);
}

#[tokio::test]
async fn a_reader_of_the_log_goes_on_while_the_store_grows() {
    let disk = store_with_commits(20).await;
    let (store, _) = open(&disk).await.unwrap();
    let mut reader = store.read_log_after(Hash::NONE).unwrap().unwrap();
    reader.next().unwrap().unwrap();
    for i in 21..=40 {
        publish(&store, i).await.unwrap();
    }
    let roots = reader.filter(|entry| matches!(entry, Ok(LogEntry::Root(_)))).count();
    assert_eq!(roots, 20, "it ends where the log ended when it began");
}

#[tokio::test]
async fn a_root_that_returns_is_found_where_it_is_newest() {
    let disk = SimDisk::new(1).disk();
    let store = create(&disk).await.unwrap();
    for i in [1, 2, 1, 3] {
        publish(&store, i).await.unwrap();
    }
    assert_eq!(log_roots(&store, commit(1)[0].0), Some(vec![4]));
    let again = store.read_log_after(commit(2)[0].0).unwrap().unwrap();
    let chunks = again.filter(|entry| matches!(entry, Ok(LogEntry::Chunk(hash, _)) if *hash == commit(1)[0].0));
    assert_eq!(
        chunks.count(),
        1,
        "who has only the root before must find every chunk of this one behind it"
    );
}

#[tokio::test]
async fn staged_chunks_belong_to_the_next_root() {
    let sim = SimDisk::new(1);
    let store = create(&sim.disk()).await.unwrap();
    publish(&store, 1).await.unwrap();
    let staged: Vec<_> = (2..12).flat_map(commit).collect();
    store.append_chunks(staged.clone()).unwrap();
    let end = store.inner.log.lock().tail;
    store.append_chunks(staged.clone()).unwrap();
    assert_eq!(store.inner.log.lock().tail, end, "what is staged is not written twice");
    let record = store
        .append(Vec::new(), commit(11)[0].0, 1, WallTime::from_micros(0))
        .unwrap();
    store.wait_published(record.sequence).await.unwrap();
    store.append_chunks(commit(12)).unwrap();
    sim.kill();
    let (store, recovery) = open(&sim.disk()).await.unwrap();
    assert_eq!(recovery.root, record);
    assert_holds(&store, 1..12);
    let cut = recovery.cut.expect("what no root covers is cut");
    assert!(cut.bytes > 0 && cut.detail.contains("without a root"), "{cut:?}");
    assert!(!store.contains(&commit(12)[0].0));
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_takes_several() {
    let sim = SimDisk::new(1);
    let store = create(&sim.disk()).await.unwrap();
    publish(&store, 1).await.unwrap();
    let mut chunks: Vec<_> = (2..40).flat_map(commit).collect();
    let large = Bytes::from(vec![7; 10_000]);
    chunks.push((Hash::of(&large), large.clone()));
    let record = store
        .append(chunks, Hash::of(&large), 1, WallTime::from_micros(0))
        .unwrap();
    store.wait_published(record.sequence).await.unwrap();
    sim.power_off();
    let (store, recovery) = open(&sim.disk()).await.unwrap();
    assert_eq!((recovery.root, recovery.cut), (record, None));
    assert_holds(&store, 1..40);
    assert_eq!(store.get(&Hash::of(&large)).unwrap(), large);
    assert_eq!(log_roots(&store, Hash::NONE), Some(vec![1, 2]));
}

#[tokio::test]
async fn a_full_disk_refuses_a_commit_and_nothing_else() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    let store = create(&disk).await.unwrap();
    for i in 1..=5 {
        publish(&store, i).await.unwrap();
    }
    let used: u64 = disk.list("db/main").unwrap().iter().map(|entry| entry.len).sum();
    for spare in 0..800 {
        sim.full_at(Some(used + spare));
        let large: Bytes = (0..45u8).flat_map(|i| *Hash::of(&[i]).as_bytes()).collect();
        let refused = store.append(vec![(Hash::of(&large), large)], Hash::NONE, 1, WallTime::from_micros(0));
        assert!(matches!(refused, Err(ChunkError::Io { .. })), "{refused:?}");
        assert_eq!(store.pending().sequence, 5);
    }
    sim.full_at(None);
    for i in 6..=20 {
        publish(&store, i).await.unwrap();
    }
    sim.power_off();
    let (store, recovery) = open(&sim.disk()).await.unwrap();
    assert_eq!(recovery.root.sequence, 20);
    assert_holds(&store, 1..=20);
}

#[tokio::test]
async fn writers_are_held_back_while_too_much_waits_for_the_disk() {
    let sim = SimDisk::new(1);
    let options = StoreOptions {
        backlog_bytes_max: 500,
        ..options()
    };
    let store = ChunkStore::create(&sim.disk(), "db/main", &options).await.unwrap();
    sim.set_sync_latency(Duration::from_millis(20)..=Duration::from_millis(20));
    let mut refused = None;
    for i in 1..=100 {
        if let Err(error) = append(&store, i) {
            refused = Some((i, error));
            break;
        }
    }
    let (i, error) = refused.expect("a backlog has a bound");
    assert!(matches!(error, ChunkError::Busy { limit: 4000, .. }), "{error}");
    store.room().await.unwrap();
    append(&store, i).unwrap();
    store.wait_published(store.pending().sequence).await.unwrap();
    assert_holds(&store, 1..=i);
}

#[tokio::test]
async fn a_cached_chunk_keeps_no_buffer_that_it_was_cut_from() {
    // Would fail if the cache, which counts the bytes of its chunks, held the messages alive in which they came.
    let options = StoreOptions {
        cache: ChunkCache::new(1 << 20),
        ..options()
    };
    let disk = SimDisk::new(1).disk();
    let store = ChunkStore::create(&disk, "db/main", &options).await.unwrap();
    let message = Bytes::from(vec![7; 256 << 10]);
    let chunk = message.slice(1000..1500);
    let hash = Hash::of(&chunk);
    store
        .append(vec![(hash, chunk)], hash, 1, WallTime::from_micros(0))
        .unwrap();
    assert!(options.cache.bytes() > 500, "the chunk is cached");
    assert!(message.is_unique(), "somebody keeps all of the message");
    assert_eq!(store.get(&hash).unwrap(), message.slice(1000..1500));
}

#[tokio::test]
async fn the_production_disk_keeps_a_store_too() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::production(folder.path()).unwrap();
    let store = create(&disk).await.unwrap();
    for i in 1..=20 {
        publish(&store, i).await.unwrap();
    }
    drop(store);
    let (store, recovery) = open(&disk).await.unwrap();
    assert_eq!((recovery.root.sequence, recovery.cut), (20, None));
    assert_holds(&store, 1..=20);
    assert_eq!(log_roots(&store, commit(15)[0].0), Some((16..=20).collect()));
}
