"""What happens to a row at the source happens to it at the destination, from every engine to every engine."""

from __future__ import annotations

import pytest

from tests.routes.conftest import MANY_WRITERS, NAMED_ROUTES, ROUTES, Pair, pair_of
from tests.support.clients import Client
from tests.support.comparison import count, difference, wait_until

pair = pair_of([*ROUTES, *NAMED_ROUTES])
ORDERS = ("id", "customer", "qty")
CREATE = "create table orders (id int primary key, customer varchar(40), qty int)"


def _orders(pair: Pair, rows: int = 5) -> None:
    pair.make(CREATE)
    with pair.app.transaction():
        for n in range(rows):
            pair.app.run("insert into orders values (?, ?, ?)", n, f"customer {n}", n)


def test_a_first_copy_and_then_inserts_updates_and_deletes(pair: Pair) -> None:
    _orders(pair)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    pair.make(
        "insert into orders values (100, 'new', 1)",
        "update orders set qty = 99 where id = 1",
        "update orders set customer = null where id = 4",
        "delete from orders where id = 2",
    )
    pair.wait_equal(orders=ORDERS)


def test_a_row_that_comes_and_goes_in_one_transaction_leaves_nothing(pair: Pair) -> None:
    _orders(pair)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    with pair.app.transaction():
        pair.make("insert into orders values (7, 'short', 1)", "delete from orders where id = 7")
        pair.make("delete from orders where id = 0", "insert into orders values (0, 'again', 2)")
    pair.make("insert into orders values (8, 'after', 1)")
    pair.wait_equal(orders=ORDERS)


def test_a_changed_key_takes_the_old_row_away(pair: Pair) -> None:
    _orders(pair)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    pair.make("update orders set id = 50 where id = 3")
    pair.wait_equal(orders=ORDERS)
    pair.make("update orders set id = id + 1000", "update orders set id = id - 1000 where id > 1002")
    pair.wait_equal(orders=ORDERS)


def test_two_rows_swap_their_keys(pair: Pair) -> None:
    _orders(pair)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    with pair.app.transaction():
        pair.make(
            "update orders set id = -1 where id = 1",
            "update orders set id = 1 where id = 2",
            "update orders set id = 2 where id = -1",
        )
    pair.wait_equal(orders=ORDERS)


def test_what_is_rolled_back_never_arrives(pair: Pair) -> None:
    _orders(pair)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    pair.app.begin()
    pair.make("insert into orders values (6, 'never', 1)", "delete from orders where id = 1")
    pair.app.rollback()
    pair.make("insert into orders values (7, 'after', 1)")
    pair.wait_equal(orders=ORDERS)
    assert not pair.destination.execute("select 1 from orders where id = 6", role="superuser")


def test_transactions_that_commit_in_another_order_than_they_began(pair: Pair) -> None:
    _orders(pair)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    if pair.source.dialect not in MANY_WRITERS:
        # One writer at a time: the best it can do is a long one, with readers meanwhile.
        with pair.app.transaction():
            pair.make("insert into orders values (20, 'slow', 1)")
            assert count(Client(pair.source), "orders") == 5
            pair.make("insert into orders values (21, 'slow', 1)")
        pair.wait_equal(orders=ORDERS)
        return
    slow, never = Client(pair.source), Client(pair.source)
    slow.begin()
    slow.run("insert into orders values (20, 'slow', 1)")
    never.begin()
    never.run("insert into orders values (30, 'never', 1)")
    # The later ids are at the destination before the earlier ones are committed.
    pair.make("insert into orders values (21, 'quick', 1)")
    pair.wait_equal(orders=ORDERS)
    slow.run("update orders set qty = -1 where id = 0")
    pair.make("insert into orders values (22, 'quick', 1)")
    pair.wait_equal(orders=ORDERS)
    never.rollback()
    slow.commit()
    pair.wait_equal(orders=ORDERS)


def test_bulk_statements(pair: Pair) -> None:
    pair.make(CREATE)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    values = ", ".join(f"({n}, 'customer {n}', {n % 7})" for n in range(3000))
    pair.make(f"insert into orders values {values}")
    pair.wait_equal(orders=ORDERS)
    pair.make("update orders set qty = qty + 1")
    pair.wait_equal(orders=ORDERS)
    pair.make("delete from orders where qty > 4")
    pair.wait_equal(orders=ORDERS)


