//! Every check fails on a history that breaks its promise, and passes on one that keeps it.

mod always;
mod keys;
mod roles;
mod storage;

use super::*;
use crate::history::{Acknowledged, Content, FinalState, Invoke, Level, Origin, Outcome, Read, Root, What, Write};
use crate::workload::bank::Transfer;

/// A history, built a line at a time; each event a millisecond after the one before.
#[derive(Default)]
struct Story(History);

impl Story {
    fn event(mut self, node: &str, what: What) -> Story {
        let at = (self.0.events.len() as u64 + 1) * 1_000;
        self.0.events.push(Event {
            at,
            node: node.to_owned(),
            what,
        });
        self
    }

    fn role(self, node: &str, role: Role, epoch: u64) -> Story {
        self.event(node, What::Role { role, epoch })
    }

    /// A root named by a letter, of the workloads' database.
    fn root(self, node: &str, own: bool, epoch: u64, previous: &str, root: &str) -> Story {
        let earlier = |event: &&Event| event.node == node && matches!(event.what, What::Root(_));
        let what = Root {
            database: "postgres".into(),
            sequence: self.0.events.iter().filter(earlier).count() as u64 + 1,
            root: root.into(),
            previous: previous.into(),
            epoch,
            origin: if own { Origin::Committed } else { Origin::Received },
        };
        self.event(node, What::Root(what))
    }

    /// `by` has the newest of this name among the primary's roots.
    fn acknowledged(self, primary: &str, by: &str, name: &str) -> Story {
        let newest = self.0.events.iter().rev().find_map(|event| match &event.what {
            What::Root(root) if event.node == primary && root.root == name => Some(root.sequence),
            _ => None,
        });
        let what = Acknowledged {
            by: by.into(),
            database: "postgres".into(),
            sequence: newest.expect("the primary has that root"),
            root: name.into(),
        };
        self.event(primary, What::Acknowledged(what))
    }

    fn append(self, op: u64, server: &str, key: i64, value: i64, outcome: Option<Outcome>) -> Story {
        let writes = vec![Write {
            table: "append".into(),
            key,
            value,
        }];
        let invoke = Invoke {
            op,
            turn: 1,
            workload: "append".into(),
            server: server.into(),
            action: "append",
            writes,
            asked: Vec::new(),
            only_reads: false,
        };
        let story = self.event("append.1", What::Invoke(invoke));
        match outcome {
            Some(outcome) => story.event("append.1", What::Return { op, outcome }),
            None => story,
        }
    }

    fn read(self, op: u64, table: &str, key: i64, values: &[i64]) -> Story {
        let invoke = Invoke {
            op,
            turn: 1,
            workload: "audit".into(),
            server: "a".into(),
            action: "audit",
            writes: Vec::new(),
            asked: Vec::new(),
            only_reads: false,
        };
        let reads = vec![Read {
            table: table.into(),
            key,
            values: values.to_vec(),
        }];
        self.event("audit.1", What::Invoke(invoke)).event(
            "audit.1",
            What::Return {
                op,
                outcome: Outcome::Ok { reads },
            },
        )
    }

    fn end(mut self, end: FinalState) -> Story {
        self.0.end = end;
        self
    }
}

fn ok() -> Option<Outcome> {
    Some(Outcome::Ok { reads: Vec::new() })
}

fn failed(code: &str) -> Option<Outcome> {
    Some(Outcome::Failed { sqlstate: code.into() })
}

/// One server that holds `values` under key 1 of `append`.
fn holding(server: &str, values: &[i64], root: &str) -> FinalState {
    let content: Content = [("append".to_owned(), [(1, values.to_vec())].into())].into();
    FinalState {
        content: [(server.to_owned(), content)].into(),
        roots: [((server.to_owned(), "postgres".to_owned()), root.to_owned())].into(),
        primary: Some(server.to_owned()),
        writes_again_after: Some(1_000_000),
        equal_after: Some(2_000_000),
        ..FinalState::default()
    }
}

fn judge(check: &'static Check, arg: Arg, story: &Story) -> Option<Violation> {
    CheckUse { name: check.name, arg }.judge(&story.0)
}

#[track_caller]
fn holds(check: &'static Check, arg: Arg, story: &Story) {
    assert_eq!(judge(check, arg, story), None);
}

#[track_caller]
fn breaks(check: &'static Check, arg: Arg, story: &Story, part: &str) {
    let violation = judge(check, arg, story).expect("the planted violation was missed");
    assert!(violation.what.contains(part), "{violation}");
}

