//! Roots of a primary applied to a standby.

use bytes::Bytes;

use super::*;
use crate::chunk::{ChunkStore, Hash, LogEntry, ReadChunks, RootRecord};

pub(super) fn permitted() -> Result<(), String> {
    Ok(())
}

/// The primary's log after `root`, one batch for each root.
pub(super) fn log_after(primary: &Database, root: Hash) -> Vec<ReplicatedBatch> {
    let mut batches = Vec::new();
    let (mut chunks, mut previous) = (Vec::new(), root);
    for entry in primary
        .store()
        .read_log_after(root)
        .unwrap()
        .expect("the root is in the log")
    {
        match entry.unwrap() {
            LogEntry::Chunk(hash, bytes) => chunks.push((hash, bytes)),
            LogEntry::Root(root) => {
                batches.push(ReplicatedBatch {
                    chunks: std::mem::take(&mut chunks),
                    root,
                    expect_previous: previous,
                });
                previous = root.root;
            }
        }
    }
    batches
}

/// Brings a standby's database to the primary's root by walking from the root down; gives how many chunks were sent.
pub(super) async fn backfill(primary: &Database, standby: &Database) -> usize {
    backfill_in_tries(primary, standby, usize::MAX, true).await.0
}

/// As [`backfill`], with no more than so many chunks before the walk is cut off and begins anew; gives how many were
/// sent and how many tries it took. Unless it `keeps` what a try could not store, the next one asks for it again.
async fn backfill_in_tries(primary: &Database, standby: &Database, chunks: usize, keeps: bool) -> (usize, usize) {
    let root = primary.store().published();
    let (mut sent, mut tries) = (0, 0);
    let chunks = loop {
        tries += 1;
        assert!(tries < 1000, "{sent} chunks were sent and no try was the last");
        let mut backfill = standby.begin_backfill(root.root).unwrap();
        let mut left = chunks;
        loop {
            let wanted = backfill.wanted(7.min(left));
            if wanted.is_empty() {
                break;
            }
            for hash in wanted {
                let bytes = primary.store().get(&hash).unwrap();
                backfill.receive(hash, bytes, standby.store()).unwrap();
                (sent, left) = (sent + 1, left - 1);
            }
            standby.stage_chunks(backfill.take_closed()).await.unwrap();
        }
        if backfill.wanted(1).is_empty() {
            break backfill.finish();
        }
        if keeps {
            standby.keep_backfill(backfill);
        }
    };
    let expect_previous = standby.store().published().root;
    let batch = ReplicatedBatch {
        chunks,
        root,
        expect_previous,
    };
    standby.apply_replicated(batch, permitted).await.unwrap();
    (sent, tries)
}

/// A primary with `shop`, and a standby that has the primary's system database and awaits `shop`.
async fn pair() -> (Engine, Database, Engine, Database) {
    let (_disk, primary, shop) = shop(&(0..5000).map(|id| (id, id)).collect::<Vec<_>>()).await;
    let standby_disk = SimDisk::new(2);
    let standby = open(&standby_disk).await;
    standby.gate().close(ReadOnlyReason::Standby);
    backfill(primary.system().database(), standby.system().database()).await;
    standby.reconcile_databases().await.unwrap();
    let there = standby.store_of(shop.id()).expect("the database is awaited");
    (primary, shop, standby, there)
}

#[tokio::test]
async fn a_standby_shows_a_database_from_its_first_root_on() {
    let (primary, shop, standby, there) = pair().await;
    assert!(matches!(
        standby.database("shop"),
        Err(EngineError::NoSuchDatabase { .. })
    ));
    assert!(standby.databases().is_empty());
    assert_eq!(standby.listing()[0].state, DatabaseState::Awaited);
    let mut changes = standby.watch_databases();
    changes.mark_unchanged();

    let batches = log_after(&shop, Hash::NONE);
    let last = batches.last().unwrap().root;
    for batch in batches {
        let (root, epoch, time) = (batch.root.root, batch.root.epoch, batch.root.time);
        let record = there.apply_replicated(batch, permitted).await.unwrap();
        assert_eq!((record.root, record.epoch, record.time), (root, epoch, time));
        assert!(standby.database("shop").is_ok());
    }
    assert!(changes.has_changed().unwrap());
    assert_eq!(there.store().published().root, last.root);
    assert_eq!(balances(&there.begin()), balances(&shop.begin()));
    assert_eq!(
        standby.system().database().store().published().root,
        primary.system().database().store().published().root
    );
    let refused = write(&there, 1, -1).await.unwrap_err();
    assert!(matches!(
        refused,
        EngineError::ReadOnly {
            reason: ReadOnlyReason::Standby,
            ..
        }
    ));
}

