"""What every engine has to answer, and the SQL that most of them share.

Engines differ in three ways, in this order: a *value* (`Features`), a *rendering* (a method that returns SQL text), a
*sequence* (a method that is handed a `Session` and sends more than one statement through it, always inside a step that
the pipeline has named). Where an engine renders nothing, the default raises, so a missing piece fails loudly.

What is not here: retries, batches' sizes, checkpoints, Kubernetes. Those are the same for every engine.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import functools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pantograph import errors
from pantograph.api.expressions import Expression
from pantograph.dialects.parameters import Style
from pantograph.model.changes import NOWHERE, Capture, Control, Pending, Position, Row, Window, refuse_newer
from pantograph.model.converters import Converter
from pantograph.model.mirrors import Mapped, Mirror
from pantograph.model.tables import Column, Reference, TableShape
from pantograph.model.types import Kind, LogicalType

if TYPE_CHECKING:
    import sqlalchemy as sa

Batches = Iterable[Sequence[Row]]

REFUSALS: Mapping[str, str] = {
    "unique": "a unique key has this value already",
    "foreign key": "a foreign key refuses it",
    "not null": "a column that may not be null got none",
    "check": "a check constraint refuses it",
    "length": "a value is too long for its column",
    "type": "a value does not fit its column's type",
}
"""What `errors.Rejected` says by its kind, where the engine's own text may quote a row."""


class Role(enum.Enum):
    """What a session is for; decides isolation and time limits."""

    READER = "reader"  # of windows and rows, one snapshot at a time, read only
    SIDE = "side"  # short statements at the source: polls, nonces, leases, purges
    WRITER = "writer"  # at the destination
    ADMIN = "admin"  # DDL, by the operator or `run`


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is and how to enter it. The password is never shown."""

    dialect: str
    host: str = ""
    port: int = 0
    database: str = ""
    path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    tls_mode: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    capture_schema: str = "pantograph"
    # Whether triggers say at the commit that they have noted something (`Dialect.listener`).
    notifies: bool = False

    @property
    def label(self) -> str:
        """What a person would call it in an error message: of one line, whatever is in a name."""
        said = self.path or f"{self.host}:{self.port or '?'}/{self.database}"
        return said if said.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in said)


@dataclass(frozen=True, slots=True)
class Features:
    """What an engine can and cannot do; read by code and by tests alike."""

    name_limit: int
    # Can a failed DDL script be rolled back as a whole?
    transactional_ddl: bool
    # Do all tables of a snapshot show one moment? (Promise 3 needs it.)
    consistent_snapshots: bool = True
    # Is TRUNCATE an event?
    captures_truncate: bool = False
    # Do a foreign key's cascades fire the children's triggers?
    cascades_fire_triggers: bool = True
    # May the catalog, read inside a snapshot, be older than the rows read in it? Then fingerprints are read elsewhere.
    catalog_in_snapshot: bool = False
    # Can constraints be deferred to the commit?
    deferrable_constraints: bool = False
    # Does a savepoint survive a constraint's error, so that a turn can go on?
    savepoints: bool = True
    # Does INSERT take several rows of VALUES?
    rows_of_values: bool = True
    # Is there exactly one writer at a time, so that our writes hold up the application's? (Then: one a minute at most.)
    single_writer: bool = False
    # Does a look whether there is anything new cost little? (Then: oftener.)
    cheap_look: bool = False
    # Is a fetch of many rows mostly waiting for the server? (Then: the next ones are fetched while some are worked on.)
    fetches_wait: bool = False
    # Can a running transaction miss a trigger that was installed after it began?
    late_triggers: bool = False
    # Does ALTER TABLE make a table look like another one (its identity changes, for the engine keeps none)?
    altered_is_another: bool = False
    # The least time a DDL statement can be made to wait for a lock, in seconds. 0: it does not wait at all.
    ddl_lock_wait: float = 0.1
    # Can its SQL compute what `Dialect.hashed` says? Rows are read and hashed by us where not.
    checksums: bool = True
    # Schemas within a database?
    schemas: bool = False
    # For a person: what installing capture locks, and what capture costs the application (docs/decisions measures).
    capture_lock: str = ""
    capture_cost: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """Who a server says it is.

    version: for people. place: the same for every name that leads to this database, and for no other database.
    life: changes when the server restarts, fails over or is restored; only compared for equality.
    """

    version: str
    place: str
    life: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a plan. locks: the table it must lock, `schema.table`, or "" when it waits for nobody."""

    sql: str
    locks: str = ""


