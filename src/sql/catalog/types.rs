//! The types of `pg_type`: what they are called, their properties, and the tables that show them.

use postgres_types::Kind;

use super::declaration::*;
use super::objects::namespace_oid;
use super::{Catalog, SystemTable};
use crate::sql::PgType;
use crate::sql::plan::arrow::array_of;
use crate::sql::types::{column_type_of, is_number, is_oid, length, numeric_typmod, words_of};

/// The collation of every text column, `default`.
pub const DEFAULT_COLLATION: i64 = 100;

pub const TABLES: &[SystemTable] = &[
    table(
        "pg_type",
        &[
            ("oid", OID),
            ("typname", NAME),
            ("typnamespace", OID),
            ("typowner", OID),
            ("typlen", INT2),
            ("typbyval", BOOL),
            ("typtype", CHAR),
            ("typcategory", CHAR),
            ("typispreferred", BOOL),
            ("typisdefined", BOOL),
            ("typdelim", CHAR),
            ("typrelid", OID),
            ("typsubscript", PgType::TEXT),
            ("typelem", OID),
            ("typarray", OID),
            ("typnotnull", BOOL),
            ("typbasetype", OID),
            ("typtypmod", INT4),
            ("typndims", INT4),
            ("typcollation", OID),
            ("typdefault", TEXT),
        ],
        types_of,
    ),
    table(
        "pg_collation",
        &[
            ("oid", OID),
            ("collname", NAME),
            ("collnamespace", OID),
            ("collowner", OID),
            ("collprovider", CHAR),
            ("collisdeterministic", BOOL),
            ("collencoding", INT4),
            ("collcollate", TEXT),
            ("collctype", TEXT),
        ],
        |_| {
            let row = |number, name: &str, provider: &str, locale: Option<&str>| {
                vec![
                    oid(number),
                    text(name),
                    oid(namespace_oid("pg_catalog")),
                    owner(),
                    text(provider),
                    yes(true),
                    int4(-1),
                    opt_text(locale),
                    opt_text(locale),
                ]
            };
            Ok(vec![
                row(DEFAULT_COLLATION, "default", "d", None),
                row(950, "C", "c", Some("C")),
                row(951, "POSIX", "c", Some("POSIX")),
            ])
        },
    ),
];

/// Every type with a row in `pg_type`, arrays aside.
pub const BASE_TYPES: &[PgType] = &[
    PgType::BOOL,
    PgType::BYTEA,
    PgType::CHAR,
    PgType::NAME,
    PgType::INT8,
    PgType::INT2,
    PgType::INT2_VECTOR,
    PgType::INT4,
    PgType::REGPROC,
    PgType::TEXT,
    PgType::OID,
    PgType::XID,
    PgType::CID,
    PgType::OID_VECTOR,
    PgType::JSON,
    PgType::FLOAT4,
    PgType::FLOAT8,
    PgType::UNKNOWN,
    PgType::BPCHAR,
    PgType::VARCHAR,
    PgType::DATE,
    PgType::TIME,
    PgType::TIMESTAMP,
    PgType::TIMESTAMPTZ,
    PgType::INTERVAL,
    PgType::NUMERIC,
    PgType::UUID,
    PgType::JSONB,
    PgType::REGCLASS,
    PgType::REGTYPE,
    PgType::REGNAMESPACE,
    PgType::REGROLE,
    PgType::RECORD,
    PgType::VOID,
];

fn types_of(_: &Catalog) -> Rows {
    Ok(all()
        .into_iter()
        .map(|pg_type| {
            let bytes = length(&pg_type);
            let element = match (&pg_type, pg_type.kind()) {
                (&PgType::INT2_VECTOR, _) => PgType::INT2.oid(),
                (&PgType::OID_VECTOR, _) => PgType::OID.oid(),
                (_, Kind::Array(element)) => element.oid(),
                _ => 0,
            };
            let category = category(&pg_type);
            let preferred = matches!(
                pg_type,
                PgType::TEXT | PgType::FLOAT8 | PgType::OID | PgType::BOOL | PgType::TIMESTAMPTZ | PgType::INTERVAL
            );
            let array = array_type(&pg_type).map_or(0, |array| array.oid());
            vec![
                oid(pg_type.oid().into()),
                text(pg_type.name()),
                oid(namespace_oid("pg_catalog")),
                owner(),
                int2(bytes),
                yes((1..=8).contains(&bytes)),
                text(if category == "P" { "p" } else { "b" }),
                text(category),
                yes(preferred),
                yes(true),
                text(","),
                oid(0),
                text("-"),
                oid(element.into()),
                oid(array.into()),
                yes(false),
                oid(0),
                int4(-1),
                int4(0),
                oid(if category == "S" { DEFAULT_COLLATION } else { 0 }),
                null(),
            ]
        })
        .collect())
}