#[test]
fn one_writable_primary_per_epoch() {
    let check = &cluster::ONE_WRITABLE_PRIMARY_PER_EPOCH;
    let good = || {
        let first = Story::default()
            .root("a", true, 1, "", "r1")
            .root("b", false, 1, "", "r1");
        first.root("b", true, 2, "r1", "r2")
    };
    holds(check, Arg::None, &good());
    breaks(
        check,
        Arg::None,
        &good().root("a", true, 2, "r1", "x"),
        "in which b commits",
    );
    // What a server commits before it has said its role is the content every new server starts with.
    let booting = || good().event("a", What::Start).root("a", true, 2, "r1", "x");
    holds(check, Arg::None, &booting());
    let serving = booting().role("a", Role::Primary, 2).root("a", true, 2, "x", "y");
    breaks(check, Arg::None, &serving, "in which b commits");
}

#[test]
fn epoch_monotone() {
    let check = &cluster::EPOCH_MONOTONE;
    let good = Story::default()
        .role("a", Role::Primary, 1)
        .role("a", Role::Standby, 2)
        .role("b", Role::Primary, 1);
    holds(check, Arg::None, &good);
    let back = good.event("a", What::Start).event(
        "a",
        What::Ready {
            role: Some((Role::Primary, 1)),
        },
    );
    breaks(check, Arg::None, &back, "from epoch 2 to 1");
}

#[test]
fn no_acknowledged_write_in_role() {
    let check = &cluster::NO_ACKNOWLEDGED_WRITE_IN_ROLE;
    let arg = || Arg::Word("detected_broken_config");
    let good = Story::default()
        .root("a", true, 1, "", "r1")
        .role("a", Role::DetectedBrokenConfig, 1)
        .root("b", true, 1, "r1", "r2");
    holds(check, arg(), &good);
    breaks(
        check,
        arg(),
        &good.root("a", true, 1, "r1", "r2"),
        "while detected_broken_config",
    );
}

#[test]
fn role_survives_restart() {
    let check = &cluster::ROLE_SURVIVES_RESTART;
    let start = || {
        Story::default()
            .event("a", What::Start)
            .role("a", Role::Primary, 1)
            .role("a", Role::Standby, 2)
            .event("a", What::Start)
    };
    holds(check, Arg::None, &start().role("a", Role::Standby, 2));
    breaks(
        check,
        Arg::None,
        &start().role("a", Role::Primary, 1),
        "came back as primary@1",
    );
    holds(
        check,
        Arg::Word("detected_broken_config"),
        &start().role("a", Role::Primary, 1),
    );
}

#[test]
fn standby_is_prefix() {
    let check = &lineage::STANDBY_IS_PREFIX;
    let primary = || {
        Story::default()
            .root("a", true, 1, "", "r1")
            .root("a", true, 1, "r1", "r2")
            .root("a", true, 1, "r2", "r3")
    };
    holds(
        check,
        Arg::None,
        &primary().root("b", false, 1, "", "r1").root("b", false, 1, "r1", "r3"),
    );
    breaks(
        check,
        Arg::None,
        &primary().root("b", false, 1, "", "x"),
        "no primary had committed",
    );
    breaks(
        check,
        Arg::None,
        &primary().root("b", false, 1, "", "r3").root("b", false, 1, "r3", "r2"),
        "went back",
    );
    // A power cut takes what was not acknowledged, and no more.
    let cut = |acknowledged: &str| {
        let both = primary().root("b", false, 1, "", "r1").acknowledged("a", "b", "r1");
        let both = both
            .root("b", false, 1, "r1", "r2")
            .acknowledged("a", "b", acknowledged);
        both.event("b", What::Start).root("b", false, 1, "r1", "r2")
    };
    holds(check, Arg::None, &cut("r1"));
    breaks(check, Arg::None, &cut("r2"), "went back");
    let promoted = primary().root("b", false, 1, "", "r2").root("b", true, 2, "r2", "s3");
    holds(
        check,
        Arg::None,
        &primary()
            .root("b", false, 1, "", "r2")
            .root("b", true, 2, "r2", "s3")
            .root("a", false, 2, "r3", "s3"),
    );
    let stale = promoted.root("c", false, 2, "r2", "s3").root("c", false, 1, "s3", "r3");
    breaks(check, Arg::None, &stale, "after one of epoch 2");
    // A primary commits to what it has, unless a power cut took it.
    let gap = primary().root("a", true, 1, "r2", "r4");
    breaks(check, Arg::None, &gap, "its newest was r3");
    let cut_short = primary().event("a", What::Start).root("a", true, 1, "r2", "r4");
    holds(check, Arg::None, &cut_short);
    // Who is led back to what a primary held when it became one has done nothing wrong, though two became primary.
    let followed = |others: &[&str]| {
        let both = primary().root("b", false, 1, "", "r2").root("c", false, 1, "", "r3");
        let both = others
            .iter()
            .fold(both, |story, name| story.role(name, Role::Primary, 2));
        both.root("c", false, 1, "r3", "r2")
    };
    holds(check, Arg::None, &followed(&["b"]));
    holds(check, Arg::None, &followed(&["a", "b"]));
    breaks(check, Arg::None, &followed(&["a"]), "went back");
}

