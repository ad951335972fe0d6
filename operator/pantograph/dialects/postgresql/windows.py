"""Windows on PostgreSQL: a position is a snapshot, a window is what one snapshot sees and an earlier one did not."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pantograph.dialects.base import Session, WindowReader
from pantograph.dialects.postgresql.capture import PULSE, literal
from pantograph.model.changes import NOWHERE, Capture, Pending, Position, Window

if TYPE_CHECKING:
    from pantograph.dialects.postgresql.dialect import PostgreSQL

# A page's cursor is a place in the event table's file: block and offset, and above them a mark of the file, because
# VACUUM FULL moves rows to another one. 15 + 32 + 16 bits.
_OFFSETS = 1 << 16
_FILE = 1 << 48
_MARK = "mod(cast(pg_relation_filenode(cast({} as regclass)) as bigint), 32767) + 1"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A `pg_snapshot`: which transactions had ended when it was taken."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def ended(self, xid: int) -> bool:
        """Had the transaction ended? `xmax` is one past the last one that had: beyond it some may be running."""
        return xid < self.xmax and xid not in self.running

    def running_below(self, bound: int) -> list[int]:
        """Transactions below `bound` that may be running."""
        return sorted([xid for xid in self.running if xid < bound] + list(range(self.xmax, bound)))


class PostgreSQLWindows(WindowReader):
    """Reads windows of one source."""

    def __init__(self, dialect: PostgreSQL, captures: Sequence[Capture]) -> None:
        super().__init__(dialect, captures)
        self._pulse, self._bound, self._restless = -1, -1, True
        # What `pending` has counted and where `page_end` has cut: both are facts about a window that never grow.
        self._counted: dict[tuple[str, Window], int] = {}
        self._pages: dict[tuple[str, Window, int, int], tuple[int, int]] = {}

    def token(self, side: Session) -> str:
        """The pulse, and the transactions that had begun by then and may still commit.

        The pulse holds the id of the last transaction that noted something. Once that transaction has ended, the same
        value means that nobody has noted anything since (only it could write that value again), and everybody who did
        before has an id below the next one to be given out (`age` tells it without using one up). So what may still
        bring events are the transactions below that bound, and nobody else's traffic changes the token.
        """
        sql = (
            f"select p.last_value, cast(pg_current_snapshot() as text), age(cast('3' as xid)) "
            f"from {self.dialect.ours(PULSE)} p"
        )
        pulse, text, age = execute_prepared(side, sql, (), ())[0]
        snapshot = Snapshot.parse(text)
        if pulse != self._pulse:
            self._pulse, self._bound = pulse, -1
        if self._bound < 0:
            if not snapshot.ended(pulse):
                self._restless = True
                return f"{pulse} {text}"
            self._bound = snapshot.xmax + (age + 3 - snapshot.xmax) % (1 << 32)
        running = snapshot.running_below(self._bound)
        self._restless = bool(running)
        return f"{pulse} {','.join(map(str, running))}"

    @property
    def restless(self) -> bool:
        return self._restless

    def open(self, session: Session, floors: Sequence[Position]) -> Position:
        # Both in one message: what a turn costs is counted in round trips.
        with session.using() as cursor:
            cursor.execute(
                "begin isolation level repeatable read read only; select cast(pg_current_snapshot() as text)"
            )
            return Position(cursor.fetchone()[0])

    def pending(
        self, session: Session, since: Mapping[str, Position], until: Position, limit: int
    ) -> dict[str, tuple[Pending, float]]:
        groups: dict[Position, list[str]] = defaultdict(list)
        for capture_id, position in since.items():
            groups[position].append(capture_id)
        self._counted.clear()
        self._pages.clear()
        found: dict[str, tuple[Pending, float]] = {}
        for position, ids in groups.items():
            window = Window(position, until)
            for capture_id, events, age, truncated in self._count(session, sorted(ids), window, limit):
                if events > limit:
                    truncated = truncated or self._truncated(session, capture_id, window)
                else:
                    self._counted[capture_id, window] = events
                found[capture_id] = (Pending(min(events, limit), truncated), max(0.0, age))
        return found

    def _count(self, session: Session, ids: list[str], window: Window, limit: int) -> Iterator[Any]:
        """(capture id, events up to one more than `limit`, age in seconds, truncated) of those that have any."""
        bounds = _bounds(window)
        # With hundreds of tables nearly all are idle: a bare probe of each index costs a fifth of counting.
        if len(ids) > _COUNTED_AT_ONCE:
            late = [int(xid) for xid in bounds[0].strip("{}").split(",") if xid]
            least = min([int(bounds[1]), *late])
            probes = " union all ".join(
                f"select {literal(i)} where exists (select 1 from {self.dialect.ours(self.captures[i].event_table)} "
                "where xid >= $1)"
                for i in ids
            )
            touched = [row[0] for row in execute_prepared(session, probes, ("xid8",), (str(least),))]
            # One by one while they are few; beyond that in the one statement that is prepared for all of them.
            portions = [[i] for i in touched] if len(touched) <= _COUNTED_AT_ONCE else [ids]
        else:
            portions = [ids]
        for portion in portions:
            sql = " union all ".join(self._counting(self.captures[i]) for i in portion)
            yield from execute_prepared(
                session, sql, ("xid8[]", "xid8", "xid8", "pg_snapshot", "bigint"), (*bounds, limit + 1)
            )

    def _counting(self, capture: Capture) -> str:
        return (
            f"select {literal(capture.id)}, count(*), "
            "cast(extract(epoch from clock_timestamp() - min(e.at)) as double precision), bool_or(e.op = 'T') from "
            f"(select at, op from {self.dialect.ours(capture.event_table)} "
            "where (xid = any ($1) or (xid >= $2 and xid < $3)) and pg_visible_in_snapshot(xid, $4) limit $5) e "
            "having count(*) > 0"
        )

    def _truncated(self, session: Session, capture_id: str, window: Window) -> bool:
        """Was the table truncated by an event beyond those that were counted?"""
        events = self.dialect.ours(self.captures[capture_id].event_table)
        return bool(session.row(f"select exists (select 1 from {events} where op = 'T' and {_inside(window)})")[0])

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
        names = ", ".join(name for _, name in picked)
        taken = ", ".join(f"{column} as {name}" for column, name in picked)
        given = "".join(f" and {column} is not null" for column, _ in picked) if columns else ""
        events = self.dialect.ours(capture.event_table)
        inside = _inside(window)
        if limit is None:
            # The planner knows nothing of how many rows a window has; told so, it looks a few keys up one by one and
            # joins many by a hash. The set of a window's events never grows, so the limit cuts nothing.
            counted = self._counted.get((capture.id, window))
            distinct = f"select distinct {taken} from {events} where {inside} and op <> 'T'{given}"
            if counted is None:
                return distinct, {}
            return f"select {names} from ({distinct}) d cross join {_A_THOUSAND} limit {max(1, counted)}", {}
        page = self._pages.get((capture.id, window, after or 0, limit))
        if page is not None:
            place = f"ctid > {_ctid(page[0])} and ctid <= {_ctid(page[1])}"
            return f"select distinct {taken} from {events} where {place} and {inside} and op <> 'T'{given}", {}
        # Slow, and as right: nobody has asked `page_end` here.
        present = "".join(f" and {name} is not null" for _, name in picked) if columns else ""
        after = after or 0
        start = (
            f"(case when {_MARK.format(literal(events))} = {after // _FILE} then {_ctid(after % _FILE)} "
            "else '(0,0)' end)::tid"
        )
        return (
            f"select distinct {names} from (select op, {taken} from {events} where ctid > {start} "
            f"and {inside} order by ctid limit {limit}) p where op <> 'T'{present}",
            {},
        )

    def page_end(self, session: Session, capture: Capture, window: Window, after: int, limit: int) -> int | None:
        events = self.dialect.ours(capture.event_table)
        # Reading takes a lock, so the file stays the same for the rest of the transaction.
        session.row(f"select 1 from {events} limit 0")
        mark, blocks = session.row(
            f"select {_MARK.format(':events')}, "
            "pg_relation_size(cast(:events as regclass)) / current_setting('block_size')::int",
            events=events,
        )
        mark *= _FILE
        # In another file the place says nothing: read the window again from its start, which harms nobody.
        start = after % _FILE if after - after % _FILE == mark else 0
        place, wanted, block = start, limit, start // _OFFSETS
        end: int | None = None
        while wanted > 0 and block <= blocks:
            # A bounded range of places is read without looking at the rest of the table.
            block = block + max(16, wanted // 64)
            count, last = session.row(
                f"select count(*), max(ctid) from (select ctid from {events} where ctid > {_ctid(place)} "
                f"and ctid < {_ctid(block * _OFFSETS)} and {_inside(window)} order by ctid limit {wanted}) p"
            )
            if count:
                wanted -= count
                end = mark + _place(last)
            place = block * _OFFSETS - 1 if wanted > 0 else place
        if end is None:
            return None
        self._pages[capture.id, window, after, limit] = (start, end % _FILE)
        return end

    def waits_for(self, position: Position) -> frozenset[str]:
        return frozenset(map(str, Snapshot.parse(position).running))

    def covers(self, position: Position, mark: str, capture: Capture, until: Position = NOWHERE) -> bool:
        if not mark or not position:
            return not mark
        seen, bound = Snapshot.parse(position), int(mark)
        if seen.xmin > bound or not until:
            return seen.xmin > bound
        later = Snapshot.parse(until)
        # Beyond what ended between the two there is nothing that `position` lacks.
        return (
            later.xmin >= seen.xmin
            and seen.xmax > bound
            and not any(later.ended(xid) for xid in seen.running if xid <= bound)
        )

    def issued(self, session: Session, position: Position) -> bool:
        now = Snapshot.parse(session.row("select cast(pg_current_snapshot() as text)")[0])
        return Snapshot.parse(position).xmax <= now.xmax

    def purge(self, session: Session, capture: Capture, floors: Sequence[Position], limit: int) -> int:
        if not floors or "" in floors:
            return 0
        # Below the least xmin everybody has seen everything; these rows are committed, and nobody else touches them.
        least = min(Snapshot.parse(floor).xmin for floor in floors)
        events = self.dialect.ours(capture.event_table)
        return session.run(
            f"delete from {events} where ctid = any (array(select ctid from {events} "
            f"where xid < cast(:least as xid8) order by xid limit {int(limit)}))",
            least=str(least),
        )

    def expire(self, session: Session, capture: Capture, max_age: float, max_rows: int, limit: int) -> tuple[int, str]:
        events = self.dialect.ours(capture.event_table)
        surplus = self._surplus(session, events, max_rows, limit)
        taken, mark = session.row(
            f"with oldest as (select ctid, at, row_number() over (order by xid) as n from {events} "
            f"order by xid limit {int(limit)}), "
            f"gone as (delete from {events} where ctid = any (array(select ctid from oldest where n <= {surplus} "
            f"or at < clock_timestamp() - make_interval(secs => {float(max_age)!r}))) returning xid) "
            "select count(*), cast(max(xid) as text) from gone"
        )
        return taken, mark or ""

    def _surplus(self, session: Session, events: str, max_rows: int, limit: int) -> int:
        """How many events are above `max_rows`; not counted where the file is too small to hold so many."""
        # A row is 24 bytes of header, 4 of pointer and at least 24 of columns.
        if session.row("select pg_relation_size(cast(:events as regclass)) / 52", events=events)[0] <= max_rows:
            return 0
        counted = session.row(f"select count(*) from (select 1 from {events} limit {int(max_rows + limit)}) e")[0]
        return max(0, int(counted) - max_rows)


_COUNTED_AT_ONCE = 8

_A_THOUSAND = "regexp_split_to_table('', ' ') thousand"
"""One row, of which the planner thinks that it is a thousand. Without statistics it takes any set of keys for 200 at
most, and would look up all rows of a table one by one; the limit on top brings the guess down to what was counted."""


def _bounds(window: Window) -> tuple[str, str, str, str]:
    """Of a window: transactions that ended in it although they had begun before; from; below; its snapshot."""
    until = Snapshot.parse(window.until)
    if not window.since:
        return "{}", "0", str(until.xmax), window.until
    since = Snapshot.parse(window.since)
    late = sorted(xid for xid in since.running if until.ended(xid))
    return "{" + ",".join(map(str, late)) + "}", str(since.xmax), str(until.xmax), window.until


def _inside(window: Window) -> str:
    """The condition that an event belongs to the window. Two ranges of the index, and the rest is a filter."""
    late, low, high, snapshot = _bounds(window)
    parts = f"(xid >= '{low}' and xid < '{high}')"
    if late != "{}":
        parts = f"(xid = any ('{late}') or {parts})"
    return f"{parts} and pg_visible_in_snapshot(xid, '{snapshot}')"


def _ctid(place: int) -> str:
    return f"'({place // _OFFSETS},{place % _OFFSETS})'"


def _place(ctid: str) -> int:
    block, offset = ctid.strip("()").split(",")
    return int(block) * _OFFSETS + int(offset)


def execute_prepared(session: Session, sql: str, kinds: Sequence[str], values: Sequence[Any]) -> list[Any]:
    """Run a statement that is planned once a session; parameters are `$1`, `$2`, …"""
    raw = session.raw
    name = raw.prepared.get(sql)
    with session.using() as cursor:
        if name is None:
            name = "pantograph_" + hashlib.sha256(sql.encode()).hexdigest()[:16]
            if len(raw.prepared) >= 256:
                # Each holds a plan in the server's memory; sets of captures that were once asked for do not come back.
                cursor.execute("deallocate all")
                raw.prepared.clear()
            types = f"({', '.join(kinds)})" if kinds else ""
            cursor.execute(f"prepare {name}{types} as {sql}")
            raw.prepared[sql] = name
        if values:
            cursor.execute(f"execute {name}({', '.join(['%s'] * len(values))})", tuple(values))
        else:
            cursor.execute(f"execute {name}")
        return list(cursor.fetchall())
