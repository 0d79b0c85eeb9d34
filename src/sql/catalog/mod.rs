//! The system catalog: `pg_catalog`, `information_schema`, `dolt` and `dolt_cluster` as tables over what one statement sees.
//!
//! Nothing of it is stored. Each table is a declaration (columns and a function that makes the rows), filled when a plan
//! reads it, from the transaction's schemas, the engine's databases and roles, and the cluster's status. Oids of objects
//! are derived from their kind and name, so they are the same on every server and in every session.
//!
//! Must not know: plans, the wire.

mod declaration;
mod dolt;
mod information_schema;
mod objects;
mod relations;
mod shared;
mod types;
mod without_rows;

use std::sync::{Arc, OnceLock};

use crate::engine::{CLUSTER_DATABASE, Transaction};
use crate::sql::plan::PlanContext;
use crate::sql::text::Style;
use crate::sql::{PgType, SqlError};
use crate::version::Value;

pub use objects::{RelationKind, quote_identifier};
pub use types::{format_type, type_oid};

use objects::Objects;

/// PostgreSQL's number of the encoding UTF8.
pub const UTF8: i32 = 6;

/// One value of a system table's row.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    Value(Value),
    /// An array, or NULL for None.
    Array(Option<Vec<Value>>),
}

/// A system table: its columns and how its rows are made.
pub struct SystemTable {
    pub schema: &'static str,
    pub name: &'static str,
    pub columns: &'static [(&'static str, PgType)],
    /// None for tables that this server has nothing to put into.
    pub rows: Option<fn(&Catalog) -> Result<Vec<Vec<Datum>>, SqlError>>,
}

/// All system tables.
fn system_tables() -> impl Iterator<Item = &'static SystemTable> {
    [
        relations::TABLES,
        types::TABLES,
        shared::TABLES,
        without_rows::TABLES,
        information_schema::TABLES,
        dolt::TABLES,
    ]
    .into_iter()
    .flatten()
}

/// The system table of this schema and name; `public.dolt_log` is `dolt.log`.
pub fn system_table(schema: &str, name: &str) -> Option<&'static SystemTable> {
    let (schema, name) = match name.strip_prefix("dolt_") {
        Some(short) if schema == "public" => ("dolt", short),
        _ => (schema, name),
    };
    system_tables().find(|table| table.schema == schema && table.name == name)
}

/// Whether a relation of this name never has rows. Without a schema, names of the system catalog come first.
pub fn is_always_empty(schema: Option<&str>, name: &str) -> bool {
    matches!(schema, None | Some("pg_catalog"))
        && system_table("pg_catalog", name).is_some_and(|table| table.rows.is_none())
}

/// The catalog as one statement sees it.
pub struct Catalog {
    context: PlanContext,
    objects: OnceLock<Objects>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Catalog({})", self.context.database)
    }
}

impl Catalog {
    pub fn new(context: PlanContext) -> Arc<Catalog> {
        Arc::new(Catalog {
            context,
            objects: OnceLock::new(),
        })
    }

    pub fn context(&self) -> &PlanContext {
        &self.context
    }

    pub fn style(&self) -> Style {
        self.context.settings.style()
    }

    pub fn transaction(&self) -> Option<&Arc<Transaction>> {
        self.context.transaction.as_ref()
    }

    /// Schemas and relations with their oids, collected on first use.
    fn objects(&self) -> Result<&Objects, SqlError> {
        if let Some(objects) = self.objects.get() {
            return Ok(objects);
        }
        let objects = Objects::collect(self)?;
        Ok(self.objects.get_or_init(|| objects))
    }

    /// Schemas of the search path that exist, in order.
    pub fn visible_schemas(&self) -> Result<Vec<String>, SqlError> {
        if self.context.transaction.is_none() {
            return Ok(vec![CLUSTER_DATABASE.to_string()]);
        }
        let existing = Objects::schemas(self);
        let path = self.context.settings.search_path().iter();
        Ok(path.filter(|schema| existing.contains(*schema)).cloned().collect())
    }

