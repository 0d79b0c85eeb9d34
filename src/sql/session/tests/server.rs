//! Settings, databases, roles, and the server that takes no writes.

use super::*;
use crate::engine::Role;

#[tokio::test]
async fn settings_are_set_shown_and_undone() {
    let world = World::new().await;
    let mut session = world.session();
    assert_eq!(
        run(&mut session, "SET application_name = 'app'").await,
        ["application_name = app", "SET"]
    );
    assert_eq!(
        run(&mut session, "SHOW DateStyle").await,
        ["[DateStyle:text]", "ISO, MDY", "SHOW"]
    );
    assert_eq!(
        run(&mut session, "SHOW TIME ZONE").await,
        ["[TimeZone:text]", "UTC", "SHOW"]
    );
    run(
        &mut session,
        "BEGIN; SET application_name = 'gone'; SET LOCAL statement_timeout = '5s'",
    )
    .await;
    assert_eq!(rows(&mut session, "SHOW statement_timeout").await, ["5s"]);
    assert_eq!(
        run(&mut session, "ROLLBACK").await,
        ["application_name = app", "ROLLBACK"]
    );
    assert_eq!(rows(&mut session, "SHOW statement_timeout").await, ["0"]);
    assert_eq!(
        run(&mut session, "SELECT set_config('my.thing', 'x', false)").await,
        ["[set_config:text]", "x", "SELECT 1"]
    );
    assert_eq!(rows(&mut session, "SHOW my.thing").await, ["x"]);
    run(&mut session, "DISCARD ALL").await;
    for (sql, kind) in [
        ("SHOW my.thing", SqlErrorKind::UndefinedObject),
        ("SHOW dolt_cluster_role", SqlErrorKind::UndefinedObject),
        ("SET dolt_cluster_role = 'primary'", SqlErrorKind::UndefinedObject),
        ("SET server_version = '1'", SqlErrorKind::CannotChangeSetting),
        ("SET nope = 1", SqlErrorKind::UndefinedObject),
        ("SET client_encoding = 'latin1'", SqlErrorKind::InvalidParameter),
    ] {
        assert_eq!(error(&mut session, sql).await.kind, kind, "{sql}");
    }
}

#[tokio::test]
async fn c_030_c_032_a_server_that_takes_no_writes_says_so_at_once() {
    let (world, mut session) = world_with_table().await;
    world.engine.gate().close(ReadOnlyReason::Standby);
    for sql in [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET id = 1",
        "DELETE FROM t",
        "TRUNCATE t",
        "CREATE TABLE u (a int)",
        "DROP TABLE t",
        "COPY t FROM STDIN",
    ] {
        let refused = error(&mut session, sql).await;
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (SqlErrorKind::ReadOnly, "shop is read-only"),
            "{sql}"
        );
    }
    for sql in [
        "CREATE DATABASE x",
        "DROP DATABASE x",
        "CREATE ROLE r",
        "SELECT dolt_commit('-m', 'x')",
    ] {
        let refused = error(&mut session, sql).await;
        assert_eq!(refused.kind, SqlErrorKind::ReadOnly, "{sql}");
        assert_eq!(refused.message, "database server is set to read only mode", "{sql}");
    }
    assert_eq!(rows(&mut session, "SHOW read_only").await, ["1"]);
    // A block that wrote before hears the same at its end.
    let early = error(&mut session, "DELETE FROM t").await;
    world.engine.gate().open();
    run(&mut session, "BEGIN; INSERT INTO t VALUES (1)").await;
    world.engine.gate().close(ReadOnlyReason::Standby);
    assert_eq!(error(&mut session, "COMMIT").await, early);
    assert_eq!(early.detail.as_deref(), Some("This server is a standby."));
    assert_eq!(
        rows(&mut session, "SELECT id FROM t WHERE id = 1").await,
        Vec::<String>::new()
    );
    world.engine.gate().open();
    run(&mut session, "BEGIN READ ONLY").await;
    let refused = error(&mut session, "INSERT INTO t VALUES (1)").await;
    assert_eq!(refused.message, "cannot execute INSERT in a read-only transaction");
}

