"""W1 and W2: every committed event is in one window, with all of its transaction."""

from __future__ import annotations

import random
import threading

import pytest

from pantograph.dialects.firebird import windows
from pantograph.dialects.firebird.windows import Seen
from pantograph.model.changes import NOWHERE, Position, Window


def read(world, capture, since, reader, **more):
    """Open a snapshot and read a window's keys."""
    until = reader.open(world.reader, [since])
    sql, params = reader.keys(capture, Window(since, until), **more)
    found = sorted(row[0] for row in world.reader.rows(sql, **params))
    world.reader.rollback()
    return until, found


def test_a_window_is_what_was_committed_since_the_last(world, items):
    reader = world.windows()
    world.run("insert into items values (1, 'a', 1)")
    at, found = read(world, items, NOWHERE, reader)
    assert found == [1]
    world.run("insert into items values (2, 'b', 1)", "update items set qty = 2 where id = 1")
    at, found = read(world, items, at, reader)
    assert found == [1, 2]
    assert read(world, items, at, reader)[1] == []


def test_a_transaction_that_commits_late_is_in_a_later_window_and_in_one_only(world, items):
    reader, slow = world.windows(), world.database.app()
    world.run("begin", "insert into items values (1, 'slow', 1)", on=slow)
    world.run("insert into items values (2, 'quick', 1)")
    at, found = read(world, items, NOWHERE, reader)
    assert found == [2]
    world.run("insert into items values (3, 'quick', 1)")
    at, found = read(world, items, at, reader)
    assert found == [3]
    world.run("commit", on=slow)
    at, found = read(world, items, at, reader)
    assert found == [1]
    assert read(world, items, at, reader)[1] == []


@pytest.mark.parametrize("looked", ["before the commit", "after the commit"])
def test_what_commits_beside_the_look_is_in_one_window(world, items, monkeypatch, looked):
    reader, slow = world.windows(), world.database.app()
    world.run("begin", "insert into items values (1, 'slow', 1)", on=slow)
    look = windows.running

    def late(raw):
        seen = look(raw)
        world.run("commit", on=slow)
        world.run("insert into items values (2, 'quick', 1)")
        return seen if looked == "before the commit" else look(raw)

    monkeypatch.setattr(windows, "running", late)
    at, first = read(world, items, NOWHERE, reader)
    monkeypatch.setattr(windows, "running", look)
    _, second = read(world, items, at, reader)
    assert sorted(first + second) == [1, 2]


def test_more_open_transactions_than_the_server_can_list_lose_nothing(world, items, monkeypatch):
    monkeypatch.setattr(windows.connections, "_INFO_BYTES", 20)
    reader, slow, other = world.windows(), world.database.app(), world.database.app()
    world.run("begin", "insert into items values (9, 'other', 1)", on=other)
    world.run("begin", "insert into items values (1, 'slow', 1)", on=slow)
    world.run("insert into items values (2, 'quick', 1)")
    at, found = read(world, items, NOWHERE, reader)
    assert found == [2]
    world.run("commit", on=slow)
    at, found = read(world, items, at, reader)
    assert found == [1]
    world.run("commit", on=other)
    assert read(world, items, at, reader)[1] == [9]


def test_a_position_is_cut_to_what_a_checkpoint_takes(world, items):
    long = Seen(900_000, tuple(range(1, 100_000)), (900_001,)).text()
    stored = world.windows().stored(long)
    assert len(stored) <= 256 * 1024
    assert not any(Seen.parse(stored).holds(x) and not Seen.parse(long).holds(x) for x in range(1, 900_002, 997))


def test_the_token_is_the_same_only_while_nothing_can_come(world, items):
    reader, slow = world.windows(), world.database.app()
    still = reader.token(world.side)
    world.side.rows("select 1 from rdb$database")
    assert reader.token(world.side) == still
    world.run("begin", "insert into items values (1, 'slow', 1)", on=slow)
    begun = reader.token(world.side)
    assert begun != still
    assert reader.token(world.side) == begun
    world.run("commit", on=slow)
    ended = reader.token(world.side)
    assert ended != begun
    assert reader.token(world.side) == ended


def test_an_idle_reader_leaves_no_transaction_open(world, items):
    reader = world.windows()
    reader.token(world.side)
    read(world, items, NOWHERE, reader)
    assert windows.running(world.admin.raw).open == ()


def test_pending_counts_up_to_its_limit_and_knows_the_oldest(world, items):
    world.run("create table quiet (id integer not null primary key)")
    quiet, reader = world.capture("quiet"), world.windows()
    for n in range(5):
        world.run(f"insert into items values ({n}, 'a', 1)")
    until = reader.open(world.reader, [])
    found = reader.pending(world.reader, {items.id: NOWHERE, quiet.id: NOWHERE}, until, 3)
    assert {name: pending.events for name, (pending, _) in found.items()} == {items.id: 3}
    assert 0 <= found[items.id][1] < 60


