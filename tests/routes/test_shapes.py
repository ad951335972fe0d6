"""A destination of another shape: columns renamed, computed, constant and left out, found by another key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from pantograph.reflector import process
from tests.routes.conftest import RING, ROUTES, Pair, pair_of
from tests.routes.test_verify import verify
from tests.support import comparison
from tests.support.comparison import wait_until

pair = pair_of(ROUTES, RING)

MakePair = Callable[[str, str], Pair]


def wait_rows(pair: Pair, table: str, columns: str, wanted: list[tuple[Any, ...]]) -> None:
    """Until the destination's table holds exactly these rows, in any order."""
    names = columns.split()
    wanted = sorted(wanted, key=repr)
    try:
        wait_until(lambda: comparison.rows(pair.destination, table, names) == wanted, f"rows of {table}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{comparison.rows(pair.destination, table, names)}\nnot\n{wanted}") from error


def test_columns_are_renamed_computed_constant_and_left_out(pair: Pair) -> None:
    pair.make(
        "create table orders (id int primary key, qty int not null, price int not null, secret varchar(20))",
        "insert into orders values (1, 2, 10, 'x'), (2, 3, 5, 'y')",
    )
    pair.destination.execute(
        "create table sales (nr bigint primary key, quantity bigint, total bigint, region varchar(10), "
        "source varchar(40))"
    )
    columns = [
        {"source": "id", "destination": "nr"},
        {"source": "qty", "destination": "quantity"},
        {"expression": "price * qty", "destination": "total"},
        {"value": "it's \\ eu", "destination": "region"},
        {"system": "database", "destination": "source"},
    ]
    mirror = pair.start({"table": "orders", "to": "sales", "columns": columns, "where": "qty > 0"})
    mirror.wait_phase("Streaming")
    shape = "nr quantity total region source"
    here = ("it's \\ eu", "from")
    wait_rows(pair, "sales", shape, [(1, 2, 20, *here), (2, 3, 15, *here)])
    mirror.wait_phase("Streaming")
    pair.make(
        "insert into orders values (3, 1, 7, null)",
        "update orders set price = 100 where id = 1",
        "update orders set qty = 0 where id = 2",
        "update orders set secret = 'z'",
    )
    wait_rows(pair, "sales", shape, [(1, 2, 200, *here), (3, 1, 7, *here)])
    pair.make("delete from orders where id = 3", "update orders set id = 9 where id = 1")
    wait_rows(pair, "sales", shape, [(9, 2, 200, *here)])
    result = verify(pair)
    assert result.equal, result
    assert result.rows == 1


def test_a_table_of_another_shape_is_created(pair: Pair) -> None:
    pair.make(
        "create table orders (id int primary key, qty int not null, note varchar(20))",
        "insert into orders values (1, 2, 'a')",
    )
    columns = [
        {"source": "note", "destination": "remark"},
        {"expression": "qty + 1", "destination": "more", "type": "int"},
        {"value": 7, "destination": "site"},
        {"source": "id"},
        {"system": "appliedAt", "destination": "synced"},
        {"system": "sourceTime", "destination": "changed"},
        {"system": "operation", "destination": "how"},
    ]
    pair.start({"table": "orders", "to": "sales", "columns": columns})
    wait_rows(pair, "sales", "id remark more site how", [(1, "a", 3, 7, "insert")])
    synced = comparison.rows(pair.destination, "sales", ["synced", "changed"])
    assert all(value is not None for value in synced[0])
    pair.make("update orders set qty = 5 where id = 1", "insert into orders values (2, 1, null)")
    wait_rows(pair, "sales", "id remark more site how", [(1, "a", 6, 7, "update"), (2, None, 2, 7, "insert")])
    later = comparison.rows(pair.destination, "sales", ["synced", "changed"])
    assert synced[0] not in later
    # What says when a row was written is no reason to write it.
    pair.make("update orders set id = id")
    pair.make("insert into orders values (3, 1, null)")
    wait_until(lambda: len(comparison.rows(pair.destination, "sales", ["id"])) == 3, "the third row")
    assert set(later) <= set(comparison.rows(pair.destination, "sales", ["synced", "changed"]))
    result = verify(pair)
    assert result.equal, result


