"""Which type holds every value of two."""

from __future__ import annotations

import pytest

from pantograph.model.types import Kind, LogicalType, misfit, wider

INT, BIGINT = LogicalType(Kind.INTEGER, bits=32), LogicalType(Kind.INTEGER, bits=64)
TEXT, SHORT, LONG = LogicalType(Kind.TEXT), LogicalType(Kind.TEXT, length=10), LogicalType(Kind.TEXT, length=40)


def decimal(precision: int, scale: int) -> LogicalType:
    return LogicalType(Kind.DECIMAL, precision=precision, scale=scale)


@pytest.mark.parametrize(
    ("there", "here", "found"),
    [
        (INT, BIGINT, BIGINT),
        (BIGINT, INT, BIGINT),
        (SHORT, LONG, LONG),
        (INT, TEXT, TEXT),
        (INT, decimal(12, 2), decimal(12, 2)),
        (decimal(10, 2), decimal(8, 4), decimal(12, 4)),
        (INT, LogicalType(Kind.DATE), None),
        (INT, SHORT, None),
        (LogicalType(Kind.TIMESTAMP, fraction=0), LogicalType(Kind.TIMESTAMP), LogicalType(Kind.TIMESTAMP)),
    ],
)
def test_a_wider_type_holds_both_or_there_is_none(
    there: LogicalType, here: LogicalType, found: LogicalType | None
) -> None:
    assert wider(there, here) == found
    if found is not None:
        assert misfit(there, found) is None
        assert misfit(here, found) is None
