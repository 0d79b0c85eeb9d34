//! Planted violations for the checks of keys, of what comes back, and of what is there when all is over.

use std::collections::BTreeMap;

use super::{Story, breaks, failed, holds, ok};
use crate::check::{Arg, cluster, ends, holders, keys, lineage, writes};
use crate::history::{Content, FinalState, Invoke, Outcome, Read, WIPED, What, Write, system_store};
use crate::scenario::cluster::Role;
use crate::workload::ddl::{CREATE_DATABASE, DROP, DROP_DATABASE};

fn insert(story: Story, op: u64, key: i64, value: i64, outcome: Option<Outcome>) -> Story {
    let node = format!("unique.{op}");
    let invoke = Invoke {
        op,
        turn: 1,
        workload: "unique".into(),
        server: "a".into(),
        action: "insert",
        writes: vec![Write {
            table: "unique".into(),
            key,
            value,
        }],
        asked: Vec::new(),
        only_reads: false,
    };
    let story = story.event(&node, What::Invoke(invoke));
    match outcome {
        Some(outcome) => story.event(&node, What::Return { op, outcome }),
        None => story,
    }
}

fn content(table: &str, rows: &[(i64, &[i64])]) -> Content {
    let rows = rows.iter().map(|(key, values)| (*key, values.to_vec())).collect();
    [(table.to_owned(), rows)].into()
}

fn end(content: Content) -> FinalState {
    FinalState {
        content: [("a".to_owned(), content)].into(),
        primary: Some("a".into()),
        ..FinalState::default()
    }
}

#[test]
fn unique_keys() {
    let check = &keys::UNIQUE_KEYS;
    let story = || {
        let story = insert(Story::default(), 1, 7, 71, ok());
        insert(story, 2, 7, 72, failed("23505"))
    };
    holds(check, Arg::None, &story().end(end(content("unique", &[(7, &[71])]))));
    breaks(
        check,
        Arg::None,
        &insert(story(), 3, 7, 73, ok()),
        "unique, key 7: the insert of unique.3 was acknowledged, and that of unique.1",
    );
    breaks(
        check,
        Arg::None,
        &story().end(end(content("unique", &[(7, &[72])]))),
        "unique.1 inserted 71, and a holds Some([72])",
    );
    breaks(check, Arg::None, &story().end(end(Content::new())), "holds None");
}

#[test]
fn whole_values() {
    let check = &keys::WHOLE_VALUES;
    holds(check, Arg::None, &Story::default().read(1, "large_whole", 5, &[1]));
    breaks(
        check,
        Arg::None,
        &Story::default().read(1, "large_whole", 5, &[0]),
        "the value under 5",
    );
}

#[test]
fn catalog_matches() {
    let check = &keys::CATALOG_MATCHES;
    let looked = |journal: &[i64], catalog: &[i64]| {
        let invoke = Invoke {
            op: 1,
            turn: 1,
            workload: "ddl".into(),
            server: "a".into(),
            action: "look",
            writes: Vec::new(),
            asked: Vec::new(),
            only_reads: false,
        };
        let read = |table: &str, values: &[i64]| Read {
            table: table.into(),
            key: 0,
            values: values.to_vec(),
        };
        let reads = vec![read("ddl_seen", journal), read("ddl_seen_catalog", catalog)];
        Story::default().event("ddl.1", What::Invoke(invoke)).event(
            "ddl.1",
            What::Return {
                op: 1,
                outcome: Outcome::Ok { reads },
            },
        )
    };
    holds(check, Arg::None, &looked(&[1, 2], &[1, 2]));
    breaks(check, Arg::None, &looked(&[1, 2], &[1]), "saw the tables [1]");
    let both = |journal: &[(i64, &[i64])], catalog: &[(i64, &[i64])]| {
        let mut all = content("ddl", journal);
        all.extend(content("ddl_catalog", catalog));
        Story::default().end(end(all))
    };
    holds(check, Arg::None, &both(&[(4, &[1])], &[(4, &[1])]));
    breaks(check, Arg::None, &both(&[(4, &[1])], &[]), "differ in [4]");
    breaks(check, Arg::None, &both(&[], &[(5, &[1])]), "differ in [5]");
}

/// An operation of the workload `ddl` on a table with a number.
fn define(story: Story, op: u64, server: &str, number: i64, drops: bool, outcome: Option<Outcome>) -> Story {
    let line = vec![Write {
        table: "ddl".into(),
        key: number,
        value: 1,
    }];
    match drops {
        true => define_by(story, op, server, (DROP, Vec::new(), line), outcome),
        false => define_by(story, op, server, ("create", line, Vec::new()), outcome),
    }
}

