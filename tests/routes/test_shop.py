"""A whole shop is mirrored while it is busy: thirty tables tied to each other, at the source and at the destination."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml

from tests.routes.conftest import Pair, named
from tests.servers import TestDatabase
from tests.support import comparison, mirrors, shop
from tests.support.clients import Client
from tests.support.comparison import wait_until

MakePair = Callable[[str, str], Pair]
WHOLE = [
    pytest.param(("postgresql", "mariadb"), True, id="postgresql-mariadb-tied", marks=pytest.mark.full),
    pytest.param(("mariadb", "postgresql"), True, id="mariadb-postgresql-tied", marks=pytest.mark.night),
    pytest.param(("postgresql", "mysql"), True, id="postgresql-mysql-tied", marks=pytest.mark.night),
    pytest.param(("mysql", "mariadb"), True, id="mysql-mariadb-tied", marks=pytest.mark.night),
    pytest.param(("mysql", "postgresql"), False, id="mysql-postgresql", marks=pytest.mark.night),
    pytest.param(("postgresql", "sqlite"), True, id="postgresql-sqlite-tied", marks=pytest.mark.night),
    pytest.param(("postgresql", "mariadb"), False, id="postgresql-mariadb", marks=pytest.mark.night),
    pytest.param(("mariadb", "postgresql"), False, id="mariadb-postgresql", marks=pytest.mark.night),
    pytest.param(("postgresql", "sqlite"), False, id="postgresql-sqlite", marks=pytest.mark.night),
    pytest.param(("sqlite", "postgresql"), True, id="sqlite-postgresql-tied", marks=pytest.mark.night),
    pytest.param(("sqlite", "postgresql"), False, id="sqlite-postgresql", marks=pytest.mark.night),
]
"""Source and destination; tied: the destination's tables were made before, with the same foreign keys."""
SEED = int(os.environ.get("PANTOGRAPH_SEEDS", "1"))


class Watcher:
    """Reads the copy in snapshots for as long as the shop is mirrored, and says which were no image of it.

    waived: reads in which the copy itself said so, because rows waited for their parents.
    """

    def __init__(self, database: TestDatabase) -> None:
        self._database, self._stop = database, threading.Event()
        self.reads, self.waived, self.broken = 0, 0, list[str]()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        client = Client(self._database, "superuser")
        checkpoints = mirrors.ours(self._database, "checkpoints")
        while not self._stop.is_set():
            try:
                with client.snapshot():
                    states = client.run(f"select state from {checkpoints} where name like 'stream/%'")
                    found = shop.broken(client)
                if not all(json.loads(state).get("image", True) for (state,) in states):
                    self.waived, found = self.waived + 1, ""
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            self.reads += 1
            if found:
                self.broken.append(found)
            self._stop.wait(0.01)
        client.close()