@dataclass(frozen=True, slots=True)
class CaptureState:
    """What is there of a capture: nothing, all of it, or something that needs mending (said in `problems`).

    outdated: what is whole, and as another version of Pantograph made it."""

    installed: bool
    problems: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Everything that is written is noted."""
        return self.installed and not self.problems


class Session(Protocol):
    """A connection, as dialects see it (`database.sessions.Session` is the real one).

    SQL is text with `:name` parameters; `verbatim` protects text that is not ours. Every call must happen inside a
    named step; outside one it raises.
    """

    @property
    def raw(self) -> Any:
        """The driver's own connection."""
        ...

    def run(self, sql: str, /, **params: Any) -> int:
        """Execute; the number of rows it touched."""
        ...

    def rows(self, sql: str, /, **params: Any) -> list[Any]:
        """Execute and fetch all."""
        ...

    def row(self, sql: str, /, **params: Any) -> Any:
        """Execute and fetch the first row, or None."""
        ...

    def batches(self, sql: str, rows: int, size: int, /, **params: Any) -> Generator[list[Any], None, None]:
        """Execute and fetch in lists of at most `rows` rows and about `size` bytes, never holding all of them."""
        ...

    def direct(self, sql: str, params: Any = None) -> int:
        """Execute in the driver's own parameter style; nothing in the text is replaced when `params` is None."""
        ...

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """The driver's executemany, in its own parameter style."""
        ...

    def begin(self) -> None:
        """Begin a transaction that writes."""
        ...

    def commit(self) -> None:
        """Commit."""
        ...

    def using(self) -> contextlib.AbstractContextManager[Any]:
        """A driver's cursor for what nothing else covers (COPY); errors in the block become ours."""
        ...


def indexed(found: Iterable[Sequence[Any]]) -> list[tuple[str, ...]]:
    """Indexes from rows of (index, place, column or None for what is no plain column), in that order."""
    columns: dict[Any, list[str]] = {}
    ended = set()
    for index, _, column in found:
        if column is None:
            ended.add(index)
        elif index not in ended:
            columns.setdefault(index, []).append(column)
    return [tuple(names) for names in columns.values()]


def verbatim(sql: str) -> str:
    """`sql` so that `Session` finds no parameter of ours in it (`:x` in a user's literal stays what it is)."""
    return sql.replace(":", r"\:")


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows at the destination, ready to be applied.

    source: something that FROM takes, under the alias `s` (`"stage_x" as s`, `(values …) as s (…)`), with columns
    `present` and the mirror's destination columns. literal: `source` holds values, so a statement with it goes to the
    driver as it is (`Session.direct`).
    """

    source: str
    rows: int
    literal: bool = False
    # How many of them are present and absent, where somebody counted.
    present: int | None = None
    absent: int | None = None
    # Did they come in the order of the key?
    ordered: bool = False


class Counted:
    """The rows of batches one by one, counted while they pass: all of them, and those that are present."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self.rows = self.present = 0

    def __iter__(self) -> Iterator[Row]:
        for batch in self._batches:
            self.rows += len(batch)
            self.present += sum(1 for row in batch if row[0])
            yield from batch

    def staged(self, source: str) -> Staged:
        """What a stage holds once all have passed into it."""
        return Staged(source, self.rows, present=self.present, absent=self.rows - self.present)


@dataclass(frozen=True, slots=True)
class Numbering:
    """How a database numbers a column by itself. by: what does, for a person, and, where it has a name, for SQL.

    next: the number that the next row would get. step: 1, or what the sequence adds. settable: False where the database
    looks for the highest number by itself.
    """

    column: str
    by: str
    next: int
    step: int = 1
    settable: bool = True


