//! Content-addressed chunks in an append-only log.
//!
//! A chunk is an immutable byte string named by its hash. Each database has one [`ChunkStore`]: segments of records, a
//! record being a chunk or a root. One log is the write-ahead log, the storage and what replication ships. What a
//! collection of garbage keeps of the log's beginning lies in packs: segments of chunks alone.
//!
//! Invariants
//! - A root is published only after everything it can reach, and its own record, is synced.
//! - Recovery cuts an incomplete tail after the last root record; anything wrong before it is corruption and refused
//!   with file and offset.
//! - After a failed sync the store accepts no more writes until it is opened again.
//! - A chunk is verified against its hash whenever it is read from disk.
//!
//! Must not know: what chunks mean (maps, tables, commits), sessions, the network.

mod batch;
mod cache;
mod check;
mod collect;
mod error;
mod format;
mod hash;
mod index;
mod pack;
mod reader;
mod recovery;
mod seal;
mod store;
mod sync;
mod synced;
#[cfg(all(test, not(madsim)))]
mod tests;
mod write;

pub use batch::{ChunkBatch, NoChunks, ReadChunks};
pub use cache::ChunkCache;
pub use check::{CheckProgress, Damage, StoreCheck, check_store};
pub use collect::{Collected, Collection};
pub use error::ChunkError;
pub use format::RootRecord;
pub use hash::{HASH_BYTES, HASH_CHARS, Hash, Link, ParseHashError};
pub use reader::{LogEntry, LogReader};
pub use recovery::{Cut, Recovery, looks_like_a_store};
pub use store::{ChunkStore, StoreOptions, StoreSize};

/// How many of the newest roots a store keeps in memory with their places: about a minute's at full speed, a day's at
/// one a second. Older ones are found by the index files of the log.
const ROOTS_KEPT: usize = 1 << 16;
