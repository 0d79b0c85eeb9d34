//! Clocks and timers.
//!
//! [`Instant`] measures durations and never goes back; [`WallTime`] is what a person would read off the wall, may be
//! wrong and may jump, and in the simulator is each server's own. Neither is ever ordered against the other.
//!
//! Must not know: what a timeout is for.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use super::platform;

/// A moment of the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(pub(super) std::time::Instant);

impl Instant {
    /// Time passed since this moment; zero when it lies ahead.
    pub fn elapsed(&self) -> Duration {
        now().saturating_duration_since(*self)
    }

    /// Time from `earlier` to this moment; zero when `earlier` lies ahead.
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// This moment and `duration` more, or `None` past what the clock can express.
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_add(duration).map(Instant)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Microseconds since 1970-01-01 UTC by this server's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(i64);

impl WallTime {
    /// The first moment of 1970.
    pub const EPOCH: WallTime = WallTime(0);

    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> WallTime {
        WallTime(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Seconds since 1970, rounded down: what tokens and certificates count in.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Microseconds from `earlier` to this; negative when the clock went back between the two.
    pub const fn micros_since(self, earlier: WallTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// Now, by the monotonic clock.
pub fn now() -> Instant {
    platform::now()
}

/// Now, by the wall clock of this server.
pub fn wall_clock() -> WallTime {
    WallTime(platform::wall_micros())
}

/// Waits. As in tokio, resolution is a millisecond.
pub async fn sleep(duration: Duration) {
    // Far enough to be never; the sum would overflow the clock.
    const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    platform::sleep_until(now() + duration.min(FOREVER)).await;
}

/// Waits until the clock shows `deadline`.
pub async fn sleep_until(deadline: Instant) {
    platform::sleep_until(deadline).await;
}

/// The deadline passed first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("deadline has passed")]
pub struct Elapsed(());

/// Runs `future` for at most `duration`; it is dropped when the time is over. A future that is ready wins over a
/// deadline that has passed.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep(duration) => Err(Elapsed(())),
    }
}
