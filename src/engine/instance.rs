//! The engine: everything in one data folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::copy::copy_root;
use super::database::Shared;
use super::gate::WriteGate;
use super::{
    AutoCollect, ClusterControl, Database, DatabaseId, EngineError, ReadOnlyReason, Role, RoleRecord, SYSTEM_DATABASE,
    ScramVerifier, SessionRegistry, System, database_name_problem, folder, repair, system,
};
use crate::chunk::{ChunkBatch, ChunkCache, ChunkError, ChunkStore, RootRecord, StoreOptions};
use crate::runtime::disk::{Disk, LockGuard};
use crate::runtime::{self, WallTime};
use crate::version::{Commit, MAIN_BRANCH, Person, Refs, RootValue, WorkingSet};

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The role that a new data folder starts with.
    pub superuser: Superuser,
    /// Whether the write gate is closed to begin with, and why.
    pub read_only: Option<ReadOnlyReason>,
    pub store: StoreOptions,
    /// When garbage is collected without being asked; `None` for never.
    pub auto_collect: Option<AutoCollect>,
}

impl EngineOptions {
    /// Writable, with stores as they come.
    pub fn new(superuser: Superuser) -> EngineOptions {
        EngineOptions {
            superuser,
            read_only: None,
            store: StoreOptions::default(),
            auto_collect: Some(AutoCollect::default()),
        }
    }

    /// All stores together keep at most so much of what they read in memory.
    pub fn with_cache_bytes(mut self, bytes: u64) -> EngineOptions {
        self.store.cache = ChunkCache::new(usize::try_from(bytes).unwrap_or(usize::MAX));
        self
    }
}

#[derive(Clone)]
pub struct Superuser {
    pub name: String,
    pub password: String,
}

impl std::fmt::Debug for Superuser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Superuser({:?})", self.name)
    }
}

/// A listed database and whether it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseListing {
    pub name: String,
    pub id: DatabaseId,
    pub state: DatabaseState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    Available,
    /// Replication has not brought its first root.
    Awaited,
    Unavailable {
        reason: String,
    },
}

/// All databases of a data folder. Clones are the same engine; the folder is unlocked when the last one is dropped.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub disk: Disk,
    pub options: EngineOptions,
    pub shared: Arc<Shared>,
    pub system: System,
    pub databases: Mutex<BTreeMap<String, Entry>>,
    /// One creation, removal or reconciliation at a time.
    pub definitions: tokio::sync::Mutex<()>,
    /// Dropped with the engine, which ends what goes on beside it.
    alive: watch::Sender<()>,
    _lock: LockGuard,
}

/// Why a listed database cannot be used.
#[derive(Debug, Clone)]
pub(super) struct Unusable {
    pub reason: String,
    /// Its files are not what was written; else they are out of reach.
    pub damaged: bool,
}

/// A listed database.
#[derive(Clone)]
pub(super) struct Entry {
    pub id: DatabaseId,
    pub opened: Result<Database, Unusable>,
}

impl Engine {
    /// Locks the data folder and opens everything in it. A new folder gets a system database with one superuser, and no
    /// database.
    ///
    /// # Errors
    /// `FolderLocked`, `ForeignFolder`, `NewerFormat`, `DamagedFolder`; `Store` when a newer version wrote a database;
    /// `Store` and `Object` when the system database cannot be read. A
    /// damaged user database is not an error: it is listed as unavailable.
    pub async fn open(disk: Disk, options: EngineOptions) -> Result<Engine, EngineError> {
        let lock = folder::enter(&disk).await?;
        folder::is_no_backup_any_more(&disk).await?;
        repair::finish_interrupted(&disk, &options.store).await?;
        let shared = Shared::new(WriteGate::new(None));
        let system = System::new(open_system(&disk, &options, &shared).await?);

        let mut databases = BTreeMap::new();
        let mut folders = Vec::new();
        for (name, id) in system.databases()? {
            let opened = open_database(&disk, &options, &shared, &name, id).await?;
            folders.push(folder::database_folder(&name, id));
            databases.insert(name, Entry { id, opened });
        }
        folder::clear_leftovers(&disk, &folders, &options.store).await?;
        folder::clear_unfinished(&disk)?;
        if let Some(reason) = options.read_only {
            shared.gate.close(reason);
        }
        let (databases, definitions) = (Mutex::new(databases), tokio::sync::Mutex::new(()));
        let auto_collect = options.auto_collect;
        let engine = Engine {
            inner: Arc::new(Inner {
                disk,
                options,
                shared,
                system,
                databases,
                definitions,
                alive: watch::Sender::new(()),
                _lock: lock,
            }),
        };
        if let Some(when) = auto_collect {
            engine.collect_when_due(when);
        }
        Ok(engine)
    }

