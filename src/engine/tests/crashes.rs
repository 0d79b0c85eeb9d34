//! Power goes at every sync there is; what was acknowledged must be there afterwards, and nothing half done.

use super::*;

/// Runs `work` on a new disk whose power goes after `syncs` syncs, then opens the folder again. `None` when the work was
/// done before the power went.
async fn with_power_lost<W, F>(seed: u64, syncs: u64, work: W) -> Option<(F::Output, Engine)>
where
    W: FnOnce(SimDisk) -> F,
    F: Future,
{
    let disk = SimDisk::new(seed);
    disk.power_off_after_syncs(syncs);
    let first = disk.disk();
    let done = work(disk.clone()).await;
    if disk.is_alive(&first) {
        return None;
    }
    Some((done, open(&disk).await))
}

/// The engine of a disk that may die at any moment.
async fn try_open(disk: &SimDisk) -> Result<Engine, EngineError> {
    Engine::open(disk.disk(), options()).await
}

#[tokio::test]
async fn acknowledged_commits_survive_power_loss_at_every_sync() {
    for syncs in 1.. {
        let work = |disk: SimDisk| async move {
            let mut acknowledged = Vec::new();
            let Ok(engine) = try_open(&disk).await else {
                return acknowledged;
            };
            let Ok(shop) = engine.create_database("shop").await else {
                return acknowledged;
            };
            let mut transaction = shop.begin();
            transaction.create_table(&accounts(), accounts_schema()).unwrap();
            if shop.commit(transaction).await.is_err() {
                return acknowledged;
            }
            acknowledged.push(-1);
            for id in 0..12 {
                // Two rows in one commit: both or none.
                let mut transaction = shop.begin();
                transaction.insert(&accounts(), account(id, id)).unwrap();
                transaction.insert(&accounts(), account(1000 + id, id)).unwrap();
                if shop.commit(transaction).await.is_err() {
                    return acknowledged;
                }
                acknowledged.push(id);
            }
            acknowledged
        };
        let Some((acknowledged, engine)) = with_power_lost(syncs * 7, syncs, work).await else {
            assert!(syncs > 12, "the work has more syncs than {syncs}");
            return;
        };
        if acknowledged.is_empty() {
            continue;
        }
        let shop = engine.database("shop").unwrap();
        let (low, high): (Vec<_>, Vec<_>) = balances(&shop.begin()).into_iter().partition(|(id, _)| *id < 1000);
        assert!(
            low.iter().map(|(id, _)| id + 1000).eq(high.iter().map(|(id, _)| *id)),
            "after {syncs}: half a commit"
        );
        assert!(
            low.iter().enumerate().all(|(place, (id, _))| place as i32 == *id),
            "after {syncs}: a hole"
        );
        assert!(
            low.len() >= acknowledged.len() - 1,
            "after {syncs}: {acknowledged:?} acknowledged, {low:?} found"
        );
        write(&shop, 5000, 1).await.expect("a recovered database takes commits");
    }
}

#[tokio::test]
async fn concurrent_acknowledged_commits_survive_power_loss() {
    for syncs in 8..40 {
        let work = |disk: SimDisk| async move {
            let Ok(engine) = try_open(&disk).await else {
                return Vec::new();
            };
            let Ok(shop) = engine.create_database("shop").await else {
                return Vec::new();
            };
            let mut transaction = shop.begin();
            transaction.create_table(&accounts(), accounts_schema()).unwrap();
            if shop.commit(transaction).await.is_err() {
                return Vec::new();
            }
            let writers = (0..8).map(|writer| {
                let shop = shop.clone();
                async move {
                    let mut acknowledged = Vec::new();
                    for turn in 0..10 {
                        let id = writer * 100 + turn;
                        if write(&shop, id, 1).await.is_err() {
                            break;
                        }
                        acknowledged.push(id);
                    }
                    acknowledged
                }
            });
            futures::future::join_all(writers).await.concat()
        };
        let Some((acknowledged, engine)) = with_power_lost(syncs, syncs, work).await else {
            continue;
        };
        if !acknowledged.is_empty() {
            let found: Vec<i32> = balances(&engine.database("shop").unwrap().begin())
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            let lost: Vec<&i32> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
            assert!(
                lost.is_empty(),
                "after {syncs} syncs: {lost:?} were acknowledged and are gone"
            );
        }
    }
}

