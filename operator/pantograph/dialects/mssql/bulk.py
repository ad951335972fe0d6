"""Writing into a table by the bulk: the stage, and the statements that apply it.

A stage is a table of the session (`#pantograph_…`). Rows get there as one parameter of JSON, which OPENJSON takes
apart: of all ways the fastest, with either driver. Where the database does not know it (a compatibility level below
130), they go as parameters of INSERT … VALUES. Never fast_executemany of pyodbc: with FreeTDS it ends the process.

Never MERGE (it races, and it is known for its mistakes), never OUTPUT (a table with a trigger refuses it): UPDATE, then
INSERT of what is absent.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pantograph import errors
from pantograph.dialects.base import Batches, Counted, Session, Staged
from pantograph.dialects.mssql import types
from pantograph.dialects.mssql.literals import text
from pantograph.model.converters import PIECE, Converter, converted
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.types import Kind

if TYPE_CHECKING:
    from pantograph.dialects.mssql.dialect import SQLServer

_JSON_ROWS = 5_000
_JSON_CHARACTERS = 4_000_000
"""Rows and characters of one parameter."""
VALUES_ROWS = 50
PARAMETERS = 2_098
"""Of one statement: the server takes 2,100, of which two are the driver's."""
_INDEXED = 900
"""Bytes of the stage's index; a wider key goes without."""


class Target:
    """A mirror's destination and its stage, rendered."""

    def __init__(self, mirror: Mirror, dialect: SQLServer) -> None:
        self.mirror, self.dialect = mirror, dialect
        self.schema = mirror.destination[0] or dialect.default_schema
        self.table = dialect.table(self.schema, mirror.destination[1])
        self.columns = [dialect.quote(column.destination) for column in mirror.columns]
        self.keys = self.columns[: len(mirror.key)]
        listed = [
            f"{column} {mapped.destination_native} {'not null' if i < len(self.keys) else 'null'}"
            for i, (column, mapped) in enumerate(zip(self.columns, mirror.columns, strict=True))
        ]
        self.definition = f"(present tinyint not null, {', '.join(listed)})"
        # Another definition is another table of the session.
        digest = hashlib.sha256(f"{mirror.id}{self.definition}".encode()).hexdigest()[:16]
        self.stage = f"#pantograph_{digest}"
        listed_keys = ", ".join(self.keys)
        self.index = f"on {self.stage} ({listed_keys})" if self._indexable() else ""

    def _indexable(self) -> bool:
        width = 0
        for column in self.mirror.key:
            name, numbers = types.base_name(column.destination_native), types.modifiers(column.destination_native)
            if "(max)" in column.destination_native or name in ("text", "ntext", "image", "xml"):
                return False
            size = numbers[0] if numbers and types.is_text(column.destination_native) else 16
            width += size * (2 if name.startswith("n") and types.is_text(column.destination_native) else 1)
        return width <= _INDEXED

    @property
    def matches(self) -> str:
        """The join of the stage `s` with the destination `d`, in the destination's own idea of equal."""
        return " and ".join(f"d.{key} = s.{key}" for key in self.keys)

    def same(self, staged: Staged) -> str:
        """The join for an upsert. Where the source tells texts apart that are equal here (by trailing blanks), only the
        very key is the row, or one that is staged as absent: anything else would overwrite another row."""
        told_apart = [
            key
            for key, column in zip(self.keys, self.mirror.key, strict=True)
            if types.is_text(column.destination_native) and not column.source_type.folding
        ]
        if not told_apart:
            return self.matches

        def exactly(alias: str) -> str:
            return " and ".join(f"{types.exact(f'd.{key}')} = {types.exact(f'{alias}.{key}')}" for key in told_apart)

        gone = f"select 1 from {staged.source.removesuffix(' as s')} as a where a.present = 0"
        gone += "".join(f" and a.{key} = d.{key}" for key in self.keys)
        return f"{self.matches} and ({exactly('s')} or exists ({gone} and {exactly('a')}))"

    def written(self, numbered: str) -> list[tuple[str, Mapped]]:
        """What an update sets: the columns beside the key but for one that the table numbers, and keys of text, which
        may be written differently now."""
        mapped = list(zip(self.columns, self.mirror.columns, strict=True))
        count = len(self.keys)
        return [
            (column, each)
            for i, (column, each) in enumerate(mapped)
            if column != numbered and (i >= count or types.is_text(each.destination_native))
        ]


# -- the stage ---------------------------------------------------------------------------------------------------------


_numbers = itertools.count(1)


def prepare(session: Session, target: Target) -> None:
    """An empty stage. It stays for the session's other turns, unless the transaction that made it is rolled back."""
    there = session.row(
        f"if object_id(N'tempdb..{target.stage}') is not null truncate table {target.stage}; "
        f"select 1 where object_id(N'tempdb..{target.stage}') is not null"
    )
    if there is not None:
        return
    session.direct(f"create table {target.stage} {target.definition}")
    if target.index:
        # By another name each time: not every server that speaks the protocol forgets one that was rolled back.
        session.direct(f"create clustered index pantograph_{next(_numbers)} {target.index}")


