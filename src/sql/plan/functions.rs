//! PostgreSQL's functions that are not DataFusion's: who and where the session is, what time it is, what the catalog's oids
//! mean, and small text functions.

use rand::RngCore;

use super::row_function::RowFunction;
use crate::sql::cast::timestamp_out_of_range;
use crate::sql::catalog::Catalog;
use crate::sql::text::datetime::MICROS_PER_DAY;
use crate::sql::{PgType, SqlError, SqlErrorKind};
use crate::version::Value;

const TEXT: PgType = PgType::TEXT;
const BOOL: PgType = PgType::BOOL;
const OID: PgType = PgType::OID;
const INT4: PgType = PgType::INT4;

/// `name(parameters) -> result = body`, with NULL giving NULL.
const fn strict(
    name: &'static str,
    parameters: &'static [PgType],
    required: usize,
    result: PgType,
    body: super::row_function::Body,
) -> RowFunction {
    RowFunction {
        name,
        parameters,
        required,
        result,
        strict: true,
        volatile: false,
        body,
    }
}

const fn volatile(name: &'static str, result: PgType, body: super::row_function::Body) -> RowFunction {
    RowFunction {
        name,
        parameters: &[],
        required: 0,
        result,
        strict: true,
        volatile: true,
        body,
    }
}

/// Privileges are not told apart: who may connect may look.
fn granted(_: &Catalog, _: &[Value]) -> Result<Value, SqlError> {
    Ok(Value::Bool(true))
}

fn null(_: &Catalog, _: &[Value]) -> Result<Value, SqlError> {
    Ok(Value::Null)
}

