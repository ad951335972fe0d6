"""A thousand objects: a restart of the operator looks at all of them, and is no stampede on their databases."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, KubectlFailed, Object
from tests.cluster.mirrors import GROUP
from tests.servers import Server, TestDatabase
from tests.support.comparison import wait_until

pytestmark = pytest.mark.night

SOURCES, TABLES = 100, 5
AT_ONCE = 16
"""Connections: eight workers, each with one to a source and one to a destination."""


@pytest.fixture
def alone(operator: Cluster) -> Iterator[str]:
    """The operator looks after one namespace, and makes no reflectors: a hundred would be the machine's end."""
    deployment = ("deployment/pantograph", "--namespace", "pantograph")
    with operator.namespace() as namespace:
        told = (f"PANTOGRAPH_NAMESPACES={namespace}", "PANTOGRAPH_REFLECTOR_IMAGE=")
        operator.kubectl("set", "env", *deployment, *told)
        operator.kubectl("rollout", "status", *deployment, "--timeout=90s")
        yield namespace
        remove(operator, namespace)
    before = ("PANTOGRAPH_NAMESPACES-", f"PANTOGRAPH_REFLECTOR_IMAGE={operator.image}")
    operator.kubectl("set", "env", *deployment, *before)
    operator.kubectl("rollout", "status", *deployment, "--timeout=90s")


def remove(cluster: Cluster, namespace: str) -> None:
    """Everything of ours, until it is gone. kubectl itself would look at one object after the other."""
    kinds = "reflections,sourcetables,databases"
    cluster.kubectl("delete", kinds, "--all", "-n", namespace, "--wait=false", timeout=300)
    wait_until(lambda: not cluster.kubectl("get", kinds, "-n", namespace, "-o", "name"), "all to be gone", 300)


def objects(number: int, source: TestDatabase) -> Iterator[Object]:
    """One source Database, its Secret, and what hangs on it."""
    name = f"shop-{number}"
    yield from source.manifests("source", name=name)
    for table in (f"t{each}" for each in range(TABLES)):
        source.execute(f"create table {table} (id int primary key)")
        yield {
            "apiVersion": GROUP,
            "kind": "SourceTable",
            "metadata": {"name": f"{name}-{table}"},
            "spec": {"databaseRef": {"name": name}, "schema": "public", "table": table},
        }
        yield {
            "apiVersion": GROUP,
            "kind": "Reflection",
            "metadata": {"name": f"{name}-{table}"},
            "spec": {
                "sourceTableRef": {"name": f"{name}-{table}"},
                "destination": {"databaseRef": {"name": "copy"}, "schema": "public", "table": f"shop_{number}_{table}"},
            },
        }


class Connections:
    """Counts what the operator has open at a server, ten times a second."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.most, self.ever = 0, set[tuple[int, Any]]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with contextlib.closing(self._server.superuser_connect()) as raw:
            cursor = raw.cursor()
            while not self._stop.wait(0.1):
                cursor.execute(
                    "select pid, backend_start from pg_stat_activity where application_name = 'pantograph' "
                    "and backend_type = 'client backend'"
                )
                found = cursor.fetchall()
                self.most = max(self.most, len(found))
                self.ever.update(found)

    def __enter__(self) -> Connections:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def pod(cluster: Cluster) -> Object:
    """The operator's."""
    found = cluster.objects("pods", "pantograph", "app.kubernetes.io/component=operator")
    return next(one for one in found if "deletionTimestamp" not in one["metadata"])


def looked(cluster: Cluster) -> float:
    """How many objects the operator has looked at and found to be as they should."""
    try:
        where = f"/api/v1/namespaces/pantograph/pods/{pod(cluster)['metadata']['name']}:8080/proxy/metrics"
        page = cluster.kubectl("get", "--raw", where)
    except (KubectlFailed, StopIteration):
        return 0.0
    wanted = "pantograph_reconcile_total{"
    lines = [one for one in page.splitlines() if one.startswith(wanted) and 'result="ok"' in one]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def all_observed(cluster: Cluster, namespace: str) -> bool:
    """Whether the operator has looked at every object as it is."""
    found = [one for kind in ("databases", "sourcetables", "reflections") for one in cluster.objects(kind, namespace)]
    return all(one["status"].get("observedGeneration") == one["metadata"]["generation"] for one in found)


def test_a_restart_looks_at_a_thousand_objects_and_is_no_stampede(
    operator: Cluster, postgresql: Server, pg_db: Callable[..., TestDatabase], alone: str
) -> None:
    copy, sources = pg_db(), [pg_db() for _ in range(SOURCES)]
    made = [*copy.manifests("destination", name="copy")]
    for number, source in enumerate(sources):
        made += objects(number, source)
    ours = sum(one["kind"] != "Secret" for one in made)
    assert ours > 1000
    operator.apply(made, alone)
    began = time.monotonic()
    with Connections(postgresql) as first:
        wait_until(lambda: all_observed(operator, alone), "all to be made", 300)
    print(f"\n{ours} objects made in {time.monotonic() - began:.0f} s, {first.most} connections at a time")
    assert first.most <= AT_ONCE

    operator.kubectl("delete", "pods", "--all", "--namespace", "pantograph", "--grace-period=0", "--force")
    began = time.monotonic()
    with Connections(postgresql) as again:
        wait_until(lambda: looked(operator) >= ours, "all to be looked at", 300)
    print(f"looked at again in {time.monotonic() - began:.0f} s from the kill, {again.most} connections at a time, "
          f"{len(again.ever)} seen")  # fmt: skip
    assert again.most <= AT_ONCE

    # What changes now is heard of at once, whatever the watch had to tell at the start.
    began = time.monotonic()
    words = ("patch", "reflection", "shop-99-t4", "-n", alone, "--type=merge", "--patch", '{"spec": {"paused": true}}')
    operator.kubectl(*words)

    def paused() -> bool:
        status = operator.get("reflection", "shop-99-t4", alone)["status"]
        return any(one["type"] == "Ready" and one["reason"] == "Paused" for one in status["conditions"])

    wait_until(paused, "a change to be seen")
    print(f"a change was seen in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    remove(operator, alone)
    print(f"all were gone in {time.monotonic() - began:.0f} s")
    # It was healthy all the while.
    assert [one["restartCount"] for one in pod(operator)["status"]["containerStatuses"]] == [0]
