"""MySQL and MariaDB, however their servers are set: what Pantograph does there does not depend on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.routes.conftest import Pair
from tests.routes.test_promise_capture import _command
from tests.routes.test_verify import verify
from tests.servers import MariaDB, MySQL, Server
from tests.support.clients import EXACT
from tests.support.comparison import rows

KINDS: dict[str, type[Server]] = {"mysql": MySQL, "mariadb": MariaDB}
each_engine = pytest.mark.parametrize("engine", KINDS)

Serve = Callable[..., Pair]


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """`serve(engine, options, name)`: a source of that name and a destination on a server with these options."""
    with contextlib.ExitStack() as stack:

        def made(engine: str, options: dict[str, str], name: str = "shop") -> Pair:
            if engine == "mysql":
                request.getfixturevalue("mysql_server")  # skips where there is none
            server = stack.enter_context(KINDS[engine].start(options=options))
            pair = Pair(server.make_database(name), server.make_database(f"{name}_copy"))
            for database in (pair.source, pair.destination):
                stack.callback(database.close)
            stack.callback(pair.app.close)
            stack.callback(pair.stop)
            return pair

        yield made


MODES = {
    "ansi": "ANSI,NO_BACKSLASH_ESCAPES",
    "loose": "PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE",
    "strict": "TRADITIONAL,ONLY_FULL_GROUP_BY",
}
TEXTS = [r"back\slash", r"\N", "quo'te \" ` ''", "a||b", "per%cent %s", "line\nend\ttab", "", "left out", "über 🦉 \\"]
THINGS = ("name", "note", "n", "at")


@each_engine
@pytest.mark.parametrize("mode", MODES)
def test_the_servers_sql_mode_changes_nothing(serve: Serve, engine: str, mode: str) -> None:
    """The application writes in it, and so do its statements that fire the triggers."""
    pair = serve(engine, {"sql-mode": MODES[mode]})
    pair.make(
        f"create table things (name varchar(40){EXACT[engine]} primary key, note char(60), n int unsigned, at datetime)"
    )

    def write(several: list[str]) -> None:
        for n, text in enumerate(several):
            pair.app.run("insert into things values (?, ?, ?, null)", text, text.strip(), n)

    write(TEXTS)
    if mode == "loose":
        pair.make("insert into things values ('zero', 'never', 5, '0000-00-00'), ('cut', repeat('x', 70), -7, null)")
    elsewhere = {"table": "things", "where": r"name <> 'left out' and concat(name, '\\') <> 'no\\\\'"}
    pair.start(elsewhere)
    pair.wait_equal(where={"things": "name <> 'left out'"}, things=THINGS)
    write([f"more {text}" for text in TEXTS])
    pair.make("update things set n = n + 1", "delete from things where name = 'a||b'")
    for text in TEXTS[:3]:
        pair.app.run("update things set name = ? where name = ?", f"{text} now", text)
    pair.wait_equal(where={"things": "name <> 'left out'"}, things=THINGS)
    assert verify(pair).equal


@each_engine
def test_a_server_that_writes_names_in_lower_case(serve: Serve, engine: str) -> None:
    pair = serve(engine, {"lower-case-table-names": "1"})
    pair.make(
        "create table Customers (Id int primary key)",
        "create table Orders (Id int primary key, Customer int, foreign key (Customer) references SHOP.CUSTOMERS (Id) "
        "on delete cascade)",
        "insert into customers values (1), (2)", "insert into ORDERS values (1, 1), (2, 2), (3, 1)",
    )  # fmt: skip
    mirror = pair.start("customers", "orders")
    both = {"customers": ("Id",), "orders": ("Id", "Customer")}
    pair.wait_equal(**both)
    pair.make("delete from CUSTOMERS where Id = 1", "insert into Orders values (4, 2)")
    pair.make("update ORDERS set ID = 5 where Id = 4")
    pair.wait_equal(**both)
    assert rows(pair.destination, "orders", both["orders"]) == [(2, 2), (5, 2)]
    assert not [words for words in mirror.messages if "Drift" in words or "missing" in words]
    pair.stop()
    planned = _command(pair, "plan")
    assert planned.returncode == 0, planned.stdout
    for one in pair.documents:
        if one["kind"] == "Database":
            one["spec"]["database"] = one["spec"]["database"].upper()
    refused = _command(pair, "plan")
    assert "the server calls the database shop: write it so, and not SHOP" in refused.stderr
    assert refused.returncode == 1


NO_KEY = {"mysql": {"sql-require-primary-key": "on"}, "mariadb": {"innodb-force-primary-key": "on"}}


@each_engine
@pytest.mark.parametrize("key", ["int", "enum({})", "varchar(760)"])
def test_a_server_on_which_every_table_has_a_primary_key(serve: Serve, engine: str, key: str) -> None:
    """Stages are tables too, also where their key cannot be that of the destination."""
    pair = serve(engine, NO_KEY[engine])
    declared = key.format(", ".join(f"'{n}'" for n in range(1000)))
    pair.make(f"create table things (id {declared} not null primary key, n int)")
    pair.app.run(f"insert into things (id, n) values {', '.join(f'({n!r}, {n})' for n in map(str, range(1, 999)))}")
    pair.start("things")
    pair.wait_equal(things=("id", "n"))
    pair.make("update things set n = n + 1", "delete from things where n > 900")
    pair.wait_equal(things=("id", "n"))
