//! Planted anomalies, each with the words that it is found by.

use rand::Rng as _;

use super::*;
use crate::check::{CheckUse, Violation};
use crate::history::{Event, FinalState, Invoke, Origin, Read, Root, What, Write};

#[derive(Default)]
struct Story {
    history: History,
    ops: u64,
}

type Value = (i64, i64);

impl Story {
    fn event(&mut self, node: &str, what: What) {
        let at = (self.history.events.len() as u64 + 1) * 1_000;
        self.history.events.push(Event {
            at,
            node: node.to_owned(),
            what,
        });
    }

    fn begin(&mut self, client: &str, server: &str, writes: &[Value]) -> u64 {
        self.ops += 1;
        let write = |(key, value): &Value| Write {
            table: "append".into(),
            key: *key,
            value: *value,
        };
        let invoke = Invoke {
            op: self.ops,
            turn: 1,
            workload: "append".into(),
            server: server.into(),
            action: "append",
            writes: writes.iter().map(write).collect(),
            asked: Vec::new(),
            only_reads: false,
        };
        self.event(client, What::Invoke(invoke));
        self.ops
    }

    /// A transaction of client 1 on a that read and appended.
    fn ok(self, reads: &[(i64, &[i64])], writes: &[Value]) -> Story {
        self.ok_of("append.1", "a", reads, writes)
    }

    fn ok_of(mut self, client: &str, server: &str, reads: &[(i64, &[i64])], writes: &[Value]) -> Story {
        let op = self.begin(client, server, writes);
        let read = |(key, values): &(i64, &[i64])| Read {
            table: "append".into(),
            key: *key,
            values: values.to_vec(),
        };
        let reads = reads.iter().map(read).collect();
        self.event(
            client,
            What::Return {
                op,
                outcome: Outcome::Ok { reads },
            },
        );
        self
    }

    fn failed(mut self, writes: &[Value]) -> Story {
        let op = self.begin("append.2", "a", writes);
        let outcome = Outcome::Failed {
            sqlstate: "40001".into(),
        };
        self.event("append.2", What::Return { op, outcome });
        self
    }

    fn unknown(mut self, writes: &[Value]) -> Story {
        self.begin("append.3", "a", writes);
        self
    }

    fn end(mut self, lists: &[(i64, &[i64])]) -> Story {
        let keys = lists.iter().map(|(key, values)| (*key, values.to_vec())).collect();
        self.history.end = FinalState {
            content: [("a".to_owned(), [("append".to_owned(), keys)].into())].into(),
            primary: Some("a".into()),
            ..FinalState::default()
        };
        self
    }
}

fn judged(story: &Story, arg: Arg) -> Option<Violation> {
    let check = CheckUse {
        name: SNAPSHOT_ISOLATION.name,
        arg,
    };
    check.judge(&story.history)
}

#[track_caller]
fn holds(story: &Story) {
    assert_eq!(judged(story, Arg::None), None);
}

#[track_caller]
fn breaks(story: &Story, part: &str) {
    let violation = judged(story, Arg::None).expect("the planted violation was missed");
    assert!(violation.what.contains(part), "{violation}");
}

#[test]
fn values_that_nobody_wrote_are_found() {
    let written = || {
        Story::default()
            .ok(&[(1, &[])], &[(1, 10)])
            .ok(&[(1, &[10])], &[(1, 11)])
    };
    holds(&written().ok(&[(1, &[10, 11])], &[]));
    breaks(
        &written().ok(&[(1, &[10, 424_242, 11])], &[]),
        "read 424242 in append[1], which nobody wrote",
    );
    let garbled = crate::workload::append::parse_list("10,garbage,11");
    breaks(&written().ok(&[(1, &garbled)], &[]), "which nobody wrote");
    assert_eq!(crate::workload::append::parse_list(""), [0; 0]);
}

#[test]
fn an_ordinary_history_passes() {
    let story = Story::default()
        .ok(&[(1, &[])], &[(1, 10)])
        .ok_of("append.2", "a", &[(1, &[10]), (2, &[])], &[(2, 20)])
        .failed(&[(1, 99)])
        .unknown(&[(1, 11)])
        .ok(&[(1, &[10, 11]), (2, &[20])], &[(1, 12)])
        .end(&[(1, &[10, 11, 12]), (2, &[20])]);
    holds(&story);
    assert_eq!(judged(&story, Arg::Word("survivors")), None);
}

