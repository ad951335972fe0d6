"""What is at the other end: the server, its tables, who is in the way. Reads `information_schema` alone.

`information_schema` opens only the tables that an equality names, so every query here says schema and table with `=`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from pantograph import errors
from pantograph.dialects.base import Numbering, Role, Server, Session, verbatim
from pantograph.dialects.mysql import types
from pantograph.model.tables import Closed, Column, Reference, TableShape


@dataclasses.dataclass(frozen=True, slots=True)
class Catalog:
    """What the two catalogs say differently.

    json: SQL, whether a column `c` holds JSON. innodb_tables: where InnoDB lists its tables. in_files: SQL of a name, a
    parameter, as the server writes it in the file system; "" where only we can say it. sql_defaults: is a column's
    default kept as SQL, and not as the bare value? locks: a SELECT of the session `id`s that hold a metadata lock on a
    table; shows_locks: SQL, whether it would say so. to_lock: what it takes, on the whole database, for
    a trigger to read rows `for update`.
    """

    json: str
    innodb_tables: str
    in_files: str
    sql_defaults: bool
    locks: str
    shows_locks: str = "true"
    to_lock: tuple[str, ...] = ()


MARIADB = Catalog(
    json="""exists (select 1 from information_schema.check_constraints k
       where k.constraint_schema = :schema and k.table_name = :table
       and k.check_clause = concat('json_valid(`', replace(c.column_name, '`', '``'), '`)'))""",
    innodb_tables="innodb_sys_tables",
    # As binary, or the server would write it back.
    in_files="cast(cast(convert({} using filename) as binary) as char character set latin1)",
    sql_defaults=True,
    # Of a plugin, which few have.
    locks="select m.thread_id as id from information_schema.metadata_lock_info m "
    "where m.table_schema = :schema and m.table_name = :table",
)
MYSQL = Catalog(
    json="c.data_type = 'json'",
    innodb_tables="innodb_tables",
    in_files="",
    sql_defaults=False,
    locks="select t.processlist_id as id from performance_schema.metadata_locks m join performance_schema.threads t "
    "on t.thread_id = m.owner_thread_id where m.object_type = 'TABLE' and m.object_schema = :schema "
    "and m.object_name = :table and m.lock_status = 'GRANTED'",
    shows_locks="@@performance_schema",
    to_lock=("LOCK TABLES",),
)


def server(session: Session, database: str) -> Server:
    """Identity of a server and its database.

    `place` must be the same for every address: the server's own name and port, its data folder and its id tell two
    servers apart even behind one host name. `life` is its start, to the second.
    """
    version, *where = session.row("select version(), @@hostname, @@port, @@datadir, @@server_id")
    _, uptime = session.row("show global status where variable_name = 'Uptime'")
    (now,) = session.row("select unix_timestamp()")
    (uuid,) = session.row("select @@server_uuid") if "mariadb" not in str(version).lower() else ("",)
    place = hashlib.sha256("\0".join(map(str, [*where, uuid, database])).encode()).hexdigest()[:20]
    # The clock and the uptime are two readings: a second may lie between them.
    return Server(str(version), place, f"started {round((int(now) - int(uptime)) / 5) * 5}")


def check(session: Session, role: Role, engine: str, oldest: tuple[int, ...], database: str) -> None:
    """Raise `Refused`, by name, for what cannot be a source or a destination. database: as the manifest has it."""
    (version,) = session.row("select version()")
    numbers = tuple(int(part) for part in str(version).split("-")[0].split(".")[:3])
    is_mariadb = "mariadb" in str(version).lower()
    if is_mariadb != (engine == "mariadb"):
        raise errors.Refused(f"the server says {version}: not {engine}", reason="WrongDialect")
    if numbers < oldest:
        least = ".".join(map(str, oldest))
        raise errors.Refused(f"{engine} {version} is older than {least}, the oldest supported one", reason="TooOld")
    # Where the server folds names (lower_case_table_names), its catalog would show ours as those of another database.
    spelled = session.row(
        "select schema_name from information_schema.schemata where schema_name = :name", name=database
    )
    if spelled is not None and spelled[0] != database:
        raise errors.Refused(
            f"the server calls the database {spelled[0]}: write it so, and not {database}", reason="WrongCase"
        )
    if role is Role.ADMIN:
        return
    found = {
        str(name).lower(): str(value)
        for name, value in session.rows(
            "show global variables where variable_name in ('read_only', 'super_read_only', 'wsrep_on', "
            "'auto_increment_increment', 'group_replication_group_name')"
        )
    }
    on = {"on", "1", "true"}
    if found.get("read_only", "").lower() in on or found.get("super_read_only", "").lower() in on:
        raise errors.Refused("the server is read_only", reason="ReadOnly")
    if role is Role.WRITER:
        return
    if found.get("wsrep_on", "").lower() in on:
        raise errors.Refused("a Galera cluster (wsrep_on) is not supported as a source", reason="Galera")
    if found.get("group_replication_group_name"):
        raise errors.Refused("group replication is not supported as a source", reason="GroupReplication")
    if int(found.get("auto_increment_increment", "1")) != 1:
        raise errors.Refused(
            "auto_increment_increment above 1 is not supported as a source: ids that nobody hands out look like ids "
            "of open transactions",
            reason="IdIncrement",
        )
    if _is_replica(session):
        raise errors.Refused(
            "the server is a replica: triggers may not fire for what it replays; use its primary as the source",
            reason="Replica",
        )


def _is_replica(session: Session) -> bool:
    # MariaDB shows replication's own threads to everybody in the counters, whatever the privileges.
    rows = session.rows(
        "show global status where variable_name in ('Slave_running', 'Slaves_running') and value not in ('OFF', '0')"
    )
    if rows:
        return True
    try:
        return bool(session.rows("show replica status"))
    except errors.Unreachable:
        raise
    except errors.DatabaseError:
        return False  # not shown to us: most replicas are read_only, which is


_COLUMNS = """
select c.column_name, c.column_type, c.data_type, c.is_nullable, c.extra, c.character_set_name, c.collation_name,
       ifnull(if(c.character_set_name is null, c.character_octet_length, c.character_maximum_length), 0),
       {json}, c.column_default, c.column_comment
