//! The commit path: the only way in which a client's edits become a root.
//!
//! 1. Take the database's turn. Turns are short: nothing in them waits, least of all for a sync.
//! 2. Pass the write gate. From here to the end the commit counts as unfinished.
//! 3. Rebase the edits onto the newest appended root, synced or not: roots become durable in the order of the log, so a
//!    root can never outlive one it builds on.
//! 4. Append chunks and root in one write. From here the commit stands, whoever stops waiting for it.
//! 5. Give the turn to the next, and wait for the sync, which is shared by everyone who waits.

use std::sync::Arc;

use super::database::Snapshots;
use super::gate::GateTicket;
use super::rebase::{Changes, apply_changes};
use super::snapshot::Snapshot;
use super::versioning::build_commit;
use super::{Database, DatabaseId, EngineError, Transaction};
use crate::chunk::{ChunkBatch, Hash, RootRecord};
use crate::runtime::sites::pause;
use crate::runtime::{self, WallTime, buggify, sometimes};
use crate::version::{Commit, MAIN_BRANCH, RootValue, WorkingSet, references};

/// Putting this many edits into their maps and writing them takes long enough to be felt by others.
const EDITS_FELT: usize = 5_000;

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitOutcome {
    /// The new root; `None` when nothing changed.
    pub record: Option<RootRecord>,
    /// The version commit, under the hash it got in the end.
    pub version: Option<Hash>,
}

/// How a turn ended, with the sequence of the newest root when nothing was appended.
enum Turn {
    Appended {
        record: RootRecord,
        version: Option<Hash>,
        ticket: GateTicket,
    },
    Unchanged(u64),
    Refused(EngineError, u64),
}

impl Database {
    /// Makes the transaction durable and visible; `None` when it changes nothing.
    ///
    /// A caller that stops waiting leaves either nothing or the whole commit.
    ///
    /// # Errors
    /// `Conflict` and `VersionConflict`: run the transaction again. `ReadOnly`. `NothingToCommit`.
    /// `OutcomeUnknown`: written, but whether it is durable is only known after a restart.
    /// After any other error nothing was changed.
    pub async fn commit(&self, transaction: Transaction) -> Result<Option<RootRecord>, EngineError> {
        Ok(self.commit_outcome(transaction).await?.record)
    }

    /// Like [`commit`](Self::commit), and tells the hash of the version commit that came with it.
    pub async fn commit_outcome(&self, transaction: Transaction) -> Result<CommitOutcome, EngineError> {
        assert!(
            Arc::ptr_eq(&self.inner, &transaction.database.inner),
            "a transaction is committed to the database it began in"
        );
        if !transaction.has_changes() {
            return Ok(CommitOutcome::default());
        }
        let turn = {
            let _turn = self.turn_with_room().await?;
            let entered = self.inner.shared.gate.enter(transaction.closings);
            sometimes!(entered.is_err(), "engine.commit_refused");
            let ticket = entered.map_err(|reason| EngineError::ReadOnly {
                database: self.name().to_owned(),
                reason,
            })?;
            self.refuse_when_dropped()?;
            let appended = if let Some(conflict) = conflict_out_of_nothing(&transaction) {
                Err(conflict)
            } else if transaction.edits.rows() < EDITS_FELT {
                self.append(&transaction)
            } else {
                runtime::busy(|| self.append(&transaction))
            };
            match appended {
                Ok(Some((record, version))) => Turn::Appended {
                    record,
                    version,
                    ticket,
                },
                Ok(None) => Turn::Unchanged(self.inner.store.pending().sequence),
                Err(error) => Turn::Refused(error, self.inner.store.pending().sequence),
            }
        };
        drop(transaction);
        match turn {
            Turn::Appended {
                record,
                version,
                ticket,
            } => {
                self.finish(record, ticket, false).await?;
                Ok(CommitOutcome {
                    record: Some(record),
                    version,
                })
            }
            // What the client learns here is the content of the newest root, so that must be durable too.
            Turn::Unchanged(newest) => {
                let published = self.inner.store.wait_published(newest).await;
                published.map_err(|source| EngineError::OutcomeUnknown { source })?;
                Ok(CommitOutcome::default())
            }
            // A transaction that runs again must see what it conflicted with, or it would conflict again.
            Turn::Refused(error, newest) => {
                if error.is_conflict() {
                    sometimes!("engine.conflict");
                    let _ = self.inner.store.wait_published(newest).await;
                }
                Err(error)
            }
        }
    }

