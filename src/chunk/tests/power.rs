//! Power cuts, kills and failed syncs: what was acknowledged is there afterwards.

use super::*;

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
