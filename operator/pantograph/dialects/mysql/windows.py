"""Windows: ids are handed out before their transaction commits, so a position is the highest id and what is open below.

A look at the source, in this order:

1. The snapshot begins, and is asked which ids it shows.
2. Then a connection of the reader's own asks READ UNCOMMITTED which ids are there, committed or not.

An id below the highest that the snapshot does not show is *open*, and what the second question says of it decides how
it ends:

* *held*: its row is there. It becomes visible in a later snapshot (committed), or is gone from a later look and not in
  the snapshot after that look either (rolled back).
* *missed*: nobody has seen a row. It was rolled back before we looked, or it is taken and its row is not in the index
  yet, which lasts microseconds, or as long as the server does not run that writer. Every transaction that was open
  when it was missed is asked whether it has gone on (`Witness`): it has ended, or is between two statements, or has
  written two rows since. When all have, and a look after that finds no row, the id is given up.

A look costs what is new since the look before, not what waits to be read.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pantograph import errors
from pantograph.dialects import base
from pantograph.dialects.mysql import positions
from pantograph.dialects.mysql.positions import Range, Seen
from pantograph.model.changes import NOWHERE, Capture, Pending, Position, Window

if TYPE_CHECKING:
    from pantograph.dialects.mysql.dialect import MySQL

READING_EVERY = 0.2
"""Seconds between readings of INNODB_TRX: its cache is not renewed when it was read less than 0.1 s ago."""

POLL_BROKEN = 2.0
"""Seconds without a look after which polling has not been unbroken."""

SMALL = 2_000
"""Up to so many open ids of a group each is asked for; of a larger one, one that stands for all. The cheap look asks
for so many of all."""

PROGRESS = 2
"""Rows written after which a transaction is not where it was: the row that it was at, and one that it began then."""

LOOK_AGAIN = 1.0
"""Seconds after which open ids are looked for although no commit was noticed: a rollback shows in no counter."""

_MOST_IN_SQL = 400
_NARROW = 8
"""Ranges of up to so many ids are asked for id by id: a list of ids is searched by halving, for any number of them."""
_MOST_IDS = 4_000


@dataclass
class Group:
    """Held ids that one connection had open at one look: of one transaction, so that they end together.

    Where a connection began another transaction between the snapshot and the look, its lowest ids are of the older
    one, which ends first: the lowest id stands for a large group.
    """

    ranges: list[Range]
    absent: list[Range] = field(default_factory=list)

    @property
    def sample(self) -> list[Range]:
        first = self.ranges[0][0]
        return self.ranges if positions.count(self.ranges) <= SMALL else [(first, first)]


@dataclass
class Missed:
    """Ids that nobody has seen, missed at the same look.

    suspects: transactions that were in the middle of a statement at the first trusted reading after the miss, and how
    many rows each had written; without those that were seen to have gone on since. None before that reading.
    acquitted: nobody is left, or polling went on for long enough.
    """

    ranges: list[Range]
    since: float
    polled_since: float
    suspects: dict[str, int] | None = None
    acquitted: bool = False


@dataclass
class Memory:
    """What a reader knows of one capture: every id up to `high` was read, is in a group, or is missed."""

    high: int = 0
    groups: list[Group] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)

    @property
    def seen(self) -> Seen:
        held = [r for group in self.groups for r in group.ranges]
        return Seen(self.high, tuple(positions.merged([*held, *(r for each in self.missed for r in each.ranges)])))


class Reader(base.WindowReader):
    """Windows of one source for one stream."""

    def __init__(
        self, dialect: MySQL, captures: Sequence[Capture], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(dialect, captures)
        self._home = dialect
        self._clock = clock
        self._memory: dict[str, Memory] = {}
        # A table that the statistics take for short is read as a whole, and what a writer has not committed with it.
        self._tables = {c.id: f"{dialect.ours(c.event_table)} force index (primary)" for c in captures}
        self._witness = Witness(dialect)
        self._looked_at = float("-inf")
        # What `token`, called by another thread, knows of the last window.
        self._lock = threading.Lock()
        self._published: dict[str, tuple[Range, ...]] = {}
        self._generation = 0
        self._pace = LOOK_AGAIN

    # -- the cheap look ----------------------------------------------------------------------------------------------

    def token(self, side: base.Session) -> str:
        """How many rows the server was told to write since its start; and, while ids are open, what became of them.

        Why equal tokens mean that nothing new was committed: an event that a window did not see is, at that window, in
        one of two places. Either its id was open: then the token asks whether it is visible now. Or its row was not in
        the index yet: then it is written after the token that was taken before the window, and the server counts a
        write before the writer can commit it.
        """
        with self._lock:
            open_, generation, pace = self._published, self._generation, self._pace
        ((_, written),) = side.rows(f"show global status where variable_name = '{self._home.variant.writes}'")
        if not open_:
            return f"{generation}/{written}"
        # The side session is in autocommit and READ COMMITTED: each statement sees what is committed now.
        visible = [
            f"{capture}={count}"
            for capture, ranges in sorted(open_.items())
            if (count := _Shows(_asking(side), self._tables[capture]).count(ranges))
        ]
        return f"{generation}/{written}/{','.join(visible)}/{int(self._clock() / pace)}"

    def waits_for(self, position: Position) -> frozenset[str]:
        # Ids of one transaction may be in several ranges: what stands for it is where each begins.
        return frozenset(f"{c}:{low}" for c, seen in positions.parse(position).items() for low, _ in seen.open)

    def unresolved(self) -> tuple[int, float]:
        """How many ids are missed, neither seen nor given up, and for how many seconds the oldest of them has been."""
        missed = [each for memory in list(self._memory.values()) for each in list(memory.missed)]
        if not missed:
            return 0, 0.0
        return sum(positions.count(each.ranges) for each in missed), self._clock() - min(each.since for each in missed)

    def close(self) -> None:
        """Close the reader's own connection."""
        self._witness.close()

    def _publish(self) -> None:
        open_: dict[str, tuple[Range, ...]] = {}
        waiting = False
        for capture, memory in self._memory.items():
            waiting = waiting or bool(memory.missed) or any(group.absent for group in memory.groups)
            wanted = [r for group in memory.groups for r in group.sample]
            wanted += [r for each in memory.missed for r in each.ranges]
            asked = positions.first(positions.merged(wanted), SMALL)
            # What is not asked for is looked for at the pace of what is waited for.
            waiting = waiting or positions.count(asked) < positions.count(wanted)
            if asked:
                open_[capture] = tuple(asked)
        with self._lock:
            self._pace = READING_EVERY if waiting else LOOK_AGAIN
            if open_ != self._published:
                self._published, self._generation = open_, self._generation + 1

    # -- windows -----------------------------------------------------------------------------------------------------

    def open(self, session: base.Session, floors: Sequence[Position]) -> Position:
        self._recall(floors)
        now = self._clock()
        try:
            self._acquit(session, now)
            session.direct("start transaction with consistent snapshot, read only")
            shown = self._above(session)
            self._settle(session, now)
            watch = self._witness.raw()
            there = self._tops(watch)
            for capture, memory in self._memory.items():
                self._advance(session, watch, capture, memory, shown.get(capture), there.get(capture, 0), now)
                self._watch_groups(watch, capture, memory)
        except BaseException:
            # A look that failed is not one: polling was broken here.
            self._looked_at = float("-inf")
            raise
        self._looked_at = now
        self._publish()
        return positions.render({capture: memory.seen for capture, memory in self._memory.items()})

    def _recall(self, floors: Sequence[Position]) -> None:
        """The first time, begin at the lowest of the floors. What was open there is missed for us: who has begun anew
        has seen nothing."""
        parsed = [positions.parse(floor) for floor in floors]
        now = self._clock()
        for capture in self.captures:
            if capture in self._memory:
                continue
            seens = [each.get(capture, Seen()) for each in parsed] or [Seen()]
            high = min(each.high for each in seens)
            still = positions.merged((low, min(top, high)) for each in seens for low, top in each.open if low <= high)
            self._memory[capture] = Memory(high, [], [Missed(still, now, now)] if still else [])

    def _above(self, session: base.Session) -> dict[str, tuple[int, int]]:
        """How many ids above the known ones the snapshot shows, and the highest of them."""
        parts = [
            f"select '{capture}', count(*), max(id) from {self._tables[capture]} where id > {memory.high}"
            for capture, memory in self._memory.items()
        ]
        found = _asking(session)(" union all ".join(parts)) if parts else []
        return {capture: (count, top) for capture, count, top in found if count}

    def _tops(self, watch: _Query) -> dict[str, int]:
        """The highest id of each event table, committed or not."""
        parts = [f"select '{capture}', max(id) from {table}" for capture, table in self._tables.items()]
        return {capture: top for capture, top in (watch(" union all ".join(parts)) if parts else []) if top}

    def _settle(self, session: base.Session, now: float) -> None:
        """Take out of the open ids what this snapshot shows, then what was known to be over before it began."""
        for capture, memory in self._memory.items():
            # Of all at once: every statement waits for its turn on a server that is busy.
            shows = _Shows(_asking(session), self._tables[capture])
            asked = [*_samples(memory), *(r for each in memory.missed for r in each.ranges)]
            shown = shows.ranges(positions.merged(asked))
            ended = [group for group in memory.groups if group.absent or positions.common(group.sample, shown)]
            if large := [r for group in ended if group.sample != group.ranges for r in group.ranges]:
                shown = positions.merged([*shown, *shows.ranges(positions.merged(large))])
            for group in ended:
                left = positions.without(group.ranges, shown)
                group.ranges, group.absent = positions.without(left, group.absent), []
            memory.groups = [group for group in memory.groups if group.ranges]
            for each in memory.missed:
                each.ranges = positions.without(each.ranges, shown)
            memory.missed = [each for each in memory.missed if each.ranges]

    def _advance(
        self,
        session: base.Session,
        watch: _Query,
        capture: str,
        memory: Memory,
        shown: tuple[int, int] | None,
        there: int,
        now: float,
    ) -> None:
        """Go on to the highest id that either look has seen; what the snapshot does not show below it is open."""
        count, top = shown or (0, 0)
        high = max(memory.high, top, there)
        fresh: list[Range] = []
        if high - memory.high > count:
            fresh = [(memory.high + 1, high)]
            if count:
                fresh = positions.without(fresh, _Shows(_asking(session), self._tables[capture]).islands(fresh))
        wanted = positions.merged([*fresh, *(r for each in memory.missed for r in each.ranges)])
        if wanted:
            held = self._held(watch, capture, wanted)
            memory.groups += [Group(ranges) for ranges in held]
            seen = positions.merged(r for ranges in held for r in ranges)
            for each in memory.missed:
                each.ranges = [] if each.acquitted else positions.without(each.ranges, seen)
            missed = positions.without(fresh, seen)
            memory.missed = [each for each in memory.missed if each.ranges]
            memory.missed += [Missed(missed, now, now)] if missed else []
        memory.high = high

    def _held(self, watch: _Query, capture: str, wanted: Sequence[Range]) -> list[list[Range]]:
        """Which of the ids have a row, by the connection that wrote it."""
        found: dict[int, list[Range]] = {}
        for ids in _lists(wanted):
            for conn, one in watch(f"select conn, id from {self._tables[capture]} where {ids} order by id"):
                found.setdefault(conn, []).append((one, one))
        for condition in _wide(wanted):
            for conn, low, high in watch(
                "select conn, min(id), max(id) from (select id, conn, "
                f"id - row_number() over (partition by conn order by id) as island from {self._tables[capture]} "
                f"where {condition}) t group by conn, island"
            ):
                found.setdefault(conn, []).append((low, high))
        groups = [positions.common(positions.merged(ranges), wanted) for ranges in found.values()]
        return [ranges for ranges in groups if ranges]

    def _watch_groups(self, watch: _Query, capture: str, memory: Memory) -> None:
        """Note which held ids have no row any more; the next snapshot, begun after this, decides."""
        shows = _Shows(watch, self._tables[capture])
        there = shows.ranges(_samples(memory))
        for group in memory.groups:
            if positions.without(group.sample, there):
                group.absent = positions.without(group.ranges, shows.ranges(group.ranges))

    # -- giving up ---------------------------------------------------------------------------------------------------

    def _acquit(self, session: base.Session, now: float) -> None:
        """Before the snapshot: of which missed ids is it known by now that nobody is about to write their rows?"""
        missed = [each for memory in self._memory.values() for each in memory.missed]
        if now - self._looked_at > POLL_BROKEN:
            for each in missed:
                each.polled_since = now
        if not missed:
            return
        if self._witness.may_read:
            running = self._witness.reading(now)
            if running is None:
                return
            for each in missed:
                before = running if each.suspects is None else each.suspects
                each.suspects = {
                    trx: rows for trx, rows in before.items() if trx in running and running[trx] < rows + PROGRESS
                }
                each.acquitted = not each.suspects
        if not self._witness.may_read:
            limit = 2 * self._witness.lock_wait_timeout(session)
            for each in missed:
                each.acquitted = now - each.polled_since > limit

    def stored(self, position: Position, *, brief: bool = False) -> Position:
        return positions.stored(position, positions.BRIEF_BYTES if brief else positions.MOST_BYTES)

    # -- reading a window --------------------------------------------------------------------------------------------

    def pending(
        self, session: base.Session, since: Mapping[str, Position], until: Position, limit: int
    ) -> dict[str, tuple[Pending, float]]:
        upto = positions.parse(until)
        froms: dict[Position, Mapping[str, Seen]] = {each: positions.parse(each) for each in set(since.values())}
        parts = []
        for capture, position in since.items():
            ranges = positions.between(froms[position].get(capture, Seen()), upto.get(capture, Seen()))
            if ranges:
                parts.append(
                    f"select '{capture}', count(*), timestampdiff(microsecond, min(at), utc_timestamp(6)) from "
                    f"(select at from {self._tables[capture]} where {_within(ranges)} order by id limit {limit}) t"
                )
        found = _asking(session)(" union all ".join(parts)) if parts else []
        return {capture: (Pending(count), max(0.0, (age or 0) / 1e6)) for capture, count, age in found if count}

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
        ranges = positions.fewer(self._ranges(capture, window), _MOST_IN_SQL)
        # Numbers as parameters while they are few, so that the statement's text is the same from window to window.
        params: dict[str, Any] = {}
        parts = []
        for n, (low, high) in enumerate(ranges):
            params |= {f"w{n}": low, f"x{n}": high}
            parts.append(f"id between :w{n} and :x{n}")
        condition = f"({' or '.join(parts)})" if 0 < len(parts) <= 4 else _within(ranges)
        params = params if 0 < len(parts) <= 4 else {}
        table = self._tables[capture.id]
        given = " and ".join(f"{name} is not null" for _, name in picked) if columns else "true"
        if limit is None:
            return (
                f"select distinct {names} from (select {taken} from {table} where {condition}) p where {given}",
                params,
            )
        return (
            f"select distinct {names} from (select {taken} from {table} where {condition} and id > :after "
            f"order by id limit :page) p where {given}",
            {**params, "after": after or 0, "page": limit},
        )

    def page_end(self, session: base.Session, capture: Capture, window: Window, after: int, limit: int) -> int | None:
        ((last,),) = _asking(session)(
            f"select max(id) from (select id from {self._tables[capture.id]} "
            f"where {_within(self._ranges(capture, window))} and id > {after} order by id limit {limit}) p"
        )
        return None if last is None else int(last)

    def _ranges(self, capture: Capture, window: Window) -> list[Range]:
        since = positions.parse(window.since).get(capture.id, Seen())
        return positions.between(since, positions.parse(window.until).get(capture.id, Seen()))

    # -- retention ---------------------------------------------------------------------------------------------------

    def covers(self, position: Position, mark: str, capture: Capture, until: Position = NOWHERE) -> bool:
        if not mark:
            return True
        seen = positions.parse(position).get(capture.id, Seen())
        if until:
            unread = positions.between(seen, positions.parse(until).get(capture.id, Seen()))
            return seen.high >= int(mark) and (not unread or unread[0][0] > int(mark))
        return seen.high >= int(mark) and not (seen.open and seen.open[0][0] <= int(mark))

    def issued(self, session: base.Session, position: Position) -> bool:
        wanted = {c: seen.high for c, seen in positions.parse(position).items() if c in self.captures and seen.high}
        if not wanted:
            return True
        parts, params = [], {"home": self._home.home_name}
        for i, capture in enumerate(wanted):
            params[f"t{i}"] = self.captures[capture].event_table
            parts.append(
                f"select '{capture}', auto_increment from information_schema.tables "
                f"where table_schema = :home and table_name = :t{i}"
            )
        next_ids = dict(session.rows(" union all ".join(parts), **params))
        return all((next_ids.get(capture) or 0) > high for capture, high in wanted.items())

    def purge(self, session: base.Session, capture: Capture, floors: Sequence[Position], limit: int) -> int:
        read = positions.all_read([positions.parse(floor).get(capture.id, Seen()) for floor in floors])
        if not read:
            return 0
        condition = _within(positions.fewer(read, 1) if len(read) > _MOST_IN_SQL else read)
        # The very last event stays; see `expire`.
        ((top,),) = self._witness.raw()(f"select max(id) from {self._tables[capture.id]}")
        ids = [row for row in self._oldest(session, capture, condition, limit) if row < (top or 0)]
        if len(read) > _MOST_IN_SQL:
            ids = [row for row in ids if positions.common([(row, row)], read)]
        return self._delete(session, capture, ids)

    def expire(
        self, session: base.Session, capture: Capture, max_age: float, max_rows: int, limit: int
    ) -> tuple[int, str]:
        table, watch = self._tables[capture.id], self._witness.raw()
        # Committed or not: a consistent read would go through millions of rows of an open transaction and find none.
        # In the order of ids, which is nearly that of time, so that a look at a table with nothing to expire is short.
        oldest = watch(
            f"select id, at < utc_timestamp(6) - interval {float(max_age)} second "
            f"from {table} order by id limit {limit}"
        )
        ((top,),) = watch(f"select max(id) from {table}")
        # The very last event stays: a position that begins now must be seen to lie beyond what was taken.
        wanted = [row for row, old in oldest if row < (top or 0) and (old or row <= (top or 0) - max_rows)]
        shown = _Shows(_asking(session), table).ranges([(row, row) for row in wanted])
        ids = [row for low, high in shown for row in range(low, high + 1)]
        return self._delete(session, capture, ids), str(ids[-1]) if ids else ""

    def _oldest(self, session: base.Session, capture: Capture, condition: str, limit: int) -> list[int]:
        return [
            row[0]
            for row in _asking(session)(
                f"select id from {self._tables[capture.id]} where {condition} order by id limit {limit}"
            )
        ]

    def _delete(self, session: base.Session, capture: Capture, ids: Sequence[int]) -> int:
        """Delete by key, one by one within a statement.

        `where id in (…)` is planned as a scan of a short table, and waits for rows that writers have not committed.
        """
        deleted = 0
        for i in range(0, len(ids), 500):
            listed = " union all ".join(f"select {each} as id" for each in ids[i : i + 500])
            deleted += session.direct(
                f"delete d from ({listed}) x straight_join {self._home.ours(capture.event_table)} d on d.id = x.id"
            )
        return deleted


