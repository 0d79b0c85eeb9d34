//! Suites: many seeds of several scenarios, each in a process of its own, and failures that were kept.
//!
//! A failure of a seed is written to the report folder, as a plan that `cargo sim replay` runs again. What has been done
//! is written there too, so that a suite that was stopped goes on where it was.
//!
//! Must not know: what a run is made of.

mod coverage;
mod progress;
mod tally;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::children::{Crew, Finished};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::process::Stopwatch;
use crate::report::{Report, Verdict, exit};
use crate::scenario::Scenario;
use crate::{files, meta};
pub use coverage::Coverage;
use progress::Progress;

pub struct SuiteOptions {
    /// Scenarios by name or path, of each of which every seed is run.
    pub scenarios: Vec<String>,
    /// These are all scenarios there are: what the server says must happen can be demanded.
    pub everything: bool,
    /// Failures and scenarios with a seed, each of which is run once and must pass.
    pub kept: Vec<PathBuf>,
    /// How many seeds; None: as many as there is time for.
    pub seeds: Option<u64>,
    pub base: u64,
    pub jobs: usize,
    pub fail_fast: bool,
    /// So many of the seeds run in two processes, which must agree event by event.
    pub twice: u64,
    /// And one of so many, to the end.
    pub twice_every: Option<u64>,
    /// What stands under `sometimes` and happened in no seed fails the suite.
    pub demand_sometimes: bool,
    /// No run is started after so much wall time.
    pub time: Option<Duration>,
    /// Goes on where the suite that wrote to `report` was.
    pub resume: bool,
    /// Where failures go, and what has been done.
    pub report: PathBuf,
}

/// One run of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    Seed { scenario: String, seed: u64 },
    Kept(PathBuf),
}

impl Job {
    /// What follows `cargo sim` to run it.
    fn command(&self) -> Vec<String> {
        match self {
            Job::Seed { scenario, seed } => vec![
                "run".to_owned(),
                scenario.clone(),
                "--seed".to_owned(),
                seed.to_string(),
            ],
            Job::Kept(path) => {
                let word = if path.extension().is_some_and(|extension| extension == "yaml") {
                    "run"
                } else {
                    "replay"
                };
                vec![word.to_owned(), path.display().to_string()]
            }
        }
    }
}

/// All runs, in order: what was kept, then seed by seed.
fn jobs(options: &SuiteOptions) -> impl Iterator<Item = Job> + '_ {
    let kept = options.kept.iter().cloned().map(Job::Kept);
    let last = if options.scenarios.is_empty() {
        Some(0)
    } else {
        options.seeds
    };
    let offsets = (0..).take_while(move |offset| last.is_none_or(|last| *offset < last));
    let seeds = offsets.flat_map(move |offset| {
        let times = if is_twice(options, offset) { 2 } else { 1 };
        let runs = options
            .scenarios
            .iter()
            .flat_map(move |scenario| std::iter::repeat_n(scenario, times));
        runs.map(move |scenario| Job::Seed {
            scenario: scenario.clone(),
            seed: options.base.wrapping_add(offset),
        })
    });
    kept.chain(seeds)
}

/// Whether the seeds this far from the first run in two processes: the first so many, and then one of so many.
fn is_twice(options: &SuiteOptions, offset: u64) -> bool {
    offset < options.twice || options.twice_every.is_some_and(|every| offset.is_multiple_of(every))
}

/// How many runs there are, if that is known.
fn total(options: &SuiteOptions) -> Option<u64> {
    let kept = u64::try_from(options.kept.len()).expect("files are few");
    let scenarios = u64::try_from(options.scenarios.len()).expect("scenarios are few");
    if scenarios == 0 {
        return Some(kept);
    }
    let seeds = options.seeds?;
    let first = options.twice.min(seeds);
    // Multiples of `every` below `seeds` that are not below `first`.
    let later = options
        .twice_every
        .map_or(0, |every| seeds.div_ceil(every) - first.div_ceil(every));
    Some(kept + scenarios * (seeds + first + later))
}

