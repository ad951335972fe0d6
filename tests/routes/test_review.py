"""Ways to lose an event that somebody once found: each must stay closed."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

import pytest

from pantograph.apply import execute, sources
from pantograph.database import sessions
from pantograph.pipeline import steps
from pantograph.reflector import process
from tests.routes.conftest import ENGINES, Pair
from tests.support import mirrors
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]
COLUMNS = ("id", "qty")


def _create(pair: Pair, *tables: str) -> None:
    for table in tables:
        pair.make(f"create table {table} (id int primary key, qty int)", f"insert into {table} values (1, 1), (2, 2)")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", ["left out for a while", "in another stream"])
def test_a_stream_that_goes_on_without_a_member_leaves_its_position_behind(
    make_pair: MakePair, engine: str, change: str
) -> None:
    pair = make_pair(engine, engine)
    _create(pair, "one", "two")
    pair.start("one", "two")
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
    pair.stop()
    whole = pair.documents
    # The table goes on being captured: only nobody asks for its copy.
    pair.documents = [d for d in whole if (d["kind"], d["metadata"]["name"]) != ("Reflection", "t1")]
    moving = pair.start()
    pair.make("insert into two values (3, 3)", "update two set qty = 7 where id = 1", "delete from two where id = 2")
    pair.make("insert into one values (3, 3)")
    pair.wait_equal(one=COLUMNS)
    wait_until(lambda: moving.seen("t0").events > 0, "the stream has moved")
    pair.stop()
    second = {"table": "two"} if change == "left out for a while" else {"table": "two", "stream": "other"}
    pair.start("one", second)
    pair.wait_equal(one=COLUMNS, two=COLUMNS)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_retention_took_from_a_stream_that_stood_still_is_noticed_by_it(make_pair: MakePair, engine: str) -> None:
    """All in one life of the process: it must not go on from where it stood."""
    pair = make_pair(engine, engine)
    _create(pair, "one")
    gate = threading.Event()
    gate.set()

    def wait_at_the_gate(step: str, when: str) -> None:
        if (step, when) == (steps.OPEN_SNAPSHOT, "before") and threading.current_thread().name.startswith("stream"):
            gate.wait(60)

    remove = sessions.add_hook(wait_at_the_gate)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "NONCE_EVERY", 0.5)
            moving = pair.start("one")
            wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
            (running,) = moving.processes
            gate.clear()
            pair.make("insert into one values (3, 3)", "delete from one where id = 2", "update one set qty = 7")
            # It may have been on its way when the gate was shut.
            time.sleep(0.5)
            pair.make("insert into one values (4, 4)", "delete from one where id = 3", "update one set qty = 8")
            before = running.wanted
            (table,) = running._captured
            running.wanted = dataclasses.replace(before, retention={table: sources.Retention(max_rows=0)})
            assert running._source
            purged = running._source.purged
            wait_until(lambda: any(purged.values()), "retention took events")
            running.wanted = before
            gate.set()
            moving.wait_said("events that were not read yet went beyond retention")
            # Copied again; what is to be deleted then may wait for a person.
            there = "select id, qty from one"
            wait_until(
                lambda: {(1, 8), (4, 8)} <= {tuple(row) for row in pair.destination.execute(there, role="superuser")},
                "what was written meanwhile",
            )
    finally:
        gate.set()
        remove()


def test_a_connection_is_never_closed_under_another_threads_statement(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll is nearly always in the session of its source; closing it there ended the process inside SQLite."""
    pair = make_pair("sqlite", "sqlite")
    _create(pair, "one")
    under: list[str] = []
    close = sessions.Session.close

    def watched(self: sessions.Session) -> None:
        under.extend(filter(None, [self._step]))
        close(self)

    inside = threading.Event()

    def linger(step: str, when: str) -> None:
        if (step, when) == (steps.LOOK, "before"):
            inside.set()
            time.sleep(0.02)

    monkeypatch.setattr(sessions.Session, "close", watched)
    remove = sessions.add_hook(linger)
    try:
        pair.start("one")
        wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
        for _ in range(3):
            inside.clear()
            assert inside.wait(30)
            pair.stop()
            pair.start()
    finally:
        remove()
    assert under == []


def test_a_process_that_waits_for_a_transaction_of_the_application_stops_when_it_is_told_to(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "FIRST_WAIT", 3600.0)
    pair = make_pair("postgresql", "sqlite")
    pair.make("create table t (id int primary key)")
    with pair.app.transaction():
        pair.make("insert into t values (1)")
        pair.start("t").wait_said("in the way")
        pair.stop()
