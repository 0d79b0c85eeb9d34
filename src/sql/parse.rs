//! Text to statements: PostgreSQL's dialect as sqlparser reads it, errors in PostgreSQL's words.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::depth::{self, Weight};
use super::dialect::PgDialect;
use super::error::{SqlError, SqlErrorKind};
use crate::runtime;

/// Longest text of one message that is parsed; beyond it a client has gone astray, and tokens cost fifty times their text.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Parsing this much takes long enough to be felt by others.
const LONG_TEXT_BYTES: usize = 256 << 10;

/// The statements of a text, in order. Empty statements (`;;`) are none.
///
/// # Errors
/// As of [`parse_weighed`].
pub fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    Ok(parse_weighed(text)?
        .into_iter()
        .map(|(statement, _)| statement)
        .collect())
}

/// The statements of a text, and what stack each needs.
///
/// # Errors
/// `Syntax` with a position, `TooComplex` for statements nested too deeply, `LimitExceeded` for texts that are too long.
pub(in crate::sql) fn parse_weighed(text: &str) -> Result<Vec<(Statement, Weight)>, SqlError> {
    if text.len() < LONG_TEXT_BYTES {
        parse_here(text)
    } else {
        runtime::busy(|| parse_here(text))
    }
}

fn parse_here(text: &str) -> Result<Vec<(Statement, Weight)>, SqlError> {
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
    let mut tokens = Vec::new();
    if let Err(error) = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location_into_buf(&mut tokens) {
        return Err(SqlError::new(SqlErrorKind::Syntax, sentence(&error.message)).at(position(text, error.location)));
    }
    let tokens = respell(tokens)?;
    let bound = depth::bound(&tokens)?;
    let dialect = PgDialect::new(tokens.len());
    depth::with_stack_for(bound, || {
        let statements = Parser::new(&dialect)
            .with_tokens_with_locations(tokens)
            .parse_statements()
            .map_err(|error| syntax(text, error))?;
        let weighed = statements.into_iter().map(|mut statement| {
            let weight = depth::settle(&mut statement)?;
            Ok((statement, weight))
        });
        weighed.collect()
    })
}

/// Writes PostgreSQL's own spellings in words that the parser knows: ABORT as ROLLBACK, and users as roles, which is what
/// they are (`CREATE USER` is `CREATE ROLE ... LOGIN`).
fn respell(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 2);
    let mut statement = Vec::new();
    let mut last_copies = false;
    for token in tokens {
        if token.token != Token::SemiColon {
            statement.push(token);
            continue;
        }
        last_copies = respell_statement(&mut statement)?;
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
        respell_statement(&mut statement)?;
    }
    out.append(&mut statement);
    Ok(out)
}

/// Whether it is a COPY.
fn respell_statement(tokens: &mut Vec<TokenWithSpan>) -> Result<bool, SqlError> {
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
    refuse_unparsed(&words, is, |at| {
        matches!(
            tokens[*at].token,
            Token::UnicodeStringLiteral(_) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)
        )
    })?;
    let only: Vec<usize> = (1..words.len().saturating_sub(1))
        .filter(|at| {
            is(words.get(*at), "only")
                && (matches!(tokens[words[at - 1]].token, Token::Comma)
                    || ["from", "join", "update", "table", "truncate"]
                        .iter()
                        .any(|before| is(words.get(at - 1), before)))
                && matches!(tokens[words[at + 1]].token, Token::Word(_) | Token::LParen)
        })
        .map(|at| words[at])
        .collect();
    // A row without columns: the parser wants a FROM behind an empty list.
    let said = words.iter().filter(|at| tokens[**at].token != Token::EOF).count();
    let bare_select = said == 1 && is(words.first(), "select");
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
    if bare_select {
        let at = words[0];
        let span = tokens[at].span;
        let one = [
            Token::make_keyword("FROM"),
            Token::LParen,
            Token::make_keyword("SELECT"),
            Token::Number("1".to_string(), false),
            Token::RParen,
            Token::make_keyword("AS"),
            Token::make_word("one", None),
        ];
        tokens.splice(at + 1..at + 1, one.map(|token| TokenWithSpan { token, span }));
    }
    // No table inherits from another, so ONLY says nothing; the parser takes it for a table's name.
    for at in only {
        tokens[at].token = Token::Whitespace(Whitespace::Space);
    }
    respell_operators(tokens);
    join_texts(tokens)?;
    Ok(copies)
}

