"""A shop of thirty tables with foreign keys, and the people who work in it: many small transactions, all of them valid.

`create` makes the tables at a source, or beforehand at a destination. What is true in every committed state is said by
`WHAT_HOLDS`, and `broken` asks it: a copy for which it does not hold in one snapshot is no image of the shop.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import json
import random
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from tests.servers import TestDatabase
from tests.support.clients import EXACT, Client

# {time}, {bool}, {json} and {text} are spelled by each engine; {b} makes MariaDB's texts compare byte by byte.
TABLES: dict[str, str] = {
    "countries": "code varchar(2){b} primary key, name varchar(60) not null unique",
    "currencies": "code varchar(3){b} primary key, name varchar(40) not null, digits int not null",
    "staff": "id int primary key, name varchar(60) not null, email varchar(80){b} not null unique, manager_id int, "
    "active {bool} not null, foreign key (manager_id) references staff (id) on delete set null",
    "warehouses": "id int primary key, name varchar(40) not null unique, country varchar(2){b} not null, "
    "foreign key (country) references countries (code)",
    "customers": "id int primary key, email varchar(80){b} not null unique, name varchar(60) not null, "
    "country varchar(2){b} not null, vip {bool} not null, prefs {json}, created {time} not null, "
    "foreign key (country) references countries (code)",
    "addresses": "id int primary key, customer_id int not null, kind varchar(10) not null, "
    "street varchar(80) not null, city varchar(40) not null, country varchar(2){b} not null, "
    "foreign key (customer_id) references customers (id) on delete cascade, "
    "foreign key (country) references countries (code)",
    "customer_notes": "customer_id int not null, nr int not null, staff_id int, body {text} not null, "
    "primary key (customer_id, nr), foreign key (customer_id) references customers (id) on delete cascade, "
    "foreign key (staff_id) references staff (id) on delete set null",
    "categories": "id int primary key, parent_id int, name varchar(40) not null, unique (parent_id, name), "
    "foreign key (parent_id) references categories (id)",
    "brands": "id int primary key, name varchar(40){b} not null unique",
    "suppliers": "id int primary key, name varchar(40) not null, country varchar(2){b} not null, "
    "foreign key (country) references countries (code)",
    "products": "id int primary key, brand_id int not null, category_id int not null, "
    "sku varchar(20){b} not null unique, name varchar(80) not null, description {text}, attributes {json}, "
    "active {bool} not null, "
    "foreign key (brand_id) references brands (id), foreign key (category_id) references categories (id)",
    "variants": "id int primary key, product_id int not null, sku varchar(24){b} not null unique, size varchar(10), "
    "price decimal(10,2) not null, weight double precision, "
    "foreign key (product_id) references products (id) on delete cascade",
    "product_suppliers": "product_id int not null, supplier_id int not null, cost decimal(12,4) not null, "
    "primary key (product_id, supplier_id), foreign key (product_id) references products (id) on delete cascade, "
    "foreign key (supplier_id) references suppliers (id)",
    "product_images": "product_id int not null, position int not null, url varchar(200) not null, "
    "primary key (product_id, position), foreign key (product_id) references products (id) on delete cascade",
    "tags": "id int primary key, name varchar(30){b} not null unique",
    "product_tags": "product_id int not null, tag_id int not null, primary key (product_id, tag_id), "
    "foreign key (product_id) references products (id) on delete cascade, "
    "foreign key (tag_id) references tags (id) on delete cascade",
    "stock": "warehouse_id int not null, variant_id int not null, qty int not null, "
    "primary key (warehouse_id, variant_id), foreign key (warehouse_id) references warehouses (id), "
    "foreign key (variant_id) references variants (id) on delete cascade, check (qty >= 0)",
    "stock_moves": "id bigint primary key, warehouse_id int not null, variant_id int not null, delta int not null, "
    "reason varchar(20) not null, at {time} not null, "
    "foreign key (warehouse_id, variant_id) references stock (warehouse_id, variant_id) on delete cascade",
    "coupons": "code varchar(20){b} primary key, percent decimal(5,2) not null, uses int not null, valid_until date",
    "carts": "id int primary key, customer_id int not null unique, updated {time} not null, "
    "foreign key (customer_id) references customers (id) on delete cascade",
    "cart_lines": "cart_id int not null, variant_id int not null, qty int not null, primary key (cart_id, variant_id), "
    "foreign key (cart_id) references carts (id) on delete cascade, "
    "foreign key (variant_id) references variants (id) on delete cascade",
    "orders": "id int primary key, customer_id int not null, address_id int, coupon varchar(20){b}, "
    "currency varchar(3){b} not null, total decimal(14,2) not null, paid decimal(14,2) not null, "
    "status varchar(10) not null, placed {time} not null, foreign key (customer_id) references customers (id), "
    "foreign key (address_id) references addresses (id) on delete set null, "
    "foreign key (coupon) references coupons (code), foreign key (currency) references currencies (code)",
    "order_lines": "order_id int not null, line int not null, variant_id int not null, qty int not null, "
    "price decimal(10,2) not null, primary key (order_id, line), "
    "foreign key (order_id) references orders (id) on delete cascade, "
    "foreign key (variant_id) references variants (id)",
    "order_events": "id bigint primary key, order_id int not null, staff_id int, what varchar(20) not null, "
    "at {time} not null, foreign key (order_id) references orders (id) on delete cascade, "
    "foreign key (staff_id) references staff (id) on delete set null",
    "payments": "id bigint primary key, order_id int not null, amount decimal(14,2) not null, "
    "method varchar(10) not null, at {time} not null, foreign key (order_id) references orders (id)",
    "refunds": "id bigint primary key, payment_id bigint not null, amount decimal(14,2) not null, reason {text}, "
    "foreign key (payment_id) references payments (id)",
    "shipments": "id int primary key, order_id int not null, warehouse_id int not null, sent {time}, "
    "foreign key (order_id) references orders (id), foreign key (warehouse_id) references warehouses (id)",
    "shipment_lines": "shipment_id int not null, order_id int not null, line int not null, qty int not null, "
    "primary key (shipment_id, order_id, line), foreign key (shipment_id) references shipments (id) on delete cascade, "
    "foreign key (order_id, line) references order_lines (order_id, line)",
    "reviews": "id int primary key, product_id int not null, customer_id int not null, stars int not null, "
    "body {text}, "
    "unique (product_id, customer_id), foreign key (product_id) references products (id) on delete cascade, "
    "foreign key (customer_id) references customers (id) on delete cascade",
    "audit": "id bigint primary key, staff_id int, what varchar(40) not null, detail {json}, at {time} not null, "
    "foreign key (staff_id) references staff (id) on delete set null",
}
assert len(TABLES) == 30

SPELLED = {
    "postgresql": {"time": "timestamp(6)", "bool": "boolean", "json": "jsonb", "text": "text", "b": ""},
    "mysql": {"time": "datetime(6)", "bool": "boolean", "json": "json", "text": "longtext", "b": EXACT["mysql"]},
    "mariadb": {"time": "datetime(6)", "bool": "boolean", "json": "json", "text": "longtext", "b": EXACT["mariadb"]},
    "sqlite": {"time": "timestamp", "bool": "boolean", "json": "json", "text": "text", "b": ""},
}  # fmt: skip

WHAT_HOLDS: dict[str, str] = {
    # SQLite's decimals are doubles.
    "an order's total is the sum of its lines": "select count(*) from orders o where abs(total - "
    "(select coalesce(sum(l.qty * l.price), 0) from order_lines l where l.order_id = o.id)) > 0.001",
    "what is paid is the sum of payments without refunds": "select count(*) from orders o where abs(paid - "
    "(select coalesce(sum(p.amount), 0) from payments p where p.order_id = o.id) + (select coalesce(sum(r.amount), 0) "
    "from refunds r join payments p on p.id = r.payment_id where p.order_id = o.id)) > 0.001",
    "stock is the sum of its moves": "select count(*) from stock s where qty <> (select coalesce(sum(m.delta), 0) "
    "from stock_moves m where m.warehouse_id = s.warehouse_id and m.variant_id = s.variant_id)",
    "every order has a line and an event": "select count(*) from orders o where not exists "
    "(select 1 from order_lines l where l.order_id = o.id) or not exists "
    "(select 1 from order_events e where e.order_id = o.id)",
    "who has a cart has something in it": "select count(*) from carts c where not exists (select 1 from cart_lines l "
    "where l.cart_id = c.id)",
    "what was sent was ordered": "select count(*) from shipment_lines s where not exists (select 1 from order_lines l "
    "where l.order_id = s.order_id and l.line = s.line and l.qty = s.qty)",
}


def columns(table: str) -> tuple[str, ...]:
    """The names of a table's columns."""
    words = (part.strip().split(" ")[0] for part in _split(TABLES[table]))
    return tuple(word for word in words if word not in ("primary", "foreign", "unique", "check"))


