//! Column types by their names: in SQL text, in PostgreSQL's catalog, and in messages.

use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};
use postgres_types::Kind;

use super::error::{SqlError, SqlErrorKind};
use super::result::{FieldInfo, PgType};
use crate::version::{Column, ColumnType, Value};

/// Longest `varchar(n)` and `char(n)`, PostgreSQL's limit.
const CHARACTERS_MAX: u64 = 10_485_760;
/// Digits a `numeric` holds here: what fits 96 bits.
const NUMERIC_DIGITS_MAX: u64 = 28;

/// The type that SQL text names.
///
/// # Errors
/// `Unsupported` for types PostgreSQL has and this server does not, `UndefinedObject` (42704) for names nobody knows,
/// `InvalidParameter` for lengths out of range.
pub fn column_type(written: &DataType) -> Result<ColumnType, SqlError> {
    Ok(match written {
        DataType::Boolean | DataType::Bool => ColumnType::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => ColumnType::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => ColumnType::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => ColumnType::Int8,
        DataType::Real | DataType::Float4 => ColumnType::Float4,
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(ExactNumberInfo::None) => ColumnType::Float8,
        DataType::Float(ExactNumberInfo::None) => ColumnType::Float8,
        DataType::Float(ExactNumberInfo::Precision(bits)) => match bits {
            1..=24 => ColumnType::Float4,
            25..=53 => ColumnType::Float8,
            _ => return Err(bad_modifier("precision for type float must be between 1 and 53 bits")),
        },
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text => ColumnType::Text,
        DataType::Varchar(length) | DataType::CharVarying(length) | DataType::CharacterVarying(length) => {
            ColumnType::Varchar(characters(length.as_ref())?)
        }
        DataType::Char(length) | DataType::Character(length) => {
            ColumnType::Char(characters(length.as_ref())?.unwrap_or(1))
        }
        DataType::Bytea => ColumnType::Bytea,
        DataType::Date => ColumnType::Date,
        DataType::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => ColumnType::Time,
        DataType::Timestamp(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            ColumnType::Timestamp
        }
        DataType::Timestamp(None | Some(6), TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => ColumnType::TimestampTz,
        DataType::TimestampNtz(None | Some(6)) => ColumnType::Timestamp,
        DataType::Uuid => ColumnType::Uuid,
        DataType::JSON => ColumnType::Json,
        DataType::JSONB => ColumnType::Jsonb,
        DataType::Custom(name, modifiers) => return custom(&name.to_string(), modifiers),
        DataType::Array(ArrayElemTypeDef::SquareBracket(..) | ArrayElemTypeDef::Parenthesis(..)) => {
            return Err(SqlError::unsupported(format_args!("array type {written}")));
        }
        other => {
            return Err(SqlError::unsupported(format_args!(
                "type {}",
                other.to_string().to_lowercase()
            )));
        }
    })
}

fn custom(name: &str, modifiers: &[String]) -> Result<ColumnType, SqlError> {
    let plain = name.to_ascii_lowercase();
    let plain = plain.strip_prefix("pg_catalog.").unwrap_or(&plain).trim_matches('"');
    let length = || -> Result<Option<u32>, SqlError> {
        match modifiers {
            [] => Ok(None),
            [one] => one.parse().map(Some).map_err(|_| bad_modifier("invalid type modifier")),
            _ => Err(bad_modifier("invalid type modifier")),
        }
    };
    Ok(match plain {
        "bool" => ColumnType::Bool,
        "int2" => ColumnType::Int2,
        "int4" => ColumnType::Int4,
        "int8" => ColumnType::Int8,
        "float4" => ColumnType::Float4,
        "float8" => ColumnType::Float8,
        "text" | "name" => ColumnType::Text,
        "varchar" => ColumnType::Varchar(length()?),
        "bpchar" => match length()? {
            Some(length) => ColumnType::Char(length),
            // Unlike "character", it is of any length.
            None => ColumnType::Varchar(None),
        },
        "bytea" => ColumnType::Bytea,
        "date" => ColumnType::Date,
        "uuid" => ColumnType::Uuid,
        "json" => ColumnType::Json,
        "jsonb" => ColumnType::Jsonb,
        "timestamptz" => ColumnType::TimestampTz,
        "numeric" => ColumnType::Numeric { precision: None },
        "serial" | "bigserial" | "smallserial" | "serial2" | "serial4" | "serial8" => {
            return Err(SqlError::unsupported(format_args!("type {plain}"))
                .hint("Declare the column as integer or bigint and give its values."));
        }
        "interval" | "money" | "xml" | "inet" | "cidr" | "macaddr" | "point" | "tsvector" | "oid" | "regclass"
        | "regtype" | "bit" | "varbit" | "hstore" | "timetz" | "line" | "box" | "path" | "polygon" | "circle"
        | "int4range" | "int8range" | "numrange" | "tsrange" | "tstzrange" | "daterange" => {
            return Err(SqlError::unsupported(format_args!("type {plain}")));
        }
        _ => {
            return Err(SqlError::new(
                SqlErrorKind::UndefinedObject,
                format!("type \"{name}\" does not exist"),
            ));
        }
    })
}

fn bad_modifier(message: &str) -> SqlError {
    SqlError::new(SqlErrorKind::InvalidParameter, message)
}

fn characters(length: Option<&CharacterLength>) -> Result<Option<u32>, SqlError> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length, .. }) if (1..=CHARACTERS_MAX).contains(length) => Ok(Some(
            u32::try_from(*length).map_err(|_| bad_modifier("length is out of range"))?,
        )),
        Some(_) => Err(bad_modifier("length for type varchar must be between 1 and 10485760")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<ColumnType, SqlError> {
    let (digits, scale) = match info {
        ExactNumberInfo::None => return Ok(ColumnType::Numeric { precision: None }),
        ExactNumberInfo::Precision(digits) => (*digits, 0),
        ExactNumberInfo::PrecisionAndScale(digits, scale) => (*digits, *scale),
    };
    if digits == 0 || digits > 1000 {
        return Err(bad_modifier(&format!(
            "NUMERIC precision {digits} must be between 1 and 1000"
        )));
    }
    if digits > NUMERIC_DIGITS_MAX {
        return Err(SqlError::unsupported(format_args!(
            "numeric with more than {NUMERIC_DIGITS_MAX} digits"
        )));
    }
    if scale < 0 || scale.unsigned_abs() > digits {
        return Err(bad_modifier(&format!(
            "NUMERIC scale {scale} must be between 0 and precision {digits}"
        )));
    }
    let digits = u8::try_from(digits).map_err(|_| bad_modifier("NUMERIC precision is out of range"))?;
    let scale = i8::try_from(scale).map_err(|_| bad_modifier("NUMERIC scale is out of range"))?;
    Ok(ColumnType::Numeric {
        precision: Some((digits, scale)),
    })
}

/// The type as PostgreSQL's messages and `format_type` word it.
pub fn type_name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "boolean".to_string(),
        ColumnType::Int2 => "smallint".to_string(),
        ColumnType::Int4 => "integer".to_string(),
        ColumnType::Int8 => "bigint".to_string(),
        ColumnType::Float4 => "real".to_string(),
        ColumnType::Float8 => "double precision".to_string(),
        ColumnType::Numeric { precision: None } => "numeric".to_string(),
        ColumnType::Numeric {
            precision: Some((digits, scale)),
        } => format!("numeric({digits},{scale})"),
        ColumnType::Text => "text".to_string(),
        ColumnType::Varchar(None) => "character varying".to_string(),
        ColumnType::Varchar(Some(length)) => format!("character varying({length})"),
        ColumnType::Char(length) => format!("character({length})"),
        ColumnType::Bytea => "bytea".to_string(),
        ColumnType::Date => "date".to_string(),
        ColumnType::Time => "time without time zone".to_string(),
        ColumnType::Timestamp => "timestamp without time zone".to_string(),
        ColumnType::TimestampTz => "timestamp with time zone".to_string(),
        ColumnType::Uuid => "uuid".to_string(),
        ColumnType::Json => "json".to_string(),
        ColumnType::Jsonb => "jsonb".to_string(),
    }
}

