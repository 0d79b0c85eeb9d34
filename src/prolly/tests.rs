//! Maps against `BTreeMap`, and what makes them more than that: one shape per content, sharing, cheap differences.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::attached::ATTACHED_MARK;
use super::*;
use crate::chunk::{ChunkBatch, ChunkError, Hash, NoChunks, ReadChunks};

pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) fn build(batch: &mut ChunkBatch<'_>, model: &Model) -> Map {
    Map::build(batch, model).unwrap()
}

pub(super) fn content(map: &Map, chunks: &dyn ReadChunks) -> Model {
    map.range(chunks, ..)
        .unwrap()
        .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
        .collect()
}

/// Counts reads, to show what an operation costs.
pub(super) struct Counting<'a> {
    below: &'a dyn ReadChunks,
    reads: AtomicU64,
}

impl<'a> Counting<'a> {
    pub fn new(below: &'a dyn ReadChunks) -> Counting<'a> {
        Counting {
            below,
            reads: AtomicU64::new(0),
        }
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl ReadChunks for Counting<'_> {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.below.get(hash)
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.below.contains(hash)
    }
}

pub(super) fn numbered(rows: std::ops::Range<u32>) -> Model {
    rows.map(|i| {
        (
            format!("row{i:08}").into_bytes(),
            format!("the value of row {i}").into_bytes(),
        )
    })
    .collect()
}

/// Keys from a small alphabet, so that edits hit old keys; values of all sizes, so that nodes are of all shapes.
pub(super) fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(0u8..4, 0..7),
        1 => (0u8..4, 100usize..3000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

/// Some with chunks attached; a body of any bytes shows that only the first byte of a value means something.
pub(super) fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = 0..ATTACHED_MARK;
    let body = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40)
            .prop_filter("a value without attached chunks", |value| value.first() != Some(&ATTACHED_MARK)),
        4 => (byte.clone(), 100usize..900).prop_map(|(byte, len)| vec![byte; len]),
        1 => (byte, 900usize..40_000).prop_map(|(byte, len)| vec![byte; len]),
        1 => (body, 0usize..3, 1usize..3).prop_map(|(body, leading, ends)| {
            let hashes: Vec<Hash> = (0..leading + ends).map(|i| Hash::of(&[body.len() as u8, i as u8])).collect();
            Attached::encode(&body, &hashes[..leading], &hashes[leading..]).to_vec()
        }),
    ]
}

pub(super) fn model() -> impl Strategy<Value = Model> {
    prop::collection::btree_map(key(), value(), 0..250)
}

pub(super) fn edits() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    prop_oneof![
        prop::collection::btree_map(key(), prop::option::of(value()), 0..4),
        prop::collection::btree_map(key(), prop::option::of(value()), 0..200),
        prop::collection::btree_map(key(), Just(None), 0..200),
    ]
}

pub(super) fn apply(map: &Map, batch: &mut ChunkBatch<'_>, edits: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Map {
    map.apply(
        batch,
        edits
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().map(Bytes::from))),
    )
    .unwrap()
}