def _split(text: str) -> list[str]:
    parts, depth, at = [], 0, 0
    for n, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append(text[at:n])
            at = n + 1
    return [*parts, text[at:]]


def create(database: TestDatabase, *, wide: bool = False, role: str = "app") -> None:
    """The tables, with their keys. wide: as a copy of SQLite's has them, where integers are of 64 bits."""
    client = Client(database, role)
    for name, text in TABLES.items():
        spelled = text.format(**SPELLED[database.dialect])
        spelled = re.sub(r"\bint\b", "bigint", spelled) if wide else spelled
        client.run(f"create table {name} ({spelled})")
    client.close()


def comparable(table: str, names: Sequence[str], row: Sequence[Any]) -> tuple[Any, ...]:
    """A row of a copy or of the shop, in one form for all engines: JSON is a value, a time may have been a text."""
    texts = dict(zip(columns(table), _split(TABLES[table]), strict=False))
    found = []
    for name, value in zip(names, row, strict=True):
        if value is not None and "{json}" in texts.get(name, ""):
            value = json.dumps(json.loads(value) if isinstance(value, str) else value, sort_keys=True)
        elif value is not None and "{time}" in texts.get(name, ""):
            value = str(value).replace("T", " ")
            value = value.rstrip("0").rstrip(".") if "." in value else value
        elif isinstance(value, float):
            value = round(value, 4)
        found.append(value)
    return tuple(found)