from information_schema.columns c
where c.table_schema = :schema and c.table_name = :table order by c.ordinal_position
"""


def shape(session: Session, schema: str, database: str, table: str, catalog: Catalog) -> TableShape | None:
    """A table as it is. schema: as the user gave it, "" where that is the address's own database."""
    here = {"schema": schema or database, "table": table}
    # A name is compared without regard to case here, but the server opens the table of exactly this name.
    found = session.row(
        "select engine, create_time, create_options, table_type from information_schema.tables "
        "where table_schema = :schema and table_name = :table and cast(table_name as binary) = cast(:table as binary) "
        "and cast(table_schema as binary) = cast(:schema as binary)",
        **here,
    )
    if found is None or found[3] not in ("BASE TABLE", "SYSTEM VERSIONED"):
        return None
    engine, created, options, _ = found
    sql = _COLUMNS.format(json=catalog.json)
    columns = tuple(_column(row, catalog) for row in session.rows(sql, **here))
    indexes: dict[str, list[str]] = {}
    for index, column in session.rows(
        "select index_name, if(sub_part is null, column_name, null) from information_schema.statistics "
        "where table_schema = :schema and table_name = :table and non_unique = 0 order by index_name, seq_in_index",
        **here,
    ):
        indexes.setdefault(index, []).append(column)
    # A unique index over a prefix, or over an expression, forbids more than its columns say; it is kept by its name,
    # with no columns.
    uniques = tuple((name, tuple(cols) if all(cols) else ()) for name, cols in indexes.items() if name != "PRIMARY")
    primary = indexes.get("PRIMARY", [])
    triggers = session.rows(
        "select trigger_name from information_schema.triggers "
        "where event_object_schema = :schema and event_object_table = :table order by trigger_name",
        **here,
    )
    own = database if not schema else ""
    above, closed = upstream(session, (schema, table), database, catalog)
    return TableShape(
        schema=schema,
        name=table,
        columns=columns,
        key=tuple(primary) if all(primary) else (),
        uniques=uniques,
        references=_references(session, here, "table", own),
        referenced_by=_references(session, here, "referenced_table", own),
        upstream=above,
        closed=closed,
        identity=f"{engine}:{identity(session, here['schema'], table, catalog) or created}",
        partitioned="partitioned" in str(options or ""),
        triggers=tuple(row[0] for row in triggers),
        cautions=_cautions(session) if above else (),
    )


