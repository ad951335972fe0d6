"""Every field: written as documented it is read, written wrongly it is one line with its path."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pantograph import errors
from pantograph.api import reading
from pantograph.api.base import Resource
from pantograph.api.databases import Database
from pantograph.api.sourcetables import SourceTable
from tests.unit.api.everything import KINDS, Field, fields, manifest

FIELDS = [field for kind in KINDS for field in fields(kind)]
of_each_field = pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.kind.KIND}:{field}")
of_each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)


def lines(kind: type[Resource], body: dict[str, Any]) -> list[str]:
    with pytest.raises(errors.SpecErrors) as caught:
        reading.parse(kind, body)
    return str(caught.value).splitlines()


def read(kind: type[Resource], body: dict[str, Any]) -> Resource:
    """The object, whatever its rules across fields say."""
    found = reading.read(kind, body, reading.Findings(), reading.Origin())
    assert found is not None
    return found


@of_each_kind
def test_a_manifest_with_every_field_is_read_and_written_again_the_same(kind: type[Resource]) -> None:
    body = manifest(kind)
    again = read(kind, body).manifest()
    assert read(kind, again) == read(kind, body)
    assert again["spec"] == body["spec"]


@of_each_field
def test_every_field_is_in_the_manifest_that_has_every_field(field: Field) -> None:
    here: Any = manifest(field.kind)
    for step in field.path:
        here = here[step]
    assert here != field.default


@of_each_field
def test_a_value_of_another_type_is_one_line_with_the_path(field: Field) -> None:
    for wrong in field.wrong():
        found = lines(field.kind, field.put(manifest(field.kind), wrong))
        assert len(found) == 1, (wrong, found)
        assert re.match(rf"{field.kind.KIND} [a-z-]+: {re.escape(str(field))}: found .+, expected .+$", found[0]), found
        assert "pydantic" not in found[0]
        assert "something else" not in found[0]


@of_each_field
def test_null_is_the_same_as_leaving_the_field_out(field: Field) -> None:
    if isinstance(field.path[-1], int):
        return
    body = field.put(manifest(field.kind), None)
    if field.required:
        (line,) = lines(field.kind, body)
        assert f"{field}: missing, expected " in line
    else:
        read(field.kind, body)


@of_each_field
def test_a_required_field_that_is_missing_says_what_it_wants(field: Field) -> None:
    if not field.required:
        return
    body = manifest(field.kind)
    here: Any = body
    for step in field.path[:-1]:
        here = here[step]
    del here[field.path[-1]]
    (line,) = lines(field.kind, body)
    assert f"{field}: missing, expected " in line


@of_each_field
def test_a_misspelt_field_is_refused_and_the_right_one_named(field: Field) -> None:
    name = field.path[-1]
    if isinstance(name, int) or field.description == "a value" or len(name) < 5:
        return
    wrong = name[:-2] + name[-1] + name[-2] if name[-1] != name[-2] else name + "s"
    body = manifest(field.kind)
    here: Any = body
    for step in field.path[:-1]:
        here = here[step]
    here[wrong] = here.pop(name)
    found = [line for line in lines(field.kind, body) if "no such field" in line]
    assert len(found) == 1
    assert found[0].endswith(f"(did you mean {name}?)")


@of_each_field
def test_python_names_are_no_fields(field: Field) -> None:
    name = str(field.path[-1])
    snake = re.sub("([A-Z])", r"_\1", name).lower()
    if snake == name:
        return
    body = manifest(field.kind)
    here: Any = body
    for step in field.path[:-1]:
        here = here[step]
    here[snake] = here.pop(name)
    assert any(f"no such field (did you mean {name}?)" in line for line in lines(field.kind, body))


@of_each_field
def test_every_field_says_what_it_is(field: Field) -> None:
    assert field.description


@of_each_kind
def test_several_wrong_fields_are_as_many_lines(kind: type[Resource]) -> None:
    body = manifest(kind)
    wrong = [field for field in fields(kind) if len(field.path) == 2]
    for field in wrong:
        field.put(body, field.wrong()[0])
    assert len(lines(kind, body)) == len(wrong)


@of_each_kind
def test_unknown_fields_are_tolerated_when_told_so(kind: type[Resource]) -> None:
    body = manifest(kind)
    body["spec"]["fromTheFuture"] = {"a": 1}
    body["more"] = 1
    assert len(lines(kind, body)) == 2
    found = reading.read(kind, body, findings := reading.Findings(), reading.Origin(), tolerant=True)
    assert found == read(kind, manifest(kind))
    assert not [error for error in findings.errors if "no such field" in str(error)]


@of_each_kind
def test_status_counts_in_a_cluster_and_not_in_a_file(kind: type[Resource]) -> None:
    body = manifest(kind) | {"status": {"observedGeneration": 7}}
    assert read(kind, body).model_dump()["status"]["observedGeneration"] == -1
    in_cluster = reading.read(kind, body, reading.Findings(), reading.Origin(), tolerant=True)
    assert in_cluster is not None
    assert in_cluster.model_dump()["status"]["observedGeneration"] == 7


@of_each_kind
def test_what_the_api_server_adds_to_metadata_is_taken(kind: type[Resource]) -> None:
    body = manifest(kind)
    body["metadata"] |= {
        "uid": "b9",
        "generation": 3,
        "resourceVersion": "12",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 0,
        "finalizers": ["pantograph.dev/finalizer"],
        "ownerReferences": [{"kind": "X"}],
        "managedFields": [{"manager": "kubectl"}],
    }
    found = read(kind, body)
    assert (found.metadata.generation, found.being_deleted) == (3, True)


@of_each_kind
@pytest.mark.parametrize("name", ["Shop", "a_b", "-a", "a-", "a b", "ä", "a..b", "", "a" * 254])
def test_a_name_that_is_no_dns_name_is_refused(kind: type[Resource], name: str) -> None:
    body = manifest(kind)
    body["metadata"]["name"] = name
    (line,) = lines(kind, body)
    assert "metadata.name: found" in line


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(FIELDS), ANYTHING)
def test_whatever_is_written_is_read_or_told_in_whole_lines(field: Field, value: Any) -> None:
    findings = reading.Findings()
    found = reading.read(field.kind, field.put(manifest(field.kind), value), findings, reading.Origin("f.yaml"))
    assert found is not None or findings.errors
    for error in findings.errors:
        assert "something else" not in str(error)
        assert "\n" not in str(error)


SECRET = "hunter2"


@of_each_field
def test_what_may_be_a_secret_is_never_repeated(field: Field) -> None:
    """A password in the wrong place ends up in CI logs otherwise."""
    harmful = ("host", "path", "database", "credentials", "tls", "options", "env", "resources", "where", "statement")
    if not any(str(step) in harmful for step in field.path) or str(field.path[-1]).endswith(("Key", "Name", "mode")):
        return
    for wrong in (SECRET * 9999, [SECRET], {SECRET[:3]: SECRET}, {"a": [SECRET]}):
        found = reading.Findings()
        reading.read(field.kind, field.put(manifest(field.kind), wrong), found, reading.Origin())
        assert SECRET not in str([str(error) for error in found.errors])


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("spec", "a mapping with dialect"),
        ("spec.credentials", "a mapping with secretName"),
        ("spec.tls", "a mapping"),
        ("spec.reflector", "a mapping"),
        ("spec.options", "a mapping"),
    ],
)
def test_a_url_where_a_mapping_belongs_is_not_repeated(path: str, wanted: str) -> None:
    body = manifest(Database)
    here = body
    *parents, last = path.split(".")
    for step in parents:
        here = here[step]
    here[last] = "postgresql://me:hunter2@host/db"
    assert lines(Database, body) == [f"Database shop: {path}: found a text, expected {wanted}"]


def test_texts_are_shown_in_one_line_and_cut() -> None:
    body = manifest(SourceTable)
    body["spec"]["deletionPolicy"] = "a\nb" * 100
    (line,) = lines(SourceTable, body)
    assert json.dumps("a\nb")[:-1] in line
    assert len(line) < 200
