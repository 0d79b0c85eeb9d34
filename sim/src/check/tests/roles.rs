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
