//! `pg_catalog`'s tables about the relations of the connected database: schemas, tables, columns, indexes, constraints.

use super::declaration::*;
use super::objects::{DATABASE_OWNER, Namespace, constraint_oid, default_oid, namespace_oid};
use super::{Catalog, Datum, RelationKind, SystemTable, types};
use crate::sql::PgType;
use crate::sql::types::length;
use crate::version::Value;

/// Oids of the access methods.
const HEAP: i64 = 2;
const BTREE: i64 = 403;

pub const TABLES: &[SystemTable] = &[
    table(
        "pg_namespace",
        &[("oid", OID), ("nspname", NAME), ("nspowner", OID), ("nspacl", TEXTS)],
        namespaces,
    ),
    table(
        "pg_class",
        &[
            ("oid", OID),
            ("relname", NAME),
            ("relnamespace", OID),
            ("reltype", OID),
            ("reloftype", OID),
            ("relowner", OID),
            ("relam", OID),
            ("relfilenode", OID),
            ("reltablespace", OID),
            ("relpages", INT4),
            ("reltuples", FLOAT4),
            ("relallvisible", INT4),
            ("reltoastrelid", OID),
            ("relhasindex", BOOL),
            ("relisshared", BOOL),
            ("relpersistence", CHAR),
            ("relkind", CHAR),
            ("relnatts", INT2),
            ("relchecks", INT2),
            ("relhasrules", BOOL),
            ("relhastriggers", BOOL),
            ("relhassubclass", BOOL),
            ("relrowsecurity", BOOL),
            ("relforcerowsecurity", BOOL),
            ("relispopulated", BOOL),
            ("relreplident", CHAR),
            ("relispartition", BOOL),
            ("relrewrite", OID),
            ("relacl", TEXTS),
            ("reloptions", TEXTS),
            ("relpartbound", TEXT),
        ],
        classes,
    ),
    table(
        "pg_attribute",
        &[
            ("attrelid", OID),
            ("attname", NAME),
            ("atttypid", OID),
            ("attstattarget", INT4),
            ("attlen", INT2),
            ("attnum", INT2),
            ("attndims", INT4),
            ("attcacheoff", INT4),
            ("atttypmod", INT4),
            ("attbyval", BOOL),
            ("attalign", CHAR),
            ("attstorage", CHAR),
            ("attcompression", CHAR),
            ("attnotnull", BOOL),
            ("atthasdef", BOOL),
            ("atthasmissing", BOOL),
            ("attidentity", CHAR),
            ("attgenerated", CHAR),
            ("attisdropped", BOOL),
            ("attislocal", BOOL),
            ("attinhcount", INT4),
            ("attcollation", OID),
            ("attacl", TEXTS),
            ("attoptions", TEXTS),
            ("attfdwoptions", TEXTS),
        ],
        attributes,
    ),
    table(
        "pg_attrdef",
        &[("oid", OID), ("adrelid", OID), ("adnum", INT2), ("adbin", TEXT)],
        defaults,
    ),
    table(
        "pg_index",
        &[
            ("indexrelid", OID),
            ("indrelid", OID),
            ("indnatts", INT2),
            ("indnkeyatts", INT2),
            ("indisunique", BOOL),
            ("indnullsnotdistinct", BOOL),
            ("indisprimary", BOOL),
            ("indisexclusion", BOOL),
            ("indimmediate", BOOL),
            ("indisclustered", BOOL),
            ("indisvalid", BOOL),
            ("indcheckxmin", BOOL),
            ("indisready", BOOL),
            ("indislive", BOOL),
            ("indisreplident", BOOL),
            ("indkey", PgType::INT2_VECTOR),
            ("indcollation", PgType::OID_VECTOR),
            ("indclass", PgType::OID_VECTOR),
            ("indoption", PgType::INT2_VECTOR),
            ("indexprs", TEXT),
            ("indpred", TEXT),
        ],
        indexes,
    ),
    table(
        "pg_constraint",
        &[
            ("oid", OID),
            ("conname", NAME),
            ("connamespace", OID),
            ("contype", CHAR),
            ("condeferrable", BOOL),
            ("condeferred", BOOL),
            ("convalidated", BOOL),
            ("conrelid", OID),
            ("contypid", OID),
            ("conindid", OID),
            ("conparentid", OID),
            ("confrelid", OID),
            ("confupdtype", CHAR),
            ("confdeltype", CHAR),
            ("confmatchtype", CHAR),
            ("conislocal", BOOL),
            ("coninhcount", INT4),
            ("connoinherit", BOOL),
            ("conkey", PgType::INT2_ARRAY),
            ("confkey", PgType::INT2_ARRAY),
            ("conbin", TEXT),
        ],
        constraints,
    ),
    table(
        "pg_am",
        &[("oid", OID), ("amname", NAME), ("amhandler", TEXT), ("amtype", CHAR)],
        |_| {
            Ok(vec![
                vec![oid(HEAP), text("heap"), text("heap_tableam_handler"), text("t")],
                vec![oid(BTREE), text("btree"), text("bthandler"), text("i")],
            ])
        },
    ),
    table(
        "pg_tables",
        &[
            ("schemaname", NAME),
            ("tablename", NAME),
            ("tableowner", NAME),
            ("tablespace", NAME),
            ("hasindexes", BOOL),
            ("hasrules", BOOL),
            ("hastriggers", BOOL),
            ("rowsecurity", BOOL),
        ],
        tables,
    ),
    table(
        "pg_indexes",
        &[
            ("schemaname", NAME),
            ("tablename", NAME),
            ("indexname", NAME),
            ("tablespace", NAME),
            ("indexdef", TEXT),
        ],
        index_view,
    ),
    table(
        "pg_views",
        &[
            ("schemaname", NAME),
            ("viewname", NAME),
            ("viewowner", NAME),
            ("definition", TEXT),
        ],
        |catalog| {
            let objects = catalog.objects()?;
            let views = objects
                .relations()
                .iter()
                .filter(|relation| relation.kind == RelationKind::View);
            Ok(views
                .map(|view| vec![text(&view.schema), text(&view.name), text("postgres"), null()])
                .collect())
        },
    ),
];

