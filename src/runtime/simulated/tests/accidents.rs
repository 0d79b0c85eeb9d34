//! Clogs, connections that are dropped behind somebody's back, addresses that move, disks that are lost.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{MINUTE, SECOND, between, millis, pair, read};
use crate::runtime::disk::OpenMode;
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::{now, sleep, timeout, wall_clock};

#[test]
fn a_clog_delays_one_way_and_loses_nothing() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        world.clog("a", "b", 3 * SECOND);
        let start = now();
        a.write_all(b"late").await.unwrap();
        b.write_all(b"soon").await.unwrap();
        assert_eq!(read(&mut a, 4).await.unwrap(), b"soon");
        assert!(start.elapsed() < millis(100), "{:?}", start.elapsed());
        assert_eq!(read(&mut b, 4).await.unwrap(), b"late");
        let late = start.elapsed();
        assert!((3 * SECOND..3 * SECOND + millis(100)).contains(&late), "{late:?}");
        // No retry, hence no backoff: what comes after it comes at once.
        a.write_all(b"next").await.unwrap();
        read(&mut b, 4).await.unwrap();
        assert!(start.elapsed() - late < millis(100));
    });
}

#[test]
fn a_clog_holds_connects_and_can_be_lifted() {
    between(1, |world| async move {
        let accepted = world.spawn_on("b", async {
            TcpListener::bind("b:1").await.unwrap().accept().await.map(drop)
        });
        sleep(millis(1)).await;
        world.clog("a", "b", MINUTE);
        let connect = timeout(SECOND / 2, world.spawn_on("a", TcpStream::connect("b:1"))).await;
        assert!(connect.is_err());
        world.unclog_all();
        world.spawn_on("a", TcpStream::connect("b:1")).await.unwrap().unwrap();
        accepted.await.unwrap().unwrap();
    });
}

#[test]
fn what_waits_in_a_clog_comes_when_it_is_lifted() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        world.clog("a", "b", MINUTE);
        a.write_all(b"early").await.unwrap();
        sleep(SECOND).await;
        let start = now();
        world.unclog_all();
        a.write_all(b"later").await.unwrap();
        assert_eq!(read(&mut b, 10).await.unwrap(), b"earlylater");
        assert!(start.elapsed() < millis(100), "{:?}", start.elapsed());
        // What was due at the end of the clog has come already, once.
        assert!(timeout(2 * MINUTE, read(&mut b, 1)).await.is_err());
    });
}

#[test]
fn who_is_told_of_a_dropped_connection() {
    for noticed in [[true, true], [true, false], [false, true], [false, false]] {
        between(1, |world| async move {
            let (mut a, mut b) = pair(&world).await;
            world.drop_connections("a", "b", noticed);
            let reset = Ok(Err(ErrorKind::ConnectionReset));
            let mut heard = [false; 2];
            for (stream, heard) in [&mut a, &mut b].into_iter().zip(&mut heard) {
                let read = timeout(SECOND, stream.read(&mut [0])).await;
                *heard = read.map(|read| read.map_err(|error| error.kind())) == reset;
            }
            assert_eq!(heard, noticed);
            // Who was not told is told by the answer to what it sends, unless nobody is there to answer.
            for (stream, heard) in [&mut a, &mut b].into_iter().zip(heard) {
                if heard {
                    continue;
                }
                stream.write_all(b"x").await.unwrap();
                let answer = timeout(MINUTE, stream.read(&mut [0])).await;
                let told = answer.map(|read| read.map_err(|error| error.kind())) == reset;
                assert_eq!(told, noticed != [false, false], "{noticed:?}");
            }
        });
    }
}

#[test]
fn other_connections_are_left_alone() {
    between(1, |world| async move {
        super::idle(&world, "c");
        let (mut a, mut b) = pair(&world).await;
        world.drop_connections("a", "c", [true, true]);
        a.write_all(b"on").await.unwrap();
        assert_eq!(read(&mut b, 2).await.unwrap(), b"on");
    });
}

#[test]
fn a_machine_that_moves_is_found_again_when_its_name_has_followed() {
    between(1, |world| async move {
        let (mut a, mut b) = pair(&world).await;
        let server = world.spawn_on("b", async {
            let listener = TcpListener::bind("0.0.0.0:9").await.unwrap();
            listener.accept().await.map(drop)
        });
        sleep(millis(1)).await;
        let before = world.address("b");
        world.move_address("b", 5 * SECOND);
        assert_ne!(world.address("b"), before);
        a.write_all(b"lost").await.unwrap();
        assert!(
            timeout(MINUTE, b.read(&mut [0])).await.is_err(),
            "the old address is nobody's"
        );
        world.move_address("b", 5 * SECOND);
        let early = world.spawn_on("a", TcpStream::connect("b:9")).await;
        assert_eq!(early.unwrap().err().unwrap().kind(), ErrorKind::HostUnreachable);
        sleep(6 * SECOND).await;
        world.spawn_on("a", TcpStream::connect("b:9")).await.unwrap().unwrap();
        server.await.unwrap().unwrap();
    });
}

#[test]
fn connections_are_counted_while_a_program_holds_them() {
    between(1, |world| async move {
        assert_eq!(world.connections("a"), 0);
        let (a, b) = pair(&world).await;
        assert_eq!((world.connections("a"), world.connections("b")), (1, 1));
        drop(a);
        assert_eq!((world.connections("a"), world.connections("b")), (0, 1));
        drop(b);
        assert_eq!(world.connections("b"), 0);
    });
}

#[test]
fn a_wiped_machine_comes_back_with_an_empty_disk() {
    between(1, |world| async move {
        let disk = world.disk("b").disk();
        disk.open("kept", OpenMode::Create)
            .unwrap()
            .write_all_at(b"x", 0)
            .unwrap();
        world.wipe("b");
        assert!(!world.is_running("b"));
        assert!(disk.exists("kept").is_err(), "its handles are dead");
        world.restart("b");
        assert!(!world.disk("b").disk().exists("kept").unwrap());
    });
}

#[test]
fn a_clock_that_begins_to_drift_keeps_what_it_shows() {
    between(1, |world| async move {
        world.set_clock("b", 2_000_000, 0);
        sleep(10 * SECOND).await;
        world.set_drift("b", 100_000);
        let ahead = |world: &crate::runtime::simulated::World| world.spawn_on("b", async { wall_clock().micros() });
        let before = ahead(&world).await.unwrap();
        sleep(10 * SECOND).await;
        let passed = ahead(&world).await.unwrap() - before;
        assert!((10_990_000..=11_010_000).contains(&passed), "{passed}");
    });
}

#[test]
fn the_end_of_a_machine_that_went_away_without_a_word_is_noticed() {
    between(1, |world| async move {
        let (mut a, _b) = pair(&world).await;
        sleep(30 * MINUTE).await;
        assert!(
            timeout(SECOND, a.read(&mut [0])).await.is_err(),
            "who only says nothing is still there"
        );
        world.power_off("b");
        let start = now();
        let error = a.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let noticed = start.elapsed();
        assert!((MINUTE..2 * MINUTE + 5 * SECOND).contains(&noticed), "{noticed:?}");
    });
}

#[test]
fn a_machine_that_came_back_knows_nothing_of_what_there_was_before() {
    between(1, |world| async move {
        let (mut a, _b) = pair(&world).await;
        world.power_off("b");
        world.restart("b");
        let start = now();
        let error = a.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(start.elapsed() <= MINUTE + SECOND, "{:?}", start.elapsed());
    });
}
