//! Named random streams, and values that the seed draws.
//!
//! Invariants
//! - A stream is a function of (seed, name) alone: leaving out one fault, client or server does not change what the
//!   others draw.
//! - The generator is ChaCha8 keyed by a hash, whose output never changes between versions of a library.
//!
//! Must not know: what is drawn for.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::yaml::{Complaint, Node, Value};

/// The random stream `name` of `seed`.
pub fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(name.as_bytes());
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

/// One value, or a choice that the seed makes: a range `1ms..10ms` or a list `[a, b]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Draw<T> {
    One(T),
    Range(T, T),
    Among(Vec<Draw<T>>),
}

/// What ranges can be made of.
pub trait Span: Copy + Ord {
    fn between(low: Self, high: Self, rng: &mut ChaCha8Rng) -> Self;
}

impl Span for u64 {
    fn between(low: u64, high: u64, rng: &mut ChaCha8Rng) -> u64 {
        rng.random_range(low..=high)
    }
}

impl Span for i64 {
    fn between(low: i64, high: i64, rng: &mut ChaCha8Rng) -> i64 {
        rng.random_range(low..=high)
    }
}

impl Span for u32 {
    fn between(low: u32, high: u32, rng: &mut ChaCha8Rng) -> u32 {
        rng.random_range(low..=high)
    }
}

impl<T: Span> Draw<T> {
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> T {
        match self {
            Draw::One(value) => *value,
            Draw::Range(low, high) => T::between(*low, *high, rng),
            Draw::Among(choices) => choices[pick(choices.len(), rng)].draw(rng),
        }
    }

    /// The value of a draw that is settled.
    pub fn settled(&self) -> T {
        match self {
            Draw::One(value) => *value,
            _ => unreachable!("a plan has drawn everything"),
        }
    }

    /// As it stands in a scenario file; `show` writes one end.
    pub fn written(&self, show: impl Fn(T) -> String + Copy) -> String {
        match self {
            Draw::One(value) => show(*value),
            Draw::Range(low, high) => format!("{}..{}", show(*low), show(*high)),
            Draw::Among(choices) => {
                let choices: Vec<String> = choices.iter().map(|choice| choice.written(show)).collect();
                format!("[{}]", choices.join(", "))
            }
        }
    }

    /// The ends of all ranges: whoever takes these takes what is drawn.
    pub fn ends(&self) -> Vec<T> {
        match self {
            Draw::One(value) => vec![*value],
            Draw::Range(low, high) => vec![*low, *high],
            Draw::Among(choices) => choices.iter().flat_map(Draw::ends).collect(),
        }
    }

    /// Reads one value, a range or a list of both. `parse` reads one end.
    pub fn parse(what: &str, node: &Node, parse: fn(&str) -> Result<T, String>) -> Result<Draw<T>, Complaint> {
        if let Value::List(entries) = &node.value {
            if entries.is_empty() {
                return Err(node.complain(format!("{what}: an empty list leaves nothing to draw")));
            }
            let choices = entries
                .iter()
                .map(|entry| Draw::parse(what, entry, parse))
                .collect::<Result<_, _>>()?;
            return Ok(Draw::Among(choices));
        }
        let text = node.text(what)?;
        let one = |text: &str| parse(text.trim()).map_err(|error| node.complain(format!("{what}: {error}")));
        let Some((low, high)) = text.split_once("..") else {
            return Ok(Draw::One(one(text)?));
        };
        let (low, high) = (one(low)?, one(high)?);
        if low > high {
            return Err(node.complain(format!(
                "{what}: the range {text:?} is empty; the smaller end comes first"
            )));
        }
        Ok(Draw::Range(low, high))
    }
}

/// An index below `len`.
pub fn pick(len: usize, rng: &mut ChaCha8Rng) -> usize {
    assert!(len > 0, "there is something to pick from");
    rng.random_range(0..len)
}

/// Integers of the kind that `T` is, as `Draw::parse` wants them.
pub fn parse_number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a whole number in the allowed range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    fn parse(text: &str) -> Result<Draw<u64>, Complaint> {
        Draw::parse("x", &Node::parse("f.yaml", text).unwrap(), parse_number)
    }

    #[test]
    fn streams_depend_on_seed_and_name_alone_and_never_change() {
        let mut a = stream(7, "net/a->b");
        assert_eq!(a.next_u64(), stream(7, "net/a->b").next_u64());
        assert_ne!(stream(7, "net/a->b").next_u64(), stream(7, "net/b->a").next_u64());
        assert_ne!(stream(7, "net/a->b").next_u64(), stream(8, "net/a->b").next_u64());
        // Golden: a change here silently changes what every recorded seed means.
        assert_eq!(stream(1, "plan").next_u64(), GOLDEN);
    }
    const GOLDEN: u64 = 15_772_685_510_201_867_598;

    #[test]
    fn ranges_and_lists_stay_within_their_words() {
        let mut rng = stream(1, "t");
        let range = parse("3..5").unwrap();
        let list = parse("[1, 7..9]").unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            assert!((3..=5).contains(&range.draw(&mut rng)));
            seen.insert(list.draw(&mut rng));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 7, 8, 9]);
    }

    #[test]
    fn bad_draws_are_refused() {
        for (text, part) in [
            ("5..3", "empty"),
            ("[]", "empty list"),
            ("a..b", "whole number"),
            ("{a: 1}", "mapping"),
            ("-1", "whole number"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with("f.yaml:1: x:") && error.contains(part),
                "{text}: {error}"
            );
        }
    }
}
