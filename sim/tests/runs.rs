//! Whole runs, each in a process of its own, as `cargo sim` starts them. Only in the simulator's build:
//! `cargo sim-test`.

#![cfg(madsim)]
#![expect(
    clippy::disallowed_methods,
    reason = "starts processes and writes scenario files; no simulated run lives here"
)]

use std::path::Path;
use std::process::{Command, Output};

const SCENARIOS: [&str; 13] = [
    "disk-full",
    "failed-sync",
    "orderly-failover",
    "power-loss",
    "primary-lost",
    "stale-primary-returns",
    "standby-catches-up",
    "standby-power-cut",
    "storage-damage",
    "storage-full",
    "storage-power",
    "storage-sync",
    "two-primaries-same-epoch",
];

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(arguments)
        .output()
        .expect("the simulator starts")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The last line of a run.
fn hash(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().unwrap_or_default().to_owned();
    line.strip_prefix("trace hash: ")
        .unwrap_or_else(|| panic!("the run ended with {line:?}"))
        .to_owned()
}

fn run(scenario: &str, seed: u64) -> Output {
    sim(&["run", scenario, "--seed", &seed.to_string(), "--summary"])
}

/// A scenario of the repository with some words replaced, in a folder of its own.
fn altered(folder: &Path, scenario: &str, changes: &[(&str, &str)]) -> String {
    let original = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../scenarios")
        .join(format!("{scenario}.yaml"));
    let mut text = std::fs::read_to_string(original).unwrap();
    for (before, after) in changes {
        assert!(text.contains(before), "{scenario} lacks {before:?}");
        text = text.replace(before, after);
    }
    let path = folder.join(format!("{scenario}.yaml"));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// If this fails, a failure found by a seed cannot be looked at again.
#[test]
fn a_seed_gives_the_same_trace_in_another_process() {
    for scenario in SCENARIOS {
        let output = sim(&["meta", scenario, "--seed", "7"]);
        assert!(
            output.status.success() && text(&output).contains("\nequal\n"),
            "{scenario}:\n{}",
            text(&output)
        );
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(hash(&run("power-loss", 1)), hash(&run("power-loss", 2)));
}

/// The shape of one run per scenario: roles in their order, what was done, how much of everything.
#[test]
fn the_stories_of_the_scenarios() {
    for scenario in SCENARIOS {
        let output = sim(&["run", scenario, "--seed", "1", "--report"]);
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: serde_json::Value =
            serde_json::from_str(line.trim()).unwrap_or_else(|error| panic!("{scenario}: {error}: {}", text(&output)));
        let summary = report["summary"].as_str().expect("a report has a summary");
        insta::with_settings!({snapshot_path => "../../snapshots", prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(format!("sim-{scenario}"), summary);
        });
    }
}

/// The oracle against the real server: a forced failover does lose what had not been replicated, and a scenario that
/// promises otherwise must fail, with the line that runs it again.
#[test]
fn a_promise_that_does_not_hold_is_found_and_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let changes = [("{ durability: replicated }", "{ durability: graceful }")];
    let scenario = altered(folder.path(), "stale-primary-returns", &changes);
    let failed = (1..=10)
        .map(|seed| run(&scenario, seed))
        .find(|output| !output.status.success());
    let failed = failed.expect("ten stale primaries and none of them had written alone");
    assert_eq!(failed.status.code(), Some(1));
    let said = text(&failed);
    assert!(
        said.contains("FAILED  cargo sim run ") && said.contains("durability: "),
        "{said}"
    );
    assert!(
        said.contains("acknowledged at") && said.contains("is absent on b"),
        "{said}"
    );
}

#[test]
fn a_step_that_is_answered_otherwise_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = altered(
        folder.path(),
        "orderly-failover",
        &[("('primary', 2)\", expect: ok", "('primary', 1)\", expect: ok")],
    );
    let output = run(&scenario, 1);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("step: promote: b answered 55000"),
        "{}",
        text(&output)
    );
}

#[test]
fn no_progress_is_told_apart_and_says_what_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = altered(
        folder.path(),
        "orderly-failover",
        &[("b: primary@2 } }, within: 5s", "b: primary@9 } }, within: 5s")],
    );
    let output = run(&scenario, 1);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(
        text(&output).contains("no progress: settled: when a is standby@2 and b is primary@9"),
        "{}",
        text(&output)
    );

    let scenario = altered(
        folder.path(),
        "orderly-failover",
        &[("time_limit: 120s", "time_limit: 3s")],
    );
    let output = run(&scenario, 1);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(
        text(&output).contains("the time limit has passed; still waiting: demote, promote"),
        "{}",
        text(&output)
    );
}

#[test]
fn bad_usage_names_what_is_allowed() {
    let output = sim(&["run", "nowhere", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("there are: disk-full, failed-sync, orderly-failover, power-loss"),
        "{}",
        text(&output)
    );

    let folder = tempfile::tempdir().unwrap();
    let scenario = altered(folder.path(), "power-loss", &[("power_off: a", "explode: a")]);
    let output = run(&scenario, 1);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("power-loss.yaml:13: step: unknown word \"explode\"; allowed here: at, after"),
        "{}",
        text(&output)
    );
    assert_eq!(sim(&["run", "power-loss"]).status.code(), Some(2));
}

#[test]
fn a_suite_goes_by_its_name() {
    let output = sim(&["suite", "storage", "--seeds", "2", "--base", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let runs = "8 runs of storage-damage, storage-full, storage-power, storage-sync: 0 failed";
    assert!(text(&output).contains(runs), "{}", text(&output));
}

/// An oracle that excuses too much would pass this too: a disk that lies, and errors that nobody expects.
#[test]
fn a_store_that_is_refused_without_leave_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = altered(
        folder.path(),
        "storage-damage",
        &[("store closed, database unavailable", "nothing")],
    );
    let failed = (1..=20)
        .map(|seed| run(&scenario, seed))
        .find(|output| !output.status.success());
    let said = text(&failed.expect("twenty lying disks and no database became unavailable"));
    assert!(said.contains("clean_logs: store logged an error: "), "{said}");
}

#[test]
fn a_suite_counts_and_names_its_failures() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = altered(folder.path(), "power-loss", &[("liveness]", "{ liveness: 0s }]")]);
    let output = sim(&["suite", &scenario, "--seeds", "2", "--base", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("2 runs of") && text(&output).contains(": 2 failed"),
        "{}",
        text(&output)
    );
    let output = sim(&["suite", "power-loss", "--seeds", "2", "--base", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(
        text(&output).contains(": 0 failed") && text(&output).contains("seeds/s"),
        "{}",
        text(&output)
    );
}
