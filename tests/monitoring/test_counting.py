"""What only the databases know: whether they answer, what waits, what is kept, and for how long somebody is busy."""

import pytest

from pantograph import metrics
from pantograph.pipeline.turn import Limits
from tests.monitoring.conftest import value
from tests.servers import PostgreSQL
from tests.support.clients import Client
from tests.support.comparison import wait_until

SOURCES = ("postgresql", "mariadb", "firebird", pytest.param("mysql", marks=pytest.mark.night))
"""Engines in which a transaction may be open for long and hold nobody up."""


def reached(watched):
    """Wait until everything is there, the checkpoint holds a nonce and the source knows the Reflection."""
    watched.mirror.wait_phase("Streaming")

    def noted():
        groups = [group for process in watched.mirror.processes for group in process.groups()]
        return groups and all(group.read and group.checkpoint.state.nonces for group in groups)

    wait_until(noted, "a nonce")

    def known():
        watched.look()
        return value(watched.page(), metrics.BACKLOG.name, name="t0") is not None

    wait_until(known, "its registration")


@pytest.mark.parametrize("engine", SOURCES)
def test_a_transaction_that_stays_open_at_the_source_is_seen_to_age_and_is_gone_when_it_ends(watch, engine):
    watched = watch(engine)
    watched.start()
    reached(watched)
    watched.look()
    assert value(watched.page(), metrics.OLDEST_TRANSACTION.name, name="from") == 0
    writer = Client(watched.source)
    with writer.transaction():
        writer.run("insert into orders values (1, 'late', 1)")
        watched.app.run("insert into orders values (2, 'early', 1)")
        watched.look()
        first = value(watched.page(), metrics.OLDEST_TRANSACTION.name, name="from")
        watched.look()
        wait_until(lambda: value(watched.page(), metrics.OLDEST_TRANSACTION.name, name="from") > first > 0, "its age")
    writer.close()
    wait_until(lambda: watched.destination.execute("select count(*) from orders")[0][0] == 2, "both rows")
    watched.look()
    assert value(watched.page(), metrics.OLDEST_TRANSACTION.name, name="from") == 0


def test_who_has_one_writer_at_a_time_does_not_tell_of_transactions(watch):
    watched = watch("sqlite")
    watched.start()
    reached(watched)
    watched.look()
    assert value(watched.page(), metrics.OLDEST_TRANSACTION.name, name="from") is None
    assert value(watched.page(), metrics.UP.name, name="from", role="source") == 1


@pytest.mark.parametrize("engine", [*SOURCES, "sqlite"])
def test_what_is_kept_for_a_reflection_that_was_paused_is_counted_and_has_an_age(watch, engine):
    watched = watch(engine)
    watched.start()
    reached(watched)
    watched.close()
    watched.app = Client(watched.source)
    watched.start({"paused": True})
    watched.mirror.wait_phase("Paused")
    watched.look()
    assert value(watched.page(), metrics.BACKLOG.name, name="t0") == 0
    assert value(watched.page(), metrics.OLDEST_EVENT.name, name="t0") is None
    for number in range(3):
        watched.app.run("insert into orders values (?, 'x', 1)", number)
    watched.counting._backlog_at.clear()
    watched.look()
    assert value(watched.page(), metrics.BACKLOG.name, name="t0") == 3
    assert value(watched.page(), metrics.OLDEST_EVENT.name, name="t0") > 1.7e9
    assert value(watched.page(), metrics.RETENTION_AGE.name, name="t0") == 7 * 86400
    size = value(watched.page(), metrics.BACKLOG_BYTES.name, name="t0")
    assert size > 0 if engine in ("postgresql", "mysql", "mariadb") else size is None


def test_a_database_that_went_down_is_down_and_up_again_when_it_came_back(watch):
    with PostgreSQL.start() as server:
        watched = watch("sqlite")
        watched.destination = server.make_database("down")
        watched.start()
        reached(watched)
        watched.look()
        assert value(watched.page(), metrics.UP.name, name="to", role="destination") == 1
        assert value(watched.page(), metrics.DEAD_LETTERS.name, name="t0") == 0
        server.kill()
        watched.look()
        page = watched.page()
        assert value(page, metrics.UP.name, name="to", role="destination") == 0
        assert value(page, metrics.UP.name, name="from", role="source") == 1
        assert value(page, metrics.CONNECT_FAILURES.name, name="to", role="destination", reason="Unreachable") == 1
        assert value(page, metrics.DEAD_LETTERS.name, name="t0") is None
        server.restart()
        watched.look()
        assert value(watched.page(), metrics.UP.name, name="to", role="destination") == 1
        watched.close()


