"""A mark in the text of a trigger by which it proves that it is whole as some Pantograph made it.

So a trigger that an earlier version made is told from one that somebody changed: that one may have missed changes, and
is answered with a sweep; this one has noted everything, and is replaced in place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

_MARK = re.compile(r"/\* pantograph ([0-9a-f]{12}) \*/ ?")


def marked(text: str, facts: Sequence[object], after: str = "") -> str:
    """The text with its mark: behind the first `after`, or at its end. facts: all that decides what it must note."""
    mark = f"/* pantograph {_digest(text, facts)} */"
    if not after:
        return f"{text} {mark}"
    head, found, rest = text.partition(after)
    assert found
    return f"{head}{found}{mark} {rest}"


def whole(text: str, facts: Sequence[object]) -> bool:
    """Is this text as it was marked, for these facts?"""
    found = _MARK.search(text)
    return found is not None and _digest(_MARK.sub("", text, count=1), facts) == found[1]


def _digest(text: str, facts: Sequence[object]) -> str:
    # Engines keep a text as it was sent, but for blanks.
    plain = re.sub(r"\s+", " ", text).strip()
    return hashlib.sha256(f"{json.dumps(facts, default=repr)}\0{plain}".encode()).hexdigest()[:12]
