//! One file of the simulated disk: what is durable, and what is on its way.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::mem;

use rand::Rng as _;
use rand::RngCore as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::faults::{DiskFaults, FaultKind, Ppm, happens};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// Bytes of one file.
#[derive(Default)]
pub(super) struct FileState {
    /// Number of the file, which outlives its names.
    pub id: u64,
    /// How many handles of the process with this number are open.
    holders: u64,
    held_by: u64,
    /// What survives a loss of power.
    durable: Vec<u8>,
    /// What readers see.
    current: Vec<u8>,
    /// How `durable` becomes `current`, in order. Writes whose sync failed are no longer here.
    pending: Vec<Pending>,
    /// Number of the first entry in `pending`; they are numbered through the life of the file.
    first_pending: u64,
    /// A failed sync has left pages that are read and will never be written: only the cache holds `current` together.
    cache_alone: bool,
    /// Sectors that the medium does not give any more.
    unreadable: BTreeSet<u64>,
}

/// Where a write that was synced is not what it should be: kind, offset, bytes.
pub(super) type Hurt = (FaultKind, u64, u64);

/// What a sync saved.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Saved {
    pub bytes: u64,
    pub digest: Option<u64>,
}

/// Makes the digest of a sync: of each change to a file in order. What is written ends in checksums of its own, and a
/// checksum of the same kind would be blind to all that they cover.
#[derive(Default)]
struct Digest {
    bytes: u64,
    hasher: DefaultHasher,
}

impl Digest {
    fn add(&mut self, pending: &Pending) {
        match pending {
            Pending::Write { offset, bytes } => {
                self.bytes += bytes.len() as u64;
                (0u8, offset).hash(&mut self.hasher);
                self.hasher.write(bytes);
            }
            Pending::SetLen(len) => (1u8, len).hash(&mut self.hasher),
        }
    }

    fn saved(&self) -> Saved {
        Saved {
            bytes: self.bytes,
            digest: Some(self.hasher.finish()),
        }
    }
}

enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Pending {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Pending::Write { offset, bytes } => put(image, *offset, bytes),
            Pending::SetLen(len) => image.resize(*len as usize, 0),
        }
    }
}

impl FileState {
    /// A file that is opened by the process of this number.
    pub fn hold(&mut self, incarnation: u64) {
        if self.held_by != incarnation {
            (self.held_by, self.holders) = (incarnation, 0);
        }
        self.holders += 1;
    }

    /// And closed by it.
    pub fn release(&mut self, incarnation: u64) {
        if self.held_by == incarnation {
            self.holders = self.holders.saturating_sub(1);
        }
    }

    /// Whether somebody has it open, so that its bytes stay when its last name goes.
    pub fn is_held(&self, incarnation: u64) -> bool {
        self.held_by == incarnation && self.holders > 0
    }

    pub fn len(&self) -> u64 {
        self.current.len() as u64
    }

    /// Reads as far as the medium gives.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.current.len());
        let mut read = buf.len().min(self.current.len() - start);
        let first_lost = self.unreadable.range(offset / SECTOR_BYTES..).next();
        if let Some(lost) = first_lost.map(|sector| sector * SECTOR_BYTES).filter(|_| read > 0) {
            if lost <= offset {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            read = read.min((lost - offset) as usize);
        }
        buf[..read].copy_from_slice(&self.current[start..start + read]);
        Ok(read)
    }

    /// The sector at `offset` cannot be read from now on.
    pub fn spoil(&mut self, offset: u64) {
        self.unreadable.insert(offset / SECTOR_BYTES);
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        put(&mut self.current, offset, bytes);
        self.pending.push(Pending::Write {
            offset,
            bytes: bytes.to_vec(),
        });
    }

    pub fn set_len(&mut self, len: u64) {
        self.current.resize(len as usize, 0);
        self.pending.push(Pending::SetLen(len));
    }

    /// A mark for [`FileState::sync`]: all that was written before now.
    pub fn pending(&self) -> u64 {
        self.first_pending + self.pending.len() as u64
    }

    /// Makes durable what was written before the mark, or what the faults make of it.
    pub fn sync(&mut self, mark: u64, faults: &DiskFaults, luck: &mut ChaCha8Rng) -> (Saved, Vec<Hurt>) {
        let (mut digest, mut hurt) = (Digest::default(), Vec::new());
        for pending in self.take(mark) {
            digest.add(&pending);
            match pending {
                Pending::Write { offset, bytes } => {
                    if faults.hurt_writes() {
                        self.write_with_luck(offset, &bytes, faults, luck, &mut hurt);
                    } else {
                        put(&mut self.durable, offset, &bytes);
                    }
                }
                Pending::SetLen(len) => self.durable.resize(len as usize, 0),
            }
        }
        if !hurt.is_empty() && !self.cache_alone {
            self.current.clone_from(&self.durable);
            for pending in &self.pending {
                pending.apply(&mut self.current);
            }
        }
        (digest.saved(), hurt)
    }