/// `a>-1` is `a > -1`: an operator of the SQL standard's characters does not end in a sign. And ISNULL and NOTNULL, which the
/// parser takes for names, are IS NULL and IS NOT NULL.
fn respell_operators(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    let mut label = false;
    while at < tokens.len() {
        let span = tokens[at].span;
        let (replaced, next_is_label) = match &tokens[at].token {
            Token::CustomBinaryOperator(operator) => (standard_operator(operator), false),
            Token::Word(word) if word.quote_style.is_none() && !label => {
                let is = |wanted: &str| word.value.eq_ignore_ascii_case(wanted);
                let spelt = if is("isnull") {
                    Some(vec!["IS", "NULL"])
                } else if is("notnull") {
                    Some(vec!["IS", "NOT", "NULL"])
                } else {
                    None
                };
                let spaced = spelt.map(|words| {
                    let spaced = words
                        .into_iter()
                        .flat_map(|word| [Token::Whitespace(Whitespace::Space), Token::make_keyword(word)]);
                    spaced.collect()
                });
                (spaced, is("as"))
            }
            Token::Period => (None, true),
            Token::Whitespace(_) => (None, label),
            _ => (None, false),
        };
        label = next_is_label;
        match replaced {
            Some(replaced) => {
                let count = replaced.len();
                tokens.splice(at..=at, replaced.into_iter().map(|token| TokenWithSpan { token, span }));
                at += count;
            }
            None => at += 1,
        }
    }
}

/// An operator that runs into the signs behind it, taken apart; None where it is one, as PostgreSQL's lexer has it.
fn standard_operator(operator: &str) -> Option<Vec<Token>> {
    if operator.contains(|c: char| "~!@#%^&|`?".contains(c)) {
        return None;
    }
    let name = operator.trim_end_matches(['-', '+']);
    let name = match name {
        ">" => Token::Gt,
        "<" => Token::Lt,
        "=" => Token::Eq,
        ">=" => Token::GtEq,
        "<=" => Token::LtEq,
        "<>" => Token::Neq,
        "*" => Token::Mul,
        "/" => Token::Div,
        _ => return None,
    };
    let signs = operator.trim_start_matches(|c: char| !"-+".contains(c)).chars();
    let signs = signs.map(|sign| if sign == '-' { Token::Minus } else { Token::Plus });
    Some(std::iter::once(name).chain(signs).collect())
}

/// Texts with nothing but a line's end between them are one, and with no line's end an error.
fn join_texts(tokens: &mut Vec<TokenWithSpan>) -> Result<(), SqlError> {
    let mut last: Option<usize> = None;
    let mut new_line = false;
    let mut at = 0;
    while at < tokens.len() {
        match (&tokens[at].token, last) {
            (Token::Whitespace(blank), _) => {
                new_line |= matches!(blank, Whitespace::Newline | Whitespace::SingleLineComment { .. });
                at += 1;
            }
            (Token::SingleQuotedString(text), Some(before)) => {
                if !new_line {
                    let message = format!("syntax error at or near \"'{text}'\"");
                    return Err(SqlError::new(SqlErrorKind::Syntax, message));
                }
                let text = text.clone();
                if let Token::SingleQuotedString(joined) | Token::EscapedStringLiteral(joined) =
                    &mut tokens[before].token
                {
                    joined.push_str(&text);
                }
                tokens.drain(before + 1..=at);
                (at, new_line) = (before + 1, false);
            }
            (Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_), _) => {
                (last, new_line) = (Some(at), false);
                at += 1;
            }
            _ => {
                last = None;
                at += 1;
            }
        }
    }
    Ok(())
}

