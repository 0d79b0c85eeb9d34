//! The data folder and the set of databases.

use std::time::Duration;

use super::*;
use crate::runtime;
use crate::runtime::disk::simulated::DiskFaults;

fn names(engine: &Engine) -> Vec<String> {
    engine
        .databases()
        .iter()
        .map(|database| database.name().to_owned())
        .collect()
}

#[tokio::test]
async fn databases_are_made_listed_and_dropped_and_survive_a_restart() {
    let disk = SimDisk::new(3);
    let engine = open(&disk).await;
    let mut changes = engine.watch_databases();
    changes.mark_unchanged();
    assert!(names(&engine).is_empty());
    let shop = engine.create_database("shop").await.unwrap();
    assert!(changes.has_changed().unwrap());
    engine.create_database("Zürich/x").await.unwrap_err();
    engine.create_database("Zürich 2").await.unwrap();
    assert_eq!(names(&engine), ["Zürich 2", "shop"]);
    assert_eq!(engine.database("shop").unwrap().id(), shop.id());
    let refused = engine.create_database("shop").await.unwrap_err();
    assert_eq!(refused.to_string(), "database \"shop\" already exists");
    drop(shop);
    drop(engine);

    let engine = open(&disk).await;
    assert_eq!(names(&engine), ["Zürich 2", "shop"]);
    let old = engine.database("shop").unwrap();
    let mut late = old.begin();
    late.create_table(&accounts(), accounts_schema()).unwrap();
    engine.drop_database("shop").await.unwrap();
    assert!(matches!(
        old.commit(late).await,
        Err(EngineError::NoSuchDatabase { .. })
    ));
    assert_eq!(
        engine.drop_database("shop").await.unwrap_err().to_string(),
        "database \"shop\" does not exist"
    );
    assert_eq!(engine.disk().list("databases").unwrap().len(), 1, "its files are gone");
    let new = engine.create_database("shop").await.unwrap();
    assert_ne!(new.id(), old.id(), "a new database, not the old one");
    assert_eq!(
        engine.all_stores().iter().map(Database::name).collect::<Vec<_>>(),
        [SYSTEM_DATABASE, "Zürich 2", "shop"]
    );
    assert_eq!(engine.store_of(new.id()).unwrap().name(), "shop");
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let engine = open(&SimDisk::new(3)).await;
    for name in [
        "",
        "a/b",
        "a@b",
        "\u{1}system",
        "dolt_cluster",
        "dolt_clusters",
        &"x".repeat(64),
    ] {
        let refused = engine.create_database(name).await.unwrap_err();
        assert!(
            matches!(refused, EngineError::InvalidDatabaseName { .. }),
            "{name:?}: {refused}"
        );
    }
    assert!(matches!(
        engine.database(SYSTEM_DATABASE),
        Err(EngineError::NoSuchDatabase { .. })
    ));
}

#[tokio::test]
async fn a_database_in_use_is_not_dropped() {
    let (_disk, engine, _shop) = shop(&[]).await;
    let session = engine.sessions().register("postgres", "shop");
    let refused = engine.drop_database("shop").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "database \"shop\" is being accessed by other users (1 sessions)"
    );
    drop(session);
    engine.drop_database("shop").await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_holds_the_folder() {
    let disk = SimDisk::new(3);
    let engine = open(&disk).await;
    let Err(EngineError::FolderLocked { holder, .. }) = Engine::open(disk.disk(), options()).await else {
        panic!("two engines in one folder")
    };
    assert!(
        holder.starts_with("process ") && holder.len() > "process ".len(),
        "{holder:?}"
    );
    drop(engine);
    open(&disk).await;
}

