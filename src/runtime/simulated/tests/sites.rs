//! Sites fire by streams of their own, and what happened is counted in the world of the run.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{between, idle};
use crate::runtime::Constant;
use crate::runtime::simulated::{OVERFLOW, SiteCounts, World, mutant};
use crate::runtime::sites::{Measure, drawn, fact_of, fires, happened, measured, queue_of, site};

const SITE: &str = "chunk.segment_full";

fn armed(world: &World, names: &[&str]) {
    world.arm_sites(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
}

/// What `count` calls on a node answer.
async fn calls(world: &World, node: &str, name: &'static str, count: usize) -> Vec<bool> {
    let ask = async move { (0..count).map(|_| fires(site(name))).collect() };
    world.spawn_on(node, ask).await.unwrap()
}

#[test]
fn a_site_fires_where_it_is_armed_by_a_stream_of_its_own() {
    let of = |seed, names: &'static [&'static str]| {
        between(seed, |world| async move {
            armed(&world, names);
            if names.len() > 1 {
                calls(&world, "a", "chunk.sync_slow", 50).await;
                calls(&world, "b", SITE, 50).await;
            }
            calls(&world, "a", SITE, 200).await
        })
    };
    let fired = of(7, &[SITE]);
    let count = fired.iter().filter(|fired| **fired).count();
    assert!((5..=40).contains(&count), "{count} of 200, and a tenth is due");
    assert_eq!(fired, of(7, &[SITE, "chunk.sync_slow"]), "others change nothing");
    assert_ne!(fired, of(8, &[SITE]));
    assert!(!of(7, &[]).contains(&true));
    assert!(!of(7, &["chunk.sync_slow"]).contains(&true));
}

#[test]
fn a_server_that_is_started_again_goes_on_with_its_stream() {
    let of = |restarts: bool| {
        between(3, |world| async move {
            armed(&world, &[SITE]);
            let mut fired = calls(&world, "a", SITE, 60).await;
            if restarts {
                world.kill("a");
                world.restart("a");
            }
            fired.extend(calls(&world, "a", SITE, 60).await);
            fired
        })
    };
    assert_eq!(of(true), of(false));
}

#[test]
fn nothing_of_a_run_is_left_for_the_next() {
    let run = || {
        between(1, |world| async move {
            assert_eq!(world.site_counts(), SiteCounts::default());
            armed(&world, &["replication.small_messages"]);
            world.set_mutant(Some("m".to_owned()));
            let tell = async {
                happened(fact_of("chunk.tail_cut"));
                happened(fact_of("chunk.tail_cut"));
                assert!(mutant("m") && !mutant("n"));
                drawn(site("replication.small_messages"), 5..=9)
            };
            let number = world.spawn_on("b", tell).await.unwrap();
            assert!(
                number.is_some_and(|number| (5..=9).contains(&number)),
                "it always fires"
            );
            world.site_counts()
        })
    };
    let counts = run();
    assert_eq!(counts.happened, [("chunk.tail_cut", 2)].into());
    assert_eq!(counts.fired, [("replication.small_messages", 1)].into());
    assert_eq!(run(), counts);
    assert!(
        !mutant("m") && !fires(site("replication.small_messages")),
        "outside of a world"
    );
}

#[test]
fn what_fires_is_told_each_time_and_what_happens_once_on_each_node() {
    let told = Arc::new(Mutex::new(Vec::new()));
    World::run(1, |world| {
        idle(&world, "a");
        idle(&world, "b");
        let told = told.clone();
        async move {
            armed(&world, &["replication.small_messages"]);
            world.on_event(move |event| {
                if ["buggify", "sometimes"].contains(&event.kind) {
                    told.lock()
                        .push(format!("{} {} {}", event.node, event.kind, event.detail));
                }
            });
            for node in ["a", "b", "a"] {
                let say = async {
                    happened(fact_of("engine.rebased"));
                    fires(site("replication.small_messages"))
                };
                world.spawn_on(node, say).await.unwrap();
            }
        }
    });
    let expected = [
        "a sometimes engine.rebased",
        "a buggify replication.small_messages",
        "b sometimes engine.rebased",
        "b buggify replication.small_messages",
        "a buggify replication.small_messages",
    ];
    assert_eq!(*told.lock(), expected);
}

#[test]
fn a_queue_is_remembered_at_its_fullest_and_told_once_beyond_its_limit() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let counts = between(1, |world| async move {
        world.on_event(move |event| {
            if event.kind == OVERFLOW {
                log.lock().push(format!("{} {}", event.node, event.detail));
            }
        });
        let queue = queue_of("chunk.backlog");
        let fill = async move {
            for (length, limit) in [(3, 10), (10, 10), (11, 10), (12, 10), (50, 100)] {
                measured(queue, length, limit);
            }
        };
        world.spawn_on("a", fill).await.unwrap();
        world.site_counts()
    });
    assert_eq!(*told.lock(), ["a chunk.backlog 11 of 10"]);
    let longest = Measure { length: 12, limit: 10 };
    assert_eq!(counts.longest, [("chunk.backlog", longest)].into());
}

#[test]
fn a_constant_is_what_its_world_says_and_the_next_world_forgets_it() {
    const SIZE: Constant = Constant {
        name: "tests.size",
        usual: 12,
        least: 8,
    };
    assert_eq!(SIZE.get(), 12);
    between(1, |world| async move {
        world.set_constant(&SIZE, 9);
        let on_a_node = world.spawn_on("a", async { SIZE.get() });
        assert_eq!((SIZE.get(), on_a_node.await.unwrap()), (9, 9));
    });
    assert_eq!(SIZE.get(), 9, "what is left of a world is looked at after its end");
    between(2, |_| async { assert_eq!(SIZE.get(), 12) });
}
