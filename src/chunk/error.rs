//! What can go wrong below maps, and what to do about it.

use std::io;
use std::sync::Arc;

use super::Hash;

/// Why the store could not do what it was asked.
///
/// Clonable, because one failed sync answers every waiter.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Something refers to a chunk that this store does not hold.
    #[error("chunk {hash} is not in this store: it is damaged or incomplete; fetch it again from a peer or a backup")]
    Missing { hash: Hash },

    /// Bytes on disk are not what was written.
    #[error(
        "{file} is damaged at offset {offset}: {detail}; the file was left as it is: restore the store from a backup or seed \
         it again from a peer"
    )]
    Corrupt { file: String, offset: u64, detail: String },

    /// Written by a newer release.
    #[error("{file} has format version {found}, this server reads up to version {supported}: use a newer server")]
    NewerFormat { file: String, found: u32, supported: u32 },

    /// Written before the first release.
    #[error(
        "{file} has format version {found}, which no release ever wrote: this server begins at version {supported}"
    )]
    OlderFormat { file: String, found: u32, supported: u32 },

    /// The folder does not hold a store.
    #[error("{path} is not a chunk store: {detail}")]
    NotAStore { path: String, detail: String },

    /// A store is asked to be made where something already is.
    #[error("{path} already holds a store or parts of one: open it, or choose another folder")]
    AlreadyExists { path: String },

    /// The operating system refused.
    #[error("cannot {op} {file}: {source}")]
    Io {
        op: &'static str,
        file: String,
        source: Arc<io::Error>,
    },

    /// A sync failed earlier: what reached the disk is unknown, so nothing more is accepted. Or the store was closed.
    #[error("the store accepts no writes since {reason}")]
    Closed { reason: Arc<str> },

    /// Too much is waiting to be synced.
    #[error(
        "{backlog} bytes are waiting to reach the disk, the limit is {limit}: the disk is too slow, try again later"
    )]
    Busy { backlog: u64, limit: u64 },

    /// A chunk beyond what a record can hold.
    #[error("a chunk of {bytes} bytes is larger than the limit of {limit} bytes")]
    TooLarge { bytes: u64, limit: u64 },

    /// One collection at a time.
    #[error("the store is collecting garbage already: wait until that has ended")]
    Collecting,

    /// Somebody waits for a root that was never appended.
    #[error("root {sequence} was not appended to this store, the newest is {newest}")]
    NotAppended { sequence: u64, newest: u64 },
}

impl ChunkError {
    /// Whether what is on the disk is not what was written.
    pub fn is_damage(&self) -> bool {
        matches!(self, ChunkError::Missing { .. } | ChunkError::Corrupt { .. })
    }

    /// Whether the disk, or the share of it that the server may use, is full.
    pub fn is_out_of_space(&self) -> bool {
        let full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        matches!(self, ChunkError::Io { source, .. } if full(source.kind()))
    }

    /// Whether the process, or the system, has too many files open to open another.
    pub fn is_out_of_descriptors(&self) -> bool {
        let ChunkError::Io { source, .. } = self else {
            return false;
        };
        matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
    }

    /// What is told to whoever writes to a store that this closed.
    pub(super) fn why_closed(&self) -> String {
        if self.is_out_of_descriptors() {
            format!("no more files could be opened ({self}): raise the limit of open files, then restart the server")
        } else {
            format!("a sync failed ({self}): check the disk, then restart the server")
        }
    }

    pub(super) fn io(op: &'static str, file: String) -> impl FnOnce(io::Error) -> ChunkError {
        move |source| ChunkError::Io {
            op,
            file,
            source: Arc::new(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is sent to look for a broken disk does not find that the limit of open files is low.
    #[test]
    fn a_store_that_ran_out_of_descriptors_does_not_blame_the_disk() {
        let closed = |code| {
            let error = ChunkError::io("write", "MANIFEST".to_owned())(io::Error::from_raw_os_error(code));
            error.why_closed()
        };
        for code in [libc::EMFILE, libc::ENFILE] {
            let reason = closed(code);
            assert!(
                reason.contains("MANIFEST") && reason.contains("limit of open files"),
                "{reason}"
            );
            assert!(!reason.contains("disk") && !reason.contains("sync"), "{reason}");
        }
        assert!(closed(libc::EIO).starts_with("a sync failed"));
    }
}
