"""Who writes which table: Reflections that would undo each other's work, whichever names lead to their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Place = tuple[str, ...]
"""A table, the same for every name that leads to it, and for no other table."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a Reflection reads and writes. name: `namespace/name`; labels: its tables, for people.

    key: the destination's columns that find a row. columns: the others that it writes; None where that is not known.
    constants: what columns of the key hold in all of its rows. inserts: whether it makes rows (`missingRow: Insert`).
    """

    name: str
    source: Place
    destination: Place
    source_label: str
    destination_label: str
    key: frozenset[str] = frozenset()
    columns: frozenset[str] | None = None
    constants: Mapping[str, str] = field(default_factory=dict)
    inserts: bool = True


@dataclass(frozen=True, slots=True)
class Conflict:
    """What cannot be: the Reflection that is told, its field, and why."""

    name: str
    path: str
    message: str


def conflicts(claims: Sequence[Claim]) -> list[Conflict]:
    """One for each Reflection that writes its own source, closes a circle, or writes what another one writes."""
    ordered = sorted(claims, key=lambda claim: claim.name)
    return [*_own_sources(ordered), *_circles(ordered), *_overlaps(ordered)]


def _own_sources(claims: Sequence[Claim]) -> Iterator[Conflict]:
    for claim in claims:
        if claim.source == claim.destination:
            yield Conflict(
                claim.name,
                "spec.destination.table",
                f"the table is its own source: {claim.destination_label} and {claim.source_label} are one table, "
                "expected another one",
            )


def _circles(claims: Sequence[Claim]) -> Iterator[Conflict]:
    """Each circle once, told to the last of its Reflections by name."""
    leaving: dict[Place, list[Claim]] = {}
    for claim in claims:
        # Only those before it: the last one closes the circle.
        way = _way(leaving, claim.destination, claim.source)
        if claim.source != claim.destination:
            leaving.setdefault(claim.source, []).append(claim)
        if way:
            names = ", ".join(_short(one.name) for one in way)
            tables = " to ".join([claim.source_label, *(one.source_label for one in way), claim.source_label])
            yield Conflict(
                claim.name,
                "spec.destination.table",
                f"changes would go round for ever, with {names}: from {tables}; expected a table that is not read for "
                "its own source",
            )


def _way(leaving: Mapping[Place, Sequence[Claim]], start: Place, end: Place) -> list[Claim]:
    """The Reflections by which rows get from one table to another; none when they do not."""
    ways: dict[Place, list[Claim]] = {start: []}
    waiting = [start]
    while waiting:
        here = waiting.pop(0)
        for claim in leaving.get(here, ()):
            if claim.destination not in ways:
                ways[claim.destination] = [*ways[here], claim]
                waiting.append(claim.destination)
    return ways.get(end, []) if start != end else []


def _overlaps(claims: Sequence[Claim]) -> Iterator[Conflict]:
    writers: dict[Place, list[Claim]] = {}
    for claim in claims:
        for other in writers.setdefault(claim.destination, []):
            if why := _overlap(claim, other):
                yield Conflict(claim.name, "spec.destination.table", f"{claim.destination_label}: {why}")
                break
        writers[claim.destination].append(claim)


def _overlap(one: Claim, other: Claim) -> str:
    """What both write, in words; "" when they do not get into each other's way."""
    if any(one.constants[name] != other.constants[name] for name in one.constants.keys() & other.constants.keys()):
        return ""
    them = f"Reflection {_short(other.name)}"
    if one.inserts and other.inserts:
        return (
            f"{them} inserts and deletes its rows; expected missingRow: Wait or Ignore, or a constant column in the "
            "key of both that tells their rows apart"
        )
    if one.columns is None or other.columns is None:
        return ""
    both = (one.columns & (other.columns | other.key)) | (other.columns & one.key)
    if both:
        several = len(both) > 1
        return (
            f"{'columns' if several else 'column'} {', '.join(sorted(both))} {'are' if several else 'is'} written by "
            f"{them}; expected other columns, or a constant column in the key of both that tells their rows apart"
        )
    return ""


def _short(name: str) -> str:
    return name.removeprefix("default/")
