"""What is compared: each makes a live copy of table `orders` of one PostgreSQL database in another."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from tests.servers import TestDatabase

ROOT = pathlib.Path(__file__).parent.parent
API = "pantograph.dev/v1alpha1"


def wait(reached: Callable[[], bool], limit: float, every: float = 0.005) -> float:
    """The moment (perf_counter) at which something was seen to be reached."""
    end = time.perf_counter() + limit
    while not reached():
        if time.perf_counter() > end:
            raise TimeoutError(f"not reached within {limit:.0f} s")
        time.sleep(every)
    return time.perf_counter()


class Contender:
    """Brings a live copy about. `start` begins with an initial load unless the copy is there already."""

    name = ""

    def __init__(self, source: TestDatabase, destination: TestDatabase, tables: list[str]) -> None:
        self.source, self.destination, self.tables = source, destination, tables

    def prepare(self) -> None:
        """What may be done before the clock starts, with the tables there."""

    def start(self) -> None:
        """Begin, with an initial load."""

    def pause(self) -> None:
        """Stop for a while."""

    def resume(self) -> None:
        """Go on after a pause."""

    def stop(self) -> None:
        """End it, and leave nothing behind."""


class Native(Contender):
    """PostgreSQL's own logical replication. It needs a superuser, so it has one."""

    name = "native"

    def prepare(self) -> None:
        for table in self.tables:
            columns = self.source.execute(
                "select string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum) "
                f"from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"
            )[0][0]
            self.destination.execute(f"create table {table} ({columns}, primary key (id))", role="superuser")
        self.source.execute(f"create publication bench for table {', '.join(self.tables)}", role="superuser")

    def start(self) -> None:
        at, server = self.source.url("superuser"), self.source.server
        dsn = f"host={at['host']} port={at['port']} dbname={at['database']} user={at['username']}"
        if at.get("password"):
            dsn += f" password={at['password']}"
        del server
        self.destination.execute(f"create subscription bench connection '{dsn}' publication bench", role="superuser")

    def pause(self) -> None:
        self.destination.execute("alter subscription bench disable", role="superuser")

    def resume(self) -> None:
        self.destination.execute("alter subscription bench enable", role="superuser")

    def stop(self) -> None:
        self.destination.execute("drop subscription bench", role="superuser")
        self.source.execute("drop publication bench", role="superuser")


class Pantograph(Contender):
    """This project, as its users run it: `pantograph run -f DIR`, with the least grants of the reference page."""

    name = "pantograph"
    process: subprocess.Popen[bytes] | None = None
    reflector: Mapping[str, Any] = {}

    def prepare(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
        documents: list[dict[str, Any]] = self.source.manifests("source", name="shop", reflector=dict(self.reflector))
        documents += self.destination.manifests("destination", name="copy")
        for table in self.tables:
            documents.append(
                {
                    "apiVersion": API,
                    "kind": "SourceTable",
                    "metadata": {"name": table},
                    "spec": {"databaseRef": {"name": "shop"}, "table": table},
                }
            )
            documents.append(
                {
                    "apiVersion": API,
                    "kind": "Reflection",
                    "metadata": {"name": table},
                    "spec": {
                        "sourceTableRef": {"name": table},
                        "destination": {"databaseRef": {"name": "copy"}, "table": table},
                    },
                }
            )
        (self.folder / "manifests.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pantograph", *words, "-f", str(self.folder)]

    def start(self) -> None:
        environment = dict(os.environ, PYTHONPATH=str(ROOT / "operator"))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command("run"), env=environment, stdout=log, stderr=log)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def resume(self) -> None:
        self.start()

    def stop(self) -> None:
        self.pause()


class Woken(Pantograph):
    """The same, told by the source of each commit."""

    name = "woken"
    reflector: Mapping[str, Any] = {"wakeUp": "Notify"}
