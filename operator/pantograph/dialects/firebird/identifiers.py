"""Names: SQL folds what is not quoted to upper case here, and people write it in lower case.

So a name of plain lower-case letters means the upper-case one of the catalog, which is what unquoted SQL makes, and
the other way round; all other names mean themselves. Both directions are the same function, so nothing is lost.
"""

from __future__ import annotations

import re

LONGEST = 31
"""Bytes of a name in Firebird 3."""

_PLAIN = re.compile(r"[a-z][a-z0-9_$]*|[A-Z][A-Z0-9_$]*")


def folded(name: str) -> str:
    """A name of the catalog as manifests write it, or one of a manifest as the catalog has it."""
    return name.swapcase() if _PLAIN.fullmatch(name) else name


def text(value: str) -> str:
    """A literal; nothing but the quote is special in one."""
    doubled = value.replace("'", "''")
    return f"'{doubled}'"