def test_columns_are_left_out_by_name(pair: Pair) -> None:
    pair.make(
        "create table people (id int primary key, name varchar(20), secret varchar(20))",
        "insert into people values (1, 'ann', 'x')",
    )
    pair.start({"table": "people", "exclude": ["secret"]})
    wait_rows(pair, "people", "id name", [(1, "ann")])
    with pytest.raises(Exception, match=re.compile("secret", re.IGNORECASE)):
        pair.destination.execute("select secret from people", role="superuser")


def test_rows_are_found_by_another_unique_key(pair: Pair) -> None:
    pair.make(
        "create table customers (id int primary key, code varchar(10) not null unique, name varchar(20))",
        "insert into customers values (1, 'a', 'ann'), (2, 'b', 'bob')",
    )
    columns = [{"source": "code", "destination": "id"}, {"source": "name"}]
    mirror = pair.start(
        {"table": "customers", "to": "people", "columns": columns, "key": [{"source": "code", "destination": "id"}]}
    )
    wait_rows(pair, "people", "id name", [("a", "ann"), ("b", "bob")])
    mirror.wait_phase("Streaming")
    pair.make("update customers set code = 'c' where id = 1", "update customers set name = 'rob' where id = 2")
    wait_rows(pair, "people", "id name", [("c", "ann"), ("b", "rob")])
    # The code changes hands within a transaction, and a row takes over that of one that is gone.
    with pair.app.transaction():
        pair.make("delete from customers where code = 'b'", "update customers set code = 'b' where id = 1")
    wait_rows(pair, "people", "id name", [("b", "ann")])
    pair.make("insert into customers values (7, 'c', 'cid')", "update customers set id = 70 where id = 7")
    wait_rows(pair, "people", "id name", [("b", "ann"), ("c", "cid")])
    result = verify(pair)
    assert result.equal, result
    assert result.rows == 2


def test_of_several_rows_with_one_key_the_greatest_writes_it(pair: Pair) -> None:
    pair.make(
        "create table visits (id int primary key, customer int, note varchar(20))",
        "create index by_customer on visits (customer)",
        "insert into visits values (1, 5, 'first'), (2, 5, 'second'), (3, 6, 'other'), (4, null, 'nobody')",
    )
    latest = {"table": "visits", "to": "latest", "key": [{"source": "customer"}], "where": "note <> 'draft'"}
    latest["columns"] = [{"source": "customer"}, {"source": "note"}]
    mirror = pair.start(latest)
    wait_rows(pair, "latest", "customer note", [(5, "second"), (6, "other")])
    mirror.wait_phase("Streaming")
    pair.make("insert into visits values (9, 5, 'third')")
    wait_rows(pair, "latest", "customer note", [(5, "third"), (6, "other")])
    pair.make("update visits set note = 'older' where id = 1")
    pair.make("delete from visits where id = 9")
    wait_rows(pair, "latest", "customer note", [(5, "second"), (6, "other")])
    pair.make("update visits set customer = 6 where id = 2")
    wait_rows(pair, "latest", "customer note", [(5, "older"), (6, "other")])
    pair.make("update visits set note = 'draft' where id = 3", "update visits set customer = null where id = 1")
    wait_rows(pair, "latest", "customer note", [(6, "second")])
    result = verify(pair)
    assert result.equal, result
    assert result.rows == 1


WITHOUT_FIREBIRD = pytest.mark.parametrize("engine", ["postgresql", "mysql", "mariadb", "sqlite"])


