"""The stage and what is made of it: rows are as the source has them, and no other row is ever changed."""

from __future__ import annotations

import dataclasses
import time

import pytest

from pantograph import errors
from pantograph.dialects.base import Role, Staged
from pantograph.dialects.mysql import bulk
from tests.dialects.mariadb.conftest import World

MANY = bulk.HANDFUL + 50


@pytest.fixture
def place(my_db):
    made = World(my_db(), side="destination")
    yield made
    made.close()


def make(place, definition="id int primary key, name varchar(40), price decimal(12,2)", **kwargs):
    """A mirror of a table into another of the same columns, at one place."""
    from pantograph.model import names
    from pantograph.model.changes import Capture

    place.run(f"create table src ({definition})", f"create table dst ({definition})")
    shape = place.shape("src")
    capture = Capture(names.capture_id("", "src"), "", "src", shape.key, shape.key, "events_src")
    return place.mirror(capture, "dst", **kwargs)


def write(place, mirror, rows):
    """Stage, upsert, delete in one transaction; how many of each."""
    session, dialect = place.writer, place.dialect
    session.begin()
    try:
        staged = dialect.stage(session, mirror, [rows])
        changed = dialect.upsert(session, mirror, staged), dialect.delete(session, mirror, staged)
        dialect.unstage(session, mirror, staged)
        session.commit()
    except BaseException:
        session.rollback()
        raise
    return changed


def there(place):
    return sorted(place.run("select * from dst"))


@pytest.fixture(params=["literal", "load data", "insert"])
def way(request, monkeypatch):
    """A handful as a literal; many by LOAD DATA; many where the server does not allow that."""
    if request.param != "literal":
        monkeypatch.setattr(bulk, "HANDFUL", 0)
    if request.param == "insert":
        monkeypatch.setattr(bulk, "may_load", lambda session: False)
    return request.param


def test_rows_are_inserted_changed_left_alone_and_deleted(place, way):
    mirror = make(place)
    assert write(place, mirror, [(1, 1, "a", "1.50"), (1, 2, None, None), (0, 3, None, None)]) == (2, 0)
    assert write(place, mirror, [(1, 1, "a", "1.50"), (1, 2, "b", None)]) == (1, 0)
    assert write(place, mirror, [(0, 1, None, None), (1, 4, "d", "-3.00")]) == (1, 1)
    assert [(i, n) for i, n, _ in there(place)] == [(2, "b"), (4, "d")]


def test_many_rows_go_through_a_temporary_table(place):
    mirror = make(place)
    rows = [(1, n, f"name {n}", "1.00") for n in range(20_000)]
    assert write(place, mirror, rows) == (20_000, 0)
    assert write(place, mirror, rows) == (0, 0)
    assert write(place, mirror, [(0, n, None, None) for n in range(0, 20_000, 2)]) == (0, 10_000)
    assert len(there(place)) == 10_000


def test_staging_ends_no_transaction(place):
    mirror = make(place)
    place.writer.begin()
    place.writer.run("insert into dst values (-1, 'x', 0)")
    for _ in range(2):
        staged = place.dialect.stage(place.writer, mirror, [[(1, n, "a", "1") for n in range(MANY)]])
        assert not staged.literal
        place.dialect.upsert(place.writer, mirror, staged)
        place.dialect.unstage(place.writer, mirror, staged)
    place.writer.rollback()
    assert there(place) == []


def test_equal_rows_are_left_alone_and_fire_no_trigger(place, way):
    mirror = make(place)
    place.run(
        "create table fired (what varchar(10))",
        "create trigger u after update on dst for each row insert into fired values ('update')",
        "create trigger bi before insert on dst for each row insert into fired values ('insert')",
    )
    rows = [(1, n, "a", "1.50") for n in range(3)]
    write(place, mirror, rows)
    assert len(place.run("select * from fired")) == 3
    assert write(place, mirror, rows) == (0, 0)
    assert len(place.run("select * from fired")) == 3


def test_a_change_only_in_case_is_a_change(place, way):
    mirror = make(place, "id int primary key, name varchar(40) collate utf8mb4_general_ci")
    write(place, mirror, [(1, 1, "a")])
    assert write(place, mirror, [(1, 1, "A ")]) == (1, 0)
    assert there(place) == [(1, "A ")]


def test_a_column_that_others_write_stays_as_it_is(place, way):
    """Not null and without a default: an INSERT that becomes an UPDATE would not even begin."""
    mirror = make(place, "id int primary key, n int, theirs int not null", columns=[("id", "id"), ("n", "n")])
    place.run("insert into dst values (1, 1, 7)")
    assert write(place, mirror, [(1, 1, 2)]) == (1, 0)
    assert there(place) == [(1, 2, 7)]
    with pytest.raises(errors.Rejected) as rejected:
        write(place, mirror, [(1, 2, 2)])
    assert rejected.value.kind == "not null"


