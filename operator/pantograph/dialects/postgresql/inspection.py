"""Looking at a PostgreSQL server and its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pantograph.dialects.base import Numbering, Server, Session, indexed
from pantograph.dialects.postgresql import types
from pantograph.model.tables import Column, Reference, TableShape

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

# `format_type` leaves a schema out when the session's search path has it; a type of the user's is always qualified.
_NATIVE = """case when tn.nspname = 'pg_catalog' then format_type({oid}, {mod})
    else format('%I.%I', tn.nspname, coalesce(el.typname, t.typname))
      || coalesce(substring(format_type({oid}, {mod}) from '\\([^()]*\\)'), '')
      || case when el.oid is null then '' else '[]' end end"""

_COLUMNS = (
    """
select a.attname, """
    + _NATIVE.format(oid="a.atttypid", mod="a.atttypmod")
    + """,
  case when t.typtype = 'd' then format_type(bt.oid, coalesce(nullif(t.typtypmod, -1), -1)) else '' end,
  not a.attnotnull, a.attgenerated, a.attidentity, a.attnotnull and not a.atthasdef and a.attidentity = '',
  case when a.attcollation <> 0 and a.attcollation <> t.typcollation
    then format('%I.%I', cn.nspname, co.collname) else '' end,
  coalesce(not co.collisdeterministic, false)
from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  left join pg_type el on el.oid = t.typelem and t.typcategory = 'A'
  join pg_namespace tn on tn.oid = coalesce(el.typnamespace, t.typnamespace)
  left join pg_type bt on bt.oid = t.typbasetype
  left join pg_collation co on co.oid = a.attcollation
  left join pg_namespace cn on cn.oid = co.collnamespace
where a.attrelid = :oid and a.attnum > 0 and not a.attisdropped
order by a.attnum"""
)

_INDEXES = """
select c.relname, i.indisprimary,
  array(select a.attname from unnest(cast(i.indkey as int2[])) with ordinality k(n, o)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n where k.o <= i.indnkeyatts order by k.o)
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = :oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
order by i.indisprimary desc, c.relname"""

_REFERENCES = """
select c.conname, n.nspname, r.relname, pn.nspname, p.relname, c.confdeltype, c.confupdtype, c.condeferrable,
  array(select a.attname from unnest(c.conkey) with ordinality k(n, o)
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by k.o),
  array(select a.attname from unnest(c.confkey) with ordinality k(n, o)
    join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by k.o),
  c.conrelid = :oid, c.confrelid = :oid
from pg_constraint c
  join pg_class r on r.oid = c.conrelid join pg_namespace n on n.oid = r.relnamespace
  join pg_class p on p.oid = c.confrelid join pg_namespace pn on pn.oid = p.relnamespace
where c.contype = 'f' and c.conparentid = 0 and (c.conrelid = :oid or c.confrelid = :oid)
  -- PostgreSQL 18 has foreign keys that are only said, and earlier ones have no such column.
  and coalesce(cast(to_jsonb(c) ->> 'conenforced' as boolean), true)
