"""Many rows into PostgreSQL, and from one PostgreSQL into another without passing through Python's values."""

from __future__ import annotations

import hashlib
import itertools
import operator
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pantograph import errors
from pantograph.dialects import parameters
from pantograph.dialects.base import Batches, Session, Staged
from pantograph.dialects.postgresql import types
from pantograph.model.changes import Row
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.types import Kind

# Up to here a list of values in the statement is faster than emptying, filling and reading a temporary table (of 8
# columns, 50 rows in 1.5 and 2.5 ms, 100 rows in 4.0 and 2.2 ms).
FEW = 80
SHORT = 4 << 20
"""Characters in such a list, at most: a statement is in memory several times over, a COPY never as a whole."""
MANY = 2000
_MERGES = 150000

# Binary COPY into another type writes garbage without an error, so only these, and only into exactly the same.
_BINARY = {
    "smallint", "integer", "bigint", "boolean", "text", "character varying", "character", "numeric", "real",
    "double precision", "bytea", "date", "time without time zone", "timestamp without time zone",
    "timestamp with time zone", "uuid", "json", "jsonb", "interval",
}  # fmt: skip

_TRUTH = {True: "1", False: "0", None: "\\N"}
_IS_PRESENT = operator.itemgetter(0)

_MARKS = ("\\", "\n", "\r", "\t")
_ESCAPES = str.maketrans(dict(zip(_MARKS, ("\\\\", "\\n", "\\r", "\\t"), strict=True)))

Quote = Callable[[str], str]


class Target:
    """A mirror's destination table and its stage."""

    def __init__(self, mirror: Mirror, quote: Quote) -> None:
        self.mirror, self.quote = mirror, quote
        self.table = ".".join(quote(part) for part in mirror.destination if part)
        self.columns = [quote(column.destination) for column in mirror.columns]
        self.keys = self.columns[: len(mirror.key)]

    @property
    def definition(self) -> str:
        columns = zip(self.columns, self.mirror.columns, strict=True)
        return ", ".join(["present integer", *(f"{name} {column.destination_native}" for name, column in columns)])

    @property
    def stage(self) -> str:
        """Named by what it holds as well, so that a mirror whose columns change in a session gets another one."""
        shape = hashlib.sha256(self.definition.encode()).hexdigest()[:8]
        return f'pg_temp."stage_{self.mirror.id}_{shape}"'


# -- staging ---------------------------------------------------------------------------------------------------------


def stage(session: Session, target: Target, batches: Batches) -> Staged:
    """A handful of rows as literals, more in a temporary table."""
    iterator = iter(batches)
    first: list[Row] = []
    size = 0
    for batch in iterator:
        first.extend(batch)
        size += sum(len(value) for row in batch for value in row if isinstance(value, str | bytes))
        if len(first) > FEW or size > SHORT:
            break
    else:
        present = sum(map(_IS_PRESENT, first))
        return Staged(literal_rows(target, first), len(first), True, present, len(first) - present)
    return stage_table(session, target, itertools.chain([first], iterator))


def stage_table(session: Session, target: Target, batches: Batches) -> Staged:
    """All rows in a temporary table, whose columns have the types of the destination's."""
    prepare_stage(session, target)
    present = 0

    def everything() -> Iterator[Sequence[Row]]:
        nonlocal present
        for batch in batches:
            present += sum(map(_IS_PRESENT, batch))
            yield batch

    rows = copy_in(session, f"copy {target.stage} from stdin", everything(), [_PRESENT, *target.mirror.columns])
    return Staged(f"{target.stage} as s", rows, present=present, absent=rows - present)


def prepare_stage(session: Session, target: Target) -> None:
    """An empty temporary table; it stays for the session's other turns."""
    # Asked each time: the transaction that made it may have been rolled back.
    found = session.row("select to_regclass(:name)", name=target.stage)
    if found[0] is None:
        session.direct(f"create temporary table {target.stage} ({target.definition})")
    else:
        session.direct(f"truncate {target.stage}")


