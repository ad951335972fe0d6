"""Firebird, as Debian installs it, or the newest that it has."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import fdb

from tests.servers import debian, processes
from tests.servers.base import MARK, SIDES, Server, TestDatabase, roles_of

_LIBRARIES = ("UDF", "intl", "lib", "plugins", "plugins.conf", "firebird.msg", "fbtrace.conf")

# Where the package's link to it leads.
_CHARACTER_SETS = "etc/firebird/*/fbintl.conf"

_NEWEST = debian.Release(
    "firebird",
    ("firebird4.0-server", "firebird4.0-utils"),  # no package's name stands for the newest one
    programs=("usr/lib/firebird/*/bin/firebird", "usr/lib/firebird/*/bin/isql-fb"),
    files=(*(f"usr/lib/*/firebird/*/{name}" for name in _LIBRARIES if name != "UDF"), _CHARACTER_SETS),
    libraries=("libicuuc.so.*", "libicui18n.so.*", "libfbclient.so.2"),
)


@functools.cache
def _program(name: str) -> str:
    if debian.newest():
        return str(_NEWEST.path(f"usr/lib/firebird/*/bin/{name}"))
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    if not found:
        raise RuntimeError("no Firebird server here; on Debian: apt-get install firebird3.0-server libfbclient2")
    return found


def _installation() -> pathlib.Path:
    if debian.newest():
        return _NEWEST.path("usr/lib/*/firebird/*")
    found = sorted(pathlib.Path("/usr/lib").glob("*/firebird/*/plugins"))
    if not found:
        raise RuntimeError("no Firebird server here; on Debian: apt-get install firebird3.0-server libfbclient2")
    return found[-1].parent


_ROWS = re.compile(r"(?P<head>insert into .+? values) \((?P<rows>.+\), \(.+)\)", re.DOTALL)
_MADE = re.compile(r'\s*create\s+table\s+("(?:[^"]|"")+"|\w+)', re.IGNORECASE)


class Autocommit:
    """fdb in autocommit, as the other drivers are: a statement outside BEGIN and COMMIT has its own transaction.

    made: called with the name of a table that was made.
    """

    def __init__(self, raw: Any, made: Callable[[str], None] = lambda _: None) -> None:
        self.raw, self._made = raw, made
        # Seconds that a transaction waits for another one's row; 0: as long as it takes.
        self.lock_timeout = 0

    def cursor(self) -> AutocommitCursor:
        return AutocommitCursor(self)

    def begin(self, *, read_only: bool = False) -> None:
        parameters = fdb.TPB()
        parameters.access_mode = fdb.isc_tpb_read if read_only else fdb.isc_tpb_write
        parameters.isolation_level = (
            fdb.isc_tpb_concurrency if read_only else (fdb.isc_tpb_read_committed, fdb.isc_tpb_rec_version)
        )
        parameters.lock_resolution = fdb.isc_tpb_wait
        if self.lock_timeout:
            parameters.lock_timeout = self.lock_timeout
        self.raw.begin(tpb=parameters)

    @property
    def active(self) -> bool:
        """Is a transaction open?"""
        return bool(self.raw.main_transaction.active)

    def close(self) -> None:
        self.raw.close()


@contextlib.contextmanager
def _prepared(cursor: Any, sql: str) -> Iterator[Any]:
    """A statement that is dropped here. fdb would drop it when an error's traceback is forgotten, in whatever thread;
    the client library does not survive that while the connection is closed."""
    statement = fdb.PreparedStatement.__new__(fdb.PreparedStatement)
    try:
        statement.__init__(sql, cursor, False)
        yield statement
    finally:
        with contextlib.suppress(fdb.Error):
            statement._close()


class AutocommitCursor:
    """What tests use of a cursor."""

    def __init__(self, owner: Autocommit) -> None:
        self._owner, self._connection, self._made = owner, owner.raw, owner._made
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1

    def execute(self, sql: str, params: Any = ()) -> None:
        self._rows, self.description = [], None
        control = " ".join(sql.lower().split())
        if control in ("begin", "begin read only"):
            self._owner.begin(read_only=control != "begin")
        elif control in ("commit", "rollback"):
            if self._connection.main_transaction.active:
                getattr(self._connection, control)()
        elif (several := _ROWS.fullmatch(sql)) and not params:
            self._one_by_one(several["head"], several["rows"].split("), ("))
        else:
            self._run(sql, params)

    def _one_by_one(self, head: str, rows: list[str]) -> None:
        """An INSERT of several rows, which Firebird does not know, as one statement all the same."""
        own = not self._connection.main_transaction.active
        if own:
            self._owner.begin()
        try:
            for start in range(0, len(rows), 100):
                inserts = " ".join(f"{head} ({row});" for row in rows[start : start + 100])
                self._run(f"execute block as begin {inserts} end", ())
            if own:
                self._connection.commit()
        except BaseException:
            if own:
                self._connection.rollback()
            raise

    def _run(self, sql: str, params: Any) -> None:
        own = not self._connection.main_transaction.active
        if own:
            # A snapshot, or a BLOB may be gone by the time that it is fetched.
            self._owner.begin(read_only=sql.lstrip()[:6].lower() == "select")
        cursor = self._connection.cursor()
        try:
            with _prepared(cursor, sql) as statement:
                statement.set_stream_blob_treshold(1 << 30)
                cursor.execute(statement, tuple(params or ()))
                self.description, self.rowcount = statement.description, cursor.rowcount
                if self.description:
                    self._rows = cursor.fetchall()
            if own:
                self._connection.commit()
                if made := _MADE.match(sql):
                    self._made(made[1])
        except BaseException:
            if own:
                self._connection.rollback()
            raise

    def executemany(self, sql: str, rows: Any) -> None:
        for row in rows:
            self.execute(sql, row)

    def fetchall(self) -> list[Any]:
        found, self._rows = self._rows, []
        return found

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def close(self) -> None:
        self._rows = []


class FirebirdDatabase(TestDatabase):
    """A database, which is a file of the server's. There are no schemas; our own objects have a prefix.

    Rights on tables are given one by one, and never ahead: `granted` gives them for tables that the application made.
    """

    dialect = "firebird"
    schema = ""

    def __init__(self, server: Firebird, name: str) -> None:
        super().__init__()
        self.server, self.name = server, name
        self.path = server.path(name)
        server.create(self.path)
        self.roles = roles_of(name, 31)
        self.roles["superuser"] = (server.superuser, server.password)
        app, password = self.roles["app"]
        with server._as_superuser(str(self.path)) as cursor:
            cursor.execute(f"create user {app} password '{password}'")
            for right in ("create table", "create sequence", "create view", "create procedure", "create function"):
                cursor.execute(f"grant {right} to user {app}")
        for role, blocks in SIDES.items():
            for block in ("role", *blocks):
                self.grant(block, role)

    def grant(self, block: str, role: str = "source", table: str = "") -> None:
        """Give `role` a block of the grants page."""
        username, password = self.roles[role]
        names = {"role": username, "password": password, "table": table}
        self.server._grant(f"firebird {block}", names, str(self.path))

    def grant_sequences(self, role: str) -> None:
        """Give `role` what the grants page gives it on each sequence of the application's."""
        username, _ = self.roles[role]
        made = self.execute(
            "select trim(rdb$generator_name) from rdb$generators where coalesce(rdb$system_flag, 0) <> 1", "superuser"
        )
        for (sequence,) in made:
            self.server._grant("firebird sequence", {"role": username, "sequence": f'"{sequence}"'}, str(self.path))

    def granted(self, table: str) -> None:
        """Give Pantograph's roles what the grants page gives them on a table of the application's."""
        for role, blocks in SIDES.items():
            for block in blocks:
                self.grant(f"{block} table", role, table)

    def _connect(self, role: str) -> Any:
        username, password = self.roles[role]
        raw = _connect(self.server.host, self.server.port, str(self.path), username, password)
        return Autocommit(raw, self.granted) if role == "app" else Autocommit(raw)

    def url(self, role: str = "source") -> dict[str, Any]:
        username, password = self.roles[role]
        return {
            "host": self.server.host,
            "port": self.server.port,
            "database": str(self.path),
            "username": username,
            "password": password,
        }

    def _drop(self) -> None:
        with self.server._as_superuser(str(self.path)) as cursor:
            for role in (*SIDES, "app"):
                cursor.execute(f"drop user {self.roles[role][0]}")
        self.path.unlink(missing_ok=True)


