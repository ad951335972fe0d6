"""The reflector in a pod: what is wanted comes from the cluster by watches, and how it stands goes back into status.

The API server is needed to begin and to hear of changes, not to keep replicating: while it is away, what was wanted
last goes on. The operator prepares; a SourceTable or Reflection is moved as the operator has accepted it
(`CaptureInstalled`, `Prepared`), and one whose new spec it has not looked at yet goes on as before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pantograph import errors
from pantograph.api import conditions, reading
from pantograph.api.base import Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import KINDS, Key, Manifests
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.apply import sources
from pantograph.apply.sources import Wanted
from pantograph.dialects import parameters
from pantograph.kube import objects, secrets
from pantograph.kube.objects import Cluster, Object
from pantograph.metrics import exposition
from pantograph.reflector import counting, exporting, telling
from pantograph.reflector.process import Process
from pantograph.reflector.reporting import Board

MANAGER = "pantograph-reflector"
SECRETS_EVERY = 10.0
"""Seconds until a rotated Secret is noticed; it is used at the next connection."""
STATUS_EVERY = 10.0
LOOK_EVERY = 0.2
DRAIN = 15.0
STUCK = 60.0

Tell = Callable[..., None]
Id = tuple[str, Key]


@dataclass(frozen=True)
class Settings:
    """How the reflector was called."""

    namespace: str
    database: str
    installation: str
    port: int = 8080


class Watched:
    """The three kinds of a namespace, as last seen: a thread each, that lists, watches, and comes back."""

    def __init__(self, cluster: Cluster, namespace: str, tell: Tell) -> None:
        self._cluster, self._namespace, self._tell = cluster, namespace, tell
        self._lock = threading.Lock()
        self._bodies: dict[Id, Object] = {}
        self._typed: dict[Id, tuple[str, Resource]] = {}
        self._listed: set[str] = set()
        self.changed = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        for kind in KINDS.values():
            threading.Thread(target=self._follow, args=(kind,), name=f"watch {kind.PLURAL}", daemon=True).start()

    @property
    def listed(self) -> bool:
        """Whether everything has been seen once."""
        return len(self._listed) == len(KINDS)

    def all(self) -> dict[Id, Resource]:
        """All objects that can be read, typed."""
        with self._lock:
            bodies = dict(self._bodies)
        found = {}
        for id_, body in bodies.items():
            version = f"{body['metadata'].get('uid')}/{body['metadata'].get('resourceVersion')}"
            known = self._typed.get(id_)
            if known is None or known[0] != version:
                try:
                    known = self._typed[id_] = (version, reading.parse(KINDS[id_[0]], body, tolerant=True))
                except errors.PantographError:
                    continue  # the operator says what is wrong with it
            found[id_] = known[1]
        return found

    def _follow(self, kind: type[Resource]) -> None:
        pause, where = 1.0, objects.kind_of(kind)
        while True:
            try:
                bodies, version = self._cluster.list(where, self._namespace)
                self._replace(kind.KIND, bodies)
                pause = 1.0
                while True:
                    version = self._watch(where, version)
            except errors.ClusterError as error:
                if error.status != 410:  # it was too long ago: list again
                    self._tell("could not watch", kind=kind.PLURAL, message=str(error))
                    time.sleep(pause)
                    pause = min(30.0, pause * 2)

    def _watch(self, kind: objects.Kind, version: str) -> str:
        for change in self._cluster.watch(kind, self._namespace, version):
            version = change.body["metadata"]["resourceVersion"]
            if change.type == "BOOKMARK":
                continue
            id_ = (kind.kind, (change.body["metadata"]["namespace"], change.body["metadata"]["name"]))
            with self._lock:
                if change.type == "DELETED":
                    self._bodies.pop(id_, None)
                else:
                    self._bodies[id_] = change.body
            self.changed.set()
        return version

    def _replace(self, kind: str, bodies: list[Object]) -> None:
        listed = {(kind, (body["metadata"]["namespace"], body["metadata"]["name"])): body for body in bodies}
        with self._lock:
            self._bodies = {id_: body for id_, body in self._bodies.items() if id_[0] != kind} | listed
            self._listed.add(kind)
        self.changed.set()


class Accepted:
    """What the operator has prepared, in the form in which it has."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._taken: dict[Id, Resource] = {}

    def of(self, there: Mapping[Id, Resource]) -> Manifests | None:
        """What may be moved now, without Secrets; None where the Database is not there."""
        database = there.get((Database.KIND, self._key))
        if not isinstance(database, Database):
            self._taken.clear()
            return None
        self._taken = {id_: one for id_, one in self._taken.items() if id_ in there}
        for id_, one in there.items():
            if isinstance(one, SourceTable) and one.database_key == self._key:
                self._judge(id_, one, conditions.CAPTURE_INSTALLED, ours=bool(database.spec.path))
            elif isinstance(one, Reflection):
                self._judge(id_, one, conditions.PREPARED, ours=False)
        tables = {one.key: one for one in self._taken.values() if isinstance(one, SourceTable)}
        moved = {
            one.key: one
            for one in self._taken.values()
            if isinstance(one, Reflection) and one.source_key in tables
            and (Database.KIND, one.destination_key) in there
        }  # fmt: skip
        needed = {database.key, *(one.destination_key for one in moved.values())}
        databases = {
            key: one for (kind, key), one in there.items() if isinstance(one, Database) and key in needed
        }  # fmt: skip
        return Manifests(databases, tables, moved) if not database.being_deleted or tables else None

    def _judge(self, id_: Id, one: SourceTable | Reflection, type_: str, *, ours: bool) -> None:
        said = conditions.find(one.status.conditions, type_)
        current = said is not None and said.observed_generation == one.metadata.generation
        before = self._taken.get(id_)
        if one.being_deleted or (before is not None and before.metadata.uid != one.metadata.uid):
            self._taken.pop(id_, None)
        elif ours or (current and said is not None and said.status == "True"):
            self._taken[id_] = one
        elif current:
            self._taken.pop(id_, None)


