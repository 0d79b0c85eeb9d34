//! What the server sends, appended to a buffer.

use bytes::{BufMut, BytesMut};

use super::encode::Format;
use super::sqlstate::{Severity, SqlState};
use crate::sql::error::ErrorObject;
use crate::sql::{FieldInfo, PgType, TransactionStatus};

/// Writes messages into a buffer that is sent when it is full or the client waits.
pub(super) struct Reply<'a>(pub &'a mut BytesMut);

/// The words of an ErrorResponse or NoticeResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub severity: Severity,
    pub code: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// In characters, from 1.
    pub position: Option<u32>,
    pub context: Option<Box<str>>,
    pub object: Option<Box<ErrorObject>>,
}

impl Report {
    pub fn new(severity: Severity, code: SqlState, message: impl Into<String>) -> Report {
        Report {
            severity,
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            object: None,
        }
    }
}

impl Reply<'_> {
    /// A message of this kind: its length is filled in after `body` has written the rest.
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut BytesMut)) {
        self.0.put_u8(kind);
        let start = self.0.len();
        self.0.put_u32(0);
        body(self.0);
        self.set_length(start);
    }

    fn set_length(&mut self, start: usize) {
        let length = u32::try_from(self.0.len() - start).expect("a reply of 4 GiB was not split");
        self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub fn authentication_ok(&mut self) {
        self.message(b'R', |body| body.put_u32(0));
    }

    pub fn authentication_sasl(&mut self, mechanism: &str) {
        self.message(b'R', |body| {
            body.put_u32(10);
            put_text(body, mechanism);
            body.put_u8(0);
        });
    }

    pub fn authentication_sasl_continue(&mut self, data: &str) {
        self.message(b'R', |body| {
            body.put_u32(11);
            body.put_slice(data.as_bytes());
        });
    }

    pub fn authentication_sasl_final(&mut self, data: &str) {
        self.message(b'R', |body| {
            body.put_u32(12);
            body.put_slice(data.as_bytes());
        });
    }

    /// The newest minor version spoken here, and the options that nobody here knows.
    pub fn negotiate_protocol_version(&mut self, minor: u16, unknown: &[&str]) {
        self.message(b'v', |body| {
            body.put_u32((3 << 16) | u32::from(minor));
            body.put_u32(unknown.len() as u32);
            unknown.iter().for_each(|name| put_text(body, name));
        });
    }

    pub fn parameter_status(&mut self, name: &str, value: &str) {
        self.message(b'S', |body| {
            put_text(body, name);
            put_text(body, value);
        });
    }

    pub fn backend_key_data(&mut self, pid: i32, secret: i32) {
        self.message(b'K', |body| {
            body.put_i32(pid);
            body.put_i32(secret);
        });
    }

    pub fn ready_for_query(&mut self, status: TransactionStatus) {
        let letter = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.message(b'Z', |body| body.put_u8(letter));
    }

    pub fn error(&mut self, report: &Report) {
        self.report(b'E', report);
    }

    pub fn notice(&mut self, report: &Report) {
        self.report(b'N', report);
    }

    fn report(&mut self, kind: u8, report: &Report) {
        let position = report.position.map(|position| position.to_string());
        let object =
            |name: fn(&ErrorObject) -> &Option<String>| report.object.as_deref().and_then(|o| name(o).as_deref());
        let fields = [
            (b'S', Some(report.severity.as_str())),
            (b'V', Some(report.severity.as_str())),
            (b'C', Some(report.code.as_str())),
            (b'M', Some(report.message.as_str())),
            (b'D', report.detail.as_deref()),
            (b'H', report.hint.as_deref()),
            (b'P', position.as_deref()),
            (b'W', report.context.as_deref()),
            (b's', object(|object| &object.schema)),
            (b't', object(|object| &object.table)),
            (b'c', object(|object| &object.column)),
            (b'n', object(|object| &object.constraint)),
        ];
        self.message(kind, |body| {
            for (letter, text) in fields {
                if let Some(text) = text {
                    body.put_u8(letter);
                    put_text(body, text);
                }
            }
            body.put_u8(0);
        });
    }

    pub fn row_description(&mut self, fields: &[FieldInfo], formats: &[Format]) {
        self.message(b'T', |body| {
            body.put_u16(fields.len() as u16);
            for (field, format) in fields.iter().zip(formats) {
                put_text(body, &field.name);
                body.put_u32(0);
                body.put_i16(0);
                body.put_u32(field.pg_type.oid());
                body.put_i16(crate::sql::types::length(&field.pg_type));
                body.put_i32(field.typmod);
                body.put_i16(format.code());
            }
        });
    }

    /// One row of `columns` fields, each written by `fields` with its length. Nothing is written when that fails.
    pub fn data_row<E>(
        &mut self,
        columns: usize,
        fields: impl FnOnce(&mut BytesMut) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.0.len();
        self.0.put_u8(b'D');
        let start = self.0.len();
        self.0.put_u32(0);
        self.0.put_u16(columns as u16);
        match fields(self.0) {
            Ok(()) => self.set_length(start),
            Err(error) => {
                self.0.truncate(before);
                return Err(error);
            }
        }
        Ok(())
    }

    pub fn parameter_description(&mut self, types: &[PgType]) {
        self.message(b't', |body| {
            body.put_u16(types.len() as u16);
            types.iter().for_each(|pg_type| body.put_u32(pg_type.oid()));
        });
    }

    pub fn command_complete(&mut self, tag: &str) {
        self.message(b'C', |body| put_text(body, tag));
    }

    /// Text format for every column.
    pub fn copy_in_response(&mut self, columns: usize) {
        self.copy_response(b'G', columns);
    }

    pub fn copy_out_response(&mut self, columns: usize) {
        self.copy_response(b'H', columns);
    }

    fn copy_response(&mut self, kind: u8, columns: usize) {
        self.message(kind, |body| {
            body.put_u8(0);
            body.put_u16(columns as u16);
            (0..columns).for_each(|_| body.put_i16(0));
        });
    }

    pub fn copy_data(&mut self, data: &[u8]) {
        self.message(b'd', |body| body.put_slice(data));
    }

    pub fn copy_done(&mut self) {
        self.message(b'c', |_| {});
    }

    pub fn parse_complete(&mut self) {
        self.message(b'1', |_| {});
    }

    pub fn bind_complete(&mut self) {
        self.message(b'2', |_| {});
    }

    pub fn close_complete(&mut self) {
        self.message(b'3', |_| {});
    }

    pub fn no_data(&mut self) {
        self.message(b'n', |_| {});
    }

    pub fn portal_suspended(&mut self) {
        self.message(b's', |_| {});
    }

    pub fn empty_query_response(&mut self) {
        self.message(b'I', |_| {});
    }
}