    /// Brings one write to the medium. The length of the file, which is kept elsewhere, comes out right.
    fn write_with_luck(
        &mut self,
        offset: u64,
        bytes: &[u8],
        faults: &DiskFaults,
        luck: &mut ChaCha8Rng,
        hurt: &mut Vec<Hurt>,
    ) {
        let (end, length) = (offset + bytes.len() as u64, bytes.len() as u64);
        if bytes.is_empty() {
            return;
        }
        let extend = |image: &mut Vec<u8>| image.resize(image.len().max(end as usize), 0);
        if happens(faults.lost, luck) {
            extend(&mut self.durable);
            hurt.push((FaultKind::LostWrite, offset, length));
        } else if happens(faults.misdirected, luck) {
            extend(&mut self.durable);
            let len = self.durable.len() as u64;
            let (sectors, right) = (len.div_ceil(SECTOR_BYTES), offset / SECTOR_BYTES);
            if sectors < 2 {
                // There is no other place.
                return put(&mut self.durable, offset, bytes);
            }
            let other = (right + luck.random_range(1..sectors)) % sectors;
            let wrong = other * SECTOR_BYTES + offset % SECTOR_BYTES;
            let fits = len.saturating_sub(wrong).min(length);
            hurt.push((FaultKind::MisdirectedWrite, offset, length));
            if fits > 0 {
                put(&mut self.durable, wrong, &bytes[..fits as usize]);
                hurt.push((FaultKind::MisplacedWrite, wrong, fits));
            }
        } else if happens(faults.corrupt, luck) {
            put(&mut self.durable, offset, bytes);
            let at = offset + luck.random_range(0..length);
            let (from, to) = if luck.random() {
                self.durable[at as usize] ^= 1 << luck.random_range(0..8);
                (at, at + 1)
            } else {
                let sector = at / SECTOR_BYTES * SECTOR_BYTES;
                let (from, to) = (sector.max(offset), (sector + SECTOR_BYTES).min(end));
                luck.fill_bytes(&mut self.durable[from as usize..to as usize]);
                (from, to)
            };
            hurt.push((FaultKind::CorruptWrite, from, to - from));
        } else {
            put(&mut self.durable, offset, bytes);
        }
    }

    /// Forgets that what was written before the mark still has to reach the disk.
    pub fn lose(&mut self, mark: u64) {
        self.cache_alone |= !self.take(mark).is_empty();
    }

    fn take(&mut self, mark: u64) -> Vec<Pending> {
        let count = mark.saturating_sub(self.first_pending).min(self.pending.len() as u64);
        self.first_pending += count;
        let rest = self.pending.split_off(count as usize);
        mem::replace(&mut self.pending, rest)
    }

    pub fn drop_unsynced(&mut self) {
        drop(self.take(u64::MAX));
        self.forget_cache();
    }

    fn forget_cache(&mut self) {
        self.current.clone_from(&self.durable);
        self.cache_alone = false;
    }

    /// Decides what became of each write that was on its way.
    pub fn power_off(&mut self, torn: Option<Ppm>, rng: &mut ChaCha8Rng) {
        let mut pending = self.take(u64::MAX);
        // A disk reorders what lies between two syncs as it likes. Half of the time it did not.
        if rng.random() {
            pending.shuffle(rng);
        }
        // A machine often dies with nearly all written, or nothing: let the odds differ from one accident to the next.
        let survives = *[0.0, 0.1, 0.5, 0.9, 1.0].get(rng.random_range(0..5)).unwrap_or(&0.5);
        for write in pending {
            match write {
                Pending::SetLen(len) if rng.random_bool(survives) => self.durable.resize(len as usize, 0),
                Pending::SetLen(_) => {}
                Pending::Write { offset, bytes } if rng.random_bool(survives) => put(&mut self.durable, offset, &bytes),
                Pending::Write { offset, bytes } => self.tear(offset, &bytes, torn, rng),
            }
        }
        self.forget_cache();
    }

    /// A write that did not wholly survive: nothing, its first sectors, some of its sectors, or only the new length.
    fn tear(&mut self, offset: u64, bytes: &[u8], torn: Option<Ppm>, rng: &mut ChaCha8Rng) {
        const THREE_IN_FOUR: Ppm = 750_000;
        let end = offset + bytes.len() as u64;
        let sectors = end.div_ceil(SECTOR_BYTES) - offset / SECTOR_BYTES;
        if !happens(torn.unwrap_or(THREE_IN_FOUR), rng) {
            return;
        }
        let keep: Vec<bool> = match rng.random_range(0..3) {
            0 => {
                let first = rng.random_range(0..=sectors);
                (0..sectors).map(|sector| sector < first).collect()
            }
            1 => (0..sectors).map(|_| rng.random()).collect(),
            _ => {
                // The file system had noted the new length, the bytes were never there.
                let len = (self.durable.len() as u64).max(end);
                self.durable.resize(len as usize, 0);
                return;
            }
        };
        for (sector, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
            let start = (offset / SECTOR_BYTES + sector as u64) * SECTOR_BYTES;
            let (from, to) = (start.max(offset), (start + SECTOR_BYTES).min(end));
            put(
                &mut self.durable,
                from,
                &bytes[(from - offset) as usize..(to - offset) as usize],
            );
        }
    }

    pub fn flip(&mut self, offset: u64, bit: u8) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mask = 1 << (bit % 8);
        let byte = self.current.get_mut(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= mask;
        if let Some(byte) = self.durable.get_mut(offset) {
            *byte ^= mask;
        }
        Ok(())
    }
}

/// Writes into an image, with zeros between its end and `offset`.
fn put(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = offset as usize;
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}
