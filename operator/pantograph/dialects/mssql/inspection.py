"""What is at the other end: the server, its tables, who is in the way. Reads the catalog's views alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from pantograph import errors
from pantograph.dialects.base import Numbering, Server, Session, indexed
from pantograph.dialects.mssql import types
from pantograph.model.tables import Column, Reference, TableShape

OLDEST = 13
"""SQL Server 2016."""

# SERVERPROPERTY yields a sql_variant, which drivers cannot read.
SERVER = """
select convert(nvarchar(128), serverproperty('ProductVersion')), convert(nvarchar(128), @@servername),
  convert(nvarchar(36), d.service_broker_guid), convert(nvarchar(40), d.create_date, 121), d.database_id,
  (select convert(nvarchar(40), t.create_date, 121) from sys.databases t where t.name = 'tempdb')
from sys.databases d where d.database_id = db_id()"""


def server(session: Session) -> Server:
    """Identity of a database: where it is, and since when its server runs, for tempdb is made at each start."""
    version, name, broker, created, number, started = session.row(SERVER)
    place = hashlib.sha256("\0".join([str(name), str(broker), str(number), str(created)]).encode()).hexdigest()[:20]
    return Server(f"SQL Server {version}", place, f"{name} {created} {started}")


CHECK = """
select convert(nvarchar(128), serverproperty('ProductVersion')),
  convert(nvarchar(40), databasepropertyex(db_name(), 'Updateability'))"""


def check(session: Session) -> None:
    """Raise `Refused`, by name, for what cannot be a source or a destination."""
    version, updateability = session.row(CHECK)
    major = str(version).partition(".")[0]
    if major.isdigit() and int(major) < OLDEST:
        raise errors.Refused(f"SQL Server {version} is older than 2016, the oldest supported one", reason="TooOld")
    if updateability == "READ_ONLY":
        raise errors.Refused(
            "the database is read only here; name the primary, or the listener of its availability group",
            reason="ReadOnly",
        )


# A type of the user's is what it is made of; CLR types are in no family.
_COLUMNS = """
select s.name, t.name, c.name, case when c.system_type_id = 240 then u.name else b.name end, c.max_length, c.precision,
  c.scale, coalesce(c.collation_name, N''), c.is_nullable, c.is_computed, c.is_identity, c.generated_always_type,
  case when c.default_object_id = 0 then 0 else 1 end, t.object_id, convert(nvarchar(40), t.create_date, 121),
  c.column_id
from sys.columns c
  join sys.tables t on t.object_id = c.object_id
  join sys.schemas s on s.schema_id = t.schema_id
  join sys.types u on u.user_type_id = c.user_type_id
  left join sys.types b on b.user_type_id = c.system_type_id and b.system_type_id = c.system_type_id
where {condition} order by s.name, t.name, c.column_id"""
TABLE_COLUMNS = _COLUMNS.format(condition="s.name = :schema and t.name = :table")

INDEXES = """
select i.name, i.is_primary_key, i.is_unique, i.has_filter, ic.key_ordinal, c.name
from sys.indexes i
  join sys.tables t on t.object_id = i.object_id
  join sys.index_columns ic on ic.object_id = i.object_id and ic.index_id = i.index_id and ic.key_ordinal > 0
  join sys.columns c on c.object_id = ic.object_id and c.column_id = ic.column_id
where t.schema_id = schema_id(:schema) and t.name = :table and i.is_disabled = 0
order by i.name, ic.key_ordinal"""

REFERENCES = """
select f.name, cs.name, ct.name, cc.name, ps.name, pt.name, pc.name, f.delete_referential_action_desc,
  f.update_referential_action_desc
from sys.foreign_keys f
  join sys.foreign_key_columns fc on fc.constraint_object_id = f.object_id
  join sys.tables ct on ct.object_id = f.parent_object_id join sys.schemas cs on cs.schema_id = ct.schema_id
  join sys.columns cc on cc.object_id = f.parent_object_id and cc.column_id = fc.parent_column_id
  join sys.tables pt on pt.object_id = f.referenced_object_id join sys.schemas ps on ps.schema_id = pt.schema_id
  join sys.columns pc on pc.object_id = f.referenced_object_id and pc.column_id = fc.referenced_column_id
