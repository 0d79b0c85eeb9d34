//! What the storage costs: maps in memory, and a store on the disk of this machine.
//!
//! `cargo bench --bench storage` runs all of it. `ROWS` is what the budgets of a first table are measured on; the
//! curve over sizes comes from changing it.

use std::hint::black_box;
use std::ops::Bound;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use understudy::chunk::{ChunkBatch, ChunkCache, ChunkStore, Hash, NoChunks, ReadChunks, StoreOptions};
use understudy::prolly::{self, Map, MergeConflict, ProllyError, Resolution};
use understudy::runtime::WallTime;
use understudy::runtime::disk::Disk;

const ROWS: u64 = 1_000_000;

/// Bytes of a row's value: some integers and a short text.
const VALUE_BYTES: usize = 60;

fn row(i: u64) -> (Vec<u8>, Vec<u8>) {
    let mut value = blake3::hash(&i.to_be_bytes()).as_bytes().repeat(2);
    value.truncate(VALUE_BYTES);
    // As in a tuple, the first byte is a tag: 0xff would mean chunks that the value has attached.
    value[0] = 3;
    (i.to_be_bytes().to_vec(), value)
}

/// Even rows, so that odd ones can be inserted.
fn rows(count: u64) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..count).map(|i| row(2 * i))
}

/// The `n`th of a sequence of keys all over the table.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % ROWS * 2
}

fn update(n: u64) -> (Vec<u8>, Option<Bytes>) {
    (
        row(scattered(n)).0,
        Some(Bytes::from(n.to_be_bytes().repeat(VALUE_BYTES / 8))),
    )
}

/// A store with one table of [`ROWS`] rows, and the folder it lies in.
struct Table {
    store: ChunkStore,
    map: Map,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

fn options() -> StoreOptions {
    StoreOptions {
        cache: ChunkCache::new(1 << 30),
        ..StoreOptions::default()
    }
}

fn table() -> Table {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let disk = Disk::production(folder.path()).expect("a disk");
    let (store, map) = runtime.block_on(async {
        let store = ChunkStore::create(&disk, "bench", &options())
            .await
            .expect("a new store");
        let mut batch = ChunkBatch::new(&store);
        let map = Map::build(&mut batch, rows(ROWS)).expect("sorted rows");
        let record = store
            .append(batch.into_chunks(), map.root(), 1, WallTime::from_micros(0))
            .expect("space");
        store.wait_published(record.sequence).await.expect("a sync");
        (store, map)
    });
    Table {
        store,
        map,
        runtime,
        folder,
    }
}

fn reads(criterion: &mut Criterion, table: &Table) {
    let Table { store, map, .. } = table;
    let mut n = 0;
    criterion.bench_function("point get", |bencher| {
        bencher.iter(|| {
            n += 1;
            map.get(store, &row(scattered(n)).0)
                .expect("a sound store")
                .expect("a row")
        });
    });
    criterion.bench_function("node from the cache", |bencher| {
        let root = map.root();
        bencher.iter(|| store.get(black_box(&root)).expect("a sound store"));
    });

    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    group.bench_function("rows of cached leaves", |bencher| {
        bencher.iter(|| {
            map.range(store, ..)
                .expect("a sound store")
                .map(|row| row.expect("a row").1.len())
                .sum::<usize>()
        });
    });
    group.bench_function("rows of cached leaves, backwards", |bencher| {
        bencher.iter(|| map.range_reverse(store, ..).expect("a sound store").count());
    });
    let cold = StoreOptions {
        cache: ChunkCache::new(0),
        ..StoreOptions::default()
    };
    let disk = Disk::production(table.folder.path()).expect("a disk");
    let (uncached, _) = table
        .runtime
        .block_on(ChunkStore::open(&disk, "bench", &cold))
        .expect("a sound store");
    group.bench_function("rows of leaves read from files", |bencher| {
        bencher.iter(|| map.range(&uncached, ..).expect("a sound store").count());
    });
    group.finish();

    criterion.bench_function("range of 100 rows", |bencher| {
        bencher.iter(|| {
            n += 1;
            let from = Bound::Included(row(scattered(n)).0);
            map.range(store, (from, Bound::Unbounded))
                .expect("a sound store")
                .take(100)
                .count()
        });
    });
    criterion.bench_function("10 rows after half a million", |bencher| {
        bencher.iter(|| {
            let rows = map.range(store, ..).expect("a sound store");
            rows.skip(500_000).take(10).count()
        });
    });
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("1 million rows", |bencher| {
        bencher.iter(|| {
            table
                .runtime
                .block_on(ChunkStore::open(&disk, "bench", &options()))
                .expect("a sound store")
        });
    });
}

fn edits(criterion: &mut Criterion, table: &Table) {
    let Table { store, map, .. } = table;
    let mut n = 0;
    criterion.bench_function("apply of one row", |bencher| {
        bencher.iter(|| {
            n += 1;
            let mut batch = ChunkBatch::new(store);
            map.apply(&mut batch, [update(n)]).expect("sorted edits");
            batch.bytes()
        });
    });

    let mut group = criterion.benchmark_group("build");
    group.throughput(Throughput::Elements(100_000)).sample_size(10);
    group.bench_function("100 thousand rows", |bencher| {
        bencher.iter_batched(
            || rows(100_000).collect::<Vec<_>>(),
            |rows| Map::build(&mut ChunkBatch::new(&NoChunks), rows).expect("sorted rows"),
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let mut batch = ChunkBatch::new(store);
    let mut ten: Vec<_> = (0..10).map(update).collect();
    ten.sort();
    let changed = map.apply(&mut batch, ten).expect("sorted edits");
    criterion.bench_function("diff of 10 rows", |bencher| {
        bencher.iter(|| assert_eq!(map.diff(&changed, &batch).expect("a sound store").count(), 10));
    });
    let many = (0..ROWS / 10).map(|i| (row(20 * i).0, Some(Bytes::from_static(b"many"))));
    let many = map.apply(&mut batch, many).expect("sorted edits");
    criterion.bench_function("merge of 10 rows with 100 thousand", |bencher| {
        bencher.iter(|| {
            let mut merging = ChunkBatch::new(&batch);
            let resolve = |_: &MergeConflict| Ok::<_, ProllyError>(Resolution::Left);
            let merged = Map::merge(&mut merging, map, &many, &changed, resolve).expect("a sound store");
            black_box(merged.map.root())
        });
    });
}

fn commits(criterion: &mut Criterion, table: &Table) {
    let mut map = table.map;
    let mut n = 0;
    let mut commit = |rows: u64, wait: bool| {
        let mut updates: Vec<_> = (n + 1..=n + rows).map(update).collect();
        updates.sort();
        updates.dedup_by(|one, other| one.0 == other.0);
        n += rows;
        let mut batch = ChunkBatch::new(&table.store);
        map = map.apply(&mut batch, updates).expect("sorted edits");
        let chunks: Vec<(Hash, Bytes)> = batch.into_chunks();
        let record = table
            .store
            .append(chunks, map.root(), 1, WallTime::from_micros(0))
            .expect("space");
        if wait {
            table
                .runtime
                .block_on(table.store.wait_published(record.sequence))
                .expect("a sync");
        }
    };
    criterion.bench_function("commit of one row, synced", |bencher| bencher.iter(|| commit(1, true)));
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(1_000)).sample_size(20);
    group.bench_function("commit of 1,000 rows, synced", |bencher| {
        bencher.iter(|| commit(1_000, true));
    });
    group.finish();
    // The backlog's sync needs the runtime.
    let _inside = table.runtime.enter();
    criterion.bench_function("commit of one row, not synced", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = std::time::Duration::ZERO;
            for i in 0..times {
                if i % 500 == 0 {
                    table
                        .runtime
                        .block_on(table.store.wait_published(table.store.pending().sequence))
                        .expect("a sync");
                }
                let start = now();
                commit(1, false);
                spent += start.elapsed();
            }
            spent
        });
    });
}

