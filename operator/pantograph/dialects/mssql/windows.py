"""Windows on SQL Server: an event carries a rowversion, a position says which of those have been seen.

Rowversions are handed out in order, and a transaction that commits late brings low ones late: who asks for those above
the last lost 46 of 100 events of eight writers. MIN_ACTIVE_ROWVERSION() is the lowest that a transaction still holds.
It is asked in a statement of its own BEFORE the snapshot begins (asked after it, 17 of 100 were lost): all below it is
in the snapshot, and nothing comes there any more. Of those above, the snapshot's own events tell what it sees.

Where the database allows no snapshots a window ends below that bound. Nothing is lost either, and rows are read of more
than one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pantograph.dialects.base import Session, WindowReader
from pantograph.dialects.mssql.literals import text
from pantograph.model.changes import NOWHERE, Capture, Pending, Position, Window

if TYPE_CHECKING:
    from pantograph.dialects.mssql.dialect import SQLServer

Range = tuple[int, int]
"""Both ends belong to it."""

MOST_RANGES = 500
"""Of rowversions above the bound; beyond, a window ends at it, and what it lacks waits for the oldest transaction."""
_LISTED = 40
"""Ranges that are a condition each; more are a table of their own in the statement."""

BOUND = "select convert(bigint, min_active_rowversion())"


@dataclass(frozen=True, slots=True)
class Seen:
    """Which rowversions a position has seen: those below `below`, and `beyond`, ranges in order."""

    below: int
    beyond: tuple[Range, ...] = ()

    @classmethod
    def parse(cls, position: str) -> Seen:
        if not position:
            return cls(0)
        below, _, listed = position.partition(":")
        return cls(int(below), tuple(_range(part) for part in listed.split(",") if part))

    def text(self) -> Position:
        listed = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.beyond)
        return Position(f"{self.below}:{listed}")

    def holds(self, number: int) -> bool:
        """Has it seen the event of this number, if there is one?"""
        return number < self.below or any(low <= number <= high for low, high in self.beyond)

    @property
    def newest(self) -> int:
        """Nothing above this was seen."""
        return max([self.below - 1, *(high for _, high in self.beyond)])


def _range(part: str) -> Range:
    low, _, high = part.partition("-")
    return int(low), int(high or low)


def between(since: Seen, until: Seen) -> list[Range]:
    """The rowversions that `until` has seen and `since` has not."""
    fresh = [(since.below, until.below - 1)] if until.below > since.below else []
    fresh += [(max(low, since.below), high) for low, high in until.beyond if high >= since.below]
    return _without(fresh, since.beyond)


def _without(ranges: Iterable[Range], taken: Sequence[Range]) -> list[Range]:
    left: list[Range] = []
    for first, last in ranges:
        low = first
        for start, end in taken:
            if end < low or start > last:
                continue
            if start > low:
                left.append((low, start - 1))
            low = end + 1
        if low <= last:
            left.append((low, last))
    return left


class Reader(WindowReader):
    """Reads windows of one source."""

    dialect: SQLServer

    def __init__(self, dialect: SQLServer, captures: Sequence[Capture]) -> None:
        super().__init__(dialect, captures)
        self._tables = {c.id: dialect.ours(c.event_table) for c in captures}

    def token(self, side: Session) -> str:
        """The database's last rowversion and the lowest that is held; while one is, also what is committed above it.

        While no transaction holds a rowversion and the last one stays the same, nobody has written an event.
        """
        row = side.row("select convert(bigint, @@dbts), convert(bigint, min_active_rowversion())")
        last, bound = int(row[0]), int(row[1])
        if bound > last or not side.raw.snapshot or not self._tables:
            return f"{last} {bound}" if side.raw.snapshot else str(bound)
        above = " union all ".join(
            f"select count_big(*), convert(bigint, max(rv)) from {table} where rv >= {binary(bound)}"
            for table in self._tables.values()
        )
        # Under READ COMMITTED it would wait for those who write.
        side.direct("set transaction isolation level snapshot")
        try:
            found = side.rows(above)
        finally:
            side.direct("set transaction isolation level read committed")
        return f"{last} {bound} {' '.join(f'{count}/{top}' for count, top in found)}"

    def open(self, session: Session, floors: Sequence[Position]) -> Position:
        bound = int(session.row(BOUND)[0])
        # Begins with the first statement that reads, which is the next one.
        session.run("begin transaction")
        beyond = self._above(session, bound) if session.raw.snapshot else []
        # Rows are looked up as the snapshot has them, and those that it changed above the bound are in a later window.
        session.raw.partial = len(beyond) > MOST_RANGES
        return Seen(bound, () if session.raw.partial else tuple(beyond)).text()

    def _above(self, session: Session, bound: int) -> list[Range]:
        """Ranges of the events at and above the bound that the snapshot sees; one more than `MOST_RANGES` at most."""
        if not self._tables:
            return []
        events = " union all ".join(
            f"select convert(bigint, rv) as n from {table} where rv >= {binary(bound)}"
            for table in self._tables.values()
        )
        found = session.rows(
            f"select top ({MOST_RANGES + 1}) min(n), max(n) from (select n, n - dense_rank() over (order by n) "
            f"as island from ({events}) e) i group by island order by 1"
        )
        return [(int(low), int(high)) for low, high in found]

    def stored(self, position: Position, *, brief: bool = False) -> Position:
        if len(position) <= (4 if brief else 256) * 1024:
            return position
        return Seen(Seen.parse(position).below).text()

    def waits_for(self, position: Position) -> frozenset[str]:
        # Only the lowest rowversion that is held is told of, and only where more have been handed out is it held.
        seen = Seen.parse(position)
        return frozenset([str(seen.below)]) if seen.beyond else frozenset()

    def pending(
        self, session: Session, since: Mapping[str, Position], until: Position, limit: int
    ) -> dict[str, tuple[Pending, float]]:
        parts = [
            f"select {text(capture)} as capture, count_big(*) as events, "
            f"datediff_big(millisecond, min(q.at), sysutcdatetime()) as age from (select top ({int(limit)}) at "
            f"from {self._tables[capture]} where {inside(Window(position, until))} order by rv) q"
            for capture, position in since.items()
        ]
        found = session.rows(" union all ".join(parts)) if parts else []
        return {
            capture: (Pending(int(events)), max(0.0, (age or 0) / 1000)) for capture, events, age in found if events
        }

    def keys(
        self,
        capture: Capture,
        window: Window,
        *,
        columns: Sequence[int] = (),
        after: int | None = None,
        limit: int | None = None,
    ) -> tuple[str, dict[str, Any]]:
        picked = self.picked(capture, columns)
        names = ", ".join(f"{column} as {name}" for column, name in picked)
        given = "".join(f" and {column} is not null" for column, _ in picked) if columns else ""
        source = self._tables[capture.id]
        if limit is None:
            condition, params = _bound(window)
            return f"select distinct {names} from {source} where {condition}{given}", params
        page = self._page(source, window, after or 0, limit)
        end = f"select max(q.rv) from ({page}) q"
        condition = f"rv > {binary(after or 0)} and rv <= ({end}) and {inside(window)}"
        return f"select distinct {names} from {source} where {condition}{given}", {}

    def page_end(self, session: Session, capture: Capture, window: Window, after: int, limit: int) -> int | None:
        (end,) = session.row(
            f"select convert(bigint, max(q.rv)) from ({self._page(self._tables[capture.id], window, after, limit)}) q"
        )
        return None if end is None else int(end)

    @staticmethod
    def _page(source: str, window: Window, after: int, limit: int) -> str:
        """Of the next page, the first `limit` rowversions; all events that have one of them belong to it."""
        return f"select top ({int(limit)}) rv from {source} where rv > {binary(after)} and {inside(window)} order by rv"

    def covers(self, position: Position, mark: str, capture: Capture, until: Position = NOWHERE) -> bool:
        if not mark or not position:
            return not mark
        seen, newest = Seen.parse(position), int(mark)
        return all(low > newest for low, _ in between(seen, Seen(newest + 1)))

    def issued(self, session: Session, position: Position) -> bool:
        (last,) = session.row("select convert(bigint, @@dbts)")
        return Seen.parse(position).newest <= int(last)

    def purge(self, session: Session, capture: Capture, floors: Sequence[Position], limit: int) -> int:
        if not floors or "" in floors:
            return 0
        # Below the least of them everybody has seen everything; these rows are committed, and nobody touches them.
        least = min(Seen.parse(floor).below for floor in floors)
        return session.run(
            f"delete top ({int(limit)}) from {self._tables[capture.id]} with (rowlock) where rv < {binary(least)}"
        )

    def expire(self, session: Session, capture: Capture, max_age: float, max_rows: int, limit: int) -> tuple[int, str]:
        events = self._tables[capture.id]
        surplus = self.dialect.event_rows(session, capture) - max_rows
        # Above the bound a row may be somebody's who is still writing: it would be waited for.
        bound = int(session.row(BOUND)[0])
        taken = 0
        for number, (event, old) in enumerate(
            session.rows(
                f"select top ({int(limit)}) convert(bigint, rv), case when at < dateadd(second, {-int(max_age)}, "
                f"sysutcdatetime()) then 1 else 0 end from {events} where rv < {binary(bound)} order by rv"
            )
        ):
            if not old and number >= surplus:
                break
            taken = int(event)
        if not taken:
            return 0, ""
        return session.run(f"delete from {events} with (rowlock) where rv <= {binary(taken)}"), str(taken)


def binary(number: int) -> str:
    """A rowversion as a literal."""
    return f"0x{number:016X}"


def inside(window: Window) -> str:
    """The condition that an event belongs to the window, in literals."""
    return _condition([(binary(low), binary(high)) for low, high in _ranges(window)])


def _bound(window: Window) -> tuple[str, dict[str, Any]]:
    """The same with parameters, where they are few: then the statement's text, and its plan, stay the same."""
    ranges = _ranges(window)
    if len(ranges) > 1:
        return inside(window), {}
    params: dict[str, Any] = {}
    ends = []
    for n, (low, high) in enumerate(ranges):
        params |= {f"w{n}": low, f"x{n}": high}
        ends.append((_cast(f":w{n}"), _cast(f":x{n}")))
    return _condition(ends), params


def _cast(parameter: str) -> str:
    return f"cast(cast({parameter} as bigint) as binary(8))"


def _ranges(window: Window) -> list[Range]:
    return between(Seen.parse(window.since), Seen.parse(window.until))


def _condition(ends: Sequence[tuple[str, str]]) -> str:
    if not ends:
        return "1 = 0"
    if len(ends) > _LISTED:
        # All of it spanned, so that the index is read between the ends only.
        listed = ", ".join(f"({low}, {high})" for low, high in ends)
        return (
            f"rv >= {ends[0][0]} and rv <= {ends[-1][1]} and exists "
            f"(select 1 from (values {listed}) as w (low, high) where rv >= w.low and rv <= w.high)"
        )
    parts = [f"rv >= {low} and rv <= {high}" for low, high in ends]
    return parts[0] if len(parts) == 1 else f"({' or '.join(f'({part})' for part in parts)})"