/// Runs everything. Returns the exit code.
pub fn suite(mut options: SuiteOptions) -> Result<u8, String> {
    let watch = Stopwatch::start();
    let mut progress = match Progress::begin(&mut options) {
        Ok(progress) => progress,
        Err(why) => {
            eprintln!("sim: {why}");
            return Ok(exit::USAGE);
        }
    };
    let total = total(&options);
    let options = options;
    let mut crew: Crew<(u64, Job)> = Crew::new(options.jobs);
    // Runs are counted from the very first, whoever started them.
    let before = progress.done.clone();
    let mut queue = (0..)
        .zip(jobs(&options))
        .filter(move |(index, _)| !before.holds(*index));
    loop {
        while crew.has_room()
            && !(options.fail_fast && progress.tally.failures > 0)
            && options.time.is_none_or(|time| watch.elapsed() < time)
        {
            let Some((index, job)) = queue.next() else { break };
            let mut arguments = job.command();
            arguments.push("--json".to_owned());
            crew.start((index, job), &arguments)?;
        }
        let Some(((index, job), finished)) = crew.wait()? else {
            break;
        };
        let compares = matches!(&job, Job::Seed { seed, .. } if is_twice(&options, seed.wrapping_sub(options.base)));
        let differed = progress.tally.add(&job, &finished, compares);
        if let Finished::Report(report) = &finished {
            let (plan, scenario) = planned(&job)?;
            progress.tally.coverage.add(&plan, scenario.as_ref(), report);
        }
        if let Job::Seed { scenario, seed } = &job
            && finished.verdict() != Verdict::Passed
        {
            let path = keep(&options.report, scenario, *seed, &finished)?;
            eprintln!("kept: cargo sim replay {}", path.display());
        }
        if let (true, Job::Seed { scenario, seed }) = (differed, &job) {
            // It may be the same this time; a third and a fourth run have as good a chance to differ as the first two.
            if let Err(why) = meta::meta(scenario, *seed) {
                eprintln!("sim: {why}");
            }
        }
        progress.finished(index, &watch)?;
        let wall = progress.wall(&watch);
        progress.tally.show_progress(total, options.time, wall, watch.elapsed());
    }
    progress.save(&watch)?;
    progress.tally.show_end(&options, progress.wall(&watch));
    Ok(progress.tally.code(options.demand_sometimes, options.everything))
}

/// What the suite that wrote to `folder` has covered.
pub fn coverage_of(folder: &Path) -> Result<Coverage, String> {
    progress::tally_of(folder).map(|tally| tally.coverage)
}

/// The plan of a run, and its scenario if that still tells what the choices were.
fn planned(job: &Job) -> Result<(Plan, Option<Scenario>), String> {
    match job {
        Job::Kept(path) if path.extension().is_some_and(|extension| extension == "json") => {
            Failure::read(path).map(|failure| (failure.plan, None))
        }
        Job::Kept(path) => {
            let scenario = read(&path.display().to_string())?.0;
            let seed = scenario.seed.unwrap_or_default();
            Ok((Plan::new(&scenario, seed), Some(scenario)))
        }
        Job::Seed { scenario, seed } => {
            let scenario = read(scenario)?.0;
            Ok((Plan::new(&scenario, *seed), Some(scenario)))
        }
    }
}

fn read(name: &str) -> Result<(Scenario, String), String> {
    let (file, text) = files::read_scenario(name)?;
    let scenario = Scenario::parse(&file, &text).map_err(|complaint| complaint.to_string())?;
    Ok((scenario, text))
}

/// Writes a failing seed where it can be found again.
fn keep(folder: &Path, name: &str, seed: u64, finished: &Finished) -> Result<PathBuf, String> {
    let (scenario, text) = read(name)?;
    let mut plan = Plan::new(&scenario, seed);
    name.clone_into(&mut plan.scenario);
    let died;
    let report = match finished {
        Finished::Report(report) => report,
        Finished::Died { said, .. } => {
            died = Report::died(&plan, finished.verdict(), said);
            &died
        }
    };
    Failure::new(&plan, &text, report).keep(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn options() -> SuiteOptions {
        SuiteOptions {
            scenarios: vec!["calm".to_owned(), "wild".to_owned()],
            everything: false,
            kept: vec![PathBuf::from("x/old.json"), PathBuf::from("x/small.yaml")],
            seeds: Some(2),
            base: 7,
            jobs: 1,
            fail_fast: false,
            twice: 1,
            twice_every: None,
            demand_sometimes: false,
            time: None,
            resume: false,
            report: PathBuf::from("r"),
        }
    }

    #[test]
    fn what_was_kept_comes_first_and_then_seed_by_seed() {
        let commands: Vec<String> = jobs(&options()).map(|job| job.command().join(" ")).collect();
        assert_eq!(
            commands,
            [
                "replay x/old.json",
                "run x/small.yaml",
                "run calm --seed 7",
                "run calm --seed 7",
                "run wild --seed 7",
                "run wild --seed 7",
                "run calm --seed 8",
                "run wild --seed 8",
            ]
        );
        assert_eq!(total(&options()), Some(8));
        // The first two, and every third of ten.
        let often = SuiteOptions {
            twice: 2,
            twice_every: Some(3),
            seeds: Some(10),
            ..options()
        };
        let runs: Vec<Job> = jobs(&often).collect();
        let of = |seed: u64| {
            runs.iter()
                .filter(move |job| matches!(job, Job::Seed { seed: other, .. } if *other == seed))
        };
        let times: Vec<usize> = (7..17).map(|seed| of(seed).count() / 2).collect();
        assert_eq!(times, [2, 2, 1, 2, 1, 1, 2, 1, 1, 2]);
        assert_eq!(total(&often), Some(runs.len() as u64));
        let endless = SuiteOptions {
            seeds: None,
            ..options()
        };
        assert_eq!((total(&endless), jobs(&endless).take(1_000).count()), (None, 1_000));
        let only_kept = SuiteOptions {
            scenarios: Vec::new(),
            seeds: None,
            ..options()
        };
        assert_eq!((total(&only_kept), jobs(&only_kept).count()), (Some(2), 2));
    }
}