#[tokio::test]
async fn several_roots_may_be_applied_as_one() {
    let (_primary, shop, _standby, there) = pair().await;
    for id in 0..5 {
        write(&shop, id, -1).await.unwrap();
    }
    let batches = log_after(&shop, Hash::NONE);
    assert!(batches.len() >= 7);
    let chunks = batches.iter().flat_map(|batch| batch.chunks.clone()).collect();
    let root = batches.last().unwrap().root;
    there
        .apply_replicated(
            ReplicatedBatch {
                chunks,
                root,
                expect_previous: Hash::NONE,
            },
            permitted,
        )
        .await
        .unwrap();
    assert_eq!(balances(&there.begin()), balances(&shop.begin()));
}

#[tokio::test]
async fn roots_that_do_not_follow_are_refused_and_change_nothing() {
    let (_primary, shop, _standby, there) = pair().await;
    let mut batches = log_after(&shop, Hash::NONE);
    let second = batches.remove(1);
    let first = batches.remove(0);
    let refused = there.apply_replicated(second.clone(), permitted).await.unwrap_err();
    assert!(matches!(refused, EngineError::NotNextRoot { .. }), "{refused}");
    there.apply_replicated(first.clone(), permitted).await.unwrap();
    let at_first = there.store().pending();
    let refused = there.apply_replicated(first, permitted).await.unwrap_err();
    assert!(matches!(refused, EngineError::NotNextRoot { .. }), "{refused}");

    // Every chunk left out is missed, one after the other.
    for left_out in 0..second.chunks.len() {
        let mut batch = second.clone();
        let (missing, _) = batch.chunks.remove(left_out);
        if there.store().contains(&missing) {
            continue;
        }
        match there.apply_replicated(batch, permitted).await {
            Err(EngineError::Incomplete { missing: told, .. }) => assert_eq!(told, [missing]),
            other => panic!("{missing} was left out: {other:?}"),
        }
    }
    let mut batch = second.clone();
    batch.chunks[0].1 = Bytes::from_static(b"not what the hash says");
    assert!(matches!(
        there.apply_replicated(batch, permitted).await,
        Err(EngineError::WrongHash { .. })
    ));
    let mut batch = second.clone();
    batch.chunks.push((Hash::of(b"?"), Bytes::from_static(b"?")));
    assert!(matches!(
        there.apply_replicated(batch, permitted).await,
        Err(EngineError::Object(_))
    ));
    let leaf = second
        .chunks
        .iter()
        .find(|(_, bytes)| bytes[0] == crate::prolly::KIND_LEAF)
        .unwrap()
        .0;
    let mut batch = second.clone();
    batch.root = RootRecord {
        root: leaf,
        ..batch.root
    };
    assert!(
        there.apply_replicated(batch, permitted).await.is_err(),
        "a chunk that is no store root"
    );
    let refused = there
        .apply_replicated(second.clone(), || Err("no longer a standby".to_owned()))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("no longer a standby"), "{refused}");

    assert_eq!(there.store().pending(), at_first);
    there.apply_replicated(second, permitted).await.unwrap();
}