def test_pages_hold_each_event_once_and_end(world, items):
    reader = world.windows()
    world.run("begin", *(f"insert into items values ({n}, 'a', 1)" for n in range(25)), "commit")
    until = reader.open(world.reader, [])
    world.run("insert into items values (99, 'later', 1)")
    window, after, pages = Window(NOWHERE, until), 0, []
    while (end := reader.page_end(world.reader, items, window, after, 10)) is not None:
        sql, params = reader.keys(items, window, after=after, limit=10)
        pages.append([row[0] for row in world.reader.rows(sql, **params)])
        after = end
    assert [len(page) for page in pages] == [10, 10, 5]
    assert sorted(key for page in pages for key in page) == list(range(25))


def test_purging_takes_what_every_position_has_read_and_waits_for_no_writer(world, items):
    reader, slow = world.windows(), world.database.app()
    world.run("insert into items values (1, 'a', 1)")
    early, _ = read(world, items, NOWHERE, reader)
    world.run("begin", "insert into items values (2, 'slow', 1)", on=slow)
    world.run("insert into items values (3, 'a', 1)")
    late, _ = read(world, items, early, reader)
    assert reader.purge(world.side, items, [late, NOWHERE], 100) == 0
    assert reader.purge(world.side, items, [late, early], 100) == 1
    assert world.noted(items) == [("U", 3)]
    world.run("commit", on=slow)
    last, found = read(world, items, late, reader)
    assert found == [2]
    assert reader.purge(world.side, items, [last], 100) == 2


def test_expiry_takes_the_oldest_and_leaves_its_mark(world, items):
    reader = world.windows()
    at, _ = read(world, items, NOWHERE, reader)
    for n in range(6):
        world.run(f"insert into items values ({n}, 'a', 1)")
    half, _ = read(world, items, at, reader)
    assert reader.expire(world.side, items, 3600, 100, 100) == (0, "")
    taken, mark = reader.expire(world.side, items, 3600, 4, 100)
    assert taken == 2
    assert [key for _, key in world.noted(items)] == [2, 3, 4, 5]
    assert not reader.covers(at, mark, items)
    assert reader.covers(half, mark, items)
    taken, mark = reader.expire(world.side, items, -1, 100, 100)
    assert taken == 4


def test_a_position_of_the_future_was_not_issued_here(world, items):
    reader = world.windows()
    at, _ = read(world, items, NOWHERE, reader)
    assert reader.issued(world.side, at)
    assert not reader.issued(world.side, Position(f"{Seen.parse(at).next + 1000}::"))


def _transfers(database, number, stop, committed, control):
    rng, connection = random.Random(number), database.app()
    cursor, transfer = connection.cursor(), number * 1_000_000
    while not stop.is_set():
        transfer += 1
        rows = [rng.randrange(40), rng.randrange(40)]
        try:
            cursor.execute("begin")
            for table, row in zip("ab", rows, strict=True):
                change = "- 1" if table == "a" else "+ 1"
                cursor.execute(f"update {table} set n = n {change}, transfer = {transfer} where id = {row}")
                stop.wait(rng.choice((0, 0, 0.001, 0.004)))
            if rng.random() < 0.1:
                cursor.execute("rollback")
                continue
            cursor.execute("commit")
            committed.add(transfer)
        except Exception as error:
            cursor.execute("rollback")
            if "deadlock" not in str(error):
                raise
    connection.close()


@pytest.mark.full
def test_nothing_is_lost_repeated_or_torn_under_many_writers(world):
    for table in "ab":
        world.run(f"create table {table} (id integer not null primary key, transfer integer, n integer)")
        world.run("begin", *(f"insert into {table} values ({n}, 0, 0)" for n in range(40)), "commit")
    a, b = world.capture("a", columns=("id", "transfer")), world.capture("b", columns=("id", "transfer"))
    reader, stop, committed = world.windows(), threading.Event(), set()
    at = reader.open(world.reader, [])
    world.reader.rollback()
    threads = [
        threading.Thread(target=_transfers, args=(world.database, n, stop, committed, None)) for n in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    seen, naive, high, torn, twice = {a.id: set(), b.id: set()}, set(), 0, 0, 0
    for last in [False] * 400 + [True]:
        if last:
            stop.set()
            for thread in threads:
                thread.join()
        until = reader.open(world.reader, [at])
        (balance,) = world.reader.row("select (select sum(n) from a) + (select sum(n) from b) from rdb$database")
        torn += balance != 0
        fresh = []
        for capture in (a, b):
            events = world.dialect.ours(capture.event_table)
            inside = windows._inside(Window(at, until))
            found = {row[0] for row in world.reader.rows(f"select x from {events} where {inside}")}
            twice += len(found & seen[capture.id])
            seen[capture.id] |= found
            fresh.append(found)
            if capture is a:
                rows = world.reader.rows(f"select id, x from {events} where id > {high} order by id")
                naive |= {row[1] for row in rows}
                high = rows[-1][0] if rows else high
        torn += fresh[0] != fresh[1]
        world.reader.rollback()
        at = until
    there = {row[0] for row in world.side.rows(f"select x from {world.dialect.ours(a.event_table)}")}
    assert len(committed) > 200
    assert there - {0} == seen[a.id] == seen[b.id]
    assert (torn, twice) == (0, 0)
    assert there - naive, "the load was too light to lose anything by reading in the wrong way"
