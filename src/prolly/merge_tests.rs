//! Merges against a model, key by key.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::tests::{Counting, Model, apply, build, content, edit_model, edits, model, numbered};
use super::*;
use crate::chunk::{ChunkBatch, NoChunks};

type Edits = std::collections::BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What the tests answer for a conflict: decided by the key alone, so that both ways of merging answer alike.
fn resolution(key: &[u8], swapped: bool) -> Resolution {
    let (left, right) = match swapped {
        false => (Resolution::Left, Resolution::Right),
        true => (Resolution::Right, Resolution::Left),
    };
    match blake3::hash(key).as_bytes()[0] % 5 {
        0 => left,
        1 => right,
        2 => Resolution::Put(Bytes::from_static(b"resolved")),
        3 => Resolution::Delete,
        _ => Resolution::Unresolved,
    }
}

/// The three contents: the base, and the base with each side's edits.
fn sides(base: &Model, edits: [&Edits; 2]) -> [Model; 3] {
    let [left, right] = edits.map(|edits| {
        let mut side = base.clone();
        edit_model(&mut side, edits);
        side
    });
    [base.clone(), left, right]
}

/// The content and the conflicts that a merge should give.
fn merged_model([base, left, right]: &[Model; 3]) -> (Model, Vec<MergeConflict>) {
    let keys: BTreeSet<&Vec<u8>> = base.keys().chain(left.keys()).chain(right.keys()).collect();
    let bytes = |value: Option<&Vec<u8>>| value.cloned().map(Bytes::from);
    let mut merged = Model::new();
    let mut conflicts = Vec::new();
    for key in keys {
        let (was, ours, theirs) = (base.get(key), left.get(key), right.get(key));
        let value = if ours == was {
            bytes(theirs)
        } else if theirs == was || ours == theirs {
            bytes(ours)
        } else {
            match resolution(key, false) {
                Resolution::Left => bytes(ours),
                Resolution::Right => bytes(theirs),
                Resolution::Put(value) => Some(value),
                Resolution::Delete => None,
                Resolution::Unresolved => {
                    conflicts.push(MergeConflict {
                        key: Bytes::from(key.clone()),
                        base: bytes(was),
                        left: bytes(ours),
                        right: bytes(theirs),
                    });
                    bytes(ours)
                }
            }
        };
        if let Some(value) = value {
            merged.insert(key.clone(), value.to_vec());
        }
    }
    (merged, conflicts)
}

fn merge(batch: &mut ChunkBatch<'_>, maps: [&Map; 3], swapped: bool) -> Merged {
    let mut last: Option<Bytes> = None;
    Map::merge(batch, maps[0], maps[1], maps[2], |conflict| {
        assert!(
            last.replace(conflict.key.clone())
                .is_none_or(|last| last < conflict.key),
            "conflicts come in ascending order"
        );
        Ok::<_, ProllyError>(resolution(&conflict.key, swapped))
    })
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Would fail if a change of either side were lost, a conflict missed or made up, or the history showed in the root.
    #[test]
    fn merging_agrees_with_a_btree_map(base in model(), left in edits(), right in edits(), shared in edits()) {
        let both = |edits: &Edits| {
            let mut edits = edits.clone();
            edits.extend(shared.clone());
            edits
        };
        let models = sides(&base, [&both(&left), &both(&right)]);
        let (expected, conflicts) = merged_model(&models);
        let mut batch = ChunkBatch::new(&NoChunks);
        let maps = models.each_ref().map(|model| build(&mut batch, model));
        let [base, left, right] = &maps;
        let merged = merge(&mut batch, [base, left, right], false);
        prop_assert_eq!(&merged.conflicts, &conflicts);
        prop_assert_eq!(&content(&merged.map, &batch), &expected);
        prop_assert_eq!(merged.map.root(), build(&mut ChunkBatch::new(&NoChunks), &expected).root());

        // With the sides swapped, the conflicts are those of before as seen from the other side, and what differs are
        // the values of these.
        let swapped = merge(&mut batch, [base, right, left], true);
        let mirrored: Vec<_> = conflicts.iter().cloned()
            .map(|conflict| MergeConflict { left: conflict.right, right: conflict.left, ..conflict })
            .collect();
        prop_assert_eq!(&swapped.conflicts, &mirrored);
        let differing: Vec<_> = merged.map.diff(&swapped.map, &batch).unwrap().map(|d| d.unwrap().key).collect();
        prop_assert_eq!(differing, conflicts.into_iter().map(|conflict| conflict.key).collect::<Vec<_>>());
    }

    #[test]
    fn a_side_without_changes_takes_those_of_the_other(base in model(), changes in edits()) {
        let mut batch = ChunkBatch::new(&NoChunks);
        let base = build(&mut batch, &base);
        let changed = apply(&base, &mut batch, &changes);
        for maps in [[&base, &changed, &base], [&base, &base, &changed], [&base, &changed, &changed]] {
            let merged = merge(&mut batch, maps, false);
            prop_assert_eq!(merged, Merged { map: changed, conflicts: Vec::new() });
        }
    }
}

