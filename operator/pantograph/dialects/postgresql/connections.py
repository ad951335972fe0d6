"""Connections to PostgreSQL: how they are opened and set up, what they yield, what their errors mean."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extensions

from pantograph import errors
from pantograph.dialects.base import Address, Role
from pantograph.dialects.postgresql import silence

# What libpq may be told from `spec.options`; all else has a field of its own, or would undo what we set.
OPTIONS = frozenset(
    {
        "channel_binding",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "load_balance_hosts",
        "requirepeer",
        "ssl_min_protocol_version",
        "sslcompression",
        "sslcrl",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
    }
)

# Whatever the server's, the database's or the role's defaults are: text that the server prints and reads must mean the
# same in every session, and no statement of ours may wait for ever.
SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    "client_min_messages": "warning",
    "row_security": "off",
    "cursor_tuple_fraction": "1",
    "jit": "off",
}
LIMITS: dict[Role, dict[str, str]] = {
    Role.READER: {
        "statement_timeout": "60s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        # Poll and window statements are prepared once for 200 tables; planning them again would cost more than running.
        "plan_cache_mode": "force_generic_plan",
        # Keys of a large window are made distinct and joined in memory.
        "work_mem": "32MB",
    },
    Role.SIDE: {
        "statement_timeout": "60s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "plan_cache_mode": "force_generic_plan",
    },
    Role.WRITER: {
        "statement_timeout": "10min",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "5min",
        # Cannot lose anything: the position is in the same commit as the rows.
        "synchronous_commit": "off",
        # Stages stay in memory while they are of ordinary size, and joins with them as well.
        "temp_buffers": "32MB",
        "work_mem": "32MB",
    },
    Role.ADMIN: {
        "statement_timeout": "60s",
        # A waiting DDL statement stops every writer behind it.
        "lock_timeout": "100ms",
        "idle_in_transaction_session_timeout": "60s",
    },
}


# A machine that is gone without a word is noticed after 25 s, and not after the two hours that are usual. Not by
# `tcp_user_timeout`: it would also cut off a COPY whose server has no time to read for so long.
PRESENCE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
ANSWERS_WITHIN: dict[Role, float] = {Role.READER: 90, Role.SIDE: 90, Role.WRITER: 630, Role.ADMIN: 90}
"""Seconds for which an answer is waited for: the server itself ends what takes as long as `LIMITS` says."""
COPIES_WITHIN = 630.0
"""The same for many rows at once: COPY goes no faster than whoever is at its other end."""


class Connection(psycopg2.extensions.connection):
    """A psycopg2 connection that remembers what was made in its session. answers_within: seconds, see `silence`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: dict[str, str] = {}
        self.answers_within = 30.0


class Cursor(psycopg2.extensions.cursor):
    """A cursor that does not wait for ever."""

    connection: Connection

    def execute(self, query: Any, vars: Any = None) -> None:
        """As the driver's."""
        with silence.WATCHMAN.limits(self.connection.fileno(), self.connection.answers_within):
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        """As the driver's."""
        with silence.WATCHMAN.limits(self.connection.fileno(), COPIES_WITHIN):
            super().executemany(query, vars_list)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """As the driver's."""
        with silence.WATCHMAN.limits(self.connection.fileno(), COPIES_WITHIN):
            super().copy_expert(sql, file, size)


class Streaming:
    """A cursor on the server: psycopg2's own refuses to exist in autocommit, where our transactions are statements."""

    def __init__(self, raw: Connection) -> None:
        self._raw, self._cursor = raw, raw.cursor()
        self._name = f"pantograph_{id(self)}"
        self._open = False

    def execute(self, sql: str, params: Any = None) -> None:
        hold = "" if in_transaction(self._raw) else " with hold"
        self._cursor.execute(f"declare {self._name} no scroll cursor{hold} for {sql}", params)
        self._open = True

    def fetchmany(self, size: int) -> list[Any]:
        self._cursor.execute(f"fetch forward {int(size)} from {self._name}")
        return self._cursor.fetchall()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._cursor.execute(f"close {self._name}")
        self._cursor.close()


def in_transaction(raw: Connection) -> bool:
    """Is a transaction open, failed or not?"""
    return bool(raw.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE)


def connect(address: Address, role: Role, timeout: float) -> Connection:
    """A new connection in autocommit, set up for its role."""
    for name in address.options:
        if name not in OPTIONS:
            known = ", ".join(sorted(OPTIONS))
            raise errors.SpecError(
                f"PostgreSQL knows no such option; expected one of: {known}", path=f"spec.options.{name}"
            )
    arguments: dict[str, Any] = {
        **PRESENCE,
        **address.options,
        "host": address.host,
        "port": address.port or 5432,
        "dbname": address.database,
        "user": address.username,
        "password": address.password,
        "sslmode": address.tls_mode,
        "connect_timeout": max(2, round(timeout)),
        "application_name": "pantograph",
        "client_encoding": "UTF8",
    }
    with contextlib.ExitStack() as files:
        for argument, value in (
            ("sslrootcert", address.tls_ca),
            ("sslcert", address.tls_cert),
            ("sslkey", address.tls_key),
        ):
            arguments[argument] = files.enter_context(_as_file(value))
        given = {name: value for name, value in arguments.items() if value not in ("", None)}
        raw: Connection = psycopg2.connect(connection_factory=Connection, cursor_factory=Cursor, **given)
    try:
        raw.autocommit = True
        for caster in _CASTERS:
            psycopg2.extensions.register_type(caster, raw)
        with raw.cursor() as cursor:
            settings = SETTINGS | LIMITS[role]
            cursor.execute("; ".join(f"set {name} = '{value}'" for name, value in settings.items()))
        raw.answers_within = ANSWERS_WITHIN[role]
    except BaseException:
        raw.close()
        raise
    return raw


