//! `cargo sim`: the whole cluster under a seeded simulator.
//!
//! A scenario file and a seed become a plan; the plan runs the shipped server, its clients and its faults in virtual
//! time; checks read the one history that came of it. This file is the command line and the exit codes, nothing else.
//!
//! The simulator needs a build of its own (`--cfg madsim`, which the `cargo sim` alias sets). Everything except
//! `runner/` is also compiled and tested in an ordinary build.

#![cfg_attr(
    not(madsim),
    allow(dead_code, reason = "only the simulator's build runs what is tested here")
)]

mod check;
mod draw;
mod files;
mod history;
mod plan;
mod process;
mod record;
mod report;
#[cfg(madsim)]
mod runner;
mod scenario;
mod storage;
mod suite;
mod trace;
mod units;
mod workload;
mod yaml;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use check::Section;
use report::exit;
use suite::SuiteOptions;

/// Runs servers, clients and faults in virtual time, from a seed.
#[derive(Parser)]
#[command(name = "cargo sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scenarios; or the checks that a scenario can name.
    List {
        /// The checks, with what they promise.
        #[arg(long)]
        checks: bool,
        /// What must happen in some seed of a suite.
        #[arg(long)]
        sometimes: bool,
        /// The kinds of workload with their parameters.
        #[arg(long)]
        workloads: bool,
        /// What can be said of a disk, and of a storage engine on its own.
        #[arg(long)]
        disk: bool,
    },
    /// Runs one seed of a scenario.
    Run {
        /// A name from `list`, or the path of a .yaml file.
        scenario: String,
        #[arg(long)]
        seed: u64,
        /// Only prints the plan.
        #[arg(long)]
        plan: bool,
        /// Writes every event to this file.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// Prints one line of JSON instead: for `suite` and `meta`.
        #[arg(long, hide = true)]
        report: bool,
        /// Also prints the summary that the snapshots hold.
        #[arg(long)]
        summary: bool,
        /// Wall-clock seconds after which the run counts as hung.
        #[arg(long, default_value_t = 600)]
        wall_limit: u64,
    },
    /// Runs many seeds, each in a process of its own.
    Suite {
        /// Scenarios, or suites of them, as `list` shows; all of them if none is named.
        scenarios: Vec<String>,
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        /// The first seed; decimal or 0x….
        #[arg(long, value_parser = parse_seed)]
        base: Option<u64>,
        /// Runs at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Stops at the first failure.
        #[arg(long)]
        fail_fast: bool,
        /// Runs so many of the seeds in two processes each, and compares their traces.
        #[arg(long, default_value_t = 0, value_name = "SEEDS")]
        twice: u64,
        /// Fails when something under `sometimes` happened in no seed.
        #[arg(long)]
        demand_sometimes: bool,
    },
    /// Runs one seed twice in fresh processes, compares, and prints the first difference.
    Meta {
        scenario: String,
        #[arg(long)]
        seed: u64,
    },
}

fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed
        .map_err(|_| format!("{text:?} is not a seed; write a number from 0 to 2^64 - 1, or 0x and hexadecimal digits"))
}

fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::List {
            checks,
            sometimes,
            workloads,
            disk,
        } => list(checks, sometimes, workloads, disk),
        Command::Run {
            scenario,
            seed,
            plan,
            trace,
            report,
            summary,
            wall_limit,
        } => run(
            &scenario,
            seed,
            &RunOptions {
                plan_only: plan,
                trace,
                report,
                summary,
                wall_limit,
            },
        ),
        Command::Suite {
            scenarios,
            seeds,
            base,
            jobs,
            fail_fast,
            twice,
            demand_sometimes,
        } => {
            let base = base.unwrap_or_else(process::seed_of_today);
            start_suite(SuiteOptions {
                scenarios,
                seeds,
                base,
                jobs: jobs.max(1),
                fail_fast,
                twice,
                demand_sometimes,
            })
        }
        Command::Meta { scenario, seed } => load(&scenario).map(|_| ()).or_else(usage).and_then(|()| {
            needs_simulator()?;
            suite::meta(&scenario, seed).or_else(|error| fail(exit::REFUSED, &error))
        }),
    };
    ExitCode::from(code.unwrap_or_else(|code| code))
}

/// Ok: the code of a run. Err: the code of a refusal that was already printed.
type Code = Result<u8, u8>;

fn fail<T>(code: u8, message: &str) -> Result<T, u8> {
    eprintln!("sim: {message}");
    Err(code)
}

fn usage<T>(message: String) -> Result<T, u8> {
    fail(exit::USAGE, &message)
}

