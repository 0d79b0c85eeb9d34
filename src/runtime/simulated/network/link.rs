//! One direction between two hosts.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// How one direction behaves. The default is a quiet local network.
#[derive(Clone, PartialEq, Debug)]
pub struct LinkSettings {
    /// Time on the way, drawn evenly for each burst.
    pub latency: RangeInclusive<Duration>,
    /// More time at most, mostly much less: the long tail.
    pub jitter: Duration,
    /// Share of packets that are lost. A stream takes longer by it, and breaks only when retries run out.
    pub loss: f64,
    /// Bytes each second, of all streams together.
    pub bandwidth: Option<u64>,
}

impl Default for LinkSettings {
    fn default() -> Self {
        let latency = Duration::from_micros(200)..=Duration::from_micros(800);
        LinkSettings {
            latency,
            jitter: Duration::ZERO,
            loss: 0.0,
            bandwidth: None,
        }
    }
}

impl LinkSettings {
    /// Of a host to itself.
    pub(super) fn loopback() -> Self {
        LinkSettings {
            latency: Duration::from_micros(20)..=Duration::from_micros(60),
            ..LinkSettings::default()
        }
    }
}

pub(super) struct Link {
    pub settings: LinkSettings,
    /// Nothing passes.
    pub cut: bool,
    /// Nothing leaves before: what is sent waits, and nothing is lost.
    clogged_until: Duration,
    /// When the last byte accepted so far will have left, given the bandwidth.
    busy_until: Duration,
    rng: ChaCha8Rng,
}

impl Link {
    pub fn new(settings: LinkSettings, rng: ChaCha8Rng) -> Link {
        Link {
            settings,
            cut: false,
            clogged_until: Duration::ZERO,
            busy_until: Duration::ZERO,
            rng,
        }
    }

    /// Whether a packet sent now is lost. Draws whether or not the answer is known, so that a cut reshuffles nothing.
    pub fn drops(&mut self) -> bool {
        let lost = self.settings.loss > 0.0 && self.rng.random_bool(self.settings.loss.min(1.0));
        lost || self.cut
    }

    /// Time on the way of a burst sent now.
    pub fn draw_latency(&mut self) -> Duration {
        let tail = if self.settings.jitter.is_zero() {
            Duration::ZERO
        } else {
            self.settings.jitter.mul_f64(self.rng.random::<f64>().powi(4))
        };
        self.rng.random_range(self.settings.latency.clone()) + tail
    }

    /// When the last of so many bytes will have left.
    pub fn departure(&mut self, now: Duration, bytes: usize) -> Duration {
        let start = self.leaves(now);
        self.busy_until = match self.settings.bandwidth {
            Some(rate) => self.busy_until.max(start) + Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate.max(1)),
            None => start,
        };
        self.busy_until
    }

    /// When a packet of no size that is sent now leaves.
    pub fn leaves(&self, now: Duration) -> Duration {
        self.clogged_until.max(now)
    }

    /// Lets nothing leave before `until`, or before an earlier clog ends.
    pub fn clog(&mut self, until: Duration) {
        self.clogged_until = self.clogged_until.max(until);
    }

    /// What is sent from now on leaves at once. Gives within what time what waits arrives, if anything does.
    pub fn unclog(&mut self, now: Duration) -> Option<Duration> {
        let waits = self.clogged_until > now || self.busy_until > now;
        self.clogged_until = Duration::ZERO;
        self.busy_until = self.busy_until.min(now);
        waits.then(|| *self.settings.latency.end())
    }

    /// Where a piece is cut in two, now and then, and how much later its rest follows.
    pub fn cut_in_two(&mut self, bytes: usize) -> Option<(usize, Duration)> {
        let cut = bytes > 1 && self.rng.random_ratio(1, 32);
        cut.then(|| {
            (
                self.rng.random_range(1..bytes),
                Duration::from_micros(self.rng.random_range(5..300)),
            )
        })
    }
}
