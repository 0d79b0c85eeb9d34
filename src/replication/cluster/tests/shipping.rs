//! What reaches the standby, and how it catches up.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::harness::{LogOfThread, free_ports, pair, server, stopped_pair, until};
use crate::config::BootstrapRole;
use crate::runtime;
use crate::runtime::disk::simulated::DiskFaults;
use crate::runtime::net::{TcpListener, TcpStream};

/// Long enough for whatever does not wait for a sync to be done before it.
const SLOW_SYNC: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn c_120_commits_reach_the_standby_with_the_same_root() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    a.insert("app", 0..5).await.unwrap();
    b.has("app", 0..5).await;
    assert_eq!(a.root("app"), b.root("app"), "proved, not assumed");
    until(
        "lag 0",
        || a.status("app").replication_lag_millis == Some(0),
        || format!("{:?}", a.status("app")),
    )
    .await;
    assert_eq!(a.status("app").current_error, None);
    for id in 5..50 {
        a.insert("app", [id]).await.unwrap();
    }
    b.has("app", 0..50).await;
    assert_eq!(a.root("app"), b.root("app"));
}

/// Streams may break before their first heartbeat is due, and a demotion must not wait for one.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_root_confirms_its_link() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    let database = a.engine().database("app").unwrap();
    let link = || a.cluster().core().links.get((database.id(), 0)).unwrap().state();
    // Several, so that they are not all between two heartbeats.
    for id in 0..5 {
        let since = runtime::now();
        a.insert("app", [id]).await.unwrap();
        let newest = database.store().published().sequence;
        let acknowledged = || link().acknowledged.is_some_and(|record| record.sequence >= newest);
        until("an acknowledgement", acknowledged, || format!("{:?}", link())).await;
        assert!(
            link().confirmed.is_some_and(|confirmed| confirmed >= since),
            "{:?}",
            link()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c_202_a_standby_hears_of_its_primary_and_has_no_lag_of_its_own() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    until(
        "contact",
        || !b.names().is_empty() && b.status("app").last_update.is_some(),
        || format!("{:?}", b.names()),
    )
    .await;
    let first = b.status("app").last_update;
    until(
        "another contact",
        || b.status("app").last_update > first,
        || format!("{:?}", b.status("app")),
    )
    .await;
    let row = b.status("app");
    assert_eq!(
        (row.replication_lag_millis, row.current_error, row.role.as_str()),
        (None, None, "standby")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c_030_a_standby_refuses_writes() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    until(
        "the table",
        || a.root("app") == b.root("app"),
        || format!("{:?}", b.root("app")),
    )
    .await;
    let error = b.insert("app", [1]).await.unwrap_err().to_string();
    assert!(error.contains("app is read-only"), "{error}");
    let error = b
        .engine()
        .create_database("other")
        .await
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("database server is set to read only mode"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c_121_a_standby_that_was_down_catches_up() {
    let (a, mut b) = pair().await;
    a.create_database("app").await;
    a.insert("app", 0..10).await.unwrap();
    b.has("app", 0..10).await;
    // What the standby has is visible there before its answer is here, and without an answer there is no lag.
    a.drain(Duration::from_secs(20)).await.unwrap();
    b.stop().await;
    for id in 10..40 {
        a.insert("app", [id]).await.unwrap();
    }
    let row = || a.status("app");
    let fails = || row().current_error.is_some_and(|error| error.contains("status: "));
    until("an error with its gRPC status", fails, || format!("{:?}", row())).await;
    let lags = || row().replication_lag_millis.is_some_and(|lag| lag > 0);
    until("a lag", lags, || format!("{:?}", row())).await;
    b.start().await;
    b.has("app", 0..40).await;
    until("recovery", || row().current_error.is_none(), || format!("{:?}", row())).await;
    until(
        "lag 0",
        || row().replication_lag_millis == Some(0),
        || format!("{:?}", row()),
    )
    .await;
    assert_eq!(a.root("app"), b.root("app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_121_lag_is_null_after_a_restart_of_the_primary_until_the_standby_answers() {
    let (mut a, mut b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    b.stop().await;
    a.insert("app", 0..10).await.unwrap();
    a.power_off().await;
    a.start().await;
    assert_eq!(a.status("app").replication_lag_millis, None);
    b.start().await;
    b.has("app", 0..10).await;
    until(
        "lag 0",
        || a.status("app").replication_lag_millis == Some(0),
        || format!("{:?}", a.status("app")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_150_an_emptied_standby_gets_everything_again() {
    let (a, mut b) = pair().await;
    a.create_database("app").await;
    for id in 0..30 {
        a.insert("app", [id]).await.unwrap();
    }
    b.has("app", 0..30).await;
    b.stop().await;
    b.wipe(77);
    let slow = Duration::from_millis(200);
    b.disk.set_sync_latency(slow..=slow);
    b.start().await;
    // What it had acknowledged is gone, and so it counts for nothing.
    let row = || a.status("app");
    until(
        "no lag",
        || row().replication_lag_millis.is_none(),
        || format!("{:?}", row()),
    )
    .await;
    a.drain(Duration::ZERO).await.unwrap_err();
    b.disk.set_sync_latency(Duration::ZERO..=Duration::ZERO);
    b.has("app", 0..30).await;
    assert_eq!(a.root("app"), b.root("app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_141_a_large_commit_arrives_whole() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    a.insert("app", 0..50_000).await.unwrap();
    until(
        "the root",
        || a.root("app") == b.root("app"),
        || format!("{:?}", b.root("app")),
    )
    .await;
    assert_eq!(b.ids("app").len(), 50_000);
    // And by walking, from nothing.
    let (_, mut b) = (a.root("app"), b);
    b.stop().await;
    b.wipe(78);
    b.start().await;
    until(
        "the root",
        || a.root("app") == b.root("app"),
        || format!("{:?}", b.root("app")),
    )
    .await;
    assert_eq!(b.ids("app").len(), 50_000);
}

/// Passes bytes on between a server at `port` and whoever connects, and hangs up after so many of them each time.
async fn breaking_link(port: u16, bytes: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().port();
    let run = async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let Ok(mut far) = TcpStream::connect(&format!("127.0.0.1:{port}")).await else {
                continue;
            };
            runtime::spawn("breaking link", async move {
                let (mut there, mut back) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
                let mut left = bytes;
                while left > 0 {
                    let passed = tokio::select! {
                        read = near.read(&mut there) => match read {
                            Ok(1..) => { let n = read.unwrap(); far.write_all(&there[..n]).await.map(|()| n) }
                            _ => return,
                        },
                        read = far.read(&mut back) => match read {
                            Ok(1..) => { let n = read.unwrap(); near.write_all(&back[..n]).await.map(|()| n) }
                            _ => return,
                        },
                    };
                    left = left.saturating_sub(passed.unwrap_or(left));
                }
            })
            .detach();
        }
    };
    runtime::spawn("breaking links", run).detach();
    proxy
}

/// The second commit alone is far more than any connection carries, and would be sent from its beginning each time. On
/// one thread, whose log is read.
#[tokio::test]
async fn a_commit_arrives_over_connections_that_break_long_before_its_end() {
    const CARRIED: usize = 400 * 1024;
    let log = LogOfThread::listen();
    let [a, b] = free_ports().await;
    let proxy = breaking_link(b, CARRIED).await;
    let mut a = server(1, a, &[proxy], BootstrapRole::Primary, 1);
    let mut b = server(2, b, &[a.config().remotesapi.port], BootstrapRole::Standby, 1);
    a.start().await;
    b.start().await;
    a.create_database("app").await;
    a.insert("app", [0]).await.unwrap();
    b.has("app", [0]).await;
    a.insert("app", 1..100_000).await.unwrap();
    let size = a.engine().database("app").unwrap().store().size();
    assert!(size.log_bytes > 3 * CARRIED as u64, "{size:?} is too little");
    until(
        "the root",
        || a.root("app") == b.root("app"),
        || a.status("app").current_error.unwrap_or_default(),
    )
    .await;
    assert_eq!(b.ids("app").len(), 100_000);
    let log = log.text();
    let taken = |line: &&str| line.contains("taking over the primary's database") && line.contains("database=\"app\"");
    assert!(log.lines().any(|line| taken(&line)), "{log}");
    assert!(
        !log.contains("replacing a root"),
        "nothing that it had alone is given up: {log}"
    );
}

/// What is deleted and inserted again has chunks that the primary stored long ago and a standby that walked has not.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_comes_back_arrives_at_a_standby_that_never_had_it() {
    let (a, mut b) = stopped_pair().await;
    let mut a = a;
    a.start().await;
    a.create_database("app").await;
    let names = ["one", "two"];
    for name in names {
        a.create_database(name).await;
    }
    a.insert("app", 0..2_000).await.unwrap();
    let before = a.root("app");
    let database = a.engine().database("app").unwrap();
    let mut transaction = database.begin();
    let name = crate::version::TableName::new("public", "t");
    let schema = transaction.table_schema(&name).unwrap().unwrap();
    for id in 0..2_000 {
        let key = crate::version::encode_key(&schema, &[crate::version::Value::Int8(id), crate::version::Value::Null]);
        assert!(transaction.delete(&name, &key).unwrap());
    }
    database.commit(transaction).await.unwrap();
    b.start().await;
    until(
        "the root",
        || a.root("app") == b.root("app"),
        || format!("{:?}", b.root("app")),
    )
    .await;
    a.insert("app", 0..2_000).await.unwrap();
    assert_eq!(a.root("app"), before, "the shape of a map depends on its content alone");
    b.has("app", 0..2_000).await;
    assert_eq!(a.root("app"), b.root("app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_127_and_c_128_databases_are_dropped_and_made_again_on_the_standby() {
    let (a, b) = pair().await;
    for round in 0..5 {
        a.create_database("app").await;
        a.insert("app", [round]).await.unwrap();
        if round % 2 == 0 {
            b.has("app", [round]).await;
        }
        a.engine().drop_database("app").await.unwrap();
    }
    until("the drop", || b.names().is_empty(), || format!("{:?}", b.names())).await;
    assert!(a.control().status().is_empty());
    a.create_database("app").await;
    a.insert("app", [9]).await.unwrap();
    b.has("app", [9]).await;
}

/// Polls what is listed while databases are made: none is ever seen before the primary's first root.
#[tokio::test(flavor = "multi_thread")]
async fn c_156_a_database_is_not_seen_before_its_first_root() {
    let (a, b) = pair().await;
    let making = async {
        for round in 0..10 {
            a.create_database(&format!("app{round}")).await;
        }
    };
    let polling = async {
        while b.names().len() < 10 {
            for name in b.names() {
                assert!(b.root(&name).is_some_and(|root| !root.is_none()), "{name}");
            }
            runtime::sleep(Duration::from_millis(1)).await;
        }
    };
    let both = async { tokio::join!(making, polling) };
    runtime::timeout(Duration::from_secs(20), both)
        .await
        .expect("all ten arrive");
}

/// B has applied a root and not synced it when the stream breaks: what it says on the next stream counts as saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_not_synced_is_not_acknowledged_on_a_new_stream() {
    let (mut a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    b.disk.set_sync_latency(SLOW_SYNC..=SLOW_SYNC);
    a.insert("app", [1]).await.unwrap();
    let unsynced = || b.pending("app") == a.pending("app") && b.root("app") != a.root("app");
    until("a root that is not synced", unsynced, || format!("{:?}", b.root("app"))).await;
    a.power_off().await;
    a.start().await;
    a.drain(SLOW_SYNC * 4).await.unwrap();
    assert_eq!(a.root("app"), b.root("app"), "acknowledged, so it is durable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_whose_sync_failed_is_never_acknowledged() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    // Only an acknowledgement clears the error of a stream that came before the database was known.
    a.drain(Duration::from_secs(20)).await.unwrap();
    b.disk.set_faults(DiskFaults {
        fail_sync_after: Some(0),
        ..DiskFaults::default()
    });
    a.insert("app", [1]).await.unwrap();
    let row = || a.status("app");
    until("an error", || row().current_error.is_some(), || format!("{:?}", row())).await;
    assert_eq!(b.pending("app"), a.pending("app"), "written, and its sync failed");
    let behind = a.drain(Duration::from_secs(2)).await.unwrap_err();
    assert!(behind.iter().all(|link| link.contains("database app")), "{behind:?}");
    assert!(a.assume("standby", 2).await.is_err());
    assert_eq!(a.role(), "primary@1");
}

/// A row comes and goes: the root is the one the standby acknowledged before, and the one with the row is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_comes_back_is_not_taken_for_what_was_acknowledged() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    a.drain(Duration::from_secs(20)).await.unwrap();
    let before = a.root("app");
    b.disk.set_sync_latency(SLOW_SYNC..=SLOW_SYNC);
    a.insert("app", [1]).await.unwrap();
    until(
        "the row on its way",
        || b.pending("app") == a.pending("app"),
        || format!("{:?}", b.root("app")),
    )
    .await;
    a.delete("app", 1).await.unwrap();
    assert_eq!(a.root("app"), before);
    a.drain(Duration::ZERO).await.unwrap_err();
    assert_ne!(a.status("app").replication_lag_millis, Some(0));
    a.drain(SLOW_SYNC * 4).await.unwrap();
    assert_eq!((b.root("app"), b.pending("app")), (before, a.pending("app")));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_147_collections_on_both_sides_disturb_no_replication() {
    // Would fail if a collection took what the standby still asks for, or what it had staged.
    let (a, b) = pair().await;
    a.create_database("app").await;
    for round in 0..6 {
        a.insert("app", round * 20..round * 20 + 20).await.unwrap();
        for server in [&a, &b] {
            if let Ok(database) = server.engine().database("app") {
                database.collect_garbage().await.unwrap();
            }
            server.engine().system().database().collect_garbage().await.unwrap();
        }
    }
    b.has("app", 0..120).await;
    assert_eq!(a.root("app"), b.root("app"));
    a.insert("app", [1000]).await.unwrap();
    b.has("app", (0..120).chain([1000])).await;
}
