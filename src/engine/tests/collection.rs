//! Garbage collection beside sessions, replication and power cuts.

use std::time::Duration;

use super::*;
use crate::chunk::{ReadChunks, StoreSize};
use crate::runtime;

fn database_bytes(disk: &SimDisk) -> u64 {
    let disk = disk.disk();
    let mut bytes = 0;
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in disk.list(&folder).unwrap() {
            let path = format!("{folder}/{}", entry.name);
            let path = path.trim_start_matches('/').to_owned();
            bytes += entry.len;
            if entry.is_dir {
                folders.push(path);
            }
        }
    }
    bytes
}

#[tokio::test]
async fn v_105_collection_under_writers_loses_nothing_and_open_snapshots_stay_readable() {
    let accounts: Vec<(i32, i32)> = (0..500).map(|id| (id, 0)).collect();
    let (disk, engine, shop) = shop(&accounts).await;
    let reader = shop.begin();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let shop = shop.clone();
            runtime::spawn("writer", async move {
                for turn in 1..=40 {
                    for id in (writer..500).step_by(97) {
                        write(&shop, id, turn).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut rounds = 0;
    while !writers.iter().all(|writer| writer.is_finished()) {
        shop.collect_garbage().await.unwrap();
        rounds += 1;
        let seen: Vec<_> = balances(&reader);
        assert_eq!(seen, accounts, "the open snapshot after {rounds} collections");
        let late = shop.begin();
        assert_eq!(balances(&late).len(), 500);
    }
    assert!(rounds > 2, "only {rounds} collections ran beside the writers");
    let last = balances(&shop.begin());
    let written = |id: i32| (0..8).any(|writer| (id - writer) % 97 == 0 && id >= writer);
    for (id, balance) in &last {
        assert_eq!(*balance, if written(*id) { 40 } else { 0 }, "account {id}");
    }
    drop((reader, shop, engine));
    let engine = open(&disk).await;
    assert_eq!(balances(&engine.database("shop").unwrap().begin()), last);
}

#[tokio::test]
async fn v_106_the_size_returns_near_to_what_is_alive_after_churn() {
    let accounts: Vec<(i32, i32)> = (0..2000).map(|id| (id, 0)).collect();
    let (disk, _engine, shop) = shop(&accounts).await;
    shop.collect_garbage().await.unwrap();
    let baseline = database_bytes(&disk);
    for turn in 1..300 {
        write(&shop, turn * 7 % 2000, turn).await.unwrap();
    }
    let grown = database_bytes(&disk);
    assert!(grown > 10 * baseline, "the churn made {grown} bytes of {baseline}");
    shop.collect_garbage().await.unwrap();
    let after = database_bytes(&disk);
    assert!(
        after < 2 * baseline,
        "{after} bytes are left of {grown}, at first there were {baseline}"
    );
}

#[tokio::test]
async fn history_and_held_roots_survive_a_collection() {
    let (disk, _engine, shop) = shop(&[(1, 100)]).await;
    for balance in [200, 300] {
        write(&shop, 1, balance).await.unwrap();
        let mut transaction = shop.begin();
        transaction.stage_all().unwrap();
        transaction.version_commit(commit_spec("a version")).unwrap();
        shop.commit(transaction).await.unwrap();
    }
    let (record, hold) = shop.hold_published().unwrap();
    for balance in 400..450 {
        write(&shop, 1, balance).await.unwrap();
    }
    let lost = shop.store().recent_roots(10)[5].root;
    shop.collect_garbage().await.unwrap();
    assert!(shop.store().contains(&record.root), "it is held");
    assert!(!shop.store().contains(&lost), "nobody held it");
    drop(hold);
    let history = |database: &Database| database.begin().dolt_log().unwrap().len();
    let versions = history(&shop);
    assert!(versions >= 4);
    shop.collect_garbage().await.unwrap();
    assert!(!shop.store().contains(&record.root), "it is not held any more");
    assert_eq!(history(&shop), versions);
    disk.kill();
    let engine = open(&disk).await;
    assert_eq!(history(&engine.database("shop").unwrap()), versions);
}

#[tokio::test]
async fn v_108_power_loss_at_every_sync_of_a_collection_recovers() {
    for syncs in 0.. {
        let accounts: Vec<(i32, i32)> = (0..200).map(|id| (id, 0)).collect();
        let (disk, engine, shop) = shop(&accounts).await;
        for turn in 1..40 {
            write(&shop, turn, turn).await.unwrap();
        }
        let expected = balances(&shop.begin());
        disk.power_off_after_syncs(syncs);
        let collected = shop.collect_garbage().await;
        disk.power_off();
        drop((engine, shop));
        let engine = open(&disk).await;
        let shop = engine.database("shop").unwrap();
        assert_eq!(balances(&shop.begin()), expected, "after {syncs} syncs");
        write(&shop, 1, 1).await.unwrap();
        shop.collect_garbage().await.unwrap();
        if collected.is_ok() {
            assert!(syncs > 3, "a collection has several syncs");
            return;
        }
    }
}

#[tokio::test]
async fn garbage_is_collected_when_it_is_due() {
    let disk = SimDisk::new(1);
    let when = AutoCollect {
        every: Duration::from_millis(5),
        log_bytes_min: 300_000,
        growth: 0.5,
    };
    let options = EngineOptions {
        auto_collect: Some(when),
        ..options()
    };
    let engine = Engine::open(disk.disk(), options).await.unwrap();
    let shop = engine.create_database("shop").await.unwrap();
    let mut transaction = shop.begin();
    transaction.create_table(&accounts(), accounts_schema()).unwrap();
    shop.commit(transaction).await.unwrap();
    for turn in 0..50 {
        write(&shop, turn, turn).await.unwrap();
    }
    let small = shop.store().size();
    assert!(small.log_bytes < when.log_bytes_min);
    let grown = async {
        // Each round makes some garbage; sooner or later a collection takes most of it.
        let mut most = 0;
        loop {
            write(&shop, 1, shop.store().pending().sequence as i32).await.unwrap();
            let size = shop.store().size();
            if size.pack_bytes > 0 {
                return most;
            }
            most = size.log_bytes;
            runtime::sleep(Duration::from_millis(1)).await;
        }
    };
    let most = runtime::timeout(Duration::from_secs(60), grown)
        .await
        .expect("a collection came");
    assert!(most >= when.log_bytes_min, "it was due at {most} bytes");
    assert!(when.is_due(StoreSize {
        chunks: 0,
        log_bytes: 600_000,
        pack_bytes: 1_000_000
    }));
    assert!(!when.is_due(StoreSize {
        chunks: 0,
        log_bytes: 400_000,
        pack_bytes: 1_000_000
    }));
}

#[tokio::test]
async fn a_dropped_database_is_not_collected_and_one_collection_runs_at_a_time() {
    let (_disk, engine, shop) = shop(&[(1, 1)]).await;
    let running = shop.store().begin_collection().unwrap();
    assert!(matches!(
        shop.collect_garbage().await,
        Err(EngineError::CollectionRuns { .. })
    ));
    drop(running);
    shop.collect_garbage().await.unwrap();
    engine.drop_database("shop").await.unwrap();
    assert!(matches!(
        shop.collect_garbage().await,
        Err(EngineError::NoSuchDatabase { .. })
    ));
}

#[tokio::test]
async fn collections_that_fail_are_tried_less_and_less() {
    // Would fail if a log that does not fit into the free space were copied again and again as far as it goes.
    let disk = SimDisk::new(1);
    let options = EngineOptions {
        auto_collect: Some(AutoCollect {
            every: Duration::from_millis(1),
            log_bytes_min: 100_000,
            growth: 0.5,
        }),
        ..options()
    };
    let engine = Engine::open(disk.disk(), options).await.unwrap();
    let shop = engine.create_database("shop").await.unwrap();
    let mut transaction = shop.begin();
    transaction.create_table(&accounts(), accounts_schema()).unwrap();
    for id in 0..2000 {
        transaction.insert(&accounts(), account(id, id)).unwrap();
    }
    shop.commit(transaction).await.unwrap();
    let store = shop.store().clone();
    let begun = shop.store().begin_collection().unwrap();
    while store.size().log_bytes < 200_000 {
        write(&shop, 1, store.pending().sequence as i32).await.unwrap();
    }
    disk.full_at(Some(disk.used() + 200));
    drop(begun);
    let failures = |disk: &SimDisk| disk.injected().len();
    let many = async {
        while failures(&disk) <= 30 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
    };
    let many = runtime::timeout(Duration::from_millis(1500), many).await;
    assert!(many.is_err(), "it failed {} times", failures(&disk));
    assert!(failures(&disk) > 1, "it was tried again");
    disk.full_at(None);
    let collected = async {
        while store.size().pack_bytes == 0 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
    };
    let collected = runtime::timeout(Duration::from_secs(20), collected).await;
    collected.expect("it is tried again once there is space");
}

/// Its folder may be another engine's by the time that a collection would exchange files.
#[tokio::test]
async fn a_collection_ends_with_its_engine() {
    let disk = SimDisk::new(1);
    let mut options = options();
    options.auto_collect = Some(AutoCollect {
        every: Duration::from_millis(1),
        log_bytes_min: 0,
        growth: 0.0,
    });
    let engine = Engine::open(disk.disk(), options).await.unwrap();
    // The one that is collected first.
    let system = engine.system().database().clone();
    let slow = Duration::from_secs(3600);
    disk.set_sync_latency(slow..=slow);
    while system.store().begin_collection().is_ok() {
        runtime::sleep(Duration::from_millis(1)).await;
    }
    let left = std::sync::Arc::downgrade(&system.inner);
    drop((engine, system));
    let ended = async {
        while left.upgrade().is_some() {
            runtime::sleep(Duration::from_millis(1)).await;
        }
    };
    runtime::timeout(Duration::from_secs(5), ended)
        .await
        .expect("a collection that waits for the disk does not keep the database");
}

#[tokio::test]
async fn a_held_root_is_the_one_that_its_record_names() {
    // Would fail if a root that another writer's sync publishes before its snapshot is entered were given with the hold
    // on the one before: a collection could drop it from under its holder.
    let (_disk, _engine, shop) = shop(&[(1, 100)]).await;
    let (before, _) = shop.hold_published().unwrap();
    let root = shop.begin().base.root();
    assert_eq!(before.root, root);
    let chunk = bytes::Bytes::from_static(b"the next root");
    let next = crate::chunk::Hash::of(&chunk);
    let append = shop
        .store()
        .append(vec![(next, chunk)], next, 0, WallTime::from_micros(0));
    let appended = append.unwrap();
    shop.store().wait_published(appended.sequence).await.unwrap();
    assert_eq!(shop.hold_published().unwrap().0, before, "the hold is on that one");
}

#[tokio::test]
async fn a_database_is_dropped_beside_its_collection_and_nothing_of_it_is_left() {
    // Would fail if the two waited for each other, or if the collection were told of files that are gone.
    let accounts: Vec<(i32, i32)> = (0..2000).map(|id| (id, 0)).collect();
    for turns in 0..12 {
        let (disk, engine, shop) = shop(&accounts).await;
        let collecting = runtime::spawn("collect", async move { shop.collect_garbage().await });
        for _ in 0..turns {
            runtime::yield_now().await;
        }
        engine.drop_database("shop").await.unwrap();
        let collected = collecting.await.unwrap();
        let ended = match &collected {
            Ok(_) => true,
            Err(error) => matches!(error, EngineError::NoSuchDatabase { .. }),
        };
        assert!(ended, "after {turns} turns: {collected:?}");
        let left = disk.disk().list("databases").unwrap();
        assert!(left.is_empty(), "after {turns} turns: {left:?}");
    }
}

#[tokio::test]
async fn who_ends_a_database_waits_for_its_collection() {
    // Would fail if the files were moved or removed while a collection still made new ones.
    let (disk, _engine, shop) = shop(&[(1, 1)]).await;
    let below = |chunk: &bytes::Bytes| crate::version::links(chunk).map_err(EngineError::Object);
    let root = shop.store().published().root;
    let packs = |disk: &SimDisk| {
        let folder = folder::database_folder("shop", shop.id());
        let names = disk.disk().list(&folder).unwrap();
        names.iter().filter(|entry| entry.name.starts_with("pack-")).count()
    };
    let mut running = shop.store().begin_collection().unwrap();
    running.mark([root], below).await.unwrap();
    running.copy().await.unwrap();
    assert!(packs(&disk) > 0);
    let retired = shop.clone();
    let retiring = runtime::spawn("retire", async move { retired.retire().await });
    for _ in 0..100 {
        runtime::yield_now().await;
    }
    assert!(!retiring.is_finished(), "the collection has not ended");
    let told = async {
        loop {
            if let Err(error) = running.mark([root], below).await {
                return error;
            }
            runtime::yield_now().await;
        }
    };
    let told = runtime::timeout(Duration::from_secs(20), told).await.unwrap();
    assert!(told.to_string().contains("dropped"), "{told}");
    drop(running);
    runtime::timeout(Duration::from_secs(20), retiring)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(packs(&disk), 0);
}
