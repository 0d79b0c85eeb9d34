//! The group sync: one task syncs, everybody whose root it covers is told at once.
//!
//! The task is its own, not one of the waiters': a waiter may be dropped at any moment (its client went away), and an
//! outcome that nobody took note of would be lost with it. The system reports a failed sync once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::ChunkError;
use super::format::{Position, RootRecord};
use super::reader::Segment;
use super::recovery::write_manifest;
use super::seal::write_index_files;
use super::store::{ChunkStore, Inner};
use super::write::Log;
use crate::runtime::sites::pause;
use crate::runtime::{self, buggify, sometimes};

/// Who wants a sync, and whether one is on its way.
#[derive(Default)]
pub(super) struct SyncState {
    task_runs: bool,
    /// Something was appended that the running round does not cover, and somebody waits for it.
    wanted: bool,
    /// The newest root that the running round covers.
    covering: u64,
}

/// What one round makes durable.
struct Round {
    dirty: Vec<Segment>,
    manifest_is_behind: bool,
    tail: Position,
    root: RootRecord,
    root_end: Position,
    bytes: u64,
}

impl ChunkStore {
    /// Waits until the root with this sequence is on the disk and published.
    ///
    /// Many waiters share a sync. Dropping the future gives up the wait, not the sync.
    ///
    /// # Errors
    /// `Closed` when a sync failed: whether the root survives is unknown until the store is opened again.
    /// `NotAppended` for a root that is not there to wait for.
    pub async fn wait_published(&self, sequence: u64) -> Result<(), ChunkError> {
        loop {
            let mut rounds = self.inner.rounds.subscribe();
            {
                let mut log = self.inner.log.lock();
                if log.published.sequence >= sequence {
                    return Ok(());
                }
                log.refuse_when_closed()?;
                if log.pending.sequence < sequence {
                    return Err(ChunkError::NotAppended {
                        sequence,
                        newest: log.pending.sequence,
                    });
                }
                if log.sync.covering < sequence {
                    self.inner.want_sync(&mut log);
                }
            }
            // Fails when the sender is gone, and this store holds it.
            let _ = rounds.changed().await;
        }
    }

    /// Waits until everything that is in the log now is on the disk, with a root or not.
    ///
    /// # Errors
    /// `Closed`.
    pub(super) async fn sync_log(&self) -> Result<(), ChunkError> {
        let tail = self.inner.log.lock().tail;
        loop {
            let mut rounds = self.inner.rounds.subscribe();
            {
                let mut log = self.inner.log.lock();
                log.refuse_when_closed()?;
                if log.synced >= tail {
                    return Ok(());
                }
                self.inner.want_sync(&mut log);
            }
            let _ = rounds.changed().await;
        }
    }

    /// Waits until less than the bound of [`StoreOptions`](super::StoreOptions) waits for a sync. Writers call it
    /// before they take a turn, so that a slow disk slows them down instead of filling the memory.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn room(&self) -> Result<(), ChunkError> {
        loop {
            let mut rounds = self.inner.rounds.subscribe();
            {
                let mut log = self.inner.log.lock();
                log.refuse_when_closed()?;
                if log.backlog_bytes < self.inner.backlog_bytes_max {
                    return Ok(());
                }
                sometimes!("chunk.backlog_held_back");
                self.inner.want_sync(&mut log);
            }
            let _ = rounds.changed().await;
        }
    }
}

impl ChunkStore {
    /// Ends writing for good, and waits until nothing is written or synced any more: the files may then be moved or
    /// removed. Whoever waits for a sync, or writes later, is told that it is so since `reason`; so is a collection, at
    /// its next step. Reading goes on as long as the files are there.
    pub async fn close(&self, reason: &str) {
        loop {
            let mut rounds = self.inner.rounds.subscribe();
            {
                let mut log = self.inner.log.lock();
                log.closed.get_or_insert_with(|| reason.into());
                // Whoever waits for a sync waits for this task, too, and is woken at its end.
                if !log.sync.task_runs && !self.inner.collecting.load(Ordering::Acquire) {
                    return;
                }
            }
            let _ = rounds.changed().await;
        }
    }

