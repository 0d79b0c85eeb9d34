//! `${NAME}` in the raw text of a configuration, replaced from the environment.
//!
//! `$$` is a dollar sign, and a dollar sign before anything else stands for itself. Forms of a shell that would hide a
//! missing variable, such as `${A:-b}`, are errors: a secret that is absent must stop the start.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InterpolationError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// The text with every `${NAME}` replaced.
///
/// # Errors
/// All of them at once: unset or empty variables, names that are not names, and `${` without `}` on the same line.
pub(super) fn interpolate(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<String, Vec<InterpolationError>> {
    let mut output = String::with_capacity(text.len());
    let mut errors = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let mut rest = line;
        while let Some(at) = rest.find('$') {
            output.push_str(&rest[..at]);
            let column = line[..line.len() - rest.len() + at].chars().count() + 1;
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('$') {
                output.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                match variable(after, environment) {
                    Ok((value, after)) => {
                        output.push_str(value);
                        rest = after;
                    }
                    Err((message, after)) => {
                        errors.push(InterpolationError {
                            line: index + 1,
                            column,
                            message,
                        });
                        rest = after;
                    }
                }
            } else {
                output.push('$');
                rest = after;
            }
        }
        output.push_str(rest);
    }
    if errors.is_empty() { Ok(output) } else { Err(errors) }
}

/// The value of the variable whose name begins `text`, and what follows its closing brace.
fn variable<'t, 'e>(
    text: &'t str,
    environment: &'e BTreeMap<String, String>,
) -> Result<(&'e str, &'t str), (String, &'t str)> {
    let end = text.find(['}', '\n']).unwrap_or(text.len());
    let name = &text[..end];
    let Some(after) = text[end..].strip_prefix('}') else {
        return Err((
            format!("`${{{name}` has no closing `}}`; `$$` writes a dollar sign"),
            &text[end..],
        ));
    };
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        let message = format!(
            "`${{{name}}}` is not supported: only `${{NAME}}` with letters, digits and `_`, no defaults or other forms"
        );
        return Err((message, after));
    }
    match environment.get(name).map(String::as_str) {
        Some("") => Err((
            format!("environment variable {name} is empty; give it a value before starting"),
            after,
        )),
        Some(value) => Ok((value, after)),
        None => Err((
            format!("environment variable {name} is not set; set it before starting"),
            after,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        [
            ("HOST", "::1"),
            ("PORT", "5433"),
            ("EMPTY", ""),
            ("_X1", "$HOME ${PORT}"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn s_009_every_form_of_interpolation() {
        let good = [
            ("port: ${PORT}", "port: 5433"),
            ("a: '${HOST}' b: ${HOST}", "a: '::1' b: ::1"),
            ("price: $$5 $${PORT}", "price: $5 ${PORT}"),
            ("a: $5 and $", "a: $5 and $"),
            ("once: ${_X1}", "once: $HOME ${PORT}"),
            ("é: ${PORT}\r\nx", "é: 5433\r\nx"),
        ];
        for (text, expected) in good {
            assert_eq!(interpolate(text, &environment()).as_deref(), Ok(expected), "{text}");
        }
        let bad = [
            ("a: 1\nb: ${NOPE}", 2, 4, "NOPE is not set"),
            ("a: ${EMPTY}", 1, 4, "EMPTY is empty"),
            ("a: ${PORT:-1}", 1, 4, "not supported"),
            ("a: ${}", 1, 4, "not supported"),
            ("a: ${1A}", 1, 4, "not supported"),
            ("é: ${PORT\nb: }", 1, 4, "no closing"),
            ("a: ${PORT", 1, 4, "no closing"),
        ];
        for (text, line, column, keyword) in bad {
            let errors = interpolate(text, &environment()).expect_err(text);
            assert_eq!((errors[0].line, errors[0].column), (line, column), "{text}");
            assert!(errors[0].message.contains(keyword), "{text}: {}", errors[0].message);
        }
    }

    #[test]
    fn all_missing_variables_are_told_at_once() {
        let errors = interpolate("a: ${A}${PORT}\nb: ${B} ${C}", &environment()).unwrap_err();
        assert_eq!(
            errors.iter().map(|e| (e.line, e.column)).collect::<Vec<_>>(),
            [(1, 4), (2, 4), (2, 9)]
        );
    }
}
