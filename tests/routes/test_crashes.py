"""The process is killed at every seam between two statements, on real servers, while the source goes on.

Whatever it dies of: nothing is lost, nothing is there twice, and every committed state of the destination that anybody
can read is an image of the source at one moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from pantograph.pipeline import steps
from tests.routes.conftest import NAMED_ROUTES, ROUTES, Pair, named
from tests.support import histories, mirrors
from tests.support.comparison import difference, wait_equal, wait_until

SEAMS = [(step, when) for step in steps.OF_A_TURN for when in ("before", "after")]
# Housekeeping: a few of the process's life, not of each turn.
BESIDE = [(step, when) for step in (steps.WRITE_NONCE, steps.PURGE) for when in ("before", "after")]

DAILY = [
    ("postgresql", "postgresql"),
    ("sqlite", "sqlite"),
    ("mariadb", "mariadb"),
    ("postgresql", "sqlite"),
    ("firebird", "firebird"),
]
ALONE = [route for route in [*ROUTES, *NAMED_ROUTES] if route[0] == route[1]]
"""Each engine as both ends: a first copy has fewer seams that either end could have a part in."""


def _joined(pair: Pair) -> bool:
    with contextlib.suppress(Exception):  # there may be no checkpoints yet
        return mirrors.in_step(pair.destination) == 2
    return False


def _complete(pair: Pair) -> bool:
    return all(not difference(pair.source, pair.destination, t, c) for t, c in histories.COLUMNS.items())


@pytest.mark.full
@pytest.mark.parametrize("engines", named([*ROUTES, *NAMED_ROUTES], DAILY))
def test_killed_before_and_after_every_step_of_a_turn(
    make_pair: Callable[[str, str], Pair], engines: tuple[str, str]
) -> None:
    pair = make_pair(*engines)
    histories.create(pair.app)
    documents = mirrors.documents(pair.source, pair.destination, list(histories.COLUMNS))
    # Not every server that speaks SQL Server's protocol takes rows as fast as three writers write them.
    bank = histories.Bank(pair.source, writers=3, pause=0.05 if "mssql" in engines else 0.002)
    with mirrors.Runner(documents, NONCE_EVERY="0.3") as runner:
        runner.start()
        wait_until(lambda: _complete(pair), "the first copy")
        wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
        runner.kill()
        with histories.Watcher(pair.destination) as watcher, bank:
            for n, (step, when) in enumerate(SEAMS + BESIDE):
                if pair.source.dialect == "sqlite" and step == steps.PURGE:
                    continue
                runner.start(f"{step}:{when}:{1 + n % 3 if step in steps.OF_A_TURN else 1}")
                assert runner.died(), f"never came to {step}:{when}; {runner.said()[-500:]}"
        runner.start()
        wait_equal(pair.source, pair.destination, histories.COLUMNS)
        runner.stop()
        said = runner.said()
    assert bank.committed > 100
    assert watcher.reads > 100
    assert watcher.torn == [], said


@pytest.mark.full
@pytest.mark.parametrize("engines", named(ALONE, DAILY[:3]))
def test_killed_at_every_step_of_a_first_copy(make_pair: Callable[[str, str], Pair], engines: tuple[str, str]) -> None:
    """Each life of the process ends within its copy, a little later than the one before; then it may live."""
    pair = make_pair(*engines)
    histories.create(pair.app, accounts=300)
    documents = mirrors.documents(pair.source, pair.destination, list(histories.COLUMNS))
    seams = [
        (step, when)
        for step in (
            steps.PREPARE, steps.INSPECT, steps.LOAD_CHECKPOINTS, steps.OPEN_SNAPSHOT, steps.READ_CONTROL,
            steps.READ_ROWS, steps.BEGIN, steps.STAGE_ROWS, steps.MOVE_CHECKPOINT, steps.CHECK_SHAPE,
            steps.CLOSE_SNAPSHOT, steps.COMMIT,
        )
        for when in ("before", "after")
    ]  # fmt: skip
    bank = histories.Bank(pair.source, accounts=300, writers=2)
    with mirrors.Runner(documents, LIMITS="50,1000000,500000") as runner:
        with bank:
            for n, (step, when) in enumerate(seams):
                runner.start(f"{step}:{when}:{1 + n // 2}")
                runner.died(lambda: _joined(pair) and runner.kill())
        runner.start()
        wait_until(lambda: _joined(pair), "both in their stream")
        wait_equal(pair.source, pair.destination, histories.COLUMNS)
    assert histories.torn(pair.app) == ""
