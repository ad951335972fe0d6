"""`statement` and `deleteStatement`: the user's SQL at the destination, for each changed row."""

from __future__ import annotations

from typing import Any

from tests.routes.conftest import RING, ROUTES, Pair, pair_of
from tests.routes.test_shapes import wait_rows
from tests.routes.test_verify import verify

pair = pair_of(ROUTES, RING)

COUNTED: dict[str, Any] = {
    "table": "items",
    "statement": "update totals set qty = :qty, name = 'a:b' where id = :id",
    "deleteStatement": "update totals set qty = -1 where id = :id",
    "to": "totals",
}


def ready(pair: Pair) -> None:
    pair.make(
        "create table items (id bigint primary key, name varchar(20), qty bigint)",
        "insert into items values (1, 'a', 10), (2, 'b', 20)",
    )
    pair.destination.execute("create table totals (id bigint primary key, name varchar(20), qty bigint)")
    pair.destination.execute("insert into totals values (1, '', 0), (2, '', 0), (3, '', 0)")
    # The statements are run with the Database's rights, so it must say that it runs those of others.
    pair.documents = []


def start(pair: Pair, manifest: dict[str, Any]) -> Any:
    from tests.support import mirrors

    documents = mirrors.documents(pair.source, pair.destination, [{"destination": {"existing": "Keep"}, **manifest}])
    for document in documents:
        if document["kind"] == "Database" and document["metadata"]["name"] == "to":
            document["spec"]["allow"] = {"statements": True}
    pair.documents = documents
    return pair.start()


def test_a_statement_runs_for_each_changed_row(pair: Pair) -> None:
    ready(pair)
    mirror = start(pair, COUNTED)
    mirror.wait_phase("Streaming")
    wait_rows(pair, "totals", "id name qty", [(1, "a:b", 10), (2, "a:b", 20), (3, "", 0)])
    pair.make("update items set qty = 11 where id = 1", "insert into items values (3, 'c', 30)")
    wait_rows(pair, "totals", "id name qty", [(1, "a:b", 11), (2, "a:b", 20), (3, "a:b", 30)])
    pair.make("delete from items where id = 2", "update items set id = 2 where id = 3")
    wait_rows(pair, "totals", "id name qty", [(1, "a:b", 11), (2, "a:b", 30), (3, "a:b", -1)])
    pair.make("insert into items select id + 100, name, qty from items")
    pair.make("delete from items where id < 100")
    wait_rows(pair, "totals", "id name qty", [(1, "a:b", -1), (2, "a:b", -1), (3, "a:b", -1)])
    assert verify(pair).incomplete == "Statement"


def test_a_parameter_that_no_column_fills_is_named(pair: Pair) -> None:
    ready(pair)
    mirror = start(pair, {**COUNTED, "deleteStatement": "delete from totals where qty = :qty"})
    seen = mirror.wait_phase("Failed")
    assert seen.message == "spec.deleteStatement: no column fills the parameter :qty; there are :id"
