//! Backups, restores, checks and repairs.

use bytes::Bytes;

use super::*;
use crate::chunk::{Hash, ReadChunks};
use crate::runtime;
use crate::runtime::disk::{Disk, OpenMode};

/// A file of a database's folder whose name begins and ends so.
fn file_of(disk: &Disk, prefix: &str, suffix: &str) -> String {
    let databases = disk.list("databases").unwrap();
    let folder = format!("databases/{}", databases[0].name);
    let files = disk.list(&folder).unwrap();
    let found = files
        .iter()
        .find(|entry| entry.name.starts_with(prefix) && entry.name.ends_with(suffix));
    format!("{folder}/{}", found.expect("such a file").name)
}

#[tokio::test]
async fn a_backup_taken_under_writers_is_one_root_and_comes_back_as_a_database() {
    let accounts: Vec<(i32, i32)> = (0..300).map(|id| (id, 0)).collect();
    let (_disk, engine, shop) = shop(&accounts).await;
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    let writer = {
        let shop = shop.clone();
        runtime::spawn("writer", async move {
            // Two rows in one commit: a backup has both or neither.
            for turn in 1..60 {
                let mut transaction = shop.begin();
                set_balance(&mut transaction, turn, turn);
                set_balance(&mut transaction, 299 - turn, turn);
                shop.commit(transaction).await.unwrap();
            }
        })
    };
    let mut rounds = 0;
    while !writer.is_finished() || rounds == 0 {
        shop.back_up(&backup).await.unwrap();
        rounds += 1;
        let name = format!("copy{rounds}");
        let copy = engine.restore_database(&backup, &name).await.unwrap();
        let seen: Vec<i32> = balances(&copy.begin())
            .into_iter()
            .map(|(_, balance)| balance)
            .collect();
        assert_eq!(seen.len(), 300);
        assert!(
            (1..60).all(|turn| seen[turn] == seen[299 - turn]),
            "half a commit in backup {rounds}"
        );
        runtime::yield_now().await;
    }
    writer.await.unwrap();
    let again = shop.back_up(&backup).await.unwrap();
    let nothing = shop.back_up(&backup).await.unwrap();
    assert!(
        again.chunks < 1000 && nothing.chunks == 0,
        "{again:?}, {nothing:?}: what is there is not copied again"
    );
    let last = engine.restore_database(&backup, "last").await.unwrap();
    assert_eq!(balances(&last.begin()), balances(&shop.begin()));
    write(&last, 5000, 1).await.unwrap();
    let refused = engine.restore_database(&backup, "last").await;
    assert!(matches!(refused, Err(EngineError::DuplicateDatabase { .. })));
}

#[tokio::test]
async fn a_backup_goes_nowhere_else() {
    let (disk, engine, shop) = shop(&[(1, 1)]).await;
    let other = engine.disk().elsewhere("/home").unwrap();
    other.open("letter.txt", OpenMode::Create).unwrap();
    let refused = shop.back_up(&other).await;
    assert!(matches!(refused, Err(EngineError::NotABackup { .. })), "{refused:?}");
    assert!(other.exists("letter.txt").unwrap());
    let empty = engine.disk().elsewhere("/empty").unwrap();
    let refused = engine.restore_database(&empty, "copy").await;
    assert!(matches!(refused, Err(EngineError::NotABackup { .. })), "{refused:?}");
    assert!(engine.database("copy").is_err(), "nothing is left of it");
    drop((shop, engine));
    open(&disk).await;
}

#[tokio::test]
async fn a_whole_folder_is_copied_beside_its_server_and_opens() {
    let (_disk, engine, shop) = shop(&[(1, 100), (2, 200)]).await;
    let other = engine.create_database("other").await.unwrap();
    let (source, target) = (engine.disk().clone(), engine.disk().elsewhere("/backups/all").unwrap());
    let copy = async || {
        let mut told = Vec::new();
        let options = StoreOptions::default();
        copy_folder(&source, &target, CopyTo::Backup, &options, &mut |state| {
            told.push(state.database)
        })
        .await
        .unwrap();
        told
    };
    let told = copy().await;
    assert!(
        told.contains(&"shop".to_owned()) && told.contains(&"other".to_owned()),
        "{told:?}"
    );
    write(&shop, 2, 250).await.unwrap();
    drop(other);
    engine.drop_database("other").await.unwrap();
    engine.create_database("third").await.unwrap();
    copy().await;
    let restored = Engine::open(target, options()).await.unwrap();
    let names: Vec<String> = restored
        .databases()
        .iter()
        .map(|database| database.name().to_owned())
        .collect();
    assert_eq!(names, ["shop", "third"]);
    let shop = restored.database("shop").unwrap();
    assert_eq!(balances(&shop.begin()), [(1, 100), (2, 250)]);
    write(&shop, 3, 300).await.unwrap();
}

