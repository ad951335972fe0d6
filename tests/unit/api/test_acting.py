"""What does not act yet is refused by name; what acts is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pantograph.api import acting, manifests
from pantograph.api.manifests import Manifests
from tests.unit.api.everything import KINDS, manifest

SECRETS = "".join(
    f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{username: u, password: p}}\n"
    for name in ("shop-db",)
)


def loaded(**specs: Any) -> Manifests:
    """A Database, a SourceTable and a Reflection, plain but for what is said of each."""
    database: dict[str, Any] = {"dialect": "postgresql", "host": "h", "credentials": {"secretName": "shop-db"}}
    database["allow"] = {"statements": True}
    bodies = [
        {"kind": "Database", "metadata": {"name": "shop"}, "spec": database | specs.get("database", {})},
        {"kind": "Database", "metadata": {"name": "warehouse"}, "spec": database},
        {
            "kind": "SourceTable",
            "metadata": {"name": "orders"},
            "spec": {"databaseRef": {"name": "shop"}, "table": "orders"} | specs.get("source_table", {}),
        },
    ]
    for number, reflection in enumerate(specs.get("reflections", [{}])):
        destination = {"databaseRef": {"name": "warehouse"}, "table": "orders"} | reflection.get("destination", {})
        spec = {"sourceTableRef": {"name": "orders"}} | reflection | {"destination": destination}
        bodies.append({"kind": "Reflection", "metadata": {"name": f"r{number}"}, "spec": spec})
    text = yaml.safe_dump_all([{"apiVersion": "pantograph.dev/v1alpha1"} | body for body in bodies])
    return manifests.from_text(text + SECRETS, "f.yaml")


def refused(**specs: Any) -> list[str]:
    return [str(error).removeprefix("f.yaml: ") for error in acting.unsupported(loaded(**specs))]


NOT_YET = acting.NotActing("Database", "spec.dialect", acting=("postgresql", "sqlite"))


@pytest.fixture
def _one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """All fields act today; the next one may not at first."""
    monkeypatch.setattr(acting, "NOT_ACTING", (NOT_YET,))


@pytest.mark.usefixtures("_one_that_does_not")
def test_what_does_not_act_is_one_line() -> None:
    (line,) = refused(database={"dialect": "mssql"})
    assert "spec.dialect: mssql does not act yet; postgresql, sqlite do" in line


@pytest.mark.parametrize(
    "specs",
    [
        {},
        {"database": {"dialect": "mariadb"}},
        {"database": {"dialect": "mysql"}},
        {"database": {"dialect": "mssql"}},
        {"database": {"reflector": {"sweep": {"window": None, "parallel": 1}, "paused": True, "env": [{"name": "A"}]}}},
        {"database": {"reflector": {"sweep": {"window": "22:00-06:00", "maxRowsPerSecond": 5}}}},
        {"database": {"reflector": {"resources": {"limits": {"memory": "1Gi"}}, "nodeSelector": {"a": "b"}}}},
        {
            "source_table": {
                "keyColumns": ["a"],
                "retention": {"maxAge": "1d", "maxRows": 5},
                "deletionPolicy": "Orphan",
            }
        },
        {"reflections": [{"where": "a > 1", "stream": "slow", "paused": True, "resyncToken": "x"}]},
        {"reflections": [{"onPositionLost": "Stop", "initialSnapshot": False, "onError": "DeadLetter", "columns": []}]},
        {"reflections": [{"destination": {"createTable": False, "existing": "Keep", "cascade": "Accept"}}]},
        {"reflections": [{"schemaChange": {"added": "Ignore", "dropped": "Stop", "retyped": "Stop"}}]},
        {"reflections": [{"verify": {"every": "24h", "repair": False}}]},
        {"reflections": [{}, {"destination": {"table": "other"}}]},
    ],
)
def test_what_acts_is_not_refused(specs: dict[str, Any]) -> None:
    assert refused(**specs) == []


@pytest.mark.usefixtures("_one_that_does_not")
def test_the_reason_tells_it_from_a_mistake() -> None:
    (error,) = acting.unsupported(loaded(database={"dialect": "mssql"}))
    assert (error.reason, error.path, error.file, error.document) == ("NotSupported", "spec.dialect", "f.yaml", 1)


def test_every_line_of_the_table_names_a_field() -> None:
    for entry in (*acting.NOT_ACTING, NOT_YET):
        (kind,) = [kind for kind in KINDS if entry.kind == kind.KIND]
        here: Any = manifest(kind)
        for step in entry.path.split("."):
            here = here[step]
