//! Checks all of a store's files and reads what is right in them, whatever else is damaged.
//!
//! Opening a store refuses what is damaged; this looks at everything, changes nothing, and says file by file what is
//! wrong. What it finds to be right can be read, so that a store can be made again from that and what a peer still has.
//!
//! Must not know: what chunks refer to.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::ChunkError;
use super::format::{
    FormatError, IndexedChunk, Manifest, PACK_NUMBER_BASE, PackEntry, Position, ROOT_RECORD_BYTES, Record, RootRecord,
    SegmentHeader, decode_stored,
};
use super::index::{Index, Location};
use super::reader::{READ_AROUND_BYTES, Segment, SegmentReader, Step, detail, format_error};
use super::recovery::MANIFEST;
use super::seal::{Contents, read_index};
use super::store::read_chunk;
use super::synced::{ends_early, read_synced};
use super::{Hash, ReadChunks};
use crate::runtime::disk::{Disk, OpenMode};

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    pub offset: u64,
    pub detail: String,
    /// The chunk that was there, where that is known.
    pub chunk: Option<Hash>,
}

/// What a check found.
pub struct StoreCheck {
    /// The newest root whose record is right.
    pub root: RootRecord,
    pub damage: Vec<Damage>,
    /// What is not as it should be and does no harm: the next start mends it.
    pub mended_at_start: Vec<Damage>,
    /// Bytes behind the last root of which nothing proves that they were ever synced: opening the store cuts them.
    pub unacknowledged_bytes: u64,
    /// A root was synced after the newest that can be read.
    pub newest_is_lost: bool,
    /// Files that were read, and their bytes.
    pub files: usize,
    pub bytes: u64,
    segments: Vec<Segment>,
    index: Index,
}

/// How far a check is: bytes read, and bytes there are.
pub type CheckProgress<'a> = &'a mut dyn FnMut(u64, u64);

/// Checks the store in the folder `dir` of `disk`: every header, every record, every chunk against its hash.
///
/// # Errors
/// `NotAStore` when nothing of a store is there, `NewerFormat`, `OlderFormat`, `Io` when the folder cannot be listed or
/// a file may not be opened. Damage is no error, and what the disk does not give is damage.
pub fn check_store(disk: &Disk, dir: &str, progress: CheckProgress<'_>) -> Result<StoreCheck, ChunkError> {
    let disk = disk.sub(dir);
    let mut check = StoreCheck {
        root: RootRecord::NONE,
        damage: Vec::new(),
        mended_at_start: Vec::new(),
        unacknowledged_bytes: 0,
        newest_is_lost: false,
        files: 0,
        bytes: 0,
        segments: Vec::new(),
        index: Index::new(),
    };
    let plan = check.read_manifest(&disk)?;
    let synced = plan.store.and_then(|store| read_synced(&disk, store));
    let total = plan.files.iter().map(|file| file.length).sum();
    let mut walk = Walk {
        disk: &disk,
        progress,
        done: 0,
        total,
        proven: synced.unwrap_or(START),
        root_end: START,
        first_of_log: true,
        broken: false,
    };
    for (at, file) in plan.files.iter().enumerate() {
        check.files += 1;
        check.bytes += file.length;
        let told = plan.files.get(at + 1).and_then(|next| told_by(&disk, next));
        check.read_segment(&mut walk, &plan, file, told)?;
        walk.done += file.length;
        (walk.progress)(walk.done, total);
    }
    let log_ends = walk.root_end;
    check.newest_is_lost = synced.is_some_and(|synced| log_ends < synced);
    if let (Some(synced), Some(last)) = (synced, plan.files.last())
        && check.newest_is_lost
        && check.damage.is_empty()
    {
        let name = disk.describe(&Segment::file_name(last.number));
        check.wrong(&name, last.length, ends_early(synced), None);
    }
    Ok(check)
}

/// How long the segment before `next` is, as the header of `next` tells. What the file has beyond is the rest of a write
/// that failed.
fn told_by(disk: &Disk, next: &FileToRead) -> Option<u64> {
    if next.number >= PACK_NUMBER_BASE {
        return None;
    }
    let file = disk.open(&Segment::file_name(next.number), OpenMode::Read).ok()?;
    let mut bytes = [0; SegmentHeader::BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let header = SegmentHeader::parse(&bytes).ok()?;
    (header.number == next.number).then_some(header.previous_bytes)
}

/// The files that should be there, in the order in which they are read.
struct Plan {
    store: Option<[u8; 16]>,
    files: Vec<FileToRead>,
}

struct FileToRead {
    number: u64,
    length: u64,
    /// What a manifest says of a pack.
    pack: Option<PackEntry>,
    /// It follows the last segment that the manifest names: a power cut or a full disk may have come while it was begun.
    unnamed: bool,
}

const START: Position = Position { segment: 0, offset: 0 };

struct Walk<'a> {
    disk: &'a Disk,
    progress: CheckProgress<'a>,
    done: u64,
    total: u64,
    /// Up to here the log was synced, as its root records and `SYNCED` tell.
    proven: Position,
    /// Where the last root record ends.
    root_end: Position,
    first_of_log: bool,
    /// Something of the log was damaged since the last root: the next one need not follow it.
    broken: bool,
}