    /// # Errors
    /// `NoSuchDatabase`, also for a database whose first root has not arrived; `DatabaseUnavailable`.
    pub fn database(&self, name: &str) -> Result<Database, EngineError> {
        let databases = self.inner.databases.lock();
        match databases.get(name).map(|entry| &entry.opened) {
            Some(Ok(database)) if database.has_root() => Ok(database.clone()),
            Some(Ok(_)) | None => Err(EngineError::NoSuchDatabase { name: name.to_owned() }),
            Some(Err(unusable)) => Err(EngineError::DatabaseUnavailable {
                name: name.to_owned(),
                reason: unusable.reason.clone(),
                damaged: unusable.damaged,
            }),
        }
    }

    /// Every database that can be used, sorted by name, without the system database.
    pub fn databases(&self) -> Vec<Database> {
        let databases = self.inner.databases.lock();
        let opened = databases.values().filter_map(|entry| entry.opened.as_ref().ok());
        opened.filter(|database| database.has_root()).cloned().collect()
    }

    /// Every listed database, sorted by name, without the system database.
    pub fn listing(&self) -> Vec<DatabaseListing> {
        let databases = self.inner.databases.lock();
        let list = databases.iter().map(|(name, entry)| DatabaseListing {
            name: name.clone(),
            id: entry.id,
            state: match &entry.opened {
                Ok(database) if database.has_root() => DatabaseState::Available,
                Ok(_) => DatabaseState::Awaited,
                Err(unusable) => DatabaseState::Unavailable {
                    reason: unusable.reason.clone(),
                },
            },
        });
        list.collect()
    }

    /// The system database, then every store by name, also those that still await their first root: what replication
    /// ships and receives.
    pub fn all_stores(&self) -> Vec<Database> {
        let databases = self.inner.databases.lock();
        let opened = databases.values().filter_map(|entry| entry.opened.as_ref().ok());
        std::iter::once(self.inner.system.database())
            .chain(opened)
            .cloned()
            .collect()
    }

    /// A store of [`all_stores`](Self::all_stores) by the id of its database.
    pub fn store_of(&self, id: DatabaseId) -> Option<Database> {
        self.all_stores().into_iter().find(|database| database.id() == id)
    }

    /// Bumped whenever the set of usable databases changes.
    pub fn watch_databases(&self) -> watch::Receiver<u64> {
        self.inner.shared.generation.subscribe()
    }

    /// Makes a database with branch `main`, schema `public` and two commits; durable on return.
    ///
    /// # Errors
    /// `DuplicateDatabase`, `InvalidDatabaseName`, `ReadOnly`.
    pub async fn create_database(&self, name: &str) -> Result<Database, EngineError> {
        check_name(name)?;
        let (engine, name) = (self.clone(), name.to_owned());
        // In a task of its own: a client that stops waiting must not leave a listed database that nobody opened.
        let task = runtime::spawn("create database", async move {
            engine.create_listed(&name, DatabaseId::random(), None).await
        });
        task.await.unwrap_or(Err(EngineError::TaskLost {
            task: "create database",
        }))
    }

    /// Makes a database whose first root is `record` of another store, with everything it refers to.
    pub(super) async fn create_database_from(
        &self,
        name: &str,
        store: ChunkStore,
        record: RootRecord,
    ) -> Result<Database, EngineError> {
        check_name(name)?;
        let (engine, name) = (self.clone(), name.to_owned());
        let work = async move { engine.restore_listed(&name, &store, &record).await };
        let task = runtime::spawn("restore database", work);
        task.await.unwrap_or(Err(EngineError::TaskLost {
            task: "restore database",
        }))
    }