#[tokio::test]
async fn a_backfill_sends_what_is_missing_and_nothing_else() {
    let (_primary, shop, _standby, there) = pair().await;
    let everything = backfill(&shop, &there).await;
    assert!(everything > 30, "{everything}");
    assert_eq!(balances(&there.begin()), balances(&shop.begin()));
    write(&shop, 250, -1).await.unwrap();
    write(&shop, 251, -1).await.unwrap();
    let difference = backfill(&shop, &there).await;
    assert!(
        difference < everything / 4,
        "{difference} of {everything} chunks for two rows"
    );
    assert_eq!(there.store().published().root, shop.store().published().root);
    assert_eq!(balances(&there.begin()), balances(&shop.begin()));
    // And from there the log goes on.
    let before = shop.store().published().root;
    write(&shop, 252, -1).await.unwrap();
    for batch in log_after(&shop, before) {
        there.apply_replicated(batch, permitted).await.unwrap();
    }
    assert_eq!(balances(&there.begin()), balances(&shop.begin()));
}

#[tokio::test]
async fn nothing_is_staged_before_what_it_refers_to() {
    let (_primary, shop, _standby, there) = pair().await;
    let root = shop.store().published().root;
    let refused = there
        .stage_chunks(vec![(root, shop.store().get(&root).unwrap())])
        .await
        .unwrap_err();
    assert!(matches!(refused, EngineError::Incomplete { .. }));
    assert!(!there.store().contains(&root));
}

/// A link that never carries more than a few chunks before it breaks still carries a database in the end, and hardly
/// anything twice, even when only what could be stored is kept.
#[tokio::test]
async fn a_walk_that_is_cut_off_again_and_again_goes_on_where_it_was() {
    /// What is above the chunks that are asked for, in a tree of so many rows.
    const LOST_IN_A_TRY: usize = 6;
    let (_primary, shop, standby, there) = pair().await;
    let (sent, tries) = backfill_in_tries(&shop, &there, 9, false).await;
    assert!(tries > 3, "{tries} tries: the database is too small to say anything");
    assert_eq!(balances(&there.begin()), balances(&shop.begin()));
    drop((standby, there));

    let (_primary, shop, _standby, there) = pair().await;
    let needed = backfill(&shop, &there).await;
    assert!(
        sent <= needed + tries * LOST_IN_A_TRY,
        "{sent} chunks in {tries} tries, where {needed} are needed"
    );
    let (_primary, shop, _standby, there) = pair().await;
    assert_eq!(
        backfill_in_tries(&shop, &there, 9, true).await.0,
        needed,
        "nothing is sent twice"
    );
}

/// Otherwise all nodes above the leaves are held before the first leaf comes, and a transfer of much is never cut off in
/// time.
#[tokio::test]
async fn what_is_below_a_chunk_is_asked_for_before_what_is_beside_it() {
    let (_primary, shop, _standby, there) = pair().await;
    let mut backfill = there.begin_backfill(shop.store().published().root).unwrap();
    let mut inner = 0;
    while let Some(hash) = backfill.wanted(1).pop() {
        let bytes = shop.store().get(&hash).unwrap();
        let mut below = crate::version::references(&bytes).unwrap();
        below.retain(|reference| !there.store().contains(reference));
        backfill.receive(hash, bytes, there.store()).unwrap();
        let next = backfill.wanted(1);
        if let Some(next) = next.first().filter(|_| !below.is_empty()) {
            assert!(below.contains(next), "{next} is not below {hash}");
            inner += 1;
        }
        there.stage_chunks(backfill.take_closed()).await.unwrap();
    }
    assert!(inner > 3, "{inner}");
}

/// Each version refers to the one before: nothing of such a chain is complete before its end is there.
#[tokio::test]
async fn a_history_longer_than_any_try_arrives() {
    let (_primary, shop, _standby, there) = pair().await;
    for number in 0..40 {
        let mut transaction = shop.begin();
        set_balance(&mut transaction, number, -1);
        transaction.stage_all().unwrap();
        let person = || Person {
            name: "x".to_owned(),
            email: "x@y".to_owned(),
            time: WallTime::EPOCH,
        };
        let spec = CommitSpec {
            message: format!("version {number}"),
            author: person(),
            committer: person(),
            allow_empty: false,
        };
        transaction.version_commit(spec).unwrap();
        shop.commit(transaction).await.unwrap();
    }
    let (_, tries) = backfill_in_tries(&shop, &there, 12, true).await;
    assert!(tries > 3, "{tries}");
    assert_eq!(balances(&there.begin()), balances(&shop.begin()));
}

