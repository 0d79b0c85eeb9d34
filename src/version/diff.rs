//! What differs between two states: tables by hash, rows by key.

use super::root_value::{table_name, table_reference};
use super::{RootValue, Row, Table, TableName, VersionError, decode_tuple};
use crate::chunk::{Hash, ReadChunks};

/// A table that is not the same on both sides. At least one side is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDifference {
    pub name: TableName,
    pub before: Option<Hash>,
    pub after: Option<Hash>,
}

/// Tables that differ, sorted by name. Costs O(differences), not O(tables).
pub fn diff_catalogs(
    before: &RootValue,
    after: &RootValue,
    chunks: &dyn ReadChunks,
) -> Result<Vec<TableDifference>, VersionError> {
    let mut differences = Vec::new();
    for difference in before.catalog().diff(after.catalog(), chunks)? {
        let difference = difference?;
        differences.push(TableDifference {
            name: table_name(&difference.key)?,
            before: difference.before.as_deref().map(table_reference).transpose()?,
            after: difference.after.as_deref().map(table_reference).transpose()?,
        });
    }
    Ok(differences)
}

/// A row that is not the same on both sides, each side in its own schema. At least one side is present.
#[derive(Debug, Clone, PartialEq)]
pub struct RowDifference {
    pub key: Vec<u8>,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// Rows that differ between two states of a table, in key order. Costs O(differences), not O(rows). A part of the versions
/// that no statement asks for yet.
///
/// Rows are matched by the bytes of their keys, so the two sides should have key columns of the same types.
pub fn diff_rows(before: &Table, after: &Table, chunks: &dyn ReadChunks) -> Result<Vec<RowDifference>, VersionError> {
    let mut differences = Vec::new();
    for difference in before.rows.diff(&after.rows, chunks)? {
        let difference = difference?;
        differences.push(RowDifference {
            before: difference
                .before
                .map(|tuple| decode_tuple(&before.schema, &tuple, chunks))
                .transpose()?,
            after: difference
                .after
                .map(|tuple| decode_tuple(&after.schema, &tuple, chunks))
                .transpose()?,
            key: difference.key.to_vec(),
        });
    }
    Ok(differences)
}
