//! COPY.

use datafusion::sql::sqlparser::ast::Statement;

use crate::sql::error::SqlError;
use crate::sql::result::{QueryResult, ResultSink};
use crate::sql::session::{Running, Session};

impl Session {
    pub(in crate::sql) async fn copy(
        &mut self,
        _statement: &Statement,
        _running: &Running,
        _out: &mut dyn ResultSink,
    ) -> Result<QueryResult, SqlError> {
        Err(SqlError::unsupported("COPY"))
    }
}
