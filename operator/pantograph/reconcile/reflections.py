"""What a Reflection needs in its destination."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pantograph import errors
from pantograph.dialects.base import Dialect
from pantograph.model.tables import TableShape
from pantograph.pipeline import mapping
from pantograph.reconcile.actions import Action, AddColumns, CreateTable
from pantograph.reconcile.observed import DestinationSeen


@dataclass(frozen=True, slots=True)
class Planned:
    """Actions, and the destination table as it will be after them."""

    actions: tuple[Action, ...]
    shape: TableShape


def plan(
    subject: str,
    source: TableShape,
    key: tuple[str, ...],
    seen: DestinationSeen,
    origin: Dialect,
    destination: Dialect,
    *,
    create: bool,
) -> Planned:
    """Create the table, or add the columns it lacks. Raises `SpecError` when that is needed and not allowed."""
    label = f"{seen.schema}.{seen.name}" if seen.schema else seen.name
    if seen.shape is None:
        if not create:
            raise errors.SpecError(
                f"there is no table {label} in {destination.address.label}; create it, or say createTable: true",
                path="spec.destination.table",
            )
        columns = mapping.planned_columns(replace(source, key=key), origin, destination)
        columns = tuple(replace(c, nullable=c.nullable and c.name not in key) for c in columns)
        statements = destination.create_table(seen.schema, seen.name, columns, key)
        shape = TableShape(seen.schema, seen.name, columns, key)
        return Planned((CreateTable(subject, f"create table {label}", tuple(statements)),), shape)
    missing = [column for column in source.columns if seen.shape.column(column.name) is None]
    if not missing:
        return Planned((), seen.shape)
    if not create:
        raise errors.SpecError(
            f"{label} has no column {missing[0].name}; add it, or say createTable: true", path="spec.destination.table"
        )
    planned = {c.name: c for c in mapping.planned_columns(source, origin, destination)}
    added = tuple(replace(planned[column.name], nullable=True) for column in missing)
    statements = [destination.add_column(seen.schema, seen.name, column) for column in added]
    summary = f"add {', '.join(column.name for column in added)} to {label}"
    shape = replace(seen.shape, columns=(*seen.shape.columns, *added))
    return Planned((AddColumns(subject, summary, tuple(statements)),), shape)