#[test]
fn write_skew_is_allowed() {
    let story = Story::default()
        .ok(&[(1, &[]), (2, &[])], &[(1, 10)])
        .ok_of("append.2", "a", &[(1, &[]), (2, &[])], &[(2, 20)])
        .end(&[(1, &[10]), (2, &[20])]);
    holds(&story);
}

#[test]
fn a_read_of_what_failed_is_g1a() {
    let story = Story::default()
        .failed(&[(1, 10)])
        .ok(&[(1, &[10])], &[(2, 20)])
        .end(&[(1, &[]), (2, &[20])]);
    breaks(
        &story,
        "G1a: #2 (append.1 on a: read append[1]=[10] appended append[2]+=20) read a value of #1",
    );
}

#[test]
fn a_read_of_the_half_of_it_is_g1b() {
    let story = Story::default()
        .ok(&[(1, &[])], &[(1, 10), (1, 11)])
        .ok_of("append.2", "a", &[(1, &[10])], &[])
        .end(&[(1, &[10, 11])]);
    breaks(&story, "G1b: #2");
}

#[test]
fn a_lost_update_is_g_single() {
    let story = Story::default()
        .ok(&[(1, &[])], &[(1, 10)])
        .ok_of("append.2", "a", &[(1, &[])], &[(1, 11)])
        .end(&[(1, &[10, 11])]);
    breaks(&story, "G-single: ");
    let violation = judged(&story, Arg::None).unwrap();
    assert!(
        violation
            .what
            .contains("#2 (append.2 on a: read append[1]=[] appended append[1]+=11) -rw[append[1]]-> #1"),
        "{violation}"
    );
    // The same where one list has replaced the other.
    let story = Story::default()
        .ok(&[(1, &[])], &[(1, 10)])
        .ok_of("append.2", "a", &[(1, &[])], &[(1, 11)])
        .ok(&[(1, &[10])], &[(2, 20)])
        .end(&[(1, &[11]), (2, &[20])]);
    breaks(&story, "lost update: ");
}

#[test]
fn a_torn_read_is_g_single() {
    // The reader sees the first transaction under key 2 and not under key 1.
    let story = Story::default()
        .ok(&[], &[(1, 10), (2, 20)])
        .ok_of("append.2", "a", &[(1, &[]), (2, &[20])], &[])
        .end(&[(1, &[10]), (2, &[20])]);
    breaks(&story, "G-single: ");
}

#[test]
fn circular_information_flow_is_g1c_and_circular_writes_are_g0() {
    let story = Story::default()
        .ok(&[(2, &[20])], &[(1, 10)])
        .ok_of("append.2", "a", &[(1, &[10])], &[(2, 20)])
        .end(&[(1, &[10]), (2, &[20])]);
    breaks(&story, "G1c: ");
    let story = Story::default()
        .ok(&[], &[(1, 10), (2, 21)])
        .ok_of("append.2", "a", &[], &[(1, 11), (2, 20)])
        .end(&[(1, &[10, 11]), (2, &[20, 21])]);
    breaks(&story, "G0: ");
}

#[test]
fn a_long_fork_is_g_nonadjacent() {
    // Two readers see two writers in opposite orders.
    let story = Story::default()
        .ok(&[], &[(1, 10)])
        .ok_of("append.2", "a", &[], &[(2, 20)])
        .ok_of("append.3", "a", &[(1, &[10]), (2, &[])], &[])
        .ok_of("append.4", "a", &[(1, &[]), (2, &[20])], &[])
        .end(&[(1, &[10]), (2, &[20])]);
    breaks(&story, "G-nonadjacent: ");
}

#[test]
fn half_a_transaction_at_the_end() {
    let story = Story::default()
        .unknown(&[(1, 10), (2, 20)])
        .end(&[(1, &[10]), (2, &[])]);
    breaks(&story, "half a transaction: of #1");
}

#[test]
fn a_value_that_is_there_twice() {
    let story = Story::default().ok(&[], &[(1, 10)]).end(&[(1, &[10, 10])]);
    breaks(&story, "append[1] holds 10 twice");
}

