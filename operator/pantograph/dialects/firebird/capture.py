"""Capture by a row trigger, rendered: the event table, and what triggers read and draw from.

Why the lease and the events' numbers are sequences: docs/decisions/firebird-capture.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from pantograph.dialects import marks
from pantograph.dialects.base import CaptureState, Session, Statement
from pantograph.dialects.firebird import types
from pantograph.dialects.firebird.identifiers import LONGEST, folded, text
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.tables import Column, TableShape

LEASE, NUMBERS, TROUBLE = "until", "events", "trouble"
"""The sequence that holds the lease's end; the one that numbers all events; the table of what triggers could not do."""

EPOCH = "timestamp '1970-01-01 00:00:00'"
"""In the session's time zone, which is that of the server in Firebird 3 and UTC in ours of later ones."""
_EPOCH_UTC = "timestamp '1970-01-01 00:00:00 UTC'"
AFTER_ANY = 114
"""RDB$TRIGGER_TYPE of AFTER INSERT OR UPDATE OR DELETE."""

Name = Callable[[str], str]


def unless(condition: str, statement: str) -> str:
    """DDL that is only run unless the condition holds; the server knows no IF NOT EXISTS."""
    return f"execute block as begin if (not ({condition})) then execute statement {text(statement)}; end"


def exists(what: str, column: str, name: str) -> str:
    """A condition: the catalog holds an object of this (bare) name."""
    return f"exists (select 1 from {what} where {column} = {text(name)})"


def relation_exists(name: str) -> str:
    return exists("rdb$relations", "rdb$relation_name", name)


