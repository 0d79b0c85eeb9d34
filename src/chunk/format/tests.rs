use bytes::Bytes;
use proptest::prelude::*;

use super::record::Codec;
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn manifest() -> Manifest {
    Manifest {
        store: *b"0123456789abcdef",
        next_pack: PACK_NUMBER_BASE + 3,
        packs: vec![PackEntry {
            number: PACK_NUMBER_BASE + 1,
            bytes: 4096,
            generation: 2,
        }],
        segments: vec![1, 2],
    }
}

fn header() -> SegmentHeader {
    SegmentHeader {
        store: *b"0123456789abcdef",
        number: 2,
        base: RootRecord {
            sequence: 7,
            root: Hash::of(b"base"),
            previous: Hash::NONE,
            epoch: 2,
            time: WallTime::from_micros(1_600_000_000_000_000),
        },
        previous_bytes: 4096,
    }
}

fn root() -> RootRecord {
    RootRecord {
        sequence: 8,
        root: Hash::of(b"root"),
        previous: Hash::of(b"base"),
        epoch: 3,
        time: WallTime::from_micros(1_700_000_000_000_000),
    }
}

fn index_file() -> IndexFile {
    IndexFile {
        store: *b"0123456789abcdef",
        segment: 2,
        segment_bytes: 4096,
        chunks: vec![IndexedChunk {
            hash: Hash::of(b"chunk"),
            offset: 96,
            bytes: 5,
        }],
        roots: vec![(root(), 225)],
    }
}

const SYNCED: Position = Position {
    segment: 1,
    offset: 4096,
};

fn synced() -> Synced {
    Synced {
        store: header().store,
        up_to: SYNCED,
    }
}

fn chunk_record(chunk: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let stored = StoredChunk::encode(Hash::of(chunk), &Bytes::copy_from_slice(chunk));
    encode_chunk(&mut out, header().seed(), 96, &stored);
    out
}

fn root_record() -> Vec<u8> {
    let mut out = Vec::new();
    encode_root(&mut out, header().seed(), 133, &root(), SYNCED);
    out
}

fn parse(seed: Seed, offset: u64, bytes: &[u8]) -> Result<Record, FormatError> {
    let head = RecordHead::parse(bytes[..RECORD_HEAD_BYTES].try_into().unwrap())?;
    if bytes.len() != RECORD_HEAD_BYTES + head.payload_bytes() {
        return damaged("length");
    }
    parse_record(seed, offset, head, Bytes::copy_from_slice(&bytes[RECORD_HEAD_BYTES..]))
}

fn chunk_of(record: Result<Record, FormatError>) -> Result<Bytes, FormatError> {
    match record? {
        Record::Chunk(stored) => decode_stored(stored.codec, stored.bytes),
        Record::Root(..) => panic!("a root where a chunk was written"),
    }
}

#[test]
fn files_are_golden() {
    // Would fail if the layout changed without a new format version.
    insta::with_settings!({snapshot_path => "../../../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("store-format", [
            ("manifest", hex(&manifest().encode())),
            ("segment header", hex(&header().encode())),
            ("chunk record, plain", hex(&chunk_record(b"chunk"))),
            ("chunk record, LZ4", hex(&chunk_record(&[7; 1000]))),
            ("root record", hex(&root_record())),
            ("index file", hex(&index_file().encode())),
            ("synced", hex(&synced().encode())),
        ].map(|(name, hex)| format!("{name}: {hex}")).join("\n"));
    });
    assert_eq!(root_record().len(), ROOT_RECORD_BYTES);
    assert_eq!(root_record()[..8], ROOT_MARK);
    assert_eq!(synced().encode().len(), Synced::BYTES);
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(Manifest::parse(&manifest().encode()), Ok(manifest()));
    assert_eq!(
        SegmentHeader::parse(&header().encode()),
        Ok(SegmentHeader { ..header() })
    );
    assert_eq!(IndexFile::parse(&index_file().encode()), Ok(index_file()));
    assert_eq!(Synced::parse(&synced().encode()), Ok(synced()));
    let seed = header().seed();
    assert_eq!(
        chunk_of(parse(seed, 96, &chunk_record(b"chunk"))),
        Ok(Bytes::from_static(b"chunk"))
    );
    assert_eq!(parse(seed, 133, &root_record()), Ok(Record::Root(root(), SYNCED)));
}

#[test]
fn only_what_shrinks_by_an_eighth_is_compressed() {
    let random: Vec<u8> = (0..4096u32)
        .flat_map(|i| *Hash::of(&i.to_le_bytes()).as_bytes())
        .collect();
    let codec = |chunk: &[u8]| StoredChunk::encode(Hash::of(chunk), &Bytes::copy_from_slice(chunk)).codec;
    assert_eq!(codec(&random), Codec::Plain);
    assert_eq!(codec(&[0; 100]), Codec::Plain, "too short to bother");
    assert_eq!(codec(&[0; 1000]), Codec::Lz4);
}

