//! Repairs of stores that a check found damaged.
//!
//! A store is made again beside the damaged one, from what is right in it and what others have; then the two change
//! places, and the damaged one is kept. Others that can only be asked are asked first, for what is missing and for what
//! turns out to be missing below that; what they gave lies in a store of its own until the repair is over.
//!
//! Invariants
//! - A chunk is taken from others only when its bytes have its hash.
//! - Until everything is there, the damaged store is as it was and where it was. From then on the new one is found, by
//!   its name, by a start that comes between the two moves.
//!
//! Must not know: how files of a store are laid out, who the others are.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;

use super::check::CheckedStore;
use super::copy::{Copied, copy_root};
use super::folder::{DAMAGED, FETCHED};
use super::replicated::check_hash;
use super::{EngineError, backup, folder};
use crate::chunk::{ChunkError, ChunkStore, Hash, ReadChunks, StoreCheck, StoreOptions};
use crate::runtime;
use crate::runtime::disk::Disk;
use crate::version::links;

/// What the name of a store that is being made again ends with.
const REPAIRED: &str = ".repaired";
/// So many chunks are asked for at once: a walk finds more while the others look these up.
const ASKED_AT_ONCE: usize = 256;

/// Somebody who has chunks and gives them when asked.
pub trait AskForChunks {
    /// # Errors
    /// Why there was no answer.
    fn ask(&mut self, hashes: &[Hash]) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// What there is of some chunks, in any order. Those in neither list were too many for one answer. Nothing here is
/// believed: whoever answers may be mistaken.
#[derive(Debug, Default)]
pub struct Answer {
    pub given: Vec<(Hash, Bytes)>,
    pub absent: Vec<Hash>,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Whoever was asked did not answer.
    #[error("{0}")]
    NoAnswer(String),
}

/// What others gave of what a damaged store lacks.
pub(super) struct Fetched {
    store: Option<ChunkStore>,
    disk: Disk,
    place: String,
    pub copied: Copied,
    /// What they do not have either.
    pub absent: Vec<Hash>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Fetched");
        shown.field("copied", &self.copied).field("absent", &self.absent);
        shown.finish_non_exhaustive()
    }
}

impl Fetched {
    async fn new(disk: &Disk, damaged: &CheckedStore) -> Result<Fetched, EngineError> {
        let place = match is_of_data_folder(&damaged.path) {
            true => FETCHED.to_owned(),
            false => format!("{}.fetched", damaged.path),
        };
        if folder::exists(disk, &place)? {
            folder::remove(disk, &place)?;
        }
        let store = ChunkStore::create(disk, &place, &StoreOptions::default()).await?;
        Ok(Fetched {
            store: Some(store),
            disk: disk.clone(),
            place,
            copied: Copied::default(),
            absent: Vec::new(),
        })
    }

    async fn keep(&mut self, chunks: Vec<(Hash, Bytes)>) -> Result<(), EngineError> {
        let store = self.store.as_ref().expect("there until it is dropped");
        store.room().await?;
        self.copied.chunks += chunks.len() as u64;
        self.copied.bytes += chunks.iter().map(|(_, chunk)| chunk.len() as u64).sum::<u64>();
        Ok(store.append_chunks(chunks)?)
    }
}

impl ReadChunks for Fetched {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        self.store.as_ref().expect("there until it is dropped").get(hash)
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.store.as_ref().expect("there until it is dropped").contains(hash)
    }
}

/// It was there for one repair. What cannot be removed now is removed by the next.
impl Drop for Fetched {
    fn drop(&mut self) {
        self.store = None;
        if let Err(error) = folder::remove(&self.disk, &self.place) {
            tracing::warn!(%error, "what was fetched for a repair is still there");
        }
    }
}

