//! Texts that a session has parsed lately: programs send the same few again and again, and reading one takes longer than
//! carrying out what it says of a row.
//!
//! What a text means to the parser depends on nothing but the text. Nothing that may hold a secret is kept.
//!
//! Must not know: what statements do.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Statement;

use crate::sql::depth::Weight;
use crate::sql::error::SqlError;
use crate::sql::parse;

/// A statement that was parsed, and what stack it needs.
pub(super) type Parsed = (Arc<Statement>, Weight);

/// All texts together; what the parser makes of them is some fifty times as large.
const TEXT_BYTES_MAX: usize = 4 << 10;

#[derive(Default)]
pub(super) struct Memo {
    /// The newest used first.
    texts: VecDeque<(Box<str>, Vec<Parsed>)>,
    bytes: usize,
}

impl Memo {
    /// The statements of a text.
    ///
    /// # Errors
    /// As of [`parse::parse_weighed`].
    pub fn parsed(&mut self, sql: &str) -> Result<Vec<Parsed>, SqlError> {
        if let Some(at) = self.texts.iter().position(|(text, _)| **text == *sql) {
            let known = self.texts.remove(at).expect("it was found there");
            let statements = known.1.clone();
            self.texts.push_front(known);
            return Ok(statements);
        }
        let statements: Vec<Parsed> = parse::parse_weighed(sql)?
            .into_iter()
            .map(|(statement, weight)| (Arc::new(statement), weight))
            .collect();
        if sql.len() <= TEXT_BYTES_MAX / 4 && statements.iter().all(|(statement, _)| is_kept(statement)) {
            self.bytes += sql.len();
            self.texts.push_front((sql.into(), statements.clone()));
            while self.bytes > TEXT_BYTES_MAX {
                let oldest = self.texts.pop_back().map_or(0, |(text, _)| text.len());
                self.bytes -= oldest;
            }
        }
        Ok(statements)
    }
}

/// What programs repeat, and no statement about roles, whose text may hold a password.
fn is_kept(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(memo: &mut Memo, sql: &str) -> bool {
        let first = memo.parsed(sql).unwrap();
        let second = memo.parsed(sql).unwrap();
        assert_eq!(first, second);
        first
            .iter()
            .zip(&second)
            .all(|(one, other)| Arc::ptr_eq(&one.0, &other.0))
    }

    #[test]
    fn a_text_is_parsed_once() {
        let mut memo = Memo::default();
        assert!(same(&mut memo, "SELECT 1; INSERT INTO t VALUES ($1)"));
        assert!(same(&mut memo, "COMMIT"));
        assert_ne!(memo.parsed("SELECT 'a'").unwrap(), memo.parsed("SELECT 'A'").unwrap());
        assert!(memo.parsed("SELECT (1").is_err() && memo.parsed("SELEC 1").is_err());
    }

    #[test]
    fn no_password_is_kept_and_no_long_text() {
        let mut memo = Memo::default();
        for sql in [
            "CREATE ROLE r LOGIN PASSWORD 'secret'".to_owned(),
            "ALTER ROLE r PASSWORD 'secret'; SELECT 1".to_owned(),
            format!("SELECT '{}'", "x".repeat(TEXT_BYTES_MAX / 4)),
        ] {
            assert!(!same(&mut memo, &sql), "{sql}");
            assert!(memo.texts.is_empty());
        }
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut memo = Memo::default();
        let text = |number: usize| format!("SELECT {number}, '{}'", "x".repeat(200));
        for number in 0..100 {
            memo.parsed(&text(number)).unwrap();
            memo.parsed("SELECT 'again and again'").unwrap();
        }
        let bytes: usize = memo.texts.iter().map(|(text, _)| text.len()).sum();
        assert!(bytes == memo.bytes && bytes <= TEXT_BYTES_MAX, "{bytes}");
        let known = |sql: &str| memo.texts.iter().any(|(text, _)| **text == *sql);
        assert!(known("SELECT 'again and again'") && known(&text(99)) && !known(&text(0)));
    }
}
