"""What is monitored: a reflector that runs in this process, and the page that it would show."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from pantograph.reflector import exporting
from pantograph.reflector.counting import Counting
from tests.command.conftest import start as start
from tests.servers import TestDatabase
from tests.support.clients import Client
from tests.support.mirrors import Mirror, documents

Engines = {"postgresql": "pg_db", "mysql": "mysql_db", "mariadb": "my_db", "sqlite": "sqlite_db", "firebird": "fb_db"}


@pytest.fixture
def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def value(text: str, metric: str, **labels: str) -> float | None:
    """The value of the first sample of a page that has these labels; None where there is none."""
    wanted = {f'{label}="{said}"' for label, said in labels.items()}
    for line in text.splitlines():
        found = re.fullmatch(rf"{metric}\{{(.*)\}} (\S+)", line)
        if found and wanted <= set(found[1].split(",")):
            return float(found[2])
    return None


class Watched:
    """A source with a table `orders`, a destination, and a mirror between them, looked at when a test says so."""

    def __init__(self, source: TestDatabase, destination: TestDatabase) -> None:
        self.source, self.destination = source, destination
        self.app = Client(source)
        self.app.run("create table orders (id int primary key, customer varchar(40), qty int)")
        self._running = contextlib.ExitStack()

    def start(self, table: Mapping[str, Any] | None = None, **changes: Any) -> Mirror:
        """Begin to mirror."""
        made = documents(self.source, self.destination, [{"table": "orders", **(table or {})}])
        self.mirror = self._running.enter_context(Mirror(made, **changes))
        self.counting = Counting(self.mirror.board, self.mirror.processes)
        return self.mirror

    def look(self) -> None:
        """Have the databases asked, as happens every 15 seconds."""
        for process in self.mirror.processes:
            self.counting.source(process)
            for destination in process.wanted.copies:
                self.counting.destination(process, destination)

    def page(self) -> str:
        """What a scrape would get."""
        return exporting.page(self.mirror.board, self.mirror.processes)

    def close(self) -> None:
        """End it all."""
        self._running.close()
        self.app.close()


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Watched]]:
    """`watch(source, destination)` for a test that names its engines."""
    made: list[Watched] = []

    def of(source: str, destination: str = "sqlite") -> Watched:
        databases = [request.getfixturevalue(Engines[one])() for one in (source, destination)]
        made.append(Watched(*databases))
        return made[-1]

    yield of
    for one in made:
        one.close()
