//! Table objects: a schema and the map of its rows.

use bytes::Bytes;

use super::object::{self, KIND_TABLE};
use super::{Column, ColumnType, TableSchema, VersionError};
use crate::chunk::{ChunkBatch, Hash, ReadChunks};
use crate::prolly::Map;

/// A table's definition and content at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub schema: TableSchema,
    /// Keys are those of [`encode_key`](super::encode_key), values [`encode_tuple`](super::encode_tuple).
    pub rows: Map,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TableMessage {
    #[prost(message, repeated, tag = "1")]
    columns: Vec<ColumnMessage>,
    #[prost(uint32, repeated, tag = "2")]
    primary_key: Vec<u32>,
    #[prost(bytes = "vec", tag = "3")]
    rows: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ColumnMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    type_code: u32,
    /// Of varchar(n) and char(n).
    #[prost(uint32, optional, tag = "3")]
    length: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    precision: Option<u32>,
    #[prost(sint32, optional, tag = "5")]
    scale: Option<i32>,
    #[prost(bool, tag = "6")]
    not_null: bool,
    #[prost(string, optional, tag = "7")]
    default: Option<String>,
}

impl Table {
    /// A table without rows.
    pub fn empty(batch: &mut ChunkBatch<'_>, schema: TableSchema) -> Table {
        Table {
            schema,
            rows: Map::empty(batch),
        }
    }

    pub fn load(chunks: &dyn ReadChunks, hash: &Hash) -> Result<Table, VersionError> {
        Table::from_message(object::load(chunks, hash, KIND_TABLE)?)
    }

    pub fn store(&self, batch: &mut ChunkBatch<'_>) -> Hash {
        batch.put(self.encode())
    }

    pub fn encode(&self) -> Bytes {
        let position = |position: &usize| u32::try_from(*position).expect("a table has fewer than 2^32 columns");
        object::encode(
            KIND_TABLE,
            &TableMessage {
                columns: self.schema.columns.iter().map(encode_column).collect(),
                primary_key: self.schema.primary_key.iter().map(position).collect(),
                rows: object::hash_bytes(&self.rows.root()),
            },
        )
    }

    /// Decodes what follows the kind byte.
    pub(super) fn decode(body: &[u8]) -> Result<Table, VersionError> {
        Table::from_message(object::decode(KIND_TABLE, body)?)
    }

    fn from_message(message: TableMessage) -> Result<Table, VersionError> {
        let columns = message
            .columns
            .into_iter()
            .map(decode_column)
            .collect::<Result<Vec<_>, _>>()?;
        let primary_key: Vec<usize> = message.primary_key.iter().map(|position| *position as usize).collect();
        if primary_key.iter().any(|position| *position >= columns.len()) {
            return Err(VersionError::malformed("table", "a key column that is not a column"));
        }
        let rows = object::hash_field(KIND_TABLE, "rows", &message.rows)?;
        Ok(Table {
            schema: TableSchema { columns, primary_key },
            rows: Map::from_root(rows),
        })
    }
}

fn encode_column(column: &Column) -> ColumnMessage {
    let (type_code, length, precision) = match column.column_type {
        ColumnType::Bool => (1, None, None),
        ColumnType::Int2 => (2, None, None),
        ColumnType::Int4 => (3, None, None),
        ColumnType::Int8 => (4, None, None),
        ColumnType::Float4 => (5, None, None),
        ColumnType::Float8 => (6, None, None),
        ColumnType::Numeric { precision } => (7, None, precision),
        ColumnType::Text => (8, None, None),
        ColumnType::Varchar(length) => (9, length, None),
        ColumnType::Char(length) => (10, Some(length), None),
        ColumnType::Bytea => (11, None, None),
        ColumnType::Date => (12, None, None),
        ColumnType::Time => (13, None, None),
        ColumnType::Timestamp => (14, None, None),
        ColumnType::TimestampTz => (15, None, None),
        ColumnType::Uuid => (16, None, None),
        ColumnType::Json => (17, None, None),
        ColumnType::Jsonb => (18, None, None),
    };
    ColumnMessage {
        name: column.name.clone(),
        type_code,
        length,
        precision: precision.map(|(precision, _)| u32::from(precision)),
        scale: precision.map(|(_, scale)| i32::from(scale)),
        not_null: column.not_null,
        default: column.default.clone(),
    }
}

fn decode_column(message: ColumnMessage) -> Result<Column, VersionError> {
    let malformed =
        |detail: &str| VersionError::malformed("table", format!("{detail} in the type of column \"{}\"", message.name));
    let precision = match (message.precision, message.scale) {
        (None, None) => None,
        (Some(precision), Some(scale)) => Some((
            u8::try_from(precision).map_err(|_| malformed("a precision out of range"))?,
            i8::try_from(scale).map_err(|_| malformed("a scale out of range"))?,
        )),
        _ => return Err(malformed("a precision without a scale, or a scale alone")),
    };
    let column_type = match message.type_code {
        1 => ColumnType::Bool,
        2 => ColumnType::Int2,
        3 => ColumnType::Int4,
        4 => ColumnType::Int8,
        5 => ColumnType::Float4,
        6 => ColumnType::Float8,
        7 => ColumnType::Numeric { precision },
        8 => ColumnType::Text,
        9 => ColumnType::Varchar(message.length),
        10 => ColumnType::Char(message.length.ok_or_else(|| malformed("no length"))?),
        11 => ColumnType::Bytea,
        12 => ColumnType::Date,
        13 => ColumnType::Time,
        14 => ColumnType::Timestamp,
        15 => ColumnType::TimestampTz,
        16 => ColumnType::Uuid,
        17 => ColumnType::Json,
        18 => ColumnType::Jsonb,
        code => return Err(malformed(&format!("the unknown code {code}"))),
    };
    Ok(Column {
        name: message.name,
        column_type,
        not_null: message.not_null,
        default: message.default,
    })
}
