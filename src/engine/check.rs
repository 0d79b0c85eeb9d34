//! Checks of a data folder that no server has open.
//!
//! A check reads every file of every store, and then walks from the newest root: everything that is referred to must be
//! there and be understood. It changes nothing; [`super::repair`] does.
//!
//! Must not know: how files of a store are laid out.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::copy::Copied;
use super::{EngineError, System, backup, folder, repair};
use crate::chunk::{
    ChunkError, ChunkStore, Hash, Link, ReadChunks, StoreCheck, StoreOptions, check_store, looks_like_a_store,
};
use crate::runtime::disk::{Disk, LockGuard};
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

/// Something about a folder, beside what is in the files of its stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The file or folder, as an operator knows it.
    pub place: String,
    pub detail: String,
}

/// What a check found of a data folder, or of a single store.
pub struct FolderCheck {
    /// To this the paths of the stores are relative.
    pub disk: Disk,
    pub stores: Vec<CheckedStore>,
    /// What is wrong and is no damage of a store that could be read.
    pub problems: Vec<Remark>,
    /// What does no harm.
    pub remarks: Vec<Remark>,
    /// Keeps servers, and writers of backups, out while the result is used.
    _lock: Option<LockGuard>,
}

impl FolderCheck {
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.stores.iter().all(CheckedStore::is_sound)
    }

    /// What is right in each store, for whoever lacks it.
    pub fn readers(&self) -> Vec<&dyn ReadChunks> {
        let stores = self.stores.iter();
        stores.map(|store| &store.files as &dyn ReadChunks).collect()
    }
}

/// What is told while a check runs: the store, how many bytes of it were read, and how many there are.
pub type FolderProgress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Checks a data folder, or a backup of any kind. What cannot be read is told, and the check goes on with the rest.
///
/// # Errors
/// `FolderLocked` while a server runs there: its files change. `Store` when nothing there is a store.
pub fn check_folder(disk: &Disk, progress: FolderProgress<'_>) -> Result<FolderCheck, EngineError> {
    let mut check = FolderCheck {
        disk: disk.clone(),
        stores: Vec::new(),
        problems: Vec::new(),
        remarks: Vec::new(),
        _lock: None,
    };
    let is_data_folder = folder::exists(disk, folder::CONTROL_FOLDER)? || folder::exists(disk, folder::DATABASES)?;
    if is_data_folder {
        check._lock = lock_if_there(disk, folder::LOCK)?;
        check.read_data_folder(progress)?;
    } else {
        check._lock = lock_if_there(disk, backup::LOCK)?;
        check.stores.push(check_at(disk, "", progress)?);
    }
    Ok(check)
}

/// Checks one store, the folder `name` in `parent`. One that belongs to a data folder is checked as a part of that.
///
/// # Errors
/// `FolderLocked` while a server runs in the data folder, or a backup is written; `Store` when it is no store.
pub fn check_one_store(parent: &Disk, name: &str, progress: FolderProgress<'_>) -> Result<FolderCheck, EngineError> {
    let store = parent.sub(name);
    let above = store.above_with(folder::LOCK);
    let above = above.map_err(EngineError::io("look above", store.describe("")))?;
    let (disk, path, lock) = match above {
        Some((disk, path)) if folder::is_place_of_stores(&path) => {
            let lock = lock_if_there(&disk, folder::LOCK)?;
            (disk, path, lock)
        }
        _ => (parent.clone(), name.to_owned(), lock_if_there(&store, backup::LOCK)?),
    };
    Ok(FolderCheck {
        stores: vec![check_at(&disk, &path, progress)?],
        disk,
        problems: Vec::new(),
        remarks: Vec::new(),
        _lock: lock,
    })
}

/// A lock is not made where there is none: a check leaves no traces.
fn lock_if_there(disk: &Disk, file: &str) -> Result<Option<LockGuard>, EngineError> {
    if !folder::exists(disk, file)? {
        return Ok(None);
    }
    folder::lock(disk, file, "process").map(Some)
}

