"""`:name` in our SQL, and how a driver wants to have it.

SQLAlchemy does it. It is imported with the first statement and not with this module: two tenths of a second are much of
what a command takes that asks no database.
"""

from __future__ import annotations

import functools
import re
from typing import Literal

Style = Literal["pyformat", "format", "qmark"]
"""A driver's parameters: `%(name)s`, `%s` or `?`."""

_QUOTED = re.compile(r"""\"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`""")
_COLON = re.compile(r"(?<!\\):")


def parameters_only(sql: str) -> str:
    """`sql` with no parameters but ours: what looks like one inside quotes (`"from :to"`) is part of a name or text."""
    return _QUOTED.sub(lambda found: _COLON.sub(r"\\:", found[0]), sql)


@functools.lru_cache(maxsize=4096)
def bound(style: Style, sql: str) -> tuple[str, tuple[str, ...] | None]:
    """`sql` in the driver's style, and the order of its parameters where they go by their place."""
    import sqlalchemy as sa

    compiled = sa.text(parameters_only(sql)).compile(dialect=sa.engine.default.DefaultDialect(paramstyle=style))
    order = compiled.positiontup
    return str(compiled), None if order is None else tuple(order)


def prepare_for_threads() -> None:
    """Import SQLAlchemy now: two threads that import different parts of it at a time find each other's half there, and
    that is an ImportError."""
    bound("qmark", "select 1")
