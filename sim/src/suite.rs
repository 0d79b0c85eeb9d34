//! Suites: many seeds of several scenarios, each in a process of its own; and `meta`, one seed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::{self, Stopwatch};
use crate::report::{Report, Verdict, exit};
use crate::{files, trace};

pub struct SuiteOptions {
    pub scenarios: Vec<String>,
    pub seeds: u64,
    pub base: u64,
    pub jobs: usize,
    pub fail_fast: bool,
    /// So many of the seeds run in two processes, which must agree event by event.
    pub twice: u64,
    /// What stands under `sometimes` and happened in no seed fails the suite.
    pub demand_sometimes: bool,
}

/// What a child left behind.
enum Finished {
    Report(Box<Report>),
    /// It ended without a report: refused, aborted, or ran out of wall time.
    Died {
        status: ExitStatus,
        said: String,
    },
}

struct Running {
    scenario: String,
    seed: u64,
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

/// Runs every scenario with every seed. Returns the exit code.
pub fn suite(options: &SuiteOptions) -> Result<u8, String> {
    let watch = Stopwatch::start();
    let mut queue = (0..options.seeds).flat_map(|offset| {
        let times = if offset < options.twice { 2 } else { 1 };
        let scenarios = options.scenarios.iter();
        let runs = scenarios.flat_map(move |scenario| std::iter::repeat_n(scenario, times));
        runs.map(move |scenario| (scenario.clone(), options.base.wrapping_add(offset)))
    });
    let seeds = options.seeds + options.twice.min(options.seeds);
    let total = seeds * u64::try_from(options.scenarios.len()).expect("scenarios are few");
    let mut running: Vec<Running> = Vec::new();
    let mut tally = Tally::default();
    loop {
        while running.len() < options.jobs && !(options.fail_fast && tally.failures > 0) {
            let Some((scenario, seed)) = queue.next() else { break };
            running.push(start(&scenario, seed)?);
        }
        if running.is_empty() {
            break;
        }
        let Some(index) = running
            .iter_mut()
            .position(|run| matches!(run.child.try_wait(), Ok(Some(_))))
        else {
            wait_a_little();
            continue;
        };
        let run = running.swap_remove(index);
        let (scenario, seed) = (run.scenario.clone(), run.seed);
        tally.add(&scenario, seed, finish(run)?);
        tally.show_progress(total, &watch);
    }
    tally.show_end(options, &watch);
    Ok(tally.code(options))
}

#[expect(clippy::disallowed_methods, reason = "the suite waits in real time for its children")]
fn wait_a_little() {
    std::thread::sleep(Duration::from_millis(5));
}

fn start(scenario: &str, seed: u64) -> Result<Running, String> {
    let arguments: Vec<String> = ["run", scenario, "--seed", &seed.to_string(), "--report"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut child = process::child(&arguments).map_err(|error| format!("could not start a run: {error}"))?;
    let stdout = drain(child.stdout.take().expect("the child's output is piped"));
    let stderr = drain(child.stderr.take().expect("the child's errors are piped"));
    Ok(Running {
        scenario: scenario.to_owned(),
        seed,
        child,
        stdout,
        stderr,
    })
}

/// Reads a pipe to its end beside us, so that a child never waits for us to read.
#[expect(
    clippy::disallowed_methods,
    reason = "the suite is an ordinary program; no simulated run lives in it"
)]
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn finish(mut run: Running) -> Result<Finished, String> {
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
    Ok(match report {
        Some(report) => Finished::Report(Box::new(report)),
        None => Finished::Died {
            status,
            said: format!("{stdout}{stderr}"),
        },
    })
}

/// What a suite has seen so far.
#[derive(Default)]
struct Tally {
    runs: u64,
    failures: u64,
    code: u8,
    simulated: u64,
    run_wall: u64,
    reproduce: Vec<String>,
    /// (scenario, seed) -> hash of the first run's trace and its verdict, to compare with a second.
    first: BTreeMap<(String, u64), (String, Verdict)>,
    compared: u64,
    /// scenario -> `sometimes` that happened, and those that were asked for.
    happened: BTreeMap<String, BTreeSet<String>>,
    asked: BTreeMap<String, BTreeSet<String>>,
}