def _cautions(session: Session) -> tuple[str, ...]:
    native = session.row("show global variables where variable_name = 'innodb_native_foreign_keys'")
    if native is None or str(native[1]).upper() == "ON":
        return ()
    return (
        "what a REPLACE on a parent takes along, while innodb_native_foreign_keys is off (MySQL's default since 9.6): "
        "such a cascade may go unnoted, and MySQL 9.7 itself leaves children behind over three levels; "
        "start the server with innodb_native_foreign_keys = ON",
    )


def identity(session: Session, schema: str, table: str, catalog: Catalog) -> str:
    """InnoDB's numbers of the table and its partitions, which TRUNCATE, a rebuild and a swap change; "" without the
    PROCESS privilege.

    The creation time, which stands in for it, stays what it was over a TRUNCATE.
    """
    # InnoDB writes names as they are in the file system.
    coded = catalog.in_files or "{}"
    names = (schema, table) if catalog.in_files else (_in_files(schema), _in_files(table))
    try:
        row = session.row(
            f"select group_concat(t.table_id order by t.table_id) from information_schema.{catalog.innodb_tables} t "
            f"join (select concat({coded.format(':schema')}, '/', {coded.format(':table')}) as name) n "
            "on t.name = n.name or t.name like concat(replace(n.name, '_', '\\\\_'), '#p#%')",
            schema=names[0], table=names[1],
        )  # fmt: skip
    except errors.DatabaseError:
        return ""
    return str(row[0]) if row and row[0] else ""


def _in_files(name: str) -> str:
    """A name as it is in the file system, of ASCII characters; some letters beyond have a code of their own, and are
    not found."""
    return "".join(c if c == "_" or (c.isascii() and c.isalnum()) else f"@{ord(c):04x}" for c in name)


def _column(row: Sequence[Any], catalog: Catalog) -> Column:
    name, column_type, _, nullable, extra, charset, collation, length, json, default, comment = row
    native = str(column_type)
    if charset:
        native += f" character set {charset} collate {collation}"
    extra = str(extra or "").lower()
    if default is not None and not catalog.sql_defaults:
        default = _as_sql(str(default), native, extra)
    return Column(
        name=str(name),
        type=types.logical(native, int(length), json=bool(int(json))),
        native=native,
        nullable=nullable == "YES",
        generated="generated" in extra.replace("default_generated", ""),
        identity="auto_increment" in extra,
        collation=str(collation or ""),
        rest=_rest(extra.replace("default_generated", "").strip(), default, comment),
        required=nullable != "YES"
        and default is None
        and "auto_increment" not in extra
        and "generated" not in extra.replace("default_generated", ""),
    )


def _as_sql(default: str, native: str, extra: str) -> str:
    """MySQL's catalog holds a constant as its text, and beside an expression says that it is one."""
    if "default_generated" in extra:
        return default if default.upper().startswith("CURRENT_TIMESTAMP") else f"({default})"
    if native.startswith(("bit", "binary", "varbinary")):
        return default  # b'101', 0x414243
    return "'" + default.replace("\\", "\\\\").replace("'", "''") + "'"


def _rest(extra: str, default: Any, comment: Any) -> str:
    """Default, numbering and comment, as a definition has them; the default is SQL."""
    rest = f" default {default}" if default is not None and str(default).upper() != "NULL" else ""
    rest += f" {extra}" if extra and "generated" not in extra else ""
    if comment:
        quoted = str(comment).replace("\\", "\\\\").replace("'", "''")
        rest += f" comment '{quoted}'"
    return rest


def _references(session: Session, here: dict[str, str], side: str, own: str) -> tuple[Reference, ...]:
    rows = session.rows(
        "select k.constraint_schema, k.constraint_name, k.table_schema, k.table_name, k.column_name, "
        "k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name, r.delete_rule, r.update_rule "
        "from information_schema.key_column_usage k join information_schema.referential_constraints r "
        "on r.constraint_schema = k.constraint_schema and r.constraint_name = k.constraint_name "
        f"and r.table_name = k.table_name where k.{side}_schema = :schema and k.{side}_name = :table "
        "and k.referenced_table_name is not null order by k.constraint_schema, k.constraint_name, k.ordinal_position",
        **here,
    )
    grouped: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows:
        grouped.setdefault((row[0], row[1], row[3]), []).append(row)
    found = []
    for (_, name, _), parts in grouped.items():
        first = parts[0]
        found.append(
            Reference(
                name=name,
                table=("" if first[2] == own else first[2], first[3]),
                columns=tuple(part[4] for part in parts),
                parent=("" if first[5] == own else first[5], first[6]),
                parent_columns=tuple(part[7] for part in parts),
                on_delete=first[8],
                on_update=first[9],
            )
        )
    return tuple(found)


