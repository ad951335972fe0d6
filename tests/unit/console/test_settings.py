"""A Database or a SourceTable as a form and back: what nobody changed stays, and no field is forgotten."""

import copy

import pytest

from pantograph.api import reading, schema
from pantograph.api.databases import Database
from pantograph.api.sourcetables import SourceTable
from pantograph.console import forms, settings
from tests.unit.api import everything

OF_A_POD = (
    "resources", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName", "volumes",
    "volumeMounts", "env", "podAnnotations", "podLabels",
)  # fmt: skip
NOT_SHOWN = {
    "databases": {"spec.options", *(f"spec.reflector.{name}" for name in OF_A_POD)},
    "sourcetables": {"spec.databaseRef.name", "spec.schema", "spec.table", "spec.keyColumns"},
}


def whole(kind):
    """One with every field away from its default, and none that excludes another."""
    body = copy.deepcopy(everything.manifest(kind))
    if kind is Database:
        body["spec"].pop("path", None)
        body["spec"]["dialect"] = "postgresql"
        body["spec"]["tls"] = {"mode": "verify-ca", "caSecretName": "ca", "clientSecretName": "client"}
    return reading.parse(kind, body)


def back(values, one):
    sent = {path: value for path, value in values.items() if value != ""}
    return settings.read(settings.posted(sent, one.PLURAL, one), one.PLURAL, one)


def leaves(here, path="spec"):
    for name, below in here["properties"].items():
        if "properties" in below and f"{path}.{name}" not in NOT_SHOWN["databases"]:
            yield from leaves(below, f"{path}.{name}")
        else:
            yield f"{path}.{name}"


@pytest.mark.parametrize("plural", ["databases", "sourcetables"])
def test_every_field_is_in_the_form_or_known_not_to_be(plural):
    root = schema.crds()[plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    shown = {path for part in settings.PARTS[plural] for path, _ in part.fields}
    assert shown | NOT_SHOWN[plural] == set(leaves(root["properties"]["spec"]))
    assert not shown & NOT_SHOWN[plural]


@pytest.mark.parametrize("kind", [Database, SourceTable])
def test_what_nobody_changes_stays_as_it_is(kind):
    one = whole(kind)
    read = back(settings.values_of(one), one)
    assert read.problems == ()
    assert read.wanted.spec == one.spec
    written = {"apiVersion": "x", "kind": kind.KIND, "metadata": {"name": one.name}, "spec": {"dialect": "postgresql"}}
    assert forms.raw(one, written, read.wanted) == written


def test_a_field_is_changed_and_taken_out():
    one = whole(Database)
    values = settings.values_of(one) | {"spec.port": "15432", "spec.reflector.paused": "", "spec.tls.mode": ""}
    wanted = back(values, one).wanted
    assert (wanted.spec.port, wanted.spec.reflector.paused, wanted.spec.tls) == (15432, False, None)
    assert wanted.spec.options == one.spec.options
    assert wanted.spec.reflector.resources == one.spec.reflector.resources


def test_what_cannot_be_changed_is_not_taken_from_a_form():
    one = whole(Database)
    values = settings.values_of(one) | {"spec.dialect": "sqlite", "spec.captureSchema": "x", "metadata.name": "other"}
    wanted = back(values, one).wanted
    assert (wanted.name, wanted.spec.dialect, wanted.spec.capture_schema) == (
        one.name, "postgresql", one.spec.capture_schema
    )  # fmt: skip


def test_a_user_and_a_password_are_a_secret_of_the_databases_name():
    values = settings.empty("default") | {"metadata.name": "shop", "spec.host": "h"}
    sent = values | {"login.username": "u", "login.password": " p "}
    read = settings.read(settings.posted(sent, "databases", None), "databases", None)
    assert read.problems == ()
    assert read.wanted.spec.credentials.secret_name == "shop"
    assert (read.login.secret, read.login.username, read.login.password) == ("shop", "u", " p ")
    assert " p " not in repr(read)
    half = settings.read(settings.posted(sent | {"login.password": ""}, "databases", None), "databases", None)
    assert settings.fields(half.problems, "databases").keys() == {"login.password"}
