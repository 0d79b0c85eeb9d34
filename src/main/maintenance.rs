//! `fsck`, `backup` and `restore`: work on a data folder from the command line, with progress on a terminal.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use understudy::chunk::{Hash, StoreOptions, looks_like_a_store};
use understudy::config::Config;
use understudy::engine::{
    CheckedStore, Copied, CopyTo, FolderCheck, FolderCopied, RepairFailed, RepairStep, check_one_store, copy_folder,
    has_databases, repair_from_others, repair_store,
};
use understudy::replication::cluster::RepairPeer;
use understudy::runtime::disk::Disk;
use understudy::server::check_data_folder;

use crate::say;

fn line(text: fmt::Arguments<'_>) {
    say(&format!("{text}\n"));
}

/// So many damages of one store are printed; the rest is counted.
const SHOWN_MAX: usize = 20;

/// Checks a folder and prints what is wrong; with `repair_from`, makes damaged stores again. `config` is called when a
/// running peer is to be asked: it gives the configuration of the server whose folder it is.
pub async fn fsck(
    folder: String,
    repair_from: Option<String>,
    config: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<()> {
    // Held to the end: it keeps servers out.
    let checked = check(&folder)?;
    let (stores, problems) = (checked.stores.len(), checked.problems.len());
    for store in &checked.stores {
        print_store(&checked.disk, store);
    }
    for problem in &checked.problems {
        line(format_args!("{}: DAMAGED: {}", problem.place, problem.detail));
    }
    for remark in &checked.remarks {
        line(format_args!("{}: {}", remark.place, remark.detail));
    }
    if checked.is_sound() {
        line(format_args!("{stores} of {stores} stores are sound."));
        return Ok(());
    }
    let damaged = checked.stores.iter().filter(|store| !store.is_sound()).count();
    if damaged == 0 {
        bail!(
            "{stores} of {stores} stores are sound, but in {folder} {}: see above",
            unsound(problems)
        );
    }
    let Some(url) = repair_from else {
        bail!(
            "{damaged} of {stores} stores in {folder} are damaged: run again with --repair-from file:///FOLDER (a \
             backup, or the data folder of a server that replicated from this one) or --repair-from http://HOST:PORT \
             (the cluster port of a peer that runs), or restore from a backup"
        );
    };
    let mut others = Others::open(&url, &checked.disk, config).await?;
    repair(&checked.disk, &checked.stores, &url, &mut others).await?;
    if problems > 0 {
        bail!("in {folder} {}, which no repair mends: see above", unsound(problems));
    }
    Ok(())
}

fn unsound(problems: usize) -> String {
    match problems {
        1 => "one other thing is not sound".to_owned(),
        _ => format!("{problems} other things are not sound"),
    }
}

#[expect(clippy::disallowed_methods, reason = "opening a disk would make the folder")]
fn is_folder(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_dir())
}

