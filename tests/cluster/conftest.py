"""The cluster of the run: our own node, or the one that --kubeconfig names."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.chart.conftest import script
from tests.cluster import images, node
from tests.cluster.charts import Release
from tests.cluster.cluster import Cluster, refuse_unless_disposable
from tests.cluster.mirrors import Mirror, clear
from tests.servers import MariaDB, PostgreSQL, Server, TestDatabase
from tests.support.comparison import wait_until


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The run's cluster, with our image in it."""
    given = request.config.getoption("--kubeconfig")
    if given:
        yield _somebodys(pathlib.Path(given), request.config)
    elif reason := node.cannot_run():
        pytest.skip(f"this machine cannot run a node: {reason}")
    else:
        name, archive = images.ours()
        with node.running() as ours:
            ours.add_image(archive)
            yield Cluster(ours.programs / "kubectl", ours.kubeconfig, name, node.HOST, ours)


def _somebodys(kubeconfig: pathlib.Path, config: pytest.Config) -> Cluster:
    image, host, kubectl = config.getoption("--image"), config.getoption("--host-address"), shutil.which("kubectl")
    if not image or not host or not kubectl:
        raise pytest.UsageError("--kubeconfig needs --image, --host-address, and a kubectl on the PATH")
    theirs = Cluster(pathlib.Path(kubectl), kubeconfig, image, host)
    refuse_unless_disposable(theirs.kubectl)
    return theirs


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Cluster:
    """The cluster with our operator in it, installed from `crds/` and `examples/kubernetes/operator.yaml`."""
    cluster.kubectl("apply", "--server-side", "--filename", str(images.ROOT / "crds"))
    given = list(yaml.safe_load_all((images.ROOT / "examples/kubernetes/operator.yaml").read_text(encoding="utf-8")))
    cluster.apply([_with_image(each, cluster.image) for each in given])
    cluster.kubectl("--namespace", "pantograph", "rollout", "status", "deployment/pantograph", "--timeout=90s")
    return cluster


def _with_image(made: Any, image: str) -> Any:
    """The manifest, with this image where the example says only `pantograph`."""
    text = json.dumps(made).replace('"image": "pantograph"', f'"image": "{image}"')
    return json.loads(text.replace('_IMAGE", "value": "pantograph"', f'_IMAGE", "value": "{image}"'))


def for_pods(kind: type[Server], cluster: Cluster) -> Server:
    """A server that listens where pods reach this machine."""
    made: type[Server] = type(f"{kind.__name__}ForPods", (kind,), {"host": cluster.host})
    return made.start()


@pytest.fixture(scope="session")
def postgresql(cluster: Cluster) -> Iterator[Server]:
    """The run's PostgreSQL server, for pods too."""
    with for_pods(PostgreSQL, cluster) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(cluster: Cluster) -> Iterator[Server]:
    """The run's MariaDB server, for pods too."""
    with for_pods(MariaDB, cluster) as server:
        yield server


@pytest.fixture
def mirrors(
    operator: Cluster, pg_db: Callable[..., TestDatabase], my_db: Callable[..., TestDatabase]
) -> Iterator[Callable[[TestDatabase, TestDatabase], Mirror]]:
    """`mirrors(source, destination)` is a mirror in a namespace of its own; it goes before the databases do."""
    with contextlib.ExitStack() as kept:

        def make(source: TestDatabase, destination: TestDatabase, kind: type[Mirror] = Mirror) -> Mirror:
            made = kind(operator, kept.enter_context(operator.namespace()), source, destination)
            kept.callback(clear, made)
            return made

        yield make


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The chart of this checkout, packaged."""
    made: pathlib.Path = script().package(tmp_path_factory.mktemp("package"))
    return made


@pytest.fixture(scope="module")
def alone(cluster: Cluster) -> Iterator[None]:
    """No other operator looks after the whole cluster meanwhile: it would take these objects for its own."""
    other = ("deployment/pantograph", "--namespace", "pantograph")
    there = cluster.kubectl("get", *other, "--ignore-not-found")
    if there:
        cluster.kubectl("scale", *other, "--replicas=0")
        selector = "app.kubernetes.io/component=operator"
        wait_until(lambda: not cluster.objects("pods", "pantograph", selector), "the other operator to be gone")
    yield
    if there:
        cluster.kubectl("scale", *other, "--replicas=1")
        cluster.kubectl("rollout", "status", *other, "--timeout=90s")


@pytest.fixture
def release(
    cluster: Cluster, alone: None, package: pathlib.Path, tmp_path: pathlib.Path
) -> Iterator[Callable[..., Release]]:
    """`release(**values)` is one of the chart, not installed yet; its namespace goes at the end."""
    with contextlib.ExitStack() as kept:

        def make(**values: Any) -> Release:
            namespace = kept.enter_context(cluster.namespace())
            made = Release(cluster, package, namespace, tmp_path, **values)
            # The cluster's own, which go with no namespace.
            kept.callback(made.helm, "uninstall", "mirror", "--ignore-not-found")
            return made

        yield make