    /// Removes a database: first from the list, durably, then its files.
    ///
    /// # Errors
    /// `NoSuchDatabase`, `DatabaseInUse`, `ReadOnly`.
    pub async fn drop_database(&self, name: &str) -> Result<(), EngineError> {
        let (engine, name) = (self.clone(), name.to_owned());
        let task = runtime::spawn("drop database", async move { engine.drop_listed(&name).await });
        task.await
            .unwrap_or(Err(EngineError::TaskLost { task: "drop database" }))
    }

    /// Logs which databases are there and cannot be opened. For a standby, once those that it lacks are awaited from the
    /// primary, which is nothing to worry about.
    pub fn log_unavailable(&self) {
        for (name, entry) in &*self.inner.databases.lock() {
            if let Err(Unusable { reason, .. }) = &entry.opened {
                tracing::error!(database = name, reason, "database unavailable");
            }
        }
    }

    /// Changes never; its sender is gone when the engine is.
    pub(super) fn watch_end(&self) -> watch::Receiver<()> {
        self.inner.alive.subscribe()
    }

    pub fn gate(&self) -> &WriteGate {
        &self.inner.shared.gate
    }

    pub fn sessions(&self) -> &SessionRegistry {
        &self.inner.shared.sessions
    }

    pub fn system(&self) -> &System {
        &self.inner.system
    }

    /// The cluster this server belongs to, if it does.
    pub fn cluster(&self) -> Option<Arc<dyn ClusterControl>> {
        self.inner.shared.cluster.get().cloned()
    }

    /// Whether this server belongs to a cluster and is not its primary.
    pub fn is_standing_by(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster.role() != Role::Primary)
    }

    /// Introduces the cluster, once, when the server is assembled.
    ///
    /// # Panics
    /// The second time.
    pub fn set_cluster(&self, cluster: Arc<dyn ClusterControl>) {
        let first = self.inner.shared.cluster.set(cluster).is_ok();
        assert!(first, "the cluster is introduced to the engine once");
    }

    /// The data folder.
    pub fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// Why no database of this name can be made now.
    fn refuse_to_create(&self, name: &str) -> Result<(), EngineError> {
        if let Some(reason) = self.gate().reason() {
            return Err(EngineError::ReadOnly {
                database: SYSTEM_DATABASE.to_owned(),
                reason,
            });
        }
        if self.inner.databases.lock().contains_key(name) {
            return Err(EngineError::DuplicateDatabase { name: name.to_owned() });
        }
        Ok(())
    }

    /// Makes a database out of another store's root. The copy, which may take long, lies in a folder of its own until
    /// it is whole: others make and drop databases meanwhile.
    async fn restore_listed(
        &self,
        name: &str,
        source: &ChunkStore,
        record: &RootRecord,
    ) -> Result<Database, EngineError> {
        self.refuse_to_create(name)?;
        let id = DatabaseId::random();
        let restored = folder::restored_store(id);
        let (disk, options) = (&self.inner.disk, &self.inner.options.store);
        let copied = async {
            let store = ChunkStore::create(disk, &restored, options).await?;
            copy_root(source, record, &store, &mut |_| {}).await?;
            store.close("it moves to its place").await;
            Ok(())
        };
        let made = match copied.await {
            Ok(()) => self.create_listed(name, id, Some(&restored)).await,
            Err(error) => Err(error),
        };
        if folder::exists(disk, &restored).unwrap_or(false)
            && let Err(left) = folder::remove(disk, &restored)
        {
            tracing::warn!(database = name, error = %left, "files of a database that was not restored are left");
        }
        made
    }

    /// Lists a new database: an empty one, or the one whose store lies in the folder `whole`.
    async fn create_listed(&self, name: &str, id: DatabaseId, whole: Option<&str>) -> Result<Database, EngineError> {
        let _definitions = self.inner.definitions.lock().await;
        self.refuse_to_create(name)?;
        let path = folder::database_folder(name, id);
        let made = async {
            let database = match whole {
                None => {
                    let database = self.make_store(name, id).await?;
                    initialise(&database, &["public"]).await?;
                    database
                }
                Some(whole) => self.place_store(whole, name, id).await?,
            };
            self.inner.system.add_database(name, id).await?;
            Ok(database)
        };
        match made.await {
            Ok(database) => {
                let entry = Entry {
                    id,
                    opened: Ok(database.clone()),
                };
                self.inner.databases.lock().insert(name.to_owned(), entry);
                self.inner.shared.databases_changed();
                tracing::info!(database = name, id = %id, "database created");
                Ok(database)
            }
            // Listed perhaps: the next start decides by the list whether the files stay.
            Err(error @ EngineError::OutcomeUnknown { .. }) => Err(error),
            Err(error) => {
                if let Err(left) = folder::remove(&self.inner.disk, &path) {
                    tracing::warn!(database = name, error = %left, "files of a database that was not created are left");
                }
                Err(error)
            }
        }
    }

    async fn drop_listed(&self, name: &str) -> Result<(), EngineError> {
        let _definitions = self.inner.definitions.lock().await;
        let Some(entry) = self.inner.databases.lock().get(name).cloned() else {
            return Err(EngineError::NoSuchDatabase { name: name.to_owned() });
        };
        let sessions = self.inner.shared.sessions.count_in(name);
        if sessions > 0 {
            return Err(EngineError::DatabaseInUse {
                name: name.to_owned(),
                sessions,
            });
        }
        self.inner.system.remove_database(name).await?;
        self.inner.databases.lock().remove(name);
        if let Ok(database) = &entry.opened {
            database.retire().await;
        }
        self.inner.shared.databases_changed();
        tracing::info!(database = name, id = %entry.id, "database dropped");
        let path = folder::database_folder(name, entry.id);
        let removed = match folder::remove(&self.inner.disk, &path) {
            Ok(()) => folder::sync_folder(&self.inner.disk, folder::DATABASES).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            // The database is gone all the same; the next start removes what is left.
            tracing::warn!(database = name, error = %error, "files of a dropped database are left");
        }
        Ok(())
    }

    /// Makes an empty store for a database, durably: whole or not at all, since a standby lists a database before it
    /// makes it. The caller holds `definitions`.
    pub(super) async fn make_store(&self, name: &str, id: DatabaseId) -> Result<Database, EngineError> {
        let (disk, options) = (&self.inner.disk, &self.inner.options.store);
        if folder::exists(disk, folder::NEW_STORE)? {
            folder::remove(disk, folder::NEW_STORE)?;
        }
        drop(ChunkStore::create(disk, folder::NEW_STORE, options).await?);
        self.place_store(folder::NEW_STORE, name, id).await
    }

    /// Moves a store of the control folder to its place among the databases, durably, and opens it.
    async fn place_store(&self, made: &str, name: &str, id: DatabaseId) -> Result<Database, EngineError> {
        let (disk, options) = (&self.inner.disk, &self.inner.options.store);
        let path = folder::database_folder(name, id);
        folder::rename(disk, made, &path)?;
        folder::sync_folder(disk, folder::DATABASES).await?;
        folder::sync_folder(disk, folder::CONTROL_FOLDER).await?;
        let (store, _) = ChunkStore::open(disk, &path, options).await?;
        Database::open(name, id, store, self.inner.shared.clone())
    }
}

