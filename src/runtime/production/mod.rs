//! The runtime over tokio and the operating system.
//!
//! Must not know: that there is a simulator.

pub(super) mod net;

use std::time::SystemTime;

use rand::TryRngCore;

use super::constant::Constant;
use super::time::Instant;

pub(super) use tokio::task::JoinHandle;

#[expect(clippy::disallowed_methods, reason = "this is runtime::spawn")]
pub(super) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

#[expect(clippy::disallowed_methods, reason = "this is runtime::now")]
pub(super) fn now() -> Instant {
    Instant(std::time::Instant::now())
}

#[expect(clippy::disallowed_methods, reason = "this is runtime::wall_clock")]
pub(super) fn wall_micros() -> i64 {
    // A clock before 1970 is a broken battery; show it as 1970 rather than refuse to run.
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is runtime::sleep_until")]
pub(super) async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline.0.into()).await;
}

pub(super) fn entropy(_purpose: &'static str) -> [u8; 32] {
    let mut seed = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut seed)
        .expect("the operating system gives entropy once it has booted");
    seed
}

#[inline(always)]
pub(super) const fn constant(constant: &Constant) -> u32 {
    constant.usual
}

pub(super) async fn compute<F: Future>(future: F) -> F::Output {
    future.await
}

/// The smaller of what the machine has and what its control group allows; a gibibyte when neither can be read.
#[expect(clippy::disallowed_methods, reason = "this is runtime::memory_bytes")]
pub(super) fn memory_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    let machine = machine.map(|kibibytes| kibibytes << 10);
    machine.into_iter().chain(group).min().unwrap_or(1 << 30)
}

pub(super) fn busy<R>(work: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

pub(super) fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "files that may be open"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

pub(super) fn shutdown_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    // Here and not in the future: until they are installed a signal ends the process.
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    biased;
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                // Without handlers the default action ends the process, which loses nothing that was acknowledged.
                tracing::warn!(%error, "cannot handle SIGTERM and SIGINT: a stop will not be graceful");
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        super::raise_file_limit();
        let (soft, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        assert_eq!(soft, hard);
    }

    #[tokio::test]
    async fn s_027_a_stop_counts_from_the_call_that_asks_for_it() {
        let stop = super::shutdown_signal();
        let own = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &own]).status();
        assert!(sent.expect("kill is there").success());
        let stopped = crate::runtime::timeout(Duration::from_secs(60), stop).await;
        assert!(stopped.is_ok(), "the signal came before the future was polled");
    }
}
