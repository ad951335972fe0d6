"""Capture by row triggers, rendered: the event table, the lease that triggers read, and what no trigger sees.

Why a trigger inserts by VALUES: docs/decisions/mariadb-capture.md. What the two engines say differently: `variants`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence

from pantograph import errors
from pantograph.dialects import marks
from pantograph.dialects.base import CaptureState, Session, Statement, verbatim
from pantograph.dialects.mysql import cascades as cascading
from pantograph.dialects.mysql import inspection, types
from pantograph.dialects.mysql.cascades import Cascades
from pantograph.dialects.mysql.variants import NOW, REALLY_NOW, Name, Variant
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.tables import Column, TableShape

Quote = Callable[[str], str]
_Triggers = dict[tuple[str, str], tuple[str, ...]]
"""By database and name: table, event, timing and text."""

TROUBLE = "trouble"
"""When a trigger could not do its work: a row from the first transaction that met it."""

# Errors of the trigger's own work that must not fail the application's write: the event table, one of its columns or
# the lease is gone; a captured column was renamed; a right of ours was taken away; a value is wider than the widest;
# an index by which a child's rows were found is gone.
# Not deadlocks and lock timeouts: they have rolled back more than the trigger's statement.
_SURVIVED = (1054, 1142, 1143, 1146, 1176, 1264, 1292, 1366, 1406, 1136, 1364, 4091)

EVENTS = {"i": "insert", "u": "update", "d": "delete"}


class Rendering:
    """The SQL of one capture."""

    def __init__(
        self, capture: Capture, home: str, database: str, quote: Quote, variant: Variant, catalog: inspection.Catalog
    ) -> None:
        self.capture, self.home, self.quote, self.variant, self.catalog = capture, home, quote, variant, catalog
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

    def spare(self, what: str) -> str:
        """A second one of the same, while it is replaced. Named like what stands on tables above, so that one which was
        left is found and taken away."""
        name = names.ours(f"pantograph_bs{what}_{self.capture.id}", self.capture.table, self.capture.id, 64)
        return f"{self.quote(self.database)}.{self.quote(name)}"

    def types(self, shape: TableShape) -> list[str]:
        return [types.event_type(column, self.variant.exact) for column in shape.pick(self.capture.columns)]

    @property
    def label(self) -> str:
        return ".".join(filter(None, (self.capture.schema, self.capture.table)))

    def create(self, shape: TableShape) -> list[Statement]:
        refuse_engine(shape)
        columns = [f"k{i} {type_}" for i, type_ in enumerate(self.types(shape))]
        statements = [
            Statement(
                f"create table if not exists {self.events} (id bigint unsigned not null auto_increment primary key, "
                "op char(1) character set ascii not null, version int not null, at datetime(6) not null, "
                f"conn bigint unsigned not null, {', '.join(columns)}) engine = InnoDB"
            ),
            # Columns that came later; those that are there stay.
            *(
                Statement(sql)
                for column in columns[len(self.capture.key) :]
                for sql in self.variant.widened(self.home, self.capture.event_table, self.events, column)
            ),
            Statement(f"delete from {self.ours(TROUBLE)} where capture = '{self.capture.id}'"),
        ]
        for what in EVENTS:
            made = self.variant.trigger(self.trigger(what), self.action(what, shape))
            statements += [Statement(sql, self.label) for sql in made]
        cascades = self.cascades(shape)
        for (schema, name), (table, what) in cascades.wanted().items():
            action = cascades.action(table, what, self.cascade_body(cascades, shape, table, what))
            made = self.variant.trigger(f"{self.quote(schema)}.{self.quote(name)}", action)
            statements += [Statement(sql, ".".join(filter(None, table))) for sql in made]
        return statements

    def replace(self, shape: TableShape) -> list[Statement]:
        """Each of the table's own triggers, so that no write meets none of them."""
        return [
            Statement(sql, self.label)
            for what in EVENTS
            for sql in self.variant.replaced(self.trigger(what), self.spare(what), self.action(what, shape))
        ]

    def facts(self, what: str) -> list[object]:
        """All that decides what a trigger must note; see `marks`. Not the columns' types, which may be widened."""
        return [what, self.capture.id, self.capture.version, self.capture.columns]

    def cascades(self, shape: TableShape) -> Cascades:
        return Cascades(self.capture, shape, self.database, self.quote)

    def action(self, what: str, shape: TableShape) -> str:
        """The trigger from its event on."""
        return f"after {EVENTS[what]} on {self.table} for each row {self.body(what, shape)}"

    def body(self, what: str, shape: TableShape) -> str:
        columns = shape.pick(self.capture.columns)
        note = noted = self._insert(what.upper(), columns, ["old" if what == "d" else "new"])
        quick = self.variant.leased(self.ours)
        if what == "u":
            same = " and ".join(
                types.same(f"old.{self.quote(c.name)}", f"new.{self.quote(c.name)}", c.type) for c in columns
            )
            note = f"if {same} then {noted}; else {self._insert('U', columns, ['old', 'new'])}; end if"
            quick += f" and {same}"
        # One condition and one statement for nearly every row: each more takes a twentieth of what a trigger takes.
        sql = f"begin {self._survives('continue')} if {quick} then {noted}; else {self._leased(note)} end if; end"
        return marks.marked(sql, self.facts(what), after="begin ")

    def cascade_body(self, cascades: Cascades, shape: TableShape, table: tuple[str, str], what: str) -> str:
        """What a trigger on a table above does."""
        noted = self._leased(cascades.notes(table, what, self._values, self.variant.loop(self.types(shape))))
        condition = cascades.condition(table, what)
        if condition:
            noted = f"if {condition} then {noted} end if;"
        # EXIT: after a cursor that did not open, going on would fail at its first row.
        return f"begin {self._survives('exit')} {noted} end"

    def _leased(self, statements: str) -> str:
        """The statements, in a trigger that has a lease; it looks for one where none is remembered, which is so for all
        who have set their session's clock ahead."""
        variant = self.variant
        return (
            f"if ifnull({variant.remembered(self.ours)}, 0) <= {NOW} then {variant.look(self.ours)}; end if; "
            f"if {variant.leased(self.ours)} or {variant.leased(self.ours, REALLY_NOW)} then {statements}; end if;"
        )

    def _survives(self, kind: str) -> str:
        survived = ", ".join(map(str, _SURVIVED))
        # The mark is written once: a plain look comes first, so that writers do not meet at a row, and what stands in
        # the way of the mark itself is let go too.
        return (
            f"declare {kind} handler for {survived} "
            "begin declare continue handler for sqlexception begin end; "
            f"if not exists (select 1 from {self.ours(TROUBLE)} where capture = '{self.capture.id}') then "
            f"insert into {self.ours(TROUBLE)} (capture, at) values ('{self.capture.id}', utc_timestamp()); "
            "end if; end;"
        )

    def _insert(self, op: str, columns: Iterable[Column], rows: list[str]) -> str:
        names_ = [column.name for column in columns]
        return self._values(op, [[f"{row}.{self.quote(name)}" for name in names_] for row in rows])

    def _values(self, op: str, rows: Sequence[Sequence[str]]) -> str:
        listed = ", ".join(f"k{i}" for i in range(len(self.capture.columns)))
        # VALUES, never SELECT: an INSERT … SELECT keeps the AUTO-INC lock to the end of the application's statement.
        values = ", ".join(
            f"('{op}', {self.capture.version}, utc_timestamp(6), connection_id(), {', '.join(row)})" for row in rows
        )
        return f"insert into {self.events} (op, version, at, conn, {listed}) values {values}"

    def remove(self) -> list[Statement]:
        dropped = [Statement(f"drop trigger if exists {self.trigger(what)}", self.label) for what in EVENTS]
        return [*dropped, Statement(f"drop table if exists {self.events}")]

    def state(self, session: Session, shape: TableShape | None) -> CaptureState:
        events = session.rows(
            "select column_name, column_type from information_schema.columns "
            "where table_schema = :schema and table_name = :table",
            schema=self.home, table=self.capture.event_table,
        )  # fmt: skip
        if shape is not None:
            # Another table above may have got a foreign key; nothing in the shape that was seen before tells.
            here = (self.capture.schema, self.capture.table)
            above, closed = inspection.upstream(session, here, self.database, self.catalog)
            shape = dataclasses.replace(shape, upstream=above, closed=closed)
        found = self._triggers(session, shape)
        if not found and not events:
            return CaptureState(False)
        own = {(self.database, self.trigger_name(what)): what for what in EVENTS}
        there = {name: found.pop((schema, name)) for schema, name in own if (schema, name) in found}
        problems = [*self._problems(session, shape, there, dict(events)), *self._beside(session, shape, found)]
        return CaptureState(True, tuple(problems), tuple(self._outdated(shape, there)))

    def _outdated(self, shape: TableShape | None, there: dict[str, tuple[str, ...]]) -> Iterable[str]:
        for what, event in EVENTS.items():
            found = there.get(self.trigger_name(what))
            if shape is not None and found is not None and self._made_by_another(what, found[3], shape):
                yield f"another version made the trigger for {event}"

    def _made_by_another(self, what: str, body: str, shape: TableShape) -> bool:
        if any(shape.column(name) is None for name in self.capture.columns):
            return False
        return _normal(body) != _normal(self.body(what, shape)) and marks.whole(body, self.facts(what))

    def _triggers(self, session: Session, shape: TableShape | None) -> _Triggers:
        """All of this capture's, in the databases where some are needed now; in all, where the shape is not known."""
        sql = (
            "select trigger_schema, trigger_name, event_object_table, event_manipulation, action_timing, "
            "action_statement from information_schema.triggers "
            "where (trigger_name in (:i, :u, :d) or trigger_name like :beside)"
        )
        params = {what: self.trigger_name(what) for what in EVENTS} | {"beside": Cascades.pattern(self.capture)}
        if shape is None:
            rows = session.rows(sql, **params)
        else:
            schemas = dict.fromkeys([self.database, *(schema for schema, _ in self.cascades(shape).wanted())])
            sql += " and trigger_schema = :schema"
            rows = [row for schema in schemas for row in session.rows(sql, **params, schema=schema)]
        found = {(row[0], row[1]): tuple(row[2:]) for row in rows}
        if shape is None or not self.variant.garbles_backticks or not self._has_backticks(shape):
            return found
        return {place: (*row[:3], self._as_sent(session, place)) for place, row in found.items()}

    def _has_backticks(self, shape: TableShape) -> bool:
        named = [self.database, self.capture.table, *self.capture.columns]
        for each in shape.upstream:
            named += [*each.table, *each.parent, *each.columns, *each.parent_columns, each.index]
        return any("`" in name for name in named)

    def _as_sent(self, session: Session, place: tuple[str, str]) -> str:
        row = session.row(verbatim(f"show create trigger {self.quote(place[0])}.{self.quote(place[1])}"))
        return re.split(" for each row ", str(row[2]), maxsplit=1, flags=re.IGNORECASE)[1]

    def leftovers(self, session: Session, shape: TableShape | None) -> list[Statement]:
        """What takes away those that no foreign key needs."""
        needed = self.cascades(shape).wanted() if shape is not None else {}
        own = [self.trigger_name(what) for what in EVENTS]
        return [
            Statement(
                f"drop trigger if exists {self.quote(schema)}.{self.quote(name)}",
                f"{schema}.{table}" if schema != self.database or self.capture.schema else table,
            )
            for (schema, name), (table, *_) in sorted(self._triggers(session, shape).items())
            if (schema, name) not in needed and not (schema == self.database and name in own)
        ]

    def _beside(self, session: Session, shape: TableShape | None, beside: _Triggers) -> Iterable[str]:
        if shape is None or any(shape.column(name) is None for name in self.capture.columns):
            return  # that is said already
        cascades = self.cascades(shape)
        needed = cascades.wanted()
        for place, (table, what) in needed.items():
            label, event = ".".join(filter(None, table)), cascading.EVENTS[what]
            found = beside.get(place)
            if found is None:
                yield f"the trigger for {event} on {label}, from which a foreign key cascades, is missing"
                continue
            on, manipulation, timing, body = found
            planned = _normal(self.cascade_body(cascades, shape, table, what))
            if (on, manipulation, timing) != (table[1], event.upper(), "BEFORE") or _normal(body) != planned:
                yield f"the trigger for {event} on {label} is not the one that was planned"
            elif what == "u" and self._comes_after(session, place, table):
                # It may change the row once more, and what we noted would be the wrong key.
                yield f"a trigger before update on {label} fires after ours"
        for place in beside:
            if place not in needed:
                yield f"the trigger {'.'.join(place)} is of no use any more"

    def _comes_after(self, session: Session, place: tuple[str, str], table: tuple[str, str]) -> bool:
        order = [
            str(name)
            for (name,) in session.rows(
                "select trigger_name from information_schema.triggers where event_object_schema = :schema "
                "and event_object_table = :table and event_manipulation = 'UPDATE' and action_timing = 'BEFORE' "
                "order by action_order",
                schema=place[0], table=table[1],
            )
        ]  # fmt: skip
        return any(not name.startswith("pantograph_b") for name in order[order.index(place[1]) + 1 :])

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
        for i, (name, type_) in enumerate(zip(self.capture.columns, self.types(shape), strict=True)):
            found = events.get(f"k{i}")
            if events and (found is None or types.base_name(found) != types.base_name(type_)):
                yield f"the event table has no column that takes {name}"
        for what, event in EVENTS.items():
            found_trigger = there.get(self.trigger_name(what))
            if found_trigger is None:
                yield f"the trigger for {event} is missing"
                continue
            table, manipulation, timing, body = found_trigger
            expected = (self.capture.table, event.upper(), "AFTER")
            right = _normal(body) == _normal(self.body(what, shape)) or self._made_by_another(what, body, shape)
            if (table, manipulation, timing) != expected or not right:
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


def home(name: str, ours: Name, quote: Quote, variant: Variant) -> list[str]:
    """The database of our own, the lease that triggers read, and the table of troubles."""
    return [
        f"create database if not exists {quote(name)} character set utf8mb4 collate utf8mb4_bin",
        *variant.lease_home(ours),
        f"create table if not exists {ours(TROUBLE)} (id bigint unsigned not null auto_increment "
        "primary key, capture varchar(32) not null, at datetime not null, key (capture)) engine = InnoDB",
    ]


def blind_spots(shape: TableShape, *, names_of_ascii: bool = False) -> tuple[str, ...]:
    """What no trigger sees on a table of this family. names_of_ascii: only such tables have an identity."""
    spots = [
        "TRUNCATE fires no trigger; it is noticed by the table's new identity, where the PROCESS privilege is granted"
        + (", but not on a table whose name is not of ASCII" if names_of_ascii else ""),
        "a table that is swapped in under this name (RENAME, online schema changers) has no triggers of ours until the "
        "next look",
        "what replication replays row by row fires no trigger on a replica",
    ]
    partition = ["ALTER TABLE … EXCHANGE, DROP and TRUNCATE PARTITION fire no trigger"] if shape.partitioned else []
    return (*spots, *partition)
