"""One turn: read a window of the source in one snapshot, write it in one transaction of the destination.

Everything that the snapshot sees and the checkpoint does not is in it, for all tables of the stream, so the destination
is an image of the source at one moment (promise 3). The checkpoint moves in the same transaction (promise 5), by
compare-and-set (promise 6). A window above `maxTransactionRows` goes in pages; see `page`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Staged, WindowReader
from pantograph.model import converters
from pantograph.model.changes import NOWHERE, Control, Position, Window
from pantograph.model.mirrors import Mirror
from pantograph.pipeline import checkpoints, deadletters, fence, keys, steps, writer
from pantograph.pipeline.checkpoints import Checkpoint, State


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once. rows and size (bytes) are of a batch; transaction_rows of a destination transaction; chunk_rows
    of a step of a sweep (0: as many batches as are read in a few seconds)."""

    rows: int = 50_000
    size: int = 16 << 20
    transaction_rows: int = 500_000
    chunk_rows: int = 0


@dataclass
class Route:
    """The two ends of a stream: sessions, dialects, and whose they are. Used by one thread.

    side: the source's session outside the snapshot. It is shared by all streams of a source; `side_lock` guards it.
    """

    owner: str
    epoch: int
    incarnation: str
    life: str
    source: Dialect
    target: Dialect
    reader: Session
    writer: Session
    side: Session
    side_lock: contextlib.AbstractContextManager[Any]
    windows: WindowReader
    limits: Limits
    # Reflections whose last turn failed: their next one finds out which rows are to blame.
    careful: set[str] = field(default_factory=set)
    # By capture: the mark of what retention has taken. Another thread writes it before that is committed.
    purged: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.time


@dataclass
class Group:
    """A checkpoint and the Reflections that it speaks for: a stream, or one Reflection that is apart from it."""

    checkpoint: Checkpoint
    mirrors: list[Mirror]
    # Where reading has got to; ahead of the checkpoint when windows were empty, for those write nothing.
    read: Position = NOWHERE
    # Where the pages that are under way lead to; "" after a restart, when the checkpoint's target is all there is.
    target: Position = NOWHERE
    # How many batches a sweep's chunk is long.
    stride: int = 2
    # How many rows are known not to be the source's (`keys.BEHIND`), when that was last looked at.
    set_aside: int = 0

    def __post_init__(self) -> None:
        self.read = self.read or self.checkpoint.position

    @property
    def sweep(self) -> checkpoints.Sweep | None:
        """The sweep that is under way."""
        return self.checkpoint.state.sweep


@dataclass(frozen=True, slots=True)
class Written:
    """What a turn did to one destination table. coalesced: events that cost no row of their own; refused: rows that
    became dead letters, by what they break."""

    upserted: int = 0
    deleted: int = 0
    events: int = 0
    parked: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    coalesced: int = 0

    @property
    def dead(self) -> int:
        """How many became dead letters."""
        return sum(self.refused.values())


@dataclass
class Outcome:
    """What happened. kind: "empty", "applied" or "page". seconds: by phase (read, write, commit). swept: rows that
    a step of a sweep has read, of the source or, looking for those that are too many, of the destination.

    oldest: age in seconds of the oldest event that was in the window when it was read, by the source's clock.
    """

    kind: str
    written: dict[str, Written] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    oldest: float = 0.0
    until: Position = NOWHERE
    more: bool = False
    swept: int = 0


@contextlib.contextmanager
def snapshot(route: Route, floors: Sequence[Position]) -> Iterator[tuple[Position, Control]]:
    """One snapshot of the source, ended whatever happens. Yields how far it sees, and the control row it shows."""
    reader = route.reader
    try:
        with reader.step(steps.OPEN_SNAPSHOT):
            until = route.windows.open(reader, floors)
        with reader.step(steps.READ_CONTROL):
            control = fence.check(route.source.control(reader), route.owner, route.epoch, route.incarnation)
        yield until, control
    finally:
        reader.rollback()