fn namespaces(catalog: &Catalog) -> Rows {
    let row = |found: &Namespace| {
        let owner = if found.name == "public" {
            oid(DATABASE_OWNER)
        } else {
            owner()
        };
        vec![oid(found.oid), text(&found.name), owner, no_array()]
    };
    Ok(catalog.objects()?.namespaces().iter().map(row).collect())
}

fn classes(catalog: &Catalog) -> Rows {
    let objects = catalog.objects()?;
    Ok(objects
        .relations()
        .iter()
        .map(|relation| {
            let (kind, method) = match relation.kind {
                RelationKind::Table => ("r", HEAP),
                RelationKind::Index => ("i", BTREE),
                RelationKind::View => ("v", 0),
                RelationKind::Catalog => ("r", HEAP),
            };
            let has_index = relation.kind == RelationKind::Table && !relation.key.is_empty();
            vec![
                oid(relation.oid),
                text(&relation.name),
                oid(namespace_oid(&relation.schema)),
                oid(0),
                oid(0),
                owner(),
                oid(method),
                oid(relation.oid),
                oid(0),
                int4(0),
                Datum::Value(Value::Float4(-1.0)),
                int4(0),
                oid(0),
                yes(has_index),
                yes(false),
                text("p"),
                text(kind),
                int2(relation.columns.len() as i16),
                int2(0),
                yes(false),
                yes(false),
                yes(false),
                yes(false),
                yes(false),
                yes(true),
                text(if relation.kind == RelationKind::Table { "d" } else { "n" }),
                yes(false),
                oid(0),
                no_array(),
                no_array(),
                null(),
            ]
        })
        .collect())
}

