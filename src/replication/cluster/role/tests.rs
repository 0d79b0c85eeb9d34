//! The tables of spec/cluster.md 2.4 to 2.6 row by row, stories as scripts, and properties over random histories.

use proptest::prelude::*;

use super::*;
use Effect::*;

const ME: ServerId = ServerId([0xaa; 16]);
const PEER: ServerId = ServerId([0xbb; 16]);
const THIRD: ServerId = ServerId([0xcc; 16]);

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

fn accepted(number: u64, server: ServerId) -> Option<AcceptedPrimary> {
    Some(AcceptedPrimary {
        epoch: epoch(number),
        server,
    })
}

fn standing(role: Role, number: u64) -> Standing {
    let accepted = if role == Role::Primary {
        accepted(number, ME)
    } else {
        None
    };
    Standing {
        server: ME,
        role,
        epoch: epoch(number),
        accepted,
    }
}

fn machine(role: Role, number: u64) -> RoleMachine {
    RoleMachine::new(standing(role, number))
}

fn assume(machine: &RoleMachine, role: &str, number: i64) -> Step {
    machine.step(&Event::Assume {
        role: role.to_owned(),
        epoch: number,
    })
}

fn request(machine: &RoleMachine, peer: ServerId, role: Role, number: u64) -> Step {
    machine.step(&Event::Request {
        peer,
        role: Some(role),
        epoch: Some(epoch(number)),
    })
}

fn response(machine: &RoleMachine, role: Role, number: u64, accepted: Option<AcceptedPrimary>) -> Step {
    machine.step(&Event::Response(Response::Member {
        peer: PEER,
        role,
        epoch: epoch(number),
        accepted,
    }))
}

