//! The storage's hot operations, one at a time and a given number of times, for counting their instructions.
//!
//! `scripts/instructions.sh` runs each under callgrind twice, with different numbers of times, and divides the
//! difference: what an operation costs, whatever else the machine does and without the preparation.

use std::hint::black_box;
use std::ops::Bound;

use bytes::Bytes;
use understudy::chunk::{ChunkBatch, NoChunks};
use understudy::prolly::{Map, MergeConflict, ProllyError, Resolution};
use understudy::version::{Column, ColumnType, TableSchema, Value, decode_tuple, encode_key, encode_tuple};

/// Deep enough for three levels of nodes.
const ROWS: u64 = 100_000;

const OPERATIONS: [&str; 9] = [
    "get", "range", "skip", "edit", "diff", "merge", "build", "encode", "decode",
];

fn row(i: u64) -> (Vec<u8>, Vec<u8>) {
    let mut value = blake3::hash(&i.to_be_bytes()).as_bytes().repeat(2);
    value.truncate(60);
    value[0] = 3;
    (i.to_be_bytes().to_vec(), value)
}

fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % ROWS
}

fn edit(n: u64) -> (Vec<u8>, Option<Bytes>) {
    (row(scattered(n)).0, Some(Bytes::from(row(ROWS + n).1)))
}

fn edits(from: u64) -> Vec<(Vec<u8>, Option<Bytes>)> {
    let mut edits: Vec<_> = (from..from + 10).map(edit).collect();
    edits.sort();
    edits
}

/// A row as sysbench has them.
fn tuple() -> (TableSchema, Vec<Value>) {
    let column = |name: &str, column_type| Column {
        name: name.to_string(),
        column_type,
        not_null: true,
        default: None,
    };
    let schema = TableSchema {
        columns: vec![
            column("id", ColumnType::Int4),
            column("k", ColumnType::Int4),
            column("c", ColumnType::Char(120)),
            column("pad", ColumnType::Char(60)),
        ],
        primary_key: vec![0],
    };
    let values = vec![
        Value::Int4(4711),
        Value::Int4(815),
        Value::Text("0123456789-".repeat(11)[..120].to_string()),
        Value::Text("0123456789-".repeat(6)[..60].to_string()),
    ];
    (schema, values)
}

fn main() {
    // Cargo's own arguments (`--bench`) stand among ours.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let [operation, times] = arguments.as_slice() else {
        println!("{}", OPERATIONS.join("\n"));
        return;
    };
    let times: u64 = times.parse().expect("how many times");
    let mut store = ChunkBatch::new(&NoChunks);
    let map = Map::build(&mut store, (0..ROWS).map(row)).expect("sorted rows");
    let ten = map.apply(&mut store, edits(0)).expect("sorted edits");
    let other = map.apply(&mut store, edits(100)).expect("sorted edits");
    let (schema, values) = tuple();
    let encoded = encode_tuple(&values);
    for n in 0..times {
        match operation.as_str() {
            "get" => {
                black_box(map.get(&store, &row(scattered(n)).0).expect("a sound store"));
            }
            "range" => {
                let from = Bound::Included(row(scattered(n)).0);
                let rows = map.range(&store, (from, Bound::Unbounded)).expect("a sound store");
                black_box(rows.take(100).count());
            }
            "skip" => {
                let rows = map.range(&store, ..).expect("a sound store");
                black_box(rows.skip(scattered(n) as usize).take(10).count());
            }
            "edit" => {
                let mut batch = ChunkBatch::new(&store);
                black_box(map.apply(&mut batch, [edit(n)]).expect("one edit"));
            }
            "diff" => {
                black_box(map.diff(&ten, &store).expect("a sound store").count());
            }
            "merge" => {
                let mut merging = ChunkBatch::new(&store);
                let resolve = |_: &MergeConflict| Ok::<_, ProllyError>(Resolution::Left);
                black_box(Map::merge(&mut merging, &map, &ten, &other, resolve).expect("a sound store"));
            }
            "build" => {
                black_box(Map::build(&mut ChunkBatch::new(&NoChunks), (0..1_000).map(row)).expect("sorted rows"));
            }
            "encode" => {
                black_box(encode_key(&schema, &values));
                black_box(encode_tuple(&values));
            }
            "decode" => {
                black_box(decode_tuple(&schema, &encoded.bytes, &NoChunks).expect("a sound row"));
            }
            other => panic!("there is no operation {other}"),
        }
    }
}
