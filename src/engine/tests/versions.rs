//! Status, log, staging and version commits.

use super::*;
use crate::chunk::Hash;
use crate::version::Commit;

fn messages(database: &Database) -> Vec<String> {
    database
        .begin()
        .dolt_log()
        .unwrap()
        .into_iter()
        .map(|(_, commit)| commit.message)
        .collect()
}

fn status(transaction: &Transaction) -> Vec<(String, bool, &'static str)> {
    let rows = transaction.dolt_status().unwrap().into_iter();
    rows.map(|row| (row.table.name, row.staged, row.status.as_str()))
        .collect()
}

async fn commit_all(database: &Database, message: &str) -> Hash {
    let mut transaction = database.begin();
    transaction.stage_all().unwrap();
    let planned = transaction.version_commit(commit_spec(message)).unwrap();
    let outcome = database.commit_outcome(transaction).await.unwrap();
    assert_eq!(
        outcome.version,
        Some(planned),
        "nobody else committed, so the plan is what became of it"
    );
    planned
}

#[tokio::test]
async fn v_001_new_database_has_exactly_the_two_commits_and_clean_status() {
    let disk = SimDisk::new(1);
    let engine = open(&disk).await;
    let database = engine.create_database("shop").await.unwrap();
    assert_eq!(messages(&database), ["CREATE DATABASE", "Initialize data repository"]);
    assert!(status(&database.begin()).is_empty());
    assert!(database.begin().tables().unwrap().is_empty());
    assert_eq!(database.begin().schemas(), ["public"]);
}

#[tokio::test]
async fn v_004_delete_and_reinsert_returns_to_the_old_hash_and_clean_status() {
    let (_disk, _engine, shop) = shop(&[(1, 10), (2, 20)]).await;
    commit_all(&shop, "accounts").await;
    let before = shop.store().published().root;
    let mut transaction = shop.begin();
    transaction.delete(&accounts(), &key(1)).unwrap();
    shop.commit(transaction).await.unwrap();
    assert_eq!(status(&shop.begin()), [("accounts".to_owned(), false, "modified")]);
    write(&shop, 1, 10).await.unwrap();
    assert!(status(&shop.begin()).is_empty());
    assert_eq!(shop.store().published().root, before);
}

#[tokio::test]
async fn status_tells_working_staged_and_head_apart() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let name = || "accounts".to_owned();
    assert_eq!(status(&shop.begin()), [(name(), false, "new table")]);

    let mut transaction = shop.begin();
    transaction.stage(&accounts()).unwrap();
    assert_eq!(status(&transaction), [(name(), true, "new table")]);
    // V-025: what is edited after staging is not staged.
    set_balance(&mut transaction, 1, 11);
    let both = [(name(), true, "new table"), (name(), false, "modified")];
    assert_eq!(status(&transaction), both);
    shop.commit(transaction).await.unwrap();
    assert_eq!(status(&shop.begin()), both, "staging is durable like an edit");

    let mut transaction = shop.begin();
    transaction.version_commit(commit_spec("ten")).unwrap();
    shop.commit(transaction).await.unwrap();
    assert_eq!(status(&shop.begin()), [(name(), false, "modified")]);

    let mut transaction = shop.begin();
    transaction.drop_table(&accounts()).unwrap();
    assert_eq!(status(&transaction), [(name(), false, "deleted")]);
    transaction.stage_all().unwrap();
    assert_eq!(status(&transaction), [(name(), true, "deleted")]);
    let refused = transaction.stage(&TableName::public("nothing")).unwrap_err();
    assert!(matches!(refused, EngineError::NoSuchTable { .. }));
}

#[tokio::test]
async fn v_011_one_of_two_tables_is_committed_and_the_other_remains() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let other = TableName::public("other");
    let mut transaction = shop.begin();
    transaction.create_table(&other, accounts_schema()).unwrap();
    transaction.stage(&accounts()).unwrap();
    transaction.version_commit(commit_spec("accounts only")).unwrap();
    shop.commit(transaction).await.unwrap();
    assert_eq!(status(&shop.begin()), [("other".to_owned(), false, "new table")]);
    assert_eq!(messages(&shop)[0], "accounts only");
}

#[tokio::test]
async fn v_013_commit_with_nothing_staged_errors_and_leaves_head() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let head = shop.begin().head_commit();
    let mut transaction = shop.begin();
    let refused = transaction.version_commit(commit_spec("nothing")).unwrap_err();
    assert_eq!(refused.to_string(), "nothing to commit");
    shop.commit(transaction).await.unwrap();
    assert_eq!(shop.begin().head_commit(), head);
    // V-014
    let mut transaction = shop.begin();
    transaction
        .version_commit(CommitSpec {
            allow_empty: true,
            ..commit_spec("empty")
        })
        .unwrap();
    shop.commit(transaction).await.unwrap();
    assert_eq!(messages(&shop)[0], "empty");
    assert_eq!(status(&shop.begin()), [("accounts".to_owned(), false, "new table")]);
}

