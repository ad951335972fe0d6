"""Kubernetes Secrets as manifests bring them, and what a Database takes from them. Nothing here shows a value."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pydantic

from pantograph.api.base import Metadata
from pantograph.api.databases import Database
from pantograph.api.reading import Findings, Origin, explain, nearest, without_nulls

_FIELDS = ("apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData")


@dataclass(frozen=True, slots=True)
class Secret:
    """One Secret. `values` has the decoded bytes by key and is not shown."""

    namespace: str
    name: str
    values: Mapping[str, bytes] = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name

    def text(self, key: str) -> str | None:
        """The value of a key as text, without the newline that `echo` leaves; None where it is not there or no text."""
        try:
            return self.values[key].decode().rstrip("\r\n")
        except (KeyError, UnicodeDecodeError):
            return None


@dataclass(frozen=True, slots=True)
class Credentials:
    """User, password and address of a Database, from its spec and its Secret. The password is not shown."""

    username: str = ""
    password: str = field(default="", repr=False)
    host: str | None = None
    port: int | None = None
    database: str | None = None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificates and key of a Database, in PEM, from the Secrets that its `tls` names; None where it names none."""

    authorities: bytes | None = None
    certificate: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)


def read_secret(body: Mapping[str, Any], findings: Findings, origin: Origin) -> Secret | None:
    """A Secret from its manifest, or None and what is wrong with it."""
    before = len(findings.errors)
    metadata = _metadata(body, findings, origin)
    for unknown in body.keys() - set(_FIELDS):
        findings.add(origin, f"no such field{nearest(unknown, _FIELDS)}", unknown)
    values: dict[str, bytes] = {}
    for part, decode, what in (("data", _decoded, "base64"), ("stringData", str.encode, "a text in quotes")):
        entries = body.get(part) or {}
        if not isinstance(entries, dict):
            findings.add(origin, "found something else, expected a mapping", part)
            continue
        for key, value in entries.items():
            try:
                values[key] = decode(value)
            except (TypeError, AttributeError, ValueError):
                findings.add(origin, f"expected {what}", f"{part}.{key}")
    if metadata is None or len(findings.errors) > before:
        return None
    return Secret(metadata.namespace, metadata.name, values)


def credentials(database: Database, secret: Secret | None, findings: Findings, origin: Origin) -> Credentials:
    """What is needed to log in, the spec first and the Secret for what it leaves open."""
    spec, wanted = database.spec, database.spec.credentials
    if wanted is None or secret is None:
        return Credentials(host=spec.host, port=spec.port, database=spec.database)

    def taken(key: str, field_: str, *, needed: bool) -> str | None:
        value = secret.text(key)
        # A key of its own name was asked for by somebody; the usual one an API server fills in by itself.
        if value is None and (needed or key != type(wanted).model_fields[field_].default):
            findings.add(
                origin,
                f"no text {key} in Secret {secret.name}; there are {_keys(secret)}",
                f"spec.credentials.{_CAMEL[field_]}",
            )
        if value is not None and "\0" in value:
            findings.add(origin, f"{key} in Secret {secret.name} has a zero byte", f"spec.credentials.{_CAMEL[field_]}")
        return value

    username = taken(wanted.username_key, "username_key", needed=True)
    password = taken(wanted.password_key, "password_key", needed=True)
    host = spec.host or taken(wanted.host_key, "host_key", needed=False)
    port = taken(wanted.port_key, "port_key", needed=False) if spec.port is None else None
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        findings.add(origin, f"{wanted.port_key} in Secret {secret.name} is no port", "spec.credentials.portKey")
        port = None
    name = spec.database or taken(wanted.database_key, "database_key", needed=False)
    if host is None and spec.path is None:
        findings.add(
            origin,
            f"missing; give it here, or as {wanted.host_key} in Secret {secret.name} (there are {_keys(secret)})",
            "spec.host",
        )
    return Credentials(username or "", password or "", host, spec.port or (int(port) if port else None), name)


def tls_files(database: Database, secrets: Mapping[str, Secret], findings: Findings, origin: Origin) -> TlsFiles:
    """Certificates and key, out of the Secrets by name. Secrets that are not there are for the caller to report."""
    tls = database.spec.tls

    def taken(name: str | None, key: str, field_: str) -> bytes | None:
        secret = secrets.get(name or "")
        if secret is None:
            return None
        if key not in secret.values:
            findings.add(origin, f"no {key} in Secret {secret.name}; there are {_keys(secret)}", f"spec.tls.{field_}")
        return secret.values.get(key)

    if tls is None:
        return TlsFiles()
    return TlsFiles(
        taken(tls.ca_secret_name, "ca.crt", "caSecretName"),
        taken(tls.client_secret_name, "tls.crt", "clientSecretName"),
        taken(tls.client_secret_name, "tls.key", "clientSecretName"),
    )


_CAMEL = {
    "username_key": "usernameKey",
    "password_key": "passwordKey",
    "host_key": "hostKey",
    "port_key": "portKey",
    "database_key": "databaseKey",
}


def _keys(secret: Secret) -> str:
    return ", ".join(sorted(secret.values)) or "none"


def _decoded(value: str) -> bytes:
    # Line breaks within base64 are fine, as they are for the API server.
    return base64.b64decode("".join(value.split()), validate=True)


def _metadata(body: Mapping[str, Any], findings: Findings, origin: Origin) -> Metadata | None:
    try:
        return Metadata.model_validate_json(
            json.dumps(without_nulls(body.get("metadata", {}))), by_alias=True, by_name=False
        )
    except pydantic.ValidationError as error:
        for path, message in explain(Metadata, error.errors(include_url=False)):
            findings.add(origin, message, ".".join(part for part in ("metadata", path) if part))
    return None
