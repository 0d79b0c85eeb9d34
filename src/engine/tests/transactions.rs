//! What one transaction sees and refuses.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn a_transaction_sees_its_snapshot_and_its_own_edits() {
    let (_disk, _engine, shop) = shop(&[(1, 10), (2, 20)]).await;
    let mut transaction = shop.begin();
    set_balance(&mut transaction, 1, 11);
    transaction.insert(&accounts(), account(3, 30)).unwrap();
    assert!(transaction.delete(&accounts(), &key(2)).unwrap());
    assert!(
        !transaction.delete(&accounts(), &key(2)).unwrap(),
        "it is gone for its own transaction"
    );
    write(&shop, 4, 40).await.unwrap();
    assert_eq!(balances(&transaction), [(1, 11), (3, 30)]);
    assert_eq!(transaction.count(&accounts()).unwrap(), 2);
    assert_eq!(transaction.get(&accounts(), &key(2)).unwrap(), None);
    assert_eq!(transaction.get(&accounts(), &key(3)).unwrap(), Some(account(3, 30)));
    assert_eq!(
        balances(&shop.begin()),
        [(1, 10), (2, 20), (4, 40)],
        "nobody else sees the edits"
    );
    shop.commit(transaction).await.unwrap();
    assert_eq!(balances(&shop.begin()), [(1, 11), (3, 30), (4, 40)]);
}

#[tokio::test]
async fn a_scan_keeps_what_it_saw_when_it_began() {
    let (_disk, _engine, shop) = shop(&[(1, 10), (2, 20)]).await;
    let mut transaction = shop.begin();
    set_balance(&mut transaction, 1, 11);
    let scan = transaction.scan(&accounts(), all()).unwrap();
    transaction.delete(&accounts(), &key(1)).unwrap();
    transaction.insert(&accounts(), account(9, 90)).unwrap();
    drop(transaction);
    let rows: Vec<Row> = scan.map(|row| row.unwrap().1).collect();
    assert_eq!(rows, [account(1, 11), account(2, 20)]);
}

#[tokio::test]
async fn rows_are_checked_against_the_table() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let mut transaction = shop.begin();
    let refused = transaction.insert(&accounts(), account(1, 11)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "duplicate key value violates unique constraint \"accounts_pkey\""
    );
    assert!(
        matches!(refused, EngineError::DuplicateKey { columns, key, .. } if columns == ["id"] && key == [Value::Int4(1)])
    );
    let refused = transaction
        .insert(&accounts(), vec![Value::Int4(2), Value::Null, Value::Null])
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "null value in column \"balance\" of relation \"accounts\" violates not-null constraint"
    );
    let refused = transaction
        .insert(&accounts(), vec![Value::Int4(2), Value::Int8(2), Value::Null])
        .unwrap_err();
    assert!(matches!(refused, EngineError::TypeMismatch { column, .. } if column == "balance"));
    let refused = transaction.insert(&accounts(), vec![Value::Int4(2)]).unwrap_err();
    assert!(matches!(refused, EngineError::TypeMismatch { .. }));
    let refused = transaction.insert(&TableName::public("nothing"), vec![]).unwrap_err();
    assert!(matches!(refused, EngineError::NoSuchTable { .. }));
    transaction.insert(&accounts(), account(2, 20)).unwrap();
    let refused = transaction.update(&accounts(), &key(2), account(1, 20)).unwrap_err();
    assert!(matches!(refused, EngineError::DuplicateKey { .. }));
    assert_eq!(
        balances(&transaction),
        [(1, 10), (2, 20)],
        "what was refused left nothing"
    );
    assert!(transaction.update(&accounts(), &key(2), account(3, 33)).unwrap());
    assert!(!transaction.update(&accounts(), &key(2), account(4, 0)).unwrap());
    assert_eq!(balances(&transaction), [(1, 10), (3, 33)]);
}

#[tokio::test]
async fn edits_that_lead_back_to_the_snapshot_are_forgotten() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let mut transaction = shop.begin();
    set_balance(&mut transaction, 1, 11);
    set_balance(&mut transaction, 1, 10);
    transaction.insert(&accounts(), account(2, 20)).unwrap();
    transaction.delete(&accounts(), &key(2)).unwrap();
    assert!(!transaction.has_changes());
    let before = shop.store().pending();
    assert_eq!(shop.commit(transaction).await.unwrap(), None);
    assert_eq!(shop.store().pending(), before, "nothing was written");
}

#[tokio::test]
async fn savepoints_bring_back_rows_and_tables() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let mut transaction = shop.begin();
    set_balance(&mut transaction, 1, 11);
    let outer = transaction.savepoint();
    transaction.insert(&accounts(), account(2, 20)).unwrap();
    let inner = transaction.savepoint();
    transaction.drop_table(&accounts()).unwrap();
    transaction.rollback_to(inner);
    assert_eq!(balances(&transaction), [(1, 11), (2, 20)]);
    transaction.rollback_to(outer.clone());
    transaction.insert(&accounts(), account(3, 30)).unwrap();
    transaction.rollback_to(outer);
    assert_eq!(balances(&transaction), [(1, 11)]);
    shop.commit(transaction).await.unwrap();
    assert_eq!(balances(&shop.begin()), [(1, 11)]);
}

