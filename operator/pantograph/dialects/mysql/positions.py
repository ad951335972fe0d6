"""Positions of the MySQL family as values: per capture the highest id seen, and the ranges below it still open.

No connection here; `windows` reads, this decides.
"""

from __future__ import annotations

import base64
import bisect
import functools
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pantograph.model.changes import Position

Range = tuple[int, int]
"""Both ends belong to it."""

MOST_BYTES = 200 * 1024
"""Of a stored position, well below the 256 KiB that a column must take."""

_READABLE = 2 * 1024
"""Positions of up to so many bytes are stored as they are."""
_PACKED = "zlib:"

BRIEF_BYTES = 4 * 1024
"""Of a position that is only ever gone back to."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far one capture has been read: every id up to `high` but those in `open`."""

    high: int = 0
    open: tuple[Range, ...] = ()

    @property
    def floor(self) -> int:
        """Everything up to here has been read."""
        return min(self.high, self.open[0][0] - 1) if self.open else self.high


@functools.lru_cache(maxsize=16)
def parse(position: Position) -> Mapping[str, Seen]:
    """Capture ids and how far each has been read; empty for ""."""
    if not position:
        return {}
    if position.startswith(_PACKED):
        return parse(Position(zlib.decompress(base64.b64decode(position[len(_PACKED) :])).decode()))
    return {capture: Seen(high, _ranges(steps)) for capture, (high, *steps) in json.loads(position).items()}


def render(seen: Mapping[str, Seen]) -> Position:
    """A position, exactly. Each range is two numbers: how far it begins behind the one before, and how many ids more
    than one it has."""
    return Position(json.dumps({c: [s.high, *_steps(s.open)] for c, s in sorted(seen.items())}, separators=(",", ":")))


def stored(position: Position, most: int = MOST_BYTES) -> Position:
    """A position of at most so many bytes: packed where that is enough. Where not, it takes ids for open that are not,
    where ranges lie closest.

    Who begins there reads some events again. No id that is open is taken for read.
    """
    packed = _packed(position)
    while len(packed) > most:
        seen = parse(position)
        ranges = sum(len(each.open) for each in seen.values())
        share = most / len(packed)
        position = render(
            {c: Seen(s.high, tuple(fewer(s.open, max(1, int(len(s.open) * share * 0.9))))) for c, s in seen.items()}
        )
        if sum(len(each.open) for each in parse(position).values()) == ranges:
            break
        packed = _packed(position)
    return packed


def _packed(position: Position) -> Position:
    if len(position) <= _READABLE:
        return position
    return Position(_PACKED + base64.b64encode(zlib.compress(position.encode(), 1)).decode())


def _steps(ranges: Iterable[Range]) -> list[int]:
    steps, at = [], 0
    for low, high in ranges:
        steps += [low - at, high - low]
        at = high
    return steps


def _ranges(steps: Sequence[int]) -> tuple[Range, ...]:
    ranges, at = [], 0
    for i in range(0, len(steps), 2):
        low = at + steps[i]
        at = low + steps[i + 1]
        ranges.append((low, at))
    return tuple(ranges)


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same ids as few ranges, in order."""
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def without(ranges: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """The ids of `ranges` that are not in `taken`; both in order and without overlaps."""
    left: list[Range] = []
    ends = [high for _, high in taken]
    for low, high in ranges:
        i = bisect.bisect_left(ends, low)
        while i < len(taken) and taken[i][0] <= high:
            if taken[i][0] > low:
                left.append((low, taken[i][0] - 1))
            low = taken[i][1] + 1
            i += 1
        if low <= high:
            left.append((low, high))
    return left


def common(ranges: Sequence[Range], others: Sequence[Range]) -> list[Range]:
    """The ids that are in both."""
    return without(ranges, without(ranges, others))


def count(ranges: Iterable[Range]) -> int:
    """How many ids."""
    return sum(high - low + 1 for low, high in ranges)


def between(since: Seen, until: Seen) -> list[Range]:
    """The ids that `until` has read and `since` has not."""
    fresh = [(since.high + 1, until.high)] if until.high > since.high else []
    reopened = [r for r in since.open if r[0] <= until.high]
    return without(merged([*((low, min(high, until.high)) for low, high in reopened), *fresh]), list(until.open))


def first(ranges: Iterable[Range], most: int) -> list[Range]:
    """The first ranges, of at most so many ids in all."""
    found: list[Range] = []
    for low, high in ranges:
        most -= high - low + 1
        if most < 0:
            break
        found.append((low, high))
    return found


def fewer(ranges: Sequence[Range], most: int) -> list[Range]:
    """At most that many ranges that hold all ids of `ranges`, and as few others as can be: the least gaps close."""
    if len(ranges) <= most:
        return list(ranges)
    gaps = sorted(range(1, len(ranges)), key=lambda i: ranges[i][0] - ranges[i - 1][1], reverse=True)
    kept = set(gaps[: most - 1])
    found = [ranges[0]]
    for i in range(1, len(ranges)):
        if i in kept:
            found.append(ranges[i])
        else:
            found[-1] = (found[-1][0], ranges[i][1])
    return found


def all_read(floors: Sequence[Seen]) -> list[Range]:
    """The ids that every one of `floors` has read, as ranges from the lowest."""
    if not floors:
        return []
    top = min(each.high for each in floors)
    still = merged(r for each in floors for r in each.open)
    return without([(1, top)], still) if top else []