/// A collection of what 200 commits have left of a table of a hundred thousand rows.
fn collections(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let links = |chunk: &Bytes| Ok::<_, understudy::chunk::ChunkError>(prolly::links(chunk).expect("a node of ours"));
    let churned = || {
        let folder = tempfile::tempdir_in(".").expect("a folder on the disk of the working directory");
        let disk = Disk::production(folder.path()).expect("a disk");
        let store = runtime
            .block_on(ChunkStore::create(&disk, "s", &options()))
            .expect("a store");
        let _inside = runtime.enter();
        let mut map = None;
        for n in 0..200 {
            let mut batch = ChunkBatch::new(&store);
            let next = match map {
                None => Map::build(&mut batch, rows(100_000)).expect("sorted rows"),
                Some(map) => Map::apply(&map, &mut batch, [update(n)]).expect("sorted edits"),
            };
            let (chunks, root) = (batch.into_chunks(), next.root());
            let record = store.append(chunks, root, 1, WallTime::from_micros(0)).expect("space");
            runtime.block_on(store.wait_published(record.sequence)).expect("a sync");
            map = Some(next);
        }
        (folder, store, map.expect("200 commits").root())
    };
    let mut group = criterion.benchmark_group("collect");
    group.sample_size(10);
    group.bench_function("200 commits on 100 thousand rows", |bencher| {
        bencher.iter_batched(
            churned,
            |(folder, store, root)| {
                runtime.block_on(async {
                    let mut collection = store.begin_collection().expect("nobody else collects");
                    collection.mark([root], links).await.expect("marks");
                    collection.catch_up(links).await.expect("marks");
                    collection.copy().await.expect("space");
                    collection.finish(links).await.expect("a collection");
                });
                folder
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine it runs on")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn all(criterion: &mut Criterion) {
    let table = table();
    reads(criterion, &table);
    edits(criterion, &table);
    commits(criterion, &table);
    collections(criterion);
}

criterion_group!(storage, all);
criterion_main!(storage);
