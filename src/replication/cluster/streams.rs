//! Which of a primary's streams takes in a database.
//!
//! A primary has one stream for each database. When its connection breaks and this side does not notice, the stream over
//! it is still served while its successor begins: the successor wins.
//!
//! Invariants
//! - Of the streams that a peer opened for a database, the one admitted last is current. Its claim displaces whoever was
//!   admitted before it, and whoever was admitted before it can no longer claim.
//! - One stream at a time has the turn, and gets it only when every stream that it displaced is over.
//!
//! Must not know: messages, roles, what is taken in.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::identity::ServerId;
use crate::engine::DatabaseId;
use crate::runtime::sometimes;

/// Whose stream, and what it carries.
pub type StreamKey = (ServerId, DatabaseId);

/// Streams in the order in which their peers were authenticated and admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Admission(u64);

/// All streams that are taken in. Clones are the same.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    admitted: u64,
    keys: BTreeMap<StreamKey, Claims>,
}

/// The claims to one key that are held, of which one is current.
struct Claims {
    held: usize,
    current: Admission,
    /// Cancelled when the current claim is displaced.
    displaced: CancellationToken,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A stream's right to take in a database, until it is displaced. Given up when dropped.
pub struct Claim {
    streams: Streams,
    key: StreamKey,
    displaced: CancellationToken,
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a newer stream of the same primary replicates this database")]
pub struct Displaced;

impl Streams {
    /// A peer was admitted with a stream; which database it is about is not known yet.
    pub fn admit(&self) -> Admission {
        let mut state = self.0.lock();
        state.admitted += 1;
        Admission(state.admitted)
    }

    /// # Errors
    /// When a stream that was admitted later is there already.
    pub fn claim(&self, key: StreamKey, admission: Admission) -> Result<Claim, Displaced> {
        let mut state = self.0.lock();
        let claims = state.keys.entry(key).or_insert_with(|| Claims {
            held: 0,
            current: admission,
            displaced: CancellationToken::new(),
            turn: Arc::default(),
        });
        if admission < claims.current {
            return Err(Displaced);
        }
        sometimes!(claims.held > 0, "replication.stream_superseded");
        // Without a holder this is nobody's.
        std::mem::take(&mut claims.displaced).cancel();
        claims.held += 1;
        claims.current = admission;
        Ok(Claim {
            streams: self.clone(),
            key,
            displaced: claims.displaced.clone(),
            turn: claims.turn.clone(),
        })
    }
}

impl Claim {
    /// Waits until every stream that was displaced is over.
    pub fn turn(&self) -> impl Future<Output = OwnedMutexGuard<()>> + use<> {
        self.turn.clone().lock_owned()
    }

    /// Completes when a newer stream has claimed the key.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    pub fn check(&self) -> Result<(), Displaced> {
        match self.displaced.is_cancelled() {
            true => Err(Displaced),
            false => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.streams.0.lock();
        let claims = state.keys.get_mut(&self.key).expect("a held claim is listed");
        claims.held -= 1;
        if claims.held == 0 {
            state.keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const KEY: StreamKey = (ServerId([1; 16]), DatabaseId::SYSTEM);

    #[test]
    fn the_last_admitted_claim_is_current_in_whatever_order_they_come() {
        let streams = Streams::default();
        let [first, second, third] = [streams.admit(), streams.admit(), streams.admit()];
        let second = streams.claim(KEY, second).unwrap();
        assert_eq!(streams.claim(KEY, first).err(), Some(Displaced));
        assert_eq!(second.check(), Ok(()));
        let third = streams.claim(KEY, third).unwrap();
        assert_eq!((second.check(), third.check()), (Err(Displaced), Ok(())));
        assert!(second.displaced().now_or_never().is_some() && third.displaced().now_or_never().is_none());
        let other = streams.claim((ServerId([2; 16]), DatabaseId::SYSTEM), first).unwrap();
        assert_eq!((other.check(), third.check()), (Ok(()), Ok(())));
    }

    #[test]
    fn the_turn_comes_when_everybody_displaced_is_over() {
        let streams = Streams::default();
        let claim = || streams.claim(KEY, streams.admit()).unwrap();
        let first = claim();
        let first_turn = first.turn().now_or_never().expect("nobody else is there");
        let second = claim();
        let mut second_turn = Box::pin(second.turn());
        assert!((&mut second_turn).now_or_never().is_none());
        let third = claim();
        let mut third_turn = Box::pin(third.turn());
        // One that gave up while it waited does not let its successor past the first.
        drop((second_turn, second));
        assert!((&mut third_turn).now_or_never().is_none());
        drop((first_turn, first));
        assert!((&mut third_turn).now_or_never().is_some());
    }

    #[test]
    fn a_displaced_claim_that_outlives_the_current_one_stays_displaced() {
        let streams = Streams::default();
        let claim = || streams.claim(KEY, streams.admit()).unwrap();
        let (first, second) = (claim(), claim());
        let turn = first.turn().now_or_never().unwrap();
        drop(second);
        let third = claim();
        assert_eq!((first.check(), third.check()), (Err(Displaced), Ok(())));
        assert!(third.turn().now_or_never().is_none());
        drop((first, turn, third));
        assert!(
            streams.0.lock().keys.is_empty(),
            "nothing is kept of streams that are over"
        );
    }
}
