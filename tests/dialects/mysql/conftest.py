"""The tests of MariaDB's folder on MySQL, which shares the dialect: only where databases come from is another."""

import re

import pytest

for name in ("capture", "cascades", "reading", "windows", "writing"):
    pytest.register_assert_rewrite(f"tests.dialects.mariadb.test_{name}")

from tests.dialects.mariadb.conftest import process, world  # noqa: E402 (what it imports is rewritten first)

__all__ = ["my_db", "process", "world"]

DAILY = re.compile(r"test_(capture|reopening)\.py::")
"""What a full run tries, beside the plain routes; the rest is for the night."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "dialects/mysql/" in item.nodeid and not DAILY.search(item.nodeid):
            item.add_marker(pytest.mark.night)


@pytest.fixture
def my_db(mysql_db):
    return mysql_db