order by n.nspname, r.relname, c.conname"""


def server(session: Session) -> Server:
    """Who is at the other end. All of it is open to every role."""
    version, system, timeline, started, database = session.row(
        "select current_setting('server_version'), s.system_identifier, c.timeline_id, pg_postmaster_start_time(), "
        "(select d.oid from pg_database d where d.datname = current_database()) "
        "from pg_control_system() s, pg_control_checkpoint() c"
    )
    return Server(f"PostgreSQL {version}", f"{system}/{database}", f"{system}/{timeline}/{started}")


def find(session: Session, schema: str, table: str) -> Any:
    """(oid, kind, partitioned or inherited) of a table, or None."""
    return session.row(
        "select c.oid, c.relkind, c.relkind = 'p' or c.relispartition or exists "
        "(select from pg_inherits i where c.oid in (i.inhparent, i.inhrelid)) "
        "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = :schema and c.relname = :table and c.relkind in ('r', 'p')",
        schema=schema,
        table=table,
    )


def shape(session: Session, schema: str, table: str) -> TableShape | None:
    """The table as it is now."""
    found = find(session, schema, table)
    if found is None:
        return None
    oid, _, partitioned = found
    indexes = [(name, primary, _names(columns)) for name, primary, columns in session.rows(_INDEXES, oid=oid)]
    leaving, arriving = [], []
    for row in session.rows(_REFERENCES, oid=oid):
        reference = Reference(
            name=row[0],
            table=(row[1], row[2]),
            columns=_names(row[8]),
            parent=(row[3], row[4]),
            parent_columns=_names(row[9]),
            on_delete=_ACTIONS[row[5]],
            on_update=_ACTIONS[row[6]],
            deferrable=row[7],
        )
        if row[10]:
            leaving.append(reference)
        if row[11]:
            arriving.append(reference)
    triggers = session.rows(
        "select tgname from pg_trigger where tgrelid = :oid and not tgisinternal order by tgname", oid=oid
    )
    return TableShape(
        schema=schema,
        name=table,
        columns=tuple(_column(row) for row in session.rows(_COLUMNS, oid=oid)),
        key=next((columns for _, primary, columns in indexes if primary), ()),
        uniques=tuple((name, columns) for name, primary, columns in indexes if not primary),
        references=tuple(leaving),
        referenced_by=tuple(arriving),
        identity=str(oid),
        partitioned=partitioned,
        triggers=tuple(name for (name,) in triggers),
    )


def _column(row: Any) -> Column:
    name, native, base, nullable, generated, identity, required, collation, folding = row
    return Column(
        name=name,
        type=types.logical(base or native, folding=folding),
        native=native,
        nullable=nullable,
        generated=bool(generated.strip("\0 ")),
        identity=bool(identity.strip("\0 ")),
        collation=collation,
        required=required,
    )


def _names(array: str) -> tuple[str, ...]:
    """A `name[]` as the server prints it: psycopg2 is told to leave arrays alone."""
    names: list[str] = []
    inside, quoted, current, escaped = array[1:-1], False, "", False
    for character in inside:
        if escaped:
            current, escaped = current + character, False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            names.append(current)
            current = ""
        else:
            current += character
    return (*names, current) if inside else ()


def tables(session: Session, schema: str, ours: str) -> list[str]:
    """The user's ordinary and partitioned tables in a schema; a partition is part of its parent."""
    found = session.rows(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = :schema "
        "and n.nspname <> :ours and c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'",
        schema=schema,
        ours=ours,
    )
    return sorted(name for (name,) in found)


def schemas(session: Session, ours: str) -> list[str]:
    """The user's schemas that we may look into."""
    found = session.rows(
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' "
        "and nspname <> :ours and has_schema_privilege(oid, 'usage')",
        ours=ours,
    )
    return sorted(name for (name,) in found)


_NUMBERINGS = """
select a.attname, sn.nspname, s.relname, q.seqincrement
from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  join (
    select d.refobjid, d.refobjsubid, d.objid from pg_depend d
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
    union
    select f.adrelid, f.adnum, d.refobjid from pg_attrdef f
      join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_class'::regclass
  ) o (relation, attribute, sequence) on o.relation = c.oid and o.attribute = a.attnum
  join pg_class s on s.oid = o.sequence and s.relkind = 'S'
  join pg_namespace sn on sn.oid = s.relnamespace
  join pg_sequence q on q.seqrelid = s.oid
where n.nspname = :schema and c.relname = :table
order by a.attnum, s.relname"""


def numberings(session: Session, schema: str, table: str, quoted: Callable[[str, str], str]) -> list[Numbering]:
    """Columns with an identity, a serial's sequence, or a default from any other."""
    found = []
    for column, sequence_schema, sequence, step in session.rows(_NUMBERINGS, schema=schema, table=table):
        name = quoted(sequence_schema, sequence)
        last, called = session.row(f"select last_value, is_called from {name}")
        found.append(Numbering(column, name, int(last) + (int(step) if called else 0), int(step)))
    return found


