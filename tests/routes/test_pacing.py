"""Sweeps keep to their hours and their pace, and changes go on being applied meanwhile."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest

from pantograph.reflector import pacing, streams
from pantograph.reflector.pacing import Pacing
from tests.routes.conftest import ENGINES, Pair
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]
ITEMS = ("id", "name")


def filled(pair: Pair, rows: int) -> None:
    pair.make("create table items (id int primary key, name varchar(40))")
    with pair.app.transaction():
        for n in range(rows):
            pair.app.run("insert into items values (?, ?)", n, f"item {n}")


def wait_name(pair: Pair, key: int, name: str) -> None:
    sql = f"select name from items where id = {key}"
    wait_until(lambda: pair.destination.execute(sql, role="superuser")[0][0] == name, f"{key} is {name}")


@pytest.mark.parametrize("engine", ENGINES)
def test_outside_the_hours_only_changes_are_applied(
    make_pair: MakePair, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HELD_PAUSE", 0.1)
    monkeypatch.setattr(pacing, "now", lambda: datetime.time(12))
    pair = make_pair(engine, engine)
    filled(pair, 30)
    hours = {"reflector": {"sweep": {"window": "22:00-06:00"}}}
    mirror = pair.start({"table": "items"}, **hours)
    # A first copy waits for no hour.
    mirror.wait_phase("Streaming")
    pair.stop()
    pair.destination.execute("update items set name = 'spoilt' where id < 10", role="superuser")
    mirror = pair.start({"table": "items", "resyncToken": "again"}, **hours)
    mirror.wait_reason("OutsideSweepWindow")
    for n in range(3):
        pair.make(f"update items set name = 'seen {n}' where id = 20", f"insert into items values ({100 + n}, 'new')")
        wait_name(pair, 20, f"seen {n}")
    spoilt = pair.destination.execute("select count(*) from items where name = 'spoilt'", role="superuser")
    assert [tuple(row) for row in spoilt] == [(10,)]
    assert "Resync" in mirror.seen().message
    monkeypatch.setattr(pacing, "now", lambda: datetime.time(23))
    mirror.wait_phase("Streaming")
    pair.wait_equal(items=ITEMS)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sweep_reads_no_more_than_its_pace_allows(
    make_pair: MakePair, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    waits: list[float] = []
    clock = [0.0]

    class Paced(Pacing):
        def __init__(self, hours: object, rate: int) -> None:
            super().__init__(None, rate, clock=lambda: clock[0])

        def take(self, rows: int) -> None:
            taken.append(rows)
            super().take(rows)

        def owed(self) -> float:
            waits.append(super().owed())
            clock[0] += waits[-1] / 2 + 0.01
            return waits[-1]

    monkeypatch.setattr("pantograph.reflector.process.Pacing", Paced)
    pair = make_pair(engine, "sqlite")
    filled(pair, 250)
    mirror = pair.start({"table": "items"}, reflector={"sweep": {"maxRowsPerSecond": 40}})
    mirror.wait_phase("Streaming")
    pair.wait_equal(items=ITEMS)
    assert max(taken) <= 40
    assert sum(taken) >= 210
    assert clock[0] > sum(taken) / 40 - 1
    assert max(waits) > 0
