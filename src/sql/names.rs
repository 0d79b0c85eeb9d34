//! Names in statements: folding of case, quotes, and the table that a name means on the search path.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::error::{SqlError, SqlErrorKind};
use super::settings::Settings;
use crate::engine::{NAME_BYTES_MAX, Transaction};
use crate::version::{TableName, TableSchema};

/// The name as PostgreSQL folds it.
pub fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() {
        name.value.clone()
    } else {
        name.value.to_lowercase()
    }
}

/// The name between quotes, as it is read again whatever it consists of.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The parts of a name, folded.
pub fn parts(name: &ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|part| match part.as_ident() {
            Some(ident) => Ok(folded(ident)),
            None => Err(SqlError::unsupported(format_args!("the name {name}"))),
        })
        .collect()
}

/// A name that something new may have. PostgreSQL cuts one that is too long, with a notice.
pub fn check_new(name: &str) -> Result<(), SqlError> {
    if name.is_empty() {
        return Err(SqlError::new(
            SqlErrorKind::Syntax,
            "zero-length delimited identifier at or near \"\"\"\"",
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(
            SqlError::new(SqlErrorKind::LimitExceeded, format!("the name \"{name}\" is too long"))
                .hint(format!("Names have up to {NAME_BYTES_MAX} bytes.")),
        );
    }
    Ok(())
}

/// Schema (if given) and name. The database, if given, must be the current one.
fn split(name: &ObjectName, database: &str) -> Result<(Option<String>, String), SqlError> {
    let mut parts = parts(name)?.into_iter().rev();
    let table = parts
        .next()
        .ok_or_else(|| SqlError::new(SqlErrorKind::Syntax, "a name is missing"))?;
    let schema = parts.next();
    match (parts.next(), parts.next()) {
        (None, _) => Ok((schema, table)),
        (Some(catalog), None) if catalog == database => Ok((schema, table)),
        _ => Err(SqlError::new(
            SqlErrorKind::Unsupported,
            format!("cross-database references are not implemented: \"{name}\""),
        )),
    }
}

/// The table a statement means; None when there is none.
pub fn find(
    transaction: &Transaction,
    settings: &Settings,
    database: &str,
    name: &ObjectName,
) -> Result<Option<(TableName, Arc<TableSchema>)>, SqlError> {
    let (schema, table) = split(name, database)?;
    let schemas = match &schema {
        Some(schema) => std::slice::from_ref(schema),
        None => settings.search_path(),
    };
    for schema in schemas {
        let candidate = TableName::new(schema, table.clone());
        if let Some(found) = transaction.table_schema(&candidate)? {
            return Ok(Some((candidate, found)));
        }
    }
    Ok(None)
}

/// As [`find`]; 42P01 when there is none.
pub fn require(
    transaction: &Transaction,
    settings: &Settings,
    database: &str,
    name: &ObjectName,
) -> Result<(TableName, Arc<TableSchema>), SqlError> {
    find(transaction, settings, database, name)?.ok_or_else(|| {
        let shown = parts(name).map_or_else(|_| name.to_string(), |parts| parts.join("."));
        SqlError::undefined_table(shown)
    })
}

/// Where a new table goes: the schema that is named, or the first of the search path that exists.
pub fn place(
    transaction: &Transaction,
    settings: &Settings,
    database: &str,
    name: &ObjectName,
) -> Result<TableName, SqlError> {
    let (schema, table) = split(name, database)?;
    check_new(&table)?;
    let existing = transaction.schemas();
    let schema = match schema {
        Some(schema) if ["pg_catalog", "information_schema", "dolt"].contains(&schema.as_str()) => {
            return Err(SqlError::new(
                SqlErrorKind::InsufficientPrivilege,
                format!("permission denied to create \"{schema}.{table}\""),
            )
            .detail("System catalogs cannot be changed."));
        }
        Some(schema) => schema,
        None => settings
            .search_path()
            .iter()
            .find(|schema| existing.contains(schema))
            .cloned()
            .ok_or_else(|| {
                SqlError::new(
                    SqlErrorKind::UndefinedSchema,
                    "no schema has been selected to create in",
                )
            })?,
    };
    if !existing.contains(&schema) {
        return Err(SqlError::new(
            SqlErrorKind::UndefinedSchema,
            format!("schema \"{schema}\" does not exist"),
        ));
    }
    Ok(TableName::new(schema, table))
}
