"""Source and destination are compared while both are live: what differs is found, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pantograph import dialects
from pantograph.apply import prepare
from pantograph.apply.prepare import Report
from pantograph.cli import commands
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Role
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import verification
from pantograph.pipeline.verification import Difference, Pace, Result
from pantograph.reflector import streams
from tests.routes.conftest import DAILY, NAMED_DAILY, NAMED_ROUTES, ROUTES, Pair, pair_of
from tests.support import mirrors
from tests.support.clients import EXACT, FAMILY, Client

pair = pair_of([*ROUTES, *NAMED_ROUTES], [*DAILY, *NAMED_DAILY])
MakePair = Callable[[str, str], Pair]

QUICK = Pace(patience=20.0, repair=20.0)
ITEMS = ("id", "name", "qty")


@contextlib.contextmanager
def worked_out(pair: Pair, name: str = "t0", **changed: Any) -> Iterator[tuple[Session, Session, Mirror, str]]:
    """What another process has that compares: sessions of its own, and the mirror, which it works out by itself."""
    (wanted,) = mirrors.wanted(pair.documents)
    with contextlib.ExitStack() as stack:

        def session(dialect: Dialect, role: Role) -> Session:
            made = Session(dialect, role)
            stack.callback(made.close)
            return made

        report = Report()
        ((address, copies),) = wanted.copies.values()
        origin, destination = dialects.load(wanted.address), dialects.load(address)
        admin, target = session(origin, Role.ADMIN), session(destination, Role.WRITER)
        captured, _ = prepare.source(admin, origin, wanted.owner, wanted.tables, report, lease=wanted.lease, act=False)
        copies = tuple(dataclasses.replace(copy, **changed) for copy in copies)
        ready = prepare.copies(target, destination, origin, wanted.owner, copies, captured, report, act=False)
        assert not report.failed, report.failed
        yield session(origin, Role.READER), target, ready[f"default/{name}"].mirror, wanted.owner


def verify(pair: Pair, **how: Any) -> Result:
    """Compare while the mirror runs, or does not."""
    how.setdefault("pace", QUICK)
    with worked_out(pair) as (source, target, mirror, owner):
        return verification.run(source, target, mirror, owner, keep_keys=True, **how)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noted keys are looked up at once."""
    monkeypatch.setattr(streams, "LOOK_AT_KEYS", 0.1)


@contextlib.contextmanager
def foreign_hand(pair: Pair) -> Iterator[Client]:
    """Somebody else who writes at the destination."""
    client = Client(pair.destination, "superuser")
    try:
        yield client
    finally:
        client.close()


def tamper(pair: Pair, *statements: str) -> None:
    with foreign_hand(pair) as client:
        for sql in statements:
            client.run(sql)


def filled(pair: Pair, rows: int = 500) -> None:
    pair.make("create table items (id int primary key, name varchar(40), qty int)")
    with pair.app.transaction():
        for n in range(rows):
            pair.app.run("insert into items values (?, ?, ?)", n, f"item {n}", n % 7)


def running(pair: Pair, rows: int = 500, **reflection: Any) -> None:
    filled(pair, rows)
    pair.start({"table": "items", **reflection})
    where = {"items": reflection["where"]} if "where" in reflection else None
    pair.wait_equal(where, items=ITEMS)


def test_equal_tables_have_no_difference(pair: Pair) -> None:
    running(pair)
    result = verify(pair)
    assert result.equal, result
    assert (result.rows, result.differences, result.in_flight, result.found) == (500, 0, 0, ())


def test_every_kind_of_difference_is_found_by_its_key(pair: Pair) -> None:
    running(pair)
    tamper(
        pair,
        "update items set qty = qty + 1 where id = 77",
        "delete from items where id = 78",
        "insert into items values (9000, 'nobody''s', 1)",
    )
    result = verify(pair)
    assert not result.equal
    assert dict(result.differing) == {"different": 1, "missing": 1, "extra": 1}
    assert dict(result.columns) == {"qty": 1}
    assert set(result.found) == {
        Difference((77,), "different", ("qty",)),
        Difference((78,), "missing"),
        Difference((9000,), "extra"),
    }


