"""SourceTable: one table of a Database whose changes are captured."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pantograph.api.base import Model, Reference, Resource, Rule, immutable
from pantograph.api.conditions import Status
from pantograph.api.values import ColumnName, Duration, SchemaName, TableName, Text, Whole


class Retention(Model):
    """How long changes may wait for a Reflection that does not move; past it they go, and it sweeps when it is back."""

    max_age: Annotated[timedelta, Duration("1m", "3650d")] = timedelta(days=7)
    """The age of a change at most. As long as that without a reflector, and nothing is captured any more."""
    max_rows: Annotated[int, Whole(1, 10**12)] = 100_000_000
    """Changes of this table that are kept at most."""


class SourceTableSpec(Model):
    """Which table, and how its changes are kept."""

    RULES = (
        immutable("databaseRef"),
        immutable("schema", optional=True),
        immutable("table"),
        immutable("keyColumns"),
        Rule(
            message="a column is named twice",
            field="keyColumns",
            cel="self.keyColumns.all(one, self.keyColumns.exists_one(other, one == other))",
            holds=lambda spec: len(set(spec.key_columns)) == len(spec.key_columns),
        ),
    )

    database_ref: Reference
    """The Database that holds the table. Immutable."""
    schema_: SchemaName | None = None
    """The table's schema; the dialect's default one unless given. Immutable."""
    table: TableName
    """The table, in the letters that the database knows it by. Immutable."""
    key_columns: Annotated[tuple[ColumnName, ...], Field(max_length=32)] = ()
    """What identifies a row: unique and not null. The primary key unless given. Immutable."""
    retention: Retention = Retention()
    """How long changes may wait."""
    deletion_policy: Literal["Delete", "Orphan"] = "Delete"
    """What becomes of the capture when this object goes: removed, or left where it is."""


class CaptureStatus(Model):
    """The capture as it is installed."""

    version: Annotated[int, Whole(0, 2**53)] = 0
    """Grows whenever the captured columns change."""
    columns: Annotated[tuple[ColumnName, ...], Field(max_length=1600)] = ()
    """The captured columns, the key first."""
    blind_spots: Annotated[tuple[Annotated[str, Text("a text", most=1024)], ...], Field(max_length=64)] = ()
    """What no trigger sees on this table."""


class SourceTableStatus(Status):
    """What was seen of the table and of its capture."""

    capture: CaptureStatus = CaptureStatus()
    """The capture as it is installed."""
    pending_events: Annotated[int, Whole(0, 2**53)] | None = None
    """Changes that a Reflection has yet to apply."""


class SourceTable(Resource):
    """One table of a Database whose changes are captured."""

    KIND: ClassVar[str] = "SourceTable"
    PLURAL: ClassVar[str] = "sourcetables"

    spec: SourceTableSpec
    """Which table, and how its changes are kept."""
    status: SourceTableStatus = SourceTableStatus()
    """What was seen of it."""

    @property
    def database_key(self) -> tuple[str, str]:
        """Namespace and name of its Database."""
        return self.namespace, self.spec.database_ref.name

    @property
    def qualified_table(self) -> str:
        """The table for people to read, with its schema where one is given: `public.orders`."""
        return ".".join(part for part in (self.spec.schema_, self.spec.table) if part)
