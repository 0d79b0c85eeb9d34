//! Whole runs, each in a process of its own, as `cargo sim` starts them. Only in the simulator's build:
//! `cargo sim-test`.

#![cfg(madsim)]
#![expect(
    clippy::disallowed_methods,
    reason = "starts processes and writes scenario files; no simulated run lives here"
)]

#[path = "runs/faults.rs"]
mod faults;
#[path = "runs/turns.rs"]
mod turns;

use std::path::Path;
use std::process::{Command, Output};

/// Every scenario of the repository, in order.
fn scenarios() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let entries = std::fs::read_dir(folder).expect("the scenarios are there");
    let names = entries.filter_map(|entry| {
        let path = entry.expect("a folder can be listed").path();
        let is_scenario = path.extension().is_some_and(|extension| extension == "yaml");
        is_scenario.then(|| path.file_stem().unwrap().to_str().unwrap().to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    names
}

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
    let kept = env!("CARGO_TARGET_TMPDIR");
    sim(&[
        "run",
        scenario,
        "--seed",
        &seed.to_string(),
        "--summary",
        "--report",
        kept,
    ])
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
    for scenario in scenarios() {
        let output = sim(&["meta", &scenario, "--seed", "7"]);
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
    for scenario in scenarios() {
        let output = sim(&["run", &scenario, "--seed", "1", "--json"]);
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

/// What makes no progress in wall time is ended by the clock on the wall, and says what it was about.
#[test]
fn a_run_that_hangs_shows_its_last_events() {
    let folder = tempfile::tempdir().unwrap();
    let longer = [
        ("time_limit: 120s", "time_limit: 9000s"),
        ("up-three + 5s", "up-three + 4000s"),
    ];
    let scenario = altered(folder.path(), "power-loss", &longer);
    let output = sim(&["run", &scenario, "--seed", "1", "--wall-limit", "1"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let text = text(&output);
    let (_, newest) = text.split_once("the last events:\n").expect("they are printed");
    assert!(
        newest.lines().filter(|line| line.contains("s a ")).count() > 5,
        "{text}"
    );
}

#[test]
fn bad_usage_names_what_is_allowed() {
    let output = sim(&["run", "nowhere", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("there are: all-faults, clients-vanish, clock-skew, ddl-mix, disk-full"),
        "{}",
        text(&output)
    );

    let folder = tempfile::tempdir().unwrap();
    let scenario = altered(folder.path(), "power-loss", &[("power_off: a", "explode: a")]);
    let output = run(&scenario, 1);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("power-loss.yaml:14: step: unknown word \"explode\"; allowed here: at, after"),
        "{}",
        text(&output)
    );
    assert_eq!(sim(&["run", "power-loss"]).status.code(), Some(2));
    // As in `cargo sim list | head -1`.
    let (reader, nobody_reads) = std::io::pipe().unwrap();
    drop(reader);
    let mut list = Command::new(env!("CARGO_BIN_EXE_sim"));
    let output = list.arg("list").stdout(nobody_reads).output().unwrap();
    assert_eq!(text(&output), "");
}

#[test]
fn a_suite_goes_by_its_name() {
    let output = suite(&["versioning"], 2, env!("CARGO_TARGET_TMPDIR"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let runs = "6 runs of ddl-mix, storage-damage, storage-power: 0 failed";
    assert!(text(&output).contains(runs), "{}", text(&output));

    let output = sim(&["suite", "upgrade"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains("no scenario belongs to the suite upgrade yet"),
        "{}",
        text(&output)
    );
}

#[test]
fn what_a_suite_came_to_is_printed_and_what_it_missed_can_fail_it() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = altered(
        folder.path(),
        "storage-torn",
        &[
            ("suite:", "buggify: [chunk.segment_full]\nsuite:"),
            ("sometimes: [", "sometimes: [replication.incomplete, "),
        ],
    );
    let report = folder.path().join("report");
    let report = report.to_str().unwrap();
    let suite = ["suite", &scenario, "--seeds", "8", "--base", "1", "--report", report];
    let output = sim(&suite);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let output = sim(&["coverage", report]);
    let said = text(&output);
    let line = |name: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {said}")).to_owned()
    };
    assert!(said.starts_with("8 runs\n"), "{said}");
    assert!(!line("chunk.tail_cut").contains("NEVER"), "{said}");
    assert!(line("replication.incomplete").ends_with("never (rare)"), "{said}");
    assert!(line("chunk.segment_full").contains(" 8 "), "armed in every run: {said}");
    assert!(line("chunk.sync_slow").ends_with("NEVER"), "{said}");
    // A store has nobody to replicate to.
    assert!(line("sometimes replication.incomplete").ends_with("NEVER"), "{said}");
    let output = sim(&[&suite[..], &["--demand-sometimes"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn this_build_has_no_bugs_on_purpose() {
    let output = sim(&["run", "storage-power", "--seed", "1", "--mutant", "torn-tail-not-cut"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let output = sim(&["mutants", "--list"]);
    assert!(
        text(&output).contains("torn-tail-not-cut (due refusals_are_explained; storage-torn, "),
        "{}",
        text(&output)
    );
}

/// An oracle that excuses too much would pass this too: a disk that lies, and errors that nobody expects.
/// If this fails, hash orders follow addresses, which the system, the environment or the allocator moves.
#[test]
fn code_stack_and_heap_lie_at_the_same_place_in_every_process() {
    let told = |noise: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_sim"))
            .arg("addresses")
            .env("NOISE", noise)
            .output()
            .expect("the simulator starts");
        assert!(output.status.success(), "{}", text(&output));
        let places: Vec<String> = text(&output).split_whitespace().map(str::to_owned).collect();
        assert_eq!(places.len(), 4, "{places:?}");
        places
    };
    let first = told("");
    for length in [1, 100, 5_000] {
        assert_eq!(told(&"x".repeat(length)), first);
    }
}

#[test]
fn a_run_that_begins_a_thread_ends_the_process() {
    let output = sim(&["run", "power-loss", "--seed", "1", "--begin-thread"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("a thread was started on "), "{}", text(&output));
}

#[test]
fn an_earlier_end_is_no_pass_beyond_the_time_limit_and_no_other_run() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().to_str().unwrap();
    let run = |more: &[&str]| {
        let mut words = vec!["run", "power-loss", "--seed", "3", "--report", report];
        words.extend(more);
        sim(&words)
    };
    // The limit comes first: nothing was asked for that happened.
    let limit = run(&["--set", "time_limit=2s", "--until", "60s"]);
    assert_eq!(limit.status.code(), Some(4), "{}", text(&limit));
    let early = run(&["--until", "3s", "--keep"]);
    assert!(early.status.success(), "{}", text(&early));
    // What was kept is that short run.
    let kept = folder.path().join("power-loss-3.json");
    let kept = kept.to_str().unwrap();
    let again = sim(&["replay", kept]);
    assert!(
        again.status.success() && text(&again).contains("the same run, event for event"),
        "{}",
        text(&again)
    );
    assert_eq!(hash(&again), hash(&early));
    // And an even shorter one is another.
    let shorter = sim(&["replay", kept, "--until", "1s"]);
    assert!(
        shorter.status.success() && text(&shorter).contains("it is not compared"),
        "{}",
        text(&shorter)
    );
    assert_ne!(hash(&shorter), hash(&early));
}

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
    let report = folder.path().to_str().unwrap();
    let scenario = altered(
        folder.path(),
        "power-loss",
        &[("liveness, fsck, bounded]", "{ liveness: 0s }]")],
    );
    let output = suite(&[&scenario], 2, report);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("2 runs of") && text(&output).contains(": 2 failed"),
        "{}",
        text(&output)
    );
    for seed in [1, 2] {
        let kept = folder.path().join(format!("power-loss-{seed}.json"));
        let line = format!("kept: cargo sim replay {}", kept.display());
        assert!(kept.is_file() && text(&output).contains(&line), "{}", text(&output));
    }
    let output = suite(&["power-loss"], 2, report);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(
        text(&output).contains(": 0 failed") && text(&output).contains("seeds/s"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_suite_that_was_stopped_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().to_str().unwrap();
    let go_on = |seeds: &str, more: &[&str]| {
        let mut arguments = vec![
            "suite",
            "storage-full",
            "--seeds",
            seeds,
            "--report",
            report,
            "--resume",
        ];
        arguments.extend(more);
        sim(&arguments)
    };
    let output = go_on("3", &["--base", "5"]);
    assert!(text(&output).contains("has nothing to go on with"), "{}", text(&output));
    assert!(
        text(&output).contains("3 runs of storage-full: 0 failed"),
        "{}",
        text(&output)
    );
    // Whatever base is said: it is the same suite.
    let output = go_on("8", &[]);
    assert!(text(&output).contains("going on after 3 runs"), "{}", text(&output));
    assert!(
        text(&output).contains("8 runs of storage-full: 0 failed"),
        "{}",
        text(&output)
    );
    // No time at all is enough to start nothing.
    let output = go_on("100", &["--time", "0s"]);
    assert!(
        text(&output).contains("8 runs of storage-full: 0 failed"),
        "{}",
        text(&output)
    );
    let output = go_on("8", &["--twice", "1"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains("the progress of another suite"),
        "{}",
        text(&output)
    );
}

/// What is kept is what ran: if this fails, a failure that is carried elsewhere is another one there.
#[test]
fn the_plan_of_a_run_gives_its_hash_without_its_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().to_str().unwrap();
    for scenario in [
        "stale-primary-returns",
        "two-primaries-same-epoch",
        "disk-full",
        "storage-damage",
    ] {
        let output = sim(&["run", scenario, "--seed", "3", "--keep", "--report", report]);
        assert!(output.status.success(), "{}", text(&output));
        let kept = folder.path().join(format!("{scenario}-3.json"));
        let again = sim(&["replay", kept.to_str().unwrap()]);
        assert_eq!(hash(&again), hash(&output), "{}", text(&again));
        assert!(
            text(&again).contains("the same run, event for event"),
            "{}",
            text(&again)
        );
        // What is printed is what is replayed.
        let plan = |arguments: &[&str]| text(&sim(arguments));
        assert_eq!(
            plan(&["replay", kept.to_str().unwrap(), "--plan"]),
            plan(&["run", scenario, "--seed", "3", "--plan"])
        );
    }
    // Another hash, under the same build, is not the same run.
    let kept = folder.path().join("disk-full-3.json");
    let altered = std::fs::read_to_string(&kept)
        .unwrap()
        .replace("\"hash\": \"", "\"hash\": \"0");
    std::fs::write(&kept, altered).unwrap();
    let again = sim(&["replay", kept.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(3), "{}", text(&again));
    assert!(text(&again).contains("NOT DETERMINISTIC"), "{}", text(&again));
}

/// A promise that a forced failover cannot keep: eight steps, four clients and hundreds of transactions to find it, a few
/// steps and one client with a few transactions to show it.
#[test]
fn a_failure_is_made_small_kept_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().to_str().unwrap();
    let changes = [("{ durability: replicated }", "{ durability: graceful }")];
    let scenario = altered(folder.path(), "stale-primary-returns", &changes);
    let output = suite(&[&scenario, "--fail-fast"], 10, report);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let kept = kept_in(folder.path());
    let kept = kept.first().expect("a failing seed is kept");

    let small = folder.path().join("small/small.yaml");
    let small = small.to_str().unwrap();
    let output = sim(&["minimise", kept, "--budget", "2m", "-o", small]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let written = std::fs::read_to_string(small).unwrap();
    assert!(written.matches("  - { ").count() <= 5, "{written}");
    assert!(written.contains("finally: [{ durability: graceful }]"), "{written}");
    let only: Vec<&str> = written.split("only: [").skip(1).collect();
    let turns = only.first().and_then(|rest| rest.split(']').next());
    let length = |entry: &str| {
        let (first, last) = entry.rsplit_once("..").unwrap_or((entry, entry));
        let number = |text: &str| text.rsplit('/').next().unwrap().parse::<u64>().unwrap();
        number(last) - number(first) + 1
    };
    let turns: u64 = turns.expect("the turns are named").split(", ").map(length).sum();
    assert!(only.len() == 1 && (1..=12).contains(&turns), "{written}");

    // The small file fails alone, with the seed it names, and the kept plan is the same run.
    let failed = sim(&["run", small, "--report", report]);
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    assert!(text(&failed).contains("durability: "), "{}", text(&failed));
    let json = small.replace(".yaml", ".json");
    let again = sim(&["replay", &json]);
    assert_eq!(
        (again.status.code(), hash(&again)),
        (Some(1), hash(&failed)),
        "{}",
        text(&again)
    );

    let page = folder.path().join("run.html");
    let output = sim(&["timeline", &json, "-o", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("\"failure\":\"durability: ") && page.contains("\"kind\":\"primary\""));
}

/// `cargo sim suite regressions` is this, for the repository's own folder.
#[test]
fn failures_that_were_kept_must_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let report = tempfile::tempdir().unwrap();
    let report = report.path().to_str().unwrap();
    let kept = folder.path().to_str().unwrap();
    let output = sim(&["suite", kept, "--report", report]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("keeps no failures"), "{}", text(&output));

    sim(&["run", "storage-full", "--seed", "4", "--keep", "--report", kept]);
    let scenario = altered(
        folder.path(),
        "storage-sync",
        &[("suite: storage", "suite: storage\nseed: 9")],
    );
    let output = sim(&["suite", kept, "--report", report]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(
        text(&output).contains("2 runs of ") && text(&output).contains(": 0 failed"),
        "{}",
        text(&output)
    );

    // One that fails is named by the line that replays it, and a scenario without a seed says nothing certain.
    let file = folder.path().join("storage-full-4.json");
    let broken = std::fs::read_to_string(&file).unwrap();
    let checks = broken.find("\"finally\"").expect("a plan has checks");
    let broken = broken[..checks].to_owned() + &broken[checks..].replacen('[', "[\"{ liveness: 0s }\",", 1);
    std::fs::write(&file, broken).unwrap();
    let output = sim(&["suite", kept, "--report", report]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let line = format!("cargo sim replay {}   liveness: ", file.display());
    assert!(text(&output).contains(&line), "{}", text(&output));
    let text_of = std::fs::read_to_string(&scenario).unwrap();
    std::fs::write(&scenario, text_of.replace("seed: 9\n", "")).unwrap();
    let output = sim(&["suite", kept, "--report", report]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("must name its seed"), "{}", text(&output));
}

#[test]
fn two_traces_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let trace = |name: &str, seed: &str| {
        let file = folder.path().join(name).to_str().unwrap().to_owned();
        sim(&["run", "storage-full", "--seed", seed, "--trace", &file]);
        file
    };
    let (first, same, other) = (trace("a", "1"), trace("b", "1"), trace("c", "2"));
    let output = sim(&["diff", &first, &same]);
    assert_eq!((output.status.code(), text(&output)), (Some(0), "equal\n".to_owned()));
    let output = sim(&["diff", &first, &other]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("the first difference is line "),
        "{}",
        text(&output)
    );
}

fn suite(what: &[&str], seeds: u64, report: &str) -> Output {
    let seeds = seeds.to_string();
    let mut arguments = vec!["suite", "--seeds", &seeds, "--base", "1", "--report", report];
    arguments.extend(what);
    sim(&arguments)
}

/// The kept failures of a folder.
fn kept_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path().to_str().unwrap().to_owned());
    let mut kept: Vec<String> = paths
        .filter(|path| path.ends_with(".json") && !path.ends_with("suite-progress.json"))
        .collect();
    kept.sort();
    kept
}
