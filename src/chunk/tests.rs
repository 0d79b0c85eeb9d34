//! The store on a disk that loses power, lies and fills up.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::runtime::disk::simulated::{DiskFaults, SimDisk};
use crate::runtime::disk::{Disk, OpenMode};
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

/// All files of a disk's store, to make others like it.
fn files(disk: &Disk) -> BTreeMap<String, Vec<u8>> {
    let home = disk.sub("db/main");
    home.list("")
        .unwrap()
        .into_iter()
        .map(|entry| (entry.name.clone(), home.read(&entry.name).unwrap()))
        .collect()
}

fn disk_with(files: &BTreeMap<String, Vec<u8>>) -> Disk {
    let disk = SimDisk::new(1).disk();
    disk.create_dir_all("db/main").unwrap();
    for (name, bytes) in files {
        disk.sub("db/main")
            .open(name, OpenMode::Create)
            .unwrap()
            .write_all_at(bytes, 0)
            .unwrap();
    }
    disk
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

#[tokio::test]
async fn after_a_failed_sync_nothing_is_accepted() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    let store = create(&disk).await.unwrap();
    publish(&store, 1).await.unwrap();
    sim.set_faults(DiskFaults {
        fail_sync_after: Some(0),
        ..DiskFaults::default()
    });
    assert!(matches!(publish(&store, 2).await, Err(ChunkError::Closed { .. })));
    sim.set_faults(DiskFaults::default());
    assert!(matches!(append(&store, 3), Err(ChunkError::Closed { .. })));
    assert!(matches!(store.wait_published(2).await, Err(ChunkError::Closed { .. })));
    assert!(matches!(store.room().await, Err(ChunkError::Closed { .. })));
    assert_eq!(store.published().sequence, 1);
    assert_holds(&store, [1]);
    // The system reads back what it failed to save, so the root is found again; then it must be safe.
    let (store, recovery) = open(&disk).await.unwrap();
    let found = recovery.root.sequence;
    assert_eq!(store.published().sequence, found);
    sim.power_off();
    let (store, recovery) = open(&sim.disk()).await.unwrap();
    assert_eq!(
        recovery.root.sequence, found,
        "what was published after opening was lost"
    );
    assert_holds(&store, 1..=found);
}

/// Commits until the power goes and gives what was acknowledged and what was appended.
async fn commit_until_the_power_goes(disk: &Disk) -> Option<(Vec<RootRecord>, u64)> {
    let store = create(disk).await.ok()?;
    let mut appended = vec![RootRecord::NONE];
    let mut acknowledged = 0;
    for i in 1..=30 {
        match append(&store, i) {
            Ok(record) => appended.push(record),
            Err(_) => break,
        }
        // Some commits are covered by a later one's sync, as with many writers.
        if i % 3 != 0 {
            match store.wait_published(i).await {
                Ok(()) => acknowledged = i,
                Err(_) => break,
            }
        }
    }
    Some((appended, acknowledged))
}

async fn assert_recovers(sim: &SimDisk, appended: &[RootRecord], acknowledged: u64, what: &str) {
    let (store, recovery) = open(&sim.disk())
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let root = recovery.root;
    assert!(
        root.sequence >= acknowledged,
        "{what}: acknowledged {acknowledged}, found {}",
        root.sequence
    );
    if root.sequence > 0 {
        assert_eq!(
            root, appended[root.sequence as usize],
            "{what}: not a root that was appended"
        );
    }
    assert_holds(&store, 1..=root.sequence);
    // And it goes on from there.
    let next = publish(&store, root.sequence + 1).await.unwrap();
    let (store, recovery) = open(&sim.disk()).await.unwrap();
    assert_eq!((recovery.root, recovery.cut), (next, None), "{what}");
    assert_holds(&store, 1..=next.sequence);
}

