//! Writes packs: the files to which a collection copies what is alive.
//!
//! A pack is durable, but for its name, once it is closed. Until a manifest may name them, the files can be removed.
//!
//! Must not know: what is alive, and why.

use super::error::ChunkError;
use super::format::{IndexedChunk, RootRecord, SegmentHeader, StoredChunk, encode_chunk};
use super::index::Location;
use super::reader::Segment;
use super::seal::write_pack_index;
use super::store::{ChunkStore, Inner, Pack};
use super::write::{begin_segment, offset_in_segment};
use crate::runtime::buggify;

/// How much is written to a pack at once.
const WRITE_BYTES: usize = 1 << 20;

/// Writes packs.
pub(super) struct Packer {
    store: ChunkStore,
    pub next_number: u64,
    open: Option<OpenPack>,
    pub done: Vec<Pack>,
    /// The files may be named by a manifest.
    pub keep_files: bool,
}

struct OpenPack {
    segment: Segment,
    /// Where the buffer will be written.
    offset: u64,
    buffer: Vec<u8>,
    chunks: Vec<IndexedChunk>,
}

impl Packer {
    pub fn new(store: ChunkStore, next_number: u64) -> Packer {
        Packer {
            store,
            next_number,
            open: None,
            done: Vec::new(),
            keep_files: false,
        }
    }

    fn inner(&self) -> &Inner {
        &self.store.inner
    }

    /// Adds a chunk; gives where it will be.
    pub async fn push(&mut self, chunk: StoredChunk) -> Result<Location, ChunkError> {
        if let Some(open) = &self.open {
            let end = open.offset + open.buffer.len() as u64;
            let is_full = end + chunk.record_bytes() > self.inner().segment_bytes_max;
            if (is_full || buggify!("chunk.pack_full")) && !open.chunks.is_empty() {
                self.close().await?;
            }
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let open = self.open.as_mut().expect("a pack was begun");
        let indexed = IndexedChunk {
            hash: chunk.hash,
            offset: offset_in_segment(open.offset + open.buffer.len() as u64),
            bytes: u32::try_from(chunk.bytes.len()).expect("a chunk fits a record"),
        };
        encode_chunk(&mut open.buffer, open.segment.header.seed(), open.offset, &chunk);
        open.chunks.push(indexed);
        if open.buffer.len() >= WRITE_BYTES {
            open.write()?;
        }
        Ok(Location::of(open.segment.header.number, &indexed))
    }

    fn begin(&mut self) -> Result<OpenPack, ChunkError> {
        let header = SegmentHeader {
            store: self.inner().store,
            number: self.next_number,
            base: RootRecord::NONE,
            previous_bytes: 0,
        };
        self.next_number += 1;
        Ok(OpenPack {
            segment: begin_segment(&self.inner().disk, header)?,
            offset: SegmentHeader::BYTES as u64,
            buffer: Vec::new(),
            chunks: Vec::new(),
        })
    }

    /// Makes the open pack durable, but for its name.
    pub async fn close(&mut self) -> Result<(), ChunkError> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        // Entered first, so that its files go when this fails.
        self.done.push(Pack {
            segment: open.segment.clone(),
            bytes: open.offset + open.buffer.len() as u64,
            generation: 0,
        });
        open.write()?;
        let synced = open.segment.file.sync().await.map_err(open.segment.io("sync"));
        self.inner().heed(synced)?;
        let pack = self.done.last().expect("the pack was entered");
        let written = write_pack_index(&self.inner().disk, pack, open.chunks).await;
        self.inner().heed(written)
    }

    pub fn remove_files(&mut self) {
        if self.keep_files {
            return;
        }
        let open = self.open.iter().map(|open| open.segment.header.number);
        let done = self.done.iter().map(Pack::number);
        let names = open.chain(done).map(Segment::file_name);
        for name in names.chain(self.done.iter().map(Pack::index_name)) {
            // What is left is removed when the store is opened.
            let _ = self.inner().disk.remove_file(&name);
        }
    }
}

impl OpenPack {
    fn write(&mut self) -> Result<(), ChunkError> {
        let written = self.segment.file.write_all_at(&self.buffer, self.offset);
        written.map_err(self.segment.io("write"))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
