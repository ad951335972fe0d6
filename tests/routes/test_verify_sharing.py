"""Several Reflections write one table: what one of them leaves to others is no difference, and all else is."""

from __future__ import annotations

from typing import Any

import pytest

from pantograph.pipeline import sharing, verification
from pantograph.pipeline.verification import Result
from pantograph.reflector import streams
from tests.routes.conftest import RING, ROUTES, Pair, pair_of
from tests.routes.test_shapes import wait_rows
from tests.routes.test_sharing import CONTRIBUTOR, OWNER
from tests.routes.test_verify import QUICK, tamper, worked_out

pair = pair_of(ROUTES, RING)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_AT_KEYS", 0.1)
    monkeypatch.setattr(sharing, "LOOK_AGAIN", 0.2)


def verify(pair: Pair, name: str, **how: Any) -> Result:
    with worked_out(pair, name) as (source, target, mirror, owner):
        return verification.run(source, target, mirror, owner, keep_keys=True, pace=QUICK, **how)


def shared(pair: Pair, key: str, **contributor: Any) -> None:
    """People whom one table inserts, with points of another that has fewer, and more."""
    pair.make(
        f"create table people (id {key} primary key, name varchar(20))",
        f"create table scores (person {key} primary key, points int)",
        "insert into people values ('1', 'ann'), ('2', 'bob'), ('4', 'dan')",
        "insert into scores values ('1', 10), ('3', 30), ('4', null)",
    )
    pair.start(OWNER).wait_phase("Streaming")
    pair.stop()
    mirror = pair.start(OWNER, {**CONTRIBUTOR, **contributor})
    key_of = int if key == "int" else str
    wait_rows(pair, "people", "id name points", [(key_of(n), a, p) for n, a, p in PEOPLE])
    mirror.wait_phase("Streaming", name="t1")


PEOPLE = [("1", "ann", 10), ("2", "bob", None), ("4", "dan", None)]
KEYS = pytest.mark.parametrize("key", ["int", "varchar(10)"])


@KEYS
@pytest.mark.parametrize("missing_row", ["Wait", "Ignore"])
def test_what_a_contributor_leaves_to_others_is_no_difference(pair: Pair, key: str, missing_row: str) -> None:
    shared(pair, key, missingRow=missing_row)
    for name in ("t0", "t1"):
        result = verify(pair, name)
        assert result.equal, result
        assert result.in_flight == 0


@KEYS
def test_what_a_contributor_writes_is_compared_and_repaired(pair: Pair, key: str) -> None:
    shared(pair, key, missingRow="Wait")
    tamper(
        pair,
        "update people set points = null where id = '1'",
        "update people set points = 99 where id = '2'",
    )
    result = verify(pair, "t1")
    assert dict(result.differing) == {"missing": 1, "extra": 1}
    # Whoever writes the names sees nothing of it.
    assert verify(pair, "t0").equal
    result = verify(pair, "t1", repair=True)
    assert result.repaired == 2, result
    assert verify(pair, "t1").equal
    tamper(pair, "update people set points = 11 where id = '1'")
    assert dict(verify(pair, "t1").columns) == {"points": 1}


def test_rows_that_stay_when_they_are_gone_are_no_difference(pair: Pair) -> None:
    pair.make("create table people (id varchar(10) primary key, name varchar(20))")
    pair.make("insert into people values ('1', 'ann'), ('2', 'bob')")
    mirror = pair.start({**OWNER, "onDelete": "Ignore"})
    mirror.wait_phase("Streaming")
    pair.make("delete from people where id = '1'", "insert into people values ('3', 'cid')")
    wait_rows(pair, "people", "id name", [("1", "ann"), ("2", "bob"), ("3", "cid")])
    assert verify(pair, "t0").equal
    tamper(pair, "delete from people where id = '2'")
    assert dict(verify(pair, "t0").differing) == {"missing": 1}


def test_many_rows_that_others_have_not_inserted_are_looked_up_from_the_other_side(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_MOST_PORTIONS", 0)
    shared(pair, "varchar(10)", missingRow="Wait")
    assert verify(pair, "t1").equal
    tamper(pair, "update people set points = null where id = '1'")
    assert dict(verify(pair, "t1").differing) == {"missing": 1}