/// Asks others for all that a damaged store lacks, and for what they do not have either learns its name. Nothing of the
/// damaged store changes.
///
/// # Errors
/// `NoAnswer`; `WrongHash` when a chunk came with other bytes; `Object` for one that is not understood; `Store`, `Io`.
pub(super) async fn fetch_missing(
    disk: &Disk,
    damaged: &CheckedStore,
    others: &mut impl AskForChunks,
    progress: &mut (dyn FnMut(Copied) + Send),
) -> Result<Fetched, FetchError> {
    let own = &damaged.files;
    let mut fetched = Fetched::new(disk, damaged).await?;
    let mut open: Vec<Hash> = damaged.missing.iter().map(|missing| missing.hash).collect();
    let (mut seen, mut wanted) = (BTreeSet::new(), Vec::new());
    loop {
        // What is here below a chunk that was missing was not walked by the check.
        while let Some(hash) = open.pop() {
            if !seen.insert(hash) {
                continue;
            }
            match own.get(&hash) {
                // The check did not understand it; whoever makes the store again says so.
                Ok(chunk) => open.extend(links(&chunk).unwrap_or_default().into_iter().map(|link| link.hash)),
                Err(ChunkError::Missing { .. } | ChunkError::Corrupt { .. } | ChunkError::Io { .. }) => {
                    wanted.push(hash)
                }
                Err(error) => return Err(EngineError::from(error).into()),
            }
        }
        if wanted.is_empty() {
            return Ok(fetched);
        }
        let asked = wanted.split_off(wanted.len().saturating_sub(ASKED_AT_ONCE));
        let mut awaited: BTreeSet<Hash> = asked.iter().copied().collect();
        let Answer { mut given, mut absent } = others.ask(&asked).await.map_err(FetchError::NoAnswer)?;
        given.retain(|(hash, _)| awaited.remove(hash));
        absent.retain(|hash| awaited.remove(hash));
        if awaited.len() == asked.len() {
            let text = "the answer has nothing of what was asked for".to_owned();
            return Err(FetchError::NoAnswer(text));
        }
        wanted.extend(awaited);
        for (hash, chunk) in &given {
            check_hash(*hash, chunk)?;
            let below = links(chunk).map_err(EngineError::Object)?;
            open.extend(below.into_iter().map(|link| link.hash));
        }
        fetched.keep(given).await?;
        fetched.absent.extend(absent);
        progress(fetched.copied);
        runtime::yield_now().await;
    }
}

/// What a repair from others is doing.
#[derive(Debug, Clone, Copy)]
pub enum RepairStep {
    Fetching(Copied),
    /// All that was lacking is here.
    Fetched(Copied),
    Copying(Copied),
}

#[derive(Debug, thiserror::Error)]
pub enum RepairFailed {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Whoever was asked does not have these chunks either.
    #[error("it does not have {} of the chunks that are lacking", .0.len())]
    Absent(Vec<Hash>),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Makes a damaged store again with what others have of what it lacks; gives the folder to which the damaged one was moved.
///
/// # Errors
/// As of [`repair_store`]; `Fetch` when they do not answer, or not rightly; `Absent`, and nothing was changed then.
pub async fn repair_from_others(
    disk: &Disk,
    damaged: &CheckedStore,
    others: &mut impl AskForChunks,
    progress: &mut (dyn FnMut(RepairStep) + Send),
) -> Result<String, RepairFailed> {
    let mut fetching = |copied| progress(RepairStep::Fetching(copied));
    let mut fetched = fetch_missing(disk, damaged, others, &mut fetching).await?;
    if !fetched.absent.is_empty() {
        return Err(RepairFailed::Absent(std::mem::take(&mut fetched.absent)));
    }
    progress(RepairStep::Fetched(fetched.copied));
    let mut copying = |copied| progress(RepairStep::Copying(copied));
    Ok(repair_store(disk, damaged, &[&fetched], &mut copying).await?)
}

/// What is right in one store, and what others have.
struct Mended<'a> {
    own: &'a StoreCheck,
    others: &'a [&'a dyn ReadChunks],
}

impl ReadChunks for Mended<'_> {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        if let Ok(chunk) = self.own.get(hash) {
            return Ok(chunk);
        }
        let other = self.others.iter().find(|other| other.contains(hash));
        other.ok_or(ChunkError::Missing { hash: *hash })?.get(hash)
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.own.contains(hash) || self.others.iter().any(|other| other.contains(hash))
    }
}

