"""Each route between two engines: first copy, and catch-up of one UPDATE of all rows, in rows a second.

    python -m benchmarks.routes [--rows 300000] [--runs 1] [postgresql-mariadb ...]

8 columns, fsync on where the server has it. Beside it stands what the two ends allow: all rows read by the engine's own
driver, then written by a fast way that needs no setting of the server (COPY, INSERT of many rows, EXECUTE BLOCK), one
after the other, on the same servers in the same run. `of ends` is our share of that; reading while writing may pass 1.
Of 100,000 rows a tenth of a fast route's time is the rest between two looks.

SQL Server (`mssql`) takes part where PANTOGRAPH_TEST_MSSQL names one, with whatever its disk does at a commit.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import decimal
import io
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.contenders import Pantograph, wait
from tests.servers import Firebird, MariaDB, MySQL, PostgreSQL, SQLite, SQLServer, TestDatabase, mssql

ENGINES: dict[str, Callable[[contextlib.ExitStack], Any]] = {
    "postgresql": lambda stack: stack.enter_context(PostgreSQL.start(durable=True)),
    "mariadb": lambda stack: stack.enter_context(MariaDB.start(durable=True)),
    "mysql": lambda stack: stack.enter_context(MySQL.start(durable=True)),
    "firebird": lambda stack: stack.enter_context(Firebird.start()),
    "sqlite": lambda _: SQLite(),
}
if (named := mssql.named()) is not None:
    ENGINES["mssql"] = lambda _: SQLServer(named)
TYPES = ("bigint", "varchar(60)", "varchar(20)", "int", "numeric(10,2)", "varchar(60)", "timestamp", "boolean")
COLUMNS = ("id", "customer", "sku", "qty", "price", "note", "created", "active")
DIGEST = "select count(*), coalesce(sum(qty), 0) from {}"
BATCH = 10_000
Row = tuple[Any, ...]


def rows(count: int) -> Iterable[Row]:
    began = datetime.datetime(2026, 1, 1)
    for n in range(count):
        price = decimal.Decimal(n % 1000) / 10
        yield (n, f"customer {n}", f"sku{n % 100}", n % 50, price, f"{n:032x}", began + datetime.timedelta(0, n), True)


def definition(dialect: str, name: str, destination: str = "") -> str:
    # No finer than the other end holds: what it would cut is refused. SQLite has one timestamp, finer than Firebird's.
    moments = {"mariadb": "datetime", "mysql": "datetime", "postgresql": "timestamp(3)"}
    swapped = {"timestamp": moments.get(dialect, "timestamp")}
    if dialect == "mssql":
        swapped = {"timestamp": "datetime2(0)", "boolean": "bit"}
    if (dialect, destination) == ("sqlite", "firebird"):
        swapped = {"timestamp": "varchar(30)"}
    columns = [f"{column} {swapped.get(type_, type_)}" for column, type_ in zip(COLUMNS, TYPES, strict=True)]
    return f"create table {name} ({columns[0]} not null primary key, {', '.join(columns[1:])})"


# What one end allows. A writer gets a batch, and replaces the rows that are there.


def _lines(batch: Sequence[Row]) -> str:
    return "".join("\t".join(map(str, row[:7])) + f"\t{int(row[7])}\n" for row in batch)


def _to_postgresql(cursor: Any, name: str, batch: Sequence[Row]) -> None:
    changes = ", ".join(f"{one} = excluded.{one}" for one in COLUMNS[1:])
    cursor.execute(f"create temp table if not exists s_{name} (like {name}); truncate s_{name}")
    cursor.copy_expert(f"copy s_{name} from stdin", io.StringIO(_lines(batch)))
    cursor.execute(f"insert into {name} select * from s_{name} on conflict (id) do update set {changes}")


def _to_mariadb(cursor: Any, name: str, batch: Sequence[Row]) -> None:
    changes = ", ".join(f"{one} = values({one})" for one in COLUMNS[1:])
    cursor.executemany(
        f"insert into {name} values (%s,%s,%s,%s,%s,%s,%s,%s) on duplicate key update {changes}", list(batch)
    )


def _to_sqlite(cursor: Any, name: str, batch: Sequence[Row]) -> None:
    changes = ", ".join(f"{one} = excluded.{one}" for one in COLUMNS[1:])
    cursor.execute("begin immediate")
    cursor.executemany(
        f"insert into {name} values (?,?,?,?,?,?,?,?) on conflict (id) do update set {changes}",
        ([*row[:4], str(row[4]), row[5], str(row[6]), row[7]] for row in batch),
    )
    cursor.execute("commit")


def _to_firebird(connection: Any, name: str, batch: Sequence[Row]) -> None:
    connection.begin()
    raw = connection.raw.cursor()
    prepared = {}
    for start in range(0, len(batch), 25):
        part = batch[start : start + 25]
        if len(part) not in prepared:
            takes = ", ".join(
                f"p{i}_{j} {type_} = ?" for i in range(len(part)) for j, type_ in enumerate(TYPES)
            )  # fmt: skip
            does = " ".join(
                f"update or insert into {name} values ({', '.join(f':p{i}_{j}' for j in range(8))}) matching (id);"
                for i in range(len(part))
            )
            prepared[len(part)] = raw.prep(f"execute block ({takes}) as begin {does} end")
        raw.execute(prepared[len(part)], list(itertools.chain.from_iterable(part)))
    connection.raw.commit()


def _to_mssql(cursor: Any, name: str, batch: Sequence[Row]) -> None:
    # 50 rows of 8 parameters were faster than more; fast_executemany ends the process with FreeTDS.
    cursor.execute("begin transaction")
    cursor.execute(f"if object_id('tempdb..#s') is null select top 0 * into #s from {name} else truncate table #s")
    for start in range(0, len(batch), 50):
        part = batch[start : start + 50]
        values = ", ".join(["(?,?,?,?,?,?,?,?)"] * len(part))
        cursor.execute(f"insert into #s values {values}", list(itertools.chain.from_iterable(part)))
    changes = ", ".join(f"{one} = s.{one}" for one in COLUMNS[1:])
    cursor.execute(f"update d set {changes} from {name} d join #s s on s.id = d.id")
    cursor.execute(f"insert into {name} select * from #s s where not exists (select 1 from {name} d where d.id = s.id)")
    cursor.execute("commit")


WRITERS: dict[str, Callable[[Any, str, Sequence[Row]], None]] = {
    "postgresql": _to_postgresql, "mariadb": _to_mariadb, "mysql": _to_mariadb, "sqlite": _to_sqlite,
    "mssql": _to_mssql,
}  # fmt: skip


def write(database: TestDatabase, name: str, count: int) -> float:
    """Seconds in which all rows are written, or replaced."""
    connection = database.connect("app")
    made = [list(batch) for batch in _batches(rows(count))]
    began = time.perf_counter()
    for batch in made:
        if database.dialect == "firebird":
            _to_firebird(connection, name, batch)
        else:
            with contextlib.closing(connection.cursor()) as cursor:
                WRITERS[database.dialect](cursor, name, batch)
    return time.perf_counter() - began


def read(database: TestDatabase, name: str) -> float:
    """Seconds in which all rows are fetched."""
    cursor = database.connect("app").cursor()
    began = time.perf_counter()
    cursor.execute(f"select * from {name} order by id")
    cursor.fetchall()
    return time.perf_counter() - began


def _batches(some: Iterable[Row]) -> Iterable[tuple[Row, ...]]:
    left = iter(some)
    while batch := tuple(itertools.islice(left, BATCH)):
        yield batch


def one(source: TestDatabase, destination: TestDatabase, count: int) -> dict[str, float]:
    """Seconds of each part."""

    def digest(database: TestDatabase, name: str = "orders") -> Any:
        with contextlib.suppress(Exception):  # not made yet
            return tuple(int(value) for value in database.execute(DIGEST.format(name), role="superuser")[0])
        return None

    def arrived(watcher: Any, qty: int) -> bool:
        # The last row tells nearly for nothing when it is worth the look at all of them, which costs the ends time.
        watcher.execute(f"select qty from orders where id = {count - 1}")
        return [row[0] for row in watcher.fetchall()] == [qty] and digest(destination) == wanted

    source.execute(definition(source.dialect, "orders", destination.dialect))
    write(source, "orders", count)
    # By a name of its own, so that both ends may be one server's.
    destination.execute(definition(destination.dialect, "by_hand"))
    found = {
        "read": read(source, "orders"),
        "insert": write(destination, "by_hand", count),
        "replace": write(destination, "by_hand", count),
    }
    contender = Pantograph(source, destination, ["orders"])
    contender.prepare()
    contender.start()
    try:
        began = wait(lambda: digest(destination) is not None, 120, 0.05)
        wanted = digest(source)
        watcher = destination.connect("superuser").cursor()
        found["first copy"] = wait(lambda: arrived(watcher, (count - 1) % 50), 600, 0.02) - began
        time.sleep(2)
        source.execute("update orders set qty = qty + 1")
        committed = time.perf_counter()
        wanted = digest(source)
        found["catch-up"] = wait(lambda: arrived(watcher, (count - 1) % 50 + 1), 600, 0.02) - committed
    finally:
        contender.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=1)
    routes = [f"{a}-{b}" for a in ENGINES for b in ENGINES]
    parser.add_argument("routes", nargs="*", metavar="SOURCE-DESTINATION", help=f"of {', '.join(ENGINES)}; all")
    given = parser.parse_args()
    heads = ("read", "insert", "replace", "first copy", "of ends", "catch-up", "of ends")
    print(f"{'rows/s':24}" + "".join(f"{head:>12}" for head in heads), flush=True)
    with contextlib.ExitStack() as stack:
        servers: dict[str, Any] = {}
        for number, route in enumerate(given.routes or routes):
            ends = route.split("-")
            for engine in ends:
                if engine not in servers:
                    servers[engine] = ENGINES[engine](stack)
            figures: dict[str, list[float]] = {}
            for run in range(given.runs):
                names = (f"{side}{number}_{run}" for side in ("a", "b"))
                pair = [servers[engine].make_database(name) for engine, name in zip(ends, names, strict=True)]
                try:
                    for part, seconds in one(*pair, given.rows).items():
                        figures.setdefault(part, []).append(given.rows / seconds)
                finally:
                    for database in pair:
                        database.drop()
            rate = {part: statistics.median(values) for part, values in figures.items()}
            copied, caught = (
                rate[part] * (1 / rate["read"] + 1 / rate[written])
                for part, written in (("first copy", "insert"), ("catch-up", "replace"))
            )
            ours = f"{rate['first copy']:12,.0f}{copied:12.2f}{rate['catch-up']:12,.0f}{caught:12.2f}"
            print(f"{route:24}{rate['read']:12,.0f}{rate['insert']:12,.0f}{rate['replace']:12,.0f}{ours}", flush=True)


if __name__ == "__main__":
    main()
