//! What a suite has seen so far, and how it says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Coverage, Job, SuiteOptions};
use crate::children::Finished;
use crate::report::{Report, Verdict, exit};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    pub runs: u64,
    pub failures: u64,
    code: u8,
    simulated_micros: u64,
    /// Of all runs, one after another.
    run_wall_micros: u64,
    reproduce: Vec<String>,
    /// Scenario and seed -> hash of the first run's trace and its verdict, until there is a second to compare with.
    first: BTreeMap<String, (String, Verdict)>,
    compared: u64,
    /// scenario -> `sometimes` that happened, and those that were asked for.
    happened: BTreeMap<String, BTreeSet<String>>,
    asked: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    pub coverage: Coverage,
    /// When progress was last shown where nobody watches, in seconds.
    #[serde(skip)]
    shown_secs: u64,
}

/// Where the output is not a terminal, progress is a line now and then.
const LINE_EVERY_SECS: u64 = 60;

impl Tally {
    /// `is_twice`: the seed runs in two processes, and this is one of them. Whether they were not the same.
    pub fn add(&mut self, job: &Job, finished: &Finished, is_twice: bool) -> bool {
        self.runs += 1;
        let mut differs = false;
        match finished {
            Finished::Report(report) => {
                self.simulated_micros += report.simulated_micros;
                self.run_wall_micros += report.wall_micros;
                if let Job::Seed { scenario, seed } = job {
                    self.count_sometimes(scenario, report);
                    if is_twice {
                        differs = self.differs(scenario, *seed, report);
                    }
                }
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
                let line = format!(
                    "cargo sim {}   the run ended without a report ({status})",
                    job.command().join(" ")
                );
                self.fail(
                    code.unwrap_or(exit::FAILED),
                    line,
                    &last.into_iter().rev().collect::<Vec<_>>(),
                );
            }
        }
        differs
    }

    fn count_sometimes(&mut self, scenario: &str, report: &Report) {
        let happened = self.happened.entry(scenario.to_owned()).or_default();
        happened.extend(report.happened.iter().cloned());
        let asked = report.happened.iter().chain(&report.missed).cloned();
        self.asked.entry(scenario.to_owned()).or_default().extend(asked);
    }

