"""What a writer pays for being captured: time of a write with all that is installed, over the same write without.

    python -m benchmarks.capture_cost [--rounds 7] [--rows 100000] [--singles 1000]

Each round does everything to a captured table and to its twin, in turns which of them first; medians are compared. The
server is durable. `single` is one row a statement and a transaction; `async` the same where commits do not wait for the
disk; `in tx` one row a statement, all in one transaction; `server` the same without a network, in a loop on the server.
`cpu` is the ratio of what the server's process computed, which other programs of the machine disturb less.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.model import names
from pantograph.model.changes import Capture
from tests.servers import PostgreSQL

COLUMNS = (
    "id int primary key, customer int, qty int, price numeric(10,2), note text, flag bool, "
    "created timestamptz default now(), code varchar(20)"
)
ROW = "{g}, {g} % 1000, {g} % 7, {g} * 1.5, 'note number ' || {g}, {g} % 2 = 0, now(), 'code' || {g}"
TABLES = ("plain", "captured")


def prepared(database: Any) -> tuple[Session, str]:
    """Two equal tables, one of them captured; our session, and the event table."""
    app = database.app().cursor()
    for table in TABLES:
        app.execute(f"create table {table} ({COLUMNS})")
    dialect = dialects.load(Address("postgresql", tls_mode="disable", **database.url("source")))
    admin = Session(dialect, Role.ADMIN)
    with admin.step("benchmark"):
        for sql in dialect.home():
            admin.direct(sql)
        for meta in base.SOURCE_TABLES:
            admin.direct(dialect.meta_table(meta))
        admin.direct(f"insert into {dialect.ours('lease')} values (1, cast({dialect.now()} as bigint) + 86400)")
        shape = dialect.shape(admin, "public", "captured")
        assert shape is not None
        identity = names.capture_id("public", "captured")
        events = dialect.event_table(identity, "public", "captured")
        capture = Capture(identity, "public", "captured", ("id",), ("id",), events, 1, shape.identity)
        for statement in dialect.install(capture, shape):
            admin.direct(statement.sql)
    return admin, dialect.ours(events)


def writes(cursor: Any, table: str, rows: int, singles: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed, in this order; each leaves what the next one needs."""
    execute = cursor.execute

    def each(sql: str) -> Callable[[], Any]:
        statements = [sql.format(g=n) for n in range(1, singles + 1)]
        return lambda: [execute(statement) for statement in statements]

    def loop(sql: str) -> Callable[[], Any]:
        return lambda: execute(f"do $$ begin for i in 1..{singles} loop {sql.format(g='i')}; end loop; end $$")

    insert = f"insert into {table} values ({ROW})"
    update, delete = f"update {table} set qty = qty + 1 where id = {{g}}", f"delete from {table} where id = {{g}}"
    for name, commit in (("single", "on"), ("async", "off")):
        execute(f"set synchronous_commit = {commit}")
        for what, sql in (("insert", insert), ("update", update), ("delete", delete)):
            yield f"{name} {what}", each(sql)
    execute("begin")
    for what, sql in (("insert", insert), ("update", update), ("delete", delete)):
        yield f"in tx {what}", each(sql)
    execute("commit")
    for what, sql in (("insert", insert), ("update", update), ("delete", delete)):
        yield f"server {what}", loop(sql)
    execute(f"truncate {table}")
    yield (
        "bulk insert",
        lambda: execute(f"insert into {table} select {ROW.format(g='g')} from generate_series(1, {rows}) g"),
    )
    yield "bulk update", lambda: execute(f"update {table} set qty = qty + 1")
    yield "bulk delete", lambda: execute(f"delete from {table}")


def computing(cursor: Any) -> float:
    """CPU seconds of the session's process at the server, to the kernel's hundredth."""
    fields = pathlib.Path(f"/proc/{cursor.connection.info.backend_pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--singles", type=int, default=1000)
    given = parser.parse_args()
    with PostgreSQL.start(durable=True) as server:
        database = server.make_database("cost")
        admin, events = prepared(database)
        cursor = database.app().cursor()
        times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for number in range(given.rounds):
            for table in TABLES if number % 2 else TABLES[::-1]:
                cursor.execute(f"truncate {table}")
                with admin.step("benchmark"):
                    admin.direct(f"truncate {events}")
                for name, write in writes(cursor, table, given.rows, given.singles):
                    began, computed = time.perf_counter(), computing(cursor)
                    write()
                    times[name][table].append(time.perf_counter() - began)
                    times[name][f"{table} cpu"].append(computing(cursor) - computed)
        print(f"{'':16}{'without':>12}{'with':>12}{'ratio':>8}{'cpu':>8}")
        for name, measured in times.items():
            without, with_ = (statistics.median(measured[table]) for table in TABLES)
            count, unit = (given.rows, 1e3) if name.startswith("bulk") else (given.singles, 1e6)
            per = 1 if name.startswith("bulk") else count
            shown = [f"{each / per * unit:>9.1f} {'ms' if per == 1 else 'µs'}" for each in (without, with_)]
            cpu = [sum(measured[f"{table} cpu"]) for table in TABLES]
            print(f"{name:16}{shown[0]}{shown[1]}{with_ / without:>8.2f}{cpu[1] / max(cpu[0], 0.01):>8.2f}")
        admin.close()


if __name__ == "__main__":
    main()
