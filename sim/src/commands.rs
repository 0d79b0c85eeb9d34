//! What each command does, and its exit code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Command, How, Minimise, Mutants, Replay, Run, Suite};
use crate::diff::first_difference;
use crate::failure::{COMMIT, Failure, SET};
use crate::minimise::trials::{Budget, Processes};
use crate::minimise::{self, Size};
use crate::plan::Plan;
use crate::report::{Report, Verdict, exit};
use crate::scenario::{self, Scenario, write};
use crate::suite::SuiteOptions;
use crate::timeline::Timeline;
use crate::trace::{Trace, events};
use crate::units::{Micros, show_moment};
use crate::yaml::Node;
use crate::{children, files, list, meta, mutants, process, suite};

/// Ok: the code of what was done. Err: the code of a refusal that was already printed.
type Code = Result<u8, u8>;

pub fn carry_out(command: Command) -> Code {
    match command {
        Command::List(what) => list::list(&what).map(|()| exit::PASSED).or_else(usage),
        Command::Run(run) => self::run(&run),
        Command::Suite(suite) => start_suite(&suite),
        Command::Meta { scenario, seed } => {
            load(&scenario).or_else(usage)?;
            needs_simulator()?;
            meta::meta(&scenario, seed).or_else(refuse)
        }
        Command::Replay(replay) => self::replay(&replay),
        Command::Minimise(what) => minimise(&what),
        Command::Coverage { report } => {
            let folder = report.unwrap_or_else(files::failure_folder);
            let coverage = suite::coverage_of(&folder).or_else(usage)?;
            print!("{coverage}");
            Ok(exit::PASSED)
        }
        Command::Mutants(what) => mutants(&what),
        Command::Diff { first, second } => diff(&first, &second),
        Command::Addresses => {
            needs_simulator()?;
            process::fix_addresses().or_else(refuse)?;
            println!("{}", process::addresses());
            Ok(exit::PASSED)
        }
        Command::Timeline { file, output } => timeline(&file, &output),
    }
}

fn fail<T>(code: u8, message: &str) -> Result<T, u8> {
    eprintln!("sim: {message}");
    Err(code)
}

fn usage<T>(message: String) -> Result<T, u8> {
    fail(exit::USAGE, &message)
}

fn refuse<T>(message: String) -> Result<T, u8> {
    fail(exit::REFUSED, &message)
}

/// A scenario by name or path, and its text.
pub fn load(name: &str) -> Result<(Scenario, String), String> {
    load_with(name, &[])
}

/// With other values: `set` has them as KEY=VALUE.
fn load_with(name: &str, set: &[String]) -> Result<(Scenario, String), String> {
    let (file, text) = files::read_scenario(name)?;
    let mut root = Node::parse(&file, &text).map_err(|complaint| complaint.to_string())?;
    for set in set {
        let (path, value) = set
            .split_once('=')
            .ok_or_else(|| format!("--set {set}: KEY=VALUE is due, as in network.latency=5ms"))?;
        root.set(path, value)?;
    }
    let scenario = Scenario::read(&file, &root).map_err(|complaint| complaint.to_string())?;
    Ok((scenario, text))
}

fn needs_simulator() -> Result<(), u8> {
    if cfg!(madsim) {
        return Ok(());
    }
    usage("this is an ordinary build, which has no simulator inside; run it as `cargo sim ...`".to_owned())
}

fn run(what: &Run) -> Code {
    let (scenario, text) = load_with(&what.scenario, &what.set).or_else(usage)?;
    let Some(seed) = what.seed.or(scenario.seed) else {
        return usage(format!(
            "{} names no seed of its own; say which with --seed",
            what.scenario
        ));
    };
    let mut plan = Plan::new(&scenario, seed);
    plan.until = what.how.until;
    // Called as it was asked for, so that the line that reproduces a failure can be pasted.
    what.scenario.clone_into(&mut plan.scenario);
    for set in &what.set {
        plan.scenario.push_str(&format!("{SET}{set}'"));
    }
    plan.mutant.clone_from(&what.how.mutant);
    let Some(report) = play(&plan, &what.how)? else {
        return Ok(exit::PASSED);
    };
    show(&report, &what.how);
    if (report.verdict != Verdict::Passed && !what.how.json) || what.keep {
        let folder = what.report.clone().unwrap_or_else(files::failure_folder);
        let path = Failure::new(&plan, &text, &report).keep(&folder).or_else(refuse)?;
        if !what.how.json {
            println!("kept: cargo sim replay {}", path.display());
        }
    }
    show_hash(&report, &what.how);
    Ok(report.verdict.exit_code())
}