_CARRIED = {"CASCADE", "SET NULL"}


def upstream(
    session: Session, table: tuple[str, str], database: str, catalog: Catalog
) -> tuple[tuple[Reference, ...], tuple[Closed, ...]]:
    """All foreign keys by which a cascade may come to `table`, with their indexes; and tables that we may not watch."""
    found: list[Reference] = []
    keys: dict[tuple[str, str], tuple[str, ...]] = {}
    seen, waiting = {table}, [table]
    while waiting:
        child = waiting.pop(0)
        written = _written(session, child, database)
        keys[child] = _plain(match[1]) if (match := _PRIMARY_KEY.search(written)) else ()
        leaving = _leaving(written, child, database)
        carried = [each for each in leaving if {each.on_delete, each.on_update} & _CARRIED]
        indexes = _indexes(session, {"schema": child[0] or database, "table": child[1]}) if carried else {}
        for each in carried:
            found.append(dataclasses.replace(each, index=_serving(indexes, each.columns)))
            if each.parent not in seen:
                seen.add(each.parent)
                waiting.append(each.parent)
    parents = list(dict.fromkeys(each.parent for each in found))
    closed = _closed(session, table, parents, database, catalog) if parents else ()
    return tuple(
        dataclasses.replace(each, to_key=_begins(keys[each.parent], each.parent_columns)) for each in found
    ), closed


_NAME = r"`(?:[^`]|``)+`"
_FOREIGN_KEY = re.compile(
    rf"^  CONSTRAINT (?P<name>{_NAME}) FOREIGN KEY \((?P<columns>{_NAME}(?:, {_NAME})*)\) "
    rf"REFERENCES (?:(?P<schema>{_NAME})\.)?(?P<parent>{_NAME}) \((?P<keys>{_NAME}(?:, {_NAME})*)\)"
    r"(?: ON DELETE (?P<delete>CASCADE|SET NULL|NO ACTION|SET DEFAULT|RESTRICT))?"
    r"(?: ON UPDATE (?P<update>CASCADE|SET NULL|NO ACTION|SET DEFAULT|RESTRICT))?",
    re.MULTILINE,
)


_PRIMARY_KEY = re.compile(rf"^  PRIMARY KEY \(({_NAME}(?:,{_NAME})*)", re.MULTILINE)


def _plain(text: str) -> tuple[str, ...]:
    return tuple(each[1:-1].replace("``", "`") for each in re.findall(_NAME, text))


def _begins(key: Sequence[str], columns: Sequence[str]) -> bool:
    return not key or tuple(key[: len(columns)]) == tuple(columns)


def _written(session: Session, table: tuple[str, str], database: str) -> str:
    """A table as the server writes it down for whoever has any right on it; "" for nobody else, and when it is gone.

    What cascades do is in `referential_constraints` too, but shown only to a right on the whole database beyond SELECT.
    """
    try:
        row = session.row(verbatim(f"show create table {_quoted(table[0] or database)}.{_quoted(table[1])}"))
    except errors.Unreachable:
        raise
    except errors.DatabaseError:
        return ""
    return str(row[1])


def _leaving(written: str, table: tuple[str, str], database: str) -> list[Reference]:
    found = []
    for match in _FOREIGN_KEY.finditer(written):
        (other,) = _plain(match["schema"]) if match["schema"] else (table[0] or database,)
        found.append(
            Reference(
                name=_plain(match["name"])[0],
                table=table,
                columns=_plain(match["columns"]),
                parent=("" if not table[0] and other == database else other, _plain(match["parent"])[0]),
                parent_columns=_plain(match["keys"]),
                on_delete=match["delete"] or "RESTRICT",
                on_update=match["update"] or "RESTRICT",
            )
        )
    return found


def _indexes(session: Session, here: dict[str, str]) -> dict[str, list[str | None]]:
    indexes: dict[str, list[str | None]] = {}
    for index, column in session.rows(
        "select index_name, if(sub_part is null, column_name, null) from information_schema.statistics "
        "where table_schema = :schema and table_name = :table order by index_name, seq_in_index",
        **here,
    ):
        indexes.setdefault(index, []).append(column)
    return indexes


