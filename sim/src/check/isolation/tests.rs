//! Planted anomalies, each with the words that it is found by.

use super::*;
use crate::check::{CheckUse, Violation};
use crate::history::{Event, FinalState, Invoke, Read, Write};

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
    let story = || Story::default().ok(&[], &[(1, 10)]).ok(&[(1, &[10])], &[]);
    let again = |mut story: Story| {
        story.event("append.1", What::Connected { server: "b".into() });
        story
    };
    let end: &[(i64, &[i64])] = &[(1, &[10])];
    breaks(&story().ok(&[(1, &[])], &[]).end(end), "in the same session");
    holds(&again(story()).ok_of("append.1", "b", &[(1, &[])], &[]).end(end));
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

#[test]
fn nobody_to_ask_is_nothing_to_judge() {
    let story = Story::default().ok(&[], &[(1, 10)]);
    assert_eq!(judged(&story, Arg::Word("survivors")), None);
    holds(&story);
}
