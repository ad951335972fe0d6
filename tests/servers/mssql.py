"""SQL Server behind the same interface. None can be started here: PANTOGRAPH_TEST_MSSQL names one by a URL, such as

    mssql://user:password@127.0.0.1:1433/pantograph_test?driver=FreeTDS&tls=disable

Databases are made beside the named one, with its name before theirs, so it must begin with `pantograph_test` and the
login must be allowed to make some. Everybody is that login: the grants of the reference page are not tried here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import pyodbc

from tests.servers.base import TestDatabase

NAMED_BY = "PANTOGRAPH_TEST_MSSQL"
UNNAMED = f"no SQL Server: {NAMED_BY} names none, so nothing of this was run"

SNAPSHOT = "set transaction isolation level snapshot"
"""Of a session, with which a SELECT reads what is committed and waits for nobody."""

# As the package's own connections: a pool would hand out what a test has left behind.
pyodbc.pooling = False


class NotDisposable(Exception):
    """The database that is named would be emptied, and its name does not say that it may be."""


@dataclass(frozen=True)
class Place:
    """What the URL says. options: as `spec.options`."""

    host: str
    port: int
    database: str
    username: str
    password: str
    tls_mode: str = ""
    options: dict[str, str] = field(default_factory=dict)


def place(url: str) -> Place:
    """A URL, taken apart."""
    parts = urllib.parse.urlsplit(url)
    asked = dict(urllib.parse.parse_qsl(parts.query))
    database = parts.path.strip("/")
    if not database.startswith("pantograph_test"):
        raise NotDisposable(f"{NAMED_BY}: the database {database!r} would be emptied; call it pantograph_test…")
    return Place(
        parts.hostname or "127.0.0.1",
        parts.port or 1433,
        database,
        urllib.parse.unquote(parts.username or ""),
        urllib.parse.unquote(parts.password or ""),
        asked.pop("tls", ""),
        asked,
    )


def named() -> Place | None:
    """The server that the environment names; None where it names none."""
    url = os.environ.get(NAMED_BY, "")
    return place(url) if url else None


class Autocommit:
    """pyodbc in autocommit, with the words that the other engines have for a transaction's end."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def cursor(self) -> AutocommitCursor:
        return AutocommitCursor(self.raw.cursor())

    def close(self) -> None:
        self.raw.close()


class AutocommitCursor:
    """What tests use of a cursor."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @property
    def description(self) -> Any:
        return self._raw.description

    @property
    def rowcount(self) -> int:
        return int(self._raw.rowcount)

    def execute(self, sql: str, params: Any = ()) -> None:
        # Of what fails here some takes its transaction along.
        sql = {"commit": "commit transaction", "rollback": "if @@trancount > 0 rollback transaction"}.get(sql, sql)
        self._raw.execute(sql, tuple(params)) if params else self._raw.execute(sql)

    def fetchall(self) -> list[Any]:
        return [tuple(row) for row in self._raw.fetchall()]

    def fetchone(self) -> Any:
        return self._raw.fetchone()

    def close(self) -> None:
        self._raw.close()


class SQLServerDatabase(TestDatabase):
    """A database of its own; everything in the schema dbo."""

    dialect = "mssql"
    schema = "dbo"

    def __init__(self, server: SQLServer, name: str) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._looking: Any = None
        self.server, self.name = server, f"{server.place.database}_{name}"
        server.drop(self.name)
        server.run(f'create database "{self.name}"')
        # Where the server always lets a transaction see one moment, it may refuse to be told so.
        with contextlib.suppress(pyodbc.Error):
            server.run(f'alter database "{self.name}" set allow_snapshot_isolation on')

    def _connect(self, role: str) -> Any:
        return self.server.superuser_connect(self.name)

    def execute(self, sql: str, role: str = "app", params: Any = None) -> list[tuple[Any, ...]]:
        if not sql.startswith("select "):
            return super().execute(sql, role, params)
        # What others see: by itself it would wait for whoever is writing. A connection takes long to make.
        with self._lock:
            if self._looking is None:
                self._looking = self.connect(role)
                self._looking.cursor().execute(SNAPSHOT)
            cursor = self._looking.cursor()
            try:
                cursor.execute(sql, params or ())
                return [tuple(row) for row in cursor.fetchall()]
            except pyodbc.Error:
                self._looking = None
                raise
            finally:
                cursor.close()

    def url(self, role: str = "source") -> dict[str, Any]:
        at = self.server.place
        return {
            "host": at.host,
            "port": at.port,
            "database": self.name,
            "username": at.username,
            "password": at.password,
        }

    def manifests(self, role: str = "source", *, name: str | None = None, **spec: Any) -> list[dict[str, Any]]:
        at = self.server.place
        given = {"options": at.options} if at.options else {}
        return super().manifests(role, name=name, **{"tls": {"mode": at.tls_mode or "disable"}, **given, **spec})

    def _drop(self) -> None:
        # Where a session that was killed is still in it; whoever makes one of this name again takes it away first.
        with contextlib.suppress(pyodbc.Error):
            self.server.drop(self.name)


class SQLServer:
    """The server that is named."""

    kind = "mssql"

    def __init__(self, at: Place) -> None:
        self.place = at

    def superuser_connect(self, database: str = "") -> Any:
        """A connection in autocommit as the login of the URL."""
        at, driver = self.place, self.place.options.get("driver", "FreeTDS")
        if "msodbcsql" in driver.lower() or driver.startswith("ODBC Driver"):
            encrypt = "no" if at.tls_mode in ("", "disable") else "yes"
            address = f"SERVER={at.host},{at.port};Encrypt={encrypt};TrustServerCertificate=yes"
        else:
            encrypt = "off" if at.tls_mode in ("", "disable") else "require"
            address = f"SERVER={at.host};PORT={at.port};TDS_Version=7.4;Encryption={encrypt}"
        login = f"UID={at.username};PWD={{{at.password}}}"
        text = f"DRIVER={{{driver}}};{address};DATABASE={database or at.database};{login}"
        return Autocommit(pyodbc.connect(text, autocommit=True, timeout=10))

    def run(self, sql: str) -> None:
        connection = self.superuser_connect("master")
        try:
            connection.cursor().execute(sql)
        finally:
            connection.close()

    def checks_at_the_end(self) -> bool:
        """Does a statement that swaps two values of a unique key succeed? Not where each row is checked by itself."""
        connection = self.superuser_connect("tempdb")
        cursor = connection.cursor()
        try:
            cursor.execute("create table #swapped (v int not null unique); insert into #swapped values (0), (1)")
            cursor.execute("update #swapped set v = 1 - v")
        except pyodbc.Error:
            return False
        finally:
            connection.close()
        return True

    def holds_zeros(self) -> bool:
        """Does it keep a text with a character of the number 0, as SQL Server does?"""
        connection = self.superuser_connect("tempdb")
        cursor = connection.cursor()
        try:
            cursor.execute("create table #zeros (v nvarchar(9)); insert into #zeros values (?)", ("a\0b",))
        except pyodbc.Error:
            return False
        finally:
            connection.close()
        return True

    def drop(self, name: str) -> None:
        """Take a database away, if it is there."""
        # Sessions that are still in it would hold it; where the server cannot throw them out, they are gone by now.
        with contextlib.suppress(pyodbc.Error):
            self.run(f'alter database "{name}" set single_user with rollback immediate')
        self.run(f"if db_id(N'{name}') is not null drop database \"{name}\"")

    def make_database(self, name: str) -> SQLServerDatabase:
        """A fresh database."""
        return SQLServerDatabase(self, name)
