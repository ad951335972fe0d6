"""PostgreSQL, as Debian installs it, or the newest that it has."""

from __future__ import annotations

import functools
import pathlib
import signal
import subprocess
from typing import Any

import psycopg2
import psycopg2.extensions

from tests.servers import debian, processes
from tests.servers.base import MARK, SIDES, Server, TestDatabase, roles_of

_NEWEST = debian.Release(
    "postgresql",
    ("postgresql",),
    programs=tuple(f"usr/lib/postgresql/*/bin/{name}" for name in ("postgres", "initdb", "pg_dump", "psql")),
    files=("usr/lib/postgresql/*/lib", "usr/share/postgresql/*"),
)


@functools.cache
def binaries() -> pathlib.Path:
    """The folder of the server's programs, and of the clients of its version: an older pg_dump refuses it."""
    if debian.newest():
        return _NEWEST.path("usr/lib/postgresql/*/bin")
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("no PostgreSQL server here; on Debian: apt-get install postgresql-15")
    return found[-1].parent


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class PostgreSQLDatabase(TestDatabase):
    """A database that the application owns; its tables are in `public`."""

    dialect = "postgresql"
    schema = "public"

    def __init__(self, server: PostgreSQL, name: str) -> None:
        super().__init__()
        self.server, self.name = server, name
        self.roles = roles_of(name, 63)
        self.roles["superuser"] = (server.superuser, server.password)
        app, password = self.roles["app"]
        with server._as_superuser() as cursor:
            cursor.execute(f"create role {_quoted(app)} login password '{password}'")
            cursor.execute(f"create database {_quoted(name)} owner {_quoted(app)} template template0")
            # So that what the grants page leaves out is missing here too.
            cursor.execute(f"revoke all on database {_quoted(name)} from public")
        for role, blocks in SIDES.items():
            for block in ("role", *blocks):
                self.grant(block, role)

    def grant(self, block: str, role: str = "source") -> None:
        """Give `role` a block of the grants page."""
        username, password = self.roles[role]
        names = {
            "database": _quoted(self.name),
            "app": _quoted(self.roles["app"][0]),
            "role": _quoted(username),
            "schema": _quoted(self.schema),
            "password": password,
        }
        self.server._grant(f"{self.dialect} {block}", names, self.name)

    def _connect(self, role: str) -> Any:
        at = self.url(role)
        return _connect(at["host"], at["port"], at["database"], at["username"], at["password"])

    def url(self, role: str = "source") -> dict[str, Any]:
        username, password = self.roles[role]
        return {
            "host": self.server.host,
            "port": self.server.port,
            "database": self.name,
            "username": username,
            "password": password,
        }

    def _drop(self) -> None:
        with self.server._as_superuser() as cursor:
            cursor.execute(f"drop database if exists {_quoted(self.name)} with (force)")
            for role in (*SIDES, "app"):
                cursor.execute(f"drop role if exists {_quoted(self.roles[role][0])}")


class PostgreSQL(Server):
    """A PostgreSQL server; `options` are its settings, as in {"wal_level": "logical"}."""

    kind = "postgresql"
    account = "postgres"
    superuser = "postgres"
    death = signal.SIGQUIT  # at once, but its shared memory goes with it

    @staticmethod
    @functools.cache
    def _version_text() -> str:
        return subprocess.check_output([binaries() / "postgres", "--version"], text=True)

    def _version(self) -> str:
        return self._version_text()

    def _initialise(self, data: pathlib.Path) -> None:
        password = data.with_name("password")
        password.write_text(self.password)
        password.chmod(0o644)
        processes.run(
            [
                str(binaries() / "initdb"),
                "--pgdata", str(data),
                "--username", self.superuser,
                "--pwfile", str(password),
                "--auth", "scram-sha-256",
                "--encoding", "UTF8",
                "--locale", "C.UTF-8",
                "--no-sync",
            ],
            self.user,
        )  # fmt: skip
        # Whoever reaches the address that it listens on, with a password: pods do from addresses of their own.
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        # A server of one user, which reads its statement from the file and ends.
        statement = data.with_name("mark.sql")
        statement.write_text(f"create database {MARK}\n")
        statement.chmod(0o644)
        processes.run(
            [
                "sh",
                "-c",
                '"$0" --single -F -D "$1" postgres <"$2"',
                str(binaries() / "postgres"),
                str(data),
                str(statement),
            ],
            self.user,
        )

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "unix_socket_directories": "",  # a temporary folder's path may be too long for a socket
            "max_connections": "200",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            "logging_collector": "off",
            "log_min_messages": "warning",
            "timezone": "UTC",
            **self.options,
        }
        command = [str(binaries() / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGINT  # "fast": does not wait for clients

    def superuser_connect(self, database: str | None = None) -> Any:
        """A raw DBAPI connection in autocommit that may do anything."""
        return _connect(self.host, self.port, database or "postgres", self.superuser, self.password)

    def _is_marked(self) -> bool:
        with self._as_superuser() as cursor:
            cursor.execute("select count(*) from pg_database where datname = %s", (MARK,))
            return bool(cursor.fetchone()[0])

    def make_database(self, name: str) -> PostgreSQLDatabase:
        """A fresh database of this name, with its roles."""
        self.refuse_unless_disposable()
        return PostgreSQLDatabase(self, name)


def _connect(host: str, port: int, database: str, username: str, password: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(
        host=host, port=port, dbname=database, user=username, password=password, sslmode="disable", connect_timeout=10
    )
    connection.autocommit = True
    return connection
