"""The store of `run --console`: the files are what is wanted, and this process knows how far everything is.

What a person asks for is written into the files; the process follows them, as it does whoever wrote them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pantograph import errors
from pantograph.api import acting, conditions, editing, revising
from pantograph.api import manifests as parsing
from pantograph.api.base import ALLOW_DELETES, Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests
from pantograph.api.reflections import Reflection, ReflectionStatus
from pantograph.api.sourcetables import SourceTable
from pantograph.apply import execute, removal
from pantograph.apply.sources import Wanted
from pantograph.cli import changing, files, standing, terminal
from pantograph.cli.consoling.asking import Asking, proposed, secret_of, session_of
from pantograph.cli.running import Running
from pantograph.console.history import Happenings
from pantograph.console.stores import (
    Change,
    Figures,
    Happened,
    NotThere,
    Setting,
    Standing,
    State,
)
from pantograph.dialects.base import Role
from pantograph.model import names
from pantograph.reconcile.actions import RemoveCapture
from pantograph.reflector.reporting import Seen

KEPT = 500
"""Of what happened."""
LOOK_EVERY = 4.0
ASKED_WITHIN = 20.0
"""The databases are asked how they stand only while somebody looks."""
FIRST_LOOK = 2.0
FOLLOWS = 60.0
"""Seconds that a process gets to let go of a Reflection that is deleted."""
_STATES: Mapping[str, State] = {
    "Streaming": "ok", "Snapshot": "busy", "Sweep": "busy", "Waiting": "busy", "Replanning": "busy",
    "Deferred": "busy", "Paused": "off", "Held": "bad", "Failed": "bad", "Unreachable": "bad",
}  # fmt: skip
_ALL_THE_TIME = ("rows were moved", "rows were copied")
"""What a log says again and again, and the pages show as figures."""


class LocalStore(Asking):
    """Files and a process that follows them."""

    token = person = ""
    wrong_means = "The manifests are wrong, so what they said before goes on:"

    def __init__(self, paths: Sequence[str], namespace: str, installation: str, running: Running, log: terminal.Log):
        super().__init__(installation, {})
        self._paths, self._namespace = tuple(paths), namespace
        self._running, self._log = running, log
        self._lock = threading.RLock()
        self._happened = Happenings(KEPT)
        self._marks: object = None
        self._read: tuple[Manifests, list[errors.SpecError]] = (Manifests(), [])
        self._looking = Looking(self.objects, installation)
        self.place = ", ".join(paths)
        self.refuses = "These manifests came from standard input, which cannot be changed." if "-" in paths else ""
        log.hears.append(self._hear)
        self.objects()  # as they are now: what is broken before the first page is shown is known as well

    # -- what is there -----------------------------------------------------------------------------------------------

    def objects(self) -> Manifests:
        """What the files say; what they last said while something is wrong with them."""
        with self._lock:
            marks = files.marks(self._paths)
            if marks != self._marks:
                found, wrong = parsing.read([path for path in self._paths if path != "-"], namespace=self._namespace)
                wrong = wrong or acting.unsupported(found)
                self._marks, self._read = marks, (self._read[0] if wrong else found, wrong)
            return self._read[0]

    def opened(self, *databases: Database) -> Manifests:
        """The files have everything."""
        return self.objects()

    def told(self, what: str, reflection: str, **values: str) -> None:
        """In the log of the process."""
        self._log.event(what, reflection=terminal.short(reflection), **values)

    def wrong(self) -> Sequence[str]:
        """What is wrong with the files."""
        self.objects()
        return [str(one) for one in self._read[1]]

    def standings(self) -> Mapping[tuple[str, tuple[str, str]], Standing]:
        """From the databases, as `status` tells it; of Reflections, from the process that moves them."""
        objects, looked = self.objects(), self._looking.latest()
        told: dict[tuple[str, tuple[str, str]], Standing] = {}
        by_key: dict[tuple[str, tuple[str, str]], Resource] = {}
        if looked is not None:
            by_key = {(one.KIND, one.key): one for one in looked.resources}
            for one in looked.resources:
                verdict = looked.verdict(one)
                told[one.KIND, one.key] = Standing(one, _state(verdict), verdict.reason, verdict.message)
        on_board = {seen.name: seen for seen in self._running.board.all()}
        for one in objects.reflections.values():
            seen = on_board.get(f"{one.namespace}/{one.name}")
            if seen is not None:
                there = by_key.get((one.KIND, one.key))
                known = there if isinstance(there, Reflection) else one
                said = looked.verdict(there) if looked and there else None
                told[one.KIND, one.key] = self._standing(known, seen, said)
        return told

    def _standing(self, one: Reflection, seen: Seen, verdict: standing.Verdict | None) -> Standing:
        board = self._running.board
        word = seen.reason if seen.phase in ("Failed", "Sweep") and seen.reason else seen.phase
        message = seen.message
        if seen.phase == "Held":
            word, message = "SweepHeld", verdict.message if verdict and verdict.reason == "SweepHeld" else message
        state = _STATES.get(seen.phase, "unknown")
        told = conditions.put(
            (), conditions.READY, state == "ok", word or "Unknown", message, generation=0, now=self._looking.now()
        )
        for type_, holds in ((conditions.SNAPSHOT_COMPLETE, seen.complete), (conditions.REPLICATING, state == "ok")):
            told = conditions.put(told, type_, holds, word or "Unknown", "", generation=0, now=self._looking.now())
        status: ReflectionStatus = one.status.model_copy(
            update={"conditions": told, "lag_seconds": board.lag(seen), "image": seen.image}
        )
        return Standing(one.model_copy(update={"status": status}), state, word, message)

    def figures(self) -> Mapping[str, Figures]:
        """What the process counts."""
        board = self._running.board
        looked = self._looking.known()
        noted = {} if looked is None else {
            f"{one.namespace}/{one.name}": one.status for one in looked.resources if isinstance(one, Reflection)
        }  # fmt: skip
        found = {}
        for seen in board.all():
            status = noted.get(seen.name)
            found[seen.name] = Figures(
                lag=board.lag(seen),
                written=seen.upserted,
                deleted=seen.deleted,
                events=seen.events,
                peaks=(seen.propagation.total, sum(seen.propagation.counts)),
                pending=seen.pending,
                copying=seen.phase in ("Snapshot", "Sweep"),
                swept=seen.sweep_rows,
                estimated=seen.sweep_estimated,
                held=seen.held if seen.phase == "Held" else 0,
                waiting=status.parked if status else seen.waiting_rows,
                dead_letters=status.dead_letters if status else seen.dead_letters,
                failures=dict(seen.failures),
            )
        return found

    def happened(self) -> Sequence[Happened]:
        """The log of this process."""
        return self._happened.latest()

    def _hear(self, what: str, values: Mapping[str, Any]) -> None:
        if what in _ALL_THE_TIME:
            return
        told = dict(values)
        about = str(told.pop("reflection", ""))
        about = about if "/" in about or not about else f"default/{about}"
        detail = str(told.pop("message", ""))
        if not about and detail:
            first = detail.partition(": ")[0]
            if first.count("/") == 1 and " " not in first:
                about, detail = first, detail.partition(": ")[2]
        detail = "  ".join(part for part in (detail, terminal.fields(told)) if part)
        bad = any(word in what for word in ("failed", "unreachable", "held", "wrong"))
        self._happened.note(Happened(time.time(), what, detail, about, bad))

    def raw(self, resource: Resource) -> Mapping[str, Any]:
        """The object as its file has it."""
        origin = self.objects().origin(resource)
        try:
            _, text = _read(Path(origin.file or ""))
            body: Mapping[str, Any] = editing.at(editing.bodies(text, origin), origin)
        except (OSError, editing.CannotEditError):
            return resource.manifest()
        return body

    # -- acting ------------------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> str:
        """Write the change into the files."""
        self._refuse()
        one = change.reflection
        if problems := self._problems(change, self._proposed(change, self.objects())):
            raise errors.SpecErrors([errors.SpecError(each.message, path=each.path) for each in problems])
        with self._lock:
            if change.before is not None:
                return f"{one.subject} was changed in {self._revise(change.before, change.raw)}."
            bodies = [*([change.source_table.manifest()] if change.source_table else []), change.raw]
            return f"{one.subject} was written to {self._add(one.name, parsing.written(bodies))}."

    def put(self, setting: Setting) -> str:
        """Write a Database or a SourceTable into the files."""
        self._refuse()
        one, login = setting.wanted, setting.login
        if problems := self._problems_of(setting, proposed(setting, self.objects())):
            raise errors.SpecErrors([errors.SpecError(each.message, path=each.path) for each in problems])
        with self._lock:
            if setting.before is not None:
                return f"{one.subject} was changed in {self._revise(setting.before, setting.raw)}."
            bodies = [setting.raw]
            if login is not None:
                metadata = {**setting.raw["metadata"], "name": login.secret}
                bodies.append(
                    {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret_of(setting)}
                )
            # A password is for whoever runs this, and for nobody else on the machine.
            path = self._add(one.name, parsing.written(bodies), 0o600 if login else 0o644)
        return f"{one.subject} was written to {path}."

    def _revise(self, one: Resource, body: Mapping[str, Any]) -> Path:
        origin = self.objects().origin(one)
        path = Path(origin.file or "")
        try:
            mark, text = _read(path)
            changing.write(path, mark + revising.revise(text, origin, body))
        except editing.CannotEditError as error:
            raise errors.PantographError(f"{path} cannot be changed in place: {error}") from None
        except OSError as error:
            raise errors.PantographError(f"{path} cannot be changed: {error.strerror}") from error
        return path

    def _add(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Into a file of its own where a folder was named, else to the end of a file."""
        folders = [Path(path) for path in self._paths if Path(path).is_dir()]
        try:
            if folders:
                path = next(
                    each
                    for number in range(1, 10_000)
                    if not (each := folders[0] / (f"{name}-{number}.yaml" if number > 1 else f"{name}.yaml")).exists()
                )
                path.touch(mode=mode)
                changing.write(path, text)
                return path
            path = next(Path(path) for path in self._paths if not path.endswith(".json"))
            mark, before = _read(path)
            changing.write(path, f"{mark}{before.rstrip()}\n---\n{text}" if before.strip() else mark + text)
        except StopIteration:
            raise errors.PantographError(
                f"no file of {self.place} takes another object; copy the manifest into one yourself"
            ) from None
        except OSError as error:
            raise errors.PantographError(f"the manifest cannot be written: {error}") from error
        return path

    def act(self, reflection: Reflection, act: str, count: int = 0) -> str:
        """By the manifest, as the commands of the same names do; verify and retry by asking the databases."""
        if act == "verify":
            return self._verify(reflection)
        if act == "retry":
            return self._retry(reflection)
        self._refuse()
        with self._lock:
            if act == "allow":
                return self._allow(reflection, count)
            change = {"pause": changing.pause, "resume": changing.resume, "resync": changing.resync}[act]
            done = changing.put(self.objects(), reflection, change)
        return f"{reflection.subject} {done}."

    def _allow(self, reflection: Reflection, count: int) -> str:
        if count < 1:
            raise NotThere("No rows wait to be deleted.")
        body = {**self.raw(reflection)}
        metadata = {**body["metadata"]}
        metadata["annotations"] = {**metadata.get("annotations", {}), ALLOW_DELETES: str(count)}
        self._revise(reflection, body | {"metadata": metadata})
        return f"{terminal.count(count)} rows may be deleted."

    def delete(self, reflection: Reflection, *, table: bool) -> str:
        """Out of the files; when the process has let go of it, its checkpoint and registration go as well."""
        self._refuse()
        objects = self.objects()
        source = objects.source_of(reflection)
        database, destination = objects.database_of(source), objects.destination_of(reflection)
        with self._lock:
            self._take_out(reflection)
            if table:
                self._take_out(source)
        self._end(
            f"{reflection.namespace}/{reflection.name}", objects, database, destination, source if table else None
        )
        return f"{reflection.subject} was deleted. The rows that it copied stay."

    def drop(self, one: Database | SourceTable) -> str:
        """Out of the files; the capture of a table goes when the process has let go of it."""
        self._refuse()
        objects = self.objects()
        with self._lock:
            self._take_out(one)
        if isinstance(one, Database):
            return f"{one.subject} was deleted. What is in the database stays, and its Secret."
        self._end("", objects, objects.database_of(one), None, one)
        return f"{one.subject} was deleted. The table stays."

    def _end(
        self, name: str, objects: Manifests, database: Database, destination: Database | None, table: SourceTable | None
    ) -> None:
        """Take away what deleted objects leave, beside all else."""
        captured = table if table is not None and table.spec.deletion_policy == "Delete" else None
        last = captured is not None and len(objects.source_tables_of(database)) == 1
        ending = _Ending(
            self._running, self._log, name, objects, database, destination, captured, self._installation, last=last
        )
        threading.Thread(target=ending.run, name=f"delete {name or (table and table.name)}", daemon=True).start()

    def _take_out(self, one: Resource) -> None:
        origin = self.objects().origin(one)
        path = Path(origin.file or "")
        try:
            mark, text = _read(path)
            left = revising.without(text, origin)
            if left or str(path) in self._paths:  # a file that the call names must stay
                changing.write(path, mark + left)
            else:
                path.unlink()
        except editing.CannotEditError as error:
            raise errors.PantographError(f"{one.subject} cannot be taken out of {path}: {error}") from None
        except OSError as error:
            raise errors.PantographError(f"{path} cannot be changed: {error.strerror}") from error

    def _refuse(self) -> None:
        if self.refuses:
            raise errors.PantographError(self.refuses)


