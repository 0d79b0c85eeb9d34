//! What every run is judged by, whatever its plan lists.

use super::*;
use crate::history::{LOST, NOT_NEEDED, WIPED};
use crate::record::Recorder;
use crate::trace::Trace;
use crate::workload::ddl::{DROP, DROP_DATABASE};

/// What the recorder of a run finds whose plan lists these checks.
fn found(always: &[CheckUse], story: &Story) -> Option<String> {
    let recorder = Recorder::new(|| 0, Trace::new(None), monitors(always, 0), |_| {});
    for event in &story.0.events {
        recorder.record(&event.node, event.what.clone());
    }
    let (.., violation) = recorder.finish(FinalState::default());
    violation.map(|violation| violation.to_string())
}

fn panic(story: Story) -> Story {
    story.event("a", What::Panic { message: "fire".into() })
}

#[test]
fn a_panic_breaks_every_run() {
    assert_eq!(found(&[], &Story::default().event("a", What::Start)), None);
    let expected = Some("no_panic: a panicked: fire (at 0.000000s)".to_owned());
    assert_eq!(found(&[], &panic(Story::default())), expected);
    let epochs = CheckUse {
        name: cluster::EPOCH_MONOTONE.name,
        arg: Arg::None,
    };
    assert_eq!(found(&[epochs], &panic(Story::default())), expected);
    // Where the logs are judged, they say it.
    let logs = CheckUse {
        name: logs::CLEAN_LOGS.name,
        arg: Arg::None,
    };
    let found = found(&[logs], &panic(Story::default())).expect("a panic is no clean log");
    assert!(found.starts_with("clean_logs: a panicked: fire"), "{found}");
}

#[test]
fn a_client_that_is_told_of_an_internal_error_breaks_every_run() {
    let unknown = Outcome::Unknown {
        why: "XX000".to_owned(),
    };
    let expected = "no_internal_error: #1 of append.1 was refused with XX000 (at 0.000000s)";
    for outcome in [failed("XX000"), Some(unknown)] {
        let told = found(&[], &Story::default().append(1, "a", 1, 7, outcome));
        assert_eq!(told.as_deref(), Some(expected));
    }
}

#[test]
fn a_queue_beyond_its_limit_breaks_every_run() {
    let queue = "chunk.backlog 11 of 10".to_owned();
    let told = found(&[], &Story::default().event("b", What::Overflow { queue }));
    let expected = "no_overflow: b: chunk.backlog 11 of 10 (at 0.000000s)";
    assert_eq!(told.as_deref(), Some(expected));
}

/// What a run finds that ends with an operation of this action on `a`, which was refused with this code.
fn refused(story: Story, action: &'static str, code: &str) -> Option<String> {
    let refused = |outcome| found(&[], &asking(&story, action, Some(outcome)));
    let sqlstate = code.to_owned();
    let certain = refused(Outcome::Failed { sqlstate });
    let unknown = refused(Outcome::Unknown { why: code.to_owned() });
    assert_eq!(certain, unknown, "both say no");
    certain
}

/// The story, and an operation on `a`.
fn asking(story: &Story, action: &'static str, outcome: Option<Outcome>) -> Story {
    let mut all = Story(story.0.clone());
    let op = all.0.operations().len() as u64 + 1;
    all = all.append(op, "a", 1, 7, outcome);
    for event in &mut all.0.events {
        if let What::Invoke(invoke) = &mut event.what
            && invoke.op == op
        {
            invoke.action = action;
        }
    }
    all
}

#[track_caller]
fn without_reason(told: Option<String>, why: &str) {
    let told = told.expect("it has no reason");
    assert!(told.starts_with("refusals_have_reasons: #"), "{told}");
    assert!(told.contains(why), "{told}");
}

#[test]
fn a_client_that_is_told_that_it_is_wrong_breaks_every_run() {
    for expected in ["40001", "40003", "57P01"] {
        assert_eq!(refused(Story::default(), "append", expected), None);
    }
    // A server's own 08006 is none of the client's.
    for wrong in ["42601", "0A000", "22003", "54000", "28P01", "57P03", "08006"] {
        without_reason(refused(Story::default(), "append", wrong), "no program expects that");
    }
    for outcome in [
        failed(LOST),
        Some(Outcome::Unknown {
            why: "connection lost".to_owned(),
        }),
    ] {
        assert_eq!(found(&[], &asking(&Story::default(), "append", outcome)), None);
    }
    // Codes that belong to what was asked.
    for (code, action) in [("23505", "insert"), ("55000", "version"), ("3D000", DROP_DATABASE)] {
        assert_eq!(refused(Story::default(), action, code), None);
        without_reason(refused(Story::default(), "append", code), code);
    }
}

