"""Every statement is sent in a named step, and every named step is come to: no seam stays untested unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pantograph import dialects
from pantograph.database import sessions
from pantograph.dialects.base import Role
from pantograph.pipeline import steps
from pantograph.reflector import process, streams
from tests.routes.conftest import Pair
from tests.routes.test_verify import verify
from tests.support import mirrors
from tests.support.comparison import difference, wait_equal, wait_until

MakePair = Callable[[str, str], Pair]
NAMED = {value for name, value in vars(steps).items() if name.isupper() and isinstance(value, str)}
FAMILY = {"parents": ("id", "name"), "children": ("id", "parent", "name")}


def _family(pair: Pair) -> None:
    """Tied together at the destination only, so that rows wait for their parents and cascades take them."""
    pair.make(
        "create table parents (id int primary key, name varchar(20))",
        "create table children (id int primary key, parent int, name varchar(20))",
        "insert into parents values (1, 'p'), (2, 'q')",
        "insert into children values (10, 1, 'a'), (11, 1, 'b'), (20, 2, 'c')",
    )
    parents = "create table parents (id bigint primary key, name text)"
    tie = "references parents (id) on delete cascade"
    children = f"create table children (id bigint primary key, parent bigint {tie}, name text)"
    for sql in (parents, children):
        pair.destination.execute(sql)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The steps that were entered so far."""
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    monkeypatch.setattr(streams, "LOOK_AT_KEYS", 0.1)
    found: set[str] = set()
    remove = sessions.add_hook(lambda step, when: found.add(step))
    yield found
    remove()


@pytest.fixture
def unnamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements that reached a file while no step was open, as SQLite itself tells; a rollback needs none."""
    sent: list[str] = []
    original = sessions.Session.__init__

    def watched(self: sessions.Session, *args: Any, **named: Any) -> None:
        original(self, *args, **named)

        def trace(sql: str) -> None:
            if not self._step and sql.strip().lower() != "rollback":
                sent.append(sql)

        if self.dialect.name == "sqlite":
            self.raw.set_trace_callback(trace)

    monkeypatch.setattr(sessions.Session, "__init__", watched)
    return sent


def test_all_statements_are_in_steps_and_all_steps_are_come_to(
    make_pair: MakePair, entered: set[str], unnamed: list[str]
) -> None:
    pair = make_pair("sqlite", "sqlite")
    _family(pair)
    pair.start(*FAMILY)
    pair.wait_equal(**FAMILY)
    pair.make("delete from parents where id = 1")
    wait_until(lambda: not difference(pair.source, pair.destination, "parents", FAMILY["parents"]), "the delete")
    pair.make("insert into parents values (1, 'back')", "update children set name = 'x' where id = 20")
    pair.wait_equal(**FAMILY)
    verify(pair)
    wait_until(lambda: steps.PURGE in entered and steps.WRITE_NONCE in entered, "housekeeping")
    pair.stop()
    assert unnamed == []
    assert sorted(NAMED - entered) == [steps.LISTEN]  # nobody tells of a file: tests/routes/test_wake_up.py
    assert sorted(entered - NAMED) == []


@pytest.mark.parametrize("how", ["run", "rows", "row", "direct", "many", "batches", "begin", "commit"])
def test_a_statement_outside_a_step_is_refused(make_pair: MakePair, how: str) -> None:
    pair = make_pair("sqlite", "sqlite")
    pair.make("create table t (id int primary key)")
    (wanted,) = mirrors.wanted(mirrors.documents(pair.source, pair.destination, ["t"]))
    session = sessions.Session(dialects.load(wanted.address), Role.ADMIN)
    calls: dict[str, Callable[[], Any]] = {
        "run": lambda: session.run("insert into t values (1)"),
        "rows": lambda: session.rows("select 1"),
        "row": lambda: session.row("select 1"),
        "direct": lambda: session.direct("insert into t values (1)"),
        "many": lambda: session.many("insert into t values (?)", [(1,)]),
        "batches": lambda: list(session.batches("select 1", 1, 1)),
        "begin": session.begin,
        "commit": session.commit,
    }
    with pytest.raises(RuntimeError, match="outside a named step"):
        calls[how]()
    session.close()
    assert pair.source.execute("select count(*) from t") == [(0,)]


@pytest.mark.full
@pytest.mark.parametrize("destination", ["postgresql", "sqlite"])
def test_killed_while_rows_wait_for_parents_and_cascades_take_them(make_pair: MakePair, destination: str) -> None:
    pair = make_pair("sqlite", destination)
    _family(pair)
    made = mirrors.documents(pair.source, pair.destination, list(FAMILY))
    with mirrors.Runner(made) as runner:
        runner.start()
        wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
        seams = [
            (step, when, n)
            for step in (steps.NOTE_KEYS, steps.DELETE, steps.UPSERT, steps.COMMIT)
            for when in ("before", "after")
            for n in (1, 2)
        ]
        for round_, (step, when, n) in enumerate(seams):
            runner.kill() if runner.alive else None
            pair.make(f"delete from parents where id = {1 + round_ % 2}")
            runner.start(f"{step}:{when}:{n}")
            # Some die at once, some when the parent comes back, some of the second kind never.
            wait_until(
                lambda: not runner.alive or not difference(pair.source, pair.destination, "parents", FAMILY["parents"]),
                "the delete, or death",
            )
            pair.make(f"insert into parents values ({1 + round_ % 2}, 'round {round_}')")
        runner.kill() if runner.alive else None
        runner.start()
        wait_equal(pair.source, pair.destination, FAMILY)
