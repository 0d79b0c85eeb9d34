//! A scenario file that is wrong must say where and what is allowed.

use super::*;
use crate::plan::Plan;

pub const EXAMPLE: &str = r#"scenario: example
about: a is cut off and loses power, b takes over.
time_limit: 120s
cluster:
  servers:
    a: { role: primary, epoch: 1, standbys: [b], clock: { drift: -200..200 } }
    b: { role: standby, epoch: 1, standbys: [a], clock: { offset: -2s..2s }, disk: { latency: 100us..2ms } }
network: { latency: 1ms..40ms, loss: 0..0.05 }
workload:
  - append: { as: stranded, on: a, clients: 2, keys: 4, txn: 1..4, rate: 10/s, until: end }
  - bank:   { on: primary, clients: 1..3, accounts: 20, rate: 20/s, until: end }
steps:
  - { at: 5s..10s, name: cut, partition: { sides: [[a, stranded], [b, bank]], direction: [both, a->b, b->a] } }
  - { after: cut + 0s..3s, power_off: [none, a] }
  - { after: cut + 1s..8s, name: promote, sql: { server: b, run: "SELECT dolt_assume_cluster_role('primary', 2)", expect: ok } }
  - { after: promote + 2s..20s, name: heal, heal: all }
  - { when: { role: { a: standby@2, b: primary@2 } }, within: 30s, name: fenced }
  - { after: fenced, name: refused, sql: { server: a, run: "CREATE TABLE u (k int primary key)", expect: sqlstate 25006 } }
  - { after: fenced + 15s, name: end, quiet: all }
check:
  always:    [one_writable_primary_per_epoch, epoch_monotone]
  finally:   [{ durability: replicated }, liveness, { clean_logs: [partition] }]
  sometimes: [unknown_outcome]
"#;

pub fn parse_example() -> Scenario {
    Scenario::parse("scenarios/example.yaml", EXAMPLE).unwrap()
}

#[test]
fn the_example_is_read_completely() {
    let scenario = parse_example();
    assert_eq!(scenario.servers.len(), 2);
    assert_eq!(scenario.workload.len(), 2);
    assert_eq!(scenario.steps.len(), 7);
    assert_eq!(scenario.steps[0].choices.len(), 3);
    assert_eq!(scenario.finally[0].arg, check::Arg::Word("replicated"));
    assert_eq!(scenario.steps[0].line, 13);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads the repository it is part of")]
fn every_scenario_of_the_repository_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["../scenarios", "speed"].map(|name| std::fs::read_dir(folder.join(name)).unwrap());
    let mut count = 0;
    for entry in folders.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        Scenario::parse(path.to_str().unwrap(), &text).unwrap_or_else(|error| panic!("{error}"));
        count += 1;
    }
    assert!(count >= 33, "{count} scenarios");
}