    /// Of two runs of one seed, in two processes, the second must be the first again.
    fn differs(&mut self, scenario: &str, seed: u64, report: &Report) -> bool {
        let run = (report.hash.clone(), report.verdict.clone());
        let key = format!("{scenario} {seed}");
        let Some(first) = self.first.remove(&key) else {
            self.first.insert(key, run);
            return false;
        };
        self.compared += 1;
        if first != run {
            let line = format!(
                "cargo sim meta {scenario} --seed {seed}   not deterministic: {} and {}",
                first.0, run.0
            );
            self.fail(exit::NOT_DETERMINISTIC, line, &report.tail);
        }
        first != run
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

    /// `everything` says that the suite was of all scenarios.
    pub fn code(&self, demand_sometimes: bool, everything: bool) -> u8 {
        let missed = !self.never().is_empty() || everything && !self.coverage.required_and_never().is_empty();
        match self.code {
            exit::PASSED if demand_sometimes && missed => exit::FAILED,
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

    /// `wall` is how long all of it has taken, `session` since this process began.
    pub fn show_progress(&mut self, total: Option<u64>, limit: Option<Duration>, wall: Duration, session: Duration) {
        let mut out = std::io::stderr();
        let line = self.progress(total, limit.map(|limit| limit.saturating_sub(session)), wall);
        if out.is_terminal() {
            let _ = write!(out, "\r\x1b[K{line}");
            let _ = out.flush();
        } else if wall.as_secs() >= self.shown_secs + LINE_EVERY_SECS {
            self.shown_secs = wall.as_secs();
            eprintln!("{line}");
        }
    }

    /// `[####      ] 120/300 runs, 1 failed, 4.0 seeds/s, 260 simulated s/s, sometimes 7/9, 0m45s left`. `time_left` is
    /// what the limit of time leaves, if there is one.
    fn progress(&self, total: Option<u64>, time_left: Option<Duration>, wall: Duration) -> String {
        const WIDTH: usize = 20;
        let secs = wall.as_secs_f64().max(0.001);
        let rate = self.runs as f64 / secs;
        let by_runs = total.map(|total| total.saturating_sub(self.runs) as f64 / rate.max(0.001));
        // Whichever ends first.
        let left = [by_runs, time_left.map(|left| left.as_secs_f64())]
            .into_iter()
            .flatten()
            .reduce(f64::min);
        let share = left.map_or(0.0, |left| secs / (secs + left));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of twenty"
        )]
        let filled = ((share * WIDTH as f64) as usize).min(WIDTH);
        let mut line = format!("[{}{}] {}", "#".repeat(filled), " ".repeat(WIDTH - filled), self.runs);
        if let Some(total) = total {
            let _ = write!(line, "/{total}");
        }
        let asked: usize = self.asked.values().map(BTreeSet::len).sum();
        let _ = write!(
            line,
            " runs, {} failed, {rate:.1} seeds/s, {:.0} simulated s/s",
            self.failures,
            self.simulated_micros as f64 / 1e6 / secs
        );
        if asked > 0 {
            let _ = write!(line, ", sometimes {}/{asked}", asked - self.never().len());
        }
        if let Some(left) = left {
            let left = Duration::from_secs_f64(left.min(1e9)).as_secs();
            let _ = write!(line, ", {}m{:02}s left", left / 60, left % 60);
        }
        line
    }

    pub fn show_end(&self, options: &SuiteOptions, wall: Duration) {
        let wall = wall.as_secs_f64().max(0.001);
        let simulated = self.simulated_micros as f64 / 1e6;
        let kept = options.kept.iter().map(|path| path.display().to_string());
        let names: Vec<String> = kept.chain(options.scenarios.iter().cloned()).collect();
        println!();
        println!("{} runs of {}: {} failed", self.runs, names.join(", "), self.failures);
        println!(
            "{simulated:.0} simulated seconds in {wall:.1} wall seconds; {:.1} per wall second and run, {:.2} seeds/s",
            simulated / (self.run_wall_micros as f64 / 1e6).max(0.001),
            self.runs as f64 / wall
        );
        if self.compared > 0 {
            println!("{} seeds were run in two processes", self.compared);
        }
        for (scenario, name) in self.never() {
            println!("never happened in {scenario}: {name}");
        }
        print!("{}", self.coverage.brief(options.everything));
        for line in &self.reproduce {
            println!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::tests::report;
    use crate::plan::Plan;
    use crate::scenario::tests::parse_example;

    fn ran(hash: &str, happened: &[&str], missed: &[&str]) -> Finished {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let plan = Plan::new(&parse_example(), 1);
        Finished::Report(Box::new(Report {
            hash: hash.to_owned(),
            happened: words(happened),
            missed: words(missed),
            ..report(&plan, Verdict::Passed)
        }))
    }

    fn job(seed: u64) -> Job {
        Job::Seed {
            scenario: "calm".to_owned(),
            seed,
        }
    }

    #[test]
    fn two_runs_of_a_seed_that_differ_fail_the_suite() {
        let mut tally = Tally::default();
        for (seed, hash) in [(1, "x"), (2, "y"), (1, "x")] {
            tally.add(&job(seed), &ran(hash, &[], &[]), true);
        }
        assert_eq!((tally.compared, tally.code(false, false)), (1, exit::PASSED));
        tally.add(&job(2), &ran("z", &[], &[]), true);
        assert_eq!(tally.code(false, false), exit::NOT_DETERMINISTIC);
        assert!(
            tally.reproduce[0].starts_with("cargo sim meta calm --seed 2 "),
            "{:?}",
            tally.reproduce
        );
    }

    /// If this fails, what a suite writes once a second grows with every seed.
    #[test]
    fn a_seed_that_is_run_once_is_not_remembered() {
        let mut tally = Tally::default();
        for seed in 0..1_000 {
            tally.add(&job(seed), &ran("x", &[], &[]), false);
        }
        assert!(tally.first.is_empty());
        tally.add(&job(1_000), &ran("x", &[], &[]), true);
        assert_eq!(tally.first.len(), 1);
        tally.add(&job(1_000), &ran("x", &[], &[]), true);
        assert!(tally.first.is_empty() && tally.compared == 1);
    }

    #[test]
    fn what_happens_in_no_seed_fails_a_suite_that_demands_it() {
        let mut tally = Tally::default();
        tally.add(&job(1), &ran("x", &["one"], &["two"]), false);
        assert_eq!(tally.never(), [("calm", "two")]);
        assert_eq!(tally.code(false, false), exit::PASSED);
        assert_eq!(tally.code(true, false), exit::FAILED);
        tally.add(&job(2), &ran("y", &["two"], &["one"]), false);
        assert_eq!(tally.code(true, false), exit::PASSED);
    }

    #[test]
    fn progress_says_how_fast_and_how_long_yet() {
        let mut tally = Tally::default();
        for seed in 0..10 {
            tally.add(&job(seed), &ran("x", &["one"], &["two"]), false);
        }
        let line = tally.progress(Some(40), None, Duration::from_secs(5));
        assert_eq!(
            line,
            "[#####               ] 10/40 runs, 0 failed, 2.0 seeds/s, 20 simulated s/s, sometimes 1/2, 0m15s left"
        );
        // Time runs out before the seeds do.
        let line = tally.progress(Some(40), Some(Duration::from_secs(5)), Duration::from_secs(5));
        assert!(line.starts_with("[##########          ] 10/40 runs"), "{line}");
        assert!(line.ends_with("0m05s left"), "{line}");
        let line = tally.progress(None, None, Duration::from_secs(5));
        assert!(line.contains("] 10 runs,") && !line.contains("left"), "{line}");
    }
}
