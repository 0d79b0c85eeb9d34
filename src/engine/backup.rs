//! Backups: copies of databases in other folders, taken while everybody goes on writing.
//!
//! A backup of a database is a chunk store with one root; a backup of a data folder is a data folder, so restoring one
//! is copying it back. Taken again into the same place, a backup costs what changed.
//!
//! Invariants
//! - A backup holds one root of each database, whole: never half a commit.
//! - A copy that was interrupted leaves the backup at what it held before.
//!
//! Must not know: SQL, where an operator keeps backups.

use super::collection::{AutoCollect, collect_store};
use super::copy::{Copied, copy_root};
use super::{Database, Engine, EngineError, System, folder};
use crate::chunk::{ChunkError, ChunkStore, ReadChunks, RootRecord, StoreOptions};
use crate::runtime::disk::{Disk, LockGuard, LockOutcome};

/// Held in the folder of a backup while it is written.
pub(super) const LOCK: &str = "backup.lock";

/// How far a copy of several databases is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderCopied {
    /// The database that is being copied.
    pub database: String,
    pub number: usize,
    pub of: usize,
    pub copied: Copied,
}

impl Database {
    /// Makes the folder `target` a backup of this database as it is now, or brings the backup there up to date.
    ///
    /// Stopping to wait for it leaves the backup as it was.
    ///
    /// # Errors
    /// `FolderLocked` while another backup is written there, `NotABackup` when something else is there, `Store`, `Io`.
    pub async fn back_up(&self, target: &Disk) -> Result<Copied, EngineError> {
        self.refuse_when_dropped()?;
        let Some((record, _hold)) = self.hold_published() else {
            return Err(EngineError::NoSuchDatabase {
                name: self.name().to_owned(),
            });
        };
        let _lock = lock(target)?;
        let store = open_or_create(target, "").await?;
        let copied = copy_and_tidy(self.store(), &record, &store, &mut |_| {}).await?;
        tracing::info!(
            database = self.name(),
            folder = target.describe(""),
            root = %record.root,
            chunks = copied.chunks,
            bytes = copied.bytes,
            "backup written"
        );
        Ok(copied)
    }
}

impl Engine {
    /// Makes a database from a backup that [`Database::back_up`] wrote.
    ///
    /// # Errors
    /// `DuplicateDatabase`, `InvalidDatabaseName`, `ReadOnly`, `NotABackup`; `Store` when the backup is damaged.
    pub async fn restore_database(&self, source: &Disk, name: &str) -> Result<Database, EngineError> {
        let store = open_backup(source, "").await?;
        let record = store.published();
        if record.root.is_none() {
            return Err(not_a_backup(source, "it holds no database"));
        }
        self.create_database_from(name, store, record).await
    }
}

/// Copies a data folder, or a backup of one: its users and every database. The server of `source` may be running.
///
/// The system database comes last, so that it lists nothing that is not there.
///
/// # Errors
/// `NotABackup` when `source` is no data folder, `FolderLocked` when a server runs in `target`, `Store`, `Io`.
pub async fn copy_folder(
    source: &Disk,
    target: &Disk,
    options: &StoreOptions,
    progress: &mut (dyn FnMut(FolderCopied) + Send),
) -> Result<(), EngineError> {
    if !folder::exists(source, folder::SYSTEM_STORE)? {
        return Err(not_a_backup(
            source,
            "it is not a data folder: it has no system database",
        ));
    }
    folder::check_format(source)?;
    let system_store = read_only(source, folder::SYSTEM_STORE, options).await?;
    let system_root = system_store.published();
    let databases = System::listed_in(system_store.clone())?;

    let _lock = folder::enter(target).await?;
    let mut stores = Vec::new();
    for (name, id) in &databases {
        stores.push((name.clone(), folder::database_folder(name, *id)));
    }
    let folders: Vec<String> = stores.iter().map(|(_, path)| path.clone()).collect();
    let of = stores.len() + 1;
    for (number, (database, path)) in stores.into_iter().enumerate() {
        let store = read_only(source, &path, options).await?;
        let record = store.published();
        // Listed by replication, and its first root has not come.
        if record.root.is_none() {
            continue;
        }
        let tell = &mut |copied| {
            progress(FolderCopied {
                database: database.clone(),
                number: number + 1,
                of,
                copied,
            });
        };
        copy_store(&store, &record, target, &path, tell).await?;
    }
    let tell = &mut |copied| {
        progress(FolderCopied {
            database: "users and settings".to_owned(),
            number: of,
            of,
            copied,
        });
    };
    copy_store(&system_store, &system_root, target, folder::SYSTEM_STORE, tell).await?;
    // What the source does not list any more.
    for entry in target.list(folder::DATABASES).unwrap_or_default() {
        let path = format!("{}/{}", folder::DATABASES, entry.name);
        if entry.is_dir && !folders.contains(&path) {
            folder::remove(target, &path)?;
        }
    }
    folder::sync_folder(target, folder::DATABASES).await
}

