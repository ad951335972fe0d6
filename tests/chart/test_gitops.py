"""examples/gitops and docs/howto/gitops.md: what Argo CD and Flux see in our objects; Secrets of other operators."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime

import lupa.lua51
import pytest
import yaml

from pantograph.api import acting, conditions, manifests
from pantograph.cli.outcomes import Status
from tests.chart.conftest import ROOT, built
from tests.cluster import beside
from tests.support.kstatus import kstatus

FOLDER = ROOT / "examples" / "gitops"
PAGE = (ROOT / "docs" / "howto" / "gitops.md").read_text(encoding="utf-8")
LUA = (FOLDER / "argocd" / "health.lua").read_text(encoding="utf-8")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def secret(name, namespace, **values):
    metadata = {"name": name, "namespace": namespace}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


# The example.


def with_secrets(text, namespace):
    """The example with its Secrets, as CloudNativePG and External Secrets leave them."""
    left = [
        secret("shop-app", namespace, username="app", password="x", host="shop-rw", port="5432", dbname="app"),
        secret("warehouse", namespace, username="app", password="x"),
        secret("warehouse-ca", namespace, **{"ca.crt": "x"}),
    ]
    return manifests.from_text("---\n".join([text, *left]))


def test_the_base_is_valid_and_acts():
    names = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())["resources"]
    assert sorted(names) == sorted(path.name for path in (FOLDER / "base").iterdir() if path.stem != "kustomization")
    text = "---\n".join((FOLDER / "base" / name).read_text() for name in names)
    found = with_secrets(text, "default")
    assert acting.unsupported(found) == []
    assert [*found.reflections] == [("default", "orders-to-warehouse")]


@pytest.mark.full
def test_the_overlay_is_valid_and_acts():
    done = subprocess.run(
        [built("kubectl"), "kustomize", FOLDER / "overlays" / "production"], capture_output=True, text=True, check=True
    )
    found = with_secrets(done.stdout, "mirrors")
    assert acting.unsupported(found) == []
    assert {namespace for namespace, _ in found.databases} == {"mirrors"}
    assert found.databases["mirrors", "warehouse"].spec.host == "warehouse.databases.svc"
    assert found.databases["mirrors", "warehouse"].spec.tls.mode == "verify-full"
    assert found.reflections["mirrors", "orders-to-warehouse"].spec.verify.repair is True


def test_waves_go_from_secrets_to_reflections():
    waves = {"ExternalSecret": set(), "Database": set(), "SourceTable": set(), "Reflection": set()}
    shown = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for text in (*shown, *(path.read_text() for path in (FOLDER / "base").glob("*.yaml"))):
        for one in documents(text):
            if one["kind"] in waves:
                waves[one["kind"]].add(int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]))
    assert list(waves.values()) == [{0}, {1}, {2}, {3}]


# Health, for Argo CD.


def health(body):
    """What Argo CD's interpreter, Lua 5.1 without libraries that reach out, says of an object."""
    lua = lupa.lua51.LuaRuntime(register_eval=False, unpack_returned_tuples=True)

    def table(value):
        if isinstance(value, dict):
            return lua.table_from({key: table(one) for key, one in value.items()})
        return lua.table_from([table(one) for one in value]) if isinstance(value, list) else value

    lua.globals().obj = table(body)
    found = lua.execute(LUA)
    return found["status"], found["message"]


def thing(said=(), *, generation=3, observed=3, **spec):
    status = {
        "observedGeneration": observed,
        "conditions": [one.model_dump(mode="json", by_alias=True) for one in said],
    }
    return {"metadata": {"name": "orders", "generation": generation}, "spec": spec, "status": status}


READY = conditions.ready((), "Replicating", generation=3, now=NOW)
COPYING = conditions.reconciling((), "Snapshotting", "40 % of orders", generation=3, now=NOW)
STUCK = conditions.stalled((), "SweepHeld", "would delete 7000 rows", generation=3, now=NOW)


@pytest.mark.parametrize(
    ("body", "word", "message"),
    [
        ({"metadata": {"generation": 1}, "spec": {}}, "Progressing", "Waiting for Pantograph's operator"),
        (thing(observed=-1), "Progressing", "Waiting for Pantograph's operator"),
        (thing(READY, generation=4), "Progressing", "Waiting for Pantograph's operator"),
        (thing(READY), "Healthy", "Replicating"),
        (thing(COPYING), "Progressing", "Snapshotting: 40 % of orders"),
        (thing(STUCK), "Degraded", "SweepHeld: would delete 7000 rows"),
        (thing(STUCK, paused=True), "Degraded", "SweepHeld: would delete 7000 rows"),
        (thing(READY, paused=True), "Suspended", "Paused by its spec; changes are noted, and wait"),
        (thing(COPYING, paused=False), "Progressing", "Snapshotting: 40 % of orders"),
        (thing(READY, reflector={"paused": True}), "Suspended", "Paused by its spec; changes are noted, and wait"),
        (thing(READY, reflector={"connections": 6}), "Healthy", "Replicating"),
    ],
)  # fmt: skip
def test_argo_cd_says_what_the_conditions_say(body, word, message):
    assert health(body) == (word, message)


