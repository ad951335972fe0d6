"""Capture by one trigger of the statement, rendered: the event table, the lease, and what no trigger sees.

An event is a rowversion and the key: "this key is dirty". No table that the trigger writes has an identity column, for
the application would read ours in @@IDENTITY. The trigger writes by ownership: schema and table have the same owner,
and then the application's user needs no grant. Why it is done so: docs/decisions/mssql-capture.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from pantograph import errors
from pantograph.dialects import marks
from pantograph.dialects.base import CaptureState, Session, Statement
from pantograph.dialects.mssql import inspection, types
from pantograph.dialects.mssql.literals import is_there, name, text
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.tables import Column, TableShape

NOW = "datediff_big(second, '19700101', sysutcdatetime())"
_LONGEST = 128

Ours = Callable[[str], str]


class Rendering:
    """The SQL of one capture. schema: where our tables live."""

    def __init__(self, capture: Capture, schema: str, ours: Ours, default_schema: str) -> None:
        self.capture, self.schema, self.ours = capture, schema, ours
        self.table_schema = capture.schema or default_schema

    @property
    def events(self) -> str:
        return self.ours(self.capture.event_table)

    @property
    def table(self) -> str:
        return f"{name(self.table_schema)}.{name(self.capture.table)}"

    @property
    def label(self) -> str:
        return f"{self.table_schema}.{self.capture.table}"

    @property
    def trigger_name(self) -> str:
        return names.ours("pantograph", self.capture.table, self.capture.id, _LONGEST)

    @property
    def trigger(self) -> str:
        # A trigger lives in the schema of its table.
        return f"{name(self.table_schema)}.{name(self.trigger_name)}"

    def columns(self, shape: TableShape) -> list[str]:
        return [f"k{i} {types.event_type(column)} null" for i, column in enumerate(shape.pick(self.capture.columns))]

    def create(self, shape: TableShape) -> list[Statement]:
        there = is_there(self.schema, self.capture.event_table)
        columns = self.columns(shape)
        index = names.ours("rv", self.capture.table, self.capture.id, _LONGEST)
        statements = [
            Statement(
                f"if not {there} create table {self.events} (rv rowversion not null, version int not null, "
                f"at datetime2(3) not null, {', '.join(columns)})"
            ),
            Statement(
                f"if not exists (select 1 from sys.indexes where object_id = {self._object_id} and type > 0) "
                f"create clustered index {name(index)} on {self.events} (rv)"
            ),
        ]
        for i, column in list(enumerate(columns))[len(self.capture.key) :]:
            statements.append(
                Statement(
                    f"if not exists (select 1 from sys.columns where object_id = {self._object_id} "
                    f"and name = N'k{i}') alter table {self.events} add {column}"
                )
            )
        # A writer of many rows would lock the table as a whole, and our reader would wait for it.
        statements.append(Statement(f"alter table {self.events} set (lock_escalation = disable)"))
        return [*statements, self.replace(shape)]

    @property
    def _object_id(self) -> str:
        return (
            f"(select object_id from sys.tables where schema_id = schema_id({text(self.schema)}) "
            f"and name = {text(self.capture.event_table)})"
        )

    def replace(self, shape: TableShape) -> Statement:
        """The trigger, in one transaction: whoever writes waits for it, and meets the old one or the new one.

        Not CREATE OR ALTER, which came with the first service pack of 2016 only.
        """
        old = is_there(self.table_schema, self.trigger_name, "TR")
        return Statement(
            f"set xact_abort on; begin transaction; if {old} drop trigger {self.trigger}; "
            f"execute ({text(self.definition(shape))}); commit transaction; set xact_abort off",
            self.label,
        )

    def definition(self, shape: TableShape) -> str:
        """CREATE TRIGGER, as the server keeps it.

        ROWCOUNT of the session would cut our INSERT short. No look at ROWCOUNT_BIG(): in a MERGE it counts all actions.
        No DISTINCT or UNION of keys: it would take 'a' and 'A' for one. The lease is read without a lock, which a
        SERIALIZABLE writer would keep to its end.
        """
        columns = shape.pick(self.capture.columns)
        moved = " or ".join([f"update({name(c.name)})" for c in columns])
        sql = (
            f"create trigger {self.trigger} on {self.table} after insert, update, delete as begin "
            f"set nocount on; set rowcount 0; "
            f"if (select until from {self.ours('lease')} with (readuncommitted) where id = 1) > {NOW} begin "
            f"{self._insert(columns, 'inserted')}; "
            f"if {moved} or not exists (select 1 from inserted) {self._insert(columns, 'deleted')}; "
            f"end end"
        )
        return marks.marked(sql, self.facts, after="as begin ")

    @property
    def facts(self) -> list[object]:
        """All that decides what the trigger must note; see `marks`. Not the columns' types, which may be widened."""
        return [self.capture.id, self.capture.version, self.capture.columns]

    def _insert(self, columns: Sequence[Column], rows: str) -> str:
        listed = ", ".join(f"k{i}" for i in range(len(columns)))
        values = ", ".join(types.event_value(name(c.name), c.native) for c in columns)
        return (
            f"insert into {self.events} (version, at, {listed}) "
            f"select {self.capture.version}, sysutcdatetime(), {values} from {rows}"
        )

    def remove(self) -> list[Statement]:
        trigger = is_there(self.table_schema, self.trigger_name, "TR")
        events = is_there(self.schema, self.capture.event_table)
        return [
            Statement(f"if {trigger} drop trigger {self.trigger}", self.label),
            Statement(f"if {events} drop table {self.events}"),
        ]

    # -- what is there -----------------------------------------------------------------------------------------------

    def state(self, session: Session, shape: TableShape | None) -> CaptureState:
        trigger = session.row(
            "select t.is_disabled, m.definition, object_name(t.parent_id), object_schema_name(t.parent_id) "
            "from sys.triggers t join sys.objects o on o.object_id = t.object_id "
            "left join sys.sql_modules m on m.object_id = t.object_id "
            "where o.schema_id = schema_id(:schema) and t.name = :name",
            schema=self.table_schema,
            name=self.trigger_name,
        )
        events = {
            row[0]
            for row in session.rows(
                "select c.name from sys.columns c join sys.tables t on t.object_id = c.object_id "
                "where t.schema_id = schema_id(:schema) and t.name = :name",
                schema=self.schema,
                name=self.capture.event_table,
            )
        }
        if trigger is None and not events:
            if shape is not None and inspection.in_memory(session, self.table_schema, self.capture.table):
                raise errors.Refused(
                    f"{self.label} is a memory-optimized table, whose triggers may write no other: it cannot be "
                    "captured",
                    reason="NotSupported",
                )
            return CaptureState(False)
        outdated = trigger is not None and shape is not None and self._made_by_another(trigger[1] or "", shape)
        return CaptureState(
            True,
            tuple(self._problems(shape, trigger, events)),
            ("another version made the trigger",) if outdated else (),
        )

    def _made_by_another(self, definition: str, shape: TableShape) -> bool:
        if any(shape.column(each) is None for each in self.capture.columns):
            return False
        return _normal(definition) != _normal(self.definition(shape)) and marks.whole(definition, self.facts)

    def _problems(self, shape: TableShape | None, trigger: Sequence[str] | None, events: set[str]) -> Iterable[str]:
        if not events:
            yield f"the event table {self.capture.event_table} is missing"
        if shape is None:
            yield f"the table {self.capture.table} is missing"
            return
        missing = [each for each in self.capture.columns if shape.column(each) is None]
        if missing:
            yield f"the captured column {missing[0]} is missing"
            return
        for i, each in enumerate(self.capture.columns):
            if events and f"k{i}" not in events:
                yield f"the event table has no column that takes {each}"
        if trigger is None:
            yield "the trigger is missing"
            return
        disabled, definition, table, schema = trigger
        if disabled:
            yield "the trigger is disabled"
        elif (schema, table) != (self.table_schema, self.capture.table) or (
            _normal(definition or "") != _normal(self.definition(shape))
            and not self._made_by_another(definition or "", shape)
        ):
            yield "the trigger is not the one that was planned"


