"""The chart's NetworkPolicies, enforced: mirrors work, those who may come in do, and nobody else."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import beside
from tests.cluster.charts import Release
from tests.cluster.cluster import Cluster, KubectlFailed, Object
from tests.cluster.mirrors import Mirror, clear
from tests.servers import TestDatabase
from tests.support.comparison import wait_until

pytestmark = pytest.mark.night

PEER = "peer"
# Whoever is not let in hears nothing, so that it is time that tells.
ASKS = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=4).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print("silence")
"""


@pytest.fixture
def enforced(cluster: Cluster) -> Iterator[None]:
    """What a network plugin does, where there is none that enforces policies."""
    if cluster.node is None:
        pytest.skip("the cluster is not ours, and may have a network plugin that enforces nothing")
    with beside.policies(cluster.node):
        yield


class Peer:
    """A pod with a shell of its own in a namespace of its own, which asks others."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        sleeps = cluster.pod(PEER, [], command=["python", "-c", "import time; time.sleep(3600)"])
        sleeps["spec"]["terminationGracePeriodSeconds"] = 0
        cluster.apply([sleeps], namespace)
        cluster.wait("Ready", f"pod/{PEER}", namespace)

    def asks(self, url: str) -> str:
        """The status of the answer; "silence" when there is none."""
        return asks(self.cluster, self.namespace, PEER, url)


def asks(cluster: Cluster, namespace: str, pod: str, url: str) -> str:
    """The same of any pod of our image."""
    return cluster.kubectl("exec", pod, "--namespace", namespace, "--", "python", "-c", ASKS, url).strip()


def at(pod: Object, port: int, path: str = "/metrics") -> str:
    """Where a pod answers."""
    return f"http://{pod['status']['podIP']}:{port}{path}"


def component(cluster: Cluster, namespace: str, name: str) -> Object:
    """The one pod of a component that is not on its way out."""
    pods = cluster.objects("pods", namespace, f"app.kubernetes.io/component={name}")
    (found,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return found


@pytest.fixture
def elsewhere(cluster: Cluster) -> Iterator[str]:
    """A server of this machine that no policy of ours knows."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.ThreadingTCPServer((cluster.host, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{cluster.host}:{server.server_address[1]}/"
        server.shutdown()


def test_with_the_policies_of_the_chart_mirrors_work_and_nobody_else_comes_in(
    cluster: Cluster, enforced: None, release: Callable[..., Release], pg_db: Callable[..., TestDatabase],
    elsewhere: str,
) -> None:  # fmt: skip
    shop = pg_db()
    with (
        cluster.namespace() as mirrored,
        cluster.namespace(monitoring="yes") as monitoring,
        cluster.namespace(login="yes") as login,
        cluster.namespace() as foreign,
    ):
        policy = {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"monitoring": "yes"}}}],
            "consoleFrom": [{"namespaceSelector": {"matchLabels": {"login": "yes"}}}],
            "databasePorts": [shop.url("source")["port"]],
        }
        ours = release(watch={"namespaces": [mirrored]}, console={"enabled": True}, networkPolicy=policy)
        ours.bring("install")
        ours.helm("test", "mirror", "--timeout", "90s")
        mirror = Mirror(cluster, mirrored, shop, pg_db())
        mirror.apply()
        mirror.follows()

        operator = component(cluster, ours.namespace, "operator")
        console = component(cluster, ours.namespace, "console")
        reflector = mirror.reflector()
        assert reflector is not None
        doors = {"operator": at(operator, 8080), "reflector": at(reflector, 8080), "console": at(console, 8090, "/")}
        stranger = Peer(cluster, foreign)
        peers = {"monitoring": Peer(cluster, monitoring), "login": Peer(cluster, login), "foreign": stranger}
        told = {
            name: {door: peer.asks(url) != "silence" for door, url in doors.items()} for name, peer in peers.items()
        }
        assert told == {
            "monitoring": {"operator": True, "reflector": True, "console": False},
            "login": {"operator": False, "reflector": False, "console": True},
            "foreign": {"operator": False, "reflector": False, "console": False},
        }

        # The way out: databases and the API server, and nothing else that others may reach.
        assert stranger.asks(elsewhere) == "204"
        for pod in (operator, console, reflector):
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            assert asks(cluster, namespace, name, elsewhere) == "silence", name

        # It is the policies that do this, and they come and go with the values.
        ours.bring("upgrade", networkPolicy={**policy, "enabled": False})
        # A policy that is gone is known to be a moment later.
        wait_until(lambda: {stranger.asks(url) for url in doors.values()} & {"silence"} == set(), "open doors", 60)
        mirror.follows()
        clear(mirror)
        mirror.nothing_left()
        with pytest.raises(KubectlFailed, match="not found"):
            cluster.get("networkpolicy", "mirror-pantograph-operator", ours.namespace)
