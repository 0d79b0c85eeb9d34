//! The part of a log that a standby lacks, cut into messages.
//!
//! Roots that follow each other closely are sent as one: the chunks of all, then the last. A run between two roots that
//! are sent is bounded, because the standby holds it in memory until its root.
//!
//! Must not know: streams, standbys.

use std::collections::VecDeque;

use bytes::Bytes;

use super::message::{hash_bytes, root_message};
use super::wire::{self, to_standby::Body};
use crate::chunk::{ChunkError, Hash, LogEntry, ReadChunks, RootRecord};
use crate::runtime::buggify;

/// How much a message carries, unless a single chunk is larger.
pub const BATCH_BYTES: usize = 256 * 1024;
/// A root is sent when this much was sent since the last.
const RUN_BYTES: usize = 1 << 20;
/// What a standby holds in memory of one run. A commit larger than this is walked instead.
pub const RUN_BYTES_MAX: usize = 64 << 20;

/// What a chunk counts beside its content, which may be next to nothing.
const CHUNK_OVERHEAD: usize = 64;

/// What a standby holds for a chunk until its root comes.
pub fn held_bytes(content: &[u8]) -> usize {
    content.len() + CHUNK_OVERHEAD
}

pub struct Outgoing<R> {
    log: R,
    /// The root that the standby has after what was sent so far.
    sent: Hash,
    /// Passed over, to be sent unless another follows.
    held: Option<RootRecord>,
    /// To be sent after the chunks before it.
    due: Option<RootRecord>,
    run_bytes: usize,
}

#[derive(Debug)]
pub enum Next {
    Message(Body),
    /// This root, and everything up to it, has been sent before it.
    Root(Body, RootRecord),
    /// A single commit is too large to be held by the standby.
    TooLarge,
    End,
}

impl<R: Iterator<Item = Result<LogEntry, ChunkError>>> Outgoing<R> {
    /// `log` begins after the root `after`, which the standby has.
    pub fn new(log: R, after: Hash) -> Outgoing<R> {
        Outgoing {
            log,
            sent: after,
            held: None,
            due: None,
            run_bytes: 0,
        }
    }

    pub fn next_message(&mut self) -> Result<Next, ChunkError> {
        let mut batch: Vec<wire::Chunk> = Vec::new();
        let mut bytes = 0;
        let batch_bytes = batch_bytes();
        while bytes < batch_bytes && self.due.is_none() {
            match self.log.next().transpose()? {
                Some(LogEntry::Chunk(hash, content)) => {
                    if self.run_bytes > RUN_BYTES_MAX {
                        return Ok(Next::TooLarge);
                    }
                    bytes += content.len();
                    self.run_bytes += held_bytes(&content);
                    batch.push(chunk_message(hash, content));
                }
                Some(LogEntry::Root(record)) => {
                    self.held = Some(record);
                    if self.run_bytes >= RUN_BYTES || buggify!("replication.every_root") {
                        self.due = self.held.take();
                    }
                }
                None => {
                    self.due = self.held.take();
                    break;
                }
            }
        }
        if !batch.is_empty() {
            return Ok(Next::Message(Body::Chunks(wire::Chunks { chunks: batch })));
        }
        let Some(record) = self.due.take() else {
            return Ok(Next::End);
        };
        let message = root_message(&record, self.sent);
        self.sent = record.root;
        self.run_bytes = 0;
        Ok(Next::Root(Body::Root(message), record))
    }
}

fn batch_bytes() -> usize {
    if buggify!("replication.small_messages") {
        1
    } else {
        BATCH_BYTES
    }
}

pub fn chunk_message(hash: Hash, content: Bytes) -> wire::Chunk {
    wire::Chunk {
        hash: hash_bytes(hash),
        content,
    }
}

/// Chunks that a standby asked for. They are read as they are sent: what it asks for at once may be far more than fits
/// into memory.
#[derive(Default)]
pub struct Wanted(VecDeque<Hash>);

