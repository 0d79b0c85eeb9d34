//! How the storage's costs grow with the table: from ten thousand to ten million rows, as a table in Markdown.
//!
//! `cargo bench --bench scaling` (or with the largest number of rows after `--`); `-- open 10` measures how long a store of
//! ten gigabytes takes to open. Rows are 8 bytes of key and 60 of value,
//! of which LZ4 saves about a third.

use std::time::{Duration, Instant};

use bytes::Bytes;
use understudy::chunk::{ChunkBatch, ChunkCache, ChunkStore, Link, ReadChunks, StoreOptions};
use understudy::prolly::{self, Map};
use understudy::runtime::WallTime;
use understudy::runtime::disk::Disk;

const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const COMMITS: u64 = 200;

fn row(i: u64) -> (Vec<u8>, Vec<u8>) {
    let mut value = blake3::hash(&i.to_be_bytes()).as_bytes().repeat(2);
    value.truncate(60);
    value[0] = 3;
    (i.to_be_bytes().to_vec(), value)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine it runs on")]
fn now() -> Instant {
    Instant::now()
}

/// The middle one of several timings.
fn median(times: usize, mut work: impl FnMut()) -> Duration {
    let mut spent: Vec<Duration> = (0..times)
        .map(|_| {
            let start = now();
            work();
            start.elapsed()
        })
        .collect();
    spent.sort();
    spent[times / 2]
}

fn links(chunk: &Bytes) -> Result<Vec<Link>, understudy::chunk::ChunkError> {
    Ok(prolly::links(chunk).expect("a node of ours"))
}

fn main() {
    let mut number = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    if std::env::args().any(|argument| argument == "open") {
        return measure_opening(number.next().unwrap_or(10));
    }
    let most = number.next().unwrap_or(u64::MAX);
    println!(
        "| rows | built, rows/s | on the disk, MB | appended per commit, KiB | diff of 10, µs | get, µs | collected in, s | opened in, ms |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for rows in SIZES.into_iter().filter(|rows| *rows <= most) {
        measure(rows);
    }
}

fn measure(rows: u64) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let folder = tempfile::tempdir_in(".").expect("a folder on the disk of the working directory");
    let disk = Disk::production(folder.path()).expect("a disk");
    let options = StoreOptions {
        cache: ChunkCache::new(2 << 30),
        ..StoreOptions::default()
    };
    let store = runtime
        .block_on(ChunkStore::create(&disk, "s", &options))
        .expect("a store");
    let publish = |batch: ChunkBatch<'_>, map: &Map| {
        let record = store
            .append(batch.into_chunks(), map.root(), 1, WallTime::from_micros(0))
            .expect("space");
        runtime.block_on(store.wait_published(record.sequence)).expect("a sync");
    };
    let start = now();
    let mut batch = ChunkBatch::new(&store);
    let mut map = Map::build(&mut batch, (0..rows).map(row)).expect("sorted rows");
    let built = start.elapsed();
    publish(batch, &map);
    let size = store.size();

    let scattered = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % rows;
    let edit = |n: u64| (row(scattered(n)).0, Some(Bytes::from(row(rows + n).1)));
    for n in 0..COMMITS {
        let mut batch = ChunkBatch::new(&store);
        map = map.apply(&mut batch, [edit(n)]).expect("one edit");
        publish(batch, &map);
    }
    let appended = (store.size().log_bytes - size.log_bytes) as f64 / COMMITS as f64 / 1024.0;

    let mut edits: Vec<_> = (1000..1010).map(edit).collect();
    edits.sort();
    let mut batch = ChunkBatch::new(&store);
    let other = map.apply(&mut batch, edits).expect("ten edits");
    publish(batch, &other);
    let diff = median(51, || {
        assert_eq!(map.diff(&other, &store).expect("a diff").count(), 10);
    });
    let mut n = 0;
    let get = median(1001, || {
        n += 1;
        assert!(map.get(&store, &row(scattered(n)).0).expect("a read").is_some());
    });

    let start = now();
    runtime.block_on(async {
        let mut collection = store.begin_collection().expect("nobody else collects");
        collection.mark([other.root()], links).await.expect("marks");
        collection.catch_up(links).await.expect("marks");
        collection.copy().await.expect("space");
        collection.finish(links).await.expect("a collection");
    });
    let collected = start.elapsed();
    drop(store);
    let start = now();
    let opened = runtime
        .block_on(ChunkStore::open(&disk, "s", &options))
        .expect("a store")
        .0;
    let open = start.elapsed();
    assert!(opened.contains(&other.root()));
    println!(
        "| {rows} | {:.0} | {:.1} | {appended:.1} | {:.0} | {:.1} | {:.2} | {:.0} |",
        rows as f64 / built.as_secs_f64(),
        size.log_bytes as f64 / 1e6,
        diff.as_secs_f64() * 1e6,
        get.as_secs_f64() * 1e6,
        collected.as_secs_f64(),
        open.as_secs_f64() * 1e3,
    );
}

/// A store of so many gigabytes, made of tables of ten million rows, opened again.
fn measure_opening(gigabytes: u64) {
    const TABLE_ROWS: u64 = 10_000_000;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let folder = tempfile::tempdir_in(".").expect("a folder on the disk of the working directory");
    let disk = Disk::production(folder.path()).expect("a disk");
    let options = StoreOptions {
        cache: ChunkCache::new(1 << 30),
        ..StoreOptions::default()
    };
    let store = runtime
        .block_on(ChunkStore::create(&disk, "s", &options))
        .expect("a store");
    let mut tables = 0;
    while store.size().log_bytes < gigabytes * 1_000_000_000 {
        let mut batch = ChunkBatch::new(&store);
        let rows = (tables * TABLE_ROWS..(tables + 1) * TABLE_ROWS).map(row);
        let map = Map::build(&mut batch, rows).expect("sorted rows");
        let record = store
            .append(batch.into_chunks(), map.root(), 1, WallTime::from_micros(0))
            .expect("space");
        runtime.block_on(store.wait_published(record.sequence)).expect("a sync");
        tables += 1;
    }
    let size = store.size();
    drop(store);
    let opened = median(5, || {
        runtime
            .block_on(ChunkStore::open(&disk, "s", &options))
            .expect("a store");
    });
    println!(
        "{} rows in {:.1} GB opened in {:.0} ms",
        tables * TABLE_ROWS,
        size.log_bytes as f64 / 1e9,
        opened.as_secs_f64() * 1e3
    );
}