def test_one_changed_bit_in_one_column_is_found(pair: Pair) -> None:
    pair.make("create table files (id int primary key, name varchar(40), content " + BYTES[pair.source.dialect] + ")")
    bits = random.Random(7)
    contents = [bits.randbytes(40) for _ in range(200)]
    with pair.app.transaction():
        for n, content in enumerate(contents):
            pair.app.run("insert into files values (?, 'file', ?)", n, content)
    pair.start("files")
    pair.wait_equal(files=("id", "name", "content"))
    flipped = bytearray(contents[123])
    flipped[39] ^= 1
    with foreign_hand(pair) as client:
        client.run("update files set content = ? where id = 123", bytes(flipped))
    result = verify(pair)
    assert result.found == (Difference((123,), "different", ("content",)),)


BYTES = {
    "postgresql": "bytea",
    "mysql": "varbinary(100)",
    "mariadb": "varbinary(100)",
    "sqlite": "blob",
    "firebird": "varchar(100) character set octets",
    "mssql": "varbinary(100)",
}

KEYS = {
    "a text": ("varchar(40)", lambda n: f"Key {n % 7} ÄÖ_{n}"),
    "a decimal": ("decimal(12,3)", lambda n: f"{n * 7919 % 1000 - 500}.{n:03d}"),
    "a moment": ("timestamp", lambda n: f"20{n % 60 + 10}-02-{n % 28 + 1:02d} 0{n % 10}:{n % 60:02d}:07"),
}


def _moments(pair: Pair) -> str:
    """A type for moments that both ends hold as finely."""
    source, destination = pair.source.dialect, pair.destination.dialect
    if source == "mssql":
        return "datetime2(0)"
    if source == "sqlite" and destination == "firebird":
        return "date"  # SQLite's own have more digits of a second
    if source == "postgresql" and destination in (*FAMILY, "firebird"):
        return "timestamp(0)"
    return "datetime" if source in FAMILY or (source == "sqlite" and destination in FAMILY) else "timestamp"


@pytest.mark.parametrize("kind", KEYS)
def test_keys_that_two_engines_sort_unlike(pair: Pair, kind: str) -> None:
    native, value = KEYS[kind]
    if kind == "a text" and pair.source.dialect in FAMILY:
        native += " collate utf8mb4_bin"
    if kind == "a text" and pair.source.dialect == "mssql":
        native += EXACT["mssql"]
    if kind == "a moment":
        native = _moments(pair)
    pair.make(f"create table things (code {native} not null primary key, qty int)")
    keys = list(dict.fromkeys(value(n)[: 10 if native == "date" else None] for n in range(400)))
    with pair.app.transaction():
        for n, key in enumerate(keys):
            pair.app.run("insert into things values (?, ?)", key, n)
    pair.start("things")
    pair.wait_equal(things=("code", "qty"))
    assert verify(pair, pace=Pace(rows=64)).equal
    gone, other = keys[11], keys[200]
    with foreign_hand(pair) as client:
        client.run("delete from things where code = ?", gone)
        client.run("update things set qty = -1 where code = ?", other)
    result = verify(pair, pace=Pace(rows=64))
    assert sorted((d.kind, d.columns) for d in result.found) == [("different", ("qty",)), ("missing", ())]
    assert result.rows == len(keys)


def test_a_key_of_several_integers(pair: Pair) -> None:
    pair.make("create table parts (shop int not null, pos bigint not null, qty int, primary key (shop, pos))")
    with pair.app.transaction():
        for n in range(300):
            pair.app.run("insert into parts values (?, ?, ?)", n % 9 - 4, n * 10**12, n)
    pair.start("parts")
    pair.wait_equal(parts=("shop", "pos", "qty"))
    result = verify(pair, pace=Pace(rows=37))
    assert result.equal
    assert result.ranges >= 8
    tamper(pair, "delete from parts where shop = -4 and pos = 0", "insert into parts values (99, -1, 0)")
    assert set(verify(pair, pace=Pace(rows=37)).found) == {
        Difference((-4, 0), "missing"),
        Difference((99, -1), "extra"),
    }


