"""Writers without mercy, a reflector that is killed at random, and readers who count what must never be seen.

    PYTHONPATH=operator python -m tests.stress.run --engine postgresql --transactions 500000

SQL Server is the source where it is asked for, of a PostgreSQL, and is the one that PANTOGRAPH_TEST_MSSQL names.

Eight writers work on four tables: each transaction raises one row of `lefts` and one of `rights`, inserts a row into
`journal` and says in `marks` which one it was; some are rolled back, some stay open for a while. All along, a reader
takes repeatable reads of the destination and looks whether a transaction is half there, and a control reads the events
of `journal` as a naive reader would: everything beyond the last one it has seen. In the end source and destination are
compared row by row by code that knows nothing of the package.

Prints committed transactions, reads, torn reads, lost rows, kills and what the control lost. Exits with 1 when anything
is lost or torn, or when the control lost nothing although it should have (then the run proves nothing).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import random
import sys
import time
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any

from tests.servers import Firebird, MariaDB, MySQL, PostgreSQL, SQLite, SQLServer, TestDatabase, mssql
from tests.support import comparison, mirrors
from tests.support.clients import FAMILY, READ_ONLY, Client

ROWS = 1000
WRITER_SPAN = 1_000_000_000
TABLES = {"lefts": ["id", "n"], "rights": ["id", "n"], "journal": ["id", "note"], "marks": ["id", "n"]}
ROLLED_BACK, LINGERING, LONG = 0.04, 0.004, 0.0001
LINGERS, LONG_LASTS = 0.2, 3.0


@dataclasses.dataclass
class Report:
    """What was counted. images: different states of the destination that were read; where they are few, the reflector
    hardly came to move anything while it was written. waived: reads while the destination said that it is no image.
    control: events that the naive reader lost, None where it can lose none."""

    committed: int = 0
    rolled_back: int = 0
    seconds: float = 0.0
    reads: int = 0
    images: int = 0
    torn: int = 0
    waived: int = 0
    lost: int = 0
    kills: int = 0
    control: int | None = None
    difference: str = ""

    @property
    def clean(self) -> bool:
        return not (self.torn or self.lost or self.difference)


def create(source: TestDatabase) -> None:
    client = Client(source)
    for name in ("lefts", "rights", "marks"):
        client.run(f"create table {name} (id bigint primary key, n bigint not null)")
    client.run("create table journal (id bigint primary key, note varchar(40) not null)")
    for i in range(ROWS):
        client.run(f"insert into lefts values ({i}, 0)")
        client.run(f"insert into rights values ({i}, 0)")
    client.close()


def write(source: TestDatabase, writer: int, share: int, until: float, end: Event, committed: Any, undone: Any) -> None:
    """One writer: `share` committed transactions, or until the time is over."""
    client, chance, n = Client(source), random.Random(writer), 0
    if source.dialect == "sqlite":
        client.run("pragma busy_timeout = 60000")
        client.run("pragma synchronous = normal")
    client.run(f"insert into marks values ({writer}, 0)")
    while n < share and time.monotonic() < until and not end.is_set():
        left, right, luck = chance.randrange(ROWS), chance.randrange(ROWS), chance.random()
        statements = [
            f"update lefts set n = n + 1 where id = {left}",
            f"insert into journal values ({writer * WRITER_SPAN + n + 1}, 'transaction {n + 1}')",
            f"update rights set n = n + 1 where id = {right}",
            f"update marks set n = {n + 1} where id = {writer}",
        ]
        undo = chance.random() < ROLLED_BACK
        try:
            if luck < LINGERING or source.dialect == "sqlite":
                client.begin()
                for statement in statements[:2]:
                    client.run(statement)
                if luck < LINGERING:
                    time.sleep(LONG_LASTS if luck < LONG else chance.random() * LINGERS)
                for statement in statements[2:]:
                    client.run(statement)
                client.run("rollback" if undo else "commit")
            else:
                at_once(client, [*statements, "rollback" if undo else "commit"])
            if undo:
                with undone.get_lock():
                    undone.value += 1
                continue
        except Exception as error:
            with contextlib.suppress(Exception):
                client.rollback()
            if any(word in str(error).lower() for word in ("deadlock", "serializ", "lock wait", "locked")):
                continue
            raise
        n += 1
        with committed.get_lock():
            committed.value += 1


def at_once(client: Client, statements: list[str]) -> None:
    """A transaction in one message, so that the servers and not the round trips are what is stressed."""
    if client.dialect == "mariadb":
        body = "; ".join(["start transaction", *statements])
        client.run(f"begin not atomic declare exit handler for sqlexception begin rollback; resignal; end; {body}; end")
    elif client.dialect == "mysql":
        cursor = client.raw.cursor()
        cursor.execute("; ".join(["start transaction", *statements]))
        while cursor.nextset():
            pass
    elif client.dialect == "firebird":
        # A block cannot end its transaction.
        client.begin()
        client.run(f"execute block as begin {' '.join(f'{one};' for one in statements[:-1])} end")
        client.run(statements[-1])
    elif client.dialect == "mssql":
        # Counted, each statement would be an answer of its own, and only the first one's mistakes are heard.
        client.run("; ".join(["set nocount on; begin transaction", *statements[:-1], f"{statements[-1]} transaction"]))
    else:
        client.run("; ".join(["begin", *statements]))


def read(destination: TestDatabase, end: Event, reads: Any, images: Any, torn: Any, waived: Any) -> None:
    """Repeatable reads of the destination: is any transaction half there although it says that it is an image?"""
    client, last = Client(destination, "superuser"), None
    checkpoints = mirrors.ours(destination, "checkpoints")
    if destination.dialect in FAMILY:
        client.run("set session transaction isolation level repeatable read")
    while not end.is_set():
        try:
            client.run(READ_ONLY[destination.dialect])
            left = client.value("select coalesce(sum(n), 0) from lefts")
            right = client.value("select coalesce(sum(n), 0) from rights")
            marks = client.run("select id, n from marks order by id")
            state = client.value(f"select state from {checkpoints} where name like 'stream/%'")
            newest = [
                client.value(
                    f"select max(id) from journal where id between {w * WRITER_SPAN} and {(w + 1) * WRITER_SPAN - 1}"
                )
                for w, _ in marks
            ]
            client.run("commit")
        except Exception:  # the tables are being made
            with contextlib.suppress(Exception):
                client.rollback()
            time.sleep(0.1)
            continue
        time.sleep(0.01)
        said = [n for _, n in marks]
        there = [0 if found is None else found % WRITER_SPAN for found in newest]
        with reads.get_lock():
            reads.value += 1
        if last != (last := (left, said)):
            with images.get_lock():
                images.value += 1
        if not json.loads(state).get("image", True):
            with waived.get_lock():
                waived.value += 1
        elif left != right or left != sum(said) or said != there:
            with torn.get_lock():
                torn.value += 1


def control(source: TestDatabase, end: Event, seen: Any) -> None:
    """The reader that everybody writes first: what is beyond the last one seen, by the order of ids."""
    client = Client(source, "superuser")
    events = client.value(f"select event_table from {mirrors.ours(source, 'captures')} where table_name = 'journal'")
    table, order = mirrors.ours(source, events), {"postgresql": "xid", "mssql": "rv"}.get(source.dialect, "id")
    picked, beyond = (order, f"{order} > '{{}}'")
    if source.dialect == "mssql":
        picked, beyond = f"convert(bigint, {order})", f"{order} > cast(cast({{}} as bigint) as binary(8))"
    last = "0"
    finishing = False
    while True:
        found = client.run(f"select {picked}, k0 from {table} where {beyond.format(last)} order by {order}")
        if found:
            last = str(found[-1][0])
            with seen.get_lock():
                seen.value += len({key for _, key in found})
        if finishing and not found:
            return
        finishing = end.is_set()
        time.sleep(0.005)


def stress(
    source: TestDatabase,
    destination: TestDatabase,
    *,
    transactions: int,
    seconds: float,
    writers: int = 8,
    seed: int = 0,
    longest_life: float = 12.0,
) -> Report:
    """The whole of it, until so many transactions were committed or so many seconds have passed. longest_life: seconds
    until the reflector is killed, at most."""
    create(source)
    report, chance = Report(), random.Random(seed)
    context = multiprocessing.get_context("fork")
    counters: list[Synchronized[int]] = [context.Value("q", 0) for _ in range(7)]
    committed, undone, reads, images, torn, waived, seen = counters
    end, quiet = context.Event(), context.Event()
    made = mirrors.documents(source, destination, list(TABLES))
    with mirrors.Runner(made, NONCE_EVERY="5") as runner:
        runner.start()
        comparison.wait_until(lambda: _there(destination), "the first copy")
        until, began = time.monotonic() + seconds, time.monotonic()
        share = -(-transactions // writers)
        hands = [
            context.Process(target=write, args=(source, w + 1, share, until, end, committed, undone), daemon=True)
            for w in range(writers)
        ]
        others = [context.Process(target=read, args=(destination, quiet, reads, images, torn, waived), daemon=True)]
        if source.dialect != "sqlite":
            others.append(context.Process(target=control, args=(source, end, seen), daemon=True))
        for process in hands + others:
            process.start()
        next_kill = time.monotonic() + chance.uniform(2, 8)
        while any(process.is_alive() for process in hands):
            time.sleep(0.05)
            if time.monotonic() > next_kill:
                runner.kill()
                report.kills += 1
                runner.start()
                next_kill = time.monotonic() + chance.uniform(2, longest_life)
        report.seconds = time.monotonic() - began
        end.set()
        failed = [process.exitcode for process in hands if process.exitcode]
        try:
            comparison.wait_equal(source, destination, TABLES, patience=300)
        except AssertionError as error:
            report.difference = str(error)[:300]
        quiet.set()
        for process in others:
            process.join(60)
        runner.stop()
    report.committed, report.rolled_back = committed.value, undone.value
    report.reads, report.images = reads.value, images.value
    report.torn, report.waived = torn.value, waived.value
    report.lost = report.committed - int(Client(destination, "superuser").value("select count(*) from journal"))
    if source.dialect != "sqlite":
        report.control = report.committed - seen.value
    if failed:
        report.difference = report.difference or f"writers ended with {failed}"
    return report


def _there(destination: TestDatabase) -> bool:
    try:
        return mirrors.in_step(destination) == len(TABLES)
    except Exception:  # nothing has been made yet
        return False


@contextlib.contextmanager
def servers(engine: str) -> Any:
    """Two databases of an engine, on two servers."""
    if engine == "sqlite":
        files = SQLite()
        yield files.make_database("source"), files.make_database("destination")
        return
    if engine == "mssql":
        at = mssql.named()
        if at is None:
            raise SystemExit(mssql.UNNAMED)
        source = SQLServer(at).make_database("stress")
        with PostgreSQL.start() as b:
            yield source, b.make_database("destination")
        source.drop()
        return
    kind = {"postgresql": PostgreSQL, "mysql": MySQL, "mariadb": MariaDB, "firebird": Firebird}[engine]
    with kind.start() as a, kind.start() as b:
        yield a.make_database("source"), b.make_database("destination")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    engines = ["postgresql", "mysql", "mariadb", "sqlite", "firebird", "mssql"]
    parser.add_argument("--engine", choices=engines, default="postgresql")
    parser.add_argument("--transactions", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument(
        "--longest-life", type=float, default=12.0, help="seconds until the reflector is killed, at most"
    )
    parser.add_argument("--writers", type=int, default=8, help="the more there are, the fewer turns come in between")
    arguments = parser.parse_args()
    with servers(arguments.engine) as (source, destination):
        report = stress(
            source,
            destination,
            transactions=arguments.transactions,
            seconds=arguments.seconds,
            writers=arguments.writers,
            longest_life=arguments.longest_life,
        )
    print(arguments.engine, report, flush=True)
    return 0 if report.clean and report.control != 0 else 1


if __name__ == "__main__":
    sys.exit(main())
