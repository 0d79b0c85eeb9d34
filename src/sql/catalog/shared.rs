//! `pg_catalog`'s tables about the whole server: databases, roles, settings, sessions.

use super::declaration::*;
use super::objects::{database_oid, role_oid};
use super::{Catalog, SystemTable, UTF8};
use crate::engine::CLUSTER_DATABASE;
use crate::sql::PgType;

pub const TABLES: &[SystemTable] = &[
    table(
        "pg_database",
        &[
            ("oid", OID),
            ("datname", NAME),
            ("datdba", OID),
            ("encoding", INT4),
            ("datlocprovider", CHAR),
            ("datistemplate", BOOL),
            ("datallowconn", BOOL),
            ("datconnlimit", INT4),
            ("datfrozenxid", PgType::XID),
            ("dattablespace", OID),
            ("datcollate", TEXT),
            ("datctype", TEXT),
            ("daticulocale", TEXT),
            ("datcollversion", TEXT),
            ("datacl", TEXTS),
        ],
        databases,
    ),
    table(
        "pg_roles",
        &[
            ("rolname", NAME),
            ("rolsuper", BOOL),
            ("rolinherit", BOOL),
            ("rolcreaterole", BOOL),
            ("rolcreatedb", BOOL),
            ("rolcanlogin", BOOL),
            ("rolreplication", BOOL),
            ("rolconnlimit", INT4),
            ("rolpassword", TEXT),
            ("rolvaliduntil", TIMESTAMPTZ),
            ("rolbypassrls", BOOL),
            ("rolconfig", TEXTS),
            ("oid", OID),
        ],
        roles,
    ),
    table(
        "pg_user",
        &[
            ("usename", NAME),
            ("usesysid", OID),
            ("usecreatedb", BOOL),
            ("usesuper", BOOL),
            ("userepl", BOOL),
            ("usebypassrls", BOOL),
            ("passwd", TEXT),
            ("valuntil", TIMESTAMPTZ),
            ("useconfig", TEXTS),
        ],
        users,
    ),
    table(
        "pg_settings",
        &[
            ("name", TEXT),
            ("setting", TEXT),
            ("unit", TEXT),
            ("category", TEXT),
            ("short_desc", TEXT),
            ("extra_desc", TEXT),
            ("context", TEXT),
            ("vartype", TEXT),
            ("source", TEXT),
            ("min_val", TEXT),
            ("max_val", TEXT),
            ("enumvals", TEXTS),
            ("boot_val", TEXT),
            ("reset_val", TEXT),
            ("sourcefile", TEXT),
            ("sourceline", INT4),
            ("pending_restart", BOOL),
        ],
        settings,
    ),
    table(
        "pg_stat_activity",
        &[
            ("datid", OID),
            ("datname", NAME),
            ("pid", INT4),
            ("usesysid", OID),
            ("usename", NAME),
            ("application_name", TEXT),
            ("client_addr", TEXT),
            ("client_port", INT4),
            ("backend_start", TIMESTAMPTZ),
            ("state", TEXT),
            ("query", TEXT),
            ("backend_type", TEXT),
        ],
        activity,
    ),
    table(
        "pg_tablespace",
        &[
            ("oid", OID),
            ("spcname", NAME),
            ("spcowner", OID),
            ("spcacl", TEXTS),
            ("spcoptions", TEXTS),
        ],
        |_| {
            Ok(vec![vec![
                oid(1663),
                text("pg_default"),
                owner(),
                no_array(),
                no_array(),
            ]])
        },
    ),
    empty(
        "pg_auth_members",
        &[
            ("roleid", OID),
            ("member", OID),
            ("grantor", OID),
            ("admin_option", BOOL),
        ],
    ),
    empty(
        "pg_db_role_setting",
        &[("setdatabase", OID), ("setrole", OID), ("setconfig", TEXTS)],
    ),
    empty(
        "pg_seclabel",
        &[
            ("objoid", OID),
            ("classoid", OID),
            ("objsubid", INT4),
            ("provider", TEXT),
            ("label", TEXT),
        ],
    ),
    empty(
        "pg_shseclabel",
        &[("objoid", OID), ("classoid", OID), ("provider", TEXT), ("label", TEXT)],
    ),
];

fn databases(catalog: &Catalog) -> Rows {
    let engine = &catalog.context().engine;
    let mut names: Vec<String> = engine
        .databases()
        .iter()
        .map(|database| database.name().to_string())
        .collect();
    if engine.cluster().is_some() {
        names.push(CLUSTER_DATABASE.to_string());
    }
    names.sort();
    names.dedup();
    Ok(names
        .into_iter()
        .map(|name| {
            vec![
                oid(database_oid(&name)),
                text(name),
                owner(),
                int4(UTF8),
                text("c"),
                yes(false),
                yes(true),
                int4(-1),
                oid(0),
                oid(1663),
                text("C"),
                text("C.UTF-8"),
                null(),
                null(),
                no_array(),
            ]
        })
        .collect())
}

fn roles(catalog: &Catalog) -> Rows {
    let roles = catalog.context().engine.system().roles()?;
    Ok(roles
        .into_iter()
        .map(|role| {
            let all = yes(role.superuser);
            vec![
                text(&role.name),
                all.clone(),
                yes(true),
                all.clone(),
                all.clone(),
                yes(role.login),
                all.clone(),
                int4(-1),
                text("********"),
                null(),
                all,
                no_array(),
                oid(role_oid(&role.name)),
            ]
        })
        .collect())
}

fn users(catalog: &Catalog) -> Rows {
    let roles = catalog.context().engine.system().roles()?;
    Ok(roles
        .into_iter()
        .filter(|role| role.login)
        .map(|role| {
            let all = yes(role.superuser);
            vec![
                text(&role.name),
                oid(role_oid(&role.name)),
                all.clone(),
                all.clone(),
                all.clone(),
                all,
                text("********"),
                null(),
                no_array(),
            ]
        })
        .collect())
}

fn settings(catalog: &Catalog) -> Rows {
    let rows = catalog.context().settings.all().into_iter().map(|row| {
        vec![
            text(row.name),
            text(&row.setting),
            null(),
            text("Preset Options"),
            text(row.description),
            null(),
            text("user"),
            text("string"),
            text("default"),
            null(),
            null(),
            no_array(),
            null(),
            text(row.setting),
            null(),
            null(),
            yes(false),
        ]
    });
    Ok(rows.collect())
}

fn activity(catalog: &Catalog) -> Rows {
    let sessions = catalog.context().engine.sessions().list();
    Ok(sessions
        .into_iter()
        .map(|session| {
            vec![
                oid(database_oid(&session.database)),
                text(&session.database),
                int4(session.pid),
                oid(role_oid(&session.user)),
                text(&session.user),
                text(""),
                null(),
                int4(-1),
                null(),
                null(),
                text(""),
                text("client backend"),
            ]
        })
        .collect())
}