def literal_rows(target: Target, rows: Sequence[Row]) -> str:
    """`(values …) as s (present, …)`; the first row says which types the columns have."""
    names = ", ".join(["present", *target.columns])
    natives = ["integer", *(column.destination_native for column in target.mirror.columns)]
    if not rows:
        empty = ", ".join(f"cast(null as {native})" for native in natives)
        return f"(select {empty} where false) as s ({names})"
    kinds = [_PRESENT, *target.mirror.columns]
    lines = []
    for n, row in enumerate(rows):
        values = [_literal(value, kind) for value, kind in zip(row, kinds, strict=True)]
        if n == 0:
            values = [f"cast({value} as {native})" for value, native in zip(values, natives, strict=True)]
        lines.append(f"({', '.join(values)})")
    return f"(values {', '.join(lines)}) as s ({names})"


def _literal(value: Any, column: Mapped) -> str:
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    text = _plain(value)
    if "\0" in text:
        raise _zero(column)
    return "'" + text.replace("'", "''") + "'"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else str(value)


# -- COPY ------------------------------------------------------------------------------------------------------------


def copy_in(session: Session, sql: str, batches: Batches, columns: Sequence[Mapped]) -> int:
    """COPY … FROM STDIN in text, built column by column; never holds more than one batch as text."""
    return feed(session, sql, _lines(batches, [_renderer(column) for column in columns]))


def feed(session: Session, sql: str, chunks: Iterable[bytes]) -> int:
    """Run a COPY … FROM STDIN; how many rows. What fails in the making of the chunks is raised as it is: psycopg2 makes
    an error of its own of it, and the server one of a cancelled statement."""
    failures: list[BaseException] = []

    def watched() -> Iterator[bytes]:
        try:
            yield from chunks
        except BaseException as error:
            failures.append(error)
            raise

    try:
        with session.using() as cursor:
            cursor.copy_expert(sql, _Feed(watched()), size=1 << 18)
            return int(cursor.rowcount)
    except BaseException:
        if failures:
            raise failures[0] from None
        raise


class _Feed:
    """What psycopg2 reads a COPY from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._left = next(self._chunks, b"")
        found, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        return found


def _lines(batches: Batches, renderers: Sequence[Callable[[Sequence[Any]], Iterable[str]]]) -> Iterator[bytes]:
    for batch in batches:
        # In pieces, so that the memory for slicing stays small.
        for start in range(0, len(batch), 2000):
            rows = batch[start : start + 2000]
            texts = [render(values) for render, values in zip(renderers, zip(*rows, strict=True), strict=True)]
            yield ("\n".join(map("\t".join, zip(*texts, strict=True))) + "\n").encode("utf-8", "surrogatepass")


def _renderer(column: Mapped) -> Callable[[Sequence[Any]], Iterable[str]]:
    match column.source_type.kind:
        case Kind.BOOLEAN:
            # A number that is neither stays one, for the server to refuse.
            return lambda values: [_TRUTH.get(value) or str(value) for value in values]
        case Kind.BYTES:
            return lambda values: ["\\N" if value is None else "\\\\x" + value.hex() for value in values]
        case Kind.TEXT | Kind.JSON | Kind.OTHER | Kind.INTERVAL:
            return lambda values: _escaped(["" if value is None else str(value) for value in values], values, column)
    return lambda values: ["\\N" if value is None else str(value) for value in values]


def _escaped(texts: Sequence[str], values: Sequence[Any], column: Mapped) -> Sequence[str]:
    together = "".join(texts)
    if "\0" in together:
        raise _zero(column)
    marked = any(mark in together for mark in _MARKS)
    del together  # it may be large
    if marked:
        texts = [text.translate(_ESCAPES) for text in texts]
    if None in values:
        return ["\\N" if value is None else text for text, value in zip(texts, values, strict=True)]
    return texts


def _zero(column: Mapped) -> errors.Rejected:
    return errors.Rejected("a text holds a zero character, which PostgreSQL cannot store", kind="type").at(
        column.destination
    )


_PRESENT = Mapped("present", "", types.logical("integer"), "integer", types.logical("integer"), "integer")


def insert(session: Session, target: Target, batches: Batches) -> int:
    """Present rows straight into the table."""
    present = ([row[1:] for row in batch if row[0]] for batch in batches)
    names = ", ".join(target.columns)
    return copy_in(session, f"copy {target.table} ({names}) from stdin", present, target.mirror.columns)


# -- from one PostgreSQL to another ----------------------------------------------------------------------------------


def pipe(
    session: Session, sql: str, params: Mapping[str, Any], writer: Session, target: Target, *, direct: bool
) -> Staged | None:
    """COPY … TO STDOUT into COPY … FROM STDIN through a pipe, in binary where every column is of the same type."""
    columns = target.mirror.columns
    if any(column.source_type.kind is not column.destination_type.kind for column in columns):
        return None  # what is written for a boolean is not what an integer is read from
    with session.using() as cursor:
        selected = cursor.mogrify(_pyformat(sql), dict(params)).decode()
    same = all(map(_same, columns))
    if direct:
        selected = f"select {', '.join(f'c{i}' for i in range(len(columns)))} from ({selected}) q"
        into = f"{target.table} ({', '.join(target.columns)})"
        same = same and _still_so(writer, target)
    else:
        prepare_stage(writer, target)
        into = target.stage
    form = " (format binary)" if same else ""
    rows = _flow(session, f"copy ({selected}) to stdout{form}", writer, f"copy {into} from stdin{form}")
    return Staged(f"{target.stage} as s", rows)


def _still_so(writer: Session, target: Target) -> bool:
    """Are the table's columns of the types that the plan saw? The lock, which COPY takes as well, keeps them so."""
    writer.direct(f"lock table {target.table} in row exclusive mode")
    found = writer.rows(
        "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a "
        "where a.attrelid = cast(:name as regclass) and a.attnum > 0 and not a.attisdropped",
        name=target.table,
    )
    there = dict(found)
    return all(there.get(column.destination) == column.destination_native for column in target.mirror.columns)


