//! COPY FROM STDIN and COPY TO STDOUT, in text and CSV.

use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{CopySource, CopyTarget, Ident, ObjectName, Statement};
use futures::StreamExt;

use super::Target;
use super::copy_format::{Format, Reader, Record};
use crate::sql::cast;
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names::folded;
use crate::sql::plan;
use crate::sql::result::{CommandTag, CopyInput, PgType, QueryResult, ResultSink, RowStream};
use crate::sql::session::{Parameters, Running, Session};
use crate::sql::text;
use crate::sql::types::pg_type;
use crate::version::Value;

/// How many bytes of output are collected before they are sent.
const OUTPUT_BYTES: usize = 64 << 10;

/// How many bytes of input are taken in between two pauses.
const INPUT_BYTES: usize = 64 << 10;

/// How many rows are written between two pauses.
const ROWS_BETWEEN_PAUSES: usize = 256;

impl Session {
    pub(in crate::sql) async fn copy(
        &mut self,
        statement: &Statement,
        running: &Running,
        out: &mut dyn ResultSink,
    ) -> Result<QueryResult, SqlError> {
        let Statement::Copy {
            source,
            to,
            target,
            options,
            legacy_options,
            ..
        } = statement
        else {
            return Err(SqlError::internal("COPY was asked of another statement"));
        };
        let format = Format::new(options, legacy_options)?;
        let rows = match (source, *to, target) {
            (CopySource::Table { table_name, columns }, false, CopyTarget::Stdin) => {
                self.copy_in(table_name, columns, format, running, out).await?
            }
            (CopySource::Table { table_name, columns }, true, CopyTarget::Stdout) => {
                self.copy_table_out(table_name, columns, &format, running, out).await?
            }
            (CopySource::Query(query), true, CopyTarget::Stdout) => {
                let statement = Statement::Query(query.clone());
                self.copy_query_out(&statement, &format, running, out).await?
            }
            (_, _, CopyTarget::File { .. }) => return Err(SqlError::unsupported("COPY with a file")),
            (_, _, CopyTarget::Program { .. }) => return Err(SqlError::unsupported("COPY with a program")),
            _ => return Err(SqlError::new(SqlErrorKind::Syntax, "COPY goes FROM STDIN or TO STDOUT")),
        };
        Ok(QueryResult::Command {
            tag: CommandTag::Copy,
            affected: rows,
        })
    }

    fn copy_columns(&self, name: &ObjectName, columns: &[Ident]) -> Result<(Target, Vec<usize>), SqlError> {
        let transaction = self.glance().ok_or_else(|| SqlError::undefined_table(name))?;
        let target = self.target(&transaction, name, None)?;
        if columns.is_empty() {
            let all = (0..target.schema.columns.len()).collect();
            return Ok((target, all));
        }
        let mut positions = Vec::with_capacity(columns.len());
        for column in columns {
            let position = target.position(column)?;
            if positions.contains(&position) {
                return Err(SqlError::new(
                    SqlErrorKind::DuplicateColumn,
                    format!("column \"{}\" specified more than once", folded(column)),
                ));
            }
            positions.push(position);
        }
        Ok((target, positions))
    }

    async fn copy_in(
        &mut self,
        name: &ObjectName,
        columns: &[Ident],
        format: Format,
        running: &Running,
        out: &mut dyn ResultSink,
    ) -> Result<u64, SqlError> {
        self.check_copy_in()?;
        let (target, columns) = self.copy_columns(name, columns)?;
        out.copy_in_start(columns.len()).await?;
        let mut reader = Reader::new(format);
        let mut rows = 0;
        loop {
            let input = match running.interruptible(out.copy_in_next()).await? {
                CopyInput::Data(bytes) => Some(bytes),
                CopyInput::Done => None,
                CopyInput::Failed(reason) => {
                    return Err(SqlError::new(
                        SqlErrorKind::Cancelled,
                        format!("COPY from stdin failed: {reason}"),
                    ));
                }
            };
            // One message may hold a million rows: others have their turn between the pieces.
            for piece in input.as_deref().unwrap_or_default().chunks(INPUT_BYTES) {
                let records = reader.feed(piece);
                rows += self
                    .copy_piece(&target, &columns, records, reader.line(), running)
                    .await?;
            }
            if input.is_none() {
                let last = reader.finish().map(|last| last.into_iter().collect());
                rows += self.copy_piece(&target, &columns, last, reader.line(), running).await?;
                return Ok(rows);
            }
        }
    }

    /// Inserts what was read up to `line` and says how many rows that were.
    async fn copy_piece(
        &mut self,
        target: &Target,
        columns: &[usize],
        records: Result<Vec<Record>, SqlError>,
        line: u64,
        running: &Running,
    ) -> Result<u64, SqlError> {
        let place = |error: SqlError| within(error, target, line);
        let records = records.map_err(place)?;
        let rows = records.len() as u64;
        self.copy_records(target, columns, records, running)
            .await
            .map_err(place)?;
        Ok(rows)
    }

