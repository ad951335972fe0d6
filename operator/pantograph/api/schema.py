"""From the models to CustomResourceDefinitions, in the form that an API server takes.

pydantic writes JSON Schema; an API server wants *structural* schemas, a smaller language: no references, no unions, no
null. `structural` rewrites the one into the other and refuses, with the field's path, what cannot be said there. Every
text, list and map must have a bound, because the API server reckons what a rule can cost from those.

The files in `crds/` are `render(name)` of each; a test holds them equal.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from pantograph.api.base import GROUP, VERSION, Model, Resource, Rule
from pantograph.api.databases import Database
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable

KINDS: tuple[type[Resource], ...] = (Database, SourceTable, Reflection)
SHORT_NAMES = {"Database": "pgdb", "SourceTable": "srct", "Reflection": "refl"}
DEEPEST = 20
HEADER = "# Rendered from the models in operator/pantograph/api by `pantograph crds`; change those, not this file.\n"

_READY = ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0)
_REASON = ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1)
_AGE = ("Age", "date", ".metadata.creationTimestamp", 0)
COLUMNS: Mapping[str, tuple[tuple[str, str, str, int], ...]] = {
    "Database": (
        ("Dialect", "string", ".spec.dialect", 0),
        ("Host", "string", ".spec.host", 0),
        _READY,
        _REASON,
        _AGE,
    ),
    "SourceTable": (
        ("Database", "string", ".spec.databaseRef.name", 0),
        ("Table", "string", ".spec.table", 0),
        ("Pending", "integer", ".status.pendingEvents", 0),
        _READY,
        _REASON,
        _AGE,
    ),
    "Reflection": (
        ("Source", "string", ".spec.sourceTableRef.name", 0),
        ("Destination", "string", ".spec.destination.databaseRef.name", 0),
        ("Lag", "number", ".status.lagSeconds", 0),
        ("Rows", "integer", ".status.rows", 0),
        ("Snapshot", "integer", ".status.snapshot.percent", 0),
        _READY,
        _REASON,
        _AGE,
    ),
}
"""What `kubectl get` shows: name, type, path, priority (1: only with `-o wide`)."""
SELECTABLE = {
    "Database": (".spec.dialect",),
    "SourceTable": (".spec.databaseRef.name",),
    "Reflection": (".spec.sourceTableRef.name", ".spec.destination.databaseRef.name"),
}
"""Fields for `kubectl get --field-selector`, and for watching only what concerns one Database."""


class NotStructural(TypeError):
    """A model uses something that a structural schema has no word for; the text begins with the field's path."""


def crds() -> dict[str, dict[str, Any]]:
    """The three CustomResourceDefinitions by plural name: `databases`, `sourcetables`, `reflections`."""
    return {kind.PLURAL: _crd(kind) for kind in KINDS}


def render(name: str) -> str:
    """One CustomResourceDefinition as YAML, by its plural name; what stands in `crds/<name>.yaml`."""
    return HEADER + yaml.safe_dump(crds()[name], sort_keys=False, allow_unicode=True, width=120)


def _crd(kind: type[Resource]) -> dict[str, Any]:
    columns = [
        {"name": name, "type": type_, "jsonPath": path} | ({"priority": priority} if priority else {})
        for name, type_, path, priority in COLUMNS[kind.KIND]
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": kind.PLURAL,
                "singular": kind.KIND.lower(),
                "shortNames": [SHORT_NAMES[kind.KIND]],
                "categories": ["pantograph"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "selectableFields": [{"jsonPath": path} for path in SELECTABLE[kind.KIND]],
                    "schema": {"openAPIV3Schema": _root(kind)},
                }
            ],
        },
    }


