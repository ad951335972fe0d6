"""Servers as fixtures, tiers, and the rule that no test is skipped in silence and no worker dies without a word.

The servers start when the first test asks for one, one each a run; `pg_db`, `my_db` and `sqlite_db` make databases that
go with the test. What they are is in tests/servers.
"""

from __future__ import annotations

import faulthandler
import itertools
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.servers import Firebird, MariaDB, MySQL, PostgreSQL, Server, SQLite, SQLServer, TestDatabase, debian, mssql

EXPECTED_SKIPS = pathlib.Path(__file__).with_name("expected-skips.txt")

MakeDatabase = Callable[..., TestDatabase]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier", choices=("quick", "full", "night"), default="full", help="leave out what takes longer than this tier"
    )
    group = parser.getgroup("cluster", "a cluster that is there already, in place of one made here")
    group.addoption("--kubeconfig", help="of a cluster marked as one to throw away; see CONTRIBUTING.md")
    group.addoption("--image", help="the image of this checkout, as that cluster's nodes find it")
    group.addoption("--host-address", help="where that cluster's pods reach this machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    too_long = {"quick": ("full", "night"), "full": ("night",), "night": ()}[config.getoption("--tier")]
    other = too_long if debian.newest() else (*too_long, "newest")
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in other)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


# Skips.


def expected_skips(text: str) -> list[tuple[re.Pattern[str], str]]:
    """Pattern and reason of each line. Only * is special: test ids are full of square brackets."""
    lines = [line.strip() for line in text.splitlines()]
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            glob, separator, reason = line.partition(" -- ")
            if not separator or not reason.strip():
                raise pytest.UsageError(f"{EXPECTED_SKIPS.name}: no ' -- ' and reason in: {line}")
            found.append((re.compile(".*".join(map(re.escape, glob.strip().split("*")))), reason.strip()))
    return found


def is_expected(nodeid: str, reason: str, expected: list[tuple[re.Pattern[str], str]]) -> bool:
    return any(pattern.fullmatch(nodeid) and words in reason for pattern, words in expected)


def _refuse_unlisted(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not is_expected(report.nodeid, reason, expected_skips(EXPECTED_SKIPS.read_text(encoding="utf-8"))):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and tests/expected-skips.txt does not list it: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    _refuse_unlisted(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    _refuse_unlisted(report)
    return report


# Workers. A driver's library can take its process with it; the report of the test then says where every thread was.


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["stacks"] = tempfile.mkstemp(prefix="pantograph-test-", suffix=".stacks")[1]


@pytest.hookimpl(trylast=True)  # after pytest's own, which writes where xdist's reader does not see it
def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        faulthandler.enable(open(config.workerinput["stacks"], "w", encoding="utf-8"))  # noqa: SIM115 - until it ends


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(report: Any) -> None:
    path = pathlib.Path(report.node.workerinput["stacks"])
    stacks = path.read_text(encoding="utf-8", errors="replace")
    report.longrepr += f"\n{stacks or 'It said nothing: by SIGKILL, or by os._exit.'}"
    path.unlink()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if error is None:
        pathlib.Path(node.workerinput["stacks"]).unlink()


# Servers.


def _running(kind: type[Server]) -> Iterator[Server]:
    try:
        started = kind.start()
    except debian.Unavailable as error:
        pytest.skip(str(error))
    with started as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The run's PostgreSQL server."""
    yield from _running(PostgreSQL)


@pytest.fixture(scope="session")
def postgresql2() -> Iterator[Server]:
    """A second one, where source and destination must not be the same server."""
    yield from _running(PostgreSQL)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """The run's MariaDB server."""
    yield from _running(MariaDB)


@pytest.fixture(scope="session")
def mariadb2() -> Iterator[Server]:
    """A second one, where source and destination must not be the same server."""
    yield from _running(MariaDB)


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[Server]:
    """The run's MySQL server."""
    yield from _running(MySQL)


@pytest.fixture(scope="session")
def mysql_server2() -> Iterator[Server]:
    """A second one, where source and destination must not be the same server."""
    yield from _running(MySQL)


@pytest.fixture(scope="session")
def firebird() -> Iterator[Server]:
    """The run's Firebird server."""
    yield from _running(Firebird)


@pytest.fixture(scope="session")
def sqlserver() -> SQLServer:
    """The SQL Server that the environment names; the test is skipped where it names none."""
    at = mssql.named()
    if at is None:
        pytest.skip(mssql.UNNAMED)
    return SQLServer(at)


_numbers = itertools.count(1)


def _databases(server: Callable[[], Server | SQLite | SQLServer]) -> Iterator[MakeDatabase]:
    made: list[TestDatabase] = []

    def make(name: str | None = None, on: Server | SQLite | SQLServer | None = None) -> TestDatabase:
        made.append((on or server()).make_database(name or f"t{next(_numbers)}"))
        return made[-1]

    yield make
    for database in reversed(made):
        database.drop()


@pytest.fixture
def pg_db(request: pytest.FixtureRequest) -> Iterator[MakeDatabase]:
    """`pg_db(name=None, on=None)` makes a fresh database on the run's PostgreSQL, or on another server."""
    yield from _databases(lambda: request.getfixturevalue("postgresql"))


@pytest.fixture
def my_db(request: pytest.FixtureRequest) -> Iterator[MakeDatabase]:
    """`my_db(name=None, on=None)` makes a fresh database on the run's MariaDB, or on another server."""
    yield from _databases(lambda: request.getfixturevalue("mariadb"))


@pytest.fixture
def mysql_db(request: pytest.FixtureRequest) -> Iterator[MakeDatabase]:
    """`mysql_db(name=None, on=None)` makes a fresh database on the run's MySQL, or on another server."""
    yield from _databases(lambda: request.getfixturevalue("mysql_server"))


@pytest.fixture
def fb_db(request: pytest.FixtureRequest) -> Iterator[MakeDatabase]:
    """`fb_db(name=None, on=None)` makes a fresh database on the run's Firebird, or on another server."""
    yield from _databases(lambda: request.getfixturevalue("firebird"))


@pytest.fixture
def ms_db(request: pytest.FixtureRequest) -> Iterator[MakeDatabase]:
    """`ms_db(name=None)` makes a fresh database on the SQL Server that the environment names."""
    yield from _databases(lambda: request.getfixturevalue("sqlserver"))


@pytest.fixture
def sqlite_db(tmp_path: pathlib.Path) -> Iterator[MakeDatabase]:
    """`sqlite_db(name=None)` makes a fresh file in WAL mode."""
    yield from _databases(lambda: SQLite(tmp_path))