impl StoreCheck {
    fn wrong(&mut self, file: &str, offset: u64, detail: impl Into<String>, chunk: Option<Hash>) {
        self.damage.push(Damage {
            file: file.to_owned(),
            offset,
            detail: detail.into(),
            chunk,
        });
    }

    fn read_manifest(&mut self, disk: &Disk) -> Result<Plan, ChunkError> {
        let folder = disk.describe("");
        let listing = disk.list("").map_err(ChunkError::io("list", folder.clone()))?;
        let lengths: Vec<(u64, u64)> = listing
            .iter()
            .filter_map(|entry| Some((Segment::number(&entry.name)?, entry.len)))
            .collect();
        let length_of = |number| {
            lengths
                .iter()
                .find(|(found, _)| *found == number)
                .map(|(_, length)| *length)
        };
        let name = disk.describe(MANIFEST);
        let parsed = match disk.read(MANIFEST) {
            Ok(bytes) => Manifest::parse(&bytes).map_err(|error| format_error(&name, 0, &error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && lengths.is_empty() => {
                return Err(ChunkError::NotAStore {
                    path: folder,
                    detail: "it holds neither a MANIFEST nor segments".to_owned(),
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ChunkError::Corrupt {
                file: name.clone(),
                offset: 0,
                detail: "the file is missing".to_owned(),
            }),
            Err(error) => Err(ChunkError::Corrupt {
                file: name.clone(),
                offset: 0,
                detail: format!("the file cannot be read: {error}"),
            }),
        };
        match parsed {
            Ok(manifest) => {
                let mut files = Vec::new();
                for pack in &manifest.packs {
                    files.push(FileToRead {
                        number: pack.number,
                        length: length_of(pack.number).unwrap_or(0),
                        pack: Some(*pack),
                        unnamed: false,
                    });
                }
                let last_named = *manifest.segments.last().expect("a manifest names a segment");
                let following = (last_named + 1..).take_while(|number| length_of(*number).is_some());
                for number in manifest.segments.iter().copied().chain(following) {
                    files.push(FileToRead {
                        number,
                        length: length_of(number).unwrap_or(0),
                        pack: None,
                        unnamed: number > last_named,
                    });
                }
                Ok(Plan {
                    store: Some(manifest.store),
                    files,
                })
            }
            Err(ChunkError::Corrupt { file, offset, detail }) => {
                // Without it, everything that is there counts.
                self.wrong(&file, offset, detail, None);
                let mut numbers = lengths.clone();
                numbers.sort_by_key(|(number, _)| (*number < PACK_NUMBER_BASE, *number));
                let files = numbers.into_iter().map(|(number, length)| FileToRead {
                    number,
                    length,
                    pack: None,
                    unnamed: false,
                });
                Ok(Plan {
                    store: None,
                    files: files.collect(),
                })
            }
            Err(error) => Err(error),
        }
    }

    fn read_segment(
        &mut self,
        walk: &mut Walk<'_>,
        plan: &Plan,
        file: &FileToRead,
        told: Option<u64>,
    ) -> Result<(), ChunkError> {
        let file_name = Segment::file_name(file.number);
        let name = walk.disk.describe(&file_name);
        let handle = match walk.disk.open(&file_name, OpenMode::Read) {
            Ok(handle) => handle,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                walk.broken |= file.number < PACK_NUMBER_BASE;
                self.wrong(&name, 0, "the file is missing", None);
                return Ok(());
            }
            // Somebody else may read it: this tells nothing about the file.
            Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
                walk.broken |= file.number < PACK_NUMBER_BASE;
                self.wrong(&name, 0, format!("the file cannot be opened: {error}"), None);
                return Ok(());
            }
            Err(error) => return Err(ChunkError::io("open", name)(error)),
        };
        let mut bytes = [0; SegmentHeader::BYTES];
        let parsed = match handle.read_at(&mut bytes, 0) {
            Err(error) => Err(format!("the header cannot be read: {error}")),
            Ok(read) if read < bytes.len() => Err("the file ends within its header".to_owned()),
            Ok(_) => header_of(&bytes, plan, file, &name)?,
        };
        let header = match (
            parsed,
            plan.store.or(self.segments.first().map(|segment| segment.header.store)),
        ) {
            (Ok(header), _) => header,
            (Err(_), _) if file.unnamed => {
                self.unacknowledged_bytes += file.length;
                return Ok(());
            }
            (Err(detail), store) => {
                walk.broken |= file.number < PACK_NUMBER_BASE;
                self.wrong(&name, 0, detail, None);
                // Records tell by their checksums whether they belong here.
                let Some(store) = store else { return Ok(()) };
                SegmentHeader {
                    store,
                    number: file.number,
                    base: self.root,
                    previous_bytes: 0,
                }
            }
        };
        let segment = Segment {
            header,
            file: handle,
            name: name.as_str().into(),
        };
        let is_pack = file.number >= PACK_NUMBER_BASE;
        if !is_pack {
            self.join_log(walk, &segment);
        }
        if let Some(pack) = file.pack.filter(|pack| pack.bytes != file.length) {
            let detail = format!("the pack has {} bytes and should have {}", file.length, pack.bytes);
            self.wrong(&name, file.length.min(pack.bytes), detail, None);
        }
        let told = told.filter(|_| !is_pack);
        if let Some(told) = told.filter(|told| *told > file.length) {
            let detail = format!(
                "the file has {} bytes, the segment after it tells of {told}",
                file.length
            );
            self.wrong(&name, file.length, detail, None);
        }
        let end = told.map_or(file.length, |told| told.min(file.length));
        let known = self.read_index_file(walk, &segment, file, end);
        self.segments.push(segment.clone());
        self.segments.sort_by_key(|segment| segment.header.number);
        self.read_records(walk, &segment, end, known.as_ref(), told.is_none() && !is_pack)
    }

    /// Checks that a segment of the log goes on where the one before it ended.
    fn join_log(&mut self, walk: &mut Walk<'_>, segment: &Segment) {
        let header = &segment.header;
        if std::mem::take(&mut walk.first_of_log) {
            self.root = header.base;
            // Its header tells the root before it.
            walk.root_end = Position {
                segment: header.number,
                offset: SegmentHeader::BYTES as u64,
            };
        } else if !header.base.is_state_of(&self.root) {
            if !walk.broken {
                let detail = "the segment does not continue the one before it";
                self.wrong(&segment.name, 0, detail, None);
            }
            if header.base.sequence > self.root.sequence {
                self.root = header.base;
            }
        }
    }

    fn read_index_file(&mut self, walk: &Walk<'_>, segment: &Segment, file: &FileToRead, end: u64) -> Option<Contents> {
        let number = segment.header.number;
        let name = match file.pack {
            Some(pack) => Segment::pack_index_name(number, pack.generation),
            None => Segment::index_name(number),
        };
        let there = walk.disk.exists(&name).unwrap_or(false);
        let contents = if there {
            read_index(walk.disk, &name, &segment.header, end)
        } else {
            None
        };
        let shown = walk.disk.describe(&name);
        match (&contents, file.pack, there) {
            (Some(_), _, _) | (None, None, false) => {}
            (None, Some(_), _) => self.wrong(&shown, 0, "the index of a pack is missing or damaged", None),
            // What could not be written whole for want of space, or before a power cut.
            (None, None, true) => self.mended_at_start.push(Damage {
                file: shown,
                offset: 0,
                detail: "the index does not fit its segment and is made again".to_owned(),
                chunk: None,
            }),
        }
        contents
    }

    fn read_records(
        &mut self,
        walk: &mut Walk<'_>,
        segment: &Segment,
        end: u64,
        known: Option<&Contents>,
        may_be_torn: bool,
    ) -> Result<(), ChunkError> {
        let number = segment.header.number;
        let mut from = SegmentHeader::BYTES as u64;
        // A bad place, until it is known whether something right follows.
        let mut bad: Option<(u64, String)> = None;
        let mut unreadable = BTreeMap::new();
        while from < end {
            let mut reader = SegmentReader::that_goes_on(segment.clone(), from, end);
            loop {
                match reader.next()? {
                    Step::Record { offset, record } => {
                        if let Some((offset, detail)) = bad.take() {
                            let chunk = chunk_at(known, offset);
                            walk.broken = true;
                            self.wrong(&segment.name, offset, detail, chunk);
                        }
                        self.take_record(walk, segment, offset, record);
                        (walk.progress)(walk.done + reader.offset(), walk.total);
                    }
                    Step::End => {
                        from = end;
                        break;
                    }
                    Step::Bad { offset, detail } => {
                        bad.get_or_insert_with(|| (offset, detail.to_owned()));
                        from = next_record(segment, offset + 1, end, &mut unreadable)?.unwrap_or(end);
                        break;
                    }
                }
            }
            unreadable.extend(reader.into_unreadable());
        }
        if let Some((offset, detail)) = bad {
            let here = Position {
                segment: number,
                offset,
            };
            if may_be_torn && walk.proven <= here {
                self.unacknowledged_bytes += end - offset;
            } else {
                let chunk = chunk_at(known, offset);
                walk.broken = true;
                self.wrong(&segment.name, offset, detail, chunk);
            }
        }
        walk.broken |= !unreadable.is_empty();
        self.take_unreadable(&segment.name, unreadable);
        Ok(())
    }

    /// Notes what the disk did not give, one damage for blocks that follow each other.
    fn take_unreadable(&mut self, name: &str, blocks: BTreeMap<u64, String>) {
        let mut blocks = blocks.into_iter().peekable();
        while let Some((from, error)) = blocks.next() {
            let mut end = from + READ_AROUND_BYTES;
            while blocks.next_if(|(next, _)| *next == end).is_some() {
                end += READ_AROUND_BYTES;
            }
            let detail = format!("{} bytes cannot be read: {error}", end - from);
            self.wrong(name, from, detail, None);
        }
    }

    fn take_record(&mut self, walk: &mut Walk<'_>, segment: &Segment, offset: u64, record: Record) {
        match record {
            Record::Chunk(stored) => {
                let hash = stored.hash;
                let indexed = IndexedChunk {
                    hash,
                    offset: super::write::offset_in_segment(offset),
                    bytes: stored.bytes.len() as u32,
                };
                match decode_stored(stored.codec, stored.bytes) {
                    Ok(chunk) if Hash::of(&chunk) == hash => {
                        self.index.insert(hash, Location::of(segment.header.number, &indexed));
                    }
                    Ok(_) => {
                        let detail = format!("the bytes of chunk {hash} do not have its hash");
                        self.wrong(&segment.name, offset, detail, Some(hash));
                    }
                    Err(error) => self.wrong(&segment.name, offset, detail(&error), Some(hash)),
                }
            }
            Record::Root(root, synced) => {
                let here = Position {
                    segment: segment.header.number,
                    offset,
                };
                if synced <= here {
                    walk.proven = walk.proven.max(synced);
                }
                let follows = root.previous == self.root.root && root.sequence == self.root.sequence + 1;
                if !follows && !std::mem::take(&mut walk.broken) {
                    let detail = format!(
                        "root {} after {} does not follow root {} {}",
                        root.sequence, root.previous, self.root.sequence, self.root.root
                    );
                    self.wrong(&segment.name, offset, detail, None);
                }
                if root.sequence > self.root.sequence {
                    self.root = root;
                }
                walk.root_end = Position {
                    segment: segment.header.number,
                    offset: offset + ROOT_RECORD_BYTES as u64,
                };
            }
        }
    }

    /// How many chunks are right.
    pub fn chunks(&self) -> u64 {
        self.index.len()
    }
}

/// The header of a segment, or what is wrong with it.
///
/// # Errors
/// `NewerFormat`, `OlderFormat`.
fn header_of(
    bytes: &[u8; SegmentHeader::BYTES],
    plan: &Plan,
    file: &FileToRead,
    name: &str,
) -> Result<Result<SegmentHeader, String>, ChunkError> {
    let wrong = match SegmentHeader::parse(bytes) {
        Ok(header) if header.number != file.number => "the file is another segment under this name",
        Ok(header) if plan.store.is_some_and(|store| store != header.store) => "the file belongs to another store",
        Ok(header) => return Ok(Ok(header)),
        Err(FormatError::Damaged { detail }) => detail,
        Err(error) => return Err(format_error(name, 0, &error)),
    };
    Ok(Err(wrong.to_owned()))
}

/// The chunk that an index file says to lie at `offset`.
fn chunk_at(known: Option<&Contents>, offset: u64) -> Option<Hash> {
    let chunks = &known?.chunks;
    let found = chunks.iter().find(|chunk| u64::from(chunk.offset) == offset);
    found.map(|chunk| chunk.hash)
}

/// Where the next right record begins, at `from` or behind it.
fn next_record(
    segment: &Segment,
    from: u64,
    end: u64,
    unreadable: &mut BTreeMap<u64, String>,
) -> Result<Option<u64>, ChunkError> {
    let mut reader = SegmentReader::that_goes_on(segment.clone(), from, end);
    let next = reader.skip_to_record()?;
    unreadable.extend(reader.into_unreadable());
    Ok(next)
}

impl ReadChunks for StoreCheck {
    fn get(&self, hash: &Hash) -> Result<Bytes, ChunkError> {
        let location = self.index.get(hash).ok_or(ChunkError::Missing { hash: *hash })?;
        let number = u64::from(location.segment);
        let at = self
            .segments
            .binary_search_by_key(&number, |segment| segment.header.number);
        read_chunk(
            &self.segments[at.expect("a chunk was found in a segment that was read")],
            hash,
            location,
        )
    }

    fn contains(&self, hash: &Hash) -> bool {
        self.index.get(hash).is_some()
    }
}
