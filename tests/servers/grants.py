"""The grants that the reference page gives, as the statements that the tests run: what is documented is what is tested.

A block of docs/reference/grants.md is found by its tag, the words after the fence: ```sql postgresql source
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "grants.md"

_BLOCK = re.compile(r"^```sql +(?P<tag>[a-z ]+?) *\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def blocks(page: str | None = None) -> dict[str, str]:
    """All tagged blocks of the page, by tag."""
    text = PAGE.read_text(encoding="utf-8") if page is None else page
    return {match["tag"]: match["body"] for match in _BLOCK.finditer(text)}


def statements(tag: str, names: Mapping[str, str]) -> list[str]:
    """The block's statements with its placeholders filled in.

    `names` are put in as they are: who calls has quoted or escaped them for the engine. The block is cut at its
    semicolons before that, so a name may hold one.
    """
    body = re.sub(r"--.*$", "", blocks()[tag], flags=re.MULTILINE)
    found = [part.strip() for part in body.split(";")]
    return [_PLACEHOLDER.sub(lambda match: names[match[1]], part) for part in found if part]
