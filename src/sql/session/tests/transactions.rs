//! Blocks, savepoints, conflicts, prepared statements, cancelling.

use std::time::Duration;

use super::*;
use crate::engine::TURN_LIMIT;

#[tokio::test]
async fn a_text_of_several_statements_is_one_transaction() {
    let (_world, mut session) = world_with_table().await;
    let lines = run(
        &mut session,
        "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
    )
    .await;
    assert_eq!(lines[0], "INSERT 0 1");
    assert!(lines[1].starts_with("Unique"), "{lines:?}");
    assert_eq!(lines.len(), 2);
    assert_eq!(
        rows(&mut session, "SELECT id FROM t WHERE id = 1").await,
        Vec::<String>::new()
    );
    assert_eq!(run(&mut session, " ; ").await, ["(empty)"]);
}

#[tokio::test]
async fn blocks_commit_roll_back_and_fail() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    assert_eq!(
        run(&mut session, "BEGIN; INSERT INTO t VALUES (1)").await,
        ["BEGIN", "INSERT 0 1"]
    );
    assert_eq!(session.transaction_status(), TransactionStatus::InTransaction);
    assert_eq!(
        rows(&mut other, "SELECT id FROM t WHERE id = 1").await,
        Vec::<String>::new()
    );
    assert_eq!(
        run(&mut session, "BEGIN").await,
        ["Warning: there is already a transaction in progress", "BEGIN"]
    );
    assert_eq!(run(&mut session, "COMMIT").await, ["COMMIT"]);
    assert_eq!(rows(&mut other, "SELECT id FROM t WHERE id = 1").await, ["1"]);

    run(&mut session, "BEGIN; DELETE FROM t").await;
    assert_eq!(
        error(&mut session, "INSERT INTO nope VALUES (1)").await.kind,
        SqlErrorKind::UndefinedTable
    );
    assert_eq!(session.transaction_status(), TransactionStatus::Failed);
    assert_eq!(
        error(&mut session, "SELECT id FROM t WHERE id = 1").await.kind,
        SqlErrorKind::FailedTransaction
    );
    assert_eq!(
        error(&mut session, "SHOW search_path").await.kind,
        SqlErrorKind::FailedTransaction
    );
    assert_eq!(run(&mut session, "COMMIT").await, ["ROLLBACK"]);
    assert_eq!(
        rows(&mut session, "SELECT id FROM t WHERE id = 1").await,
        ["1"],
        "the block left nothing"
    );
    assert_eq!(
        run(&mut session, "ROLLBACK").await,
        ["Warning: there is no transaction in progress", "ROLLBACK"]
    );
}

#[tokio::test]
async fn savepoints_bring_back_rows_and_settings() {
    let (_world, mut session) = world_with_table().await;
    run(
        &mut session,
        "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; SET my.x = 'in'; INSERT INTO t VALUES (2)",
    )
    .await;
    assert_eq!(
        error(&mut session, "INSERT INTO t VALUES (2)").await.kind,
        SqlErrorKind::Unique
    );
    assert_eq!(run(&mut session, "ROLLBACK TO a").await, ["ROLLBACK"]);
    assert_eq!(session.transaction_status(), TransactionStatus::InTransaction);
    assert_eq!(
        error(&mut session, "SHOW my.x").await.kind,
        SqlErrorKind::UndefinedObject
    );
    run(&mut session, "ROLLBACK TO a; RELEASE a").await;
    assert_eq!(
        error(&mut session, "ROLLBACK TO a").await.kind,
        SqlErrorKind::UndefinedSavepoint
    );
    run(&mut session, "ROLLBACK").await;
    assert_eq!(
        error(&mut session, "SAVEPOINT a").await.kind,
        SqlErrorKind::NoActiveTransaction
    );
}

/// Lost without it: two clients that increment a counter would each have to retry by hand.
#[tokio::test]
async fn v_045_a_block_that_loses_gets_40001_and_a_single_statement_runs_again() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    run(&mut session, "INSERT INTO t VALUES (1, 'n', 0)").await;
    run(&mut session, "BEGIN; UPDATE t SET price = price + 1 WHERE id = 1").await;
    assert_eq!(
        run(&mut other, "UPDATE t SET price = price + 10 WHERE id = 1").await,
        ["UPDATE 1"]
    );
    let lost = error(&mut session, "COMMIT").await;
    assert_eq!(lost.kind, SqlErrorKind::Conflict);
    assert!(
        lost.message
            .contains("this transaction conflicts with a committed transaction from another client")
    );
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(rows(&mut session, "SELECT price FROM t WHERE id = 1").await, ["10.00"]);

    // Both sessions at once, without blocks: every increment arrives.
    let increments = |mut session: Session| async move {
        for _ in 0..20 {
            assert_eq!(
                run(&mut session, "UPDATE t SET price = price + 1 WHERE id = 1").await,
                ["UPDATE 1"]
            );
        }
        session
    };
    let (mut session, _) = tokio::join!(increments(session), increments(other));
    assert_eq!(rows(&mut session, "SELECT price FROM t WHERE id = 1").await, ["50.00"]);
}

