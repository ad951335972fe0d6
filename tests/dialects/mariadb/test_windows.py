"""W1: every committed event is in a window. W2: a window holds all that its snapshot sees and no earlier one did."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import threading
import time

import pymysql
import pytest

from pantograph import errors
from pantograph.dialects.mysql import positions, windows
from pantograph.dialects.mysql.positions import Seen
from pantograph.model.changes import Pending, Position, Window


@pytest.fixture
def capture(world):
    world.run("create table t (id int primary key, v int)")
    return world.capture("t")


def read(world, capture, since="", reader=None):
    """The keys of the window from `since` to now, and now."""
    reader = reader or world.windows()
    until = reader.open(world.reader, [Position(since)])
    sql, params = reader.keys(capture, Window(Position(since), until))
    keys = sorted(key for (key,) in world.reader.rows(sql, **params))
    world.reader.rollback()
    return until, keys


def open_ids(position, capture):
    return list(positions.parse(position)[capture.id].open)


def test_a_window_is_what_was_committed_since_the_last(world, capture):
    at, keys = read(world, capture)
    assert keys == []
    world.run("insert into t values (1, 0), (2, 0)")
    at, keys = read(world, capture, at)
    assert keys == [1, 2]
    assert read(world, capture, at)[1] == []


def test_a_transaction_that_commits_late_is_in_a_later_window_and_in_one_only(world, capture):
    late, early = world.database.app(), world.database.app()
    late.begin()
    late.cursor().execute("insert into t values (1, 0)")
    early.cursor().execute("insert into t values (2, 0)")
    reader = world.windows()
    first, keys = read(world, capture, "", reader)
    assert keys == [2]
    early.cursor().execute("insert into t values (3, 0)")
    late.cursor().execute("insert into t values (4, 0)")
    second, keys = read(world, capture, first, reader)
    assert keys == [3]
    late.commit()
    third, keys = read(world, capture, second, reader)
    assert keys == [1, 4]
    assert read(world, capture, third, reader)[1] == []
    # A reader that begins anew at any of these positions sees the same.
    assert read(world, capture, first)[1] == [1, 3, 4]
    assert read(world, capture, second)[1] == [1, 4]


def test_one_large_transaction_is_one_open_range_and_is_looked_for_by_one_id(world, capture):
    world.run("create table n (i int primary key)", "insert into n select seq from seq_1_to_30000")
    reader = world.windows()
    start, _ = read(world, capture, "", reader)
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t select i, 0 from n")
    world.run("insert into t values (-1, 0)")
    at, keys = read(world, capture, start, reader)
    assert keys == [-1]
    (group,) = reader._memory[capture.id].groups
    assert positions.count(group.ranges) == 30000
    assert positions.count(group.sample) == 1
    writer.cursor().execute("savepoint s")
    writer.cursor().execute("insert into t select 50000 + i, 0 from n")
    at, keys = read(world, capture, at, reader)
    assert keys == []
    writer.cursor().execute("rollback to savepoint s")
    for _ in range(3):
        at, keys = read(world, capture, at, reader)
        assert keys == []
    writer.commit()
    at, keys = read(world, capture, at, reader)
    assert keys == list(range(1, 30001))
    assert open_ids(at, capture) == []


def test_what_was_rolled_back_is_given_up_when_it_was_seen_before(world, capture):
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t values (1, 0)")
    world.run("insert into t values (2, 0)")
    reader = world.windows()
    at, _ = read(world, capture, "", reader)
    assert open_ids(at, capture) == [(1, 1)]
    writer.rollback()
    for _ in range(2):  # gone at one look, and not in the snapshot after it
        at, _ = read(world, capture, at, reader)
    assert open_ids(at, capture) == []
    assert reader.unresolved() == (0, 0.0)


def _missed(world, capture):
    """An id that nobody ever sees: rolled back before the first look."""
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t values (1, 0)")
    writer.rollback()
    world.run("insert into t values (2, 0)")


@contextlib.contextmanager
def _writing(world, *statements):
    """A connection of the application's that is at its last statement, in a transaction that has written."""
    writer = world.database.app()
    writer.begin()
    for statement in statements[:-1]:
        writer.cursor().execute(statement)
    thread = threading.Thread(target=lambda: writer.cursor().execute(statements[-1]))
    thread.start()
    time.sleep(0.3)
    try:
        yield thread
    finally:
        thread.join()
        writer.rollback()


