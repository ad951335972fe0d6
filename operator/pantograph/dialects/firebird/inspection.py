"""What is at the other end: the server, its tables, who is in the way. Reads the system tables alone.

The monitoring tables cost tens of milliseconds a look, so nothing that is asked often comes from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import fdb

from pantograph import errors
from pantograph.dialects.base import Numbering, Role, Server, Session, indexed
from pantograph.dialects.firebird import connections, types
from pantograph.dialects.firebird.identifiers import folded
from pantograph.model.tables import Column, Reference, TableShape

OLDEST = 3


def server(session: Session) -> Server:
    """Identity of a database: where it is, and when it was created, which a restored backup was later.

    A restart loses nothing that was committed (writes are forced unless somebody has turned that off), so it is no new
    life; a database that was restored is.
    """
    raw = session.raw.raw
    created = str(raw.creation_date)
    file, *sites = raw.db_info(fdb.isc_info_db_id)
    place = hashlib.sha256("\0".join([str(file), *map(str, sites)]).encode()).hexdigest()[:20]
    return Server(str(raw.version), place, f"created {created}")


def check(session: Session, role: Role) -> None:
    """Raise `Refused`, by name, for what cannot be a source or a destination."""
    raw = session.raw.raw
    version = float(raw.engine_version)
    if version < OLDEST:
        raise errors.Refused(f"Firebird {version} is older than 3.0, the oldest supported one", reason="TooOld")
    if raw.sql_dialect != 3 or raw.database_sql_dialect != 3:
        raise errors.Refused(
            "the database is of SQL dialect 1; only dialect 3 is supported: gfix -sql_dialect 3", reason="WrongDialect"
        )
    if role is not Role.ADMIN and raw.isreadonly():
        raise errors.Refused("the database is read only", reason="ReadOnly")


_COLUMNS = """
select trim(f.rdb$relation_name), trim(f.rdb$field_name), d.rdb$field_type, coalesce(d.rdb$field_sub_type, 0),
       d.rdb$field_length,
       coalesce(d.rdb$field_precision, 0), coalesce(d.rdb$field_scale, 0), coalesce(d.rdb$character_length, 0),
       coalesce(trim(c.rdb$character_set_name), ''), coalesce(trim(l.rdb$collation_name), ''),
       coalesce(f.rdb$null_flag, d.rdb$null_flag, 0),
       case when d.rdb$computed_blr is null then 0 else 1 end,
       case when f.rdb$identity_type is null then 0 else 1 end,
       coalesce(d.rdb$dimensions, 0), f.rdb$field_id
from rdb$relation_fields f
join rdb$fields d on d.rdb$field_name = f.rdb$field_source
left join rdb$character_sets c on c.rdb$character_set_id = d.rdb$character_set_id
  and d.rdb$field_type in (14, 37, 261) and (d.rdb$field_type <> 261 or d.rdb$field_sub_type = 1)
left join rdb$collations l on l.rdb$character_set_id = d.rdb$character_set_id
  and l.rdb$collation_id = coalesce(f.rdb$collation_id, d.rdb$collation_id) and c.rdb$character_set_id is not null