#[tokio::test]
async fn a_power_cut_at_any_sync_loses_nothing_acknowledged() {
    let mut finished = false;
    for syncs in 0..200 {
        for seed in 0..8 {
            let sim = SimDisk::new(seed * 1000 + syncs);
            let disk = sim.disk();
            sim.power_off_after_syncs(syncs);
            let outcome = commit_until_the_power_goes(&disk).await;
            let what = format!("power cut after {syncs} syncs, seed {seed}");
            match outcome {
                // The store was never acknowledged to exist: making it again must work.
                None => match open(&sim.disk()).await {
                    Ok(_) => {}
                    Err(ChunkError::NotAStore { .. }) => {
                        create(&sim.disk())
                            .await
                            .unwrap_or_else(|error| panic!("{what}: {error}"));
                    }
                    Err(error) => panic!("{what}: {error}"),
                },
                Some((appended, acknowledged)) => {
                    finished = acknowledged >= 29;
                    sim.power_off();
                    assert_recovers(&sim, &appended, acknowledged, &what).await;
                }
            }
        }
        if finished {
            return;
        }
    }
    panic!("200 syncs were not enough for 30 commits");
}

#[tokio::test]
async fn a_power_cut_among_many_unsynced_appends_loses_nothing_acknowledged() {
    // Would fail if reordered writes were taken for damage, or if a torn chunk were taken for good.
    let mut cuts = 0;
    for seed in 0..300u64 {
        let sim = SimDisk::new(seed);
        let disk = sim.disk();
        let store = create(&disk).await.unwrap();
        let mut appended = vec![RootRecord::NONE];
        let (acknowledged, unsynced) = (seed % 7, seed % 23);
        for i in 1..=acknowledged {
            appended.push(publish(&store, i).await.unwrap());
        }
        for i in acknowledged + 1..=acknowledged + unsynced {
            appended.push(append(&store, i).unwrap());
        }
        sim.power_off();
        let again = sim.disk();
        let (reopened, recovery) = open(&again)
            .await
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        cuts += u64::from(recovery.cut.is_some());
        drop(reopened);
        assert_recovers(&sim, &appended, acknowledged, &format!("seed {seed}")).await;
    }
    assert!(cuts > 50, "only {cuts} of 300 runs had a torn tail");
}

#[tokio::test]
async fn a_power_cut_during_recovery_loses_nothing_acknowledged() {
    for seed in 0..100u64 {
        let sim = SimDisk::new(seed);
        let store = create(&sim.disk()).await.unwrap();
        let mut appended = vec![RootRecord::NONE];
        for i in 1..=3 {
            appended.push(publish(&store, i).await.unwrap());
        }
        for i in 4..=20 {
            appended.push(append(&store, i).unwrap());
        }
        sim.power_off();
        for syncs in 0..6 {
            sim.power_off_after_syncs(syncs);
            let _ = open(&sim.disk()).await;
            sim.power_off();
        }
        assert_recovers(&sim, &appended, 3, &format!("seed {seed}")).await;
    }
}

