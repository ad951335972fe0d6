"""Rows as they are now, in canonical values; as lines; and the texts that checksums are made of."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from pantograph import dialects, errors
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Role
from pantograph.model.changes import Position, Window
from pantograph.model.types import Kind, LogicalType
from tests.dialects.mariadb.conftest import World

TEXTS = ["", "plain", "tab\tnew\nline\r\\N \\ \\\\ ' \" % \x1a \x08", "ünïcödé 🦉", "\\N", "NULL", " blanks "]
# Some millions of steps where each escape moves all that follows it: a server would be at it for minutes.
TEXTS.append(TEXTS[2] * 30_000)
COLUMNS = (
    "id int primary key, b tinyint(1), bit1 bit(1), bits bit(9), d decimal(20,4), f float, g double, t varchar(60), "
    "l varchar(60) character set latin1, x varbinary(60), dt datetime(3), ts timestamp(6) null, dd date, tt time(2), "
    "j json, u uuid, e enum('a','bc'), ip inet6, y year"
)
FULL = (
    "1, 1, b'1', 300, -12.5, 1.1, 0.1, 'a', 'é', x'00ff5c0a', '2024-02-29 01:02:03.125', '2024-02-29 01:02:03.123456', "
    "'2024-02-29', '01:02:03.25', '{\"a\": \"\\\\n\"}', '123E4567-E89B-12D3-A456-426614174000', 'bc', '::1', 2024"
)
CANONICAL = (
    1, True, True, 300, "-12.5000", 1.100000023841858, 0.1, "a", "é", b"\x00\xff\\\n", "2024-02-29 01:02:03.125",
    "2024-02-29 01:02:03.123456", "2024-02-29", "01:02:03.25", '{"a": "\\n"}', "123e4567-e89b-12d3-a456-426614174000",
    "bc", "::1", 2024,
)  # fmt: skip


@pytest.fixture
def full(world):
    world.run("set time_zone = '+00:00'", f"create table wide ({COLUMNS})")
    world.run(f"insert into wide values ({FULL})", "insert into wide (id) values (2)", "create table copy like wide")
    return world.capture("wide")


def read(world, capture, mirror):
    reader = world.windows()
    until = reader.open(world.reader, [Position("")])
    rows = world.changes(mirror, reader, Window(Position(""), until))
    world.reader.rollback()
    return sorted(rows, key=lambda row: row[1])


def test_values_come_in_canonical_form(world, full):
    world.run("update wide set y = 2024 where id = 1", "delete from wide where id = 2")
    canonical = list(CANONICAL)
    if world.dialect.name == "mysql":
        canonical[15] = canonical[15].upper()  # a text there
    assert read(world, full, world.mirror(full, "copy")) == [(1, *canonical), (0, 2, *[None] * 18)]


def test_the_servers_defaults_are_not_ours(world, full):
    """Session settings hold whatever the server's are."""
    found = world.reader.row("select @@time_zone, @@sql_auto_is_null, @@character_set_results")
    assert found == ("+00:00", 0, "utf8mb4")
    isolation = "select variable_value from {} where variable_name in ('tx_isolation', 'transaction_isolation')"
    isolation = isolation.format(
        {"mysql": "performance_schema.session_variables"}.get(
            world.dialect.name, "information_schema.session_variables"
        )
    )
    # MariaDB 11 has it under both names.
    assert set(world.reader.rows(isolation)) == {("REPEATABLE-READ",)}
    assert set(world.writer.rows(isolation)) == {("READ-COMMITTED",)}
    assert "STRICT_ALL_TABLES" in world.writer.row("select @@sql_mode")[0]


