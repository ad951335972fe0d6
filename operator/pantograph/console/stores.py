"""The seam under the pages: where objects come from, what is known of them, and who carries out what a person asks.

A store acts with the rights of one person and never more. Everything raises `PantographError` with a text for that
person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pantograph.api.base import Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.model.tables import TableShape

State = Literal["bad", "busy", "ok", "off", "unknown"]
"""Needs a person; on its way; as it should be; stands still because somebody said so; nobody knows yet."""
ACTS = ("pause", "resume", "resync", "retry", "verify", "allow")


class Nobody(Exception):
    """Whoever sent a request is not known; the message says what to do."""


class NotThere(LookupError):
    """The object is not there, or not there for this person."""


@dataclass(frozen=True)
class Standing:
    """How one object stands: in a word, in a sentence, and its status as far as it is known."""

    resource: Resource
    state: State = "unknown"
    word: str = "Unknown"
    message: str = ""


@dataclass(frozen=True)
class Figures:
    """Numbers of one Reflection now. Counters only grow; None is what nobody knows.

    lag: seconds. rate: rows a second of late, where whoever moves them says that. written, events: since the process
    began. peaks: the lag just before each turn's commit, their sum and how many there were: what a look every two
    seconds would not see. swept, estimated: rows of the copy under way; held: rows that it would delete and does not.
    waiting: rows whose parents are missing.
    """

    lag: float | None = None
    rate: float | None = None
    written: int | None = None
    deleted: int | None = None
    events: int | None = None
    peaks: tuple[float, int] = (0.0, 0)
    pending: int | None = None
    copying: bool = False
    swept: int = 0
    estimated: int = 0
    held: int = 0
    waiting: int | None = None
    dead_letters: int | None = None
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def percent(self) -> int | None:
        """Of the copy or sweep under way, by estimate; 100 is for what is done."""
        return min(99, self.swept * 100 // self.estimated) if self.copying and self.estimated else None


@dataclass(frozen=True)
class Happened:
    """Something that happened. at: seconds since the epoch; about: the Reflection (`namespace/name`), or "".

    times: how often by now, where the same comes again and again; the first time was at `since`.
    """

    at: float
    what: str
    detail: str = ""
    about: str = ""
    bad: bool = False
    times: int = 1
    since: float = 0.0


@dataclass(frozen=True)
class Letters:
    """Rows that are noted for one reason. No key is among it: those are shown in the destination's own table alone.

    since, last: seconds since the epoch; next_try: the same, None when they are not tried again by themselves.
    """

    kind: str
    reason: str
    count: int
    attempts: int
    since: float
    last: float
    next_try: float | None


@dataclass(frozen=True)
class Noted:
    """What is noted of a Reflection, and the statement with which the destination's own users see the keys."""

    letters: Sequence[Letters]
    statement: str


@dataclass(frozen=True)
class Compared:
    """A comparison: under way, or what it found. state "" before there was one."""

    state: Literal["", "running", "equal", "differs", "failed"] = ""
    text: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Offer:
    """A table of a Database. taken: the SourceTable that it is already, or ""."""

    schema: str
    table: str
    taken: str = ""


@dataclass(frozen=True)
class Looked:
    """A table as it is. schema: "" where it need not be said. key_columns: what to say where it has no primary key."""

    shape: TableShape
    schema: str
    key_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """What is wrong, and at which field (`spec.where`); path "" for the object as a whole."""

    message: str
    path: str = ""


@dataclass(frozen=True)
class Change:
    """What a person wants: a Reflection, and its SourceTable when that is new. before: the Reflection as it is now.

    raw: the Reflection as it is to be written, with what the form does not show.
    """

    reflection: Reflection
    raw: Mapping[str, Any]
    source_table: SourceTable | None = None
    before: Reflection | None = None


@dataclass(frozen=True)
class Login:
    """A Secret that is to be made with a Database, with the keys `username` and `password`."""

    secret: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Setting:
    """A Database or a SourceTable as a person wants it. raw, before: as in `Change`. login: only of a new Database."""

    wanted: Database | SourceTable
    raw: Mapping[str, Any]
    before: Database | SourceTable | None = None
    login: Login | None = None


@dataclass(frozen=True)
class Plan:
    """What would be done, as SQL with comments, and what stands in the way."""

    sql: str = ""
    changes: int = 0
    problems: tuple[Problem, ...] = ()


class Store(Protocol):
    """Everything that the pages need."""

    place: str
    """Where the objects are, for a person: `mirror/`, `cluster west`."""
    refuses: str
    """Why nothing can be changed here; "" when it can."""
    wrong_means: str
    """What follows from what is wrong."""
    token: str
    """What only the person it acts for and we know, and every replica of ours: their token. "" where they sent none."""
    person: str
    """The name of the person it acts for, where a proxy says it; "" for others."""

    def objects(self) -> Manifests:
        """All objects that this person may see."""

    def wrong(self) -> Sequence[str]:
        """What is wrong with the objects as a whole, a line each: a file that cannot be read."""

    def standings(self) -> Mapping[tuple[str, tuple[str, str]], Standing]:
        """How all of them stand, by kind and key. Answers at once, with what is known."""

    def figures(self) -> Mapping[str, Figures]:
        """Numbers by Reflection (`namespace/name`). Answers at once."""

    def happened(self) -> Sequence[Happened]:
        """What happened of late, the newest first."""

    def noted(self, reflection: Reflection) -> Noted:
        """Rows that wait, or were set aside. Asks the destination."""

    def raw(self, resource: Resource) -> Mapping[str, Any]:
        """The object as it is written: without defaults, with all that no form shows."""

    def tables(self, database: Database) -> Sequence[Offer]:
        """The tables that a Database really has. Asks it."""

    def table(self, database: Database, schema: str, table: str) -> Looked:
        """One of them. Raises `SpecError` when nothing tells its rows apart."""

    def plan(self, change: Change) -> Plan:
        """What would be done, and every problem with it. Asks the databases, changes nothing."""

    def apply(self, change: Change) -> str:
        """Do it; where it is now. Raises `SpecErrors`."""

    def tried(self, setting: Setting) -> Plan:
        """What is wrong with it, and whether a Database can be opened so. Changes nothing."""

    def put(self, setting: Setting) -> str:
        """Write it; where it is now. Raises `SpecErrors`."""

    def act(self, reflection: Reflection, act: str, count: int = 0) -> str:
        """Do one of `ACTS`; what was done, in a sentence. count: of rows whose deletion is allowed."""

    def compared(self, reflection: Reflection) -> Compared:
        """How the comparison is that was asked for last."""

    def delete(self, reflection: Reflection, *, table: bool) -> str:
        """Take a Reflection away, and with it (table) its SourceTable; what was done. The copied rows stay."""

    def drop(self, one: Database | SourceTable) -> str:
        """Take away what nothing names; what was done."""


Stores = Callable[[Mapping[str, str], str], Store]
"""The store of whoever sent a request, by its headers (names in lower case; what came under one name more than once, in
lines) and the address it came from. Raises `Nobody`."""