/// Checks a data folder, a backup, or the folder of a single store.
#[expect(
    clippy::disallowed_methods,
    reason = "which data folder a store belongs to, its true path tells"
)]
fn check(folder: &str) -> anyhow::Result<FolderCheck> {
    if !is_folder(Path::new(folder)) {
        bail!("there is no folder {folder}");
    }
    let path = std::fs::canonicalize(folder).with_context(|| format!("cannot open {folder}"))?;
    let disk = Disk::production(&path).with_context(|| format!("cannot open {folder}"))?;
    let bar = ProgressBar::new(0).with_style(bar_style());
    let mut progress = |store: &str, done, total| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(store.to_owned());
    };
    let checked = if looks_like_a_store(&disk, "")? {
        // A store is replaced as a whole, so its place is its parent's.
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(parent), Some(name)) = (path.parent(), name) else {
            bail!("{folder} has no name");
        };
        check_one_store(&Disk::production(parent)?, name, &mut progress)
    } else {
        check_data_folder(&disk, &mut progress)
    };
    bar.finish_and_clear();
    checked.map_err(|error| anyhow::anyhow!("{error}"))
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn print_store(disk: &Disk, store: &CheckedStore) {
    let files = &store.files;
    let verdict = if store.is_sound() { "sound" } else { "DAMAGED" };
    line(format_args!("{}: {verdict}", disk.describe(&store.path)));
    line(format_args!(
        "  {} in {} files; {} chunks are right; root {} {} of epoch {} reaches {} chunks, {}",
        HumanBytes(files.bytes),
        files.files,
        HumanCount(files.chunks()),
        files.root.sequence,
        files.root.root,
        files.root.epoch,
        HumanCount(store.reachable.chunks),
        HumanBytes(store.reachable.bytes),
    ));
    if files.unacknowledged_bytes > 0 {
        line(format_args!(
            "  {} behind the last commit are no commit: a write that was under way when the server ended, or, if it ended \
             in order, damage to the newest commits; the next start cuts them",
            HumanBytes(files.unacknowledged_bytes)
        ));
    }
    for mended in &files.mended_at_start {
        line(format_args!("  {}: {}; no harm is done", mended.file, mended.detail));
    }
    for damage in files.damage.iter().take(SHOWN_MAX) {
        let chunk = damage.chunk.map(|hash| format!(" (chunk {hash})")).unwrap_or_default();
        line(format_args!(
            "  {}, offset {}: {}{chunk}",
            damage.file, damage.offset, damage.detail
        ));
    }
    for missing in store.missing.iter().take(SHOWN_MAX) {
        let by = missing
            .referred_by
            .map_or("the root".to_owned(), |hash| hash.to_string());
        line(format_args!(
            "  chunk {}, referred to by {by}: {}",
            missing.hash, missing.detail
        ));
    }
    let rest = files.damage.len().saturating_sub(SHOWN_MAX) + store.missing.len().saturating_sub(SHOWN_MAX);
    if rest > 0 {
        line(format_args!("  and {rest} more"));
    }
}

/// Who may have what damaged stores lack.
enum Others {
    Folder(FolderCheck),
    Peer(Box<RepairPeer>),
}

