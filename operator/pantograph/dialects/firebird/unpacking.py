"""Columns that the server packs into one text, taken apart here: `packing`, the other way.

The driver is Python, and spends two microseconds on each value that it fetches, which is four fifths of what reading
costs. So numbers, moments and short texts of a row come as one text: scalars, and how long each text is, with tabs
between them, then the texts themselves. What has no exact text (a double), or no room, stays a column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pantograph import errors
from pantograph.dialects.firebird.packing import STATEMENT
from pantograph.model import converters

_CHARACTERS = 8_000
"""Of a packed text: a VARCHAR has 32,765 bytes, four for each."""
_FEWEST = 3
"""Columns that are worth it."""

# Types as the client library describes them: SQLTYPE without the bit that says whether NULL is allowed.
# https://firebirdsql.org/file/documentation/html/en/refdocs (API guide, "XSQLVAR")
_VARYING = 448
_WIDTHS = {500: ("", 7), 496: ("", 12), 580: ("", 22), 32764: ("", 5), 570: ("date", 10), 560: ("time", 13),
           510: ("timestamp", 24)}  # fmt: skip
"""By type: what it is first cast to (where the server may have it in another type, with a zone), and characters."""
_UTF8 = 4

Read = Callable[[Sequence[str]], Sequence[Any]]


class Unpacking:
    """A SELECT of the same rows in fewer columns, and what makes the rows of it again.

    described: type, scale, subtype and bytes of each column of `sql`, as the client library says. Decimals, dates and
    moments come as canonical text, where the driver has objects. `sql` is "" where there is nothing to win.
    """

    def __init__(self, sql: str, described: Sequence[tuple[int, int, int, int]]) -> None:
        self._reads: list[tuple[int, Read]] = []
        self._texts: list[int] = []
        heads, bodies, room = [], [], _CHARACTERS
        for place, (type_, scale, _, _) in enumerate(described):
            if type_ in _WIDTHS:
                first, width = _WIDTHS[type_]
                room -= width + 1
                value = f"cast(q.a{place} as {first})" if first else f"q.a{place}"
                heads.append(f"coalesce(cast({value} as varchar({width})), '')")
                self._reads.append((place, _reader(type_, scale)))
        for place, characters in _shortest(described):
            room -= characters + 5
            if room < 0:
                break
            value = f"cast(q.a{place} as varchar({characters}) character set UTF8)"
            heads.append(f"coalesce(cast(char_length({value}) as varchar(4)), '')")
            bodies.append(f"coalesce({value}, '')")
            self._texts.append(place)
        packed = {place for place, _ in self._reads} | set(self._texts)
        self._apart = [place for place in range(len(described)) if place not in packed]
        self._count = len(described)
        self.sql = ""
        if len(packed) >= _FEWEST and len(self._reads) * 20 < _CHARACTERS:
            columns = [" || '\t' || ".join([*heads, "''"]) + "".join(f" || {body}" for body in bodies)]
            columns += [f"q.a{place}" for place in self._apart]
            names = ", ".join(f"a{place}" for place in range(len(described)))
            packed_sql = f"select {', '.join(columns)} from ({sql}) q ({names})"
            self.sql = packed_sql if len(packed_sql) < STATEMENT else ""

    def rows(self, fetched: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """The rows of the SELECT that was given. Raises `DatabaseError` where its texts change as one looks."""
        result: list[tuple[Any, ...]] = []
        for start in range(0, len(fetched), converters.PIECE):
            result += self._rows(fetched[start : start + converters.PIECE])
        return result

    def _rows(self, fetched: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        came = list(zip(*fetched, strict=True))
        fields = len(self._reads) + len(self._texts)
        pieces = list(zip(*(text.split("\t", fields) for text in came[0]), strict=True))
        columns: list[Sequence[Any]] = [()] * self._count
        for (place, read), piece in zip(self._reads, pieces, strict=False):
            columns[place] = read(piece)
        bodies: Sequence[str] = pieces[fields]
        ends: Sequence[int] = [0] * len(bodies)
        for place, lengths in zip(self._texts, pieces[len(self._reads) : fields], strict=True):
            begins, ends = ends, [end + int(length or 0) for end, length in zip(ends, lengths, strict=True)]
            taken = zip(bodies, begins, ends, lengths, strict=True)
            columns[place] = [body[begin:end] if length else None for body, begin, end, length in taken]
        if list(map(len, bodies)) != ends:
            raise errors.DatabaseError("an expression gives another text each time that it is asked for the same row")
        for place, column in zip(self._apart, came[1:], strict=True):
            columns[place] = column
        return list(zip(*columns, strict=True))


def _shortest(described: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Place and characters of texts, the shortest first: most of them find room then."""
    texts = [
        (place, max(1, size // 4))
        for place, (type_, _, subtype, size) in enumerate(described)
        if type_ == _VARYING and subtype & 0xFF == _UTF8
    ]
    return sorted(texts, key=lambda text: text[1])


# -- a column ----------------------------------------------------------------------------------------------------------


def _reader(type_: int, scale: int) -> Read:
    if type_ == 32764:
        return lambda column: list(map(_TRUTH.__getitem__, column))
    if type_ in (560, 510):
        return lambda column: [_moment(text) if text else None for text in column]
    if type_ == 570 or scale < 0:
        return lambda column: [text or None for text in column]
    return _integers


_TRUTH = {"TRUE": True, "FALSE": False, "": None}


def _integers(column: Sequence[str]) -> Sequence[int | None]:
    return [int(text) if text else None for text in column] if "" in column else list(map(int, column))


def _moment(text: str) -> str:
    """`12:30:00.1230` as Python writes it: six digits of a second, or none at all."""
    return text[:-5] if text.endswith(".0000") else f"{text}00"