/// Makes a damaged store again, at its newest root, with what `others` have of what it lacks; gives the folder to which
/// the damaged one was moved.
///
/// # Errors
/// `Store` with `Missing` when nobody has a chunk, with `Corrupt` when its newest root cannot be read: an older state, or
/// an empty store, would be no repair. Nothing was changed then. `Io`.
pub async fn repair_store(
    disk: &Disk,
    damaged: &CheckedStore,
    others: &[&dyn ReadChunks],
    progress: &mut (dyn FnMut(Copied) + Send),
) -> Result<String, EngineError> {
    let path = damaged.path.as_str();
    let record = damaged.files.root;
    if record.root.is_none() || damaged.files.newest_is_lost {
        let first = damaged.files.damage.first();
        return Err(EngineError::Store(ChunkError::Corrupt {
            file: first.map_or_else(|| disk.describe(path), |damage| damage.file.clone()),
            offset: first.map_or(0, |damage| damage.offset),
            detail: match record.root.is_none() {
                true => "no root of the store can be read, so nothing says what it held".to_owned(),
                false => format!(
                    "the newest root cannot be read, and root {} before it is without what was committed later",
                    record.sequence
                ),
            },
        }));
    }
    let repaired = format!("{path}{REPAIRED}");
    if folder::exists(disk, &repaired)? {
        folder::remove(disk, &repaired)?;
    }
    let made = async {
        let store = ChunkStore::create(disk, &repaired, &StoreOptions::default()).await?;
        let source = Mended {
            own: &damaged.files,
            others,
        };
        copy_root(&source, &record, &store, progress).await?;
        if folder::exists(disk, &format!("{path}/{}", backup::MARKER))? {
            backup::write_marker(disk, &format!("{repaired}/{}", backup::MARKER)).await?;
        }
        Ok::<_, EngineError>(())
    };
    if let Err(error) = made.await {
        folder::remove(disk, &repaired)?;
        return Err(error);
    }
    let parent = path.rfind('/').map_or("", |slash| &path[..slash]);
    let (kept_in, first) = if is_of_data_folder(path) {
        disk.create_dir_all(DAMAGED)
            .map_err(EngineError::io("create folder", disk.describe(DAMAGED)))?;
        folder::sync_folder(disk, folder::CONTROL_FOLDER).await?;
        let name = path.rsplit('/').next().unwrap_or(path);
        (DAMAGED, format!("{DAMAGED}/{name}"))
    } else {
        (parent, format!("{path}.damaged"))
    };
    let kept = folder::free_name(disk, first)?;
    // What takes its place is there to stay before the damaged one goes.
    folder::sync_folder(disk, parent).await?;
    folder::rename(disk, path, &kept)?;
    folder::rename(disk, &repaired, path)?;
    folder::sync_folder(disk, parent).await?;
    folder::sync_folder(disk, kept_in).await?;
    Ok(kept)
}

/// Whether a store of this name is the new one of a repair.
pub(super) fn is_being_made(path: &str) -> bool {
    path.ends_with(REPAIRED)
}

/// Ends what a crash left of repairs in a data folder. Where the damaged store was moved away, the new one is whole and
/// takes its place; where it was not, the new one may be half made and is removed.
pub(super) async fn finish_interrupted(disk: &Disk, options: &StoreOptions) -> Result<(), EngineError> {
    for parent in [folder::CONTROL_FOLDER, folder::DATABASES, folder::DROPPED] {
        for repaired in folder::folders_in(disk, parent)? {
            let Some(path) = repaired.strip_suffix(REPAIRED) else {
                continue;
            };
            if folder::exists(disk, path)? {
                folder::remove(disk, &repaired)?;
            } else {
                ChunkStore::open_unchanging(disk, &repaired, options)?;
                folder::rename(disk, &repaired, path)?;
                tracing::warn!(
                    folder = disk.describe(path),
                    "a repair that was interrupted is finished"
                );
            }
            folder::sync_folder(disk, parent).await?;
        }
    }
    Ok(())
}

/// Whether a store is one of those of a data folder; others lie directly in what was checked.
fn is_of_data_folder(path: &str) -> bool {
    path.contains('/')
}