def check_retention(route: Route, group: Group, since: Position, until: Position) -> None:
    """Has retention taken what `since` has not read? Asked once the snapshot of `until` is open.

    Raises `PositionLost`: a position must never move past events that nobody will read.
    """
    for mirror in group.mirrors:
        mark = route.purged.get(mirror.capture.id, "")
        if mark and since and not route.windows.covers(since, mark, mirror.capture, until):
            raise errors.PositionLost(f"{mirror.name}: events that were not read yet went beyond retention")


def take(
    route: Route, stream: Group, joiners: Sequence[Group] = (), due: dict[str, list[keys.Noted]] | None = None
) -> Outcome:
    """One turn of a stream, and of those that join it if all fits one transaction.

    due: keys to look up although no event says so, by Reflection. Raises `StaleCheckpoint`, `CaptureOwned`,
    `PositionLost`, `CaptureDrift`, `writer.MirrorRejected`, or what a database said; nothing is written then.
    """
    if stream.checkpoint.state.page is not None:
        return page(route, stream)
    due = due or {}
    began = time.perf_counter()
    groups = [stream, *joiners]
    with snapshot(route, [group.read for group in groups if group.mirrors]) as (until, _):
        for group in groups:
            check_retention(route, group, group.read, until)
        pending = _pending(route, groups, until)
        events = sum(found.events for found, _ in pending.values())
        oldest = max((age for _, age in pending.values()), default=0.0)
        if joiners and events > route.limits.transaction_rows:
            return Outcome("empty", more=True)
        if events > route.limits.transaction_rows:
            route.reader.rollback()
            return _begin_pages(route, stream, until, pending)
        if not pending and not any(due.values()) and not joiners:
            stream.read = until
            return Outcome("empty", until=until)
        work, read_seconds = _staged(route, groups, until, pending, due, began)
    return _write(route, stream, joiners, until, work, due, oldest, read_seconds)


Work = dict[str, writer.Job]


def _pending(route: Route, groups: Sequence[Group], until: Position) -> dict[str, tuple[Any, float]]:
    """What the windows hold: by Reflection, because two may share a capture and not a position."""
    result: dict[str, tuple[Any, float]] = {}
    with route.reader.step(steps.COUNT_EVENTS):
        for group in groups:
            since = {mirror.capture.id: group.read for mirror in group.mirrors}
            if not since:
                continue
            try:
                found = route.windows.pending(route.reader, since, until, route.limits.transaction_rows + 1)
            except (errors.Unreachable, errors.Contended):
                raise
            except errors.DatabaseError as error:
                # An event table that is not there, or not as it was: whoever plans will see which.
                raise errors.CaptureDrift(str(error)) from error
            for mirror in group.mirrors:
                if mirror.capture.id in found:
                    result[mirror.name] = found[mirror.capture.id]
    return result


def _staged(
    route: Route,
    groups: Sequence[Group],
    until: Position,
    pending: dict[str, tuple[Any, float]],
    due: dict[str, list[keys.Noted]],
    began: float,
) -> tuple[Work, float]:
    """Read the rows of the window and put them beside the destination's tables. No lock is taken there yet."""
    work: Work = {}
    with route.writer.step(steps.BEGIN):
        route.writer.begin()
    try:
        with route.reader.step(steps.STAGE_ROWS), route.writer.step(steps.STAGE_ROWS):
            for group in groups:
                for mirror in group.mirrors:
                    noted = due.get(mirror.name, [])
                    if mirror.name not in pending and not noted:
                        continue
                    found = pending[mirror.name][0] if mirror.name in pending else None
                    sql: str = ""
                    params: dict[str, Any] = {}
                    if found:
                        window = Window(group.read, until)
                        sql, params = route.windows.keys(mirror.capture, window, columns=mirror.lookup)
                    if noted:
                        given, values = route.source.given_keys(route.reader, mirror, [n.key for n in noted])
                        sql, params = _either(sql, given), {**params, **values}
                    with deadletters.blamed(mirror):
                        # An event changes two keys at most: the old and the new are two events.
                        count = (found.events if found else 0) + len(noted)
                        changes = route.source.changes(mirror, sql)
                        if mirror.name in route.careful:
                            staged, refused = stage_what_fits(route, mirror, changes, params)
                        else:
                            staged, refused = stage(route, mirror, changes, params, at_most=count), ()
                    work[mirror.name] = writer.Job(
                        mirror, staged, bool(found and found.truncated), found.events if found else 0, refused
                    )
        check_shapes(route, [job.mirror for job in work.values()])
        with route.reader.step(steps.CLOSE_SNAPSHOT):
            route.reader.commit()
    except BaseException:
        route.writer.rollback()
        raise
    return work, time.perf_counter() - began