def test_a_key_only_reached_by_a_unique_index(place, way):
    """The destination numbers its rows itself, and is found by another key."""
    place.run("create table numbered (n int auto_increment primary key, id int not null unique, name varchar(40))")
    mirror = make(place, "id int primary key, name varchar(40)")
    mirror = dataclasses.replace(mirror, destination=("", "numbered"), other_uniques=True)
    write(place, mirror, [(1, 7, "a"), (1, 8, "b")])
    assert write(place, mirror, [(1, 7, "c"), (0, 8, None)]) == (1, 1)
    assert place.run("select * from numbered") == ((1, 7, "c"),)


def test_another_unique_key_never_rewrites_another_row(place, way):
    mirror = make(place, "id int primary key, code varchar(10) unique, n int", other_uniques=True)
    write(place, mirror, [(1, 1, "a", 1)])
    with pytest.raises(errors.Rejected) as rejected:
        write(place, mirror, [(1, 2, "a", 2)])
    assert (rejected.value.kind, rejected.value.constraint) == ("unique", "code")
    assert there(place) == [(1, "a", 1)]


def test_a_key_that_is_equal_for_the_destination_is_not_deleted(place, way):
    mirror = make(place, "name varchar(20) collate utf8mb4_general_ci primary key, n int")
    write(place, mirror, [(1, "a", 1), (1, "c", 1)])
    write(place, mirror, [(0, "a", None), (1, "A", 2), (0, "c", None)])
    assert there(place) == [("A", 2)]


def test_delete_of_all_staged_keys(place, way):
    mirror = make(place)
    write(place, mirror, [(1, 1, "a", "1"), (1, 2, "b", "1"), (1, 3, "c", "1")])
    place.writer.begin()
    staged = place.dialect.stage(place.writer, mirror, [[(1, 1, "x", "2"), (0, 2, None, None)]])
    assert place.dialect.delete(place.writer, mirror, staged, absent_only=False) == 2
    assert place.dialect.upsert(place.writer, mirror, staged) == 1
    place.writer.commit()
    assert [row[:2] for row in there(place)] == [(1, "x"), (3, "c")]


def test_nothing_staged_is_nothing_done(place, way):
    mirror = make(place)
    assert write(place, mirror, []) == (0, 0)


def test_a_composite_key(place, way):
    mirror = make(place, "a varchar(10) collate utf8mb4_bin, b datetime(3), n int, primary key (b, a)")
    moment = "2024-02-29 12:00:00.125"
    assert mirror.capture.key == ("b", "a")
    write(place, mirror, [(1, moment, "x", 1), (1, moment, "X", 2)])
    assert write(place, mirror, [(1, moment, "x", 1), (0, moment, "X", None)]) == (0, 1)
    assert len(there(place)) == 1


def test_a_table_of_nothing_but_its_key(place, way):
    mirror = make(place, "a int, b int, primary key (a, b)")
    assert write(place, mirror, [(1, 1, 2), (1, 2, 1)]) == (2, 0)
    assert write(place, mirror, [(1, 1, 2), (0, 2, 1)]) == (0, 1)
    assert there(place) == [(1, 2)]


def test_any_name(place, way):
    mirror = make(place, "`a % b` int primary key, `select` int, `it's \"``` varchar(20), `s` int, `d` int")
    write(place, mirror, [(1, 1, 2, "%s :x", 3, 4)])
    assert there(place) == [(1, 2, "%s :x", 3, 4)]


TEXTS = ["", "plain", "tab\tnew\nline\r\\N \\ \\\\ ' \" % \0 \x1a", "ünïcödé 🦉", "\\N", "NULL", " blanks "]


def test_texts_and_bytes_arrive_to_the_byte(place, way):
    mirror = make(place, "id int primary key, t longtext, b longblob, v varchar(100), j json")
    rows = [(1, n, text, text.encode() + b"\xff\x00\n\\", text, '{"a": "\\\\n"}') for n, text in enumerate(TEXTS)]
    rows.append((1, 99, None, None, None, None))
    write(place, mirror, rows)
    assert there(place) == [row[1:] for row in rows]
    assert write(place, mirror, rows) == (0, 0)


VALUES = {
    "bigint": -(2**63),
    "bigint unsigned": 2**64 - 1,
    "decimal(65,30)": "-12345678901234567890123456789012345.000000000000000000000000000001",
    "double": -1.7976931348623157e308,
    "float": 1.100000023841858,
    "float comment 'the greatest'": 3.4028234663852886e38,
    "date": "9999-12-31",
    "time(6)": "23:59:59.999999",
    "datetime(6)": "1000-01-01 00:00:00.000001",
    "timestamp(6)": "2037-12-31 23:59:59.123456",
    "bit(1)": True,
    "bit(17)": 65537,
    "bit(64)": 2**64 - 1,
    "year": 2155,
    "year comment 'none'": 0,
    "binary(4)": b"\0\1\2\xff",
    "enum('a','b')": "b",
    "set('a','b')": "a,b",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "inet6": "2001:db8::1",
    "tinyint(1)": 5,
}


