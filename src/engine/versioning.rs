//! Versions as a transaction sees them: status, log, staging, and the version commit it plans.
//!
//! Staging and version commits are edits like any other: they become durable with the transaction, in the same write
//! of the log. What was staged is a frozen clone of the table's edits, so later edits are not staged with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::edits::{EditSet, TableEdits};
use super::rebase::{Changes, apply_changes};
use super::{EngineError, Transaction};
use crate::chunk::{ChunkBatch, Hash};
use crate::version::{Commit, Person, RootValue, TableName, diff_catalogs};

/// What a version commit records beside the staged tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSpec {
    pub message: String,
    pub author: Person,
    pub committer: Person,
    /// Whether a commit that changes nothing is wanted.
    pub allow_empty: bool,
}

/// One row of `dolt.status`: a table that differs between working and staged, or between staged and head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRow {
    pub table: TableName,
    pub staged: bool,
    pub status: TableStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStatus {
    New,
    Modified,
    Deleted,
}

impl TableStatus {
    /// The word `dolt.status` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            TableStatus::New => "new table",
            TableStatus::Modified => "modified",
            TableStatus::Deleted => "deleted",
        }
    }
}

/// Which content of a database that is not a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    Working,
    Staged,
}

/// Tables staged in this transaction, each with the edits it had at that moment (`None`: as in the snapshot).
#[derive(Debug, Clone, Default)]
pub(super) struct Staging {
    pub tables: BTreeMap<TableName, Option<TableEdits>>,
}

impl Staging {
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The edits that were staged.
    pub fn edits(&self) -> EditSet {
        let staged = self.tables.iter();
        EditSet {
            tables: staged
                .filter_map(|(name, edits)| Some((name.clone(), edits.clone()?)))
                .collect(),
        }
    }
}

/// The version commit that comes with the transaction.
#[derive(Debug, Clone)]
pub(super) struct PlannedCommit {
    pub spec: CommitSpec,
}

impl Transaction {
    /// The head commit of the branch, as of the snapshot.
    pub fn head_commit(&self) -> Hash {
        self.base.head
    }

    /// Commits reachable from the head, children before parents, newest first.
    pub fn dolt_log(&self) -> Result<Vec<(Hash, Commit)>, EngineError> {
        // By height: a parent is always lower than its child. The hash makes the order total.
        let mut open = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut log = Vec::new();
        let mut found = vec![self.base.head];
        loop {
            for hash in found {
                if seen.insert(hash) {
                    let commit = Commit::load(self.store(), &hash)?;
                    open.insert((Reverse(commit.height), Reverse(commit.committer.time), hash), commit);
                }
            }
            let Some(((_, _, hash), commit)) = open.pop_first() else {
                break;
            };
            found = commit.parents.clone();
            log.push((hash, commit));
        }
        Ok(log)
    }

    /// Tables with changes that are not in the head commit, staged ones first, with this transaction's edits.
    pub fn dolt_status(&self) -> Result<Vec<StatusRow>, EngineError> {
        let mut batch = ChunkBatch::new(self.store());
        let head = RootValue::load(&batch, &self.base.head_root(&batch)?)?;
        let staged = self.staged_root(&mut batch)?;
        let working = self.working_root(&mut batch)?;
        let mut status = Vec::new();
        for (is_staged, before, after) in [(true, &head, &staged), (false, &staged, &working)] {
            for difference in diff_catalogs(before, after, &batch)? {
                let word = match (difference.before, difference.after) {
                    (None, _) => TableStatus::New,
                    (_, None) => TableStatus::Deleted,
                    _ => TableStatus::Modified,
                };
                status.push(StatusRow {
                    table: difference.name,
                    staged: is_staged,
                    status: word,
                });
            }
        }
        Ok(status)
    }

