"""Runbooks as a person follows them at night: what the page has them type shows the fault, and ends it."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest

from tests.command.conftest import call as call
from tests.command.conftest import reflection, source_table, write
from tests.servers import TestDatabase
from tests.support.clients import Client
from tests.support.comparison import wait_until

pytestmark = pytest.mark.night
RUNBOOKS = pathlib.Path(__file__).parents[2] / "docs" / "runbooks"


class Followed:
    """A mirror of `orders` from one PostgreSQL database into another, and a person with a runbook."""

    def __init__(self, folder, call, start, source: TestDatabase, destination: TestDatabase):
        self._folder, self._call, self._start = folder, call, start
        self.source, self.destination = source, destination
        self.app = Client(source)
        self.app.run("create table orders (id integer primary key, qty integer)")
        self.app.run("insert into orders select i, i from generate_series(1, 50) i")

    def begin(self, **spec):
        """Have a process keep it."""
        documents = [
            *self.source.manifests(name="shop"),
            *self.destination.manifests("destination", name="copy"),
            source_table("orders"),
            reflection("orders", **spec),
        ]
        self.path = write(self._folder, documents)
        self.process = self._start("run", "-f", self.path)
        return self

    def streams(self):
        self.process.said("streaming began reflection=orders")
        return self

    def types(self, alert, command):
        """What the command of the page prints. It is there word by word, with the page's names in it."""
        page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
        assert re.search(rf"(^|`){re.escape(command)}( +#|`|$)", page, re.MULTILINE), command
        words = shlex.split(command.replace("shop/", str(self.path)).replace("NAME", "orders"))
        assert words.pop(0) == "pantograph"
        done = self._call(*words)
        assert done.returncode in (0, 3), done.stderr
        return done.stdout + done.stderr

    def asks(self, alert, number, database):
        """What the statement of the page yields, there."""
        page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
        block = re.findall(r"^ *```sql\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)[number]
        statement = block.split(";")[0].replace("NAMESPACE/NAME", "default/orders")
        return database.execute(statement, role="superuser")

    def rows(self):
        return dict(self.destination.execute("select id, qty from orders", role="superuser"))


@pytest.fixture
def follow(tmp_path, call, start, pg_db):
    followed = Followed(tmp_path, call, start, pg_db(), pg_db())
    yield followed
    followed.app.close()


def test_who_is_in_the_way_of_a_reflection_that_is_stuck_is_found_and_ended(follow):
    follow.begin().streams()
    wait_until(lambda: len(follow.rows()) == 50, "the copy")
    lock = follow.destination.connect("superuser")
    lock.autocommit = False
    with lock.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        (mine,) = cursor.fetchone()
        cursor.execute("lock table orders in exclusive mode")
    follow.app.run("update orders set qty = 0 where id = 1")
    wait_until(
        lambda: [row[0] for row in follow.asks("PantographStuck", 0, follow.destination)] == [mine], "who is in the way"
    )
    assert re.search(r"orders .*Replicating", follow.types("PantographStuck", "pantograph status -f shop/ -o wide"))
    follow.destination.execute(f"select pg_terminate_backend({mine})", role="superuser")
    wait_until(lambda: follow.rows()[1] == 0, "it to go on")


def test_rows_that_are_refused_are_found_mended_and_tried_again(follow):
    follow.destination.execute("create table orders (id bigint primary key, qty bigint check (qty < 50))")
    user = follow.destination.roles["destination"][0]
    follow.destination.execute(f'grant select, insert, update, delete on orders to "{user}"')
    follow.begin(onError="DeadLetter").streams()

    def letters():
        return follow.asks("PantographDeadLetters", 0, follow.destination)

    # When a copy ends and when streaming begins it is tried again by itself; the person comes later.
    wait_until(lambda: letters() and letters()[0][3] >= 2, "a dead letter")
    ((key, reason, detail, _),) = letters()
    assert (key, reason) == ("[50]", "dead")
    assert "check" in detail
    follow.destination.execute("alter table orders drop constraint orders_qty_check")
    assert "1 row" in follow.types("PantographDeadLetters", "pantograph retry -f shop/ NAME")
    wait_until(lambda: follow.rows().get(50) == 50, "the row")
    assert letters() == []


def test_rows_that_differ_are_found_and_copied_again(follow):
    follow.begin().streams()
    wait_until(lambda: len(follow.rows()) == 50, "the copy")
    follow.destination.execute("update orders set qty = 1000 where id = 7", role="superuser")
    told = follow.types("PantographVerifyDiffers", "pantograph verify -f shop/ NAME --show-keys")
    assert re.search(r"\b7\b", told), told
    follow.types("PantographVerifyDiffers", "pantograph verify -f shop/ NAME --repair")
    wait_until(lambda: follow.rows()[7] == 7, "the row")


def test_who_is_in_the_way_of_mending_a_capture_is_told_and_then_it_is_mended(follow):
    follow.begin().streams()
    lock = follow.source.connect("superuser")
    lock.autocommit = False
    with lock.cursor() as cursor:
        cursor.execute("alter table orders disable trigger all")
    lock.commit()
    planned = follow.types("PantographCaptureDrift", "pantograph plan -f shop/")
    assert re.search("trigger", planned, re.IGNORECASE), planned
    assert "locks" in planned
    with lock.cursor() as cursor:
        cursor.execute("update orders set qty = 5 where id = 3")
    lock.commit()
    lock.close()
    follow.process.said("CaptureDrift", 90)
    wait_until(lambda: follow.rows()[3] == 5, "what was written meanwhile", 90)
    assert "nothing to do" in follow.types("PantographCaptureDrift", "pantograph plan -f shop/")


def test_whoever_holds_a_transaction_open_is_found(follow):
    follow.begin().streams()
    forgetful = Client(follow.source)
    with forgetful.transaction():
        forgetful.run("insert into orders values (100, 1)")
        asked = follow.asks("PantographSourceTransactionOld", 0, follow.source)
        assert [row[4] for row in asked] == ["idle in transaction"]
    forgetful.close()


def test_a_reflection_that_holds_events_back_is_found_and_goes_on(follow):
    follow.begin(paused=True)
    follow.process.said("paused reflection=orders")
    follow.app.run("update orders set qty = qty + 1")
    told = follow.types("PantographCaptureBacklog", "pantograph status -f shop/ -o wide")
    assert re.search(r"orders .*Paused", told), told
    follow.types("PantographCaptureBacklog", "pantograph plan -f shop/")
    assert "resumed" in follow.types("PantographCaptureBacklog", "pantograph resume -f shop/ NAME")
    wait_until(lambda: follow.rows().get(50) == 51, "it to go on")


@pytest.mark.parametrize("engine", ["my_db", "mysql_db"])
def test_the_statements_for_mariadb_and_mysql_are_ones_that_they_know(request, engine):
    database = request.getfixturevalue(engine)()
    for page in ("PantographStuck", "PantographSourceTransactionOld"):
        text = (RUNBOOKS / f"{page}.md").read_text(encoding="utf-8")
        name = "MySQL" if engine == "mysql_db" else "MariaDB"
        said = [part for part in re.split(r"(?m)^ *(?=In )", text) if re.match(rf"In [^:]*\b{name}\b", part)]
        assert said, page
        for part in said:
            block = re.search(r"```sql\n(.*?)```", part, re.DOTALL)
            for statement in re.findall(r"`((?:select|show) [^`]+)`", part) or [block[1]]:
                database.execute(" ".join(statement.split()).rstrip("; "), role="superuser")