@pytest.mark.parametrize("native", VALUES)
def test_a_value_of_every_type_comes_back(place, way, native):
    mirror = make(place, f"id int primary key, v {native}")
    value = VALUES[native]
    write(place, mirror, [(1, 1, value), (1, 2, None)])
    assert write(place, mirror, [(1, 1, value), (1, 2, None)]) == (0, 0)
    place.run("insert into src select * from dst")
    sql = place.dialect.chunk(mirror, after=False, upto=False)
    decode = place.dialect.decode(mirror.columns[1].source_type)
    found = {row[1]: row[2] for row in place.reader.rows(sql)}
    assert found == {1: decode(found[1]) and value if decode and not isinstance(value, int) else value, 2: None}


@pytest.mark.parametrize(
    ("columns", "row", "kind", "column"),
    [
        ("v varchar(3)", "secret", "length", "v"),
        ("v tinyint", 4711, "type", "v"),
        ("v int not null", None, "not null", "v"),
        ("v date", "infinity", "type", "v"),
        ("v int check (v < 10)", 4711, "check", ""),
        ("v varchar(3) character set latin1", "🦉", "type", "v"),
        ("v decimal(4,2)", "4711.00", "type", "v"),
        ("v double", float("inf"), "type", "v"),
        ("v float", float("nan"), "type", "v"),
    ],
)
def test_what_does_not_fit_is_rejected_without_its_value(place, way, columns, row, kind, column):
    mirror = make(place, f"id int primary key, {columns}")
    with pytest.raises(errors.Rejected) as rejected:
        write(place, mirror, [(1, 1, row)])
    # LOAD DATA, as MySQL for what comes from a SELECT, calls a text that is too long "truncated", as everything.
    assert rejected.value.kind in (kind, "type" if way == "load data" or place.dialect.name == "mysql" else kind)
    assert str(row) not in str(rejected.value) or row is None
    assert column in str(rejected.value)
    assert there(place) == []


def test_a_missing_parent_and_a_child_that_stays_are_named(place, way):
    place.run("create table parents (id int primary key)", "insert into parents values (1)")
    mirror = make(place, "id int primary key, parent int, foreign key (parent) references parents (id)")
    with pytest.raises(errors.Rejected) as rejected:
        write(place, mirror, [(1, 1, 4711)])
    assert rejected.value.kind == "foreign key"
    assert rejected.value.constraint == "dst_ibfk_1"
    assert rejected.value.table == "dst"
    assert "4711" not in str(rejected.value)


def test_plain_insert(place, way):
    mirror = make(place)
    rows = [(1, n, f"name {n}", "1.25") for n in range(500)]
    place.writer.begin()
    assert place.dialect.insert(place.writer, mirror, [rows[:300], rows[300:]]) == 500
    place.writer.commit()
    assert len(there(place)) == 500
    place.writer.begin()
    with pytest.raises(errors.Rejected):
        place.dialect.insert(place.writer, mirror, [rows[:1]])
    place.writer.rollback()


def test_no_more_is_locked_than_is_written(place):
    mirror = make(place)
    write(place, mirror, [(1, n, "a", "1") for n in range(0, 100, 10)])
    place.writer.begin()
    staged = place.dialect.stage(place.writer, mirror, [[(1, 10, "b", "1"), (0, 20, None, None), (1, 35, "n", "1")]])
    place.dialect.upsert(place.writer, mirror, staged)
    place.dialect.delete(place.writer, mirror, staged)
    began = time.perf_counter()
    place.run("insert into dst values (15, 'x', 1), (25, 'x', 1)", "update dst set name = 'z' where id = 30")
    assert time.perf_counter() - began < 1
    place.writer.commit()


def test_the_destination_is_created_with_what_holds_the_source(place):
    place.run(
        "create table src (id bigint unsigned primary key, b tinyint(1), d decimal(20,4), f float, g double, "
        "t varchar(40), l longtext, x varbinary(16), y longblob, dt datetime(3), ts timestamp(6) null, dd date, "
        "tt time(2), j json, u uuid, e enum('a','bc'))"
    )
    from pantograph.model import types
    from pantograph.model.tables import Column

    shape = place.shape("src")
    columns = [
        Column(c.name, c.type, place.dialect.native(c.type, key=c.name in shape.key), c.nullable) for c in shape.columns
    ]
    for statement in place.dialect.create_table("", "copy", columns, shape.key):
        place.writer.direct(statement.sql)
    copy = place.shape("copy")
    for before, after in zip(shape.columns, copy.columns, strict=True):
        assert types.misfit(before.type, after.type) is None, before.name
    place.writer.direct(
        place.dialect.add_column("", "copy", Column("more", shape.columns[5].type, columns[5].native)).sql
    )
    assert place.shape("copy").column("more").nullable


def test_staged_says_how_many(place, way):
    mirror = make(place)
    place.writer.begin()
    staged = place.dialect.stage(place.writer, mirror, [[(1, 1, "a", "1"), (0, 2, None, None)]])
    assert isinstance(staged, Staged)
    assert staged.rows == 2
    found = place.writer.rows if not staged.literal else None
    if found:
        assert len(found(f"select * from {staged.source}")) == 2
    place.writer.rollback()


def test_a_server_without_load_data_is_asked_once(place):
    session = place.session(Role.WRITER)
    assert bulk.may_load(session)
    assert bulk._may_load[session.raw] is True