where f.rdb$relation_name in ({names}) order by f.rdb$relation_name, f.rdb$field_position
"""


def shape(session: Session, table: str) -> TableShape | None:
    """A table as it is; None where there is no ordinary one of this name."""
    name = folded(table)
    found = session.row(
        "select rdb$relation_id, rdb$relation_type from rdb$relations "
        "where rdb$relation_name = :name and rdb$view_blr is null and coalesce(rdb$system_flag, 0) = 0",
        name=name,
    )
    if found is None or found[1] not in (0, None):
        return None
    rows = session.rows(_COLUMNS.format(names=":name"), name=name)
    keys = session.rows(
        "select trim(i.rdb$index_name), trim(s.rdb$field_name), coalesce(trim(c.rdb$constraint_type), '') "
        "from rdb$indices i join rdb$index_segments s on s.rdb$index_name = i.rdb$index_name "
        "left join rdb$relation_constraints c on c.rdb$index_name = i.rdb$index_name "
        "where i.rdb$relation_name = :name and i.rdb$unique_flag = 1 and coalesce(i.rdb$index_inactive, 0) = 0 "
        "order by i.rdb$index_name, s.rdb$field_position",
        name=name,
    )
    primary = tuple(folded(column) for _, column, kind in keys if kind == "PRIMARY KEY")
    uniques: dict[str, list[str]] = {}
    for index, column, kind in keys:
        if kind != "PRIMARY KEY":
            uniques.setdefault(index, []).append(folded(column))
    expressions = session.rows(
        "select trim(rdb$index_name) from rdb$indices where rdb$relation_name = :name and rdb$unique_flag = 1 "
        "and rdb$expression_blr is not null",
        name=name,
    )
    triggers = session.rows(
        "select trim(rdb$trigger_name) from rdb$triggers where rdb$relation_name = :name "
        "and coalesce(rdb$system_flag, 0) = 0 order by rdb$trigger_name",
        name=name,
    )
    return TableShape(
        schema="",
        name=table,
        columns=tuple(_column(row) for row in rows),
        key=primary,
        uniques=(*((n, tuple(c)) for n, c in uniques.items()), *((n, ()) for (n,) in expressions)),
        references=_references(session, "r.rdb$relation_name", name),
        referenced_by=_references(session, "p.rdb$relation_name", name),
        identity=str(found[0]),
        triggers=tuple(folded(row[0]) for row in triggers),
    )


def _column(row: Sequence[Any]) -> Column:
    name, code, subtype, length, precision, scale, characters, charset, collation = row[1:10]
    firm, computed, identity, dimensions = row[10:14]
    native = types.from_catalog(code, subtype, length, precision, scale, characters, charset, collation)
    if dimensions:
        native = f"{types.ARRAY}{native}"
    return Column(
        name=folded(name),
        type=types.logical(native),
        native=native,
        nullable=not firm,
        generated=bool(computed),
        identity=bool(identity),
    )


def _references(session: Session, side: str, name: str) -> tuple[Reference, ...]:
    rows = session.rows(
        "select trim(r.rdb$constraint_name), trim(r.rdb$relation_name), trim(s.rdb$field_name), "
        "trim(p.rdb$relation_name), trim(t.rdb$field_name), trim(f.rdb$delete_rule), trim(f.rdb$update_rule) "
        "from rdb$relation_constraints r "
        "join rdb$ref_constraints f on f.rdb$constraint_name = r.rdb$constraint_name "
        "join rdb$relation_constraints p on p.rdb$constraint_name = f.rdb$const_name_uq "
        "join rdb$index_segments s on s.rdb$index_name = r.rdb$index_name "
        "join rdb$index_segments t on t.rdb$index_name = p.rdb$index_name "
        "and t.rdb$field_position = s.rdb$field_position "
        f"where {side} = :name order by r.rdb$constraint_name, s.rdb$field_position",
        name=name,
    )
    grouped: dict[str, list[Any]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    return tuple(
        Reference(
            name=constraint,
            table=("", folded(parts[0][1])),
            columns=tuple(folded(part[2]) for part in parts),
            parent=("", folded(parts[0][3])),
            parent_columns=tuple(folded(part[4]) for part in parts),
            on_delete=parts[0][5].replace("RESTRICT", "NO ACTION"),
            on_update=parts[0][6].replace("RESTRICT", "NO ACTION"),
        )
        for constraint, parts in grouped.items()
    )


def tables(session: Session, prefix: str) -> list[str]:
    """The user's ordinary tables, sorted."""
    rows = session.rows(
        "select trim(rdb$relation_name) from rdb$relations where rdb$view_blr is null "
        "and coalesce(rdb$system_flag, 0) = 0 and coalesce(rdb$relation_type, 0) = 0 "
        "and not rdb$relation_name starting with :prefix",
        prefix=prefix,
    )
    return sorted(folded(row[0]) for row in rows)


_TABLES_AT_ONCE = 500


