"""Rows out of this engine as lines of text that it builds itself, so that a row is one value for Python.

Decoding eight columns takes PyMySQL, which is Python alone, three times as long as one, and writing them down again for
the destination's bulk load as long once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pantograph import errors
from pantograph.dialects.base import Session, verbatim
from pantograph.dialects.mysql import types
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.types import Kind

_ROWS = 5000
_BYTES = 8 * 1024 * 1024
_LONG = 4096
"""Bytes from which on a slow REPLACE is slower than an expression, which costs short texts twice as much."""


def possible(mirror: Mirror) -> bool:
    """Has every column a text that the destination reads as the same value, or refuses by itself?"""
    return not any(
        types.base_name(column.source_native) in types.SPATIAL or types.rewrites(column.destination_type)
        for column in mirror.columns
    )


def statement(mirror: Mirror, sql: str, bytes_mark: str, *, direct: bool, slow_replace: bool = False) -> str:
    """A SELECT of one line for each row that `sql` yields; its parameters are those of `sql`. slow_replace: see
    `Variant`."""
    fields = [] if direct else ["q.present"]
    for i, column in enumerate(mirror.columns):
        # Not IFNULL: the server makes NULL of a text, too, that is longer than it may send, and then so is the line.
        fields.append(f"if(q.c{i} is null, '\\\\N', {_field(f'q.c{i}', column, bytes_mark, slow_replace)})")
    parts = ", '\\t', ".join(fields)
    # As bytes, or the driver would decode what is to be encoded again.
    return f"select cast(concat({parts}) as binary) from ({sql}) q"


def _field(expression: str, column: Mapped, bytes_mark: str, slow_replace: bool) -> str:
    kind = column.source_type.kind
    if kind is Kind.BYTES:
        mark = bytes_mark.replace("\\", "\\\\")
        return verbatim(f"concat('{mark}', lower(hex({expression})))")
    if kind in (Kind.TEXT, Kind.JSON):
        # On bytes, which costs half: what is escaped is ASCII, and no part of another character in UTF-8.
        text = long = f"cast(convert({expression} using utf8mb4) as binary)"
        for found, written in (("\\\\", "\\\\\\\\"), ("\\t", "\\\\t"), ("\\n", "\\\\n"), ("\\r", "\\\\r")):
            text = f"replace({text}, '{found}', '{written}')"
            # In a pattern, and in what takes its place, a backslash is written as two.
            pattern, instead = found.replace("\\\\", "\\" * 4), written.replace("\\\\", "\\" * 4)
            long = f"regexp_replace({long}, '{pattern}', '{instead}')"
        never_long = 0 < column.source_type.length * 4 < _LONG
        return text if never_long or not slow_replace else f"if(octet_length({expression}) < {_LONG}, {text}, {long})"
    if kind in (Kind.UUID, Kind.OTHER):
        # Beside one of these types of the server's, any other text is taken for one, and is NULL for being none.
        return f"cast({expression} as char)"
    return expression


class Flow:
    """The lines of a SELECT in blocks, and what was seen on the way."""

    def __init__(self, session: Session, sql: str, params: Mapping[str, Any]) -> None:
        self._session, self._sql, self._params = session, sql, params
        self.rows = self.absent = 0

    def __iter__(self) -> Iterator[bytes]:
        absent = ord("0")
        for batch in self._session.batches(self._sql, _ROWS, _BYTES, **self._params):
            lines = [line for (line,) in batch]
            if None in lines:
                # The server makes NULL of a text that is longer than it may send.
                raise errors.Rejected("a row is longer than the source's max_allowed_packet", kind="length")
            self.rows += len(lines)
            self.absent += sum(1 for line in lines if line[0] == absent)
            yield b"\n".join(lines) + b"\n"
