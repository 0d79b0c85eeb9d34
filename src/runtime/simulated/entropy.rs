//! Entropy of a run: streams of the seed, and the operating system's answers that libraries ask for behind our back.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The streams of one run. Each is named by whose it is and what for, so that none disturbs another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    seed: u64,
}

impl Streams {
    pub fn new(seed: u64) -> Streams {
        Streams { seed }
    }

    pub fn seed(self) -> u64 {
        self.seed
    }

    /// The key of a stream; `nth` tells apart those of one owner and purpose.
    pub fn key(self, owner: &str, purpose: &str, nth: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"understudy simulation stream");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&nth.to_le_bytes());
        hasher.update(&(owner.len() as u64).to_le_bytes());
        hasher.update(owner.as_bytes());
        hasher.update(purpose.as_bytes());
        *hasher.finalize().as_bytes()
    }

    pub fn generator(self, owner: &str, purpose: &str, nth: u64) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.key(owner, purpose, nth))
    }
}