#[test]
fn in_a_session_lists_do_not_shrink() {
    let story = || {
        Story::default()
            .ok_of("append.2", "a", &[], &[(1, 10)])
            .ok(&[(1, &[10])], &[])
    };
    let end: &[(i64, &[i64])] = &[(1, &[10])];
    breaks(&story().ok(&[(1, &[])], &[]).end(end), "G-single-session: #1");
    holds(&again(story()).ok_of("append.1", "b", &[(1, &[])], &[]).end(end));
}

/// Client 1 has another connection.
fn again(mut story: Story) -> Story {
    story.event("append.1", What::Connected { server: "b".into() });
    story
}

/// If this fails, a server may acknowledge a commit and show its own client what was before it.
#[test]
fn in_a_session_a_client_sees_its_own_writes() {
    let end: &[(i64, &[i64])] = &[(1, &[10]), (2, &[20])];
    let wrote = || Story::default().ok(&[(1, &[])], &[(1, 10)]);
    let unseen = wrote().ok(&[(1, &[])], &[(2, 20)]).end(end);
    breaks(
        &unseen,
        "G-single-session: #1 (append.1 on a: read append[1]=[] appended append[1]+=10) -session-> #2 (append.1 on a: \
         read append[1]=[] appended append[2]+=20) -rw[append[1]]-> #1",
    );
    assert!(judged(&unseen, Arg::Word("survivors")).is_some());
    // Nor may what it does not see be what another wrote that it has seen something later of.
    let far = wrote()
        .ok_of("append.2", "a", &[(1, &[10])], &[(2, 20)])
        .ok_of("append.3", "a", &[(2, &[20])], &[])
        .ok_of("append.3", "a", &[(1, &[])], &[]);
    breaks(&far.end(end), "G-single-session: #1");
    // Another client, another connection, another server and a commit of which nobody knows promise nothing.
    holds(&wrote().ok_of("append.2", "a", &[(1, &[])], &[(2, 20)]).end(end));
    holds(&again(wrote()).ok(&[(1, &[])], &[(2, 20)]).end(end));
    holds(&wrote().ok_of("append.1", "b", &[(1, &[])], &[(2, 20)]).end(end));
    let unknown = Story::default().unknown(&[(1, 10)]);
    holds(&unknown.ok_of("append.3", "a", &[(1, &[])], &[(2, 20)]).end(end));
}

/// If this fails, who follows a new primary is blamed for what that one lacks, or nobody for anything.
#[test]
fn who_follows_a_primary_that_lacks_something_gives_it_up_and_who_goes_on_does_not() {
    let root = |mut story: Story, node: &str, origin: Origin, previous: &str, root: &str| {
        let root = Root {
            database: "postgres".into(),
            sequence: 1,
            root: root.into(),
            previous: previous.into(),
            epoch: 1,
            origin,
        };
        story.event(node, What::Root(root));
        story
    };
    let story = |last: &str| {
        let story = root(Story::default(), "a", Origin::Committed, "", "r1");
        let story = root(story, "a", Origin::Committed, "r1", "r2").ok_of("append.2", "a", &[], &[(1, 10)]);
        let story = root(story, "b", Origin::Received, "", "r2").ok_of("watch.1", "b", &[(1, &[10])], &[]);
        let story = root(story, "a", Origin::Committed, "r2", "r3");
        let story = root(story, "c", Origin::Committed, "r1", "s2");
        let story = root(story, "b", Origin::Received, "r2", last).ok_of("watch.1", "b", &[(1, &[])], &[]);
        story.end(&[(1, &[10])])
    };
    holds(&story("s2"));
    breaks(&story("r3"), "G-single-session: #1");
}

#[test]
fn after_a_forced_failover_only_what_survived_is_one_history() {
    // a went on alone with 11, b took over with 12.
    let story = || {
        Story::default()
            .ok(&[(1, &[])], &[(1, 10)])
            .ok(&[(1, &[10])], &[(1, 11)])
            .ok(&[(1, &[10, 11])], &[])
            .ok_of("append.2", "b", &[(1, &[10])], &[(1, 12)])
    };
    let survived = story().end(&[(1, &[10, 12])]);
    breaks(&survived, "lost update");
    assert_eq!(judged(&survived, Arg::Word("survivors")), None);
    // And among those who survived nothing is excused.
    let broken = story()
        .ok_of("append.3", "b", &[(1, &[10])], &[(1, 13)])
        .end(&[(1, &[10, 12, 13])]);
    let violation = judged(&broken, Arg::Word("survivors")).expect("a lost update on b");
    assert!(violation.what.contains("G-single"), "{violation}");
}

