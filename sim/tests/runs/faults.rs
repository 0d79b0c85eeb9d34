//! Each fault does in a run what it says, and is over when all is quiet.

use std::path::Path;

use super::{sim, text};

/// Three servers, a few clients, one step of a fault at 3 s, quiet at 14 s.
fn scenario(folder: &Path, step: &str) -> String {
    let text = format!(
        "scenario: fault
about: One fault.
time_limit: 200s
buggify: off
cluster:
  servers:
    a: {{ role: primary, epoch: 1, standbys: [b, c] }}
    b: {{ role: standby, epoch: 1, standbys: [a, c] }}
    c: {{ role: standby, epoch: 1, standbys: [a, b] }}
network: {{ latency: 1ms }}
workload:
  - append: {{ on: primary, clients: 2, rate: 20/s, until: end }}
steps:
  - {{ at: 3s, {step} }}
  - {{ at: 14s, name: end, quiet: all }}
  - {{ after: end, name: mended, mend: all }}
  - {{ after: mended, repair: all }}
check:
  always:  [epoch_monotone]
  finally: [{{ roots_equal: 60s }}, {{ liveness: 60s }}, {{ snapshot_isolation: survivors }}, fsck, bounded]
"
    );
    let path = folder.join("fault.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The trace of a run that passed.
fn trace(step: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path(), step);
    trace_of(&scenario)
}

/// The same, with a server c that is described otherwise.
fn trace_with(c: &str, step: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = scenario(folder.path(), step);
    let known = "c: { role: standby, epoch: 1, standbys: [a, b] }";
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(known));
    std::fs::write(&path, text.replace(known, c)).unwrap();
    trace_of(&path)
}

fn trace_of(scenario: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let kept = env!("CARGO_TARGET_TMPDIR");
    let output = sim(&[
        "run",
        scenario,
        "--seed",
        "5",
        "--trace",
        trace.to_str().unwrap(),
        "--report",
        kept,
    ]);
    assert!(output.status.success(), "{scenario}:\n{}", text(&output));
    std::fs::read_to_string(trace).unwrap()
}

/// How often a line has these words, between two moments in seconds.
fn count(trace: &str, words: &str, from: f64, to: f64) -> usize {
    let within = |line: &&str| {
        let moment = line.split_once("s ").and_then(|(moment, _)| moment.parse::<f64>().ok());
        moment.is_some_and(|moment| (from..to).contains(&moment)) && line.contains(words)
    };
    trace.lines().filter(within).count()
}

#[test]
fn nothing_is_cut_and_no_clock_jumps_once_all_is_quiet() {
    let late = trace("swizzle: { cut: [a, b, c], each: 8s }");
    assert!(count(&late, " cut to=", 2.9, 14.0) > 0);
    assert_eq!(count(&late, " cut to=", 14.001, 999.0), 0);
    let slow = trace("clog: { sides: [[a], [b]], for: 90s }");
    assert!(count(&slow, " b root ", 14.0, 16.0) > 0, "what waited has come");

    let jumps = trace_with(
        "c: { role: standby, epoch: 1, standbys: [a, b], clock: { jump: { every: 3s, by: -700ms } } }",
        "name: nothing",
    );
    assert_eq!(count(&jumps, " c clock jump=-700000us", 0.0, 14.0), 4);
    assert_eq!(count(&jumps, " clock jump=", 14.0, 999.0), 0);
    assert_eq!(count(&jumps, " c clock ahead=0us drift=0ppm", 13.9, 14.1), 1);
}

/// The seconds from each root that a commits between two moments to its arrival at a standby.
fn delays(trace: &str, standby: &str, from: f64, to: f64) -> Vec<f64> {
    let root = |line: &str, node: &str, origin: &str| -> Option<(f64, String)> {
        let (moment, rest) = line.split_once("s ")?;
        let rest = rest.trim_start().strip_prefix(node)?.strip_prefix(" root postgres ")?;
        let mut words = rest.strip_prefix(origin)?.split_whitespace();
        Some((moment.parse().ok()?, words.nth(1)?.to_owned()))
    };
    let committed = trace.lines().filter_map(|line| root(line, "a", "committed"));
    let committed = committed.filter(|(moment, _)| (from..to).contains(moment));
    let arrived: Vec<(f64, String)> = trace
        .lines()
        .filter_map(|line| root(line, standby, "received"))
        .collect();
    let found = committed.filter_map(|(at, name)| {
        let (then, _) = arrived.iter().find(|(_, other)| *other == name)?;
        Some(then - at)
    });
    let found: Vec<f64> = found.collect();
    assert!(found.len() > 10, "{} roots from {from} to {to}", found.len());
    found
}

