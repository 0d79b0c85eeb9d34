//! Files that are not what was written: reported, never a wrong answer.

use std::collections::BTreeMap;

use super::*;
use crate::runtime::disk::OpenMode;

/// All files of a disk's store, to make others like it.
fn files(disk: &Disk) -> BTreeMap<String, Vec<u8>> {
    let home = disk.sub("db/main");
    home.list("")
        .unwrap()
        .into_iter()
        .map(|entry| (entry.name.clone(), home.read(&entry.name).unwrap()))
        .collect()
}

fn disk_with(files: &BTreeMap<String, Vec<u8>>) -> Disk {
    let disk = SimDisk::new(1).disk();
    disk.create_dir_all("db/main").unwrap();
    for (name, bytes) in files {
        disk.sub("db/main")
            .open(name, OpenMode::Create)
            .unwrap()
            .write_all_at(bytes, 0)
            .unwrap();
    }
    disk
}

fn without_index_files(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let mut files = files.clone();
    files.retain(|name, _| !name.ends_with(".idx"));
    files
}

/// Opens a damaged store of `commits` commits: what it answers must be right, or an error, or a reported loss. True when
/// anything was reported.
async fn assert_right_or_reported(files: &BTreeMap<String, Vec<u8>>, commits: u64, what: &str) -> bool {
    match open(&disk_with(files)).await {
        Err(ChunkError::Corrupt { .. } | ChunkError::NewerFormat { .. } | ChunkError::NotAStore { .. }) => true,
        Err(error) => panic!("{what}: {error}"),
        Ok((store, recovery)) => {
            let found = recovery.root.sequence;
            assert!(
                found == commits || recovery.cut.is_some(),
                "{what}: roots are missing and nobody said so"
            );
            let mut reported = recovery.cut.is_some();
            for (hash, bytes) in (1..=found).flat_map(commit) {
                match store.get(&hash) {
                    Ok(read) => assert_eq!(read, bytes, "{what}"),
                    Err(ChunkError::Corrupt { .. }) => reported = true,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            reported
        }
    }
}

#[tokio::test]
async fn every_flipped_byte_is_harmless_or_reported() {
    let commits = 12;
    let files = files(&store_with_commits(commits).await);
    assert!(files.len() >= 5, "a manifest, several segments and their index files");
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            assert_right_or_reported(&damaged, commits, &format!("byte {at} of {name}")).await;
        }
    }
}

#[tokio::test]
async fn every_flipped_byte_of_the_log_is_noticed_when_it_is_read() {
    let commits = 12;
    let files = without_index_files(&files(&store_with_commits(commits).await));
    assert!(
        files.len() >= 4,
        "a manifest, several segments, and what tells that they are synced"
    );
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "SYNCED") {
        for at in 0..bytes.len() {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            let what = format!("byte {at} of {name}");
            let reported = assert_right_or_reported(&damaged, commits, &what).await;
            assert!(reported, "{what} went unnoticed");
            let refused = open(&disk_with(&damaged)).await.err();
            assert!(refused.is_some(), "{what}: what was synced is never cut");
        }
    }
}

/// Without what tells up to where the log is synced, damage to the newest commit looks like a torn write: cut, and told.
#[tokio::test]
async fn what_nothing_proves_synced_is_cut_and_told() {
    let mut files = without_index_files(&files(&store_with_commits(12).await));
    let last = files.keys().rfind(|name| name.ends_with(".seg")).unwrap().clone();
    let at = files[&last].len() - 1;
    files.get_mut(&last).unwrap()[at] ^= 1;
    assert!(open(&disk_with(&files)).await.is_err());
    for damaged in [Some(20), None] {
        match damaged {
            Some(at) => files.get_mut("SYNCED").unwrap()[at] ^= 1,
            None => drop(files.remove("SYNCED")),
        }
        let (_, recovery) = open(&disk_with(&files)).await.unwrap();
        assert_eq!(recovery.root.sequence, 11);
        assert!(recovery.cut.is_some());
    }
}

#[tokio::test]
async fn every_truncation_and_every_missing_file_is_reported() {
    let commits = 12;
    let disk = store_with_commits(commits).await;
    let files = files(&disk);
    for (name, bytes) in &files {
        let mut damaged = files.clone();
        damaged.remove(name);
        let opened = open(&disk_with(&damaged)).await;
        // An index file is made again from its segment, and what tells of syncs is told again.
        let is_made_again = name.ends_with(".idx") || name == "SYNCED";
        assert_eq!(opened.is_ok(), is_made_again, "{name} was missing");
        for length in 0..bytes.len() {
            damaged.insert(name.clone(), bytes[..length].to_vec());
            let what = format!("{name} cut to {length} bytes");
            let reported = assert_right_or_reported(&damaged, commits, &what).await;
            assert!(reported || is_made_again, "{what} went unnoticed");
        }
    }
}

#[tokio::test]
async fn damage_before_a_later_root_is_refused_with_file_and_offset() {
    let disk = disk_with(&without_index_files(&files(&store_with_commits(12).await)));
    let home = disk.sub("db/main");
    let file = home.open("log-00000001.seg", OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[0xff], 150).unwrap();
    let before = files(&disk);
    let error = open(&disk).await.err().unwrap();
    let ChunkError::Corrupt { file, offset, .. } = &error else {
        panic!("{error}")
    };
    assert!(file.ends_with("db/main/log-00000001.seg"), "{file}");
    assert_eq!(*offset, 96, "the first record is the damaged one");
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(files(&disk), before, "a refused store is left as it is");
}

