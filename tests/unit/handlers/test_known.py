"""Which objects belong together, and who looks when one changes."""

from __future__ import annotations

from typing import Any

from pantograph.handlers.known import MISSED_FOR, Known


def made(kind: str, name: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pantograph.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name, "namespace": "ns", "uid": f"{kind}-{name}", "resourceVersion": str(version), "generation": 1
        },
        "spec": spec,
    }  # fmt: skip


def database(name: str, version: int = 1) -> dict[str, Any]:
    return made("Database", name, version, dialect="postgresql", host="h", credentials={"secretName": f"{name}-secret"})


def table(name: str, of: str) -> dict[str, Any]:
    return made("SourceTable", name, databaseRef={"name": of}, table=name)


def reflection(name: str, of: str, to: str) -> dict[str, Any]:
    destination = {"databaseRef": {"name": to}, "table": name}
    return made("Reflection", name, sourceTableRef={"name": of}, destination=destination)


def seen(*bodies: dict[str, Any]) -> Known:
    known = Known()
    for body in bodies:
        known.see(body)
    return known


SHOP = (database("shop"), database("warehouse"), table("orders", "shop"), reflection("copy", "orders", "warehouse"))


def test_a_group_is_a_source_with_its_tables_and_their_reflections():
    group = seen(*SHOP).group(("ns", "shop"))
    assert [one.subject for one in group.members] == ["Database shop", "SourceTable orders", "Reflection copy"]
    (copy,) = group.reflections
    destination = group.destination(copy)
    assert destination is not None
    assert destination.subject == "Database warehouse"


def test_a_change_of_what_a_group_needs_concerns_it():
    known = seen(*SHOP)
    groups, whole = known.see(database("warehouse", version=2))
    assert ("ns", "shop") in groups
    assert not whole  # the generation is the same: the API server knows of no other spec
    assert known.naming_secret(("ns", "warehouse-secret")) >= {("ns", "shop"), ("ns", "warehouse")}
    assert known.naming_secret(("other", "warehouse-secret")) == set()


def test_a_reflection_without_its_table_waits_in_a_group_of_its_own_and_is_looked_at_when_that_comes():
    known = seen(reflection("copy", "orders", "warehouse"))
    assert [one.subject for one in known.group(("ns", "")).members] == ["Reflection copy"]
    groups, whole = known.see(table("orders", "shop"))
    assert groups >= {("ns", ""), ("ns", "shop")}
    assert whole
    assert [one.subject for one in known.group(("ns", "shop")).reflections] == ["Reflection copy"]


def test_an_object_that_cannot_be_read_is_known_with_its_reason():
    known = seen(made("SourceTable", "orders", databaseRef={"name": "shop"}, table="orders", keyColumns=["a", "a"]))
    (orders,) = known.group(("ns", "shop")).tables
    assert orders.resource is None
    assert "spec.keyColumns" in str(orders.failure)


def test_a_watch_that_does_not_tell_for_a_minute_what_a_listing_had_is_deaf():
    known = seen(*SHOP)
    newer = database("shop", version=7)
    known.listed("Database", [newer, database("warehouse")], "9", 100.0)
    assert not known.deaf(100.0 + MISSED_FOR)
    assert known.deaf(101.0 + MISSED_FOR)
    known.told(newer)
    assert not known.deaf(101.0 + MISSED_FOR)


def test_what_a_listing_has_not_is_gone_in_its_namespace_alone():
    known = seen(*SHOP)
    known.listed("Database", [], "9", 100.0, "other")
    assert known.group(("ns", "shop")).database is not None
    known.listed("Database", [], "9", 100.0, "ns")
    assert known.group(("ns", "shop")).database is None


def test_a_listing_that_arrives_late_takes_nothing_back():
    known = seen(database("shop", version=5), database("new", version=8))
    known.listed("Database", [database("shop", version=3)], "6", 100.0)
    shop, new = known.group(("ns", "shop")).database, known.group(("ns", "new")).database
    assert shop is not None
    assert shop.body["metadata"]["resourceVersion"] == "5"
    assert new is not None
    assert not known.deaf(1000.0)


def test_a_capture_that_the_reflector_misses_is_looked_for():
    known = seen(*SHOP)
    body = reflection("copy", "orders", "warehouse")
    body["metadata"]["resourceVersion"] = "2"
    told = {"type": "Replicating", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    _, whole = known.see({**body, "status": {"conditions": [{**told, "reason": "CaptureNotInstalled"}]}})
    assert whole
