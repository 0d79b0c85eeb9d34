//! What both kinds of disk promise, and what the simulated one may do at loss of power.

mod faults;
mod names;

use std::collections::BTreeMap;
use std::io::ErrorKind;

use proptest::prelude::*;

use super::simulated::SimDisk;
use super::{Disk, LockOutcome, OpenMode};

/// Syncs of these disks never wait, so one poll is enough.
fn done<T>(future: impl Future<Output = T>) -> T {
    use futures::FutureExt as _;
    future.now_or_never().expect("a disk without latency answers at once")
}

fn put(disk: &Disk, path: &str, bytes: &[u8]) {
    disk.open(path, OpenMode::CreateOrOpen)
        .unwrap()
        .write_all_at(bytes, 0)
        .unwrap();
}

fn names(disk: &Disk, dir: &str) -> Vec<String> {
    disk.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

/// The same calls on a real directory and on a simulated disk give the same answers.
fn both(test: impl Fn(&Disk)) {
    let directory = tempfile::tempdir().unwrap();
    test(&Disk::production(directory.path().join("a/b")).unwrap());
    test(&SimDisk::new(1).disk());
}

#[test]
fn files_are_read_where_they_were_written() {
    both(|disk| {
        let file = disk.open("f", OpenMode::Create).unwrap();
        file.write_all_at(b"world", 6).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        assert_eq!(disk.read("f").unwrap(), b"hello\0world");
        let mut buf = [0; 8];
        assert_eq!(file.read_at(&mut buf, 6).unwrap(), 5);
        assert_eq!(
            file.read_exact_at(&mut buf, 6).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        assert_eq!(file.read_at(&mut buf, 600).unwrap(), 0);
        file.set_len(2).unwrap();
        file.set_len(4).unwrap();
        assert_eq!((file.len().unwrap(), disk.read("f").unwrap()), (4, b"he\0\0".to_vec()));
    });
}

#[test]
fn the_folder_above_that_has_a_file_is_found_with_the_way_down() {
    both(|disk| {
        let far = disk.elsewhere(&format!("{}/far", machine_path(disk))).unwrap();
        far.create_dir_all("home/shops/one").unwrap();
        far.create_dir_all("home/.control").unwrap();
        let shop = far.sub("home/shops/one");
        assert!(shop.above_with(".control/lock").unwrap().is_none());
        put(&far, "home/.control/lock", b"1");
        let (home, way) = shop.above_with(".control/lock").unwrap().unwrap();
        assert_eq!(way, "shops/one");
        assert_eq!(home.read(".control/lock").unwrap(), b"1");
        let (same, way) = home.above_with(".control/lock").unwrap().unwrap();
        assert_eq!((same.describe(""), way.as_str()), (home.describe(""), ""));
    });
}

/// A path of the machine at which a test may make folders.
fn machine_path(disk: &Disk) -> String {
    let shown = disk.describe("");
    match shown.starts_with('/') {
        true => shown,
        false => String::new(),
    }
}

#[test]
fn open_modes() {
    both(|disk| {
        let kind = |path: &str, mode| disk.open(path, mode).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(kind("f", OpenMode::Read), Err(ErrorKind::NotFound));
        assert_eq!(kind("f", OpenMode::ReadWrite), Err(ErrorKind::NotFound));
        assert_eq!(kind("d/f", OpenMode::CreateOrOpen), Err(ErrorKind::NotFound));
        assert_eq!(kind("f", OpenMode::Create), Ok(()));
        assert_eq!(kind("f", OpenMode::Create), Err(ErrorKind::AlreadyExists));
        assert_eq!(kind("f", OpenMode::CreateOrOpen), Ok(()));
        disk.create_dir_all("d").unwrap();
        assert_eq!(kind("d", OpenMode::Read), Err(ErrorKind::IsADirectory));
        assert_eq!(kind("f/g", OpenMode::Create), Err(ErrorKind::NotADirectory));
        assert!(
            disk.open("f", OpenMode::Read).unwrap().write_all_at(b"x", 0).is_err(),
            "opened for reading"
        );
    });
}

#[test]
fn names_change() {
    both(|disk| {
        disk.create_dir_all("a/b").unwrap();
        disk.create_dir_all("a/b").unwrap();
        put(disk, "a/b/y", b"y");
        put(disk, "a/b/x", b"xx");
        put(disk, "z", b"z");
        let entries = disk.list("a/b").unwrap();
        assert_eq!(
            entries
                .iter()
                .map(|e| (e.name.as_str(), e.is_dir, e.len))
                .collect::<Vec<_>>(),
            [("x", false, 2), ("y", false, 1)]
        );
        disk.rename("a/b/x", "z").unwrap();
        assert_eq!(disk.read("z").unwrap(), b"xx");
        assert!(!disk.exists("a/b/x").unwrap());
        assert!(!disk.exists("none/x").unwrap());
        assert_eq!(disk.rename("none", "z").unwrap_err().kind(), ErrorKind::NotFound);
        disk.rename("a", "c").unwrap();
        assert_eq!(disk.sub("c").sub("b/").read("y").unwrap(), b"y");
        assert_eq!(names(disk, ""), ["c", "z"]);
        disk.remove_dir_all("c").unwrap();
        disk.remove_file("z").unwrap();
        assert_eq!(disk.remove_file("z").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(names(disk, ""), Vec::<String>::new());
    });
}

#[test]
fn paths_never_leave_the_tree() {
    both(|disk| {
        for path in ["../x", "/etc/passwd", "a/../../x", "a//b", ".", "a\0b"] {
            let error = disk.open(path, OpenMode::CreateOrOpen).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
        }
    });
}

#[test]
fn a_lock_has_one_holder() {
    both(|disk| {
        let LockOutcome::Acquired(guard) = disk.lock("LOCK").unwrap() else {
            panic!("free")
        };
        assert!(!disk.read("LOCK").unwrap().is_empty(), "says who");
        let LockOutcome::HeldBy(who) = disk.lock("LOCK").unwrap() else {
            panic!("held")
        };
        assert!(!who.is_empty());
        drop(guard);
        assert!(
            matches!(disk.lock("LOCK").unwrap(), LockOutcome::Acquired(_)),
            "what was left behind blocks nobody"
        );
    });
}

#[tokio::test]
async fn atomic_write_replaces_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    for disk in [Disk::production(directory.path()).unwrap(), SimDisk::new(1).disk()] {
        disk.create_dir_all("d").unwrap();
        disk.write_atomically("d/f", b"a longer first version").await.unwrap();
        disk.write_atomically("d/f", b"second").await.unwrap();
        assert_eq!(disk.read("d/f").unwrap(), b"second");
        assert_eq!(names(&disk, "d"), ["f"]);
        disk.sync_dirs_to_root("d").await.unwrap();
    }
}

#[test]
fn an_atomic_write_is_whole_whenever_the_power_goes() {
    let (mut old, mut new, mut finished) = (0, 0, 0);
    for seed in 0..100 {
        for syncs in 0..3 {
            let sim = SimDisk::new(seed);
            done(sim.disk().write_atomically("f", &[1; 3000])).unwrap();
            sim.power_off_after_syncs(syncs);
            let written = done(sim.disk().write_atomically("f", &[2; 5000])).is_ok();
            sim.power_off();
            let found = sim.disk().read("f").unwrap();
            assert!(found == [1; 3000] || found == [2; 5000], "torn: {} bytes", found.len());
            assert!(!written || found[0] == 2, "acknowledged, so it is there");
            finished += usize::from(written);
            old += usize::from(found[0] == 1);
            new += usize::from(found[0] == 2);
        }
    }
    assert!(
        old > 100 && new > finished && finished == 100,
        "old {old}, new {new}, finished {finished}"
    );
}

#[test]
fn unsynced_writes_are_kept_lost_or_torn_at_sectors() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        let file = sim.disk().open("f", OpenMode::Create).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        done(file.sync()).unwrap();
        done(sim.disk().sync_dir("")).unwrap();
        file.write_all_at(&[2; 2000], 700).unwrap();
        sim.power_off();
        let bytes = sim.disk().read("f").unwrap();
        assert_eq!(bytes.len(), 4096);
        assert!(
            bytes[..700].iter().chain(&bytes[2700..]).all(|byte| *byte == 1),
            "synced bytes stay"
        );
        for sector in bytes.chunks(512).map(|sector| sector.to_vec()) {
            let inner: Vec<u8> = sector.clone();
            let whole = inner.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!(whole <= 1, "a sector is written whole or not at all");
        }
        match bytes[700..2700].iter().filter(|byte| **byte == 2).count() {
            2000 => kept += 1,
            0 => lost += 1,
            _ => torn += 1,
        }
    }
    assert!(
        kept > 10 && lost > 10 && torn > 10,
        "kept {kept}, lost {lost}, torn {torn}"
    );
}

