"""Capture keeps out of the application's way, says what it cannot see, and ends. (Promises 2, 7, 8 and 12.)"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pantograph.apply import sources
from pantograph.dialects.mysql.variants import MYSQL
from pantograph.reflector import process
from tests.routes.conftest import ENGINES, Pair
from tests.support import mirrors
from tests.support.clients import Client
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]
ORDERS = ("id", "customer", "qty")
CREATE = "create table orders (id int primary key, customer varchar(40), qty int)"


def _some(pair: Pair, **spec: Any) -> None:
    pair.make(CREATE, "insert into orders values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    pair.start({"table": "orders", **spec})
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")


def _triggers(pair: Pair) -> list[str]:
    match pair.source.dialect:
        case "postgresql":
            sql = "select tgname from pg_trigger where not tgisinternal and tgrelid = 'orders'::regclass"
        case "mysql" | "mariadb":
            sql = f"select trigger_name from information_schema.triggers where trigger_schema = '{pair.source.name}'"
        case "firebird":
            sql = "select trim(rdb$trigger_name) from rdb$triggers where rdb$relation_name = 'ORDERS'"
        case _:
            sql = "select name from sqlite_master where type = 'trigger'"
    return sorted(name for (name,) in pair.source.execute(sql, role="superuser"))


def _drop(pair: Pair, trigger: str) -> None:
    on = ' on "orders"' if pair.source.dialect == "postgresql" else ""
    pair.source.execute(f"drop trigger {pair.app.q(trigger)}{on}", role="superuser")


@pytest.mark.parametrize("engine", ENGINES)
def test_2_a_trigger_that_is_gone_is_noticed_and_answered(
    make_pair: MakePair, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    pair = make_pair(engine, "sqlite")
    pair.make(CREATE, "insert into orders values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    mirror = pair.start("orders")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    wanted = _triggers(pair)
    for trigger in wanted:
        _drop(pair, trigger)
    pair.make("insert into orders values (4, 'unseen', 4)", "update orders set qty = 9 where id = 1")
    pair.wait_equal(orders=ORDERS)
    mirror.wait_said("CaptureDrift")
    wait_until(lambda: _triggers(pair) == wanted, "the triggers are back")
    pair.make("delete from orders where id = 2")
    pair.wait_equal(orders=ORDERS)


def test_2_a_trigger_that_is_disabled_is_noticed_and_answered(
    make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    pair = make_pair("postgresql", "sqlite")
    _some(pair)
    pair.make("alter table orders disable trigger all", "insert into orders values (4, 'unseen', 4)")
    pair.wait_equal(orders=ORDERS)


@pytest.mark.parametrize("engine", ENGINES)
def test_2_capture_that_was_mended_by_a_process_that_died_is_answered_by_the_next(
    make_pair: MakePair, engine: str
) -> None:
    """Whether a sweep is needed must not be known to the process alone that found the trigger missing."""
    pair = make_pair(engine, "sqlite")
    pair.make(CREATE, "insert into orders values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    with mirrors.Runner(mirrors.documents(pair.source, pair.destination, ["orders"])) as runner:
        runner.start()
        wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
        for n in range(1, 20):
            runner.kill()
            for trigger in _triggers(pair):
                _drop(pair, trigger)
            pair.make(f"insert into orders values ({10 + n}, 'unseen', 4)", f"update orders set qty = {n} where id = 1")
            said = len(runner.said())
            runner.start(f"prepare:after:{n}")
            wait_until(lambda: not runner.alive or "Streaming" in runner.said()[said:], "an end, or a sweep")  # noqa: B023
            if runner.alive:
                break
            runner.start()
            pair.wait_equal(orders=ORDERS)
        assert n > 2, "it never died while it mended"


@pytest.mark.parametrize("engine", ENGINES)
def test_2_a_table_that_is_another_one_is_noticed_and_answered(
    make_pair: MakePair, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    pair = make_pair(engine, "sqlite")
    _some(pair)
    pair.make(
        "drop table orders", CREATE, "insert into orders values (1, 'a', 7), (2, 'b', 2), (3, 'c', 3), (8, 'n', 1)"
    )
    pair.wait_equal(orders=ORDERS)


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "mariadb", "firebird"])
def test_7_who_may_write_the_table_needs_nothing_else(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "sqlite")
    _some(pair)
    for table in ("control", "lease", "captures"):
        with pytest.raises(Exception, match=r"(?i)denied|no permission"):
            pair.app.run(f"select * from {mirrors.ours(pair.source, table)}")
    pair.make(
        "insert into orders values (4, 'd', 4)",
        "update orders set id = 5 where id = 1",
        "delete from orders where id = 2",
    )
    pair.wait_equal(orders=ORDERS)


def test_7_installing_queues_behind_nobody(make_pair: MakePair) -> None:
    """A transaction holds the table; whoever waits for it with an exclusive lock would stop all writers behind it."""
    pair = make_pair("postgresql", "sqlite")
    pair.make(CREATE)
    holder, writer = Client(pair.source), Client(pair.source)
    holder.begin()
    holder.run("insert into orders values (1, 'held', 1)")
    mirror = pair.start("orders")
    said = mirror.wait_said("waiting")
    assert f"{holder.raw.info.backend_pid}" in said, said  # promise 14: who is in the way
    writer.run("set lock_timeout = '1s'")
    stop = threading.Event()
    written = [0]

    def write() -> None:
        while not stop.is_set():
            written[0] += 1
            writer.run("insert into orders values (?, 'free', 1)", 1000 + written[0])

    failure: list[Exception] = []

    def guarded() -> None:
        try:
            write()
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    attempts = len(mirror.messages)
    wait_until(lambda: failure or (len(mirror.messages) > attempts + 1 and written[0] > 100), "attempts to install")
    holder.commit()
    wait_until(lambda: failure or mirror.seen().phase == "Streaming", "installed")
    stop.set()
    thread.join()
    assert failure == []
    pair.wait_equal(orders=ORDERS)


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "mariadb"])
def test_7_a_captured_column_that_is_renamed_breaks_no_write(
    make_pair: MakePair, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "NONCE_EVERY", 0.3)
    pair = make_pair(engine, "sqlite")
    pair.make(CREATE, "insert into orders values (1, 'a', 1), (2, 'b', 2)")
    mirror = pair.start("orders")
    pair.wait_equal(orders=ORDERS)
    pair.stop()
    pair.make("alter table orders rename column id to number")
    pair.make(
        "insert into orders values (5, 'e', 5)", "update orders set qty = 0", "delete from orders where number = 1"
    )
    pair.make("alter table orders rename column number to id")
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    del mirror


@pytest.mark.parametrize("engine", ENGINES)
def test_8_capture_ends_by_itself_and_a_sweep_follows(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "sqlite")
    pair.changes = {"retention": {"": sources.Retention(1.0)}}
    _some(pair)
    pair.stop()
    pair.changes = {}
    (events,) = _event_tables(pair)
    lease = f"select until from {mirrors.ours(pair.source, 'lease')}"
    wait_until(lambda: pair.source.execute(lease, role="superuser")[0][0] < time.time() - 1, "the lease is over")
    if pair.source.dialect == "mysql":  # which keeps it to the hour
        pair.source.execute(f"update {mirrors.ours(pair.source, 'lease_hours')} set hour = 0", role="superuser")
        pair.app.run(f"set {MYSQL.remembered(lambda name: f'`pantograph_{pair.source.name}`.`{name}`')} = null")
    before = pair.source.execute(f"select count(*) from {events}", role="superuser")
    pair.make("insert into orders values (4, 'unseen', 4)", "update orders set qty = 9 where id = 1")
    assert pair.source.execute(f"select count(*) from {events}", role="superuser") == before
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    # It was a sweep: whatever would have to be deleted waits for a person.
    wait_until(lambda: mirror.seen().sweep_rows > 0, "a sweep")
    pair.make("insert into orders values (5, 'seen', 5)")
    pair.wait_equal(orders=ORDERS)


def _event_tables(pair: Pair) -> list[str]:
    (found,) = pair.source.execute(f"select event_table from {mirrors.ours(pair.source, 'captures')}", role="superuser")
    return [mirrors.ours(pair.source, found[0])]


@pytest.mark.parametrize("engine", ENGINES)
def test_8_a_process_that_died_between_control_and_lease_did_no_harm(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "sqlite")
    _some(pair)
    pair.stop()
    pair.source.execute(f"delete from {mirrors.ours(pair.source, 'lease')}", role="superuser")
    pair.start()
    pair.make("insert into orders values (4, 'd', 4)")
    pair.wait_equal(orders=ORDERS)
    pair.make("insert into orders values (5, 'e', 5)")
    pair.wait_equal(orders=ORDERS)


def _ours_left(pair: Pair) -> list[str]:
    match pair.source.dialect:
        case "postgresql":
            sql = (
                "select nspname from pg_namespace where nspname like '%pantograph%' union all "
                "select tgname from pg_trigger where not tgisinternal union all "
                "select proname from pg_proc where proname like '%pantograph%'"
            )
        case "mysql" | "mariadb":
            name = pair.source.name
            sql = (
                f"select schema_name from information_schema.schemata where schema_name = 'pantograph_{name}' "
                "union all "
                f"select trigger_name from information_schema.triggers where trigger_schema = '{name}' union all "
                f"select routine_name from information_schema.routines where routine_schema = '{name}'"
            )
        case "firebird":
            sql = " union all ".join(
                f"select trim(rdb${what}_name) from rdb${what}s where rdb${what}_name starting with 'PANTOGRAPH'"
                for what in ("relation", "trigger", "generator")
            )
        case _:
            sql = "select name from sqlite_master where name <> 'orders' and name not like 'sqlite_%'"
    return [name for (name,) in pair.source.execute(sql, role="superuser")]


def _command(pair: Pair, *words: str) -> subprocess.CompletedProcess[str]:
    path = mirrors.written(pair.documents)
    try:
        return subprocess.run(
            [sys.executable, "-m", "pantograph", *words, "-f", str(path)],
            text=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(mirrors.ROOT / "operator")},
        )  # fmt: skip
    finally:
        path.unlink()


@pytest.mark.parametrize("engine", ENGINES)
def test_12_removing_is_complete_and_only_removing_removes(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, engine)
    _some(pair)
    pair.stop()
    # A process without anything to do takes nothing away.
    listed, pair.documents = pair.documents, [d for d in pair.documents if d["kind"] in ("Database", "Secret")]
    pair.start()
    pair.stop()
    assert _ours_left(pair)
    pair.documents = listed
    done = _command(pair, "remove", "--yes")
    assert done.returncode == 0, done.stderr
    assert _ours_left(pair) == []
    assert len(pair.destination.execute("select * from orders", role="superuser")) == 3
    pair.make("insert into orders values (4, 'd', 4)", "update orders set qty = 0", "delete from orders where id = 1")


def test_no_transaction_of_the_application_dies_of_a_capture_that_is_installed(make_pair: MakePair) -> None:
    """On MariaDB CREATE TRIGGER locks the parents of its table as well, and whoever writes both would be killed."""
    pair = make_pair("mariadb", "sqlite")
    tables = [f"child{n}" for n in range(6)]
    pair.make("create table parent (id int primary key)")
    for table in tables:
        pair.make(f"create table {table} (id int primary key, parent int, foreign key (parent) references parent (id))")
    mirror = pair.start("parent", *tables)
    numbers = itertools.count(1)
    while mirror.seen(f"t{len(tables)}").phase != "Streaming":
        number = next(numbers)
        with pair.app.transaction():
            pair.make(f"insert into parent values ({number})")
            time.sleep(0.005)
            for table in tables:
                pair.make(f"insert into {table} values ({number}, {number})")
        time.sleep(0.002)
    pair.wait_equal(parent=["id"], **{table: ["id", "parent"] for table in tables})
