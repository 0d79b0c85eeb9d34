//! Schemas, tables and indexes with their oids.

use std::collections::{BTreeMap, BTreeSet};

use super::types::category;
use super::{Catalog, system_tables};
use crate::engine::{CLUSTER_DATABASE, primary_key_name};
use crate::sql::names::quoted;
use crate::sql::types::words_of;
use crate::sql::{PgType, SqlError, types};
use crate::version::TableSchema;

/// First oid that is not PostgreSQL's own.
const FIRST_USER_OID: i64 = 16_384;

/// PostgreSQL's built-in role that whoever owns the database is a member of; owner of `public`.
pub const DATABASE_OWNER: i64 = 6171;

/// A schema.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub oid: i64,
    pub name: String,
}

/// What kind of relation it is, as `relkind` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    Index,
    /// A system table of `dolt`, `dolt_cluster` or `information_schema`.
    View,
    /// A table of `pg_catalog`.
    Catalog,
}

#[derive(Clone, Debug)]
pub struct RelationColumn {
    pub name: String,
    pub pg_type: PgType,
    pub typmod: i32,
    pub not_null: bool,
    pub default: Option<String>,
}

/// A table, an index, or a system table.
#[derive(Clone, Debug)]
pub struct Relation {
    pub oid: i64,
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    pub columns: Vec<RelationColumn>,
    /// Of a table its primary key, of an index its columns: positions in the table's columns.
    pub key: Vec<usize>,
    /// Of an index its table.
    pub table: Option<i64>,
}

/// Everything in schemas, by name and by oid.
pub struct Objects {
    namespaces: Vec<Namespace>,
    relations: Vec<Relation>,
    by_name: BTreeMap<(String, String), usize>,
    by_oid: BTreeMap<i64, usize>,
}

impl Objects {
    /// The names of all schemas. A table is always in one of them.
    pub fn schemas(catalog: &Catalog) -> BTreeSet<String> {
        let mut schemas: BTreeSet<String> = ["pg_catalog", "information_schema"].map(String::from).into();
        if catalog.context().engine.cluster().is_some() {
            schemas.insert(CLUSTER_DATABASE.to_string());
        }
        if let Some(transaction) = catalog.transaction() {
            schemas.extend(transaction.schemas());
            schemas.extend(["public", "dolt"].map(String::from));
        }
        schemas
    }

    pub fn collect(catalog: &Catalog) -> Result<Objects, SqlError> {
        let mut relations = Vec::new();
        let schemas = Objects::schemas(catalog);
        if let Some(transaction) = catalog.transaction() {
            for name in transaction.tables()? {
                debug_assert!(schemas.contains(&name.schema), "{name:?} is in no schema");
                let Some(table) = transaction.table_schema(&name)? else {
                    continue;
                };
                relations.extend(of_table(&name.schema, &name.name, &table));
            }
        }
        for table in system_tables().filter(|table| schemas.contains(table.schema)) {
            relations.push(Relation {
                oid: well_known(table.name).unwrap_or_else(|| hashed("r", table.schema, table.name)),
                schema: table.schema.to_string(),
                name: table.name.to_string(),
                kind: if table.schema == "pg_catalog" {
                    RelationKind::Catalog
                } else {
                    RelationKind::View
                },
                columns: table
                    .columns
                    .iter()
                    .map(|(name, pg_type)| RelationColumn {
                        name: (*name).to_string(),
                        pg_type: pg_type.clone(),
                        typmod: -1,
                        not_null: false,
                        default: None,
                    })
                    .collect(),
                key: Vec::new(),
                table: None,
            });
        }
        Ok(Objects::index(schemas, relations))
    }