fn ends(delays: &[f64]) -> (f64, f64) {
    let least = delays.iter().copied().fold(f64::INFINITY, f64::min);
    (least, delays.iter().copied().fold(0.0, f64::max))
}

#[test]
fn a_damaged_disk_is_made_whole_from_a_peer() {
    let corrupt = trace("disk: { server: b, corrupt: 20%, lost: 10% }");
    assert!(count(&corrupt, " b damaged", 2.9, 14.0) > 0, "nothing was damaged");
    assert_eq!(count(&corrupt, " operator mended b: ", 14.0, 99.0), 1);
    assert_eq!(count(&corrupt, " b mended", 14.0, 99.0), 1);
    let rotten = trace("rot: c");
    assert_eq!(count(&rotten, " operator mended c: made whole", 14.0, 99.0), 1);
    // A disk that failed a sync is right: its server is restarted.
    let failed = trace("disk: { server: a, sync_fails_after: 0 }");
    assert_eq!(count(&failed, " operator mended", 0.0, 99.0), 0);
    assert_eq!(count(&failed, " a down killed", 13.9, 14.1), 1);
}

#[test]
fn cuts_have_the_shape_they_say_and_end_when_they_say() {
    let isolated = trace("isolate: b");
    for words in [" a cut to=b", " b cut to=c", " b cut to=append.1"] {
        assert_eq!(count(&isolated, words, 2.9, 3.1), 1, "{words}");
    }
    assert_eq!(count(&isolated, " a cut to=c", 0.0, 99.0), 0);
    assert_eq!(count(&isolated, " a heal to=b", 13.9, 14.1), 1, "quiet heals");

    let short = trace("partition: { sides: [[a], [rest]], direction: a->c, for: 2s }");
    assert_eq!(
        count(&short, " a cut to=", 2.9, 3.1),
        4,
        "both servers and both clients"
    );
    assert_eq!(count(&short, " c cut to=", 0.0, 99.0), 0, "one way");
    assert_eq!(count(&short, " a heal to=", 4.9, 5.1), 4);

    let flapping = trace("partition: { sides: [[a], [b]], direction: flapping }");
    assert!(count(&flapping, " a cut to=b", 3.0, 14.0) >= 3);
    assert!(count(&flapping, " b heal to=a", 3.0, 14.0) >= 3);
    assert_eq!(count(&flapping, " cut to=", 14.1, 99.0), 0);

    let bridge = trace("bridge: b");
    assert_eq!(count(&bridge, " a cut to=c", 2.9, 3.1), 1);
    assert_eq!(count(&bridge, " cut to=b", 0.0, 99.0), 0);

    let swizzle = trace("swizzle: { cut: [a, c], heal: [c, a], each: 1s }");
    assert_eq!(count(&swizzle, " a cut to=b", 2.9, 3.1), 1);
    assert_eq!(count(&swizzle, " c cut to=b", 3.9, 4.1), 1);
    assert_eq!(count(&swizzle, " c heal to=b", 4.9, 5.1), 1);
    // In a ring of four each reaches its neighbours and nobody across.
    let ring = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/ring-of-four.yaml");
    let ring = trace_of(ring.to_str().unwrap());
    let moment = |words: &str| -> f64 {
        let line = ring
            .lines()
            .find(|line| line.contains(words))
            .unwrap_or_else(|| panic!("{words}"));
        line.split_once("s ").unwrap().0.parse().unwrap()
    };
    let (begins, ends) = (moment(" a cut to=c"), moment(" a heal to=c"));
    for (from, to) in [("a", "c"), ("c", "a"), ("b", "d"), ("d", "b")] {
        let words = format!(" {from} cut to={to}");
        assert_eq!(count(&ring, &words, begins - 0.001, begins + 0.001), 1, "{words}");
    }
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")] {
        let words = format!(" {from} cut to={to}");
        assert_eq!(count(&ring, &words, begins - 0.001, ends), 0, "{words}");
    }
    // The primary's roots come to its neighbours alone; what had arrived before may take its time.
    let during = |node: &str| count(&ring, &format!(" {node} root postgres received"), begins + 2.0, ends);
    assert!(during("b") > 0 && during("d") > 0);
    assert_eq!(during("c"), 0);
    assert!(count(&ring, " c root postgres received", ends, 999.0) > 0);
    // What the other cut still says is not undone.
    assert_eq!(count(&swizzle, " c heal to=a ", 4.9, 5.1), 0);
    assert_eq!(count(&swizzle, " a heal to=c", 5.9, 6.1), 1);
}

