"""Random Reflections of random tables, and random histories of both: the destination is what a model says.

A seed decides everything. One that failed is run again with `PANTOGRAPH_SEEDS=17` in the environment; a range, as in
`PANTOGRAPH_SEEDS=100-400`, looks for more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest

from pantograph import errors
from pantograph.pipeline import sharing
from pantograph.pipeline.turn import Limits
from tests.routes.conftest import ENGINES, NAMED, NAMED_DAILY, NAMED_ROUTES, RING, ROUTES, named
from tests.servers import TestDatabase
from tests.support import hands, mirrors
from tests.support.clients import Client
from tests.support.worlds import WRITERS, World, Writer

SMALL = Limits(rows=3, size=1 << 20, transaction_rows=40)


def seeds(*usual: int) -> list[int]:
    """Those that are asked for, or the usual ones."""
    asked = os.environ.get("PANTOGRAPH_SEEDS", "")
    if not asked:
        return list(usual)
    first, _, last = asked.partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture
def make_databases(request: pytest.FixtureRequest) -> Callable[[str, str], tuple[list[TestDatabase], TestDatabase]]:
    def make(source: str, destination: str) -> tuple[list[TestDatabase], TestDatabase]:
        engines = {**ENGINES, **NAMED}
        sources = [request.getfixturevalue(engines[source])() for _ in range(2)]
        return sources, request.getfixturevalue(engines[destination])()

    return make


class Life:
    """A world whose writers and reflectors are moved by hand, one step at a time."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng
        self.log: list[str] = []
        world.create()
        self.writers = [
            [Writer(world, Client(database), number) for number in range(WRITERS)] for database in world.sources
        ]
        self.hands: list[hands.Hand | None] = []
        self.begin()

    def begin(self) -> None:
        """Lives of the reflectors, by the manifests as they are. The owner of a table comes before who adds to it."""
        self.end()
        wanted = sorted(mirrors.wanted(self.world.documents()), key=lambda one: one.name)
        self.hands = [self._hand(one) for one in wanted if one.copies]

    def _hand(self, wanted: Any) -> hands.Hand:
        return hands.Hand(wanted, SMALL, looks_at_keys=True)

    def end(self) -> None:
        for hand in self.hands:
            if hand is not None:
                hand.close()
        self.hands = []

    # -- one thing at a time -----------------------------------------------------------------------------------------

    def live(self, length: int) -> None:
        things = ["act"] * 11 + ["finish"] * 3 + ["step"] * 8 + ["death", "edit", "look", "truncate"]
        for _ in range(length):
            kind = self.rng.choice(things)
            self.log.append(kind)
            getattr(self, kind)()

    def _idle(self) -> bool:
        return not any(writer.open for writers in self.writers for writer in writers)

    def act(self) -> None:
        table = self.rng.choice(self.world.tables)
        writer = self.rng.choice(self.writers[table.where_it_is])
        if writer.client.dialect == "sqlite" and any(
            w.open for w in self.writers[table.where_it_is] if w is not writer
        ):
            return  # one at a time
        try:
            writer.begin()
            self.log.append(writer.act(table))
        except Exception as error:
            if not waited_in_vain(error):
                raise
            writer.end("rollback")

    def finish(self) -> None:
        writers = [writer for writers in self.writers for writer in writers if writer.open]
        if writers:
            how = self.rng.choice(["commit", "commit", "commit", "rollback"])
            self.log.append(how)
            self.rng.choice(writers).end(how)
            self.world.remember()

    def truncate(self) -> None:
        table = self.rng.choice(self.world.tables)
        if self.world.sources[0].dialect == "postgresql" and self._idle():
            self.writers[table.where_it_is][0].truncate(table)
            self.log.append(f"truncate {table.name}")

    def step(self, death: int = 0) -> None:
        n = self.rng.randrange(len(self.hands))
        hand = self.hands[n]
        assert hand is not None
        reflection = self.rng.choice(sorted(hand.ready))

        def step() -> None:
            with hands.dying(death) if death else contextlib.nullcontext():
                hand.step(reflection)

        self.log.append(f"step {reflection}")
        self._or_anew(n, step)

    def _or_anew(self, n: int, move: Callable[[], Any]) -> Any:
        """A move of a reflector; where it dies of it, or has to plan again, it begins again."""
        hand = self.hands[n]
        assert hand is not None
        try:
            return move()
        except (hands.Died, errors.CaptureDrift) as error:
            self.log.append(f"{type(error).__name__}")
            hand.close()
            self.hands[n] = self._hand(hand.wanted)
            return False

    def death(self) -> None:
        if self._idle():
            self.step(self.rng.randint(1, 30))

    def edit(self) -> None:
        if self._idle():
            self.log.append(self.world.edit())
            self.begin()

    def look(self) -> None:
        if self._idle() and self.rng.random() < 0.5:
            self.check()

    def check(self) -> None:
        """Until nothing changes any more; then all is as it must be."""
        still = 0
        for _ in range(600):
            quiet = [self._or_anew(n, hand.idle) for n, hand in enumerate(self.hands) if hand is not None]
            still = still + 1 if all(quiet) else 0
            if still == 2:
                break
        else:
            raise AssertionError("it does not settle")
        wrong = self.world.wrong()
        assert not wrong, wrong

    def settle(self) -> None:
        for writer in (w for writers in self.writers for w in writers):
            writer.end("commit")
        self.world.remember()
        self.check()

    def close(self) -> None:
        self.end()
        for writer in (w for writers in self.writers for w in writers):
            writer.close()


def waited_in_vain(error: Exception) -> bool:
    """Did the application's statement wait for the other writer?"""
    return "lock" in str(error).lower()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noted keys are looked up with the next turn."""
    monkeypatch.setattr(sharing, "LOOK_AGAIN", -1.0)


def play(world: World, length: int = 80) -> None:
    life = Life(world)
    try:
        life.live(length)
        life.settle()
    except Exception as error:
        manifests = "\n".join(f"  {one.table}: {one.manifest()}" for one in world.reflected)
        raise AssertionError(
            f"seed {world.seed}: {type(error).__name__}: {error}\n{manifests}\n{world.before}\n{life.log}"
        ) from error
    finally:
        life.close()


@pytest.mark.full
@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("route", named([*ROUTES, *NAMED_ROUTES], [*RING, *NAMED_DAILY]))
def test_any_history_of_any_reflections_ends_as_the_model_says(
    make_databases: Callable[[str, str], Any], route: tuple[str, str], seed: int
) -> None:
    sources, destination = make_databases(*route)
    play(World(seed, sources, destination, streams=["default"]))