fn load(name: &str) -> Result<scenario::Scenario, String> {
    let (file, text) = files::read_scenario(name)?;
    scenario::Scenario::parse(&file, &text).map_err(|complaint| complaint.to_string())
}

fn needs_simulator() -> Result<(), u8> {
    if cfg!(madsim) {
        return Ok(());
    }
    fail(
        exit::USAGE,
        "this is an ordinary build, which has no simulator inside; run it as `cargo sim ...`",
    )
}

fn list(checks: bool, sometimes: bool, workloads: bool, disk: bool) -> Code {
    if disk {
        println!("disk:");
        for word in scenario::disk::WORDS {
            println!("    {}: {}", word.name, word.about);
        }
        println!("storage:");
        for number in storage::spec::NUMBERS {
            println!("    {}: {}", number.name, number.about);
        }
        return Ok(exit::PASSED);
    }
    if checks || sometimes {
        for check in check::CHECKS
            .iter()
            .filter(|check| (check.section == Section::Sometimes) == sometimes)
        {
            println!("{}\n    {}", check.name, check.about);
        }
        return Ok(exit::PASSED);
    }
    if workloads {
        for kind in workload::KINDS {
            println!("{}\n    {}", kind.name, kind.about);
            for param in kind.params {
                println!(
                    "    {}: {} (default {}..{}, at most {})",
                    param.name, param.about, param.default.0, param.default.1, param.max
                );
            }
        }
        return Ok(exit::PASSED);
    }
    for name in files::scenario_names().or_else(|error| fail(exit::USAGE, &format!("the scenario folder: {error}")))? {
        let scenario = load(&name).or_else(usage)?;
        println!("{name} ({})\n    {}", scenario.suite, scenario.about);
    }
    Ok(exit::PASSED)
}

struct RunOptions {
    plan_only: bool,
    trace: Option<PathBuf>,
    report: bool,
    summary: bool,
    wall_limit: u64,
}

fn run(name: &str, seed: u64, options: &RunOptions) -> Code {
    let scenario = load(name).or_else(usage)?;
    let mut plan = plan::Plan::new(&scenario, seed);
    // Called as it was asked for, so that the line that reproduces a failure can be pasted.
    plan.scenario = name.to_owned();
    if options.plan_only {
        print!("{plan}");
        return Ok(exit::PASSED);
    }
    needs_simulator()?;
    process::fix_addresses().or_else(|error| fail(exit::REFUSED, &error))?;
    if !options.report {
        print!("{plan}");
    }
    let file = options.trace.as_deref().map(files::create).transpose().or_else(usage)?;
    process::watchdog(std::time::Duration::from_secs(options.wall_limit));
    let report = simulate(&plan, trace::Trace::new(file)).or_else(|error| fail(exit::REFUSED, &error))?;
    if options.report {
        let line = serde_json::to_string(&report).expect("a report is plain data");
        println!("{line}");
    } else {
        show(&report, options.summary);
    }
    Ok(report.verdict.exit_code())
}

#[cfg(madsim)]
fn simulate(plan: &plan::Plan, trace: trace::Trace) -> Result<report::Report, String> {
    runner::run(plan, trace)
}

#[cfg(not(madsim))]
fn simulate(_: &plan::Plan, _: trace::Trace) -> Result<report::Report, String> {
    unreachable!("an ordinary build refuses before it comes here")
}

fn show(report: &report::Report, summary: bool) {
    if summary {
        print!("{}", report.summary);
    }
    for line in &report.tail {
        println!("    {line}");
    }
    let seconds = |micros: units::Micros| format!("{}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000);
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
        report::Verdict::Passed => println!("passed"),
        _ => println!("FAILED  {}", report.reproduce()),
    }
    println!("trace hash: {}", report.hash);
}

/// The scenarios that are meant: those named, those of the suites named, or all.
fn resolve(names: &[String]) -> Result<Vec<String>, u8> {
    let all = files::scenario_names().or_else(|error| fail(exit::USAGE, &format!("the scenario folder: {error}")))?;
    let mut meant: Vec<String> = if names.is_empty() { all.clone() } else { Vec::new() };
    for name in names {
        if scenario::SUITES.iter().any(|(suite, _)| suite == name) {
            for scenario in &all {
                if load(scenario).or_else(usage)?.suite == name {
                    meant.push(scenario.clone());
                }
            }
        } else {
            meant.push(name.clone());
        }
    }
    for name in &meant {
        load(name).or_else(usage)?;
    }
    Ok(meant)
}

fn start_suite(mut options: SuiteOptions) -> Code {
    options.scenarios = resolve(&options.scenarios)?;
    needs_simulator()?;
    suite::suite(&options).or_else(|error| fail(exit::REFUSED, &error))
}
