//! The data folder: its lock, its format, and where things lie in it.
//!
//! ```text
//! .understudy/lock          held while a server runs, names its process
//! .understudy/format        the format's version, as text
//! .understudy/cluster_role  in a cluster: what this server is, its epoch and its id
//! .understudy/backup        in a backup alone: the next one may be written over it
//! .understudy/system/       the store of the system database
//! .understudy/dropped/      databases that a standby gave up because its primary does not list them
//! .understudy/damaged/      stores that were made again by a repair, as they were before
//! .understudy/*.new/        stores that are being made
//! .understudy/fetched/      while a repair runs: what others gave for it
//! databases/<name>-<id>/    one store for each database; percent-encoded name, first 8 digits of the id
//! ```
//!
//! Everything else in the folder is not ours and is left alone.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{DatabaseId, EngineError};
use crate::chunk::{ChunkStore, StoreOptions, looks_like_a_store};
use crate::runtime::disk::{Disk, LockGuard, LockOutcome};

/// The folder of what is not a user's database.
pub const CONTROL_FOLDER: &str = ".understudy";

/// The version this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

pub(super) const SYSTEM_STORE: &str = ".understudy/system";
/// The system store while it is being made: it becomes `SYSTEM_STORE` in one rename.
pub(super) const NEW_SYSTEM_STORE: &str = ".understudy/system.new";
/// The store of a database while it is being made, likewise.
pub(super) const NEW_STORE: &str = ".understudy/database.new";
/// What the names of such stores end with.
const NEW: &str = ".new";
pub(super) const DROPPED: &str = ".understudy/dropped";
/// Where damaged stores are kept once they were made again. That of a store which belongs to no data folder stays beside
/// it.
pub(super) const DAMAGED: &str = ".understudy/damaged";
/// Where that lies which others gave for a store of a data folder.
pub(super) const FETCHED: &str = ".understudy/fetched";
pub(super) const DATABASES: &str = "databases";

pub(super) const LOCK: &str = ".understudy/lock";
/// What a server of a cluster remembers of its role.
pub const ROLE_FILE: &str = ".understudy/cluster_role";
pub(super) const FORMAT: &str = ".understudy/format";
/// Tells that the folder is a backup, over which the next one is written, and that no server was started on it.
pub(super) const BACKUP_MARKER: &str = ".understudy/backup";
const FORMAT_PREFIX: &str = "understudy data folder, format ";

/// What is said of a data folder that lacks its system store.
pub(super) const NO_SYSTEM_STORE: &str =
    "the system store, with the users and the list of databases, is missing: restore it from a backup, or repair it";

/// Makes the control folder if there is none, takes its lock and checks its format.
pub(super) async fn enter(disk: &Disk) -> Result<LockGuard, EngineError> {
    if !exists(disk, FORMAT)? {
        // What tells that a folder is something else's.
        let foreign = if exists(disk, "PG_VERSION")? {
            Some("a data folder of PostgreSQL")
        } else if looks_like_a_store(disk, "")? {
            Some("the folder of a single database")
        } else {
            None
        };
        if let Some(what) = foreign {
            let folder = disk.describe("");
            return Err(EngineError::ForeignFolder { folder, what });
        }
    }
    for folder in [CONTROL_FOLDER, DATABASES] {
        disk.create_dir_all(folder)
            .map_err(EngineError::io("create folder", disk.describe(folder)))?;
    }
    let guard = lock(disk, LOCK, "process")?;
    if exists(disk, FORMAT)? {
        check_format(disk)?;
    } else {
        let text = format!("{FORMAT_PREFIX}{FORMAT_VERSION}\n");
        let written = disk.write_atomically(FORMAT, text.as_bytes()).await;
        written.map_err(EngineError::io("write", disk.describe(FORMAT)))?;
    }
    // Each time: a crash or a failed sync may have left any of these names, that of the system database included, in
    // memory alone, and all that is acknowledged from here on would go with it.
    sync_folder(disk, CONTROL_FOLDER).await?;
    sync_folder(disk, "").await?;
    Ok(guard)
}

/// Takes a lock, or says that a `holder` has it: its kind, to which the number of its process is added.
pub(super) fn lock(disk: &Disk, file: &str, holder: &str) -> Result<LockGuard, EngineError> {
    let locked = disk.lock(file);
    match locked.map_err(EngineError::io("lock", disk.describe(file)))? {
        LockOutcome::Acquired(guard) => Ok(guard),
        LockOutcome::HeldBy(process) => Err(EngineError::FolderLocked {
            folder: disk.describe(""),
            holder: format!("{holder} {process}"),
        }),
    }
}

/// From here on the folder is somebody's data: no backup is written over it.
pub(super) async fn is_no_backup_any_more(disk: &Disk) -> Result<(), EngineError> {
    if exists(disk, BACKUP_MARKER)? {
        disk.remove_file(BACKUP_MARKER)
            .map_err(EngineError::io("remove", disk.describe(BACKUP_MARKER)))?;
        sync_folder(disk, CONTROL_FOLDER).await?;
    }
    Ok(())
}

pub(super) fn check_format(disk: &Disk) -> Result<(), EngineError> {
    let file = disk.describe(FORMAT);
    let bytes = disk.read(FORMAT).map_err(EngineError::io("read", file.clone()))?;
    let version = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().strip_prefix(FORMAT_PREFIX));
    match version.and_then(|version| version.parse::<u32>().ok()) {
        Some(found) if found > FORMAT_VERSION => Err(EngineError::NewerFormat {
            file,
            found,
            supported: FORMAT_VERSION,
        }),
        Some(_) => Ok(()),
        None => Err(EngineError::DamagedFolder {
            file,
            detail: format!("\"{FORMAT_PREFIX}\" and a number are expected; restore the file, the data is untouched"),
        }),
    }
}

