use proptest::prelude::*;

use std::collections::BTreeSet;

use super::*;
use crate::chunk::{ChunkBatch, NoChunks};

fn schema() -> TableSchema {
    let types = [
        ColumnType::Bool,
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float4,
        ColumnType::Float8,
        ColumnType::Numeric {
            precision: Some((10, 2)),
        },
        ColumnType::Text,
        ColumnType::Bytea,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::TimestampTz,
        ColumnType::Uuid,
    ];
    let column = |column_type| Column {
        name: format!("{column_type:?}"),
        column_type,
        not_null: false,
        default: None,
    };
    TableSchema {
        columns: types.map(column).to_vec(),
        primary_key: vec![],
    }
}

/// Lengths on either side of what a row holds, and of what a piece holds.
fn long() -> impl Strategy<Value = usize> {
    const PIECE: usize = 256 << 10;
    prop_oneof![
        4 => INLINE_BYTES_MAX - 2..INLINE_BYTES_MAX + 3,
        2 => 2000usize..20_000,
        1 => PIECE - 1..PIECE + 2,
        1 => Just(2 * PIECE + 1),
    ]
}

/// The large values of a row, in a store.
fn stored(tuple: &EncodedTuple) -> ChunkBatch<'static> {
    let mut batch = ChunkBatch::new(&NoChunks);
    for value in &tuple.large {
        value.put(&mut batch, &BTreeSet::new());
    }
    batch
}

fn row() -> impl Strategy<Value = Row> {
    let decimal = (any::<i64>(), 0u32..=28).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale));
    let values = (
        (
            any::<bool>().prop_map(Value::Bool),
            any::<i16>().prop_map(Value::Int2),
            any::<i32>().prop_map(Value::Int4),
            any::<i64>().prop_map(Value::Int8),
            any::<f32>().prop_map(Value::Float4),
            any::<f64>().prop_map(Value::Float8),
            decimal.prop_map(Value::Numeric),
        ),
        (
            prop_oneof![
                4 => ".{0,300}".prop_map(Value::Text),
                1 => long().prop_map(|length| Value::Text("ä".repeat(length / 2) + &"x".repeat(length % 2))),
            ],
            prop_oneof![
                4 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytea),
                1 => (any::<u8>(), long()).prop_map(|(byte, length)| Value::Bytea(vec![byte; length])),
            ],
            any::<i32>().prop_map(Value::Date),
            any::<i64>().prop_map(Value::Time),
            any::<i64>().prop_map(Value::Timestamp),
            any::<[u8; 16]>().prop_map(Value::Uuid),
        ),
    );
    (values, proptest::collection::vec(proptest::bool::weighted(0.2), 13)).prop_map(|((a, b), nulls)| {
        let mut row = vec![a.0, a.1, a.2, a.3, a.4, a.5, a.6, b.0, b.1, b.2, b.3, b.4, b.5];
        row.iter_mut()
            .zip(nulls)
            .filter(|(_, null)| *null)
            .for_each(|(value, _)| *value = Value::Null);
        row
    })
}

proptest! {
    #[test]
    fn a_row_comes_back_as_it_was(row in row()) {
        let encoded = encode_tuple(&row);
        let chunks = stored(&encoded);
        let decoded = decode_tuple(&schema(), &encoded.bytes, &chunks).unwrap();
        // Comparing text also tells scales of numerics apart.
        prop_assert_eq!(format!("{:?}", decoded), format!("{:?}", row));
        prop_assert_eq!(&encode_tuple(&decoded), &encoded);
        prop_assert!(encoded.bytes.len() < 13 * (INLINE_BYTES_MAX + 30), "{} bytes in a leaf", encoded.bytes.len());

        // What a transaction wrote reads the same before it is in any store.
        let unsaved = decode_tuple(&schema(), &encoded.bytes, &encoded.over(&NoChunks)).unwrap();
        prop_assert_eq!(format!("{:?}", unsaved), format!("{:?}", row));
        let attached = EncodedTuple::attached(&encoded.bytes).unwrap();
        prop_assert!(attached.iter().all(|link| chunks.contains(&link.hash)));
        prop_assert_eq!(attached.len(), encoded.large.len());
    }

    /// Would fail if a column were taken for another, or read although nobody wants it.
    #[test]
    fn single_columns_are_those_of_the_row(row in row(), wanted in proptest::collection::vec(any::<bool>(), 13)) {
        let encoded = encode_tuple(&row);
        let some: Vec<_> = row.iter().zip(&wanted)
            .map(|(value, wanted)| if *wanted { value.clone() } else { Value::Null })
            .collect();
        let decoded = decode_columns(&schema(), &encoded.bytes, &stored(&encoded), &wanted).unwrap();
        prop_assert_eq!(format!("{:?}", decoded), format!("{:?}", some));
        let small: Vec<_> = row.iter().map(|value| match value {
            Value::Text(text) => text.len() <= INLINE_BYTES_MAX,
            Value::Bytea(bytes) => bytes.len() <= INLINE_BYTES_MAX,
            _ => true,
        }).collect();
        decode_columns(&schema(), &encoded.bytes, &NoChunks, &small).unwrap();
    }

    #[test]
    fn random_bytes_are_an_error_or_a_row_and_never_a_panic(bytes in proptest::collection::vec(0u8..12, 0..60)) {
        for mut bytes in [bytes.clone(), [vec![0xff, 0, 0, 1, 0], bytes].concat()] {
            let _ = decode_tuple(&schema(), &bytes, &NoChunks);
            bytes.extend([0; 20]);
            let _ = decode_tuple(&schema(), &bytes, &NoChunks);
            let _ = decode_columns(&schema(), &bytes, &NoChunks, &[false, true]);
        }
    }

    #[test]
    fn damaged_rows_are_an_error_or_a_row_and_never_a_panic(
        row in row(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>(),
    ) {
        let tuple = encode_tuple(&row);
        let chunks = stored(&tuple);
        let mut encoded = tuple.bytes.to_vec();
        let at = at.index(encoded.len());
        encoded[at] = byte;
        let _ = decode_tuple(&schema(), &encoded, &chunks);
        let _ = decode_columns(&schema(), &encoded, &chunks, &[true; 13]);
        let _ = EncodedTuple::attached(&encoded);
        let cut = cut.index(encoded.len());
        prop_assert!(decode_tuple(&schema(), &encoded[..cut], &chunks).is_err());
    }
}

/// The format on disk: a change here makes every existing database unreadable.
#[test]
fn golden() {
    let row = [
        Value::Null,
        Value::Bool(true),
        Value::Int4(-3),
        Value::Float4(1.5),
        Value::Float8(-2.0),
        Value::Numeric("12.30".parse().unwrap()),
        Value::Text("ab".to_owned()),
        Value::Bytea(vec![0xff]),
        Value::Uuid([7; 16]),
        Value::Timestamp(64),
    ];
    let hex: String = encode_tuple(&row)
        .bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "0002030504 0000c03f05 00000000000000c0 0602 9c13 07026162 0801ff 0907070707070707070707070707070707 038001"
            .replace(' ', "")
    );
}

