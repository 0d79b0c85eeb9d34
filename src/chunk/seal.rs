//! Index files: what a segment that takes no more records holds.
//!
//! They spare opening a store from reading all of it. That of a segment of the log is made again when it is missing or
//! damaged, so it is written without a sync. That of a pack tells what is alive in it, so the manifest names it and it
//! is synced first.
//!
//! Must not know: what else is in the store.

use super::HASH_BYTES;
use super::error::ChunkError;
use super::format::{IndexFile, IndexedChunk, RECORD_HEAD_BYTES, RootRecord, SegmentHeader};
use super::reader::Segment;
use super::store::Pack;
use crate::runtime::disk::{Disk, File, OpenMode};
use crate::runtime::{self, buggify};

/// What one segment holds, in the order of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub chunks: Vec<IndexedChunk>,
    /// With the offset at which each record ends.
    pub roots: Vec<(RootRecord, u64)>,
}

/// A segment that takes no more records.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub segment: Segment,
    /// How long it is; what the file has beyond is the rest of a write that failed.
    pub bytes: u64,
    pub contents: Contents,
}

impl Sealed {
    fn into_file(self) -> IndexFile {
        let Contents { mut chunks, roots } = self.contents;
        // Of several with one hash the last one counts: the sort is stable.
        chunks.sort_by_key(|chunk| chunk.hash);
        chunks.dedup_by(|later, kept| {
            let same = later.hash == kept.hash;
            if same {
                *kept = *later;
            }
            same
        });
        IndexFile {
            store: self.segment.header.store,
            segment: self.segment.header.number,
            segment_bytes: self.bytes,
            chunks,
            roots,
        }
    }
}

/// Writes the index files of `sealed`, beside everything else. A failure costs time at the next start, and no more.
pub(super) fn write_index_files(disk: &Disk, sealed: Vec<Sealed>) {
    if sealed.is_empty() {
        return;
    }
    let disk = disk.clone();
    let work = async move {
        for sealed in sealed {
            let name = Segment::index_name(sealed.segment.header.number);
            if buggify!("chunk.index_file_lost") {
                continue;
            }
            if let Err(error) = write_index_file(&disk, &name, sealed) {
                tracing::debug!(%error, "index file not written");
                let _ = disk.remove_file(&name);
            }
            runtime::yield_now().await;
        }
    };
    runtime::spawn("index files", work).detach();
}

pub(super) fn write_index_file(disk: &Disk, name: &str, sealed: Sealed) -> Result<File, ChunkError> {
    let io = |op| ChunkError::io(op, disk.describe(name));
    let file = disk.open(name, OpenMode::CreateOrOpen).map_err(io("create"))?;
    file.set_len(0).map_err(io("truncate"))?;
    file.write_all_at(&sealed.into_file().encode(), 0)
        .map_err(io("write"))?;
    Ok(file)
}

/// Writes the index file of a pack and syncs it; its name still has to be.
pub(super) async fn write_pack_index(disk: &Disk, pack: &Pack, chunks: Vec<IndexedChunk>) -> Result<(), ChunkError> {
    let name = pack.index_name();
    let sealed = Sealed {
        segment: pack.segment.clone(),
        bytes: pack.bytes,
        contents: Contents {
            chunks,
            roots: Vec::new(),
        },
    };
    let file = write_index_file(disk, &name, sealed)?;
    file.sync().await.map_err(ChunkError::io("sync", disk.describe(&name)))
}

/// What is alive in a pack.
///
/// # Errors
/// `Corrupt` when its index file is missing or damaged: nothing else tells what is alive.
pub(super) fn read_pack_index(disk: &Disk, pack: &Pack) -> Result<Contents, ChunkError> {
    let name = pack.index_name();
    match read_index(disk, &name, &pack.segment.header, pack.bytes) {
        Some(contents) if contents.roots.is_empty() => Ok(contents),
        _ => Err(ChunkError::Corrupt {
            file: disk.describe(&name),
            offset: 0,
            detail: "the index of a pack is missing, damaged or not that of its pack".to_owned(),
        }),
    }
}

/// What the index file of a segment says; `None` when there is none that fits.
pub(super) fn read_index_file(disk: &Disk, header: &SegmentHeader, segment_bytes: u64) -> Option<Contents> {
    let name = Segment::index_name(header.number);
    if !disk.exists(&name).ok()? {
        return None;
    }
    let contents = read_index(disk, &name, header, segment_bytes);
    if contents.is_none() {
        tracing::warn!(
            file = disk.describe(&name),
            "index file damaged, made again from its segment"
        );
    }
    contents
}

/// What an index file says; `None` when it is damaged or not that of this segment.
pub(super) fn read_index(disk: &Disk, name: &str, header: &SegmentHeader, segment_bytes: u64) -> Option<Contents> {
    let parsed = IndexFile::parse(&disk.read(name).ok()?).ok();
    let fits = parsed.filter(|file| {
        let identity = (file.store, file.segment, file.segment_bytes);
        let head = (RECORD_HEAD_BYTES + HASH_BYTES) as u64;
        let within = |chunk: &IndexedChunk| {
            u64::from(chunk.offset) >= SegmentHeader::BYTES as u64
                && u64::from(chunk.offset) + head + u64::from(chunk.bytes) <= segment_bytes
        };
        identity == (header.store, header.number, segment_bytes) && file.chunks.iter().all(within)
    });
    fits.map(|file| Contents {
        chunks: file.chunks,
        roots: file.roots,
    })
}
