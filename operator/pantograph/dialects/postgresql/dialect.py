"""The dialect: which module answers which question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pantograph import errors
from pantograph.api.expressions import Expression
from pantograph.dialects import base
from pantograph.dialects.postgresql import (
    bulk,
    capture,
    connections,
    expressions,
    grants,
    inspection,
    listening,
    types,
    windows,
)
from pantograph.dialects.postgresql import lines as rows_as_lines
from pantograph.model.changes import Capture
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, Reference, TableShape
from pantograph.model.types import LogicalType

if TYPE_CHECKING:
    import sqlalchemy as sa

OLDEST = 130000


class PostgreSQL(base.Dialect):
    """PostgreSQL 13 and later, through psycopg2."""

    name = "postgresql"
    driver = "psycopg2-binary"
    default_schema = "public"
    features = base.Features(
        name_limit=63,
        fetches_wait=True,
        transactional_ddl=True,
        captures_truncate=True,
        catalog_in_snapshot=True,
        deferrable_constraints=True,
        schemas=True,
        capture_lock="SHARE ROW EXCLUSIVE: writers wait, readers do not",
        capture_cost="a statement that writes one row takes 7 to 8 µs more on the server; in bulk, inserts and updates "
        "take 1.5 to 2.2 times as long, deletes 5 to 7 times",
    )
    begin_write = ("begin isolation level read committed read write",)
    begin_read = ("begin isolation level read committed read only",)

    # -- connections -------------------------------------------------------------------------------------------------

    style = "pyformat"

    def sa_dialect(self) -> sa.engine.Dialect:
        from sqlalchemy.dialects import postgresql as sa_postgresql

        dialect: sa.engine.Dialect = sa_postgresql.psycopg2.dialect()  # type: ignore[no-untyped-call]
        # Sessions double the percent signs of whole statements; names must not come with theirs doubled already.
        dialect.identifier_preparer._double_percents = False
        return dialect

    def connect(self, role: base.Role, timeout: float) -> Any:
        return connections.connect(self.address, role, timeout)

    def translate(self, error: BaseException) -> errors.DatabaseError | None:
        return connections.translate(error)

    def missing_at_source(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        return grants.at_source(session, self.address.capture_schema, self._named(tables), self.quote)

    def missing_at_destination(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        return grants.at_destination(session, self.address.capture_schema, self._named(tables), self.quote)

    def _named(self, tables: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(schema or self.default_schema, table) for schema, table in tables]

    def server(self, session: base.Session) -> base.Server:
        return inspection.server(session)

    def check(self, session: base.Session, role: base.Role) -> None:
        version, recovering, read_only = session.row(
            "select current_setting('server_version_num')::int, pg_is_in_recovery(), "
            "current_setting('transaction_read_only')::bool"
        )
        label = self.address.label
        if version < OLDEST:
            raise errors.Refused(
                f"{label} is PostgreSQL {version // 10000}; 13 is the oldest supported", reason="TooOld"
            )
        if recovering:
            raise errors.Refused(f"{label} is a standby; name its primary", reason="Replica")
        if read_only:
            raise errors.Refused(
                f"{label} is a read-only endpoint (default_transaction_read_only is on)", reason="ReadOnly"
            )
        self._refuse_pooler(session, role)

    def _refuse_pooler(self, session: base.Session, role: base.Role) -> None:
        """A pooler in transaction mode lends one backend to two sessions: seen when another session gets ours."""
        mine = "select pg_backend_pid(), cast(pg_postmaster_start_time() as text)"
        here = tuple(session.row(mine))
        other = self.connect(role, 10.0)
        try:
            with other.cursor() as cursor:
                cursor.execute("begin")
                cursor.execute(mine)
                there = tuple(cursor.fetchone())
        finally:
            other.close()
        if here == there:
            raise errors.Refused(
                f"{self.address.label} is a connection pooler in transaction mode, where sessions lose their settings; "
                "name the server itself, or a pool in session mode",
                reason="TransactionPooler",
            )

    def streaming_cursor(self, raw: Any) -> Any:
        return connections.Streaming(raw)

    def in_transaction(self, raw: Any) -> bool:
        return connections.in_transaction(raw)

    def roll_back(self, raw: Any) -> None:
        # psycopg2's own rollback does nothing in autocommit.
        with raw.cursor() as cursor:
            cursor.execute("rollback")

    # -- names -------------------------------------------------------------------------------------------------------

    def ours(self, name: str) -> str:
        return self.table(self.address.capture_schema, name)

    # -- inspection --------------------------------------------------------------------------------------------------

    def shape(self, session: base.Session, schema: str, table: str) -> TableShape | None:
        return inspection.shape(session, schema or self.default_schema, table)

    def place(self, session: base.Session, schema: str, table: str) -> tuple[str, ...]:
        # A server that was made of another's files has its identifiers, and not its start, to the microsecond.
        server = inspection.server(session)
        return (f"{server.place} {server.life}", schema or self.default_schema, table)

    def tables(self, session: base.Session, schema: str) -> list[str]:
        return inspection.tables(session, schema or self.default_schema, self.address.capture_schema)

    def schemas(self, session: base.Session) -> list[str]:
        return inspection.schemas(session, self.address.capture_schema)

    def fingerprints(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return inspection.fingerprints(session, tables)

    def event_bytes(self, session: base.Session, capture: Capture) -> int | None:
        (size,) = session.row(
            "select pg_total_relation_size(to_regclass(:events))", events=self.ours(capture.event_table)
        )
        return None if size is None else int(size)

    def estimated_rows(self, session: base.Session, schema: str, table: str) -> int:
        return inspection.estimated_rows(session, schema or self.default_schema, table)

    def indexes(self, session: base.Session, schema: str, table: str) -> list[tuple[str, ...]]:
        return inspection.index_columns(session, schema or self.default_schema, table)

    def in_the_way(self, session: base.Session, schema: str, table: str) -> str:
        return inspection.in_the_way(session, schema or self.default_schema, table)

    def judge_expression(self, session: base.Session, expression: Expression, shape: TableShape) -> None:
        expressions.judge(session, expression, shape)

    # -- types -------------------------------------------------------------------------------------------------------

    def logical(self, native: str) -> LogicalType:
        return types.logical(native)

    def native(self, type_: LogicalType, *, key: bool = False) -> str:
        return types.native(type_)

    def canonical(self, expression: str, type_: LogicalType, precision: LogicalType) -> str:
        return types.canonical(expression, type_, precision)

    def hashed(self, texts: Sequence[str]) -> str:
        return types.hashed(texts)

    # -- the source --------------------------------------------------------------------------------------------------

    def meta_table(self, table: base.MetaTable) -> str:
        natives = {"text": "text", "name": "text", "bigint": "bigint", "real": "double precision"}
        columns = [f"{self.quote(name)} {natives[kind]}" for name, kind in table.columns]
        key = ", ".join(self.quote(name) for name in table.key)
        return f"create table if not exists {self.ours(table.name)} ({', '.join(columns)}, primary key ({key}))"

    def home(self) -> list[str]:
        schema = self.address.capture_schema
        return [self._make_schema(schema)]

    def _make_schema(self, schema: str) -> str:
        # Not `if not exists`: that asks for the right to create schemas even where there is nothing to create.
        quoted = self.quote(schema)
        there = f"to_regnamespace({capture.literal(quoted)})"
        return f"do {capture.literal(f'begin if {there} is null then create schema {quoted}; end if; end')}"

    def leave_home(self) -> list[str]:
        schema, ours = self.quote(self.address.capture_schema), capture.literal
        there = f"to_regnamespace({ours(schema)})"
        shared = f"({', '.join(map(ours, capture.SEQUENCES))})"
        sequences = ", ".join(map(self.ours, capture.SEQUENCES))
        functions = ", ".join(f"{schema}.{signature}" for signature in capture.SHARED_FUNCTIONS)
        # A schema that somebody else made for us stays.
        body = f"""
