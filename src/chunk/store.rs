//! The store: a log of segments, an index over it, and the group sync.

#![allow(unused_variables, dead_code)]

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::cache::ChunkCache;
use super::format::RootRecord;
use super::{ChunkError, Hash, ReadChunks};
use crate::runtime::WallTime;
use crate::runtime::disk::Disk;

/// What may be set per store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// A segment takes no further batch once it would grow beyond this. A batch larger than it gets as many as it needs.
    pub segment_bytes_max: u64,
    /// How much may wait for a sync before writers are held back.
    pub backlog_bytes_max: u64,
    /// Chunks as they were read; clones share one bound, so one cache can serve all stores of a server.
    pub cache: ChunkCache,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            segment_bytes_max: 256 << 20,
            backlog_bytes_max: 64 << 20,
            cache: ChunkCache::new(64 << 20),
        }
    }
}

/// What opening a store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The newest root, which is published.
    pub root: RootRecord,
    pub segments: usize,
    pub chunks: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
}

/// A tail of the log that never became durable as a whole: nothing in it was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub file: String,
    /// Where the file ends now.
    pub offset: u64,
    /// How much was cut, of this file and of those after it.
    pub bytes: u64,
    /// What was wrong there.
    pub detail: String,
}

/// A store of chunks with a sequence of roots. Clones are handles to the same store.
#[derive(Clone)]
pub struct ChunkStore {
    inner: Arc<Inner>,
}

struct Inner {}

impl ChunkStore {
    pub async fn create(disk: &Disk, dir: &str, options: &StoreOptions) -> Result<ChunkStore, ChunkError> {
        todo!()
    }
    pub async fn open(disk: &Disk, dir: &str, options: &StoreOptions) -> Result<(ChunkStore, Recovery), ChunkError> {
        todo!()
    }
    pub fn published(&self) -> RootRecord {
        todo!()
    }
    pub fn pending(&self) -> RootRecord {
        todo!()
    }
    pub fn watch_published(&self) -> watch::Receiver<RootRecord> {
        todo!()
    }
    pub fn append(
        &self,
        chunks: Vec<(Hash, Bytes)>,
        root: Hash,
        epoch: u64,
        time: WallTime,
    ) -> Result<RootRecord, ChunkError> {
        todo!()
    }
    pub fn append_chunks(&self, chunks: Vec<(Hash, Bytes)>) -> Result<(), ChunkError> {
        todo!()
    }
    /// Waits until the backlog is below its bound. Committers call it before they take their turn.
    pub async fn room(&self) -> Result<(), ChunkError> {
        todo!()
    }
    pub async fn wait_published(&self, sequence: u64) -> Result<(), ChunkError> {
        todo!()
    }
    pub fn read_log_after(&self, after: Hash) -> Result<Option<LogReader>, ChunkError> {
        todo!()
    }
    /// The newest published roots, newest first, at most `limit`.
    pub fn recent_roots(&self, limit: usize) -> Vec<RootRecord> {
        todo!()
    }
}

impl ReadChunks for ChunkStore {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        todo!()
    }
    fn contains(&self, hash: &Hash) -> bool {
        todo!()
    }
}

/// What the log holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    Chunk(Hash, Bytes),
    Root(RootRecord),
}

/// Streams a part of the log.
pub struct LogReader {}

impl Iterator for LogReader {
    type Item = Result<LogEntry, ChunkError>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