    fn index(schemas: BTreeSet<String>, mut relations: Vec<Relation>) -> Objects {
        relations.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        let mut by_name = BTreeMap::new();
        let mut by_oid = BTreeMap::new();
        for (at, relation) in relations.iter_mut().enumerate() {
            // Two names with one hash: the later one, in the order of names, moves on.
            while by_oid.contains_key(&relation.oid) {
                relation.oid += 1;
            }
            by_oid.insert(relation.oid, at);
            by_name.insert((relation.schema.clone(), relation.name.clone()), at);
        }
        let namespaces = schemas
            .into_iter()
            .map(|name| Namespace {
                oid: namespace_oid(&name),
                name,
            })
            .collect();
        Objects {
            namespaces,
            relations,
            by_name,
            by_oid,
        }
    }

    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }

    /// Sorted by schema and name.
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.by_name
            .get(&(schema.to_string(), name.to_string()))
            .map(|at| &self.relations[*at])
    }

    pub fn by_oid(&self, oid: i64) -> Option<&Relation> {
        self.by_oid.get(&oid).map(|at| &self.relations[*at])
    }

    /// An index and the table it belongs to.
    pub fn index_with_table(&self, oid: i64) -> Option<(&Relation, &Relation)> {
        let index = self
            .by_oid(oid)
            .filter(|relation| relation.kind == RelationKind::Index)?;
        let table = self
            .relations
            .iter()
            .find(|relation| Some(relation.oid) == index.table)?;
        Some((index, table))
    }

    /// All indexes, each with its table.
    pub fn indexes(&self) -> impl Iterator<Item = (&Relation, &Relation)> {
        self.relations()
            .iter()
            .filter_map(|relation| self.index_with_table(relation.oid))
    }
}

/// A table and, if it has a primary key, the index PostgreSQL would show for it.
fn of_table(schema: &str, name: &str, table: &TableSchema) -> Vec<Relation> {
    let columns: Vec<RelationColumn> = table
        .columns
        .iter()
        .map(|column| RelationColumn {
            name: column.name.clone(),
            pg_type: types::pg_type(column.column_type),
            typmod: types::typmod(column.column_type),
            not_null: column.not_null,
            default: column
                .default
                .as_ref()
                .map(|default| shown_default(default, &types::pg_type(column.column_type))),
        })
        .collect();
    let oid = hashed("r", schema, name);
    let mut found = vec![Relation {
        oid,
        schema: schema.to_string(),
        name: name.to_string(),
        kind: RelationKind::Table,
        columns: columns.clone(),
        key: table.primary_key.clone(),
        table: None,
    }];
    if !table.primary_key.is_empty() {
        let index = primary_key_name(name);
        found.push(Relation {
            oid: hashed("r", schema, &index),
            schema: schema.to_string(),
            name: index,
            kind: RelationKind::Index,
            columns: table
                .primary_key
                .iter()
                .map(|position| columns[*position].clone())
                .collect(),
            key: table.primary_key.clone(),
            table: Some(oid),
        });
    }
    found
}

/// A default as PostgreSQL shows it: a quoted constant says its type, a quoted number is a number.
fn shown_default(default: &str, pg_type: &PgType) -> String {
    let inner = default.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match inner {
        Some(inner) if !inner.replace("''", "").contains('\'') => match category(pg_type) {
            "N" if inner.parse::<f64>().is_ok() => inner.to_string(),
            _ => format!("{default}::{}", words_of(pg_type)),
        },
        _ => default.to_string(),
    }
}

/// An oid that depends on kind and name alone.
pub fn hashed(kind: &str, schema: &str, name: &str) -> i64 {
    let hash = blake3::hash(format!("{kind}\0{schema}\0{name}").as_bytes());
    let number = u32::from_le_bytes([
        hash.as_bytes()[0],
        hash.as_bytes()[1],
        hash.as_bytes()[2],
        hash.as_bytes()[3],
    ]);
    // Positive as int4, because clients read oids into one.
    FIRST_USER_OID + i64::from(number) % (i64::from(i32::MAX) - 2 * FIRST_USER_OID)
}

pub fn namespace_oid(name: &str) -> i64 {
    match name {
        "pg_catalog" => 11,
        "public" => 2200,
        _ => hashed("n", "", name),
    }
}

pub fn role_oid(name: &str) -> i64 {
    if name == "postgres" {
        10
    } else {
        hashed("role", "", name)
    }
}

pub fn database_oid(name: &str) -> i64 {
    hashed("d", "", name)
}

pub fn constraint_oid(schema: &str, name: &str) -> i64 {
    hashed("c", schema, name)
}

pub fn default_oid(schema: &str, table: &str, column: usize) -> i64 {
    hashed("a", schema, &format!("{table}.{column}"))
}