def test_the_config_map_of_argo_cd_has_the_script_for_every_kind():
    data = yaml.safe_load((FOLDER / "argocd" / "argocd-cm.yaml").read_text())["data"]
    assert data == {f"resource.customizations.health.pantograph.dev_{kind}": LUA for kind in manifests.KINDS}


# Health, for Flux, kubectl and whoever reads as kstatus does.


READ = [
    (thing(observed=-1), "InProgress"),  # as the CRDs' default has it before the operator has looked
    (thing(READY, generation=4), "InProgress"),
    (thing(READY), "Current"),
    (thing(COPYING), "InProgress"),
    (thing(STUCK), "Failed"),
    (thing(conditions.ready(STUCK, "Replicating", generation=3, now=NOW)), "Current"),
    (thing(conditions.reconciling(STUCK, "Snapshotting", generation=3, now=NOW)), "InProgress"),
]


@pytest.mark.parametrize(("body", "word"), READ)
def test_flux_and_kubectl_read_what_the_conditions_say(body, word):
    said = {one["type"]: one["status"] for one in body["status"]["conditions"]}
    assert kstatus(body["metadata"]["generation"], body["status"]["observedGeneration"], said) == word


@pytest.mark.night
@pytest.mark.parametrize("kind", manifests.KINDS)
def test_flux_s_own_code_reads_the_same(kind):
    named = {"apiVersion": "pantograph.dev/v1alpha1", "kind": kind}
    assert beside.kstatus([named | body for body, _ in READ]) == [word for _, word in READ]


def test_a_fresh_object_is_not_taken_for_done():
    from pantograph.api import schema

    for name in schema.crds():
        crd = yaml.safe_load(schema.render(name))
        status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
        assert status["default"]["observedGeneration"] == -1


# Secrets, as operators leave them. The keys are those of their own code and manuals.

LEFT = {
    "CloudNativePG": {
        "username": "app", "user": "app", "password": "x", "dbname": "app", "host": "shop-rw", "port": "5432",
        "pgpass": "…", "uri": "…", "jdbc-uri": "…", "fqdn-uri": "…", "fqdn-jdbc-uri": "…",
    },
    "Percona Operator for PostgreSQL, Crunchy PGO": {
        "user": "app", "password": "x", "dbname": "app", "host": "shop-primary.db.svc", "port": "5432",
        "uri": "…", "jdbc-uri": "…", "verifier": "…", "pgbouncer-host": "shop-pgbouncer.db.svc",
    },
    "Zalando postgres-operator": {"username": "app", "password": "x"},
    "MariaDB operator": {
        "dsn": "…", "username": "app", "password": "x", "host": "shop-primary", "port": "3306", "database": "app",
    },
    "Percona Operator for MySQL (Percona Server)": {
        "user": "root", "password": "x", "host": "shop-mysql-primary.db.svc", "port": "3306", "uri": "…",
    },
    "Percona XtraDB Cluster": {"username": "app", "password": "x"},
}  # fmt: skip


def told():
    """Of each maker of Secrets: the credentials to write, and what the Database must say beside them."""
    rows = re.findall(r"^\| ([A-Z].*?) \| .*? \| `(\{.*?\})`.*? \| (.*?) \|$", PAGE, re.MULTILINE)
    return {maker: (yaml.safe_load(text), re.findall(r"`(host|database)[:`]", beside)) for maker, text, beside in rows}


def test_the_page_tells_of_all_of_them():
    assert told().keys() == LEFT.keys()


@pytest.mark.parametrize("maker", sorted(LEFT))
def test_a_database_takes_the_secret_that_an_operator_leaves(maker):
    written, beside = told()[maker]
    spec = {"dialect": "mariadb", "credentials": written} | dict.fromkeys(beside, "shop")
    body = {"apiVersion": "pantograph.dev/v1alpha1", "kind": "Database", "metadata": {"name": "shop"}, "spec": spec}
    text = "---\n".join([yaml.safe_dump(body), secret(written["secretName"], "default", **LEFT[maker])])
    found = manifests.from_text(text)
    login = found.credentials_of(found.databases["default", "shop"])
    left = LEFT[maker]
    assert (login.username, login.password) == (left.get("user", left.get("username")), "x")
    assert login.host == ("shop" if "host" in beside else left["host"])
    assert login.database == ("shop" if "database" in beside else left.get("dbname", left.get("database")))
    assert login.host
    assert login.database


# The pipeline.


def test_the_page_has_every_exit_status_of_a_plan():
    table = PAGE.partition("| exit status | a pipeline does |")[2].partition("\n\n")[0]
    statuses = {int(number) for number in re.findall(r"^\| (\d) \|", table, re.MULTILINE)}
    assert statuses == {int(one) for one in Status} - {Status.INTERRUPTED}
