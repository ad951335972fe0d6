"""Has the poll look at once when the source says that something was committed (`spec.reflector.wakeUp: Notify`).

On a connection of its own, which is opened again when it breaks. Nothing depends on it: the poll goes on by itself.
"""

from __future__ import annotations

import contextlib
import threading
import time

from pantograph import errors
from pantograph.database.sessions import Session
from pantograph.dialects.base import Role
from pantograph.pipeline import steps
from pantograph.reflector.streams import Source

LOOK_AT_STOP = 1.0
"""Seconds that it listens at most before it looks whether it is to stop."""
FIRST_RETRY, SLOWEST_RETRY = 1.0, 60.0
BEFORE_REST = 0.2
"""Seconds between two looks at most while it does not rest: nobody tells then."""
TOLD_BEYOND = 60.0
"""Seconds that triggers go on telling beyond the next look: of a process that has died nobody is told for long."""


class Rest:
    """The poll's rest, in which it looks every `interval` seconds and is woken when there is something.

    While there is traffic it does not rest, and nobody is told: whoever writes is spared the price, and it looks often
    anyway. Who began to write before the triggers were asked to tell is seen by one more look after that.
    """

    def __init__(self, source: Source, interval: float) -> None:
        self._source, self._interval = source, interval
        # Until when (monotonic) the triggers tell; 0.0: they do not.
        self._told_until = 0.0

    def pause(self, quiet: bool, pause: float) -> float:
        """Seconds until the next look. quiet: nothing was new for a while, and nobody is about to commit something."""
        if not quiet:
            self._tell(0.0)
            return min(pause, BEFORE_REST)
        resting, now = self._told_until > 0.0, time.monotonic()
        if self._told_until - now < self._interval + TOLD_BEYOND / 2:
            self._tell(self._interval + TOLD_BEYOND)
        return self._interval if resting else 0.0

    def end(self) -> None:
        """Nobody is woken any more; never raises."""
        with contextlib.suppress(Exception):
            self._tell(0.0)

    def _tell(self, seconds: float) -> None:
        if seconds or self._told_until:
            source = self._source
            with source.side_lock, source.side.step(steps.LISTEN):
                source.dialect.tell(source.side, seconds)
            self._told_until = time.monotonic() + seconds if seconds else 0.0


class Listening(threading.Thread):
    """Listens at one source until that is to stop. listens: whether it does just now."""

    def __init__(self, source: Source) -> None:
        super().__init__(name=f"listening to {source.name}", daemon=True)
        self._source = source
        self.listens = False

    def run(self) -> None:
        backoff = FIRST_RETRY
        while not self._source.stop.is_set():
            began = time.monotonic()
            try:
                self._listen()
            except Exception as error:  # whatever it is, rows go on moving without it
                why = error if isinstance(error, errors.PantographError) else errors.Bug(error)
                if not self._source.stop.is_set():
                    self._source.board.messages(f"{self._source.name}: NotListening: {why}; polling, and trying again")
            self.listens = False
            backoff = FIRST_RETRY if time.monotonic() - began > SLOWEST_RETRY else min(SLOWEST_RETRY, backoff * 2)
            self._source.stop.wait(backoff)

    def _listen(self) -> None:
        source = self._source
        with (
            contextlib.closing(Session(source.dialect, Role.SIDE)) as session,
            session.step(steps.LISTEN),
            contextlib.closing(source.dialect.listener(session)) as listener,
        ):
            self.listens = True
            source.woken.set()  # of what came meanwhile nobody has told
            while not source.stop.is_set():
                if listener.wait(LOOK_AT_STOP):
                    source.woken.set()
