//! What a store makes of the files it finds.
//!
//! A power cut may have lost any write that was not synced, and kept any later one. So a bad place in the log is one
//! of two things, and the log itself tells which: every root record says up to where the log was synced when the record
//! was written, and the manifest says the same for whole segments.
//! - Behind everything that any valid record, or the file `SYNCED`, proves synced, it is the torn tail of writes that nobody was told of. The
//!   tail is cut after the last root that is whole, and the cut is reported.
//! - Before that, something damaged what was safe: refused, with file and offset, and the files stay as they are.
//!
//! Bytes that nothing proves synced are written again before they are trusted: after a failed sync the system may hold
//! them in memory, take them for clean, and lose them with the next power cut.
//!
//! Segments whose index file fits are not read: what is damaged in them is found when it is read, or by a check.

mod scan;

use std::collections::{BTreeSet, VecDeque};

use super::error::ChunkError;
use super::format::{Manifest, PACK_NUMBER_BASE, PackEntry, Position, RootRecord, SegmentHeader};
use super::index::{Index, Location};
use super::reader::{Segment, format_error};
use super::seal::{Contents, Sealed, read_pack_index, write_index_file};
use super::store::{Pack, Segments};
use super::synced::read_synced;
use crate::runtime::disk::{Disk, OpenMode};
use crate::runtime::sometimes;
use scan::Scan;

pub(super) const MANIFEST: &str = "MANIFEST";

/// What opening a store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The newest root, which is published.
    pub root: RootRecord,
    /// Files that hold records, packs counted in.
    pub segments: usize,
    pub chunks: u64,
    /// How much of them had to be read, for want of an index file.
    pub read_bytes: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
}

/// A tail of the log that never became durable as a whole: nothing in it was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub file: String,
    /// Where the file ends now.
    pub offset: u64,
    /// How much was cut, of this file and of those after it.
    pub bytes: u64,
    /// What was wrong there.
    pub detail: String,
}

/// A root record and where it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct RootAt {
    pub record: RootRecord,
    pub end: Position,
}

/// Everything a store needs to go on; all of it synced.
pub(super) struct Recovered {
    pub store: [u8; 16],
    pub segments: Segments,
    /// What the last segment of the log holds.
    pub contents: Contents,
    pub end: Position,
    pub index: Index,
    pub read_bytes: u64,
    pub root: RootRecord,
    pub roots: VecDeque<RootAt>,
    pub cut: Option<Cut>,
}

/// Opens what lies in `disk`, a store's folder.
pub(super) async fn recover(disk: &Disk) -> Result<Recovered, ChunkError> {
    let manifest = read_manifest(disk)?;
    let synced = read_synced(disk, manifest.store);
    let packs = open_packs(disk, &manifest, OpenMode::ReadWrite)?;
    let found = open_segments(disk, &manifest, OpenMode::ReadWrite)?;
    let scan = Scan::of(disk, &found, &manifest, synced)?;
    settle(disk, &manifest, packs, found, scan).await
}

/// Reads what lies in `disk` without changing it: up to the last root that is whole.
pub(super) fn look(disk: &Disk) -> Result<Recovered, ChunkError> {
    let manifest = read_manifest(disk)?;
    // Before the log, to which a writer may be adding: what it says is then there.
    let synced = read_synced(disk, manifest.store);
    let packs = open_packs(disk, &manifest, OpenMode::Read)?;
    let found = open_segments(disk, &manifest, OpenMode::Read)?;
    let scan = Scan::of(disk, &found, &manifest, synced)?;
    let end = scan.root_end;
    let mut segments = found.segments;
    segments.retain(|segment| segment.header.number <= end.segment);
    Ok(recovered(&manifest, packs, segments, scan, end))
}

/// Whether the folder `dir` of `disk` holds a store or parts of one, sound or not.
///
/// # Errors
/// `Io` when the folder cannot be looked into.
pub fn looks_like_a_store(disk: &Disk, dir: &str) -> Result<bool, ChunkError> {
    let folder = disk.describe(dir);
    if !disk.exists(dir).map_err(ChunkError::io("look for", folder.clone()))? {
        return Ok(false);
    }
    let listing = disk.list(dir).map_err(ChunkError::io("list", folder))?;
    let mut files = listing.iter().filter(|entry| !entry.is_dir);
    Ok(files.any(|file| file.name == MANIFEST || Segment::number(&file.name).is_some()))
}

