"""What becomes of rows that are gone, and several Reflections that write one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pantograph.pipeline import sharing
from pantograph.reflector import streams
from tests.routes.conftest import RING, ROUTES, Pair, pair_of
from tests.routes.test_shapes import wait_rows
from tests.routes.test_verify import verify
from tests.support import comparison, mirrors
from tests.support.comparison import wait_until

pair = pair_of(ROUTES, RING)

MakePair = Callable[[str, str], Pair]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noted keys are looked up at once."""
    monkeypatch.setattr(streams, "LOOK_AT_KEYS", 0.1)
    monkeypatch.setattr(sharing, "LOOK_AGAIN", 0.2)


def filled(pair: Pair) -> None:
    pair.make(
        "create table items (id int primary key, name varchar(20), qty int)",
        "insert into items values (1, 'a', 10), (2, 'b', 20), (3, 'c', 30)",
    )


def test_rows_that_are_gone_stay_where_deletes_are_ignored(pair: Pair) -> None:
    filled(pair)
    mirror = pair.start({"table": "items", "onDelete": "Ignore"})
    mirror.wait_phase("Streaming")
    pair.make("delete from items where id = 1", "update items set id = 9 where id = 2")
    wait_rows(pair, "items", "id name", [(1, "a"), (2, "b"), (9, "b"), (3, "c")])
    pair.make("delete from items", "insert into items values (4, 'd', 0)")
    wait_rows(pair, "items", "id name", [(1, "a"), (2, "b"), (9, "b"), (3, "c"), (4, "d")])


def test_rows_that_are_gone_are_marked_and_come_back(pair: Pair) -> None:
    filled(pair)
    columns = [{"source": "id"}, {"source": "name"}, {"system": "operation", "destination": "how"}]
    mirror = pair.start({"table": "items", "columns": columns, "onDelete": "Mark", "softDelete": {"column": "gone"}})
    mirror.wait_phase("Streaming")
    wait_rows(pair, "items", "id name gone", [(1, "a", None), (2, "b", None), (3, "c", None)])
    pair.make("delete from items where id = 1")

    def marked() -> dict[Any, bool]:
        return {row[0]: row[1] is not None for row in comparison.rows(pair.destination, "items", ["id", "gone"])}

    wait_until(lambda: marked() == {1: True, 2: False, 3: False}, "the mark")
    wait_rows(pair, "items", "id name how", [(1, "a", "delete"), (2, "b", "insert"), (3, "c", "insert")])
    (when,) = (row[1] for row in comparison.rows(pair.destination, "items", ["id", "gone"]) if row[0] == 1)
    pair.make("delete from items where id = 2")
    wait_until(lambda: marked() == {1: True, 2: True, 3: False}, "the second mark")
    assert (1, when) in comparison.rows(pair.destination, "items", ["id", "gone"])
    assert verify(pair).equal
    pair.make("insert into items values (1, 'again', 0)")
    wait_rows(pair, "items", "id name how", [(1, "again", "update"), (2, "b", "delete"), (3, "c", "insert")])
    assert marked() == {1: False, 2: True, 3: False}
    assert verify(pair).equal


def test_a_sweep_marks_what_went_while_nobody_looked(pair: Pair) -> None:
    filled(pair)
    manifest = {"table": "items", "onDelete": "Mark", "softDelete": {"column": "gone"}}
    pair.start(manifest).wait_phase("Streaming")
    pair.stop()
    pair.make("delete from items where id = 1")
    pair.start({**manifest, "resyncToken": "again"})
    wait_until(
        lambda: (
            [row[1] is not None for row in comparison.rows(pair.destination, "items", ["id", "gone"])]
            == [True, False, False]
        ),
        "the mark",
    )


def shared(pair: Pair) -> None:
    pair.make(
        "create table people (id int primary key, name varchar(20))",
        "create table scores (person int primary key, points int)",
        "insert into people values (1, 'ann'), (2, 'bob')",
        "insert into scores values (1, 10), (3, 30)",
    )


