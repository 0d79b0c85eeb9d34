//! Applying changes that were made over one root value to another.
//!
//! Pure: roots in, a root out, new chunks into a batch. Costs O(changes x log n), whatever the size of the tables.
//!
//! Invariants
//! - A table that is the same on both roots takes the changes as they are.
//! - Large values that edits bring are put before the rows that refer to them, unless the head's rows have them.
//! - Otherwise its definition must be the same, and each changed row must still be what it was: first committer wins,
//!   row by row.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::edits::{Definition, EditSet, RowEdits, TableEdits};
use super::snapshot::LoadedTable;
use super::{EngineError, keyless};
use crate::chunk::{ChunkBatch, Hash, Link, ReadChunks};
use crate::prolly::{Difference, Map, MergeConflict, Resolution};
use crate::version::{
    EncodedTuple, LargeValue, RootValue, Table, TableDifference, TableName, TableSchema, decode_key, diff_catalogs,
    references,
};

/// What is to be applied.
#[derive(Clone, Copy)]
pub(super) enum Changes<'a> {
    /// The edits of a transaction. The same change made by two transactions conflicts: both may have read before they
    /// wrote, as when both count up.
    Transaction(&'a EditSet),
    /// What leads from the base to this root. The same change on both sides is one change.
    Root(&'a RootValue),
}

/// Why a table could not take the changes.
enum Refusal {
    Table,
    Row(Vec<u8>),
    Failed(EngineError),
}

impl<E: Into<EngineError>> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Failed(error.into())
    }
}

/// Applies `changes`, made over `base`, to `head`.
///
/// # Errors
/// `Conflict` (for `Changes::Root`: `VersionConflict`) when `head` has moved in what was changed.
pub(super) fn apply_changes(
    batch: &mut ChunkBatch<'_>,
    base: &RootValue,
    head: &RootValue,
    changes: Changes<'_>,
) -> Result<RootValue, EngineError> {
    match changes {
        Changes::Transaction(edits) => {
            let mut result = head.clone();
            for (name, edits) in &edits.tables {
                if edits.is_empty() {
                    continue;
                }
                let table = apply_edits(batch, base, head, name, edits).map_err(|refusal| match refusal {
                    Refusal::Table => EngineError::Conflict {
                        table: name.clone(),
                        key: None,
                    },
                    Refusal::Row(key) => row_conflict(batch, base, name, &key),
                    Refusal::Failed(error) => error,
                })?;
                result = result.with_table_hash(batch, name, table)?;
            }
            Ok(result)
        }
        Changes::Root(changed) if base == head => Ok(changed.clone()),
        Changes::Root(changed) => {
            let mut result = head.clone();
            for difference in diff_catalogs(base, changed, batch)? {
                let table = merge_table(batch, head, &difference).map_err(|refusal| match refusal {
                    Refusal::Table | Refusal::Row(_) => EngineError::VersionConflict {
                        detail: format!("table \"{}\" was changed by another version commit", difference.name),
                    },
                    Refusal::Failed(error) => error,
                })?;
                result = result.with_table_hash(batch, &difference.name, table)?;
            }
            Ok(result)
        }
    }
}

/// The table object that takes the place of the one at `head`, or `None` for a dropped table.
fn apply_edits(
    batch: &mut ChunkBatch<'_>,
    base: &RootValue,
    head: &RootValue,
    name: &TableName,
    edits: &TableEdits,
) -> Result<Option<Hash>, Refusal> {
    let base_hash = base.table_hash(batch, name)?;
    let head_hash = head.table_hash(batch, name)?;
    let rows = edits.rows.iter();
    let rows = rows.map(|(key, row)| (key.clone(), row.as_ref().map(|row| row.bytes.clone())));
    match &edits.definition {
        Definition::Dropped | Definition::Created(_) if base_hash != head_hash => Err(Refusal::Table),
        Definition::Dropped => Ok(None),
        Definition::Created(schema) => {
            put_large_values(batch, &edits.rows, None)?;
            let inserted = rows.filter_map(|(key, row)| Some((key, row?)));
            let table = Table {
                schema: schema.as_ref().clone(),
                rows: Map::build(batch, inserted)?,
            };
            Ok(Some(table.store(batch)))
        }
        Definition::Existing => {
            let (Some(base_hash), Some(head_hash)) = (base_hash, head_hash) else {
                return Err(Refusal::Table);
            };
            let base = LoadedTable::load(batch, base_hash)?;
            let rows = if base_hash == head_hash {
                put_large_values(batch, &edits.rows, Some(&base.rows))?;
                base.rows.apply(batch, rows)?
            } else {
                let head = LoadedTable::load(batch, head_hash)?;
                if head.schema != base.schema {
                    return Err(Refusal::Table);
                }
                put_large_values(batch, &edits.rows, Some(&head.rows))?;
                let mut differences = Vec::with_capacity(edits.rows.len());
                for (key, after) in rows {
                    let before = base.rows.get(batch, &key)?;
                    differences.push(Difference {
                        key: key.into(),
                        before,
                        after,
                    });
                }
                if base.schema.is_keyless() {
                    rebase_keyless(batch, &base, &head, differences)?
                } else {
                    // The same change conflicts too.
                    head.rows.rebase(batch, differences, refuse)?.map
                }
            };
            let table = Table {
                schema: base.schema.as_ref().clone(),
                rows,
            };
            Ok(Some(table.store(batch)))
        }
    }
}

