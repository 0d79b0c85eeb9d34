//! Bytes that no builder gave: whatever they are, they are read or refused.

use bytes::Bytes;
use proptest::prelude::*;

use super::tests::{Model, build, content, key, value};
use super::*;
use crate::chunk::{ChunkBatch, NoChunks};

/// How a node is damaged.
#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    /// Within the header and what follows at once, which decide everything else.
    SetHead(usize, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    /// Part of the node over another part of it.
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, to)| Damage::Set(at, to)),
        4 => (0usize..24, any::<u8>()).prop_map(|(at, to)| Damage::SetHead(at, to)),
        1 => index().prop_map(Damage::Cut),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (index(), index(), 1usize..16).prop_map(|(from, to, count)| Damage::Copy(from, to, count)),
    ]
}

/// Enough for two levels.
fn small() -> impl Strategy<Value = Model> {
    prop::collection::btree_map(key(), value(), 0..60)
}

fn damaged(node: &[u8], damages: &[Damage]) -> Bytes {
    let mut bytes = node.to_vec();
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Set(at, to) => {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            Damage::SetHead(at, to) => {
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte = *to;
                }
            }
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Copy(from, to, count) => {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let count = (*count).min(bytes.len() - from.max(to));
                bytes.copy_within(from..from + count, to);
            }
        }
    }
    bytes.into()
}

/// Does everything that can be done with a map; what comes of it does not matter.
fn exercise(batch: &mut ChunkBatch<'_>, map: &Map, other: &Map) {
    let key = [1, 2];
    let _ = map.get(batch, &key);
    let _ = map.count(batch);
    let _ = map.rank(batch, &key);
    let _ = map.nth(batch, 3);
    let _ = map.range(&*batch, ..).map(|cursor| cursor.count());
    let _ = map.range_reverse(&*batch, key.to_vec()..).map(|cursor| cursor.count());
    for mut cursor in [map.range(&*batch, ..), map.range_reverse(&*batch, ..)]
        .into_iter()
        .flatten()
    {
        let _ = cursor.advance(7);
        let _ = cursor.advance(u64::MAX);
    }
    let _ = map.diff(other, &*batch).map(|diff| diff.count());
    let _ = other.diff(map, &*batch).map(|diff| diff.count());
    let edits = [(key.to_vec(), Some(Bytes::new())), (vec![9], None)];
    if let Ok(edited) = map.apply(batch, edits) {
        for [base, left, right] in [[map, &edited, other], [other, map, &edited]] {
            let _ = Map::merge(batch, base, left, right, |_| Ok::<_, ProllyError>(Resolution::Right));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Would fail if a damaged node made a reader panic, or if only some of the readers noticed.
    #[test]
    fn damaged_nodes_never_panic(model in small(), damages in prop::collection::vec(damage(), 1..4), which in any::<prop::sample::Index>()) {
        let mut batch = ChunkBatch::new(&NoChunks);
        let sound = build(&mut batch, &model);
        let chunks = batch.into_chunks();
        let bytes = damaged(&which.get(&chunks).1, &damages);
        prop_assert_eq!(validate(&bytes).is_ok(), references(&bytes).is_ok());
        prop_assert_eq!(validate(&bytes).is_ok(), children(&bytes).is_ok());
        // What reads it need not have asked `validate` before.
        let mut batch = ChunkBatch::new(&NoChunks);
        for (_, bytes) in chunks {
            batch.put(bytes);
        }
        let map = Map::from_root(batch.put(bytes));
        exercise(&mut batch, &map, &sound);
        prop_assert_eq!(&content(&sound, &batch), &model, "what is sound stays so");
    }

    /// A damaged node below sound ones, under the hash that these know it by.
    #[test]
    fn children_that_do_not_fit_never_panic(model in small(), damages in prop::collection::vec(damage(), 1..3), which in any::<prop::sample::Index>()) {
        let mut batch = ChunkBatch::new(&NoChunks);
        let map = build(&mut batch, &model);
        let mut chunks = batch.into_chunks();
        let which = which.index(chunks.len());
        let (hash, bytes) = chunks[which].clone();
        let bytes = damaged(&bytes, &damages);
        // Its parents are made to refer to the damaged one, each under its new name.
        let mut renamed = vec![(hash, crate::chunk::Hash::of(&bytes))];
        chunks[which].1 = bytes;
        for (hash, bytes) in &mut chunks[which + 1..] {
            let mut changed = bytes.to_vec();
            for (from, to) in &renamed {
                if let Some(at) = changed.windows(20).position(|window| window == from.as_bytes()) {
                    changed[at..at + 20].copy_from_slice(to.as_bytes());
                }
            }
            if changed != *bytes {
                *bytes = changed.into();
                renamed.push((*hash, crate::chunk::Hash::of(bytes)));
            }
        }
        let root = renamed.iter().find(|(from, _)| *from == map.root()).map_or(map.root(), |(_, to)| *to);
        let mut damaged = ChunkBatch::new(&NoChunks);
        for (_, bytes) in chunks {
            damaged.put(bytes);
        }
        let other = Map::build(&mut damaged, model.iter().take(9)).unwrap();
        exercise(&mut damaged, &Map::from_root(root), &other);
    }

    #[test]
    fn random_bytes_are_no_node(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(validate(&bytes).is_err() || bytes.len() >= 8);
        prop_assert_eq!(validate(&bytes).is_ok(), links(&bytes).is_ok());
    }
}
