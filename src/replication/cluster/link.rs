//! What is known of the replication of one database to one standby, and of all of them together.
//!
//! Links are made anew at every change of role: errors, acknowledgements and times of the former one say nothing about
//! the new one (spec/cluster.md 2.7).
//!
//! Must not know: the wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::peer::Peer;
use crate::chunk::{Hash, RootRecord};
use crate::engine::{Database, DatabaseId, Engine};
use crate::runtime::{self, Instant, WallTime, sometimes};

/// A database and a standby, by the position of the standby in the configuration.
pub type LinkKey = (DatabaseId, usize);

pub struct Link {
    pub key: LinkKey,
    pub database: Database,
    pub peer: Arc<Peer>,
    /// The standby must have this root of the system database before it can know this database.
    pub listed_at: u64,
    state: Mutex<LinkState>,
    table: watch::Sender<u64>,
    kick: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct LinkState {
    /// The newest root the standby has confirmed to have durably, as recorded here.
    pub acknowledged: Option<RootRecord>,
    /// The newest moment at which something was sent or asked that the standby has agreed to since.
    pub confirmed: Option<Instant>,
    pub error: Option<String>,
    /// Acknowledgements, answered heartbeats, and new questions of a standby that walks.
    pub progress: u64,
    /// Chunks were sent after what was acknowledged last. If the stream ends here, a walk keeps what has arrived.
    pub unfinished: bool,
    /// The first of the chunks that the standby asked for last.
    wanted: Option<Hash>,
    failing: bool,
}

impl Link {
    pub fn state(&self) -> LinkState {
        self.state.lock().clone()
    }

    /// By sequence, not by root: content that comes back has the root it had, and what lies between may still be on its
    /// way to the standby.
    pub fn is_caught_up(&self) -> bool {
        let newest = self.database.store().pending().sequence;
        self.state
            .lock()
            .acknowledged
            .is_some_and(|record| record.sequence >= newest)
    }

    /// The standby has this root, durably. `sent` is when it was sent or asked about, if it was.
    pub fn acknowledged(&self, record: RootRecord, sent: Option<Instant>) {
        debug!(
            database = self.database.name(),
            remote = %self.peer.name,
            sequence = record.sequence,
            root = %record.root,
            "root acknowledged"
        );
        self.succeeded(|state| {
            state.acknowledged = Some(record);
            state.confirmed = state.confirmed.max(sent);
            state.unfinished = false;
        });
    }

    /// The standby says that this is its root. If it acknowledged another one, it has lost that, and what it has counts
    /// for nothing until it acknowledges again.
    pub fn stands_at(&self, root: Hash) {
        let mut state = self.state.lock();
        if state.acknowledged.is_some_and(|record| record.root != root) {
            state.acknowledged = None;
            drop(state);
            self.table.send_modify(|changes| *changes += 1);
        }
    }

    /// The standby answered what was asked at `asked`, and its root is the one it acknowledged.
    pub fn confirmed(&self, asked: Instant) {
        self.succeeded(|state| state.confirmed = state.confirmed.max(Some(asked)));
    }

    fn succeeded(&self, change: impl FnOnce(&mut LinkState)) {
        let mut state = self.state.lock();
        change(&mut state);
        state.progress += 1;
        state.error = None;
        if std::mem::take(&mut state.failing) {
            info!(database = %self.shown_name(), remote = %self.peer.name, "replication works again");
        }
        drop(state);
        self.table.send_modify(|changes| *changes += 1);
    }

    /// Something of the next root is on its way.
    pub fn began(&self) {
        self.state.lock().unfinished = true;
    }

    /// The standby asks for chunks, of which this is the first. If it asked for others last, it has got something since,
    /// which it keeps.
    pub fn wanted(&self, first: Hash) {
        let mut state = self.state.lock();
        if state.wanted.replace(first) != Some(first) {
            state.progress += 1;
        }
    }

    /// Logged when it begins: what fails is retried for ever, and each retry says the same.
    pub fn failed(&self, error: String) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.failing, true) {
            warn!(database = %self.shown_name(), remote = %self.peer.name, error, "replication failed and is retried");
        }
        state.error = Some(error);
        drop(state);
        self.table.send_modify(|changes| *changes += 1);
    }

    /// Not a failure of this link: it waits for another, which has this error.
    pub fn waiting(&self, error: Option<String>) {
        self.state.lock().error = error;
    }

    /// Asks for a sign of life now, whatever was planned.
    pub fn kick(&self) {
        self.kick.send_modify(|kicks| *kicks += 1);
    }

    pub fn watch_kicks(&self) -> watch::Receiver<u64> {
        self.kick.subscribe()
    }

    /// For logs and errors: the system database has a name nobody can type.
    pub fn shown_name(&self) -> String {
        shown_name(&self.database)
    }
}

