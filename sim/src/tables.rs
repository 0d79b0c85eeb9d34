//! Tables that are made in the engine, without SQL.
//!
//! Must not know: what is in them.

use understudy::version::{Column, ColumnType, TableSchema};

/// Columns without nulls, of which the first is the primary key.
pub fn keyed_by_the_first(columns: &[(&str, ColumnType)]) -> TableSchema {
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: (*name).to_owned(),
        column_type: *column_type,
        not_null: true,
        default: None,
    };
    TableSchema {
        columns: columns.iter().map(column).collect(),
        primary_key: vec![0],
    }
}
