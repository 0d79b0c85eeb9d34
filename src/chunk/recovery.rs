//! What a store makes of the files it finds.
//!
//! A power cut may have lost any write that was not synced, and kept any later one. So a bad place in the log is one
//! of two things, and the log itself tells which: every root record says up to where the log was synced when the record
//! was written, and the manifest says the same for whole segments.
//! - Behind everything that any valid record proves synced, it is the torn tail of writes that nobody was told of. The
//!   tail is cut after the last root that is whole, and the cut is reported.
//! - Before that, something damaged what was safe: refused, with file and offset, and the files stay as they are.
//!
//! Bytes that nothing proves synced are written again before they are trusted: after a failed sync the system may hold
//! them in memory, take them for clean, and lose them with the next power cut.

use std::collections::VecDeque;

use super::error::ChunkError;
use super::format::{Manifest, Position, Record, RootRecord, SegmentHeader, chunk_record_bytes};
use super::index::{Index, Location};
use super::reader::{Segment, SegmentReader, Step, format_error};
use super::{Hash, ROOTS_KEPT};
use crate::runtime::disk::{Disk, OpenMode};

pub(super) const MANIFEST: &str = "MANIFEST";

/// What opening a store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The newest root, which is published.
    pub root: RootRecord,
    pub segments: usize,
    pub chunks: u64,
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
    pub segments: Vec<Segment>,
    pub end: Position,
    pub index: Index,
    pub root: RootRecord,
    pub roots: VecDeque<RootAt>,
    pub cut: Option<Cut>,
}

