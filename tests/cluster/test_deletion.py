"""What is left when objects go whose database is away, is somebody else's, or is to keep its capture."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.cluster.cluster import Cluster, KubectlFailed
from tests.cluster.conftest import for_pods
from tests.cluster.images import ROOT
from tests.cluster.mirrors import Mirror, ours
from tests.servers import PostgreSQL, Server, TestDatabase
from tests.support.comparison import wait_until

ABANDON, ADOPT = "pantograph.dev/abandon", "pantograph.dev/adopt"


@pytest.fixture
def shop(operator: Cluster) -> Iterator[Server]:
    """A server that may be away."""
    with for_pods(PostgreSQL, operator) as server:
        yield server


@pytest.fixture
def mirror(shop: Server, mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase]) -> Mirror:
    return mirrors(shop.make_database("shop"), pg_db())


def leaves(mirror: Mirror, *objects: str) -> None:
    """Ask for objects to go, without waiting."""
    for each in objects:
        mirror.delete(*each.split("/"))


@pytest.mark.full
def test_a_database_that_is_down_is_waited_for_and_then_nothing_is_left(mirror: Mirror, shop: Server) -> None:
    mirror.apply()
    shop.kill()
    try:
        leaves(mirror, "reflection/orders", "sourcetable/orders", "database/shop", "database/warehouse")
        wait_until(lambda: ABANDON in mirror.condition("reflection", "orders")["message"], "it to say how to go on")
        assert mirror.reason("reflection", "orders") == "Deleting"
        assert mirror.condition("reflection", "orders", "Reconciling")["status"] == "True"
        for kind, name, waits_for in (
            ("sourcetable", "orders", "its Reflections"),
            ("database", "shop", "SourceTable"),
        ):
            assert f"waiting for {waits_for}" in mirror.condition(kind, name)["message"]
    finally:
        shop.restart()
    for kind, name in (("sourcetable", "orders"), ("database", "shop"), ("database", "warehouse")):
        mirror.cluster.wait_gone(kind, name, mirror.namespace, 150)
    mirror.nothing_left()


@pytest.mark.night
def test_what_is_abandoned_goes_at_once_and_says_what_it_leaves(mirror: Mirror, shop: Server) -> None:
    mirror.apply()
    shop.kill()
    leaves(mirror, "reflection/orders", "sourcetable/orders", "database/shop")
    for kind, name in (("reflection", "orders"), ("sourcetable", "orders"), ("database", "shop")):
        with contextlib.suppress(KubectlFailed):  # it may have gone with the one before, for which it waited
            mirror.cluster.kubectl("annotate", kind, name, f"{ABANDON}=true", "-n", mirror.namespace)
    for kind, name in (("reflection", "orders"), ("sourcetable", "orders"), ("database", "shop")):
        mirror.cluster.wait_gone(kind, name, mirror.namespace, 60)
    (told,) = [one for one in mirror.events("SourceTable") if one["reason"] == "Abandoned"]
    assert "drop the triggers of public.orders" in told["message"]
    shop.restart()
    assert ours(mirror.source) > 0


@pytest.mark.night
def test_an_orphan_keeps_its_capture_and_goes_on_with_it(mirror: Mirror) -> None:
    mirror.apply()
    mirror.patch("sourcetable", "orders", spec={"deletionPolicy": "Orphan"})
    leaves(mirror, "reflection/orders", "sourcetable/orders", "database/shop", "database/warehouse")
    for kind, name in (("sourcetable", "orders"), ("database", "shop"), ("database", "warehouse")):
        mirror.cluster.wait_gone(kind, name, mirror.namespace, 60)
    kept = mirror.source.execute("select tgname, oid from pg_trigger where not tgisinternal order by 1", "superuser")
    assert kept
    mirror.apply(destination={
        "databaseRef": {"name": "warehouse"}, "schema": "public", "table": "orders", "existing": "Replace",
    })  # fmt: skip
    mirror.follows()
    again = mirror.source.execute("select tgname, oid from pg_trigger where not tgisinternal order by 1", "superuser")
    assert again == kept


@pytest.mark.night
def test_capture_of_another_installation_is_left_to_it_until_it_is_to_be_adopted(
    mirror: Mirror, tmp_path: pathlib.Path
) -> None:
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(yaml.safe_dump_all(mirror.objects()), encoding="utf-8")
    # Of the same names: then adopting takes the checkpoints along, and nothing is copied again.
    words = ("run", "-f", str(manifests), "--once", "--installation", "other", "--namespace", mirror.namespace)
    done = subprocess.run(
        [sys.executable, "-m", "pantograph", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")}, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mirror.cluster.apply(mirror.objects(), mirror.namespace)
    wait_until(lambda: mirror.reason("database", "shop") == "CaptureOwned", "it to be refused")
    assert f"other/{mirror.namespace}/shop" in (refusal := mirror.condition("database", "shop")["message"])
    assert f'{ADOPT}: "true"' in refusal
    assert mirror.condition("database", "shop", "Stalled")["status"] == "True"
    wait_until(lambda: mirror.reason("reflection", "orders") == "SourceCaptureOwned", "its Reflection to wait for it")
    # What is refused can be taken back.
    leaves(mirror, "reflection/orders", "sourcetable/orders")
    mirror.cluster.wait_gone("sourcetable", "orders", mirror.namespace, 60)
    assert ours(mirror.source) > 0
    mirror.cluster.apply(mirror.objects(), mirror.namespace)
    mirror.cluster.kubectl("annotate", "database", "shop", f"{ADOPT}=true", "-n", mirror.namespace)
    mirror.ready()
    mirror.follows()