#[test]
fn the_cost_of_a_merge_follows_the_smaller_side() {
    // Would fail if a merge read, or wrote, what only the other side changed.
    let mut base = ChunkBatch::new(&NoChunks);
    let old = build(&mut base, &numbered(0..100_000));
    let key = |row: u32| format!("row{row:08}").into_bytes();
    let edit = |rows: &mut dyn Iterator<Item = u32>, value: &'static str| -> Vec<_> {
        rows.map(|row| (key(row), Some(Bytes::from_static(value.as_bytes()))))
            .collect()
    };
    let many = old
        .apply(&mut base, edit(&mut (0..100_000).step_by(2), "many"))
        .unwrap();
    let few = old
        .apply(&mut base, edit(&mut [1, 30_001, 70_001].into_iter(), "few"))
        .unwrap();
    for [left, right] in [[&many, &few], [&few, &many]] {
        let counting = Counting::new(&base);
        let mut batch = ChunkBatch::new(&counting);
        let merged = Map::merge(&mut batch, &old, left, right, |_| -> Result<_, ProllyError> {
            panic!("no row was changed by both")
        })
        .unwrap();
        assert_eq!(merged.map.get(&batch, &key(30_001)).unwrap().unwrap(), "few");
        assert_eq!(merged.map.get(&batch, &key(30_002)).unwrap().unwrap(), "many");
        assert!(counting.reads() < 100, "{} nodes were read", counting.reads());
        assert!(batch.len() <= 3 * 6, "{} nodes were written", batch.len());
    }
}

#[test]
fn rebasing_asks_about_the_same_change_too() {
    // Would fail if a transaction could not tell that somebody else already did what it did.
    let mut batch = ChunkBatch::new(&NoChunks);
    let map = Map::build(&mut batch, [("a", "new"), ("b", "old")]).unwrap();
    let change = |key: &'static str| Difference {
        key: Bytes::from_static(key.as_bytes()),
        before: Some(Bytes::from_static(b"old")),
        after: Some(Bytes::from_static(b"new")),
    };
    let mut asked = Vec::new();
    let merged = map
        .rebase(&mut batch, [change("a"), change("b")], |conflict| {
            asked.push(conflict.clone());
            Ok::<_, ProllyError>(Resolution::Left)
        })
        .unwrap();
    assert_eq!(
        content(&merged.map, &batch).into_values().collect::<Vec<_>>(),
        [b"new", b"new"]
    );
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (&asked[0].key[..], &asked[0].left, &asked[0].right),
        (&b"a"[..], &asked[0].right, &asked[0].left)
    );
    let refused = map.rebase(&mut batch, [change("a")], |_| Err(ProllyError::Unsorted));
    assert!(matches!(refused, Err(ProllyError::Unsorted)));
}