#[tokio::test]
async fn a_chunk_with_lies_is_refused_by_a_backfill() {
    let (_primary, shop, _standby, there) = pair().await;
    let root = shop.store().published().root;
    let mut backfill = Backfill::new(root, there.store());
    let refused = backfill
        .receive(root, Bytes::from_static(b"lies"), there.store())
        .unwrap_err();
    assert!(matches!(refused, EngineError::WrongHash { .. }));
    let unasked = Bytes::from_static(b"\x01whatever");
    backfill.receive(Hash::of(&unasked), unasked, there.store()).unwrap();
    assert_eq!(backfill.wanted(10), [root]);
    assert!(backfill.take_closed().is_empty());
}

#[tokio::test]
async fn dropped_and_recreated_databases_follow_the_list() {
    let (primary, shop, standby, there) = pair().await;
    backfill(&shop, &there).await;
    primary.drop_database("shop").await.unwrap();
    let again = primary.create_database("shop").await.unwrap();
    primary.create_database("other").await.unwrap();
    backfill(primary.system().database(), standby.system().database()).await;
    let reader = standby.sessions().register("app", "shop");
    let elsewhere = standby.sessions().register("app", "postgres");
    standby.reconcile_databases().await.unwrap();
    assert!(there.is_dropped());
    assert!(reader.why_terminated().is_some(), "it would read what nobody else sees");
    assert_eq!(elsewhere.why_terminated(), None);
    assert!(standby.databases().is_empty(), "the new ones are awaited");
    let ids: Vec<DatabaseId> = standby.listing().iter().map(|listed| listed.id).collect();
    assert_eq!(
        ids,
        primary.listing().iter().map(|listed| listed.id).collect::<Vec<_>>()
    );
    backfill(&again, &standby.store_of(again.id()).unwrap()).await;
    assert!(standby.database("shop").unwrap().begin().tables().unwrap().is_empty());
    standby.reconcile_databases().await.unwrap();
    assert!(standby.database("shop").is_ok(), "reconciling again changes nothing");
    assert_eq!(
        standby.disk().list(".understudy/dropped").unwrap().len(),
        1,
        "what was given up is kept"
    );
}

/// Nobody sends the content any more: the name is free again, and the list is one that other servers can follow.
#[tokio::test]
async fn a_database_that_never_came_is_taken_off_the_list_of_a_new_primary() {
    let (_primary, shop, standby, there) = pair().await;
    assert!(matches!(
        standby.forget_awaited().await,
        Err(EngineError::ReadOnly { .. })
    ));
    assert_eq!(standby.listing().len(), 1, "still a standby, and it may still come");
    standby.gate().open();
    standby.forget_awaited().await.unwrap();
    assert!(standby.listing().is_empty());
    assert!(there.is_dropped());
    let again = standby.create_database("shop").await.unwrap();
    assert_ne!(again.id(), shop.id());
    standby.forget_awaited().await.unwrap();
    assert_eq!(standby.listing().len(), 1, "what has content stays");
}

/// A standby lists a database before it makes it, and must not take what an interrupted creation left for damage.
#[tokio::test]
async fn a_power_cut_at_any_sync_of_making_a_listed_database_leaves_none_or_a_whole_one() {
    let (_disk, primary, shop) = shop(&[(1, 10)]).await;
    let mut cut = 0;
    let mut cut_somewhere = true;
    while std::mem::take(&mut cut_somewhere) {
        // What of the unsynced survives is the disk's to say: each says something else.
        for seed in 0..16 {
            let disk = SimDisk::new(seed);
            let standby = open(&disk).await;
            backfill(primary.system().database(), standby.system().database()).await;
            disk.power_off_after_syncs(cut);
            let was_cut = standby.reconcile_databases().await.is_err();
            drop(standby);
            disk.power_off();
            let standby = open(&disk).await;
            standby.reconcile_databases().await.unwrap();
            let there = standby.store_of(shop.id());
            let there = there.unwrap_or_else(|| panic!("cut at sync {cut}, seed {seed}: {:?}", standby.listing()));
            backfill(&shop, &there).await;
            assert_eq!(balances(&there.begin()), [(1, 10)], "cut at sync {cut}, seed {seed}");
            cut_somewhere |= was_cut;
        }
        cut += 1;
    }
    assert!(cut > 5, "{cut} syncs");
}

