"""A Reflection worked out against the tables it joins: all that reading and writing need, and no connection."""

from __future__ import annotations

from dataclasses import dataclass

from pantograph.model.changes import Capture
from pantograph.model.tables import Reference
from pantograph.model.types import LogicalType


@dataclass(frozen=True, slots=True)
class Mapped:
    """One destination column and where its value comes from.

    expression: SQL of the source, with its names quoted. native types are what the plan saw on either side.
    constant: what a column that a manifest fills with a value holds in every row, as text; None for all others.
    system: what Pantograph knows of the change (`sourceTime`, …), which is written when a row changes and is never a
    reason to write it.
    """

    destination: str
    expression: str
    source_type: LogicalType
    source_native: str
    destination_type: LogicalType
    destination_native: str
    nullable: bool = True
    constant: str | None = None
    system: str = ""


@dataclass(frozen=True, slots=True)
class CascadedChild:
    """A table whose rows a delete takes or changes, by way of the foreign keys of `path` (nearest first).

    owner and name say which Reflection writes it, "" when none does; key and key_types are its key's destination
    columns.
    """

    path: tuple[Reference, ...]
    owner: str = ""
    name: str = ""
    key: tuple[str, ...] = ()
    key_types: tuple[LogicalType, ...] = ()


@dataclass(frozen=True, slots=True)
class Mirror:
    """One Reflection, ready to move rows.

    name: `namespace/name`. id: a short hash of it, for names of temporary tables. columns: the key's first; rows travel
    as `(present, *columns)`. where: SQL of the source or "", which leaves one source row for each key.
    lookup: which of the captured columns find a row, in the order of `columns`; those of `capture.key` unless given.
    constants: how many columns of the key, behind those, hold a constant. cursor: the columns of `capture.key`, where
    rows are found by others.
    missing_row, on_delete: what the manifest says; soft_delete: the column that `Mark` sets.
    statement, delete_statement: SQL of the destination in place of the upsert and the delete, or "".
    fingerprint: of the source table as the plan saw it; a turn that finds another one throws its rows away.
    other_uniques: the destination has unique keys beside the one that rows are found by; uniques: their columns, as far
    as they are columns.
    others: the destination has columns that this Reflection does not write; they go with a row that is deleted.
    ring: those of `references` that lead back to this table, by way of tables that are copied too, or at once.
    dead_letters: a row that the destination refuses is set aside, and its Reflection goes on (`onError: DeadLetter`).
    keeps: rows that were there before us stay (`existing: Keep`).
    references: the destination's foreign keys that leave this table; referenced_by: those that point at it.
    """

    name: str
    id: str
    stream: str
    capture: Capture
    source: tuple[str, str]
    destination: tuple[str, str]
    columns: tuple[Mapped, ...]
    where: str = ""
    other_uniques: bool = False
    fingerprint: str = ""
    references: tuple[Reference, ...] = ()
    referenced_by: tuple[Reference, ...] = ()
    cascades: tuple[CascadedChild, ...] = ()
    accepts_cascades: bool = False
    missing_row: str = "Insert"
    on_delete: str = "Delete"
    soft_delete: str = ""
    statement: str = ""
    delete_statement: str = ""
    lookup: tuple[int, ...] = ()
    constants: int = 0
    cursor: tuple[Mapped, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    others: bool = False
    dead_letters: bool = False
    keeps: bool = False
    ring: tuple[Reference, ...] = ()

    @property
    def looked_up(self) -> tuple[Mapped, ...]:
        """The columns that find a row at both ends, and whose values events note."""
        return self.columns[: len(self.lookup) or len(self.capture.key)]

    @property
    def key(self) -> tuple[Mapped, ...]:
        """The columns that find a destination row: those that are looked up, and constants."""
        return self.columns[: len(self.looked_up) + self.constants]

    @property
    def data(self) -> tuple[Mapped, ...]:
        """The columns beside the key."""
        return self.columns[len(self.key) :]

    @property
    def walked(self) -> tuple[Mapped, ...]:
        """The source's key, in whose order a sweep goes."""
        return self.cursor or self.looked_up
