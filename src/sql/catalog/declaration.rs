//! The words in which the files of this folder declare system tables: column types, cells, and the tables themselves.

use super::objects::role_oid;
use super::{Catalog, Datum, SystemTable};
use crate::sql::{PgType, SqlError};
use crate::version::Value;

pub const OID: PgType = PgType::OID;
pub const NAME: PgType = PgType::NAME;
pub const TEXT: PgType = PgType::TEXT;
pub const BOOL: PgType = PgType::BOOL;
pub const CHAR: PgType = PgType::CHAR;
pub const INT2: PgType = PgType::INT2;
pub const INT4: PgType = PgType::INT4;
pub const INT8: PgType = PgType::INT8;
pub const FLOAT4: PgType = PgType::FLOAT4;
pub const TIMESTAMP: PgType = PgType::TIMESTAMP;
pub const TIMESTAMPTZ: PgType = PgType::TIMESTAMPTZ;
pub const TEXTS: PgType = PgType::TEXT_ARRAY;

pub type Columns = &'static [(&'static str, PgType)];
pub type Rows = Result<Vec<Vec<Datum>>, SqlError>;

/// A table of `pg_catalog`.
pub const fn table(name: &'static str, columns: Columns, rows: fn(&Catalog) -> Rows) -> SystemTable {
    table_in("pg_catalog", name, columns, rows)
}

pub const fn table_in(
    schema: &'static str,
    name: &'static str,
    columns: Columns,
    rows: fn(&Catalog) -> Rows,
) -> SystemTable {
    SystemTable {
        schema,
        name,
        columns,
        rows: Some(rows),
    }
}

/// A table of `pg_catalog` that exists for the queries of clients and never has rows here.
pub const fn empty(name: &'static str, columns: Columns) -> SystemTable {
    SystemTable {
        schema: "pg_catalog",
        name,
        columns,
        rows: None,
    }
}

/// Who owns everything.
pub fn owner() -> Datum {
    oid(role_oid("postgres"))
}

pub fn oid(oid: i64) -> Datum {
    Datum::Value(Value::Int8(oid))
}

pub fn text(words: impl Into<String>) -> Datum {
    Datum::Value(Value::Text(words.into()))
}

pub fn opt_text(words: Option<impl Into<String>>) -> Datum {
    Datum::Value(words.map_or(Value::Null, |words| Value::Text(words.into())))
}

pub fn yes(value: bool) -> Datum {
    Datum::Value(Value::Bool(value))
}

pub fn int2(value: i16) -> Datum {
    Datum::Value(Value::Int2(value))
}

pub fn int4(value: i32) -> Datum {
    Datum::Value(Value::Int4(value))
}

pub fn int8(value: i64) -> Datum {
    Datum::Value(Value::Int8(value))
}

pub fn null() -> Datum {
    Datum::Value(Value::Null)
}

pub fn no_array() -> Datum {
    Datum::Array(None)
}