/// Base types and the array types over them.
pub fn all() -> Vec<PgType> {
    let arrays = BASE_TYPES.iter().filter_map(array_type);
    BASE_TYPES.iter().cloned().chain(arrays).collect()
}

/// The array type over a base type, if it has its own.
pub fn array_type(element: &PgType) -> Option<PgType> {
    let array = array_of(element);
    matches!(array.kind(), Kind::Array(of) if *of == *element).then_some(array)
}

/// What `format_type(oid, typmod)` says.
pub fn format_type(oid: i64, typmod: i32) -> String {
    let pg_type = match u32::try_from(oid) {
        Ok(0) => return "-".to_string(),
        Ok(oid) => PgType::from_oid(oid),
        Err(_) => None,
    };
    let Some(pg_type) = pg_type else {
        return "???".to_string();
    };
    let words = words_of(&pg_type);
    match pg_type {
        PgType::VARCHAR | PgType::BPCHAR if typmod > 4 => format!("{words}({})", typmod - 4),
        PgType::BPCHAR => "bpchar".to_string(),
        PgType::NUMERIC => match numeric_typmod(typmod) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => words,
        },
        _ => words,
    }
}

/// The oid of a type by its name in SQL (`integer`) or in the catalog (`int4`), also with `[]`.
pub fn type_oid(written: &str) -> Option<i64> {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
    let data_type = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(written)
        .ok()?
        .parse_data_type()
        .ok()?;
    let (pg_type, _) = crate::sql::plan::resolve_type(&data_type).ok()?;
    Some(i64::from(pg_type.oid()))
}

/// `typcategory`.
pub fn category(pg_type: &PgType) -> &'static str {
    if matches!(pg_type.kind(), Kind::Array(_)) {
        return "A";
    }
    match *pg_type {
        PgType::BOOL => "B",
        PgType::DATE | PgType::TIME | PgType::TIMESTAMP | PgType::TIMESTAMPTZ => "D",
        PgType::INTERVAL => "T",
        PgType::TEXT | PgType::VARCHAR | PgType::BPCHAR | PgType::NAME => "S",
        _ if is_number(pg_type) || is_oid(pg_type) => "N",
        PgType::RECORD | PgType::VOID => "P",
        PgType::UNKNOWN => "X",
        PgType::CHAR => "Z",
        _ => "U",
    }
}

/// How `\d+` shows a column's storage.
pub fn storage(pg_type: &PgType) -> &'static str {
    match length(pg_type) {
        -1 if *pg_type == PgType::NUMERIC => "m",
        -1 => "x",
        _ => "p",
    }
}

/// `information_schema`'s name of a type.
pub fn information_name(pg_type: &PgType) -> String {
    match (column_type_of(pg_type), pg_type.kind()) {
        (_, Kind::Array(_)) => "ARRAY".to_string(),
        _ => words_of(pg_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15 answers `SELECT format_type(oid, typmod)`.
    #[test]
    fn types_are_called_what_postgres_calls_them() {
        for (oid, typmod, expected) in [
            (23, -1, "integer"),
            (1043, 14, "character varying(10)"),
            (1043, -1, "character varying"),
            (1042, 9, "character(5)"),
            (1042, -1, "bpchar"),
            (1700, 655_366, "numeric(10,2)"),
            (1184, -1, "timestamp with time zone"),
            (25, -1, "text"),
            (1009, -1, "text[]"),
            (18, -1, "\"char\""),
            (19, -1, "name"),
            (0, -1, "-"),
            (99_999, -1, "???"),
        ] {
            assert_eq!(format_type(oid, typmod), expected, "{oid}");
        }
    }

    #[test]
    fn types_are_found_by_both_their_names() {
        for (name, oid) in [
            ("integer", 23),
            ("int4", 23),
            ("timestamp with time zone", 1184),
            ("text[]", 1009),
            ("name", 19),
        ] {
            assert_eq!(type_oid(name), Some(oid), "{name}");
        }
        assert_eq!(type_oid("nonsense"), None);
    }
}
