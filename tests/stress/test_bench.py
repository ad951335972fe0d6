"""A third of a minute of pgbench in every full run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.stress import bench


@pytest.mark.full
def test_the_tables_of_pgbench_always_add_up(pg_db: Callable[[], Any]) -> None:
    report = bench.run(pg_db(), pg_db(), seconds=20.0, rate=300)
    assert report.clean, report
    assert report.committed > 500, report
    assert report.reads > 100, report
    assert report.kills > 2, report
