"""The dialect. Our tables stand in the user's file, under a prefix.

Transactions: a WRITER begins deferred, so that staging (in temporary tables, which go to a file when they are large)
takes no lock and the first write, the checkpoint's, waits its turn for the file. That write must come before anything
is read from the file: a lock that is asked for behind a read that has gone stale is refused at once
(SQLITE_BUSY_SNAPSHOT, which is `Contended`). All others read before they write, and so take the lock at the beginning.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pantograph import errors
from pantograph.api.expressions import Expression
from pantograph.dialects import base, marks
from pantograph.dialects.base import (
    Batches,
    CaptureState,
    Features,
    MetaTable,
    Role,
    Server,
    Session,
    Staged,
    Statement,
    WindowReader,
    indexed,
    verbatim,
)
from pantograph.dialects.sqlite import capture as capturing
from pantograph.dialects.sqlite import connections, expressions, tables, values, windows
from pantograph.model import converters
from pantograph.model.changes import Capture
from pantograph.model.converters import Converter
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, Reference, TableShape
from pantograph.model.types import Kind, LogicalType

if TYPE_CHECKING:
    import sqlalchemy as sa

_MOST_COUNTED = 1_000_000
_META_TYPES = {"text": "text", "name": "text", "bigint": "integer", "real": "real"}


class SQLite(base.Dialect):
    """SQLite 3.35 and newer."""

    name = "sqlite"
    driver = "sqlite3 (part of Python)"
    features = Features(
        name_limit=120,
        transactional_ddl=True,
        single_writer=True,
        cheap_look=True,
        capture_lock="the file: other writers wait, readers do not",
        capture_cost="a single write takes up to twice as long where a commit does not wait for the disk, and up to "
        "1.3 times where it does; in bulk, 1.8 to 2.9 times",
        # Nobody queues for SQLite's lock: who waits for it holds up nobody.
        ddl_lock_wait=0.1,
    )
    begin_read = ("begin",)
    meta_integer = "integer"
    most_given_keys: ClassVar[int] = 2000

    # -- connections -------------------------------------------------------------------------------------------------

    style = "qmark"

    def sa_dialect(self) -> sa.engine.Dialect:
        from sqlalchemy.dialects import sqlite as sa_sqlite

        return sa_sqlite.dialect(paramstyle="qmark")

    def connect(self, role: Role, timeout: float) -> Any:
        return connections.connect(self.address, role, timeout)

    def translate(self, error: BaseException) -> errors.DatabaseError | None:
        return connections.translate(error)

    def begins(self, role: Role) -> Sequence[str]:
        return ("begin",) if role is Role.WRITER else ("begin immediate",)

    def in_transaction(self, raw: Any) -> bool:
        return bool(raw.in_transaction)

    def server(self, session: Session) -> Server:
        (version,) = session.row("select sqlite_version()")
        path = os.path.realpath(self.address.path)
        found = os.stat(path)
        # The file system's own id: a device's number is another one after every mount.
        volume = getattr(os, "statvfs", None)
        volume_id = volume(path).f_fsid if volume else found.st_dev
        # A file that is copied over this one keeps the inode: then the nonces tell.
        return Server(f"SQLite {version}", f"{volume_id:x}:{found.st_ino}", f"{found.st_ino}")

    def check(self, session: Session, role: Role) -> None:
        label = self.address.label
        if sqlite3.sqlite_version_info < connections.OLDEST:
            oldest = ".".join(map(str, connections.OLDEST[:2]))
            raise errors.Refused(
                f"this SQLite library is {sqlite3.sqlite_version}; {oldest} is the oldest supported one"
            )
        path = os.path.abspath(self.address.path)
        if not os.access(path, os.W_OK) or not os.access(os.path.dirname(path), os.W_OK):
            raise errors.Refused(f"{label} or its folder may not be written; SQLite needs both, also for capture")
        if role is Role.WRITER:
            return
        (journal,) = session.row("pragma journal_mode")
        if journal != "wal":
            raise errors.Refused(
                f"{label} is in journal mode {journal}; a source must be in WAL mode, or readers and writers would "
                "block each other: run PRAGMA journal_mode = WAL once",
                reason="NotInWalMode",
            )

    # -- names -------------------------------------------------------------------------------------------------------

    @property
    def _prefix(self) -> str:
        return f"{self.address.capture_schema}_"

    def ours(self, name: str) -> str:
        return self.quote(f"{self._prefix}{name}")

    # -- inspection --------------------------------------------------------------------------------------------------

    def shape(self, session: Session, schema: str, table: str) -> TableShape | None:
        return tables.shape(session, table) if schema in ("", "main") else None

    def place(self, session: Session, schema: str, table: str) -> tuple[str, ...]:
        return (self.server(session).place, "", table.casefold())

    def tables(self, session: Session, schema: str) -> list[str]:
        return tables.names(session, self._prefix) if schema in ("", "main") else []

    def fingerprints(self, session: Session, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        # The statement of the table, and which triggers of ours it has. Root pages would tell a rewrite too, but VACUUM
        # moves them; a table that was made anew has another statement or has lost its triggers.
        wanted = json.dumps([name.lower() for _, name in tables])
        found: dict[str, list[str]] = {}
        for table, kind, name, sql in session.rows(
            "select lower(tbl_name), type, name, sql from sqlite_master where type in ('table', 'trigger') "
            "and lower(tbl_name) in (select value from json_each(:wanted)) order by type, name",
            wanted=wanted,
        ):
            if kind == "table" or name.startswith(self._prefix):
                found.setdefault(table, []).append(f"{kind} {name}\n{sql if kind == 'table' else ''}")
        return {
            (schema, name): hashlib.sha256("\n".join(found[name.lower()]).encode()).hexdigest()[:16]
            for schema, name in tables
            if any(text.startswith("table ") for text in found.get(name.lower(), ()))
        }

    def estimated_rows(self, session: Session, schema: str, table: str) -> int:
        if session.row("select 1 from sqlite_master where name = 'sqlite_stat1'"):
            found = session.row(
                "select max(cast(stat as integer)) from sqlite_stat1 where lower(tbl) = lower(:table)", table=table
            )
            if found[0]:
                return int(found[0])
        (count,) = session.row(
            f"select count(*) from (select 1 from {self.table(schema, table)} limit {_MOST_COUNTED})"
        )
        return int(count)

    def indexes(self, session: Session, schema: str, table: str) -> list[tuple[str, ...]]:
        found = session.rows(
            "select l.name, i.seqno, i.name from pragma_index_list(:table) l join pragma_index_info(l.name) i "
            "where not l.partial order by l.name, i.seqno",
            table=table,
        )
        shape = self.shape(session, schema, table)
        return [*indexed(found), *([shape.key] if shape and shape.key else [])]

    def in_the_way(self, session: Session, schema: str, table: str) -> str:
        # SQLite cannot name who holds its lock. Asking for it holds up nobody, for nobody queues for it.
        if session.raw.in_transaction:
            return ""
        with connections.waiting(session, self.features.ddl_lock_wait):
            try:
                session.direct("begin immediate")
            except errors.Contended:
                return "another connection is writing to the file (SQLite does not tell which)"
            session.direct("rollback")
        return ""

    def judge_expression(self, session: Session, expression: Expression, shape: TableShape) -> None:
        expressions.judge(expression, shape)

    # -- types -------------------------------------------------------------------------------------------------------

    def logical(self, native: str) -> LogicalType:
        return values.logical(native)

    def native(self, type_: LogicalType, *, key: bool = False) -> str:
        return values.native(type_)

    def decode(self, type_: LogicalType) -> Converter | None:
        return values.decoder(type_)

    def encode(self, type_: LogicalType) -> Converter | None:
        return values.encoder(type_)

    def canonical(self, expression: str, type_: LogicalType, precision: LogicalType) -> str:
        # A value that another engine keeps as a date may be kept as a text here.
        kind = precision.kind if type_.kind is Kind.TEXT else type_.kind
        if kind in (Kind.FLOAT, Kind.OTHER):
            raise NotImplementedError(f"{type_} has no text that every engine renders alike")
        digits = precision.fraction
        if kind is Kind.DECIMAL:
            digits = precision.scale if precision.kind is Kind.DECIMAL and precision.precision else -1
        return f"pantograph_text('{kind.value}', {digits}, {expression})"

    def hashed(self, texts: Sequence[str]) -> str:
        return f"pantograph_hash({', '.join(texts)})"

    def total(self, expression: str) -> str:
        # SQLite's own sum ends at 63 bits.
        return f"pantograph_total({expression})"

    # -- the source --------------------------------------------------------------------------------------------------

    def meta_table(self, table: MetaTable) -> str:
        columns = ", ".join(f"{self.quote(name)} {_META_TYPES[kind]}" for name, kind in table.columns)
        key = ", ".join(self.quote(name) for name in table.key)
        return f"create table if not exists {self.ours(table.name)} ({columns}, primary key ({key}))"

    def home(self) -> list[str]:
        return []

    def leave_home(self) -> list[str]:
        return []

    def _triggers(self, capture: Capture, shape: TableShape) -> list[tuple[str, str]]:
        events, lease = self.ours(capture.event_table), self.ours("lease")
        made = capturing.triggers(capture, shape, quote=self.quote, prefix=self._prefix, events=events, lease=lease)
        parted = [(kind, *capturing.parted(sql)) for kind, sql in made]
        return [
            (kind, head + marks.marked(tail, capturing.facts(kind, capture, shape), after=" begin "))
            for kind, head, tail in parted
        ]

    def install(self, capture: Capture, shape: TableShape) -> list[Statement]:
        """One transaction, begun and committed by the script itself, for statements are run one at a time: no write
        meets the table between the old trigger and the new one, however far the script gets."""
        events = self.ours(capture.event_table)
        names = capturing.trigger_names(capture, self.quote, self._prefix)
        statements = [Statement("begin immediate", shape.label)]
        statements += [Statement(capturing.event_table(capture, events)), Statement(capturing.first_event(events))]
        statements += [Statement(f"drop trigger if exists {name}") for name in names.values()]
        statements += [Statement(sql) for _, sql in self._triggers(capture, shape)]
        return [*statements, Statement("commit")]

    def upgrade(self, capture: Capture, shape: TableShape) -> list[Statement]:
        made = self._triggers(capture, shape)
        names = capturing.trigger_names(capture, self.quote, self._prefix)
        statements = [Statement("begin immediate", shape.label)]
        statements += [Statement(f"drop trigger if exists {names[kind]}") for kind, _ in made]
        return [*statements, *(Statement(sql) for _, sql in made), Statement("commit")]

    def uninstall(self, capture: Capture) -> list[Statement]:
        names = capturing.trigger_names(capture, self.quote, self._prefix)
        statements = [Statement(f"drop trigger if exists {name}") for name in names.values()]
        return [*statements, Statement(f"drop table if exists {self.ours(capture.event_table)}")]

    def capture_state(self, session: Session, capture: Capture, shape: TableShape | None) -> CaptureState:
        events = f"{self._prefix}{capture.event_table}"
        found = {
            name: (table, sql)
            for name, table, sql in session.rows(
                "select name, tbl_name, sql from sqlite_master where type in ('table', 'trigger') "
                "and substr(name, 1, length(:events)) = :events",
                events=events,
            )
        }
        if not found:
            return CaptureState(installed=False)
        if shape is None:
            return CaptureState(True, (f"the table {capture.table} is gone",))
        problems, outdated = [], []
        wanted = {f"{events}_{kind}": sql for kind, sql in self._triggers(capture, shape)}
        for name, sql in wanted.items():
            if name not in found:
                problems.append(f"the trigger {name} is missing")
            elif capturing.body(found[name][1]) != capturing.body(sql) or found[name][0] != shape.name:
                facts = capturing.facts(name.removeprefix(f"{events}_"), capture, shape)
                if found[name][0] == shape.name and marks.whole(capturing.body(found[name][1]), facts):
                    outdated.append(f"another version made the trigger {name}")
                else:
                    problems.append(f"the trigger {name} is not the one that was planned")
        problems += [
            f"the trigger {name} is not needed any more" for name in found if name not in wanted and name != events
        ]
        if events not in found:
            problems.append(f"the event table {events} is missing")
        else:
            (held,) = session.row(
                "select count(*) from pragma_table_info(:events) where name glob 'k[0-9]*'", events=events
            )
            if held < len(capture.columns):
                problems.append(
                    f"the event table {events} has room for {held} captured columns, not {len(capture.columns)}"
                )
        return CaptureState(True, tuple(problems), tuple(outdated))

    def blind_spots(self, shape: TableShape) -> tuple[str, ...]:
        spots = [
            "a connection that has switched triggers off (SQLITE_DBCONFIG_ENABLE_TRIGGER) writes unseen",
            "a migration that makes the table anew (create, copy, drop, rename) drops the triggers: what it and later "
            "writers change is not captured; this is noticed and answered with a sweep",
        ]
        if isinstance(shape, tables.SQLiteShape):
            spots += [
                f"INSERT OR REPLACE that throws out another row by the unique index {index}, which is on an "
                "expression, leaves no event for that row, unless the writer has set PRAGMA recursive_triggers = ON"
                for index in shape.unguarded
            ]
            if shape.nullable_key:
                spots.append("SQLite lets this primary key be NULL; such rows are not copied")
        return tuple(spots)

    def now(self) -> str:
        return capturing.NOW

    def write_durably(self, session: Session) -> None:
        # SIDE sessions commit like that from the start: SQLite does not let a transaction change it.
        if not session.raw.in_transaction:
            session.rows("pragma synchronous = full")

    def reader(self, captures: Sequence[Capture]) -> WindowReader:
        return windows.Reader(self, captures)

    # -- reading rows ------------------------------------------------------------------------------------------------

    clock = "strftime('%Y-%m-%d %H:%M:%f', 'now')"

    def changes(self, mirror: Mirror, keys: str, *, upto: bool = False) -> str:
        joined = [f"r.j{i} = e.k{i}" for i in range(len(mirror.looked_up))]
        # The column's own collation finds the row by its index; then byte by byte, or the old key of a row whose key
        # changed only in case would find the row under its new one.
        keyed = list(enumerate(mirror.looked_up))
        joined += [f"r.j{i} = e.k{i} collate binary" for i, column in keyed if column.source_type.folding]
        picked = [f"{self._exact(column, f'coalesce(r.j{i}, e.k{i})')} as c{i}" for i, column in keyed]
        picked += self.beside(mirror)
        return (
            f"select case when r.p is null then 0 else 1 end as present, {', '.join(picked)} "
            f"from ({keys}) e left join ({self.rows_of(mirror, upto=upto)}) r on {' and '.join(joined)}"
        )

    def _exact(self, column: Mapped, expression: str) -> str:
        """A key's value, or what its decoder refuses: see `values.exact`."""
        type_ = column.source_type
        if type_.kind not in values.LOOSE_KEYS:
            return expression
        scale = type_.scale if type_.kind is Kind.DECIMAL and type_.precision else -1
        return f"pantograph_exact('{type_.kind.value}', {scale}, {expression})"

    def chunk_end(self, mirror: Mirror, *, after: bool) -> str:
        names = [self.quote(name) for name in mirror.capture.key]
        conditions = [f"{name} is not null" for name in names]
        conditions += [self.beyond(names, self._cursor(mirror, "a"))] if after else []
        columns = ", ".join(
            f"{self._exact(column, self.selected(column))} as c{i}" for i, column in enumerate(mirror.walked)
        )
        return (
            f"select {columns} from {self.table(*mirror.source)} where {' and '.join(conditions)} "
            f"order by {', '.join(names)} limit 1 offset :skip"
        )

    def chunk(self, mirror: Mirror, *, after: bool, upto: bool) -> str:
        names = [self.quote(name) for name in mirror.capture.key]
        picked = [self._exact(column, self.selected(column)) for column in mirror.looked_up]
        picked += [self.selected(column) for column in mirror.columns[len(mirror.looked_up) :]]
        columns = ", ".join(f"{sql} as c{i}" for i, sql in enumerate(picked))
        conditions = [f"{name} is not null" for name in names]
        conditions += [f"({verbatim(mirror.where)})"] if mirror.where else []
        conditions += [self.beyond(names, self._cursor(mirror, "a"))] if after else []
        conditions += [self.not_beyond(names, self._cursor(mirror, "b"))] if upto else []
        return f"select 1 as present, {columns} from {self.table(*mirror.source)} where {' and '.join(conditions)}"

    def given_keys(self, session: Session, mirror: Mirror, keys: Sequence[Sequence[Any]]) -> tuple[str, dict[str, Any]]:
        # One parameter however many keys there are; JSON has no bytes, and its numbers are not quite doubles.
        picked = []
        for i, column in enumerate(mirror.looked_up):
            value = f"json_extract(value, '$[{i}]')"
            if column.source_type.kind is Kind.BYTES:
                value = f"pantograph_bytes({value})"
            elif column.source_type.kind is Kind.FLOAT:
                value = f"pantograph_real({value})"
            picked.append(f"{value} as k{i}")
        given = json.dumps([[_as_json(value) for value in key] for key in keys])
        return f"select {', '.join(picked)} from json_each(:given_keys)", {"given_keys": given}

    def typed(self, expression: str, native: str) -> str:
        # A column's affinity works on what it is compared with; a cast to a declared type would work on more than that.
        return expression

    # -- the destination ---------------------------------------------------------------------------------------------

    def create_table(self, schema: str, name: str, columns: Sequence[Column], key: Sequence[str]) -> list[Statement]:
        declared = [
            f"{self.quote(column.name)} {column.native}{'' if column.nullable else ' not null'}" for column in columns
        ]
        declared.append(f"primary key ({', '.join(self.quote(column) for column in key)})")
        # What tells this table from one that somebody makes after dropping it: see `tables.made`.
        mark = f"/* {tables.MARK}, {secrets.token_hex(4)} */"
        return [Statement(f"create table {self.table(schema, name)} ({', '.join(declared)} {mark})")]

    def add_column(self, schema: str, name: str, column: Column) -> Statement:
        return Statement(f"alter table {self.table(schema, name)} add column {self.quote(column.name)} {column.native}")

    def numberings(self, session: Session, schema: str, table: str) -> list[base.Numbering]:
        return tables.numberings(session, table, self.quote)

    def number_from(self, schema: str, table: str, numbering: base.Numbering, next_: int) -> list[Statement]:
        name = "'" + table.replace("'", "''") + "'"
        there = f"exists (select 1 from sqlite_sequence where name = {name})"
        return [
            Statement(f"insert into sqlite_sequence (name, seq) select {name}, 0 where not {there}"),
            Statement(f"update sqlite_sequence set seq = {int(next_) - 1} where name = {name}"),
        ]

    def numbered(self, schema: str, table: str, column: Column, next_: int) -> str:
        return ""

    def _stage_table(self, mirror: Mirror) -> str:
        # Temporary tables outlive an edit of the manifest, so the columns are part of the name.
        columns = hashlib.sha256("\0".join(column.destination for column in mirror.columns).encode()).hexdigest()[:8]
        return f"temp.{self.quote(f'{self._prefix}stage_{mirror.id}_{columns}')}"

    def stage(self, session: Session, mirror: Mirror, batches: Batches) -> Staged:
        table = self._stage_table(mirror)
        # Columns without a type: values stay as they were sent until the destination's columns take them.
        columns = ", ".join(self.quote(column.destination) for column in mirror.columns)
        session.direct(f"create temp table if not exists {table.removeprefix('temp.')} (present, {columns})")
        session.direct(f"delete from {table}")
        count = present = 0
        order = _Order()
        for batch in batches:
            _fill(session, table, self._encoded(mirror, batch, 1))
            count += len(batch)
            present += sum(row[0] for row in batch)
            order.add([row[1] for row in batch])
        return Staged(f"{table} as s", count, present=present, absent=count - present, ordered=order.kept)

    def unstage(self, session: Session, mirror: Mirror, staged: Staged) -> None:
        session.direct(f"delete from {self._stage_table(mirror)}")

    def _encoded(self, mirror: Mirror, batch: Sequence[tuple[Any, ...]], offset: int) -> Sequence[Sequence[Any]]:
        encoders = [
            (i + offset, encoder)
            for i, column in enumerate(mirror.columns)
            if (encoder := self.encode(column.destination_type)) is not None
        ]
        names = ["" for _ in range(offset)] + [column.destination for column in mirror.columns]
        return converters.converted(batch, encoders, names)

    def insert(self, session: Session, mirror: Mirror, batches: Batches) -> int:
        columns = ", ".join(self.quote(column.destination) for column in mirror.columns)
        table = f"{self.table(*mirror.destination)} ({columns})"
        count = 0
        for batch in batches:
            rows = [row[1:] for row in batch]
            _fill(session, table, self._encoded(mirror, rows, 0))
            count += len(rows)
        return count

    def upsert(self, session: Session, mirror: Mirror, staged: Staged) -> int:
        key = [self.quote(column.destination) for column in mirror.key]
        columns = [self.quote(column.destination) for column in mirror.columns]
        # A key that folds may have changed in what it does not tell apart; others cannot differ where they conflict.
        written = [*mirror.data, *(column for column in mirror.key if column.destination_type.folding)]
        compared = [self.quote(column.destination) for column in written if not column.system]
        picked = ", ".join(f"s.{column}" for column in columns)
        if compared:
            sets = ", ".join(
                f"{name} = " + ("'update'" if column.system == "operation" else f"excluded.{name}")
                for name, column in ((self.quote(column.destination), column) for column in written)
            )
            # Byte by byte, whatever the column's collation takes for equal.
            differs = " or ".join(f"d.{name} is not excluded.{name} collate binary" for name in compared)
            action = f"update set {sets} where {differs}"
        else:
            action = "nothing"
        # Rows go into an index side by side; to sort them takes a third of the statement's time.
        order = "" if staged.ordered else f"order by {', '.join(f's.{column}' for column in key)} "
        return session.run(
            f"insert into {self.table(*mirror.destination)} as d ({', '.join(columns)}) select {picked} "
            f"from {staged.source} where s.present = 1 {order}"
            f"on conflict ({', '.join(key)}) do {action}"
        )

    def update(self, session: Session, mirror: Mirror, staged: Staged) -> int:
        named = [(self.quote(column.destination), column) for column in mirror.data]
        compared = [name for name, column in named if not column.system]
        if not compared:
            return 0
        sets = ", ".join(
            f"{name} = " + ("'update'" if column.system == "operation" else f"s.{name}") for name, column in named
        )
        joined = " and ".join(
            f"d.{name} = s.{name}" for name in (self.quote(column.destination) for column in mirror.key)
        )
        differs = " or ".join(f"d.{name} is not s.{name} collate binary" for name in compared)
        return session.run(
            f"update {self.table(*mirror.destination)} as d set {sets} from {staged.source} "
            f"where {joined} and s.present = 1 and ({differs})"
        )

    def change_absent(
        self, session: Session, mirror: Mirror, staged: Staged, sets: Sequence[tuple[str, str]], unless: str
    ) -> int:
        key = [self.quote(column.destination) for column in mirror.key]
        mine = f"({', '.join(key)})" if len(key) > 1 else key[0]
        picked = f"select {', '.join(f's.{column}' for column in key)} from {staged.source}"
        given = " and ".join(f"s.{column} is not null" for column in key)
        changes = ", ".join(f"{name} = {value}" for name, value in sets)
        return session.run(
            f"update {self.table(*mirror.destination)} set {changes} where {mine} in ({picked} where s.present = 0) "
            f"and {mine} not in ({picked} where s.present = 1 and {given}) and not ({unless})"
        )

    def delete(self, session: Session, mirror: Mirror, staged: Staged, *, absent_only: bool = True) -> int:
        key = [self.quote(column.destination) for column in mirror.key]
        mine = f"({', '.join(key)})" if len(key) > 1 else key[0]
        picked = f"select {', '.join(f's.{column}' for column in key)} from {staged.source}"
        table = self.table(*mirror.destination)
        if not absent_only:
            return session.run(f"delete from {table} where {mine} in ({picked})")
        given = " and ".join(f"s.{column} is not null" for column in key)
        return session.run(
            f"delete from {table} where {mine} in ({picked} where s.present = 0) "
            f"and {mine} not in ({picked} where s.present = 1 and {given})"
        )

    # Until the commit, after which it is off again. Which keys wait for the commit anyway, SQLite does not tell.
    defer = "pragma defer_foreign_keys = on"

    def defers(self, reference: Reference) -> bool:
        return True


_TOGETHER, _VALUES = 20, 30_000
"""Rows in one INSERT, which takes a third less time than one for each; and values in it at most."""


def _fill(session: Session, table: str, rows: Sequence[Sequence[Any]]) -> None:
    if not rows:
        return
    width = len(rows[0])
    together = max(1, min(_TOGETHER, _VALUES // width))
    places = f"({', '.join('?' * width)})"
    full = len(rows) - len(rows) % together
    flat = [tuple(itertools.chain.from_iterable(rows[at : at + together])) for at in range(0, full, together)]
    session.many(f"insert into {table} values {', '.join([places] * together)}", flat)
    session.many(f"insert into {table} values {places}", rows[full:])


class _Order:
    """Did values come in order? Only of what decides nothing but speed: texts may be ordered otherwise in an index."""

    def __init__(self) -> None:
        self.kept = True
        self._last: list[Any] = []

    def add(self, values: list[Any]) -> None:
        """The next ones."""
        try:
            self.kept = self.kept and values == sorted(values) and self._last <= values[:1]
        except TypeError:  # some are NULL, or not of one type
            self.kept = False
        self._last = values[-1:]


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, float):
        return repr(value)
    return value