async fn execute(session: &mut Session, sql: &str, params: Vec<Value>) -> Result<Vec<String>, SqlError> {
    let prepared = session.prepare(sql, &[]).await?;
    let result = session.execute(&prepared, params, &mut Transcript::default()).await?;
    let mut lines = Vec::new();
    match result {
        QueryResult::Empty => lines.push("(empty)".to_string()),
        QueryResult::Command { tag, affected } => lines.push(tag.complete(affected)),
        QueryResult::Rows {
            rows: RowStream { fields, mut batches },
            ..
        } => {
            while let Some(batch) = batches.next().await {
                for row in values_of(&fields, batch?)? {
                    lines.push(shown(&row, &fields));
                }
            }
        }
    }
    session.sync().await?;
    Ok(lines)
}

#[tokio::test]
async fn prepared_statements_know_their_parameters_from_the_columns() {
    let (_world, mut session) = world_with_table().await;
    let insert = session
        .prepare("INSERT INTO t (name, id, price) VALUES ($2, $1, $3) RETURNING id", &[])
        .await
        .unwrap();
    assert_eq!(insert.params, [PgType::INT4, PgType::TEXT, PgType::NUMERIC]);
    assert_eq!(insert.columns.unwrap().len(), 1);
    let update = session
        .prepare("UPDATE t SET name = $1 WHERE id = $2 AND price > $3::int8", &[])
        .await
        .unwrap();
    assert_eq!(
        (update.params, update.columns),
        (vec![PgType::TEXT, PgType::INT4, PgType::INT8], None)
    );
    let delete = session
        .prepare("DELETE FROM t WHERE id = $1", &[Some(PgType::INT8)])
        .await
        .unwrap();
    assert_eq!(delete.params, [PgType::INT8]);

    let one = vec![Value::Int4(1), Value::Text("ann".to_string())];
    assert_eq!(
        execute(&mut session, "INSERT INTO t (id, name) VALUES ($1, $2)", one.clone())
            .await
            .unwrap(),
        ["INSERT 0 1"]
    );
    assert_eq!(
        execute(&mut session, "INSERT INTO t (id, name) VALUES ($1, $2)", one)
            .await
            .unwrap_err()
            .kind,
        SqlErrorKind::Unique
    );
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(rows(&mut session, "SELECT name FROM t WHERE id = 1").await, ["ann"]);
    assert_eq!(
        session.prepare("SELECT 1; SELECT 2", &[]).await.unwrap_err().kind,
        SqlErrorKind::Syntax
    );
    let empty = session.prepare("", &[]).await.unwrap();
    assert!(matches!(
        session
            .execute(&empty, Vec::new(), &mut Transcript::default())
            .await
            .unwrap(),
        QueryResult::Empty
    ));
}

/// Lost without it: the connection's task panics, or a client reads the bytes of one type as another.
#[tokio::test]
async fn a_statement_whose_columns_have_changed_since_it_was_described_is_refused() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    run(&mut session, "INSERT INTO t VALUES (1, 'n', 2)").await;
    let all = session.prepare("SELECT * FROM t", &[]).await.unwrap();
    let sums = session.prepare("SELECT sum(id) FROM t", &[]).await.unwrap();
    let written = session
        .prepare("INSERT INTO t (id) VALUES (7) RETURNING *", &[])
        .await
        .unwrap();
    run(&mut session, "PREPARE p AS SELECT 1").await;
    let named = session.prepare("EXECUTE p", &[]).await.unwrap();
    for prepared in [&all, &sums, &named] {
        let result = session.execute(prepared, Vec::new(), &mut Transcript::default()).await;
        assert!(matches!(result, Ok(QueryResult::Rows { .. })), "{result:?}");
        session.sync().await.unwrap();
    }
    run(
        &mut other,
        "DROP TABLE t; CREATE TABLE t (id bigint PRIMARY KEY, added int)",
    )
    .await;
    run(&mut session, "DEALLOCATE p").await;
    let mut refused = Vec::new();
    for (prepared, now) in [
        (&all, "SELECT 1"),
        (&sums, "SELECT 1"),
        (&written, "SELECT 1"),
        (&named, "PREPARE p AS SELECT 1, 2"),
        (&named, "DEALLOCATE p; PREPARE p AS SELECT 'one'"),
        (&named, "DEALLOCATE p; PREPARE p AS DELETE FROM t"),
    ] {
        run(&mut session, now).await;
        let result = session.execute(prepared, Vec::new(), &mut Transcript::default()).await;
        refused.push(result.map(|_| ()).map_err(|error| (error.kind, error.message)));
        session.sync().await.unwrap();
    }
    let changed = (
        SqlErrorKind::Unsupported,
        "cached plan must not change result type".to_string(),
    );
    assert_eq!(refused, vec![Err(changed); 6]);
    assert_eq!(rows(&mut session, "SELECT count(*) FROM t").await, ["0"]);
    let described_again = execute(&mut session, "SELECT * FROM t", Vec::new()).await;
    assert_eq!(described_again, Ok(Vec::new()));
}

