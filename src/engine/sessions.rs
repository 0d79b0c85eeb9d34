//! Who is connected, and how they are told to stop.
//!
//! A connection registers before its first statement and is registered until its last handle is dropped: whoever
//! waits for the end of a session waits for the end of its statements too, because the statements run under a handle.
//!
//! Invariants
//! - A cancel request stops the statement running when it arrives, never a later one.
//! - `kill_all` returns when everyone it asked is gone, or when [`KILL_LIMIT`] is over: a change of role must not hang on
//!   one session that does not listen. Such a session starts no more statements, the write gate keeps it from committing,
//!   and what it kept ([`SessionHandle::keep`]) is let go as if it had ended.
//!
//! Must not know: what a statement is, how an error reaches the client.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngCore;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::runtime::sites::pause;
use crate::runtime::{self, buggify, sometimes};

/// How long a session may take to end. Statements notice within milliseconds that they are cancelled, and clients have
/// half a second to hear why.
pub const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Names a session for as long as the server runs; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What is known about a session from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub id: SessionId,
    pub pid: i32,
    pub user: String,
    pub database: String,
    pub tainted: bool,
    pub terminating: bool,
}

/// All sessions of a server.
#[derive(Debug, Clone)]
pub struct SessionRegistry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sessions: Mutex<Sessions>,
    /// Bumped whenever a session ends.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Sessions {
    last: u64,
    live: BTreeMap<SessionId, Arc<Session>>,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    pid: i32,
    secret: i32,
    user: String,
    database: String,
    state: Mutex<SessionState>,
    terminated: CancellationToken,
}

#[derive(Debug, Default)]
struct SessionState {
    /// Present while a statement runs: its number, and what stops it.
    statement: Option<(u64, CancellationToken)>,
    /// Number of the last statement that began.
    last_statement: u64,
    why_terminated: Option<&'static str>,
    tainted: bool,
    kept: Option<Box<dyn Any + Send>>,
}

/// A session's own view of itself. Clones are the same session; it ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    inner: Arc<Registration>,
}

#[derive(Debug)]
struct Registration {
    session: Arc<Session>,
    shared: Arc<Shared>,
}

/// Held while a statement runs.
#[derive(Debug)]
pub struct StatementGuard {
    session: Arc<Session>,
    number: u64,
    cancel: CancellationToken,
}

impl SessionRegistry {
    pub(super) fn new() -> SessionRegistry {
        SessionRegistry {
            shared: Arc::new(Shared {
                sessions: Mutex::default(),
                ended: watch::Sender::new(0),
            }),
        }
    }

    /// Registers a connection of `user` to `database`.
    pub fn register(&self, user: &str, database: &str) -> SessionHandle {
        let secret = runtime::rng("session secret").next_u32() as i32;
        let mut sessions = self.shared.sessions.lock();
        sessions.last += 1;
        let id = SessionId(sessions.last);
        // Process ids are positive and may come again after two thousand million sessions; session ids do not.
        let pid = (id.0 % i32::MAX as u64) as i32 + 1;
        let session = Arc::new(Session {
            id,
            pid,
            secret,
            user: user.to_owned(),
            database: database.to_owned(),
            state: Mutex::default(),
            terminated: CancellationToken::new(),
        });
        sessions.live.insert(id, session.clone());
        SessionHandle {
            inner: Arc::new(Registration {
                session,
                shared: self.shared.clone(),
            }),
        }
    }

    /// Cancels the statement that runs in the session with this process id and secret. Whether there is one is not
    /// told: anybody may ask.
    pub fn cancel_statement(&self, pid: i32, secret: i32) {
        let session = {
            let sessions = self.shared.sessions.lock();
            sessions
                .live
                .values()
                .find(|session| session.pid == pid && session.secret == secret)
                .cloned()
        };
        if let Some(session) = session
            && let Some((_, statement)) = &session.state.lock().statement
        {
            statement.cancel();
        }
    }

    /// Tells the sessions of a database to end; `why` is what their clients are told. Does not wait for it.
    pub fn end_in(&self, database: &str, why: &'static str) {
        let sessions = self.shared.sessions.lock();
        let of_database = sessions.live.values().filter(|session| session.database == database);
        of_database.for_each(|session| session.terminate(why));
    }

    /// Ends every session but `spare` and waits until they are gone, [`KILL_LIMIT`] at most; gives how many there were.
    ///
    /// Running statements are cancelled; `why` is what their clients are told. Sessions that register meanwhile are
    /// not touched.
    pub async fn kill_all(&self, spare: Option<SessionId>, why: &'static str) -> usize {
        pause(buggify!("engine.kill_late", 1..=2000)).await;
        self.kill_within(KILL_LIMIT, spare, why).await
    }

    /// As [`kill_all`](Self::kill_all), waiting for `limit` at most.
    pub async fn kill_within(&self, limit: Duration, spare: Option<SessionId>, why: &'static str) -> usize {
        let mut ended = self.shared.ended.subscribe();
        let asked: Vec<Arc<Session>> = {
            let sessions = self.shared.sessions.lock();
            sessions
                .live
                .values()
                .filter(|session| Some(session.id) != spare)
                .cloned()
                .collect()
        };
        for session in &asked {
            session.terminate(why);
        }
        let count = asked.len();
        sometimes!(count > 0, "engine.sessions_killed");
        let ids: Vec<SessionId> = asked.iter().map(|session| session.id).collect();
        drop(asked);
        let all_ended = ended.wait_for(|_| self.alive(&ids).is_empty());
        if let Ok(ended) = runtime::timeout(limit, all_ended).await {
            ended.expect("the registry holds the sender");
            return count;
        }
        for session in self.alive(&ids) {
            warn!(
                session = session.id.0,
                pid = session.pid,
                user = session.user,
                database = session.database,
                limit_millis = limit.as_millis(),
                "a session did not end when it was told to, and is not waited for any longer"
            );
            session.let_go();
        }
        count
    }

