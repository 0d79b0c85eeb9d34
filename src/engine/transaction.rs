//! Transactions: one immutable root, and edits over it.
//!
//! Invariants
//! - Everything read comes from the root that was published when the transaction began, and from its own edits.
//! - An edit that brings a row back to what the snapshot holds is forgotten: it can neither conflict nor cost.
//!
//! Must not know: whether it will be committed; the server's role.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::edits::{Definition, EditSet, RowEdits, TableEdits};
use super::scan::{RowScan, TupleScan};
use super::snapshot::{LoadedTable, Snapshot};
use super::versioning::{PlannedCommit, Staging};
use super::{Database, EngineError, keyless, primary_key_name};
use crate::chunk::ChunkStore;
use crate::prolly::KEY_BYTES_MAX;
use crate::version::{
    EncodedTuple, Row, TableName, TableSchema, VALUE_BYTES_MAX, Value, decode_columns, decode_tuple, encode_key,
    encode_tuple, keyless_key,
};

/// A transaction on branch `main` of one database. Dropping it forgets its edits. A clone goes its own way: readers keep
/// one while the session edits on.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub(super) database: Database,
    pub(super) base: Arc<Snapshot>,
    pub(super) edits: EditSet,
    pub(super) staging: Staging,
    pub(super) version: Option<PlannedCommit>,
    /// How often the write gate had been closed when it began.
    pub(super) closings: u64,
}

/// A moment in a transaction, see [`Transaction::savepoint`].
#[derive(Debug, Clone)]
pub struct Savepoint {
    edits: EditSet,
    staging: Staging,
}

/// A table as the transaction sees it: rows of the snapshot, if any, under the transaction's edits.
pub(super) struct View<'a> {
    pub schema: Arc<TableSchema>,
    pub base: Option<Arc<LoadedTable>>,
    pub edits: Option<&'a RowEdits>,
}