def _serving(indexes: dict[str, list[str | None]], columns: Sequence[str]) -> str:
    """The engine keeps an index that begins with the foreign key's columns; of several, the narrowest."""
    fit = [(len(cols), name) for name, cols in indexes.items() if cols[: len(columns)] == list(columns)]
    return min(fit)[1] if fit else ""


def _closed(
    session: Session, table: tuple[str, str], parents: Sequence[tuple[str, str]], database: str, catalog: Catalog
) -> tuple[Closed, ...]:
    """Which of `parents` our account may not put a trigger on, by its own rights: a trigger runs without roles."""
    (account,) = session.row("select current_user()")
    user, _, host = str(account).rpartition("@")
    rights = session.rows(
        "select null, null, privilege_type from information_schema.user_privileges where grantee = :who "
        "union all select table_schema, null, privilege_type from information_schema.schema_privileges "
        "where grantee = :who "
        "union all select table_schema, table_name, privilege_type from information_schema.table_privileges "
        "where grantee = :who",
        who=f"'{user}'@'{host}'",
    )  # fmt: skip

    def missing(one: tuple[str, str], wanted: Sequence[str]) -> list[str]:
        schema = one[0] or database
        has = {
            right for place, name, right in rights
            if (place is None or (_like(schema, place) if name is None else schema == place)) and name in (None, one[1])
        }  # fmt: skip
        return [right for right in wanted if right not in has]

    def closed(one: tuple[str, str]) -> Closed | None:
        lacking, to_lock = missing(one, ("SELECT", "TRIGGER")), missing(one, catalog.to_lock)
        if not lacking and not to_lock:
            return None
        schema = _quoted(one[0] or database)
        grants = [(lacking, f"{schema}.{_quoted(one[1])}"), (to_lock, f"{schema}.*")]
        given = [f"grant {', '.join(what).lower()} on {on} to '{user}'@'{host}'" for what, on in grants if what]
        return Closed(one, "SELECT" not in lacking, "; ".join(given))

    if missing(table, ("SELECT", "TRIGGER")):
        return ()  # what these lists say cannot be all, or the table itself could not be captured; the server will say
    return tuple(found for one in parents if (found := closed(one)))


def _like(name: str, pattern: str) -> bool:
    """Does a database's name match a name as GRANT takes it?"""
    parts = re.split(r"(\\.|_|%)", pattern)
    wild = {"_": ".", "%": ".*"}
    return re.fullmatch("".join(wild.get(p) or re.escape(p.removeprefix("\\")) for p in parts), name, re.S) is not None


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def tables(session: Session, schema: str) -> list[str]:
    """The ordinary tables of a database, sorted."""
    rows = session.rows(
        "select table_name from information_schema.tables "
        "where table_schema = :schema and table_type in ('BASE TABLE', 'SYSTEM VERSIONED') order by table_name",
        schema=schema,
    )
    return sorted(row[0] for row in rows)


def numberings(session: Session, schema: str, table: str) -> list[Numbering]:
    """The AUTO_INCREMENT column, if there is one."""
    row = session.row(
        "select c.column_name, t.auto_increment from information_schema.columns c join information_schema.tables t "
        "on t.table_schema = c.table_schema and t.table_name = c.table_name "
        "where c.table_schema = :schema and c.table_name = :table and c.extra like '%auto_increment%'",
        schema=schema, table=table,
    )  # fmt: skip
    return [Numbering(row[0], "AUTO_INCREMENT", int(row[1] or 1))] if row else []


_FEW_TABLES = 10
"""Up to so many are asked for by name, 0.5 ms each; of more, the schema is read as a whole, 200 tables in 10 ms."""

# The default is in it for a column that is dropped and added again within the second that the creation time is told in.
_FINGERPRINT = (
    "group_concat(concat_ws(' ', c.column_name, c.column_type, c.collation_name, c.is_nullable, c.extra, "
    "quote(c.column_default)) "
    "order by c.ordinal_position separator '\\n') from information_schema.columns c"
)


def fingerprints(session: Session, tables: Sequence[tuple[str, str]], database: str) -> dict[tuple[str, str], str]:
    """Columns and creation time (every ALTER renews it) of the tables that exist."""
    here = [(schema or database, table) for schema, table in tables]
    found = _one_by_one(session, here) if len(here) <= _FEW_TABLES else _together(session, here)
    return {
        each: hashlib.sha256(repr(found[place]).encode()).hexdigest()[:20]
        for each, place in zip(tables, here, strict=True)
        if place in found
    }


