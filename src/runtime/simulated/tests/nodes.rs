//! The life and death of nodes, and what their peers notice.

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{MINUTE, SECOND, between, millis, pair};
use crate::runtime::disk::OpenMode;
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::simulated::{NodeStart, World};
use crate::runtime::{self, now, sleep, spawn, timeout};

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
    let timed_out = Ok(Err(ErrorKind::TimedOut));
    assert_eq!(
        reader_of_a_victim(1, |world| world.power_off("b")),
        timed_out,
        "no power, no word, and no answer to a probe"
    );
    assert!(
        reader_of_a_victim(1, |world| world.pause("b")).is_err(),
        "a paused process holds its streams"
    );
    let cut_and_killed = |world: &World| {
        world.cut("b", "a");
        world.kill("b");
    };
    assert_eq!(
        reader_of_a_victim(1, cut_and_killed),
        timed_out,
        "a reset is not sent twice"
    );
}

#[test]
fn a_kill_resets_what_nobody_has_accepted() {
    between(1, |world| async move {
        let listener = world.spawn_on("b", TcpListener::bind("b:1")).await.unwrap().unwrap();
        let _held = world.spawn_on("b", async move {
            let _listener = listener;
            pending::<()>().await;
        });
        let mut a = world.spawn_on("a", TcpStream::connect("b:1")).await.unwrap().unwrap();
        sleep(SECOND).await;
        world.kill("b");
        let error = timeout(SECOND, a.read(&mut [0]))
            .await
            .expect("the kernel of a process that died says so")
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
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