#[test]
fn lossless_failover() {
    let check = &lineage::LOSSLESS_FAILOVER;
    let start = || {
        let roles = Story::default().role("a", Role::Primary, 1).role("b", Role::Standby, 1);
        roles
            .root("a", true, 1, "", "r1")
            .root("b", false, 1, "", "r1")
            .root("a", true, 1, "r1", "r2")
    };
    holds(
        check,
        Arg::None,
        &start().root("b", false, 1, "r1", "r2").role("b", Role::Primary, 2),
    );
    breaks(
        check,
        Arg::None,
        &start().role("b", Role::Primary, 2),
        "holding r1 of postgres; the last commit was r2",
    );
}

#[test]
fn durability_owes_every_acknowledged_write() {
    let check = &writes::DURABILITY;
    let story = || {
        Story::default()
            .append(1, "a", 1, 7, ok())
            .append(2, "a", 1, 8, failed("40001"))
            .append(3, "a", 1, 9, None)
    };
    holds(check, Arg::Word("graceful"), &story().end(holding("a", &[7], "r1")));
    holds(check, Arg::Word("local"), &story().end(holding("a", &[7, 9], "r1")));
    breaks(
        check,
        Arg::Word("graceful"),
        &story().end(holding("a", &[9], "r1")),
        "value 7 acknowledged at 0.002000s by a is absent on a",
    );
    breaks(
        check,
        Arg::Word("local"),
        &story().end(FinalState::default()),
        "no server could be asked",
    );
}

#[test]
fn durability_replicated_owes_what_the_survivor_acknowledged() {
    let check = &writes::DURABILITY;
    // a commits r1 with value 7 and r2 with value 8; b acknowledged r1 only and goes on from there.
    let story = || {
        let a = Story::default().root("a", true, 1, "", "r1").append(1, "a", 1, 7, ok());
        let a = a
            .root("b", false, 1, "", "r1")
            .acknowledged("a", "b", "r1")
            .root("a", true, 1, "r1", "r2")
            .append(2, "a", 1, 8, ok());
        a.root("b", true, 2, "r1", "s2").append(3, "b", 1, 9, ok())
    };
    let arg = || Arg::Word("replicated");
    holds(check, arg(), &story().end(holding("b", &[7, 9], "s2")));
    breaks(check, arg(), &story().end(holding("b", &[9], "s2")), "value 7");
    breaks(check, arg(), &story().end(holding("b", &[7], "s2")), "value 9");
    breaks(
        check,
        Arg::Word("graceful"),
        &story().end(holding("b", &[7, 9], "s2")),
        "value 8",
    );
    // Back to a: it follows b, which never had value 8, and is promoted again.
    let back = || {
        let a = story().root("a", false, 2, "r2", "s2").acknowledged("b", "a", "s2");
        a.root("a", true, 3, "s2", "t3")
    };
    holds(check, arg(), &back().end(holding("a", &[7, 9], "t3")));
    breaks(check, arg(), &back().end(holding("a", &[7], "t3")), "value 9");
}

