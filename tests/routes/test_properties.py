"""After any history and any crash, source and destination are equal; and what others can read meanwhile is an image."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pantograph.database import sessions
from pantograph.pipeline import steps
from pantograph.pipeline.turn import Limits
from tests.servers import PostgreSQL, SQLite, TestDatabase
from tests.support import comparison, hands, mirrors
from tests.support.clients import Client

SMALL = Limits(rows=2, size=1 << 20, transaction_rows=500)
KEYS = 6
COLUMNS = ("id", "v")

who = st.integers(0, 1)
table = st.integers(0, 1)
key = st.integers(0, KEYS - 1)
write = st.one_of(
    st.tuples(st.sampled_from(["put", "update", "delete"]), who, table, key, st.integers(0, 99)),
    st.tuples(st.sampled_from(["move", "swap"]), who, table, key, key),
)
end = st.tuples(st.sampled_from(["commit", "commit", "rollback"]), who)
step = st.tuples(st.just("step"), table)
death = st.tuples(st.just("death"), table, st.integers(1, 30))
histories = st.lists(st.one_of(write, write, end, step, step, death), min_size=5, max_size=60)

_numbers = itertools.count(1)


class World:
    """Two tables, two writers whose keys do not overlap, a reflector that is moved by hand, and all images so far."""

    def __init__(self, source: TestDatabase, destination: TestDatabase) -> None:
        self.source, self.destination = source, destination
        number = next(_numbers)
        self.tables = [f"a{number}", f"b{number}"]
        self.app, self.there = Client(source), Client(destination, "superuser")
        for name in self.tables:
            self.app.run(f"create table {name} (id int primary key, v int)")
            for n in range(KEYS * 2):
                self.app.run(f"insert into {name} values (?, ?)", n, n)
        self.writers = [Client(source), Client(source)]
        self.open = [False, False]
        self.images = {self.image(self.app)}
        made = mirrors.documents(source, destination, self.tables)
        (self.wanted,) = mirrors.wanted(made)
        # Capture is installed while nobody writes; it would wait for the writers, and they for this thread.
        self.hand: hands.Hand | None = hands.Hand(self.wanted, SMALL)
        self.broken: list[Any] = []
        self.committed = 0

    def image(self, client: Client) -> tuple[frozenset[tuple[Any, ...]], ...]:
        with client.snapshot():
            return tuple(frozenset(client.run(f"select id, v from {name}")) for name in self.tables)

    # -- the source --------------------------------------------------------------------------------------------------

    def write(self, kind: str, writer: int, which: int, k: int, value: int) -> None:
        if self.source.dialect == "sqlite" and self.open[1 - writer]:
            return  # one writer at a time
        client, name = self.writers[writer], self.tables[which]
        if not self.open[writer]:
            client.begin()
            self.open[writer] = True
        k = k + writer * KEYS
        match kind:
            case "put":
                client.run(f"delete from {name} where id = ?", k)
                client.run(f"insert into {name} values (?, ?)", k, value)
            case "update":
                client.run(f"update {name} set v = ? where id = ?", value, k)
            case "delete":
                client.run(f"delete from {name} where id = ?", k)
            case "move" if value + writer * KEYS != k:
                client.run(f"delete from {name} where id = ?", value + writer * KEYS)
                client.run(f"update {name} set id = ? where id = ?", value + writer * KEYS, k)
            case "swap" if value + writer * KEYS != k:
                other = value + writer * KEYS
                client.run(f"update {name} set id = ? where id = ?", -1 - k, k)
                client.run(f"update {name} set id = ? where id = ?", k, other)
                client.run(f"update {name} set id = ? where id = ?", other, -1 - k)

    def end(self, kind: str, writer: int) -> None:
        if self.open[writer]:
            self.writers[writer].run(kind)
            self.open[writer] = False
            self.images.add(self.image(self.app))

    # -- the reflector -----------------------------------------------------------------------------------------------

    def _look(self, name: str, when: str) -> None:
        """After each commit: what others can read now."""
        if (name, when) == (steps.COMMIT, "after") and self.hand is not None and self._was_joined:
            self.committed += 1
            found = self.image(self.there)
            if found not in self.images:
                self.broken.append(found)

    def step(self, which: int, death: int = 0) -> None:
        self._was_joined = self.hand is not None and self.hand.joined
        remove = sessions.add_hook(self._look)
        try:
            with hands.dying(death) if death else contextlib.nullcontext():
                if self.hand is None:
                    self.hand = hands.Hand(self.wanted, SMALL)
                else:
                    self.hand.step(f"default/t{which}")
        except hands.Died:
            if self.hand is not None:
                self.hand.close()
            self.hand = None
        finally:
            remove()

    def close(self) -> None:
        if self.hand is not None:
            self.hand.close()
        for client in (*self.writers, self.app, self.there):
            client.close()


def _play(world: World, history: list[tuple[Any, ...]], joined: bool) -> None:
    try:
        if joined and world.hand is not None:
            world.hand.settle()
        for kind, *rest in history:
            match kind:
                case "step":
                    world.step(*rest)
                case "death":
                    world.step(*rest)
                case "commit" | "rollback":
                    world.end(kind, *rest)
                case _:
                    world.write(kind, *rest)
        for writer in (0, 1):
            world.end("commit", writer)
        if world.hand is None:
            world.hand = hands.Hand(world.wanted, SMALL)
        world.hand.settle()
        for name in world.tables:
            assert comparison.difference(world.source, world.destination, name, COLUMNS) == ""
        assert world.broken == []
    finally:
        world.close()


@hypothesis.settings(max_examples=200, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(history=histories, joined=st.booleans())
def test_any_history_and_any_death_on_sqlite(history: list[tuple[Any, ...]], joined: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = SQLite(pathlib.Path(folder))
        source, destination = files.make_database("source"), files.make_database("destination")
        _play(World(source, destination), history, joined)
        source.close()
        destination.close()


@pytest.fixture
def databases(postgresql: PostgreSQL) -> Iterator[tuple[TestDatabase, TestDatabase]]:
    source, destination = postgresql.make_database("psource"), postgresql.make_database("pdestination")
    yield source, destination
    source.drop()
    destination.drop()


@pytest.mark.full
@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(history=histories, joined=st.booleans())
def test_any_history_and_any_death_on_postgresql(
    databases: tuple[TestDatabase, TestDatabase], history: list[tuple[Any, ...]], joined: bool
) -> None:
    _play(World(*databases), history, joined)
    # The source has one control row; the next example's tables are others.
    for database in databases:
        with contextlib.closing(database.superuser()) as raw, raw.cursor() as cursor:
            cursor.execute("drop schema pantograph cascade")
