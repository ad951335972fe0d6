"""A row that the destination refuses is one row's trouble: the Reflection stops for it and says so, or goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pantograph.pipeline import deadletters
from pantograph.pipeline.turn import Limits
from pantograph.reflector import streams
from tests.routes.conftest import ENGINES, NAMED, Pair
from tests.support import mirrors
from tests.support.clients import Client
from tests.support.comparison import rows, wait_until

MakePair = Callable[[str, str], Pair]
ORDERS = ("id", "customer", "qty")
CREATE = "create table orders (id int primary key, customer varchar(40), qty int)"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_AT_KEYS", 0.5)


def _there(pair: Pair, more: str = "check (qty < 100)") -> None:
    """A table at the destination with a constraint that the source does not have."""
    text = "varchar(80)" if pair.destination.dialect in ("mysql", "mariadb", "firebird", "mssql") else "text"
    pair.destination.execute(f"create table orders (id bigint primary key, customer {text}, qty bigint, {more})")
    if pair.destination.dialect == "postgresql":
        user = pair.destination.roles["destination"][0]  # type: ignore[attr-defined]
        pair.destination.execute(f'grant select, insert, update, delete on orders to "{user}"')


def _fill(pair: Pair, count: int = 10) -> None:
    pair.make(CREATE)
    values = ", ".join(f"({n}, 'c {n}', {n % 90})" for n in range(count))
    pair.make(f"insert into orders values {values}")


def letters(pair: Pair, reason: str = "dead") -> dict[int, tuple[str, int]]:
    """Key, and what is said of it and how often it was tried again, as a person would look it up."""
    found = pair.destination.execute(
        f"select key_values, detail, attempts, since, last_at from {mirrors.ours(pair.destination, 'keys')} "
        f"where reason = '{reason}'",
        role="superuser",
    )
    assert all(last >= since > 1e9 for *_, since, last in found)
    return {json.loads(key)[0]: (detail, int(attempts)) for key, detail, attempts, *_ in found}


def _image(pair: Pair) -> bool:
    ((state,),) = pair.destination.execute(
        f"select state from {mirrors.ours(pair.destination, 'checkpoints')} where name like 'stream/%'",
        role="superuser",
    )
    return bool(json.loads(state).get("image", True))


GOES_ON: dict[str, Any] = {"table": "orders", "onError": "DeadLetter"}


def _without(pair: Pair, *refused: int) -> bool:
    wanted = [row for row in rows(pair.source, "orders", ORDERS) if row[0] not in refused]
    return [row for row in rows(pair.destination, "orders", ORDERS) if row[0] not in refused] == wanted


@pytest.mark.parametrize("engine", [*ENGINES, *NAMED])
def test_the_rest_of_a_window_is_committed(make_pair: MakePair, engine: str) -> None:
    """Two of many rows are refused, for different reasons; all others arrive, and the two are listed with theirs."""
    pair = make_pair("sqlite", engine)
    _fill(pair)
    _there(pair, "check (qty < 100), unique (customer)")
    mirror = pair.start(GOES_ON)
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    with pair.app.transaction():
        pair.make("insert into orders values (400, 'c 3', 1)", "update orders set qty = 5000 where id = 7")
        for n in range(100, 400):
            pair.app.run("insert into orders values (?, ?, ?)", n, f"c {n}", n % 90)
    wait_until(lambda: _without(pair, 400, 7), "all but the two")
    found = letters(pair)
    assert set(found) == {400, 7}
    assert "check" in found[7][0]
    assert "unique" in found[400][0]
    # What the destination had of the row, it keeps.
    assert (7, "c 7", 7) in rows(pair.destination, "orders", ORDERS)
    assert mirror.seen().phase == "Streaming"
    assert mirror.seen().failures.get("DeadLetter")
    assert not _image(pair)


@pytest.mark.parametrize("engine", [*ENGINES, *NAMED])
def test_a_row_that_succeeds_is_no_dead_letter_any_more(make_pair: MakePair, engine: str) -> None:
    """By its key's next event: a change, or its end."""
    pair = make_pair("sqlite", engine)
    _fill(pair)
    _there(pair)
    pair.start(GOES_ON)
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.make("insert into orders values (50, 'a', 500), (51, 'b', 500), (52, 'c', 500)")
    wait_until(lambda: set(letters(pair)) == {50, 51, 52}, "dead letters")
    pair.make("update orders set customer = 'still too much' where id = 50")
    wait_until(lambda: letters(pair)[50][1] == 1, "it was tried again")
    pair.make("update orders set qty = 50 where id = 50", "delete from orders where id = 51")
    wait_until(lambda: set(letters(pair)) == {52}, "one left")
    assert (50, "still too much", 50) in rows(pair.destination, "orders", ORDERS)
    assert not _image(pair)
    pair.make("update orders set qty = 52 where id = 52")
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: not letters(pair), "none left")
    pair.make("update orders set qty = 53 where id = 52")
    wait_until(lambda: _image(pair), "an image again")


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("engine", [*ENGINES, *NAMED])
def test_a_dead_letter_is_tried_again_when_it_is_made_due_and_when_its_reflection_begins_anew(
    make_pair: MakePair, engine: str
) -> None:
    pair = make_pair("sqlite", engine)
    _fill(pair)
    _there(pair)
    pair.start(GOES_ON)
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.make("insert into orders values (50, 'a', 500), (51, 'b', 700)")
    wait_until(lambda: set(letters(pair)) == {50, 51}, "dead letters")
    table = mirrors.ours(pair.destination, "keys")
    Client(pair.destination, "superuser").run(f"update {table} set next_try = 0")
    wait_until(lambda: {tries for _, tries in letters(pair).values()} == {1}, "both were tried again")
    pair.stop()
    _relax(pair)
    pair.start()
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: not letters(pair), "none left")


