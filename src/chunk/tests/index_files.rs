//! Opening by index files: quick, and never more than a shortcut.

use super::*;

/// What opening had to read of the segments.
async fn read_bytes(disk: &Disk) -> u64 {
    open(disk).await.unwrap().1.read_bytes
}

#[tokio::test]
async fn only_the_newest_segments_are_read_at_opening() {
    // Would fail if index files were not written, or not believed.
    let disk = store_with_commits(200).await;
    let listing = disk.list("db/main").unwrap();
    let log: u64 = listing
        .iter()
        .filter(|entry| entry.name.ends_with(".seg"))
        .map(|entry| entry.len)
        .sum();
    assert!(log > 20 * 2000, "the test is about many segments");
    assert!(
        read_bytes(&disk).await <= 3 * 2000,
        "{} of {log}",
        read_bytes(&disk).await
    );
    let (store, recovery) = open(&disk).await.unwrap();
    assert_eq!(recovery.root.sequence, 200);
    assert_holds(&store, 1..=200);
    assert_eq!(log_roots(&store, Hash::NONE), Some((1..=200).collect()));
    assert_eq!(log_roots(&store, commit(77)[0].0), Some((78..=200).collect()));
}

#[tokio::test]
async fn lost_index_files_are_made_again() {
    let disk = store_with_commits(60).await;
    let home = disk.sub("db/main");
    let names = |suffix: &str| {
        let listing = home.list("").unwrap().into_iter().map(|entry| entry.name);
        listing.filter(|name| name.ends_with(suffix)).collect::<Vec<_>>()
    };
    let before = names(".idx");
    assert!(before.len() > 5);
    for name in &before {
        home.remove_file(name).unwrap();
    }
    assert!(read_bytes(&disk).await > 5 * 2000, "without them the segments are read");
    assert_eq!(names(".idx"), before);
    assert!(read_bytes(&disk).await <= 3 * 2000);
    let (store, _) = open(&disk).await.unwrap();
    assert_holds(&store, 1..=60);
}

#[tokio::test]
async fn an_index_file_of_another_segment_or_store_is_not_believed() {
    let disk = store_with_commits(60).await;
    let home = disk.sub("db/main");
    let swap = home.read("log-00000002.idx").unwrap();
    let foreign = store_with_commits(60).await.read("db/main/log-00000003.idx").unwrap();
    for (name, bytes) in [("log-00000001.idx", swap), ("log-00000003.idx", foreign)] {
        home.write_atomically(name, &bytes).await.unwrap();
    }
    let (store, recovery) = open(&disk).await.unwrap();
    assert!(recovery.read_bytes > 2000, "the two segments were read instead");
    assert_holds(&store, 1..=60);
}

#[tokio::test]
async fn a_log_that_grew_while_index_files_could_not_be_written_opens_all_the_same() {
    let sim = SimDisk::new(1);
    let disk = sim.disk();
    let store = create(&disk).await.unwrap();
    // A folder in the place of each file: it can be neither written nor removed as a file.
    for number in 1..10 {
        disk.create_dir_all(&format!("db/main/log-{number:08}.idx")).unwrap();
    }
    for i in 1..=40 {
        publish(&store, i).await.unwrap();
    }
    sim.power_off();
    let (store, _) = open(&sim.disk()).await.unwrap();
    assert_holds(&store, 1..=40);
}