fn read_manifest(disk: &Disk) -> Result<Manifest, ChunkError> {
    let folder = disk.describe("");
    let not_a_store = |detail: &str| ChunkError::NotAStore {
        path: folder.clone(),
        detail: detail.to_owned(),
    };
    if !disk.exists("").map_err(ChunkError::io("look for", folder.clone()))? {
        return Err(not_a_store("there is no such folder"));
    }
    let name = disk.describe(MANIFEST);
    if !disk
        .exists(MANIFEST)
        .map_err(ChunkError::io("look for", name.clone()))?
    {
        let listing = disk.list("").map_err(ChunkError::io("list", folder.clone()))?;
        return Err(
            match listing.iter().any(|entry| Segment::number(&entry.name).is_some()) {
                true => {
                    not_a_store("it holds segments of a log, but its MANIFEST is missing; restore it from a backup")
                }
                false => not_a_store("it has no MANIFEST"),
            },
        );
    }
    let bytes = disk.read(MANIFEST).map_err(ChunkError::io("read", name.clone()))?;
    Manifest::parse(&bytes).map_err(|error| format_error(&name, 0, &error))
}

/// What collections kept: complete and synced before a manifest named it, so nothing of it may be missing.
fn open_packs(disk: &Disk, manifest: &Manifest, mode: OpenMode) -> Result<Vec<(Pack, Contents)>, ChunkError> {
    let mut packs = Vec::new();
    for entry in &manifest.packs {
        let PackEntry { number, bytes, .. } = *entry;
        let (segment, length) = open_segment(disk, manifest, number, mode)?;
        if length != bytes {
            let detail = format!("the pack has {length} bytes and should have {bytes}");
            return Err(segment.corrupt(length.min(bytes), detail));
        }
        let pack = Pack {
            segment,
            bytes,
            generation: entry.generation,
        };
        let contents = read_pack_index(disk, &pack)?;
        packs.push((pack, contents));
    }
    Ok(packs)
}

/// The segments that the manifest names, then those that follow it without a gap: a power cut may have come after they
/// were begun and before the manifest named them.
struct Found {
    segments: Vec<Segment>,
    lengths: Vec<u64>,
    /// Files of segments behind the last usable one, with their sizes.
    useless: Vec<(String, u64)>,
}