/// Opens what lies in `disk`, a store's folder.
pub(super) async fn recover(disk: &Disk) -> Result<Recovered, ChunkError> {
    let manifest = read_manifest(disk)?;
    let found = open_segments(disk, &manifest)?;
    let scan = Scan::of(&found, &manifest)?;
    settle(disk, &manifest, found, scan).await
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

/// The segments that the manifest names, then those that follow it without a gap: a power cut may have come after they
/// were begun and before the manifest named them.
struct Found {
    segments: Vec<Segment>,
    lengths: Vec<u64>,
    /// Files of segments behind the last usable one, with their sizes.
    useless: Vec<(String, u64)>,
}

fn open_segments(disk: &Disk, manifest: &Manifest) -> Result<Found, ChunkError> {
    let listing = disk.list("").map_err(ChunkError::io("list", disk.describe("")))?;
    let last_named = *manifest.segments.last().expect("a manifest names at least one segment");
    let mut found = Found {
        segments: Vec::new(),
        lengths: Vec::new(),
        useless: Vec::new(),
    };
    for number in &manifest.segments {
        let (segment, length) = open_segment(disk, manifest, *number)?;
        found.segments.push(segment);
        found.lengths.push(length);
    }
    let mut expected = last_named + 1;
    for entry in &listing {
        let Some(number) = Segment::number(&entry.name).filter(|number| *number > last_named) else {
            continue;
        };
        if number == expected && found.useless.is_empty() {
            match open_segment(disk, manifest, number) {
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

fn open_segment(disk: &Disk, manifest: &Manifest, number: u64) -> Result<(Segment, u64), ChunkError> {
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
        .open(&file_name, OpenMode::ReadWrite)
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

/// The log as it is, up to the first bad place or its end.
struct Scan {
    chunks: Vec<(Hash, Location)>,
    root: RootRecord,
    roots: VecDeque<RootAt>,
    /// Where the last root record ends.
    root_end: Position,
    /// Everything before this was on the disk once.
    proven: Position,
    /// Why the scan stopped where it did.
    detail: String,
}

impl Scan {
    fn of(found: &Found, manifest: &Manifest) -> Result<Scan, ChunkError> {
        let first = &found.segments[0].header;
        let header_bytes = SegmentHeader::BYTES as u64;
        let last_named = *manifest.segments.last().expect("a manifest names at least one segment");
        let mut scan = Scan {
            chunks: Vec::new(),
            root: RootRecord {
                sequence: first.base_sequence,
                root: first.base_root,
                ..RootRecord::NONE
            },
            roots: VecDeque::new(),
            root_end: Position {
                segment: first.number,
                offset: header_bytes,
            },
            proven: Position {
                segment: last_named,
                offset: header_bytes,
            },
            detail: "chunks without a root".to_owned(),
        };
        for (i, segment) in found.segments.iter().enumerate() {
            let header = &segment.header;
            if i > 0 && (header.base_sequence, header.base_root) != (scan.root.sequence, scan.root.root) {
                let detail = "the segment does not continue the one before it";
                return scan.stopped(found, i, 0, detail);
            }
            // What a file has beyond the length that its successor tells is the rest of a write that failed.
            let told = found.segments.get(i + 1).map(|next| next.header.previous_bytes);
            let end = told.map_or(found.lengths[i], |told| told.min(found.lengths[i]));
            let mut reader = SegmentReader::new(segment.clone(), header_bytes, end);
            loop {
                match reader.next()? {
                    Step::Record {
                        offset,
                        record: Record::Chunk(hash, chunk),
                    } => {
                        scan.chunks.push((hash, location(header.number, offset, chunk.len())));
                        debug_assert_eq!(offset + chunk_record_bytes(&chunk), reader.offset());
                    }
                    Step::Record {
                        offset,
                        record: Record::Root(record, synced),
                    } => {
                        if record.previous != scan.root.root || record.sequence != scan.root.sequence + 1 {
                            let detail = format!(
                                "root {} after {} does not follow root {} {}",
                                record.sequence, record.previous, scan.root.sequence, scan.root.root
                            );
                            return Err(segment.corrupt(offset, detail));
                        }
                        if synced
                            > (Position {
                                segment: header.number,
                                offset,
                            })
                        {
                            return Err(segment.corrupt(offset, "a root record claims a sync of what follows it"));
                        }
                        scan.root = record;
                        scan.proven = scan.proven.max(synced);
                        scan.root_end = Position {
                            segment: header.number,
                            offset: reader.offset(),
                        };
                        scan.roots.push_back(RootAt {
                            record,
                            end: scan.root_end,
                        });
                        if scan.roots.len() > ROOTS_KEPT {
                            scan.roots.pop_front();
                        }
                    }
                    Step::End => break,
                    Step::Bad { offset, detail } => return scan.stopped(found, i, offset, detail),
                }
            }
            if told.is_some_and(|told| told > end) {
                return scan.stopped(found, i, end, "the file is shorter than the segment after it tells");
            }
        }
        Ok(scan)
    }

    /// Decides about a bad place, having looked at everything behind it.
    fn stopped(mut self, found: &Found, index: usize, offset: u64, detail: &str) -> Result<Scan, ChunkError> {
        for (i, segment) in found.segments.iter().enumerate().skip(index) {
            let from = if i == index {
                offset + 1
            } else {
                SegmentHeader::BYTES as u64
            };
            let mut reader = SegmentReader::new(segment.clone(), from, found.lengths[i]);
            while let Some((at, synced)) = reader.next_root_anywhere()? {
                if synced
                    <= (Position {
                        segment: segment.header.number,
                        offset: at,
                    })
                {
                    self.proven = self.proven.max(synced);
                }
            }
        }
        let segment = &found.segments[index];
        if (Position {
            segment: segment.header.number,
            offset,
        }) < self.proven
        {
            let detail = format!("{detail}, though it was synced: a later record proves it");
            return Err(segment.corrupt(offset, detail));
        }
        self.detail = detail.to_owned();
        Ok(self)
    }
}

pub(super) fn location(segment: u64, offset: u64, bytes: usize) -> Location {
    Location {
        segment: u32::try_from(segment).expect("a store has fewer than 2^32 segments"),
        offset: u32::try_from(offset).expect("no record begins beyond the largest size of a segment"),
        bytes: u32::try_from(bytes).expect("a chunk fits a record"),
    }
}

/// Cuts what is torn, makes the rest durable, and names all segments.
async fn settle(disk: &Disk, manifest: &Manifest, found: Found, scan: Scan) -> Result<Recovered, ChunkError> {
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
        let manifest = Manifest {
            store: manifest.store,
            segments: numbers,
        };
        write_manifest(disk, &manifest).await?;
    }

    let mut chunks = scan.chunks;
    let beyond = |location: &Location| {
        end <= Position {
            segment: u64::from(location.segment),
            offset: u64::from(location.offset),
        }
    };
    while chunks.pop_if(|(_, location)| beyond(location)).is_some() {}
    Ok(Recovered {
        store: manifest.store,
        segments,
        end,
        index: Index::of(chunks),
        root: scan.root,
        roots: scan.roots,
        cut: (torn + behind > 0).then(|| Cut {
            file: last.name.to_string(),
            offset: end.offset,
            bytes: torn + behind,
            detail: scan.detail,
        }),
    })
}

fn write_again(segment: &Segment, from: u64, to: u64) -> Result<(), ChunkError> {
    let mut buffer = vec![0; 256 << 10];
    let mut offset = from;
    while offset < to {
        let length = (to - offset).min(buffer.len() as u64) as usize;
        let block = &mut buffer[..length];
        segment.file.read_exact_at(block, offset).map_err(segment.io("read"))?;
        segment.file.write_all_at(block, offset).map_err(segment.io("write"))?;
        offset += length as u64;
    }
    Ok(())
}

pub(super) async fn write_manifest(disk: &Disk, manifest: &Manifest) -> Result<(), ChunkError> {
    let written = disk.write_atomically(MANIFEST, &manifest.encode()).await;
    written.map_err(ChunkError::io("write", disk.describe(MANIFEST)))
}
