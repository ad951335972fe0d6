"""Every source with every destination. A pair is two fresh databases; a mirror between them runs in this process."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.servers import TestDatabase
from tests.support import comparison, mirrors
from tests.support.clients import Client

ENGINES = {"postgresql": "pg_db", "mysql": "mysql_db", "mariadb": "my_db", "sqlite": "sqlite_db", "firebird": "fb_db"}
NAMED = {"mssql": "ms_db"}
"""Engines of which no test can start a server: they are skipped, loudly, where the environment names none."""
MANY_WRITERS = ("postgresql", "mysql", "mariadb", "firebird", "mssql")
"""Engines where two transactions can be open for writing at once."""


class Pair:
    """A source and a destination."""

    def __init__(self, source: TestDatabase, destination: TestDatabase) -> None:
        self.source, self.destination = source, destination
        self.app = Client(source)
        self._mirrors = contextlib.ExitStack()
        self.documents: list[dict[str, Any]] = []
        # Fields of what the process is asked to do that manifests cannot say, as they would be unwise.
        self.changes: dict[str, Any] = {}

    @property
    def longest_name(self) -> int:
        """Characters that a table may have in its name at both ends."""
        return min(31 if database.dialect == "firebird" else 63 for database in (self.source, self.destination))

    def make(self, *statements: str) -> None:
        """Run statements at the source as the application."""
        for sql in statements:
            self.app.run(sql)

    def start(self, *tables: str | Mapping[str, Any], **database: Any) -> mirrors.Mirror:
        """Begin to mirror; again, when it was stopped, with the same manifests if none are named."""
        if tables:
            self.documents = mirrors.documents(self.source, self.destination, tables, database=database)
        return self._mirrors.enter_context(mirrors.Mirror(self.documents, **self.changes))

    def stop(self) -> None:
        self._mirrors.close()

    def wait_equal(self, where: dict[str, str] | None = None, **tables: Sequence[str]) -> None:
        comparison.wait_equal(self.source, self.destination, tables, where)


def _make(request: pytest.FixtureRequest, source: str, destination: str) -> Iterator[Pair]:
    make_source, make_destination = (
        request.getfixturevalue({**ENGINES, **NAMED}[one]) for one in (source, destination)
    )
    pair = Pair(make_source(), make_destination())
    yield pair
    pair.stop()
    pair.app.close()


ROUTES = [(s, d) for s in ENGINES for d in ENGINES]
NAMED_ROUTES = [(s, d) for s in (*ENGINES, *NAMED) for d in (*ENGINES, *NAMED) if s in NAMED or d in NAMED]
NAMED_DAILY = [("postgresql", "mssql"), ("mssql", "sqlite")]
"""As source and as destination, where the other routes are left to the night."""

RING = [
    ("postgresql", "mariadb"),
    ("mariadb", "sqlite"),
    ("sqlite", "mysql"),
    ("mysql", "firebird"),
    ("firebird", "postgresql"),
]
"""Each engine as source and as destination: enough for a full run where what is tried is the same on all routes."""


DAILY_MYSQL = re.compile(
    r"test_plain\.py::.*\[(mysql-postgresql|postgresql-mysql)\]|"
    rf"test_(histories|shapes|sharing|statements|types|verify_sharing)\.py::.*\[({'|'.join(map('-'.join, RING))})\b"
)
"""What a full run tries on MySQL; it shares its dialect with MariaDB, and the rest is left to the night."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        spec = getattr(item, "callspec", None)
        if spec is not None and "mysql" in spec.id.split("-") and not DAILY_MYSQL.search(item.nodeid):
            item.add_marker(pytest.mark.night)


def named(pairs: Sequence[tuple[str, str]], full: Sequence[tuple[str, str]] | None = None) -> list[Any]:
    """Parameters; those that are not in `full` are left to the night."""
    night = [pair for pair in pairs if full is not None and pair not in full]
    return [
        pytest.param(pair, id=f"{pair[0]}-{pair[1]}", marks=[pytest.mark.night] if pair in night else [])
        for pair in pairs
    ]


DAILY = [route for route in ROUTES if "firebird" not in route] + [("firebird", "postgresql")]
"""What a full run tries where nothing else is said."""


def pair_of(routes: Sequence[tuple[str, str]], full: Sequence[tuple[str, str]] | None = None) -> Any:
    """The fixture `pair`: two fresh databases, of each of these pairs of engines in turn."""

    @pytest.fixture(params=named(routes, full))
    def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
        yield from _make(request, *request.param)

    return pair


pair = pair_of(ROUTES, DAILY)


@pytest.fixture
def make_pair(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Pair]]:
    """`make_pair(source, destination)` for a test that names its engines."""
    with contextlib.ExitStack() as stack:
        manager = contextlib.contextmanager(_make)
        yield lambda source, destination: stack.enter_context(manager(request, source, destination))
