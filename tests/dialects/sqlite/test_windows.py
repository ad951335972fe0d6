"""Every committed event is in one window, and in one only; a transaction is in one window as a whole."""

import contextlib
import json
import multiprocessing
import random
import sqlite3
import time

import pytest

from pantograph import errors
from pantograph.model.changes import Position, Window


@pytest.fixture
def items(world):
    world.app.execute("create table items (id integer primary key, n int)")
    return world.capture("items")


def _ends(world):
    position = world.windows().open(world.reader, [])
    world.reader.commit()
    return position


def _event_ids(world, capture):
    return [
        row[0] for row in world.app.execute(f"select id from {world.dialect.ours(capture.event_table)} where op <> ''")
    ]


def test_the_token_changes_with_commits_of_others_only(world, items):
    windows = world.windows()
    first = windows.token(world.side)
    assert windows.token(world.side) == first
    world.app.execute("begin immediate")
    world.app.execute("insert into items values (1, 1)")
    assert windows.token(world.side) == first
    world.app.execute("rollback")
    assert windows.token(world.side) == first
    world.lease(100)  # another connection than the side session
    second = windows.token(world.side)
    assert second != first
    world.side.run(f"update {world.dialect.ours('lease')} set until = until + 1")
    assert windows.token(world.side) == second
    world.app.execute("insert into items values (1, 1)")
    assert windows.token(world.side) != second


def test_tokens_of_two_connections_are_never_equal(world, items):
    windows = world.windows()
    assert windows.token(world.side) != windows.token(world.session(world.side.role))


def test_a_window_holds_what_its_snapshot_sees_and_no_more(world, items):
    begin = _ends(world)
    world.app.execute("insert into items values (1, 1), (2, 2)")
    windows = world.windows()
    until = windows.open(world.reader, [begin])
    world.app.execute("insert into items values (3, 3)")
    pending = windows.pending(world.reader, {items.id: begin}, until, 100)
    sql, params = windows.keys(items, Window(begin, until))
    assert pending[items.id][0].events == 2
    assert 0 <= pending[items.id][1] < 5
    assert world.reader.rows(sql, **params) == [(1,), (2,)]
    assert world.reader.row("select count(*) from items") == (2,)
    world.reader.commit()
    assert windows.pending(world.reader, {items.id: until}, until, 100) == {}
    later = _ends(world)
    sql, params = windows.keys(items, Window(until, later))
    assert world.reader.rows(sql, **params) == [(3,)]


def test_pending_counts_up_to_a_limit_and_a_position_without_a_capture_means_its_beginning(world, items):
    world.app.execute("insert into items values (1, 1), (2, 2), (3, 3)")
    until = _ends(world)
    for since in ("", '{"other": 5}'):
        assert world.windows().pending(world.reader, {items.id: Position(since)}, until, 2)[items.id][0].events == 2


def test_two_hundred_tables_are_one_look(world):
    for n in range(200):
        world.app.execute(f"create table t{n} (id integer primary key)")
        world.capture(f"t{n}")
    begin = _ends(world)
    for n in range(0, 200, 2):
        world.app.execute(f"insert into t{n} values (1)")
    windows = world.windows()
    until = windows.open(world.reader, [begin])
    started = time.perf_counter()
    pending = windows.pending(world.reader, {capture.id: begin for capture in world.captures.values()}, until, 10)
    assert time.perf_counter() - started < 1
    world.reader.commit()
    assert len(pending) == 100
    assert len(until) < 10_000


def test_pages_cover_a_window_once(world, items):
    begin = _ends(world)
    world.app.executemany("insert into items values (?, 0)", [(n,) for n in range(10)])
    world.app.execute("update items set n = 1 where id < 3")
    windows, window = world.windows(), Window(begin, _ends(world))
    after, pages = 0, []
    while (end := windows.page_end(world.reader, items, window, after, 4)) is not None:
        sql, params = windows.keys(items, window, after=after, limit=4)
        pages.append([row[0] for row in world.reader.rows(sql, **params)])
        after = end
    assert pages == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2]]


def test_ids_never_start_again_whatever_is_purged_or_emptied(world, items):
    world.app.executemany("insert into items values (?, 0)", [(n,) for n in range(10)])
    until = _ends(world)
    windows = world.windows()
    assert windows.purge(world.side, items, [until], 4) == 4
    assert windows.purge(world.side, items, [until], 100) == 5  # the last one stays
    world.app.execute("delete from sqlite_sequence")
    world.app.execute("insert into items values (100, 0)")
    assert min(set(_event_ids(world, items)) - {json.loads(until)[items.id]}) > json.loads(until)[items.id]


def test_an_event_table_that_somebody_emptied_is_noticed_at_the_next_window(world, items):
    world.app.execute("insert into items values (1, 1)")
    read = _ends(world)
    world.app.execute("delete from sqlite_sequence")
    world.app.execute(f"delete from {world.dialect.ours(items.event_table)}")
    world.app.execute("insert into items values (2, 1)")
    with pytest.raises(errors.PositionLost):
        world.windows().open(world.reader, [Position(""), read])
    world.reader.rollback()


