"""A Reflection as a form and back: every field can be read and changed, and nothing else changes on the way."""

import copy
import dataclasses

import pytest

from pantograph.api import reading
from pantograph.api.reflections import Reflection
from pantograph.console import forms
from pantograph.model.tables import Column, TableShape
from pantograph.model.types import Kind, LogicalType
from tests.unit.api import everything

SHAPE = TableShape(
    "public",
    "orders",
    tuple(Column(name, LogicalType(Kind.TEXT), "text") for name in ("id", "qty", "secret")),
    ("id",),
)


def whole():
    """Every field of a Reflection away from its default, and none that excludes another."""
    body = copy.deepcopy(everything.manifest(Reflection))
    body["spec"]["columns"] = [
        {"source": "id"},
        {"source": "qty", "destination": "quantity"},
        {"expression": "price * qty", "destination": "total", "type": "numeric(12,2)"},
        {"value": "eu", "destination": "region"},
        {"value": 5, "destination": "five"},
        {"value": "5", "destination": "text"},
        {"system": "appliedAt", "destination": "synced"},
    ]
    del body["spec"]["exclude"]
    return body


def parsed(body):
    return reading.parse(Reflection, body)


def sent(form):
    """What a browser sends of a form."""
    posted = {path: value for path, value in form.values.items() if path not in forms.CHECKS or value}
    for number, row in enumerate(form.rows):
        posted |= {f"c{number}.{name}": getattr(row, name) for name in ("kind", "what", "to", "type")}
        posted |= {f"c{number}.on": "on"} if row.on else {}
        posted |= {f"c{number}.there": "1"} if row.there else {}
    for number, (source, to) in enumerate(form.keys):
        posted |= {f"k{number}.source": source, f"k{number}.to": to}
    return posted | {"columns": "listed" if form.lists else "all"}


SPECS = {
    "every field": whole()["spec"],
    "hardly any": {"sourceTableRef": {"name": "a"}, "destination": {"databaseRef": {"name": "b"}, "table": "c"}},
    "left out": {
        "sourceTableRef": {"name": "a"},
        "destination": {"databaseRef": {"name": "b"}, "table": "c"},
        "exclude": ["secret", "gone"],
    },
    "a column twice": {
        "sourceTableRef": {"name": "a"},
        "destination": {"databaseRef": {"name": "b"}, "table": "c"},
        "columns": [{"source": "id"}, {"source": "id", "destination": "again"}],
    },
    "lines": {
        "sourceTableRef": {"name": "a"},
        "destination": {"databaseRef": {"name": "b"}, "table": "c"},
        "where": " a\n  = 1 ",
    },
}


@pytest.mark.parametrize("shape", [SHAPE, None], ids=["seen", "unseen"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_form_that_nobody_touches_says_the_same_as_before(spec, shape):
    before = parsed(whole() | {"spec": spec})
    form = forms.of_post(sent(forms.of_reflection(before, shape)), shape)
    read = forms.read(form, before)
    assert read.problems == ()
    assert read.reflection == before
    assert forms.raw(before, whole() | {"spec": spec}, read.reflection) == whole() | {"spec": spec}


@pytest.mark.parametrize("path", [*forms.TEXTS, *forms.CHOICES, *forms.CHECKS])
def test_every_field_can_be_changed_and_only_it_changes(path):
    body = whole()
    if path == "spec.onDelete":  # all but Mark go without softDelete
        body["spec"] |= {"onDelete": "Delete"}
        del body["spec"]["softDelete"]
    before = parsed(body)
    form = forms.of_reflection(before, SHAPE)
    was = form.values[path]
    if path in forms.CHECKS:
        value = "" if was else "on"
    elif path in forms.CHOICES:
        value = next(one for one in forms.field_of(path).choices if one not in (was, ""))
    else:
        value = "1h" if path.endswith("every") else "other"
    form = dataclasses.replace(form, values={**form.values, path: value})
    read = forms.read(forms.of_post(sent(form), SHAPE), before)
    assert read.problems == ()
    changed = forms.raw(before, body, read.reflection)
    here = body
    *steps, last = path.split(".")
    for step in steps:
        here = here[step]
    here[last] = (value == "on") if path in forms.CHECKS else value
    assert changed == body


def test_every_field_of_a_reflection_is_in_the_form():
    shown = {path.removeprefix("spec.") for path in (*forms.TEXTS, *forms.CHOICES, *forms.CHECKS, *forms.REFERENCES)}
    shown |= {"columns", "exclude", "key"}
    found = {
        ".".join(str(step) for step in field.path if not isinstance(step, int)).removeprefix("spec.")
        for field in everything.fields(Reflection)
        if field.path[0] == "spec"
    }
    leaves = {path for path in found if not any(other.startswith(f"{path}.") for other in found)}
    assert {path for path in leaves if path not in shown and path.partition(".")[0] not in ("columns", "key")} == set()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("spec.columns[1].expression", "c2.what"),
        ("spec.columns[1].destination", "c2.to"),
        ("spec.key[0].source", "k1.source"),
        ("spec.where", "spec.where"),
        ("spec.softDelete", "spec.softDelete.column"),
        ("spec.verify", "spec.verify.every"),
        ("spec.destination.databaseRef", "spec.destination.databaseRef.name"),
        ("spec.columns", "spec.columns"),
        ("metadata.name", "metadata.name"),
        ("spec.unknown", ""),
        ("", ""),
    ],
)
def test_a_message_stands_at_the_field_that_it_is_about(path, name):
    form = forms.Form(
        {},
        (forms.Row(True, what="a", there=True), forms.Row(False, what="b", there=True), forms.Row(True, what="c")),
        (("", ""), ("x", "")),
        True,
    )
    assert forms.fields([forms.Problem("no", path)], form, (0, 2)) == {name: "no"}


def test_no_column_at_all_is_said_where_they_are_chosen():
    before = parsed(whole() | {"spec": SPECS["hardly any"]})
    form = forms.of_reflection(before, SHAPE)
    none = dataclasses.replace(form, rows=tuple(dataclasses.replace(row, on=False) for row in form.rows))
    assert [one.path for one in forms.read(none, before).problems] == ["spec.columns"]


def test_a_name_for_a_column_makes_the_columns_listed():
    before = parsed(whole() | {"spec": SPECS["hardly any"]})
    form = forms.of_reflection(before, SHAPE)
    rows = (dataclasses.replace(form.rows[0], to="number"), *form.rows[1:])
    read = forms.read(dataclasses.replace(form, rows=rows), before)
    assert [column.name for column in read.reflection.spec.columns] == ["number", "qty", "secret"]
