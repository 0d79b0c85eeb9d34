//! The stream against what TCP does, the life and death of nodes, clocks, entropy, and that a seed repeats.

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngCore as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::{LinkSettings, NodeStart, World};
use crate::runtime::disk::OpenMode;
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::{self, now, sleep, spawn, timeout, wall_clock};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn steady(latency: Duration) -> LinkSettings {
    LinkSettings {
        latency: latency..=latency,
        ..LinkSettings::default()
    }
}

/// A node that does nothing by itself.
fn idle(world: &World, name: &str) {
    world.create_node(name, |_| pending());
}

/// Runs a scenario between two idle nodes, 10 ms apart.
fn between<F: Future>(seed: u64, scenario: impl FnOnce(World) -> F) -> F::Output {
    World::run(seed, |world| {
        world.set_links(steady(millis(10)));
        idle(&world, "a");
        idle(&world, "b");
        scenario(world)
    })
}

/// Connects a to b.
async fn pair(world: &World) -> (TcpStream, TcpStream) {
    let (ready, is_ready) = oneshot::channel();
    let accepted = world.spawn_on("b", async move {
        let listener = TcpListener::bind("0.0.0.0:5432").await.unwrap();
        ready.send(()).unwrap();
        listener.accept().await.unwrap().0
    });
    is_ready.await.unwrap();
    let connected = world.spawn_on("a", async { TcpStream::connect("b:5432").await.unwrap() });
    (connected.await.unwrap(), accepted.await.unwrap())
}

async fn read(stream: &mut TcpStream, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.map(|_| bytes)
}

#[test]
fn a_connection_carries_bytes_both_ways_and_knows_its_ends() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        assert_eq!(
            a.peer_addr().unwrap(),
            format!("{}:5432", world.address("b")).parse().unwrap()
        );
        assert_eq!(
            (a.local_addr().unwrap(), a.peer_addr().unwrap()),
            (b.peer_addr().unwrap(), b.local_addr().unwrap())
        );
        a.write_all(b"ping").await.unwrap();
        assert_eq!(read(&mut b, 4).await.unwrap(), b"ping");
        b.write_all(b"pong").await.unwrap();
        assert_eq!(read(&mut a, 4).await.unwrap(), b"pong");
    });
}

