"""W1: every committed event is in a window. W2: a window holds all that its snapshot sees and no earlier one did."""

import random
import threading
import time

import psycopg2
import pytest

from pantograph.dialects.postgresql.windows import Snapshot
from pantograph.model.changes import Pending, Position, Window
from tests.servers import PostgreSQL


@pytest.fixture
def capture(source):
    source.app("create table t (id int primary key, v int)")
    return source.capture("t")


def read(source, capture, since="", windows=None):
    """The keys of the window from `since` to now, and now."""
    with source.window(capture, since, windows) as (until, sql, params, _):
        return until, sorted(key for (key,) in source.reader.rows(sql, **params))


def test_a_window_is_what_was_committed_since_the_last(source, capture):
    at, keys = read(source, capture)
    assert keys == []
    source.app("insert into t values (1, 0), (2, 0)")
    at, keys = read(source, capture, at)
    assert keys == [1, 2]
    at, keys = read(source, capture, at)
    assert keys == []


def test_a_transaction_that_commits_late_is_in_a_later_window_and_in_one_only(source, capture):
    late, early = source.database.app().cursor(), source.database.app().cursor()
    start, _ = read(source, capture)
    late.execute("begin; insert into t values (1, 0)")
    early.execute("insert into t values (2, 0)")
    first, keys = read(source, capture, start)
    assert keys == [2]
    early.execute("insert into t values (3, 0)")
    late.execute("insert into t values (4, 0)")
    second, keys = read(source, capture, first)
    assert keys == [3]
    late.execute("commit")
    third, keys = read(source, capture, second)
    assert keys == [1, 4]
    assert read(source, capture, third)[1] == []
    assert read(source, capture, start)[1] == [1, 2, 3, 4]


@pytest.fixture
def server_with_prepared_transactions():
    with PostgreSQL.start(options={"max_prepared_transactions": "5"}) as server:
        yield server


@pytest.mark.full
def test_a_prepared_transaction_is_waited_for(server_with_prepared_transactions, make_place):
    source = make_place("source", on=server_with_prepared_transactions)
    source.settle()
    source.app("create table t (id int primary key, v int)")
    capture = source.capture("t")
    writer = source.database.app().cursor()
    writer.execute("begin; insert into t values (1, 0); prepare transaction 'p'")
    at, keys = read(source, capture)
    assert keys == []
    assert source.dialect.in_the_way(source.admin, "public", "t") == "a prepared transaction"
    writer.execute("commit prepared 'p'")
    assert read(source, capture, at)[1] == [1]


def test_pending_counts_up_to_its_limit_and_knows_the_oldest(source, capture):
    source.app("create table u (id int primary key); create table idle (id int primary key)")
    other, _ = source.capture("u"), source.capture("idle")
    windows = source.windows()
    at, _ = read(source, capture)
    source.app("insert into t select g, 0 from generate_series(1, 20) g")
    time.sleep(0.2)
    source.app("insert into u values (1); truncate u")
    until = windows.open(source.reader, [at])
    since = {each.id: at for each in source.captures.values()}
    found = windows.pending(source.reader, since, until, 10)
    assert set(found) == {capture.id, other.id}
    assert found[capture.id][0] == Pending(10)
    assert found[other.id][0] == Pending(2, truncated=True)
    assert 0.2 <= found[capture.id][1] < 5 > found[other.id][1]
    # Each may begin somewhere else.
    found = windows.pending(source.reader, since | {capture.id: until}, until, 10)
    assert set(found) == {other.id}
    source.reader.run("rollback")


def test_truncation_has_no_key(source, capture):
    source.app("insert into t values (1, 0); truncate t")
    assert read(source, capture)[1] == [1]


def test_pages_hold_each_event_once_and_end(source, capture):
    source.app("insert into t select g, 0 from generate_series(1, 2000) g")
    source.app("begin; insert into t values (-1, 0); rollback")
    start, _ = read(source, capture)
    source.app("update t set v = 1")
    source.app("delete from t where id > 1990")
    with source.window(capture, start) as (until, _, _, _):
        pass
    source.app("update t set v = 2 where id < 500")  # not in the window
    window, windows = Window(start, until), source.windows()
    after, seen, pages = 0, [], 0
    while True:
        windows.open(source.reader, [start])  # each page in a snapshot of its own
        end = windows.page_end(source.reader, capture, window, after, 150)
        if end is None:
            break
        sql, params = windows.keys(capture, window, after=after, limit=150)
        found = source.reader.rows(sql, **params)
        assert len(found) <= 150
        # Without what page_end remembers, the same.
        sql, params = source.windows().keys(capture, window, after=after, limit=150)
        assert sorted(source.reader.rows(sql, **params)) == sorted(found)
        source.reader.run("rollback")
        assert 0 < after < end or after == 0
        seen += [key for (key,) in found]
        after, pages = end, pages + 1
    source.reader.run("rollback")
    assert pages == 14
    assert set(seen) == set(range(1, 2001))
    assert after < 1 << 63


