//! Checks of a data folder that no server has open.
//!
//! A check reads every file of every store, and then walks from the newest root: everything that is referred to must be
//! there and be understood. It changes nothing; [`super::repair`] does.
//!
//! Must not know: how files of a store are laid out.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::copy::Copied;
use super::{EngineError, folder};
use crate::chunk::{ChunkError, Hash, Link, ReadChunks, StoreCheck, check_store};
use crate::runtime::disk::{Disk, LockGuard, LockOutcome};
use crate::version::links;

/// A chunk that is referred to and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub hash: Hash,
    /// The chunk that refers to it; `None` for the root.
    pub referred_by: Option<Hash>,
    /// Why: not there, or not understood.
    pub detail: String,
}

/// What a check found of one store.
pub struct CheckedStore {
    /// Its folder, relative to what was checked.
    pub path: String,
    pub files: StoreCheck,
    /// What the newest root reaches.
    pub reachable: Copied,
    pub missing: Vec<Missing>,
}

impl CheckedStore {
    pub fn is_sound(&self) -> bool {
        self.files.damage.is_empty() && self.missing.is_empty()
    }
}

/// What a check found of a data folder, or of a single store.
pub struct FolderCheck {
    pub stores: Vec<CheckedStore>,
    /// Keeps servers out while the result is used.
    _lock: Option<LockGuard>,
}

/// Checks a data folder, a backup, or the folder of a single store. `progress` is told the store, how many bytes of it
/// were read, and how many there are.
///
/// # Errors
/// `FolderLocked` while a server runs there: its files change. `Store` when nothing there is a store, or it is of another
/// format.
pub fn check_folder(disk: &Disk, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<FolderCheck, EngineError> {
    let lock = lock(disk)?;
    let mut stores = Vec::new();
    for path in store_folders(disk)? {
        let files = check_store(disk, &path, &mut |done, total| progress(&path, done, total))?;
        let (reachable, missing) = walk(&files)?;
        stores.push(CheckedStore {
            path,
            files,
            reachable,
            missing,
        });
    }
    Ok(FolderCheck { stores, _lock: lock })
}

fn lock(disk: &Disk) -> Result<Option<LockGuard>, EngineError> {
    // Not made where there is none: a check leaves no traces.
    if !folder::exists(disk, folder::LOCK)? {
        return Ok(None);
    }
    let locked = disk.lock(folder::LOCK);
    match locked.map_err(EngineError::io("lock", disk.describe(folder::LOCK)))? {
        LockOutcome::Acquired(guard) => Ok(Some(guard)),
        LockOutcome::HeldBy(holder) => Err(EngineError::FolderLocked {
            folder: disk.describe(""),
            holder: format!("process {holder}"),
        }),
    }
}

/// The folders of stores: the disk itself, or those of a data folder.
fn store_folders(disk: &Disk) -> Result<Vec<String>, EngineError> {
    let mut found = Vec::new();
    if folder::exists(disk, folder::SYSTEM_STORE)? {
        found.push(folder::SYSTEM_STORE.to_owned());
    }
    for parent in [folder::DATABASES, folder::DROPPED] {
        if folder::exists(disk, parent)? {
            let entries = disk.list(parent);
            let entries = entries.map_err(EngineError::io("list", disk.describe(parent)))?;
            let folders = entries.into_iter().filter(|entry| entry.is_dir);
            found.extend(folders.map(|entry| format!("{parent}/{}", entry.name)));
        }
    }
    if found.is_empty() {
        found.push(String::new());
    }
    Ok(found)
}

/// Reads everything that the newest root reaches.
fn walk(store: &StoreCheck) -> Result<(Copied, Vec<Missing>), EngineError> {
    let (mut reached, mut missing) = (Copied::default(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut open: Vec<(Hash, Option<Hash>)> = Vec::new();
    if !store.root.root.is_none() {
        open.push((store.root.root, None));
    }
    while let Some((hash, referred_by)) = open.pop() {
        if !seen.insert(hash) {
            continue;
        }
        let mut lost = |detail: String| {
            missing.push(Missing {
                hash,
                referred_by,
                detail,
            });
        };
        let chunk: Bytes = match store.get(&hash) {
            Ok(chunk) => chunk,
            Err(ChunkError::Missing { .. }) => {
                lost("it is not there, or damaged".to_owned());
                continue;
            }
            Err(ChunkError::Corrupt { file, offset, detail }) => {
                lost(format!("{file}, offset {offset}: {detail}"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        reached.chunks += 1;
        reached.bytes += chunk.len() as u64;
        match links(&chunk) {
            Ok(below) => open.extend(below.into_iter().rev().map(|link: Link| (link.hash, Some(hash)))),
            Err(error) => lost(format!("it is not understood: {error}")),
        }
    }
    Ok((reached, missing))
}
