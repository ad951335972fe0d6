"""Writing into a table by the bulk: the stage, and the statements that apply it.

A stage is a global temporary table, whose rows are the transaction's own. Its definition is not temporary here: it is
made once, in a transaction of its own, and goes when Pantograph leaves the database. Rows get there by EXECUTE BLOCK:
many as one parameter (see `packing`), or, where a value does not allow that, many a message with a parameter each.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import fdb

from pantograph import errors
from pantograph.dialects.base import Batches, Counted, Session, Staged
from pantograph.dialects.firebird import connections, types
from pantograph.dialects.firebird.capture import STAGE, relation_exists, unless
from pantograph.dialects.firebird.identifiers import folded
from pantograph.dialects.firebird.packing import ROWS as PACKED
from pantograph.dialects.firebird.packing import Packing
from pantograph.model.converters import Columnwise, Converter, converted, passing
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.types import Kind

if TYPE_CHECKING:
    from pantograph.dialects.firebird.dialect import Firebird

ROWS = 25
"""Rows a block whose values are parameters: it takes 255 contexts, and with more there is nothing left to win."""
_MESSAGE = 60_000
"""Bytes of parameters a block, below the 64 KiB that a message may have."""
_WIDTHS = (16, 64, 256, 1024, 4096, 8191)
"""Characters that a text parameter is declared with, so that few statements serve most rows; beyond, a BLOB."""
_PREPARED = 8


class Target:
    """A mirror's destination and its stage, rendered."""

    def __init__(self, mirror: Mirror, dialect: Firebird) -> None:
        self.mirror, self.dialect, self.quote = mirror, dialect, dialect.quote
        self.table = dialect.table(*mirror.destination)
        self.columns = [self.quote(column.destination) for column in mirror.columns]
        self.keys = self.columns[: len(mirror.key)]
        listed = [
            f"{name} {types.plain(column.destination_native)}{types.collation(column.destination_native)}"
            for name, column in zip(self.columns, mirror.columns, strict=True)
        ]
        self.definition = f"(present smallint not null, {', '.join(listed)}) on commit delete rows"
        # Another definition is another table: nobody may be using the old one when it changes.
        digest = hashlib.sha256(f"{mirror.id}{self.definition}".encode()).hexdigest()[:10]
        self.bare = f"{dialect.prefix}_{STAGE}_{digest}"
        self.stage = self.quote(self.bare)

    @property
    def matches(self) -> str:
        """The join of the stage `s` with the destination `d`, in the destination's own idea of equal."""
        return " and ".join(f"d.{key} = s.{key}" for key in self.keys)

    def same(self, staged: Staged) -> str:
        """The join for an upsert. Where the source tells keys apart that are equal here (by blanks or zeros at the
        end), only the very key is the row, or one that is staged as absent: anything else would overwrite another
        row."""
        told_apart = [
            (key, column.destination_native)
            for key, column in zip(self.keys, self.mirror.key, strict=True)
            if types.compares_short(column.destination_native) and not column.source_type.folding
        ]
        if not told_apart:
            return self.matches

        def exactly(alias: str) -> str:
            return " and ".join(types.exactly(f"d.{key}", f"{alias}.{key}", native) for key, native in told_apart)

        gone = f"select 1 from {staged.source.removesuffix(' as s')} as a where a.present = 0"
        gone += "".join(f" and a.{key} = d.{key}" for key in self.keys)
        return f"{self.matches} and ({exactly('s')} or exists ({gone} and {exactly('a')}))"


# -- the stage ---------------------------------------------------------------------------------------------------------


def stage(session: Session, target: Target, batches: Batches) -> Staged:
    """Rows where `upsert` and `delete` find them."""
    _define(session, target)
    session.direct(f"delete from {target.stage}")
    counted = Counted(batches)
    _fill(session, target.stage, ["present", *target.columns], [None, *target.mirror.columns], counted)
    return counted.staged(f"{target.stage} as s")


def stage_strictly(session: Session, target: Target, batches: Batches) -> Staged:
    """`stage`; of a single row that is refused, the server does not say for which column: it is asked for each."""
    try:
        return stage(session, target, batches)
    except errors.Rejected as error:
        refused = [row for batch in batches for row in batch]
        if len(refused) == 1 and ": column " not in str(error):
            values = zip(target.mirror.columns, refused[0][1:], strict=True)
            named = (column for column, value in values if _refuses(session, column, value))
            if (column := next(named, None)) is not None:
                error.at(column.destination)
        raise


def _refuses(session: Session, column: Mapped, value: Any) -> bool:
    if value is None or types.is_blob(column.destination_native):
        return False
    try:
        with session.using() as cursor:
            cursor.execute(
                f"select cast(? as {types.plain(column.destination_native)}) from rdb$database",
                (_encoder(column)(value),),
            )
            cursor.fetchall()
    except errors.Rejected:
        return True
    return False


