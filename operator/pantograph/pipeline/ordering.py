"""The order in which tables are written: who points at whom, and where a ring of tables is entered.

A foreign key is *yielding* when rows may be written before the rows that they point at: it can be deferred to the
commit, or one of its columns takes NULL until they are there. A ring of tables is entered where such a key leads out of
it; one that has none cannot be written at all, and is refused when it is planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pantograph.dialects.base import Dialect
from pantograph.model.mirrors import Mirror
from pantograph.model.tables import Reference

Table = tuple[str, str]


def loosened(mirror: Mirror, reference: Reference) -> tuple[str, ...]:
    """The columns of a foreign key that may be NULL until its parent is there: written by us, and not of the key."""
    free = {column.destination for column in mirror.data if column.nullable}
    return tuple(name for name in reference.columns if name in free)


def yields(target: Dialect, mirror: Mirror, reference: Reference) -> bool:
    """May rows be written before the parents that this foreign key asks for?"""
    return target.defers(reference) or bool(loosened(mirror, reference))


def parents_first(mirrors: Sequence[Mirror], target: Dialect | None = None) -> list[Mirror]:
    """Tables that others point at come first; a ring is entered where all that is asked for can come later, or else at
    the table whose name sorts first."""
    waiting = sorted(mirrors, key=lambda m: (m.destination, m.name))
    done: set[Table] = set()
    ordered: list[Mirror] = []
    here = {mirror.destination for mirror in waiting}
    while waiting:
        mirror = (
            _next(waiting, here, done, lambda _m, _r: True)
            or _next(waiting, here, done, lambda m, r: not (target and yields(target, m, r)))
            or waiting[0]
        )
        waiting.remove(mirror)
        ordered.append(mirror)
        if all(other.destination != mirror.destination for other in waiting):
            done.add(mirror.destination)
    return ordered


def _next(waiting: Sequence[Mirror], here: set[Table], done: set[Table], counts: object) -> Mirror | None:
    for mirror in waiting:
        parents = {r.parent for r in mirror.references if counts(mirror, r)}  # type: ignore[operator]
        if parents & here - {mirror.destination} <= done:
            return mirror
    return None


def in_a_ring(mirror: Mirror, mirrors: Iterable[Mirror]) -> tuple[Reference, ...]:
    """Its foreign keys that lead back to it, by way of the tables of `mirrors`; those to itself among them."""
    leads: dict[Table, set[Table]] = {}
    for one in mirrors:
        leads.setdefault(one.destination, set()).update(r.parent for r in one.references)
    return tuple(r for r in mirror.references if mirror.destination in _reached(r.parent, leads))


def _reached(start: Table, leads: Mapping[Table, set[Table]]) -> set[Table]:
    reached, todo = {start}, [start]
    while todo:
        for table in leads.get(todo.pop(), set()) - reached:
            reached.add(table)
            todo.append(table)
    return reached


def unwritable(target: Dialect, mirrors: Sequence[Mirror]) -> dict[str, str]:
    """By Reflection: why its table cannot be written, for it is in a ring of foreign keys none of which yields."""
    leads: dict[Table, set[Table]] = {}
    for one in mirrors:
        firm = {r.parent for r in one.references if r.parent != one.destination and not yields(target, one, r)}
        leads.setdefault(one.destination, set()).update(firm)
    found = {}
    for one in mirrors:
        for reference in one.references:
            if reference.parent in leads[one.destination] and one.destination in _reached(reference.parent, leads):
                ring = sorted(
                    _label(table)
                    for table in _reached(one.destination, leads)
                    if one.destination in _reached(table, leads)
                )
                found[one.name] = (
                    f"the foreign keys of {', '.join(ring)} point at each other in a ring, so that no row can be the "
                    f"first; make one of them deferrable or its column nullable (here: {reference.name})"
                )
    return found


def _label(table: Table) -> str:
    return ".".join(filter(None, table))
