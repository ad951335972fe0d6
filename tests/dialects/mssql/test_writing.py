"""What is staged is applied: rows that differ change, absent ones come or go, and nobody else's row is touched."""

from __future__ import annotations

import pytest

from pantograph import errors

ROWS = [(1, 1, "a", 1), (1, 2, "b", None), (1, 3, "it's \"\\\n é 💡", 3)]


@pytest.fixture
def copy(world, items):
    world.run("create table copy (id int not null primary key, name nvarchar(40), qty int)")
    return world.mirror(items, "copy")


def apply(world, mirror, rows, **more):
    """Stage and apply in one transaction; how many changed and how many went."""
    world.writer.begin()
    staged = world.dialect.stage(world.writer, mirror, [rows])
    changed = world.dialect.upsert(world.writer, mirror, staged)
    gone = world.dialect.delete(world.writer, mirror, staged, **more)
    world.dialect.unstage(world.writer, mirror, staged)
    world.writer.commit()
    return changed, gone


def held(world, table="copy"):
    return [tuple(row) for row in world.run(f"select * from {table} order by 1")]


def test_rows_come_change_and_go_and_equal_ones_are_left_alone(world, copy):
    assert apply(world, copy, ROWS) == (3, 0)
    assert held(world) == [row[1:] for row in ROWS]
    assert apply(world, copy, ROWS) == (0, 0)
    assert apply(world, copy, [(1, 1, "A", 1), (1, 2, "b", 7), (0, 3, None, None)]) == (2, 1)
    assert held(world) == [(1, "A", 1), (2, "b", 7)]


def test_many_rows_go_in_several_statements(world, copy):
    rows = [(1, n, f"row {n}", n) for n in range(700)]
    assert apply(world, copy, rows) == (700, 0)
    assert held(world) == [row[1:] for row in rows]


def test_a_stage_that_was_rolled_back_is_made_again(world, copy):
    dialect, writer = world.dialect, world.writer
    for _ in range(2):
        writer.begin()
        writer.direct(dialect.savepoint("here"))
        dialect.stage(writer, copy, [ROWS])
        writer.direct(dialect.back_to_savepoint("here"))
        staged = dialect.stage(writer, copy, [ROWS[:2]])
        assert dialect.upsert(writer, copy, staged) == 2
        writer.rollback()
    assert apply(world, copy, ROWS) == (3, 0)


def test_a_first_copy_is_a_plain_insert(world, copy):
    world.writer.begin()
    assert world.dialect.insert(world.writer, copy, [ROWS]) == 3
    world.writer.commit()
    assert held(world) == [row[1:] for row in ROWS]


def test_a_key_that_is_only_spelled_differently_is_the_row_and_is_not_deleted(world):
    world.run("create table words (word nvarchar(10) not null primary key, n int)")
    words = world.capture("words")
    world.run("create table spelled (word nvarchar(10) not null primary key, n int)")
    mirror = world.mirror(words, "spelled")
    apply(world, mirror, [(1, "a", 1)])
    assert apply(world, mirror, [(0, "a", None), (1, "A", 1)]) == (1, 0)
    assert held(world, "spelled") == [("A", 1)]


def test_a_numbered_column_takes_the_numbers_of_the_source(world, items):
    world.run("create table numbered (id int identity primary key, name nvarchar(20), qty int)")
    mirror = world.mirror(items, "numbered")
    apply(world, mirror, [(1, 40, "a", 1)])
    assert apply(world, mirror, [(1, 40, "b", 1)]) == (1, 0)
    assert held(world, "numbered") == [(40, "b", 1)]
    (numbering,) = world.dialect.numberings(world.admin, "", "numbered")
    assert numbering.column == "id"


def test_setting_columns_in_place_of_deleting(world, copy):
    apply(world, copy, ROWS)
    world.writer.begin()
    staged = world.dialect.stage(world.writer, copy, [[(0, 1, None, None), (1, 2, "b", None)]])
    changed = world.dialect.change_absent(world.writer, copy, staged, [('"name"', "null")], '"qty" is null')
    world.dialect.blank(world.writer, copy, staged, ["qty"])
    world.writer.commit()
    assert changed == 1
    assert held(world)[:2] == [(1, None, None), (2, "b", None)]


def test_a_row_that_does_not_fit_is_rejected_by_its_kind_and_the_transaction_goes_on(world, copy):
    world.run("create unique index once on copy (qty)")
    world.writer.begin()
    dialect = world.dialect
    staged = dialect.stage(world.writer, copy, [[(1, 1, "a", 1)]])
    dialect.upsert(world.writer, copy, staged)
    world.writer.direct(dialect.savepoint("here"))
    staged = dialect.stage(world.writer, copy, [[(1, 2, "b", 1)]])
    with pytest.raises(errors.Rejected) as caught:
        dialect.upsert(world.writer, copy, staged)
    assert caught.value.kind == "unique"
    world.writer.direct(dialect.back_to_savepoint("here"))
    world.writer.commit()
    assert held(world) == [(1, "a", 1)]


