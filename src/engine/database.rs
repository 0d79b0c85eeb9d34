//! One database: a store, the snapshots of its newest roots, and its commit turn.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::RngCore;
use tokio::sync::watch;

use super::snapshot::Snapshot;
use super::{ClusterControl, EngineError, SessionRegistry, Transaction, WriteGate};
use crate::chunk::{ChunkStore, Hash, RootRecord};
use crate::runtime::{self, Instant};

/// The name of the hidden database that holds what users do not version. No client can type it.
pub const SYSTEM_DATABASE: &str = "\u{1}system";

/// How long a statement that runs again keeps the others that lost a conflict waiting. Most are done in milliseconds; one
/// that takes minutes competes with everybody from here on.
pub const TURN_LIMIT: Duration = Duration::from_secs(1);

/// The turn of one who lost a conflict; over when it is dropped.
#[derive(Debug)]
pub struct Turn {
    until: Instant,
    _queue: tokio::sync::OwnedMutexGuard<()>,
}

impl Turn {
    /// When the next one is to have it, whether the statement has come through or not.
    pub fn until(&self) -> Instant {
        self.until
    }
}

/// Tells a database from every other that ever had its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseId([u8; 16]);

impl DatabaseId {
    /// The system database is the same one on every server of a cluster.
    pub const SYSTEM: DatabaseId = DatabaseId([0; 16]);

    pub(super) fn random() -> DatabaseId {
        let mut bytes = [0; 16];
        runtime::rng("database id").fill_bytes(&mut bytes);
        DatabaseId(bytes)
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> DatabaseId {
        DatabaseId(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DatabaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a database: 32 hexadecimal digits are expected")]
pub struct ParseDatabaseIdError;

impl FromStr for DatabaseId {
    type Err = ParseDatabaseIdError;

    fn from_str(text: &str) -> Result<DatabaseId, ParseDatabaseIdError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseDatabaseIdError);
        }
        u128::from_str_radix(text, 16)
            .map(|id| DatabaseId(id.to_be_bytes()))
            .map_err(|_| ParseDatabaseIdError)
    }
}

/// A database. Clones are the same database.
#[derive(Clone)]
pub struct Database {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub name: String,
    pub id: DatabaseId,
    pub store: ChunkStore,
    /// Who holds this may append a root. Fair: first come, first served.
    pub turn: tokio::sync::Mutex<()>,
    /// Who lost a conflict and runs again stands in this queue.
    pub losers: Arc<tokio::sync::Mutex<()>>,
    pub snapshots: Mutex<Snapshots>,
    pub shared: Arc<Shared>,
    /// Set when the database is dropped, before its files go.
    pub dropped: AtomicBool,
    /// What a search for a root's chunks had received when it was cut off: see `replicated.rs`.
    pub unfinished: Mutex<BTreeMap<Hash, Bytes>>,
}

/// The newest roots, decoded.
pub(super) struct Snapshots {
    /// `None` until the first root.
    published: Option<Recorded>,
    /// Appended and not yet seen to be published, by sequence.
    pending: VecDeque<Recorded>,
    /// Every snapshot that somebody may still read, and some that nobody does.
    read: Vec<Weak<Snapshot>>,
}

/// A root: its record and its content.
#[derive(Clone)]
struct Recorded {
    record: RootRecord,
    snapshot: Arc<Snapshot>,
}

/// Keeps the content of one root from being collected while it lives.
#[derive(Debug, Clone)]
pub struct RootHold(#[expect(dead_code, reason = "held for its count")] Arc<Snapshot>);

/// What all databases of an engine have in common.
pub(super) struct Shared {
    pub gate: WriteGate,
    pub sessions: SessionRegistry,
    pub cluster: OnceLock<Arc<dyn ClusterControl>>,
    /// Bumped whenever the set of visible databases changes.
    pub generation: watch::Sender<u64>,
}

impl Database {
    /// Over an open store, at its published root.
    pub(super) fn open(
        name: &str,
        id: DatabaseId,
        store: ChunkStore,
        shared: Arc<Shared>,
    ) -> Result<Database, EngineError> {
        let record = store.published();
        let published = if record.root.is_none() {
            None
        } else {
            let snapshot = Arc::new(Snapshot::load(&store, record.root)?);
            Some(Recorded { record, snapshot })
        };
        Ok(Database {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                id,
                store,
                turn: tokio::sync::Mutex::new(()),
                losers: Arc::default(),
                snapshots: Mutex::new(Snapshots::new(published)),
                shared,
                dropped: AtomicBool::new(false),
                unfinished: Mutex::default(),
            }),
        })
    }

    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub fn id(&self) -> DatabaseId {
        self.inner.id
    }

    pub fn store(&self) -> &ChunkStore {
        &self.inner.store
    }

    /// The queue of those who lost a conflict and run again: one at a time, first come, first served.
    ///
    /// Who holds this competes only with writers that have not lost yet, and each of those joins the queue when it
    /// loses: on one hot row everybody gets through after at most as many tries as there are writers. A turn lasts
    /// [`TURN_LIMIT`] at most.
    pub async fn after_a_conflict(&self) -> Turn {
        let queue = self.inner.losers.clone().lock_owned().await;
        Turn {
            until: runtime::now() + TURN_LIMIT,
            _queue: queue,
        }
    }

