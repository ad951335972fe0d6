"""What a Reflection needs in its destination."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from pantograph import errors
from pantograph.dialects.base import Dialect
from pantograph.model.tables import Column, TableShape
from pantograph.reconcile.actions import Action, AddColumns, CreateTable
from pantograph.reconcile.observed import DestinationSeen


@dataclass(frozen=True, slots=True)
class Planned:
    """Actions, and the destination table as it will be after them."""

    actions: tuple[Action, ...]
    shape: TableShape


def check_required(shape: TableShape, written: Collection[str]) -> None:
    """Raise `SpecError` for a column of the destination that must have a value and gets none.

    A table with triggers of its own is left alone: they may fill the column in.
    """
    lacking = [column.name for column in shape.columns if column.required and column.name not in written]
    if lacking and not shape.triggers:
        raise errors.SpecError(
            f"{shape.label} needs a value in {', '.join(lacking)} (not null, without a default), and this Reflection "
            "writes none; add it to columns, or give it a default there, or let it be null",
            path="spec.columns",
        )


def plan(
    subject: str,
    wanted: tuple[str, ...],
    key: tuple[str, ...],
    seen: DestinationSeen,
    destination: Dialect,
    columns: Callable[[], tuple[Column, ...]],
    *,
    create: bool,
    add: bool = True,
) -> Planned:
    """Create the table, or add the columns it lacks. Raises `SpecError` when that is needed and not allowed.

    wanted: names of the columns, key: of those by which a row is found. columns: what a table made by us would have;
    only asked where one is missing, for not every type has a place there. add: whether columns that a table lacks are
    missed at all.
    """
    label = f"{seen.schema}.{seen.name}" if seen.schema else seen.name
    if seen.shape is None:
        if not create:
            raise errors.SpecError(
                f"there is no table {label} in {destination.address.label}; create it, or say createTable: true",
                path="spec.destination.table",
            )
        # A column that is not copied any more (the source dropped it, the manifest leaves it out) must refuse no rows.
        made = tuple(replace(c, nullable=c.name not in key) for c in columns())
        statements = destination.create_table(seen.schema, seen.name, made, key)
        shape = TableShape(seen.schema, seen.name, made, key)
        return Planned((CreateTable(subject, f"create table {label}", tuple(statements)),), shape)
    missing = [name for name in wanted if seen.shape.column(name) is None]
    if not missing or not add:
        return Planned((), seen.shape)
    if not create:
        raise errors.SpecError(
            f"{label} has no column {missing[0]}; add it, or say createTable: true", path="spec.destination.table"
        )
    planned = {column.name: column for column in columns()}
    added = tuple(replace(planned[name], nullable=True) for name in missing)
    statements = [destination.add_column(seen.schema, seen.name, column) for column in added]
    summary = f"add {', '.join(column.name for column in added)} to {label}"
    shape = replace(seen.shape, columns=(*seen.shape.columns, *added))
    return Planned((AddColumns(subject, summary, tuple(statements)),), shape)
