"""Columns of the source are added, dropped, retyped: the destination follows, or the Reflection stops and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pantograph.reflector import process
from tests.routes.conftest import Pair
from tests.routes.test_shapes import wait_rows
from tests.support import comparison, mirrors
from tests.support.clients import FAMILY
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]
WIDENS = ("postgresql", "mysql", "mariadb")
"""Engines that can change the type of a column."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    monkeypatch.setattr(process, "RETRY_FAILED_EVERY", 0.3)


def retype(pair: Pair, column: str, native: str) -> None:
    """Give a column of items another type, as its owner would."""
    if pair.source.dialect == "postgresql":
        pair.make(f"alter table items alter column {column} type {native}")
    elif pair.source.dialect in FAMILY:
        pair.make(f"alter table items modify column {column} {native}")
    else:
        columns = {"id": "int", "qty": "int", "note": "varchar(10)", column: native}
        listed = ", ".join(f"{name} {type_}" for name, type_ in columns.items())
        with pair.app.transaction():
            pair.app.run(f"create table fresh ({listed}, primary key (id))")
            pair.app.run("insert into fresh select * from items")
            pair.app.run("drop table items")
            pair.app.run("alter table fresh rename to items")


def filled(pair: Pair) -> None:
    pair.make(
        "create table items (id int primary key, qty int, note varchar(10))",
        "create table others (id int primary key)",
        "insert into items values (1, 10, 'a'), (2, 20, 'b')",
        "insert into others values (1)",
    )


def started(pair: Pair, **spec: Any) -> mirrors.Mirror:
    filled(pair)
    mirror = pair.start({"table": "items", **spec}, "others")
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream")
    return mirror


def others_go_on(pair: Pair, key: int) -> None:
    pair.make(f"insert into others values ({key})")
    wait_until(lambda: (key,) in comparison.rows(pair.destination, "others", ["id"]), "the neighbour's row")


@pytest.mark.parametrize("source", ["postgresql", "mysql", "mariadb", "sqlite"])
@pytest.mark.parametrize("destination", WIDENS)
def test_a_wider_column_widens_the_destinations(make_pair: MakePair, source: str, destination: str) -> None:
    pair = make_pair(source, destination)
    mirror = started(pair)
    retype(pair, "note", "varchar(40)")
    long = "x" * 40
    pair.make(f"insert into items values (3, 30, '{long}')")
    wait_rows(pair, "items", "id qty note", [(1, 10, "a"), (2, 20, "b"), (3, 30, long)])
    mirror.wait_phase("Streaming")
    if source != "sqlite":
        retype(pair, "qty", "bigint")
        pair.make("update items set qty = 5000000000 where id = 1")
        wait_rows(pair, "items", "id qty note", [(1, 5_000_000_000, "a"), (2, 20, "b"), (3, 30, long)])
        mirror.wait_phase("Streaming")
    others_go_on(pair, 2)
    wait_until(lambda: mirrors.in_step(pair.destination) == 2, "both in their stream again")
    pair.stop()
    # What was widened is remembered: nothing is copied again, and nothing is asked.
    mirror = pair.start()
    mirror.wait_phase("Streaming")
    assert not [said for said in mirror.messages if "Sweep" in said]


@pytest.mark.parametrize("destination", WIDENS)
def test_a_widened_column_keeps_what_else_its_owner_said_of_it(make_pair: MakePair, destination: str) -> None:
    pair = make_pair("postgresql", destination)
    filled(pair)
    kept = {"postgresql": "C", "mysql": "latin1_bin", "mariadb": "latin1_nopad_bin"}[destination]
    collation = f'collate "{kept}"' if destination == "postgresql" else f"character set latin1 collate {kept}"
    pair.destination.execute(
        "create table items (id int primary key, qty int not null default 7, "
        f"note varchar(10) {collation} default 'x')",
        role="destination",
    )
    mirror = pair.start({"table": "items"})
    mirror.wait_phase("Streaming")
    retype(pair, "qty", "bigint")
    retype(pair, "note", "varchar(30)")
    pair.make("update items set qty = 5000000000, note = 'abcdefghijklmnop' where id = 1")
    wait_rows(pair, "items", "id qty note", [(1, 5_000_000_000, "abcdefghijklmnop"), (2, 20, "b")])
    pair.destination.execute("insert into items (id) values (99)", role="superuser")
    assert (99, 7, "x") in comparison.rows(pair.destination, "items", ["id", "qty", "note"])
    schema = "public" if destination == "postgresql" else pair.destination.name
    ((found,),) = pair.destination.execute(
        "select collation_name from information_schema.columns where column_name = 'note' and table_name = 'items' "
        f"and table_schema = '{schema}'",
        role="superuser",
    )
    assert found == kept


