"""The objects of a cluster in place of files: for `pantograph status` and others that are called without `-f`.

With the rights of whoever calls, by their kubeconfig. Status is as the objects say; what asks the databases themselves
reads the Secrets that open them, and needs a way to them from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from pantograph import errors
from pantograph.api import reading
from pantograph.api.base import Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import Key, Manifests
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.cli.files import InCluster
from pantograph.kube import secrets
from pantograph.kube.objects import Cluster, kind_of

R = TypeVar("R", bound=Resource)


def manifests(given: InCluster) -> Manifests:
    """The objects, the Reflections among them as the selector says, and the Secrets that open their Databases."""
    cluster = connect(given)
    found = _objects(cluster, given)
    there = secrets.named(cluster, found.databases.values())
    return Manifests(found.databases, found.source_tables, found.reflections, there)


def with_status(cluster: Cluster, given: InCluster) -> tuple[Manifests, list[Resource]]:
    """The objects without Secrets, and those that the selector names, with their status."""
    found = _objects(cluster, given)
    of_kinds: Iterable[tuple[type[Resource], Any]] = (
        (Database, found.databases),
        (SourceTable, found.source_tables),
        (Reflection, found.reflections),
    )
    shown: list[Resource] = []
    for kind, listed in of_kinds:
        keys = _listed(cluster, given, kind, given.selector).keys() if given.selector else listed.keys()
        shown += [one for key, one in sorted(listed.items()) if key in keys]
    return found, shown


def change(given: InCluster, one: Reflection, field: str, value: bool | str | None) -> None:
    """Set a field of its spec; None: take it out. Raises `ClusterError`, also where the spec is another one by now."""
    put = {"op": "add", "value": value} if value is not None else {"op": "remove"}
    test = {"op": "test", "path": "/metadata/generation", "value": one.metadata.generation}
    connect(given).patch(kind_of(one), one.namespace, one.name, [test, {**put, "path": f"/spec/{field}"}])


def connect(given: InCluster) -> Cluster:
    """The API server. Raises `SpecError` where no cluster is known."""
    try:
        return Cluster.connect(given.context)
    except errors.ClusterError as error:
        raise errors.SpecError(f"expected manifests, or a cluster in their place; {error}", path="--file") from error


def _objects(cluster: Cluster, given: InCluster) -> Manifests:
    return Manifests(
        _listed(cluster, given, Database),
        _listed(cluster, given, SourceTable),
        _listed(cluster, given, Reflection, given.selector),
    )


def _listed(cluster: Cluster, given: InCluster, kind: type[R], selector: str = "") -> dict[Key, R]:
    named = {"labelSelector": selector} if selector else {}
    bodies, _ = cluster.list(kind_of(kind), given.namespace, **named)
    read = {}
    for body in bodies:
        try:
            one = reading.parse(kind, body, tolerant=True)
        except errors.SpecErrors:
            continue  # one of a newer version, or wrong: `kubectl get` shows its condition
        read[one.key] = one
    return read


def namespace_of(context: str) -> str:
    """The namespace that kubectl is set to."""
    from kubernetes import config

    try:
        contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]  # it has no types
    except config.ConfigException:
        return "default"
    chosen = next((one for one in contexts if one["name"] == context), current) if context else current
    return str(chosen["context"].get("namespace") or "default")
