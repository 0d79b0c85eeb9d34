//! What RowDescription says about a type besides its oid.

use crate::sql::PgType;

/// `typlen` of the type: bytes of its fixed-size values, -1 for the others.
pub fn type_length(pg_type: &PgType) -> i16 {
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
        | PgType::REGNAMESPACE => 4,
        PgType::INT8 | PgType::FLOAT8 | PgType::TIME | PgType::TIMESTAMP | PgType::TIMESTAMPTZ => 8,
        PgType::UUID | PgType::INTERVAL => 16,
        PgType::NAME => 64,
        PgType::UNKNOWN => -2,
        _ => -1,
    }
}