def test_sqlite_says_that_it_cannot_change_the_type_of_a_column(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "sqlite")
    mirror = started(pair)
    retype(pair, "note", "varchar(40)")
    pair.make("insert into items values (3, 30, 'c')")
    seen = mirror.wait_reason("SchemaChanged")
    assert "column note of public.items was character varying(10) and is character varying(40)" in seen.message
    assert "sqlite cannot change the type of a column" in seen.message
    others_go_on(pair, 2)
    pair.destination.execute("drop table items", role="superuser")
    wait_rows(pair, "items", "id qty note", [(1, 10, "a"), (2, 20, "b"), (3, 30, "c")])


@pytest.mark.parametrize("destination", WIDENS)
def test_a_type_that_would_lose_something_stops_with_the_statement_that_a_person_could_run(
    make_pair: MakePair, destination: str
) -> None:
    pair = make_pair("postgresql", destination)
    mirror = started(pair)
    pair.make("alter table items alter column qty type date using null")
    pair.make("update items set qty = '2026-01-02' where id = 1")
    seen = mirror.wait_reason("SchemaChanged")
    assert "column qty of public.items was integer and is date, which column qty" in seen.message
    assert "alter table" in seen.message
    others_go_on(pair, 2)
    statement = seen.message.partition("run there: ")[2].replace('using "qty"::date', "using null")
    pair.destination.execute("update items set qty = null", role="superuser")
    pair.destination.execute(statement, role="superuser")
    wait_rows(pair, "items", "id qty note", [(1, "2026-01-02", "a"), (2, None, "b")])


@pytest.mark.parametrize("destination", ["postgresql", "mysql", "mariadb", "sqlite"])
def test_retyped_stop_waits_for_a_person(make_pair: MakePair, destination: str) -> None:
    pair = make_pair("postgresql", destination)
    spec: dict[str, Any] = {"schemaChange": {"retyped": "Stop"}}
    mirror = started(pair, **spec)
    retype(pair, "qty", "smallint")
    pair.make("insert into items values (3, 30, 'c')")
    seen = mirror.wait_reason("SchemaChanged")
    assert "column qty of public.items was integer and is smallint" in seen.message
    others_go_on(pair, 2)
    # Nor after a restart.
    pair.stop()
    mirror = pair.start({"table": "items", **spec}, "others")
    mirror.wait_reason("SchemaChanged")
    pair.stop()
    mirror = pair.start({"table": "items", **spec, "resyncToken": "seen"}, "others")
    mirror.wait_phase("Streaming")
    wait_rows(pair, "items", "id qty note", [(1, 10, "a"), (2, 20, "b"), (3, 30, "c")])
    pair.stop()
    pair.start().wait_phase("Streaming")


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "mariadb", "sqlite"])
def test_a_dropped_column_is_kept_at_the_destination_or_stops(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "postgresql" if engine == "sqlite" else "sqlite")
    stop: dict[str, Any] = {"schemaChange": {"dropped": "Stop"}}
    mirror = started(pair, **stop)
    pair.make("alter table items drop column qty", "insert into items values (3, 'c')")
    seen = mirror.wait_reason("SchemaChanged")
    assert "column qty" in seen.message
    assert "is gone" in seen.message
    others_go_on(pair, 2)
    pair.stop()
    mirror = pair.start({"table": "items"}, "others")
    wait_rows(pair, "items", "id qty note", [(1, 10, "a"), (2, 20, "b"), (3, None, "c")])
    mirror.wait_phase("Streaming")


def test_a_dropped_column_that_the_manifest_names_is_kept_and_stays_so(make_pair: MakePair) -> None:
    pair = make_pair("postgresql", "postgresql")
    columns = [{"source": "id"}, {"source": "qty", "destination": "quantity"}, {"source": "note"}]
    mirror = started(pair, columns=columns)
    pair.make("alter table items drop column qty", "insert into items values (3, 'c')")
    wait_rows(pair, "items", "id quantity note", [(1, 10, "a"), (2, 20, "b"), (3, None, "c")])
    mirror.wait_phase("Streaming")
    pair.stop()
    pair.start().wait_phase("Streaming")