#[test]
fn links_get_slow_and_clogged_and_fast_again() {
    let lossy = trace("slow: { sides: [[a], [b]], loss: 40%, for: 5s }");
    assert_eq!(count(&lossy, " drop connection=", 0.0, 3.0), 0);
    assert!(count(&lossy, " drop connection=", 3.0, 8.0) > 5);
    assert_eq!(count(&lossy, " drop connection=", 8.1, 99.0), 0);

    // A root waits for nobody else on a quick link, and the other standby's stays one.
    let late = trace("slow: { sides: [[a], [b]], latency: 300ms, for: 5s }");
    let before = ends(&delays(&late, "b", 1.0, 2.9));
    let within = ends(&delays(&late, "b", 3.5, 7.5));
    assert!(before.1 < 0.3 && within.0 >= 0.3, "{before:?}, {within:?}");
    let other = ends(&delays(&late, "c", 3.5, 7.5));
    assert!(other.1 < 0.3, "{other:?}");
    let after = ends(&delays(&late, "b", 9.0, 13.0));
    assert!(after.1 < 0.3, "{after:?}");

    let uneven = trace("slow: { sides: [[a], [b]], jitter: 400ms, for: 5s }");
    let within = ends(&delays(&uneven, "b", 3.5, 7.5));
    assert!(within.1 - within.0 > 0.1, "{within:?}");
    let after = ends(&delays(&uneven, "b", 9.0, 13.0));
    assert!(after.1 < 0.3, "{after:?}");

    let jammed = trace("slow: { sides: [[a], [b]], bandwidth: 2kB/s, for: 5s }");
    let within = ends(&delays(&jammed, "b", 4.0, 7.5));
    assert!(within.1 > 0.5, "{within:?}");
    // What was sent before keeps its place in a long queue: nothing is promised of the time after.
    let other = ends(&delays(&jammed, "c", 4.0, 7.5));
    assert!(other.1 < 0.3, "{other:?}");

    let clogged = trace("clog: { sides: [[a], [b]], direction: a->b, for: 4s }");
    assert_eq!(count(&clogged, " a clog to=b", 2.9, 3.1), 1);
    assert_eq!(count(&clogged, " b clog to=a", 0.0, 99.0), 0);
    // b hears nothing and then everything.
    assert_eq!(count(&clogged, " b root ", 3.3, 7.0), 0);
    assert!(count(&clogged, " b root ", 7.0, 8.0) > 20);
}

#[test]
fn a_configuration_is_changed_and_quiet_brings_the_first_one_back() {
    let changed = trace("reconfigure: { server: a, standbys: [b] }");
    let restarts = |from: f64, to: f64| count(&changed, " a down killed, for another configuration", from, to);
    assert_eq!(
        (restarts(2.9, 3.1), restarts(13.9, 14.1), restarts(0.0, 99.0)),
        (1, 1, 2)
    );
    // Nobody ships anything to c meanwhile.
    assert_eq!(count(&changed, " c root ", 4.0, 13.9), 0);
    assert!(count(&changed, " b root ", 4.0, 13.9) > 10);
    assert!(count(&changed, " c root ", 14.0, 99.0) > 0);
}

