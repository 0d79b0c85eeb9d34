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
        segment_bytes_max: 2 << 10,
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

/// A small store with several segments, index files, and a pack. What it makes is kept in `tests/fuzz/store`: an id that is
/// drawn anew would make every input foreign, and no finding could be tried again.
pub async fn make_small_store() -> Disk {
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

/// The kept store's files, by name: the first byte of an input says which of them the rest of it replaces.
pub const SMALL_STORE: [(&str, &[u8]); 7] = [
    ("MANIFEST", include_bytes!("store/MANIFEST")),
    ("SYNCED", include_bytes!("store/SYNCED")),
    ("log-00000005.idx", include_bytes!("store/log-00000005.idx")),
    ("log-00000005.seg", include_bytes!("store/log-00000005.seg")),
    ("log-00000006.seg", include_bytes!("store/log-00000006.seg")),
    ("pack-00000000.0.idx", include_bytes!("store/pack-00000000.0.idx")),
    ("pack-00000000.seg", include_bytes!("store/pack-00000000.seg")),
];

/// Log records, index files, manifests: one file of a store is foreign. Tried as it is, and with its checksums made
/// right, or few inputs would come past them.
fn store(input: &[u8]) {
    let Some((which, content)) = input.split_first() else {
        return;
    };
    let (name, _) = SMALL_STORE[usize::from(*which) % SMALL_STORE.len()];
    open_with(name, content);
    open_with(name, &with_checksums(name, content));
}

fn open_with(foreign: &str, content: &[u8]) {
    block_on(async {
        let disk = SimDisk::new(1).disk();
        disk.create_dir_all("s").expect("a folder");
        for (name, bytes) in SMALL_STORE {
            let bytes = if name == foreign { content } else { bytes };
            let file = disk.open(&format!("s/{name}"), OpenMode::Create).expect("a file");
            file.write_all_at(bytes, 0).expect("a write");
        }
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

/// Bytes of a segment's header, and of what stands before the payload of a record: docs/storage-format.md.
const HEADER_BYTES: usize = 96;
const RECORD_HEAD_BYTES: usize = 12;

/// The checksum at the end of a header or a file, and those of all records that follow one another.
pub fn with_checksums(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    let covered = if name.ends_with(".seg") {
        HEADER_BYTES
    } else {
        bytes.len()
    };
    if bytes.len() < covered || covered < 4 {
        return bytes;
    }
    let checksum = crc32c::crc32c(&bytes[..covered - 4]);
    bytes[covered - 4..covered].copy_from_slice(&checksum.to_le_bytes());
    let mut at = covered;
    while let Some(head) = bytes.get(at..at + RECORD_HEAD_BYTES) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(end) = (at + RECORD_HEAD_BYTES)
            .checked_add(length)
            .filter(|end| *end <= bytes.len())
        else {
            break;
        };
        // The id of the store and the number of the segment, as the header has them.
        let mut checksum = crc32c::crc32c(&bytes[12..36]);
        checksum = crc32c::crc32c_append(checksum, &(at as u64).to_le_bytes());
        checksum = crc32c::crc32c_append(checksum, &bytes[at..at + 8]);
        checksum = crc32c::crc32c_append(checksum, &bytes[at + RECORD_HEAD_BYTES..end]);
        bytes[at + 8..at + 12].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
    bytes
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
