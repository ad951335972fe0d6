"""The dialect: which module answers which question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pantograph import errors
from pantograph.api.expressions import Expression
from pantograph.dialects import base
from pantograph.dialects.base import verbatim
from pantograph.dialects.firebird import bulk, capture, connections, expressions, inspection, listening, types, windows
from pantograph.dialects.firebird.identifiers import LONGEST, folded, text
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.converters import Converter
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import LogicalType

if TYPE_CHECKING:
    import sqlalchemy as sa

_LONGEST_PREFIX = 12
_LONGEST_LATER = 63
"""Characters of a name in Firebird 4 and later."""


class Firebird(base.Dialect):
    """Firebird 3 and later, through fdb."""

    name = "firebird"
    driver = "fdb"
    features = base.Features(
        name_limit=LONGEST,
        transactional_ddl=False,
        captures_truncate=False,
        cascades_fire_triggers=True,
        catalog_in_snapshot=False,
        deferrable_constraints=False,
        # A statement that was prepared before goes on without the trigger until its transaction ends.
        late_triggers=True,
        rows_of_values=False,
        ddl_lock_wait=1.0,
        # HASH() is too weak, and CRYPT_HASH came with Firebird 4.
        checksums=False,
        schemas=False,
        capture_lock="nobody waits for it; the first copy waits for transactions that began before the trigger",
        capture_cost="a statement that writes one row takes hardly longer; in bulk, inserts and deletes take 3 times "
        "as long, updates 4",
    )
    begin_write = (connections.BEGIN,)
    begin_read = (connections.BEGIN_READ,)

    # -- connections -------------------------------------------------------------------------------------------------

    style = "qmark"

    def sa_dialect(self) -> sa.engine.Dialect:
        import sqlalchemy

        return sqlalchemy.engine.default.DefaultDialect(paramstyle="qmark")

    def connect(self, role: base.Role, timeout: float) -> Any:
        return connections.connect(self.address, role, timeout)

    def translate(self, error: BaseException) -> errors.DatabaseError | None:
        return connections.translate(error)

    def server(self, session: base.Session) -> base.Server:
        return inspection.server(session)

    def check(self, session: base.Session, role: base.Role) -> None:
        if len(self.prefix) > _LONGEST_PREFIX:
            raise errors.SpecError(
                f"found {self.prefix!r}, expected {_LONGEST_PREFIX} characters at most: names have {LONGEST} here",
                path="spec.captureSchema",
            )
        inspection.check(session, role)

    # -- names -------------------------------------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """What the names of our objects begin with: there are no schemas here."""
        return self.address.capture_schema

    def quote(self, name: str) -> str:
        return self._preparer.quote_identifier(folded(name))

    def ours(self, name: str) -> str:
        return self.quote(f"{self.prefix}_{name}")

    def event_table(self, capture_id: str, schema: str, table: str) -> str:
        return names.ours("e", table, capture_id, LONGEST - len(self.prefix) - 1)

    # -- inspection --------------------------------------------------------------------------------------------------

    def shape(self, session: base.Session, schema: str, table: str) -> TableShape | None:
        fits = len(table) <= _LONGEST_LATER if session.raw.zones else len(table.encode()) <= LONGEST
        return inspection.shape(session, table) if fits else None

    def tables(self, session: base.Session, schema: str) -> list[str]:
        return inspection.tables(session, folded(f"{self.prefix}_"))

    def fingerprints(self, session: base.Session, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return inspection.fingerprints(session, tables)

    def estimated_rows(self, session: base.Session, schema: str, table: str) -> int:
        return inspection.estimated_rows(session, table)

    def indexes(self, session: base.Session, schema: str, table: str) -> list[tuple[str, ...]]:
        return inspection.indexes(session, table)

    def in_the_way(self, session: base.Session, schema: str, table: str) -> str:
        return inspection.in_the_way(session, table, folded(f"{self.prefix}_"))

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

    # -- the source --------------------------------------------------------------------------------------------------

    def meta_table(self, table: base.MetaTable) -> str:
        natives = {
            "text": "blob sub_type text character set UTF8",
            "name": "varchar(191) character set UTF8",
            "bigint": "bigint",
            "real": "double precision",
        }
        columns = [_defined(self.quote(name), natives[kind], name not in table.key) for name, kind in table.columns]
        key = ", ".join(self.quote(name) for name in table.key)
        made = f"create table {self.ours(table.name)} ({', '.join(columns)}, primary key ({key}))"
        return capture.unless(capture.relation_exists(folded(f"{self.prefix}_{table.name}")), made)

    def home(self) -> list[str]:
        return capture.home(self.prefix, self.ours)

    def leave_home(self) -> list[str]:
        return capture.leave_home(self.prefix, self.ours)

    def _rendering(self, capture_: Capture) -> capture.Rendering:
        return capture.Rendering(capture_, self.prefix, self.quote, self.ours, notifies=self.address.notifies)

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
        # By the server's own clock and, in Firebird 3, its own time zone; it is compared with itself alone.
        return f"(datediff(millisecond from {capture.EPOCH} to cast('NOW' as timestamp)) / 1000e0)"

    # A row that came out of a backup was written by another transaction than the one it names.
    stamp = "cast(current_transaction as varchar(20))"
    genuine = "case when cast(rdb$record_version as varchar(20)) = stamp then 1 else 0 end"

    def lease_renewed(self, session: base.Session, seconds: int) -> None:
        # A sequence moves by a step, and at once.
        ends = f"datediff(second from {capture.EPOCH} to current_timestamp) + {int(seconds)}"
        lease = self.ours(capture.LEASE)
        session.rows(f"select gen_id({lease}, {ends} - gen_id({lease}, 0)) from rdb$database")

    def reader(self, captures: Sequence[Capture]) -> windows.Reader:
        return windows.Reader(self, captures)

    def listener(self, session: base.Session) -> base.Listener:
        at = self.address
        return listening.Events(session, connections.dsn(at), at.username, at.password, self.prefix)

    # -- reading rows ------------------------------------------------------------------------------------------------

    clock = "current_timestamp"

    def streaming_cursor(self, raw: Any) -> Any:
        return connections.Cursor(raw, packs=True)

    def at_most(self, count: int | str, *, ordered: bool = True) -> str:
        return f"rows {count}"

    def changes(self, mirror: Mirror, keys: str, *, upto: bool = False) -> str:
        """As in `base`; a key is looked up by the table's own collation, which its index serves, and compared to the
        byte besides, so that an old key 'a' does not find the row that is called 'A' now."""
        joined = []
        for i, column in enumerate(mirror.looked_up):
            joined.append(f"r.j{i} = {self.event_key(mirror, i)}")
            if types.compares_short(column.source_native):
                joined.append(types.exactly(f"r.j{i}", f"e.k{i}", column.source_native))
        picked = [f"coalesce(r.j{i}, {self.event_key(mirror, i)}) as c{i}" for i in range(len(mirror.looked_up))]
        picked += self.beside(mirror)
        return (
            f"select case when r.p is null then 0 else 1 end as present, {', '.join(picked)} "
            f"from ({keys}) e left join ({self.rows_of(mirror, upto=upto)}) r on {' and '.join(joined)}"
        )

    def event_key(self, mirror: Mirror, index: int) -> str:
        return self.typed(f"e.k{index}", mirror.key[index].source_native)

    def selected(self, column: Mapped) -> str:
        expression = verbatim(column.expression)
        # A CHAR comes filled up with blanks, which are not part of it.
        padded = types.base_name(column.source_native) == "char" and types.is_text(column.source_native)
        return f"trim(trailing from {expression})" if padded else expression

    def chunk_end(self, mirror: Mirror, *, after: bool) -> str:
        listed = [self.quote(name) for name in mirror.capture.key]
        beyond = f" where {self.beyond(listed, self._cursor(mirror, 'a'))}" if after else ""
        columns = ", ".join(f"{self.selected(column)} as c{i}" for i, column in enumerate(mirror.walked))
        return (
            f"select {columns} from {self.table(*mirror.source)}{beyond} "
            f"order by {', '.join(listed)} offset :skip rows fetch next 1 rows only"
        )

    most_given_keys = 100

    def given_keys(
        self, session: base.Session, mirror: Mirror, keys: Sequence[Sequence[Any]]
    ) -> tuple[str, dict[str, Any]]:
        sql, params = super().given_keys(session, mirror, keys)
        return " union all ".join(f"{part} from rdb$database" for part in sql.split(" union all ")), params

    def typed(self, expression: str, native: str) -> str:
        return f"cast({expression} as {types.plain(native)})"

    def beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        # Rows are not compared as a whole here.
        return base.lexicographic(names, values, ">", ">")

    def not_beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        return base.lexicographic(names, values, "<", "<=")

    # -- the destination ---------------------------------------------------------------------------------------------

    def create_table(
        self, schema: str, name: str, columns: Sequence[Column], key: Sequence[str]
    ) -> list[base.Statement]:
        for each in (name, *(column.name for column in columns)):
            _refuse_long(each)
        for column in columns:
            _refuse_array(column)
        listed = [_defined(self.quote(c.name), c.native, c.nullable and c.name not in key) for c in columns]
        listed.append(f"primary key ({', '.join(self.quote(k) for k in key)})")
        return [base.Statement(f"create table {self.table('', name)} ({', '.join(listed)})")]

    def add_column(self, schema: str, name: str, column: Column) -> base.Statement:
        _refuse_long(column.name)
        _refuse_array(column)
        return base.Statement(
            f"alter table {self.table('', name)} add {_defined(self.quote(column.name), column.native, True)}", name
        )

    def numberings(self, session: base.Session, schema: str, table: str) -> list[base.Numbering]:
        return inspection.numberings(session, table, self.quote)

    def number_from(self, schema: str, table: str, numbering: base.Numbering, next_: int) -> list[base.Statement]:
        # ALTER SEQUENCE is for its owner, and one version begins at the number and the next one behind it.
        sequence = self.quote(numbering.by.removeprefix("sequence "))
        return [
            base.Statement(
                f"execute block as declare n bigint; begin "
                f"n = gen_id({sequence}, {int(next_) - numbering.step} - gen_id({sequence}, 0)); end"
            )
        ]

    def numbered(self, schema: str, table: str, column: Column, next_: int) -> str:
        # A sequence begins at the number here and one behind it there, by the version: one number may be left out.
        sequence, named = self.quote(names.ours("numbers", table, column.name, LONGEST)), self.quote(column.name)
        made = f"create sequence {sequence} start with {int(next_)}"
        trigger = (
            f"create trigger {sequence} for {self.table(schema, table)} before insert as begin "
            f"if (new.{named} is null) then new.{named} = next value for {sequence}; end"
        )
        return f"execute block as begin execute statement {text(made)}; execute statement {text(trigger)}; end"

    def change_type(self, schema: str, name: str, column: Column, native: str) -> base.Statement | None:
        if types.is_blob(column.native) or types.is_blob(native):
            return None
        return base.Statement(
            f"alter table {self.table('', name)} alter column {self.quote(column.name)} type {types.plain(native)}",
            name,
        )

    def stage(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> base.Staged:
        return bulk.stage(session, bulk.Target(mirror, self), batches)

    def stage_strictly(self, session: base.Session, mirror: Mirror, batches: base.Batches) -> base.Staged:
        return bulk.stage_strictly(session, bulk.Target(mirror, self), batches)

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
        return bulk.change_absent(session, bulk.Target(mirror, self), staged, sets, unless)

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


def _refuse_long(name: str) -> None:
    if len(name.encode()) > LONGEST:
        raise errors.SpecError(
            f"{name!r} is longer than {LONGEST} bytes, which is all that a name has in Firebird 3; give another one, "
            "or make the table yourself on a later server",
            path="spec.destination",
        )


def _refuse_array(column: Column) -> None:
    if types.is_array(column.native):
        raise errors.SpecError(
            f"column {column.name} is an {column.native}, which cannot be copied; leave it out (`exclude`)",
            path="spec.columns",
        )


def _defined(name: str, native: str, nullable: bool) -> str:
    """A column's definition; its collation stands last."""
    return f"{name} {types.plain(native)}{'' if nullable else ' not null'}{types.collation(native)}"
