"""The shop of the demo: four tables in a SQLite file, and a writer that sells, ships, cancels and changes its mind.

Knows nothing of Pantograph: it is the application, and writes its file as any application would.
"""

from __future__ import annotations

import collections
import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TABLES = ("customers", "products", "orders", "order_lines")

SCHEMA = """
create table customers (id integer primary key, name text not null, city text not null);
create table products (id integer primary key, name text not null, cents integer not null, stock integer not null);
create table orders (
    id integer primary key,
    customer_id integer not null references customers (id),
    status text not null,
    placed_at text not null
);
create table order_lines (
    order_id integer not null references orders (id) on delete cascade,
    line integer not null,
    product_id integer not null references products (id),
    quantity integer not null,
    primary key (order_id, line)
);
create index orders_of_customer on orders (customer_id);
"""

FIRST = (
    "Ada",
    "Björn",
    "Chidi",
    "Dana",
    "Elif",
    "Farid",
    "Grete",
    "Hana",
    "Ines",
    "Jonas",
    "Kofi",
    "Lin",
    "Mara",
    "Noor",
)
LAST = ("Abe", "Berg", "Costa", "Dumont", "Eze", "Fuchs", "Garcia", "Holm", "Ito", "Jansen", "Kaya", "Lopez", "Meyer")
CITIES = ("Accra", "Bergen", "Córdoba", "Dublin", "Essen", "Faro", "Gdańsk", "Hobart", "İzmir", "Jaipur")
WHAT = (
    "pencil",
    "compass",
    "ruler",
    "easel",
    "ink",
    "eraser",
    "protractor",
    "folder",
    "brush",
    "lamp",
    "stamp",
    "clip",
)
KINDS = ("blue", "small", "large", "green", "steel")


@dataclass(frozen=True, slots=True)
class Change:
    """A transaction of the shop, for people, and how to see in a copy that it has arrived.

    arrived: a query that yields a row when it has; "" for a transaction that was rolled back.
    """

    text: str
    at: float
    arrived: str = ""


def open_file(path: Path) -> sqlite3.Connection:
    """A connection in autocommit, as the shop and those who look use it."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    connection.execute("pragma foreign_keys = on")
    return connection


def make(path: Path, chance: random.Random, orders: int = 3000) -> None:
    """Make the shop's file, with some history in it."""
    connection = open_file(path)
    with contextlib.closing(connection):
        connection.execute("pragma journal_mode = wal")
        connection.execute("begin")
        for statement in SCHEMA.strip().split(";\n"):
            connection.execute(statement)
        names = [f"{kind} {what}" for what in WHAT for kind in KINDS]
        connection.executemany(
            "insert into products (name, cents, stock) values (?, ?, ?)",
            [(name, chance.randrange(50, 9000), chance.randrange(500, 2000)) for name in names],
        )
        connection.executemany(
            "insert into customers (name, city) values (?, ?)", [_customer(chance) for _ in range(300)]
        )
        connection.executemany(
            "insert into orders (customer_id, status, placed_at) values (?, 'shipped', datetime('now'))",
            [(chance.randrange(1, 301),) for _ in range(orders)],
        )
        connection.executemany(
            "insert into order_lines (order_id, line, product_id, quantity) values (?, ?, ?, ?)",
            [
                (order, line, chance.randrange(1, len(names) + 1), chance.randrange(1, 9))
                for order in range(1, orders + 1)
                for line in range(1, chance.randrange(2, 5))
            ],
        )
        connection.execute("commit")


def _customer(chance: random.Random) -> tuple[str, str]:
    return f"{chance.choice(FIRST)} {chance.choice(LAST)}", chance.choice(CITIES)