/// Lost without it: an update by a driver would fail with 40001 although no block was ever begun.
#[tokio::test]
async fn an_implicit_transaction_that_loses_runs_again_at_sync() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    run(&mut session, "INSERT INTO t VALUES (1, 'n', 0)").await;
    let prepared = session
        .prepare("UPDATE t SET price = price + $1 WHERE id = 1", &[])
        .await
        .unwrap();
    let one = Value::Numeric("1".parse().unwrap());
    session
        .execute(&prepared, vec![one.clone()], &mut Transcript::default())
        .await
        .unwrap();
    run(&mut other, "UPDATE t SET price = price + 10 WHERE id = 1").await;
    session.sync().await.unwrap();
    assert_eq!(rows(&mut session, "SELECT price FROM t WHERE id = 1").await, ["11.00"]);

    // The row is gone when it runs again: the client was told otherwise, so it gets the conflict.
    session
        .execute(&prepared, vec![one], &mut Transcript::default())
        .await
        .unwrap();
    run(&mut other, "DELETE FROM t").await;
    assert_eq!(session.sync().await.unwrap_err().kind, SqlErrorKind::Conflict);
}

#[tokio::test]
async fn statements_stop_when_they_are_told_to() {
    let (world, mut session) = world_with_table().await;
    let running = session.begin_statement();
    world
        .engine
        .sessions()
        .cancel_statement(session.handle.pid(), session.handle.secret());
    assert_eq!(running.check().unwrap_err().kind, SqlErrorKind::Cancelled);
    let stopped = running
        .interruptible(std::future::pending::<Result<(), SqlError>>())
        .await
        .unwrap_err();
    assert_eq!(stopped.message, "canceling statement due to user request");
    drop(running);
    run(&mut session, "SET statement_timeout = 1").await;
    let running = session.begin_statement();
    let stopped = running
        .interruptible(std::future::pending::<Result<(), SqlError>>())
        .await
        .unwrap_err();
    assert_eq!(stopped.message, "canceling statement due to statement timeout");
    drop(running);
    world.engine.sessions().taint(session.handle.id());
    for sql in ["SELECT 1", "ROLLBACK", "not even sql"] {
        let tainted = error(&mut session, sql).await;
        assert_eq!(tainted.kind, SqlErrorKind::ConnectionTainted, "{sql}");
        assert!(tainted.message.contains("this connection can no longer be used") && tainted.hint.is_some());
    }
    world.engine.sessions().terminate(session.handle.pid(), "because");
    let ended = error(&mut session, "SELECT 1").await;
    assert_eq!(
        (ended.kind, ended.message.as_str()),
        (SqlErrorKind::Terminated, "because")
    );
}