/// Names of the effects without what they carry, but for the words that matter in every row.
fn brief(effects: &[Effect]) -> String {
    let word = |effect: &Effect| match effect {
        KillSessions { spare: Spare::Caller } => "Kill(caller)".to_owned(),
        KillSessions { spare: Spare::Nobody } => "Kill(-)".to_owned(),
        Store { standing, on_failure } => {
            let policy = if *on_failure == OnStoreFailure::StayClosed {
                "!"
            } else {
                ""
            };
            let evidence = standing.accepted.map(|a| format!(" {}", short(a))).unwrap_or_default();
            format!("Store{policy}({}@{}{evidence})", standing.role, standing.epoch)
        }
        Publish { role, epoch } => format!("Publish({role}@{epoch})"),
        Fail(error) => format!("Fail({error})"),
        Refuse(refusal) => format!("Refuse({refusal:?})"),
        Log(note) => {
            let text = format!("{note:?}");
            format!("Log({})", text.split([' ', '{']).next().unwrap())
        }
        other => format!("{other:?}"),
    };
    effects.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn short(accepted: AcceptedPrimary) -> String {
    let name = match accepted.server {
        ME => "me",
        PEER => "peer",
        _ => "third",
    };
    format!("{}:{name}", accepted.epoch)
}

/// Runs one row and compares effects and the standing afterwards.
fn row(name: &str, (after, effects): Step, expect_standing: Standing, expected: &str) {
    assert_eq!(brief(&effects), expected, "row {name}");
    assert_eq!(*after.standing(), expect_standing, "row {name}");
}

const BROKEN: Role = Role::DetectedBrokenConfig;
use Role::{Primary, Standby};

/// 2.4: the guards, which are the same from every role.
#[test]
fn c_050_to_c_053_and_c_073_guards_of_assume() {
    for role in Role::ALL {
        let m = machine(role, 10);
        let same = standing(role, 10);
        for number in [9, 10, 11, i64::MAX] {
            row(
                "B",
                assume(&m, "detected_broken_config", number),
                same,
                "Fail(cannot set role to detected_broken_config)",
            );
            for word in ["backup", "Primary", "STANDBY", ""] {
                let expected = format!("Fail(error assuming role '{word}': the role must be 'primary' or 'standby')");
                row("U", assume(&m, word, number), same, &expected);
            }
        }
        for word in ["primary", "standby"] {
            for number in [9, 0, -1, i64::MIN] {
                let expected =
                    format!("Fail(error assuming role '{word}' at epoch {number}: this server is already at epoch 10)");
                row("L", assume(&m, word, number), same, &expected);
            }
            for number in [i64::MAX, (1 << 62) + 1] {
                let expected = format!(
                    "Fail(error assuming role '{word}' at epoch {number}: the highest epoch is 4611686018427387904)"
                );
                row("too high", assume(&m, word, number), same, &expected);
            }
            if word != role.as_str() {
                let expected = format!(
                    "Fail(error assuming role '{word}' at epoch 10: this server already is '{role}' at that epoch)"
                );
                row("D", assume(&m, word, 10), same, &expected);
            }
        }
        let (_, effects) = assume(&m, "primary", 1 << 62);
        assert!(
            !matches!(effects[0], Fail(_)),
            "2^62 is the highest epoch there is, not one too high"
        );
    }
}

#[test]
fn c_054_same_role_and_epoch_succeeds() {
    for role in [Primary, Standby] {
        row(
            "same",
            assume(&machine(role, 10), role.as_str(), 10),
            standing(role, 10),
            "Succeed",
        );
    }
}

#[test]
fn c_055_and_c_072_a_bump_of_the_epoch_disturbs_nobody() {
    row(
        "standby -> standby",
        assume(&machine(Standby, 10), "standby", 12),
        standing(Standby, 12),
        "Store(standby@12), Publish(standby@12), Succeed",
    );
    row(
        "primary -> primary",
        assume(&machine(Primary, 10), "primary", 15),
        standing(Primary, 15),
        "Store(primary@15 15:me), Publish(primary@15), Succeed",
    );
}

#[test]
fn c_056_and_c_063_promotion_stores_before_anybody_writes() {
    for role in [Standby, BROKEN] {
        row(
            "promotion",
            assume(&machine(role, 12), "primary", 13),
            standing(Primary, 13),
            "Kill(caller), AwaitWriters, RefreshCounters, Store(primary@13 13:me), Publish(primary@13), ResetLinks, OpenWriters, \
             TaintCaller, Succeed",
        );
    }
}

#[test]
fn c_088_and_c_096_broken_becomes_standby_without_peers() {
    row(
        "broken -> standby",
        assume(&machine(BROKEN, 10), "standby", 11),
        standing(Standby, 11),
        "CloseWriters, Kill(caller), Store(standby@11), Publish(standby@11), ResetLinks, TaintCaller, Succeed",
    );
}

#[test]
fn c_058_demotion_waits_for_the_standbys_twice() {
    let (asked, effects) = assume(&machine(Primary, 10), "standby", 11);
    assert_eq!(brief(&effects), "Preflight");
    assert_eq!(asked.role(), Primary);
    let (draining, effects) = asked.step(&Event::PreflightEnded { confirmed: true });
    assert_eq!(brief(&effects), "CloseWriters, Kill(caller), AwaitWriters, Drain");
    assert_eq!((draining.role(), draining.epoch()), (Primary, epoch(10)));
    row(
        "drained",
        draining.step(&Event::DrainEnded { caught_up: true }),
        Standing {
            accepted: accepted(10, ME),
            ..standing(Standby, 11)
        },
        "Store!(standby@11 10:me), Publish(standby@11), ResetLinks, TaintCaller, Succeed",
    );
}

#[test]
fn c_059_and_c_061_a_drain_that_fails_lets_writers_in_again() {
    let (asked, _) = assume(&machine(Primary, 10), "standby", 11);
    let (draining, _) = asked.step(&Event::PreflightEnded { confirmed: true });
    let (after, effects) = draining.step(&Event::DrainEnded { caught_up: false });
    assert_eq!(
        brief(&effects),
        "OpenWriters, Kill(caller), Fail(failed to transition from primary to standby gracefully; this server is still \
         primary at epoch 10)"
    );
    assert_eq!(after, machine(Primary, 10), "as before the call");
}

#[test]
fn c_070_an_unreachable_standby_fails_the_call_before_anybody_is_disturbed() {
    let (asked, _) = assume(&machine(Primary, 10), "standby", 11);
    let (after, effects) = asked.step(&Event::PreflightEnded { confirmed: false });
    assert_eq!(
        brief(&effects),
        "Fail(failed to transition from primary to standby gracefully; this server is still primary at epoch 10)"
    );
    assert_eq!(after, machine(Primary, 10));
}

#[test]
fn c_067_a_second_call_during_a_demotion_fails() {
    let (asked, _) = assume(&machine(Primary, 10), "standby", 11);
    let (after, effects) = assume(&asked, "standby", 12);
    assert_eq!(effects, [Fail(AssumeError::AnotherInProgress)]);
    assert_eq!(after, asked);
}

/// Whatever an automatic transition decided meanwhile stands; the operator's call is told.
#[test]
fn an_automatic_transition_ends_a_demotion() {
    let (asked, _) = assume(&machine(Primary, 10), "standby", 11);
    let (draining, _) = asked.step(&Event::PreflightEnded { confirmed: true });
    for waiting in [asked, draining] {
        let (fenced, _) = request(&waiting, PEER, Primary, 20);
        assert_eq!((fenced.role(), fenced.epoch()), (Standby, epoch(20)));
        for event in [
            Event::PreflightEnded { confirmed: true },
            Event::DrainEnded { caught_up: true },
        ] {
            let (after, effects) = fenced.step(&event);
            assert_eq!(effects, [Fail(AssumeError::Superseded { epoch: epoch(20) })]);
            assert_eq!(after, fenced);
        }
    }
}

const IMMEDIATE_STANDBY: &str = "Log(ForcedToStandby), CloseWriters, Kill(-), AwaitWriters, Store!(standby@11 11:peer), \
                                 Publish(standby@11), ResetLinks";

/// 2.5, I1 to I9: a primary asks. Mine is epoch 10.
#[test]
fn i1_to_i9_requests_of_a_primary() {
    let after_primary = Standing {
        accepted: accepted(11, PEER),
        ..standing(Standby, 11)
    };
    row(
        "I1",
        request(&machine(Primary, 10), PEER, Primary, 9),
        standing(Primary, 10),
        "Refuse(IsPrimary { epoch: Epoch(10) })",
    );
    row(
        "I2",
        request(&machine(Primary, 10), PEER, Primary, 10),
        Standing {
            role: BROKEN,
            ..standing(Primary, 10)
        },
        "Log(TwoPrimaries), CloseWriters, Kill(-), AwaitWriters, Store!(detected_broken_config@10 10:me), \
         Publish(detected_broken_config@10), ResetLinks, Refuse(IsBroken { epoch: Epoch(10) })",
    );
    let served = format!("{IMMEDIATE_STANDBY}, Serve");
    row(
        "I3",
        request(&machine(Primary, 10), PEER, Primary, 11),
        after_primary,
        &served,
    );
    row(
        "I4",
        request(&machine(Standby, 10), PEER, Primary, 9),
        standing(Standby, 10),
        "Refuse(StalePrimary { mine: Epoch(10), theirs: Epoch(9) })",
    );
    let follower = Standing {
        accepted: accepted(10, PEER),
        ..standing(Standby, 10)
    };
    row(
        "I5, first primary of this epoch",
        request(&machine(Standby, 10), PEER, Primary, 10),
        follower,
        "Store(standby@10 10:peer), Serve",
    );
    row(
        "I5, the known one",
        request(&RoleMachine::new(follower), PEER, Primary, 10),
        follower,
        "Serve",
    );
    row(
        "I5, another one",
        request(&RoleMachine::new(follower), THIRD, Primary, 10),
        Standing {
            role: BROKEN,
            ..follower
        },
        "Log(SecondPrimary), CloseWriters, Kill(-), AwaitWriters, Store!(detected_broken_config@10 10:peer), \
         Publish(detected_broken_config@10), ResetLinks, Refuse(IsBroken { epoch: Epoch(10) })",
    );
    row(
        "I6",
        request(&machine(Standby, 10), PEER, Primary, 11),
        after_primary,
        "Store(standby@11 11:peer), Publish(standby@11), Serve",
    );
    for (name, number) in [("I7", 9), ("I8", 10)] {
        row(
            name,
            request(&machine(BROKEN, 10), PEER, Primary, number),
            standing(BROKEN, 10),
            "Refuse(IsBroken { epoch: Epoch(10) })",
        );
    }
    row(
        "I9",
        request(&machine(BROKEN, 10), PEER, Primary, 11),
        after_primary,
        &served,
    );
}

/// 2.5, I10 to I18: anybody else asks, whatever the word in the header.
#[test]
fn i10_to_i18_and_c_101_requests_of_others() {
    let rows = [
        (Primary, "I10-I12", "Refuse(IsPrimary { epoch: Epoch(10) })"),
        (Standby, "I13-I15", "Refuse(PeerNotPrimary { epoch: Epoch(10) })"),
        (BROKEN, "I16-I18", "Refuse(IsBroken { epoch: Epoch(10) })"),
    ];
    for (mine, name, expected) in rows {
        for theirs in [Some(Standby), Some(BROKEN), None] {
            for number in [9, 10, 11] {
                let event = Event::Request {
                    peer: PEER,
                    role: theirs,
                    epoch: Some(epoch(number)),
                };
                row(name, machine(mine, 10).step(&event), standing(mine, 10), expected);
            }
        }
    }
}

#[test]
fn c_110_and_c_073_an_epoch_out_of_range_changes_nothing() {
    for mine in Role::ALL {
        let event = Event::Request {
            peer: PEER,
            role: Some(Primary),
            epoch: None,
        };
        row(
            "bad epoch",
            machine(mine, 10).step(&event),
            standing(mine, 10),
            "Refuse(BadEpoch)",
        );
    }
}

/// Not in the tables: a standby remote that points at the server itself must not break it.
#[test]
fn its_own_id_changes_nothing() {
    for mine in Role::ALL {
        let (after, effects) = request(&machine(mine, 10), ME, Primary, 11);
        assert_eq!(effects, [Refuse(Refusal::OwnId { server: ME })]);
        assert_eq!(after, machine(mine, 10));
        let event = Response::Member {
            peer: ME,
            role: Primary,
            epoch: epoch(11),
            accepted: None,
        };
        assert_eq!(
            machine(mine, 10).step(&Event::Response(event)),
            (machine(mine, 10), vec![])
        );
    }
}

/// 2.6, R1 to R11, as the primary of epoch 10.
#[test]
fn r1_to_r11_answers_to_a_primary() {
    let m = machine(Primary, 10);
    let same = standing(Primary, 10);
    let broken = |log: &str, number: u64| {
        format!(
            "Log({log}), CloseWriters, Kill(-), AwaitWriters, Store!(detected_broken_config@{number} 10:me), \
             Publish(detected_broken_config@{number}), ResetLinks"
        )
    };
    row("R1", response(&m, Primary, 9, None), same, "");
    let at = |number| Standing {
        role: BROKEN,
        epoch: epoch(number),
        ..same
    };
    row(
        "R2",
        response(&m, Primary, 10, None),
        at(10),
        &broken("TwoPrimaries", 10),
    );
    let follower = Standing {
        accepted: accepted(11, PEER),
        ..standing(Standby, 11)
    };
    row("R3", response(&m, Primary, 11, None), follower, IMMEDIATE_STANDBY);
    for (name, number) in [("R4", 9), ("R5", 10), ("R6", 11)] {
        row(name, response(&m, Standby, number, None), same, "");
    }
    row("R7", response(&m, BROKEN, 9, None), same, "");
    row("R8", response(&m, BROKEN, 10, None), at(10), &broken("PeerBroken", 10));
    row("R9", response(&m, BROKEN, 11, None), at(11), &broken("PeerBroken", 11));
    row(
        "R10",
        m.step(&Event::Response(Response::WithoutRole)),
        same,
        "Log(ResponseWithoutRole)",
    );
    row(
        "R11",
        m.step(&Event::Response(Response::BadEpoch)),
        same,
        "Log(ResponseBadEpoch)",
    );
}

#[test]
fn c_103_evidence_of_a_higher_primary_demotes() {
    let m = machine(Primary, 10);
    row(
        "R6 with evidence",
        response(&m, Standby, 12, accepted(11, THIRD)),
        Standing {
            accepted: accepted(11, THIRD),
            ..standing(Standby, 11)
        },
        "Log(ForcedToStandby), CloseWriters, Kill(-), AwaitWriters, Store!(standby@11 11:third), Publish(standby@11), \
         ResetLinks",
    );
    for evidence in [accepted(10, THIRD), accepted(9, THIRD), accepted(12, ME)] {
        row(
            "R6 without",
            response(&m, Standby, 12, evidence),
            standing(Primary, 10),
            "",
        );
    }
}

/// 2.6: a server that is not primary learns nothing from answers (all 18 combinations, and broken ones).
#[test]
fn c_111_answers_to_others_have_no_effect() {
    for mine in [Standby, BROKEN] {
        for theirs in Role::ALL {
            for number in [9, 10, 11] {
                for evidence in [None, accepted(20, THIRD)] {
                    let (after, effects) = response(&machine(mine, 10), theirs, number, evidence);
                    assert_eq!((after, effects), (machine(mine, 10), vec![]));
                }
            }
        }
        for event in [Response::WithoutRole, Response::BadEpoch] {
            assert_eq!(
                machine(mine, 10).step(&Event::Response(event)),
                (machine(mine, 10), vec![])
            );
        }
    }
}

#[test]
fn a_demotion_that_cannot_be_stored_keeps_writers_out_until_it_can() {
    let (_, effects) = request(&machine(Primary, 10), PEER, Primary, 11);
    let Some(Store { standing: wanted, .. }) = effects.iter().find(|effect| matches!(effect, Store { .. })) else {
        panic!("an automatic transition is stored");
    };
    let (stuck, effects) = machine(Primary, 10).step(&Event::StoreFailed { wanted: *wanted });
    assert_eq!(effects, []);
    assert_eq!(
        (stuck.role(), stuck.epoch()),
        (Primary, epoch(10)),
        "what was not stored is not visible"
    );
    assert_eq!(assume(&stuck, "primary", 12).1, [Fail(AssumeError::NotStored)]);
    let (after, effects) = stuck.step(&Event::RetryStore);
    assert_eq!(
        brief(&effects),
        "Store!(standby@11 11:peer), Publish(standby@11), ResetLinks"
    );
    assert_eq!(after, RoleMachine::new(*wanted));
    assert_eq!(
        after.step(&Event::RetryStore),
        (after.clone(), vec![]),
        "nothing is left to retry"
    );
}

/// `testdata/*.txt`, in the manner of raft's: a line is a command, what follows until an empty line is what it did.
#[test]
fn scripts() {
    for (name, script) in [
        ("failover.txt", include_str!("../testdata/failover.txt")),
        ("split_brain.txt", include_str!("../testdata/split_brain.txt")),
    ] {
        let replayed = replay(script);
        assert_eq!(
            replayed, script,
            "{name}; if the new behaviour is right, this is the new file:\n{replayed}"
        );
    }
}

/// Three servers A, B and C that speak to each other only when the script says so.
fn replay(script: &str) -> String {
    let ids = [("A", ME), ("B", PEER), ("C", THIRD)];
    let id = |name: &str| ids.iter().find(|(n, _)| *n == name).expect("a server of the script").1;
    let mut machines = std::collections::BTreeMap::new();
    let mut out = String::new();
    for block in script.split("\n\n") {
        let mut comments = block.lines().take_while(|line| line.starts_with('#')).peekable();
        let has_comment = comments.peek().is_some();
        let comment: Vec<&str> = comments.collect();
        let Some(command) = block.lines().find(|line| !line.starts_with('#')) else {
            continue;
        };
        let words: Vec<&str> = command.split(' ').collect();
        let mut lines = Vec::new();
        let run = |name: &str, machine: RoleMachine, event: Event, lines: &mut Vec<String>| {
            let (after, effects) = machine.step(&event);
            lines.push(format!("{name}: {}", said(&effects)));
            lines.push(format!("{name} is {}@{}", after.role(), after.epoch()));
            after
        };
        match words[..] {
            [name, "starts", role, number] => {
                let (server, number) = (id(name), number.parse().unwrap());
                let role = Role::parse(role).unwrap();
                let evidence = (role == Primary).then_some(AcceptedPrimary {
                    epoch: epoch(number),
                    server,
                });
                let fresh = Standing {
                    server,
                    role,
                    epoch: epoch(number),
                    accepted: evidence,
                };
                machines.insert(name, RoleMachine::new(fresh));
                lines.push(format!("{name} is {role}@{number}"));
            }
            [name, "assumes", role, number] => {
                let event = Event::Assume {
                    role: role.to_owned(),
                    epoch: number.parse().unwrap(),
                };
                let after = run(name, machines[name].clone(), event, &mut lines);
                machines.insert(name, after);
            }
            [name, "preflight" | "drain", outcome] => {
                let good = outcome == "ok";
                let event = match words[1] {
                    "drain" => Event::DrainEnded { caught_up: good },
                    _ => Event::PreflightEnded { confirmed: good },
                };
                let after = run(name, machines[name].clone(), event, &mut lines);
                machines.insert(name, after);
            }
            [from, "pushes", "to", to] if machines[from].role() != Primary => {
                lines.push(format!("{from}: not a primary, nothing reaches {to}"));
            }
            [from, "pushes", "to", to] => {
                let (role, number) = (machines[from].role(), machines[from].epoch());
                let event = Event::Request {
                    peer: id(from),
                    role: Some(role),
                    epoch: Some(number),
                };
                let receiver = run(to, machines[to].clone(), event, &mut lines);
                let answer = Response::Member {
                    peer: id(to),
                    role: receiver.role(),
                    epoch: receiver.epoch(),
                    accepted: receiver.standing().accepted,
                };
                machines.insert(to, receiver);
                let sender = run(from, machines[from].clone(), Event::Response(answer), &mut lines);
                machines.insert(from, sender);
            }
            _ => panic!("no such command: {command}"),
        }
        if has_comment {
            out.push_str(&comment.join("\n"));
            out.push('\n');
        }
        out.push_str(command);
        out.push('\n');
        out.push_str(&lines.join("\n"));
        out.push_str("\n\n");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// With the names of the script.
fn said(effects: &[Effect]) -> String {
    match brief(effects)
        .replace(":me", ":A")
        .replace(":peer", ":B")
        .replace(":third", ":C")
    {
        nothing if nothing.is_empty() => "-".to_owned(),
        something => something,
    }
}

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
                    Publish { epoch, .. } => { prop_assert!(*epoch >= visible); visible = *epoch; }
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
                    Publish { role, epoch } => prop_assert_eq!((*role, *epoch), stored),
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
