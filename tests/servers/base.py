"""What the servers have in common: started, stopped, killed, and asked for databases with our roles in them."""

from __future__ import annotations

import abc
import atexit
import contextlib
import hashlib
import inspect
import os
import pathlib
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from tests.servers import grants, processes

MARK = "pantograph_disposable"
"""A server that has no database of this name is not ours: the tests drop databases and roles."""

SIDES = {"source": ("source",), "destination": ("destination",), "both": ("source", "destination")}
"""Pantograph's roles, and the blocks of the grants page that each gets."""


class NotDisposable(Exception):
    """The server does not carry the mark of a server that was made to be thrown away."""


class TestDatabase(abc.ABC):
    """A fresh database and who may enter it.

    Connections are raw DBAPI ones in autocommit, closed with the database. Roles are `app` (owns the tables, has no
    right on anything of ours), `source` and `destination` (Pantograph's, with exactly the grants of the reference page,
    one role for each side so that neither leans on the other's), `both` (for a mirror within one database), and
    `superuser`.
    """

    __test__ = False  # a name that pytest would collect

    dialect: str
    name: str
    schema: str

    def __init__(self) -> None:
        self._open: list[Any] = []

    @abc.abstractmethod
    def _connect(self, role: str) -> Any: ...

    @abc.abstractmethod
    def url(self, role: str = "source") -> dict[str, Any]:
        """host, port, database, username and password; for a file: path."""

    def grant(self, block: str, role: str = "source") -> None:
        """Give `role` an optional block of the grants page, as in `grant("process")`."""
        raise NotImplementedError(f"{self.dialect} has no grants")

    @abc.abstractmethod
    def _drop(self) -> None: ...

    def connect(self, role: str) -> Any:
        """A connection as `app`, `source`, `destination`, `both` or `superuser`."""
        connection = self._connect(role)
        self._open.append(connection)
        return connection

    def app(self) -> Any:
        """A connection as the application."""
        return self.connect("app")

    def superuser(self) -> Any:
        """A connection that may do anything."""
        return self.connect("superuser")

    def execute(self, sql: str, role: str = "app", params: Any = None) -> list[tuple[Any, ...]]:
        """One statement on a connection of its own; the rows, when it has any."""
        connection = self._connect(role)
        try:
            cursor = connection.cursor()
            cursor.execute(sql, params) if params is not None else cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            connection.close()

    def manifests(self, role: str = "source", *, name: str | None = None, **spec: Any) -> list[dict[str, Any]]:
        """The `Database` `name` that enters here as `role`, and its `Secret`; `spec` adds fields to the former."""
        at = self.url(role)
        name = name or self.name.replace("_", "-").lower()
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{name}-credentials"},
            "stringData": {"username": at.pop("username"), "password": at.pop("password")},
        }
        database = {
            "apiVersion": "pantograph.dev/v1alpha1",
            "kind": "Database",
            "metadata": {"name": name},
            "spec": {
                "dialect": self.dialect,
                **at,
                "credentials": {"secretName": f"{name}-credentials"},
                "tls": {"mode": "disable"},
                **spec,
            },
        }
        return [database, secret]

    def close(self) -> None:
        """Close the connections that were handed out."""
        while self._open:
            with contextlib.suppress(Exception):  # it may have lost its server, or be closed already
                self._open.pop().close()

    def drop(self) -> None:
        """Take the database and its roles away."""
        self.close()
        self._drop()


