//! What two transactions may do at the same time.

use std::future::Future;

use futures::future::join_all;

use super::*;
use crate::runtime::spawn;

type Act = fn(&mut Transaction);

/// Runs both over one snapshot, commits `first`, and tells whether `second` could commit too.
async fn second_commits(first: Act, second: Act) -> bool {
    let (_disk, _engine, shop) = shop(&[(1, 10), (2, 20)]).await;
    let (mut one, mut other) = (shop.begin(), shop.begin());
    first(&mut one);
    second(&mut other);
    shop.commit(one).await.unwrap();
    let after_first = shop.store().published().root;
    match shop.commit(other).await {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is_conflict(), "{error}");
            assert!(
                error
                    .to_string()
                    .contains("conflicts with a committed transaction from another client")
            );
            assert_eq!(
                shop.store().pending().root,
                after_first,
                "a refused commit leaves nothing"
            );
            false
        }
    }
}

/// First committer wins, row by row; everything else goes through.
#[tokio::test]
async fn conflict_matrix() {
    const UPDATE_1: Act = |t| set_balance(t, 1, 11);
    const SAME_UPDATE_1: Act = |t| set_balance(t, 1, 11);
    const OTHER_UPDATE_1: Act = |t| set_balance(t, 1, 12);
    const DELETE_1: Act = |t| assert!(t.delete(&accounts(), &key(1)).unwrap());
    const UPDATE_2: Act = |t| set_balance(t, 2, 22);
    const INSERT_3: Act = |t| t.insert(&accounts(), account(3, 30)).unwrap();
    const OTHER_INSERT_3: Act = |t| t.insert(&accounts(), account(3, 33)).unwrap();
    const INSERT_4: Act = |t| t.insert(&accounts(), account(4, 40)).unwrap();
    const MOVE_1_TO_3: Act = |t| assert!(t.update(&accounts(), &key(1), account(3, 10)).unwrap());
    const TOUCH_1: Act = |t| set_balance(t, 1, 10);
    const DROP: Act = |t| t.drop_table(&accounts()).unwrap();
    const RECREATE: Act = |t| {
        t.drop_table(&accounts()).unwrap();
        t.create_table(&accounts(), accounts_schema()).unwrap();
    };
    const CREATE_OTHER: Act = |t| t.create_table(&TableName::public("other"), accounts_schema()).unwrap();
    const CREATE_THIRD: Act = |t| t.create_table(&TableName::public("third"), accounts_schema()).unwrap();
    const ALL_AND_CREATE: Act = |t| {
        set_balance(t, 1, 11);
        t.create_table(&TableName::public("other"), accounts_schema()).unwrap();
    };
    let matrix: &[(&str, Act, Act, bool)] = &[
        ("V-045 one row, two values", UPDATE_1, OTHER_UPDATE_1, false),
        (
            "one row, the same value: both may have counted up",
            UPDATE_1,
            SAME_UPDATE_1,
            false,
        ),
        ("V-048 update, then delete", UPDATE_1, DELETE_1, false),
        ("V-048 delete, then update", DELETE_1, UPDATE_1, false),
        ("delete, delete", DELETE_1, DELETE_1, false),
        ("two rows", UPDATE_1, UPDATE_2, true),
        ("V-047 one new key, different rows", INSERT_3, OTHER_INSERT_3, false),
        ("two new keys", INSERT_3, INSERT_4, true),
        (
            "a row moves to a key that another inserts",
            INSERT_3,
            MOVE_1_TO_3,
            false,
        ),
        ("a row moves away from under an update", MOVE_1_TO_3, UPDATE_1, false),
        ("an edit that changes nothing", UPDATE_1, TOUCH_1, true),
        ("rows, then drop", UPDATE_1, DROP, false),
        ("drop, then rows", DROP, UPDATE_1, false),
        ("drop, drop", DROP, DROP, false),
        ("made anew, then rows", RECREATE, UPDATE_2, false),
        ("rows, then made anew", UPDATE_2, RECREATE, false),
        ("one name, two tables", CREATE_OTHER, CREATE_OTHER, false),
        ("two new tables", CREATE_OTHER, CREATE_THIRD, true),
        (
            "a conflict in one table refuses the other table too",
            UPDATE_1,
            ALL_AND_CREATE,
            false,
        ),
        ("rows beside a new table", UPDATE_1, CREATE_OTHER, true),
    ];
    for (what, first, second, expected) in matrix {
        assert_eq!(second_commits(*first, *second).await, *expected, "{what}");
    }
}