@contextlib.contextmanager
def _as_file(value: str) -> Iterator[str]:
    """A path for what is a path or the text of a certificate; libpq reads files only, and only while connecting."""
    if "-----BEGIN" not in value:
        yield value
        return
    handle, path = tempfile.mkstemp(prefix="pantograph-")  # readable by us alone, as libpq demands of a key
    try:
        with os.fdopen(handle, "w") as file:
            file.write(value)
        yield path
    finally:
        os.unlink(path)


def _text(value: Any, _cursor: Any) -> Any:
    return value


def _utc(value: Any, _cursor: Any) -> Any:
    # The session is in UTC, so the suffix is always this one; before our era " BC" follows it.
    return None if value is None else value.replace("+00", "", 1)


def _bytes(value: Any, _cursor: Any) -> Any:
    return None if value is None else bytes.fromhex(value[2:])


# bool, int8, int2, int4, oid, float4, float8 and what is text anyway keep psycopg2's casters.
_AS_THEY_ARE = {16, 17, 18, 19, 20, 21, 23, 25, 26, 700, 701, 1042, 1043, 1184}
_CASTERS = (
    psycopg2.extensions.new_type(
        tuple(sorted(set(psycopg2.extensions.string_types) - _AS_THEY_ARE)),
        "TEXT",
        _text,
    ),
    psycopg2.extensions.new_type((1184,), "TIMESTAMPTZ", _utc),
    psycopg2.extensions.new_type((17,), "BYTES", _bytes),
)


# -- errors ----------------------------------------------------------------------------------------------------------

_REJECTED = {
    "23505": ("unique", "a unique constraint refused it"),
    "23503": ("foreign key", "a foreign key refused it"),
    "23502": ("not null", "a column that may not be null would have been"),
    "23514": ("check", "a check constraint refused it"),
    "23P01": ("unique", "an exclusion constraint refused it"),
    "22001": ("length", "a value is too long for its column"),
    "22003": ("type", "a number is out of its column's range"),
    "22021": ("type", "a text holds a character that the database cannot store"),
    "22P05": ("type", "a text holds a character that the database cannot store"),
}
_CONTENDED = {
    "40001": "a transaction at the same time was in the way",
    "40P01": "a deadlock was resolved against us",
    "55P03": "a lock was not free in time",
    "55006": "the object is in use",
}
# Their messages name objects only, never a row's value.
_SPEAKABLE = {
    "42501",
    "42P01",
    "42703",
    "42883",
    "42704",
    "42809",
    "42P10",
    "3F000",
    "3D000",
    "42P06",
    "42P07",
    "55000",
}
# Which column a COPY was at; behind it stands the value.
_COPIED = re.compile(r'^COPY \S+, line \d+, column (.+?)(?:: (?:"|null input)|$)', re.MULTILINE)
_LOGIN = ("authentication", "pg_hba.conf", "no password supplied", "does not exist", "not permitted to log in")


def translate(error: BaseException) -> errors.DatabaseError | None:
    """A driver's error as one of ours. Its own text may quote a row, so the words here are ours."""
    if not isinstance(error, psycopg2.Error):
        return None
    code = error.pgcode or ""
    if not code:
        return _without_code(error)
    names = error.diag
    constraint, column = names.constraint_name or "", names.column_name or ""
    if not column and (copied := _COPIED.search(names.context or "")):
        column = copied[1]
    table = ".".join(part for part in (names.schema_name, names.table_name) if part)
    where = "".join(
        f", {word} {name}" for word, name in (("constraint", constraint), ("column", column), ("table", table)) if name
    )
    known: dict[str, Any] = {"code": code, "constraint": constraint, "table": table}
    said = f": {(names.message_primary or '').strip()}" if code in _SPEAKABLE else ""
    if code in _REJECTED or code[:2] in ("22", "23"):
        kind, words = _REJECTED.get(
            code, ("type", "a value does not fit") if code[:2] == "22" else ("other", "refused")
        )
        return errors.Rejected(f"{words}{where} (SQLSTATE {code})", kind=kind, **known)
    if code in _CONTENDED:
        return errors.Contended(f"{_CONTENDED[code]}{where} (SQLSTATE {code})", **known)
    if code == "57014":
        return errors.DatabaseError(
            "a statement took longer than its time limit (SQLSTATE 57014)", reason="TimedOut", **known
        )
    if code[:2] == "08" or code in ("57P01", "57P02", "57P03", "57P05", "25P03"):
        return errors.Unreachable(f"the connection broke (SQLSTATE {code})", **known)
    if code == "53300":
        return errors.Unreachable(
            "the server has no connection left (SQLSTATE 53300)", reason="TooManyConnections", **known
        )
    if code in ("25006",):
        return errors.Refused("the session may only read (SQLSTATE 25006)", reason="ReadOnly", **known)
    if code[:2] == "28" or code in ("42501", "3D000"):
        return errors.Refused(f"not allowed{said}{where} (SQLSTATE {code})", **known)
    return errors.DatabaseError(f"{type(error).__name__}{said}{where} (SQLSTATE {code})", **known)


def _without_code(error: psycopg2.Error) -> errors.DatabaseError:
    """At login, and when the connection broke, there is no code. These texts name hosts, roles and databases only."""
    if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        text = " ".join(str(error).split())
        if any(words in text for words in _LOGIN):
            return errors.Refused(text)
        return errors.Unreachable(text)
    return errors.DatabaseError(type(error).__name__)