#[test]
fn connecting_takes_a_round_trip_and_a_message_half_of_one() {
    between(1, |world| async move {
        let start = now();
        let (mut a, mut b) = pair(&world).await;
        // The accept needs the third packet too.
        assert!(
            (millis(30)..millis(32)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
        let start = now();
        a.write_all(b"x").await.unwrap();
        read(&mut b, 1).await.unwrap();
        assert!(
            (millis(10)..millis(11)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
    });
}

#[test]
fn a_connect_is_refused_when_the_host_is_up_and_nobody_listens() {
    between(1, |world| async move {
        let start = now();
        let error = TcpStream::connect("b:5432").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!((millis(20)..millis(21)).contains(&start.elapsed()));
        world.kill("b");
        assert_eq!(
            TcpStream::connect("b:5432").await.unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
        assert_eq!(
            TcpStream::connect("nobody:5432").await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(
            TcpStream::connect("b").await.unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_connect_hangs_across_a_cut_until_its_caller_gives_up() {
    for (from, to) in [("a", "b"), ("b", "a")] {
        between(1, |world| async move {
            world
                .spawn_on("b", async {
                    TcpListener::bind("b:1").await.unwrap().accept().await.map(drop)
                })
                .detach();
            sleep(millis(1)).await;
            world.cut(from, to);
            let connect = timeout(10 * SECOND, world.spawn_on("a", TcpStream::connect("b:1"))).await;
            assert!(connect.is_err(), "one way is enough");
        });
    }
}

#[test]
fn a_connect_across_a_cut_succeeds_at_the_first_retry_after_healing() {
    between(1, |world| async move {
        let accepted = world.spawn_on("b", async {
            TcpListener::bind("b:1").await.unwrap().accept().await.map(drop)
        });
        sleep(millis(1)).await;
        world.cut("b", "a");
        let start = now();
        let connected = world.spawn_on("a", async { TcpStream::connect("b:1").await.unwrap() });
        sleep(4 * SECOND).await;
        world.heal("b", "a");
        connected.await.unwrap();
        // Tries at 0, 1, 3 and 7 seconds.
        assert!(
            (7 * SECOND..7 * SECOND + millis(50)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
        accepted.await.unwrap().unwrap();
    });
}

#[test]
fn a_connect_to_a_machine_without_power_times_out_after_two_minutes() {
    between(1, |world| async move {
        world.power_off("b");
        let start = now();
        assert_eq!(TcpStream::connect("b:1").await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(
            (2 * MINUTE..3 * MINUTE).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
    });
}

#[test]
fn bytes_arrive_in_order_whatever_the_link_does_to_packets() {
    for seed in 0..20 {
        between(seed, |world| async move {
            let (mut a, mut b) = pair(&world).await;
            world.set_link(
                "a",
                "b",
                LinkSettings {
                    latency: millis(1)..=millis(50),
                    jitter: millis(100),
                    loss: 0.1,
                    bandwidth: Some(1_000_000),
                },
            );
            let sent: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
            let expected = sent.clone();
            let writer = spawn("writer", async move {
                for piece in sent.chunks(3_333) {
                    a.write_all(piece).await.unwrap();
                    sleep(millis(1)).await;
                }
                a
            });
            assert_eq!(read(&mut b, expected.len()).await.unwrap(), expected);
            drop(writer.await.unwrap());
            assert_eq!(b.read(&mut [0]).await.unwrap(), 0);
        });
    }
}

#[test]
fn pieces_arrive_split_and_joined() {
    let (mut split, mut joined) = (0, 0);
    for seed in 0..20 {
        let sizes = between(seed, |world| async move {
            let (mut a, mut b) = pair(&world).await;
            for _ in 0..10 {
                a.write_all(&[0; 1000]).await.unwrap();
                sleep(millis(1)).await;
            }
            drop(a);
            let mut sizes = Vec::new();
            let mut buf = [0; 4096];
            while let Ok(read @ 1..) = b.read(&mut buf).await {
                sizes.push(read);
                sleep(millis(1)).await;
            }
            sizes
        });
        assert_eq!(sizes.iter().sum::<usize>(), 10_000);
        split += sizes.iter().filter(|size| **size < 1000).count();
        joined += sizes.iter().filter(|size| **size > 1000).count();
    }
    assert!(split > 0, "no write was ever split");
    assert!(joined > 0, "no two writes were ever read at once");
}

#[test]
fn bandwidth_is_shared_and_takes_its_time() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        world.set_link(
            "a",
            "b",
            LinkSettings {
                bandwidth: Some(100_000),
                ..steady(millis(10))
            },
        );
        let start = now();
        a.write_all(&[0; 100_000]).await.unwrap();
        assert!(start.elapsed() < millis(1), "the kernel takes it at once");
        read(&mut b, 100_000).await.unwrap();
        // A second for the bytes, and some more for their headers.
        assert!(
            (SECOND..SECOND + millis(60)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
    });
}

#[test]
fn a_writer_waits_when_nobody_reads() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        let mut written = 0;
        while let Ok(wrote) = timeout(SECOND, a.write(&[7; 50_000])).await {
            written += wrote.unwrap();
        }
        assert_eq!(written, 256 * 1024);
        assert_eq!(read(&mut b, written).await.unwrap(), vec![7; written]);
        timeout(SECOND, a.write_all(&[8; 1000]))
            .await
            .expect("there is room again")
            .unwrap();
    });
}

#[test]
fn a_writer_is_not_told_of_room_across_a_cut() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        a.write_all(&[7; 256 * 1024]).await.unwrap();
        sleep(SECOND).await;
        world.cut("b", "a");
        read(&mut b, 256 * 1024).await.unwrap();
        assert!(timeout(5 * SECOND, a.write(&[8])).await.is_err());
        world.heal("b", "a");
        timeout(SECOND, a.write_all(&[8]))
            .await
            .expect("told after healing")
            .unwrap();
    });
}

#[test]
fn each_way_is_closed_on_its_own() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        a.write_all(b"question").await.unwrap();
        a.shutdown().await.unwrap();
        assert_eq!(a.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut question = Vec::new();
        b.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        sleep(MINUTE).await;
        b.write_all(b"answer").await.unwrap();
        drop(b);
        let mut answer = Vec::new();
        a.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
    });
}

#[test]
fn what_was_written_before_a_drop_is_delivered() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        a.write_all(&[1; 100_000]).await.unwrap();
        drop(a);
        let mut bytes = Vec::new();
        b.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len(), 100_000);
    });
}

#[test]
fn closing_with_something_unread_or_writing_to_a_closed_end_resets() {
    between(1, |world| async move {
        let (mut a, b) = pair(&world).await;
        a.write_all(b"never read").await.unwrap();
        sleep(millis(15)).await;
        drop(b);
        assert_eq!(a.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        world.spawn_on("b", async { pending::<()>().await }).detach();
    });
    between(1, |world| async move {
        let (mut a, b) = pair(&world).await;
        drop(b);
        assert_eq!(a.read(&mut [0]).await.unwrap(), 0);
        a.write_all(b"to nobody").await.unwrap();
        sleep(millis(30)).await;
        assert_eq!(a.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_was_written_before_or_during_a_cut_arrives_after_it_has_healed() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        a.write_all(b"before").await.unwrap();
        sleep(millis(5)).await;
        world.cut("a", "b");
        sleep(SECOND).await;
        a.write_all(b" during").await.unwrap();
        assert!(timeout(30 * SECOND, b.read(&mut [0])).await.is_err(), "nothing passes");
        world.heal("a", "b");
        let start = now();
        a.write_all(b" after").await.unwrap();
        assert_eq!(read(&mut b, 19).await.unwrap(), b"before during after");
        assert!(
            (SECOND..MINUTE).contains(&start.elapsed()),
            "the backoff goes on: {:?}",
            start.elapsed()
        );
    });
}

#[test]
fn a_cut_that_lasts_breaks_the_connection_of_who_writes_and_only_that() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        world.cut("a", "b");
        a.write_all(b"lost").await.unwrap();
        let start = now();
        assert_eq!(a.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(
            (10 * MINUTE..20 * MINUTE).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
        assert!(
            timeout(MINUTE, b.read(&mut [0])).await.is_err(),
            "the silent end waits for ever"
        );
    });
}

/// Gives a node a process that holds a stream, and tells what became of a reader at the other end.
fn reader_of_a_victim(seed: u64, strike: impl FnOnce(&World)) -> Result<Result<usize, ErrorKind>, runtime::Elapsed> {
    between(seed, |world| async move {
        let (mut a, b) = pair(&world).await;
        let holder = world.spawn_on("b", async move {
            let _b = b;
            pending::<()>().await;
        });
        sleep(SECOND).await;
        strike(&world);
        drop(holder);
        timeout(5 * MINUTE, a.read(&mut [0]))
            .await
            .map(|read| read.map_err(|error| error.kind()))
    })
}

#[test]
fn death_of_a_peer() {
    let reset = Ok(Err(ErrorKind::ConnectionReset));
    assert_eq!(reader_of_a_victim(1, |world| world.kill("b")), reset, "a kill resets");
    assert!(
        reader_of_a_victim(1, |world| world.power_off("b")).is_err(),
        "no power, no word"
    );
    assert!(
        reader_of_a_victim(1, |world| world.pause("b")).is_err(),
        "a paused process holds its streams"
    );
    let cut_and_killed = |world: &World| {
        world.cut("b", "a");
        world.kill("b");
    };
    assert!(
        reader_of_a_victim(1, cut_and_killed).is_err(),
        "a reset is not sent twice"
    );
}

#[test]
fn a_machine_that_is_back_answers_old_connections_with_a_reset() {
    between(1, |world| async move {
        let (mut a, b) = pair(&world).await;
        let _held = world.spawn_on("b", async move {
            let _b = b;
            pending::<()>().await;
        });
        world.power_off("b");
        a.write_all(b"hello?").await.unwrap();
        assert!(timeout(3 * SECOND, a.read(&mut [0])).await.is_err());
        world.restart("b");
        let error = timeout(MINUTE, a.read(&mut [0]))
            .await
            .expect("the retry is answered")
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_paused_process_receives_all_when_it_goes_on() {
    between(1, |world| async move {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (sink, accepted) = (received.clone(), TcpListener::bind("0.0.0.0:0").await.unwrap());
        drop(accepted);
        world
            .spawn_on("b", async move {
                let listener = TcpListener::bind("b:9").await.unwrap();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).await.unwrap();
                    sink.lock().push(bytes);
                }
            })
            .detach();
        sleep(SECOND).await;
        world.pause("b");
        for byte in [1, 2] {
            let mut a = timeout(SECOND, TcpStream::connect("b:9"))
                .await
                .expect("the kernel accepts")
                .unwrap();
            a.write_all(&[byte; 10]).await.unwrap();
            sleep(SECOND).await;
        }
        assert!(received.lock().is_empty());
        world.resume("b");
        sleep(SECOND).await;
        assert_eq!(*received.lock(), [vec![1; 10], vec![2; 10]]);
    });
}

#[test]
fn a_process_that_exits_closes_in_good_order_and_frees_its_port() {
    World::run(1, |world| async move {
        world.create_node("b", |start: NodeStart| async move {
            let listener = TcpListener::bind("0.0.0.0:1").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            spawn("forgotten", pending::<()>()).detach();
            stream
                .write_all(format!("run {}", start.restarts).as_bytes())
                .await
                .unwrap();
        });
        sleep(SECOND).await;
        for run in 0..3 {
            let mut stream = TcpStream::connect("B:1").await.unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, format!("run {run}"));
            assert!(!world.is_running("b"));
            assert_eq!(
                TcpStream::connect("b:1").await.unwrap_err().kind(),
                ErrorKind::ConnectionRefused
            );
            world.restart("b");
            sleep(SECOND).await;
        }
    });
}

#[test]
fn a_port_has_one_listener_and_an_address_one_owner() {
    between(1, |world| async move {
        let first = TcpListener::bind("127.0.0.1:80").await.unwrap();
        assert_eq!(
            TcpListener::bind("0.0.0.0:80").await.unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        assert_eq!(
            TcpListener::bind("a:81").await.unwrap_err().kind(),
            ErrorKind::AddrNotAvailable
        );
        let other = world.spawn_on("a", async { TcpListener::bind("0.0.0.0:80").await.map(drop) });
        other.await.unwrap().unwrap();
        drop(first);
        let again = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (accepted, connected) = tokio::join!(again.accept(), TcpStream::connect("localhost:80"));
        assert_eq!(accepted.unwrap().1, connected.unwrap().local_addr().unwrap());
    });
}

#[test]
fn names_move() {
    between(1, |world| async move {
        for name in ["a", "b"] {
            let serve = async move {
                let listener = TcpListener::bind("0.0.0.0:1").await.unwrap();
                while let Ok((mut stream, _)) = listener.accept().await {
                    stream.write_all(name.as_bytes()).await.unwrap();
                }
            };
            world.spawn_on(name, serve).detach();
        }
        sleep(millis(1)).await;
        for name in ["a", "b"] {
            world.alias("primary", name);
            let mut stream = TcpStream::connect("primary:1").await.unwrap();
            assert_eq!(read(&mut stream, 1).await.unwrap(), name.as_bytes());
        }
    });
}

#[test]
fn a_killed_server_writes_nothing_from_the_grave_and_what_it_wrote_is_there() {
    struct LastWords(runtime::disk::File);
    impl Drop for LastWords {
        fn drop(&mut self) {
            assert!(self.0.write_all_at(b"goodbye", 0).is_err(), "cut first, then kill");
        }
    }
    World::run(1, |world| async move {
        let runs = Arc::new(Mutex::new(Vec::new()));
        let log = runs.clone();
        world.create_node("a", move |start: NodeStart| {
            let log = log.clone();
            async move {
                let file = start.disk.open("f", OpenMode::CreateOrOpen).unwrap();
                let mut found = vec![0; 5];
                let len = file.read_at(&mut found, 0).unwrap();
                log.lock().push((start.restarts, found[..len].to_vec()));
                file.write_all_at(b"state", 0).unwrap();
                let _words = LastWords(file);
                pending::<()>().await;
            }
        });
        sleep(SECOND).await;
        world.kill("a");
        sleep(SECOND).await;
        world.restart("a");
        sleep(SECOND).await;
        world.restart("a");
        sleep(SECOND).await;
        assert_eq!(
            *runs.lock(),
            [(0, vec![]), (1, b"state".to_vec()), (2, b"state".to_vec())]
        );
    });
}

#[test]
fn a_graceful_stop_is_asked_for_at_each_life() {
    World::run(1, |world| async move {
        world.create_node("a", |_| async {
            runtime::shutdown_signal().await;
            sleep(SECOND).await;
        });
        for _ in 0..2 {
            sleep(SECOND).await;
            assert!(world.is_running("a"));
            world.request_stop("a");
            sleep(millis(500)).await;
            assert!(world.is_running("a"), "takes its time");
            sleep(SECOND).await;
            assert!(!world.is_running("a"));
            world.restart("a");
        }
    });
}

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
        let mut interval = runtime::interval(SECOND);
        let start = now();
        interval.tick().await;
        assert!(start.elapsed() < millis(1), "at once");
        sleep(millis(2500)).await;
        interval.tick().await;
        interval.tick().await;
        assert!(
            (3 * SECOND..3 * SECOND + millis(2)).contains(&start.elapsed()),
            "missed ticks are skipped"
        );
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
