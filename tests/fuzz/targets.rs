//! What fuzzing feeds with foreign bytes: each takes any bytes and must not panic, loop or take memory without bound.
//!
//! Shared by `tests/fuzz.rs`, which runs the kept corpus on every change, and by the targets of `fuzz/`, which look for
//! more.

use bytes::Bytes;
use understudy::chunk::{ChunkBatch, ChunkCache, ChunkStore, Hash, NoChunks, ReadChunks, StoreOptions, check_store};
use understudy::prolly;
use understudy::runtime::WallTime;
use understudy::runtime::disk::simulated::SimDisk;
use understudy::runtime::disk::{Disk, OpenMode};
use understudy::version::{self, Column, ColumnType, TableSchema};

/// Name of a target, which is that of its corpus too, and the target.
pub const TARGETS: [(&str, fn(&[u8])); 4] = [("store", store), ("node", node), ("object", object), ("tuple", tuple)];

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes_max: 4 << 10,
        backlog_bytes_max: 1 << 20,
        cache: ChunkCache::new(0),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime without threads needs nothing")
        .block_on(future)
}

/// A small store with several segments, index files, and a pack: where the first byte of an input says which file the
/// rest of it replaces.
pub async fn small_store() -> Disk {
    let disk = SimDisk::new(1).disk();
    let store = ChunkStore::create(&disk, "s", &options()).await.expect("a store");
    let chunk = |i: u32| {
        let bytes = Bytes::from(i.to_le_bytes().repeat(20 + i as usize % 60));
        (Hash::of(&bytes), bytes)
    };
    for i in 0..60 {
        let (hash, bytes) = chunk(i);
        let record = store
            .append(vec![(hash, bytes)], hash, 1, WallTime::from_micros(0))
            .expect("an append");
        store.wait_published(record.sequence).await.expect("a sync");
        if i == 40 {
            let nothing = |_: &Bytes| Ok::<_, understudy::chunk::ChunkError>(Vec::new());
            let mut collection = store.begin_collection().expect("a collection");
            collection
                .mark((20..=40).map(|i| chunk(i).0), nothing)
                .await
                .expect("marks");
            collection.copy().await.expect("a copy");
            collection.finish(nothing).await.expect("a collection");
        }
    }
    disk
}

/// The files of [`small_store`], in the order in which inputs name them.
pub fn files_of(disk: &Disk) -> Vec<String> {
    let listing = disk.list("s").expect("the folder of the store");
    listing.into_iter().map(|entry| entry.name).collect()
}

/// Log records, index files, manifests: one file of a store is foreign.
fn store(input: &[u8]) {
    let Some((which, content)) = input.split_first() else {
        return;
    };
    block_on(async {
        let disk = small_store().await;
        let names = files_of(&disk);
        let path = format!("s/{}", names[usize::from(*which) % names.len()]);
        let file = disk.open(&path, OpenMode::ReadWrite).expect("a file of the store");
        file.set_len(0).expect("a cut");
        file.write_all_at(content, 0).expect("a write");
        if let Ok(checked) = check_store(&disk, "s", &mut |_, _| {}) {
            let _ = checked.get(&checked.root.root);
        }
        if let Ok((store, recovery)) = ChunkStore::open(&disk, "s", &options()).await {
            let _ = store.get(&recovery.root.root);
            if let Ok(Some(log)) = store.read_log_after(Hash::NONE) {
                let _ = log.take_while(Result::is_ok).count();
            }
        }
    });
}

/// A node of a map: checked, walked, searched and edited.
fn node(input: &[u8]) {
    let _ = (prolly::validate(input), prolly::links(input), prolly::references(input));
    let mut batch = ChunkBatch::new(&NoChunks);
    let root = batch.put(Bytes::copy_from_slice(input));
    let map = prolly::Map::from_root(root);
    let _ = map.get(&batch, &input[..input.len().min(7)]);
    let _ = map.count(&batch);
    if let Ok(cursor) = map.range(&batch, ..) {
        let _ = cursor.take(1000).take_while(Result::is_ok).count();
    }
}

/// Commits, root values, tables, working sets, large values and whatever else a chunk may be.
fn object(input: &[u8]) {
    let _ = (version::links(input), version::references(input));
    let mut batch = ChunkBatch::new(&NoChunks);
    let hash = batch.put(Bytes::copy_from_slice(input));
    let _ = version::Commit::load(&batch, &hash);
    let _ = version::RootValue::load(&batch, &hash);
    let _ = version::Table::load(&batch, &hash);
}

/// A row: the first byte says which types the columns have.
fn tuple(input: &[u8]) {
    const TYPES: [ColumnType; 6] = [
        ColumnType::Bool,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float8,
        ColumnType::Text,
        ColumnType::Bytea,
    ];
    let Some((which, content)) = input.split_first() else {
        return;
    };
    let columns = (0..4).map(|i| Column {
        name: format!("c{i}"),
        column_type: TYPES[(usize::from(*which) + i * 5) % TYPES.len()],
        not_null: false,
        default: None,
    });
    let schema = TableSchema {
        columns: columns.collect(),
        primary_key: vec![0],
    };
    let _ = version::decode_tuple(&schema, content, &NoChunks);
    let _ = version::decode_key(&TYPES[..3], content);
}