    fn alive(&self, ids: &[SessionId]) -> Vec<Arc<Session>> {
        let sessions = self.shared.sessions.lock();
        ids.iter().filter_map(|id| sessions.live.get(id)).cloned().collect()
    }

    /// Asks one session to end; false when there is none of this process id.
    pub fn terminate(&self, pid: i32, why: &'static str) -> bool {
        let sessions = self.shared.sessions.lock();
        match sessions.live.values().find(|session| session.pid == pid) {
            Some(session) => {
                session.terminate(why);
                true
            }
            None => false,
        }
    }

    /// Marks a session as good for nothing more: after a change of role its view of the server is stale.
    pub fn taint(&self, id: SessionId) {
        if let Some(session) = self.shared.sessions.lock().live.get(&id) {
            session.state.lock().tainted = true;
        }
    }

    pub fn is_tainted(&self, id: SessionId) -> bool {
        self.shared
            .sessions
            .lock()
            .live
            .get(&id)
            .is_some_and(|session| session.state.lock().tainted)
    }

    /// How many sessions are connected to `database`.
    pub fn count_in(&self, database: &str) -> usize {
        self.shared
            .sessions
            .lock()
            .live
            .values()
            .filter(|session| session.database == database)
            .count()
    }

    pub fn count(&self) -> usize {
        self.shared.sessions.lock().live.len()
    }

    /// Everyone, oldest first.
    pub fn list(&self) -> Vec<SessionInfo> {
        self.shared
            .sessions
            .lock()
            .live
            .values()
            .map(|session| session.info())
            .collect()
    }
}

impl Session {
    fn terminate(&self, why: &'static str) {
        let mut state = self.state.lock();
        state.why_terminated.get_or_insert(why);
        if let Some((_, statement)) = &state.statement {
            statement.cancel();
        }
        self.terminated.cancel();
    }

    /// Whoever comes second finds nothing left.
    fn let_go(&self) {
        let kept = self.state.lock().kept.take();
        drop(kept);
    }

    fn info(&self) -> SessionInfo {
        let state = self.state.lock();
        SessionInfo {
            id: self.id,
            pid: self.pid,
            user: self.user.clone(),
            database: self.database.clone(),
            tainted: state.tainted,
            terminating: state.why_terminated.is_some(),
        }
    }
}

impl SessionHandle {
    pub fn id(&self) -> SessionId {
        self.inner.session.id
    }

    /// What the client is told as its backend's process id.
    pub fn pid(&self) -> i32 {
        self.inner.session.pid
    }

    /// What the client must show to cancel a statement.
    pub fn secret(&self) -> i32 {
        self.inner.session.secret
    }

    pub fn user(&self) -> &str {
        &self.inner.session.user
    }

    pub fn database(&self) -> &str {
        &self.inner.session.database
    }

    /// Keeps `what` until the session ends, or is no longer waited for after it was told to end; then it is dropped.
    pub fn keep(&self, what: impl Any + Send) {
        self.inner.session.state.lock().kept = Some(Box::new(what));
    }

    /// Says that a statement begins; it ends when the guard is dropped, or when the next one begins. A statement of a
    /// session that is being ended starts cancelled.
    pub fn begin_statement(&self) -> StatementGuard {
        let cancel = CancellationToken::new();
        let mut state = self.inner.session.state.lock();
        if state.why_terminated.is_some() {
            cancel.cancel();
        }
        state.last_statement += 1;
        let number = state.last_statement;
        state.statement = Some((number, cancel.clone()));
        drop(state);
        StatementGuard {
            session: self.inner.session.clone(),
            number,
            cancel,
        }
    }

    /// Whether the statement that runs at this moment is asked to stop.
    pub fn is_statement_cancelled(&self) -> bool {
        let state = self.inner.session.state.lock();
        let statement = state.statement.as_ref();
        statement.is_some_and(|(_, cancel)| cancel.is_cancelled())
    }

    /// Waits until the session is asked to end; gives why.
    pub async fn terminated(&self) -> &'static str {
        self.inner.session.terminated.cancelled().await;
        self.why_terminated()
            .expect("the reason is set before the token is cancelled")
    }

    /// Why the session was asked to end, if it was.
    pub fn why_terminated(&self) -> Option<&'static str> {
        self.inner.session.state.lock().why_terminated
    }

    pub fn is_tainted(&self) -> bool {
        self.inner.session.state.lock().tainted
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.sessions.lock().live.remove(&self.session.id);
        // Others may hold the session for a moment longer: a guard of its statement, whoever told it to end.
        self.session.let_go();
        self.shared.ended.send_modify(|ended| *ended += 1);
    }
}

impl StatementGuard {
    /// Waits until the statement is asked to stop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// For handing into work that outlives a borrow of the guard.
    pub fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

impl Drop for StatementGuard {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        // The slot may be another statement's by now.
        state.statement.take_if(|(number, _)| *number == self.number);
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