def stage(session: Session, target: Target, batches: Batches) -> Staged:
    """Rows where `upsert` and `delete` find them."""
    prepare(session, target)
    counted = Counted(batches)
    _fill(session, target.stage, ["present", *target.columns], [None, *target.mirror.columns], counted)
    return counted.staged(f"{target.stage} as s")


def insert(session: Session, target: Target, batches: Batches) -> int:
    """The rows that are present, straight into the destination."""
    rows = (row[1:] for batch in batches for row in batch if row[0])
    with _numbering(session, target):
        return _fill(session, target.table, target.columns, list(target.mirror.columns), rows)


def numbered(session: Session, target: Target) -> str:
    """The quoted column that the table numbers by itself, as far as we write it; "" where there is none."""
    known: dict[str, str] = session.raw.known
    if target.table not in known:
        row = session.row(
            "select c.name from sys.identity_columns c join sys.tables t on t.object_id = c.object_id "
            "where t.schema_id = schema_id(:schema) and t.name = :name",
            schema=target.schema,
            name=target.mirror.destination[1],
        )
        known[target.table] = target.dialect.quote(row[0]) if row else ""
    found = known[target.table]
    return found if found in target.columns else ""


@contextlib.contextmanager
def _numbering(session: Session, target: Target) -> Iterator[None]:
    """While rows with numbers of their own are inserted; of one table a session at a time."""
    if not numbered(session, target):
        yield
        return
    session.direct(f"set identity_insert {target.table} on")
    try:
        yield
    finally:
        # Where the connection is gone, so is the setting.
        with contextlib.suppress(errors.DatabaseError):
            session.direct(f"set identity_insert {target.table} off")


# -- rows in parameters ------------------------------------------------------------------------------------------------


def _fill(
    session: Session, table: str, columns: Sequence[str], mapped: Sequence[Mapped | None], rows: Iterable[Sequence[Any]]
) -> int:
    as_carried = types.as_json if session.raw.json else types.as_parameter
    renderers: list[tuple[int, Converter]] = [
        (i, _flag if each is None else as_carried(each.destination_type, encoding(session, each.destination_native)))
        for i, each in enumerate(mapped)
    ]
    names = ["" if each is None else each.destination for each in mapped]
    given = iter(rows)
    batches = iter(lambda: list(itertools.islice(given, PIECE)), [])
    flow = itertools.chain.from_iterable(converted(batch, renderers, names) for batch in batches)
    if session.raw.json:
        sql = json_insert(table, columns, mapped)
        return sum(session.direct(sql, (document,)) for document in _documents(flow))
    done = 0
    while group := list(itertools.islice(flow, rows_of_values(len(columns)))):
        parameters = list(itertools.chain.from_iterable(group))
        done += session.direct(values_insert(table, columns, mapped, len(group)), parameters)
    return done


def encoding(session: Session, native: str) -> str:
    """How a column of a code page encodes its characters; what is not known holds ASCII at least."""
    if not types.has_code_page(native):
        return "utf-8"
    collation = types.collation(native).removeprefix(" collate ")
    known: dict[str, str] = session.raw.known
    if f"code page of {collation}" not in known:
        row = session.row(types.CODE_PAGE, collation=collation)
        known[f"code page of {collation}"] = _codec(row[0] if row else None)
    return known[f"code page of {collation}"]


def _codec(page: int | None) -> str:
    try:
        return codecs.lookup(f"cp{page}").name
    except LookupError:
        return "ascii"


def _flag(value: Any) -> int:
    return int(value)


