"""What was: for the charts, samples of all Reflections, taken while the console runs; and what happened. Bounded, and
gone with it."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pantograph.console.stores import Figures, Happened

EVERY = 2.0
KEPT = 900
"""Samples of each Reflection: half an hour."""
RATE_OVER = 10.0
"""Seconds that a rate is the mean of."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One Reflection at one moment (monotonic seconds). lag: then, or as it was before the turns since the last sample.
    moved: rows written and deleted so far; swept: rows read by a copy; rate: a second, where only that is known."""

    at: float
    lag: float | None
    moved: int | None
    swept: int
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """A second, of late; None where nobody counts. left: seconds until a copy is done, by its pace and estimate."""

    moved: float | None = None
    swept: float | None = None
    left: float | None = None


class History:
    """Samples by Reflection. Any thread may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, by_looking: bool = False) -> None:
        self._clock, self._by_looking = clock, by_looking
        self._lock = threading.Lock()
        self._samples: dict[str, deque[Sample]] = {}
        self._peaks: dict[str, tuple[float, int]] = {}

    def take(self, figures: Mapping[str, Figures]) -> None:
        """Note how all of them are now, and forget those that are gone."""
        now = self._clock()
        with self._lock:
            for name in self._samples.keys() - figures.keys():
                del self._samples[name], self._peaks[name]
            for name, one in figures.items():
                moved = None if one.written is None else one.written + (one.deleted or 0)
                samples = self._samples.setdefault(name, deque(maxlen=KEPT))
                samples.append(Sample(now, self._lag(name, one), moved, one.swept if one.copying else 0))

    def looked(self, figures: Mapping[str, Figures]) -> None:
        """Somebody looks at these. Where nobody samples all the while, that is when samples are taken."""
        if not self._by_looking:
            return
        now = self._clock()
        with self._lock:
            for name, one in figures.items():
                samples = self._samples.setdefault(name, deque(maxlen=KEPT))
                if not samples or now - samples[-1].at >= EVERY * 0.75:
                    samples.append(Sample(now, one.lag, None, one.swept if one.copying else 0, one.rate))
            for name in [name for name, kept in self._samples.items() if now - kept[-1].at > EVERY * KEPT]:
                del self._samples[name]

    def _lag(self, name: str, one: Figures) -> float | None:
        total, count = self._peaks.get(name, one.peaks)
        self._peaks[name] = one.peaks
        turns = one.peaks[1] - count
        peak = (one.peaks[0] - total) / turns if turns > 0 else None
        return max((lag for lag in (one.lag, peak) if lag is not None), default=None)

    def of(self, name: str) -> list[Sample]:
        """All samples of one, the oldest first."""
        with self._lock:
            return list(self._samples.get(name, ()))

    def rates(self, name: str, figures: Figures) -> Rates:
        """How fast it is."""
        # What a status says is written every ten seconds.
        latest = self._latest(name, RATE_OVER * 3 if self._by_looking else RATE_OVER)
        if len(latest) < 2:
            return Rates(figures.rate)
        swept = _rate(latest, [one.swept for one in latest]) if figures.copying else None
        left = (figures.estimated - figures.swept) / swept if swept and figures.estimated > figures.swept else None
        counted = _rate(latest, [one.moved for one in latest])
        return Rates(figures.rate if counted is None else counted, swept, left)

    def _latest(self, name: str, over: float) -> list[Sample]:
        """Samples of the last seconds; without a look at all the others, for a page asks this of every Reflection."""
        found: list[Sample] = []
        with self._lock:
            for one in reversed(self._samples.get(name, ())):
                if found and one.at < found[0].at - over:
                    break
                found.append(one)
        return found[::-1]


def speeds(samples: Sequence[Sample], over: int = 3) -> list[tuple[float, float | None]]:
    """Time and rows a second, for each sample that has `over` others before it."""
    found: list[tuple[float, float | None]] = []
    for number in range(over, len(samples)):
        few = samples[number - over : number + 1]
        counted = _rate(few, [one.moved for one in few])
        found.append((few[-1].at, few[-1].rate if counted is None else counted))
    return found


def _rate(samples: Sequence[Sample], counts: Sequence[int | None]) -> float | None:
    first, last = counts[0], counts[-1]
    if first is None or last is None or samples[-1].at <= samples[0].at:
        return None
    # A counter that fell has begun anew, with a new sweep or a new process.
    return max(0, last - first) / (samples[-1].at - samples[0].at)


class Sampler(threading.Thread):
    """Takes a sample every two seconds until `stop` is set."""

    def __init__(self, history: History, figures: Callable[[], Mapping[str, Figures]]) -> None:
        super().__init__(name="console history", daemon=True)
        self._history, self._figures = history, figures
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(EVERY):
            self._history.take(self._figures())


class Happenings:
    """What happened, so many lines of it at most. Any thread may note and ask.

    What comes again, be it with other numbers, stays one line that says how often: a Reflection that fails is tried
    four times a minute, and would soon have told away all else.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._lines: deque[Happened] = deque(maxlen=most)

    def note(self, one: Happened) -> None:
        """The latest."""
        with self._lock:
            last = next((each for each in reversed(self._lines) if each.about == one.about), None)
            if last is not None and _words(last) == _words(one):
                self._lines.remove(last)
                one = replace(one, times=last.times + one.times, since=last.since or last.at)
            self._lines.append(one)

    def latest(self) -> list[Happened]:
        """All of it, the newest first."""
        with self._lock:
            return list(reversed(self._lines))


def _words(one: Happened) -> tuple[str, str]:
    return one.what, re.sub(r"[0-9][0-9.,]*", "#", one.detail)
