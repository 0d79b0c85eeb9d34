//! Definitions: tables, databases, roles. What is not listed here is refused by name (0A000).

mod database;
mod role;
mod table;

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType};

use super::error::SqlError;
use super::names;
use super::result::{CommandTag, Notice, NoticeKind, NoticeSeverity, QueryResult};
use super::session::Session;

fn done(words: &'static str) -> QueryResult {
    QueryResult::Command {
        tag: CommandTag::Plain(words),
        affected: 0,
    }
}

/// "relation "t" already exists, skipping" and its kin.
fn skipped(kind: NoticeKind, message: String) -> Notice {
    Notice {
        severity: NoticeSeverity::Notice,
        kind,
        message,
        detail: None,
    }
}

/// A name of one part: of a database or a role.
fn single_name(name: &ObjectName) -> Result<String, SqlError> {
    let mut parts = names::parts(name)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(SqlError::unsupported(format_args!("the qualified name {name} here"))),
    }
}

impl Session {
    pub(in crate::sql) async fn drop_objects(
        &mut self,
        object_type: &ObjectType,
        if_exists: bool,
        names: &[ObjectName],
        cascade: bool,
    ) -> Result<QueryResult, SqlError> {
        match object_type {
            ObjectType::Table => self.drop_tables(names, if_exists, cascade),
            ObjectType::Database => self.drop_database(names, if_exists).await,
            ObjectType::Role | ObjectType::User => self.drop_roles(names, if_exists).await,
            other => Err(SqlError::unsupported(format_args!("DROP {other}"))),
        }
    }
}