fn replay(what: &Replay) -> Code {
    let failure = Failure::read(&what.file).or_else(usage)?;
    let mut plan = failure.plan.clone();
    let is_cut = end_at(&mut plan, what.how.until);
    let Some(mut report) = play(&plan, &what.how)? else {
        return Ok(exit::PASSED);
    };
    report.command = format!("replay {}", what.file.display());
    show(&report, &what.how);
    if is_cut {
        if !what.how.json {
            println!("kept as: {}", failure.about);
            println!("it is not compared with the run that was kept, which went further");
        }
        show_hash(&report, &what.how);
        return Ok(report.verdict.exit_code());
    }
    let same = report.hash == failure.hash && report.verdict == failure.verdict;
    let same_build = failure.commit == COMMIT;
    if !what.how.json {
        println!("kept as: {}", failure.about);
        if !same && !same_build {
            println!(
                "not the same run: it was kept by a build of {}, this is one of {COMMIT}; its hash was {}",
                failure.commit, failure.hash
            );
        } else if !same && failure.hash.is_empty() {
            println!("the run that was kept had ended without a report");
        } else if !same {
            println!(
                "NOT DETERMINISTIC: the run that was kept has the hash {}, and this is the same build",
                failure.hash
            );
        } else {
            println!("the same run, event for event");
        }
    }
    show_hash(&report, &what.how);
    if !what.how.json && !same && same_build && !failure.hash.is_empty() {
        return Ok(exit::NOT_DETERMINISTIC);
    }
    Ok(report.verdict.exit_code())
}

/// Prints the plan and carries it out. None: only printing was asked for.
fn play(plan: &Plan, how: &How) -> Result<Option<Report>, u8> {
    if how.plan {
        print!("{plan}");
        return Ok(None);
    }
    needs_simulator()?;
    if plan.mutant.is_some() && !mutants::IN_THIS_BUILD {
        return usage("this build has no bugs on purpose; `cargo sim mutants` makes one that has".to_owned());
    }
    process::fix_addresses().or_else(refuse)?;
    if !how.json {
        print!("{plan}");
    }
    let file = how.trace.as_deref().map(files::create).transpose().or_else(usage)?;
    process::watchdog(Duration::from_secs(how.wall_limit));
    let mut report = simulate(plan, Trace::new(file), how.begin_thread).or_else(refuse)?;
    if report.time_is_up && plan.ends_early() {
        report.verdict = Verdict::Passed;
        if !how.json {
            println!(
                "ended at {}, as was asked; nothing of the end is judged",
                show_moment(plan.ends_at())
            );
        }
    }
    Ok(Some(report))
}

/// Has a plan end at `until`; whether that is earlier than it would have.
fn end_at(plan: &mut Plan, until: Option<Micros>) -> bool {
    let before = plan.ends_at();
    plan.until = plan.until.into_iter().chain(until).min();
    plan.ends_at() < before
}

#[cfg(madsim)]
fn simulate(plan: &Plan, trace: Trace, begin_thread: bool) -> Result<Report, String> {
    crate::runner::run(plan, trace, begin_thread)
}

#[cfg(not(madsim))]
fn simulate(_: &Plan, _: Trace, _: bool) -> Result<Report, String> {
    unreachable!("an ordinary build refuses before it comes here")
}