/// One life after another on the same disk, each ended by a cut, a kill or a failed sync.
#[tokio::test]
async fn many_lives_of_a_store_lose_nothing_acknowledged() {
    use rand::{Rng, SeedableRng};
    let (mut ends, mut torn) = ([0; 3], 0);
    for seed in 0..60u64 {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let sim = SimDisk::new(seed);
        drop(create(&sim.disk()).await.unwrap());
        // By sequence: the roots of the log as it must be, each with the chunks that came with it.
        let mut history: Vec<(RootRecord, Vec<(Hash, Bytes)>)> = vec![(RootRecord::NONE, Vec::new())];
        let (mut acknowledged, mut next) = (0, 1);
        for life in 0..8 {
            let what = format!("seed {seed}, life {life}");
            let (store, recovery) = open(&sim.disk())
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            torn += u64::from(recovery.cut.is_some());
            let found = recovery.root.sequence;
            assert!(
                found >= acknowledged,
                "{what}: acknowledged {acknowledged}, found {found}"
            );
            assert_eq!(recovery.root, history[found as usize].0, "{what}");
            history.truncate(found as usize + 1);
            for (hash, bytes) in history.iter().flat_map(|(_, chunks)| chunks) {
                assert_eq!(store.get(hash).unwrap(), bytes, "{what}");
            }
            assert_eq!(log_roots(&store, Hash::NONE), Some((1..=found).collect()), "{what}");
            acknowledged = found;

            let mut staged = Vec::new();
            for _ in 0..rng.random_range(0..15) {
                let chunks = commit(next);
                next += 1;
                match rng.random_range(0..4) {
                    0 => {
                        store.append_chunks(chunks.clone()).unwrap();
                        staged.extend(chunks);
                    }
                    1 => {
                        let sequence = store.pending().sequence;
                        store.wait_published(sequence).await.unwrap();
                        acknowledged = sequence;
                    }
                    _ => {
                        let time = WallTime::from_micros(next as i64);
                        let record = store.append(chunks.clone(), chunks[0].0, life, time).unwrap();
                        staged.extend(chunks);
                        history.push((record, std::mem::take(&mut staged)));
                    }
                }
            }
            let end = rng.random_range(0..3);
            ends[end] += 1;
            match end {
                0 => sim.kill(),
                1 => sim.power_off(),
                _ => {
                    sim.set_faults(DiskFaults {
                        fail_sync_after: Some(rng.random_range(0..2)),
                        ..DiskFaults::default()
                    });
                    if store.wait_published(store.pending().sequence).await.is_ok() {
                        acknowledged = store.pending().sequence;
                    }
                    sim.set_faults(DiskFaults::default());
                    if rng.random() {
                        sim.power_off();
                    }
                }
            }
        }
    }
    assert!(
        ends.iter().all(|end| *end > 100) && torn > 50,
        "{ends:?} ends, {torn} torn tails"
    );
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
async fn a_killed_process_loses_nothing_it_wrote() {
    let sim = SimDisk::new(1);
    let store = create(&sim.disk()).await.unwrap();
    for i in 1..=20 {
        append(&store, i).unwrap();
    }
    sim.kill();
    let (store, recovery) = open(&sim.disk()).await.unwrap();
    assert_eq!((recovery.root.sequence, recovery.cut), (20, None));
    assert_holds(&store, 1..=20);
    // What recovery publishes must be durable by then.
    sim.power_off();
    assert_eq!(open(&sim.disk()).await.unwrap().1.root.sequence, 20);
}

/// Opens a damaged store of `commits` commits: what it answers must be right, or an error, or a reported loss.
async fn assert_right_or_reported(files: &BTreeMap<String, Vec<u8>>, commits: u64, what: &str) -> bool {
    match open(&disk_with(files)).await {
        Err(ChunkError::Corrupt { .. } | ChunkError::NewerFormat { .. } | ChunkError::NotAStore { .. }) => true,
        Err(error) => panic!("{what}: {error}"),
        Ok((store, recovery)) => {
            let found = recovery.root.sequence;
            assert!(
                found == commits || recovery.cut.is_some(),
                "{what}: roots are missing and nobody said so"
            );
            for i in 1..=found {
                for (hash, bytes) in commit(i) {
                    assert_eq!(store.get(&hash).unwrap(), bytes, "{what}");
                }
            }
            recovery.cut.is_some()
        }
    }
}

#[tokio::test]
async fn every_flipped_byte_is_harmless_or_reported() {
    let commits = 12;
    let files = files(&store_with_commits(commits).await);
    assert!(files.len() >= 3, "a manifest and several segments");
    let last = files.keys().rfind(|name| name.ends_with(".seg")).unwrap();
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            let what = format!("byte {at} of {name}");
            let reported = assert_right_or_reported(&damaged, commits, &what).await;
            assert!(reported, "{what} went unnoticed");
            if name != last {
                let refused = open(&disk_with(&damaged)).await.err();
                assert!(refused.is_some(), "{what}: synced segments are never cut");
            }
        }
    }
}

