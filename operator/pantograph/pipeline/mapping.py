"""How a source row becomes a destination row: decided from the two tables' shapes, without a connection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pantograph import errors
from pantograph.dialects.base import Dialect
from pantograph.model.changes import Capture
from pantograph.model.mirrors import CascadedChild, Mapped, Mirror
from pantograph.model.tables import Column, Reference, TableShape
from pantograph.model.types import Kind, misfit


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Reflection asks for, in plain values."""

    name: str
    stream: str
    where: str = ""
    accepts_cascades: bool = False


def planned_columns(source: TableShape, origin: Dialect, target: Dialect) -> tuple[Column, ...]:
    """The columns that a destination table made by us has: of the same types, or the narrowest that hold them.

    Raises `SpecError` naming the column whose type the destination has no room for.
    """
    columns = []
    for column in source.columns:
        if origin.name == target.name:
            # The same engine spells the type alike; computed columns and numbering stay behind, for values are copied.
            native, collation = column.native, column.collation
        else:
            try:
                native, collation = target.native(column.type, key=column.name in source.key), ""
            except errors.SpecError as error:
                raise errors.SpecError(
                    f"column {column.name} of {source.label}: {error}", path="spec.destination.createTable"
                ) from error
        columns.append(replace(column, native=native, generated=False, identity=False, collation=collation))
    return tuple(columns)


def mirror(
    asked: Asked,
    capture: Capture,
    source: TableShape,
    target: TableShape,
    origin: Dialect,
    destination: Dialect,
    fingerprint: str,
) -> Mirror:
    """The Reflection, worked out. Raises `SpecError` for what the destination's table cannot take, by column name."""
    names = list(capture.key) + [c.name for c in source.columns if c.name not in capture.key]
    columns = []
    for name in names:
        here = source.column(name)
        if here is None:
            raise errors.SpecError(f"no column {name} in {source.label}", path="spec.keyColumns")
        there = target.column(name)
        if there is None:
            raise errors.SpecError(
                f"{target.label} has no column {name}; add it there, or let it be added (createTable: true)",
                path="spec.destination.table",
            )
        if there.generated:
            if name in capture.key:
                raise errors.SpecError(
                    f"column {name} of {target.label} is computed there, so rows cannot be found by it",
                    path="spec.destination.table",
                )
            continue
        columns.append(_mapped(here, there, source, target, origin, destination))
    key = tuple(capture.key)
    _check_key(key, source, target)
    return Mirror(
        name=asked.name,
        id=hashlib.sha256(asked.name.encode()).hexdigest()[:10],
        stream=asked.stream,
        capture=capture,
        source=(source.schema, source.name),
        destination=(target.schema, target.name),
        columns=tuple(columns),
        where=asked.where,
        fingerprint=fingerprint,
        other_uniques=_other_uniques(set(key), target),
        references=target.references,
        referenced_by=target.referenced_by,
        accepts_cascades=asked.accepts_cascades,
    )


def _mapped(
    here: Column, there: Column, source: TableShape, target: TableShape, origin: Dialect, destination: Dialect
) -> Mapped:
    # Two dialects' types of their own (an array, an enum) only fit where the engine is the same.
    same_engine = origin.name == destination.name
    why = misfit(here.type, there.type)
    if why is None and not same_engine and Kind.OTHER in (here.type.kind, there.type.kind):
        why = f"{here.native} is a type that only {origin.name} has"
    if why is not None:
        raise errors.SpecError(
            f"column {here.name} of {source.label} cannot be held by {target.label}: {why}",
            path="spec.destination.table",
        )
    return Mapped(
        destination=there.name,
        expression=origin.quote(here.name),
        source_type=here.type,
        source_native=here.native,
        destination_type=there.type,
        destination_native=there.native,
        nullable=there.nullable,
    )


def _check_key(key: Sequence[str], source: TableShape, target: TableShape) -> None:
    """Rows must be found by a unique key at the destination which tells apart all that the source tells apart."""
    wanted = set(key)
    if set(target.key) != wanted and all(set(columns) != wanted for _, columns in target.uniques):
        raise errors.SpecError(
            f"{target.label} has no unique key on ({', '.join(key)}), by which its rows would be found; add one there",
            path="spec.destination.table",
        )
    for name in key:
        here, there = source.column(name), target.column(name)
        if here is not None and there is not None and there.type.folding and not here.type.folding:
            raise errors.SpecError(
                f"key column {name} of {target.label} takes texts for equal (by case, accents or trailing blanks) "
                f"which {source.label} tells apart; give it a binary or case-sensitive collation",
                path="spec.destination.table",
            )


def _other_uniques(key: set[str], target: TableShape) -> bool:
    sets = [set(columns) for _, columns in target.uniques]
    if target.key:
        sets.append(set(target.key))
    return any(columns != key for columns in sets)


def shaping(mirror: Mirror) -> str:
    """A hash of all that decides what a row of the destination looks like; another one means a sweep."""
    text = json.dumps(
        [
            mirror.where,
            list(mirror.capture.key),
            mirror.capture.version,
            [(c.destination, c.expression, c.source_native, c.destination_native) for c in mirror.columns],
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Writing:
    """A Reflection that writes a destination table, as far as cascades must know it."""

    owner: str
    name: str
    key: tuple[str, ...]


def cascades(
    start: TableShape,
    shapes: Mapping[tuple[str, str], TableShape],
    writing: Mapping[tuple[str, str], Sequence[Writing]],
) -> tuple[CascadedChild, ...]:
    """All tables whose rows a delete from `start` takes or changes, through all levels, with who writes them.

    shapes: every table that can be reached. A table is followed once for each way that leads to it, and a way ends
    where it would meet a table again: what a deeper round takes is noted when its own delete is looked up.
    """
    found: list[CascadedChild] = []

    def follow(shape: TableShape, path: tuple[Reference, ...], seen: frozenset[tuple[str, str]]) -> None:
        for reference in shape.referenced_by:
            if reference.on_delete not in ("CASCADE", "SET NULL", "SET DEFAULT"):
                continue
            child = shapes.get(reference.table)
            here = (*path, reference)
            writers = writing.get(reference.table, ())
            if child is None or not writers:
                found.append(CascadedChild(here))
            for one in writers if child is not None else ():
                types = tuple(c.type for c in child.pick(one.key)) if child is not None else ()
                found.append(CascadedChild(here, one.owner, one.name, one.key, types))
            if reference.on_delete == "CASCADE" and child is not None and reference.table not in seen:
                follow(child, here, seen | {reference.table})

    follow(start, (), frozenset({(start.schema, start.name)}))
    return tuple(found)