impl Tally {
    fn add(&mut self, scenario: &str, seed: u64, finished: Finished) {
        self.runs += 1;
        match finished {
            Finished::Report(report) => {
                self.simulated += report.simulated_micros;
                self.run_wall += report.wall_micros;
                self.happened
                    .entry(scenario.to_owned())
                    .or_default()
                    .extend(report.happened.iter().cloned());
                let asked = report.happened.iter().chain(&report.missed).cloned();
                self.asked.entry(scenario.to_owned()).or_default().extend(asked);
                self.compare(scenario, seed, &report);
                if report.verdict != Verdict::Passed {
                    self.fail(report.verdict.exit_code(), report.reproduce(), &report.tail);
                }
            }
            Finished::Died { status, said } => {
                let code = status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .filter(|code| *code != 0);
                let last: Vec<String> = said.lines().rev().take(15).map(str::to_owned).collect();
                let line =
                    format!("cargo sim run {scenario} --seed {seed}   the run ended without a report ({status})");
                self.fail(
                    code.unwrap_or(exit::FAILED),
                    line,
                    &last.into_iter().rev().collect::<Vec<_>>(),
                );
            }
        }
    }

    /// Of two runs of one seed, in two processes, the second must be the first again.
    fn compare(&mut self, scenario: &str, seed: u64, report: &Report) {
        let run = (report.hash.clone(), report.verdict.clone());
        let Some(first) = self.first.remove(&(scenario.to_owned(), seed)) else {
            self.first.insert((scenario.to_owned(), seed), run);
            return;
        };
        self.compared += 1;
        if first != run {
            let line = format!(
                "cargo sim meta {scenario} --seed {seed}   not deterministic: {} and {}",
                first.0, run.0
            );
            self.fail(exit::NOT_DETERMINISTIC, line, &report.tail);
        }
    }

    /// (scenario, name) of what was to happen in some seed and did not.
    fn never(&self) -> Vec<(&str, &str)> {
        let names = self.asked.iter().flat_map(|(scenario, asked)| {
            let happened = self.happened.get(scenario);
            let missed = asked
                .iter()
                .filter(move |name| !happened.is_some_and(|happened| happened.contains(*name)));
            missed.map(move |name| (scenario.as_str(), name.as_str()))
        });
        names.collect()
    }

    fn code(&self, options: &SuiteOptions) -> u8 {
        match self.code {
            exit::PASSED if options.demand_sometimes && !self.never().is_empty() => exit::FAILED,
            code => code,
        }
    }

    fn fail(&mut self, code: u8, line: String, tail: &[String]) {
        if self.failures == 0 {
            self.code = code;
            eprintln!("\nfirst failure; the newest events were:");
            for event in tail {
                eprintln!("    {event}");
            }
        }
        eprintln!("\nFAILED  {line}");
        self.failures += 1;
        self.reproduce.push(line);
    }

    fn show_progress(&self, total: u64, watch: &Stopwatch) {
        let mut out = std::io::stderr();
        if !out.is_terminal() {
            return;
        }
        let wall = watch.elapsed().as_secs_f64().max(0.001);
        let _ = write!(
            out,
            "\r{}/{total} runs, {} failed, {:.1} runs/s",
            self.runs,
            self.failures,
            self.runs as f64 / wall
        );
        let _ = out.flush();
    }

    fn show_end(&self, options: &SuiteOptions, watch: &Stopwatch) {
        let wall = watch.elapsed().as_secs_f64().max(0.001);
        let simulated = self.simulated as f64 / 1e6;
        println!();
        println!(
            "{} runs of {}: {} failed",
            self.runs,
            options.scenarios.join(", "),
            self.failures
        );
        println!(
            "{simulated:.0} simulated seconds in {wall:.1} wall seconds; {:.1} per wall second and run, {:.2} seeds/s",
            simulated / (self.run_wall as f64 / 1e6).max(0.001),
            self.runs as f64 / wall
        );
        if self.compared > 0 {
            println!("{} seeds were run in two processes", self.compared);
        }
        for (scenario, name) in self.never() {
            println!("never happened in {scenario}: {name}");
        }
        for line in &self.reproduce {
            println!("{line}");
        }
    }
}

