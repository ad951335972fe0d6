"""A source that says by itself when something is committed: `spec.reflector.wakeUp: Notify`.

Nobody looks by the clock in these tests: the next look would be in an hour. What arrives all the same was told of.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import pytest

from pantograph import dialects
from pantograph.apply import prepare
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.reflector import process, streams
from tests.conftest import MakeDatabase
from tests.routes.conftest import Pair
from tests.routes.test_constraints import MakePair
from tests.servers import Firebird, PostgreSQL, Server
from tests.support import mirrors
from tests.support.clients import Client
from tests.support.comparison import wait_until

NOTIFY: dict[str, Any] = {"reflector": {"wakeUp": "Notify", "pollInterval": "1h"}}
POLL: dict[str, Any] = {"reflector": {"wakeUp": "Poll"}}
ROWS = ("id", "n")

TELLING = {
    "postgresql": "select count(*) from pg_proc where prosrc like '%.pg_notify(%'",
    "firebird": "select count(*) from rdb$triggers where rdb$trigger_source containing 'post_event'",
}
"""How many of our triggers tell."""


@pytest.fixture(params=["postgresql", "firebird"])
def pair(request: pytest.FixtureRequest, make_pair: MakePair) -> Pair:
    made = make_pair(request.param, "postgresql")
    made.make("create table orders (id int not null primary key, n int)", "insert into orders values (1, 1)")
    return made


@pytest.fixture
def by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look by the clock for an hour, as soon as nothing is new."""
    monkeypatch.setattr(process, "QUICK_FOR", 0.0)
    monkeypatch.setattr(streams, "TURN_EVERY", 3600.0)


def _in_step(pair: Pair) -> None:
    wait_until(lambda: mirrors.in_step(pair.destination) == 1, "in step")
    pair.wait_equal(orders=ROWS)


@pytest.mark.usefixtures("by_the_clock")
def test_what_is_committed_wakes_the_reflector(pair: Pair) -> None:
    pair.start("orders", **NOTIFY)
    _in_step(pair)
    for n in range(2, 6):
        pair.make(f"insert into orders values ({n}, {n})")
        pair.wait_equal(orders=ROWS)
    pair.app.begin()
    pair.make("update orders set n = 22 where id = 2", "delete from orders where id = 3")
    pair.app.commit()
    pair.wait_equal(orders=ROWS)


@pytest.mark.usefixtures("by_the_clock")
def test_a_connection_that_is_lost_is_replaced(pair: Pair) -> None:
    mirror = pair.start("orders", **NOTIFY)
    _in_step(pair)
    wait_until(lambda: any(getattr(thread, "listens", False) for thread in threading.enumerate()), "it listens")
    role, _ = pair.source.roles["source"]  # type: ignore[attr-defined]  # each server's database has them
    if pair.source.dialect == "postgresql":
        which = f"query ilike 'listen%' and usename = '{role}'"
        pair.source.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {which}", "superuser")
    else:
        # Of a process of its own.
        which = f"mon$user = upper('{role}') and mon$remote_pid <> {os.getpid()}"
        pair.source.execute(f"delete from mon$attachments where {which}", "superuser")
    mirror.wait_said("NotListening")
    pair.make("insert into orders values (2, 2)")
    pair.wait_equal(orders=ROWS)
    pair.make("insert into orders values (3, 3)")
    pair.wait_equal(orders=ROWS)


def test_the_poll_goes_on_without_a_word(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the telling away takes no row away."""
    monkeypatch.setattr("pantograph.reflector.listening.Listening._listen", _deaf)
    mirror = pair.start("orders", reflector={"wakeUp": "Notify", "pollInterval": "50ms"})
    mirror.wait_said("NotListening")
    _in_step(pair)
    pair.make("insert into orders values (2, 2)")
    pair.wait_equal(orders=ROWS)


def _deaf(_: object) -> None:
    raise OSError("no port is open")


def test_triggers_tell_only_where_it_is_asked_for_and_a_change_copies_nothing_again(pair: Pair) -> None:
    def telling() -> int:
        return int(pair.source.execute(TELLING[pair.source.dialect], "superuser")[0][0])

    for number, (asked, tell) in enumerate(((POLL, False), (NOTIFY, True), (POLL, False))):
        mirror = pair.start("orders", **asked)
        pair.make(f"update orders set n = {number}")
        _in_step(pair)
        assert bool(telling()) is tell
        assert bool(mirror.seen().sweep_began) is (number == 0), mirror.messages
        pair.stop()


@pytest.mark.full
@pytest.mark.usefixtures("by_the_clock")
@pytest.mark.parametrize("kind", [PostgreSQL, Firebird])
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_goes_and_comes_is_listened_to_again(
    sqlite_db: MakeDatabase, kind: type[Server], how: str
) -> None:
    """And the process lives, whatever the client library does when its second connection ends."""
    with kind.start() as server:
        pair = Pair(server.make_database("shop"), sqlite_db())
        pair.make("create table orders (id int not null primary key, n int)", "insert into orders values (1, 1)")
        pair.start("orders", **NOTIFY)
        _in_step(pair)
        for n in (2, 3):
            pair.app.close()
            getattr(server, how)()
            server.restart()
            pair.app = Client(pair.source)
            pair.make(f"insert into orders values ({n}, {n})")
            pair.wait_equal(orders=ROWS)
            pair.make(f"insert into orders values (1{n}, {n})")
            pair.wait_equal(orders=ROWS)
        pair.stop()
        pair.app.close()
        pair.source.close()


def test_nobody_is_told_while_the_reflector_looks_often(pg_db: MakeDatabase) -> None:
    """A word at each commit would have writers wait for each other, and while there is traffic it looks anyway."""
    source = pg_db()
    asked = Address("postgresql", tls_mode="disable", notifies=True, **source.url("source"))
    app = Client(source)
    app.run("create table orders (id int primary key)")
    listens = source.app()
    listens.cursor().execute("listen pantograph")
    with contextlib.closing(Session(dialects.load(asked), Role.ADMIN)) as session, session.step("test"):
        prepare.source(
            session, session.dialect, "test", [prepare.WantedTable("t", "public", "orders", ())], prepare.Report(),
            lease=3600,
        )  # fmt: skip
        for seconds, told in ((0.0, 0), (60.0, 2), (0.0, 0)):
            session.dialect.tell(session, seconds)
            app.run("delete from orders")
            with app.transaction():
                app.run("insert into orders values (1)")
                app.run("insert into orders values (2)")
            listens.cursor().execute("select 1")
            listens.poll()
            assert len(listens.notifies) == told
            listens.notifies.clear()
