use futures::FutureExt;

use super::*;

fn registry() -> SessionRegistry {
    SessionRegistry::new()
}

#[test]
fn a_cancel_request_needs_the_secret_and_stops_only_what_runs() {
    let registry = registry();
    let session = registry.register("postgres", "shop");
    registry.cancel_statement(session.pid(), session.secret());
    let first = session.begin_statement();
    assert!(
        !first.is_cancelled(),
        "a request that came before the statement does not stop it"
    );
    registry.cancel_statement(session.pid(), session.secret().wrapping_add(1));
    assert!(!first.is_cancelled());
    registry.cancel_statement(session.pid(), session.secret());
    assert!(first.is_cancelled());
    drop(first);
    assert!(!session.begin_statement().is_cancelled());
}

/// Lost without it: the end of a statement that was put aside keeps cancel requests from the one that runs.
#[test]
fn the_end_of_a_statement_leaves_the_next_one_to_be_cancelled() {
    let registry = registry();
    let session = registry.register("postgres", "shop");
    let first = session.begin_statement();
    let second = session.begin_statement();
    drop(first);
    registry.cancel_statement(session.pid(), session.secret());
    assert!(second.is_cancelled() && session.is_statement_cancelled());
    drop(second);
    assert!(!session.is_statement_cancelled());
}

#[tokio::test]
async fn killing_waits_until_everyone_is_gone() {
    let registry = registry();
    let caller = registry.register("postgres", "shop");
    let victim = registry.register("app", "shop");
    let statement = victim.begin_statement();
    let mut kill = Box::pin(registry.kill_all(Some(caller.id()), "the role changes"));
    assert!((&mut kill).now_or_never().is_none());
    assert!(statement.is_cancelled());
    assert_eq!(victim.terminated().now_or_never(), Some("the role changes"));
    assert!(
        victim.begin_statement().is_cancelled(),
        "a session that must end starts nothing more"
    );
    let clone = victim.clone();
    drop((statement, victim));
    assert!(
        (&mut kill).now_or_never().is_none(),
        "a clone of the handle is the session too"
    );
    drop(clone);
    assert_eq!(kill.now_or_never(), Some(1));
    assert_eq!(caller.why_terminated(), None);
    assert_eq!(registry.count_in("shop"), 1);
}

#[test]
fn a_taint_is_seen_by_the_session_and_dies_with_it() {
    let registry = registry();
    let session = registry.register("postgres", "shop");
    let id = session.id();
    assert!(!session.is_tainted());
    registry.taint(id);
    assert!(session.is_tainted() && registry.is_tainted(id));
    drop(session);
    assert!(!registry.is_tainted(id));
    assert_ne!(registry.register("postgres", "shop").id(), id);
}

#[tokio::test]
async fn what_a_session_kept_is_let_go_once_at_its_end_or_when_it_is_overdue() {
    let registry = registry();
    let (prompt, overdue) = (registry.register("app", "shop"), registry.register("app", "shop"));
    let [prompts, overdues] = [(); 2].map(|()| Arc::new(()));
    prompt.keep(prompts.clone());
    overdue.keep(overdues.clone());
    let statement = prompt.begin_statement();
    drop(prompt);
    assert_eq!(
        Arc::strong_count(&prompts),
        1,
        "although a guard of its statement is there"
    );
    drop(statement);
    assert_eq!(Arc::strong_count(&overdues), 2);
    let limit = Duration::from_millis(10);
    assert_eq!(registry.kill_within(limit, None, "the role changes").await, 1);
    assert_eq!((Arc::strong_count(&overdues), registry.count()), (1, 1));
    assert!(overdue.begin_statement().is_cancelled());
    assert_eq!(registry.kill_within(limit, None, "the role changes again").await, 1);
    drop(overdue);
    assert_eq!((Arc::strong_count(&overdues), registry.count()), (1, 0));
}
