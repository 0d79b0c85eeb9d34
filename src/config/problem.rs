//! What is wrong with a configuration, told so that an operator can mend it without asking.

use std::fmt;

/// Every problem of one configuration, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// `None` when nothing is wrong.
    pub(super) fn of(mut problems: Vec<Problem>) -> Option<ConfigErrors> {
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        (!problems.is_empty()).then_some(ConfigErrors(problems))
    }

    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The file, the environment variable or the flag the value came from.
    pub origin: String,
    /// Counted from 1; `None` outside files, or where a key is missing.
    pub line: Option<usize>,
    /// Dotted, list entries as `standby_remotes[0]`; empty for problems of the text itself.
    pub key: String,
    /// What is wrong, the value found, and what is allowed.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The text cannot be read as keys and values of the known shape.
    Shape,
    /// A well-formed value that is not allowed.
    Value,
    /// Allowed, but it needs something this version does not have.
    Unsupported,
}

impl Problem {
    pub(super) fn new(
        kind: ProblemKind,
        origin: impl Into<String>,
        line: Option<usize>,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Problem {
        Problem {
            kind,
            origin: origin.into(),
            line,
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ProblemKind::Shape {
            // The keyword operators of the original grep for.
            f.write_str("error unmarshalling config data: ")?;
        }
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", shown_key(&self.key))?;
        }
        f.write_str(&self.message)
    }
}

/// Dotted, except that the cluster's keys read as nested, `cluster: remotesapi: port`: operators match these words of
/// spec/cluster.md 1.2.
pub(super) fn shown_key(key: &str) -> String {
    if key.starts_with("cluster.") {
        key.replace('.', ": ")
    } else {
        key.to_owned()
    }
}
