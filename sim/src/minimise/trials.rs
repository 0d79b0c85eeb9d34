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
use crate::report::{Report, Verdict};
use crate::scenario::Scenario;

/// What may be spent.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub wall: Duration,
    pub runs: u64,
}

pub struct Processes {
    /// Everything of it but the plan.
    template: Failure,
    signature: String,
    jobs: usize,
    budget: Budget,
    watch: Stopwatch,
    /// A trial that takes longer hangs: when that is the failure, every one that still fails takes so long.
    wall_limit_secs: u64,
    count: u64,
}

impl Processes {
    /// Trials of plans that must fail as `template` did.
    pub fn new(template: Failure, signature: String, jobs: usize, budget: Budget) -> Processes {
        Processes {
            template,
            signature,
            jobs,
            budget,
            watch: Stopwatch::start(),
            wall_limit_secs: WALL_LIMIT_SECS,
            count: 0,
        }
    }

    /// Runs the plan that is to become smaller. Err: it does not fail as it should.
    pub fn run_first(&mut self, plan: &Plan) -> Result<Failed, String> {
        if matches!(self.template.verdict, Verdict::Died { .. }) {
            self.wall_limit_secs = self.limit_by_others(plan.seed)?;
        }
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
            self.wall_limit_secs = limit_after(report.wall_micros);
        }
        Ok(told(finished))
    }

    /// The report of one run of `plan`, if it fails as it should.
    pub fn confirm(&mut self, plan: &Plan) -> Result<Option<Report>, String> {
        let finished = self.run(plan)?;
        Ok(as_it_should(plan, finished, &self.signature))
    }

    /// A run that hung tells nothing of how long one takes that does not: other seeds of its scenario do.
    fn limit_by_others(&mut self, seed: u64) -> Result<u64, String> {
        let Ok(scenario) = Scenario::parse("the kept scenario", &self.template.scenario_text) else {
            return Ok(WALL_LIMIT_SECS);
        };
        for other in 1..=OTHER_SEEDS {
            let finished = self.run(&Plan::new(&scenario, seed.wrapping_add(other)))?;
            if let Finished::Report(report) = finished {
                return Ok(limit_after(report.wall_micros));
            }
        }
        Ok(WALL_LIMIT_SECS)
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

/// For a run of which nothing is known.
const WALL_LIMIT_SECS: u64 = 600;
/// So many seeds are tried for one that ends.
const OTHER_SEEDS: u64 = 3;

/// Ten times as long as a run that ended.
fn limit_after(wall_micros: u64) -> u64 {
    10 + wall_micros / 100_000
}

/// The report of a run that failed as it should, whether it lived to write one or not.
fn as_it_should(plan: &Plan, finished: Finished, signature: &str) -> Option<Report> {
    let verdict = finished.verdict();
    if verdict.signature().as_deref() != Some(signature) {
        return None;
    }
    Some(match finished {
        Finished::Report(report) => *report,
        Finished::Died { said, .. } => Report::died(plan, verdict, &said),
    })
}

fn told(finished: Finished) -> Failed {
    match finished {
        Finished::Report(report) => Failed {
            reached: report.reached,
            turns: Some(report.turns),
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
            while crew.has_room() && next < candidates.len() && !self.is_over() {
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

    fn is_over(&self) -> bool {
        self.watch.elapsed() >= self.budget.wall || self.count >= self.budget.runs
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::failure::tests::report;
    use crate::scenario::tests::parse_example;

    /// If this fails, a run that hangs or aborts is made small, and then said not to fail.
    #[test]
    fn a_run_that_died_again_in_the_same_way_is_confirmed() {
        let plan = Plan::new(&parse_example(), 1);
        let died = |code: i32| Finished::Died {
            status: ExitStatus::from_raw(code << 8),
            said: "sim: no progress\nlast".to_owned(),
        };
        let signature = died(4).verdict().signature().expect("it failed");
        let report_of = |finished| as_it_should(&plan, finished, &signature);
        let again = report_of(died(4)).expect("the same death");
        assert_eq!((again.verdict, again.tail.len()), (died(4).verdict(), 2));
        assert!(report_of(died(134)).is_none());
        let passed = report(&plan, Verdict::Passed);
        assert!(report_of(Finished::Report(Box::new(passed))).is_none());
        let failed = Verdict::Failed {
            check: "fsck".to_owned(),
            what: "x".to_owned(),
        };
        let failed = || Finished::Report(Box::new(report(&plan, failed.clone())));
        assert!(report_of(failed()).is_none());
        assert!(as_it_should(&plan, failed(), "fsck").is_some());
        assert!(limit_after(2_000_000) < WALL_LIMIT_SECS / 10);
    }
}