pub static FUNCTIONS: &[RowFunction] = &[
    strict("version", &[], 0, TEXT, |catalog, _| Ok(text(catalog.version()))),
    strict("current_database", &[], 0, PgType::NAME, |catalog, _| {
        Ok(text(&catalog.context().database))
    }),
    strict("current_catalog", &[], 0, PgType::NAME, |catalog, _| {
        Ok(text(&catalog.context().database))
    }),
    strict("current_user", &[], 0, PgType::NAME, |catalog, _| {
        Ok(text(&catalog.context().user))
    }),
    strict("session_user", &[], 0, PgType::NAME, |catalog, _| {
        Ok(text(&catalog.context().user))
    }),
    strict("current_schema", &[], 0, PgType::NAME, |catalog, _| {
        Ok(catalog
            .visible_schemas()?
            .into_iter()
            .next()
            .map_or(Value::Null, Value::Text))
    }),
    strict("current_query", &[], 0, TEXT, null),
    strict("pg_backend_pid", &[], 0, INT4, |catalog, _| {
        Ok(Value::Int4(catalog.context().pid))
    }),
    strict("inet_client_addr", &[], 0, TEXT, |catalog, _| {
        Ok(catalog
            .context()
            .client_address
            .clone()
            .map_or(Value::Null, Value::Text))
    }),
    strict("inet_server_addr", &[], 0, TEXT, null),
    strict("pg_is_in_recovery", &[], 0, BOOL, |catalog, _| {
        Ok(Value::Bool(catalog.in_recovery()))
    }),
    RowFunction {
        name: "current_setting",
        parameters: &[TEXT, BOOL],
        required: 1,
        result: TEXT,
        strict: true,
        volatile: false,
        body: current_setting,
    },
    // Times.
    strict("now", &[], 0, PgType::TIMESTAMPTZ, transaction_time),
    strict("transaction_timestamp", &[], 0, PgType::TIMESTAMPTZ, transaction_time),
    strict("current_timestamp", &[], 0, PgType::TIMESTAMPTZ, transaction_time),
    strict("statement_timestamp", &[], 0, PgType::TIMESTAMPTZ, |catalog, _| {
        Ok(Value::Timestamp(catalog.context().statement_time.micros()))
    }),
    volatile("clock_timestamp", PgType::TIMESTAMPTZ, |_, _| {
        Ok(Value::Timestamp(crate::runtime::wall_clock().micros()))
    }),
    strict("localtimestamp", &[], 0, PgType::TIMESTAMP, |catalog, _| {
        Ok(Value::Timestamp(local_now(catalog)?))
    }),
    strict("localtime", &[], 0, PgType::TIME, |catalog, _| {
        Ok(Value::Time(local_now(catalog)?.rem_euclid(MICROS_PER_DAY)))
    }),
    strict("current_date", &[], 0, PgType::DATE, |catalog, _| {
        Ok(Value::Date(local_now(catalog)?.div_euclid(MICROS_PER_DAY) as i32))
    }),
    // Entropy.
    volatile("gen_random_uuid", PgType::UUID, |_, _| {
        let mut bytes = [0; 16];
        crate::runtime::rng("gen_random_uuid").fill_bytes(&mut bytes);
        Ok(Value::Uuid(
            *uuid::Builder::from_random_bytes(bytes).as_uuid().as_bytes(),
        ))
    }),
    volatile("random", PgType::FLOAT8, |_, _| {
        // 53 random bits are all a double between 0 and 1 has.
        let bits = crate::runtime::rng("random").next_u64() >> 11;
        Ok(Value::Float8(bits as f64 / (1u64 << 53) as f64))
    }),
    // What oids mean.
    RowFunction {
        name: "format_type",
        parameters: &[OID, INT4],
        required: 2,
        result: TEXT,
        strict: false,
        volatile: false,
        body: |_, args| {
            let (Value::Int8(oid), typmod) = (&args[0], &args[1]) else {
                return Ok(Value::Null);
            };
            let typmod = if let Value::Int4(typmod) = typmod { *typmod } else { -1 };
            Ok(Value::Text(crate::sql::catalog::format_type(*oid, typmod)))
        },
    },
    strict("pg_get_userbyid", &[OID], 1, PgType::NAME, |catalog, args| {
        Ok(Value::Text(catalog.role_name(oid(&args[0]))?))
    }),
    strict("pg_table_is_visible", &[OID], 1, BOOL, |catalog, args| {
        catalog.relation_is_visible(oid(&args[0])).map(nullable_bool)
    }),
    strict("pg_type_is_visible", &[OID], 1, BOOL, |_, args| {
        Ok(Value::Bool(PgType::from_oid(oid(&args[0]) as u32).is_some()))
    }),
    strict("pg_function_is_visible", &[OID], 1, BOOL, |_, _| Ok(Value::Bool(true))),
    strict(
        "pg_get_expr",
        &[TEXT, OID, BOOL],
        2,
        TEXT,
        |_, args| Ok(args[0].clone()),
    ),
    strict("pg_get_indexdef", &[OID, INT4, BOOL], 1, TEXT, |catalog, args| {
        let column = if let Some(Value::Int4(column)) = args.get(1) {
            *column
        } else {
            0
        };
        Ok(catalog
            .index_definition(oid(&args[0]), column, args.get(2) == Some(&Value::Bool(true)))?
            .map_or(Value::Null, Value::Text))
    }),
    strict("pg_get_constraintdef", &[OID, BOOL], 1, TEXT, |catalog, args| {
        Ok(catalog
            .constraint_definition(oid(&args[0]))?
            .map_or(Value::Null, Value::Text))
    }),
    strict("pg_get_viewdef", &[OID, BOOL], 1, TEXT, null),
    strict("pg_get_ruledef", &[OID, BOOL], 1, TEXT, null),
    strict("pg_get_triggerdef", &[OID, BOOL], 1, TEXT, null),
    strict("pg_get_functiondef", &[OID], 1, TEXT, null),
    strict("pg_get_function_result", &[OID], 1, TEXT, null),
    strict("pg_get_function_arguments", &[OID], 1, TEXT, null),
    strict("pg_get_function_identity_arguments", &[OID], 1, TEXT, null),
    strict("pg_get_partkeydef", &[OID], 1, TEXT, null),
    strict("pg_get_serial_sequence", &[TEXT, TEXT], 2, TEXT, null),
    strict("pg_get_statisticsobjdef_columns", &[OID], 1, TEXT, null),
    strict("pg_relation_is_publishable", &[OID], 1, BOOL, |_, _| {
        Ok(Value::Bool(false))
    }),
    strict("pg_encoding_to_char", &[INT4], 1, PgType::NAME, |_, args| {
        Ok(text(if args[0] == Value::Int4(crate::sql::catalog::UTF8) {
            "UTF8"
        } else {
            ""
        }))
    }),
    strict("pg_client_encoding", &[], 0, PgType::NAME, |_, _| Ok(text("UTF8"))),
    strict("obj_description", &[OID, TEXT], 1, TEXT, null),
    strict("col_description", &[OID, INT4], 2, TEXT, null),
    strict("shobj_description", &[OID, TEXT], 2, TEXT, null),
    strict("to_regclass", &[TEXT], 1, PgType::REGCLASS, |catalog, args| {
        Ok(catalog.relation_oid(&words(&args[0]))?.map_or(Value::Null, Value::Int8))
    }),
    strict("to_regtype", &[TEXT], 1, PgType::REGTYPE, |_, args| {
        Ok(crate::sql::catalog::type_oid(&words(&args[0])).map_or(Value::Null, Value::Int8))
    }),
    // Privileges.
    strict(
        "has_table_privilege",
        &[PgType::ANY, PgType::ANY, TEXT],
        2,
        BOOL,
        granted,
    ),
    strict(
        "has_schema_privilege",
        &[PgType::ANY, PgType::ANY, TEXT],
        2,
        BOOL,
        granted,
    ),
    strict(
        "has_database_privilege",
        &[PgType::ANY, PgType::ANY, TEXT],
        2,
        BOOL,
        granted,
    ),
    strict(
        "has_column_privilege",
        &[PgType::ANY, PgType::ANY, PgType::ANY, TEXT],
        3,
        BOOL,
        granted,
    ),
    strict(
        "has_any_column_privilege",
        &[PgType::ANY, PgType::ANY, TEXT],
        2,
        BOOL,
        granted,
    ),
    strict(
        "has_function_privilege",
        &[PgType::ANY, PgType::ANY, TEXT],
        2,
        BOOL,
        granted,
    ),
    strict("pg_has_role", &[PgType::ANY, PgType::ANY, TEXT], 2, BOOL, granted),
    // Sizes are not told per table: everything is in one log.
    strict("pg_table_size", &[PgType::ANY], 1, PgType::INT8, |_, _| {
        Ok(Value::Int8(0))
    }),
    strict("pg_relation_size", &[PgType::ANY, TEXT], 1, PgType::INT8, |_, _| {
        Ok(Value::Int8(0))
    }),
    strict("pg_total_relation_size", &[PgType::ANY], 1, PgType::INT8, |_, _| {
        Ok(Value::Int8(0))
    }),
    strict("pg_indexes_size", &[PgType::ANY], 1, PgType::INT8, |_, _| {
        Ok(Value::Int8(0))
    }),
    strict("pg_size_pretty", &[PgType::INT8], 1, TEXT, |_, args| {
        Ok(Value::Text(size_pretty(oid(&args[0]))))
    }),
    // Text.
    strict("length", &[PgType::ANY], 1, INT4, length),
    strict("char_length", &[PgType::ANY], 1, INT4, length),
    strict("character_length", &[PgType::ANY], 1, INT4, length),
    strict("quote_ident", &[TEXT], 1, TEXT, |_, args| {
        Ok(Value::Text(crate::sql::catalog::quote_identifier(&words(&args[0]))))
    }),
    strict("quote_literal", &[TEXT], 1, TEXT, |_, args| {
        Ok(Value::Text(quote_literal(&words(&args[0]))))
    }),
    RowFunction {
        name: "quote_nullable",
        parameters: &[TEXT],
        required: 1,
        result: TEXT,
        strict: false,
        volatile: false,
        body: |_, args| {
            Ok(if args[0].is_null() {
                text("NULL")
            } else {
                Value::Text(quote_literal(&words(&args[0])))
            })
        },
    },
];

