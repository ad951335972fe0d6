"""What a file holds, in its canonical form and back; what is not of its column's kind is refused and not shown."""

import dataclasses
import hashlib
import math

import pytest

from pantograph import errors
from pantograph.model.types import Kind, LogicalType

STORED = [
    ("integer", 2**63 - 1, 2**63 - 1),
    ("bigint", 5.0, 5),
    ("boolean", 1, True),
    ("boolean", "false", False),
    ("decimal(12,2)", 12.5, "12.50"),
    ("decimal(12,2)", 0.1 + 0.2, "0.30"),
    ("decimal(12,2)", 7, "7.00"),
    ("numeric", 7, "7"),
    ("numeric", "-0.000125", "-0.000125"),
    ("decimal_text(30,10)", "12345678901234567890.1234567890", "12345678901234567890.1234567890"),
    ("decimal_text(30,2)", "1.2300", "1.2300"),
    ("real", 3, 3.0),
    ("double precision", 0.1, 0.1),
    ("varchar(3)", "longer", "longer"),
    ("text", "é\u0000x", "é\u0000x"),
    ("string", "12", "12"),
    ("blob", b"\x00\xff", b"\x00\xff"),
    ("blob", "text", b"text"),
    ("date", "2026-02-28", "2026-02-28"),
    ("date", "2026-02-28T00:00:00", "2026-02-28"),
    ("time", "10:20", "10:20:00"),
    ("time", "10:20:30.5", "10:20:30.5"),
    ("timestamp", "2026-02-28 10:20:30.123456", "2026-02-28 10:20:30.123456"),
    ("datetime", "2026-02-28T10:20", "2026-02-28 10:20:00"),
    ("datetime", "2026-02-28", "2026-02-28 00:00:00"),
    ("timestamptz", "2026-02-28T10:20:30Z", "2026-02-28 10:20:30"),
    ("timestamptz", "2026-02-28 01:20:30.5+02:00", "2026-02-27 23:20:30.500000"),
    ("uuid", "AA0E8400-e29b-41d4-a716-446655440000", "aa0e8400-e29b-41d4-a716-446655440000"),
    ("uuid", bytes(16), "00000000-0000-0000-0000-000000000000"),
    ("json", '{"a": 1}', '{"a": 1}'),
    ("json_text", "1.0", "1.0"),
]
REFUSED = [
    ("integer", "secret"),
    ("integer", 1.5),
    ("boolean", 2),
    ("decimal(12,2)", 1.239),
    ("decimal(12,2)", "secret"),
    ("decimal_text(12,2)", "1.239"),
    ("decimal_text(38,2)", "12345678901234567890123456.239"),
    ("decimal", math.inf),
    ("real", "secret"),
    ("text", b"secret"),
    ("blob", 5),
    ("date", "28.02.2026"),
    ("date", 20260228),
    ("time", "secret"),
    ("timestamp", 1767225600),
    ("timestamp", "2026-02-28 10:20:30.1234567"),
    ("timestamptz", "2026-02-31 10:20:30+02:00"),
    ("uuid", "secret"),
    ("uuid", b"secret"),
    ("json", b"secret"),
]


def _stored(world, declared, value):
    world.app.execute(f"create table t (id integer primary key, v {declared})")
    world.app.execute("insert into t values (1, ?)", (value,))
    column = world.shape("t").column("v")
    (found,) = world.reader.row("select v from t")
    return world.dialect.decode(column.type)(found)


@pytest.mark.parametrize(("declared", "value", "canonical"), STORED)
def test_a_stored_value_has_one_canonical_form(world, declared, value, canonical):
    found = _stored(world, declared, value)
    assert (found, type(found)) == (canonical, type(canonical))


@pytest.mark.parametrize(("declared", "value"), REFUSED)
def test_a_value_that_is_not_of_its_kind_is_refused_and_not_shown(world, declared, value):
    with pytest.raises(errors.Rejected) as caught:
        _stored(world, declared, value)
    assert caught.value.kind == "type"
    assert str(value) not in str(caught.value)
    assert "secret" not in str(caught.value)


LOGICAL = [
    (LogicalType(Kind.BOOLEAN), [True, False]),
    (LogicalType(Kind.INTEGER, bits=64), [-(2**63), 2**63 - 1, 0]),
    (LogicalType(Kind.DECIMAL, precision=15, scale=2), ["9999999999999.99", "-0.01", "100.00", "NaN"]),
    (LogicalType(Kind.DECIMAL, precision=15, scale=15), ["0.123456789012345", "0.999999999999999"]),
    (LogicalType(Kind.DECIMAL, precision=38, scale=10), ["1234567890123456789012345678.0123456789"]),
    (LogicalType(Kind.DECIMAL), ["1" * 100 + ".5", "0.10", "Infinity", "-Infinity"]),
    (LogicalType(Kind.FLOAT, bits=64), [0.1, -math.inf, 5e-324, 1e308]),
    (LogicalType(Kind.TEXT), ["007", "1e5", " x ", "", "\U0001f600", "a\u0000b"]),
    (LogicalType(Kind.TEXT, length=10), ["0012.500"]),
    (LogicalType(Kind.BYTES), [b"", b"12", bytes(range(256))]),
    (LogicalType(Kind.BYTES, length=16), [b"12"]),
    (LogicalType(Kind.DATE), ["2026-01-01", "0001-01-01", "9999-12-31"]),
    (LogicalType(Kind.TIME), ["00:00:00", "23:59:59.999999"]),
    (LogicalType(Kind.TIMESTAMP), ["2026-01-01 00:00:00", "0001-01-01 10:20:30.123456"]),
    (LogicalType(Kind.TIMESTAMP, zoned=True), ["2026-01-01 00:00:00"]),
    (LogicalType(Kind.UUID), ["12345678-1234-1234-1234-123456789012", "00000000-0000-0000-0000-00000000000e"]),
    (LogicalType(Kind.JSON), ["1.0", "12345678901234567890.123", "1e5", '"x"', "null", '{"b": 1,  "a": 2}']),
]


