//! The extended protocol's statements and portals, and what each of its messages does.
//!
//! Invariants
//! - A portal lives no longer than its transaction.
//! - Nothing but a failure is sent here that is not flushed by Sync or Flush, except when much has gathered: the client
//!   hears of a completed command together with the outcome of its transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::Client;
use super::encode::{Format, decode_parameter, encode_row};
use super::message::{Bind, Target};
use super::sink::Sink;
use crate::sql::text::Style;
use crate::sql::{
    CommandTag, Deallocated, PgType, Prepared, QueryResult, RowBatch, RowStream, Session, SqlError, SqlErrorKind,
    TransactionStatus,
};
use crate::version::Value;

/// By name; the empty name is the unnamed one.
#[derive(Default)]
pub(super) struct Extended {
    statements: BTreeMap<String, Arc<Prepared>>,
    portals: BTreeMap<String, Portal>,
}

struct Portal {
    statement: Arc<Prepared>,
    /// One per result column.
    formats: Vec<Format>,
    style: Style,
    state: PortalState,
}

enum PortalState {
    Ready {
        parameters: Vec<Value>,
    },
    Suspended(Rows),
    /// All rows of a query were sent: more gives none.
    Exhausted(CommandTag),
    /// A command was executed; it cannot be again.
    Done,
    /// Executing failed.
    Broken,
}

/// A result that is being sent.
struct Rows {
    stream: RowStream,
    tag: CommandTag,
    /// What is left of the batch at hand: the batch and its next row.
    rest: Option<(RowBatch, usize)>,
}

impl Extended {
    /// What a simple query does to the unnamed statement and portal.
    pub fn forget_unnamed(&mut self) {
        self.statements.remove("");
        self.portals.remove("");
    }

    /// SQL's DEALLOCATE reaches the protocol's statements too: drivers use it to forget theirs.
    pub fn deallocate(&mut self, forgotten: &Deallocated) {
        match forgotten {
            Deallocated::All => self.statements.clear(),
            Deallocated::Named(name) => drop(self.statements.remove(name)),
        }
    }

    /// Portals end with their transaction.
    pub fn transaction_ended(&mut self, status: TransactionStatus) {
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
    }

    pub async fn parse<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        client: &mut Client<S>,
        session: &mut Session,
        name: String,
        sql: &str,
        oids: &[u32],
    ) -> Result<Arc<Prepared>, SqlError> {
        if name.is_empty() {
            self.statements.remove("");
        } else if self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(SqlErrorKind::DuplicatePrepared, message));
        }
        let types = oids
            .iter()
            .map(|oid| parameter_type(*oid))
            .collect::<Result<Vec<_>, _>>()?;
        let prepared = Arc::new(session.prepare(sql, &types).await?);
        self.statements.insert(name, prepared.clone());
        client.reply().parse_complete();
        Ok(prepared)
    }

    pub fn bind<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        client: &mut Client<S>,
        session: &Session,
        bind: Bind,
    ) -> Result<(), SqlError> {
        let statement = self.statement(&bind.statement)?.clone();
        if bind.portal.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(SqlError::new(SqlErrorKind::DuplicatePortal, message));
        }
        let (given, wanted) = (bind.parameters.len(), statement.params.len());
        if given != wanted {
            let message = format!(
                "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.statement
            );
            return Err(SqlError::new(SqlErrorKind::Protocol, message));
        }
        let style = session.settings().style();
        let formats = formats(&bind.parameter_formats, wanted, "parameter")?;
        let parameters = bind
            .parameters
            .iter()
            .zip(statement.params.iter().zip(formats))
            .map(|(bytes, (pg_type, format))| decode_parameter(bytes.as_deref(), pg_type, format, &style))
            .collect::<Result<Vec<_>, _>>()?;
        let columns = statement.columns.as_ref().map_or(0, Vec::len);
        // A statement without rows ignores formats: drivers ask for binary before they know.
        let formats = if columns == 0 {
            Vec::new()
        } else {
            formats_of_result(&bind.result_formats, columns)?
        };
        let portal = Portal {
            statement,
            formats,
            style,
            state: PortalState::Ready { parameters },
        };
        self.portals.insert(bind.portal, portal);
        client.reply().bind_complete();
        Ok(())
    }

    pub fn describe<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        client: &mut Client<S>,
        target: Target,
        name: &str,
    ) -> Result<(), SqlError> {
        let (statement, formats) = match target {
            Target::Statement => {
                let statement = self.statement(name)?;
                client.reply().parameter_description(&statement.params);
                (statement, None)
            }
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (&portal.statement, Some(portal.formats.as_slice()))
            }
        };
        match &statement.columns {
            Some(columns) => {
                let text = vec![Format::Text; columns.len()];
                client.reply().row_description(columns, formats.unwrap_or(&text));
            }
            None => client.reply().no_data(),
        }
        Ok(())
    }

    pub async fn execute<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        client: &mut Client<S>,
        session: &mut Session,
        name: &str,
        rows_max: u32,
        query_log_bytes_max: usize,
    ) -> Result<(), SqlError> {
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let rows = match std::mem::replace(&mut portal.state, PortalState::Broken) {
            PortalState::Ready { parameters } => match session
                .execute(
                    &portal.statement,
                    parameters,
                    &mut Sink {
                        client,
                        query_log_bytes_max,
                    },
                )
                .await?
            {
                QueryResult::Rows { rows, tag } => Rows {
                    stream: rows,
                    tag,
                    rest: None,
                },
                QueryResult::Command { tag, affected } => {
                    portal.state = PortalState::Done;
                    client.reply().command_complete(&tag.complete(affected));
                    return Ok(());
                }
                QueryResult::Empty => {
                    portal.state = PortalState::Done;
                    client.reply().empty_query_response();
                    return Ok(());
                }
            },
            PortalState::Suspended(rows) => {
                session.fetch_more()?;
                rows
            }
            PortalState::Exhausted(tag) => {
                client.reply().command_complete(&tag.complete(0));
                portal.state = PortalState::Exhausted(tag);
                return Ok(());
            }
            PortalState::Done | PortalState::Broken => {
                let message = format!("portal \"{name}\" cannot be run");
                return Err(SqlError::new(SqlErrorKind::NotInState, message));
            }
        };
        let sent = portal.send(client, rows, rows_max).await;
        session.fetched();
        sent
    }

    pub fn close<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        client: &mut Client<S>,
        target: Target,
        name: &str,
    ) {
        // Closing what does not exist is no error, as the protocol has it.
        match target {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        client.reply().close_complete();
    }

    fn statement(&self, name: &str) -> Result<&Arc<Prepared>, SqlError> {
        self.statements.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            SqlError::new(SqlErrorKind::UndefinedPrepared, message)
        })
    }
}

