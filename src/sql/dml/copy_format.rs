//! The text and CSV forms of COPY: records to lines and back. Pure; knows nothing of tables.

use datafusion::sql::sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption};

use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names::folded;

/// Longest record of a COPY; a client that sends more without a line's end has gone astray.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// How records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub csv: bool,
    pub header: bool,
    delimiter: u8,
    null: String,
    quote: u8,
    escape: u8,
}

impl Format {
    pub fn new(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<Format, SqlError> {
        let csv = legacy.iter().any(|option| matches!(option, CopyLegacyOption::Csv(_)))
            || match options.iter().find_map(|option| match option {
                CopyOption::Format(name) => Some(folded(name)),
                _ => None,
            }) {
                None => false,
                Some(name) if name == "text" => false,
                Some(name) if name == "csv" => true,
                Some(name) => return Err(SqlError::unsupported(format_args!("COPY format \"{name}\""))),
            };
        let (delimiter, null) = if csv { (b',', "") } else { (b'\t', "\\N") };
        let mut format = Format {
            csv,
            header: false,
            delimiter,
            null: null.to_string(),
            quote: b'"',
            escape: b'"',
        };
        let mut escape = None;
        for option in options {
            match option {
                CopyOption::Format(_) => {}
                CopyOption::Freeze(_) => {}
                CopyOption::Delimiter(c) => format.delimiter = one_byte(*c, "delimiter")?,
                CopyOption::Null(text) => format.null.clone_from(text),
                CopyOption::Header(header) => format.header = *header,
                CopyOption::Quote(c) => format.quote = one_byte(*c, "quote")?,
                CopyOption::Escape(c) => escape = Some(one_byte(*c, "escape")?),
                CopyOption::Encoding(name) if name.to_ascii_uppercase().replace('-', "") == "UTF8" => {}
                other => return Err(SqlError::unsupported(format_args!("COPY option {other}"))),
            }
        }
        for option in legacy {
            match option {
                CopyLegacyOption::Csv(options) => {
                    for option in options {
                        match option {
                            CopyLegacyCsvOption::Header => format.header = true,
                            CopyLegacyCsvOption::Quote(c) => format.quote = one_byte(*c, "quote")?,
                            CopyLegacyCsvOption::Escape(c) => escape = Some(one_byte(*c, "escape")?),
                            other => return Err(SqlError::unsupported(format_args!("COPY option {other}"))),
                        }
                    }
                }
                CopyLegacyOption::Header => format.header = true,
                CopyLegacyOption::Delimiter(c) => format.delimiter = one_byte(*c, "delimiter")?,
                CopyLegacyOption::Null(text) => format.null.clone_from(text),
                CopyLegacyOption::Binary => return Err(SqlError::unsupported("COPY format \"binary\"")),
                other => return Err(SqlError::unsupported(format_args!("COPY option {other}"))),
            }
        }
        format.escape = escape.unwrap_or(format.quote);
        Ok(format)
    }

    /// Appends one record with its line's end.
    pub fn write(&self, out: &mut Vec<u8>, values: &[Option<String>]) {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            match value {
                None => out.extend_from_slice(self.null.as_bytes()),
                Some(text) if self.csv => self.write_csv(out, text, values.len() == 1),
                Some(text) => self.write_text(out, text),
            }
        }
        out.push(b'\n');
    }

    fn write_csv(&self, out: &mut Vec<u8>, text: &str, alone: bool) {
        let special = |byte: u8| byte == self.delimiter || byte == self.quote || matches!(byte, b'\n' | b'\r');
        if text != self.null && !text.bytes().any(special) && !(alone && text == "\\.") {
            out.extend_from_slice(text.as_bytes());
            return;
        }
        out.push(self.quote);
        for byte in text.bytes() {
            if byte == self.quote || byte == self.escape {
                out.push(self.escape);
            }
            out.push(byte);
        }
        out.push(self.quote);
    }

