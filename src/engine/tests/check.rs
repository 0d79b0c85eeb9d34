//! What a check says of folders that lack something, or have something else in them.

use super::*;
use crate::chunk::looks_like_a_store;
use crate::runtime::disk::{Disk, OpenMode};

fn check(disk: &Disk) -> FolderCheck {
    check_folder(disk, &mut |_, _, _| {}).unwrap()
}

fn problems(check: &FolderCheck) -> Vec<String> {
    let told = check.problems.iter();
    told.map(|problem| format!("{}: {}", problem.place, problem.detail))
        .collect()
}

/// Damages a record in the middle of the largest segment in a store's folder.
fn damage(disk: &Disk, folder: &str) {
    let files = disk.list(folder).unwrap();
    let segments = files.iter().filter(|entry| entry.name.ends_with(".seg"));
    let largest = segments.max_by_key(|entry| entry.len).unwrap();
    let path = format!("{folder}/{}", largest.name);
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[0xaa; 16], largest.len / 2).unwrap();
}

fn place_of(database: &Database) -> String {
    folder::database_folder(database.name(), database.id())
}

#[tokio::test]
async fn one_database_of_a_running_server_is_not_checked_nor_replaced() {
    let (disk, engine, shop) = shop(&[(1, 100)]).await;
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&backup).await.unwrap();
    let name = place_of(&shop).split_off("databases/".len());
    let parent = disk.disk().sub("databases");
    let one = || check_one_store(&parent, &name, &mut |_, _, _| {});
    assert!(
        matches!(one(), Err(EngineError::FolderLocked { .. })),
        "the server has it open"
    );
    drop((engine, shop));
    let checked = one().unwrap();
    assert!(checked.is_sound());
    let started = Engine::open(disk.disk(), options()).await;
    assert!(
        matches!(started, Err(EngineError::FolderLocked { .. })),
        "and no server starts meanwhile"
    );
    drop(checked);
    damage(&parent, &name);
    let (checked, source) = (one().unwrap(), check(&backup));
    let kept = repair_store(&checked.disk, &checked.stores[0], &source.readers(), &mut |_| {}).await;
    assert_eq!(kept.unwrap(), format!(".understudy/damaged/{name}"));
    drop(checked);
    assert_eq!(
        disk.disk().list("databases").unwrap().len(),
        1,
        "nothing is made beside it"
    );
    let engine = open(&disk).await;
    assert_eq!(balances(&engine.database("shop").unwrap().begin()), [(1, 100)]);
}

#[tokio::test]
async fn the_backup_of_one_database_is_not_checked_while_it_is_written() {
    let (_disk, engine, shop) = shop(&[(1, 100)]).await;
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&backup).await.unwrap();
    let written = backup.lock("backup.lock").unwrap();
    for refused in [
        check_folder(&backup, &mut |_, _, _| {}),
        check_one_store(&engine.disk().elsewhere("/backups").unwrap(), "shop", &mut |_, _, _| {}),
    ] {
        assert!(matches!(refused.map(drop), Err(EngineError::FolderLocked { .. })));
    }
    drop(written);
    assert!(check(&backup).is_sound());
}

#[tokio::test]
async fn a_store_without_a_data_folder_is_made_again_where_it_lies() {
    let (_disk, engine, shop) = shop(&[(1, 100)]).await;
    let parent = engine.disk().elsewhere("/backups").unwrap();
    shop.back_up(&engine.disk().elsewhere("/backups/shop").unwrap())
        .await
        .unwrap();
    parent.remove_file("shop/MANIFEST").unwrap();
    assert!(looks_like_a_store(&parent, "shop").unwrap());
    for number in ["", ".2"] {
        let checked = check_one_store(&parent, "shop", &mut |_, _, _| {}).unwrap();
        assert!(number == ".2" || !checked.is_sound());
        let kept = repair_store(&checked.disk, &checked.stores[0], &[], &mut |_| {}).await;
        assert_eq!(kept.unwrap(), format!("shop.damaged{number}"));
    }
    let names: Vec<String> = parent.list("").unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["shop", "shop.damaged", "shop.damaged.2"]);
    assert!(check_one_store(&parent, "shop", &mut |_, _, _| {}).unwrap().is_sound());
    let again = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&again).await.unwrap();
}

