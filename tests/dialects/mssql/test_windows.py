"""W1 and W2: every committed event is in one window, with all of its transaction."""

from __future__ import annotations

import random
import threading

import pytest

from pantograph.dialects.mssql import windows
from pantograph.dialects.mssql.windows import Seen
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
    reader, slow = world.windows(), world.application()
    world.run("begin transaction", "insert into items values (1, 'slow', 1)", on=slow)
    world.run("insert into items values (2, 'quick', 1)")
    at, first = read(world, items, NOWHERE, reader)
    # Without snapshots what is above the bound waits for the slow one.
    assert first == ([2] if world.reader.raw.snapshot else [])
    world.run("commit transaction", on=slow)
    at, second = read(world, items, at, reader)
    assert sorted(first + second) == [1, 2]
    assert read(world, items, at, reader)[1] == []


def test_what_commits_between_the_bound_and_the_snapshot_is_in_one_window(world, items, monkeypatch):
    reader, slow = world.windows(), world.application()
    world.run("begin transaction", "insert into items values (1, 'slow', 1)", on=slow)
    above = windows.Reader._above

    def late(self, session, bound):
        world.run("commit transaction", on=slow)
        world.run("insert into items values (2, 'quick', 1)")
        return above(self, session, bound)

    monkeypatch.setattr(windows.Reader, "_above", late)
    if not world.reader.raw.snapshot:
        world.run("commit transaction", on=slow)
    at, first = read(world, items, NOWHERE, reader)
    monkeypatch.setattr(windows.Reader, "_above", above)
    _, second = read(world, items, at, reader)
    assert len(first + second) == len(set(first + second))
    assert 1 in first + second


def test_the_token_is_the_same_while_nothing_is_written(world, items):
    reader = world.windows()
    world.bound_passes()
    assert reader.token(world.side) == reader.token(world.side)


def test_the_token_is_another_when_something_can_come(world, items):
    reader, slow = world.windows(), world.application()
    still = reader.token(world.side)
    world.run("begin transaction", "insert into items values (1, 'slow', 1)", on=slow)
    world.run("insert into items values (2, 'quick', 1)")
    begun = reader.token(world.side)
    world.run("commit transaction", on=slow)
    ended = reader.token(world.side)
    assert len({still, ended}) == 2
    assert ended != begun


def test_pending_counts_up_to_its_limit_and_knows_the_oldest(world, items):
    world.run("create table quiet (id int not null primary key)")
    quiet, reader = world.capture("quiet"), world.windows()
    for n in range(5):
        world.run(f"insert into items values ({n}, 'a', 1)")
    until = reader.open(world.reader, [])
    found = reader.pending(world.reader, {items.id: NOWHERE, quiet.id: NOWHERE}, until, 3)
    assert {name: pending.events for name, (pending, _) in found.items()} == {items.id: 3}
    assert 0 <= found[items.id][1] < 60


def test_pages_hold_each_event_once_and_end(world, items):
    reader = world.windows()
    for n in range(25):
        world.run(f"insert into items values ({n}, 'a', 1)")
    until = reader.open(world.reader, [])
    window, after, pages = Window(NOWHERE, until), 0, []
    while (end := reader.page_end(world.reader, items, window, after, 10)) is not None:
        sql, params = reader.keys(items, window, after=after, limit=10)
        pages.append([row[0] for row in world.reader.rows(sql, **params)])
        after = end
    assert [len(page) for page in pages] == [10, 10, 5]
    assert sorted(key for page in pages for key in page) == list(range(25))


def test_purging_takes_what_every_position_has_read(world, items):
    reader = world.windows()
    world.run("insert into items values (1, 'a', 1)")
    world.bound_passes()
    early, _ = read(world, items, NOWHERE, reader)
    world.run("insert into items values (3, 'a', 1)")
    world.bound_passes()
    late, _ = read(world, items, early, reader)
    assert reader.purge(world.side, items, [late, NOWHERE], 100) == 0
    assert reader.purge(world.side, items, [late, early], 100) == 1
    assert world.noted(items) == [(3,)]


