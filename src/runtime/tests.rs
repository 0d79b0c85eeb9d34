//! What both implementations promise: the same tests run over tokio and in the simulator.

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};

use super::net::{TcpListener, TcpStream};
use super::{TaskError, now, sleep, sleep_until, spawn, timeout, wall_clock};

const LONG: Duration = Duration::from_secs(60);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[cfg(madsim)]
fn run<F: Future>(test: F) -> F::Output {
    super::simulated::World::run(1, |_| test)
}

#[cfg(not(madsim))]
fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    let target = format!("localhost:{}", address.port());
    let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(&target));
    let ((accepted, peer), connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(peer, connected.local_addr().unwrap());
    assert_eq!(accepted.peer_addr().unwrap(), peer);
    (connected, accepted)
}

#[test]
fn a_task_gives_its_output() {
    run(async {
        let task = spawn("answer", async { 42 });
        assert_eq!(task.await, Ok(42));
    });
}

#[test]
fn a_dropped_task_runs_on_and_an_aborted_one_stops() {
    run(async {
        let (go, gone, ran) = (
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
            Arc::new(Mutex::new(0)),
        );
        let counter = |name| {
            let (go, gone, ran) = (go.clone(), gone.clone(), ran.clone());
            spawn(name, async move {
                go.notified().await;
                *ran.lock() += 1;
                gone.notify_one();
            })
        };
        drop(counter("dropped"));
        let aborted = counter("aborted");
        sleep(millis(5)).await;
        aborted.abort();
        assert_eq!(aborted.await, Err(TaskError::Aborted { name: "aborted" }));
        let held = counter("held").abort_on_drop();
        sleep(millis(5)).await;
        assert!(!held.is_finished());
        drop(held);
        sleep(millis(5)).await;
        go.notify_waiters();
        timeout(LONG, gone.notified()).await.expect("one still runs");
        sleep(millis(5)).await;
        assert_eq!(*ran.lock(), 1);
    });
}

#[cfg(not(madsim))]
#[test]
fn a_panic_is_an_error_for_who_waits() {
    run(async {
        let task = spawn("broken", async { panic!("on purpose") });
        assert_eq!(task.await, Err(TaskError::Panicked { name: "broken" }));
    });
}

#[test]
fn deadlines() {
    run(async {
        let start = now();
        assert!(timeout(millis(20), pending::<()>()).await.is_err());
        assert!(start.elapsed() >= millis(20));
        assert_eq!(timeout(LONG, async { 5 }).await, Ok(5));
        assert_eq!(timeout(Duration::ZERO, async { 5 }).await, Ok(5), "what is ready wins");
        sleep_until(start).await;
        let deadline = now() + millis(10);
        sleep_until(deadline).await;
        assert!(now() >= deadline);
        assert_eq!(start - now(), Duration::ZERO, "never negative");
        let never = spawn("never", sleep(Duration::MAX));
        sleep(millis(5)).await;
        assert!(!never.is_finished(), "for ever is not at once");
    });
}

#[test]
fn the_wall_clock_shows_this_century() {
    run(async {
        let year_2020 = 1_577_836_800_000_000;
        let time = wall_clock();
        assert!(time.micros() > year_2020);
        assert_eq!(time.millis(), time.micros() / 1_000);
        sleep(millis(10)).await;
        assert!(wall_clock().micros_since(time) >= 10_000);
    });
}

#[test]
fn a_closed_way_ends_the_reader_and_leaves_the_other_way_open() {
    run(async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"question");
        server.write_all(b"answer").await.unwrap();
        drop(server);
        bytes.clear();
        client.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"answer");
    });
}

#[test]
fn errors_of_connecting_and_binding() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        assert_eq!(
            TcpListener::bind(&address).await.unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        drop(listener);
        assert_eq!(
            TcpStream::connect(&address).await.unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
        assert_eq!(
            TcpStream::connect("no port").await.unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        drop(TcpListener::bind(&address).await.expect("free again"));
    });
}

#[test]
fn who_closes_without_reading_resets() {
    run(async {
        let (mut client, server) = pair().await;
        client.write_all(b"never read").await.unwrap();
        sleep(millis(50)).await;
        drop(server);
        let mut bytes = [0; 1];
        assert_eq!(
            client.read(&mut bytes).await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    });
}

#[test]
fn a_writer_waits_for_its_reader() {
    run(async {
        let (mut client, mut server) = pair().await;
        let total = 64 * 1024 * 1024;
        let (send, received) = oneshot::channel();
        let writer = spawn("writer", async move {
            let bytes = vec![7; total];
            client.write_all(&bytes).await.unwrap();
            send.send(()).unwrap();
        });
        sleep(millis(100)).await;
        assert!(!writer.is_finished(), "64 MiB do not fit between the two");
        let mut left = total;
        let mut buf = vec![0; 1024 * 1024];
        while left > 0 {
            left -= server.read(&mut buf).await.unwrap();
        }
        received.await.unwrap();
        assert_eq!(server.read(&mut buf).await.unwrap(), 0);
    });
}
