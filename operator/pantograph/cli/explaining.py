"""`pantograph explain`: what a manifest may say, from the very models that read it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pantograph import errors
from pantograph.api import reading, schema, values
from pantograph.api.base import API_VERSION
from pantograph.api.manifests import KINDS
from pantograph.cli import terminal
from pantograph.cli.outcomes import Status

WIDTH = 100
_TEXTS = {
    values.DURATION_PATTERN: "a duration: 200ms, 90s, 7d",
    values.SIZE_PATTERN: "a size: 64Ki, 16Mi",
    values.HOURS_PATTERN: "hours of the day, in UTC: 22:00-06:00",
}


def run(path: str) -> Status:
    """Explain a kind, or a field of it with all below: `reflection`, `reflection.spec.destination`."""
    if not path:
        print(terminal.table(("KIND", "WHAT IT IS"), [(kind, _schemas()[kind]["description"]) for kind in KINDS]))
        print("\nFields: pantograph explain KIND, or KIND.spec.destination for a part of them.")
        return Status.DONE
    kind, *steps = path.split(".")
    name = _kind(kind)
    here, at = _schemas()[name], name
    for step in steps:
        fields = _fields(here)
        found = step.removesuffix("[]")
        if found not in fields:
            known = ", ".join(fields) or "none below it"
            raise errors.SpecError(
                f"{at} has no field {found}{reading.nearest(found, fields)}; there are: {known}", path="explain"
            )
        here, at = fields[found], f"{at}.{found}"
    print(f"{at}: {_about(here)}".rstrip(": "))
    if not steps:
        print(f"\napiVersion: {API_VERSION}\nkind: {name}\nmetadata: {{name: …, namespace: …}}")
    width = shutil.get_terminal_size((WIDTH, 0)).columns if sys.stdout.isatty() else WIDTH
    for line in _tree(here, "", steps == []):
        print(line if len(line) <= width else _wrapped(line, width))
    return Status.DONE


def _schemas() -> Mapping[str, Any]:
    crds = (schema.crds()[kind.PLURAL] for kind in KINDS.values())
    return {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds}


def _kind(text: str) -> str:
    spelled: dict[str, str] = {}
    for kind in KINDS.values():
        called = schema.crds()[kind.PLURAL]["spec"]["names"]
        spelled |= dict.fromkeys((kind.KIND.lower(), kind.PLURAL, *called.get("shortNames", ())), kind.KIND)
    if text.lower() not in spelled:
        raise errors.SpecError(
            f"there is no kind {text}{reading.nearest(text, KINDS)}; there are: {', '.join(KINDS)}", path="explain"
        )
    return spelled[text.lower()]


def _fields(here: Mapping[str, Any]) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = here.get("items", here).get("properties", {})
    return fields


def _about(field: Mapping[str, Any]) -> str:
    told = (str(one.get("description", "")) for one in (field, field.get("items", {})))
    return " ".join(" ".join(filter(None, told)).split())


def _tree(here: Mapping[str, Any], above: str, whole: bool) -> Iterator[str]:
    """Two lines a field: its path with what it takes, and what it is for."""
    required = here.get("items", here).get("required", ())
    for name, field in _fields(here).items():
        if whole and name in ("apiVersion", "kind", "metadata", "status"):
            continue
        path = f"{above}{name}" + ("[]" if "items" in field else "")
        below = _fields(field)
        takes = _takes(field, needed=name in required)
        yield ""
        yield f"{path}   {takes}".rstrip()
        yield f"    {_about(field)}".rstrip()
        if below:
            yield from _tree(field, f"{path}.", False)


def _takes(field: Mapping[str, Any], *, needed: bool) -> str:
    """What may stand there, in a few words."""
    item = field.get("items", field)
    words = _kind_of(item) if not _fields(field) else ""
    if needed:
        return f"{words}, required" if words else "required"
    default = field.get("default")
    if default in (None, "", [], {}):
        return words
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"{words}; {shown} unless given"


def _kind_of(item: Mapping[str, Any]) -> str:
    if "enum" in item:
        *most, last = [str(one) or '""' for one in item["enum"]]
        return f"{', '.join(most)} or {last}" if most else last
    if item.get("x-kubernetes-int-or-string"):
        return "a number or a text"
    match item.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return f"a number, {item['minimum']:,} to {item['maximum']:,}" if "maximum" in item else "a number"
        case "object":
            return "a mapping"
        case "string":
            return _TEXTS.get(item.get("pattern", ""), "a text")
    return ""


def _wrapped(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return "\n".join(textwrap.wrap(line, width, subsequent_indent=indent or "    ", break_on_hyphens=False))