#[tokio::test]
async fn definitions_are_part_of_the_transaction() {
    let (_disk, _engine, shop) = shop(&[(1, 10)]).await;
    let mut transaction = shop.begin();
    let other = TableName::public("other");
    transaction.create_table(&other, accounts_schema()).unwrap();
    assert!(matches!(
        transaction.create_table(&other, accounts_schema()),
        Err(EngineError::DuplicateTable { .. })
    ));
    let elsewhere = TableName::new("nowhere", "t");
    assert!(matches!(
        transaction.create_table(&elsewhere, accounts_schema()),
        Err(EngineError::NoSuchSchema { .. })
    ));
    transaction.insert(&other, account(5, 50)).unwrap();
    assert_eq!(transaction.tables().unwrap(), [accounts(), other.clone()]);
    assert_eq!(shop.begin().tables().unwrap(), [accounts()]);

    transaction.drop_table(&accounts()).unwrap();
    assert_eq!(transaction.table_schema(&accounts()).unwrap(), None);
    assert!(matches!(
        transaction.drop_table(&accounts()),
        Err(EngineError::NoSuchTable { .. })
    ));
    // Made again with another shape: none of the old rows shows.
    let schema = TableSchema {
        columns: vec![column("name", ColumnType::Text, true)],
        primary_key: vec![0],
    };
    transaction.create_table(&accounts(), schema.clone()).unwrap();
    transaction
        .insert(&accounts(), vec![Value::Text("a".to_owned())])
        .unwrap();
    shop.commit(transaction).await.unwrap();
    let after = shop.begin();
    assert_eq!(*after.table_schema(&accounts()).unwrap().unwrap(), schema);
    assert_eq!(after.count(&accounts()).unwrap(), 1);
    assert_eq!(after.count(&other).unwrap(), 1);
}

#[tokio::test]
async fn tables_that_cannot_be_are_refused() {
    let (_disk, _engine, shop) = shop(&[]).await;
    let mut transaction = shop.begin();
    let twice = TableSchema {
        columns: vec![column("a", ColumnType::Int4, false); 2],
        primary_key: vec![],
    };
    let refused = transaction.create_table(&TableName::public("t"), twice).unwrap_err();
    assert!(
        refused.to_string().contains("column \"a\" is specified more than once"),
        "{refused}"
    );
    let beyond = TableSchema {
        columns: vec![column("a", ColumnType::Int4, false)],
        primary_key: vec![1],
    };
    assert!(matches!(
        transaction.create_table(&TableName::public("t"), beyond),
        Err(EngineError::InvalidTable { .. })
    ));
}

fn bag() -> TableName {
    TableName::public("bag")
}

fn word(text: &str) -> Row {
    vec![Value::Text(text.to_owned())]
}

fn words(transaction: &Transaction) -> Vec<String> {
    let mut words: Vec<String> = transaction
        .scan(&bag(), all())
        .unwrap()
        .map(|row| match &row.unwrap().1[0] {
            Value::Text(word) => word.clone(),
            other => panic!("not a word: {other:?}"),
        })
        .collect();
    words.sort();
    words
}

async fn with_bag(words: &[&str]) -> (SimDisk, Engine, Database) {
    let (disk, engine, shop) = shop(&[]).await;
    let mut transaction = shop.begin();
    let schema = TableSchema {
        columns: vec![column("word", ColumnType::Text, false)],
        primary_key: vec![],
    };
    transaction.create_table(&bag(), schema).unwrap();
    words
        .iter()
        .for_each(|text| transaction.insert(&bag(), word(text)).unwrap());
    shop.commit(transaction).await.unwrap();
    (disk, engine, shop)
}

#[tokio::test]
async fn a_keyless_table_counts_equal_rows() {
    let (_disk, _engine, shop) = with_bag(&["a", "b", "a"]).await;
    let mut transaction = shop.begin();
    let keys: Vec<Vec<u8>> = transaction
        .scan(&bag(), all())
        .unwrap()
        .map(|row| row.unwrap().0)
        .collect();
    transaction.insert(&bag(), word("a")).unwrap();
    assert_eq!(words(&transaction), ["a", "a", "a", "b"]);
    // As a statement does that removes what a scan found: every row once, in any order.
    let removed = keys
        .iter()
        .filter(|key| transaction.delete(&bag(), key).unwrap())
        .count();
    assert_eq!(removed, 3);
    assert_eq!(words(&transaction), ["a"]);
    let key = transaction.scan(&bag(), all()).unwrap().next().unwrap().unwrap().0;
    assert!(transaction.update(&bag(), &key, word("c")).unwrap());
    shop.commit(transaction).await.unwrap();
    assert_eq!(words(&shop.begin()), ["c"]);
}