def _looks(world, capture, reader, at, clock, count):
    for _ in range(count):
        clock[0] += 0.3
        time.sleep(0.15)
        at, _ = read(world, capture, at, reader)
    return at


def test_a_missed_id_is_kept_while_somebody_may_be_about_to_write_its_row(process):
    world = process
    world.run("create table t (id int primary key, v int)")
    capture = world.capture("t")
    clock = [1000.0]
    reader = world.windows(clock=lambda: clock[0])
    with _writing(world, "insert into t values (3, 0)", "do sleep(5)") as thread:
        _missed(world, capture)
        at, _ = read(world, capture, "", reader)
        at = _looks(world, capture, reader, at, clock, 20)
        assert thread.is_alive()
        count, seconds = reader.unresolved()
        assert count == 1
        assert seconds == pytest.approx(6.0)
        thread.join()
        # Its transaction is open, but between two statements: it is in no trigger.
        at = _looks(world, capture, reader, at, clock, 3)
        assert reader.unresolved() == (0, 0.0)
    _looks(world, capture, reader, at, clock, 3)


def test_a_missed_id_does_not_wait_for_the_end_of_a_long_statement(process):
    world = process
    world.run("create table t (id int primary key, v int)", "create table u (id int primary key, v int)")
    capture = world.capture("t")
    clock = [1000.0]
    reader = world.windows(clock=lambda: clock[0])
    with _writing(world, world.spelled("insert into u select seq, sleep(0.02) from seq_1_to_150")) as thread:
        _missed(world, capture)
        at, _ = read(world, capture, "", reader)
        assert reader.unresolved()[0] == 1
        _looks(world, capture, reader, at, clock, 5)
        assert thread.is_alive()
        assert reader.unresolved() == (0, 0.0)


def test_thousands_of_ids_that_were_rolled_back_stop_nothing(world, capture):
    """As where the list of transactions may not be read, and two times the lock timeout have not passed."""
    writer = world.database.app()
    for n in range(3000):
        writer.begin()
        writer.cursor().execute(f"insert into t values ({n}, 0)")
        if n % 2:
            writer.rollback()
        else:
            writer.commit()
    reader = world.windows()
    at, keys = read(world, capture, "", reader)
    assert keys == list(range(0, 3000, 2))
    assert positions.count(open_ids(at, capture)) == reader.unresolved()[0] == 1499  # the last has none above it
    token = reader.token(world.side)
    time.sleep(0.3)
    assert reader.token(world.side).split("/")[:3] == token.split("/")[:3]
    world.run("insert into t values (-1, 0)")
    assert read(world, capture, at, reader)[1] == [-1]
    # As it is kept, it is shorter; who begins there reads events again, and none is left out.
    brief = reader.stored(at, brief=True)
    assert len(brief) < len(at)
    assert read(world, capture, brief)[1][0] == -1


def test_a_reading_from_a_stale_list_of_transactions_proves_nothing(process):
    """A monitor that polls the list keeps its cache from being renewed; then nothing is given up."""
    world = process
    world.run("create table t (id int primary key, v int)")
    world.capture("t")
    stop = threading.Event()
    monitor = world.database.connect("superuser")

    def poll():
        with monitor.cursor() as cursor:
            while not stop.wait(0.02):
                cursor.execute("select count(*) from information_schema.innodb_trx")
                cursor.fetchall()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        time.sleep(0.3)
        with _writing(world, "insert into t values (1, 0)", "do sleep(2)"):
            witness = windows.Witness(world.dialect)
            trusted = 0
            for n in range(15):
                running = witness.reading(float(n))
                if running is not None:
                    trusted += 1
                    assert list(running.values()) == [2]  # what it lists, it lists rightly: the row and its event
                time.sleep(0.05)
            witness.close()
            assert trusted < 15
    finally:
        stop.set()
        thread.join()