/// Names what PostgreSQL has and the parser does not know, which it would call a syntax error. `words` are a statement's
/// tokens without the blanks.
fn refuse_unparsed(
    words: &[usize],
    is: impl Fn(Option<&usize>, &str) -> bool,
    is_text: impl Fn(&usize) -> bool,
) -> Result<(), SqlError> {
    const DATABASE_OPTIONS: &[&str] = &[
        "OWNER",
        "TEMPLATE",
        "ENCODING",
        "STRATEGY",
        "LOCALE",
        "LC_COLLATE",
        "LC_CTYPE",
        "BUILTIN_LOCALE",
        "ICU_LOCALE",
        "ICU_RULES",
        "LOCALE_PROVIDER",
        "COLLATION_VERSION",
        "TABLESPACE",
        "ALLOW_CONNECTIONS",
        "CONNECTION",
        "IS_TEMPLATE",
        "OID",
    ];
    if is(words.first(), "do") {
        return Err(SqlError::unsupported("DO"));
    }
    if is(words.first(), "table") {
        return Err(SqlError::unsupported("TABLE"));
    }
    if words
        .windows(3)
        .any(|at| is(at.first(), "from") && is(at.get(1), "rows") && is(at.get(2), "from"))
    {
        return Err(SqlError::unsupported("ROWS FROM"));
    }
    for at in words.windows(2) {
        if is(at.first(), "between") && is(at.get(1), "symmetric") {
            return Err(SqlError::unsupported("BETWEEN SYMMETRIC"));
        }
        if is(at.get(1), "uescape") && is_text(&at[0]) {
            return Err(SqlError::unsupported("UESCAPE"));
        }
    }
    if is(words.first(), "create") && is(words.get(1), "unlogged") {
        return Err(SqlError::unsupported("CREATE UNLOGGED TABLE"));
    }
    if is(words.first(), "create") && is(words.get(1), "database") {
        // Behind the name, an option begins with its word, after WITH or not.
        for at in words.iter().skip(3) {
            if let Some(option) = DATABASE_OPTIONS.iter().find(|option| is(Some(at), option)) {
                return Err(SqlError::unsupported(format_args!("CREATE DATABASE ... {option}")));
            }
        }
    }
    if is(words.first(), "insert") || is(words.first(), "with") {
        for at in words.windows(3) {
            if is(at.first(), "overriding") && is(at.get(2), "value") {
                let whose = if is(at.get(1), "system") { "SYSTEM" } else { "USER" };
                return Err(SqlError::unsupported(format_args!("OVERRIDING {whose} VALUE")));
            }
        }
    }
    Ok(())
}