#[tokio::test]
async fn v_080_keyless_counts_are_merged() {
    let (_disk, _engine, shop) = with_bag(&["a"]).await;
    let (mut one, mut other) = (shop.begin(), shop.begin());
    one.insert(&bag(), word("a")).unwrap();
    one.insert(&bag(), word("b")).unwrap();
    other.insert(&bag(), word("a")).unwrap();
    other.insert(&bag(), word("a")).unwrap();
    other.insert(&bag(), word("b")).unwrap();
    shop.commit(one).await.unwrap();
    shop.commit(other).await.unwrap();
    assert_eq!(words(&shop.begin()), ["a", "a", "a", "a", "b", "b"]);
    // Removing while another adds: nobody can say which rows were meant.
    let (mut one, mut other) = (shop.begin(), shop.begin());
    one.insert(&bag(), word("a")).unwrap();
    let keys: Vec<Vec<u8>> = other.scan(&bag(), all()).unwrap().map(|row| row.unwrap().0).collect();
    keys.iter().for_each(|key| assert!(other.delete(&bag(), key).unwrap()));
    shop.commit(one).await.unwrap();
    assert!(shop.commit(other).await.unwrap_err().is_conflict());
    assert_eq!(words(&shop.begin()).len(), 7);
}

#[tokio::test]
async fn equal_bags_have_equal_roots_whatever_the_order_of_edits() {
    let (_disk, _engine, shop) = with_bag(&["a", "a", "b"]).await;
    let before = shop.store().published().root;
    let mut transaction = shop.begin();
    let key = transaction.scan(&bag(), all()).unwrap().next().unwrap().unwrap().0;
    assert!(transaction.delete(&bag(), &key).unwrap());
    shop.commit(transaction).await.unwrap();
    assert_ne!(shop.store().published().root, before);
    let mut transaction = shop.begin();
    let gone = if words(&transaction) == ["a", "b"] { "a" } else { "b" };
    transaction.insert(&bag(), word(gone)).unwrap();
    shop.commit(transaction).await.unwrap();
    assert_eq!(shop.store().published().root, before);
}

#[derive(Debug, Clone)]
enum Edit {
    Put(i32, i32),
    Delete(i32),
}

fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (0i32..40, any::<i32>()).prop_map(|(id, balance)| Edit::Put(id, balance)),
        (0i32..40).prop_map(Edit::Delete),
    ];
    proptest::collection::vec(edit, 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A scan is the snapshot under the edits, within any bounds; a savepoint brings back exactly what was.
    #[test]
    fn scans_agree_with_a_model(
        committed in edits(60), before in edits(90), after in edits(20), bounds in (0i32..41, 0i32..41),
        passed in proptest::collection::vec(0u64..15, 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_disk, _engine, shop) = shop(&[]).await;
            let mut model = BTreeMap::new();
            let apply = |transaction: &mut Transaction, model: &mut BTreeMap<i32, i32>, edits: &[Edit]| {
                for edit in edits {
                    match edit {
                        Edit::Put(id, balance) => {
                            transaction.upsert(&accounts(), account(*id, *balance)).unwrap();
                            model.insert(*id, *balance);
                        }
                        Edit::Delete(id) => {
                            let there = transaction.delete(&accounts(), &key(*id)).unwrap();
                            assert_eq!(there, model.remove(id).is_some());
                        }
                    }
                }
            };
            let mut transaction = shop.begin();
            apply(&mut transaction, &mut model, &committed);
            shop.commit(transaction).await.unwrap();

            let mut transaction = shop.begin();
            apply(&mut transaction, &mut model, &before);
            let (savepoint, remembered) = (transaction.savepoint(), model.clone());
            apply(&mut transaction, &mut model, &after);
            let expected: Vec<(i32, i32)> = model.iter().map(|(id, balance)| (*id, *balance)).collect();
            assert_eq!(balances(&transaction), expected);
            assert_eq!(transaction.count(&accounts()).unwrap(), expected.len() as u64);
            let (from, to) = bounds;
            let range = (Bound::Excluded(key(from)), Bound::Included(key(to)));
            let scan = || transaction.scan_tuples(&accounts(), range.clone()).unwrap();
            let expected: Vec<_> =
                expected.iter().filter(|(id, _)| from < *id && *id <= to).map(|(id, _)| key(*id)).collect();
            assert!(scan().map(|row| row.unwrap().0).eq(expected.iter().cloned()));
            // Passing over rows is reading them.
            let (mut passing, mut at) = (scan(), 0);
            for count in passed {
                let rest = (expected.len() - at) as u64;
                assert_eq!(passing.advance(count).unwrap(), count.min(rest));
                at += count.min(rest) as usize;
                assert_eq!(passing.next().map(|row| row.unwrap().0).as_ref(), expected.get(at));
                at = expected.len().min(at + 1);
            }
            let rows = transaction.scan(&accounts(), range.clone()).unwrap().skip(at);
            assert!(rows.map(|row| row.unwrap().0).eq(expected[at..].iter().cloned()));
            transaction.rollback_to(savepoint);
            assert_eq!(balances(&transaction), remembered.into_iter().collect::<Vec<_>>());
        });
    }
}
