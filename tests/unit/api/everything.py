"""Manifests with every field, and a walk over all fields of the kinds: what the tests of this folder go by."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import yaml

from pantograph.api import values
from pantograph.api.base import Model, Resource, camel
from pantograph.api.databases import Database
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable

KINDS: tuple[type[Resource], ...] = (Database, SourceTable, Reflection)

TEXT = """
apiVersion: pantograph.dev/v1alpha1
kind: Database
metadata: {name: shop}
spec:
  dialect: postgresql
  host: shop-db
  port: 5432
  database: shop
  path: /data/shop.db
  credentials:
    secretName: shop-db
    usernameKey: user
    passwordKey: pass
    hostKey: address
    portKey: door
    databaseKey: dbname
  tls: {mode: verify-ca, caSecretName: shop-ca, clientSecretName: shop-client}
  options: {application_name: pantograph, connect_timeout: 5}
  allow: {statements: true, expressions: false}
  captureSchema: ours
  reflector:
    pollInterval: 50ms
    wakeUp: Notify
    batchRows: 1000
    batchBytes: 1Mi
    maxTransactionRows: 100000
    connections: 4
    sweep: {parallel: 1, maxRowsPerSecond: 5000, window: "22:00-06:00"}
    paused: true
    resources: {requests: {cpu: 100m}, limits: {memory: 512Mi}}
    nodeSelector: {disk: fast}
    tolerations: [{operator: Exists}]
    affinity: {nodeAffinity: {}}
    topologySpreadConstraints: [{maxSkew: 1}]
    priorityClassName: high
    volumes: [{name: data, emptyDir: {}}]
    volumeMounts: [{name: data, mountPath: /data}]
    env: [{name: TZ, value: UTC}]
    podAnnotations: {a: b}
    podLabels: {a: b}
---
apiVersion: pantograph.dev/v1alpha1
kind: SourceTable
metadata: {name: orders}
spec:
  databaseRef: {name: shop}
  schema: public
  table: orders
  keyColumns: [id, region]
  retention: {maxAge: 3d, maxRows: 1000}
  deletionPolicy: Orphan
---
apiVersion: pantograph.dev/v1alpha1
kind: Reflection
metadata: {name: orders-to-warehouse, annotations: {pantograph.dev/allow-deletes: "1500"}}
spec:
  sourceTableRef: {name: orders}
  destination:
    databaseRef: {name: warehouse}
    schema: sales
    table: orders
    createTable: false
    existing: Keep
    cascade: Accept
  stream: slow
  columns:
  - {source: id, expression: a + 1, value: eu, system: appliedAt, destination: id, type: "numeric(12,2)"}
  exclude: [secret]
  key: [{source: id, destination: id}]
  where: status <> 'draft'
  missingRow: Wait
  onDelete: Mark
  softDelete: {column: deleted_at}
  statement: select 1
  deleteStatement: select 2
  onError: DeadLetter
  onPositionLost: Stop
  schemaChange: {added: Ignore, dropped: Stop, retyped: Stop}
  verify: {every: 12h, repair: false}
  initialSnapshot: false
  resyncToken: again
  paused: true
"""
"""Every field once, none at its default. Types are right; that some fields exclude each other is not minded here."""


_BODIES: dict[str, dict[str, Any]] = {body["kind"]: body for body in yaml.safe_load_all(TEXT)}


def manifest(kind: type[Resource]) -> dict[str, Any]:
    """The manifest of a kind with every field; a copy to do with as you like."""
    return copy.deepcopy(_BODIES[kind.KIND])


@dataclass(frozen=True)
class Field:
    """One field of a kind, with its path as users write it; `[0]` for an item of a list."""

    kind: type[Resource]
    path: tuple[str | int, ...]
    wanted: Any
    required: bool
    default: Any
    description: str

    def __str__(self) -> str:
        text = ""
        for step in self.path:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
        return text

    def put(self, body: dict[str, Any], value: Any) -> dict[str, Any]:
        """The manifest with another value here."""
        here: Any = body
        for step in self.path[:-1]:
            here = here[step]
        here[self.path[-1]] = value
        return body

    def wrong(self) -> list[Any]:
        """Values that are not of this field's type."""
        wanted = self.wanted
        if isinstance(wanted, (values.Duration,)):
            return [5, True, [], {}, "5", "5 minutes", "-1s", "", "1us", "99999999d", "1ms" * 20]
        if isinstance(wanted, values.Size):
            return [True, 1.5, [], {}, "16Mb", "-1", "", -1, 1, "999999999999999Gi"]
        if isinstance(wanted, values.DailyHours):
            return [5, True, [], {}, "22:00", "25:00-06:00", "22:00-6:00", ""]
        if isinstance(wanted, values.Whole):
            return [True, 1.5, [], {}, "5", wanted.least - 1, wanted.most + 1]
        if isinstance(wanted, values.NumberOrText):
            return [True, 1.5, [], {}]
        if isinstance(wanted, values.Text):
            bounds = [""] if wanted.least else []
            return [5, True, 1.5, [], {}, "x" * (wanted.most + 1), *bounds]
        if isinstance(wanted, values.Free):
            return [5, True, "text", []]
        if get_origin(wanted) is Literal:
            return [5, True, [], {}, "Nonsense"]
        if wanted is bool:
            return [5, "true", "yes", [], {}]
        if get_origin(wanted) is tuple:
            return [5, True, "text", {}]
        return [5, True, "text", []]


def fields(kind: type[Resource]) -> list[Field]:
    """Every field under `spec` of a kind, those of items of lists and values of mappings included."""
    (model,) = _models(kind.model_fields["spec"].annotation)
    return list(_fields(kind, model, ("spec",)))


def _fields(kind: type[Resource], model: type[Model], path: tuple[str | int, ...]) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        here = (*path, info.alias or camel(name))
        worded = [entry for entry in info.metadata if isinstance(entry, values.Worded)]
        annotation = worded[0] if worded else _inner(info.annotation)
        default = None if info.is_required() else info.default
        yield Field(kind, here, annotation, info.is_required(), default, info.description or "")
        yield from _below(kind, annotation, here)


def _below(kind: type[Resource], annotation: Any, path: tuple[str | int, ...]) -> Iterator[Field]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield from _fields(kind, annotation, path)
    elif get_origin(annotation) is tuple:
        item = _inner(get_args(annotation)[0])
        if isinstance(item, type) and issubclass(item, Model):
            yield from _fields(kind, item, (*path, 0))
        else:
            yield Field(kind, (*path, 0), item, False, None, "an item")
    elif get_origin(annotation) is dict:
        key = next(iter(_at(manifest(kind), path)))
        yield Field(kind, (*path, key), _inner(get_args(annotation)[1]), False, None, "a value")


def _at(body: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        body = body[step]
    return body


def _inner(annotation: Any) -> Any:
    worded = [entry for entry in getattr(annotation, "__metadata__", ()) if isinstance(entry, values.Worded)]
    if worded:
        return worded[0]
    if get_origin(annotation) in (Literal, tuple, dict, None):
        return annotation
    return _inner(next(part for part in get_args(annotation) if part is not type(None)))


def _models(annotation: Any) -> list[type[Model]]:
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Model) else []
