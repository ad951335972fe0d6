"""Rows reach a destination, stay as they are when they are equal, and touch no other row."""

import sqlite3
import threading

import pytest

from pantograph import errors


@pytest.fixture
def pair(world):
    world.app.execute("create table items (id integer primary key, code text, qty int)")
    world.app.execute("create table copy (id integer primary key, code text unique, qty int)")
    return world.mirror(world.capture("items"), "copy")


def _copy(world):
    return world.app.execute("select * from copy order by 1").fetchall()


def test_rows_are_inserted_updated_and_deleted(world, pair):
    assert world.write(pair, [(1, 2, "b", 2), (1, 1, "a", 1)]) == (2, 0)
    assert world.write(pair, [(1, 1, "a", 5), (0, 2, None, None), (0, 9, None, None)]) == (1, 1)
    assert _copy(world) == [(1, "a", 5)]


def test_a_row_that_is_equal_already_is_left_alone(world, pair):
    rows = [(1, 1, "a", 1), (1, 2, None, None)]
    assert world.write(pair, rows) == (2, 0)
    assert world.write(pair, rows) == (0, 0)


def test_a_difference_of_case_or_of_null_is_a_difference(world):
    world.app.execute("create table items (id integer primary key, code text)")
    world.app.execute("create table copy (id integer primary key, code text collate nocase)")
    mirror = world.mirror(world.capture("items"), "copy")
    world.write(mirror, [(1, 1, "a"), (1, 2, None)])
    assert world.write(mirror, [(1, 1, "A"), (1, 2, "")]) == (2, 0)
    assert _copy(world) == [(1, "A"), (2, "")]


def test_an_upsert_never_rewrites_the_row_that_holds_another_unique_value(world, pair):
    world.write(pair, [(1, 1, "a", 1), (1, 2, "b", 1)])
    with pytest.raises(errors.Rejected) as caught:
        world.write(pair, [(1, 3, "a", 9)])
    assert (caught.value.kind, caught.value.table, caught.value.constraint) == ("unique", "copy", "copy.code")
    assert _copy(world) == [(1, "a", 1), (2, "b", 1)]


def test_swapped_unique_values_go_through_as_delete_then_insert(world, pair):
    world.write(pair, [(1, 1, "a", 1), (1, 2, "b", 1)])
    rows = [(1, 1, "b", 1), (1, 2, "a", 1)]
    with pytest.raises(errors.Rejected):
        world.write(pair, rows)
    writer, dialect = world.writer, world.dialect
    writer.begin()
    staged = dialect.stage(writer, pair, [rows])
    writer.run("savepoint s")
    with pytest.raises(errors.Rejected):
        dialect.upsert(writer, pair, staged)
    writer.run("rollback to savepoint s")
    assert dialect.delete(writer, pair, staged, absent_only=False) == 2
    assert dialect.upsert(writer, pair, staged) == 2
    writer.commit()
    assert _copy(world) == [(1, "b", 1), (2, "a", 1)]


def test_a_key_changed_only_in_case_is_not_deleted_with_its_old_spelling(world):
    world.app.execute("create table items (name text collate nocase primary key, n int)")
    world.app.execute("create table copy (name text collate nocase primary key, n int)")
    mirror = world.mirror(world.capture("items"), "copy")
    world.app.execute("insert into items values ('a', 1)")
    world.write(mirror, world.changes(mirror))
    world.app.execute("update items set name = 'A'")
    changes = world.changes(mirror)
    assert sorted(changes) == [(0, "a", None), (1, "A", 1)]
    assert world.write(mirror, changes) == (1, 0)
    assert _copy(world) == [("A", 1)]


def test_a_key_changed_only_in_case_leaves_one_row_where_case_is_told_apart(world):
    world.app.execute("create table items (name text collate nocase primary key, n int)")
    world.app.execute("create table copy (name text primary key, n int)")
    mirror = world.mirror(world.capture("items"), "copy")
    world.app.execute("insert into items values ('a', 1)")
    world.write(mirror, world.changes(mirror))
    world.app.execute("update items set name = 'A'")
    assert world.write(mirror, world.changes(mirror)) == (1, 1)
    assert _copy(world) == [("A", 1)]