async fn copy(source: &Disk, target: &Disk, to: CopyTo) -> Result<(), EngineError> {
    copy_folder(source, target, to, &StoreOptions::default(), &mut |_| {}).await
}

fn is_refused(done: Result<(), EngineError>) -> bool {
    matches!(done, Err(EngineError::NotABackup { .. }))
}

#[tokio::test]
async fn no_backup_goes_over_a_data_folder() {
    let (_disk, engine, shop) = shop(&[(1, 100)]).await;
    let [backup, served, restored] =
        ["/backups/all", "/served", "/restored"].map(|path| engine.disk().elsewhere(path).unwrap());
    let other = Engine::open(served.clone(), options()).await.unwrap();
    other.create_database("theirs").await.unwrap();
    drop(other);
    copy(engine.disk(), &backup, CopyTo::Backup).await.unwrap();
    let refused = copy(&backup, &served, CopyTo::Backup).await;
    assert!(is_refused(refused), "the arguments were swapped");
    let other = Engine::open(served, options()).await.unwrap();
    assert!(other.database("theirs").is_ok());

    copy(&backup, &restored, CopyTo::DataFolder).await.unwrap();
    assert!(
        is_refused(copy(&backup, &restored, CopyTo::Backup).await),
        "what was restored is a data folder"
    );
    write(&shop, 1, 150).await.unwrap();
    copy(engine.disk(), &backup, CopyTo::Backup).await.unwrap();
    let started = Engine::open(backup.clone(), options()).await.unwrap();
    assert_eq!(balances(&started.database("shop").unwrap().begin()), [(1, 150)]);
    drop(started);
    assert!(
        is_refused(copy(engine.disk(), &backup, CopyTo::Backup).await),
        "a server was started on the backup"
    );
}

/// What copies of backups lie in the control folder.
fn being_restored(engine: &Engine) -> Vec<String> {
    let entries = engine.disk().list(".understudy").unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name.starts_with("restored-")).collect()
}

#[tokio::test]
async fn databases_are_made_and_dropped_while_one_is_restored() {
    let accounts: Vec<(i32, i32)> = (0..300).map(|id| (id, id)).collect();
    let (disk, engine, shop) = shop(&accounts).await;
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&backup).await.unwrap();
    let root = shop.store().published().root;
    // Whoever makes a database holds this; the first to wait for it makes one of the same name.
    let definitions = engine.inner.definitions.lock().await;
    let taken = {
        let engine = engine.clone();
        runtime::spawn("create", async move { engine.create_database("copy").await })
    };
    runtime::yield_now().await;
    let restoring = {
        let (engine, backup) = (engine.clone(), backup.clone());
        runtime::spawn("restore", async move { engine.restore_database(&backup, "copy").await })
    };
    let copied = || {
        let places = being_restored(&engine);
        places.iter().any(|place| {
            let disk = engine.disk().sub(".understudy");
            let store = crate::chunk::ChunkStore::open_unchanging(&disk, place, &StoreOptions::default());
            store.is_ok_and(|store| store.published().root == root)
        })
    };
    for turn in 0.. {
        assert!(turn < 10_000, "the copy waits until nobody makes or drops a database");
        if copied() {
            break;
        }
        runtime::yield_now().await;
    }
    drop(definitions);
    taken.await.unwrap().unwrap();
    let refused = restoring.await.unwrap().map(drop);
    assert!(
        matches!(refused, Err(EngineError::DuplicateDatabase { .. })),
        "the name is looked at again: {refused:?}"
    );
    assert!(being_restored(&engine).is_empty());
    let copy = engine.restore_database(&backup, "another").await.unwrap();
    assert_eq!(balances(&copy.begin()), accounts);
    write(&copy, 7, 70).await.unwrap();
    assert!(being_restored(&engine).is_empty());
    drop((copy, shop, engine));
    let engine = open(&disk).await;
    let copy = engine.database("another").unwrap();
    assert!(balances(&copy.begin()).contains(&(7, 70)));
}

