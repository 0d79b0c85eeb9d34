//! A disk in memory that fails as disks fail, at the wish of a test or of the simulator.
//!
//! A [`SimDisk`] outlives the processes that use it. Each process, an *incarnation*, has its own handle, and every call
//! through the handle of a dead incarnation fails: code that runs in the `Drop` of a killed server must not write.
//!
//! A file is a durable image and the writes since the last sync; a directory is a durable map of names, and all changes
//! of names not yet synced stand in one journal, as in a journalling file system. At loss of power, each unsynced write
//! survives, is lost or is torn at sectors, in any order; of the journal a prefix survives, often none. What survives
//! is drawn from the disk's own seeded stream, so that a disk is the same in every run of a seed.
//!
//! Invariants
//! - What a successful sync covered is in the durable image until something else is written over it.
//! - The durable image holds only bytes that were written, and zeros where a length grew.
//!
//! Must not know: the simulator's network or scheduler (ordinary tests use this disk too), what the files mean.

mod file;
mod names;

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Backend, DirEntry, Disk, FileBackend, LockGuard, LockOutcome, OpenMode, SyncFuture};
use file::FileState;
use names::{Change, Names, Node};

/// What may go wrong while the power is on. [`DiskFaults::default`] is a disk without faults.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DiskFaults {
    /// Bytes in all files at which the disk is full.
    pub full_at: Option<u64>,
    /// After this many more syncs of files, one fails with EIO, and the writes it should have saved are dropped but
    /// read as if they were there until the power goes: what Linux does.
    pub fail_sync_after: Option<u64>,
    /// How long a sync takes.
    pub sync_latency: Option<RangeInclusive<Duration>>,
}

/// Something that happened, for who watches: a word, the path, and a number (bytes, mostly).
pub type DiskObserver = Box<dyn Fn(&'static str, &str, u64) + Send + Sync>;

/// One simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

struct Shared {
    label: String,
    state: Mutex<State>,
    observer: Mutex<Option<DiskObserver>>,
}

struct State {
    rng: ChaCha8Rng,
    /// Number of the living process; handles of others are dead.
    incarnation: u64,
    names: Names,
    faults: DiskFaults,
    syncs: u64,
    power_off_after_syncs: Option<u64>,
    /// Path of each held lock to the number of its guard.
    locks: BTreeMap<String, u64>,
    next_lock: u64,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDisk({})", self.0.label)
    }
}

impl SimDisk {
    /// An empty disk, which draws its accidents from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        SimDisk::labelled("sim", key)
    }

    /// An empty disk with a name for messages and a whole key for its stream.
    pub fn labelled(label: impl Into<String>, key: [u8; 32]) -> SimDisk {
        let state = State {
            rng: ChaCha8Rng::from_seed(key),
            incarnation: 0,
            names: Names::new(),
            faults: DiskFaults::default(),
            syncs: 0,
            power_off_after_syncs: None,
            locks: BTreeMap::new(),
            next_lock: 0,
        };
        SimDisk(Arc::new(Shared {
            label: label.into(),
            state: Mutex::new(state),
            observer: Mutex::new(None),
        }))
    }

    /// The disk as the living process sees it. After [`SimDisk::kill`] or [`SimDisk::power_off`] a new handle is due.
    pub fn disk(&self) -> Disk {
        let incarnation = self.0.state.lock().incarnation;
        Disk {
            backend: Arc::new(Handle {
                shared: self.0.clone(),
                incarnation,
            }),
            prefix: String::new(),
        }
    }

    /// The process dies: nothing written is lost, its handles are dead, its locks are free.
    pub fn kill(&self) {
        self.0.state.lock().bury();
        self.0.observe("kill", "", 0);
    }

    /// The machine loses power: what was not synced is lost, torn or reordered; handles are dead, locks are free.
    pub fn power_off(&self) {
        self.0.state.lock().power_off();
        self.0.observe("power off", "", 0);
    }

    /// How many syncs, of files and directories, have succeeded.
    pub fn syncs(&self) -> u64 {
        self.0.state.lock().syncs
    }

    /// Lets `n` more syncs succeed, then the power goes off in the middle of the next one: what that one was to save
    /// is lost, torn or saved.
    pub fn power_off_after_syncs(&self, n: u64) {
        self.0.state.lock().power_off_after_syncs = Some(n);
    }

    /// Whether the process that `disk` belongs to still lives.
    pub fn is_alive(&self, disk: &Disk) -> bool {
        disk.exists("").is_ok()
    }

    /// From now on these faults.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.0.state.lock().faults = faults;
    }

    /// The faults in force.
    pub fn faults(&self) -> DiskFaults {
        self.0.state.lock().faults.clone()
    }

    /// From now on each sync takes a time within this range, by [`crate::runtime::sleep`].
    pub fn set_sync_latency(&self, latency: RangeInclusive<Duration>) {
        self.0.state.lock().faults.sync_latency = Some(latency);
    }

    /// The disk is full when all files together hold this many bytes.
    pub fn full_at(&self, bytes: Option<u64>) {
        self.0.state.lock().faults.full_at = bytes;
    }

    /// Tells each sync, loss and refusal to `observer`, which must not use the disk.
    pub fn observe(&self, observer: DiskObserver) {
        *self.0.observer.lock() = Some(observer);
    }

    /// Flips one bit at rest: readers see it at once, and no sync repairs it.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        let file = self.0.state.lock().names.file(path)?;
        let mut file = file.lock();
        file.flip(offset, bit)
    }

    /// Everything that was not synced is dropped although the process lives on, as if it had never been written.
    pub fn drop_unsynced(&self) {
        self.0.state.lock().names.drop_unsynced();
    }
}

