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
//! While the power is on, [`DiskFaults`] make it lie, fail, fill up or stall, drawn from a second stream of the same
//! seed, so that switching one off leaves the accidents at loss of power as they were. Every fault is noted down
//! ([`SimDisk::injected`]): who judges a run can excuse exactly what was injected.
//!
//! Invariants
//! - What a successful sync covered is in the durable image until something else is written over it, unless a fault
//!   is on record that says otherwise.
//! - Without such a fault the durable image holds only bytes that were written, and zeros where a length grew.
//! - A file whose last name is gone is read and written by those who have it open, and takes space until they close it.
//!
//! Must not know: the simulator's network or scheduler (ordinary tests use this disk too), what the files mean.

mod faults;
mod file;
mod handle;
mod names;

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Disk;
pub use faults::{DiskFaults, Fault, FaultKind, Ppm};
use faults::{Noted, happens};
use handle::Handle;
use names::Names;

/// Something that happened, for who watches.
#[derive(Debug, Clone, Copy)]
pub struct DiskEvent<'a> {
    pub kind: &'static str,
    pub path: &'a str,
    /// The offset of a fault, the bytes of a sync.
    pub number: u64,
    /// Of a sync of a file: depends on what was saved, and where.
    pub digest: Option<u64>,
}

pub type DiskObserver = Box<dyn Fn(DiskEvent<'_>) + Send + Sync>;

/// One simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

struct Shared {
    label: String,
    state: Mutex<State>,
    observer: Mutex<Option<DiskObserver>>,
}

struct State {
    /// Decides what a loss of power does, and how long things take.
    rng: ChaCha8Rng,
    /// Decides when faults strike, and where.
    luck: ChaCha8Rng,
    injected: Vec<Noted>,
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
        let mut luck = ChaCha8Rng::from_seed(key);
        luck.set_stream(1);
        let state = State {
            rng: ChaCha8Rng::from_seed(key),
            luck,
            injected: Vec::new(),
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

    /// Everything is gone, as if the disk had been replaced by an empty one that is like it. The process that used it dies.
    pub fn wipe(&self) {
        let mut state = self.0.state.lock();
        state.names = Names::new();
        state.injected.clear();
        state.bury();
        drop(state);
        self.0.observe("wipe", "", 0);
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

    /// Bytes in all files.
    pub fn used(&self) -> u64 {
        let mut state = self.0.state.lock();
        state.names.recount();
        state.names.bytes()
    }

    /// Of every file's name, and of all bytes that a reader would get.
    pub fn digest(&self) -> String {
        let files = self.0.state.lock().names.files();
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; 64 << 10];
        for (path, file) in files {
            let file = file.lock();
            for number in [path.len() as u64, file.len()] {
                hasher.update(&number.to_le_bytes());
            }
            hasher.update(path.as_bytes());
            let mut offset = 0;
            // What cannot be read is as good as not there.
            while let Ok(bytes) = file.read_at(&mut piece, offset)
                && bytes > 0
            {
                hasher.update(&piece[..bytes]);
                offset += bytes as u64;
            }
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Everything that went wrong so far by fault, oldest first. Losses of power and kills are not among it.
    pub fn injected(&self) -> Vec<Fault> {
        let state = self.0.state.lock();
        state.injected.iter().map(|noted| noted.fault.clone()).collect()
    }

    /// Tells each sync, loss, fault and refusal to `observer`, which must not use the disk.
    pub fn observe(&self, observer: DiskObserver) {
        *self.0.observer.lock() = Some(observer);
    }

    /// Flips one bit at rest: readers see it at once, and no sync repairs it.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        let fault = {
            let mut state = self.0.state.lock();
            let file = state.names.file(path)?;
            let mut file = file.lock();
            file.flip(offset, bit)?;
            state.note(FaultKind::BitRot, path, Some(file.id), offset, 1)
        };
        self.0.observe(fault.kind.word(), &fault.path, fault.offset);
        Ok(())
    }

    /// The sector of a file at `offset` cannot be read from now on: EIO, until the file is another one.
    pub fn spoil(&self, path: &str, offset: u64) -> io::Result<()> {
        let file = self.0.state.lock().names.file(path)?;
        file.lock().spoil(offset);
        Ok(())
    }

    /// Flips a bit of some file at rest, and says where; `None` when there is nothing to flip.
    pub fn rot(&self) -> Option<Fault> {
        let (path, offset, bit) = {
            let mut guard = self.0.state.lock();
            let State { names, luck, locks, .. } = &mut *guard;
            let files = names.files().into_iter().map(|(path, file)| (path, file.lock().len()));
            let files: Vec<_> = files
                .filter(|(path, len)| *len > 0 && !locks.contains_key(path))
                .collect();
            // By bytes, as nature would have it.
            let mut at = luck.random_range(0..files.iter().map(|(_, len)| len).sum::<u64>().max(1));
            let file = files.into_iter().find(|(_, len)| match at.checked_sub(*len) {
                Some(rest) => {
                    at = rest;
                    false
                }
                None => true,
            });
            (file?.0, at, luck.random_range(0..8))
        };
        self.flip_bit(&path, offset, bit).ok()?;
        self.injected().pop()
    }

    /// Everything that was not synced is dropped although the process lives on, as if it had never been written.
    pub fn drop_unsynced(&self) {
        self.0.state.lock().names.drop_unsynced();
    }
}

impl Shared {
    fn observe(&self, kind: &'static str, path: &str, number: u64) {
        let digest = None;
        self.tell(DiskEvent {
            kind,
            path,
            number,
            digest,
        });
    }

    fn tell(&self, event: DiskEvent<'_>) {
        if let Some(observer) = &*self.observer.lock() {
            observer(event);
        }
    }
}

impl State {
    fn bury(&mut self) {
        self.incarnation += 1;
        self.locks.clear();
        self.power_off_after_syncs = None;
        self.names.bury(self.incarnation);
    }

    fn power_off(&mut self) {
        self.bury();
        let State { names, rng, faults, .. } = self;
        names.power_off(faults.torn, rng);
    }

    /// How many of `more` bytes still fit. No lock on a file may be held.
    fn room(&mut self, more: u64) -> u64 {
        let Some(limit) = self.faults.full_at else {
            return more;
        };
        if self.names.bytes() + more > limit {
            // Somebody may have closed a file that had no name.
            self.names.recount();
        }
        limit.saturating_sub(self.names.bytes()).min(more)
    }

    /// Puts a fault on record.
    fn note(&mut self, kind: FaultKind, path: &str, file: Option<u64>, offset: u64, bytes: u64) -> Fault {
        // The handle may have been opened under another name.
        let path = file
            .and_then(|file| self.names.path_of(file))
            .unwrap_or_else(|| path.to_owned());
        let fault = Fault {
            kind,
            path,
            offset,
            bytes,
        };
        self.injected.push(Noted {
            file,
            fault: fault.clone(),
        });
        fault
    }

    /// Faults go by the name that their file has now, or had last.
    fn rename_faults(&mut self) {
        let State { names, injected, .. } = self;
        for Noted { file, fault } in injected {
            if let Some(path) = file.and_then(|file| names.path_of(file)) {
                fault.path = path;
            }
        }
    }

    /// Whether a sync fails by fault, which it does at the share of [`DiskFaults::sync_fails`].
    fn sync_fails(&mut self) -> bool {
        happens(self.faults.sync_fails, &mut self.luck)
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

    /// How long the next sync takes; whether that is because it is stuck.
    fn draw_latency(&mut self) -> (Duration, bool) {
        if happens(self.faults.stuck, &mut self.luck) {
            return (self.faults.stuck_for, true);
        }
        match &self.faults.sync_latency {
            Some(range) => (self.rng.random_range(range.clone()), false),
            None => (Duration::ZERO, false),
        }
    }
}

/// What every call of a dead process gets.
fn dead() -> io::Error {
    io::Error::other("this process is dead: its disk answers no more")
}