#[tokio::test]
async fn a_version_commit_seals_its_transaction() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let mut transaction = shop.begin();
    transaction.stage_all().unwrap();
    let savepoint = transaction.savepoint();
    transaction.version_commit(commit_spec("one")).unwrap();
    assert!(matches!(
        transaction.insert(&accounts(), account(2, 2)),
        Err(EngineError::AlreadyVersioned)
    ));
    assert!(matches!(transaction.stage_all(), Err(EngineError::AlreadyVersioned)));
    assert!(matches!(
        transaction.version_commit(commit_spec("two")),
        Err(EngineError::AlreadyVersioned)
    ));
    transaction.rollback_to(savepoint);
    transaction.insert(&accounts(), account(2, 2)).unwrap();
}

/// Rows another session committed meanwhile are not taken into the version and not lost.
#[tokio::test]
async fn edits_of_others_that_were_not_staged_stay_in_the_working_set() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let mut mine = shop.begin();
    set_balance(&mut mine, 1, 11);
    mine.stage_all().unwrap();
    mine.version_commit(commit_spec("mine")).unwrap();
    write(&shop, 2, 20).await.unwrap();
    let outcome = shop.commit_outcome(mine).await.unwrap();
    assert_eq!(balances(&shop.begin()), [(1, 11), (2, 20)]);
    assert_eq!(status(&shop.begin()), [("accounts".to_owned(), false, "modified")]);
    let commit = Commit::load(shop.store(), &outcome.version.unwrap()).unwrap();
    let root = crate::version::RootValue::load(shop.store(), &commit.root).unwrap();
    let table = root.table(shop.store(), &accounts()).unwrap().unwrap();
    assert_eq!(
        table.rows.count(shop.store()).unwrap(),
        1,
        "the version holds what was staged"
    );
}

/// The branch moved since the snapshot: the commit is built on the new head, and reported under its new hash.
#[tokio::test]
async fn a_version_commit_follows_a_head_that_moved() {
    let (_disk, _engine, shop) = shop(&[(1, 10), (2, 20)]).await;
    commit_all(&shop, "base").await;
    let (mut one, mut other) = (shop.begin(), shop.begin());
    for (transaction, id) in [(&mut one, 1), (&mut other, 2)] {
        set_balance(transaction, id, 100 + id);
        transaction.stage_all().unwrap();
    }
    one.version_commit(commit_spec("one")).unwrap();
    let planned = other.version_commit(commit_spec("other")).unwrap();
    let first = shop.commit_outcome(one).await.unwrap().version.unwrap();
    let second = shop.commit_outcome(other).await.unwrap().version.unwrap();
    assert_ne!(second, planned);
    let log = shop.begin().dolt_log().unwrap();
    assert_eq!((log[0].0, log[1].0), (second, first), "history is linear");
    assert_eq!(log[0].1.parents, [first]);
    assert_eq!(log[0].1.height, log[1].1.height + 1);
    assert_eq!(balances(&shop.begin()), [(1, 101), (2, 102)]);
    assert!(status(&shop.begin()).is_empty());
}

#[tokio::test]
async fn version_commits_of_one_row_conflict() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    commit_all(&shop, "base").await;
    let (mut one, mut other) = (shop.begin(), shop.begin());
    for (transaction, balance) in [(&mut one, 11), (&mut other, 12)] {
        set_balance(transaction, 1, balance);
        transaction.stage_all().unwrap();
        transaction.version_commit(commit_spec("row 1")).unwrap();
    }
    shop.commit(one).await.unwrap();
    assert!(shop.commit(other).await.unwrap_err().is_conflict());
    assert_eq!(messages(&shop).len(), 4);
    assert_eq!(balances(&shop.begin()), [(1, 11)]);
}

/// V-058 in small: every transaction makes one version, whose difference to its parent is what it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v_058_one_version_for_each_writing_transaction() {
    let (_disk, _engine, shop) = shop(&[]).await;
    commit_all(&shop, "base").await;
    let writers = (0..16).map(|id| {
        let shop = shop.clone();
        crate::runtime::spawn("writer", async move {
            loop {
                let mut transaction = shop.begin();
                transaction.upsert(&accounts(), account(id, id)).unwrap();
                transaction.stage_all().unwrap();
                transaction
                    .version_commit(commit_spec(&format!("writer {id}")))
                    .unwrap();
                match shop.commit(transaction).await {
                    Ok(_) => return,
                    Err(error) => assert!(error.is_conflict(), "{error}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let log = shop.begin().dolt_log().unwrap();
    assert_eq!(log.len(), 3 + 16);
    for pair in log.windows(2).take(16) {
        let [(_, commit), (parent, before)] = pair else {
            unreachable!()
        };
        assert_eq!(commit.parents, [*parent]);
        let table = |commit: &Commit| {
            let root = crate::version::RootValue::load(shop.store(), &commit.root).unwrap();
            root.table(shop.store(), &accounts()).unwrap().unwrap()
        };
        let rows = crate::version::diff_rows(&table(before), &table(commit), shop.store()).unwrap();
        let changed: Vec<_> = rows.into_iter().map(|row| (row.before, row.after)).collect();
        let id: i32 = commit.message.strip_prefix("writer ").unwrap().parse().unwrap();
        assert_eq!(changed, [(None, Some(account(id, id)))], "{}", commit.message);
    }
    assert!(status(&shop.begin()).is_empty());
}
