"""Numbers that a database gives to rows by itself: at a copy they must go on above those that the source has given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pantograph import errors
from pantograph.apply import execute
from pantograph.database.sessions import Session
from pantograph.dialects.base import Dialect, Numbering, Statement
from pantograph.model.mirrors import Mirror
from pantograph.model.tables import Column
from pantograph.pipeline import steps
from pantograph.reconcile.actions import Action


@dataclass(frozen=True)
class Numbered:
    """A column of a copy that is numbered at the source, at the copy, or at both.

    there: how the copy numbers it, None when it does not. next: the number from which it is safe to go on.
    """

    table: tuple[str, str]
    column: Column
    there: Numbering | None
    next: int

    @property
    def label(self) -> str:
        """`schema.table.column`."""
        return ".".join([*filter(None, self.table), self.column.name])

    @property
    def behind(self) -> bool:
        """Would the copy give numbers that are taken?"""
        there = self.there
        return there is not None and there.settable and (self.next - there.next) * there.step > 0


@dataclass
class Known:
    """What is known of a source's numbers; those that could not be read, by table, with the reason."""

    next: dict[tuple[str, str], dict[str, Numbering]] = field(default_factory=dict)
    unread: dict[str, errors.PantographError] = field(default_factory=dict)


def at_source(session: Session, dialect: Dialect, tables: Iterable[tuple[str, str]]) -> Known:
    """How far the numbers of these tables are. What may not be read is no reason to stop: the copy has the rows."""
    known = Known()
    for schema, table in tables:
        try:
            with session.step(steps.INSPECT):
                found = dialect.numberings(session, schema, table)
        except errors.Refused as error:
            session.rollback()
            known.unread[".".join(filter(None, (schema, table)))] = error
            continue
        known.next[schema, table] = {one.column: one for one in found}
    return known


def at_copy(
    session: Session, target: Dialect, origin: Dialect, mirrors: Sequence[Mirror], known: Known
) -> tuple[list[Numbered], dict[str, errors.PantographError]]:
    """The numbered columns of all tables that these Reflections write, each once; and tables whose numbers may not be
    read, with the reason."""
    numbered: list[Numbered] = []
    unread: dict[str, errors.PantographError] = {}
    wanted: dict[tuple[str, str], dict[str, list[Numbering]]] = {}
    for mirror in mirrors:
        columns = wanted.setdefault(mirror.destination, {})
        by_expression = {origin.quote(name): one for name, one in known.next.get(mirror.source, {}).items()}
        for mapped in mirror.columns:
            if mapped.expression in by_expression:
                columns.setdefault(mapped.destination, []).append(by_expression[mapped.expression])
    for place, columns in wanted.items():
        try:
            with session.step(steps.INSPECT):
                shape = target.shape(session, *place)
                there = {one.column: one for one in target.numberings(session, *place)}
        except errors.Refused as error:
            session.rollback()
            unread[".".join(filter(None, place))] = error
            continue
        for column in shape.columns if shape else ():
            if column.name in there or column.name in columns:
                numbering = there.get(column.name)
                next_ = _next(session, target, place, column, numbering, columns.get(column.name, ()))
                numbered.append(Numbered(place, column, numbering, next_))
    return numbered, unread


def _next(
    session: Session,
    target: Dialect,
    place: tuple[str, str],
    column: Column,
    there: Numbering | None,
    sources: Sequence[Numbering],
) -> int:
    step = there.step if there else 1
    furthest = max if step > 0 else min
    with session.step(steps.INSPECT):
        (top,) = session.row(f"select {furthest.__name__}({target.quote(column.name)}) from {target.table(*place)}")
    numbers = [one.next for one in (*([there] if there else []), *sources)]
    if top is not None:
        numbers.append(int(top) + step)
    return furthest(numbers, default=1)


def go_on(session: Session, target: Dialect, numbered: Numbered) -> None:
    """Have the copy number on from where it is safe. Raises `Refused`, or `Contended` when somebody is in the way."""
    assert numbered.there is not None
    statements: tuple[Statement, ...] = tuple(target.number_from(*numbered.table, numbered.there, numbered.next))
    action = Action(numbered.label, f"number {numbered.label} from {numbered.next}", statements)
    execute.run(session, target, action, patience=10.0)