/// Lost without it: a driver that reads with a cursor gets a timeout for the time it takes itself, and neither a cancel
/// request nor the end of the server reaches what it fetches.
#[tokio::test]
async fn each_fetch_from_a_portal_is_stopped_as_a_statement_of_its_own() {
    let (world, mut session) = world_with_table().await;
    let sessions = world.engine.sessions();
    let cancel = |session: &Session| sessions.cancel_statement(session.handle.pid(), session.handle.secret());
    run(&mut session, "SET statement_timeout = '1s'; BEGIN").await;
    let sql = "SELECT x FROM generate_series(1, 200000) AS g(x)";
    let prepared = session.prepare(sql, &[]).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let result = session.execute(&prepared, Vec::new(), &mut Transcript::default()).await;
        let QueryResult::Rows { rows, .. } = result.unwrap() else {
            panic!("a query gives rows");
        };
        let mut batches = rows.batches;
        assert!(batches.next().await.unwrap().is_ok());
        session.fetched();
        streams.push(batches);
    }
    let mut second = streams.pop().unwrap();
    let mut first = streams.pop().unwrap();
    cancel(&session);
    runtime::sleep(Duration::from_millis(1100)).await;
    session.prepare("SELECT 1", &[]).await.unwrap();
    session.fetch_more().unwrap();
    assert!(first.next().await.unwrap().is_ok());
    cancel(&session);
    let stopped = first.next().await.unwrap().unwrap_err();
    assert_eq!(stopped.message, "canceling statement due to user request");
    session.fetched();
    session.fetch_more().unwrap();
    assert!(second.next().await.unwrap().is_ok());
    runtime::sleep(Duration::from_millis(1100)).await;
    let stopped = second.next().await.unwrap().unwrap_err();
    assert_eq!(stopped.message, "canceling statement due to statement timeout");
    session.fetched();
    let result = session.execute(&prepared, Vec::new(), &mut Transcript::default()).await;
    let QueryResult::Rows { mut rows, .. } = result.unwrap() else {
        panic!("a query gives rows");
    };
    session.fetched();
    session.fetch_more().unwrap();
    sessions.terminate(session.handle.pid(), "because");
    let ended = rows.batches.next().await.unwrap().unwrap_err();
    assert_eq!(
        (ended.kind, ended.message.as_str()),
        (SqlErrorKind::Terminated, "because")
    );
    assert_eq!(session.fetch_more().unwrap_err().kind, SqlErrorKind::Terminated);
}

/// Lost without it: a statement that waits for others can be stopped by nothing.
#[tokio::test]
async fn waiting_for_others_who_lost_a_conflict_can_be_stopped() {
    let (world, mut session) = world_with_table().await;
    let mut other = world.session();
    run(&mut session, "INSERT INTO t VALUES (1, 'n', 0)").await;
    let _turn = session.database.as_ref().unwrap().after_a_conflict().await;
    let add = "UPDATE t SET price = price + 1 WHERE id = 1";
    let prepared = session.prepare(add, &[]).await.unwrap();
    for (setting, message) in [
        (
            "SET statement_timeout = '50ms'",
            "canceling statement due to statement timeout",
        ),
        ("SET statement_timeout = 0", "canceling statement due to user request"),
    ] {
        run(&mut session, setting).await;
        let none = session.execute(&prepared, Vec::new(), &mut Transcript::default()).await;
        assert!(none.is_ok(), "{none:?}");
        run(&mut other, add).await;
        let (pid, secret) = (session.handle.pid(), session.handle.secret());
        let stop = async {
            runtime::sleep(Duration::from_millis(200)).await;
            world.engine.sessions().cancel_statement(pid, secret);
        };
        let (stopped, ()) = tokio::join!(runtime::timeout(Duration::from_secs(20), session.sync()), stop);
        let stopped = stopped.expect("the wait ends").unwrap_err();
        assert_eq!(
            (stopped.kind, stopped.message.as_str()),
            (SqlErrorKind::Cancelled, message)
        );
        assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    }
    assert_eq!(rows(&mut session, "SELECT price FROM t WHERE id = 1").await, ["2.00"]);
}

/// Lost without it: one statement that takes minutes and loses keeps all others that lost waiting until it is done.
#[tokio::test]
async fn a_turn_among_those_who_lost_a_conflict_ends_before_a_long_statement_does() {
    let (_world, session) = world_with_table().await;
    let database = session.database.clone().unwrap();
    let mut turn = Some(database.after_a_conflict().await);
    let long = in_turn(&mut turn, runtime::sleep(10 * TURN_LIMIT));
    tokio::select! {
        biased;
        () = long => panic!("the next one waits for the end"),
        _ = database.after_a_conflict() => {}
    }
    let mut turn = Some(database.after_a_conflict().await);
    in_turn(&mut turn, async {}).await;
    assert!(turn.is_some(), "it is kept for another try while it lasts");
}

/// Lost without it: a driver that forgets old statements by DEALLOCATE would fail, or leave them behind.
#[tokio::test]
async fn deallocate_reaches_the_statements_of_the_protocol() {
    let (_world, mut session) = world_with_table().await;
    assert_eq!(run(&mut session, "DEALLOCATE \"_pg3_0\"").await, ["DEALLOCATE"]);
    assert_eq!(session.take_deallocated(), [Deallocated::Named("_pg3_0".to_string())]);
    run(&mut session, "PREPARE p AS DELETE FROM t; DEALLOCATE p").await;
    assert_eq!(session.take_deallocated(), []);
    run(&mut session, "DISCARD ALL").await;
    assert_eq!(session.take_deallocated(), [Deallocated::All]);
}
