"""A mirror that runs: in threads of the test, or as a process of its own that can be killed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import yaml

from pantograph.api import manifests as parsing
from pantograph.apply import sources
from pantograph.reflector import process, reporting
from tests.servers import TestDatabase
from tests.support.comparison import PATIENCE, wait_until

API = "pantograph.dev/v1alpha1"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def documents(
    source: TestDatabase,
    destination: TestDatabase,
    tables: Iterable[str | Mapping[str, Any]],
    *,
    database: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Manifests that mirror `tables` of one database in tables of the same names in another.

    A table is its name, or {"table": name, "name": object's name, "to": destination's table, "source": {…spec…},
    "destination": {…}, "annotations": {…}, …spec of the Reflection…}. `database` adds to the source Database's spec.
    """
    made = source.manifests("source", name="from", **(database or {}))
    made += destination.manifests("destination", name="to")
    for number, given in enumerate(tables):
        table = {"table": given} if isinstance(given, str) else dict(given)
        name = table.pop("name", f"t{number}")
        original = table.pop("table")
        if original is not None:
            made.append(
                {
                    "apiVersion": API,
                    "kind": "SourceTable",
                    "metadata": {"name": name},
                    "spec": {"databaseRef": {"name": "from"}, "table": original, **table.pop("source", {})},
                }
            )
        to = {"databaseRef": {"name": "to"}, "table": table.pop("to", original), **table.pop("destination", {})}
        metadata: dict[str, Any] = {"name": table.pop("reflection", name)}
        if "annotations" in table:
            metadata["annotations"] = table.pop("annotations")
        of = table.pop("of", name)
        made.append(
            {
                "apiVersion": API,
                "kind": "Reflection",
                "metadata": metadata,
                "spec": {"sourceTableRef": {"name": of}, "destination": to, **table},
            }
        )
    return made


def written(made: list[dict[str, Any]]) -> pathlib.Path:
    """The manifests in a file."""
    handle, path = tempfile.mkstemp(suffix=".yaml", prefix="pantograph-test-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        yaml.safe_dump_all(made, file)
    return pathlib.Path(path)


def wanted(made: list[dict[str, Any]], *, adopt: bool = False) -> list[sources.Wanted]:
    """What each source Database of the manifests is to do, as `run` would see it."""
    path = written(made)
    try:
        loaded = parsing.load([str(path)], None)
        assert not loaded.problems(), loaded.problems()
        return sources.wanted(loaded, adopt=adopt)
    finally:
        path.unlink()


def ours(database: TestDatabase, name: str) -> str:
    """One of Pantograph's own tables, as its documentation says where they are."""
    return {
        "postgresql": f"pantograph.{name}",
        "mysql": f"`pantograph_{database.name}`.{name}",
        "mariadb": f"`pantograph_{database.name}`.{name}",
        "sqlite": f"pantograph_{name}",
        "firebird": f"pantograph_{name}",
        "mssql": f"pantograph.{name}",
    }[database.dialect]


def in_step(destination: TestDatabase) -> int:
    """How many Reflections move with their stream, by what the destination's checkpoints say."""
    found = destination.execute(
        f"select state from {ours(destination, 'checkpoints')} where name like 'reflection/%'", role="superuser"
    )
    return sum(1 for (state,) in found if json.loads(state).get("in_step"))


class Mirror:
    """The process of every source Database in `made`, in threads of this one."""

    def __init__(self, made: list[dict[str, Any]], *, adopt: bool = False, **changes: Any) -> None:
        self.board = reporting.Board()
        self.messages: list[str] = []
        self.board.messages = self.messages.append
        self._stop = threading.Event()
        asked = [dataclasses.replace(one, **changes) for one in wanted(made, adopt=adopt)]
        self.processes = [process.Process(one, self.board, self._stop) for one in asked]
        self._threads = [threading.Thread(target=one.run, daemon=True) for one in self.processes]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=40)
        stuck = [thread for thread in self._threads if thread.is_alive()]
        assert not stuck, "the process did not stop"

    def seen(self, name: str = "t0") -> reporting.Seen:
        return self.board.of(f"default/{name}")

    def wait_phase(self, *phases: str, name: str = "t0", patience: float = PATIENCE) -> reporting.Seen:
        try:
            return wait_until(lambda: self.seen(name).phase in phases and self.seen(name), f"{name} {phases}", patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.seen(name)}; {self.messages[-5:]}") from error

    def wait_reason(self, reason: str, name: str = "t0") -> reporting.Seen:
        return wait_until(lambda: self.seen(name).reason == reason and self.seen(name), f"{name}: {reason}")

    def wait_said(self, words: str) -> str:
        return wait_until(lambda: next((m for m in self.messages if words in m), ""), f"{words!r} among the messages")


class Runner:
    """The process as a process, which can be killed and started again. It ends by SIGKILL where it is told to.

    environment: what tests.support.runner reads.
    """

    def __init__(self, made: list[dict[str, Any]], **environment: str) -> None:
        self.path = written(made)
        self.output, self.trace = (
            pathlib.Path(tempfile.mkstemp(prefix="pantograph-test-", suffix=suffix)[1]) for suffix in (".out", ".trace")
        )
        self._environment = {"TRACE": str(self.trace), **environment}
        self._forks = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.support.runner"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT)])},
        )  # fmt: skip
        self._pid = 0
        self._status: list[int] = []
        self._waiting: threading.Thread | None = None

    def start(self, die_at: str = "") -> Self:
        """Begin a life. die_at: `step:before|after:n`, the n-th time that it comes to this seam."""
        assert not self.alive, "it still runs"
        order = {
            "manifests": str(self.path),
            "output": str(self.output),
            "environment": {**self._environment, "DIE_AT": die_at or "::0"},
        }
        assert self._forks.stdin
        assert self._forks.stdout
        self._forks.stdin.write(json.dumps(order) + "\n")
        self._forks.stdin.flush()
        self._pid = int(self._forks.stdout.readline())
        self._status = status = []
        self._waiting = threading.Thread(target=self._wait, args=(status,), daemon=True)
        self._waiting.start()
        return self

    def _wait(self, status: list[int]) -> None:
        assert self._forks.stdout
        status.append(int(self._forks.stdout.readline() or "-9"))

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def alive(self) -> bool:
        return self._pid != 0 and not self._status

    def said(self) -> str:
        """All that it printed, in all its lives."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def hit(self) -> set[str]:
        """The seams that it came to, `step:when` each, in all its lives."""
        return set(self.trace.read_text(encoding="utf-8").splitlines())

    def died(self, meanwhile: Callable[[], object] = lambda: None) -> bool:
        """Wait until it has ended; by SIGKILL?"""

        def ended() -> bool:
            meanwhile()
            return not self.alive

        with contextlib.suppress(AssertionError):
            wait_until(ended, "its death")
        return self._status == [-signal.SIGKILL]

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As `kill` does by default: SIGTERM, and it ends in order. Its status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)
        assert self._waiting
        self._waiting.join(timeout=60)
        assert self._status, f"it did not end; {self.said()[-500:]}"
        return self._status[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self.kill()
        assert self._forks.stdin
        assert self._forks.stdout
        self._forks.stdin.close()
        self._forks.wait(timeout=60)
        self._forks.stdout.close()
        for path in (self.path, self.output, self.trace):
            path.unlink(missing_ok=True)
