"""PostgreSQL to PostgreSQL, beside native logical replication: first copy, catch-up, a backlog of hot rows.

    python -m benchmarks.postgresql [--rows 200000] [--runs 3]

Two servers with fsync on and the same settings, 8 columns, the same DDL and indexes; the order of the contenders
alternates. After each part the destination is compared with the source row by row. Prints every raw figure, then the
medians and the ratio of ours to native (above 1: ours is faster).

a snapshot    from the start command until all rows are there, less the same for a table of 1,000 rows
b catch-up    one UPDATE of all rows, from its commit until the destination agrees
c backlog     100 updates to each of 1,000 rows while the contender is paused; from its resumption until it agrees
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import statistics
import time
from typing import Any

from benchmarks.contenders import Contender, Native, Pantograph, wait
from tests.servers import PostgreSQL, TestDatabase

COLUMNS = (
    "id bigint primary key, customer text, sku text, qty int, price numeric(10,2), note text, created timestamp, "
    "active boolean"
)
FILL = (
    "insert into orders select i, 'customer ' || i, 'sku' || (i % 100), i % 50, (i % 1000) / 10.0, md5(i::text), "
    "timestamp '2026-01-01' + i * interval '1 second', true from generate_series(1, {rows}) i"
)
DIGEST = "select count(*), coalesce(sum(qty), 0) from orders"
EVERY_ROW = "select md5(string_agg(o::text, ',' order by id)) from orders o"


def seen(database: TestDatabase, sql: str) -> Any:
    try:
        return database.execute(sql, role="superuser")[0]
    except Exception:  # the contender makes the table itself
        return None


def agree(source: TestDatabase, destination: TestDatabase) -> None:
    ours, theirs = seen(source, EVERY_ROW), seen(destination, EVERY_ROW)
    if ours != theirs:
        raise AssertionError("the destination differs from the source")


def one(kind: type[Contender], servers: list[Any], rows: int, number: int) -> dict[str, float]:
    source = servers[0].make_database(f"src{number}")
    destination = servers[1].make_database(f"dst{number}")
    result: dict[str, float] = {}
    try:
        source.execute(f"create table orders ({COLUMNS})")
        source.execute(FILL.format(rows=rows))
        source.execute("analyze orders")
        for server in servers:
            with contextlib.closing(server.superuser_connect()) as connection:
                connection.cursor().execute("checkpoint")
        contender = kind(source, destination, ["orders"])
        contender.prepare()
        began = time.perf_counter()
        contender.start()
        try:
            full = wait(lambda: (seen(destination, "select count(*) from orders") or [0])[0] >= rows, 120)
            result["snapshot"] = full - began
            if rows <= 1000:
                return result
            agree(source, destination)
            time.sleep(1)
            for part in ("catch-up 1", "catch-up 2"):
                source.execute("update orders set qty = qty + 1")
                committed = time.perf_counter()
                wanted = seen(source, DIGEST)
                result[part] = wait(lambda w=wanted: seen(destination, DIGEST) == w, 120, 0.02) - committed
                agree(source, destination)
                time.sleep(1)
            contender.pause()
            connection = source.connect("app")
            cursor = connection.cursor()
            for _ in range(100):
                cursor.execute(
                    "do $$ begin for i in 1..1000 loop update orders set qty = qty + 1 where id = i; commit; "
                    "end loop; end $$"
                )
            wanted = seen(source, DIGEST)
            began = time.perf_counter()
            contender.resume()
            result["backlog"] = wait(lambda: seen(destination, DIGEST) == wanted, 120) - began
            agree(source, destination)
        finally:
            contender.stop()
    finally:
        destination.drop()
        source.drop()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    options = {
        "wal_level": "logical",
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
        "wal_retrieve_retry_interval": "200ms",
    }
    figures: dict[str, dict[str, list[float]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    with PostgreSQL.start(durable=True, options=options) as a, PostgreSQL.start(durable=True, options=options) as b:
        number = 0
        for run in range(arguments.runs):
            for kind in [Native, Pantograph] if run % 2 == 0 else [Pantograph, Native]:
                number += 1
                small = one(kind, [a, b], 1000, number)
                number += 1
                found = one(kind, [a, b], arguments.rows, number)
                found["start-up"] = small["snapshot"]
                print(kind.name, {name: round(seconds, 3) for name, seconds in found.items()}, flush=True)
                own = figures[kind.name]
                own["snapshot, start-up included"].append(found["snapshot"])
                own["snapshot"].append(max(0.001, found["snapshot"] - found["start-up"]))
                own["catch-up"] += [found["catch-up 1"], found["catch-up 2"]]
                own["backlog"].append(found["backlog"])
                own["backlog, less start-up"].append(max(0.001, found["backlog"] - found["start-up"]))
    print(f"\n{'median of ' + str(arguments.runs):32}{'native':>10}{'pantograph':>12}{'ratio':>8}")
    for part in figures["native"]:
        native = statistics.median(figures["native"][part])
        ours = statistics.median(figures["pantograph"][part])
        print(f"{part:32}{native:9.3f}s{ours:11.3f}s{native / ours:8.2f}")
    rows = arguments.rows
    print(f"catch-up rows/s: native {rows / statistics.median(figures['native']['catch-up']):,.0f}, "
          f"pantograph {rows / statistics.median(figures['pantograph']['catch-up']):,.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