/// The line of roots that survives does not contain the root: that is what is wrong, and no excuse.
#[test]
fn durability_replicated_finds_a_standby_that_lost_what_it_had_acknowledged() {
    let check = &writes::DURABILITY;
    let story = |acknowledged: bool| {
        let story = Story::default()
            .root("a", true, 1, "", "r1")
            .root("b", false, 1, "", "r1")
            .acknowledged("a", "b", "r1")
            .root("a", true, 1, "r1", "r2")
            .append(1, "a", 1, 7, ok())
            .root("b", false, 1, "r1", "r2");
        let story = match acknowledged {
            true => story.acknowledged("a", "b", "r2"),
            false => story,
        };
        let down = What::Down {
            how: "without power".into(),
        };
        // b comes back with r1 and is promoted.
        story.event("b", down).root("b", true, 2, "r1", "s2")
    };
    let arg = || Arg::Word("replicated");
    holds(check, arg(), &story(false).end(holding("b", &[], "s2")));
    breaks(check, arg(), &story(true).end(holding("b", &[], "s2")), "value 7");
    // An older root of the primary does not hold what came later.
    let older = || {
        let story = Story::default().root("a", true, 1, "", "r1");
        let story = story.root("a", true, 1, "r1", "r2").append(1, "a", 1, 7, ok());
        story.acknowledged("a", "b", "r1").root("b", true, 2, "r1", "s2")
    };
    holds(check, arg(), &older().end(holding("b", &[], "s2")));
}

#[test]
fn no_aborted_read() {
    let check = &writes::NO_ABORTED_READ;
    let story = || {
        Story::default()
            .append(1, "a", 1, 7, ok())
            .append(2, "a", 1, 8, failed("40001"))
    };
    holds(
        check,
        Arg::None,
        &story().read(3, "append", 1, &[7]).end(holding("a", &[7], "r")),
    );
    breaks(
        check,
        Arg::None,
        &story().read(3, "append", 1, &[7, 8]),
        "whose transaction failed",
    );
    breaks(
        check,
        Arg::None,
        &story().read(3, "append", 1, &[7, 7]),
        "value 7 twice",
    );
    breaks(
        check,
        Arg::None,
        &story().end(holding("a", &[7, 8], "r")),
        "a at the end saw",
    );
}

#[test]
fn bank_total() {
    let check = &bank::BANK_TOTAL;
    let end = |balances: &[i64]| {
        let accounts = balances
            .iter()
            .enumerate()
            .map(|(id, balance)| (id as i64, vec![*balance]))
            .collect();
        // The second has paid 50 to the first.
        let paid = Transfer {
            source: 1,
            target: 0,
            amount: 50,
        };
        let lines = [(1_000_001, vec![paid.number()])].into_iter();
        let ledger = lines.filter(|_| !balances.is_empty()).collect();
        let content: Content = [
            ("bank_accounts".to_owned(), accounts),
            ("bank_ledger".to_owned(), ledger),
        ]
        .into();
        FinalState {
            content: [("a".to_owned(), content)].into(),
            ..FinalState::default()
        }
    };
    holds(
        check,
        Arg::None,
        &Story::default()
            .read(1, "bank_total", 0, &[2, 200])
            .end(end(&[150, 50])),
    );
    breaks(
        check,
        Arg::None,
        &Story::default()
            .read(1, "bank_total", 0, &[2, 190])
            .end(end(&[150, 50])),
        "saw [2, 190]",
    );
    breaks(
        check,
        Arg::None,
        &Story::default()
            .read(1, "bank_total", 0, &[1, 200])
            .end(end(&[150, 50])),
        "saw [1, 200]",
    );
    breaks(check, Arg::None, &Story::default().end(end(&[150, 51])), "holds 201");
    // The making of the accounts may be given up with the primary that had them, if somebody promotes another.
    let gone = |story: Story, total: i64| story.read(1, "bank_total", 0, &[2, total]).end(end(&[]));
    let given_up = |total: i64| {
        let called = What::RoleCall {
            role: Some(Role::Primary),
        };
        gone(Story::default().event("operator", called), total)
    };
    holds(check, Arg::None, &given_up(200));
    breaks(check, Arg::None, &gone(Story::default(), 200), "saw [2, 200]");
    breaks(check, Arg::None, &given_up(190), "saw [2, 190]");
}

