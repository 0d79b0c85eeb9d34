//! Changes of role, by operators and by contact.

use std::time::Duration;

use super::harness::{DRAIN_LIMIT, free_ports, pair, server, stopped_pair, until};
use crate::config::BootstrapRole::{Primary, Standby};
use crate::engine::{ClusterErrorKind, ReadOnlyReason};
use crate::runtime;
use crate::runtime::disk::simulated::DiskFaults;

#[tokio::test(flavor = "multi_thread")]
async fn c_071_an_orderly_failover_there_and_back_loses_nothing() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    a.insert("app", 0..10).await.unwrap();
    a.assume("standby", 2).await.unwrap();
    assert_eq!(
        b.ids("app"),
        (0..10).collect::<Vec<_>>(),
        "everything was there when the call returned"
    );
    b.assume("primary", 2).await.unwrap();
    assert_eq!((a.role(), b.role()), ("standby@2".to_owned(), "primary@2".to_owned()));
    assert!(a.insert("app", [99]).await.is_err());
    b.insert("app", 10..20).await.unwrap();
    a.has("app", 0..20).await;
    b.assume("standby", 3).await.unwrap();
    a.assume("primary", 3).await.unwrap();
    a.insert("app", 20..30).await.unwrap();
    b.has("app", 0..30).await;
    assert_eq!((a.role(), b.role()), ("primary@3".to_owned(), "standby@3".to_owned()));
    assert_eq!(a.root("app"), b.root("app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_059_and_c_070_without_a_standby_a_primary_stays_primary_and_nobody_is_disturbed() {
    let (mut a, _b) = stopped_pair().await;
    a.start().await;
    a.create_database("app").await;
    let client = a.connect();
    let error = a.assume("standby", 2).await.unwrap_err();
    assert!(
        error
            .message
            .contains("failed to transition from primary to standby gracefully"),
        "{error}"
    );
    assert_eq!(error.kind, ClusterErrorKind::WrongState);
    let detail = error.detail.unwrap();
    assert!(
        detail.contains("standby remote standby") && detail.contains("error fetching destDB"),
        "{detail}"
    );
    assert!(!client.is_finished(), "the client was not killed");
    assert_eq!(a.role(), "primary@1");
    a.insert("app", [1]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn c_060_and_c_063_clients_are_killed_and_awaited() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    let (client_a, client_b) = (a.connect(), b.connect());
    a.assume("standby", 2).await.unwrap();
    assert!(client_a.await.unwrap().contains("cluster role"));
    b.assume("primary", 2).await.unwrap();
    assert!(client_b.await.unwrap().contains("cluster role"));
}

/// The caller of a promotion is tainted; of a call that changes nothing, or only the epoch, not.
#[tokio::test(flavor = "multi_thread")]
async fn c_054_to_c_056_who_is_tainted() {
    let (_a, mut b) = stopped_pair().await;
    b.start().await;
    let caller = b.engine().sessions().register("postgres", "app");
    let control = b.control();
    for epoch in [1, 2] {
        control.assume_role("standby", epoch, caller.id()).await.unwrap();
        assert!(!b.engine().sessions().is_tainted(caller.id()));
    }
    control.assume_role("primary", 3, caller.id()).await.unwrap();
    assert!(b.engine().sessions().is_tainted(caller.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_062_and_c_061_a_standby_that_fails_mid_drain_gives_the_primary_its_writers_back() {
    let (a, mut b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    // Confirmed, then gone: the pre-flight passes and the drain does not.
    let demotion = runtime::spawn("demotion", {
        let control = a.control();
        async move {
            control
                .assume_role("standby", 2, crate::engine::SessionId(u64::MAX))
                .await
        }
    });
    b.power_off().await;
    let result = demotion.await.unwrap();
    if result.is_ok() {
        // It was faster than the loss of power.
        assert_eq!(a.role(), "standby@2");
        return;
    }
    assert_eq!(a.role(), "primary@1");
    a.insert("app", [1]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn c_069_no_acknowledged_write_is_missing_after_a_demotion() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    let acknowledged = parking_lot::Mutex::new(Vec::new());
    let writer = |lane: i64| {
        let (a, acknowledged) = (&a, &acknowledged);
        async move {
            for id in (0..100_000).map(|n| n * 4 + lane) {
                match a.insert("app", [id]).await {
                    Ok(()) => acknowledged.lock().push(id),
                    Err(_) => return,
                }
            }
        }
    };
    let demotion = async {
        runtime::sleep(Duration::from_millis(300)).await;
        a.assume("standby", 2).await.unwrap();
    };
    tokio::join!(writer(0), writer(1), writer(2), writer(3), demotion);
    let there = b.ids("app");
    let acknowledged = acknowledged.into_inner();
    assert!(!acknowledged.is_empty(), "there was something to lose");
    for id in acknowledged {
        assert!(
            there.binary_search(&id).is_ok(),
            "{id} was acknowledged and is not on the standby"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c_072_an_epoch_bump_reaches_the_standby() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    let client = b.connect();
    a.assume("primary", 6).await.unwrap();
    b.is("standby@6").await;
    assert!(!client.is_finished(), "nobody is killed for an epoch");
    a.insert("app", [1]).await.unwrap();
    b.has("app", [1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_090_a_standby_adopts_the_epoch_of_its_primary() {
    let [pa, pb] = free_ports().await;
    let mut a = server(1, pa, &[pb], Primary, 10);
    let mut b = server(2, pb, &[pa], Standby, 1);
    a.start().await;
    b.start().await;
    b.is("standby@10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_092_and_c_093_of_two_primaries_the_higher_epoch_wins() {
    let [pa, pb] = free_ports().await;
    let mut a = server(1, pa, &[pb], Primary, 15);
    let mut b = server(2, pb, &[pa], Primary, 10);
    b.start().await;
    b.create_database("app").await;
    b.insert("app", 100..200).await.unwrap();
    let client = b.connect();
    a.start().await;
    a.create_database("app").await;
    a.insert("app", 0..10).await.unwrap();
    b.is("standby@15").await;
    client.await.unwrap();
    b.has("app", 0..10).await;
    assert_eq!(a.role(), "primary@15");
    assert!(b.insert("app", [1]).await.is_err());
    until(
        "roots",
        || a.root("app") == b.root("app"),
        || format!("{:?}", b.root("app")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_094_c_095_c_037_two_primaries_at_one_epoch_break_and_are_repaired() {
    let [pa, pb] = free_ports().await;
    let mut a = server(1, pa, &[pb], Primary, 10);
    let mut b = server(2, pb, &[pa], Primary, 10);
    a.start().await;
    a.create_database("app").await;
    a.insert("app", 0..10).await.unwrap();
    b.start().await;
    a.is("detected_broken_config@10").await;
    b.is("detected_broken_config@10").await;
    assert!(a.insert("app", [11]).await.is_err());
    assert_eq!(a.ids("app").len(), 10, "reads go on");
    let row = a.status("app");
    assert!(
        row.current_error
            .unwrap()
            .contains("more than one server was configured as primary in the same epoch")
    );
    assert_eq!((row.last_update, row.replication_lag_millis), (None, None));
    a.assume("primary", 11).await.unwrap();
    b.is("standby@11").await;
    b.has("app", 0..10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_102_a_stale_primary_is_refused_and_told_the_epoch() {
    let (a, b) = pair().await;
    a.create_database("app").await;
    b.has("app", []).await;
    b.assume("standby", 11).await.unwrap();
    a.insert("app", [1]).await.unwrap();
    let row = || a.status("app");
    let refused = |error: String| error.contains("FailedPrecondition") && error.contains("epoch 11");
    until(
        "a refusal",
        || row().current_error.is_some_and(refused),
        || format!("{:?}", row()),
    )
    .await;
    assert_eq!(
        a.role(),
        "primary@1",
        "an epoch raised by hand is no evidence of a primary"
    );
    assert_eq!(b.ids("app"), Vec::<i64>::new());
    a.assume("primary", 11).await.unwrap();
    b.has("app", [1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_103_evidence_at_a_common_standby_fences_a_stale_primary() {
    let [pa, pb, pc, nowhere] = free_ports().await;
    // A and B cannot reach each other; both reach C.
    let mut a = server(1, pa, &[pc], Primary, 10);
    let mut b = server(2, pb, &[pc], Primary, 11);
    let mut c = server(3, pc, &[pa, pb], Standby, 1);
    let _ = nowhere;
    c.start().await;
    b.start().await;
    c.is("standby@11").await;
    a.start().await;
    a.is("standby@11").await;
    assert_eq!(c.role(), "standby@11");
    assert_eq!(b.role(), "primary@11");
}

#[tokio::test(flavor = "multi_thread")]
async fn c_104_a_common_standby_notices_two_primaries_of_one_epoch() {
    let [pa, pb, pc] = free_ports().await;
    let mut a = server(1, pa, &[pc], Primary, 10);
    let mut b = server(2, pb, &[pc], Primary, 10);
    let mut c = server(3, pc, &[pa, pb], Standby, 10);
    c.start().await;
    a.start().await;
    a.create_database("app").await;
    c.has("app", []).await;
    b.start().await;
    c.is("detected_broken_config@10").await;
    a.is("detected_broken_config@10").await;
    b.is("detected_broken_config@10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c_027_the_role_is_what_it_was_after_power_loss() {
    let (mut a, mut b) = pair().await;
    a.create_database("app").await;
    a.insert("app", 0..5).await.unwrap();
    b.has("app", 0..5).await;
    a.assume("standby", 2).await.unwrap();
    a.power_off().await;
    b.assume("primary", 2).await.unwrap();
    b.insert("app", 5..10).await.unwrap();
    b.power_off().await;
    a.start().await;
    b.start().await;
    assert_eq!((a.role(), b.role()), ("standby@2".to_owned(), "primary@2".to_owned()));
    a.has("app", 0..10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_primary_returns_as_standby_and_takes_over_the_new_history() {
    let (mut a, mut b) = pair().await;
    a.create_database("app").await;
    a.insert("app", 0..10).await.unwrap();
    b.has("app", 0..10).await;
    b.stop().await;
    a.insert("app", 100..110).await.unwrap();
    a.power_off().await;
    b.start().await;
    b.assume("primary", 2).await.unwrap();
    b.insert("app", 10..20).await.unwrap();
    a.start().await;
    a.is("standby@2").await;
    a.has("app", 0..20).await;
    assert_eq!(a.root("app"), b.root("app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c_026_a_role_that_cannot_be_stored_is_not_assumed() {
    let (_a, mut b) = stopped_pair().await;
    b.start().await;
    // The handles of this incarnation are dead from here on: every write fails.
    b.disk.kill();
    let error = b.assume("primary", 2).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::NotStored);
    assert_eq!(b.role(), "standby@1");
    b.power_off().await;
    b.start().await;
    assert_eq!(b.role(), "standby@1");
}

/// The file is replaced, and then the sync of its folder fails: it says what nobody assumed, and a start would believe it.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_refused_is_not_assumed_by_the_next_start() {
    let (_a, mut b) = stopped_pair().await;
    for again in [false, true] {
        b.start().await;
        // Two folders are synced before the file is replaced.
        b.disk.set_faults(DiskFaults {
            fail_dir_sync_after: Some(2),
            sync_fails: 0,
            ..b.disk.faults()
        });
        let error = b.assume("primary", 2).await.unwrap_err();
        assert_eq!(error.kind, ClusterErrorKind::NotStored);
        assert_eq!(b.role(), "standby@1");
        assert_eq!(
            b.disk.faults().fail_dir_sync_after,
            None,
            "it did not come to the sync that fails"
        );
        if again {
            b.power_off().await;
        } else {
            b.stop().await;
        }
    }
    b.start().await;
    assert_eq!(b.role(), "standby@1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_server_that_cannot_store_its_new_role_says_so_and_stays_broken() {
    let [pa, pb] = free_ports().await;
    let mut a = server(1, pa, &[pb], Primary, 10);
    let mut b = server(2, pb, &[pa], Primary, 10);
    a.start().await;
    b.start().await;
    b.is("detected_broken_config@10").await;
    a.stop().await;
    b.disk.kill();
    let error = b.assume("standby", 11).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::NotStored);
    assert_eq!(b.role(), "detected_broken_config@10");
    assert_eq!(b.engine().gate().reason(), Some(ReadOnlyReason::BrokenConfig));
}

/// A session that ignores what it is told (its statement computes and does not look up, say).
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_end_holds_up_no_change_of_role() {
    let [pa, pb] = free_ports().await;
    let mut a = server(1, pa, &[pb], Primary, 15);
    let mut b = server(2, pb, &[pa], Primary, 10);
    b.start().await;
    b.create_database("app").await;
    let deaf = b.engine().sessions().register("postgres", "app");
    a.start().await;
    b.is("standby@15").await;
    assert!(deaf.begin_statement().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn c_067_of_two_demotions_at_once_one_is_refused() {
    let (mut a, _b) = stopped_pair().await;
    a.start().await;
    let begun = runtime::now();
    let (one, two) = tokio::join!(a.assume("standby", 2), a.assume("standby", 3));
    assert!(one.is_err() && two.is_err());
    assert!(begun.elapsed() < DRAIN_LIMIT * 3, "no deadlock");
    assert_eq!(a.role(), "primary@1");
}