impl Portal {
    /// Sends rows, at most `rows_max` unless that is 0, and what becomes of the portal.
    async fn send<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        client: &mut Client<S>,
        mut rows: Rows,
        rows_max: u32,
    ) -> Result<(), SqlError> {
        let mut sent: u64 = 0;
        loop {
            let (batch, next) = match rows.rest.take() {
                Some((batch, next)) if next < batch.rows() => (batch, next),
                _ => match rows.stream.batches.next().await {
                    Some(batch) => (batch?, 0),
                    None => {
                        client.reply().command_complete(&rows.tag.complete(sent));
                        self.state = PortalState::Exhausted(rows.tag);
                        return Ok(());
                    }
                },
            };
            let room = match rows_max {
                0 => usize::MAX,
                rows_max => (u64::from(rows_max) - sent) as usize,
            };
            let end = batch.rows().min(next.saturating_add(room));
            for row in next..end {
                let (fields, formats, style) = (&rows.stream.fields, &self.formats, &self.style);
                let body = |body: &mut _| encode_row(body, fields, formats, &batch, row, style);
                client.reply().data_row(fields.len(), body)?;
                client.flush_if_full().await?;
            }
            sent += (end - next) as u64;
            rows.rest = Some((batch, end));
            if rows_max != 0 && sent == u64::from(rows_max) {
                client.reply().portal_suspended();
                self.state = PortalState::Suspended(rows);
                return Ok(());
            }
        }
    }
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new(
        SqlErrorKind::UndefinedPortal,
        format!("portal \"{name}\" does not exist"),
    )
}

/// `None` where the client leaves the type to the server.
fn parameter_type(oid: u32) -> Result<Option<PgType>, SqlError> {
    const UNKNOWN: u32 = 705;
    if oid == 0 || oid == UNKNOWN {
        return Ok(None);
    }
    let unknown = || {
        SqlError::new(
            SqlErrorKind::UndefinedObject,
            format!("type with OID {oid} does not exist"),
        )
    };
    PgType::from_oid(oid).map(Some).ok_or_else(unknown)
}

/// Format codes: none is text for all, one is for all, else one each.
fn formats(codes: &[i16], count: usize, what: &str) -> Result<Vec<Format>, SqlError> {
    match codes {
        [] => Ok(vec![Format::Text; count]),
        [code] => Ok(vec![Format::from_code(*code)?; count]),
        codes if codes.len() == count => codes.iter().map(|code| Format::from_code(*code)).collect(),
        codes => {
            let message = format!("bind message has {} {what} formats but {count} {what}s", codes.len());
            Err(SqlError::new(SqlErrorKind::Protocol, message))
        }
    }
}

fn formats_of_result(codes: &[i16], columns: usize) -> Result<Vec<Format>, SqlError> {
    formats(codes, columns, "result column")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_codes_are_none_one_or_one_each() {
        use Format::{Binary, Text};
        assert_eq!(formats(&[], 2, "parameter"), Ok(vec![Text, Text]));
        assert_eq!(formats(&[1], 2, "parameter"), Ok(vec![Binary, Binary]));
        assert_eq!(formats(&[1, 0], 2, "parameter"), Ok(vec![Binary, Text]));
        assert_eq!(formats(&[1], 0, "parameter"), Ok(vec![]));
        assert_eq!(
            formats(&[1, 0], 3, "parameter").unwrap_err().kind,
            SqlErrorKind::Protocol
        );
        assert_eq!(
            formats(&[2], 1, "parameter").unwrap_err().kind,
            SqlErrorKind::InvalidParameter
        );
    }

    #[test]
    fn parameter_types_by_oid() {
        assert_eq!(parameter_type(0), Ok(None));
        assert_eq!(parameter_type(705), Ok(None));
        assert_eq!(parameter_type(23), Ok(Some(PgType::INT4)));
        assert_eq!(
            parameter_type(4_000_000_000).unwrap_err().kind,
            SqlErrorKind::UndefinedObject
        );
    }
}