def test_pages_start_again_when_the_events_were_moved_to_another_file(source, capture):
    source.app("insert into t select g, 0 from generate_series(1, 1000) g")
    with source.window(capture) as (until, _, _, _):
        pass
    window, windows = Window(Position(""), until), source.windows()
    windows.open(source.reader, [])
    after = windows.page_end(source.reader, capture, window, 0, 600)
    source.reader.run("rollback")
    source.admin.direct(f"vacuum full {source.dialect.ours(capture.event_table)}")
    windows.open(source.reader, [])
    end = windows.page_end(source.reader, capture, window, after, 1000)
    sql, params = windows.keys(capture, window, after=after, limit=1000)
    assert len(source.reader.rows(sql, **params)) == 1000
    assert windows.page_end(source.reader, capture, window, end, 1000) is None
    source.reader.run("rollback")


# Purging and retention.


def test_purging_takes_what_everybody_has_read_and_nothing_else(source, capture):
    windows = source.windows()
    late = source.database.app().cursor()
    source.app("insert into t values (1, 0)")
    first, _ = read(source, capture)
    late.execute("begin; insert into t values (2, 0)")
    source.app("insert into t values (3, 0)")
    second, _ = read(source, capture, first)
    assert windows.purge(source.side, capture, [], 10) == 0
    assert windows.purge(source.side, capture, [Position(""), second], 10) == 0
    assert windows.purge(source.side, capture, [second, first], 10) == 1
    late.execute("insert into t values (4, 0)")
    # Below the transaction that is still running everything has been read; 3 came after it began.
    assert windows.purge(source.side, capture, [second], 10) == 0
    late.execute("commit")
    third, keys = read(source, capture, second)
    assert keys == [2, 4]
    assert windows.purge(source.side, capture, [third], 2) == 2
    assert windows.purge(source.side, capture, [third], 2) == 1
    assert source.noted(capture) == []


def test_retention_takes_the_oldest_and_says_how_far(source, capture):
    windows = source.windows()
    before, _ = read(source, capture)
    for key in range(1, 6):
        source.app(f"insert into t values ({key}, 0)")
    after, _ = read(source, capture, before)
    assert windows.expire(source.side, capture, 3600, 1000, 100) == (0, "")
    # By number only where the file is large enough to hold so many.
    taken, mark = windows.expire(source.side, capture, 3600, 3, 100)
    assert taken == 2
    assert source.noted(capture) == [("I", 3), ("I", 4), ("I", 5)]
    assert windows.covers(after, mark, capture)
    assert not windows.covers(before, mark, capture)
    assert not windows.covers(Position(""), mark, capture)
    assert windows.covers(before, "", capture)
    taken, mark = windows.expire(source.side, capture, 0, 1000, 2)
    assert taken == 2
    assert windows.expire(source.side, capture, 0, 1000, 2)[0] == 1


def test_neither_waits_for_a_writer(source, capture):
    source.app("insert into t values (1, 0)")
    at, _ = read(source, capture)
    writer = source.database.app().cursor()
    writer.execute("begin; update t set v = 1; insert into t values (2, 0)")
    source.side.run("set lock_timeout = '200ms'")
    assert source.windows().purge(source.side, capture, [at], 10) == 1
    assert source.windows().expire(source.side, capture, 0, 0, 10) == (0, "")
    writer.execute("commit")


def test_a_position_from_the_future_was_not_issued(source, capture):
    windows = source.windows()
    at, _ = read(source, capture)
    assert windows.issued(source.side, at)
    snapshot = Snapshot.parse(at)
    assert not windows.issued(source.side, Position(f"{snapshot.xmin + 5000}:{snapshot.xmax + 5000}:"))


# The token.


def test_a_token_stands_still_while_nothing_is_noted_whatever_else_happens(source, capture):
    source.app("create table other (id int)")
    windows = source.windows()
    source.app("insert into t values (1, 0)")
    tokens = {windows.token(source.side) for _ in range(3)}
    assert len(tokens) == 1
    bystander = source.database.app().cursor()
    bystander.execute("begin; insert into other values (1)")
    for n in range(5):
        source.app(f"insert into other values ({n})")
        source.app("update t set v = 1 where false")
        tokens.add(windows.token(source.side))
    bystander.execute("commit")
    tokens.add(windows.token(source.side))
    assert len(tokens) == 1
    source.app("insert into t values (2, 0)")
    assert windows.token(source.side) not in tokens


