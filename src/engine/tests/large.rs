//! Large values on their way through transactions, commits, versions and replication.

use super::replication::{backfill, log_after, permitted};
use super::*;
use crate::chunk::Hash;
use crate::prolly::KEY_BYTES_MAX;
use crate::version::{KIND_LARGE_VALUE, KIND_PIECE, VALUE_BYTES_MAX};

fn documents() -> TableName {
    TableName::public("documents")
}

fn documents_schema(keyed: bool) -> TableSchema {
    let columns = vec![
        column("id", ColumnType::Int4, true),
        column("title", ColumnType::Text, false),
        column("body", ColumnType::Text, false),
        column("scan", ColumnType::Bytea, false),
    ];
    TableSchema {
        columns,
        primary_key: if keyed { vec![0] } else { vec![] },
    }
}

/// Text without repetition, so that no piece of it is like another.
fn text(seed: u8, length: usize) -> String {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes.into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

fn document(id: i32, title: &str, body: &str, scan: usize) -> Row {
    let scan = match scan {
        0 => Value::Null,
        length => Value::Bytea(text(9, length).into_bytes()),
    };
    vec![
        Value::Int4(id),
        Value::Text(title.to_owned()),
        Value::Text(body.to_owned()),
        scan,
    ]
}

fn key(id: i32) -> Vec<u8> {
    encode_key(&documents_schema(true), &document(id, "", "", 0))
}

async fn library(keyed: bool) -> (SimDisk, Engine, Database) {
    let disk = SimDisk::new(1);
    let engine = open(&disk).await;
    let library = engine.create_database("library").await.unwrap();
    let mut transaction = library.begin();
    transaction.create_table(&documents(), documents_schema(keyed)).unwrap();
    library.commit(transaction).await.unwrap();
    (disk, engine, library)
}

/// Commits what `act` does and gives the kinds of the chunks of large values that this appended.
async fn appended(database: &Database, act: impl FnOnce(&mut Transaction)) -> (usize, usize) {
    let before = database.store().pending().root;
    let mut transaction = database.begin();
    act(&mut transaction);
    database.commit(transaction).await.unwrap();
    let chunks: Vec<_> = log_after(database, before)
        .into_iter()
        .flat_map(|batch| batch.chunks)
        .collect();
    let of = |kind| chunks.iter().filter(|(_, bytes)| bytes[0] == kind).count();
    (of(KIND_PIECE), of(KIND_LARGE_VALUE))
}

fn rows(transaction: &Transaction) -> Vec<Row> {
    let rows = transaction.scan(&documents(), all()).unwrap();
    rows.map(|row| row.unwrap().1).collect()
}

#[tokio::test]
async fn large_values_come_back_before_and_after_commit_and_restart() {
    let (disk, engine, library) = library(true).await;
    let wanted = vec![
        document(1, "short", &text(1, 2049), 0),
        document(2, "long", &text(2, 700_000), 3000),
        document(3, "small", "inline", 300_000),
    ];
    let mut transaction = library.begin();
    for row in &wanted {
        transaction.insert(&documents(), row.clone()).unwrap();
    }
    let savepoint = transaction.savepoint();
    transaction
        .update(&documents(), &key(2), document(2, "long", &text(3, 5000), 0))
        .unwrap();
    assert_eq!(
        transaction.get(&documents(), &key(2)).unwrap().unwrap()[2],
        Value::Text(text(3, 5000))
    );
    transaction.rollback_to(savepoint);
    assert_eq!(rows(&transaction), wanted);
    library.commit(transaction).await.unwrap();
    assert_eq!(rows(&library.begin()), wanted);
    let titles = library.begin().scan_columns(&documents(), all(), &[1]).unwrap();
    assert!(
        titles.map(|row| row.unwrap().1).eq(["short", "long", "small"]
            .map(|title| { vec![Value::Null, Value::Text(title.to_owned()), Value::Null, Value::Null] }))
    );
    drop((engine, library));
    let engine = open(&disk).await;
    assert_eq!(rows(&engine.database("library").unwrap().begin()), wanted);
}

#[tokio::test]
async fn a_commit_writes_the_large_values_that_are_new() {
    // Would fail if a row that changes elsewhere wrote its large values again, or if a new root left one out that the
    // root before does not have.
    let (_disk, _engine, library) = library(true).await;
    let body = text(1, 600_000);
    let put = |row: Row| move |t: &mut Transaction| t.upsert(&documents(), row).unwrap();
    assert_eq!(appended(&library, put(document(1, "a", &body, 3000))).await, (4, 1));
    assert_eq!(appended(&library, put(document(1, "b", &body, 3000))).await, (0, 0));
    let moved = document(2, "b", &body, 3000);
    let act = |t: &mut Transaction| assert!(t.update(&documents(), &key(1), moved).unwrap());
    assert_eq!(appended(&library, act).await, (0, 0));
    let longer = format!("{body}!");
    assert_eq!(appended(&library, put(document(2, "b", &longer, 3000))).await, (1, 1));
    assert_eq!(appended(&library, put(document(2, "b", &longer, 3001))).await, (1, 0));
    assert_eq!(
        appended(&library, |t| assert!(t.delete(&documents(), &key(2)).unwrap())).await,
        (0, 0)
    );
    // It lies in the store still, but a standby that was seeded with the root before does not have it.
    assert_eq!(appended(&library, put(document(3, "c", &body, 0))).await, (3, 1));
    // Written and replaced within one transaction: nothing of it remains.
    let act = |t: &mut Transaction| {
        t.upsert(&documents(), document(4, "d", &text(4, 9000), 0)).unwrap();
        t.upsert(&documents(), document(4, "d", "short", 0)).unwrap();
    };
    assert_eq!(appended(&library, act).await, (0, 0));
}

#[tokio::test]
async fn concurrent_writers_of_large_values_both_commit() {
    let (_disk, _engine, library) = library(true).await;
    let (mut one, mut other) = (library.begin(), library.begin());
    one.insert(&documents(), document(1, "one", &text(1, 9000), 0)).unwrap();
    other
        .insert(&documents(), document(2, "other", &text(1, 9000), 400_000))
        .unwrap();
    library.commit(one).await.unwrap();
    library.commit(other).await.unwrap();
    let wanted = [
        document(1, "one", &text(1, 9000), 0),
        document(2, "other", &text(1, 9000), 400_000),
    ];
    assert_eq!(rows(&library.begin()), wanted);

    let (mut one, mut other) = (library.begin(), library.begin());
    one.upsert(&documents(), document(1, "one", &text(5, 9000), 0)).unwrap();
    other
        .upsert(&documents(), document(1, "another title", &text(1, 9000), 0))
        .unwrap();
    library.commit(one).await.unwrap();
    assert!(library.commit(other).await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn large_values_reach_versions_and_standbys() {
    // Would fail if a walk over references missed what rows have attached.
    let (_disk, _engine, library) = library(true).await;
    let mut transaction = library.begin();
    transaction
        .insert(&documents(), document(1, "one", &text(1, 600_000), 5000))
        .unwrap();
    transaction.stage_all().unwrap();
    transaction.version_commit(commit_spec("a document")).unwrap();
    library.commit(transaction).await.unwrap();
    let mut transaction = library.begin();
    transaction
        .upsert(&documents(), document(1, "two", &text(1, 600_000), 5000))
        .unwrap();
    library.commit(transaction).await.unwrap();

    let seeded = open(&SimDisk::new(2)).await.create_database("library").await.unwrap();
    seeded.inner.shared.gate.close(ReadOnlyReason::Standby);
    backfill(&library, &seeded).await;
    assert_eq!(rows(&seeded.begin()), rows(&library.begin()));

    // And by the log, from the first root on; a chunk that is left out is noticed.
    let (_disk, engine, _) = shop(&[]).await;
    let following = engine.create_database("library").await.unwrap();
    let first = log_after(&library, Hash::NONE);
    following.inner.shared.gate.close(ReadOnlyReason::Standby);
    let mut expect_previous = following.store().published().root;
    for mut batch in first {
        batch.expect_previous = expect_previous;
        expect_previous = batch.root.root;
        if let Some(place) = batch.chunks.iter().position(|(_, bytes)| bytes[0] == KIND_PIECE) {
            let mut holed = batch.clone();
            let (missing, _) = holed.chunks.remove(place);
            match following.apply_replicated(holed, permitted).await {
                Err(EngineError::Incomplete { missing: found, .. }) => assert_eq!(found, [missing]),
                other => panic!("a piece was left out: {other:?}"),
            }
        }
        following.apply_replicated(batch, permitted).await.unwrap();
    }
    assert_eq!(rows(&following.begin()), rows(&library.begin()));
}

#[tokio::test]
async fn the_history_of_large_values_does_not_show() {
    let (_disk, _engine, one) = library(true).await;
    let (_disk, _engine, other) = library(true).await;
    let wanted: Vec<Row> = (0..200)
        .map(|id| document(id, "title", &text(id as u8, 1900 + 2 * id as usize), 0))
        .collect();
    let mut transaction = one.begin();
    for row in &wanted {
        transaction.insert(&documents(), row.clone()).unwrap();
    }
    one.commit(transaction).await.unwrap();
    for round in [0, 1] {
        let mut transaction = other.begin();
        for (id, row) in wanted.iter().enumerate().rev() {
            let row = match round {
                0 => document(id as i32, "before", &text(1, 6000 - 20 * id), 2500),
                _ => row.clone(),
            };
            transaction.upsert(&documents(), row).unwrap();
        }
        other.commit(transaction).await.unwrap();
    }
    let hash = |database: &Database| database.begin().table_hash(&documents()).unwrap();
    assert_eq!(hash(&one), hash(&other));
}

#[tokio::test]
async fn equal_rows_of_a_keyless_table_may_be_large() {
    let (_disk, _engine, library) = library(false).await;
    let row = document(1, "same", &text(1, 50_000), 0);
    let insert = |t: &mut Transaction| t.insert(&documents(), row.clone()).unwrap();
    assert_eq!(appended(&library, insert).await, (1, 0));
    let (mut one, mut other) = (library.begin(), library.begin());
    insert(&mut one);
    insert(&mut other);
    library.commit(one).await.unwrap();
    library.commit(other).await.unwrap();
    assert_eq!(rows(&library.begin()), vec![row.clone(); 3]);
}

#[tokio::test]
async fn values_and_keys_beyond_their_limits_are_refused() {
    let (_disk, _engine, library) = library(true).await;
    let mut transaction = library.begin();
    let mut row = document(1, "", "", 0);
    row[3] = Value::Bytea(vec![0; VALUE_BYTES_MAX + 1]);
    let refused = transaction.insert(&documents(), row).unwrap_err().to_string();
    assert_eq!(
        refused,
        "a value of 1073741825 bytes for column \"scan\" of relation \"documents\" is too large: \
         the limit is 1073741824 bytes"
    );
    let names = TableName::public("names");
    let schema = TableSchema {
        columns: vec![column("name", ColumnType::Text, true)],
        primary_key: vec![0],
    };
    transaction.create_table(&names, schema).unwrap();
    let name = |length| vec![Value::Text("n".repeat(length))];
    transaction.insert(&names, name(KEY_BYTES_MAX - 10)).unwrap();
    for refused in [
        transaction.insert(&names, name(KEY_BYTES_MAX + 1)),
        transaction.upsert(&names, name(KEY_BYTES_MAX + 1)),
    ] {
        assert!(matches!(refused, Err(EngineError::KeyTooLong { .. })), "{refused:?}");
    }
    library.commit(transaction).await.unwrap();
    assert_eq!(library.begin().count(&names).unwrap(), 1);
}
