//! What may go wrong while the power is on: each fault does what it says, on record, and again with the same seed.

use std::io::ErrorKind;
use std::time::Duration;

use super::{done, put};
use crate::runtime::disk::simulated::{DiskEvent, DiskFaults, Fault, FaultKind, SimDisk};
use crate::runtime::disk::{File, OpenMode};

const ALWAYS: u32 = 1_000_000;
const OLD: u8 = 1;
const NEW: u8 = 2;
const FILE_BYTES: usize = 8 * 512;

/// A disk with one durable file of old bytes, and then these faults.
fn with_faults(seed: u64, faults: DiskFaults) -> (SimDisk, File) {
    let sim = SimDisk::new(seed);
    let file = sim.disk().open("f", OpenMode::Create).unwrap();
    file.write_all_at(&[OLD; FILE_BYTES], 0).unwrap();
    done(file.sync()).unwrap();
    done(sim.disk().sync_dir("")).unwrap();
    sim.set_faults(faults);
    (sim, file)
}

fn kinds(sim: &SimDisk) -> Vec<FaultKind> {
    sim.injected().iter().map(|fault| fault.kind).collect()
}

fn fault(kind: FaultKind, offset: u64, bytes: u64) -> Fault {
    let path = "f".to_owned();
    Fault {
        kind,
        path,
        offset,
        bytes,
    }
}

#[test]
fn a_lost_write_is_acknowledged_and_the_old_bytes_remain() {
    let (sim, file) = with_faults(
        1,
        DiskFaults {
            lost: ALWAYS,
            ..DiskFaults::default()
        },
    );
    file.write_all_at(&[NEW; 600], 700).unwrap();
    assert_eq!(
        sim.disk().read("f").unwrap()[700],
        NEW,
        "before the sync it is in memory"
    );
    done(file.sync()).unwrap();
    assert_eq!(sim.disk().read("f").unwrap(), [OLD; FILE_BYTES]);
    assert_eq!(sim.injected(), [fault(FaultKind::LostWrite, 700, 600)]);
    // The length is kept elsewhere, and is right: what was never written are zeros.
    file.write_all_at(&[NEW; 100], FILE_BYTES as u64).unwrap();
    done(file.sync()).unwrap();
    assert_eq!(sim.disk().read("f").unwrap()[FILE_BYTES..], [0; 100]);
    sim.power_off();
    assert_eq!(sim.disk().read("f").unwrap()[..FILE_BYTES], [OLD; FILE_BYTES]);
    // The fault is over, and the disk good again.
    sim.set_faults(DiskFaults::default());
    let file = sim.disk().open("f", OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[NEW; 600], 700).unwrap();
    done(file.sync()).unwrap();
    sim.power_off();
    assert_eq!(sim.disk().read("f").unwrap()[700..1300], [NEW; 600]);
}

#[tokio::test]
async fn what_is_written_meanwhile_is_read_over_a_lost_write() {
    use futures::FutureExt as _;
    let latency = Duration::from_millis(2);
    let (sim, file) = with_faults(
        1,
        DiskFaults {
            lost: ALWAYS,
            sync_latency: Some(latency..=latency),
            ..DiskFaults::default()
        },
    );
    file.write_all_at(&[NEW; 512], 0).unwrap();
    let mut sync = Box::pin(file.sync());
    assert!((&mut sync).now_or_never().is_none(), "it takes a while");
    file.write_all_at(&[3; 512], 512).unwrap();
    sync.await.unwrap();
    let read = sim.disk().read("f").unwrap();
    assert_eq!((read[0], read[512]), (OLD, 3), "the second write is still on its way");
}

