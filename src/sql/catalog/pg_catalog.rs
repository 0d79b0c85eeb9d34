//! `pg_catalog`: what is in the connected database, as PostgreSQL's system tables tell it.

use postgres_types::Kind;

use super::datum::{int2, int4, no_array, null, oid, opt_text, text, yes};
use super::objects::{DATABASE_OWNER, Namespace, constraint_oid, default_oid, namespace_oid, role_oid};
use super::{Catalog, Datum, RelationKind, SystemTable, types};
use crate::sql::{PgType, SqlError};
use crate::version::Value;

const OID: PgType = PgType::OID;
const NAME: PgType = PgType::NAME;
const TEXT: PgType = PgType::TEXT;
const BOOL: PgType = PgType::BOOL;
const CHAR: PgType = PgType::CHAR;
const INT2: PgType = PgType::INT2;
const INT4: PgType = PgType::INT4;
const FLOAT4: PgType = PgType::FLOAT4;
const TEXTS: PgType = PgType::TEXT_ARRAY;

/// Oids of the access methods.
const HEAP: i64 = 2;
const BTREE: i64 = 403;
/// The collation of every text column, `default`.
const DEFAULT_COLLATION: i64 = 100;

type Rows = Result<Vec<Vec<Datum>>, SqlError>;

/// A table that exists for the queries of clients and never has rows here.
const fn empty(name: &'static str, columns: &'static [(&'static str, PgType)]) -> SystemTable {
    SystemTable {
        schema: "pg_catalog",
        name,
        columns,
        rows: None,
    }
}

const fn table(
    name: &'static str,
    columns: &'static [(&'static str, PgType)],
    rows: fn(&Catalog) -> Rows,
) -> SystemTable {
    SystemTable {
        schema: "pg_catalog",
        name,
        columns,
        rows: Some(rows),
    }
}

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
                    oid(role_oid("postgres")),
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
    empty(
        "pg_matviews",
        &[
            ("schemaname", NAME),
            ("matviewname", NAME),
            ("matviewowner", NAME),
            ("definition", TEXT),
        ],
    ),
    empty(
        "pg_proc",
        &[
            ("oid", OID),
            ("proname", NAME),
            ("pronamespace", OID),
            ("proowner", OID),
            ("prolang", OID),
            ("prokind", CHAR),
            ("prosecdef", BOOL),
            ("proleakproof", BOOL),
            ("proisstrict", BOOL),
            ("proretset", BOOL),
            ("provolatile", CHAR),
            ("proparallel", CHAR),
            ("pronargs", INT2),
            ("prorettype", OID),
            ("proargtypes", PgType::OID_VECTOR),
            ("proallargtypes", PgType::OID_ARRAY),
            ("proargmodes", PgType::TEXT_ARRAY),
            ("proargnames", TEXTS),
            ("prosrc", TEXT),
            ("proacl", TEXTS),
        ],
    ),
    empty(
        "pg_inherits",
        &[
            ("inhrelid", OID),
            ("inhparent", OID),
            ("inhseqno", INT4),
            ("inhdetachpending", BOOL),
        ],
    ),
    empty(
        "pg_policy",
        &[
            ("oid", OID),
            ("polname", NAME),
            ("polrelid", OID),
            ("polcmd", CHAR),
            ("polpermissive", BOOL),
            ("polroles", PgType::OID_ARRAY),
            ("polqual", TEXT),
            ("polwithcheck", TEXT),
        ],
    ),
    empty(
        "pg_statistic_ext",
        &[
            ("oid", OID),
            ("stxrelid", OID),
            ("stxname", NAME),
            ("stxnamespace", OID),
            ("stxowner", OID),
            ("stxstattarget", INT4),
            ("stxkeys", PgType::INT2_VECTOR),
            ("stxkind", PgType::CHAR_ARRAY),
        ],
    ),
    empty(
        "pg_publication",
        &[
            ("oid", OID),
            ("pubname", NAME),
            ("pubowner", OID),
            ("puballtables", BOOL),
            ("pubinsert", BOOL),
            ("pubupdate", BOOL),
            ("pubdelete", BOOL),
            ("pubtruncate", BOOL),
            ("pubviaroot", BOOL),
        ],
    ),
    empty(
        "pg_publication_namespace",
        &[("oid", OID), ("pnpubid", OID), ("pnnspid", OID)],
    ),
    empty(
        "pg_publication_rel",
        &[
            ("oid", OID),
            ("prpubid", OID),
            ("prrelid", OID),
            ("prqual", TEXT),
            ("prattrs", PgType::INT2_VECTOR),
        ],
    ),
    empty(
        "pg_publication_tables",
        &[("pubname", NAME), ("schemaname", NAME), ("tablename", NAME)],
    ),
    empty(
        "pg_subscription",
        &[
            ("oid", OID),
            ("subdbid", OID),
            ("subname", NAME),
            ("subowner", OID),
            ("subenabled", BOOL),
        ],
    ),
    empty(
        "pg_trigger",
        &[
            ("oid", OID),
            ("tgrelid", OID),
            ("tgparentid", OID),
            ("tgname", NAME),
            ("tgfoid", OID),
            ("tgtype", INT2),
            ("tgenabled", CHAR),
            ("tgisinternal", BOOL),
            ("tgconstrrelid", OID),
            ("tgconstrindid", OID),
            ("tgconstraint", OID),
            ("tgdeferrable", BOOL),
            ("tginitdeferred", BOOL),
        ],
    ),
    empty(
        "pg_rewrite",
        &[
            ("oid", OID),
            ("rulename", NAME),
            ("ev_class", OID),
            ("ev_type", CHAR),
            ("ev_enabled", CHAR),
            ("is_instead", BOOL),
        ],
    ),
    empty(
        "pg_rules",
        &[
            ("schemaname", NAME),
            ("tablename", NAME),
            ("rulename", NAME),
            ("definition", TEXT),
        ],
    ),
    empty(
        "pg_sequence",
        &[
            ("seqrelid", OID),
            ("seqtypid", OID),
            ("seqstart", PgType::INT8),
            ("seqincrement", PgType::INT8),
            ("seqmax", PgType::INT8),
            ("seqmin", PgType::INT8),
            ("seqcache", PgType::INT8),
            ("seqcycle", BOOL),
        ],
    ),
    empty(
        "pg_sequences",
        &[
            ("schemaname", NAME),
            ("sequencename", NAME),
            ("sequenceowner", NAME),
            ("data_type", TEXT),
        ],
    ),
    empty(
        "pg_enum",
        &[
            ("oid", OID),
            ("enumtypid", OID),
            ("enumsortorder", FLOAT4),
            ("enumlabel", NAME),
        ],
    ),
    empty(
        "pg_range",
        &[
            ("rngtypid", OID),
            ("rngsubtype", OID),
            ("rngmultitypid", OID),
            ("rngcollation", OID),
            ("rngsubopc", OID),
        ],
    ),
    empty(
        "pg_description",
        &[
            ("objoid", OID),
            ("classoid", OID),
            ("objsubid", INT4),
            ("description", TEXT),
        ],
    ),
    empty(
        "pg_shdescription",
        &[("objoid", OID), ("classoid", OID), ("description", TEXT)],
    ),
    empty(
        "pg_extension",
        &[
            ("oid", OID),
            ("extname", NAME),
            ("extowner", OID),
            ("extnamespace", OID),
            ("extrelocatable", BOOL),
            ("extversion", TEXT),
        ],
    ),
    empty(
        "pg_available_extensions",
        &[
            ("name", NAME),
            ("default_version", TEXT),
            ("installed_version", TEXT),
            ("comment", TEXT),
        ],
    ),
    empty(
        "pg_depend",
        &[
            ("classid", OID),
            ("objid", OID),
            ("objsubid", INT4),
            ("refclassid", OID),
            ("refobjid", OID),
            ("refobjsubid", INT4),
            ("deptype", CHAR),
        ],
    ),
    empty(
        "pg_foreign_table",
        &[("ftrelid", OID), ("ftserver", OID), ("ftoptions", TEXTS)],
    ),
    empty(
        "pg_foreign_server",
        &[
            ("oid", OID),
            ("srvname", NAME),
            ("srvowner", OID),
            ("srvfdw", OID),
            ("srvoptions", TEXTS),
        ],
    ),
    empty(
        "pg_foreign_data_wrapper",
        &[("oid", OID), ("fdwname", NAME), ("fdwowner", OID)],
    ),
    empty(
        "pg_partitioned_table",
        &[
            ("partrelid", OID),
            ("partstrat", CHAR),
            ("partnatts", INT2),
            ("partdefid", OID),
        ],
    ),
    empty(
        "pg_event_trigger",
        &[
            ("oid", OID),
            ("evtname", NAME),
            ("evtevent", NAME),
            ("evtowner", OID),
            ("evtenabled", CHAR),
        ],
    ),
    empty(
        "pg_cast",
        &[
            ("oid", OID),
            ("castsource", OID),
            ("casttarget", OID),
            ("castfunc", OID),
            ("castcontext", CHAR),
            ("castmethod", CHAR),
        ],
    ),
    empty(
        "pg_operator",
        &[
            ("oid", OID),
            ("oprname", NAME),
            ("oprnamespace", OID),
            ("oprleft", OID),
            ("oprright", OID),
            ("oprresult", OID),
        ],
    ),
    empty("pg_aggregate", &[("aggfnoid", OID), ("aggkind", CHAR)]),
    empty(
        "pg_opclass",
        &[
            ("oid", OID),
            ("opcmethod", OID),
            ("opcname", NAME),
            ("opcnamespace", OID),
            ("opcdefault", BOOL),
        ],
    ),
    empty(
        "pg_language",
        &[
            ("oid", OID),
            ("lanname", NAME),
            ("lanowner", OID),
            ("lanpltrusted", BOOL),
        ],
    ),
    empty(
        "pg_locks",
        &[
            ("locktype", TEXT),
            ("database", OID),
            ("relation", OID),
            ("pid", INT4),
            ("mode", TEXT),
            ("granted", BOOL),
        ],
    ),
    empty(
        "pg_prepared_xacts",
        &[
            ("transaction", PgType::XID),
            ("gid", TEXT),
            ("owner", NAME),
            ("database", NAME),
        ],
    ),
    empty(
        "pg_replication_slots",
        &[
            ("slot_name", NAME),
            ("plugin", NAME),
            ("slot_type", TEXT),
            ("active", BOOL),
        ],
    ),
    empty(
        "pg_stat_replication",
        &[
            ("pid", INT4),
            ("usename", NAME),
            ("application_name", TEXT),
            ("state", TEXT),
        ],
    ),
];

