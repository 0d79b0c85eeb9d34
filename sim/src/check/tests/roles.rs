//! Planted violations of what roles and epochs promise.

use super::*;
use crate::history::WIPED;

#[test]
fn primaries_follow_nobody() {
    let check = &cluster::PRIMARIES_FOLLOW_NOBODY;
    let story = || {
        let story = Story::default().role("a", Role::Primary, 1).role("b", Role::Standby, 1);
        let story = story.root("a", true, 1, "", "r1").root("b", false, 1, "", "r1");
        story.root("a", true, 1, "r1", "r2").role("b", Role::Primary, 2)
    };
    let took = |story: Story| story.root("b", false, 1, "r1", "r2");
    let broken = "b took root 2 of postgres in epoch 1 while primary";
    holds(check, Arg::None, &story());
    breaks(check, Arg::None, &took(story()), broken);
    holds(check, Arg::None, &took(story().role("b", Role::Standby, 3)));
    holds(
        check,
        Arg::None,
        &took(story().role("b", Role::DetectedBrokenConfig, 2)),
    );
    // Nobody knows what it is until it says so again.
    for unknown in [What::Start, What::Down { how: WIPED.into() }] {
        let story = story().event("b", unknown);
        holds(check, Arg::None, &took(story));
    }
    let ready = What::Ready {
        role: Some((Role::Primary, 2)),
    };
    let again = story().event("b", What::Start).event("b", ready);
    breaks(check, Arg::None, &took(again), broken);
}

/// If this fails, a primary that takes a stale primary's roots is forgiven what it had acknowledged.
#[test]
fn a_primary_owes_what_it_acknowledged_whatever_it_receives() {
    let story = |role: Role| {
        let story = Story::default().role("a", Role::Primary, 1).role("b", Role::Standby, 1);
        let story = story.root("a", true, 1, "", "r1").root("b", false, 1, "", "r1");
        let story = story.role("b", Role::Primary, 2).root("b", true, 2, "r1", "s2");
        let story = story.append(1, "b", 1, 7, ok()).root("a", true, 1, "r1", "r2");
        let story = story.role("b", role, 3).root("b", false, 1, "s2", "r2");
        story.end(holding("b", &[], "r2"))
    };
    let replicated = || Arg::Word("replicated");
    breaks(&writes::DURABILITY, replicated(), &story(Role::Primary), "value 7");
    holds(&writes::DURABILITY, replicated(), &story(Role::Standby));
}

fn ordered(server: &str, role: Role, epoch: u64, rescue: bool) -> What {
    What::Ordered {
        server: server.into(),
        role,
        epoch,
        rescue,
    }
}

/// Two orders to be primary at an epoch, of which the second is as told.
fn orders(server: &str, role: Role, epoch: u64) -> Story {
    let first = Story::default().event("operator", ordered("a", Role::Primary, 2, false));
    first.event("operator", ordered(server, role, epoch, false))
}

#[test]
fn two_may_write_in_an_epoch_if_both_were_ordered_to_be_primary_in_it() {
    let check = &cluster::ONE_WRITABLE_PRIMARY_PER_EPOCH;
    let both = |story: Story| story.root("a", true, 2, "", "a1").root("b", true, 2, "", "b1");
    let broken = "b committed root 1 of postgres in epoch 2, in which a commits";
    holds(check, Arg::None, &both(orders("b", Role::Primary, 2)));
    for story in [
        Story::default(),
        orders("a", Role::Primary, 2),
        orders("b", Role::Standby, 2),
        orders("b", Role::Primary, 3),
    ] {
        breaks(check, Arg::None, &both(story), broken);
    }
    // Who said no was ordered nothing.
    let declined = |server: &str| What::Declined {
        server: server.into(),
        role: Role::Primary,
        epoch: 2,
    };
    let story = orders("b", Role::Primary, 2).event("operator", declined("b"));
    breaks(check, Arg::None, &both(story), broken);
    // Who says no to a second order has carried out the first.
    let again = orders("a", Role::Primary, 2).event("operator", declined("a"));
    let again = again.event("operator", ordered("b", Role::Primary, 2, false));
    holds(check, Arg::None, &both(again));
    // Nor does it help to order it afterwards.
    let late = both(Story::default().event("operator", ordered("a", Role::Primary, 2, false)));
    let late = late.event("operator", ordered("b", Role::Primary, 2, true));
    breaks(check, Arg::None, &late, broken);
}

#[test]
fn an_epoch_that_was_given_to_two_has_no_order_to_keep_to() {
    let check = &lineage::STANDBY_IS_PREFIX;
    let both = |story: Story| {
        let story = story.root("a", true, 2, "", "a1").root("b", true, 2, "", "b1");
        let story = story.root("a", true, 2, "a1", "a2");
        story.root("c", false, 2, "", "a2").root("c", false, 2, "a2", "a1")
    };
    holds(check, Arg::None, &both(orders("b", Role::Primary, 2)));
    breaks(check, Arg::None, &both(orders("b", Role::Primary, 3)), "went back");
    // Two that write by themselves excuse nothing.
    breaks(check, Arg::None, &both(Story::default()), "went back");
    let said = |story: Story| story.role("a", Role::Primary, 2).role("b", Role::Primary, 2);
    let ready = What::Ready {
        role: Some((Role::Primary, 2)),
    };
    // Both are configured so, and say it when they start for the first time, or with an empty disk.
    let starts = || Story::default().event("a", What::Start).event("b", What::Start);
    holds(check, Arg::None, &both(said(starts())));
    let by_ready = starts().role("a", Role::Primary, 2).event("b", ready.clone());
    holds(check, Arg::None, &both(by_ready));
    let standby = || starts().role("b", Role::Standby, 1);
    breaks(check, Arg::None, &both(said(standby())), "went back");
    let again = || standby().event("b", What::Start);
    breaks(check, Arg::None, &both(said(again())), "went back");
    let wiped = standby().event("b", What::Down { how: WIPED.into() });
    holds(check, Arg::None, &both(said(wiped)));
}