def _samples(memory: Memory) -> list[Range]:
    return positions.merged(r for group in memory.groups for r in group.sample)


_Query = Callable[[str], Sequence[Any]]


def _asking(session: base.Session) -> _Query:
    """Ask with a text that is never the same again: it is nothing to parse for parameters, or to remember."""

    def ask(sql: str) -> Sequence[Any]:
        with session.using() as cursor:
            cursor.execute(sql)
            rows: Sequence[Any] = cursor.fetchall()
            return rows

    return ask


class _Shows:
    """Which of given ids a session sees in an event table."""

    def __init__(self, query: _Query, table: str) -> None:
        self._query, self._table = query, table

    def ranges(self, wanted: Sequence[Range]) -> list[Range]:
        found = [
            (one, one) for ids in _lists(wanted) for (one,) in self._query(f"select id from {self._table} where {ids}")
        ]
        wide = [r for r in wanted if _is_wide(r)]
        if wide:
            few = positions.fewer(wide, _MOST_IN_SQL)
            ((count,),) = self._query(f"select count(*) from {self._table} where {_within(few)}")
            if count == positions.count(few):
                found += wide
            elif count:
                found += positions.common(self.islands(few), wide)
        return positions.merged(found)

    def count(self, wanted: Sequence[Range]) -> int:
        """How many of the ids, exactly; for few ids."""
        conditions = [*_lists(wanted), *_wide(wanted)]
        parts = [f"select count(*) from {self._table} where {condition}" for condition in conditions]
        return sum(count for (count,) in self._query(" union all ".join(parts))) if parts else 0

    def islands(self, wanted: Sequence[Range]) -> list[Range]:
        return [
            (low, high)
            for low, high in self._query(
                f"select min(id), max(id) from (select id, id - row_number() over (order by id) as island "
                f"from {self._table} where {_within(wanted)}) t group by island order by 1"
            )
        ]