/// If this fails, half a transfer goes unnoticed as long as the other half of another makes up for it.
#[test]
fn bank_total_recomputes_every_account_from_the_ledger() {
    let end = |balances: &[(i64, i64)], ledger: &[(i64, i64, i64)]| {
        let accounts = balances.iter().map(|(id, balance)| (*id, vec![*balance])).collect();
        let line = |(source, target, amount): &(i64, i64, i64)| Transfer {
            source: *source,
            target: *target,
            amount: *amount,
        };
        let lines = (1_000_001..).zip(ledger.iter().map(|moved| vec![line(moved).number()]));
        let content: Content = [
            ("bank_accounts".to_owned(), accounts),
            ("bank_ledger".to_owned(), lines.collect()),
        ]
        .into();
        let sound: Content = [("bank_accounts".to_owned(), (0..3).map(|id| (id, vec![100])).collect())].into();
        Story::default().end(FinalState {
            content: [("a".to_owned(), sound), ("b".to_owned(), content)].into(),
            primary: Some("a".into()),
            ..FinalState::default()
        })
    };
    let check = &bank::BANK_TOTAL;
    let moved = [(0, 1, 5), (2, 1, 5)];
    holds(check, Arg::None, &end(&[(0, 95), (1, 110), (2, 95)], &moved));
    // Of each transfer one half is there, and the total is right.
    breaks(
        check,
        Arg::None,
        &end(&[(0, 95), (1, 105), (2, 100)], &moved),
        "bank on b: account 1 holds [105] at the end, and with the ledger's +10 it should be 110",
    );
    breaks(
        check,
        Arg::None,
        &end(&[(0, 95), (1, 110), (2, 95)], &moved[..1]),
        "account 1 holds [110] at the end, and with the ledger's +5 it should be 105",
    );
    breaks(
        check,
        Arg::None,
        &end(&[(0, 100), (1, 100), (2, 100)], &[(0, 7, 5)]),
        "line 1000001 of the ledger is about account 7, which is not there",
    );
}

#[test]
fn counter_total() {
    let check = &writes::COUNTER_TOTAL;
    let increment = |story: Story, op: u64, outcome: Option<Outcome>| {
        let invoke = Invoke {
            op,
            turn: 1,
            workload: "counter".into(),
            server: "a".into(),
            action: "increment",
            writes: Vec::new(),
            asked: Vec::new(),
            only_reads: false,
        };
        let story = story.event("counter.1", What::Invoke(invoke));
        match outcome {
            Some(outcome) => story.event("counter.1", What::Return { op, outcome }),
            None => story,
        }
    };
    let end = |n: i64| {
        let content: Content = [("counter".to_owned(), [(0, vec![n])].into())].into();
        FinalState {
            content: [("a".to_owned(), content)].into(),
            primary: Some("a".into()),
            ..FinalState::default()
        }
    };
    // Two acknowledged, one failed, one unknown: two or three.
    for (found, good) in [(1, false), (2, true), (3, true), (4, false)] {
        let mut story = Story::default();
        for (op, outcome) in [(1, ok()), (2, ok()), (3, failed("40001")), (4, None)] {
            story = increment(story, op, outcome);
        }
        assert_eq!(
            judge(check, Arg::None, &story.end(end(found))).is_none(),
            good,
            "{found}"
        );
    }
}

#[test]
fn roots_equal_and_liveness() {
    let good = || Story::default().append(1, "a", 1, 7, ok()).end(holding("a", &[7], "r"));
    holds(&liveness::ROOTS_EQUAL, Arg::None, &good());
    breaks(
        &liveness::ROOTS_EQUAL,
        Arg::Time(1_000_000),
        &good(),
        "only 2s after quiet and the end of the clients, 1s is allowed",
    );
    breaks(
        &liveness::ROOTS_EQUAL,
        Arg::None,
        &Story::default(),
        "not the roots became equal",
    );
    holds(&liveness::LIVENESS, Arg::None, &good());
    breaks(
        &liveness::LIVENESS,
        Arg::None,
        &Story::default(),
        "not a write succeeded",
    );
    let idle = |tries: u64| {
        let tried = (0..tries).fold(Story::default(), |story, op| {
            story.append(op, "a", 1, 7, failed("25006"))
        });
        tried.end(holding("a", &[], "r"))
    };
    holds(&liveness::LIVENESS, Arg::None, &idle(4));
    breaks(
        &liveness::LIVENESS,
        Arg::None,
        &idle(5),
        "tried 5 times and never got a write through",
    );
    // Those count too whose writes no other check owes anything for.
    let mut counters = idle(5);
    for event in &mut counters.0.events {
        if let What::Invoke(invoke) = &mut event.what {
            invoke.writes.clear();
        }
    }
    breaks(&liveness::LIVENESS, Arg::None, &counters, "never got a write through");
    for event in &mut counters.0.events {
        if let What::Invoke(invoke) = &mut event.what {
            invoke.only_reads = true;
        }
    }
    holds(&liveness::LIVENESS, Arg::None, &counters);
    let mut stuck = good();
    stuck.0.end.stuck.push("watch".to_owned());
    breaks(&liveness::LIVENESS, Arg::None, &stuck, "watch gets nothing done");
    let mut unreadable = good();
    unreadable.0.end.unreadable.insert("b".to_owned(), "58030".to_owned());
    breaks(
        &liveness::ROOTS_EQUAL,
        Arg::None,
        &unreadable,
        "b cannot be read at the end: 58030",
    );
}