#[tokio::test]
async fn databases_come_and_go() {
    let world = World::new().await;
    let mut session = world.session();
    assert_eq!(run(&mut session, "CREATE DATABASE other").await, ["CREATE DATABASE"]);
    assert_eq!(
        error(&mut session, "CREATE DATABASE other").await.kind,
        SqlErrorKind::DuplicateDatabase
    );
    let guest = world.start("postgres", "other").unwrap();
    assert_eq!(
        error(&mut session, "DROP DATABASE other").await.kind,
        SqlErrorKind::ObjectInUse
    );
    assert_eq!(
        error(&mut session, "DROP DATABASE shop").await.kind,
        SqlErrorKind::ObjectInUse
    );
    drop(guest);
    assert_eq!(
        error(&mut session, "BEGIN; DROP DATABASE other").await.kind,
        SqlErrorKind::ActiveTransaction
    );
    run(&mut session, "ROLLBACK").await;
    assert_eq!(run(&mut session, "DROP DATABASE other").await, ["DROP DATABASE"]);
    assert_eq!(
        run(&mut session, "DROP DATABASE IF EXISTS other").await,
        ["Notice: database \"other\" does not exist, skipping", "DROP DATABASE"]
    );
    assert_eq!(
        world.start("postgres", "other").err().unwrap().kind,
        SqlErrorKind::UndefinedDatabase
    );
    assert_eq!(
        world.start("nobody", "shop").err().unwrap().kind,
        SqlErrorKind::InvalidAuthorization
    );
}

#[tokio::test]
async fn roles_are_made_changed_and_dropped_by_superusers() {
    let world = World::new().await;
    let mut session = world.session();
    assert_eq!(
        run(&mut session, "CREATE USER app PASSWORD 'one'").await,
        ["CREATE ROLE"]
    );
    assert_eq!(run(&mut session, "ALTER ROLE app PASSWORD 'two'").await, ["ALTER ROLE"]);
    let role = world.engine.system().role("app").unwrap().unwrap();
    assert!(role.login && !role.superuser && role.verifier.unwrap().verifies("two"));
    let mut app = world.start("app", "shop").unwrap();
    for sql in [
        "CREATE ROLE x",
        "ALTER ROLE app SUPERUSER",
        "DROP ROLE postgres",
        "CREATE DATABASE x",
    ] {
        assert_eq!(
            error(&mut app, sql).await.kind,
            SqlErrorKind::InsufficientPrivilege,
            "{sql}"
        );
    }
    assert_eq!(run(&mut app, "ALTER ROLE app PASSWORD 'three'").await, ["ALTER ROLE"]);
    assert_eq!(run(&mut session, "DROP ROLE app").await, ["DROP ROLE"]);
    assert_eq!(
        error(&mut session, "DROP USER app").await.kind,
        SqlErrorKind::UndefinedObject
    );
}

#[tokio::test]
async fn what_a_superuser_may_do_is_asked_when_it_is_done() {
    let world = World::new().await;
    let mut session = world.session();
    run(&mut session, "CREATE ROLE boss SUPERUSER LOGIN").await;
    let mut boss = world.start("boss", "shop").unwrap();
    assert_eq!(run(&mut boss, "CREATE ROLE one").await, ["CREATE ROLE"]);
    run(&mut session, "ALTER ROLE boss NOSUPERUSER").await;
    let refused = [
        "CREATE ROLE two",
        "DROP ROLE one",
        "ALTER ROLE boss SUPERUSER",
        "CREATE DATABASE two",
        "SELECT dolt_gc()",
        "SELECT pg_terminate_backend(1)",
    ];
    for sql in refused {
        let kind = error(&mut boss, sql).await.kind;
        assert_eq!(kind, SqlErrorKind::InsufficientPrivilege, "{sql}");
    }
    run(&mut session, "ALTER ROLE boss SUPERUSER").await;
    assert_eq!(run(&mut boss, "CREATE ROLE two").await, ["CREATE ROLE"]);
    run(&mut session, "DROP ROLE boss").await;
    for sql in refused {
        let kind = error(&mut boss, sql).await.kind;
        assert_eq!(kind, SqlErrorKind::InsufficientPrivilege, "{sql}");
    }
}