    /// Whether there is a root to read. A database made by replication has none until its first root arrives; it is
    /// hidden from clients until then.
    pub fn has_root(&self) -> bool {
        self.inner.snapshots.lock().published(&self.inner.store).is_some()
    }

    /// A transaction over the newest published root, on branch `main`.
    ///
    /// # Panics
    /// If the database has no root yet: nobody is given such a database but replication.
    pub fn begin(&self) -> Transaction {
        let base = self.inner.snapshots.lock().published(&self.inner.store);
        Transaction::new(
            self.clone(),
            base.expect("a database without a root is not handed to clients"),
        )
    }

    /// The newest published root, held: it can be read in full for as long as the hold lives.
    ///
    /// `None` while there is no root. A root may be published a moment before it is seen here, and its commit returns.
    pub fn hold_published(&self) -> Option<(RootRecord, RootHold)> {
        let Recorded { record, snapshot } = self.inner.snapshots.lock().newest_published(&self.inner.store)?;
        Some((record, RootHold(snapshot)))
    }

    /// Whether the database was dropped while somebody held it.
    pub fn is_dropped(&self) -> bool {
        self.inner.dropped.load(Ordering::Acquire)
    }

    /// Ends the database for everybody who still has it, and waits until its files are at rest: they may be moved or
    /// removed then.
    pub(super) async fn retire(&self) {
        self.inner.dropped.store(true, Ordering::Release);
        // Whoever has the turn may be exchanging files; whoever gets it next sees that the database was dropped. It is
        // not held any longer: a collection may wait for it, and closing waits for that.
        drop(self.inner.turn.lock().await);
        self.inner.store.close("the database was dropped").await;
    }

    /// Waits until the disk has caught up: see [`ChunkStore::room`].
    pub(super) async fn room(&self) -> Result<(), EngineError> {
        let room = self.inner.store.room().await;
        // What was dropped is closed, too.
        self.refuse_when_dropped()?;
        Ok(room?)
    }

    pub(super) fn refuse_when_dropped(&self) -> Result<(), EngineError> {
        if self.is_dropped() {
            Err(EngineError::NoSuchDatabase {
                name: self.name().to_owned(),
            })
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({:?}, {})", self.inner.name, self.inner.id)
    }
}

impl Snapshots {
    fn new(published: Option<Recorded>) -> Snapshots {
        Snapshots {
            read: published.iter().map(|root| Arc::downgrade(&root.snapshot)).collect(),
            published,
            pending: VecDeque::new(),
        }
    }

    /// The snapshot of the newest published root.
    pub fn published(&mut self, store: &ChunkStore) -> Option<Arc<Snapshot>> {
        self.newest_published(store).map(|root| root.snapshot)
    }

    /// The newest published root. While its writer is about to enter it here, that is the one before.
    fn newest_published(&mut self, store: &ChunkStore) -> Option<Recorded> {
        let published = store.published().sequence;
        while let Some(root) = self.pending.pop_front_if(|root| root.record.sequence <= published) {
            self.published = Some(root);
        }
        self.published.clone()
    }

    /// The snapshot of the newest appended root: what the next commit builds on.
    pub fn newest(&self) -> Option<Arc<Snapshot>> {
        let newest = self.pending.back().or(self.published.as_ref());
        newest.map(|root| root.snapshot.clone())
    }

    /// Enters a root that was appended, before its commit goes on.
    pub fn appended(&mut self, record: RootRecord, snapshot: Arc<Snapshot>) {
        debug_assert!(
            self.pending
                .back()
                .is_none_or(|last| last.record.sequence < record.sequence),
            "roots are appended in order"
        );
        debug_assert_eq!(record.root, snapshot.root(), "a record names the root of its snapshot");
        if self.read.len() == self.read.capacity() {
            self.read.retain(|snapshot| snapshot.strong_count() > 0);
        }
        self.read.push(Arc::downgrade(&snapshot));
        self.pending.push_back(Recorded { record, snapshot });
    }

    /// The roots of all snapshots that somebody reads, or may come to read.
    pub fn roots_read(&mut self) -> Vec<Hash> {
        self.read.retain(|snapshot| snapshot.strong_count() > 0);
        let read = self.read.iter().filter_map(Weak::upgrade);
        read.map(|snapshot| snapshot.root()).collect()
    }
}

impl Shared {
    pub fn new(gate: WriteGate) -> Arc<Shared> {
        Arc::new(Shared {
            gate,
            sessions: SessionRegistry::new(),
            cluster: OnceLock::new(),
            generation: watch::Sender::new(0),
        })
    }

    /// The epoch that roots are stamped with; 0 outside a cluster.
    pub fn epoch(&self) -> u64 {
        self.cluster.get().map_or(0, |cluster| cluster.epoch())
    }

    pub fn databases_changed(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}
