"""What a writer of a SQLite file pays for being captured: time of a write with capture over the same write without.

    python -m benchmarks.sqlite_capture [--rounds 3]

The best of each round is compared. Files are in memory as far as the system keeps them; `synchronous` is `normal`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from pantograph import dialects
from pantograph.database.sessions import Session
from pantograph.dialects import base
from pantograph.dialects.base import Address, Role
from pantograph.model import names
from pantograph.model.changes import Capture
from tests.servers import SQLite

ROWS = 20_000
KINDS = {"plain": "text", "guarded": "text unique"}
WORK = {
    "single inserts": "insert",
    "single updates": "update",
    "inserts in one transaction": "many",
    "insert from a select": "insert into {t} select id + 1000000, 'd' || id, name, qty from {t}",
    "update of all rows": "update {t} set qty = qty + 1",
    "delete of all rows": "delete from {t} where id >= 0",
}


def captured(admin: Session, table: str) -> None:
    """Install the capture of a table."""
    dialect = admin.dialect
    shape = dialect.shape(admin, "", table)
    assert shape is not None
    identity = names.capture_id("", table)
    events = dialect.event_table(identity, "", table)
    capture = Capture(identity, "", table, shape.key, shape.key, events)
    for statement in dialect.install(capture, shape):
        admin.direct(statement.sql)


def times(app: Any, table: str) -> dict[str, float]:
    """Seconds that each piece of work takes on a table; each leaves what the next one needs."""
    found = {}
    for name, work in WORK.items():
        began = time.perf_counter()
        if work == "insert":
            for n in range(1000):
                app.execute(f"insert into {table} values (?, ?, 'some name', 5)", (n, f"c{n}"))
        elif work == "update":
            for n in range(1000):
                app.execute(f"update {table} set qty = qty + 1 where id = ?", (n,))
        elif work == "many":
            app.execute("begin")
            rows = ((n, f"c{n}") for n in range(1000, ROWS))
            app.executemany(f"insert into {table} values (?, ?, 'some name', 5)", rows)
            app.execute("commit")
        else:
            app.execute(work.format(t=table))
        found[name] = time.perf_counter() - began
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    database = SQLite().make_database("cost")
    app = database.app()
    app.execute("pragma synchronous = normal")
    dialect = dialects.load(Address("sqlite", path=str(database.url()["path"])))
    admin = Session(dialect, Role.ADMIN)
    with admin.step("benchmark"):
        for meta in base.SOURCE_TABLES:
            admin.direct(dialect.meta_table(meta))
        admin.direct(f"insert into {dialect.ours('lease')} values (1, cast({dialect.now()} as integer) + 86400)")
        for kind, declared in KINDS.items():
            for table in (kind, f"{kind}_captured"):
                app.execute(f"create table {table} (id integer primary key, code {declared}, name text, qty integer)")
            captured(admin, f"{kind}_captured")
    for kind in KINDS:
        best: dict[tuple[str, str], float] = {}
        for _ in range(given.rounds):
            for table in (kind, f"{kind}_captured"):
                for name, seconds in times(app, table).items():
                    best[table, name] = min(seconds, best.get((table, name), seconds))
        print(f"{kind:30}{'without':>12}{'with':>12}{'ratio':>8}")
        for name in WORK:
            without, with_ = best[kind, name], best[f"{kind}_captured", name]
            print(f"{name:30}{without * 1e3:>9.1f} ms{with_ * 1e3:>9.1f} ms{with_ / without:>8.2f}")
    admin.close()


if __name__ == "__main__":
    main()
