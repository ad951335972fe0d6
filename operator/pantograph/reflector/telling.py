"""How the Reflections of a pod stand, written into their status: at a transition at once, else seldom."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pantograph import errors
from pantograph.api import conditions
from pantograph.api.base import API_VERSION, Resource
from pantograph.api.manifests import Key
from pantograph.api.reflections import Reflection
from pantograph.api.sourcetables import SourceTable
from pantograph.kube import objects
from pantograph.kube.objects import Cluster
from pantograph.reflector.reporting import Board, Seen

OWN = (conditions.REPLICATING, conditions.SNAPSHOT_COMPLETE)
IDLE_EVERY = 60.0
"""Seconds between two writes of which only the moment is new."""
Id = tuple[str, Key]


@dataclass(frozen=True, slots=True)
class Pace:
    """Rows that a Reflection had moved at a moment (monotonic seconds), and how many a second in the time before; None
    while that is not known. Two digits of it: more would be another value with every write."""

    at: float
    moved: int
    rate: float | None = None


class Reporter:
    """Writes status when it is another than was written last."""

    def __init__(self, cluster: Cluster, manager: str, every: float, tell: Callable[..., None]) -> None:
        self._cluster, self._manager, self._every, self._tell = cluster, manager, every, tell
        self._written: dict[Id, tuple[float, dict[str, Any]]] = {}
        self._paces: dict[str, Pace] = {}
        self._not_before = 0.0
        self._away = False

    def report(self, there: Mapping[Id, Resource], board: Board, moving: set[str], database: Key) -> None:
        """Write what is due. An API server that is away is tried again; what it missed is written then."""
        if time.monotonic() < self._not_before:
            return
        seen = {one.name: one for one in board.all()}
        tables = {
            one.key: one for one in there.values() if isinstance(one, SourceTable) and one.database_key == database
        }
        self._written = {id_: written for id_, written in self._written.items() if id_ in there}
        self._paces = {name: pace for name, pace in self._paces.items() if name in moving}
        pending: dict[Key, int] = {}
        try:
            for id_, one in there.items():
                if not isinstance(one, Reflection) or (one.source_key not in tables and id_ not in self._written):
                    continue
                name = f"{one.namespace}/{one.name}"
                known = seen.get(name) if name in moving else None
                if known is not None and known.pending is not None:
                    pending[one.source_key] = max(pending.get(one.source_key, 0), known.pending)
                if known is None:
                    status = _stopped(one)
                else:
                    away = board.away(known, "/".join(database), "/".join(one.destination_key))
                    status = _moved(one, known, board.lag(known), self._pace(known), away)
                if status is not None:
                    self._write(id_, one, status)
            for key, table in tables.items():
                if key in pending:
                    self._write((table.KIND, key), table, {"pendingEvents": pending[key]})
            if self._away:
                self._tell("the API server is back")
            self._away = False
        except errors.ClusterError as error:
            if not self._away:
                self._tell("status could not be written; going on", message=str(error))
            self._away, self._not_before = True, time.monotonic() + 2.0

    def _pace(self, seen: Seen) -> float | None:
        """Rows a second of late; counted anew no more often than status is written."""
        now, moved = time.monotonic(), seen.upserted + seen.deleted
        pace = self._paces.setdefault(seen.name, Pace(now, moved))
        if now - pace.at >= self._every:
            rate = max(0, moved - pace.moved) / (now - pace.at)
            pace = self._paces[seen.name] = Pace(now, moved, float(f"{rate:.2g}"))
        return pace.rate

    def _write(self, id_: Id, one: Resource, status: dict[str, Any]) -> None:
        now = time.monotonic()
        at, before = self._written.get(id_, (0.0, {}))
        if not at and not _differs(status, _present(one)):
            self._written[id_] = (now, status)  # as it stands there already, from before a restart
            return
        if before and _turned(before) == _turned(status):
            wait = self._every if _differs(status, before) else IDLE_EVERY
            if before == status or now - at < wait:
                return
        body = {
            "apiVersion": API_VERSION,
            "kind": one.KIND,
            "metadata": {"name": one.name, "namespace": one.namespace},
            "status": status,
        }
        try:
            self._cluster.apply(objects.kind_of(one), body, self._manager, sub="status")
        except errors.ClusterError as error:
            if error.status == 404:
                return
            raise
        self._written[id_] = (now, status)


def _turned(status: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (one["type"], one["status"], one["reason"], one["observedGeneration"]) for one in status.get("conditions", ())
    ]


def _differs(status: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether more than the moment, and since when something holds, is another."""

    def shown(of: Mapping[str, Any]) -> tuple[Any, ...]:
        messages = [one.get("message") for one in of.get("conditions", ())]
        values = {name: value for name, value in of.items() if name not in ("imageAt", "conditions")}
        return values, _turned(of), messages

    return shown(status) != shown(before)


