//! Clocks, entropy and tasks of the world, and that a seed repeats.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngCore as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use super::{SECOND, between, millis, read, steady};
use crate::runtime::disk::OpenMode;
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::simulated::{LinkSettings, NodeStart, World};
use crate::runtime::{self, now, sleep, spawn, timeout, wall_clock};

#[test]
fn clocks_differ_jump_and_drift() {
    between(1, |world| async move {
        let ask = |name: &'static str| {
            let world = world.clone();
            async move { world.spawn_on(name, async { wall_clock().micros() }).await.unwrap() }
        };
        let near = |difference: i64, expected: i64| assert!((difference - expected).abs() < 10, "{difference}");
        near(ask("a").await - ask("b").await, 0);
        world.set_clock("a", -2_000_000, 200);
        near(ask("a").await - ask("b").await, -2_000_000);
        sleep(100 * SECOND).await;
        near(ask("a").await - ask("b").await, -2_000_000 + 20_000);
        world.jump_clock("b", 5_000_000);
        near(ask("a").await - ask("b").await, -7_000_000 + 20_000);
        let before = now();
        world.jump_clock("scenario", -1_000_000);
        assert!(now() >= before, "only walls have clocks that jump");
    });
}

#[test]
fn entropy_belongs_to_node_and_purpose() {
    let draw = |extra: bool| {
        between(7, |world| async move {
            if extra {
                let disturb = async { runtime::rng("other").next_u64() ^ runtime::rng("secret").next_u64() };
                world.spawn_on("b", disturb).await.unwrap();
                world
                    .spawn_on("a", async { runtime::rng("other").next_u64() })
                    .await
                    .unwrap();
            }
            let two = async { [runtime::rng("secret").next_u64(), runtime::rng("secret").next_u64()] };
            let drawn = world.spawn_on("a", two).await.unwrap();
            assert_ne!(drawn[0], drawn[1]);
            drawn
        })
    };
    assert_eq!(draw(false), draw(true), "others disturb nothing");
}

#[test]
fn libraries_that_ask_the_kernel_get_the_seed() {
    let draw = |seed| {
        between(seed, |world| async move {
            world
                .spawn_on("a", async {
                    let mut bytes = [0u8; 16];
                    // SAFETY: the buffer is as long as said.
                    let read =
                        unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr() as usize, bytes.len(), 0usize) };
                    assert_eq!(read, 16);
                    bytes
                })
                .await
                .unwrap()
        })
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn compute_runs_what_needs_tokio_and_waits_for_the_world() {
    World::run(1, |_| async {
        let (send, receive) = oneshot::channel();
        spawn("outside", async move {
            sleep(50 * millis(1)).await;
            send.send(40).unwrap();
        })
        .detach();
        let start = now();
        #[expect(clippy::disallowed_methods, reason = "what DataFusion does")]
        let answer = runtime::compute(async {
            let two = tokio::spawn(async {
                tokio::task::yield_now().await;
                2
            });
            tokio::time::sleep(millis(10)).await;
            two.await.unwrap() + receive.await.unwrap()
        })
        .await;
        assert_eq!(answer, 42);
        assert!(
            (millis(50)..millis(60)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
    });
}

#[test]
fn timers_keep_time_and_let_others_run() {
    World::run(1, |_| async {
        let start = now();
        sleep(Duration::ZERO).await;
        assert!(start.elapsed() < millis(1));
        sleep(Duration::from_micros(1)).await;
        assert!((millis(1)..millis(2)).contains(&start.elapsed()));
        assert!(timeout(SECOND, pending::<()>()).await.is_err());
        assert_eq!(timeout(SECOND, async { 5 }).await, Ok(5));
    });
}

/// A busy little world with every kind of fault, as the text of all its events.
fn history(seed: u64) -> Vec<String> {
    World::run(seed, |world| async move {
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = events.clone();
        world.on_event(move |event| {
            log.lock().push(format!(
                "{:?} {} {} {} {:?}",
                event.time, event.node, event.kind, event.detail, event.payload
            ));
        });
        world.set_links(LinkSettings {
            loss: 0.05,
            jitter: millis(20),
            ..steady(millis(2))
        });
        for name in ["a", "b", "c"] {
            world.create_node(name, |start: NodeStart| async move {
                let listener = TcpListener::bind("0.0.0.0:1").await.unwrap();
                spawn("echo", async move {
                    while let Ok((mut stream, _)) = listener.accept().await {
                        spawn("echo one", async move {
                            let (mut reader, mut writer) = tokio::io::split(&mut stream);
                            let _ = tokio::io::copy(&mut reader, &mut writer).await;
                        })
                        .detach();
                    }
                })
                .detach();
                let file = start.disk.open("f", OpenMode::CreateOrOpen).unwrap();
                let mut rng = runtime::rng("talk");
                loop {
                    let peer = ["a:1", "b:1", "c:1"][rng.next_u32() as usize % 3];
                    let talk = async {
                        let mut stream = TcpStream::connect(peer).await?;
                        let said = rng.next_u64().to_le_bytes();
                        stream.write_all(&said).await?;
                        let heard = read(&mut stream, 8).await?;
                        assert_eq!(heard, said);
                        file.write_all_at(&heard, u64::from(heard[0]))?;
                        file.sync().await
                    };
                    let _ = timeout(SECOND, talk).await;
                }
            });
        }
        let mut plan = world.stream("plan");
        for _ in 0..40 {
            sleep(millis(u64::from(plan.next_u32() % 500))).await;
            let (one, two) = [("a", "b"), ("b", "c"), ("c", "a")][plan.next_u32() as usize % 3];
            match plan.next_u32() % 8 {
                0 => world.cut(one, two),
                1 => world.cut(two, one),
                2 | 3 => world.heal_all(),
                4 => world.kill(one),
                5 => world.power_off(one),
                6 => world.pause(one),
                _ => world.resume(one),
            }
            if !world.is_running(two) {
                world.restart(two);
            }
        }
        std::mem::take(&mut *events.lock())
    })
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let first = history(11);
    assert!(first.len() > 1000, "a busy world: {} events", first.len());
    for (number, (once, again)) in first.iter().zip(&history(11)).enumerate() {
        assert_eq!(once, again, "event {number}");
    }
    assert_eq!(first.len(), history(11).len());
    assert_ne!(first, history(12));
}