class Rendering:
    """The SQL of one capture. prefix: what the names of all our objects begin with."""

    def __init__(self, capture: Capture, prefix: str, quote: Name, ours: Name, *, notifies: bool = False) -> None:
        self.capture, self.prefix, self.quote, self.ours, self.notifies = capture, prefix, quote, ours, notifies

    @property
    def events(self) -> str:
        return self.ours(self.capture.event_table)

    def bare(self, name: str) -> str:
        """As the catalog has it."""
        return folded(f"{self.prefix}_{name}")

    @property
    def trigger_name(self) -> str:
        return names.ours(f"{self.prefix}_t", self.capture.table, self.capture.id, LONGEST)

    @property
    def trigger(self) -> str:
        return self.quote(self.trigger_name)

    @property
    def label(self) -> str:
        return self.capture.table

    def columns(self, shape: TableShape) -> list[str]:
        return [f"k{i} {types.event_type(column)}" for i, column in enumerate(shape.pick(self.capture.columns))]

    def create(self, shape: TableShape) -> list[Statement]:
        listed = ", ".join(self.columns(shape))
        bare = self.bare(self.capture.event_table)
        index = self.quote(names.ours(f"{self.prefix}_x", self.capture.table, self.capture.id, LONGEST))
        trigger, trigger_made = self.trigger, self.replace(shape).sql
        # Nothing can be granted to a trigger that is not there, and while one lacks a grant every write fails.
        begun = unless(
            exists("rdb$triggers", "rdb$trigger_name", folded(self.trigger_name)),
            f"create trigger {trigger} for {self.quote(self.capture.table)} inactive after insert or update or delete "
            "as begin end",
        )
        statements = [
            unless(
                relation_exists(bare),
                f"create table {self.events} (id bigint not null primary key, x bigint not null, op char(1) not null, "
                f"version integer not null, noted timestamp not null, {listed})",
            ),
            unless(
                exists("rdb$indices", "rdb$relation_name", bare) + " and exists (select 1 from rdb$indices "
                f"where rdb$relation_name = {text(bare)} and coalesce(rdb$unique_flag, 0) = 0)",
                f"create index {index} on {self.events} (x)",
            ),
        ]
        # Columns that came later; those that are there stay.
        for i, column in list(enumerate(self.columns(shape)))[len(self.capture.key) :]:
            there = f"exists (select 1 from rdb$relation_fields where rdb$relation_name = {text(bare)} "
            there += f"and rdb$field_name = 'K{i}')"
            statements.append(unless(there, f"alter table {self.events} add {column}"))
        statements += [
            f"delete from {self.ours(TROUBLE)} where capture = {text(self.capture.id)}",
            begun,
            f"grant insert on {self.events} to trigger {trigger}",
            f"grant select, insert on {self.ours(TROUBLE)} to trigger {trigger}",
            f"grant usage on sequence {self.ours(NUMBERS)} to trigger {trigger}",
            f"grant usage on sequence {self.ours(LEASE)} to trigger {trigger}",
            trigger_made,
            # Waits, by its lock, for the transactions that may not know the trigger (`inspection.in_the_way`).
            "execute block as begin end",
        ]
        locking = (begun, trigger_made, "execute block as begin end")
        return [Statement(sql, self.label if sql in locking else "") for sql in statements]

    def action(self, shape: TableShape, *, zones: bool) -> str:
        """The trigger from its event on."""
        return f"active after insert or update or delete position 32000 {self.body(shape, zones=zones)}"

    def body(self, shape: TableShape, *, zones: bool) -> str:
        """What the trigger does; zones: in a server that has time zones, where each session chooses its own and the
        clock must be read by none of them."""
        epoch = _EPOCH_UTC if zones else EPOCH
        moment = (
            f"dateadd(millisecond, datediff(millisecond from {epoch} to current_timestamp), {EPOCH})"
            if zones
            else "current_timestamp"
        )
        columns = shape.pick(self.capture.columns)
        changed = " or ".join(
            types.differs(f"old.{self.quote(c.name)}", f"new.{self.quote(c.name)}", c.native) for c in columns
        )
        trouble, capture = self.ours(TROUBLE), text(self.capture.id)
        post = f"post_event {text(self.prefix)}; " if self.notifies else ""
        # The mark is written once, and what stands in the way of the mark is let go too.
        mark = (
            f"begin if (not exists (select 1 from {trouble} where capture = {capture})) then "
            f"insert into {trouble} (capture, since) values ({capture}, {moment}); when any do begin end end"
        )
        sql = (
            f"as begin if (gen_id({self.ours(LEASE)}, 0) > datediff(second from {epoch} to current_timestamp)) then "
            f"begin if (deleting) then {self._insert('D', columns, 'old', moment)}; "
            f"else begin {self._insert('U', columns, 'new', moment)}; "
            f"if (updating and ({changed})) then {self._insert('U', columns, 'old', moment)}; end "
            f"{post}"
            f"when any do {mark} end end"
        )
        return marks.marked(sql, self.facts, after="as begin ")

    @property
    def facts(self) -> list[object]:
        """All that decides what the trigger must note; see `marks`. Not the columns' types, which may be widened."""
        return [self.capture.id, self.capture.version, self.capture.columns]

    def replace(self, shape: TableShape) -> Statement:
        """The trigger, in one step: no write meets none."""
        made = f"create or alter trigger {self.trigger} for {self.quote(self.capture.table)}"
        without, with_ = (text(f"{made} {self.action(shape, zones=zones)}") for zones in (False, True))
        sql = (
            "execute block as begin if (rdb$get_context('SYSTEM', 'ENGINE_VERSION') starting with '3.') then "
            f"execute statement {without}; else execute statement {with_}; end"
        )
        return Statement(sql, self.label)

    def _insert(self, op: str, columns: Sequence[Column], row: str, moment: str) -> str:
        listed = ", ".join(f"k{i}" for i in range(len(columns)))
        values = ", ".join(f"{row}.{self.quote(c.name)}" for c in columns)
        return (
            f"insert into {self.events} (id, x, op, version, noted, {listed}) values (gen_id({self.ours(NUMBERS)}, 1), "
            f"current_transaction, '{op}', {self.capture.version}, {moment}, {values})"
        )

    def remove(self) -> list[Statement]:
        trigger = exists("rdb$triggers", "rdb$trigger_name", folded(self.trigger_name))
        events = relation_exists(self.bare(self.capture.event_table))
        return [
            Statement(unless(f"not {trigger}", f"drop trigger {self.trigger}"), self.label),
            Statement(unless(f"not {events}", f"drop table {self.events}")),
        ]

    def state(self, session: Session, shape: TableShape | None) -> CaptureState:
        trigger = session.row(
            "select trim(rdb$relation_name), rdb$trigger_type, coalesce(rdb$trigger_inactive, 0), rdb$trigger_source "
            "from rdb$triggers where rdb$trigger_name = :name",
            name=folded(self.trigger_name),
        )
        events = {
            row[0]
            for row in session.rows(
                "select trim(rdb$field_name) from rdb$relation_fields where rdb$relation_name = :name",
                name=self.bare(self.capture.event_table),
            )
        }
        if trigger is None and not events:
            return CaptureState(False)
        zones = session.raw.zones
        outdated = trigger is not None and shape is not None and self._made_by_another(trigger[3], shape, zones)
        return CaptureState(
            True,
            tuple(self._problems(session, shape, trigger, events)),
            ("another version, or another wakeUp, made the trigger",) if outdated else (),
        )

    def _made_by_another(self, body: str, shape: TableShape, zones: bool) -> bool:
        if any(shape.column(name) is None for name in self.capture.columns):
            return False
        return _normal(body) != _normal(self.body(shape, zones=zones)) and marks.whole(body, self.facts)

    def _problems(
        self, session: Session, shape: TableShape | None, trigger: tuple[str, int, int, str] | None, events: set[str]
    ) -> Iterable[str]:
        zones = session.raw.zones
        if not events:
            yield f"the event table {self.capture.event_table} is missing"
        if shape is None:
            yield f"the table {self.capture.table} is missing"
            return
        missing = [name for name in self.capture.columns if shape.column(name) is None]
        if missing:
            yield f"the captured column {missing[0]} is missing"
            return
        for i, name in enumerate(self.capture.columns):
            if events and f"K{i}" not in events:
                yield f"the event table has no column that takes {name}"
        if trigger is None:
            yield "the trigger is missing"
        elif trigger[2]:
            yield "the trigger is inactive"
        elif (trigger[0], trigger[1]) != (folded(self.capture.table), AFTER_ANY) or (
            _normal(trigger[3]) != _normal(self.body(shape, zones=zones))
            and not self._made_by_another(trigger[3], shape, zones)
        ):
            yield "the trigger is not the one that was planned"
        trouble = session.row(
            f"select first 1 since from {self.ours(TROUBLE)} where capture = :id order by since", id=self.capture.id
        )
        if trouble:
            where = "UTC" if zones else "the server's time"
            yield f"a trigger could not note a change since {trouble[0]} ({where})"


