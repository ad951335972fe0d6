"""Rows packed into one parameter, which a block takes apart again at the server.

The driver is Python, and spends ten microseconds on each parameter: with a parameter a value it is busy four fifths of
the time, and rows get in at a seventh of this rate (of 8 columns: 9,000 and 61,000 a second). So many rows go as one
string of bytes, all of the same statement.

A row is a head and a body. The head has for each column a place of fixed width: a scalar as text, or how many bytes a
text or a binary value has; blank where the value is NULL. The body is those values. A double goes as its 53 digits and
their exponent, both integers: the server would round the decimal text of one to a neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pantograph.dialects.firebird import types
from pantograph.model.mirrors import Mapped

ROWS = 500
"""Rows that are looked at together."""
CAPACITY = 32_000
"""Bytes of a parameter, below the 32,765 that a VARCHAR may have."""
LONGEST = 8_000
"""Bytes of a text or a binary value: as many characters of UTF-8, of four bytes each, as a VARCHAR may have."""
STATEMENT = 60_000
"""Characters of a statement, below the 64 KiB that the client library counts up to."""
_WIDTHS = {
    "smallint": 6, "integer": 11, "bigint": 20, "date": 10, "time": 13, "timestamp": 24, "boolean": 5,
    "numeric": 22, "decimal": 22,
}  # fmt: skip
_FLOATS = ("float", "double precision")
_TEXTS = ("char", "varchar", "blob")
_DIGITS, _EXPONENT, _LENGTH = 17, 5, 4
_TRUTH = {True: "true ", False: "false"}

Head = Callable[[Sequence[Any]], list[str] | None]
"""The places of a column's values in the head; None where one of them has no such form."""


class Packing:
    """The statement that takes packed rows into a table, and the rows as its parameters.

    columns: None stands for a column of small integers. Raises nothing; `statement` is "" where a column has a type
    that this knows no form for, and `blocks` None where a value has none: then rows go as parameters of their own.
    """

    def __init__(self, table: str, names: Sequence[str], columns: Sequence[Mapped | None]) -> None:
        self._heads: list[Head] = []
        self._bodies: list[int] = []
        natives = ["smallint" if column is None else column.destination_native for column in columns]
        width, values, reads = 0, [], []
        for place, native in enumerate(natives):
            form = _form(native, width)
            if form is None:
                self.statement = ""
                return
            taken, head, value = form
            width += taken
            self._heads.append(head)
            if types.base_name(native) in _TEXTS:
                n = len(self._bodies)
                self._bodies.append(place)
                reads.append(f"l{n} = {value}; a{n} = :o; o = :o + coalesce(:l{n}, 0);")
                value = _taken(native, f"substring(:d from :a{n} for :l{n})")
            values.append(value)
        declared = "".join(f"declare l{n} int; declare a{n} int; " for n in range(len(self._bodies)))
        statement = (
            f"execute block (d varchar({CAPACITY}) character set octets = ?, n int = ?) as "
            f"declare h int = 1; declare o int; {declared}begin while (:n > 0) do begin "
            f"o = :h + {width}; {' '.join(reads)} "
            f"insert into {table} ({', '.join(names)}) values ({', '.join(values)}); h = :o; n = :n - 1; end end"
        )
        self.statement = statement if len(statement) < STATEMENT else ""

    def blocks(self, rows: Sequence[Sequence[Any]]) -> list[tuple[bytes, int]] | None:
        """Rows, `ROWS` of them at most, as pairs of parameters; None where they have no such form."""
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        try:
            for place in self._bodies:
                columns[place] = [value.encode() if isinstance(value, str) else value for value in columns[place]]
        except UnicodeEncodeError:  # half a character, which the server is to refuse
            return None
        heads = []
        for head, column in zip(self._heads, columns, strict=True):
            places = head(column)
            if places is None:
                return None
            heads.append(places)
        starts = map("".join, zip(*heads, strict=True))
        texts = [[value or b"" for value in columns[place]] for place in self._bodies]
        bodies = map(b"".join, zip(*texts, strict=True)) if texts else (b"" for _ in rows)
        packed = [start.encode() + body for start, body in zip(starts, bodies, strict=True)]
        if max(map(len, packed)) > CAPACITY:
            return None
        return list(_filled(packed))


def _filled(packed: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    taken: list[bytes] = []
    size = 0
    for row in packed:
        if size + len(row) > CAPACITY:
            yield b"".join(taken), len(taken)
            taken, size = [], 0
        taken.append(row)
        size += len(row)
    yield b"".join(taken), len(taken)


# -- a column ----------------------------------------------------------------------------------------------------------


def _form(native: str, at: int) -> tuple[int, Head, str] | None:
    """The width in the head, what fills it, and the value or the length that the block reads out of it."""
    base = types.base_name(native)
    if base in _FLOATS:
        digits, exponent = _read(at, _DIGITS, "bigint"), _read(at + _DIGITS, _EXPONENT, "int")
        return _DIGITS + _EXPONENT, _doubles, f"{digits} * power(2e0, {exponent})"
    if base in _TEXTS:
        return _LENGTH, _lengths, _read(at, _LENGTH, "int")
    if base in _WIDTHS and not types.is_spelled(native):
        width = _WIDTHS[base]
        return width, _booleans if base == "boolean" else _scalars(width), _read(at, width, types.plain(native))
    return None


def _read(at: int, width: int, native: str) -> str:
    return f"cast(nullif(substring(:d from :h + {at} for {width}), x'{'20' * width}') as {native})"


def _taken(native: str, read: str) -> str:
    if types.is_text(native) or "sub_type text" in native.lower() or "sub_type 1" in native.lower():
        return f"cast({read} as varchar({LONGEST}) character set UTF8)"
    return read


def _scalars(width: int) -> Head:
    blank = " " * width

    def head(column: Sequence[Any]) -> list[str] | None:
        if bool in set(map(type, column)):
            column = [int(value) if isinstance(value, bool) else value for value in column]
        places = [blank if value is None else str(value).ljust(width) for value in column]
        # What is not ASCII is no number or date, and would take more bytes than characters.
        fits = max(map(len, places)) == width and all(map(str.isascii, places))
        return places if fits and not any("\0" in place for place in places) else None

    return head


def _booleans(column: Sequence[Any]) -> list[str] | None:
    return ["     " if value is None else _TRUTH[value] for value in column]


def _doubles(column: Sequence[Any]) -> list[str] | None:
    places = []
    for value in column:
        if value is None:
            places.append(" " * (_DIGITS + _EXPONENT))
            continue
        if not isinstance(value, float) or not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
            return None
        fraction, exponent = math.frexp(value)
        # No more digits than there are, or the power alone might be too small for a double.
        digits, exponent = int(fraction * 2**53), exponent - 53
        while digits and not digits & 1:
            digits, exponent = digits >> 1, exponent + 1
        places.append(f"{digits:<{_DIGITS}}{exponent:<{_EXPONENT}}")
    return places


def _lengths(column: Sequence[Any]) -> list[str] | None:
    sizes = [-1 if value is None else len(value) for value in column]
    if max(sizes) > LONGEST:
        return None
    return ["    " if size < 0 else f"{size:<{_LENGTH}}" for size in sizes]
