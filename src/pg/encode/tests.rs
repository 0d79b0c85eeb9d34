use proptest::prelude::*;

use super::*;

fn encoded(cell: &Cell<'_>, pg_type: &PgType, format: Format) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_field(&mut out, cell, pg_type, format, &Style::DEFAULT).unwrap();
    let length = i32::from_be_bytes(out[..4].try_into().unwrap());
    assert_eq!(length as usize, out.len() - 4);
    out[4..].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The expected bytes are what PostgreSQL 15's send functions give (`SELECT encode(int4send(1), 'hex')` and so on).
#[test]
fn binary_forms_are_postgres_own() {
    for (pg_type, text, expected) in [
        (PgType::BOOL, "t", "01"),
        (PgType::INT2, "-2", "fffe"),
        (PgType::INT4, "1", "00000001"),
        (PgType::INT8, "-1", "ffffffffffffffff"),
        (PgType::FLOAT4, "1.5", "3fc00000"),
        (PgType::FLOAT8, "-0.1", "bfb999999999999a"),
        (PgType::NUMERIC, "0", "0000000000000000"),
        (PgType::NUMERIC, "0.00", "0000000000000002"),
        (PgType::NUMERIC, "-12345.678", "00030001400000030001092 91a7c"),
        (PgType::NUMERIC, "10000", "00010001000000000001"),
        (PgType::NUMERIC, "0.0001", "0001ffff000000040001"),
        (PgType::NUMERIC, "0.00001", "0001fffe0000000503e8"),
        (PgType::TEXT, "é", "c3a9"),
        (PgType::BYTEA, "\\x00ff", "00ff"),
        (PgType::DATE, "2000-01-02", "00000001"),
        (PgType::DATE, "infinity", "7fffffff"),
        (PgType::TIME, "00:00:01", "00000000000f4240"),
        (PgType::TIMESTAMP, "1999-12-31 23:59:59", "fffffffffff0bdc0"),
        (PgType::TIMESTAMPTZ, "-infinity", "8000000000000000"),
        (
            PgType::UUID,
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ),
        (PgType::JSON, "{}", "7b7d"),
        (PgType::JSONB, "{}", "017b7d"),
        (PgType::OID, "4294967295", "ffffffff"),
        (PgType::CHAR, "r", "72"),
    ] {
        let value = text::parse_as(text, &pg_type, &Style::DEFAULT).unwrap();
        let bytes = encoded(&Cell::of_value(&value), &pg_type, Format::Binary);
        assert_eq!(hex(&bytes), expected.replace(' ', ""), "{text} as {pg_type}");
        assert_eq!(
            decode_parameter(Some(&bytes), &pg_type, Format::Binary, &Style::DEFAULT).unwrap(),
            value,
            "{text} as {pg_type}"
        );
    }
}

#[test]
fn arrays_are_sent_with_their_element_type() {
    let cell = Cell::List(vec![Cell::Int(1), Cell::Null]);
    assert_eq!(
        hex(&encoded(&cell, &PgType::INT4_ARRAY, Format::Binary)),
        "00000001000000010000001700000002000000010000000400000001ffffffff"
    );
    assert_eq!(
        hex(&encoded(&Cell::List(vec![]), &PgType::TEXT_ARRAY, Format::Binary)),
        "000000000000000000000019"
    );
    assert_eq!(encoded(&cell, &PgType::INT4_ARRAY, Format::Text), b"{1,NULL}");
}

#[test]
fn null_is_length_minus_one() {
    for format in [Format::Text, Format::Binary] {
        let mut out = BytesMut::new();
        encode_field(&mut out, &Cell::Null, &PgType::INT4, format, &Style::DEFAULT).unwrap();
        assert_eq!(hex(&out), "ffffffff");
        assert_eq!(
            decode_parameter(None, &PgType::INT4, format, &Style::DEFAULT).unwrap(),
            Value::Null
        );
    }
}

#[test]
fn truncated_parameters_are_refused() {
    for pg_type in [
        PgType::INT4,
        PgType::NUMERIC,
        PgType::UUID,
        PgType::TIMESTAMP,
        PgType::JSONB,
        PgType::BOOL,
    ] {
        let error = decode_parameter(Some(&[]), &pg_type, Format::Binary, &Style::DEFAULT).unwrap_err();
        assert_eq!(error.kind, SqlErrorKind::InvalidBinary, "{pg_type}");
    }
    let error = decode_parameter(Some(&[0xff]), &PgType::TEXT, Format::Text, &Style::DEFAULT).unwrap_err();
    assert_eq!(error.message, "invalid byte sequence for encoding \"UTF8\": 0xff");
}

proptest! {
    #[test]
    fn numerics_survive_the_binary_format(digits in -(1i128 << 95)..(1i128 << 95), scale in 0u32..=28) {
        let value = Value::Numeric(Decimal::from_i128_with_scale(digits, scale));
        let bytes = encoded(&Cell::of_value(&value), &PgType::NUMERIC, Format::Binary);
        let back = decode_parameter(Some(&bytes), &PgType::NUMERIC, Format::Binary, &Style::DEFAULT).unwrap();
        prop_assert_eq!(&back, &value);
        let Value::Numeric(back) = back else { unreachable!() };
        prop_assert_eq!(back.scale(), scale);
    }

    /// Garbage gives an error or a value, never a panic.
    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, at in 0usize..12) {
        let pg_type = [
            PgType::BOOL, PgType::INT4, PgType::NUMERIC, PgType::DATE, PgType::TIMESTAMP, PgType::TIME, PgType::UUID,
            PgType::JSONB, PgType::TEXT, PgType::BYTEA, PgType::FLOAT8, PgType::INT4_ARRAY,
        ][at].clone();
        for format in [Format::Text, Format::Binary] {
            let _ = decode_parameter(Some(&bytes), &pg_type, format, &Style::DEFAULT);
        }
    }
}
