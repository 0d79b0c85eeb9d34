//! What can go wrong with a simulated disk while the power is on, and the record of what did.
//!
//! Must not know: files' contents, names.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// A share of one in parts per million: nothing that decides is a float.
pub type Ppm = u32;

/// What may go wrong while the power is on. [`DiskFaults::default`] is a disk without faults.
///
/// Faults of writes are drawn when a sync brings the write to the medium, once for each write. What reached the medium
/// wrongly is read wrongly from then on: the page cache could hide it for a while, but nobody may count on that.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DiskFaults {
    /// Bytes in all files at which the disk is full. A write beyond it is done as far as there is room.
    pub full_at: Option<u64>,
    /// After this many more syncs of files, one fails with EIO, and the writes it should have saved are dropped but
    /// read as if they were there until the power goes: what Linux does.
    pub fail_sync_after: Option<u64>,
    /// After this many more syncs of directories, one fails with EIO. Its names may be durable or not.
    pub fail_dir_sync_after: Option<u64>,
    /// Share of syncs that fail like that. A directory's names are then not durable, and wait for another sync.
    pub sync_fails: Ppm,
    /// How long a sync takes.
    pub sync_latency: Option<RangeInclusive<Duration>>,
    /// Share of syncs that take `stuck_for` instead.
    pub stuck: Ppm,
    pub stuck_for: Duration,
    /// Share of the writes that do not wholly survive a loss of power and then survive in part, rather than not at all.
    /// `None` is three in four.
    pub torn: Option<Ppm>,
    /// Share of writes that are acknowledged and synced, and never reach the medium: the old bytes remain.
    pub lost: Ppm,
    /// Share of writes that land in another place of the file, whole sectors away; the right place keeps its old bytes.
    pub misdirected: Ppm,
    /// Share of writes of which a bit, or a sector, reaches the medium as something else.
    pub corrupt: Ppm,
    /// Share of reads that see a flipped bit where the medium has the right one.
    pub misread: Ppm,
}

impl DiskFaults {
    /// Whether a write that is synced may end up otherwise than it should.
    pub(super) fn hurt_writes(&self) -> bool {
        self.lost > 0 || self.misdirected > 0 || self.corrupt > 0
    }
}

/// Counts down to the one that fails.
pub(super) fn is_due(after: &mut Option<u64>) -> bool {
    match after {
        Some(0) => {
            *after = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

/// Whether something of this share happens now. What never happens draws nothing.
pub(super) fn happens(share: Ppm, luck: &mut ChaCha8Rng) -> bool {
    share > 0 && luck.random_ratio(share.min(1_000_000), 1_000_000)
}

/// The kinds of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// A place that keeps its old bytes although a write of it was synced.
    LostWrite,
    /// The same, and the write went elsewhere.
    MisdirectedWrite,
    /// Where a misdirected write went.
    MisplacedWrite,
    /// A write that reached the medium as something else.
    CorruptWrite,
    /// A bit that changed at rest.
    BitRot,
    /// A bit that was right on the medium and wrong in what a reader got.
    Misread,
    /// A sync failed, and what it should have saved is lost.
    FailedSync,
    /// A sync that took very long.
    StuckSync,
    /// A write was refused, or cut short, because the disk is full.
    DiskFull,
}

impl FaultKind {
    pub const ALL: [FaultKind; 9] = [
        FaultKind::LostWrite,
        FaultKind::MisdirectedWrite,
        FaultKind::MisplacedWrite,
        FaultKind::CorruptWrite,
        FaultKind::BitRot,
        FaultKind::Misread,
        FaultKind::FailedSync,
        FaultKind::StuckSync,
        FaultKind::DiskFull,
    ];

    /// The kind that observers are told by this word.
    pub fn from_word(word: &str) -> Option<FaultKind> {
        FaultKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What observers are told.
    pub fn word(self) -> &'static str {
        match self {
            FaultKind::LostWrite => "lost write",
            FaultKind::MisdirectedWrite => "misdirected write",
            FaultKind::MisplacedWrite => "misplaced write",
            FaultKind::CorruptWrite => "corrupt write",
            FaultKind::BitRot => "bit rot",
            FaultKind::Misread => "misread",
            FaultKind::FailedSync => "sync failed",
            FaultKind::StuckSync => "stuck sync",
            FaultKind::DiskFull => "disk full",
        }
    }

    /// Whether bytes that were promised are not what a reader gets: what only a checksum finds.
    pub fn is_damage(self) -> bool {
        use FaultKind::{BitRot, CorruptWrite, LostWrite, MisdirectedWrite, MisplacedWrite, Misread};
        matches!(
            self,
            LostWrite | MisdirectedWrite | MisplacedWrite | CorruptWrite | BitRot | Misread
        )
    }
}

/// A fault that was injected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    /// The name that the file has now, or had last.
    pub path: String,
    pub offset: u64,
    pub bytes: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            kind,
            path,
            offset,
            bytes,
        } = self;
        write!(f, "{} in {path} at {offset}, {bytes} bytes", kind.word())
    }
}

/// A fault as it is noted down: the file itself is known, its name may change.
#[derive(Clone)]
pub(super) struct Noted {
    pub file: Option<u64>,
    pub fault: Fault,
}
