//! Whole plans in an ordinary build: the same driver, engine and checks as under `cargo sim`, without its clock.

use super::drive::drive;
use super::event::{Refusal, StorageEvent};
use super::plan::{End, Operation, StoragePlan};
use super::spec::StorageSpec;
use crate::check::{CHECKS, CheckUse, Judge, Section};
use crate::history::{FinalState, History, What};
use crate::record::Recorder;
use crate::trace::Trace;
use crate::yaml::Node;

fn spec(text: &str) -> StorageSpec {
    StorageSpec::parse(&Node::parse("f.yaml", text).unwrap()).unwrap()
}

async fn run(plan: &StoragePlan, seed: u64) -> (History, String) {
    let recorder = Recorder::new(|| 0, Trace::new(None), Vec::new(), |_| {});
    drive(plan, seed, &recorder, || {}).await;
    let (history, trace, _) = recorder.finish(FinalState::default());
    (history, trace.hash())
}

/// All checks of storage. `sometimes` are not among them.
fn judge(history: &History) -> Option<String> {
    let storage = CHECKS.iter().filter(|check| {
        let names = ["commits_", "refusals_", "no_commit_after_", "store_"];
        check.section != Section::Sometimes && names.iter().any(|name| check.name.starts_with(name))
    });
    let uses = storage.map(|check| CheckUse {
        name: check.name,
        arg: crate::check::Arg::None,
    });
    let uses: Vec<CheckUse> = uses.collect();
    assert_eq!(uses.len(), 5);
    uses.iter()
        .find_map(|check| check.judge(history))
        .map(|violation| violation.to_string())
}

fn happened(history: &History) -> Vec<&'static str> {
    let storage = CHECKS.iter().filter(|check| check.section == Section::Sometimes);
    let happened = storage.filter(|check| matches!(check.judge, Judge::Happened(happened) if happened(history)));
    happened.map(|check| check.name).collect()
}

fn story(history: &History) -> String {
    history.events.iter().map(|event| format!("{event}\n")).collect()
}

/// Runs seeds of a scenario and demands that each of `expected` happened in one of them.
async fn seeds(text: &str, seeds: std::ops::Range<u64>, expected: &[&str]) {
    let spec = spec(text);
    let mut seen = std::collections::BTreeSet::new();
    for seed in seeds {
        let plan = StoragePlan::new(&spec, seed);
        let (history, _) = run(&plan, seed).await;
        if let Some(violation) = judge(&history) {
            panic!("seed {seed}: {violation}\n{plan}\n{}", story(&history));
        }
        seen.extend(happened(&history));
    }
    for name in expected {
        assert!(seen.contains(name), "{name} never happened, only {seen:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_only_the_power_goes() {
    let expected = ["unknown_commit_survived", "unknown_commit_vanished"];
    seeds("{ lives: 4..8 }", 0..20, &expected).await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_space() {
    seeds(
        "{ disk: { full_after: [none, 0..30kB] } }",
        0..40,
        &["wrote_again_after_full"],
    )
    .await;
}

#[tokio::test]
async fn a_failed_sync_ends_writing_until_the_next_start() {
    let text = "{ disk: { sync_fails: [0, 0..20%], sync_fails_after: [none, 0..30] } }";
    seeds(text, 0..20, &["refused_after_failed_sync"]).await;
}

#[tokio::test]
async fn a_disk_that_lies_is_found_out_or_takes_only_the_newest() {
    let text = "{ rot: 20%, disk: { lost: [0, 0..10%], misdirected: [0, 0..10%], corrupt: [0, 0..10%], misread: [0, 0..1%] } }";
    seeds(text, 0..30, &["damage_was_named", "damage_took_the_newest"]).await;
}

/// The power goes within every sync of one life in turn, that of opening the store anew included.
#[tokio::test]
async fn the_power_goes_within_every_sync() {
    for seed in 0..3 {
        let spec = spec("{ lives: 2, operations: 12, tables: 2, segment: 3kB, ends: kill }");
        let mut plan = StoragePlan::new(&spec, seed);
        let mut cuts = 0;
        loop {
            plan.lives[0].end = End::PowerOffAtSync(cuts);
            plan.lives[1].end = End::PowerOffAtSync(cuts % 7);
            let (history, _) = run(&plan, seed).await;
            if let Some(violation) = judge(&history) {
                panic!("seed {seed}, cut {cuts}: {violation}\n{plan}\n{}", story(&history));
            }
            let first = history.events.iter().map_while(|event| match &event.what {
                What::Storage(StorageEvent::Ended { .. }) => None,
                What::Storage(event) => Some(event),
                _ => unreachable!("only storage events happen here"),
            });
            let settled = first.filter(|event| match event {
                StorageEvent::Committed { .. } => true,
                StorageEvent::Refused { refusal, .. } => *refusal == Refusal::Conflict,
                _ => false,
            });
            let planned: usize = plan.lives[0].operations.iter().map(commits_of).sum();
            // Beyond the last sync of the first life nothing is cut there any more.
            if settled.count() == planned {
                break;
            }
            cuts += 1;
            assert!(cuts < 300, "300 syncs were not enough for a dozen operations");
        }
        assert!(
            cuts > 20,
            "opening anew and a dozen commits have more than {cuts} syncs"
        );
    }
}

fn commits_of(operation: &Operation) -> usize {
    match operation {
        Operation::Commit(commits) => commits.len(),
        Operation::Clash(..) => 2,
        _ => 0,
    }
}

#[test]
fn a_seed_gives_one_plan_and_seeds_differ() {
    let spec = spec("{ rot: 10%, disk: { lost: [0, 1%] } }");
    let text = |seed| StoragePlan::new(&spec, seed).to_string();
    assert_eq!(text(3), text(3));
    assert_ne!(text(3), text(4));
    // Every kind of operation and of end comes up.
    let all: String = (0..40).map(text).collect();
    for word in [
        "    commit ",
        " | ",
        "    clash ",
        "    abandon ",
        "    read\n",
        "    hold\n",
        "    look\n",
        "    pause ",
        "    rot\n",
        "    close\n",
        "    kill\n",
        "    power_off\n",
        " into ",
        "within sync ",
        "v {",
        " -t",
    ] {
        assert!(all.contains(word), "{word:?}");
    }
}

#[test]
fn numbers_of_a_storage_section_have_bounds() {
    for (text, part) in [
        ("{ lives: 0 }", "lives: 0 is out of range, 1 to 100 are allowed"),
        ("{ keys: 4..99999 }", "keys: 99999 is out of range"),
        ("{ segment: 1 }", "segment: 1 is out of range, 1024 to"),
        (
            "{ ends: explode }",
            "unknown word \"explode\"; allowed here: close, kill, power_off",
        ),
        ("{ live: 1 }", "unknown word \"live\"; allowed here: lives, operations"),
        ("{ disk: { losst: 1% } }", "unknown word \"losst\""),
    ] {
        let error = StorageSpec::parse(&Node::parse("f.yaml", text).unwrap()).unwrap_err();
        assert!(error.what.contains(part), "{text}: {error}");
    }
}