def _either(window: str, given: str) -> str:
    """A SELECT of the keys of both, each once: whoever is in a window and noted as well would be written twice."""
    # In brackets of its own: a UNION ALL that follows a UNION lets its rows in again.
    return f"select * from ({window}) w union select * from ({given}) g" if window else given


FEW = 50
"""Up to so many rows are fetched at once and travel in the statement: what makes many rows fast makes these slow."""


def stage(
    route: Route, mirror: Mirror, sql: str, params: dict[str, Any], *, direct: bool = False, at_most: int | None = None
) -> Staged:
    """Rows of a SELECT at the source into a stage at the destination, by the fastest way there is.

    at_most: how many rows there can be, where that is known.
    """
    if at_most is not None and at_most <= FEW:
        fetched = decoded(route, mirror, route.reader.rows(sql, **params))
        present = sum(1 for row in fetched if row[0])
        staged = route.target.stage(route.writer, mirror, [fetched])
        return dataclasses.replace(staged, present=present, absent=len(fetched) - present)
    piped = route.source.pipe(route.reader, sql, params, mirror, route.target, route.writer, direct=direct)
    if piped is not None:
        return piped
    # Closed whatever happens: while a result is half read, nothing else can be asked.
    with contextlib.closing(rows(route, mirror, sql, params)) as batches:
        if direct:
            return Staged("", route.target.insert(route.writer, mirror, batches))
        return route.target.stage(route.writer, mirror, batches)