def test_a_late_commit_changes_the_token(source, capture):
    """In every order of two writers' statements and commits: a window opened after a token that is seen again later
    has seen all that is committed by then."""
    events = [("a", "write"), ("a", "write"), ("a", "commit"), ("b", "write"), ("b", "commit"), ("c", "write")]
    rng = random.Random(7)
    orders = {tuple(rng.sample(range(len(events)), len(events))) for _ in range(60)}
    checked = 0
    for order in orders:
        script = []
        for name in "abc":
            mine = [event for event in events if event[0] == name]
            script += [
                (position, event)
                for position, event in zip(
                    sorted(position for position, index in enumerate(order) if events[index][0] == name),
                    mine,
                    strict=True,
                )
            ]
        script = [event for _, event in sorted(script)] + [("c", "commit")]
        connections = {name: source.database.app() for name in "abc"}
        for connection in connections.values():
            connection.cursor().execute("begin")
        windows, seen = source.windows(), {}
        for name, what in script:
            cursor = connections[name].cursor()
            cursor.execute("commit" if what == "commit" else "insert into t select coalesce(max(id), 0) + "
                           f"{1 + 'abc'.index(name) * 100000 + random.randrange(90000)}, 0 from t")  # fmt: skip
            for _ in range(rng.randrange(3)):
                token = windows.token(source.side)
                committed = source.admin.row(f"select count(*) from {source.dialect.ours(capture.event_table)}")[0]
                # The window that is opened right after the token was first seen holds what was committed then.
                assert seen.setdefault(token, committed) == committed
                checked += 1
        for connection in connections.values():
            connection.close()
    assert checked > 200


def test_a_pulse_that_is_set_back_by_an_older_transaction_hides_nothing(source, capture):
    older, younger = source.database.app().cursor(), source.database.app().cursor()
    windows = source.windows()
    older.execute("begin; insert into t values (1, 0)")
    windows.token(source.side)
    younger.execute("begin; insert into t values (2, 0)")
    older.execute("insert into t values (3, 0); commit")
    before = windows.token(source.side)
    assert before == windows.token(source.side)
    younger.execute("commit")
    assert windows.token(source.side) != before


def test_two_threads_may_ask_two_readers_on_one_session(source, capture):
    first, second = source.windows(), source.windows()
    assert first.token(source.side) == second.token(source.side)


# The proof.


@pytest.mark.full
def test_nothing_is_lost_repeated_or_torn_under_concurrent_writers(source):
    """Eight writers move money between two tables, with delays and rollbacks, while a reader takes windows. A reader
    that asks for what lies above the greatest id it has seen is run beside it, to show that the load is a real one."""
    accounts, writers = 40, 8
    source.app(
        "create table a (id int primary key, transfer int, v int); create table b (like a including all);"
        f"insert into a select g, 0, 100 from generate_series(1, {accounts}) g;"
        f"insert into b select g, 0, 100 from generate_series(1, {accounts}) g;"
        "create table naive (id bigserial primary key, transfer int)"
    )
    a, b = source.capture("a", columns=("id", "transfer")), source.capture("b", columns=("id", "transfer"))
    windows = source.windows()
    start = windows.open(source.reader, [])
    source.reader.run("rollback")
    stop, committed, lock = threading.Event(), set(), threading.Lock()

    def write(number):
        rng, connection = random.Random(number), source.database.app()
        cursor, transfer = connection.cursor(), number * 1_000_000
        while not stop.is_set():
            transfer += 1
            x, y = rng.randint(1, accounts), rng.randint(1, accounts)
            try:
                cursor.execute("begin")
                cursor.execute("insert into naive (transfer) values (%s)", (transfer,))
                cursor.execute("update a set v = v - 1, transfer = %s where id = %s", (transfer, x))
                time.sleep(rng.choice((0, 0, 0.001, 0.004)))
                if rng.random() < 0.1:
                    cursor.execute("savepoint s; update b set v = 0; rollback to s")
                cursor.execute("update b set v = v + 1, transfer = %s where id = %s", (transfer, y))
                time.sleep(rng.choice((0, 0, 0.001, 0.004)))
                if rng.random() < 0.1:
                    cursor.execute("rollback")
                    continue
                cursor.execute("commit")
                with lock:
                    committed.add(transfer)
            except psycopg2.errors.DeadlockDetected:
                cursor.execute("rollback")
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, writers + 1)]
    for thread in threads:
        thread.start()
    seen_a, seen_b, naive, high, torn, sums = {}, {}, set(), 0, 0, 0
    at, deadline = start, time.monotonic() + 8
    plain = source.database.app().cursor()
    finished = False
    while not finished:
        if time.monotonic() > deadline and not stop.is_set():
            stop.set()
            for thread in threads:
                thread.join()
            finished = True
        until = windows.open(source.reader, [at])
        balance = source.reader.row("select (select sum(v) from a) + (select sum(v) from b)")[0]
        sums += int(balance) != 200 * accounts
        mine = []
        for capture, seen in ((a, seen_a), (b, seen_b)):
            # The column beside the key tells which transfer wrote the event; `before` images repeat an earlier one.
            events = source.dialect.ours(capture.event_table)
            keys, _ = windows.keys(capture, Window(at, until))
            condition = keys.partition(" where ")[2]
            found = {row[0] for row in source.reader.rows(
                f"select e.k1 from {events} e where {condition.replace('xid', 'e.xid')}")}  # fmt: skip
            fresh = found - seen.keys() - {0}
            for transfer in fresh:
                seen[transfer] = until
            mine.append(fresh)
        torn += len(mine[0] ^ mine[1])
        source.reader.run("rollback")
        at = until
        plain.execute("select id, transfer from naive where id > %s order by id", (high,))
        found = plain.fetchall()
        naive.update(transfer for _, transfer in found)
        high = found[-1][0] if found else high
    assert len(committed) > 500
    assert sums == 0
    assert torn == 0
    assert committed - seen_a.keys() == set()
    assert committed - seen_b.keys() == set()
    assert seen_a.keys() - committed == set()
    assert all(seen_a[transfer] == seen_b[transfer] for transfer in committed)
    assert committed - naive, "the load was too light to lose anything by reading in the wrong way"


