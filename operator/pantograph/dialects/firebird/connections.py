"""Connections through fdb, as the rest of the package expects them: in autocommit, transactions begun by statements.

fdb begins a transaction with the first statement and leaves it open. Here a statement outside a transaction has one of
its own, which ends with it (a read-only one for a SELECT), so that nothing of ours is left open and holds up the
server's garbage collection. A statement is dropped with its last row: one that is kept prepared would keep its tables
from being altered.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import fdb
import fdb.fbcore
import fdb.ibase

from pantograph import errors
from pantograph.dialects.base import REFUSALS, Address, Role
from pantograph.dialects.firebird import types
from pantograph.dialects.firebird.unpacking import Unpacking

# Seconds a statement waits for another transaction's row or for a lock of metadata.
_LOCK_WAIT = {Role.READER: 2, Role.SIDE: 2, Role.WRITER: 20, Role.ADMIN: 1}
_WHOLE_BLOBS = 1 << 30

BEGIN, BEGIN_READ = "begin", "begin read only"
_READS = re.compile(r"\s*(select|with)\b", re.IGNORECASE)

# Items of isc_database_info. https://firebirdsql.org/file/documentation/html/en/refdocs (API guide, ch. "Database")
_END, _TRUNCATED = 1, 2
LIMBO, OLDEST_ACTIVE, NEXT, ACTIVE = 16, 105, 107, 109
_INFO_BYTES = 32_000


class Statement(fdb.PreparedStatement):  # type: ignore[misc]  # fdb has no types
    """A prepared statement that is dropped in the connection's own thread.

    fdb drops one when Python forgets it. Where the traceback of an error knows it still, that may be in any thread and
    at any time, and the client library ends the process when the connection is closed just then (seen with 3.0.11).
    """

    def __init__(self, connection: Connection, cursor: Any, sql: str) -> None:
        self._kept = connection.statements
        self._kept.add(self)
        try:
            super().__init__(sql, cursor, internal=False)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Forget it here and at the server; never raises."""
        self._kept.discard(self)
        with contextlib.suppress(Exception):
            self._close()  # its public close() keeps it prepared


class Connection:
    """A connection of fdb's and its one transaction. statements: those that are not dropped yet."""

    def __init__(self, raw: Any, role: Role) -> None:
        self.raw, self.role = raw, role
        self.statements: set[Statement] = set()
        # Stages that are known to be defined.
        self.known: set[str] = set()
        # Has it time zones, and what else came with Firebird 4?
        self.zones = float(raw.engine_version) >= 4
        if self.zones:
            self.begin(writes=False)
            for statement in types.BINDINGS:
                raw.execute_immediate(statement)
            self.commit()

    @property
    def active(self) -> bool:
        """Is a transaction open?"""
        return bool(self.raw.main_transaction.active)

    def begin(self, *, writes: bool, snapshot: bool = False) -> None:
        """Begin a transaction. A read-only one that is no snapshot holds nothing back at the server."""
        parameters = fdb.TPB()
        parameters.access_mode = fdb.isc_tpb_write if writes else fdb.isc_tpb_read
        parameters.isolation_level = (
            fdb.isc_tpb_concurrency if snapshot else (fdb.isc_tpb_read_committed, fdb.isc_tpb_rec_version)
        )
        parameters.lock_resolution = fdb.isc_tpb_wait
        parameters.lock_timeout = _LOCK_WAIT[self.role]
        self.raw.begin(tpb=parameters)

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        if self.active:
            self.raw.commit()

    def rollback(self) -> None:
        if self.active:
            self.raw.rollback()

    def close(self) -> None:
        for statement in list(self.statements):
            statement.drop()
        with contextlib.suppress(Exception):
            self.rollback()
        self.raw.close()

    def info(self, *items: int) -> tuple[dict[int, list[int]], bool]:
        """What the server says of the database: the numbers of each item, and whether there were more than it could
        tell. One call, so that all of it is of one moment."""
        request = bytes([*items, _END])
        buffer = ctypes.create_string_buffer(_INFO_BYTES)
        status = fdb.ibase.ISC_STATUS_ARRAY()
        fdb.fbcore.api.isc_database_info(status, self.raw._db_handle, len(request), request, len(buffer), buffer)
        if fdb.fbcore.db_api_error(status):
            raise fdb.fbcore.exception_from_status(fdb.DatabaseError, status, "Error while asking about the database:")
        found: dict[int, list[int]] = {item: [] for item in items}
        at, answer = 0, buffer.raw
        while answer[at] not in (_END, _TRUNCATED):
            (length,) = struct.unpack_from("<H", answer, at + 1)
            found.setdefault(answer[at], []).append(int.from_bytes(answer[at + 3 : at + 3 + length], "little"))
            at += 3 + length
        return found, answer[at] == _TRUNCATED


