//! The types of `pg_type`, and what they are called.

use postgres_types::Kind;

use crate::sql::PgType;
use crate::sql::plan::arrow::{array_of, numeric_typmod, words_of};
use crate::sql::types;

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
        PgType::INT2
        | PgType::INT4
        | PgType::INT8
        | PgType::FLOAT4
        | PgType::FLOAT8
        | PgType::NUMERIC
        | PgType::OID
        | PgType::REGCLASS
        | PgType::REGTYPE
        | PgType::REGPROC
        | PgType::REGNAMESPACE
        | PgType::REGROLE => "N",
        PgType::RECORD | PgType::VOID => "P",
        PgType::UNKNOWN => "X",
        PgType::CHAR => "Z",
        _ => "U",
    }
}

/// `typlen`: bytes of fixed-size values, -1 for the others.
pub fn length(pg_type: &PgType) -> i16 {
    match *pg_type {
        PgType::BOOL | PgType::CHAR => 1,
        PgType::INT2 => 2,
        PgType::INT4
        | PgType::FLOAT4
        | PgType::DATE
        | PgType::OID
        | PgType::XID
        | PgType::CID
        | PgType::REGCLASS
        | PgType::REGTYPE
        | PgType::REGPROC
        | PgType::REGNAMESPACE
        | PgType::REGROLE
        | PgType::VOID => 4,
        PgType::INT8 | PgType::FLOAT8 | PgType::TIME | PgType::TIMESTAMP | PgType::TIMESTAMPTZ => 8,
        PgType::UUID | PgType::INTERVAL => 16,
        PgType::NAME => 64,
        PgType::UNKNOWN => -2,
        _ => -1,
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
    match (types::column_type_of(pg_type), pg_type.kind()) {
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