def _is_wide(given: Range) -> bool:
    return given[1] - given[0] >= _NARROW


def _lists(ranges: Sequence[Range]) -> Iterator[str]:
    """Conditions that are true for exactly the ids of the narrow ones among the ranges."""
    ids = [str(one) for low, high in ranges if not _is_wide((low, high)) for one in range(low, high + 1)]
    for i in range(0, len(ids), _MOST_IDS):
        yield f"id in ({','.join(ids[i : i + _MOST_IDS])})"


def _wide(ranges: Sequence[Range]) -> Iterator[str]:
    """A condition that is true for the ids of the wide ones among the ranges, and for no more than a few beside."""
    wide = [each for each in ranges if _is_wide(each)]
    if wide:
        yield _within(wide)


def _within(ranges: Sequence[Range]) -> str:
    """A condition that is true for the ids of at most so many ranges, and for no more than a few others beside.

    The server evaluates it for every row that it finds, so that it is a tree: for 400 ranges nine comparisons, not 800.
    """
    few = positions.fewer(ranges, _MOST_IN_SQL)
    return _tree(few) if few else "false"


def _tree(ranges: Sequence[Range]) -> str:
    if len(ranges) <= 2:
        parts = [f"id = {low}" if low == high else f"id between {low} and {high}" for low, high in ranges]
        return f"({' or '.join(parts)})"
    middle = len(ranges) // 2
    low, high = _tree(ranges[:middle]), _tree(ranges[middle:])
    return f"((id < {ranges[middle][0]} and {low}) or (id >= {ranges[middle][0]} and {high}))"


