"""Tables as they are: columns, keys, references, and what tells one table from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pantograph.model.types import LogicalType


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `native` is its type as the engine prints it, with modifiers and collation where they matter.

    `generated`: computed by the database (nothing may be written to it). `identity`: numbered by the database unless a
    value is given. rest: of its definition, what a statement that gives it another type must repeat. required: may not
    be null, and the database has nothing to put there by itself.
    """

    name: str
    type: LogicalType
    native: str
    nullable: bool = True
    generated: bool = False
    identity: bool = False
    collation: str = ""
    rest: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: `columns` of `table` point at `parent_columns` of `parent`. Tables are (schema, name).

    index: of `table`, by which the engine finds the rows that point; "" where nobody needs to know. to_key:
    parent_columns are the parent's primary key, or begin it; only told together with `index`.
    """

    name: str
    table: tuple[str, str]
    columns: tuple[str, ...]
    parent: tuple[str, str]
    parent_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    deferrable: bool = False
    index: str = ""
    to_key: bool = True


@dataclass(frozen=True, slots=True)
class Closed:
    """A table on which we may put no trigger. readable: we may read it. grant: the statement that would open it."""

    table: tuple[str, str]
    readable: bool
    grant: str


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table as its database describes it now.

    schema is "" where the engine has none. key: primary key columns in key order, empty without one. uniques: column
    sets that are unique and not null or not, without the primary key, each with its index's name first.
    references: foreign keys that leave this table. referenced_by: those that point at it. upstream: where a cascade
    fires no trigger, all foreign keys by which one may come to this table, from however far; closed: the tables that
    those point at and we may not watch; cautions: what goes unnoted by the server's settings, a sentence each.
    identity: what tells this table from another one of the same name (an oid, a creation time).
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    uniques: tuple[tuple[str, tuple[str, ...]], ...] = ()
    references: tuple[Reference, ...] = ()
    referenced_by: tuple[Reference, ...] = ()
    upstream: tuple[Reference, ...] = ()
    closed: tuple[Closed, ...] = ()
    cautions: tuple[str, ...] = ()
    identity: str = ""
    partitioned: bool = False
    triggers: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`schema.name` as people write it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def pick(self, names: Sequence[str]) -> tuple[Column, ...]:
        """The columns of those names, in that order; KeyError names one that is not there."""
        by_name = {column.name: column for column in self.columns}
        return tuple(by_name[name] for name in names)