    async fn copy_records(
        &mut self,
        target: &Target,
        columns: &[usize],
        records: Vec<Record>,
        running: &Running,
    ) -> Result<(), SqlError> {
        running.pause().await?;
        let style = self.settings.style();
        let mut partial = Vec::with_capacity(records.len());
        for record in records {
            if record.len() > columns.len() {
                return Err(SqlError::new(
                    SqlErrorKind::BadCopyFormat,
                    "extra data after last expected column",
                ));
            }
            if record.len() < columns.len() {
                let missing = &target.schema.columns[columns[record.len()]].name;
                return Err(SqlError::new(
                    SqlErrorKind::BadCopyFormat,
                    format!("missing data for column \"{missing}\""),
                ));
            }
            let mut values = Vec::with_capacity(columns.len());
            for (field, position) in record.into_iter().zip(columns) {
                let value = field.map_or(Value::Null, Value::Text);
                values.push(cast::assign(
                    value,
                    &PgType::UNKNOWN,
                    &target.schema.columns[*position],
                    &style,
                )?);
            }
            partial.push(values);
        }
        let rows = self.fill_defaults(target, columns, partial, running).await?;
        let transaction = self.edit()?;
        for (index, row) in rows.into_iter().enumerate() {
            if index % ROWS_BETWEEN_PAUSES == 0 {
                running.pause().await?;
            }
            transaction.insert(&target.name, row)?;
        }
        Ok(())
    }

    async fn copy_table_out(
        &mut self,
        name: &ObjectName,
        columns: &[Ident],
        format: &Format,
        running: &Running,
        out: &mut dyn ResultSink,
    ) -> Result<u64, SqlError> {
        let (target, columns) = self.copy_columns(name, columns)?;
        let transaction = self.read().ok_or_else(|| SqlError::undefined_table(name))?;
        let style = self.settings.style();
        let types: Vec<PgType> = columns
            .iter()
            .map(|position| pg_type(target.schema.columns[*position].column_type))
            .collect();
        let header = columns
            .iter()
            .map(|position| Some(target.schema.columns[*position].name.clone()))
            .collect();
        let mut output = Output::start(format, header, out).await?;
        for entry in transaction.scan(&target.name, (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded))? {
            let (_, row) = entry?;
            let record = columns
                .iter()
                .zip(&types)
                .map(|(position, pg_type)| text::to_text(&row[*position], pg_type, &style))
                .collect::<Vec<_>>();
            output.write(format, &record, running, out).await?;
        }
        output.finish(out).await
    }

    async fn copy_query_out(
        &mut self,
        statement: &Statement,
        format: &Format,
        running: &Running,
        out: &mut dyn ResultSink,
    ) -> Result<u64, SqlError> {
        let transaction = self.read();
        let context = self.plan_context(transaction);
        let none = Parameters::NONE;
        let work = plan::query(&context, statement, none.values, none.types);
        let RowStream { fields, mut batches } = running.interruptible(work).await?;
        let style = self.settings.style();
        let header = fields.iter().map(|field| Some(field.name.clone())).collect();
        let mut output = Output::start(format, header, out).await?;
        while let Some(batch) = running.interruptible(async { Ok(batches.next().await) }).await? {
            for values in plan::values_of(&fields, batch?)? {
                let record = values
                    .iter()
                    .zip(fields.iter())
                    .map(|(value, field)| text::to_text(value, &field.pg_type, &style))
                    .collect::<Vec<_>>();
                output.write(format, &record, running, out).await?;
            }
        }
        output.finish(out).await
    }
}

/// Output on its way to the client.
struct Output {
    bytes: Vec<u8>,
    rows: u64,
}

impl Output {
    async fn start(format: &Format, header: Record, out: &mut dyn ResultSink) -> Result<Output, SqlError> {
        out.copy_out_start(header.len()).await?;
        let mut bytes = Vec::new();
        if format.header {
            format.write(&mut bytes, &header);
        }
        Ok(Output { bytes, rows: 0 })
    }

    async fn write(
        &mut self,
        format: &Format,
        record: &[Option<String>],
        running: &Running,
        out: &mut dyn ResultSink,
    ) -> Result<(), SqlError> {
        format.write(&mut self.bytes, record);
        self.rows += 1;
        if self.bytes.len() >= OUTPUT_BYTES {
            running.pause().await?;
            out.copy_out_data(Bytes::from(std::mem::take(&mut self.bytes))).await?;
        }
        Ok(())
    }

    async fn finish(self, out: &mut dyn ResultSink) -> Result<u64, SqlError> {
        if !self.bytes.is_empty() {
            out.copy_out_data(Bytes::from(self.bytes)).await?;
        }
        out.copy_out_done().await?;
        Ok(self.rows)
    }
}

/// Says where in the input it happened.
fn within(error: SqlError, target: &Target, line: u64) -> SqlError {
    error.context(format!("COPY {}, up to line {line}", target.name.name))
}