#[tokio::test]
async fn damage_under_an_open_store_is_an_error_of_that_chunk() {
    let disk = store_with_commits(3).await;
    let (store, _) = open(&disk).await.unwrap();
    let file = disk
        .sub("db/main")
        .open("log-00000001.seg", OpenMode::ReadWrite)
        .unwrap();
    let byte = 96 + 12 + 20 + 5;
    file.write_all_at(&[0xff], byte).unwrap();
    let (hash, _) = commit(1)[0];
    assert!(matches!(store.get(&hash), Err(ChunkError::Corrupt { offset: 96, .. })));
}

#[tokio::test]
async fn what_is_no_store_says_so() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    assert!(matches!(open(&disk).await, Err(ChunkError::NotAStore { .. })));
    disk.create_dir_all("db/main").unwrap();
    assert!(matches!(open(&disk).await, Err(ChunkError::NotAStore { .. })));
    let store = create(&disk).await.unwrap();
    publish(&store, 1).await.unwrap();
    assert!(matches!(create(&disk).await, Err(ChunkError::AlreadyExists { .. })));
    disk.remove_file("db/main/MANIFEST").unwrap();
    assert!(
        matches!(create(&disk).await, Err(ChunkError::AlreadyExists { .. })),
        "a log is not thrown away"
    );
    let error = open(&disk).await.err().unwrap();
    assert!(error.to_string().contains("MANIFEST is missing"), "{error}");
}

#[tokio::test]
async fn segments_do_not_pass_for_one_another() {
    let files = files(&store_with_commits(12).await);
    let mut swapped = files.clone();
    swapped.insert("log-00000001.seg".into(), files["log-00000002.seg"].clone());
    assert!(matches!(
        open(&disk_with(&swapped)).await,
        Err(ChunkError::Corrupt { .. })
    ));
    let other = self::files(&store_with_commits(12).await);
    let mut foreign = files.clone();
    foreign.insert("log-00000001.seg".into(), other["log-00000001.seg"].clone());
    let error = open(&disk_with(&foreign)).await.err().unwrap();
    assert!(error.to_string().contains("another store"), "{error}");
}

/// A disk that reads wrongly and holds the right thing: what was acknowledged is there, or the start is refused.
#[tokio::test]
async fn a_misread_at_a_start_cuts_nothing_off() {
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..400 {
        let sim = SimDisk::new(seed);
        let store = create(&sim.disk()).await.unwrap();
        for i in 1..=20 {
            publish(&store, i).await.unwrap();
        }
        sim.power_off();
        sim.set_faults(DiskFaults {
            misread: 20_000,
            ..DiskFaults::default()
        });
        let outcome = open(&sim.disk()).await;
        sim.set_faults(DiskFaults::default());
        match outcome {
            Ok(_) => opened += 1,
            Err(_) => refused += 1,
        }
        let (store, _) = open(&sim.disk()).await.unwrap();
        assert_eq!(store.published().sequence, 20, "seed {seed}");
        assert_holds(&store, 1..=20);
    }
    assert!(opened > 100 && refused > 0, "{opened} opened, {refused} refused");
}

/// A write that went to another place leaves two: its own, where something is missing that was synced, and the other,
/// where something else lay. If this fails, a repair mends one of them.
#[tokio::test]
async fn a_misdirected_write_is_told_of_at_both_places() {
    // A commit that is added to a segment which others began.
    let disk = SimDisk::new(1).disk();
    let store = create(&disk).await.unwrap();
    let (mut before, mut grown) = (BTreeMap::new(), None);
    for i in 1..=20 {
        publish(&store, i).await.unwrap();
        let whole = files(&disk);
        let name = whole.keys().find(|name| {
            let old: Option<&Vec<u8>> = before.get(*name);
            let is_grown = |old: &Vec<u8>| old.len() < whole[*name].len();
            name.ends_with(".seg") && old.is_some_and(is_grown)
        });
        if let Some(name) = name.cloned()
            && i > 10
        {
            // Who closes a store tells up to where it is synced.
            drop(store);
            grown = Some((before, files(&disk), name));
            break;
        }
        before = whole;
    }
    let (before, whole, name) = grown.expect("some commit is added to a segment");
    let place = before[&name].len();
    let written = whole[&name][place..].to_vec();
    let mut seen = 0;
    // In one segment nothing right may lie between the two, and then they are one place.
    for (other, old) in before
        .iter()
        .filter(|(other, _)| other.ends_with(".seg") && **other != name)
    {
        for wrong in (128..old.len().saturating_sub(written.len())).step_by(64) {
            let mut damaged = whole.clone();
            damaged.get_mut(&name).unwrap()[place..].fill(0);
            damaged.get_mut(other).unwrap()[wrong..wrong + written.len()].copy_from_slice(&written);
            let check = check_store(&disk_with(&damaged), "db/main", &mut |_, _| {}).unwrap();
            let told = |file: &str, from: usize, to: usize| {
                let within = |offset: u64| (from as u64..=to as u64).contains(&offset);
                check
                    .damage
                    .iter()
                    .any(|damage| damage.file.ends_with(file) && within(damage.offset))
            };
            let what = format!("{name} from {place} to {other} at {wrong}: {:?}", check.damage);
            assert!(told(&name, place, place), "{what}");
            // The record that is hurt first may begin before.
            let begins = wrong.saturating_sub(300);
            assert!(told(other, begins, wrong + written.len()), "{what}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