/// A client makes or drops a database.
fn database(story: Story, op: u64, server: &str, action: &'static str, outcome: Option<Outcome>) -> Story {
    let entry = vec![Write {
        table: "ddl_databases".into(),
        key: 5,
        value: 1,
    }];
    define_by(story, op, server, (action, Vec::new(), entry), outcome)
}

fn define_by(
    story: Story,
    op: u64,
    server: &str,
    (action, writes, asked): (&'static str, Vec<Write>, Vec<Write>),
    outcome: Option<Outcome>,
) -> Story {
    let invoke = Invoke {
        op,
        turn: 1,
        workload: "ddl".into(),
        server: server.into(),
        action,
        writes,
        asked,
        only_reads: false,
    };
    let story = story.event("ddl.1", What::Invoke(invoke));
    match outcome {
        Some(outcome) => story.event("ddl.1", What::Return { op, outcome }),
        None => story,
    }
}

/// If this fails, a table that was acknowledged may be gone together with its line of the journal, and one that was
/// dropped may come back with it.
#[test]
fn durability_owes_tables_that_were_acknowledged_and_not_dropped() {
    let check = &writes::DURABILITY;
    let ended = |story: Story, tables: &[i64]| {
        let rows: Vec<(i64, &[i64])> = tables.iter().map(|number| (*number, &[1][..])).collect();
        let mut all = content("ddl", &rows);
        all.extend(content("ddl_catalog", &rows));
        let story = story.end(end(all));
        holds(&keys::CATALOG_MATCHES, Arg::None, &story);
        story
    };
    let local = || Arg::Word("local");
    let made = || define(Story::default(), 1, "a", 5, false, ok());
    holds(check, local(), &ended(made(), &[5]));
    // Table and line are gone, so the catalog matches.
    breaks(
        check,
        local(),
        &ended(made(), &[]),
        "ddl, key 5, value 1 acknowledged at 0.002000s by a is absent on a",
    );
    let dropped = |outcome| define(made(), 2, "a", 5, true, outcome);
    holds(check, local(), &ended(dropped(ok()), &[]));
    breaks(
        check,
        local(),
        &ended(dropped(ok()), &[5]),
        "ddl, key 5, value 1 dropped at 0.004000s by a is still there on a",
    );
    // A drop of which nobody knows, or that never returned, may have happened; one that failed has not.
    for outcome in [Some(Outcome::Unknown { why: "lost".into() }), None] {
        holds(check, local(), &ended(dropped(outcome.clone()), &[]));
        holds(check, local(), &ended(dropped(outcome), &[5]));
    }
    breaks(check, local(), &ended(dropped(failed("40001")), &[]), "acknowledged at");
}

/// If this fails, a database whose making was acknowledged may be gone, or one that was dropped may be there.
#[test]
fn durability_owes_databases_that_were_acknowledged_and_not_dropped() {
    let check = &writes::DURABILITY;
    let local = || Arg::Word("local");
    let ended = |story: Story, is_there: bool| {
        let rows: &[(i64, &[i64])] = if is_there { &[(5, &[1])] } else { &[] };
        story.end(end(content("ddl_databases", rows)))
    };
    let made = |outcome| database(Story::default(), 1, "a", CREATE_DATABASE, outcome);
    holds(check, local(), &ended(made(ok()), true));
    breaks(
        check,
        local(),
        &ended(made(ok()), false),
        "ddl_databases, key 5, value 1 acknowledged",
    );
    holds(check, local(), &ended(made(None), false));
    let dropped = |outcome| database(made(ok()), 2, "a", DROP_DATABASE, outcome);
    holds(check, local(), &ended(dropped(ok()), false));
    breaks(check, local(), &ended(dropped(ok()), true), "dropped at");
    holds(check, local(), &ended(dropped(None), false));
    breaks(
        check,
        local(),
        &ended(dropped(failed("55006")), false),
        "acknowledged at",
    );
}

/// If this fails, a forced failover excuses databases that the survivor had.
#[test]
fn durability_replicated_owes_the_databases_that_the_survivor_acknowledged() {
    let check = &writes::DURABILITY;
    // The newest root is one of this database.
    let of = |mut story: Story, name: &str| {
        match &mut story.0.events.last_mut().expect("there is one").what {
            What::Root(root) => root.database = name.into(),
            What::Acknowledged(acknowledged) => acknowledged.database = name.into(),
            other => panic!("{other:?} is of no database"),
        }
        story
    };
    let story = |is_acknowledged: bool, has_come: bool| {
        let story = of(Story::default().root("a", true, 1, "", "r1"), &system_store());
        let mut story = database(story, 1, "a", CREATE_DATABASE, ok());
        if is_acknowledged {
            story = of(story.root("b", false, 1, "", "r1"), &system_store());
            story = of(story.acknowledged("a", "b", "r1"), &system_store());
        }
        if has_come {
            story = of(story.root("b", false, 1, "", "s1"), "ddl_d5");
        }
        story.end(FinalState {
            content: [("b".to_owned(), content("ddl_databases", &[]))].into(),
            primary: Some("b".into()),
            ..FinalState::default()
        })
    };
    let replicated = || Arg::Word("replicated");
    holds(check, replicated(), &story(false, true));
    holds(check, replicated(), &story(true, false));
    breaks(check, replicated(), &story(true, true), "acknowledged");
    assert_eq!(system_store(), "system", "as the log of a server calls it");
}

/// If this fails, a forced failover excuses more tables than were lost with the old primary, or fewer.
#[test]
fn durability_replicated_owes_the_tables_and_drops_that_the_survivor_acknowledged() {
    let check = &writes::DURABILITY;
    // a makes 5 with r1, which b acknowledged, makes 6 and drops 5 alone; b is promoted and makes 7.
    let story = |tables: &[i64]| {
        let story = define(Story::default().root("a", true, 1, "", "r1"), 1, "a", 5, false, ok());
        let story = story.root("b", false, 1, "", "r1").acknowledged("a", "b", "r1");
        let story = define(story.root("a", true, 1, "r1", "r2"), 2, "a", 6, false, ok());
        let story = define(story.root("a", true, 1, "r2", "r3"), 3, "a", 5, true, ok());
        let story = define(story.root("b", true, 2, "r1", "s2"), 4, "b", 7, false, ok());
        let rows: Vec<(i64, &[i64])> = tables.iter().map(|number| (*number, &[1][..])).collect();
        story.end(FinalState {
            content: [("b".to_owned(), content("ddl", &rows))].into(),
            primary: Some("b".into()),
            ..FinalState::default()
        })
    };
    let replicated = || Arg::Word("replicated");
    holds(check, replicated(), &story(&[5, 7]));
    breaks(check, replicated(), &story(&[5]), "key 7");
    breaks(check, Arg::Word("graceful"), &story(&[5, 7]), "key 6");
}

/// A reader of key 1 of `append` on a server.
fn look(story: Story, op: u64, server: &str, values: &[i64]) -> Story {
    let invoke = Invoke {
        op,
        turn: 1,
        workload: "append".into(),
        server: server.into(),
        action: "append",
        writes: Vec::new(),
        asked: Vec::new(),
        only_reads: false,
    };
    let reads = vec![Read {
        table: "append".into(),
        key: 1,
        values: values.to_vec(),
    }];
    let story = story.event("append.9", What::Invoke(invoke));
    story.event(
        "append.9",
        What::Return {
            op,
            outcome: Outcome::Ok { reads },
        },
    )
}

#[test]
fn no_resurrection() {
    let check = &keys::NO_RESURRECTION;
    let lost = || {
        let story = Story::default().role("a", Role::Primary, 1).role("b", Role::Standby, 1);
        let story = story.append(1, "a", 1, 10, ok()).role("b", Role::Primary, 2);
        look(story, 2, "b", &[])
    };
    let ended = |story: Story, values: &[i64]| {
        let held = content("append", &[(1, values)]);
        story.end(FinalState {
            content: [("b".to_owned(), held)].into(),
            primary: Some("b".into()),
            ..FinalState::default()
        })
    };
    holds(check, Arg::None, &ended(lost(), &[]));
    breaks(
        check,
        Arg::None,
        &ended(lost(), &[10]),
        "append, key 1, value 10 was acknowledged at",
    );
    breaks(check, Arg::None, &look(lost(), 3, "b", &[10]), "seen again by append.9");
    // Nor is one who is made primary at the next epoch and was never told.
    let promoted = lost().role("a", Role::Primary, 3);
    holds(check, Arg::None, &ended(look(promoted, 3, "a", &[10]), &[10]));
    // Two that an operator makes primary at the same epoch hold what each of them holds.
    let both = lost().role("a", Role::Primary, 2);
    holds(check, Arg::None, &look(look(both, 3, "a", &[10]), 4, "b", &[]));
    // The old primary, which still has it, is no news; and a reader that began before the acknowledgement is none either.
    holds(check, Arg::None, &look(lost(), 3, "a", &[10]));
    let early = look(Story::default().role("a", Role::Primary, 1), 2, "a", &[]);
    holds(check, Arg::None, &ended(early.append(1, "a", 1, 10, ok()), &[10]));
}

#[test]
fn damage_is_named() {
    let check = &ends::DAMAGE_IS_NAMED;
    let damaged = || Story::default().event("a", What::Damaged);
    let unreadable = |story: Story, error: &str| {
        story.end(FinalState {
            unreadable: BTreeMap::from([("a".to_owned(), error.to_owned())]),
            ..FinalState::default()
        })
    };
    let place = "XX001: a:/databases/shop/log-3.seg is damaged at offset 7: bad";
    holds(check, Arg::None, &unreadable(damaged(), place));
    for (story, error, part) in [
        (damaged(), "XX000: panicked", "its disk is damaged"),
        (damaged(), "XX001: a chunk is missing", "is not named"),
        (
            damaged(),
            "XX001: a:/databases/shop/log-3.seg is damaged: bad",
            "is not named",
        ),
        (Story::default(), place, "its disk is right"),
        (damaged().event("a", What::Mended), place, "its disk is right"),
    ] {
        breaks(check, Arg::None, &unreadable(story, error), part);
    }
    // A start that was misled may leave a database out until the next.
    let misled = Story::default().event("a", What::Start).event("a", What::Misread);
    holds(
        check,
        Arg::None,
        &unreadable(misled.event("a", What::Ready { role: None }), place),
    );
}

/// If this fails, two servers may refuse to start for good without a word of why.
#[test]
fn who_does_not_start_names_the_place_of_the_damage() {
    let check = &ends::DAMAGE_IS_NAMED;
    let damaged = || Story::default().event("a", What::Damaged);
    let not_started = |story: Story, error: &str| {
        story.end(FinalState {
            not_started: BTreeMap::from([("a".to_owned(), error.to_owned())]),
            ..FinalState::default()
        })
    };
    for error in [
        "a:/.understudy/system/log-00000001.seg is damaged at offset 40: bad, though it was synced",
        "a:/.understudy/system/MANIFEST is missing; restore it from a backup",
    ] {
        holds(check, Arg::None, &not_started(damaged(), error));
        breaks(
            check,
            Arg::None,
            &not_started(Story::default(), error),
            "its disk is right",
        );
    }
    for error in [
        "",
        "something is damaged",
        "b:/.understudy/system/log-00000001.seg is damaged at offset 40",
    ] {
        breaks(
            check,
            Arg::None,
            &not_started(damaged(), error),
            "the place of the damage is not named",
        );
    }
}

#[test]
fn fsck_and_bounded() {
    let fsck = |found: &[&str]| {
        let found = found.iter().map(|found| (*found).to_owned()).collect();
        Story::default().end(FinalState {
            fsck: BTreeMap::from([("a".to_owned(), found)]),
            ..FinalState::default()
        })
    };
    holds(&ends::FSCK, Arg::None, &fsck(&[]));
    breaks(
        &ends::FSCK,
        Arg::None,
        &fsck(&["shop: a chunk is missing"]),
        "the disk of a: shop",
    );
    let held = |connections: usize, memory: u64| {
        Story::default().end(FinalState {
            connections: BTreeMap::from([("b".to_owned(), connections)]),
            memory_peak: Some(memory),
            ..FinalState::default()
        })
    };
    holds(
        &ends::BOUNDED,
        Arg::None,
        &held(ends::CONNECTIONS_MAX, ends::MEMORY_MAX),
    );
    let left = |sessions: usize| {
        Story::default().end(FinalState {
            sessions: BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), sessions)]),
            ..FinalState::default()
        })
    };
    holds(&ends::BOUNDED, Arg::None, &left(0));
    breaks(
        &ends::BOUNDED,
        Arg::None,
        &left(2),
        "b has 2 sessions of clients that are gone",
    );
    breaks(
        &ends::BOUNDED,
        Arg::None,
        &held(ends::CONNECTIONS_MAX + 1, 0),
        "b holds 41 connections",
    );
    breaks(&ends::BOUNDED, Arg::None, &held(0, ends::MEMORY_MAX + 1), "512 MiB");
}