def test_two_writers_who_wait_for_each_other_are_told_so(world, copy):
    apply(world, copy, ROWS)
    other = world.application()
    world.run("begin transaction", "update copy set qty = 9 where id = 1", on=other)
    world.writer.direct("set lock_timeout 200")
    world.writer.begin()
    with pytest.raises(errors.Contended):
        world.writer.direct("update copy set qty = 8 where id = 1")
    world.writer.rollback()
    world.run("rollback transaction", on=other)


TYPES = {
    "bit": [True, False], "tinyint": [0, 255], "smallint": [-(2**15), 2**15 - 1], "int": [-(2**31), 2**31 - 1],
    "bigint": [-(2**63), 2**63 - 1], "decimal(38,10)": ["1234567890123456789012345678.0123456789", "-0.0000000001"],
    "money": ["-1.5000", "922337203685477.5807"], "float": [0.1 + 0.2, -1.5e300], "real": [0.5, -1.25],
    "nvarchar(20)": ["é 💡", "", "a\r\nb"], "nvarchar(max)": ["x" * 100_000], "varchar(20)": ["plain"],
    "varbinary(20)": [b"\0\xff\x0a", b""], "varbinary(max)": [bytes(range(256)) * 400],
    "date": ["0001-01-01", "9999-12-31"], "time(6)": ["23:59:59.999999", "00:00:00.000000"],
    "datetime2(6)": ["0001-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999"],
    "datetime2(7)": ["2024-02-29 12:00:00.1234567"], "datetime": ["1753-01-01 00:00:00.003"],
    "smalldatetime": ["2024-02-29 12:34:00"], "datetimeoffset(3)": ["2024-02-29 12:00:00.123"],
    "uniqueidentifier": ["6f9619ff-8b86-d011-b42d-00c04fc964ff"],
}  # fmt: skip


@pytest.mark.parametrize("native", TYPES)
def test_values_of_every_type_come_back_as_they_were_written(world, native):
    world.run(f"create table typed (id int not null primary key, v {native})")
    mirror = world.mirror(world.capture("typed"), "typed")
    rows = [(1, n, value) for n, value in enumerate([*TYPES[native], None])]
    apply(world, mirror, rows)
    assert apply(world, mirror, rows) == (0, 0)
    decode = world.dialect.decode(mirror.columns[1].destination_type)
    found = world.side.rows(world.dialect.chunk(mirror, after=False, upto=False))
    read = {row[1]: decode(row[2]) if decode and row[2] is not None else row[2] for row in found}
    assert read == {row[1]: row[2] for row in rows}


