//! One seed twice, in fresh processes: the two must agree event by event.

use crate::children::{Finished, run_one};
use crate::diff::first_difference;
use crate::files;
use crate::report::{Verdict, exit};

/// Runs one seed twice and compares. Returns the exit code.
pub fn meta(scenario: &str, seed: u64) -> Result<u8, String> {
    let mut runs = Vec::new();
    for number in [1, 2] {
        let trace_file = files::scratch(&format!("{number}.trace"));
        let seed = seed.to_string();
        let file = trace_file.display().to_string();
        let arguments = ["run", scenario, "--seed", &seed, "--json", "--trace", &file].map(str::to_owned);
        match run_one(&arguments)? {
            Finished::Report(report) => runs.push((report, trace_file)),
            Finished::Died { status, said } => {
                return Err(format!("run {number} ended without a report ({status}):\n{said}"));
            }
        }
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
        println!("NOT DETERMINISTIC");
        match first_difference(&files::read(first_file)?, &files::read(second_file)?)? {
            Some(difference) => print!("{difference}"),
            None => println!("the traces agree and the verdicts do not"),
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