def _present(one: Resource) -> dict[str, Any]:
    """Our part of the status as it was last seen."""
    status: Any = one.status  # type: ignore[attr-defined]  # every kind has one
    told: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    told["conditions"] = [each for each in told.get("conditions", ()) if each["type"] in OWN]
    return told


def _stopped(one: Reflection) -> dict[str, Any] | None:
    """Nothing moves it here; said once it was moved, or is to go, for whoever waits for that."""
    said = conditions.find(one.status.conditions, conditions.REPLICATING)
    if said is None and not one.being_deleted:
        return None
    told = _put(
        one, conditions.REPLICATING, False, "Stopped", "the reflector does not move it", one.metadata.generation
    )
    return {"conditions": [told, *_kept(one)]}


def _kept(one: Reflection) -> list[dict[str, Any]]:
    """Whether it was copied, as it was last said."""
    before = conditions.find(one.status.conditions, conditions.SNAPSHOT_COMPLETE)
    return [conditions.dumped(before)] if before else []


def _moved(one: Reflection, seen: Seen, lag: float | None, rate: float | None, away: str) -> dict[str, Any]:
    """The reflector's part of a Reflection's status. rate: rows a second; away: a Database that does not answer."""
    replicating, reason, message = _phase(seen, away)
    told = [_put(one, conditions.REPLICATING, replicating, reason, message, seen.generation)]
    if seen.phase == "Waiting" or not seen.source:
        told += _kept(one)  # it has only begun: nobody has looked yet
    else:
        why = "Complete" if seen.complete else "Snapshot"
        told.append(_put(one, conditions.SNAPSHOT_COMPLETE, seen.complete, why, "", seen.generation))
    sweeping = seen.phase in ("Snapshot", "Sweep", "Held") and not (seen.complete and not seen.sweep_rows)
    percent = min(99, seen.sweep_rows * 100 // seen.sweep_estimated) if seen.sweep_estimated else None
    values = {
        # A tenth is what a person reads; more would be another value with every write.
        "lagSeconds": None if lag is None else round(lag, 1),
        "rows": seen.rows,
        "rowsPerSecond": rate,
        "snapshot": {
            "rows": seen.sweep_rows,
            "percent": percent if sweeping else 100 if seen.complete else 0,
        },
        "image": seen.image,
        "imageReason": seen.image_reason[:1024] or None,
        "imageAt": objects.timestamp(seen.image_at) if seen.image_at else None,
        "parked": seen.waiting_rows,
        "deadLetters": seen.dead_letters,
        "heldDeletes": seen.held or None,
        "verifiedAt": objects.timestamp(seen.verified_at) if seen.verified_at else None,
        "differing": seen.differing,
    }
    values["snapshot"] = {name: value for name, value in values["snapshot"].items() if value is not None}  # type: ignore[union-attr]
    return {**{name: value for name, value in values.items() if value is not None}, "conditions": told}


def _phase(seen: Seen, away: str) -> tuple[bool, str, str]:
    """Whether it replicates, why not, and in a sentence."""
    if seen.phase == "Streaming" and away:
        # Its worker still waits for an answer: nobody has told it that there will be none.
        return False, "Unreachable", f"Database {away.partition('/')[2]} does not answer"
    if seen.phase == "Streaming":
        return True, "Replicating", ""
    if seen.phase in ("Failed", "Unreachable", "Replanning"):
        return False, seen.reason or seen.phase, seen.message
    if seen.phase == "Held":
        return False, "SweepHeld", seen.message
    return False, seen.phase, ": ".join(filter(None, (seen.reason, seen.message)))


def _put(one: Reflection, type_: str, status: bool, reason: str, message: str, generation: int) -> dict[str, Any]:
    said = conditions.put(
        one.status.conditions, type_, status, reason, message, generation=generation, now=datetime.now(UTC)
    )
    found = conditions.find(said, type_)
    assert found is not None
    return conditions.dumped(found)
