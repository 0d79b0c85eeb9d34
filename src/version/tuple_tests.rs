use proptest::prelude::*;

use super::*;

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
            ".{0,300}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytea),
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
        let decoded = decode_tuple(&schema(), &encoded).unwrap();
        // Comparing text also tells scales of numerics apart.
        prop_assert_eq!(format!("{:?}", decoded), format!("{:?}", row));
        prop_assert_eq!(encode_tuple(&decoded), encoded);
    }

    #[test]
    fn damaged_rows_are_an_error_or_a_row_and_never_a_panic(
        row in row(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>(),
    ) {
        let mut encoded = encode_tuple(&row).to_vec();
        let at = at.index(encoded.len());
        encoded[at] = byte;
        let _ = decode_tuple(&schema(), &encoded);
        let cut = cut.index(encoded.len());
        prop_assert!(decode_tuple(&schema(), &encoded[..cut]).is_err());
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
    let hex: String = encode_tuple(&row).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "0002030504 0000c03f05 00000000000000c0 0602 9c13 07026162 0801ff 0907070707070707070707070707070707 038001"
            .replace(' ', "")
    );
}

#[test]
fn rows_of_another_shape_are_refused() {
    let schema = schema();
    let short = encode_tuple(&[Value::Bool(true)]);
    assert!(
        decode_tuple(&schema, &short)
            .unwrap_err()
            .to_string()
            .contains("middle of a value")
    );
    let long = [encode_tuple(&vec![Value::Null; 13]), encode_tuple(&[Value::Null])].concat();
    assert!(
        decode_tuple(&schema, &long)
            .unwrap_err()
            .to_string()
            .contains("after the last column")
    );
    let wrong = [encode_tuple(&[Value::Int4(1)]), encode_tuple(&vec![Value::Null; 12])].concat();
    assert!(
        decode_tuple(&schema, &wrong)
            .unwrap_err()
            .to_string()
            .contains("tag 3 in column \"Bool\"")
    );
}
