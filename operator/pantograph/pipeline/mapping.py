"""How a source row becomes a destination row: decided from the two tables' shapes, without a connection."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pantograph import errors
from pantograph.dialects.base import Dialect
from pantograph.model.changes import Capture
from pantograph.model.mirrors import CascadedChild, Mapped, Mirror
from pantograph.model.tables import Column, Reference, TableShape
from pantograph.model.types import ACCENTS, BLANKS, Kind, LogicalType, misfit
from pantograph.pipeline import statements


@dataclass(frozen=True, slots=True)
class Item:
    """One column of the destination and what is in it, as a manifest says: exactly one of source, expression, value and
    system. type: of an expression or a value, as the destination writes it."""

    destination: str
    source: str = ""
    expression: str = ""
    value: int | str | None = None
    system: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Reflection asks for, in plain values. key: (source, destination) pairs; the SourceTable's key when empty.

    database: the source Database's name, for the system column of that name.
    """

    name: str
    stream: str
    where: str = ""
    accepts_cascades: bool = False
    items: tuple[Item, ...] = ()
    exclude: tuple[str, ...] = ()
    key: tuple[tuple[str, str], ...] = ()
    missing_row: str = "Insert"
    on_delete: str = "Delete"
    soft_delete: str = ""
    statement: str = ""
    delete_statement: str = ""
    database: str = ""
    dead_letters: bool = False
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a destination table in order: the key's first, those that are looked up before constants.

    looked_up: source columns whose values find a row. constants: how many columns of the key hold a constant.
    ranked: several source rows may have one key, and the one with the greatest key of the source writes the row.
    """

    items: tuple[Item, ...]
    looked_up: tuple[str, ...]
    constants: int
    ranked: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The destination's columns that find a row."""
        return tuple(item.destination for item in self.items[: len(self.looked_up) + self.constants])


def layout(asked: Asked, source: TableShape, key: Sequence[str]) -> Layout:
    """Which columns there are. key: the SourceTable's. Raises `SpecError` for what contradicts the table."""
    given = asked.items or _all_columns(asked, source, dict(asked.key))
    for n, one in enumerate(asked.items):
        if one.source and source.column(one.source) is None:
            raise errors.SpecError(_no_column(one.source, source), path=f"spec.columns[{n}].source")
    by_destination = {one.destination: one for one in given}
    found: list[Item] = []
    constants: list[Item] = []
    for n, (name, destination) in enumerate(asked.key or [(name, "") for name in key]):
        path = f"spec.key[{n}]" if asked.key else "spec.columns"
        if name and source.column(name) is None:
            raise errors.SpecError(_no_column(name, source), path=path)
        item = by_destination.get(destination) or next((one for one in given if name and one.source == name), None)
        if item is None or (name and item.source != name):
            raise errors.SpecError(
                f"no column of the destination holds {name or destination}, which is part of the key; "
                "add it to columns, or give another key",
                path=path,
            )
        if not item.source and item.value is None:
            raise errors.SpecError(
                f"{destination} is neither a column of the source nor a constant, so that it finds no row", path=path
            )
        (found if item.source else constants).append(item)
    if not found:
        raise errors.SpecError("a key needs a column of the source", path="spec.key")
    keyed = {item.destination for item in (*found, *constants)}
    looked_up = tuple(item.source for item in found)
    return Layout(
        items=(*found, *constants, *(item for item in given if item.destination not in keyed)),
        looked_up=looked_up,
        constants=len(constants),
        ranked=not _tells_apart(looked_up, source, key),
    )


def check_index(
    plan: Layout, source: TableShape, key: Sequence[str], origin: Dialect, indexes: Sequence[Sequence[str]]
) -> None:
    """Raises `KeyNotIndexed` where the source would read its whole table for each change to find the rows of a key."""
    wanted = set(plan.looked_up)
    if wanted >= set(key) or any(set(columns[: len(wanted)]) == wanted for columns in indexes):
        return
    columns = ", ".join(origin.quote(name) for name in plan.looked_up)
    name = origin.quote("_".join([source.name, *plan.looked_up]))
    raise errors.SpecError(
        f"no index of {source.label} finds rows by ({', '.join(plan.looked_up)}); this one would do: "
        f"create index {name} on {origin.table(source.schema, source.name)} ({columns})",
        path="spec.key",
        reason="KeyNotIndexed",
    )


