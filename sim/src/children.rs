//! Runs in processes of their own: started, waited for, and their reports read.
//!
//! Invariant: no child outlives the crew it belongs to.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process;
use crate::report::{Report, Verdict};

/// What a child left behind.
pub enum Finished {
    Report(Box<Report>),
    /// It ended without a report: refused, aborted, or ran out of wall time.
    Died {
        status: ExitStatus,
        said: String,
    },
}

impl Finished {
    pub fn verdict(&self) -> Verdict {
        match self {
            Finished::Report(report) => report.verdict.clone(),
            Finished::Died { status, .. } => Verdict::Died {
                what: format!("the run ended without a report ({status})"),
            },
        }
    }
}

struct Running<T> {
    what: T,
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

/// Some children at a time. `T` says what each is running.
pub struct Crew<T> {
    /// None: this one.
    program: Option<PathBuf>,
    jobs: usize,
    running: Vec<Running<T>>,
}

impl<T> Crew<T> {
    pub fn new(jobs: usize) -> Crew<T> {
        Crew {
            program: None,
            jobs: jobs.max(1),
            running: Vec::new(),
        }
    }

    /// Of another build of this program.
    pub fn of(program: &Path, jobs: usize) -> Crew<T> {
        Crew {
            program: Some(program.to_owned()),
            jobs: jobs.max(1),
            running: Vec::new(),
        }
    }

    pub fn has_room(&self) -> bool {
        self.running.len() < self.jobs
    }

    /// Starts the program with `arguments`, whose last line of output must be a report.
    pub fn start(&mut self, what: T, arguments: &[String]) -> Result<(), String> {
        let complain = |error: std::io::Error| format!("could not start a run: {error}");
        let program = match &self.program {
            Some(program) => program.clone(),
            None => process::this().map_err(complain)?,
        };
        let mut child = process::child(&program, arguments).map_err(complain)?;
        let stdout = drain(child.stdout.take().expect("the child's output is piped"));
        let stderr = drain(child.stderr.take().expect("the child's errors are piped"));
        self.running.push(Running {
            what,
            child,
            stdout,
            stderr,
        });
        Ok(())
    }

    /// Waits until one has finished. None: nothing runs.
    pub fn wait(&mut self) -> Result<Option<(T, Finished)>, String> {
        loop {
            if self.running.is_empty() {
                return Ok(None);
            }
            let finished = self
                .running
                .iter_mut()
                .position(|run| matches!(run.child.try_wait(), Ok(Some(_))));
            match finished {
                Some(index) => {
                    let run = self.running.swap_remove(index);
                    return finish(run).map(Some);
                }
                None => wait_a_little(),
            }
        }
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        for run in &mut self.running {
            let _ = run.child.kill();
            let _ = run.child.wait();
        }
    }
}

/// One run, to its end.
pub fn run_one(arguments: &[String]) -> Result<Finished, String> {
    let mut crew = Crew::new(1);
    crew.start((), arguments)?;
    let finished = crew.wait()?;
    Ok(finished.expect("one was started").1)
}

#[expect(clippy::disallowed_methods, reason = "waits in real time for children")]
fn wait_a_little() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Reads a pipe to its end beside us, so that a child never waits for us to read.
#[expect(
    clippy::disallowed_methods,
    reason = "this is an ordinary program; no simulated run lives in it"
)]
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn finish<T>(mut run: Running<T>) -> Result<(T, Finished), String> {
    let status = run
        .child
        .wait()
        .map_err(|error| format!("could not wait for a run: {error}"))?;
    let stdout = run.stdout.join().unwrap_or_default();
    let stderr = run.stderr.join().unwrap_or_default();
    let report = stdout
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str::<Report>(line).ok());
    let finished = match report {
        Some(report) => Finished::Report(Box::new(report)),
        None => Finished::Died {
            status,
            said: format!("{stdout}{stderr}"),
        },
    };
    Ok((run.what, finished))
}
