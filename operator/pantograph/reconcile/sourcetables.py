"""What a SourceTable needs in its database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pantograph import errors
from pantograph.dialects.base import Dialect
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.tables import TableShape
from pantograph.reconcile.actions import Action, InstallCapture, UpgradeCapture
from pantograph.reconcile.observed import TableSeen


def wanted_capture(dialect: Dialect, seen: TableSeen, key_columns: Sequence[str], noted: Sequence[str] = ()) -> Capture:
    """The capture that the manifest asks for, which notes the key and what else finds rows.

    Raises `SpecError` for a table or a key that will not do.
    """
    shape = seen.shape
    if shape is None:
        label = f"{seen.schema}.{seen.name}" if seen.schema else seen.name
        raise errors.SpecError(
            f"there is no table {label} in {dialect.address.label}, "
            f"or {dialect.address.username or 'we'} may not read it",
            path="spec.table",
        )
    key = _key(shape, key_columns)
    identity = names.capture_id(shape.schema, shape.name)
    columns = (*key, *(name for name in noted if name not in key and shape.column(name) is not None))
    version = 1
    if seen.capture is not None and seen.capture.columns:
        same = seen.capture.columns == columns
        version = seen.capture.version if same else seen.capture.version + 1
    return Capture(
        id=identity,
        schema=shape.schema,
        table=shape.name,
        key=key,
        columns=columns,
        event_table=dialect.event_table(identity, shape.schema, shape.name),
        version=version,
        identity=shape.identity,
    )


def _key(shape: TableShape, given: Sequence[str]) -> tuple[str, ...]:
    if not given:
        if shape.key:
            return shape.key
        raise errors.SpecError(f"{shape.label} has no primary key; {_advice(shape)}", path="spec.keyColumns")
    missing = [name for name in given if shape.column(name) is None]
    if missing:
        have = ", ".join(column.name for column in shape.columns)
        raise errors.SpecError(f"no column {missing[0]} in {shape.label}; there are {have}", path="spec.keyColumns")
    sets = [set(shape.key), *(set(columns) for _, columns in shape.uniques)]
    if set(given) not in sets:
        raise errors.SpecError(
            f"({', '.join(given)}) is not unique in {shape.label}; {_advice(shape)}",
            path="spec.keyColumns",
        )
    nullable = _nullable(shape, given)
    if nullable:
        raise errors.SpecError(
            f"column {nullable} of {shape.label} may be null; make it NOT NULL, or {_advice(shape, but=given)}",
            path="spec.keyColumns",
        )
    return tuple(given)


def _advice(shape: TableShape, but: Sequence[str] = ()) -> str:
    """Which columns would do as a key, else what to change."""
    usable = [columns for columns in (shape.key, *unique_and_not_null(shape)) if columns]
    if usable:
        return " or ".join(f"keyColumns: [{', '.join(columns)}]" for columns in usable) + " would do"
    for _, columns in shape.uniques:
        if columns and set(columns) != set(but):
            return (
                f"({', '.join(columns)}) is unique, but {_nullable(shape, columns)} may be null: make it NOT NULL, and "
                f"say keyColumns: [{', '.join(columns)}]"
            )
    return "give it a primary key, or a unique key on columns that are not null, and name that as keyColumns"


def unique_and_not_null(shape: TableShape) -> list[tuple[str, ...]]:
    """Sets of columns, beside the primary key, by which rows can be told apart; the shortest first."""
    sets = [columns for _, columns in shape.uniques if columns and not _nullable(shape, columns)]
    return sorted(sets, key=lambda columns: (len(columns), columns))


def _nullable(shape: TableShape, columns: Sequence[str]) -> str:
    return next((column.name for column in shape.pick(columns) if column.nullable), "")


def plan(subject: str, dialect: Dialect, seen: TableSeen, capture: Capture) -> list[Action]:
    """Actions that bring a capture about; none when it is there and healthy."""
    assert seen.shape is not None
    known = seen.capture is not None and replace(seen.capture, identity="") == replace(capture, identity="")
    same_table = seen.capture is not None and seen.capture.identity == capture.identity
    if known and same_table and seen.state.healthy and not seen.broken:
        if not seen.state.outdated:
            return []
        summary = f"upgrade capture of {seen.shape.label} ({'; '.join(seen.state.outdated)})"
        return [UpgradeCapture(subject, summary, tuple(dialect.upgrade(capture, seen.shape)))]
    mends = seen.capture is not None
    if seen.capture is not None:
        # What was written while it was not whole is unknown: the version tells every Reflection to sweep, also when the
        # process that mends it dies before it can.
        capture = replace(capture, version=seen.capture.version + 1)
    why = seen.broken or "; ".join(seen.state.problems) or ("it is another table" if mends and not same_table else "")
    summary = f"{'mend' if mends else 'install'} capture of {seen.shape.label}" + (f" ({why})" if why and mends else "")
    statements = (*dialect.install(capture, seen.shape), *seen.leftovers)
    return [InstallCapture(subject, summary, statements, capture, mends)]