#[test]
fn connections_and_clients_vanish_and_come_back() {
    let dropped = trace("drop_connections: { between: [a, b], noticed: first }");
    assert!(count(&dropped, " connection dropped ", 2.9, 3.1) >= 1);
    assert!(count(&dropped, " a broken ", 2.9, 3.1) >= 1);

    for (how, kind) in [("killed", " append.1 kill"), ("silent", " append.1 power off")] {
        let gone = trace(&format!("drop_clients: {{ of: append, how: {how} }}"));
        assert!(count(&gone, kind, 2.9, 3.1) >= 1, "{how}");
        assert!(count(&gone, " append.1 restart", 2.9, 6.1) == 1, "{how}");
        assert!(count(&gone, " append.1 ok ", 7.0, 14.0) > 10, "{how}: it is back");
    }
}

#[test]
fn a_middlebox_sends_everything_twice() {
    let twice = trace("duplicate: { server: b, for: 8s }");
    let asked = count(&twice, " middlebox-b accept", 2.9, 11.0);
    assert!(asked > 0, "a connects again, by way of the middlebox");
    let address = twice
        .split(" middlebox-b listen at=")
        .nth(1)
        .and_then(|rest| rest.split(':').next());
    let from_it = format!("from={}:", address.expect("it listens"));
    let accepted = |line: &&str| line.contains(" b accept ") && line.contains(&from_it);
    let accepted = twice.lines().filter(accepted).count();
    assert!(
        accepted > asked && accepted <= 2 * asked,
        "{asked} connections, {accepted} made of them"
    );
    assert!(count(&twice, " middlebox-b listen", 2.9, 3.2) == 2);
    assert!(count(&twice, " middlebox-b kill", 10.9, 11.1) >= 1);
}

#[test]
fn servers_move_stall_and_lose_their_disks_and_clocks() {
    let moved = trace("move: { server: b, lag: 2s }");
    assert_eq!(count(&moved, " b moved address=10.101", 2.9, 3.1), 1);
    assert!(count(&moved, " b root ", 14.0, 99.0) > 0, "it is found again");

    let stalled = trace("stall: { server: a, share: 90%, for: 3s }");
    assert!((25..=31).contains(&count(&stalled, " a pause", 3.0, 6.1)));
    assert!((25..=31).contains(&count(&stalled, " a resume", 3.0, 6.2)));

    let wiped = trace("wipe: c");
    assert!(count(&wiped, " c wipe", 2.9, 3.1) >= 1);
    assert_eq!(count(&wiped, " c down wiped", 2.9, 3.1), 1);
    assert!(
        count(&wiped, " c ready standby@1", 14.0, 15.0) == 1,
        "quiet starts it again"
    );

    let jumped = trace("clock: { server: b, jump: -1m, drift: 100 }");
    assert_eq!(count(&jumped, " b clock jump=-60000000us", 2.9, 3.1), 1);
    assert_eq!(
        count(&jumped, " b clock ahead=0us drift=0ppm", 13.9, 14.1),
        1,
        "quiet sets it right"
    );
}

#[test]
fn operators_do_what_they_are_told_and_a_repair_ends_it() {
    let promoted = trace("operator: { promote: b }");
    assert_eq!(count(&promoted, " b role primary@2", 3.0, 5.0), 1);

    let handed = trace("operator: { hand_over: a->c }");
    assert_eq!(count(&handed, " a role standby@2", 3.0, 6.0), 1);
    assert_eq!(count(&handed, " c role primary@2", 3.0, 6.0), 1);

    let twice = trace("operator: { twice: b }");
    assert_eq!(count(&twice, " b role primary@3", 3.0, 6.0), 1);

    let old = trace("operator: { old_epoch: b }");
    assert_eq!(count(&old, " b role primary@", 3.0, 14.0), 0);
    assert!(count(&old, " operator answered b: 55000", 3.0, 5.0) >= 1);

    let both = trace("operator: { both: [b, c] }");
    assert!(count(&both, " c: assume primary at 2", 3.0, 6.0) >= 1);
    // One of them is primary in the end: the run has passed.
    assert!(count(&both, " role primary@", 3.0, 99.0) >= 1);
}

#[test]
fn faults_whose_moment_comes_after_quiet_do_not_happen() {
    let late = trace("name: early, kill: c }\n  - { at: 13900ms..60s, kill: a }\n  - { after: early + 60s, wipe: b");
    assert_eq!(count(&late, " c down killed", 2.9, 3.1), 1);
    assert_eq!(count(&late, " a down killed", 0.0, 999.0), 0);
    assert_eq!(count(&late, " b wipe", 0.0, 999.0), 0);
}
