"""What a writer of MySQL or MariaDB pays for being captured: time of a statement with capture over the same without.

    python -m benchmarks.mysql_capture mysql|mariadb [--rounds 7] [--rows 100000] [--singles 300]

Beside it a bare trigger: all that a row trigger must do on this server, an INSERT of operation and key by another
account than the writer's. `cpu` is what the writer's thread computed at the server, by the kernel's count, which other
programs of the machine disturb less; medians of the rounds. The server is durable, without a binary log.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects.base import Address, Role
from pantograph.model import names
from pantograph.model.changes import Capture
from tests.servers import MariaDB, MySQL, Server

COLUMNS = (
    "id int primary key, customer int, qty int, price numeric(10,2), note varchar(60), flag bool, "
    "created datetime default now(), code varchar(20)"
)
ROW = "{g}, {g} % 1000, {g} % 7, {g} * 1.5, concat('note number ', {g}), {g} % 2, now(), concat('code', {g})"
TABLES = ("plain", "bare", "captured")


def prepared(server: Server, rows: int) -> tuple[Any, dict[str, str]]:
    """Equal tables, with what their names say on them; the writer's cursor, and where events are."""
    database = server.make_database("cost")
    app = database.app().cursor()
    for table in TABLES:
        app.execute(f"create table {table} ({COLUMNS})")
    app.execute("create table numbers (n int primary key)")
    app.execute("set sql_safe_updates = 0")
    digits = " union all ".join(f"select {n} as d" for n in range(10))
    places = ", ".join(f"({digits}) d{n}" for n in range(len(str(rows - 1))))
    number = " + ".join(f"d{n}.d * {10**n}" for n in range(len(str(rows - 1))))
    app.execute(f"insert into numbers select {number} + 1 as n from {places} having n <= {rows}")
    dialect = dialects.load(Address(database.dialect, tls_mode="disable", **database.url("source")))
    admin = Session(dialect, Role.ADMIN)
    bare = dialect.ours("bare")
    with admin.step("benchmark"):
        for sql in dialect.home():
            admin.direct(sql)
        dialect.lease_renewed(admin, 86400)
        shape = dialect.shape(admin, "", "captured")
        assert shape is not None
        identity = names.capture_id("", "captured")
        events = dialect.event_table(identity, "", "captured")
        for statement in dialect.install(Capture(identity, "", "captured", ("id",), ("id",), events), shape):
            admin.direct(statement.sql)
        admin.direct(f"create table {bare} (id bigint auto_increment primary key, op char(1) not null, k0 bigint)")
        for what, row in (("insert", "new"), ("update", "new"), ("delete", "old")):
            admin.direct(
                f"create trigger cost.bare_{what} after {what} on cost.bare for each row "
                f"insert into {bare} (op, k0) values ('{what[0]}', {row}.id)"
            )
    admin.close()
    return app, {"bare": bare, "captured": dialect.ours(events)}


def writes(cursor: Any, table: str, rows: int, singles: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed, in this order; each leaves what the next one needs."""
    execute = cursor.execute

    def each(sql: str) -> Callable[[], Any]:
        statements = [sql.format(g=n) for n in range(1, singles + 1)]
        return lambda: [execute(statement) for statement in statements]

    inserted = f"insert into {table} values ({ROW})"
    changed, deleted = f"update {table} set qty = qty + 1", f"delete from {table}"
    for name in ("single", "in tx"):
        execute("begin" if name == "in tx" else "do 0")
        yield f"{name} insert", each(inserted)
        yield f"{name} update", each(f"{changed} where id = {{g}}")
        yield f"{name} delete", each(f"{deleted} where id = {{g}}")
        execute("commit")
    yield "bulk insert", lambda: execute(f"insert into {table} select {ROW.format(g='n')} from numbers limit {rows}")
    yield "bulk update", lambda: execute(changed)
    yield "bulk delete", lambda: execute(deleted)


def computing(server: Server) -> dict[str, int]:
    """Nanoseconds of CPU of each of the server's threads."""
    found = {}
    for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
        found[task.name] = int((task / "schedstat").read_text().split()[0])
    return found


def thread(server: Server, cursor: Any) -> str:
    """That of the connection: it computes most while it is asked to."""
    before = computing(server)
    cursor.execute("select benchmark(30000000, 1 + 1)")
    after = computing(server)
    return max(after, key=lambda each: after[each] - before.get(each, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("mysql", "mariadb"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--singles", type=int, default=300)
    given = parser.parse_args()
    kind: type[Server] = MySQL if given.engine == "mysql" else MariaDB
    with kind.start(durable=True) as server:
        cursor, events = prepared(server, given.rows)
        mine = thread(server, cursor)
        times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for number in range(given.rounds):
            for table in TABLES if number % 2 else TABLES[::-1]:
                cursor.execute(f"truncate {table}")
                if table in events:
                    with server._as_superuser() as superuser:
                        superuser.execute(f"truncate {events[table]}")
                for name, write in writes(cursor, table, given.rows, given.singles):
                    began, computed = time.perf_counter(), computing(server)[mine]
                    write()
                    times[name][f"{table} wall"].append(time.perf_counter() - began)
                    times[name][f"{table} cpu"].append((computing(server)[mine] - computed) / 1e9)
        print(f"{'':14}{'plain':>9} µs" + "".join(f"{f'{t} {w}':>15}" for w in ("wall", "cpu") for t in TABLES[1:]))
        for name, measured in times.items():
            median = {what: statistics.median(each) for what, each in measured.items()}
            count = given.rows if name.startswith("bulk") else given.singles
            ratios = [median[f"{t} {w}"] / median[f"plain {w}"] for w in ("wall", "cpu") for t in TABLES[1:]]
            shown = "".join(f"{ratio:>15.2f}" for ratio in ratios)
            print(f"{name:14}{median['plain wall'] / count * 1e6:>9.1f} µs{shown}")


if __name__ == "__main__":
    main()
