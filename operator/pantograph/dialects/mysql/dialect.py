"""The MySQL family: what every engine has to answer. MariaDB is what differs; of capture, `variants` says it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql.cursors

from pantograph import errors
from pantograph.api.expressions import Expression
from pantograph.dialects import base
from pantograph.dialects.base import verbatim
from pantograph.dialects.mysql import (
    bulk,
    capture,
    connections,
    expressions,
    grants,
    inspection,
    lines,
    reopening,
    types,
    variants,
    windows,
)
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.converters import Converter
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import Kind, LogicalType

if TYPE_CHECKING:
    import sqlalchemy as sa


class MySQL(base.Dialect):
    """MySQL 8.0.17 and later."""

    name = "mysql"
    driver = "PyMySQL"
    features = base.Features(
        name_limit=64,
        transactional_ddl=False,
        consistent_snapshots=True,
        captures_truncate=False,
        cascades_fire_triggers=False,
        catalog_in_snapshot=False,
        deferrable_constraints=False,
        savepoints=True,
        single_writer=False,
        # CREATE TRIGGER waits for every transaction that has used the table.
        late_triggers=False,
        altered_is_another=True,
        capture_lock="an exclusive metadata lock: readers and writers wait",
        capture_cost="a statement that writes one row takes hardly longer (1.0 to 1.2 times); in bulk, an insert "
        "takes 3 to 4 times as long, an update or a delete 6 to 7",
        ddl_lock_wait=1.0,
        schemas=False,
    )
    meta_integer = "signed"
    # What the catalog says of a table may be a day old otherwise.
    settings: ClassVar[str] = "max_execution_time = {seconds} * 1000, information_schema_stats_expiry = 0"
    writer_cursor: ClassVar[type[pymysql.cursors.Cursor]] = reopening.Cursor
    catalog: ClassVar[inspection.Catalog] = inspection.MYSQL
    variant: ClassVar[variants.Variant] = variants.MYSQL

    # -- connections -------------------------------------------------------------------------------------------------

    style = "format"

    def sa_dialect(self) -> sa.engine.Dialect:
        from sqlalchemy.dialects.mysql import pymysql as sa_pymysql

        dialect = sa_pymysql.MySQLDialect_pymysql(paramstyle="format")
        # Sessions double the percent signs of whole statements; names must not come with theirs doubled already.
        dialect.identifier_preparer._double_percents = False
        return dialect

    def connect(self, role: base.Role, timeout: float) -> Any:
        return connections.connect(
            self.address, role, timeout, self.variant.sql_mode, self.settings, int(self.features.ddl_lock_wait),
            self.writer_cursor,
        )  # fmt: skip

    def translate(self, error: BaseException) -> errors.DatabaseError | None:
        return connections.translate(error)

    def missing_at_source(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        return grants.at_source(session, self.home_name, self._named(tables), self.quote, self.catalog.to_lock)

    def missing_at_destination(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        named = self._named(tables)
        there = [place for place in named if place[1] in inspection.tables(session, place[0])]
        return grants.at_destination(session, self.home_name, named, there, self.quote)

    def outlook(self, session: base.Session) -> list[str]:
        (user,) = session.row("select current_user()")
        unseen = inspection.unseen_locks(session, str(user), self.catalog) if self.features.ddl_lock_wait else []
        return [*grants.outlook(session, str(user)), *unseen]

    def _named(self, tables: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(schema or self.address.database, table) for schema, table in tables]

    def server(self, session: base.Session) -> base.Server:
        return inspection.server(session, self.address.database)

    def check(self, session: base.Session, role: base.Role) -> None:
        inspection.check(session, role, self.name, self.variant.oldest, self.address.database)

    begin_write = ("start transaction",)

    def streaming_cursor(self, raw: Any) -> Any:
        return raw.cursor(pymysql.cursors.SSCursor)

    # -- names -------------------------------------------------------------------------------------------------------

    @property
    def home_name(self) -> str:
        """The database of our own: beside the application's, so that we need no right to make tables in that one."""
        name = f"{self.address.capture_schema}_{self.address.database}"
        if len(name) <= self.features.name_limit:
            return name
        return names.ours(self.address.capture_schema, self.address.database, name, self.features.name_limit)

    def ours(self, name: str) -> str:
        return f"{self.quote(self.home_name)}.{self.quote(name)}"

    # -- inspection --------------------------------------------------------------------------------------------------

    def shape(self, session: base.Session, schema: str, table: str) -> TableShape | None:
        return inspection.shape(session, schema, self.address.database, table, self.catalog)

    def place(self, session: base.Session, schema: str, table: str) -> tuple[str, ...]:
        # A schema is another database of the same server.
        names = (schema or self.address.database, table)
        (folding,) = session.row("select @@lower_case_table_names")
        # Pods of one name in two namespaces say the same of themselves, but for when they were started.
        server = inspection.server(session, "")
        return (f"{server.place} {server.life}", *(n.lower() if int(folding) else n for n in names))

    def tables(self, session: base.Session, schema: str) -> list[str]:
        return inspection.tables(session, schema or self.address.database)

    def fingerprints(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return inspection.fingerprints(session, tables, self.address.database)

    def event_bytes(self, session: base.Session, capture: Capture) -> int | None:
        found = session.row(
            "select data_length + index_length from information_schema.tables "
            "where table_schema = :home and table_name = :events",
            home=self.home_name, events=capture.event_table,
        )  # fmt: skip
        return None if found is None else int(found[0] or 0)

    def estimated_rows(self, session: base.Session, schema: str, table: str) -> int:
        return inspection.estimated_rows(session, schema or self.address.database, table)

    def indexes(self, session: base.Session, schema: str, table: str) -> list[tuple[str, ...]]:
        return base.indexed(
            session.rows(
                "select index_name, seq_in_index, if(sub_part is null, column_name, null) "
                "from information_schema.statistics where table_schema = :schema and table_name = :table "
                "order by index_name, seq_in_index",
                schema=schema or self.address.database,
                table=table,
            )
        )

    def in_the_way(self, session: base.Session, schema: str, table: str) -> str:
        return inspection.in_the_way(session, schema or self.address.database, table, self.catalog)

    def judge_expression(self, session: base.Session, expression: Expression, shape: TableShape) -> None:
        expressions.judge(session, expression, self.address.database)

    # -- types -------------------------------------------------------------------------------------------------------

    def logical(self, native: str) -> LogicalType:
        return types.logical(native)

    def native(self, type_: LogicalType, *, key: bool = False) -> str:
        return types.native(type_, self.variant, key=key)

    def decode(self, type_: LogicalType) -> Converter | None:
        return _decoder(type_)

    def canonical(self, expression: str, type_: LogicalType, precision: LogicalType) -> str:
        return types.canonical(expression, type_, precision)

    def hashed(self, texts: Sequence[str]) -> str:
        return types.hashed(texts)

    # -- the source --------------------------------------------------------------------------------------------------

    def meta_table(self, table: base.MetaTable) -> str:
        native = {
            "text": "longtext",
            "name": f"varchar(191) character set utf8mb4 collate {self.variant.exact}",
            "bigint": "bigint",
            "real": "double",
        }
        columns = ", ".join(
            f"{self.quote(name)} {native[type_]}{' not null' if name in table.key else ''}"
            for name, type_ in table.columns
        )
        key = ", ".join(self.quote(name) for name in table.key)
        return f"create table if not exists {self.ours(table.name)} ({columns}, primary key ({key})) engine = InnoDB"

    def home(self) -> list[str]:
        return capture.home(self.home_name, self.ours, self.quote, self.variant)

    def leave_home(self) -> list[str]:
        # A destination's tables stay.
        others = (
            f"exists (select 1 from information_schema.tables where table_schema = {connections.text(self.home_name)} "
            f"and table_name not in ('{self.variant.lease}', '{capture.TROUBLE}'))"
        )
        return self.variant.unless(others, f"drop database if exists {self.quote(self.home_name)}")

    def _rendering(self, capture_: Capture) -> capture.Rendering:
        return capture.Rendering(
            capture_, self.home_name, self.address.database, self.quote, self.variant, self.catalog
        )

    def install(self, capture: Capture, shape: TableShape) -> list[base.Statement]:
        return self._rendering(capture).create(shape)

    def upgrade(self, capture_: Capture, shape: TableShape) -> list[base.Statement]:
        return self._rendering(capture_).replace(shape)

    def uninstall(self, capture: Capture) -> list[base.Statement]:
        return self._rendering(capture).remove()

    def leftovers(self, session: base.Session, capture: Capture, shape: TableShape | None) -> list[base.Statement]:
        return self._rendering(capture).leftovers(session, shape)

    def capture_state(self, session: base.Session, capture: Capture, shape: TableShape | None) -> base.CaptureState:
        return self._rendering(capture).state(session, shape)

    def blind_spots(self, shape: TableShape) -> tuple[str, ...]:
        seen = Capture(names.capture_id(shape.schema, shape.name), shape.schema, shape.name, shape.key, shape.key, "")
        spots = capture.blind_spots(shape, names_of_ascii=not self.catalog.in_files)
        return (*spots, *self._rendering(seen).cascades(shape).gaps(), *shape.cautions)

    def now(self) -> str:
        return "cast(unix_timestamp(sysdate(6)) as double)"

    def lease_renewed(self, session: base.Session, seconds: int) -> None:
        self.variant.renew(session, self.ours, seconds)

    def reader(self, captures: Sequence[Capture]) -> windows.Reader:
        return windows.Reader(self, captures)

    # -- reading rows ------------------------------------------------------------------------------------------------

    clock = "utc_timestamp(6)"

    def changes(self, mirror: Mirror, keys: str, *, upto: bool = False) -> str:
        """As in `base`; a text key is looked up by the table's own collation, which its index serves, and compared to
        the byte besides, so that an old key 'a' does not find the row that is called 'A' now."""
        joined = []
        for i, column in enumerate(mirror.looked_up):
            joined.append(f"r.j{i} = {types.typed(f'e.k{i}', column.source_native)}")
            if types.collation(column.source_native):
                joined.append(f"{types.exact(f'r.j{i}')} = {types.exact(f'e.k{i}')}")
        picked = [f"coalesce(r.j{i}, {self.event_key(mirror, i)}) as c{i}" for i in range(len(mirror.looked_up))]
        picked += self.beside(mirror)
        return (
            f"select case when r.p is null then 0 else 1 end as present, {', '.join(picked)} "
            f"from ({keys}) e left join ({self.rows_of(mirror, upto=upto)}) r on {' and '.join(joined)}"
        )

    def event_key(self, mirror: Mirror, index: int) -> str:
        return types.typed(f"e.k{index}", mirror.key[index].source_native)

    def selected(self, column: Mapped) -> str:
        expression = verbatim(column.expression)
        base_name = types.base_name(column.source_native)
        if base_name == "bit":
            return f"{expression} + 0"
        if base_name == "float":
            # A float prints six digits; as a double it prints all that it is.
            return f"cast({expression} as double)"
        return expression

    def quoted(self, text: str) -> str:
        return connections.text(text)

    def typed(self, expression: str, native: str) -> str:
        return types.typed(expression, native)

    def beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        # A comparison of rows is not served by an index here; its expansion is.
        return base.lexicographic(names, values, ">", ">")

    def not_beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        return base.lexicographic(names, values, "<", "<=")

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
        mark = target.line_bytes
        if mark is None or not lines.possible(mirror) or not target.takes_lines(writer):
            return None
        statement = lines.statement(mirror, sql, mark, direct=direct, slow_replace=self.variant.slow_replace)
        flow = lines.Flow(session, statement, params)
        staged = target.take_lines(writer, mirror, flow, direct=direct)
        return staged if direct else dataclasses.replace(staged, present=flow.rows - flow.absent, absent=flow.absent)

    # -- the destination ---------------------------------------------------------------------------------------------

    def create_table(
        self, schema: str, name: str, columns: Sequence[Column], key: Sequence[str]
    ) -> list[base.Statement]:
        listed = [
            f"{self.quote(c.name)} {c.native}{'' if c.nullable and c.name not in key else ' not null'}" for c in columns
        ]
        listed.append(f"primary key ({', '.join(self.quote(k) for k in key)})")
        return [
            base.Statement(
                f"create table {self.table(schema, name)} ({', '.join(listed)}) engine = InnoDB "
                "character set utf8mb4 collate utf8mb4_bin"
            )
        ]

    def add_column(self, schema: str, name: str, column: Column) -> base.Statement:
        return base.Statement(
            f"alter table {self.table(schema, name)} add column {self.quote(column.name)} {column.native} null",
            f"{schema}.{name}" if schema else name,
        )

    def numberings(self, session: base.Session, schema: str, table: str) -> list[base.Numbering]:
        return inspection.numberings(session, schema or self.address.database, table)

    def number_from(self, schema: str, table: str, numbering: base.Numbering, next_: int) -> list[base.Statement]:
        label = f"{schema}.{table}" if schema else table
        return [base.Statement(f"alter table {self.table(schema, table)} auto_increment = {int(next_)}", label)]

    def numbered(self, schema: str, table: str, column: Column, next_: int) -> str:
        return (
            f"alter table {self.table(schema, table)} modify {self.quote(column.name)} {column.native} not null "
            f"auto_increment, auto_increment = {int(next_)}"
        )

    def change_type(self, schema: str, name: str, column: Column, native: str) -> base.Statement | None:
        if column.generated:
            return None
        if column.type.kind is Kind.TEXT and types.collation(native) and (kept := types.collation(column.native)):
            native = f"{native.partition(' character set ')[0]} character set {kept[0]} collate {kept[1]}"
        # MODIFY takes away all that it does not repeat.
        null = "null" if column.nullable else "not null"
        return base.Statement(
            f"alter table {self.table(schema, name)} modify column {self.quote(column.name)} {native} {null}"
            f"{column.rest}",
            f"{schema}.{name}" if schema else name,
        )

    def stage(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> base.Staged:
        return bulk.stage(session, bulk.Target(mirror, self), batches)

    def stage_strictly(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> base.Staged:
        return bulk.stage_strictly(session, bulk.Target(mirror, self), batches)

    def unstage(self, session: base.Session, mirror: Mirror, staged: base.Staged) -> None:
        bulk.unstage(session, bulk.Target(mirror, self), staged)

    line_bytes = ""

    def takes_lines(self, session: base.Session) -> bool:
        return bulk.may_load(session)

    def take_lines(self, session: base.Session, mirror: Mirror, lines: Iterable[bytes], *, direct: bool) -> base.Staged:
        return bulk.take_lines(session, bulk.Target(mirror, self), lines, direct=direct)

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
        return bulk.change_absent(session, bulk.Target(mirror, self), staged, sets, unless)

    def delete(self, session: base.Session, mirror: Mirror, staged: base.Staged, *, absent_only: bool = True) -> int:
        return bulk.delete(session, bulk.Target(mirror, self), staged, absent_only=absent_only)

    def blank(
        self,
        session: base.Session,
        mirror: Mirror,
        staged: base.Staged,
        columns: Sequence[str],
        *,
        absent_only: bool = False,
    ) -> None:
        bulk.blank(session, bulk.Target(mirror, self), staged, columns, absent_only=absent_only)


class MariaDB(MySQL):
    """MariaDB 10.5 and later."""

    name = "mariadb"
    features = dataclasses.replace(
        MySQL.features,
        ddl_lock_wait=0.0,
        capture_cost="a statement that writes one row takes hardly longer (1.0 to 1.2 times); in bulk, an insert takes "
        "4 times as long, an update 6, a delete 7",
    )
    settings = "max_statement_time = {seconds}"
    writer_cursor = pymysql.cursors.Cursor
    catalog = inspection.MARIADB
    variant = variants.MARIADB


def _truth(value: Any) -> Any:
    return value == 1 if value in (0, 1) else value


def _decoder(type_: LogicalType) -> Converter | None:
    if type_.kind is Kind.BOOLEAN:
        # A tinyint(1) may hold more than 0 and 1: what is neither stays a number, for the destination to judge.
        return _truth
    return None