OWNER: dict[str, Any] = {"table": "people"}
CONTRIBUTOR: dict[str, Any] = {
    "table": "scores",
    "to": "people",
    "columns": [{"source": "person", "destination": "id"}, {"source": "points"}],
    "onDelete": "SetNull",
}


def test_a_contributor_fills_columns_of_rows_that_another_inserts(pair: Pair) -> None:
    shared(pair)
    mirror = pair.start(OWNER, {**CONTRIBUTOR, "missingRow": "Wait"})
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (2, "bob", None)])
    mirror.wait_phase("Streaming", name="t1")
    pair.make("insert into people values (3, 'cid')")
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (2, "bob", None), (3, "cid", 30)])
    pair.make("update scores set points = 11 where person = 1", "delete from scores where person = 3")
    wait_rows(pair, "people", "id name points", [(1, "ann", 11), (2, "bob", None), (3, "cid", None)])
    # The row goes and comes back: so do the columns of others.
    pair.make("delete from people where id = 1")
    wait_rows(pair, "people", "id name points", [(2, "bob", None), (3, "cid", None)])
    pair.make("insert into people values (1, 'ann again')")
    wait_rows(pair, "people", "id name points", [(1, "ann again", 11), (2, "bob", None), (3, "cid", None)])


def test_columns_of_others_come_back_after_a_truncate(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "sqlite")
    shared(pair)
    mirror = pair.start(OWNER, {**CONTRIBUTOR, "missingRow": "Wait"})
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (2, "bob", None)])
    mirror.wait_phase("Streaming", name="t1")
    with pair.app.transaction():
        pair.make("truncate people", "insert into people values (1, 'ann'), (3, 'cid')")
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (3, "cid", 30)])
    pair.make("truncate people")
    wait_rows(pair, "people", "id name points", [])
    mirror.wait_phase("Streaming", name="t1")
    pair.make("insert into people values (3, 'cid')")
    wait_rows(pair, "people", "id name points", [(3, "cid", 30)])


def test_a_contributor_may_leave_alone_what_is_not_there(pair: Pair) -> None:
    shared(pair)
    pair.start(OWNER).wait_phase("Streaming")
    pair.stop()
    mirror = pair.start(OWNER, {**CONTRIBUTOR, "missingRow": "Ignore"})
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (2, "bob", None)])
    mirror.wait_phase("Streaming", name="t1")
    pair.make("insert into people values (3, 'cid')")
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (2, "bob", None), (3, "cid", None)])
    pair.make("update scores set points = 31 where person = 3")
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (2, "bob", None), (3, "cid", 31)])


def test_several_tables_are_rows_of_one_told_apart_by_a_constant(pair: Pair) -> None:
    pair.make(
        "create table eu (id int primary key, name varchar(20))",
        "create table us (id int primary key, name varchar(20))",
        "insert into eu values (1, 'ann'), (2, 'bob')",
        "insert into us values (1, 'cid')",
    )

    def rows_of(region: str) -> dict[str, Any]:
        return {
            "table": region,
            "to": "people",
            "columns": [{"source": "id"}, {"source": "name"}, {"value": region, "destination": "region"}],
            "key": [{"source": "id"}, {"destination": "region"}],
        }

    mirror = pair.start(rows_of("eu"), rows_of("us"))
    shape = "id region name"
    wait_rows(pair, "people", shape, [(1, "eu", "ann"), (2, "eu", "bob"), (1, "us", "cid")])
    for name in ("t0", "t1"):
        mirror.wait_phase("Streaming", name=name)
    pair.make("delete from eu where id = 1", "update us set name = 'dan'", "update eu set id = 1 where id = 2")
    wait_rows(pair, "people", shape, [(1, "eu", "bob"), (1, "us", "dan")])
    pair.stop()
    # A sweep of one leaves the rows of the other alone, and takes what is gone of its own.
    pair.make("delete from eu", "insert into eu values (7, 'eve')")
    pair.start({**rows_of("eu"), "resyncToken": "x"}, rows_of("us"))
    wait_rows(pair, "people", shape, [(7, "eu", "eve"), (1, "us", "dan")])
    if pair.source.dialect == "postgresql":
        pair.make("truncate us")
        wait_rows(pair, "people", shape, [(7, "eu", "eve")])


