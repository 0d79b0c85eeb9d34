//! The content of a database at one published root, on branch `main`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::chunk::{Hash, ReadChunks};
use crate::prolly::Map;
use crate::version::{Commit, MAIN_BRANCH, Refs, RootValue, Table, TableName, TableSchema, VersionError, WorkingSet};

/// An immutable view: what transactions that began at this root read.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub refs: Refs,
    /// The commit that branch `main` points to.
    pub head: Hash,
    pub working_set: WorkingSet,
    pub working: RootValue,
    /// Decoded on first use; bounded by the number of tables.
    tables: Mutex<BTreeMap<TableName, Arc<LoadedTable>>>,
}

/// A table object, decoded.
#[derive(Debug)]
pub(super) struct LoadedTable {
    pub schema: Arc<TableSchema>,
    pub rows: Map,
}

impl LoadedTable {
    pub fn load(chunks: &dyn ReadChunks, hash: Hash) -> Result<LoadedTable, VersionError> {
        let Table { schema, rows } = Table::load(chunks, &hash)?;
        Ok(LoadedTable {
            schema: Arc::new(schema),
            rows,
        })
    }
}

impl Snapshot {
    /// What the store root `root` holds.
    pub fn load(chunks: &dyn ReadChunks, root: Hash) -> Result<Snapshot, VersionError> {
        let refs = Refs::from_root(root);
        let missing = |what| VersionError::malformed("refs", format!("branch {MAIN_BRANCH} has no {what}"));
        let head = refs.head(chunks, MAIN_BRANCH)?.ok_or_else(|| missing("head"))?;
        let working_set = refs
            .working_set(chunks, MAIN_BRANCH)?
            .ok_or_else(|| missing("working set"))?;
        let working = RootValue::load(chunks, &working_set.working)?;
        Ok(Snapshot::new(refs, head, working_set, working))
    }

    pub fn new(refs: Refs, head: Hash, working_set: WorkingSet, working: RootValue) -> Snapshot {
        Snapshot {
            refs,
            head,
            working_set,
            working,
            tables: Mutex::default(),
        }
    }

    pub fn root(&self) -> Hash {
        self.refs.root()
    }

    /// A table of the working root.
    pub fn table(&self, chunks: &dyn ReadChunks, name: &TableName) -> Result<Option<Arc<LoadedTable>>, VersionError> {
        if let Some(known) = self.tables.lock().get(name) {
            return Ok(Some(known.clone()));
        }
        let Some(hash) = self.working.table_hash(chunks, name)? else {
            return Ok(None);
        };
        let table = Arc::new(LoadedTable::load(chunks, hash)?);
        self.tables.lock().insert(name.clone(), table.clone());
        Ok(Some(table))
    }

    /// The root value of the head commit.
    pub fn head_root(&self, chunks: &dyn ReadChunks) -> Result<Hash, VersionError> {
        Ok(Commit::load(chunks, &self.head)?.root)
    }
}