def _state(verdict: standing.Verdict) -> State:
    if verdict.ready:
        return "ok"
    if verdict.on_its_way:
        return "busy"
    return "off" if verdict.reason == "Paused" else "bad"


def _read(path: Path) -> tuple[str, str]:
    """The mark of its encoding, if it has one, and the text; neither line ends nor that mark change on the way."""
    text = path.read_bytes().decode("utf-8")
    return text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")


class Looking:
    """Asks all databases how they stand, as `status` does, every few seconds while somebody wants to know."""

    def __init__(self, objects: Callable[[], Manifests], installation: str) -> None:
        self._objects, self._installation = objects, installation
        self._latest: standing.Standing | None = None
        self._asked = 0.0
        self._running = False
        self._first = threading.Event()
        self._lock = threading.Lock()

    def now(self) -> Any:
        """The time that conditions carry."""
        return standing.now()

    def known(self) -> standing.Standing | None:
        """What was last seen; asks nobody."""
        return self._latest

    def latest(self) -> standing.Standing | None:
        """What was last seen. The first time it waits a little, so that the first page is not empty."""
        self._asked = time.monotonic()
        with self._lock:
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="console looking", daemon=True).start()
        self._first.wait(FIRST_LOOK)
        return self._latest

    def _run(self) -> None:
        while time.monotonic() - self._asked < ASKED_WITHIN:
            with contextlib.suppress(Exception):  # whatever it is, the next look may be better
                self._latest = standing.look(self._objects(), self._installation)
            self._first.set()
            time.sleep(LOOK_EVERY)
        with self._lock:
            self._running = False


