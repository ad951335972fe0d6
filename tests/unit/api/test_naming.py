"""Names that an engine does not take, or cuts, are told before anything is made."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pantograph import errors
from pantograph.api import manifests, naming


@pytest.mark.parametrize(
    ("dialect", "name", "why"),
    [
        ("postgresql", "x" * 63, ""),
        ("postgresql", "x" * 64, "found a name of 64 bytes, expected at most 63 in postgresql"),
        ("postgresql", "é" * 32, "found a name of 64 bytes, expected at most 63 in postgresql"),
        ("postgresql", "a 🙂\n ", ""),
        ("mariadb", "é" * 64, ""),
        ("mariadb", "x" * 65, "found a name of 65 characters, expected at most 64 in mariadb"),
        ("mariadb", "a ", "found a name that ends in a blank, expected one that does not in mariadb"),
        ("mariadb", "🙂", "found a name with a character beyond U+FFFF, expected none in mariadb"),
        ("sqlite", "🙂" * 128, ""),
    ],
)
def test_an_engines_limits(dialect: str, name: str, why: str) -> None:
    assert naming.unfit(name, dialect) == why


def test_a_prefix_leaves_room_for_the_name() -> None:
    assert naming.unfit("x" * 40, "mariadb", prefix=True) == ""
    assert naming.unfit("x" * 41, "mariadb", prefix=True).endswith("expected at most 40 in mariadb")


NAME = "n" * 65
ON_SERVERS = """
apiVersion: pantograph.dev/v1alpha1
kind: Database
metadata: {name: shop}
spec: {dialect: postgresql, host: h, database: d, credentials: {secretName: c}}
---
apiVersion: pantograph.dev/v1alpha1
kind: Database
metadata: {name: copy}
spec: {dialect: mariadb, host: h, database: d, credentials: {secretName: c}}
---
apiVersion: v1
kind: Secret
metadata: {name: c}
stringData: {username: u, password: p}
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


@pytest.mark.parametrize(
    ("kind", "field", "spec"),
    [
        ("Database", "captureSchema", {"captureSchema": NAME}),
        ("SourceTable", "table", {"table": NAME}),
        ("SourceTable", "schema", {"schema": NAME}),
        ("SourceTable", "keyColumns[0]", {"keyColumns": [NAME]}),
        ("Reflection", "destination.table", {"destination": {"databaseRef": {"name": "copy"}, "table": NAME}}),
        (
            "Reflection",
            "destination.schema",
            {"destination": {"databaseRef": {"name": "copy"}, "schema": NAME, "table": "t"}},
        ),
        ("Reflection", "columns[0].source", {"columns": [{"source": NAME, "destination": "id"}]}),
        ("Reflection", "columns[0].destination", {"columns": [{"source": "id", "destination": NAME}]}),
        ("Reflection", "key[0].source", {"key": [{"source": NAME, "destination": "id"}]}),
        ("Reflection", "key[0].destination", {"key": [{"source": "id", "destination": NAME}]}),
        ("Reflection", "exclude[0]", {"exclude": [NAME]}),
        ("Reflection", "softDelete.column", {"onDelete": "Mark", "softDelete": {"column": NAME}}),
    ],
)
def test_every_field_that_holds_a_name_is_looked_at(kind: str, field: str, spec: dict[str, Any]) -> None:
    documents = list(yaml.safe_load_all(ON_SERVERS))
    number = next(n for n, one in enumerate(documents) if one["kind"] == kind)
    documents[number]["spec"] |= spec
    with pytest.raises(errors.SpecErrors) as caught:
        manifests.from_text(yaml.safe_dump_all(documents), "shop.yaml")
    (line,) = [str(error) for error in caught.value.errors]
    name = documents[number]["metadata"]["name"]
    assert line.startswith(f"shop.yaml: document {number + 1} ({kind} {name}): spec.{field}: found a name of 65 ")