#[test]
fn rows_of_another_shape_are_refused() {
    let schema = schema();
    let short = encode_tuple(&[Value::Bool(true)]).bytes;
    assert!(
        decode_tuple(&schema, &short, &NoChunks)
            .unwrap_err()
            .to_string()
            .contains("middle of a value")
    );
    let long = [
        encode_tuple(&vec![Value::Null; 13]).bytes,
        encode_tuple(&[Value::Null]).bytes,
    ]
    .concat();
    assert!(
        decode_tuple(&schema, &long, &NoChunks)
            .unwrap_err()
            .to_string()
            .contains("after the last column")
    );
    let wrong = [
        encode_tuple(&[Value::Int4(1)]).bytes,
        encode_tuple(&vec![Value::Null; 12]).bytes,
    ]
    .concat();
    assert!(
        decode_tuple(&schema, &wrong, &NoChunks)
            .unwrap_err()
            .to_string()
            .contains("tag 3 in column \"Bool\"")
    );
}

#[test]
fn a_row_with_large_values_is_golden() {
    let row = [
        Value::Int4(1),
        Value::Bytea(vec![7; (256 << 10) + 1]),
        Value::Text("x".repeat(2049)),
        Value::Text("y".repeat(2048)),
    ];
    let tuple = encode_tuple(&row);
    let hex: String = tuple.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let inline = "79".repeat(2048);
    let [blob, text] = [0, 1].map(|i: usize| {
        let hash = tuple.large[i].hash();
        hash.as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    assert_eq!(
        hex,
        format!("ff01000100 0302 0a818010 0a8110 078010{inline}{blob}{text}").replace(' ', "")
    );
}

#[test]
fn rows_that_lie_about_large_values_are_refused() {
    // Would fail if one row had two forms, or a row could hide what it refers to.
    let column = |column_type| Column {
        name: "c".to_owned(),
        column_type,
        not_null: false,
        default: None,
    };
    let schema = |column_type| TableSchema {
        columns: vec![column(column_type)],
        primary_key: vec![],
    };
    let refused = |column_type, body: &[u8], ends: &[Hash]| {
        let bytes = match ends {
            [] => body.to_vec(),
            _ => Attached::encode(body, &[], ends).to_vec(),
        };
        decode_tuple(&schema(column_type), &bytes, &NoChunks)
            .unwrap_err()
            .to_string()
    };
    let hash = Hash::of(b"?");
    let inline = [&[TAG_TEXT, 0x81, 0x10][..], &[b'x'; 2049]].concat();
    assert!(refused(ColumnType::Text, &inline, &[]).contains("too long to lie within"));
    assert!(refused(ColumnType::Text, &[TAG_LARGE, 0x80, 0x10], &[hash]).contains("length that none has"));
    assert!(refused(ColumnType::Text, &[TAG_LARGE, 0x81, 0x10], &[]).contains("not attached"));
    assert!(refused(ColumnType::Text, &[TAG_NULL], &[hash]).contains("no column has"));
    assert!(refused(ColumnType::Int4, &[TAG_LARGE, 0x81, 0x10], &[hash]).contains("tag 10"));
    assert!(refused(ColumnType::Text, &[TAG_LARGE, 0x81, 0x10], &[hash]).contains("not in this store"));
}
