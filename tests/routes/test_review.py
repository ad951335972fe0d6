"""Ways to lose an event that somebody once found: each must stay closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
