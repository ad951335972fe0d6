"""The dialect: which module answers which question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pantograph import errors
from pantograph.api.expressions import Expression
from pantograph.dialects import base
from pantograph.dialects.base import verbatim
from pantograph.dialects.mssql import (
    bulk,
    capture,
    connections,
    expressions,
    grants,
    inspection,
    literals,
    types,
    windows,
)
from pantograph.model.changes import Capture
from pantograph.model.converters import Converter
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import LogicalType

if TYPE_CHECKING:
    import sqlalchemy as sa


LONG_OPEN = (
    "a transaction at the source has been open while many others ended, so rows are read of more than one moment until "
    "it has ended, too"
)


class SQLServer(base.Dialect):
    """SQL Server 2016 and later, through pyodbc."""

    name = "mssql"
    driver = "pyodbc"
    features = base.Features(
        name_limit=128,
        transactional_ddl=True,
        captures_truncate=False,
        cascades_fire_triggers=True,
        catalog_in_snapshot=False,
        deferrable_constraints=False,
        late_triggers=False,
        ddl_lock_wait=0.1,
        schemas=True,
        capture_lock="Sch-M: readers and writers wait",
        capture_cost="not measured on SQL Server; and INSERT, UPDATE, DELETE and MERGE with OUTPUT and without INTO "
        "fail on a captured table (error 334)",
    )
    begin_write = ("begin transaction",)
    # Functions cannot write here, so there is nothing that a read-only transaction would keep them from.
    begin_read = ("begin transaction",)

    # -- connections -------------------------------------------------------------------------------------------------

    style = "qmark"

    def sa_dialect(self) -> sa.engine.Dialect:
        import sqlalchemy

        return sqlalchemy.engine.default.DefaultDialect(paramstyle="qmark")

    def connect(self, role: base.Role, timeout: float) -> Any:
        return connections.connect(self.address, role, timeout)

    def translate(self, error: BaseException) -> errors.DatabaseError | None:
        return connections.translate(error)

    def missing_at_source(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        return grants.at_source(session, self.address.capture_schema, self._named(tables))

    def missing_at_destination(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        return grants.at_destination(session, self.address.capture_schema, self._named(tables))

    def _named(self, tables: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(schema or self.default_schema, table) for schema, table in tables]

    def server(self, session: base.Session) -> base.Server:
        return inspection.server(session)

    def check(self, session: base.Session, role: base.Role) -> None:
        inspection.check(session)

    def roll_back(self, raw: Any) -> None:
        cursor = raw.cursor()
        cursor.execute(connections.ROLL_BACK)
        cursor.close()

    def savepoint(self, name: str) -> str:
        return f"save transaction {name}"

    def back_to_savepoint(self, name: str) -> str:
        return f"rollback transaction {name}"

    def release_savepoint(self, name: str) -> str:
        return ""

    def no_image(self, session: base.Session) -> str:
        if session.raw.snapshot:
            return LONG_OPEN if session.raw.partial else ""
        return (
            "the source database allows no snapshots, so rows are read of more than one moment: "
            "alter database … set allow_snapshot_isolation on"
        )

    # -- names -------------------------------------------------------------------------------------------------------

    default_schema = "dbo"

    def quote(self, name: str) -> str:
        return literals.name(name)

    def ours(self, name: str) -> str:
        return self.table(self.address.capture_schema, name)

    # -- inspection --------------------------------------------------------------------------------------------------

    def shape(self, session: base.Session, schema: str, table: str) -> TableShape | None:
        return inspection.shape(session, schema or self.default_schema, table)

    def place(self, session: base.Session, schema: str, table: str) -> tuple[str, ...]:
        return (inspection.server(session).place, schema or self.default_schema, table)

    def tables(self, session: base.Session, schema: str) -> list[str]:
        schema = schema or self.default_schema
        return [] if schema == self.address.capture_schema else inspection.tables(session, schema)

    def schemas(self, session: base.Session) -> list[str]:
        return inspection.schemas(session, self.address.capture_schema)

    def fingerprints(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return inspection.fingerprints(session, tables, self.default_schema)

    def estimated_rows(self, session: base.Session, schema: str, table: str) -> int:
        return inspection.estimated_rows(session, schema or self.default_schema, table)

    def event_rows(self, session: base.Session, capture: Capture) -> int:
        """About how many events of a capture there are."""
        return inspection.estimated_rows(session, self.address.capture_schema, capture.event_table)

    def indexes(self, session: base.Session, schema: str, table: str) -> list[tuple[str, ...]]:
        return inspection.indexes(session, schema or self.default_schema, table)

    def in_the_way(self, session: base.Session, schema: str, table: str) -> str:
        return inspection.in_the_way(session, schema or self.default_schema, table)

    def judge_expression(self, session: base.Session, expression: Expression, shape: TableShape) -> None:
        expressions.judge(session, expression)

    # -- types -------------------------------------------------------------------------------------------------------

    def logical(self, native: str) -> LogicalType:
        return types.logical(native)

    def native(self, type_: LogicalType, *, key: bool = False) -> str:
        return types.native(type_, key=key)

    def decode(self, type_: LogicalType) -> Converter | None:
        return types.decode(type_)

    def encode(self, type_: LogicalType) -> Converter | None:
        return types.encode(type_)

    def canonical(self, expression: str, type_: LogicalType, precision: LogicalType) -> str:
        return types.canonical(expression, type_, precision)

    def hashed(self, texts: Sequence[str]) -> str:
        return types.hashed(texts)

    def hashes(self, session: base.Session) -> bool:
        return session.row(types.ENCODES_UTF8) is not None

    def total(self, expression: str) -> str:
        return f"sum(cast({expression} as decimal(38,0)))"

    # -- the source --------------------------------------------------------------------------------------------------

    def meta_table(self, table: base.MetaTable) -> str:
        natives = {
            "text": "nvarchar(max)",
            "name": f"nvarchar(191) collate {types.EXACT}",
            "bigint": "bigint",
            "real": "float",
        }
        columns = [
            f"{self.quote(name)} {natives[kind]} {'not null' if name in table.key else 'null'}"
            for name, kind in table.columns
        ]
        # Three names are wider than the 900 bytes that a clustered key is promised to hold.
        key = ", ".join(self.quote(name) for name in table.key)
        there = literals.is_there(self.address.capture_schema, table.name)
        return (
            f"if not {there} create table {self.ours(table.name)} "
            f"({', '.join(columns)}, primary key nonclustered ({key}))"
        )

    def home(self) -> list[str]:
        return [capture.make_schema(self.address.capture_schema, "dbo")]

    def leave_home(self) -> list[str]:
        return [capture.drop_schema(self.address.capture_schema)]

    def _rendering(self, capture_: Capture) -> capture.Rendering:
        return capture.Rendering(capture_, self.address.capture_schema, self.ours, self.default_schema)

    def install(self, capture: Capture, shape: TableShape) -> list[base.Statement]:
        return self._rendering(capture).create(shape)

    def upgrade(self, capture: Capture, shape: TableShape) -> list[base.Statement]:
        return [self._rendering(capture).replace(shape)]

    def uninstall(self, capture: Capture) -> list[base.Statement]:
        return self._rendering(capture).remove()

    def capture_state(self, session: base.Session, capture: Capture, shape: TableShape | None) -> base.CaptureState:
        return self._rendering(capture).state(session, shape)

    def blind_spots(self, shape: TableShape) -> tuple[str, ...]:
        return capture.BLIND_SPOTS

    def now(self) -> str:
        return "(datediff_big(microsecond, '19700101', sysutcdatetime()) / 1000000e0)"

    def reader(self, captures: Sequence[Capture]) -> windows.Reader:
        return windows.Reader(self, captures)

    # -- reading rows ------------------------------------------------------------------------------------------------

    clock = "sysutcdatetime()"

    def at_most(self, count: int | str, *, ordered: bool = True) -> str:
        order = "" if ordered else "order by (select null) "
        return f"{order}offset 0 rows fetch next {count} rows only"

    def changes(self, mirror: Mirror, keys: str, *, upto: bool = False) -> str:
        """As in `base`; a text key is looked up by the table's own collation, which its index serves, and compared to
        the byte besides, so that an old key 'a' does not find the row that is called 'A' now."""
        joined, picked = [], []
        for i, column in enumerate(mirror.looked_up):
            native, key = column.source_native, self.event_key(mirror, i)
            joined.append(f"r.j{i} = {key}")
            if types.is_text(native):
                joined.append(f"{types.event_value(f'r.j{i}', native)} = e.k{i}")
            # The row that is found has the very key.
            picked.append(f"{types.selected(key, native)} as c{i}")
        picked += self.beside(mirror)
        return (
            f"select case when r.p is null then 0 else 1 end as present, {', '.join(picked)} "
            f"from ({keys}) e left join ({self.rows_of(mirror, upto=upto)}) r on {' and '.join(joined)}"
        )

    def joined(self, column: Mapped) -> str:
        # Made into text, no index would serve it.
        return verbatim(column.expression)

    def event_key(self, mirror: Mirror, index: int) -> str:
        return types.from_event(f"e.k{index}", mirror.key[index].source_native)

    def selected(self, column: Mapped) -> str:
        return types.selected(verbatim(column.expression), column.source_native)

    def chunk_end(self, mirror: Mirror, *, after: bool) -> str:
        listed = [self.quote(name) for name in mirror.capture.key]
        beyond = f" where {self.beyond(listed, self._cursor(mirror, 'a'))}" if after else ""
        columns = ", ".join(f"{self.selected(column)} as c{i}" for i, column in enumerate(mirror.walked))
        return (
            f"select {columns} from {self.table(*mirror.source)}{beyond} "
            f"order by {', '.join(listed)} offset :skip rows fetch next 1 rows only"
        )

    def given_keys(
        self, session: base.Session, mirror: Mirror, keys: Sequence[Sequence[Any]]
    ) -> tuple[str, dict[str, Any]]:
        """As in `base`, with values as events keep them: the two are joined, and put together."""
        params: dict[str, Any] = {}
        rows = []
        for n, key in enumerate(keys):
            parts = []
            for i, (value, column) in enumerate(zip(key, mirror.looked_up, strict=False)):
                params[f"g{n}_{i}"] = self._parameter(value, column.source_type)
                parts.append(types.event_value(self.typed(f":g{n}_{i}", column.source_native), column.source_native))
            rows.append(f"({', '.join(parts)})")
        names = ", ".join(f"k{i}" for i in range(len(mirror.looked_up)))
        return f"select {names} from (values {', '.join(rows)}) as given ({names})", params

    def _parameter(self, value: Any, type_: LogicalType) -> Any:
        encoder = types.encode(type_)
        return encoder(value) if encoder and value is not None else value

    def beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        return base.lexicographic(names, values, ">", ">")

    def not_beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        return base.lexicographic(names, values, "<", "<=")

    def quoted(self, text: str) -> str:
        return literals.text(text)

    def typed(self, expression: str, native: str) -> str:
        return types.typed(expression, native)

    # -- the destination ---------------------------------------------------------------------------------------------

    def create_table(
        self, schema: str, name: str, columns: Sequence[Column], key: Sequence[str]
    ) -> list[base.Statement]:
        schema = schema or self.default_schema
        listed = [
            f"{self.quote(c.name)} {c.native} {'null' if c.nullable and c.name not in key else 'not null'}"
            for c in columns
        ]
        listed.append(f"primary key ({', '.join(self.quote(k) for k in key)})")
        return [
            base.Statement(capture.make_schema(schema)),
            base.Statement(f"create table {self.table(schema, name)} ({', '.join(listed)})"),
        ]

    def add_column(self, schema: str, name: str, column: Column) -> base.Statement:
        schema = schema or self.default_schema
        return base.Statement(
            f"alter table {self.table(schema, name)} add {self.quote(column.name)} {column.native} null",
            f"{schema}.{name}",
        )

    def change_type(self, schema: str, name: str, column: Column, native: str) -> base.Statement | None:
        if column.generated or column.identity:
            return None
        schema = schema or self.default_schema
        if types.is_text(native):
            # The column's own collation stays, also where the type that was asked for has another.
            native = types.plain(native) + types.collation(column.native)
        return base.Statement(
            f"alter table {self.table(schema, name)} alter column {self.quote(column.name)} {native} "
            f"{'null' if column.nullable else 'not null'}",
            f"{schema}.{name}",
        )

    def numberings(self, session: base.Session, schema: str, table: str) -> list[base.Numbering]:
        return inspection.numberings(session, schema or self.default_schema, table)

    def number_from(self, schema: str, table: str, numbering: base.Numbering, next_: int) -> list[base.Statement]:
        schema = schema or self.default_schema
        label = literals.text(self.table(schema, table))
        # Of a table that never had a row it is the next number; of any other, the one before.
        fresh = (
            "exists (select 1 from sys.identity_columns c join sys.tables t on t.object_id = c.object_id "
            f"where t.schema_id = schema_id({literals.text(schema)}) and t.name = {literals.text(table)} "
            "and c.last_value is null)"
        )
        return [
            base.Statement(
                f"if {fresh} dbcc checkident ({label}, reseed, {int(next_)}) "
                f"else dbcc checkident ({label}, reseed, {int(next_) - numbering.step})",
                f"{schema}.{table}",
            )
        ]

    def numbered(self, schema: str, table: str, column: Column, next_: int) -> str:
        return ""  # a column is given an identity when it is made, or never

    def stage(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> base.Staged:
        return bulk.stage(session, bulk.Target(mirror, self), batches)

    def unstage(self, session: base.Session, mirror: Mirror, staged: base.Staged) -> None:
        bulk.unstage(session, bulk.Target(mirror, self))

    def insert(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> int:
        return bulk.insert(session, bulk.Target(mirror, self), batches)

    def upsert(self, session: base.Session, mirror: Mirror, staged: base.Staged) -> int:
        return bulk.upsert(session, bulk.Target(mirror, self), staged)

    def update(self, session: base.Session, mirror: Mirror, staged: base.Staged) -> int:
        return bulk.update(session, bulk.Target(mirror, self), staged)

    def change_absent(
        self,
        session: base.Session,
        mirror: Mirror,
        staged: base.Staged,
        sets: Sequence[tuple[str, str]],
        unless: str,
    ) -> int:
        return bulk.change(session, bulk.Target(mirror, self), staged, sets, unless=unless)

    def blank(
        self,
        session: base.Session,
        mirror: Mirror,
        staged: base.Staged,
        columns: Sequence[str],
        *,
        absent_only: bool = False,
    ) -> None:
        sets = [(self.quote(name), "null") for name in columns]
        bulk.change(session, bulk.Target(mirror, self), staged, sets, absent_only=absent_only)

    def delete(self, session: base.Session, mirror: Mirror, staged: base.Staged, *, absent_only: bool = True) -> int:
        return bulk.delete(session, bulk.Target(mirror, self), staged, absent_only=absent_only)