def fingerprints(session: Session, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What changes with a table's columns, identity or stored form."""
    if not wanted:
        return {}
    found = session.rows(
        """select n.nspname, c.relname, md5(concat_ws(' ', c.oid, c.relfilenode, c.relkind, c.relrowsecurity,
             (select string_agg(concat_ws(' ', a.attnum, length(a.attname), a.attname, a.atttypid, a.atttypmod,
                a.attcollation, a.attnotnull, a.attgenerated), ',' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)))
           from unnest(cast(:schemas as text[]), cast(:tables as text[])) w(s, t)
             join pg_namespace n on n.nspname = w.s
             join pg_class c on c.relnamespace = n.oid and c.relname = w.t and c.relkind in ('r', 'p')""",
        schemas=[schema for schema, _ in wanted],
        tables=[table for _, table in wanted],
    )
    return {(schema, table): text for schema, table, text in found}


def estimated_rows(session: Session, schema: str, table: str) -> int:
    """About how many rows, partitions included; from pages where nothing was ever analyzed."""
    found = session.row(
        """with recursive tree(oid) as (
             select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = :schema and c.relname = :table
             union select i.inhrelid from pg_inherits i join tree t on i.inhparent = t.oid)
           select cast(sum(case when c.relkind = 'p' then 0 when c.reltuples > 0 then c.reltuples
             else pg_relation_size(c.oid) / 100 end) as bigint)
           from tree t join pg_class c on c.oid = t.oid""",
        schema=schema,
        table=table,
    )
    return int(found[0] or 0)


# What a CREATE TRIGGER (SHARE ROW EXCLUSIVE) queues behind. A reader does not stand in its way; DROP TRIGGER must wait
# for readers too, and then gives up after its lock timeout.
_IN_THE_WAY = """
select l.pid, l.virtualtransaction, coalesce(a.usename, a.backend_type, '?'), a.state,
  cast(extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.query_start)) as double precision), l.granted
from pg_locks l left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'relation' and l.database = (select d.oid from pg_database d where d.datname = current_database())
  and l.pid is distinct from pg_backend_pid() and l.relation in (
    with recursive tree(oid) as (
      select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = :schema and c.relname = :table
      union select i.inhrelid from pg_inherits i join tree t on i.inhparent = t.oid)
    select oid from tree)
  and (not l.granted or l.mode not in ('AccessShareLock', 'RowShareLock'))
order by 5 desc nulls last"""


def in_the_way(session: Session, schema: str, table: str) -> str:
    """The session, for a person, that DDL on the table would wait for.

    Only those that are seen in the same transaction twice: on a busy table somebody always writes, and is done sooner
    than our patience of a tenth of a second ends. (How old a transaction is, is not told to every role.)
    """
    first = {row[:2] for row in session.rows(_IN_THE_WAY, schema=schema, table=table)}
    if not first:
        return ""
    session.row("select pg_sleep(0.2)")
    still = [row for row in session.rows(_IN_THE_WAY, schema=schema, table=table) if row[:2] in first]
    if not still:
        return ""
    pid, _, who, state, seconds, granted = still[0]
    if pid is None:
        return "a prepared transaction"
    doing = "in a transaction" if granted else "waiting for a lock"
    since = f" for {seconds:.0f} s" if seconds is not None else ""
    idle = ", idle" if (state or "").startswith("idle in transaction") else ""
    return f"session {pid} of {who}, {doing}{since}{idle}"


def index_columns(session: Session, schema: str, table: str) -> list[tuple[str, ...]]:
    """The columns of each valid index without a condition, as far as they are plain columns from its beginning."""
    found = session.rows(
        "select i.indexrelid, k.n, a.attname from pg_index i join pg_class c on c.oid = i.indrelid "
        "join pg_namespace s on s.oid = c.relnamespace "
        "cross join lateral unnest(cast(i.indkey as int2[])) with ordinality as k (attnum, n) "
        "left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum "
        "where s.nspname = :schema and c.relname = :table and i.indisvalid and i.indpred is null "
        "order by i.indexrelid, k.n",
        schema=schema,
        table=table,
    )
    return indexed(found)