/// The table object that takes the place of the one at `head` when one side of a merge made this difference.
fn merge_table(
    batch: &mut ChunkBatch<'_>,
    head: &RootValue,
    difference: &TableDifference,
) -> Result<Option<Hash>, Refusal> {
    let head_hash = head.table_hash(batch, &difference.name)?;
    if head_hash == difference.before || head_hash == difference.after {
        return Ok(difference.after);
    }
    let (Some(before), Some(after), Some(head_hash)) = (difference.before, difference.after, head_hash) else {
        return Err(Refusal::Table);
    };
    let before = LoadedTable::load(batch, before)?;
    let after = LoadedTable::load(batch, after)?;
    let head = LoadedTable::load(batch, head_hash)?;
    if before.schema != after.schema || before.schema != head.schema {
        return Err(Refusal::Table);
    }
    let rows = if before.schema.is_keyless() {
        let differences = before.rows.diff(&after.rows, &*batch)?.collect::<Result<Vec<_>, _>>()?;
        rebase_keyless(batch, &before, &head, differences)?
    } else {
        Map::merge(batch, &before.rows, &head.rows, &after.rows, refuse)?.map
    };
    let table = Table {
        schema: before.schema.as_ref().clone(),
        rows,
    };
    Ok(Some(table.store(batch)))
}

/// First committer wins.
fn refuse(conflict: &MergeConflict) -> Result<Resolution, Refusal> {
    Err(Refusal::Row(conflict.key.to_vec()))
}

/// Puts the large values that `edits` bring.
///
/// Not those of the rows that are replaced or removed at the head: whoever has the head's root has them, and a row that
/// changes in another column, or moves to another key, would write them again. Values that lie elsewhere in the store
/// are put: whoever follows the log from the head's root may not have them.
fn put_large_values(batch: &mut ChunkBatch<'_>, edits: &RowEdits, head: Option<&Map>) -> Result<(), Refusal> {
    let values: Vec<&LargeValue> = edits.values().flatten().flat_map(|row| &row.large).collect();
    if values.is_empty() {
        return Ok(());
    }
    let mut known = BTreeSet::new();
    if let Some(rows) = head {
        for key in edits.keys() {
            let Some(row) = rows.get(&*batch, key)? else { continue };
            for Link { hash, leads_on } in EncodedTuple::attached(&row)? {
                if known.insert(hash) && leads_on {
                    known.extend(references(&batch.get(&hash)?)?);
                }
            }
        }
    }
    for value in values {
        value.put(batch, &known);
    }
    Ok(())
}

/// Rows of equal content have no identity, so counts are merged: what was added is added to what is there now. Removing
/// from a content whose number somebody else changed conflicts.
fn rebase_keyless(
    batch: &mut ChunkBatch<'_>,
    base: &LoadedTable,
    head: &LoadedTable,
    differences: Vec<Difference>,
) -> Result<Map, Refusal> {
    let mut edits = Vec::with_capacity(differences.len());
    let count = |table: &LoadedTable, key: &[u8]| {
        keyless::count(|ordinal| {
            Ok::<_, EngineError>(table.rows.get(&*batch, &keyless::with_ordinal(key, ordinal))?.is_some())
        })
    };
    for of_content in differences.chunk_by(|one, other| keyless::content(&one.key) == keyless::content(&other.key)) {
        let key = &of_content[0].key;
        let was = count(base, key)?;
        let is = count(head, key)?;
        let added: Vec<&Bytes> = of_content
            .iter()
            .filter(|row| row.before.is_none())
            .filter_map(|row| row.after.as_ref())
            .collect();
        let removed = of_content
            .iter()
            .filter(|row| row.before.is_some() && row.after.is_none())
            .count();
        if is < was || (removed > 0 && is != was) {
            return Err(Refusal::Row(key.to_vec()));
        }
        // Ordinals are dense, so a transaction either added after the last one or removed the last ones, never both.
        for ordinal in (was - removed as u64)..was {
            edits.push((keyless::with_ordinal(key, ordinal), None));
        }
        for (place, tuple) in added.into_iter().enumerate() {
            edits.push((keyless::with_ordinal(key, is + place as u64), Some(tuple.clone())));
        }
    }
    Ok(head.rows.apply(batch, edits)?)
}

fn row_conflict(batch: &ChunkBatch<'_>, base: &RootValue, name: &TableName, key: &[u8]) -> EngineError {
    let schema: Option<TableSchema> = base.table(batch, name).ok().flatten().map(|table| table.schema);
    let key = schema
        .filter(|schema| !schema.is_keyless())
        .and_then(|schema| decode_key(&schema.primary_key_types(), key).ok());
    EngineError::Conflict {
        table: name.clone(),
        key,
    }
}
