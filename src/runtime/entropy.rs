//! Entropy, in named streams.
//!
//! In production every [`Rng`] is keyed by the operating system and good for secrets. In the simulator it is a stream
//! of the run's seed that belongs to this server and this purpose, so that drawing more for one purpose changes nothing
//! for the others.
//!
//! Must not know: what is drawn.

use rand::{CryptoRng, RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::platform;

/// A generator for one purpose.
pub fn rng(purpose: &'static str) -> Rng {
    Rng(ChaCha20Rng::from_seed(platform::entropy(purpose)))
}

/// See [`rng`].
#[derive(Debug)]
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// The generator with this key: the same key gives the same numbers.
    pub fn from_key(key: [u8; 32]) -> Rng {
        Rng(ChaCha20Rng::from_seed(key))
    }
}

impl RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

impl CryptoRng for Rng {}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    #[test]
    fn two_generators_of_one_purpose_differ() {
        assert_ne!(rng("test").next_u64(), rng("test").next_u64());
    }
}