def stage_what_fits(
    route: Route, mirror: Mirror, sql: str, params: dict[str, Any]
) -> tuple[Staged, tuple[deadletters.Refusal, ...]]:
    """The rows that can be read and staged, and those that cannot, with why. Read twice, so as to hold one batch."""
    session, target = route.writer, route.target
    refused: dict[str, deadletters.Refusal] = {}

    def fits(row: tuple[Any, ...]) -> bool:
        return keys.digest_of(_raw_key(route, mirror, row)) not in refused

    def try_batch(batch: list[Any]) -> None:
        decoded_batch = decoded(route, mirror, batch)
        error = deadletters.attempt(session, lambda: target.stage_strictly(session, mirror, [decoded_batch]))
        if error is not None:
            raise error

    def halve(batch: list[Any]) -> None:
        try:
            try_batch(batch)
        except errors.Rejected as error:
            if len(batch) > 1:
                halve(batch[: len(batch) // 2])
                halve(batch[len(batch) // 2 :])
                return
            key = _raw_key(route, mirror, batch[0])
            refused[keys.digest_of(key)] = deadletters.Refusal(key, error)
            if len(refused) > deadletters.MOST_REFUSED:
                raise

    def read() -> contextlib.closing[Generator[list[Any], None, None]]:
        return contextlib.closing(route.reader.batches(sql, route.limits.rows, route.limits.size, **params))

    with read() as batches:
        for batch in batches:
            halve(batch)
    with read() as batches:
        kept = ([row for row in batch if fits(row)] for batch in batches)
        staged = target.stage_strictly(session, mirror, (decoded(route, mirror, batch) for batch in kept if batch))
    return staged, tuple(refused.values())


def _raw_key(route: Route, mirror: Mirror, row: Sequence[Any]) -> keys.Key:
    """A row's key. Where it is the key itself that cannot be read, what the driver yields has to do."""
    result = []
    for value, column in zip(row[1:], mirror.key, strict=False):
        decoder = route.source.decode(column.source_type)
        if decoder is not None and value is not None:
            with contextlib.suppress(errors.Rejected):
                value = decoder(value)
        result.append(value if isinstance(value, int | float | str | bytes | bool | None) else str(value))
    return tuple(result)


def rows(route: Route, mirror: Mirror, sql: str, params: dict[str, Any]) -> Generator[Sequence[Any], None, None]:
    """Batches of `(present, *columns)` in canonical values."""
    for batch in route.reader.batches(sql, route.limits.rows, route.limits.size, **params):
        yield decoded(route, mirror, batch)


def decoded(route: Route, mirror: Mirror, batch: Sequence[Any]) -> Sequence[Any]:
    """A batch as the driver yields it, in canonical values."""
    decoders = [(i + 1, route.source.decode(column.source_type)) for i, column in enumerate(mirror.columns)]
    names = ["", *(column.destination for column in mirror.columns)]
    return converters.converted(batch, [(i, decoder) for i, decoder in decoders if decoder is not None], names)


def check_shapes(route: Route, mirrors: Sequence[Mirror]) -> None:
    """Were the rows read from the tables that the plan saw? Asked while the snapshot still holds their locks.

    Where a snapshot's catalog may be older than its rows, another session is asked. Raises `CaptureDrift`.
    """
    tables = list({mirror.source for mirror in mirrors})
    if not tables:
        return
    if route.source.features.catalog_in_snapshot:
        with route.side_lock, route.side.step(steps.CHECK_SHAPE):
            found = route.source.fingerprints(route.side, tables)
    else:
        with route.reader.step(steps.CHECK_SHAPE):
            found = route.source.fingerprints(route.reader, tables)
    for mirror in mirrors:
        if found.get(mirror.source) != mirror.fingerprint:
            raise errors.CaptureDrift(
                f"{'.'.join(filter(None, mirror.source))} changed while it was read; planning again"
            )


def _write(
    route: Route,
    stream: Group,
    joiners: Sequence[Group],
    until: Position,
    work: Work,
    due: dict[str, list[keys.Noted]],
    oldest: float,
    read_seconds: float,
) -> Outcome:
    began = time.perf_counter()
    session, target = route.writer, route.target
    try:
        before = sum(group.set_aside for group in (stream, *joiners))
        torn = route.source.no_image(route.reader)
        state = dataclasses.replace(
            imaged(stream.checkpoint.state, route.clock(), set_aside=before > 0, torn=torn),
            incarnation=route.incarnation,
            life=route.life,
            suspect=any(group.checkpoint.state.suspect for group in (stream, *joiners)),
        )
        with session.step(steps.MOVE_CHECKPOINT):
            moved = move(route, stream.checkpoint, until, state)
            joined = [
                move(
                    route,
                    joiner.checkpoint,
                    Position(""),
                    dataclasses.replace(
                        joiner.checkpoint.state, in_step=True, stream=stream.checkpoint.name, suspect=False
                    ),
                )
                for joiner in joiners
            ]
        if any(due.values()):
            with session.step(steps.NOTE_KEYS):
                for name, noted in due.items():
                    keys.attempt(session, target, route.owner, name, [n.digest for n in noted])
        written = writer.apply(session, target, route.owner, list(work.values()), careful=route.careful)
        if any(due.values()):
            with session.step(steps.NOTE_KEYS):
                for name in due:
                    keys.release(session, target, route.owner, name, keys.TRIED, to=None)
        left = _set_aside(before, due, written)
        if state.sweep is None and bool(before) != bool(left):
            with session.step(steps.MOVE_CHECKPOINT):
                state = imaged(state, route.clock(), set_aside=left > 0, torn=torn)
                moved = move(route, moved, until, state)
        applied = time.perf_counter()
        writer.commit(session, list(work.values()))
    except BaseException:
        session.rollback()
        raise
    route.careful -= set(work)
    stream.set_aside = left
    # Only now: what failed above left both as they were.
    stream.checkpoint, stream.read = moved, until
    for joiner, checkpoint in zip(joiners, joined, strict=True):
        joiner.checkpoint, joiner.read = checkpoint, until
    return Outcome(
        "applied",
        {
            name: Written(
                c.upserted, c.deleted, work[name].events, c.parked, c.refused, _coalesced(work[name], due.get(name, ()))
            )
            for name, c in written.items()
        },
        {"read": read_seconds, "write": applied - began, "commit": time.perf_counter() - applied},
        oldest,
        until,
    )


def _coalesced(job: writer.Job, due: Sequence[keys.Noted]) -> int:
    """How many events of a window had a key that another one had too."""
    return max(0, job.events + len(due) - job.staged.rows - len(job.refused))


def imaged(state: State, now: float, *, set_aside: bool = False, torn: str = "") -> State:
    """The state after a window that was one transaction: an image of the source again, unless rows are to be copied, or
    are set aside, or were read of more than one moment (`torn` says why)."""
    if state.sweep is not None:
        return state
    if set_aside:
        return dataclasses.replace(state, image=False, image_reason="rows wait for others, or are dead letters")
    if torn:
        return dataclasses.replace(state, image=False, image_reason=torn)
    return dataclasses.replace(state, image=True, image_reason="", image_at=now)


def say_image(route: Route, stream: Group) -> None:
    """Of a stream whose window was empty: what it holds is an image now, or is none, and its checkpoint says otherwise.

    Without this a quiet source would leave what was said with the last rows standing for ever."""
    state = stream.checkpoint.state
    set_aside, torn = stream.set_aside > 0, route.source.no_image(route.reader)
    if state.sweep is None and state.page is None and state.image == bool(set_aside or torn):
        touch(
            route,
            stream,
            lambda known: imaged(known, route.clock(), set_aside=set_aside, torn=torn),
            position=stream.read,
        )


def _set_aside(before: int, due: dict[str, list[keys.Noted]], written: Mapping[str, writer.Counts]) -> int:
    """How many rows are known not to be the source's after the turn; at least one where there is one."""
    left = before
    for name, noted in due.items():
        again = written[name].noted if name in written else set()
        left -= sum(1 for n in noted if n.reason in keys.BEHIND and n.digest not in again)
    left -= sum(counts.settled for counts in written.values())
    return max(left, 1) if any(counts.noted or counts.parked for counts in written.values()) else max(left, 0)


def move(route: Route, checkpoint: Checkpoint, position: Position, state: State) -> Checkpoint:
    """Move a checkpoint within the writer's transaction, by this owner's epoch; see `checkpoints.move`."""
    ours = dataclasses.replace(checkpoint, epoch=route.epoch)
    return checkpoints.move(route.writer, route.target, ours, route.windows.stored(position), state)


def touch(route: Route, group: Group, change: Callable[[State], State], *, position: Position | None = None) -> None:
    """Write a change of a checkpoint's state by itself (nonces once a minute, a sweep's phase); no rows move."""
    session = route.writer
    try:
        with session.step(steps.BEGIN):
            session.begin()
        with session.step(steps.MOVE_CHECKPOINT):
            if position is None:
                # Under a page's fixed target, and for one that is in step, the row's own position stays.
                fixed = group.checkpoint.state.page is not None or group.checkpoint.state.in_step
                position = group.checkpoint.position if fixed else group.read
            moved = move(route, group.checkpoint, position, change(group.checkpoint.state))
        with session.step(steps.COMMIT):
            session.commit()
    except BaseException:
        session.rollback()
        raise
    group.checkpoint = moved


def touch_apart(route: Route, group: Group, stream: Checkpoint) -> Checkpoint:
    """A Reflection leaves its stream: from now on it has a position of its own, and what proves the stream's.

    The stream's checkpoint is written with it, where there is one, and is returned: another reflector that has the
    Reflection in its stream comes too late then. It would write rows that it read before over those of a window that
    only the Reflection's own position knows.
    """
    session, proved = route.writer, stream.state
    alone = dataclasses.replace(
        group.checkpoint.state,
        in_step=False,
        stream="",
        nonces=list(proved.nonces),
        suspect=group.checkpoint.state.suspect or proved.suspect,
        # Those that the position was read in, which the fence will ask about, and not those of today.
        incarnation=proved.incarnation or route.incarnation,
        life=proved.life or route.life,
    )
    try:
        with session.step(steps.BEGIN):
            session.begin()
        with session.step(steps.MOVE_CHECKPOINT):
            if stream.version:
                stream = move(route, stream, stream.position, stream.state)
            moved = move(route, group.checkpoint, group.read, alone)
        with session.step(steps.COMMIT):
            session.commit()
    except BaseException:
        session.rollback()
        raise
    group.checkpoint = moved
    return stream


# -- windows above maxTransactionRows ------------------------------------------------------------------------------


def _begin_pages(route: Route, stream: Group, until: Position, pending: dict[str, tuple[Any, float]]) -> Outcome:
    first = writer.parents_first(stream.mirrors, route.target)[0]
    phase = "truncate" if any(found.truncated for found, _ in pending.values()) else "upsert"
    reason = f"a window of more than {route.limits.transaction_rows} events goes in pages"
    target, stream.target = checkpoints.Page(route.windows.stored(until), phase, first.name), until
    touch(
        route,
        stream,
        lambda state: dataclasses.replace(state, page=target, image=False, image_reason=reason),
    )
    return Outcome("page", more=True, oldest=max(age for _, age in pending.values()))


def page(route: Route, stream: Group) -> Outcome:
    """One page of a large window under its fixed target: all upserts parents first, then all deletes.

    The cursor (phase, table, event) is in the checkpoint, so that a crash repeats one page at most. Rows are looked up
    as they are now, which may be newer than the target; the image is back after the first later window that was one
    transaction.
    """
    at = stream.checkpoint.state.page
    assert at is not None
    began = time.perf_counter()
    window = Window(stream.read, Position(at.target))
    ordered = writer.parents_first(stream.mirrors, route.target)
    if at.phase == "delete":
        ordered.reverse()
    # A Reflection that left the stream since is not there any more: the page goes on with the first that is.
    # Places in event tables are of one table each: its own begin anew.
    index = next((i for i, mirror in enumerate(ordered) if mirror.name == at.mirror), -1)
    if index < 0:
        index, at = 0, dataclasses.replace(at, after=0)
    mirror = ordered[index]
    if at.phase == "truncate":
        return _truncate_page(route, stream, window, at, ordered)
    with snapshot(route, [window.since]) as (now, _):
        check_retention(route, stream, window.since, now)
        with route.reader.step(steps.COUNT_EVENTS):
            end = route.windows.page_end(route.reader, mirror.capture, window, at.after, route.limits.rows * 2)
        if end is None:
            route.reader.rollback()
            return _next_page(route, stream, at, ordered, index)
        with route.writer.step(steps.BEGIN):
            route.writer.begin()
        try:
            with route.reader.step(steps.STAGE_ROWS), route.writer.step(steps.STAGE_ROWS):
                sql, params = route.windows.keys(
                    mirror.capture, window, columns=mirror.lookup, after=at.after, limit=route.limits.rows * 2
                )
                changes = route.source.changes(mirror, sql)
                with deadletters.blamed(mirror):
                    staged, refused = (
                        stage_what_fits(route, mirror, changes, params)
                        if mirror.name in route.careful
                        else (stage(route, mirror, changes, params), ())
                    )
            check_shapes(route, [mirror])
            with route.reader.step(steps.CLOSE_SNAPSHOT):
                route.reader.commit()
        except BaseException:
            route.writer.rollback()
            raise
    read_seconds = time.perf_counter() - began
    session = route.writer
    try:
        state = dataclasses.replace(stream.checkpoint.state, page=dataclasses.replace(at, after=end))
        with session.step(steps.MOVE_CHECKPOINT):
            moved = move(route, stream.checkpoint, window.since, state)
        job = writer.Job(mirror, staged, False, 0, refused if at.phase == "upsert" else ())
        written = writer.apply(session, route.target, route.owner, [job], only=at.phase, careful=route.careful)
        writer.commit(session, [job])
    except BaseException:
        session.rollback()
        raise
    route.careful.discard(mirror.name)
    stream.checkpoint = moved
    counts = written[mirror.name]
    return Outcome(
        "page",
        {
            mirror.name: Written(
                counts.upserted,
                counts.deleted,
                # The same page comes twice, and how many events its keys stand for nobody has counted.
                staged.rows if at.phase == "upsert" else 0,
                counts.parked,
                counts.refused,
            )
        },
        {"read": read_seconds, "write": time.perf_counter() - began - read_seconds},
        more=True,
    )


def _truncate_page(route: Route, stream: Group, window: Window, at: checkpoints.Page, ordered: list[Mirror]) -> Outcome:
    """All rows of the tables that were truncated go first, in one transaction; what came after is upserted next."""
    with snapshot(route, [window.since]) as (now, _), route.reader.step(steps.COUNT_EVENTS):
        check_retention(route, stream, window.since, now)
        since = {mirror.capture.id: window.since for mirror in ordered}
        found = route.windows.pending(route.reader, since, window.until, route.limits.transaction_rows + 1)
    session = route.writer
    try:
        with session.step(steps.BEGIN):
            session.begin()
        state = dataclasses.replace(
            stream.checkpoint.state, page=checkpoints.Page(at.target, "upsert", ordered[0].name)
        )
        with session.step(steps.MOVE_CHECKPOINT):
            moved = move(route, stream.checkpoint, window.since, state)
        with session.step(steps.DELETE):
            for mirror in reversed(ordered):
                if mirror.capture.id in found and found[mirror.capture.id][0].truncated:
                    writer.empty(session, route.target, mirror)
        with session.step(steps.COMMIT):
            session.commit()
    except BaseException:
        session.rollback()
        raise
    stream.checkpoint = moved
    return Outcome("page", more=True)


def _next_page(route: Route, stream: Group, at: checkpoints.Page, ordered: list[Mirror], index: int) -> Outcome:
    """Nothing is left of this table in this phase: the next table, the next phase, or the target is reached."""
    following: checkpoints.Page | None
    if index + 1 < len(ordered):
        following = checkpoints.Page(at.target, at.phase, ordered[index + 1].name)
    elif at.phase == "upsert":
        following = checkpoints.Page(at.target, "delete", ordered[-1].name)
    else:
        following = None
        # Exactly as it was read, unless that was before a restart.
        known = stream.target and route.windows.stored(stream.target) == at.target
        stream.read = stream.target if known else Position(at.target)
    if following is None:
        touch(route, stream, lambda state: dataclasses.replace(state, page=None), position=stream.read)
        return Outcome("applied", until=Position(at.target), more=True)
    touch(route, stream, lambda state: dataclasses.replace(state, page=following))
    return Outcome("page", more=True)
