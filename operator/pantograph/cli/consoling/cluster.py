"""The store of `pantograph console`: the objects of a cluster, read and written with the rights of whoever asks.

Nothing is kept between two requests but what a comparison came to. What the API server refuses to a person is refused
to them here, in its own words; databases are asked with the Secrets that they may read.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pantograph import errors
from pantograph.api import conditions, reading
from pantograph.api.base import ALLOW_DELETES, API_VERSION, Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import Key, Manifests
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.cli import terminal
from pantograph.cli.consoling import visitors
from pantograph.cli.consoling.asking import Asking, secret_of
from pantograph.cli.consoling.visitors import Bearer, Person, Starter, Trust, Visitor
from pantograph.console.history import Happenings
from pantograph.console.serving import LOOPBACK
from pantograph.console.stores import Change, Compared, Figures, Happened, Nobody, NotThere, Setting, Standing, State
from pantograph.kube import objects as kube
from pantograph.kube import secrets, services
from pantograph.kube.objects import Cluster, kind_of

R = TypeVar("R", bound=Resource)
EVENTS = 300
CLIENTS = 64
"""Connections to the API server that are kept, one for each token."""
READ_ONLY = (
    "You are not logged in: through a port-forward this console shows what its own account may read, and changes "
    "nothing. Log in at the proxy before it, or run `pantograph console` with your own kubeconfig."
)


class ClusterStore(Asking):
    """The cluster as one person sees it, for one request.

    namespaces: those that are looked at; () for all. places: those with anything of ours, for a person who may look
    into some and not into all at once.
    """

    wrong_means = "Not all can be shown:"
    token = person = ""
    file_elsewhere = "It is a file, which only the reflector's pod can open."

    def __init__(
        self,
        cluster: Cluster,
        namespaces: Sequence[str],
        installation: str,
        refuses: str,
        compared: dict[str, Compared],
        places: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        super().__init__(installation, compared)
        self._places = places
        self._cluster, self._namespaces = cluster, tuple(namespaces) or ("",)
        self._wrong: dict[str, None] = {}
        self.place = f"cluster, {', '.join(namespaces) or 'all namespaces'}"
        self.refuses = refuses

    # -- what is there -----------------------------------------------------------------------------------------------

    @functools.cached_property
    def _bodies(self) -> Mapping[tuple[str, Key], kube.Object]:
        found = {}
        for kind in (Database, SourceTable, Reflection):
            for body in self._listed(kind_of(kind)):
                metadata = body["metadata"]
                found[kind.KIND, (metadata["namespace"], metadata["name"])] = body
        return found

    def _listed(self, kind: kube.Kind, **selectors: str) -> list[kube.Object]:
        found: list[kube.Object] = []
        for namespace in self._namespaces:
            try:
                found += self._cluster.list(kind, namespace, **selectors)[0]
            except errors.ClusterError as error:
                if error.status == 401:
                    raise Nobody("The API server does not know this token, or it has expired.") from None
                if error.status != 403:
                    raise
                by_place = [] if namespace else self._by_place(kind, **selectors)
                if not by_place:
                    self._wrong[str(error)] = None
                found += [body for bodies in by_place for body in bodies]
        return found

    def _by_place(self, kind: kube.Kind, **selectors: str) -> list[list[kube.Object]]:
        """For each namespace that the person may look into, what is there."""
        found = []
        for namespace in self._places():
            with contextlib.suppress(errors.ClusterError):  # not this person's, as most are not
                found.append(self._cluster.list(kind, namespace, **selectors)[0])
        return found

    @functools.cached_property
    def _objects(self) -> Manifests:
        def of(kind: type[R]) -> dict[Key, R]:
            found = {}
            for (name, key), body in self._bodies.items():
                if name == kind.KIND:
                    with contextlib.suppress(errors.SpecErrors):  # its condition says what is wrong with it
                        found[key] = reading.parse(kind, body, tolerant=True)
            return found

        return Manifests(of(Database), of(SourceTable), of(Reflection))

    def objects(self) -> Manifests:
        """What the person may see."""
        return self._objects

    def opened(self, *databases: Database) -> Manifests:
        """These Databases, what goes between them, and the Secrets that open them, if the person may read those."""
        whole, keys = self._objects, {one.key for one in databases}
        tables = {key: one for key, one in whole.source_tables.items() if one.database_key in keys}
        reflections = {
            key: one
            for key, one in whole.reflections.items()
            if one.source_key in tables and one.destination_key in keys
        }
        named = {one.key: one for one in databases}
        found = Manifests(named, tables, reflections, secrets.named(self._cluster, databases))
        return services.located(found) if in_pod() else found

    def wrong(self) -> Sequence[str]:
        """What the person may not see."""
        _ = self._bodies
        return list(self._wrong)

    def standings(self) -> Mapping[tuple[str, tuple[str, str]], Standing]:
        """As their conditions say."""
        whole = self._objects
        listed: list[Resource] = [*whole.databases.values(), *whole.source_tables.values(), *whole.reflections.values()]
        return {(one.KIND, one.key): _standing(one) for one in listed}

    def figures(self) -> Mapping[str, Figures]:
        """As their status says; what a reflector counts beyond is in its /metrics."""
        return {f"{one.namespace}/{one.name}": _figures(one) for one in self._objects.reflections.values()}

    def happened(self) -> Sequence[Happened]:
        """The Events of the objects."""
        return self._events

    @functools.cached_property
    def _events(self) -> Sequence[Happened]:
        found = self._listed(kube.EVENT, fieldSelector=f"involvedObject.apiVersion={API_VERSION}")
        told = Happenings(EVENTS)
        for one in sorted((_event(body) for body in found), key=lambda one: one.at):
            told.note(one)
        return told.latest()

    def raw(self, resource: Resource) -> Mapping[str, Any]:
        """As the API server has it, without what is its own."""
        body = self._body(resource)
        metadata = {
            name: body["metadata"][name]
            for name in ("name", "namespace", "labels", "annotations")
            if name in body["metadata"]
        }
        return {"apiVersion": API_VERSION, "kind": resource.KIND, "metadata": metadata, "spec": body["spec"]}

    def _body(self, resource: Resource) -> kube.Object:
        found = self._bodies.get((resource.KIND, resource.key))
        if found is None:
            raise NotThere(f"There is no {resource.subject}.")
        return found

    # -- acting ------------------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> str:
        """Create the objects, or replace the spec if nobody has changed it since it was read."""
        self._refuse()
        one = change.reflection
        if problems := self._problems(change, self._proposed(change, self._objects)):
            raise errors.SpecErrors([errors.SpecError(each.message, path=each.path) for each in problems])
        if change.before is not None:
            self._patch(change.before, {"op": "replace", "path": "/spec", "value": change.raw["spec"]})
            return f"{one.subject} was changed."
        made = None
        if change.source_table is not None:
            made = change.source_table
            self._cluster.create(kind_of(made), made.namespace, _with_namespace(made, made.manifest()))
        try:
            self._cluster.create(kind_of(one), one.namespace, _with_namespace(one, dict(change.raw)))
        except errors.ClusterError:
            if made is not None:  # without its Reflection nobody asked for it
                with contextlib.suppress(errors.ClusterError):
                    self._cluster.delete(kind_of(made), made.namespace, made.name)
            raise
        return f"{one.subject} was made."

    def put(self, setting: Setting) -> str:
        """Create the objects, or replace the spec if nobody has changed it since it was read."""
        self._refuse()
        one, login = setting.wanted, setting.login
        if setting.before is not None:
            self._patch(setting.before, {"op": "replace", "path": "/spec", "value": setting.raw["spec"]})
            return f"{one.subject} was changed."
        if login is not None:
            metadata = {"name": login.secret, "namespace": one.namespace}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret_of(setting)}
            self._cluster.create(kube.SECRET, one.namespace, secret)
        try:
            self._cluster.create(kind_of(one), one.namespace, _with_namespace(one, setting.raw))
        except errors.ClusterError:
            if login is not None:  # without its Database nobody asked for it
                with contextlib.suppress(errors.ClusterError):
                    self._cluster.delete(kube.SECRET, one.namespace, login.secret)
            raise
        return f"{one.subject} was made."

    def _patch(self, one: Resource, *operations: kube.Object) -> None:
        """Raises `ClusterError`; also where the spec is another one by now."""
        generation = self._body(one)["metadata"].get("generation", 1)
        test = {"op": "test", "path": "/metadata/generation", "value": generation}
        self._cluster.patch(kind_of(one), one.namespace, one.name, [test, *operations])

    def act(self, reflection: Reflection, act: str, count: int = 0) -> str:
        """A field of the spec, or an annotation; verify and retry ask the databases."""
        if act == "verify":
            return self._verify(reflection)
        self._refuse()
        if act == "retry":
            return self._retry(reflection)
        if act == "allow":
            return self._allow(reflection, count)
        token = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        path, value, done = {
            "pause": ("/spec/paused", True, "is paused"),
            "resume": ("/spec/paused", False, "goes on"),
            "resync": ("/spec/resyncToken", token, "is copied again"),
        }[act]
        self._patch(reflection, {"op": "add", "path": path, "value": value})
        return f"{reflection.subject} {done}."

    def _allow(self, reflection: Reflection, count: int) -> str:
        if count < 1:
            raise NotThere("No rows wait to be deleted.")
        annotations = {**reflection.metadata.annotations, ALLOW_DELETES: str(count)}
        self._patch(reflection, {"op": "add", "path": "/metadata/annotations", "value": annotations})
        return f"{terminal.count(count)} rows may be deleted."

    def delete(self, reflection: Reflection, *, table: bool) -> str:
        """The operator takes away what it leaves."""
        self._refuse()
        self._cluster.delete(kind_of(reflection), reflection.namespace, reflection.name)
        if table:
            source = self._objects.source_of(reflection)
            self._cluster.delete(kind_of(source), source.namespace, source.name)
        return f"{reflection.subject} is being deleted. The rows that it copied stay."

    def drop(self, one: Database | SourceTable) -> str:
        """The operator takes away what it leaves."""
        self._refuse()
        self._cluster.delete(kind_of(one), one.namespace, one.name)
        return f"{one.subject} is being deleted. What is in the database stays, but for what is ours."

    def _refuse(self) -> None:
        if self.refuses:
            raise errors.PantographError(self.refuses)


def _with_namespace(one: Resource, body: Mapping[str, Any]) -> kube.Object:
    return {**body, "metadata": {**body["metadata"], "namespace": one.namespace}}


def _standing(one: Resource) -> Standing:
    told: Sequence[conditions.Condition] = one.status.conditions  # type: ignore[attr-defined]  # every kind has one
    ready, stalled = conditions.find(told, conditions.READY), conditions.is_true(told, conditions.STALLED)
    if one.being_deleted:
        return Standing(one, "busy", "Deleting", ready.message if ready else "")
    if ready is None:
        return Standing(one, "unknown", "NotSeenYet", "No operator has looked at it yet.")
    state: State = "bad"
    if ready.status == "True":
        state = "ok"
    elif ready.reason == "Paused":
        state = "off"
    elif not stalled and conditions.is_true(told, conditions.RECONCILING):
        state = "busy"
    return Standing(one, state, ready.reason, ready.message)


def _figures(one: Reflection) -> Figures:
    status = one.status
    ready = conditions.find(status.conditions, conditions.READY)
    copying = ready is not None and ready.reason in ("Snapshot", "Sweep")
    percent, rows = status.snapshot.percent, status.snapshot.rows
    return Figures(
        lag=status.lag_seconds,
        rate=status.rows_per_second,
        copying=copying,
        swept=rows,
        estimated=rows * 100 // percent if percent else 0,
        held=status.held_deletes or 0,
        waiting=status.parked,
        dead_letters=status.dead_letters,
    )


def _event(body: kube.Object) -> Happened:
    of = body.get("involvedObject", {})
    # One that comes again keeps its first eventTime.
    at = _time(body.get("lastTimestamp") or body.get("eventTime") or body["metadata"].get("creationTimestamp"))
    about = f"{of.get('namespace', '')}/{of.get('name', '')}"
    times, first = int(body.get("count") or 1), _time(body.get("firstTimestamp"))
    bad = body.get("type") == "Warning"
    return Happened(at, str(body.get("reason", "")), str(body.get("message", "")), about, bad, times, first)


def _time(text: Any) -> float:
    """Seconds since the epoch; 0 where there is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