#[tokio::test]
async fn a_listed_database_without_its_folder_is_a_problem() {
    let (disk, engine, shop) = shop(&[(1, 100)]).await;
    let (place, disk) = (place_of(&shop), disk.disk());
    drop((engine, shop));
    assert!(check(&disk).is_sound());
    disk.rename(&place, "databases/elsewhere").unwrap();
    let checked = check(&disk);
    assert!(!checked.is_sound());
    let told = problems(&checked);
    assert!(
        told.len() == 1 && told[0].contains(&place) && told[0].contains("\"shop\""),
        "{told:?}"
    );
    assert!(checked.stores.iter().all(CheckedStore::is_sound));
    assert!(checked.remarks[0].place.contains("databases/elsewhere"));
}

#[tokio::test]
async fn a_data_folder_without_system_store_or_format_is_not_sound() {
    let (disk, engine, shop) = shop(&[(1, 100)]).await;
    drop((engine, shop));
    let disk = disk.disk();
    disk.write_atomically(".understudy/format", b"garbage").await.unwrap();
    let told = problems(&check(&disk));
    assert!(told.len() == 1 && told[0].contains(".understudy/format"), "{told:?}");
    disk.remove_dir_all(".understudy/system").unwrap();
    let told = problems(&check(&disk));
    assert!(told.len() == 2 && told[1].contains(".understudy/system"), "{told:?}");
}

#[tokio::test]
async fn what_is_no_store_is_told_and_the_others_are_checked() {
    let (disk, engine, shop) = shop(&[(1, 100)]).await;
    let (place, disk) = (place_of(&shop), disk.disk());
    drop((engine, shop));
    disk.create_dir_all(".understudy/dropped/.understudy").unwrap();
    disk.create_dir_all("databases/lost+found").unwrap();
    let checked = check(&disk);
    assert!(checked.is_sound(), "{:?}", checked.problems);
    assert_eq!(checked.stores.len(), 2);
    let remarked = |place: &str| checked.remarks.iter().any(|remark| remark.place.ends_with(place));
    assert!(
        remarked("databases/lost+found") && remarked("dropped/.understudy"),
        "{:?}",
        checked.remarks
    );
    drop(checked);
    disk.remove_dir_all(&place).unwrap();
    disk.create_dir_all(&place).unwrap();
    let told = problems(&check(&disk));
    assert!(told.len() == 1 && told[0].contains("not a store"), "{told:?}");
}

#[tokio::test]
async fn a_power_cut_at_any_sync_of_a_repair_loses_nothing() {
    for place in ["system", "shop"] {
        for syncs in 0.. {
            let (disk, engine, shop) = shop(&[(1, 100)]).await;
            let system = engine.system();
            let password = Some(ScramVerifier::of_password("changed"));
            system
                .alter_role("postgres", |role| role.verifier = password.clone())
                .await
                .unwrap();
            let path = match place {
                "system" => folder::SYSTEM_STORE.to_owned(),
                _ => place_of(&shop),
            };
            drop((engine, shop));
            let folder = disk.disk();
            folder.remove_file(&format!("{path}/MANIFEST")).unwrap();
            folder.sync_dir(&path).await.unwrap();
            let checked = check(&folder);
            let damaged = checked.stores.iter().find(|store| store.path == path).unwrap();
            disk.power_off_after_syncs(syncs);
            let done = repair_store(&folder, damaged, &[], &mut |_| {}).await;
            disk.power_off();
            drop(checked);
            let what = format!("{place} after {syncs} syncs");

            let opened = Engine::open(disk.disk(), options()).await;
            let engine = match opened {
                Ok(engine) if engine.database("shop").is_ok() => engine,
                opened => {
                    assert!(done.is_err(), "{what}");
                    drop(opened);
                    let folder = disk.disk();
                    let checked = check(&folder);
                    let damaged = checked.stores.iter().find(|store| store.path == path);
                    let damaged = damaged.unwrap_or_else(|| panic!("{what}: the store is gone"));
                    repair_store(&folder, damaged, &[], &mut |_| {}).await.unwrap();
                    drop(checked);
                    open(&disk).await
                }
            };
            assert_eq!(
                balances(&engine.database("shop").unwrap().begin()),
                [(1, 100)],
                "{what}"
            );
            let postgres = engine.system().role("postgres").unwrap().unwrap();
            assert!(postgres.verifier.unwrap().verifies("changed"), "{what}");
            assert_eq!(engine.disk().list("databases").unwrap().len(), 1, "{what}");
            drop(engine);
            assert!(check(&disk.disk()).is_sound(), "{what}");
            if done.is_ok() {
                break;
            }
        }
    }
}

