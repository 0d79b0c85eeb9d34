//! The stream against what TCP does while all machines live.

use std::future::pending;
use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{MINUTE, SECOND, between, millis, pair, read, steady};
use crate::runtime::net::{TcpListener, TcpStream};
use crate::runtime::simulated::LinkSettings;
use crate::runtime::{now, sleep, spawn, timeout};

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