class Witness:
    """The reader's own connection: sees what is not committed, and which transactions are open.

    A reading of INNODB_TRX counts only when it lists this very reading: the statement carries a number that no other
    has, and the transaction that runs it was begun for it. A reading from the cache, which fast readers keep from being
    renewed, does not have it.
    """

    def __init__(self, dialect: MySQL) -> None:
        self._dialect = dialect
        self._raw: Any = None
        self._read_at = float("-inf")
        self._timeout = 0.0
        self.may_read = True

    def raw(self) -> _Query:
        if self._raw is None:
            raw = self._dialect.connect(base.Role.SIDE, 10.0)
            with raw.cursor() as cursor:
                cursor.execute("set session transaction isolation level read uncommitted")
            self._raw = raw
        return self._query

    def close(self) -> None:
        if self._raw is not None:
            with contextlib.suppress(Exception):
                self._raw.close()
            self._raw = None

    def reading(self, now: float) -> dict[str, int] | None:
        """The transactions that have written and are in the middle of a statement, and how many rows each has written;
        None without a reading that counts."""
        if now - self._read_at < READING_EVERY:
            return None
        self._read_at = now
        query, nonce = self.raw(), uuid.uuid4().hex
        query("set transaction isolation level repeatable read")
        query("start transaction with consistent snapshot, read only")
        try:
            rows = query(
                f"select /* {nonce} */ trx_id, trx_query, trx_mysql_thread_id = connection_id(), trx_rows_modified "
                "from information_schema.innodb_trx"
            )
        except errors.Refused:
            self.may_read = False
            return None
        finally:
            query("rollback")
        if not any(mine and nonce in str(text or "") for _, text, mine, _ in rows):
            return None
        # Who holds an event's id has written the row that the event is about: it has a number of its own. Its trigger
        # runs within a statement, which shows.
        return {str(trx): written for trx, text, mine, written in rows if not mine and str(trx) != "0" and text}

    def lock_wait_timeout(self, session: base.Session) -> float:
        if not self._timeout:
            (self._timeout,) = session.row("select @@global.innodb_lock_wait_timeout")
        return float(self._timeout)

    def _query(self, sql: str) -> Sequence[Any]:
        try:
            with self._raw.cursor() as cursor:
                cursor.execute(sql)
                rows: Sequence[Any] = cursor.fetchall()
                return rows
        except Exception as error:
            ours = self._dialect.translate(error)
            if ours is None:
                raise
            if isinstance(ours, errors.Unreachable):
                self.close()
            raise ours from error