def test_an_event_table_made_again_begins_another_life(world, items):
    world.app.execute("insert into items values (1, 1)")
    old = _ends(world)
    for statement in world.dialect.uninstall(items):
        world.admin.direct(statement.sql)
    time.sleep(0.01)
    world.capture("items")
    windows = world.windows()
    assert not windows.issued(world.reader, old)
    assert windows.issued(world.reader, _ends(world))


def test_a_position_of_the_future_was_not_issued(world, items):
    world.app.execute("insert into items values (1, 1)")
    now = _ends(world)
    ahead = Position(json.dumps({items.id: json.loads(now)[items.id] + 1}))
    windows = world.windows()
    assert windows.issued(world.reader, now)
    assert not windows.issued(world.reader, ahead)
    world.windows().purge(world.side, items, [now], 100)
    assert windows.issued(world.reader, now)


def test_purging_spares_what_any_floor_has_not_read(world, items):
    world.app.execute("insert into items values (1, 1), (2, 1)")
    read = _ends(world)
    world.app.execute("insert into items values (3, 1), (4, 1)")
    windows = world.windows()
    assert windows.purge(world.side, items, [], 100) == 0
    assert windows.purge(world.side, items, [_ends(world), Position("")], 100) == 0
    assert windows.purge(world.side, items, [_ends(world), read], 100) == 2
    assert [key for _, key in world.noted(items)] == [3, 4]


def test_retention_leaves_a_mark_that_a_position_behind_it_does_not_cover(world, items):
    world.app.execute("insert into items values (1, 1)")
    early = _ends(world)
    world.app.execute("insert into items values (2, 1), (3, 1), (4, 1)")
    late = _ends(world)
    windows = world.windows()
    assert windows.expire(world.side, items, 3600, 1000, 100) == (0, "")
    taken, mark = windows.expire(world.side, items, 3600, 2, 100)
    assert taken == 2
    assert windows.covers(late, mark, items)
    assert not windows.covers(early, mark, items)
    assert windows.covers(Position(""), "", items)
    time.sleep(0.05)
    assert windows.expire(world.side, items, 0.01, 1000, 100)[0] == 1  # the last one stays


def test_a_purge_never_waits_for_a_writer(world, items):
    world.app.execute("insert into items values (1, 1), (2, 1)")
    until = _ends(world)
    world.app.execute("begin immediate")
    started = time.perf_counter()
    with pytest.raises(errors.Contended):
        world.windows().purge(world.side, items, [until], 100)
    assert time.perf_counter() - started < 0.5
    world.app.execute("rollback")
    assert world.windows().purge(world.side, items, [until], 100) == 1


def _work(path, number, transfers, seed):
    """Transfers between two tables, each a transaction of its own; some are rolled back."""
    chance = random.Random(seed)
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("pragma synchronous = off")
    for n in range(transfers):
        mark = number * 1_000_000 + n
        connection.execute("begin immediate")
        connection.execute("insert into debits values (?, ?)", (mark, 1))
        if chance.random() < 0.1:
            connection.execute("savepoint s")
            connection.execute("insert into debits values (?, ?)", (-mark - 1, 1))
            connection.execute("rollback to s")
        if chance.random() < 0.2:
            time.sleep(chance.random() * 0.002)
        connection.execute("insert into credits values (?, ?)", (mark, 1))
        connection.execute("rollback" if chance.random() < 0.1 else "commit")
    connection.close()


@pytest.mark.full
def test_nothing_is_lost_repeated_or_torn_under_eight_writers(world):
    world.app.execute("create table debits (id integer primary key, n int)")
    world.app.execute("create table credits (id integer primary key, n int)")
    captures = [world.capture("debits"), world.capture("credits")]
    position = _ends(world)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_work, args=(world.path, n, 400, n)) for n in range(8)]
    for writer in writers:
        writer.start()
    windows = world.windows()
    seen = {capture.table: [] for capture in captures}
    torn = count = 0
    while True:
        running = any(writer.is_alive() for writer in writers)
        until = windows.open(world.reader, [position])
        keys = []
        for capture in captures:
            sql, params = windows.keys(capture, Window(position, until))
            keys.append([row[0] for row in world.reader.rows(sql, **params)])
            seen[capture.table] += keys[-1]
        world.reader.commit()
        torn += set(keys[0]) != set(keys[1])
        count += bool(keys[0])
        position = until
        if count % 50 == 49:
            for capture in captures:
                with contextlib.suppress(errors.Contended):  # writers come first
                    windows.purge(world.side, capture, [position], 500)
        if not running:
            break
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    for table, keys in seen.items():
        there = {row[0] for row in world.app.execute(f"select id from {table}")}
        assert len(there) > 2000
        lost, twice = there - set(keys), len(keys) - len(set(keys))
        assert (len(lost), twice, set(keys) - there) == (0, 0, set())
    assert torn == 0
    assert count > 20
