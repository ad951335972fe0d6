"""Capture on PostgreSQL: the event table, the one function that notes changes in it, the triggers that call it.

Renderings only; what was measured and why it is done so: docs/decisions/postgresql-capture.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from pantograph.dialects import marks
from pantograph.dialects.base import CaptureState, Session, Statement, verbatim
from pantograph.dialects.postgresql import types
from pantograph.model.changes import Capture
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import Kind

Quote = Callable[[str], str]

# The shared signal that something was noted: holds the id of the last transaction that did. Set with `setval`, because
# `nextval` would change what `lastval()` tells the application.
PULSE = "pulse"
# `lease.until` again, kept by a trigger of ours on that table: a sequence is read for a fifth of what a table costs.
LEASE = "lease_until"
# Until when a trigger tells who listens, in seconds since the epoch; made where it may have to (`Address.notifies`).
TELLING = "telling_until"
SEQUENCES = (PULSE, LEASE, TELLING)
# What `fits` and `follow_lease` are for is said where they are made.
SHARED_FUNCTIONS = ("fits(regclass, regclass, text[])", "follow_lease()")

# Everything in a trigger names its schema, operators included: it runs with our rights under the caller's search_path.
_IS = "operator(pg_catalog.=)"

_EVENTS_OID = "<events>"


class Rendering:
    """The statements of one capture, in one schema of ours."""

    def __init__(self, capture: Capture, schema: str, quote: Quote, *, notifies: bool = False) -> None:
        self.capture, self.schema, self.quote, self.notifies = capture, schema, quote, notifies

    # -- names -------------------------------------------------------------------------------------------------------

    def ours(self, name: str) -> str:
        return f"{self.quote(self.schema)}.{self.quote(name)}"

    @property
    def events(self) -> str:
        return self.ours(self.capture.event_table)

    def function_name(self, what: str) -> str:
        return f"{self.capture.event_table.replace('events_', 'note_', 1)}_{what}"

    def function(self, what: str) -> str:
        return self.ours(self.function_name(what))

    @property
    def table(self) -> str:
        return f"{self.quote(self.capture.schema)}.{self.quote(self.capture.table)}"

    @property
    def events_label(self) -> str:
        return f"{self.schema}.{self.capture.event_table}"

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
            *self.shared(),
            f"create table if not exists {self.events} (xid xid8 not null, at timestamp with time zone not null, "
            f'version integer not null, op "char" not null, {", ".join(columns)})',
        ]
        made.append(
            self._unless_there(self.index_name, f"create index {self.quote(self.index_name)} on {self.events} (xid)")
        )
        statements = [Statement(sql) for sql in made]
        for i, column in enumerate(columns[len(self.capture.key) :], start=len(self.capture.key)):
            # Every writer of the table writes this one too.
            statements.append(
                Statement(
                    self._unless_there(f"k{i}", f"alter table {self.events} add column {column}"), self.events_label
                )
            )
        statements += [Statement(self._function(what, body)) for what, body in self.bodies(shape).items()]
        return [*statements, Statement(self.triggers(), self.label)]

    def _unless_there(self, name: str, ddl: str) -> str:
        """DDL for a column or an index of the event table; `if not exists` would take its lock before it looks."""
        return _do(f"""
begin
  if not exists (select from pg_catalog.pg_attribute where attrelid = {literal(self.events)}::regclass
      and attname = {literal(name)}) and to_regclass({literal(self.ours(name))}) is null then
    {ddl};
  end if;
end""")

    def shared(self) -> list[str]:
        """What all captures of a database use."""
        lease, follow = self.ours(LEASE), self.ours("follow_lease")
        following = f"""
begin
  perform pg_catalog.setval({literal(lease)}::pg_catalog.regclass, case when new.until > 0 then new.until else 1 end);
  return null;
end"""
        return [
            f"create sequence if not exists {self.ours(PULSE)}",
            f"create sequence if not exists {lease}",
            f"create or replace function {follow}() returns trigger language plpgsql "
            f"set search_path = pg_catalog, pg_temp as {literal(following)}",
            _do(f"""
begin
  if not exists (select from pg_catalog.pg_trigger where tgrelid = {literal(self.ours("lease"))}::regclass
      and tgname = 'follow') then
    create trigger follow after insert or update on {self.ours("lease")} for each row execute function {follow}();
  end if;
  perform pg_catalog.setval({literal(lease)}, greatest(1, until)) from {self.ours("lease")} where id = 1;