def _normal(definition: str) -> str:
    return re.sub(r"\s+", " ", definition).strip().rstrip(";").lower()


def make_schema(schema: str, owner: str = "") -> str:
    """A schema, where there is none."""
    made = f"create schema {name(schema)}" + (f" authorization {name(owner)}" if owner else "")
    return f"if schema_id({text(schema)}) is null execute ({text(made)})"


def drop_schema(schema: str) -> str:
    """Ours, where nothing is in it and we own it; one that somebody else made for us stays."""
    return (
        f"if exists (select 1 from sys.schemas s where s.name = {text(schema)} "
        f"and has_perms_by_name({text(name(schema))}, 'SCHEMA', 'CONTROL') = 1 "
        "and not exists (select 1 from sys.objects o where o.schema_id = s.schema_id)) "
        f"execute ({text(f'drop schema {name(schema)}')})"
    )


BLIND_SPOTS = (
    "bcp, BULK INSERT and SqlBulkCopy fire no trigger unless they are told to (FIRE_TRIGGERS, "
    "SqlBulkCopyOptions.FireTriggers): their rows are not seen",
    "TRUNCATE TABLE and ALTER TABLE … SWITCH fire no trigger: resync the Reflections of the table after one",
    "while the table is captured, INSERT, UPDATE, DELETE and MERGE on it that have OUTPUT without INTO fail (error "
    "334). Entity Framework Core 7 and later: ToTable(t => t.HasTrigger(…)); SQLAlchemy: implicit_returning=False; "
    "Rails: exclude_output_inserted_table_names; TypeORM and others: look for OUTPUT",
    "where the server's option `nested triggers` is 0, what other triggers write into the table is not seen",
    "dropping or renaming a captured column makes writes to the table fail until capture is planned again: an error "
    "in a trigger rolls back the application's transaction",
)
"""What no trigger sees, and what a trigger stands in the way of."""
