//! `SIMILAR TO`: the standard's patterns, which are LIKE's wildcards among the operators of regular expressions, as the
//! regular expressions they stand for.

use crate::sql::{SqlError, SqlErrorKind};

/// The regular expression that matches what the pattern matches, all of the text. `escape` of None: there is none.
pub fn regular_expression(pattern: &str, escape: Option<char>) -> Result<String, SqlError> {
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                // A separator of the parts of `substring(... similar ...)`; PostgreSQL's own words.
                Some('"') => {
                    return Err(SqlError::unsupported("SIMILAR TO with escape-double-quote separators"));
                }
                Some(escaped) => literal(&mut out, escaped),
                None => {
                    return Err(SqlError::new(
                        SqlErrorKind::InvalidEscape,
                        "LIKE pattern must not end with escape character",
                    ));
                }
            }
        } else if in_brackets {
            match c {
                ']' => {
                    in_brackets = false;
                    out.push(c);
                }
                '\\' | '&' | '~' => literal(&mut out, c),
                // `[:alpha:]` is itself in brackets.
                '[' if chars.peek() == Some(&':') => {
                    out.push('[');
                    for inner in chars.by_ref() {
                        out.push(inner);
                        if inner == ']' {
                            break;
                        }
                    }
                }
                '[' => literal(&mut out, c),
                _ => out.push(c),
            }
        } else {
            match c {
                '%' => out.push_str("(?s:.*)"),
                '_' => out.push_str("(?s:.)"),
                '[' => {
                    in_brackets = true;
                    out.push(c);
                    if chars.peek() == Some(&'^') {
                        out.extend(chars.next());
                    }
                    // A bracket right behind the opening one is itself.
                    if chars.peek() == Some(&']') {
                        chars.next();
                        literal(&mut out, ']');
                    }
                }
                '(' => out.push_str("(?:"),
                '|' | '*' | '+' | '?' | '{' | '}' | ')' => out.push(c),
                _ => literal(&mut out, c),
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}

fn literal(out: &mut String, c: char) {
    if "\\.+*?()|[]{}^$#&-~".contains(c) {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        for (pattern, expected) in [
            ("a%", "^(?:a(?s:.*))$"),
            ("(a|b)_", "^(?:(?:a|b)(?s:.))$"),
            ("a.c^$", r"^(?:a\.c\^\$)$"),
            (r"a\%", r"^(?:a%)$"),
            ("[^]%]x{2,3}", r"^(?:[^\]%]x{2,3})$"),
            ("[[:alpha:]_]+", "^(?:[[:alpha:]_]+)$"),
        ] {
            assert_eq!(regular_expression(pattern, Some('\\')).unwrap(), expected, "{pattern}");
        }
        assert!(regular_expression("a\\", Some('\\')).is_err());
    }
}