impl Others {
    async fn open(url: &str, disk: &Disk, config: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<Others> {
        if let Some(path) = url.strip_prefix("file://").filter(|path| path.starts_with('/')) {
            line(format_args!("Reading {path}"));
            return Ok(Others::Folder(check(path)?));
        }
        if !url.starts_with("http://") {
            bail!(
                "--repair-from {url}: file:///FOLDER, or http://HOST:PORT with the cluster port of a peer (TLS between \
                 servers is not there in this version)"
            );
        }
        let Some(cluster) = config()?.cluster else {
            bail!(
                "--repair-from {url}: a peer answers members of its cluster only, and the configuration has no cluster \
                 section; name that of the damaged server with --config FILE"
            );
        };
        let peer = RepairPeer::open(&cluster, disk, url).await;
        let peer = peer.map_err(|error| anyhow::anyhow!("--repair-from {url}: {error}"))?;
        Ok(Others::Peer(Box::new(peer)))
    }
}

async fn repair(disk: &Disk, checked: &[CheckedStore], url: &str, others: &mut Others) -> anyhow::Result<()> {
    let mut left = 0;
    for store in checked.iter().filter(|store| !store.is_sound()) {
        let place = disk.describe(&store.path);
        let spinner = spinner();
        let repaired = repair_one(disk, store, (url, others), (&place, &spinner)).await;
        spinner.finish_and_clear();
        match repaired {
            Ok(kept) => line(format_args!(
                "{place}: made again at root {}; the damaged one is kept in {}",
                store.files.root.root,
                disk.describe(&kept)
            )),
            Err(error) => {
                left += 1;
                line(format_args!("{place}: not repaired: {error}"));
            }
        }
    }
    if left > 0 {
        bail!(
            "{left} stores are still damaged, and nothing in them was changed: repair from another peer or from a backup; \
             a standby can also be filled again by its primary (docs/operating.md, Upkeep)"
        );
    }
    Ok(())
}

/// Gives the folder where the damaged store is kept.
async fn repair_one(
    disk: &Disk,
    store: &CheckedStore,
    (url, others): (&str, &mut Others),
    (place, spinner): (&str, &ProgressBar),
) -> anyhow::Result<String> {
    let mut copying = |copied| tell(spinner, place, copied);
    let repaired = match others {
        Others::Folder(source) => repair_store(disk, store, &source.readers(), &mut copying).await,
        Others::Peer(peer) => {
            let what = format!("{place}: fetching");
            let mut progress = |step| match step {
                RepairStep::Fetching(copied) => tell(spinner, &what, copied),
                RepairStep::Fetched(Copied { chunks, bytes }) => {
                    let (chunks, bytes) = (HumanCount(chunks), HumanBytes(bytes));
                    spinner.suspend(|| line(format_args!("{place}: {chunks} chunks ({bytes}) came from {url}")));
                }
                RepairStep::Copying(copied) => copying(copied),
            };
            let repaired = repair_from_others(disk, store, &mut **peer, &mut progress).await;
            return repaired.map_err(|failed| match failed {
                RepairFailed::Absent(absent) => anyhow::anyhow!("{}", lacking(url, &absent)),
                other => other.into(),
            });
        }
    };
    Ok(repaired?)
}

fn lacking(url: &str, absent: &[Hash]) -> String {
    let mut text = format!("{url} does not have {} of the chunks it lacks", absent.len());
    for hash in absent.iter().take(SHOWN_MAX) {
        text.push_str(&format!("\n  chunk {hash}"));
    }
    if absent.len() > SHOWN_MAX {
        text.push_str(&format!("\n  and {} more", absent.len() - SHOWN_MAX));
    }
    text
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn tell(spinner: &ProgressBar, what: &str, copied: Copied) {
    let (chunks, bytes) = (HumanCount(copied.chunks), HumanBytes(copied.bytes));
    spinner.set_message(format!("{what}: {chunks} chunks, {bytes}"));
}

/// Copies a data folder to a backup.
pub async fn back_up(folder: String, backup: String) -> anyhow::Result<()> {
    let (databases, copied) = copy(&folder, &backup, CopyTo::Backup).await?;
    line(format_args!(
        "{backup}: {databases} databases as they are now; {} chunks ({}) were new",
        HumanCount(copied.chunks),
        HumanBytes(copied.bytes)
    ));
    Ok(())
}

/// Makes a data folder from a backup.
pub async fn restore(backup: String, folder: String) -> anyhow::Result<()> {
    if is_folder(Path::new(&folder)) && has_databases(&Disk::production(&folder)?)? {
        bail!("{folder} holds databases already: move it away, or name another folder");
    }
    let (databases, copied) = copy(&backup, &folder, CopyTo::DataFolder).await?;
    line(format_args!(
        "{folder}: {databases} databases, {} chunks ({})",
        HumanCount(copied.chunks),
        HumanBytes(copied.bytes)
    ));
    line(format_args!("Start it with: understudy --data-dir {folder}"));
    Ok(())
}

async fn copy(from: &str, to: &str, kind: CopyTo) -> anyhow::Result<(usize, Copied)> {
    if !is_folder(Path::new(from)) {
        bail!("there is no folder {from}");
    }
    let (source, target) = (Disk::production(from)?, Disk::production(to)?);
    let spinner = spinner();
    let (mut all, mut databases) = (Copied::default(), 0);
    let mut last = (0, Copied::default());
    let mut progress = |state: FolderCopied| {
        if state.number != last.0 {
            last = (state.number, Copied::default());
        }
        all.chunks += state.copied.chunks - last.1.chunks;
        all.bytes += state.copied.bytes - last.1.bytes;
        last.1 = state.copied;
        databases = state.of - 1;
        let what = format!("{} ({} of {})", state.database, state.number, state.of);
        tell(&spinner, &what, state.copied);
    };
    let done = copy_folder(&source, &target, kind, &StoreOptions::default(), &mut progress).await;
    spinner.finish_and_clear();
    done.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok((databases, all))
}
