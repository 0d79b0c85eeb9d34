//! Cuts between machines: what hangs, what breaks, what arrives after healing.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{MINUTE, SECOND, between, millis, pair, read};
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::{now, sleep, timeout};

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
fn a_cut_that_lasts_breaks_the_connection_soon_for_who_waits_and_late_for_who_writes() {
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
        let waited = timeout(SECOND, b.read(&mut [0])).await.expect("told long ago");
        assert_eq!(waited.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}
