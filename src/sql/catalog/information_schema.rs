//! `information_schema`: the standard's names for what `pg_catalog` shows.

use postgres_types::Kind;

use super::declaration::{INT4, NAME, Rows, int4, null, opt_text, table_in, text};
use super::{Catalog, RelationKind, SystemTable, types};
use crate::sql::PgType;
use crate::sql::types::numeric_typmod;

const SCHEMA: &str = "information_schema";
const TEXT: PgType = PgType::VARCHAR;

pub const TABLES: &[SystemTable] = &[
    table_in(
        SCHEMA,
        "schemata",
        &[
            ("catalog_name", NAME),
            ("schema_name", NAME),
            ("schema_owner", NAME),
            ("default_character_set_name", NAME),
        ],
        |catalog| {
            let namespaces = catalog.objects()?.namespaces().iter();
            let database = &catalog.context().database;
            Ok(namespaces
                .map(|found| vec![text(database), text(&found.name), text("postgres"), null()])
                .collect())
        },
    ),
    table_in(
        SCHEMA,
        "tables",
        &[
            ("table_catalog", NAME),
            ("table_schema", NAME),
            ("table_name", NAME),
            ("table_type", TEXT),
            ("self_referencing_column_name", NAME),
            ("reference_generation", TEXT),
            ("user_defined_type_catalog", NAME),
            ("user_defined_type_schema", NAME),
            ("user_defined_type_name", NAME),
            ("is_insertable_into", TEXT),
            ("is_typed", TEXT),
            ("commit_action", TEXT),
        ],
        tables,
    ),
    table_in(
        SCHEMA,
        "columns",
        &[
            ("table_catalog", NAME),
            ("table_schema", NAME),
            ("table_name", NAME),
            ("column_name", NAME),
            ("ordinal_position", INT4),
            ("column_default", TEXT),
            ("is_nullable", TEXT),
            ("data_type", TEXT),
            ("character_maximum_length", INT4),
            ("character_octet_length", INT4),
            ("numeric_precision", INT4),
            ("numeric_precision_radix", INT4),
            ("numeric_scale", INT4),
            ("datetime_precision", INT4),
            ("udt_catalog", NAME),
            ("udt_schema", NAME),
            ("udt_name", NAME),
            ("is_identity", TEXT),
            ("is_generated", TEXT),
            ("is_updatable", TEXT),
        ],
        columns,
    ),
    table_in(
        SCHEMA,
        "table_constraints",
        &[
            ("constraint_catalog", NAME),
            ("constraint_schema", NAME),
            ("constraint_name", NAME),
            ("table_catalog", NAME),
            ("table_schema", NAME),
            ("table_name", NAME),
            ("constraint_type", TEXT),
            ("is_deferrable", TEXT),
            ("initially_deferred", TEXT),
            ("enforced", TEXT),
        ],
        constraints,
    ),
    table_in(
        SCHEMA,
        "key_column_usage",
        &[
            ("constraint_catalog", NAME),
            ("constraint_schema", NAME),
            ("constraint_name", NAME),
            ("table_catalog", NAME),
            ("table_schema", NAME),
            ("table_name", NAME),
            ("column_name", NAME),
            ("ordinal_position", INT4),
            ("position_in_unique_constraint", INT4),
        ],
        key_columns,
    ),
    table_in(
        SCHEMA,
        "views",
        &[
            ("table_catalog", NAME),
            ("table_schema", NAME),
            ("table_name", NAME),
            ("view_definition", TEXT),
        ],
        |catalog| {
            let database = &catalog.context().database;
            let views = catalog
                .objects()?
                .relations()
                .iter()
                .filter(|relation| relation.kind == RelationKind::View);
            Ok(views
                .map(|view| vec![text(database), text(&view.schema), text(&view.name), null()])
                .collect())
        },
    ),
];

