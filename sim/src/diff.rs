//! Where two traces part, for people.
//!
//! Must not know: where the traces come from.

use std::fmt;

use crate::trace;

/// Lines of context.
const BEFORE: usize = 5;
const AFTER: usize = 3;

/// The first difference of two traces.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Counted from one, without checkpoints.
    pub line: usize,
    /// What both say just before.
    pub before: Vec<String>,
    /// What each says from there on; empty: it has ended.
    pub first: Vec<String>,
    pub second: Vec<String>,
    /// How many lines each has.
    pub lines: (usize, usize),
}

/// Of the texts of two trace files. None: the traces say the same.
///
/// # Errors
/// As of [`trace::events`].
pub fn first_difference(first: &str, second: &str) -> Result<Option<Difference>, String> {
    let lines = |text| trace::events(text).map(|lines| lines.collect::<Vec<&str>>());
    let (first, second) = (lines(first)?, lines(second)?);
    let length = first.len().max(second.len());
    let Some(index) = (0..length).find(|index| first.get(*index) != second.get(*index)) else {
        return Ok(None);
    };
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let from = |lines: &[&str]| owned(&lines[index.min(lines.len())..lines.len().min(index + 1 + AFTER)]);
    Ok(Some(Difference {
        line: index + 1,
        before: owned(&first[index.saturating_sub(BEFORE)..index]),
        first: from(&first),
        second: from(&second),
        lines: (first.len(), second.len()),
    }))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the first difference is line {}; both say until there:", self.line)?;
        for line in &self.before {
            writeln!(f, "    {line}")?;
        }
        for (name, lines, total) in [
            ("first", &self.first, self.lines.0),
            ("second", &self.second, self.lines.1),
        ] {
            let Some((line, after)) = lines.split_first() else {
                writeln!(f, "{name}: ended, after {total} lines")?;
                continue;
            };
            writeln!(f, "{name}, of {total} lines:")?;
            writeln!(f, "  > {line}")?;
            if let (Some(ours), Some(theirs)) = (self.first.first(), self.second.first()) {
                writeln!(f, "    {}^ from here on", " ".repeat(common(ours, theirs)))?;
            }
            for line in after {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

/// How many characters two lines begin with in common.
fn common(first: &str, second: &str) -> usize {
    first.chars().zip(second.chars()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parted(first: &str, second: &str) -> Option<Difference> {
        let trace = |lines: &str| format!("# trace 1\n{lines}");
        first_difference(&trace(first), &trace(second)).unwrap()
    }

    #[test]
    fn the_first_difference_is_found_with_what_came_before_and_after() {
        let difference = parted("a\nb\nc1\nd\n", "a\nb\nc2\ny\nz\n").unwrap();
        assert_eq!((difference.line, difference.lines), (3, (4, 5)));
        assert_eq!(difference.before, ["a", "b"]);
        assert_eq!(
            (&difference.first[..], &difference.second[..]),
            (
                &["c1".to_owned(), "d".to_owned()][..],
                &["c2".to_owned(), "y".to_owned(), "z".to_owned()][..]
            )
        );
        let shown = difference.to_string();
        assert!(shown.contains("the first difference is line 3"), "{shown}");
        assert!(shown.contains("  > c1\n     ^ from here on\n    d\n"), "{shown}");
    }

    #[test]
    fn a_trace_that_ends_first_differs_and_checkpoints_do_not() {
        let difference = parted("a\n", "a\nb\n").unwrap();
        assert_eq!((difference.line, difference.first.len()), (2, 0));
        assert!(difference.to_string().contains("first: ended, after 1 lines"));
        assert_eq!(parted("a\n", "a\n"), None);
        assert_eq!(parted("a\n# checkpoint 1024 x\nb\n", "a\nb\n"), None);
        assert_eq!(parted("", ""), None);
    }

    #[test]
    fn a_long_trace_shows_only_what_is_near() {
        let long = |last: &str| (0..100).map(|n| format!("{n}\n")).collect::<String>() + last;
        let difference = parted(&long("x\n"), &long("y\n")).unwrap();
        assert_eq!((difference.line, difference.before.len()), (101, BEFORE));
        assert_eq!(difference.before[0], "95");
    }
}