class Cursor:
    """A cursor that keeps no statement longer than its rows.

    packs: a SELECT comes in fewer columns (`unpacking`), which pays where there are many rows.
    """

    def __init__(self, connection: Connection, *, packs: bool = False) -> None:
        self.connection, self._packs = connection, packs
        self.rowcount = -1
        self.description: Any = None
        self._cursor: Any = None
        self._statement: Statement | None = None
        self._unpacking: Unpacking | None = None
        self._rows: list[Any] = []

    def execute(self, sql: str, params: Sequence[Any] | None = None) -> None:
        self.close()
        self.rowcount, self.description = -1, None
        control = sql.strip().lower()
        if control in (BEGIN, BEGIN_READ):
            self.connection.begin(writes=control == BEGIN, snapshot=control == BEGIN_READ)
        elif control == "commit":
            self.connection.commit()
        elif control == "rollback":
            self.connection.rollback()
        elif _READS.match(sql) and not self.connection.active:
            self._read(sql, params or ())
        else:
            with self._transaction(sql):
                self._run(sql, params or ())

    def _read(self, sql: str, params: Sequence[Any]) -> None:
        """In a transaction of its own. Only a snapshot keeps the version of a row whose BLOB is fetched after it."""
        try:
            with self._transaction(sql):
                self._run(sql, params)
        except fdb.Error as error:
            if not _blob_gone(error):
                raise
            with self._transaction(sql, snapshot=True):
                self._run(sql, params)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self.close()
        with self._transaction(sql), self.prepared(sql) as run:
            self.rowcount = sum(run(row) for row in rows)

    @contextlib.contextmanager
    def prepared(self, sql: str) -> Iterator[Any]:
        """A function that executes the statement with parameters and returns how many rows it touched."""
        cursor = self.connection.raw.cursor()
        statement = Statement(self.connection, cursor, sql)

        def run(params: Sequence[Any]) -> int:
            cursor.execute(statement, params)
            return _touched(statement)

        try:
            yield run
        finally:
            statement.drop()

    @contextlib.contextmanager
    def _transaction(self, sql: str, *, snapshot: bool = False) -> Iterator[None]:
        """The open one, or one for this statement."""
        if self.connection.active:
            yield
            return
        self.connection.begin(writes=not _READS.match(sql), snapshot=snapshot)
        try:
            yield
            if self._statement is not None:
                self._rows = self._whole(self._cursor.fetchall())
                self._let_go()
            self.connection.commit()
        except BaseException:
            self._let_go()
            with contextlib.suppress(Exception):
                self.connection.rollback()
            raise

    def _run(self, sql: str, params: Sequence[Any]) -> None:
        self._cursor = self.connection.raw.cursor()
        statement = self._statement = Statement(self.connection, self._cursor, sql)
        try:
            if self._packs:
                statement = self._packed(statement, sql)
            statement.set_stream_blob_treshold(_WHOLE_BLOBS)
            self._cursor.execute(statement, tuple(params))
            self.description = statement.description
            self.rowcount = _touched(statement) if self.description is None else -1
        except BaseException:
            self._let_go()
            raise
        if self.description is None:
            self._let_go()

    def _packed(self, statement: Statement, sql: str) -> Statement:
        """The statement in its place that yields the same rows in fewer columns, if there is one."""
        described = [
            (column.sqltype & ~1, column.sqlscale, column.sqlsubtype, column.sqllen)
            for column in statement._out_sqlda.sqlvar[: statement._out_sqlda.sqld]
        ]
        unpacking = Unpacking(sql, described)
        if unpacking.sql:
            statement.drop()
            statement = self._statement = Statement(self.connection, self._cursor, unpacking.sql)
            self._unpacking = unpacking
        return statement

    def _let_go(self) -> None:
        if self._statement is not None:
            self._statement.drop()
        self._statement = self._cursor = self._unpacking = None

    def fetchall(self) -> list[Any]:
        return self.fetchmany(0)

    def fetchone(self) -> Any:
        found = self.fetchmany(1)
        return found[0] if found else None

    def fetchmany(self, size: int = 1) -> list[Any]:
        """Up to so many rows; 0: all."""
        if self._statement is None:
            taken = self._rows[: size or None]
            self._rows = self._rows[len(taken) :]
            return taken
        found = self._whole(self._cursor.fetchmany(size) if size else self._cursor.fetchall())
        if not size or len(found) < size:
            self._let_go()
        return found

    def _whole(self, fetched: list[Any]) -> list[Any]:
        return list(fetched) if self._unpacking is None else self._unpacking.rows(fetched)

    def close(self) -> None:
        self._let_go()
        self._rows = []