def _relax(pair: Pair) -> None:
    """The destination takes what it refused."""
    if pair.destination.dialect == "postgresql":
        ((name,),) = pair.destination.execute(
            "select conname from pg_constraint where conrelid = 'orders'::regclass and contype = 'c'", role="superuser"
        )
        pair.destination.execute(f"alter table orders drop constraint {name}")
    elif pair.destination.dialect == "mysql":
        pair.destination.execute("alter table orders alter check orders_chk_1 not enforced")
    elif pair.destination.dialect == "mariadb":
        # Another table would be another destination; the server's own switch changes none.
        pair.destination.execute("set global check_constraint_checks = off", role="superuser")
    elif pair.destination.dialect == "firebird":
        ((name,),) = pair.destination.execute(
            "select trim(rdb$constraint_name) from rdb$relation_constraints "
            "where rdb$relation_name = 'ORDERS' and rdb$constraint_type = 'CHECK'"
        )
        pair.destination.execute(f"alter table orders drop constraint {name}")
    elif pair.destination.dialect == "mssql":
        ((name,),) = pair.destination.execute("select name from sys.check_constraints")
        pair.destination.execute(f"alter table orders drop constraint {name}")
    else:
        client = Client(pair.destination)
        client.run("pragma writable_schema = on")
        client.run("update sqlite_master set sql = replace(sql, 'qty < 100', 'qty < 900') where name = 'orders'")
        client.close()


@pytest.fixture
def _restored(request: pytest.FixtureRequest) -> Iterator[None]:
    if "mariadb" not in request.node.name:
        yield
        return
    database = request.getfixturevalue("my_db")()
    try:
        yield
    finally:
        database.execute("set global check_constraint_checks = on", role="superuser")


@pytest.mark.parametrize("engine", [*ENGINES, *NAMED])
def test_a_reflection_that_stops_says_how_many_rows_and_why_and_not_which(make_pair: MakePair, engine: str) -> None:
    """Which they are is in the destination, for those who may look there; it goes on when the rows are mended."""
    pair = make_pair("sqlite", engine)
    _fill(pair)
    pair.make("create table others (id int primary key)", "insert into others values (1)")
    _there(pair)
    mirror = pair.start("orders", "others")
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
    with pair.app.transaction():
        pair.make("update orders set qty = 5000 where id in (3, 5)", "insert into orders values (40, 'fits', 1)")
        pair.make("insert into others values (2)")
    pair.wait_equal(others=("id",))
    seen = wait_until(lambda: "2 rows are refused" in mirror.seen().message and mirror.seen(), "it says so")
    assert seen.phase == "Failed"
    assert "check" in seen.message
    assert "onError: DeadLetter" in seen.message
    assert set(letters(pair, "refused")) == {3, 5}
    assert (40,) not in rows(pair.destination, "orders", ("id",))
    pair.make("update orders set qty = 4 where id in (3, 5)")
    pair.wait_equal(orders=ORDERS, others=("id",))
    wait_until(lambda: not letters(pair, "refused"), "forgotten")


