//! `dolt` and `dolt_cluster`: the history of the connected database, what is not committed, and the cluster.

use rust_decimal::Decimal;

use super::declaration::{BOOL, INT8, Rows, TEXT, TIMESTAMP, int8, null, opt_text, table_in, text, yes};
use super::{Catalog, Datum, SystemTable};
use crate::engine::{CLUSTER_DATABASE, TableStatus};
use crate::sql::PgType;
use crate::version::Value;

pub const TABLES: &[SystemTable] = &[
    // spec/version-control.md section 9.
    table_in(
        "dolt",
        "log",
        &[
            ("commit_hash", TEXT),
            ("committer", TEXT),
            ("email", TEXT),
            ("date", TIMESTAMP),
            ("message", TEXT),
            ("commit_order", PgType::NUMERIC),
            ("parents", TEXT),
            ("refs", TEXT),
            ("signature", TEXT),
            ("author", TEXT),
            ("author_email", TEXT),
            ("author_date", TIMESTAMP),
        ],
        log,
    ),
    table_in(
        "dolt",
        "status",
        &[("table_name", TEXT), ("staged", BOOL), ("status", TEXT)],
        status,
    ),
    // spec/cluster.md 7.2: exactly these seven columns.
    table_in(
        CLUSTER_DATABASE,
        "dolt_cluster_status",
        &[
            ("database", TEXT),
            ("standby_remote", TEXT),
            ("role", TEXT),
            ("epoch", INT8),
            ("replication_lag_millis", INT8),
            ("last_update", TIMESTAMP),
            ("current_error", TEXT),
        ],
        cluster_status,
    ),
];

fn log(catalog: &Catalog) -> Rows {
    let Some(transaction) = catalog.transaction() else {
        return Ok(Vec::new());
    };
    let time = |micros: i64| Datum::Value(Value::Timestamp(micros));
    Ok(transaction
        .dolt_log()?
        .into_iter()
        .enumerate()
        .map(|(at, (hash, commit))| {
            let parents: Vec<String> = commit.parents.iter().map(ToString::to_string).collect();
            vec![
                text(hash.to_string()),
                text(commit.committer.name),
                text(commit.committer.email),
                time(commit.committer.time.micros()),
                text(commit.message),
                Datum::Value(Value::Numeric(Decimal::from(commit.height))),
                text(parents.join(", ")),
                // The newest commit is where the branch and HEAD are.
                opt_text((at == 0).then_some("HEAD -> main")),
                null(),
                text(commit.author.name),
                text(commit.author.email),
                time(commit.author.time.micros()),
            ]
        })
        .collect())
}

fn status(catalog: &Catalog) -> Rows {
    let Some(transaction) = catalog.transaction() else {
        return Ok(Vec::new());
    };
    let words = |status: TableStatus| match status {
        TableStatus::New => "new table",
        TableStatus::Modified => "modified",
        TableStatus::Deleted => "deleted",
    };
    let rows = transaction.dolt_status()?.into_iter();
    Ok(rows
        .map(|row| vec![text(row.table.to_string()), yes(row.staged), text(words(row.status))])
        .collect())
}

fn cluster_status(catalog: &Catalog) -> Rows {
    let Some(cluster) = catalog.context().engine.cluster() else {
        return Ok(Vec::new());
    };
    let rows = cluster.status().into_iter().map(|row| {
        vec![
            text(row.database),
            text(row.standby_remote),
            text(row.role.as_str()),
            int8(i64::try_from(row.epoch).unwrap_or(i64::MAX)),
            Datum::Value(row.replication_lag_millis.map_or(Value::Null, Value::Int8)),
            Datum::Value(
                row.last_update
                    .map_or(Value::Null, |time| Value::Timestamp(time.micros())),
            ),
            opt_text(row.current_error),
        ]
    });
    Ok(rows.collect())
}