pub(super) fn edit_model(model: &mut Model, edits: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
    for (key, value) in edits {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn bound(key: Vec<u8>, kind: u8) -> Bound<Vec<u8>> {
    match kind {
        0 => Bound::Unbounded,
        1 => Bound::Included(key),
        _ => Bound::Excluded(key),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Would fail if a reader missed an entry, made one up, or counted wrong.
    #[test]
    fn reads_agree_with_a_btree_map(model in model(), probes in prop::collection::vec(key(), 20)) {
        let mut batch = ChunkBatch::new(&NoChunks);
        let map = build(&mut batch, &model);
        prop_assert_eq!(&content(&map, &batch), &model);
        prop_assert_eq!(map.count(&batch).unwrap(), model.len() as u64);
        for key in probes.iter().chain(model.keys()) {
            prop_assert_eq!(map.get(&batch, key).unwrap().map(Vec::from), model.get(key).cloned());
            let rank = model.range::<Vec<u8>, _>(..key).count() as u64;
            prop_assert_eq!(map.rank(&batch, key).unwrap(), rank);
            let nth = map.nth(&batch, rank).unwrap().map(|(key, _)| key.to_vec());
            prop_assert_eq!(nth.as_ref(), model.range::<Vec<u8>, _>(key..).next().map(|(key, _)| key));
        }
    }

    /// Would fail if a range began or ended at the wrong entry, in either direction.
    #[test]
    fn ranges_agree_with_a_btree_map(
        model in model(), from in key(), to in key(), kinds in (0u8..3, 0u8..3)
    ) {
        let mut batch = ChunkBatch::new(&NoChunks);
        let map = build(&mut batch, &model);
        let bounds = (bound(from.clone(), kinds.0), bound(to.clone(), kinds.1));
        let inside = |key: &Vec<u8>| std::ops::RangeBounds::contains(&bounds, key);
        let expected: Vec<_> = model.keys().filter(|key| inside(key)).cloned().collect();
        let keys = |cursor: Cursor<&ChunkBatch<'_>>| cursor.map(|entry| entry.unwrap().0.to_vec()).collect::<Vec<_>>();
        prop_assert_eq!(&keys(map.range(&batch, bounds.clone()).unwrap()), &expected);
        let mut reversed = keys(map.range_reverse(&batch, bounds.clone()).unwrap());
        reversed.reverse();
        prop_assert_eq!(&reversed, &expected);
    }

    /// Would fail if entries that are passed over were counted wrong, or the cursor stood elsewhere afterwards.
    #[test]
    fn passing_over_entries_is_reading_them(
        model in model(), from in key(), to in key(), kinds in (0u8..3, 0u8..3), steps in prop::collection::vec(0u64..120, 1..4)
    ) {
        let mut batch = ChunkBatch::new(&NoChunks);
        let map = build(&mut batch, &model);
        let bounds = (bound(from, kinds.0), bound(to, kinds.1));
        for reverse in [false, true] {
            let cursor = || match reverse {
                false => map.range(&batch, bounds.clone()).unwrap(),
                true => map.range_reverse(&batch, bounds.clone()).unwrap(),
            };
            let (mut reading, mut passing) = (cursor(), cursor());
            for step in &steps {
                let read = reading.by_ref().take(*step as usize).map(Result::unwrap).count() as u64;
                prop_assert_eq!(passing.advance(*step).unwrap(), read);
                let entry = |cursor: &mut Cursor<_>| cursor.next().map(Result::unwrap);
                prop_assert_eq!(entry(&mut passing), entry(&mut reading));
            }
            prop_assert!(passing.map(Result::unwrap).eq(reading.map(Result::unwrap)));
            let skipped: Vec<_> = cursor().skip(steps[0] as usize).map(Result::unwrap).collect();
            let entries: Vec<_> = cursor().map(Result::unwrap).collect();
            prop_assert_eq!(&skipped[..], entries.get(steps[0] as usize..).unwrap_or_default());
        }
    }

    /// History independence: would fail if the shape of a tree told how its content came about.
    #[test]
    fn applying_edits_gives_the_root_that_building_gives(model in model(), steps in prop::collection::vec(edits(), 1..5)) {
        let mut model = model;
        let mut batch = ChunkBatch::new(&NoChunks);
        let mut map = build(&mut batch, &model);
        for edits in &steps {
            map = apply(&map, &mut batch, edits);
            edit_model(&mut model, edits);
            prop_assert_eq!(map.root(), build(&mut ChunkBatch::new(&NoChunks), &model).root());
        }
        prop_assert_eq!(content(&map, &batch), model);
    }

    #[test]
    fn order_of_insertion_does_not_show(model in model(), shuffle in any::<u64>()) {
        let mut keys: Vec<_> = model.iter().collect();
        keys.sort_by_key(|(key, _)| blake3::hash(&[&key[..], &shuffle.to_le_bytes()].concat()).as_bytes()[..8].to_vec());
        let mut batch = ChunkBatch::new(&NoChunks);
        let mut map = Map::empty(&mut batch);
        for (key, value) in keys {
            map = map.apply(&mut batch, [(key.clone(), Some(Bytes::from(value.clone())))]).unwrap();
        }
        prop_assert_eq!(map.root(), build(&mut ChunkBatch::new(&NoChunks), &model).root());
    }

    /// Would fail if a difference were missed, reported twice, or reported where there is none.
    #[test]
    fn diff_agrees_with_a_btree_map(before in model(), edits in edits()) {
        let mut after = before.clone();
        edit_model(&mut after, &edits);
        let mut batch = ChunkBatch::new(&NoChunks);
        let (from, to) = (build(&mut batch, &before), build(&mut batch, &after));
        let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let expected: Vec<_> = keys
            .into_iter()
            .filter(|key| before.get(*key) != after.get(*key))
            .map(|key| (key.clone(), before.get(key).cloned(), after.get(key).cloned()))
            .collect();
        let found: Vec<_> = from
            .diff(&to, &batch)
            .unwrap()
            .map(Result::unwrap)
            .map(|d| (d.key.to_vec(), d.before.map(Vec::from), d.after.map(Vec::from)))
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn one_edit_of_many_rows_writes_one_path() {
    // Would fail if an edit rewrote more than its path and, now and then, a neighbour.
    let mut base = ChunkBatch::new(&NoChunks);
    let map = build(&mut base, &numbered(0..100_000));
    let depth = 4;
    for row in (0..100_000).step_by(9973) {
        let mut batch = ChunkBatch::new(&base);
        let key = format!("row{row:08}").into_bytes();
        map.apply(&mut batch, [(key, Some(Bytes::from_static(b"another value")))])
            .unwrap();
        assert!(batch.len() <= depth + 2, "row {row}: {} chunks", batch.len());
        assert!(batch.bytes() < 32 << 10, "row {row}: {} bytes", batch.bytes());
    }
}

#[test]
fn the_cost_of_a_diff_follows_the_change() {
    // Would fail if shared subtrees were read.
    let mut base = ChunkBatch::new(&NoChunks);
    let before = build(&mut base, &numbered(0..100_000));
    let edits = (0..100_000)
        .step_by(10_000)
        .map(|row| (format!("row{row:08}x").into_bytes(), Some(Bytes::new())));
    let after = before.apply(&mut base, edits).unwrap();
    let counting = Counting::new(&base);
    assert_eq!(before.diff(&after, &counting).unwrap().count(), 10);
    assert!(counting.reads() < 10 * 10, "{} nodes were read", counting.reads());
}

#[test]
fn passing_over_entries_costs_two_paths() {
    // Would fail if an OFFSET read the rows it passes over.
    let mut base = ChunkBatch::new(&NoChunks);
    let map = build(&mut base, &numbered(0..100_000));
    let key = |row: u32| format!("row{row:08}").into_bytes();
    let bounds = (Bound::Included(key(1000)), Bound::Excluded(key(99_000)));
    for (reverse, expected) in [(false, 91_000), (true, 8999)] {
        let counting = Counting::new(&base);
        let mut cursor = match reverse {
            false => map.range(&counting, bounds.clone()).unwrap(),
            true => map.range_reverse(&counting, bounds.clone()).unwrap(),
        };
        assert_eq!(cursor.advance(90_000).unwrap(), 90_000);
        assert_eq!(cursor.next().unwrap().unwrap().0, key(expected));
        assert!(counting.reads() <= 2 * 4, "{} nodes were read", counting.reads());
        assert_eq!(cursor.advance(90_000).unwrap(), 7999);
        assert!(cursor.next().is_none());
        assert!(counting.reads() <= 4 * 4, "{} nodes were read", counting.reads());
    }
}

#[test]
fn edits_without_effect_keep_the_root() {
    let model = numbered(0..5000);
    let mut batch = ChunkBatch::new(&NoChunks);
    let map = build(&mut batch, &model);
    let put = batch.len();
    let same = model
        .iter()
        .step_by(700)
        .map(|(key, value)| (key.clone(), Some(Bytes::from(value.clone()))));
    assert_eq!(map.apply(&mut batch, same).unwrap(), map);
    assert_eq!(map.apply(&mut batch, [(b"absent".to_vec(), None)]).unwrap(), map);
    assert_eq!(batch.len(), put, "nothing is written for nothing");
}

#[test]
fn long_keys_do_not_build_towers() {
    let model: Model = (0u32..300)
        .map(|i| ([vec![7; KEY_BYTES_MAX - 4], i.to_be_bytes().to_vec()].concat(), vec![]))
        .collect();
    let mut batch = ChunkBatch::new(&NoChunks);
    let map = build(&mut batch, &model);
    assert_eq!(content(&map, &batch), model);
    let edited = map
        .apply(&mut batch, [(vec![9; KEY_BYTES_MAX], Some(Bytes::new()))])
        .unwrap();
    assert_eq!(edited.count(&batch).unwrap(), 301);
}

#[test]
fn large_values_lie_in_line() {
    let large = Bytes::from(vec![5; 16 << 20]);
    let mut batch = ChunkBatch::new(&NoChunks);
    let map = build(&mut batch, &numbered(0..1000));
    let map = map
        .apply(&mut batch, [(b"row00000500".to_vec(), Some(large.clone()))])
        .unwrap();
    assert_eq!(map.get(&batch, b"row00000500").unwrap(), Some(large));
    assert_eq!(
        map.get(&batch, b"row00000501").unwrap().unwrap(),
        "the value of row 501"
    );
}

#[test]
fn attached_chunks_show_in_every_node_above_them() {
    // Would fail if a walk over what is alive missed an attached chunk, or read leaves that refer to nothing.
    let mut batch = ChunkBatch::new(&NoChunks);
    let plain = build(&mut batch, &numbered(0..20_000));
    let (index, piece) = (Hash::of(b"an index"), Hash::of(b"a piece"));
    let value = Attached::encode(b"large", &[index], &[piece]);
    let key = b"row00007000".to_vec();
    let map = plain.apply(&mut batch, [(key.clone(), Some(value))]).unwrap();

    let (mut read, mut unread, mut found) = (0, 0, Vec::new());
    let mut open = vec![map.root()];
    while let Some(hash) = open.pop() {
        read += 1;
        for link in links(&batch.get(&hash).unwrap()).unwrap() {
            match (link.leads_on, batch.contains(&link.hash)) {
                (true, true) => open.push(link.hash),
                (false, true) => unread += 1,
                (leads_on, false) => found.push((link.hash, leads_on)),
            }
        }
    }
    assert_eq!(found, [(index, true), (piece, false)]);
    assert!(read < 10 && unread > 100, "{read} nodes were read, {unread} were not");

    // The path to it is told apart from the same path without it, and gone with the value.
    let restored = map
        .apply(&mut batch, [(key.clone(), Some(Bytes::from("the value of row 7000")))])
        .unwrap();
    assert_eq!(restored, plain);
    let refused = |value: &'static [u8], batch: &mut ChunkBatch<'_>| {
        let refused = plain.apply(batch, [(key.clone(), Some(Bytes::from_static(value)))]);
        assert!(matches!(refused, Err(ProllyError::BadValue { .. })), "{refused:?}");
    };
    refused(&[ATTACHED_MARK], &mut batch);
    refused(&[ATTACHED_MARK, 0, 0, 0, 0, 1], &mut batch);
    refused(&[ATTACHED_MARK, 1, 0, 0, 0, 1], &mut batch);
}

#[test]
fn a_parent_that_hides_attached_chunks_is_refused() {
    // Would fail if a peer's node could make a garbage collection lose what a value refers to.
    let mut batch = ChunkBatch::new(&NoChunks);
    let mut model = numbered(0..2000);
    let value = Attached::encode(b"", &[], &[Hash::of(b"a piece")]);
    model.insert(b"row00000500".to_vec(), value.to_vec());
    let map = build(&mut batch, &model);
    let honest = batch.get(&map.root()).unwrap().to_vec();
    let (flags, count) = (2, u32::from_le_bytes(honest[4..8].try_into().unwrap()) as usize);
    let mut hiding = honest.clone();
    hiding[flags] = 0;
    assert!(validate(&hiding).is_err(), "the flag contradicts the words");
    for word in 0..count {
        let top = honest.len() - 8 * (count - word) + 7;
        hiding[top] &= 0x7f;
    }
    assert_ne!(hiding, honest);
    validate(&hiding).unwrap();
    let hiding = Map::from_root(batch.put(hiding.into()));
    assert!(matches!(
        hiding.get(&batch, b"row00000500"),
        Err(ProllyError::Corrupt { .. })
    ));
}

#[test]
fn emptied_maps_are_the_empty_map() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let model = numbered(0..3000);
    let map = build(&mut batch, &model);
    let emptied = map
        .apply(&mut batch, model.keys().map(|key| (key.clone(), None)))
        .unwrap();
    assert_eq!(emptied, Map::empty(&mut batch));
    assert_eq!(build(&mut batch, &Model::new()), emptied);
    assert_eq!(emptied.count(&batch).unwrap(), 0);
    assert_eq!(emptied.range(&batch, ..).unwrap().count(), 0);
    assert_eq!(emptied.diff(&map, &batch).unwrap().count(), 3000);
}

#[test]
fn maps_of_references_stay_so_and_say_what_they_refer_to() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let target = batch.put(Bytes::from_static(b"target"));
    let empty = Map::empty_of_references(&mut batch);
    let value = Bytes::copy_from_slice(target.as_bytes());
    let map = empty
        .apply(&mut batch, [(b"refs/heads/main".to_vec(), Some(value.clone()))])
        .unwrap();
    let root = batch.get(&map.root()).unwrap();
    assert_eq!(references(&root).unwrap(), [target]);
    assert_eq!(children(&root).unwrap(), []);
    let refused = map.apply(&mut batch, [(b"x".to_vec(), Some(Bytes::from_static(b"no hash")))]);
    assert!(matches!(refused, Err(ProllyError::NotAReference { bytes: 7 })));
}

#[test]
fn bad_edits_are_refused() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let map = Map::empty(&mut batch);
    let put = |key: &[u8]| (key.to_vec(), Some(Bytes::new()));
    assert!(matches!(
        map.apply(&mut batch, [put(b"b"), put(b"a")]),
        Err(ProllyError::Unsorted)
    ));
    assert!(matches!(
        map.apply(&mut batch, [put(b"a"), put(b"a")]),
        Err(ProllyError::Unsorted)
    ));
    assert!(matches!(
        map.apply(&mut batch, [put(&[0; 8193])]),
        Err(ProllyError::KeyTooLong { bytes: 8193 })
    ));
    assert!(matches!(
        Map::build(&mut batch, [("b", ""), ("a", "")]),
        Err(ProllyError::Unsorted)
    ));
}

#[test]
fn a_missing_chunk_is_an_error_not_an_end() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let map = build(&mut batch, &numbered(0..1000));
    let chunks = batch.into_chunks();
    let mut holed = ChunkBatch::new(&NoChunks);
    for (_, bytes) in chunks.into_iter().skip(1) {
        holed.put(bytes);
    }
    let results: Vec<_> = map
        .range(&holed, ..)
        .map_or_else(|error| vec![Err(error)], |cursor| cursor.collect());
    assert!(matches!(
        results.last(),
        Some(Err(ProllyError::Chunk(ChunkError::Missing { .. })))
    ));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn nodes_are_golden() {
    // Would fail if the bytes of a stored node changed, which old stores would not survive.
    let mut batch = ChunkBatch::new(&NoChunks);
    let empty = Map::empty(&mut batch);
    assert_eq!(hex(&batch.get(&empty.root()).unwrap()), "0100000000000000");
    let references = Map::empty_of_references(&mut batch);
    assert_eq!(hex(&batch.get(&references.root()).unwrap()), "0100010000000000");
    let leaf = Map::build(&mut batch, [("a", "one"), ("bc", "")]).unwrap();
    assert_eq!(
        hex(&batch.get(&leaf.root()).unwrap()),
        "010000000200000001000300030003006162636f6e65"
    );
    let value = Attached::encode(b"x", &[], &[Hash::from_bytes([7; 20])]);
    let attached = Map::build(&mut batch, [("a", &value)]).unwrap();
    assert_eq!(
        hex(&batch.get(&attached.root()).unwrap()),
        format!("010004000100000001001a0061ff0000010078{}", "07".repeat(20))
    );
    let mut model = numbered(0..200);
    model.insert(b"row00000100".to_vec(), value.to_vec());
    let root = build(&mut batch, &model).root();
    let root = batch.get(&root).unwrap();
    assert_eq!(hex(&root[..4]), "02010400");
    assert_eq!(hex(&root[root.len() - 16..]), "66000000000000806200000000000000");
    let tree = build(&mut batch, &numbered(0..100_000));
    assert_eq!(tree.root().to_string(), "4o94qj0mrnrqi7t9b5083c9vuavjdeo7");
    let root = batch.get(&tree.root()).unwrap();
    assert_eq!(
        hex(&root[..40]),
        "020200000c0000000b00160021002c00370042004d00580063006e0079008400726f773030303038"
    );
}

/// Within a simulated world, whose plans make nodes small.
#[cfg(madsim)]
#[test]
fn in_a_world_of_small_nodes_trees_are_deep_and_of_one_shape() {
    use crate::runtime::simulated::World;
    let depth_with = |bits: Option<u32>| {
        World::run(1, |world| async move {
            if let Some(bits) = bits {
                world.set_constant(&NODE_SCALE_BITS, bits);
            }
            let model = numbered(0..500);
            let mut batch = ChunkBatch::new(&NoChunks);
            let whole = build(&mut batch, &model);
            assert_eq!(content(&whole, &batch), model);
            let half = build(&mut batch, &numbered(0..250));
            let rest = numbered(250..500);
            let edits = rest.into_iter().map(|(key, value)| (key, Some(Bytes::from(value))));
            let grown = half.apply(&mut batch, edits).unwrap();
            assert_eq!(grown.root(), whole.root(), "one content has one shape");
            let counting = Counting::new(&batch);
            whole.get(&counting, b"row00000123").unwrap();
            counting.reads()
        })
    };
    let (usual, deep) = (depth_with(None), depth_with(Some(NODE_SCALE_BITS.least)));
    assert!(usual <= 2 && deep >= 4, "{usual} and {deep} nodes deep");
}