/// Oids that clients know by heart.
fn well_known(name: &str) -> Option<i64> {
    Some(match name {
        "pg_type" => 1247,
        "pg_attribute" => 1249,
        "pg_proc" => 1255,
        "pg_class" => 1259,
        "pg_authid" => 1260,
        "pg_database" => 1262,
        "pg_attrdef" => 2604,
        "pg_constraint" => 2606,
        "pg_index" => 2610,
        "pg_namespace" => 2615,
        "pg_extension" => 3079,
        "pg_description" => 2609,
        _ => return None,
    })
}

/// The parts of a name as written: folded unless quoted.
pub fn split_name(written: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut chars = written.trim().chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let part = parts.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            _ if quoted => part.push(c),
            _ => part.extend(c.to_lowercase()),
        }
    }
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// The names of an index's columns, quoted where they need it.
pub fn key_columns(index: &Relation, table: &Relation) -> Vec<String> {
    let name = |position: &usize| quote_identifier(&table.columns[*position].name);
    index.key.iter().map(name).collect()
}

/// The name as SQL text, quoted where it must be.
pub fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name);
    if plain { name.to_string() } else { quoted(name) }
}

/// PostgreSQL's reserved words: not column or table names without quotes.
fn is_reserved(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "column",
        "constraint",
        "create",
        "current_catalog",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "from",
        "grant",
        "group",
        "having",
        "in",
        "initially",
        "intersect",
        "into",
        "lateral",
        "leading",
        "limit",
        "localtime",
        "localtimestamp",
        "not",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "placing",
        "primary",
        "references",
        "returning",
        "select",
        "session_user",
        "some",
        "symmetric",
        "table",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "when",
        "where",
        "window",
        "with",
    ];
    RESERVED.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_and_quoted_as_postgres_does() {
        assert_eq!(split_name("Public.\"My.T\"").unwrap(), ["public", "My.T"]);
        assert_eq!(split_name("\"a\"\"b\"").unwrap(), ["a\"b"]);
        assert!(split_name("").is_none() && split_name("a..b").is_none() && split_name("\"a").is_none());
        for (name, quoted) in [
            ("t1", "t1"),
            ("T", "\"T\""),
            ("1t", "\"1t\""),
            ("user", "\"user\""),
            ("a b", "\"a b\""),
        ] {
            assert_eq!(quote_identifier(name), quoted);
        }
    }

    /// As PostgreSQL 15's `\\d` shows them.
    #[test]
    fn defaults_say_their_types() {
        for (default, pg_type, shown) in [
            ("'x'", PgType::VARCHAR, "'x'::character varying"),
            ("'it''s'", PgType::TEXT, "'it''s'::text"),
            ("'5'", PgType::INT4, "5"),
            ("5", PgType::INT4, "5"),
            ("now()", PgType::TIMESTAMPTZ, "now()"),
            ("'a' || 'b'", PgType::TEXT, "'a' || 'b'"),
        ] {
            assert_eq!(shown_default(default, &pg_type), shown);
        }
    }

    /// Clients remember oids between sessions, and simulated servers must agree.
    #[test]
    fn oids_depend_on_names_alone() {
        assert_eq!(hashed("r", "public", "t"), hashed("r", "public", "t"));
        assert_ne!(hashed("r", "public", "t"), hashed("r", "public", "u"));
        for name in ["a", "b", "c"] {
            let oid = hashed("r", "public", name);
            assert!((FIRST_USER_OID..i64::from(i32::MAX)).contains(&oid));
        }
    }

    #[test]
    fn objects_whose_oids_collide_get_different_ones() {
        let relation = |name: &str| Relation {
            oid: 20_000,
            schema: "public".into(),
            name: name.into(),
            kind: RelationKind::Table,
            columns: Vec::new(),
            key: Vec::new(),
            table: None,
        };
        let objects = Objects::index(BTreeSet::new(), vec![relation("b"), relation("a")]);
        assert_eq!(objects.relation("public", "a").unwrap().oid, 20_000);
        assert_eq!(objects.relation("public", "b").unwrap().oid, 20_001);
    }
}
