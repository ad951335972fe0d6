"""What follows when columns of the source were dropped or have another type: `spec.schemaChange`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pantograph import errors
from pantograph.dialects.base import Dialect, Statement
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import misfit, wider
from pantograph.reconcile.actions import Action, WidenColumns
from pantograph.reconcile.reflections import Planned


@dataclass(frozen=True, slots=True)
class Pair:
    """A column of the source, and the one of the destination that holds it. key: rows are found by it."""

    source: Column
    destination: Column
    key: bool = False


def stop(source: TableShape, remembered: Mapping[str, str], used: Sequence[str], *, dropped: str, retyped: str) -> None:
    """Raise `SchemaChanged` for the first column that is gone or has another type, where the manifest says Stop.

    remembered: the columns that were copied, with their types then. used: those that the manifest asks for now.
    """
    for name in used:
        was, now = remembered.get(name), source.column(name)
        if was is None:
            continue
        if now is None and dropped == "Stop":
            raise errors.SchemaChanged(
                f"column {name} ({was}) of {source.label} is gone, and the Reflection stops, as schemaChange.dropped "
                "says; to go on without it, say dropped: Keep, or change resyncToken; where columns name it, take it "
                "out there"
            )
        if now is not None and now.native != was and retyped == "Stop":
            raise errors.SchemaChanged(
                f"column {name} of {source.label} was {was} and is {now.native}, and the Reflection stops, as "
                "schemaChange.retyped says; to go on, say retyped: Widen, or change resyncToken: its rows are copied "
                "again"
            )


def widen(
    subject: str,
    pairs: Sequence[Pair],
    remembered: Mapping[str, str],
    source: TableShape,
    seen: TableShape,
    origin: Dialect,
    destination: Dialect,
    *,
    allowed: bool,
) -> Planned:
    """Widen the destination's columns that cannot hold what the source's hold now; `seen` where none must be.

    Only for columns whose type was another one when they were last copied: what never fitted is a mistake in the
    manifest. Raises `SchemaChanged`, with the ALTER that a person could run, where no type holds both what is there and
    what is to come, the engine cannot do it, or it is not `allowed`.
    """
    statements: list[Statement] = []
    changed: dict[str, Column] = {}
    for pair in pairs:
        here, there = pair.source, pair.destination
        was = remembered.get(here.name, here.native)
        if was == here.native or misfit(here.type, there.type) is None:
            continue
        found = _wider(pair, origin, destination)
        statement = destination.change_type(seen.schema, seen.name, there, found.native) if found else None
        if found is None or statement is None or not allowed:
            raise errors.SchemaChanged(_by_hand(pair, was, source, seen, origin, destination))
        statements.append(statement)
        changed[there.name] = replace(there, type=found.type, native=found.native)
    if not changed:
        return Planned((), seen)
    summary = ", ".join(f"{c.name} to {c.native}" for c in changed.values())
    action: Action = WidenColumns(subject, f"widen {summary} in {seen.label}", tuple(statements))
    columns = tuple(changed.get(column.name, column) for column in seen.columns)
    return Planned((action,), replace(seen, columns=columns))


def _wider(pair: Pair, origin: Dialect, destination: Dialect) -> Column | None:
    """The destination's column with a type that holds its values and the source's; None when there is none."""
    here, there = pair.source, pair.destination
    type_ = wider(there.type, here.type)
    if type_ is None:
        return None
    if origin.name == destination.name and type_ == here.type:
        return replace(there, type=type_, native=here.native)
    try:
        native = destination.native(replace(type_, native="", folding=False), key=pair.key)
    except errors.SpecError:
        return None
    same = there.type
    logical = replace(destination.logical(native), folding=same.folding, apart=same.apart, weights=same.weights)
    fits = misfit(there.type, logical) is None and misfit(here.type, logical) is None
    return replace(there, type=logical, native=native) if fits else None


def _by_hand(pair: Pair, was: str, source: TableShape, seen: TableShape, origin: Dialect, destination: Dialect) -> str:
    here, there = pair.source, pair.destination
    said = (
        f"column {here.name} of {source.label} was {was} and is {here.native}, which column {there.name} "
        f"({there.native}) of {seen.label} in {destination.address.label} cannot hold; "
    )
    try:
        native = here.native if origin.name == destination.name else destination.native(here.type, key=pair.key)
    except errors.SpecError as error:
        return f"{said}{error}"
    statement = destination.change_type(seen.schema, seen.name, there, native)
    if statement is None:
        return (
            f"{said}{destination.name} cannot change the type of a column: drop the table there, and it is made anew "
            "and copied again"
        )
    return f"{said}where that loses nothing that you need, run there: {statement.sql}"
