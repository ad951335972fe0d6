"""pgbench's own tables under pgbench's own load: branches, tellers and accounts must always add up to the history.

python -m tests.stress.bench --seconds 600
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading
import time

from tests.servers import PostgreSQL, TestDatabase
from tests.support import comparison, mirrors
from tests.support.clients import Client

TABLES = {
    "pgbench_branches": ("bid", "bbalance"),
    "pgbench_tellers": ("tid", "bid", "tbalance"),
    "pgbench_accounts": ("aid", "bid", "abalance"),
    "pgbench_history": ("hid", "tid", "bid", "aid", "delta"),
}
SUMS = (
    "select (select sum(bbalance) from pgbench_branches), (select sum(tbalance) from pgbench_tellers), "
    "(select sum(abalance) from pgbench_accounts), (select coalesce(sum(delta), 0) from pgbench_history)"
)


def _pgbench(database: TestDatabase, *words: str) -> list[str]:
    at = database.url("app")
    binary = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"), key=lambda p: int(p.parts[4]))[-1]
    return [str(binary), "-h", at["host"], "-p", str(at["port"]), "-U", at["username"], *words, at["database"]]


@dataclasses.dataclass
class Report:
    """What was counted."""

    committed: int = 0
    reads: int = 0
    torn: int = 0
    lost: int = 0
    too_many: int = 0
    kills: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.torn or self.lost or self.too_many)


def run(source: TestDatabase, destination: TestDatabase, *, seconds: float, writers: int = 8, rate: int = 0) -> Report:
    """Load for so many seconds (at most `rate` transactions a second, 0: as fast as it goes), while mirrored."""
    environment = {**os.environ, "PGPASSWORD": source.url("app")["password"]}
    subprocess.run(_pgbench(source, "-i", "-q", "-s", "2"), env=environment, check=True, capture_output=True)
    source.execute("alter table pgbench_history add hid bigserial primary key")
    made = mirrors.documents(source, destination, list(TABLES))
    limit = ["-R", str(rate)] if rate else []
    report = Report()
    with mirrors.Runner(made, NONCE_EVERY="5") as runner:
        runner.start()
        comparison.wait_until(lambda: mirrors.in_step(destination) == len(TABLES), "all in their stream")
        load = subprocess.Popen(
            _pgbench(source, "-n", "-c", str(writers), "-j", "2", "-T", str(int(seconds)), *limit),
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        began = time.monotonic()
        client, next_kill, pause = Client(destination, "superuser"), began + 4.0, threading.Event()
        while load.poll() is None:
            with client.snapshot():
                (sums,) = client.run(SUMS)
            report.reads += 1
            report.torn += len({int(value or 0) for value in sums}) != 1
            if time.monotonic() > next_kill:
                runner.kill()
                runner.start()
                report.kills, next_kill = report.kills + 1, time.monotonic() + 4.0
            pause.wait(0.01)
        told = load.communicate()[0]
        report.seconds = time.monotonic() - began
        assert load.returncode == 0, told
        with contextlib.suppress(AssertionError):
            comparison.wait_equal(source, destination, TABLES, patience=120)
        runner.stop()
    for table, columns in TABLES.items():
        wanted, found = (set(comparison.rows(one, table, columns)) for one in (source, destination))
        report.lost += len(wanted - found)
        report.too_many += len(found - wanted)
    report.committed = comparison.count(Client(source), "pgbench_history")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument(
        "--rate", type=int, default=0, help="at most so many transactions a second; 0: as fast as it goes"
    )
    given = parser.parse_args()
    with PostgreSQL.start() as server:
        source, destination = server.make_database("shop"), server.make_database("warehouse")
        report = run(source, destination, seconds=given.seconds, writers=given.writers, rate=given.rate)
    print("pgbench", report, flush=True)
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