#[test]
fn what_lies_between_two_syncs_may_be_reordered() {
    let second_without_first = (0..200).filter(|seed| {
        let sim = SimDisk::new(*seed);
        let file = sim.disk().open("f", OpenMode::Create).unwrap();
        file.set_len(1024).unwrap();
        done(file.sync()).unwrap();
        done(sim.disk().sync_dir("")).unwrap();
        file.write_all_at(&[1; 512], 0).unwrap();
        file.write_all_at(&[2; 512], 512).unwrap();
        sim.power_off();
        let bytes = sim.disk().read("f").unwrap();
        bytes[0] == 0 && bytes[512] == 2
    });
    assert!(second_without_first.count() > 5);
}

#[test]
fn a_kill_loses_nothing_and_ends_every_handle() {
    let sim = SimDisk::new(1);
    let old = sim.disk();
    let file = old.open("f", OpenMode::Create).unwrap();
    file.write_all_at(b"not synced", 0).unwrap();
    let LockOutcome::Acquired(guard) = old.lock("LOCK").unwrap() else {
        panic!("free")
    };
    sim.kill();
    assert!(!sim.is_alive(&old) && sim.is_alive(&sim.disk()));
    assert!(file.write_all_at(b"from the grave", 0).is_err());
    assert!(file.read_at(&mut [0], 0).is_err() && file.len().is_err() && file.set_len(0).is_err());
    assert!(done(file.sync()).is_err() && done(old.sync_dir("")).is_err());
    assert!(old.remove_file("f").is_err() && old.list("").is_err() && old.rename("f", "g").is_err());
    assert_eq!(sim.disk().read("f").unwrap(), b"not synced");
    let LockOutcome::Acquired(_new) = sim.disk().lock("LOCK").unwrap() else {
        panic!("locks die with their process")
    };
    drop(guard);
    assert!(
        matches!(sim.disk().lock("LOCK").unwrap(), LockOutcome::HeldBy(_)),
        "a dead guard frees nothing"
    );
}

