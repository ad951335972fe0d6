"""Another version of Pantograph has other triggers: they are replaced under load, and nothing else happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pantograph.dialects.firebird import capture as firebird
from pantograph.dialects.mysql import capture as mariadb
from pantograph.dialects.postgresql import capture as postgresql
from pantograph.dialects.sqlite import capture as sqlite
from tests.routes.conftest import ENGINES, Pair
from tests.support import mirrors
from tests.support.clients import Client
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]
ORDERS = ("id", "customer", "qty")


def another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triggers that do the same in other words, as a version before or after this one might."""
    bodies, leased = postgresql.Rendering._bodies, mariadb.Rendering._leased

    def other_bodies(self: postgresql.Rendering, shape: Any) -> dict[str, str]:
        return {
            what: body.replace("return null;", "-- done\n  return null;") for what, body in bodies(self, shape).items()
        }

    def other_leased(self: mariadb.Rendering, statements: str) -> str:
        return leased(self, statements).replace("unix_timestamp()", "(unix_timestamp() + 0)")

    monkeypatch.setattr(postgresql.Rendering, "_bodies", other_bodies)
    monkeypatch.setattr(mariadb.Rendering, "_leased", other_leased)
    monkeypatch.setattr(sqlite, "LIVE", sqlite.LIVE + " + 0")
    monkeypatch.setattr(firebird, "EPOCH", "cast('1970-01-01 00:00:00' as timestamp)")


def texts(pair: Pair) -> set[str]:
    """What the triggers are made of, as the source has it."""
    sql = {
        "postgresql": "select prosrc from pg_proc where proname like 'note\\_%'",
        "mysql": "select action_statement from information_schema.triggers "
        f"where trigger_schema = '{pair.source.name}'",
        "mariadb": "select action_statement from information_schema.triggers "
        f"where trigger_schema = '{pair.source.name}'",
        "sqlite": "select sql from sqlite_master where type = 'trigger'",
        "firebird": "select rdb$trigger_source from rdb$triggers where rdb$trigger_name starting with 'PANTOGRAPH_'",
    }[pair.source.dialect]
    return {text for (text,) in pair.source.execute(sql, role="superuser")}