TIGHT = [
    ("varchar(5) collate Latin1_General_CI_AS", "Ä€", "☂"), ("varchar(5) collate Cyrillic_General_CI_AS", "Дa", "Ä€☂"),
    ("varchar(5) collate Latin1_General_CI_AS", "12345", "123456"), ("nvarchar(4)", "💡💡", "💡💡💡"),
    ("varbinary(3)", b"\0\1\2", b"\0\1\2\3"), ("decimal(4,2)", "-99.99", "100.00"), ("tinyint", 255, 256),
    ("date", "0001-01-01", "0000-00-00"), ("time(3)", "23:59:59.999", "24:00:00"),
    ("datetime2(3)", "9999-12-31 23:59:59.999", "10000-01-01 00:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("native", "fits", "not_"), TIGHT)
def test_a_value_for_which_there_is_no_room_is_refused_and_not_changed(world, native, fits, not_):
    world.run(f"create table tight (id int not null primary key, v {native})")
    mirror = world.mirror(world.capture("tight"), "tight")
    with pytest.raises(errors.Rejected, match="column v"):
        apply(world, mirror, [(1, 1, fits), (1, 2, not_)])
    # Of the transaction all is there yet: other rows of it are written, and this one is set aside.
    world.writer.commit()
    assert apply(world, mirror, [(1, 1, fits)]) == (1, 0)
    decode = world.dialect.decode(mirror.columns[1].destination_type) or (lambda value: value)
    ((_, _, value),) = world.side.rows(world.dialect.chunk(mirror, after=False, upto=False))
    assert decode(value) == fits


KEYS = [
    "int",
    "nvarchar(20)",
    "char(5)",
    "date",
    "datetime2(3)",
    "datetime",
    "decimal(12,2)",
    "uniqueidentifier",
    "varbinary(8)",
]


@pytest.mark.parametrize("native", KEYS)
def test_a_changed_row_is_looked_up_by_a_key_of_any_type(world, native):
    world.run(f"create table keyed (k {native} not null, n int not null, v int, primary key (k, n))")
    one = world.capture("keyed")
    mirror = world.mirror(one, "keyed")
    values = {"int": "7", "date": "'2024-02-29'", "datetime2(3)": "'2024-02-29 10:00:00.123'", "decimal(12,2)": "1.50",
              "datetime": "'2024-02-29 10:00:00.003'", "uniqueidentifier": "'6f9619ff-8b86-d011-b42d-00c04fc964ff'",
              "varbinary(8)": "0x00ff"}  # fmt: skip
    value = values.get(native, "N'ab'")
    world.run(f"insert into keyed values ({value}, 1, 5), ({value}, 2, 6)", "delete from keyed where n = 2")
    reader = world.windows()
    from pantograph.model.changes import NOWHERE, Window

    until = reader.open(world.reader, [])
    keys, params = reader.keys(one, Window(NOWHERE, until))
    found = world.reader.rows(world.dialect.changes(mirror, keys), **params)
    assert sorted((row[0], row[2], row[3]) for row in found) == [(0, 2, None), (1, 1, 5)]
    world.reader.rollback()
    decode = world.dialect.decode(mirror.columns[0].source_type) or (lambda v: v)
    ((_, k, n, _),) = [row for row in found if row[0]]
    given, params = world.dialect.given_keys(world.side, mirror, [(decode(k), n)])
    assert [row[0] for row in world.side.rows(world.dialect.changes(mirror, given), **params)] == [1]
    beyond = world.dialect.chunk(mirror, after=False, upto=True)
    assert len(world.side.rows(beyond, b0=decode(k), b1=n)) == 1


def test_a_sweep_walks_the_table_in_the_order_of_its_key(world, items):
    mirror = world.mirror(items, "items")
    world.run(*(f"insert into items values ({n}, 'x', {n})" for n in range(10)))
    ((end,),) = world.side.rows(world.dialect.chunk_end(mirror, after=False), skip=3)
    assert end == 3
    ((end,),) = world.side.rows(world.dialect.chunk_end(mirror, after=True), skip=3, a0=3)
    assert end == 7
    assert len(world.side.rows(world.dialect.chunk(mirror, after=True, upto=True), a0=3, b0=7)) == 4


def test_a_table_is_made_with_a_key_that_takes_nothing_for_equal(world):
    from pantograph.model.tables import Column
    from pantograph.model.types import Kind, LogicalType

    dialect = world.dialect
    key = dialect.native(LogicalType(Kind.TEXT, length=20), key=True)
    columns = [Column("word", dialect.logical(key), key, nullable=False), Column("n", dialect.logical("int"), "int")]
    for statement in dialect.create_table("", "made", columns, ["word"]):
        world.admin.direct(statement.sql)
    world.run("insert into made values (N'a', 1), (N'A', 2)")
    shape = world.shape("made")
    assert shape.key == ("word",)
    assert not shape.column("word").type.folding


def test_a_column_that_is_added_or_gets_another_type_is_seen(world, copy):
    from pantograph.model.tables import Column

    dialect = world.dialect
    seen = [dialect.fingerprints(world.admin, [("dbo", "copy")])]
    world.admin.direct(dialect.add_column("", "copy", Column("more", dialect.logical("int"), "int")).sql)
    seen.append(dialect.fingerprints(world.admin, [("dbo", "copy")]))
    assert seen[0] != seen[1]
    world.admin.direct(dialect.change_type("", "copy", world.shape("copy").column("qty"), "bigint").sql)
    assert dialect.fingerprints(world.admin, [("dbo", "copy")]) not in seen


def test_a_row_has_the_hash_that_every_engine_gives_it(world):
    import hashlib

    from pantograph.dialects.mssql import types

    world.run("create table h (id int, t nvarchar(20), d decimal(12,4), m datetime2(3), b varbinary(9))")
    world.run("insert into h values (1, N'a é 💡 ', 12.5000, '2024-02-29 01:02:03.120', 0x00ff)")
    columns = {"t": "nvarchar(20)", "d": "decimal(12,4)", "m": "datetime2(3)", "b": "varbinary(9)", "id": "int"}
    texts = [types.canonical(f'"{c}"', types.logical(t), types.logical(t)) for c, t in columns.items()]
    expected = ["a é 💡 ", "12.5", "2024-02-29 01:02:03.120000", hashlib.sha256(b"\x00\xff").hexdigest(), "1"]
    assert list(world.run(f"select {', '.join(texts)} from h")[0]) == expected
    if not world.dialect.hashes(world.admin):
        return  # its rows are compared by their values
    joined = "".join(f"{len(text)}:{text}" for text in expected)
    digest = int(hashlib.sha256(joined.encode()).hexdigest()[:15], 16)
    assert int(world.run(f"select {types.hashed(texts)} from h")[0][0]) == digest
