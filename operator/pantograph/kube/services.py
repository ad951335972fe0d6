"""Hosts that are names of Services: a short one means the Service in the namespace of its Database, wherever we run.

The reflector's pod is in that namespace, and so its resolver says; the operator and the console are elsewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import socket
import time

from pantograph import errors
from pantograph.api.databases import Database
from pantograph.api.manifests import Manifests

KEPT = 10.0
"""Seconds for which it is remembered that there is such a Service, or none: every page of the console asks."""


def located(manifests: Manifests) -> Manifests:
    """The same objects, with the hosts as they are found from another namespace."""
    databases = {key: _located(manifests, one) for key, one in manifests.databases.items()}
    return dataclasses.replace(manifests, databases=databases)


def _located(manifests: Manifests, database: Database) -> Database:
    try:
        host = manifests.credentials_of(database).host or ""
    except errors.SpecErrors:
        return database  # whoever connects says what is wrong
    if not host or any(mark in host for mark in ".:/") or host == "localhost":
        return database
    name = f"{host}.{database.namespace}.svc"
    if not _is_known(name, int(time.monotonic() / KEPT)):
        return database  # a name of the node's own network, or one that nobody knows yet
    return database.model_copy(update={"spec": database.spec.model_copy(update={"host": name})})


@functools.lru_cache(maxsize=1024)
def _is_known(name: str, _while: int) -> bool:
    """Does the cluster's DNS know the name? `_while` counts stretches of `KEPT`: in another one it is asked again."""
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True
