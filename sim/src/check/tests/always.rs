//! What every run is judged by, whatever its plan lists.

use super::*;
use crate::record::Recorder;
use crate::trace::Trace;

/// What the recorder of a run finds whose plan lists these checks.
fn found(always: &[CheckUse], story: &Story) -> Option<String> {
    let recorder = Recorder::new(|| 0, Trace::new(None), monitors(always), |_| {});
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
    for harmless in ["40001", "XX001", "57P01"] {
        assert_eq!(
            found(&[], &Story::default().append(1, "a", 1, 7, failed(harmless))),
            None
        );
    }
    let unknown = Outcome::Unknown {
        why: "XX000".to_owned(),
    };
    let told = found(&[], &Story::default().append(1, "a", 1, 7, Some(unknown)));
    assert!(told.is_some_and(|told| told.contains("ended with XX000")));
    let told = found(&[], &Story::default().append(1, "a", 1, 7, failed("XX000")));
    let expected = "no_internal_error: #1 of append.1 failed with XX000 (at 0.000000s)";
    assert_eq!(told.as_deref(), Some(expected));
}

#[test]
fn a_queue_beyond_its_limit_breaks_every_run() {
    let queue = "chunk.backlog 11 of 10".to_owned();
    let told = found(&[], &Story::default().event("b", What::Overflow { queue }));
    let expected = "no_overflow: b: chunk.backlog 11 of 10 (at 0.000000s)";
    assert_eq!(told.as_deref(), Some(expected));
}

#[test]
fn a_client_that_is_told_that_it_is_wrong_breaks_every_run() {
    let refused = |code: &str| found(&[], &Story::default().append(1, "a", 1, 7, failed(code)));
    for expected in ["40001", "25006", "57P01", "53100", "08006"] {
        assert_eq!(refused(expected), None);
    }
    for wrong in ["42601", "0A000", "22003", "54000", "28P01"] {
        let told = refused(wrong).expect("no program expects that");
        assert!(
            told.starts_with("answers_are_known: #1 of append.1 was refused with"),
            "{told}"
        );
    }
    let unknown = |why: &str| {
        let why = why.to_owned();
        found(
            &[],
            &Story::default().append(1, "a", 1, 7, Some(Outcome::Unknown { why })),
        )
    };
    assert_eq!(unknown("40003").or(unknown("connection lost")), None);
    assert!(unknown("0A000").is_some());
}

/// Events at moments, in seconds.
fn soon(events: &[(u64, What)]) -> Option<String> {
    let mut watch = match answers::ANSWERS_COME_SOON.judge {
        Judge::Running(make) => make(&Arg::None),
        _ => panic!("it runs along"),
    };
    events.iter().find_map(|(seconds, what)| {
        watch.observe(&Event {
            at: seconds * 1_000_000,
            node: "append.1".to_owned(),
            what: what.clone(),
        })
    })
}

#[test]
fn an_answer_that_is_late_when_all_is_calm_breaks_every_run() {
    let asked = |op: u64| {
        let story = Story::default().append(op, "a", 1, 7, None);
        story.0.events.last().expect("it was asked").what.clone()
    };
    let answered = |op: u64| What::Return {
        op,
        outcome: Outcome::Unknown {
            why: "no answer".to_owned(),
        },
    };
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
