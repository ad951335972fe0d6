"""A database that takes connections and answers nobody: it is not waited for for ever, and not said to be well."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from tests.cluster.cluster import Cluster, Object
from tests.cluster.mirrors import Load, Mirror
from tests.cluster.node import Node
from tests.cluster.proxies import Proxy
from tests.servers import Server, TestDatabase
from tests.support.comparison import wait_until

pytestmark = pytest.mark.night

GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL, as the pods' specs say."""


@pytest.fixture
def node(operator: Cluster) -> Node:
    if operator.node is None:
        pytest.skip("the cluster is not ours, and its processes are not to be ended")
    return operator.node


@pytest.fixture
def way(operator: Cluster, postgresql: Server) -> Iterator[Proxy]:
    with Proxy(operator.host, postgresql.host, postgresql.port) as proxy:
        yield proxy


class Distant(Mirror):
    """A mirror of which one Database is reached through a proxy."""

    way: Proxy
    side: str

    def objects(self, **reflection: object) -> list[Object]:
        """All that is to be applied."""
        objects = super().objects(**reflection)
        (database,) = [one for one in objects if one["kind"] == "Database" and one["metadata"]["name"] == self.side]
        database["spec"] |= {"host": self.way.host, "port": self.way.port}
        return objects


@pytest.fixture
def distant(
    way: Proxy, mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase], request: pytest.FixtureRequest
) -> Iterator[Distant]:
    mirror = mirrors(pg_db(), pg_db(), kind=Distant)
    assert isinstance(mirror, Distant)
    mirror.way, mirror.side = way, getattr(request, "param", "shop")
    yield mirror
    way.resume()


def ended(node: Node, pod: Callable[[], Object]) -> tuple[int, float]:
    """SIGTERM to what runs in a pod; with which status it ended, and after how many seconds."""
    (before,) = pod()["status"]["containerStatuses"]
    os.kill(node.container_pid(before["containerID"]), signal.SIGTERM)
    asked = time.time()

    def again() -> Object | None:
        (now,) = pod()["status"]["containerStatuses"]
        return now if now["restartCount"] > before["restartCount"] else None

    last = wait_until(again, "it to end", 2 * GRACE)["lastState"]["terminated"]
    return int(last["exitCode"]), datetime.fromisoformat(last["finishedAt"]).timestamp() - asked


def operators(cluster: Cluster) -> Object:
    (pod,) = cluster.objects("pods", "pantograph", "app.kubernetes.io/component=operator")
    return pod


def test_an_operator_that_waits_for_a_database_ends_within_its_grace(
    operator: Cluster, node: Node, distant: Distant
) -> None:
    distant.way.hang()
    operator.apply(distant.objects(), distant.namespace)
    wait_until(lambda: distant.way.asked, "the operator to wait for an answer")
    status, seconds = ended(node, lambda: operators(operator))
    print(f"\nthe operator ended with status {status} after {seconds:.0f} s")
    assert status == 0
    assert seconds < GRACE
    assert distant.condition("database", "shop").get("status") != "True"


@pytest.mark.parametrize("distant", ["shop", "warehouse"], indirect=True)
def test_a_reflector_says_that_a_database_is_silent_ends_in_time_and_goes_on(distant: Distant, node: Node) -> None:
    distant.apply()
    with Load(distant.source):
        distant.follows()
        distant.way.hang()
        silent = time.monotonic()
        wait_until(lambda: distant.reason("reflection", "orders") == "Unreachable", "it to be said", 120)
        said = time.monotonic() - silent
        assert "does not answer" in distant.condition("reflection", "orders")["message"]
        status, seconds = ended(node, lambda: distant.reflector() or {})
        print(f"\nsaid after {said:.0f} s; the reflector ended with status {status} after {seconds:.0f} s")
        assert status == 0
        assert seconds < GRACE
        distant.way.resume()
        distant.ready()
        distant.follows()
    wait_until(distant.equal, "both tables to be equal")
