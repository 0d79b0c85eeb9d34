//! Where the results of a simple query go, and the data of any COPY: straight to the client, all in text.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::client::Client;
use super::encode::{Format, encode_row};
use super::reply::Report;
use crate::engine::SessionId;
use crate::sql::text::Style;
use crate::sql::{CopyInput, FieldInfo, Notice, ResultSink, RowBatch, SqlError};

pub(super) struct Sink<'a, S> {
    pub client: &'a mut Client<S>,
    /// Logged SQL is cut to this; 0 does not cut.
    pub query_log_bytes_max: usize,
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send> ResultSink for Sink<'_, S> {
    fn parsed(&mut self, loggable: &str) {
        log_statement(self.client.handle.id(), loggable, self.query_log_bytes_max);
    }

    async fn row_description(&mut self, fields: &[FieldInfo]) -> Result<(), SqlError> {
        self.client
            .reply()
            .row_description(fields, &vec![Format::Text; fields.len()]);
        Ok(())
    }

    async fn rows(&mut self, fields: &[FieldInfo], batch: RowBatch, style: &Style) -> Result<(), SqlError> {
        let formats = vec![Format::Text; fields.len()];
        for row in 0..batch.rows() {
            self.client.reply().data_row(fields.len(), |body| {
                encode_row(body, fields, &formats, &batch, row, style)
            })?;
            self.client.flush_if_full().await?;
        }
        Ok(())
    }

    async fn complete(&mut self, tag: String) -> Result<(), SqlError> {
        self.client.reply().command_complete(&tag);
        self.client.flush_if_full().await
    }

    async fn empty(&mut self) -> Result<(), SqlError> {
        self.client.reply().empty_query_response();
        Ok(())
    }

    async fn notice(&mut self, notice: Notice) -> Result<(), SqlError> {
        self.client.reply().notice(&Report::of_notice(&notice));
        Ok(())
    }

    async fn parameter_status(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        self.client.reply().parameter_status(name, value);
        Ok(())
    }

    async fn copy_in_start(&mut self, columns: usize) -> Result<(), SqlError> {
        self.client.reply().copy_in_response(columns);
        self.client.flush().await
    }

    async fn copy_in_next(&mut self) -> Result<CopyInput, SqlError> {
        self.client.next_copy_input().await
    }

    async fn copy_out_start(&mut self, columns: usize) -> Result<(), SqlError> {
        self.client.reply().copy_out_response(columns);
        Ok(())
    }

    async fn copy_out_data(&mut self, data: Bytes) -> Result<(), SqlError> {
        self.client.copy_data(&data);
        self.client.flush_if_full().await
    }

    async fn copy_out_done(&mut self) -> Result<(), SqlError> {
        self.client.reply().copy_done();
        Ok(())
    }
}

/// Logs what of a statement's text may be logged.
pub(super) fn log_statement(session: SessionId, loggable: &str, bytes_max: usize) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let mut end = match bytes_max {
        0 => loggable.len(),
        max => max.min(loggable.len()),
    };
    while !loggable.is_char_boundary(end) {
        end -= 1;
    }
    debug!(session = session.0, sql = &loggable[..end], "statement");
}