def test_rows_of_others_are_not_too_many(make_pair: MakePair) -> None:
    """A sweep that would delete many rows waits for a person's word; those of another Reflection are none of them."""
    pair = make_pair("sqlite", "sqlite")
    pair.make(
        "create table eu (id int primary key, name varchar(20))",
        "create table us (id int primary key, name varchar(20))",
        "insert into eu values (1, 'ann')",
        "with recursive n(i) as (select 2 union all select i + 1 from n where i < 1600) "
        "insert into us select i, '' from n",
    )

    def rows_of(region: str, **more: Any) -> dict[str, Any]:
        columns = [{"source": "id"}, {"source": "name"}, {"value": region, "destination": "region"}]
        key = [{"source": "id"}, {"destination": "region"}]
        return {"table": region, "to": "people", "columns": columns, "key": key, **more}

    def swept() -> bool:
        ((state,),) = pair.destination.execute(
            f"select state from {mirrors.ours(pair.destination, 'checkpoints')} where name = 'reflection/default/t0'",
            role="superuser",
        )
        told = json.loads(state)
        return told.get("resync_token") == "again" and "sweep" not in told

    mirror = pair.start(rows_of("eu"), rows_of("us"))
    for name in ("t0", "t1"):
        mirror.wait_phase("Streaming", name=name)
    pair.stop()
    pair.start(rows_of("eu", resyncToken="again"), rows_of("us"))
    wait_until(swept, "the sweep")
    assert len(comparison.rows(pair.destination, "people", ["id"])) == 1600


@pytest.mark.parametrize("nullable", ["null", "not null"])
def test_a_contributors_columns_outlive_a_swap_of_the_rows_unique_values(pair: Pair, nullable: str) -> None:
    """Rows that swapped a unique value cannot be updated one by one."""
    pair.make(
        "create table people (id int primary key, name varchar(20) not null unique)",
        "create table scores (person int primary key, points int)",
        "insert into people values (1, 'ann'), (2, 'bob'), (3, 'cid')",
        "insert into scores values (1, 10), (2, 20)",
    )
    if pair.destination.dialect == "firebird":
        nullable = nullable.removeprefix("null")  # it has no word for it
    pair.destination.execute(
        f"create table people (id bigint primary key, name varchar(20) {nullable} unique, points bigint, "
        "remark varchar(9))",
        role="destination",
    )
    mirror = pair.start(OWNER, {**CONTRIBUTOR, "missingRow": "Wait"})
    wait_rows(pair, "people", "id name points", [(1, "ann", 10), (2, "bob", 20), (3, "cid", None)])
    for name in ("t0", "t1"):
        mirror.wait_phase("Streaming", name=name)
    pair.destination.execute("update people set remark = 'mine'", role="superuser")
    with pair.app.transaction():
        pair.make(
            "update people set name = 'x' where id = 1",
            "update people set name = 'ann' where id = 2",
            "update people set name = 'bob' where id = 1",
        )
    wait_rows(pair, "people", "id name points", [(1, "bob", 10), (2, "ann", 20), (3, "cid", None)])
    with pair.app.transaction():
        # And one that takes the value of a row that goes.
        pair.make("delete from people where id = 3", "update people set name = 'cid' where id = 1")
    wait_rows(pair, "people", "id name points", [(1, "cid", 10), (2, "ann", 20)])
    if nullable == "null":
        # A column that nobody writes is left alone where its row need not go.
        wait_rows(pair, "people", "id remark", [(1, "mine"), (2, "mine")])