fn open_segments(disk: &Disk, manifest: &Manifest, mode: OpenMode) -> Result<Found, ChunkError> {
    let listing = disk.list("").map_err(ChunkError::io("list", disk.describe("")))?;
    let last_named = *manifest.segments.last().expect("a manifest names at least one segment");
    let mut found = Found {
        segments: Vec::new(),
        lengths: Vec::new(),
        useless: Vec::new(),
    };
    for number in &manifest.segments {
        let (segment, length) = open_segment(disk, manifest, *number, mode)?;
        found.segments.push(segment);
        found.lengths.push(length);
    }
    let mut expected = last_named + 1;
    for entry in &listing {
        let in_log = |number: &u64| (last_named + 1..PACK_NUMBER_BASE).contains(number);
        let Some(number) = Segment::number(&entry.name).filter(in_log) else {
            continue;
        };
        if number == expected && found.useless.is_empty() {
            // Twice: what is not read for a segment is removed.
            let opened = open_segment(disk, manifest, number, mode);
            match opened.or_else(|_| open_segment(disk, manifest, number, mode)) {
                Ok((segment, length)) => {
                    found.segments.push(segment);
                    found.lengths.push(length);
                    expected += 1;
                    continue;
                }
                // Its header may never have reached the disk. Nothing in it was acknowledged, or it would be named.
                Err(ChunkError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        found.useless.push((entry.name.clone(), entry.len));
    }
    Ok(found)
}

fn open_segment(disk: &Disk, manifest: &Manifest, number: u64, mode: OpenMode) -> Result<(Segment, u64), ChunkError> {
    let file_name = Segment::file_name(number);
    let name = disk.describe(&file_name);
    let corrupt = |offset, detail: &str| ChunkError::Corrupt {
        file: name.clone(),
        offset,
        detail: detail.to_owned(),
    };
    if !disk
        .exists(&file_name)
        .map_err(ChunkError::io("look for", name.clone()))?
    {
        return Err(corrupt(0, "the file is missing"));
    }
    let file = disk
        .open(&file_name, mode)
        .map_err(ChunkError::io("open", name.clone()))?;
    let length = file.len().map_err(ChunkError::io("read the length of", name.clone()))?;
    let mut bytes = [0; SegmentHeader::BYTES];
    let read = file
        .read_at(&mut bytes, 0)
        .map_err(ChunkError::io("read", name.clone()))?;
    if read < bytes.len() {
        return Err(corrupt(read as u64, "the file ends within its header"));
    }
    let header = SegmentHeader::parse(&bytes).map_err(|error| format_error(&name, 0, &error))?;
    if header.store != manifest.store {
        return Err(corrupt(0, "the file belongs to another store"));
    }
    if header.number != number {
        return Err(corrupt(0, "the file is another segment under this name"));
    }
    Ok((
        Segment {
            header,
            file,
            name: name.as_str().into(),
        },
        length,
    ))
}

/// Cuts what is torn, makes the rest durable, and names all segments.
async fn settle(
    disk: &Disk,
    manifest: &Manifest,
    packs: Vec<(Pack, Contents)>,
    found: Found,
    scan: Scan,
) -> Result<Recovered, ChunkError> {
    let Found {
        mut segments,
        lengths,
        useless,
    } = found;
    let end = scan.root_end.max(scan.proven);
    let kept = segments.partition_point(|segment| segment.header.number <= end.segment);
    let last = segments[kept - 1].clone();
    assert_eq!(last.header.number, end.segment, "the log ends in one of its segments");

    let torn: u64 = lengths[kept - 1] - end.offset;
    let behind: u64 = lengths[kept..]
        .iter()
        .chain(useless.iter().map(|(_, length)| length))
        .sum();
    let mut names_changed = false;
    for name in segments[kept..]
        .iter()
        .map(|segment| Segment::file_name(segment.header.number))
        .chain(useless.into_iter().map(|(name, _)| name))
    {
        disk.remove_file(&name)
            .map_err(ChunkError::io("remove", disk.describe(&name)))?;
        names_changed = true;
    }
    segments.truncate(kept);
    sometimes!(torn + behind > 0, "chunk.tail_cut");
    if torn > 0 {
        last.file.set_len(end.offset).map_err(last.io("truncate"))?;
    }
    for segment in segments
        .iter()
        .filter(|segment| segment.header.number >= scan.proven.segment)
    {
        let from = if segment.header.number == scan.proven.segment {
            scan.proven.offset
        } else {
            0
        };
        let to = match segment.header.number == end.segment {
            true => end.offset,
            false => segment.file.len().map_err(segment.io("read the length of"))?,
        };
        sometimes!(to > from, "chunk.tail_written_again");
        write_again(segment, from, to)?;
        segment.file.sync().await.map_err(segment.io("sync"))?;
    }
    let numbers: Vec<u64> = segments.iter().map(|segment| segment.header.number).collect();
    if names_changed || numbers != manifest.segments {
        disk.sync_dir("")
            .await
            .map_err(ChunkError::io("sync", disk.describe("")))?;
    }
    if numbers != manifest.segments {
        sometimes!("chunk.segment_behind_manifest");
        let manifest = Manifest {
            segments: numbers,
            ..manifest.clone()
        };
        write_manifest(disk, &manifest).await?;
    }

    let cut = (torn + behind > 0).then(|| Cut {
        file: last.name.to_string(),
        offset: end.offset,
        bytes: torn + behind,
        detail: scan.detail.clone(),
    });
    let lengths = segments.iter().skip(1).map(|next| next.header.previous_bytes);
    for ((segment, bytes), scanned) in segments.iter().zip(lengths).zip(&scan.segments) {
        sometimes!(scanned.was_indexed, "chunk.index_file_used");
        if !scanned.was_indexed {
            sometimes!("chunk.index_file_made_again");
            index_again(disk, segment, bytes, &scanned.contents);
        }
    }
    let recovered = Recovered {
        cut,
        ..recovered(manifest, packs, segments, scan, end)
    };
    remove_leftovers(disk, &recovered.segments);
    Ok(recovered)
}

/// What was found, up to `end`, the end of the last of `segments`.
fn recovered(
    manifest: &Manifest,
    packs: Vec<(Pack, Contents)>,
    segments: Vec<Segment>,
    mut scan: Scan,
    end: Position,
) -> Recovered {
    scan.segments.truncate(segments.len());
    let last = scan
        .segments
        .last_mut()
        .expect("every segment that stays was looked at");
    last.contents
        .chunks
        .retain(|chunk| u64::from(chunk.offset) < end.offset);
    let read_bytes = scan.segments.iter().map(|scanned| scanned.read_bytes).sum();
    let in_packs = packs.iter().map(|(pack, contents)| (pack.number(), contents));
    let in_log = segments.iter().zip(&scan.segments);
    let in_log = in_log.map(|(segment, scanned)| (segment.header.number, &scanned.contents));
    let entries = in_packs.chain(in_log).flat_map(|(number, contents)| {
        let chunks = contents.chunks.iter();
        chunks.map(move |chunk| (chunk.hash, Location::of(number, chunk)))
    });
    let index = Index::of(entries);
    Recovered {
        store: manifest.store,
        segments: Segments {
            packs: packs.into_iter().map(|(pack, _)| pack).collect(),
            next_pack: manifest.next_pack,
            log: segments,
        },
        contents: scan.segments.pop().expect("the last segment was looked at").contents,
        end,
        index,
        read_bytes,
        root: scan.root,
        roots: scan.roots,
        cut: None,
    }
}

/// Writes the index file of a segment that had to be read although it takes no more records.
fn index_again(disk: &Disk, segment: &Segment, bytes: u64, contents: &Contents) {
    let name = Segment::index_name(segment.header.number);
    let sealed = Sealed {
        segment: segment.clone(),
        bytes,
        contents: contents.clone(),
    };
    if let Err(error) = write_index_file(disk, &name, sealed) {
        tracing::debug!(%error, "index file not written");
        let _ = disk.remove_file(&name);
    }
}

/// Removes what an interrupted collection left: files that the manifest, which is on the disk now, does not name.
fn remove_leftovers(disk: &Disk, segments: &Segments) {
    let mut named = BTreeSet::new();
    for pack in &segments.packs {
        named.extend([Segment::file_name(pack.number()), pack.index_name()]);
    }
    for segment in &segments.log {
        let number = segment.header.number;
        named.extend([Segment::file_name(number), Segment::index_name(number)]);
    }
    let ours = |name: &str| {
        let kind = name.starts_with("log-") || name.starts_with("pack-");
        kind && (name.ends_with(".seg") || name.ends_with(".idx"))
    };
    for entry in disk.list("").unwrap_or_default() {
        if ours(&entry.name) && !named.contains(&entry.name) {
            // What cannot be removed is removed next time.
            let _ = disk.remove_file(&entry.name);
        }
    }
}

/// How often a disk is asked for the same bytes before it is given up.
const READINGS_MAX: usize = 8;

fn write_again(segment: &Segment, from: u64, to: u64) -> Result<(), ChunkError> {
    let mut buffers = [vec![0; 256 << 10], vec![0; 256 << 10]];
    let mut offset = from;
    while offset < to {
        let length = (to - offset).min(buffers[0].len() as u64) as usize;
        // A misread that is written back is damage: two readings in a row have to agree.
        let mut readings = 0;
        loop {
            let block = &mut buffers[readings % 2][..length];
            segment.file.read_exact_at(block, offset).map_err(segment.io("read"))?;
            readings += 1;
            if readings > 1 && buffers[0][..length] == buffers[1][..length] {
                break;
            }
            if readings == READINGS_MAX {
                return Err(segment.corrupt(offset, "every reading of it gives something else".to_owned()));
            }
        }
        segment
            .file
            .write_all_at(&buffers[0][..length], offset)
            .map_err(segment.io("write"))?;
        offset += length as u64;
    }
    Ok(())
}

pub(super) async fn write_manifest(disk: &Disk, manifest: &Manifest) -> Result<(), ChunkError> {
    let written = disk.write_atomically(MANIFEST, &manifest.encode()).await;
    written.map_err(ChunkError::io("write", disk.describe(MANIFEST)))
}
