//! `dolt_gc`: upkeep of the store, from SQL.

use super::options::Syntax;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::session::Session;
use crate::version::Value;

const GC: Syntax = Syntax {
    function: "dolt_gc",
    flags: &[("shallow", None), ("full", None)],
    values: &[("archive-level", None), ("incremental-file-size", None)],
};

impl Session {
    /// Gives up what nobody can reach; 0 when it is done. Works in every role, on a read-only server, and beside all
    /// other sessions, this one's open transaction included.
    ///
    /// Source: spec/version-control.md 6.5 and 15, spec/cluster.md Q13.
    pub(super) async fn collect_garbage(&mut self, arguments: &[Option<String>]) -> Result<Value, SqlError> {
        let given = GC.read(arguments)?;
        self.require_superuser("to collect garbage")?;
        if let Some(extra) = given.positionals.first() {
            return Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                format!("dolt_gc: unexpected argument `{extra}`"),
            ));
        }
        for missing in ["archive-level", "incremental-file-size"] {
            if given.value(missing).is_some() {
                return Err(SqlError::unsupported(format_args!("dolt_gc('--{missing}')")));
            }
        }
        if given.has("shallow") && given.has("full") {
            return Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                "dolt_gc: --shallow and --full exclude each other",
            ));
        }
        let Some(database) = self.database.clone() else {
            return Err(SqlError::new(
                SqlErrorKind::NotInState,
                format!("database \"{}\" has no store to collect garbage in", self.database_name),
            ));
        };
        database.collect_garbage().await?;
        Ok(Value::Int8(0))
    }
}