class Writer(threading.Thread):
    """Makes about `pace` transactions a second until `stop` is set. `changes` holds what happened, the latest last."""

    def __init__(self, path: Path, chance: random.Random, pace: float = 30.0) -> None:
        super().__init__(name="shop", daemon=True)
        self._path, self._chance, self._pace = path, chance, pace
        self.stop = threading.Event()
        self.changes: collections.deque[Change] = collections.deque(maxlen=10_000)
        self.committed = 0
        self.rolled_back = 0
        self.failure = ""

    def run(self) -> None:
        try:
            with contextlib.closing(open_file(self._path)) as connection:
                while not self.stop.wait(self._chance.expovariate(self._pace)):
                    self._transaction(connection)
        except sqlite3.Error as error:
            self.failure = str(error)

    def _transaction(self, connection: sqlite3.Connection) -> None:
        connection.execute("begin immediate")
        action = self._chance.choices(
            (self._order, self._advance, self._cancel, self._join, self._price, self._restock, self._give_up),
            weights=(45, 28, 8, 6, 4, 4, 5),
        )[0]
        text, arrived = action(connection)
        if arrived:
            connection.execute("commit")
            self.committed += 1
        else:
            connection.execute("rollback")
            self.rolled_back += 1
        self.changes.append(Change(text, time.time(), arrived))

    # Each returns what it did, and the query that finds it in a copy.

    def _order(self, connection: sqlite3.Connection) -> tuple[str, str]:
        customer = self._any(connection, "customers")
        order = connection.execute(
            "insert into orders (customer_id, status, placed_at) values (?, 'new', datetime('now'))", (customer,)
        ).lastrowid
        lines = self._chance.randrange(1, 5)
        for line in range(1, lines + 1):
            product, quantity = self._any(connection, "products"), self._chance.randrange(1, 9)
            connection.execute("insert into order_lines values (?, ?, ?, ?)", (order, line, product, quantity))
            connection.execute("update products set stock = stock - ? where id = ?", (quantity, product))
        return (
            f"order {order} placed, {lines} line{'s' * (lines > 1)}",
            f"select 1 from orders where id = {order}",
        )

    def _advance(self, connection: sqlite3.Connection) -> tuple[str, str]:
        before, after = self._chance.choice((("new", "paid"), ("paid", "shipped")))
        found = connection.execute("select id from orders where status = ? order by id limit 1", (before,)).fetchone()
        if found is None:
            return self._order(connection)
        connection.execute("update orders set status = ? where id = ?", (after, found[0]))
        further = "'shipped'" if after == "shipped" else "'paid', 'shipped'"
        return f"order {found[0]} {after}", f"select 1 from orders where id = {found[0]} and status in ({further})"

    def _cancel(self, connection: sqlite3.Connection) -> tuple[str, str]:
        order = self._any(connection, "orders")
        connection.execute("delete from orders where id = ?", (order,))
        return (
            f"order {order} cancelled, with its lines",
            f"select 1 where not exists (select 1 from orders where id = {order})",
        )

    def _join(self, connection: sqlite3.Connection) -> tuple[str, str]:
        name, city = _customer(self._chance)
        made = connection.execute("insert into customers (name, city) values (?, ?)", (name, city)).lastrowid
        return f"customer {made} joined, from {city}", f"select 1 from customers where id = {made}"

    def _price(self, connection: sqlite3.Connection) -> tuple[str, str]:
        product, cents = self._any(connection, "products"), self._chance.randrange(50, 9000)
        connection.execute("update products set cents = ? where id = ?", (cents, product))
        return (
            f"product {product} now costs {cents / 100:.2f}",
            f"select 1 from products where id = {product} and cents = {cents}",
        )

    def _restock(self, connection: sqlite3.Connection) -> tuple[str, str]:
        low = connection.execute("select id, stock from products order by stock limit 1").fetchone()
        connection.execute("update products set stock = stock + 1000 where id = ?", (low[0],))
        return f"product {low[0]} restocked", f"select 1 from products where id = {low[0]} and stock > {low[1] + 500}"

    def _give_up(self, connection: sqlite3.Connection) -> tuple[str, str]:
        text, _ = self._order(connection)
        return f"{text.replace('placed', 'given up')}: rolled back", ""

    def _any(self, connection: sqlite3.Connection, table: str) -> int:
        top = connection.execute(f"select max(id) from {table}").fetchone()[0]
        at = self._chance.randrange(1, top + 1)
        found = connection.execute(f"select id from {table} where id >= ? order by id limit 1", (at,)).fetchone()
        return int(found[0])


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows of each table, at one moment; a table that is not there yet has none."""
    there = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    connection.execute("begin")
    try:
        return {
            table: connection.execute(f"select count(*) from {table}").fetchone()[0] if table in there else 0
            for table in TABLES
        }
    finally:
        connection.execute("rollback")


def differences(shop: Path, copy: Path) -> Iterator[tuple[str, int, int]]:
    """Compare the two files row by row: table, rows in the shop, rows that are in one file only."""
    with contextlib.closing(open_file(shop)) as connection:
        connection.execute("attach database ? as copy", (str(copy),))
        for table in TABLES:
            columns = ", ".join(row[1] for row in connection.execute(f"pragma main.table_info({table})"))
            here, there = f"select {columns} from main.{table}", f"select {columns} from copy.{table}"
            lacking = connection.execute(f"select count(*) from ({here} except {there})").fetchone()[0]
            extra = connection.execute(f"select count(*) from ({there} except {here})").fetchone()[0]
            rows = connection.execute(f"select count(*) from main.{table}").fetchone()[0]
            yield table, rows, lacking + extra
