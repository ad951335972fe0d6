"""The operator's process, and the only place that knows kopf: what is watched, on one screen.

kopf keeps the watches: it lists, follows, notices silence and comes back. Nothing is registered for creates, updates or
deletes: those handlers run once for a change, keep their progress in annotations of the user's objects and log every
wait as an error. Here every event only says "look at that group" (`queue`), and a look is always the whole of it
(`reconciling`). docs/decisions/kopf.md has the reasons.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import kopf

from pantograph import errors
from pantograph.api.base import GROUP, VERSION
from pantograph.api.manifests import KINDS, Key
from pantograph.dialects import parameters
from pantograph.handlers.exporting import Counts
from pantograph.handlers.known import Known
from pantograph.handlers.queue import Queue
from pantograph.handlers.reconciling import SLOWEST_RETRY, Reconciler
from pantograph.kube import objects, workloads
from pantograph.kube.leadership import Leadership
from pantograph.kube.objects import Cluster
from pantograph.kube.workloads import Template
from pantograph.metrics import exposition

WORKERS = 8
"""Groups that are looked at together; each has one connection to its source and one at a time to a destination."""
LIST_EVERY = 60.0
"""Seconds between two listings beside the watch: they find what it missed, and whether it is deaf."""
SPREAD = 10.0
"""Seconds over which the groups are spread after a start, where there are many."""
FEW = 20
GRACE = 20.0

Tell = Callable[..., None]


@dataclass(frozen=True)
class Settings:
    """How the operator was called. namespaces: none for the whole cluster. lease: where, and who we are."""

    template: Template
    namespaces: tuple[str, ...] = ()
    port: int = 8080
    own_namespace: str = "default"
    identity: str = "pantograph"


class Operator:
    """What the watches feed, and the threads that work on it."""

    def __init__(self, cluster: Cluster, settings: Settings, tell: Tell) -> None:
        self.cluster, self.settings, self.tell = cluster, settings, tell
        self.known, self.queue, self.stop = Known(), Queue(), threading.Event()
        self.listed = threading.Event()
        self.counts = Counts()
        self._reconciler = Reconciler(
            cluster, self.known, settings.template, tell, self.stop, self.queue.add, self.counts.looked
        )
        self._threads: list[threading.Thread] = []
        self._failures: dict[Key, float] = {}

    def begin(self) -> None:
        """List everything, then start to work. Raises `ClusterError` where the kinds are not there."""
        self.list()
        groups = self.known.groups()
        for key in groups:
            self.queue.add(key, random.uniform(0, SPREAD) if len(groups) > FEW else 0.0)
        self.listed.set()
        for number in range(WORKERS):
            self._start(self._work, f"worker {number}")
        self._start(self._list_now_and_then, "listing")

    def end(self) -> bool:
        """Let the workers finish what they are at; DDL that waits for a lock is given up. Whether all have ended."""
        self.stop.set()
        self.queue.close()
        deadline = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def list(self) -> None:
        """See all objects and all reflectors, whatever the watch told."""
        for namespace in self.settings.namespaces or ("",):
            for kind in KINDS.values():
                bodies, version = self.cluster.list(objects.kind_of(kind), namespace)
                for key in self.known.listed(kind.KIND, bodies, version, time.monotonic(), namespace):
                    self.queue.add(key)
            bodies, _ = self.cluster.list(objects.DEPLOYMENT, namespace, labelSelector=workloads.DATABASE_LABEL)
            for body in bodies:
                self.deployment("MODIFIED", body)

    # -- events ------------------------------------------------------------------------------------------------------

    def object(self, type_: str | None, body: Mapping[str, Any]) -> None:
        """One of our three kinds has changed."""
        self.counts.watched(KINDS[body["kind"]].PLURAL)
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if type_ == "DELETED":
            for group in self.known.drop(body["kind"], key):
                self.queue.add(group)
            return
        self.known.told(dict(body))
        groups, whole = self.known.see(dict(body))
        for group in groups:
            self.queue.add(group, whole=whole)

    def secret(self, key: Key) -> None:
        """A Secret has changed. Nothing of it is kept."""
        for group in self.known.naming_secret(key):
            self.queue.add(group)

    def deployment(self, type_: str | None, body: Mapping[str, Any]) -> None:
        """A reflector's Deployment has changed."""
        labels = body["metadata"].get("labels") or {}
        if workloads.DATABASE_LABEL not in labels:
            return
        key = (body["metadata"]["namespace"], labels[workloads.DATABASE_LABEL])
        gone = type_ == "DELETED"
        self.known.see_deployment(key, None if gone else dict(body))
        self.queue.add(key, whole=gone)

    # -- threads -----------------------------------------------------------------------------------------------------

    def _start(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (taken := self.queue.take()) is not None:
            key, whole = taken
            try:
                self._reconciler.reconcile(key, whole=whole)
                self._failures.pop(key, None)
            except Exception as error:  # one group's trouble is not the others'
                why = error if isinstance(error, errors.PantographError) else errors.Bug(error)
                pause = self._failures[key] = min(SLOWEST_RETRY, self._failures.get(key, 0.5) * 2)
                # Two writers met: whoever was second looks again, and nobody needs to hear of it.
                if getattr(why, "status", 0) not in (404, 409, 422):
                    self.tell("could not reconcile", group="/".join(key), message=str(why))
                self.queue.add(key, pause)
            finally:
                self.queue.done(key)

    def _list_now_and_then(self) -> None:
        while not self.stop.wait(LIST_EVERY * random.uniform(0.8, 1.2)):
            try:
                self.list()
            except errors.ClusterError as error:
                self.tell("could not list", message=str(error))

    # -- probes ------------------------------------------------------------------------------------------------------

    def healthy(self) -> str:
        """Why this process should be ended, or ""."""
        if self.listed.is_set() and self.known.deaf(time.monotonic()):
            return "the watch has missed changes for a minute"
        return ""


def run(settings: Settings, tell: Tell) -> None:
    """Wait for the Lease, then reconcile until told to stop. Raises `ClusterError` where there is nothing to watch."""
    parameters.prepare_for_threads()
    cluster = Cluster.connect()
    operator = Operator(cluster, settings, tell)
    name = f"pantograph-{settings.template.installation}"
    leadership = Leadership(cluster, name, settings.own_namespace, settings.identity, lambda: _lost(tell))

    def page() -> str:
        return operator.counts.page(operator.known, leads=leadership.leads.is_set())

    def ready() -> str:
        return "listing" if leadership.leads.is_set() and not operator.listed.is_set() else ""

    answers = {"/healthz": operator.healthy, "/readyz": ready}
    with exposition.Server(page, settings.port, "0.0.0.0", answers):
        tell("waiting for the Lease", lease=name, identity=settings.identity)
        leadership.start()
        # Whoever leads next begins at once. While something of ours does not end, the Lease's time keeps it off.
        if asyncio.run(_lead(operator, leadership)):
            leadership.release()
    tell("stopped")


async def _lead(operator: Operator, leadership: Leadership) -> bool:
    """Until told to stop; whether nothing is under way any more.

    kopf needs the main thread, for the signals; so the wait for the Lease is in its loop too.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    while not leadership.leads.is_set():
        if stopping.is_set():
            return True
        await asyncio.sleep(0.1)
    operator.tell("leads", namespaces=", ".join(operator.settings.namespaces) or "all")
    await asyncio.to_thread(operator.begin)
    try:
        await kopf.operator(
            registry=registrations(operator),
            settings=configured(),
            clusterwide=not operator.settings.namespaces,
            namespaces=operator.settings.namespaces,
            standalone=True,
            stop_flag=stopping,
        )
    finally:
        ended = await asyncio.to_thread(operator.end)
    return ended


def registrations(operator: Operator) -> kopf.OperatorRegistry:
    """All that is watched."""
    registry = kopf.OperatorRegistry()

    async def seen(type: str | None, body: kopf.Body, **_: Any) -> None:
        operator.object(type, body)

    async def secret(namespace: str | None, name: str | None, **_: Any) -> None:
        operator.secret((str(namespace), str(name)))

    async def deployment(type: str | None, body: kopf.Body, **_: Any) -> None:
        operator.deployment(type, body)

    # By the client library, which goes where the pod's environment says: kopf's own way needs the cluster's DNS.
    kopf.on.login(registry=registry)(kopf.login_via_client)
    for kind in KINDS.values():
        kopf.on.event(GROUP, VERSION, kind.PLURAL, registry=registry)(seen)
    # Only as events: kopf's other handlers copy what they saw into an annotation, base64 or not.
    kopf.on.event("v1", "secrets", registry=registry)(secret)
    kopf.on.event("apps", "v1", "deployments", registry=registry)(deployment)
    return registry


def configured() -> kopf.OperatorSettings:
    """kopf's settings, where its own are not ours."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # Events are posted where conditions change, and only then
    settings.scanning.disabled = True
    settings.networking.request_timeout, settings.networking.connect_timeout = 30, 10
    settings.networking.enforce_retry_after = True
    settings.watching.server_timeout, settings.watching.client_timeout = 300, 310
    settings.watching.chunk_size = 500
    # A task for each object that changes, kept for as long; what it does takes no time. With a limit to their number an
    # object waits until another one's is given up: 3 objects a second, and a watch that is minutes behind.
    settings.queueing.worker_limit, settings.queueing.idle_timeout = None, 1.0
    settings.process.ultimate_exiting_timeout = 25
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return settings


def _lost(tell: Tell) -> None:
    """Another may lead by now: whatever is under way here must not go on."""
    tell("lost the Lease")
    os._exit(1)
