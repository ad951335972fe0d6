"""Reflection: one SourceTable kept live in one table of another (or the same) Database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pantograph.api.base import ALLOW_DELETES, Model, Reference, Resource, Rule, immutable
from pantograph.api.conditions import Status
from pantograph.api.values import ColumnName, Duration, IntOrText, SchemaName, TableName, Text, Whole


def _unique(names: Iterable[str | None]) -> bool:
    listed = [name for name in names if name is not None]
    return len(set(listed)) == len(listed)


Sql = Annotated[str, Text("SQL (string)", most=8192, shown=False)]
Statement = Annotated[str, Text("a statement in the destination's SQL (string)", most=32768, least=0, shown=False)]


class Destination(Model):
    """The table that is kept live, and what may happen to rows in it that are not ours."""

    RULES = (immutable("databaseRef"), immutable("schema", optional=True), immutable("table"))

    database_ref: Reference
    """The Database that holds the copy. Immutable."""
    schema_: SchemaName | None = None
    """The table's schema; the dialect's default one unless given. Immutable."""
    table: TableName
    """The table. Immutable."""
    create_table: bool = True
    """Create the table, and add columns to it, when missing."""
    existing: Literal["", "Replace", "Keep"] = ""
    """What becomes of rows that were there before us: nothing is done while there are any and this is not said."""
    cascade: Literal["Refuse", "Accept"] = "Refuse"
    """Whether a delete may take rows, by the destination's foreign keys, that no Reflection writes."""


class Column(Model):
    """One column of the destination, and what is in it: exactly one of source, expression, value and system."""

    RULES = (
        Rule(
            message="give exactly one of source, expression, value and system",
            cel=(
                "(has(self.source) ? 1 : 0) + (has(self.expression) ? 1 : 0)"
                " + (has(self.value) ? 1 : 0) + (has(self.system) ? 1 : 0) == 1"
            ),
            holds=lambda column: [column.source, column.expression, column.value, column.system].count(None) == 3,
        ),
        Rule(
            message="missing; only a column with a source can go without, and has the same name then",
            field="destination",
            cel=(
                "has(self.source) || has(self.destination)"
                " || !(has(self.expression) || has(self.value) || has(self.system))"
            ),
            holds=lambda column: (
                column.source is not None
                or column.destination is not None
                or [column.expression, column.value, column.system] == [None, None, None]
            ),
        ),
        Rule(
            message="only a column with an expression or a value has a type of its own",
            field="type",
            cel="!has(self.type) || has(self.expression) || has(self.value)",
            holds=lambda column: column.type is None or (column.expression or column.value) is not None,
        ),
    )

    source: ColumnName | None = None
    """A column of the source."""
    expression: Sql | None = None
    """SQL of the source, over the columns of the row: `price * qty`."""
    value: IntOrText | None = None
    """A constant. With it, several sources share one table."""
    system: Literal["sourceTime", "appliedAt", "database", "operation"] | None = None
    """What Pantograph knows of the change: when it was made and when applied, the Database's name, the operation."""
    destination: ColumnName | None = None
    """The column of the destination; the name of `source` unless given."""
    type: Annotated[str, Text("a type of the destination (string)", most=128)] | None = None
    """Type of an expression or a value, as the destination writes it: `numeric(12,2)`."""

    @property
    def name(self) -> str:
        """The column of the destination."""
        return self.destination or self.source or ""


class KeyColumn(Model):
    """One column by which a row of the destination is found."""

    RULES = (
        Rule(
            message="give source, destination or both",
            cel="has(self.source) || has(self.destination)",
            holds=lambda key: key.source is not None or key.destination is not None,
        ),
    )

    source: ColumnName | None = None
    """A column of the source; may be left out where `destination` is a column that `columns` fills with a constant."""
    destination: ColumnName | None = None
    """The column of the destination; the name of `source` unless given."""

    @property
    def name(self) -> str:
        """The column of the destination."""
        return self.destination or self.source or ""


class SoftDelete(Model):
    """How a deleted row is marked."""

    column: ColumnName
    """A column of the destination that takes the time of the delete, and NULL while the row is there."""


class SchemaChange(Model):
    """What follows when the source's columns change."""

    added: Literal["Add", "Ignore"] = "Add"
    """A new column: added to the destination, or left out. Only where no `columns` are given."""
    dropped: Literal["Keep", "Stop"] = "Keep"
    """A column that is gone: the destination's stays as it is, or the Reflection stops."""
    retyped: Literal["Widen", "Stop"] = "Widen"
    """A column of another type: the destination's is widened where that loses nothing, or the Reflection stops."""