#[tokio::test]
async fn every_truncation_and_every_missing_file_is_reported() {
    let commits = 12;
    let disk = store_with_commits(commits).await;
    let files = files(&disk);
    let (store, _) = open(&disk).await.unwrap();
    let last = files.keys().rfind(|name| name.ends_with(".seg")).unwrap().clone();
    let last_number = store.inner.log.lock().active.header.number;
    // Cut exactly between two commits, a log looks as it did between them: only its last segment can be cut so, and
    // nothing in it can tell.
    let mut ends: Vec<u64> = store
        .inner
        .log
        .lock()
        .roots
        .iter()
        .map(|root| root.end)
        .filter(|end| end.segment == last_number)
        .map(|end| end.offset)
        .collect();
    ends.push(80);
    for (name, bytes) in &files {
        let mut damaged = files.clone();
        damaged.remove(name);
        assert!(open(&disk_with(&damaged)).await.is_err(), "{name} was missing");
        for length in 0..bytes.len() {
            damaged.insert(name.clone(), bytes[..length].to_vec());
            if *name == last && ends.contains(&(length as u64)) {
                continue;
            }
            let what = format!("{name} cut to {length} bytes");
            assert_right_or_reported(&damaged, commits, &what).await;
        }
    }
}

#[tokio::test]
async fn damage_before_a_later_root_is_refused_with_file_and_offset() {
    let disk = store_with_commits(12).await;
    let home = disk.sub("db/main");
    let file = home.open("log-00000001.seg", OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[0xff], 150).unwrap();
    let before = files(&disk);
    let error = open(&disk).await.err().unwrap();
    let ChunkError::Corrupt { file, offset, .. } = &error else {
        panic!("{error}")
    };
    assert!(file.ends_with("db/main/log-00000001.seg"), "{file}");
    assert_eq!(*offset, 80, "the first record is the damaged one");
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(files(&disk), before, "a refused store is left as it is");
}

#[tokio::test]
async fn damage_under_an_open_store_is_an_error_of_that_chunk() {
    let disk = store_with_commits(3).await;
    let (store, _) = open(&disk).await.unwrap();
    let file = disk
        .sub("db/main")
        .open("log-00000001.seg", OpenMode::ReadWrite)
        .unwrap();
    let byte = 80 + 12 + 20 + 5;
    file.write_all_at(&[0xff], byte).unwrap();
    let (hash, _) = commit(1)[0];
    assert!(matches!(store.get(&hash), Err(ChunkError::Corrupt { offset: 80, .. })));
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

    // Roots too old to be kept in memory are found in the log.
    store.inner.log.lock().roots.drain(..30);
    for root in &roots {
        assert_eq!(log_roots(&store, root.root), Some((root.sequence + 1..=40).collect()));
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
        let large = Bytes::from(vec![7; 900]);
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
async fn what_is_no_store_says_so() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    assert!(matches!(open(&disk).await, Err(ChunkError::NotAStore { .. })));
    disk.create_dir_all("db/main").unwrap();
    assert!(matches!(open(&disk).await, Err(ChunkError::NotAStore { .. })));
    let store = create(&disk).await.unwrap();
    publish(&store, 1).await.unwrap();
    assert!(matches!(create(&disk).await, Err(ChunkError::AlreadyExists { .. })));
    disk.remove_file("db/main/MANIFEST").unwrap();
    assert!(
        matches!(create(&disk).await, Err(ChunkError::AlreadyExists { .. })),
        "a log is not thrown away"
    );
    let error = open(&disk).await.err().unwrap();
    assert!(error.to_string().contains("MANIFEST is missing"), "{error}");
}

#[tokio::test]
async fn segments_do_not_pass_for_one_another() {
    let files = files(&store_with_commits(12).await);
    let mut swapped = files.clone();
    swapped.insert("log-00000001.seg".into(), files["log-00000002.seg"].clone());
    assert!(matches!(
        open(&disk_with(&swapped)).await,
        Err(ChunkError::Corrupt { .. })
    ));
    let other = self::files(&store_with_commits(12).await);
    let mut foreign = files.clone();
    foreign.insert("log-00000001.seg".into(), other["log-00000001.seg"].clone());
    let error = open(&disk_with(&foreign)).await.err().unwrap();
    assert!(error.to_string().contains("another store"), "{error}");
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