/// As a kill leaves it between the move of the damaged store and that of the new one.
#[tokio::test]
async fn a_repair_killed_between_its_moves_is_ended_by_the_next_start() {
    let (disk, engine, shop) = shop(&[(1, 100)]).await;
    let password = Some(ScramVerifier::of_password("changed"));
    let system = engine.system();
    system
        .alter_role("postgres", |role| role.verifier = password.clone())
        .await
        .unwrap();
    let place = place_of(&shop);
    drop((engine, shop));
    let folder = disk.disk();
    for path in [folder::SYSTEM_STORE, place.as_str()] {
        folder.rename(path, &format!("{path}.repaired")).unwrap();
    }
    let checked = check(&folder);
    assert!(!checked.is_sound());
    let told = checked
        .remarks
        .iter()
        .any(|remark| remark.detail.contains("the next start ends it"));
    assert!(told, "{:?}", checked.remarks);
    drop(checked);
    let engine = open(&disk).await;
    assert_eq!(balances(&engine.database("shop").unwrap().begin()), [(1, 100)]);
    let postgres = engine.system().role("postgres").unwrap().unwrap();
    assert!(postgres.verifier.unwrap().verifies("changed"));
    drop(engine);
    // One that was killed before: the damaged store is where it was, the new one half made.
    let half = format!("{place}.repaired");
    folder.create_dir_all(&half).unwrap();
    let engine = open(&disk).await;
    assert!(engine.database("shop").is_ok() && !folder.exists(&half).unwrap());
    drop(engine);
    assert!(check(&folder).is_sound());
}

#[tokio::test]
async fn an_unreadable_sector_is_damage_at_its_offset_and_the_rest_is_checked() {
    let accounts: Vec<(i32, i32)> = (0..2000).map(|id| (id, id)).collect();
    let (disk, engine, shop) = shop(&accounts).await;
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&backup).await.unwrap();
    shop.collect_garbage().await.unwrap();
    let place = place_of(&shop);
    drop((engine, shop));
    let files = disk.disk().list(&place).unwrap();
    let pack = files
        .iter()
        .find(|file| file.name.starts_with("pack-") && file.name.ends_with(".seg"));
    let pack = pack.unwrap();
    let path = format!("{place}/{}", pack.name);
    let middle = pack.len / 2;
    disk.spoil(&path, middle).unwrap();
    let checked = check(&disk.disk());
    assert_eq!(checked.stores.len(), 2);
    let damaged = &checked.stores[1];
    assert!(checked.stores[0].is_sound() && checked.problems.is_empty());
    let unreadable = damaged
        .files
        .damage
        .iter()
        .find(|damage| damage.detail.contains("cannot be read"));
    let unreadable = unreadable.unwrap();
    assert!(
        unreadable.file.ends_with(&pack.name) && unreadable.offset <= middle,
        "{unreadable:?}"
    );
    assert!(middle - unreadable.offset < 4096, "{unreadable:?}");
    assert!(damaged.files.chunks() > 5, "the rest is read");
    let source = check(&backup);
    repair_store(&checked.disk, damaged, &source.readers(), &mut |_| {})
        .await
        .unwrap();
    drop(checked);
    let engine = open(&disk).await;
    assert_eq!(balances(&engine.database("shop").unwrap().begin()), accounts);
}

