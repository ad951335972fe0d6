"""A Database or a SourceTable as a form, and a form as one. Which fields it shows is said here; what they take, in the
schema that manifests are held to. What it does not show (`options`, what shapes a pod) stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pantograph import errors
from pantograph.api import reading
from pantograph.api.base import API_VERSION, Resource
from pantograph.api.databases import Database
from pantograph.api.sourcetables import SourceTable
from pantograph.console import forms
from pantograph.console.stores import Login, Problem

KINDS: Mapping[str, type[Database] | type[SourceTable]] = {"databases": Database, "sourcetables": SourceTable}
NAME, NAMESPACE = "metadata.name", "metadata.namespace"
USERNAME, PASSWORD = "login.username", "login.password"
"""Fields of a Secret that is to be made; a password goes in and never comes out."""


@dataclass(frozen=True)
class Part:
    """Fields that belong together: path and label of each. open: whether they are seen at once."""

    title: str
    fields: tuple[tuple[str, str], ...]
    open: bool = False


PARTS: Mapping[str, tuple[Part, ...]] = {
    "databases": (
        Part(
            "Where it is",
            (
                ("spec.dialect", "Engine"),
                ("spec.host", "Host"),
                ("spec.port", "Port"),
                ("spec.database", "Name of the database"),
                ("spec.path", "File"),
                ("spec.credentials.secretName", "Secret"),
            ),
            open=True,
        ),
        Part(
            "When it is read: pace, pause, hours",
            (
                ("spec.reflector.paused", "Paused"),
                ("spec.reflector.pollInterval", "Look every"),
                ("spec.reflector.wakeUp", "Look when"),
                ("spec.reflector.connections", "Connections at most"),
                ("spec.reflector.batchRows", "Keys in a batch"),
                ("spec.reflector.batchBytes", "Bytes in a batch"),
                ("spec.reflector.maxTransactionRows", "Rows in a transaction"),
                ("spec.reflector.sweep.parallel", "Tables copied at once"),
                ("spec.reflector.sweep.maxRowsPerSecond", "Rows a second, of all copies"),
                ("spec.reflector.sweep.window", "Hours for copying again"),
            ),
        ),
        Part(
            "Encryption, keys of the Secret, whose SQL it runs",
            (
                ("spec.tls.mode", "Encryption"),
                ("spec.tls.caSecretName", "Secret with authorities"),
                ("spec.tls.clientSecretName", "Secret with our certificate"),
                ("spec.credentials.usernameKey", "Key of the user's name"),
                ("spec.credentials.passwordKey", "Key of the password"),
                ("spec.credentials.hostKey", "Key of the host"),
                ("spec.credentials.portKey", "Key of the port"),
                ("spec.credentials.databaseKey", "Key of the database's name"),
                ("spec.allow.expressions", "Reflections may bring conditions and expressions"),
                ("spec.allow.statements", "Reflections may bring statements"),
                ("spec.captureSchema", "Schema of our tables"),
            ),
        ),
    ),
    "sourcetables": (
        Part(
            "How long changes may wait",
            (
                ("spec.retention.maxAge", "Age at most"),
                ("spec.retention.maxRows", "Changes at most"),
                ("spec.deletionPolicy", "When this object goes, its capture is"),
            ),
            open=True,
        ),
    ),
}
OPTIONAL = {"spec.credentials": "spec.credentials.secretName", "spec.tls": "spec.tls.mode"}
"""Parts of a spec that are there only when this field of theirs says something."""


def field(path: str, plural: str = "reflections") -> forms.Field:
    """What a person is told of a field."""
    found = forms.field_of(path, plural)
    if path in OPTIONAL.values() and found.choices:
        return replace(found, choices=("", *found.choices))
    return found


def fixed(before: Resource | None) -> frozenset[str]:
    """Fields that cannot be changed of an object that is there."""
    if before is None:
        return frozenset()
    spec = before.spec  # type: ignore[attr-defined]  # every kind has one
    return frozenset(f"spec.{rule.field}" for rule in spec.RULES if rule.holds is None)


def values_of(one: Resource) -> dict[str, str]:
    """What the form says of an object: every field that it shows, with its default where nothing else is written."""
    dumped = one.model_dump(mode="json", by_alias=True, exclude_none=True)
    found = {NAME: one.name, NAMESPACE: one.namespace}
    for path in _paths(one.PLURAL):
        value = forms.at(dumped, path)
        found[path] = ("on" if value else "") if isinstance(value, bool) else "" if value is None else str(value)
    return found


def empty(namespace: str) -> dict[str, str]:
    """The form of a Database that is yet to be made: its defaults."""
    body = {"metadata": {"name": "new", "namespace": namespace}, "spec": {"dialect": "sqlite", "path": "new"}}
    blank = {NAME: "", "spec.dialect": "postgresql", "spec.path": ""}
    return values_of(reading.parse(Database, body)) | blank


def posted(sent: Mapping[str, str], plural: str, before: Resource | None) -> dict[str, str]:
    """The form as somebody sent it. What cannot be changed is not taken from it."""
    found = {path: sent.get(path, "").strip() for path in (NAME, NAMESPACE, USERNAME, *_paths(plural))}
    found[PASSWORD] = sent.get(PASSWORD, "")
    if before is not None:
        kept = values_of(before)
        found |= {path: kept[path] for path in (NAME, NAMESPACE, *(fixed(before) & kept.keys()))}
    return found


@dataclass(frozen=True)
class Read:
    """What a form came to: an object, or what is wrong with it."""

    wanted: Database | SourceTable | None = None
    problems: tuple[Problem, ...] = ()
    login: Login | None = None


def read(values: Mapping[str, str], plural: str, before: Resource | None) -> Read:
    """The object that the form asks for; what it does not show is as it was before."""
    kept = before.model_dump(mode="json", by_alias=True, exclude_none=True) if before else {}
    spec: dict[str, Any] = dict(_copied(kept.get("spec", {})))
    login = None
    if values.get(USERNAME) or values.get(PASSWORD):
        login = Login(values.get("spec.credentials.secretName") or values[NAME], values[USERNAME], values[PASSWORD])
        values = {**values, "spec.credentials.secretName": login.secret}
    for path in _paths(plural):
        what = field(path, plural)
        text = values.get(path, "")
        parent = path.rpartition(".")[0]
        if what.type == "boolean":
            forms.put(spec, path, text == "on")
        elif text and (parent not in OPTIONAL or values.get(OPTIONAL[parent])):
            forms.put(spec, path, int(text) if what.type == "integer" and re.fullmatch(r"[0-9]{1,18}", text) else text)
        else:
            _take_out(spec, path)
    for part, switch in OPTIONAL.items():
        if not values.get(switch):
            spec.pop(part.removeprefix("spec."), None)
    metadata = kept.get("metadata") or {"name": values[NAME], "namespace": values[NAMESPACE] or "default"}
    body = {"apiVersion": API_VERSION, "kind": KINDS[plural].KIND, "metadata": metadata, "spec": spec}
    missing = () if login is None or (login.username and login.password) else (
        Problem("a user and a password make a Secret; one of them is missing", PASSWORD),
    )  # fmt: skip
    try:
        return Read(reading.parse(KINDS[plural], body), missing, login)
    except errors.SpecErrors as error:
        return Read(None, (*(Problem(str(one.args[0]), one.path) for one in error.errors), *missing))


def fields(problems: Iterable[Problem], plural: str) -> dict[str, str]:
    """The message at each field of the form, by its path; what belongs to none of them is at "" ."""
    known = {*_paths(plural), NAME, NAMESPACE, PASSWORD}
    found: dict[str, str] = {}
    for one in problems:
        name = one.path if one.path in known else OPTIONAL.get(one.path, "")
        message = one.message if name or not one.path else f"{one.path}: {one.message}"
        found[name] = f"{found[name]}; {message}" if name in found else message
    return found


def _paths(plural: str) -> list[str]:
    return [path for part in PARTS[plural] for path, _ in part.fields]


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _take_out(spec: dict[str, Any], path: str) -> None:
    *steps, last = path.removeprefix("spec.").split(".")
    here: Any = spec
    for step in steps:
        here = here.get(step, {})
    here.pop(last, None)
