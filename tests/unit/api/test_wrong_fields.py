"""Every field of every kind, wrong in every way that its schema knows: one line each, with file, document, object,
path, what was found and what was expected. The ways are made from the CRDs, so a new field is among them by itself."""

from __future__ import annotations

import copy
import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from pantograph.api import manifests, schema
from tests.unit.api.everything import KINDS, manifest

CRDS = schema.crds()
OTHER_TYPES = {"string": 5, "integer": "five", "number": "five", "boolean": "yes", "array": "text", "object": 5}
UNMATCHED = ("\0", "A B", "_", "5 lightyears", "-", "")


@dataclass(frozen=True)
class Wrong:
    """One way for one field to be wrong. value: None where the field is taken away."""

    kind: str
    path: tuple[str | int, ...]
    how: str
    value: Any = None

    @property
    def field(self) -> str:
        text = ""
        for step in self.path:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
        return text

    def __str__(self) -> str:
        return f"{self.kind}-{self.field}-{self.how}"


def ways(kind: str, here: dict[str, Any], path: tuple[str | int, ...], found: Any) -> Iterator[Wrong]:
    """All ways for what the schema describes, and for all below it. found: a value that is right."""
    if "x-kubernetes-preserve-unknown-fields" in here:
        yield Wrong(kind, path, "another type", 5)
        return
    if "x-kubernetes-int-or-string" in here:
        yield Wrong(kind, path, "another type", [])
        if "pattern" in here:
            yield Wrong(kind, path, "another pattern", "sixteen")
        return
    yield Wrong(kind, path, "another type", OTHER_TYPES[here["type"]])
    yield Wrong(kind, path, "a list or a mapping", {} if here["type"] != "object" else [])
    if "enum" in here:
        yield Wrong(kind, path, "another choice", "Nonsense")
    if "pattern" in here:
        wrong = next(text for text in UNMATCHED if not re.search(here["pattern"], text))
        yield Wrong(kind, path, "another pattern", wrong)
    if here.get("minLength"):
        yield Wrong(kind, path, "too short", "")
    if here["type"] == "string" and "maxLength" in here and "enum" not in here:
        yield Wrong(kind, path, "too long", "x" * (here["maxLength"] + 1))
    for bound, step in (("minimum", -1), ("maximum", 1)):
        if bound in here:
            yield Wrong(kind, path, f"beyond its {bound}", here[bound] + step)
    if here["type"] == "array":
        yield Wrong(kind, path, "too many", [found[0]] * (here["maxItems"] + 1))
        yield Wrong(kind, (*path, 0), "nothing", "null")
        yield from ways(kind, here["items"], (*path, 0), found[0])
    for name, below in here.get("properties", {}).items():
        if name in here.get("required", ()):
            yield Wrong(kind, (*path, name), "missing")
        yield from ways(kind, below, (*path, name), found[name])
    if "properties" in here:
        yield Wrong(kind, (*path, "fieldOfTheFuture"), "unknown", 1)
    if "additionalProperties" in here:
        name, value = next(iter(found.items()))
        yield Wrong(kind, path, "too many", {f"k{n}": value for n in range(here["maxProperties"] + 1)})
        yield from ways(kind, here["additionalProperties"], (*path, name), value)


def all_ways() -> Iterator[Wrong]:
    for kind in KINDS:
        whole = CRDS[kind.PLURAL]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        yield Wrong(kind.KIND, ("spec",), "missing")
        yield from ways(kind.KIND, whole["properties"]["spec"], ("spec",), manifest(kind)["spec"])


WAYS = list(all_ways())


def test_there_are_hundreds_of_ways_and_every_kind_of_them() -> None:
    assert len(WAYS) > 400
    assert {way.how for way in WAYS} == {
        "another type", "a list or a mapping", "another choice", "another pattern", "too short", "too long",
        "beyond its minimum", "beyond its maximum", "too many", "nothing", "missing", "unknown",
    }  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_wrong_field_is_one_line_that_says_where_what_and_what_else(way: Wrong, tmp_path: pathlib.Path) -> None:
    kind = next(kind for kind in KINDS if way.kind == kind.KIND)
    body = copy.deepcopy(manifest(kind))
    here: Any = body
    for step in way.path[:-1]:
        here = here[step]
    if way.how == "missing":
        del here[way.path[-1]]
    else:
        here[way.path[-1]] = None if way.how == "nothing" else way.value
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(body, allow_unicode=True))
    _, wrong = manifests.read([path])
    lines = [str(error).removeprefix(f"{tmp_path}/") for error in wrong]
    (line,) = lines
    assert f": {way.field}" in line
    assert re.match(rf"shop\.yaml: document \d \({way.kind} [a-z-]+\): ", line)
    said = line.split(f": {way.field}", 1)[1]
    if way.how == "unknown":
        assert said.startswith(": no such field")
    elif way.how == "missing":
        assert said.startswith(": missing, expected ")
    else:
        assert re.match(r": found .+, expected .+", said), line
    assert "something else" not in line
    assert "\n" not in line
    assert len(line) < 400