def test_expiry_takes_the_oldest_and_leaves_its_mark(world, items):
    reader = world.windows()
    at, _ = read(world, items, NOWHERE, reader)
    for n in range(6):
        world.run(f"insert into items values ({n}, 'a', 1)")
    world.bound_passes()
    half, _ = read(world, items, at, reader)
    assert reader.expire(world.side, items, 3600, 100, 100) == (0, "")
    taken, mark = reader.expire(world.side, items, -60, 100, 100)
    assert taken == 6
    assert not reader.covers(at, mark, items)
    assert reader.covers(half, mark, items)


def test_a_position_of_the_future_was_not_issued_here(world, items):
    reader = world.windows()
    at, _ = read(world, items, NOWHERE, reader)
    assert reader.issued(world.side, at)
    assert not reader.issued(world.side, Position(f"{Seen.parse(at).below + 1000}:"))


def _writes(connection, number, stop, committed):
    """Transactions of a row in each of two tables, some of them slow, some rolled back."""
    rng, transfer, cursor = random.Random(number), number * 1_000_000, connection.cursor()
    while not stop.is_set():
        transfer += 1
        cursor.execute("begin transaction")
        for table in "ab":
            cursor.execute(f"insert into {table} values ({transfer})")
            stop.wait(rng.choice((0, 0, 0.001, 0.004)))
        if rng.random() < 0.1:
            cursor.execute("rollback")
            continue
        cursor.execute("commit")
        committed.add(transfer)


def test_what_a_window_lacks_for_its_many_ranges_is_in_the_next_one(world, items, monkeypatch):
    reader, slow = world.windows(), world.application()
    monkeypatch.setattr(windows, "MOST_RANGES", 3)
    world.run("begin transaction", "insert into items values (0, 'slow', 1)", on=slow)
    for n in range(1, 6):
        # What is rolled back is between two ranges.
        world.run("begin transaction", "insert into items values (-1, 'never', 1)", "rollback transaction")
        world.run(f"insert into items values ({n}, 'quick', 1)")
    at, first = read(world, items, NOWHERE, reader)
    assert first == []
    assert world.reader.raw.partial or not world.reader.raw.snapshot
    world.run("commit transaction", on=slow)
    world.bound_passes()
    _, second = read(world, items, at, reader)
    assert second == list(range(6))
    assert not world.reader.raw.partial


@pytest.mark.full
def test_nothing_is_lost_repeated_or_torn_under_many_writers(world):
    for table in "ab":
        world.run(f"create table {table} (id int not null primary key)")
    a, b = world.capture("a"), world.capture("b")
    reader, stop, committed = world.windows(), threading.Event(), set()
    at = reader.open(world.reader, [])
    world.reader.rollback()
    threads = [threading.Thread(target=_writes, args=(world.application(), n, stop, committed)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    seen, naive, high, torn, partial = {a.id: [], b.id: []}, set(), 0, 0, False
    for last in [False] * 200 + [True]:
        if last:
            stop.set()
            for thread in threads:
                thread.join()
            # While somebody holds a rowversion, what is in many ranges above it waits for a later window.
            world.bound_passes()
        until = reader.open(world.reader, [at])
        rows, other = world.reader.row("select (select count(*) from a), (select count(*) from b)")
        fresh = []
        for capture in (a, b):
            events = world.dialect.ours(capture.event_table)
            inside = windows.inside(Window(at, until))
            found = [row[0] for row in world.reader.rows(f"select k0 from {events} where {inside}")]
            seen[capture.id] += found
            fresh.append(set(found))
        # A window that ends below what its snapshot sees says so; what was read above its end is read once more.
        partial |= world.reader.raw.partial
        torn += not world.reader.raw.partial and (rows != other or fresh[0] != fresh[1])
        after = windows.binary(high)
        found = world.reader.rows(
            f"select convert(bigint, rv), k0 from {world.dialect.ours(a.event_table)} where rv > {after}"
        )
        naive |= {row[1] for row in found}
        high = max([high, *(row[0] for row in found)])
        world.reader.rollback()
        at = until
    for capture in (a, b):
        assert partial or len(seen[capture.id]) == len(set(seen[capture.id]))
        assert set(seen[capture.id]) == committed
    assert len(committed) > 100
    assert torn == 0 or not world.reader.raw.snapshot
    assert committed - naive, "the load was too light to lose anything by reading in the wrong way"