fn attributes(catalog: &Catalog) -> Rows {
    let mut rows = Vec::new();
    for relation in catalog.objects()?.relations() {
        for (at, column) in relation.columns.iter().enumerate() {
            let bytes = length(&column.pg_type);
            let collation = if types::category(&column.pg_type) == "S" {
                types::DEFAULT_COLLATION
            } else {
                0
            };
            rows.push(vec![
                oid(relation.oid),
                text(&column.name),
                oid(column.pg_type.oid().into()),
                int4(-1),
                int2(bytes),
                int2(at as i16 + 1),
                int4(0),
                int4(-1),
                int4(column.typmod),
                yes((1..=8).contains(&bytes)),
                text(alignment(bytes)),
                text(types::storage(&column.pg_type)),
                text(""),
                yes(column.not_null),
                yes(column.default.is_some() && relation.kind == RelationKind::Table),
                yes(false),
                text(""),
                text(""),
                yes(false),
                yes(true),
                int4(0),
                oid(collation),
                no_array(),
                no_array(),
                no_array(),
            ]);
        }
    }
    Ok(rows)
}

fn alignment(length: i16) -> &'static str {
    match length {
        1 | 64 => "c",
        2 => "s",
        8 => "d",
        _ => "i",
    }
}

fn defaults(catalog: &Catalog) -> Rows {
    let mut rows = Vec::new();
    for relation in catalog
        .objects()?
        .relations()
        .iter()
        .filter(|relation| relation.kind == RelationKind::Table)
    {
        for (at, column) in relation.columns.iter().enumerate() {
            if let Some(default) = &column.default {
                let number = default_oid(&relation.schema, &relation.name, at);
                rows.push(vec![oid(number), oid(relation.oid), int2(at as i16 + 1), text(default)]);
            }
        }
    }
    Ok(rows)
}

fn column_numbers(key: &[usize]) -> Datum {
    Datum::Array(Some(
        key.iter().map(|position| Value::Int2(*position as i16 + 1)).collect(),
    ))
}

fn zeros(key: &[usize], zero: Value) -> Datum {
    Datum::Array(Some(key.iter().map(|_| zero.clone()).collect()))
}

fn indexes(catalog: &Catalog) -> Rows {
    Ok(catalog
        .objects()?
        .indexes()
        .map(|(index, table)| {
            let count = int2(index.key.len() as i16);
            vec![
                oid(index.oid),
                oid(table.oid),
                count.clone(),
                count,
                yes(true),
                yes(false),
                yes(true),
                yes(false),
                yes(true),
                yes(false),
                yes(true),
                yes(false),
                yes(true),
                yes(true),
                yes(false),
                column_numbers(&index.key),
                zeros(&index.key, Value::Int8(0)),
                zeros(&index.key, Value::Int8(0)),
                zeros(&index.key, Value::Int2(0)),
                null(),
                null(),
            ]
        })
        .collect())
}

fn constraints(catalog: &Catalog) -> Rows {
    Ok(catalog
        .objects()?
        .indexes()
        .map(|(index, table)| {
            vec![
                oid(constraint_oid(&index.schema, &index.name)),
                text(&index.name),
                oid(namespace_oid(&index.schema)),
                text("p"),
                yes(false),
                yes(false),
                yes(true),
                oid(table.oid),
                oid(0),
                oid(index.oid),
                oid(0),
                oid(0),
                text(" "),
                text(" "),
                text(" "),
                yes(true),
                int4(0),
                yes(true),
                column_numbers(&index.key),
                no_array(),
                null(),
            ]
        })
        .collect())
}

fn tables(catalog: &Catalog) -> Rows {
    let relations = catalog.objects()?.relations().iter();
    let tables = relations.filter(|relation| matches!(relation.kind, RelationKind::Table | RelationKind::Catalog));
    Ok(tables
        .map(|table| {
            vec![
                text(&table.schema),
                text(&table.name),
                text("postgres"),
                null(),
                yes(!table.key.is_empty()),
                yes(false),
                yes(false),
                yes(false),
            ]
        })
        .collect())
}

fn index_view(catalog: &Catalog) -> Rows {
    let mut rows = Vec::new();
    for (index, table) in catalog.objects()?.indexes() {
        let definition = catalog.index_definition(index.oid, 0, false)?;
        rows.push(vec![
            text(&index.schema),
            text(&table.name),
            text(&index.name),
            null(),
            opt_text(definition),
        ]);
    }
    Ok(rows)
}