@pytest.mark.full
def test_each_event_is_in_exactly_one_window_under_concurrent_writers(source, capture):
    windows, stop = source.windows(), threading.Event()

    def write(number):
        rng, connection = random.Random(number), source.database.app()
        cursor, key = connection.cursor(), number * 1_000_000
        while not stop.is_set():
            cursor.execute("begin")
            for _ in range(rng.randrange(1, 4)):
                key += 1
                cursor.execute(f"insert into t values ({key}, 0)")
                time.sleep(rng.choice((0, 0.001, 0.005)))
            cursor.execute(rng.choice(("commit", "commit", "rollback")))
        connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    seen, twice, at, deadline, token, skipped = set(), 0, Position(""), time.monotonic() + 5, None, 0
    while True:
        if done := time.monotonic() > deadline:
            stop.set()
            for thread in threads:
                thread.join()
        now = windows.token(source.side)
        if now == token:
            skipped += 1
        else:
            at, keys = read(source, capture, at, windows)
            twice += len(seen.intersection(keys))
            seen.update(keys)
            token = now
        if done:
            break
    committed = {key for (key,) in source.app("select id from t")}
    assert len(committed) > 500
    assert seen == committed
    assert twice == 0


# What it costs.


def plan(session, sql):
    return "\n".join(line for (line,) in session.rows(f"explain {sql}"))


@pytest.mark.full
@pytest.mark.parametrize("analyzed", [True, False])
def test_a_small_window_of_a_large_backlog_is_read_by_index_and_its_rows_looked_up_one_by_one(source, target, analyzed):
    source.app(
        "create table big (id int primary key, v int); insert into big select g, 0 from generate_series(1, 200000) g"
    )
    source.app("analyze big")
    target.app("create table big (id int primary key, v int)")
    capture = source.capture("big")
    events = source.dialect.ours(capture.event_table)
    source.admin.direct(f"alter table {events} set (autovacuum_enabled = off)")
    source.app("update big set v = 1")
    if analyzed:
        source.admin.direct(f"analyze {events}")
    start, _ = read(source, capture)
    source.app("update big set v = 2 where id in (5, 50, 500)")
    mirror = source.mirror(capture, target)
    with source.window(capture, start) as (until, sql, _, _):
        text = plan(source.reader, source.dialect.changes(mirror, sql))
        assert "Seq Scan" not in text
        assert "Nested Loop" in text
        counting = source.windows()._counting(capture)
        bounds = ("{}", Snapshot.parse(start).xmax, Snapshot.parse(until).xmax, until, 1000)
        for number, value in enumerate(bounds, start=1):
            counting = counting.replace(f"${number}", f"'{value}'")
        assert "Seq Scan" not in plan(source.reader, counting)


@pytest.mark.full
def test_a_large_window_is_joined_by_a_hash(source, target):
    source.app(
        "create table big (id int primary key, v int); insert into big select g, 0 from generate_series(1, 200000) g"
    )
    source.app("analyze big")
    target.app("create table big (id int primary key, v int)")
    capture = source.capture("big")
    source.app("update big set v = 1 where id % 2 = 0")
    with source.window(capture) as (_, sql, _, _):
        text = plan(source.reader, source.dialect.changes(source.mirror(capture, target), sql))
    assert "Hash" in text.split("Aggregate")[0]
