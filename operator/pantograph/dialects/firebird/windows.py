"""Windows on Firebird: an event carries the number of its transaction, a position says which of those have been seen.

The server lists the transactions that are active at a moment. That is asked BEFORE the snapshot begins (asked after it,
hundreds of events were lost in a stress of 20,000): all that had ended by then is in the snapshot. Of those that were
active then, and of those that began since, the snapshot's own events tell whether it sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pantograph.dialects.base import Session, WindowReader
from pantograph.dialects.firebird import connections
from pantograph.dialects.firebird.capture import NUMBERS
from pantograph.dialects.firebird.identifiers import text
from pantograph.model.changes import NOWHERE, Capture, Pending, Position, Window

if TYPE_CHECKING:
    from pantograph.dialects.firebird.dialect import Firebird

_TABLES_AT_ONCE = 50
"""Tables in one statement; the server takes 255 contexts."""
_LISTED = 1000
"""Numbers in one list; the server takes 1,500."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Which transactions a position has seen: those below `next` but for `open`, and `beyond`."""

    next: int
    open: tuple[int, ...] = ()
    beyond: tuple[int, ...] = ()

    @classmethod
    def parse(cls, position: str) -> Seen:
        if not position:
            return cls(0)
        number, running, beyond = position.split(":")
        return cls(int(number), _numbers(running), _numbers(beyond))

    def text(self) -> Position:
        return Position(f"{self.next}:{','.join(map(str, self.open))}:{','.join(map(str, self.beyond))}")

    def holds(self, number: int) -> bool:
        """Has it seen the transaction's events, if it left any?"""
        return number in self.beyond if number >= self.next else number not in self.open

    @property
    def whole_below(self) -> int:
        """Below this, everything has been seen."""
        return min([self.next, *self.open])


def _numbers(listed: str) -> tuple[int, ...]:
    return tuple(int(number) for number in listed.split(",") if number)


def running(raw: connections.Connection) -> Seen:
    """Which transactions have ended, now, as far as the server says it in one answer."""
    found, cut = raw.info(connections.NEXT, connections.ACTIVE, connections.LIMBO)
    if cut:
        # More than the answer holds: all from the oldest one on count as open.
        oldest, _ = raw.info(connections.OLDEST_ACTIVE)
        return Seen(oldest[connections.OLDEST_ACTIVE][0])
    # It is the newest number that was given out, told before the others are looked at.
    (newest,) = found[connections.NEXT]
    both = {*found[connections.ACTIVE], *found[connections.LIMBO]}
    return Seen(newest + 1, tuple(sorted(x for x in both if x <= newest)))