def broken(client: Client) -> str:
    """ "" when the database shows a shop in order; else what does not hold. Ask in one snapshot."""
    found = {what: int(client.value(sql)) for what, sql in WHAT_HOLDS.items()}
    return "; ".join(f"not for {count}: {what}" for what, count in found.items() if count)


class _Client(Client):
    """SQLite's driver takes no decimals."""

    def run(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        if self.dialect == "sqlite":
            params = tuple(str(value) if isinstance(value, decimal.Decimal) else value for value in params)
        return super().run(sql, *params)


START = datetime.datetime(2026, 1, 1, 8, 0, 0)


class Shop:
    """A writer with random numbers of its own. `work` does so many transactions; `with Shop(…)` works until the end."""

    def __init__(self, database: TestDatabase, seed: int = 1, number: int = 0, of: int = 1) -> None:
        self.rng = random.Random(f"{seed}.{number}")
        self.client = _Client(database)
        self.number, self.of = number, of
        self.done: dict[str, int] = {}
        self.failures: list[str] = []
        # Columns, as (table, name), that the application has ceased to write; and what is held while it writes.
        self.given_up: set[tuple[str, str]] = set()
        self.lock = threading.Lock()
        self._next = 0
        self._clock = START
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._until_stopped, daemon=True)

    # -- what is needed everywhere -----------------------------------------------------------------------------------

    def _id(self) -> int:
        """A number that no other writer hands out."""
        self._next += 1
        return 1000 + self._next * self.of + self.number

    def _now(self) -> str:
        self._clock += datetime.timedelta(seconds=self.rng.randint(1, 600), microseconds=self.rng.randint(0, 999999))
        return self._clock.isoformat(" ")

    def _put(self, table: str, *values: Any) -> None:
        row = {name: v for name, v in zip(columns(table), values, strict=True) if (table, name) not in self.given_up}
        marks = ", ".join("?" * len(row))
        self.client.run(f"insert into {table} ({', '.join(row)}) values ({marks})", *row.values())

    def _json(self, **values: Any) -> str:
        return json.dumps(values)

    def _bool(self, chance: float = 0.5) -> Any:
        truth = self.rng.random() < chance
        return truth if self.client.dialect == "postgresql" else int(truth)

    def _any(self, what: str, where: str = "") -> Any:
        """A row of a table at random, or None. what: `columns from table`."""
        found = self.client.run(f"select {what}{f' where {where}' if where else ''} order by 1")
        return self.rng.choice(found) if found else None

    def _text(self) -> str:
        words = ["fine", "blue", "größer", "it's", "100%", "back\\slash", "naïve", "☂", "and\nmore", "very " * 40, ""]
        return " ".join(self.rng.sample(words, self.rng.randint(1, 4)))

    def _audit(self, what: str, **detail: Any) -> None:
        who = self._any("id from staff")
        self._put("audit", self._id(), who and who[0], what, self._json(**detail), self._now())

    # -- what people do ----------------------------------------------------------------------------------------------

    def open_doors(self) -> None:
        """What is there before the first customer."""
        with self.client.transaction():
            for code, name in (("de", "Germany"), ("fr", "France"), ("pl", "Poland"), ("is", "Ísland")):
                self._put("countries", code, name)
            for code, digits in (("eur", 2), ("pln", 2), ("isk", 0)):
                self._put("currencies", code, code.upper(), digits)
            for n in range(1, 9):
                self._put("staff", n, f"Staff {n}", f"s{n}@shop", n // 2 or None, self._bool(0.9))
            for n in (1, 2):
                self._put("warehouses", n, f"House {n}", "de")
            for n in range(1, 13):
                self._put("categories", n, n // 3 or None, f"Category {n}")
            for n in range(1, 6):
                self._put("brands", n, f"Brand {n}")
                self._put("suppliers", n, f"Supplier {n}", self.rng.choice(["de", "fr", "pl"]))
                self._put("tags", n, f"tag {n}")
                self._put("coupons", f"SAVE{n}", 5 * n, 0, "2026-12-31" if n % 2 else None)
        for _ in range(12):
            with self.client.transaction():
                self.new_product()
        for _ in range(10):
            with self.client.transaction():
                self.register()

    def register(self) -> None:
        n = self._id()
        country = self.rng.choice(["de", "fr", "pl", "is"])
        prefs = self._json(mail=True, size=n % 5, tags=["a", self._text()]) if n % 3 else None
        self._put("customers", n, f"c{n}@mail", f"Customer {n}", country, self._bool(0.1), prefs, self._now())
        for kind in self.rng.sample(["home", "work", "other"], self.rng.randint(1, 2)):
            self._put("addresses", self._id(), n, kind, f"Street {n}", "Town", country)

    def move_house(self) -> None:
        found = self._any("id from addresses")
        if found:
            self.client.run("update addresses set street = ?, city = ? where id = ?", self._text()[:40], "City", *found)

    def note(self) -> None:
        customer, clerk = self._any("id from customers"), self._any("id from staff")
        if customer:
            nr = self.client.value(
                "select coalesce(max(nr), 0) + 1 from customer_notes where customer_id = ?", *customer
            )
            self._put("customer_notes", customer[0], nr, clerk and clerk[0], self._text())

    def forget_customer(self) -> None:
        """One that never ordered goes, with all that hangs on it."""
        found = self._any("id from customers", "id not in (select customer_id from orders)")
        if found and self.client.value("select count(*) from customers") > 5:
            self.client.run("delete from customers where id = ?", *found)

    def rename_customer(self) -> None:
        found = self._any("id from customers")
        if found:
            n = self._id()
            self.client.run("update customers set email = ?, vip = ? where id = ?", f"n{n}@mail", self._bool(), *found)

    def new_product(self) -> None:
        n = self._id()
        brand, category = self._any("id from brands"), self._any("id from categories")
        attributes = self._json(colour=self._text(), parts=[1, 2.5, None], deep={"a": {"b": n}})
        self._put(
            "products", n, brand[0], category[0], f"P{n}", f"Product {n}", self._text(), attributes, self._bool(0.9)
        )
        for _ in range(self.rng.randint(1, 3)):
            variant = self._id()
            price = decimal.Decimal(self.rng.randint(100, 99999)) / 100
            weight = self.rng.choice([None, 0.1, 2.5, 1e-3])
            self._put("variants", variant, n, f"P{n}-{variant}", self.rng.choice([None, "S", "M", "XL"]), price, weight)
            for (house,) in self.client.run("select id from warehouses order by id"):
                self._put("stock", house, variant, 0)
                self._move(house, variant, self.rng.randint(5, 50), "first")
        for (supplier,) in self.rng.sample(self.client.run("select id from suppliers order by id"), 2):
            self._put("product_suppliers", n, supplier, decimal.Decimal(self.rng.randint(1, 10**6)) / 10000)
        for (tag,) in self.rng.sample(self.client.run("select id from tags order by id"), 2):
            self._put("product_tags", n, tag)
        for position in range(self.rng.randint(0, 3)):
            self._put("product_images", n, position, f"https://img/{n}/{position}?a=1&b=%20")

    def withdraw_product(self) -> None:
        """One that nobody ever ordered goes, with its variants, stock, images, tags and reviews."""
        found = self._any(
            "id from products",
            "id not in (select v.product_id from variants v join order_lines l on l.variant_id = v.id)",
        )
        if found and self.client.value("select count(*) from products") > 6:
            # A cart that held nothing else goes as well.
            theirs = "select id from variants where product_id = ?"
            self.client.run(
                "delete from carts where id in (select cart_id from cart_lines) and id not in "
                f"(select cart_id from cart_lines where variant_id not in ({theirs}))",
                *found,
            )
            self.client.run("delete from products where id = ?", *found)

    def reprice(self) -> None:
        found = self._any("product_id from variants")
        self.client.run("update variants set price = price + 0.25 where product_id = ?", *found)
        self._audit("reprice", product=found[0])

    def sort_out(self) -> None:
        """A product goes into another category, and its images change places."""
        product, category = self._any("id from products"), self._any("id from categories")
        self.client.run("update products set category_id = ? where id = ?", category[0], product[0])
        two = self.client.run("select position from product_images where product_id = ? and position < 2", *product)
        if len(two) == 2:
            for before, after in ((0, -1), (1, 0), (-1, 1)):
                self.client.run(
                    "update product_images set position = ? where product_id = ? and position = ?",
                    after, product[0], before,
                )  # fmt: skip

    def grow_tree(self) -> None:
        parent = self._any("id from categories")
        n = self._id()
        self._put("categories", n, parent[0], f"Category {n}")
        self.client.run("update categories set parent_id = ? where id = ?", 1, n)

    def prune_tree(self) -> None:
        """A category that is empty goes."""
        found = self._any(
            "id from categories c",
            "not exists (select 1 from products p where p.category_id = c.id) and "
            "not exists (select 1 from categories d where d.parent_id = c.id)",
        )
        if found:
            self.client.run("delete from categories where id = ?", *found)

    def fill_cart(self) -> None:
        customer = self._any("id from customers")
        cart = self._any("id from carts", f"customer_id = {customer[0]}")
        if cart is None:
            cart = (self._id(),)
            self._put("carts", cart[0], customer[0], self._now())
        else:
            self.client.run("update carts set updated = ? where id = ?", self._now(), *cart)
        for (variant,) in self.rng.sample(self.client.run("select id from variants order by id"), 2):
            had = self.client.run("select qty from cart_lines where cart_id = ? and variant_id = ?", cart[0], variant)
            if had:
                self.client.run(
                    "update cart_lines set qty = qty + 1 where cart_id = ? and variant_id = ?", cart[0], variant
                )
            else:
                self._put("cart_lines", cart[0], variant, self.rng.randint(1, 3))

    def order(self) -> None:
        """A cart becomes an order; what it holds leaves the warehouse."""
        cart = self._any("id, customer_id from carts")
        if cart is None:
            return
        lines = self.client.run(
            "select v.id, l.qty, v.price from cart_lines l join variants v on v.id = l.variant_id where l.cart_id = ? "
            "order by v.id",
            cart[0],
        )
        house = self._any("id from warehouses")[0]
        for variant, qty, _ in lines:
            had = self.client.value(
                "select qty from stock where warehouse_id = ? and variant_id = ?" + self._for_update, house, variant
            )
            if had is None or had < qty:
                return
        n = self._id()
        address = self._any("id from addresses", f"customer_id = {cart[1]}")
        coupon = self._any("code from coupons") if self.rng.random() < 0.3 else None
        total = sum((_money(price) * qty for _, qty, price in lines), decimal.Decimal(0))
        self._put(
            "orders", n, cart[1], address and address[0], coupon and coupon[0], "eur", total, 0, "new", self._now()
        )
        for line, (variant, qty, price) in enumerate(lines, start=1):
            self._put("order_lines", n, line, variant, qty, _money(price))
            self._move(house, variant, -qty, "order")
        if coupon:
            self.client.run("update coupons set uses = uses + 1 where code = ?", *coupon)
        self._happened(n, "placed")
        self._without_children("carts", "id", cart[0], ["cart_lines.cart_id"])

    def change_order(self) -> None:
        """One line more, or less of it; the total follows."""
        found = self._any("id from orders", "status = 'new'")
        if found is None:
            return
        line, variant, qty, price = self._any("line, variant_id, qty, price from order_lines", f"order_id = {found[0]}")
        where = self._any("warehouse_id from stock", f"variant_id = {variant} and qty > 0")
        if where is None:
            return
        more = 1 if qty == 1 or self.rng.random() < 0.5 else -1
        self.client.run("update order_lines set qty = qty + ? where order_id = ? and line = ?", more, found[0], line)
        self.client.run("update orders set total = total + ? where id = ?", _money(price) * more, *found)
        self._move(where[0], variant, -more, "change")
        self._happened(found[0], "changed")

    def pay(self) -> None:
        found = self._any("id, total from orders", "status = 'new'")
        if found:
            total = _money(found[1])
            first = (total / 2).quantize(decimal.Decimal("0.01"))
            for amount in [total] if self.rng.random() < 0.7 else [first, total - first]:
                self._put("payments", self._id(), found[0], amount, self.rng.choice(["card", "cash"]), self._now())
            self.client.run("update orders set paid = ?, status = 'paid' where id = ?", total, found[0])
            self._happened(found[0], "paid")

    def ship(self) -> None:
        found = self._any("id from orders", "status = 'paid'")
        if found:
            n, house = self._id(), self._any("id from warehouses")[0]
            self._put("shipments", n, found[0], house, self._now())
            for line, qty in self.client.run("select line, qty from order_lines where order_id = ?", *found):
                self._put("shipment_lines", n, found[0], line, qty)
            self.client.run("update orders set status = 'sent' where id = ?", *found)
            self._happened(found[0], "sent")

    def refund(self) -> None:
        found = self._any(
            "p.id, p.order_id, p.amount from payments p",
            "not exists (select 1 from refunds r where r.payment_id = p.id)",
        )
        if found:
            self._put("refunds", self._id(), found[0], _money(found[2]), self.rng.choice([None, self._text()]))
            self.client.run("update orders set paid = paid - ? where id = ?", _money(found[2]), found[1])
            self._audit("refund", payment=found[0], amount=str(found[2]))

    def cancel(self) -> None:
        """An order that is not paid goes, and its goods come back."""
        found = self._any("id from orders", "status = 'new'")
        if found:
            for variant, qty in self.client.run("select variant_id, qty from order_lines where order_id = ?", *found):
                house = self._any("warehouse_id from stock", f"variant_id = {variant}")
                self._move(house[0], variant, qty, "cancel")
            self._without_children("orders", "id", found[0], ["order_lines.order_id", "order_events.order_id"])

    def review(self) -> None:
        product, customer = self._any("id from products"), self._any("id from customers")
        had = self.client.run(
            "select id from reviews where product_id = ? and customer_id = ?", product[0], customer[0]
        )
        if had and self.rng.random() < 0.5:
            self.client.run("delete from reviews where id = ?", *had[0])
            had = []
        if had:
            self.client.run("update reviews set stars = ? where id = ?", self.rng.randint(1, 5), *had[0])
        else:
            self._put("reviews", self._id(), product[0], customer[0], self.rng.randint(1, 5), self._text())

    def restock(self) -> None:
        house, variant, _ = self._any("warehouse_id, variant_id, qty from stock")
        self._move(house, variant, self.rng.randint(1, 20), "restock")

    def transfer(self) -> None:
        """From one warehouse to the other."""
        found = self._any("warehouse_id, variant_id from stock", "qty > 3")
        if found:
            self._move(found[0], found[1], -2, "out")
            self._move(3 - found[0], found[1], 2, "in")

    def hire(self) -> None:
        n, boss = self._id(), self._any("id from staff")
        self._put("staff", n, f"Staff {n}", f"s{n}@shop", boss[0], self._bool(0.9))

    def leave(self) -> None:
        """Somebody goes; the notes, events and people stay."""
        found = self._any("id from staff")
        if self.client.value("select count(*) from staff") > 4:
            self.client.run("delete from staff where id = ?", *found)

    def reorganise(self) -> None:
        found = self._any("id from staff")
        self.client.run("update staff set manager_id = ? where manager_id = ?", *found, *self._any("id from staff"))

    def retag(self) -> None:
        tag, product = self._any("id from tags"), self._any("id from products")
        self.client.run("delete from product_tags where tag_id = ? and product_id <> ?", tag[0], product[0])
        if not self.client.run("select 1 from product_tags where product_id = ? and tag_id = ?", product[0], tag[0]):
            self._put("product_tags", product[0], tag[0])

    def drop_tag(self) -> None:
        found = self._any("id, name from tags")
        n = self._id()
        self.client.run("delete from tags where id = ?", found[0])
        # The name lives on, with another number.
        self._put("tags", n, found[1])

    # -- and how -----------------------------------------------------------------------------------------------------

    @property
    def _for_update(self) -> str:
        return "" if self.client.dialect == "sqlite" else " for update"

    def _move(self, house: int, variant: int, delta: int, reason: str) -> None:
        self._put("stock_moves", self._id(), house, variant, delta, reason, self._now())
        self.client.run(
            "update stock set qty = qty + ? where warehouse_id = ? and variant_id = ?", delta, house, variant
        )

    def _happened(self, order: int, what: str) -> None:
        clerk = self._any("id from staff")
        self._put("order_events", self._id(), order, clerk and clerk[0], what, self._now())

    def _without_children(self, table: str, column: str, value: Any, children: Sequence[str]) -> None:
        """A delete, now and then of the children first, as careful applications do."""
        if self.rng.random() < 0.3:
            for child in children:
                name, _, by = child.partition(".")
                self.client.run(f"delete from {name} where {by} = ?", value)
        self.client.run(f"delete from {table} where {column} = ?", value)

    SELDOM = ("forget_customer", "withdraw_product", "prune_tree", "leave", "drop_tag", "hire", "reorganise")
    OFTEN = (
        "register", "move_house", "note", "rename_customer", "new_product", "reprice", "sort_out", "grow_tree",
        "fill_cart", "fill_cart", "fill_cart", "order", "order", "order", "change_order", "pay", "pay", "ship",
        "refund", "cancel", "review", "review", "restock", "transfer", "retag",
    )  # fmt: skip

    def work(self, transactions: int) -> Self:
        """So many transactions; one of twenty is rolled back at its end, one that is in another's way is too."""
        for _ in range(transactions):
            self._transaction()
        return self

    def _transaction(self) -> None:
        kinds = self.OFTEN if self.rng.random() < 0.8 else self.SELDOM
        names = self.rng.choices(kinds, k=self.rng.choice((1, 1, 1, 2)))
        self.client.begin()
        try:
            for name in names:
                act: Callable[[], None] = getattr(self, name)
                act()
        except BaseException as error:
            with contextlib.suppress(Exception):
                self.client.rollback()
            # Only where there are others can one be in their way; and on MySQL who puts triggers on its tables.
            alone = self.of == 1 and not (self.client.dialect == "mysql" and error.args[:1] == (1213,))
            if alone or not isinstance(error, Exception):
                raise
            self.done["in the way"] = self.done.get("in the way", 0) + 1
            return
        self.client.run("rollback" if self.rng.random() < 0.05 else "commit")
        for name in names:
            self.done[name] = self.done.get(name, 0) + 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close_up()
        assert not self.failures, self.failures

    def close_up(self) -> None:
        """No more transactions."""
        self._stop.set()
        self._thread.join()

    def _until_stopped(self) -> None:
        try:
            while not self._stop.is_set():
                with self.lock:
                    self._transaction()
                self._stop.wait(0.005)
        except Exception as error:  # whoever asks for the result wants to know, not the thread
            self.failures.append(f"{type(error).__name__}: {error}")


def _money(value: Any) -> decimal.Decimal:
    return decimal.Decimal(str(value)).quantize(decimal.Decimal("0.01"))