class Firebird(Server):
    """A Firebird server with a root, an account file and a lock folder of its own."""

    kind = "firebird"
    account = "firebird"
    superuser = "SYSDBA"
    password = "disposable"
    death = signal.SIGKILL

    def _version(self) -> str:
        return subprocess.check_output([_program("firebird"), "-z"], text=True)

    def _initialise(self, data: pathlib.Path) -> None:
        root = data / "root"
        for folder in (data, root, data / "lock", data / "files"):
            folder.mkdir(mode=0o755)
        for name in _LIBRARIES:
            # Not linked: the server refuses a library that it finds at another path than it asked for.
            if (_installation() / name).exists():
                processes.run(["cp", "--recursive", "--dereference", str(_installation() / name), str(root)], None)
        if debian.newest():
            processes.run(["cp", "--remove-destination", str(_NEWEST.path(_CHARACTER_SETS)), str(root / "intl")], None)
        self._configure(data)
        security = root / "security.fdb"
        script = data / "account.sql"
        script.write_text(
            f"create database '{security}';\n"
            f"create user {self.superuser} password '{self.password}' using plugin Srp;\ncommit;\n"
        )
        if self.user:
            processes.run(["chown", "-R", self.user, str(data)], None)
        command = [_program("isql-fb"), "-q", "-bail", "-user", self.superuser, "-i", str(script)]
        processes.run(["env", *self._environment(data), *command], self.user)
        script.unlink()

    def _configure(self, data: pathlib.Path) -> None:
        root = data / "root"
        settings = {
            "RemoteServicePort": getattr(self, "port", 3050),
            "RemoteBindAddress": self.host,
            "SecurityDatabase": root / "security.fdb",
            "AuthServer": "Srp",
            "UserManager": "Srp",
            "WireCrypt": "Enabled",
            "ServerMode": "Super",
            **self.options,
        }
        (root / "firebird.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        # Braces on lines of their own, or the line is illegal.
        (root / "databases.conf").write_text(f"security.db = {root}/security.fdb\n{{\n  RemoteAccess = false\n}}\n")

    def _environment(self, data: pathlib.Path) -> list[str]:
        return [
            f"FIREBIRD={data / 'root'}",
            f"FIREBIRD_MSG={data / 'root'}",
            f"FIREBIRD_LOCK={data / 'lock'}",
            f"FIREBIRD_TMP={data}",
        ]

    def _command(self) -> list[str]:
        self._configure(self.data)
        return ["env", *self._environment(self.data), _program("firebird")]

    def path(self, name: str) -> pathlib.Path:
        """The file of a database."""
        return self.data / "files" / f"{name}.fdb"

    def create(self, path: pathlib.Path) -> None:
        """A new, empty database."""
        made = fdb.create_database(
            dsn=f"{self.host}/{self.port}:{path}", user=self.superuser, password=self.password, page_size=16384,
            charset="UTF8", sql_dialect=3,
        )  # fmt: skip
        made.close()
        if not self.durable:
            services = fdb.services.connect(
                host=f"{self.host}/{self.port}", user=self.superuser, password=self.password
            )
            services.set_write_mode(str(path), fdb.services.WRITE_BUFFERED)
            services.close()

    def superuser_connect(self, database: str | None = None) -> Any:
        """A raw DBAPI connection in autocommit that may do anything."""
        mark = self.path(MARK)
        if database is None and not mark.exists():
            self.create(mark)
        return Autocommit(_connect(self.host, self.port, database or str(mark), self.superuser, self.password))

    def _is_marked(self) -> bool:
        return self.path(MARK).exists()

    def make_database(self, name: str) -> FirebirdDatabase:
        """A fresh database of this name, with its roles."""
        self.refuse_unless_disposable()
        return FirebirdDatabase(self, name)


def _connect(host: str, port: int, database: str, username: str, password: str) -> Any:
    raw = fdb.connect(dsn=f"{host}/{port}:{database}", user=username, password=password, charset="UTF8", sql_dialect=3)
    if raw.engine_version >= 4:
        # So is the sum of a bigint there, and the client library does not know it.
        raw.execute_immediate("set bind of int128 to bigint")
        raw.commit()
    return raw