impl Transaction {
    pub(super) fn new(database: Database, base: Arc<Snapshot>) -> Transaction {
        Transaction {
            closings: database.inner.shared.gate.closings(),
            database,
            base,
            edits: EditSet::default(),
            staging: Staging::default(),
            version: None,
        }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether committing would have anything to do.
    pub fn has_changes(&self) -> bool {
        !self.edits.is_empty() || !self.staging.is_empty() || self.version.is_some()
    }

    /// The schemas (namespaces) of the database.
    pub fn schemas(&self) -> Vec<String> {
        self.base.working.schemas().to_vec()
    }

    /// Tables, sorted.
    pub fn tables(&self) -> Result<Vec<TableName>, EngineError> {
        let committed = self.base.working.tables(self.store())?;
        let mut names: BTreeSet<TableName> = committed.into_iter().map(|(name, _)| name).collect();
        for (name, edits) in &self.edits.tables {
            match edits.definition {
                Definition::Existing => {}
                Definition::Created(_) => {
                    names.insert(name.clone());
                }
                Definition::Dropped => {
                    names.remove(name);
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The definition of a table; `None` when there is no such table.
    pub fn table_schema(&self, name: &TableName) -> Result<Option<Arc<TableSchema>>, EngineError> {
        Ok(self.find(name)?.map(|view| view.schema))
    }

    /// # Errors
    /// `DuplicateTable`, `NoSuchSchema`, `InvalidTable`.
    pub fn create_table(&mut self, name: &TableName, schema: TableSchema) -> Result<(), EngineError> {
        self.refuse_when_versioned()?;
        if self.base.working.schemas().binary_search(&name.schema).is_err() {
            return Err(EngineError::NoSuchSchema {
                schema: name.schema.clone(),
            });
        }
        check_definition(name, &schema)?;
        if self.find(name)?.is_some() {
            return Err(EngineError::DuplicateTable { name: name.clone() });
        }
        self.edits.tables.insert(name.clone(), TableEdits::created(schema));
        Ok(())
    }

    /// # Errors
    /// `NoSuchTable`.
    pub fn drop_table(&mut self, name: &TableName) -> Result<(), EngineError> {
        self.refuse_when_versioned()?;
        self.view(name)?;
        if self.base.table(self.store(), name)?.is_some() {
            self.edits.tables.insert(name.clone(), TableEdits::dropped());
        } else {
            self.edits.tables.remove(name);
        }
        Ok(())
    }

    /// The row of this key.
    pub fn get(&self, name: &TableName, key: &[u8]) -> Result<Option<Row>, EngineError> {
        let view = self.view(name)?;
        match view.tuple(self.store(), key)? {
            Some(tuple) => Ok(Some(decode_tuple(
                &view.schema,
                &tuple.bytes,
                &tuple.over(self.store()),
            )?)),
            None => Ok(None),
        }
    }

    /// Like [`get`](Self::get), with NULL in place of every column that is not `wanted`: what is not asked for is not read.
    pub fn get_columns(&self, name: &TableName, key: &[u8], wanted: &[bool]) -> Result<Option<Row>, EngineError> {
        let view = self.view(name)?;
        match view.tuple(self.store(), key)? {
            Some(tuple) => Ok(Some(decode_columns(
                &view.schema,
                &tuple.bytes,
                &tuple.over(self.store()),
                wanted,
            )?)),
            None => Ok(None),
        }
    }

    /// Rows in key order with their keys. The scan owns what it reads: it sees the transaction as it is now.
    pub fn scan(&self, name: &TableName, bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Result<RowScan, EngineError> {
        let schema = self.view(name)?.schema;
        let store = self.store().clone();
        Ok(RowScan::new(schema, store, self.scan_tuples(name, bounds)?, None))
    }

    /// Like [`scan`](Self::scan), with NULL in place of all but these columns: what is not asked for is not read.
    pub fn scan_columns(
        &self,
        name: &TableName,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        columns: &[usize],
    ) -> Result<RowScan, EngineError> {
        let schema = self.view(name)?.schema;
        let wanted = (0..schema.columns.len())
            .map(|column| columns.contains(&column))
            .collect();
        let store = self.store().clone();
        Ok(RowScan::new(
            schema,
            store,
            self.scan_tuples(name, bounds)?,
            Some(wanted),
        ))
    }

    /// Like [`scan`](Self::scan), leaving rows encoded.
    pub fn scan_tuples(
        &self,
        name: &TableName,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<TupleScan, EngineError> {
        let view = self.view(name)?;
        let edits = view.edits.cloned().unwrap_or_default();
        TupleScan::new(self.store().clone(), view.base.map(|table| table.rows), edits, bounds)
    }

    /// How many rows the table has.
    pub fn count(&self, name: &TableName) -> Result<u64, EngineError> {
        let view = self.view(name)?;
        let Some(table) = &view.base else {
            return Ok(view.edits.map_or(0, |edits| edits.values().flatten().count() as u64));
        };
        let mut count = table.rows.count(self.store())?;
        for (key, edit) in view.edits.into_iter().flatten() {
            match (table.rows.get(self.store(), key)?.is_some(), edit.is_some()) {
                (true, false) => count -= 1,
                (false, true) => count += 1,
                _ => {}
            }
        }
        Ok(count)
    }

    /// How many rows of the table the transaction has touched; of one that is not there, none.
    pub fn edited_rows(&self, name: &TableName) -> usize {
        let view = self.view(name).ok();
        view.and_then(|view| view.edits.map(|edits| edits.len())).unwrap_or(0)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// `DuplicateKey`, `NotNull`, `TypeMismatch`, `ValueTooLarge`, `KeyTooLong`, `NoSuchTable`.
    pub fn insert(&mut self, name: &TableName, row: Row) -> Result<(), EngineError> {
        self.refuse_when_versioned()?;
        let view = self.view(name)?;
        check_row(name, &view.schema, &row)?;
        let tuple = encode_tuple(&row);
        let key = if view.schema.is_keyless() {
            keyless_key(
                &tuple.bytes,
                view.count_like(self.store(), &keyless_key(&tuple.bytes, 0))?,
            )
        } else {
            let key = row_key(name, &view.schema, &row)?;
            if view.tuple(self.store(), &key)?.is_some() {
                return Err(duplicate_key(name, &view.schema, &row));
            }
            key
        };
        self.write(name, key, Some(tuple))
    }

    /// Adds a row, or replaces the one with its key. In a keyless table this is `insert`.
    pub fn upsert(&mut self, name: &TableName, row: Row) -> Result<(), EngineError> {
        let view = self.view(name)?;
        if view.schema.is_keyless() {
            return self.insert(name, row);
        }
        self.refuse_when_versioned()?;
        check_row(name, &view.schema, &row)?;
        let key = row_key(name, &view.schema, &row)?;
        self.write(name, key, Some(encode_tuple(&row)))
    }

    /// Removes the row of this key; false when there is none. In a keyless table one row of the same content goes.
    pub fn delete(&mut self, name: &TableName, key: &[u8]) -> Result<bool, EngineError> {
        self.refuse_when_versioned()?;
        let view = self.view(name)?;
        let key = if view.schema.is_keyless() {
            match view.count_like(self.store(), key)? {
                0 => return Ok(false),
                count => keyless::with_ordinal(key, count - 1),
            }
        } else {
            key.to_vec()
        };
        if view.tuple(self.store(), &key)?.is_none() {
            return Ok(false);
        }
        self.write(name, key, None)?;
        Ok(true)
    }

    /// Replaces the row of `old_key`, whose key may change; false when there is no such row.
    ///
    /// # Errors
    /// As `insert`. A failed update changes nothing.
    pub fn update(&mut self, name: &TableName, old_key: &[u8], row: Row) -> Result<bool, EngineError> {
        self.refuse_when_versioned()?;
        let view = self.view(name)?;
        check_row(name, &view.schema, &row)?;
        if view.schema.is_keyless() {
            return Ok(self.delete(name, old_key)? && self.insert(name, row).map(|()| true)?);
        }
        if view.tuple(self.store(), old_key)?.is_none() {
            return Ok(false);
        }
        let key = row_key(name, &view.schema, &row)?;
        if key != old_key {
            if view.tuple(self.store(), &key)?.is_some() {
                return Err(duplicate_key(name, &view.schema, &row));
            }
            self.write(name, old_key.to_vec(), None)?;
        }
        self.write(name, key, Some(encode_tuple(&row)))?;
        Ok(true)
    }

    /// Marks this moment, to come back to with [`rollback_to`](Self::rollback_to) as often as wanted.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            edits: self.edits.clone(),
            staging: self.staging.clone(),
        }
    }

    /// Forgets what was done after `savepoint`.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        self.edits = savepoint.edits;
        self.staging = savepoint.staging;
        self.version = None;
    }

    pub(super) fn store(&self) -> &ChunkStore {
        self.database.store()
    }

    pub(super) fn refuse_when_versioned(&self) -> Result<(), EngineError> {
        if self.version.is_some() {
            Err(EngineError::AlreadyVersioned)
        } else {
            Ok(())
        }
    }

    fn view(&self, name: &TableName) -> Result<View<'_>, EngineError> {
        self.find(name)?
            .ok_or_else(|| EngineError::NoSuchTable { name: name.clone() })
    }

    fn find(&self, name: &TableName) -> Result<Option<View<'_>>, EngineError> {
        let edits = self.edits.tables.get(name);
        let rows = edits.map(|edits| &edits.rows);
        match edits.map(|edits| &edits.definition) {
            Some(Definition::Dropped) => Ok(None),
            Some(Definition::Created(schema)) => Ok(Some(View {
                schema: schema.clone(),
                base: None,
                edits: rows,
            })),
            Some(Definition::Existing) | None => {
                let base = self.base.table(self.store(), name)?;
                Ok(base.map(|base| View {
                    schema: base.schema.clone(),
                    base: Some(base),
                    edits: rows,
                }))
            }
        }
    }

    /// Records an edit, or forgets the edit of this key when it leads back to the snapshot.
    fn write(&mut self, name: &TableName, key: Vec<u8>, tuple: Option<EncodedTuple>) -> Result<(), EngineError> {
        let committed = match self.find(name)?.and_then(|view| view.base) {
            Some(base) => base.rows.get(self.store(), &key)?,
            None => None,
        };
        let edits = self
            .edits
            .tables
            .entry(name.clone())
            .or_insert_with(TableEdits::existing);
        if tuple.as_ref().map(|tuple| &tuple.bytes) == committed.as_ref() {
            edits.rows.remove(&key);
            return Ok(());
        }
        let tuple = match (tuple, committed) {
            (Some(mut tuple), Some(committed)) if !tuple.large.is_empty() => {
                // What the row has already needs no memory here; it is there as long as the snapshot is.
                let held = EncodedTuple::attached(&committed)?;
                tuple
                    .large
                    .retain(|value| held.iter().all(|link| link.hash != value.hash()));
                Some(tuple)
            }
            (tuple, _) => tuple,
        };
        edits.rows.insert(key, tuple);
        Ok(())
    }
}

impl View<'_> {
    fn tuple(&self, store: &ChunkStore, key: &[u8]) -> Result<Option<EncodedTuple>, EngineError> {
        if let Some(edit) = self.edits.and_then(|edits| edits.get(key)) {
            return Ok(edit.clone());
        }
        match &self.base {
            Some(base) => Ok(base.rows.get(store, key)?.map(EncodedTuple::stored)),
            None => Ok(None),
        }
    }

    /// How many rows of a keyless table have the content of `key`.
    fn count_like(&self, store: &ChunkStore, key: &[u8]) -> Result<u64, EngineError> {
        keyless::count(|ordinal| Ok(self.tuple(store, &keyless::with_ordinal(key, ordinal))?.is_some()))
    }
}

fn check_definition(name: &TableName, schema: &TableSchema) -> Result<(), EngineError> {
    let refuse = |detail: String| {
        Err(EngineError::InvalidTable {
            name: name.clone(),
            detail,
        })
    };
    let mut seen = BTreeSet::new();
    for column in &schema.columns {
        if !seen.insert(&column.name) {
            return refuse(format!("column \"{}\" is specified more than once", column.name));
        }
    }
    let mut key = BTreeSet::new();
    for position in &schema.primary_key {
        match schema.columns.get(*position) {
            None => return refuse(format!("its key names column {position}, which does not exist")),
            Some(column) if !key.insert(position) => {
                return refuse(format!("column \"{}\" appears twice in its key", column.name));
            }
            Some(_) => {}
        }
    }
    if [&name.schema, &name.name]
        .iter()
        .any(|part| part.is_empty() || part.contains('\0'))
    {
        return refuse("its name is empty or holds a zero byte".to_owned());
    }
    Ok(())
}

/// Every value fits its column, and columns that must have one do.
fn check_row(name: &TableName, schema: &TableSchema, row: &Row) -> Result<(), EngineError> {
    let mismatch = |column: &str, detail| {
        Err(EngineError::TypeMismatch {
            table: name.clone(),
            column: column.to_owned(),
            detail,
        })
    };
    if row.len() != schema.columns.len() {
        return mismatch(
            "*",
            format!("{} values for {} columns", row.len(), schema.columns.len()),
        );
    }
    for (position, (column, value)) in schema.columns.iter().zip(row).enumerate() {
        if value.is_null() {
            if column.not_null || schema.primary_key.contains(&position) {
                return Err(EngineError::NotNull {
                    table: name.clone(),
                    column: column.name.clone(),
                    row: row.clone(),
                });
            }
        } else if !value.fits(column.column_type) {
            return mismatch(&column.name, format!("{} for {:?}", value.kind(), column.column_type));
        }
        let bytes = match value {
            Value::Text(text) => text.len(),
            Value::Bytea(bytes) => bytes.len(),
            _ => continue,
        };
        if bytes > VALUE_BYTES_MAX {
            return Err(EngineError::ValueTooLarge {
                table: name.clone(),
                column: column.name.clone(),
                bytes,
                limit: VALUE_BYTES_MAX,
            });
        }
    }
    Ok(())
}

/// The key of a row of a table that has a primary key.
fn row_key(name: &TableName, schema: &TableSchema, row: &Row) -> Result<Vec<u8>, EngineError> {
    let key = encode_key(schema, row);
    if key.len() > KEY_BYTES_MAX {
        return Err(EngineError::KeyTooLong {
            table: name.clone(),
            bytes: key.len(),
            limit: KEY_BYTES_MAX,
        });
    }
    Ok(key)
}

fn duplicate_key(name: &TableName, schema: &TableSchema, row: &Row) -> EngineError {
    EngineError::DuplicateKey {
        table: name.clone(),
        constraint: primary_key_name(&name.name),
        columns: schema
            .primary_key
            .iter()
            .map(|position| schema.columns[*position].name.clone())
            .collect(),
        key: schema
            .primary_key
            .iter()
            .map(|position| row[*position].clone())
            .collect(),
    }
}