where f.is_disabled = 0
  and ((cs.name = :schema and ct.name = :table) or (ps.name = :schema and pt.name = :table))
order by cs.name, ct.name, f.name, fc.constraint_column_id"""

TRIGGERS = """
select r.name from sys.triggers r join sys.tables t on t.object_id = r.parent_id
where t.schema_id = schema_id(:schema) and t.name = :table order by r.name"""

IN_MEMORY = """
select convert(int, is_memory_optimized) from sys.tables where schema_id = schema_id(:schema) and name = :table"""


def shape(session: Session, schema: str, table: str) -> TableShape | None:
    """A table as it is; None where there is no ordinary one of this name."""
    rows = session.rows(TABLE_COLUMNS, schema=schema, table=table)
    if not rows:
        return None
    indexes: dict[tuple[str, bool], list[str]] = {}
    for index, primary, unique, filtered, _, column in session.rows(INDEXES, schema=schema, table=table):
        if unique and not filtered:
            indexes.setdefault((index, bool(primary)), []).append(column)
    references = _references(session, schema, table)
    here = (schema, table)
    return TableShape(
        schema=schema,
        name=table,
        columns=tuple(_column(row) for row in rows),
        key=next((tuple(columns) for (_, primary), columns in indexes.items() if primary), ()),
        uniques=tuple((index, tuple(columns)) for (index, primary), columns in indexes.items() if not primary),
        references=tuple(each for each in references if each.table == here),
        referenced_by=tuple(each for each in references if each.parent == here),
        identity=f"{rows[0][13]} {rows[0][14]}",
        triggers=tuple(row[0] for row in session.rows(TRIGGERS, schema=schema, table=table)),
    )


def _column(row: Sequence[Any]) -> Column:
    name, base, length, precision, scale, collation, nullable, computed, identity, always, default = row[2:13]
    native = types.from_catalog(base or "unknown", length, precision, scale, collation)
    generated = bool(computed or always or native == "rowversion")
    return Column(
        name=name,
        type=types.logical(native),
        native=native,
        nullable=bool(nullable),
        generated=generated,
        identity=bool(identity),
        required=not (nullable or default or identity or generated),
    )


def _references(session: Session, schema: str, table: str) -> tuple[Reference, ...]:
    grouped: dict[tuple[str, str, str], list[Any]] = {}
    for row in session.rows(REFERENCES, schema=schema, table=table):
        grouped.setdefault((row[1], row[2], row[0]), []).append(row)
    return tuple(
        Reference(
            name=constraint,
            table=(child_schema, child),
            columns=tuple(part[3] for part in parts),
            parent=(parts[0][4], parts[0][5]),
            parent_columns=tuple(part[6] for part in parts),
            on_delete=parts[0][7].replace("_", " "),
            on_update=parts[0][8].replace("_", " "),
        )
        for (child_schema, child, constraint), parts in grouped.items()
    )


TABLES = """
select t.name from sys.tables t where t.schema_id = schema_id(:schema) and t.is_ms_shipped = 0 and t.name not like '#%'
"""
SCHEMAS = """
select distinct s.name from sys.schemas s join sys.tables t on t.schema_id = s.schema_id
where t.is_ms_shipped = 0 and s.name <> :ours"""


def in_memory(session: Session, schema: str, table: str) -> bool:
    """Is it a memory-optimized table?"""
    row = session.row(IN_MEMORY, schema=schema, table=table)
    return bool(row and row[0])


def tables(session: Session, schema: str) -> list[str]:
    """The user's ordinary tables, sorted."""
    return sorted(row[0] for row in session.rows(TABLES, schema=schema))


def schemas(session: Session, ours: str) -> list[str]:
    """The schemas that hold tables of the user's."""
    return sorted(row[0] for row in session.rows(SCHEMAS, ours=ours))


_TABLES_AT_ONCE = 500


