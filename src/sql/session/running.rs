//! A statement while it runs: what can stop it, and how it notices.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;

use crate::engine::{SessionHandle, StatementGuard, Turn};
use crate::runtime::{self, Instant};
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::plan::Interrupt;
use crate::sql::result::RowStream;

/// Stops a statement on a cancel request (57014), at `statement_timeout` (57014), and when the server ends the
/// connection (57P01).
pub(in crate::sql) struct Running {
    handle: SessionHandle,
    guard: StatementGuard,
    deadline: Option<Instant>,
}

impl Running {
    pub fn new(handle: &SessionHandle, limit: Option<Duration>) -> Running {
        Running {
            guard: handle.begin_statement(),
            handle: handle.clone(),
            deadline: limit.map(|limit| runtime::now() + limit),
        }
    }

    /// For loops that do not wait: fails once the statement is to stop.
    pub fn check(&self) -> Result<(), SqlError> {
        if self.guard.is_cancelled() {
            return Err(self.why());
        }
        if self.deadline.is_some_and(|deadline| runtime::now() >= deadline) {
            return Err(timed_out());
        }
        Ok(())
    }

    /// For loops over rows that wait for nothing: fails once the statement is to stop, and lets others run. Without it a
    /// long statement would hold up everything else on its thread, links to standbys among them.
    pub async fn pause(&self) -> Result<(), SqlError> {
        self.check()?;
        runtime::yield_now().await;
        self.check()
    }

    /// Waits for `work` or for what stops it, whichever is first. The work is dropped then: nothing that must not be left
    /// half done belongs here (a commit, a change of role).
    pub async fn interruptible<T>(&self, work: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
        tokio::select! {
            biased;
            error = self.stopped() => Err(error),
            result = work => result,
        }
    }

    async fn stopped(&self) -> SqlError {
        match self.deadline {
            None => {
                self.guard.cancelled().await;
                self.why()
            }
            Some(deadline) => tokio::select! {
                biased;
                () = self.guard.cancelled() => self.why(),
                () = runtime::sleep_until(deadline) => timed_out(),
            },
        }
    }

    /// Lets what stops the statement stop the stream too; the statement ends with the stream.
    pub fn guard_stream(self, rows: RowStream) -> RowStream {
        let RowStream { fields, batches } = rows;
        let batches = futures::stream::unfold(Some((self, batches)), |state| async move {
            let (running, mut batches) = state?;
            let next = running.interruptible(async { Ok(batches.next().await) }).await;
            match next {
                Ok(None) => None,
                Ok(Some(Ok(batch))) => Some((Ok(batch), Some((running, batches)))),
                Ok(Some(Err(error))) | Err(error) => Some((Err(error), None)),
            }
        });
        RowStream {
            fields,
            batches: Box::pin(batches),
        }
    }

    fn why(&self) -> SqlError {
        why_stopped(&self.handle)
    }
}

/// Does `work` to its end; a turn that is over meanwhile is given to the next one.
pub(super) async fn in_turn<T>(turn: &mut Option<Turn>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Some(until) = turn.as_ref().map(Turn::until) {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = runtime::sleep_until(until) => *turn = None,
        }
    }
    work.await
}

/// What stops the rows of portals, which are fetched by one Execute after another: each is a statement of its own to cancel
/// requests and to `statement_timeout`, and between two there is nothing to stop. One Execute runs at a time, whichever
/// portal it is for. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Fetching(Arc<Mutex<Option<Arc<Running>>>>);

impl Fetching {
    pub fn begin(&self, running: Running) {
        // Dropped outside the lock.
        let last = self.0.lock().replace(Arc::new(running));
        drop(last);
    }

    pub fn end(&self) {
        let last = self.0.lock().take();
        drop(last);
    }

    /// Lets what stops the Execute that runs stop the stream too.
    pub fn guard_stream(&self, rows: RowStream) -> RowStream {
        let RowStream { fields, batches } = rows;
        let batches = futures::stream::unfold(Some((self.clone(), batches)), |state| async move {
            let (fetching, mut batches) = state?;
            let running = fetching.0.lock().clone();
            let next = match running {
                Some(running) => running.interruptible(async { Ok(batches.next().await) }).await,
                None => Ok(batches.next().await),
            };
            match next {
                Ok(None) => None,
                Ok(Some(Ok(batch))) => Some((Ok(batch), Some((fetching, batches)))),
                Ok(Some(Err(error))) | Err(error) => Some((Err(error), None)),
            }
        });
        RowStream {
            fields,
            batches: Box::pin(batches),
        }
    }
}

/// What stops the planning of a statement that begins now.
pub(in crate::sql) fn planning_interrupt(handle: &SessionHandle, limit: Option<Duration>) -> Interrupt {
    let handle = handle.clone();
    let deadline = limit.map(|limit| runtime::now() + limit);
    Interrupt::new(move || {
        if handle.is_statement_cancelled() {
            return Err(why_stopped(&handle));
        }
        match deadline {
            Some(deadline) if runtime::now() >= deadline => Err(timed_out()),
            _ => Ok(()),
        }
    })
}

fn why_stopped(handle: &SessionHandle) -> SqlError {
    match handle.why_terminated() {
        Some(why) => SqlError::new(SqlErrorKind::Terminated, why),
        None => SqlError::new(SqlErrorKind::Cancelled, "canceling statement due to user request"),
    }
}

fn timed_out() -> SqlError {
    SqlError::new(SqlErrorKind::Cancelled, "canceling statement due to statement timeout")
}