/// Runs one seed twice in fresh processes and compares. Returns the exit code.
pub fn meta(scenario: &str, seed: u64) -> Result<u8, String> {
    let path = |number: u8| -> PathBuf {
        std::env::temp_dir().join(format!("understudy-sim-{}-{number}.trace", std::process::id()))
    };
    let mut runs = Vec::new();
    for number in [1, 2] {
        let trace_file = path(number);
        let arguments: Vec<String> = vec![
            "run".to_owned(),
            scenario.to_owned(),
            "--seed".to_owned(),
            seed.to_string(),
            "--report".to_owned(),
            "--trace".to_owned(),
            trace_file.display().to_string(),
        ];
        let output = process::child(&arguments)
            .and_then(Child::wait_with_output)
            .map_err(|error| format!("could not start a run: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(report) = said
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str::<Report>(line).ok())
        else {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "run {number} ended without a report ({}):\n{said}{errors}",
                output.status
            ));
        };
        runs.push((report, trace_file));
    }
    let [(first, first_file), (second, second_file)] = &runs[..] else {
        unreachable!("there were two runs")
    };
    println!("first run:  {} lines, trace hash: {}", first.lines, first.hash);
    println!("second run: {} lines, trace hash: {}", second.lines, second.hash);
    let equal = first.hash == second.hash && first.verdict == second.verdict;
    if equal {
        println!("equal");
    } else {
        let difference = trace::first_difference(&files::read(first_file)?, &files::read(second_file)?);
        match difference {
            Some(difference) => {
                println!(
                    "NOT DETERMINISTIC; the first difference is line {}, after",
                    difference.line
                );
                for line in &difference.before {
                    println!("    {line}");
                }
                println!("  first:  {}", difference.first.as_deref().unwrap_or("(ended)"));
                println!("  second: {}", difference.second.as_deref().unwrap_or("(ended)"));
            }
            None => println!("NOT DETERMINISTIC: the traces agree and the verdicts do not"),
        }
    }
    files::remove(first_file);
    files::remove(second_file);
    if !equal {
        return Ok(exit::NOT_DETERMINISTIC);
    }
    if first.verdict != Verdict::Passed {
        println!("{}", first.reproduce());
    }
    Ok(first.verdict.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(hash: &str, happened: &[&str], missed: &[&str]) -> Finished {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Finished::Report(Box::new(Report {
            scenario: "calm".to_owned(),
            seed: 1,
            verdict: Verdict::Passed,
            hash: hash.to_owned(),
            lines: 1,
            simulated_micros: 1,
            wall_micros: 1,
            happened: words(happened),
            missed: words(missed),
            summary: String::new(),
            tail: Vec::new(),
        }))
    }

    fn options(demand_sometimes: bool) -> SuiteOptions {
        SuiteOptions {
            scenarios: vec!["calm".to_owned()],
            seeds: 1,
            base: 1,
            jobs: 1,
            fail_fast: false,
            twice: 1,
            demand_sometimes,
        }
    }

    #[test]
    fn two_runs_of_a_seed_that_differ_fail_the_suite() {
        let mut tally = Tally::default();
        for (seed, hash) in [(1, "x"), (2, "y"), (1, "x")] {
            tally.add("calm", seed, ran(hash, &[], &[]));
        }
        assert_eq!((tally.compared, tally.code(&options(false))), (1, exit::PASSED));
        tally.add("calm", 2, ran("z", &[], &[]));
        assert_eq!(tally.code(&options(false)), exit::NOT_DETERMINISTIC);
        assert!(
            tally.reproduce[0].starts_with("cargo sim meta calm --seed 2 "),
            "{:?}",
            tally.reproduce
        );
    }

    #[test]
    fn what_happens_in_no_seed_fails_a_suite_that_demands_it() {
        let mut tally = Tally::default();
        tally.add("calm", 1, ran("x", &["one"], &["two"]));
        assert_eq!(tally.never(), [("calm", "two")]);
        assert_eq!(tally.code(&options(false)), exit::PASSED);
        assert_eq!(tally.code(&options(true)), exit::FAILED);
        tally.add("calm", 2, ran("y", &["two"], &["one"]));
        assert_eq!(tally.code(&options(true)), exit::PASSED);
    }
}
