"""The chart as it is released: installed in restricted namespaces, used, upgraded, rolled back, taken away."""

from __future__ import annotations

import contextlib
import json
import tarfile

import pytest
import yaml

from tests.cluster import mirrors, releases
from tests.cluster.cluster import KubectlFailed
from tests.cluster.images import ROOT
from tests.support.comparison import wait_until

API = "pantograph.dev/v1alpha1"
KINDS = "reflections,sourcetables,databases"


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


@pytest.fixture
def before(cluster, request, tmp_path):
    """The release that a test's name says, in the cluster; afterwards the CRDs are this checkout's again."""
    if cluster.node is None:
        pytest.skip("the cluster is not ours, and has no image of another version")
    made = releases.build(request.param, tmp_path / "before")
    cluster.node.add_image(made.archive)
    yield made
    crds(cluster)


def crds(cluster, **more):
    """This checkout's CRDs, each with more fields in `spec`."""
    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    for one in found:
        spec = one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"].update(more)
    # By whoever owns them now, as Helm does.
    cluster.kubectl("replace", "--filename", "-", input=yaml.safe_dump_all(found))


def fields(crd):
    """Every field that a CRD describes, with its description."""

    def below(schema, path):
        for name, one in schema.get("properties", {}).items():
            yield f"{path}.{name}", one.get("description", "")
            yield from below(one, f"{path}.{name}")
        yield from below(schema.get("items", {}), f"{path}[]") if "items" in schema else ()

    return dict(below(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], crd["spec"]["names"]["kind"]))


def known(cluster):
    """What the CRDs of the cluster describe."""
    listed = json.loads(cluster.kubectl("get", "crds", "--output", "json"))["items"]
    return [fields(one) for one in listed if one["spec"]["group"] == "pantograph.dev"]


def packed(package):
    """The same of those in a packaged chart."""
    with tarfile.open(package) as archive:
        files = [archive.extractfile(one).read() for one in archive if "/files/crds/" in one.name]
    return sorted((fields(yaml.safe_load(text)) for text in files), key=lambda each: sorted(each)[0])


@pytest.mark.night
@pytest.mark.parametrize("before", [releases.before()], indirect=True)
def test_the_release_before_becomes_this_one_and_comes_back_under_load(cluster, release, before, package, pg_db):
    ours = release()
    ours.take(before.chart, before.image)
    ours.bring("install")
    with cluster.namespace() as namespace:
        mirror = mirrors.Mirror(cluster, namespace, pg_db(), pg_db())
        mirror.apply()
        copied = mirror.condition("reflection", "orders", "SnapshotComplete")

        def works(image):
            wait_until(lambda: mirror.runs(image), "a reflector of the other version", 90)
            mirror.ready()
            mirror.follows()

        with mirrors.Load(mirror.source) as load, mirrors.Watch(mirror, load) as watch:
            works(before.image)
            ours.take(package, cluster.image)
            ours.bring("upgrade")
            assert known(cluster) == packed(package)
            works(cluster.image)
            ours.helm("test", "mirror", "--timeout", "90s")

            ours.helm("rollback", "mirror", "1", "--wait", "--timeout", "120s")
            works(before.image)
            assert known(cluster) == packed(before.chart)
            # Nothing was copied again.
            assert mirror.condition("reflection", "orders", "SnapshotComplete") == copied

            # Its CRDs came back with it. Where the newer ones stay, it reads objects with fields that it does not know.
            crds(cluster, someday={"type": "string", "default": "by default"})
            mirror.patch("reflection", "orders", spec={"someday": "said", "where": "id <> 3"})
            wait_until(lambda: mirror.written("select id from orders where id = 3") == [], "row 3 to be left out", 60)
            mirror.ready()
            assert cluster.get("database", "shop", namespace)["spec"]["someday"] == "by default"
            mirror.patch("reflection", "orders", spec={"someday": None, "where": None})
            wait_until(lambda: mirror.written("select id from orders where id = 3") != [], "row 3 to be there", 60)
            works(before.image)

            ours.bring("upgrade")
            works(cluster.image)
        wait_until(mirror.equal, "both tables to be equal")
        print(f"\nfrom {before.what}: {watch.told()}; {load.transactions} transactions, {load.cut_off} times cut off")
        assert watch.lies == []
        assert load.cut_off == 0
        mirrors.clear(mirror)
        mirror.nothing_left()
