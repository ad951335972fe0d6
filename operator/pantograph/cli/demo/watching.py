"""Looks at both files of the demo, as a user of the copy would: rows on either side, and when each change arrived."""

from __future__ import annotations

import collections
import contextlib
import sqlite3
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pantograph.cli.demo import shop

COUNT_EVERY = 0.25
LOOK_EVERY = 0.002
GIVE_UP = 5.0
"""A price that changed again before we looked is never seen in the copy: after this long we stop looking for it."""
RECENT = 10.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A change of the shop, and how long after it (seconds) the copy had it; None where that was not seen."""

    change: shop.Change
    after: float | None


class Watcher(threading.Thread):
    """Follows the writer's changes into the copy until `stop` is set."""

    def __init__(self, shop_file: Path, copy_file: Path, writer: shop.Writer) -> None:
        super().__init__(name="watcher", daemon=True)
        self._files, self._writer = (shop_file, copy_file), writer
        self.stop = threading.Event()
        self.rows: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.arrivals: collections.deque[Arrival] = collections.deque(maxlen=12)
        self.delays: list[float] = []
        self._recent: collections.deque[tuple[float, float]] = collections.deque()
        self._lock = threading.Lock()

    def run(self) -> None:
        here, there = (shop.open_file(path) for path in self._files)
        with contextlib.closing(here), contextlib.closing(there):
            self._follow(here, there)

    def _follow(self, here: sqlite3.Connection, there: sqlite3.Connection) -> None:
        waiting: list[shop.Change] = []
        count_at = 0.0
        while not self.stop.wait(LOOK_EVERY):
            with contextlib.suppress(IndexError):
                while True:
                    waiting.append(self._writer.changes.popleft())
            waiting = [change for change in waiting if not self._has_arrived(there, change)]
            if time.monotonic() >= count_at:
                self.rows = (shop.counts(here), shop.counts(there))
                count_at = time.monotonic() + COUNT_EVERY

    def _has_arrived(self, there: sqlite3.Connection, change: shop.Change) -> bool:
        """Whether there is nothing left to wait for."""
        if not change.arrived:
            self._note(Arrival(change, None))
            return True
        try:
            found = there.execute(change.arrived).fetchone()
        except sqlite3.OperationalError:
            found = None  # the table is not there yet
        now = time.time()
        if found is None and now - change.at < GIVE_UP:
            return False
        self._note(Arrival(change, now - change.at if found else None))
        return True

    def _note(self, arrival: Arrival) -> None:
        with self._lock:
            self.arrivals.append(arrival)
            if arrival.after is not None:
                self.delays.append(arrival.after)
                self._recent.append((arrival.change.at, arrival.after))

    def latest(self) -> list[Arrival]:
        """The latest arrivals, the newest first."""
        with self._lock:
            return list(reversed(self.arrivals))

    def recent(self) -> list[float]:
        """How long the changes of the last seconds took, in order."""
        with self._lock:
            while self._recent and self._recent[0][0] < time.time() - RECENT:
                self._recent.popleft()
            return [after for _, after in self._recent]


def middle(delays: list[float]) -> float:
    """The median; 0 of nothing."""
    return statistics.median(delays) if delays else 0.0
