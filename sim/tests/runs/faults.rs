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
    let trace = folder.path().join("trace");
    let kept = env!("CARGO_TARGET_TMPDIR");
    let output = sim(&[
        "run",
        &scenario,
        "--seed",
        "5",
        "--trace",
        trace.to_str().unwrap(),
        "--report",
        kept,
    ]);
    assert!(output.status.success(), "{step}:\n{}", text(&output));
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

    let clogged = trace("clog: { sides: [[a], [b]], direction: a->b, for: 4s }");
    assert_eq!(count(&clogged, " a clog to=b", 2.9, 3.1), 1);
    assert_eq!(count(&clogged, " b clog to=a", 0.0, 99.0), 0);
    // b hears nothing and then everything.
    assert_eq!(count(&clogged, " b root ", 3.3, 7.0), 0);
    assert!(count(&clogged, " b root ", 7.0, 8.0) > 20);
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