begin
  if {there} is null or exists (select from pg_class where relnamespace = {there} and relname not in {shared}) then
    return;
  end if;
  drop function if exists {functions};
  drop sequence if exists {sequences};
  if not exists (select from pg_proc where pronamespace = {there})
    and (select pg_has_role(nspowner, 'usage') from pg_namespace where oid = {there}) then
    drop schema {schema};
  end if;
end"""
        return [f"do {ours(body)}"]

    def _rendering(self, capture_: Capture) -> capture.Rendering:
        return capture.Rendering(capture_, self.address.capture_schema, self.quote, notifies=self.address.notifies)

    def install(self, capture: Capture, shape: TableShape) -> list[base.Statement]:
        return self._rendering(capture).create(shape)

    def uninstall(self, capture: Capture) -> list[base.Statement]:
        return self._rendering(capture).remove()

    def capture_state(self, session: base.Session, capture: Capture, shape: TableShape | None) -> base.CaptureState:
        return self._rendering(capture).state(session, shape)

    def blind_spots(self, shape: TableShape) -> tuple[str, ...]:
        spots = ["Sessions with session_replication_role = replica, logical replication's apply workers among them."]
        if shape.partitioned:
            spots.append("Attaching or detaching a partition: rows come and go without a trigger.")
        spots.append("A table that is put in this one's place by renaming (online schema changers).")
        if self.address.notifies:
            spots.append(
                "With wakeUp: Notify, PostgreSQL refuses PREPARE TRANSACTION after a write that is to wake us, "
                "and its commit where the queue of notifications is full (who listens keeps a transaction open)."
            )
        return tuple(spots)

    def listener(self, session: base.Session) -> base.Listener:
        return listening.Notifications(session, self.quote(self.address.capture_schema))

    def tell(self, session: base.Session, seconds: float) -> None:
        # At once, and not with a commit.
        until = f"cast({self.now()} + {float(seconds)} as bigint)" if seconds else "1"
        session.rows(f"select setval(cast(:name as regclass), {until})", name=self.ours(capture.TELLING))

    def now(self) -> str:
        return "cast(extract(epoch from clock_timestamp()) as double precision)"

    stamp = "cast(pg_current_xact_id() as text)"
    # A row that came out of a dump was written by another transaction than the one it names. VACUUM keeps xmin.
    genuine = (
        "case when cast(xmin as text) = cast(mod(cast(nullif(stamp, '') as numeric), 4294967296) as text) "
        "then 1 else 0 end"
    )

    def write_durably(self, session: base.Session) -> None:
        session.run("set local synchronous_commit = on")

    def reader(self, captures: Sequence[Capture]) -> base.WindowReader:
        return windows.PostgreSQLWindows(self, captures)

    # -- reading rows ------------------------------------------------------------------------------------------------

    clock = "clock_timestamp()"

    def event_key(self, mirror: Mirror, index: int) -> str:
        native = mirror.columns[index].source_native
        return f"cast(e.k{index} as {native})" if native else f"e.k{index}"

    def selected(self, column: Mapped) -> str:
        expression = base.verbatim(column.expression)
        # In the type that the plan saw, whatever has become of the column since: binary COPY does not look.
        return f"cast({expression} as {column.source_native})" if column.source_native else expression

    def pipe(
        self,
        session: base.Session,
        sql: str,
        params: Mapping[str, Any],
        mirror: Mirror,
        target: base.Dialect,
        writer: base.Session,
        *,
        direct: bool = False,
    ) -> base.Staged | None:
        if not isinstance(target, PostgreSQL):
            return None
        return bulk.pipe(session, sql, params, writer, bulk.Target(mirror, self.quote), direct=direct)

    # -- the destination ---------------------------------------------------------------------------------------------

    def create_table(
        self, schema: str, name: str, columns: Sequence[Column], key: Sequence[str]
    ) -> list[base.Statement]:
        schema = schema or self.default_schema
        lines = [
            f"{self.quote(column.name)} {column.native}"
            + (f" collate {column.collation}" if column.collation else "")
            + ("" if column.nullable else " not null")
            for column in columns
        ]
        lines.append(f"primary key ({', '.join(self.quote(part) for part in key)})")
        return [
            base.Statement(self._make_schema(schema)),
            base.Statement(f"create table {self.table(schema, name)} ({', '.join(lines)})"),
        ]

    def add_column(self, schema: str, name: str, column: Column) -> base.Statement:
        schema = schema or self.default_schema
        collation = f" collate {column.collation}" if column.collation else ""
        return base.Statement(
            f"alter table {self.table(schema, name)} add column {self.quote(column.name)} {column.native}{collation}",
            locks=f"{schema}.{name}",
        )

    def numberings(self, session: base.Session, schema: str, table: str) -> list[base.Numbering]:
        return inspection.numberings(session, schema or self.default_schema, table, self.table)

    def number_from(self, schema: str, table: str, numbering: base.Numbering, next_: int) -> list[base.Statement]:
        return [base.Statement(f"select setval({capture.literal(numbering.by)}, {int(next_)}, false)")]

    def numbered(self, schema: str, table: str, column: Column, next_: int) -> str:
        return (
            f"alter table {self.table(schema or self.default_schema, table)} alter column {self.quote(column.name)} "
            f"add generated by default as identity (start with {int(next_)})"
        )

    def change_type(self, schema: str, name: str, column: Column, native: str) -> base.Statement | None:
        schema = schema or self.default_schema
        quoted = self.quote(column.name)
        # Without it the column would take its new type's own collation.
        collation = f" collate {column.collation}" if column.collation else ""
        same = self.logical(native).kind is column.type.kind
        using = "" if same else f" using {quoted}::{native}"
        return base.Statement(
            f"alter table {self.table(schema, name)} alter column {quoted} type {native}{collation}{using}",
            locks=f"{schema}.{name}",
        )

    def stage_strictly(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> base.Staged:
        # A literal is looked at by each statement that has it, be it one that only counts the rows.
        return bulk.stage_table(session, bulk.Target(mirror, self.quote), batches)

    def stage(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> base.Staged:
        return bulk.stage(session, bulk.Target(mirror, self.quote), batches)

    line_bytes = r"\\x"

    def take_lines(self, session: base.Session, mirror: Mirror, lines: Iterable[bytes], *, direct: bool) -> base.Staged:
        return rows_as_lines.take(session, bulk.Target(mirror, self.quote), lines, direct=direct)

    def insert(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> int:
        return bulk.insert(session, bulk.Target(mirror, self.quote), batches)

    def upsert(self, session: base.Session, mirror: Mirror, staged: base.Staged) -> int:
        return bulk.upsert(session, bulk.Target(mirror, self.quote), staged)

    def update(self, session: base.Session, mirror: Mirror, staged: base.Staged) -> int:
        return bulk.update(session, bulk.Target(mirror, self.quote), staged)

    def change_absent(
        self,
        session: base.Session,
        mirror: Mirror,
        staged: base.Staged,
        sets: Sequence[tuple[str, str]],
        unless: str,
    ) -> int:
        return bulk.change_absent(session, bulk.Target(mirror, self.quote), staged, sets, unless)

    def delete(self, session: base.Session, mirror: Mirror, staged: base.Staged, *, absent_only: bool = True) -> int:
        return bulk.delete(session, bulk.Target(mirror, self.quote), staged, absent_only=absent_only)

    defer = "set constraints all deferred"
    check_deferred = "set constraints all immediate"
    check_at_once = "set constraints all immediate"

    def defers(self, reference: Reference) -> bool:
        return reference.deferrable