/// (what to replace, by what, the line of the complaint, what it says)
const MISTAKES: &[(&str, &str, usize, &str)] = &[
    (
        "{ role: { a: standby@2, b: primary@2 } }",
        "{ lag: { server: a, below: 10us } }",
        17,
        "in milliseconds",
    ),
    (
        "latency: 100us..2ms",
        "losst: 1%",
        7,
        "unknown word \"losst\"; allowed here: latency, torn, lost, misdirected, corrupt",
    ),
    ("power_off: [none, a]", "rot: c", 14, "allowed here: none, a, b"),
    ("power_off: [none, a]", "wipe: c", 14, "allowed here: none, a, b"),
    ("power_off: [none, a]", "isolate: bank", 14, "allowed here: none, a, b"),
    ("power_off: [none, a]", "bridge: a", 14, "three servers are due"),
    ("power_off: [none, a]", "ring: { for: 1s }", 14, "four servers are due"),
    (
        "power_off: [none, a]",
        "clog: { sides: [[a], [b]] }",
        14,
        "clog: the key \"for\" is missing",
    ),
    (
        "power_off: [none, a]",
        "clog: { sides: [[a], [rest]], direction: flapping, for: 1s }",
        14,
        "does not flap; allowed here: both, a->b",
    ),
    (
        "power_off: [none, a]",
        "slow: { sides: [[a], [b]], speed: 1 }",
        14,
        "unknown word \"speed\"; allowed here: sides, direction, latency, jitter, loss, bandwidth, for",
    ),
    (
        "power_off: [none, a]",
        "slow: { sides: [[a], [b]], for: 1s }",
        14,
        "nothing would change",
    ),
    (
        "power_off: [none, a]",
        "drop_connections: { between: [a, b], noticed: all }",
        14,
        "unknown word \"all\"; allowed here: both, first, second, neither",
    ),
    (
        "power_off: [none, a]",
        "drop_connections: { between: [a], noticed: both }",
        14,
        "two servers are due, found 1",
    ),
    (
        "power_off: [none, a]",
        "drop_clients: { of: nobody, how: killed }",
        14,
        "unknown word \"nobody\"; allowed here: stranded, bank, all",
    ),
    (
        "power_off: [none, a]",
        "drop_clients: { of: bank, how: politely }",
        14,
        "allowed here: killed, silent",
    ),
    (
        "power_off: [none, a]",
        "swizzle: { cut: [a, b], heal: [a], each: 1s }",
        14,
        "the servers of cut are due",
    ),
    (
        "power_off: [none, a]",
        "swizzle: { cut: [a, a], each: 1s }",
        14,
        "\"a\" is named twice",
    ),
    (
        "power_off: [none, a]",
        "duplicate: { server: bank }",
        14,
        "allowed here: a, b",
    ),
    (
        "power_off: [none, a]",
        "move: { to: b }",
        14,
        "unknown word \"to\"; allowed here: server, lag",
    ),
    (
        "power_off: [none, a]",
        "stall: { server: a, share: 200%, for: 1s }",
        14,
        "is not a share",
    ),
    (
        "power_off: [none, a]",
        "clock: { server: a }",
        14,
        "one of offset, jump, drift is due",
    ),
    (
        "power_off: [none, a]",
        "clock: { server: a, jump: 1s, offset: 2s }",
        14,
        "one of them is due",
    ),
    (
        "power_off: [none, a]",
        "operator: { demote: a }",
        14,
        "allowed here: promote, hand_over, twice, both, old_epoch",
    ),
    (
        "power_off: [none, a]",
        "operator: { hand_over: a }",
        14,
        "is not a direction; write from->to, of a, b",
    ),
    ("power_off: [none, a]", "repair: a", 14, "allowed here: all"),
    (
        "{ after: cut + 0s..3s, power_off: [none, a] }",
        "{ every: 1s, until: never, kill: a }",
        14,
        "unknown word \"never\"; allowed here: cut, promote, heal, fenced, refused, end",
    ),
    (
        "clock: { drift: -200..200 }",
        "clock: { jump: { every: 0s, by: 1s } }",
        6,
        "a time above 0 is due",
    ),
    (
        "clock: { drift: -200..200 }",
        "knobs: { pages: 3 }",
        6,
        "unknown word \"pages\"; allowed here: segment, cache, backlog, collect",
    ),
    ("loss: 0..0.05 }", "window: 10 }", 8, "at least 1KiB is due"),
    (
        "time_limit: 120s",
        "time_limit: 120s\nswarm: huge",
        4,
        "unknown word \"huge\"; allowed here: none, light, full",
    ),
    (
        "power_off: [none, a]",
        "disk: { server: a }",
        14,
        "nothing would change",
    ),
    (
        "power_off: [none, a]",
        "disk: { server: c, lost: 1% }",
        14,
        "unknown word \"c\"; allowed here: a, b",
    ),
    (
        "power_off: [none, a]",
        "disk: { lost: 1% }",
        14,
        "the key \"server\" is missing",
    ),
    (
        "power_off: [none, a]",
        "disk: { server: a, full_at: lots }",
        14,
        "is not a size",
    ),
    (
        "time_limit: 120s",
        "time_limit: soon",
        3,
        "is not a length of time; write",
    ),
    (
        "about:",
        "abuot:",
        2,
        "unknown word \"abuot\"; allowed here: scenario, about, suite, seed, swarm",
    ),
    ("scenario: example", "scenario: other", 1, "they must agree"),
    (
        "role: primary",
        "role: boss",
        6,
        "unknown word \"boss\"; allowed here: primary, standby",
    ),
    (
        "standbys: [b]",
        "standbys: [c]",
        6,
        "unknown word \"c\"; allowed here: a, b",
    ),
    ("standbys: [b]", "standbys: [a]", 6, "is the server itself"),
    (
        "standbys: [b], clock: { drift: -200..200 }",
        "standbys: [b], tls: yes",
        6,
        "unknown word \"tls\"",
    ),
    (
        ", standbys: [a], clock",
        ", clock",
        7,
        "role and epoch belong to a cluster",
    ),
    (
        "drift: -200..200",
        "drift: 200..-200",
        6,
        "is empty; the smaller end comes first",
    ),
    ("loss: 0..0.05", "loss: 5", 8, "is not a share"),
    ("latency: 1ms..40ms", "latency: -1ms", 8, "is negative"),
    (
        "loss: 0..0.05",
        "links: { a->c: { loss: 1% } }",
        8,
        "unknown server \"c\"; allowed here: a, b",
    ),
    (
        "- append:",
        "- apend:",
        10,
        "unknown word \"apend\"; allowed here: append, bank",
    ),
    ("as: stranded, ", "as: bank, ", 11, "is taken"),
    ("as: stranded", "as: Stranded", 10, "must be 1 to 32 of a-z"),
    ("as: stranded", "as: all", 10, "means something else"),
    (
        "as: stranded",
        "as: rest",
        10,
        "\"rest\" means something else in a scenario; reserved are all, any, none, down, primary, standby, operator, both, \
         rest, flapping, end",
    ),
    ("as: stranded", "as: end", 10, "means something else"),
    ("as: stranded", "as: operator", 10, "means something else"),
    (
        "standbys: [a]",
        "standbys: [a] }\n    end: { role: standby",
        8,
        "means something else",
    ),
    (
        "- bank:   { on: primary, clients: 1..3, accounts: 20,",
        "- audit:  { as: bank, on: primary, clients: 1..3,",
        11,
        "audit reads what the bank called \"bank\" writes, and there is none",
    ),
    (
        "- append: { as: stranded,",
        "- watch: { on: b, every: 1s, until: end }\n  - append: { as: stranded,",
        10,
        "watch reads what the append called \"append\" writes, and there is none; allowed beside it: `- append: { ... }` \
         without `as:`",
    ),
    (
        "on: a, clients",
        "on: z, clients",
        10,
        "allowed here: primary, standby, any, a, b",
    ),
    ("clients: 2", "clients: 0", 10, "1 to 64 are allowed"),
    ("keys: 4", "keyz: 4", 10, "unknown word \"keyz\""),
    ("rate: 10/s", "rate: 10", 10, "is not a rate"),
    ("rate: 10/s, ", "", 10, "one of rate and every is due"),
    (
        "until: end }\n  - bank",
        "until: never }\n  - bank",
        10,
        "unknown word \"never\"; allowed here: cut",
    ),
    (
        "at: 5s..10s, name: cut",
        "at: 5s, after: cut, name: cut",
        13,
        "exactly one of at, after, every, when is due, found 2",
    ),
    (
        "power_off: [none, a]",
        "explode: a",
        14,
        "unknown word \"explode\"; allowed here: at, after",
    ),
    ("power_off: [none, a]", "power_off: []", 14, "nothing to draw"),
    ("power_off: [none, a]", "power_off: [c]", 14, "allowed here: none, a, b"),
    (
        "power_off: [none, a]",
        "power_off: a, kill: b",
        14,
        "at most one action",
    ),
    (
        "after: cut + 0s..3s",
        "every: 0s..1s, until: end",
        14,
        "every: 0 is no pause; time would stand still",
    ),
    (
        "after: cut + 0s..3s",
        "after: heal",
        14,
        "unknown word \"heal\"; allowed here: cut (the names of the steps above)",
    ),
    (
        "direction: [both, a->b, b->a]",
        "direction: sideways",
        13,
        "is not a direction",
    ),
    (
        "sides: [[a, stranded], [b, bank]]",
        "sides: [[a, b]]",
        13,
        "at least two sides",
    ),
    (
        "sides: [[a, stranded], [b, bank]]",
        "sides: [[a], [a, b]]",
        13,
        "stands on two sides",
    ),
    (
        "expect: ok }",
        "expect: fine }",
        15,
        "allowed here: ok, any, sqlstate CODE",
    ),
    (
        "expect: sqlstate 25006",
        "expect: sqlstate 2500",
        18,
        "allowed here: ok, any, sqlstate CODE",
    ),
    ("a: standby@2", "a: standby", 17, "is not ROLE@EPOCH"),
    (
        "a: standby@2",
        "c: standby@2",
        17,
        "unknown word \"c\"; allowed here: a, b",
    ),
    (", within: 30s", "", 17, "the key \"within\" is missing"),
    ("name: heal,", "name: cut,", 16, "two steps are named \"cut\""),
    ("heal: all", "heal: everything", 16, "allowed here: all"),
    (
        "epoch_monotone]",
        "epochs]",
        21,
        "unknown word \"epochs\"; allowed here: one_writable_primary_per_epoch",
    ),
    ("epoch_monotone]", "liveness]", 21, "unknown word \"liveness\""),
    (
        "durability: replicated",
        "durability: hopefully",
        22,
        "allowed here: graceful, local, replicated",
    ),
    ("{ durability: replicated }", "durability", 22, "say which"),
    ("liveness,", "liveness, liveness,", 22, "named twice"),
    (
        "liveness,",
        "linearizable,",
        22,
        "finally: linearizable judges the workload register, and there is none, so that it could not fail; allowed here: \
         one_writable_primary_per_epoch, epoch_monotone",
    ),
    ("liveness,", "counter_total,", 22, "judges the workload counter"),
    ("liveness,", "unique_keys,", 22, "judges the workload unique"),
    ("liveness,", "whole_values,", 22, "judges the workload large"),
    ("liveness,", "catalog_matches,", 22, "judges the workload ddl"),
    ("liveness,", "store_goes_on,", 22, "judges `storage:`"),
    ("[unknown_outcome]", "[damage_was_named]", 23, "judges `storage:`"),
    (
        "liveness,",
        "linearizable,",
        22,
        "liveness, settles_by_itself, fsck, damage_is_named, bounded, clean_logs",
    ),
    ("[unknown_outcome]", "[luck]", 23, "unknown word \"luck\""),
];