def test_many_extra_rows_beyond_the_sources_last_one_are_counted_in_short_ranges(pair: Pair) -> None:
    running(pair, rows=50)
    with foreign_hand(pair) as client, client.transaction():
        for n in range(400):
            client.run("insert into items values (?, 'x', 0)", 10_000 + n)
    result = verify(pair, pace=Pace(rows=40))
    assert dict(result.differing) == {"extra": 400}
    assert result.ranges >= 10


def test_only_rows_that_are_copied_count(pair: Pair) -> None:
    running(pair, where="qty <> 3")
    assert verify(pair).equal
    tamper(pair, "insert into items values (3, 'item 3', 3)")
    assert verify(pair).found == (Difference((3,), "extra"),)


TYPES: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "postgresql": (
        "create table kinds (id int primary key, b boolean, i2 smallint, i8 bigint, d numeric(20,6), dd numeric, "
        "r real, f double precision, t text, v varchar(20), c char(5), y bytea, da date, ti time, ts timestamp, "
        "tz timestamptz, u uuid, j json, jb jsonb)",
        [
            (1, *(None,) * 18),
            (2, True, -32768, 2**63 - 1, "-0.000001", "123456789012345678901234567890.5", 0.1, 0.1, "", "", "", b"",
             "2024-02-29", "00:00:00", "2024-02-29 23:59:59.999999", "2024-07-01 12:00:00+02",
             "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", '{"a": 1}', '{"b":2,"a":[1.50,1e2]}'),
            (3, False, 32767, -(2**63), "99999999999999.999999", "0", -1.5e30, 1e-300, "ü😀 'q' \\ %", "  x  ", "ab",
             bytes(range(256)), "0001-01-01", "23:59:59.000001", "1970-01-01 00:00:00", "1969-12-31 23:59:59.5+00",
             "00000000-0000-0000-0000-000000000000", "[1, 2,3]", '"text"'),
            (4, True, 0, 0, "1.500000", "1.50", 3.4028235e38, 1.7976931348623157e308, "a\nb\tc", "x", "12345", b"\x00",
             "9999-12-31", "12:34:56.789", "2000-01-01 00:00:00.1", "2000-01-01 00:00:00.123456+00", None, "null", "0"),
        ],
    ),
    "sqlite": (
        "create table kinds (id integer primary key, b boolean, i8 bigint, d decimal(12,3), dd decimal_text, r real, "
        "t text, v varchar(20), y blob, da date, ti time, ts timestamp, tz timestamptz, u uuid, j json_text)",
        [
            (1, *(None,) * 14),
            (2, 1, 2**63 - 1, -1.5, "123456789012345678901234567890.5", 0.1, "", "", b"", "2024-02-29", "00:00",
             "2024-02-29T23:59:59.999999Z", "2024-07-01 12:00:00+02:00", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
             '{"a": 1.50}'),
            (3, 0, -(2**63), 1234.5, "0", 1e-300, "ü😀 'q' \\ %", "  x  ", bytes(range(256)), "0001-01-01",
             "23:59:59.000001", "1970-01-01", "1969-12-31 23:59:59.5", "00000000-0000-0000-0000-000000000000", "[1]"),
        ],
    ),
    "mariadb": (
        "create table kinds (id int primary key, b boolean, i1 tinyint, u8 bigint unsigned, i8 bigint, "
        "d decimal(20,6), f double, t text, v varchar(20), c char(5), y varbinary(300), da date, ti time(6), "
        "ts datetime(6), tz timestamp(3) null, j json) default character set utf8mb4 collate utf8mb4_bin",
        [
            (1, *(None,) * 15),
            (2, 1, -128, 2**64 - 1, 2**63 - 1, "-0.000001", 0.1, "", "", "", b"", "2024-02-29", "00:00:00",
             "2024-02-29 23:59:59.999999", "2024-07-01 12:00:00.125", '{"a": 1.50}'),
            (3, 0, 127, 0, -(2**63), "99999999999999.999999", 1e-300, "ü😀 'q' \\ %", "  x  ", "ab",
             bytes(range(256)), "1000-01-01", "23:59:59.000001", "1970-01-01 00:00:00", "1970-01-02 00:00:00", "[1]"),
        ],
    ),
    "mssql": (
        "create table kinds (id int primary key, b bit, i1 tinyint, i2 smallint, i8 bigint, d decimal(20,6), m money, "
        "r real, f float, t nvarchar(max), v nvarchar(20), c char(5), y varbinary(300), da date, ti time(6), "
        "ts datetime2(6), dt datetime, tz datetimeoffset(3), u uniqueidentifier)",
        [
            (1, *(None,) * 18),
            (2, 1, 0, -32768, 2**63 - 1, "-0.000001", "922337203685477.5807", 0.1, 0.1, "", "", "", b"",
             "2024-02-29", "00:00:00", "2024-02-29 23:59:59.999999", "2024-02-29 12:00:00.003",
             "2024-07-01 12:00:00.125 +02:00", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
            (3, 0, 255, 32767, -(2**63), "99999999999999.999999", "-0.0001", -1.5e30, 1e-300, "ü😀 'q' \\ %", "  x  ",
             "ab", bytes(range(256)), "0001-01-01", "23:59:59.000001", "1970-01-01 00:00:00", "1753-01-01 00:00:00",
             "1969-12-31 23:59:59.5 +00:00", "00000000-0000-0000-0000-000000000000"),
        ],
    ),
    "firebird": (
        "create table kinds (id int primary key, b boolean, i2 smallint, i8 bigint, d numeric(18,6), r float, "
        "f double precision, t blob sub_type text, v varchar(20), c char(5), y varchar(300) character set octets, "
        "z blob sub_type binary, da date, ti time, ts timestamp)",
        [
            (1, *(None,) * 14),
            (2, True, -32768, 2**63 - 1, "-0.000001", 0.1, 0.1, "", "", "", b"", b"", "2024-02-29", "00:00:00",
             "2024-02-29 23:59:59.9999"),
            (3, False, 32767, -(2**63), "999999999999.999999", -1.5e30, 1e-300, "ü😀 'q' \\ %", "  x  ", "ab",
             bytes(range(256)), bytes(range(256)) * 300, "1000-01-01", "23:59:59.0001", "1970-01-01 00:00:00"),
        ],
    ),
}  # fmt: skip