@dataclasses.dataclass(frozen=True)
class _Ending:
    """Takes away what a deleted Reflection leaves: its registration, its checkpoint, and the capture (table). name and
    destination: "" and None where only a table was deleted."""

    running: Running
    log: terminal.Log
    name: str
    objects: Manifests
    database: Database
    destination: Database | None
    table: SourceTable | None
    installation: str
    last: bool

    def run(self) -> None:
        deadline = time.monotonic() + FOLLOWS
        while self._moves() and time.monotonic() < deadline:
            time.sleep(0.1)
        about = {"reflection": terminal.short(self.name)} if self.name else {}
        try:
            if self._moves():
                raise errors.PantographError("the process has not let go of it; `pantograph remove --orphans` ends it")
            self._end()
        except errors.PantographError as error:
            self.log.event("deleting failed", **about, message=str(error))
        else:
            gone = ["its checkpoint and registration"] if self.name else []
            gone += [f"the capture of {self.table.qualified_table}"] if self.table else []
            self.log.event("deleted", **about, message=f"gone: {', '.join(gone) or 'nothing, as deletionPolicy says'}")

    def _moves(self) -> bool:
        wanted: list[Wanted] = [process.wanted for process in list(self.running.processes)]
        named = {copy.name for one in wanted for _, copies in one.copies.values() for copy in copies}
        tables = {table.name for one in wanted for table in one.tables}
        if self.table is not None and f"{self.table.namespace}/{self.table.name}" in tables:
            return True
        return self.name in named or self.name in {seen.name for seen in self.running.board.all()}

    def _end(self) -> None:
        owner = standing.owner_of(self.database, self.installation)
        if self.destination is not None:
            with session_of(self.objects, self.destination, Role.ADMIN) as (dialect, session):
                removal.forget_one(session, dialect, owner, self.name)
        with session_of(self.objects, self.database, Role.ADMIN) as (dialect, session):
            if self.name:
                removal.unregister(session, dialect, owner, [self.name])
            if self.table is None:
                return
            place = (self.table.spec.schema_ or dialect.default_schema, self.table.spec.table)
            for action in removal.captures(session, dialect, owner):
                if isinstance(action, RemoveCapture) and action.capture.id == names.capture_id(*place):
                    execute.run(session, dialect, action)
            if self.last:
                for action in removal.home(session, dialect, [owner]):
                    execute.run(session, dialect, action)
