"""sysbench's own tables under its own load (oltp_read_write), from MariaDB to PostgreSQL and on to another MariaDB; or
from MySQL to another MySQL.

python -m tests.stress.sysbench --seconds 600
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import subprocess
import sys
import time
from typing import Any

from tests.servers import MariaDB, MySQL, PostgreSQL, TestDatabase
from tests.support import comparison, mirrors

TABLES = tuple(f"sbtest{number}" for number in range(1, 5))
COLUMNS = dict.fromkeys(TABLES, ("id", "k", "c", "pad"))
# Its char(120) holds 119 characters, which PostgreSQL would fill up with a blank.
DEFINITION = "create table {} (id int primary key, k int not null, c varchar(120) not null, pad varchar(60) not null)"


@dataclasses.dataclass
class Report:
    """What was counted. verified: how often `verify` compared while it ran, and found what?"""

    transactions: int = 0
    kills: int = 0
    verified: list[int] = dataclasses.field(default_factory=list)
    equal: bool = False
    seconds: float = 0.0
    caught_up: float = 0.0

    @property
    def clean(self) -> bool:
        return self.equal and not any(self.verified)


def _sysbench(database: TestDatabase, action: str, *words: str) -> list[str]:
    at = database.url("app")
    return [
        "sysbench", "oltp_read_write", f"--tables={len(TABLES)}", "--table-size=5000",
        f"--mysql-host={at['host']}", f"--mysql-port={at['port']}", f"--mysql-user={at['username']}",
        f"--mysql-password={at['password']}", f"--mysql-db={at['database']}", *words, action,
    ]  # fmt: skip


def _chain(first: TestDatabase, second: TestDatabase, third: TestDatabase) -> list[dict[str, Any]]:
    """A mirror of each, the second one in a namespace of its own, since both call their Databases the same."""
    onward = mirrors.documents(second, third, TABLES, database={"captureSchema": "onward"})
    for one in onward:
        one["metadata"]["namespace"] = "onward"
    return [*mirrors.documents(first, second, TABLES), *onward]


def run(first: TestDatabase, second: TestDatabase, third: TestDatabase, *, seconds: float, rate: int = 0) -> Report:
    """Load on the first for so many seconds (at most `rate` transactions a second, 0: as fast as it goes)."""
    subprocess.run(_sysbench(first, "prepare"), check=True, capture_output=True)
    for table in TABLES:
        # Its owner is who reads it for the third.
        second.execute(DEFINITION.format(table))
    report = Report()
    with mirrors.Runner(_chain(first, second, third), NONCE_EVERY="5") as runner:
        runner.start()
        for one in (second, third):
            comparison.wait_until(lambda one=one: mirrors.in_step(one) == len(TABLES), "all in their stream")
        load = subprocess.Popen(
            _sysbench(first, "run", "--threads=8", f"--time={int(seconds)}", f"--rate={rate}"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        began = time.monotonic()
        while load.poll() is None:
            verify = [sys.executable, "-m", "pantograph", "verify", "-f", str(runner.path)]
            done = subprocess.run(verify, capture_output=True, text=True, env=dict(os.environ), check=False)
            report.verified.append(done.returncode)
            if load.poll() is None:
                runner.kill()
                runner.start()
                report.kills += 1
        told = load.communicate()[0]
        report.seconds = time.monotonic() - began
        assert load.returncode == 0, told
        with contextlib.suppress(AssertionError):
            comparison.wait_equal(first, second, COLUMNS, patience=120)
            comparison.wait_equal(first, third, COLUMNS, patience=60)
            report.equal = True
        report.caught_up = time.monotonic() - began - report.seconds
        runner.stop()
    found = re.search(r"transactions: +(\d+)", told)
    report.transactions = int(found[1]) if found else 0
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=int, default=0, help="at most so many transactions a second; 0: no limit")
    parser.add_argument("--engine", choices=("mariadb", "mysql"), default="mariadb", help="of the two at the ends")
    given = parser.parse_args()
    with (MySQL if given.engine == "mysql" else MariaDB).start() as ends, PostgreSQL.start() as postgres:
        databases = ends.make_database("shop"), postgres.make_database("between"), ends.make_database("copy")
        report = run(*databases, seconds=given.seconds, rate=given.rate)
    print("sysbench", report, flush=True)
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
