//! The runtime over the seeded simulator: virtual time, one thread, and a world of nodes with their own clock, disk,
//! entropy and network.
//!
//! The executor and the virtual clock are madsim's; everything else is ours. All state belongs to the [`World`] of one
//! run, which the executor keeps beside itself, so that two runs in one process share nothing.
//!
//! What servers feel here and not in production
//! - Computing takes no time: only waiting does.
//! - A panic ends the run.
//! - `std::time::SystemTime`, which libraries read, shows the world's time without the skew of the node. Who wants the
//!   server's own clock asks [`super::wall_clock`].
//!
//! Must not know: servers, scenarios.

pub(super) mod net;
pub(super) mod sites;

mod constants;
mod control;
mod entropy;
mod network;
mod system;
mod timer;
mod world;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use rand::TryRngCore as _;

use super::time::Instant;

pub(super) use constants::constant;
pub use control::World;
pub use network::{LinkSettings, NetworkSettings, Trace};
pub use sites::{OVERFLOW, SiteCounts, mutant};
pub use system::{REFUSED, is_refused_thread};
pub use world::NodeStart;

pub(super) use madsim::task::JoinHandle;

pub(super) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    madsim::task::spawn(future)
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time within a run, ordinary time in ordinary tests"
)]
pub(super) fn now() -> Instant {
    Instant(std::time::Instant::now())
}

#[expect(clippy::disallowed_methods, reason = "ordinary time in ordinary tests")]
pub(super) fn wall_micros() -> i64 {
    if world::in_task() {
        return world::current().wall_micros(world::current_host());
    }
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// Like tokio's, a sleep lasts whole milliseconds; one that is over already lets others run once.
pub(super) async fn sleep_until(deadline: Instant) {
    const MILLISECOND: u128 = 1_000_000;
    let now = now();
    let left = (deadline - now).as_nanos();
    if left == 0 {
        let mut yielded = false;
        return poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
    let millis = u64::try_from(left.div_ceil(MILLISECOND)).unwrap_or(u64::MAX);
    timer::Sleep::until((now + Duration::from_millis(millis)).0).await;
}

pub(super) fn entropy(purpose: &'static str) -> [u8; 32] {
    if world::in_task() {
        return world::current().entropy(world::current_host(), purpose);
    }
    let mut seed = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut seed)
        .expect("the operating system gives entropy once it has booted");
    seed
}

/// Polls the future within a tokio runtime of its own, in which its tasks and tokio's clock run. When it gets nowhere
/// by itself, it must be waiting for something outside, which gets its turn for a millisecond of virtual time.
pub(super) async fn compute<F: Future>(future: F) -> F::Output {
    /// Rounds of the nested scheduler, up to 61 tasks each, before the rest of the world gets a turn.
    const ROUNDS: u32 = 256;
    let mut future = pin!(future);
    if tokio::runtime::Handle::try_current().is_ok() {
        return future.await;
    }
    let nested = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without threads or sockets needs nothing that could be missing");
    loop {
        let mut rounds = 0;
        let output = nested.block_on(poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if rounds == ROUNDS => Poll::Ready(None),
            Poll::Pending => {
                rounds += 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }));
        match output {
            Some(output) => return output,
            None => sleep_until(now() + Duration::from_millis(1)).await,
        }
    }
}

/// A small machine, so that many fit one simulation.
pub(super) fn memory_bytes() -> u64 {
    256 << 20
}

/// Nothing here is a file of the system's.
pub(super) fn raise_file_limit() {}

pub(super) fn busy<R>(work: impl FnOnce() -> R) -> R {
    work()
}

pub(super) async fn shutdown_signal() {
    world::current().stop_requested(world::current_host()).await;
}

#[cfg(test)]
mod tests;
