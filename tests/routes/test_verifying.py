"""A running reflector compares by itself, as often as `spec.verify` says, whatever happens to the process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pantograph.pipeline import verification
from pantograph.reflector import process, streams, verifying
from pantograph.reflector.verifying import Asked
from tests.routes.conftest import ENGINES, Pair
from tests.routes.test_verify import ITEMS, filled, tamper
from tests.support import mirrors
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]
DAILY: dict[str, Any] = {"every": "24h"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_AT_KEYS", 0.1)
    monkeypatch.setattr(verifying, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(verifying, "REST_AT_START", 0.0)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals that no manifest may ask for."""
    asked = process.Process._to_verify

    def shorter(self: process.Process) -> dict[str, Asked]:
        return {name: Asked(0.2, one.repair) for name, one in asked(self).items()}

    monkeypatch.setattr(process.Process, "_to_verify", shorter)


def due(pair: Pair) -> float:
    """When the next comparison is due, as the destination knows."""
    table = mirrors.ours(pair.destination, "checkpoints")
    ((state,),) = pair.destination.execute(
        f"select state from {table} where name = 'reflection/default/t0'", "superuser"
    )
    return float((json.loads(state).get("verified") or {}).get("due", 0.0))


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("engine", ENGINES)
def test_what_differs_is_found_and_repaired_while_live(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "mariadb" if engine == "postgresql" else "postgresql")
    filled(pair, 50)
    mirror = pair.start({"table": "items", "verify": DAILY})
    wait_until(lambda: mirror.seen().verified_at and mirror.seen().differing == 0, "a comparison")
    tamper(pair, "update items set qty = qty + 1 where id = 7")
    mirror.wait_said("RowsDiffer")
    pair.wait_equal(items=ITEMS)
    wait_until(lambda: mirror.seen().differing == 0, "equal again")
    assert mirror.seen().failures.get("RowsDiffer")


@pytest.mark.usefixtures("often")
def test_without_repair_it_is_only_said(make_pair: MakePair) -> None:
    pair = make_pair("sqlite", "sqlite")
    filled(pair, 50)
    mirror = pair.start({"table": "items", "verify": {**DAILY, "repair": False}})
    wait_until(lambda: mirror.seen().verified_at, "a comparison")
    tamper(pair, "update items set qty = qty + 1 where id = 7")
    wait_until(lambda: mirror.seen().differing == 1, "the difference")
    before = mirror.seen().verified_at
    wait_until(lambda: mirror.seen().verified_at > before and mirror.seen().differing == 1, "the difference again")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_due_is_due_after_a_restart_and_the_first_is_not_at_the_start(
    make_pair: MakePair, engine: str
) -> None:
    pair = make_pair("sqlite", engine)
    filled(pair, 5)
    pair.start({"table": "items", "verify": DAILY})
    first = wait_until(lambda: due(pair), "a time")
    assert time.time() + 0.05 * 86400 < first <= time.time() + 86400
    pair.stop()
    mirror = pair.start()
    mirror.wait_phase("Streaming")
    assert due(pair) == first
    pair.stop()
    # A day later.
    table = mirrors.ours(pair.destination, "checkpoints")
    pair.destination.execute(
        f"update {table} set state = replace(state, '\"due\":{json.dumps(first)}', '\"due\":5.0') "
        "where name = 'reflection/default/t0'",
        "superuser",
    )
    assert due(pair) == 5.0
    mirror = pair.start()
    wait_until(lambda: mirror.seen().verified_at, "the comparison that was due")
    assert due(pair) > time.time() + 80_000
    # It is known to the next process as well.
    pair.stop()
    mirror = pair.start()
    wait_until(lambda: mirror.seen().verified_at, "the last comparison")


@pytest.mark.usefixtures("often")
def test_one_at_a_time_in_a_process(make_pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair("sqlite", "sqlite")
    filled(pair, 5)
    pair.make("create table others (id int primary key)", "insert into others values (1)")
    run = verification.run
    lock, met = threading.Lock(), []

    def alone(*args: Any, **how: Any) -> verification.Result:
        met.append((args[2].name, lock.acquire(blocking=False)))
        try:
            return run(*args, **how)
        finally:
            lock.release()

    monkeypatch.setattr(verification, "run", alone)
    pair.start({"table": "items", "verify": DAILY}, {"table": "others", "verify": DAILY})
    wait_until(
        lambda: {name for name, _ in met} == {"default/t0", "default/t1"} and len(met) > 5, "comparisons of both"
    )
    assert all(free for _, free in met)


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    """No comparison of one test goes on in the next."""
    yield
    wait_until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith("verifying of")], "the end of the thread"
    )
