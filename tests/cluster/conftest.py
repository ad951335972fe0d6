"""The cluster of the run: our own node, or the one that --kubeconfig names."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator

import pytest

from tests.cluster import images, node
from tests.cluster.cluster import Cluster, refuse_unless_disposable


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