@dataclass(frozen=True, slots=True)
class MetaTable:
    """One of our own tables, in types that every engine has: `text`, `name` (indexable text), `bigint`, `real`."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]


SOURCE_TABLES: tuple[MetaTable, ...] = (
    # One row, id 1. lease_until and nonce_at are seconds since the epoch by the source's clock. nonces is a JSON list,
    # oldest first. stamp: what proves that this very row was written here (PostgreSQL: its transaction's id).
    MetaTable(
        "control",
        (
            ("id", "bigint"),
            ("format", "bigint"),
            ("incarnation", "name"),
            ("owner", "text"),
            ("epoch", "bigint"),
            ("nonces", "text"),
            ("nonce_at", "real"),
            ("stamp", "text"),
        ),
        ("id",),
    ),
    # Apart from control, because every trigger reads it: it is as small as a table can be. One row, id 1.
    MetaTable("lease", (("id", "bigint"), ("until", "bigint")), ("id",)),
    # columns and key are JSON lists. purged: the dialect's mark of what retention has taken although somebody had not
    # read it. broken: when and how a trigger could not do its work, or "".
    MetaTable(
        "captures",
        (
            ("id", "name"),
            ("table_schema", "text"),
            ("table_name", "text"),
            ("table_identity", "text"),
            ("key_columns", "text"),
            ("captured_columns", "text"),
            ("event_table", "text"),
            ("version", "bigint"),
            ("purged", "text"),
            ("broken", "text"),
        ),
        ("id",),
    ),
    # Who still needs events: `position` is the oldest position that the owner might go back to, `nonce` the newest that
    # its checkpoint holds.
    MetaTable(
        "registrations",
        (
            ("owner", "name"),
            ("name", "name"),
            ("capture", "name"),
            ("position", "text"),
            ("nonce", "name"),
            ("seen_at", "real"),
        ),
        ("owner", "name"),
    ),
)


class WindowReader(abc.ABC):
    """Reads windows of one source for one stream (DESIGN "Windows"). One thread, one session; may remember.

    W1: every committed event is in a window. W2: a window holds every event that its snapshot sees and no earlier
    window held.
    """

    def __init__(self, dialect: Dialect, captures: Sequence[Capture]) -> None:
        self.dialect = dialect
        self.captures = {capture.id: capture for capture in captures}

    @abc.abstractmethod
    def token(self, side: Session) -> str:
        """A cheap look from outside any transaction: equal to the token before means that nothing new can have been
        committed since a window that was opened after that token was taken. May be called from another thread than
        the rest, so it keeps its own memory. Costs the server well below a millisecond also with 200 captures."""

    @abc.abstractmethod
    def open(self, session: Session, floors: Sequence[Position]) -> Position:
        """Begin ONE read-only snapshot on `session` and say how far it sees, for all captures.

        floors: every position that a window up to the result will begin from ("" for one that has none yet). The
        caller ends the transaction. The order of statements in here is what W1 stands on.
        """

    @abc.abstractmethod
    def pending(
        self, session: Session, since: Mapping[str, Position], until: Position, limit: int
    ) -> dict[str, tuple[Pending, float]]:
        """For each capture id of `since` that has events in its window: how many (counted up to `limit`), and the age
        in seconds, by the source's clock, of the oldest. Captures without events are absent. One statement, or few."""

    @abc.abstractmethod
    def keys(
        self,
        capture: Capture,
        window: Window,
        *,
        columns: Sequence[int] = (),
        after: int | None = None,
        limit: int | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """A SELECT (no parentheses) of the distinct `k0, k1, …` of the window's events, and its parameters.

        columns: which of the captured columns these are; the key's unless given. Where one of them is NULL there is no
        row to find.
        With `limit` (pages of a large window): only of the `limit` events with the least ids above `after`.
        Truncation events (`op = 'T'`) have no key and are left out.
        """

    @abc.abstractmethod
    def page_end(self, session: Session, capture: Capture, window: Window, after: int, limit: int) -> int | None:
        """The id of the last of those `limit` events; None when there are none."""

    @abc.abstractmethod
    def covers(self, position: Position, mark: str, capture: Capture, until: Position = NOWHERE) -> bool:
        """Has `position` read everything that `captures.purged` = `mark` says retention took? "" is always covered.

        until: a later snapshot, where one is known: what was still running then, nobody has taken.
        """

    @abc.abstractmethod
    def issued(self, session: Session, position: Position) -> bool:
        """Can this source, as it is now, have issued the position? False for one from its future."""

    @abc.abstractmethod
    def purge(self, session: Session, capture: Capture, floors: Sequence[Position], limit: int) -> int:
        """Delete up to `limit` events that every floor has read; how many. Never waits for a writer."""

    @abc.abstractmethod
    def expire(self, session: Session, capture: Capture, max_age: float, max_rows: int, limit: int) -> tuple[int, str]:
        """Delete up to `limit` events beyond retention, whoever needs them: how many, and the new `captures.purged`
        ("" when none was taken)."""

    @staticmethod
    def picked(capture: Capture, columns: Sequence[int]) -> list[tuple[str, str]]:
        """The event table's columns for `keys`, each with the name that it is selected as."""
        return [(f"k{column}", f"k{i}") for i, column in enumerate(columns or range(len(capture.key)))]

    def stored(self, position: Position, *, brief: bool = False) -> Position:
        """A position as a checkpoint keeps it: within 256 KiB, or 4 KiB where `brief`. It has read no event that
        `position` has not; who begins there may read some again."""
        return position

    @property
    def restless(self) -> bool:
        """May transactions that had noted something by the last `token` still commit it?"""
        return False

    def waits_for(self, position: Position) -> frozenset[str] | None:
        """Of the transactions that are open as far as the position knows, and may still bring events, a mark each: of
        the same one it is the same in every position. None where the engine does not tell."""
        return None

    def unresolved(self) -> tuple[int, float]:
        """How many events are known to have begun, and neither to have come nor to have been rolled back, and for how
        many seconds the oldest of them: for `OpenIdsUnresolved`. May be called from another thread."""
        return 0, 0.0

    def close(self) -> None:
        """Let go of what the reader holds beside its caller's session (a connection of its own); never raises."""


class Listener(abc.ABC):
    """Hears that a trigger has noted something and that it is committed. One thread, on a session of its own."""

    @abc.abstractmethod
    def wait(self, timeout: float) -> bool:
        """Until it hears something that it has not told yet, or so many seconds have passed; whether it did. Raises
        when the connection has ended, where that can be seen."""

    def close(self) -> None:
        """Hear no more; never raises."""


def lexicographic(names: Sequence[str], values: Sequence[str], strict: str, last: str) -> str:
    """`Dialect.beyond` (`>`, `>`) and `not_beyond` (`<`, `<=`) where rows are not compared as a whole, or no index
    would serve it."""
    parts = []
    for i in range(len(names)):
        equal = [f"{names[j]} = {values[j]}" for j in range(i)]
        operator = last if i == len(names) - 1 else strict
        parts.append(" and ".join([*equal, f"{names[i]} {operator} {values[i]}"]))
    if len(parts) == 1:
        return parts[0]
    # The first column alone is said apart, so that the index serves it whatever the optimizer makes of the rest.
    bound = f"{names[0]} {'>=' if strict == '>' else '<='} {values[0]}"
    return f"({bound} and ({' or '.join(f'({part})' for part in parts)}))"


class Dialect(abc.ABC):
    """One engine. An instance belongs to one database (its address says where our tables live) and has no state."""

    name: ClassVar[str]
    features: ClassVar[Features]
    driver: ClassVar[str]  # the distribution a user would install

    def __init__(self, address: Address) -> None:
        self.address = address

    # -- connections -------------------------------------------------------------------------------------------------

    # How the driver takes parameters.
    style: ClassVar[Style]

    @abc.abstractmethod
    def sa_dialect(self) -> sa.engine.Dialect:
        """SQLAlchemy's dialect, whose preparer quotes names."""

    @functools.cached_property
    def _preparer(self) -> sa.sql.compiler.IdentifierPreparer:
        return self.sa_dialect().identifier_preparer

    @abc.abstractmethod
    def connect(self, role: Role, timeout: float) -> Any:
        """A new driver connection, in autocommit (transactions are begun by statements), set up for the role: UTC,
        isolation, SQL mode, encoding, statement and lock time limits, `row_security = off`. Raises driver errors."""

    @abc.abstractmethod
    def translate(self, error: BaseException) -> errors.DatabaseError | None:
        """A driver's error as one of ours, without any row's value in its text; None for what is not the driver's."""

    def missing_at_source(self, session: Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        """GRANT statements that would let us capture and read these tables; none where the engine has no accounts."""
        return []

    def missing_at_destination(self, session: Session, tables: Sequence[tuple[str, str]]) -> list[str]:
        """GRANT statements that would let us write these tables, and make those that are missing."""
        return []

    def outlook(self, session: Session) -> list[str]:
        """What will stop us one day by the server's rules for our account, and what to do first; a sentence each."""
        return []

    @abc.abstractmethod
    def server(self, session: Session) -> Server:
        """Who is at the other end."""

    @abc.abstractmethod
    def check(self, session: Session, role: Role) -> None:
        """Raise `Refused`, by name, for what cannot be a source (READER, SIDE) or a destination (WRITER): a version
        below the oldest supported one, a read-only endpoint, a replica, a transaction-mode pooler, no WAL."""

    # Transactions. `open` of a WindowReader begins snapshots; this begins a write.
    begin_write: ClassVar[tuple[str, ...]] = ("begin",)

    # A short read beside the data (a comparison): no expression of a manifest can write in it.
    begin_read: ClassVar[tuple[str, ...]] = ("start transaction read only",)

    def begins(self, role: Role) -> Sequence[str]:
        """What begins a write in a session of this role, where that is not the same for all."""
        return self.begin_write

    def in_transaction(self, raw: Any) -> bool:
        """Is there anything to commit? Asked where the engine takes a COMMIT outside a transaction for an error."""
        return True

    def streaming_cursor(self, raw: Any) -> Any:
        """A cursor that fetches as it goes and never holds a whole result."""
        return raw.cursor()

    def roll_back(self, raw: Any) -> None:
        """End whatever transaction is open; harmless where none is."""
        raw.rollback()

    def savepoint(self, name: str) -> str:
        """Sets one, in the open transaction."""
        return f"savepoint {name}"

    def back_to_savepoint(self, name: str) -> str:
        """Undoes what was done since; the savepoint stays."""
        return f"rollback to savepoint {name}"

    def release_savepoint(self, name: str) -> str:
        """Forgets it; "" where they are not forgotten."""
        return f"release savepoint {name}"

    def no_image(self, session: Session) -> str:
        """Why rows that are read in this session, in one transaction, may be of more than one moment; "" where all are
        of one. Sends nothing."""
        return ""

    # -- names -------------------------------------------------------------------------------------------------------

    def quote(self, name: str) -> str:
        """An identifier, always quoted: a reserved word, a quote, a `%` in a name are only characters."""
        return self._preparer.quote_identifier(name)

    def table(self, schema: str, name: str) -> str:
        """A qualified, quoted table."""
        return f"{self.quote(schema)}.{self.quote(name)}" if schema else self.quote(name)

    @abc.abstractmethod
    def ours(self, name: str) -> str:
        """One of our own tables (`control`, an event table, `checkpoints`), qualified and quoted."""

    default_schema: ClassVar[str] = ""

    # -- inspection --------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def shape(self, session: Session, schema: str, table: str) -> TableShape | None:
        """The table as it is now (schema "" means the default one), or None when there is none."""

    def place(self, session: Session, schema: str, table: str) -> tuple[str, ...]:
        """Where a table is, or would be: the same for every name that leads to it, and for no other table."""
        return (self.server(session).place, schema or self.default_schema, table)

    @abc.abstractmethod
    def tables(self, session: Session, schema: str) -> list[str]:
        """Names of the user's ordinary tables in a schema, sorted; none of ours."""

    def schemas(self, session: Session) -> list[str]:
        """Schemas that hold tables of the user's, sorted; the default one alone where the engine has none."""
        return [self.default_schema]

    @abc.abstractmethod
    def fingerprints(self, session: Session, tables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """For each table that exists: a short text that changes whenever its columns (names, types, modifiers,
        collation), its identity or its stored form (a rewrite) changes. One cheap statement."""

    @abc.abstractmethod
    def estimated_rows(self, session: Session, schema: str, table: str) -> int:
        """About how many rows, from the engine's statistics where it has them; for progress bars."""

    @abc.abstractmethod
    def indexes(self, session: Session, schema: str, table: str) -> list[tuple[str, ...]]:
        """The columns of each index that covers all rows, in the index's order; the primary key's among them."""

    @abc.abstractmethod
    def in_the_way(self, session: Session, schema: str, table: str) -> str:
        """Who holds or waits for something that DDL on the table would queue behind, for a person ("session 4711 of
        shop_app, in a transaction for 32 s"); "" when nobody is seen."""

    @abc.abstractmethod
    def judge_expression(self, session: Session, expression: Expression, shape: TableShape) -> None:
        """Raise `SpecError` for what can change with no change of the row, as far as only the engine knows it: a
        function of the user, of an extension, of its version. Evaluates nothing."""

    # -- types -------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def native(self, type_: LogicalType, *, key: bool = False) -> str:
        """The narrowest native type that holds every value of it (of a key column: one that can be indexed).

        Raises `SpecError` when there is none."""

    @abc.abstractmethod
    def logical(self, native: str) -> LogicalType:
        """What a column of a native type, as people write it, can hold."""

    def decode(self, type_: LogicalType) -> Converter | None:
        """From what the driver yields to the canonical value; None where they are the same. Never called with None."""
        return None

    def encode(self, type_: LogicalType) -> Converter | None:
        """From the canonical value to what the driver takes for a column of this type; None where they are the same."""
        return None

    def canonical(self, expression: str, type_: LogicalType, precision: LogicalType) -> str:
        """SQL that renders a value as text which every engine renders alike, at the precision of the coarser of the
        two types; NULL stays NULL. For checksums: of bytes it is their SHA-256, for their digits may be longer than a
        server makes a text. `NotImplementedError` for a type that has no such text."""
        raise NotImplementedError(self.name)

    def hashed(self, texts: Sequence[str]) -> str:
        """SQL for a 60-bit non-negative integer: the first 15 hexadecimal digits of the SHA-256 of the UTF-8 texts
        (SQL expressions of text, NULL allowed) joined so that ('a', NULL) and ('', 'a') differ: each text is rendered
        as its length in characters, a colon and itself, NULL as `-`. The same on every engine that has
        `Features.checksums`."""
        raise NotImplementedError(self.name)

    def hashes(self, session: Session) -> bool:
        """Can the server at the other end compute what `hashed` says?"""
        return self.features.checksums

    def total(self, expression: str) -> str:
        """SQL for the exact sum of 60-bit integers, however many they are, as something that `int` takes."""
        return f"sum({expression})"

    # -- the source --------------------------------------------------------------------------------------------------

    def event_table(self, capture_id: str, schema: str, table: str) -> str:
        """The bare name of an event table."""
        from pantograph.model import names

        return names.ours("events", table, capture_id, self.features.name_limit - 16)

    @abc.abstractmethod
    def meta_table(self, table: MetaTable) -> str:
        """CREATE TABLE IF NOT EXISTS for one of ours."""

    @abc.abstractmethod
    def home(self) -> list[str]:
        """What must exist before any table of ours can (a schema, a database); idempotent; empty where nothing."""

    @abc.abstractmethod
    def leave_home(self) -> list[str]:
        """Removes what `home` made, when it is empty."""

    @abc.abstractmethod
    def install(self, capture: Capture, shape: TableShape) -> list[Statement]:
        """Event table, functions, triggers. Idempotent where the engine lets it; a new trigger is there before an old
        one goes. The triggers obey the lease, run with our rights and not the writer's, and leave the application's
        session as they found it."""

    def upgrade(self, capture: Capture, shape: TableShape) -> list[Statement]:
        """Replaces triggers that another version has made, each in one step, so that no write meets none of them."""
        return self.install(capture, shape)

    @abc.abstractmethod
    def uninstall(self, capture: Capture) -> list[Statement]:
        """Takes away all that `install` made on the table and beside it, also when the table or half of it is gone
        already; before it, `leftovers` takes away what is on others."""

    def leftovers(self, session: Session, capture: Capture, shape: TableShape | None) -> list[Statement]:
        """Takes away what stands of this capture on other tables and is of no use any more; all of that, where the
        shape is None. Nothing where a capture is on its own table alone."""
        return []

    @abc.abstractmethod
    def capture_state(self, session: Session, capture: Capture, shape: TableShape | None) -> CaptureState:
        """What is there of a capture, compared with what `install` would make now."""

    def event_bytes(self, session: Session, capture: Capture) -> int | None:
        """What a capture's event table takes on the disk, with its indexes; None where the engine does not tell."""
        return None

    @abc.abstractmethod
    def blind_spots(self, shape: TableShape) -> tuple[str, ...]:
        """What no trigger sees on this table, a sentence each."""

    @abc.abstractmethod
    def now(self) -> str:
        """SQL: seconds since the epoch by this server's clock, as a number with a fraction where the engine has it."""

    # What CAST calls a 64-bit integer.
    meta_integer: ClassVar[str] = "bigint"
    # SQL stored in `control.stamp` when the row is written, and whether a row found is the one written here.
    stamp: ClassVar[str] = "''"
    genuine: ClassVar[str] = "1"

    def control(self, session: Session) -> Control | None:
        """The control row as the current snapshot shows it; None when there is none yet. Raises `NewerVersion`."""
        import json

        found = session.row(
            f"select format, incarnation, owner, epoch, nonces, (select until from {self.ours('lease')} where id = 1) "
            f"- {self.now()}, {self.genuine} from {self.ours('control')} where id = 1"
        )
        if found is None:
            return None
        format_, incarnation, owner, epoch, nonces, lease, genuine = found
        refuse_newer(int(format_), f"capture in {self.address.label}")
        return Control(incarnation, owner, int(epoch), tuple(json.loads(nonces)), float(lease or 0), bool(genuine))

    def lease_renewed(self, session: Session, seconds: int) -> None:
        """The lease's row was just written to end in `seconds`: say so to the triggers as well, where they look
        somewhere else. In the same transaction."""

    def write_durably(self, session: Session) -> None:
        """Make the session's next commit wait for the disk (a nonce must not be lost while later commits survive)."""

    @abc.abstractmethod
    def reader(self, captures: Sequence[Capture]) -> WindowReader:
        """A new reader of windows for these captures."""

    def listener(self, session: Session) -> Listener:
        """Who hears on this session what the triggers say, where `Address.notifies`."""
        raise NotImplementedError(self.name)

    def tell(self, session: Session, seconds: float) -> None:
        """Have the triggers tell whoever listens for so many seconds from now; 0: no more. Where that costs the writers
        nothing they do so always."""

    # -- reading rows ------------------------------------------------------------------------------------------------

    def key_columns(self, capture: Capture, shape: TableShape) -> tuple[Column, ...]:
        """The captured columns as the table has them."""
        return shape.pick(capture.columns)

    def changes(self, mirror: Mirror, keys: str, *, upto: bool = False) -> str:
        """A SELECT of `(present, *columns)` for the keys that the SELECT `keys` yields as k0, k1, …

        With `upto`, rows beyond the key `:b0, …` count as absent (a first copy that has not come to them yet).

        Rows are looked up as they are now, in the destination's shape. A row that no longer matches `where` is absent
        like one that is gone. The user's SQL sees the table's own names only: it stands in a subquery of its own.
        """
        joined = " and ".join(f"r.j{i} = e.k{i}" for i in range(len(mirror.looked_up)))
        picked = [f"coalesce(r.j{i}, {self.event_key(mirror, i)}) as c{i}" for i in range(len(mirror.looked_up))]
        picked += self.beside(mirror)
        return (
            f"select case when r.p is null then 0 else 1 end as present, {', '.join(picked)} "
            f"from ({keys}) e left join ({self.rows_of(mirror, upto=upto)}) r on {joined}"
        )

    def event_key(self, mirror: Mirror, index: int) -> str:
        """An event's key column in the type that the plan saw in the table (event columns are wider)."""
        return f"e.k{index}"

    def beside(self, mirror: Mirror) -> list[str]:
        """What `changes` selects beside the columns that are looked up: constants of the key, which a row that is gone
        has too, and the data of `rows_of` as r."""
        at, data = len(mirror.looked_up), len(mirror.key)
        picked = [f"{self.selected(column)} as c{i}" for i, column in enumerate(mirror.key[at:], start=at)]
        return picked + [f"r.c{i} as c{i}" for i in range(data, len(mirror.columns))]

    def rows_of(self, mirror: Mirror, *, upto: bool = False) -> str:
        """A SELECT of the rows that the Reflection copies: p, key columns j0…, data columns c(n)…"""
        picked = ["1 as p"]
        picked += [f"{self.joined(column)} as j{i}" for i, column in enumerate(mirror.looked_up)]
        picked += [f"{self.selected(column)} as c{i}" for i, column in enumerate(mirror.data, start=len(mirror.key))]
        conditions = [f"({verbatim(mirror.where)})"] if mirror.where else []
        names = [self.quote(name) for name in mirror.capture.key]
        conditions += [self.not_beyond(names, self._cursor(mirror, "b"))] if upto else []
        where = f" where {' and '.join(conditions)}" if conditions else ""
        return f"select {', '.join(picked)} from {self.table(*mirror.source)}{where}"

    def selected(self, column: Mapped) -> str:
        """How a column is selected so that the driver yields what `decode` expects."""
        return verbatim(column.expression)

    def joined(self, column: Mapped) -> str:
        """How `rows_of` selects a key column, to be joined with `event_key`."""
        return self.selected(column)

    def chunk_end(self, mirror: Mirror, *, after: bool) -> str:
        """A SELECT of the key of the `:limit`-th row beyond the key `:a0, :a1, …` (or from the start); nothing when
        fewer are left. By the table's key alone, so that a `where` which matches nothing still moves the cursor."""
        names = [self.quote(name) for name in mirror.capture.key]
        beyond = f" where {self.beyond(names, self._cursor(mirror, 'a'))}" if after else ""
        columns = ", ".join(f"{self.selected(column)} as c{i}" for i, column in enumerate(mirror.walked))
        return (
            f"select {columns} from {self.table(*mirror.source)}{beyond} "
            f"order by {', '.join(names)} limit 1 offset :skip"
        )

    def chunk(self, mirror: Mirror, *, after: bool, upto: bool) -> str:
        """A SELECT of `(1, *columns)` for the rows beyond the key `:a0, …` (if `after`) up to and with the key
        `:b0, …` (if `upto`), in no order."""
        names = [self.quote(name) for name in mirror.capture.key]
        columns = ", ".join(f"{self.selected(column)} as c{i}" for i, column in enumerate(mirror.columns))
        conditions = [f"({verbatim(mirror.where)})"] if mirror.where else []
        conditions += [self.beyond(names, self._cursor(mirror, "a"))] if after else []
        conditions += [self.not_beyond(names, self._cursor(mirror, "b"))] if upto else []
        where = f" where {' and '.join(conditions)}" if conditions else ""
        return f"select 1 as present, {columns} from {self.table(*mirror.source)}{where}"

    def _cursor(self, mirror: Mirror, letter: str) -> list[str]:
        return [self.typed(f":{letter}{i}", column.source_native) for i, column in enumerate(mirror.walked)]

    def not_beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        """A condition: the key is less than or equal to the values, in the index's order, and the index serves it."""
        if len(names) == 1:
            return f"{names[0]} <= {values[0]}"
        return f"({', '.join(names)}) <= ({', '.join(values)})"

    def beyond(self, names: Sequence[str], values: Sequence[str]) -> str:
        """A condition: the key is greater than the values, in the index's order, and the index serves it."""
        if len(names) == 1:
            return f"{names[0]} > {values[0]}"
        return f"({', '.join(names)}) > ({', '.join(values)})"

    def at_most(self, count: int | str, *, ordered: bool = True) -> str:
        """What ends a SELECT that yields so many rows at most: a number, or a parameter. ordered: after an ORDER BY."""
        return f"limit {count}"

    # How many keys `given_keys` takes at once.
    most_given_keys: ClassVar[int] = 200

    def given_keys(self, session: Session, mirror: Mirror, keys: Sequence[Sequence[Any]]) -> tuple[str, dict[str, Any]]:
        """A SELECT of `k0, k1, …` that yields the given keys (canonical values), and its parameters; of a key with
        constants, what is looked up."""
        params: dict[str, Any] = {}
        selects = []
        encoders = [self.encode(column.source_type) for column in mirror.looked_up]
        for n, key in enumerate(keys):
            parts = []
            for i, value in enumerate(key[: len(encoders)]):
                encoder = encoders[i]
                params[f"g{n}_{i}"] = encoder(value) if encoder and value is not None else value
                parts.append(f"{self.typed(f':g{n}_{i}', mirror.key[i].source_native)} as k{i}")
            selects.append("select " + ", ".join(parts))
        return " union all ".join(selects), params

    # The source's clock as a timestamp in UTC.
    clock: ClassVar[str] = "current_timestamp"

    def constant(self, text: str, type_: LogicalType, native: str) -> str:
        """A value that a manifest gives, as a value of the native type."""
        number = type_.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)
        return self.typed(text if number else self.quoted(text), native)

    def quoted(self, text: str) -> str:
        """A text literal."""
        doubled = text.replace("'", "''")
        return f"'{doubled}'"

    def typed(self, expression: str, native: str) -> str:
        """`expression` as a value of the native type."""
        return f"cast({expression} as {native})"

    def pipe(
        self,
        session: Session,
        sql: str,
        params: Mapping[str, Any],
        mirror: Mirror,
        target: Dialect,
        writer: Session,
        *,
        direct: bool = False,
    ) -> Staged | None:
        """The fastest way from a SELECT of `(present, *columns)` here into a stage there, without a value passing
        through Python; None, and nothing sent, where there is none between these two engines or for these columns.

        With `direct` the rows, all present and none of them there yet, go straight into the destination's table: then
        only `rows` of the answer means anything.
        """
        return None

    # -- the destination ---------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def create_table(self, schema: str, name: str, columns: Sequence[Column], key: Sequence[str]) -> list[Statement]:
        """CREATE TABLE (and its schema where needed); columns carry native types of this dialect."""

    @abc.abstractmethod
    def add_column(self, schema: str, name: str, column: Column) -> Statement:
        """ALTER TABLE … ADD COLUMN, nullable."""

    def numberings(self, session: Session, schema: str, table: str) -> list[Numbering]:
        """The columns of a table that the database numbers by itself, and how far it is. Raises `Refused`."""
        raise NotImplementedError(self.name)

    def number_from(self, schema: str, table: str, numbering: Numbering, next_: int) -> list[Statement]:
        """What makes `next_` the next number."""
        raise NotImplementedError(self.name)

    def numbered(self, schema: str, table: str, column: Column, next_: int) -> str:
        """SQL by which a person could have a column numbered, from `next_` on; "" where only another table could."""
        raise NotImplementedError(self.name)

    def change_type(self, schema: str, name: str, column: Column, native: str) -> Statement | None:
        """ALTER TABLE … that gives a column, as it is there, another type and nothing else; None where none can."""
        return None

    @abc.abstractmethod
    def stage(self, session: Session, mirror: Mirror, batches: Batches) -> Staged:
        """Put rows (canonical values) where `upsert` and `delete` can use them, by the engine's fastest safe way; a
        handful goes without a temporary table. An earlier stage of the mirror is emptied. Takes no lock that others
        feel."""

    def stage_strictly(self, session: Session, mirror: Mirror, batches: Batches) -> Staged:
        """`stage`, and it fails itself for a value that is none of its column's type, and names the column."""
        return self.stage(session, mirror, batches)

    # Rows may also come as lines of text, as PostgreSQL's COPY writes them: fields between tabs, `\N` for NULL, each
    # backslash, tab, newline and carriage return escaped. Bytes are this, then their hexadecimal digits; None: no lines
    # are taken.
    line_bytes: ClassVar[str | None] = None

    def takes_lines(self, session: Session) -> bool:
        """Does the server at hand allow what `take_lines` does?"""
        return self.line_bytes is not None

    def take_lines(self, session: Session, mirror: Mirror, lines: Iterable[bytes], *, direct: bool) -> Staged:
        """Blocks of whole lines `present, *columns` into a stage; with `direct`, of lines without `present` straight
        into the destination's table. An error that `lines` raises is raised as it is."""
        raise NotImplementedError

    def own_rows(self, mirror: Mirror) -> str:
        """A condition on the destination's table for the rows that this Reflection has written, and that are not marked
        as gone; "" where that is all."""
        conditions = [
            f"{self.quote(c.destination)} = {self.constant(c.constant, c.destination_type, c.destination_native)}"
            for c in mirror.key
            if c.constant is not None
        ]
        if mirror.on_delete == "Mark":
            conditions.append(f"{self.quote(mirror.soft_delete)} is null")
        if mirror.on_delete == "SetNull":
            conditions.append(f"({' or '.join(f'{self.quote(c.destination)} is not null' for c in mirror.data)})")
        return " and ".join(conditions)

    @abc.abstractmethod
    def update(self, session: Session, mirror: Mirror, staged: Staged) -> int:
        """The half of `upsert` that changes rows which are there; how many changed."""

    @abc.abstractmethod
    def change_absent(
        self, session: Session, mirror: Mirror, staged: Staged, sets: Sequence[tuple[str, str]], unless: str
    ) -> int:
        """Set columns in place of `delete`, in rows for which `unless` is not true; how many changed.

        sets: quoted names and SQL values; both `sets` and `unless` name columns of the destination without an alias."""

    def unstage(self, session: Session, mirror: Mirror, staged: Staged) -> None:
        """Empty the stage again, inside the same transaction."""

    @abc.abstractmethod
    def insert(self, session: Session, mirror: Mirror, batches: Batches) -> int:
        """Plain bulk insert of present rows into a table that has none of these keys; how many."""

    @abc.abstractmethod
    def upsert(self, session: Session, mirror: Mirror, staged: Staged) -> int:
        """Insert or update the staged rows that are present, by key; a row that is equal already is left alone, and no
        other row is ever changed. In the order of the key, so that two writers do not deadlock. How many changed."""

    @abc.abstractmethod
    def delete(self, session: Session, mirror: Mirror, staged: Staged, *, absent_only: bool = True) -> int:
        """Delete the rows whose staged key is absent; not one that the destination holds equal to a present key.

        With `absent_only=False`: those of all staged keys (delete-then-insert)."""

    def blank(
        self, session: Session, mirror: Mirror, staged: Staged, columns: Sequence[str], *, absent_only: bool = False
    ) -> None:
        """Set these columns of the destination to NULL in the rows of all staged keys, or of the absent ones."""
        keys = [self.quote(column.destination) for column in mirror.key]
        mine = f"({', '.join(keys)})" if len(keys) > 1 else keys[0]
        sets = ", ".join(f"{self.quote(name)} = null" for name in columns)
        only = " where s.present = 0" if absent_only else ""
        session.direct(
            f"update {self.table(*mirror.destination)} set {sets} "
            f"where {mine} in (select {', '.join(f's.{key}' for key in keys)} from {staged.source}{only})"
        )

    # Constraints that can be checked at the commit.

    defer: ClassVar[str] = ""
    """Defers, in the open transaction, all constraints of which `defers` is true; "" where there are none."""

    check_deferred: ClassVar[str] = ""
    """Checks what was deferred, before the commit; "" where only the commit does."""

    check_at_once: ClassVar[str] = ""
    """Has the open transaction check each statement, also what was declared to be checked at the commit."""

    def defers(self, reference: Reference) -> bool:
        """Can this foreign key be checked at the commit?"""
        return False
