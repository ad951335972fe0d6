"""A mirror that runs: in threads of the test, or as a process of its own that can be killed."""

from __future__ import annotations

import contextlib
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
from pantograph.reflector import process, reporting, sources
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


def wanted(made: list[dict[str, Any]], *, adopt: bool = False) -> list[process.Wanted]:
    """What each source Database of the manifests is to do, as `run` would see it."""
    path = written(made)
    try:
        loaded = parsing.load([str(path)], None)
        assert not loaded.problems(), loaded.problems()
        return sources.wanted(loaded, adopt=adopt)
    finally:
        path.unlink()


class Mirror:
    """The process of every source Database in `made`, in threads of this one."""

    def __init__(self, made: list[dict[str, Any]], *, adopt: bool = False) -> None:
        self.board = reporting.Board()
        self.messages: list[str] = []
        self.board.messages = self.messages.append
        self._stop = threading.Event()
        self.processes = [process.Process(one, self.board, self._stop) for one in wanted(made, adopt=adopt)]
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
    """`tests.support.runner` as a subprocess. `die_at`: where it kills itself, `step:when:n`; `n` counts from 1."""

    def __init__(self, made: list[dict[str, Any]], **environment: str) -> None:
        self.path = written(made)
        self.output = pathlib.Path(tempfile.mkstemp(prefix="pantograph-test-", suffix=".out")[1])
        self.trace = pathlib.Path(tempfile.mkstemp(prefix="pantograph-test-", suffix=".trace")[1])
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT)]),
            **environment,
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, die_at: str = "") -> Self:
        environment = {**self._environment, "TRACE": str(self.trace)}
        if die_at:
            environment["DIE_AT"] = die_at
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.runner", str(self.path)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=ROOT,
            )  # fmt: skip
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def hit(self) -> list[str]:
        """The steps that were entered, `step:when` each, in all lives of this runner."""
        return self.trace.read_text(encoding="utf-8").splitlines()

    def died(self, patience: float = PATIENCE, while_waiting: Callable[[], object] = lambda: None) -> bool:
        """Wait for the end that it was told to bring upon itself."""

        def ended() -> bool:
            while_waiting()
            return self.process.poll() is not None

        with contextlib.suppress(AssertionError):
            wait_until(ended, "death", patience)
        return self.process.poll() == -signal.SIGKILL

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """As `kill` does by default: SIGTERM, and it ends in order."""
        self.process.terminate()
        return self.process.wait(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for path in (self.path, self.output, self.trace):
            path.unlink(missing_ok=True)