def fingerprints(
    session: Session, tables: Sequence[tuple[str, str]], default_schema: str
) -> dict[tuple[str, str], str]:
    """Columns, their numbers (one that is dropped and made again has another) and the table's own."""
    found: dict[tuple[str, str], str] = {}
    for start in range(0, len(tables), _TABLES_AT_ONCE):
        part = tables[start : start + _TABLES_AT_ONCE]
        sql, params = fingerprint_query(part, default_schema)
        rows: dict[tuple[str, str], list[Any]] = {}
        for row in session.rows(sql, **params):
            rows.setdefault((row[0], row[1]), []).append(tuple(row[2:]))
        for schema, table in part:
            if (schema or default_schema, table) in rows:
                listed = repr(rows[(schema or default_schema, table)])
                found[(schema, table)] = hashlib.sha256(listed.encode()).hexdigest()[:20]
    return found


def fingerprint_query(tables: Sequence[tuple[str, str]], default_schema: str) -> tuple[str, dict[str, str]]:
    """The columns of all these tables, in one statement."""
    params: dict[str, str] = {}
    conditions = []
    for n, (schema, table) in enumerate(tables):
        params |= {f"s{n}": schema or default_schema, f"t{n}": table}
        conditions.append(f"(s.name = :s{n} and t.name = :t{n})")
    return _COLUMNS.format(condition=f"({' or '.join(conditions)})"), params


ROWS = """
select coalesce(sum(p.rows), 0) from sys.partitions p join sys.tables t on t.object_id = p.object_id
where p.index_id in (0, 1) and t.schema_id = schema_id(:schema) and t.name = :table"""


def estimated_rows(session: Session, schema: str, table: str) -> int:
    """What the server counts as it goes."""
    return int(session.row(ROWS, schema=schema, table=table)[0])


def indexes(session: Session, schema: str, table: str) -> list[tuple[str, ...]]:
    """The columns of each index of all rows."""
    found = session.rows(INDEXES, schema=schema, table=table)
    return indexed((index, place, column) for index, _, _, filtered, place, column in found if not filtered)


MAY_SEE_LOCKS = "select has_perms_by_name(null, null, 'VIEW SERVER STATE')"
LOCKS = """
select l.request_session_id, coalesce(s.login_name, N'?'), l.request_status,
  datediff(second, s.last_request_start_time, sysdatetime()), s.status
from sys.dm_tran_locks l left join sys.dm_exec_sessions s on s.session_id = l.request_session_id
where l.resource_type = 'OBJECT' and l.resource_database_id = db_id() and l.request_session_id <> @@spid
  and l.resource_associated_entity_id = (select object_id from sys.tables
    where schema_id = schema_id(:schema) and name = :table)
  and l.request_mode <> 'Sch-S'
order by l.request_session_id"""


def in_the_way(session: Session, schema: str, table: str) -> str:
    """The session, for a person, that DDL on the table would wait for; "" also where we may not look.

    Only one that is seen twice: on a busy table somebody always writes, and is done sooner than our patience ends.
    """
    try:
        if not session.row(MAY_SEE_LOCKS)[0]:
            return ""
        first = {row[0] for row in session.rows(LOCKS, schema=schema, table=table)}
        if not first:
            return ""
        session.direct("waitfor delay '00:00:00.200'")
        still = [row for row in session.rows(LOCKS, schema=schema, table=table) if row[0] in first]
    except errors.DatabaseError as error:
        if isinstance(error, errors.Unreachable):
            raise
        return ""
    if not still:
        return ""
    number, who, status, seconds, doing = still[0]
    what = "in a transaction" if status == "GRANT" else "waiting for a lock"
    idle = ", idle" if doing == "sleeping" else ""
    return f"session {number} of {who}, {what} since its statement of {seconds} s ago{idle}"


NUMBERINGS = """
select c.name, convert(bigint, c.seed_value), convert(bigint, c.increment_value), convert(bigint, c.last_value)
from sys.identity_columns c join sys.tables t on t.object_id = c.object_id
where t.schema_id = schema_id(:schema) and t.name = :table"""


def numberings(session: Session, schema: str, table: str) -> list[Numbering]:
    """The identity column, of which a table has one at most."""
    found = []
    for column, seed, step, last in session.rows(NUMBERINGS, schema=schema, table=table):
        following = int(seed) if last is None else int(last) + int(step)
        found.append(Numbering(column, "its identity", following, int(step)))
    return found
