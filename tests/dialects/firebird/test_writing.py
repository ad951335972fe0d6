"""Rows arrive as they are, whichever way, and rows that are equal are left alone."""

from __future__ import annotations

import math
import threading

import pytest

from pantograph import errors
from pantograph.dialects import base
from pantograph.dialects.firebird import bulk, packing

VALUES = [
    ("smallint", -32768), ("integer", 2147483647), ("bigint", -9223372036854775808),
    ("numeric(18,4)", "12345678901234.5678"),
    ("numeric(4,1)", "-999.9"), ("decimal(9,0)", "123456789"), ("double precision", 1.1), ("double precision", -5e-324),
    ("boolean", True), ("boolean", False), ("date", "0001-01-01"), ("date", "9999-12-31"), ("time", "23:59:59.999900"),
    ("timestamp", "2026-02-28 01:02:03.000400"), ("timestamp", "1899-12-31 23:59:59"),
    ("varchar(100) character set utf8", "Grüße, 日本 🎉 'quoted' \"too\" \\ %s :x"),
    ("varchar(100) character set utf8", ""), ("varchar(100) character set utf8", "  blanks  "),
    ("varchar(100) character set utf8", "a\r\nb\tc"), ("varchar(100) character set utf8", "nul\0inside"),
    ("blob sub_type text character set utf8", "x" * 1_000_000 + "🎉"), ("blob sub_type text character set utf8", ""),
    ("blob sub_type binary", bytes(range(256)) * 5000), ("varchar(300) character set octets", bytes(range(256))),
    ("blob sub_type binary", b""), ("char(5) character set utf8", "ab"),
    ("numeric(18,18)", "-0.123456789012345678"), ("double precision", 1.7976931348623157e308),
    ("double precision", 2.2250738585072014e-308), ("double precision", 123456789.12345679), ("double precision", 0.0),
    ("double precision", -0.0), ("double precision", 5e-324), ("double precision", -1e23), ("float", 16777217.0 - 1),
    ("varchar(100) character set utf8", "ends in nul\0"), ("blob sub_type binary", b"\0" * 9),
    ("blob sub_type text character set utf8", "🎉" * 2000), ("blob sub_type text character set utf8", "🎉" * 2001),
    ("varchar(8000) character set utf8", "x" * 8000), ("varchar(8001) character set utf8", "ü" * 8001),
    ("varchar(20) character set ascii", "plain "), ("timestamp", "0001-01-01 00:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("native", "value"), VALUES)
@pytest.mark.parametrize("way", ["upsert", "insert", "insert of parameters"])
def test_a_value_of_every_type_comes_back(world, native, value, way, monkeypatch):
    if way == "insert of parameters":
        monkeypatch.setattr(packing.Packing, "blocks", lambda self, rows: None)
    for table in ("origin", "copies"):
        world.run(f"create table {table} (id integer not null primary key, v {native})")
    mirror = world.mirror(world.capture("origin"), "copies")
    batches = [[(1, 1, value), (1, 2, None)]]
    world.writer.begin()
    if way != "upsert":
        world.dialect.insert(world.writer, mirror, batches)
    else:
        staged = world.dialect.stage(world.writer, mirror, batches)
        assert world.dialect.upsert(world.writer, mirror, staged) == 2
        assert world.dialect.upsert(world.writer, mirror, staged) == 0, "equal rows are left alone"
    world.writer.commit()
    # Read as a source would.
    column = mirror.columns[1]
    decode = world.dialect.decode(column.source_type)
    (got,), (nothing,) = world.side.rows(f"select {world.dialect.selected(column)} from copies order by id")
    assert nothing is None
    assert (decode(got) if decode else got) == value


def test_what_is_common_goes_packed_and_what_is_not_as_parameters(world):
    columns = "id integer not null primary key, v blob sub_type text character set utf8, d double precision, b blob"
    world.run(f"create table origin ({columns})", f"create table copies ({columns})")
    mirror = world.mirror(world.capture("origin"), "copies")
    packs = packing.Packing("copies", ["id", "v", "d", "b"], mirror.columns)
    rows = [(n, "x" * n, n / 3, None) for n in range(400)]
    blocks = packs.blocks(rows)
    assert sum(count for _, count in blocks) == 400
    assert max(len(data) for data, _ in blocks) <= packing.CAPACITY
    assert len(blocks) < 6
    for odd in (math.inf, math.nan, -0.0):
        assert packs.blocks([(1, "x", odd, None)]) is None
    assert packs.blocks([(1, "x" * 8001, 1.0, None)]) is None
    assert packs.blocks([(1, "x" * 8000, 1.0, b"y" * 8000)]) is not None
    batch = [[(1, *row) for row in rows] + [(1, 400, "x" * 9000, -0.0, b"y" * 9000), (1, 401, "last", 0.1, None)]]
    world.writer.begin()
    assert world.dialect.insert(world.writer, mirror, batch) == 402
    world.writer.commit()
    assert world.run("select count(*), sum(char_length(v)), sum(octet_length(b)) from copies") == [
        (402, 399 * 200 + 9004, 9000)
    ]


@pytest.fixture
def place(world):
    for table in ("origin", "copies"):
        world.run(f"create table {table} (id integer not null primary key, name varchar(20), qty integer)")
    world.run("insert into copies values (1, 'a', 1)", "insert into copies values (2, 'b', 2)")
    return world.mirror(world.capture("origin"), "copies")


def apply(world, mirror, rows):
    world.writer.begin()
    staged = world.dialect.stage(world.writer, mirror, [rows])
    changed = world.dialect.upsert(world.writer, mirror, staged)
    deleted = world.dialect.delete(world.writer, mirror, staged)
    world.writer.commit()
    return changed, deleted


def test_rows_are_inserted_changed_left_alone_and_deleted(world, place):
    rows = [(1, 1, "a", 1), (1, 3, "c", 3), (0, 2, None, None), (1, 4, None, 4), (0, 9, None, None)]
    assert apply(world, place, rows) == (2, 1)
    assert world.run("select * from copies order by id") == [(1, "a", 1), (3, "c", 3), (4, None, 4)]
    assert apply(world, place, [(1, 1, "a ", 1), (1, 4, "", 4)]) == (2, 0)
    assert world.run("select char_length(name) from copies order by id") == [(2,), (1,), (0,)]


def test_thousands_of_rows_of_any_width(world, place):
    rows = [(1, n, "x" * (n % 21), n) for n in range(3000)]
    assert apply(world, place, rows) == (3000, 0)
    assert apply(world, place, rows) == (0, 0)
    assert world.run("select count(*), sum(qty) from copies") == [(3000, 3000 * 2999 // 2)]


def test_a_stage_is_empty_in_the_next_transaction_and_made_only_once(world, place):
    apply(world, place, [(1, 5, "e", 5)])
    world.writer.begin()
    staged = world.dialect.stage(world.writer, place, [[]])
    assert (staged.rows, world.dialect.upsert(world.writer, place, staged)) == (0, 0)
    assert world.writer.rows(f"select * from {staged.source}") == []
    world.writer.rollback()


def test_keys_that_the_destination_holds_equal_are_never_merged(world):
    for table in ("origin", "words"):
        world.run(f"create table {table} (word varchar(10) character set utf8 not null primary key, n integer)")
    mirror = world.mirror(world.capture("origin"), "words")
    assert apply(world, mirror, [(1, "a", 1)]) == (1, 0)
    with pytest.raises(errors.Rejected) as raised:
        apply(world, mirror, [(1, "a ", 2)])
    world.writer.rollback()
    assert raised.value.kind == "unique"
    assert world.run("select n from words") == [(1,)]
    # The old spelling is gone at the source: it is the same row, written differently.
    assert apply(world, mirror, [(0, "a", None), (1, "a ", 2)]) == (1, 0)
    assert world.run("select char_length(word), n from words") == [(2, 2)]


def test_a_composite_key(world):
    for table in ("origin", "parts"):
        world.run(f"create table {table} (a integer not null, b varchar(5) not null, v integer, primary key (a, b))")
    mirror = world.mirror(world.capture("origin"), "parts")
    assert apply(world, mirror, [(1, 1, "x", 1), (1, 1, "y", 2), (1, 2, "x", 3)]) == (3, 0)
    assert apply(world, mirror, [(0, 1, "x", None), (1, 1, "y", 9)]) == (1, 1)
    assert world.run("select a, b, v from parts order by a, b") == [(1, "y", 9), (2, "x", 3)]


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("varchar(3)", "Zaphod", "length"),
        ("smallint", 314159, "type"),
        ("boolean", 7, "type"),
        ("date", "Zaphod", "type"),
    ],
)
def test_what_does_not_fit_is_rejected_without_its_value(world, column, value, kind):
    for table in ("origin", "copies"):
        world.run(f"create table {table} (id integer not null primary key, v {column})")
    mirror = world.mirror(world.capture("origin"), "copies")
    with pytest.raises(errors.Rejected) as raised:
        apply(world, mirror, [(1, 1, value)])
    world.writer.rollback()
    assert raised.value.kind == kind
    assert str(value) not in str(raised.value)


def test_a_name_that_is_too_long_is_refused_by_name(world, place):
    with pytest.raises(errors.SpecError, match="31 bytes"):
        world.dialect.create_table("", "n" * 32, world.shape("origin").columns, ("id",))


def test_an_array_is_refused_by_name(world):
    world.run("create table grids (id integer not null primary key, cells integer[3])")
    with pytest.raises(errors.SpecError, match=r"column cells is an array of integer, which cannot be copied"):
        world.dialect.create_table("", "copies", world.shape("grids").columns, ("id",))


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_stage_that_another_session_makes_at_the_same_time_is_no_refusal(world, ends):
    """Of two reflectors at once: the later one is told what is told of a definition that cannot be made at all."""
    for table in ("origin", "copies"):
        world.run(f"create table {table} (id integer not null primary key, v integer)")
    mirror = world.mirror(world.capture("origin"), "copies")
    target = bulk.Target(mirror, world.dialect)
    other = world.session(base.Role.WRITER).raw.raw.trans()
    other.begin()
    other.cursor().execute(f"create global temporary table {target.stage} {target.definition}")
    ended = threading.Timer(0.3, getattr(other, ends))
    ended.start()
    world.writer.begin()
    staged = world.dialect.stage(world.writer, mirror, [[(1, 1, 10)]])
    assert world.dialect.upsert(world.writer, mirror, staged) == 1
    world.writer.commit()
    ended.join()
    assert world.side.rows("select v from copies") == [(10,)]
