"""The Secrets that Databases name. They are read when they are needed and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable

from pantograph.api import reading, secrets
from pantograph.api.databases import Database
from pantograph.api.secrets import Secret
from pantograph.kube import objects
from pantograph.kube.objects import Cluster


def named(cluster: Cluster, databases: Iterable[Database]) -> dict[tuple[str, str], Secret]:
    """Those of the named Secrets that are there, by namespace and name."""
    wanted = {(database.namespace, name) for database in databases for name in database.secret_names}
    found = {}
    for namespace, name in sorted(wanted):
        body = cluster.get(objects.SECRET, namespace, name)
        # One that is on its way out still opens the database that is to be cleaned up.
        if body is not None and (secret := _typed(body)) is not None:
            found[namespace, name] = secret
    return found


def _typed(body: objects.Object) -> Secret | None:
    known: objects.Object = {"apiVersion": "v1", "kind": "Secret"}
    kept: objects.Object = {key: body[key] for key in ("data", "type", "immutable") if key in body}
    metadata = {key: body["metadata"][key] for key in ("name", "namespace")}
    # What is wrong with it, base64 that is none, the API server has refused before us.
    return secrets.read_secret({**known, **kept, "metadata": metadata}, reading.Findings(), reading.Origin())