#[test]
fn a_server_that_lost_its_disk_starts_anew() {
    let wiped = |story: Story| story.event("b", What::Down { how: WIPED.into() });
    let killed = |story: Story| story.event("b", What::Down { how: "killed".into() });
    let before = || Story::default().role("b", Role::Standby, 3);
    let after = |story: Story| story.event("b", What::Start).role("b", Role::Standby, 1);
    for check in [&cluster::EPOCH_MONOTONE, &cluster::ROLE_SURVIVES_RESTART] {
        holds(check, Arg::None, &after(wiped(before())));
        breaks(check, Arg::None, &after(killed(before())), "3");
    }
    let received = || {
        let story = Story::default()
            .root("a", true, 1, "", "r1")
            .root("a", true, 1, "r1", "r2");
        let story = story.root("b", false, 1, "", "r1").root("b", false, 1, "r1", "r2");
        story.acknowledged("a", "b", "r2")
    };
    let again = |story: Story| story.event("b", What::Start).root("b", false, 1, "", "r1");
    holds(&lineage::STANDBY_IS_PREFIX, Arg::None, &again(wiped(received())));
    breaks(
        &lineage::STANDBY_IS_PREFIX,
        Arg::None,
        &again(killed(received())),
        "went back",
    );
}

#[test]
fn a_server_that_lost_its_disk_owes_nothing() {
    let story = || {
        let story = Story::default()
            .root("a", true, 1, "", "r1")
            .append(1, "a", 1, 10, ok());
        story
            .root("a", true, 1, "r1", "r2")
            .root("b", false, 1, "", "r2")
            .acknowledged("a", "b", "r2")
    };
    assert_eq!(holders::owed(&story().0, "b", "postgres"), [1]);
    let wiped = story().event("b", What::Down { how: WIPED.into() });
    assert_eq!(holders::owed(&wiped.0, "b", "postgres"), [0; 0]);
    assert_eq!(holders::owed(&wiped.0, "a", "postgres"), [1]);
}