#[tokio::test]
async fn a_power_cut_at_any_sync_of_a_restore_leaves_a_whole_database_or_none() {
    for syncs in 0.. {
        let (disk, engine, shop) = shop(&[(1, 100)]).await;
        let backup = engine.disk().elsewhere("/backups/shop").unwrap();
        shop.back_up(&backup).await.unwrap();
        disk.power_off_after_syncs(syncs);
        let done = engine.restore_database(&backup, "copy").await.is_ok();
        disk.power_off();
        drop((engine, shop));
        let engine = open(&disk).await;
        match engine.database("copy") {
            Ok(copy) => assert_eq!(balances(&copy.begin()), [(1, 100)], "after {syncs} syncs"),
            Err(EngineError::NoSuchDatabase { .. }) => assert!(!done, "after {syncs} syncs"),
            Err(error) => panic!("after {syncs} syncs: {error}"),
        }
        assert!(being_restored(&engine).is_empty(), "after {syncs} syncs");
        if done {
            return;
        }
    }
}

#[tokio::test]
async fn an_interrupted_first_backup_is_gone_on_with() {
    for syncs in 0.. {
        let (disk, engine, shop) = shop(&[(1, 100)]).await;
        disk.power_off_after_syncs(syncs);
        let one = engine.disk().elsewhere("/backups/shop");
        let first = match one {
            Ok(one) => shop.back_up(&one).await.is_ok(),
            Err(_) => false,
        };
        let all = engine.disk().elsewhere("/backups/all");
        let second = match all {
            Ok(all) => copy(engine.disk(), &all, CopyTo::Backup).await.is_ok(),
            Err(_) => false,
        };
        disk.power_off();
        drop((engine, shop));
        let engine = open(&disk).await;
        let shop = engine.database("shop").unwrap();
        let [one, all] = ["/backups/shop", "/backups/all"].map(|path| engine.disk().elsewhere(path).unwrap());
        shop.back_up(&one).await.unwrap();
        copy(engine.disk(), &all, CopyTo::Backup).await.unwrap();
        let restored = engine.restore_database(&one, "copy").await.unwrap();
        assert_eq!(balances(&restored.begin()), [(1, 100)], "after {syncs} syncs");
        if first && second {
            return;
        }
    }
}

#[tokio::test]
async fn no_backup_goes_into_a_data_folder_or_over_a_database() {
    let (_disk, engine, shop) = shop(&[(1, 100)]).await;
    let served = engine.disk().elsewhere("/served").unwrap();
    let other = Engine::open(served.clone(), options()).await.unwrap();
    let victim = other.create_database("victim").await.unwrap();
    let place = folder::database_folder("victim", victim.id());
    let stopped = engine.disk().elsewhere("/copies/victim").unwrap();
    for file in served.list(&place).unwrap() {
        let bytes = served.read(&format!("{place}/{}", file.name)).unwrap();
        stopped.write_atomically(&file.name, &bytes).await.unwrap();
    }
    for target in [
        served.clone(),
        served.sub(&place),
        served.sub("databases/new"),
        served.sub("somewhere/below"),
        stopped.clone(),
    ] {
        let refused = shop.back_up(&target).await;
        assert!(is_refused(refused.map(drop)), "{}", target.describe(""));
    }
    assert_eq!(served.list("databases").unwrap().len(), 1);
    assert!(!stopped.exists("backup.lock").unwrap(), "nothing is made there");
    let taken = engine.restore_database(&stopped, "taken").await.unwrap();
    assert!(taken.has_root(), "a restore takes any store");
}