class Pod:
    """The main loop: follow what is wanted, report how it stands."""

    def __init__(self, settings: Settings, cluster: Cluster, board: Board, tell: Tell) -> None:
        self.settings, self._cluster, self._board, self._tell = settings, cluster, board, tell
        self.watched = Watched(cluster, settings.namespace, tell)
        self._accepted = Accepted((settings.namespace, settings.database))
        self._secrets: dict[Key, Any] = {}
        self._secrets_at = -SECRETS_EVERY
        self._looked = time.monotonic()
        self.processes: list[Process] = []
        self._thread: threading.Thread | None = None
        self._reporter = telling.Reporter(cluster, MANAGER, STATUS_EVERY, tell)
        self._told = ""

    def step(self) -> None:
        """Once round."""
        now = time.monotonic()
        self._looked = now
        if not self.watched.listed:
            return
        due = now - self._secrets_at >= SECRETS_EVERY
        if self.watched.changed.is_set() or due:
            self.watched.changed.clear()
            self._follow(self.watched.all(), read_secrets=due)
        there = self.watched.all()
        self._reporter.report(there, self._board, self._names(), (self.settings.namespace, self.settings.database))

    def _follow(self, there: Mapping[Id, Resource], *, read_secrets: bool) -> None:
        manifests = self._accepted.of(there)
        if manifests is None or not manifests.source_tables:
            self._end()
            return
        named = {(one.namespace, name) for one in manifests.databases.values() for name in one.secret_names}
        if read_secrets or named - self._secrets.keys():
            try:
                self._secrets.update(secrets.named(self._cluster, manifests.databases.values()))
                self._secrets_at = time.monotonic()
            except errors.ClusterError as error:
                self._say(str(error))
        try:
            (wanted,) = sources.wanted(
                Manifests(
                    manifests.databases, manifests.source_tables, manifests.reflections,
                    {key: self._secrets[key] for key in named if key in self._secrets},
                ),
                installation=self.settings.installation,
            )  # fmt: skip
        except errors.PantographError as error:
            self._say(f"going on as before: {error}")
            return
        self._told = ""
        # A file is opened here alone, so what the operator does elsewhere is done here.
        self._change(wanted, installs=bool(wanted.address.path))

    def _change(self, wanted: Wanted, *, installs: bool) -> None:
        if not self.processes:
            process = Process(wanted, self._board, threading.Event(), installs=installs)
            self._thread = threading.Thread(target=process.run, name=wanted.name, daemon=True)
            self.processes.append(process)
            self._thread.start()
        elif self.processes[0].wanted != wanted:
            self.processes[0].change(wanted)
            self._tell("follows a change", reflections=sum(len(copies) for _, copies in wanted.copies.values()))

    def _names(self) -> set[str]:
        return self.processes[0].names() if self.processes else set()

    def _say(self, message: str) -> None:
        if message != self._told:
            self._tell("noticed", message=message)
            self._told = message

    def _end(self) -> bool:
        """Let turns end; whether they have."""
        whole = True
        for process in self.processes:
            process.stop.set()
            assert self._thread is not None
            self._thread.join(DRAIN)
            whole = not self._thread.is_alive()
            for name in process.names():
                self._board.drop(name)
        self.processes.clear()
        return whole

    def end(self) -> bool:
        """Stop; whether every turn has ended."""
        return self._end()

    def healthy(self) -> str:
        """Why this process should be ended, or "". A database or an API server that is away is no reason."""
        if time.monotonic() - self._looked > STUCK:
            return "the main loop is stuck"
        if self.processes and self._thread is not None and not self._thread.is_alive():
            return "the process has ended"
        return ""

    def ready(self) -> str:
        """Why it is not ready yet, or ""."""
        if not self.watched.listed:
            return "what is wanted is not known yet"
        waiting = [seen.name for seen in self._board.all() if seen.phase == "Waiting" and not seen.reason]
        return f"not begun: {', '.join(waiting[:5])}" if waiting else ""


def run(settings: Settings, board: Board, tell: Tell, asked_to_stop: Callable[[], bool]) -> None:
    """Until told to stop. Raises `ClusterError` where no cluster is known."""
    parameters.prepare_for_threads()
    cluster = Cluster.connect()
    pod = Pod(settings, cluster, board, tell)
    counts = counting.Counting(board, pod.processes)
    answers = {"/healthz": pod.healthy, "/readyz": pod.ready}
    with exposition.Server(lambda: exporting.page(board, pod.processes), settings.port, "0.0.0.0", answers):
        tell("started", database=f"{settings.namespace}/{settings.database}", installation=settings.installation)
        pod.watched.start()
        counts.start()
        while not asked_to_stop():
            try:
                pod.step()
            except errors.PantographError as error:
                tell("noticed", message=str(error))
            pod.watched.changed.wait(LOOK_EVERY)
        counts.stop.set()
        whole = pod.end()
    tell("stopped", complete=None if whole else "no; what was cut off is repeated at the next start")