def _all_columns(asked: Asked, source: TableShape, renamed: Mapping[str, str]) -> tuple[Item, ...]:
    for n, name in enumerate(asked.exclude):
        if source.column(name) is None:
            raise errors.SpecError(_no_column(name, source), path=f"spec.exclude[{n}]")
    items = [
        Item(renamed.get(column.name) or column.name, column.name)
        for column in source.columns
        if column.name not in asked.exclude
    ]
    twice = next((a.destination for i, a in enumerate(items) for b in items[:i] if a.destination == b.destination), "")
    if twice:
        raise errors.SpecError(f"two columns would be {twice} of the destination; exclude one", path="spec.key")
    return tuple(items)


def _no_column(name: str, source: TableShape) -> str:
    return f"no column {name} in {source.label}; there are {', '.join(column.name for column in source.columns)}"


def _tells_apart(names: Sequence[str], source: TableShape, key: Sequence[str]) -> bool:
    """Has no two source rows the same values of these columns?"""
    sets = [key, source.key, *(columns for _, columns in source.uniques)]
    firm = {column.name for column in source.columns if not column.nullable} | set(source.key)
    return any(each and set(each) <= set(names) and set(each) <= firm for each in sets)


def planned_columns(
    plan: Layout, source: TableShape, origin: Dialect, target: Dialect, mark: str = ""
) -> tuple[Column, ...]:
    """The columns that a destination table made by us has: of the same types, or the narrowest that hold them; and the
    one that `onDelete: Mark` sets.

    Raises `SpecError` naming the column whose type the destination has no room for.
    """
    columns = [_planned(item, plan, source, origin, target) for item in plan.items]
    if mark:
        type_ = LogicalType(Kind.TIMESTAMP)
        columns.append(Column(mark, type_, target.native(type_)))
    return tuple(columns)


def _planned(item: Item, plan: Layout, source: TableShape, origin: Dialect, target: Dialect) -> Column:
    key = item.destination in plan.key
    if item.source:
        (column,) = source.pick([item.source])
        if origin.name == target.name:
            # The same engine spells the type alike; computed columns and numbering stay behind, for values are copied.
            native, collation = column.native, column.collation
        else:
            there = column.type
            if there.kind is not Kind.OTHER:
                native = _native(target, there, key, f"column {column.name} of {source.label}")
                there = target.logical(native)
            # Before the table is made: it would be in the way of one that has room.
            _check_fit(column, there, source.label, f"a table of {target.name}", origin, target)
            collation = ""
        return replace(
            column, name=item.destination, native=native, generated=False, identity=False, collation=collation
        )
    if item.type:
        return Column(item.destination, target.logical(item.type), item.type)
    if item.expression:
        raise errors.SpecError(
            f"the type of {item.destination} is not known, and there is no such column yet; say it, as in "
            '`type: "numeric(12,2)"`',
            path="spec.columns",
        )
    type_ = _SYSTEM_TYPES.get(item.system) or LogicalType(*((Kind.INTEGER, 64) if _whole(item.value) else (Kind.TEXT,)))
    return Column(item.destination, type_, _native(target, type_, key, f"column {item.destination}"))


_SYSTEM_TYPES = {
    "sourceTime": LogicalType(Kind.TIMESTAMP),
    "appliedAt": LogicalType(Kind.TIMESTAMP),
    "database": LogicalType(Kind.TEXT, length=253),
    "operation": LogicalType(Kind.TEXT, length=6),
}


def _native(target: Dialect, type_: LogicalType, key: bool, what: str) -> str:
    try:
        return target.native(type_, key=key)
    except errors.SpecError as error:
        raise errors.SpecError(f"{what}: {error}", path="spec.destination.createTable") from error


