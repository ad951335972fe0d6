"""One of the two tables of a comparison: sums over ranges of its rows, and rows of some keys, by hashes.

The server computes the hashes where both can (`Dialect.hashes`), and only columns that the two print unlike are
read as values (`by_value`). Where one of them cannot, rows are read and hashed here, at both ends (`ValueSide`): the
same comparison, at the price of every row's journey.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import verbatim
from pantograph.model.mirrors import Mirror
from pantograph.model.types import Kind, LogicalType
from pantograph.pipeline import steps
from pantograph.pipeline.keys import Key

_MASK = (1 << 64) - 1
_FETCHED_ROWS, _FETCHED_BYTES = 20_000, 8 << 20


@dataclass(frozen=True, slots=True)
class Sum:
    """How many rows a range has, and the sum of their hashes."""

    rows: int = 0
    hashes: int = 0

    def plus(self, other: Sum) -> Sum:
        return Sum(self.rows + other.rows, (self.hashes + other.hashes) & _MASK)


class Side:
    """One of the two tables: a session, and a mirror in which this side is the source.

    by_value: which columns are read, and not hashed by the server.
    """

    def __init__(self, session: Session, mirror: Mirror, by_value: Sequence[int]) -> None:
        self.session, self.dialect, self.mirror = session, session.dialect, mirror
        self.by_value = by_value
        dialect, count = session.dialect, len(mirror.columns)
        self.names = [dialect.quote(name) for name in mirror.capture.key]
        self.hashed = [i for i in range(count) if i not in by_value]
        self.values = [dialect.selected(mirror.columns[i]) for i in by_value]
        self._decoders = [dialect.decode(mirror.columns[i].source_type) for i in by_value]
        self._normal = [normalising(c.source_type, c.destination_type) for c in (mirror.columns[i] for i in by_value)]
        self._key_decoders = [dialect.decode(column.source_type) for column in mirror.key]
        self._encoders = [dialect.encode(column.source_type) for column in mirror.key]
        self._render()

    def _render(self) -> None:
        """The SQL of the hashes."""
        dialect, mirror = self.dialect, self.mirror
        texts = {i: self._text(i, verbatim(mirror.columns[i].expression)) for i in self.hashed}
        self._key_hash = dialect.hashed([texts[i] for i in range(len(mirror.key))])
        self._row_hash = dialect.hashed([texts[i] for i in self.hashed])
        self._column_hashes = [dialect.hashed([texts[i]]) for i in self.hashed]

    def _text(self, index: int, expression: str) -> str:
        column = self.mirror.columns[index]
        here, there = column.source_type, column.destination_type
        text = self.dialect.canonical(expression, here, there)
        return f"rtrim({text})" if _padded(here, there) else text

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """A short read-only transaction, in which statements are sent."""
        with self.session.step(steps.COMPARE):
            try:
                for statement in self.dialect.begin_read:
                    self.session.direct(statement)
                yield
                self.session.commit()
            except BaseException:
                self.session.rollback()
                raise

    def end(self, after: Key, rows: int) -> Key:
        """The key of the `rows`-th row behind `after` in this side's order; () when fewer are left."""
        with self.reading():
            sql = self.dialect.chunk_end(self.mirror, after=bool(after))
            return self.key(self.session.row(sql, skip=rows - 1, **self._bound(after, "a")) or ())

    def key(self, values: Sequence[Any]) -> Key:
        """A key in canonical values, from what the driver yields."""
        pairs = zip(self._key_decoders, values, strict=False)
        return tuple(decode(v) if decode is not None and v is not None else v for decode, v in pairs)

    def _bound(self, key: Key, letter: str) -> dict[str, Any]:
        pairs = zip(self._encoders, key, strict=False)
        return {f"{letter}{i}": encode(v) if encode is not None else v for i, (encode, v) in enumerate(pairs)}

    def _where(self, after: Key, upto: Key, *more: str) -> tuple[str, dict[str, Any]]:
        natives = [column.source_native for column in self.mirror.key]
        conditions = [f"({verbatim(self.mirror.where)})"] if self.mirror.where else []
        # Where a key may be null (SQLite, a unique index), such a row is nobody's: it cannot be found by its key.
        conditions += [f"{name} is not null" for name in self.names]
        for key, letter, render in ((after, "a", self.dialect.beyond), (upto, "b", self.dialect.not_beyond)):
            if key:
                cursor = [self.dialect.typed(f":{letter}{i}", native) for i, native in enumerate(natives)]
                conditions.append(render(self.names, cursor))
        conditions += more
        bound = {**self._bound(after, "a"), **self._bound(upto, "b")}
        return f"from {self.dialect.table(*self.mirror.source)} where {' and '.join(conditions)}", bound

    def sum(self, after: Key, upto: Key) -> Sum:
        """Of the rows behind `after` up to and with `upto`."""
        if self.by_value:
            result = Sum()
            for _, _, row in self.rows(after, upto):
                result = result.plus(Sum(1, row))
            return result
        where, bound = self._where(after, upto)
        with self.reading():
            rows, hashes = self.session.row(f"select count(*), {self.dialect.total(self._row_hash)} {where}", **bound)
        return Sum(int(rows), int(hashes or 0) & _MASK)

    def buckets(self, after: Key, upto: Key, count: int) -> dict[int, Sum]:
        """The same, by the key's hash modulo `count`."""
        result: dict[int, Sum] = {}
        if self.by_value:
            for digest, _, row in self.rows(after, upto):
                bucket = digest % count
                result[bucket] = result.get(bucket, Sum()).plus(Sum(1, row))
            return result
        where, bound = self._where(after, upto)
        with self.reading():
            found = self.session.rows(
                f"select {self._key_hash} % {count} as b, count(*), {self.dialect.total(self._row_hash)} {where} "
                f"group by {self._key_hash} % {count}",
                **bound,
            )
        return {int(b): Sum(int(rows), int(hashes or 0) & _MASK) for b, rows, hashes in found}

    def rows(
        self, after: Key, upto: Key, inside: Collection[int] = (), count: int = 1
    ) -> Iterator[tuple[int, tuple[Any, ...], int]]:
        """(hash of the key, the key as the driver yields it, hash of the row); with `inside` only those of which the
        key's hash is in these buckets of `count`."""
        more = [f"{self._key_hash} % {count} in ({', '.join(map(str, inside))})"] if inside else []
        width = len(self.names)
        keys = [self.dialect.selected(column) for column in self.mirror.key]
        for row in self._fetched([self._key_hash, *keys, self._row_hash, *self.values], after, upto, *more):
            hashed = int(row[width + 1])
            if self.by_value:
                hashed = mixed(hashed, self._normalised(row[width + 2 :]))
            yield int(row[0]), tuple(row[1 : width + 1]), hashed

    def _fetched(self, picked: Sequence[str], after: Key, upto: Key, *more: str) -> Iterator[Any]:
        where, bound = self._where(after, upto, *more)
        columns = ", ".join(f"{sql} as c{i}" for i, sql in enumerate(picked))
        with self.reading():
            for batch in self.session.batches(f"select {columns} {where}", _FETCHED_ROWS, _FETCHED_BYTES, **bound):
                yield from batch

    def _normalised(self, values: Sequence[Any]) -> tuple[str, ...]:
        result = []
        for normal_, decode, value in zip(self._normal, self._decoders, values, strict=True):
            try:
                result.append(normal_(decode(value) if decode is not None and value is not None else value))
            except errors.Rejected:
                # Not of its column's type: whatever it is, the destination cannot hold it.
                result.append(normal_("?"))
        return tuple(result)

    def look_up(self, wanted: Sequence[Key]) -> dict[int, tuple[Any, ...]]:
        """Rows of some keys, by the key's hash: a hash for each column, then the values. Inside a transaction."""
        found = self._looked_up([self._key_hash, *self._column_hashes, *self.values], wanted)
        count = len(self._column_hashes) + 1
        return {int(row[0]): (*map(int, row[1:count]), *self._normalised(row[count:])) for row in found}

    def _looked_up(self, picked: Sequence[str], wanted: Sequence[Key]) -> list[Any]:
        given, params = self.dialect.given_keys(self.session, self.mirror, wanted)
        columns = [f"{name} as j{i}" for i, name in enumerate(self.names)]
        columns += [f"{sql} as x{i}" for i, sql in enumerate(picked)]
        where = f" where ({verbatim(self.mirror.where)})" if self.mirror.where else ""
        joined = " and ".join(f"r.j{i} = {self.dialect.event_key(self.mirror, i)}" for i in range(len(self.names)))
        return self.session.rows(
            f"select {', '.join(f'r.x{i}' for i in range(len(picked)))} from ({given}) e join "
            f"(select {', '.join(columns)} from {self.dialect.table(*self.mirror.source)}{where}) r on {joined}",
            **params,
        )

    def among(self, wanted: Sequence[Key], events: str, params: Mapping[str, Any]) -> set[int]:
        """Hashes of those keys that the SELECT `events` yields as k0, k1, … Inside a transaction."""
        hashed = self.dialect.hashed([self._text(i, f"g.k{i}") for i in range(len(self.names))])
        return {int(row[0]) for row in self._given_among([hashed], wanted, events, params)}

    def _given_among(
        self, picked: Sequence[str], wanted: Sequence[Key], events: str, params: Mapping[str, Any]
    ) -> list[Any]:
        given, values = self.dialect.given_keys(self.session, self.mirror, wanted)
        columns = ", ".join(f"{sql} as h{i}" for i, sql in enumerate(picked))
        joined = " and ".join(f"g.k{i} = e.k{i}" for i in range(len(self.names)))
        return self.session.rows(
            f"select {columns} from ({given}) g join ({events}) e on {joined}", **{**params, **values}
        )

    def differing(self, mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> tuple[str, ...]:
        """Names of the columns (of the destination) in which two rows of `look_up` differ."""
        order = [*self.hashed, *self.by_value]
        differ = {index for index, a, b in zip(order, mine, theirs, strict=True) if a != b}
        return tuple(self.mirror.columns[index].destination for index in sorted(differ))

    def estimated(self) -> int:
        """About how many rows there are."""
        with self.reading():
            return self.dialect.estimated_rows(self.session, *self.mirror.source)


class ValueSide(Side):
    """A side whose rows are read and hashed here, because one of the two servers cannot."""

    def _render(self) -> None:
        self._width = len(self.mirror.key)

    def _digest(self, texts: Sequence[str]) -> int:
        return mixed(0, texts[: self._width])

    def rows(
        self, after: Key, upto: Key, inside: Collection[int] = (), count: int = 1
    ) -> Iterator[tuple[int, tuple[Any, ...], int]]:
        for row in self._fetched(self.values, after, upto):
            texts = self._normalised(row)
            digest = self._digest(texts)
            if not inside or digest % count in inside:
                yield digest, tuple(row[: self._width]), mixed(1, texts)

    def look_up(self, wanted: Sequence[Key]) -> dict[int, tuple[Any, ...]]:
        found = map(self._normalised, self._looked_up(self.values, wanted))
        return {self._digest(texts): texts for texts in found}

    def among(self, wanted: Sequence[Key], events: str, params: Mapping[str, Any]) -> set[int]:
        # As the column has it: what an event keeps may be another form of it, which the driver would yield.
        given = [
            self.dialect.selected(dataclasses.replace(column, expression=self.dialect.event_key(self.mirror, i)))
            for i, column in enumerate(self.mirror.key)
        ]
        found = self._given_among(given, wanted, events, params)
        return {self._digest([n(v) for n, v in zip(self._normal, self.key(row), strict=False)]) for row in found}


def sides(source: Session, target: Session, mirror: Mirror, other: Mirror) -> tuple[type[Side], list[int]]:
    """How the two are compared: by which kind of side, and which columns by value."""
    if all(_hashes(session) for session in (source, target)):
        return Side, by_value(source, target, mirror, other)
    return ValueSide, list(range(len(mirror.columns)))


def _hashes(session: Session) -> bool:
    with session.step(steps.COMPARE):
        return session.dialect.hashes(session)


def by_value(source: Session, target: Session, mirror: Mirror, other: Mirror) -> list[int]:
    """Columns that the two engines cannot hash alike: floats where they print them differently, JSON that one of them
    writes anew, types of one engine."""
    found = []
    for i, (here, there) in enumerate(zip(mirror.columns, other.columns, strict=True)):
        try:
            source.dialect.canonical(here.expression, here.source_type, here.destination_type)
            target.dialect.canonical(there.expression, there.source_type, there.destination_type)
        except NotImplementedError:
            found.append(i)
            continue
        both_json = here.source_type.kind is here.destination_type.kind is Kind.JSON
        if both_json and here.source_type.native != here.destination_type.native:
            found.append(i)
    return found


def normal(value: Any, here: LogicalType, there: LogicalType) -> str:
    """A canonical value as text that is equal where two engines hold the same value, at the coarser precision."""
    return normalising(here, there)(value)


def normalising(here: LogicalType, there: LogicalType) -> Callable[[Any], str]:
    """`normal`, for many values of a column."""
    render = _rendering(here, there)
    return lambda value: "-" if value is None else render(value)


_NUMBERS = (Kind.BOOLEAN, Kind.INTEGER, Kind.DECIMAL)


def _rendering(here: LogicalType, there: LogicalType) -> Callable[[Any], str]:
    kinds = {here.kind, there.kind}
    if kinds == {Kind.TEXT} and _padded(here, there):
        return lambda value: f"={str(value).rstrip(' ')!r}"
    if Kind.TEXT in kinds:
        # The other side holds the canonical text itself.
        return lambda value: f"={str(value)!r}"
    if kinds == {Kind.JSON} and here.native != there.native:
        return _json
    if kinds == {Kind.FLOAT}:
        return _single if 32 in (here.bits, there.bits) else _float
    if kinds <= {Kind.BOOLEAN, Kind.INTEGER}:
        return lambda value: f"={value:d}" if isinstance(value, int) else _plain(value)
    if kinds <= {*_NUMBERS}:
        limited = [t.scale for t in (here, there) if t.kind is Kind.DECIMAL and t.precision]
        places = Decimal(1).scaleb(-min(limited)) if limited else None
        return lambda value: _decimal(value, places)
    if kinds <= {Kind.TIME, Kind.TIMESTAMP}:
        kept = min(here.fraction, there.fraction)
        return lambda value: _moment(str(value), kept)
    if kinds == {Kind.BYTES}:
        return lambda value: (
            f"={bytes(value)!r}" if isinstance(value, bytes | bytearray | memoryview) else _plain(value)
        )
    return _plain


def _padded(here: LogicalType, there: LogicalType) -> bool:
    """A type that pads with blanks, or takes texts for equal that differ in them, may drop them on the way."""
    return here.kind is there.kind is Kind.TEXT and any(t.folding and t.length for t in (here, there))


def _plain(value: Any) -> str:
    return f"={value!r}"


def _float(value: Any) -> str:
    if not isinstance(value, float | int):
        return _plain(value)
    number = float(value)
    # Zero has one sign: not every engine keeps the other.
    return "nan" if number != number else (number + 0.0).hex()


def _single(value: Any) -> str:
    if isinstance(value, float | int) and math.isfinite(value):
        with contextlib.suppress(OverflowError):
            return _float(struct.unpack("f", struct.pack("f", value))[0])
    return _float(value)


_EXACT = Context(prec=200_000)
"""More digits than any engine has."""


def _decimal(value: Any, places: Decimal | None) -> str:
    try:
        number = Decimal(value)
        if places is not None and number.as_tuple().exponent < places.as_tuple().exponent:  # type: ignore[operator]
            number = number.quantize(places, ROUND_HALF_UP, _EXACT)
    except (InvalidOperation, TypeError, ValueError):
        return _plain(value)
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "=0" if text == "-0" else f"={text}"


def _moment(text: str, kept: int) -> str:
    whole, point, digits = text.partition(".")
    return f"={whole}.{digits[:kept].ljust(6, '0')}" if point or ":" in whole else f"={text}"


def _json(value: Any) -> str:
    try:
        parsed = json.loads(value, parse_int=_number, parse_float=_number)
    except (ValueError, TypeError, InvalidOperation, RecursionError):
        return f"={value}"
    return json.dumps(parsed, sort_keys=True, ensure_ascii=True)


def _number(digits: str) -> str:
    # As a text that no string of the document can be taken for.
    number = Decimal(digits)
    return f"\x00{number.normalize() if number else 0}"


def mixed(hashed: int, values: Iterable[str]) -> int:
    """A 64-bit hash of a hash and texts."""
    text = f"{hashed}\x00" + "\x00".join(values)
    return int.from_bytes(hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).digest()[:8], "big")