fn syntax(text: &str, error: ParserError) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return depth::too_deep();
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

    /// What is read otherwise gives other answers, without an error.
    #[test]
    fn operators_and_texts_are_read_as_postgresql_reads_them() {
        let read = |text: &str| parse(text).map(|statements| statements[0].to_string());
        for (text, meant) in [
            ("SELECT a>-1", "SELECT a > -1"),
            ("SELECT a>=-1, a<>-b, a=+1", "SELECT a >= -1, a <> -b, a = +1"),
            ("SELECT a*-1", "SELECT a * -1"),
            ("SELECT a ISNULL, b notnull", "SELECT a IS NULL, b IS NOT NULL"),
            ("SELECT 1 AS isnull, t.notnull", "SELECT 1 AS isnull, t.notnull"),
            ("SELECT 'a'\n  'b' -- more\n'c'", "SELECT 'abc'"),
        ] {
            assert_eq!(read(text).unwrap(), meant, "{text}");
        }
        assert_eq!(read("SELECT 'a' 'b'").unwrap_err().kind, SqlErrorKind::Syntax);
        assert_eq!(read("SELECT 'a', 'b' AS c").unwrap(), "SELECT 'a', 'b' AS c");
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
    fn whatever_is_nested_is_read_or_refused_at_once() {
        let nested = |open: &str, inside: &str, close: &str, levels: usize| {
            format!("{}{inside}{}", open.repeat(levels), close.repeat(levels))
        };
        for (open, inside, close, read) in [
            ("f(", "1", ")", true),
            ("f(1, ", "1", ", 2)", true),
            ("f(a => ", "1", ")", true),
            ("(", "1", ")", true),
            ("(1, ", "1", ")", true),
            ("ARRAY[", "1", "]", true),
            ("CASE WHEN ", "true", " THEN 1 END", true),
            ("CAST(", "1", " AS text)", true),
            ("coalesce(NULL, ", "1", ")", true),
            ("a IN (", "1", ")", true),
            ("(SELECT ", "1", ")", true),
            ("EXISTS (SELECT ", "1", ")", true),
            ("a IN (SELECT ", "1", ")", true),
            ("extract(year FROM ", "a", ")", true),
            ("substring(", "a", " FROM 1)", true),
            ("f(DISTINCT ", "a", ")", true),
            ("position('a' IN ", "a", ")", true),
        ] {
            let text = format!("SELECT {}", nested(open, inside, close, 40));
            let parsed = parse(&text).map(|statements| statements.len());
            assert!(
                matches!(parsed, Ok(1)) == read
                    || matches!(&parsed, Err(error) if error.kind == SqlErrorKind::TooComplex),
                "{open}: {parsed:?}"
            );
        }
        for (open, inside, close) in [
            ("(SELECT * FROM ", "t", ") AS x"),
            ("(", "t", ")"),
            ("(t JOIN ", "t", " ON true)"),
            ("f(", "1", ")"),
            ("LATERAL (SELECT * FROM ", "t", ") AS x"),
        ] {
            let text = format!("SELECT * FROM {}", nested(open, inside, close, 20));
            match parse(&text) {
                Ok(_) => {}
                Err(error) => assert!(
                    matches!(error.kind, SqlErrorKind::TooComplex | SqlErrorKind::Syntax),
                    "{open}: {error:?}"
                ),
            }
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(parse(&deep).unwrap_err().kind, SqlErrorKind::TooComplex);
    }

    #[test]
    fn what_the_parser_does_not_know_is_unsupported_and_named() {
        for (sql, construct) in [
            ("CREATE UNLOGGED TABLE t (a int)", "CREATE UNLOGGED TABLE"),
            ("create database d owner ann", "CREATE DATABASE ... OWNER"),
            (
                "CREATE DATABASE d WITH TEMPLATE = template0",
                "CREATE DATABASE ... TEMPLATE",
            ),
            (
                "INSERT INTO t (a) OVERRIDING SYSTEM VALUE VALUES (1)",
                "OVERRIDING SYSTEM VALUE",
            ),
            ("INSERT INTO t OVERRIDING USER VALUE SELECT 1", "OVERRIDING USER VALUE"),
            ("DO $$ BEGIN END $$", "DO"),
            ("SELECT 1 BETWEEN SYMMETRIC 2 AND 0", "BETWEEN SYMMETRIC"),
            ("SELECT U&'d!0061t' UESCAPE '!'", "UESCAPE"),
        ] {
            let error = parse(sql).unwrap_err();
            assert_eq!(error.kind, SqlErrorKind::Unsupported, "{sql}: {error:?}");
            assert_eq!(error.message, format!("{construct} is not supported"));
        }
        assert!(parse("CREATE DATABASE owner").is_ok());
        assert_eq!(
            parse("CREATE DATABASE d nonsense").unwrap_err().kind,
            SqlErrorKind::Syntax
        );
    }

    #[test]
    fn only_says_nothing_before_a_table() {
        let text = |sql: &str| parse(sql).unwrap().pop().unwrap().to_string();
        assert_eq!(
            text("SELECT a FROM ONLY t AS x, ONLY u"),
            text("SELECT a FROM t AS x, u")
        );
        assert_eq!(text("UPDATE ONLY t SET a = 1"), text("UPDATE t SET a = 1"));
        assert_eq!(text("DELETE FROM ONLY t"), text("DELETE FROM t"));
        assert_eq!(
            text("SELECT a FROM t FETCH FIRST 2 ROWS ONLY"),
            "SELECT a FROM t FETCH FIRST 2 ROWS ONLY"
        );
        assert_eq!(text("SELECT a FROM \"only\""), "SELECT a FROM \"only\"");
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