#[test]
fn a_misdirected_write_lands_whole_sectors_away_and_both_places_are_told() {
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (sim, file) = with_faults(
            seed,
            DiskFaults {
                misdirected: ALWAYS,
                ..DiskFaults::default()
            },
        );
        file.write_all_at(&[NEW; 512], 512).unwrap();
        done(file.sync()).unwrap();
        let read = sim.disk().read("f").unwrap();
        assert_eq!(read.len(), FILE_BYTES);
        assert_eq!(read[512..1024], [OLD; 512], "the right place keeps what it had");
        let found = sim.injected();
        let wrong = found[1].offset as usize;
        assert_eq!(
            found,
            [
                fault(FaultKind::MisdirectedWrite, 512, 512),
                fault(FaultKind::MisplacedWrite, wrong as u64, 512)
            ]
        );
        assert!(wrong.is_multiple_of(512) && read[wrong..wrong + 512] == [NEW; 512]);
        assert_eq!(read.iter().filter(|byte| **byte == NEW).count(), 512);
        places.insert(wrong);
    }
    assert_eq!(places.len(), 7, "any other sector: {places:?}");
}

#[test]
fn a_corrupt_write_differs_in_a_bit_or_in_a_sector_and_says_where() {
    let (mut bits, mut sectors) = (0, 0);
    for seed in 0..50 {
        let (sim, file) = with_faults(
            seed,
            DiskFaults {
                corrupt: ALWAYS,
                ..DiskFaults::default()
            },
        );
        file.write_all_at(&[NEW; 1500], 100).unwrap();
        done(file.sync()).unwrap();
        let read = sim.disk().read("f").unwrap();
        let found = sim.injected();
        let [
            Fault {
                kind: FaultKind::CorruptWrite,
                offset,
                bytes,
                ..
            },
        ] = found[..]
        else {
            panic!("{found:?}")
        };
        let (from, to) = (offset as usize, (offset + bytes) as usize);
        let expected = |at: usize| if (100..1600).contains(&at) { NEW } else { OLD };
        let wrong: Vec<usize> = (0..read.len()).filter(|at| read[*at] != expected(*at)).collect();
        assert!(wrong.iter().all(|at| (from..to).contains(at)), "{found:?}: {wrong:?}");
        match bytes {
            1 => {
                assert_eq!((read[from] ^ NEW).count_ones(), 1);
                bits += 1;
            }
            _ => {
                assert!(from / 512 == (to - 1) / 512 && wrong.len() > 100.min(to - from) / 2);
                sectors += 1;
            }
        }
    }
    assert!(bits > 10 && sectors > 10, "{bits} bits, {sectors} sectors");
}

#[test]
fn a_misread_is_wrong_once_and_the_medium_is_right() {
    let (sim, file) = with_faults(
        1,
        DiskFaults {
            misread: ALWAYS,
            ..DiskFaults::default()
        },
    );
    let mut buf = [0; 1000];
    file.read_exact_at(&mut buf, 300).unwrap();
    let wrong: Vec<usize> = (0..buf.len()).filter(|at| buf[*at] != OLD).collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!(sim.injected(), [fault(FaultKind::Misread, 300 + wrong[0] as u64, 1)]);
    sim.set_faults(DiskFaults::default());
    file.read_exact_at(&mut buf, 300).unwrap();
    assert_eq!(buf, [OLD; 1000]);
}

#[test]
fn bits_rot_in_live_files_and_stay_so() {
    let (sim, _file) = with_faults(1, DiskFaults::default());
    put(&sim.disk(), "g", &[OLD; 512]);
    let mut files = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let rotten = sim.rot().expect("there are files");
        files.insert(rotten.path.clone());
        assert_eq!(sim.injected().last(), Some(&rotten));
    }
    assert_eq!(files.len(), 2);
    let flipped = |bytes: Vec<u8>| bytes.iter().map(|byte| (byte ^ OLD).count_ones()).sum::<u32>();
    let before = flipped(sim.disk().read("f").unwrap());
    assert!((20..=40).contains(&before), "{before}: most bytes are in f");
    sim.power_off();
    assert_eq!(flipped(sim.disk().read("f").unwrap()), before);
    assert_eq!(SimDisk::new(1).rot(), None, "an empty disk has nothing to flip");
}

#[test]
fn a_flipped_bit_is_read_and_on_record() {
    let sim = SimDisk::new(1);
    put(&sim.disk(), "f", &[0; 3]);
    sim.flip_bit("f", 1, 3).unwrap();
    assert_eq!(sim.disk().read("f").unwrap(), [0, 8, 0]);
    assert_eq!(sim.injected(), [fault(FaultKind::BitRot, 1, 1)]);
}

