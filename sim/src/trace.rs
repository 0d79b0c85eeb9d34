//! The trace of a run: every event as one line, folded into one running hash.
//!
//! Two runs of one seed must agree on every line. A checkpoint after each 1,024 lines lets a reader find the first
//! difference between two traces without comparing all of them.
//!
//! Must not know: what the lines mean.

use std::fmt::Write as _;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// Lines between two checkpoints.
pub const CHECKPOINT_LINES: u64 = 1_024;
/// Lines kept for the report of a run that got stuck or failed.
const TAIL_LINES: usize = 40;

/// How a checkpoint line of a trace file begins.
pub const CHECKPOINT_MARK: &str = "# checkpoint";
/// How the first line of a trace file begins; the number of the format follows.
const FORMAT_MARK: &str = "# trace ";
/// A line is TIME NODE KIND and what the kind says, of which the first three are the same in every format of this number.
/// Lines that begin with `#` are no events.
const FORMAT: u32 = 1;

/// The events of a trace file, as lines.
///
/// # Errors
/// For a file that is no trace, or one of another format.
pub fn events(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    let first = text.lines().next().unwrap_or_default();
    let number = first.strip_prefix(FORMAT_MARK).map(str::trim);
    match number {
        Some(number) if number == FORMAT.to_string() => Ok(text.lines().filter(|line| !line.starts_with('#'))),
        Some(number) => Err(format!(
            "a trace of format {number}, and this build reads {FORMAT}: take the build that wrote it"
        )),
        None => Err(format!("no trace: the first line of one is `{FORMAT_MARK}{FORMAT}`")),
    }
}

/// Whether a line is worth a person's first look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    Event,
    Detail,
}

#[derive(Default)]
pub struct Trace {
    hasher: Sha256,
    lines: u64,
    tail: std::collections::VecDeque<String>,
    file: Option<Box<dyn Write + Send>>,
    /// Of the trace file; reported at the end rather than in the middle of a run.
    write_error: Option<io::Error>,
}

impl Trace {
    /// A trace that is also written to `file`.
    pub fn new(file: Option<Box<dyn Write + Send>>) -> Trace {
        let mut trace = Trace {
            file,
            ..Trace::default()
        };
        trace.write(&format!("{FORMAT_MARK}{FORMAT}"));
        trace
    }

    /// Adds one line. A detail is not among the newest lines that a failure shows.
    pub fn add(&mut self, line: String, weight: Weight) {
        debug_assert!(
            memchr::memchr(b'\n', line.as_bytes()).is_none(),
            "a trace has one line per event: {line:?}"
        );
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.lines += 1;
        self.write(&line);
        if self.lines.is_multiple_of(CHECKPOINT_LINES) {
            let checkpoint = format!("{CHECKPOINT_MARK} {} {}", self.lines, self.hash());
            self.write(&checkpoint);
        }
        if weight == Weight::Detail {
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// The hash of all lines so far.
    pub fn hash(&self) -> String {
        let digest = self.hasher.clone().finalize();
        digest.iter().take(16).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The newest lines, oldest first.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }

    /// Writes out what is buffered.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(error) = self.write_error.take() {
            return Err(error);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.flush())
    }

    fn write(&mut self, line: &str) {
        if let Some(file) = &mut self.file
            && self.write_error.is_none()
            && let Err(error) = writeln!(file, "{line}")
        {
            self.write_error = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &[&str]) -> Trace {
        let mut trace = Trace::new(None);
        for line in lines {
            trace.add((*line).to_owned(), Weight::Event);
        }
        trace
    }

    #[test]
    fn the_hash_depends_on_every_line_and_on_their_order() {
        assert_eq!(trace(&["a", "b"]).hash(), trace(&["a", "b"]).hash());
        for other in [&["b", "a"][..], &["a"], &["a", "b", "c"], &["ab"], &["a", "c"]] {
            assert_ne!(trace(&["a", "b"]).hash(), trace(other).hash(), "{other:?}");
        }
        assert_eq!(trace(&["a", "b"]).lines(), 2);
    }

    #[test]
    fn checkpoints_stand_after_each_1024_lines_and_are_no_difference() {
        struct Shared(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let bytes = std::sync::Arc::default();
        let mut trace = Trace::new(Some(Box::new(Shared(std::sync::Arc::clone(&bytes)))));
        for number in 0..2_100 {
            trace.add(format!("line {number}"), Weight::Event);
        }
        trace.finish().unwrap();
        let text = String::from_utf8(bytes.lock().clone()).unwrap();
        let marks: Vec<&str> = text.lines().filter(|line| line.starts_with(CHECKPOINT_MARK)).collect();
        assert_eq!(marks.len(), 2);
        assert!(marks[0].starts_with("# checkpoint 1024 "));
        let lines: Vec<String> = events(&text).expect("it is a trace").map(str::to_owned).collect();
        assert_eq!(
            lines,
            (0..2_100).map(|number| format!("line {number}")).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_file_that_is_no_trace_or_one_of_another_format_is_refused() {
        let told = |text: &str| events(text).err().unwrap_or_default();
        assert_eq!(told("# trace 1\n0.1s a start\n"), "");
        assert!(told("# trace 2\n0.1s a start\n").starts_with("a trace of format 2, and this build reads 1"));
        assert!(told("0.1s a start\n").starts_with("no trace") && told("").starts_with("no trace"));
    }
}