/// As [`type_name`], for any type of the catalog.
pub fn words_of(pg_type: &PgType) -> String {
    match *pg_type {
        PgType::CHAR => "\"char\"".to_string(),
        PgType::BPCHAR => "character".to_string(),
        PgType::INTERVAL => "interval".to_string(),
        _ => match (column_type_of(pg_type), pg_type.kind()) {
            (Some(column_type), _) if *pg_type != PgType::NAME && *pg_type != PgType::UNKNOWN => type_name(column_type),
            (_, Kind::Array(element)) => format!("{}[]", words_of(element)),
            _ => pg_type.name().to_string(),
        },
    }
}

/// The type as PostgreSQL's catalog has it.
pub fn pg_type(column_type: ColumnType) -> PgType {
    match column_type {
        ColumnType::Bool => PgType::BOOL,
        ColumnType::Int2 => PgType::INT2,
        ColumnType::Int4 => PgType::INT4,
        ColumnType::Int8 => PgType::INT8,
        ColumnType::Float4 => PgType::FLOAT4,
        ColumnType::Float8 => PgType::FLOAT8,
        ColumnType::Numeric { .. } => PgType::NUMERIC,
        ColumnType::Text => PgType::TEXT,
        ColumnType::Varchar(_) => PgType::VARCHAR,
        ColumnType::Char(_) => PgType::BPCHAR,
        ColumnType::Bytea => PgType::BYTEA,
        ColumnType::Date => PgType::DATE,
        ColumnType::Time => PgType::TIME,
        ColumnType::Timestamp => PgType::TIMESTAMP,
        ColumnType::TimestampTz => PgType::TIMESTAMPTZ,
        ColumnType::Uuid => PgType::UUID,
        ColumnType::Json => PgType::JSON,
        ColumnType::Jsonb => PgType::JSONB,
    }
}

