//! The keys of the configured peers, and who a request comes from.
//!
//! One fetcher per standby remote reads its key document at start, every half minute, a second after a failure, and
//! when a request shows a key that nobody knows yet (a peer that restarted has a new one). Trust is the configuration:
//! a key is believed because a configured endpoint served it.
//!
//! Invariants
//! - Without a fetched key every request is refused.
//! - A peer that does not answer keeps nobody else from being authenticated.
//! - Strangers cause at most one extra round of fetches a second, and wait for it no longer than its limit.
//!
//! Source: spec/cluster.md 6.3, 6.4; checks C-184, C-185, C-188.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use super::identity::ServerId;
use super::peer::Peer;
use super::token::{PublicKey, TokenError, UnverifiedToken, parse_document};
use crate::runtime::{self, AbortOnDrop, Instant};

const REFETCH_EVERY: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(1);
const EXTRA_ROUND_EVERY: Duration = Duration::from_secs(1);
/// Keys of a peer whose document cannot be fetched are trusted no longer than this.
const TRUSTED_FOR: Duration = Duration::from_secs(300);
const WAIT_FOR_KEY: Duration = Duration::from_secs(5);
/// Requests that may wait for a key at once, of whomever: a peer that restarted has a few, and who is refused tries again.
const WAITING_MAX: usize = 256;

#[derive(Clone)]
pub struct KeyRing {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The number of the newest extra round; fetchers wait on it.
    wanted: watch::Sender<u64>,
    /// Changes whenever a fetch has ended.
    ended: watch::Sender<u64>,
    waiting: Semaphore,
}

struct State {
    peers: Vec<PeerKeys>,
    last_extra_round: Option<Instant>,
}

#[derive(Clone, Default)]
struct PeerKeys {
    keys: Vec<PublicKey>,
    fetched: Option<Instant>,
    /// The newest round that had been asked for when the last finished attempt began.
    attempted: u64,
}

