//! `cargo sim`: the whole cluster under a seeded simulator.
//!
//! A scenario file and a seed become a plan; the plan runs the shipped server, its clients and its faults in virtual
//! time; checks read the one history that came of it. The command line is `cli.rs`, what each command does is
//! `commands.rs`.
//!
//! The simulator needs a build of its own (`--cfg madsim`, which the `cargo sim` alias sets). Everything except
//! `runner/` is also compiled and tested in an ordinary build.

#![cfg_attr(
    not(madsim),
    allow(dead_code, reason = "only the simulator's build runs what is tested here")
)]

mod check;
mod children;
mod cli;
mod commands;
mod diff;
mod draw;
mod failure;
mod files;
mod history;
mod list;
mod meta;
mod minimise;
mod mutants;
mod plan;
mod process;
mod record;
mod report;
#[cfg(madsim)]
mod runner;
mod scenario;
mod storage;
mod suite;
mod swarm;
mod tables;
mod timeline;
mod trace;
mod units;
mod workload;
mod yaml;

use std::process::ExitCode;

use clap::Parser;

/// An eighth of a run is taking memory and giving it back; this one takes half as long over it as the C library's.
#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::end_with_the_reader();
    let code = commands::carry_out(cli::Arguments::parse().command);
    ExitCode::from(code.unwrap_or_else(|code| code))
}