    fn write_text(&self, out: &mut Vec<u8>, text: &str) {
        for byte in text.bytes() {
            let letter = match byte {
                b'\x08' => b'b',
                b'\x0c' => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                b'\x0b' => b'v',
                b'\\' => b'\\',
                byte if byte == self.delimiter => byte,
                byte => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', letter]);
        }
    }
}

fn one_byte(c: char, what: &str) -> Result<u8, SqlError> {
    u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(|| {
        SqlError::new(
            SqlErrorKind::Unsupported,
            format!("COPY {what} must be a single one-byte character"),
        )
    })
}

/// One record: its fields, None for NULL.
pub(super) type Record = Vec<Option<String>>;

/// Turns bytes, as they come, into records.
pub(super) struct Reader {
    format: Format,
    pending: Vec<u8>,
    /// How far `pending` was looked at, and whether that point lies within quotes.
    seen: usize,
    quoted: bool,
    escaped: bool,
    line: u64,
    header_left: bool,
    ended: bool,
}

impl Reader {
    pub fn new(format: Format) -> Reader {
        let header_left = format.header;
        Reader {
            format,
            pending: Vec::new(),
            seen: 0,
            quoted: false,
            escaped: false,
            line: 0,
            header_left,
            ended: false,
        }
    }

    /// The line of the record that was read last.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Takes more bytes; gives the records that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Record>, SqlError> {
        self.pending.extend_from_slice(bytes);
        let mut records = Vec::new();
        let mut start = 0;
        while let Some(end) = self.next_end() {
            if let Some(record) = self.read_line(start, end)? {
                records.push(record);
            }
            start = end + 1;
        }
        self.pending.drain(..start);
        self.seen -= start;
        if self.pending.len() > RECORD_BYTES_MAX {
            return Err(SqlError::new(
                SqlErrorKind::LimitExceeded,
                "a record of COPY is too long",
            ));
        }
        Ok(records)
    }

    /// The last record, which needs no line's end.
    pub fn finish(&mut self) -> Result<Option<Record>, SqlError> {
        if self.quoted {
            return Err(SqlError::new(
                SqlErrorKind::BadCopyFormat,
                "unterminated CSV quoted field",
            ));
        }
        if self.pending.is_empty() {
            return Ok(None);
        }
        let end = self.pending.len();
        let record = self.read_line(0, end);
        self.pending.clear();
        self.seen = 0;
        record
    }

    /// Position of the next newline that ends a record, looking on from `seen`.
    fn next_end(&mut self) -> Option<usize> {
        while self.seen < self.pending.len() {
            let at = self.seen;
            let byte = self.pending[at];
            self.seen += 1;
            if !self.format.csv {
                // A backslash before the newline makes it data.
                let escaped = self.escaped;
                self.escaped = byte == b'\\' && !escaped;
                if byte == b'\n' && !escaped {
                    return Some(at);
                }
                continue;
            }
            if self.escaped {
                self.escaped = false;
            } else if self.quoted && byte == self.format.escape && self.format.escape != self.format.quote {
                self.escaped = true;
            } else if byte == self.format.quote {
                self.quoted = !self.quoted;
            } else if byte == b'\n' && !self.quoted {
                return Some(at);
            }
        }
        None
    }

    fn read_line(&mut self, start: usize, end: usize) -> Result<Option<Record>, SqlError> {
        self.line += 1;
        let mut line = &self.pending[start..end];
        if let [rest @ .., b'\r'] = line {
            line = rest;
        }
        if self.ended {
            return Ok(None);
        }
        if line == b"\\." {
            self.ended = true;
            return Ok(None);
        }
        if std::mem::take(&mut self.header_left) {
            return Ok(None);
        }
        let record = if self.format.csv {
            split_csv(&self.format, line)?
        } else {
            split_text(&self.format, line)?
        };
        Ok(Some(record))
    }
}

/// A zero byte, which `\0` makes, is in no text.
fn utf8(bytes: Vec<u8>) -> Result<String, SqlError> {
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| {
        SqlError::new(
            SqlErrorKind::InvalidEncoding,
            "invalid byte sequence for encoding \"UTF8\"",
        )
    })
}

fn split_text(format: &Format, line: &[u8]) -> Result<Record, SqlError> {
    let mut record = Vec::new();
    let mut raw_start = 0;
    let mut field = Vec::new();
    let mut at = 0;
    loop {
        let end = at >= line.len();
        if end || line[at] == format.delimiter {
            // NULL is told by the bytes as they were sent: `\\N` is the text \N.
            let value = std::mem::take(&mut field);
            let is_null = &line[raw_start..at] == format.null.as_bytes();
            record.push(if is_null { None } else { Some(utf8(value)?) });
            if end {
                return Ok(record);
            }
            at += 1;
            raw_start = at;
            continue;
        }
        if line[at] != b'\\' || at + 1 >= line.len() {
            field.push(line[at]);
            at += 1;
            continue;
        }
        at += 1;
        let (byte, length) = unescape(&line[at..]);
        field.push(byte);
        at += length;
    }
}

