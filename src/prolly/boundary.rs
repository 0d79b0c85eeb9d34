//! Where a node ends.
//!
//! An entry ends its node with a probability that grows with the node: the hazard of a Weibull distribution with shape
//! four and a scale of 4 KiB, which gives nodes of 3.7 KiB on average, few small ones and hardly any above 8 KiB. A
//! plain "hash below threshold" rule would spread sizes exponentially. The decision takes the entry's key, and the
//! sizes of the entries since the node began; nothing else, or equal maps would have different shapes. All of it is
//! integer arithmetic, because the shape of every stored tree depends on each bit of it. The scale is a constant of the
//! format; a simulated world may have another one from its beginning to its end.

use crate::runtime::Constant;

/// log2 of the scale of the distribution, in bytes.
pub const NODE_SCALE_BITS: Constant = Constant {
    name: "prolly.node_scale_bits",
    usual: 12,
    least: 8,
};

/// No node takes another entry from here on: log2 of how many scales.
const SCALES_MAX_BITS: u32 = 2;

/// So much of a key's hash is drawn by.
const HASH_BITS: u32 = 32;

const _: () = assert!(
    (NODE_SCALE_BITS.usual + SCALES_MAX_BITS) * 4 < u64::BITS && NODE_SCALE_BITS.least * 4 >= HASH_BITS,
    "the fourth power of a size fits 64 bits, and that of the scale has as many as are drawn by"
);

/// Whether the entry with this key ends its node, which it grows from `before` to `after` bytes.
///
/// Each level reads other bits of the key's hash: a key that ends a leaf must not for that reason end its parent.
pub(super) fn ends_node(level: u8, key: &[u8], before: u64, after: u64) -> bool {
    debug_assert!(before < after, "an entry has a size");
    let scale_bits = NODE_SCALE_BITS.get();
    if after >> (scale_bits + SCALES_MAX_BITS) > 0 {
        return true;
    }
    // The cumulative hazard is (size / scale)^4, so the probability of this entry is about the difference of fourth
    // powers over scale^4; shifted so that it compares with 32 bits of hash.
    let threshold = (after.pow(4) - before.pow(4)) >> (4 * scale_bits - HASH_BITS);
    if threshold == 0 {
        return false;
    }
    if threshold > u64::from(u32::MAX) {
        return true;
    }
    let hash = blake3::hash(key);
    let at = 4 * usize::from(level % 8);
    let mut bits = [0; 4];
    bits.copy_from_slice(&hash.as_bytes()[at..at + 4]);
    u64::from(u32::from_le_bytes(bits)) < threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE_BYTES_MAX: u64 = 1 << (NODE_SCALE_BITS.usual + SCALES_MAX_BITS);

    /// Sizes of nodes made of `entry_bytes` long entries with counted keys.
    fn node_sizes(entry_bytes: u64, entries: u32) -> Vec<u64> {
        let (mut sizes, mut size) = (Vec::new(), 0);
        for i in 0..entries {
            let after = size + entry_bytes;
            size = if ends_node(0, &i.to_be_bytes(), size, after) {
                sizes.push(after);
                0
            } else {
                after
            };
        }
        sizes
    }

    #[test]
    fn nodes_are_near_four_kibibytes_whatever_the_size_of_entries() {
        for entry_bytes in [16, 64, 200, 1000] {
            let sizes = node_sizes(entry_bytes, 40_000);
            let mean = sizes.iter().sum::<u64>() / sizes.len() as u64;
            assert!((3300..4300).contains(&mean), "{entry_bytes}-byte entries: mean {mean}");
            assert!(*sizes.iter().max().unwrap() <= NODE_BYTES_MAX);
            let small = sizes.iter().filter(|size| **size < 1024).count();
            assert!(
                small * 50 < sizes.len(),
                "{entry_bytes}-byte entries: {small} of {} are small",
                sizes.len()
            );
        }
    }

    #[test]
    fn a_large_entry_ends_its_node() {
        assert!(ends_node(0, b"key", 0, 16 << 20));
        assert!(ends_node(3, b"key", 0, NODE_BYTES_MAX));
    }

    #[test]
    fn levels_decide_independently() {
        let ends = |level| {
            (0..4000u32)
                .filter(|i| ends_node(level, &i.to_be_bytes(), 3000, 3100))
                .collect::<Vec<_>>()
        };
        let (leaf, above) = (ends(0), ends(1));
        let both = leaf.iter().filter(|i| above.contains(i)).count();
        assert!(
            both * 5 < leaf.len(),
            "{both} of {} boundaries are boundaries above too",
            leaf.len()
        );
    }

    #[test]
    fn decisions_are_golden() {
        let ends: Vec<u32> = (0..200u32)
            .filter(|i| ends_node(0, &i.to_be_bytes(), 2500, 2600))
            .collect();
        assert_eq!(ends, [31, 131, 140]);
    }
}