fn show(report: &Report, how: &How) {
    if how.json {
        println!("{}", serde_json::to_string(report).expect("a report is plain data"));
        return;
    }
    if how.summary {
        print!("{}", report.summary);
    }
    for line in &report.tail {
        println!("    {line}");
    }
    let seconds = |micros: Micros| format!("{}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000);
    println!(
        "{} simulated seconds in {} wall seconds ({} per second), {} events",
        seconds(report.simulated_micros),
        seconds(report.wall_micros),
        report.ratio(),
        report.lines
    );
    for name in &report.happened {
        println!("sometimes: {name} happened");
    }
    match report.verdict {
        Verdict::Passed => println!("passed"),
        _ => println!("FAILED  {}", report.reproduce()),
    }
}

/// The last line of a run.
fn show_hash(report: &Report, how: &How) {
    if !how.json {
        println!("trace hash: {}", report.hash);
    }
}

/// What a suite is made of.
#[derive(Default)]
struct Meant {
    scenarios: Vec<String>,
    kept: Vec<PathBuf>,
}

/// The scenarios that are meant: those named, those of the suites named, or all; and what was kept.
fn resolve(names: &[String]) -> Result<Meant, String> {
    let all = files::scenario_names().map_err(|error| format!("the scenario folder: {error}"))?;
    let mut meant = Meant::default();
    if names.is_empty() {
        meant.scenarios.clone_from(&all);
    }
    for name in names {
        let path = Path::new(name);
        if name == "regressions" || files::is_folder(path) {
            let folder = if name == "regressions" {
                files::regression_folder()
            } else {
                path.to_owned()
            };
            let kept = files::kept(&folder)?;
            if kept.is_empty() {
                eprintln!("{} keeps no failures", folder.display());
            }
            meant.kept.extend(kept);
        } else if name.ends_with(".json") {
            meant.kept.push(path.to_owned());
        } else if scenario::SUITES.iter().any(|(suite, _)| suite == name) {
            for scenario in &all {
                if name == scenario::EVERYTHING || load(scenario)?.0.suites.contains(&name.as_str()) {
                    meant.scenarios.push(scenario.clone());
                }
            }
            if !meant.scenarios.iter().any(|scenario| all.contains(scenario)) {
                return Err(format!("no scenario belongs to the suite {name} yet"));
            }
        } else {
            meant.scenarios.push(name.clone());
        }
    }
    for name in &meant.scenarios {
        load(name)?;
    }
    for path in &meant.kept {
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let (scenario, _) = load(&path.display().to_string())?;
            if scenario.seed.is_none() {
                return Err(format!(
                    "{}: a scenario that is kept must name its seed",
                    path.display()
                ));
            }
        } else {
            Failure::read(path)?;
        }
    }
    Ok(meant)
}

fn start_suite(what: &Suite) -> Code {
    let Meant { scenarios, kept } = resolve(&what.names).or_else(usage)?;
    needs_simulator()?;
    let seeds = what.seeds.or(what.time.is_none().then_some(20));
    let everything = what.names.is_empty() || what.names.iter().any(|name| name == scenario::EVERYTHING);
    let options = SuiteOptions {
        scenarios,
        everything,
        kept,
        seeds,
        base: what.base.unwrap_or_else(process::seed_of_today),
        jobs: what.jobs.unwrap_or_else(process::cores).max(1),
        fail_fast: what.fail_fast,
        twice: what.twice,
        twice_every: what.twice_every,
        demand_sometimes: what.demand_sometimes,
        time: what.time,
        resume: what.resume,
        report: what.report.clone().unwrap_or_else(files::failure_folder),
    };
    suite::suite(options).or_else(refuse)
}

fn mutants(what: &Mutants) -> Code {
    let all = mutants::all().or_else(usage)?;
    let chosen = mutants::choose(&all, &what.names).or_else(usage)?;
    if what.list {
        for mutant in chosen {
            println!(
                "{} (due {}; {}, {} seeds)\n    {}",
                mutant.name,
                mutant.due(),
                mutant.scenarios.join(", "),
                mutant.seeds,
                mutant.breaks
            );
        }
        return Ok(exit::PASSED);
    }
    let program = if what.built { mutants::built() } else { mutants::build() };
    let program = program.or_else(refuse)?;
    let jobs = what.jobs.unwrap_or_else(process::cores).max(1);
    mutants::hunt(&program, &chosen, what.seeds, jobs).or_else(refuse)
}