pub fn shown_name(database: &Database) -> String {
    match database.id() == DatabaseId::SYSTEM {
        true => "(system)".to_owned(),
        false => database.name().to_owned(),
    }
}

/// All links, and when the standby side last heard of each database.
pub struct LinkTable {
    engine: Engine,
    peers: Vec<Arc<Peer>>,
    links: Mutex<BTreeMap<LinkKey, Arc<Link>>>,
    contacts: Mutex<BTreeMap<DatabaseId, WallTime>>,
    /// Changes with every success and failure of a link.
    changes: watch::Sender<u64>,
}

impl LinkTable {
    pub fn new(engine: Engine, peers: Vec<Arc<Peer>>) -> LinkTable {
        LinkTable {
            engine,
            peers,
            links: Mutex::default(),
            contacts: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn get(&self, key: LinkKey) -> Option<Arc<Link>> {
        self.links.lock().get(&key).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Link>> {
        self.links.lock().values().cloned().collect()
    }

    /// Forgets everything: the role changed.
    pub fn reset(&self) {
        self.links.lock().clear();
        self.contacts.lock().clear();
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Makes the links of databases that have none, and drops those of databases that are gone. Gives the keys of all
    /// there are now and those that are new.
    pub fn reconcile(&self) -> (Vec<LinkKey>, Vec<Arc<Link>>) {
        let stores = self.engine.all_stores();
        let listed_at = stores[0].store().published().sequence;
        let mut links = self.links.lock();
        let wanted: Vec<LinkKey> = stores
            .iter()
            .flat_map(|store| (0..self.peers.len()).map(|peer| (store.id(), peer)))
            .collect();
        links.retain(|key, _| wanted.contains(key));
        let mut new = Vec::new();
        for database in &stores {
            for (index, peer) in self.peers.iter().enumerate() {
                let key = (database.id(), index);
                links.entry(key).or_insert_with(|| {
                    let link = Arc::new(Link {
                        key,
                        database: database.clone(),
                        peer: peer.clone(),
                        listed_at,
                        state: Mutex::default(),
                        table: self.changes.clone(),
                        kick: watch::Sender::new(0),
                    });
                    new.push(link.clone());
                    link
                });
            }
        }
        drop(links);
        self.changes.send_modify(|changes| *changes += 1);
        (wanted, new)
    }

    /// A primary sent something for this database just now.
    pub fn contacted(&self, database: DatabaseId) {
        self.contacts.lock().insert(database, runtime::wall_clock());
    }

    pub fn last_contact(&self, database: DatabaseId) -> Option<WallTime> {
        self.contacts.lock().get(&database).copied()
    }

    /// Waits until every standby answered for every database something that was asked after now.
    pub async fn confirm_all(&self, limit: Duration) -> Result<(), Vec<String>> {
        let since = runtime::now();
        self.all().iter().for_each(|link| link.kick());
        self.until_all(limit, |link| {
            link.state.lock().confirmed.is_some_and(|confirmed| confirmed >= since)
        })
        .await
    }

    /// Waits until every standby has acknowledged the newest root of every database.
    pub async fn drain_all(&self, limit: Duration) -> Result<(), Vec<String>> {
        self.all().iter().for_each(|link| link.kick());
        sometimes!(!self.behind(&Link::is_caught_up).is_empty(), "replication.drain_waited");
        self.until_all(limit, Link::is_caught_up).await
    }

    async fn until_all(&self, limit: Duration, good: impl Fn(&Link) -> bool) -> Result<(), Vec<String>> {
        let mut changes = self.changes.subscribe();
        let all_good = async {
            while !self.behind(&good).is_empty() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let waited = runtime::timeout(limit, all_good).await;
        let behind = self.behind(&good);
        match (waited, behind.is_empty()) {
            (_, true) => Ok(()),
            (_, false) => Err(behind),
        }
    }

    /// What is not good, with the last error. Asks the engine what there is, so that a database without links yet is
    /// not overlooked.
    fn behind(&self, good: &impl Fn(&Link) -> bool) -> Vec<String> {
        let mut behind = Vec::new();
        for database in self.engine.all_stores() {
            for (index, peer) in self.peers.iter().enumerate() {
                let link = self.get((database.id(), index));
                if link.as_deref().is_some_and(good) {
                    continue;
                }
                let error = link
                    .and_then(|link| link.state().error)
                    .unwrap_or_else(|| "not caught up".to_owned());
                behind.push(format!(
                    "database {}, standby remote {}: {error}",
                    shown_name(&database),
                    peer.name
                ));
            }
        }
        behind
    }
}
