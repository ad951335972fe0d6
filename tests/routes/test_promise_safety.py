"""What is not ours stays, one failure is one Reflection's, and no row is told. (Promises 4, 10, 11, 13, 15.)"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.routes.conftest import ENGINES, Pair
from tests.servers import TestDatabase
from tests.support import mirrors
from tests.support.clients import Client
from tests.support.comparison import difference, rows, wait_until

MakePair = Callable[[str, str], Pair]
ORDERS = ("id", "customer", "qty")
CREATE = "create table orders (id int primary key, customer varchar(40), qty int)"
# SQLite's integers have 64 bits, and its texts no length.
THERE = "create table orders (id bigint primary key, customer {}, qty bigint)"
ONE = "insert into orders values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)"


def _at(pair: Pair, *statements: str) -> None:
    """Statements at the destination, as the application that owns the tables there."""
    client = Client(pair.destination)
    for sql in statements:
        client.run(sql)
    client.close()


def _text(pair: Pair) -> str:
    """A type for texts of any length that may be unique."""
    natives = {"mysql": "longtext", "mariadb": "longtext", "firebird": "blob sub_type text character set utf8"}
    return natives.get(pair.destination.dialect, "text")


def _granted(pair: Pair, tables: str) -> None:
    """What the grants page says for a table that somebody made before us."""
    if pair.destination.dialect == "postgresql":
        user = pair.destination.roles["destination"][0]  # type: ignore[attr-defined]
        _at(pair, f'grant select, insert, update, delete on {tables} to "{user}"')


@pytest.mark.parametrize("engine", ENGINES)
def test_4_applying_twice_changes_nothing(make_pair: MakePair, engine: str) -> None:
    """The position is set back to before all changes, so that all of them are read and written again."""
    pair = make_pair(engine, engine)
    pair.make(CREATE, ONE)
    mirror = pair.start("orders")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    table = mirrors.ours(pair.destination, "checkpoints")
    client = Client(pair.destination, "superuser")
    of_stream = f"select {client.q('position')} from {table} where name like 'stream/%'"
    ((before,),) = pair.destination.execute(of_stream, role="superuser")
    pair.make(
        "insert into orders values (4, 'd', 4)",
        "update orders set id = 9 where id = 1",
        "delete from orders where id = 2",
    )
    pair.make("update orders set customer = 'x' where id = 3", "update orders set customer = null where id = 4")
    pair.wait_equal(orders=ORDERS)
    pair.stop()
    client.run(f"update {table} set {client.q('position')} = ? where name like 'stream/%'", before)
    mirror = pair.start()
    wait_until(lambda: mirror.seen().events >= 5 and mirror.seen().caught_up, "all read again")
    assert (mirror.seen().upserted, mirror.seen().deleted) == (0, 0)
    pair.wait_equal(orders=ORDERS)


def test_4_a_row_that_is_equal_is_left_alone(make_pair: MakePair) -> None:
    pair = make_pair("sqlite", "postgresql")
    pair.make(CREATE, ONE)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    versions = "select id, xmin::text, ctid::text from orders where id < 3 order by id"
    before = pair.destination.execute(versions, role="superuser")
    pair.make("update orders set qty = qty", "update orders set qty = 30 where id = 3")
    pair.wait_equal(orders=ORDERS)
    assert pair.destination.execute(versions, role="superuser") == before


@pytest.mark.parametrize("engine", ENGINES)
def test_10_a_table_with_rows_is_nobodys_to_write_until_somebody_says_so(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    pair.make(CREATE, ONE)
    _at(pair, THERE.format(_text(pair)), "insert into orders values (2, 'theirs', 0), (70, 'theirs', 0)")
    _granted(pair, "orders")
    mirror = pair.start("orders")
    mirror.wait_reason("DestinationNotEmpty")
    assert len(rows(pair.destination, "orders", ORDERS)) == 2
    pair.stop()
    pair.start({"table": "orders", "destination": {"existing": "Keep"}})
    wait_until(lambda: len(rows(pair.destination, "orders", ORDERS)) == 4, "merged")
    pair.make("delete from orders where id = 1")
    wait_until(lambda: len(rows(pair.destination, "orders", ORDERS)) == 3, "the delete")
    assert (70, "theirs", 0) in rows(pair.destination, "orders", ORDERS)


def test_10_replacing_takes_what_the_source_lacks(make_pair: MakePair) -> None:
    pair = make_pair("sqlite", "sqlite")
    pair.make(CREATE, ONE)
    _at(pair, THERE.format(_text(pair)), "insert into orders values (2, 'theirs', 0), (70, 'theirs', 0)")
    pair.start({"table": "orders", "destination": {"existing": "Replace"}})
    pair.wait_equal(orders=ORDERS)


@pytest.mark.parametrize("engine", ENGINES)
def test_10_no_mass_delete_without_a_person(make_pair: MakePair, engine: str) -> None:
    """A sweep that would delete 1,500 of 2,000 rows waits, and goes on with what happens meanwhile."""
    pair = make_pair("sqlite", engine)
    pair.make(CREATE)
    values = ", ".join(f"({n}, 'c', 1)" for n in range(2000))
    pair.make(f"insert into orders values {values}")
    pair.start("orders")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.stop()
    # Rows that go while nobody notes it.
    triggers = pair.source.execute("select name, sql from sqlite_master where type = 'trigger'")
    for name, _ in triggers:
        pair.make(f"drop trigger {pair.app.q(name)}")
    pair.make("delete from orders where id >= 500")
    mirror = pair.start()
    seen = mirror.wait_reason("SweepHeld")
    assert seen.held == 1500
    pair.make("insert into orders values (9000, 'meanwhile', 1)", "update orders set qty = 2 where id = 7")
    wait_until(lambda: (9000, "meanwhile", 1) in rows(pair.destination, "orders", ORDERS), "an insert meanwhile")
    assert len(rows(pair.destination, "orders", ORDERS)) == 2001
    pair.stop()
    pair.start({"table": "orders", "annotations": {"pantograph.dev/allow-deletes": "1499"}})
    wait_until(lambda: mirror.seen().held == 1500, "held still")
    pair.stop()
    assert len(rows(pair.destination, "orders", ORDERS)) == 2001
    pair.start({"table": "orders", "annotations": {"pantograph.dev/allow-deletes": "1500"}})
    pair.wait_equal(orders=ORDERS)


def test_10_a_source_that_reads_empty_takes_nothing(make_pair: MakePair) -> None:
    pair = make_pair("sqlite", "sqlite")
    pair.make(CREATE, ONE)
    pair.start("orders")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.stop()
    for (name,) in pair.source.execute("select name from sqlite_master where type = 'trigger'"):
        pair.make(f"drop trigger {pair.app.q(name)}")
    pair.make("delete from orders")
    pair.start().wait_reason("SweepHeld")
    assert len(rows(pair.destination, "orders", ORDERS)) == 3


def test_10_rows_that_a_policy_hides_are_an_error_and_not_a_gap(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "sqlite")
    pair.make(CREATE, ONE)
    pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    pair.stop()
    pair.make("alter table orders enable row level security", "create policy few on orders using (id = 1)")
    pair.make("update orders set qty = 5")
    mirror = pair.start()
    wait_until(lambda: mirror.seen().phase in ("Failed", "Unreachable") or mirror.seen().failures, "it says so")
    assert len(rows(pair.destination, "orders", ORDERS)) == 3


FAMILY = (
    "create table parents (id int primary key, name varchar(20))",
    "create table children (id int primary key, parent int, name varchar(20))",
)
THERE_PARENTS = "create table parents (id bigint primary key, name {})"
THERE_CHILDREN = "create table children (id bigint primary key, parent bigint, name {}, {})"
TIE = "foreign key (parent) references parents (id) on delete cascade"


def _family(pair: Pair) -> None:
    """Tied at the destination, not at the source."""
    pair.make(*FAMILY, "insert into parents values (1, 'p'), (2, 'q')")
    pair.make("insert into children values (10, 1, 'a'), (11, 1, 'b'), (20, 2, 'c')")
    _at(pair, THERE_PARENTS.format(_text(pair)), THERE_CHILDREN.format(_text(pair), TIE))
    _granted(pair, "parents, children")


@pytest.mark.parametrize("engine", ENGINES)
def test_11_what_a_cascade_takes_comes_back(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _family(pair)
    pair.start("parents", "children")
    tables = {"parents": ("id", "name"), "children": ("id", "parent", "name")}
    pair.wait_equal(**tables)
    # The source keeps the children; the destination cannot, until the parent is back. No event of theirs comes.
    pair.make("delete from parents where id = 1")
    wait_until(lambda: not difference(pair.source, pair.destination, "parents", ("id", "name")), "the delete")
    pair.make("insert into parents values (1, 'back')")
    pair.wait_equal(**tables)


@pytest.mark.parametrize("engine", ENGINES)
def test_11_a_delete_that_would_take_somebody_elses_rows_is_refused(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _family(pair)
    mirror = pair.start("parents")
    pair.wait_equal(parents=("id", "name"))
    _at(pair, "insert into children values (77, 1, 'theirs')")
    pair.make("delete from parents where id = 1")
    wait_until(lambda: "no Reflection writes" in mirror.seen().message, "refused")
    assert pair.destination.execute("select count(*) from children", role="superuser") == [(1,)]
    pair.stop()
    pair.start({"table": "parents", "destination": {"cascade": "Accept"}})
    pair.wait_equal(parents=("id", "name"))
    assert pair.destination.execute("select count(*) from children", role="superuser") == [(0,)]


@pytest.mark.parametrize("engine", ENGINES)
def test_13_a_row_that_does_not_fit_stops_its_own_reflection_only(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    pair.make(CREATE, ONE, "create table others (id int primary key)", "insert into others values (1)")
    _at(pair, THERE.format(_text(pair)).replace("qty bigint)", "qty bigint, check (qty < 100))"))
    _granted(pair, "orders")
    mirror = pair.start("orders", "others")
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
    with pair.app.transaction():
        pair.make("update orders set qty = 1000 where id = 1", "insert into others values (2)")
    pair.wait_equal(others=("id",))
    mirror.wait_phase("Failed", name="t0")
    for n in range(3, 6):
        pair.make(f"insert into others values ({n})")
        pair.wait_equal(others=("id",))
    pair.make("update orders set qty = 5 where id = 1")
    pair.wait_equal(orders=ORDERS, others=("id",))


@pytest.mark.parametrize("engine", ENGINES)
def test_13_a_table_that_vanishes_takes_no_neighbour_with_it(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "sqlite")
    pair.make(CREATE, ONE, "create table others (id int primary key)", "insert into others values (1)")
    mirror = pair.start("orders", "others")
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
    pair.make("drop table orders", "insert into others values (2)")
    pair.wait_equal(others=("id",))
    pair.stop()
    mirror = pair.start()
    pair.make("insert into others values (3)")
    pair.wait_equal(others=("id",))
    mirror.wait_phase("Failed", name="t0")
    assert len(rows(pair.destination, "orders", ORDERS)) == 3


def test_13_a_broken_destination_keeps_no_other_from_going_on(make_pair: MakePair) -> None:
    pair, other = make_pair("postgresql", "postgresql"), make_pair("sqlite", "mariadb")
    pair.make(CREATE, ONE)
    documents = mirrors.documents(pair.source, pair.destination, ["orders"])
    documents += other.destination.manifests("destination", name="second")
    documents.append(
        {
            "apiVersion": mirrors.API,
            "kind": "Reflection",
            "metadata": {"name": "second"},
            "spec": {
                "sourceTableRef": {"name": "t0"},
                "destination": {"databaseRef": {"name": "second"}, "table": "orders"},
            },
        }
    )
    pair.documents = documents
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    mirror.wait_phase("Streaming", name="second")
    other.destination.drop()
    pair.make("insert into orders values (4, 'd', 4)")
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: mirror.seen("second").phase in ("Failed", "Unreachable"), "the broken one says so")
    pair.make("insert into orders values (5, 'e', 5)")
    pair.wait_equal(orders=ORDERS)
    assert mirror.seen().phase == "Streaming"


MARKS = ("Zaphod4711", "31415926")


@pytest.mark.parametrize("engine", ENGINES)
def test_15_nothing_of_a_row_and_no_secret_is_told(make_pair: MakePair, engine: str) -> None:
    """Every failure that quotes a row in the driver's own words: unique, check, not null, too long."""
    pair = make_pair("postgresql", engine)
    name, number = MARKS
    pair.make("create table orders (id bigint primary key, customer varchar(80), qty int)")
    pair.app.run("insert into orders values (1, 'a', 1)")
    columns = "id bigint primary key, customer varchar(80) not null, qty int"
    _at(pair, f"create table orders ({columns}, check (qty < 100), unique (customer))")
    documents = mirrors.documents(pair.source, pair.destination, ["orders"])
    _granted(pair, "orders")
    with mirrors.Runner(documents) as runner:
        runner.start()
        wait_until(lambda: rows(pair.destination, "orders", ORDERS), "the first copy")
        for bad in (
            f"insert into orders values ({number}, '{name}', 5000)",
            f"insert into orders values ({number}, null, 1)",
            f"insert into orders values ({number}, 'a', 1)",
        ):
            said = len(runner.said())
            pair.make(bad)
            wait_until(lambda: "Failed" in runner.said()[said:], "it says so")  # noqa: B023
            pair.make(f"delete from orders where id = {number}", "update orders set qty = qty + 1")
            pair.wait_equal(orders=ORDERS)
        runner.stop()
        told = runner.said()
    passwords = [d["stringData"]["password"] for d in documents if d["kind"] == "Secret"]
    assert "Failed" in told
    for secret in (*MARKS, *passwords):
        assert secret not in told
    states = pair.destination.execute(
        f"select state from {mirrors.ours(pair.destination, 'checkpoints')}", role="superuser"
    )
    assert name not in json.dumps(states)


def test_15_a_wrong_password_is_not_told(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "mariadb")
    pair.make(CREATE, ONE)
    documents = mirrors.documents(pair.source, pair.destination, ["orders"])
    for document in documents:
        if document["kind"] == "Secret":
            document["stringData"]["password"] = "Zaphod4711"
    with mirrors.Runner(documents) as runner:
        runner.start()
        wait_until(lambda: "Refused" in runner.said(), "it says that it was refused")
        runner.stop()
        assert "Zaphod4711" not in runner.said()


def test_16_a_mirror_that_idles_holds_up_no_garbage_collection_of_firebirds(make_pair: MakePair) -> None:
    pair = make_pair("firebird", "firebird")
    pair.make(CREATE, ONE)
    pair.start("orders").wait_phase("Streaming")
    pair.wait_equal(orders=ORDERS)
    for database in (pair.source, pair.destination):

        def number(column: str, of: TestDatabase = database) -> int:
            return int(of.execute(f"select mon${column} from mon$database", role="superuser")[0][0])

        newest = number("next_transaction")
        wait_until(lambda: number("oldest_snapshot") > newest, "what was open then has ended")  # noqa: B023