def _flow(session: Session, out: str, writer: Session, into: str) -> int:
    """Let a COPY here run into a COPY there; how many rows."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def source() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=1 << 18) as file, session.using() as cursor:
                cursor.copy_expert(out, file)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=source, name="pantograph-pipe", daemon=True)
    thread.start()
    try:
        with os.fdopen(reading, "rb", buffering=1 << 18) as file, writer.using() as cursor:
            cursor.copy_expert(into, file, size=1 << 18)
            rows = int(cursor.rowcount)
    finally:
        # The reading end is closed by now, so a source that still sends gets an error and ends.
        thread.join()
        if failures and not isinstance(failures[0], BrokenPipeError):
            # A stream of text that broke off looks complete to the destination: what came must not be used.
            raise failures[0]
    if failures:
        raise failures[0]
    return rows


def _same(column: Mapped) -> bool:
    return column.source_native == column.destination_native and types.base_name(column.source_native) in _BINARY


def _pyformat(sql: str) -> str:
    return parameters.bound("pyformat", sql)[0]


# -- applying --------------------------------------------------------------------------------------------------------


def upsert(session: Session, target: Target, staged: Staged) -> int:
    """INSERT … ON CONFLICT, in the order of the key; rows that are equal already are left alone."""
    if not staged.rows:
        return 0
    mirror, names = target.mirror, ", ".join(target.columns)
    keys = ", ".join(target.keys)
    # Staged keys are distinct where they come from. A destination that takes different texts for the same key would
    # see one twice in a statement, which it refuses; all come from one snapshot, so any of them is right.
    folding = any(column.destination_type.folding for column in mirror.key)
    written = list(zip(target.columns, mirror.columns, strict=True))
    written = written if folding else written[len(target.keys) :]
    compared = [(name, column) for name, column in written if not column.system]
    if compared:
        sets = ", ".join(f"{name} = {_updated(f'excluded.{name}', column)}" for name, column in written)
        old = ", ".join(_comparable(f"d.{name}", column) for name, column in compared)
        new = ", ".join(_comparable(f"excluded.{name}", column) for name, column in compared)
        action = f"do update set {sets} where ({old}) is distinct from ({new})"
    else:
        action = "do nothing"
    if staged.rows >= MANY and not folding and session.raw.server_version >= _MERGES:
        return session.direct(_merge(target, staged, written))
    present = f"select {names} from {staged.source} where present = 1"
    if folding:
        # The stage compares by the database's collation; from the table's own columns the rows take theirs.
        collated = f"select {names} from {target.table} where false union all {present}"
        present = f"select distinct on ({keys}) {names} from ({collated}) u"
    return session.direct(
        f"insert into {target.table} as d ({names}) overriding system value {present} order by {keys} "
        f"on conflict ({keys}) {action}"
    )


def _merge(target: Target, staged: Staged, written: Sequence[tuple[str, Mapped]]) -> str:
    """MERGE, which joins once where ON CONFLICT looks each key up and locks its row: a quarter less time for many.

    It does not see a key that another session inserts at the same moment, which then is a unique conflict and is tried
    again; nobody else writes these keys while we hold the checkpoint.
    """
    names = ", ".join(target.columns)
    matched = " and ".join(f"d.{key} = s.{key}" for key in target.keys)
    update = ""
    compared = [(name, column) for name, column in written if not column.system]
    if compared:
        old = ", ".join(_comparable(f"d.{name}", column) for name, column in compared)
        new = ", ".join(_comparable(f"s.{name}", column) for name, column in compared)
        sets = ", ".join(f"{name} = {_updated(f's.{name}', column)}" for name, column in written)
        update = f"when matched and s.present = 1 and ({old}) is distinct from ({new}) then update set {sets} "
    values = ", ".join(f"s.{name}" for name in target.columns)
    return (
        f"merge into {target.table} as d using {staged.source} on {matched} {update}"
        f"when not matched and s.present = 1 then insert ({names}) overriding system value values ({values})"
    )


def _updated(expression: str, column: Mapped) -> str:
    return "'update'" if column.system == "operation" else expression


def _comparable(expression: str, column: Mapped) -> str:
    """What shows every difference: `is distinct from` does not exist for json, and does not see case in citext."""
    kind, native = column.destination_type.kind, column.destination_native
    if kind is Kind.OTHER or (kind is Kind.JSON and native != "jsonb"):
        return f"cast({expression} as text)"
    if column.destination_type.folding:
        return f'cast({expression} as text) collate "C"'
    return expression


def delete(session: Session, target: Target, staged: Staged, *, absent_only: bool) -> int:
    """Delete by staged keys."""
    if not staged.rows:
        return 0
    joined = " and ".join(f"d.{key} = s.{key}" for key in target.keys)
    conditions = [joined]
    if absent_only:
        conditions.append("s.present = 0")
        if any(column.destination_type.folding for column in target.mirror.key):
            same = " and ".join(f"d.{key} = p.{key}" for key in target.keys)
            conditions.append(f"not exists (select from {_again(staged)} where p.present = 1 and {same})")
    return session.direct(f"delete from {target.table} as d using {staged.source} where {' and '.join(conditions)}")


def update(session: Session, target: Target, staged: Staged) -> int:
    """Change the rows that are there and differ."""
    compared = [column for column in target.mirror.data if not column.system]
    if not staged.rows or not compared:
        return 0
    named = [(target.quote(column.destination), column) for column in target.mirror.data]
    old = ", ".join(_comparable(f"d.{name}", column) for name, column in named if not column.system)
    new = ", ".join(_comparable(f"s.{name}", column) for name, column in named if not column.system)
    sets = ", ".join(f"{name} = {_updated(f's.{name}', column)}" for name, column in named)
    joined = " and ".join(f"d.{key} = s.{key}" for key in target.keys)
    return session.direct(
        f"update {target.table} as d set {sets} from {staged.source} "
        f"where {joined} and s.present = 1 and ({old}) is distinct from ({new})"
    )


def change_absent(
    session: Session, target: Target, staged: Staged, sets: Sequence[tuple[str, str]], unless: str
) -> int:
    """Change rows whose staged key is absent."""
    if not staged.rows:
        return 0
    joined = " and ".join(f"d.{key} = s.{key}" for key in target.keys)
    changes = ", ".join(f"{name} = {value}" for name, value in sets)
    # The names in `unless` are the table's own: the stage is only asked in a subquery.
    same = f"exists (select from {staged.source} where {joined} and s.present = 0)"
    others = f"exists (select from {_again(staged)} where {joined.replace(' s.', ' p.')} and p.present = 1)"
    folding = any(column.destination_type.folding for column in target.mirror.key)
    return session.direct(
        f"update {target.table} as d set {changes} where {same} and not ({unless})"
        + (f" and not {others}" if folding else "")
    )


def _again(staged: Staged) -> str:
    """The stage under another alias."""
    head, _, names = staged.source.rpartition(" as s")
    return f"{head} as p{names}"