def _root(kind: type[Resource]) -> dict[str, Any]:
    (spec_model,) = _models_in(kind.model_fields["spec"].annotation)
    (status_model,) = _models_in(kind.model_fields["status"].annotation)
    spec, status = _of_model(spec_model, "spec"), _of_model(status_model, "status")
    # Without it a tool that waits takes an object for ready before anybody has looked at it.
    status["default"] = {"observedGeneration": -1}
    root: dict[str, Any] = {
        "description": _prose(inspect.getdoc(kind)),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    return root | _validations(kind.RULES, root["properties"])


def _of_model(model: type[Model], path: str) -> dict[str, Any]:
    whole = model.model_json_schema(by_alias=True, mode="validation")
    rewritten = structural(whole, whole.get("$defs", {}), path)
    _complete(model, rewritten)
    return rewritten


def structural(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A JSON schema as pydantic writes it, in the words of a structural schema; NotStructural where there are none."""
    schema = _resolved(schema, definitions, path)
    for word in ("oneOf", "discriminator", "prefixItems", "patternProperties", "uniqueItems", "anyOf", "allOf", "not"):
        if word in schema:
            raise NotStructural(f"{path}: {word} cannot be said; write optional fields and a rule")
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
    out: dict[str, Any] = {}
    if "description" in schema:
        out["description"] = _prose(schema["description"])
    if "type" in schema:
        out["type"] = schema["type"]
    for word in ("format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"):
        if word in schema:
            out[word] = schema[word]
    for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if word in schema:
            out |= {bound: schema[word], word: True}
    out |= {word: value for word, value in schema.items() if word.startswith("x-kubernetes-")}
    if schema.get("type") == "object":
        out |= _object(schema, definitions, path)
    elif schema.get("type") == "array":
        out |= {"x-kubernetes-list-type": "atomic", "items": structural(schema["items"], definitions, f"{path}[]")}
        if out["items"].get("properties", {}).keys() >= {"type", "lastTransitionTime"}:
            # Conditions: one of each type, so that two writers can each own theirs.
            out |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    if schema.get("default") is not None:
        # A mapping's own fields have their defaults; said twice, the two could differ.
        out["default"] = {} if "properties" in out else schema["default"]
    _check_bounds(out, path)
    return out


def _object(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if "properties" in schema:
        if schema.get("required"):
            out["required"] = sorted(schema["required"])
        out["properties"] = {
            name: structural(value, definitions, f"{path}.{name}") for name, value in schema["properties"].items()
        }
    elif isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = structural(schema["additionalProperties"], definitions, f"{path}.*")
        if "maxProperties" in schema:
            out["maxProperties"] = schema["maxProperties"]
    return out


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The schema with what it refers to put in its place; what stands beside the reference wins."""
    beside = {word: value for word, value in schema.items() if word not in ("$ref", "allOf", "anyOf")}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if path.count(".") > DEEPEST:
            raise NotStructural(f"{path}: {name} contains itself")
        return _resolved(definitions[name], definitions, path) | beside
    for word in ("allOf", "anyOf"):
        parts = [part for part in schema.get(word, ()) if part != {"type": "null"}]
        if len(parts) == 1:
            return _resolved(parts[0], definitions, path) | beside
    return dict(schema)


def _check_bounds(schema: Mapping[str, Any], path: str) -> None:
    if "x-kubernetes-int-or-string" in schema or "enum" in schema or schema.get("format") == "date-time":
        return
    needed = {"string": "maxLength", "array": "maxItems"}.get(schema.get("type", ""))
    if "additionalProperties" in schema:
        needed = "maxProperties"
    if needed and needed not in schema:
        raise NotStructural(f"{path}: has no {needed}, so what its rules cost cannot be told")


def _complete(model: type[Model], schema: dict[str, Any]) -> None:
    """Add what JSON Schema does not carry: the rules of a model and of those below it, defaults as users write them."""
    schema |= _validations(model.RULES, schema["properties"])
    written = model.model_construct().model_dump(mode="json", by_alias=True)
    for name, info in model.model_fields.items():
        alias = info.alias or name
        below = schema["properties"][alias]
        if "default" in below and "properties" not in below:
            below["default"] = written[alias]
        for inner in _models_in(info.annotation):
            _complete(inner, below.get("items", below))


def _models_in(annotation: Any) -> Iterable[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _validations(rules: Iterable[Rule], properties: Mapping[str, Any]) -> dict[str, Any]:
    # A path may only name a field of the schema it stands in: a rule about metadata goes without.
    said = [
        {"rule": rule.cel, "message": rule.message}
        | ({"fieldPath": f".{rule.field}"} if rule.field in properties else {})
        for rule in rules
        if rule.cel
    ]
    return {"x-kubernetes-validations": said} if said else {}


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())