@WITHOUT_FIREBIRD
def test_a_new_column_is_left_out_where_the_manifest_says_so(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, engine)
    pair.make("create table t (id int primary key, a int)", "insert into t values (1, 1)")
    mirror = pair.start({"table": "t", "schemaChange": {"added": "Ignore"}})
    wait_rows(pair, "t", "id a", [(1, 1)])
    mirror.wait_phase("Streaming")
    pair.make("alter table t add column b int", "insert into t values (2, 2, 2)")
    wait_rows(pair, "t", "id a", [(1, 1), (2, 2)])
    with pytest.raises(Exception, match="b"):
        pair.destination.execute("select b from t", role="superuser")


def test_a_key_that_no_index_finds_is_refused_with_the_index_that_would_do(pair: Pair) -> None:
    pair.make("create table visits (id int primary key, customer int, note varchar(20))")
    columns = [{"source": "customer"}, {"source": "note"}]
    mirror = pair.start({"table": "visits", "to": "latest", "key": [{"source": "customer"}], "columns": columns})
    seen = mirror.wait_phase("Failed")
    assert seen.reason == "KeyNotIndexed"
    statement = seen.message[seen.message.index("create index") :]
    assert "customer" in statement.lower()
    pair.make(statement)
    pair.make("insert into visits values (1, 5, 'first'), (2, 5, 'second')")
    pair.stop()
    pair.start()
    wait_rows(pair, "latest", "customer note", [(5, "second")])


@WITHOUT_FIREBIRD
def test_a_reflection_by_another_key_comes_later_and_the_first_goes_on(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "sqlite")
    pair.make(
        "create table customers (id int primary key, code varchar(10) not null unique, name varchar(20))",
        "insert into customers values (1, 'a', 'ann'), (2, 'b', 'bob')",
    )
    pair.start("customers").wait_phase("Streaming")
    pair.make("insert into customers values (3, 'c', 'cid')")
    wait_rows(pair, "customers", "id name", [(1, "ann"), (2, "bob"), (3, "cid")])
    pair.stop()
    pair.make("update customers set name = 'rob' where id = 2")
    by_code = {"table": None, "of": "t0", "to": "people", "name": "by-code"}
    columns = [{"source": "code"}, {"source": "name"}]
    mirror = pair.start("customers", {**by_code, "columns": columns, "key": [{"source": "code"}]})
    mirror.wait_phase("Streaming", name="by-code")
    wait_rows(pair, "people", "code name", [("a", "ann"), ("b", "rob"), ("c", "cid")])
    pair.make("update customers set code = 'z' where id = 1", "delete from customers where id = 3")
    wait_rows(pair, "people", "code name", [("z", "ann"), ("b", "rob")])
    wait_rows(pair, "customers", "id code name", [(1, "z", "ann"), (2, "b", "rob")])
    # The other one goes: what only it needed is noted no longer.
    pair.stop()
    pair.start("customers").wait_phase("Streaming")
    pair.make("update customers set code = 'y' where id = 1")
    wait_rows(pair, "customers", "id code name", [(1, "y", "ann"), (2, "b", "rob")])


@WITHOUT_FIREBIRD
def test_a_column_that_is_copied_no_more_refuses_no_rows(
    make_pair: MakePair, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a table that was created for the copy: the column stays, and takes NULL."""
    monkeypatch.setattr(process, "NONCE_EVERY", 3600.0)
    pair = make_pair(engine, engine)
    pair.make("create table t (id int primary key, a int not null, b int not null)", "insert into t values (1, 1, 1)")
    mirror = pair.start("t")
    mirror.wait_phase("Streaming")
    pair.make("alter table t drop column b", "insert into t values (2, 2)")
    # Before anybody looks for drift, which is seldom.
    wait_rows(pair, "t", "id a b", [(1, 1, 1), (2, 2, None)])
    pair.stop()
    pair.make("insert into t values (3, 3)")
    pair.start({"table": "t", "columns": [{"source": "id"}]})
    wait_rows(pair, "t", "id a b", [(1, 1, 1), (2, 2, None), (3, None, None)])