FOR_FIREBIRD: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "postgresql": (
        "create table kinds (id int primary key, b boolean, i2 smallint, d numeric(18,6), r real, t text, "
        "v varchar(20), c char(5), y bytea, da date, ti time(4), ts timestamp(4), tz timestamptz(3), "
        "u uuid, j json, jb jsonb)",
        [
            (1, *(None,) * 15),
            (2, True, -32768, "-0.000001", 0.1, "", "", "", b"", "2024-02-29", "00:00:00", "2024-02-29 23:59:59.9999",
             "2024-07-01 12:00:00+02", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", '{"a": 1}', '{"b":2,"a":[1.50,1e2]}'),
            (3, False, 32767, "999999999999.999999", -1.5e30, "ü😀 'q' \\ %", "  x  ", "ab", bytes(range(256)),
             "0001-01-01", "23:59:59.0001", "1970-01-01 00:00:00", "1969-12-31 23:59:59.5+00",
             "00000000-0000-0000-0000-000000000000", "[1, 2,3]", '"text"'),
        ],
    ),
    "sqlite": (
        "create table kinds (id integer primary key, b boolean, i8 bigint, d decimal(12,3), r real, t text, "
        "v varchar(20), y blob, da date, u uuid, j json_text)",
        [
            (1, *(None,) * 10),
            (2, 1, 2**63 - 1, -1.5, 0.1, "", "", b"", "2024-02-29", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
             '{"a": 1.50}'),
        ],
    ),
    "mariadb": (
        "create table kinds (id int primary key, b boolean, i1 tinyint, i8 bigint, d decimal(18,6), f double, "
        "t text, v varchar(20), c char(5), y varbinary(300), da date, ti time(4), ts datetime(4), "
        "tz timestamp(3) null, j json) default character set utf8mb4 collate utf8mb4_bin",
        [
            (1, *(None,) * 14),
            (2, 1, -128, 2**63 - 1, "-0.000001", 0.1, "", "", "", b"", "2024-02-29", "00:00:00",
             "2024-02-29 23:59:59.9999", "2024-07-01 12:00:00.125", '{"a": 1.50}'),
        ],
    ),
    "mssql": (
        "create table kinds (id int primary key, b bit, i1 tinyint, i8 bigint, d decimal(18,6), m smallmoney, r real, "
        "f float, t nvarchar(max), v nvarchar(20), c char(5), y varbinary(300), da date, ti time(4), "
        "ts datetime2(4), dt datetime, tz datetimeoffset(3), u uniqueidentifier)",
        [
            (1, *(None,) * 17),
            (2, 1, 255, 2**63 - 1, "-0.000001", "-214748.3648", 0.1, 0.1, "", "", "", b"", "2024-02-29", "00:00:00",
             "2024-02-29 23:59:59.9999", "2024-02-29 12:00:00.003", "2024-07-01 12:00:00.125 +02:00",
             "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        ],
    ),
    "firebird": TYPES["firebird"],
}  # fmt: skip
"""What Firebird has room for: 18 digits, and four of a second."""


for kinds in (TYPES, FOR_FIREBIRD):
    kinds["mysql"] = kinds["mariadb"]


def test_equal_rows_of_every_type_have_no_difference(pair: Pair) -> None:
    create, rows = (FOR_FIREBIRD if pair.destination.dialect == "firebird" else TYPES)[pair.source.dialect]
    if pair.destination.dialect in (*FAMILY, "mssql"):
        # They have no decimals without a precision.
        create = create.replace("dd numeric", "dd numeric(38,5)").replace("dd decimal_text", "dd decimal_text(38,5)")
    pair.make(create)
    if pair.destination.dialect != pair.source.dialect:
        # The greatest of these have no room everywhere: a 32-bit float of MariaDB's, an integer of SQLite's.
        rows = [tuple({3.4028235e38: 3e38, 2**64 - 1: 2**63 - 1}.get(value, value) for value in row) for row in rows]
    marks = ["?"] * len(rows[0])
    if pair.source.dialect == "mssql":
        # Its driver sends NULL as a text, which not every type takes.
        natives = (column.split(" ", 1)[1] for column in create.removesuffix(")").split(" (", 1)[1].split(", "))
        marks = [f"cast(? as {native.removesuffix(' primary key')})" for native in natives]
    for row in rows:
        pair.app.run(f"insert into kinds values ({', '.join(marks)})", *row)
    mirror = pair.start("kinds")
    mirror.wait_phase("Streaming")
    result = verify(pair)
    assert result.equal, result
    assert result.rows == len(rows)


def test_floats_are_compared_by_value_to_the_last_bit(pair: Pair) -> None:
    natives = {"mysql": "double", "mariadb": "double", "sqlite": "real", "mssql": "float"}
    native = natives.get(pair.source.dialect, "double precision")
    pair.make(f"create table weights (id int primary key, kg {native})")
    values = [0.1, 1 / 3, -1e-300, 1.7976931348623157e308, 5e-324, 2.0**60, 0.0]
    for n, value in enumerate(values):
        pair.app.run("insert into weights values (?, ?)", n, value)
    pair.start("weights").wait_phase("Streaming")
    assert verify(pair).equal
    with foreign_hand(pair) as client:
        client.run("update weights set kg = ? where id = 1", 0.33333333333333337)
    result = verify(pair)
    assert result.found == (Difference((1,), "different", ("kg",)),)
    # Where one of the two cannot hash, all are.
    with worked_out(pair) as (source, target, _, _), source.step("test"), target.step("test"):
        hashing = source.dialect.hashes(source) and target.dialect.hashes(target)
    assert result.by_value == (("kg",) if hashing else ("id", "kg"))


# -- while it is written -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def busy(pair: Pair, rows: int = 500) -> Iterator[None]:
    """An application that inserts, updates, deletes and changes keys until the block ends."""
    over = threading.Event()
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        client, chance = Client(pair.source), random.Random(seed)
        low = seed * 10_000
        try:
            while not over.is_set():
                n = chance.randrange(rows)
                try:
                    with client.transaction():
                        client.run("update items set qty = qty + 1 where id = ?", n)
                        client.run("delete from items where id = ?", low + n + 1000)
                        client.run("insert into items values (?, 'new', ?)", low + n + 1000, n)
                except Exception as error:
                    # MariaDB's gap locks have two writers deadlock; Firebird lets whoever waited begin again.
                    if error.args[0] not in (1213, "40001") and "update conflicts" not in str(error):
                        raise
                over.wait(0.002)
        except BaseException as error:
            failed.append(error)
        finally:
            client.close()

    threads = [
        threading.Thread(target=work, args=(seed,)) for seed in ((1, 2) if pair.source.dialect != "sqlite" else (1,))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failed, failed


def test_a_busy_writer_causes_no_false_alarm_and_hides_no_difference(pair: Pair) -> None:
    running(pair)
    # A row that nobody writes again.
    pair.make("insert into items values (9500, 'quiet', 1)")
    with busy(pair):
        for _ in range(10):
            result = verify(pair)
            assert result.differences == 0, result
            assert not result.incomplete
        tamper(pair, "update items set qty = 2 where id = 9500")
        for _ in range(5):
            assert verify(pair).found == (Difference((9500,), "different", ("qty",)),)


def test_a_busy_writer_and_keys_that_are_compared_by_hash(pair: Pair) -> None:
    collate = " collate utf8mb4_bin" if pair.source.dialect in FAMILY else ""
    pair.make(f"create table things (code varchar(20){collate} not null primary key, qty int)")
    for n in range(300):
        pair.app.run("insert into things values (?, 0)", f"k{n}")
    pair.start("things")
    pair.wait_equal(things=("code", "qty"))
    over = threading.Event()

    def work() -> None:
        client, n = Client(pair.source), 0
        while not over.is_set():
            n += 1
            client.run("update things set qty = qty + 1 where code = ?", f"k{n * 7 % 250}")
            over.wait(0.002)
        client.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            assert verify(pair, pace=Pace(rows=100, patience=20)).differences == 0
        tamper(pair, "update things set qty = 5 where code = 'k299'")
        assert verify(pair).found == (Difference(("k299",), "different", ("qty",)),)
    finally:
        over.set()
        thread.join()


def test_what_a_stopped_mirror_has_not_applied_is_in_flight_and_what_differs_all_the_same_is_not(pair: Pair) -> None:
    running(pair)
    pair.stop()
    pair.make("update items set qty = 99 where id < 5", "delete from items where id = 400")
    tamper(pair, "update items set qty = 98 where id = 200")
    result = verify(pair, pace=Pace(patience=0.5))
    assert result.found == (Difference((200,), "different", ("qty",)),)
    assert result.in_flight == 6


def test_an_event_of_a_key_of_text_is_in_flight_as_well(pair: Pair) -> None:
    native = "nvarchar(20)" if pair.source.dialect == "mssql" else "varchar(20)"
    collate = " collate utf8mb4_bin" if pair.source.dialect in FAMILY else ""
    pair.make(
        f"create table things (code {native}{collate} not null primary key, qty int)",
        "insert into things values ('a', 1), ('b', 2), ('c d', 3)",
    )
    pair.start("things")
    pair.wait_equal(things=("code", "qty"))
    pair.stop()
    pair.make("update things set qty = 99 where code = 'c d'", "delete from things where code = 'a'")
    tamper(pair, "update things set qty = 5 where code = 'b'")
    result = verify(pair, pace=Pace(patience=0.5))
    assert result.found == (Difference(("b",), "different", ("qty",)),)
    assert result.in_flight == 2


def test_what_has_not_been_copied_cannot_be_compared(pair: Pair) -> None:
    running(pair)
    with foreign_hand(pair) as client:
        pair.stop()
        checkpoints = mirrors.ours(pair.destination, "checkpoints")
        client.run(f"delete from {checkpoints} where name like 'reflection/%'")
    with worked_out(pair, existing="Keep") as (source, target, mirror, owner):
        result = verification.run(source, target, mirror, owner)
    assert (result.incomplete, result.equal) == ("NotStarted", False)


# -- repair ------------------------------------------------------------------------------------------------------------


def test_repair_makes_them_equal(pair: Pair) -> None:
    running(pair)
    tamper(
        pair,
        "update items set qty = qty + 1 where id in (1, 2, 3)",
        "delete from items where id = 78",
        "insert into items values (9000, 'nobody''s', 1)",
    )
    result = verify(pair, repair=True)
    assert (result.differences, result.repaired, result.noted, result.held) == (5, 5, 0, 0)
    assert result.equal
    pair.wait_equal(items=ITEMS)
    assert verify(pair).equal
    assert not result.not_holding


def test_repair_deletes_no_more_rows_than_a_sweep_would(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pantograph.pipeline.sweep.DELETE_LIMIT_ROWS", 10)
    running(pair, rows=40)
    with foreign_hand(pair) as client, client.transaction():
        for n in range(30):
            client.run("insert into items values (?, 'x', 0)", 10_000 + n)
        client.run("delete from items where id = 3")
    result = verify(pair, repair=True)
    assert (result.held, result.repaired, result.equal) == (30, 1, False)
    again = verify(pair, repair=True, allowed_deletes=30)
    assert (again.held, again.repaired, again.equal) == (0, 30, True)
    pair.wait_equal(items=ITEMS)


TRIGGERS: dict[str, list[str]] = {
    "postgresql": [
        "create function meddle() returns trigger language plpgsql as $$begin new.qty := -7; return new; end$$",
        "create trigger meddle before insert or update on items for each row when (new.id = 42) "
        "execute function meddle()",
    ],
    "sqlite": [
        "create trigger meddle after update on items when new.id = 42 and new.qty <> -7 "
        "begin update items set qty = -7 where id = 42; end",
    ],
    "firebird": [
        "create trigger meddle for items before insert or update as begin if (new.id = 42) then new.qty = -7; end",
    ],
    "mssql": [
        "create trigger meddle on items after insert, update as begin set nocount on; update items set qty = -7 "
        "where id = 42 and qty <> -7 and id in (select id from inserted) end",
    ],
}
for engine in FAMILY:
    TRIGGERS[engine] = [
        "create trigger meddle before update on items for each row set new.qty = if(new.id = 42, -7, new.qty)"
    ]


def test_a_repair_that_does_not_hold_is_told_by_column_and_not_tried_again(pair: Pair) -> None:
    running(pair)
    tamper(pair, *TRIGGERS[pair.destination.dialect], "update items set qty = -7 where id in (42, 43)")
    first = verify(pair, repair=True)
    assert (first.differences, first.repaired) == (2, 1)
    assert dict(first.not_holding) == {"qty": 1}
    assert not first.equal
    again = verify(pair, repair=True)
    assert dict(again.not_holding) == {"qty": 1}
    assert (again.differences, again.repaired, again.noted) == (1, 0, 0)
    # Once the cause is gone and the row is written anew, nothing is left of it.
    tamper(pair, f"drop trigger meddle{' on items' if pair.destination.dialect == 'postgresql' else ''}")
    pair.make("update items set qty = 12 where id = 42")
    pair.wait_equal(items=ITEMS)
    assert verify(pair, repair=True).equal
    tamper(pair, "update items set qty = -7 where id = 42")
    assert verify(pair, repair=True).repaired == 1


def test_nothing_is_written_without_repair(pair: Pair) -> None:
    running(pair)
    tamper(pair, "update items set qty = -1 where id = 5")
    assert verify(pair).differences == 1
    assert verify(pair).differences == 1


# -- the command -------------------------------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], pair: Pair, *arguments: str) -> tuple[int, str, str]:
    """`pantograph verify`: its status, and what it printed on standard output and standard error."""
    path = mirrors.written(pair.documents)
    try:
        status = commands.main(["verify", "-f", str(path), *arguments])
    finally:
        path.unlink()
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def files(make_pair: MakePair) -> Pair:
    return make_pair("sqlite", "sqlite")


def test_the_command_says_equal_and_ends_with_0(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    running(pair)
    status, out, err = command(capsys, pair)
    assert (status, err) == (0, "")
    assert out.splitlines()[0].startswith("REFLECTION   RESULT")
    assert out.splitlines()[1].split()[:3] == ["t0", "equal", "500"]
    pair.stop()
    assert command(capsys, pair)[0] == 0


def test_the_command_counts_differences_and_never_shows_a_key_unasked(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.make("create table items (id int primary key, name varchar(40), qty int)")
    pair.make("insert into items values (700001, 'secret', 1), (700002, 'secret', 2), (700003, 'secret', 3)")
    pair.start("items")
    pair.wait_equal(items=ITEMS)
    tamper(pair, "update items set qty = 5 where id = 700001", "delete from items where id = 700002")
    status, out, err = command(capsys, pair)
    assert status == 3
    assert "7000" not in out + err
    assert "secret" not in out + err
    assert "t0: differs in qty (1)" in out
    status, out, err = command(capsys, pair, "-o", "json")
    assert status == 3
    (answer,) = json.loads(out)
    assert (answer["missing"], answer["different"], answer["columns"]) == (1, 1, {"qty": 1})
    assert "7000" not in out + err
    status, out, _ = command(capsys, pair, "--show-keys")
    assert status == 3
    assert "t0: different [700001] qty" in out
    assert "t0: missing [700002]" in out
    assert "secret" not in out


def test_the_command_repairs(files: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    running(files)
    tamper(files, "update items set qty = -1 where id = 5")
    status, out, _ = command(capsys, files, "--repair")
    assert status == 0, out
    assert out.splitlines()[1].split()[1] == "repaired"
    files.wait_equal(items=ITEMS)


def test_the_command_works_beside_run_in_another_process(
    make_pair: MakePair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = make_pair("postgresql", "postgresql")
    filled(pair)
    pair.documents = mirrors.documents(pair.source, pair.destination, ["items"])
    path = mirrors.written(pair.documents)
    # As users run it, but for looking at noted keys more often than once a minute.
    code = (
        "from pantograph.reflector import streams; streams.LOOK_AT_KEYS = 0.2; from pantograph.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "-f", str(path)],
        env={**os.environ, "PYTHONPATH": str(mirrors.ROOT / "operator")},
        stderr=subprocess.DEVNULL,
    )
    try:
        pair.wait_equal(items=ITEMS)
        with busy(pair):
            assert command(capsys, pair)[0] == 0
        tamper(pair, "delete from items where id = 499")
        assert command(capsys, pair)[0] == 3
        assert command(capsys, pair, "--repair")[0] == 0
        assert command(capsys, pair)[0] == 0
    finally:
        process.terminate()
        process.wait(30)
        path.unlink()


def test_the_command_says_what_has_not_begun(files: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    filled(files, 5)
    files.documents = mirrors.documents(files.source, files.destination, ["items"])
    status, out, _ = command(capsys, files)
    assert status == 3
    assert "NotStarted" in out
    # Nothing was made, for nothing was asked for but an answer.
    assert files.destination.execute("select count(*) from sqlite_master") == [(0,)]


def test_the_command_refuses_a_name_that_is_not_there(files: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    running(files, 5)
    status, out, err = command(capsys, files, "nobody")
    assert (status, out) == (2, "")
    assert "there is no Reflection nobody in the manifests; there are: t0" in err
    assert command(capsys, files, "t0")[0] == 0
    assert command(capsys, files, "default/t0")[0] == 0


def test_the_command_ends_with_4_when_a_database_cannot_be_reached(
    make_pair: MakePair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = make_pair("sqlite", "postgresql")
    running(pair, 5)
    pair.stop()
    for document in pair.documents:
        if document["kind"] == "Database" and document["metadata"]["name"] == "to":
            document["spec"]["port"] = 1
    status, out, err = command(capsys, pair)
    assert status == 4
    assert out.splitlines()[1].split()[:2] == ["t0", "Unreachable"]
    assert len(err.splitlines()) == 1