/// PostgreSQL's type modifier: the lengths and digits of a declared type, -1 without.
pub fn typmod(column_type: ColumnType) -> i32 {
    // The four extra bytes are those of the varlena header, which the number has counted since Postgres95.
    const HEADER: i32 = 4;
    match column_type {
        ColumnType::Varchar(Some(length)) | ColumnType::Char(length) => {
            i32::try_from(length).map_or(-1, |length| length + HEADER)
        }
        ColumnType::Numeric {
            precision: Some((digits, scale)),
        } => ((i32::from(digits) << 16) | (i32::from(scale) & 0x7ff)) + HEADER,
        _ => -1,
    }
}

/// Precision and scale of a numeric's type modifier.
pub fn numeric_typmod(typmod: i32) -> Option<(u8, i8)> {
    let digits = typmod.checked_sub(4).filter(|digits| *digits >= 0)?;
    Some((u8::try_from(digits >> 16).ok()?, (digits & 0x7ff) as i8))
}

/// The field that shows a column.
pub fn field_of(column: &Column) -> FieldInfo {
    FieldInfo {
        name: column.name.clone(),
        pg_type: pg_type(column.column_type),
        typmod: typmod(column.column_type),
    }
}

/// The storage's type for values of a catalog type; None for types that no column can have.
pub fn column_type_of(pg_type: &PgType) -> Option<ColumnType> {
    Some(match *pg_type {
        PgType::BOOL => ColumnType::Bool,
        PgType::INT2 => ColumnType::Int2,
        PgType::INT4 => ColumnType::Int4,
        PgType::INT8 => ColumnType::Int8,
        PgType::FLOAT4 => ColumnType::Float4,
        PgType::FLOAT8 => ColumnType::Float8,
        PgType::NUMERIC => ColumnType::Numeric { precision: None },
        PgType::TEXT | PgType::NAME | PgType::UNKNOWN => ColumnType::Text,
        PgType::VARCHAR => ColumnType::Varchar(None),
        // Values of "bpchar" keep the length they came with.
        PgType::BPCHAR => ColumnType::Varchar(None),
        PgType::BYTEA => ColumnType::Bytea,
        PgType::DATE => ColumnType::Date,
        PgType::TIME => ColumnType::Time,
        PgType::TIMESTAMP => ColumnType::Timestamp,
        PgType::TIMESTAMPTZ => ColumnType::TimestampTz,
        PgType::UUID => ColumnType::Uuid,
        PgType::JSON => ColumnType::Json,
        PgType::JSONB => ColumnType::Jsonb,
        _ => return None,
    })
}

