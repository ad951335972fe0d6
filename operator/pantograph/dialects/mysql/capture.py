"""Capture by row triggers, rendered: the event table, the lease that triggers read, and what no trigger sees.

Why the lease is a sequence, and why a trigger inserts by VALUES: docs/decisions/mariadb-capture.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pantograph import errors
from pantograph.dialects.base import CaptureState, Session, Statement
from pantograph.dialects.mysql import types
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.tables import Column, TableShape

Quote = Callable[[str], str]

LEASE = "lease_until"
"""A sequence that the triggers read. Reading a table in a trigger would lock its row until the writer's transaction
ends, whatever the isolation, and each renewal would wait for every writer and hold up those behind it."""

TROUBLE = "trouble"
"""When a trigger could not do its work: a row from the first transaction that met it."""

# Errors of the trigger's own work that must not fail the application's write: the event table, one of its columns or
# the lease is gone; a captured column was renamed; a right of ours was taken away; a value is wider than the widest.
# Not deadlocks and lock timeouts: they have rolled back more than the trigger's statement.
_SURVIVED = (1054, 1142, 1143, 1146, 1264, 1292, 1366, 1406, 1136, 1364, 4091)

EVENTS = {"i": "insert", "u": "update", "d": "delete"}


class Rendering:
    """The SQL of one capture."""

    def __init__(self, capture: Capture, home: str, database: str, quote: Quote) -> None:
        self.capture, self.home, self.quote = capture, home, quote
        self.database = capture.schema or database

    def ours(self, name: str) -> str:
        return f"{self.quote(self.home)}.{self.quote(name)}"

    @property
    def events(self) -> str:
        return self.ours(self.capture.event_table)

    @property
    def table(self) -> str:
        return f"{self.quote(self.database)}.{self.quote(self.capture.table)}"

    def trigger_name(self, what: str) -> str:
        """The bare name of the trigger for inserts ("i"), updates ("u") or deletes ("d")."""
        return names.ours(f"pantograph_{what}", self.capture.table, self.capture.id, 64)

    def trigger(self, what: str) -> str:
        return f"{self.quote(self.database)}.{self.quote(self.trigger_name(what))}"

    def columns(self, shape: TableShape) -> list[str]:
        return [f"k{i} {types.event_type(column)}" for i, column in enumerate(shape.pick(self.capture.columns))]

    def create(self, shape: TableShape) -> list[Statement]:
        refuse_engine(shape)
        listed = ", ".join(self.columns(shape))
        statements = [
            Statement(
                f"create table if not exists {self.events} (id bigint unsigned not null auto_increment primary key, "
                "op char(1) character set ascii not null, version int not null, at datetime(6) not null, "
                f"conn bigint unsigned not null, {listed}) engine = InnoDB"
            ),
            # Columns that came later; those that are there stay.
            *(
                Statement(f"alter table {self.events} add column if not exists {column}")
                for column in self.columns(shape)[len(self.capture.key) :]
            ),
            Statement(f"delete from {self.ours(TROUBLE)} where capture = '{self.capture.id}'"),
        ]
        label = f"{self.capture.schema}.{self.capture.table}" if self.capture.schema else self.capture.table
        statements += [
            Statement(f"create or replace trigger {self.trigger(what)} {self.action(what, shape)}", label)
            for what in EVENTS
        ]
        return statements

    def action(self, what: str, shape: TableShape) -> str:
        """The trigger from its event on."""
        return f"after {EVENTS[what]} on {self.table} for each row {self.body(what, shape)}"

    def body(self, what: str, shape: TableShape) -> str:
        columns = shape.pick(self.capture.columns)
        noted = {"i": ["new"], "u": ["new"], "d": ["old"]}[what]
        insert = self._insert(what.upper(), columns, noted)
        if what == "u":
            changed = " or ".join(
                types.differs(f"old.{self.quote(c.name)}", f"new.{self.quote(c.name)}", c.type) for c in columns
            )
            both = self._insert("U", columns, ["old", "new"])
            insert = f"if {changed} then {both}; else {insert}; end if"
        survived = ", ".join(map(str, _SURVIVED))
        # The mark is written once: a plain look comes first, so that writers do not meet at a row, and what stands in
        # the way of the mark itself is let go too.
        mark = (
            "begin declare continue handler for sqlexception begin end; "
            f"if not exists (select 1 from {self.ours(TROUBLE)} where capture = '{self.capture.id}') then "
            f"insert into {self.ours(TROUBLE)} (capture, at) values ('{self.capture.id}', utc_timestamp()); "
            "end if; end"
        )
        return (
            f"begin declare continue handler for {survived} {mark}; "
            f"if unix_timestamp() < (select next_not_cached_value from {self.ours(LEASE)}) then {insert}; end if; end"
        )

    def _insert(self, op: str, columns: Iterable[Column], rows: list[str]) -> str:
        columns = list(columns)
        listed = ", ".join(f"k{i}" for i in range(len(columns)))
        # VALUES, never SELECT: an INSERT … SELECT keeps the AUTO-INC lock to the end of the application's statement.
        values = ", ".join(
            f"('{op}', {self.capture.version}, utc_timestamp(6), connection_id(), "
            f"{', '.join(f'{row}.{self.quote(c.name)}' for c in columns)})"
            for row in rows
        )
        return f"insert into {self.events} (op, version, at, conn, {listed}) values {values}"

    def remove(self) -> list[Statement]:
        label = f"{self.capture.schema}.{self.capture.table}" if self.capture.schema else self.capture.table
        dropped = [Statement(f"drop trigger if exists {self.trigger(what)}", label) for what in EVENTS]
        return [*dropped, Statement(f"drop table if exists {self.events}")]

    def state(self, session: Session, shape: TableShape | None) -> CaptureState:
        there = {
            row[0]: row[1:]
            for row in session.rows(
                "select trigger_name, event_object_table, event_manipulation, action_timing, action_statement, definer "
                "from information_schema.triggers where trigger_schema = :schema and trigger_name in (:i, :u, :d)",
                schema=self.database, **{what: self.trigger_name(what) for what in EVENTS},
            )
        }  # fmt: skip
        events = session.rows(
            "select column_name, column_type from information_schema.columns "
            "where table_schema = :schema and table_name = :table",
            schema=self.home, table=self.capture.event_table,
        )  # fmt: skip
        if not there and not events:
            return CaptureState(False)
        return CaptureState(True, tuple(self._problems(session, shape, there, dict(events))))

    def _problems(
        self, session: Session, shape: TableShape | None, there: dict[str, tuple[str, ...]], events: dict[str, str]
    ) -> Iterable[str]:
        if not events:
            yield f"the event table {self.capture.event_table} is missing"
        if shape is None:
            yield f"the table {self.capture.table} is missing"
            return
        missing = [name for name in self.capture.columns if shape.column(name) is None]
        if missing:
            yield f"the captured column {missing[0]} is missing"
            return
        for i, column in enumerate(shape.pick(self.capture.columns)):
            wanted = types.base_name(types.event_type(column))
            found = events.get(f"k{i}")
            if events and (found is None or types.base_name(found) != wanted):
                yield f"the event table has no column that takes {column.name}"
        for what, event in EVENTS.items():
            found_trigger = there.get(self.trigger_name(what))
            if found_trigger is None:
                yield f"the trigger for {event} is missing"
                continue
            table, manipulation, timing, body, _ = found_trigger
            expected = (self.capture.table, event.upper(), "AFTER")
            if (table, manipulation, timing) != expected or _normal(body) != _normal(self.body(what, shape)):
                yield f"the trigger for {event} is not the one that was planned"
        trouble = session.row(
            f"select at from {self.ours(TROUBLE)} where capture = :id order by id limit 1", id=self.capture.id
        )
        if trouble:
            yield f"a trigger could not note a change since {trouble[0]} UTC"


def _normal(body: str) -> str:
    return re.sub(r"\s+", " ", body).strip()


def refuse_engine(shape: TableShape) -> None:
    """Only InnoDB's tables are captured: a trigger's event would stay when another engine's row does not, or go."""
    engine = shape.identity.partition(":")[0]
    if engine.lower() != "innodb":
        raise errors.Refused(
            f"{shape.label} is a table of {engine}; only InnoDB tables can be captured: alter table … engine = InnoDB",
            reason="NotInnoDB",
            table=shape.name,
        )


