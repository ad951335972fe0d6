"""Are two tables equal? Rows fetched by the raw drivers, normalised and compared here, without the package's help."""

from __future__ import annotations

import datetime
import decimal
import os
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from tests.servers import TestDatabase
from tests.support.clients import Client, quoted

PATIENCE = float(os.environ.get("PANTOGRAPH_TEST_PATIENCE", "60"))
"""Seconds until a condition that must come about has failed. Long, for nothing is measured by it."""


def normal(value: Any) -> Any:
    """One form for what the drivers hand out in several: 0 and false, bytes and memoryview, 1.50 and '1.5'."""
    match value:
        case bool():
            return int(value)
        case memoryview() | bytearray():
            return bytes(value)
        case decimal.Decimal():
            return float(value) if value != value.to_integral_value() else int(value)
        case float():
            return int(value) if value.is_integer() else value
        case datetime.datetime():
            if value.tzinfo is not None:
                value = value.astimezone(datetime.UTC).replace(tzinfo=None)
            return value.isoformat(" ").removesuffix(".000000")
        case datetime.date():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
    return value


def rows(
    database: TestDatabase, table: str, columns: Sequence[str], where: str = "", role: str = "superuser"
) -> list[tuple[Any, ...]]:
    """All rows of a table in one order that has nothing to do with the engine's."""
    q = database.dialect
    picked = ", ".join(quoted(q, name) for name in columns)
    sql = f"select {picked} from {quoted(q, table)}" + (f" where {where}" if where else "")
    found = [tuple(normal(value) for value in row) for row in database.execute(sql, role=role)]
    return sorted(found, key=repr)


def difference(
    source: TestDatabase, destination: TestDatabase, table: str, columns: Sequence[str], where: str = ""
) -> str:
    """ "" when the destination's table holds exactly the source's rows (that match `where`); else what differs."""
    wanted, found = rows(source, table, columns, where), rows(destination, table, columns)
    if wanted == found:
        return ""
    there, here = set(wanted), set(found)
    return (
        f"{table}: {len(wanted)} rows at the source, {len(found)} at the destination; "
        f"missing {sorted(there - here, key=repr)[:5]}, too many {sorted(here - there, key=repr)[:5]}"
    )


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Until `condition` is true; its last value. An exception counts as not yet."""
    deadline = time.monotonic() + patience
    why: Any = None
    while True:
        try:
            found = condition()
            if found:
                return found
            why = found
        except Exception as error:  # a table that is not there yet, a server that restarts
            why = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what} (last: {why!r})")
        time.sleep(0.02)


def wait_equal(
    source: TestDatabase,
    destination: TestDatabase,
    tables: dict[str, Sequence[str]],
    where: dict[str, str] | None = None,
    patience: float = PATIENCE,
) -> None:
    """Until every table is equal. The source must be quiet."""
    last = [""]

    def equal() -> bool:
        found = (difference(source, destination, t, c, (where or {}).get(t, "")) for t, c in tables.items())
        last[0] = next((text for text in found if text), "")
        return not last[0]

    try:
        wait_until(equal, "equality", patience)
    except AssertionError as error:
        raise AssertionError(f"{last[0] or error}") from error


def count(client: Client, table: str) -> int:
    return int(client.value(f"select count(*) from {client.q(table)}"))
