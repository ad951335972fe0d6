"""A Prometheus scrapes a process through a fault: the alerts fire when it comes, and end when it goes.

The rules are the chart's, but for their patience: what they wait minutes and hours for is seconds here.
"""

from __future__ import annotations

import re
import sqlite3

import pytest
import yaml

from tests.command.conftest import Process, reflection, source_table, write
from tests.monitoring.prometheus import RULES, Prometheus, scraping
from tests.servers import PostgreSQL
from tests.servers.processes import free_port
from tests.support.clients import Client
from tests.support.comparison import wait_until

SPANS = {"5m": "5s", "10m": "10s", "15m": "10s", "30m": "10s", "1h": "20s", "6h": "40s", "3d": "60s", "1d": "60s"}
LIMITS = {"<= bool 30": "<= bool 3", "> 300": "> 8", "> 3600": "> 3"}


def impatient(expression):
    """The same with seconds in place of minutes and hours."""
    for limit, shorter in LIMITS.items():
        expression = re.sub(rf"{limit}(?!\d)", shorter, expression)
    return re.sub(r"\[(\w+)\]", lambda span: f"[{SPANS[span[1]]}]", expression)


class Watched:
    """A mirror of `orders`, the process that keeps it and the Prometheus that looks at that."""

    def __init__(self, folder, start, source, destination, table=None, **spec):
        self._folder, self._start, self._port = folder, start, free_port()
        rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
                rule["expr"] = impatient(rule["expr"])
        (folder / "quick.yaml").write_text(yaml.safe_dump(rules))
        self.source, self.destination = source, destination
        self.app = Client(source)
        self.app.run("create table orders (id integer primary key, qty int)")
        self.documents = [
            *source.manifests(name="shop"),
            *destination.manifests("destination", name="copy"),
            source_table("orders", **(table or {})),
            reflection("orders", **spec),
        ]
        self.prometheus = Prometheus(folder, scraping([f"127.0.0.1:{self._port}"], folder / "quick.yaml"))

    def __enter__(self):
        self.prometheus.__enter__()
        self.run()
        return self

    def __exit__(self, *exit_):
        self.app.close()
        self.prometheus.__exit__(*exit_)

    def run(self, **changes):
        """Let a process keep it."""
        self.documents[-1]["spec"] |= changes
        path = write(self._folder, self.documents)
        self.process: Process = self._start("run", "-f", path, "--metrics-port", self._port)
        wait_until(lambda: self.prometheus.query('pantograph_database_up{name="shop"} == 1'), "a first look")

    def fires(self, *alerts):
        """Until they do, each for what it is about."""
        for alert in alerts:
            (found, *_) = wait_until(lambda alert=alert: self.prometheus.firing(alert), f"{alert} to fire", 60.0)
            assert found.get("name", "orders") in ("orders", "shop", "copy"), found

    def is_quiet_about(self, *alerts):
        """Until none of them fires."""
        for alert in alerts:
            wait_until(lambda alert=alert: not self.prometheus.firing(alert), f"{alert} to end", 90.0)


@pytest.fixture
def watch(tmp_path, start):
    """`watch(source, destination, …)` for a `with`."""
    return lambda *databases, **spec: Watched(tmp_path, start, *databases, **spec)


OF_A_DATABASE = ("PantographDatabaseDown", "PantographLagHigh", "PantographStuck", "PantographFreshnessBurnFast")


@pytest.mark.full
def test_a_destination_that_goes_down_is_told_and_that_it_came_back_as_well(watch, sqlite_db):
    with (
        PostgreSQL.start() as server,
        watch(sqlite_db("shop"), server.make_database("copy")) as watched,
    ):
        up = 'pantograph_database_up{name="copy"} == 1'
        wait_until(lambda: watched.prometheus.query(up), "the destination to be up")
        watched.app.run("insert into orders values (1, 1)")
        watched.is_quiet_about(*OF_A_DATABASE)
        server.kill()
        watched.app.run("insert into orders values (2, 2)")
        watched.fires(*OF_A_DATABASE)
        server.restart()
        watched.is_quiet_about(*OF_A_DATABASE)
        assert watched.process.end() == 0


@pytest.mark.night
def test_rows_that_are_refused_are_told_until_they_fit(watch, sqlite_db):
    with watch(sqlite_db("shop"), sqlite_db("copy"), onError="DeadLetter") as watched:
        watched.process.said("streaming began")
        with sqlite3.connect(watched.destination.path) as copy:
            copy.execute(
                "create trigger few before insert on orders when new.qty > 5 begin select raise(abort, 'no'); end"
            )
        watched.is_quiet_about("PantographDeadLetters")
        watched.app.run("insert into orders values (1, 9)")
        watched.fires("PantographDeadLetters")
        watched.app.run("update orders set qty = 1")
        watched.is_quiet_about("PantographDeadLetters", "PantographReflectionStalled")
        # And who is to stop for them waits for a person.
        assert watched.process.end() == 0
        watched.run(onError="Stop")
        watched.app.run("insert into orders values (2, 9)")
        watched.fires("PantographReflectionStalled")
        watched.app.run("delete from orders where id = 2")
        watched.is_quiet_about("PantographReflectionStalled")


@pytest.mark.night
def test_a_transaction_that_somebody_forgot_is_told_until_it_ends(watch, pg_db, sqlite_db):
    with watch(pg_db(), sqlite_db("copy")) as watched:
        watched.process.said("streaming began")
        forgetful = Client(watched.source)
        with forgetful.transaction():
            forgetful.run("insert into orders values (1, 1)")
            watched.fires("PantographSourceTransactionOld")
        watched.is_quiet_about("PantographSourceTransactionOld")
        forgetful.close()


@pytest.mark.night
def test_what_waits_for_somebody_who_does_not_come_is_told_until_they_do(watch, pg_db, sqlite_db):
    with watch(pg_db(), sqlite_db("copy"), table={"retention": {"maxRows": 1000}}) as watched:
        watched.process.said("streaming began")
        assert watched.process.end() == 0
        watched.fires("PantographReflectorAbsent")
        watched.run(paused=True)
        watched.is_quiet_about("PantographReflectorAbsent", "PantographCaptureBacklog")
        for number in range(600):
            watched.app.run("insert into orders values (?, 1)", number)
        watched.fires("PantographCaptureBacklog")
        assert watched.process.end() == 0
        watched.run(paused=False)
        watched.is_quiet_about("PantographCaptureBacklog")
