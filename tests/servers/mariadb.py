"""MariaDB, as Debian installs it, or the newest that it has."""

from __future__ import annotations

import functools
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

import pymysql
import pymysql.connections
import pymysql.constants.CLIENT

from tests.servers import debian, processes
from tests.servers.base import MARK, SIDES, Server, TestDatabase, roles_of

_NEWEST = debian.Release(
    "mariadb",
    ("mariadb-server-core", "mariadb-client-core"),
    programs=("usr/sbin/mariadbd", "usr/bin/my_print_defaults", "usr/bin/resolveip"),
    files=("usr/bin/mariadb-install-db", "usr/share/mariadb"),
)


@functools.cache
def _program(name: str) -> str:
    if debian.newest():
        return str(_NEWEST.path(f"usr/*bin/{name}"))
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    if not found:
        raise RuntimeError("no MariaDB server here; on Debian: apt-get install mariadb-server")
    return found


def _files() -> dict[str, str]:
    """Settings that say where the server's files are, unless they are where it was built for."""
    if not debian.newest():
        return {}
    usr = _NEWEST.path("usr")
    return {"basedir": str(usr), "lc-messages-dir": str(usr / "share/mariadb")}


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _pattern(name: str) -> str:
    """A database's name as GRANT wants it between its backticks, where `_` and `%` stand for any character."""
    return name.replace("`", "``").replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")


class MariaDBDatabase(TestDatabase):
    """A database; here that is the same as a schema. Our own objects are in another, `pantograph_` and its name."""

    dialect = "mariadb"
    page = "mariadb"  # whose blocks of the grants page

    def __init__(self, server: Server, name: str) -> None:
        super().__init__()
        self.server, self.name, self.schema = server, name, name
        self.ours = f"pantograph_{name}"
        self.roles = roles_of(name, 80)
        self.roles["superuser"] = (server.superuser, server.password)
        app, password = self.roles["app"]
        with server._as_superuser() as cursor:
            cursor.execute(f"create database {_quoted(name)} character set utf8mb4")
            cursor.execute(f"create user '{app}'@'%' identified by '{password}'")
            cursor.execute(f"grant all on `{_pattern(name)}`.* to '{app}'@'%'")
        for role, blocks in SIDES.items():
            for block in ("role", *blocks):
                self.grant(block, role)

    def grant(self, block: str, role: str = "source") -> None:
        """Give `role` a block of the grants page."""
        username, password = self.roles[role]
        app, _ = self.roles["app"]
        names = {"database": _pattern(self.name), "app": app, "role": username, "password": password}
        self.server._grant(f"{self.page} {block}", names)

    def _connect(self, role: str) -> Any:
        at = self.url(role)
        return connect(at["host"], at["port"], at["database"], at["username"], at["password"])

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
            for database in (self.name, self.ours):
                cursor.execute(f"drop database if exists {_quoted(database)}")
            for role in (*SIDES, "app"):
                cursor.execute(f"drop user if exists '{self.roles[role][0]}'@'%'")


class MariaDB(Server):
    """A MariaDB server; `options` are its settings, as in {"log-bin": "binlog"}."""

    kind = "mariadb"
    account = "mysql"
    superuser = "root"
    death = signal.SIGKILL

    @classmethod
    def _server(cls) -> list[str]:
        return [_program("mariadbd"), "--no-defaults"]

    @classmethod
    @functools.cache
    def _version_text(cls) -> str:
        said = subprocess.check_output([*cls._server(), "--version"], text=True)
        return said[said.index("Ver ") :]  # not by which path it was called: that is another in each run

    def _version(self) -> str:
        return self._version_text()

    def _initialise(self, data: pathlib.Path) -> None:
        processes.run(
            [
                _program("mariadb-install-db"),
                "--no-defaults",
                *arguments({"datadir": str(data), **_files()}),
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            self.user,
        )
        # The bootstrap mode knows no accounts and no CREATE USER; root's password is a row.
        statement = data.with_name("mark.sql")
        statement.write_text(
            f"create database {MARK};\n"
            "update mysql.global_priv set priv = json_set(priv, '$.plugin', 'mysql_native_password',"
            f" '$.authentication_string', password('{self.password}')) where user = 'root';\n"
            "delete from mysql.global_priv where user = '';\n"
            # From whatever address it listens on.
            "update mysql.global_priv set host = '%' where user = 'root' and host = '127.0.0.1';\n"
        )
        statement.chmod(0o644)
        processes.run(
            [
                "sh", "-c", '"$@" --bootstrap <"$0"', str(statement),
                *self._server(), *arguments({"datadir": str(data), **_files()}),
            ],
            self.user,
        )  # fmt: skip

    def _settings(self) -> dict[str, str]:
        return {
            "datadir": str(self.data),
            "port": str(self.port),
            "bind-address": self.host,
            "socket": "s.sock",  # in the data folder, whose own path may be too long for a socket
            "pid-file": str(self.folder / "pid"),
            "tmpdir": str(self.folder),  # the environment's may be closed to its account
            "skip-name-resolve": "on",
            "max-connections": "200",
            "local-infile": "on",
            "character-set-server": "utf8mb4",
            # 2: handed to the system at commit, so that a SIGKILL of the server loses nothing.
            "innodb-flush-log-at-trx-commit": "1" if self.durable else "2",
            "innodb-flush-method": "O_DIRECT" if self.durable else "nosync",
            **_files(),
        }

    def _command(self) -> list[str]:
        return [*self._server(), *arguments({**self._settings(), **self.options})]

    def superuser_connect(self, database: str | None = None) -> Any:
        """A raw DBAPI connection in autocommit that may do anything."""
        return connect(self.host, self.port, database, self.superuser, self.password)

    def _is_marked(self) -> bool:
        with self._as_superuser() as cursor:
            cursor.execute("select count(*) from information_schema.schemata where schema_name = %s", (MARK,))
            return bool(cursor.fetchone()[0])

    def make_database(self, name: str) -> MariaDBDatabase:
        """A fresh database of this name, with its roles."""
        self.refuse_unless_disposable()
        return MariaDBDatabase(self, name)


def arguments(settings: Mapping[str, str]) -> list[str]:
    """Settings as words of a command."""
    return [f"--{name}={value}" for name, value in settings.items()]


def connect(
    host: str, port: int, database: str | None, username: str, password: str
) -> pymysql.connections.Connection[Any]:
    """A raw connection in autocommit, that may load files."""
    return pymysql.connect(
        host=host,
        port=port,
        database=database,
        user=username,
        password=password,
        charset="utf8mb4",
        autocommit=True,
        local_infile=True,
        client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
        ssl_disabled=True,
        connect_timeout=10,
    )
