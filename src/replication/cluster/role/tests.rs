//! The tables of spec/cluster.md 2.4 to 2.6 row by row, stories as scripts, and properties over random histories.

use super::*;
use Effect::*;

mod model;
mod properties;
mod scripts;

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
        Enter { role, epoch } => format!("Enter({role}@{epoch})"),
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
        "Store(standby@12), Enter(standby@12), Succeed",
    );
    row(
        "primary -> primary",
        assume(&machine(Primary, 10), "primary", 15),
        standing(Primary, 15),
        "Store(primary@15 15:me), Enter(primary@15), Succeed",
    );
}

#[test]
fn c_056_and_c_063_promotion_stores_before_anybody_writes() {
    for role in [Standby, BROKEN] {
        row(
            "promotion",
            assume(&machine(role, 12), "primary", 13),
            standing(Primary, 13),
            "Kill(caller), AwaitWriters, Store(primary@13 13:me), Enter(primary@13), ResetLinks, OpenWriters, \
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
        "Kill(caller), Store(standby@11), Enter(standby@11), ResetLinks, TaintCaller, Succeed",
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
        "Store!(standby@11 10:me), Enter(standby@11), ResetLinks, TaintCaller, Succeed",
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
                                 Enter(standby@11), ResetLinks";

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
         Enter(detected_broken_config@10), ResetLinks, Refuse(IsBroken { epoch: Epoch(10) })",
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
         Enter(detected_broken_config@10), ResetLinks, Refuse(IsBroken { epoch: Epoch(10) })",
    );
    row(
        "I6",
        request(&machine(Standby, 10), PEER, Primary, 11),
        after_primary,
        "Store(standby@11 11:peer), Enter(standby@11), Serve",
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
             Enter(detected_broken_config@{number}), ResetLinks"
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
        "Log(ForcedToStandby), CloseWriters, Kill(-), AwaitWriters, Store!(standby@11 11:third), Enter(standby@11), \
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
        "Store!(standby@11 11:peer), Enter(standby@11), ResetLinks"
    );
    assert_eq!(after, RoleMachine::new(*wanted));
    assert_eq!(
        after.step(&Event::RetryStore),
        (after.clone(), vec![]),
        "nothing is left to retry"
    );
}

/// A late report of the drain must not open the gate again.
#[test]
fn a_demotion_that_could_not_be_stored_is_over() {
    let (asked, _) = assume(&machine(Primary, 10), "standby", 11);
    let (draining, _) = asked.step(&Event::PreflightEnded { confirmed: true });
    let (stuck, _) = draining.step(&Event::StoreFailed {
        wanted: standing(Standby, 11),
    });
    let (after, effects) = stuck.step(&Event::DrainEnded { caught_up: false });
    assert_eq!(effects, [Fail(AssumeError::Superseded { epoch: epoch(10) })]);
    assert!(after.is_stuck());
}