fn minimise(what: &Minimise) -> Code {
    let failure = Failure::read(&what.file).or_else(usage)?;
    let Some(signature) = failure.verdict.signature() else {
        return usage(format!("{}: the run that was kept did not fail", what.file.display()));
    };
    let output = what.output.clone().unwrap_or_else(|| {
        let stem = what
            .file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("failure");
        what.file.with_file_name(format!("{stem}-small.yaml"))
    });
    let name = output
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default()
        .to_owned();
    needs_simulator()?;
    let first = failure.plan.clone();
    let check = match &failure.verdict {
        Verdict::Failed { check, .. } => Some(check.clone()),
        _ => None,
    };
    let budget = Budget {
        wall: what.budget,
        runs: what.runs,
    };
    let mut trials = Processes::new(failure.clone(), signature, what.jobs, budget);
    let failed = trials.run_first(&first).or_else(usage)?;
    eprintln!("   from: {}", Size::of(&first));
    let small = minimise::minimise(&first, failed, check.as_deref(), &mut trials).or_else(refuse)?;

    let origin = Path::new(&first.scenario)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("a run");
    let about = format!(
        "Made small from {origin} --seed {}: {}",
        first.seed,
        said(&failure.verdict)
    );
    let text = write::scenario_file(&small, &name, &about);
    let written = text.and_then(|text| {
        let scenario = Scenario::parse(&output.display().to_string(), &text).ok()?;
        let mut plan = Plan::new(&scenario, small.seed);
        plan.scenario = output.display().to_string();
        Some((plan, text))
    });
    // What the file says is what has to fail, not what it was made from.
    let mut confirmed = None;
    if let Some((plan, text)) = written {
        confirmed = trials
            .confirm(&plan)
            .or_else(refuse)?
            .map(|report| (plan, text, report));
    }
    let kept = output.with_extension("json");
    print!("{small}");
    println!(
        "{} runs; from {} to {}",
        trials.trials(),
        Size::of(&first),
        Size::of(&small)
    );
    if let Some((plan, text, mut report)) = confirmed {
        report.command = format!("run {}", output.display());
        files::write(&output, &text).or_else(refuse)?;
        Failure::new(&plan, &text, &report).write(&kept).or_else(refuse)?;
        println!("{}", report.reproduce());
    } else {
        let Some(mut report) = trials.confirm(&small).or_else(refuse)? else {
            return refuse("the small plan does not fail when it is run once more".to_owned());
        };
        report.command = format!("replay {}", kept.display());
        Failure::new(&small, &failure.scenario_text, &report)
            .write(&kept)
            .or_else(refuse)?;
        println!("{}", report.reproduce());
        println!("(no scenario file says this plan; it is in the kept failure only)");
    }
    println!("kept: cargo sim replay {}", kept.display());
    Ok(exit::PASSED)
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Failed { check, what } => format!("{check}: {what}"),
        Verdict::Stuck { what } | Verdict::Died { what } => what.clone(),
    }
}

fn diff(first: &Path, second: &Path) -> Code {
    let read = |path: &Path| -> Result<String, String> {
        let text = files::read(path)?;
        let checked = events(&text).map(drop);
        checked
            .map(|()| text)
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let (first, second) = (read(first).or_else(usage)?, read(second).or_else(usage)?);
    match first_difference(&first, &second).or_else(usage)? {
        Some(difference) => {
            print!("{difference}");
            Ok(exit::FAILED)
        }
        None => {
            println!("equal");
            Ok(exit::PASSED)
        }
    }
}

fn timeline(file: &Path, output: &Path) -> Code {
    let is_failure = file.extension().is_some_and(|extension| extension == "json");
    let timeline = if is_failure {
        let failure = Failure::read(file).or_else(usage)?;
        needs_simulator()?;
        let trace = files::scratch("timeline.trace");
        let arguments = [
            "replay",
            &file.display().to_string(),
            "--json",
            "--trace",
            &trace.display().to_string(),
        ];
        let finished = children::run_one(&arguments.map(str::to_owned)).or_else(refuse)?;
        let text = files::read(&trace).or_else(refuse)?;
        files::remove(&trace);
        let (verdict, at) = match &finished {
            children::Finished::Report(report) => (report.verdict.clone(), report.at),
            children::Finished::Died { .. } => (finished.verdict(), None),
        };
        if verdict != failure.verdict {
            eprintln!(
                "sim: this build comes to another end than the one that was kept; what is drawn is this build's run"
            );
        }
        Timeline::new(&text)
            .or_else(refuse)?
            .of_run(&failure.plan, &verdict, at)
    } else {
        Timeline::new(&files::read(file).or_else(usage)?)
            .map_err(|error| format!("{}: {error}", file.display()))
            .or_else(usage)?
    };
    if timeline.is_empty() {
        return usage(format!("{}: not a line in it is an event of a trace", file.display()));
    }
    files::write(output, &timeline.page()).or_else(refuse)?;
    println!("{}", output.display());
    Ok(exit::PASSED)
}
