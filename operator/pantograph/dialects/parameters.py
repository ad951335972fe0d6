"""`:name` in our SQL, and how a driver wants to have it."""

from __future__ import annotations

import functools
import re
from typing import Literal

Style = Literal["pyformat", "format", "qmark"]
"""A driver's parameters: `%(name)s`, `%s` or `?`."""

_QUOTED = re.compile(r"""\"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`""")
_COLON = re.compile(r"(?<!\\):")
_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?![:\w])")
_ESCAPED = re.compile(r"\\(:\w*)(?![:\w])")


def parameters_only(sql: str) -> str:
    """`sql` with no parameters but ours: what looks like one inside quotes (`"from :to"`) is part of a name or text."""
    return _QUOTED.sub(lambda found: _COLON.sub(r"\\:", found[0]), sql)


@functools.lru_cache(maxsize=4096)
def bound(style: Style, sql: str) -> tuple[str, tuple[str, ...] | None]:
    """`sql` in the driver's style, and the order of its parameters where they go by their place."""
    order: list[str] = []

    def placed(found: re.Match[str]) -> str:
        order.append(found[1])
        return {"pyformat": f"%({found[1]})s", "format": "%s", "qmark": "?"}[style]

    text = parameters_only(sql)
    if style != "qmark":
        text = text.replace("%", "%%")  # the driver takes it for a parameter of its own
    text = _ESCAPED.sub(r"\1", _PARAMETER.sub(placed, text))
    return text, None if style == "pyformat" else tuple(order)
