//! CREATE DATABASE and DROP DATABASE.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::{done, single_name, skipped};
use crate::engine::EngineError;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names;
use crate::sql::result::{NoticeKind, QueryResult};
use crate::sql::session::Session;

impl Session {
    pub(in crate::sql) async fn create_database(
        &mut self,
        name: &ObjectName,
        if_not_exists: bool,
    ) -> Result<QueryResult, SqlError> {
        self.require_superuser("to create database")?;
        self.refuse_in_block("CREATE DATABASE")?;
        let name = single_name(name)?;
        names::check_new(&name)?;
        match self.engine.create_database(&name).await {
            Ok(_) => {}
            Err(EngineError::DuplicateDatabase { .. }) if if_not_exists => {
                let message = format!("database \"{name}\" already exists, skipping");
                self.notice(skipped(NoticeKind::DuplicateDatabase, message));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(done("CREATE DATABASE"))
    }

    pub(super) async fn drop_database(
        &mut self,
        names: &[ObjectName],
        if_exists: bool,
    ) -> Result<QueryResult, SqlError> {
        self.require_superuser("to drop database")?;
        self.refuse_in_block("DROP DATABASE")?;
        let [name] = names else {
            return Err(SqlError::new(SqlErrorKind::Syntax, "DROP DATABASE takes one name"));
        };
        let name = single_name(name)?;
        if name == self.database_name {
            return Err(SqlError::new(
                SqlErrorKind::ObjectInUse,
                "cannot drop the currently open database",
            ));
        }
        match self.engine.drop_database(&name).await {
            Ok(()) => {}
            Err(EngineError::NoSuchDatabase { .. }) if if_exists => {
                let message = format!("database \"{name}\" does not exist, skipping");
                self.notice(skipped(NoticeKind::Skipped, message));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(done("DROP DATABASE"))
    }

    /// 25001.
    pub(in crate::sql) fn refuse_in_block(&self, what: &str) -> Result<(), SqlError> {
        if self.in_block() {
            return Err(SqlError::new(
                SqlErrorKind::ActiveTransaction,
                format!("{what} cannot run inside a transaction block"),
            ));
        }
        Ok(())
    }

    /// Whether the session's role is a superuser at this moment: it may have been made one, or be one no longer, since the
    /// session began. A role that is gone is none.
    pub(in crate::sql) fn is_superuser(&self) -> Result<bool, SqlError> {
        let role = self.engine.system().role(&self.user)?;
        Ok(role.is_some_and(|role| role.superuser))
    }

    /// 42501.
    pub(in crate::sql) fn require_superuser(&self, what: &str) -> Result<(), SqlError> {
        if self.is_superuser()? {
            return Ok(());
        }
        Err(
            SqlError::new(SqlErrorKind::InsufficientPrivilege, format!("permission denied {what}"))
                .hint("Only a superuser may do this."),
        )
    }
}
