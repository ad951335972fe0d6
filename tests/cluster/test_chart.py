"""The chart as it is released: installed in restricted namespaces, used, upgraded, rolled back, taken away."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.chart.conftest import built, script
from tests.cluster.cluster import KubectlFailed
from tests.support.comparison import wait_until

API = "pantograph.dev/v1alpha1"
KINDS = "reflections,sourcetables,databases"


class Release:
    """One release of the packaged chart in a namespace of its own."""

    def __init__(self, cluster, package, namespace, home, **values):
        self.cluster, self.package, self.namespace, self.home = cluster, package, namespace, home
        repository, _, tag = cluster.image.rpartition(":")
        image = {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}
        self.values = {"image": image, "installation": f"chart-{namespace}", **values}

    def helm(self, *words):
        places = {f"HELM_{name}_HOME": str(self.home / name) for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [built("helm"), *map(str, words), "--namespace", self.namespace],
            env={**os.environ, **places, "KUBECONFIG": str(self.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"helm {' '.join(map(str, words))}: {done.stdout}{done.stderr}\n{self.seen()}"
        return done.stdout

    def seen(self):
        with contextlib.suppress(KubectlFailed):
            words = ("--namespace", self.namespace, "--selector", "app.kubernetes.io/name=pantograph")
            logs = self.cluster.kubectl("logs", *words, "--tail=30", "--prefix")
            return self.cluster.kubectl("get", "pods,events", "--namespace", self.namespace) + logs
        return ""

    def bring(self, verb, **values):
        path = self.home / "values.json"
        path.write_text(json.dumps(self.values | values))
        waits = ("--wait", "--timeout", "120s")
        # The CRDs may be those of another installation of the same run.
        return self.helm(verb, "mirror", self.package, "--values", path, "--take-ownership", *waits)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return script().package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module", autouse=True)
def alone(cluster) -> Iterator[None]:
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
def release(cluster, package, tmp_path):
    """Make a release; its namespace goes at the end."""
    with contextlib.ExitStack() as kept:

        def make(**values):
            namespace = kept.enter_context(cluster.namespace())
            made = Release(cluster, package, namespace, tmp_path, **values)
            # The cluster's own, which go with no namespace.
            kept.callback(made.helm, "uninstall", "mirror", "--ignore-not-found")
            return made

        yield make


class Mirror:
    """Orders of one database, live in another one."""

    def __init__(self, cluster, server, namespace, number):
        self.cluster, self.namespace = cluster, namespace
        self.shop = server.make_database(f"chart_shop_{number}")
        self.copy = server.make_database(f"chart_copy_{number}")
        self.shop.execute("create table orders (id int primary key, note text)")

    def objects(self):
        table = {"databaseRef": {"name": "shop"}, "schema": "public", "table": "orders"}
        where = {"databaseRef": {"name": "copy"}, "schema": "public", "table": "orders"}
        return [
            *self.shop.manifests("source", name="shop"),
            *self.copy.manifests("destination", name="copy"),
            {"apiVersion": API, "kind": "SourceTable", "metadata": {"name": "orders"}, "spec": table},
            {
                "apiVersion": API,
                "kind": "Reflection",
                "metadata": {"name": "orders"},
                "spec": {"sourceTableRef": {"name": "orders"}, "destination": where},
            },
        ]

    def apply(self):
        return self.cluster.apply(self.objects(), self.namespace)

    def follows(self, number):
        """A row that is written now arrives."""
        self.shop.execute(f"insert into orders values ({number}, 'made now')")
        wanted = [(number,)]
        wait_until(
            lambda: self.copy.execute(f"select id from orders where id = {number}", role="superuser") == wanted,
            f"row {number} in {self.namespace}",
            90,
        )

    def traces(self):
        """Tables and triggers of ours that are left in either database."""
        tables = "select schemaname || '.' || tablename from pg_tables where schemaname = 'pantograph'"
        triggers = "select tgname from pg_trigger where not tgisinternal"
        return [
            name
            for database in (self.shop, self.copy)
            for query in (tables, triggers)
            for (name,) in database.execute(query, role="superuser")
        ]

    def remove(self):
        self.cluster.kubectl("delete", KINDS, "--all", "--namespace", self.namespace, "--timeout=90s", timeout=120)

    def drop(self):
        self.shop.drop()
        self.copy.drop()


@pytest.fixture
def mirror(cluster, postgresql):
    """Make a mirror in a namespace of its own, restricted as well."""
    with contextlib.ExitStack() as kept:

        def make():
            namespace = kept.enter_context(cluster.namespace())
            made = Mirror(cluster, postgresql, namespace, namespace.rpartition("-")[2])
            kept.callback(made.drop)
            return made

        yield make


def left(cluster, namespace):
    """What is in a namespace beside what Kubernetes puts there."""
    kinds = "pods,deployments,replicasets,services,configmaps,serviceaccounts,roles,rolebindings,secrets,leases"
    found = cluster.kubectl("get", kinds, "--namespace", namespace, "--output", "name").split()
    return sorted(set(found) - {"configmap/kube-root-ca.crt", "serviceaccount/default"})


@pytest.mark.full
def test_the_chart_is_installed_used_upgraded_rolled_back_and_taken_away_without_a_trace(cluster, release, mirror):
    ours, orders = release(), mirror()
    assert f"helm -n {ours.namespace} test mirror" in ours.bring("install")
    assert "Phase:          Succeeded" in ours.helm("test", "mirror", "--timeout", "90s")

    orders.apply()
    cluster.wait("Ready", "reflection/orders", orders.namespace, 120)
    orders.follows(1)
    # A repeated apply, as of a tool that syncs from Git, has nothing to change but `stringData`, which no Secret keeps.
    again = [line for line in orders.apply().splitlines() if not line.startswith("secret/")]
    assert {line.rpartition(" ")[2] for line in again} == {"unchanged"}

    labels = {"example.com/team": "data"}
    ours.bring("upgrade", reflector={"defaults": {"podLabels": labels}}, operator={"podLabels": labels})
    orders.follows(2)
    (pod,) = wait_until(
        lambda: (found := cluster.objects("pods", orders.namespace, "example.com/team=data")) and found,
        "a reflector with the label that the chart gives it",
        90,
    )
    assert pod["metadata"]["labels"]["pantograph.dev/database"] == "shop"
    ours.helm("rollback", "mirror", "1", "--wait", "--timeout", "120s")
    orders.follows(3)
    cluster.wait("Ready", "reflection/orders", orders.namespace, 120)

    orders.remove()
    assert orders.traces() == []
    ours.helm("uninstall", "mirror", "--wait")
    kept = [
        "configmap/mirror-pantograph-installation",
        f"lease.coordination.k8s.io/pantograph-{ours.values['installation']}",
    ]
    wait_until(lambda: left(cluster, ours.namespace) == kept, "the rest to go")
    wait_until(
        lambda: left(cluster, orders.namespace) == ["secret/copy-credentials", "secret/shop-credentials"],
        "the reflector to go",
    )
    assert "databases.pantograph.dev" in cluster.kubectl("get", "crds", "--output", "name")
    # Whose captures these were is kept, and may not be changed without saying so.
    with pytest.raises(AssertionError, match="every source would refuse"):
        ours.bring("install", installation="another")


@pytest.mark.night
def test_with_namespaces_named_the_operator_has_no_right_in_others(cluster, release, mirror):
    orders, other = mirror(), mirror()
    ours = release(watch={"namespaces": [orders.namespace]}, operator={"replicas": 2})
    ours.bring("install")
    ours.helm("test", "mirror", "--timeout", "90s")
    orders.apply()
    other.apply()
    cluster.wait("Ready", "reflection/orders", orders.namespace, 120)
    orders.follows(1)
    assert cluster.get("reflection", "orders", other.namespace)["status"]["observedGeneration"] == -1
    account = f"--as=system:serviceaccount:{ours.namespace}:mirror-pantograph"
    for namespace, answer in ((orders.namespace, "yes"), (other.namespace, "no"), ("kube-system", "no")):
        words = ("auth", "can-i", "list", "secrets", "--namespace", namespace, account)
        try:
            assert cluster.kubectl(*words).strip() == answer
        except KubectlFailed:
            assert answer == "no"
    orders.remove()
    other.remove()
    assert orders.traces() == other.traces() == []


@pytest.mark.night
def test_whoever_may_view_or_edit_a_namespace_may_do_so_with_mirrors(cluster, release):
    ours = release()
    ours.bring("install")
    for role, may in (("view", False), ("edit", True)):
        account = f"system:serviceaccount:{ours.namespace}:{role}"
        cluster.kubectl("create", "serviceaccount", role, "--namespace", ours.namespace)
        words = (f"--clusterrole={role}", f"--serviceaccount={ours.namespace}:{role}", "--namespace", ours.namespace)
        cluster.kubectl("create", "rolebinding", role, *words)

        def can(verb, account=account):
            words = ("auth", "can-i", verb, "reflections.pantograph.dev", "--namespace", ours.namespace)
            with contextlib.suppress(KubectlFailed):
                return cluster.kubectl(*words, f"--as={account}").strip() == "yes"
            return False

        # Aggregation is done by a controller, a moment later.
        wait_until(lambda can=can: can("list"), f"{role} to list")
        wait_until(lambda can=can, may=may: can("create") is may, f"{role} to create: {may}")