fn owner() -> Datum {
    oid(role_oid("postgres"))
}

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
            let length = types::length(&column.pg_type);
            let collation = if types::category(&column.pg_type) == "S" {
                DEFAULT_COLLATION
            } else {
                0
            };
            rows.push(vec![
                oid(relation.oid),
                text(&column.name),
                oid(column.pg_type.oid().into()),
                int4(-1),
                int2(length),
                int2(at as i16 + 1),
                int4(0),
                int4(-1),
                int4(column.typmod),
                yes((1..=8).contains(&length)),
                text(alignment(length)),
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

/// Positions in the table as column numbers, which count from 1.
fn column_numbers(key: &[usize]) -> Datum {
    Datum::Array(Some(
        key.iter().map(|position| Value::Int2(*position as i16 + 1)).collect(),
    ))
}

fn zeros(key: &[usize], zero: Value) -> Datum {
    Datum::Array(Some(key.iter().map(|_| zero.clone()).collect()))
}

fn indexes(catalog: &Catalog) -> Rows {
    let objects = catalog.objects()?;
    let indexes = objects
        .relations()
        .iter()
        .filter_map(|relation| objects.index_with_table(relation.oid));
    Ok(indexes
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
    let objects = catalog.objects()?;
    let indexes = objects
        .relations()
        .iter()
        .filter_map(|relation| objects.index_with_table(relation.oid));
    Ok(indexes
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

fn types_of(_: &Catalog) -> Rows {
    Ok(types::all()
        .into_iter()
        .map(|pg_type| {
            let length = types::length(&pg_type);
            let element = match (&pg_type, pg_type.kind()) {
                (&PgType::INT2_VECTOR, _) => PgType::INT2.oid(),
                (&PgType::OID_VECTOR, _) => PgType::OID.oid(),
                (_, Kind::Array(element)) => element.oid(),
                _ => 0,
            };
            let category = types::category(&pg_type);
            let preferred = matches!(
                pg_type,
                PgType::TEXT | PgType::FLOAT8 | PgType::OID | PgType::BOOL | PgType::TIMESTAMPTZ | PgType::INTERVAL
            );
            let array = types::array_type(&pg_type).map_or(0, |array| array.oid());
            vec![
                oid(pg_type.oid().into()),
                text(pg_type.name()),
                oid(namespace_oid("pg_catalog")),
                owner(),
                int2(length),
                yes((1..=8).contains(&length)),
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
    let objects = catalog.objects()?;
    let mut rows = Vec::new();
    for (index, table) in objects
        .relations()
        .iter()
        .filter_map(|relation| objects.index_with_table(relation.oid))
    {
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