def unstage(session: Session, target: Target) -> None:
    session.direct(f"delete from {target.stage}")


def insert(session: Session, target: Target, batches: Batches) -> int:
    """The rows that are present, straight into the destination."""
    rows = (row[1:] for batch in batches for row in batch if row[0])
    return _fill(session, target.table, target.columns, list(target.mirror.columns), rows)


_TRIES = 5
"""Of a definition that another session makes at the same time, until it has made it or given up."""


def _define(session: Session, target: Target) -> None:
    """The stage's definition, made beside the open transaction, which sees it at once."""
    known: set[str] = session.raw.known
    if target.bare in known:
        return
    statement = unless(
        relation_exists(folded(target.bare)), f"create global temporary table {target.stage} {target.definition}"
    )
    for tried in range(1, _TRIES + 1):
        try:
            _run_beside(session, statement)
            break
        except errors.DatabaseError as error:
            # Of two that make one table the later one is told that the catalog has its keys, and nothing of locks.
            if error.code != connections.NO_METADATA_UPDATE and not isinstance(error, errors.Contended):
                raise
            if tried == _TRIES:
                raise errors.Contended(
                    f"another session makes the stage {target.bare} (error {error.code})", code=error.code
                ) from error
            time.sleep(0.05 * tried)
    known.add(target.bare)


def _run_beside(session: Session, statement: str) -> None:
    """A statement in a transaction of its own."""
    with session.using():
        beside = session.raw.raw.trans()
        try:
            beside.begin()
            beside.execute_immediate(statement)
            beside.commit()
        finally:
            with contextlib.suppress(fdb.Error):
                beside.close()


# -- rows in blocks ----------------------------------------------------------------------------------------------------

Rendered = tuple[Any, ...]


def _fill(
    session: Session, table: str, names: Sequence[str], columns: Sequence[Mapped | None], rows: Iterable[Sequence[Any]]
) -> int:
    encoders = [(place, _encoder(column)) for place, column in enumerate(columns)]
    told = [column.destination if column else "" for column in columns]
    packing = Packing(table, names, columns)
    done = 0
    flow = iter(rows)
    with session.using() as cursor, contextlib.ExitStack() as stack:
        prepared: dict[str, Callable[[Sequence[Any]], int]] = {}

        def run(sql: str, parameters: Sequence[Any]) -> None:
            if sql not in prepared:
                if len(prepared) >= _PREPARED:
                    stack.close()
                    prepared.clear()
                prepared[sql] = stack.enter_context(cursor.prepared(sql))
            prepared[sql](parameters)

        while taken := list(itertools.islice(flow, PACKED)):
            group = converted(taken, encoders, told)
            blocks = packing.blocks(group) if packing.statement else None
            if blocks is None:
                for start in range(0, len(group), ROWS):
                    _one_by_one(run, table, names, columns, group[start : start + ROWS])
            else:
                for block in blocks:
                    run(packing.statement, block)
            done += len(group)
    return done


