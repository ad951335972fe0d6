"""A Reflection as a form, and a form as a Reflection. Names of fields are their paths: `spec.destination.table`.

The columns are rows: those of the source's table, each with its box, and below them what is computed or constant.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pantograph import errors
from pantograph.api import reading, revising, schema
from pantograph.api.base import API_VERSION, Resource
from pantograph.api.reflections import Reflection
from pantograph.console.stores import Problem
from pantograph.model.tables import TableShape

TEXTS = (
    "spec.destination.schema",
    "spec.destination.table",
    "spec.stream",
    "spec.where",
    "spec.softDelete.column",
    "spec.statement",
    "spec.deleteStatement",
    "spec.verify.every",
    "spec.resyncToken",
)
CHOICES = (
    "spec.destination.existing",
    "spec.destination.cascade",
    "spec.missingRow",
    "spec.onDelete",
    "spec.onError",
    "spec.onPositionLost",
    "spec.schemaChange.added",
    "spec.schemaChange.dropped",
    "spec.schemaChange.retyped",
)
CHECKS = ("spec.destination.createTable", "spec.verify.repair", "spec.initialSnapshot", "spec.paused")
REFERENCES = ("metadata.name", "metadata.namespace", "spec.sourceTableRef.name", "spec.destination.databaseRef.name")
FIXED = (*REFERENCES, "spec.destination.schema", "spec.destination.table")
"""What cannot be changed of a Reflection that is there."""
_SQL = ("spec.where", "spec.statement", "spec.deleteStatement")
KINDS = {
    "source": "column",
    "expression": "expression",
    "text": "constant text",
    "number": "constant number",
    "system": "known to Pantograph",
}
"""What a row of the columns may hold, and its name."""
SYSTEM = ("sourceTime", "appliedAt", "database", "operation")


@dataclass(frozen=True)
class Row:
    """One column of the destination. native, key: of a column that the source's table has."""

    on: bool = False
    kind: str = "source"
    what: str = ""
    to: str = ""
    type: str = ""
    native: str = ""
    key: bool = False
    there: bool = False

    @property
    def lines(self) -> int:
        """How high a field for what it holds is."""
        return min(8, self.what.count("\n") + 1)

    @property
    def blank(self) -> bool:
        """Whether nobody has written anything into it."""
        return not (self.what or self.to or self.type or self.there)

    def item(self) -> dict[str, Any]:
        """The row as an item of `spec.columns`."""
        if self.kind == "source":
            found: dict[str, Any] = {"source": self.what}
            return found | ({"destination": self.to} if self.to else {})
        value: Any = self.what
        if self.kind == "number" and re.fullmatch(r"-?[0-9]{1,39}", self.what.strip()):
            value = int(self.what)
        name = "value" if self.kind in ("text", "number") else self.kind
        found = {name: value}
        found |= {"destination": self.to} if self.to else {}
        return found | ({"type": self.type} if self.type else {})