    /// Stages the table as it is now, which may be gone.
    ///
    /// # Errors
    /// `NoSuchTable` when it is neither here nor staged.
    pub fn stage(&mut self, name: &TableName) -> Result<(), EngineError> {
        self.refuse_when_versioned()?;
        let staged = RootValue::load(self.store(), &self.base.working_set.staged)?;
        let known = self.table_schema(name)?.is_some()
            || self.staging.tables.contains_key(name)
            || staged.table_hash(self.store(), name)?.is_some();
        if !known {
            return Err(EngineError::NoSuchTable { name: name.clone() });
        }
        self.staging
            .tables
            .insert(name.clone(), self.edits.tables.get(name).cloned());
        Ok(())
    }

    /// Stages every table that differs from what is staged.
    pub fn stage_all(&mut self) -> Result<(), EngineError> {
        self.refuse_when_versioned()?;
        let unstaged: Vec<TableName> = self
            .dolt_status()?
            .into_iter()
            .filter(|row| !row.staged)
            .map(|row| row.table)
            .collect();
        for name in unstaged {
            let edits = self.edits.tables.get(&name).cloned();
            self.staging.tables.insert(name, edits);
        }
        Ok(())
    }

    /// Plans a commit of what is staged and gives the hash it has if nobody else commits first.
    ///
    /// It becomes durable with [`Database::commit`](super::Database::commit). If the branch has moved by then, it is
    /// built anew on the new head, with another hash: [`CommitOutcome::version`](super::CommitOutcome) tells.
    ///
    /// # Errors
    /// `NothingToCommit`, `AlreadyVersioned`.
    pub fn version_commit(&mut self, spec: CommitSpec) -> Result<Hash, EngineError> {
        self.refuse_when_versioned()?;
        let mut batch = ChunkBatch::new(self.store());
        let root = self.staged_root(&mut batch)?.store(&mut batch);
        let parent = Commit::load(&batch, &self.base.head)?;
        if root == parent.root && !spec.allow_empty {
            return Err(EngineError::NothingToCommit);
        }
        let commit = build_commit(&spec, root, self.base.head, &parent);
        let hash = commit.store(&mut batch);
        self.version = Some(PlannedCommit { spec });
        Ok(hash)
    }

    /// The hash of the database's content with this transaction's edits, as it is or as it is staged. Equal exactly when
    /// the content is.
    pub fn root_hash(&self, revision: Revision) -> Result<Hash, EngineError> {
        let mut batch = ChunkBatch::new(self.store());
        let root = match revision {
            Revision::Working => self.working_root(&mut batch)?,
            Revision::Staged => self.staged_root(&mut batch)?,
        };
        Ok(root.store(&mut batch))
    }

    /// The hash of a table's schema and rows with this transaction's edits; `None` when there is no such table.
    pub fn table_hash(&self, name: &TableName) -> Result<Option<Hash>, EngineError> {
        let mut batch = ChunkBatch::new(self.store());
        let root = self.working_root(&mut batch)?;
        Ok(root.table_hash(&batch, name)?)
    }

    /// The working root with this transaction's edits.
    pub(super) fn working_root(&self, batch: &mut ChunkBatch<'_>) -> Result<RootValue, EngineError> {
        let base = &self.base.working;
        apply_changes(batch, base, base, Changes::Transaction(&self.edits))
    }

    /// The staged root with what this transaction staged.
    pub(super) fn staged_root(&self, batch: &mut ChunkBatch<'_>) -> Result<RootValue, EngineError> {
        let mut staged = RootValue::load(batch, &self.base.working_set.staged)?;
        if self.staging.is_empty() {
            return Ok(staged);
        }
        let base = &self.base.working;
        let then = apply_changes(batch, base, base, Changes::Transaction(&self.staging.edits()))?;
        for name in self.staging.tables.keys() {
            let table = then.table_hash(batch, name)?;
            staged = staged.with_table_hash(batch, name, table)?;
        }
        Ok(staged)
    }
}

pub(super) fn build_commit(spec: &CommitSpec, root: Hash, parent_hash: Hash, parent: &Commit) -> Commit {
    Commit {
        root,
        parents: vec![parent_hash],
        height: parent.height + 1,
        author: spec.author.clone(),
        committer: spec.committer.clone(),
        message: spec.message.clone(),
    }
}
