//! Values with chunks attached.
//!
//! ```text
//! 0      mark    u8   0xff
//! 1      leading u16  how many hashes are of chunks that may refer to others
//! 3      ends    u16  how many are of chunks that refer to nothing
//! 5      body
//! then   the hashes, leading ones first, 20 bytes each
//! ```
//! Integers are little endian. That a value says itself what it refers to is what keeps it from being lost on the way:
//! a value is copied from map to map by diffs, merges and edits that know nothing of references. The price is that a
//! value which begins with 0xff and has nothing attached cannot be stored, except in maps of references.
//!
//! Must not know: what the body means, and how it says which of its parts lies in which chunk.

use bytes::Bytes;

use crate::chunk::{HASH_BYTES, Hash, Link};

/// First byte of a value that has chunks attached; no other value may begin with it.
pub(super) const ATTACHED_MARK: u8 = 0xff;

const HEAD_BYTES: usize = 5;

/// A value with chunks attached, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached<'a> {
    pub body: &'a [u8],
    /// Names of chunks that may refer to others.
    pub leading: &'a [[u8; HASH_BYTES]],
    /// Names of chunks that refer to nothing.
    pub ends: &'a [[u8; HASH_BYTES]],
}

impl<'a> Attached<'a> {
    /// The value that has this body and these chunks attached.
    ///
    /// # Panics
    /// Without any chunk, or with more than 65,535 of a kind.
    pub fn encode(body: &[u8], leading: &[Hash], ends: &[Hash]) -> Bytes {
        assert!(
            !leading.is_empty() || !ends.is_empty(),
            "a value without attached chunks is its body"
        );
        let count = |hashes: &[Hash]| u16::try_from(hashes.len()).expect("a value has at most 65,535 chunks attached");
        let mut out = Vec::with_capacity(HEAD_BYTES + body.len() + (leading.len() + ends.len()) * HASH_BYTES);
        out.push(ATTACHED_MARK);
        out.extend_from_slice(&count(leading).to_le_bytes());
        out.extend_from_slice(&count(ends).to_le_bytes());
        out.extend_from_slice(body);
        for hash in leading.iter().chain(ends) {
            out.extend_from_slice(hash.as_bytes());
        }
        out.into()
    }

    /// Takes a value apart; `None` when it has nothing attached.
    ///
    /// # Errors
    /// What is wrong with a value that begins with the mark and is none of those that [`encode`](Self::encode) gives.
    pub fn parse(value: &'a [u8]) -> Result<Option<Attached<'a>>, &'static str> {
        let Some(rest) = value.strip_prefix(&[ATTACHED_MARK]) else {
            return Ok(None);
        };
        let (head, rest) = rest
            .split_first_chunk::<4>()
            .ok_or("it has the mark of attached chunks, but is too short")?;
        let leading = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let ends = usize::from(u16::from_le_bytes([head[2], head[3]]));
        if leading + ends == 0 {
            return Err("it has the mark of attached chunks, but none are attached");
        }
        let body = rest
            .len()
            .checked_sub((leading + ends) * HASH_BYTES)
            .ok_or("it is too short for the chunks it has attached")?;
        let (body, hashes) = rest.split_at(body);
        let (leading, ends) = hashes.as_chunks::<HASH_BYTES>().0.split_at(leading);
        Ok(Some(Attached { body, leading, ends }))
    }

    /// The attached chunks, in order.
    pub fn links(&self) -> impl Iterator<Item = Link> + use<'a> {
        let links = |hashes: &'a [[u8; HASH_BYTES]], leads_on| {
            let hashes = hashes.iter().map(|bytes| Hash::from_bytes(*bytes));
            hashes.map(move |hash| Link { hash, leads_on })
        };
        links(self.leading, true).chain(links(self.ends, false))
    }
}

/// Whether a value has chunks attached. For nearly all values this looks at one byte.
pub(super) fn is_attached(value: &[u8]) -> Result<bool, &'static str> {
    match value.first() {
        Some(&ATTACHED_MARK) => Attached::parse(value).map(|attached| attached.is_some()),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hashes() -> impl Strategy<Value = Vec<Hash>> {
        prop::collection::vec(any::<[u8; HASH_BYTES]>().prop_map(Hash::from_bytes), 0..5)
    }

    proptest! {
        #[test]
        fn what_was_attached_is_found_again(
            body in prop::collection::vec(any::<u8>(), 0..60), leading in hashes(), ends in hashes()
        ) {
            prop_assume!(!leading.is_empty() || !ends.is_empty());
            let value = Attached::encode(&body, &leading, &ends);
            let attached = Attached::parse(&value).unwrap().unwrap();
            prop_assert_eq!(attached.body, &body[..]);
            let found: Vec<_> = attached.links().map(|link| (link.hash, link.leads_on)).collect();
            let expected: Vec<_> = leading.iter().map(|hash| (*hash, true))
                .chain(ends.iter().map(|hash| (*hash, false)))
                .collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(is_attached(&value), Ok(true));
        }

        /// Foreign bytes: would fail if a value made a reader panic, or had two readings.
        #[test]
        fn any_bytes_are_read_or_refused(rest in prop::collection::vec(any::<u8>(), 0..80), few in 0u8..3) {
            let mut value = vec![ATTACHED_MARK, few, 0, few, 0];
            value.extend(rest);
            for value in [&value[..], &value[..2], &value[1..]] {
                if let Ok(Some(attached)) = Attached::parse(value) {
                    let of = |hashes: &[[u8; HASH_BYTES]]| hashes.iter().map(|h| Hash::from_bytes(*h)).collect::<Vec<_>>();
                    prop_assert_eq!(Attached::encode(attached.body, &of(attached.leading), &of(attached.ends)), value);
                }
            }
        }
    }

    #[test]
    fn a_value_with_attached_chunks_is_golden() {
        let value = Attached::encode(b"ab", &[Hash::from_bytes([1; 20])], &[Hash::from_bytes([2; 20])]);
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, format!("ff010001006162{}{}", "01".repeat(20), "02".repeat(20)));
    }
}