/// Opens the system database, or makes it.
async fn open_system(disk: &Disk, options: &EngineOptions, shared: &Arc<Shared>) -> Result<Database, EngineError> {
    if !folder::exists(disk, folder::SYSTEM_STORE)? {
        // A new one would list none of them and let the first password in again.
        if !folder::folders_in(disk, folder::DATABASES)?.is_empty() {
            return Err(EngineError::DamagedFolder {
                file: disk.describe(folder::SYSTEM_STORE),
                detail: format!(
                    "{}; nothing was changed in {}",
                    folder::NO_SYSTEM_STORE,
                    disk.describe("")
                ),
            });
        }
        make_system(disk, options).await?;
    }
    let (store, recovery) = ChunkStore::open(disk, folder::SYSTEM_STORE, &options.store).await?;
    tracing::debug!(?recovery, "system database opened");
    let published = !store.published().root.is_none();
    let database = Database::open(SYSTEM_DATABASE, DatabaseId::SYSTEM, store, shared.clone())?;
    if !published || database.begin().tables()?.is_empty() {
        // It moved to its place with a root that has tables, so the disk has lied about that one.
        let (file, offset) = match recovery.cut {
            Some(cut) => (cut.file, cut.offset),
            None => (disk.describe(folder::SYSTEM_STORE), 0),
        };
        let detail = "the system database has lost its first root".to_owned();
        return Err(ChunkError::Corrupt { file, offset, detail }.into());
    }
    Ok(database)
}