def _normal(body: str) -> str:
    return re.sub(r"\s+", " ", body).strip()


def home(prefix: str, ours: Name) -> list[str]:
    """The sequences, and the table of troubles."""
    made = []
    for sequence in (NUMBERS, LEASE):
        there = exists("rdb$generators", "rdb$generator_name", folded(f"{prefix}_{sequence}"))
        made.append(unless(there, f"create sequence {ours(sequence)}"))
    there = relation_exists(folded(f"{prefix}_{TROUBLE}"))
    return [*made, unless(there, f"create table {ours(TROUBLE)} (capture varchar(32) not null, since timestamp)")]


STAGE = "s"
"""What the names of stages go on with behind the prefix."""


def leave_home(prefix: str, ours: Name) -> list[str]:
    """Takes away what `home` made, and the definitions of stages."""
    trouble = folded(f"{prefix}_{TROUBLE}")
    stages = text(folded(f"{prefix}_{STAGE}_"))
    statements = [
        "execute block as declare name varchar(31); begin for select trim(rdb$relation_name) from rdb$relations "
        f"where rdb$relation_type in (4, 5) and rdb$relation_name starting with {stages} into :name do "
        "execute statement 'drop table \"' || name || '\"'; end",
        unless(f"not {relation_exists(trouble)}", f"drop table {ours(TROUBLE)}"),
    ]
    for sequence in (NUMBERS, LEASE):
        there = exists("rdb$generators", "rdb$generator_name", folded(f"{prefix}_{sequence}"))
        statements.append(unless(f"not {there}", f"drop sequence {ours(sequence)}"))
    return statements


BLIND_SPOTS = (
    "a connection that keeps a statement on this table which it prepared before the trigger was made goes on without "
    "it until it prepares another one on the table: let pools that keep prepared statements connect anew after the "
    "first installation",
    "gbak -restore and sessions that turn triggers off (ALTER TRIGGER … INACTIVE): seen at the next look",
    "while the table is captured the server refuses to drop or rename a captured column, and says which trigger needs "
    "it",
)
"""What no trigger sees, and what a trigger stands in the way of."""
