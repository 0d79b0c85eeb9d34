//! What a transaction wants to change.
//!
//! Edits live in persistent maps: a savepoint, a scan and a staged table are clones that cost nothing and see nothing
//! of what is edited later.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use crate::version::{EncodedTuple, TableName, TableSchema};

/// Row edits in key order: the new tuple, or `None` for a deleted row. A tuple brings the large values that the row does
/// not have in the snapshot.
pub(super) type RowEdits = OrdMap<Vec<u8>, Option<EncodedTuple>>;

/// The edits of a transaction.
#[derive(Debug, Clone, Default)]
pub(super) struct EditSet {
    pub tables: BTreeMap<TableName, TableEdits>,
}

/// The edits of one table.
#[derive(Debug, Clone)]
pub(super) struct TableEdits {
    pub definition: Definition,
    pub rows: RowEdits,
}

/// What becomes of a table's definition.
#[derive(Debug, Clone)]
pub(super) enum Definition {
    /// It stays; rows are edited over those of the snapshot.
    Existing,
    /// Created here, in place of what the snapshot has under the name if it has anything; rows are edited over nothing.
    Created(Arc<TableSchema>),
    Dropped,
}

impl TableEdits {
    pub fn existing() -> TableEdits {
        TableEdits {
            definition: Definition::Existing,
            rows: RowEdits::new(),
        }
    }

    pub fn created(schema: TableSchema) -> TableEdits {
        TableEdits {
            definition: Definition::Created(Arc::new(schema)),
            rows: RowEdits::new(),
        }
    }

    pub fn dropped() -> TableEdits {
        TableEdits {
            definition: Definition::Dropped,
            rows: RowEdits::new(),
        }
    }

    /// Whether this changes nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self.definition, Definition::Existing) && self.rows.is_empty()
    }
}

impl EditSet {
    /// How many rows are edited.
    pub fn rows(&self) -> usize {
        self.tables.values().map(|table| table.rows.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.tables.values().all(TableEdits::is_empty)
    }
}