def test_lines_are_what_a_destination_loads(world, my_db):
    world.run("create table t (id int primary key, t longtext, b longblob, f float, n int)", "create table copy like t")
    capture = world.capture("t")
    with world.app.cursor() as cursor:
        for n, text in enumerate(TEXTS):
            cursor.execute("insert into t values (%s, %s, %s, 1.1, null)", (n, text, text.encode() + b"\xff\x00\\\n"))
    world.run("insert into t (id) values (99)")
    place = World(my_db(), side="destination")
    try:
        place.run("create table copy (id int primary key, t longtext, b longblob, f float, n int)")
        mirror = world.mirror(capture, "copy", target=place)
        sql = world.dialect.chunk(mirror, after=False, upto=False)
        place.writer.begin()
        staged = world.dialect.pipe(world.reader, sql, {}, mirror, place.dialect, place.writer)
        assert (staged.rows, staged.present, staged.absent) == (len(TEXTS) + 1, len(TEXTS) + 1, 0)
        assert place.dialect.upsert(place.writer, mirror, staged) == len(TEXTS) + 1
        place.writer.commit()
        ours, theirs = "select * from t order by id", "select * from copy order by id"
        assert place.run(theirs) == world.run(ours)
        place.run("delete from copy")
        staged = world.dialect.pipe(world.reader, sql, {}, mirror, place.dialect, place.writer, direct=True)
        assert staged.rows == len(TEXTS) + 1
        assert place.run(theirs) == world.run(ours)
    finally:
        place.close()


def test_an_error_in_the_reading_of_lines_is_raised_as_it_is(world, pg_db):
    target_db = pg_db()
    world.run("create table t (id int primary key, v int)", "insert into t values (1, 1)", "create table copy like t")
    capture = world.capture("t")
    mirror = world.mirror(capture, "copy")
    target = dialects.load(base.Address("postgresql", **target_db.url("destination")))
    session = Session(target, Role.WRITER)
    try:
        with session.step("test"):
            session.begin()
            session.direct("create temporary table copy (id int, v int)")
            columns = tuple(
                dataclasses.replace(
                    c, destination_native="integer", destination_type=LogicalType(Kind.INTEGER, bits=32)
                )
                for c in mirror.columns
            )
            mirror = dataclasses.replace(mirror, columns=columns)
            broken = "select 1 as present, id as c0, (select v from t x, t y, missing) as c1 from t"
            with pytest.raises(errors.DatabaseError) as failed:
                world.dialect.pipe(world.reader, broken, {}, mirror, target, session)
            assert failed.value.code == "1146"
    finally:
        session.close()


def test_chunks_follow_the_key(world):
    world.run(
        "create table t (a int, b varchar(10) collate utf8mb4_general_ci, n int, primary key (b, a))",
        "insert into t select seq % 10, concat('k', seq div 10), seq from seq_1_to_100",
        "create table copy like t",
    )
    capture = world.capture("t")
    mirror = world.mirror(capture, "copy")
    assert capture.key == ("b", "a")
    seen, after = [], None
    while True:
        given = {f"a{i}": value for i, value in enumerate(after or ())}
        end = world.reader.row(world.dialect.chunk_end(mirror, after=after is not None), skip=6, **given)
        upto = {f"b{i}": value for i, value in enumerate(end or ())}
        sql = world.dialect.chunk(mirror, after=after is not None, upto=end is not None)
        seen += world.reader.rows(sql, **given, **upto)
        if end is None:
            break
        after = end
    assert len(seen) == len(set(seen)) == 100
    world.run("insert into t select seq, concat('m', seq), 0 from seq_1_to_3000", "analyze table t")
    plan = world.explained(world.dialect.chunk(mirror, after=True, upto=True), a0="k1", a1=3, b0="k3", b1=4)
    assert [access for _, access, *_ in plan] == ["range"]


@pytest.mark.parametrize("key", ["int", "varchar(20)", "varchar(20) character set latin1", "datetime(3)", "binary(4)"])
def test_changed_rows_are_looked_up_by_the_tables_key(world, key):
    world.run(f"create table t (id {key} primary key, v int)", "create table copy like t", "create table n (i int)")
    world.run("insert into n select seq from seq_1_to_5000")
    value = "date_add('2024-01-01', interval i second)" if key.startswith("datetime") else "lpad(i, 4, '0')"
    capture = world.capture("t")
    world.run(f"insert into t select {value}, i from n", "analyze table t")
    reader = world.windows()
    until = reader.open(world.reader, [Position("")])
    sql, params = reader.keys(capture, Window(Position(""), until))
    changes = world.dialect.changes(world.mirror(capture, "copy"), sql)
    plan = world.explained(changes, **params)
    found = world.reader.rows(changes, **params)
    world.reader.rollback()
    ((_, access, _, key),) = [row for row in plan if row[0] == "t"]
    assert access in ("eq_ref", "ref"), plan
    assert key == "PRIMARY"
    assert len(found) == 5000
    assert all(row[0] == 1 for row in found)


