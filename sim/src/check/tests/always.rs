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
