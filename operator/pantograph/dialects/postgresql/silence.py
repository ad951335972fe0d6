"""A server that is gone without a word: whoever waits for its answer is told so in the end.

The server ends statements that take too long, as long as it is there to do so. libpq waits for ever: its keepalives
notice a machine that is gone, and neither a process that is stopped nor a proxy that has lost what is behind it. Other
drivers have a time limit for an answer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

EVERY = 5.0
"""Seconds between two looks at who waits."""


class Watchman:
    """Ends connections from which an answer is waited for longer than it may take. One thread for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[object, tuple[float, int]] = {}
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limits(self, descriptor: int, seconds: float) -> Iterator[None]:
        """Whoever waits in here on this socket is woken after so many seconds, by an error of the driver."""
        me = object()
        with self._lock:
            self._waiting[me] = (time.monotonic() + seconds, descriptor)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="silence", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            # Under the lock: from now on the descriptor may be closed, and be another's.
            with self._lock:
                del self._waiting[me]

    def _watch(self) -> None:
        while True:
            time.sleep(EVERY)
            with self._lock:
                now = time.monotonic()
                for due, descriptor in self._waiting.values():
                    if due < now:
                        _shut(descriptor)


def _shut(descriptor: int) -> None:
    """Nothing comes from the socket any more; it stays open, and its owner's."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as other:
        other.shutdown(socket.SHUT_RDWR)


WATCHMAN = Watchman()