/// Where a database lies.
pub(super) fn database_folder(name: &str, id: DatabaseId) -> String {
    // Dots are encoded too: no name is a path of its own.
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');
    format!(
        "{DATABASES}/{}-{}",
        utf8_percent_encode(name, PLAIN),
        &id.to_string()[..8]
    )
}

/// Whether the store of a data folder may lie at `path` in it.
pub(super) fn is_place_of_stores(path: &str) -> bool {
    [CONTROL_FOLDER, DATABASES]
        .iter()
        .any(|place| path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/')))
}

/// Where a database is copied to from a backup before it is listed.
pub(super) fn restored_store(id: DatabaseId) -> String {
    format!("{CONTROL_FOLDER}/restored-{id}{NEW}")
}

/// Removes stores that were being made when a server stopped: none of them was listed.
pub(super) fn clear_unfinished(disk: &Disk) -> Result<(), EngineError> {
    let folders = folders_in(disk, CONTROL_FOLDER)?;
    folders
        .iter()
        .filter(|folder| folder.ends_with(NEW))
        .try_for_each(|folder| remove(disk, folder))
}

/// The folders in a folder, none when it is not there.
pub(super) fn folders_in(disk: &Disk, parent: &str) -> Result<Vec<String>, EngineError> {
    if !exists(disk, parent)? {
        return Ok(Vec::new());
    }
    let entries = disk.list(parent);
    let entries = entries.map_err(EngineError::io("list", disk.describe(parent)))?;
    let folders = entries.into_iter().filter(|entry| entry.is_dir);
    Ok(folders.map(|entry| format!("{parent}/{}", entry.name)).collect())
}

/// Clears away what lies among the databases and is none of `folders`: what a crash left of a database whose creation
/// was not acknowledged, whose removal was, or which a standby was about to give up. Only a store without any root is
/// removed: how many roots there are says nothing of what is in them, since replication may bring everything in one. All
/// else is moved to the dropped databases.
pub(super) async fn clear_leftovers(
    disk: &Disk,
    folders: &[String],
    options: &StoreOptions,
) -> Result<(), EngineError> {
    let entries = disk
        .list(DATABASES)
        .map_err(EngineError::io("list", disk.describe(DATABASES)))?;
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        let folder = format!("{DATABASES}/{}", entry.name);
        if folders.contains(&folder) {
            continue;
        }
        let is_empty = match ChunkStore::open(disk, &folder, options).await {
            Ok((store, _)) => store.published().sequence == 0,
            Err(_) => false,
        };
        if is_empty {
            remove(disk, &folder)?;
            sync_folder(disk, DATABASES).await?;
        } else {
            let kept = keep_dropped(disk, &folder).await?;
            tracing::warn!(
                folder = disk.describe(&folder),
                kept = disk.describe(&kept),
                "the list of databases does not have this folder: moved aside"
            );
        }
    }
    Ok(())
}

/// Moves a database's folder to the dropped ones, durably, and says where it is now. The same database may be given up,
/// come back and be given up again: each has a place of its own.
pub(super) async fn keep_dropped(disk: &Disk, folder: &str) -> Result<String, EngineError> {
    let name = folder.rsplit('/').next().unwrap_or(folder);
    disk.create_dir_all(DROPPED)
        .map_err(EngineError::io("create folder", disk.describe(DROPPED)))?;
    sync_folder(disk, CONTROL_FOLDER).await?;
    let kept = free_name(disk, format!("{DROPPED}/{name}"))?;
    rename(disk, folder, &kept)?;
    sync_folder(disk, DROPPED).await?;
    sync_folder(disk, DATABASES).await?;
    Ok(kept)
}

/// The first of `path`, `path.2`, `path.3`, ... that nothing has.
pub(super) fn free_name(disk: &Disk, path: String) -> Result<String, EngineError> {
    let (mut free, mut number) = (path.clone(), 1);
    while exists(disk, &free)? {
        number += 1;
        free = format!("{path}.{number}");
    }
    Ok(free)
}

pub(super) fn exists(disk: &Disk, path: &str) -> Result<bool, EngineError> {
    disk.exists(path)
        .map_err(EngineError::io("look for", disk.describe(path)))
}

pub(super) fn remove(disk: &Disk, folder: &str) -> Result<(), EngineError> {
    disk.remove_dir_all(folder)
        .map_err(EngineError::io("remove", disk.describe(folder)))
}

pub(super) fn rename(disk: &Disk, from: &str, to: &str) -> Result<(), EngineError> {
    disk.rename(from, to)
        .map_err(EngineError::io("rename", disk.describe(from)))
}

/// Makes what was created, renamed or removed directly in `folder` durable.
pub(super) async fn sync_folder(disk: &Disk, folder: &str) -> Result<(), EngineError> {
    disk.sync_dir(folder)
        .await
        .map_err(EngineError::io("sync folder", disk.describe(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_hold_any_name_and_tell_incarnations_apart() {
        let id = |byte| DatabaseId::from_bytes([byte; 16]);
        assert_eq!(database_folder("shop", id(0xab)), "databases/shop-abababab");
        assert_eq!(database_folder("../a b", id(1)), "databases/%2E%2E%2Fa%20b-01010101");
        assert_ne!(database_folder("shop", id(1)), database_folder("shop", id(2)));
    }
}
