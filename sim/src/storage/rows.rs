//! Rows of the driver's tables: how they are written, and what a reader makes of them.
//!
//! Must not know: plans, checks.

use std::collections::BTreeMap;
use std::ops::Bound;

use understudy::engine::{EngineError, Transaction};
use understudy::version::{ColumnType, Row, TableName, TableSchema, Value, encode_key};

use super::event::{Cell, Edit, JOURNAL, Tables};
use crate::history::GARBLED;
use crate::tables::keyed_by_the_first;

fn schema() -> TableSchema {
    keyed_by_the_first(&[
        ("k", ColumnType::Int8),
        ("v", ColumnType::Int8),
        ("pad", ColumnType::Text),
    ])
}

/// Padding that follows from the value, compressible for every other value.
fn padding(cell: Cell) -> String {
    let bytes = usize::try_from(cell.bytes).expect("a size of 32 bits fits");
    if cell.value % 2 == 0 {
        return "all work and no play ".chars().cycle().take(bytes).collect();
    }
    let mut state = cell.value.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = (0..bytes).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).expect("less than 26"))
    });
    letters.collect()
}

fn row(key: i64, cell: Cell) -> Row {
    vec![Value::Int8(key), Value::Int8(cell.value), Value::Text(padding(cell))]
}

fn key_bytes(key: i64) -> Vec<u8> {
    let cell = Cell { value: 0, bytes: 0 };
    encode_key(&schema(), &row(key, cell))
}

/// Makes the edits of commit `number`, creating tables that are missing. Returns the edits that were made, which is
/// what must be found if the commit is.
pub fn apply(transaction: &mut Transaction, number: u64, planned: &[Edit]) -> Result<Vec<Edit>, EngineError> {
    let journal = Edit::Put {
        table: JOURNAL.to_owned(),
        key: i64::try_from(number).expect("commits are few"),
        cell: Cell { value: 0, bytes: 0 },
    };
    let mut made = Vec::new();
    for edit in planned.iter().chain([&journal]) {
        match edit {
            Edit::Put { table, .. } | Edit::Delete { table, .. } | Edit::Create { table } => {
                let name = TableName::public(table);
                if transaction.table_schema(&name)?.is_none() {
                    transaction.create_table(&name, schema())?;
                    made.push(Edit::Create { table: table.clone() });
                }
            }
            Edit::Drop { .. } => {}
        }
        match edit {
            Edit::Create { .. } => continue,
            Edit::Drop { table } => {
                let name = TableName::public(table);
                if transaction.table_schema(&name)?.is_none() {
                    continue;
                }
                transaction.drop_table(&name)?;
            }
            Edit::Put { table, key, cell } => transaction.upsert(&TableName::public(table), row(*key, *cell))?,
            Edit::Delete { table, key } => {
                transaction.delete(&TableName::public(table), &key_bytes(*key))?;
            }
        }
        made.push(edit.clone());
    }
    Ok(made)
}

/// All rows of all tables.
pub fn read_all(transaction: &Transaction) -> Result<Tables, EngineError> {
    let mut tables = Tables::new();
    for name in transaction.tables()? {
        let mut rows = BTreeMap::new();
        for entry in transaction.scan(&name, (Bound::Unbounded, Bound::Unbounded))? {
            let (_, row) = entry?;
            let (key, cell) = read_row(&row);
            rows.insert(key, cell);
        }
        tables.insert(name.name.clone(), rows);
    }
    Ok(tables)
}

/// A cell whose padding does not follow from its value is one that no commit ever wrote.
fn read_row(row: &Row) -> (i64, Cell) {
    let [Value::Int8(key), Value::Int8(value), Value::Text(pad)] = &row[..] else {
        return (
            GARBLED,
            Cell {
                value: GARBLED,
                bytes: 0,
            },
        );
    };
    let bytes = u32::try_from(pad.len()).unwrap_or(u32::MAX);
    let cell = Cell { value: *value, bytes };
    let value = if padding(cell) == *pad { *value } else { GARBLED };
    (*key, Cell { value, bytes })
}

/// The numbers of the version commits, newest first.
pub fn read_versions(transaction: &Transaction) -> Result<Vec<u64>, EngineError> {
    let log = transaction.dolt_log()?;
    let number = |message: &str| message.strip_prefix(VERSION_MESSAGE)?.parse().ok();
    Ok(log.iter().filter_map(|(_, commit)| number(&commit.message)).collect())
}

/// What the message of a version commit begins with; its number follows.
pub const VERSION_MESSAGE: &str = "commit ";