@pytest.mark.parametrize(("type_", "samples"), LOGICAL, ids=[f"{t}-{n}" for n, (t, _) in enumerate(LOGICAL)])
def test_what_is_written_is_read_back_to_the_last_digit(world, type_, samples):
    dialect, native = world.dialect, world.dialect.native(type_)
    world.app.execute(f"create table t (id integer primary key, v {native})")
    assert world.shape("t").column("v").type == type_
    world.app.execute(f"create table copy (id integer primary key, v {native})")
    mirror = world.mirror(world.capture("t"), "copy")
    rows = [(1, n, value) for n, value in enumerate(samples)]
    assert world.write(mirror, rows) == (len(rows), 0)
    assert world.write(mirror, rows) == (0, 0)
    decode = dialect.decode(type_)
    found = [decode(value) for (value,) in world.reader.rows("select v from copy order by id")]
    assert [(value, type(value)) for value in found] == [(value, type(value)) for value in samples]


def test_unsigned_integers_of_64_bits_keep_every_digit(world):
    native = world.dialect.native(LogicalType(Kind.INTEGER, bits=64, unsigned=True))
    world.app.execute("create table t (id integer primary key, v integer)")
    world.app.execute(f"create table copy (id integer primary key, v {native})")
    mirror = world.mirror(world.capture("t"), "copy")
    world.write(mirror, [(1, 1, str(2**64 - 1)), (1, 2, 5)])
    assert world.app.execute("select v from copy order by id").fetchall() == [(str(2**64 - 1),), ("5",)]


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("real", math.nan),
        ("integer", 2**63),
        ("text", "\ud800"),
        ("boolean", 2),
        ("date", "infinity"),
        ("date", "0044-03-15 BC"),
        ("time", "-00:00:01"),
        ("time", "838:59:59"),
        ("timestamp", "infinity"),
    ],
)
def test_what_the_file_cannot_hold_is_refused_and_not_turned_into_something_else(world, declared, value):
    world.app.execute(f"create table t (id integer primary key, v {declared})")
    world.app.execute(f"create table copy (id integer primary key, v {declared})")
    mirror = world.mirror(world.capture("t"), "copy")
    with pytest.raises(errors.Rejected) as caught:
        world.write(mirror, [(1, 1, value)])
    assert caught.value.kind == "type"
    assert str(2**63) not in str(caught.value)


CANONICAL = [
    ("integer", 5, {}, "5"),
    ("boolean", 1, {}, "1"),
    ("decimal(12,4)", 12.5, {}, "12.5"),
    ("decimal(12,4)", 0, {}, "0"),
    ("decimal(12,4)", -0.0, {}, "0"),
    ("decimal_text(30,4)", "100.0000", {}, "100"),
    ("timestamp", "2026-01-01 10:00:00.123456", {"fraction": 3}, "2026-01-01 10:00:00.123000"),
    ("timestamp", "2026-01-01T10:00:00", {}, "2026-01-01 10:00:00.000000"),
    ("date", "2026-01-01", {}, "2026-01-01"),
    ("time", "10:00:00", {}, "10:00:00.000000"),
    ("blob", b"\xab", {}, hashlib.sha256(b"\xab").hexdigest()),
    ("text", " é ", {}, " é "),
    ("uuid", bytes(16), {}, "00000000-0000-0000-0000-000000000000"),
    ("text", None, {}, None),
    ("timestamp", 5, {}, "?"),
]


@pytest.mark.parametrize(("declared", "value", "changes", "text"), CANONICAL)
def test_checksums_see_one_text_for_one_value(world, declared, value, changes, text):
    world.app.execute(f"create table t (id integer primary key, v {declared})")
    world.app.execute("insert into t values (1, ?)", (value,))
    type_ = world.shape("t").column("v").type
    sql = world.dialect.canonical("v", type_, dataclasses.replace(type_, **changes))
    assert world.reader.row(f"select {sql} from t") == (text,)


def test_a_floating_number_has_no_text_of_its_own(world):
    type_ = LogicalType(Kind.FLOAT, bits=64)
    with pytest.raises(NotImplementedError):
        world.dialect.canonical("v", type_, type_)


def test_hashes_tell_null_from_nothing_and_count_characters(world):
    def of(*texts):
        sql = world.dialect.hashed([f":t{i}" for i in range(len(texts))])
        (found,) = world.reader.row(f"select {sql}", **{f"t{i}": text for i, text in enumerate(texts)})
        return found

    assert of("a", None) != of("", "a")
    assert of("é", None) == int(hashlib.sha256("1:é-".encode()).hexdigest()[:15], 16)
    assert 0 <= of("x") < 2**60


def test_a_sum_of_hashes_does_not_overflow(world):
    sql = f"select {world.dialect.total('h')} from (select {2**60 - 1} as h from json_each(:many)) "
    assert int(world.reader.row(sql, many=str(list(range(100))))[0]) == 100 * (2**60 - 1)
