//! The bytes of objects, and what becomes of foreign ones.

use bytes::Bytes;
use proptest::prelude::*;

use crate::chunk::{ChunkBatch, Hash, NoChunks, ReadChunks};
use crate::prolly::Map;
use crate::runtime::WallTime;
use crate::version::*;

fn hash(byte: u8) -> Hash {
    Hash::from_bytes([byte; 20])
}

fn commit() -> Commit {
    let person = |name: &str, micros| Person {
        name: name.to_owned(),
        email: format!("{name}@127.0.0.1"),
        time: WallTime::from_micros(micros),
    };
    Commit {
        root: hash(1),
        parents: vec![hash(2), hash(3)],
        height: 7,
        author: person("ann", 1_700_000_000_000_000),
        committer: person("bob", -1_000),
        message: "first".to_owned(),
    }
}

#[test]
fn times_are_kept_to_the_millisecond() {
    let mut exact = commit();
    exact.author.time = WallTime::from_micros(1_700_000_000_000_999);
    exact.committer.time = WallTime::from_micros(-1);
    assert_eq!(exact.encode(), commit().encode());
}

fn every_type() -> TableSchema {
    let types = [
        ColumnType::Bool,
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float4,
        ColumnType::Float8,
        ColumnType::Numeric { precision: None },
        ColumnType::Numeric {
            precision: Some((10, -2)),
        },
        ColumnType::Text,
        ColumnType::Varchar(None),
        ColumnType::Varchar(Some(300)),
        ColumnType::Char(3),
        ColumnType::Bytea,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Timestamp,
        ColumnType::TimestampTz,
        ColumnType::Uuid,
        ColumnType::Json,
        ColumnType::Jsonb,
    ];
    let columns = types.iter().enumerate().map(|(place, column_type)| Column {
        name: format!("c{place}"),
        column_type: *column_type,
        not_null: place % 2 == 0,
        default: (place % 3 == 0).then(|| "now()".to_owned()),
    });
    TableSchema {
        columns: columns.collect(),
        primary_key: vec![2, 0],
    }
}

fn small_table() -> Table {
    let column = Column {
        name: "id".to_owned(),
        column_type: ColumnType::Numeric {
            precision: Some((10, 2)),
        },
        not_null: true,
        default: Some("0".to_owned()),
    };
    Table {
        schema: TableSchema {
            columns: vec![column],
            primary_key: vec![0],
        },
        rows: Map::from_root(hash(9)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The format on disk: a change here makes every existing database unreadable.
#[test]
fn golden() {
    let set = WorkingSet {
        working: hash(4),
        staged: hash(5),
    };
    let repeated = |byte: &str| byte.repeat(20);
    assert_eq!(
        hex(&set.encode()),
        format!("110a14{}1214{}", repeated("04"), repeated("05"))
    );
    let (ann, bob) = (
        "0a03616e6e120d616e6e403132372e302e302e31188080f28183898506",
        "0a03626f62120d626f62403132372e302e302e3118cf0f",
    );
    assert_eq!(
        hex(&commit().encode()),
        format!(
            "100a14{}1214{}1214{}1807221d{ann}2a17{bob}32056669727374",
            repeated("01"),
            repeated("02"),
            repeated("03"),
        ),
    );
    assert_eq!(
        hex(&small_table().encode()),
        format!("130a0f0a0269641007200a280430013a01301201001a14{}", repeated("09")),
    );
}

#[test]
fn objects_come_back_as_they_were() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let stored = commit().store(&mut batch);
    assert_eq!(Commit::load(&batch, &stored).unwrap(), commit());
    for schema in [
        every_type(),
        TableSchema {
            columns: vec![],
            primary_key: vec![],
        },
    ] {
        let table = Table::empty(&mut batch, schema);
        let stored = table.store(&mut batch);
        assert_eq!(Table::load(&batch, &stored).unwrap(), table);
    }
}

#[test]
fn a_catalog_finds_lists_and_forgets_tables() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let empty = RootValue::new(&mut batch, &["public", "app"]).unwrap();
    assert_eq!(empty.schemas(), ["app", "public"]);
    let names = [
        TableName::new("app", "z"),
        TableName::new("public", "a"),
        TableName::new("public", "a/b"),
    ];
    let mut root = empty.clone();
    for name in names.iter().rev() {
        let table = small_table().store(&mut batch);
        root = root.with_table_hash(&mut batch, name, Some(table)).unwrap();
    }
    let stored = root.store(&mut batch);
    assert_eq!(RootValue::load(&batch, &stored).unwrap(), root);
    assert_eq!(
        root.tables(&batch)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
        names
    );
    assert_eq!(root.table(&batch, &names[0]).unwrap(), Some(small_table()));
    assert_eq!(root.table(&batch, &TableName::public("z")).unwrap(), None);
    let mut fewer = root.clone();
    for name in &names {
        fewer = fewer.with_table_hash(&mut batch, name, None).unwrap();
    }
    assert_eq!(fewer, empty, "equal content, equal root");
    let differences = diff_catalogs(&empty, &root, &batch).unwrap();
    assert!(differences.iter().map(|difference| &difference.name).eq(&names));
    assert!(
        differences
            .iter()
            .all(|difference| difference.before.is_none() && difference.after.is_some())
    );
}

#[test]
fn refs_move_head_and_working_set_together() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let empty = Refs::empty(&mut batch);
    assert_eq!(empty.head(&batch, MAIN_BRANCH).unwrap(), None);
    let set = WorkingSet {
        working: hash(4),
        staged: hash(5),
    };
    let refs = empty.with_branch(&mut batch, MAIN_BRANCH, hash(1), &set).unwrap();
    let refs = refs.with_branch(&mut batch, "feature/x", hash(2), &set).unwrap();
    let again = Refs::from_root(refs.root());
    assert_eq!(again.head(&batch, MAIN_BRANCH).unwrap(), Some(hash(1)));
    assert_eq!(again.working_set(&batch, "feature/x").unwrap(), Some(set));
    assert_eq!(
        again.branches(&batch).unwrap(),
        [("feature/x".to_owned(), hash(2)), (MAIN_BRANCH.to_owned(), hash(1))],
    );
}