/// Whether a folder has databases: what a restore must not write over.
pub fn has_databases(disk: &Disk) -> Result<bool, EngineError> {
    folder::exists(disk, folder::SYSTEM_STORE)
}

async fn copy_store(
    source: &ChunkStore,
    record: &RootRecord,
    target: &Disk,
    path: &str,
    progress: &mut (dyn FnMut(Copied) + Send),
) -> Result<(), EngineError> {
    let store = open_or_create(target, path).await?;
    copy_and_tidy(source, record, &store, progress).await?;
    Ok(())
}

async fn copy_and_tidy(
    source: &dyn ReadChunks,
    record: &RootRecord,
    target: &ChunkStore,
    progress: &mut (dyn FnMut(Copied) + Send),
) -> Result<Copied, EngineError> {
    let copied = copy_root(source, record, target, progress).await?;
    // Backups of many days have little in common with today's.
    if AutoCollect::default().is_due(target.size()) {
        let collection = target.begin_collection()?;
        collect_store(collection, vec![record.root])
            .await?
            .finish_alone()
            .await?;
    }
    Ok(copied)
}

async fn open_or_create(disk: &Disk, path: &str) -> Result<ChunkStore, EngineError> {
    let options = StoreOptions::default();
    match ChunkStore::open(disk, path, &options).await {
        Ok((store, _)) => Ok(store),
        Err(ChunkError::NotAStore { .. }) => {
            // An interrupted creation leaves the beginning of a log, which is made again.
            let ours = [LOCK, "MANIFEST.tmp", "log-00000001.seg"];
            let listing = disk.list(path).unwrap_or_default();
            if listing.iter().any(|entry| !ours.contains(&entry.name.as_str())) {
                return Err(not_a_backup(disk, "it holds something else"));
            }
            Ok(ChunkStore::create(disk, path, &options).await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn open_backup(disk: &Disk, path: &str) -> Result<ChunkStore, EngineError> {
    match ChunkStore::open_read_only(disk, path, &StoreOptions::default()).await {
        Err(ChunkError::NotAStore { detail, .. }) => Err(not_a_backup(disk, &detail)),
        opened => Ok(opened?),
    }
}

async fn read_only(disk: &Disk, path: &str, options: &StoreOptions) -> Result<ChunkStore, EngineError> {
    Ok(ChunkStore::open_read_only(disk, path, options).await?)
}

fn lock(disk: &Disk) -> Result<LockGuard, EngineError> {
    match disk.lock(LOCK).map_err(EngineError::io("lock", disk.describe(LOCK)))? {
        LockOutcome::Acquired(guard) => Ok(guard),
        LockOutcome::HeldBy(holder) => Err(EngineError::FolderLocked {
            folder: disk.describe(""),
            holder: format!("a backup by process {holder}"),
        }),
    }
}

fn not_a_backup(disk: &Disk, detail: &str) -> EngineError {
    EngineError::NotABackup {
        folder: disk.describe(""),
        detail: detail.to_owned(),
    }
}
