use proptest::prelude::*;

use super::*;
use crate::chunk::NoChunks;
use crate::version::{links, references};

fn put(value: &LargeValue) -> ChunkBatch<'static> {
    let mut batch = ChunkBatch::new(&NoChunks);
    value.put(&mut batch, &BTreeSet::new());
    batch
}

/// Bytes without repetition, so that no piece is like another.
fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn values_of_all_lengths_come_back() {
    for length in [
        1,
        2049,
        PIECE_BYTES,
        PIECE_BYTES + 1,
        5 * PIECE_BYTES,
        5 * PIECE_BYTES + 7,
    ] {
        let value = bytes(length);
        let large = LargeValue::new(&value);
        let batch = put(&large);
        assert_eq!(read(&batch, &large.hash(), length).unwrap(), value);
        assert_eq!(
            batch.len(),
            length.div_ceil(PIECE_BYTES) + usize::from(length > PIECE_BYTES)
        );
        for wrong in [length - 1, length + 1] {
            assert!(read(&batch, &large.hash(), wrong).is_err(), "{length} read as {wrong}");
        }
        // Every chunk comes after what it refers to, and says so.
        let mut seen = BTreeSet::new();
        for (hash, chunk) in batch.into_chunks() {
            for link in links(&chunk).unwrap() {
                assert!(seen.contains(&link.hash) && !link.leads_on);
            }
            seen.insert(hash);
        }
    }
}

#[test]
fn versions_of_a_value_share_what_did_not_change() {
    // Would fail if appending to a large value wrote all of it again.
    let mut value = bytes(4 * PIECE_BYTES + 5);
    let before = LargeValue::new(&value);
    let mut known: BTreeSet<Hash> = references(before.get(&before.hash()).unwrap())
        .unwrap()
        .into_iter()
        .collect();
    known.insert(before.hash());
    value.extend_from_slice(b"more");
    let after = LargeValue::new(&value);
    let mut batch = ChunkBatch::new(&NoChunks);
    after.put(&mut batch, &known);
    assert_eq!(batch.len(), 2, "the last piece and the index");
    before.put(&mut batch, &known);
    assert_eq!(batch.len(), 2, "what is known is not put");
}

#[test]
fn chunks_of_large_values_are_golden() {
    let small = LargeValue::new(b"small");
    assert_eq!(&put(&small).get(&small.hash()).unwrap()[..], b"\x15small");
    let large = LargeValue::new(&vec![0; PIECE_BYTES + 1]);
    let index = put(&large).get(&large.hash()).unwrap();
    let (first, second) = (vec![0; PIECE_BYTES], vec![0]);
    let piece = |bytes: &[u8]| *Hash::of(&[&[21], bytes].concat()).as_bytes();
    let expected = [&[20, 1, 0, 4, 0, 0, 0, 0, 0][..], &piece(&first), &piece(&second)].concat();
    assert_eq!(&index[..], &expected[..]);
}

#[test]
fn what_is_no_large_value_is_refused() {
    let mut batch = ChunkBatch::new(&NoChunks);
    let length = PIECE_BYTES + 1;
    let piece = batch.put(vec![KIND_PIECE; 2].into());
    let mut index = |total: u64, pieces: usize| {
        let mut bytes = vec![KIND_LARGE_VALUE];
        bytes.extend_from_slice(&total.to_le_bytes());
        for _ in 0..pieces {
            bytes.extend_from_slice(piece.as_bytes());
        }
        batch.put(bytes.into())
    };
    let good = index(length as u64, 2);
    let bad = [
        index(length as u64, 1),
        index(length as u64, 3),
        index(1, 1),
        index(u64::MAX, 2),
        index(VALUE_BYTES_MAX as u64 + 1, 4097),
    ];
    let empty = batch.put(Bytes::new());
    assert!(links(&batch.get(&good).unwrap()).is_ok());
    assert!(
        read(&batch, &good, length)
            .unwrap_err()
            .to_string()
            .contains("wrong length")
    );
    for hash in bad {
        assert!(links(&batch.get(&hash).unwrap()).is_err());
        assert!(read(&batch, &hash, length).is_err());
    }
    assert!(read(&batch, &empty, 5).is_err());
    assert!(matches!(
        read(&batch, &good, 5),
        Err(VersionError::WrongKind { found: 20, .. })
    ));
    assert!(matches!(
        read(&batch, &piece, length),
        Err(VersionError::WrongKind { found: 21, .. })
    ));
    assert!(links(&[KIND_PIECE]).is_err());
    assert!(links(&vec![KIND_PIECE; PIECE_BYTES + 2]).is_err());
}

proptest! {
    /// Would fail if a damaged index made a reader panic, or ask for memory that nothing backs.
    #[test]
    fn damaged_indexes_never_panic(at in any::<prop::sample::Index>(), to: u8, cut in any::<prop::sample::Index>()) {
        let large = LargeValue::new(&vec![1; 2 * PIECE_BYTES]);
        let mut batch = put(&large);
        let mut index = batch.get(&large.hash()).unwrap().to_vec();
        let at = at.index(index.len());
        index[at] = to;
        for bytes in [&index[..], &index[..cut.index(index.len())]] {
            let _ = links(bytes);
            let hash = batch.put(Bytes::copy_from_slice(bytes));
            let _ = read(&batch, &hash, 2 * PIECE_BYTES);
        }
    }
}