def rows_of_values(columns: int) -> int:
    """How many rows go into one INSERT … VALUES."""
    return max(1, min(VALUES_ROWS, PARAMETERS // columns))


def _documents(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    block: list[str] = []
    size = 0
    for row in rows:
        rendered = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        block.append(rendered)
        size += len(rendered)
        if len(block) >= _JSON_ROWS or size >= _JSON_CHARACTERS:
            yield f"[{','.join(block)}]"
            block, size = [], 0
    if block:
        yield f"[{','.join(block)}]"


def json_insert(table: str, columns: Sequence[str], mapped: Sequence[Mapped | None]) -> str:
    """INSERT of the rows of one parameter."""
    carried = ", ".join(
        f"v{i} {'tinyint' if each is None else types.carried(each.destination_type)} '$[{i}]'"
        for i, each in enumerate(mapped)
    )
    picked = ", ".join(_arrived(f"j.v{i}", each) for i, each in enumerate(mapped))
    return (
        f"insert into {table} ({', '.join(columns)}) select {picked} "
        f"from openjson(cast(? as nvarchar(max))) with ({carried}) as j"
    )


def values_insert(table: str, columns: Sequence[str], mapped: Sequence[Mapped | None], rows: int) -> str:
    """INSERT of so many rows, a parameter each value."""
    row = ", ".join(
        "cast(? as tinyint)"
        if each is None
        else "cast(? as varbinary(max))"
        if each.destination_type.kind is Kind.BYTES
        else _arrived(f"cast(? as {types.carried(each.destination_type)})", each)
        for each in mapped
    )
    return f"insert into {table} ({', '.join(columns)}) values {', '.join([f'({row})'] * rows)}"


def _arrived(expression: str, column: Mapped | None) -> str:
    return (
        expression if column is None else types.arrived(expression, column.destination_type, column.destination_native)
    )


# -- applying ----------------------------------------------------------------------------------------------------------

_HELD = "with (updlock, serializable)"
"""Nobody inserts a row between our UPDATE, which did not find it, and our INSERT."""


def upsert(session: Session, target: Target, staged: Staged) -> int:
    """Change the rows that differ, then insert those that are absent, in the order of the key; how many."""
    if not staged.rows:
        return 0
    changed = update(session, target, staged)
    with _numbering(session, target):
        return changed + session.direct(insert_absent(target, staged))


def update(session: Session, target: Target, staged: Staged) -> int:
    """Change the rows that are there and differ."""
    sql = update_present(target, staged, numbered(session, target)) if staged.rows else ""
    return session.direct(sql) if sql else 0


def update_present(target: Target, staged: Staged, numbered: str = "") -> str:
    """UPDATE of the rows that differ; "" where the key is all there is. numbered: a column that cannot be set."""
    written = target.written(numbered)
    compared = [(column, each) for column, each in written if not each.system]
    if not compared:
        return ""
    old, new = (
        ", ".join(
            part for column, each in compared for part in types.comparable(f"{alias}.{column}", each.destination_native)
        )
        for alias in "ds"
    )
    sets = ", ".join(f"{column} = {_set(column, each)}" for column, each in written)
    return (
        f"update d set {sets} from {target.table} as d {_HELD} join {staged.source} on {target.same(staged)} "
        f"where s.present = 1 and exists (select {old} except select {new})"
    )


def _set(column: str, mapped: Mapped) -> str:
    return "N'update'" if mapped.system == "operation" else f"s.{column}"


def insert_absent(target: Target, staged: Staged) -> str:
    """INSERT of the rows that are present at the source and not here."""
    columns = ", ".join(target.columns)
    picked = ", ".join(f"s.{column}" for column in target.columns)
    order = ", ".join(f"s.{key}" for key in target.keys)
    return (
        f"insert into {target.table} ({columns}) select {picked} from {staged.source} where s.present = 1 "
        f"and not exists (select 1 from {target.table} as d {_HELD} where {target.same(staged)}) order by {order}"
    )


def change(
    session: Session,
    target: Target,
    staged: Staged,
    sets: Sequence[tuple[str, str]],
    *,
    unless: str = "",
    absent_only: bool = True,
) -> int:
    """Set columns in the rows of all staged keys, or of those that are absent and equal to no spelling that is
    present."""
    return session.direct(change_rows(target, staged, sets, unless, absent_only=absent_only)) if staged.rows else 0


def change_rows(
    target: Target, staged: Staged, sets: Sequence[tuple[str, str]], unless: str, *, absent_only: bool
) -> str:
    """The statement of `change`. The stage stands in subqueries: `unless` names the table's columns without alias."""
    changes = ", ".join(f"{column} = {value}" for column, value in sets)
    condition = f" and not ({unless})" if unless else ""
    return f"update d set {changes} from {target.table} as d where {_staged(target, staged, absent_only)}{condition}"


def delete(session: Session, target: Target, staged: Staged, *, absent_only: bool) -> int:
    """Delete by key. Keys that the destination holds equal are one: none goes of which one spelling is present."""
    return session.direct(delete_rows(target, staged, absent_only=absent_only)) if staged.rows else 0


def delete_rows(target: Target, staged: Staged, *, absent_only: bool) -> str:
    """The statement of `delete`. No `OUTPUT`, and no TRUNCATE: somebody's triggers and references are on the table."""
    return f"delete d from {target.table} as d where {_staged(target, staged, absent_only)}"


def _staged(target: Target, staged: Staged, absent_only: bool) -> str:
    condition = f"exists (select 1 from {staged.source} where {target.matches})"
    if absent_only:
        condition += f" and not exists (select 1 from {staged.source} where {target.matches} and s.present = 1)"
    return condition


def unstage(session: Session, target: Target) -> None:
    session.direct(f"if object_id({text(f'tempdb..{target.stage}')}) is not null truncate table {target.stage}")
