"""A table of one database mirrored into another by objects in a namespace; a load on it, and who watches its status."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from kubernetes import client, config

from tests.cluster.cluster import Cluster, KubectlFailed, Object
from tests.servers import TestDatabase
from tests.support.comparison import difference, wait_until
from tests.support.kstatus import kstatus

GROUP = "pantograph.dev/v1alpha1"
COLUMNS = ("id", "item")
TOLD_WITHIN = 15.0
"""Seconds within which a row must have arrived, or `status` must not say that it is replicated."""


class Mirror:
    """A table of one database, mirrored into another by objects in a namespace."""

    def __init__(self, cluster: Cluster, namespace: str, source: TestDatabase, destination: TestDatabase) -> None:
        self.cluster, self.namespace, self.source, self.destination = cluster, namespace, source, destination
        self._numbers = itertools.count(10_000)
        source.execute("create table orders (id int primary key, item varchar(80))")
        source.execute(
            "insert into orders with recursive n (n) as (select 1 union all select n + 1 from n where n < 500) "
            "select n, concat('item ', n) from n"
        )

    def objects(self, **reflection: Any) -> list[Object]:
        """All that is to be applied, what refers before what is referred to."""
        return [
            {
                "apiVersion": GROUP,
                "kind": "Reflection",
                "metadata": {"name": "orders"},
                "spec": {
                    "sourceTableRef": {"name": "orders"},
                    "destination": {
                        "databaseRef": {"name": "warehouse"}, "schema": self.destination.schema, "table": "orders",
                    },
                    **reflection,
                },
            },
            {
                "apiVersion": GROUP,
                "kind": "SourceTable",
                "metadata": {"name": "orders"},
                "spec": {"databaseRef": {"name": "shop"}, "schema": self.source.schema, "table": "orders"},
            },
            *self.destination.manifests("destination", name="warehouse"),
            *self.source.manifests("source", name="shop"),
        ]  # fmt: skip

    def apply(self, **reflection: Any) -> None:
        """All of it at once, and until it is Ready."""
        self.cluster.apply(self.objects(**reflection), self.namespace)
        self.ready()

    def ready(self, patience: int = 90) -> None:
        """Until the Reflection is Ready."""
        try:
            self.cluster.wait("Ready", "reflection/orders", self.namespace, patience)
        except KubectlFailed as error:
            raise AssertionError(self.seen()) from error

    def seen(self) -> str:
        """What a person would look at first."""
        listed = self.cluster.kubectl("get", "pantograph,pods,events", "-o", "wide", "-n", self.namespace)
        with contextlib.suppress(KubectlFailed):
            words = ("-l", "app.kubernetes.io/component=reflector", "--tail=30")
            listed += self.cluster.kubectl("logs", "-n", self.namespace, *words)
        with contextlib.suppress(KubectlFailed):
            listed += self.cluster.kubectl("logs", "-n", "pantograph", "deployment/pantograph", "--tail=30")
        return listed

    def patch(self, kind: str, name: str, **content: Any) -> None:
        """Change an object."""
        body = json.dumps(content)
        self.cluster.kubectl("patch", kind, name, "-n", self.namespace, "--type=merge", "--patch", body)

    def delete(self, kind: str, name: str) -> None:
        """Ask for an object to go."""
        self.cluster.kubectl("delete", kind, name, "-n", self.namespace, "--wait=false")

    def follows(self) -> None:
        """Until a row that is written now has arrived. Its number is nobody else's."""
        number = next(self._numbers)
        self.source.execute(f"insert into orders values ({number}, 'probe')")
        wait_until(lambda: self.written(f"select 1 from orders where id = {number}"), f"row {number} to arrive", 60)

    def written(self, sql: str) -> list[tuple[Any, ...]]:
        """What a statement says at the destination."""
        return self.destination.execute(sql, "destination")

    def equal(self) -> bool:
        """Whether both tables are the same."""
        return not difference(self.source, self.destination, "orders", COLUMNS)

    def condition(self, kind: str, name: str, type_: str = "Ready") -> Object:
        """One condition; empty when it is not there."""
        status = self.cluster.get(kind, name, self.namespace).get("status", {})
        return next((one for one in status.get("conditions", []) if one["type"] == type_), {})

    def reason(self, kind: str, name: str) -> str:
        """Why an object is Ready or is not."""
        return str(self.condition(kind, name).get("reason", ""))

    def events(self, kind: str) -> list[Object]:
        """The Events about objects of a kind."""
        events = self.cluster.objects("events", self.namespace)
        return [one for one in events if one["involvedObject"]["kind"] == kind]

    def reflector(self) -> Object | None:
        """The reflector's pod that is not on its way out; None when there is none."""
        pods = self.cluster.objects("pods", self.namespace, "pantograph.dev/database=shop")
        return next((pod for pod in pods if "deletionTimestamp" not in pod["metadata"]), None)

    def runs(self, image: str) -> bool:
        """Whether a reflector of the image is ready, and no other is there."""
        pods = self.cluster.objects("pods", self.namespace, "pantograph.dev/database=shop")
        states = [pod["status"].get("containerStatuses", [{}])[0] for pod in pods]
        return [pod["spec"]["containers"][0]["image"] for pod in pods] == [image] and bool(states[0].get("ready"))

    def nothing_left(self) -> None:
        """Until neither database holds anything of ours."""
        for side in (self.source, self.destination):
            wait_until(lambda side=side: ours(side) == 0, f"nothing of ours to be left in {side.name}", 60)  # type: ignore[misc]