_Described = dict[tuple[str, str], tuple[str, str]]


def _one_by_one(session: Session, here: Sequence[tuple[str, str]]) -> _Described:
    parts: list[str] = []
    params: dict[str, str] = {}
    for i, (schema, table) in enumerate(here):
        params |= {f"s{i}": schema, f"t{i}": table}
        parts.append(
            f"select {i}, (select create_time from information_schema.tables "
            f"where table_schema = :s{i} and table_name = :t{i}), "
            f"{_FINGERPRINT} where c.table_schema = :s{i} and c.table_name = :t{i}"
        )
    rows = session.rows(" union all ".join(parts), **params) if parts else []
    return {here[int(i)]: (str(created), text) for i, created, text in rows if text is not None}


def _together(session: Session, here: Sequence[tuple[str, str]]) -> _Described:
    found: _Described = {}
    for schema in {schema for schema, _ in here}:
        names = {f"t{i}": table for i, (each, table) in enumerate(here) if each == schema}
        which = f"table_schema = :schema and table_name in ({', '.join(f':{name}' for name in names)})"
        sql = f"select c.table_name, {_FINGERPRINT} where c.{which} group by c.table_name"
        columns = session.rows(sql, schema=schema, **names)
        sql = f"select table_name, create_time from information_schema.tables where {which}"
        created = dict(session.rows(sql, schema=schema, **names))
        found |= {(schema, name): (str(created.get(name)), text) for name, text in columns}
    return found


def estimated_rows(session: Session, schema: str, table: str) -> int:
    """InnoDB's own estimate."""
    row = session.row(
        "select table_rows from information_schema.tables where table_schema = :schema and table_name = :table",
        schema=schema, table=table,
    )  # fmt: skip
    return int(row[0] or 0) if row else 0


def in_the_way(session: Session, schema: str, table: str, catalog: Catalog) -> str:
    """Who holds a transaction open long enough, or waits for the table, so that DDL would queue behind it.

    Where it is not shown who holds metadata locks (MariaDB's plugin, a right on MySQL's performance_schema), every open
    transaction that is not idle for a moment only counts. Without PROCESS only sessions of our own account are seen.
    """
    waiting = session.row(
        "select id, user, time from information_schema.processlist where id <> connection_id() "
        "and state = 'Waiting for table metadata lock' and locate(:table, info) > 0 order by time desc limit 1",
        table=table,
    )
    if waiting:
        return f"session {waiting[0]} of {waiting[1]}, which waits for a lock on the table for {waiting[2]} s"
    held = _lock_holder(session, schema, table, catalog)
    if held is not None:
        return held
    try:
        row = session.row(
            "select t.trx_mysql_thread_id, p.user, timestampdiff(second, t.trx_started, now()) "
            "from information_schema.innodb_trx t left join information_schema.processlist p "
            "on p.id = t.trx_mysql_thread_id where t.trx_mysql_thread_id <> connection_id() "
            "and t.trx_started < now() - interval 1 second order by t.trx_started limit 1"
        )
    except errors.Refused:
        return ""
    return f"session {row[0]} of {row[1] or '?'}, in a transaction for {row[2]} s" if row else ""


def unseen_locks(session: Session, user: str, catalog: Catalog) -> list[str]:
    """What it may cost the application that we do not see who uses a table, where DDL cannot be kept from waiting."""
    if _lock_holder(session, "", "", catalog) is not None:
        return []
    return [
        f"{user} is not shown who uses a table: a transaction that has read one and writes it in the moment in which "
        "its triggers are made is rolled back (deadlock, error 1213); grant select on "
        "performance_schema.metadata_locks and on performance_schema.threads"
    ]


def _lock_holder(session: Session, schema: str, table: str, catalog: Catalog) -> str | None:
    """Who holds a metadata lock on the table, "" when nobody does, None where that is not shown to us."""
    try:
        if not int(session.row(f"select {catalog.shows_locks}")[0]):
            return None
        row = session.row(
            f"select h.id, p.user, p.time from ({catalog.locks}) h left join information_schema.processlist p "
            "on p.id = h.id where h.id <> connection_id() limit 1",
            schema=schema, table=table,
        )  # fmt: skip
    except errors.DatabaseError:
        return None
    return f"session {row[0]} of {row[1] or '?'}, which uses the table, last active {row[2]} s ago" if row else ""
