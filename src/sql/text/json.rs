//! JSON texts: `json` keeps what was written, `jsonb` has one form for equal documents.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::CharIndices;

use serde::de::IgnoredAny;

use crate::sql::error::{SqlError, SqlErrorKind};

/// How deep a document may be. Readers of JSON are recursive nearly everywhere, so what is deeper helps nobody.
const DEPTH_MAX: usize = 2_000;

/// What is left of the stack before more is made, and how much more.
const RED_ZONE_BYTES: usize = 64 << 10;
const STACK_BYTES: usize = 1 << 20;

/// Whether a text is JSON at all, and not deeper than [`DEPTH_MAX`].
pub fn check_json(text: &str) -> Result<(), SqlError> {
    check_depth(text)?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) => Err(
            SqlError::new(SqlErrorKind::InvalidText, "invalid input syntax for type json")
                .detail(format!("{error} of the document")),
        ),
    }
}

/// Counts brackets outside of strings; a text that is no JSON may pass.
fn check_depth(text: &str) -> Result<(), SqlError> {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(inside) = bytes.next() {
                    match inside {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if deepest <= DEPTH_MAX {
        return Ok(());
    }
    Err(SqlError::new(
        SqlErrorKind::TooComplex,
        format!("a JSON document of {deepest} levels is nested too deeply"),
    )
    .hint(format!("The deepest may have {DEPTH_MAX} levels.")))
}

/// PostgreSQL's `jsonb` text: keys ordered by length and then bytes, the last of equal keys wins, one space after `:` and
/// `,`, numbers with their digits as written (exponents resolved).
pub fn normalize_jsonb(text: &str) -> Result<String, SqlError> {
    check_json(text)?;
    let mut out = String::with_capacity(text.len());
    Reader {
        text,
        chars: text.char_indices().peekable(),
    }
    .value(&mut out);
    Ok(out)
}

/// Walks a text that [`check_json`] has accepted, so it needs no errors of its own and its depth is bounded.
struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn value(&mut self, out: &mut String) {
        self.skip_space();
        match self.chars.peek().map(|(_, c)| *c) {
            Some('{') => stacker::maybe_grow(RED_ZONE_BYTES, STACK_BYTES, || self.object(out)),
            Some('[') => stacker::maybe_grow(RED_ZONE_BYTES, STACK_BYTES, || self.array(out)),
            Some('"') => {
                let text = self.string();
                out.push_str(&quoted(&text));
            }
            _ => {
                let word = self.word();
                match word.as_bytes().first() {
                    Some(b'-' | b'0'..=b'9') => out.push_str(&plain_number(word)),
                    _ => out.push_str(word),
                }
            }
        }
    }

    fn object(&mut self, out: &mut String) {
        let mut members = BTreeMap::new();
        self.chars.next();
        loop {
            self.skip_space();
            match self.chars.peek().map(|(_, c)| *c) {
                Some('"') => {}
                Some(',') => {
                    self.chars.next();
                    continue;
                }
                _ => break,
            }
            let key = self.string();
            self.skip_space();
            self.chars.next();
            let mut value = String::new();
            self.value(&mut value);
            members.insert((key.len(), key), value);
        }
        self.chars.next();
        let members: Vec<String> = members
            .iter()
            .map(|((_, key), value)| format!("{}: {value}", quoted(key)))
            .collect();
        out.push('{');
        out.push_str(&members.join(", "));
        out.push('}');
    }

    fn array(&mut self, out: &mut String) {
        self.chars.next();
        out.push('[');
        let mut first = true;
        loop {
            self.skip_space();
            match self.chars.peek().map(|(_, c)| *c) {
                None | Some(']') => break,
                Some(',') => {
                    self.chars.next();
                }
                Some(_) => {
                    if !first {
                        out.push_str(", ");
                    }
                    first = false;
                    self.value(out);
                }
            }
        }
        self.chars.next();
        out.push(']');
    }

    /// A string with its escapes resolved.
    fn string(&mut self) -> String {
        let Some((start, _)) = self.chars.next() else {
            return String::new();
        };
        let mut escaped = false;
        let mut end = self.text.len();
        for (at, c) in self.chars.by_ref() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    end = at + 1;
                    break;
                }
                _ => {}
            }
        }
        serde_json::from_str(&self.text[start..end]).unwrap_or_default()
    }

    fn word(&mut self) -> &str {
        let start = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        while self
            .chars
            .next_if(|(_, c)| !matches!(c, ',' | ']' | '}' | ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
        let end = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        &self.text[start..end]
    }

    fn skip_space(&mut self) {
        while self
            .chars
            .next_if(|(_, c)| matches!(c, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

/// `1.5e2` as `150`; numbers too wide to write out stay as they were written.
fn plain_number(word: &str) -> String {
    if !word.contains(['e', 'E']) {
        return word.to_string();
    }
    super::number::parse_numeric(word).map_or_else(|_| word.to_string(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are what PostgreSQL 15 prints for `'input'::jsonb`.
    #[test]
    fn jsonb_has_postgres_form() {
        for (input, expected) in [
            (r#"{"b":1, "a":2,"aa":3}"#, r#"{"a": 2, "b": 1, "aa": 3}"#),
            (r#"{"a":1,"a":[1,2 , {"x":null}]}"#, r#"{"a": [1, 2, {"x": null}]}"#),
            ("[]", "[]"),
            (" { } ", "{}"),
            ("1.10", "1.10"),
            ("1.5e2", "150"),
            (r#""A\n\"""#, r#""A\n\"""#),
            ("true", "true"),
        ] {
            assert_eq!(normalize_jsonb(input).unwrap(), expected, "{input}");
        }
    }

    #[test]
    fn documents_are_as_deep_as_they_may_be_and_no_deeper() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let deep = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert!(normalize_jsonb(&deep(DEPTH_MAX)).is_ok());
            for levels in [DEPTH_MAX + 1, 100_000] {
                for text in [deep(levels), open.repeat(levels)] {
                    assert_eq!(normalize_jsonb(&text).unwrap_err().kind, SqlErrorKind::TooComplex);
                    assert_eq!(check_json(&text).unwrap_err().kind, SqlErrorKind::TooComplex);
                }
            }
        }
        let brackets_in_text = format!(r#"["\\\"{}", "\\", []]"#, "[".repeat(DEPTH_MAX));
        assert!(
            normalize_jsonb(&brackets_in_text).is_ok(),
            "brackets in strings make no levels"
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "{'a':1}", "[1,]", "nul", "1 2"] {
            assert_eq!(
                normalize_jsonb(text).unwrap_err().kind,
                SqlErrorKind::InvalidText,
                "{text}"
            );
        }
    }
}