def test_without_the_list_a_missed_id_waits_for_unbroken_polling(world, capture):
    _missed(world, capture)
    clock = [1000.0]
    reader = world.windows(clock=lambda: clock[0])
    limit = 2 * world.side.row("select @@global.innodb_lock_wait_timeout")[0]
    at, _ = read(world, capture, "", reader)
    begun = clock[0]
    while clock[0] - begun < limit - 1.5:
        clock[0] += 1.0
        at, _ = read(world, capture, at, reader)
        assert open_ids(at, capture) == [(1, 1)]
    clock[0] += 5  # not unbroken any more: it counts from here
    begun = clock[0]
    while clock[0] - begun < limit - 1.5:
        at, _ = read(world, capture, at, reader)
        assert open_ids(at, capture) == [(1, 1)]
        clock[0] += 1.0
    for _ in range(2):
        at, _ = read(world, capture, at, reader)
        clock[0] += 1.5
    at, _ = read(world, capture, at, reader)
    assert open_ids(at, capture) == []


def test_a_failed_look_starts_the_count_again(world, capture):
    _missed(world, capture)
    clock = [1000.0]
    reader = world.windows(clock=lambda: clock[0])
    at, _ = read(world, capture, "", reader)
    broken = world.session(world.reader.role)
    broken.raw.close()
    with pytest.raises(errors.Unreachable):
        reader.open(broken, [at])
    clock[0] += 0.5
    read(world, capture, at, reader)
    (missed,) = reader._memory[capture.id].missed
    assert missed.polled_since == clock[0]


def test_a_new_reader_takes_what_was_open_for_missed(world, capture):
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t values (1, 0)")
    world.run("insert into t values (2, 0)")
    at, _ = read(world, capture)
    anew = world.windows()
    second, keys = read(world, capture, at, anew)
    assert (keys, open_ids(second, capture)) == ([], [(1, 1)])
    writer.commit()
    assert read(world, capture, second, anew)[1] == [1]


def test_the_token_is_the_same_only_while_nothing_happens(world, capture):
    reader = world.windows()
    first = reader.token(world.side)
    read(world, capture, "", reader)
    assert reader.token(world.side) == first
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t values (1, 0)")
    second = reader.token(world.side)
    assert second != first
    read(world, capture, "", reader)  # the id is open now
    reader._clock = lambda: 0.0
    third = reader.token(world.side)
    assert third not in (first, second)
    assert reader.token(world.side) == third
    writer.commit()
    assert reader.token(world.side) != third


def test_the_token_changes_with_the_commit_of_an_id_that_was_taken_before_it(world, capture):
    reader = world.windows(clock=lambda: 0.0)
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t values (1, 0)")
    before = reader.token(world.side)
    read(world, capture, "", reader)
    writer.commit()
    assert reader.token(world.side) != before


def test_a_look_is_cheap_with_many_captures(world):
    for n in range(200):
        world.run(f"create table t{n} (id int primary key)")
        world.capture(f"t{n}")
    reader = world.windows()
    at = reader.open(world.reader, [Position("")])
    world.reader.rollback()

    def median(call):
        taken = []
        for _ in range(21):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        return sorted(taken)[10]

    def window():
        reader.open(world.reader, [at])
        world.reader.rollback()

    assert median(lambda: reader.token(world.side)) < 0.005
    assert median(window) < 0.1
    assert len(at) < 10_000


def test_a_look_asks_no_more_often_however_many_writers_have_rows_open(world, capture):
    """On a server whose every core is busy each statement waits for its turn, and the window for all of them."""
    reader = world.windows()
    selects = "show session status like 'Com_select'"

    def asked():
        rows = [*world.reader.rows(selects), *reader._witness.raw()(selects)]
        world.reader.rollback()
        return sum(int(count) for _, count in rows)

    def look(at):
        before = asked()
        at, keys = read(world, capture, at, reader)
        return at, keys, asked() - before

    def begun(numbers):
        writers = [world.database.app() for _ in numbers]
        for number, writer in zip(numbers, writers, strict=True):
            writer.begin()
            writer.cursor().execute(f"insert into t values ({number}, 0)")
            world.run(f"insert into t values ({100 + number}, 0)")
        return writers

    at, counts = "", []
    for numbers in (range(1, 3), range(3, 13)):
        writers = begun(numbers)
        at, keys, _ = look(at)
        assert keys == [100 + number for number in numbers]
        at, keys, waiting = look(at)
        for writer in writers:
            writer.commit()
        at, keys, ending = look(at)
        assert keys == list(numbers)
        counts.append((waiting, ending))
    assert counts[1] == counts[0]


