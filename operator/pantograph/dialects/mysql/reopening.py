"""MySQL opens a temporary table once a statement (error 1137); where a statement names a stage again, it reads a copy.

Here, and not where statements are made: those know a stage as something that FROM takes, under a `where` or two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pymysql.cursors

# Texts are matched first, so that a value which looks like a stage's name stays as it is.
_NAMED = re.compile(r"'(?:[^'\\]|\\.|'')*'|(`(?:[^`]|``)+`\.`stage_\w+)`", re.DOTALL)
_DROP = re.compile(r"drop temporary table if exists (?P<head>`(?:[^`]|``)+`\.`stage_\w+)`")
_MOST = 6
"""Copies of one stage; more than a statement of ours takes."""


class Cursor(pymysql.cursors.Cursor):
    """A cursor of a writer's connection."""

    def execute(self, query: str, args: Any = None) -> int:
        """As the driver's."""
        if dropped := _DROP.fullmatch(query):
            query += "".join(f", {_copy(dropped['head'], n)}" for n in range(1, _MOST + 1))
        elif query.count(".`stage_") > 1:
            query = _NAMED.sub(self._renaming(doubled=args is not None), query)
        return int(super().execute(query, args))

    def _renaming(self, *, doubled: bool) -> Callable[[re.Match[str]], str]:
        """What a name is to be in its place. doubled: percent signs are, for parameters that are put in afterwards."""
        seen: dict[str, int] = {}

        def named(match: re.Match[str]) -> str:
            head = match[1]
            if head is None:
                return match[0]
            number = seen[head] = seen.get(head, -1) + 1
            if not number:
                return match[0]
            self._fill(head.replace("%%", "%") if doubled else head, number)
            return _copy(head, number)

        return named

    def _fill(self, head: str, number: int) -> None:
        copy, stage = _copy(head, number), f"{head}`"
        super().execute(f"create temporary table if not exists {copy} like {stage}")
        # A savepoint that was gone back to took the rows away again, and left the table.
        if not super().execute(f"select 1 from {copy} limit 1"):
            super().execute(f"insert into {copy} select * from {stage}")


def _copy(head: str, number: int) -> str:
    return f"{head}_{number}`"