def _whole(value: int | str | None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
    plan = layout(asked, source, capture.key)
    columns = []
    for item in plan.items:
        there = target.column(item.destination)
        if there is None:
            raise errors.SpecError(
                f"{target.label} has no column {item.destination}; add it there, or let it be added "
                "(createTable: true)",
                path="spec.destination.table",
            )
        if there.generated:
            if item.destination in plan.key:
                raise errors.SpecError(
                    f"column {there.name} of {target.label} is computed there, so rows cannot be found by it",
                    path="spec.destination.table",
                )
            continue
        if item.source:
            (here,) = source.pick([item.source])
            columns.append(_mapped(here, there, source, target, origin, destination))
        else:
            columns.append(_computed(item, there, asked, origin))
    if asked.soft_delete:
        columns.append(_mark(asked.soft_delete, target, origin))
    if asked.on_delete == "SetNull":
        stuck = next((c for c in columns[len(plan.key) :] if not c.nullable), None)
        if stuck is not None or len(columns) == len(plan.key):
            what = f"column {stuck.destination} may not be null" if stuck else "no column beside the key is written"
            raise errors.SpecError(f"SetNull cannot be: {what} in {target.label}", path="spec.onDelete")
    statements.check(asked.statement, columns, "spec.statement")
    statements.check(asked.delete_statement, columns[: len(plan.key)], "spec.deleteStatement")
    _check_key(plan, source, target)
    cursor = tuple(
        Mapped(c.name, origin.quote(c.name), c.type, c.native, c.type, c.native) for c in source.pick(capture.key)
    )
    given = plan.looked_up != capture.key
    return Mirror(
        name=asked.name,
        id=hashlib.sha256(asked.name.encode()).hexdigest()[:10],
        stream=asked.stream,
        capture=capture,
        source=(source.schema, source.name),
        destination=(target.schema, target.name),
        columns=tuple(columns),
        where=_where(asked, plan, capture, source, origin),
        fingerprint=fingerprint,
        other_uniques=_other_uniques(set(plan.key), target),
        references=target.references,
        referenced_by=target.referenced_by,
        accepts_cascades=asked.accepts_cascades,
        missing_row=asked.missing_row,
        on_delete=asked.on_delete,
        soft_delete=asked.soft_delete,
        statement=asked.statement,
        delete_statement=asked.delete_statement,
        lookup=tuple(capture.columns.index(name) for name in plan.looked_up) if given else (),
        constants=plan.constants,
        cursor=cursor if given else (),
        uniques=_uniques(set(plan.key), target),
        others=not {c.name for c in target.columns if not c.generated} <= {c.destination for c in columns},
        dead_letters=asked.dead_letters,
        keeps=asked.keeps,
    )


def _where(asked: Asked, plan: Layout, capture: Capture, source: TableShape, origin: Dialect) -> str:
    """What a source row must be: what the manifest says; and, of several with one key, the one with the greatest key of
    the source. The inner names are ours, so that the table's own mean the outer row."""
    conditions = [f"({asked.where})"] if asked.where else []
    if plan.looked_up != capture.key:
        conditions += [f"{origin.quote(c.name)} is not null" for c in source.pick(plan.looked_up) if c.nullable]
    if plan.ranked:
        mine = [origin.quote(name) for name in plan.looked_up]
        keys = [origin.quote(name) for name in capture.key]
        picked = [f"{name} as pantograph_j{i}" for i, name in enumerate(mine)]
        picked += [f"{name} as pantograph_k{i}" for i, name in enumerate(keys)]
        inner = f"select {', '.join(picked)} from {origin.table(source.schema, source.name)}"
        inner += f" where ({asked.where})" if asked.where else ""
        same = " and ".join(f"g.pantograph_j{i} = {name}" for i, name in enumerate(mine))
        greater = origin.beyond([f"g.pantograph_k{i}" for i in range(len(keys))], keys)
        conditions.append(f"not exists (select 1 from ({inner}) g where {same} and {greater})")
    return " and ".join(conditions) if len(conditions) > 1 else (asked.where or "".join(conditions))


def _computed(item: Item, there: Column, asked: Asked, origin: Dialect) -> Mapped:
    """A column that the source computes: as a value of the type that the destination's column has."""
    type_ = replace(there.type, folding=False)
    if item.system:
        # `insert` until the writer finds the row there.
        known = {"database": asked.database, "operation": "insert"}
        type_ = _SYSTEM_TYPES[item.system] if item.system not in known else LogicalType(Kind.TEXT)
    try:
        native = origin.native(type_)
    except errors.SpecError:
        type_ = LogicalType(Kind.TEXT)
        native = origin.native(type_)
    constant = None
    if item.expression:
        expression = origin.typed(f"({item.expression})", native)
    elif item.system in ("sourceTime", "appliedAt"):
        expression = origin.typed(origin.clock, native)
    else:
        text = asked.database if item.system == "database" else "insert" if item.system else str(item.value)
        constant = None if item.system else text
        _check_constant(text, type_, there, item)
        expression = origin.constant(text, type_, native)
    return Mapped(
        destination=there.name,
        expression=expression,
        source_type=replace(type_, native=native),
        source_native=native,
        destination_type=there.type,
        destination_native=there.native,
        nullable=there.nullable,
        constant=constant,
        system=item.system,
    )


def _mark(name: str, target: TableShape, origin: Dialect) -> Mapped:
    """The column of `onDelete: Mark`, which is NULL while the row is there."""
    there = target.column(name)
    if there is None or there.type.kind is not Kind.TIMESTAMP or not there.nullable:
        why = "may not be null" if there and not there.nullable else f"is {there.native}" if there else "is not there"
        raise errors.SpecError(
            f"the mark is a timestamp, NULL while the row is there; column {name} of {target.label} {why}",
            path="spec.softDelete.column",
        )
    type_ = LogicalType(Kind.TIMESTAMP)
    native = origin.native(type_)
    return Mapped(name, origin.typed("null", native), type_, native, there.type, there.native)


def _check_constant(text: str, type_: LogicalType, there: Column, item: Item) -> None:
    fits = True
    if type_.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT):
        fits = re.fullmatch(r"-?\d+" if type_.kind is Kind.INTEGER else r"-?\d+(\.\d+)?", text) is not None
    elif type_.kind is Kind.TEXT and there.type.length:
        fits = len(text) <= there.type.length
    if not fits:
        raise errors.SpecError(
            f"{text!r} is no value for column {item.destination}, which is {there.native}", path="spec.columns"
        )


