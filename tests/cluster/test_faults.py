"""Each part is killed in turn, with SIGKILL, while somebody writes: nothing is lost, and `status` tells the truth.

The truth is held against rows that are written once a second: at no moment may a Reflection be Ready and Replicating
while a row that was committed at the source 15 s ago is not at the destination.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.cluster import Cluster, Object
from tests.cluster.conftest import for_pods
from tests.cluster.mirrors import TOLD_WITHIN, Load, Mirror, Watch, clear
from tests.cluster.node import Node
from tests.servers import MariaDB, PostgreSQL, Server
from tests.support.comparison import wait_until

pytestmark = pytest.mark.full

AWAY = TOLD_WITHIN + 10.0
"""Seconds for which a part is kept down: long enough for a lie to show."""


@dataclass
class Scene:
    """A mirror under load, on databases that can be killed, and who watches it. since: when this fault's turn began."""

    mirror: Mirror
    shop: Server
    warehouse: Server
    node: Node
    load: Load
    watch: Watch
    since: float = 0.0

    def settles(self) -> None:
        """Until it is Ready, and has been watched for as long as a lie needs to show."""
        self.mirror.ready()
        self.mirror.follows()
        seen = len(self.watch.samples)
        wait_until(lambda: len(self.watch.samples) >= seen + 3, "samples")
        assert [one for one in self.watch.lies if one.at >= self.since] == [], self.mirror.seen()

    def kill(self, pod: Object | None) -> bool:
        """SIGKILL to what runs in a pod; whether it did."""
        for container in (pod or {}).get("status", {}).get("containerStatuses", ()):
            if "running" in container["state"]:
                os.kill(self.node.container_pid(container["containerID"]), signal.SIGKILL)
                return True
        return False


@pytest.fixture
def scene(stage: Scene) -> Scene:
    """The one of the whole file, for one fault."""
    stage.since = time.monotonic()
    return stage


@pytest.fixture(scope="module")
def stage(operator: Cluster) -> Iterator[Scene]:
    if operator.node is None:
        pytest.skip("the cluster is not ours, and its parts are not to be killed")
    with contextlib.ExitStack() as kept:
        shop, warehouse = (kept.enter_context(for_pods(kind, operator)) for kind in (PostgreSQL, MariaDB))
        namespace = kept.enter_context(operator.namespace())
        mirror = Mirror(operator, namespace, shop.make_database("shop"), warehouse.make_database("warehouse"))
        kept.callback(clear, mirror)
        mirror.apply()
        with Load(mirror.source) as load, Watch(mirror, load) as watch:
            yield Scene(mirror, shop, warehouse, operator.node, load, watch)
        print(f"\n{watch.told()}; {load.transactions} transactions, {load.cut_off} times cut off")
        wait_until(mirror.equal, "both tables to be equal")


def kept_down(kill: Callable[[], bool]) -> None:
    """Kill it, and again whenever it comes back, for as long as a lie needs to show."""
    killed = 0
    until = time.monotonic() + AWAY
    while time.monotonic() < until:
        with contextlib.suppress(LookupError, ProcessLookupError):
            killed += kill()
        time.sleep(0.5)
    assert killed > 1


@pytest.mark.night
def test_the_operator(scene: Scene) -> None:
    def kill() -> bool:
        (pod,) = scene.mirror.cluster.objects("pods", "pantograph", "app.kubernetes.io/component=operator")
        return scene.kill(pod)

    kept_down(kill)
    scene.settles()


def test_the_reflector(scene: Scene) -> None:
    kept_down(lambda: scene.kill(scene.mirror.reflector()))
    scene.settles()
    assert any(one.says == "InProgress" for one in scene.watch.samples if one.at >= scene.since)


@pytest.mark.night
@pytest.mark.parametrize("part", ["kube-apiserver", "kubelet"])
def test_a_part_of_kubernetes(scene: Scene, part: str) -> None:
    scene.node.kill(part)
    try:
        time.sleep(AWAY)
        scene.mirror.follows()  # without it
    finally:
        scene.node.launch(part)
    scene.settles()


@pytest.mark.parametrize("side", ["source", pytest.param("destination", marks=pytest.mark.night)])
def test_a_database(scene: Scene, side: str) -> None:
    server = scene.shop if side == "source" else scene.warehouse
    server.kill()
    try:
        wait_until(lambda: scene.mirror.condition("reflection", "orders")["status"] == "False", "it to be said")
        time.sleep(AWAY)
    finally:
        server.restart()
    scene.settles()