/// Everything of the database came with one root, the list without it after that, and the crash before it was given up.
#[tokio::test]
async fn a_restart_keeps_a_received_database_that_the_list_no_longer_has() {
    let (_disk, primary, shop) = shop(&[(1, 10), (2, 20)]).await;
    let disk = SimDisk::new(2);
    let standby = open(&disk).await;
    backfill(primary.system().database(), standby.system().database()).await;
    standby.reconcile_databases().await.unwrap();
    backfill(&shop, &standby.store_of(shop.id()).unwrap()).await;
    let root = shop.store().published().root;
    primary.drop_database("shop").await.unwrap();
    backfill(primary.system().database(), standby.system().database()).await;
    // Given up once before, which took the place of the first choice.
    let folder = standby.disk().list("databases").unwrap().remove(0).name;
    standby
        .disk()
        .create_dir_all(&format!(".understudy/dropped/{folder}"))
        .unwrap();
    drop(standby);

    let standby = open(&disk).await;
    assert!(standby.listing().is_empty());
    assert!(standby.disk().list("databases").unwrap().is_empty());
    let kept = format!(".understudy/dropped/{folder}.2");
    let (store, _) = ChunkStore::open(standby.disk(), &kept, &StoreOptions::default())
        .await
        .unwrap();
    assert_eq!(store.published().root, root);
}

#[tokio::test]
async fn a_standby_restarts_with_databases_that_still_await_their_root() {
    let (_disk, primary, shop) = shop(&[(1, 10)]).await;
    let disk = SimDisk::new(2);
    let standby = open(&disk).await;
    backfill(primary.system().database(), standby.system().database()).await;
    drop(standby);
    // The list came, the crash came before the folder.
    let standby = open(&disk).await;
    assert!(matches!(standby.listing()[0].state, DatabaseState::Unavailable { .. }));
    standby.reconcile_databases().await.unwrap();
    assert_eq!(standby.listing()[0].state, DatabaseState::Awaited);
    drop(standby);
    let standby = open(&disk).await;
    assert_eq!(standby.listing()[0].state, DatabaseState::Awaited);
    backfill(&shop, &standby.store_of(shop.id()).unwrap()).await;
    drop(standby);
    let standby = open(&disk).await;
    assert_eq!(balances(&standby.database("shop").unwrap().begin()), [(1, 10)]);
}

/// A receiver whose stream breaks while a root is being synced leaves a whole root, counted by the gate and announced.
#[tokio::test]
async fn a_first_root_is_announced_even_when_nobody_waits_for_it() {
    let (_disk, primary, shop) = shop(&[(1, 10)]).await;
    let disk = SimDisk::new(2);
    let standby = open(&disk).await;
    backfill(primary.system().database(), standby.system().database()).await;
    standby.reconcile_databases().await.unwrap();
    let there = standby.store_of(shop.id()).unwrap();
    let mut changes = standby.watch_databases();
    changes.mark_unchanged();
    disk.set_sync_latency(std::time::Duration::from_millis(50)..=std::time::Duration::from_millis(50));
    let first = log_after(&shop, Hash::NONE).remove(0);
    let root = first.root.root;
    let apply = there.apply_replicated(first, permitted);
    assert!(
        crate::runtime::timeout(std::time::Duration::from_millis(5), apply)
            .await
            .is_err()
    );
    assert!(standby.databases().is_empty(), "not durable, not visible");
    standby.gate().drain().await;
    assert!(changes.has_changed().unwrap());
    assert_eq!(standby.database("shop").unwrap().store().published().root, root);
}
