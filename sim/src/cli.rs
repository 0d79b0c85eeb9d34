//! The command line.
//!
//! Must not know: what a command does.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};

/// Runs servers, clients and faults in virtual time, from a seed.
#[derive(Parser)]
#[command(name = "cargo sim", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Lists the scenarios; or the checks that a scenario can name.
    List(List),
    /// Runs one seed of a scenario.
    Run(Run),
    /// Runs many seeds, each in a process of its own.
    Suite(Suite),
    /// Runs one seed twice in fresh processes, compares, and prints the first difference.
    Meta {
        scenario: String,
        #[arg(long, value_parser = parse_seed)]
        seed: u64,
    },
    /// Runs the plan of a kept failure again.
    Replay(Replay),
    /// Makes the plan of a kept failure small while the same check goes on failing.
    Minimise(Minimise),
    /// Prints what the runs of a suite came to, how often, and what none of them came to.
    Coverage {
        /// The report folder of the suite [default: target/sim-failures].
        report: Option<PathBuf>,
    },
    /// Builds the server with the bugs of `sim/mutants`, and shows which seed of its scenario finds each.
    Mutants(Mutants),
    /// Prints where two trace files part.
    Diff { first: PathBuf, second: PathBuf },
    /// Prints where things lie in a process that could run a scenario.
    #[command(hide = true)]
    Addresses,
    /// Draws a kept failure, or a trace file, as one HTML file.
    Timeline {
        /// A kept failure (.json), which is run again, or a trace file.
        file: PathBuf,
        /// Where the page goes.
        #[arg(short, long, value_name = "FILE", default_value = "timeline.html")]
        output: PathBuf,
    },
}

#[derive(Args)]
pub struct List {
    /// The checks, with what they promise.
    #[arg(long)]
    pub checks: bool,
    /// What must happen in some seed of a suite.
    #[arg(long)]
    pub sometimes: bool,
    /// Where the server lets the simulator choose, and how often such a site fires when it is armed.
    #[arg(long)]
    pub buggify: bool,
    /// The suites, with what each would catch.
    #[arg(long)]
    pub suites: bool,
    /// The kinds of workload with their parameters.
    #[arg(long)]
    pub workloads: bool,
    /// What can be said of a disk, and of a storage engine on its own.
    #[arg(long)]
    pub disk: bool,
    /// What steps can do, what a swarm draws, and the knobs of servers.
    #[arg(long)]
    pub faults: bool,
}

/// How a run is done, whatever is run.
#[derive(Args)]
pub struct How {
    /// Only prints the plan.
    #[arg(long)]
    pub plan: bool,
    /// Writes every event to this file.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Ends the run at this simulated time; what is judged at the end is not.
    #[arg(long, value_name = "TIME", value_parser = crate::units::parse_micros)]
    pub until: Option<crate::units::Micros>,
    /// Prints one line of JSON instead, and keeps nothing: for those who run many.
    #[arg(long, hide = true)]
    pub json: bool,
    /// Also prints the summary that the snapshots hold.
    #[arg(long)]
    pub summary: bool,
    /// The bug that the run has: only in the build that `cargo sim mutants` makes.
    #[arg(long, hide = true, value_name = "NAME")]
    pub mutant: Option<String>,
    /// Begins a thread within the run, which is refused.
    #[arg(long, hide = true)]
    pub begin_thread: bool,
    /// Wall-clock seconds after which the run counts as hung.
    #[arg(long, default_value_t = 600)]
    pub wall_limit: u64,
}

#[derive(Args)]
pub struct Run {
    /// A name from `list`, or the path of a .yaml file.
    pub scenario: String,
    /// Decimal or 0x…; may be left out if the file names one.
    #[arg(long, value_parser = parse_seed)]
    pub seed: Option<u64>,
    /// Where a failure is kept [default: target/sim-failures].
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Keeps the run even if it passes.
    #[arg(long)]
    pub keep: bool,
    /// Another value in the scenario file, as in network.latency=5ms or workload.bank.rate=40/s; may be said again.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub how: How,
}

#[derive(Args)]
pub struct Replay {
    /// A kept failure.
    pub file: PathBuf,
    #[command(flatten)]
    pub how: How,
}

#[derive(Args)]
pub struct Suite {
    /// Scenarios, or suites of them, as `list` shows; `regressions`, or folders and files of kept failures; all
    /// scenarios if none is named.
    pub names: Vec<String>,
    /// How many seeds [default: 20, or as many as there is time for].
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// The first seed; decimal or 0x….
    #[arg(long, value_parser = parse_seed)]
    pub base: Option<u64>,
    /// Runs at a time [default: one for each core].
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Stops at the first failure.
    #[arg(long)]
    pub fail_fast: bool,
    /// Runs so many of the seeds in two processes each, and compares their traces.
    #[arg(long, default_value_t = 0, value_name = "SEEDS")]
    pub twice: u64,
    /// And one of so many of all seeds, to the end.
    #[arg(long, value_name = "SEEDS", value_parser = value_parser!(u64).range(1..))]
    pub twice_every: Option<u64>,
    /// Fails when something under `sometimes` happened in no seed; a suite of everything also when what the server
    /// itself says must happen did not.
    #[arg(long)]
    pub demand_sometimes: bool,
    /// Starts no run after so much wall time: 90s, 30m, 8h.
    #[arg(long, value_parser = parse_time)]
    pub time: Option<Duration>,
    /// Goes on where the suite that wrote to the same report folder was stopped.
    #[arg(long)]
    pub resume: bool,
    /// Where failures are kept, and what has been done [default: target/sim-failures].
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

#[derive(Args)]
pub struct Mutants {
    /// Some of them; all if none is named.
    pub names: Vec<String>,
    /// How many seeds at most, instead of what each patch says.
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// Runs at a time [default: one for each core].
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Only names them, with what they break.
    #[arg(long)]
    pub list: bool,
    /// Does not build: the program of the last time is used.
    #[arg(long)]
    pub built: bool,
}

#[derive(Args)]
pub struct Minimise {
    /// A kept failure.
    pub file: PathBuf,
    /// How long to try, in wall time.
    #[arg(long, value_parser = parse_time, default_value = "5m")]
    pub budget: Duration,
    /// How many runs to try at most.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    pub runs: u64,
    /// The scenario file to write; a kept failure is written beside it [default: FAILURE-small.yaml].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Runs at a time.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
}

fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed
        .map_err(|_| format!("{text:?} is not a seed; write a number from 0 to 2^64 - 1, or 0x and hexadecimal digits"))
}

fn parse_time(text: &str) -> Result<Duration, String> {
    crate::units::parse_micros(text).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// If this fails, a suite that ran nothing says that all is well.
    #[test]
    fn no_seeds_at_all_is_a_mistake() {
        for command in ["suite", "mutants"] {
            let parsed = |seeds: &str| Arguments::try_parse_from(["sim", command, "--seeds", seeds]);
            let error = parsed("0").err().expect("no seed at all was taken");
            assert_eq!(error.exit_code(), i32::from(crate::report::exit::USAGE));
            assert!(parsed("1").is_ok());
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
        assert_eq!(parse_seed("0x10"), Ok(16));
        assert!(parse_seed("ten").is_err() && parse_time("ten").is_err());
        assert_eq!(parse_time("8h"), Ok(Duration::from_secs(28_800)));
    }
}