    /// Whether [`room`](Self::room) would not wait. A closed store has room: whoever writes is told why it cannot.
    pub fn has_room(&self) -> bool {
        let log = self.inner.log.lock();
        log.closed.is_some() || log.backlog_bytes < self.inner.backlog_bytes_max
    }
}

impl Inner {
    /// Starts a sync when much has piled up, whether somebody waits for it or not.
    pub(super) fn hold_backlog(self: &Arc<Inner>, log: &mut Log) {
        if log.backlog_bytes >= self.backlog_bytes_max {
            self.want_sync(log);
        }
    }

    fn want_sync(self: &Arc<Inner>, log: &mut Log) {
        log.sync.wanted = true;
        if !log.sync.task_runs {
            log.sync.task_runs = true;
            runtime::spawn("chunk sync", sync_while_wanted(self.clone())).detach();
        }
    }

    /// Takes what the next round has to cover; `None` when nobody wants one.
    fn begin_round(&self) -> Option<Round> {
        let mut log = self.log.lock();
        if !log.sync.wanted || log.closed.is_some() {
            log.sync.task_runs = false;
            drop(log);
            self.rounds.send_modify(|number| *number += 1);
            return None;
        }
        log.sync.wanted = false;
        log.sync.covering = log.pending.sequence;
        Some(Round {
            dirty: std::mem::take(&mut log.dirty),
            manifest_is_behind: std::mem::take(&mut log.manifest_is_behind),
            tail: log.tail,
            root: log.pending,
            root_end: log.pending_end,
            bytes: log.backlog_bytes,
        })
    }

    fn end_round(&self, round: &Round, outcome: Result<(), ChunkError>) {
        let mut log = self.log.lock();
        match outcome {
            Ok(()) => {
                log.synced = round.tail;
                log.backlog_bytes -= round.bytes;
                if log.published.sequence < round.root.sequence {
                    sometimes!(log.published.sequence + 1 < round.root.sequence, "chunk.sync_shared");
                    log.published = round.root;
                    log.published_end = round.root_end;
                    // Under the lock, so that followers see roots in order and never ahead of `published`.
                    self.published.send_replace(round.root);
                    // What comes next tells it by itself.
                    if !log.sync.wanted {
                        self.tell_synced.tell(round.root_end);
                    }
                }
                let rest = log
                    .sealed
                    .partition_point(|sealed| sealed.segment.header.number < round.tail.segment);
                write_index_files(&self.disk, log.sealed.drain(..rest).collect());
            }
            Err(error) => {
                tracing::error!(%error, "store closed");
                sometimes!("chunk.sync_failed");
                log.closed = Some(error.why_closed().into());
            }
        }
        self.rounds.send_modify(|number| *number += 1);
    }

    /// Makes a round durable. Names come last: a manifest names only segments that are there for good.
    async fn sync(&self, round: &Round) -> Result<(), ChunkError> {
        pause(buggify!("chunk.sync_slow", 1..=500)).await;
        for segment in &round.dirty {
            segment.file.sync().await.map_err(segment.io("sync"))?;
        }
        if round.manifest_is_behind {
            self.disk
                .sync_dir("")
                .await
                .map_err(ChunkError::io("sync", self.disk.describe("")))?;
            if buggify!("chunk.manifest_late") {
                // As when there is no space for it.
                self.log.lock().manifest_is_behind = true;
                return Ok(());
            }
            pause(buggify!("chunk.manifest_slow", 1..=500)).await;
            let _turn = self.manifest_turn.lock().await;
            let manifest = self.segments.read().manifest(self.store, round.tail.segment);
            match write_manifest(&self.disk, &manifest).await {
                // Opening finds segments that follow those named, so this can wait until there is space or a descriptor.
                Err(error) if error.is_out_of_space() || error.is_out_of_descriptors() => {
                    tracing::warn!(%error, "manifest not replaced");
                    self.log.lock().manifest_is_behind = true;
                }
                written => written?,
            }
        }
        Ok(())
    }
}

async fn sync_while_wanted(inner: Arc<Inner>) {
    while let Some(round) = inner.begin_round() {
        let outcome = inner.sync(&round).await;
        inner.end_round(&round, outcome);
    }
}
