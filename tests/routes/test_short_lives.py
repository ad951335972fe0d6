"""Processes that end soon, as cron starts them: each goes on where the last one stopped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pantograph.database import sessions
from pantograph.pipeline import steps
from tests.routes.conftest import Pair
from tests.support import mirrors
from tests.support.comparison import wait_until

NONCES_KEPT = 10


@pytest.fixture
def _slow_streams() -> Iterator[None]:
    """A worker comes to know where it stands some time after its process began."""

    def hook(step: str, when: str) -> None:
        if step == steps.LOAD_CHECKPOINTS and when == "before" and threading.current_thread().name.startswith("stream"):
            time.sleep(0.2)

    remove = sessions.add_hook(hook)
    yield
    remove()


@pytest.mark.usefixtures("_slow_streams")
def test_9_more_short_lives_than_nonces_are_kept(make_pair: Callable[[str, str], Pair]) -> None:
    pair = make_pair("sqlite", "sqlite")
    pair.make("create table orders (id integer primary key)", "insert into orders values (1)")
    first = pair.start("orders")
    checkpoints = f"select state from {mirrors.ours(pair.destination, 'checkpoints')} where name like 'stream/%'"
    wait_until(
        lambda: any(json.loads(state).get("nonces") for (state,) in pair.destination.execute(checkpoints)),
        "a nonce in the checkpoint",
    )
    first.stop()
    for _ in range(NONCES_KEPT + 2):
        mirror = pair.start()
        mirror.wait_phase("Streaming")
        mirror.stop()
        assert not [said for said in mirror.messages if "PositionLost" in said]