#[test]
fn a_refusal_for_a_disk_that_is_well_breaks_every_run() {
    let full = || {
        Story::default().event(
            "a",
            What::DiskFailed {
                fault: "full".to_owned(),
            },
        )
    };
    for code in ["53100", "58030"] {
        assert_eq!(refused(full(), "append", code), None);
        let elsewhere = Story::default().event(
            "b",
            What::DiskFailed {
                fault: "full".to_owned(),
            },
        );
        without_reason(
            refused(elsewhere, "append", code),
            "its disk neither was full nor failed",
        );
    }
    let damaged = || Story::default().event("a", What::Damaged);
    assert_eq!(refused(damaged(), "append", "XX001"), None);
    without_reason(
        refused(damaged().event("a", What::Mended), "append", "XX001"),
        "its disk is right",
    );
    without_reason(refused(full(), "append", "XX001"), "its disk is right");
    // One bad read is an excuse at its time, and one while the server started as long as it runs.
    let started = |how: What| Story::default().event("a", What::Start).event("a", how);
    let ready = || What::Ready { role: None };
    assert_eq!(
        refused(started(ready()).event("a", What::Misread), "append", "XX001"),
        None
    );
    let append = |story: Story| -> Vec<(u64, What)> {
        let asked = story.append(1, "a", 1, 7, failed("XX001"));
        let events = asked.0.events.into_iter();
        events
            .map(|event| (if event.node == "a" { 1 } else { 60 }, event.what))
            .collect()
    };
    let later = |story: Story| over_time(&answers::REFUSALS_HAVE_REASONS, "a", &append(story));
    let told = later(started(ready()).event("a", What::Misread));
    assert!(told.is_some_and(|told| told.ends_with("its disk is right")));
    assert_eq!(later(started(What::Misread).event("a", ready())), None);
    let again = started(What::Misread)
        .event("a", ready())
        .event("a", What::Start)
        .event("a", ready());
    assert!(later(again).is_some());
}

#[test]
fn a_primary_that_takes_no_writes_breaks_every_run() {
    let role = |role| What::Role { role, epoch: 1 };
    // A write at 20 s that is refused at once, what was before, and what comes later.
    let refused = |before: What, between: What, after: (u64, What)| {
        let asked = Story::default().append(1, "a", 1, 7, failed("25006"));
        let events: Vec<What> = asked.0.events.into_iter().map(|event| event.what).collect();
        let [invoke, returned] = <[What; 2]>::try_from(events).expect("it asks, and is refused");
        let story = [
            (1, before),
            (2, between),
            (20, invoke),
            (20, returned),
            after,
            (40, What::Quiet),
        ];
        over_time(&answers::REFUSALS_HAVE_REASONS, "a", &story)
    };
    let nothing = || What::Quiet;
    let why = "#1 of a was refused with 25006 by a: it was primary all the time";
    for before in [role(Role::Primary), What::Ready { role: None }] {
        assert_eq!(refused(before, nothing(), (21, nothing())).as_deref(), Some(why));
    }
    assert_eq!(refused(role(Role::Primary), role(Role::Standby), (21, nothing())), None);
    // It is told a moment later.
    assert_eq!(refused(role(Role::Primary), nothing(), (21, role(Role::Standby))), None);
    assert!(refused(role(Role::Primary), nothing(), (31, role(Role::Standby))).is_some());
    let call = What::RoleCall {
        role: Some(Role::Standby),
    };
    assert_eq!(refused(role(Role::Primary), call, (21, nothing())), None);
}

#[test]
fn a_table_that_was_there_and_is_not_breaks_every_run() {
    let there = || Story::default().role("a", Role::Standby, 1).append(1, "a", 1, 7, ok());
    assert_eq!(
        refused(Story::default().append(1, "b", 1, 7, ok()), "append", "42P01"),
        None
    );
    without_reason(refused(there(), "append", "42P01"), "the table was there");
    without_reason(
        refused(there().event("a", What::Start), "append", "42P01"),
        "the table was there",
    );
    assert_eq!(refused(there(), DROP, "42P01"), None);
    let wiped = What::Down { how: WIPED.to_owned() };
    assert_eq!(refused(there().event("a", wiped), "append", "42P01"), None);
    // Another history takes the place of its own.
    let followed = there().root("a", false, 1, "r1", "r2");
    without_reason(refused(followed, "append", "42P01"), "the table was there");
    let replaced = there().root("a", true, 1, "", "own").root("a", false, 1, "own", "r1");
    assert_eq!(refused(replaced, "append", "42P01"), None);
    let led_on = there().role("a", Role::Primary, 2);
    assert_eq!(refused(led_on, "append", "42P01"), None);
}

/// What a check says of events at moments, in seconds, all of one node.
fn over_time(check: &Check, node: &str, events: &[(u64, What)]) -> Option<String> {
    let mut watch = match check.judge {
        Judge::Running(make) => make(&Arg::Time(0)),
        _ => panic!("it runs along"),
    };
    events.iter().find_map(|(seconds, what)| {
        watch.observe(&Event {
            at: seconds * 1_000_000,
            node: node.to_owned(),
            what: what.clone(),
        })
    })
}

