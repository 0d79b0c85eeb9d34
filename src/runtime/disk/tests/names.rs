//! Names are as durable as the last sync of their directory, and files outlive them for those who have them open.

use super::{both, done, put};
use crate::runtime::disk::OpenMode;
use crate::runtime::disk::simulated::SimDisk;

#[test]
fn a_new_name_can_vanish_with_the_power_until_its_directory_is_synced() {
    let survived = |sync: bool| {
        (0..64)
            .filter(|seed| {
                let sim = SimDisk::new(*seed);
                let file = sim.disk().open("f", OpenMode::Create).unwrap();
                file.write_all_at(b"bytes", 0).unwrap();
                done(file.sync()).unwrap();
                if sync {
                    done(sim.disk().sync_dir("")).unwrap();
                }
                sim.power_off();
                sim.disk().exists("f").unwrap()
            })
            .count()
    };
    assert_eq!(survived(true), 64);
    assert!(
        (1..63).contains(&survived(false)),
        "sometimes there, sometimes not: {}",
        survived(false)
    );
}

#[test]
fn a_rename_is_whole_and_needs_a_sync_of_its_directory() {
    // Across two directories: after the power is back the file has one of the two names, never both or none.
    let ends = |sync: Option<&str>| {
        let mut moved = 0;
        for seed in 0..64 {
            let sim = SimDisk::new(seed);
            let disk = sim.disk();
            disk.create_dir_all("a").unwrap();
            disk.create_dir_all("b").unwrap();
            put(&disk, "a/f", b"bytes");
            done(disk.open("a/f", OpenMode::ReadWrite).unwrap().sync()).unwrap();
            done(disk.sync_dirs_to_root("a")).unwrap();
            done(disk.sync_dirs_to_root("b")).unwrap();
            disk.rename("a/f", "b/g").unwrap();
            if let Some(dir) = sync {
                done(disk.sync_dir(dir)).unwrap();
            }
            sim.power_off();
            let disk = sim.disk();
            let (old, new) = (disk.exists("a/f").unwrap(), disk.exists("b/g").unwrap());
            assert!(old != new, "seed {seed}: old {old}, new {new}");
            assert_eq!(disk.read(if old { "a/f" } else { "b/g" }).unwrap(), b"bytes");
            moved += u32::from(new);
        }
        moved
    };
    assert!(
        (1..63).contains(&ends(None)),
        "sometimes moved, sometimes not: {}",
        ends(None)
    );
    assert_eq!(
        (ends(Some("a")), ends(Some("b"))),
        (64, 64),
        "either directory's sync is enough"
    );
}

#[test]
fn a_removed_file_comes_back_until_its_directory_is_synced() {
    let back = |sync: bool| {
        let back = (0..64).filter(|seed| {
            let sim = SimDisk::new(*seed);
            let disk = sim.disk();
            put(&disk, "f", b"bytes");
            done(disk.open("f", OpenMode::ReadWrite).unwrap().sync()).unwrap();
            done(disk.sync_dir("")).unwrap();
            disk.remove_file("f").unwrap();
            if sync {
                done(disk.sync_dir("")).unwrap();
            }
            sim.power_off();
            let there = sim.disk().exists("f").unwrap();
            assert!(
                !there || sim.disk().read("f").unwrap() == b"bytes",
                "what was synced is whole"
            );
            there
        });
        back.count()
    };
    assert_eq!(back(true), 0);
    assert!((1..63).contains(&back(false)), "sometimes back: {}", back(false));
}

#[test]
fn a_removed_file_stays_for_those_who_have_it_open() {
    both(|disk| {
        put(disk, "f", b"old bytes");
        let reader = disk.open("f", OpenMode::Read).unwrap();
        let writer = disk.open("f", OpenMode::ReadWrite).unwrap();
        disk.remove_file("f").unwrap();
        put(disk, "f", b"another file");
        writer.write_all_at(b"new", 0).unwrap();
        let mut buf = [0; 9];
        reader.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!((&buf, reader.len().unwrap()), (b"new bytes", 9));
        assert_eq!(disk.read("f").unwrap(), b"another file");
        // The same when another file takes its name by a rename.
        put(disk, "g", b"a third");
        let second = disk.open("f", OpenMode::Read).unwrap();
        disk.rename("g", "f").unwrap();
        second.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!((&buf, disk.read("f").unwrap()), (b"another f", b"a third".to_vec()));
    });
}

