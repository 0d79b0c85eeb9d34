//! Acknowledged means synced: kill -9 at any time loses nothing that was acknowledged.

use std::time::Duration;

use crate::harness::{Server, cell, eventually};

#[tokio::test]
async fn s_028_acknowledged_rows_survive_kill_9_again_and_again() {
    let mut server = Server::start();
    server
        .connect("postgres")
        .await
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    let mut acknowledged = 0;
    for _ in 0..3 {
        let client = server.connect("postgres").await;
        let from = acknowledged;
        let writer = tokio::spawn(async move {
            let mut last = from;
            while client
                .execute("INSERT INTO t VALUES ($1)", &[&(last + 1)])
                .await
                .is_ok()
            {
                last += 1;
            }
            last
        });
        let watcher = server.connect("postgres").await;
        eventually("some rows are written", || async {
            (cell(&watcher, "SELECT count(*) FROM t").await.parse::<i32>().unwrap() > from + 10).then_some(())
        })
        .await;
        server.kill();
        let last = writer.await.unwrap();
        server.boot();
        let client = server.connect("postgres").await;
        let count: i32 = cell(&client, "SELECT count(*) FROM t").await.parse().unwrap();
        let highest: i32 = cell(&client, "SELECT max(id) FROM t").await.parse().unwrap();
        assert_eq!(count, highest, "rows are missing in between");
        assert!(
            highest == last || highest == last + 1,
            "acknowledged up to {last}, found {highest}"
        );
        acknowledged = highest;
    }
}

#[tokio::test]
async fn s_027_sigterm_exits_with_0_and_loses_nothing() {
    let mut server = Server::start();
    let client = server.connect("postgres").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    server.boot();
    assert_eq!(
        cell(&server.connect("postgres").await, "SELECT count(*) FROM t").await,
        "1"
    );
}

#[test]
fn s_027_a_stop_at_the_ready_line_is_graceful() {
    let mut server = Server::start();
    for _ in 0..10 {
        let status = server.terminate();
        assert_eq!(status.code(), Some(0), "{}", server.log());
        server.boot();
    }
}

#[tokio::test]
async fn databases_are_created_connected_to_and_dropped() {
    let mut server = Server::start();
    let client = server.connect("postgres").await;
    client.batch_execute("CREATE DATABASE shop").await.unwrap();
    client.batch_execute("CREATE DATABASE \"Odd name 100%\"").await.unwrap();
    let shop = server.connect("shop").await;
    shop.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    assert_eq!(cell(&shop, "SELECT current_database()").await, "shop");
    server.kill();
    server.boot();
    let shop = server.connect("shop").await;
    assert_eq!(cell(&shop, "SELECT count(*) FROM t").await, "0");
    assert_eq!(
        cell(&server.connect("Odd name 100%").await, "SELECT current_database()").await,
        "Odd name 100%"
    );
    drop(shop);
    let client = server.connect("postgres").await;
    eventually("no session is left in the database", || async {
        client.batch_execute("DROP DATABASE shop").await.ok()
    })
    .await;
    let error = server
        .try_connect("shop")
        .await
        .expect_err("a dropped database cannot be connected to");
    assert_eq!(error.code().unwrap().code(), "3D000");
}

#[tokio::test]
async fn concurrent_writers_all_succeed() {
    let server = Server::start();
    let client = server.connect("postgres").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (0, 0)")
        .await
        .unwrap();
    let mut writers = Vec::new();
    for writer in 0..8 {
        let client = server.connect("postgres").await;
        writers.push(tokio::spawn(async move {
            for i in 0..10 {
                client
                    .execute("INSERT INTO t VALUES ($1, 1)", &[&(1 + writer * 10 + i)])
                    .await
                    .unwrap();
                client
                    .execute("UPDATE t SET n = n + 1 WHERE id = 0", &[])
                    .await
                    .unwrap();
            }
        }));
    }
    for writer in writers {
        tokio::time::timeout(Duration::from_secs(60), writer)
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(
        cell(&client, "SELECT n FROM t WHERE id = 0").await,
        "80",
        "an increment was lost"
    );
    assert_eq!(cell(&client, "SELECT count(*) FROM t").await, "81");
}
