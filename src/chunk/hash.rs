//! Names of chunks.

use std::fmt;
use std::str::FromStr;

/// Length of a hash in bytes.
pub const HASH_BYTES: usize = 20;

/// Length of a hash in its text form.
pub const HASH_CHARS: usize = 32;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// The name of a chunk: BLAKE3 of its bytes, cut to 20 bytes.
///
/// Shown as 32 characters of base 32 with the alphabet `0-9a-v`, like `i97i9f1a3vrvd09pphiq0bbdeuf8riid`, so that text
/// order is byte order. Source: spec/version-control.md 1.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// Stands for "nothing yet": the root of a store without a root, and the previous root of the first one.
    pub const NONE: Hash = Hash([0; HASH_BYTES]);

    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        let mut name = [0; HASH_BYTES];
        name.copy_from_slice(&blake3::hash(bytes).as_bytes()[..HASH_BYTES]);
        Hash(name)
    }

    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Hash {
        Hash(bytes)
    }

    /// A hash from a slice of exactly 20 bytes, or `None`.
    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }

    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    pub fn is_none(&self) -> bool {
        *self == Hash::NONE
    }
}

/// A chunk that another refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub hash: Hash,
    /// Whether that chunk may refer to others. When not, a walk need not read it: it is a leaf whose values have
    /// nothing attached, or the end of what it belongs to.
    pub leads_on: bool,
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; HASH_CHARS];
        // 5 bytes are 40 bits are 8 characters; 20 bytes are 4 such groups, so nothing is ever padded.
        for (group, out) in self.0.chunks_exact(5).zip(text.chunks_exact_mut(8)) {
            let bits = group.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (i, character) in out.iter_mut().enumerate() {
                *character = ALPHABET[(bits >> (35 - 5 * i) & 31) as usize];
            }
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 characters of `0-9a-v`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a hash: 32 characters of 0-9 and a-v are expected")]
pub struct ParseHashError(String);

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Hash, ParseHashError> {
        let refuse = || ParseHashError(text.chars().take(64).collect());
        if text.len() != HASH_CHARS {
            return Err(refuse());
        }
        let mut bytes = [0; HASH_BYTES];
        for (group, out) in text.as_bytes().chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
            let mut bits = 0u64;
            for character in group {
                let digit = match character {
                    b'0'..=b'9' => character - b'0',
                    b'a'..=b'v' => character - b'a' + 10,
                    _ => return Err(refuse()),
                };
                bits = bits << 5 | u64::from(digit);
            }
            out.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Ok(Hash(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_form_is_32_characters_of_the_alphabet_and_golden() {
        assert_eq!(Hash::of(b"understudy").to_string().len(), 32);
        assert_eq!(Hash::NONE.to_string(), "0".repeat(32));
        assert_eq!(Hash([0xff; 20]).to_string(), "v".repeat(32));
    }

    #[test]
    fn foreign_text_is_refused() {
        for text in [
            "",
            "abc",
            &"w".repeat(32),
            &"A".repeat(32),
            &"0".repeat(33),
            "ü23456789012345678901234567890x",
        ] {
            assert!(text.parse::<Hash>().is_err(), "{text} was taken for a hash");
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_agree_and_sort_alike(a: [u8; 20], b: [u8; 20]) {
            let (a, b) = (Hash(a), Hash(b));
            prop_assert_eq!(a.to_string().parse::<Hash>().unwrap(), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