#[test]
fn clean_logs() {
    let check = &logs::CLEAN_LOGS;
    let log = |level, message: &str| What::Log {
        level,
        message: message.to_owned(),
        fields: String::new(),
    };
    let warned = || Story::default().event("a", log(Level::Warn, "push failed"));
    holds(check, Arg::None, &warned());
    breaks(
        check,
        Arg::None,
        &warned().event("a", log(Level::Error, "disk on fire")),
        "disk on fire",
    );
    holds(
        check,
        Arg::Texts(vec!["fire".into()]),
        &warned().event("a", log(Level::Error, "disk on fire")),
    );
    breaks(
        check,
        Arg::Texts(vec!["fire".into()]),
        &warned().event("a", What::Panic { message: "fire".into() }),
        "panicked",
    );
}

fn vanished() -> What {
    What::Disconnected {
        server: "everybody".into(),
        why: crate::history::VANISHED.into(),
    }
}

#[test]
fn sometimes_are_seen_when_they_happen_and_only_then() {
    let log = Story::default;
    let step = |role: Role| What::RoleCall { role: Some(role) };
    let cases: Vec<(&'static Check, Story, Story)> = vec![
        (
            &sometimes::COMMIT_IN_FLIGHT_AT_DEMOTE,
            log().append(1, "a", 1, 7, None).event("operator", step(Role::Standby)),
            log().append(1, "a", 1, 7, ok()).event("operator", step(Role::Standby)),
        ),
        (
            &sometimes::CLIENT_GOT_57P01_AND_RECONNECTED,
            log()
                .append(1, "a", 1, 7, failed("57P01"))
                .event("append.1", What::Connected { server: "b".into() }),
            log()
                .append(1, "a", 1, 7, failed("57P01"))
                .event("append.2", What::Connected { server: "b".into() }),
        ),
        (
            &sometimes::UNKNOWN_OUTCOME,
            log().append(1, "a", 1, 7, Some(Outcome::Unknown { why: "lost".into() })),
            log().append(1, "a", 1, 7, ok()),
        ),
        (
            &sometimes::CLIENT_VANISHED_IN_OPERATION,
            log().append(1, "a", 1, 7, None).event("append.1", vanished()),
            log().append(1, "a", 1, 7, ok()).event("append.1", vanished()),
        ),
        (
            &sometimes::CONFLICT_40001,
            log().append(1, "a", 1, 7, failed("40001")),
            log().append(1, "a", 1, 7, failed("25006")),
        ),
        (
            &sometimes::REFUSED_53100,
            log().append(1, "a", 1, 7, failed("53100")),
            log().append(1, "a", 1, 7, failed("58030")),
        ),
        (
            &sometimes::REFUSED_58030,
            log().append(1, "a", 1, 7, failed("58030")),
            log().append(1, "a", 1, 7, failed("53100")),
        ),
        (
            &sometimes::STALE_PRIMARY_ACKNOWLEDGED_AFTER_PROMOTE,
            log()
                .role("a", Role::Primary, 1)
                .role("b", Role::Primary, 2)
                .root("a", true, 1, "", "r"),
            log()
                .role("a", Role::Primary, 1)
                .root("a", true, 1, "", "r")
                .role("b", Role::Primary, 2),
        ),
        (
            &sometimes::RESTART_WHILE_BROKEN,
            log().role("a", Role::DetectedBrokenConfig, 3).event("a", What::Start),
            log().role("a", Role::DetectedBrokenConfig, 3).event("b", What::Start),
        ),
    ];
    for (check, happened, not) in &cases {
        holds(check, Arg::None, happened);
        breaks(check, Arg::None, not, "did not happen");
    }
    let mut story = log().event("b", What::Down { how: "killed".into() });
    for _ in 0..10 {
        story = story.root("a", true, 1, "", "r");
    }
    holds(
        &sometimes::BACKLOG_CAUGHT_UP,
        Arg::None,
        &story.event("b", What::Start).root("b", false, 1, "", "r"),
    );
}

#[test]
fn names_are_unique_and_every_check_is_described() {
    let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CHECKS.len());
    assert!(CHECKS.iter().all(|check| check.about.ends_with('.')));
}
