"""A window above `maxTransactionRows` goes in pages, and no row is gone meanwhile that should be there."""

from __future__ import annotations

import pytest

from tests.routes.conftest import Pair
from tests.support.clients import Client
from tests.support.comparison import count, wait_until

ORDERS = ("id", "customer", "qty")


def _rows(pair: Pair, first: int, last: int) -> None:
    values = ", ".join(f"({n}, 'customer {n}', {n % 7})" for n in range(first, last))
    pair.make(f"insert into orders values {values}")


def _start(pair: Pair) -> None:
    pair.make("create table orders (id int primary key, customer varchar(40), qty int)")
    _rows(pair, 0, 2000)
    pair.start("orders", reflector={"batchRows": 100, "maxTransactionRows": 300})
    pair.wait_equal(orders=ORDERS)


def test_rows_that_a_large_window_does_not_name_stay_all_the_while(pair: Pair) -> None:
    _start(pair)
    pair.stop()
    with pair.app.transaction():
        _rows(pair, 10_000, 12_000)
        pair.make("update orders set qty = -1 where id < 1000", "delete from orders where id between 1000 and 1499")
    reader = Client(pair.destination, "superuser")
    fewest = [count(reader, "orders")]

    def grown() -> bool:
        fewest.append(count(reader, "orders"))
        return fewest[-1] == 3500

    pair.start()
    wait_until(grown, "all rows")
    assert min(fewest) >= 1500
    pair.wait_equal(orders=ORDERS)


def test_the_image_is_given_up_by_a_large_window_and_comes_back_though_nothing_more_is_written(pair: Pair) -> None:
    _start(pair)
    pair.stop()
    _rows(pair, 10_000, 12_000)
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: mirror.seen().image, "an image again")
    assert mirror.seen().turns.get("page", 0) > 10


@pytest.mark.parametrize("destination", ["postgresql", "mysql", "mariadb", "sqlite"])
def test_a_truncate_within_a_large_window(make_pair: object, destination: str) -> None:
    pair = make_pair("postgresql", destination)  # type: ignore[operator]
    _start(pair)
    pair.stop()
    with pair.app.transaction():
        _rows(pair, 10_000, 11_000)
        pair.make("truncate orders")
        _rows(pair, 20_000, 21_000)
    pair.start()
    pair.wait_equal(orders=ORDERS)
