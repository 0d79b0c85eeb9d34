//! What holds over random histories.

use proptest::prelude::*;

use super::*;

fn any_role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Primary), Just(Standby), Just(BROKEN)]
}

fn any_server() -> impl Strategy<Value = ServerId> {
    prop_oneof![1 => Just(ME), 4 => Just(PEER), 4 => Just(THIRD)]
}

/// Close together, so that they meet.
fn any_epoch() -> impl Strategy<Value = Epoch> {
    prop_oneof![8 => 0..12u64, 1 => Just(1 << 62)].prop_map(epoch)
}

fn any_evidence() -> impl Strategy<Value = Option<AcceptedPrimary>> {
    proptest::option::of((any_epoch(), any_server()).prop_map(|(epoch, server)| AcceptedPrimary { epoch, server }))
}

/// Everything that arrives without an operator.
fn any_message() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (any_server(), proptest::option::of(any_role()), proptest::option::of(any_epoch()))
            .prop_map(|(peer, role, epoch)| Event::Request { peer, role, epoch }),
        4 => (any_server(), any_role(), any_epoch(), any_evidence()).prop_map(|(peer, role, epoch, accepted)| {
            Event::Response(Response::Member { peer, role, epoch, accepted })
        }),
        1 => Just(Event::Response(Response::WithoutRole)),
        1 => Just(Event::Response(Response::BadEpoch)),
        1 => any::<bool>().prop_map(|confirmed| Event::PreflightEnded { confirmed }),
        1 => any::<bool>().prop_map(|caught_up| Event::DrainEnded { caught_up }),
        1 => Just(Event::RetryStore),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let word = prop_oneof![
        4 => any_role().prop_map(|role| role.as_str().to_owned()),
        1 => Just("backup".to_owned())
    ];
    prop_oneof![
        3 => any_message(),
        2 => (word, prop_oneof![-2..14i64, Just(i64::MAX)]).prop_map(|(role, epoch)| Event::Assume { role, epoch }),
    ]
}

fn any_standing() -> impl Strategy<Value = Standing> {
    (any_role(), any_epoch(), any_evidence()).prop_map(|(role, epoch, accepted)| {
        let accepted = match role {
            Primary => Some(AcceptedPrimary { epoch, server: ME }),
            _ => accepted.filter(|accepted| accepted.epoch <= epoch),
        };
        Standing {
            server: ME,
            role,
            epoch,
            accepted,
        }
    })
}

/// Carries out a step as the controller does; `stores` says whether the disk works.
fn carry_out(machine: RoleMachine, event: &Event, stores: bool) -> (RoleMachine, Vec<Effect>) {
    let (after, effects) = machine.step(event);
    let Some(at) = effects.iter().position(|effect| matches!(effect, Store { .. })) else {
        return (after, effects);
    };
    if stores {
        return (after, effects);
    }
    let failed = match &effects[at] {
        Store {
            standing,
            on_failure: OnStoreFailure::StayClosed,
        } => machine.step(&Event::StoreFailed { wanted: *standing }).0,
        _ => machine,
    };
    (failed, effects[..at].to_vec())
}

proptest! {
    /// No sequence of messages makes a server primary that is not.
    #[test]
    fn c_107_messages_never_make_a_primary(
        start in any_standing(),
        events in proptest::collection::vec((any_message(), any::<bool>()), 0..40),
    ) {
        let mut machine = RoleMachine::new(start);
        for (event, stores) in events {
            let was_primary = machine.role() == Primary;
            let (after, effects) = carry_out(machine, &event, stores);
            prop_assert!(was_primary || after.role() != Primary);
            if !was_primary {
                prop_assert!(!effects.contains(&OpenWriters));
            }
            machine = after;
        }
    }

    /// Neither in what is visible nor in what is stored, whatever happens.
    #[test]
    fn c_108_epochs_never_decrease(
        start in any_standing(),
        events in proptest::collection::vec((any_event(), prop::bool::weighted(0.8)), 0..40),
    ) {
        let mut machine = RoleMachine::new(start);
        let mut visible = start.epoch;
        for (event, stores) in events {
            let before = *machine.standing();
            let (after, effects) = carry_out(machine, &event, stores);
            for effect in &effects {
                match effect {
                    Store { standing, .. } => prop_assert!(standing.epoch >= before.epoch),
                    Enter { epoch, .. } => { prop_assert!(*epoch >= visible); visible = *epoch; }
                    _ => {}
                }
            }
            let now = *after.standing();
            prop_assert!(now.epoch >= before.epoch);
            prop_assert!(now.accepted.map(|a| a.epoch) >= before.accepted.map(|a| a.epoch));
            prop_assert!(now.accepted.is_none_or(|accepted| accepted.epoch <= now.epoch));
            prop_assert_eq!(visible, now.epoch, "what is shown is what the machine holds");
            prop_assert!(
                now.role == before.role || now.epoch > before.epoch || now.role == BROKEN,
                "within an epoch the only change is to detected_broken_config"
            );
            machine = after;
        }
    }

    /// What is shown was stored before, and whoever may write is a primary that is not giving up its role.
    #[test]
    fn stored_before_published_and_writers_only_on_a_primary(
        start in any_standing(),
        events in proptest::collection::vec((any_event(), prop::bool::weighted(0.8)), 0..40),
    ) {
        let mut machine = RoleMachine::new(start);
        let mut stored = (start.role, start.epoch);
        let mut writable = start.role == Primary;
        for (event, stores) in events {
            let (after, effects) = carry_out(machine, &event, stores);
            for effect in &effects {
                match effect {
                    Store { standing, .. } => stored = (standing.role, standing.epoch),
                    Enter { role, epoch } => prop_assert_eq!((*role, *epoch), stored),
                    OpenWriters => { prop_assert_eq!(stored.0, Primary); writable = true; }
                    CloseWriters => writable = false,
                    _ => {}
                }
            }
            prop_assert!(!writable || (after.role() == Primary && !after.is_stuck()));
            let ends = effects.iter().filter(|effect| matches!(effect, Serve | Refuse(_) | Succeed | Fail(_))).count();
            prop_assert!(ends <= 1, "one answer");
            machine = after;
        }
    }
}
