"""What capture costs the application, as a ratio to the same writes without it. docs/decisions/sqlite-capture.md has
what was measured; the bounds here are wide, for they must hold on a machine that does other things too."""

import time

import pytest

ROWS = 20_000
WORK = {
    "single inserts": "insert",
    "single updates": "update",
    "inserts in one transaction": "many",
    "insert from a select": "insert into {t} select id + 1000000, 'd' || id, name, qty from {t}",
    "update of all rows": "update {t} set qty = qty + 1",
    "delete of all rows": "delete from {t} where id >= 0",
}


def _times(app, table):
    times = {}
    for name, work in WORK.items():
        begin = time.perf_counter()
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
        times[name] = time.perf_counter() - begin
    return times


@pytest.mark.full
def test_capture_costs_a_few_times_a_bare_write_at_most(world):
    world.app.execute("pragma synchronous = normal")
    code = {"plain": "text", "guarded": "text unique"}
    for kind, declared in code.items():
        for suffix in ("", "_captured"):
            world.app.execute(
                f"create table {kind}{suffix} (id integer primary key, code {declared}, name text, qty integer)"
            )
        world.capture(f"{kind}_captured")
    for kind in code:
        best = {}
        for _ in range(3):
            for table in (kind, f"{kind}_captured"):
                for name, seconds in _times(world.app, table).items():
                    key = (table == kind, name)
                    best[key] = min(seconds, best.get(key, seconds))
        ratios = {name: best[False, name] / best[True, name] for name in WORK}
        print(kind, {name: round(ratio, 2) for name, ratio in ratios.items()})  # pytest -rP shows it
        assert max(ratios["single inserts"], ratios["single updates"]) < 4, ratios
        assert max(ratios.values()) < 12, ratios