end"""),
            f"create or replace function {self.ours('fits')}(source regclass, events regclass, names text[]) "
            f"returns boolean language plpgsql immutable as {literal(_FITS)}",
            f"revoke all on function {self.ours('fits')}(regclass, regclass, text[]) from public",
            *([f"create sequence if not exists {self.ours(TELLING)}"] if self.notifies else []),
        ]

    def _function(self, what: str, body: str) -> str:
        # Nobody needs a right on the function for its trigger to fire. The event table is named by its oid: see `fits`.
        create = (
            f"create or replace function {self.function(what)}() returns trigger language plpgsql security definer "
            f"as {literal(body)}"
        )
        return _do(f"""
begin
  execute replace({literal(create)}, {literal(_EVENTS_OID)}, {literal(self.events)}::regclass::oid::text);
  revoke all on function {self.function(what)}() from public;
end""")

    @property
    def index_name(self) -> str:
        return self.capture.event_table.replace("events_", "xids_", 1)

    def bodies(self, shape: TableShape) -> dict[str, str]:
        """The trigger functions, one for each trigger: telling operations apart inside one would cost each of them."""
        facts = self.facts(shape)
        return {what: marks.marked(body, [what, *facts]) for what, body in self._bodies(shape).items()}

    def facts(self, shape: TableShape) -> list[object]:
        """All that decides what a function must note; see `marks`. Not the columns' types, which may be widened."""
        return [shape.identity, self.capture.id, self.capture.version, self.capture.columns]

    def _bodies(self, shape: TableShape) -> dict[str, str]:
        columns = shape.pick(self.capture.columns)
        names = ", ".join(self.quote(column.name) for column in columns)
        return {
            "i": self._body(shape, "I", f"(select {names} from after)"),
            "u": self._body(
                shape,
                "U",
                f"(select {names} from after union all select {names} from before where {self._moved(columns)})",
            ),
            "d": self._body(shape, "D", f"(select {names} from before)"),
            "t": self._body(shape, "T", ""),
        }

    def _moved(self, columns: Sequence[Column]) -> str:
        """Did an UPDATE change a captured column of any row? Then the old values are noted too.

        Exact, whatever the order of the two tables (it is the same, so arrays are compared in one pass). Above so many
        rows the old ones are noted without a look: an array ends at a gigabyte, and an error here is the writer's.
        A row trigger with `when (old.k is distinct from new.k)` costs no less, and with it the table's owner could no
        longer change the type of the column nor drop it.
        """
        differs = " or ".join(
            f"array(select {each} from before) operator(pg_catalog.<>) array(select {each} from after)"
            for each in (_exact(self.quote(column.name), column) for column in columns)
        )
        most = _COMPARED if all(column.type.kind in _SHORT for column in columns) else _LONG_COMPARED
        return f"case when exists (select from after offset {most}) then true else {differs} end"

    def _body(self, shape: TableShape, op: str, source: str) -> str:
        """Note what happened, if the lease lasts; say so, if the table is not what it was."""
        indexes = range(len(self.capture.columns))
        columns = ", ".join(f"k{i}" for i in indexes)
        picked = f"pg_catalog.pg_current_xact_id(), pg_catalog.statement_timestamp(), {self.capture.version}, '{op}'"
        into = "xid, at, version, op"
        if source:
            into += f", {columns}"
            picked += f"{''.join(f', e.k{i}' for i in indexes)} from {source} e ({columns})"
        names = _text_array([column.name for column in shape.pick(self.capture.columns)])
        captures = self.ours("captures")
        now = "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"
        # Behind the pulse, which a reader that lies down looks at once more after it has asked to be told. The same for
        # each of a transaction's statements, so that it is sent once.
        notify = f"""
        if pg_catalog.pg_sequence_last_value({literal(self.ours(TELLING))}::pg_catalog.regclass)
            operator(pg_catalog.>) {now} then
          perform pg_catalog.pg_notify({literal(self.schema)}, '');
        end if;"""
        return f"""
declare
  ignored pg_catalog.int8;
begin
  if {self.ours("fits")}('{shape.identity}'::pg_catalog.regclass, '{_EVENTS_OID}'::pg_catalog.regclass, {names}) then
    if pg_catalog.pg_sequence_last_value({literal(self.ours(LEASE))}::pg_catalog.regclass)
        operator(pg_catalog.>) {now} then
      insert into {self.events} ({into}) select {picked};
      if found then
        ignored := pg_catalog.setval({literal(self.ours(PULSE))}::pg_catalog.regclass,
          pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8);{notify if self.notifies else ""}
      end if;
    end if;
  else
    begin
      update {captures} set broken = pg_catalog.concat('seen ', pg_catalog.clock_timestamp())
        where id {_IS} (select c.id from {captures} c
          where c.id {_IS} {literal(self.capture.id)} and c.broken {_IS} '' for update skip locked);
    exception when others then
      null;
    end;
  end if;
  return null;
end"""

    def wanted(self) -> dict[str, tuple[str, str]]:
        """Each trigger by its name, as CREATE TRIGGER has it between the name and the table, and after the table.

        Its argument, which the function does not read, is a mark of all that: so a trigger that is not as it should
        be is told from one that is.
        """
        old, new = "old table as before", "new table as after"
        made = {
            "i": ("after insert on", f"referencing {new} for each statement"),
            "u": ("after update on", f"referencing {old} {new} for each statement"),
            "d": ("after delete on", f"referencing {old} for each statement"),
            "t": ("after truncate on", "for each statement"),
        }
        return {
            self.trigger(what): (when, f"{how} execute function {self.function(what)}({literal(_mark(when + how))})")
            for what, (when, how) in made.items()
        }

    def triggers(self) -> str:
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
            for name, parts in self.wanted().items()
        )
        return _do(f"""
declare
  member record;
  there bool;
  replaceable text := case when current_setting('server_version_num')::int < 140000 then '' else 'or replace ' end;
begin
  for member in {self.members()} loop{steps}
  end loop;
end""")

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
        """The functions take their triggers along, also from tables that are not ours: each of these is locked."""
        functions = ", ".join(f"{self.function(what)}()" for what in _TRIGGERS)
        return [
            Statement(f"drop function if exists {functions} cascade", locks=self.label),
            Statement(f"drop table if exists {self.events}", locks=self.events_label),
        ]

    # -- what is there -----------------------------------------------------------------------------------------------

    def state(self, session: Session, shape: TableShape | None) -> CaptureState:
        """What is there, compared with what `create` would make."""
        events = session.row("select cast(cast(to_regclass(:events) as oid) as bigint)", events=self.events)[0]
        found = session.rows(
            "select p.proname, p.prosrc from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
            "where n.nspname = :schema and p.proname = any (cast(:functions as name[]))",
            schema=self.schema,
            functions=[self.function_name(what) for what in _TRIGGERS],
        )
        if events is None and not found:
            return CaptureState(installed=False)
        problems = tuple(self._problems(session, shape, events, dict(found)))
        outdated = tuple(self._outdated(shape, events, dict(found))) if shape is not None and events is not None else ()
        return CaptureState(events is not None and bool(found), problems, outdated)

    def _outdated(self, shape: TableShape, events: int, functions: Mapping[str, str]) -> Iterable[str]:
        if any(shape.column(name) is None for name in self.capture.columns):
            return
        for what, body in self.bodies(shape).items():
            there = functions.get(self.function_name(what), "")
            if there != body.replace(_EVENTS_OID, str(events)) and self._whole(what, there, shape, events):
                yield f"another version, or another wakeUp, made the trigger function {self.function_name(what)}"

    def _whole(self, what: str, there: str, shape: TableShape, events: int) -> bool:
        named = there.replace(f"'{events}'::pg_catalog.regclass", f"'{_EVENTS_OID}'::pg_catalog.regclass")
        return marks.whole(named, [what, *self.facts(shape)])

    def _problems(
        self, session: Session, shape: TableShape | None, events: int | None, functions: Mapping[str, str]
    ) -> Iterable[str]:
        if events is None:
            yield "the event table is gone"
        if shape is None:
            return
        try:
            bodies = self.bodies(shape)
        except KeyError as missing:
            yield f"the captured column {missing} is gone"
            return
        for what, body in bodies.items():
            expected = body.replace(_EVENTS_OID, str(events))
            there = functions.get(self.function_name(what))
            if there is None:
                yield f"the trigger function {self.function_name(what)} is gone"
            elif there != expected and events is not None and not self._whole(what, there, shape, events):
                yield f"the trigger function {self.function_name(what)} is not what it should be"
        followed = session.row(
            f"select coalesce(pg_sequence_last_value(to_regclass(:lease)), 0) >= l.until from {self.ours('lease')} l",
            lease=self.ours(LEASE),
        )
        if followed is not None and not followed[0]:
            yield "the lease does not reach the triggers"
        if events is not None:
            columns = session.rows(
                "select a.attname from pg_attribute a "
                "where a.attrelid = cast(:events as regclass) and a.attnum > 0 and not a.attisdropped",
                events=self.events,
            )
            for i, column in enumerate(shape.pick(self.capture.columns)):
                if (f"k{i}",) not in columns:
                    yield f"the event table lacks the column for {column.name}"
            if not session.row("select to_regclass(:index)", index=self.ours(self.index_name))[0]:
                yield "the event table's index is gone"
        wanted = self.wanted()
        found = session.rows(
            "select m.name, t.tgname, t.tgenabled in ('O', 'A'), t.tgargs, "
            "(select p.proname from pg_proc p where p.oid = t.tgfoid) "
            f"from ({verbatim(self.members())}) m "
            "left join pg_trigger t on t.tgrelid = m.oid and t.tgname = any (cast(:names as name[]))",
            names=list(wanted),
        )
        members: dict[str, dict[str, tuple[bool, bool]]] = {}
        for member, name, enabled, mark, calls in found:
            triggers = members.setdefault(member, {})
            if name is not None:
                right = calls == self.function_name(name[-1]) and mark.hex() in _mark_bytes(wanted[name])
                triggers[name] = (enabled, right)
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


