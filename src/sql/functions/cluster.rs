//! `dolt_assume_cluster_role(role, epoch)`: an operator changes this server's role.

use super::{required, wrong_count};
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::session::Session;
use crate::version::Value;

const NAME: &str = "dolt_assume_cluster_role";

/// Without a cluster its functions do not exist (spec/cluster.md 3.1).
pub(super) fn not_found(name: &str) -> SqlError {
    SqlError::new(SqlErrorKind::UndefinedFunction, format!("function {name} not found"))
        .hint("This server is not part of a cluster: its configuration has no section \"cluster\".")
}

impl Session {
    /// 0 on success. If the role changed, this connection can be used for nothing more: what it knows of the server is
    /// stale. Source: spec/cluster.md 3.1, 3.2, 3.5.
    pub(super) async fn assume_cluster_role(&mut self, arguments: &[Option<String>]) -> Result<Value, SqlError> {
        let Some(cluster) = self.engine.cluster() else {
            return Err(not_found(NAME));
        };
        let [role, epoch] = arguments else {
            return Err(wrong_count(NAME, 2, arguments.len()));
        };
        if !self.is_superuser()? {
            return Err(SqlError::new(
                SqlErrorKind::InsufficientPrivilege,
                format!("permission denied for function {NAME}"),
            )
            .hint("Only a superuser may change the role of the server."));
        }
        self.refuse_in_block(NAME)?;
        let (role, epoch) = (required(NAME, role)?, required(NAME, epoch)?);
        let epoch: i64 = epoch.trim().parse().map_err(|_| {
            SqlError::new(
                SqlErrorKind::InvalidText,
                format!("invalid input syntax for type bigint: \"{epoch}\""),
            )
        })?;
        cluster.assume_role(role, epoch, self.handle.id()).await?;
        if self.handle.is_tainted() {
            self.give_up();
        }
        Ok(Value::Int8(0))
    }
}
