//! Tables without a primary key: multisets of rows.
//!
//! A row's key is the hash of its content and an ordinal. The ordinals of equal rows are 0, 1, ... without a gap, so
//! that equal multisets are equal maps, and so that their number is found by galloping over keys.
//!
//! Invariant: inserting takes the first free ordinal, deleting takes the last used one, whichever was asked for.

use crate::version::KEYLESS_HASH_BYTES;

/// How many rows of one content there are, given whether the key of an ordinal is there.
pub(super) fn count<E>(mut present: impl FnMut(u64) -> Result<bool, E>) -> Result<u64, E> {
    // `low` is present or nothing is; the answer lies in [low, high] once `high` is absent.
    let (mut low, mut high) = (0u64, 0u64);
    let mut step = 1u64;
    while present(high)? {
        low = high + 1;
        high += step;
        step *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if present(middle)? {
            low = middle + 1
        } else {
            high = middle
        }
    }
    Ok(low)
}

/// The key of an ordinal of the same content as `key`.
pub(super) fn with_ordinal(key: &[u8], ordinal: u64) -> Vec<u8> {
    let mut other = content(key).to_vec();
    other.extend_from_slice(&ordinal.to_be_bytes());
    other
}

/// The part of a key that names the content.
pub(super) fn content(key: &[u8]) -> &[u8] {
    &key[..KEYLESS_HASH_BYTES.min(key.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_count_is_found_in_logarithmically_many_probes(number in 0u64..5_000_000) {
            let mut probes = 0;
            let found = count(|ordinal| {
                probes += 1;
                Ok::<_, ()>(ordinal < number)
            });
            prop_assert_eq!(found, Ok(number));
            prop_assert!(probes <= 2 * 64 - 2 * number.leading_zeros() + 2, "{} probes for {}", probes, number);
        }
    }
}