class Verify(Model):
    """Compare source and destination, while both are live."""

    every: Annotated[timedelta, Duration("1m", "365d")]
    """How often."""
    repair: bool = True
    """Whether rows that differ are copied again."""


class ReflectionSpec(Model):
    """What is copied where, and what happens when that is not possible."""

    RULES = (
        immutable("sourceTableRef"),
        Rule(
            message="exclude is for when no columns are given: leave one of them out",
            field="exclude",
            cel="size(self.columns) == 0 || size(self.exclude) == 0",
            holds=lambda spec: not (spec.columns and spec.exclude),
        ),
        Rule(
            message="missing; onDelete Mark needs softDelete: {column: …}",
            field="softDelete",
            cel="self.onDelete != 'Mark' || has(self.softDelete)",
            holds=lambda spec: spec.on_delete != "Mark" or spec.soft_delete is not None,
        ),
        Rule(
            message="softDelete is for onDelete Mark: leave it out, or say onDelete: Mark",
            field="softDelete",
            cel="self.onDelete == 'Mark' || !has(self.softDelete)",
            holds=lambda spec: spec.on_delete == "Mark" or spec.soft_delete is None,
        ),
        # What follows compares items of long lists, which costs more in CEL than the API server grants.
        Rule(
            message="two columns have the same destination",
            field="columns",
            holds=lambda spec: _unique(column.name for column in spec.columns),
        ),
        Rule(
            message="two columns have the same destination",
            field="key",
            holds=lambda spec: _unique(column.name for column in spec.key),
        ),
        Rule(
            message="two columns have the same source",
            field="key",
            holds=lambda spec: _unique(column.source for column in spec.key),
        ),
        Rule(
            message="a column is named twice",
            field="exclude",
            holds=lambda spec: _unique(spec.exclude),
        ),
        Rule(
            message="every column of the key must be the destination of one of columns",
            field="key",
            holds=lambda spec: (
                not spec.columns or {column.name for column in spec.key} <= {column.name for column in spec.columns}
            ),
        ),
    )

    source_table_ref: Reference
    """The SourceTable that is copied. Immutable."""
    destination: Destination
    """The table that is kept live."""
    stream: Annotated[
        str,
        Text("the name of a stream (letters, digits, '-', '_' and '.', 63 at most)", 63, pattern=r"^[-A-Za-z0-9_.]+$"),
    ] = "default"
    """Reflections of one stream, from one Database to one other, move together: their tables show one moment."""
    columns: Annotated[tuple[Column, ...], Field(max_length=1600)] = ()
    """The columns of the destination; all of the source, under their own names, unless given."""
    exclude: Annotated[tuple[ColumnName, ...], Field(max_length=1600)] = ()
    """Where no `columns` are given: all but these."""
    key: Annotated[tuple[KeyColumn, ...], Field(max_length=32)] = ()
    """How a row of the destination is found; the SourceTable's key unless given."""
    where: Annotated[str, Text("a condition in the source's SQL (string)", most=8192, least=0, shown=False)] = ""
    """A condition in the source's SQL; a row that stops matching is deleted from the destination."""
    missing_row: Literal["Insert", "Ignore", "Wait"] = "Insert"
    """When the destination has no row of that key: insert it, leave it, or wait until somebody else has."""
    on_delete: Literal["Delete", "Ignore", "SetNull", "Mark"] = "Delete"
    """When a row is gone from the source: delete it, leave it, set the columns written here to NULL, or mark it."""
    soft_delete: SoftDelete | None = None
    """How a row is marked, for `onDelete: Mark`."""
    statement: Statement = ""
    """A statement in the destination's SQL, with `:column` parameters, run per changed row in place of the upsert."""
    delete_statement: Statement = ""
    """The same in place of the delete."""
    on_error: Literal["Stop", "DeadLetter"] = "Stop"
    """When a row cannot be written: stop, or set it aside and go on."""
    on_position_lost: Literal["Sweep", "Stop"] = "Sweep"
    """When the source cannot tell what happened since we last looked: compare everything, or stop."""
    schema_change: SchemaChange = SchemaChange()
    """What follows when the source's columns change."""
    verify: Verify | None = None
    """Compare source and destination while live; off unless given."""
    initial_snapshot: bool = True
    """Begin by copying what is there; without, only what changes from then on is copied."""
    resync_token: Annotated[str, Text("a text (string)", most=128, least=0)] = ""
    """Change it, to anything else, to copy everything again."""
    paused: bool = False
    """Move nothing; changes go on being captured, and wait."""