#[tokio::test]
async fn a_newer_or_unknown_format_is_refused() {
    for (text, message) in [
        (
            "understudy data folder, format 2\n",
            "has format version 2, this server reads up to version 1",
        ),
        (
            "something else",
            "is damaged: \"understudy data folder, format \" and a number are expected",
        ),
    ] {
        let disk = SimDisk::new(3);
        drop(open(&disk).await);
        disk.disk()
            .write_atomically(".understudy/format", text.as_bytes())
            .await
            .unwrap();
        let Err(refused) = Engine::open(disk.disk(), options()).await else {
            panic!("{text} was accepted")
        };
        assert!(refused.to_string().contains(message), "{refused}");
        assert!(refused.to_string().contains(".understudy/format"), "{refused}");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_format_stops_the_start_and_is_left_alone() {
    let (disk, engine, shop_database) = shop(&[(1, 10)]).await;
    let folder = folder::database_folder("shop", shop_database.id());
    drop((engine, shop_database));
    let handle = disk.disk();
    for file in handle.list(&folder).unwrap().iter().filter(|file| file.len > 16) {
        let path = format!("{folder}/{}", file.name);
        let opened = handle.open(&path, crate::runtime::disk::OpenMode::ReadWrite).unwrap();
        // All files have their version behind eight bytes of magic, and a checksum at the end: of the header in
        // segments.
        let mut bytes = handle.read(&path).unwrap();
        bytes[8..12].copy_from_slice(&3u32.to_le_bytes());
        let body = if file.name.ends_with(".seg") {
            92
        } else {
            bytes.len() - 4
        };
        let checksum = crc32c::crc32c(&bytes[..body]).to_le_bytes();
        bytes[body..body + 4].copy_from_slice(&checksum);
        opened.write_all_at(&bytes, 0).unwrap();
        opened.sync().await.unwrap();
    }
    let refused = Engine::open(disk.disk(), options()).await.map(drop).unwrap_err();
    assert!(
        matches!(
            &refused,
            EngineError::Store(crate::chunk::ChunkError::NewerFormat { found: 3, .. })
        ),
        "{refused:?}"
    );
    let message = refused.to_string();
    assert!(
        message.contains(&folder) && message.contains("newer") && !message.contains('\n'),
        "{message}"
    );
}

#[tokio::test]
async fn a_flipped_bit_in_a_version_stops_one_database_and_no_server() {
    let (disk, engine, shop_database) = shop(&[(1, 10)]).await;
    engine.create_database("other").await.unwrap();
    let folder = folder::database_folder("shop", shop_database.id());
    drop((engine, shop_database));
    for file in ["log-00000001.seg", "MANIFEST"] {
        let path = format!("{folder}/{file}");
        disk.flip_bit(&path, 8, 3).unwrap();
        let engine = open(&disk).await;
        assert_eq!(names(&engine), ["other"], "{file}");
        let Err(EngineError::DatabaseUnavailable { reason, .. }) = engine.database("shop") else {
            panic!("{file} is damaged")
        };
        assert!(reason.contains(file) && reason.contains("is damaged"), "{reason}");
        drop(engine);
        let checked = check_folder(&disk.disk(), &mut |_, _, _| {}).unwrap();
        assert_eq!(checked.stores.len(), 3, "{file}: {:?}", checked.problems);
        assert!(!checked.is_sound(), "{file}");
        drop(checked);
        disk.flip_bit(&path, 8, 3).unwrap();
    }
    assert_eq!(names(&open(&disk).await), ["other", "shop"]);
}

#[tokio::test]
async fn a_damaged_database_does_not_stop_the_others() {
    let (disk, engine, shop_database) = shop(&[(1, 10)]).await;
    engine.create_database("other").await.unwrap();
    let folder = folder::database_folder("shop", shop_database.id());
    drop((engine, shop_database));
    let handle = disk.disk();
    for file in handle.list(&folder).unwrap() {
        let opened = handle
            .open(
                &format!("{folder}/{}", file.name),
                crate::runtime::disk::OpenMode::ReadWrite,
            )
            .unwrap();
        opened.write_all_at(&vec![0xa5; file.len as usize], 0).unwrap();
        opened.sync().await.unwrap();
    }
    let engine = open(&disk).await;
    assert_eq!(names(&engine), ["other"]);
    let listing = engine.listing();
    assert!(
        matches!(&listing[1].state, DatabaseState::Unavailable { .. }),
        "{listing:?}"
    );
    let Err(EngineError::DatabaseUnavailable {
        name,
        reason,
        damaged: true,
    }) = engine.database("shop")
    else {
        panic!("it is damaged")
    };
    assert_eq!(name, "shop");
    assert!(reason.contains(&folder), "the reason names the file: {reason}");
    assert!(
        engine.disk().exists(&folder).unwrap(),
        "damaged files are left for a person to look at"
    );
    assert!(matches!(
        engine.create_database("shop").await,
        Err(EngineError::DuplicateDatabase { .. })
    ));
    engine.drop_database("shop").await.unwrap();
    engine.create_database("shop").await.unwrap();
}

#[tokio::test]
async fn leftovers_are_removed_and_a_missing_folder_is_told() {
    let (disk, engine, shop_database) = shop(&[]).await;
    let folder = folder::database_folder("shop", shop_database.id());
    drop((engine, shop_database));
    let handle = disk.disk();
    handle.rename(&folder, "databases/other-01234567").unwrap();
    handle.sync_dir("databases").await.unwrap();
    let engine = open(&disk).await;
    assert!(!engine.disk().exists("databases/other-01234567").unwrap());
    let Err(EngineError::DatabaseUnavailable { reason, .. }) = engine.database("shop") else {
        panic!("it is missing")
    };
    assert!(reason.contains("is missing"), "{reason}");
}

#[tokio::test]
async fn roles_and_settings_last() {
    let disk = SimDisk::new(3);
    let engine = open(&disk).await;
    let system = engine.system();
    let postgres = system.role("postgres").unwrap().unwrap();
    assert!(postgres.superuser && postgres.login);
    assert!(postgres.verifier.unwrap().verifies("password"));
    assert_eq!(system.role("app").unwrap(), None);
    let app = RoleRecord {
        name: "app".to_owned(),
        superuser: false,
        login: true,
        verifier: None,
    };
    system.create_role(app.clone()).await.unwrap();
    assert!(matches!(
        system.create_role(app).await,
        Err(EngineError::DuplicateRole { .. })
    ));
    // Two who change different things of one role at once both have their way.
    let secret = ScramVerifier::of_password("secret");
    let changes = tokio::join!(
        system.alter_role("app", |role| role.verifier = Some(secret.clone())),
        system.alter_role("app", |role| role.superuser = true),
    );
    assert!(changes.0.is_ok() && changes.1.is_ok());
    assert!(system.role("app").unwrap().unwrap().superuser);
    assert!(matches!(
        system.alter_role("none", |_| ()).await,
        Err(EngineError::NoSuchRole { .. })
    ));
    system.set_setting("a", Some("1")).await.unwrap();
    system.set_setting("a", Some("2")).await.unwrap();
    system.set_setting("b", Some("3")).await.unwrap();
    system.set_setting("b", None).await.unwrap();
    drop(engine);

    let engine = open(&disk).await;
    let system = engine.system();
    assert!(
        system
            .role("app")
            .unwrap()
            .unwrap()
            .verifier
            .unwrap()
            .verifies("secret")
    );
    assert_eq!(
        system
            .roles()
            .unwrap()
            .iter()
            .map(|role| role.name.as_str())
            .collect::<Vec<_>>(),
        ["app", "postgres"]
    );
    assert_eq!(system.setting("a").unwrap().as_deref(), Some("2"));
    assert_eq!(system.setting("b").unwrap(), None);
    system.drop_role("app").await.unwrap();
    assert!(matches!(
        system.drop_role("app").await,
        Err(EngineError::NoSuchRole { .. })
    ));
}

#[tokio::test]
async fn two_changes_of_the_system_database_at_once_both_happen() {
    let engine = open(&SimDisk::new(3)).await;
    let system = engine.system();
    let (one, other) = futures::join!(system.set_setting("a", Some("1")), system.set_setting("a", Some("2")));
    one.unwrap();
    other.unwrap();
    assert!(system.setting("a").unwrap().is_some());
}

/// A store that is not listed may be all that is left of a database that another primary held: it is not deleted, however
/// few roots it has.
#[tokio::test]
async fn an_unlisted_folder_with_content_is_kept_aside() {
    let (disk, engine, shop_database) = shop(&[(1, 10)]).await;
    let folder = folder::database_folder("shop", shop_database.id());
    engine.create_database("fresh").await.unwrap();
    let fresh = folder::database_folder("fresh", engine.database("fresh").unwrap().id());
    // As a crash leaves it between the durable removal from the list and that of the files.
    engine.system().remove_database("shop").await.unwrap();
    engine.system().remove_database("fresh").await.unwrap();
    drop((engine, shop_database));
    let engine = open(&disk).await;
    assert!(engine.listing().is_empty());
    assert!(!engine.disk().exists(&folder).unwrap() && !engine.disk().exists(&fresh).unwrap());
    let kept = engine.disk().list(".understudy/dropped").unwrap();
    let kept: Vec<String> = kept
        .into_iter()
        .map(|entry| format!("databases/{}", entry.name))
        .collect();
    assert_eq!(kept, [fresh, folder]);
}

/// Nobody gets in by the first password again, and no database is taken for one that is not listed.
#[tokio::test]
async fn a_missing_system_store_is_not_made_anew_beside_databases() {
    let (disk, engine, shop_database) = shop(&[(1, 10)]).await;
    let folder = folder::database_folder("shop", shop_database.id());
    drop((engine, shop_database));
    let handle = disk.disk();
    handle.rename(".understudy/system", ".understudy/away").unwrap();
    let refused = Engine::open(disk.disk(), options()).await.map(drop).unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains(".understudy/system") && message.contains("restore it from a backup"),
        "{message}"
    );
    assert!(handle.exists(&folder).unwrap() && !handle.exists(".understudy/system").unwrap());
    handle.rename(".understudy/away", ".understudy/system").unwrap();
    assert_eq!(names(&open(&disk).await), ["shop"]);
}

#[tokio::test]
async fn a_folder_that_is_something_elses_is_refused_and_left_alone() {
    for file in ["PG_VERSION", "MANIFEST"] {
        let disk = SimDisk::new(4);
        disk.disk().write_atomically(file, b"15").await.unwrap();
        let refused = Engine::open(disk.disk(), options()).await;
        assert!(matches!(refused, Err(EngineError::ForeignFolder { .. })), "{file}");
        assert_eq!(disk.disk().list("").unwrap().len(), 1, "{file}");
    }
}

/// Dropping waits for a sync that is on its way, which writes a manifest at its end: into the folder, not beside it.
#[tokio::test]
async fn a_database_that_is_dropped_finishes_what_it_was_writing() {
    let disk = SimDisk::new(1);
    let mut options = options();
    options.store.segment_bytes_max = 4096;
    let engine = Engine::open(disk.disk(), options).await.unwrap();
    let shop = engine.create_database("shop").await.unwrap();
    let mut transaction = shop.begin();
    transaction.create_table(&accounts(), accounts_schema()).unwrap();
    for id in 0..2000 {
        transaction.insert(&accounts(), account(id, id)).unwrap();
    }
    let slow = Duration::from_millis(20);
    disk.set_sync_latency(slow..=slow);
    let before = shop.store().published();
    let committing = {
        let shop = shop.clone();
        runtime::spawn("commit", async move { shop.commit(transaction).await })
    };
    while shop.store().pending() == before {
        runtime::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(shop.store().published(), before, "the sync is on its way");
    engine.drop_database("shop").await.unwrap();
    committing.await.unwrap().unwrap();
    assert!(disk.disk().list("databases").unwrap().is_empty());
    let closed = shop.store().room().await.unwrap_err();
    assert!(closed.to_string().contains("the database was dropped"), "{closed}");
    engine.create_database("shop").await.unwrap();
}

/// If this fails, one read that goes wrong at a start takes a database away until the next.
#[tokio::test]
async fn what_seems_damaged_at_a_start_is_read_again_before_it_is_believed() {
    let (mut started, mut lacked) = (0, 0);
    for seed in 0..150 {
        let disk = SimDisk::new(seed);
        let engine = open(&disk).await;
        for name in ["shop", "other", "third"] {
            engine.create_database(name).await.unwrap();
        }
        drop(engine);
        disk.set_faults(DiskFaults {
            misread: 10_000,
            ..DiskFaults::default()
        });
        let outcome = Engine::open(disk.disk(), options()).await;
        disk.set_faults(DiskFaults::default());
        if let Ok(engine) = outcome {
            started += 1;
            lacked += usize::from(engine.databases().len() < 3);
        }
    }
    assert!(
        started > 80 && lacked <= 2,
        "{lacked} of {started} starts lack a database"
    );
}