fn check_at(disk: &Disk, path: &str, progress: FolderProgress<'_>) -> Result<CheckedStore, EngineError> {
    let files = check_store(disk, path, &mut |done, total| progress(path, done, total))?;
    let (reachable, missing) = walk(&files);
    Ok(CheckedStore {
        path: path.to_owned(),
        files,
        reachable,
        missing,
    })
}

impl FolderCheck {
    fn problem(&mut self, path: &str, detail: impl ToString) {
        let (place, detail) = (self.disk.describe(path), detail.to_string());
        self.problems.push(Remark { place, detail });
    }

    fn remark(&mut self, path: &str, detail: &str) {
        let (place, detail) = (self.disk.describe(path), detail.to_owned());
        self.remarks.push(Remark { place, detail });
    }

    fn read_data_folder(&mut self, progress: FolderProgress<'_>) -> Result<(), EngineError> {
        if let Err(error) = folder::check_format(&self.disk) {
            self.problem(folder::FORMAT, error);
        }
        let system = folder::SYSTEM_STORE;
        if looks_like_a_store(&self.disk, system)? {
            self.read_store(system, progress);
        } else {
            self.problem(system, folder::NO_SYSTEM_STORE);
        }
        let listed = self.listed();
        for parent in [folder::DATABASES, folder::DROPPED] {
            for path in folder::folders_in(&self.disk, parent)? {
                if repair::is_being_made(&path) {
                    self.remark(&path, "a repair was interrupted here: the next start ends it");
                    continue;
                }
                let is_listed = listed
                    .as_ref()
                    .map(|listed| listed.iter().any(|(_, folder)| *folder == path));
                if looks_like_a_store(&self.disk, &path)? {
                    self.read_store(&path, progress);
                } else if parent == folder::DATABASES && is_listed != Some(false) {
                    self.problem(&path, "it is not a store: its files are missing");
                } else {
                    self.remark(&path, "it is not a store");
                }
                if parent == folder::DATABASES && is_listed == Some(false) {
                    self.remark(
                        &path,
                        "the list of databases does not have it: the next start moves it aside",
                    );
                }
            }
        }
        for (name, path) in listed.unwrap_or_default() {
            if !folder::exists(&self.disk, &path)? {
                let detail = format!(
                    "database \"{name}\" is listed and its folder is missing: restore it from a backup (on a standby \
                     the next start makes it, and its primary fills it)"
                );
                self.problem(&path, detail);
            }
        }
        Ok(())
    }

    fn read_store(&mut self, path: &str, progress: FolderProgress<'_>) {
        match check_at(&self.disk, path, progress) {
            Ok(store) => self.stores.push(store),
            Err(error) => self.problem(path, error),
        }
    }

    /// The databases and their folders, as the system store lists them; `None` when it cannot be read.
    fn listed(&self) -> Option<Vec<(String, String)>> {
        let store = ChunkStore::open_unchanging(&self.disk, folder::SYSTEM_STORE, &StoreOptions::default()).ok()?;
        let listed = System::listed_in(store).ok()?;
        let folders = listed.into_iter().map(|(name, id)| {
            let folder = folder::database_folder(&name, id);
            (name, folder)
        });
        Some(folders.collect())
    }
}

/// Reads everything that the newest root reaches.
fn walk(store: &StoreCheck) -> (Copied, Vec<Missing>) {
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
            Err(error) => {
                lost(error.to_string());
                continue;
            }
        };
        reached.chunks += 1;
        reached.bytes += chunk.len() as u64;
        match links(&chunk) {
            Ok(below) => open.extend(below.into_iter().rev().map(|link: Link| (link.hash, Some(hash)))),
            Err(error) => lost(format!("it is not understood: {error}")),
        }
    }
    (reached, missing)
}