#[test]
fn a_fault_goes_by_the_name_its_file_has_now() {
    let (sim, file) = with_faults(
        1,
        DiskFaults {
            lost: ALWAYS,
            ..DiskFaults::default()
        },
    );
    file.write_all_at(&[NEW; 512], 0).unwrap();
    done(file.sync()).unwrap();
    sim.disk().rename("f", "renamed").unwrap();
    assert_eq!(sim.injected()[0].path, "renamed");
    sim.disk().remove_file("renamed").unwrap();
    assert_eq!(sim.injected()[0].path, "renamed", "the last name known");
}

#[test]
fn a_failed_sync_loses_what_it_should_have_saved_and_the_next_one_does_not_bring_it_back() {
    let sim = SimDisk::new(1);
    let file = sim.disk().open("f", OpenMode::Create).unwrap();
    done(sim.disk().sync_dir("")).unwrap();
    sim.set_faults(DiskFaults {
        fail_sync_after: Some(0),
        ..DiskFaults::default()
    });
    file.write_all_at(b"gone", 0).unwrap();
    assert_eq!(done(file.sync()).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(sim.disk().read("f").unwrap(), b"gone", "still in the page cache");
    done(file.sync()).unwrap();
    assert_eq!(kinds(&sim), [FaultKind::FailedSync]);
    sim.power_off();
    assert_eq!(sim.disk().read("f").unwrap(), b"");
}

#[test]
fn a_share_of_syncs_fails_of_files_and_of_directories() {
    let sim = SimDisk::new(1);
    let file = sim.disk().open("f", OpenMode::Create).unwrap();
    sim.set_faults(DiskFaults {
        sync_fails: ALWAYS / 4,
        ..DiskFaults::default()
    });
    let failed = (0..400).filter(|_| done(file.sync()).is_err()).count();
    assert!((60..140).contains(&failed), "{failed} of 400");
    sim.set_faults(DiskFaults {
        sync_fails: ALWAYS,
        ..DiskFaults::default()
    });
    let error = done(sim.disk().sync_dir("")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    sim.set_faults(DiskFaults::default());
    sim.drop_unsynced();
    assert!(!sim.disk().exists("f").unwrap(), "the name was not saved");
}

#[test]
fn a_full_disk_takes_what_fits_and_grows_again_after_a_removal() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    sim.full_at(Some(100));
    put(&disk, "a", &[OLD; 60]);
    let file = disk.open("b", OpenMode::Create).unwrap();
    assert_eq!(
        file.write_all_at(&[NEW; 41], 0).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    assert_eq!(
        disk.read("b").unwrap(),
        [NEW; 40],
        "a write is cut short where the space ends"
    );
    assert_eq!(sim.used(), 100);
    assert_eq!(file.set_len(41).unwrap_err().kind(), ErrorKind::StorageFull);
    // Beyond the end of the file: the gap alone fills the disk, so nothing is written.
    disk.open("b", OpenMode::ReadWrite).unwrap().set_len(10).unwrap();
    assert!(file.write_all_at(&[NEW; 10], 60).is_err());
    assert_eq!(file.len().unwrap(), 10);
    put(&disk, "a", &[NEW; 60]);
    assert_eq!(kinds(&sim), [FaultKind::DiskFull; 3]);
    disk.remove_file("a").unwrap();
    file.write_all_at(&[OLD; 100], 0).unwrap();
}

#[test]
fn space_of_a_removed_file_is_free_when_the_last_handle_is_closed() {
    for sync in [false, true] {
        let sim = SimDisk::new(1);
        let disk = sim.disk();
        put(&disk, "a", &[OLD; 60]);
        let reader = disk.open("a", OpenMode::Read).unwrap();
        done(disk.sync_dir("")).unwrap();
        disk.remove_file("a").unwrap();
        if sync {
            done(disk.sync_dir("")).unwrap();
        }
        sim.full_at(Some(100));
        let file = disk.open("b", OpenMode::Create).unwrap();
        assert!(file.write_all_at(&[NEW; 41], 0).is_err(), "sync {sync}");
        drop(reader);
        file.write_all_at(&[NEW; 100], 0).unwrap();
        // A process that dies closes everything.
        let leaked = disk.open("b", OpenMode::Read).unwrap();
        disk.remove_file("b").unwrap();
        assert_eq!(sim.used(), 100);
        sim.kill();
        assert_eq!(sim.used(), 0);
        drop((leaked, file));
    }
}

#[tokio::test]
async fn a_stuck_sync_takes_its_time() {
    let (sim, file) = with_faults(
        1,
        DiskFaults {
            stuck: ALWAYS / 2,
            stuck_for: Duration::from_millis(20),
            ..DiskFaults::default()
        },
    );
    let mut stuck = 0;
    for _ in 0..20 {
        let begun = crate::runtime::now();
        file.sync().await.unwrap();
        stuck += usize::from(begun.elapsed() >= Duration::from_millis(20));
    }
    assert!(stuck > 3, "{stuck} of 20");
    let told = kinds(&sim);
    assert!(told.iter().all(|kind| *kind == FaultKind::StuckSync) && (4..17).contains(&told.len()));
    assert!(told.len() <= stuck, "whoever is stuck waits");
}

#[test]
fn torn_says_how_many_of_the_writes_that_do_not_survive_survive_in_part() {
    let partly = |torn| {
        let cut = (0..200).filter(|seed| {
            let (sim, file) = with_faults(
                *seed,
                DiskFaults {
                    torn,
                    ..DiskFaults::default()
                },
            );
            file.write_all_at(&[NEW; FILE_BYTES], 0).unwrap();
            sim.power_off();
            let read = sim.disk().read("f").unwrap();
            read.contains(&OLD) && read.contains(&NEW)
        });
        cut.count()
    };
    assert_eq!(partly(Some(0)), 0);
    assert!(partly(Some(ALWAYS)) > partly(None) && partly(None) > 20);
}

/// All faults at once: what happens depends on the seed and the calls alone, and the observer hears of all of it.
#[test]
fn faults_repeat_with_the_seed_and_are_told() {
    let run = |seed| {
        let told = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let faults = DiskFaults {
            lost: 100_000,
            misdirected: 100_000,
            corrupt: 100_000,
            misread: 100_000,
            sync_fails: 50_000,
            stuck: 50_000,
            full_at: Some(20_000),
            ..DiskFaults::default()
        };
        let (sim, file) = with_faults(seed, faults);
        let log = told.clone();
        sim.observe(Box::new(move |event| {
            let DiskEvent { kind, path, number, .. } = event;
            log.lock().push(format!("{kind} {path} {number}"));
        }));
        for i in 0..100u64 {
            let _ = file.write_all_at(&[i as u8; 700], i * 300);
            let _ = done(file.sync());
            let _ = file.read_at(&mut [0; 64], i * 300);
        }
        sim.rot();
        let told = told.lock().clone();
        (told, sim.injected(), sim.disk().read("f").unwrap())
    };
    let (told, injected, bytes) = run(7);
    assert_eq!((told.clone(), injected.clone(), bytes), run(7));
    assert_ne!(run(8).1, injected);
    let expected: Vec<String> = injected
        .iter()
        .map(|fault| format!("{} {} {}", fault.kind.word(), fault.path, fault.offset))
        .collect();
    let faults: Vec<&String> = told.iter().filter(|line| !line.starts_with("sync f ")).collect();
    assert_eq!(faults, expected.iter().collect::<Vec<_>>());
    let mut kinds: Vec<FaultKind> = injected.iter().map(|fault| fault.kind).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}

/// A fault that is switched off leaves the accidents at loss of power as they were.
#[test]
fn faults_do_not_disturb_what_a_loss_of_power_does() {
    for seed in 0..20 {
        let after = |misread| {
            let (sim, file) = with_faults(
                seed,
                DiskFaults {
                    misread,
                    ..DiskFaults::default()
                },
            );
            for i in 0..5u64 {
                file.read_at(&mut [0; 64], 0).unwrap();
                file.write_all_at(&[i as u8 + 3; 900], i * 500).unwrap();
            }
            sim.power_off();
            sim.set_faults(DiskFaults::default());
            sim.disk().read("f").unwrap()
        };
        assert_eq!(after(0), after(500_000));
    }
}
