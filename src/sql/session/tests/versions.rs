//! Version control from SQL.

use super::*;

#[tokio::test]
async fn v_012_v_013_versions_are_committed_from_sql() {
    let (_world, mut session) = world_with_table().await;
    assert_eq!(
        error(&mut session, "SELECT dolt_commit('-m', 'x')").await.message,
        "nothing to commit"
    );
    assert_eq!(
        error(&mut session, "SELECT dolt_commit()").await.message,
        "Must provide commit message"
    );
    assert_eq!(
        error(&mut session, "SELECT dolt_commit('--nope')").await.kind,
        SqlErrorKind::InvalidParameter
    );
    assert_eq!(
        error(&mut session, "SELECT dolt_commit('-am', 'x')").await.message,
        "nothing to commit",
        "t is new"
    );
    let lines = run(&mut session, "SELECT dolt_commit('-Am', 'first')").await;
    assert_eq!(
        (lines[0].as_str(), lines[1].len(), lines[2].as_str()),
        ("[dolt_commit:text]", 32, "SELECT 1")
    );
    run(&mut session, "INSERT INTO t VALUES (1)").await;
    let lines = run(
        &mut session,
        "CALL dolt_commit('-am', 'second', '--author', 'Ann <ann@x.org>')",
    )
    .await;
    assert_eq!(lines[0], "[dolt_commit:text]", "{lines:?}");
    let log = session.glance().unwrap().dolt_log().unwrap();
    assert_eq!(log[0].0.to_string(), lines[1]);
    assert_eq!(
        (log[0].1.message.as_str(), log[0].1.author.name.as_str()),
        ("second", "Ann")
    );
    assert_eq!(log[0].1.committer.email, "postgres@10.0.0.7");
    assert_eq!(
        rows(&mut session, "SELECT dolt_commit('--skip-empty', '-m', 'x')").await,
        ["NULL"]
    );
    assert_eq!(
        rows(&mut session, "SELECT * FROM dolt_commit('--allow-empty', '-m', 'x')")
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn v_018_a_version_commit_ends_the_block() {
    let (_world, mut session) = world_with_table().await;
    run(
        &mut session,
        "BEGIN; INSERT INTO t VALUES (1); SELECT dolt_add('.'); SELECT dolt_commit('-m', 'x')",
    )
    .await;
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    assert_eq!(
        run(&mut session, "ROLLBACK").await.len(),
        2,
        "a warning: there is no block"
    );
    assert_eq!(rows(&mut session, "SELECT id FROM t WHERE id = 1").await, ["1"]);
}

#[tokio::test]
async fn v_001_a_new_database_has_two_versions_and_a_clean_status() {
    let (_world, mut session) = {
        let world = World::new().await;
        let session = world.session();
        (world, session)
    };
    assert_eq!(rows(&mut session, "SELECT count(*) FROM dolt.log").await, ["2"]);
    assert_eq!(
        rows(&mut session, "SELECT * FROM dolt.status").await,
        Vec::<String>::new()
    );
    run(&mut session, "CREATE TABLE t (id int PRIMARY KEY)").await;
    assert_eq!(
        rows(&mut session, "SELECT table_name, staged, status FROM dolt_status").await,
        ["public.t|f|new table"]
    );
    run(&mut session, "SELECT dolt_add('t')").await;
    assert_eq!(
        rows(&mut session, "SELECT table_name, staged, status FROM dolt.status").await,
        ["public.t|t|new table"]
    );
    run(&mut session, "SELECT dolt_commit('-m', 'third')").await;
    assert_eq!(
        rows(&mut session, "SELECT message FROM dolt.log LIMIT 1").await,
        ["third"]
    );
    assert_eq!(
        rows(
            &mut session,
            "SELECT hashof('HEAD') = (SELECT commit_hash FROM dolt.log LIMIT 1), active_branch()"
        )
        .await,
        ["t|main"]
    );
    assert_eq!(
        rows(
            &mut session,
            "SELECT message FROM dolt.log WHERE commit_hash = hashof('HEAD~2')"
        )
        .await,
        ["Initialize data repository"]
    );
    assert_eq!(
        error(&mut session, "SELECT hashof('nope')").await.kind,
        SqlErrorKind::InvalidParameter
    );
    assert_eq!(
        rows(&mut session, "SELECT dolt_hashof_db() = dolt_hashof_db('HEAD')").await,
        ["t"]
    );
    run(&mut session, "INSERT INTO t VALUES (1)").await;
    assert_eq!(
        rows(&mut session, "SELECT dolt_hashof_db() = dolt_hashof_db('HEAD')").await,
        ["f"]
    );
    run(&mut session, "DELETE FROM t").await;
    assert_eq!(
        rows(&mut session, "SELECT dolt_hashof_db() = dolt_hashof_db('HEAD')").await,
        ["t"],
        "V-004"
    );
}