impl Shared {
    fn observe(&self, kind: &'static str, path: &str, number: u64) {
        if let Some(observer) = &*self.observer.lock() {
            observer(kind, path, number);
        }
    }
}

impl State {
    fn bury(&mut self) {
        self.incarnation += 1;
        self.locks.clear();
        self.power_off_after_syncs = None;
    }

    fn power_off(&mut self) {
        self.bury();
        let State { names, rng, .. } = self;
        names.power_off(rng);
    }

    /// Refuses growth beyond what the disk holds.
    fn reserve(&self, more: u64) -> io::Result<()> {
        match self.faults.full_at {
            Some(limit) if self.names.bytes() + more > limit => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    /// Counts a sync that is about to take effect; the power may go off instead.
    fn begin_sync(&mut self) -> io::Result<()> {
        match &mut self.power_off_after_syncs {
            Some(0) => {
                self.power_off();
                Err(dead())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn draw_latency(&mut self) -> Duration {
        match &self.faults.sync_latency {
            Some(range) => self.rng.random_range(range.clone()),
            None => Duration::ZERO,
        }
    }
}

/// What every call of a dead process gets.
fn dead() -> io::Error {
    io::Error::other("this process is dead: its disk answers no more")
}

#[derive(Clone)]
struct Handle {
    shared: Arc<Shared>,
    incarnation: u64,
}

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.shared.state.lock();
        if state.incarnation != self.incarnation {
            return Err(dead());
        }
        work(&mut state)
    }

    /// A sync: takes its time, then saves what was there when it began.
    fn sync(
        &self,
        kind: &'static str,
        path: String,
        save: impl FnOnce(&mut State) -> io::Result<u64> + Send + 'static,
    ) -> SyncFuture {
        let handle = self.clone();
        Box::pin(async move {
            let latency = handle.with(|state| Ok(state.draw_latency()))?;
            if !latency.is_zero() {
                crate::runtime::sleep(latency).await;
            }
            let saved = handle.with(|state| {
                state.begin_sync()?;
                let saved = save(state)?;
                state.syncs += 1;
                Ok(saved)
            });
            match &saved {
                Ok(bytes) => handle.shared.observe(kind, &path, *bytes),
                Err(_) => handle.shared.observe("sync failed", &path, 0),
            }
            saved.map(|_| ())
        })
    }
}

impl Backend for Handle {
    fn describe(&self, path: &str) -> String {
        format!("{}:/{path}", self.shared.label)
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn FileBackend>> {
        let state = self.with(|state| match (state.names.find(path)?, mode) {
            (Some(_), OpenMode::Create) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(_), _) => state.names.file(path),
            (None, OpenMode::Read | OpenMode::ReadWrite) => Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateOrOpen) => {
                let (dir, name) = state.names.parent(path)?;
                let (id, file) = state.names.new_file();
                state.names.change(Change::Link { dir, name, id });
                Ok(file)
            }
        })?;
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(OpenFile {
            handle: self.clone(),
            path: path.to_owned(),
            state,
            writable,
        }))
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.with(|state| state.names.create_dir_all(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|state| state.names.rename(from, to))
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.with(|state| {
            state.names.file(path)?;
            let (dir, name) = state.names.parent(path)?;
            state.names.change(Change::Unlink { dir, name });
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        self.with(|state| state.names.remove_dir_all(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        self.with(|state| {
            let dir = state.names.dir(path)?;
            let entry = |(name, node): (&String, &Node)| match node {
                Node::Dir(_) => DirEntry {
                    name: name.clone(),
                    is_dir: true,
                    len: 0,
                },
                Node::File(file) => DirEntry {
                    name: name.clone(),
                    is_dir: false,
                    len: file.lock().len(),
                },
            };
            Ok(state.names.entries(dir).map(entry).collect())
        })
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.with(|state| match state.names.find(path) {
            Ok(found) => Ok(found.is_some()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn sync_dir(&self, path: &str) -> SyncFuture {
        // Opening the directory comes first, and what happens to names during the sync need not be saved by it.
        let begun = self.with(|state| Ok((state.names.dir(path)?, state.names.journal_end())));
        match begun {
            Ok((dir, end)) => self.sync("sync dir", path.to_owned(), move |state| {
                state.names.sync_dir(dir, end);
                Ok(0)
            }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn lock(&self, path: &str) -> io::Result<LockOutcome> {
        // Ask before opening: another process's id must stay readable in the file.
        if self.with(|state| Ok(state.locks.contains_key(path)))? {
            return Ok(LockOutcome::HeldBy(format!("{} (simulated)", self.incarnation)));
        }
        let file = self.open(path, OpenMode::CreateOrOpen)?;
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", self.incarnation).as_bytes(), 0)?;
        let number = self.with(|state| {
            state.next_lock += 1;
            state.locks.insert(path.to_owned(), state.next_lock);
            Ok(state.next_lock)
        })?;
        Ok(LockOutcome::Acquired(LockGuard(Box::new(HeldLock {
            handle: self.clone(),
            path: path.to_owned(),
            number,
        }))))
    }
}

struct HeldLock {
    handle: Handle,
    path: String,
    number: u64,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // The locks of a dead process are free already, and may be another's by now.
        let _ = self.handle.with(|state| {
            if state.locks.get(&self.path) == Some(&self.number) {
                state.locks.remove(&self.path);
            }
            Ok(())
        });
    }
}

struct OpenFile {
    handle: Handle,
    path: String,
    state: Arc<Mutex<FileState>>,
    writable: bool,
}

impl OpenFile {
    fn change(&self, work: impl FnOnce(&mut State, &mut FileState) -> io::Result<()>) -> io::Result<()> {
        if !self.writable {
            let message = format!("{} was opened for reading", self.handle.describe(&self.path));
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let changed = self.handle.with(|state| work(state, &mut self.state.lock()));
        if changed
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
        {
            self.handle.shared.observe("disk full", &self.path, 0);
        }
        changed
    }
}

impl FileBackend for OpenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.handle.with(|_| Ok(self.state.lock().read_at(buf, offset)))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|state, file| {
            let end = offset
                .checked_add(bytes.len() as u64)
                .ok_or(io::ErrorKind::FileTooLarge)?;
            let more = end.saturating_sub(file.len());
            // The lock on the file is held, which the sum over all files would need: add it afterwards.
            if more > 0 {
                state.reserve(more)?;
                state.names.grow(more as i64);
            }
            file.write(offset, bytes);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.handle.with(|_| Ok(self.state.lock().len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|state, file| {
            let before = file.len();
            if len > before {
                state.reserve(len - before)?;
            }
            state.names.grow(len as i64 - before as i64);
            file.set_len(len);
            Ok(())
        })
    }

    fn sync(&self) -> SyncFuture {
        let file = self.state.clone();
        let pending = file.lock().pending();
        self.handle.sync("sync", self.path.clone(), move |state| {
            let mut file = file.lock();
            match &mut state.faults.fail_sync_after {
                Some(0) => {
                    state.faults.fail_sync_after = None;
                    file.lose(pending);
                    return Err(io::Error::from_raw_os_error(libc::EIO));
                }
                Some(left) => *left -= 1,
                None => {}
            }
            Ok(file.sync(pending))
        })
    }
}