def test_pending_counts_up_to_its_limit_and_knows_the_oldest(world, capture):
    world.run("create table u (id int primary key)", "create table idle (id int primary key)")
    other, _ = world.capture("u"), world.capture("idle")
    reader = world.windows()
    at, _ = read(world, capture, "", reader)
    world.run("insert into t values " + ", ".join(f"({n}, 0)" for n in range(20)))
    time.sleep(0.2)
    world.run("insert into u values (1)")
    until = reader.open(world.reader, [at])
    since = {each.id: at for each in world.captures.values()}
    found = reader.pending(world.reader, since, until, 10)
    assert set(found) == {capture.id, other.id}
    assert found[capture.id][0] == Pending(10)
    assert found[other.id][0] == Pending(1)
    assert 0.2 <= found[capture.id][1] < 5 > found[other.id][1]
    assert set(reader.pending(world.reader, since | {capture.id: until}, until, 10)) == {other.id}
    world.reader.rollback()


def test_pages_hold_each_event_once_and_end(world, capture):
    world.run("insert into t select seq, 0 from seq_1_to_2000")
    _missed_page = world.database.app()
    _missed_page.begin()
    _missed_page.cursor().execute("insert into t values (-1, 0)")
    _missed_page.rollback()
    reader = world.windows()
    start, _ = read(world, capture, "", reader)
    world.run("update t set v = 1", "delete from t where id > 1990")
    until, _ = read(world, capture, start, reader)
    world.run("update t set v = 2 where id < 500")  # not in the window
    window, after, seen, pages = Window(start, until), 0, [], 0
    while True:
        reader.open(world.reader, [start])  # each page in a snapshot of its own
        end = reader.page_end(world.reader, capture, window, after, 150)
        if end is None:
            break
        sql, params = reader.keys(capture, window, after=after, limit=150)
        found = world.reader.rows(sql, **params)
        assert len(found) <= 150
        seen += [key for (key,) in found]
        pages += 1
        world.reader.rollback()
        after = end
    world.reader.rollback()
    assert pages == -(-2010 // 150)
    assert sorted(seen) == list(range(1, 2001))  # the last page holds ten keys twice, and yields them once


def test_a_position_of_the_future_was_not_issued_here(world, capture):
    world.run("insert into t values (1, 0), (2, 0)")
    reader = world.windows()
    at, _ = read(world, capture, "", reader)
    assert reader.issued(world.side, at)
    assert reader.issued(world.side, Position(""))
    assert not reader.issued(world.side, positions.render({capture.id: Seen(3)}))
    reader.purge(world.side, capture, [at], 100)
    assert reader.issued(world.side, at)


def test_purging_takes_what_every_position_has_read_and_waits_for_no_writer(world, capture):
    world.run("insert into t values (1, 0), (2, 0)")
    reader = world.windows()
    behind, _ = read(world, capture, "", reader)
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t values (3, 0)")
    world.run("insert into t values (4, 0), (5, 0)")
    at, _ = read(world, capture, behind, reader)
    assert reader.purge(world.side, capture, [at, behind], 100) == 2
    assert reader.purge(world.side, capture, [at], 1) == 1
    assert reader.purge(world.side, capture, [at], 100) == 0
    writer.commit()
    assert read(world, capture, at, reader)[1] == [3]


def test_expiry_leaves_alone_what_is_not_committed(world, capture):
    world.run("insert into t values (1, 0)")
    writer = world.database.app()
    writer.begin()
    writer.cursor().execute("insert into t values (2, 0)")
    world.run("insert into t values (3, 0)")
    # As old as it gets, so that all but the last would go.
    assert world.windows().expire(world.side, capture, 0.0, 10, 100) == (1, "1")
    writer.commit()
    assert [key for _, key in world.noted(capture)] == [2, 3]


def test_expiry_takes_the_oldest_and_leaves_its_mark(world, capture):
    world.run("insert into t values (1, 0), (2, 0), (3, 0), (4, 0)")
    reader = world.windows()
    at, _ = read(world, capture, "", reader)
    assert reader.expire(world.side, capture, 3600, 100, 1000) == (0, "")
    count, mark = reader.expire(world.side, capture, 3600, 3, 1000)
    assert (count, mark) == (1, "1")
    assert reader.covers(at, mark, capture)
    assert not reader.covers(Position(""), mark, capture)
    assert reader.covers(Position(""), "", capture)
    time.sleep(0.1)
    assert reader.expire(world.side, capture, 0.05, 100, 2) == (2, "3")


# -- many writers ------------------------------------------------------------------------------------------------------

_FORK = multiprocessing.get_context("fork")
WRITERS, TRANSFERS = 8, 250


def _transfer(url, seed, transfers):
    """Move something from an account to another, or from a table to the other: the sum over both is always 0."""
    app = pymysql.connect(
        host=url["host"], port=url["port"], user=url["username"], password=url["password"], database=url["database"],
        autocommit=True,
    )  # fmt: skip
    cursor, random_ = app.cursor(), random.Random(seed)
    done = 0
    while done < transfers:
        amount, one, two = random_.randint(1, 9), random_.randint(1, 40), random_.randint(1, 40)
        try:
            cursor.execute("begin")
            cursor.execute("update a set n = n - %s, seen = seen + 1 where id = %s", (amount, one))
            if random_.random() < 0.5:
                time.sleep(0.2 if random_.random() < 0.02 else random_.random() / 200)
            cursor.execute("update b set n = n + %s, seen = seen + 1 where id = %s", (amount, two))
            if random_.random() < 0.1:
                cursor.execute("rollback")
            else:
                cursor.execute("commit")
                done += 1
        except pymysql.err.OperationalError as error:
            if error.args[0] not in (1205, 1213):
                raise
            cursor.execute("rollback")
    app.close()


@pytest.mark.full
@pytest.mark.parametrize("monitored", [False, True], ids=["alone", "with a monitor"])
def test_nothing_is_lost_or_torn_under_many_writers(process, monitored):
    world = process
    world.run(
        *(f"create table {t} (id int primary key, n int, seen int)" for t in "ab"),
        *(f"insert into {t} select seq, 0, 0 from seq_1_to_40" for t in "ab"),
    )
    a, b = world.capture("a"), world.capture("b")
    reader = world.windows()
    at = reader.open(world.reader, [Position("")])
    world.reader.rollback()
    stop = threading.Event()
    monitor = world.database.connect("superuser")

    def poll():
        with monitor.cursor() as cursor:
            while not stop.wait(0.02):
                cursor.execute("select count(*) from information_schema.innodb_trx")
                cursor.fetchall()

    thread = threading.Thread(target=poll)
    if monitored:
        thread.start()
    writers = [_FORK.Process(target=_transfer, args=(world.database.url("app"), n, TRANSFERS)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()

    held = {each.id: [] for each in (a, b)}
    copies = {each.id: dict.fromkeys(range(1, 41), 0) for each in (a, b)}
    control, lost_by_control = {each.id: 0 for each in (a, b)}, {each.id: set() for each in (a, b)}
    windows_read = torn = 0
    idle = 0
    while idle < 40:
        alive = any(writer.is_alive() for writer in writers)
        until = reader.open(world.reader, [at])
        for capture in (a, b):
            table = world.dialect.ours(capture.event_table)
            ranges = positions.between(positions.parse(at).get(capture.id, Seen()), positions.parse(until)[capture.id])
            ids = [row[0] for row in world.reader.rows(f"select id from {table} where {windows._within(ranges)}")]
            held[capture.id] += ids
            by_id = world.reader.rows(f"select id from {table} where id > :last", last=control[capture.id])
            lost_by_control[capture.id] |= {row[0] for row in by_id}
            control[capture.id] = max([control[capture.id], *(row[0] for row in by_id)])
            sql, params = reader.keys(capture, Window(at, until))
            for (key,) in world.reader.rows(sql, **params):
                (n,) = world.reader.row(f"select n from {capture.table} where id = :id", id=key)
                copies[capture.id][key] = n
        world.reader.rollback()
        windows_read += 1
        torn += sum(copies[a.id].values()) + sum(copies[b.id].values()) != 0
        at = until
        idle = idle + 1 if not alive else 0
        time.sleep(0.005)
    stop.set()
    if monitored:
        thread.join()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    missed_by_control = 0
    for capture in (a, b):
        there = [r[0] for r in world.side.rows(f"select id from {world.dialect.ours(capture.event_table)}")]
        assert set(there) - set(held[capture.id]) == set(), "lost"
        assert len(held[capture.id]) == len(set(held[capture.id])), "twice"
        missed_by_control += len(set(there) - lost_by_control[capture.id])
    assert torn == 0, f"{torn} of {windows_read} windows"
    assert missed_by_control > 0, "the test makes no late commits"
