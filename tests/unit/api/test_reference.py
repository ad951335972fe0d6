"""The reference page has every field, with its default and its words, and its examples are valid."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from pantograph.api import acting, manifests, schema, values
from pantograph.api.base import Model, Resource
from tests.unit.api.everything import KINDS, Field, fields

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "reference" / "manifests.md").read_text()
FIELDS = [field for kind in KINDS for field in fields(kind) if field.description not in ("an item", "a value")]


def path_of(field: Field) -> str:
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in field.path).removeprefix(".")


def section(kind: type[Resource]) -> str:
    return PAGE.partition(f"\n## {kind.KIND}\n")[2].partition("\n## ")[0]


def written(field: Field) -> str:
    """The field's default as the page has it."""
    default: Any = field.default
    if field.required:
        return "required"
    if default is None or default in ((), {}) or isinstance(default, Model):
        return ""
    if isinstance(field.wanted, values.Duration):
        default = values.format_duration(default)
    elif isinstance(field.wanted, values.Size):
        default = values.format_size(default)
    elif isinstance(default, bool):
        default = str(default).lower()
    return f"`{default}`" if default != "" else '`""`'


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.kind.KIND}:{path_of(field)}")
def test_the_page_has_every_field(field: Field) -> None:
    rows = [line for line in section(field.kind).splitlines() if line.startswith(f"| `{path_of(field)}` |")]
    assert len(rows) == 1
    cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", rows[0])[1:-1]]
    assert cells[2] == written(field)
    assert cells[3].startswith(" ".join(field.description.split()))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_the_page_has_no_other_fields(kind: type[Resource]) -> None:
    known = {path_of(field) for field in FIELDS if field.kind is kind}
    assert set(re.findall(r"^\| `(spec[^`]*)` \|", section(kind), flags=re.MULTILINE)) == known


def test_the_page_has_what_does_not_act() -> None:
    listed = re.findall(r"^- (\w+) `(spec[^`]*)`", PAGE, flags=re.MULTILINE)
    assert listed == [(entry.kind, entry.path) for entry in acting.NOT_ACTING]


@pytest.mark.parametrize("name", schema.crds())
def test_the_page_has_every_field_of_a_status(name: str) -> None:
    crd = schema.crds()[name]
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    kind = crd["spec"]["names"]["kind"]

    def rows(node: dict[str, Any], path: str) -> list[str]:
        return [
            row
            for field, below in node.get("properties", {}).items()
            if field not in ("conditions", "observedGeneration")
            for row in (f"| {kind} | `{path}.{field}` | {below['description']} |", *rows(below, f"{path}.{field}"))
        ]

    assert [line for line in PAGE.splitlines() if line.startswith(f"| {kind} | `status")] == rows(status, "status")


def test_the_example_is_valid() -> None:
    example = PAGE.partition("```yaml\n")[2].partition("```")[0]
    found = manifests.from_text(example)
    assert len(found.reflections) == 1
    assert acting.unsupported(found) == []
