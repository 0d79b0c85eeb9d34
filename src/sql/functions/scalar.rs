//! Functions of version control that only look: `active_branch()`, `hashof('HEAD')`, `dolt_hashof_db()`, `dolt_version()`.

use std::str::FromStr;

use crate::chunk::Hash;
use crate::engine::{Revision, Transaction};
use crate::sql::catalog::Catalog;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::plan::row_function::{Body, RowFunction};
use crate::sql::result::PgType;
use crate::version::{TableName, Value};

const fn function(name: &'static str, parameters: &'static [PgType], required: usize, body: Body) -> RowFunction {
    RowFunction {
        name,
        parameters,
        required,
        result: PgType::TEXT,
        // NULL is an error of its own here, not a NULL.
        strict: false,
        volatile: false,
        body,
    }
}

/// For the plan to know.
pub(in crate::sql) static FUNCTIONS: &[RowFunction] = &[
    function("active_branch", &[], 0, |catalog, _| {
        // The only branch there is; the virtual database has none.
        Ok(catalog
            .context()
            .transaction
            .as_ref()
            .map_or(Value::Null, |_| text("main")))
    }),
    function("dolt_version", &[], 0, |_, _| Ok(text(env!("CARGO_PKG_VERSION")))),
    function("hashof", &[PgType::TEXT], 1, |catalog, arguments| {
        hash_of("hashof", catalog, arguments)
    }),
    function("dolt_hashof", &[PgType::TEXT], 1, |catalog, arguments| {
        hash_of("dolt_hashof", catalog, arguments)
    }),
    function("dolt_hashof_db", &[PgType::TEXT], 0, hash_of_database),
    function("dolt_hashof_table", &[PgType::TEXT], 1, hash_of_table),
];

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn transaction(catalog: &Catalog) -> Result<&Transaction, SqlError> {
    catalog
        .context()
        .transaction
        .as_deref()
        .ok_or_else(|| SqlError::new(SqlErrorKind::Unsupported, "dolt_cluster is not a versioned database"))
}

fn argument<'a>(function: &str, value: Option<&'a Value>) -> Result<&'a str, SqlError> {
    match value {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(SqlError::new(
            SqlErrorKind::NullNotAllowed,
            format!("Invalid argument to {function}: NULL"),
        )),
    }
}

fn hash_of(function: &str, catalog: &Catalog, arguments: &[Value]) -> Result<Value, SqlError> {
    let revision = argument(function, arguments.first())?;
    let hash = commit_of(transaction(catalog)?, revision)?;
    Ok(text(hash.to_string()))
}

/// The commit a revision names: `HEAD`, `main`, a full hash, each with `~n` or `^` behind it.
fn commit_of(transaction: &Transaction, revision: &str) -> Result<Hash, SqlError> {
    let unknown = || {
        SqlError::new(SqlErrorKind::InvalidParameter, format!("branch not found: {revision}"))
            .hint("A revision is HEAD, a branch, or a full commit hash, followed by ~n or ^.")
    };
    let name_end = revision.find(['~', '^']).unwrap_or(revision.len());
    let (name, steps) = revision.split_at(name_end);
    let mut log = transaction.dolt_log()?.into_iter();
    let start = match name {
        "HEAD" | "main" | "refs/heads/main" => transaction.head_commit(),
        hash => Hash::from_str(hash).map_err(|_| unknown())?,
    };
    let mut wanted = start;
    let mut left = steps_back(steps).ok_or_else(unknown)?;
    // Children come before parents, so one walk over the history meets every step in order.
    loop {
        let (hash, commit) = log.by_ref().find(|(hash, _)| *hash == wanted).ok_or_else(unknown)?;
        if left == 0 {
            return Ok(hash);
        }
        left -= 1;
        wanted = *commit.parents.first().ok_or_else(unknown)?;
    }
}

/// How many first parents `~3^^` goes back.
fn steps_back(mut steps: &str) -> Option<usize> {
    let mut count: usize = 0;
    while let Some(sign) = steps.chars().next() {
        steps = &steps[1..];
        let digits = steps.find(|c: char| !c.is_ascii_digit()).unwrap_or(steps.len());
        let (number, rest) = steps.split_at(digits);
        count = count.checked_add(match (sign, number) {
            ('~', "") | ('^', "" | "1") => 1,
            ('~', number) => number.parse().ok()?,
            _ => return None,
        })?;
        steps = rest;
    }
    Some(count)
}

/// The hash of the database's content: equal exactly when the content is.
fn hash_of_database(catalog: &Catalog, arguments: &[Value]) -> Result<Value, SqlError> {
    let revision = match arguments {
        [] => "WORKING",
        [value, ..] => argument("dolt_hashof_db", Some(value))?,
    };
    let transaction = transaction(catalog)?;
    let hash = match revision {
        "WORKING" => transaction.root_hash(Revision::Working)?,
        "STAGED" => transaction.root_hash(Revision::Staged)?,
        other => {
            let commit = commit_of(transaction, other)?;
            let log = transaction.dolt_log()?;
            let found = log.into_iter().find(|(hash, _)| *hash == commit);
            found
                .ok_or_else(|| SqlError::internal("a commit left the history"))?
                .1
                .root
        }
    };
    Ok(text(hash.to_string()))
}

fn hash_of_table(catalog: &Catalog, arguments: &[Value]) -> Result<Value, SqlError> {
    let name = argument("dolt_hashof_table", arguments.first())?;
    let table = match name.split_once('.') {
        Some((schema, table)) => TableName::new(schema, table),
        None => TableName::public(name),
    };
    match transaction(catalog)?.table_hash(&table)? {
        Some(hash) => Ok(text(hash.to_string())),
        None => Err(SqlError::new(
            SqlErrorKind::UndefinedTable,
            format!("table not found: {name}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::steps_back;

    #[test]
    fn steps_back_are_counted() {
        for (steps, count) in [
            ("", Some(0)),
            ("~", Some(1)),
            ("~2", Some(2)),
            ("^^", Some(2)),
            ("~3^1~", Some(5)),
            ("^2", None),
            ("~x", None),
        ] {
            assert_eq!(steps_back(steps), count, "{steps}");
        }
    }
}
