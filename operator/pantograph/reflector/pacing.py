"""When sweeps may run, and how fast: what `spec.reflector.sweep` says, for all sweeps of a source together."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable

from pantograph.api.values import Hours

FIRST_COPIES = ("Snapshot", "DestinationReplaced")
"""Sweeps that fill a table in which nothing is yet. They do not wait for the hours: without them there is no copy."""

OUTSIDE_WINDOW = "OutsideSweepWindow"


def now() -> datetime.time:
    """The time of day in UTC."""
    return datetime.datetime.now(datetime.UTC).time()


class Pacing:
    """Shared by all sweeps of a source. hours: None for at any time. rate: rows a second; 0 for as fast as it goes.

    Rows are taken after they were read, and the next step waits until they are paid for. A step reads no more than a
    second's (`Limits.chunk_rows`), so that nobody waits long while events come.
    """

    def __init__(self, hours: Hours | None = None, rate: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.hours, self.rate, self._clock = hours, rate, clock
        self._lock = threading.Lock()
        # When all rows that were taken so far are paid for.
        self._paid_at = clock()

    def allows(self, reason: str) -> bool:
        """May a sweep for this reason go on now?"""
        return self.hours is None or reason in FIRST_COPIES or now() in self.hours

    def deferred(self, reason: str) -> str:
        """What a Reflection says that waits for the hours."""
        return (
            f"it is to be copied again ({reason}), which may be done from {self.hours} UTC, as "
            "spec.reflector.sweep.window of its source's Database says; changes go on being applied"
        )

    def take(self, rows: int) -> None:
        """So many rows were read."""
        if self.rate and rows > 0:
            with self._lock:
                # What was not used while nobody swept is gone: there is no burst behind a rest.
                self._paid_at = max(self._paid_at, self._clock()) + rows / self.rate

    def owed(self) -> float:
        """Seconds until the next step may begin."""
        return max(0.0, self._paid_at - self._clock()) if self.rate else 0.0
