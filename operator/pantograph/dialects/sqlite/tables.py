"""What a table is: read from SQLite's catalog, and from the statement that made the table where the catalog is silent.

The catalog does not tell a column's collation, nor who made a table; the statement does, for SQLite keeps its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pantograph.dialects.base import Numbering, Session
from pantograph.dialects.sqlite import values
from pantograph.model.tables import Column, Reference, TableShape

MARK = "made by pantograph"


@dataclass(frozen=True, slots=True)
class Guard:
    """Columns, each with its collation, of which a REPLACE may throw out the row that has them already."""

    index: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SQLiteShape(TableShape):
    """A table with what only capture in SQLite asks for.

    guards: unique indexes of columns, the primary key among them. unguarded: names of unique indexes on expressions.
    nullable_key: SQLite lets the primary key be NULL here. rowid_alias: the column that is the rowid by another name.
    """

    guards: tuple[Guard, ...] = ()
    unguarded: tuple[str, ...] = ()
    nullable_key: bool = False
    rowid_alias: str = ""


def shape(session: Session, table: str) -> SQLiteShape | None:
    """The table of that name, or None. Views and virtual tables are none."""
    found = session.row(
        "select name, sql from sqlite_master where type = 'table' and rootpage > 0 and lower(name) = lower(:table)",
        table=table,
    )
    if found is None:
        return None
    name, sql = found
    collations = declared_collations(sql or "")
    info = session.rows(
        'select name, type, "notnull", pk, hidden, dflt_value from pragma_table_xinfo(:name) order by cid', name=name
    )
    key = tuple(column for column, *_ in sorted((row for row in info if row[3]), key=lambda row: row[3]))
    guards, partial, unguarded = _unique_indexes(session, name)
    key_index = next((guard for guard in guards if _is(guard, key)), None)
    alias = ""
    if len(key) == 1 and key_index is None:
        # No index stands behind an INTEGER PRIMARY KEY: the table itself is it.
        alias = key[0]
        guards = (Guard("", ((alias, "BINARY"),)), *guards)
    without_rowid = bool(re.search(r"\bwithout\s+rowid\b[^)]*$", _bare(sql or ""), re.IGNORECASE))
    columns = []
    for column, type_, not_null, position, hidden, default in info:
        collation = collations.get(column.lower(), "")
        columns.append(
            Column(
                name=column,
                type=values.logical(type_, collation),
                native=type_,
                # A primary key is taken for not null, which SQLite does not see to: `blind_spots` says so.
                nullable=not not_null and not position,
                generated=hidden in (2, 3),
                identity=column == alias,
                collation=collation,
                required=bool(not_null) and default is None and not hidden and column != alias,
            )
        )
    not_null = {row[0] for row in info if row[2]}
    uniques = tuple(
        (guard.index, tuple(column for column, _ in guard.columns))
        for guard in guards
        if guard.index and guard.index not in partial and not _is(guard, key)
    )
    return SQLiteShape(
        schema="",
        name=name,
        columns=tuple(columns),
        key=key,
        uniques=uniques,
        references=references(session, name),
        referenced_by=_referenced_by(session, name),
        identity=made(sql or ""),
        triggers=tuple(
            row[0]
            for row in session.rows(
                "select name from sqlite_master where type = 'trigger' and tbl_name = :name order by name", name=name
            )
        ),
        guards=guards,
        unguarded=unguarded,
        nullable_key=bool(key) and not alias and not without_rowid and not set(key) <= not_null,
        rowid_alias=alias,
    )


def _is(guard: Guard, key: Sequence[str]) -> bool:
    """Is this the index of the primary key?"""
    return guard.index.startswith("sqlite_autoindex_") and tuple(column for column, _ in guard.columns) == tuple(key)


def _unique_indexes(session: Session, table: str) -> tuple[tuple[Guard, ...], set[str], tuple[str, ...]]:
    guards, partial, unguarded = [], set(), []
    for index, is_partial in session.rows(
        'select name, partial from pragma_index_list(:table) where "unique" = 1 order by seq desc', table=table
    ):
        parts = session.rows(
            "select name, coll from pragma_index_xinfo(:index) where key = 1 order by seqno", index=index
        )
        if any(name is None for name, _ in parts):
            unguarded.append(index)
            continue
        if is_partial:
            partial.add(index)
        guards.append(Guard(index, tuple((name, collation.upper()) for name, collation in parts)))
    return tuple(guards), partial, tuple(unguarded)


def references(session: Session, table: str) -> tuple[Reference, ...]:
    """The foreign keys that leave a table. SQLite keeps no names for them; the number in the catalog stands in."""
    parts: dict[int, list[tuple[str, str, str | None, str, str]]] = {}
    for number, parent, mine, theirs, on_update, on_delete in session.rows(
        'select id, "table", "from", "to", on_update, on_delete from pragma_foreign_key_list(:table) order by id, seq',
        table=table,
    ):
        parts.setdefault(number, []).append((parent, mine, theirs, on_update, on_delete))
    result = []
    for number, rows in parts.items():
        parent, _, _, on_update, on_delete = rows[0]
        theirs = tuple(row[2] for row in rows if row[2] is not None)
        if len(theirs) != len(rows):
            theirs = _primary_key(session, parent)
        result.append(
            Reference(
                name=f"{table}_fk{number}",
                table=("", table),
                columns=tuple(row[1] for row in rows),
                parent=("", parent),
                parent_columns=theirs,
                on_delete=on_delete.upper(),
                on_update=on_update.upper(),
            )
        )
    return tuple(result)


def _primary_key(session: Session, table: str) -> tuple[str, ...]:
    rows = session.rows("select name from pragma_table_xinfo(:table) where pk > 0 order by pk", table=table)
    return tuple(row[0] for row in rows)


def _referenced_by(session: Session, table: str) -> tuple[Reference, ...]:
    children = session.rows(
        "select distinct m.name from sqlite_master m, pragma_foreign_key_list(m.name) f "
        "where m.type = 'table' and m.rootpage > 0 and lower(f.\"table\") = lower(:table) order by 1",
        table=table,
    )
    return tuple(
        # As the parent is called in the catalog: a REFERENCES may spell it in another case.
        replace(reference, parent=("", table))
        for (child,) in children
        for reference in references(session, child)
        if reference.parent[1].lower() == table.lower()
    )


def numberings(session: Session, table: str, quote: Callable[[str], str]) -> list[Numbering]:
    """The column that is the rowid: numbered by the highest there is, or by AUTOINCREMENT."""
    found = shape(session, table)
    if found is None or not found.rowid_alias:
        return []
    (sql,) = session.row("select sql from sqlite_master where type = 'table' and name = :name", name=found.name)
    (top,) = session.row(f"select coalesce(max({quote(found.rowid_alias)}), 0) from {quote(found.name)}")
    if not re.search(r"\bautoincrement\b", _bare(sql or ""), re.IGNORECASE):
        return [Numbering(found.rowid_alias, "the highest rowid", int(top) + 1, settable=False)]
    row = session.row("select seq from sqlite_sequence where name = :name", name=found.name)
    return [Numbering(found.rowid_alias, "AUTOINCREMENT", max(int(row[0] if row else 0), int(top)) + 1)]


def names(session: Session, prefix: str) -> list[str]:
    """The user's ordinary tables, without ours and without those behind a virtual table."""
    virtual = [row[0] for row in session.rows("select name from sqlite_master where type = 'table' and rootpage = 0")]
    found = session.rows("select name from sqlite_master where type = 'table' and rootpage > 0 order by name")
    return [
        name
        for (name,) in found
        if not name.startswith((prefix, "sqlite_")) and not any(name.startswith(f"{table}_") for table in virtual)
    ]


