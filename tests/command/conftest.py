"""The command as users call it: a process of its own, real databases, what it prints and how it ends."""

from __future__ import annotations

import fcntl
import os
import pathlib
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml

from tests.servers import TestDatabase
from tests.support.source import Canary, Source

ROOT = pathlib.Path(__file__).parents[2]
API = "pantograph.dev/v1alpha1"


def environment() -> dict[str, str]:
    """As a user's, without a terminal and without what this test run has set up for itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COLUMNS"))}
    return kept | {"PYTHONPATH": str(ROOT / "operator"), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}


class Process:
    """A command that runs on. What it says on standard error is collected as it comes."""

    def __init__(self, arguments: Sequence[str], folder: pathlib.Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pantograph", *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line)

    def said(self, words: str, timeout: float = 30.0) -> None:
        """Wait until it has said this on standard error."""
        wait_for(lambda: words in "".join(self.errors), timeout, lambda: f"{words!r} in:\n{''.join(self.errors)}")

    def end(self, number: signal.Signals = signal.SIGINT, timeout: float = 30.0) -> int:
        """Send a signal; the status that it ends with."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 30.0) -> int:
        """The status that it ends with."""
        status = self.process.wait(timeout)
        self._reading.join(5)
        return status

    def close(self) -> None:
        """Let nothing of it stay."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reading.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Screen:
    """The command in a terminal of its own, of 120 columns and 30 lines."""

    def __init__(self, arguments: Sequence[str], folder: pathlib.Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pantograph", *arguments],
            cwd=folder, env=environment() | {"TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._drawn = bytearray()

    def shows(self, pattern: str) -> bool:
        """Whether it is on what was drawn last."""
        return re.search(pattern, self.text()) is not None

    def text(self) -> str:
        """What was drawn last, without colours."""
        try:
            while chunk := os.read(self._ours, 65536):
                self._drawn.extend(chunk)
        except OSError:  # nothing more just now
            pass
        latest = self._drawn.decode(errors="replace").rpartition("\x1b[H")[2]
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", latest)

    def wait(self, pattern: str, timeout: float = 40.0) -> None:
        """Until it is shown."""
        wait_for(lambda: self.shows(pattern), timeout, lambda: f"{pattern!r} in:\n{self.text()}")

    def end(self) -> int:
        """Ctrl-C; the status that it ends with. The terminal must be as it was before."""
        self.process.send_signal(signal.SIGINT)

        def ended() -> bool:
            self.text()  # it may wait for what it has drawn to be read
            return self.process.poll() is not None

        wait_for(ended)
        assert "\x1b[?1049l" in self._drawn.decode(errors="replace"), "the terminal is not as it was before"
        return self.process.returncode

    def close(self) -> None:
        """Let nothing of it stay."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def wait_for(holds: Callable[[], bool], timeout: float = 30.0, what: Callable[[], str] = lambda: "it") -> None:
    """Until it holds; fails with `what` when it does not come about."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what()}"
        time.sleep(0.02)


@pytest.fixture
def call(tmp_path: pathlib.Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`call("run", "-f", …)` runs the command to its end."""

    def run(*arguments: object, stdin: str = "", timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pantograph", *map(str, arguments)],
            cwd=tmp_path,
            env=environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Callable[..., Process]]:
    """`start("run", "-f", …)` lets the command run on."""
    started: list[Process] = []

    def begin(*arguments: object) -> Process:
        started.append(Process([str(argument) for argument in arguments], tmp_path))
        return started[-1]

    yield begin
    for process in started:
        process.close()


@pytest.fixture
def screen(tmp_path: pathlib.Path) -> Iterator[Callable[..., Screen]]:
    """`screen("status", "--watch", …)` is the command in a terminal."""
    opened: list[Screen] = []

    def begin(*arguments: object) -> Screen:
        opened.append(Screen([str(argument) for argument in arguments], tmp_path))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def source_table(name: str, **spec: Any) -> dict[str, Any]:
    """A SourceTable of Database `shop`."""
    return {
        "apiVersion": API,
        "kind": "SourceTable",
        "metadata": {"name": name},
        "spec": {"databaseRef": {"name": "shop"}, "table": name, **spec},
    }


def reflection(name: str, **spec: Any) -> dict[str, Any]:
    """A Reflection of the SourceTable of this name into Database `copy`."""
    return {
        "apiVersion": API,
        "kind": "Reflection",
        "metadata": {"name": name},
        "spec": {
            "sourceTableRef": {"name": name},
            "destination": {"databaseRef": {"name": "copy"}, "table": name},
            **spec,
        },
    }


def write(folder: pathlib.Path, documents: Sequence[Mapping[str, Any]]) -> pathlib.Path:
    """The documents as a file of manifests."""
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return path


class Shop:
    """Two SQLite files, `orders` and `customers` in one of them, and the manifests that mirror them into the other."""

    def __init__(self, folder: pathlib.Path, source: TestDatabase, destination: TestDatabase) -> None:
        self.source, self.destination = source, destination
        source.execute("create table orders (id integer primary key, customer text, quantity integer)")
        source.execute("create table customers (id integer primary key, name text)")
        for number in range(1, 6):
            source.execute(f"insert into orders values ({number}, 'c{number}', {number})")
            source.execute(f"insert into customers values ({number}, 'name {number}')")
        self.documents = [
            *source.manifests(name="shop"),
            *destination.manifests("destination", name="copy"),
            *(source_table(name) for name in ("orders", "customers")),
            *(reflection(name) for name in ("orders", "customers")),
        ]
        self.folder = folder
        self.manifests = write(folder, self.documents)

    def rows(self, table: str = "orders") -> tuple[list[Any], list[Any]]:
        """Rows of a table at the source and at the destination; none where it is not there yet."""
        there = self.destination.execute(f"select 1 from sqlite_master where name = '{table}'")
        copied = self.destination.execute(f"select * from {table} order by 1") if there else []
        return self.source.execute(f"select * from {table} order by 1"), copied

    def equal(self) -> bool:
        """Do both tables hold the same rows on both sides?"""
        return all(here == there for here, there in map(self.rows, ("orders", "customers")))

    def dumps(self) -> tuple[list[str], list[str]]:
        """All that is in either file."""
        return dump(self.source), dump(self.destination)


def dump(database: TestDatabase) -> list[str]:
    """All that is in a SQLite file, as SQL."""
    return list(database.connect("superuser").iterdump())


@pytest.fixture
def shop(tmp_path: pathlib.Path, sqlite_db: Callable[..., TestDatabase]) -> Shop:
    return Shop(tmp_path, sqlite_db("source"), sqlite_db("destination"))


@pytest.fixture
def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def canary(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Canary]]:
    """`canary("pg_db")` is a fresh database with a table that nobody may touch beside `orders`."""
    made: list[Canary] = []

    def of(engine: str) -> Canary:
        made.append(Canary(Source(request.getfixturevalue(engine)())))
        return made[-1]

    yield of
    for one in made:
        one.source.session.close()