/// Text with its terminator. A zero byte inside would end the field early, and the client would read the rest as
/// further fields.
fn put_text(body: &mut BytesMut, text: &str) {
    if text.contains('\0') {
        body.put_slice(text.replace('\0', "\u{fffd}").as_bytes());
    } else {
        body.put_slice(text.as_bytes());
    }
    body.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::sqlstate::sqlstate;
    use crate::sql::SqlErrorKind;

    #[test]
    fn lengths_count_themselves_and_errors_are_terminated() {
        let mut buffer = BytesMut::new();
        let mut reply = Reply(&mut buffer);
        reply.ready_for_query(TransactionStatus::Failed);
        reply.error(&Report {
            hint: Some("h".into()),
            position: Some(7),
            context: Some("w".into()),
            object: Some(Box::new(ErrorObject {
                table: Some("t".into()),
                constraint: Some("t_pkey".into()),
                ..ErrorObject::default()
            })),
            ..Report::new(Severity::Error, sqlstate(SqlErrorKind::Syntax).0, "a\0b")
        });
        let expected = "Z\0\0\0\x05EE\0\0\x005SERROR\0VERROR\0C42601\0Ma\u{fffd}b\0Hh\0P7\0Ww\0tt\0nt_pkey\0\0";
        assert_eq!(buffer, expected.as_bytes());
    }

    #[test]
    fn a_row_that_cannot_be_encoded_leaves_nothing() {
        let mut buffer = BytesMut::from(&b"before"[..]);
        let failed = Reply(&mut buffer).data_row(1, |body| {
            body.put_slice(b"half");
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(&buffer[..], b"before");
        Reply(&mut buffer)
            .data_row(1, |body| {
                body.put_i32(-1);
                Ok::<(), ()>(())
            })
            .unwrap();
        assert_eq!(&buffer[6..], b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff");
    }
}