#[test]
fn mistakes_are_answered_with_file_line_and_the_allowed_words() {
    for (good, bad, line, part) in MISTAKES {
        assert!(EXAMPLE.contains(good), "the example lacks {good:?}");
        let text = EXAMPLE.replacen(good, bad, 1);
        let error = match Scenario::parse("scenarios/example.yaml", &text) {
            Ok(_) => panic!("{bad:?} was taken"),
            Err(error) => error,
        };
        assert!(error.what.contains(part), "{bad:?}: {error}");
        assert_eq!(error.line, *line, "{bad:?}: {error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("scenarios/example.yaml:{line}: ")),
            "{error}"
        );
    }
}

/// If this fails, a scenario may be green for ever because what its check judges never happens.
#[test]
fn a_check_of_a_workload_that_is_not_there_is_refused() {
    let without = |kind: &str| {
        let lines = EXAMPLE
            .lines()
            .filter(|line| !line.starts_with(&format!("  - {kind}:")));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let name = if kind == "append" { "stranded" } else { kind };
        text.replace(&format!(", {name}]"), "]")
    };
    let with = |text: &str, finally: &str| {
        let text = text.replace("{ durability: replicated }", finally);
        Scenario::parse("scenarios/example.yaml", &text)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    for (kind, check) in [("bank", "bank_total"), ("append", "snapshot_isolation")] {
        assert_eq!(with(&EXAMPLE.replace("stranded", "other"), check), Ok(()));
        let error = with(&without(kind), check).unwrap_err();
        let part = format!("example.yaml:21: finally: {check} judges the workload {kind}, and there is none");
        assert!(error.contains(&part), "{error}");
    }
    // Either is a writer; without both nobody is.
    assert_eq!(with(&without("bank"), "{ durability: graceful }"), Ok(()));
    let start = EXAMPLE.find("workload:").unwrap();
    let nobody = EXAMPLE.replace(&EXAMPLE[start..EXAMPLE.find("steps:").unwrap()], "");
    let nobody = nobody.replace(", stranded", "").replace(", bank", "");
    for check in ["{ durability: graceful }", "no_aborted_read", "no_resurrection"] {
        let error = with(&nobody, check).unwrap_err();
        assert!(
            error.contains("judges a workload of append, bank, unique, large, version, ddl"),
            "{error}"
        );
    }
    let error = with(&nobody, "fsck").unwrap_err();
    assert!(error.contains("sometimes: unknown_outcome judges"), "{error}");
    assert_eq!(
        with(&nobody.replace("unknown_outcome", "restart_while_broken"), "fsck"),
        Ok(())
    );
}

/// If this fails, a file may say that somebody is killed, and nobody ever is.
#[test]
fn a_fault_that_comes_when_all_is_quiet_is_refused() {
    let with = |steps: &str| {
        let text = EXAMPLE.replace("quiet: all }\n", &format!("quiet: all }}\n{steps}"));
        Scenario::parse("scenarios/example.yaml", &text).map_err(|error| error.to_string())
    };
    let late = "all is quiet when this fault comes, so it would not happen; allowed then: sql, repair, mend, quiet, or \
         no action";
    for (steps, line) in [
        ("  - { after: end + 1s, kill: a }\n", 20),
        ("  - { after: end, power_off: [none, a] }\n", 20),
        ("  - { when: { role: { a: standby@2 } }, within: 1s, heal: all }\n", 20),
        (
            "  - { after: end, name: last }\n  - { after: last + 1s, wipe: b }\n",
            21,
        ),
        ("  - { at: 20s, quiet: all }\n  - { at: 20s..30s, kill: a }\n", 21),
        ("  - { at: 30s, kill: a }\n  - { at: 10s..20s, quiet: all }\n", 20),
    ] {
        let error = with(steps).map(drop).unwrap_err();
        assert_eq!(error, format!("scenarios/example.yaml:{line}: steps: {late}"));
    }
    // It may come before, it is none, or it is one of a mark above.
    for steps in [
        "  - { at: 20s, quiet: all }\n  - { at: 19s..30s, kill: a }\n",
        "  - { after: end, name: whole, repair: all }\n  - { after: whole + 1s, quiet: all }\n",
        "  - { after: end, sql: { server: a, run: x, expect: any } }\n",
        "  - { after: fenced, kill: a }\n",
        "  - { every: 1s, until: end, kill: a }\n",
    ] {
        with(steps).unwrap();
    }
}

#[test]
fn damage_that_no_other_disk_makes_good_must_be_said() {
    let with = |head: &str, steps: &str| {
        let text = EXAMPLE
            .replace("time_limit: 120s\n", &format!("time_limit: 120s\n{head}"))
            .replace("steps:\n", &format!("steps:\n{steps}"));
        Scenario::parse("scenarios/example.yaml", &text).map(drop)
    };
    let refusal = |head: &str, steps: &str| with(head, steps).unwrap_err().to_string();
    let (rots, lies) = (
        "  - { at: 1s, rot: a }\n",
        "  - { at: 1s, disk: { server: b, lost: [0, 1%] } }\n",
    );
    for (head, steps) in [
        ("", rots),
        ("survivable: true\n", lies),
        ("", "  - { at: 1s, disk: { server: b, lost: 0 } }\n"),
        ("swarm: { level: full, without: [damage] }\n", rots),
    ] {
        with(head, steps).unwrap_or_else(|error| panic!("{head}{steps}: {error}"));
    }
    let both = format!("{rots}{lies}");
    assert!(refusal("", &both).contains("disks that may be damaged are a, b, of 2 servers"));
    with("survivable: false\n", &both).unwrap();
    assert!(refusal("survivable: true\nswarm: full\n", rots).contains("`without: [damage]`"));
    let idle = refusal("survivable: false\n", "");
    assert!(
        idle.starts_with("scenarios/example.yaml:4: ") && idle.contains("nothing in this file damages"),
        "{idle}"
    );
    assert!(refusal("survivable: maybe\n", "").contains("allowed here: true, false"));
}

#[test]
fn a_scenario_that_checks_nothing_is_refused() {
    let start = EXAMPLE.find("check:").unwrap();
    let text = format!("{}check: {{ sometimes: [unknown_outcome] }}\n", &EXAMPLE[..start]);
    let error = Scenario::parse("scenarios/example.yaml", &text).unwrap_err();
    assert!(error.what.contains("checks nothing"), "{error}");
}

const STORAGE: &str = "scenario: example
about: A store loses power.
suite: storage
time_limit: 600s
storage: { lives: 2, disk: { lost: 1% } }
check: { always: [commits_survive] }
";

#[test]
fn a_scenario_of_storage_has_no_servers() {
    let scenario = Scenario::parse("scenarios/example.yaml", STORAGE).unwrap();
    assert!(scenario.servers.is_empty() && scenario.steps.is_empty() && scenario.storage.is_some());
    assert_eq!(scenario.suites, ["storage"]);
    assert!(parse_example().suites.is_empty());
    for (good, bad, line, part) in [
        (
            "suite: storage",
            "suite: disks",
            3,
            "unknown word \"disks\"; allowed here: failover, split-brain, storage",
        ),
        ("suite: storage", "suite: [storage, disks]", 3, "unknown word \"disks\""),
        ("check:", "buggify: maybe\ncheck:", 6, "on, off or a list of sites"),
        ("check:", "steps: []\ncheck:", 6, "steps and storage exclude each other"),
        (
            "commits_survive",
            "epoch_monotone",
            6,
            "judges servers, and there is none",
        ),
        ("lives: 2", "lifes: 2", 5, "unknown word \"lifes\""),
        ("storage: {", "storages: {", 5, "unknown word \"storages\""),
    ] {
        let text = STORAGE.replacen(good, bad, 1);
        let error = Scenario::parse("scenarios/example.yaml", &text)
            .map(|_| ())
            .unwrap_err();
        assert!(error.what.contains(part) && error.line == line, "{bad:?}: {error}");
    }
    let text = STORAGE.replacen("scenario: example", "scenario: storage", 1);
    let error = Scenario::parse("scenarios/storage.yaml", &text)
        .map(|_| ())
        .unwrap_err();
    assert!(error.what.contains("is the name of a suite"), "{error}");
}

#[test]
fn a_scenario_without_sql_asks_for_none() {
    let text = "scenario: example
about: Two servers replicate.
time_limit: 60s
cluster: { sql: off, servers: { a: { role: primary, epoch: 1, standbys: [b] }, b: { role: standby, epoch: 1, standbys: [a] } } }
workload:
  - append: { on: primary, rate: 10/s, until: end }
steps:
  - { at: 5s, name: end, quiet: all }
check: { always: [epoch_monotone] }
";
    let scenario = Scenario::parse("scenarios/example.yaml", text).unwrap();
    assert!(!scenario.sql && !Plan::new(&scenario, 1).sql);
    assert!(parse_example().sql && Plan::new(&parse_example(), 1).sql);
    for (good, bad, line, part) in [
        (
            "sql: off",
            "sql: maybe",
            4,
            "unknown word \"maybe\"; allowed here: on, off",
        ),
        (
            "- append",
            "- bank",
            6,
            "bank needs SQL, which `cluster: { sql: off }` leaves out",
        ),
        (
            "quiet: all",
            "sql: { server: a, run: x, expect: any }",
            8,
            "steps: this one runs SQL",
        ),
        (
            "at: 5s",
            "when: { any: [{ sql: { server: a, run: x, rows: [] } }] }, within: 3s",
            8,
            "steps: this one runs SQL",
        ),
    ] {
        let text = text.replacen(good, bad, 1);
        let error = Scenario::parse("scenarios/example.yaml", &text)
            .map(|_| ())
            .unwrap_err();
        assert!(error.what.contains(part) && error.line == line, "{bad:?}: {error}");
    }
}

#[test]
fn a_scenario_says_which_sites_may_fire() {
    let with = |line: &str| {
        let text = STORAGE.replacen("check:", &format!("{line}check:"), 1);
        Scenario::parse("scenarios/example.yaml", &text).unwrap().buggify
    };
    assert_eq!(with(""), Buggify::DrawnBut(vec![]));
    assert_eq!(with("buggify: on\n"), Buggify::DrawnBut(vec![]));
    assert_eq!(
        with("buggify: { without: [chunk.sync_slow] }\n"),
        Buggify::DrawnBut(vec!["chunk.sync_slow"])
    );
    assert_eq!(with("buggify: off\n"), Buggify::Sites(vec![]));
    assert_eq!(
        with("buggify: [chunk.segment_full]\n"),
        Buggify::Sites(vec!["chunk.segment_full"])
    );
}

proptest::proptest! {
    /// Whatever is done to the text, the answer is a scenario or a complaint with a line of the file; never a panic.
    #[test]
    fn mangled_files_never_panic(at in 0usize..2_000, length in 0usize..40, insert in "[ -~\n]{0,12}") {
        let start = at.min(EXAMPLE.len());
        let end = (start + length).min(EXAMPLE.len());
        let text = format!("{}{insert}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        if let Err(error) = Scenario::parse("scenarios/example.yaml", &text) {
            proptest::prop_assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{error}");
        }
    }
}