def _mapped(
    here: Column, there: Column, source: TableShape, target: TableShape, origin: Dialect, destination: Dialect
) -> Mapped:
    _check_fit(here, there.type, source.label, target.label, origin, destination)
    return Mapped(
        destination=there.name,
        expression=origin.quote(here.name),
        source_type=here.type,
        source_native=here.native,
        destination_type=there.type,
        destination_native=there.native,
        nullable=there.nullable,
    )


def _check_fit(
    here: Column, there: LogicalType, source: str, target: str, origin: Dialect, destination: Dialect
) -> None:
    # Two dialects' types of their own (an array, an enum) only fit where the engine is the same.
    why = misfit(here.type, there)
    if origin.name != destination.name and Kind.OTHER in (here.type.kind, there.kind):
        why = f"{here.native} is a type that only {origin.name} has"
    if why is not None:
        raise errors.SpecError(
            f"column {here.name} of {source} cannot be held by {target}: {why}", path="spec.destination.table"
        )


def _check_key(plan: Layout, source: TableShape, target: TableShape) -> None:
    """Rows must be found by a unique key at the destination which tells apart all that the source tells apart."""
    wanted = set(plan.key)
    if set(target.key) != wanted and all(set(columns) != wanted for _, columns in target.uniques):
        raise errors.SpecError(
            f"{target.label} has no unique key on ({', '.join(plan.key)}), by which its rows would be found; "
            "add one there",
            path="spec.destination.table",
        )
    for item in plan.items[: len(plan.looked_up)]:
        here, there = source.column(item.source), target.column(item.destination)
        if here is None or there is None or not there.type.folding:
            continue
        if here.type.kind is not Kind.TEXT:
            continue  # of what is no text, no two values are written alike but for case or blanks
        # Where it is not known what an engine folds, its unique key refuses what differs in trailing blanks alone.
        kept = frozenset({BLANKS}) if there.type.apart is None else there.type.apart
        lost = (here.type.apart or frozenset()) - kept
        if not lost and ACCENTS not in kept and here.type.weights != there.type.weights:
            lost = frozenset({"accents, of another collation"})
        if lost or not here.type.folding:
            by = " and ".join(sorted(lost)) or "case, accents or trailing blanks"
            raise errors.SpecError(
                f"key column {there.name} of {target.label} takes texts for equal (by {by}) which {source.label} tells "
                "apart; give it a binary collation, or that of the source",
                path="spec.destination.table",
            )


def _other_uniques(key: set[str], target: TableShape) -> bool:
    return bool(_uniques(key, target))


def _uniques(key: set[str], target: TableShape) -> tuple[tuple[str, ...], ...]:
    sets = [columns for _, columns in target.uniques] + ([target.key] if target.key else [])
    return tuple(columns for columns in sets if set(columns) != key)


def shaping(mirror: Mirror) -> str:
    """A hash of all that decides what a row of the destination looks like; another one means a sweep."""
    text = json.dumps(
        [
            mirror.where,
            list(mirror.capture.key),
            mirror.capture.version,
            list(mirror.lookup),
            mirror.constants,
            [mirror.missing_row, mirror.on_delete, mirror.soft_delete, mirror.statement, mirror.delete_statement],
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
