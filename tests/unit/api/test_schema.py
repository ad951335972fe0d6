"""The CRDs are those of the models, and of the form that an API server takes."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field as Bound

from pantograph.api import schema
from pantograph.api.base import API_VERSION, Model, Rule
from pantograph.api.values import ColumnName
from tests.unit.api.everything import KINDS, fields, manifest

CRDS = pathlib.Path(__file__).parents[3] / "crds"
NAMES = ("databases", "reflections", "sourcetables")
of_each_crd = pytest.mark.parametrize("name", NAMES)


@functools.cache
def root(name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema.crds()[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def walk(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from walk(below, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in node:
            yield from walk(node[word], f"{path}[]")


def test_the_files_are_what_the_models_say() -> None:
    assert sorted(file.stem for file in CRDS.glob("*.yaml")) == sorted(NAMES)
    for name in NAMES:
        assert (CRDS / f"{name}.yaml").read_text() == schema.render(name), f"render crds/{name}.yaml again"


@of_each_crd
def test_the_rendered_text_is_the_definition(name: str) -> None:
    assert yaml.safe_load(schema.render(name)) == schema.crds()[name]


@of_each_crd
def test_every_schema_is_structural(name: str) -> None:
    """The rules of apiextensions' structural schemas, said here a second time and by other means."""
    words = {
        *("description", "type", "format", "enum", "pattern", "default", "required", "properties", "items"),
        *("additionalProperties", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"),
        *("maxProperties", "x-kubernetes-validations", "x-kubernetes-int-or-string", "x-kubernetes-list-type"),
        *("x-kubernetes-list-map-keys", "x-kubernetes-preserve-unknown-fields"),
    }
    for path, node in walk(root(name)):
        assert node.keys() <= words, path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert set(node.get("required", ())) <= set(node.get("properties", ())), path
        assert node.get("default", "") is not None, path
        if node.get("type") == "array":
            assert "items" in node, path
        if node.get("type") == "object" and path not in ("", ".metadata"):
            assert {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"} & node.keys(), path


@of_each_crd
def test_everything_has_a_bound(name: str) -> None:
    """The API server reckons the cost of a rule from the bounds; one list without refuses the whole CRD."""
    for path, node in walk(root(name)):
        if path in (".apiVersion", ".kind") or "enum" in node or node.get("format") == "date-time":
            continue
        if node.get("type") == "string" or "x-kubernetes-int-or-string" in node:
            assert "maxLength" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@of_each_crd
def test_everything_is_described(name: str) -> None:
    for path, node in walk(root(name)):
        if path not in (".apiVersion", ".kind", ".metadata") and not path.endswith("[]"):
            assert node.get("description", "").endswith("."), path


@of_each_crd
def test_defaults_are_of_their_types(name: str) -> None:
    types = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict, None: (str, int)}
    for path, node in walk(root(name)):
        if "default" in node:
            assert isinstance(node["default"], types[node.get("type")]), path  # type: ignore[arg-type]
            assert node["default"] in node.get("enum", [node["default"]]), path


@of_each_crd
def test_rules_name_fields_that_are_there(name: str) -> None:
    for path, node in walk(root(name)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            if "fieldPath" in rule:
                assert rule["fieldPath"].removeprefix(".") in node["properties"], path


@of_each_crd
def test_an_object_that_nobody_looked_at_says_so(name: str) -> None:
    status = root(name)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert schema.crds()[name]["spec"]["versions"][0]["subresources"] == {"status": {}}


@of_each_crd
def test_two_writers_can_each_own_their_conditions(name: str) -> None:
    conditions = root(name)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) == {"type", "status", "reason", "lastTransitionTime"}


def test_names_that_users_type() -> None:
    names = {name: crd["spec"]["names"] for name, crd in schema.crds().items()}
    assert {name: found["shortNames"] for name, found in names.items()} == {
        "databases": ["pgdb"],
        "sourcetables": ["srct"],
        "reflections": ["refl"],
    }
    assert {tuple(found["categories"]) for found in names.values()} == {("pantograph",)}


@of_each_crd
def test_columns_and_selectable_fields_are_in_the_schema(name: str) -> None:
    version = schema.crds()[name]["spec"]["versions"][0]
    known = {path for path, _ in walk(root(name))}
    for column in [*version["additionalPrinterColumns"], *version["selectableFields"]]:
        path = column["jsonPath"]
        assert path in known or path.startswith((".status.conditions[?(@.type==", ".metadata.")), path


@pytest.mark.parametrize(
    ("name", "path", "fields_"),
    [
        ("sourcetables", ".spec", {"databaseRef", "schema", "table", "keyColumns"}),
        ("reflections", ".spec", {"sourceTableRef"}),
        ("reflections", ".spec.destination", {"databaseRef", "schema", "table"}),
        ("databases", ".spec", {"dialect", "captureSchema"}),
    ],
)
def test_what_cannot_be_changed(name: str, path: str, fields_: set[str]) -> None:
    node = dict(walk(root(name)))[path]
    rules = [rule for rule in node["x-kubernetes-validations"] if "oldSelf" in rule["rule"]]
    assert {rule["fieldPath"].removeprefix(".") for rule in rules} == fields_
    for rule in rules:
        field = rule["fieldPath"].removeprefix(".")
        assert f"self.{field} == oldSelf.{field}" in rule["rule"]
        # A field that may be missing could be added or taken away later, were the rule on its value alone.
        always_there = field in node["required"] or "default" in node["properties"][field]
        assert always_there or f"has(self.{field}) == has(oldSelf.{field})" in rule["rule"]
        assert node["properties"][field]["description"].endswith("Immutable.")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_every_field_is_in_the_crd(kind: Any) -> None:
    known = {path for path, _ in walk(root(kind.PLURAL))}
    for field in fields(kind):
        path = "".join("[]" if isinstance(step, int) else f".{step}" for step in field.path)
        assert path in known or field.description == "a value", path
    assert manifest(kind)["apiVersion"] == API_VERSION


class Unbounded(Model):
    """A model."""

    free: str


class Either(Model):
    """A model."""

    one: Annotated[int, Bound(ge=0)] | bool


class Endless(Model):
    """A model."""

    inner: Endless | None = None


class Strange(Model):
    """A model."""

    RULES = (Rule(message="m", cel="has(self.one)", field="one"), Rule(message="python only", holds=lambda _: True))

    above: Annotated[int, Bound(gt=0)] = 1
    one: ColumnName | None = None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Unbounded, "spec.free: has no maxLength"),
        (Either, "spec.one: anyOf cannot be said"),
        (Endless, "Endless contains itself"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_path(model: type[Model], said: str) -> None:
    with pytest.raises(schema.NotStructural, match=said.replace(".", r"\.")):
        schema._of_model(model, "spec")


def test_rewriting() -> None:
    assert schema._of_model(Strange, "spec") == {
        "description": "A model.",
        "type": "object",
        "properties": {
            "above": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "default": 1},
            "one": {"type": "string", "pattern": "^[^\\x00]+$", "minLength": 1, "maxLength": 128},
        },
        "x-kubernetes-validations": [{"rule": "has(self.one)", "message": "m", "fieldPath": ".one"}],
    }
