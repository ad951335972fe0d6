"""The objects of the cluster as they were last seen, typed, and which of them belong together.

A *group* is a source Database with its SourceTables and their Reflections: what `pantograph run` does in one process.
Objects are reconciled by group, in one session of the source, and not one by one: 1,000 of them after a restart are a
handful of connections. A Reflection without a SourceTable is in the group without a name of its namespace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pantograph import errors
from pantograph.api import conditions, reading
from pantograph.api.base import Resource
from pantograph.api.databases import Database
from pantograph.api.manifests import KINDS, Key
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.kube.objects import Object

MISSED_FOR = 60.0
"""Seconds after which a change that only a listing told of means that the watch is dead."""


@dataclass(frozen=True)
class Entry:
    """One object. resource: None where it cannot be read, for the reason `failure`."""

    kind: str
    key: Key
    body: Object = field(repr=False)
    resource: Resource | None
    failure: errors.PantographError | None = None

    @property
    def subject(self) -> str:
        """As messages name it."""
        return f"{self.kind} {self.key[1]}"

    @property
    def generation(self) -> int:
        """Grows with every change of the spec."""
        return int(self.body["metadata"].get("generation", 0))

    @property
    def deleting(self) -> bool:
        """Whether somebody has asked for it to go."""
        return "deletionTimestamp" in self.body["metadata"]

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.body["metadata"].get("annotations") or {}

    def refers(self, *path: str) -> str:
        """The name at a path of the spec; "" where there is none."""
        here: Any = self.body.get("spec") or {}
        for step in path:
            here = here.get(step) if isinstance(here, dict) else None
        return here if isinstance(here, str) else ""


def entry(body: Object) -> Entry:
    """An object as the cluster sends it, typed."""
    kind, metadata = body["kind"], body["metadata"]
    key = (metadata["namespace"], metadata["name"])
    try:
        return Entry(kind, key, body, reading.parse(KINDS[kind], body, tolerant=True))
    except errors.PantographError as error:
        return Entry(kind, key, body, None, error)


@dataclass(frozen=True)
class Group:
    """A source Database and what hangs on it, as of one moment. others: the rest of the namespace."""

    key: Key
    database: Entry | None
    tables: tuple[Entry, ...]
    reflections: tuple[Entry, ...]
    others: tuple[Entry, ...]

    @property
    def members(self) -> tuple[Entry, ...]:
        """All that the group reports on."""
        return (*filter(None, [self.database]), *self.tables, *self.reflections)

    def destination(self, reflection: Entry) -> Entry | None:
        """The Database that a Reflection writes to."""
        name = reflection.refers("destination", "databaseRef", "name")
        among = (*self.others, *filter(None, [self.database]))
        return next((one for one in among if one.kind == "Database" and one.key == (self.key[0], name)), None)


class Known:
    """All objects. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[tuple[str, Key], Entry] = {}
        self._deployments: dict[Key, Object] = {}
        self._missed: dict[tuple[str, Key], tuple[int, float]] = {}

    def see(self, body: Object) -> tuple[set[Key], bool]:
        """An object as it is now: the groups that it concerns, and whether more than its status is another."""
        new = entry(body)
        with self._lock:
            before = self._entries.get((new.kind, new.key))
            if before is not None and not _newer(body, before.body):
                return set(), False
            self._entries[new.kind, new.key] = new
            return self._concerned(new), before is None or _essence(before.body) != _essence(body)

    def drop(self, kind: str, key: Key) -> set[Key]:
        """An object is gone: the groups that it concerned."""
        with self._lock:
            before = self._entries.get((kind, key))
            concerned = self._concerned(before) if before else set()
            self._entries.pop((kind, key), None)
            return concerned

    def listed(self, kind: str, bodies: Iterable[Object], version: str, now: float, namespace: str = "") -> set[Key]:
        """All objects of a kind (in a namespace), as a listing tells that was made at a version: the groups of those
        that no watch told of."""
        concerned: set[Key] = set()
        with self._lock:
            there = set()
            for body in bodies:
                key = (body["metadata"]["namespace"], body["metadata"]["name"])
                there.add(key)
                groups, _ = self.see(body)
                concerned |= groups
                if groups:
                    self._missed.setdefault((kind, key), (_version(body), now))
            for (known, key), one in list(self._entries.items()):
                # One that was made while the list was on its way is not in it.
                if (
                    known == kind
                    and key not in there
                    and namespace in ("", key[0])
                    and _version(one.body) <= int(version)
                ):
                    concerned |= self.drop(kind, key)
        return concerned

    def told(self, body: Object) -> None:
        """The watch has told of an object, too late or not."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        with self._lock:
            missed = self._missed.get((body["kind"], key))
            if missed is not None and _version(body) >= missed[0]:
                del self._missed[body["kind"], key]

    def deaf(self, now: float) -> bool:
        """Whether the watch has not told for a minute of what a listing had."""
        with self._lock:
            self._missed = {id_: missed for id_, missed in self._missed.items() if id_ in self._entries}
            return any(now - since > MISSED_FOR for _, since in self._missed.values())

    def deployment(self, key: Key) -> Object | None:
        """The reflector's Deployment of a Database, as last seen."""
        with self._lock:
            return self._deployments.get(key)

    def see_deployment(self, key: Key, body: Object | None) -> None:
        """The Deployment of a Database's reflector; None when it is gone."""
        with self._lock:
            if body is None:
                self._deployments.pop(key, None)
            else:
                self._deployments[key] = body

    def groups(self) -> set[Key]:
        """All groups that there are."""
        with self._lock:
            return {key for one in self._entries.values() for key in self._own_group(one)}

    def naming_secret(self, key: Key) -> set[Key]:
        """The groups of Databases that name a Secret."""
        with self._lock:
            named = [
                one
                for one in self._entries.values()
                if isinstance(one.resource, Database) and one.key[0] == key[0] and key[1] in one.resource.secret_names
            ]
            return {group for one in named for group in self._concerned(one)}

    def group(self, key: Key) -> Group:
        """One group."""
        with self._lock:
            here = [one for _, one in sorted(self._entries.items()) if one.key[0] == key[0]]
            mine = [one for one in here if key in self._own_group(one)]
            return Group(
                key,
                next((one for one in mine if one.kind == "Database"), None),
                tuple(one for one in mine if one.kind == "SourceTable"),
                tuple(one for one in mine if one.kind == "Reflection"),
                tuple(one for one in here if one not in mine),
            )

    def entries(self) -> list[Entry]:
        """All objects."""
        with self._lock:
            return [one for _, one in sorted(self._entries.items())]

    def _own_group(self, one: Entry) -> set[Key]:
        namespace = one.key[0]
        if one.kind == "Database":
            return {one.key}
        if one.kind == "SourceTable":
            return {(namespace, one.refers("databaseRef", "name"))}
        source = self._entries.get((SourceTable.KIND, (namespace, one.refers("sourceTableRef", "name"))))
        return {(namespace, source.refers("databaseRef", "name") if source else "")}

    def _concerned(self, one: Entry) -> set[Key]:
        """The groups that look anew when an object changes."""
        found = self._own_group(one)
        if one.kind == "Database":
            for other in self._entries.values():
                named = (other.key[0], other.refers("destination", "databaseRef", "name"))
                if other.kind == Reflection.KIND and named == one.key:
                    found |= self._own_group(other)
        elif one.kind == "Reflection":
            # Its destination may be waiting for it to go.
            found.add((one.key[0], one.refers("destination", "databaseRef", "name")))
        else:
            found.add((one.key[0], ""))
        return found


def _version(body: Object) -> int:
    """Grows with every change: the API server promises that versions of one kind can be compared as numbers."""
    return int(body["metadata"]["resourceVersion"])


def _newer(body: Object, before: Object) -> bool:
    """Whether it is a later state than the one before: a listing may arrive behind an event that came after it."""
    return _version(body) > _version(before) or body["metadata"].get("uid") != before["metadata"].get("uid")


def _essence(body: Object) -> tuple[Any, ...]:
    """What makes a difference to what is to be done: not the status, and not who wrote which field."""
    metadata = body["metadata"]
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        metadata.get("annotations"),
        metadata.get("finalizers"),
        # The reflector has met what is the operator's to mend.
        any(
            one["type"] == conditions.REPLICATING and one["reason"] == "CaptureNotInstalled"
            for one in (body.get("status") or {}).get("conditions") or ()
        ),
    )