# Insert, update, delete, truncate.
_TRIGGERS = "iudt"

_SHORT = {Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.INTERVAL, Kind.UUID}
_COMPARED, _LONG_COMPARED = 1_000_000, 200_000
"""Rows of which an array is made at most: of 16 bytes at most, so that it is a few megabytes, and of any."""

# Would a statement run that notes the columns `names` of `source` in k0, k1, … of `events`?
#
# Declared immutable, which it is not, for the sake of when it is asked: with constants of type regclass, PostgreSQL
# answers it once, when it plans the expression in a trigger, and plans again after any change to one of the two tables.
# So a renamed column is noticed before the next write is noted, and a write pays nothing. The dynamic statement is
# parsed against the catalog as it is now, whatever the caller's snapshot. A handler in the trigger itself would cost
# every statement a subtransaction with an id of its own, and more than 64 of those in one transaction slow down
# everybody's snapshots.
_FITS = """
begin
  execute pg_catalog.concat('select from (select ', (select pg_catalog.string_agg(
      pg_catalog.concat('coalesce(a.', pg_catalog.quote_ident(n.name), ', e.k', n.i operator(pg_catalog.-) 1, ')'),
      ', ')
    from pg_catalog.unnest(names) with ordinality n(name, i)),
    ' from ', source, ' a, ', events, ' e where false) p');
  return true;
exception when others then
  return false;
end"""


def literal(text: str) -> str:
    """A string constant; ours are never read with backslash escapes, whatever the server's settings."""
    return "'" + text.replace("'", "''") + "'"


def _do(block: str) -> str:
    return f"do {literal(block)}"


def _text_array(texts: Sequence[str]) -> str:
    quoted = ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    return f"{literal('{' + quoted + '}')}::pg_catalog.text[]"


def _mark(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:10]


def _mark_bytes(parts: tuple[str, str]) -> str:
    """The trigger's argument as pg_trigger holds it."""
    mark = parts[1].rpartition("('")[2].removesuffix("')")
    return f"'\\x{mark.encode().hex()}00'::bytea"


def _event_column(column: Column) -> str:
    collation = f" collate {column.collation}" if column.collation else ""
    return types.event_type(column.native) + collation


def _exact(name: str, column: Column) -> str:
    """What differs whenever the value does: some types have no equality, and some take different texts for equal."""
    if column.type.kind in (Kind.JSON, Kind.OTHER):
        return f"{name}::pg_catalog.text"
    return f'{name}::pg_catalog.text collate pg_catalog."C"' if column.type.kind is Kind.TEXT else name
