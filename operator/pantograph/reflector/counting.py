"""Asks the databases what the workers cannot know: whether they answer, how much waits, also while all are stuck.

On connections of its own, opened for each look and closed after it, each in a thread of its own: a database that does
not answer keeps neither a scrape waiting, which would hide exactly what it should tell, nor a look at another one.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pantograph import dialects, errors
from pantograph.apply import observe
from pantograph.apply.prepare import WantedCopy
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Role
from pantograph.model.changes import Capture, Position
from pantograph.pipeline import keys, steps
from pantograph.pipeline.turn import Group
from pantograph.reflector.process import Process
from pantograph.reflector.reporting import Board, Link

COUNT_EVERY = 15.0
COUNTED = 1_000_000
BACKLOG_EVERY = 60.0
"""Events that all have read are kept for minutes, so that what is kept is counted less often."""
FIRST_LOOK = 1.0

Found = TypeVar("Found")


class Counting(threading.Thread):
    """Looks at every source and destination of the processes, now and then."""

    def __init__(self, board: Board, processes: Sequence[Process]) -> None:
        super().__init__(name="counting", daemon=True)
        self._board, self._processes = board, processes
        self.stop = threading.Event()
        self._looking: dict[tuple[str, str, str], threading.Thread] = {}
        # By source, when its backlog is counted next (monotonic), and since when each open transaction has been seen.
        self._backlog_at: dict[str, float] = {}
        self._open: dict[str, dict[str, float]] = {}

    def run(self) -> None:
        pause = FIRST_LOOK
        while not self.stop.wait(pause):
            pause = COUNT_EVERY
            there: set[tuple[str, str]] = set()
            for process in list(self._processes):
                name, namespace = process.wanted.name, process.wanted.name.partition("/")[0]
                there.add((name, "source"))
                self._begin((name, "source", ""), functools.partial(self.source, process))
                for destination in process.wanted.copies:
                    there.add((f"{namespace}/{destination}", "destination"))
                    look = functools.partial(self.destination, process, destination)
                    self._begin((name, "destination", destination), look)
            self._board.unlink(there)

    def _begin(self, key: tuple[str, str, str], look: Callable[[], None]) -> None:
        """Unless the last look is still under way: a database that hangs is asked once."""
        before = self._looking.get(key)
        if before is None or not before.is_alive():
            self._looking[key] = threading.Thread(target=look, name=f"counting {'/'.join(key)}", daemon=True)
            self._looking[key].start()

    # -- one look ----------------------------------------------------------------------------------------------------

    def source(self, process: Process) -> None:
        """Look at a source."""
        link = self._board.link(process.wanted.name, "source")
        dialect = dialects.load(process.wanted.address)
        groups = process.groups()
        names = [mirror.name for group in groups for mirror in list(group.mirrors)]
        found = self._look(link, dialect, Role.READER, lambda s: self._ask_source(s, process, link, groups)) or {}
        for name in names:
            events, age = found.get(name, (None, 0.0))
            self._board.of(name).pending = events
            # A turn that ended since has applied them: its own word is newer.
            if events and (self._board.lag(self._board.of(name)) or 0) > 0:
                self._board.behind([name], age)

    def destination(self, process: Process, destination: str) -> None:
        """Look at a destination of a source."""
        if destination not in process.wanted.copies:
            return
        address, copies = process.wanted.copies[destination]
        link = self._board.link(f"{process.wanted.name.partition('/')[0]}/{destination}", "destination")
        dialect = dialects.load(address)
        waiting = self._look(link, dialect, Role.SIDE, lambda s: _waiting(s, process.wanted.owner))
        # One that did not answer is not asked again at once: that would be two failures, and two time-outs.
        sizes = None if link.down else self._look(link, dialect, Role.SIDE, lambda s: _sizes(s, copies))
        for copy in copies:
            seen = self._board.of(copy.name)
            noted = {} if waiting is None else waiting.get(copy.name, {})
            seen.waiting_rows = None if waiting is None else noted.get("parent", 0)
            seen.dead_letters = None if waiting is None else noted.get("dead", 0)
            seen.rows = None if sizes is None else sizes.get(copy.name)

    def _look(self, link: Link, dialect: Dialect, role: Role, ask: Callable[[Session], Found]) -> Found | None:
        """Connect, and ask; None where that failed. What is wrong the workers say: here it is only counted."""
        self._board.asked(link)
        try:
            session = Session(dialect, role)
        except errors.PantographError as error:
            self._board.answered(link, error.reason)
            return None
        self._board.answered(link)
        try:
            found = ask(session)
            self._board.answered(link)
            return found
        except errors.Unreachable as error:
            self._board.answered(link, error.reason)
            return None
        except errors.PantographError:
            return None  # our tables are not there yet, or a grant is missing: it answers all the same
        finally:
            session.close()

    def _ask_source(
        self, session: Session, process: Process, link: Link, groups: Sequence[Group]
    ) -> dict[str, tuple[int, float]]:
        captures = process.captures()
        found, until = _pending(session, groups)
        self._see_open(link, session, captures, until)
        if captures and time.monotonic() >= self._backlog_at.get(link.name, 0.0):
            whole = self._count_backlog(session, process, captures)
            self._backlog_at[link.name] = time.monotonic() + (BACKLOG_EVERY if whole else 0.0)
        return found

    def _see_open(self, link: Link, session: Session, captures: Mapping[str, Capture], until: Position) -> None:
        """Remember since when the transactions have been open that a snapshot had to wait for."""
        marks = session.dialect.reader(list(captures.values())).waits_for(until) if until else None
        if marks is None:
            link.open_since = None
            return
        now, before = time.monotonic(), self._open.get(link.name, {})
        seen = self._open[link.name] = {mark: before.get(mark, now) for mark in marks}
        link.open_since = min(seen.values(), default=0.0)

    def _count_backlog(self, session: Session, process: Process, captures: Mapping[str, Capture]) -> bool:
        """What is kept for each SourceTable; whether that is known of all."""
        backlog = _backlog(session, process.wanted.owner, captures)
        for name, capture in captures.items():
            kept = self._board.kept(name)
            kept.backlog, age = backlog.get(name, (None, None))
            kept.oldest_at = None if age is None else time.time() - age
            with session.step(steps.COUNT_EVENTS):
                kept.size = session.dialect.event_bytes(session, capture)
        return len(backlog) == len(captures)


def _pending(session: Session, groups: Sequence[Group]) -> tuple[dict[str, tuple[int, float]], Position]:
    """By Reflection: events that are not applied, and the age of the oldest; and how far the source was seen."""
    by_position: dict[Position, list[tuple[str, str]]] = {}
    for group in groups:
        if group.read:
            by_position.setdefault(group.read, []).extend((m.name, m.capture.id) for m in list(group.mirrors))
    captures = {mirror.capture.id: mirror.capture for group in groups for mirror in list(group.mirrors)}
    if not by_position:
        return {}, Position("")
    found: dict[str, tuple[int, float]] = {}
    with contextlib.closing(session.dialect.reader(list(captures.values()))) as reader:
        with session.step(steps.OPEN_SNAPSHOT):
            until = reader.open(session, list(by_position))
        with session.step(steps.COUNT_EVENTS):
            for position, members in by_position.items():
                pending = reader.pending(session, {capture: position for _, capture in members}, until, COUNTED)
                for name, capture in members:
                    count, age = pending.get(capture, (None, 0.0))
                    found[name] = (count.events if count else 0, age)
    session.rollback()
    return found, until


def _backlog(session: Session, owner: str, captures: Mapping[str, Capture]) -> dict[str, tuple[int, float | None]]:
    """By SourceTable: events that lie beyond a position to which a Reflection of this owner may go back, and the age of
    the oldest; all events for one that has no position yet. Nothing of a table for which nobody has registered."""
    names = {capture.id: name for name, capture in captures.items()}
    since: dict[Position, set[str]] = {}
    for who, _, capture, position, _ in observe.registrations(session, session.dialect):
        if who == owner and capture in names:
            since.setdefault(Position(position), set()).add(capture)
    found: dict[str, tuple[int, float | None]] = {names[one]: (0, None) for some in since.values() for one in some}
    if not since:
        return found
    with contextlib.closing(session.dialect.reader(list(captures.values()))) as reader:
        with session.step(steps.OPEN_SNAPSHOT):
            until = reader.open(session, list(since))
        with session.step(steps.COUNT_EVENTS):
            for position, members in since.items():
                for capture, (count, age) in reader.pending(
                    session, dict.fromkeys(sorted(members), position), until, COUNTED
                ).items():
                    most, oldest = found[names[capture]]
                    found[names[capture]] = (max(most, count.events), max(oldest or 0.0, age))
    session.rollback()
    return found


def _waiting(session: Session, owner: str) -> dict[str, dict[str, int]]:
    with session.step(steps.INSPECT):
        return keys.counts(session, session.dialect, owner)


def _sizes(session: Session, copies: Sequence[WantedCopy]) -> dict[str, int]:
    """By Reflection: rows in its destination table, by estimate."""
    dialect = session.dialect
    return {
        copy.name: observe.estimated(session, dialect, copy.schema or dialect.default_schema, copy.table)
        for copy in copies
    }
