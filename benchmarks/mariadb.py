"""MariaDB to PostgreSQL: first copy, and catch-up of one UPDATE of all rows.

    python -m benchmarks.mariadb [--rows 200000] [--runs 3]

8 columns, fsync on at both servers. Prints every raw figure and the medians in rows a second. MariaDB has nothing of
its own that goes to PostgreSQL; beside it stands what one batch program in this language reaches that reads all rows
with a cursor and writes them with COPY, on the same servers in the same run.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from typing import Any

from benchmarks.contenders import Pantograph, wait
from tests.servers import MariaDB, PostgreSQL

COLUMNS = (
    "id bigint primary key, customer varchar(60), sku varchar(20), qty int, price numeric(10,2), note varchar(60), "
    "created {timestamp}, active boolean"
)
FILL = (
    "insert into orders select seq, concat('customer ', seq), concat('sku', seq % 100), seq % 50, (seq % 1000) / 10.0, "
    "md5(seq), timestamp '2026-01-01 00:00:00' + interval seq second, true from seq_1_to_{rows}"
)
DIGEST = "select count(*), coalesce(sum(qty), 0) from orders"


def by_hand(source: Any, destination: Any) -> float:
    """Seconds to read all rows and COPY them into an empty table."""
    destination.execute(f"create table by_hand ({COLUMNS.format(timestamp='timestamp')})", role="superuser")
    reader, writer = source.connect("superuser").cursor(), destination.connect("superuser").cursor()
    began = time.perf_counter()
    reader.execute("select * from orders")
    lines = io.StringIO()
    for row in reader.fetchall():
        lines.write("\t".join("\\N" if value is None else str(value) for value in row) + "\n")
    lines.seek(0)
    writer.copy_expert("copy by_hand from stdin", lines)
    return time.perf_counter() - began


def one(a: Any, b: Any, rows: int, number: int) -> dict[str, float]:
    source, destination = a.make_database(f"src{number}"), b.make_database(f"dst{number}")
    found: dict[str, float] = {}

    def digest(database: Any) -> Any:
        try:
            return tuple(int(value) for value in database.execute(DIGEST, role="superuser")[0])
        except Exception:  # not made yet
            return None

    try:
        source.execute(f"create table orders ({COLUMNS.format(timestamp='datetime')})")
        source.execute(FILL.format(rows=rows))
        found["by hand"] = by_hand(source, destination)
        contender = Pantograph(source, destination, ["orders"])
        contender.prepare()
        wanted = digest(source)
        began = time.perf_counter()
        contender.start()
        try:
            found["snapshot, start-up included"] = wait(lambda: digest(destination) == wanted, 300, 0.02) - began
            time.sleep(2)
            for part in ("catch-up 1", "catch-up 2"):
                source.execute("update orders set qty = qty + 1")
                committed = time.perf_counter()
                after = digest(source)
                found[part] = wait(lambda w=after: digest(destination) == w, 300, 0.02) - committed
                time.sleep(1)
        finally:
            contender.stop()
    finally:
        destination.drop()
        source.drop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {}
    with MariaDB.start(durable=True) as a, PostgreSQL.start(durable=True) as b:
        for run in range(arguments.runs):
            found = one(a, b, arguments.rows, run)
            print({part: round(seconds, 3) for part, seconds in found.items()}, flush=True)
            for part, seconds in found.items():
                figures.setdefault(part.rstrip(" 12"), []).append(seconds)
    print()
    for part, values in figures.items():
        print(f"{part:32}{statistics.median(values):9.3f}s{arguments.rows / statistics.median(values):12,.0f} rows/s")


if __name__ == "__main__":
    main()
