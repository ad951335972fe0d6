"""What a writer pays for being captured: time of a write with all that is installed, over the same write without.

    python -m benchmarks.capture_cost [--rounds 7] [--rows 100000] [--singles 1000]
    python -m benchmarks.capture_cost --writers 8 [--engine postgresql] [--rounds 5] [--seconds 4]

Each round does everything to a captured table and to its twin, in turns which of them first; medians are compared. The
server is durable. `single` is one row a statement and a transaction; `async` the same where commits do not wait for the
disk; `in tx` one row a statement, all in one transaction; `server` the same without a network, in a loop on the server.
`cpu` is the ratio of what the server's process computed, which other programs of the machine disturb less.

With `--writers` so many insert at once, a row a transaction, into a table that is not captured, into one that is, and
into one whose trigger also tells who listens (`reflector.wakeUp: Notify`), which is awake or at rest. In transactions a
second; an even number of rounds, and each begins with another.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import pathlib
import statistics
import threading
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
from tests.servers import Firebird, PostgreSQL

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
    admin = entered(database, notifies=False)
    capture = installed(admin, "public", "captured")
    return admin, admin.dialect.ours(capture.event_table)


def entered(database: Any, *, notifies: bool) -> Session:
    """Our session at a source that holds what capture needs."""
    tls = {} if database.dialect == "firebird" else {"tls_mode": "disable"}
    dialect = dialects.load(Address(database.dialect, notifies=notifies, **tls, **database.url("source")))
    admin = Session(dialect, Role.ADMIN)
    with admin.step("benchmark"):
        for sql in dialect.home():
            admin.direct(sql)
        for meta in base.SOURCE_TABLES:
            admin.direct(dialect.meta_table(meta))
        if admin.row(f"select count(*) from {dialect.ours('lease')}")[0] == 0:
            admin.direct(f"insert into {dialect.ours('lease')} values (1, cast({dialect.now()} as bigint) + 86400)")
        dialect.lease_renewed(admin, 86400)
    return admin


def installed(admin: Session, schema: str, table: str) -> Capture:
    """A table's capture, put in place."""
    dialect = admin.dialect
    with admin.step("benchmark"):
        shape = dialect.shape(admin, schema, table)
        assert shape is not None
        identity = names.capture_id(schema, table)
        events = dialect.event_table(identity, schema, table)
        capture = Capture(identity, schema, table, shape.key, shape.key, events, 1, shape.identity)
        for statement in dialect.install(capture, shape):
            admin.direct(statement.sql)
    return capture


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


KINDS = {"plain": "plain", "captured": "captured", "awake": "telling", "at rest": "telling"}
"""What is measured, and the table of each; the reflector of the last two is told by the source, and is this or that."""


def together(engine: str, writers: int, rounds: int, seconds: float) -> None:
    """Transactions a second of so many writers, each in a process of its own."""
    kind = {"postgresql": PostgreSQL, "firebird": Firebird}[engine]
    with kind.start(durable=True) as server, contextlib.ExitStack() as stack:
        database = server.make_database("cost")
        app = database.app().cursor()
        for table in sorted(set(KINDS.values())):
            app.execute(f"create table {table} (id integer not null primary key, n int)")
        for table in ("captured", "telling"):
            admin = stack.enter_context(contextlib.closing(entered(database, notifies=table == "telling")))
            installed(admin, admin.dialect.default_schema, table)
        heard = threading.Event()
        threading.Thread(target=_hear, args=(admin.dialect, heard), daemon=True).start()
        assert heard.wait(30)
        numbers, found = itertools.count(), defaultdict[str, list[float]](list)
        context = multiprocessing.get_context("fork")
        for number in range(rounds):
            for what in [*KINDS][number % 4 :] + [*KINDS][: number % 4]:
                with admin.step("benchmark"):
                    admin.dialect.tell(admin, 3600.0 if what == "at rest" else 0.0)
                done = context.Value("q", 0)
                until = time.monotonic() + seconds
                hands = [
                    context.Process(
                        target=_insert, args=(database, KINDS[what], next(numbers) * 1_000_000, until, done)
                    )
                    for _ in range(writers)
                ]
                for hand in hands:
                    hand.start()
                for hand in hands:
                    hand.join()
                found[what].append(done.value / seconds)
        plain = statistics.median(found["plain"])
        for what in KINDS:
            rates = found[what]
            middle = statistics.median(rates)
            listed = " ".join(f"{rate:.0f}" for rate in rates)
            print(f"{engine:11}{what:10}{middle:8.0f} transactions/s {middle / plain:6.2f}   ({listed})", flush=True)
    os._exit(0)  # the listener's thread is the driver's


def _hear(dialect: base.Dialect, heard: threading.Event) -> None:
    session = Session(dialect, Role.SIDE)
    with session.step("benchmark"):
        listener = dialect.listener(session)
        heard.set()
        while True:
            listener.wait(1.0)


def _insert(database: Any, table: str, first: int, until: float, done: Any) -> None:
    cursor, n = database._connect("app").cursor(), 0
    while time.monotonic() < until:
        cursor.execute(f"insert into {table} values ({first + n}, 1)")
        n += 1
    with done.get_lock():
        done.value += n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--singles", type=int, default=1000)
    parser.add_argument("--writers", type=int, default=0)
    parser.add_argument("--engine", choices=("postgresql", "firebird"), default="postgresql")
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    if given.writers:
        together(given.engine, given.writers, given.rounds, given.seconds)
        return
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