impl KeyRing {
    pub fn new(peers: usize) -> KeyRing {
        let state = State {
            peers: vec![PeerKeys::default(); peers],
            last_extra_round: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            wanted: watch::Sender::new(1),
            ended: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING_MAX),
        };
        KeyRing {
            shared: Arc::new(shared),
        }
    }

    /// One task per peer; they stop when the returned handles are dropped.
    pub fn start_fetching(&self, peers: &[Arc<Peer>]) -> Vec<AbortOnDrop<()>> {
        let fetcher = |(index, peer): (usize, &Arc<Peer>)| {
            runtime::spawn("key fetcher", self.clone().fetch(index, peer.clone())).abort_on_drop()
        };
        peers.iter().enumerate().map(fetcher).collect()
    }

    async fn fetch(self, index: usize, peer: Arc<Peer>) {
        let mut wanted = self.shared.wanted.subscribe();
        let mut failing = false;
        loop {
            let round = *wanted.borrow_and_update();
            let fetched = match peer.fetch_document().await {
                Ok(bytes) => parse_document(&bytes).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let succeeded = fetched.is_ok();
            match fetched {
                Ok(keys) => self.learn(index, keys),
                // Once for each time it stops working: a peer that is down is retried every second.
                Err(error) if !failing => {
                    warn!(remote = %peer.name, address = %peer.authority(), %error, "fetching the key document failed");
                }
                Err(error) => debug!(remote = %peer.name, %error, "fetching the key document failed again"),
            }
            failing = !succeeded;
            self.shared.state.lock().peers[index].attempted = round;
            self.shared.ended.send_modify(|ended| *ended += 1);
            let pause = if succeeded { REFETCH_EVERY } else { RETRY_AFTER };
            tokio::select! {
                biased;
                changed = wanted.changed() => if changed.is_err() { return },
                () = runtime::sleep(pause) => {}
            }
        }
    }

    fn learn(&self, index: usize, keys: Vec<PublicKey>) {
        let peer = &mut self.shared.state.lock().peers[index];
        peer.keys = keys;
        peer.fetched = Some(runtime::now());
    }

    fn key(&self, kid: &str) -> Option<PublicKey> {
        let state = self.shared.state.lock();
        let trusted = |peer: &&PeerKeys| peer.fetched.is_some_and(|fetched| fetched.elapsed() < TRUSTED_FOR);
        state
            .peers
            .iter()
            .filter(trusted)
            .flat_map(|peer| &peer.keys)
            .find(|key| key.kid == kid)
            .cloned()
    }

    /// Gives the server that signed, from the value of an `authorization` header.
    pub async fn authenticate(&self, authorization: &str) -> Result<ServerId, TokenError> {
        let token = UnverifiedToken::parse(authorization)?;
        let key = match self.key(&token.kid) {
            Some(key) => key,
            None => self.wait_for_key(&token.kid).await.ok_or(TokenError::UnknownKey)?,
        };
        token.verify(&key, runtime::wall_clock())
    }

    /// Asks every fetcher for another round, and waits until the key is there or all of them have tried.
    async fn wait_for_key(&self, kid: &str) -> Option<PublicKey> {
        let _place = self.shared.waiting.try_acquire().ok()?;
        let mut ended = self.shared.ended.subscribe();
        let round = self.ask_for_round();
        let found = async {
            loop {
                if let Some(key) = self.key(kid) {
                    return Some(key);
                }
                if self
                    .shared
                    .state
                    .lock()
                    .peers
                    .iter()
                    .all(|peer| peer.attempted >= round)
                {
                    return None;
                }
                ended.changed().await.ok()?;
            }
        };
        runtime::timeout(WAIT_FOR_KEY, found).await.ok().flatten()
    }

    /// The number of the round to wait for: a new one, or within a second of the last the last.
    fn ask_for_round(&self) -> u64 {
        let mut state = self.shared.state.lock();
        let due = state
            .last_extra_round
            .is_none_or(|last| last.elapsed() >= EXTRA_ROUND_EVERY);
        if due {
            state.last_extra_round = Some(runtime::now());
            self.shared.wanted.send_modify(|round| *round += 1);
        }
        *self.shared.wanted.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::cluster::token::TokenSigner;

    const SERVER: ServerId = ServerId([1; 16]);

    fn ring_with(signer: &TokenSigner) -> KeyRing {
        let ring = KeyRing::new(1);
        ring.learn(0, parse_document(signer.document().as_bytes()).unwrap());
        ring
    }

    #[tokio::test]
    async fn a_fetched_key_authenticates_its_owner() {
        let signer = TokenSigner::generate(SERVER);
        let ring = ring_with(&signer);
        assert_eq!(
            ring.authenticate(&signer.authorization(runtime::wall_clock())).await,
            Ok(SERVER)
        );
    }

    /// The last round has been attempted by everyone, so that nobody waits.
    #[tokio::test]
    async fn c_185_a_server_that_is_not_configured_here_is_refused() {
        let ring = ring_with(&TokenSigner::generate(SERVER));
        ring.shared.state.lock().peers[0].attempted = u64::MAX;
        let stranger = TokenSigner::generate(ServerId([2; 16]));
        let authorization = stranger.authorization(runtime::wall_clock());
        assert_eq!(ring.authenticate(&authorization).await, Err(TokenError::UnknownKey));
    }

    #[tokio::test]
    async fn without_keys_everybody_is_refused() {
        let ring = KeyRing::new(1);
        ring.shared.state.lock().peers[0].attempted = u64::MAX;
        let signer = TokenSigner::generate(SERVER);
        let authorization = signer.authorization(runtime::wall_clock());
        assert_eq!(ring.authenticate(&authorization).await, Err(TokenError::UnknownKey));
    }

    /// A peer restarts with a new key: the request that shows it first waits for the fetch and is served.
    #[tokio::test]
    async fn c_184_an_unknown_key_is_fetched_before_the_answer() {
        let ring = ring_with(&TokenSigner::generate(SERVER));
        let restarted = TokenSigner::generate(SERVER);
        let mut wanted = ring.shared.wanted.subscribe();
        wanted.borrow_and_update();
        let authorization = restarted.authorization(runtime::wall_clock());
        let request = ring.authenticate(&authorization);
        let fetch = async {
            wanted.changed().await.unwrap();
            ring.learn(0, parse_document(restarted.document().as_bytes()).unwrap());
            ring.shared.ended.send_modify(|ended| *ended += 1);
        };
        let (authenticated, ()) = tokio::join!(request, fetch);
        assert_eq!(authenticated, Ok(SERVER));
    }

    /// Strangers who make up keys hold no more than so many requests.
    #[tokio::test]
    async fn beyond_a_bound_nobody_waits_for_a_key() {
        let ring = KeyRing::new(1);
        let authorization = TokenSigner::generate(SERVER).authorization(runtime::wall_clock());
        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let mut request = Box::pin(ring.authenticate(&authorization));
            assert!(futures::poll!(&mut request).is_pending());
            waiting.push(request);
        }
        assert_eq!(ring.authenticate(&authorization).await, Err(TokenError::UnknownKey));
        waiting.pop();
        assert!(futures::poll!(Box::pin(ring.authenticate(&authorization))).is_pending());
    }

    #[tokio::test]
    async fn strangers_cause_one_extra_round_a_second() {
        let ring = KeyRing::new(1);
        let first = ring.ask_for_round();
        assert_eq!((0..100).map(|_| ring.ask_for_round()).max(), Some(first));
    }
}