@dataclass(frozen=True)
class Form:
    """All that is in a form. values: by the field's path. listed: the columns are these, and not all there will be."""

    values: Mapping[str, str]
    rows: tuple[Row, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    listed: bool = False

    def checked(self, path: str) -> bool:
        """Whether a box is ticked."""
        return self.values.get(path, "") == "on"

    @property
    def lists(self) -> bool:
        """Whether `spec.columns` is given: because it was asked for, or because a row is more than a column."""
        more = any(not row.blank and (row.kind != "source" or (row.to and row.to != row.what)) for row in self.rows)
        twice = len({row.what for row in self.rows if row.there}) < sum(not row.blank for row in self.rows)
        return self.listed or more or twice

    def with_room(self) -> Form:
        """The form with an empty row to write into. No row changes its number, by which messages find it."""
        rows = self.rows if self.rows and self.rows[-1].blank else (*self.rows, Row(on=True, kind="expression"))
        keys = self.keys if self.keys and not any(self.keys[-1]) else (*self.keys, ("", ""))
        return replace(self, rows=rows, keys=keys)


@dataclass(frozen=True)
class Field:
    """What a person is told of a field: from the very schema that the manifests are held to."""

    hint: str
    choices: tuple[str, ...] = ()
    type: str = ""
    most: int = 0
    default: str = ""


@functools.cache
def field_of(path: str, plural: str = "reflections") -> Field:
    """What the CRD says of a field of a kind."""
    here = _schemas()[plural]
    for step in path.split("."):
        here = here.get("properties", {}).get(step, {})
    hint = str(here.get("description", "")).replace("`", "")
    type_, most, default = str(here.get("type", "")), int(here.get("maxLength", 0)), here.get("default", "")
    return Field(hint, tuple(here.get("enum", ())), type_, most, default if isinstance(default, str) else "")


@functools.cache
def _schemas() -> Mapping[str, Mapping[str, Any]]:
    return {name: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for name, crd in schema.crds().items()}


def of_reflection(reflection: Reflection, shape: TableShape | None) -> Form:
    """The form that says what the object says. shape: of the source's table, None when nobody knows."""
    dumped = reflection.model_dump(mode="json", by_alias=True, exclude_none=True)
    values = {path: str(at(dumped, path) or "") for path in (*TEXTS, *CHOICES, *REFERENCES)}
    values |= {path: "on" if at(dumped, path, True) else "" for path in CHECKS}
    spec = reflection.spec
    named = {column.name: column for column in (shape.columns if shape else ())}
    key = set(shape.key) if shape else set()

    def of(name: str, *, on: bool, to: str = "") -> Row:
        native = named[name].native if name in named else ""
        # One that is written and not seen there now is shown like the others: what it says can be kept.
        return Row(on, "source", name, to, "", native, name in key, True)

    rows: list[Row] = []
    for column in spec.columns:
        if column.source is not None:
            rows.append(of(column.source, on=True, to=column.destination or ""))
        else:
            kind = "expression" if column.expression is not None else "system" if column.system is not None else "text"
            kind = "number" if isinstance(column.value, int) else kind
            what = next(one for one in (column.expression, column.system, column.value) if one is not None)
            rows.append(Row(True, kind, str(what), column.destination or "", column.type or ""))
    written = {column.source for column in spec.columns}
    for name in named:
        if name not in written:
            rows.append(of(name, on=not spec.columns and name not in spec.exclude))
    rows += [of(name, on=False) for name in spec.exclude if name not in named]
    keys = tuple((one.source or "", one.destination or "") for one in spec.key)
    return Form(values, tuple(rows), keys, bool(spec.columns)).with_room()


def of_post(posted: Mapping[str, str], shape: TableShape | None, before: Form | None = None) -> Form:
    """The form as somebody sent it. before: of the object that is changed, whose names stay to the last blank."""
    named = {column.name: column for column in (shape.columns if shape else ())}
    key = set(shape.key) if shape else set()
    posted = {name: value.replace("\r\n", "\n") for name, value in posted.items()}
    values = {path: posted.get(path, "") for path in (*TEXTS, *CHOICES, *REFERENCES, *CHECKS)}
    listed = before or Form({})
    kept = _by_sent(text for row in listed.rows for text in (row.what, row.to, row.type))
    kept |= _by_sent(text for pair in listed.keys for text in pair)

    def name(text: str) -> str:
        return kept.get(text, text.strip())

    rows = []
    for number in _numbers(posted, "c"):
        kind, what = posted.get(f"c{number}.kind", "source"), posted.get(f"c{number}.what", "")
        if kind in ("source", "system") and f"c{number}.there" not in posted:
            what = name(what)
        there = kind == "source" and what in named and f"c{number}.there" in posted
        rows.append(
            Row(
                on=f"c{number}.on" in posted,
                kind=kind if kind in KINDS else "source",
                what=what,
                to=name(posted.get(f"c{number}.to", "")),
                type=name(posted.get(f"c{number}.type", "")),
                native=named[what].native if there else "",
                key=there and what in key,
                there=there or f"c{number}.there" in posted,
            )
        )
    keys = [(name(posted.get(f"k{n}.source", "")), name(posted.get(f"k{n}.to", ""))) for n in _numbers(posted, "k")]
    return Form(values, tuple(rows), tuple(keys), posted.get("columns") == "listed")


def _by_sent(texts: Iterable[str]) -> dict[str, str]:
    """Texts by what a browser sends of them from a field of one line: without the ends of lines."""
    return {text.replace("\r", "").replace("\n", ""): text for text in texts}


@dataclass(frozen=True)
class Read:
    """What a form came to: a Reflection, or what is wrong with it."""

    reflection: Reflection | None = None
    problems: tuple[Problem, ...] = ()
    columns: tuple[int, ...] = field(default=())
    """Of each item of `spec.columns`, the number of its row."""


def read(form: Form, before: Reflection | None) -> Read:
    """The Reflection that the form asks for. before: the one that is changed, whose metadata it keeps, and what cannot
    be changed of it."""
    kept = of_reflection(before, None).values if before else {}
    values = {
        path: text if path in _SQL else _by_sent([kept.get(path, "")]).get(text, text.strip())
        for path, text in form.values.items()
    }
    values |= {path: text for path, text in kept.items() if path in FIXED}
    spec: dict[str, Any] = {}
    for path in (*TEXTS, *CHOICES, *REFERENCES[2:]):
        if values.get(path, "").strip():
            put(spec, path, values[path])
    for path in CHECKS:
        # Of something that is not wanted at all, no half is said.
        if path != "spec.verify.repair" or values.get("spec.verify.every"):
            put(spec, path, form.checked(path))
    rows = [(number, row) for number, row in enumerate(form.rows) if not row.blank]
    numbers: tuple[int, ...] = ()
    nothing = False
    if form.lists:
        numbers = tuple(number for number, row in rows if row.on)
        spec["columns"] = [form.rows[number].item() for number in numbers]
        nothing = not numbers
    else:
        spec["exclude"] = [row.what for _, row in rows if not row.on]
        nothing = any(row.native for _, row in rows) and not any(row.on for _, row in rows)
    spec["key"] = [
        {name: text for name, text in (("source", source), ("destination", to)) if text}
        for source, to in form.keys
        if source or to
    ]
    metadata: dict[str, Any]
    if before is None:
        metadata = {"name": values.get("metadata.name", "")}
        metadata |= {"namespace": values["metadata.namespace"]} if values.get("metadata.namespace") else {}
    else:
        metadata = before.model_dump(mode="json", by_alias=True, exclude_defaults=True)["metadata"]
    body = {"apiVersion": API_VERSION, "kind": "Reflection", "metadata": metadata, "spec": spec}
    more = (Problem("choose one column at least", "spec.columns"),) if nothing else ()
    try:
        return Read(reading.parse(Reflection, body), more, numbers)
    except errors.SpecErrors as error:
        return Read(None, (*(Problem(str(one.args[0]), one.path) for one in error.errors), *more), numbers)


def raw(before: Resource, written: Mapping[str, Any], after: Resource) -> dict[str, Any]:
    """What is to be written: what is different between the two, put into what is written now."""
    return revising.merged(written, _whole(before), _whole(after))


def _whole(one: Resource) -> dict[str, Any]:
    return one.model_dump(mode="json", by_alias=True, exclude_none=True, include={"spec", "metadata"})


def fields(problems: Iterable[Problem], form: Form, numbers: Sequence[int]) -> dict[str, str]:
    """The message at each field of the form, by the field's name; what belongs to none of them is at "" ."""
    found: dict[str, str] = {}
    for one in problems:
        name = _name(one.path, form, numbers)
        found[name] = f"{found[name]}; {one.message}" if name in found else one.message
    return found


def _name(path: str, form: Form, numbers: Sequence[int]) -> str:
    if path in (*TEXTS, *CHOICES, *CHECKS, *REFERENCES, "spec.columns", "spec.key", "source"):
        return path
    if (inside := re.match(r"spec\.columns\[(\d+)\](?:\.(\w+))?", path)) and int(inside[1]) < len(numbers):
        last = {"destination": "to", "type": "type"}.get(inside[2] or "", "what")
        return f"c{numbers[int(inside[1])]}.{last}"
    if inside := re.match(r"spec\.exclude\[(\d+)\]", path):
        out = [number for number, row in enumerate(form.rows) if not row.blank and not row.on]
        return f"c{out[int(inside[1])]}.what" if int(inside[1]) < len(out) else "spec.columns"
    if inside := re.match(r"spec\.key\[(\d+)\](?:\.(\w+))?", path):
        given = [number for number, pair in enumerate(form.keys) if any(pair)]
        last = "to" if inside[2] == "destination" else "source"
        return f"k{given[int(inside[1])]}.{last}" if int(inside[1]) < len(given) else "spec.key"
    parent = path.rpartition(".")[0]
    return next((known for known in (f"{path}.name", f"{path}.column", f"{path}.every") if known in _ALL), "") or (
        _name(parent, form, numbers) if parent else ""
    )


_ALL = frozenset((*TEXTS, *CHOICES, *CHECKS, *REFERENCES))


def _numbers(posted: Mapping[str, str], letter: str) -> list[int]:
    found = {int(match[1]) for name in posted if (match := re.fullmatch(rf"{letter}([0-9]{{1,4}})\.\w+", name))}
    return sorted(found)


def at(dumped: Mapping[str, Any], path: str, otherwise: Any = None) -> Any:
    """The value at a path, or `otherwise`."""
    here: Any = dumped
    for step in path.split("."):
        if not isinstance(here, Mapping) or step not in here:
            return otherwise
        here = here[step]
    return here


def put(spec: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path, `spec.…`."""
    *steps, last = path.removeprefix("spec.").split(".")
    here = spec
    for step in steps:
        here = here.setdefault(step, {})
    here[last] = value