/// If this fails, whoever reads a list with a hole, of which all values survive, is no evidence after a failover.
#[test]
fn readers_of_what_survives_are_judged_whatever_they_missed() {
    let story = || {
        Story::default()
            .ok(&[(1, &[])], &[(1, 10)])
            .ok_of("append.2", "a", &[(1, &[10])], &[(1, 11)])
            .ok_of("append.3", "a", &[(1, &[10, 11])], &[(1, 12)])
    };
    let end: &[(i64, &[i64])] = &[(1, &[10, 11, 12])];
    let survivors = |story: Story| judged(&story, Arg::Word("survivors"));
    let hole = story().ok_of("append.4", "b", &[(1, &[10, 12])], &[]).end(end);
    let violation = survivors(hole).expect("a list with a hole was taken");
    assert!(
        violation.what.contains("append[1] goes on with 12 after 1 values"),
        "{violation}"
    );
    // A prefix is a past state, and a value that is gone was the old primary's.
    assert_eq!(
        survivors(story().ok_of("append.4", "b", &[(1, &[10])], &[]).end(end)),
        None
    );
    let alone = story()
        .unknown(&[(1, 13)])
        .ok_of("append.4", "a", &[(1, &[10, 13])], &[]);
    assert_eq!(survivors(alone.end(end)), None);
}

#[test]
fn nobody_to_ask_is_nothing_to_judge() {
    let story = Story::default().ok(&[], &[(1, 10)]);
    assert_eq!(judged(&story, Arg::Word("survivors")), None);
    holds(&story);
}

/// If this fails, a store that keeps its promise is accused of breaking it.
#[test]
fn whatever_a_store_with_snapshots_does_passes() {
    for seed in 0..5 {
        let story = snapshots(&mut crate::draw::stream(seed, "snapshots"), 600);
        holds(&story);
        assert_eq!(judged(&story, Arg::Word("survivors")), None);
    }
}

/// Twelve clients of one server that gives each transaction a snapshot and lets the first who commits win.
fn snapshots(rng: &mut rand_chacha::ChaCha8Rng, steps: usize) -> Story {
    const KEYS: usize = 8;
    let mut story = Story::default();
    let mut lists: Vec<Vec<i64>> = vec![Vec::new(); KEYS];
    // Operation, the lists at its beginning, keys that are read, keys that are written.
    let mut open: Vec<Option<(u64, Vec<Vec<i64>>, [usize; 2], Vec<Value>)>> = vec![None; 12];
    for step in 0..steps as i64 {
        let client = rng.random_range(0..open.len());
        let name = format!("append.{client}");
        let Some((op, seen, keys, writes)) = open[client].take() else {
            let first = rng.random_range(0..KEYS);
            let keys = [first, (first + rng.random_range(1..KEYS)) % KEYS];
            let count = rng.random_range(0..=2);
            let writes: Vec<Value> = (0..count)
                .map(|place| (keys[place] as i64, step * 2 + place as i64))
                .collect();
            let op = story.begin(&name, "a", &writes);
            open[client] = Some((op, lists.clone(), keys, writes));
            continue;
        };
        let conflict = writes
            .iter()
            .any(|(key, _)| lists[*key as usize] != seen[*key as usize]);
        let outcome = if conflict {
            Outcome::Failed {
                sqlstate: "40001".into(),
            }
        } else {
            for (key, value) in &writes {
                lists[*key as usize].push(*value);
            }
            let read = |key: &usize| Read {
                table: "append".into(),
                key: *key as i64,
                values: seen[*key].clone(),
            };
            Outcome::Ok {
                reads: keys.iter().map(read).collect(),
            }
        };
        story.event(&name, What::Return { op, outcome });
    }
    let end: Vec<(i64, &[i64])> = (0..).zip(lists.iter().map(Vec::as_slice)).collect();
    story.end(&end)
}
