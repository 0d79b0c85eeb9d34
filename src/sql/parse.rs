//! Text to statements: PostgreSQL's dialect as sqlparser reads it, errors in PostgreSQL's words.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::error::{SqlError, SqlErrorKind};

/// Longest text of one message that is parsed; beyond it a client has gone astray, and tokens cost fifty times their text.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// The statements of a text, in order. Empty statements (`;;`) are none.
///
/// # Errors
/// `Syntax` with a position, `LimitExceeded` for expressions nested too deeply and texts that are too long.
pub fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(SqlError::new(
            SqlErrorKind::LimitExceeded,
            format!("a statement of {} bytes is too long", text.len()),
        )
        .hint(format!("The longest is {TEXT_BYTES_MAX} bytes.")));
    }
    if text.contains('\0') {
        return Err(SqlError::new(
            SqlErrorKind::InvalidEncoding,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    let dialect = PostgreSqlDialect {};
    let mut tokens = Vec::new();
    if let Err(error) = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut tokens) {
        return Err(SqlError::new(SqlErrorKind::Syntax, sentence(&error.message)).at(position(text, error.location)));
    }
    let tokens = respell(tokens);
    Parser::new(&dialect)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| syntax(text, error))
}

/// Writes PostgreSQL's own spellings in words that the parser knows: ABORT as ROLLBACK, and users as roles, which is what
/// they are (`CREATE USER` is `CREATE ROLE ... LOGIN`).
fn respell(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 2);
    let mut statement = Vec::new();
    let mut last_copies = false;
    for token in tokens {
        if token.token != Token::SemiColon {
            statement.push(token);
            continue;
        }
        last_copies = respell_statement(&mut statement);
        out.append(&mut statement);
        out.push(token);
    }
    if statement
        .iter()
        .all(|token| matches!(token.token, Token::Whitespace(_) | Token::EOF))
    {
        // The parser reads what follows `COPY ... FROM STDIN;` as the data; here the data has messages of its own.
        if last_copies {
            out.pop();
        }
    } else {
        respell_statement(&mut statement);
    }
    out.append(&mut statement);
    out
}

/// Whether it is a COPY.
fn respell_statement(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let words: Vec<usize> = (0..tokens.len())
        .filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_)))
        .collect();
    let is = |at: Option<&usize>, wanted: &str| {
        at.is_some_and(|at| match &tokens[*at].token {
            Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
            _ => false,
        })
    };
    let copies = is(words.first(), "copy");
    if is(words.first(), "abort") {
        tokens[words[0]].token = Token::make_keyword("ROLLBACK");
    } else if is(words.get(1), "user") && (is(words.first(), "create") || is(words.first(), "alter")) {
        let says_login = words.iter().any(|at| is(Some(at), "login") || is(Some(at), "nologin"));
        let creates = is(words.first(), "create");
        tokens[words[1]].token = Token::make_keyword("ROLE");
        if creates && !says_login {
            let span = tokens[tokens.len() - 1].span;
            tokens.push(TokenWithSpan {
                token: Token::Whitespace(Whitespace::Space),
                span,
            });
            tokens.push(TokenWithSpan {
                token: Token::make_keyword("LOGIN"),
                span,
            });
        }
    }
    copies
}

fn syntax(text: &str, error: ParserError) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(SqlErrorKind::LimitExceeded, "the statement is nested too deeply")
                .hint("Write long chains of AND, OR and operators as lists, or split the statement.");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    // sqlparser says: "Expected: an expression, found: FROM at Line: 1, Column: 8".
    let (words, location) = match message.rfind(" at Line: ") {
        Some(at) => (&message[..at], location(&message[at..])),
        None => (message.as_str(), None),
    };
    let mut parts = words.splitn(2, ", found: ");
    let expected = parts.next().unwrap_or(words);
    let mut sql_error = match parts.next() {
        Some("EOF") => SqlError::new(SqlErrorKind::Syntax, "syntax error at end of input").detail(sentence(expected)),
        Some(found) => SqlError::new(SqlErrorKind::Syntax, format!("syntax error at or near \"{found}\""))
            .detail(sentence(expected)),
        None => SqlError::new(SqlErrorKind::Syntax, format!("syntax error: {words}")),
    };
    sql_error.position = match location {
        Some(location) => Some(position(text, location)),
        None if sql_error.message.ends_with("end of input") => u32::try_from(text.chars().count() + 1).ok(),
        None => None,
    };
    sql_error
}

fn sentence(words: &str) -> String {
    format!("{}.", words.trim_end_matches('.'))
}

/// Reads " at Line: 1, Column: 8".
fn location(text: &str) -> Option<Location> {
    let rest = text.strip_prefix(" at Line: ")?;
    let (line, column) = rest.split_once(", Column: ")?;
    Some(Location {
        line: line.trim().parse().ok()?,
        column: column.trim().parse().ok()?,
    })
}

/// Character position, from 1, of a line and column.
pub fn position(text: &str, location: Location) -> u32 {
    let mut before = 0usize;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index as u64 + 1 == location.line {
            let column = usize::try_from(location.column).unwrap_or(1);
            return u32::try_from(before + column).unwrap_or(1);
        }
        before += line.chars().count();
    }
    u32::try_from(before + 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_statements_are_none() {
        assert_eq!(parse(" ;; -- nothing\n ;").unwrap().len(), 0);
        assert_eq!(parse("SELECT 1; ; SELECT 2").unwrap().len(), 2);
    }

    #[test]
    fn syntax_errors_say_where() {
        let error = parse("SELECT 1;\nSELEC 2").unwrap_err();
        assert_eq!(
            (error.kind, error.position),
            (SqlErrorKind::Syntax, Some(11)),
            "{error:?}"
        );
        assert_eq!(error.message, "syntax error at or near \"SELEC\"");
        let error = parse("SELECT 'ä', FROM").unwrap_err();
        assert_eq!(error.kind, SqlErrorKind::Syntax);
        let error = parse("INSERT INTO t VALUES (1").unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.position),
            ("syntax error at end of input", Some(24))
        );
        assert_eq!(parse("SELECT 'open").unwrap_err().kind, SqlErrorKind::Syntax);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(parse(&deep).unwrap_err().kind, SqlErrorKind::LimitExceeded);
    }

    #[test]
    fn abort_is_a_rollback() {
        assert!(matches!(parse("ABORT").unwrap()[..], [Statement::Rollback { .. }]));
        assert!(matches!(
            parse("SELECT abort FROM t").unwrap()[..],
            [Statement::Query(_)]
        ));
    }
}