def home(name: str, quote: Quote) -> list[str]:
    """The database of our own, the lease's sequence, and the table of troubles."""
    return [
        f"create database if not exists {quote(name)} character set utf8mb4 collate utf8mb4_bin",
        # NOCACHE: what is stored is what was set. It is only read and set, never drawn from.
        f"create sequence if not exists {quote(name)}.{quote(LEASE)} start with 1 minvalue 1 "
        "maxvalue 9223372036854775806 increment by 1 nocache nocycle engine = InnoDB",
        f"create table if not exists {quote(name)}.{quote(TROUBLE)} (id bigint unsigned not null auto_increment "
        f"primary key, capture varchar(32) not null, at datetime not null, key (capture)) engine = InnoDB",
    ]


def blind_spots(shape: TableShape) -> tuple[str, ...]:
    """What no trigger sees on a table of this family."""
    spots = [
        "TRUNCATE fires no trigger; it is noticed by the table's new identity, where the PROCESS privilege is granted",
        "a table that is swapped in under this name (RENAME, online schema changers) has no triggers of ours until the "
        "next look",
        "what replication replays row by row fires no trigger on a replica",
    ]
    taking = {
        reference.name for reference in shape.references if "CASCADE" in (reference.on_delete, reference.on_update)
    }
    taking |= {r.name for r in shape.references if "SET NULL" in (r.on_delete, r.on_update)}
    if taking:
        parents = sorted({reference.parent[1] for reference in shape.references if reference.name in taking})
        spots.append(
            f"deletes and updates that foreign keys carry on from {', '.join(parents)} to {shape.name} fire no trigger"
        )
    partition = ["ALTER TABLE … EXCHANGE, DROP and TRUNCATE PARTITION fire no trigger"] if shape.partitioned else []
    children = sorted(
        {
            reference.table[1]
            for reference in shape.referenced_by
            if {reference.on_delete, reference.on_update} & {"CASCADE", "SET NULL", "SET DEFAULT"}
        }
    )
    if children:
        spots.append(f"rows of {', '.join(children)} that a foreign key takes along fire no trigger there")
    return (*spots, *partition)