def made(sql: str) -> str:
    """The number that `create_table` has put into the text of a table; "" for a table that a person made.

    SQLite has no identity of a table that survives VACUUM and dies with DROP TABLE; a comment in its statement does.
    """
    match = re.search(rf"/\* {MARK}, ([0-9a-f]+) \*/", sql)
    return match[1] if match else ""


# -- the statement that made a table -----------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|$)|\s+|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\W]+|.""", re.DOTALL
)


def _tokens(sql: str) -> Iterator[str]:
    for match in _TOKEN.finditer(sql):
        token = match[0]
        if not token.isspace() and not token.startswith(("--", "/*")):
            yield token


def _bare(sql: str) -> str:
    """The text without comments and strings."""
    return " ".join("''" if token.startswith("'") else token for token in _tokens(sql))


def _unquoted(token: str) -> str:
    closing = {'"': '"', "`": "`", "'": "'", "[": "]"}.get(token[:1])
    if closing is None:
        return token
    return token[1:-1] if closing == "]" else token[1:-1].replace(closing * 2, closing)


def declared_collations(sql: str) -> dict[str, str]:
    """By column name in lower case: the collation that a CREATE TABLE statement gives it, in upper case."""
    result: dict[str, str] = {}
    depth = 0
    column = ""
    collating = False
    for token in _tokens(sql):
        if token == "(":
            depth += 1
            if depth == 1:
                column = ""
            continue
        if token == ")":
            depth -= 1
        elif token == "," and depth == 1:
            column, collating = "", False
        elif depth == 1 and not column:
            column = _unquoted(token)
        elif depth == 1 and collating:
            result.setdefault(column.lower(), _unquoted(token).upper())
            collating = False
        elif depth == 1 and token.lower() == "collate":
            collating = True
    return {name: collation for name, collation in result.items() if collation != "BINARY"}