/// What an order looks like in a trace.
#[test]
fn an_order_is_one_line() {
    let shown = |rescue: bool| {
        let event = Event {
            at: 2_000_000,
            node: "operator".into(),
            what: ordered("c", Role::Primary, 2, rescue),
        };
        event.to_string()
    };
    assert_eq!(shown(false), "2.000000s operator ordered c: assume primary at 2");
    assert_eq!(
        shown(true),
        "2.000000s operator ordered c: assume primary at 2, as a rescue"
    );
}

#[test]
fn settles_by_itself() {
    let check = &liveness::SETTLES_BY_ITSELF;
    let calm = || Story::default().event("operator", What::Quiet);
    let rescued = |story: Story| story.event("operator", ordered("b", Role::Primary, 2, true));
    let broken = "the cluster did not settle by itself after quiet: b had to be promoted at epoch 2";
    holds(check, Arg::None, &calm());
    breaks(check, Arg::None, &rescued(calm()), broken);
    breaks(
        check,
        Arg::None,
        &rescued(Story::default()),
        "did not settle by itself: b",
    );
    // Whoever moved roles before may have left it so that nobody can be primary without him.
    let moved = || calm().event("operator", ordered("a", Role::Standby, 2, false));
    holds(check, Arg::None, &rescued(moved()));
    let by_hand = calm().event("operator", What::RoleCall { role: None });
    holds(check, Arg::None, &rescued(by_hand));
    let step = "sql on a: SELECT 1".to_owned();
    let other = calm().event("operator", What::StepBegins { step });
    breaks(check, Arg::None, &rescued(other), broken);
    // Afterwards is too late.
    let late = rescued(calm()).event("operator", ordered("a", Role::Primary, 3, false));
    breaks(check, Arg::None, &late, broken);
}

/// Two servers; b received r2, the newest, and a is its primary.
fn replicated() -> Story {
    let story = Story::default().role("a", Role::Primary, 1).role("b", Role::Standby, 1);
    let story = story.root("a", true, 1, "", "r1").root("b", false, 1, "", "r1");
    let story = story.acknowledged("a", "b", "r1").root("a", true, 1, "r1", "r2");
    story.root("b", false, 1, "r1", "r2")
}

/// If this fails, a server that lost its disk counts as holding what was on it.
#[test]
fn a_wiped_standby_that_is_promoted_has_lost_all() {
    let check = &lineage::LOSSLESS_FAILOVER;
    let back = |how: &str| {
        let story = replicated().event("b", What::Down { how: how.into() });
        story.event("b", What::Start).role("b", Role::Standby, 1)
    };
    holds(check, Arg::None, &back("killed").role("b", Role::Primary, 2));
    let broken = "b became primary@2 holding nothing of postgres; the last commit was r2";
    breaks(check, Arg::None, &back(WIPED).role("b", Role::Primary, 2), broken);
    // What it received anew it has.
    let filled = back(WIPED).root("b", false, 1, "", "r2");
    holds(check, Arg::None, &filled.role("b", Role::Primary, 2));
    let started = back(WIPED).root("b", false, 1, "", "r1");
    let broken = "holding r1 of postgres; the last commit was r2";
    breaks(check, Arg::None, &started.role("b", Role::Primary, 2), broken);
}

/// If this fails, a root that went with the power counts as held. Whether it went, the first commit on top says.
#[test]
fn a_standby_that_lost_a_root_in_a_power_cut_and_is_promoted_has_lost_it() {
    let check = &lineage::LOSSLESS_FAILOVER;
    let promoted = |story: Story| {
        let how = "without power".to_owned();
        let story = story.event("b", What::Down { how }).event("b", What::Start);
        story.role("b", Role::Standby, 1).role("b", Role::Primary, 2)
    };
    let broken = "b became primary and committed to postgres after r1; the last commit before was r2";
    for story in [replicated, || replicated().acknowledged("a", "b", "r2")] {
        holds(check, Arg::None, &promoted(story()).root("b", true, 2, "r2", "s3"));
        breaks(
            check,
            Arg::None,
            &promoted(story()).root("b", true, 2, "r1", "s2"),
            broken,
        );
    }
    // Only the first stands on what there was, and one of a database that is made anew on nothing.
    let second = promoted(replicated()).root("b", true, 2, "r2", "s3");
    holds(check, Arg::None, &second.root("b", true, 2, "s3", "s4"));
    holds(check, Arg::None, &promoted(replicated()).root("b", true, 2, "000", "s"));
    // What it received again afterwards it has.
    let again = promoted(replicated()).role("b", Role::Standby, 3);
    let again = again.root("b", false, 1, "r1", "r2").role("b", Role::Primary, 4);
    breaks(
        check,
        Arg::None,
        &again.root("b", true, 4, "r1", "s2"),
        "committed to postgres after r1",
    );
    // A primary may lose a commit of its own that nobody was told of.
    let own = || {
        let story = Story::default().role("b", Role::Primary, 1);
        story.root("b", true, 1, "", "r1").root("b", true, 1, "r1", "r2")
    };
    holds(check, Arg::None, &promoted(own()).root("b", true, 2, "r1", "s2"));
}
