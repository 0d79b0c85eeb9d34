//! The swarm draws what it says, and leaving something out changes nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::scenario::Scenario;
use crate::scenario::fault::Fault;

const FIELD: &str = r#"scenario: field
about: Three servers, of which c is named by nobody.
swarm: full
time_limit: 300s
cluster:
  servers:
    a: { role: primary, epoch: 1, standbys: [b, c] }
    b: { role: standby, epoch: 1, standbys: [a, c] }
    c: { role: standby, epoch: 1, standbys: [a, b] }
network: { latency: 1ms..10ms }
workload:
  - append: { on: primary, clients: 2, keys: 8, txn: 1..3, rate: 10/s, until: end }
  - watch:  { on: standby, every: 1s, until: end }
steps:
  - { at: 5s, name: look, sql: { server: a, run: "SELECT 1", expect: any } }
  - { at: 40s, name: end, quiet: all }
check: { finally: [liveness] }
"#;

fn scenario(swarm: &str) -> Scenario {
    Scenario::parse("field.yaml", &FIELD.replace("swarm: full", &format!("swarm: {swarm}"))).unwrap()
}

fn plans(swarm: &str, seeds: u64) -> Vec<Plan> {
    let scenario = scenario(swarm);
    (0..seeds).map(|seed| Plan::new(&scenario, seed)).collect()
}

/// The steps that a swarm added, by kind.
fn by_kind(plan: &Plan) -> BTreeMap<String, Vec<String>> {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for step in &plan.steps {
        if let Some(kind) = kind_of(&step.label) {
            kinds
                .entry(kind.to_owned())
                .or_default()
                .push(format!("{} {}", step.trigger, step.action));
        }
    }
    kinds
}

#[test]
fn often_there_is_no_fault_often_one_kind_and_every_kind_some_time() {
    let plans = plans("full", 400);
    let mut seen = BTreeSet::new();
    let (mut none, mut one, mut most) = (0, 0, 0);
    for plan in &plans {
        let kinds = by_kind(plan);
        match kinds.len() {
            0 => none += 1,
            1 => one += 1,
            count => most = most.max(count),
        }
        seen.extend(kinds.into_keys());
    }
    assert!((80..200).contains(&none), "{none} of 400 without a fault");
    assert!((60..200).contains(&one), "{one} of 400 with one kind");
    assert!(most >= 8, "{most} kinds at most");
    assert_eq!(seen.len(), KINDS.len(), "{seen:?}");
}

#[test]
fn rates_differ_wildly() {
    let counts: BTreeSet<usize> = plans("full", 400)
        .iter()
        .filter_map(|plan| by_kind(plan).get("kill").map(Vec::len))
        .collect();
    assert!(counts.first().is_some_and(|least| *least <= 4), "{counts:?}");
    assert!(counts.last().is_some_and(|most| *most >= 30), "{counts:?}");
}

#[test]
fn a_light_swarm_only_makes_things_late() {
    let gentle: BTreeSet<&str> = KINDS.iter().filter(|kind| kind.gentle).map(|kind| kind.name).collect();
    let mut seen = BTreeSet::new();
    for plan in plans("light", 200) {
        assert_eq!(plan.servers.len(), 3);
        seen.extend(by_kind(&plan).into_keys());
    }
    assert_eq!(seen.iter().map(String::as_str).collect::<BTreeSet<_>>(), gentle);
}

#[test]
fn no_swarm_is_the_scenario_alone() {
    for plan in plans("none", 20) {
        assert_eq!(plan.steps.len(), 2);
        assert_eq!(
            (plan.workload[0].clients, plan.servers.len(), plan.window),
            (2, 3, None)
        );
        assert!(plan.swarm.is_empty() && plan.servers.iter().all(|server| server.knobs.is_empty()));
    }
}

/// If this fails, a scenario cannot say how often a fault comes.
#[test]
fn a_rate_that_is_said_holds_in_every_seed_whatever_the_level() {
    for (swarm, others) in [
        ("{ level: none, every: { kill: 2s, operator: 5s..9s } }", false),
        ("{ level: light, every: { kill: 2s, operator: 5s..9s } }", true),
        ("{ level: full, every: { kill: 2s, operator: 5s..9s } }", true),
    ] {
        let mut had_others = false;
        for plan in plans(swarm, 60) {
            let kinds = by_kind(&plan);
            let count = |kind: &str| kinds.get(kind).map_or(0, Vec::len);
            // From 2s to 40s; each is a kill and a restart.
            assert!((20..=76).contains(&count("kill")), "{swarm}: {kinds:?}");
            // Who is alone has no role.
            let operators = if plan.servers.len() > 1 { 2..=20 } else { 0..=0 };
            assert!(operators.contains(&count("operator")), "{swarm}: {kinds:?}");
            assert!(count("wipe") == 0, "who may be promoted is not wiped");
            had_others |= kinds.len() > 2;
        }
        assert_eq!(had_others, others, "{swarm}");
    }
    let often = plans("{ level: none, every: { stall: 100ms } }", 1);
    assert!(by_kind(&often[0])["stall"].len() > 250, "{}", often[0]);
    assert_eq!(often[0].workload[0].clients, 2, "the load is the scenario's");
    for plan in plans("{ level: full, every: { wipe: 9s } }", 60) {
        let kinds = by_kind(&plan);
        assert!(
            !kinds.contains_key("operator") && !kinds.contains_key("blunder"),
            "{kinds:?}"
        );
    }
}

