"""Opening a file, and what SQLite says when something is wrong.

A connection is used by one thread at a time, not always the same one (`check_same_thread=False`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import urllib.parse
from collections.abc import Iterator
from typing import Any

from pantograph import errors
from pantograph.dialects.base import Address, Role, Session
from pantograph.dialects.sqlite import values

OLDEST = (3, 35, 0)
"""The oldest library that may be ours: upserts with several targets, RETURNING, DROP COLUMN."""

_serials = itertools.count(1)


class Connection(sqlite3.Connection):
    """A driver's connection that no other one is ever mistaken for: `data_version` is only told within one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.serial = next(_serials)


def connect(address: Address, role: Role, timeout: float) -> Connection:
    """Open the file. Only WRITER and ADMIN make one that is not there, and one that they make is in WAL mode."""
    path = os.path.abspath(address.path)
    creating = role in (Role.WRITER, Role.ADMIN) and (not os.path.exists(path) or os.path.getsize(path) == 0)
    mode = "rwc" if creating else "rw"
    raw = sqlite3.connect(
        f"file:{urllib.parse.quote(path)}?mode={mode}",
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
        cached_statements=512,
        uri=True,
    )
    try:
        _set_up(raw, role, creating)
    except BaseException:
        raw.close()
        raise
    return raw


def _set_up(raw: Connection, role: Role, creating: bool) -> None:
    for name, count, function in values.FUNCTIONS:
        raw.create_function(name, count, function, deterministic=True)
    raw.create_aggregate("pantograph_total", 1, values.Total)  # type: ignore[arg-type]  # may yield a text, too
    if creating:
        raw.execute("pragma journal_mode = wal")
    raw.execute("pragma temp_store = file")
    # Whatever the library was built with: constraints of a destination hold, a source is never written through one.
    raw.execute(f"pragma foreign_keys = {'on' if role is Role.WRITER else 'off'}")
    # In WAL mode NORMAL loses the last commits with the power, never the file: position and rows are in the same
    # commit, so nothing is lost that is not read again. Without WAL it may lose the file. Our few writes at a source
    # wait for the disk.
    (journal,) = raw.execute("pragma journal_mode").fetchone()
    relaxed = role is Role.WRITER and journal == "wal"
    raw.execute(f"pragma synchronous = {'normal' if relaxed else 'full'}")
    if role is Role.READER:
        raw.execute("pragma query_only = on")


@contextlib.contextmanager
def waiting(session: Session, seconds: float) -> Iterator[None]:
    """Wait no longer than this for the file's lock, in the block."""
    (before,) = session.row("pragma busy_timeout")
    session.rows(f"pragma busy_timeout = {int(seconds * 1000)}")
    try:
        yield
    finally:
        with contextlib.suppress(errors.DatabaseError):
            session.rows(f"pragma busy_timeout = {int(before)}")


# -- errors ------------------------------------------------------------------------------------------------------------

_CONSTRAINTS = {
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_ROWID": "unique",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign key",
    "SQLITE_CONSTRAINT_NOTNULL": "not null",
    "SQLITE_CONSTRAINT_CHECK": "check",
    "SQLITE_CONSTRAINT_DATATYPE": "type",
}
_CONSTRAINT_DATATYPE = 3091
# Messages that quote names and the text of a statement, never a row.
_TELLING = re.compile(
    r"no such (table|column|index|function|collation|view|trigger)|near \"|ambiguous column|table .* has |"
    r"duplicate column|incomplete input|integer overflow|wrong number of arguments|misuse of|cannot |error in |"
    r"unrecognized token|too many|there is already|(table|index|trigger) .* already exists|"
    r"ON CONFLICT clause does not match"
)
_COLUMNS = re.compile(r"(?:UNIQUE|NOT NULL) constraint failed: (?P<columns>.+)", re.S)
_NAMED = re.compile(r"CHECK constraint failed: (?P<name>.+)", re.S)
_DATATYPE = re.compile(r"cannot store \w+ value in \w+ column (?P<column>.+)", re.S)