impl Wanted {
    pub fn new(hashes: impl IntoIterator<Item = Hash>) -> Wanted {
        Wanted(hashes.into_iter().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next message; `None` when all was sent.
    pub fn next_message(&mut self, store: &impl ReadChunks) -> Result<Option<Body>, ChunkError> {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let batch_bytes = batch_bytes();
        while bytes < batch_bytes
            && let Some(hash) = self.0.pop_front()
        {
            let content = store.get(&hash)?;
            bytes += content.len();
            chunks.push(chunk_message(hash, content));
        }
        Ok((!chunks.is_empty()).then_some(Body::Chunks(wire::Chunks { chunks })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::WallTime;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn chunk(byte: u8, length: usize) -> Result<LogEntry, ChunkError> {
        let bytes = Bytes::from(vec![byte; length]);
        Ok(LogEntry::Chunk(Hash::of(&bytes), bytes))
    }

    fn root(sequence: u8) -> Result<LogEntry, ChunkError> {
        Ok(LogEntry::Root(RootRecord {
            sequence: sequence.into(),
            root: Hash::from_bytes([sequence; 20]),
            previous: Hash::from_bytes([sequence - 1; 20]),
            epoch: 1,
            time: WallTime::EPOCH,
        }))
    }

    /// The messages as text: `c3` three chunks, `r5<2` root 5 after root 2.
    fn sent(log: Vec<Result<LogEntry, ChunkError>>) -> String {
        let mut outgoing = Outgoing::new(log.into_iter(), Hash::from_bytes([1; 20]));
        let mut text = Vec::new();
        loop {
            match outgoing.next_message().unwrap() {
                Next::Message(Body::Chunks(chunks)) => text.push(format!("c{}", chunks.chunks.len())),
                Next::Root(Body::Root(root), record) => {
                    assert_eq!(root.root[0], record.root.as_bytes()[0]);
                    text.push(format!("r{}<{}", root.root[0], root.previous[0]));
                }
                Next::TooLarge => return format!("{} too large", text.join(" ")),
                Next::End => return text.join(" "),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn nothing_new_is_nothing_sent() {
        assert_eq!(sent(vec![]), "");
    }

    #[test]
    fn small_commits_travel_as_one() {
        assert_eq!(
            sent(vec![
                chunk(1, 10),
                root(2),
                chunk(2, 10),
                chunk(3, 10),
                root(3),
                root(4)
            ]),
            "c3 r4<1"
        );
    }

    #[test]
    fn large_ones_are_cut_and_each_root_follows_the_one_sent_before() {
        let log = vec![
            chunk(1, 1 << 20),
            root(2),
            chunk(2, 1 << 20),
            root(3),
            chunk(3, 10),
            root(4),
        ];
        assert_eq!(sent(log), "c1 r2<1 c1 r3<2 c1 r4<3");
        let log = (0..8).map(|n| chunk(n, 64 * 1024)).chain([root(2)]).collect();
        assert_eq!(sent(log), "c4 c4 r2<1");
    }

    #[test]
    fn a_commit_that_a_standby_could_not_hold_is_not_sent_whole() {
        let log: Vec<_> = (0..70).map(|n| chunk(n, 1 << 20)).chain([root(2)]).collect();
        assert!(sent(log).ends_with("too large"));
    }

    /// Every hash stands for 200 KB; counts what is read.
    struct Counting(AtomicUsize);

    impl ReadChunks for Counting {
        fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from(vec![hash.as_bytes()[0]; 200 * 1024]))
        }

        fn contains(&self, _hash: &Hash) -> bool {
            true
        }
    }

    #[test]
    fn what_was_asked_for_is_read_as_it_is_sent() {
        let store = Counting(AtomicUsize::new(0));
        let mut wanted = Wanted::new((0..5u8).map(|n| Hash::from_bytes([n; 20])));
        let mut read = Vec::new();
        while let Some(Body::Chunks(chunks)) = wanted.next_message(&store).unwrap() {
            read.push((chunks.chunks.len(), store.0.load(Ordering::Relaxed)));
        }
        assert_eq!(read, [(2, 2), (2, 4), (1, 5)]);
        assert!(wanted.is_empty());
    }
}
