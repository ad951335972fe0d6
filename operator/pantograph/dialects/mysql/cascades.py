"""Foreign keys that carry a delete or an update on, inside the engine, where no trigger of the child fires.

A table that cascades end in has triggers on the tables that they begin in: before a row of such a table goes or changes
its key, a cursor finds the rows that will go or change with it, any number of tables further, and their keys are noted.
Why before, why a cursor, what the reading locks: docs/decisions/mariadb-capture.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pantograph.dialects.mysql.variants import Loop
from pantograph.model import names
from pantograph.model.changes import Capture
from pantograph.model.tables import Reference, TableShape

Quote = Callable[[str], str]
Table = tuple[str, str]
Changed = tuple[tuple[str, str], ...]
"""Columns of a row that an update reaches, and SQL for what they will be."""

Insert = Callable[[str, Sequence[Sequence[str]]], str]


ACTIONS = ("CASCADE", "SET NULL")
"""What InnoDB carries on; it knows no SET DEFAULT."""

EVENTS = {"d": "delete", "u": "update"}


@dataclass(frozen=True, slots=True)
class _Lock:
    """letter: of the aliases. A table under one alias is opened for the strongest of the uses of that alias."""

    letter: str
    sql: str


# What the cascade locks a moment later, so that nobody puts a row below one that is going, and two deletes that share a
# child do not both hold what the other wants. A plain read would see the transaction's snapshot, the cascade does not.
_EXCLUSIVE = _Lock("t", " for update")
# Where the application's statement uses the table itself, the server refuses the other one.
_SHARED = _Lock("s", " lock in share mode")
_IN_USE = 1442


@dataclass(frozen=True, slots=True)
class Way:
    """The foreign keys that lead from one table down to the captured one. changed: None where the row at the end goes.
    first: columns of the first table without whose change nothing of it happens; empty for a delete."""

    references: tuple[Reference, ...]
    changed: Changed | None
    first: tuple[str, ...] = ()


@dataclass(slots=True)
class _Walk:
    """One search for ways, and the cycles that it did not follow a second time."""

    what: str
    ways: list[Way] = field(default_factory=list)
    cycles: set[tuple[Table, ...]] = field(default_factory=set)


class Cascades:
    """What of one table's capture stands on other tables."""

    def __init__(self, capture: Capture, shape: TableShape, database: str, quote: Quote) -> None:
        self.capture, self.database, self.quote = capture, database, quote
        self.child: Table = (capture.schema, capture.table)
        self.closed = {one.table: one for one in shape.closed}
        self.below: dict[Table, list[Reference]] = {}
        for reference in shape.upstream:
            self.below.setdefault(reference.parent, []).append(reference)
        self.found = {(table, what): self._walk(table, what) for table in self.below for what in EVENTS}

    # -- ways --------------------------------------------------------------------------------------------------------

    def _walk(self, start: Table, what: str) -> _Walk:
        walk = _Walk(what)
        referenced = {column for reference in self.below[start] for column in reference.parent_columns}
        changed = None if what == "d" else tuple((column, f"new.{self.quote(column)}") for column in sorted(referenced))
        self._down(walk, start, (), changed, (start,) if what == "d" else (), (start,) if what == "u" else ())
        return walk

    def _down(
        self,
        walk: _Walk,
        table: Table,
        path: tuple[Reference, ...],
        changed: Changed | None,
        gone: tuple[Table, ...],
        touched: tuple[Table, ...],
    ) -> None:
        """Follow all that goes on from `table`. gone, touched: tables on the path whose rows were deleted, updated."""
        for reference in self.below.get(table, []):
            goes_on, after = _carried(reference, changed)
            itself = reference.table == table
            if not goes_on:
                continue
            if after is None and reference.table in gone and not (itself and not path):
                # What points at its own table is followed to the end by each step into that one.
                if not itself:
                    walk.cycles.add(gone[gone.index(reference.table) :])
                    self._arrive(walk, (*path, reference), after)
                continue
            if after is not None and reference.table in touched:
                continue  # the engine refuses to update a table twice in one cascade
            here = (*path, reference)
            self._arrive(walk, here, after)
            more_gone = (*gone, reference.table) if after is None else gone
            more_touched = touched if after is None else (*touched, reference.table)
            self._down(walk, reference.table, here, after, more_gone, more_touched)

    def _arrive(self, walk: _Walk, path: tuple[Reference, ...], changed: Changed | None) -> None:
        if path[-1].table == self.child:
            walk.ways.append(Way(path, changed, path[0].parent_columns if walk.what == "u" else ()))

    def ways(self, table: Table, what: str) -> list[Way]:
        """From `table` down, as far as we may read what lies between."""
        walk = self.found.get((table, what))
        return [way for way in walk.ways if not self._unreadable(way)] if walk else []

    def _unreadable(self, way: Way) -> list[Table]:
        between = [reference.table for reference in way.references[:-1]]
        return [table for table in between if table in self.closed and not self.closed[table].readable]

    # -- what is said ------------------------------------------------------------------------------------------------

    def gaps(self) -> Iterator[str]:
        """What is not noted all the same, a sentence each."""
        name = self.capture.table
        shut: dict[Table, list[str]] = {}
        for (table, what), walk in self.found.items():
            for way in walk.ways:
                for one in ([table] if table in self.closed else []) + self._unreadable(way):
                    shut.setdefault(one, [])
                    if EVENTS[what] not in shut[one]:
                        shut[one].append(EVENTS[what])
        for table, whats in shut.items():
            yield (
                f"what a foreign key carries on from {_label(table)} to {name} ({' and '.join(sorted(whats))}) "
                f"fires no trigger, and we may put none on {_label(table)}: {self.closed[table].grant}"
            )
        ways = [way for walk in self.found.values() for way in walk.ways]
        loose = {each.name for way in ways for each in way.references if not each.to_key}
        itself = {each.table for way in ways for each in way.references if each.table == each.parent}
        # An insert locks the entry of a unique key that it points at, which nobody holds yet; and the application's
        # statement uses the table that points at itself, where we may only share a lock with the insert.
        reasons = [f"{name} does not point at a primary key" for name in sorted(loose)]
        reasons += [f"{_label(table)} points at itself" for table in sorted(itself)]
        if reasons:
            yield (
                f"at READ COMMITTED or below, a row that another transaction puts under one in the instant in which a "
                f"foreign key takes that one along ({'; '.join(reasons)})"
            )
        cycles = {cycle for walk in self.found.values() for cycle in walk.cycles}
        for cycle in sorted(cycles, key=repr):
            tables = " -> ".join(_label(table) for table in (*cycle, cycle[0]))
            yield f"deletes that foreign keys carry on in a circle ({tables}) are noted in {name} for the first round"

    # -- triggers ----------------------------------------------------------------------------------------------------

    @staticmethod
    def pattern(capture: Capture) -> str:
        """LIKE for the names of all of a capture's."""
        return f"pantograph_b%_{capture.id}_%".replace("_", "\\_")

    def name(self, table: Table, what: str) -> str:
        """The bare name of the trigger on `table`; it is in that table's database."""
        schema, bare = table
        return names.ours(f"pantograph_b{what}_{self.capture.id}", bare, f"{schema or self.database}\0{bare}", 64)

    def wanted(self) -> dict[tuple[str, str], tuple[Table, str]]:
        """Table and event of each trigger that is needed, by database and name."""
        return {
            (table[0] or self.database, self.name(table, what)): (table, what)
            for table, what in self.found
            if table not in self.closed and self.ways(table, what)
        }

    def action(self, table: Table, what: str, body: str) -> str:
        """The trigger from its event on."""
        return f"before {EVENTS[what]} on {self._table(table)} for each row {body}"

    def notes(self, table: Table, what: str, insert: Insert, loop: Loop) -> str:
        """The statements that note what a change of `table` will take. insert: of rows of values, under a letter."""
        ways = self.ways(table, what)
        shared = self._all(ways, dict.fromkeys(ways, _SHARED), insert, loop)
        # A table that points at itself is in use by the application's statement.
        locks = {way: _SHARED if any(each.table == table for each in way.references) else _EXCLUSIVE for way in ways}
        if _EXCLUSIVE not in locks.values():
            return shared
        exclusive = self._all(ways, locks, insert, loop)
        return f"begin declare exit handler for {_IN_USE} begin {shared}; end; {exclusive}; end"

    def _all(self, ways: Sequence[Way], locks: Mapping[Way, _Lock], insert: Insert, loop: Loop) -> str:
        parts = []
        for first, several in itertools.groupby(ways, key=lambda way: way.references[0]):
            group = list(several)
            loops = "; ".join(self._loop(way, locks[way], insert, loop) for way in group)
            lock = _SHARED if _SHARED in (locks[way] for way in group) else _EXCLUSIVE
            alias = f"{lock.letter}0"
            # Most parents have no children, and a cursor costs ten times as much as a look.
            any_row = (
                f"exists (select 1 from {self._entered(first, alias)} "
                f"where {' and '.join(self._joined(first, alias, 'old'))}{lock.sql})"
            )
            part = f"if {any_row} then {loops}; end if"
            if group[0].first:
                part = f"if {self._differs(group[0].first)} then {part}; end if"
            parts.append(part)
        return "; ".join(parts)

    def _loop(self, way: Way, lock: _Lock, insert: Insert, loop: Loop) -> str:
        count = range(len(self.capture.columns))
        rows = [[loop.value(i) for i in count]]
        changed = dict(way.changed or ())
        news = {i: changed[c] for i, c in enumerate(self.capture.columns) if c in changed}
        if news:
            rows.append([news.get(i, loop.value(i)) for i in count])
        # VALUES, one row at a time: an INSERT … SELECT would keep the AUTO-INC lock to the end of the application's
        # statement, and so hold up who writes the children of another parent.
        noted = insert("U" if way.changed is not None else "D", rows)
        return loop.over(self._select(way, lock), noted)

    def condition(self, table: Table, what: str) -> str:
        """When there may be anything to note; "" for always."""
        if what == "d":
            return ""
        return self._differs(sorted({column for way in self.ways(table, what) for column in way.first}))

    def _differs(self, columns: Sequence[str]) -> str:
        quoted = [self.quote(column) for column in columns]
        return " or ".join(f"not (cast(old.{column} as binary) <=> cast(new.{column} as binary))" for column in quoted)

    def _table(self, table: Table) -> str:
        schema, bare = table
        return f"{self.quote(schema or self.database)}.{self.quote(bare)}"

    def _select(self, way: Way, lock: _Lock) -> str:
        """The rows at the end of a way. Each table is entered by its foreign key's index and by nothing else: what is
        read is locked, as the cascade is about to, and reading a small table whole would lock all of it."""
        letter = lock.letter
        circles: list[str] = []
        tables: list[str] = []
        conditions: list[str] = []
        at = "old"
        for n, reference in enumerate(way.references, 1):
            tables.append(self._entered(reference, f"{letter}{n}"))
            conditions += self._joined(reference, f"{letter}{n}", at)
            at = f"{letter}{n}"
            again = self._again(way, n)
            if again:
                circle = self._circle(way, n, again, tables, conditions, lock)
                circles.append(f"r{n} as ({circle})")
                tables, conditions, at = [f"r{n}"], [], f"r{n}"
        locked = lock.sql if at.startswith(letter) else ""
        recursive = f"with recursive {', '.join(circles)} " if circles else ""
        where = f" where {' and '.join(conditions)}" if conditions else ""
        columns = ", ".join(f"{at}.{self.quote(c)} as k{i}" for i, c in enumerate(self.capture.columns))
        return f"{recursive}select {columns} from {' straight_join '.join(tables)}{where}{locked}"

    def _entered(self, reference: Reference, alias: str) -> str:
        return f"{self._table(reference.table)} {alias} force index ({self.quote(reference.index)})"

    def _joined(self, reference: Reference, alias: str, above: str) -> list[str]:
        pairs = zip(reference.columns, reference.parent_columns, strict=True)
        return [f"{alias}.{self.quote(column)} = {above}.{self.quote(parent)}" for column, parent in pairs]

    def _again(self, way: Way, n: int) -> list[Reference]:
        """Foreign keys by which rows that go at this step take further rows of the same table along."""
        table = way.references[n - 1].table
        if way.first or any(each.on_delete != "CASCADE" for each in way.references[:n]):
            return []  # they do not go, they change
        return [each for each in self.below.get(table, []) if each.table == table and each.on_delete == "CASCADE"]

    def _circle(
        self,
        way: Way,
        n: int,
        again: Sequence[Reference],
        tables: Sequence[str],
        conditions: Sequence[str],
        lock: _Lock,
    ) -> str:
        carried = {column for each in again for column in each.parent_columns}
        carried |= set(way.references[n].parent_columns) if n < len(way.references) else set(self.capture.columns)
        columns = [self.quote(column) for column in sorted(carried)]
        further = f"{lock.letter}x"

        def picked(alias: str) -> str:
            return ", ".join(f"{alias}.{column}" for column in columns)

        parts = [
            f"(select {picked(f'{lock.letter}{n}')} from {' straight_join '.join(tables)} "
            f"where {' and '.join(conditions)}{lock.sql})"
        ]
        parts += [
            f"(select {picked(further)} from r{n} straight_join {self._entered(each, further)} "
            f"on {' and '.join(self._joined(each, further, f'r{n}'))}{lock.sql})"
            for each in again
        ]
        return " union ".join(parts)


def _carried(reference: Reference, changed: Changed | None) -> tuple[bool, Changed | None]:
    """Does anything become of the row below, and what: None when it goes, its changed columns when not."""
    nulls = tuple((column, "null") for column in reference.columns)
    if changed is None:
        return reference.on_delete in ACTIONS, None if reference.on_delete == "CASCADE" else nulls
    after = dict(changed)
    pairs = [pair for pair in zip(reference.columns, reference.parent_columns, strict=True) if pair[1] in after]
    if reference.on_update == "CASCADE":
        return bool(pairs), tuple((column, after[parent]) for column, parent in pairs)
    return bool(pairs) and reference.on_update == "SET NULL", nulls


def _label(table: Table) -> str:
    return ".".join(filter(None, table))