def generated(pair: Pair, folder: pathlib.Path) -> list[dict[str, Any]]:
    """What `pantograph generate` writes for the whole shop, with the Databases."""
    databases = pair.source.manifests("source", name="from") + pair.destination.manifests("destination", name="to")
    path = folder / "databases.yaml"
    path.write_text(yaml.safe_dump_all(databases))
    made = subprocess.run(
        [sys.executable, "-m", "pantograph", "generate", "-f", str(path), "--from", "from", "--to", "to"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(mirrors.ROOT / "operator")},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "30 tables of from into to" in made.stderr
    return databases + list(yaml.safe_load_all(made.stdout))


def difference(pair: Pair) -> str:
    """What differs between shop and copy, of the first table that does."""
    return next((text for table in shop.TABLES if (text := _difference(pair, table))), "")


def _difference(
    pair: Pair, table: str, columns: Sequence[str] = (), where: str = "", to: str = "", renamed: Sequence[str] = ()
) -> str:
    columns = columns or shop.columns(table)
    here = [shop.comparable(table, columns, row) for row in comparison.rows(pair.source, table, columns, where)]
    found = comparison.rows(pair.destination, to or table, renamed or columns)
    there = [shop.comparable(table, columns, row) for row in found]
    if sorted(here, key=repr) == sorted(there, key=repr):
        return ""
    missing = [row for row in here if row not in there]
    extra = [row for row in there if row not in here]
    return f"{table}: {len(here)} rows, {len(there)} in the copy; missing {missing[:3]}, too many {extra[:3]}"


def wait_equal(pair: Pair, mirror: mirrors.Mirror, differs: Callable[[Pair], str] = difference) -> None:
    last = [""]

    def equal() -> bool:
        last[0] = differs(pair)
        return not last[0]

    try:
        wait_until(equal, "equality")
    except AssertionError as error:
        raise AssertionError(f"seed {SEED}: {last[0] or error}; {_said(mirror)}") from error


def wait_in_step(pair: Pair, mirror: mirrors.Mirror) -> None:
    """Thirty captures on tables that are written all the time: none of them may make a writer wait."""
    try:
        wait_until(lambda: mirrors.in_step(pair.destination) == 30, "all thirty in their stream", patience=180)
    except AssertionError as error:
        raise AssertionError(f"seed {SEED}: {error}; {_said(mirror)}") from error


def _said(mirror: mirrors.Mirror) -> str:
    seen = [f"{one.name}: {one.phase} {one.reason} {one.message}" for one in mirror.board.all()]
    return f"{[text for text in seen if 'Streaming' not in text][:5]}; {mirror.messages[-5:]}"


@pytest.mark.parametrize(("route", "tied"), WHOLE)
def test_a_busy_shop_is_mirrored_whole(
    make_pair: MakePair, tmp_path: pathlib.Path, route: tuple[str, str], tied: bool
) -> None:
    pair = make_pair(*route)
    shop.create(pair.source)
    if tied:
        shop.create(pair.destination, wide=route[0] == "sqlite", role="destination")
    writer = shop.Shop(pair.source, SEED)
    writer.open_doors()
    writer.work(150)
    pair.documents = generated(pair, tmp_path)
    with writer:
        mirror = pair.start()
        wait_in_step(pair, mirror)
        with Watcher(pair.destination) as watcher:
            wait_until(lambda: watcher.reads - watcher.waived > 50 and sum(writer.done.values()) > 700, "work")
    wait_equal(pair, mirror)
    assert watcher.broken == []


@pytest.mark.full
@pytest.mark.parametrize(
    "route", named([("postgresql", "mariadb"), ("mariadb", "postgresql")], [("mariadb", "postgresql")])
)
def test_a_busy_shop_is_rebuilt_while_it_is_open(
    make_pair: MakePair, tmp_path: pathlib.Path, route: tuple[str, str]
) -> None:
    pair = make_pair(*route)
    shop.create(pair.source)
    writer = shop.Shop(pair.source, SEED)
    writer.open_doors()
    pair.documents = generated(pair, tmp_path)
    with writer:
        wait_in_step(pair, pair.start())
        # The application's next version: a column comes, filled for the rows that are there, and another goes.
        with writer.lock:
            pair.make("alter table reviews add column helpful int default 0", "update reviews set helpful = id")
            writer.given_up.add(("customers", "prefs"))
            pair.make("alter table customers drop column prefs")
        pair.stop()
        _rebuild(pair.documents)
        done = sum(writer.done.values())
        mirror = pair.start()
        wait_in_step(pair, mirror)
        wait_until(lambda: sum(writer.done.values()) > done + 300, "work")
    wait_equal(pair, mirror, _rebuilt)


def _rebuild(documents: list[dict[str, Any]]) -> None:
    """Another table for the tags, only good reviews, and an audit of another shape."""
    specs = {one["metadata"]["name"]: one["spec"] for one in documents if one["kind"] == "Reflection"}
    (tags,) = (one for one in documents if one["kind"] == "Reflection" and one["metadata"]["name"] == "tags")
    tags["metadata"]["name"] = "labels"
    tags["spec"]["destination"]["table"] = "labels"
    specs["reviews"]["where"] = "stars > 2"
    specs["audit"]["columns"] = [
        {"source": "id"}, {"source": "what"}, {"source": "staff_id", "destination": "who"},
        {"expression": "coalesce(staff_id, 0) * 2", "destination": "twice", "type": "bigint"},
    ]  # fmt: skip


def _rebuilt(pair: Pair) -> str:
    audit = {"columns": ("id", "what", "staff_id"), "renamed": ("id", "what", "who")}
    rest = [table for table in shop.TABLES if table not in ("tags", "reviews", "customers", "audit")]
    found = [
        _difference(pair, "tags", to="labels"),
        _difference(pair, "reviews", (*shop.columns("reviews"), "helpful"), "stars > 2"),
        _difference(pair, "customers", [name for name in shop.columns("customers") if name != "prefs"]),
        _difference(pair, "audit", **audit),
        *(_difference(pair, table) for table in rest),
    ]
    wrong = "select count(*) from audit where twice <> coalesce(who, 0) * 2 or twice is null"
    found += ["audit: twice"] if pair.destination.execute(wrong, role="superuser")[0][0] else []
    return next((text for text in found if text), "")