#[tokio::test]
async fn an_interrupted_backup_keeps_what_it_held() {
    for syncs in 0.. {
        let (disk, engine, shop) = shop(&[(1, 100)]).await;
        let backup = engine.disk().elsewhere("/backups/shop").unwrap();
        shop.back_up(&backup).await.unwrap();
        for turn in 0..20 {
            write(&shop, turn, turn).await.unwrap();
        }
        let newest = balances(&shop.begin());
        disk.power_off_after_syncs(syncs);
        let done = shop.back_up(&backup).await;
        disk.power_off();
        drop((engine, shop));
        let engine = open(&disk).await;
        let backup = engine.disk().elsewhere("/backups/shop").unwrap();
        let copy = engine.restore_database(&backup, "copy").await.unwrap();
        let held = balances(&copy.begin());
        assert!(
            held == newest || (done.is_err() && held == [(1, 100)]),
            "after {syncs} syncs: {held:?}"
        );
        let shop = engine.database("shop").unwrap();
        shop.back_up(&backup).await.unwrap();
        if done.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn a_sound_folder_is_called_sound() {
    let (disk, engine, shop) = shop(&[(1, 100)]).await;
    for turn in 0..50 {
        write(&shop, turn, turn).await.unwrap();
    }
    let running = check_folder(&disk.disk(), &mut |_, _, _| {});
    assert!(
        matches!(running, Err(EngineError::FolderLocked { .. })),
        "a server runs there"
    );
    shop.collect_garbage().await.unwrap();
    write(&shop, 1, 1).await.unwrap();
    drop((engine, shop));
    let mut told = 0;
    let checked = check_folder(&disk.disk(), &mut |_, done, total| {
        assert!(done <= total);
        told += 1;
    });
    let checked = checked.unwrap();
    assert_eq!(checked.stores.len(), 2, "the system database and shop");
    for store in &checked.stores {
        assert!(
            store.is_sound(),
            "{}: {:?} {:?}",
            store.path,
            store.files.damage,
            store.missing
        );
        assert!(store.reachable.chunks > 5);
    }
    assert!(told > 2);
}

#[tokio::test]
async fn every_flipped_byte_is_found_by_a_check() {
    // A smaller store, or there would be too many bytes.
    let (disk, engine, shop) = shop(&[(1, 100)]).await;
    write(&shop, 1, 1).await.unwrap();
    shop.collect_garbage().await.unwrap();
    write(&shop, 1, 2).await.unwrap();
    drop((engine, shop));
    let disk = disk.disk();
    let databases = disk.list("databases").unwrap();
    let folder = format!("databases/{}", databases[0].name);
    for entry in disk.list(&folder).unwrap() {
        let path = format!("{folder}/{}", entry.name);
        let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
        for at in 0..entry.len {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).unwrap();
            let checked = check_folder(&disk, &mut |_, _, _| {}).unwrap();
            let mended = checked
                .stores
                .iter()
                .any(|store| !store.files.mended_at_start.is_empty());
            let harmless = mended || entry.name == "SYNCED";
            assert_eq!(checked.is_sound(), harmless, "byte {at} of {path}");
            file.write_all_at(&byte, at).unwrap();
        }
    }
    assert!(
        check_folder(&disk, &mut |_, _, _| {})
            .unwrap()
            .stores
            .iter()
            .all(CheckedStore::is_sound)
    );
}

#[tokio::test]
async fn a_damaged_store_is_made_again_from_a_backup_and_the_damaged_one_is_kept() {
    let accounts: Vec<(i32, i32)> = (0..2000).map(|id| (id, id)).collect();
    let (disk, engine, shop) = shop(&accounts).await;
    let backup = engine.disk().elsewhere("/backups/shop").unwrap();
    shop.back_up(&backup).await.unwrap();
    // Newer than the backup: only the damaged store has it.
    write(&shop, 7, 70).await.unwrap();
    shop.collect_garbage().await.unwrap();
    let expected = balances(&shop.begin());
    drop((engine, shop));
    let disk = disk.disk();
    let path = file_of(&disk, "pack-", ".seg");
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    // In the middle of some leaf that has not changed since.
    let middle = file.len().unwrap() / 2;
    file.write_all_at(&[0xaa; 16], middle).unwrap();

    let checked = check_folder(&disk, &mut |_, _, _| {}).unwrap();
    let damaged = checked
        .stores
        .iter()
        .find(|store| !store.is_sound())
        .expect("damage is found");
    assert!(
        damaged.files.damage[0].file.ends_with(".seg"),
        "{:?}",
        damaged.files.damage
    );
    assert!(!damaged.missing.is_empty());
    let alone = repair_store(&disk, damaged, &[], &mut |_| {}).await;
    assert!(
        matches!(alone, Err(EngineError::Store(_))),
        "{alone:?}: nobody has the chunk"
    );
    let source = check_folder(&backup, &mut |_, _, _| {}).unwrap();
    let kept = repair_store(&disk, damaged, &source.readers(), &mut |_| {})
        .await
        .unwrap();
    assert!(disk.exists(&format!("{kept}/MANIFEST")).unwrap());
    drop((checked, source));

    let engine = Engine::open(disk, options()).await.unwrap();
    let shop = engine.database("shop").unwrap();
    assert_eq!(balances(&shop.begin()), expected);
    write(&shop, 1, 1).await.unwrap();
}

#[tokio::test]
async fn a_store_without_its_manifest_is_made_again_from_its_own_files() {
    let (disk, engine, shop) = shop(&[(1, 100), (2, 200)]).await;
    write(&shop, 1, 150).await.unwrap();
    drop((engine, shop));
    let disk = disk.disk();
    disk.remove_file(&file_of(&disk, "MANIFEST", "")).unwrap();
    let checked = check_folder(&disk, &mut |_, _, _| {}).unwrap();
    let damaged = checked.stores.iter().find(|store| !store.is_sound()).unwrap();
    repair_store(&disk, damaged, &[], &mut |_| {}).await.unwrap();
    drop(checked);
    let engine = Engine::open(disk, options()).await.unwrap();
    assert_eq!(
        balances(&engine.database("shop").unwrap().begin()),
        [(1, 150), (2, 200)]
    );
}

/// Gives of each request at most this many chunks of a checked folder.
struct Giving<'a> {
    source: &'a FolderCheck,
    at_most: usize,
    change: fn(Bytes) -> Bytes,
}

