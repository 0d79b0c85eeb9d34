//! The one door to the outside world: tasks, clock, network, disk, entropy.
//!
//! Two implementations with one face: `production` over tokio, and `simulated` over the seeded simulator, chosen at
//! build time by `cfg(madsim)`. The disk is a value rather than ambient, so that a server is handed the disk of its
//! node and ordinary tests can hand it one that loses power.
//!
//! Invariants
//! - Nothing else in this crate names tokio's net, time, fs or spawn, `std::fs`, `std::net` sockets, `std::thread`,
//!   `std::time::{Instant, SystemTime}` or an entropy source. `clippy.toml` enforces it.
//! - `tokio::sync`, `tokio::select!` and the `tokio::io` traits need no runtime and are fine everywhere.
//! - What one implementation promises the other keeps: the same errors for the same situations, the same rounding of
//!   sleeps, the same behaviour on drop. Where they must differ, the item says so.
//!
//! Must not know: chunks, SQL, roles.

pub mod disk;
pub mod net;
pub mod sites;

mod constant;
mod entropy;
mod lookup;
mod task;
mod time;

#[cfg(not(madsim))]
mod production;
#[cfg(not(madsim))]
use production as platform;

#[cfg(madsim)]
pub mod simulated;
#[cfg(madsim)]
use simulated as platform;

pub use constant::Constant;
pub use entropy::{Rng, rng};
pub use lookup::LookupMap;
pub(crate) use sites::{buggify, queue, sometimes};
pub use task::{AbortOnDrop, HyperExecutor, Task, TaskError, spawn};
pub use time::{Elapsed, Instant, WallTime, now, sleep, sleep_until, timeout, wall_clock};

/// Runs a future that computes much, or that calls `tokio::spawn` and its kin itself (DataFusion does).
///
/// Production awaits it on tokio's pool. The simulator drives it in a small tokio runtime of its own on the same
/// thread: time stands still meanwhile, so the future should wait for nothing but itself.
pub async fn compute<F: Future>(future: F) -> F::Output {
    platform::compute(future).await
}

/// Lets other tasks run before this one goes on: for work that takes long and waits for nothing.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// How much memory this server may take: that of the machine, or of the container that it runs in.
pub fn memory_bytes() -> u64 {
    platform::memory_bytes()
}

/// Runs work that keeps its thread for long and cannot be interrupted. Production hands the thread's other tasks to
/// another one first, where there is one; in the simulator computing takes no time.
pub fn busy<R>(work: impl FnOnce() -> R) -> R {
    platform::busy(work)
}

#[cfg(madsim)]
pub use platform::mutant;

/// Lets this process open as many files as the system allows it: a store keeps one open for every 256 MiB. What keeps the
/// limit low is no reason not to start.
pub fn raise_file_limit() {
    platform::raise_file_limit();
}

/// Completes when this process is asked to stop: SIGINT or SIGTERM, or in the simulator a graceful stop requested by
/// the scenario. Requests count from this call on, not from when the future is first polled.
pub fn shutdown_signal() -> impl Future<Output = ()> {
    platform::shutdown_signal()
}

#[cfg(test)]
mod tests;