#[test]
fn a_compressed_chunk_that_lies_about_its_length_takes_no_memory() {
    let stored = |size: u32| Bytes::from([size.to_le_bytes().as_slice(), &[0x1f, 0, 1, 0, 255]].concat());
    for size in [u32::MAX, 1 << 30, 100_000, 1] {
        assert!(decode_stored(Codec::Lz4, stored(size)).is_err(), "{size}");
    }
    assert!(decode_stored(Codec::Lz4, Bytes::from_static(&[1, 0])).is_err());
}

#[test]
fn a_record_elsewhere_is_no_record() {
    // Would fail if a misdirected write or a copied file could pass for the log.
    let (bytes, header) = (root_record(), header());
    let seed = header.seed();
    let other_segment = SegmentHeader { number: 3, ..header }.seed();
    let other_store = SegmentHeader {
        store: [0; 16],
        ..header
    }
    .seed();
    assert!(parse(seed, 133, &bytes).is_ok());
    assert!(parse(seed, 134, &bytes).is_err());
    assert!(parse(other_segment, 133, &bytes).is_err());
    assert!(parse(other_store, 133, &bytes).is_err());
}

#[test]
fn every_flipped_bit_is_noticed() {
    let seed = header().seed();
    let forms: [(&str, Vec<u8>, Box<dyn Fn(&[u8]) -> bool>); 7] = [
        (
            "manifest",
            manifest().encode(),
            Box::new(|bytes| Manifest::parse(bytes).is_err()),
        ),
        (
            "header",
            header().encode().to_vec(),
            Box::new(|bytes| SegmentHeader::parse(bytes.try_into().unwrap()).is_err()),
        ),
        (
            "index file",
            index_file().encode(),
            Box::new(|bytes| IndexFile::parse(bytes).is_err()),
        ),
        (
            "synced",
            synced().encode(),
            Box::new(|bytes| Synced::parse(bytes).is_err()),
        ),
        (
            "plain chunk",
            chunk_record(b"chunk"),
            Box::new(move |bytes| parse(seed, 96, bytes).is_err()),
        ),
        (
            "packed chunk",
            chunk_record(&[7; 1000]),
            Box::new(move |bytes| parse(seed, 96, bytes).is_err()),
        ),
        (
            "root",
            root_record(),
            Box::new(move |bytes| parse(seed, 133, bytes).is_err()),
        ),
    ];
    for (name, bytes, refused) in forms {
        assert!(!refused(&bytes), "{name} is right as it was written");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&flipped), "bit {bit} of {name}");
        }
    }
}

#[test]
fn other_versions_say_so() {
    let newer = (FORMAT_VERSION + 1) as u8;
    let mut bytes = header().encode();
    bytes[8] = newer;
    assert!(
        matches!(SegmentHeader::parse(&bytes), Err(FormatError::Damaged { .. })),
        "a version without its checksum is a flipped bit"
    );
    let body = bytes.len() - 4;
    let sealed = seal_envelope(bytes[..body].to_vec());
    assert_eq!(
        SegmentHeader::parse(sealed.first_chunk().unwrap()),
        Err(FormatError::Newer {
            found: u32::from(newer)
        })
    );
    let mut old = manifest().encode();
    old.truncate(old.len() - 4);
    old[8] = 1;
    assert_eq!(
        Manifest::parse(&seal_envelope(old)),
        Err(FormatError::Older { found: 1 })
    );
}

proptest! {
    /// Foreign bytes are an error, never a panic.
    #[test]
    fn anything_is_parsed_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0usize..3) {
        let magic = [b"USTSTORE", b"USTINDEX", b"USTLOGSG"][kind];
        if bytes.len() > 12 {
            bytes[..8].copy_from_slice(magic);
            bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        }
        let bytes = seal_envelope(bytes);
        let _ = (Manifest::parse(&bytes), IndexFile::parse(&bytes), Synced::parse(&bytes));
        if let Some(first) = bytes.first_chunk() {
            let _ = SegmentHeader::parse(first);
        }
    }

    #[test]
    fn compressed_or_not_a_chunk_comes_back(bytes in prop::collection::vec(0u8..4, 0..2000)) {
        let chunk = Bytes::from(bytes);
        let stored = StoredChunk::encode(Hash::of(&chunk), &chunk);
        prop_assert_eq!(decode_stored(stored.codec, stored.bytes), Ok(chunk));
    }
}