    /// What `version()` says.
    pub fn version(&self) -> &'static str {
        concat!("PostgreSQL 15.8 (Understudy ", env!("CARGO_PKG_VERSION"), ")")
    }

    pub fn in_recovery(&self) -> bool {
        self.context.engine.is_standing_by()
    }

    /// The relation that a name as written (`t`, `"T"`, `public.t`) means.
    pub fn relation_oid(&self, written: &str) -> Result<Option<i64>, SqlError> {
        let Some(parts) = objects::split_name(written) else {
            return Ok(None);
        };
        let objects = self.objects()?;
        Ok(match parts.as_slice() {
            [name] => {
                let path = std::iter::once("pg_catalog".to_string()).chain(self.visible_schemas()?);
                path.into_iter()
                    .find_map(|schema| objects.relation(&schema, name).map(|relation| relation.oid))
            }
            [.., schema, name] => objects.relation(schema, name).map(|relation| relation.oid),
            [] => None,
        })
    }

    pub fn relation_is_visible(&self, oid: i64) -> Result<Option<bool>, SqlError> {
        let objects = self.objects()?;
        let Some(relation) = objects.by_oid(oid) else {
            return Ok(None);
        };
        Ok(Some(self.relation_oid(&quote_identifier(&relation.name))? == Some(oid)))
    }

    pub fn namespace_oid(&self, name: &str) -> Result<Option<i64>, SqlError> {
        Ok(self.objects()?.namespace(name).map(|namespace| namespace.oid))
    }

    pub fn role_oid(&self, name: &str) -> Result<Option<i64>, SqlError> {
        let roles = self.context.engine.system().roles()?;
        Ok(roles
            .iter()
            .any(|role| role.name == name)
            .then(|| objects::role_oid(name)))
    }

    pub fn role_name(&self, oid: i64) -> Result<String, SqlError> {
        if oid == objects::DATABASE_OWNER {
            return Ok("pg_database_owner".to_string());
        }
        let roles = self.context.engine.system().roles()?;
        let found = roles.into_iter().find(|role| objects::role_oid(&role.name) == oid);
        Ok(found.map_or_else(|| format!("unknown (OID={oid})"), |role| role.name))
    }

    /// What an oid of one of the `reg...` types is shown as.
    pub fn object_name(&self, pg_type: &PgType, oid: i64) -> Result<String, SqlError> {
        if oid == 0 {
            return Ok("-".to_string());
        }
        let found = match *pg_type {
            PgType::REGTYPE => Some(format_type(oid, -1)).filter(|name| name != "???"),
            PgType::REGCLASS => match self.objects()?.by_oid(oid) {
                Some(relation) if self.relation_is_visible(oid)? == Some(true) => {
                    Some(quote_identifier(&relation.name))
                }
                Some(relation) => Some(format!(
                    "{}.{}",
                    quote_identifier(&relation.schema),
                    quote_identifier(&relation.name)
                )),
                None => None,
            },
            PgType::REGNAMESPACE => self
                .objects()?
                .namespaces()
                .iter()
                .find(|namespace| namespace.oid == oid)
                .map(|found| found.name.clone()),
            PgType::REGROLE => Some(self.role_name(oid)?).filter(|name| !name.starts_with("unknown ")),
            _ => None,
        };
        Ok(found.unwrap_or_else(|| oid.to_string()))
    }

    /// `CREATE UNIQUE INDEX ...`, or with a column number that column's name.
    pub fn index_definition(&self, oid: i64, column: i32, pretty: bool) -> Result<Option<String>, SqlError> {
        let objects = self.objects()?;
        let Some((index, table)) = objects.index_with_table(oid) else {
            return Ok(None);
        };
        let columns = objects::key_columns(index, table);
        if let Ok(column) = usize::try_from(column)
            && column > 0
        {
            return Ok(columns.get(column - 1).cloned());
        }
        // Made for reading, it leaves out a schema that is looked through anyway.
        let schema = if pretty && self.relation_is_visible(table.oid)? == Some(true) {
            String::new()
        } else {
            format!("{}.", quote_identifier(&table.schema))
        };
        Ok(Some(format!(
            "CREATE UNIQUE INDEX {} ON {schema}{} USING btree ({})",
            quote_identifier(&index.name),
            quote_identifier(&table.name),
            columns.join(", ")
        )))
    }

    /// `PRIMARY KEY (a, b)`.
    pub fn constraint_definition(&self, oid: i64) -> Result<Option<String>, SqlError> {
        let objects = self.objects()?;
        let found = objects.relations().iter().find(|relation| {
            relation.kind == RelationKind::Index && objects::constraint_oid(&relation.schema, &relation.name) == oid
        });
        let Some((index, table)) = found.and_then(|index| objects.index_with_table(index.oid)) else {
            return Ok(None);
        };
        let columns = objects::key_columns(index, table);
        Ok(Some(format!("PRIMARY KEY ({})", columns.join(", "))))
    }
}
