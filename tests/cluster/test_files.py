"""examples/sqlite-in-a-cluster: databases that are files, on a volume that the application mounts as well."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.cluster import node
from tests.cluster.charts import Release
from tests.cluster.cluster import Cluster
from tests.cluster.images import ROOT
from tests.cluster.test_examples import Reader
from tests.support.comparison import wait_until

pytestmark = pytest.mark.night


@pytest.fixture
def disk(cluster: Cluster) -> Iterator[Callable[[str], None]]:
    """What a storage class does for the claim `files` of a namespace, where there is none: a folder of the node."""
    if cluster.node is None:
        pytest.skip("the cluster is not ours, and has its own storage class")
    folder = node.STATE / "files"
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    made = []

    def give(namespace: str) -> None:
        spec = {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)},
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"name": "files", "namespace": namespace},
        }  # fmt: skip
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace}, "spec": spec}
        cluster.apply([volume])
        made.append(namespace)

    yield give
    for name in made:
        cluster.kubectl("delete", "persistentvolume", name, "--wait=false")


def test_a_file_on_a_volume_is_mirrored_into_another_one(
    cluster: Cluster, release: Callable[..., Release], tmp_path: pathlib.Path,
    disk: Callable[[str], None],
) -> None:  # fmt: skip
    folder = shutil.copytree(ROOT / "examples" / "sqlite-in-a-cluster", tmp_path / "example")
    person = Reader(cluster, folder)
    given = yaml.safe_load((person.folder / "values.yaml").read_text(encoding="utf-8"))
    ours = release(operator=given["operator"])
    namespace = ours.namespace
    disk(namespace)
    files = person.folder / "files.yaml"
    files.write_text(files.read_text(encoding="utf-8").replace("image: pantograph", f"image: {cluster.image}"))
    person.does("kubectl apply -f files", namespace)
    person.does("kubectl wait --for=condition=Ready pod", namespace)
    assert any(one.startswith("helm install mirror ../../dist/pantograph-*.tgz -f values.yaml") for one in person.lines)
    ours.bring("install", watch={"namespaces": [namespace]})
    person.does("kubectl apply -f manifests", namespace)
    person.does("kubectl wait --for=condition=Ready reflection", namespace)

    def copied() -> int:
        return int(re.sub(r"\D", "", person.does("kubectl exec shop", namespace)))

    # The shop goes on selling, and what is paid goes on arriving.
    first = copied()
    wait_until(lambda: copied() > first + 1, "more orders to arrive", 60)
    person.types("kubectl delete -f manifests.yaml --timeout=120s", namespace)
    left = "select count(*) from sqlite_master where type = 'trigger' or name like 'pantograph%'"
    told = f"import sqlite3; print(sqlite3.connect('/data/shop.db').execute({left!r}).fetchone())"
    assert cluster.kubectl("exec", "shop", "-n", namespace, "--", "python", "-c", told).strip() == "(0,)"
