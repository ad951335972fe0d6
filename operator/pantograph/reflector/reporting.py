"""What is known about each Reflection right now: written by the workers, read by `status`, metrics and the terminal."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from pantograph import metrics
from pantograph.pipeline.turn import Outcome

UNCONFIRMED = 5.0
"""A stream looks at its source at least once a second; after this long without, nobody knows that nothing waits."""


@dataclass
class Seen:
    """One Reflection. phase: Waiting, Snapshot, Sweep, Held, Deferred, Streaming, Paused or Failed. Counters only grow.

    behind_since: when (monotonic) its oldest unapplied event was made, as far as we know; None when nothing waits.
    last_success: when (wall clock) nothing was left to apply; reached_at: the same, monotonic. pending, waiting_rows:
    events not applied and rows that wait for their parents, when they were last counted; None when nobody counts; so
    dead_letters. verified_at, differing: when (wall clock) it was last compared, and how many rows differed then.
    database: where the destination is, as people call it. sweep_rows, sweep_estimated: of the copy or sweep under way;
    swept: of all that this process has seen, of which the last began and ended (0: is under way) at these times (wall
    clock). refused: rows, by what they break. generation: of the object's spec that this is about. rows: in the
    destination, by estimate.
    """

    name: str
    phase: str = "Waiting"
    reason: str = ""
    message: str = ""
    upserted: int = 0
    deleted: int = 0
    events: int = 0
    coalesced: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    turns: dict[str, int] = field(default_factory=dict)
    turn_seconds: dict[str, metrics.Histogram] = field(default_factory=dict)
    propagation: metrics.Histogram = field(default_factory=lambda: metrics.Histogram(metrics.PROPAGATION_BUCKETS))
    failures: dict[str, int] = field(default_factory=dict)
    behind_since: float | None = None
    last_success: float = 0.0
    reached_at: float = 0.0
    sweep_rows: int = 0
    sweep_estimated: int = 0
    swept: int = 0
    sweep_began: float = 0.0
    sweep_ended: float = 0.0
    held: int = 0
    parked: int = 0
    pending: int | None = None
    waiting_rows: int | None = None
    dead_letters: int | None = None
    image: bool | None = None
    image_reason: str = ""
    image_at: float = 0.0
    complete: bool = False
    source: str = ""
    destination: str = ""
    database: str = ""
    stream: str = ""
    generation: int = 0
    rows: int | None = None
    caught_up: int = 0
    verified_at: float = 0.0
    differing: int | None = None


@dataclass
class Kept:
    """The events that a source keeps of one SourceTable. backlog, size (bytes), oldest_at (wall clock): when they were
    last counted; None when nobody knows, or there are none. purged and expired only grow; the latter are those that
    retention took. drift: is capture not as it was planned? None before the first look.
    """

    name: str
    backlog: int | None = None
    size: int | None = None
    oldest_at: float | None = None
    purged: int = 0
    expired: int = 0
    drift: bool | None = None


SILENCE = 45.0
"""Seconds after which a database that does not answer counts as down: three looks."""


@dataclass
class Link:
    """Connections to one Database, as they are made now and then to look. role: source or destination.

    answered_at: when (monotonic) the last one was of use, None before; asked_at: when the first was made. down: did the
    last one fail? open_since: when (monotonic) the oldest open transaction that is open now was first seen; 0 when
    there is none, None when nobody knows.
    """

    name: str
    role: str
    asked_at: float | None = None
    answered_at: float | None = None
    down: bool = False
    failures: Counter[str] = field(default_factory=Counter)
    open_since: float | None = None


class Board:
    """All Reflections of a process, and what they stand on. Every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, Seen] = {}
        self._kept: dict[str, Kept] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._clock = clock
        self.messages: Callable[[str], None] = lambda _: None

    def of(self, name: str) -> Seen:
        """The entry of a Reflection; made when it is not there yet."""
        with self._lock:
            return self._seen.setdefault(name, Seen(name))

    def all(self) -> list[Seen]:
        """Copies of all entries, by name."""
        with self._lock:
            return [dataclasses.replace(seen) for _, seen in sorted(self._seen.items())]

    def drop(self, name: str) -> None:
        """A Reflection is gone."""
        with self._lock:
            self._seen.pop(name, None)

    def keep(self, names: Collection[str], before: Collection[str]) -> None:
        """These SourceTables are there now; of those that were, others are gone."""
        with self._lock:
            for name in set(before) - set(names):
                self._kept.pop(name, None)
            for name in names:
                self._kept.setdefault(name, Kept(name))

    def tables(self) -> list[Kept]:
        """Of all SourceTables, by name."""
        with self._lock:
            return [dataclasses.replace(kept) for _, kept in sorted(self._kept.items())]

    def links(self) -> list[Link]:
        """To all Databases, by name and role."""
        with self._lock:
            return [dataclasses.replace(link) for _, link in sorted(self._links.items())]

    def unlink(self, others: Collection[tuple[str, str]]) -> None:
        """Databases and roles other than these are gone."""
        with self._lock:
            for key in set(self._links) - set(others):
                del self._links[key]

    def kept(self, name: str) -> Kept:
        """What is kept for a SourceTable."""
        with self._lock:
            return self._kept.setdefault(name, Kept(name))

    def link(self, name: str, role: str) -> Link:
        """How a Database answers."""
        with self._lock:
            return self._links.setdefault((name, role), Link(name, role))

    def up(self, link: Link) -> bool | None:
        """Does the Database answer? None when nobody has asked."""
        if link.down or link.asked_at is None:
            return False if link.down else None
        if link.answered_at is None and self._clock() - link.asked_at <= SILENCE:
            return None
        return self._clock() - (link.answered_at or link.asked_at) <= SILENCE

    def away(self, seen: Seen, source: str, destination: str) -> str:
        """Which of its Databases does not answer, neither its stream nor whoever looks; "" when both do."""
        if self._clock() - seen.reached_at <= UNCONFIRMED:
            return ""
        with self._lock:
            links = [self._links.get(key) for key in ((source, "source"), (destination, "destination"))]
        return next((link.name for link in links if link is not None and self.up(link) is False), "")

    def oldest_transaction(self, link: Link) -> float | None:
        """For how many seconds the oldest transaction that is open there has been seen."""
        if link.open_since is None or not self.up(link):
            return None
        return max(0.0, self._clock() - link.open_since) if link.open_since else 0.0

    def asked(self, link: Link) -> None:
        """A connection is about to be made."""
        if link.asked_at is None:
            link.asked_at = self._clock()

    def answered(self, link: Link, failure: str = "") -> None:
        """It was of use, or failed for this reason."""
        with self._lock:
            link.down = bool(failure)
            if failure:
                link.failures[failure] += 1
            else:
                link.answered_at = self._clock()

    def lag(self, seen: Seen) -> float | None:
        """Seconds; 0 when nothing waits, None when nobody knows. Grows by itself while a worker is stuck.

        A worker that cannot look at its source does not know what waits: then it is the time since it last could.
        """
        if seen.behind_since is not None:
            return max(0.0, self._clock() - seen.behind_since)
        if not seen.last_success:
            return None
        silence = self._clock() - seen.reached_at
        return silence if silence > UNCONFIRMED else 0.0

    def phase(self, name: str, phase: str, reason: str = "", message: str = "") -> None:
        """A Reflection is in another phase now; told once, when it changes."""
        seen = self.of(name)
        with self._lock:
            changed = (seen.phase, seen.reason) != (phase, reason)
            seen.phase, seen.reason, seen.message = phase, reason, message
        if changed:
            self.changed(seen)

    def changed(self, seen: Seen) -> None:
        """What is told of a new phase; for those who tell it in another way."""
        text = f"{seen.name}: {seen.phase}" + (f" ({seen.reason})" if seen.reason else "")
        self.messages(text + (f": {seen.message}" if seen.message else ""))

    def failed(self, name: str, reason: str) -> None:
        """Count a failure."""
        seen = self.of(name)
        with self._lock:
            seen.failures[reason] = seen.failures.get(reason, 0) + 1

    def ended(self, name: str, result: str) -> None:
        """Count a turn that came to nothing: contended or failed."""
        seen = self.of(name)
        with self._lock:
            seen.turns[result] = seen.turns.get(result, 0) + 1

    def refused(self, name: str, kinds: Mapping[str, int]) -> None:
        """Count rows that the destination refused."""
        seen = self.of(name)
        with self._lock:
            seen.refused.update(kinds)

    def swept(self, name: str, rows: int, so_far: int, estimated: int) -> None:
        """A copy or sweep has read rows; so many since it began, of about so many."""
        seen = self.of(name)
        with self._lock:
            seen.swept += rows
            seen.sweep_rows, seen.sweep_estimated = so_far, estimated

    def behind(self, names: list[str], seconds: float) -> None:
        """The oldest event that these have not applied is `seconds` old."""
        since = self._clock() - seconds
        for name in names:
            seen = self.of(name)
            with self._lock:
                seen.behind_since = since if seen.behind_since is None else min(seen.behind_since, since)

    def turned(self, names: list[str], outcome: Outcome, *, reached: bool) -> None:
        """A turn of these Reflections ended. `reached`: nothing that was committed before it is left."""
        for name in names:
            seen = self.of(name)
            written = outcome.written.get(name)
            with self._lock:
                seen.turns[outcome.kind] = seen.turns.get(outcome.kind, 0) + 1
                for phase, seconds in outcome.seconds.items():
                    spent = seen.turn_seconds.setdefault(phase, metrics.Histogram(metrics.TURN_BUCKETS))
                    spent.observe(seconds)
                if outcome.oldest and outcome.kind == "applied":
                    seen.propagation.observe(outcome.oldest + sum(outcome.seconds.values()))
                if written:
                    seen.upserted += written.upserted
                    seen.deleted += written.deleted
                    seen.events += written.events
                    seen.coalesced += written.coalesced
                    seen.refused.update(written.refused)
                    seen.parked += written.parked
                if reached:
                    seen.behind_since = None
                    seen.last_success, seen.reached_at = time.time(), self._clock()
                    seen.caught_up += 1