/// Replication and garbage collection live by this: nothing that is reachable is left out.
#[test]
fn references_are_told_from_bytes_alone() {
    let mut batch = ChunkBatch::new(&NoChunks);
    assert_eq!(references(&commit().encode()).unwrap(), [hash(1), hash(2), hash(3)]);
    let set = WorkingSet {
        working: hash(4),
        staged: hash(5),
    };
    assert_eq!(references(&set.encode()).unwrap(), [hash(4), hash(5)]);
    assert_eq!(references(&small_table().encode()).unwrap(), [hash(9)]);
    let empty = RootValue::new(&mut batch, &["public"]).unwrap();
    let table = small_table().store(&mut batch);
    let root = empty
        .with_table_hash(&mut batch, &TableName::public("t"), Some(table))
        .unwrap();
    assert_eq!(references(&root.encode()).unwrap(), [root.catalog().root()]);
    let table = root.table_hash(&batch, &TableName::public("t")).unwrap().unwrap();
    let catalog = crate::chunk::ReadChunks::get(&batch, &root.catalog().root()).unwrap();
    assert_eq!(references(&catalog).unwrap(), [table]);
    // Rows are opaque even when a value is as long as a hash.
    let rows = Map::build(&mut batch, [(b"key".to_vec(), hash(6).as_bytes().to_vec())]).unwrap();
    let rows = crate::chunk::ReadChunks::get(&batch, &rows.root()).unwrap();
    assert!(references(&rows).unwrap().is_empty());
}

#[test]
fn a_chunk_of_another_kind_is_named() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let stored = commit().store(&mut batch);
    let refused = Table::load(&batch, &stored).unwrap_err().to_string();
    assert_eq!(refused, format!("chunk {stored} should be a table but is of kind 16"));
    for bytes in [&b""[..], b"\x63", b"\x10", b"\x12\x12\x01x", b"\x13\x12\x01\x05"] {
        assert!(references(bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_bytes_of_any_kind_never_panic(kind in 0u8..24, rest in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = references(&[vec![kind], rest].concat());
    }

    #[test]
    fn foreign_bytes_are_an_error_or_an_object_and_never_a_panic(
        which in 0usize..8, at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>(),
    ) {
        let mut batch = ChunkBatch::new(&NoChunks);
        let root = RootValue::new(&mut batch, &["public", "app"]).unwrap().encode();
        let table = Table { schema: every_type(), rows: Map::from_root(hash(9)) }.encode();
        let set = WorkingSet { working: hash(4), staged: hash(5) }.encode();
        let value = crate::prolly::Attached::encode(b"x", &[hash(6)], &[hash(7)]);
        let leaf = Map::build(&mut batch, [("a", &value[..]), ("b", b"one")]).unwrap();
        let tree = Map::build(&mut batch, (0..400u32).map(|i| (i.to_be_bytes(), &value))).unwrap();
        let index = [&[KIND_LARGE_VALUE, 1, 0, 4, 0, 0, 0, 0, 0][..], &[1; 40]].concat();
        let [leaf, tree] = [leaf, tree].map(|map| batch.get(&map.root()).unwrap());
        let piece = Bytes::from_static(&[KIND_PIECE, 1, 2, 3]);
        let chunks = [root, table, set, commit().encode(), leaf, tree, index.into(), piece];
        assert!(references(&chunks[which]).is_ok());
        let mut bytes = chunks[which].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let chunk = Bytes::from(bytes);
        assert_eq!(links(&chunk).is_ok(), references(&chunk).is_ok());
        let hash = batch.put(chunk);
        let _ = (Commit::load(&batch, &hash), Table::load(&batch, &hash), RootValue::load(&batch, &hash), WorkingSet::load(&batch, &hash));
    }
}