/// Casts to the types that name objects: the same functions under the names of [`super::cast::cast_name`].
pub static REGCLASS_CAST: RowFunction =
    strict(
        "regclass",
        &[PgType::ANY],
        1,
        PgType::REGCLASS,
        |catalog, args| match &args[0] {
            Value::Text(name) => match name.parse() {
                Ok(oid) => Ok(Value::Int8(oid)),
                Err(_) => match catalog.relation_oid(name)? {
                    Some(oid) => Ok(Value::Int8(oid)),
                    None => Err(SqlError::undefined_table(name)),
                },
            },
            other => Ok(Value::Int8(oid(other))),
        },
    );

pub static REGTYPE_CAST: RowFunction = strict("regtype", &[PgType::ANY], 1, PgType::REGTYPE, |_, args| {
    match &args[0] {
        Value::Text(name) => match name.parse().ok().or_else(|| crate::sql::catalog::type_oid(name)) {
            Some(oid) => Ok(Value::Int8(oid)),
            None => Err(SqlError::new(
                SqlErrorKind::UndefinedObject,
                format!("type \"{name}\" does not exist"),
            )),
        },
        other => Ok(Value::Int8(oid(other))),
    }
});

pub static REGNAMESPACE_CAST: RowFunction = strict(
    "regnamespace",
    &[PgType::ANY],
    1,
    PgType::REGNAMESPACE,
    |catalog, args| match &args[0] {
        Value::Text(name) => match name
            .parse()
            .ok()
            .map(Ok)
            .or_else(|| catalog.namespace_oid(name).transpose())
        {
            Some(oid) => Ok(Value::Int8(oid?)),
            None => Err(SqlError::new(
                SqlErrorKind::UndefinedSchema,
                format!("schema \"{name}\" does not exist"),
            )),
        },
        other => Ok(Value::Int8(oid(other))),
    },
);