fn tables(catalog: &Catalog) -> Rows {
    let database = &catalog.context().database;
    let relations = catalog
        .objects()?
        .relations()
        .iter()
        .filter(|relation| relation.kind != RelationKind::Index);
    Ok(relations
        .map(|relation| {
            let (kind, insertable) = match relation.kind {
                RelationKind::View => ("VIEW", "NO"),
                RelationKind::Catalog => ("BASE TABLE", "NO"),
                _ => ("BASE TABLE", "YES"),
            };
            vec![
                text(database),
                text(&relation.schema),
                text(&relation.name),
                text(kind),
                null(),
                null(),
                null(),
                null(),
                null(),
                text(insertable),
                text("NO"),
                null(),
            ]
        })
        .collect())
}

fn columns(catalog: &Catalog) -> Rows {
    let database = &catalog.context().database;
    let mut rows = Vec::new();
    for relation in catalog
        .objects()?
        .relations()
        .iter()
        .filter(|relation| relation.kind != RelationKind::Index)
    {
        for (at, column) in relation.columns.iter().enumerate() {
            let pg_type = &column.pg_type;
            let length = match *pg_type {
                PgType::VARCHAR | PgType::BPCHAR if column.typmod > 4 => Some(column.typmod - 4),
                _ => None,
            };
            let octets = match *pg_type {
                PgType::TEXT | PgType::VARCHAR | PgType::BPCHAR => Some(length.map_or(1 << 30, |length| length * 4)),
                _ => None,
            };
            let (precision, radix, scale) = numbers(pg_type, column.typmod);
            let datetime = match *pg_type {
                PgType::DATE => Some(0),
                PgType::TIME | PgType::TIMESTAMP | PgType::TIMESTAMPTZ => Some(6),
                _ => None,
            };
            let udt = if let Kind::Array(element) = pg_type.kind() {
                format!("_{}", element.name())
            } else {
                pg_type.name().to_string()
            };
            let yes_no = |yes: bool| text(if yes { "YES" } else { "NO" });
            let opt = |number: Option<i32>| number.map_or_else(null, int4);
            rows.push(vec![
                text(database),
                text(&relation.schema),
                text(&relation.name),
                text(&column.name),
                int4(at as i32 + 1),
                opt_text(column.default.as_ref()),
                yes_no(!column.not_null),
                text(types::information_name(pg_type)),
                opt(length),
                opt(octets),
                opt(precision),
                opt(radix),
                opt(scale),
                opt(datetime),
                text(database),
                text("pg_catalog"),
                text(udt),
                text("NO"),
                text("NEVER"),
                yes_no(relation.kind == RelationKind::Table),
            ]);
        }
    }
    Ok(rows)
}

/// Precision, the base it counts in, and scale of a number type.
fn numbers(pg_type: &PgType, typmod: i32) -> (Option<i32>, Option<i32>, Option<i32>) {
    match *pg_type {
        PgType::INT2 => (Some(16), Some(2), Some(0)),
        PgType::INT4 => (Some(32), Some(2), Some(0)),
        PgType::INT8 => (Some(64), Some(2), Some(0)),
        PgType::FLOAT4 => (Some(24), Some(2), None),
        PgType::FLOAT8 => (Some(53), Some(2), None),
        PgType::NUMERIC => match numeric_typmod(typmod) {
            Some((precision, scale)) => (Some(precision.into()), Some(10), Some(scale.into())),
            None => (None, Some(10), None),
        },
        _ => (None, None, None),
    }
}

fn constraints(catalog: &Catalog) -> Rows {
    let database = &catalog.context().database;
    Ok(catalog
        .objects()?
        .indexes()
        .map(|(index, table)| {
            vec![
                text(database),
                text(&index.schema),
                text(&index.name),
                text(database),
                text(&table.schema),
                text(&table.name),
                text("PRIMARY KEY"),
                text("NO"),
                text("NO"),
                text("YES"),
            ]
        })
        .collect())
}

fn key_columns(catalog: &Catalog) -> Rows {
    let database = &catalog.context().database;
    let mut rows = Vec::new();
    for (index, table) in catalog.objects()?.indexes() {
        for (at, position) in index.key.iter().enumerate() {
            rows.push(vec![
                text(database),
                text(&index.schema),
                text(&index.name),
                text(database),
                text(&table.schema),
                text(&table.name),
                text(&table.columns[*position].name),
                int4(at as i32 + 1),
                null(),
            ]);
        }
    }
    Ok(rows)
}
