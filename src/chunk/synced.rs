//! The file `SYNCED`: up to where the log is on the disk, told beside the log when nobody has more to write.
//!
//! The newest root record is proven durable by the next one, and the newest of all by nothing: damage to it would look
//! like a write that a power cut has torn. This file proves it.
//!
//! Promises
//! - What it tells is true: it is written after the sync it tells of. Itself it is never synced; one that is old, torn or
//!   gone proves less.
//!
//! Must not know: what lies in the log.

use super::format::{Position, Synced};
use crate::runtime::disk::{Disk, File, OpenMode};

const SYNCED: &str = "SYNCED";

/// Where the log was once synced to, if the file that tells it is whole and of this store.
pub(super) fn read_synced(disk: &Disk, store: [u8; 16]) -> Option<Position> {
    let synced = Synced::parse(&disk.read(SYNCED).ok()?).ok()?;
    (synced.store == store).then_some(synced.up_to)
}

/// What is said of a log that ends before that.
pub(super) fn ends_early(synced: Position) -> String {
    let Position { segment, offset } = synced;
    format!("the log ends here, though it was synced up to offset {offset} of segment {segment}")
}

/// Where it is told up to where the log is synced. What cannot be told is not: it helps to tell damage from a torn tail.
pub(super) struct TellSynced {
    file: Option<File>,
    store: [u8; 16],
}

impl TellSynced {
    pub fn open(disk: &Disk, store: [u8; 16]) -> TellSynced {
        let file = disk.open(SYNCED, OpenMode::CreateOrOpen);
        if let Err(error) = &file {
            tracing::debug!(%error, "cannot tell up to where the log is synced");
        }
        TellSynced { file: file.ok(), store }
    }

    /// Nobody is told.
    pub fn none(store: [u8; 16]) -> TellSynced {
        TellSynced { file: None, store }
    }

    /// `up_to` is the end of a root record that a sync has covered.
    pub fn tell(&self, up_to: Position) {
        let synced = Synced {
            store: self.store,
            up_to,
        };
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&synced.encode(), 0)
        {
            tracing::debug!(%error, "cannot tell up to where the log is synced");
        }
    }
}