/// Makes the system database beside its place and moves it there whole.
async fn make_system(disk: &Disk, options: &EngineOptions) -> Result<(), EngineError> {
    if folder::exists(disk, folder::NEW_SYSTEM_STORE)? {
        folder::remove(disk, folder::NEW_SYSTEM_STORE)?;
    }
    let store = ChunkStore::create(disk, folder::NEW_SYSTEM_STORE, &options.store).await?;
    let database = Database::open(
        SYSTEM_DATABASE,
        DatabaseId::SYSTEM,
        store,
        Shared::new(WriteGate::new(None)),
    )?;
    initialise(&database, &[system::SCHEMA]).await?;
    let superuser = RoleRecord {
        name: options.superuser.name.clone(),
        superuser: true,
        login: true,
        verifier: Some(ScramVerifier::of_password(&options.superuser.password)),
    };
    let mut transaction = database.begin();
    system::bootstrap(&mut transaction, &superuser)?;
    database.commit(transaction).await?;
    drop(database);
    folder::rename(disk, folder::NEW_SYSTEM_STORE, folder::SYSTEM_STORE)?;
    folder::sync_folder(disk, folder::CONTROL_FOLDER).await
}

/// Opens a listed database; the inner error is what users are told of one that is damaged.
///
/// # Errors
/// When a newer version wrote it: then it is not the database that is wrong but the program, and what that version put
/// into the other databases is not known either.
async fn open_database(
    disk: &Disk,
    options: &EngineOptions,
    shared: &Arc<Shared>,
    name: &str,
    id: DatabaseId,
) -> Result<Result<Database, Unusable>, EngineError> {
    let path = folder::database_folder(name, id);
    match folder::exists(disk, &path) {
        Ok(true) => {}
        Ok(false) => {
            return Ok(Err(Unusable {
                reason: format!(
                    "its folder {} is missing: restore it from a backup",
                    disk.describe(&path)
                ),
                damaged: false,
            }));
        }
        Err(error) => {
            return Ok(Err(Unusable {
                reason: error.to_string(),
                damaged: false,
            }));
        }
    }
    let open = async || {
        let (store, recovery) = ChunkStore::open(disk, &path, &options.store).await?;
        tracing::debug!(database = name, ?recovery, "database opened");
        Database::open(name, id, store, shared.clone())
    };
    // A read may go wrong of a disk that is right, and a database would be missing until the next start.
    let opened = match open().await {
        Err(error) if error.is_damage() => {
            tracing::warn!(database = name, %error, "what seems damaged is read once more");
            open().await
        }
        opened => opened,
    };
    match opened {
        Err(error @ EngineError::Store(ChunkError::NewerFormat { .. })) => Err(error),
        opened => Ok(opened.map_err(|error: EngineError| Unusable {
            reason: error.to_string(),
            damaged: error.is_damage(),
        })),
    }
}

/// Gives a new store branch `main` with its two commits. Source: spec/version-control.md 1.3.
async fn initialise(database: &Database, schemas: &[&str]) -> Result<(), EngineError> {
    let now = runtime::wall_clock();
    let store = database.store();
    let mut batch = ChunkBatch::new(store);
    let root = RootValue::new(&mut batch, schemas)?.store(&mut batch);
    let mut head = None;
    for (height, message) in [(1, "Initialize data repository"), (2, "CREATE DATABASE")] {
        let commit = Commit {
            root,
            parents: head.into_iter().collect(),
            height,
            author: server_itself(now),
            committer: server_itself(now),
            message: message.to_owned(),
        };
        head = Some(commit.store(&mut batch));
    }
    let head = head.expect("two commits were made");
    let working_set = WorkingSet {
        working: root,
        staged: root,
    };
    let refs = Refs::empty(&mut batch).with_branch(&mut batch, MAIN_BRANCH, head, &working_set)?;
    database.append_first(batch, refs.root(), now).await
}

fn server_itself(time: WallTime) -> Person {
    Person {
        name: "understudy".to_owned(),
        email: "understudy@localhost".to_owned(),
        time,
    }
}

fn check_name(name: &str) -> Result<(), EngineError> {
    match database_name_problem(name) {
        None => Ok(()),
        Some(detail) => Err(EngineError::InvalidDatabaseName {
            name: name.to_owned(),
            detail,
        }),
    }
}