def translate(error: BaseException) -> errors.DatabaseError | None:
    """A driver's error as one of ours. SQLite's texts name tables, columns and constraints; what might hold a value of
    a row (a trigger's own message, a text that is not UTF-8) is left out."""
    if isinstance(error, OverflowError):
        return errors.Rejected("an integer is too large for 64 bits", kind="type")
    if isinstance(error, UnicodeEncodeError):
        return errors.Rejected("a text has characters that UTF-8 cannot hold", kind="type")
    if not isinstance(error, sqlite3.Error):
        return None
    said = str(error)
    code = _code(error)
    if said.startswith("Could not decode to UTF-8"):
        return errors.Rejected("a text is not UTF-8", kind="type", code=code)
    if code.startswith("SQLITE_CONSTRAINT"):
        return _constraint(code, said)
    return _other(code, said)


def _code(error: sqlite3.Error) -> str:
    """SQLite's name for an error; Python 3.11 does not know all of them."""
    name: str = getattr(error, "sqlite_errorname", "") or ""
    number: int = getattr(error, "sqlite_errorcode", 0)
    if name == "unknown":
        primary = "SQLITE_CONSTRAINT" if number & 0xFF == sqlite3.SQLITE_CONSTRAINT else "SQLITE"
        return "SQLITE_CONSTRAINT_DATATYPE" if number == _CONSTRAINT_DATATYPE else f"{primary}_{number}"
    return name


def _constraint(code: str, said: str) -> errors.Rejected:
    kind = _CONSTRAINTS.get(code, "other")
    columns, named, typed = _COLUMNS.match(said), _NAMED.match(said), _DATATYPE.match(said)
    if columns:
        names = columns["columns"]
        table = "" if names.startswith("index ") else names.partition(".")[0]
        return errors.Rejected(
            f"{kind} constraint failed: {names}", kind=kind, code=code, constraint=names, table=table
        )
    if named:
        return errors.Rejected(
            f"check constraint failed: {named['name']}", kind=kind, code=code, constraint=named["name"]
        )
    if typed:
        table = typed["column"].partition(".")[0]
        return errors.Rejected(
            f"a value of another type for the column {typed['column']}", kind=kind, code=code, table=table
        )
    if kind == "foreign key":
        return errors.Rejected("a foreign key has no parent row, or children point at the row", kind=kind, code=code)
    what = "a trigger refused the row" if code == "SQLITE_CONSTRAINT_TRIGGER" else "a constraint failed"
    return errors.Rejected(f"{what} ({code})", kind=kind, code=code)


def _other(code: str, said: str) -> errors.DatabaseError:
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_SCHEMA", "SQLITE_PROTOCOL")):
        return errors.Contended(f"another connection holds the file's lock ({code})", code=code)
    if code in ("SQLITE_CANTOPEN", "SQLITE_READONLY_DBMOVED") or code.startswith("SQLITE_IOERR"):
        return errors.Unreachable(f"the file cannot be opened or read ({code})", code=code)
    if code.startswith("SQLITE_CANTOPEN"):
        return errors.Unreachable(f"the file cannot be opened ({code})", code=code)
    if code.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return errors.Refused(f"the file may not be written ({code})", code=code)
    if code == "SQLITE_NOTADB":
        return errors.Refused("the file is no SQLite database, or it is encrypted", code=code)
    if code.startswith("SQLITE_CORRUPT"):
        return errors.DatabaseError(
            f"the file is damaged ({code}): PRAGMA integrity_check says where", code=code, reason="Corrupt"
        )
    if code == "SQLITE_FULL":
        return errors.DatabaseError("the disk is full", code=code, reason="DiskFull")
    if code == "SQLITE_TOOBIG":
        return errors.Rejected("a value is longer than SQLite allows", kind="length", code=code)
    if code == "SQLITE_MISMATCH":
        return errors.Rejected("a value of another type for an INTEGER PRIMARY KEY", kind="type", code=code)
    if not code and "closed" in said:
        return errors.Unreachable("the connection was closed")
    if code in ("SQLITE_ERROR", "") and _TELLING.match(said):
        return errors.DatabaseError(said, code=code)
    return errors.DatabaseError(f"SQLite refused the statement ({code or 'no code'})", code=code)