def fingerprints(session: Session, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Columns, their numbers (one that is dropped and made again has another) and the relation's own."""
    here = {folded(table): (schema, table) for schema, table in tables}
    names, found = list(here), dict[str, list[Any]]()
    for start in range(0, len(names), _TABLES_AT_ONCE):
        part = names[start : start + _TABLES_AT_ONCE]
        params = {f"t{i}": name for i, name in enumerate(part)}
        listed = ", ".join(f":{name}" for name in params)
        for row in session.rows(_COLUMNS.format(names=listed), **params):
            found.setdefault(row[0], []).append(tuple(row))
        for name, number in session.rows(
            f"select trim(rdb$relation_name), rdb$relation_id from rdb$relations where rdb$relation_name in ({listed})",
            **params,
        ):
            if name in found:
                found[name].append(number)
    return {here[name]: hashlib.sha256(repr(rows).encode()).hexdigest()[:20] for name, rows in found.items()}


def estimated_rows(session: Session, table: str) -> int:
    """From the selectivity of the primary key's index, which is that of one row; as fresh as its statistics."""
    row = session.row(
        "select first 1 i.rdb$statistics from rdb$indices i where i.rdb$relation_name = :name "
        "and i.rdb$unique_flag = 1 and i.rdb$statistics > 0 order by i.rdb$statistics",
        name=folded(table),
    )
    return round(1 / row[0]) if row else 0


def indexes(session: Session, table: str) -> list[tuple[str, ...]]:
    """The columns of each active index that is read upwards."""
    found = session.rows(
        "select trim(i.rdb$index_name), s.rdb$field_position, trim(s.rdb$field_name) from rdb$indices i "
        "join rdb$index_segments s on s.rdb$index_name = i.rdb$index_name where i.rdb$relation_name = :name "
        "and coalesce(i.rdb$index_inactive, 0) = 0 and coalesce(i.rdb$index_type, 0) = 0 "
        "order by i.rdb$index_name, s.rdb$field_position",
        name=folded(table),
    )
    return indexed((index, place, folded(column)) for index, place, column in found)


_BEFORE_INSERT = 1
_BEFORE_INSERT_OR = (17, 25, 113)
"""RDB$TRIGGER_TYPE of BEFORE INSERT, and of those that are for updates or deletes besides."""


def numberings(session: Session, table: str, quote: Callable[[str], str]) -> list[Numbering]:
    """Identity columns, and the column that a trigger fills from a sequence before an insert. Raises `Refused`."""
    name = folded(table)
    found = session.rows(
        "select trim(rdb$field_name), trim(rdb$generator_name) from rdb$relation_fields "
        "where rdb$relation_name = :name and rdb$generator_name is not null order by rdb$field_position",
        name=name,
    )
    return [_numbering(session, quote, column, sequence) for column, sequence in found or _by_triggers(session, name)]


def _by_triggers(session: Session, name: str) -> list[tuple[str, str]]:
    """(column, sequence) of triggers that draw from one sequence: for the one column that they name, or the key."""
    kinds = ", ".join(map(str, (_BEFORE_INSERT, *_BEFORE_INSERT_OR)))
    rows = session.rows(
        "select trim(t.rdb$trigger_name), d.rdb$depended_on_type, trim(d.rdb$depended_on_name), "
        "trim(d.rdb$field_name) from rdb$triggers t "
        "join rdb$dependencies d on d.rdb$dependent_name = t.rdb$trigger_name and d.rdb$dependent_type = 2 "
        f"where t.rdb$relation_name = :name and t.rdb$trigger_type in ({kinds}) "
        "and coalesce(t.rdb$trigger_inactive, 0) = 0 order by t.rdb$trigger_sequence, t.rdb$trigger_name",
        name=name,
    )
    keys = session.rows(
        "select trim(s.rdb$field_name) from rdb$relation_constraints c "
        "join rdb$index_segments s on s.rdb$index_name = c.rdb$index_name "
        "where c.rdb$relation_name = :name and c.rdb$constraint_type = 'PRIMARY KEY'",
        name=name,
    )
    numbered = []
    for trigger in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == trigger]
        sequences = {on for _, kind, on, _ in mine if kind == _SEQUENCE}
        columns = {column for _, kind, on, column in mine if kind == _TABLE and on == name and column}
        key = columns & {column for (column,) in keys}
        (chosen,) = columns if len(columns) == 1 else key if len(key) == 1 else ("",)
        if len(sequences) == 1 and chosen:
            numbered.append((chosen, *sequences))
    return numbered


_TABLE, _SEQUENCE = 0, 14
"""RDB$DEPENDED_ON_TYPE."""


def _numbering(session: Session, quote: Callable[[str], str], column: str, sequence: str) -> Numbering:
    (step,) = session.row(
        "select rdb$generator_increment from rdb$generators where rdb$generator_name = :name", name=sequence
    )
    name = folded(sequence)
    try:
        (number,) = session.row(f"select gen_id({quote(name)}, 0) from rdb$database")
    except errors.Refused as error:
        raise errors.Refused(f"permission denied for sequence {name}: {error}", code=error.code) from error
    return Numbering(folded(column), f"sequence {name}", int(number) + int(step or 1), int(step or 1))


def in_the_way(session: Session, table: str, prefix: str) -> str:
    """A transaction that began before the newest trigger of ours on the table.

    Making a trigger waits for nobody here, but a statement that was prepared before goes on without it until its
    transaction ends (seen). So capture is whole only when all of those have ended.
    """
    row = session.row(
        "select max(rdb$record_version) from rdb$triggers where rdb$relation_name = :name "
        "and rdb$trigger_name starting with :prefix",
        name=folded(table),
        prefix=prefix,
    )
    if row is None or row[0] is None:
        return ""
    found, _ = session.raw.info(connections.NEXT, connections.ACTIVE, connections.LIMBO)
    older = sorted(x for x in (*found[connections.ACTIVE], *found[connections.LIMBO]) if x < row[0])
    for number in older:
        who = _transaction(session, number)
        if who:
            return who
    return ""


def _transaction(session: Session, number: int) -> str:
    """Who that is, as far as we may see it; "" for one that cannot write."""
    row = session.row(
        "select t.mon$read_only, a.mon$attachment_id, trim(a.mon$user), "
        "datediff(second from t.mon$timestamp to current_timestamp) from mon$transactions t "
        "join mon$attachments a on a.mon$attachment_id = t.mon$attachment_id where t.mon$transaction_id = :number",
        number=number,
    )
    if row is None:
        return f"transaction {number}, which began before our trigger"
    return "" if row[0] else f"session {row[1]} of {row[2]}, in a transaction for {row[3]} s"
