"""One changed bit in a large table, found while an application writes and the mirror keeps up.

    python -m benchmarks.verify [--rows 10000000] [--writes 200] [--rest 0]

PostgreSQL to PostgreSQL, 8 columns. `pantograph run` and `pantograph verify` are processes of their own, with the least
grants. Prints the seconds that the comparison took, what it found, its peak memory, and how long rows that were
committed meanwhile took to be seen at the destination. Ends with 1 when the one difference was not found, another was,
or a row took a second or more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time

from benchmarks.contenders import ROOT, Pantograph, wait
from tests.servers import PostgreSQL, TestDatabase

COLUMNS = (
    "id bigint primary key, customer text not null, email varchar(80), qty int, price numeric(12,2), paid boolean, "
    "created timestamptz, note text"
)
FILL = (
    "insert into orders select n, 'customer ' || n % 50021, 'c' || n || '@example.com', (n % 90)::int, "
    "(n % 100000) / 100.0, n % 3 = 0, timestamptz '2024-01-01' + n * interval '1 second', md5(n::text) "
    "from generate_series(1, {rows}) n"
)


class Writer(threading.Thread):
    """An application: so many transactions a second, each an update somewhere; every tenth row is timed."""

    def __init__(self, source: TestDatabase, destination: TestDatabase, rows: int, a_second: int) -> None:
        super().__init__(daemon=True)
        self._app, self._reader = source.app().cursor(), destination.connect("superuser").cursor()
        self._rows, self._pause = rows, 1.0 / a_second
        self.over = threading.Event()
        self.sent: dict[int, float] = {}
        self.lags: list[float] = []
        self.count = 0

    def run(self) -> None:
        chance = random.Random(1)
        looking = threading.Thread(target=self._look, daemon=True)
        looking.start()
        due = time.perf_counter()
        while not self.over.is_set():
            self.count += 1
            # The bit that is changed by hand is in a row that nobody writes again.
            key = chance.randrange(1, self._rows)
            if self.count % 10:
                self._app.execute("update orders set qty = qty + 1 where id = %s", (key,))
            else:
                self.sent[self.count] = time.perf_counter()
                self._app.execute("insert into marks values (%s)", (self.count,))
            due += self._pause
            self.over.wait(max(0.0, due - time.perf_counter()))
        looking.join()

    def _look(self) -> None:
        last = 0
        while not self.over.is_set():
            self._reader.execute("select id from marks where id > %s order by id", (last,))
            now = time.perf_counter()
            for (mark,) in self._reader.fetchall():
                last = mark
                if mark in self.sent:
                    self.lags.append(now - self.sent.pop(mark))
            self.over.wait(0.005)
        # One that is still on its way has taken this long so far.
        self.lags += [time.perf_counter() - at for at in self.sent.values()]


def main() -> int:
    parser = argparse.ArgumentParser(description="One changed bit in a large table, found while it is written.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--writes", type=int, default=200, help="transactions a second meanwhile")
    parser.add_argument("--rest", type=float, default=0.0, help="as for pantograph verify")
    asked = parser.parse_args()
    with PostgreSQL.start() as one, PostgreSQL.start() as two:
        source, destination = one.make_database("src"), two.make_database("dst")
        source.execute(f"create table orders ({COLUMNS})")
        source.execute("create table marks (id int primary key)")
        source.execute(FILL.format(rows=asked.rows))
        source.execute("analyze orders")
        mirror = Pantograph(source, destination, ["orders", "marks"])
        mirror.prepare()
        began = time.perf_counter()
        mirror.start()
        try:
            reader = destination.connect("superuser").cursor()

            def there() -> bool:
                try:
                    reader.execute("select count(*) from orders")
                    return bool(reader.fetchone()[0] == asked.rows)
                except Exception:  # the table is not there yet
                    return False

            wait(there, 3600, 3.0)
            copied = time.perf_counter() - began
            writer = Writer(source, destination, asked.rows, asked.writes)
            writer.start()
            time.sleep(5)
            # The last bit of the last character of one text; the row is not among those that are written.
            key = asked.rows
            destination.execute(
                "update orders set note = left(note, 31) || chr(ascii(right(note, 1)) # 1) where id = " + str(key),
                role="superuser",
            )
            quiet = len(writer.lags)
            arguments = [sys.executable, "-m", "pantograph", "verify", "-f", str(mirror.folder), "-o", "json"]
            began = time.perf_counter()
            process = subprocess.Popen(
                [*arguments, "--show-keys", "--rest", str(asked.rest), "orders"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
                stdout=subprocess.PIPE,
            )
            out, peak = [b""], 0
            assert process.stdout is not None
            gathering = threading.Thread(target=lambda: out.__setitem__(0, process.stdout.read()))  # type: ignore[union-attr]
            gathering.start()
            while process.poll() is None:
                peak = max(peak, resident(process.pid))
                time.sleep(0.1)
            took = time.perf_counter() - began
            gathering.join()
            writer.over.set()
            writer.join()
        finally:
            mirror.stop()
    (answer,) = json.loads(out[0])
    lags = sorted(writer.lags[quiet:])
    worst, p99 = lags[-1], lags[int(len(lags) * 0.99)]
    print(
        f"{asked.rows:,} rows copied in {copied:.1f} s; compared in {took:.1f} s ({asked.rows / took:,.0f} rows/s), "
        f"{answer['ranges']} ranges, {answer['inFlight']} in flight, peak memory {peak / 1024:.0f} MiB"
    )
    print(f"found: {answer['result']}, {answer.get('keys')}")
    print(
        f"{writer.count} transactions meanwhile, seen at the destination after p50 "
        f"{statistics.median(lags) * 1000:.0f}, p99 {p99 * 1000:.0f}, at most {worst * 1000:.0f} ms ({len(lags)} timed)"
    )
    right = answer.get("keys") == [{"key": [key], "kind": "different", "columns": ["note"]}]
    return 0 if right and worst < 1.0 else 1


def resident(process: int) -> int:
    """KiB of memory that a process holds now."""
    try:
        with open(f"/proc/{process}/status", encoding="utf-8") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmRSS")), 0)
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