@pytest.mark.parametrize("engine", [*ENGINES, *NAMED])
def test_a_sweep_goes_on_without_the_rows_that_are_refused(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _fill(pair, 300)
    pair.make("update orders set qty = 5000 where id in (3, 250)")
    _there(pair)
    pair.changes = {"limits": Limits(40, 1 << 20, 500_000)}
    mirror = pair.start(GOES_ON)
    mirror.wait_phase("Streaming")
    assert _without(pair, 3, 250)
    assert set(letters(pair)) == {3, 250}
    pair.make("update orders set qty = 5 where id in (3, 250)")
    pair.wait_equal(orders=ORDERS)


@pytest.mark.parametrize("engine", [*ENGINES, *NAMED])
def test_pages_of_a_large_window_go_on_without_the_rows_that_are_refused(make_pair: MakePair, engine: str) -> None:
    pair = make_pair("sqlite", engine)
    _fill(pair, 20)
    _there(pair)
    pair.changes = {"limits": Limits(40, 1 << 20, 100)}
    pair.start(GOES_ON)
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    values = ", ".join(f"({n}, 'c', {5000 if n in (130, 390) else n % 90})" for n in range(100, 400))
    pair.make(f"insert into orders values {values}")
    wait_until(lambda: _without(pair, 130, 390), "all but the two")
    assert set(letters(pair)) == {130, 390}


def test_rows_that_cannot_even_be_read_as_what_they_are_declared_are_dead_letters(make_pair: MakePair) -> None:
    """SQLite holds a text in a column of numbers, if an application insists."""
    pair = make_pair("sqlite", "postgresql")
    _fill(pair, 3)
    pair.start(GOES_ON)
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.make("insert into orders values (50, 'a', 'many'), (51, 'b', 5)")
    wait_until(lambda: (51, "b", 5) in rows(pair.destination, "orders", ORDERS), "the one that fits")
    assert set(letters(pair)) == {50}
    pair.make("update orders set qty = 5 where id = 50")
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: not letters(pair), "none left")


@pytest.mark.parametrize("engine", [*ENGINES, *NAMED])
def test_a_row_that_cannot_be_deleted_is_a_dead_letter(make_pair: MakePair, engine: str) -> None:
    """Somebody else's row points at it."""
    pair = make_pair("sqlite", engine)
    _fill(pair)
    pair.start(GOES_ON)
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    ((key,),) = pair.destination.execute("select max(id) from orders", role="superuser")
    client = Client(pair.destination, "superuser")
    client.run("create table theirs (ref bigint, foreign key (ref) references orders (id))")
    client.run("insert into theirs values (4)")
    pair.stop()
    pair.start()
    pair.make("delete from orders where id in (3, 4, 5)", f"update orders set qty = 88 where id = {key}")
    wait_until(lambda: set(letters(pair)) == {4}, "the one that stays")
    wait_until(lambda: len(rows(pair.destination, "orders", ORDERS)) == 8, "the others went")
    client.run("delete from theirs")
    client.run(f"update {mirrors.ours(pair.destination, 'keys')} set next_try = 0")
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: not letters(pair), "none left")


def test_a_table_that_refuses_everything_stops_its_reflection(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadletters, "MOST_REFUSED", 20)
    pair = make_pair("sqlite", "sqlite")
    _fill(pair, 5)
    _there(pair)
    mirror = pair.start(GOES_ON)
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.make("insert into orders values " + ", ".join(f"({n}, 'c', 5000)" for n in range(100, 150)))
    wait_until(lambda: "more than 20 rows" in mirror.seen().message, "it stops")
    assert not letters(pair)
    pair.make("delete from orders where id >= 140")
    pair.make("update orders set qty = 5 where id < 125")
    wait_until(lambda: len(letters(pair)) == 15, "few enough now")
