"""The event table and the triggers of one captured table.

The triggers are written to be cheap and to be harmless: a single INSERT each, guarded by the lease. SQLite runs them
with whatever library the application has, so they use nothing that 3.35 lacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from pantograph.dialects.sqlite.tables import Guard, SQLiteShape
from pantograph.model.changes import Capture
from pantograph.model.tables import TableShape

NOW = "((julianday('now') - 2440587.5) * 86400.0)"
"""Seconds since the epoch. `julianday` because it has milliseconds in every library; `unixepoch` came with 3.38."""

LIVE = "(select until from {lease} where id = 1) > " + NOW

SPARE_COLUMNS = 8
"""Captured columns that an event table has room for from the start. SQLite cannot add a column only if it is missing,
and an unused one costs an event one byte."""

KINDS = ("insert", "update", "rekey", "delete", "evict_insert", "evict_update")


def room(capture: Capture) -> int:
    """How many captured columns the event table has, a multiple of `SPARE_COLUMNS`."""
    return -(-len(capture.columns) // SPARE_COLUMNS) * SPARE_COLUMNS


def event_table(capture: Capture, table: str) -> str:
    """CREATE TABLE IF NOT EXISTS of the event table.

    AUTOINCREMENT is not a nicety: without it, ids start again when the last event is purged, and events get lost. The
    columns have no type, so that they hold what the table holds, and compare byte by byte.
    """
    columns = ", ".join(f"k{i}" for i in range(room(capture)))
    return (
        f"create table if not exists {table} (id integer primary key autoincrement, op text not null, {columns}, "
        "version integer not null, at real not null)"
    )


def first_event(table: str) -> str:
    """The row that says where this event table's life begins: an id that no earlier one of the name has handed out.

    Ids begin at the milliseconds of the epoch. So a position in a table that was dropped and made again is known to be
    of another life (`issued`), instead of pointing at events that it never saw.
    """
    return (
        f"insert into {table} (id, op, version, at) select cast({NOW} * 1000 as integer), '', 0, julianday('now') "
        f"where not exists (select 1 from {table})"
    )


def trigger_names(capture: Capture, quote: Callable[[str], str], prefix: str) -> dict[str, str]:
    """By kind: the triggers' names, quoted."""
    return {kind: quote(f"{prefix}{capture.event_table}_{kind}") for kind in KINDS}


def guards(capture: Capture, shape: TableShape) -> tuple[Guard, ...]:
    """Unique indexes through which REPLACE can throw out a row whose captured columns are not the new row's.

    Where all captured columns are among the index's, and compare byte by byte, the new row has the very same, and its
    own event says enough.
    """
    if isinstance(shape, SQLiteShape):
        found = shape.guards
    else:
        found = tuple(Guard(index, tuple((column, "BINARY") for column in columns)) for index, columns in shape.uniques)
    return tuple(
        guard
        for guard in found
        if not set(capture.columns) <= {column for column, collation in guard.columns if collation == "BINARY"}
    )


def triggers(
    capture: Capture, shape: TableShape, *, quote: Callable[[str], str], prefix: str, events: str, lease: str
) -> Iterator[tuple[str, str]]:
    """The kind and the CREATE TRIGGER statement of every trigger that this table needs."""
    table = quote(shape.name)
    names = trigger_names(capture, quote, prefix)
    live = LIVE.format(lease=lease)
    columns = ", ".join(["op", *(f"k{i}" for i in range(len(capture.columns))), "version", "at"])

    def noted(op: str, row: str) -> str:
        picked = ", ".join(f"{row}.{quote(name)}" for name in capture.columns)
        return f"'{op}', {picked}, {capture.version}, julianday('now')"

    def insert(op: str, row: str) -> str:
        return f"insert into {events} ({columns}) values ({noted(op, row)});"

    of_key = _of(shape, capture.columns, quote)
    changed = " or ".join(f"old.{quote(n)} is not new.{quote(n)} collate binary" for n in capture.columns)
    yield (
        "insert",
        f"create trigger {names['insert']} after insert on {table} when {live} begin {insert('I', 'new')} end",
    )
    yield (
        "update",
        f"create trigger {names['update']} after update on {table} when {live} begin {insert('U', 'new')} end",
    )
    yield (
        "rekey",
        f"create trigger {names['rekey']} after update{of_key} on {table} when ({changed}) and {live} "
        f"begin {insert('D', 'old')} end",
    )
    yield (
        "delete",
        f"create trigger {names['delete']} after delete on {table} when {live} begin {insert('D', 'old')} end",
    )

    evictions = []
    collisions = []
    for guard in guards(capture, shape):
        same = " and ".join(f"o.{quote(c)} = new.{quote(c)} collate {quote(coll)}" for c, coll in guard.columns)
        differs = " or ".join(f"old.{quote(c)} is not new.{quote(c)} collate binary" for c, _ in guard.columns)
        note = f"insert into {events} ({columns}) select {noted('D', 'o')} from {table} as o where {same}"
        evictions.append(f"{note};")
        collisions.append(f"{note} and ({differs});")
    if evictions:
        # REPLACE fires no DELETE trigger for the row it throws out (unless the writer has set recursive_triggers).
        noting = " ".join(evictions)
        yield (
            "evict_insert",
            f"create trigger {names['evict_insert']} before insert on {table} when {live} begin {noting} end",
        )
        unique = {column for guard in guards(capture, shape) for column, _ in guard.columns}
        of = _of(shape, unique, quote)
        moved = " or ".join(f"old.{quote(c)} is not new.{quote(c)} collate binary" for c in sorted(unique))
        yield (
            "evict_update",
            f"create trigger {names['evict_update']} before update{of} on {table} when ({moved}) and {live} "
            f"begin {' '.join(collisions)} end",
        )


def facts(kind: str, capture: Capture, shape: TableShape) -> list[object]:
    """All that decides what a trigger must note; see `marks`."""
    evicted = [guards(capture, shape)] if kind.startswith("evict") else []
    return [kind, shape.name, capture.id, capture.version, capture.columns, *evicted]


def _of(shape: TableShape, columns: Iterable[str], quote: Callable[[str], str]) -> str:
    """` of a, b`, so that an UPDATE of other columns does not pay; "" where SQLite would miss one that counts.

    It goes by the names in SET: a rowid may be set under names that are not its column's (`rowid`, `oid`), and a
    generated column changes without being named.
    """
    unnamed = {column.name for column in shape.columns if column.identity or column.generated}
    return "" if unnamed & set(columns) else f" of {', '.join(quote(column) for column in sorted(columns))}"


def parted(sql: str) -> tuple[str, str]:
    """A CREATE TRIGGER statement up to its name, and what it does."""
    match = re.match(r"^.*?\s(?=(?:before|after)\s)", sql, flags=re.DOTALL)
    return (match[0], sql[match.end() :]) if match else ("", sql)


def body(sql: str) -> str:
    """What a trigger does, without its name and without the differences that SQLite makes when it stores the text."""
    return re.sub(r"\s+", " ", parted(sql)[1]).strip()