impl AskForChunks for Giving<'_> {
    async fn ask(&mut self, hashes: &[Hash]) -> Result<Answer, String> {
        let mut answer = Answer::default();
        for hash in hashes {
            let has = self.source.stores.iter().find(|store| store.files.contains(hash));
            match has.map(|store| store.files.get(hash).unwrap()) {
                Some(_) if answer.given.len() == self.at_most => {}
                Some(chunk) => answer.given.push((*hash, (self.change)(chunk))),
                None => answer.absent.push(*hash),
            }
        }
        Ok(answer)
    }
}

#[tokio::test]
async fn what_a_store_lacks_is_asked_for_down_to_the_last_leaf() {
    let accounts: Vec<(i32, i32)> = (0..2000).map(|id| (id, id)).collect();
    let (disk, engine, shop) = shop(&accounts).await;
    let [older, same] = ["/backups/older", "/backups/same"].map(|path| engine.disk().elsewhere(path).unwrap());
    shop.back_up(&older).await.unwrap();
    write(&shop, 7, 70).await.unwrap();
    shop.back_up(&same).await.unwrap();
    shop.collect_garbage().await.unwrap();
    let expected = balances(&shop.begin());
    drop((engine, shop));
    let disk = disk.disk();
    let path = file_of(&disk, "pack-", ".seg");
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    // Everything but the header: only the root of it all is known to be missing.
    let length = usize::try_from(file.len().unwrap()).unwrap();
    file.write_all_at(&vec![0xaa; length - 100], 100).unwrap();

    let checked = check_folder(&disk, &mut |_, _, _| {}).unwrap();
    let damaged = checked.stores.iter().find(|store| !store.is_sound()).unwrap();
    let [older, same] = [older, same].map(|disk| check_folder(&disk, &mut |_, _, _| {}).unwrap());
    let giving = |source, at_most, change| Giving {
        source,
        at_most,
        change,
    };
    let fetched = async |mut others: Giving<'_>| {
        crate::engine::repair::fetch_missing(&disk, damaged, &mut others, &mut |_| {}).await
    };

    let lacking = fetched(giving(&older, 1000, |chunk| chunk)).await.unwrap();
    assert!(!lacking.absent.is_empty(), "the backup is older");
    assert!(lacking.absent.iter().all(|hash| !older.stores[0].files.contains(hash)));
    drop(lacking);
    let lied_to = fetched(giving(&same, 1000, |_| Bytes::from_static(b"\x01lie"))).await;
    assert!(
        matches!(lied_to, Err(FetchError::Engine(EngineError::WrongHash { .. }))),
        "{lied_to:?}"
    );
    let ignored = fetched(giving(&same, 0, |chunk| chunk)).await;
    assert!(matches!(ignored, Err(FetchError::NoAnswer(_))), "{ignored:?}");
    assert!(!disk.exists(".understudy/fetched").unwrap(), "nothing is left behind");
    assert!(!disk.exists(".understudy/damaged").unwrap());

    let whole = fetched(giving(&same, 1, |chunk| chunk)).await.unwrap();
    assert!(whole.absent.is_empty());
    assert!(whole.copied.chunks > 5, "{whole:?}");
    let kept = repair_store(&disk, damaged, &[&whole], &mut |_| {}).await.unwrap();
    assert!(disk.exists(&format!("{kept}/MANIFEST")).unwrap());
    drop((whole, checked));
    assert!(!disk.exists(".understudy/fetched").unwrap());
    let engine = Engine::open(disk, options()).await.unwrap();
    assert_eq!(balances(&engine.database("shop").unwrap().begin()), expected);
}