#[test]
fn a_removed_file_can_be_synced_and_read_after_its_directory_is_synced() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    put(&disk, "f", b"bytes");
    let file = disk.open("f", OpenMode::ReadWrite).unwrap();
    done(disk.sync_dir("")).unwrap();
    disk.remove_file("f").unwrap();
    done(disk.sync_dir("")).unwrap();
    file.write_all_at(b"more", 5).unwrap();
    done(file.sync()).unwrap();
    let mut buf = [0; 9];
    file.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"bytesmore");
}

#[test]
fn a_file_within_a_directory_that_was_never_synced_goes_with_it() {
    let gone = (0..64).filter(|seed| {
        let sim = SimDisk::new(*seed);
        let disk = sim.disk();
        disk.create_dir_all("d").unwrap();
        put(&disk, "d/f", b"x");
        done(disk.sync_dir("d")).unwrap();
        sim.power_off();
        !sim.disk().exists("d/f").unwrap()
    });
    assert!(gone.count() > 0, "the name of the directory itself was never synced");
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    disk.create_dir_all("d/e").unwrap();
    put(&disk, "d/e/f", b"x");
    done(disk.sync_dirs_to_root("d/e")).unwrap();
    sim.power_off();
    assert!(sim.disk().exists("d/e/f").unwrap());
}

/// Two runs that write the same lengths and other bytes are not the same run.
#[test]
fn a_sync_tells_what_it_saved_and_where() {
    let told = |writes: &[(u64, &[u8])]| -> (u64, Option<u64>) {
        let sim = SimDisk::new(1);
        let file = sim.disk().open("f", OpenMode::Create).unwrap();
        for (offset, bytes) in writes {
            file.write_all_at(bytes, *offset).unwrap();
        }
        let last = std::sync::Arc::new(parking_lot::Mutex::new((0, None)));
        let log = last.clone();
        sim.observe(Box::new(move |event| *log.lock() = (event.number, event.digest)));
        done(file.sync()).unwrap();
        *last.lock()
    };
    let one = told(&[(0, b"ab"), (7, b"cd")]);
    assert_eq!(one, told(&[(0, b"ab"), (7, b"cd")]));
    // Of what ends in its own checksum the checksum is a constant.
    let sealed = |body: &[u8]| [body, &crc32c::crc32c(body).to_le_bytes()].concat();
    let (two, three) = (sealed(b"two"), sealed(b"333"));
    assert_ne!(told(&[(0, &two)]), told(&[(0, &three)]));
    for other in [
        [(0, &b"ab"[..]), (7, b"ce")],
        [(0, b"ab"), (8, b"cd")],
        [(7, b"cd"), (0, b"ab")],
    ] {
        let other = told(&other);
        assert!(other.0 == one.0 && other.1 != one.1, "{one:?} {other:?}");
    }
}

#[test]
fn a_digest_is_of_names_and_bytes() {
    let digest = |name: &str, bytes: &[u8], flip: bool| {
        let sim = SimDisk::new(1);
        let file = sim.disk().open(name, OpenMode::Create).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        if flip {
            sim.flip_bit(name, 3, 0).unwrap();
        }
        sim.digest()
    };
    let one = digest("f", b"bytes", false);
    assert_eq!(one, digest("f", b"bytes", false));
    for other in [
        digest("g", b"bytes", false),
        digest("f", b"byte", false),
        digest("f", b"bytes", true),
        SimDisk::new(1).digest(),
    ] {
        assert_ne!(one, other);
    }
}
