"""Capture on PostgreSQL: the event table, the one function that notes changes in it, the triggers that call it.

Renderings only; what was measured and why it is done so: docs/decisions/postgresql-capture.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from pantograph.dialects.base import CaptureState, Session, Statement, verbatim
from pantograph.dialects.postgresql import types
from pantograph.model.changes import Capture
from pantograph.model.tables import Column, TableShape

Quote = Callable[[str], str]

# The shared signal that something was noted: holds the id of the last transaction that did. Set with `setval`, because
# `nextval` would change what `lastval()` tells the application.
PULSE = "pulse"

# Everything in a trigger names its schema, operators included: it runs with our rights under the caller's search_path.
_IS = "operator(pg_catalog.=)"


class Rendering:
    """The statements of one capture, in one schema of ours."""

    def __init__(self, capture: Capture, schema: str, quote: Quote) -> None:
        self.capture, self.schema, self.quote = capture, schema, quote

    # -- names -------------------------------------------------------------------------------------------------------

    def ours(self, name: str) -> str:
        return f"{self.quote(self.schema)}.{self.quote(name)}"

    @property
    def events(self) -> str:
        return self.ours(self.capture.event_table)

    @property
    def function_name(self) -> str:
        return self.capture.event_table.replace("events_", "note_", 1)

    @property
    def function(self) -> str:
        return self.ours(self.function_name)

    @property
    def table(self) -> str:
        return f"{self.quote(self.capture.schema)}.{self.quote(self.capture.table)}"

    @property
    def label(self) -> str:
        return f"{self.capture.schema}.{self.capture.table}"

    def trigger(self, what: str) -> str:
        return f"pantograph_{self.capture.id}_{what}"

    # -- what is made ------------------------------------------------------------------------------------------------

    def event_columns(self, shape: TableShape) -> list[str]:
        """`k0 bigint`, `k1 text collate "C"`, … in the widest type of each column's family."""
        return [f"k{i} {_event_column(column)}" for i, column in enumerate(shape.pick(self.capture.columns))]

    def create(self, shape: TableShape) -> list[Statement]:
        """All of it; each statement stands alone and may be repeated."""
        columns = self.event_columns(shape)
        made = [
            f"create sequence if not exists {self.ours(PULSE)}",
            f"create table if not exists {self.events} (xid xid8 not null, at timestamp with time zone not null, "
            f'version integer not null, op "char" not null, {", ".join(columns)})',
        ]
        made += [
            f"alter table {self.events} add column if not exists {column}"
            for column in columns[len(self.capture.key) :]
        ]
        made += [
            f"create index if not exists {self.quote(self.index_name)} on {self.events} (xid)",
            f"create or replace function {self.function}() returns trigger language plpgsql security definer "
            f"as {literal(self.body(shape))}",
            # Whoever may write the table fires the trigger, and needs no right on the function for it; nobody else
            # has a use for it.
            f"revoke all on function {self.function}() from public",
        ]
        statements = [Statement(sql) for sql in made]
        statements.append(Statement(self.triggers(shape), locks=self.label))
        return statements

    @property
    def index_name(self) -> str:
        return self.capture.event_table.replace("events_", "xids_", 1)

    def body(self, shape: TableShape) -> str:
        """The trigger function: one for all operations and levels, so that there is one thing to replace."""
        columns = shape.pick(self.capture.columns)
        names = [self.quote(column.name) for column in columns]
        target = f"insert into {self.events} (xid, at, version, op, {', '.join(f'k{i}' for i in range(len(names)))})"
        fixed = "pg_catalog.pg_current_xact_id(), pg_catalog.statement_timestamp(), {version}, '{op}'"

        def noted(op: str, prefix: str, source: str) -> str:
            values = fixed.format(version=self.capture.version, op=op)
            if op == "T":
                return f"{target} values ({values}{', null' * len(names)});"
            picked = ", ".join(f"{prefix}.{name}" for name in names)
            return (
                f"{target} select {values}, {picked} from {source};"
                if source
                else f"{target} values ({values}, {picked});"
            )

        both = f"(select {', '.join(names)} from before union select {', '.join(names)} from after) b"
        update = noted("U", "b", both) if shape.partitioned else noted("U", "a", "after a")
        fits = " or ".join(
            f"a.attname {_IS} {literal(column.name)} and a.atttypid {_IS} any ({literal(_family(column))}"
            "::pg_catalog.regtype[]::pg_catalog.oid[])"
            for column in columns
        )
        return f"""
declare
  live pg_catalog.bool;
  fits pg_catalog.bool;
  ignored pg_catalog.int8;
begin
  select l.until operator(pg_catalog.>) pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()),
    (select pg_catalog.count(*) from pg_catalog.pg_attribute a
      where a.attrelid {_IS} tg_relid and a.attnum operator(pg_catalog.>) 0 and ({fits})) {_IS} {len(columns)}
    into live, fits from {self.ours("lease")} l where l.id {_IS} 1;
  if live is not true then
    return null;
  end if;
  if not fits then
    begin
      update {self.ours("captures")}
        set broken = pg_catalog.concat('a captured column was changed, seen ', pg_catalog.clock_timestamp())
        where id {_IS} (select c.id from {self.ours("captures")} c
        where c.id {_IS} {literal(self.capture.id)} and c.broken {_IS} '' for update skip locked);
    exception when others then
      null;
    end;
    return null;
  end if;
  if tg_op {_IS} 'INSERT' then
    {noted("I", "a", "after a")}
  elsif tg_op {_IS} 'UPDATE' then
    if tg_level {_IS} 'ROW' then
      {noted("U", "old", "")}
    else
      {update}
    end if;
  elsif tg_op {_IS} 'DELETE' then
    {noted("D", "b", "before b")}
  else
    {noted("T", "", "")}
  end if;
  if found then
    ignored := pg_catalog.setval({literal(self.ours(PULSE))}::pg_catalog.regclass,
      pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8);
  end if;
  return null;
end"""

    def wanted(self, shape: TableShape) -> dict[str, tuple[str, str]]:
        """Each trigger by its name, as CREATE TRIGGER has it between the name and the table, and after the table.

        Its argument, which the function does not read, is a mark of all that: so a trigger that is not as it should
        be is told from one that is.
        """
        old = "old table as before " if shape.partitioned else ""
        made = {
            self.trigger("i"): ("after insert on", "referencing new table as after for each statement"),
            self.trigger("u"): ("after update on", f"referencing {old}new table as after for each statement"),
            self.trigger("d"): ("after delete on", "referencing old table as before for each statement"),
            self.trigger("t"): ("after truncate on", "for each statement"),
        }
        if not shape.partitioned:
            moved = " or ".join(_differs(self.quote, column) for column in shape.pick(self.capture.columns))
            made[self.trigger("k")] = ("after update on", f"for each row when ({moved})")
        call = f"execute function {self.function}"
        return {name: (when, f"{how} {call}({literal(_mark(when + how))})") for name, (when, how) in made.items()}

    def triggers(self, shape: TableShape) -> str:
        """All triggers, on the table and whatever is below it, in one statement and so in one transaction.

        A trigger that is there already as it should be is left alone. Replacing one takes no more than the right to
        make it; before version 14 it must be dropped first, which only the table's owner may.
        """
        steps = "\n".join(
            f"""
    select t.tgargs = {_mark_bytes(parts)} and t.tgenabled in ('O', 'A') into there
      from pg_catalog.pg_trigger t where t.tgrelid = member.oid and t.tgname = {literal(name)};
    if there is not true then
      if there is not null and replaceable = '' then
        execute {literal(f"drop trigger {self.quote(name)} on ")} || member.name;
      end if;
      execute 'create ' || replaceable || {literal(f"trigger {self.quote(name)} {parts[0]} ")} || member.name
        || {literal(f" {parts[1]}")};
    end if;"""
            for name, parts in self.wanted(shape).items()
        )
        loop = f"""
declare
  member record;
  there bool;
  replaceable text := case when current_setting('server_version_num')::int < 140000 then '' else 'or replace ' end;
begin
  for member in {self.members()} loop{steps}
  end loop;
end"""
        return f"do {literal(loop)}"

    def members(self) -> str:
        """A SELECT of (oid, name): the table, every level below it and every leaf, however they are attached."""
        return (
            "with recursive tree(oid) as (select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
            f"on n.oid = c.relnamespace where n.nspname = {literal(self.capture.schema)} and c.relname = "
            f"{literal(self.capture.table)} union select i.inhrelid from pg_catalog.pg_inherits i join tree t "
            "on i.inhparent = t.oid) select c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) as name "
            "from tree t join pg_catalog.pg_class c on c.oid = t.oid join pg_catalog.pg_namespace n "
            "on n.oid = c.relnamespace where c.relkind in ('r', 'p') order by c.oid"
        )

    # -- what is taken away ------------------------------------------------------------------------------------------

    def remove(self) -> list[Statement]:
        """The function takes its triggers along, also from tables that are not ours: each of these is locked."""
        return [
            Statement(f"drop function if exists {self.function}() cascade", locks=self.label),
            Statement(f"drop table if exists {self.events}"),
        ]

    # -- what is there -----------------------------------------------------------------------------------------------

    def state(self, session: Session, shape: TableShape | None) -> CaptureState:
        """What is there, compared with what `create` would make."""
        events, body = session.row(
            "select to_regclass(:events), (select md5(p.prosrc) from pg_proc p join pg_namespace n "
            "on n.oid = p.pronamespace where n.nspname = :schema and p.proname = :function)",
            events=self.events,
            schema=self.schema,
            function=self.function_name,
        )
        if events is None and body is None:
            return CaptureState(installed=False)
        problems = list(self._problems(session, shape, events, body))
        return CaptureState(installed=events is not None and body is not None, problems=tuple(problems))

    def _problems(self, session: Session, shape: TableShape | None, events: Any, body: Any) -> Iterable[str]:
        if events is None:
            yield "the event table is gone"
        if body is None:
            yield "the trigger function is gone"
        if shape is None:
            return
        try:
            expected = self.body(shape)
        except KeyError as missing:
            yield f"the captured column {missing} is gone"
            return
        if body is not None and body != hashlib.md5(expected.encode()).hexdigest():
            yield "the trigger function is not what it should be"
        if events is not None:
            found = session.rows(
                "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a "
                "where a.attrelid = cast(:events as regclass) and a.attnum > 0 and not a.attisdropped",
                events=self.events,
            )
            there = dict(found)
            for i, column in enumerate(shape.pick(self.capture.columns)):
                if f"k{i}" not in there:
                    yield f"the event table lacks the column for {column.name}"
            if not session.row("select to_regclass(:index)", index=self.ours(self.index_name))[0]:
                yield "the event table's index is gone"
        wanted = self.wanted(shape)
        found = session.rows(
            "select m.name, t.tgname, t.tgenabled in ('O', 'A'), t.tgargs, "
            "t.tgfoid is not distinct from cast(to_regprocedure(:function) as oid) "
            f"from ({verbatim(self.members())}) m "
            "left join pg_trigger t on t.tgrelid = m.oid and t.tgname = any (cast(:names as name[]))",
            function=f"{self.function}()",
            names=list(wanted),
        )
        members: dict[str, dict[str, tuple[bool, bool]]] = {}
        for member, name, enabled, mark, calls in found:
            triggers = members.setdefault(member, {})
            if name is not None:
                triggers[name] = (enabled, calls and mark.hex() in _mark_bytes(wanted[name]))
        for member, triggers in members.items():
            for name in wanted:
                if name not in triggers:
                    yield f"trigger {name} is missing on {member}"
                    continue
                enabled, right = triggers[name]
                if not enabled:
                    yield f"trigger {name} is disabled on {member}"
                if not right:
                    yield f"trigger {name} on {member} is not what it should be"


def literal(text: str) -> str:
    """A string constant; ours are never read with backslash escapes, whatever the server's settings."""
    return "'" + text.replace("'", "''") + "'"


def _mark(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:10]


def _mark_bytes(parts: tuple[str, str]) -> str:
    """The trigger's argument as pg_trigger holds it."""
    mark = parts[1].rpartition("('")[2].removesuffix("')")
    return f"'\\x{mark.encode().hex()}00'::bytea"


def _event_column(column: Column) -> str:
    collation = f" collate {column.collation}" if column.collation else ""
    return types.event_type(column.native) + collation


def _family(column: Column) -> str:
    return (
        "{"
        + ",".join(
            '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in types.event_family(column.native)
        )
        + "}"
    )


def _differs(quote: Quote, column: Column) -> str:
    name = quote(column.name)
    # Types without an equality of their own (json, point) are compared as they print.
    plain = column.type.kind.value not in ("json", "other")
    return f"old.{name} is distinct from new.{name}" if plain else f"old.{name}::text is distinct from new.{name}::text"
