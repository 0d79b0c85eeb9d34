//! Backups: copies of databases in other folders, taken while everybody goes on writing.
//!
//! A backup of a database is a chunk store with one root; a backup of a data folder is a data folder, so restoring one
//! is copying it back. Taken again into the same place, a backup costs what changed.
//!
//! Invariants
//! - A backup holds one root of each database, whole: never half a commit.
//! - A copy that was interrupted leaves the backup at what it held before.
//! - A backup is written only where nothing is, or where a marker tells that a backup was made: never over a data
//!   folder, never into one.
//!
//! Must not know: SQL, where an operator keeps backups.

use super::collection::{AutoCollect, collect_store};
use super::copy::{Copied, copy_root};
use super::{Database, Engine, EngineError, System, folder};
use crate::chunk::{ChunkError, ChunkStore, ReadChunks, RootRecord, StoreOptions, looks_like_a_store};
use crate::runtime::disk::{Disk, LockGuard};

/// Held in the folder of a backup while it is written.
pub(super) const LOCK: &str = "backup.lock";

/// In the folder of a backup of one database: tells that it is one.
pub(super) const MARKER: &str = "BACKUP";
const MARKER_TEXT: &[u8] = b"a backup of understudy: the next one may be written over it\n";

/// What a copy of a data folder is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyTo {
    /// A new backup, or an earlier one that is brought up to date.
    Backup,
    /// A data folder without databases, for a server to be started on.
    DataFolder,
}

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
    /// `FolderLocked` while another backup is written there; `NotABackup` when something else is there, or it lies in a
    /// data folder; `Store`, `Io`.
    pub async fn back_up(&self, target: &Disk) -> Result<Copied, EngineError> {
        self.refuse_when_dropped()?;
        let Some((record, _hold)) = self.hold_published() else {
            return Err(EngineError::NoSuchDatabase {
                name: self.name().to_owned(),
            });
        };
        let _lock = enter_backup(target).await?;
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
/// `NotABackup` when `source` is no data folder, or when `target` holds databases and is not the backup that `to` asks
/// for; `FolderLocked` when a server runs in `target`, `Store`, `Io`.
pub async fn copy_folder(
    source: &Disk,
    target: &Disk,
    to: CopyTo,
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
    prepare(target, to).await?;
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
    for path in folder::folders_in(target, folder::DATABASES)? {
        if folders.contains(&path) {
            continue;
        }
        match to {
            CopyTo::Backup => folder::remove(target, &path)?,
            CopyTo::DataFolder => drop(folder::keep_dropped(target, &path).await?),
        }
    }
    folder::sync_folder(target, folder::DATABASES).await
}

/// Makes sure that a folder may be written over, and notes what it is going to be. The caller holds its lock.
async fn prepare(target: &Disk, to: CopyTo) -> Result<(), EngineError> {
    match to {
        CopyTo::DataFolder => folder::is_no_backup_any_more(target).await,
        CopyTo::Backup if folder::exists(target, folder::BACKUP_MARKER)? => Ok(()),
        CopyTo::Backup => {
            let databases = folder::folders_in(target, folder::DATABASES)?;
            if has_databases(target)? || !databases.is_empty() {
                return Err(not_a_backup(
                    target,
                    "it is a data folder with databases in it, which no backup made; name an empty folder or an \
                     earlier backup",
                ));
            }
            write_marker(target, folder::BACKUP_MARKER).await
        }
    }
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
        Ok((store, _)) => {
            // Whoever made it may have failed before its names were there to stay.
            let synced = disk.sync_dirs_to_root(path).await;
            synced.map_err(EngineError::io("sync folder", disk.describe(path)))?;
            Ok(store)
        }
        // Or an interrupted creation left the beginning of a log, which is made again.
        Err(ChunkError::NotAStore { .. }) => Ok(ChunkStore::create(disk, path, &options).await?),
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

/// Locks the folder of a backup of one database, a new one or an earlier one.
async fn enter_backup(disk: &Disk) -> Result<LockGuard, EngineError> {
    let above = disk.above_with(folder::FORMAT);
    if let Some((data_folder, _)) = above.map_err(EngineError::io("look above", disk.describe("")))? {
        let detail = format!(
            "it lies in the data folder {}; name a folder outside of it",
            data_folder.describe("")
        );
        return Err(not_a_backup(disk, &detail));
    }
    // Before the lock: in a folder that is something else's, not even that is made.
    let is_marked = folder::exists(disk, MARKER)?;
    let listing = disk.list("").map_err(EngineError::io("list", disk.describe("")))?;
    let ours = [LOCK.to_owned(), format!("{MARKER}.tmp")];
    if !is_marked && listing.iter().any(|entry| !ours.contains(&entry.name)) {
        let detail = match looks_like_a_store(disk, "")? {
            true => "it holds a database that no backup made; name an empty folder or an earlier backup",
            false => "it holds something else; name an empty folder or an earlier backup",
        };
        return Err(not_a_backup(disk, detail));
    }
    let guard = folder::lock(disk, LOCK, "a backup by process")?;
    // Before there is a store, so that the next backup goes on with one that was interrupted.
    if !folder::exists(disk, MARKER)? {
        write_marker(disk, MARKER).await?;
    }
    Ok(guard)
}

pub(super) async fn write_marker(disk: &Disk, marker: &str) -> Result<(), EngineError> {
    let written = disk.write_atomically(marker, MARKER_TEXT).await;
    written.map_err(EngineError::io("write", disk.describe(marker)))
}

fn not_a_backup(disk: &Disk, detail: &str) -> EngineError {
    EngineError::NotABackup {
        folder: disk.describe(""),
        detail: detail.to_owned(),
    }
}