def test_a_row_that_leaves_the_condition_leaves_the_destination_and_comes_back(pair: Pair) -> None:
    pair.make(
        "create table orders (id int primary key, customer varchar(40), qty int)",
        "insert into orders values (1, 'open', 1), (2, 'draft', 2), (3, null, 3)",
    )
    where = "customer <> 'draft' and customer <> '100% :of ''it'''"
    pair.start({"table": "orders", "where": where})
    pair.wait_equal({"orders": where}, orders=ORDERS)
    pair.make("update orders set customer = 'draft' where id = 1", "update orders set customer = 'x' where id = 3")
    pair.wait_equal({"orders": where}, orders=ORDERS)
    pair.make("update orders set customer = 'open' where id = 1", "update orders set customer = null where id = 3")
    pair.wait_equal({"orders": where}, orders=ORDERS)
    assert [row[0] for row in pair.destination.execute("select id from orders", role="superuser")] == [1]


def test_a_composite_key(pair: Pair) -> None:
    pair.make(
        "create table order_lines (shop varchar(10) not null, pos int not null, sku varchar(20), "
        "primary key (shop, pos))",
        "insert into order_lines values ('a', 1, 'x'), ('a', 2, 'y'), ('b', 1, 'z')",
    )
    pair.start("order_lines")
    pair.wait_equal(order_lines=("shop", "pos", "sku"))
    pair.make(
        "update order_lines set pos = 9 where shop = 'a' and pos = 2",
        "delete from order_lines where shop = 'b'",
        "update order_lines set shop = 'c', sku = 'k' where pos = 1",
        "insert into order_lines values ('a', 1, 'new')",
    )
    pair.wait_equal(order_lines=("shop", "pos", "sku"))


def test_an_empty_table(pair: Pair) -> None:
    pair.make(CREATE)
    mirror = pair.start("orders")
    mirror.wait_phase("Streaming")
    pair.wait_equal(orders=ORDERS)
    pair.make("insert into orders values (1, 'first', 1)")
    pair.wait_equal(orders=ORDERS)
    pair.make("delete from orders")
    pair.wait_equal(orders=ORDERS)


NAMES = ["100% of it", 'say "hello"', "order", "back`tick", "semi;colon: :x", "a" * 63]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_only_characters(pair: Pair, name: str) -> None:
    q = pair.app.q
    name = name[: pair.longest_name]
    columns = ("id", name[:60], "select")
    created = f"{q('id')} int primary key, {q(columns[1])} varchar(30), {q('select')} int"
    pair.make(f"create table {q(name)} ({created})")
    pair.app.run(f"insert into {q(name)} values (1, 'a', 1), (2, 'b', 2)")
    where = f"{q('select')} < 10"
    pair.start({"table": name, "where": where})
    tables = {name: columns}
    wait_until(lambda: not difference(pair.source, pair.destination, name, columns), "first copy")
    pair.make(
        f"update {q(name)} set {q(columns[1])} = 'c' where id = 1",
        f"delete from {q(name)} where id = 2",
        f"insert into {q(name)} values (3, '%s :x ''?', 3)".replace("?", ""),
    )
    pair.wait_equal(**tables)


def test_a_restart_goes_on_from_where_it_stopped(pair: Pair) -> None:
    _orders(pair, 300)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    pair.stop()
    pair.make("insert into orders values (1000, 'meanwhile', 1)", "delete from orders where id = 5")
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    mirror.wait_phase("Streaming")
    seen = mirror.seen()
    # Not a second copy: two events, two rows.
    wait_until(lambda: seen.upserted + seen.deleted >= 2, "the two rows are counted")
    assert (seen.upserted, seen.deleted, seen.sweep_rows) == (1, 1, 0)


@pytest.mark.parametrize("destination", ["postgresql", "mysql", "mariadb", "sqlite"])
def test_truncate_is_an_event_on_postgresql(make_pair: object, destination: str) -> None:
    pair = make_pair("postgresql", destination)  # type: ignore[operator]
    _orders(pair)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    pair.make("truncate orders")
    pair.wait_equal(orders=ORDERS)
    with pair.app.transaction():
        pair.make("insert into orders values (1, 'a', 1)", "truncate orders", "insert into orders values (2, 'b', 2)")
    pair.wait_equal(orders=ORDERS)
