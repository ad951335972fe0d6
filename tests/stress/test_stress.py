"""A minute of it in every full run: nothing lost, nothing torn, and a naive reader that does lose."""

from __future__ import annotations

import pytest

from tests.stress.run import servers, stress

NIGHT = ("mysql", "firebird")
ENGINES = ["postgresql", "mariadb", "sqlite", *(pytest.param(name, marks=pytest.mark.night) for name in NIGHT)]


@pytest.mark.full
@pytest.mark.parametrize("engine", ENGINES)
def test_writers_kills_and_readers(request: pytest.FixtureRequest, engine: str) -> None:
    if engine == "mysql":
        request.getfixturevalue("mysql_server")  # skips where there is none
    with servers(engine) as (source, destination):
        report = stress(source, destination, transactions=1_000_000, seconds=20.0)
    assert report.clean, report
    assert report.committed > 0, report
    assert report.reads > 0, report
    assert report.control != 0, f"the control lost nothing, so this proves nothing: {report}"