/// Creation and removal are all or nothing, and leave no files of databases that are not listed.
#[tokio::test]
async fn databases_come_and_go_whole_at_every_sync() {
    #[derive(Debug, PartialEq)]
    enum Reached {
        Nothing,
        Created,
        Written,
        Dropped,
        Recreated,
    }
    for syncs in 1.. {
        let work = |disk: SimDisk| async move {
            let Ok(engine) = try_open(&disk).await else {
                return Reached::Nothing;
            };
            let Ok(shop) = engine.create_database("shop").await else {
                return Reached::Nothing;
            };
            let mut transaction = shop.begin();
            transaction.create_table(&accounts(), accounts_schema()).unwrap();
            if shop.commit(transaction).await.is_err() {
                return Reached::Created;
            }
            if engine.drop_database("shop").await.is_err() {
                return Reached::Written;
            }
            if engine.create_database("shop").await.is_err() {
                return Reached::Dropped;
            }
            Reached::Recreated
        };
        let Some((reached, engine)) = with_power_lost(syncs * 13, syncs, work).await else {
            assert!(syncs > 8, "the work has more syncs than {syncs}");
            return;
        };
        for listed in engine.listing() {
            assert_eq!(listed.state, DatabaseState::Available, "after {syncs}: {listed:?}");
        }
        let tables = engine
            .database("shop")
            .ok()
            .map(|shop| shop.begin().tables().unwrap().len());
        // What was acknowledged is there; what was asked for and not acknowledged may be there.
        match reached {
            Reached::Nothing => assert!(matches!(tables, None | Some(0)), "after {syncs}: {tables:?}"),
            Reached::Created => assert!(matches!(tables, Some(0 | 1)), "after {syncs}: {tables:?}"),
            Reached::Written => assert!(matches!(tables, None | Some(1)), "after {syncs}: {tables:?}"),
            Reached::Dropped => assert!(matches!(tables, None | Some(0)), "after {syncs}: {tables:?}"),
            Reached::Recreated => assert_eq!(tables, Some(0), "after {syncs}"),
        }
        let folders = engine.disk().list("databases").unwrap();
        assert_eq!(folders.len(), engine.listing().len(), "after {syncs}: {folders:?}");
    }
}

#[tokio::test]
async fn a_failed_sync_is_an_unknown_outcome_and_ends_writing() {
    let (disk, engine, shop) = shop(&[(1, 10)]).await;
    disk.set_faults(crate::runtime::disk::simulated::DiskFaults {
        fail_sync_after: Some(0),
        ..Default::default()
    });
    let failed = write(&shop, 1, 11).await.unwrap_err();
    assert!(matches!(failed, EngineError::OutcomeUnknown { .. }), "{failed}");
    assert_eq!(balances(&shop.begin()), [(1, 10)], "what is not durable is not visible");
    let refused = write(&shop, 1, 12).await.unwrap_err();
    assert!(matches!(refused, EngineError::Store(_)), "{refused}");
    // Draining does not wait for what can never finish.
    engine.gate().close(ReadOnlyReason::Demoting);
    engine.gate().drain().await;
}

/// A disk that lies while the folder is made: what comes of it is a whole engine or a refusal, never a panic.
#[tokio::test]
async fn a_system_database_that_lost_its_root_is_refused_with_its_place() {
    let mut rootless = 0;
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        disk.set_faults(crate::runtime::disk::simulated::DiskFaults {
            lost: 50_000,
            ..Default::default()
        });
        // The engine reads back what it made; and so does the next one.
        for _ in 0..2 {
            if let Err(error) = try_open(&disk).await {
                let error = error.to_string();
                assert!(!disk.injected().is_empty(), "seed {seed}: {error}");
                rootless += u32::from(error.contains("though it was synced") && error.contains("offset"));
            }
            disk.set_faults(Default::default());
        }
    }
    assert!(rootless > 0, "no seed lost the write of the first root");
}

/// A start that fails at any sync leaves nothing behind that the next start takes for durable.
#[tokio::test]
async fn what_a_failed_start_left_is_synced_by_the_next_one() {
    let mut failed = 0;
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        disk.set_faults(crate::runtime::disk::simulated::DiskFaults {
            sync_fails: 100_000,
            ..Default::default()
        });
        failed += u32::from(try_open(&disk).await.is_err());
        disk.set_faults(Default::default());
        let engine = open(&disk).await;
        engine.create_database("shop").await.unwrap();
        drop(engine);
        disk.power_off();
        let engine = open(&disk).await;
        assert!(
            engine.database("shop").is_ok(),
            "seed {seed}: an acknowledged database is gone"
        );
    }
    assert!(failed > 20, "{failed} of 60 first starts failed");
}