#[test]
fn what_an_empty_server_begins_with_is_no_commit_of_a_primary() {
    let story = |starts: bool| {
        let story = Story::default().role("a", Role::Primary, 1).role("b", Role::Standby, 1);
        let story = story.root("a", true, 1, "", "r1");
        let story = if starts { story.event("b", What::Start) } else { story };
        let story = story.root("b", true, 0, "", "new").role("b", Role::Standby, 1);
        story.root("b", false, 1, "new", "r1").role("b", Role::Primary, 2)
    };
    holds(&lineage::LOSSLESS_FAILOVER, Arg::None, &story(true));
    breaks(
        &lineage::LOSSLESS_FAILOVER,
        Arg::None,
        &story(false),
        "the last commit was new",
    );
}

#[test]
fn who_has_gone_its_own_way_may_be_led_back() {
    let story = || {
        let story = Story::default()
            .root("a", true, 1, "", "r1")
            .root("a", true, 1, "r1", "r2");
        story.root("b", false, 1, "", "r1").root("b", false, 1, "r1", "r2")
    };
    // It gives its own way up when it becomes a standby, and not before.
    let own = || {
        let promoted = story().role("b", Role::Primary, 2);
        promoted.root("b", true, 2, "r2", "b3")
    };
    let given_up = own().role("b", Role::Standby, 3).root("b", false, 1, "b3", "r1");
    holds(&lineage::STANDBY_IS_PREFIX, Arg::None, &given_up);
    holds(&cluster::PRIMARIES_FOLLOW_NOBODY, Arg::None, &given_up);
    let primary = own().root("b", false, 1, "b3", "r1");
    breaks(&cluster::PRIMARIES_FOLLOW_NOBODY, Arg::None, &primary, "while primary");
    // Or to what another held that was made primary.
    let led = story()
        .root("c", false, 1, "", "r1")
        .role("c", Role::Primary, 2)
        .root("b", false, 1, "r2", "r1");
    holds(&lineage::STANDBY_IS_PREFIX, Arg::None, &led);
    let unled = story()
        .root("c", false, 1, "", "r2")
        .role("c", Role::Primary, 2)
        .root("b", false, 1, "r2", "r1");
    breaks(&lineage::STANDBY_IS_PREFIX, Arg::None, &unled, "went back");
    let follower = story().root("b", false, 1, "r2", "r1");
    breaks(&lineage::STANDBY_IS_PREFIX, Arg::None, &follower, "went back");
}