def test_composite_keys_and_tables_that_are_all_key(world):
    world.app.execute("create table items (a int, b text, primary key (b, a)) without rowid")
    world.app.execute("create table copy (a int, b text, primary key (b, a))")
    mirror = world.mirror(world.capture("items"), "copy")
    world.app.execute("insert into items values (1, 'x'), (2, 'x'), (1, 'y')")
    assert world.write(mirror, world.changes(mirror)) == (3, 0)
    world.app.execute("delete from items where a = 1")
    assert world.write(mirror, world.changes(mirror)) == (0, 2)
    assert _copy(world) == [(2, "x")]


def test_rows_that_do_not_match_the_filter_are_absent(world, pair):
    world.app.execute("insert into items values (1, 'draft', 1), (2, 'a:b', 2)")
    mirror = world.mirror(pair.capture, "copy", where="code <> 'draft' and code <> ':x' and 7 % 4 = 3")
    assert sorted(world.changes(mirror)) == [(0, 1, None, None), (1, 2, "a:b", 2)]


def test_staging_takes_no_lock_that_another_writer_feels(world, pair):
    world.writer.begin()
    staged = world.dialect.stage(world.writer, pair, [[(1, 1, "a", 1)]])
    world.app.execute("pragma busy_timeout = 0")
    world.app.execute("insert into items values (1, 'a', 1)")
    assert world.dialect.upsert(world.writer, pair, staged) == 1
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        world.app.execute("insert into items values (2, 'a', 1)")
    world.writer.commit()
    world.app.execute("insert into items values (2, 'a', 1)")


def test_the_first_write_after_staging_waits_for_another_writer(world, pair):
    world.app.execute("begin immediate")
    world.app.execute("insert into items values (1, 'a', 1)")
    world.writer.begin()
    staged = world.dialect.stage(world.writer, pair, [[(1, 1, "a", 1)]])
    later = threading.Timer(0.2, world.app.execute, ("commit",))
    later.start()
    assert world.dialect.upsert(world.writer, pair, staged) == 1
    later.join()
    world.writer.commit()


def test_a_stage_is_emptied_and_survives_a_rollback_of_its_making(world, pair):
    writer, dialect = world.writer, world.dialect
    writer.begin()
    dialect.stage(writer, pair, [[(1, 1, "a", 1)], [(1, 2, "b", 1)]])
    writer.rollback()
    writer.begin()
    staged = dialect.stage(writer, pair, [[(1, 3, "c", 1)]])
    assert (staged.present, staged.absent) == (1, 0)
    assert (staged.rows, writer.rows(f"select s.id from {staged.source}")) == (1, [(3,)])
    dialect.unstage(writer, pair, staged)
    assert writer.rows(f"select s.id from {staged.source}") == []
    writer.commit()


def test_bulk_insert_takes_present_rows_as_they_are(world, pair):
    world.writer.begin()
    count = world.dialect.insert(world.writer, pair, [[(1, 1, "a", 1)], [(1, 2, None, None)]])
    world.writer.commit()
    assert (count, _copy(world)) == (2, [(1, "a", 1), (2, None, None)])


def test_constraints_of_the_destination_hold(world):
    world.app.execute("create table p (id integer primary key)")
    world.app.execute("create table items (id integer primary key, p int, n int)")
    world.app.execute("create table copy (id integer primary key, p int references p, n int not null check (n > 0))")
    mirror = world.mirror(world.capture("items"), "copy")
    for row, kind in (((1, 1, 7, 1), "foreign key"), ((1, 1, None, None), "not null"), ((1, 1, None, -1), "check")):
        with pytest.raises(errors.Rejected) as caught:
            world.write(mirror, [row])
        assert caught.value.kind == kind
        assert _copy(world) == []


def test_chunks_walk_the_table_in_the_order_of_its_key_by_its_index(world):
    world.app.execute("create table items (a text collate nocase, b int, n int, primary key (a, b))")
    world.app.execute("create table copy (a text, b int, n int, primary key (a, b))")
    mirror = world.mirror(world.capture("items"), "copy", where="n <> 3")
    world.app.execute("insert into items (a, b, n) values (null, 1, 9), ('x', null, 9)")
    world.app.executemany("insert into items values (?, ?, ?)", [(k, b, b) for k in ("a", "B", "c") for b in range(5)])
    found, after, chunks = [], (), 0
    while True:
        bound = {f"a{i}": value for i, value in enumerate(after)}
        end = world.reader.row(world.dialect.chunk_end(mirror, after=bool(after)), skip=3, **bound)
        upto = {f"b{i}": value for i, value in enumerate(end or ())}
        sql = world.dialect.chunk(mirror, after=bool(after), upto=end is not None)
        found += [row[1:3] for row in world.reader.rows(sql, **bound, **upto)]
        chunks += 1
        plan = world.reader.rows("explain query plan " + sql, **bound, **upto)
        assert not after or "SEARCH" in plan[0][3], plan
        if end is None:
            break
        after = end
    assert sorted(found) == sorted((k, b) for k in ("a", "B", "c") for b in range(5) if b != 3)
    assert chunks == 4


