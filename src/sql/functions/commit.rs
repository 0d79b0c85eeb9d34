//! `dolt_commit` and `dolt_add`: versions of the database, from SQL.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use super::options::Syntax;
use crate::engine::{CommitSpec, EngineError, TableStatus};
use crate::runtime::{self, WallTime};
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names;
use crate::sql::result::PgType;
use crate::sql::session::Session;
use crate::sql::text;
use crate::version::{Person, Value};

const COMMIT: Syntax = Syntax {
    function: "dolt_commit",
    flags: &[
        ("all", Some('a')),
        ("ALL", Some('A')),
        ("allow-empty", None),
        ("skip-empty", None),
        ("force", Some('f')),
        ("skip-verification", None),
        ("amend", None),
        ("gpg-sign", Some('S')),
    ],
    values: &[
        ("message", Some('m')),
        ("author", None),
        ("date", None),
        ("branch", None),
    ],
};

const ADD: Syntax = Syntax {
    function: "dolt_add",
    flags: &[("all", Some('A')), ("force", Some('f'))],
    values: &[],
};

impl Session {
    /// Commits the SQL transaction and a version of it in one write; gives the version's hash. Ends an open block.
    pub(super) async fn version_commit(&mut self, arguments: &[Option<String>]) -> Result<Value, SqlError> {
        let given = COMMIT.read(arguments)?;
        for missing in ["amend", "gpg-sign"] {
            if given.has(missing) {
                return Err(SqlError::unsupported(format_args!("dolt_commit('--{missing}')")));
            }
        }
        if given.value("branch").is_some() {
            return Err(SqlError::unsupported("dolt_commit('--branch')"));
        }
        if let Some(extra) = given.positionals.first() {
            return Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                format!("dolt_commit: unexpected argument `{extra}`"),
            ));
        }
        let message = given
            .value("message")
            .filter(|message| !message.is_empty())
            .ok_or_else(|| {
                SqlError::new(SqlErrorKind::InvalidParameter, "Must provide commit message")
                    .hint("Use dolt_commit('-m', 'what changed').")
            })?;
        if given.has("allow-empty") && given.has("skip-empty") {
            return Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                "error: cannot use both --allow-empty and --skip-empty",
            ));
        }
        let (author, committer) = self.people(given.value("author"), given.value("date"))?;
        let spec = CommitSpec {
            message: message.to_string(),
            author,
            committer,
            allow_empty: given.has("allow-empty"),
        };
        let transaction = self.edit()?;
        if given.has("ALL") {
            transaction.stage_all()?;
        } else if given.has("all") {
            for row in transaction.dolt_status()? {
                if !row.staged && row.status != TableStatus::New {
                    transaction.stage(&row.table)?;
                }
            }
        }
        match transaction.version_commit(spec) {
            Ok(_) => {}
            Err(EngineError::NothingToCommit) if given.has("skip-empty") => return Ok(Value::Null),
            Err(error) => return Err(error.into()),
        }
        let outcome = self.commit_outcome().await?;
        let version = outcome
            .version
            .ok_or_else(|| SqlError::internal("a version commit left no version"))?;
        Ok(Value::Text(version.to_string()))
    }

    /// Stages tables; 0 on success.
    pub(super) fn version_add(&mut self, arguments: &[Option<String>]) -> Result<Value, SqlError> {
        let given = ADD.read(arguments)?;
        if given.positionals.is_empty() && !given.has("all") {
            return Err(
                SqlError::new(SqlErrorKind::InvalidParameter, "Nothing specified, nothing added.")
                    .hint("Maybe you wanted to say dolt_add('.')?"),
            );
        }
        let everything = given.has("all") || given.positionals.iter().any(|name| name == ".");
        let (settings, database) = (self.settings.clone(), self.database_name.clone());
        let transaction = self.edit()?;
        if everything {
            transaction.stage_all()?;
            return Ok(Value::Int8(0));
        }
        for name in &given.positionals {
            let parts: Vec<Ident> = name.split('.').map(|part| Ident::with_quote('"', part)).collect();
            let found = names::find(transaction, &settings, &database, &ObjectName::from(parts))?;
            let table = match found {
                Some((table, _)) => table,
                // A dropped table is staged by name too.
                None => match name.split_once('.') {
                    Some((schema, table)) => crate::version::TableName::new(schema, table),
                    None => crate::version::TableName::public(name.as_str()),
                },
            };
            transaction.stage(&table).map_err(|error| match error {
                EngineError::NoSuchTable { .. } => {
                    SqlError::new(SqlErrorKind::UndefinedTable, format!("table not found: {name}"))
                }
                other => other.into(),
            })?;
        }
        Ok(Value::Int8(0))
    }

    /// Author and committer of a version commit: options, then settings, then the user and the clock.
    fn people(&self, author: Option<&str>, date: Option<&str>) -> Result<(Person, Person), SqlError> {
        let setting = |name: &str| {
            self.settings
                .find(name)
                .ok()
                .flatten()
                .filter(|value| !value.is_empty())
        };
        let email = format!(
            "{}@{}",
            self.user,
            self.client_address.as_deref().unwrap_or("localhost")
        );
        let now = runtime::wall_clock();
        let time = |given: Option<&str>, name: &str| -> Result<WallTime, SqlError> {
            let set = setting(name);
            match given.or(set.as_deref()) {
                Some(text) => date_of(text),
                None => Ok(now),
            }
        };
        let committer = Person {
            name: setting("dolt_committer_name").unwrap_or_else(|| self.user.clone()),
            email: setting("dolt_committer_email").unwrap_or_else(|| email.clone()),
            time: time(date, "dolt_committer_date")?,
        };
        let (name, email) = match author {
            Some(author) => author_of(author)?,
            None => (
                setting("dolt_author_name").unwrap_or_else(|| self.user.clone()),
                setting("dolt_author_email").unwrap_or(email),
            ),
        };
        let author = Person {
            name,
            email,
            time: time(date, "dolt_author_date")?,
        };
        Ok((author, committer))
    }
}

/// `Name <mail>`.
fn author_of(text: &str) -> Result<(String, String), SqlError> {
    let parsed = text.strip_suffix('>').and_then(|rest| rest.split_once('<'));
    match parsed {
        Some((name, email)) if !name.trim().is_empty() && !email.is_empty() => {
            Ok((name.trim().to_string(), email.trim().to_string()))
        }
        _ => Err(SqlError::new(
            SqlErrorKind::InvalidParameter,
            "Author not formatted correctly. Use 'Name <author@example.com>' format",
        )),
    }
}

fn date_of(text: &str) -> Result<WallTime, SqlError> {
    match text::parse_as(text, &PgType::TIMESTAMPTZ, &text::Style::DEFAULT) {
        Ok(Value::Timestamp(micros)) => Ok(WallTime::from_micros(micros)),
        _ => Err(SqlError::new(
            SqlErrorKind::InvalidDatetime,
            format!("error: '{text}' is not in a supported format."),
        )
        .hint("Use YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, or RFC 3339 with a zone.")),
    }
}
