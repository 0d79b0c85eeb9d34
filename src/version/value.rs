//! SQL values, column types and table schemas as the storage sees them.

use rust_decimal::Decimal;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// `precision` holds precision and scale; without it any number that fits a `Decimal` is allowed.
    Numeric {
        precision: Option<(u8, i8)>,
    },
    Text,
    /// `varchar` or `varchar(n)`, n counting characters.
    Varchar(Option<u32>),
    /// `char(n)`, n counting characters; trailing spaces do not count in comparisons.
    Char(u32),
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    Jsonb,
}

/// One cell.
///
/// Equality here is identity of what is stored (`Decimal` compares by value); SQL's order is the byte order of
/// [`encode_key_values`](super::encode_key_values).
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    Numeric(Decimal),
    /// text, varchar, char, json and jsonb (in its canonical text form).
    Text(String),
    Bytea(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00:00; UTC for `timestamptz`.
    Timestamp(i64),
    Uuid([u8; 16]),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether a column of `column_type` may hold this value. NULL fits every type; NOT NULL is the schema's business.
    pub fn fits(&self, column_type: ColumnType) -> bool {
        matches!(
            (self, column_type),
            (Value::Null, _)
                | (Value::Bool(_), ColumnType::Bool)
                | (Value::Int2(_), ColumnType::Int2)
                | (Value::Int4(_), ColumnType::Int4)
                | (Value::Int8(_), ColumnType::Int8)
                | (Value::Float4(_), ColumnType::Float4)
                | (Value::Float8(_), ColumnType::Float8)
                | (Value::Numeric(_), ColumnType::Numeric { .. })
                | (
                    Value::Text(_),
                    ColumnType::Text
                        | ColumnType::Varchar(_)
                        | ColumnType::Char(_)
                        | ColumnType::Json
                        | ColumnType::Jsonb,
                )
                | (Value::Bytea(_), ColumnType::Bytea)
                | (Value::Date(_), ColumnType::Date)
                | (Value::Time(_), ColumnType::Time)
                | (Value::Timestamp(_), ColumnType::Timestamp | ColumnType::TimestampTz)
                | (Value::Uuid(_), ColumnType::Uuid)
        )
    }

    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "NULL",
            Value::Bool(_) => "boolean",
            Value::Int2(_) => "smallint",
            Value::Int4(_) => "integer",
            Value::Int8(_) => "bigint",
            Value::Float4(_) => "real",
            Value::Float8(_) => "double precision",
            Value::Numeric(_) => "numeric",
            Value::Text(_) => "text",
            Value::Bytea(_) => "bytea",
            Value::Date(_) => "date",
            Value::Time(_) => "time",
            Value::Timestamp(_) => "timestamp",
            Value::Uuid(_) => "uuid",
        }
    }
}

/// A row: one value for each column, in the schema's order.
pub type Row = Vec<Value>;

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub column_type: ColumnType,
    pub not_null: bool,
    /// SQL text, opaque to the storage.
    pub default: Option<String>,
}

/// The definition of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSchema {
    pub columns: Vec<Column>,
    /// Positions in `columns`, in key order. Empty for a keyless table, which is a multiset of rows.
    pub primary_key: Vec<usize>,
}

impl TableSchema {
    pub fn is_keyless(&self) -> bool {
        self.primary_key.is_empty()
    }

    /// The position of a column by its exact name.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|candidate| candidate.name == column)
    }

    pub fn primary_key_types(&self) -> Vec<ColumnType> {
        self.primary_key
            .iter()
            .map(|position| self.columns[*position].column_type)
            .collect()
    }
}

/// The name of a table inside a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl TableName {
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> TableName {
        TableName {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// A table of schema `public`.
    pub fn public(name: impl Into<String>) -> TableName {
        TableName::new("public", name)
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}
