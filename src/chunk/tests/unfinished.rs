//! Batches that were written in part: what they leave behind their last root costs no root anything.

use super::collect::{Grown, collect, node, references};
use super::*;

/// What a failed write left.
struct Unfinished {
    sim: SimDisk,
    grown: Grown,
    /// The newest root, which is published.
    newest: RootRecord,
    /// Everything of that root again, and twice as much that is new; the last chunk refers to all of it.
    batch: Vec<(Hash, Bytes)>,
    failed: bool,
}

/// A batch of several pieces meets a disk on which only so many bytes are free.
async fn unfinished(spare: u64) -> Unfinished {
    let sim = SimDisk::new(spare);
    let disk = sim.disk();
    let mut grown = Grown::new(&disk).await.unwrap();
    for _ in 0..10 {
        grown.commit().await.unwrap();
    }
    let newest = grown.store.published();
    let again = grown.content[&newest.root].iter().cloned();
    let mut batch: Vec<_> = again
        .zip(70_000..)
        .flat_map(|(old, i)| [node(&[], i), old, node(&[], 10_000 + i)])
        .collect();
    let hashes: Vec<Hash> = batch.iter().map(|(hash, _)| *hash).collect();
    batch.push(node(&hashes, 90_000));
    sim.full_at(Some(sim.used() + spare));
    let failed = append_batch(&grown.store, &batch).is_err();
    sim.full_at(None);
    Unfinished {
        sim,
        grown,
        newest,
        batch,
        failed,
    }
}

fn append_batch(store: &ChunkStore, batch: &[(Hash, Bytes)]) -> Result<RootRecord, ChunkError> {
    let root = batch.last().unwrap().0;
    store.append(batch.to_vec(), root, 1, WallTime::from_micros(0))
}

fn assert_batch(store: &ChunkStore, batch: &[(Hash, Bytes)], what: &str) {
    for (hash, bytes) in batch {
        assert_eq!(store.get(hash).as_ref().ok(), Some(bytes), "{what}: {hash}");
    }
}

/// Goes on until the disk has room for all of the batch.
const SPARE_STEP: usize = 97;

#[tokio::test]
async fn a_log_of_chunks_without_a_root_is_cut_and_opens_again() {
    // After a collection the log begins anew, without a root; what is staged then may fill segments before one comes.
    // Would fail if the end of such a log, once cut, were told as that of a root: the next start misses the root there.
    let sim = SimDisk::new(1);
    let mut grown = Grown::new(&sim.disk()).await.unwrap();
    for _ in 0..10 {
        grown.commit().await.unwrap();
    }
    let newest = grown.store.published();
    collect(&grown.store, []).await.unwrap();
    drop(grown.store);
    let narrow = StoreOptions {
        backlog_bytes_max: 500,
        ..options()
    };
    let (store, _) = ChunkStore::open(&sim.disk(), "db/main", &narrow).await.unwrap();
    for i in 0..200 {
        store.append_chunks(vec![node(&[], 80_000 + i)]).unwrap();
        store.room().await.unwrap();
    }
    for times in 1..=3 {
        sim.kill();
        let (store, recovery) = open(&sim.disk())
            .await
            .unwrap_or_else(|error| panic!("start {times}: {error}"));
        assert!(recovery.root.is_state_of(&newest));
        assert_eq!(recovery.cut.is_some(), times == 1, "{:?}", recovery.cut);
        for (hash, bytes) in &grown.content[&newest.root] {
            assert_eq!(store.get(hash).as_ref().ok(), Some(bytes), "start {times}");
        }
    }
}

#[tokio::test]
async fn a_batch_written_in_part_takes_no_chunk_from_an_older_root() {
    // Would fail if a chunk that no root covers counted instead of its older copy: the collection would drop the one,
    // and the next start cuts off the other.
    let mut failures = 0;
    for spare in (0..).step_by(SPARE_STEP) {
        let what = format!("{spare} bytes were left");
        let Unfinished {
            sim,
            grown,
            newest,
            batch: _,
            failed,
        } = unfinished(spare).await;
        if !failed {
            break;
        }
        failures += 1;
        for times in 1..=2 {
            collect(&grown.store, []).await.unwrap();
            grown.assert_complete(&grown.store, newest.root, &format!("{what}, collected {times} times"));
        }
        sim.kill();
        let (store, recovery) = open(&sim.disk()).await.unwrap();
        assert!(recovery.root.is_state_of(&newest), "{what}: {:?}", recovery.root);
        grown.assert_complete(&store, newest.root, &what);
    }
    assert!(failures > 20, "the disk was full {failures} times");
}

#[tokio::test]
async fn a_batch_written_in_part_and_then_again_is_complete() {
    // Would fail if the second attempt counted on chunks of the first that no root covers.
    for collections in 0..8 {
        let collects = |place: u32| collections & (1 << place) != 0;
        for spare in (0..).step_by(SPARE_STEP) {
            let what = format!("{spare} bytes were left, collections {collections:b}");
            let left = unfinished(spare).await;
            if !left.failed {
                break;
            }
            let Unfinished { sim, grown, batch, .. } = left;
            let store = &grown.store;
            if collects(0) {
                collect(store, []).await.unwrap();
            }
            let record = append_batch(store, &batch).unwrap();
            if collects(1) {
                collect(store, []).await.unwrap();
            }
            store.wait_published(record.sequence).await.unwrap();
            if collects(2) {
                collect(store, []).await.unwrap();
            }
            assert_batch(store, &batch, &what);
            sim.power_off();
            let (store, recovery) = open(&sim.disk()).await.unwrap();
            assert!(recovery.root.is_state_of(&record), "{what}: {:?}", recovery.root);
            assert_batch(&store, &batch, &what);
        }
    }
}

#[tokio::test]
async fn a_chunk_staged_again_stays_when_its_older_copy_goes() {
    // Would fail if a collection dropped what only garbage and the rootless end of the log hold: whoever staged it
    // counts on it.
    let sim = SimDisk::new(1);
    let mut grown = Grown::new(&sim.disk()).await.unwrap();
    let garbage = grown.commit().await.unwrap();
    for _ in 0..30 {
        grown.commit().await.unwrap();
    }
    let staged = grown.content[&garbage.root].clone();
    let mut collection = grown.store.begin_collection().unwrap();
    collection.mark([grown.store.pending().root], references).await.unwrap();
    collection.copy().await.unwrap();
    grown.store.append_chunks(staged.clone()).unwrap();
    collection.finish(references).await.unwrap();
    grown.assert_complete(&grown.store, garbage.root, "staged while it was collected");
    let record = grown
        .store
        .append(Vec::new(), garbage.root, 1, WallTime::from_micros(0))
        .unwrap();
    grown.store.wait_published(record.sequence).await.unwrap();
    collect(&grown.store, []).await.unwrap();
    sim.power_off();
    let (store, _) = open(&sim.disk()).await.unwrap();
    grown.assert_complete(&store, garbage.root, "opened again");
}
