"""Which expressions SQLite holds for settled: those that it takes into an index.

The table is made anew in memory, without its rows: the same library judges there, and the user's file is left alone.
"""

from __future__ import annotations

import contextlib
import sqlite3

from pantograph import errors
from pantograph.api.expressions import EXPECTED, Expression
from pantograph.model.tables import TableShape

_CHANGES = "a function in it can change with no change of the row"


def judge(expression: Expression, shape: TableShape) -> None:
    """Raise `SpecError` with what SQLite has against the expression."""
    quoted = [_quoted(column.name) for column in shape.columns]
    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f"create table {_quoted(shape.name)} ({', '.join(quoted)})")
        try:
            memory.execute(f"create index probe on {_quoted(shape.name)} (({expression.sql}))")
        except sqlite3.Error as error:
            if '"." operator' in str(error):
                return  # an index takes no qualified names; the table itself does
            said = str(error).replace(" in index expressions", "").replace(" prohibited", " cannot be here")
            why = _CHANGES if "non-deterministic" in said else f"SQLite does not take it: {said}"
            raise errors.SpecError(f"{why}; {EXPECTED}", path=expression.path) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
