"""Every folder of `examples/` for a cluster, applied as its README says; only where the databases are is the test's."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import beside
from tests.cluster.certificates import Authority
from tests.cluster.cluster import Cluster, Object
from tests.cluster.images import ROOT
from tests.cluster.mirrors import ours
from tests.servers import MariaDB, TestDatabase, processes
from tests.support.comparison import wait_equal

pytestmark = pytest.mark.night

LOCAL = {"sqlite-to-sqlite"}
"""Examples of `pantograph run`; tests/command/test_examples.py does what they say."""
WITH_THE_CHART = {"sqlite-in-a-cluster"}
"""test_files does what it says: its operator is another one."""


class Reader:
    """Somebody who does what a README says, in a copy of its folder."""

    def __init__(self, cluster: Cluster, folder: pathlib.Path) -> None:
        self.cluster, self.folder = cluster, folder
        text = (folder / "README.md").read_text(encoding="utf-8")
        self.lines = re.findall(r"^    (\S.*?)(?:   +#.*)?$", text, re.MULTILINE)

    def does(self, words: str, namespace: str = "") -> str:
        """The line of the README that begins so; what it printed."""
        (line,) = [one for one in self.lines if one.startswith(words)]
        return self.types(line, namespace)

    def types(self, line: str, namespace: str = "") -> str:
        """Any line. namespace: the one that their kubectl is set to."""
        program = str(self.cluster.kubectl_program) + (f" --namespace {namespace}" if namespace else "")
        done = subprocess.run(
            re.sub(r"\bkubectl\b", program, line), shell=True, cwd=self.folder, capture_output=True, text=True,
            timeout=200, env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)},
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(operator: Cluster, tmp_path: pathlib.Path) -> Callable[[str], Reader]:
    def at(name: str) -> Reader:
        return Reader(operator, pathlib.Path(shutil.copytree(ROOT / "examples" / name, tmp_path / name)))

    return at


def found_as(name: str, namespace: str, port: int, database: TestDatabase) -> list[Object]:
    """A Service by which pods find a server of this machine."""
    at = database.url("source")
    metadata = {"name": name, "namespace": namespace}
    ports = [{"name": "db", "port": port}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [at["host"]], "conditions": {"ready": True}}],
            "ports": [{"name": "db", "port": at["port"]}],
        },
    ]  # fmt: skip


def left(name: str, namespace: str, **values: str) -> Object:
    """A Secret as somebody else leaves it."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def orders(database: TestDatabase) -> None:
    """A table, and what is in it."""
    database.execute("create table orders (id int primary key, item varchar(80))")
    database.execute("insert into orders values (1, 'a pen'), (2, 'paper')")


def follows(source: TestDatabase, destination: TestDatabase) -> None:
    """What is written now arrives."""
    source.execute("insert into orders values (3, 'ink')")
    source.execute("delete from orders where id = 1")
    wait_equal(source, destination, {"orders": ["id", "item"]})


def test_there_is_a_test_for_every_folder() -> None:
    there = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    assert there == LOCAL | WITH_THE_CHART | {"kubernetes", "gitops"}


def test_kubernetes(operator: Cluster, reader: Callable[[str], Reader], pg_db: Callable[..., TestDatabase]) -> None:
    shop, warehouse = pg_db("shop"), pg_db("warehouse")
    orders(shop)
    person = reader("kubernetes")
    text = (person.folder / "manifests.yaml").read_text(encoding="utf-8")
    for name, account in (("shop", shop.url("source")), ("warehouse", warehouse.url("destination"))):
        given = f"{{username: {account['username']}, password: {account['password']}}}"
        text = text.replace(f"name: {name}}}\nstringData: {{username: pantograph, password: change-me}}",
                            f"name: {name}}}\nstringData: {given}")  # fmt: skip
    assert "change-me" not in text
    (person.folder / "manifests.yaml").write_text(text, encoding="utf-8")
    with operator.namespace() as namespace:
        operator.apply([
            *found_as("shop-db", namespace, 5432, shop), *found_as("warehouse-db", namespace, 5432, warehouse),
        ])  # fmt: skip
        person.does("kubectl apply -f manifests.yaml", namespace)
        person.does("kubectl wait", namespace)
        assert person.does("kubectl get pantograph", namespace).count("True") >= 4
        follows(shop, warehouse)
        person.types("kubectl delete -f manifests.yaml --timeout=120s", namespace)
        assert ours(shop) == ours(warehouse) == 0


@pytest.fixture
def secure(operator: Cluster) -> Iterator[tuple[MariaDB, str]]:
    """A MariaDB server that shows who it is, and the authority that says so."""
    authority = Authority(processes.folder("authority", processes.user_for(MariaDB.account)) / "pki")
    authority.server("warehouse", "warehouse.databases.svc")
    for path in (authority.folder, *authority.folder.iterdir()):
        path.chmod(0o755)
    shown = {"ssl-cert": str(authority.folder / "warehouse.crt"), "ssl-key": str(authority.folder / "warehouse.key")}
    kind = type("SecureMariaDB", (MariaDB,), {"host": operator.host})
    with kind.start(options=shown) as server:
        yield server, (authority.folder / "ca.crt").read_text(encoding="ascii")


def test_gitops(
    operator: Cluster, reader: Callable[[str], Reader], pg_db: Callable[..., TestDatabase],
    secure: tuple[MariaDB, str],
) -> None:  # fmt: skip
    server, trusted = secure
    shop, warehouse = pg_db("app"), server.make_database("warehouse")
    orders(shop)
    app, writer = shop.url("source"), warehouse.url("destination")
    operator.apply([
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("mirrors", "databases")
    ])  # fmt: skip
    secrets = [
        left("shop-app", "mirrors", username=app["username"], password=app["password"], host="shop-rw", port="5432",
             dbname="app"),
        left("warehouse", "mirrors", username=writer["username"], password=writer["password"]),
        left("warehouse-ca", "mirrors", **{"ca.crt": trusted}),
    ]  # fmt: skip
    services = [
        *found_as("shop-rw", "mirrors", 5432, shop), *found_as("warehouse", "databases", 3306, warehouse),
    ]  # fmt: skip
    operator.apply([*secrets, *services])
    person = reader("gitops")
    try:
        person.does("kubectl apply -k overlays/production")
        person.does("kubectl wait")
        follows(shop, warehouse)
        listed = operator.kubectl("get", "pantograph", "--namespace", "mirrors", "--output", "json")
        assert beside.kstatus(json.loads(listed)["items"]) == ["Current"] * 4
        again = person.does("kubectl apply -k overlays/production").splitlines()
        assert {line.rpartition(" ")[2] for line in again} == {"unchanged"}
        person.types("kubectl delete -k overlays/production --timeout=120s")
        assert ours(shop) == ours(warehouse) == 0
    finally:
        for name in ("mirrors", "databases"):
            operator.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        operator.wait_gone("namespace", "mirrors", patience=150)