    /// The turn, once the disk has caught up: a slow one makes writers wait and not fail. Those that had the turn while
    /// this one waited for it may have filled the room again.
    async fn turn_with_room(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, EngineError> {
        loop {
            self.room().await?;
            let turn = self.inner.turn.lock().await;
            if self.inner.store.has_room() {
                return Ok(turn);
            }
        }
    }

    /// Steps 3 and 4; the caller holds the turn. `None` when the result is the root that is there already.
    fn append(&self, transaction: &Transaction) -> Result<Option<(RootRecord, Option<Hash>)>, EngineError> {
        let store = &self.inner.store;
        let head = self
            .inner
            .snapshots
            .lock()
            .newest()
            .expect("a transaction began here, so there is a root");
        let mut batch = ChunkBatch::new(store);
        let (snapshot, version) = build(&mut batch, transaction, &head)?;
        sometimes!(transaction.base.root() != head.root(), "engine.rebased");
        if snapshot.root() == head.root() {
            return Ok(None);
        }
        batch.retain_reachable(&[snapshot.root()], |chunk| references(chunk))?;
        let shared = &self.inner.shared;
        let record = store.append(
            batch.into_chunks(),
            snapshot.root(),
            shared.epoch(),
            runtime::wall_clock(),
        )?;
        self.inner.snapshots.lock().appended(record, Arc::new(snapshot));
        self.tell_root(&record, "committed");
        Ok(Some((record, version)))
    }

    /// Makes the first root of a new store durable.
    pub(super) async fn append_first(
        &self,
        batch: ChunkBatch<'_>,
        root: Hash,
        time: WallTime,
    ) -> Result<(), EngineError> {
        let snapshot = Snapshot::load(&batch, root)?;
        let record = {
            let _turn = self.inner.turn.lock().await;
            let record = self
                .inner
                .store
                .append(batch.into_chunks(), root, self.inner.shared.epoch(), time)?;
            self.inner.snapshots.lock().appended(record, Arc::new(snapshot));
            self.tell_root(&record, "first");
            record
        };
        Ok(self.inner.store.wait_published(record.sequence).await?)
    }

    /// Says under the turn which root follows which, so that the log shows every root of a database in order.
    pub(super) fn tell_root(&self, record: &RootRecord, origin: &'static str) {
        tracing::debug!(
            database = self.name(),
            sequence = record.sequence,
            root = %record.root,
            previous = %record.previous,
            epoch = record.epoch,
            origin,
            "root appended"
        );
    }

    /// Step 5. In a task of its own, so that a client that stops waiting neither stops the sync nor frees the ticket.
    /// Whoever watches the set of databases is told of a `first` root in the task too.
    pub(super) async fn finish(&self, record: RootRecord, ticket: GateTicket, first: bool) -> Result<(), EngineError> {
        let (store, shared) = (self.inner.store.clone(), self.inner.shared.clone());
        let task = runtime::spawn("publish", async move {
            let published = store.wait_published(record.sequence).await;
            pause(buggify!("engine.acknowledge_late", 1..=500)).await;
            if first && published.is_ok() {
                shared.databases_changed();
            }
            drop(ticket);
            published
        });
        match task.await {
            Ok(published) => published.map_err(|source| EngineError::OutcomeUnknown { source }),
            Err(_) => Err(EngineError::TaskLost { task: "publish" }),
        }
    }

    pub(super) fn snapshots(&self) -> parking_lot::MutexGuard<'_, Snapshots> {
        self.inner.snapshots.lock()
    }
}

/// Whoever commits must be able to run again, whatever the others do. The server's own tables are another matter: when
/// they are made, there are no others.
fn conflict_out_of_nothing(transaction: &Transaction) -> Option<EngineError> {
    if transaction.database.id() == DatabaseId::SYSTEM {
        return None;
    }
    let table = transaction.edits.tables.keys().next()?;
    buggify!("engine.conflict").then(|| EngineError::Conflict {
        table: table.clone(),
        key: None,
    })
}

/// The content after `transaction` is applied to `head`, and the version commit if it holds one.
fn build(
    batch: &mut ChunkBatch<'_>,
    transaction: &Transaction,
    head: &Snapshot,
) -> Result<(Snapshot, Option<Hash>), EngineError> {
    let base = &transaction.base;
    let working = apply_changes(
        batch,
        &base.working,
        &head.working,
        Changes::Transaction(&transaction.edits),
    )?;
    let mut working_set = WorkingSet {
        working: working.store(batch),
        staged: head.working_set.staged,
    };
    let mut head_commit = head.head;
    let mut version = None;
    if !transaction.staging.is_empty() || transaction.version.is_some() {
        let ours = transaction.staged_root(batch)?;
        working_set.staged = merge(batch, base.working_set.staged, head.working_set.staged, &ours)?;
        if let Some(planned) = &transaction.version {
            let parent = Commit::load(batch, &head.head)?;
            let root = merge(batch, base.head_root(batch)?, parent.root, &ours)?;
            if root == parent.root && !planned.spec.allow_empty {
                return Err(EngineError::NothingToCommit);
            }
            head_commit = build_commit(&planned.spec, root, head.head, &parent).store(batch);
            version = Some(head_commit);
        }
    }
    let refs = head.refs.with_branch(batch, MAIN_BRANCH, head_commit, &working_set)?;
    Ok((Snapshot::new(refs, head_commit, working_set, working), version))
}

/// The root value `head` with what leads from `base` to `ours`.
fn merge(batch: &mut ChunkBatch<'_>, base: Hash, head: Hash, ours: &RootValue) -> Result<Hash, EngineError> {
    let base = RootValue::load(batch, &base)?;
    let head = RootValue::load(batch, &head)?;
    Ok(apply_changes(batch, &base, &head, Changes::Root(ours))?.store(batch))
}