#[tokio::test]
async fn no_unreadable_sector_of_any_file_ends_a_check() {
    let accounts: Vec<(i32, i32)> = (0..200).map(|id| (id, id)).collect();
    let (disk, engine, shop) = shop(&accounts).await;
    shop.collect_garbage().await.unwrap();
    write(&shop, 1, 1).await.unwrap();
    let place = place_of(&shop);
    drop((engine, shop));
    let handle = disk.disk();
    for file in handle.list(&place).unwrap() {
        let path = format!("{place}/{}", file.name);
        let bytes = handle.read(&path).unwrap();
        for at in (0..file.len).step_by(512) {
            disk.spoil(&path, at).unwrap();
            let checked = check(&handle);
            assert_eq!(checked.stores.len(), 2, "{path} at {at}: {:?}", checked.problems);
            let is_made_again = file.name.ends_with(".idx") || file.name == "SYNCED";
            assert!(!checked.is_sound() || is_made_again, "{path} at {at}");
            drop(checked);
            handle.remove_file(&path).unwrap();
            handle.write_atomically(&path, &bytes).await.unwrap();
        }
    }
    assert!(check(&handle).is_sound());
}

/// What a repair of the damaged one of these stores is refused with; nothing of it changes.
async fn refused_repair(disk: &SimDisk, place: &str, backup: &Disk) -> String {
    let handle = disk.disk();
    let names = || -> Vec<String> { handle.list(place).unwrap().into_iter().map(|file| file.name).collect() };
    let before = names();
    let checked = check(&handle);
    let damaged = checked.stores.iter().find(|store| !store.is_sound()).unwrap();
    let source = check(backup);
    let refused = repair_store(&checked.disk, damaged, &source.readers(), &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(names(), before, "a refused store is left as it is");
    refused.to_string()
}

fn last_segment(disk: &Disk, place: &str) -> (String, u64) {
    let files = disk.list(place).unwrap();
    let last = files
        .iter()
        .rfind(|file| file.name.starts_with("log-") && file.name.ends_with(".seg"));
    let last = last.expect("a store has a segment");
    (format!("{place}/{}", last.name), last.len)
}

/// The header of the only segment that a collection has left tells the newest root; without it nothing does.
#[tokio::test]
async fn a_store_whose_root_cannot_be_read_is_not_made_again_empty() {
    let accounts: Vec<(i32, i32)> = (0..200).map(|id| (id, id)).collect();
    let (disk, engine, shop) = shop(&accounts).await;
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&backup).await.unwrap();
    shop.collect_garbage().await.unwrap();
    let place = place_of(&shop);
    drop((engine, shop));
    let (segment, _) = last_segment(&disk.disk(), &place);
    disk.flip_bit(&segment, 50, 0).unwrap();
    let refused = refused_repair(&disk, &place, &backup).await;
    assert!(
        refused.contains("no root of the store can be read") && refused.contains("backup"),
        "{refused}"
    );
}

/// An older root is whole, but without what was acknowledged after it.
#[tokio::test]
async fn a_store_whose_newest_root_cannot_be_read_does_not_go_back_to_an_older_one() {
    let (disk, engine, shop) = shop(&[(1, 10)]).await;
    write(&shop, 1, 11).await.unwrap();
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&backup).await.unwrap();
    let place = place_of(&shop);
    drop((engine, shop));
    let (segment, bytes) = last_segment(&disk.disk(), &place);
    disk.flip_bit(&segment, bytes - 3, 0).unwrap();
    let refused = refused_repair(&disk, &place, &backup).await;
    assert!(refused.contains("the newest root cannot be read"), "{refused}");
}