def test_the_lag_of_a_reflector_that_is_stuck_grows(watch):
    watched = watch("postgresql", "postgresql")
    watched.start()
    reached(watched)
    wait_until(lambda: value(watched.page(), metrics.LAG.name, name="t0") == 0, "no lag")
    lock = watched.destination.connect("superuser")
    lock.autocommit = False
    with lock.cursor() as cursor:
        cursor.execute("lock table orders in access exclusive mode")
    watched.app.run("insert into orders values (1, 'x', 1)")

    def lagging(beyond):
        watched.look()
        found = value(watched.page(), metrics.LAG.name, name="t0")
        return found if found > beyond else None

    first = wait_until(lambda: lagging(1.0), "a lag of a second")
    wait_until(lambda: lagging(first + 1.0), "a lag that grew")
    assert value(watched.page(), metrics.PENDING.name, name="t0") == 1
    lock.rollback()
    wait_until(lambda: value(watched.page(), metrics.LAG.name, name="t0") == 0, "no lag any more")
    lock.close()


def test_rows_that_are_refused_are_counted_by_what_they_break(watch):
    watched = watch("sqlite", "sqlite")
    watched.destination.execute(
        "create table orders (id int primary key, customer varchar(40), qty int check (qty > 0), unique (customer))"
    )
    watched.start({"onError": "DeadLetter"})
    reached(watched)
    for number, (customer, quantity) in enumerate([("a", 1), ("a", 2), ("b", -1), ("c", 3)]):
        watched.app.run("insert into orders values (?, ?, ?)", number, customer, quantity)

    def refused(reason):
        return value(watched.page(), metrics.ROWS_FAILED.name, name="t0", reason=reason)

    wait_until(lambda: refused("unique") >= 1 and refused("check") >= 1, "two refused rows")
    assert refused("type") == refused("length") == refused("foreign key") == 0


def test_events_of_one_key_in_one_turn_are_coalesced_and_counted_so(watch):
    watched = watch("sqlite", "sqlite")
    watched.start()
    reached(watched)
    with watched.app.transaction():
        for number in range(1, 6):
            watched.app.run("insert into orders values (?, 'x', 1)", number)
        watched.app.run("update orders set qty = 2")
    wait_until(lambda: value(watched.page(), metrics.EVENTS.name, name="t0") == 10, "ten events")
    assert value(watched.page(), metrics.COALESCED.name, name="t0") == 5
    assert value(watched.page(), metrics.ROWS.name, name="t0", operation="upsert") == 5


def test_a_capture_that_somebody_took_away_drifts_until_it_is_mended(watch):
    watched = watch("postgresql")
    watched.start()
    reached(watched)
    (process,) = watched.mirror.processes
    assert value(watched.page(), metrics.DRIFT.name, name="t0") == 0
    lock = watched.source.connect("superuser")
    lock.autocommit = False
    with lock.cursor() as cursor:
        cursor.execute("alter table orders disable trigger all")
    lock.commit()
    # Somebody who is in the way, so that it cannot be mended at once.
    with lock.cursor() as cursor:
        cursor.execute("lock table orders in row exclusive mode")
    process._source.doubt.set()
    wait_until(lambda: value(watched.page(), metrics.DRIFT.name, name="t0") == 1, "the drift")
    lock.rollback()
    lock.close()
    wait_until(lambda: value(watched.page(), metrics.DRIFT.name, name="t0") == 0, "its mending")


def test_a_copy_has_a_beginning_an_end_and_a_count_of_rows(watch):
    watched = watch("sqlite", "sqlite")
    for number in range(10):
        watched.app.run("insert into orders values (?, 'x', 1)", number)
    watched.start()
    watched.mirror.wait_phase("Streaming")
    page = watched.page()
    began = value(page, metrics.SWEEP_BEGAN.name, name="t0")
    assert 1.7e9 < began <= value(page, metrics.SWEEP_ENDED.name, name="t0")
    assert value(page, metrics.SWEPT.name, name="t0") == 10
    assert value(page, metrics.PROGRESS.name, name="t0") is None


def test_a_reflection_that_is_copied_again_keeps_up_and_says_so(watch):
    watched = watch("sqlite", "sqlite")
    for number in range(400):
        watched.app.run("insert into orders values (?, 'x', 1)", number)
    watched.start()
    reached(watched)
    watched.mirror.stop()
    watched.start({"resyncToken": "again"}, sweep_rate=40, limits=Limits(chunk_rows=40))
    seen = watched.mirror.wait_phase("Sweep")
    caught_up = set()

    def twice():
        caught_up.add(value(watched.page(), metrics.LAST_SUCCESS.name, name="t0"))
        return len(caught_up - {None}) >= 2 and seen.phase == "Sweep"

    wait_until(twice, "two moments at which nothing was left to apply")
    assert value(watched.page(), metrics.STALLED.name, name="t0") == 0
