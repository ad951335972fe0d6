"""What is to be looked at, and when: one worker a group at a time, however often it is asked for."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from pantograph.api.manifests import Key

NEVER = math.inf


class Queue:
    """Groups by when they are due, for a whole look (at the databases too) and for a short one (at the objects)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._whole: dict[Key, float] = {}
        self._short: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._closed = False

    def add(self, key: Key, after: float = 0.0, *, whole: bool = True) -> None:
        """Have a group looked at, `after` seconds at the latest."""
        with self._changed:
            due = self._whole if whole else self._short
            due[key] = min(due.get(key, NEVER), self._clock() + after)
            self._changed.notify()

    def take(self) -> tuple[Key, bool] | None:
        """The next group when it is due, and whether for a whole look; None when all is over."""
        with self._changed:
            while not self._closed:
                now, key, at = self._clock(), *self._next()
                if key is not None and at <= now:
                    self._busy.add(key)
                    whole = self._whole.get(key, NEVER) <= now
                    self._short.pop(key, None)
                    if whole:
                        del self._whole[key]
                    return key, whole
                self._changed.wait(None if key is None else at - now)
            return None

    def done(self, key: Key) -> None:
        """A group has been looked at."""
        with self._changed:
            self._busy.discard(key)
            self._changed.notify()

    def forget(self, key: Key) -> None:
        """There is no such group any more."""
        with self._changed:
            self._whole.pop(key, None)
            self._short.pop(key, None)

    def close(self) -> None:
        """Nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> tuple[Key | None, float]:
        due: dict[Key, float] = dict(self._short)
        for key, at in self._whole.items():
            due[key] = min(due.get(key, NEVER), at)
        free = [(at, key) for key, at in due.items() if key not in self._busy]
        if not free:
            return None, NEVER
        at, first = min(free)
        return first, at
