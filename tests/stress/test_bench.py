"""Clients that nobody here wrote: a third of a minute of pgbench in every full run, sysbench at night."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.stress import bench, sysbench


@pytest.mark.full
def test_the_tables_of_pgbench_always_add_up(pg_db: Callable[[], Any]) -> None:
    report = bench.run(pg_db(), pg_db(), seconds=20.0, rate=300)
    assert report.clean, report
    assert report.committed > 500, report
    assert report.reads > 100, report
    assert report.kills > 2, report


@pytest.mark.night
@pytest.mark.parametrize("ends", ["my_db", "mysql_db"])
def test_the_tables_of_sysbench_are_equal_two_databases_on(
    request: pytest.FixtureRequest, pg_db: Callable[[], Any], ends: str
) -> None:
    make = request.getfixturevalue(ends)
    report = sysbench.run(make(), pg_db(), make(), seconds=30.0, rate=100)
    assert report.clean, report
    assert report.transactions > 500, report
    assert len(report.verified) > 1, report
    assert report.kills, report