class Server(abc.ABC):
    """A database server of our own on a free port of 127.0.0.1, with its data below a temporary folder."""

    kind: ClassVar[str]
    account: ClassVar[str]
    death: ClassVar[signal.Signals]
    superuser: ClassVar[str]
    password = "disposable"
    host = "127.0.0.1"
    port: int

    def __init__(self, *, durable: bool = False, options: Mapping[str, str] | None = None) -> None:
        self.durable = durable
        self.options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.user = processes.user_for(self.account)
        self.folder = processes.folder(self.kind, self.user)
        self.data = self.folder / "data"
        self.log = self.folder.with_suffix(".log")
        self._owner = os.getpid()

    @classmethod
    def start(cls, *, durable: bool = False, options: Mapping[str, str] | None = None) -> Self:
        """A new server.

        Without `durable` it does not wait for the disk: what was committed outlives the server's death by SIGKILL, not
        the machine's. `options` are the server's settings, by name.
        """
        server = cls(durable=durable, options=options)
        processes.copy_cached(server._template_key(), server._initialise, server.data, server.user)
        for attempt in range(3):
            server.port = processes.free_port()
            try:
                server._launch()
                break
            except ServerDied:
                if attempt == 2:  # somebody else may have taken the port meanwhile, not three times
                    raise
        atexit.register(server._forget)
        return server

    # What differs.

    @abc.abstractmethod
    def _version(self) -> str: ...

    @abc.abstractmethod
    def _initialise(self, data: pathlib.Path) -> None:
        """Make a data folder that holds the mark."""

    @abc.abstractmethod
    def _command(self) -> list[str]: ...

    @abc.abstractmethod
    def superuser_connect(self, database: str | None = None) -> Any:
        """A raw DBAPI connection in autocommit that may do anything."""

    @abc.abstractmethod
    def _is_marked(self) -> bool: ...

    @abc.abstractmethod
    def make_database(self, name: str) -> TestDatabase:
        """A fresh database of this name, with its roles."""

    # What does not.

    def _template_key(self) -> str:
        code = inspect.getsource(type(self)._initialise)  # how it is made is part of what it holds
        digest = hashlib.sha256(f"{self._version()} {self.user} {code}".encode()).hexdigest()[:16]
        return f"{self.kind}-{digest}"

    def _launch(self) -> None:
        self._process = processes.start(self._command(), self.log, self.user, self.death)
        deadline = time.monotonic() + 60
        while True:
            if self._process.poll() is not None:
                raise ServerDied(f"{self.kind} ended with status {self._process.returncode}:\n{self._last_words()}")
            try:
                self.superuser_connect().close()
                break
            except Exception as error:  # each driver has its own, and refuses while the server starts
                if time.monotonic() > deadline:
                    self._process.kill()
                    raise ServerDied(
                        f"{self.kind} does not answer after 60 s: {error}\n{self._last_words()}"
                    ) from error
                time.sleep(0.02)
        self.refuse_unless_disposable()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def refuse_unless_disposable(self) -> None:
        """Raise unless the server that answers on our port carries the mark."""
        if not self._is_marked():
            raise NotDisposable(
                f"{self.kind} at {self.host}:{self.port} has no database {MARK}; nothing is touched there"
            )

    @property
    def pid(self) -> int:
        """The running server's process; of use to /proc, for its CPU and memory."""
        if self._process is None:
            raise RuntimeError(f"{self.kind} at port {self.port} is not running")
        return self._process.pid

    def stop(self) -> None:
        """Shut down in order; the data stays for `restart`."""
        if self._process is None:
            return
        self._process.send_signal(self._stop_signal())
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            processes.kill_tree(self._process.pid)
            self._process.wait()
        self._process = None

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGTERM

    def kill(self) -> None:
        """Die as by a power cut of the server, not of its disk."""
        if self._process is None:
            return
        processes.kill_tree(self._process.pid)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Start again on the same port and data; an ordinary stop first when it still runs."""
        self.stop()
        self._launch()

    def _forget(self) -> None:
        if os.getpid() == self._owner:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # nobody will miss the data

    # For those who make databases.

    @contextlib.contextmanager
    def _as_superuser(self, database: str | None = None) -> Iterator[Any]:
        connection = self.superuser_connect(database)
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def _grant(self, tag: str, names: Mapping[str, str], database: str | None = None) -> None:
        with self._as_superuser(database) as cursor:
            for statement in grants.statements(tag, names):
                cursor.execute(statement)


class ServerDied(Exception):
    """The server ended, or never answered; its last words follow."""


def roles_of(name: str, limit: int) -> dict[str, tuple[str, str]]:
    """Account name and password of each role; account names are of the server, so the database's name is in them."""
    short = hashlib.sha256(name.encode()).hexdigest()[:8]
    head = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)[: limit - 24]
    return {role: (f"{head}_{short}_{role}", secrets.token_urlsafe(12)) for role in ("app", *SIDES)}
