"""What an application with psycopg 3 lives through when the primary and the standby of its pair change roles."""

import sys
import time

import psycopg

first, second = sys.argv[1:]


def connect(server):
    """A standby has a database once its first root has come."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(server, autocommit=True)
        except psycopg.OperationalError as error:
            if "does not exist" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def until(connection, query, expected):
    """Replication is asynchronous: a standby has what was written a moment later."""
    deadline = time.monotonic() + 60
    while True:
        try:
            found = connection.execute(query).fetchall()
        except psycopg.errors.UndefinedTable:
            found = "no table yet"
        if found == expected:
            return
        assert time.monotonic() < deadline, (query, found, expected)
        time.sleep(0.05)


def ended(connection):
    """Whether the server ended this connection, and said why."""
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        return "cluster role" in str(error) or "can no longer be used" in str(error)
    return False


a, b = connect(first), connect(second)
a.execute("CREATE TABLE ledger (id int PRIMARY KEY, amount numeric(12,2), note text)")
with a.transaction(), a.cursor() as cursor:
    cursor.executemany("INSERT INTO ledger VALUES (%s, %s, %s)", [(i, i, f"row {i}") for i in range(100)])
until(b, "SELECT count(*), sum(amount) FROM ledger", [(100, 4950)])
with b.cursor(binary=True) as cursor:
    assert cursor.execute("SELECT note FROM ledger WHERE id = %s", (42,)).fetchone() == ("row 42",)
try:
    b.execute("INSERT INTO ledger VALUES (%s, %s, %s)", (500, 0, "on the standby"))
    raise SystemExit("a standby took a write")
except psycopg.errors.ReadOnlySqlTransaction:
    pass

# An application in the middle of a transaction when the operator changes the roles.
application = psycopg.connect(first)
application.execute("INSERT INTO ledger VALUES (%s, %s, %s)", (600, 0, "never committed"))
a.execute("INSERT INTO ledger VALUES (%s, %s, %s)", (100, 100, "the last on the old primary"))
assert a.execute("SELECT dolt_assume_cluster_role(%s, %s)", ("standby", 2)).fetchone()[0] == 0
try:
    application.commit()
    raise SystemExit("a transaction outlived the role of its server")
except psycopg.OperationalError:
    assert application.closed
assert ended(a) and not ended(b)
assert b.execute("SELECT dolt_assume_cluster_role(%s, %s)", ("primary", 2)).fetchone()[0] == 0
assert ended(b)

a, b = connect(first), connect(second)
assert [c.execute("SHOW dolt_cluster_role").fetchone()[0] for c in (a, b)] == ["standby", "primary"]
assert b.execute("SELECT count(*), max(id) FROM ledger").fetchone() == (101, 100)
with b.transaction():
    b.execute("UPDATE ledger SET note = %s WHERE id = %s", ("changed on the new primary", 42))
    b.execute("DELETE FROM ledger WHERE id < %s", (10,))
until(a, "SELECT count(*) FROM ledger", [(91,)])
assert a.execute("SELECT note FROM ledger WHERE id = 42").fetchone() == ("changed on the new primary",)
try:
    a.execute("DELETE FROM ledger")
    raise SystemExit("the former primary took a write")
except psycopg.errors.ReadOnlySqlTransaction:
    pass

print("the story ended well")
