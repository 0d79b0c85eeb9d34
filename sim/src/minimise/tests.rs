//! Shrinking against a runner that is a function of the plan: what must stay for a failure stays, and hardly anything
//! else.

use super::*;
use crate::failure::complaint;
use crate::plan::PlannedWorkload;
use crate::scenario::Scenario;
use crate::scenario::fault::Fault;
use crate::scenario::step::{Action, Restart, Trigger};
use crate::scenario::write::scenario_file;
use crate::storage::event::Edit;
use crate::storage::plan::{End, Operation};
use crate::workload::Moment;

/// Decides whether a plan fails, and never for one that cannot be carried out.
struct Fake<'a> {
    fails: &'a dyn Fn(&Plan) -> bool,
    runs: usize,
    most: usize,
}

impl Trials for Fake<'_> {
    fn first_failing(&mut self, candidates: &[Plan]) -> Result<Option<(usize, Failed)>, String> {
        for (index, plan) in candidates.iter().enumerate() {
            if self.runs == self.most {
                return Ok(None);
            }
            self.runs += 1;
            assert_eq!(complaint(plan), None, "{plan}");
            // What is written must be readable, whatever was taken away.
            let text = serde_json::to_string(plan).unwrap();
            serde_json::from_str::<Plan>(&text).unwrap();
            if let Some(text) = scenario_file(plan, "small", "x") {
                Scenario::parse("small.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            }
            if (self.fails)(plan) {
                return Ok(Some((index, told(plan))));
            }
        }
        Ok(None)
    }

    fn is_over(&self) -> bool {
        self.runs >= self.most
    }

    fn smaller(&mut self, plan: &Plan) {
        assert!((self.fails)(plan), "the best plan does not fail");
    }
}

/// Every step is done a second after the one before it.
fn told(plan: &Plan) -> Failed {
    let reached = (1..)
        .zip(&plan.steps)
        .map(|(second, step)| (step.label.clone(), second * 1_000_000));
    // Every client gets something done in its first hundred turns, or in those that it is left.
    let turns = plan.workload.iter().map(|workload| {
        let all = || (1..=workload.clients).flat_map(|client| (1..=100).map(move |turn| (client, turn)));
        let done = workload.spec.only.clone().unwrap_or_else(|| all().collect());
        (workload.spec.name.clone(), done)
    });
    Failed {
        reached: reached.collect(),
        end: 60_000_000,
        turns: Some(turns.collect()),
    }
}

fn shrink(plan: &Plan, fails: &dyn Fn(&Plan) -> bool) -> (Plan, usize) {
    shrink_for("durability", plan, fails)
}

fn shrink_for(check: &str, plan: &Plan, fails: &dyn Fn(&Plan) -> bool) -> (Plan, usize) {
    assert!(fails(plan), "the plan to shrink fails");
    let mut fake = Fake {
        fails,
        runs: 0,
        most: usize::MAX,
    };
    let small = minimise(plan, told(plan), Some(check), &mut fake).unwrap();
    (small, fake.runs)
}

const BIG: &str = r#"scenario: big
about: Much happens, and two steps of it matter.
time_limit: 300s
cluster:
  servers:
    a: { role: primary, epoch: 1, standbys: [b, c], clock: { offset: 1s, drift: 100 }, disk: { latency: 3ms, torn: 50% } }
    b: { role: standby, epoch: 1, standbys: [a, c], disk: { lost: 1%, misread: 1% } }
    c: { role: standby, epoch: 1, standbys: [a, b] }
network: { latency: 20ms, jitter: 5ms, loss: 1%, bandwidth: 10MB/s, links: { a->b: { latency: 50ms } } }
workload:
  - append: { as: mine, on: a, clients: 4, keys: 8, txn: 2..6, rate: 20/s, until: fenced }
  - append: { as: others, on: primary, clients: 3, keys: 8, txn: 2..6, rate: 20/s, until: end }
  - bank:   { on: primary, clients: 2, accounts: 20, rate: 20/s, until: end }
  - audit:  { on: c, clients: 2, every: 1s, from: begun, until: end }
steps:
  - { at: 1.234567s, name: begun }
  - { after: begun + 2.2s, disk: { server: b, lost: 2%, corrupt: 1% } }
  - { after: begun + 3.3s, pause: c }
  - { after: begun + 4.4s, name: again, resume: c }
  - { after: again + 1s, name: cut, partition: { sides: [[a, mine], [b, others], [c, bank]], direction: both } }
  - { after: cut + 1.1s, name: lost, power_off: a }
  - { after: lost + 2.2s, name: promote, sql: { server: b, run: "SELECT dolt_assume_cluster_role('primary', 2)", expect: ok } }
  - { when: { all: [{ role: { b: primary@2 } }, { role: { c: standby@1 } }] }, within: 30s, name: fenced }
  - { after: fenced + 1s, sql: { server: all, run: "SELECT 1", expect: any } }
  - { after: fenced + 2s, kill: c }
  - { after: fenced + 3s, rot: b }
  - { after: fenced + 4s, name: heal, heal: all }
  - { after: heal + 1s, restart: down }
  - { after: heal + 20s, name: end, quiet: all }
check:
  always:    [one_writable_primary_per_epoch, epoch_monotone]
  finally:   [{ durability: replicated }, roots_equal, liveness]
  sometimes: [unknown_outcome]
"#;

fn big() -> Plan {
    let scenario = Scenario::parse("big.yaml", BIG).unwrap();
    Plan::new(&scenario, 5)
}

fn has(plan: &Plan, wanted: impl Fn(&Action) -> bool) -> bool {
    plan.steps.iter().any(|step| wanted(&step.action))
}

/// The planted bug: whoever is promoted after the old primary lost its power, while somebody appended on b's side.
fn promoted_after_power_loss(plan: &Plan) -> bool {
    let place = |wanted: &dyn Fn(&Action) -> bool| plan.steps.iter().position(|step| wanted(&step.action));
    let lost = place(&|action| matches!(action, Action::PowerOff(name) if name == "a"));
    let promoted = place(&|action| matches!(action, Action::Sql { run, .. } if run.contains("primary")));
    let appends = plan.workload.iter().any(|workload| workload.spec.kind == "append");
    matches!((lost, promoted), (Some(lost), Some(promoted)) if lost < promoted) && appends && plan.servers.len() >= 2
}

#[test]
fn a_planted_bug_shrinks_to_the_steps_that_matter() {
    let (small, runs) = shrink(&big(), &promoted_after_power_loss);
    assert!(small.steps.len() <= 2, "{small}");
    assert_eq!(
        (small.servers.len(), small.workload.len(), small.workload[0].clients),
        (2, 1, 1),
        "{small}"
    );
    // Noise is gone, and so are other checks.
    assert_eq!((small.client_link.loss_ppm, small.client_link.bandwidth), (0, None));
    assert_eq!(
        (small.servers[0].clock_offset, small.servers[0].clock_drift_ppm),
        (0, 0)
    );
    assert!(
        small.servers.iter().all(|server| server.disk.words().eq(["latency"])),
        "{small}"
    );
    let checks: Vec<&str> = small
        .always
        .iter()
        .chain(&small.finally)
        .map(|check| check.name)
        .collect();
    assert_eq!((checks, small.sometimes.len()), (vec!["durability"], 0));
    // Nobody waits for what is gone, and times are short.
    assert!(matches!(small.workload[0].spec.until, Moment::At(_)));
    assert!(runs < 300, "{runs} runs");
}

/// If this fails, a bug that needs noise is made small into one without, or the noise stays whole.
#[test]
fn noise_that_matters_stays_and_no_other() {
    let fails = |plan: &Plan| {
        let loses = plan
            .servers
            .iter()
            .any(|server| server.disk.words().any(|word| word == "lost"));
        loses && plan.client_link.loss_ppm > 0
    };
    let (small, _) = shrink_for("liveness", &big(), &fails);
    assert_eq!(
        (small.servers.len(), small.steps.len(), small.workload.len()),
        (1, 0, 0),
        "{small}"
    );
    assert_eq!(
        (&small.servers[0].name[..], small.servers[0].member.is_some()),
        ("b", false)
    );
    assert!(small.servers[0].disk.words().eq(["latency", "lost"]), "{small}");
    assert_eq!((small.client_link.jitter, small.client_link.loss_ppm), (0, 10_000));
}

#[test]
fn a_step_that_waited_for_one_that_is_gone_comes_at_its_time() {
    let (small, _) = shrink(&big(), &|plan| {
        has(plan, |action| *action == Action::Restart(Restart::Down))
    });
    let [step] = &small.steps[..] else { panic!("{small}") };
    assert!(matches!(step.trigger, Trigger::At(_)), "{small}");
    // `fenced` is the eighth step, done after eight seconds, and a condition; `heal` came four seconds after it.
    let plan = big();
    let trigger = |plan: &Plan, action: Action| {
        let step = plan.steps.iter().find(|step| step.action == action);
        step.map(|step| step.trigger.to_string()).unwrap()
    };
    let without_fenced = edit::without_steps(&plan, &told(&plan), 7..8).unwrap();
    assert_eq!(trigger(&without_fenced, Action::Heal), "at 12s");
    assert!(matches!(without_fenced.workload[0].spec.until, Moment::At(8_000_000)));
    let without_heal = edit::without_steps(&plan, &told(&plan), 11..12).unwrap();
    assert_eq!(
        trigger(&without_heal, Action::Restart(Restart::Down)),
        "after fenced + 5s"
    );
    let without_both = edit::without_steps(&plan, &told(&plan), 7..12).unwrap();
    assert_eq!(trigger(&without_both, Action::Restart(Restart::Down)), "at 13s");
    // What had not been reached when it failed is waited for until then.
    let early = Failed {
        end: 500_000,
        ..Failed::default()
    };
    let without_fenced = edit::without_steps(&plan, &early, 7..8).unwrap();
    assert_eq!(trigger(&without_fenced, Action::Heal), "at 4.5s");
}

#[test]
fn who_is_gone_is_gone_from_every_action_and_condition() {
    let plan = big();
    let without = edit::without_servers(&plan, &told(&plan), 2..3).unwrap();
    assert_eq!(complaint(&without), None);
    let text = serde_json::to_string(&without.steps).unwrap();
    assert!(!text.contains("\"c\""), "{text}");
    // The audit of c went with it, and from the partition both; a and b still stand apart.
    assert!(without.workload.iter().all(|workload| workload.spec.name != "audit"));
    let apart = without.steps.iter().any(|step| match &step.action {
        Action::Partition { sides, .. } => *sides == [vec!["a", "mine"], vec!["b", "others"], vec!["bank"]],
        _ => false,
    });
    assert!(apart, "{without}");
    assert!(
        without
            .steps
            .iter()
            .any(|step| step.trigger.to_string() == "when (b is primary@2) within 30s"),
        "{without}"
    );
    // A statement is no name.
    assert!(text.contains("dolt_assume_cluster_role"));
    let none = edit::without_servers(&plan, &told(&plan), 0..3);
    assert!(none.is_none());
}

/// If this fails, a plan that was made small still says what it had been drawn with.
#[test]
fn a_small_plan_says_nothing_of_the_swarm_that_drew_it() {
    let scenario = Scenario::parse(
        "big.yaml",
        &BIG.replace("time_limit:", "swarm: { level: full, without: [damage] }\ntime_limit:"),
    )
    .unwrap();
    let plan = (1..)
        .map(|seed| Plan::new(&scenario, seed))
        .find(|plan| plan.to_string().contains("swarm: ") && has(plan, |action| matches!(action, Action::PowerOff(_))))
        .expect("most seeds have a swarm");
    let (small, _) = shrink(&plan, &|plan| has(plan, |action| matches!(action, Action::PowerOff(_))));
    assert!(!small.to_string().contains("swarm: "), "{small}");
}

/// If this fails, a client that needs three of its statements to show a bug runs hundreds.
#[test]
fn of_what_a_client_does_the_turns_that_matter_stay() {
    let wanted = [(1, 17), (1, 64), (2, 5)];
    let fails = |plan: &Plan| {
        let does = |workload: &&PlannedWorkload| {
            let done = |turn| {
                workload
                    .spec
                    .only
                    .as_ref()
                    .is_none_or(|turns| turns.iter().any(|left| left == turn))
            };
            workload.spec.kind == "bank" && workload.clients >= 2 && wanted.into_iter().all(done)
        };
        plan.workload.iter().any(|workload| does(&workload))
    };
    let (small, runs) = shrink_for("bank_total", &big(), &fails);
    let [workload] = &small.workload[..] else {
        panic!("{small}")
    };
    assert_eq!(workload.spec.only, Some(wanted.into_iter().collect()), "{small}");
    assert!(Size::of(&small).to_string().ends_with("turns 3"), "{small}");
    assert!(runs < 300, "{runs} runs");

    // Nobody lives to tell of a run that hangs: then as many turns as there was time for are tried.
    let dead = Failed {
        turns: None,
        ..told(&small)
    };
    let mut all = small.clone();
    let workload = &mut all.workload[0];
    (workload.spec.only, workload.pause, workload.spec.until) = (None, 100_000, Moment::At(20_000_000));
    let possible = edit::turns(&all, &dead);
    assert_eq!(possible, 2 * 400);
    let fewer = edit::without_turns(&all, &dead, 0..possible / 2).unwrap();
    assert_eq!(edit::turns(&fewer, &dead), possible - possible / 2);
    // Turns of clients that are gone are none.
    let mut alone = small.clone();
    alone.workload[0].clients = 1;
    edit::forget_clients(&mut alone.workload[0]);
    assert_eq!(
        alone.workload[0].spec.only,
        Some([(1, 17), (1, 64)].into_iter().collect())
    );
}

/// If this fails, a fault that needs to last a second lasts as long as it was drawn.
#[test]
fn faults_last_no_longer_and_knobs_are_no_more_than_they_must() {
    let text = BIG.replace("  - { after: again + 1s, name: cut", "  - { after: again + 500ms, slow: { sides: [[a], [b]], latency: 700ms, for: 40s } }\n  - { after: again + 1s, name: cut");
    let text = text.replace(
        "standbys: [a, b] }",
        "standbys: [a, b], knobs: { segment: 20000, cache: 1000, backlog: 30000 } }",
    );
    let plan = Plan::new(&Scenario::parse("big.yaml", &text).unwrap(), 5);
    let lasts = |plan: &Plan| {
        let slow = plan.steps.iter().find_map(|step| match &step.action {
            Action::Fault(Fault::Slow { lasts: Some(lasts), .. }) => Some(lasts.settled()),
            _ => None,
        });
        slow.unwrap_or(0)
    };
    let knob = |plan: &Plan| plan.servers.iter().find_map(|server| server.knobs.get("cache"));
    let fails = |plan: &Plan| lasts(plan) >= 900_000 && knob(plan).is_some();
    let (small, _) = shrink(&plan, &fails);
    assert!(lasts(&small) <= 2_500_000, "{small}");
    let knobs: Vec<&str> = small.servers.iter().flat_map(|server| server.knobs.words()).collect();
    assert_eq!(knobs, ["cache"]);
}

/// If this fails, a long list is made into candidates when nobody will run them any more, or all of them at once.
#[test]
fn when_time_is_up_no_more_candidates_are_made() {
    let plan = big();
    let mut many = told(&plan);
    let turns = (1..=2).flat_map(|client| (1..=50_000).map(move |turn| (client, turn)));
    many.turns = Some([("bank".to_owned(), turns.collect())].into());
    let mut fake = Fake {
        fails: &|_| false,
        runs: 0,
        most: 3,
    };
    let same = minimise(&plan, many, None, &mut fake).unwrap();
    assert_eq!((digest(&same), fake.runs), (digest(&plan), 3));
}

#[test]
fn a_failure_that_needs_everything_stays_as_it_is_and_time_that_is_up_ends_it() {
    let plan = big();
    let whole = digest(&plan);
    let mut fake = Fake {
        fails: &|plan| digest(plan) == whole,
        runs: 0,
        most: usize::MAX,
    };
    let same = minimise(&plan, told(&plan), None, &mut fake).unwrap();
    assert_eq!(digest(&same), whole);

    let mut fake = Fake {
        fails: &promoted_after_power_loss,
        runs: 0,
        most: 20,
    };
    let smaller = minimise(&plan, told(&plan), None, &mut fake).unwrap();
    assert!(promoted_after_power_loss(&smaller) && fake.runs == 20);
}

#[test]
fn a_plan_of_a_store_shrinks_to_the_edit_that_matters() {
    let (file, text) = crate::files::read_scenario("storage-damage").unwrap();
    let scenario = Scenario::parse(&file, &text).unwrap();
    let dies = |plan: &Plan| {
        let storage = plan.storage.as_ref().unwrap();
        let deleted = |operation: &Operation| match operation {
            Operation::Commit(commits) => commits
                .iter()
                .any(|commit| commit.edits.iter().any(|edit| matches!(edit, Edit::Delete { .. }))),
            _ => false,
        };
        storage
            .lives
            .windows(2)
            .any(|lives| lives[0].end != End::Close && lives[1].operations.iter().any(deleted))
    };
    let plan = (0..)
        .map(|seed| Plan::new(&scenario, seed))
        .find(|plan| dies(plan))
        .unwrap();
    let before = Size::of(&plan);
    let (small, runs) = shrink(&plan, &dies);
    let storage = small.storage.as_ref().unwrap();
    assert_eq!(storage.lives.len(), 2, "{small}");
    assert_eq!(
        storage.lives[0].operations.len() + storage.lives[1].operations.len(),
        1,
        "{small}"
    );
    assert_eq!((edit::edits(&small), &storage.lives[0].end), (1, &End::Kill), "{small}");
    assert!(
        storage.lives.iter().all(|life| life.disk.words().count() == 0),
        "{small}"
    );
    assert!(before.operations > 20 && runs < 500, "{before} in {runs}");
}