/// The type a value has by itself, as the field of a computed column shows it.
pub fn pg_type_of_value(value: &Value) -> PgType {
    match value {
        Value::Null | Value::Text(_) => PgType::TEXT,
        Value::Bool(_) => PgType::BOOL,
        Value::Int2(_) => PgType::INT2,
        Value::Int4(_) => PgType::INT4,
        Value::Int8(_) => PgType::INT8,
        Value::Float4(_) => PgType::FLOAT4,
        Value::Float8(_) => PgType::FLOAT8,
        Value::Numeric(_) => PgType::NUMERIC,
        Value::Bytea(_) => PgType::BYTEA,
        Value::Date(_) => PgType::DATE,
        Value::Time(_) => PgType::TIME,
        Value::Timestamp(_) => PgType::TIMESTAMP,
        Value::Uuid(_) => PgType::UUID,
    }
}

/// Whether values of the type are texts that any type can be read from and written to.
pub fn is_text(pg_type: &PgType) -> bool {
    matches!(
        *pg_type,
        PgType::TEXT
            | PgType::VARCHAR
            | PgType::BPCHAR
            | PgType::NAME
            | PgType::CHAR
            | PgType::UNKNOWN
            | PgType::CSTRING
    )
}

pub fn is_integer(pg_type: &PgType) -> bool {
    matches!(*pg_type, PgType::INT2 | PgType::INT4 | PgType::INT8)
}

pub fn is_float(pg_type: &PgType) -> bool {
    matches!(*pg_type, PgType::FLOAT4 | PgType::FLOAT8)
}

pub fn is_number(pg_type: &PgType) -> bool {
    is_integer(pg_type) || is_float(pg_type) || *pg_type == PgType::NUMERIC
}

/// oid and the types that are oids with another face.
pub fn is_oid(pg_type: &PgType) -> bool {
    matches!(
        *pg_type,
        PgType::OID
            | PgType::XID
            | PgType::CID
            | PgType::REGCLASS
            | PgType::REGTYPE
            | PgType::REGPROC
            | PgType::REGNAMESPACE
            | PgType::REGROLE
    )
}

/// `typlen`: bytes of fixed-size values, -1 for the others.
pub fn length(pg_type: &PgType) -> i16 {
    match *pg_type {
        PgType::BOOL | PgType::CHAR => 1,
        PgType::INT2 => 2,
        PgType::INT4 | PgType::FLOAT4 | PgType::DATE | PgType::VOID => 4,
        _ if is_oid(pg_type) => 4,
        PgType::INT8 | PgType::FLOAT8 | PgType::TIME | PgType::TIMESTAMP | PgType::TIMESTAMPTZ => 8,
        PgType::UUID | PgType::INTERVAL => 16,
        PgType::NAME => 64,
        PgType::UNKNOWN => -2,
        _ => -1,
    }
}