# Of isc_dsql_sql_info: how many records, and of them those that were inserted, updated and deleted.
_RECORDS, _CHANGED = 23, (14, 15, 16)


def _touched(statement: Any) -> int:
    """How many rows a statement changed. fdb itself does not tell of a MERGE, nor does ROW_COUNT (it says 1)."""
    request, buffer = bytes([_RECORDS, _END]), ctypes.create_string_buffer(128)
    status = fdb.ibase.ISC_STATUS_ARRAY()
    handle = statement._stmt_handle
    fdb.fbcore.api.isc_dsql_sql_info(status, handle, len(request), request, len(buffer), buffer)
    answer, at, count = buffer.raw, 3, 0
    if answer[0] != _RECORDS:
        return 0
    while answer[at] != _END:
        (length,) = struct.unpack_from("<H", answer, at + 1)
        if answer[at] in _CHANGED:
            count += int.from_bytes(answer[at + 3 : at + 3 + length], "little")
        at += 3 + length
    return count


def _server(address: Address) -> tuple[str, int]:
    return address.host or "127.0.0.1", address.port or 3050


def dsn(address: Address) -> str:
    """Where the database is, as the client library takes it."""
    host, port = _server(address)
    return address.path or f"{host}/{port}:{address.database}"


def connect(address: Address, role: Role, timeout: float) -> Connection:
    """A connection in UTF8 and SQL dialect 3."""
    if address.options:
        raise errors.SpecError(f"unknown option {min(address.options)!r}; firebird takes none", path="spec.options")
    if address.tls_mode not in ("", "disable"):
        raise errors.SpecError(
            f"found {address.tls_mode!r}, expected disable: Firebird encrypts by its own WireCrypt, which client and "
            "server agree on",
            path="spec.tls.mode",
        )
    if not address.path:
        # The client library waits for minutes where nobody answers.
        socket.create_connection(_server(address), timeout).close()
    raw = fdb.connect(
        dsn=dsn(address),
        user=address.username or None,
        password=address.password or None,
        charset="UTF8",
        sql_dialect=3,
    )
    try:
        return Connection(raw, role)
    except BaseException:
        raw.close()
        raise


# -- errors ------------------------------------------------------------------------------------------------------------

# By gdscode. https://firebirdsql.org/file/documentation/html/en/refdocs/fblangref30 (appendix B)
_UNREACHABLE = {335544721, 335544726, 335544727, 335544741, 335544856, 335544375, 335544528, 335544421, 335544344,
                335544648, 335544324, 335544794, 335544861, 335544722}  # fmt: skip
_CONTENDED = {
    335544336: "an update conflicts with another transaction's",
    335544451: "an update conflicts with another transaction's",
    335544345: "another transaction holds the lock",
    335544510: "another transaction held the lock for too long",
    335544878: "another transaction has changed the row",
    335544453: "the object is in use",
    335544475: "the table is in use",
}
NO_METADATA_UPDATE = "335544351"
"""A definition cannot be made: for one that is there already, and for whatever else the catalog refuses."""
_REFUSED = {
    335544352: "a privilege is missing",
    335544472: "user name or password is wrong",
    335544361: "the transaction is read only",
    335544765: "the database is read only",
    335544647: "a grant is missing",
}
_REJECTED = {
    335544665: "unique", 335544349: "unique",
    335544466: "foreign key", 335544838: "foreign key", 335544839: "foreign key",
    335544347: "not null", 335544558: "check",
    335544914: "length", 335544321: "type", 335544334: "type", 335544916: "type", 335544849: "type",
    335544565: "type", 335544485: "type",
    # Firebird 4: what follows a time in a text ("… BC") is read as a time zone.
    335545213: "type", 335545214: "type", 335545215: "type",
}  # fmt: skip

