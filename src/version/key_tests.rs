use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::version::Column;

/// How SQL orders two values of one type, said without the encoding.
fn sql_order(column_type: ColumnType, one: &Value, other: &Value) -> Ordering {
    let float = |one: f64, other: f64| match (one.is_nan(), other.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => one.partial_cmp(&other).unwrap(),
    };
    match (one, other) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Int2(one), Value::Int2(other)) => one.cmp(other),
        (Value::Int4(one), Value::Int4(other)) => one.cmp(other),
        (Value::Int8(one), Value::Int8(other)) => one.cmp(other),
        (Value::Float4(one), Value::Float4(other)) => float(f64::from(*one), f64::from(*other)),
        (Value::Float8(one), Value::Float8(other)) => float(*one, *other),
        (Value::Numeric(one), Value::Numeric(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) if matches!(column_type, ColumnType::Char(_)) => one
            .trim_end_matches(' ')
            .as_bytes()
            .cmp(other.trim_end_matches(' ').as_bytes()),
        (Value::Text(one), Value::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
        (Value::Bytea(one), Value::Bytea(other)) => one.cmp(other),
        (Value::Date(one), Value::Date(other)) => one.cmp(other),
        (Value::Time(one), Value::Time(other)) | (Value::Timestamp(one), Value::Timestamp(other)) => one.cmp(other),
        (Value::Uuid(one), Value::Uuid(other)) => one.cmp(other),
        _ => unreachable!("values of one type are compared"),
    }
}

fn decimal() -> impl Strategy<Value = Decimal> {
    let mantissa = prop_oneof![
        -1_000i128..1_000,
        -(1i128 << 96) + 1..1i128 << 96,
        (0u32..28).prop_map(|power| 10i128.pow(power)),
        (0u32..28).prop_map(|power| -(10i128.pow(power)) + 1),
    ];
    (mantissa, 0u32..=28).prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale))
}

/// Close neighbours and zero bytes, where orders go wrong.
fn short_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..5)
}

fn value(column_type: ColumnType) -> BoxedStrategy<Value> {
    let present = match column_type {
        ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ColumnType::Int2 => any::<i16>().prop_map(Value::Int2).boxed(),
        ColumnType::Int4 => any::<i32>().prop_map(Value::Int4).boxed(),
        ColumnType::Int8 => prop_oneof![any::<i64>(), -2i64..3].prop_map(Value::Int8).boxed(),
        ColumnType::Float4 => prop_oneof![proptest::num::f32::ANY, Just(0.0), Just(-0.0)]
            .prop_map(Value::Float4)
            .boxed(),
        ColumnType::Float8 => prop_oneof![proptest::num::f64::ANY, Just(0.0), Just(-0.0)]
            .prop_map(Value::Float8)
            .boxed(),
        ColumnType::Numeric { .. } => decimal().prop_map(Value::Numeric).boxed(),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Char(_) | ColumnType::Json | ColumnType::Jsonb => {
            prop_oneof!["[a-b\u{0} ]{0,4}", ".{0,6}"].prop_map(Value::Text).boxed()
        }
        ColumnType::Bytea => short_bytes().prop_map(Value::Bytea).boxed(),
        ColumnType::Date => any::<i32>().prop_map(Value::Date).boxed(),
        ColumnType::Time => (0i64..86_400_000_000).prop_map(Value::Time).boxed(),
        ColumnType::Timestamp | ColumnType::TimestampTz => any::<i64>().prop_map(Value::Timestamp).boxed(),
        ColumnType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
    };
    prop_oneof![9 => present, 1 => Just(Value::Null)].boxed()
}

fn column_type() -> impl Strategy<Value = ColumnType> {
    proptest::sample::select(vec![
        ColumnType::Bool,
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float4,
        ColumnType::Float8,
        ColumnType::Numeric { precision: None },
        ColumnType::Text,
        ColumnType::Char(4),
        ColumnType::Bytea,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Timestamp,
        ColumnType::Uuid,
    ])
}

