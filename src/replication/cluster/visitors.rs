//! Who is connected to the cluster port, and for how long.
//!
//! A connection is a stranger's until a request on it was authenticated. Strangers leave soon, and when all their places
//! are taken the next one takes the place of the oldest: a member authenticates within a round trip or two and gets in
//! however many strangers hold on to theirs.
//!
//! Invariants
//! - At most [`STRANGERS_MAX`] connections are strangers', each for [`STRANGER_LIMIT`] at most.
//! - A member's connection is closed when nothing was replicated over it for [`MEMBER_IDLE_LIMIT`]: what a broken network
//!   leaves behind does not pile up.
//!
//! Must not know: requests, tokens, how a connection is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::runtime::{self, Instant, sometimes};

/// A pair needs one, and one now and then for a key document; this is for clusters of dozens that all start at once.
pub const STRANGERS_MAX: usize = 64;
pub const STRANGER_LIMIT: Duration = Duration::from_secs(10);
const MEMBER_IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How often the log tells what strangers can bring about at will.
const LOG_EVERY: Duration = Duration::from_secs(10);

pub struct Visitors {
    stranger_limit: Duration,
    member_idle_limit: Duration,
    strangers: Mutex<Strangers>,
    displaced: Throttle,
}

#[derive(Default)]
struct Strangers {
    last: u64,
    /// By the order of arrival.
    present: BTreeMap<u64, CancellationToken>,
}

/// One connection.
pub struct Visitor {
    visitors: Arc<Visitors>,
    number: u64,
    state: Mutex<State>,
    displaced: CancellationToken,
}

struct State {
    is_member: bool,
    streams: usize,
    /// When it arrived, was last authenticated, or ended its last stream.
    idle_since: Instant,
}

/// Held while a stream is served.
pub struct OpenStream(Arc<Visitor>);

impl Visitors {
    pub fn new() -> Arc<Visitors> {
        Visitors::with_limits(STRANGER_LIMIT, MEMBER_IDLE_LIMIT)
    }

    fn with_limits(stranger_limit: Duration, member_idle_limit: Duration) -> Arc<Visitors> {
        Arc::new(Visitors {
            stranger_limit,
            member_idle_limit,
            strangers: Mutex::default(),
            displaced: Throttle::new(LOG_EVERY),
        })
    }

    /// Somebody connected.
    pub fn arrive(self: &Arc<Self>) -> Arc<Visitor> {
        let displaced = CancellationToken::new();
        let mut strangers = self.strangers.lock();
        strangers.last += 1;
        let number = strangers.last;
        if strangers.present.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = strangers.present.pop_first()
        {
            oldest.cancel();
            sometimes!("replication.stranger_displaced");
            if let Some(unlogged) = self.displaced.pass() {
                warn!(
                    limit = STRANGERS_MAX,
                    unlogged, "too many unauthenticated connections on the cluster port: the oldest is closed"
                );
            }
        }
        strangers.present.insert(number, displaced.clone());
        drop(strangers);
        Arc::new(Visitor {
            visitors: self.clone(),
            number,
            state: Mutex::new(State {
                is_member: false,
                streams: 0,
                idle_since: runtime::now(),
            }),
            displaced,
        })
    }

    fn forget(&self, number: u64) {
        self.strangers.lock().present.remove(&number);
    }
}

impl Visitor {
    /// A request on this connection was authenticated.
    pub fn authenticated(&self) {
        let mut state = self.state.lock();
        state.idle_since = runtime::now();
        if !std::mem::replace(&mut state.is_member, true) {
            self.visitors.forget(self.number);
        }
    }

    /// A stream begins on this connection.
    pub fn stream(self: &Arc<Self>) -> OpenStream {
        self.state.lock().streams += 1;
        OpenStream(self.clone())
    }

    /// Waits until the connection is to be closed.
    pub async fn overstayed(&self) {
        loop {
            let due = self.due();
            if due <= runtime::now() {
                return;
            }
            tokio::select! {
                biased;
                () = self.displaced.cancelled() => {
                    // It may have become a member's in the same moment.
                    if !self.state.lock().is_member {
                        return;
                    }
                    runtime::sleep_until(due).await;
                }
                () = runtime::sleep_until(due) => {}
            }
        }
    }

    fn due(&self) -> Instant {
        let (state, visitors) = (self.state.lock(), &self.visitors);
        match (state.is_member, state.streams) {
            (false, _) => state.idle_since + visitors.stranger_limit,
            (true, 0) => state.idle_since + visitors.member_idle_limit,
            (true, _) => runtime::now() + visitors.member_idle_limit,
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.visitors.forget(self.number);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.streams -= 1;
        state.idle_since = runtime::now();
    }
}

/// Lets one line through now and then, so that strangers cannot fill the log.
pub struct Throttle {
    every: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    pub fn for_strangers() -> Throttle {
        Throttle::new(LOG_EVERY)
    }

    fn new(every: Duration) -> Throttle {
        Throttle {
            every,
            state: Mutex::default(),
        }
    }

    /// Whether to log now; then also how many lines were held back since the last.
    pub fn pass(&self) -> Option<u64> {
        let (last, held_back) = &mut *self.state.lock();
        if last.is_some_and(|last| last.elapsed() < self.every) {
            *held_back += 1;
            return None;
        }
        *last = Some(runtime::now());
        Some(std::mem::take(held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const STAY: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_stranger_leaves_after_its_time_and_a_member_when_idle() {
        let visitors = Visitors::with_limits(STAY, STAY * 4);
        let (stranger, member) = (visitors.arrive(), visitors.arrive());
        member.authenticated();
        let stream = member.stream();
        let begun = runtime::now();
        stranger.overstayed().await;
        assert!(begun.elapsed() >= STAY);
        let stay = runtime::timeout(STAY * 8, member.overstayed()).await;
        assert!(stay.is_err(), "something is being replicated");
        drop(stream);
        let begun = runtime::now();
        member.overstayed().await;
        assert!(begun.elapsed() >= STAY * 4);
    }

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_a_member_never_does() {
        let visitors = Visitors::new();
        let member = visitors.arrive();
        member.authenticated();
        let mut strangers: Vec<_> = (0..STRANGERS_MAX).map(|_| visitors.arrive()).collect();
        let has_to_go = |visitor: &Arc<Visitor>| visitor.overstayed().now_or_never().is_some();
        assert!(!strangers.iter().any(has_to_go));
        let late = visitors.arrive();
        assert!(has_to_go(&strangers[0]));
        assert!(!strangers[1..].iter().any(has_to_go));
        drop(strangers.pop());
        let newest = visitors.arrive();
        assert!(!has_to_go(&strangers[1]) && !has_to_go(&late) && !has_to_go(&newest) && !has_to_go(&member));
    }

    #[test]
    fn what_strangers_repeat_is_not_logged_each_time() {
        let throttle = Throttle::new(Duration::from_secs(3600));
        assert_eq!(
            (throttle.pass(), throttle.pass(), throttle.pass()),
            (Some(0), None, None)
        );
        throttle.state.lock().0 = None;
        assert_eq!(throttle.pass(), Some(2), "and how often it was is");
    }
}
