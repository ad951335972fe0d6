"""Fields that cannot be changed: a file that changes one is told, as the API server tells it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pantograph.api import manifests, schema
from tests.unit.api.everything import KINDS

SHOP = """
apiVersion: pantograph.dev/v1alpha1
kind: Database
metadata: {name: shop}
spec: {dialect: sqlite, path: shop.db}
---
apiVersion: pantograph.dev/v1alpha1
kind: Database
metadata: {name: copy}
spec: {dialect: sqlite, path: copy.db}
---
apiVersion: pantograph.dev/v1alpha1
kind: SourceTable
metadata: {name: orders}
spec: {databaseRef: {name: shop}, table: orders}
---
apiVersion: pantograph.dev/v1alpha1
kind: Reflection
metadata: {name: orders}
spec: {sourceTableRef: {name: orders}, destination: {databaseRef: {name: copy}, table: mine}}
"""


def immutable(schema_: dict[str, Any], path: str = "") -> set[str]:
    """Paths of fields with a rule that compares with the earlier self, by the CRD."""
    found = {
        ".".join(filter(None, (path, rule["fieldPath"].removeprefix("."))))
        for rule in schema_.get("x-kubernetes-validations", [])
        if "oldSelf" in rule["rule"]
    }
    for name, below in schema_.get("properties", {}).items():
        found |= immutable(below, ".".join(filter(None, (path, name))))
    return found


CHANGES = {
    ("Database", "spec.dialect"): "firebird",
    ("Database", "spec.captureSchema"): "theirs",
    ("SourceTable", "spec.databaseRef"): {"name": "copy"},
    ("SourceTable", "spec.schema"): "main",
    ("SourceTable", "spec.table"): "others",
    ("SourceTable", "spec.keyColumns"): ["id"],
    ("Reflection", "spec.sourceTableRef"): {"name": "others"},
    ("Reflection", "spec.destination.databaseRef"): {"name": "shop"},
    ("Reflection", "spec.destination.schema"): "main",
    ("Reflection", "spec.destination.table"): "others",
}


def test_every_immutable_field_of_the_crds_is_among_these() -> None:
    crds = schema.crds()
    wanted = {
        (kind.KIND, path)
        for kind in KINDS
        for path in immutable(crds[kind.PLURAL]["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    }
    assert wanted == set(CHANGES)


@pytest.mark.parametrize(("kind", "path"), CHANGES)
def test_a_field_that_cannot_be_changed_is_one_line(kind: str, path: str) -> None:
    before = manifests.from_text(SHOP)
    documents = list(yaml.safe_load_all(SHOP + SHOP_OTHERS))
    body = next(one for one in documents if one["kind"] == kind)
    *parents, last = path.split(".")
    here = body
    for step in parents:
        here = here[step]
    here[last] = CHANGES[kind, path]
    after = manifests.from_text(yaml.safe_dump_all(documents), "shop.yaml")
    (error,) = after.changed_since(before)
    number, name = documents.index(body) + 1, body["metadata"]["name"]
    assert str(error) == (
        f"shop.yaml: document {number} ({kind} {name}): {path}: {last} cannot be changed; make another object instead"
    )


SHOP_OTHERS = """
---
apiVersion: pantograph.dev/v1alpha1
kind: SourceTable
metadata: {name: others}
spec: {databaseRef: {name: shop}, table: elsewhere}
"""


def test_what_may_be_changed_and_what_is_new_is_no_error() -> None:
    before = manifests.from_text(SHOP)
    changed = SHOP.replace("path: copy", "path: other").replace("table: mine}}", "table: mine}, where: id > 3}")
    assert manifests.from_text(changed + SHOP_OTHERS).changed_since(before) == []