#[tokio::test]
async fn without_a_cluster_there_is_no_role_to_assume() {
    let world = World::new().await;
    let mut session = world.session();
    let missing = error(&mut session, "SELECT dolt_assume_cluster_role('primary', 2)").await;
    assert_eq!(missing.kind, SqlErrorKind::UndefinedFunction);
    assert!(missing.message.contains("dolt_assume_cluster_role") && missing.message.contains("not found"));
    assert_eq!(
        error(&mut session, "SELECT dolt_merge('x')").await.kind,
        SqlErrorKind::Unsupported
    );
}

/// A cluster that does what it is told.
struct Obedient {
    sessions: crate::engine::SessionRegistry,
    standing: parking_lot::Mutex<(Role, u64)>,
}

#[async_trait]
impl crate::engine::ClusterControl for Obedient {
    fn role(&self) -> Role {
        self.standing.lock().0
    }

    fn epoch(&self) -> u64 {
        self.standing.lock().1
    }

    fn status(&self) -> Vec<crate::engine::ClusterStatusRow> {
        Vec::new()
    }

    async fn assume_role(
        &self,
        role: &str,
        epoch: i64,
        caller: crate::engine::SessionId,
    ) -> Result<(), crate::engine::ClusterError> {
        use crate::engine::{ClusterError, ClusterErrorKind};
        let Some(role) = Role::parse(role) else {
            let message = format!("error assuming role '{role}'; valid roles are 'primary' and 'standby'");
            return Err(ClusterError::new(ClusterErrorKind::InvalidArgument, message));
        };
        let before = std::mem::replace(&mut *self.standing.lock(), (role, epoch.unsigned_abs()));
        if before.0 != role {
            self.sessions.taint(caller);
        }
        Ok(())
    }
}

impl World {
    async fn in_cluster() -> World {
        let world = World::new().await;
        world.engine.set_cluster(Arc::new(Obedient {
            sessions: world.engine.sessions().clone(),
            standing: parking_lot::Mutex::new((Role::Primary, 1)),
        }));
        world
    }
}

#[tokio::test]
async fn c_role_and_epoch_are_live_and_cannot_be_set() {
    let world = World::in_cluster().await;
    let (mut session, mut other) = (world.session(), world.session());
    assert_eq!(
        run(&mut session, "SHOW dolt_cluster_role").await,
        ["[dolt_cluster_role:text]", "primary", "SHOW"]
    );
    assert_eq!(
        rows(&mut session, "SELECT current_setting('dolt_cluster_role_epoch')").await,
        ["1"]
    );
    for sql in [
        "SET dolt_cluster_role = 'standby'",
        "SET dolt_cluster_role_epoch TO 7",
        "RESET dolt_cluster_role",
    ] {
        assert_eq!(
            error(&mut session, sql).await.kind,
            SqlErrorKind::CannotChangeSetting,
            "{sql}"
        );
    }
    run(&mut session, "SELECT dolt_assume_cluster_role('standby', 2)").await;
    let told = run(&mut other, "SHOW dolt_cluster_role").await;
    assert_eq!(
        told,
        ["in_hot_standby = on", "[dolt_cluster_role:text]", "standby", "SHOW"]
    );
    assert_eq!(rows(&mut other, "SHOW transaction_read_only").await, ["on"]);
}

#[tokio::test]
async fn c_a_change_of_role_taints_and_a_change_of_epoch_does_not() {
    let world = World::in_cluster().await;
    let mut session = world.session();
    let lines = run(&mut session, "SELECT dolt_assume_cluster_role('primary', '5')").await;
    assert_eq!(lines, ["[dolt_assume_cluster_role:int8]", "0", "SELECT 1"]);
    assert_eq!(rows(&mut session, "SHOW dolt_cluster_role_epoch").await, ["5"]);
    assert_eq!(
        run(&mut session, "CALL dolt_assume_cluster_role('standby', 6)").await[2..],
        ["0", "SELECT 1"]
    );
    for sql in ["SELECT 1", "COMMIT", "ROLLBACK"] {
        assert_eq!(
            error(&mut session, sql).await.kind,
            SqlErrorKind::ConnectionTainted,
            "{sql}"
        );
    }
    assert!(
        session
            .prepare("SELECT 1", &[])
            .await
            .is_err_and(|error| error.kind == SqlErrorKind::ConnectionTainted)
    );
}

