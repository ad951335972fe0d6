"""Compare a Reflection's source and destination while both are live: no pause, no false alarm, little memory.

Both databases compute, over short ranges of keys, how many rows there are and the sum of the rows' hashes. Only where
these differ are keys and hashes fetched, and only a key whose rows differ is looked at closely. Three things make that
sound:

*Ranges do not depend on two engines sorting alike.* Integers are ordered the same everywhere, so keys of integers go by
ranges of values. For any other key each side walks in its own order, and adds up by a hash of the key.

*A key in flight is no difference* (`_judge`). The destination is looked at first: position C, then the rows. Then the
source, in one snapshot P: the rows, and which of the keys have an event in the window from C to P. A key without one
has not changed since C, so the destination's row must equal the source's: where it does not, that is a difference, with
no waiting and no guessing. A key with an event is looked at again later, until it has none; one that never rests is
told as in flight. (A destination row that is newer than C has its event in the window too: the source is read last.)

*A repair is an ordinary lookup.* Keys that differ are noted (`keys`), and the stream's next turn reads and writes them.
A key that differs in the same way after that is `RepairDoesNotHold`: something at the destination changes what is
written. It is remembered as `unrepairable`, and not written again and again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.model.changes import Position, Window
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.types import Kind
from pantograph.pipeline import checkpoints, keys, sides, steps, sweep
from pantograph.pipeline.checkpoints import Checkpoint
from pantograph.pipeline.keys import Key
from pantograph.pipeline.sides import Side, Sum

T = TypeVar("T")

_MOST_BUCKETS = 1 << 16
_ROWS_A_BUCKET = 64
_BUCKETS_AT_ONCE = 500
"""Buckets in one statement's list."""
_MOST_PORTIONS = 30
"""Each portion of differing buckets costs a scan of both tables; with more of them, copying again is cheaper."""
_MOST_EVENTS = 1_000_000
"""A destination that is further behind than this: every key counts as in flight, rather than joining with them all."""
_MOST_UNSETTLED = 20_000
_MOST_REPAIRED = 100_000
_MOST_SHOWN = 10_000
_STANDSTILL = 10.0
"""A checkpoint that has not moved for so long will not bring a key home while we wait."""
_PARTS = 32
_FETCHED = 1_000
"""A range that differs is summed up again in so many parts, and not in parts smaller than so many rows."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast. rows: of a statement at most; seconds: what a statement should take at most (longer ones make the next
    ones smaller, because the source's snapshot is held that long). rest: seconds of rest for each second of work.
    patience: how long keys in flight are waited for; repair: how long a repair is.
    """

    rows: int = 100_000
    seconds: float = 1.0
    rest: float = 0.0
    patience: float = 30.0
    repair: float = 90.0


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose rows differ. kind: "missing" or "extra" at the destination, or "different" in `columns`."""

    key: Key
    kind: str
    columns: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """In which way it differs; the same text means the same way."""
        return ", ".join(self.columns) or self.kind


@dataclass(frozen=True, slots=True)
class Result:
    """What a comparison found. Counts are of keys.

    rows: of the source that were compared. differing: by kind of difference. columns: how many keys differ in each
    column. in_flight: changed all the time, or not applied yet when patience ended. parked: known to lack their parent.
    repaired: looked up again and equal now; noted: written down for the stream, which has not looked them up yet.
    held: extra rows that are too many to delete without a person's word. not_holding: differ in the same way after
    their repair, by column (or kind). by_value: columns that the engines cannot hash alike, compared as values.
    incomplete: a CamelCase reason why not all was compared, with `message`; "" when it was.
    found: the differing keys themselves, only where asked for, and not more than fit on a few pages.
    """

    name: str
    rows: int = 0
    ranges: int = 0
    differing: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    parked: int = 0
    repaired: int = 0
    noted: int = 0
    held: int = 0
    not_holding: Mapping[str, int] = field(default_factory=dict)
    by_value: tuple[str, ...] = ()
    incomplete: str = ""
    message: str = ""
    seconds: float = 0.0
    found: tuple[Difference, ...] = ()

    @property
    def differences(self) -> int:
        """How many keys differ."""
        return sum(self.differing.values())

    @property
    def equal(self) -> bool:
        """All was compared, and nothing differs that was not repaired."""
        return not self.incomplete and not self.parked and self.differences <= self.repaired

    @property
    def settled(self) -> bool:
        """Another comparison with repair would find nothing to do: what differs is held, or does not hold."""
        return not self.incomplete and not self.in_flight and not self.noted


class Incomparable(errors.PantographError):
    """A Reflection cannot be compared now; `reason` says why."""


def run(
    source: Session,
    target: Session,
    mirror: Mirror,
    owner: str,
    *,
    repair: bool = False,
    keep_keys: bool = False,
    allowed_deletes: int = 0,
    pace: Pace | None = None,
    nudge: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Result:
    """Compare one Reflection, and with `repair` have the stream look up again what differs.

    source: a READER session; target: a READER's, or a WRITER's for `repair`. Both are ours alone while this runs.
    owner: whose checkpoint it is. nudge: called when keys were noted, to wake a stream in this process; without it a
    stream looks once a minute. progress: told the rows compared so far. allowed_deletes: how many extra rows may go
    although they are more than a sweep would delete by itself. Raises what a database says.
    """
    began = time.monotonic()
    try:
        comparison = _Comparison(
            source, target, mirror, owner, repair, keep_keys, pace or Pace(), nudge, progress, stop or threading.Event()
        )
    except Incomparable as error:
        return Result(mirror.name, incomplete=error.reason, message=str(error), seconds=time.monotonic() - began)
    with comparison:
        incomplete, message = "", ""
        try:
            comparison.compare()
        except Incomparable as error:
            incomplete, message = error.reason, str(error)
        if repair:
            comparison.repair(allowed_deletes, complete=not incomplete)
        return comparison.result(incomplete, message, time.monotonic() - began)


# -- both sides --------------------------------------------------------------------------------------------------------


def _comparable(mirror: Mirror) -> Mirror:
    """The Reflection as it is compared: walked in the order of what finds a row, without what says when it moved."""
    key = tuple(mirror.capture.columns[i] for i in mirror.lookup) or mirror.capture.key
    capture = dataclasses.replace(mirror.capture, key=key)
    where = mirror.where
    if mirror.on_delete == "SetNull":
        # At the destination, a row without any of the columns that are written here is as one that is not there.
        some = " or ".join(f"{column.expression} is not null" for column in _told(mirror).data)
        where = f"({where}) and ({some})" if where else some
    columns = _told(mirror).columns
    return dataclasses.replace(mirror, capture=capture, columns=columns, where=where, lookup=(), constants=0, cursor=())


def _told(mirror: Mirror) -> Mirror:
    """Without what says when and how a row moved, where anything else is written."""
    columns = tuple(column for column in mirror.columns if not column.system)
    return dataclasses.replace(mirror, columns=columns) if len(columns) > len(mirror.key) else mirror


def _reversed(mirror: Mirror, session: Session, where: str) -> Mirror:
    """The destination as if it were the source, so that both sides are read by the same code."""
    columns = tuple(
        Mapped(
            destination=column.destination,
            expression=session.dialect.quote(column.destination),
            source_type=column.destination_type,
            source_native=column.destination_native,
            destination_type=column.source_type,
            destination_native=column.source_native,
        )
        for column in mirror.columns
    )
    key = tuple(column.destination for column in mirror.key)
    capture = dataclasses.replace(mirror.capture, key=key)
    return dataclasses.replace(mirror, source=mirror.destination, columns=columns, where=where, capture=capture)


# -- the comparison ----------------------------------------------------------------------------------------------------


def _same_order(mirror: Mirror) -> bool:
    """Do both engines sort the key alike? Of integers all do."""
    return all(c.source_type.kind is c.destination_type.kind is Kind.INTEGER for c in mirror.key)


class _Comparison:
    """One run over one Reflection. Statements of the two sides go side by side, in two threads."""

    def __init__(
        self,
        source: Session,
        target: Session,
        mirror: Mirror,
        owner: str,
        repairing: bool,
        keep_keys: bool,
        pace: Pace,
        nudge: Callable[[], None],
        progress: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        capture, self._lookup = mirror.capture, mirror.lookup
        if mirror.statement or mirror.delete_statement:
            raise Incomparable("what a statement of the manifest writes is known to it alone", reason="Statement")
        ours = target.dialect.own_rows(_told(mirror))
        everybodys = target.dialect.own_rows(dataclasses.replace(mirror, on_delete="Ignore"))
        mirror = _comparable(mirror)
        other = _reversed(mirror, target, ours)
        kind, values = sides.sides(source, target, mirror, other)
        if kind is Side and values and values[0] < len(mirror.key):
            name = mirror.columns[values[0]].destination
            raise Incomparable(f"the key's column {name} has a type that cannot be compared", reason="KeyNotComparable")
        self.mirror, self.owner, self.pace = mirror, owner, pace
        self._repairing, self._keep_keys = repairing, keep_keys
        self._nudge, self._progress, self._stop = nudge, progress, stop
        self.here, self.there = kind(source, mirror, values), kind(target, other, values)
        # Rows that are not there, or there and of nobody, may be as the manifest says: see `_tolerated`.
        self._waits_for_others, self._leaves_extras = mirror.missing_row != "Insert", mirror.on_delete == "Ignore"
        self._ignores = mirror.missing_row == "Ignore"
        self._anybodys = kind(target, _reversed(mirror, target, everybodys), values) if ours != everybodys else None
        self._summing = kind is Side
        self._windows = source.dialect.reader([capture])
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self._size = min(pace.rows, 20_000)
        self._batch = min(source.dialect.most_given_keys, target.dialect.most_given_keys)
        self._rows, self._ranges, self._owned = 0, 0, 0
        self._unsettled: dict[int, tuple[Key, bool]] = {}
        self._overflow = [0, 0]
        self._differing: dict[str, int] = {}
        self._columns: dict[str, int] = {}
        self._found: list[Difference] = []
        self._repairs: dict[int, Difference] = {}
        self._repaired, self._waiting, self._held = 0, 0, 0
        self._not_holding: dict[str, int] = {}
        self._remembered: set[str] = set()
        self._met: set[str] = set()
        self._in_step_since, self._moved_at = (0, ""), time.monotonic()

    def __enter__(self) -> _Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    def compare(self) -> None:
        """All of it; what is found is in `result`. Raises `Incomparable` when it cannot be, or not to the end."""
        with self.there.reading():
            self._position()
            if self._repairing:
                noted = keys.noted_for(
                    self.there.session, self.there.dialect, self.owner, self.mirror.name, "unrepairable", _MOST_REPAIRED
                )
                self._remembered = {digest for digest, _ in noted}
        if _same_order(self.mirror):
            self._by_ranges()
        else:
            self._by_hash()
        self._settle(self.pace.patience, until=0)

    def result(self, incomplete: str, message: str, seconds: float) -> Result:
        """What was found."""
        parked = sum(parked for _, parked in self._unsettled.values()) + self._overflow[1]
        return Result(
            name=self.mirror.name,
            rows=self._rows,
            ranges=self._ranges,
            differing=dict(self._differing),
            columns=dict(self._columns),
            in_flight=len(self._unsettled) + sum(self._overflow) - parked,
            parked=parked,
            repaired=self._repaired,
            noted=self._waiting,
            held=self._held,
            not_holding=dict(self._not_holding),
            by_value=tuple(self.mirror.columns[i].destination for i in self.here.by_value),
            incomplete=incomplete,
            message=message,
            seconds=seconds,
            found=tuple(self._found),
        )

    # -- walking -------------------------------------------------------------------------------------------------------

    def _both(self, ask: Callable[[Side], T]) -> tuple[T, T]:
        """Ask both sides at the same time: the less time lies between them, the fewer keys are in flight."""
        if self._stop.is_set():
            raise Incomparable("it was stopped", reason="Stopped")
        theirs = self._pool.submit(ask, self.there)
        try:
            mine = ask(self.here)
        finally:
            # Whatever happened here, the other session must be at rest before anybody uses it again.
            theirs.exception()
        return mine, theirs.result()

    def _paced(self, work: Callable[[], T]) -> T:
        """Do a step of the walk; the next one is larger or smaller, as this one took. One that took longer than the
        engine allows is done again, smaller."""
        while True:
            began = time.monotonic()
            try:
                done = work()
            except errors.DatabaseError as error:
                if error.reason != "TimedOut" or self._size <= 1:
                    raise
                self._size = max(1, self._size // 16)
                continue
            took = time.monotonic() - began
            if took > self.pace.seconds:
                self._size = max(1, int(self._size * max(0.1, self.pace.seconds / took)))
            elif took < self.pace.seconds / 2:
                self._size = min(self.pace.rows, self._size * 2)
            if self.pace.rest:
                self._stop.wait(took * self.pace.rest)
            return done

    def _by_ranges(self) -> None:
        after: Key = ()
        more = True
        while more:

            def step(after: Key = after) -> tuple[Key, tuple[Sum, Sum]]:
                return self._range(after, (), self._size)

            upto, (mine, theirs) = self._paced(step)
            if mine != theirs:
                self._drill(after, upto, max(mine.rows, theirs.rows))
            self._counted(mine.rows, theirs.rows)
            after, more = upto, bool(upto)

    def _range(self, after: Key, last: Key, rows: int) -> tuple[Key, tuple[Sum, Sum]]:
        """The sums of the next range, and where it ends: at `last` at the latest."""
        # The nearest of the ends, so that neither side has more rows in the range than a step should.
        upto = self._nearest(after, last, rows)
        return upto, self._both(lambda side: side.sum(after, upto))

    def _nearest(self, after: Key, last: Key, rows: int) -> Key:
        ends = [end for end in (*self._both(lambda side: side.end(after, rows)), last) if end]
        return min(ends) if ends else ()

    def _drill(self, after: Key, last: Key, rows: int) -> None:
        """Which keys of a range differ at first sight.

        Summed up again in smaller parts first: while an application writes, most ranges hold a key in flight, and
        hashing is cheaper than fetching (where the servers hash).
        """
        size = max(_FETCHED, rows // _PARTS)
        while True:
            upto, differs = last, True
            if rows > _FETCHED and self._summing:
                upto, (mine, theirs) = self._range(after, last, size)
                differs = mine != theirs
            elif rows > _FETCHED:
                upto = self._nearest(after, last, size)
            if differs:
                self._fetch(after, upto)
            if upto == last:
                return
            after = upto

    def _fetch(self, after: Key, upto: Key) -> None:
        mine, theirs = self._both(lambda side: {h: (key, row) for h, key, row in side.rows(after, upto)})
        self._examine(mine, theirs)

    def _counted(self, mine: int, theirs: int) -> None:
        self._rows += mine
        self._owned += theirs
        self._ranges += 1
        self._progress(self._rows)

    def _examine(self, mine: dict[int, tuple[Any, int]], theirs: dict[int, tuple[Any, int]]) -> None:
        suspects = {h: self.here.key(key) for h, (key, row) in mine.items() if h not in theirs or theirs[h][1] != row}
        suspects |= {h: self.there.key(key) for h, (key, _) in theirs.items() if h not in mine}
        if self._waits_for_others and self._anybodys is None:
            suspects = {h: key for h, key in suspects.items() if h in theirs}
        if self._leaves_extras:
            suspects = {h: key for h, key in suspects.items() if h in mine}
        self._confirm(suspects)

    def _by_hash(self) -> None:
        """Each side in its own order, both at about the same speed; sums by the key's hash."""
        estimated = max(self._both(lambda side: side.estimated()))
        count = max(1, min(_MOST_BUCKETS, estimated // _ROWS_A_BUCKET))
        mine, theirs = self._bucket_pass(count, first=True)
        rows = max(sum(s.rows for s in mine.values()), sum(s.rows for s in theirs.values()))
        suspects = _unequal(mine, theirs)
        if suspects and rows > 64 * _ROWS_A_BUCKET * count:  # nobody knew how large the table is
            count = min(_MOST_BUCKETS, rows // _ROWS_A_BUCKET)
            mine, theirs = self._bucket_pass(count)
            suspects = _unequal(mine, theirs)
        portions = list(_portions(suspects, mine, theirs, self.pace.rows))
        while len(portions) > 1:
            # Most of them hold keys in flight, which another pass finds at rest: a pass costs less than the portions.
            mine, theirs = self._bucket_pass(count)
            again = suspects & _unequal(mine, theirs)
            portions = list(_portions(again, mine, theirs, self.pace.rows))
            if len(again) > len(suspects) / 2:
                suspects = again
                break
            suspects = again
        if len(portions) > _MOST_PORTIONS and (self._waits_for_others or self._leaves_extras):
            # One side may have many rows more than the other, and none of them is a difference.
            self._by_lookup()
            return
        for portion in portions[:_MOST_PORTIONS]:
            self._drill_buckets(portion, count)
        if len(portions) > _MOST_PORTIONS:
            raise Incomparable(
                f"{len(suspects)} of {count} parts of the table differ: copy it again (resync) rather than key by key",
                reason="TooManyDifferences",
            )

    def _by_lookup(self) -> None:
        """Look every row up, of the side on which no row is too many."""
        side = (self._anybodys or self.there) if self._waits_for_others else self.here
        after: Key = ()
        more = True
        while more:

            def step(after: Key = after) -> Key:
                upto = side.end(after, self._batch)
                self._confirm({h: side.key(key) for h, key, _ in list(side.rows(after, upto))})
                return upto

            after = self._paced(step)
            more = bool(after)

    def _bucket_pass(self, count: int, *, first: bool = False) -> tuple[dict[int, Sum], dict[int, Sum]]:
        sums: dict[Side, dict[int, Sum]] = {self.here: {}, self.there: {}}

        def add(side: Side, after: Key, upto: Key) -> int:
            found = side.buckets(after, upto, count)
            for bucket, one in found.items():
                sums[side][bucket] = sums[side].get(bucket, Sum()).plus(one)
            return sum(one.rows for one in found.values())

        for mine, theirs in self._walk(add):
            if first:
                self._counted(mine or 0, theirs or 0)
        return sums[self.here], sums[self.there]

    def _drill_buckets(self, buckets: Sequence[int], count: int) -> None:
        found: dict[Side, dict[int, tuple[Any, int]]] = {self.here: {}, self.there: {}}

        inside = frozenset(buckets)

        def add(side: Side, after: Key, upto: Key) -> None:
            found[side].update({h: (key, row) for h, key, row in side.rows(after, upto, inside, count)})

        for _ in self._walk(add):
            pass
        self._examine(found[self.here], found[self.there])

    def _walk(self, visit: Callable[[Side, Key, Key], T]) -> Iterator[tuple[T | None, T | None]]:
        """Both sides from start to end, each in its own order, a step of each at a time."""
        after: dict[Side, Key | None] = {self.here: (), self.there: ()}

        def step(side: Side) -> tuple[T | None, Key | None]:
            begin = after[side]
            if begin is None:
                return None, None
            upto = side.end(begin, self._size)
            return visit(side, begin, upto), upto or None

        while any(begin is not None for begin in after.values()):
            # A step that is done again must not add anything twice, so a time-out is not retried here: the size only
            # adapts, and begins small.
            (mine, my_end), (theirs, their_end) = self._paced_once(lambda: self._both(step))
            after[self.here], after[self.there] = my_end, their_end
            yield mine, theirs

    def _paced_once(self, work: Callable[[], T]) -> T:
        failed: list[BaseException] = []

        def once() -> T | None:
            try:
                return work()
            except errors.DatabaseError as error:
                failed.append(error)
                return None

        done = self._paced(once)
        if failed:
            raise failed[0]
        return done  # type: ignore[return-value]  # None only where it failed

    # -- judging -------------------------------------------------------------------------------------------------------

    def _confirm(self, suspects: Mapping[int, Key]) -> None:
        """Look at keys closely: equal by now, in flight (again later), or different."""
        items = list(suspects.items())
        for start in range(0, len(items), self._batch):
            batch = dict(items[start : start + self._batch])
            unsettled, differences = self._judge(batch)
            self._unsettled.update(unsettled)
            self._take_in(differences)
            if len(self._unsettled) > _MOST_UNSETTLED:
                self._settle(self.pace.patience, until=_MOST_UNSETTLED // 2)
                while len(self._unsettled) > _MOST_UNSETTLED:
                    # They only count from here on: memory is bounded whatever the lag.
                    _, (_, parked) = self._unsettled.popitem()
                    self._overflow[parked] += 1

    def _judge(self, batch: Mapping[int, Key]) -> tuple[dict[int, tuple[Key, bool]], dict[int, Difference]]:
        """Keys in flight (True: parked), and keys that differ. See the module's docstring for why this is sound."""
        if self._stop.is_set():
            raise Incomparable("it was stopped", reason="Stopped")
        wanted = list(batch.values())
        with self.there.reading():
            # The position first: a row may be newer than it, but never older.
            position = self._position()
            theirs = self.there.look_up(wanted)
            anybodys = self._anybodys.look_up(wanted) if self._anybodys and len(theirs) < len(wanted) else {}
            noted = self._noted(wanted)
        session = self.here.session
        with session.step(steps.COMPARE):
            try:
                until = self._windows.open(session, [position])
                moving = self._moving(position, until, batch)
                mine = self.here.look_up(wanted)
                session.commit()
            except BaseException:
                session.rollback()
                raise
        unsettled: dict[int, tuple[Key, bool]] = {}
        differences: dict[int, Difference] = {}
        for h, key in batch.items():
            ours, held = mine.get(h), theirs.get(h)
            if ours == held or self._tolerated(ours is not None, held is not None, h in anybodys):
                continue
            reason, _ = noted.get(keys.digest_of(key), ("", ""))
            if h in moving or reason in ("parent", "cascade", "sweep", "row"):
                unsettled[h] = (key, reason == "parent")
            elif ours is None:
                differences[h] = Difference(key, "extra")
            elif held is None:
                differences[h] = Difference(key, "missing")
            else:
                differences[h] = Difference(key, "different", self.there.differing(ours, held))
        return unsettled, differences

    def _tolerated(self, ours: bool, held: bool, anybodys: bool) -> bool:
        """Is a row that only one of the two sides has as the manifest wants it?

        ours, held: the source has it, the destination has it with what is written here; anybodys: it has the row, in
        which nothing is written here. A row that others insert may come later, and with `missingRow: Ignore` nothing
        says that it did.
        """
        if ours and not held and self._waits_for_others:
            return self._ignores or not anybodys
        return held and not ours and self._leaves_extras

    def _noted(self, wanted: Iterable[Key]) -> dict[str, tuple[str, str]]:
        digests = [keys.digest_of(key) for key in wanted]
        return keys.reasons(self.there.session, self.there.dialect, self.owner, self.mirror.name, digests)

    def _position(self) -> Position:
        """How far the Reflection has got, read inside a transaction of the destination."""
        own_name, stream_name = f"reflection/{self.mirror.name}", f"stream/{self.mirror.stream}"
        found = checkpoints.load(self.there.session, self.there.dialect, self.owner, (own_name, stream_name))
        own, stream = found.get(own_name), found.get(stream_name)
        if own is None:
            raise Incomparable("nothing has been copied yet", reason="NotStarted")
        sweeping = own.state.sweep
        if sweeping is not None and sweeping.phase != "held":
            raise Incomparable(f"it is being copied ({sweeping.reason})", reason="Sweeping")
        speaks: Checkpoint | None = stream if own.state.in_step else own
        position = speaks.position if speaks else Position("")
        standing = (speaks.version if speaks else 0, str(position))
        if standing != self._in_step_since:
            self._in_step_since, self._moved_at = standing, time.monotonic()
        return position

    def _moving(self, position: Position, until: Position, batch: Mapping[int, Key]) -> set[int]:
        """Which of the keys have an event that the destination has not applied. Inside the source's snapshot."""
        session, capture = self.here.session, self.mirror.capture
        pending = self._windows.pending(session, {capture.id: position}, until, _MOST_EVENTS)
        if capture.id not in pending:
            return set()
        found, _ = pending[capture.id]
        if found.truncated or found.events >= _MOST_EVENTS:
            return set(batch)
        events, params = self._windows.keys(capture, Window(position, until), columns=self._lookup)
        return self.here.among(list(batch.values()), events, params)

    def _settle(self, patience: float, *, until: int) -> None:
        """Look again at keys in flight, ever less often, until not more than `until` are left or patience ends."""
        pause, began = 0.05, time.monotonic()
        while len(self._unsettled) > until and time.monotonic() - began < patience:
            if time.monotonic() - max(self._moved_at, began) > _STANDSTILL:
                return
            self._stop.wait(pause)
            pause = min(2.0, pause * 1.5)
            waiting, self._unsettled = self._unsettled, {}
            items = list(waiting.items())
            for start in range(0, len(items), self._batch):
                batch = {h: key for h, (key, _) in items[start : start + self._batch]}
                unsettled, differences = self._judge(batch)
                self._unsettled.update(unsettled)
                self._take_in(differences)

    def _take_in(self, differences: Mapping[int, Difference]) -> None:
        for difference in differences.values():
            self._differing[difference.kind] = self._differing.get(difference.kind, 0) + 1
            for column in difference.columns:
                self._columns[column] = self._columns.get(column, 0) + 1
            if self._keep_keys and len(self._found) < _MOST_SHOWN:
                self._found.append(difference)
        if self._repairing and differences:
            self._note(differences)

    # -- repairing -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        session = self.there.session
        with session.step(steps.NOTE_KEYS):
            try:
                session.begin()
                yield
                session.commit()
            except BaseException:
                session.rollback()
                raise

    def _note(self, differences: Mapping[int, Difference]) -> None:
        """Write differing keys down for the stream. Extra ones only when all are counted: see `repair`."""
        session, dialect, name = self.there.session, self.there.dialect, self.mirror.name
        digests = {h: keys.digest_of(d.key) for h, d in differences.items()}
        with self._writing():
            noted = self._noted([d.key for d in differences.values()])
            for h, difference in differences.items():
                reason, detail = noted.get(digests[h], ("", ""))
                if reason == "unrepairable":
                    self._met.add(digests[h])
                    if detail == difference.how:
                        self._does_not_hold(difference)
                        continue
                if reason == "extra" or len(self._repairs) >= _MOST_REPAIRED:
                    # A sweep has found it too and waits for a person's word.
                    continue
                self._repairs[h] = difference
                if difference.kind == "extra":
                    keys.note(session, dialect, self.owner, name, [difference.key], "surplus", again_at=keys.NEVER)
                else:
                    keys.note(session, dialect, self.owner, name, [difference.key], "verify", difference.how)

    def _does_not_hold(self, difference: Difference) -> None:
        for column in difference.columns or (difference.kind,):
            self._not_holding[column] = self._not_holding.get(column, 0) + 1

    def repair(self, allowed_deletes: int, *, complete: bool) -> None:
        """Let go of extra rows if they are few, wait until the stream has looked keys up, and look whether it holds.

        complete: the comparison came to its end, so what was remembered and not met is equal by now.
        """
        session, dialect, name = self.there.session, self.there.dialect, self.mirror.name
        extras = self._differing.get("extra", 0)
        too_many = extras > sweep.DELETE_LIMIT_ROWS and extras > sweep.DELETE_LIMIT_SHARE * self._owned
        hold = extras > allowed_deletes and (too_many or not complete or self._rows == 0)
        with self._writing():
            # `to=None` forgets them: the next comparison counts them again.
            keys.release(session, dialect, self.owner, name, "surplus", to=None if hold else "verify")
            if complete:
                keys.settle(session, dialect, self.owner, name, sorted(self._remembered - self._met))
        if hold:
            self._held = extras
            self._repairs = {h: d for h, d in self._repairs.items() if d.kind != "extra"}
        if self._repairs:
            self._nudge()
            self._await()

    def _await(self) -> None:
        deadline, pause = time.monotonic() + self.pace.repair, 0.05
        waiting = dict(self._repairs)
        while waiting and time.monotonic() < deadline and not self._stop.is_set():
            self._stop.wait(pause)
            pause = min(2.0, pause * 1.5)
            waiting = self._looked_up(waiting)
        self._waiting = len(waiting)

    def _looked_up(self, waiting: Mapping[int, Difference]) -> dict[int, Difference]:
        """Judge the keys that the stream has looked up since; those that still wait."""
        left: dict[int, Difference] = {}
        items = list(waiting.items())
        for start in range(0, len(items), self._batch):
            batch = dict(items[start : start + self._batch])
            digests = {h: keys.digest_of(d.key) for h, d in batch.items()}
            with self.there.reading():
                noted = self._noted([d.key for d in batch.values()])
            done = {h: d for h, d in batch.items() if noted.get(digests[h], ("", ""))[0] != "verify"}
            left.update({h: d for h, d in batch.items() if h not in done})
            if done:
                left.update(self._held_good(done))
        return left

    def _held_good(self, done: Mapping[int, Difference]) -> dict[int, Difference]:
        """Count the keys whose repair holds; remember those that differ as before; those in flight wait on."""
        try:
            unsettled, differences = self._judge({h: d.key for h, d in done.items()})
        except Incomparable:
            return dict(done)
        self._repaired += len(done) - len(unsettled) - len(differences)
        same = {h: d for h, d in differences.items() if d.how == done[h].how}
        if same:
            with self._writing():
                for difference in same.values():
                    keys.note(
                        self.there.session, self.there.dialect, self.owner, self.mirror.name, [difference.key],
                        "unrepairable", difference.how, again_at=keys.NEVER,
                    )  # fmt: skip
                    self._does_not_hold(difference)
        return {h: done[h] for h in unsettled}


def _unequal(mine: Mapping[int, Sum], theirs: Mapping[int, Sum]) -> set[int]:
    return {bucket for bucket in mine.keys() | theirs.keys() if mine.get(bucket) != theirs.get(bucket)}


def _portions(
    buckets: Iterable[int], mine: Mapping[int, Sum], theirs: Mapping[int, Sum], most_rows: int
) -> Iterator[list[int]]:
    """The buckets in lists short enough for a statement, with few enough rows to be held."""
    portion: list[int] = []
    rows = 0
    for bucket in sorted(buckets):
        size = max(mine.get(bucket, Sum()).rows, theirs.get(bucket, Sum()).rows)
        if portion and (len(portion) >= _BUCKETS_AT_ONCE or rows + size > most_rows):
            yield portion
            portion, rows = [], 0
        portion.append(bucket)
        rows += size
    if portion:
        yield portion