pub static REGROLE_CAST: RowFunction = strict(
    "regrole",
    &[PgType::ANY],
    1,
    PgType::REGROLE,
    |catalog, args| match &args[0] {
        Value::Text(name) => match name.parse().ok().map(Ok).or_else(|| catalog.role_oid(name).transpose()) {
            Some(oid) => Ok(Value::Int8(oid?)),
            None => Err(SqlError::new(
                SqlErrorKind::UndefinedObject,
                format!("role \"{name}\" does not exist"),
            )),
        },
        other => Ok(Value::Int8(oid(other))),
    },
);

fn text(words: &str) -> Value {
    Value::Text(words.to_string())
}

fn words(value: &Value) -> String {
    if let Value::Text(words) = value {
        words.clone()
    } else {
        String::new()
    }
}

/// An oid or any integer; 0, which no object has, for what is none.
fn oid(value: &Value) -> i64 {
    match value {
        Value::Int2(value) => i64::from(*value),
        Value::Int4(value) => i64::from(*value),
        Value::Int8(value) => *value,
        _ => 0,
    }
}

fn nullable_bool(value: Option<bool>) -> Value {
    value.map_or(Value::Null, Value::Bool)
}

fn transaction_time(catalog: &Catalog, _: &[Value]) -> Result<Value, SqlError> {
    Ok(Value::Timestamp(catalog.context().transaction_time.micros()))
}

fn local_now(catalog: &Catalog) -> Result<i64, SqlError> {
    let now = catalog.context().transaction_time.micros();
    catalog.style().zone.to_local(now).ok_or_else(timestamp_out_of_range)
}

fn current_setting(catalog: &Catalog, args: &[Value]) -> Result<Value, SqlError> {
    let name = words(&args[0]);
    if args.get(1) == Some(&Value::Bool(true)) {
        return Ok(catalog.context().settings.find(&name)?.map_or(Value::Null, Value::Text));
    }
    Ok(Value::Text(catalog.context().settings.show(&name)?))
}

/// Characters of a text, bytes of a bytea.
fn length(_: &Catalog, args: &[Value]) -> Result<Value, SqlError> {
    let length = match &args[0] {
        Value::Text(words) => words.chars().count(),
        Value::Bytea(bytes) => bytes.len(),
        other => return Err(super::error::undefined_function(&format!("length({})", other.kind()))),
    };
    i32::try_from(length)
        .map(Value::Int4)
        .map_err(|_| SqlError::new(SqlErrorKind::NumericOutOfRange, "integer out of range"))
}

fn quote_literal(words: &str) -> String {
    let quoted = words.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

fn size_pretty(bytes: i64) -> String {
    let mut size = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size.abs() < 10_240.0 {
            return format!("{} {unit}", size.round());
        }
        size /= 1024.0;
    }
    format!("{} TB", size.round())
}
