//! Root values: the whole content of a database at one moment.

use bytes::Bytes;

use super::object::{self, KIND_ROOT_VALUE};
use super::{Table, TableName, VersionError};
use crate::chunk::{ChunkBatch, Hash, ReadChunks};
use crate::prolly::Map;

/// The catalog of a database: its schemas and, by hash, its tables.
///
/// A small immutable value; changing a table gives another `RootValue`. Catalog keys are the schema's name, a zero
/// byte (identifiers hold none) and the table's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootValue {
    /// Sorted.
    schemas: Vec<String>,
    catalog: Map,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RootValueMessage {
    #[prost(string, repeated, tag = "1")]
    schemas: Vec<String>,
    #[prost(bytes = "vec", tag = "2")]
    catalog: Vec<u8>,
}

impl RootValue {
    /// No tables, and these schemas.
    pub fn new(batch: &mut ChunkBatch<'_>, schemas: &[&str]) -> Result<RootValue, VersionError> {
        let mut schemas: Vec<String> = schemas.iter().map(|schema| (*schema).to_owned()).collect();
        schemas.sort();
        Ok(RootValue {
            schemas,
            catalog: Map::empty_of_references(batch),
        })
    }

    pub fn load(chunks: &dyn ReadChunks, hash: &Hash) -> Result<RootValue, VersionError> {
        RootValue::from_message(object::load(chunks, hash, KIND_ROOT_VALUE)?)
    }

    pub fn store(&self, batch: &mut ChunkBatch<'_>) -> Hash {
        batch.put(self.encode())
    }

    pub fn encode(&self) -> Bytes {
        let catalog = object::hash_bytes(&self.catalog.root());
        object::encode(
            KIND_ROOT_VALUE,
            &RootValueMessage {
                schemas: self.schemas.clone(),
                catalog,
            },
        )
    }

    /// Decodes what follows the kind byte.
    pub(super) fn decode(body: &[u8]) -> Result<RootValue, VersionError> {
        RootValue::from_message(object::decode(KIND_ROOT_VALUE, body)?)
    }

    fn from_message(message: RootValueMessage) -> Result<RootValue, VersionError> {
        let catalog = object::hash_field(KIND_ROOT_VALUE, "catalog", &message.catalog)?;
        if !message.schemas.is_sorted() {
            return Err(VersionError::malformed("root value", "schemas are not sorted"));
        }
        Ok(RootValue {
            schemas: message.schemas,
            catalog: Map::from_root(catalog),
        })
    }

    pub fn schemas(&self) -> &[String] {
        &self.schemas
    }

    pub fn catalog(&self) -> &Map {
        &self.catalog
    }

    /// The hash of the table object, which changes with its definition and with its rows.
    pub fn table_hash(&self, chunks: &dyn ReadChunks, name: &TableName) -> Result<Option<Hash>, VersionError> {
        match self.catalog.get(chunks, &catalog_key(name))? {
            Some(value) => Ok(Some(table_reference(&value)?)),
            None => Ok(None),
        }
    }

    pub fn table(&self, chunks: &dyn ReadChunks, name: &TableName) -> Result<Option<Table>, VersionError> {
        match self.table_hash(chunks, name)? {
            Some(hash) => Ok(Some(Table::load(chunks, &hash)?)),
            None => Ok(None),
        }
    }

    /// Every table, sorted by name, with the hash of its object.
    pub fn tables(&self, chunks: &dyn ReadChunks) -> Result<Vec<(TableName, Hash)>, VersionError> {
        let mut tables = Vec::new();
        for entry in self.catalog.range(chunks, ..)? {
            let (key, value) = entry?;
            tables.push((table_name(&key)?, table_reference(&value)?));
        }
        Ok(tables)
    }

    /// With the table object `hash` (already in the batch or the store) under `name`, or without that table.
    pub fn with_table_hash(
        &self,
        batch: &mut ChunkBatch<'_>,
        name: &TableName,
        hash: Option<Hash>,
    ) -> Result<RootValue, VersionError> {
        let value = hash.map(|hash| Bytes::copy_from_slice(hash.as_bytes()));
        let catalog = self.catalog.apply(batch, [(catalog_key(name), value)])?;
        Ok(RootValue {
            schemas: self.schemas.clone(),
            catalog,
        })
    }
}

/// The catalog's key of a table.
pub(super) fn catalog_key(name: &TableName) -> Vec<u8> {
    [name.schema.as_bytes(), name.name.as_bytes()].join(&0)
}

/// The table a catalog key names.
pub(super) fn table_name(key: &[u8]) -> Result<TableName, VersionError> {
    let malformed = || VersionError::malformed("catalog", "a key that is not a schema and a table name");
    let split = key.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
    Ok(TableName {
        schema: text(&key[..split])?,
        name: text(&key[split + 1..])?,
    })
}

/// The table object a catalog value names.
pub(super) fn table_reference(value: &[u8]) -> Result<Hash, VersionError> {
    Hash::from_slice(value).ok_or_else(|| VersionError::malformed("catalog", "a value that is not a hash"))
}