#[test]
fn power_goes_off_in_the_middle_of_the_chosen_sync() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    let file = disk.open("f", OpenMode::Create).unwrap();
    done(disk.sync_dir("")).unwrap();
    sim.power_off_after_syncs(2);
    for byte in [1, 2] {
        file.write_all_at(&[byte], u64::from(byte)).unwrap();
        done(file.sync()).unwrap();
    }
    assert_eq!(sim.syncs(), 3);
    assert!(done(file.sync()).is_err());
    assert_eq!(sim.syncs(), 3);
    assert!(!sim.is_alive(&disk));
    assert_eq!(sim.disk().read("f").unwrap(), [0, 1, 2]);
}

#[derive(Clone, Debug)]
enum Step {
    Write { file: u8, at: u16, len: u16, byte: u8 },
    Cut { file: u8, len: u16 },
    Sync { file: u8 },
    SyncDir,
    Rename { from: u8, to: u8 },
    Remove { file: u8 },
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let file = 0..3u8;
    let step = prop_oneof![
        4 => (file.clone(), 0..3000u16, 1..3000u16, 1..255u8)
            .prop_map(|(file, at, len, byte)| Step::Write { file, at, len, byte }),
        1 => (file.clone(), 0..3000u16).prop_map(|(file, len)| Step::Cut { file, len }),
        3 => file.clone().prop_map(|file| Step::Sync { file }),
        2 => Just(Step::SyncDir),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => file.prop_map(|file| Step::Remove { file }),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a reader sees: name to (identity of the file, bytes).
type Image = BTreeMap<String, (usize, Vec<u8>)>;

proptest! {
    /// A model of what is promised: before a loss of power all is as written; after it, a directory that was synced
    /// with nothing pending has exactly its names, and a file that was synced last has exactly its bytes.
    #[test]
    fn what_was_synced_survives(seed: u64, steps in steps()) {
        let sim = SimDisk::new(seed);
        let mut disk = sim.disk();
        let mut image = Image::new();
        let mut names_synced = true;
        // By identity: the bytes at the last sync, when nothing was written since.
        let mut bytes_synced: BTreeMap<usize, Option<Vec<u8>>> = BTreeMap::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Write { file, at, len, byte } => {
                    let name = format!("f{file}");
                    let entry = image.entry(name.clone()).or_insert_with(|| {
                        names_synced = false;
                        next += 1;
                        (next, Vec::new())
                    });
                    let bytes = vec![byte; usize::from(len)];
                    let end = usize::from(at) + bytes.len();
                    if entry.1.len() < end {
                        entry.1.resize(end, 0);
                    }
                    entry.1[usize::from(at)..end].copy_from_slice(&bytes);
                    bytes_synced.insert(entry.0, None);
                    disk.open(&name, OpenMode::CreateOrOpen).unwrap().write_all_at(&bytes, u64::from(at)).unwrap();
                }
                Step::Cut { file, len } => {
                    if let Some(entry) = image.get_mut(&format!("f{file}")) {
                        entry.1.resize(usize::from(len), 0);
                        bytes_synced.insert(entry.0, None);
                        disk.open(&format!("f{file}"), OpenMode::ReadWrite).unwrap().set_len(u64::from(len)).unwrap();
                    }
                }
                Step::Sync { file } => {
                    if let Some(entry) = image.get(&format!("f{file}")) {
                        done(disk.open(&format!("f{file}"), OpenMode::ReadWrite).unwrap().sync()).unwrap();
                        bytes_synced.insert(entry.0, Some(entry.1.clone()));
                    }
                }
                Step::SyncDir => {
                    done(disk.sync_dir("")).unwrap();
                    names_synced = true;
                }
                Step::Rename { from, to } => {
                    if let Some(entry) = image.remove(&format!("f{from}")) {
                        image.insert(format!("f{to}"), entry);
                        disk.rename(&format!("f{from}"), &format!("f{to}")).unwrap();
                        names_synced &= from == to;
                    }
                }
                Step::Remove { file } => {
                    if image.remove(&format!("f{file}")).is_some() {
                        disk.remove_file(&format!("f{file}")).unwrap();
                        names_synced = false;
                    }
                }
                Step::Kill => {
                    sim.kill();
                    disk = sim.disk();
                }
            }
            for (name, (_, bytes)) in &image {
                prop_assert_eq!(&disk.read(name).unwrap(), bytes);
            }
            prop_assert_eq!(names(&disk, ""), image.keys().cloned().collect::<Vec<_>>());
        }
        sim.power_off();
        let disk = sim.disk();
        if names_synced {
            prop_assert_eq!(names(&disk, ""), image.keys().cloned().collect::<Vec<_>>());
            for (name, (id, _)) in &image {
                if let Some(Some(bytes)) = bytes_synced.get(id) {
                    prop_assert_eq!(&disk.read(name).unwrap(), bytes);
                }
            }
        }
        // What survived is now durable: a second loss of power changes nothing.
        let survived: Vec<_> = names(&disk, "").into_iter().map(|name| (name.clone(), disk.read(&name).unwrap())).collect();
        sim.power_off();
        let disk = sim.disk();
        let again: Vec<_> = names(&disk, "").into_iter().map(|name| (name.clone(), disk.read(&name).unwrap())).collect();
        prop_assert_eq!(survived, again);
    }

    /// The same seed and the same calls lose the same bytes.
    #[test]
    fn accidents_repeat_with_the_seed(seed: u64, writes in proptest::collection::vec((0..5000u64, 1..3000usize), 1..8)) {
        let run = || {
            let sim = SimDisk::new(seed);
            let file = sim.disk().open("f", OpenMode::Create).unwrap();
            done(sim.disk().sync_dir("")).unwrap();
            for (byte, (at, len)) in writes.iter().enumerate() {
                file.write_all_at(&vec![byte as u8 + 1; *len], *at).unwrap();
            }
            sim.power_off();
            sim.disk().read("f").unwrap()
        };
        prop_assert_eq!(run(), run());
    }
}