class SnapshotStatus(Model):
    """How far the sweep is."""

    rows: Annotated[int, Whole(0, 2**53)] = 0
    """Rows read so far."""
    percent: Annotated[int, Whole(0, 100)] | None = None
    """Of the table, by estimate; 100 when it is done."""


class ReflectionStatus(Status):
    """How far the copy is."""

    lag_seconds: Annotated[float, Field(ge=0)] | None = None
    """Age, by the source's clock, of the oldest change that has not been applied; 0 when there is none."""
    rows: Annotated[int, Whole(0, 2**53)] | None = None
    """Rows in the destination, by estimate."""
    rows_per_second: Annotated[float, Field(ge=0)] | None = None
    """Rows that were written or deleted a second, of late."""
    snapshot: SnapshotStatus = SnapshotStatus()
    """How far the sweep is, first copy or later."""
    image: bool | None = None
    """Whether the destination shows the source as it was at one moment."""
    image_reason: Annotated[str, Text("a text", most=1024, least=0)] = ""
    """Why it does not."""
    image_at: datetime | None = None
    """The moment of the source that the destination last showed."""
    parked: Annotated[int, Whole(0, 2**53)] | None = None
    """Rows that wait for a row they refer to."""
    dead_letters: Annotated[int, Whole(0, 2**53)] | None = None
    """Rows set aside because they could not be written."""
    held_deletes: Annotated[int, Whole(0, 2**53)] | None = None
    """Rows that a sweep would delete and does not until `pantograph.dev/allow-deletes` says so."""
    verified_at: datetime | None = None
    """When it was last compared with its source to the end, as `verify` says."""
    differing: Annotated[int, Whole(0, 2**53)] | None = None
    """Rows that differed then, those that were repaired as well."""


def _allowed_deletes_readable(reflection: Reflection) -> bool:
    text = reflection.metadata.annotations.get(ALLOW_DELETES, "0")
    return text.isascii() and text.isdigit() and len(text) <= 15


class Reflection(Resource):
    """One SourceTable kept live in one table of another (or the same) Database."""

    KIND: ClassVar[str] = "Reflection"
    PLURAL: ClassVar[str] = "reflections"

    RULES = (
        Rule(
            message=f'expected a number of rows in quotes in {ALLOW_DELETES}: "1500"',
            field="metadata.annotations",
            holds=_allowed_deletes_readable,  # the API server's rules do not see annotations
        ),
    )

    spec: ReflectionSpec
    """What is copied where."""
    status: ReflectionStatus = ReflectionStatus()
    """How far the copy is."""

    @property
    def source_key(self) -> tuple[str, str]:
        """Namespace and name of its SourceTable."""
        return self.namespace, self.spec.source_table_ref.name

    @property
    def destination_key(self) -> tuple[str, str]:
        """Namespace and name of the Database that holds the copy."""
        return self.namespace, self.spec.destination.database_ref.name

    @property
    def stream_id(self) -> tuple[str, str]:
        """Destination Database and stream: among the Reflections of one source Database, those that move together."""
        return self.spec.destination.database_ref.name, self.spec.stream

    @property
    def qualified_table(self) -> str:
        """The destination for people to read, with its schema where one is given: `sales.orders`."""
        return ".".join(part for part in (self.spec.destination.schema_, self.spec.destination.table) if part)

    @property
    def expressions(self) -> Mapping[str, str]:
        """The SQL that the source evaluates, by its field: `spec.where`, `spec.columns[2].expression`."""
        where = {"spec.where": self.spec.where} if self.spec.where else {}
        numbered = enumerate(self.spec.columns)
        return where | {
            f"spec.columns[{number}].expression": one.expression for number, one in numbered if one.expression
        }

    @property
    def statements(self) -> Mapping[str, str]:
        """The SQL that the destination runs, by its field."""
        given = {"spec.statement": self.spec.statement, "spec.deleteStatement": self.spec.delete_statement}
        return {path: text for path, text in given.items() if text}

    @property
    def columns_given(self) -> bool:
        """Whether the columns are listed; else they are those of the source, but for `exclude`."""
        return bool(self.spec.columns)

    @property
    def allowed_deletes(self) -> int:
        """How many rows a held sweep may delete, by the annotation `pantograph.dev/allow-deletes`; 0 without it."""
        return int(self.metadata.annotations.get(ALLOW_DELETES, "0")) if _allowed_deletes_readable(self) else 0