@pytest.fixture
def writing(make_pair: MakePair) -> Iterator[Callable[[Pair], None]]:
    """Writes from two threads, in transactions of their own, until the test ends or says so."""
    stop, threads, failed = threading.Event(), [], []

    def write(pair: Pair, number: int) -> None:
        client = Client(pair.source)
        n = 0
        try:
            while not stop.wait(0.001):
                n += 1
                key = number * 1_000_000 + n
                client.run("insert into orders values (?, ?, ?)", key, "new", n)
                client.run("update orders set qty = qty + 1 where id = ?", key - n % 3)
                if n % 4 == 0:
                    client.run("delete from orders where id = ?", key - 2)
                    client.run("update orders set id = ? where id = ?", -key, key - 1)
        except Exception as error:
            failed.append(error)
        finally:
            client.close()

    def begin(pair: Pair) -> None:
        for number in (1, 2):
            threads.append(threading.Thread(target=write, args=(pair, number)))
            threads[-1].start()

    def end() -> None:
        stop.set()
        for thread in threads:
            thread.join()
        assert not failed, failed

    begin.end = end  # type: ignore[attr-defined]
    yield begin
    end()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_upgrade_replaces_triggers_under_load_without_a_loss_or_a_sweep(
    make_pair: MakePair, engine: str, writing: Any
) -> None:
    pair = make_pair(engine, "sqlite" if engine != "sqlite" else "postgresql")
    pair.make("create table orders (id int primary key, customer varchar(40), qty int)")
    with pytest.MonkeyPatch.context() as before:
        another_version(before)
        pair.start("orders").wait_phase("Streaming")
        pair.stop()
    installed = texts(pair)
    writing(pair)
    mirror = pair.start()
    mirror.wait_phase("Streaming")
    wait_until(lambda: not (texts(pair) & installed), "other triggers")
    assert len(texts(pair)) == len(installed)
    events = mirror.seen().events
    wait_until(lambda: mirror.seen().events > events + 50, "writes behind the upgrade")
    writing.end()
    pair.wait_equal(orders=ORDERS)
    assert not [said for said in mirror.messages if "Sweep" in said or "CaptureDrift" in said], mirror.messages
    assert mirror.seen().failures.get("CaptureDrift") is None


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trigger_that_somebody_changed_is_not_taken_for_an_older_one(make_pair: MakePair, engine: str) -> None:
    pair = make_pair(engine, "sqlite" if engine != "sqlite" else "postgresql")
    pair.make("create table orders (id int primary key, customer varchar(40), qty int)")
    pair.start("orders").wait_phase("Streaming")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.stop()
    # It keeps its mark, and notes nothing.
    if engine == "postgresql":
        ((text, name),) = pair.source.execute(
            "select pg_get_functiondef(oid), proname from pg_proc where proname like 'note\\_%\\_i'", role="superuser"
        )
        changed = text.replace("\nbegin\n", "\nbegin\n  return null;\n", 1)
        assert changed != text
        pair.source.execute(changed, role="superuser")
    elif engine in ("mysql", "mariadb"):
        ((name, body),) = pair.source.execute(
            "select trigger_name, action_statement from information_schema.triggers "
            f"where trigger_schema = '{pair.source.name}' and event_manipulation = 'INSERT'",
            role="superuser",
        )
        changed = body.replace("if unix_timestamp() ", "if 1 = 0 and unix_timestamp() ")
        assert changed != body
        pair.source.execute(f"drop trigger `{name}`", role="superuser")
        pair.source.execute(f"create trigger `{name}` after insert on orders for each row {changed}", role="superuser")
    elif engine == "firebird":
        ((name, text),) = pair.source.execute(
            "select trim(rdb$trigger_name), rdb$trigger_source from rdb$triggers "
            "where rdb$trigger_name starting with 'PANTOGRAPH_'",
            role="superuser",
        )
        changed = text.replace("if (gen_id", "if (1 = 0 and gen_id", 1)
        assert changed != text
        pair.source.execute(f"alter trigger {name} {changed}", role="superuser")
    else:
        ((name, text),) = pair.source.execute(
            "select name, sql from sqlite_master where type = 'trigger' and name like '%insert'",
            role="superuser",
        )
        pair.source.execute(f'drop trigger "{name}"', role="superuser")
        pair.source.execute(text.replace(" when ", " when 1 = 0 and "), role="superuser")
    pair.make("insert into orders values (1, 'unseen', 1)")
    mirror = pair.start()
    pair.wait_equal(orders=ORDERS)
    wait_until(lambda: any("Sweep" in said for said in mirror.messages), "a sweep")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("where", ["source", "destination"])
def test_what_a_newer_version_keeps_is_said_and_left_alone(make_pair: MakePair, engine: str, where: str) -> None:
    pair = make_pair(engine, "sqlite") if where == "source" else make_pair("sqlite", engine)
    pair.make("create table orders (id int primary key, customer varchar(40), qty int)")
    pair.start("orders").wait_phase("Streaming")
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in its stream")
    pair.stop()
    pair.make("insert into orders values (1, 'new', 1)")

    def of(format_: int) -> None:
        control, checkpoints = mirrors.ours(pair.source, "control"), mirrors.ours(pair.destination, "checkpoints")
        if where == "source":
            pair.source.execute(f"update {control} set format = {format_}", role="superuser")
            return
        other = {1: 2, 2: 1}[format_]
        replaced = f"replace(state, '\"format\":{other}', '\"format\":{format_}')"
        pair.destination.execute(f"update {checkpoints} set state = {replaced}", role="superuser")

    of(2)
    mirror = pair.start()
    mirror.wait_reason("NewerVersion")
    pair.stop()
    assert pair.destination.execute("select count(*) from orders", role="superuser") == [(0,)]
    of(1)
    pair.start().wait_phase("Streaming")
    pair.wait_equal(orders=ORDERS)
