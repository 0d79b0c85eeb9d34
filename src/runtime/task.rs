//! Tasks: futures that run beside their spawner.
//!
//! Invariants
//! - Dropping a [`Task`] leaves it running; who wants it stopped holds an [`AbortOnDrop`].
//! - A task belongs to the node of its spawner: when a simulated server dies, so do all its tasks.
//! - A panic in a task is an error for who awaits it in production, and the end of a simulated run: a simulated
//!   cluster must not go on after a broken invariant.
//!
//! Must not know: what tasks are for.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::platform;

/// Runs `future` beside the caller.
pub fn spawn<F>(name: &'static str, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Task {
        name,
        handle: platform::spawn(future),
    }
}

/// A running task; awaiting it gives its output.
#[derive(Debug)]
#[must_use = "dropping a task leaves it running: say `.detach()` when that is meant"]
pub struct Task<T> {
    name: &'static str,
    handle: platform::JoinHandle<T>,
}

impl<T> Task<T> {
    #[cfg(madsim)]
    pub(super) fn of(name: &'static str, handle: platform::JoinHandle<T>) -> Task<T> {
        Task { name, handle }
    }

    /// Stops the task at its next await point; awaiting it then gives [`TaskError::Aborted`].
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether the task has ended, one way or another.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Leaves the task running on its own.
    pub fn detach(self) {}

    /// The task is aborted when the returned value is dropped.
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop(self)
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        Pin::new(&mut self.handle)
            .poll(cx)
            .map_err(|error| match error.is_panic() {
                true => TaskError::Panicked { name },
                false => TaskError::Aborted { name },
            })
    }
}

/// A task that lives no longer than this value.
#[derive(Debug)]
#[must_use = "the task is aborted as soon as this is dropped"]
pub struct AbortOnDrop<T>(Task<T>);

impl<T> AbortOnDrop<T> {
    /// Whether the task has ended, one way or another.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a task gave no output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TaskError {
    /// It was aborted, or its server stopped.
    #[error("task {name} was aborted")]
    Aborted {
        /// As given to [`spawn`].
        name: &'static str,
    },
    /// It panicked; the panic hook has reported where.
    #[error("task {name} panicked")]
    Panicked {
        /// As given to [`spawn`].
        name: &'static str,
    },
}

/// Lets hyper and tonic spawn through [`spawn`].
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperExecutor;

impl<F> hyper::rt::Executor<F> for HyperExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        spawn("hyper", future).detach();
    }
}
