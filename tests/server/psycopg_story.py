"""What an application with psycopg 3 does: typed parameters, transactions, errors, binary results, many rows."""

import datetime
import decimal
import sys
import uuid

import psycopg

with psycopg.connect(sys.argv[1]) as connection:
    connection.execute(
        "CREATE TABLE story (id int PRIMARY KEY, amount numeric(12,2), day date, at timestamptz, u uuid, doc jsonb, raw bytea)"
    )
    row = (
        1,
        decimal.Decimal("12345.67"),
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 1, 1, 12, 0, tzinfo=datetime.timezone.utc),
        uuid.UUID(int=7),
        psycopg.types.json.Jsonb({"a": [1, None]}),
        b"\x00\x01",
    )
    connection.execute("INSERT INTO story VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
    connection.commit()

    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            got = cursor.execute("SELECT * FROM story WHERE id = %s", (1,)).fetchone()
        assert got[:5] == row[:5], (binary, got)
        assert got[5] == {"a": [1, None]}, (binary, got)
        assert bytes(got[6]) == row[6], (binary, got)

    try:
        connection.execute("INSERT INTO story (id) VALUES (1)")
        raise SystemExit("a duplicate key was accepted")
    except psycopg.errors.UniqueViolation:
        connection.rollback()

    with connection.transaction():
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO story (id, amount) VALUES (%s, %s)", [(i, decimal.Decimal(i)) for i in range(2, 502)]
            )
    total = connection.execute("SELECT count(*), sum(amount) FROM story").fetchone()
    assert total == (501, decimal.Decimal("12345.67") + sum(range(2, 502))), total

    # Enough repetitions that psycopg prepares the statement on the server.
    for i in range(2, 12):
        amount = connection.execute("SELECT amount FROM story WHERE id = %s", (i,)).fetchone()[0]
        assert amount == i, (i, amount)

# A driver that says its zone at start-up: texts are in that zone, binary values are moments, and both mean the same.
with psycopg.connect(sys.argv[1], options="-c timezone=America/New_York") as connection:
    assert connection.info.timezone.key == "America/New_York", connection.info.timezone
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            at, shown = cursor.execute("SELECT at, at::timestamp FROM story WHERE id = %s", (1,)).fetchone()
        assert at == row[3] and shown == datetime.datetime(2024, 1, 1, 7, 0), (binary, at, shown)
        assert at.utcoffset() == datetime.timedelta(hours=-5), (binary, at)
    text = connection.execute("SELECT at::text FROM story WHERE id = 1").fetchone()[0]
    assert text == "2024-01-01 07:00:00-05", text
    naive = connection.execute("SELECT %s::timestamptz", ("2024-07-01 12:00",)).fetchone()[0]
    assert naive == datetime.datetime(2024, 7, 1, 16, 0, tzinfo=datetime.timezone.utc), naive
    connection.execute("SET TIME ZONE 'Asia/Kolkata'")
    assert connection.info.timezone.key == "Asia/Kolkata", connection.info.timezone
    at = connection.execute("SELECT at FROM story WHERE at = '2024-01-01 17:30'").fetchone()[0]
    assert at == row[3], at

print("the story ended well")