def test_given_keys(world):
    world.run("create table t (id bigint primary key, v int)", "insert into t values (1, 7)")
    world.run("create table copy like t")
    capture = world.capture("t")
    mirror = world.mirror(capture, "copy")
    sql, params = world.dialect.given_keys(world.reader, mirror, [(1,), (2,)])
    assert sorted(world.reader.rows(world.dialect.changes(mirror, sql), **params)) == [(0, 2, None), (1, 1, 7)]


# -- checksums ---------------------------------------------------------------------------------------------------------

_T = LogicalType


@pytest.mark.parametrize(
    ("sql", "type_", "text"),
    [
        ("cast(-7 as signed)", _T(Kind.INTEGER, bits=32), "-7"),
        ("true", _T(Kind.BOOLEAN), "1"),
        ("cast(12.50 as decimal(12,2))", _T(Kind.DECIMAL, precision=12, scale=2), "12.5"),
        ("cast(0 as decimal(12,2))", _T(Kind.DECIMAL, precision=12, scale=2), "0"),
        ("cast(-0.00 as decimal(12,2))", _T(Kind.DECIMAL, precision=12, scale=2), "0"),
        ("cast(100 as decimal(12,2))", _T(Kind.DECIMAL, precision=12, scale=2), "100"),
        ("cast(100 as decimal(12,0))", _T(Kind.DECIMAL, precision=12, scale=0), "100"),
        ("cast('2024-02-29 01:02:03' as datetime)", _T(Kind.TIMESTAMP, fraction=0), "2024-02-29 01:02:03.000000"),
        ("cast('01:02:03.5' as time(1))", _T(Kind.TIME, fraction=1), "01:02:03.500000"),
        ("cast('2024-02-29' as date)", _T(Kind.DATE), "2024-02-29"),
        ("x'00FF'", _T(Kind.BYTES), hashlib.sha256(b"\x00\xff").hexdigest()),
        ("'ünï'", _T(Kind.TEXT), "ünï"),
        ("b'101'", _T(Kind.INTEGER, bits=64, native="bit(3)"), "5"),
        ("cast('0000' as char)", _T(Kind.INTEGER, bits=16, native="year"), "0"),
        ("cast(null as date)", _T(Kind.DATE), None),
    ],
)
def test_a_value_has_the_text_that_every_engine_gives_it(world, sql, type_, text):
    assert world.side.row(f"select {world.dialect.canonical(sql, type_, type_)}") == (text,)


def test_texts_are_cut_to_the_coarser_precision(world):
    fine, coarse = _T(Kind.TIMESTAMP, fraction=6), _T(Kind.TIMESTAMP, fraction=3)
    sql = world.dialect.canonical("cast('2024-02-29 01:02:03.123999' as datetime(6))", fine, coarse)
    assert world.side.row(f"select {sql}") == ("2024-02-29 01:02:03.123000",)


def test_a_hash_is_of_lengths_and_texts(world):
    (found,) = world.side.row(f"select {world.dialect.hashed([chr(39) + 'ünï' + chr(39), 'null', chr(39) * 2])}")
    assert found == int(hashlib.sha256("3:ünï-0:".encode()).hexdigest()[:15], 16)


def test_floats_have_no_text_of_their_own(world):
    with pytest.raises(NotImplementedError):
        world.dialect.canonical("1", _T(Kind.FLOAT, bits=64), _T(Kind.FLOAT, bits=64))


# -- the catalog -------------------------------------------------------------------------------------------------------