def _one_by_one(
    run: Callable[[str, Sequence[Any]], None],
    table: str,
    names: Sequence[str],
    columns: Sequence[Mapped | None],
    group: Sequence[Sequence[Any]],
) -> None:
    """Rows whose values are parameters of their own, `ROWS` of them at most."""
    kinds, width = _parameters(columns, group)
    many = max(1, min(ROWS, _MESSAGE // width))
    for start in range(0, len(group), many):
        part = group[start : start + many]
        run(_block(table, names, kinds, len(part)), tuple(itertools.chain.from_iterable(part)))


def _block(table: str, names: Sequence[str], kinds: Sequence[str], rows: int) -> str:
    parameters = ", ".join(f"p{r}_{c} {kind} = ?" for r in range(rows) for c, kind in enumerate(kinds))
    listed = ", ".join(names)
    inserts = " ".join(
        f"insert into {table} ({listed}) values ({', '.join(f':p{r}_{c}' for c in range(len(kinds)))});"
        for r in range(rows)
    )
    return f"execute block ({parameters}) as begin {inserts} end"


def _parameters(columns: Sequence[Mapped | None], group: Sequence[Sequence[Any]]) -> tuple[list[str], int]:
    """The type of each column's parameter, as wide as these rows need, and how many bytes a row takes."""
    kinds, widths = [], []
    for i, column in enumerate(columns):
        native = "smallint" if column is None else column.destination_native
        kind, width = types.plain(native), 16
        if column is not None and types.is_spelled(native):
            kind, width = _wide(_SPELLED, binary=False)
        elif column is not None and (types.compares_short(native) or types.is_blob(native)):
            longest = max((len(row[i]) for row in group if row[i] is not None), default=0)
            kind, width = _wide(longest, binary=column.destination_type.kind is Kind.BYTES)
        kinds.append(kind)
        widths.append(width + 4)
    # What does not fit goes as a BLOB, the widest first.
    for i in sorted(range(len(kinds)), key=lambda i: -widths[i]):
        if sum(widths) <= _MESSAGE:
            break
        kinds[i], widths[i] = _blob(binary="OCTETS" in kinds[i]), 12
    return kinds, sum(widths)


_SPELLED = 64
"""Characters of a value that travels as text: 47 of a number, 43 of a time and the name of its zone."""


def _wide(longest: int, *, binary: bool) -> tuple[str, int]:
    size = next((width for width in _WIDTHS if width >= longest), 0)
    if not size:
        return _blob(binary=binary), 8
    if binary:
        return f"varchar({size}) character set OCTETS", size
    return f"varchar({size}) character set UTF8", size * 4


def _blob(*, binary: bool) -> str:
    return "blob sub_type binary" if binary else "blob sub_type text character set UTF8"


def _encoder(column: Mapped | None) -> Converter:
    if column is None:
        return Columnwise(int, passing(int))
    kind = column.destination_type.kind
    if kind in (Kind.TEXT, Kind.JSON, Kind.UUID):
        return Columnwise(str, passing(str))
    if kind is Kind.BYTES:
        return Columnwise(bytes, passing(bytes))
    if kind is Kind.BOOLEAN:
        return Columnwise(_truth, passing(bool))
    return types.encode(column.destination_type) or Columnwise(_same, lambda values: values)


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise errors.Rejected("a number beside 0 and 1 is no boolean", kind="type")
    return bool(value)


def _same(value: Any) -> Any:
    return value


# -- applying ----------------------------------------------------------------------------------------------------------


def upsert(session: Session, target: Target, staged: Staged) -> int:
    """Change the rows that differ and insert those that are absent, in the order of the key; how many."""
    names = ", ".join(target.columns)
    values = ", ".join(f"s.{name}" for name in target.columns)
    return _merge(session, target, staged, f" when not matched then insert ({names}) values ({values})")


def update(session: Session, target: Target, staged: Staged) -> int:
    """Change the rows that are there and differ."""
    return _merge(session, target, staged, "") if _differing(target) else 0


def _merge(session: Session, target: Target, staged: Staged, absent: str) -> int:
    if not staged.rows:
        return 0
    differing = _differing(target)
    present = f"(select s.* from {staged.source} where s.present = 1 order by {_order(target)}) as s"
    change = f" when matched and ({' or '.join(differing)}) then update set {_sets(target)}" if differing else ""
    return session.direct(f"merge into {target.table} as d using {present} on {target.same(staged)}{change}{absent}")


def _data(target: Target) -> list[tuple[str, Mapped]]:
    """What an update sets: the columns beside the key, and keys that may be written differently now."""
    mapped = list(zip(target.columns, target.mirror.columns, strict=True))
    count = len(target.keys)
    return mapped[count:] + [(n, c) for n, c in mapped[:count] if types.compares_short(c.destination_native)]


def _differing(target: Target) -> list[str]:
    return [
        types.differs(f"d.{name}", f"s.{name}", column.destination_native)
        for name, column in _data(target)
        if not column.system
    ]


def _sets(target: Target) -> str:
    return ", ".join(
        f"{name} = {f's.{name}' if column.system != 'operation' else _UPDATE}" for name, column in _data(target)
    )


_UPDATE = "'update'"


def _order(target: Target) -> str:
    return ", ".join(f"s.{key}" for key in target.keys)


def change_absent(
    session: Session, target: Target, staged: Staged, sets: Sequence[tuple[str, str]], unless_: str
) -> int:
    """Change rows whose staged key is absent, and equal to no spelling that is present."""
    if not staged.rows:
        return 0
    changes = ", ".join(f"{name} = {value}" for name, value in sets)
    return session.direct(
        f"merge into {target.table} as d using {_grouped(target, staged)} on {target.matches} "
        f"when matched and s.present = 0 and not ({unless_}) then update set {changes}",
    )


def change(
    session: Session, target: Target, staged: Staged, sets: Sequence[tuple[str, str]], *, absent_only: bool
) -> None:
    """Set columns in the rows of all staged keys, or of the absent ones."""
    only = " and s.present = 0" if absent_only else ""
    changes = ", ".join(f"{name} = {value}" for name, value in sets)
    session.direct(
        f"merge into {target.table} as d using {_grouped(target, staged)} on {target.matches} "
        f"when matched{only} then update set {changes}",
    )


def delete(session: Session, target: Target, staged: Staged, *, absent_only: bool) -> int:
    """Delete by key. Keys that the destination holds equal are one: none goes of which one spelling is present."""
    if not staged.rows:
        return 0
    only = " and s.present = 0" if absent_only else ""
    return session.direct(
        f"merge into {target.table} as d using {_grouped(target, staged)} on {target.matches} "
        f"when matched{only} then delete",
    )


def _grouped(target: Target, staged: Staged) -> str:
    keys = _order(target)
    return f"(select {keys}, max(s.present) as present from {staged.source} group by {keys}) as s"
