"""The operator in a cluster: what a user of kubectl sees, from `apply` to a row copied, and to nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, KubectlFailed
from tests.cluster.mirrors import GROUP, Mirror
from tests.servers import TestDatabase
from tests.support.comparison import wait_until

pytestmark = pytest.mark.full


@pytest.fixture
def namespace(operator: Cluster) -> Iterator[str]:
    with operator.namespace() as name:
        yield name


@pytest.fixture
def mirror(mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase]) -> Mirror:
    return mirrors(pg_db(), pg_db())


def test_manifests_in_any_order_become_a_live_copy_and_go_without_a_trace(mirror: Mirror) -> None:
    for one in mirror.objects():
        mirror.cluster.apply([one], mirror.namespace)
    mirror.ready()
    mirror.follows()
    wait_until(mirror.equal, "both tables to be equal")
    for kind, name in (("database", "shop"), ("database", "warehouse"), ("sourcetable", "orders")):
        mirror.cluster.wait("Ready", f"{kind}/{name}", mirror.namespace)
    told = [one["reason"] for one in mirror.cluster.objects("events", mirror.namespace)]
    assert {"CaptureInstalled", "Replicating"} <= set(told)

    words = ("delete", "--wait=false", "-n", mirror.namespace)
    mirror.cluster.kubectl(*words, "secret", "--all")
    mirror.cluster.kubectl(*words, "database", "shop")
    for kind in ("sourcetable", "reflection"):
        mirror.cluster.kubectl(*words, kind, "orders")
    mirror.cluster.kubectl(*words, "database", "warehouse")
    for kind, name in (
        ("reflection", "orders"), ("sourcetable", "orders"), ("database", "shop"), ("database", "warehouse"),
        ("deployment", "shop-reflector"),
    ):  # fmt: skip
        mirror.cluster.wait_gone(kind, name, mirror.namespace, 90)
    mirror.nothing_left()
    assert mirror.written("select count(*) > 500 from orders") == [(True,)]


def test_a_mariadb_is_mirrored_into_a_postgresql_and_left_as_it_was(
    mirrors: Callable[..., Mirror], my_db: Callable[..., TestDatabase], pg_db: Callable[..., TestDatabase]
) -> None:
    mirror = mirrors(my_db(), pg_db())
    mirror.apply()
    mirror.follows()
    mirror.source.execute("update orders set item = 'changed' where id % 2 = 0")
    mirror.source.execute("delete from orders where id % 3 = 0")
    wait_until(mirror.equal, "both tables to be equal")
    mirror.cluster.wait("Ready", "sourcetable/orders", mirror.namespace)
    assert "TRUNCATE" in str(mirror.cluster.get("sourcetable", "orders", mirror.namespace)["status"]["capture"])
    for kind in ("reflection", "sourcetable"):
        mirror.delete(kind, "orders")
    mirror.cluster.wait_gone("sourcetable", "orders", mirror.namespace, 60)
    mirror.nothing_left()


def test_a_namespace_goes_at_once_and_leaves_nothing(mirror: Mirror) -> None:
    mirror.apply()
    mirror.cluster.kubectl("delete", "namespace", mirror.namespace, "--wait=false")
    mirror.cluster.wait_gone("namespace", mirror.namespace, patience=120)
    mirror.nothing_left()


def test_a_rotated_secret_is_used_without_a_restart(mirror: Mirror) -> None:
    mirror.apply()
    at = mirror.source.url("source")
    superuser = mirror.source.superuser()
    with superuser.cursor() as cursor:
        cursor.execute(f"alter role {at['username']} password 'rotated'")
        mirror.patch("secret", "shop-credentials", stringData={"password": "rotated"})
        cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (at["username"],))
        superuser.commit()
    mirror.follows()
    mirror.ready()
    (pod,) = mirror.cluster.objects("pods", mirror.namespace, "pantograph.dev/database=shop")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_what_a_spec_says_anew_is_done_without_a_restart(mirror: Mirror) -> None:
    mirror.apply()
    mirror.patch("reflection", "orders", spec={"paused": True})
    wait_until(lambda: mirror.reason("reflection", "orders") == "Paused", "the Reflection to be paused")
    mirror.patch("reflection", "orders", spec={"paused": False, "where": "id > 100"})
    wait_until(lambda: mirror.written("select min(id) from orders") == [(101,)], "other rows to have gone", 60)
    mirror.ready()
    mirror.follows()


@pytest.mark.night  # a reflector looks for its triggers once a minute
def test_capture_that_somebody_drops_is_installed_again_and_what_was_missed_is_copied(mirror: Mirror) -> None:
    mirror.apply()
    triggers = mirror.source.execute(
        "select tgname from pg_trigger where tgrelid = 'orders'::regclass and not tgisinternal"
    )
    assert triggers
    for (name,) in triggers:
        mirror.source.execute(f'drop trigger "{name}" on orders')
    mirror.source.execute("update orders set item = 'unseen' where id = 7")
    wait_until(
        lambda: mirror.written("select item from orders where id = 7") == [("unseen",)],
        "what was missed to be there",
        150,
    )
    mirror.follows()
    mirror.ready()


def test_what_is_missing_is_said_and_waited_for(mirror: Mirror) -> None:
    reflection, table, *databases = mirror.objects()
    mirror.cluster.apply([reflection], mirror.namespace)
    wait_until(lambda: mirror.reason("reflection", "orders") == "SourceTableNotFound", "the missing SourceTable")
    mirror.cluster.apply([table], mirror.namespace)
    wait_until(lambda: mirror.reason("sourcetable", "orders") == "DatabaseNotFound", "the missing Database")
    mirror.cluster.apply([one for one in databases if one["kind"] == "Database"], mirror.namespace)
    wait_until(lambda: mirror.reason("database", "shop") == "SecretNotFound", "the missing Secret")
    assert "shop-credentials" in mirror.condition("database", "shop")["message"]
    assert mirror.condition("database", "shop", "Reconciling")["status"] == "True"
    mirror.cluster.apply(databases, mirror.namespace)
    mirror.ready()


def test_what_only_the_database_knows_is_a_condition_that_waits_for_a_person(mirror: Mirror) -> None:
    mirror.written("create table orders (id int primary key, item text)")
    mirror.written("insert into orders values (9999, 'not ours')")
    mirror.cluster.apply(mirror.objects(), mirror.namespace)
    wait_until(lambda: mirror.reason("reflection", "orders") == "DestinationNotEmpty", "the table to be refused", 60)
    assert mirror.condition("reflection", "orders", "Stalled")["status"] == "True"
    assert "spec.destination.existing" in mirror.condition("reflection", "orders")["message"]


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("Database", "path", {"dialect": "postgresql", "path": "/x"}, "spec.path"),
    ("Database", "credentials", {"dialect": "postgresql", "host": "h"}, "spec.credentials"),
    (
        "Database", "a password in options",
        {"dialect": "postgresql", "credentials": {"secretName": "s"}, "options": {"password": "x"}}, "spec.options",
    ),
    ("SourceTable", "a column twice", {"databaseRef": {"name": "d"}, "table": "t", "keyColumns": ["a", "a"]},
     "spec.keyColumns"),
    ("Reflection", "exclude with columns", {"columns": [{"source": "a"}], "exclude": ["b"]}, "spec.exclude"),
    ("Reflection", "two contents", {"columns": [{"source": "a"}, {"source": "b", "value": 1}]}, "spec.columns[1]"),
    ("Reflection", "Mark", {"onDelete": "Mark"}, "spec.softDelete"),
    ("Reflection", "a word that is none", {"onError": "Hope"}, "spec.onError"),
    ("Reflection", "a field that is none", {"destinaton": {}}, "destinaton"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "what", "spec", "path"), WRONG, ids=[f"{one[0]}-{one[1]}" for one in WRONG])
def test_the_api_server_refuses_it_with_its_path(
    operator: Cluster, kind: str, what: str, spec: dict[str, Any], path: str
) -> None:
    if kind == "Reflection":
        spec = {
            "sourceTableRef": {"name": "orders"},
            "destination": {"databaseRef": {"name": "d"}, "table": "t"},
            **spec,
        }
    made = {"apiVersion": GROUP, "kind": kind, "metadata": {"name": "wrong"}, "spec": spec}
    with pytest.raises(KubectlFailed) as refused:
        operator.apply([made], "default", "--dry-run=server")
    assert path in str(refused.value)


def test_what_cannot_be_changed_is_refused_by_the_api_server(operator: Cluster, namespace: str) -> None:
    reflection = {
        "apiVersion": GROUP,
        "kind": "Reflection",
        "metadata": {"name": "orders"},
        "spec": {
            "sourceTableRef": {"name": "orders"},
            "destination": {"databaseRef": {"name": "d"}, "table": "t", "createTable": True},
        },
    }
    operator.apply([reflection], namespace)
    for path, change in (
        ("spec.sourceTableRef", {"sourceTableRef": {"name": "others"}}),
        ("spec.destination.table", {"destination": {"table": "u"}}),
        ("spec.destination.schema", {"destination": {"schema": "s"}}),
    ):
        with pytest.raises(KubectlFailed) as refused:
            operator.kubectl(
                "patch", "reflection", "orders", "-n", namespace, "--type=merge", "-p", json.dumps({"spec": change})
            )
        assert path in str(refused.value)
    operator.kubectl(
        "patch", "reflection", "orders", "-n", namespace, "--type=merge", "-p",
        json.dumps({"spec": {"destination": {"createTable": False}}}),
    )  # fmt: skip