def test_the_shape_of_a_table(world):
    world.run(
        "create table parents (id int primary key)",
        "create table t (b int, a varchar(20) character set latin1, g int generated always as (b + 1) stored, "
        "n bigint unsigned auto_increment, p int, primary key (n, b), unique named (a), "
        "constraint up foreign key (p) references parents (id) on delete cascade)",
    )
    shape = world.shape("t")
    assert shape.key == ("n", "b")
    assert shape.uniques == (("named", ("a",)),)
    assert shape.column("g").generated
    assert shape.column("n").identity
    assert shape.column("a").native == "varchar(20) character set latin1 collate latin1_swedish_ci"
    assert shape.column("a").type.folding
    (reference,) = shape.references
    assert (reference.parent, reference.on_delete, reference.table) == (("", "parents"), "CASCADE", ("", "t"))
    assert world.shape("parents").referenced_by == (reference,)
    assert world.shape("missing") is None
    assert world.shape("T") is None
    assert world.dialect.tables(world.side, "") == ["parents", "t"]


def test_fingerprints_change_with_the_table(world):
    world.run("create table t (id int primary key, v varchar(10))", "create table u (id int primary key)")
    tables = [("", "t"), ("", "u"), ("", "missing")]
    first = world.dialect.fingerprints(world.side, tables)
    assert set(first) == set(tables[:2])
    world.run("insert into t values (1, 'a')")
    assert world.dialect.fingerprints(world.side, tables) == first
    for change in ("modify v varchar(11)", "rename column v to w", "modify w varchar(11) collate utf8mb4_bin"):
        world.run(f"alter table t {change}")
        now = world.dialect.fingerprints(world.side, tables)
        assert now[("", "u")] == first[("", "u")]
        assert now[("", "t")] != first[("", "t")]
        first = now
    world.run(*(f"create table t{n} (id int primary key)" for n in range(20)))
    many = world.dialect.fingerprints(world.side, [*tables, *(("", f"t{n}") for n in range(20))])
    assert len(many) == 22
    assert many[("", "t")] == first[("", "t")]


def test_a_table_rebuilt_under_a_snapshot_is_contention(world):
    world.run("create table t (id int primary key, v int)", "create table copy like t")
    mirror = world.mirror(world.capture("t"), "copy")
    world.windows().open(world.reader, [Position("")])
    world.run("alter table t modify v bigint, algorithm = copy")
    with pytest.raises(errors.Contended):
        world.reader.rows(world.dialect.chunk(mirror, after=False, upto=False))
    world.reader.rollback()


def test_the_server_says_who_it_is(world, my_db):
    here, other = world.dialect.server(world.side), World(my_db())
    assert here == world.dialect.server(world.reader)
    assert other.dialect.server(other.side).place != here.place
    assert other.dialect.server(other.side).life == here.life
    other.close()


def test_what_cannot_be_a_source_is_refused_by_name(world):
    for role in Role:
        world.dialect.check(world.side, role)
    with world.database.server._as_superuser() as cursor:
        for name, value, reason in (("read_only", "1", "ReadOnly"), ("auto_increment_increment", "2", "IdIncrement")):
            cursor.execute(f"select @@global.{name}")
            before = cursor.fetchone()[0]
            try:
                cursor.execute(f"set global {name} = {value}")
                with pytest.raises(errors.Refused) as refused:
                    world.dialect.check(world.side, Role.READER)
                assert refused.value.reason == reason
            finally:
                cursor.execute(f"set global {name} = {before}")


def test_wrong_passwords_and_missing_rights_are_refusals(world):
    wrong = dialects.load(dataclasses.replace(world.dialect.address, password="x"))
    with pytest.raises(errors.Refused):
        Session(wrong, Role.READER)
    gone = dialects.load(dataclasses.replace(world.dialect.address, port=1))
    with pytest.raises(errors.Unreachable):
        Session(gone, Role.READER)
    unknown = dialects.load(dataclasses.replace(world.dialect.address, options={"colour": "red"}))
    with pytest.raises(errors.SpecError, match="colour"):
        Session(unknown, Role.READER)
    with pytest.raises(errors.Refused):
        world.side.run("insert into mysql.db values ()")
