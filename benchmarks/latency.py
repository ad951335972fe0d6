"""Commit to visible, within one engine: 20 inserts a second into one table while others lie idle.

    python -m benchmarks.latency [--tables 200] [--inserts 400] [--pause 0.05] [--engine postgresql]

With a pause of more than a second the poll has slowed down by the next insert, and `woken` shows what
`reflector.wakeUp: Notify` is worth.

Prints p50 and p99 in milliseconds from the commit at the source until another session sees the row at the destination,
and the CPU of the source's server, in percent of a core, with these inserts and with none.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import threading
import time

from benchmarks.contenders import Contender, Native, Pantograph, Woken, wait
from tests.servers import Firebird, PostgreSQL, Server

COLUMNS = "id bigint not null primary key, customer varchar(40), qty int, created timestamp default current_timestamp"
TICKS = os.sysconf("SC_CLK_TCK")


def seconds_of(server: int) -> float:
    """CPU seconds of a server and all its processes, also of those that have ended."""
    parents: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
        used[int(entry.name)] = sum(map(int, fields[11:13])) / TICKS
        if int(entry.name) == server:
            used[server] += sum(map(int, fields[13:15])) / TICKS  # of children that were waited for
    total, waiting = 0.0, [server]
    while waiting:
        process = waiting.pop()
        total += used.get(process, 0.0)
        waiting += parents.get(process, [])
    return total


def measure(kind: type[Contender], servers: list[Server], tables: int, inserts: int, pause: float, number: int) -> None:
    source = servers[0].make_database(f"src{number}")
    destination = servers[1].make_database(f"dst{number}")
    names = [f"t{i}" for i in range(tables)]
    try:
        for name in names:
            source.execute(f"create table {name} ({COLUMNS})")
        contender = kind(source, destination, names)
        contender.prepare()
        contender.start()
        try:
            reader = destination.connect("superuser").cursor()

            def there(table: str, least: int) -> bool:
                try:
                    reader.execute(f"select 1 from {table} where id >= {least}")
                    return reader.fetchone() is not None
                except Exception:
                    return False

            for name in names:
                source.execute(f"insert into {name} (id) values (0)")
            for name in names:
                wait(lambda n=name: there(n, 0), 300, 0.02)
            time.sleep(5)
            before = seconds_of(servers[0].pid)
            time.sleep(10)
            idle = (seconds_of(servers[0].pid) - before) * 10

            sent: dict[int, float] = {}
            seen: dict[int, float] = {}
            ended = threading.Event()

            def watch() -> None:
                newest = 0
                while not ended.is_set():
                    reader.execute(f"select id from t0 where id > {newest} order by id")
                    now = time.perf_counter()
                    for (found,) in reader.fetchall():
                        seen[found], newest = now, found
                    time.sleep(0.0005)

            watcher = threading.Thread(target=watch)
            watcher.start()
            writer = source.connect("app").cursor()
            before, began = seconds_of(servers[0].pid), time.perf_counter()
            for i in range(1, inserts + 1):
                time.sleep(max(0.0, began + i * pause - time.perf_counter()))
                writer.execute(f"insert into t0 (id, customer, qty) values ({i}, 'x', 1)")
                sent[i] = time.perf_counter()
            busy = (seconds_of(servers[0].pid) - before) / (time.perf_counter() - began) * 100
            wait(lambda: len(seen) >= inserts, 60)
            ended.set()
            watcher.join()
            waits = sorted(max(0.0, (seen[i] - sent[i]) * 1000) for i in sent)
            last = waits[int(len(waits) * 0.99) - 1]
            print(
                f"{kind.name:12} p50 {statistics.median(waits):6.1f} ms  p99 {last:6.1f} ms"
                f"  source server {busy:5.1f} % of a core, idle {idle:4.1f} %  ({tables} tables, {inserts} inserts)",
                flush=True,
            )
        finally:
            contender.stop()
    finally:
        destination.drop()
        source.drop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--inserts", type=int, default=400)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds from one insert to the next")
    parser.add_argument("--engine", choices=("postgresql", "firebird"), default="postgresql")
    arguments = parser.parse_args()
    server: type[Server] = Firebird
    options: dict[str, str] = {}
    contenders: list[type[Contender]] = [Pantograph, Woken]
    if arguments.engine == "postgresql":
        server, contenders = PostgreSQL, [*contenders, Native]
        options = {"wal_level": "logical", "max_logical_replication_workers": "8"}
    with server.start(durable=True, options=options) as a, server.start(durable=True, options=options) as b:
        for number, kind in enumerate(contenders):
            measure(kind, [a, b], arguments.tables, arguments.inserts, arguments.pause, number)


if __name__ == "__main__":
    main()
