"""Two of what there should be one of: operators, of which one leads; reflectors, which nobody keeps apart."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.cluster import Cluster, KubectlFailed, Object
from tests.cluster.mirrors import Load, Mirror, Watch
from tests.servers import TestDatabase
from tests.support.comparison import wait_until

CONFLICTS = "pantograph_reflection_checkpoint_conflicts_total"
OPERATOR = ("deployment/pantograph", "--namespace", "pantograph")


def pods(cluster: Cluster) -> list[str]:
    """The operators, by name."""
    found = cluster.objects("pods", "pantograph", "app.kubernetes.io/component=operator")
    return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


def metric(cluster: Cluster, namespace: str, pod: str, name: str) -> float:
    """The sum of a metric of a pod."""
    page = cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/metrics")
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


@pytest.fixture
def two(operator: Cluster) -> Iterator[Cluster]:
    """Two operators, both of which say that they are ready."""
    operator.kubectl("scale", *OPERATOR, "--replicas=2")
    operator.kubectl("rollout", "status", *OPERATOR, "--timeout=90s")
    yield operator
    operator.kubectl("scale", *OPERATOR, "--replicas=1")
    wait_until(lambda: len(pods(operator)) == 1, "one operator")
    operator.kubectl("rollout", "status", *OPERATOR, "--timeout=90s")


class Leaders:
    """Asks all operators, again and again, whether they lead; who did, and whether two did at one moment."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.seen: list[set[str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def now(self) -> set[str]:
        """Who leads."""
        found = set()
        for pod in pods(self._cluster):
            try:
                if metric(self._cluster, "pantograph", pod, "pantograph_operator_leader"):
                    found.add(pod)
            except KubectlFailed:
                continue  # it is not there yet, or not any more
        return found

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self.seen.append(self.now())

    def __enter__(self) -> Leaders:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.full
def test_of_two_operators_one_leads_and_the_other_takes_over(
    two: Cluster, mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase]
) -> None:
    with Leaders(two) as leaders:
        (first,) = wait_until(leaders.now, "one to lead")
        mirror = mirrors(pg_db(), pg_db())
        mirror.apply()
        two.kubectl("delete", "pod", first, "--namespace", "pantograph", "--grace-period=0", "--force")
        mirror.patch("reflection", "orders", spec={"where": "id > 100"})
        wait_until(lambda: mirror.written("select min(id) from orders") == [(101,)], "what was asked of the next", 90)
        mirror.ready()
        # The one that waited, or the one that was made in its place.
        assert len(leaders.now() - {first}) == 1
    print(f"\nasked {len(leaders.seen)} times; leaders at a time: {sorted({len(one) for one in leaders.seen})}")
    assert max(map(len, leaders.seen)) == 1


@pytest.mark.full
def test_an_operator_that_ends_in_order_leaves_the_lease_to_the_next(two: Cluster) -> None:
    def holder() -> str:
        lease = two.get("lease", "pantograph-pantograph", "pantograph")
        return str(lease["spec"].get("holderIdentity", ""))

    wait_until(lambda: holder() in pods(two), "one to lead")
    two.kubectl("scale", *OPERATOR, "--replicas=0")
    wait_until(lambda: not two.objects("pods", "pantograph", "app.kubernetes.io/component=operator"), "both to be gone")
    assert holder() == ""


@pytest.mark.night
def test_two_reflectors_write_at_once_and_nothing_is_lost(
    operator: Cluster, mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase]
) -> None:
    mirror = mirrors(pg_db(), pg_db())
    mirror.apply()
    second(mirror)
    both = [pod["metadata"]["name"] for pod in reflectors(mirror)]
    assert len(both) == 2
    with Load(mirror.source, 0.005) as load, Watch(mirror, load) as watch:
        for name in both:
            wait_until(lambda name=name: metric(operator, mirror.namespace, name, CONFLICTS) > 1, "it to come too late")
        if operator.node is not None:
            (container,) = mirror.cluster.get("pod", both[0], mirror.namespace)["status"]["containerStatuses"]
            os.kill(operator.node.container_pid(container["containerID"]), signal.SIGKILL)
            wait_until(lambda: reflectors(mirror)[0]["status"]["containerStatuses"][0]["restartCount"], "it to be back")
    wait_until(mirror.equal, "both tables to be equal")
    mirror.cluster.kubectl("delete", "deployment", "second", "--namespace", mirror.namespace)
    print(f"\n{watch.told()}; {load.transactions} transactions")
    assert watch.lies == []


def reflectors(mirror: Mirror) -> list[Object]:
    """Both reflectors' pods, once they are ready; by name."""

    def ready() -> list[Object]:
        found = mirror.cluster.objects("pods", mirror.namespace, "app.kubernetes.io/component=reflector")
        states = [one.get("status", {}).get("containerStatuses", [{}])[0].get("ready") for one in found]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"])) if len(found) == 2 and all(states) else []

    found: list[Object] = wait_until(ready, "two reflectors")
    return found


def second(mirror: Mirror) -> None:
    """Another reflector of the same Database, as two would be without the Deployment's `Recreate`."""
    spec = mirror.cluster.get("deployment", "shop-reflector", mirror.namespace)["spec"]
    # Not the first one's labels: each Deployment has pods of its own.
    labels = {"second": "yes", "app.kubernetes.io/component": "reflector"}
    spec["selector"], spec["template"]["metadata"]["labels"] = {"matchLabels": {"second": "yes"}}, labels
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "second"}, "spec": spec}
    mirror.cluster.apply([made], mirror.namespace)
