"""Memory of `pantograph run`, PostgreSQL to PostgreSQL, through what makes others grow.

    python -m benchmarks.memory [--rows 5000000] [--blobs 10000] [--most 300]

Parts: the first copy of that many rows; one transaction of a fifth of them, held open for a minute; one DELETE of all
of them; rows of 1 MB. Prints the peak of resident memory in each part, and exits with 1 when one is above `--most` MiB.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

from benchmarks.contenders import Pantograph, wait
from benchmarks.postgresql import COLUMNS, FILL
from tests.servers import PostgreSQL


def peak(process: int) -> float:
    """MiB since the last call."""
    status = pathlib.Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    pathlib.Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--blobs", type=int, default=10_000)
    parser.add_argument("--most", type=float, default=300.0)
    arguments = parser.parse_args()
    rows, worst = arguments.rows, 0.0
    options = {"shared_buffers": "512MB", "max_wal_size": "8GB"}
    with PostgreSQL.start(durable=False, options=options) as a, PostgreSQL.start(durable=False, options=options) as b:
        source, destination = a.make_database("src"), b.make_database("dst")
        source.execute(f"create table orders ({COLUMNS})")
        source.execute("create table blobs (id bigint primary key, content text)")
        source.execute(FILL.format(rows=rows))
        contender = Pantograph(source, destination, ["orders", "blobs"])
        contender.prepare()

        def count(table: str, condition: str = "true") -> int:
            try:
                found = destination.execute(f"select count(*) from {table} where {condition}", role="superuser")
            except Exception:  # not made yet
                return -1
            return int(found[0][0])

        def told(part: str, began: float) -> None:
            nonlocal worst
            assert contender.process is not None
            found = peak(contender.process.pid)
            worst = max(worst, found)
            print(f"{part:52}{found:7.0f} MiB{time.perf_counter() - began:8.0f} s", flush=True)

        began = time.perf_counter()
        contender.start()
        try:
            wait(lambda: count("orders") == rows and count("blobs") == 0, 1800, 1.0)
            told(f"first copy of {rows:,} rows", began)

            began = time.perf_counter()
            writer = source.connect("app")
            writer.autocommit = False
            cursor = writer.cursor()
            cursor.execute(f"update orders set qty = -1 where id <= {rows // 5}")
            time.sleep(60)
            told(f"an UPDATE of {rows // 5:,} rows, open for a minute", began)
            began = time.perf_counter()
            writer.commit()
            wait(lambda: count("orders", "qty = -1") == rows // 5, 1800, 1.0)
            told("the same, from its commit until it is there", began)

            began = time.perf_counter()
            source.execute("delete from orders")
            wait(lambda: count("orders") == 0, 3600, 1.0)
            told(f"a DELETE of {rows:,} rows", began)

            began = time.perf_counter()
            source.execute(
                "insert into blobs select i, (select string_agg(md5(i::text || j::text), '') "
                f"from generate_series(1, 32768) j) from generate_series(1, {arguments.blobs // 100}) i"
            )
            first = arguments.blobs // 100
            for n in range(1, 100):
                source.execute(f"insert into blobs select id + {n * first}, content from blobs where id <= {first}")
            wait(lambda: count("blobs") == first * 100, 3600, 1.0)
            told(f"{first * 100:,} rows of 1 MB", began)
        finally:
            contender.stop()
    sys.exit(1 if worst > arguments.most else 0)


if __name__ == "__main__":
    main()