Theirs = tuple[Cluster, dict[str, Compared]]
"""The API server with a person's rights, and what they had compared: what came of it is for nobody else."""


class ClusterStores:
    """Whose store a request is for.

    With a bearer token, which a proxy passes on: that person's. From a proxy that is trusted: the person's that it
    names. Without either, from this machine: that of whoever started the console, if it was with a kubeconfig; in a
    pod, where that can only be a port-forward, a store that reads.
    """

    def __init__(
        self, own: Cluster, namespaces: Sequence[str], installation: str, *, in_pod: bool, trust: Trust | None = None
    ) -> None:
        self._own: Theirs = (own, {})
        self._namespaces, self._installation, self._in_pod = namespaces, installation, in_pod
        self._trust = trust or Trust()
        self._theirs: Callable[[Visitor], Theirs] = functools.lru_cache(CLIENTS)(self._of)

    def _of(self, visitor: Visitor) -> Theirs:
        own = self._own[0]
        if isinstance(visitor, Person):
            return own.as_person(visitor.user, visitor.groups), {}
        assert isinstance(visitor, Bearer)
        return own.as_bearer(visitor.token), {}

    def __call__(self, headers: Mapping[str, str], client: str) -> ClusterStore:
        visitor = visitors.who(headers, client, self._trust)
        if isinstance(visitor, Starter):
            return self._store(self._own, READ_ONLY if self._in_pod else "")
        store = self._store(self._theirs(visitor), "")
        if isinstance(visitor, Person):
            store.person, store.place = visitor.user, f"{store.place}, as {visitor.user}"
        else:
            store.token = visitor.token
        return store

    def _store(self, theirs: Theirs, refuses: str) -> ClusterStore:
        cluster, compared = theirs
        return ClusterStore(cluster, self._namespaces, self._installation, refuses, compared, self._places)

    def _places(self) -> Sequence[str]:
        """The namespaces with a Database, if our own account may know them."""
        try:
            bodies, _ = self._own[0].list(kind_of(Database))
        except errors.ClusterError:
            return ()
        return sorted({body["metadata"]["namespace"] for body in bodies})


def in_pod() -> bool:
    """Whether this process runs in a pod, with a ServiceAccount of its own."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def run(address: str, namespaces: Sequence[str], installation: str, trust: Trust) -> None:
    """Serve the pages until SIGINT or SIGTERM."""
    import time

    from pantograph.cli.running import Stopping
    from pantograph.console.serving import Console, place

    log = terminal.Log()
    stores = ClusterStores(Cluster.connect(), namespaces, installation, in_pod=in_pod(), trust=trust)
    host, port = place(address)
    # Whoever is logged in by a proxy reaches us by whatever name that has.
    with Stopping() as stopping, Console(stores, host, port, any_host=host not in LOOPBACK) as console:
        log.event("the console was opened", url=console.url, namespaces=", ".join(namespaces) or "all")
        while not stopping.asked:
            time.sleep(0.2)