def test_looking_keys_up_searches_the_index(world, pair):
    for where in ("", "qty > 0", "qty in (select n from (select 1 as n))"):
        mirror = world.mirror(pair.capture, "copy", where=where)
        sql, params = world.dialect.given_keys(world.reader, mirror, [(1,)])
        plan = world.reader.rows("explain query plan " + world.dialect.changes(mirror, sql), **params)
        assert any("SEARCH items USING INTEGER PRIMARY KEY" in row[3] for row in plan), plan


def test_given_keys_find_their_rows_whatever_their_type(world):
    keys = {"integer": 2**62 + 1, "text": "é:'\"%", "blob": b"\x00\xff", "real": 0.1 + 0.2, "decimal(9,2)": "12.50"}
    for n, (declared, key) in enumerate(keys.items()):
        world.app.execute(f"create table t{n} (k {declared} primary key, n int)")
        world.app.execute(f"create table c{n} (k {declared} primary key, n int)")
        world.app.execute(f"insert into t{n} values (?, 1)", (key,))
        mirror = world.mirror(world.capture(f"t{n}"), f"c{n}")
        absent = {int: 5, str: "zz" if declared == "text" else "7.25", bytes: b"q", float: 1.5}[type(key)]
        sql, params = world.dialect.given_keys(world.reader, mirror, [(key,), (absent,)])
        rows = world.reader.rows(world.dialect.changes(mirror, sql), **params)
        assert world.decoded(mirror, rows) == [(1, key, 1), (0, absent, None)]


def test_a_key_that_is_not_stored_in_its_canonical_form_is_refused(world):
    world.app.execute("create table items (at timestamp primary key, n int)")
    world.app.execute("create table copy (at timestamp primary key, n int)")
    mirror = world.mirror(world.capture("items"), "copy")
    world.app.execute("insert into items values ('2026-01-01T10:00:00', 1)")
    with pytest.raises(errors.Rejected, match="not a timestamp"):
        world.changes(mirror)


def test_a_table_that_we_made_is_told_from_one_made_after_it_was_dropped(world):
    columns = world.shape("copy").columns if world.shape("copy") else ()
    world.app.execute("create table items (id integer primary key, code varchar(10), n decimal(30,5))")
    columns = world.shape("items").columns
    for statement in world.dialect.create_table("", "copy", columns, ("id",)):
        world.writer.direct(statement.sql)
    first = world.shape("copy")
    assert first.identity
    world.writer.direct(world.dialect.add_column("", "copy", columns[1].__class__("more", columns[1].type, "TEXT")).sql)
    world.app.execute("vacuum")
    assert world.shape("copy").identity == first.identity
    assert [c.name for c in world.shape("copy").columns] == ["id", "code", "n", "more"]
    world.app.execute("drop table copy")
    world.app.execute("create table copy (id integer primary key)")
    assert world.shape("copy").identity == ""


def test_names_that_look_like_parameters_are_only_names(world):
    columns = '("id :a0" integer primary key, "n :limit" int, unique ("n :limit"))'
    world.app.execute(f'create table "from :to" {columns}')
    world.app.execute(f'create table "to :from" {columns}')
    mirror = world.mirror(world.capture("from :to"), "to :from")
    world.app.execute('insert into "from :to" values (1, 5), (2, 6)')
    assert world.write(mirror, world.changes(mirror)) == (2, 0)
    world.app.execute('delete from "from :to" where "id :a0" = 1')
    assert world.write(mirror, world.changes(mirror)) == (0, 1)
    sql = world.dialect.chunk(mirror, after=True, upto=True)
    assert world.reader.rows(sql, a0=1, b0=2) == [(1, 2, 6)]
    assert world.reader.row(world.dialect.chunk_end(mirror, after=True), a0=1, skip=0) == (2,)
    assert world.dialect.estimated_rows(world.reader, "", "from :to") == 1