fn soon(events: &[(u64, What)]) -> Option<String> {
    over_time(&answers::ANSWERS_COME_SOON, "append.1", events)
}

#[test]
fn an_answer_that_is_late_when_all_is_calm_breaks_every_run() {
    let asked = |op: u64| {
        let story = Story::default().append(op, "a", 1, 7, None);
        story.0.events.last().expect("it was asked").what.clone()
    };
    let returned = |op: u64, why: &str| What::Return {
        op,
        outcome: Outcome::Unknown { why: why.to_owned() },
    };
    let answered = |op: u64| returned(op, "40003");
    let late = "#1 of append.1 took 6s when all was calm";
    let calm = [(10, What::Quiet), (20, asked(1)), (26, answered(1))];
    assert_eq!(soon(&calm).as_deref(), Some(late));
    assert_eq!(soon(&[(10, What::Quiet), (20, asked(1)), (25, answered(1))]), None);
    assert_eq!(soon(&[(20, asked(1)), (26, answered(1))]), None, "it was never quiet");
    assert_eq!(
        soon(&[(10, What::Quiet), (19, asked(1)), (26, answered(1))]),
        None,
        "too soon"
    );
    let started = [(10, What::Quiet), (12, What::Start), (21, asked(1)), (30, answered(1))];
    assert_eq!(soon(&started), None);
    let meanwhile = [(10, What::Quiet), (20, asked(1)), (22, What::Start), (26, answered(1))];
    assert_eq!(soon(&meanwhile), None);
    let again = [(10, What::Quiet), (12, What::Start), (22, asked(1)), (28, answered(1))];
    assert_eq!(soon(&again).as_deref(), Some(late));

    // Nor is a connection lost then.
    let lost = |after: u64| {
        [
            (10, What::Quiet),
            (after, asked(1)),
            (after + 1, returned(1, "connection lost")),
        ]
    };
    let said = "#1 of append.1 got no answer when all was calm: connection lost";
    assert_eq!(soon(&lost(20)).as_deref(), Some(said));
    assert_eq!(soon(&lost(19)), None, "too soon");
    let server = || "a".to_owned();
    let ended = |why: &str| What::Disconnected {
        server: server(),
        why: why.to_owned(),
    };
    let said = "append.1 lost its session on a when all was calm: connection lost";
    let calm = |what: What| soon(&[(10, What::Quiet), (20, asked(1)), (21, answered(1)), (30, what)]);
    assert_eq!(calm(ended("connection lost")).as_deref(), Some(said));
    let late = |events: [(u64, What); 4]| {
        let end = (33, ended("connection lost"));
        soon(&events.into_iter().chain([end]).collect::<Vec<_>>())
    };
    let before = [(10, What::Quiet), (18, asked(1)), (19, answered(1)), (20, asked(2))];
    assert_eq!(late(before), None, "it may have been lost before");
    let meanwhile = [(10, What::Quiet), (20, asked(1)), (21, answered(1)), (22, What::Start)];
    assert_eq!(late(meanwhile), None, "it may have been lost with the start");
    assert_eq!(calm(ended(NOT_NEEDED)), None);
    assert_eq!(
        calm(ended("25006 postgres is read-only")),
        None,
        "that is for another check"
    );
}

#[test]
fn a_server_that_takes_no_connection_when_all_is_calm_breaks_every_run() {
    let events = |ready: bool, at: u64, why: &str| {
        let serves = match ready {
            true => What::Ready { role: None },
            false => What::Start,
        };
        let refused = What::NotConnected {
            server: "a".to_owned(),
            why: why.to_owned(),
        };
        over_time(
            &answers::ANSWERS_COME_SOON,
            "a",
            &[(1, serves), (10, What::Quiet), (at, refused)],
        )
    };
    let said = "a could not connect to a when all was calm: no answer";
    assert_eq!(events(true, 20, "no answer").as_deref(), Some(said));
    assert!(events(true, 20, "57P03 the server is starting").is_some());
    assert_eq!(events(true, 20, "XX001 it is damaged"), None);
    assert_eq!(events(true, 19, "no answer"), None, "too soon");
    assert_eq!(events(false, 20, "no answer"), None, "it never said that it serves");
}

/// Who could name them could believe that they can be left out.
#[test]
fn what_is_always_on_is_described_and_cannot_be_listed() {
    for check in ALWAYS_ON {
        assert!(check.about.ends_with('.') && matches!(check.judge, Judge::Running(_)));
        let node = Node::parse("check", &format!("[{}]", check.name)).expect("a list");
        let complaint = parse("always", &node, None).expect_err("it is on already");
        assert!(complaint.what.contains("is judged in every run"), "{}", complaint.what);
    }
}
