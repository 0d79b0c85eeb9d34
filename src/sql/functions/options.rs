//! Arguments the way a command line has them: `-m x`, `--message=x`, `-Am x`, positionals.

use super::required;
use crate::sql::error::{SqlError, SqlErrorKind};

/// What a function understands.
pub(super) struct Syntax {
    pub function: &'static str,
    /// Long name, and the letter if it has one.
    pub flags: &'static [(&'static str, Option<char>)],
    /// The same, each followed by a value.
    pub values: &'static [(&'static str, Option<char>)],
}

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub flags: Vec<&'static str>,
    pub values: Vec<(&'static str, String)>,
    pub positionals: Vec<String>,
}

impl Given {
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// The last value given for an option.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rev()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Syntax {
    pub fn read(&self, arguments: &[Option<String>]) -> Result<Given, SqlError> {
        let mut given = Given::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let argument = required(self.function, argument)?;
            if let Some(long) = argument.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_string())),
                    None => (long, None),
                };
                if let Some((flag, _)) = self.flags.iter().find(|(flag, _)| *flag == name)
                    && value.is_none()
                {
                    given.flags.push(flag);
                } else if let Some((option, _)) = self.values.iter().find(|(option, _)| *option == name) {
                    let value = match value {
                        Some(value) => value,
                        None => self.next_value(argument, rest.next())?,
                    };
                    given.values.push((option, value));
                } else {
                    return Err(self.unknown(argument));
                }
            } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                let mut letters = letters.chars();
                while let Some(letter) = letters.next() {
                    let is = |(_, short): &&(&str, Option<char>)| *short == Some(letter);
                    if let Some((flag, _)) = self.flags.iter().find(is) {
                        given.flags.push(flag);
                    } else if let Some((option, _)) = self.values.iter().find(is) {
                        // `-mfix` carries its value; `-m` and `-am` take the next argument.
                        let attached: String = letters.by_ref().collect();
                        let value = if attached.is_empty() {
                            self.next_value(argument, rest.next())?
                        } else {
                            attached
                        };
                        given.values.push((option, value));
                    } else {
                        return Err(self.unknown(argument));
                    }
                }
            } else {
                given.positionals.push(argument.to_string());
            }
        }
        Ok(given)
    }

    fn next_value(&self, option: &str, next: Option<&Option<String>>) -> Result<String, SqlError> {
        match next {
            Some(value) => required(self.function, value).map(str::to_string),
            None => Err(SqlError::new(
                SqlErrorKind::InvalidParameter,
                format!("{}: no value for option `{option}`", self.function),
            )),
        }
    }

    fn unknown(&self, option: &str) -> SqlError {
        let known: Vec<String> = self
            .flags
            .iter()
            .chain(self.values)
            .map(|(name, _)| format!("--{name}"))
            .collect();
        SqlError::new(
            SqlErrorKind::InvalidParameter,
            format!("{}: unknown option `{option}`", self.function),
        )
        .hint(format!("Known options: {}.", known.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNTAX: Syntax = Syntax {
        function: "f",
        flags: &[("all", Some('a')), ("allow-empty", None)],
        values: &[("message", Some('m'))],
    };

    fn read(arguments: &[&str]) -> Result<Given, SqlErrorKind> {
        let arguments: Vec<_> = arguments.iter().map(|one| Some((*one).to_string())).collect();
        SYNTAX.read(&arguments).map_err(|error| error.kind)
    }

    #[test]
    fn all_spellings_of_options_are_read() {
        for arguments in [
            &["-a", "-m", "x"][..],
            &["-am", "x"],
            &["--all", "--message=x"],
            &["--message", "x", "-a"],
            &["-amx"],
        ] {
            let given = read(arguments).unwrap();
            assert!(given.has("all"), "{arguments:?}");
            assert_eq!(given.value("message"), Some("x"), "{arguments:?}");
        }
        assert_eq!(read(&["t", "-a", "."]).unwrap().positionals, ["t", "."]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for arguments in [&["-x"][..], &["--al"], &["--all=1"], &["-m"]] {
            assert_eq!(read(arguments), Err(SqlErrorKind::InvalidParameter), "{arguments:?}");
        }
        assert_eq!(SYNTAX.read(&[None]).unwrap_err().kind, SqlErrorKind::NullNotAllowed);
    }
}