/// If this fails, a standby that was taken out of a configuration stays out.
#[test]
fn a_standby_that_is_taken_out_comes_back_in() {
    let (mut out, mut back_in) = (0, 0);
    for plan in plans("{ level: full, only: [reconfigure] }", 100) {
        let all = plan.servers.len() - 1;
        let changes = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Fault(Fault::Reconfigure { server, standbys }) => Some((&step.label, server, standbys.len())),
            _ => None,
        });
        let changes: BTreeMap<&String, (&String, usize)> =
            changes.map(|(label, server, left)| (label, (server, left))).collect();
        for (label, (server, left)) in changes.iter().filter(|(label, _)| !label.contains('.')) {
            assert_eq!(*left, all - 1, "{changes:?}");
            out += 1;
            if let Some(again) = changes.get(&format!("{label}.1")) {
                assert_eq!(*again, (*server, all));
                back_in += 1;
            }
        }
    }
    // What would come after quiet is left to quiet.
    assert!(out > 50 && back_in * 10 > out * 7, "{back_in} of {out}");
}

#[test]
fn leaving_a_kind_out_leaves_all_others_as_they_were() {
    let (all, fewer) = (plans("full", 200), plans("{ level: full, without: [kill, wipe] }", 200));
    let mut compared = 0;
    for (all, fewer) in all.iter().zip(&fewer) {
        let (mut all_kinds, fewer_kinds) = (by_kind(all), by_kind(fewer));
        all_kinds.remove("kill");
        all_kinds.remove("wipe");
        // With one kind in all, another takes the place of the one that was left out.
        if all_kinds.is_empty() {
            assert!(fewer_kinds.len() <= 1, "seed {}: {fewer_kinds:?}", all.seed);
            continue;
        }
        assert_eq!(all_kinds, fewer_kinds, "seed {}", all.seed);
        compared += all_kinds.len();
        assert_eq!(all.workload[0].clients, fewer.workload[0].clients);
        let knobs = |plan: &Plan| {
            plan.servers
                .iter()
                .map(|server| server.knobs.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(knobs(all), knobs(fewer));
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn shape_knobs_and_load_are_drawn() {
    let mut servers = BTreeSet::new();
    let mut clients = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let (mut small, mut windows, mut uneven, mut nodes, mut torn) = (0, 0, 0, 0, 0);
    for plan in plans("full", 200) {
        // a is named by a step; without a standby it is on its own.
        servers.insert(plan.servers.len());
        assert_eq!(plan.servers[0].name, "a");
        assert_eq!(plan.servers[0].member.is_none(), plan.servers.len() == 1);
        assert!(plan.links.keys().all(|(from, to)| {
            let known = |name: &str| plan.servers.iter().any(|server| server.name == name);
            known(from) && known(to)
        }));
        clients.insert(plan.workload[0].clients);
        keys.insert(plan.workload[0].spec.shape("keys"));
        small += u32::from(plan.servers[0].knobs.get("segment").is_some_and(|bytes| bytes < 10_000));
        windows += u32::from(plan.window.is_some());
        nodes += u32::from(plan.nodes.is_some_and(|bytes| bytes < 1_024));
        torn += u32::from(plan.servers.iter().all(|server| server.disk.get("torn").is_some()));
        let jitters: BTreeSet<Micros> = plan.links.values().map(|link| link.jitter).collect();
        uneven += u32::from(plan.servers.len() > 1 && !jitters.contains(&0) && plan.client_link.jitter > 0);
    }
    assert_eq!(servers.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(clients, (1..=12).collect());
    assert!(keys.contains(&1) && keys.iter().any(|keys| *keys > 100), "{keys:?}");
    assert!(small >= 5 && windows > 30, "{small} {windows}");
    assert!((20..100).contains(&nodes), "{nodes} of 200 with nodes below a kibibyte");
    assert!((30..150).contains(&uneven), "{uneven} of 200 with uneven links");
    assert!((60..140).contains(&torn), "{torn} of 200 with torn writes");
}

/// If this fails, operations hardly ever meet on a register, and any server is linearizable.
#[test]
fn registers_stay_few() {
    let text = FIELD.replace(
        "  - watch:",
        "  - register: { on: primary, keys: 4, every: 1s, until: end }\n  - watch:",
    );
    let scenario = Scenario::parse("field.yaml", &text).unwrap();
    let keys: BTreeSet<u64> = (0..200)
        .map(|seed| Plan::new(&scenario, seed).workload[1].spec.shape("keys"))
        .collect();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), [1, 2, 4, 8]);
}

/// If this fails, a seed by which the scenario's own fault comes too late has no swarm.
#[test]
fn faults_of_the_scenario_may_come_too_late() {
    let text = FIELD.replace("steps:", "steps:\n  - { at: 1s..200s, kill: a }");
    let scenario = Scenario::parse("field.yaml", &text).unwrap();
    let late = (0..40).map(|seed| Plan::new(&scenario, seed)).filter(|plan| {
        assert!(matches!(plan.steps[0].action, Action::Kill(_)));
        quiet::first_too_late(plan.steps.iter().map(PlannedStep::brief)) == Some(0)
    });
    assert!(late.count() > 10);
}

#[test]
fn faults_come_before_quiet_and_are_settled() {
    for plan in plans("full", 200) {
        for step in &plan.steps {
            let Trigger::At(at) = step.trigger else {
                panic!("{}", step.trigger)
            };
            assert!(at >= FIRST, "{}", step.label);
        }
        // Printing unwraps nothing, writing asks for every settled value.
        let text = crate::scenario::write::scenario_file(&plan, "again", "x").unwrap();
        Scenario::parse("again.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

#[test]
fn no_seed_damages_two_disks() {
    let mut damaged = BTreeSet::new();
    for plan in plans("full", 400) {
        let servers: BTreeSet<&str> = plan
            .steps
            .iter()
            .filter(|step| kind_of(&step.label) == Some(kinds::DAMAGE))
            .map(|step| match &step.action {
                Action::Disk { server, .. } | Action::Rot(server) => server.as_str(),
                other => panic!("{other}"),
            })
            .collect();
        assert!(servers.len() <= 1, "seed {}: {servers:?}", plan.seed);
        damaged.extend(servers.into_iter().map(str::to_owned));
    }
    assert_eq!(
        damaged.into_iter().collect::<Vec<_>>(),
        ["b", "c"],
        "a was set up as the primary"
    );
}

#[test]
fn mistakes_name_the_words() {
    for (text, part) in [
        ("most", "unknown word \"most\"; allowed here: none, light, full"),
        (
            "{ level: full, without: [rain] }",
            "unknown word \"rain\"; allowed here: kill, power_off, pause",
        ),
        (
            "{ level: light, only: [kill] }",
            "unknown word \"kill\"; allowed here: stall, clog",
        ),
        ("{ level: full, only: [kill], without: [wipe] }", "exclude each other"),
        ("{ only: [kill] }", "the key \"level\" is missing"),
        (
            "{ level: none, every: { rain: 1s } }",
            "unknown word \"rain\"; allowed here: kill, power_off, pause",
        ),
        (
            "{ level: none, every: { kill: 1ms..1s } }",
            "no closer together than 100ms",
        ),
        (
            "{ level: full, without: [kill], every: { kill: 1s } }",
            "also what this swarm is without",
        ),
        (
            "{ level: none, every: { wipe: 1s, operator: 2s } }",
            "not beside operator or blunder",
        ),
    ] {
        let text = FIELD.replace("swarm: full", &format!("swarm: {text}"));
        let error = Scenario::parse("field.yaml", &text).unwrap_err().to_string();
        assert!(error.starts_with("field.yaml:3: ") && error.contains(part), "{error}");
    }
    // Two servers have no bridge between them, and no configuration that one could be taken out of.
    for kind in ["bridge", "reconfigure"] {
        let text = FIELD.replace(
            "swarm: full",
            &format!("swarm: {{ level: none, every: {{ {kind}: 1s }} }}"),
        );
        assert!(Scenario::parse("field.yaml", &text).is_ok());
        let text = text.replace("[b, c]", "[b]").replace("[a, c]", "[a]");
        let text = text.replace("    c: { role: standby, epoch: 1, standbys: [a, b] }\n", "");
        let error = Scenario::parse("field.yaml", &text).unwrap_err().to_string();
        let said = format!("every: {kind}: there is nothing here that it could strike");
        assert!(error.starts_with("field.yaml:3: ") && error.contains(&said), "{error}");
    }
    // Whose turns are named is not drawn anew.
    let text = FIELD.replace("clients: 2,", "clients: 2, only: [2/3],");
    let error = Scenario::parse("field.yaml", &text).unwrap_err().to_string();
    assert!(
        error.contains("it draws other clients than those whose turns"),
        "{error}"
    );
    let text = text.replace("swarm: full", "swarm: none");
    assert!(Scenario::parse("field.yaml", &text).is_ok());
    let error = Scenario::parse("field.yaml", &text.replace("2/3", "3/3"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("only: there is no client 3, of 2"), "{error}");
}

#[test]
fn numbers_are_spread_over_their_magnitudes() {
    let mut rng = draw::stream(1, "t");
    let numbers: Vec<u64> = (0..2_000).map(|_| log_uniform(&mut rng, 10, 10_000)).collect();
    let share = |low: u64, high: u64| numbers.iter().filter(|number| (low..high).contains(*number)).count();
    assert!(numbers.iter().all(|number| (10..=10_000).contains(number)));
    for (low, high) in [(10, 100), (100, 1_000), (1_000, 10_001)] {
        assert!(share(low, high) > 400, "{low}..{high}: {}", share(low, high));
    }
    assert_eq!(log_uniform(&mut rng, 7, 7), 7);
}