/// The byte that the characters after a backslash mean, and how many they are.
fn unescape(rest: &[u8]) -> (u8, usize) {
    let octal = |byte: &&u8| (b'0'..=b'7').contains(*byte);
    match rest[0] {
        b'b' => (8, 1),
        b'f' => (12, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'v' => (11, 1),
        b'0'..=b'7' => {
            let digits = rest.iter().take(3).take_while(octal).count();
            let value = rest[..digits]
                .iter()
                .fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            (u8::try_from(value & 0xff).unwrap_or(0), digits)
        }
        b'x' => {
            let digits = rest[1..]
                .iter()
                .take(2)
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            if digits == 0 {
                return (b'x', 1);
            }
            let value = rest[1..=digits].iter().fold(0u32, |value, digit| {
                value * 16 + char::from(*digit).to_digit(16).unwrap_or(0)
            });
            (u8::try_from(value).unwrap_or(0), digits + 1)
        }
        other => (other, 1),
    }
}

fn split_csv(format: &Format, line: &[u8]) -> Result<Record, SqlError> {
    let mut record = Vec::new();
    let mut at = 0;
    loop {
        let mut field = Vec::new();
        let mut was_quoted = false;
        let mut quoted = false;
        while at < line.len() && (quoted || line[at] != format.delimiter) {
            let byte = line[at];
            if quoted
                && byte == format.escape
                && line
                    .get(at + 1)
                    .is_some_and(|next| *next == format.quote || *next == format.escape)
            {
                field.push(line[at + 1]);
                at += 2;
                continue;
            }
            if byte == format.quote {
                quoted = !quoted;
                was_quoted = true;
            } else {
                field.push(byte);
            }
            at += 1;
        }
        let is_null = !was_quoted && field == format.null.as_bytes();
        record.push(if is_null { None } else { Some(utf8(field)?) });
        if at >= line.len() {
            return Ok(record);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn format(csv: bool) -> Format {
        let legacy = if csv {
            vec![CopyLegacyOption::Csv(Vec::new())]
        } else {
            Vec::new()
        };
        Format::new(&[], &legacy).unwrap()
    }

    fn read(format: Format, bytes: &[u8], chunk: usize) -> Result<Vec<Record>, SqlErrorKind> {
        let mut reader = Reader::new(format);
        let mut records = Vec::new();
        for part in bytes.chunks(chunk) {
            records.extend(reader.feed(part).map_err(|error| error.kind)?);
        }
        records.extend(reader.finish().map_err(|error| error.kind)?);
        Ok(records)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_string())
    }

    #[test]
    fn text_has_escapes_nulls_and_an_end_mark() {
        for zero in [&b"1\ta\\0b\n"[..], b"1\t\\x00\n"] {
            assert_eq!(read(format(false), zero, 3).unwrap_err(), SqlErrorKind::InvalidEncoding);
        }
        let records = read(format(false), b"1\ta\\tb\t\\N\r\n\\\\N\t\\x41\t\n\\.\nignored\n", 3).unwrap();
        assert_eq!(
            records,
            [
                vec![some("1"), some("a\tb"), None],
                vec![some("\\N"), some("A"), some("")]
            ]
        );
    }

    #[test]
    fn csv_has_quotes_over_lines_and_empty_nulls() {
        let records = read(format(true), b"1,\"a,\"\"b\"\"\nc\",\n,\"\",x", 2).unwrap();
        assert_eq!(
            records,
            [
                vec![some("1"), some("a,\"b\"\nc"), None],
                vec![None, some(""), some("x")]
            ]
        );
        assert_eq!(read(format(true), b"\"open\n", 9), Err(SqlErrorKind::BadCopyFormat));
    }

    proptest! {
        /// What COPY TO writes, COPY FROM must read, however the network cuts it.
        #[test]
        fn records_read_back(
            records in prop::collection::vec(prop::collection::vec(prop::option::of("[a-zN\\\\.,\"\t\n\r ä]{0,6}"), 2..4), 0..6),
            csv: bool,
            chunk in 1usize..9,
        ) {
            let format = format(csv);
            let mut bytes = Vec::new();
            for record in &records {
                format.write(&mut bytes, record);
            }
            prop_assert_eq!(read(format, &bytes, chunk).unwrap(), records);
        }
    }
}
