//! Trials for real: each plan in a fresh process, some at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Failed, Size, Trials};
use crate::children::{Crew, Finished, run_one};
use crate::failure::Failure;
use crate::files;
use crate::plan::Plan;
use crate::process::Stopwatch;
use crate::report::Report;

pub struct Processes {
    /// Everything of it but the plan.
    template: Failure,
    signature: String,
    jobs: usize,
    budget: Duration,
    watch: Stopwatch,
    /// A trial that takes longer hangs, which is another failure.
    wall_limit_secs: u64,
    count: u64,
}

impl Processes {
    /// Trials of plans that must fail as `template` did.
    pub fn new(template: Failure, signature: String, jobs: usize, budget: Duration) -> Processes {
        Processes {
            template,
            signature,
            jobs,
            budget,
            watch: Stopwatch::start(),
            wall_limit_secs: 600,
            count: 0,
        }
    }

    /// Runs the plan that is to become smaller. Err: it does not fail as it should.
    pub fn run_first(&mut self, plan: &Plan) -> Result<Failed, String> {
        let finished = self.run(plan)?;
        let signature = finished.verdict().signature();
        if signature.as_ref() != Some(&self.signature) {
            return Err(format!(
                "this build does not fail that way, so there is nothing to make smaller: {:?} was expected, and it {}",
                self.signature,
                signature.map_or_else(|| "passed".to_owned(), |other| format!("failed with {other:?}"))
            ));
        }
        if let Finished::Report(report) = &finished {
            self.wall_limit_secs = 10 + report.wall_micros / 100_000;
        }
        Ok(told(finished))
    }

    /// The report of one run of `plan`, if it fails as it should.
    pub fn confirm(&mut self, plan: &Plan) -> Result<Option<Report>, String> {
        match self.run(plan)? {
            Finished::Report(report) if report.verdict.signature().as_ref() == Some(&self.signature) => {
                Ok(Some(*report))
            }
            _ => Ok(None),
        }
    }

    pub fn trials(&self) -> u64 {
        self.count
    }

    fn run(&mut self, plan: &Plan) -> Result<Finished, String> {
        let file = self.write(plan)?;
        let finished = run_one(&self.arguments(&file));
        files::remove(&file);
        finished
    }

    fn write(&mut self, plan: &Plan) -> Result<PathBuf, String> {
        self.count += 1;
        let file = files::scratch(&format!("trial-{}.json", self.count));
        self.template.plan = plan.clone();
        self.template.write(&file)?;
        Ok(file)
    }

    fn arguments(&self, file: &std::path::Path) -> Vec<String> {
        let limit = self.wall_limit_secs.to_string();
        ["replay", &file.display().to_string(), "--json", "--wall-limit", &limit]
            .map(str::to_owned)
            .to_vec()
    }
}

fn told(finished: Finished) -> Failed {
    match finished {
        Finished::Report(report) => Failed {
            reached: report.reached,
            end: report.simulated_micros,
        },
        Finished::Died { .. } => Failed::default(),
    }
}

impl Trials for Processes {
    fn first_failing(&mut self, candidates: &[Plan]) -> Result<Option<(usize, Failed)>, String> {
        let mut crew: Crew<(usize, PathBuf)> = Crew::new(self.jobs);
        let mut written = Vec::new();
        let mut results: BTreeMap<usize, Option<Failed>> = BTreeMap::new();
        let mut next = 0;
        let found = loop {
            while crew.has_room() && next < candidates.len() && self.watch.elapsed() < self.budget {
                let file = self.write(&candidates[next])?;
                written.push(file.clone());
                crew.start((next, file.clone()), &self.arguments(&file))?;
                next += 1;
            }
            let Some(((index, _), finished)) = crew.wait()? else {
                break None;
            };
            let fails = finished.verdict().signature().as_ref() == Some(&self.signature);
            results.insert(index, fails.then(|| told(finished)));
            // The first in order wins, whoever finishes first: the same failure shrinks the same way every time.
            let in_order = (0..).map_while(|index| Some((index, results.get(&index)?)));
            let first = in_order
                .filter_map(|(index, failed)| Some((index, failed.clone()?)))
                .next();
            if first.is_some() {
                break first;
            }
        };
        drop(crew);
        for file in written {
            files::remove(&file);
        }
        Ok(found)
    }

    fn smaller(&mut self, plan: &Plan) {
        let wall = self.watch.elapsed();
        eprintln!(
            "{:>6.1}s {:>4} runs: {}",
            wall.as_secs_f64(),
            self.count,
            Size::of(plan)
        );
    }
}