/// Types of a key, and two keys of them.
fn two_keys() -> impl Strategy<Value = (Vec<ColumnType>, Vec<Value>, Vec<Value>)> {
    proptest::collection::vec(column_type(), 1..4).prop_flat_map(|types| {
        let key = || types.iter().map(|column_type| value(*column_type)).collect::<Vec<_>>();
        (Just(types.clone()), key(), key())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn byte_order_is_sql_order((types, one, other) in two_keys(), shared in 0usize..3) {
        // A shared beginning makes later columns decide.
        let shared = shared.min(types.len() - 1);
        let other = [&one[..shared], &other[shared..]].concat();
        let expected = types.iter().zip(one.iter().zip(&other))
            .map(|(column_type, (one, other))| sql_order(*column_type, one, other))
            .find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
        let (one_key, other_key) = (encode_key_values(&types, &one), encode_key_values(&types, &other));
        prop_assert_eq!(one_key.cmp(&other_key), expected, "{:?} {:?}", one, other);
    }

    #[test]
    fn a_decoded_key_is_equal_in_sql_and_encodes_to_itself((types, key, _) in two_keys()) {
        let encoded = encode_key_values(&types, &key);
        let decoded = decode_key(&types, &encoded).unwrap();
        for (column_type, (before, after)) in types.iter().zip(key.iter().zip(&decoded)) {
            prop_assert_eq!(sql_order(*column_type, before, after), Ordering::Equal);
        }
        prop_assert_eq!(encode_key_values(&types, &decoded), encoded);
    }

    #[test]
    fn foreign_bytes_are_an_error_or_a_key_and_never_a_panic(column_type in column_type(), mut bytes in short_bytes(), tail in short_bytes()) {
        bytes.insert(0, PRESENT);
        bytes.extend(tail);
        let _ = decode_key(&[column_type], &bytes);
    }

    #[test]
    fn all_keys_of_a_prefix_lie_before_its_end((types, key, _) in two_keys(), taken in 0usize..4) {
        let prefix = encode_key_values(&types, &key[..taken.min(key.len())]);
        let whole = encode_key_values(&types, &key);
        prop_assert!(prefix <= whole);
        match prefix_end(&prefix) {
            Some(end) => prop_assert!(whole < end),
            None => prop_assert!(prefix.is_empty()),
        }
    }
}

/// The format on disk: a change here makes every existing database unreadable.
#[test]
fn golden() {
    let numeric = |text: &str| Value::Numeric(text.parse().unwrap());
    let cases: [(ColumnType, Value, &str); 17] = [
        (ColumnType::Int4, Value::Null, "02"),
        (ColumnType::Bool, Value::Bool(true), "0101"),
        (ColumnType::Int2, Value::Int2(-2), "017ffffffffffffffe"),
        (ColumnType::Int4, Value::Int4(1), "018000000000000001"),
        (ColumnType::Int8, Value::Int8(i64::MAX), "01ffffffffffffffff"),
        (ColumnType::Float4, Value::Float4(1.5), "01bff8000000000000"),
        (ColumnType::Float8, Value::Float8(-0.0), "018000000000000000"),
        (ColumnType::Float8, Value::Float8(f64::NAN), "01fff8000000000000"),
        (ColumnType::Numeric { precision: None }, numeric("0.00"), "0101"),
        (
            ColumnType::Numeric { precision: None },
            numeric("12.30"),
            "0102820d1f00",
        ),
        (ColumnType::Numeric { precision: None }, numeric("-1"), "01007ef4ff"),
        (ColumnType::Text, Value::Text("a\0b".to_owned()), "016100ff620001"),
        (ColumnType::Char(3), Value::Text("a  ".to_owned()), "01610001"),
        (ColumnType::Bytea, Value::Bytea(vec![0xff]), "01ff0001"),
        (ColumnType::Date, Value::Date(-1), "017fffffffffffffff"),
        (ColumnType::Timestamp, Value::Timestamp(0), "018000000000000000"),
        (
            ColumnType::Uuid,
            Value::Uuid([7; 16]),
            "0107070707070707070707070707070707",
        ),
    ];
    for (column_type, value, hex) in cases {
        let encoded = encode_key_values(&[column_type], std::slice::from_ref(&value));
        let shown: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, hex, "{value:?}");
    }
}

#[test]
fn equal_numbers_of_different_scale_are_one_key() {
    let key = |text: &str| {
        encode_key_values(
            &[ColumnType::Numeric { precision: None }],
            &[Value::Numeric(text.parse().unwrap())],
        )
    };
    assert_eq!(key("1.0"), key("1"));
    assert_eq!(key("100"), key("100.000"));
    assert_ne!(key("100"), key("10"));
}

#[test]
fn key_columns_are_taken_in_key_order() {
    let column = |name: &str| Column {
        name: name.to_owned(),
        column_type: ColumnType::Int4,
        not_null: true,
        default: None,
    };
    let schema = TableSchema {
        columns: vec![column("a"), column("b"), column("c")],
        primary_key: vec![2, 0],
    };
    let key = encode_key(&schema, &[Value::Int4(1), Value::Int4(2), Value::Int4(3)]);
    assert_eq!(
        decode_key(&schema.primary_key_types(), &key).unwrap(),
        [Value::Int4(3), Value::Int4(1)]
    );
}