#[tokio::test]
async fn c_roles_are_assumed_by_superusers_outside_blocks_with_sound_arguments() {
    let world = World::in_cluster().await;
    let mut session = world.session();
    for (sql, kind) in [
        (
            "SELECT dolt_assume_cluster_role('primary', NULL)",
            SqlErrorKind::NullNotAllowed,
        ),
        (
            "SELECT dolt_assume_cluster_role('primary', 'x')",
            SqlErrorKind::InvalidText,
        ),
        (
            "SELECT dolt_assume_cluster_role('primary')",
            SqlErrorKind::UndefinedFunction,
        ),
        (
            "SELECT dolt_assume_cluster_role('Primary', 2)",
            SqlErrorKind::InvalidParameter,
        ),
        (
            "BEGIN; SELECT dolt_assume_cluster_role('standby', 2)",
            SqlErrorKind::ActiveTransaction,
        ),
    ] {
        assert_eq!(error(&mut session, sql).await.kind, kind, "{sql}");
    }
    run(&mut session, "ROLLBACK; CREATE USER app").await;
    let mut app = world.start("app", "shop").unwrap();
    let refused = error(&mut app, "SELECT dolt_assume_cluster_role('standby', 2)").await;
    assert_eq!(refused.kind, SqlErrorKind::InsufficientPrivilege);
    assert_eq!(
        rows(&mut session, "SHOW dolt_cluster_role").await,
        ["primary"],
        "a failed call changes nothing"
    );
}

#[tokio::test]
async fn the_clusters_own_database_can_be_read_and_not_written() {
    let world = World::in_cluster().await;
    let mut session = world.start("postgres", "dolt_cluster").unwrap();
    assert_eq!(
        rows(&mut session, "SELECT count(*) FROM dolt_cluster_status").await,
        ["0"]
    );
    assert_eq!(rows(&mut session, "SELECT 1 + 1").await, ["2"]);
    let refused = error(&mut session, "CREATE TABLE t (a int)").await;
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (SqlErrorKind::ReadOnly, "dolt_cluster is read-only")
    );
    let lone = World::new().await;
    assert_eq!(
        lone.start("postgres", "dolt_cluster").err().unwrap().kind,
        SqlErrorKind::UndefinedDatabase
    );
}

/// A failover would wait for a session that cannot be stopped.
#[tokio::test]
async fn a_collection_goes_on_without_who_asked_for_it() {
    let disk = SimDisk::new(1);
    let world = World::on(&disk, StoreOptions::default()).await;
    let mut session = world.session();
    run(&mut session, "CREATE TABLE t (id int PRIMARY KEY)").await;
    run(&mut session, "SET statement_timeout = 50").await;
    let slow = std::time::Duration::from_millis(400);
    disk.set_sync_latency(slow..=slow);
    assert_eq!(
        error(&mut session, "SELECT dolt_gc()").await.kind,
        SqlErrorKind::Cancelled
    );
    // Another one is refused for as long as the first one works.
    run(&mut session, "SET statement_timeout = 0").await;
    assert_eq!(
        error(&mut session, "SELECT dolt_gc()").await.kind,
        SqlErrorKind::ObjectInUse
    );
    disk.set_sync_latency(std::time::Duration::ZERO..=std::time::Duration::ZERO);
    let mut tries = 0;
    while run(&mut session, "SELECT dolt_gc()").await.last().unwrap() != "SELECT 1" {
        tries += 1;
        assert!(tries < 1000, "the first one does not end");
        crate::runtime::sleep(std::time::Duration::from_millis(10)).await;
    }
}
