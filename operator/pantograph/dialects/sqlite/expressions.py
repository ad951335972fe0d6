"""Which expressions SQLite holds for settled: those that it takes into an index.

The table is made anew in memory, without its rows: the same library judges there, and the user's file is left alone.
"""

from __future__ import annotations

import contextlib
import sqlite3

from pantograph import errors
from pantograph.api.expressions import EXPECTED, Expression
from pantograph.model.tables import TableShape


def judge(expression: Expression, shape: TableShape) -> None:
    """Raise `SpecError` with what SQLite has against the expression."""
    quoted = [_quoted(column.name) for column in shape.columns]
    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f"create table {_quoted(shape.name)} ({', '.join(quoted)})")
        try:
            memory.execute(f"create index probe on {_quoted(shape.name)} (case when 1 then ({expression.sql}) end)")
        except sqlite3.Error as error:
            if '"." operator' in str(error):
                return  # an index takes no qualified names; the table itself does
            raise errors.SpecError(f"{_why(str(error))}; {EXPECTED}", path=expression.path) from error


def _why(said: str) -> str:
    if "non-deterministic" in said:
        return "a function in it can change with no change of the row"
    # What SQLite stumbled over may be a text of the user's.
    said = "syntax error" if said.startswith(("near ", "unrecognized token")) else " ".join(said.split())
    said = said.replace(" in index expressions", "").replace(" prohibited", " cannot be here")
    return f"SQLite does not take it: {said}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