def ours(database: TestDatabase) -> int:
    """How many objects of ours a database holds."""
    counts = {
        "postgresql": "select (select count(*) from pg_namespace where nspname = 'pantograph') + "
        "(select count(*) from pg_trigger where tgname like 'pantograph%')",
        "mariadb": "select (select count(*) from information_schema.tables where table_schema = "
        f"'pantograph_{database.name}') + (select count(*) from information_schema.triggers "
        f"where trigger_schema = '{database.name}')",
    }
    return int(database.execute(counts[database.dialect], "superuser")[0][0])


def clear(mirror: Mirror) -> None:
    """Before the databases go: the operator takes what is ours out of them. Quicker than to wait for the namespace."""
    kinds = "reflections,sourcetables,databases"
    mirror.cluster.kubectl("delete", kinds, "--all", "-n", mirror.namespace, "--timeout=150s", timeout=180)


class Load:
    """Inserts, changes and deletes at the source without pause, some tens of transactions a second, until it ends.

    It goes on when its server is back. probes: rows that nobody touches any more, and when (monotonic) the server had
    answered that they are there.
    """

    def __init__(self, source: TestDatabase, pause: float = 0.02) -> None:
        self.source, self.pause = source, pause
        self.probes: dict[int, float] = {}
        self.transactions = self.cut_off = 0
        self._number = 1_000_000
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with contextlib.closing(self.source._connect("app")) as raw:
                    self._write(raw.cursor())
            except Exception:  # each driver has its own for a server that is gone
                self.cut_off += 1
                self._stop.wait(0.2)

    def _write(self, cursor: Any) -> None:
        probe_at = time.monotonic()
        while not self._stop.wait(self.pause):
            # Counted before: what is cut off was committed or not, and nobody asks for that number again.
            self._number = number = self._number + 1
            if time.monotonic() >= probe_at:
                probe_at += 1.0
                cursor.execute(f"insert into orders values ({-number}, 'probe')")
                self.probes[-number] = time.monotonic()
            cursor.execute(f"insert into orders values ({number}, 'new')")
            cursor.execute(f"update orders set item = 'changed {number}' where id = {number - number % 7}")
            if number % 3 == 0:
                cursor.execute(f"delete from orders where id = {number - 20}")
            self.transactions += 3

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment. says: what `status` made of the Reflection, for kstatus; "" when nobody answered.

    replicating: it said Ready, and Replicating too. missing: probes of 15 s ago and more that had not arrived.
    """

    at: float
    says: str
    replicating: bool
    missing: tuple[int, ...]


class Watch:
    """Looks once a second at what a Reflection's `status` says and at what has arrived."""

    def __init__(self, mirror: Mirror, load: Load) -> None:
        self._mirror, self._load = mirror, load
        self.samples: list[Sample] = []
        self._arrived: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        api = config.new_client_from_config(str(mirror.cluster.kubeconfig))  # type: ignore[no-untyped-call]
        self._objects = client.CustomObjectsApi(api)

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            # In this order: a row that is not there after it was said to be was not there when it was said.
            at = time.monotonic()
            says, replicating = self._said()
            self.samples.append(Sample(at, says, replicating, self._missing(at - TOLD_WITHIN)))

    def _said(self) -> tuple[str, bool]:
        try:
            group, version = GROUP.split("/")
            body: Any = self._objects.get_namespaced_custom_object(
                group, version, self._mirror.namespace, "reflections", "orders", _request_timeout=(1.0, 2.0)
            )
        except Exception:  # the API server is away
            return "", False
        status = body["status"]
        told = {one["type"]: one["status"] for one in status["conditions"]}
        says = kstatus(body["metadata"]["generation"], status["observedGeneration"], told)
        return says, told.get("Ready") == "True" == told.get("Replicating")

    def _missing(self, until: float) -> tuple[int, ...]:
        due = {number for number, at in list(self._load.probes.items()) if at <= until} - self._arrived
        if due:
            numbers = ", ".join(map(str, due))
            with contextlib.suppress(Exception):  # the destination is away, and so are they
                found = self._mirror.written(f"select id from orders where id in ({numbers})")
                self._arrived |= {number for (number,) in found}
        return tuple(sorted(due - self._arrived))

    @property
    def lies(self) -> list[Sample]:
        """Where it was said to be replicated, and rows of 15 s ago were not there."""
        return [one for one in self.samples if one.missing and (one.replicating or one.says == "Current")]

    def told(self) -> str:
        """In figures, for a report."""
        counts: dict[str, int] = {}
        for one in self.samples:
            name = one.says or "no answer"
            counts[name] = counts.get(name, 0) + 1
        behind = sum(bool(one.missing) for one in self.samples)
        said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        return f"{len(self.samples)} samples: {said}; {behind} with rows of 15 s ago missing, {len(self.lies)} lies"

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