# Numbers of their own have neither these, of a value that is none of its type, nor what follows. -303 is said of a
# parameter, with a reason for which an older client library has no words where the server is newer.
_NO_VALUE = ("conversion error", "exceeds the range for valid", "SQL error code = -303")
_BLOB_GONE = "BLOB not found"

# Only names are taken out of the server's texts: all else in them may be a value.
_CONSTRAINT = re.compile(r'constraint "?([^"\s]+)"? on (?:view or )?table "?([^"\n]+)"?')
_COLUMN = re.compile(r'for column "((?:[^"]|"")+)"\."((?:[^"]|"")+)"')
_UNKNOWN = re.compile(r"- (Table|Column|Procedure|Function|Generator) unknown\n- ([^\n]+)")


def translate(error: BaseException) -> errors.DatabaseError | None:
    """A driver's error as one of ours. The server's own text is dropped: it quotes values."""
    if isinstance(error, OSError):
        return errors.Unreachable(f"the connection failed ({type(error).__name__})")
    if isinstance(error, UnicodeEncodeError):
        return errors.Rejected("a text has characters that UTF-8 cannot hold", kind="type")
    if isinstance(error, ValueError | OverflowError | TypeError) and _of_driver(error):
        long = "too long" in str(error)
        return errors.Rejected(REFUSALS["length" if long else "type"], kind="length" if long else "type")
    if not isinstance(error, fdb.Error):
        return None
    said = str(error.args[0]) if error.args else ""
    number = error.args[2] if len(error.args) > 2 and isinstance(error.args[2], int) else 0
    return as_error(number, said)


def _blob_gone(error: fdb.Error) -> bool:
    """The row was changed, and its old version taken away, between the look at it and the look at its BLOB."""
    return _BLOB_GONE in str(error.args[0] if error.args else "")


def _of_driver(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("fdb")


def as_error(number: int, said: str) -> errors.DatabaseError:
    """The server's error of that number; of its text only names are used."""
    code = str(number)
    if _BLOB_GONE in said:
        return errors.Contended(f"another transaction changed the row while it was read (error {code})", code=code)
    if "is in use" in said or "lock conflict" in said:
        return errors.Contended(f"the object is in use (error {code})", code=code)
    if "string right truncation" in said:
        number = 335544914
    elif any(words in said for words in _NO_VALUE) or said.startswith("numeric overflow"):
        number = 335544334
    if number in _REJECTED:
        return _rejected(_REJECTED[number], code, said)
    if number in _CONTENDED:
        return errors.Contended(f"{_CONTENDED[number]} (error {code})", code=code)
    if number in _REFUSED:
        return errors.Refused(f"{_REFUSED[number]} (error {code})", code=code)
    if number in _UNREACHABLE or ("connection" in said.lower() and "lost" in said.lower()):
        return errors.Unreachable(
            f"the server or the database cannot be reached, or went away (error {code})", code=code
        )
    if unknown := _UNKNOWN.search(said):
        name = f"{unknown[1].lower()} {unknown[2]} is not there"
        return errors.DatabaseError(f"{name} (error {code})", code=code, reason="Missing")
    if number == 335544569:
        return errors.DatabaseError(f"the SQL is not the server's (error {code})", code=code, reason="Syntax")
    return errors.DatabaseError(f"the server answered error {code}", code=code)


def _rejected(kind: str, code: str, said: str) -> errors.Rejected:
    constraint = table = ""
    says = REFUSALS[kind]
    if found := _CONSTRAINT.search(said):
        constraint, table = found[1], found[2]
        says += f": {constraint}"
    elif found := _COLUMN.search(said):
        table = found[1]
        says += f": column {found[2]}"
    return errors.Rejected(f"{says} (error {code})", kind=kind, code=code, constraint=constraint, table=table)