class Reader(WindowReader):
    """Reads windows of one source."""

    dialect: Firebird

    def __init__(self, dialect: Firebird, captures: Sequence[Capture]) -> None:
        super().__init__(dialect, captures)
        self._number, self._bound = -1, 0
        self._waiting: tuple[int, ...] | None = None

    def token(self, side: Session) -> str:
        """The newest event's number, and the transactions that had begun by then and may still commit.

        All events are numbered by one sequence, which moves at once and not with the commit. While it stands still,
        only those that were running when it was last seen to move can bring events.
        """
        (number,) = side.row(f"select gen_id({self.dialect.ours(NUMBERS)}, 0) from rdb$database")
        if number != self._number:
            self._number, self._waiting = number, None
        if self._waiting is None:
            now = running(side.raw)
            self._bound, self._waiting = now.next, now.open
        elif self._waiting:
            now = running(side.raw)
            self._waiting = tuple(x for x in self._waiting if not now.holds(x))
        return f"{number} {self._bound} {','.join(map(str, self._waiting))}"

    def open(self, session: Session, floors: Sequence[Position]) -> Position:
        before = running(session.raw)
        session.run(connections.BEGIN_READ)
        captures = list(self.captures.values())
        beyond: set[int] = set()
        condition = _either([f"x >= {before.next}", *_in("x", before.open)])
        for part in _parts(captures):
            sql = " union ".join(f"select x from {self.dialect.ours(c.event_table)} where {condition}" for c in part)
            beyond |= {int(row[0]) for row in session.rows(sql)}
        return Seen(
            before.next,
            tuple(x for x in before.open if x not in beyond),
            tuple(sorted(x for x in beyond if x >= before.next)),
        ).text()

    def waits_for(self, position: Position) -> frozenset[str]:
        return frozenset(map(str, Seen.parse(position).open))

    def stored(self, position: Position, *, brief: bool = False) -> Position:
        if len(position) <= (4 if brief else 256) * 1024:
            return position
        return Seen(Seen.parse(position).whole_below).text()

    def pending(
        self, session: Session, since: Mapping[str, Position], until: Position, limit: int
    ) -> dict[str, tuple[Pending, float]]:
        found: dict[str, tuple[Pending, float]] = {}
        for part in _parts([self.captures[capture_id] for capture_id in since]):
            counted = " union all ".join(
                f"select cast({text(capture.id)} as varchar(32)) as capture, count(*) as events, "
                "cast(datediff(millisecond from min(q.noted) to cast('NOW' as timestamp)) as double precision) / 1000 "
                f"as age from (select first {int(limit)} noted from {self.dialect.ours(capture.event_table)} "
                f"where {_inside(Window(since[capture.id], until))}) q"
                for capture in part
            )
            for capture_id, events, age in session.rows(counted):
                if events:
                    found[capture_id.strip()] = (Pending(int(events)), max(0.0, float(age)))
        return found

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
        source = self.dialect.ours(capture.event_table)
        inside = _inside(window)
        if limit is None:
            return f"select distinct {names} from {source} where {inside}{given}", {}
        page = (
            f"select first {int(limit)} p.* from {source} p where p.id > {int(after or 0)} and {inside} order by p.id"
        )
        return f"select distinct {names} from ({page}) q where 1 = 1{given}", {}

    def page_end(self, session: Session, capture: Capture, window: Window, after: int, limit: int) -> int | None:
        (end,) = session.row(
            f"select max(q.id) from (select first {int(limit)} id from {self.dialect.ours(capture.event_table)} "
            f"where id > {int(after)} and {_inside(window)} order by id) q"
        )
        return None if end is None else int(end)

    def covers(self, position: Position, mark: str, capture: Capture, until: Position = NOWHERE) -> bool:
        if not mark or not position:
            return not mark
        seen, newest = Seen.parse(position), int(mark)
        if seen.whole_below > newest or not until:
            return seen.whole_below > newest
        later = Seen.parse(until)
        # Beyond what ended between the two there is nothing that `position` lacks.
        return seen.next > newest and not any(later.holds(x) for x in seen.open if x <= newest)

    def issued(self, session: Session, position: Position) -> bool:
        found, _ = session.raw.info(connections.NEXT)
        seen = Seen.parse(position)
        return bool(max([seen.next, *seen.beyond]) <= found[connections.NEXT][0] + 1)

    def purge(self, session: Session, capture: Capture, floors: Sequence[Position], limit: int) -> int:
        if not floors or "" in floors:
            return 0
        # Below the least of them everybody has seen everything; these rows are committed, and nobody touches them.
        least = min(Seen.parse(floor).whole_below for floor in floors)
        return session.run(
            f"delete from {self.dialect.ours(capture.event_table)} where x < {least} order by x rows {int(limit)}"
        )

    def expire(self, session: Session, capture: Capture, max_age: float, max_rows: int, limit: int) -> tuple[int, str]:
        events = self.dialect.ours(capture.event_table)
        surplus = self._surplus(session, events, max_rows, limit)
        oldest = session.rows(
            f"select first {int(limit)} id, x, case when noted < dateadd(millisecond, {-int(max_age * 1000)}, "
            f"current_timestamp) then 1 else 0 end from {events} order by id"
        )
        taken = []
        for number, (event, transaction, old) in enumerate(oldest):
            if not old and number >= surplus:
                break
            taken.append((event, transaction))
        if not taken:
            return 0, ""
        newest = max(transaction for _, transaction in taken)
        # With the bound on x, what is committed in between is only taken where the mark says so.
        count = session.run(f"delete from {events} where id <= {taken[-1][0]} and x <= {newest}")
        return count, str(newest)

    def _surplus(self, session: Session, events: str, max_rows: int, limit: int) -> int:
        """How many events are above `max_rows`; not counted where their numbers leave no room for so many."""
        first, last = session.row(f"select min(id), (select max(id) from {events}) from {events}")
        if first is None or last - first < max_rows:
            return 0
        (count,) = session.row(f"select count(*) from (select first {int(max_rows + limit)} 1 as one from {events}) q")
        return max(0, int(count) - max_rows)


def _inside(window: Window) -> str:
    """The condition that an event belongs to the window: two ranges of the index on x, the rest is a filter."""
    since, until = Seen.parse(window.since), Seen.parse(window.until)
    single = [x for x in (*since.open, *until.beyond) if until.holds(x) and not since.holds(x)]
    out = [x for x in (*since.beyond, *until.open) if since.next <= x < until.next]
    spanned = f"x >= {since.next} and x < {until.next}"
    spanned += "".join(f" and not {listed}" for listed in _in("x", out))
    return _either([f"({spanned})", *_in("x", single)])


def _in(name: str, numbers: Sequence[int]) -> list[str]:
    ordered = sorted(set(numbers))
    return [
        f"{name} in ({', '.join(map(str, ordered[start : start + _LISTED]))})"
        for start in range(0, len(ordered), _LISTED)
    ]


def _either(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' or '.join(conditions)})"


def _parts(captures: Sequence[Capture]) -> Iterator[Sequence[Capture]]:
    for start in range(0, len(captures), _TABLES_AT_ONCE):
        yield captures[start : start + _TABLES_AT_ONCE]