#[tokio::test]
async fn a_conflict_names_table_and_key() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let (mut one, mut other) = (shop.begin(), shop.begin());
    set_balance(&mut one, 1, 11);
    set_balance(&mut other, 1, 12);
    shop.commit(one).await.unwrap();
    let EngineError::Conflict { table, key } = shop.commit(other).await.unwrap_err() else {
        panic!("no conflict")
    };
    assert_eq!((table, key), (accounts(), Some(vec![Value::Int4(1)])));
}

/// Runs futures as tasks, all at once.
async fn all_at_once<F: Future<Output = ()> + Send + 'static>(futures: impl Iterator<Item = F>) {
    for done in join_all(futures.map(|future| spawn("writer", future)).collect::<Vec<_>>()).await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v_056_writers_of_distinct_rows_all_succeed() {
    let (_disk, _engine, shop) = shop(&(0..100).map(|id| (id, 0)).collect::<Vec<_>>()).await;
    all_at_once((0..100).map(|id| {
        let shop = shop.clone();
        async move {
            for balance in 1..=5 {
                write(&shop, id, balance).await.unwrap();
            }
        }
    }))
    .await;
    assert!(balances(&shop.begin()).iter().all(|(_, balance)| *balance == 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v_057_writers_of_one_row_who_retry_lose_no_update() {
    let (_disk, _engine, shop) = shop(&[(1, 0)]).await;
    all_at_once((0..20).map(|_| {
        let shop = shop.clone();
        async move {
            loop {
                let mut transaction = shop.begin();
                let [(_, balance)] = balances(&transaction)[..] else {
                    panic!("one row")
                };
                set_balance(&mut transaction, 1, balance + 1);
                match shop.commit(transaction).await {
                    Ok(_) => return,
                    Err(error) => assert!(error.is_conflict(), "{error}"),
                }
            }
        }
    }))
    .await;
    assert_eq!(balances(&shop.begin()), [(1, 20)]);
}

#[tokio::test]
async fn sixteen_writers_share_syncs() {
    let (disk, _engine, shop) = shop(&[]).await;
    disk.set_sync_latency(std::time::Duration::from_millis(2)..=std::time::Duration::from_millis(2));
    let before = disk.syncs();
    all_at_once((0..16).map(|writer| {
        let shop = shop.clone();
        async move {
            for turn in 0..10 {
                write(&shop, writer * 100 + turn, 1).await.unwrap();
            }
        }
    }))
    .await;
    assert_eq!(shop.begin().count(&accounts()).unwrap(), 160);
    let syncs = disk.syncs() - before;
    assert!(syncs <= 40, "{syncs} syncs for 160 commits: the budget is a quarter");
}

#[tokio::test]
async fn a_commit_costs_what_it_changes() {
    let (_disk, _engine, shop) = shop(&(0..50_000).map(|id| (id, id)).collect::<Vec<_>>()).await;
    let mut reader = shop
        .store()
        .read_log_after(shop.store().published().root)
        .unwrap()
        .unwrap();
    assert!(reader.next().is_none());
    let before = shop.store().published().root;
    write(&shop, 25_000, -1).await.unwrap();
    let bytes: usize = shop
        .store()
        .read_log_after(before)
        .unwrap()
        .unwrap()
        .map(|entry| match entry.unwrap() {
            crate::chunk::LogEntry::Chunk(_, bytes) => bytes.len(),
            crate::chunk::LogEntry::Root(_) => 0,
        })
        .sum();
    assert!(bytes < 64 << 10, "{bytes} bytes for one row of 50,000");
}

#[tokio::test]
async fn a_closed_gate_refuses_commits_and_reads_go_on() {
    let (_disk, engine, shop) = shop(&[(1, 10)]).await;
    engine.gate().close(ReadOnlyReason::Standby);
    let refused = write(&shop, 1, 11).await.unwrap_err();
    assert_eq!(refused.to_string(), "shop is read-only: it is a standby");
    assert_eq!(balances(&shop.begin()), [(1, 10)]);
    let refused = engine.create_database("other").await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("database server is set to read only mode"),
        "{refused}"
    );
    let refused = engine.drop_database("shop").await.unwrap_err();
    assert!(matches!(refused, EngineError::ReadOnly { .. }));
    assert!(matches!(
        engine.system().drop_role("postgres").await,
        Err(EngineError::ReadOnly { .. })
    ));
    engine.gate().open();
    write(&shop, 1, 11).await.unwrap();
}

/// The server was a standby in between: what the transaction read may be a history that was replaced.
#[tokio::test]
async fn a_transaction_does_not_outlive_a_closing_of_the_gate() {
    let (_disk, engine, shop) = shop(&[(1, 10)]).await;
    let mut transaction = shop.begin();
    transaction.insert(&accounts(), account(2, 20)).unwrap();
    engine.gate().close(ReadOnlyReason::Demoting);
    engine.gate().open();
    let refused = shop.commit(transaction).await.unwrap_err();
    assert!(matches!(refused, EngineError::ReadOnly { .. }), "{refused}");
    assert_eq!(balances(&shop.begin()), [(1, 10)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_commits_after_the_gate_was_closed_and_drained() {
    let (disk, engine, shop) = shop(&[]).await;
    disk.set_sync_latency(std::time::Duration::from_millis(1)..=std::time::Duration::from_millis(3));
    let writers: Vec<_> = (0..8)
        .map(|id| {
            let shop = shop.clone();
            spawn("writer", async move {
                let mut acknowledged = 0;
                while write(&shop, id, acknowledged + 1).await.is_ok() {
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    crate::runtime::sleep(std::time::Duration::from_millis(30)).await;
    engine.gate().close(ReadOnlyReason::Demoting);
    engine.gate().drain().await;
    let drained = (shop.store().published(), shop.store().pending());
    assert_eq!(drained.0, drained.1, "nothing waits for its sync");
    let mut acknowledged = Vec::new();
    for (id, writer) in writers.into_iter().enumerate() {
        acknowledged.push((id as i32, writer.await.unwrap()));
    }
    assert_eq!(shop.store().pending(), drained.1, "nothing was appended afterwards");
    assert_eq!(
        balances(&shop.begin()),
        acknowledged,
        "what was acknowledged is what is there"
    );
}

#[tokio::test]
async fn a_client_that_stops_waiting_leaves_nothing_or_the_whole_commit() {
    let (disk, engine, shop) = shop(&[(1, 10)]).await;
    disk.set_sync_latency(std::time::Duration::from_millis(50)..=std::time::Duration::from_millis(50));
    let commit = write(&shop, 1, 11);
    assert!(
        crate::runtime::timeout(std::time::Duration::from_millis(5), commit)
            .await
            .is_err()
    );
    assert_eq!(engine.gate().unfinished(), 1, "it is counted although nobody waits");
    assert_eq!(balances(&shop.begin()), [(1, 10)], "not durable, not visible");
    engine.gate().close(ReadOnlyReason::Demoting);
    engine.gate().drain().await;
    assert_eq!(balances(&shop.begin()), [(1, 11)]);
}

/// Otherwise every retry within one sync would conflict again with the commit it cannot see.
#[tokio::test]
async fn a_transaction_that_conflicted_sees_the_winner_when_it_runs_again() {
    let (disk, _engine, shop) = shop(&[(1, 10)]).await;
    disk.set_sync_latency(std::time::Duration::from_millis(20)..=std::time::Duration::from_millis(20));
    let (mut one, mut other) = (shop.begin(), shop.begin());
    set_balance(&mut one, 1, 11);
    set_balance(&mut other, 1, 12);
    let (won, lost) = futures::join!(shop.commit(one), async {
        let lost = shop.commit(other).await.unwrap_err();
        assert_eq!(balances(&shop.begin()), [(1, 11)]);
        lost
    });
    won.unwrap();
    assert!(lost.is_conflict());
}

/// Who is told "nothing to do" because another did it first may rely on that other's work.
#[tokio::test]
async fn a_commit_that_finds_its_work_done_waits_until_that_is_durable() {
    let (disk, _engine, shop) = shop(&[(1, 10)]).await;
    disk.set_sync_latency(std::time::Duration::from_millis(20)..=std::time::Duration::from_millis(20));
    let (mut one, mut other) = (shop.begin(), shop.begin());
    one.stage_all().unwrap();
    other.stage_all().unwrap();
    let (staged, already) = futures::join!(shop.commit(one), async {
        let already = shop.commit(other).await.unwrap();
        assert!(shop.begin().dolt_status().unwrap().iter().all(|row| row.staged));
        already
    });
    assert!(staged.unwrap().is_some());
    assert_eq!(already, None);
}
